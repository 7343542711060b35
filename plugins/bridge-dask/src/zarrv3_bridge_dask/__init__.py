# blocks             where blocks of tasks end and where chunks or shards do: pure arithmetic
# handles            an array as tasks carry it: by configuration, and only where that is safe
# reading · writing  to_dask; from_dask, write_dask and append_dask
"""Arrays of zarrv3 as dask arrays and back: blocks aligned to chunks or shards, workers open stores of their own."""

from zarrv3_bridge_dask.blocks import UnalignedBlocksError
from zarrv3_bridge_dask.reading import to_dask
from zarrv3_bridge_dask.writing import append_dask, from_dask, write_dask

__all__ = ["UnalignedBlocksError", "append_dask", "from_dask", "to_dask", "write_dask"]
