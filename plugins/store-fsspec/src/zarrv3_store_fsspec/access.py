"""Files through fsspec: what the drivers ask of a file system, and object stores, all keys of a call at once."""

from __future__ import annotations

import asyncio
import errno
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from fsspec.asyn import sync  # type: ignore[import-untyped]

from zarrv3.store.contract import Buffer, Changes, Swaps, Versioned
from zarrv3.store.helpers import cut
from zarrv3_store_fsspec.reading import Answer, Part, Readable

T = TypeVar("T")
Asked = TypeVar("Asked")

CONCURRENT = 128
"""How many requests are under way at once."""

Errors: TypeAlias = tuple[type[BaseException], ...]

_MARKS = ("ETag", "etag", "e_tag", "generation", "version_id", "LastModified", "last_modified", "mtime")
"""What the `info` of a file system has that changes when an object is replaced."""

_PERHAPS_MISSING = "if it answers so for what is not there, set missing_exceptions=PermissionError"

_NOT_FOUND = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


def is_missing(error: object, others: Errors = ()) -> bool:
    """Whether an exception means a missing file, as these and `others` do; a refused permission does not.

    The library of SMB raises errors of its own, with Python's numbers.
    """
    return isinstance(error, (*_NOT_FOUND, *others)) or (
        isinstance(error, OSError) and error.errno in _ABSENT
    )


@contextmanager
def passing_missing() -> Iterator[None]:
    """A block that ends where it finds that a file is missing."""
    try:
        yield
    except OSError as error:
        if not is_missing(error):
            raise


class Entry(NamedTuple):
    """What a listing has: a path, and the size of a file or `None` for a folder."""

    path: str
    size: int | None


class Access(Readable, Protocol):
    """The files of a file system, by paths."""

    def write(self, items: Mapping[str, Buffer], /) -> None:
        """Replace the files, each atomically."""
        ...

    def erase(self, paths: Sequence[str], /) -> None:
        """Remove the files that are there."""
        ...

    def below(self, folder: str, /) -> Iterator[Entry]:
        """All files below a folder, whose path ends in `/`."""
        ...

    def inside(self, folder: str, /) -> Iterator[Entry]:
        """The files and folders directly inside a folder."""
        ...


class SwappingAccess(Access, Protocol):
    """Files that can be replaced conditionally."""

    def versioned(self, paths: Sequence[str], /) -> Sequence[Versioned]:
        """The files with their versions."""
        ...

    def swap(self, swaps: Swaps, /) -> Collection[str]:
        """Replace the files that still have their version; returns the paths of the others."""
        ...


class ObjectAccess:
    """An asynchronous file system, which replaces objects at once and has no folders of its own."""

    exact: bool = False
    suffixes: bool = False

    def __init__(self, fs: Any, missing: Errors = ()) -> None:
        self.fs = fs
        self.missing = missing
        alone = "max_concurrency" in inspect.signature(fs._cat_file).parameters
        self.reading = (
            {"max_concurrency": 1} if alone else {}
        )  # otherwise large objects are torn when they are replaced

    def read(self, parts: Sequence[Part], /) -> Sequence[Answer]:
        """All at once; an object of which several parts may be of different versions is read again, as a whole."""
        fit = [part for part in parts if self.holds(part.path)]
        counts = Counter(part.path for part in fit)

        async def read(part: Part) -> tuple[bytes, object]:
            return await self.marked(part) if counts[part.path] > 1 else (await self._cat(part), None)

        answers: dict[Part, Any] = {}
        marks: dict[str, set[object]] = {}
        for part, found in zip(fit, self.at_once(read, fit), strict=True):
            answers[part], mark = (found, type(found)) if isinstance(found, BaseException) else found
            marks.setdefault(part.path, set()).add(mark)
        torn = [Part(path, None) for path, found in marks.items() if len(found) > 1]
        values = dict(zip((path for path, _ in torn), self.at_once(self._cat, torn), strict=True))
        for part in fit:
            if part.path in values:
                value = values[part.path]
                answers[part] = value if isinstance(value, BaseException) else cut(value, part.wanted)
        return [self._answer(answers.get(part)) for part in parts]

    async def marked(self, part: Part) -> tuple[bytes, object]:
        """A part, and what is equal for parts that are of one version of the object."""
        before = await self._mark(part.path)
        value = await self._cat(part)
        return value, before if before == await self._mark(part.path) else object()

    async def _mark(self, path: str) -> object:
        info = await self.fs._info(path)
        return tuple(info[name] for name in _MARKS if info.get(name)) or object()

    def sizes(self, paths: Collection[str], /) -> Sequence[int | None]:
        """All at once, by `info`."""
        return self.each(self.size, paths)

    def write(self, items: Mapping[str, Buffer], /) -> None:
        """All at once, by `pipe`."""
        self.fs.pipe({path: bytes(value) for path, value in items.items()})

    def erase(self, paths: Sequence[str], /) -> None:
        """All at once; fsspec's `rm` would take a path with `*` as a pattern."""
        self.each(self.fs._rm_file, paths)

    def below(self, folder: str, /) -> Iterator[Entry]:
        """By `find`, bypassing the listing cache."""
        self.fs.invalidate_cache()
        return files_below(self.fs, folder)

    def inside(self, folder: str, /) -> Iterator[Entry]:
        """By `ls`, bypassing the listing cache."""
        self.fs.invalidate_cache()
        (listed,) = self.at_once(self._ls, [folder[:-1]])
        for info in self._value(listed) or []:
            if info["type"] == "directory":
                yield Entry(info["name"].rstrip("/"), None)
            elif is_file(info):
                yield Entry(info["name"], info["size"])

    def holds(self, path: str) -> bool:  # noqa: ARG002 - for subclasses
        """Whether such a path is possible."""
        return True

    async def size(self, path: str) -> int | None:
        """The size of a file; `None` for a folder."""
        info = await self.fs._info(path)
        return info["size"] if is_file(info) else None

    def each(self, function: Callable[[str], Awaitable[T | None]], paths: Collection[str]) -> list[T | None]:
        """The results of a coroutine function for each path, all at once; `None` for what is not there or cannot be."""
        fit = [path for path in dict.fromkeys(paths) if self.holds(path)]
        answers = zip(fit, self.at_once(function, fit), strict=True)
        values = {path: self._value(answer) for path, answer in answers}
        return [values.get(path) for path in paths]

    def at_once(
        self, function: Callable[[Asked], Awaitable[T]], asked: Collection[Asked]
    ) -> list[T | BaseException]:
        """The results or exceptions of a coroutine function for each path or part, `CONCURRENT` of them at a time."""

        async def run() -> list[T | BaseException]:
            free = asyncio.Semaphore(CONCURRENT)

            async def one(item: Asked) -> T:
                async with free:
                    return await function(item)

            return await asyncio.gather(*map(one, asked), return_exceptions=True)

        results: list[T | BaseException] = sync(self.fs.loop, run)
        return results

    async def _cat(self, part: Part) -> bytes:
        start, stop = part.wanted or (None, None)
        value: bytes = await self.fs._cat_file(part.path, start=start, end=stop, **self.reading)
        return value

    async def _ls(self, path: str) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = await self.fs._ls(path, detail=True)
        return infos

    def is_absent(self, answer: object, others: Errors) -> bool:
        """Whether an answer means that there is no such object, as "not found" and `others` do."""
        return is_missing(answer, others)

    def _answer(self, answer: Any) -> Answer:
        if self.is_absent(answer, self.missing):
            return None
        if self.is_absent(answer, (PermissionError,)):
            return PermissionError(f"{answer}; {_PERHAPS_MISSING}")
        return answer  # type: ignore[no-any-return]

    def _value(self, answer: T | BaseException) -> T | None:
        if self.is_absent(answer, self.missing):
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def change(files: Access, changes: Changes) -> None:
    """Replace the files that have a value, and remove the others."""
    values = {path: value for path, value in changes.items() if value is not None}
    if values:
        files.write(values)
    if len(values) < len(changes):
        files.erase([path for path, value in changes.items() if value is None])


def files_below(fs: Any, folder: str) -> Iterator[Entry]:
    """The files that `find` reports."""
    infos: Any = {}
    with passing_missing():
        infos = fs.find(folder[:-1], detail=True)
    if not isinstance(infos, dict):  # what adlfs returns if the path is a file
        infos = {}
    return (Entry(path, info["size"]) for path, info in infos.items() if is_file(info))


def is_file(info: Mapping[str, Any]) -> bool:
    """Whether an entry is a file, not a folder or the empty object `name/` that stands for one."""
    return info["type"] != "directory" and not info["name"].endswith("/")
