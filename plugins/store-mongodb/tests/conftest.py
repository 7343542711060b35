"""Servers for the tests: real ones, from the wheel `secantusdb`, and the user's own."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from zarrv3_store_mongodb.testing import Server

OWN = "ZARRV3_TEST_MONGODB_URL"
"""An environment variable: the URL of a server to test instead, in which databases may be made."""


@pytest.fixture(scope="session")
def new_server() -> Iterator[Callable[..., Server]]:
    """Start a server with options of its own; all are stopped in the end."""
    started: list[tuple[Server, str]] = []

    def start(**options: Any) -> Server:
        folder = tempfile.mkdtemp(prefix="zarrv3-mongodb-")
        started.append((Server(folder, **options), folder))
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
    """A server that is not a replica set, and so has no transactions."""
    return new_server(replica_set_name=None)


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    """The URL of the user's server, or of ours."""
    own = os.environ.get(OWN)
    return own or str(request.getfixturevalue("server").url)


def fresh_database(url: str) -> Iterator[str]:
    """A database that nobody else has; it is dropped in the end."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    if os.environ.get(OWN) == url:  # ours is thrown away
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
