"""Reading chunks out of shards: one call for whole shards, otherwise one for indexes and one for ranges.

Another process may replace a shard between the two calls. Ranges of the new one, cut by the old index, would be wrong
bytes without any error where chunks carry no checksum. So the second call also asks for a *witness*: bytes of the index at
the place where the first call found it. What one call returns of a key is of one version, so the ranges are right if the witness is.
If it is not what it was, ranges and index are read together once more; if the index has changed, the shard is fetched whole. A store that remembers its answers notices
by the index that those were of another version: from such a store the second call asks for the whole index, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from zarrv3.errors import CorruptDataError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Request, whole
from zarrv3.store.helpers import cut, resolve
from zarrv3_transformer_sharding.ranges import Extent, Span, merged
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


class ShardReader:
    """One `get_many` over shards; the answers are put into `answers`."""

    def __init__(self, store: BaseStore, answers: list[Buffer | None]) -> None:
        self.store = store
        self.answers = answers

    def read(self, asked: Mapping[str, Asked], others: Sequence[Request]) -> Sequence[Buffer | None]:
        """Fetch what is requested of shards, by their keys; returns the values of other keys, fetched beside them."""
        first = [Request(key, None if part.whole else part.shards.index_range) for key, part in asked.items()]
        values = self.store.get_many([*first, *others])
        opened: dict[str, _Opened] = {}
        for (key, part), value in zip(asked.items(), values, strict=False):
            if value is None:
                continue
            if part.whole:
                self._deliver(key, part, value)
                continue
            entries = entries_of(self.store, key, part.shards, value)
            if extents := self._extents(part, entries):
                opened[key] = _Opened(part.shards, entries, extents)
        if opened:
            self._settle(asked, self._fetch(opened))
        return values[len(first) :]

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
        spans = []
        for position, start, stop, wanted in zip(
            part.positions, *entries.pick(part.slots), part.ranges, strict=True
        ):
            if start < 0:
                continue
            if wanted is not None:
                skip, length = resolve(wanted, stop - start)
                start, stop = start + skip, start + skip + length  # noqa: PLW2901 - the part of it
            if start < stop:
                spans.append(Span(start, stop, position))
            else:
                self.answers[position] = b""
        return merged(spans)

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
                view = memoryview(value).toreadonly()
                for span in spans:
                    self.answers[span.position] = view[span.start - start : span.stop - start]
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
