"""`dataset.zarrv3`, and that of arrays and trees; it is there once this package is imported or xarray has looked for engines."""

from typing import Any

import xarray as xr

from zarrv3.opening.stores import StoreLike
from zarrv3_bridge_xarray.writing import to_zarrv3


@xr.register_dataset_accessor("zarrv3")
@xr.register_dataarray_accessor("zarrv3")
@xr.register_datatree_accessor("zarrv3")
class Accessor:
    """What zarrv3 adds to a dataset, an array or a tree."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def to_store(self, store: StoreLike, **options: Any) -> Any:
        """Write it to a group of any store; the options are those of `to_zarrv3`."""
        return to_zarrv3(self._data, store, **options)
