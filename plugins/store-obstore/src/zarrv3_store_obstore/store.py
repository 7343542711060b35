"""`ObjectStore`: its options and URL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar, Literal

from zarrv3.errors import ConfigurationError, InvalidKeyError, UnsupportedError
from zarrv3.options.declared import Option
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Capabilities, Driver, Limits
from zarrv3_store_obstore.clouds import check, located, make, place_of, target
from zarrv3_store_obstore.driver import ObjectDriver
from zarrv3_store_obstore.failures import is_denied, plain
from zarrv3_store_obstore.library import library
from zarrv3_store_obstore.requests import Requests

_KEY = 1024
"""The most bytes a name in S3, Google's or Azure's storage may have."""

_SECONDS: dict[str, Any] = {
    "check": lambda seconds: 0 < seconds < math.inf,
    "takes": "a positive number of seconds",
}


class ObjectStore(Backend):
    """Objects in S3, Google's or Azure's storage or behind a web server; `obstore+s3://bucket/path`, `obstore+gs://`, ….

    Safe to use from many threads, processes and machines. Nothing is sent before the first use.
    """

    kind = "obstore"
    tested_against: ClassVar[Mapping[str, str]] = {
        "S3 (moto)": "5",
        "Azure (Azurite)": "3",
        "HTTP": "aiohttp 3",
    }
    errors: ClassVar[ErrorTable] = {
        FileExistsError: InvalidKeyError,
        NotImplementedError: UnsupportedError,
    }

    def __init__(
        self,
        url: Annotated[str, Option("the place, without options: `s3://bucket/path`", check=place_of)],
        mode: Annotated[Literal["r", "w"], Option("`r` refuses writes")] = "w",
        dimension_separator: Separator = None,
        *,
        anon: Annotated[bool | None, Option("send no credentials")] = None,
        endpoint_url: Annotated[str | None, Option("another server than the provider's own")] = None,
        key: Annotated[str | None, Option("S3: the access key's id", secret=True)] = None,
        secret: Annotated[str | None, Option("S3: the secret access key", secret=True)] = None,
        token: Annotated[
            str | None,
            Option("S3: a session's token; Google: the file with the credentials, or `anon`", secret=True),
        ] = None,
        profile: Annotated[str | None, Option("S3: the profile in the files of the AWS command line")] = None,
        region: Annotated[str | None, Option("S3: the region; `None`: Amazon is asked")] = None,
        requester_pays: Annotated[bool | None, Option("S3: pay for the requests")] = None,
        account_name: Annotated[str | None, Option("Azure: the storage account")] = None,
        account_key: Annotated[str | None, Option("Azure: its key", secret=True)] = None,
        sas_token: Annotated[str | None, Option("Azure: a shared access signature", secret=True)] = None,
        connection_string: Annotated[
            str | None, Option("Azure: account, key and endpoint in one", secret=True)
        ] = None,
        headers: Annotated[
            dict[str, str] | None, Option("headers that are sent with every request", secret=True)
        ] = None,
        conditional_writes: Annotated[
            bool | None,
            Option(
                "whether the server obeys `If-Match` and `If-None-Match` when it writes; `None`: when it is Amazon's, "
                "Google's or Microsoft's own"
            ),
        ] = None,
        missing_exceptions: Annotated[
            Literal["PermissionError"] | None,
            Option(
                'what means a missing key besides "not found": `PermissionError` for a refused permission'
            ),
        ] = None,
        connect_timeout: Annotated[float, Option("seconds for an attempt to connect", **_SECONDS)] = 3.0,
        read_timeout: Annotated[float, Option("seconds without a byte", **_SECONDS)] = 30.0,
        retries: Annotated[
            int,
            Option(
                "how often a request is sent again", check=lambda n: n >= 0, takes="a whole number from 0 on"
            ),
        ] = 3,
        **config: Annotated[
            Any,
            Option(
                "further options of object_store: `virtual_hosted_style_request`, `use_emulator`, …",
                convert=str,
            ),
        ],
    ) -> None:
        super().__init__(
            url=url,
            mode=mode,
            dimension_separator=dimension_separator,
            anon=anon,
            endpoint_url=endpoint_url,
            key=key,
            secret=secret,
            token=token,
            profile=profile,
            region=region,
            requester_pays=requester_pays,
            account_name=account_name,
            account_key=account_key,
            sas_token=sas_token,
            connection_string=connection_string,
            headers=headers,
            conditional_writes=conditional_writes,
            missing_exceptions=missing_exceptions,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries=retries,
            **config,
        )
        self._passed = (*_PASSED, *config)
        given = {name: self.given_options[name] for name in _PASSED if self.given_options[name] is not None}
        check(
            self.given_options["url"], given, config, [n for n in self.declared().in_urls if n not in _PASSED]
        )

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The URL without its options and without `obstore+`."""
        scheme = url.scheme.removeprefix("obstore+")
        if scheme == "obstore" or url.authority is None:
            raise ConfigurationError(
                f"{redact_url(url.text)!r}: write obstore+s3://bucket/path, obstore+https://…"
            )
        text = url.text.partition("#")[0].partition("?")[0]
        return {"url": scheme + text[len(url.scheme) :]}

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """S3, where the package `moto[server]` is installed."""
        from zarrv3_store_obstore.testing import server

        return server()

    def connect(self) -> Driver:
        """The driver over an object store; nothing is sent."""
        url = self.option("url")
        destination = target(url, {name: self.option(name) for name in self._passed})
        place, cloud = destination.place, destination.cloud
        times = {name: self.option(name) for name in ("connect_timeout", "read_timeout", "retries")}
        conditional = self.option("conditional_writes")
        can = Capabilities(
            write=cloud.writes,
            erase=cloud.writes,
            list=cloud.lists,
            swap=cloud.writes and (destination.is_the_providers if conditional is None else conditional),
            native_ranges=True,
            shared=True,
            persistent=True,
            durable=True,
            limits=Limits(key_bytes=max(1, _KEY - len(place.prefix.encode()) - bool(place.prefix))),
        )
        obstore = library()
        make(obstore, url, destination, times=times, repeat=True)  # whether options and URL fit together

        def stores() -> tuple[Any, Any]:
            complete = located(destination, times["connect_timeout"])
            return tuple(make(obstore, url, complete, times=times, repeat=repeat) for repeat in (True, False))

        requests = Requests(
            obstore,
            stores,
            suffixes=cloud.suffixes,
            unfit=cloud.unfit,
            forbidden_is_missing=self.option("missing_exceptions") is not None,
            web=cloud.cls == "HTTPStore",
        )
        is_read_only = self.option("mode") == "r"
        return ObjectDriver(requests, can.read_only() if is_read_only else can, bulk=cloud.bulk)

    def address(self, folder: str) -> Address:
        """See `BaseStore`; without the server."""
        place = place_of(self.option("url"))
        return Address(None, f"{'/'.join(filter(None, (place.container, place.prefix)))}/{folder}")

    def plain_error(self, error: Exception) -> Exception:
        """The Python exception equivalent to one of obstore's."""
        found = plain(error)
        if isinstance(found, PermissionError) and is_denied(error):
            return PermissionError(
                f"{found}; if it answers so for what is not there, set missing_exceptions=PermissionError"
            )
        if isinstance(found, TimeoutError | ConnectionError):
            times = ", ".join(f"{n}={self.option(n)}" for n in ("connect_timeout", "read_timeout", "retries"))
            return type(found)(f"{found} (options: {times})")
        return found


_PASSED = (
    "anon",
    "endpoint_url",
    "key",
    "secret",
    "token",
    "profile",
    "region",
    "requester_pays",
    "account_name",
    "account_key",
    "sas_token",
    "connection_string",
    "headers",
)
"""Our options that say where and as whom requests are sent."""
