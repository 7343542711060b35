"""Requests to an object store: each a coroutine, many of them under way at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from zarrv3.store.contract import ByteRange
from zarrv3.store.helpers import resolve
from zarrv3.store.loops import Loop
from zarrv3_store_obstore.failures import is_denied, is_kind
from zarrv3_store_obstore.gathering import gather

T = TypeVar("T")
Asked = TypeVar("Asked")

AT_ONCE = 128
"""How many requests of one call are under way at once."""
PAGE = 1000
"""How many names are taken from a listing at once."""
_ATTEMPTS = 10
_END = 1 << 53
"""Behind the end of every object."""

# What object_store says of web servers: that an object was there once, and that they sent another range or not its size.
_GONE = "status code: 410 Gone"
_OTHER_RANGE = re.compile(r"Requested \d+\.\.|CONTENT_RANGE", re.IGNORECASE)

_NOT_A_PART = "non-partial response"
_NO_RANGE = re.compile(r"\b416\b")
"""What servers answer that are asked for a range of nothing, or behind the end."""

FEW = 4
"""Up to how many requests of one call are so few that one which waits in the caller's thread spares a good part of the work."""

LOOP = Loop("zarrv3-obstore")


Mark: TypeAlias = tuple[str | None, ...]
"""A `Version`: the etag of an object and, where the storage has that, the name of its version."""


class Span(NamedTuple):
    """A range of an object that one request asks for: as `ByteRange`, but never empty and never with a negative stop."""

    key: str
    start: int = 0
    stop: int | None = None
    alone: bool = False
    """Whether nothing else is asked of the object: then nobody needs to know of which version it is."""


class Part(NamedTuple):
    """What came for a span: the bytes from `start` on of an object of `size` bytes, and what tells its version."""

    start: int
    size: int
    mark: Mark | None
    data: memoryview

    def cut(self, wanted: ByteRange) -> memoryview | None:
        """A range of the object, if it is in this part."""
        start, length = resolve(wanted, self.size)
        if length and not self.start <= start <= start + length <= self.start + len(self.data):
            return None
        return self.data[start - self.start :][:length] if length else self.data[:0]


class Requests:
    """What can be asked of an object store.

    Args:
        library: obstore of this process.
        stores: makes two of its object stores for the same objects, before the first request. One repeats requests that
            fail, the other one nothing: a write on a condition whose answer was lost would be refused, though it had been done.
        suffixes: whether the last bytes can be asked for without knowing the size.
        unfit: what no name can have.
        forbidden_is_missing: take an object that must not be read for a missing one.
        web: whether any web server may be there, which does with ranges what it likes.
    """

    def __init__(
        self,
        library: Any,
        stores: Callable[[], tuple[Any, Any]],
        *,
        suffixes: bool,
        unfit: re.Pattern[str],
        forbidden_is_missing: bool,
        web: bool,
    ) -> None:
        self.library = library
        self._make = stores
        self.suffixes = suffixes
        self.unfit = unfit
        self.forbidden_is_missing = forbidden_is_missing
        self.web = web

    @cached_property
    def _stores(self) -> tuple[Any, Any]:
        return self._make()

    @property
    def store(self) -> Any:
        """The object store that repeats requests."""
        return self._stores[0]

    @cached_property
    def _waiting(self) -> Requests:
        """That store with functions that wait instead of coroutines: for a few requests they take half the time."""
        waiting = object.__new__(type(self))
        waiting.__dict__.update(vars(self), library=_Waiting(self.library))
        return waiting

    def each(
        self, request: Callable[[Requests, Asked], Coroutine[Any, Any, T]], asked: Iterable[Asked]
    ) -> list[T | Exception]:
        """The results or exceptions of a request for each item, in order, `AT_ONCE` of them at a time."""
        items = [*asked]
        if not items:
            return []
        _ = self._stores  # what they are made of may have to be waited for, but not by the loop
        return LOOP.call(lambda: self._each(request, items))

    def _each(
        self, request: Callable[[Requests, Asked], Coroutine[Any, Any, T]], items: list[Asked]
    ) -> list[T | Exception]:
        last: list[T | Exception] = []

        def wait() -> None:
            last.append(_at_once(request(self._waiting, items[-1])))

        if len(items) > FEW:
            return gather(partial(request, self), items, AT_ONCE)
        if len(items) == 1:
            wait()
            return last
        return gather(partial(request, self), items[:-1], AT_ONCE, wait) + last

    # ------------------------------------------------------------ reading

    async def get(self, span: Span) -> Part | None:
        """What is there of a span; `None` if there is no such object."""
        if self.unfit.search(span.key):
            return None
        if span.start < 0 and not self.suffixes:
            return await self._end(span)
        is_quick = span.alone and span.start >= 0 and not self.web
        try:
            return await (self._quickly(span) if is_quick else self._whole_answer(span))
        except Exception as error:  # noqa: BLE001 - raised there if there is no other way
            if self._is_missing(error):
                return None
            return await self._otherwise(span, error, is_quick=is_quick)

    async def _whole_answer(self, span: Span) -> Part:
        """A span with the size and the version of its object."""
        result = await self.library.get_async(self.store, span.key, options=_range(span.start, span.stop))
        data = memoryview(await result.bytes_async())
        return Part(result.range[0], result.meta["size"], _mark(result.meta), data)

    async def _quickly(self, span: Span) -> Part:
        """A span without size and version, of which there must be something: the library answers once instead of twice."""
        start = span.start
        end = _END if span.stop is None else span.stop
        data = memoryview(await self.library.get_range_async(self.store, span.key, start=start, end=end))
        return Part(start, start + len(data), None, data)

    async def _otherwise(self, span: Span, error: Exception, *, is_quick: bool) -> Part | None:
        """What is there of a span that could not be had in the ordinary way; raises the error if that says why."""
        is_range = bool(span.start) or span.stop is not None
        refused = is_kind(error, "NotSupportedError")
        if is_quick and (refused or _NOT_A_PART in str(error)):
            return await self.get(span._replace(alone=False))
        if is_range and (refused or (self.web and _OTHER_RANGE.search(str(error)))):
            return await self.get(Span(span.key))
        if is_kind(error, "GenericError") and (is_range or (is_quick and _NO_RANGE.search(str(error)))):
            return await self._behind(span, error)
        raise error

    async def _behind(self, span: Span, error: Exception) -> Part | None:
        """Nothing, if a request failed because the range begins behind the end; otherwise raises the error.

        Where the object has become longer since, which somebody may replace at any time, all of it is read.
        """
        head = await self.head(span.key)
        if head is None:
            return None
        size, mark = head
        if size and span.start < size:
            if _NO_RANGE.search(str(error)):
                return await self.get(Span(span.key))
            raise error
        return Part(size, size, mark, memoryview(b""))

    async def _end(self, span: Span) -> Part | None:
        """The last bytes of an object whose size has to be asked for."""
        for _ in range(_ATTEMPTS):
            head = await self.head(span.key)
            if head is None:
                return None
            size, mark = head
            if not size:
                return Part(0, 0, mark, memoryview(b""))
            found = await self.get(Span(span.key, max(0, size + span.start), size))
            if found is None or (found.size == size and found.mark == mark):
                return found
        return await self.get(Span(span.key))

    async def head(self, key: str) -> tuple[int, Mark | None] | None:
        """The size and the version of an object."""
        if self.unfit.search(key):
            return None
        try:
            meta = await self.library.head_async(self.store, key)
        except Exception as error:
            if not self._is_missing(error):
                raise
            if is_denied(error):  # an answer to HEAD does not say why
                await self._denied(key, error)
            return None
        return meta["size"], _mark(meta)

    async def _denied(self, key: str, error: Exception) -> None:
        """Raise the error unless the server says of an object, too, that this user may not see it."""
        try:
            await self.library.get_range_async(self.store, key, start=0, end=1)
        except Exception as reason:
            if self._is_missing(reason):
                return
            raise
        raise error

    def _is_missing(self, error: Exception) -> bool:
        return (
            isinstance(error, FileNotFoundError)
            or (self.forbidden_is_missing and is_denied(error))
            or (self.web and _GONE in str(error))
        )

    # ------------------------------------------------------------ writing

    async def put(self, item: tuple[str, bytes]) -> None:
        """Write an object."""
        await self.library.put_async(self.store, *item)

    async def swap(self, item: tuple[str, Any, bytes]) -> bool:
        """Write an object if it is still of a version (`None`: if it is missing); whether it was. Never repeated."""
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

    async def delete(self, keys: str | list[str]) -> None:
        """Erase an object, or many."""
        await self.library.delete_async(self.store, keys)

    async def copy(self, names: tuple[str, str]) -> None:
        """Have the server copy an object."""
        await self.library.copy_async(self.store, *names)

    # ------------------------------------------------------------ listing

    def pages(self, folder: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        """What lies below a folder, `PAGE` objects at a time."""
        pages = iter(self.library.list(self.store, folder.rstrip("/") or None, chunk_size=PAGE))
        while page := LOOP.call(partial(next, pages, ())):
            yield page

    def folder(self, folder: str) -> Mapping[str, Any]:
        """What lies in a folder: `objects`, and the `common_prefixes` of what lies deeper."""
        list_all = partial(self.library.list_with_delimiter, self.store, folder.rstrip("/") or None)
        found: Mapping[str, Any] = LOOP.call(list_all)
        return found


class _Waiting:
    """obstore with coroutines that are done when they are begun: each waits."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name.removesuffix("_async"))

        async def wait(*arguments: Any, **options: Any) -> Any:
            found = function(*arguments, **options)
            return _Fetched(found) if name == "get_async" else found

        setattr(self, name, wait)
        return wait


class _Fetched:
    """What came, as the library's own is without waiting."""

    def __init__(self, result: Any) -> None:
        self._data = result.bytes()
        self.meta, self.range = result.meta, result.range

    async def bytes_async(self) -> Any:
        return self._data


def _at_once(work: Coroutine[Any, Any, T]) -> T | Exception:
    """The result or exception of a coroutine that waits for no other."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    except Exception as error:  # noqa: BLE001 - whoever asked raises it
        return error
    raise AssertionError("a request that was to wait went to the event loop")


_MARK = ("e_tag", "version")


def _mark(meta: Mapping[str, Any]) -> Mark | None:
    """What tells the version of an object, if the server says it."""
    found = tuple(meta[name] for name in _MARK)
    return found if any(found) else None


def _range(start: int, stop: int | None) -> dict[str, Any] | None:
    """The option of a request for a span."""
    if stop is not None:
        return {"range": (start, stop)}
    if start == 0:
        return None
    return {"range": {"suffix": -start} if start < 0 else {"offset": start}}
