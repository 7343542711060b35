"""Variables whose values are dask arrays: their blocks and the chunks of arrays. Needs zarrv3-bridge-dask for those alone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from xarray import Dataset, Variable

from zarrv3 import Array
from zarrv3.errors import AssignmentError, ConfigurationError
from zarrv3.format.cuts import Cut


def bridge() -> Any:
    """The package `zarrv3_bridge_dask`; `ConfigurationError` with the command that installs it."""
    try:
        return import_module("zarrv3_bridge_dask.writing")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            'variables of dask arrays are written with: pip install "zarrv3-bridge-xarray[dask]"'
        ) from error


def check_known(dataset: Dataset) -> None:
    """Raise `ConfigurationError` for dask arrays whose lengths are known only when they are computed."""
    for variable in dataset.variables.values():
        if variable.chunks is not None:
            bridge().arithmetic.check_known(variable.chunks)


def fitting(values: Any, shards: Any, *, align: bool) -> dict[str, Any]:
    """Chunks, and shards if they are given as `"auto"`, that no two blocks of a dask array share."""
    arithmetic = bridge().arithmetic
    blocks = values.chunks
    if align:
        blocks = arithmetic.even(blocks)
    item_size = values.dtype.itemsize or 16
    if isinstance(shards, str):
        shard = arithmetic.common(blocks)
        return {"chunks": arithmetic.divided(shard, item_size, arithmetic.CHUNK_BYTES // 16), "shards": shard}
    if shards is not None:
        return {}
    return {"chunks": arithmetic.fitting(blocks, item_size)}


def aligned(
    variable: Variable,
    array: Array,
    region: Sequence[slice],
    *,
    align: bool,
    is_safe: bool = True,
    partial: bool = True,
) -> Any:
    """A variable's values as a dask array that can be written to a region of an array; the variable if it is not in blocks.

    With `align` the blocks may be changed for that.

    Unless the store can swap values or `is_safe` is false, raises `UnalignedBlocksError` where two blocks of a dask array
    would write to one chunk or shard, and unless `partial` where the region ends inside one.
    """
    if variable.chunks is None:
        return variable
    values, dims = variable.data, variable.dims
    arithmetic = bridge().arithmetic
    if not isinstance(values, bridge().da.Array):
        raise AssignmentError(
            f"values in blocks are written if they are dask arrays, not {type(values).__name__}"
        )
    unit = array.layout.stored
    offset = [part.start for part in region]
    if align:
        values = values.rechunk(arithmetic.aligned(values.chunks, unit, offset))
    if array.store.capabilities.swap or not is_safe:
        return values
    arithmetic.check_aligned(values.chunks, unit, offset, repr(array), names=dims)
    if not partial:
        axes = arithmetic.partial(values.chunks, unit, offset, array.shape)
        if axes:
            dim = dims[axes[0]]
            raise arithmetic.UnalignedBlocksError(
                f"the region of {array!r} along {dim!r}, {region[axes[0]].start}:{region[axes[0]].stop}, ends inside what "
                f"is stored as one value ({unit[axes[0]]}), which a writer of the next region would write too; choose "
                f"{_whole(unit[axes[0]])}, or mode='a' if nobody else writes meanwhile"
            )
    return values


def _whole(cut: Cut) -> str:
    return f"multiples of {cut}" if isinstance(cut, int) else "whole ones"
