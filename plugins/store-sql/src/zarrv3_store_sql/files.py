"""SQLite's files: connections that are used again, also after interrupts and around forks."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from zarrv3.errors import StoreAccessError, StoreClosedError
from zarrv3.forks import Lock, at_forks
from zarrv3.store.files import check_helper_file
from zarrv3.store.locks import ReadWriteLock

T = TypeVar("T")

LOCK_TIMEOUT = 60.0
"""Seconds that a writer waits for another one."""

DIALECT = SQLiteDialect_pysqlite(paramstyle="named")

_PATIENCE = 10.0  # seconds that a fork waits for calls of other threads to end
_IDLE = 8  # how many connections are kept open

_new = Lock()  # taken while a slot is made
_slots: weakref.WeakSet[Slot] = weakref.WeakSet()
_resting: list[Slot] = []  # those that a fork has found at rest, or brought to it
_inherited: list[Slot] = []  # of a parent process: a child must not close them
_unsafe: set[str] = set()  # databases that the parent was using: SQLite has inherited locks that nobody holds


class Statements:
    """A connection of `sqlite3` that takes SQLAlchemy's statements, at a tenth of the cost of SQLAlchemy's own connection."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self.exec_driver_sql = raw.execute

    def execute(self, statement: Any, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement, once or for each of a list of rows; a parameter that is a list is sent as JSON."""
        text, fixed = _compiled(statement)
        if not isinstance(parameters, Mapping):
            return self.raw.executemany(text, parameters) if parameters else self.raw.execute(text, fixed)
        given = {
            name: json.dumps(value) if type(value) is list else value for name, value in parameters.items()
        }
        return self.raw.execute(text, fixed | given)


@lru_cache(maxsize=128)
def _compiled(statement: Any) -> tuple[str, dict[str, Any]]:
    compiled = statement.compile(dialect=DIALECT)
    return str(compiled), dict(compiled.params or {})


Frozen = tuple[int, int, int, int]
"""Number, size and times of a file."""

_HELPERS = ("-wal", "-shm", "-journal")


class Slot:
    """A place for a connection, which one thread uses at a time: `with slot.taken: …`."""

    def __init__(self, name: str, *, private: bool) -> None:
        self.name = name
        self.private = private
        self.taken = threading.RLock()  # no interrupt leaves it taken: its methods are not Python's
        self.raw: sqlite3.Connection | None = None
        self.frozen: Frozen | None = None

    def has_changed(self) -> bool:
        """Whether a file that is read as one that nobody changes has been changed all the same."""
        return self.frozen is not None and self.frozen != frozen(self.name)

    def __del__(self) -> None:
        """Close the connection of a store that was not closed."""
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        raw, self.raw = self.raw, None
        if raw is not None:
            raw.close()


class File:
    """The connections of one store to a file, or to `:memory:`, whose single one all threads share; thread-safe.

    A connection is used again only when its call has ended well. None is in use while the process forks, since locks of
    SQLite's would stay taken in the child; and none to a file is open then: SQLite's own table of the locks that it holds
    would be copied, and the child would take none.
    """

    own = True
    connect_timeout: ClassVar[float | None] = None
    dialect = DIALECT

    def __init__(self, path: str, *, fsync: bool, arguments: Mapping[str, Any]) -> None:
        self.private = path == ":memory:"
        is_uri = bool(arguments.get("uri")) and path.startswith("file:")
        self.path = None if self.private or is_uri else path
        self.lock_timeout = arguments.get("timeout", LOCK_TIMEOUT)
        self._name = path
        ours = {"check_same_thread": False, "isolation_level": None}
        self._arguments = {"timeout": LOCK_TIMEOUT, **arguments, **ours}
        self._synchronous = f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}"
        self._idle: deque[Slot] = deque()
        self._closed = self._has_written = False
        self._turns = ReadWriteLock()
        self._only = self._new_slot() if self.private else None

    def run(self, action: Callable[[Statements], T], begin: str = "") -> T:
        """What a function returns that is given a connection, in a transaction that the statement `begin` begins, if any."""
        while True:
            with suppress(_ChangedError):
                return self._run(action, begin)

    def _run(self, action: Callable[[Statements], T], begin: str) -> T:
        slot = self._only or self._taken()
        with self._turns.writing() if slot is self._only else nullcontext(), slot.taken:
            if slot.name in _unsafe:
                raise StoreAccessError(
                    f"this process was forked while a thread of its parent was using {slot.name!r}, and has inherited locks "
                    "of SQLite's that it does not hold; fork while the store is not in use, or spawn the process"
                )
            if slot.has_changed():
                slot.close()
            connection = slot.raw or self._connect(slot)
            try:
                if connection.in_transaction:  # an interrupt came before the transaction was undone
                    connection.rollback()
                if begin:
                    connection.execute(begin)
                result = action(Statements(connection))
                if begin:
                    connection.execute("COMMIT")
                if slot.has_changed():
                    raise _ChangedError  # noqa: TRY301
                self._has_written = self._has_written or connection.total_changes > 0
            except BaseException as error:
                with suppress(sqlite3.Error):
                    connection.rollback()
                if slot is not self._only and not isinstance(error, Exception):
                    slot.close()
                self._leave(slot)
                if isinstance(error, sqlite3.Error) and slot.has_changed():
                    raise _ChangedError from error
                raise
            self._leave(slot)
            return result

    def close(self) -> None:
        """Close the connections; those in use are closed by the calls that use them.

        The last one to have written leaves a plain file: one with a write-ahead log cannot be read without making files.
        """
        self._closed = True
        if self._only is not None:
            self._only.close()
        with suppress(IndexError):
            slot = self._idle.pop()
            while self._idle:
                self._idle.pop().close()
            with slot.taken:
                if self._has_written and slot.raw is not None:
                    _end_log(slot.raw)
                slot.close()

    def _taken(self) -> Slot:
        try:
            return self._idle.pop()
        except IndexError:
            return self._new_slot()

    def _new_slot(self) -> Slot:
        with _new.taken:
            slot = Slot(self._name, private=self.private)
            _slots.add(slot)
            return slot

    def _leave(self, slot: Slot) -> None:
        if self._closed or len(self._idle) >= _IDLE:
            slot.close()
        elif slot is not self._only:
            self._idle.append(slot)

    def _connect(self, slot: Slot) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosedError("the database was closed in the middle of a call")
        connection: sqlite3.Connection
        name, arguments = self._name, self._arguments
        slot.frozen = None
        if self.path is not None:
            for ending in _HELPERS:
                check_helper_file(self.path + ending)
            slot.frozen = frozen(self.path)
            if slot.frozen is not None:
                name, arguments = f"{Path(self.path).as_uri()}?immutable=1", {**arguments, "uri": True}
        slot.raw = connection = sqlite3.connect(name, **arguments)
        try:
            connection.execute(self._synchronous)
        except BaseException:
            slot.close()
            raise
        return connection


class _ChangedError(Exception):
    """A file that was read as one that nobody changes has been changed: what was read may be of two versions."""


def frozen(path: str) -> Frozen | None:
    """The state of a file that SQLite could not read otherwise than as one that nobody changes.

    That is one with a write-ahead log, which is empty, where this process cannot make the files that such a log needs.
    Raises `StoreAccessError` if the log is not empty and cannot be read.
    """
    if os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK):  # noqa: PTH120
        return None  # and it is not opened here: closing it would release the locks that SQLite has on it in this process
    has_log = False
    with suppress(FileNotFoundError):
        has_log = os.path.getsize(f"{path}-wal") > 0  # noqa: PTH202
    if has_log and os.path.exists(f"{path}-shm"):  # noqa: PTH110
        return None  # somebody has it open, and so may this process: see above
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            is_logged = file.read(20)[18:] == b"\2\2"
            status = os.fstat(file.fileno())
    except OSError:  # which SQLite will say
        return None
    if not is_logged:
        return None
    if has_log:
        raise StoreAccessError(
            f"{path!r} was left by a process that was killed, with writes in '{path}-wal'; open it once where it can "
            "be written, or copy both files there"
        )
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _end_log(connection: sqlite3.Connection) -> None:
    """Move a write-ahead log into its file for good, unless others have the file open."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0").close()
        connection.execute("PRAGMA journal_mode = DELETE").close()


def _before_fork() -> None:
    """Wait for calls to end, close all connections to files, and let none be opened."""
    _new.taken.acquire()
    for slot in _slots:
        if slot.taken.acquire(timeout=_PATIENCE):
            if not slot.private:
                slot.close()
            _resting.append(slot)


def _after_fork_in_parent() -> None:
    _release()
    _new.taken.release()


def _after_fork_in_child() -> None:
    busy = {*_slots} - {*_resting}
    _unsafe.update(slot.name for slot in busy)
    _inherited.extend(busy)
    _release()


def _release() -> None:
    while _resting:
        _resting.pop().taken.release()


at_forks(before=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child)
