"""Which module a database belongs to, and the object of any such module as a handle."""

from __future__ import annotations

import ctypes
import importlib
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from contextlib import closing, suppress
from typing import Any, BinaryIO, NamedTuple, Protocol

from zarrv3.errors import ConfigurationError, StoreAccessError
from zarrv3.store.contract import Buffer, Changes, Request
from zarrv3.store.files import check_helper_file
from zarrv3.store.helpers import cut
from zarrv3_store_dbm.dumb import DumbHandle

OpenFunction = Callable[..., Any]

MODULES = ("dumb", "gnu", "ndbm", "sqlite3")
"""The modules of Python's package `dbm`."""

DEFAULT = "dumb"
"""The module for new databases: the one format that every Python reads."""

FOREIGN = "an open function"
"""Stands for the module when the user gives the open function of another library."""

DURABLE = ("dumb", "sqlite3")
"""Modules whose writes are in the file once they have returned."""

_OPENERS = {"dbm.dumb": "dumb", "_gdbm": "gnu", "_dbm": "ndbm", "dbm.sqlite3": "sqlite3"}
_FILES = {
    "dumb": (".dat", ".dir", ".bak"),
    "gnu": ("",),
    "ndbm": (".db", ".pag", ".dir"),
    "sqlite3": ("", "-wal", "-shm"),
}
_HELPERS = {"sqlite3": ("-wal", "-shm", "-journal")}
_GNU = {0x13579ACD, 0x13579ACE, 0x13579ACF, 0x13579AD0, 0x13579AD1}
_BERKELEY = 0x00061561
_SQLITE = b"SQLite format 3\0"
_HELP = {
    "gnu": "on Debian the package python3-gdbm has it",
    "ndbm": "many builds of Python leave it out; your system's may have it",
    "sqlite3": "it comes with Python 3.13",
}


class Handle(Protocol):
    """An open database, called by one thread at a time."""

    def get_many(self, requests: Sequence[Request]) -> list[bytes | None]:
        """Values or parts of them, `None` where a key is missing."""
        ...

    def stat_many(self, keys: Collection[str]) -> list[int | None]:
        """Lengths of values, `None` where a key is missing."""
        ...

    def keys(self) -> list[str]:
        """Every key that is text."""
        ...

    def write_many(self, changes: Changes) -> None:
        """Store values, and remove those keys that have `None` and exist."""
        ...

    def sync(self) -> bool:
        """Bring everything to the file; `False` where only closing does that."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def abandon(self) -> None:
        """In a forked child: make sure that nothing is ever freed if freeing it would write to the file."""
        ...


class Place(NamedTuple):
    """Where a database is and how it is opened."""

    path: str
    module: str
    """One of `MODULES`, or `FOREIGN`."""
    open: OpenFunction | None
    options: Mapping[str, Any]
    mode: int
    letters: str
    """The rest of the flag after its first letter: `f`, `s`, `u` of `dbm.gnu`."""

    def exists(self) -> bool:
        """Whether there is a database; raises when what is there is something else."""
        if self.module == FOREIGN:
            return _is_any_file(self.path)
        written_by = module_of(self.path)
        if written_by not in {None, self.module}:
            raise StoreAccessError(
                f"{self.path!r} was written by dbm.{written_by}, not by dbm.{self.module}; open it with module={written_by!r}, "
                "or leave the module out"
            )
        return written_by is not None

    def open_handle(self, flag: str) -> Handle:
        """Open the file: `r`, `w`, `c` or `n`."""
        if self.module == "dumb":
            return DumbHandle(self.path, writing=flag != "r", mode=self.mode, new=flag == "n")
        for ending in _HELPERS.get(self.module, ()):
            check_helper_file(self.path + ending)
        function = self.open or imported(self.module, self.path).open
        database = function(self.path, flag + self.letters, self.mode, **self.options)
        return NdbmHandle(database) if self.module == "ndbm" else ModuleHandle(database)

    def remove(self) -> None:
        """Remove the files of the database that is there, so that a new one can be made."""
        written_by = None if self.module == FOREIGN else module_of(self.path)
        for ending in _FILES.get(written_by or "", ()):
            with suppress(FileNotFoundError):
                os.unlink(self.path + ending)  # noqa: PTH108

    def sync_files(self) -> None:
        """Bring the closed files of a known module to the disk; SQLite's by SQLite, which loses its locks when we close them."""
        if self.module == "sqlite3":
            if _is_file(self.path):
                with closing(sqlite3.connect(self.path)) as database:
                    database.execute("PRAGMA synchronous = FULL")
                    database.execute("PRAGMA wal_checkpoint").fetchall()
            return
        for ending in _FILES.get(self.module, ()):
            with suppress(FileNotFoundError), open(self.path + ending, "rb") as file:  # noqa: PTH123
                os.fsync(file.fileno())


class ModuleHandle:
    """The object that an `open` function returned: a mapping from bytes to bytes."""

    def __init__(self, database: MutableMapping[Any, Any]) -> None:
        self.database = database

    def get_many(self, requests: Sequence[Request]) -> list[bytes | None]:
        """See `Handle`; values are read whole."""
        return [_bytes(cut(self._get(key), wanted)) for key, wanted in requests]

    def stat_many(self, keys: Collection[str]) -> list[int | None]:
        """See `Handle`; the values have to be read."""
        values = map(self._get, keys)
        return [None if value is None else len(value) for value in values]

    def keys(self) -> list[str]:
        """See `Handle`."""
        keys: list[str] = []
        for key in self.database.keys():  # noqa: SIM118 - objects of _gdbm and _dbm cannot be iterated
            with suppress(UnicodeDecodeError):
                keys.append(key if isinstance(key, str) else bytes(key).decode())
        return keys

    def write_many(self, changes: Changes) -> None:
        """See `Handle`."""
        for key, value in changes.items():
            if value is not None:
                self.database[key.encode()] = bytes(value)
            else:
                with suppress(KeyError):
                    del self.database[key.encode()]

    def sync(self) -> bool:
        """See `Handle`."""
        sync = getattr(self.database, "sync", None)
        if sync is None:
            return False
        sync()
        return True

    def close(self) -> None:
        """See `Handle`."""
        self.database.close()  # type: ignore[attr-defined]

    def abandon(self) -> None:
        """See `Handle`: a reference that is never dropped."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.database))

    def _get(self, key: str) -> Buffer | None:
        with suppress(KeyError):
            value: Buffer | None = self.database[key.encode()]
            return value
        return None


class NdbmHandle(ModuleHandle):
    """An object of `dbm.ndbm`, which over Berkeley DB lists keys of empty values, but may or may not find them."""

    def __init__(self, database: MutableMapping[Any, Any]) -> None:
        super().__init__(database)
        self._listed: set[bytes] | None = None

    def write_many(self, changes: Changes) -> None:
        """See `Handle`."""
        super().write_many(changes)
        there = self._there()
        for key, value in changes.items():
            (there.discard if value is None else there.add)(key.encode())

    def _get(self, key: str) -> Buffer | None:
        value = super()._get(key)
        return b"" if value is None and key.encode() in self._there() else value

    def _there(self) -> set[bytes]:
        """All keys: one of them whose value is not found has an empty value."""
        if self._listed is None:
            self._listed = set(self.database.keys())
        return self._listed


# ---------------------------------------------------------------- which module


def module_named(function: OpenFunction) -> str | None:
    """The known module whose `open` a function is, if any."""
    if getattr(function, "__name__", None) != "open":
        return None
    return _OPENERS.get(getattr(function, "__module__", None) or "")


def imported(module: str, path: str) -> Any:
    """The module of that name; the `ConfigurationError` it raises tells where to get a missing one."""
    try:
        return importlib.import_module(f"dbm.{module}")
    except ImportError as error:
        raise ConfigurationError(
            f"{path!r} needs the module dbm.{module}, which this Python does not have; {_HELP[module]}, "
            "or copy the data into another store with a Python that has it"
        ) from error


def module_of(path: str) -> str | None:
    """Which module wrote the database of that name, `None` when there is none; raises when something else is there.

    `dbm.whichdb` knows only the modules of the running Python, and takes the files of others for missing.
    """
    if _is_dumb(path):
        return "dumb"
    if _is_file(f"{path}.pag") and _is_file(f"{path}.dir"):
        return "ndbm"
    if _BERKELEY in {*_numbers(_start(f"{path}.db"))}:
        return "ndbm"
    if os.path.isdir(path):  # noqa: PTH112
        raise StoreAccessError(f"{path!r} is a folder, not a dbm database; give the path of a file in it")
    start = _start(path)
    if not start:
        return None
    if start == _SQLITE:
        return "sqlite3"
    if _GNU & {*_numbers(start)}:
        return "gnu"
    raise StoreAccessError(
        f"{path!r} is a file, but not a database of Python's dbm modules; for another library's give its open function"
    )


def _is_dumb(path: str) -> bool:
    if not _is_file(f"{path}.dat"):
        return False
    if _is_file(f"{path}.dir"):
        return _start(f"{path}.dir")[:1] in {b"", b"'", b'"'}
    if _is_file(f"{path}.bak") or not os.path.getsize(f"{path}.dat"):  # noqa: PTH202
        return True
    raise StoreAccessError(
        f"'{path}.dat' is there, but its index '{path}.dir' is not; restore it, or choose another path"
    )


def _is_any_file(path: str) -> bool:
    """Whether anything is there that an unknown library may have made: the path, or the path with an ending."""
    if os.path.isdir(path):  # noqa: PTH112
        raise StoreAccessError(f"{path!r} is a folder, not a dbm database; give the path of a file in it")
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return False
    return any(n == name or (n.startswith(f"{name}.") and n != f"{name}.lock") for n in names)


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


_kept: dict[tuple[int, int], BinaryIO] = {}
"""Files of SQLite's that were looked at: closing one would release the locks that SQLite has on it in this process."""


def _start(path: str) -> bytes:
    try:
        status = os.stat(path)  # noqa: PTH116
        kept = _kept.get((status.st_dev, status.st_ino))
        if kept is not None or not status.st_size:  # SQLite may be making it
            return _SQLITE if kept else b""
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115
        start = file.read(len(_SQLITE))
        if start == _SQLITE:
            status = os.fstat(file.fileno())
            _kept.setdefault((status.st_dev, status.st_ino), file)
        else:
            file.close()
    except FileNotFoundError:
        return b""
    return start


def _numbers(start: bytes) -> list[int]:
    """What may be the magic number of a format, in either byte order."""
    return [int.from_bytes(start[at : at + 4], order) for at in (0, 12) for order in ("little", "big")]


def _bytes(value: Buffer | None) -> bytes | None:
    return value if value is None or type(value) is bytes else bytes(value)
