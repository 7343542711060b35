"""What a shard is made of: the index, checked before it is trusted, and the chunks. No I/O.

A shard is chunks one after the other, in any order and with gaps, and an index before or behind them: for each chunk,
in C order, its offset and its length as two words; both all ones for a chunk that is missing (specification of
`sharding_indexed`, "Binary shard format").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ChunkSpec, Codec, CodecChain
from zarrv3.format.data_types import data_type_of
from zarrv3.format.grids import MAX_DIMENSIONS
from zarrv3.store.contract import Buffer, ByteRange

Location = Literal["start", "end"]
Words = np.ndarray[Any, Any]

MISSING = -1
"""Both words of a missing chunk, as signed ones."""

MAX_INDEX_BYTES = 2**31
"""The largest index allowed, before its codecs."""


@dataclass(frozen=True, eq=False)
class Entries:
    """Where each chunk of one shard lies: the content of a checked index."""

    starts: Words
    """The first byte of each chunk within the shard, -1 for a missing one."""
    stops: Words
    end: int
    """The end of the last chunk (0 if there are none)."""
    raw: Buffer
    """The index as it is stored."""

    def pick(self, slots: Collection[int]) -> tuple[list[int], list[int]]:
        """Starts and stops of some chunks."""
        numbers = np.fromiter(slots, np.intp, len(slots))
        return self.starts[numbers].tolist(), self.stops[numbers].tolist()

    def copy(self) -> Entries:
        """A copy in memory of its own, so that nothing else of what was read is kept."""
        return Entries(self.starts.copy(), self.stops.copy(), self.end, bytes(self.raw))

    def present(self) -> list[int]:
        """The numbers of the existing chunks."""
        slots: list[int] = np.flatnonzero(self.starts >= 0).tolist()
        return slots


@dataclass(frozen=True, eq=False)
class ShardFormat:
    """How the shards of an array are laid out: the shape of the index, its codecs and its place."""

    per_shard: tuple[int, ...]
    location: Location
    chain: CodecChain
    """The codecs of the index."""
    index_bytes: int
    """The bytes of every encoded index."""

    @classmethod
    def build(
        cls, per_shard: tuple[int, ...], codecs: Sequence[Codec], location: Location = "end"
    ) -> ShardFormat:
        """Check that the codecs encode every index to the same number of bytes; `MetadataError` if not."""
        size = 16 * math.prod(per_shard)
        if size > MAX_INDEX_BYTES:
            raise MetadataError(
                f"shards of {math.prod(per_shard)} chunks have an index of {size} bytes; at most {MAX_INDEX_BYTES} "
                "are possible: make chunks larger or shards smaller"
            )
        if len(per_shard) >= MAX_DIMENSIONS:
            raise MetadataError(
                f"arrays of {len(per_shard)} dimensions cannot be sharded: the index has one more"
            )
        chain = CodecChain.build(codecs, ChunkSpec((*per_shard, 2), data_type_of("uint64"), np.uint64(0)))
        if chain.encoded_size is None:
            raise MetadataError(
                "index_codecs: every encoded index must have the same size; codecs that compress cannot be used there"
            )
        return cls(per_shard, location, chain, chain.encoded_size)

    @property
    def index_range(self) -> ByteRange:
        """The part of a shard that is its index."""
        return ByteRange(0, self.index_bytes) if self.location == "start" else ByteRange(-self.index_bytes)

    # ------------------------------------------------------------ reading

    def entries(self, raw: Buffer, size: int | None = None) -> Entries:
        """Decode and check an index; `size` is that of the shard, if known.

        Raises `CorruptDataError`: a wrong length or checksum, chunks outside the shard, in the index or in each other.
        """
        if len(raw) != self.index_bytes:
            raise CorruptDataError(f"it has {len(raw)} bytes of an index of {self.index_bytes}")
        words = np.ascontiguousarray(self.chain.decode(raw)).view(np.int64).reshape(-1, 2)
        starts, lengths = words[:, 0], words[:, 1]
        stops = starts + lengths
        first, last, many = starts, stops, lengths
        if starts.min(initial=0) < 0:  # some are missing, or it is corrupt
            present = (starts != MISSING) | (lengths != MISSING)
            first, last, many = starts[present], stops[present], lengths[present]
        low = self.index_bytes if self.location == "start" else 0
        high = size if size is None or self.location == "start" else size - self.index_bytes
        end = 0
        if len(first):
            end = int(last.max())
            if (
                first.min() < low
                or many.min() < 0
                or (last < first).any()
                or (high is not None and end > high)
            ):
                raise CorruptDataError("its index names bytes outside the space for chunks")
            _check_apart(first, last)
        return Entries(starts, stops, end, raw)

    def witness(self, entries: Entries) -> ByteRange:
        """A few bytes that are still `expected(entries)` only if the shard has not been replaced since.

        An index behind the chunks is read from the end of the last chunk, with one byte more, which must not
        exist: this also shows that no chunk reaches into the index. Where an index ends in its checksum, that
        stands for it.
        """
        last = len(self.expected(entries))
        if self.location == "start":
            return ByteRange(self.index_bytes - last, self.index_bytes)
        return ByteRange(entries.end + self.index_bytes - last, entries.end + self.index_bytes + 1)

    def behind(self, entries: Entries) -> ByteRange:
        """Where exactly the index is that says this; one behind the chunks with a byte more, as in `witness`."""
        if self.location == "start":
            return ByteRange(0, self.index_bytes)
        return ByteRange(entries.end, entries.end + self.index_bytes + 1)

    def expected(self, entries: Entries) -> Buffer:
        """The expected bytes of the witness."""
        return entries.raw[-4:] if self.has_checksum else entries.raw

    @cached_property
    def has_checksum(self) -> bool:
        """Whether an index ends in a checksum of everything before it."""
        document = self.chain.codecs[-1].to_json()
        return isinstance(document, dict) and document.get("name") == "crc32c"

    def unpack(self, shard: Buffer) -> list[Buffer | None]:
        """The chunks of a whole shard, as views of it."""
        entries = self.of_shard(shard)
        view = memoryview(shard).toreadonly()
        pairs = zip(entries.starts.tolist(), entries.stops.tolist(), strict=True)
        return [None if start < 0 else view[start:stop] for start, stop in pairs]

    def of_shard(self, shard: Buffer) -> Entries:
        """The entries of a whole shard."""
        span = self.index_range
        return self.entries(memoryview(shard)[span.start : span.stop], len(shard))

    # ------------------------------------------------------------ writing

    def pack(
        self,
        chunks: Sequence[Buffer | None],
        join: Callable[[Sequence[Buffer]], Buffer] = b"".join,
        *,
        keep_empty: bool = False,
    ) -> Buffer | None:
        """The shard of some chunks, in C order and without gaps, as `join` puts it together. Copies each byte once.

        Of no chunks it is `None`, or with `keep_empty` an index alone.
        """
        present = [chunk for chunk in chunks if chunk is not None]
        if not present and not keep_empty:
            return None
        lengths = np.fromiter(map(len, present), np.int64, len(present))
        words = np.full((len(chunks), 2), MISSING, np.int64)
        there = np.fromiter([chunk is not None for chunk in chunks], bool, len(chunks))
        first = self.index_bytes if self.location == "start" else 0
        words[there, 0] = first + np.cumsum(lengths) - lengths
        words[there, 1] = lengths
        index = self.chain.encode(words.view(np.uint64).reshape(*self.per_shard, 2))
        return join([index, *present] if self.location == "start" else [*present, index])


def _check_apart(first: Words, last: Words) -> None:
    """Raise `CorruptDataError` if two chunks share bytes."""
    if (first[1:] >= last[:-1]).all():
        return
    real = last > first  # an empty chunk may lie anywhere
    first, last = first[real], last[real]
    order = np.argsort(first)
    if (first[order][1:] < last[order][:-1]).any():
        raise CorruptDataError("its index lets two chunks share bytes")
