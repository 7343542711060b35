"""The application: who may ask for what, how much at once, and which part of it answers."""

import asyncio
import base64
import hmac
import logging
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from errno import ENAMETOOLONG
from typing import Any
from urllib.parse import quote

import zarrv3
from zarrv3 import BaseStore
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    LimitError,
    MetadataError,
    ReadOnlyError,
    StoreError,
    StoreUnavailableError,
    UnsupportedError,
    ZarrError,
    escaped,
)
from zarrv3.hierarchy import nodes
from zarrv3.opening.stores import StoreLike, recognised
from zarrv3.store.keys import check_folder, check_key
from zarrv3_serve import replies
from zarrv3_serve.listing import JSON, LINKS, is_folder, listing
from zarrv3_serve.page import answers as page
from zarrv3_serve.page.answers import FOLDER
from zarrv3_serve.replies import ASGI, Headers, Receive, Reply, Scope, Send, headers, send_reply, text
from zarrv3_serve.requests import NotSatisfiable, headers_of, path_of
from zarrv3_serve.values import Values
from zarrv3_serve.workers import Workers

log = logging.getLogger("zarrv3.serve")

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""The names that a server on this machine is asked by; another one in `Host` is somebody else's page (DNS rebinding)."""

METHODS = "GET, HEAD, OPTIONS"


class TooLongError(LimitError):
    """The body of a request is longer than this server takes."""


def app(  # noqa: D417 - `store` is what `open_store` takes
    store: StoreLike,
    *,
    token: str | None = None,
    public: bool = False,
    write: bool = False,
    origins: Collection[str] = (),
    hosts: Collection[str] | None = LOOPBACK,
    workers: int = 16,
    requests: int = 128,
    longest: int = 1 << 30,
    s3: bool = False,
) -> "Application":
    """An ASGI application that serves a store, alone or mounted in another application.

    Args:
        token: what a request has to bring, as a bearer token or as the password of basic authentication.
        public: reading needs no token.
        write: PUT and DELETE are allowed; needs a token.
        origins: the sites whose scripts may read the answers (CORS), as `"https://example.org"`; `"*"` stands for all.
        hosts: the names that the server may be asked by, without a port; `None` for any.
        workers: how many threads call the store.
        requests: how many requests are worked on at once; others wait.
        longest: the most bytes that PUT takes.
        s3: speak the protocol of S3 instead of plain HTTP: the bucket `zarr`, the access key `zarrv3`, the token as its secret.
    """
    opened = store if isinstance(store, BaseStore) else zarrv3.open_store(store)
    if write and not token:
        raise ConfigurationError("a server that may be written to needs a token")
    return Application(
        opened,
        token=token,
        public=public,
        write=write,
        origins=frozenset(origins),
        hosts=None if hosts is None else frozenset(hosts),
        workers=Workers(workers),
        requests=requests,
        longest=longest,
        s3=s3,
    )


class Application:
    """What `app` makes: the gate before a store's values, its page, or its S3 protocol."""

    def __init__(
        self,
        store: BaseStore,
        *,
        token: str | None,
        public: bool,
        write: bool,
        origins: frozenset[str],
        hosts: frozenset[str] | None,
        workers: Workers,
        requests: int,
        longest: int,
        s3: bool,
    ) -> None:
        self.store = store
        self.workers = workers
        self._token = token
        self._public = public
        self._write = write
        self._origins = origins
        self._hosts = hosts
        self._longest = longest
        self._room = asyncio.Semaphore(requests)
        self._values: Values | None = None
        self._s3 = self._s3_app() if s3 else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see ASGI."""
        if scope["type"] == "lifespan":
            await (self._live(receive, send) if self._s3 is None else self._s3(scope, receive, send))
        elif scope["type"] == "http":
            await self._logged(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.workers.stop()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    # ------------------------------------------------------------ one request

    async def _logged(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status, sent = time.perf_counter(), 500, 0

        async def counted(message: Any) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            async with self._room:
                await self._answer(scope, receive, counted)
        finally:
            if log.isEnabledFor(logging.INFO):
                seconds = time.perf_counter() - begun
                client = (scope.get("client") or ("-",))[0]
                path = escaped(scope["path"])  # without the query, and what would move a terminal's cursor
                log.info(
                    '%s "%s %s" %d %d %.1f ms', client, scope["method"], path, status, sent, seconds * 1e3
                )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = headers_of(scope)
        allowed = self._cross_origin(asked)
        refused = self._refused(scope, asked)
        if refused is None and self._s3 is not None:
            await self._s3(scope, receive, send)
            return
        method = scope["method"]
        started = False

        async def noticed(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            reply = refused or await self._reply(scope, receive, asked)
            reply = reply._replace(
                headers=[*reply.headers, *allowed, (b"x-content-type-options", b"nosniff")]
            )
            await send_reply(noticed, reply, is_head=method == "HEAD")
        except Exception as error:
            if started:  # the connection ends before the body does, so that nobody takes it for whole
                raise
            reply = told(error)
            reply = reply._replace(headers=[*reply.headers, *allowed])
            await send_reply(send, reply, is_head=method == "HEAD")

    async def _reply(self, scope: Scope, receive: Receive, asked: Mapping[bytes, bytes]) -> Reply:
        method: str = scope["method"]
        path = path_of(scope)
        values = self._values
        if values is None:
            values = self._values = await self.workers.run(self._made)
        if method in {"GET", "HEAD"}:
            if path.startswith(FOLDER):
                query = scope.get("query_string", b"")
                return await self.workers.run(page.answer, values.store, path.removeprefix(FOLDER), query)
            return await self._found(scope, values, path, asked)
        if method in {"PUT", "DELETE"} and self._write:
            value = await self._body(receive) if method == "PUT" else None
            return await values.put(check_key(path), asked, value)
        return text(405, allow=f"{METHODS}, PUT, DELETE" if self._write else METHODS)

    async def _found(self, scope: Scope, values: Values, path: str, asked: Mapping[bytes, bytes]) -> Reply:
        """The answer to GET and HEAD of a key or folder: what is there, or for a browser the page that shows it."""
        accepted = asked.get(b"accept", b"")
        if path and not path.endswith("/"):
            found = await values.get(check_key(path), asked, is_head=scope["method"] == "HEAD")
            if found.status != 404:
                return found
            if b"text/html" not in accepted:
                is_there = await self.workers.run(is_folder, values.store, path)
                name = quote(path.rpartition("/")[2])
                return text(308, location=f"./{name}/") if is_there else found
        elif b"text/html" not in accepted:
            form = JSON if b"json" in accepted else LINKS
            return await listing(values.store, self.workers, check_folder(path), form)
        return page.page(scope.get("root_path", ""))

    def _made(self) -> Values:
        """What answers for keys: of data that have no final documents, as the layer shows them that knows them."""
        store = self.store
        (root,) = nodes.look(store, [""])
        if root is None or isinstance(root, MetadataError):
            store, _ = recognised(store, "")
        return Values(store, self.workers)

    def _s3_app(self) -> ASGI:
        """What speaks S3; whoever comes there has passed the gate."""
        from zarrv3_serve.s3 import ACCESS_KEY, s3_app

        return s3_app(
            self.store,
            keys=None if self._token is None else {ACCESS_KEY: self._token},
            public=self._public,
            writable=self._write,
            largest=self._longest,
            workers=self.workers,
        )

    async def _body(self, receive: Receive) -> bytes:
        """The body of a request, if it is not too long."""
        parts, length, more = list[bytes](), 0, True
        while more:
            async with asyncio.timeout(replies.PATIENCE):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise InvalidKeyError("the client has gone")
            parts.append(message.get("body", b""))
            length += len(parts[-1])
            more = message.get("more_body", False)
            if length > self._longest:
                raise TooLongError(f"values of more than {self._longest} bytes are not taken")
        return b"".join(parts)

    # ------------------------------------------------------------ the gate

    def _refused(self, scope: Scope, asked: Mapping[bytes, bytes]) -> Reply | None:
        """The answer to a request that goes no further, also since it only asks what would be allowed."""
        method = scope["method"]
        if self._hosts is not None:
            name = re.sub(r":\d*$", "", asked.get(b"host", b"").decode("latin-1")).lower()
            if name not in self._hosts:
                return text(400, "the server is not called that; name the hosts that it may be asked by")
        if method == "OPTIONS":
            return Reply(204, self._preflight(asked))
        if self._token is None or self._s3 is not None or (self._public and method in {"GET", "HEAD"}):
            return None  # of S3, requests are signed
        if not _brings(asked.get(b"authorization", b""), self._token):
            return text(401, "a token is needed", www_authenticate='Basic realm="zarrv3", charset="UTF-8"')
        return None

    def _cross_origin(self, asked: Mapping[bytes, bytes]) -> Headers:
        """The headers that let another site's scripts read the answer."""
        if not self._origins:
            return []
        origin = asked.get(b"origin", b"").decode("latin-1")
        if "*" not in self._origins and origin not in self._origins:
            return headers(vary="Origin")
        return headers(
            access_control_allow_origin="*" if "*" in self._origins else origin,
            access_control_expose_headers="ETag, Content-Range, Content-Length, Accept-Ranges",
            vary="Origin",
        )

    def _preflight(self, asked: Mapping[bytes, bytes]) -> Headers:
        methods = f"{METHODS}, PUT, DELETE" if self._write else METHODS
        own = headers(allow=methods)
        if b"access-control-request-method" in asked and len(self._cross_origin(asked)) > 1:
            own += headers(
                access_control_allow_methods=methods,
                access_control_allow_headers="Authorization, Content-Type, If-Match, If-None-Match, If-Range, Range",
                access_control_max_age=600,
            )
            if b"access-control-request-private-network" in asked:
                own += headers(access_control_allow_private_network="true")
        return own


def _brings(header: bytes, token: str) -> bool:
    """Whether a request has the token; how long that takes tells nothing about it."""
    scheme, _, given = header.partition(b" ")
    given = given.strip()
    if scheme.lower() == b"basic":
        with suppress(ValueError):
            given = base64.b64decode(given, validate=True).partition(b":")[2]
    elif scheme.lower() != b"bearer":
        return False
    return hmac.compare_digest(given, token.encode())


def told(error: Exception) -> Reply:
    """The answer that an error amounts to; what is not the client's doing is logged, and told without the store's name."""
    if isinstance(error, NotSatisfiable):
        return text(416, content_range=f"bytes */{error.size}")
    if isinstance(error, TooLongError):
        return text(413, str(error))
    if isinstance(error, InvalidKeyError | LimitError):
        return text(400, str(error))
    if isinstance(error, ZarrError | TimeoutError):
        log.warning("%s", str(error) or type(error).__name__)
    else:
        log.error("a request has failed", exc_info=error)
    if isinstance(error, StoreError) and isinstance(error.__cause__, PermissionError):
        return text(403)
    if isinstance(error, StoreError) and getattr(error.__cause__, "errno", None) == ENAMETOOLONG:
        return text(400, "a name is too long for this store")
    known = (answer for kind, answer in _ANSWERS.items() if isinstance(error, kind))
    return next(known, text(500, f"the server has failed: {type(error).__name__}"))


_ANSWERS: Mapping[type[Exception], Reply] = {
    UnsupportedError: text(501, "the store cannot do that"),
    ReadOnlyError: text(405, "the store is read-only", allow=METHODS),
    StoreUnavailableError: text(503, "the store cannot be reached just now", retry_after=1),
    TimeoutError: text(408, "the value came too slowly", connection="close"),
}
