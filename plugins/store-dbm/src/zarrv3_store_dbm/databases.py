"""Databases: one per path and process, however many stores use it.

No dbm module can be opened twice in one process, or used after a fork. So databases are shared by all stores
over one path, and left alone by a forked child. Every call holds the database's lock: the modules are not
thread-safe, not even for reading.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TypeVar, cast

from zarrv3.errors import ConfigurationError, StoreClosedError
from zarrv3.forks import renew_in_children
from zarrv3.store.contract import Changes
from zarrv3.store.files import sync_names
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.sharing import Sharing
from zarrv3_store_dbm.lock import LockFile
from zarrv3_store_dbm.modules import Handle, Place
from zarrv3_store_dbm.worker import WorkerThread

T = TypeVar("T")

_NO_THREAD = {"dumb", "gnu", "ndbm"}
"""Modules whose objects may be used by any thread, one at a time."""


class Database:
    """A database that this process uses: opened when needed, for writing when it is written to."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lock = threading.RLock()
        self.closed = False
        self.file = LockFile(place.path)
        self.handle: Handle | None = None
        self._writing = False
        self._locked: bool | None = None  # for reading: False, for writing: True
        self._dirty = False
        self._midway = False  # stays true when a call failed or was interrupted: how far it got is unknown
        self._index: MemoryDriver | None = None
        self._sizes: dict[str, int] = {}
        renew_in_children(self)

    # ------------------------------------------------------------ in use

    def read(self, action: Callable[[Handle], T], missing: T) -> T:
        """What a function returns that is given the handle, one thread at a time; `missing` when there is no database."""
        with self.lock:
            handle = self._opened("r")
            return missing if handle is None else self._run(action, handle)

    def write(self, action: Callable[[Handle], T], flag: str) -> T:
        """What a function returns that is given a handle that can be written, opened with `w`, `c` or `n`."""
        with self.lock:
            handle = self._opened(flag)
            assert handle is not None
            self._dirty = True
            return self._run(action, handle)

    def _run(self, action: Callable[[Handle], T], handle: Handle) -> T:
        self._midway = True
        result = action(handle)
        self._midway = False
        return result

    def change(self, method: Callable[[Changes], None], changes: Changes) -> None:
        """Store and remove values by a method of the handle."""
        method(changes)
        for key, value in changes.items():
            self._sizes.pop(key, None)
            if value is not None and self.place.module != "dumb":
                self._sizes[key] = len(value)
            if self._index is not None and value is not None:
                self._index.put(key, b"")
            elif self._index is not None and key in self._index.mapping:
                self._index.drop(key)

    # ------------------------------------------------------------ keys

    def index(self, handle: Handle) -> MemoryDriver:
        """The keys as an index of folders, made once and kept up to date."""
        if self._index is None:
            self._index = MemoryDriver(dict.fromkeys(handle.keys(), b""))
        return self._index

    def stat_many(self, handle: Handle, keys: Collection[str]) -> list[int | None]:
        """Lengths of values; one that had to be read is remembered."""
        if self.place.module == "dumb":  # has them in memory itself
            return handle.stat_many(keys)
        there = None if self._index is None else self._index.mapping
        distinct = dict.fromkeys(keys)
        unknown = [key for key in distinct if key not in self._sizes and (there is None or key in there)]
        sizes = dict(zip(unknown, handle.stat_many(unknown), strict=True))
        self._sizes.update({key: size for key, size in sizes.items() if size is not None})
        return [self._sizes.get(key) for key in keys]

    def forget(self) -> None:
        """Forget the index: something happened that is not in it."""
        self._index = None
        self._sizes.clear()

    # ------------------------------------------------------------ the file

    def _opened(self, flag: str) -> Handle | None:
        if self.closed:
            raise StoreClosedError(f"{self.place.path!r} was closed in the middle of a call")
        if self._midway:
            self._close_handle()
            self.place.sync_files()  # what was freed is going to be used again
            self.forget()
            self._midway = False
        writing = flag != "r"
        if self.handle is not None and (self._writing or not writing) and flag != "n":
            return self.handle
        if not writing:
            if not self.place.exists():
                return None
            flag = "w" if self._locked else "r"  # a process that has written is going to write again
        self._prepare(flag)
        if not writing and not self.place.exists():  # it vanished before it was locked
            return None
        self.handle = self._made(partial(self.place.open_handle, flag))
        self._writing = flag != "r"
        return self.handle

    def _prepare(self, flag: str) -> None:
        """Close what is open and take the lock for what follows."""
        self._close_handle()
        writing = flag != "r"
        if writing:
            os.makedirs(os.path.dirname(self.place.path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
        if self._locked is None or (writing and not self._locked):
            self._locked = None
            self.forget()  # the lock is lost for a moment when it changes
            self.file.take(exclusive=writing)
            self._locked = writing
        if flag == "n":
            self.forget()
            self.place.remove()
        elif writing:
            self.place.exists()  # raises when something else is there

    def _made(self, make: Callable[[], Handle]) -> Handle:
        return make() if self.place.module in _NO_THREAD else cast("Handle", WorkerThread(make))

    def flush(self) -> None:
        """Bring everything that was written to the disk."""
        with self.lock:
            if not self._dirty:
                return
            if not self.write(lambda handle: handle.sync(), "w"):
                self._close_handle()  # opened again when it is needed; the lock stays
                self.place.sync_files()
            sync_names(self.place.path)
            self._dirty = False

    def close(self) -> None:
        """Flush and close; only the last user does."""
        with self.lock:
            try:
                self.flush()
            finally:
                self.closed = True
                try:
                    self._close_handle()
                finally:
                    self.file.release()

    def _close_handle(self) -> None:
        handle, self.handle, self._writing = self.handle, None, False
        if handle is not None:
            handle.close()

    def renew(self) -> None:
        """In a forked child: nothing is written, closed or freed; the database is the parent's."""
        self.closed = True
        self.file.forget()
        if self.handle is not None:
            self.handle.abandon()

    def __del__(self) -> None:
        """Flush a store that was dropped without `close`."""
        if not self.closed:
            with suppress(Exception):
                self.close()


# ---------------------------------------------------------------- one per path and process

_databases: Sharing[Database] = Sharing()


def acquire(user: object, place: Place) -> Database:
    """The database of a place; raises `ConfigurationError` when it is open with other options."""
    place = place._replace(path=os.path.realpath(place.path))
    with _databases.lock:
        database, _ = _databases.get_or_make(place.path, lambda: Database(place))
        _agree(place, database.place)
        _databases.use(database, user)
        return database


def release(user: object, database: Database) -> None:
    """Flush it and stop using it; the last user closes it."""
    with _databases.lock:
        if _databases.release(database, user):
            database.close()
        else:
            database.flush()


def in_use(path: str) -> str | None:
    """The module with which this process has a path open, if any."""
    database = _databases.find(os.path.realpath(path))
    return None if database is None else database.place.module


def _agree(wanted: Place, there: Place) -> None:
    if (wanted.module, wanted.open, dict(wanted.options)) != (there.module, there.open, dict(there.options)):
        how = there.module if there.open else f"dbm.{there.module}"
        raise ConfigurationError(
            f"{there.path!r} is in use in this process through {how}; close that store, or open both in the same way"
        )


def _close_all() -> None:
    """At exit: flush and close what was never closed."""
    for database in _databases.every():
        _databases.drop(database)
        with suppress(Exception):
            database.close()


atexit.register(_close_all)
