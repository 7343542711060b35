"""The contract over one table of a database."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, inspect, or_, select, update
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from zarrv3.errors import StoreAccessError
from zarrv3.forks import renew_in_children
from zarrv3.store.contract import (
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Limits,
    Request,
    Swaps,
    Versioned,
)
from zarrv3.store.helpers import children
from zarrv3.store.locks import ReadWriteLock
from zarrv3_store_sql.dialects import SUCCESSOR, Dialect, end
from zarrv3_store_sql.engines import Opened, give_back
from zarrv3_store_sql.failures import explained, is_conflict

T = TypeVar("T")

PAGE = 10_000
"""How many keys a listing fetches at once: no cursor stays open between pages."""

STEPS = 1000
"""How many entries of a folder one query follows."""

_ATTEMPTS = 30  # for a transaction that the database undid in favour of another one

_inherited: list[Engine] = []  # of a parent process, whose sessions a child would end by closing connections


class SQLDriver:
    """Keys and values as rows `k`, `v`.

    Args:
        opened: the engine and what is known about it.
        dialect: the table and the statements.
    """

    def __init__(self, opened: Opened, dialect: Dialect) -> None:
        self.opened = opened
        self.engine = opened.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.sql = dialect
        self.ready = False  # the table is there
        self.writable = False  # and so is everything that writing needs
        self.making = threading.Lock()
        self.turn: Callable[[], AbstractContextManager[None]] = (
            ReadWriteLock().writing if opened.private else nullcontext
        )
        self.capabilities = Capabilities(
            write=True,
            erase=True,
            list=True,
            swap=True,
            transactions=True,
            native_ranges=True,
            shared=not opened.private,
            persistent=not opened.private,
            durable=not opened.private,
            limits=self._limits(),
        )
        renew_in_children(self)
        self.left = weakref.finalize(self, _dispose, opened.engine, os.getpid()) if opened.own else None

    def renew(self) -> None:
        """In a forked child: keep the parent's connections open and unused."""
        _inherited.append(self.opened.engine)

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one query for whole values, one for ranges."""
        wholes = {key for key, wanted in requests if wanted is None}
        pieces = [
            (i, key, ByteRange(*wanted)) for i, (key, wanted) in enumerate(requests) if wanted is not None
        ]
        answers: list[Buffer | None] = [None] * len(requests)
        if not self._is_there():
            return answers
        with self._connected() as connection:
            if wholes:
                rows = connection.execute(self.sql.values, {"keys": [*wholes]}).fetchall()
                values = {row[0]: row[1] for row in rows}
                for i, (key, wanted) in enumerate(requests):
                    if wanted is None and key in values:
                        answers[i] = _bytes(values[key])
            if pieces:
                for i, value in self.sql.pieces(connection, pieces):
                    answers[i] = _bytes(value)
        return answers

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        sizes = dict(self._rows(self.sql.sizes, keys=[*{*keys}]))
        return [sizes.get(key) for key in keys]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        versioned = {
            key: (value := _bytes(v), self.sql.version(value, *stamps))
            for key, v, *stamps in self._rows(self.sql.versioned, keys=[*{*keys}])
        }
        return [versioned.get(key, (None, None)) for key in keys]

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: in one transaction, however many."""
        erases_only = all(value is None for value in changes.values())
        if not erases_only or self._is_there():
            single = len(changes) == 1 or (erases_only and len(changes) <= (self.sql.limits.batch_keys or 1))
            self._write(partial(self.sql.apply, changes=changes), single=single)

    def apply_many(self, changes: Changes, /) -> None:
        self.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        creates = any(version is None and new is not None for version, new in swaps.values())
        if not creates and not self._is_there():
            return [key for key, (version, _) in swaps.items() if version is not None]
        single = self.sql.swaps_at_once or len(swaps) == 1
        return self._write(partial(self.sql.swap, swaps=swaps), single=single)

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: one statement over a range of keys."""
        if self._is_there():
            self._write(lambda connection: connection.execute(self.sql.erase(*self.sql.below(folder))))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: one statement, so that a reader sees all keys below one folder or all below the other."""
        if self._is_there():
            moved = (
                update(self.sql.table).where(*self.sql.below(source)).values(k=self.sql.moved(source, target))
            )
            self._write(lambda connection: connection.execute(moved))

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """As the contract says: page by page, without an open cursor."""
        return (row[0] for row in self._pages(folder))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return ((key, size) for key, size in self._pages(folder, func.length(self.sql.table.c.v)))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says: a sub-folder costs one look-up, whatever is in it."""
        return children(self._entries(folder), folder)

    def total(self, path: str) -> int:
        """The bytes of a key and of everything below the folder of that name (`""`: of everything), summed by the database."""
        table = self.sql.table
        sum_of = select(func.coalesce(func.sum(func.length(table.c.v)), 0))
        if path:
            low, high = self.sql.below(f"{path}/")
            sum_of = sum_of.where(or_(table.c.k == path, low & high))
        rows = self._rows(sum_of)
        return int(rows[0][0]) if rows else 0

    def flush(self) -> None:
        """As the README says: SQLite's write-ahead log goes into the file; servers have committed already."""
        if self.opened.path is not None and self.ready:
            with self._connected() as connection:
                # its row is not read: until the cursor is closed SQLite takes it for a write that is under way
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()

    def close(self) -> None:
        """Close the connections, unless the engine is the user's."""
        if self.left is not None:
            self.flush()
            self.engine.dispose()
            if self.left.detach() is not None:  # not closed before
                give_back(self.opened)

    # ------------------------------------------------------------ listing

    def _pages(self, folder: str, *columns: Any) -> Iterator[Any]:
        k = self.sql.table.c.k
        low = folder
        while True:
            conditions = [k >= low, *self.sql.below(folder)[1:]] if low else []
            rows = self._rows(select(k, *columns).where(*conditions).order_by(k).limit(PAGE))
            yield from rows
            if len(rows) < PAGE:
                return
            low = rows[-1][0] + SUCCESSOR

    def _entries(self, folder: str) -> Iterator[str]:
        """The keys directly in a folder, and at least one of each sub-folder."""
        k = self.sql.table.c.k
        low: str | None = folder
        while low is not None:
            if self.sql.walks:
                rows = self._rows(self.sql.walk(folder), low=low, most=STEPS)
            else:
                conditions = [k >= low, *self.sql.below(folder)[1:]] if low else []
                rows = self._rows(select(k).where(*conditions).order_by(k).limit(STEPS))
            keys = [row[0] for row in rows]
            yield from keys
            low = None
            if len(keys) == STEPS:
                cut = keys[-1].find("/", len(folder))
                low = keys[-1] + SUCCESSOR if cut < 0 else end(keys[-1][: cut + 1])

    def _rows(self, statement: Any, **parameters: Any) -> Sequence[Any]:
        if not self._is_there():
            return []
        with self._connected() as connection:
            return connection.execute(statement, parameters).fetchall()

    # ------------------------------------------------------------ connections

    def _is_there(self) -> bool:
        """Whether the table exists; asked for until it does, so that reading creates nothing."""
        if not self.ready and self._has_file():
            with self._connected() as connection:
                self.ready = inspect(connection).has_table(self.sql.table.name, schema=self.sql.table.schema)
        return self.ready

    def _has_file(self) -> bool:
        path = self.opened.path
        if path is not None and os.path.isdir(path):  # noqa: PTH112 - text is all there is
            raise StoreAccessError(
                f"{path!r} is a folder, not an SQLite database; a folder opens as 'file://{path}'"
            )
        return path is None or os.path.exists(path)  # noqa: PTH110

    def _limits(self) -> Limits:
        if not self.sql.asks:
            return self.sql.limits
        with self._connected() as connection:
            return self.sql.limits_of(connection)

    def _make(self) -> None:
        """Make the file and the table, unless they are there, and get the file ready for many writers."""
        with self.making:
            if self.writable:
                return
            there = self._is_there()
            if not there and self.opened.path is not None:
                os.makedirs(os.path.dirname(self.opened.path), exist_ok=True)  # noqa: PTH103, PTH120
            with self._connected() as connection:
                if self.opened.own:
                    with suppress(
                        OperationalError
                    ):  # another process is doing it: the next statement waits for it
                        self.sql.prepare(connection)
                if not there:
                    with _transaction(connection, self.sql.begin):
                        self.sql.create(connection)
            self.ready = self.writable = True

    def _write(self, action: Callable[[Connection], T], *, single: bool = True) -> T:
        """Run a function in a transaction, again when the database undid it in favour of another one.

        A single statement needs no transaction around it.
        """
        if not self.writable:
            self._make()
        for attempt in range(_ATTEMPTS):
            with self._connected() as connection:
                try:
                    with nullcontext() if single else _transaction(connection, self.sql.begin):
                        return action(connection)
                except DBAPIError as error:
                    if not is_conflict(error):
                        raise
            time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - lest both try again at once
        raise StoreAccessError(
            f"the database undid the transaction {_ATTEMPTS} times in favour of other writers"
        )

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection of the pool; SQLAlchemy's exceptions, which show statements and values, become failures."""
        try:
            with self.turn(), self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else None
            raise explained(error, self.opened.connect_timeout, self.opened.lock_timeout) from cause


@contextmanager
def _transaction(connection: Connection, begin: str) -> Iterator[None]:
    """Make what is done in the block visible at once, or never."""
    connection.exec_driver_sql(begin)
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with suppress(SQLAlchemyError):  # it may be the connection that broke
            connection.exec_driver_sql("ROLLBACK")
        raise


def _bytes(value: Any) -> bytes:
    return value if type(value) is bytes else bytes(value)


def _dispose(engine: Engine, process: int) -> None:
    """Close the connections of a store that was dropped; never those of a parent process."""
    if process == os.getpid():
        engine.dispose()
