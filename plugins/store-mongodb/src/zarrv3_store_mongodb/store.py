"""`MongoDBStore`: its options and URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlencode

from pymongo import MongoClient, errors

from zarrv3.errors import (
    ConfigurationError,
    LimitError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.options.declared import Option
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.base import Separator
from zarrv3.store.contract import Driver
from zarrv3.store.undisturbed import undisturbed
from zarrv3_store_mongodb.client import (
    SCHEMES,
    check_options,
    database_of,
    is_collection,
    is_database,
    make_client,
)
from zarrv3_store_mongodb.driver import MongoDBDriver
from zarrv3_store_mongodb.heads import WriteFailedError

DATABASE = "mongodb_zarr"
"""The database unless another one is named, as in zarr-python 2."""

_NOISE = re.compile(r", (full error: \{|Topology Description: <|resolved nodes ).*", re.DOTALL)


class MongoDBStore(Backend):
    """A collection of a MongoDB database, one document per key; `mongodb://user:password@host:27017/database`.

    Safe to use from many threads, processes and machines. Nothing is created before the first write.
    """

    kind = "mongodb"
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
        database: Annotated[
            str,
            Option(
                "the name of the database; a URL's path names it too",
                check=is_database,
                takes="the name of a database: letters, digits, `_` and `-`",
            ),
        ] = DATABASE,
        collection: Annotated[
            str,
            Option(
                "the name of the collection; values beyond 16 MB have their parts in `<collection>.parts`",
                check=is_collection,
                takes="the name of a collection: letters, digits, `_` and `-`",
            ),
        ] = "zarr_collection",
        dimension_separator: Separator = None,
        *,
        url: Annotated[str | None, Option("`mongodb://` or `mongodb+srv://`, for pymongo")] = None,
        client: Annotated[
            MongoClient[Any] | None, Option("a client of yours, used as it is and not closed", live=True)
        ] = None,
        **kwargs: Annotated[
            Any,
            Option(
                "options of `pymongo.MongoClient`: `host`, `port`, `username`, `password`, `tls`, …; unless given, "
                "`serverSelectionTimeoutMS` and `connectTimeoutMS` are 10,000 and `socketTimeoutMS` is 120,000"
            ),
        ],
    ) -> None:
        check_options(url, client, kwargs)
        if url is not None and database == DATABASE:
            database = type(url)(database_of(url) or DATABASE)
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
    def location(cls, url: Url) -> dict[str, Any]:
        """The URL with the options that are pymongo's."""
        if url.scheme not in SCHEMES or not url.authority:
            raise ConfigurationError(
                f"{redact_url(url.text)!r} names no server; write mongodb://host:27017/database"
            )
        theirs = {n: text for n, text in url.query.items() if n not in cls.declared().options}
        text = url.text.partition("#")[0].partition("?")[0]
        if theirs:
            separator = "?" if "/" in text.partition("://")[2] else "/?"
            text += separator + urlencode(theirs, quote_via=quote, safe="${}/:,")
        return {"url": text}

    @classmethod
    def url_options(cls, url: Url) -> dict[str, Any]:
        """See `BaseStore`: the query's own options are taken out, the rest belongs to pymongo."""
        table = cls.declared()
        return table.from_url(cls, url, {n: text for n, text in url.query.items() if n in table.options})

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """A server, where the package `secantusdb` is installed."""
        from zarrv3_store_mongodb.testing import server

        return server()

    def connect(self) -> Driver:
        """The driver over a client; the server is asked what it can do."""
        return undisturbed(self._connect)

    def _connect(self) -> Driver:
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
        """The options; of a client, only that there is one."""
        if self.given_options["client"] is None:
            return super().describe()
        return f"MongoDBStore({self.given_options['database']!r}, {self.given_options['collection']!r}, client=…)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration, unless there is none."""
        if self.given_options["client"] is not None:
            raise TypeError(
                f"{self.describe()} cannot be pickled, since its client cannot; open it by URL or options"
            )
        return super().__reduce__()

    def plain_error(self, error: Exception) -> Exception:
        """Our exception with the text of pymongo's, without what that repeats."""
        ours = next((ours for theirs, ours in self.errors.items() if isinstance(error, theirs)), None)
        if ours is None:
            return error
        option = " (serverSelectionTimeoutMS)" * isinstance(error, errors.ServerSelectionTimeoutError)
        return ours(_NOISE.sub("", str(error)) + option)
