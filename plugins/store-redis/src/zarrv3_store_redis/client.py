"""The redis-py client that the options of a store ask for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from zarrv3.errors import ConfigurationError
from zarrv3.options.redaction import redact
from zarrv3.options.urls import boolean, convert, parse_part
from zarrv3.store.keys import encodable

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for the server to take or send anything."""

RETRIES = 6
"""How often a lost connection is made again, with pauses of 0.1 s that double up to 1 s: 3.5 s in all."""

OPTION_TYPES: Mapping[str, Callable[[str], Any]] = {
    "db": int,
    "username": str,
    "password": str,
    "client_name": str,
    "protocol": int,
    "max_connections": int,
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "socket_keepalive": boolean,
    "health_check_interval": float,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_ca_data": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "ssl_cert_reqs": str,
    "ssl_check_hostname": boolean,
    "ssl_ciphers": str,
}
"""The options of redis-py that a URL may give."""

_OURS = {"connection_pool", "decode_responses", "encoding", "encoding_errors", "single_connection_client"}
_KNOWN = [name for name in inspect.signature(redis.Redis.__init__).parameters if name not in {"self", *_OURS}]
_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis"}
_DATABASE = re.compile(r"/?|/\d+")


class Reconnect(Retry):
    """Tries again when a connection was lost or refused, not when the server took too long or refused the user.

    Args:
        waits: how long a connection waits, for the message when that was too short.
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


def check_options(prefix: object, url: str | None, client: object, options: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for options that make no sense, alone or together."""
    if not isinstance(prefix, str) or not encodable(prefix):
        raise ConfigurationError(f"prefix is text, not {prefix!r}")
    for name in options:
        if name not in _KNOWN:
            known = ", ".join(["prefix", "dimension_separator", "url", "client", *_KNOWN])
            hint = " (values are bytes, whatever a client decodes)" if name in _OURS else ""
            raise ConfigurationError(f"'redis' has no option {name!r}{hint}; its options are: {known}")
    if client is not None:
        if url is not None or options:
            raise ConfigurationError("a RedisStore has a client, or a URL and options to make one, not both")
        if not isinstance(client, redis.Redis):
            raise ConfigurationError(f"client is a redis.Redis, not {type(client).__name__}")
    if url is not None:
        _check_url(url)


def plain_url(text: str) -> str:
    """A store's URL without options, as redis-py understands it: `valkey://` is `redis://`."""
    url = parse_part(text)
    if url.authority is None or url.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"{redact(text)!r} is not the URL of a server; write redis://host:6379/0 or unix:///path"
        )
    return _SCHEMES[url.scheme] + re.split("[?#]", text, maxsplit=1)[0][len(url.scheme) :]


def _check_url(text: str) -> None:
    plain_url(text)
    url = parse_part(text)
    if own := url.query.keys() & {"prefix", "dimension_separator"}:
        raise ConfigurationError(f"url= is for redis-py; give {min(own)!r} as an argument of its own")
    convert("redis", url.query, OPTION_TYPES)
    if url.scheme != "unix" and "${" not in text and not _DATABASE.fullmatch(url.path):
        raise ConfigurationError(
            f"{redact(text)!r}: the path is the number of a database, as in redis://host:6379/0"
        )


# ---------------------------------------------------------------- clients


def make_client(url: str | None, options: Mapping[str, Any]) -> redis.Redis:
    """A client with our time-outs, unless the options have their own; it connects when it is used."""
    given = {**options, **(convert("redis", parse_part(url).query, OPTION_TYPES) if url else {})}
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
        pool.connection_class(**pool.connection_kwargs)  # connects nowhere, but finds options that do not fit
    except (TypeError, ValueError, redis.RedisError) as error:
        raise ConfigurationError(f"these options make no connection: {error}") from None
    return client


@cache
def _driver_info() -> redis.DriverInfo:
    """What a connection tells about its library: redis-py would look up its version again for each."""
    return redis.DriverInfo()


def reading_bytes(client: redis.Redis) -> tuple[redis.Redis, bool]:
    """The client, or one with the same settings that decodes nothing; and whether it is a new one."""
    pool = client.connection_pool
    settings = dict(pool.connection_kwargs)
    if not settings.get("decode_responses"):
        return client, False
    settings.update(decode_responses=False, encoding="utf-8", encoding_errors="strict")
    fresh = redis.ConnectionPool(
        connection_class=pool.connection_class, max_connections=pool.max_connections, **settings
    )
    return redis.Redis.from_pool(fresh), True
