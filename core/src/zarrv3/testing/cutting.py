"""A web server whose answers get lost: it has done what it was asked, and nobody knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Cutting(ThreadingHTTPServer):
    """A port before a server, which cuts the connection in place of the answers to requests by some methods."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.cut: set[str] = set()
        self.lost: list[str] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, and used again
    server: Cutting

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with closing(HTTPConnection(self.server.target)) as far:
            far.request(self.command, self.path, body, dict(self.headers))
            answer = far.getresponse()
            value = answer.read()
        if self.command in self.server.cut:
            self.server.lost.append(self.command)
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, text in answer.headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, text)
        size = answer.headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", size or str(len(value)))
        self.end_headers()
        self.wfile.write(value)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - what the base class looks for


@contextmanager
def cutting(target: str) -> Iterator[Cutting]:
    """Start one before a server, given as `host:port`; it cuts nothing until it is told what."""
    with Cutting(target) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
