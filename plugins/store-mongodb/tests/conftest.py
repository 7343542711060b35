"""Servers for the tests: real ones, from the wheel `secantusdb`, and the user's own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

OWN = "ZARRV3_TEST_MONGODB_URL"
"""An environment variable: the URL of a server to test instead, in which databases may be made."""

START = "import sys; from secantus.cli import main; sys.exit(main())"


class Server:
    """A server process of our own, on a port."""

    def __init__(self, folder: str, *arguments: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder, self.arguments = folder, arguments
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, again on the same port and data, and wait until it answers."""
        place = ["--port", str(self.port), "--storage-path", str(Path(self.folder, "data"))]
        with Path(self.folder, "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, *place, *self.arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        end = time.monotonic() + 60
        while True:
            try:
                with self.client(serverSelectionTimeoutMS=300) as client:
                    client.admin.command("hello")
                return
            except PyMongoError:
                if self.process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the server does not start: {Path(self.folder, 'log').read_text()}")

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A client of pymongo, with nothing of ours."""
        return MongoClient(self.url, **options)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def new_server() -> Iterator[Callable[..., Server]]:
    """Start a server with arguments of its own; all are stopped in the end."""
    started: list[tuple[Server, str]] = []

    def start(*arguments: str) -> Server:
        folder = tempfile.mkdtemp(prefix="zarrv3-mongodb-")
        started.append((Server(folder, *arguments), folder))
        return started[-1][0]

    yield start
    for server, folder in started:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(new_server: Callable[..., Server]) -> Server:
    """The server that most tests share: a replica set of one."""
    return new_server()


@pytest.fixture(scope="session")
def standalone(new_server: Callable[..., Server]) -> Server:
    """A server that is no replica set, and so has no transactions."""
    return new_server("--standalone")


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    """The URL of the user's server, or of ours."""
    own = os.environ.get(OWN)
    return own or str(request.getfixturevalue("server").url)


def fresh_database(url: str) -> Iterator[str]:
    """A database that nobody else has; it is dropped in the end."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with MongoClient[Any](url) as client:
        client.drop_database(name)


@pytest.fixture
def database(url: str) -> Iterator[str]:
    """A database of the server that nobody else has."""
    yield from fresh_database(url)


@pytest.fixture
def standalone_database(standalone: Server) -> Iterator[str]:
    """A database of the standalone server that nobody else has."""
    yield from fresh_database(standalone.url)
