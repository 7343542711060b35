"""The format of `dbm.dumb`, written so that it survives a killed process.

Python's own module writes values over old ones in place and replaces its index by writing it again, so that a process
that dies in the middle leaves mixtures, or no index at all. The format does not ask for that. `NAME.dat` has the values,
each at a multiple of 512 bytes; `NAME.dir` has a line `'key', (position, size)` for each key, and of several lines for one
key the last counts. So here a value always goes to a free place, then a line is appended; what has to take lines away
writes a new index beside the old one and renames it. Python's module reads all of that.

Why not Python's module with `durable=False`: what it loses was not merely unflushed. Writing over in place tears values that
were flushed long ago, and a flush that is interrupted takes the whole index away. It has no ranges, transactions and renaming
either, in the one format that every Python has, the default for new databases.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO, cast

from zarrv3.errors import StoreAccessError
from zarrv3.store.contract import Buffer, Changes, Request
from zarrv3.store.files import check_helper_file, inherit, status_of, sync_folder
from zarrv3.store.helpers import resolve
from zarrv3_store_dbm.space import Space

_Place = tuple[int, int]
_LINE = re.compile(r"'([^'\\]*)', \((\d+), (\d+)\)")
_SLACK = 1000  # how many superfluous lines the index may have, besides as many as it has entries


class DumbHandle:
    """An open database of the format; everything is called under a lock.

    Args:
        path: without the endings.
        writing: open it for writing; it is made when it does not exist.
        mode: permissions of a new file, before the umask.
        new: discard what is there.
    """

    def __init__(self, path: str, *, writing: bool, mode: int, new: bool = False) -> None:
        self._dat, self._dir, self._bak = (f"{path}{ending}" for ending in (".dat", ".dir", ".bak"))
        self._mode = mode
        if new:
            for name in (self._dir, self._bak, self._dat):
                with suppress(FileNotFoundError):
                    os.unlink(name)  # noqa: PTH108
        self._values: BinaryIO = self._open(self._dat, writing=writing)
        try:
            self._index, self._lines, self._log, sound = _read(self._dir, self._bak)
            self._space = Space(self._index.values(), self._values.seek(0, os.SEEK_END))
            if writing and not sound:
                self._rewrite(self._index)
        except BaseException:
            self._values.close()
            raise

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request]) -> list[bytes | None]:
        """Values or the requested parts of them; nothing else is read."""
        return [self._get(request) for request in requests]

    def stat_many(self, keys: Collection[str]) -> list[int | None]:
        """Lengths of values, from the index."""
        places = [self._index.get(key.encode()) for key in keys]
        return [place and place[1] for place in places]

    def keys(self) -> list[str]:
        """Every key that is text."""
        keys: list[str] = []
        for key in self._index:
            with suppress(UnicodeDecodeError):
                keys.append(key.decode())
        return keys

    def _get(self, request: Request) -> bytes | None:
        key, wanted = request
        place = self._index.get(key.encode())
        if place is None:
            return None
        start, length = resolve(wanted, place[1])
        if not length:
            return b""
        self._values.seek(place[0] + start)
        value = self._values.read(length)
        while len(value) < length and (more := self._values.read(length - len(value))):
            value += more  # the system reads at most two gigabytes in one call
        if len(value) != length:
            raise StoreAccessError(
                f"{self._dat!r} is damaged: it ends before the end of the value of {key!r}; restore it from a copy"
            )
        return value

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes) -> None:
        """Write values to free places, then their lines in one go; when something is removed, a new index."""
        if None in changes.values():
            self.apply_many(changes)
            return
        new = self._placed(changes)
        lines = b"".join(_line(key, place) for key, place in new.items())
        with open(self._dir, "r+b", buffering=0) as log:  # noqa: PTH123
            try:
                _write(log, lines, self._log)
            except BaseException:
                log.truncate(self._log)  # no half line
                raise
        self._log += len(lines)
        self._lines += len(new)
        self._free(new)
        self._index.update(new)
        if self._space.is_wasteful:
            self.sync()

    def apply_many(self, changes: Changes) -> None:
        """Write values to free places, then a new index: everything takes effect at once."""
        new = self._placed(changes)
        gone = [
            name for key, value in changes.items() if value is None and (name := key.encode()) in self._index
        ]
        if new or gone:
            index = {**self._index, **new}
            for key in gone:
                del index[key]
            self._rewrite(index)
            self._free([*new, *gone])
            self._index = index

    def move(self, names: Mapping[str, str]) -> None:
        """Rename keys, all at once; no value is copied."""
        index = dict(self._index)
        for old, new in names.items():
            index[new.encode()] = index.pop(old.encode())
        self._rewrite(index)
        self._index = index

    def sync(self) -> bool:
        """Bring everything to the disk, so that freed places can be used again."""
        os.fsync(self._values.fileno())
        if self._lines > 2 * len(self._index) + _SLACK:
            self._rewrite(self._index)
        else:
            with open(self._dir, "r+b", buffering=0) as log:  # noqa: PTH123
                os.fsync(log.fileno())
        sync_folder(os.path.dirname(self._dir))  # noqa: PTH120
        self._space.settle()
        return True

    def close(self) -> None:
        """Close the data file; nothing is pending by then."""
        self._values.close()

    def abandon(self) -> None:
        """See `Handle`: closing an unbuffered file writes nothing."""

    def _placed(self, changes: Changes) -> dict[bytes, _Place]:
        new: dict[bytes, _Place] = {}
        for key, value in changes.items():
            if value is not None:
                position = self._space.take(len(value))
                _write(self._values, value, position)
                new[key.encode()] = position, len(value)
        return new

    def _free(self, keys: Iterable[bytes]) -> None:
        """The index on the disk no longer points to the values of these keys."""
        for key in keys:
            if (old := self._index.get(key)) is not None:
                self._space.give(*old)

    def _rewrite(self, index: Mapping[bytes, _Place]) -> None:
        """Replace the index at once: it is on the disk before it is renamed."""
        text = b"".join(_line(key, place) for key, place in index.items())
        fresh = f"{self._dir}.new"
        try:
            with suppress(FileNotFoundError):
                os.unlink(fresh)  # noqa: PTH108 - a dead writer's, or a link
            with self._open(fresh, writing=True, flags=os.O_EXCL) as file:
                inherit(file.fileno(), status_of(self._dir))
                _write(file, text, 0)
                os.fsync(file.fileno())
            os.replace(fresh, self._dir)  # noqa: PTH105
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(fresh)  # noqa: PTH108
            raise
        self._log, self._lines = len(text), len(index)
        with suppress(FileNotFoundError):
            os.unlink(self._bak)  # noqa: PTH108 - older than what there is now

    def _open(self, path: str, *, writing: bool, flags: int = 0) -> BinaryIO:
        if not writing:
            return open(path, "rb", buffering=0)  # noqa: PTH123
        if not os.path.exists(path):  # noqa: PTH110 - text is all there is
            check_helper_file(path)  # a link may lead to what is not there
        flags |= os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        # no interrupt comes between the two
        (file,) = map(open, map(os.open, (path,), (flags,), (self._mode,)), ("r+b",), (0,))
        return cast("BinaryIO", file)


def _write(file: BinaryIO, value: Buffer, position: int) -> None:
    """Write a whole value, however many calls that takes."""
    file.seek(position)
    rest = memoryview(value)
    while rest.nbytes:
        rest = rest[file.write(rest) :]


def _line(key: bytes, place: _Place) -> bytes:
    return f"{key.decode('latin-1')!r}, {place!r}\n".encode("latin-1")


def _read(path: str, backup: str) -> tuple[dict[bytes, _Place], int, int, bool]:
    """The index, its number of lines, its length in bytes, and whether it can be added to as it is.

    When the index was cut off in the middle, by Python's own module too, its backup is read first: no value
    is lost, though a key that was just erased may reappear.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            text = file.read()
    except FileNotFoundError:
        text = None
    sound = text is not None and (not text or text.endswith(b"\n"))
    index: dict[bytes, _Place] = {}
    if not sound:
        with suppress(FileNotFoundError), open(backup, "rb") as file:  # noqa: PTH123
            _parse(backup, file.read(), index)
    lines = _parse(path, text or b"", index)
    return index, lines, len(text or b""), sound


def _parse(path: str, text: bytes, index: dict[bytes, _Place]) -> int:
    *lines, last = text.decode("latin-1").split("\n")
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry is None:
            raise StoreAccessError(
                f"line {number} of {path!r} is not an entry of a dbm.dumb index; the file is damaged, or not a database"
            )
        index[entry[0]] = entry[1]
    entry = _entry(last) if last else None
    if entry:
        index[entry[0]] = entry[1]
    return len(lines)


def _entry(line: str) -> tuple[bytes, _Place] | None:
    match = _LINE.fullmatch(line.rstrip())
    if match:
        return match[1].encode("latin-1"), (int(match[2]), int(match[3]))
    try:
        key, (position, size) = ast.literal_eval(line)
        return key.encode("latin-1"), (int(position), int(size))
    except (ValueError, SyntaxError, TypeError, AttributeError):
        return None
