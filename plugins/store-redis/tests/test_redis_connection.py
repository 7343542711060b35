"""Connections: URLs, options, secrets, clients."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    StoreAccessError,
    ZarrError,
)
from zarrv3.testing.processes import together
from zarrv3_store_redis import RedisStore
from zarrv3_store_redis.driver import RedisDriver

SECRET = "p@ss/w:ord?#|$"
QUOTED = "p%40ss%2Fw%3Aord%3F%23%7C%24"


# ---------------------------------------------------------------- URLs and options


def test_urls_become_connections() -> None:
    """Each form of URL gives the connection that redis-py makes of it, and our options beside."""
    cases: dict[str, tuple[type, dict[str, Any]]] = {
        "redis://h": (
            redis.Connection,
            {"host": "h", "socket_connect_timeout": 10.0, "socket_timeout": 30.0},
        ),
        "redis://u:p@h:6380/3": (redis.Connection, {"username": "u", "password": "p", "port": 6380, "db": 3}),
        f"redis://:{QUOTED}@h/0": (redis.Connection, {"password": SECRET}),
        "valkey://h/1?prefix=x": (redis.Connection, {"host": "h", "db": 1}),
        "rediss://h/1?ssl_ca_certs=/ca.pem": (redis.SSLConnection, {"host": "h"}),
        "unix:///a/b.sock?db=2&prefix=x": (redis.UnixDomainSocketConnection, {"path": "/a/b.sock", "db": 2}),
        "unix://u:p@/a/b.sock": (redis.UnixDomainSocketConnection, {"username": "u", "password": "p"}),
        "REDIS://h?socket_timeout=2.5&protocol=3": (redis.Connection, {"socket_timeout": 2.5, "protocol": 3}),
    }
    for url, (kind, expected) in cases.items():
        store = zarrv3.open_store(url)
        assert isinstance(store, RedisStore)
        driver = store.driver
        assert isinstance(driver, RedisDriver)
        pool = driver.client.connection_pool
        assert pool.connection_class is kind
        assert {name: pool.connection_kwargs.get(name) for name in expected} == expected
        assert store.option("prefix") == ("x" if "prefix=x" in url else "zarr")
        assert zarrv3.open_store(store.spec()) == store
        assert pickle.loads(pickle.dumps(store)) == store


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h?color=red", "color"),
        ("redis://h?db=one", "db"),
        ("redis://h/one", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis:h", "not the URL of a server"),
        ("redis://h:port", "comes a port"),
        ("redis://h:65536/0", "comes a port"),
        ("redis://h?decode_responses=true", "decode_responses"),
    ],
)
def test_urls_that_make_no_sense(url: str, says: str) -> None:
    """What is wrong with a URL is said when the store is made."""
    with pytest.raises(ConfigurationError, match=says):
        zarrv3.open_store(url)


def test_options_that_make_no_sense() -> None:
    """What is wrong with options is said before anything is sent."""
    wrong: dict[str, dict[str, Any]] = {
        "no option 'colour'": {"colour": 1},
        "is set by the store": {"decode_responses": True},
        "not both": {"client": redis.Redis(), "url": "redis://h"},
        "takes a Redis or None": {"client": "redis://h"},
        "takes text": {"prefix": b"x"},
        "an argument of its own": {"url": "redis://h?prefix=x"},
        "not the URL of a server": {"url": "http://h"},
    }
    for says, options in wrong.items():
        with pytest.raises(ConfigurationError, match=says):
            RedisStore(**options)
    with pytest.raises(ConfigurationError, match="no connection can be made"):
        RedisStore(url="unix:///s", ssl_ca_certs="/ca.pem").list()


def test_arguments_of_zarr_python_2(server: Any, prefix: str) -> None:
    """`RedisStore(prefix, dimension_separator, **kwargs)` passes the rest to `redis.Redis`."""
    with RedisStore(prefix, "/", host="127.0.0.1", port=server.port) as store:
        store["k"] = b"v"
        assert store.dimension_separator == "/"
        assert server.client().get(f"{prefix}:k") == b"v"


def test_secrets_are_never_shown(server: Any, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """No repr and no error shows a password, wherever it was given."""
    monkeypatch.setenv("ZV_REDIS", SECRET)
    place = f"127.0.0.1:{server.port}/0"
    stores = [
        zarrv3.open_store(f"redis://user:{QUOTED}@{place}"),
        zarrv3.open_store(f"redis://user:${{ZV_REDIS}}@{place}"),
        zarrv3.open_store(f"redis://user@{place}?password=${{ZV_REDIS}}"),
        RedisStore(port=server.port, username="user", password=SECRET),
        RedisStore(
            client=redis.Redis(
                port=server.port, username="user", password=SECRET, retry=Retry(NoBackoff(), 0)
            )
        ),
    ]
    for store in stores:
        with pytest.raises(StoreAccessError) as caught:
            store.list()
        text = "".join(map(repr, (store, caught.value, caught.value.__cause__))) + str(caught.value)
        assert SECRET not in text
        assert QUOTED not in text
        assert "invalid username-password pair" in str(caught.value)


def test_readme_example(server: Any) -> None:
    """The example that the README opens with runs."""
    text = (Path(__file__).parent.parent / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    assert "localhost:6379" in code
    names: dict[str, Any] = {}
    exec(code.replace("localhost:6379", f"localhost:{server.port}"), names)
    assert (names["array"][:] == 42).all()
    RedisStore("example", port=server.port).clear()


# ---------------------------------------------------------------- clients


def test_client_is_used_and_not_closed(server: Any, prefix: str) -> None:
    """A client of the user's is used as it is, works after `close`, and has no pickle and no spec."""
    with server.client() as own:
        store = RedisStore(prefix, client=own)
        store["k"] = b"v"
        assert store.driver.client is own  # type: ignore[attr-defined]
        store.close()
        assert own.get(f"{prefix}:k") == b"v"
        assert len(own.connection_pool._available_connections) == 1
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(store)
        with pytest.raises(ConfigurationError, match="live object"):
            store.spec()
        assert server.socket in repr(store)


def test_client_that_decodes(server: Any, prefix: str) -> None:
    """A client that decodes responses, in an odd encoding even, is as good as any (defect 23)."""
    for encoding in ("utf-8", "latin-1"):
        with (
            server.client(decode_responses=True, encoding=encoding) as own,
            RedisStore(prefix, client=own) as store,
        ):
            store.write_many({"a/é": b"\xff\x00", "b": b"v"})
            assert store["a/é"] == b"\xff\x00"
            assert sorted(store) == ["a/é", "b"]
            ((_, version),) = store.get_versioned(["b"])
            assert not store.swap_many({"b": (version, b"\xfe")})
            assert sorted(store.list_dir("")) == ["a/", "b"]
            store.clear()
            assert own.ping()


def test_close_closes_connections(server: Any, prefix: str) -> None:
    """`close` leaves no connection of ours open at the server."""
    with server.client() as own:
        store = RedisStore(prefix, url=server.url, client_name="to-be-closed")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(store.get, map(str, range(50))))
        assert "to-be-closed" in {one["name"] for one in own.client_list()}
        store.close()
        end = time.monotonic() + 5
        while "to-be-closed" in {one["name"] for one in own.client_list()}:
            assert time.monotonic() < end


def test_many_threads(server: Any, prefix: str) -> None:
    """More threads than redis-py's default pool has connections work at once."""
    with RedisStore(prefix, url=server.url) as store:
        gate = threading.Barrier(130)

        def work(number: int) -> bytes:
            gate.wait(20)
            store[f"{number}"] = b"%d" % number
            return store[f"{number}"]

        with ThreadPoolExecutor(130) as pool:
            assert [*pool.map(work, range(130))] == [b"%d" % i for i in range(130)]
        assert len(store) == 130


def read_inherited(store: RedisStore, number: int) -> list[bytes]:
    """Read and write through a store that was made before the fork."""
    for turn in range(30):
        store[f"{number}"] = b"%d" % turn
        assert store[f"{number}"] == b"%d" % turn
    return [store["k"]]


def test_clients_survive_a_fork(server: Any, prefix: str) -> None:
    """A client that the parent made and used works in its children at the same time."""
    with server.client() as own, RedisStore(prefix, client=own) as store:
        store["k"] = b"v"
        assert together(read_inherited, store, 3) == [[b"v"]] * 3
        assert store["2"] == b"29"


def test_errors_are_ours(server: Any) -> None:
    """Every exception that redis-py documents becomes one of ours, unless it is a mistake of the program."""
    for name, kind in vars(redis.exceptions).items():
        if isinstance(kind, type) and issubclass(kind, redis.RedisError):
            fits = [ours for theirs, ours in RedisStore.errors.items() if issubclass(kind, theirs)]
            assert fits, name
            assert issubclass(fits[0], ZarrError)
