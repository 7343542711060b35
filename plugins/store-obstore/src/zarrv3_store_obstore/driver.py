"""The contract over an object store: which requests are sent, and what the answers mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from zarrv3.errors import InvalidKeyError, UnsupportedError
from zarrv3.store.contract import (
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Request,
    Swaps,
    Versioned,
)
from zarrv3.store.helpers import chunked, cut
from zarrv3_store_obstore.requests import Part, Requests, Span

GAP = 1 << 16
"""Ranges of one object with at most this many unwanted bytes between them are fetched by one request."""
MOST = 1 << 24
"""Ranges are joined up to this many bytes: pieces of that size are better fetched in parallel."""
END = 1 << 15
"""The end of an object is remembered up to this many bytes: there is the index of a shard."""
ENDS = 256
"""Of how many objects ends are remembered."""
BULK = 1000
"""How many objects S3 erases with one request."""


class ObjectDriver:
    """Keys as the names of objects.

    Args:
        requests: what is asked of the object store.
        capabilities: what can be done there.
        bulk: whether many objects are erased with one request, also such as do not exist.
    """

    def __init__(self, requests: Requests, capabilities: Capabilities, *, bulk: bool) -> None:
        self.requests = requests
        self.capabilities = capabilities
        self.bulk = bulk
        self._ends: dict[str, tuple[Span, Part]] = {}

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one batch; an object whose pieces turn out to be of several versions is read once more, whole.

        The end of an object that was read before, beside other pieces, is not asked for again if these are of the same version.
        """
        wanted: dict[str, set[ByteRange | None]] = {}
        for key, part in requests:
            wanted.setdefault(key, set()).add(part)
        spans = {key: _spans(key, ranges) for key, ranges in wanted.items()}
        parts = self._remembered(spans)
        known = {span.key for span in parts}
        parts |= self._asked(spans, parts)
        stale = {
            key: spans[key] for key in known if _are_apart([parts[span] for span in spans[key].values()])
        }
        parts |= self._asked(stale, ())
        known.difference_update(stale)
        values: dict[Request, Buffer | None] = {}
        torn = []
        for key, own in spans.items():
            found = {span: parts[span] for span in own.values()}
            if len(found) > 1:
                if _are_apart(found.values()):
                    torn.append(key)
                    continue
                if key not in known:
                    self._remember(found)
            for part, span in own.items():
                values[Request(key, part)] = value = _piece(parts[span], part)
                if value is None and parts[span] is not None:
                    torn.append(key)
                    break
        for key, whole in zip(torn, _raised(self.requests.each(Requests.get, map(Span, torn))), strict=True):
            for part in spans[key]:
                values[Request(key, part)] = None if whole is None else cut(whole.data, part)
        return [values[Request(key, part)] for key, part in requests]

    def _asked(
        self, spans: Mapping[str, Mapping[ByteRange | None, Span]], without: Collection[Span]
    ) -> dict[Span, Part | None]:
        asked = {span: None for own in spans.values() for span in own.values() if span not in without}
        return dict(zip(asked, _raised(self.requests.each(Requests.get, asked)), strict=True))

    def _remembered(self, spans: Mapping[str, Mapping[ByteRange | None, Span]]) -> dict[Span, Part | None]:
        """The ends that are known of objects of which something else is asked for, too."""
        ends = {key: self._ends.get(key) for key in spans}
        return {end[0]: end[1] for key, end in ends.items() if end and {end[0]} < {*spans[key].values()}}

    def _remember(self, parts: Mapping[Span, Part | None]) -> None:
        """Note the end of an object, if its mark is the same only while it is."""
        for span, part in parts.items():
            if part is None or part.mark is None or str(part.mark[0]).startswith("W/") or self.requests.web:
                continue
            if len(part.data) <= END and part.start + len(part.data) == part.size:
                if len(self._ends) >= ENDS:
                    self._ends.clear()
                own = memoryview(bytes(part.data))  # what came may be a piece of something larger
                self._ends[span.key] = span, part._replace(data=own)

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._ends.pop(key, None)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        heads = _raised(self.requests.each(Requests.head, keys))
        return [None if head is None else head[0] for head in heads]

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: one batch of writes, and one that erases."""
        self._check(changes)
        self._forget(changes)
        _raised(
            self.requests.each(Requests.put, [(k, bytes(v)) for k, v in changes.items() if v is not None])
        )
        self._erase([key for key, value in changes.items() if value is None])

    def _check(self, changes: Changes) -> None:
        for key, value in changes.items():
            if value is not None and self.requests.unfit.search(key):
                raise InvalidKeyError(
                    f"{key!r} has a character in it, or an end, that this storage does not keep in names"
                )

    def _erase(self, keys: Sequence[str]) -> None:
        keys = [key for key in keys if not self.requests.unfit.search(key)]
        batches: Iterable[Any] = chunked(keys, BULK) if self.bulk else keys
        for answer in self.requests.each(Requests.delete, batches):
            if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                raise answer

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        parts = _raised(self.requests.each(Requests.get, map(Span, keys)))
        return [(None, None) if part is None else (part.data, part.mark) for part in parts]

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: one batch of writes that are done only if the version is the one given; none is repeated."""
        self._check({key: new for key, (_, new) in swaps.items()})
        self._forget(swaps)
        none = [key for key, (version, new) in swaps.items() if new is None and version is None]
        for key, (version, new) in swaps.items():
            if new is None and version is not None:
                raise UnsupportedError(f"{key!r} cannot be erased on a condition")
        refused = [key for key, size in zip(none, self.stat_many(none), strict=True) if size is not None]
        given = {key: (version, bytes(new)) for key, (version, new) in swaps.items() if new is not None}
        done = _raised(self.requests.each(Requests.swap, [(key, *swap) for key, swap in given.items()]))
        return [*refused, *(key for key, is_done in zip(given, done, strict=True) if not is_done)]

    # ------------------------------------------------------------ listing

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        return (key for key, _ in self.list_sizes(folder))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says, without the empty objects `folder/` that other tools make.

        object_store gives them the name that an object `folder` has: whether there is one is asked of what is empty.
        """
        asked: set[str] = set()
        for page in self.requests.pages(folder):
            found = {meta["path"]: meta["size"] for meta in page if meta["path"].startswith(folder)}
            empty = [key for key, size in found.items() if not size]
            sizes = dict(zip(empty, self.stat_many(empty), strict=True))
            for key, size in {**found, **sizes}.items():
                if size is not None and key not in asked:
                    yield key, size
            asked.update(empty)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        found = self.requests.folder(folder)
        yield from (f"{name}/" for name in found["common_prefixes"])
        yield from (meta["path"] for meta in found["objects"] if meta["path"].startswith(folder))

    # ------------------------------------------------------------ folders

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: a listing, and a request for each thousand objects (S3) or for each."""
        for keys in chunked(self.list_prefix(folder), BULK):
            self._erase(keys)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: the server copies all objects, which are then erased."""
        keys = [*self.list_prefix(source)]

        copies = [(key, target + key[len(source) :]) for key in keys]
        _raised(self.requests.each(Requests.copy, copies))
        self._erase(keys)


def _raised(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _are_apart(parts: Collection[Part | None]) -> bool:
    """Whether parts of an object may be of several versions of it."""
    marks = {None if part is None else part.mark for part in parts}
    return len(marks) > 1 or (None in marks and any(part is not None for part in parts))


def _piece(part: Part | None, wanted: ByteRange | None) -> memoryview | None:
    if part is None:
        return None
    return part.data if wanted is None else part.cut(wanted)


def _spans(key: str, ranges: Collection[ByteRange | None]) -> dict[ByteRange | None, Span]:
    """By which request each range of an object is fetched: those close together by one, all by one if the whole is wanted."""
    if None in ranges or ByteRange() in ranges:
        return dict.fromkeys(ranges, Span(key, alone=True))
    spans: dict[ByteRange | None, Span] = {}
    plain: list[ByteRange] = []
    for wanted in ranges:
        assert wanted is not None
        start, stop = wanted
        if start >= 0 and stop is not None and stop > start:
            plain.append(wanted)
        elif start >= 0 and stop is not None and stop >= 0:
            spans[wanted] = Span(key, start, start + 1)  # nothing, but whether there is an object
        else:  # what depends on the size is cut out of everything from there on
            spans[wanted] = Span(key, start)
    for group in _groups(sorted(plain)):
        span = Span(key, group[0].start, max(wanted.stop or 0 for wanted in group))
        spans.update(dict.fromkeys(group, span))
    first, *others = {*spans.values()}
    return spans if others else dict.fromkeys(spans, first._replace(alone=True))


def _groups(ranges: Iterable[ByteRange]) -> Iterator[list[ByteRange]]:
    group: list[ByteRange] = []
    end = 0
    for wanted in ranges:
        stop = wanted.stop or 0
        if group and not (
            stop <= end or (wanted.start <= end + GAP and max(stop, end) - group[0].start <= MOST)
        ):
            yield group
            group = []
        end = max(end, stop) if group else stop
        group.append(wanted)
    if group:
        yield group
