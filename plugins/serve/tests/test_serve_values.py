"""Keys and folders over plain HTTP, asked of a real server."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import zarrv3
from zarrv3_serve import served


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Any
    body: bytes


Ask = Callable[..., Answer]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Ask a server over one connection."""
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


def test_values(ask: Ask) -> None:
    """A key is answered with its value, its type and its length, a missing one with 404; HEAD says the same without it."""
    store = zarrv3.open_store()
    store["a/zarr.json"], store["a/c/0"] = b"{}", b"0123456789"
    with served(store) as url:
        found = ask(url, "/a/c/0")
        assert (found.status, found.body) == (200, b"0123456789")
        assert found.headers["content-type"] == "application/octet-stream"
        assert ask(url, "/a/zarr.json").headers["content-type"] == "application/json"
        assert ask(url, "/a/c/1").status == 404
        head = ask(url, "/a/c/0", "HEAD")
        assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
        found = ask(url, "/a/c/0", Range="bytes=2-4")
        assert (found.status, found.body) == (206, b"234")
        assert found.headers["content-range"] == "bytes 2-4/10"
        assert json.loads(ask(url, "/a/").body)["entries"] == [
            {"name": "zarr.json", "bytes": 2},
            {"name": "c/"},
        ]
        assert ask(url, "/a/c/0", "PUT", b"x").status == 405
