"""Stores of zarrv3 for zarr-python 3, and stores and codecs of zarr-python 3 for zarrv3.

There:
ranges     byte requests of zarr-python ↔ byte ranges of the store contract
store      `ZarrStore`: the abstract class of zarr-python over a store of ours; `as_zarr_store`

And back:
loop       the thread whose event loop runs the coroutines of foreign stores
driver     the store contract over a store of zarr-python
foreign    `ForeignStore`: the driver as a store of ours; `from_zarr_store`
codecs     codecs made for zarr-python, as codecs of ours
"""

from zarrv3_bridge_zarr.foreign import ForeignStore, from_zarr_store
from zarrv3_bridge_zarr.store import ZarrStore, as_zarr_store

__all__ = ["ForeignStore", "ZarrStore", "as_zarr_store", "from_zarr_store"]
