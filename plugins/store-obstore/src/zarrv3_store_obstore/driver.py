"""The contract over an object store: which requests are sent, and what the answers mean."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from zarrv3.errors import InvalidKeyError, UnsupportedError
from zarrv3.store.contract import (
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Request,
    Swaps,
    Version,
    Versioned,
)
from zarrv3.store.helpers import chunked, cut, resolve
from zarrv3_store_obstore.failures import is_kind
from zarrv3_store_obstore.requests import LOOP, each

GAP = 1 << 16
"""Ranges of one object with at most this many unwanted bytes between them are fetched by one request."""
MOST = 1 << 24
"""Ranges are joined up to this many bytes: pieces of that size are better fetched in parallel."""
BULK = 1000
"""How many objects S3 erases with one request."""
PAGE = 1000
"""How many names are taken from a listing at once."""
_ATTEMPTS = 10

# What object_store says of web servers: that an object was there once, and that they sent another range or not its size.
_GONE = "status code: 410 Gone"
_OTHER_RANGE = re.compile(r"Requested \d+\.\.|CONTENT_RANGE", re.IGNORECASE)

Asked = TypeVar("Asked")
T = TypeVar("T")


class Span(NamedTuple):
    """A range of an object that one request asks for: as `ByteRange`, but never empty and never with a negative stop."""

    key: str
    start: int = 0
    stop: int | None = None


class Part(NamedTuple):
    """What came for a span: the bytes from `start` on of an object of `size` bytes, and what tells its version."""

    start: int
    size: int
    mark: Version | None
    data: memoryview

    def cut(self, wanted: ByteRange) -> memoryview | None:
        """A range of the object, if it is in this part."""
        start, length = resolve(wanted, self.size)
        if length and not self.start <= start <= start + length <= self.start + len(self.data):
            return None
        return self.data[start - self.start :][:length] if length else self.data[:0]


class ObjectDriver:
    """Keys as the names of objects.

    Args:
        library: obstore of this process.
        stores: makes two of its object stores for the same objects, before the first request. One repeats requests that
            fail, the other one nothing: a write on a condition whose answer was lost would be refused, though it had been done.
        capabilities: what can be done there.
        suffixes: whether the last bytes can be asked for without knowing the size.
        unfit: what no name can have.
        bulk: whether many objects are erased with one request, also such as do not exist.
        forbidden_is_missing: take an object that must not be read for a missing one.
        web: whether any web server may be there, which does with ranges what it likes.
    """

    def __init__(
        self,
        library: Any,
        stores: Callable[[], tuple[Any, Any]],
        capabilities: Capabilities,
        *,
        suffixes: bool,
        unfit: re.Pattern[str],
        bulk: bool,
        forbidden_is_missing: bool,
        web: bool,
    ) -> None:
        self.library = library
        self._make = stores
        self.capabilities = capabilities
        self.suffixes = suffixes
        self.unfit = unfit
        self.bulk = bulk
        self.forbidden_is_missing = forbidden_is_missing
        self.web = web

    @cached_property
    def _stores(self) -> tuple[Any, Any]:
        return self._make()

    @property
    def store(self) -> Any:
        """The object store that repeats requests."""
        return self._stores[0]

    def _each(self, function: Callable[[Asked], Awaitable[T]], asked: Iterable[Asked]) -> list[T | Exception]:
        """As `each`; what the stores are made of may have to be waited for, but not by the loop."""
        _ = self._stores
        return each(function, asked)

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one batch; an object whose pieces turn out to be of several versions is read once more, whole."""
        wanted: dict[str, set[ByteRange | None]] = {}
        for key, part in requests:
            wanted.setdefault(key, set()).add(part)
        spans = {key: _spans(key, ranges) for key, ranges in wanted.items()}
        asked = [*dict.fromkeys(span for own in spans.values() for span in own.values())]
        parts = dict(zip(asked, _raised(self._each(self._get, asked)), strict=True))
        values: dict[Request, Buffer | None] = {}
        torn = []
        for key, own in spans.items():
            found = [parts[span] for span in {*own.values()}]
            if len(found) > 1 and _are_apart(found):
                torn.append(key)
                continue
            for part, span in own.items():
                values[Request(key, part)] = value = _piece(parts[span], part)
                if value is None and parts[span] is not None:
                    torn.append(key)
                    break
        for key, whole in zip(torn, _raised(self._each(self._get, map(Span, torn))), strict=True):
            for part in spans[key]:
                values[Request(key, part)] = None if whole is None else cut(whole.data, part)
        return [values[Request(key, part)] for key, part in requests]

    async def _get(self, span: Span) -> Part | None:
        """What is there of a span; `None` if there is no such object."""
        key, start, stop = span
        if self.unfit.search(key):
            return None
        if start < 0 and not self.suffixes:
            return await self._end(span)
        options = _range(start, stop)
        try:
            result = await self.library.get_async(self.store, key, options=options)
            data = memoryview(await result.bytes_async())
        except Exception as error:
            if self._is_missing(error):
                return None
            if options is not None and (
                is_kind(error, "NotSupportedError") or (self.web and _OTHER_RANGE.search(str(error)))
            ):
                return await self._get(Span(key))
            if options is not None and is_kind(error, "GenericError"):
                return await self._behind(span, error)
            raise
        meta = result.meta
        return Part(result.range[0], meta["size"], _mark(meta), data)

    async def _behind(self, span: Span, error: Exception) -> Part | None:
        """Nothing, if a request failed because the range begins behind the end; otherwise raises the error."""
        head = await self._head(span.key)
        if head is None:
            return None
        size, mark = head
        if size and span.start < size:
            raise error
        return Part(size, size, mark, memoryview(b""))

    async def _end(self, span: Span) -> Part | None:
        """The last bytes of an object whose size has to be asked for."""
        for _ in range(_ATTEMPTS):
            head = await self._head(span.key)
            if head is None:
                return None
            size, mark = head
            if not size:
                return Part(0, 0, mark, memoryview(b""))
            found = await self._get(Span(span.key, max(0, size + span.start), size))
            if found is None or (found.size == size and found.mark == mark):
                return found
        return await self._get(Span(span.key))

    async def _head(self, key: str) -> tuple[int, Version | None] | None:
        """The size and the version of an object."""
        if self.unfit.search(key):
            return None
        try:
            meta = await self.library.head_async(self.store, key)
        except Exception as error:
            if self._is_missing(error):
                return None
            raise
        return meta["size"], _mark(meta)

    def _is_missing(self, error: Exception) -> bool:
        return (
            isinstance(error, FileNotFoundError)
            or (self.forbidden_is_missing and is_kind(error, "PermissionDeniedError"))
            or (self.web and _GONE in str(error))
        )

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        heads = _raised(self._each(self._head, keys))
        return [None if head is None else head[0] for head in heads]

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: one batch of writes, and one that erases."""
        self._check(changes)
        _raised(self._each(self._put, [(k, bytes(v)) for k, v in changes.items() if v is not None]))
        self._erase([key for key, value in changes.items() if value is None])

    def _check(self, changes: Changes) -> None:
        for key, value in changes.items():
            if value is not None and self.unfit.search(key):
                raise InvalidKeyError(
                    f"{key!r} has a character in it, or an end, that this storage does not keep in names"
                )

    async def _put(self, item: tuple[str, bytes]) -> None:
        await self.library.put_async(self.store, *item)

    def _erase(self, keys: Sequence[str]) -> None:
        keys = [key for key in keys if not self.unfit.search(key)]
        batches: Iterable[Any] = chunked(keys, BULK) if self.bulk else keys
        for answer in self._each(self._delete, batches):
            if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                raise answer

    async def _delete(self, keys: str | list[str]) -> None:
        await self.library.delete_async(self.store, keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        parts = _raised(self._each(self._get, map(Span, keys)))
        return [(None, None) if part is None else (part.data, part.mark) for part in parts]

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: one batch of writes that are done only if the version is the one given; none is repeated."""
        self._check({key: new for key, (_, new) in swaps.items()})
        none = [key for key, (version, new) in swaps.items() if new is None and version is None]
        for key, (version, new) in swaps.items():
            if new is None and version is not None:
                raise UnsupportedError(f"{key!r} cannot be erased on a condition")
        refused = [key for key, size in zip(none, self.stat_many(none), strict=True) if size is not None]
        given = {key: (version, bytes(new)) for key, (version, new) in swaps.items() if new is not None}
        done = _raised(self._each(self._swap, [(key, *swap) for key, swap in given.items()]))
        return [*refused, *(key for key, is_done in zip(given, done, strict=True) if not is_done)]

    async def _swap(self, item: tuple[str, Any, bytes]) -> bool:
        key, version, new = item
        mode = "create" if version is None else {n: v for n, v in zip(_MARK, version, strict=True) if v}
        try:
            await self.library.put_async(self._stores[1], key, new, mode=mode, use_multipart=False)
        except Exception as error:
            # "not found" refuses a change; of a creation it says that the bucket is missing
            gone = version is not None and isinstance(error, FileNotFoundError)
            if gone or is_kind(error, "AlreadyExistsError", "PreconditionError"):
                return False
            raise
        return True

    # ------------------------------------------------------------ listing

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        return (key for key, _ in self.list_sizes(folder))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says, without the empty objects `folder/` that other tools make.

        object_store gives them the name that an object `folder` has: whether there is one is asked of what is empty.
        """
        pages = self.library.list(self.store, folder.rstrip("/") or None, chunk_size=PAGE)
        asked: set[str] = set()
        while page := LOOP.run(_next(pages)):
            found = {meta["path"]: meta["size"] for meta in page if meta["path"].startswith(folder)}
            empty = [key for key, size in found.items() if not size]
            sizes = dict(zip(empty, self.stat_many(empty), strict=True))
            for key, size in {**found, **sizes}.items():
                if size is not None and key not in asked:
                    yield key, size
            asked.update(empty)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        found = LOOP.run(self._listed(self.store, folder))
        yield from (f"{name}/" for name in found["common_prefixes"])
        yield from (meta["path"] for meta in found["objects"] if meta["path"].startswith(folder))

    async def _listed(self, store: Any, folder: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self.library.list_with_delimiter_async(
            store, folder.rstrip("/") or None
        )
        return found

    # ------------------------------------------------------------ folders

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: a listing, and a request for each thousand objects (S3) or for each."""
        for keys in chunked(self.list_prefix(folder), BULK):
            self._erase(keys)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: the server copies all objects, which are then erased."""
        keys = [*self.list_prefix(source)]

        async def copy(key: str) -> None:
            await self.library.copy_async(self.store, key, target + key[len(source) :])

        _raised(self._each(copy, keys))
        self._erase(keys)


_MARK = ("e_tag", "version")


def _mark(meta: Mapping[str, Any]) -> Version | None:
    """What tells the version of an object, if the server says it."""
    found = tuple(meta[name] for name in _MARK)
    return found if any(found) else None


def _raised(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _next(pages: Any) -> Sequence[Mapping[str, Any]]:
    try:
        page: Sequence[Mapping[str, Any]] = await pages.__anext__()
    except StopAsyncIteration:
        return ()
    return page


def _range(start: int, stop: int | None) -> dict[str, Any] | None:
    """The option of a request for a span."""
    if stop is not None:
        return {"range": (start, stop)}
    if start == 0:
        return None
    return {"range": {"suffix": -start} if start < 0 else {"offset": start}}


def _are_apart(parts: Sequence[Part | None]) -> bool:
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
        return dict.fromkeys(ranges, Span(key))
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
    return spans


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
