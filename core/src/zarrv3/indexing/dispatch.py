"""Which kind of indexing `array[selection]` is.

Basic where possible. With arrays the answer is zarr-python 3's: arrays for all dimensions select points, one array
beside integers and slices selects orthogonally. Where numpy and zarr-python disagree we refuse and name the two exact
spellings, `oindex` and `vindex`.
"""

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

from zarrv3.errors import SelectionError
from zarrv3.format.cuts import Cut
from zarrv3.indexing.arguments import as_array, expand, is_array
from zarrv3.indexing.basic import plan_basic
from zarrv3.indexing.coordinates import plan_coordinates, plan_mask
from zarrv3.indexing.orthogonal import plan_orthogonal
from zarrv3.indexing.plans import Plan

_BASIC = frozenset((int, slice, EllipsisType))


def plan(selection: Any, shape: Sequence[int], cuts: Sequence[Cut]) -> Plan:
    """Plan `array[selection]`."""
    entries = selection if type(selection) is tuple else (selection,)
    if _BASIC.issuperset(map(type, entries)):
        return plan_basic(entries, shape, cuts)
    arrays = [as_array(entry) for entry in entries if is_array(entry)]
    if not arrays:
        return plan_basic(entries, shape, cuts)
    if len(arrays) == 1 and arrays[0].ndim == 1:
        return plan_orthogonal(entries, shape, cuts)
    if len(entries) == 1 and arrays[0].dtype == bool:
        return plan_mask(arrays[0], shape, cuts)
    masks = any(array.dtype == bool for array in arrays)
    others = [entry for entry in expand(entries, len(shape)) if not is_array(entry)]
    if masks or any(isinstance(entry, slice) for entry in others):
        raise SelectionError(
            "several arrays, or a mask or n-d array beside other indices, are ambiguous: use "
            "oindex to select each dimension on its own, or vindex with one array for each dimension to select points"
        )
    return plan_coordinates(entries, shape, cuts)
