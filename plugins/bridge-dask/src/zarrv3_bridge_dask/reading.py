"""From an array in a store to a dask array."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.tokenize import tokenize

import zarrv3
from zarrv3 import Array
from zarrv3.errors import ConfigurationError
from zarrv3.format.cuts import describe
from zarrv3.opening.stores import StoreLike
from zarrv3_bridge_dask import blocks as arithmetic
from zarrv3_bridge_dask.blocks import Blocks
from zarrv3_bridge_dask.handles import Source, token

Chunks: TypeAlias = int | Sequence[Any] | Mapping[int, Any] | Literal["auto"] | None


def to_dask(
    array: Array | StoreLike,
    path: str | None = None,
    *,
    chunks: Chunks = None,
    name: str | Literal[False] | None = None,
    inline_array: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> da.Array:
    """An array as a dask array whose blocks are shards, chunks or multiples of chunks; nothing is read but metadata.

    Tasks that run in other processes carry the store's configuration and open it there. The lengths are those of now:
    what is appended later is not seen.

    Args:
        array: an array, or anything that `zarrv3.open_array` opens.
        path: the path within the store, if that is what is given.
        chunks: block lengths in elements: one for all dimensions, one for each (`-1`: the whole dimension), a mapping
            from axes, or `"auto"` for about dask's setting `array.chunk-size`. Multiples of the array's chunks; by
            default its shards, or its chunks where there are no shards.
        name: the name of the dask array. By default it follows from the store's spec, the path and the metadata: the
            same array has the same name everywhere, whatever its values. `False` makes one that no other has.
        inline_array: put the array into each task rather than into one of its own.
        storage_options: options of the store.

    Raises `ConfigurationError` for blocks that would read chunks twice, and what `zarrv3.open_array` raises.
    """
    if not isinstance(array, Array):
        array = zarrv3.open_array(array, mode="r", path=path, storage_options=storage_options)
    elif path is not None or storage_options is not None:
        raise ConfigurationError("path and storage_options go with a store, not with an open array")
    blocks = blocks_for(array, chunks)
    if name is None:
        name = f"zarrv3-{tokenize(token(array), blocks)}"
    elif name is False:
        name = f"zarrv3-{uuid4().hex}"
    meta = np.empty((0,) * array.ndim, array.dtype)
    made: da.Array = da.from_array(
        Source(array), chunks=blocks, name=name, fancy=False, inline_array=inline_array, meta=meta
    )
    return made


def blocks_for(array: Array, chunks: Chunks) -> Blocks:
    """The blocks that `to_dask` makes."""
    stored, nowhere = array.layout.stored, (0,) * array.ndim
    own = tuple(lengths or (0,) for lengths in array.write_chunk_sizes)
    wanted: Any = own if chunks is None else chunks
    found: Blocks = da.core.normalize_chunks(
        wanted, array.shape, dtype=_sized(array.dtype), previous_chunks=own
    )
    if chunks is None:
        return found
    if chunks == "auto":
        return tuple(
            arithmetic.snapped(lengths, cut, sum(lengths)) for lengths, cut in zip(found, stored, strict=True)
        )
    for axis, _ in arithmetic.crossings(found, array.layout.cuts, nowhere):
        lengths, cut = found[axis], array.layout.cuts[axis]
        raise ConfigurationError(
            f"blocks of {lengths[0]} along axis {axis} would read chunks of {array!r} twice; its chunks are "
            f"{describe(array.layout.cuts)}: give "
            + (
                f"a multiple of {cut}, such as {max(1, max(lengths) // cut) * cut}"
                if isinstance(cut, int)
                else "whole ones"
            )
        )
    return found


def _sized(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype from which dask can work out bytes: texts and bytes of any length count as 16."""
    return np.dtype("V16") if dtype.hasobject or dtype.kind == "T" else dtype
