"""What a server answers, and how it is sent by ASGI."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

from zarrv3 import Buffer

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

PIECE = 1 << 20
"""What is handed to a client at once."""

PATIENCE = 60.0
"""The seconds in which a client has to take a piece, or send one: others wait for its place."""


class Reply(NamedTuple):
    """An answer: its status, headers and body, which is one value or comes in pieces."""

    status: int
    headers: Headers
    body: Buffer | AsyncIterator[Buffer] = b""
    length: int | None = None
    """What `Content-Length` says where the body is not at hand: it comes in pieces, or was only asked about."""


def headers(**given: str | int | None) -> Headers:
    """Headers by their names, with `_` for `-`; those that are `None` are left out."""
    return [
        (name.replace("_", "-").encode(), str(value).encode("latin-1"))
        for name, value in given.items()
        if value is not None
    ]


def text(status: int, message: str = "", **more: str | int | None) -> Reply:
    """A line of plain text: why a request was refused."""
    body = f"{message or HTTPStatus(status).phrase}\n".encode("utf-8", "backslashreplace")
    return Reply(status, headers(content_type="text/plain; charset=utf-8", **more), body)


def document(value: Any) -> Reply:
    """A JSON document, which no cache keeps unasked."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Reply(200, headers(content_type="application/json", cache_control="no-cache"), body)


async def send_reply(send: Send, reply: Reply, *, is_head: bool) -> int:
    """Send an answer; returns how many bytes of its body went out."""
    body = reply.body
    whole = body if isinstance(body, bytes | bytearray | memoryview) else None
    length = reply.length if whole is None or reply.length is not None else len(whole)
    own = [*reply.headers]
    if length is not None and reply.status not in {204, 304}:
        own.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": reply.status, "headers": own})
    sent = 0
    if is_head or whole is not None:
        whole = b"" if is_head or whole is None else bytes(whole)
        if len(whole) <= PIECE:
            await send({"type": "http.response.body", "body": whole})
            return len(whole)
        body = _cut(whole)
    async for piece in body:  # type: ignore[union-attr]  # it is not a value
        sent += len(piece)
        async with asyncio.timeout(PATIENCE):  # the connection is closed then
            await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return sent


async def _cut(value: bytes) -> AsyncIterator[Buffer]:
    view = memoryview(value)
    for start in range(0, len(view), PIECE):
        yield view[start : start + PIECE]
