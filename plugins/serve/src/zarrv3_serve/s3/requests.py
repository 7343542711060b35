"""A request as S3 reads it, its body, and an answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from zarrv3.store.contract import Buffer
from zarrv3_serve.s3.errors import S3Error

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PIECE = 1 << 18
"""The bytes of an answer that are handed over at once."""
SLOWEST = 8192
"""The bytes that have to pass in a second, on average, once the patience is over."""


class Request:
    """What a client wants.

    `path` is as the client signed it, without percents; of the rest, names are text and headers in lower case.
    """

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        self.path = unquote_to_bytes(raw.partition(b"?")[0])
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            header, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[header] = f"{self.headers[header]},{text}" if header in self.headers else text
        parts = [part.partition(b"=") for part in scope["query_string"].split(b"&") if part]
        self.pairs = [(_plain(name), _plain(value)) for name, _, value in parts]
        try:
            self.query = {name.decode(): value.decode() for name, value in self.pairs}
            place = self.path.decode().removeprefix(scope.get("root_path", ""))
        except UnicodeDecodeError:
            raise S3Error("InvalidURI", "the address is not UTF-8") from None
        self.bucket, _, self.key = place.removeprefix("/").partition("/")


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


@dataclass
class Response:
    """What a client gets; `size` is that of the whole where the body is left out (`HEAD`)."""

    status: int = 200
    body: Buffer = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


class Budget:
    """The bytes that all requests together hold in memory; one that would need more is asked to come again."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._lock = threading.Lock()

    def change(self, account: Account, size: int) -> None:
        """Count bytes that an account takes, or gives back."""
        with self._lock:
            others = self.held - account.held
            if size > 0 and others and self.held + size > self.most:
                raise S3Error("SlowDown", "too much is under way just now; try again")
            self.held += size
            account.held += size

    @contextmanager
    def account(self) -> Iterator[Account]:
        """A block with an account whose bytes are given back at its end."""
        account = Account(self)
        try:
            yield account
        finally:
            self.change(account, -account.held)


class Account:
    """The bytes that one request holds."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes that are there or will be; raises `S3Error` where they are too many together with those of others."""
        self.budget.change(self, size)


class Pace:
    """What a client may take its time for: some seconds, and more as bytes pass."""

    def __init__(self, patience: float) -> None:
        self.end = time.monotonic() + patience
        self.patience = patience

    async def wait(self, call: Awaitable[Any]) -> Any:
        """What a call returns; `TimeoutError` where the client is too slow."""
        left = min(self.end - time.monotonic(), self.patience)
        async with asyncio.timeout(max(left, 0)):
            return await call

    def passed(self, size: int) -> None:
        """Some bytes have passed."""
        self.end += size / SLOWEST


async def pieces(receive: Receive, patience: float) -> AsyncIterator[bytes]:
    """The body of a request as it comes; raises `S3Error` where it is cut or comes too slowly."""
    pace = Pace(patience)
    more = True
    while more:
        try:
            message = await pace.wait(receive())
        except TimeoutError:
            raise S3Error("RequestTimeout", "the body came too slowly") from None
        if message["type"] != "http.request":
            raise S3Error("IncompleteBody", "the connection ended before the body")
        data = message.get("body", b"")
        pace.passed(len(data))
        more = message.get("more_body", False)
        yield data
