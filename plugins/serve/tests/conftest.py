"""Asking a server over one connection, and which tests of the conformance kit are slow over a server."""

import http.client
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Any
    body: bytes


@pytest.fixture
def ask() -> Iterator[Callable[..., Answer]]:
    """Ask a server; the path is sent as it is given."""
    connections: dict[str, http.client.HTTPConnection] = {}

    def ask(url: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        host = urlsplit(url).netloc
        connection = connections.setdefault(host, http.client.HTTPConnection(host, timeout=60))
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    yield ask
    for connection in connections.values():
        connection.close()


_LONG = (
    "killed_writers",
    "processes_that_write_over",
    "processes_at_once",
    "counting_processes",
    "racing_processes",
    "inherited_store",
    "mapping_views",
    "interrupted_calls",
    "many_keys",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if "TestObstore" in item.nodeid and item.name.removeprefix("test_") in _LONG:
            item.add_marker(pytest.mark.slow)
