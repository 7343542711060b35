"""How an array's chunks lie in its store: everything that moving data needs to know, worked out once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from zarrv3.codecs import Codec, CodecChain
from zarrv3.errors import MetadataError, RegistryError
from zarrv3.extensions import NamedConfig
from zarrv3.grids import ChunkGrid
from zarrv3.metadata import ArrayMetadata
from zarrv3.registry import owner
from zarrv3.store import BaseStore
from zarrv3.transformers import StorageTransformer


class Lowered(NamedTuple):
    """A codec that is really a storage transformer, as one: what `Codec.lower` returns."""

    grid: ChunkGrid
    codecs: tuple[Codec, ...]
    transformer: StorageTransformer


@dataclass(frozen=True, kw_only=True)
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
    block_shape: tuple[int, ...] | None
    """How many chunks along each dimension are stored together (a shard), if any."""

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

    def key(self, coords: tuple[int, ...]) -> str:
        """The key of a chunk."""
        return self.folder + self.metadata.chunk_key_encoding.encode(coords)

    def coords(self, key: str) -> tuple[int, ...] | None:
        """The chunk that a key below the array's folder belongs to, `None` if to none of the grid."""
        found = self.metadata.chunk_key_encoding.decode(key[len(self.folder) :], len(self.chunk_shape))
        if found is None or any(
            c >= n for c, n in zip(found, self.grid.grid_shape(self.metadata.shape), strict=True)
        ):
            return None
        return found


def arrange(store: BaseStore, folder: str, metadata: ArrayMetadata) -> Layout:
    """The layout that an array's metadata asks for.

    Raises `UnknownExtensionError` naming a storage transformer that is not installed, `MetadataError` for codecs or
    transformers that do not fit.
    """
    transformers: list[StorageTransformer] = [
        _resolved(named, f"storage_transformers[{index}]")
        for index, named in enumerate(metadata.storage_transformers)
        if named.must_understand or _is_known(named)
    ]
    grid, codecs = metadata.chunk_grid, metadata.codecs
    lowered = codecs[0].lower(metadata.chunk_spec) if len(codecs) == 1 else None
    if lowered is not None:
        grid, codecs = lowered.grid, lowered.codecs
        transformers.insert(0, lowered.transformer)
    block: tuple[int, ...] | None = None
    for transformer in reversed(transformers):  # the last one lies on the store
        bound = transformer.bind(store, folder, metadata)
        if bound.block_shape is not None:
            block = tuple(
                [a * b for a, b in zip(block or (1,) * len(grid.chunk_shape), bound.block_shape, strict=True)]
            )
        store = bound
    chain = CodecChain.build(codecs, metadata.chunk_spec._replace(shape=grid.chunk_shape))
    return Layout(store=store, folder=folder, metadata=metadata, grid=grid, chain=chain, block_shape=block)


def _resolved(named: NamedConfig, member: str) -> StorageTransformer:
    found = named.resolve("storage_transformers", member)
    if not isinstance(found, StorageTransformer):
        raise RegistryError(
            f"plugin {named.name!r} of {owner('storage_transformers', named.name)} is broken: "
            f"{type(found).__name__} is no subclass of zarrv3.StorageTransformer"
        )
    return found


def _is_known(named: NamedConfig) -> bool:
    try:
        named.find("storage_transformers")
    except MetadataError:
        return False
    return True
