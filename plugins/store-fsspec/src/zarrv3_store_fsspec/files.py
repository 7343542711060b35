"""File systems with folders, and the one in memory: one call after the other, under a lock.

The synchronous file systems of fsspec make no promise about threads: an FTP or SSH connection is one conversation.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from zarrv3.errors import InvalidKeyError, StoreAccessError
from zarrv3.store.contract import Buffer
from zarrv3.store.helpers import compare_and_set_locked
from zarrv3.store.keys import parent
from zarrv3_store_fsspec.access import NOT_FOUND, Entry, _is_file
from zarrv3_store_fsspec.reading import Answer, Part

SCRATCH = ".zarrv3-scratch/"
"""The folder at the root in which files are written before they are moved into place."""

_VANISHED = 20  # how often a write starts again because its folder was erased meanwhile


class FileAccess:
    """A synchronous file system.

    Where it has a rename of its own (SFTP, SMB, HDFS, …), a value is written to a file of its own and moved into
    place. Where it has none, it is an object store, or a cache around something, and its own way to write is taken.
    """

    exact: bool = False
    suffixes: bool = False
    swaps: bool = False

    def __init__(self, fs: Any, base: str, missing: tuple[type[BaseException], ...] = ()) -> None:
        self.fs = fs
        self.base = base
        self.missing: tuple[type[BaseException], ...] = (*NOT_FOUND, *missing)
        self.lock = lock_of(fs)
        self.moves = _has_rename(fs)

    def read(self, parts: Sequence[Part], /) -> Sequence[Answer]:
        """One after the other."""
        with self.lock:
            return [self._read(part) for part in parts]

    def sizes(self, paths: Collection[str], /) -> Sequence[int | None]:
        """One after the other."""
        with self.lock:
            self.fs.invalidate_cache()
            return [self._size(path) for path in paths]

    def write(self, items: Mapping[str, Buffer], /) -> None:
        """One after the other."""
        with self.lock:
            for path, value in items.items():
                self._write(path, bytes(value))

    def erase(self, paths: Sequence[str], /) -> None:
        """One after the other; folders that become empty go too."""
        with self.lock:
            self.fs.invalidate_cache()
            for path in paths:
                with suppress(*NOT_FOUND):
                    self.fs.rm_file(path)
            if self.moves:
                self._prune({parent(path) for path in paths})

    def below(self, folder: str, /) -> Iterator[Entry]:
        """By `find`."""
        with self.lock:
            self.fs.invalidate_cache()
            found: dict[str, dict[str, Any]] = {}
            with suppress(*NOT_FOUND):
                found = self.fs.find(folder[:-1], detail=True)
        return (Entry(path, info["size"]) for path, info in found.items() if _is_file(info))

    def inside(self, folder: str, /) -> Iterator[Entry]:
        """By `ls`."""
        with self.lock:
            self.fs.invalidate_cache()
            found = []
            with suppress(*NOT_FOUND):
                found = self.fs.ls(folder[:-1], detail=True)
        for info in found:
            is_folder = info["type"] == "directory"
            yield Entry(info["name"].rstrip("/"), None if is_folder else info["size"])

    def swap(self, path: str, old: bytes | None, new: bytes | None, /) -> bool:
        """Under the lock, which every writer of this process holds."""
        return compare_and_set_locked(
            self.lock, self._whole, self._write, lambda path: self.erase([path]), path, old, new
        )

    def locked(self) -> AbstractContextManager[object]:
        """The lock."""
        return self.lock

    # ------------------------------------------------------------ one file

    def _read(self, part: Part) -> Answer:
        start, stop = part.wanted or (None, None)
        (answer,) = self.fs.cat_ranges([part.path], [start], [stop], on_error="return")
        return None if isinstance(answer, self.missing) else answer

    def _whole(self, path: str) -> bytes | None:
        answer = self._read(Part(path, None))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _size(self, path: str) -> int | None:
        with suppress(*self.missing):
            info = self.fs.info(path)
            return info["size"] if _is_file(info) else None
        return None

    def _write(self, path: str, value: Buffer) -> None:
        if not self.moves:
            self.fs.pipe_file(path, value)
            return
        self.fs.invalidate_cache()
        if self.fs.isdir(path):
            raise InvalidKeyError(f"{path!r} is a folder, so that it can hold no value")
        above = parent(path)
        while len(above) > len(self.base):
            if self.fs.isfile(above[:-1]):
                raise InvalidKeyError(f"{above[:-1]!r} holds a value, so that no key can lie below it")
            above = parent(above)
        self._written(lambda: self._move_into_place(path, value))

    def _move_into_place(self, path: str, value: Buffer) -> None:
        scratch = f"{self.base}{SCRATCH}{uuid.uuid4().hex}"
        self.fs.makedirs(parent(scratch), exist_ok=True)
        self.fs.pipe_file(scratch, value)
        try:
            self.fs.makedirs(parent(path), exist_ok=True)
            self.fs.mv(scratch, path)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(scratch)
            raise
        self.fs.invalidate_cache()

    def _written(self, write: Callable[[], None]) -> None:
        """Do it; again if somebody erases the folder meanwhile."""
        for _ in range(_VANISHED):
            with suppress(FileNotFoundError):
                write()
                return
        raise StoreAccessError("the folder was erased each time it was made")

    def _prune(self, folders: set[str]) -> None:
        """Remove the folders, and those above them, as far as they are empty."""
        for folder in sorted({*folders, f"{self.base}{SCRATCH}"}, key=len, reverse=True):
            above = folder
            with suppress(Exception):  # it is not empty, which each file system says in its own way
                while len(above) > len(self.base) and not self.fs.ls(above[:-1], detail=False):
                    self.fs.rmdir(above[:-1])
                    self.fs.invalidate_cache()
                    above = parent(above)


class MemoryAccess(FileAccess):
    """The file system in memory: one for the whole process, and so is its lock."""

    suffixes = True
    swaps = True

    def _size(self, path: str) -> int | None:
        file = self.fs.store.get(path)  # `info` takes a file that has others below it for a folder
        return None if file is None else int(file.size)


class FTPAccess(FileAccess):
    """FTP, where fsspec says "not found" whatever the server says: the listing has to agree."""

    def _read(self, part: Part) -> Answer:
        start, stop = part.wanted or (None, None)
        (answer,) = self.fs.cat_ranges([part.path], [start], [stop], on_error="return")
        if isinstance(answer, FileNotFoundError):
            self.fs.invalidate_cache()
            there = self._size(part.path) is not None
            return (
                (answer.__cause__ if isinstance(answer.__cause__, Exception) else answer) if there else None
            )
        return None if isinstance(answer, self.missing) else answer


_memory_lock = threading.RLock()
_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def lock_of(fs: Any) -> AbstractContextManager[Any]:
    """The lock of a file system object."""
    if isinstance(fs, MemoryFileSystem):
        return _memory_lock
    lock: AbstractContextManager[Any] = _locks.setdefault(fs, threading.RLock())
    return lock


def _forget_lock() -> None:
    """In a forked child: whoever held the lock is not here to let go of it."""
    global _memory_lock  # noqa: PLW0603 - as global as the memory it protects
    _memory_lock = threading.RLock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def _has_rename(fs: Any) -> bool:
    """Whether moving is more than copying and erasing."""
    return any(
        getattr(type(fs), name, None) is not getattr(AbstractFileSystem, name, None)
        for name in ("mv", "mv_file")
    )
