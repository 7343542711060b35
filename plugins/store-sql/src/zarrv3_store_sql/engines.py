"""From options to an SQLAlchemy engine."""

from __future__ import annotations

import importlib
import inspect
import random
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import unknown_option
from zarrv3.store.undisturbed import undisturbed
from zarrv3_store_sql.dialects import DIALECTS
from zarrv3_store_sql.files import Statements

T = TypeVar("T")

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
"""The driver for URLs that name a database but no Python package for it."""

ASYNCHRONOUS = {"asyncpg", "psycopg_async", "aiomysql", "asyncmy", "aiosqlite"}

LISTENED_TO = {"psycopg", "psycopg2"}
"""Drivers whose connections show, without a round trip, that their server has gone."""

CONNECTIONS = 16
"""The most threads that use a server at once; others wait."""

KEPT = 8
"""The most connections that are kept open while no call needs them."""

IDLE = 30.0
"""Idle seconds after which such a connection is tested all the same: a firewall may have dropped it."""


class Server:
    """An SQLAlchemy engine, used by at most `CONNECTIONS` threads at once.

    Args:
        engine: the engine.
        own: whether it was made here and is disposed of with the store.
        connect_timeout: the time-out that errors name.
    """

    path: ClassVar[None] = None
    private: ClassVar[bool] = False
    lock_timeout: ClassVar[None] = None

    def __init__(self, engine: Engine, *, own: bool, connect_timeout: float | None = None) -> None:
        self.engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.own = own
        self.connect_timeout = connect_timeout
        self.dialect: Any = engine.dialect
        # an interrupt can make SQLAlchemy's pool lose count of its connections; it cannot leave one of these taken
        self._places = [threading.RLock() for _ in range(CONNECTIONS)]
        self._free = deque(self._places, CONNECTIONS)

    def run(self, action: Callable[[Any], T], begin: str = "") -> T:
        """What a function returns that is given a connection, in a transaction that the statement `begin` begins, if any."""
        try:
            place = self._free.pop()
        except IndexError:
            place = random.choice(self._places)  # noqa: S311 - whose turn comes next
        try:
            with place, self.engine.connect() as connection:
                try:
                    if begin:
                        connection.exec_driver_sql(begin)
                    raw: Any = connection.connection.driver_connection
                    result = action(Statements(raw) if self.dialect.name == "sqlite" else connection)
                    if begin:
                        connection.exec_driver_sql("COMMIT")
                except BaseException as error:
                    with suppress(SQLAlchemyError):  # it may be the connection that broke
                        if _is_interrupted(error):
                            connection.invalidate()  # nobody knows what it is in the middle of
                        elif begin:
                            connection.exec_driver_sql("ROLLBACK")
                    raise
                finally:
                    self._free.append(place)
                return result
        except AssertionError as error:
            # SQLAlchemy raises it where an interrupt comes into the closing of a transaction
            interrupt = error.__context__
            raise (interrupt if isinstance(interrupt, KeyboardInterrupt) else error) from None

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


class Idle(Pool):
    """A pool that opens connections as they are needed, and keeps some.

    An interrupt can leave the lock of SQLAlchemy's own `QueuePool` taken for ever: its conditions are entered in Python.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: deque[ConnectionPoolEntry] = deque()

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return self._idle.pop()
        except IndexError:
            return undisturbed(
                self._create_connection
            )  # clients log it, and the lock of `logging` could stay taken

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if len(self._idle) < KEPT:
            self._idle.append(record)
        else:
            record.close()

    def recreate(self) -> Idle:
        """An empty pool like this one, for when all connections have been found broken."""
        return Idle(self._creator, pre_ping=self._pre_ping, _dispatch=self.dispatch, dialect=self._dialect)

    def dispose(self) -> None:
        """Close what is kept."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def status(self) -> str:
        """How many are kept."""
        return f"{len(self._idle)} idle connections"


def _is_interrupted(error: BaseException | None) -> bool:
    """Whether an error is an interrupt, or has come of one: libraries raise their own when they cannot clean up after it."""
    while isinstance(error, Exception):
        error = error.__cause__ or error.__context__
    return error is not None


def parse(url: str) -> URL:
    """A database's URL with the driver put in; raises `ConfigurationError` for anything else."""
    try:
        parsed = make_url(url.removeprefix("sql+"))
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "not the URL of a database; write it like postgresql://user@host/database or sqlite:////absolute/path.db"
        ) from error
    database = parsed.get_backend_name()
    _check_database(database)
    if parsed.get_driver_name() in ASYNCHRONOUS or (
        database == "sqlite" and parsed.get_driver_name() != "pysqlite"
    ):
        raise ConfigurationError(
            f"{parsed.drivername}:// cannot be used; leave out the driver or name another one"
        )
    return parsed.set(drivername=DRIVERS[database]) if parsed.drivername in DRIVERS else parsed


def check_names(parsed: URL, ours: Iterable[str]) -> None:
    """Raise `ConfigurationError` for an option in a URL that its driver does not have, with those that look like it."""
    try:
        known = _NAMES.get(parsed.get_driver_name(), lambda: parsed.query)()
    except ImportError:  # said when it is used
        return
    for name in parsed.query:
        if name not in known and name != "plugin":
            raise unknown_option(parsed.get_backend_name(), name, [*ours, *known], "URL option")


def _names_of_psycopg() -> Collection[str]:
    options = importlib.import_module("psycopg.pq").Conninfo.get_defaults()
    return [option.keyword.decode() for option in options]


def _names_of_pymysql() -> Collection[str]:
    connect = importlib.import_module("pymysql").connect
    return [*inspect.signature(connect).parameters, *_OF_SQLALCHEMY]


_NAMES: Mapping[str, Callable[[], Collection[str]]] = {
    "psycopg": _names_of_psycopg,
    "pymysql": _names_of_pymysql,
}
"""The options of drivers that say what they are."""

_OF_SQLALCHEMY = ("ssl_capath", "ssl_cipher", "ssl_check_hostname")
"""What SQLAlchemy puts into the option `ssl` of PyMySQL, beside what that has by name."""


def server(parsed: URL, connect_timeout: float, prepare_threshold: int | None) -> Server:
    """An engine with a pool whose connections are checked before they are used."""
    arguments: dict[str, Any] = {"connect_timeout": max(1, round(connect_timeout))}
    driver = parsed.get_driver_name()
    if driver == "psycopg":
        arguments |= {"client_encoding": "utf8", "cursor_factory": _binary_cursor()}
        arguments["prepare_threshold"] = None  # until it is known who answers
    elif driver == "pg8000":
        arguments = {"timeout": connect_timeout}
    try:
        engine = create_engine(
            parsed,
            isolation_level="AUTOCOMMIT",
            connect_args={name: value for name, value in arguments.items() if name not in parsed.query},
            poolclass=Idle,
            pool_pre_ping=driver not in LISTENED_TO,
            hide_parameters=True,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise _missing(parsed, error) from None
    except ArgumentError as error:
        raise ConfigurationError(f"{parsed.render_as_string()}: {error}") from None
    if driver in LISTENED_TO:
        _listen(engine)
    if driver == "psycopg" and prepare_threshold is not None:
        event.listen(engine, "connect", partial(_look_for_a_pool, prepare_threshold))
    if driver == "pymysql":
        event.listen(engine, "do_connect", partial(_greeted, connect_timeout))
    return Server(engine, own=True, connect_timeout=connect_timeout)


def _greeted(
    timeout: float, dialect: Any, _: Any, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """A connection of PyMySQL, whose own time-out does not hold for a server that accepts it and then says nothing."""
    connection = dialect.connect(*arguments, **{"read_timeout": timeout, **options})
    connection._read_timeout = options.get("read_timeout")  # queries may take longer
    return connection


def given(engine: Engine) -> Server:
    """An engine of the user's, used as it is and not disposed of."""
    _check_database(engine.dialect.name)
    if engine.dialect.is_async:
        raise ConfigurationError(
            "an asynchronous engine cannot be used; give one of sqlalchemy.create_engine"
        )
    return Server(engine, own=False)


def _check_database(name: str) -> None:
    if name not in DIALECTS:
        raise ConfigurationError(
            f"{name!r} is not a database that zarrv3 speaks; it speaks {', '.join(DIALECTS)}"
        )


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


def _look_for_a_pool(prepare_threshold: int, connection: Any, _: Any) -> None:
    """Prepare statements from their so many-th use on, but none on a connection that a pool before the server made up.

    Behind PgBouncer for instance, each transaction may go to another session of the server, where a statement of that name
    may be another one. Who answers is not who the connection was introduced to: a pool has process numbers of its own.
    """
    with connection.cursor() as cursor:
        ((process,),) = cursor.execute("SELECT pg_backend_pid()", prepare=False)
    if process == connection.info.backend_pid:
        connection.prepare_threshold = prepare_threshold


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
