"""How an array's chunks lie in its store: everything that moving data needs to know, worked out once."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from zarrv3.chunks.chunk_cache import ArrayChunks
from zarrv3.chunks.transformers import StorageTransformer, plain
from zarrv3.errors import MetadataError
from zarrv3.format.codecs import Codec, CodecChain
from zarrv3.format.extensions import Guard
from zarrv3.format.grids import ChunkGrid, RegularGrid, decode_key, grid_shape
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.base import BaseStore


class Lowered(NamedTuple):
    """A codec that is really a storage transformer, as one: what `Codec.lower` returns."""

    grid: ChunkGrid
    """The grid of the chunks that the transformer shows."""
    codecs: tuple[Codec, ...]
    """What encodes each of them."""
    transformer: StorageTransformer


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """An array's chunks: their grid, codecs, keys and store. Immutable; shared by threads."""

    store: BaseStore
    """The stack that has the chunks under their keys: storage transformers on the array's store."""
    folder: str
    """The array's path with `/` at its end, or `""`."""
    metadata: ArrayMetadata
    grid: ChunkGrid
    """The grid of the chunks that are encoded each on its own."""
    chain: CodecChain
    chunks: StorageTransformer
    """What chunks are read and changed by, through their coordinates."""
    block_shape: tuple[int, ...] | None
    """How many chunks along each dimension are stored together (a shard), if any."""
    cache: ArrayChunks | None = None
    """Where decoded chunks are remembered, if anywhere."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype in memory."""
        return self.metadata.data_type.numpy

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """The shape of every chunk."""
        return self.grid.chunk_shape

    @property
    def chunk_bytes(self) -> int:
        """The bytes of a decoded chunk; an estimate where elements differ in length."""
        return math.prod(self.chunk_shape) * (self.metadata.data_type.item_size or 16)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return grid_shape(self.grid, self.metadata.shape)

    def key(self, coords: tuple[int, ...]) -> str:
        """The key of a chunk."""
        return self.chunks.chunk_keys([coords])[0]

    def coords(self, key: str) -> tuple[int, ...] | None:
        """The chunk that a key below the array's folder belongs to, `None` if to none of the grid."""
        found = decode_key(self.metadata.chunk_key_encoding, key[len(self.folder) :], len(self.chunk_shape))
        is_inside = found is not None and all(map(int.__lt__, found, self.grid_shape))
        return found if is_inside else None


def arrange(store: BaseStore, folder: str, metadata: ArrayMetadata) -> Layout:
    """The layout that an array's metadata asks for.

    Raises `UnknownExtensionError` naming a storage transformer that is not installed, `MetadataError` for codecs or
    transformers that do not fit.
    """
    transformers: list[StorageTransformer] = [
        named.resolve("storage_transformers", StorageTransformer, f"storage_transformers[{index}]")
        for index, named in enumerate(metadata.storage_transformers)
        if not named.is_ignored("storage_transformers")
    ]
    grid, codecs = metadata.chunk_grid, metadata.codecs
    while len(codecs) == 1:
        with Guard("codecs", codecs[0], "codecs[0]"):
            lowered = codecs[0].lower(metadata.chunk_spec._replace(shape=grid.chunk_shape))
        if lowered is None:
            break
        grid, codecs = lowered.grid, lowered.codecs
        transformers.insert(0, lowered.transformer)
    chain = CodecChain.build(codecs, metadata.chunk_spec._replace(shape=grid.chunk_shape))
    bound, block = _stacked(transformers, store, folder, replace(metadata, chunk_grid=grid))
    return Layout(
        store=store if bound is None else bound,
        folder=folder,
        metadata=metadata,
        grid=grid,
        chain=chain,
        chunks=plain(store, folder, metadata) if bound is None else bound,
        block_shape=block,
    )


def form_of(metadata: ArrayMetadata) -> str:
    """What says how the bytes of a chunk become elements: equal for arrays that differ in shape and attributes only."""
    document = metadata.to_document()
    return json.dumps(
        [value for name, value in sorted(document.items()) if name not in {"attributes", "shape"}],
        sort_keys=True,
    )


def _stacked(
    transformers: list[StorageTransformer], store: BaseStore, folder: str, metadata: ArrayMetadata
) -> tuple[StorageTransformer | None, tuple[int, ...] | None]:
    """Transformers bound on a store, the last one lowest, and how many chunks are stored together then."""
    if not transformers:
        return None, None
    first, *others = transformers
    with Guard("storage_transformers", first, "storage_transformers"):
        block = _padded(first, len(metadata.shape))
    lengths = zip(metadata.chunk_grid.chunk_shape, block or (1,) * len(metadata.shape), strict=True)
    seen = replace(metadata, chunk_grid=RegularGrid(tuple([a * b for a, b in lengths])))
    below, outer = _stacked(others, store, folder, seen)
    with Guard("storage_transformers", first, "storage_transformers"):
        bound = first.bind(store if below is None else below, folder, metadata)
    if block is None or outer is None:
        return bound, outer if block is None else block
    return bound, tuple([a * b for a, b in zip(block, outer, strict=True)])


def _padded(transformer: StorageTransformer, ndim: int) -> tuple[int, ...] | None:
    """The block shape of a transformer with an entry for each dimension."""
    block = transformer.block_shape
    if block is None:
        return None
    if len(block) > ndim:
        raise MetadataError(
            f"{transformer.describe()} stores blocks of {len(block)} dimensions, the array has {ndim}"
        )
    return (*block, *(1,) * (ndim - len(block)))
