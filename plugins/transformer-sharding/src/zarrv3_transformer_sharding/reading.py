"""Reading chunks out of shards: one call for whole shards, otherwise one for indexes and one for ranges.

An index that is known from an earlier read saves the first call: the index is asked for beside the ranges, and what has come is
right if the index still is the one that was known, at the very end of the shard. Nothing is believed without that. A store that
remembers its answers has the index anyway, perhaps of another version than the ranges.

Another process may replace a shard between the two calls. Ranges of the new one, cut by the old index, would be wrong
bytes without any error where chunks carry no checksum. So the second call also asks for a *witness*: bytes of the index at
the place where the first call found it. What one call returns of a key is of one version, so the ranges are right if the witness is.
If it is not what it was, ranges and index are read together once more; if the index has changed, the shard is fetched whole. A store that remembers its answers notices
by the index that those were of another version: from such a store the second call asks for the whole index, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import sub

from zarrv3.errors import CorruptDataError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Request, whole
from zarrv3.store.helpers import cut, resolve
from zarrv3_transformer_sharding.ranges import FAR_GAP, MAX_GAP, NEAR_BYTES, Extent, Span, merged
from zarrv3_transformer_sharding.shard import Entries, ShardFormat


@dataclass
class Asked:
    """What is requested of one shard."""

    shards: ShardFormat
    """How the shard is laid out."""
    whole: bool = False
    """Fetch it with one request."""
    positions: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    ranges: list[ByteRange | None] = field(default_factory=list)
    """For each request: the position of its answer, the chunk and the part of it."""


@dataclass
class _Opened:
    """A shard whose index has been read."""

    shards: ShardFormat
    entries: Entries
    extents: list[Extent]


_span = partial(tuple.__new__, Span)
"""`Span._make` without a call in Python for each."""

KNOWN_BYTES = 8 * 2**20
"""How much memory an array's known indexes may take."""

KNOWN_EACH = 40
"""How many bytes of it a chunk takes: its words as they are stored, and where it begins and ends."""


class ShardReader:
    """One `get_many` over shards; the answers are put into `answers`.

    Args:
        store: has the shards.
        answers: what is requested, by position.
        known: indexes by the key of their shards, as they were when they were read last; threads may share it.
    """

    def __init__(
        self, store: BaseStore, answers: list[Buffer | None], known: MutableMapping[str, Entries]
    ) -> None:
        self.store = store
        self.answers = answers
        self.known = known

    def read(self, asked: Mapping[str, Asked], others: Sequence[Request]) -> Sequence[Buffer | None]:
        """Fetch what is requested of shards, by their keys; returns the values of other keys, fetched beside them."""
        hits: dict[str, _Opened] = {}
        first: list[Request] = []
        known: list[Request] = []
        for key, part in asked.items():
            entries = None if part.whole or self.store.remembers else self.known.get(key)
            if entries is None:
                first.append(Request(key, None if part.whole else part.shards.index_range))
                continue
            hits[key] = hit = _Opened(part.shards, entries, self._extents(part, entries))
            known += [Request(key, ByteRange(extent.start, extent.stop)) for extent in hit.extents]
            known.append(Request(key, part.shards.behind(entries)))
        values = self.store.get_many([*first, *others, *known])
        opened: dict[str, _Opened] = {}
        for (key, _), value in zip(first, values, strict=False):
            part = asked[key]
            if value is None:
                continue
            if part.whole:
                self._deliver(key, part, value)
                continue
            entries = entries_of(self.store, key, part.shards, value)
            if extents := self._extents(part, entries):
                opened[key] = _Opened(part.shards, entries, extents)
        if hits:
            self._check(asked, hits, iter(values[len(first) + len(others) :]))
        if opened:
            doubtful = self._fetch(opened)
            self._remember({key: shard for key, shard in opened.items() if key not in doubtful})
            self._settle(asked, doubtful)
        return values[len(first) : len(first) + len(others)]

    def _check(
        self, asked: Mapping[str, Asked], hits: Mapping[str, _Opened], values: Iterator[Buffer | None]
    ) -> None:
        """Take what came by known indexes; shards whose index is another one now are read again, without it."""
        stale: dict[str, Asked] = {}
        for key, shard in hits.items():
            complete = self._put(shard.extents, values)
            if next(values) == shard.entries.raw and complete:
                continue
            stale[key] = asked[key]
            self.known.pop(key, None)
            for position in asked[key].positions:
                self.answers[position] = None
        if stale:
            self.read(stale, ())

    def _remember(self, shards: Mapping[str, _Opened]) -> None:
        for key, shard in shards.items():
            if len(self.known) >= KNOWN_BYTES // (KNOWN_EACH * len(shard.entries.starts)):
                self.known.clear()
            self.known[key] = shard.entries.copy()

    def _deliver(self, key: str, part: Asked, shard: Buffer) -> None:
        """Answer from a whole shard."""
        entries = entries_of(self.store, key, part.shards, shard, whole=True)
        view = memoryview(shard).toreadonly()
        answers = self.answers
        for position, start, stop, wanted in zip(
            part.positions, *entries.pick(part.slots), part.ranges, strict=True
        ):
            if start >= 0:
                chunk = view[start:stop]
                answers[position] = chunk if wanted is None else cut(chunk, wanted)

    def _extents(self, part: Asked, entries: Entries) -> list[Extent]:
        """What to fetch of a shard; chunks without bytes are answered at once."""
        starts, stops = entries.pick(part.slots)
        spans: Iterable[Span] = map(_span, zip(starts, stops, part.positions, strict=True))
        if any(part.ranges) or min(map(sub, stops, starts)) <= 0:
            spans = self._partial(spans, part.ranges)
        local = self.store.capabilities.local
        return merged(spans, MAX_GAP, NEAR_BYTES) if local else merged(spans, FAR_GAP)

    def _partial(self, spans: Iterable[Span], ranges: Iterable[ByteRange | None]) -> Iterator[Span]:
        """The parts of chunks that are wanted, of chunks that are there."""
        for (start, stop, position), wanted in zip(spans, ranges, strict=True):
            if start < 0:
                continue
            skip, length = resolve(wanted, stop - start)
            if length:
                yield Span(start + skip, start + skip + length, position)
            else:
                self.answers[position] = b""

    def _fetch(self, opened: Mapping[str, _Opened]) -> dict[str, _Opened | None]:
        """Fetch the ranges and their witnesses.

        Returns the shards that do not match their index; with what was known of them if the witness lies in a
        gap, so that only the index has to be read again.
        """
        requests: list[Request] = []
        again = self.store.remembers
        for key, shard in opened.items():
            requests += [Request(key, ByteRange(extent.start, extent.stop)) for extent in shard.extents]
            requests.append(Request(key, shard.shards.witness(shard.entries)))
            if again:
                requests.append(Request(key, shard.shards.index_range))
        values = iter(self.store.get_many(requests))
        doubtful: dict[str, _Opened | None] = {}
        for key, shard in opened.items():
            complete = self._put(shard.extents, values)
            witness, expected = next(values), shard.shards.expected(shard.entries)
            is_other = again and next(values) != shard.entries.raw
            if not complete or witness is None or is_other:
                doubtful[key] = None
            elif witness != expected:
                doubtful[key] = shard if len(witness) > len(expected) else None
        return doubtful

    def _put(self, extents: list[Extent], values: Iterator[Buffer | None]) -> bool:
        """Take a value for each extent; whether all had the expected length."""
        complete = True
        for start, stop, spans in extents:
            value = next(values)
            if value is None or len(value) != stop - start:
                complete = False
            elif len(spans) == 1 and (spans[0].start, spans[0].stop) == (start, stop):
                self.answers[spans[0].position] = value
            else:
                view, answers = memoryview(value).toreadonly(), self.answers
                for low, high, position in spans:
                    answers[position] = view[low - start : high - start]
        return complete

    def _settle(self, asked: Mapping[str, Asked], doubtful: dict[str, _Opened | None]) -> None:
        """Read again the shards that were replaced, are truncated, or have a gap before their index."""
        gaps = {key: shard for key, shard in doubtful.items() if shard is not None}
        requests: list[Request] = []
        for key, shard in gaps.items():
            requests += [Request(key, ByteRange(extent.start, extent.stop)) for extent in shard.extents]
            requests.append(Request(key, shard.shards.index_range))
        again = iter(self.store.get_many(requests) if requests else ())
        for key, shard in gaps.items():
            complete = self._put(shard.extents, again)
            if next(again) == shard.entries.raw and complete:
                del doubtful[key]
        if not doubtful:
            return
        for key, value in zip(doubtful, self.store.get_many(whole(doubtful)), strict=True):
            part = asked[key]
            for position in part.positions:
                self.answers[position] = None
            if value is not None:
                self._deliver(key, part, value)


def entries_of(
    store: BaseStore, key: str, shards: ShardFormat, value: Buffer, *, whole: bool = False
) -> Entries:
    """The entries of a shard, or of its index alone; `CorruptDataError` names the shard."""
    try:
        return shards.of_shard(value) if whole else shards.entries(value)
    except CorruptDataError as error:
        raise corrupt(store, key, error) from error


def corrupt(store: BaseStore, key: str, error: CorruptDataError) -> CorruptDataError:
    """The error of a shard, with its key."""
    return CorruptDataError(f"shard {key!r} in {store.describe()} is corrupt: {error}")
