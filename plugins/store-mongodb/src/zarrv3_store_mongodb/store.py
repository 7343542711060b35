"""`MongoDBStore`: what a user says, as options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote, urlencode

from pymongo import MongoClient, errors

from zarrv3.errors import (
    ConfigurationError,
    LimitError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.options.environment import as_templates
from zarrv3.options.redaction import redact
from zarrv3.options.urls import Url, convert
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.contract import Driver
from zarrv3_store_mongodb.client import SCHEMES, check_names, check_options, database_of, make_client
from zarrv3_store_mongodb.driver import MongoDBDriver
from zarrv3_store_mongodb.heads import WriteFailedError

DATABASE = "mongodb_zarr"
"""The database unless another one is named, as in zarr-python 2."""

_NOISE = re.compile(r", (full error: \{|Topology Description: <|resolved nodes ).*", re.DOTALL)


class MongoDBStore(Backend):
    """A collection of a MongoDB database, one document a key; `mongodb://user:password@host:27017/database`.

    Safe to use from many threads, processes and machines. Nothing is created before the first write.

    Args:
        database: the name of the database; a URL's path names it too.
        collection: the name of the collection. Values beyond 16 MB have their parts in `<collection>.parts`.
        dimension_separator: the separator that arrays created here use by default: `.` or `/`.
        url: `mongodb://` or `mongodb+srv://`, as pymongo has it.
        client: a `pymongo.MongoClient` to use as it is; it is not closed with the store.
        **kwargs: options of `pymongo.MongoClient`: `host`, `port`, `username`, `password`, `tls`, …
    """

    kind = "mongodb"
    live_options = ("client",)
    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "database": str,
        "collection": str,
        "dimension_separator": str,
    }
    tested_against: ClassVar[Mapping[str, str]] = {"SecantusDB (MongoDB's protocol)": "0.7"}
    errors: ClassVar[ErrorTable] = {
        errors.NetworkTimeout: StoreTimeoutError,
        errors.ServerSelectionTimeoutError: StoreTimeoutError,
        errors.ExecutionTimeout: StoreTimeoutError,
        errors.WTimeoutError: StoreTimeoutError,
        errors.ConnectionFailure: StoreUnavailableError,
        errors.DocumentTooLarge: LimitError,
        errors.PyMongoError: StoreAccessError,
        WriteFailedError: StoreAccessError,
    }

    def __init__(
        self,
        database: str = DATABASE,
        collection: str = "zarr_collection",
        dimension_separator: Literal[".", "/"] | None = None,
        *,
        url: str | None = None,
        client: MongoClient[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_options(url, client, kwargs)
        if url is not None and database == DATABASE:
            database = type(url)(database_of(url) or DATABASE)
        check_names(database, collection)
        super().__init__(
            database=database,
            collection=collection,
            dimension_separator=dimension_separator,
            url=url,
            client=client,
            **kwargs,
        )
        self._kwargs = tuple(kwargs)

    @classmethod
    def from_url(cls, url: Url, **options: Any) -> Self:
        """Construct from a URL: the query's own options are taken out, the rest belongs to pymongo."""
        if url.scheme not in SCHEMES or not url.authority:
            raise ConfigurationError(
                f"{redact(url.text)!r} names no server; write mongodb://host:27017/database"
            )
        ours = {name: value for name, value in url.query.items() if name in cls.option_types}
        theirs = {name: value for name, value in url.query.items() if name not in cls.option_types}
        text = url.text.partition("#")[0].partition("?")[0]
        if theirs:
            separator = "?" if "/" in text.partition("://")[2] else "/?"
            text += separator + urlencode(theirs, quote_via=quote, safe="${}/:,")
        found = {"url": text, **convert(cls.kind, ours, cls.option_types)}
        return cls.from_options({**as_templates(found), **options})

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """A server, where the package `secantusdb` is installed."""
        from zarrv3_store_mongodb.testing import server

        return server()

    def connect(self) -> Driver:
        """The driver over a client; the server is asked what it can do."""
        client = self.option("client")
        owned = client is None
        if client is None:
            client = make_client(self.option("url"), {name: self.option(name) for name in self._kwargs})
        try:
            return MongoDBDriver(client, self.option("database"), self.option("collection"), owned=owned)
        except BaseException:
            if owned:
                client.close()
            raise

    def describe(self) -> str:
        """The options, of a client only that there is one."""
        if self._options["client"] is None:
            return super().describe()
        return f"MongoDBStore({self._options['database']!r}, {self._options['collection']!r}, client=…)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration, unless there is none."""
        if self._options["client"] is not None:
            raise TypeError(
                f"{self.describe()} cannot be pickled, since its client cannot; open it by URL or options"
            )
        return super().__reduce__()

    def plain_error(self, error: Exception) -> Exception:
        """Ours with the text of one of pymongo's, less what that repeats."""
        ours = next((ours for theirs, ours in self.errors.items() if isinstance(error, theirs)), None)
        if ours is None:
            return error
        option = " (serverSelectionTimeoutMS)" * isinstance(error, errors.ServerSelectionTimeoutError)
        return ours(_NOISE.sub("", str(error)) + option)
