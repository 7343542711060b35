"""The contract over one table of a database."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Select,
    func,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from zarrv3.errors import StoreAccessError
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Limits, Request
from zarrv3.store.helpers import chunked
from zarrv3_store_sql.dialects import SUCCESSOR, Dialect, end
from zarrv3_store_sql.engines import Opened, give_back
from zarrv3_store_sql.failures import explained, is_conflict
from zarrv3_store_sql.turns import Turns

T = TypeVar("T")

PAGE = 10_000
"""How many keys a listing fetches at once: no cursor stays open between pages."""

STEPS = 1000
"""How many entries of a folder one query follows."""

_ATTEMPTS = 20  # of a transaction that the database undid in favour of another one

_living: weakref.WeakSet[SQLDriver] = weakref.WeakSet()
_inherited: list[Engine] = []  # connections of the parent process, never to be closed by a child


class SQLDriver:
    """Keys and values as rows `k`, `v`.

    Args:
        opened: the engine with what is known about it.
        dialect: the table and the statements.
    """

    def __init__(self, opened: Opened, dialect: Dialect) -> None:
        self.opened = opened
        self.engine = opened.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.sql = dialect
        self.ready = False  # the table is there
        self.writable = False  # and so is all that writing needs
        self.making = threading.Lock()
        self.turns: AbstractContextManager[None] = Turns() if opened.private else nullcontext()
        self.capabilities = Capabilities(
            transactions=True,
            native_ranges=True,
            shared=not opened.private,
            persistent=not opened.private,
            limits=self._limits(),
        )
        self.among, self.values_of, self.upsert, self.insert_new = _statements(dialect)
        _living.add(self)
        self.left = weakref.finalize(self, _dispose, opened.engine, os.getpid()) if opened.own else None

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: one query for whole values, one for ranges."""
        whole = {key for key, wanted in requests if wanted is None}
        pieces = [
            (i, key, ByteRange(*wanted)) for i, (key, wanted) in enumerate(requests) if wanted is not None
        ]
        found: list[Buffer | None] = [None] * len(requests)
        if not requests or not self._is_there():
            return found
        with self._connected() as connection:
            if whole:
                rows = connection.execute(self.values_of, {"keys": [*whole]}).fetchall()
                values = {row[0]: row[1] for row in rows}
                for i, (key, wanted) in enumerate(requests):
                    if wanted is None and key in values:
                        found[i] = _bytes(values[key])
            if pieces:
                for i, value in self.sql.pieces(connection, pieces):
                    found[i] = _bytes(value)
        return found

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract: one transaction; keys in order, so that two writers do not wait for each other."""
        if items:
            rows = [{"k": key, "v": bytes(items[key])} for key in sorted(items)]
            self._write(lambda connection: connection.execute(self.upsert, rows), single=len(rows) == 1)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract: one statement."""
        if keys and self._is_there():
            self._write(lambda connection: connection.execute(self.sql.erase(self.among), {"keys": [*keys]}))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract: one statement over a range of keys."""
        if self._is_there():
            self._write(lambda connection: connection.execute(self.sql.erase(*self.sql.below(folder))))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: one statement, so that a reader sees all keys below one folder or all below the other."""
        if self._is_there():
            moved = (
                update(self.sql.table).where(*self.sql.below(source)).values(k=self.sql.moved(source, target))
            )
            self._write(lambda connection: connection.execute(moved))

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract: one statement that says how many rows it has changed."""
        k, v = self.sql.table.c.k, self.sql.table.c.v
        if old is None and new is None:
            return next(self.sizes(key), None) is None
        if old is None:
            row = {"k": key, "v": bytes(new or b"")}
            return self._write(lambda connection: connection.execute(self.insert_new, row).rowcount) == 1
        if not self._is_there():
            return False
        unchanged = (k == key) & (v == bytes(old))
        change: Any = (
            self.sql.erase(unchanged)
            if new is None
            else update(self.sql.table).where(unchanged).values(v=bytes(new))
        )
        return self._write(lambda connection: connection.execute(change).rowcount) == 1

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: one transaction, however large."""
        rows = [{"k": key, "v": bytes(value)} for key, value in sorted(changes.items()) if value is not None]
        gone = sorted(key for key, value in changes.items() if value is None)

        def apply(connection: Connection) -> None:
            for keys in chunked(gone, self.capabilities.limits.batch_keys or len(gone)):
                connection.execute(self.sql.erase(self.among), {"keys": keys})
            if rows:
                connection.execute(self.upsert, rows)

        if changes:
            self._write(apply, single=False)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract: lengths as the database knows them."""
        table = self.sql.table
        length = func.length(table.c.v)
        if where and not where.endswith("/"):
            for _, size in self._rows(select(table.c.k, length).where(table.c.k == where)):
                yield where, size
            return
        for key, size in self._pages(where, length):
            yield key, size

    def total(self, path: str) -> int:
        """The bytes of a key and of everything below the folder of that name (`""`: of everything), summed there."""
        table = self.sql.table
        sum_of = select(func.coalesce(func.sum(func.length(table.c.v)), 0))
        if path:
            low, high = self.sql.below(f"{path}/")
            sum_of = sum_of.where(or_(table.c.k == path, low & high))
        rows = self._rows(sum_of)
        return int(rows[0][0]) if rows else 0

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract: page by page, without an open cursor."""
        return (row[0] for row in self._pages(folder))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract: a sub-folder costs one look-up, whatever is in it."""
        keys: list[str] = []
        folders: list[str] = []
        low: str | None = folder
        while low is not None:
            found, low = self._entries(folder, low)
            for key in found:
                cut = key.find("/", len(folder))
                if cut < 0:
                    keys.append(key)
                elif not folders or folders[-1] != key[: cut + 1]:
                    folders.append(key[: cut + 1])
        return sorted(keys), sorted(folders)

    def flush(self) -> None:
        """See the README: SQLite's write-ahead log goes into the file; servers have committed already."""
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

    def _entries(self, folder: str, low: str) -> tuple[list[str], str | None]:
        """Some keys of a folder, at least one of each sub-folder passed, and where to go on."""
        if self.sql.walks:
            rows = self._rows(self.sql.walk(folder).bindparams(low=low, most=STEPS))
        else:
            k = self.sql.table.c.k
            conditions = [k >= low, *self.sql.below(folder)[1:]] if low else []
            rows = self._rows(select(k).where(*conditions).order_by(k).limit(STEPS))
        keys = [row[0] for row in rows]
        if len(keys) < STEPS:
            return keys, None
        cut = keys[-1].find("/", len(folder))
        return keys, keys[-1] + SUCCESSOR if cut < 0 else end(keys[-1][: cut + 1])

    def _rows(self, statement: Any) -> Sequence[Any]:
        if not self._is_there():
            return []
        with self._connected() as connection:
            return connection.execute(statement).fetchall()

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
                    with suppress(OperationalError):  # another process is at it: what comes next waits for it
                        self.sql.prepare(connection)
                if not there:
                    with _transaction(connection, self.sql.begin):
                        self.sql.create(connection)
            self.ready = self.writable = True

    def _write(self, action: Callable[[Connection], T], *, single: bool = True) -> T:
        """Do something as a whole, again when the database undid it in favour of another transaction.

        What is a single statement needs no transaction around it.
        """
        if not self.writable:
            self._make()
        for _ in range(_ATTEMPTS):
            with self._connected() as connection:
                try:
                    with nullcontext() if single else _transaction(connection, self.sql.begin):
                        return action(connection)
                except DBAPIError as error:
                    if not is_conflict(error):
                        raise
            time.sleep(random.uniform(0, 0.05))  # noqa: S311 - lest both try again at once
        raise StoreAccessError(
            f"the database undid the transaction {_ATTEMPTS} times in favour of other writers"
        )

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection of the pool; SQLAlchemy's exceptions, which show statements and values, become failures."""
        try:
            with self.turns, self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else None
            raise explained(error, self.opened.connect_timeout, self.opened.lock_timeout) from cause


@contextmanager
def _transaction(connection: Connection, begin: str) -> Iterator[None]:
    """What is done in the block becomes visible at once, or never."""
    connection.exec_driver_sql(begin)
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with suppress(SQLAlchemyError):  # it may be the connection that broke
            connection.exec_driver_sql("ROLLBACK")
        raise


@lru_cache(maxsize=16)
def _statements(dialect: Dialect) -> tuple[ColumnElement[bool], Select[Any], Insert, Insert]:
    """The condition for some `keys`, and the statements that get, set and create rows; made once for a table."""
    k, v = dialect.table.c.k, dialect.table.c.v
    among = dialect.among()
    insert_new = dialect.insert_new().execution_options(preserve_rowcount=True)
    return among, select(k, v).where(among), dialect.upsert(), insert_new


def _bytes(value: Any) -> bytes:
    return value if type(value) is bytes else bytes(value)


def _dispose(engine: Engine, process: int) -> None:
    """Close the connections of a store that nobody has any more; never those of a parent process."""
    if process == os.getpid():
        engine.dispose()


def _leave_inherited() -> None:
    """In a forked child: keep the parent's connections unused and open, since closing them would end its sessions."""
    _inherited.extend(driver.opened.engine for driver in _living)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_inherited)
