"""The redis-py client that the options of a store ask for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, TypedDict, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import Option, table_of, unknown_option
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import parse_part

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for the server to take or send anything."""

RETRIES = 6
"""How often a lost connection is made again, with pauses of 0.1 s that double up to 1 s: 3.5 s in all."""


class RedisOptions(TypedDict, total=False):
    """The options of redis-py that a URL may give too."""

    db: Annotated[int, Option("the number of the database; 0 unless the URL's path names one")]
    username: Annotated[str, Option("the user, where the URL names none")]
    password: Annotated[
        str, Option("the user's password; `${NAME}` takes it from the environment", secret=True)
    ]
    client_name: Annotated[str, Option("what the server's list of clients shows")]
    protocol: Annotated[int, Option("the version of the protocol, 2 or 3")]
    max_connections: Annotated[int, Option("how many connections there are at most")]
    socket_timeout: Annotated[
        float, Option(f"seconds to wait for the server to take a value or to answer; {ANSWER_TIMEOUT:g}")
    ]
    socket_connect_timeout: Annotated[float, Option(f"seconds to wait for a connection; {CONNECT_TIMEOUT:g}")]
    socket_keepalive: Annotated[bool, Option("let the system keep idle connections alive")]
    health_check_interval: Annotated[float, Option("seconds after which an idle connection is tested")]
    ssl_ca_certs: Annotated[str, Option("a file of certificates that are trusted")]
    ssl_ca_path: Annotated[str, Option("a folder of such files")]
    ssl_ca_data: Annotated[str, Option("such certificates as text")]
    ssl_certfile: Annotated[str, Option("the client's certificate")]
    ssl_keyfile: Annotated[str, Option("the file of its key")]
    ssl_password: Annotated[str, Option("the password of that file", secret=True)]
    ssl_cert_reqs: Annotated[str, Option("`required`, `optional` or `none`")]
    ssl_check_hostname: Annotated[bool, Option("whether the certificate has to match the host")]
    ssl_ciphers: Annotated[str, Option("the ciphers that are allowed")]


_OURS = {"connection_pool", "decode_responses", "encoding", "encoding_errors", "single_connection_client"}
_KNOWN = [name for name in inspect.signature(redis.Redis.__init__).parameters if name not in {"self", *_OURS}]
_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis"}
_DATABASE = re.compile(r"/?|/\d+")


class Reconnect(Retry):
    """Retries when a connection was lost or refused, not when the server took too long or refused the user.

    Args:
        waits: the time-outs of a connection, for the message when one has passed.
    """

    def __init__(self, waits: str) -> None:
        super().__init__(ExponentialBackoff(cap=1.0, base=0.05), RETRIES, (redis.ConnectionError,))
        self.waits = waits

    def call_with_retry(
        self, do: Callable[[], T], fail: Any, is_retryable: Any = None, with_failure_count: bool = False
    ) -> T:
        """As redis-py says; an error names the time-outs."""
        try:
            return super().call_with_retry(do, fail, is_retryable or _may_pass, with_failure_count)
        except redis.TimeoutError as error:
            raise redis.TimeoutError(f"{error} ({self.waits})") from error


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, redis.AuthenticationError | redis.exceptions.MaxConnectionsError)


# ---------------------------------------------------------------- options


def check_options(url: str | None, client: object, options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for options that make no sense together, or that redis-py does not have."""
    for name in options:
        if name in _OURS:
            raise ConfigurationError(f"{name!r} of redis.Redis is set by the store, which needs it as it is")
        if name not in _KNOWN:
            raise unknown_option("redis", name, ["prefix", "dimension_separator", "url", "client", *_KNOWN])
    if client is not None and (url is not None or options):
        raise ConfigurationError("a RedisStore has a client, or a URL and options to make one, not both")
    if url is not None:
        _check_url(url)


def plain_url(text: str) -> str:
    """A store's URL without options, as redis-py understands it: `valkey://` is `redis://`."""
    url = parse_part(text)
    if url.authority is None or url.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"{redact_url(text)!r} is not the URL of a server; write redis://host:6379/0 or unix:///path"
        )
    return _SCHEMES[url.scheme] + re.split("[?#]", text, maxsplit=1)[0][len(url.scheme) :]


def _check_url(text: str) -> None:
    plain_url(text)
    url = parse_part(text)
    if own := url.query.keys() & {"prefix", "dimension_separator"}:
        raise ConfigurationError(f"url= is for redis-py; give {min(own)!r} as an argument of its own")
    _from_query(url.query)
    if url.scheme == "unix" or "${" in text:
        return
    _ = url.port  # raises for what is not one
    if not _DATABASE.fullmatch(url.path):
        raise ConfigurationError(
            f"{redact_url(text)!r}: the path is the number of a database, as in redis://host:6379/0"
        )


def _from_query(query: Mapping[str, str]) -> dict[str, Any]:
    """The options in a URL that is redis-py's."""
    return table_of("redis", RedisOptions).from_query(query)


# ---------------------------------------------------------------- clients


def make_client(url: str | None, options: Mapping[str, Any]) -> redis.Redis:
    """A client with our time-outs, unless the options have their own; it connects when it is used."""
    given = {**options, **(_from_query(parse_part(url).query) if url else {})}
    waits = {"socket_timeout": ANSWER_TIMEOUT}
    if not (url or "").startswith("unix:"):
        waits["socket_connect_timeout"] = CONNECT_TIMEOUT
    waits = {name: given.get(name, seconds) for name, seconds in waits.items()}
    shown = ", ".join(f"{name}={seconds} s" for name, seconds in waits.items())
    asked = {"max_connections": 1 << 31, "retry": Reconnect(shown), **given, **waits}
    if not given.keys() & {"driver_info", "lib_name", "lib_version"}:
        asked["driver_info"] = _driver_info()
    try:
        client = redis.Redis(**asked) if url is None else redis.Redis.from_url(plain_url(url), **asked)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but finds options that do not fit
    except (TypeError, ValueError, redis.RedisError) as error:
        raise ConfigurationError(f"no connection can be made with these options: {error}") from None
    return client


@cache
def _driver_info() -> redis.DriverInfo:
    """What a connection tells about its library; redis-py would look up its version for each."""
    return redis.DriverInfo()


def reading_bytes(client: redis.Redis) -> tuple[redis.Redis, bool]:
    """The client, or a new one with its settings that does not decode; and whether it is new."""
    pool = client.connection_pool
    settings = dict(pool.connection_kwargs)
    if not settings.get("decode_responses"):
        return client, False
    settings.update(decode_responses=False, encoding="utf-8", encoding_errors="strict")
    fresh = redis.ConnectionPool(
        connection_class=pool.connection_class, max_connections=pool.max_connections, **settings
    )
    return redis.Redis.from_pool(fresh), True
