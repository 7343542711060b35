"""File systems with folders, and the one in memory: one call after the other, under a lock.

The synchronous file systems of fsspec make no promise about threads: an FTP or SSH connection is one
conversation.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from zarrv3.errors import InvalidKeyError, StoreAccessError
from zarrv3.forks import renew_in_children
from zarrv3.store.contract import Buffer, Swaps, Versioned
from zarrv3.store.helpers import unchanged
from zarrv3.store.keys import parent
from zarrv3_store_fsspec.access import NOT_FOUND, Entry, change, files_below, is_file
from zarrv3_store_fsspec.reading import Answer, Part
from zarrv3_store_fsspec.systems import protocol_of

SCRATCH = ".zarrv3-scratch/"
"""The folder at the root where files are written before they are moved into place."""

_VANISHED = 20  # how often a write starts again because its folder was erased in the meantime
_KEEPS = {"webdav", "smb", "hdfs", "arrow_hdfs", "webhdfs", "dbfs"}  # moving does not replace what is there


class FileAccess:
    """A synchronous file system.

    Where it has a native rename (SFTP, …), a value is written to a temporary file and moved into place. Where
    it has none, it is an object store, or a cache around something, and its own way to write is taken; so it
    is for a file that is there already, where moving does not replace it (WebDAV, SMB, HDFS, …).
    """

    exact: bool = False
    suffixes: bool = False

    def __init__(self, fs: Any, base: str, missing: tuple[type[BaseException], ...] = ()) -> None:
        self.fs = fs
        self.base = base
        self.missing: tuple[type[BaseException], ...] = (*NOT_FOUND, *missing)
        self.lock = _locks.of(fs)
        self.moves = _has_rename(fs)
        self.replaces = protocol_of(fs) not in _KEEPS

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
            return files_below(self.fs, folder)

    def inside(self, folder: str, /) -> Iterator[Entry]:
        """By `ls`."""
        with self.lock:
            self.fs.invalidate_cache()
            infos = []
            with suppress(*NOT_FOUND):
                infos = self.fs.ls(folder[:-1], detail=True)
        for info in infos:
            is_folder = info["type"] == "directory"
            yield Entry(info["name"].rstrip("/"), None if is_folder else info["size"])

    # ------------------------------------------------------------ one file

    def _read(self, part: Part) -> Answer:
        start, stop = part.wanted or (None, None)
        (answer,) = self.fs.cat_ranges([part.path], [start], [stop], on_error="return")
        return None if isinstance(answer, self.missing) else answer

    def _size(self, path: str) -> int | None:
        with suppress(*self.missing):
            info = self.fs.info(path)
            return info["size"] if is_file(info) else None
        return None

    def _write(self, path: str, value: Buffer) -> None:
        if not self.moves:
            self.fs.pipe_file(path, value)
            return
        self.fs.invalidate_cache()
        if self.fs.isdir(path):
            raise InvalidKeyError(f"{path!r} is a folder, so it cannot hold a value")
        above = parent(path)
        while len(above) > len(self.base):
            if self.fs.isfile(above[:-1]):
                raise InvalidKeyError(f"{above[:-1]!r} holds a value, so no key can lie below it")
            above = parent(above)
        self._written(lambda: self._put(path, value))

    def _put(self, path: str, value: Buffer) -> None:
        if not self._is_moved(path, value):
            self.fs.pipe_file(path, value)
        self.fs.invalidate_cache()

    def _is_moved(self, path: str, value: Buffer) -> bool:
        """Write a temporary file and move it into place; whether that was done, not refused because a file is there."""
        if not self.replaces and self.fs.isfile(path):
            return False
        scratch = f"{self.base}{SCRATCH}{uuid.uuid4().hex}"
        self.fs.makedirs(parent(scratch), exist_ok=True)
        self.fs.pipe_file(scratch, value)
        try:
            self.fs.makedirs(parent(path), exist_ok=True)
            self.fs.mv(scratch, path)
            if self.replaces or not self.fs.exists(scratch):  # WebHDFS says nothing when it refuses
                return True
        except BaseException as error:
            with suppress(Exception):
                self.fs.rm_file(scratch)
            if not isinstance(error, FileExistsError) or not self.fs.isfile(path):
                raise
        else:
            self.fs.rm_file(scratch)
        self.replaces = False
        return False

    def _written(self, write: Callable[[], None]) -> None:
        """Write a file; again if its folder is erased in the meantime."""
        for _ in range(_VANISHED):
            with suppress(FileNotFoundError):
                write()
                return
        raise StoreAccessError("the folder was erased each time it was made")

    def _prune(self, folders: set[str]) -> None:
        """Remove those of the folders, and of their parents, that are empty."""
        for folder in sorted({*folders, f"{self.base}{SCRATCH}"}, key=len, reverse=True):
            above = folder
            with suppress(Exception):  # it is not empty, which each file system reports in its own way
                while len(above) > len(self.base) and not self.fs.ls(above[:-1], detail=False):
                    self.fs.rmdir(above[:-1])
                    self.fs.invalidate_cache()
                    above = parent(above)


class MemoryAccess(FileAccess):
    """The file system in memory: one for the whole process, and so is its lock."""

    suffixes = True

    def versioned(self, paths: Sequence[str], /) -> Sequence[Versioned]:
        """The files; the version of a value is the value itself."""
        with self.lock:
            values = [self._whole(path) for path in paths]
        return [(value, value) for value in values]

    def swap(self, swaps: Swaps, /) -> Collection[str]:
        """Under the lock, which every writer of this process holds."""
        with self.lock:
            changes, refused = unchanged(swaps, map(self._whole, swaps))
            change(self, changes)
        return refused

    def _whole(self, path: str) -> bytes | None:
        answer = self._read(Part(path, None))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _size(self, path: str) -> int | None:
        file = self.fs.store.get(path)  # `info` takes a file that has others below it as a folder
        return None if file is None else int(file.size)


class FTPAccess(FileAccess):
    """FTP, where fsspec reports every error as "not found": the listing has to confirm it."""

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


class _Locks:
    """The lock of each file system object, and of the one memory."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child: the threads that held the locks do not exist here."""
        self.memory = threading.RLock()
        self.others: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def of(self, fs: Any) -> AbstractContextManager[Any]:
        """The lock of a file system object."""
        if isinstance(fs, MemoryFileSystem):
            return self.memory
        lock: AbstractContextManager[Any] = self.others.setdefault(fs, threading.RLock())
        return lock


_locks = _Locks()


def _has_rename(fs: Any) -> bool:
    """Whether moving is native, not copying and erasing."""
    return any(
        getattr(type(fs), name, None) is not getattr(AbstractFileSystem, name, None)
        for name in ("mv", "mv_file")
    )
