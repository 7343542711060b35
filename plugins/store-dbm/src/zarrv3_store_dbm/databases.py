"""Databases: one a path and process, however many stores use it.

No dbm module allows a second open in one process, or a use after a fork. So databases are kept in a registry, shared by
all stores over one path, and left alone by a forked child. Every call holds the database's lock: the modules are not
thread-safe, not even for reading.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from zarrv3.errors import ConfigurationError, StoreClosedError
from zarrv3.store.contract import Buffer
from zarrv3.store.memory import MemoryDriver
from zarrv3_store_dbm.dumb import DumbHandle
from zarrv3_store_dbm.lane import Lane
from zarrv3_store_dbm.lock import LockFile
from zarrv3_store_dbm.modules import Handle, ModuleHandle, Place

_NO_THREAD = {"dumb", "gnu", "ndbm"}
"""Modules whose objects may be used by any thread, one at a time."""


class Database:
    """A database that this process uses: opened when it is needed, for writing when it is written."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lock = threading.RLock()
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        self.process = os.getpid()
        self.closed = False
        self.file = LockFile(place.path)
        self.handle: Handle | None = None
        self._writing = False
        self._locked: bool | None = None  # for reading: False, for writing: True
        self._dirty = False
        self._names: MemoryDriver | None = None
        self._sizes: dict[str, int] = {}

    # ------------------------------------------------------------ in use

    @contextmanager
    def reading(self) -> Iterator[Handle | None]:
        """The handle, for one thread; `None` when there is no database."""
        with self.lock:
            yield self._opened("r")

    @contextmanager
    def writing(self, flag: str) -> Iterator[Handle]:
        """The handle, for one thread, that can be written: `w`, `c` or `n`."""
        with self.lock:
            handle = self._opened(flag)
            assert handle is not None
            self._dirty = True
            try:
                yield handle
            except BaseException:  # who knows how far it came
                self.forget_names()
                raise

    def put(self, handle: Handle, items: Mapping[str, Buffer]) -> None:
        """Store values."""
        handle.put(items)
        self._learn(items)

    def drop(self, handle: Handle, keys: Collection[str]) -> None:
        """Remove keys."""
        handle.drop(keys)
        self._unlearn(keys)

    def apply(self, handle: DumbHandle, changes: Mapping[str, Buffer | None]) -> None:
        """Store and remove, all at once."""
        handle.apply(changes)
        self._learn({key: value for key, value in changes.items() if value is not None})
        self._unlearn([key for key, value in changes.items() if value is None])

    # ------------------------------------------------------------ keys

    def names(self, handle: Handle) -> MemoryDriver:
        """The keys as an index of folders, made once and kept up to date."""
        if self._names is None:
            self._names = MemoryDriver(dict.fromkeys(handle.keys(), b""))
        return self._names

    def sizes(self, handle: Handle, keys: Collection[str]) -> list[tuple[str, int]]:
        """Lengths of values; one that had to be read is remembered."""
        known = {} if isinstance(handle, DumbHandle) else self._sizes  # which has them in memory itself
        there = None if self._names is None else self._names.mapping
        unknown = [key for key in keys if key not in known and (there is None or key in there)]
        found = zip(unknown, handle.sizes(unknown), strict=True)
        sizes = {key: size for key, size in found if size is not None}
        if known is self._sizes:
            known.update(sizes)
        return [
            (key, known[key] if key in known else sizes[key]) for key in keys if key in known or key in sizes
        ]

    def forget_names(self) -> None:
        """List anew: something happened that is not in the index."""
        self._names = None
        self._sizes.clear()

    def _learn(self, items: Mapping[str, Buffer]) -> None:
        if not isinstance(self.handle, DumbHandle):
            self._sizes.update({key: len(value) for key, value in items.items()})
        if self._names is not None:
            for key in items:
                self._names.put(key, b"")

    def _unlearn(self, keys: Collection[str]) -> None:
        for key in keys:
            self._sizes.pop(key, None)
        if self._names is not None:
            self._names.erase_many(keys)

    # ------------------------------------------------------------ the file

    def _opened(self, flag: str) -> Handle | None:
        if self.closed:
            raise StoreClosedError(f"{self.place.path!r} was closed in the middle of a call")
        writing = flag != "r"
        if self.handle is not None and (self._writing or not writing) and flag != "n":
            return self.handle
        if not writing:
            if not self.place.exists():
                return None
            flag = "w" if self._locked else "r"  # whoever has written is going to write again
        self._prepare(flag)
        if not writing and not self.place.exists():  # it went away before it was locked
            return None
        self.handle = self._made(partial(self.place.open_handle, flag))
        self._writing = flag != "r"
        return self.handle

    def _prepare(self, flag: str) -> None:
        """Close what is open and have the lock for what comes."""
        self._close_handle()
        writing = flag != "r"
        if writing:
            os.makedirs(os.path.dirname(self.place.path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
        if self._locked is None or (writing and not self._locked):
            self._locked = None
            self.forget_names()  # the lock is lost for a moment when it changes
            self.file.take(exclusive=writing)
            self._locked = writing
        if flag == "n":
            self.forget_names()
            self.place.remove()
        elif writing:
            self.place.exists()  # raises when something else is there

    def _made(self, make: Callable[[], Handle]) -> Handle:
        return make() if self.place.module in _NO_THREAD else Lane(make)

    def flush(self) -> None:
        """Have everything that was written on the disk."""
        with self.lock:
            if self.handle is None or not self._dirty:
                return
            if not self.handle.sync():
                self._close_handle()  # opened again when it is needed; the lock stays
                self.place.sync_files()
            self._dirty = False

    def close(self) -> None:
        """Flush and close; only the last user does."""
        with self.lock:
            self.closed = True
            try:
                self.flush()
            finally:
                try:
                    self._close_handle()
                finally:
                    self.file.release()

    def _close_handle(self) -> None:
        handle, self.handle, self._writing = self.handle, None, False
        if handle is not None:
            handle.close()

    def abandon(self) -> None:
        """What a forked child does with its parent's database: nothing is written, closed or freed.

        Even freeing an object of a dbm module writes to the file. So a reference to it is kept that nobody ever drops.
        """
        self.closed = True
        self.file.forget()
        handle = self.handle.handle if isinstance(self.handle, Lane) else self.handle
        if isinstance(handle, ModuleHandle):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle.database))
        _abandoned.append(self)

    def __del__(self) -> None:
        """A store that was dropped without `close` loses nothing all the same."""
        if not self.closed and self.process == os.getpid():
            with suppress(Exception):
                self.close()


# ---------------------------------------------------------------- one a path and process


class _Registry:
    """The databases of this process; a weak reference each, their users keep them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()


_registry = _Registry()
_abandoned: list[Database] = []


def acquire(user: object, place: Place) -> Database:
    """The database of a place; raises `ConfigurationError` when it is in use in another way."""
    place = place._replace(path=os.path.realpath(place.path))
    with _registry.lock:
        found = _registry.open.get(place.path)
        if found is None or found.closed:
            found = _registry.open[place.path] = Database(place)
        _agree(place, found.place)
        found.users.add(user)
        return found


def release(user: object, database: Database) -> None:
    """Use it no more, flushed; the last user closes it."""
    with _registry.lock:
        database.users.discard(user)
        if database.users:
            database.flush()
        else:
            if _registry.open.get(database.place.path) is database:
                del _registry.open[database.place.path]
            database.close()


def in_use(path: str) -> str | None:
    """The module that this process uses a path with, if it does."""
    found = _registry.open.get(os.path.realpath(path))
    return None if found is None or found.closed else found.place.module


def _agree(wanted: Place, there: Place) -> None:
    if (wanted.module, wanted.open, dict(wanted.options)) != (there.module, there.open, dict(there.options)):
        how = there.module if there.open else f"dbm.{there.module}"
        raise ConfigurationError(
            f"{there.path!r} is in use in this process through {how}; close that store, or open both in the same way"
        )


def _close_all() -> None:
    """At the end of the process: flush and close what was never closed."""
    for database in [*_registry.open.values()]:
        if database.process == os.getpid():
            with suppress(Exception):
                database.close()


def _after_fork_in_child() -> None:
    global _registry  # noqa: PLW0603
    inherited = [*_registry.open.values()]
    _registry = _Registry()
    for database in inherited:
        database.abandon()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
