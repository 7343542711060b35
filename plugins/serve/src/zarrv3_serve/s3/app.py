"""The ASGI application: a store as a bucket, its limits, and how answers are sent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress

from zarrv3.errors import ConfigurationError
from zarrv3.store.base import BaseStore
from zarrv3_serve.s3.documents import Tree, document
from zarrv3_serve.s3.errors import S3Error, translated
from zarrv3_serve.s3.operations import Exchange
from zarrv3_serve.s3.requests import PIECE, Account, Budget, Pace, Receive, Response, Scope, Send
from zarrv3_serve.s3.uploads import Uploads
from zarrv3_serve.workers import Workers

BUCKET = "zarr"
"""What a store is called as a bucket."""
ACCESS_KEY = "zarrv3"
"""The access key whose secret is the token of `zarrv3 serve`."""


class S3App:
    """An ASGI application that shows a store as a bucket of S3, with addresses such as `/bucket/key`.

    The store stays the caller's to close. One process serves it: parts of uploads are kept there.

    Args:
        store: any store, with its layers.
        bucket: the name that clients call it by.
        keys: access keys with their secrets; every request has to be signed by one. `None`: nothing is asked.
        public: reading needs no signature.
        writable: whether values can be written and erased.
        largest: the bytes of a value that is taken.
        memory: the bytes of bodies and values that are held at once; a client that would need more is told to slow down.
        requests: how many are answered at once; others are told to slow down.
        workers: the threads that call the store; by default 16 of its own.
        spool: the bytes that parts of values may take in temporary files.
        patience: the seconds that a client may send or take nothing.
    """

    def __init__(
        self,
        store: BaseStore,
        *,
        bucket: str = BUCKET,
        keys: Mapping[str, str] | None = None,
        public: bool = False,
        writable: bool = False,
        largest: int = 1 << 30,
        memory: int = 2 << 30,
        requests: int = 256,
        workers: Workers | None = None,
        spool: int = 16 << 30,
        patience: float = 30.0,
    ) -> None:
        if not bucket or "/" in bucket or bucket in {".", ".."}:
            raise ConfigurationError(f"{bucket!r} is not the name of a bucket")
        if keys is not None and not (keys and all(keys) and all(keys.values())):
            raise ConfigurationError("keys are names with secrets, at least one; None asks for none")
        self.store = store
        self.bucket = bucket
        self.keys: Mapping[str, str] | None = None if keys is None else dict(keys)
        self.public = public
        self.writable = writable
        self.largest = largest
        self.budget = Budget(memory)
        self.requests = requests
        self.workers = workers or Workers(16)
        self.uploads = Uploads(spool)
        self.patience = patience
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            self._running += 1
            try:
                with self.budget.account() as account:
                    await self._serve(scope, receive, send, account)
            finally:
                self._running -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.uploads.close()
                self.workers.stop()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send, account: Account) -> None:
        exchange = Exchange(self, scope, receive, account)
        try:
            if self._running > self.requests:
                raise S3Error("SlowDown", "too many requests are under way; try again")  # noqa: TRY301 - answered as all others
            response = await exchange.answer()
        except Exception as error:  # noqa: BLE001 - whatever it was: the client hears S3's words, the log has the rest
            response = _refusal(translated(error), scope)
            await exchange.drain()
        await self._send(scope, response, send)

    async def _send(self, scope: Scope, response: Response, send: Send) -> None:
        """Send an answer piece by piece, as long as the client takes it."""
        size = len(response.body) if response.size is None or scope["method"] != "HEAD" else response.size
        headers = {
            "Content-Length": str(size),
            "Server": "zarrv3",
            "x-amz-request-id": secrets.token_hex(8),
            **response.headers,
        }
        if response.status in {204, 304}:
            del headers["Content-Length"]
        raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        pace = Pace(self.patience)
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        view = memoryview(b"" if scope["method"] == "HEAD" else response.body)
        # otherwise the server closes the connection, and the client sees that the value is cut
        with suppress(TimeoutError):
            for at in range(0, len(view), PIECE):
                piece = bytes(view[at : at + PIECE])
                await pace.wait(send({"type": "http.response.body", "body": piece, "more_body": True}))
                pace.passed(len(piece))
            await pace.wait(send({"type": "http.response.body", "body": b""}))


s3_app = S3App
"""What makes the application, as `app` makes the one for plain HTTP."""


def _refusal(error: S3Error, scope: Scope) -> Response:
    content: Tree = {"Code": error.code, "Message": error.message, "Resource": scope["path"]}
    body = document("Error", content, namespace=False)
    headers = {"Content-Type": "application/xml", **error.headers}
    if error.code == "SlowDown":
        headers["Retry-After"] = "1"
    return Response(error.status, body, headers)
