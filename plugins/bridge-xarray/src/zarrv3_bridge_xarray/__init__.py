# variables          one array of ours as one variable of xarray, and what a new array needs to know from a variable
# groups             one group as xarray reads it: lazily, by documents alone
# backend            the engine "zarrv3": datasets, groups, trees
# regions · plans    which part of an array is written; everything that a write will do, checked beforehand
# writing            to_zarrv3, and the accessor `.zarrv3`
"""Datasets of xarray in every store of zarrv3: the engine `zarrv3` reads, `to_zarrv3` writes."""

from zarrv3_bridge_xarray.accessors import Accessor
from zarrv3_bridge_xarray.backend import ZarrV3Backend
from zarrv3_bridge_xarray.writing import to_zarrv3

__all__ = ["Accessor", "ZarrV3Backend", "to_zarrv3"]
