"""File systems with folders, and the one in memory: one call after the other, under a lock.

The synchronous file systems of fsspec make no promise about threads: an FTP or SSH connection is one
conversation.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from zarrv3.errors import InvalidKeyError, StoreAccessError
from zarrv3.forks import Lock
from zarrv3.store.contract import Buffer, Swaps, Versioned
from zarrv3.store.helpers import unchanged
from zarrv3.store.keys import parent
from zarrv3_store_fsspec.access import (
    Entry,
    Errors,
    change,
    files_below,
    is_file,
    is_missing,
    passing_missing,
)
from zarrv3_store_fsspec.reading import Answer, Part
from zarrv3_store_fsspec.systems import is_movable, protocol_of

SCRATCH = ".zarrv3-scratch/"
"""The folder at the root where files are written before they are moved into place."""

_VANISHED = 20  # how often a write starts again because its folder was erased in the meantime


class FileAccess:
    """A synchronous file system.

    Where it can move a file in one step (SFTP, SMB, …), a value is written to a temporary file and moved into
    place. Where it cannot, its own way to write is taken; so it is for a file that is there already, where
    moving does not replace it (WebDAV, HDFS, …).
    """

    exact: bool = False
    suffixes: bool = False

    def __init__(self, fs: Any, base: str, missing: Errors = ()) -> None:
        self.fs = fs
        self.base = base
        self.missing = missing
        self.lock = _memory if isinstance(fs, MemoryFileSystem) else _locks.setdefault(fs, Lock())
        self.move = _move_of(fs)

    def read(self, parts: Sequence[Part], /) -> Sequence[Answer]:
        """One after the other."""
        with self.lock.taken:
            return [self._read(part) for part in parts]

    def sizes(self, paths: Collection[str], /) -> Sequence[int | None]:
        """One after the other."""
        with self.lock.taken:
            self.fs.invalidate_cache()
            return [self._size(path) for path in paths]

    def write(self, items: Mapping[str, Buffer], /) -> None:
        """One after the other."""
        with self.lock.taken:
            for path, value in items.items():
                self._write(path, bytes(value))

    def erase(self, paths: Sequence[str], /) -> None:
        """One after the other; folders that become empty go too."""
        with self.lock.taken:
            self.fs.invalidate_cache()
            for path in paths:
                with passing_missing():
                    self.fs.rm_file(path)
            if self.move is not None:
                self._prune({parent(path) for path in paths})

    def below(self, folder: str, /) -> Iterator[Entry]:
        """By `find`."""
        with self.lock.taken:
            self.fs.invalidate_cache()
            return files_below(self.fs, folder)

    def inside(self, folder: str, /) -> Iterator[Entry]:
        """By `ls`."""
        with self.lock.taken:
            self.fs.invalidate_cache()
            infos = []
            with passing_missing():
                infos = self.fs.ls(folder[:-1], detail=True)
        for info in infos:
            is_folder = info["type"] == "directory"
            yield Entry(info["name"].rstrip("/"), None if is_folder else info["size"])

    # ------------------------------------------------------------ one file

    def _read(self, part: Part) -> Answer:
        start, stop = part.wanted or (None, None)
        try:
            value: bytes = self.fs.cat_file(part.path, start=start, end=stop)
        except Exception as error:  # noqa: BLE001 - raised where the value is needed
            return self._failure(error, part.path)
        return value

    def _failure(self, error: Exception, path: str) -> Exception | None:  # noqa: ARG002 - for subclasses
        return None if is_missing(error, self.missing) else error

    def _whole(self, path: str) -> bytes | None:
        answer = self._read(Part(path, None))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _size(self, path: str) -> int | None:
        try:
            info = self.fs.info(path)
        except Exception as error:
            if is_missing(error, self.missing):
                return None
            raise
        return info["size"] if is_file(info) else None

    def _write(self, path: str, value: bytes) -> None:
        if self.move is None:
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
        for _ in range(_VANISHED):  # again if the folder is erased in the meantime
            with passing_missing():
                if not self._is_moved(path, value, self.move):
                    self.fs.pipe_file(path, value)
                self.fs.invalidate_cache()
                return
        raise StoreAccessError("the folder was erased each time it was made")

    def _is_moved(self, path: str, value: bytes, move: Callable[[str, str], object]) -> bool:
        """Write a temporary file and move it into place; whether that was done, not refused because a file is there."""
        if not self.replaces and self.fs.isfile(path):
            return False
        with self._scratch(value) as scratch:
            self.fs.makedirs(parent(path), exist_ok=True)
            try:
                move(scratch, path)
            except Exception:
                if self.replaces or not self.fs.isfile(path):
                    raise
            return self.replaces or not self.fs.exists(scratch)  # WebHDFS says nothing when it refuses

    @cached_property
    def replaces(self) -> bool:
        """Whether moving replaces a file that is there: tried with two files of our own, once."""
        with self._scratch(b"old") as target, self._scratch(b"new") as source:
            if self.move is not None:
                with suppress(Exception):
                    self.move(source, target)
            self.fs.invalidate_cache()
            return not self.fs.exists(source) and bool(self.fs.cat_file(target) == b"new")

    @contextmanager
    def _scratch(self, value: bytes) -> Iterator[str]:
        """A temporary file, which is gone at the end of the block."""
        path = f"{self.base}{SCRATCH}{uuid.uuid4().hex}"
        self.fs.makedirs(parent(path), exist_ok=True)
        try:
            self.fs.pipe_file(path, value)
            yield path
        finally:
            with suppress(Exception):  # it was moved, or the error that ended the block counts
                self.fs.rm_file(path)

    def _prune(self, folders: set[str]) -> None:
        """Remove those of the folders, and of their parents, that are empty."""
        for folder in sorted({*folders, f"{self.base}{SCRATCH}"}, key=len, reverse=True):
            above = folder
            with suppress(Exception):  # it is not empty, which each file system reports in its own way
                while len(above) > len(self.base) and not self.fs.ls(above[:-1], detail=False):
                    self.fs.rmdir(above[:-1])
                    self.fs.invalidate_cache()
                    above = parent(above)


class CopiesAccess(FileAccess):
    """A cache of fsspec that keeps whole files: a part of a value, and its size, are those of the copy."""

    exact = True
    suffixes = True

    def _read(self, part: Part) -> Answer:
        answer = super()._read(Part(part.path, None))
        return answer[slice(*part.wanted)] if isinstance(answer, bytes) and part.wanted else answer

    def _size(self, path: str) -> int | None:
        value = self._whole(path)
        return None if value is None else len(value)


class MemoryAccess(FileAccess):
    """The file system in memory: one for the whole process, and so is its lock."""

    suffixes = True

    def versioned(self, paths: Sequence[str], /) -> Sequence[Versioned]:
        """The files; the version of a value is the value itself."""
        with self.lock.taken:
            values = [self._whole(path) for path in paths]
        return [(value, value) for value in values]

    def swap(self, swaps: Swaps, /) -> Collection[str]:
        """Under the lock, which every writer of this process holds."""
        with self.lock.taken:
            changes, refused = unchanged(swaps, map(self._whole, swaps))
            change(self, changes)
        return refused

    def _size(self, path: str) -> int | None:
        file = self.fs.store.get(path)  # `info` takes a file that has others below it as a folder
        return None if file is None else int(file.size)


class FTPAccess(FileAccess):
    """FTP, where fsspec reports every error as "not found": the listing has to confirm it."""

    def _failure(self, error: Exception, path: str) -> Exception | None:
        if not isinstance(error, FileNotFoundError):
            return super()._failure(error, path)
        self.fs.invalidate_cache()
        cause = error.__cause__
        return None if self._size(path) is None else cause if isinstance(cause, Exception) else error


_memory = Lock()
"""The lock of the file system in memory, of which there is one."""

_locks: WeakKeyDictionary[Any, Lock] = WeakKeyDictionary()
"""The locks of the other file system objects."""


def _move_of(fs: Any) -> Callable[[str, str], object] | None:
    """What moves a file in one step, if anything does; also where fsspec makes less of what the system can."""
    protocol = protocol_of(fs)
    if protocol == "smb":
        from smbclient import replace  # type: ignore[import-untyped,import-not-found,unused-ignore]

        def share(path: str) -> str:
            return f"//{fs.host}{path}".replace("/", "\\")

        return lambda source, target: replace(share(source), share(target), port=fs._port)
    if protocol == "webdav":
        move: Callable[[str, str], object] = fs.client.move
        return move
    return fs.mv if is_movable(fs) else None
