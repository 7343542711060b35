"""Files read and written at positions, and the one in which unflushed values wait under a lock."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from zarrv3.errors import CorruptDataError, StoreAccessError, StoreUnavailableError
from zarrv3.forks import renew_in_children
from zarrv3.store.contract import Buffer
from zarrv3.store.files import check_helper_file, inherit, narrow, read_at, status_of, write_at

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

_PIECE = 1 << 20
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_copy_range = getattr(os, "copy_file_range", None)


class Stamp(NamedTuple):
    """What distinguishes one version of a file from another."""

    device: int
    number: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result, path: str) -> Stamp:
        """The version of a file; raises `StoreAccessError` for a folder and the like."""
        if stat.S_ISDIR(status.st_mode):
            raise StoreAccessError(f"{path!r} is a folder, not an archive; a folder opens as file://{path}")
        if not stat.S_ISREG(status.st_mode):
            raise StoreAccessError(f"{path!r} is not a file")
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    @classmethod
    def at(cls, path: str) -> Stamp | None:
        """The version of what is at a path; `None` where there is nothing."""
        try:
            return cls.of(Path(path).stat(), path)
        except (FileNotFoundError, NotADirectoryError):
            return None


class File:
    """An open file, closed when nothing refers to it any more; thread-safe.

    Its descriptor is noted in the step that opens it and forgotten in the one that closes it: no interrupt comes in between.
    """

    __slots__ = ("__del__", "_opened", "close", "path")

    def __init__(self, path: str, flags: int, mode: int = 0o666) -> None:
        self.path = path
        self._opened = [-1]
        self.close = partial(any, map(os.close, iter(self._opened.pop, -1)))
        self.__del__: Callable[[], bool] = self.close  # nothing of ours, which could be interrupted
        self._opened.extend(map(os.open, (path,), (flags | _FLAGS,), (mode,)))

    @property
    def fd(self) -> int:
        """The descriptor, -1 when it is closed."""
        return self._opened[-1] if self._opened else -1

    def stamp(self) -> Stamp:
        """What distinguishes this version from another."""
        return Stamp.of(os.fstat(self.fd), self.path)

    def read(self, start: int, length: int) -> bytes:
        """This many bytes from a position; raises `CorruptDataError` if the file ends before."""
        data = read_at(self.fd, length, start)
        if len(data) == length:
            return data
        pieces = [data]  # the system returns at most 2 GiB at once
        missing = length - len(data)
        while missing and pieces[-1]:
            pieces.append(read_at(self.fd, missing, start + length - missing))
            missing -= len(pieces[-1])
        if missing:
            raise CorruptDataError(
                f"{self.path!r} ends before an entry that it should hold; it was truncated"
            )
        return b"".join(pieces)

    def peek(self, start: int, length: int) -> bytes:
        """At most this many bytes from a position."""
        return read_at(self.fd, length, start)

    def write(self, start: int, data: Buffer) -> None:
        """Write at a position, all of it."""
        rest = memoryview(data)
        while rest:
            done = write_at(self.fd, rest, start)
            rest, start = rest[done:], start + done

    def copy(self, start: int, length: int, target: File, place: int) -> None:
        """Copy bytes into another file: by the system, which shares blocks where the file system can."""
        while length and _copy_range is not None:
            try:
                done = _copy_range(self.fd, target.fd, length, start, place)
            except OSError:  # not between these two files: copy the plain way, which reports what is wrong
                break
            if not done:
                break
            start, place, length = start + done, place + done, length - done
        while length:
            piece = self.read(start, min(length, _PIECE))
            target.write(place, piece)
            start, place, length = start + len(piece), place + len(piece), length - len(piece)

    @contextlib.contextmanager
    def stream(self, mode: str, position: int = 0) -> Iterator[IO[bytes]]:
        """The file as a stream."""
        with open(self.fd, mode, closefd=False) as stream:
            stream.seek(position)
            yield stream

    def locked(self) -> bool:
        """Take the lock of the file; `False` if another process has it."""
        if fcntl is None:  # pragma: no cover - Windows
            return True
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Release the lock, also where a forked child has the file open."""
        if fcntl is not None:
            fcntl.flock(self.fd, fcntl.LOCK_UN)


class Spool:
    """A file beside an archive in which values wait for the next flush, and a lock that makes its owner the only writer.

    The lock is a file of its own, always empty. What lies under any of the names is never opened through a link.

    Attributes:
        file: where values wait.
        end: where the next value goes.
        dead: how many of its bytes are superseded.
    """

    _lock: File | None = None

    def __init__(self, archive: str) -> None:
        self._archive = place = Path(archive)
        self._owner = os.getpid()
        self.path = place.with_name(f".{place.name}.zarrv3")
        self._places = [place.with_name(f"{self.path.name}-{number}") for number in (1, 2)]
        self.end = self.dead = 0
        renew_in_children(self)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock(archive)
        self.file = self._made(self._places[0])

    def _take_lock(self, archive: str) -> None:
        while True:
            check_helper_file(str(self.path))
            lock = File(str(self.path), os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0))
            mine = lock.locked()
            there = Stamp.at(str(self.path))  # unless its owner has just flushed: the name is free again
            if there is not None and there[:2] == lock.stamp()[:2]:
                if mine:
                    self._lock = lock
                    return
                raise StoreUnavailableError(
                    f"another process has unflushed changes of {archive!r}; it has to flush or close before this process can write"
                )

    def renew(self) -> None:
        """In a forked child: leave all to the parent, the lock too."""
        for file in vars(self).values():
            if isinstance(file, File):
                file.close()

    def append(self, pieces: Iterable[Buffer]) -> int:
        """Write at the end; returns where. On an error nothing has been added."""
        place = end = self.end
        for piece in pieces:
            self.file.write(end, piece)
            end += len(piece)
        self.end = end
        return place

    def second(self) -> File:
        """A new file to copy into; it becomes the archive or the next spool."""
        return self._made(next(place for place in self._places if str(place) != self.file.path))

    def _made(self, place: Path) -> File:
        place.unlink(missing_ok=True)  # a dead writer's
        before = status_of(str(self._archive))
        file = File(str(place), os.O_RDWR | os.O_CREAT | os.O_EXCL, narrow(before))
        inherit(file.fd, before)
        return file

    def replace(self, file: File, end: int) -> None:
        """Continue in the second file."""
        old, self.file, self.end, self.dead = self.file, file, end, 0
        self.discard(old)

    def discard(self, file: File) -> None:
        """Remove a file, unless values wait in it."""
        if file is not self.file:
            Path(file.path).unlink(missing_ok=True)

    def release(self) -> None:
        """Remove the files and release the lock."""
        if self._lock is not None and self._lock.fd >= 0 and self._owner == os.getpid():
            for place in (*self._places, self.path):
                place.unlink(missing_ok=True)
            self._lock.unlock()
            self._lock.close()
