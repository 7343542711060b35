"""From options to an SQLAlchemy engine."""

from __future__ import annotations

import importlib
import selectors
import sqlite3
import time
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import URL, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError

from zarrv3.errors import ConfigurationError
from zarrv3_store_sql.dialects import DIALECTS

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
"""The driver for URLs that name a database but no Python package for it."""

ASYNCHRONOUS = {"asyncpg", "psycopg_async", "aiomysql", "asyncmy", "aiosqlite"}

LISTENED_TO = {"psycopg", "psycopg2"}
"""Drivers whose connections show, without a round trip, that their server has gone."""

IDLE = 30.0
"""Idle seconds after which such a connection is tested all the same: a firewall may have dropped it."""

LOCK_TIMEOUT = 60.0
"""Seconds that a writer of SQLite waits for another one."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An engine, and what is known about it."""

    engine: Engine
    own: bool
    """Whether it was made here and is disposed of with the store."""
    path: str | None = None
    """The file of an SQLite database."""
    private: bool = False
    """Whether only this store can see the data: SQLite's `:memory:`."""
    connect_timeout: float | None = None
    lock_timeout: float | None = None
    like: Hashable = None
    """What interchangeable engines have in common; `None` for an engine of one store only."""


def parse(url: str) -> URL:
    """A database's URL with the driver put in; raises `ConfigurationError` for anything else."""
    try:
        parsed = make_url(url.removeprefix("sql+"))
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "not the URL of a database; write it like postgresql://user@host/database or sqlite:////absolute/path.db"
        ) from error
    database = parsed.get_backend_name()
    if database not in DIALECTS:
        raise ConfigurationError(
            f"{database!r} is not a database that zarrv3 speaks; it speaks {', '.join(DIALECTS)}"
        )
    if parsed.get_driver_name() in ASYNCHRONOUS or (
        database == "sqlite" and parsed.get_driver_name() != "pysqlite"
    ):
        raise ConfigurationError(
            f"{parsed.drivername}:// cannot be used; leave out the driver or name another one"
        )
    return parsed.set(drivername=DRIVERS[database]) if parsed.drivername in DRIVERS else parsed


def server(url: str, connect_timeout: float) -> Opened:
    """An engine with a pool whose connections are checked before they are used."""
    parsed = parse(url)
    arguments: dict[str, Any] = {"connect_timeout": max(1, round(connect_timeout))}
    driver = parsed.get_driver_name()
    if driver == "psycopg":
        arguments |= {"client_encoding": "utf8", "cursor_factory": _binary_cursor()}
    elif driver == "pg8000":
        arguments = {"timeout": connect_timeout}
    try:
        engine = create_engine(
            parsed,
            isolation_level="AUTOCOMMIT",
            connect_args={name: value for name, value in arguments.items() if name not in parsed.query},
            pool_pre_ping=driver not in LISTENED_TO,
            pool_size=8,
            max_overflow=8,
            hide_parameters=True,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise _missing(parsed, error) from None
    except ArgumentError as error:
        raise ConfigurationError(f"{parsed.render_as_string()}: {error}") from None
    if driver in LISTENED_TO:
        _listen(engine)
    return Opened(engine=engine, own=True, connect_timeout=connect_timeout)


def sqlite(path: str, *, fsync: bool, arguments: Mapping[str, Any]) -> Opened:
    """An engine over a file, or over `:memory:` with one connection that all threads share in turn."""
    private = path == ":memory:"
    arguments = {"timeout": LOCK_TIMEOUT, **arguments, "check_same_thread": False, "isolation_level": None}
    is_uri = bool(arguments.get("uri")) and path.startswith("file:")
    like = None if private else (path, fsync, *sorted(arguments.items(), key=itemgetter(0)))
    return Opened(
        engine=_idle_engine(like) or _sqlite_engine(path, arguments, fsync=fsync, private=private),
        own=True,
        path=None if private or is_uri else path,
        private=private,
        lock_timeout=arguments["timeout"],
        like=like,
    )


def _sqlite_engine(path: str, arguments: Mapping[str, Any], *, fsync: bool, private: bool) -> Engine:
    pool: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 5, "max_overflow": -1}
    if private:
        pool.update(pool_size=1, max_overflow=0)  # the driver gives it to one thread at a time
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(path, **arguments), isolation_level="AUTOCOMMIT", **pool
    )

    @event.listens_for(engine, "connect")
    def _(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")

    return engine


_IDLE = 16  # how many engines are kept
_idle: deque[tuple[Hashable, Engine]] = deque(maxlen=_IDLE)


def give_back(opened: Opened) -> None:
    """Keep an engine whose connections are closed for the next store like it: making one takes two milliseconds."""
    if opened.like is not None:
        _idle.append((opened.like, opened.engine))


def _idle_engine(like: Hashable) -> Engine | None:
    """An engine that was given back; from now on it belongs to the caller alone."""
    for _ in range(len(_idle)):
        try:
            idle = _idle.popleft()
        except IndexError:  # other threads took the rest
            return None
        if idle[0] == like:
            return idle[1]
        _idle.append(idle)
    return None


def given(engine: Engine) -> Opened:
    """An engine of the user's, used as it is and not disposed of."""
    if engine.dialect.name not in DIALECTS:
        raise ConfigurationError(
            f"{engine.dialect.name!r} is not a database that zarrv3 speaks; it speaks {', '.join(DIALECTS)}"
        )
    if engine.dialect.is_async:
        raise ConfigurationError(
            "an asynchronous engine cannot be used; give one of sqlalchemy.create_engine"
        )
    return Opened(engine=engine, own=False)


def _listen(engine: Engine) -> None:
    """Check connections before they are used; when one's server has gone, all are replaced."""

    @event.listens_for(engine, "checkin")
    def _(_: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _(connection: Any, record: Any, _: Any) -> None:
        used = record.info.get("used")  # not there: it is new
        if used is None or (time.monotonic() - used < IDLE and _is_quiet(connection)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _is_quiet(connection: Any) -> bool:
    """Whether the server has sent nothing unasked, as when it ends a connection."""
    if connection.closed:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        return not selector.select(0)


def _binary_cursor() -> type[Any]:
    """A cursor of psycopg that fetches bytes as they are instead of as hexadecimal text."""
    try:
        psycopg = importlib.import_module("psycopg")
    except ImportError as error:
        raise _missing(make_url("postgresql+psycopg://"), error) from None

    class BinaryCursor(psycopg.Cursor):  # type: ignore[name-defined,misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.format = psycopg.pq.Format.BINARY

    return BinaryCursor


def _missing(url: URL, error: Exception) -> ConfigurationError:
    extra = "postgresql" if url.get_backend_name() == "postgresql" else "mysql"
    return ConfigurationError(
        f"{url.drivername}:// needs a package that is not installed ({error}): pip install 'zarrv3-store-sql[{extra}]', "
        "or name another driver, as in postgresql+psycopg2://"
    )
