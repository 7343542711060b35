"""Version 2 where people have it: in the databases that zarr-python 2 wrote, on S3, and behind a web server."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from pymongo import MongoClient
from redis import Redis

import zarrv3
from zarrv3 import registry

Place = Callable[[Mapping[str, bytes], Path], AbstractContextManager[str]]


@contextmanager
def in_redis(content: Mapping[str, bytes], _: Path) -> Iterator[str]:
    """As `RedisStore` of zarr-python 2 wrote it."""
    with registry.load("stores", "redis").example_server() as url:
        parts = urlsplit(url)
        (prefix,) = parse_qs(parts.query)["prefix"]
        with Redis(unix_socket_path=parts.path) as client:
            client.mset({f"{prefix}:{key}": value for key, value in content.items()})
        yield url


@contextmanager
def in_mongodb(content: Mapping[str, bytes], _: Path) -> Iterator[str]:
    """As `MongoDBStore` of zarr-python 2 wrote it."""
    with registry.load("stores", "mongodb").example_server() as url:
        with MongoClient[dict[str, Any]](url) as client:
            client["old"]["c"].insert_many([{"key": key, "value": value} for key, value in content.items()])
        yield f"{url.rpartition('/')[0]}/old?collection=c"


@contextmanager
def on_s3(content: Mapping[str, bytes], _: Path) -> Iterator[str]:
    """As objects in a bucket."""
    with registry.load("stores", "s3").example_server() as url:
        with zarrv3.open_store(url) as store:
            store.update(content)
        yield url


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def on_the_web(content: Mapping[str, bytes], folder: Path) -> Iterator[str]:
    """As files behind a web server, which lists nothing and knows no ranges."""
    with zarrv3.open_store(folder) as store:
        store.update(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("place", [in_redis, in_mongodb, on_s3, on_the_web])
def test_where_version_2_is(place: Place, mixed: Any, tmp_path: Path) -> None:
    """Arrays, attributes and groups are found, by themselves too, written to where that is possible, and copied."""
    mixed.consolidate()
    with place(mixed.content, tmp_path) as url, zarrv3.open_store(f"{url}|zarr2:") as store:
        assert zarrv3.open(store.inner, path="g/x", mode="r", auto=True)[2, 3] == 11
        group = zarrv3.open_group(store, mode="r")
        assert [name for name, _ in group.members(None)] == ["c", "g", "g/h", "g/h/y", "g/x"]
        copied = zarrv3.MemoryStore()
        assert zarrv3.copy(store, copied).recoded == 0
        for there in (group, zarrv3.open_group(copied, mode="r")):
            assert there["g/x"][:].tolist() == np.arange(12).reshape(3, 4).tolist()
            assert dict(there["g/x"].attrs) == {"units": "m"}
        if store.capabilities.write:
            zarrv3.open_array(store, path="g/x", mode="r+")[0, :2] = [-1, -2]
            assert zarrv3.open_array(store, path="g/x", mode="r")[0].tolist() == [-1, -2, 2, 3]
