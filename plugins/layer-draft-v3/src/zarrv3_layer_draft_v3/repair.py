"""Arrays that lost their sharding transformer: zarr-python 2 drops it when it resizes or appends.

Under one array there are then shards of the old grid and plain chunks that were written afterwards, with the
same form of key. The bytes of a value tell what it is: a plain chunk decodes, a shard ends in an index. A
plain chunk is the newer one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from zarrv3.errors import CorruptDataError, ZarrError
from zarrv3.format.codecs import CodecChain
from zarrv3.format.metadata import ArrayMetadata, parse_document
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Request, whole
from zarrv3.store.helpers import BATCH, chunked
from zarrv3_layer_draft_v3 import keys
from zarrv3_layer_draft_v3.documents import DraftArray
from zarrv3_layer_draft_v3.shards import Entry, count_of, index_of, may_be_index

Coords = tuple[int, ...]

_VALUES = 8
"""How many whole shards are held in memory at once."""


class Findings(NamedTuple):
    """What the values of an array without transformer are."""

    shards: dict[Coords, int | None]
    """Those that are not plain chunks, with the number of chunks in the shard where that is certain."""
    per_shard: Coords | None
    """The chunks for each dimension of a shard, where that is certain."""

    @property
    def chunks(self) -> int | None:
        """The chunks of a shard, where all agree."""
        counts = {count for count in self.shards.values() if count is not None}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True)
class PlainArray:
    """An array of the draft that has no storage transformer, or has lost it."""

    store: BaseStore
    path: str
    array: DraftArray

    def stored(self) -> Iterator[tuple[Coords, str, int]]:
        """The existing values: coordinates, draft key, size."""
        folder = keys.DATA + (f"{self.path}/" if self.path else "")
        for key, size in self.store.list_sizes(folder):
            chunk = keys.split_draft(key.removeprefix(keys.DATA))
            if chunk is None or chunk.path != self.path:
                continue
            coords = keys.coords_in(chunk, self.array.grid)
            if coords is not None:
                yield coords, key, size

    @cached_property
    def chain(self) -> CodecChain:
        """The codecs of a plain chunk."""
        metadata = parse_document(self.array.document, source=f"/{self.path}")
        assert isinstance(metadata, ArrayMetadata)
        return metadata.codec_chain()

    def is_plain(self, value: Buffer) -> bool:
        """Whether a value is a chunk as the document says."""
        if self.array.raw_size is not None:
            return len(value) == self.array.raw_size
        if self.array.is_blosc and not blosc_fits(value, len(value)):
            return False
        try:
            self.chain.decode(value)
        except ZarrError:
            return False
        return True

    def findings(self) -> Findings:
        """Look through all values: sizes and a few bytes of each, and whole those that look like shards."""
        suspects: dict[Coords, str] = {}
        for part in chunked(self.stored(), BATCH):
            suspects.update(self._suspects(part))
        shards: dict[Coords, int | None] = {}
        sound = True
        for some in chunked(suspects.items(), _VALUES):
            values = self.store.get_many(whole(key for _, key in some))
            for (coords, _), value in zip(some, values, strict=True):
                if value is None or self.is_plain(value):
                    continue
                count = count_of(value)
                sound = sound and (count is None or self._decodes(value, count))
                shards[coords] = count
        findings = Findings(shards, None)
        return findings._replace(per_shard=self._inferred(findings.chunks)) if sound else findings

    def _suspects(self, stored: Sequence[tuple[Coords, str, int]]) -> dict[Coords, str]:
        array = self.array
        if array.raw_size is not None:
            return {coords: key for coords, key, size in stored if size != array.raw_size}
        wanted = ByteRange(0, 16) if array.is_blosc else ByteRange(-16)
        pieces = self.store.get_many([Request(key, wanted) for _, key, _ in stored])
        suspects = {}
        for (coords, key, size), piece in zip(stored, pieces, strict=True):
            if piece is None:
                continue
            if not blosc_fits(piece, size) if array.is_blosc else may_be_index(piece, size):
                suspects[coords] = key
        return suspects

    def _decodes(self, value: Buffer, count: int) -> bool:
        """Whether everything in a shard is a chunk of this array."""
        entries = index_of(value, count) or []
        return all(
            self.is_plain(value[entry.offset : entry.offset + entry.size]) for entry in entries if entry
        )

    def _inferred(self, count: int | None) -> Coords | None:
        """In one dimension the number is enough; in more, only if a shard is one chunk."""
        ndim = self.array.grid.ndim
        if count is None or (count != 1 and ndim != 1):
            return None
        return (count,) * ndim


def blosc_fits(head: Buffer, size: int) -> bool:
    """Whether a blosc header says that there are `size` bytes."""
    return len(head) >= 16 and int.from_bytes(head[12:16], "little") == size


@dataclass(frozen=True)
class Repaired:
    """An array without transformer whose values are classified one by one, shown as plain chunks."""

    plain: PlainArray
    per_shard: Coords

    def read(self, wanted: Sequence[Coords]) -> list[Buffer | None]:
        """The encoded chunks at some coordinates; one call to the store.

        Raises `CorruptDataError` naming the key of a value that is neither chunk nor shard, and of a chunk that may have
        been in a shard which zarr-python 2 overwrote.
        """
        places = [(coords, self._shard_of(coords)) for coords in wanted]
        needed = dict.fromkeys(self._key(place) for pair in places for place in pair)
        values = dict(zip(needed, self.plain.store.get_many(whole(needed)), strict=True))
        known: dict[str, list[Entry | None] | None] = {}
        for key, value in values.items():
            if value is not None:
                known[key] = self._index(key, value)
        return [self._chunk(coords, shard, values, known) for coords, shard in places]

    def stored(self) -> Iterator[tuple[Coords, int]]:
        """The existing chunks with their sizes: reads all values, a few at a time.

        Chunks that may be lost are among them, with size 0: reading one is an error, and none goes unnoticed.
        """
        given: dict[Coords, int] = {}
        doubtful: set[Coords] = set()
        for part in chunked(self.plain.stored(), _VALUES):
            values = self.plain.store.get_many(whole(key for _, key, _ in part))
            for (coords, key, _), value in zip(part, values, strict=True):
                if value is None:
                    continue
                entries = self._index(key, value)
                if entries is None:
                    given[coords] = len(value)
                    doubtful.update(self._within(coords))
                    continue
                for place, entry in zip(self._covered(coords), entries, strict=True):
                    if entry is not None:
                        given.setdefault(place, entry.size)
        lost = dict.fromkeys(sorted(doubtful - set(given)), 0)
        return iter({**lost, **given}.items())

    def _index(self, key: str, value: Buffer) -> list[Entry | None] | None:
        """The index of a shard, `None` for a plain chunk."""
        if self.plain.is_plain(value):
            return None
        entries = index_of(value, math.prod(self.per_shard))
        if entries is None:
            raise CorruptDataError(
                f"{key!r} in {self.plain.store.describe()} is neither a chunk of /{self.plain.path} nor a shard with "
                f"chunks_per_shard {list(self.per_shard)}"
            )
        return entries

    def _chunk(
        self,
        coords: Coords,
        shard: Coords,
        values: dict[str, Buffer | None],
        known: dict[str, list[Entry | None] | None],
    ) -> Buffer | None:
        own, key = self._key(coords), self._key(shard)
        if values[own] is not None and known[own] is None:
            return values[own]
        value = values[key]
        if value is None:
            return None
        entries = known[key]
        if entries is None:
            raise CorruptDataError(
                f"chunk {list(coords)} of /{self.plain.path} may be lost: {key!r} in {self.plain.store.describe()}, the "
                "shard that it would be in, was overwritten by a plain chunk"
            )
        entry = entries[self._place(coords)]
        return None if entry is None else value[entry.offset : entry.offset + entry.size]

    def _key(self, coords: Coords) -> str:
        return keys.draft_chunks(self.plain.path, coords, self.plain.array.grid.separator)[0]

    def _shard_of(self, coords: Coords) -> Coords:
        return tuple(c // p for c, p in zip(coords, self.per_shard, strict=True))

    def _place(self, coords: Coords) -> int:
        inside = tuple(c % p for c, p in zip(coords, self.per_shard, strict=True))
        return int(np.ravel_multi_index(inside, self.per_shard)) if inside else 0

    def _covered(self, shard: Coords) -> Iterator[Coords]:
        """The chunks of a shard in the order of its index."""
        return itertools.product(
            *(range(s * p, s * p + p) for s, p in zip(shard, self.per_shard, strict=True))
        )

    def _within(self, shard: Coords) -> Iterator[Coords]:
        """The chunks of a shard that lie in the array."""
        array = self.plain.array
        grid = [-(-length // chunk) for length, chunk in zip(array.shape, array.chunk_shape, strict=True)]
        return itertools.product(
            *(range(s * p, min(s * p + p, n)) for s, p, n in zip(shard, self.per_shard, grid, strict=True))
        )
