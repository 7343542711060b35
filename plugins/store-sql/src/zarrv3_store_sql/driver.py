"""The contract over one table of a database."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import and_, func, not_, or_, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from zarrv3.errors import CorruptDataError, StoreAccessError
from zarrv3.forks import renew_in_children
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Changes, Request, Swaps, Versioned
from zarrv3.store.files import sync_names
from zarrv3.store.helpers import children, cut
from zarrv3_store_sql.dialects import SUCCESSOR, Dialect, end
from zarrv3_store_sql.engines import Server
from zarrv3_store_sql.failures import ConflictError, explained
from zarrv3_store_sql.files import File

T = TypeVar("T")

PAGE = 10_000
"""How many keys a listing fetches at once: no cursor stays open between pages."""

STEPS = 1000
"""How many entries of a folder one query follows."""

_ATTEMPTS = 30  # for a transaction that the database undid in favour of another one

_inherited: list[object] = []  # of a parent process, whose sessions a child would end by closing connections


class SQLDriver:
    """Keys and values as rows `k`, `v`.

    Args:
        opened: the connections and what is known about them.
        dialect: the table and the statements.
    """

    def __init__(self, opened: Server | File, dialect: Dialect) -> None:
        self.opened = opened
        self.sql = dialect
        self.ready = False  # the table is there
        self.writable = False  # and so is everything that writing needs
        self.making = threading.Lock()
        self.capabilities = Capabilities(
            write=True,
            erase=True,
            list=True,
            swap=True,
            swap_erases=True,
            transactions=True,
            replace=True,
            native_ranges=True,
            shared=not opened.private,
            persistent=not opened.private,
            durable=not opened.private,
            limits=self._run(dialect.limits_of) if dialect.asks else dialect.limits,
        )
        renew_in_children(self)
        self.left = weakref.finalize(self, _dispose, opened, os.getpid()) if opened.own else None

    def renew(self) -> None:
        """In a forked child: keep the parent's connections open and unused."""
        _inherited.append(self.opened)

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one query for whole values, from which their ranges are cut, one for other ranges."""
        wholes = {key for key, wanted in requests if wanted is None}
        pieces = [
            (i, key, ByteRange(*wanted))
            for i, (key, wanted) in enumerate(requests)
            if wanted is not None and key not in wholes
        ]
        answers: list[Buffer | None] = [None] * len(requests)
        if not self._is_there():
            return answers
        if wholes:
            values = dict(self._rows(self.sql.values, keys=[*wholes]))
            for i, (key, wanted) in enumerate(requests):
                if key in values:
                    answers[i] = cut(_bytes(key, values[key]), wanted)
        if pieces:
            for i, value in self._run(lambda connection: [*self.sql.pieces(connection, pieces)]):
                answers[i] = _bytes(requests[i].key, value)
        return answers

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        sizes = dict(self._rows(self.sql.sizes, keys=[*{*keys}]))
        return [sizes.get(key) for key in keys]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        versioned = {
            key: (value := _bytes(key, v), self.sql.version(value, *stamps))
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
        single = self.sql.swaps_by_one_statement(swaps)
        return self._write(partial(self.sql.swap, swaps=swaps), single=single)

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: one statement over a range of keys."""
        if self._is_there():
            self._write(lambda connection: connection.execute(self.sql.erase(*self.sql.below(folder))))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: one statement, so that a reader sees all keys below one folder or all below the other."""
        k, within = self.sql.table.c.k, and_(*self.sql.below(source))
        moved = update(self.sql.table).where(within).values(k=self.sql.moved(source, target))
        replaced = self.sql.erase(*self.sql.below(target), not_(within))

        def replace(connection: Any) -> None:
            if connection.execute(select(k).where(within).limit(1)).fetchall():
                connection.execute(replaced)
                connection.execute(moved)

        if not self._is_there():
            return
        if source.startswith(target):
            self._write(replace, single=False)
        else:
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
        if self.opened.path is not None and self.writable:
            # its row is not read: until the cursor is closed SQLite takes it for a write that is under way
            self._run(lambda connection: connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close())

    def close(self) -> None:
        """Close the connections, unless the engine is the user's."""
        if self.left is not None:
            self.flush()
            self.left()

    # ------------------------------------------------------------ listing

    def _pages(self, folder: str, *columns: Any) -> Iterator[Any]:
        low = folder
        while True:
            rows = self._page(folder, low, PAGE, *columns)
            yield from rows
            if len(rows) < PAGE:
                return
            low = rows[-1][0] + SUCCESSOR

    def _entries(self, folder: str) -> Iterator[str]:
        """The keys directly in a folder, and at least one of each sub-folder."""
        low: str | None = folder
        while low is not None:
            if self.sql.walks:
                rows = self._rows(self.sql.walk(folder), low=low, most=STEPS)
            else:
                rows = self._page(folder, low, STEPS)
            keys = [row[0] for row in rows]
            yield from keys
            low = None
            if len(keys) == STEPS:
                cut = keys[-1].find("/", len(folder))
                low = keys[-1] + SUCCESSOR if cut < 0 else end(keys[-1][: cut + 1])

    def _page(self, folder: str, low: str, most: int, *columns: Any) -> Sequence[Any]:
        """The first keys below a folder from `low` on, in order, with other columns."""
        k = self.sql.table.c.k
        conditions = [k >= low, *self.sql.below(folder)[1:]] if low else self.sql.below(folder)
        return self._rows(select(k, *columns).where(*conditions).order_by(k).limit(most))

    def _rows(self, statement: Any, **parameters: Any) -> Sequence[Any]:
        if not self._is_there():
            return []
        rows: Sequence[Any] = self._run(
            lambda connection: connection.execute(statement, parameters).fetchall()
        )
        return rows

    # ------------------------------------------------------------ connections

    def _is_there(self) -> bool:
        """Whether the table exists; asked for until it does, so that reading creates nothing."""
        if not self.ready and self._has_file():
            self.ready = self._run(self.sql.is_there)
        return self.ready

    def _has_file(self) -> bool:
        path = self.opened.path
        if path is not None and os.path.isdir(path):  # noqa: PTH112 - text is all there is
            raise StoreAccessError(
                f"{path!r} is a folder, not an SQLite database; a folder opens as 'file://{path}'"
            )
        return path is None or os.path.exists(path)  # noqa: PTH110

    def _make(self) -> None:
        """Make the file and the table, unless they are there, and get the file ready for many writers."""
        with self.making:
            if self.writable:
                return
            there = self._is_there()
            if not there and self.opened.path is not None:
                os.makedirs(os.path.dirname(self.opened.path), exist_ok=True)  # noqa: PTH103, PTH120
                # with the permissions of the user's umask, which SQLite narrows
                with suppress(FileExistsError):
                    os.close(os.open(self.opened.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
                sync_names(self.opened.path)
            if self.opened.own:
                self._run(self.sql.prepare)
            if not there:
                self._run(self.sql.create, self.sql.begin)
            self.ready = self.writable = True

    def _write(self, action: Callable[[Any], T], *, single: bool = True) -> T:
        """Run a function that changes something in a transaction; a single statement needs none around it."""
        if not self.writable:
            self._make()
        return self._run(action, "" if single else self.sql.begin)

    def _run(self, action: Callable[[Any], T], begin: str = "") -> T:
        """What a function of a connection returns, run again when the database undid it in favour of another one.

        Reading is undone too: serializable transactions may conflict by what they have read.
        """
        for attempt in range(_ATTEMPTS):
            with suppress(ConflictError):
                return self._run_once(action, begin)
            time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - lest both try again at once
        raise StoreAccessError(
            f"the database undid the transaction {_ATTEMPTS} times in favour of other writers"
        )

    def _run_once(self, action: Callable[[Any], T], begin: str) -> T:
        """Run it; exceptions that show statements and values become failures that do not."""
        try:
            return self.opened.run(action, begin)
        except (SQLAlchemyError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else None
            raise explained(error, self.opened.connect_timeout, self.opened.lock_timeout) from cause


def _bytes(key: str, value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise CorruptDataError(
        f"the value of {key!r} is {type(value).__name__}, not bytes: another program wrote it"
    )


def _dispose(opened: Server | File, process: int) -> None:
    """Close the connections of a store that was dropped; never those of a parent process."""
    if process == os.getpid():
        opened.close()
