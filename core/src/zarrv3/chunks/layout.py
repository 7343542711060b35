"""How an array's chunks lie in its store: everything that moving data needs to know, worked out once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from zarrv3.chunks.chunk_cache import ArrayChunks
from zarrv3.chunks.transformers import StorageTransformer, plain
from zarrv3.errors import MetadataError
from zarrv3.format.codecs import Codec, CodecChain
from zarrv3.format.cuts import Cut, are_regular, clipped, grouped, largest, length_of, round_up
from zarrv3.format.extensions import Guard
from zarrv3.format.grids import ChunkGrid, RegularGrid, decode_key, grid_shape
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.base import BaseStore

MAX_CHAINS = 1000
"""For how many shapes of chunks an array keeps codecs ready."""


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
    cuts: tuple[Cut, ...]
    """How each dimension is cut into the chunks that are encoded each on its own."""
    largest: tuple[int, ...]
    """The shape of every chunk; of the largest, where they differ."""
    chain: CodecChain
    """What encodes a chunk of that shape."""
    is_regular: bool
    """Whether all chunks have that shape."""
    chunks: StorageTransformer
    """What chunks are read and changed by, through their coordinates."""
    blocks: tuple[Cut, ...] | None
    """How many chunks along each dimension are stored together (a shard), if any."""
    cache: ArrayChunks | None = None
    """Where decoded chunks are remembered, if anywhere."""
    _chains: dict[tuple[int, ...], CodecChain] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype in memory."""
        return self.metadata.data_type.numpy

    def shape_of(self, coords: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a chunk."""
        return self.largest if self.is_regular else tuple(map(length_of, self.cuts, coords))

    def chain_of(self, shape: tuple[int, ...]) -> CodecChain:
        """What encodes chunks of a shape."""
        if shape == self.largest:
            return self.chain
        found = self._chains.get(shape)
        if found is None:
            if len(self._chains) >= MAX_CHAINS:
                self._chains.clear()
            found = CodecChain.build(self.chain.codecs, self.chain.spec._replace(shape=shape))
            self._chains[shape] = found
        return found

    @property
    def chunk_bytes(self) -> int:
        """The bytes of a decoded chunk; an estimate where elements, or chunks, differ in length."""
        shape = self.largest
        if not self.is_regular:
            counts = map(max, self.grid_shape, repeat(1))
            shape = tuple([-(-n // count) for n, count in zip(self.metadata.shape, counts, strict=True)])
        return math.prod(shape) * (self.metadata.data_type.item_size or 16)

    @cached_property
    def stored(self) -> tuple[Cut, ...]:
        """How each dimension is cut into what is stored as one value: chunks, or shards."""
        return self.cuts if self.blocks is None else tuple(map(grouped, self.cuts, self.blocks))

    @cached_property
    def has_padding(self) -> bool:
        """Whether what is stored as one value reaches over the array's edge."""
        ends = zip(self.stored, self.metadata.shape, strict=True)
        return any(round_up(cut, length) != length for cut, length in ends)

    def reshaped(self, metadata: ArrayMetadata) -> Layout | None:
        """The layout of an array that differs from this one in shape and attributes only, where nothing else depends on these.

        `None` where something may: metadata that were read again, transformers.
        """
        ours, plain = self.metadata, not self.metadata.storage_transformers and self.blocks is None
        names = ("data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
        same = all(getattr(metadata, name) is getattr(ours, name) for name in names)
        return replace(self, metadata=metadata) if plain and same else None

    def sizes(self, cuts: Sequence[Cut]) -> tuple[tuple[int, ...], ...]:
        """The lengths along each dimension of what lies in the array of chunks (or shards)."""
        return tuple(map(clipped, cuts, self.metadata.shape))

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return grid_shape(self.cuts, self.metadata.shape)

    def key(self, coords: tuple[int, ...]) -> str:
        """The key of a chunk."""
        return self.chunks.chunk_keys([coords])[0]

    def coords(self, key: str) -> tuple[int, ...] | None:
        """The chunk that a key below the array's folder belongs to, `None` if to none of the grid."""
        found = decode_key(self.metadata.chunk_key_encoding, key[len(self.folder) :], len(self.cuts))
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
    grid, codecs, spec = metadata.chunk_grid, metadata.codecs, metadata.chunk_spec
    while len(codecs) == 1:
        with Guard("codecs", codecs[0], "codecs[0]"):
            lowered = codecs[0].lower(spec, grid.cuts)
        if lowered is None:
            break
        grid, codecs = lowered.grid, lowered.codecs
        spec = spec._replace(shape=largest(grid.cuts))
        transformers.insert(0, lowered.transformer)
    bound, blocks = _stacked(transformers, store, folder, replace(metadata, chunk_grid=grid))
    return Layout(
        store=store if bound is None else bound,
        folder=folder,
        metadata=metadata,
        cuts=grid.cuts,
        largest=spec.shape,
        chain=CodecChain.build(codecs, spec),
        is_regular=are_regular(grid.cuts),
        chunks=plain(store, folder, metadata) if bound is None else bound,
        blocks=blocks,
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
) -> tuple[StorageTransformer | None, tuple[Cut, ...] | None]:
    """Transformers bound on a store, the last one lowest, and how many chunks are stored together then."""
    if not transformers:
        return None, None
    first, *others = transformers
    cuts, seen = metadata.chunk_grid.cuts, metadata
    with Guard("storage_transformers", first, "storage_transformers"):
        blocks = _padded(first, cuts)
    if others and blocks is not None:
        below_cuts = tuple(map(grouped, cuts, blocks))
        if not are_regular(below_cuts):
            raise MetadataError(f"{others[0].describe()} cannot lie below shards that differ in shape")
        seen = replace(metadata, chunk_grid=RegularGrid(largest(below_cuts)))
    below, outer = _stacked(others, store, folder, seen)
    with Guard("storage_transformers", first, "storage_transformers"):
        bound = first.bind(store if below is None else below, folder, metadata)
    if blocks is None or outer is None:
        return bound, outer if blocks is None else blocks
    return bound, tuple(map(grouped, blocks, outer))


def _padded(transformer: StorageTransformer, cuts: Sequence[Cut]) -> tuple[Cut, ...] | None:
    """The blocks of a transformer with an entry for each dimension."""
    blocks = transformer.block_shape
    if blocks is None:
        return None
    if len(blocks) > len(cuts):
        raise MetadataError(
            f"{transformer.describe()} stores blocks of {len(blocks)} dimensions, the array has {len(cuts)}"
        )
    blocks = (*blocks, *(1,) * (len(cuts) - len(blocks)))
    if any(block != 1 and not isinstance(cut, int) for cut, block in zip(cuts, blocks, strict=True)):
        raise MetadataError(f"{transformer.describe()} cannot join chunks that differ in shape")
    return blocks
