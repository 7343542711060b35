"""Connections: URLs, clients, users, time-outs, forks, servers that go and come back."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pymongo
import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedError,
    ZarrError,
)
from zarrv3.testing.processes import together
from zarrv3.testing.restarts import restarted
from zarrv3_store_mongodb import MongoDBStore
from zarrv3_store_mongodb.client import make_client

SECRET = "p@ss/w:ord?#|$"
QUOTED = "p%40ss%2Fw%3Aord%3F%23%7C%24"

# ---------------------------------------------------------------- URLs and options


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://h", {"database": "mongodb_zarr", "collection": "zarr_collection", "url": "mongodb://h"}),
        ("mongodb://u:p@h:1,i:2/d?collection=x&replicaSet=r", {"database": "d", "collection": "x", "url": "mongodb://u:p@h:1,i:2/d?replicaSet=r"}),
        ("mongodb://h?collection=x.y&tls=true", {"collection": "x.y", "url": "mongodb://h/?tls=true"}),
        ("mongodb://h/?database=e&dimension_separator=.", {"database": "e", "url": "mongodb://h/"}),
        ("mongodb+srv://u:${PW}@example.org/${DB}", {"database": "${DB}", "url": "mongodb+srv://u:${PW}@example.org/${DB}"}),
    ],
)  # fmt: skip
def test_urls(url: str, expected: dict[str, str]) -> None:
    """The path is the database, our options are ours, the rest is pymongo's; nothing is connected."""
    store = zarrv3.open_store(url)
    assert isinstance(store, MongoDBStore)
    assert {name: store.given_options[name] for name in expected} == expected
    assert zarrv3.open_store(store.spec()) == store
    assert pickle.loads(pickle.dumps(store)) == store


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://h?color=red", "color"),
        ("mongodb://h/?serverSelectionTimeoutMS=soon", "serverSelectionTimeoutMS"),
        ("mongodb://h/a.b", "name of a database"),
        ("mongodb://h/d?collection=$x", "name of a collection"),
        ("mongodb://h/d?w=0", "acknowledged"),
        ("mongodb:h", "no server"),
        ("mongodb:///d", "no server"),
        (f"mongodb://u:{SECRET[:5]}:{SECRET[5:9]}@h", "written %2F"),
    ],
)
def test_urls_that_make_no_sense(url: str, says: str) -> None:
    """What is wrong with a URL is said when the store is made."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        zarrv3.open_store(url)
    assert SECRET[:5] not in str(caught.value)


def test_options_that_make_no_sense() -> None:
    """What is wrong with options is said when the store is made."""
    wrong: dict[str, dict[str, Any]] = {
        "no option 'colour'; its options are: .*collection": {"colour": 1},
        "set by the store": {"document_class": dict},
        "not both": {"client": pymongo.MongoClient(connect=False), "url": "mongodb://h"},
        "takes a MongoClient or None": {"client": "mongodb://h"},
        "url= or host=": {"host": "h", "url": "mongodb://h"},
        "argument of its own": {"url": "mongodb://h/?collection=x"},
        "not the URL of a MongoDB server": {"url": "http://h"},
        "name of a database": {"database": b"x"},
        "acknowledged": {"w": 0},
        "connectTimeoutMS": {"connectTimeoutMS": "x"},
    }
    for says, options in wrong.items():
        with pytest.raises(ConfigurationError, match=says):
            MongoDBStore(**options)


def test_arguments_of_zarr_python_2(server: Any) -> None:
    """`MongoDBStore(database, collection, dimension_separator, **kwargs)` passes the rest to `MongoClient`."""
    with (
        MongoDBStore("zarrv3-old", "own", "/", host="127.0.0.1", port=server.port) as store,
        server.client() as client,
    ):
        store["k"] = b"v"
        assert store.dimension_separator == "/"
        assert client["zarrv3-old"].own.find_one()["value"] == b"v"
        client.drop_database("zarrv3-old")
    with MongoDBStore("zarrv3-old", host=server.url) as store:
        assert store.list() == []


def test_defaults_give_way() -> None:
    """Ten seconds to find a server, unless the URL or the options say otherwise, however they are spelt."""
    cases: list[tuple[str | None, dict[str, Any], float]] = [
        ("mongodb://h", {}, 10),
        ("mongodb://h/?serverselectiontimeoutms=3000", {}, 3),
        (None, {"host": "h", "serverSelectionTimeoutMS": 2000}, 2),
        (None, {"host": "mongodb://h/?serverSelectionTimeoutMS=4000"}, 4),
    ]
    for url, options, seconds in cases:
        with make_client(url, options) as client:
            assert client.options.server_selection_timeout == seconds
            assert client.options.pool_options.connect_timeout == 10


# ---------------------------------------------------------------- secrets and users


@pytest.fixture(scope="module")
def locked(new_server: Callable[..., Any]) -> Any:
    """A server with two users: one may do everything, one may read only."""
    server = new_server()
    with server.client() as client:
        client.admin.command("createUser", "user", pwd=SECRET, roles=["root"])
        client.admin.command("createUser", "reader", pwd="look", roles=["readAnyDatabase"])
        client.admin.command("fsync")
    server.process.terminate()
    server.process.wait()
    server.options["require_auth"] = True
    server.start()
    return server


def test_password_from_the_environment(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password may stand in the URL, in an option, or in a variable of the environment."""
    monkeypatch.setenv("ZV_MONGO", SECRET)
    place = f"127.0.0.1:{locked.port}"
    for store in (
        zarrv3.open_store(f"mongodb://user:{QUOTED}@{place}/d?authSource=admin"),
        zarrv3.open_store(f"mongodb://user:${{ZV_MONGO}}@{place}/d?authSource=admin"),
        MongoDBStore("d", port=locked.port, username="user", password=SECRET),
    ):
        with store:
            store["k"] = b"v"
            assert store["k"] == b"v"
            assert SECRET not in repr(store)
            assert QUOTED not in repr(store)


def test_wrong_password_is_never_shown(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is an error at once that does not show it, wherever it was given."""
    wrong, quoted = SECRET + "x", QUOTED + "x"
    monkeypatch.setenv("ZV_MONGO", wrong)
    place = f"127.0.0.1:{locked.port}"
    start = time.monotonic()
    for store in (
        zarrv3.open_store(f"mongodb://user:{quoted}@{place}/d?authSource=admin"),
        zarrv3.open_store(f"mongodb://user:${{ZV_MONGO}}@{place}/d?authSource=admin"),
        MongoDBStore("d", port=locked.port, username="user", password=wrong),
    ):
        with pytest.raises(StoreAccessError, match="uthentication") as caught:
            store.list()
        text = repr((store, caught.value, caught.value.__cause__, caught.value.__context__))
        assert wrong not in text
        assert quoted not in text
        assert not caught.value.retryable
    assert time.monotonic() - start < 5


def test_reader_may_not_write(locked: Any) -> None:
    """A user who may only read reads, and is refused when writing."""
    with MongoDBStore("r", port=locked.port, username="user", password=SECRET) as store:
        store.write_many({"a/1": b"1", "k": b"v"})
        with MongoDBStore("r", port=locked.port, username="reader", password="look") as reader:
            assert reader["k"] == b"v"
            assert sorted(reader.list_dir("")) == ["a/", "k"]
            assert dict(reader.list_sizes("")) == {"a/1": 1, "k": 1}
            for call in (lambda: reader.update(k=b"x"), reader.clear):
                with pytest.raises(StoreAccessError, match="not authorized"):
                    call()
        assert store["k"] == b"v"


# ---------------------------------------------------------------- servers that are not there


def test_unreachable_server() -> None:
    """Nobody at the port is a retryable error of ours that names the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with MongoDBStore(port=port, serverSelectionTimeoutMS=300) as store:
        with pytest.raises(StoreTimeoutError, match=r"Timeout: 0.3s.*serverSelectionTimeoutMS") as caught:
            store.list()
        assert "Topology" not in str(caught.value)


@pytest.mark.slow
def test_unreachable_server_by_default() -> None:
    """With the defaults that takes ten seconds."""
    start = time.monotonic()
    with pytest.raises(StoreTimeoutError, match=r"10(\.0)?s"):
        MongoDBStore(port=1).list()
    assert 9 < time.monotonic() - start < 12


@pytest.fixture(scope="module")
def spare(new_server: Callable[..., Any]) -> Any:
    """A server to be frozen and killed, which has on the disk what it acknowledged."""
    return new_server(sync_on_commit=True)


def test_silent_server(spare: Any) -> None:
    """A server that does not answer is an error in time, and works when it answers again."""
    with MongoDBStore("d", url=spare.url) as store:
        store["k"] = b"v"
    waits = {"socketTimeoutMS": 500, "serverSelectionTimeoutMS": 500, "connectTimeoutMS": 500}
    with MongoDBStore("d", url=spare.url, **waits) as store:
        assert store["k"] == b"v"
        spare.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, spare.process.pid, os.WSTOPPED)
        try:
            start = time.monotonic()
            for call in (lambda: store["k"], lambda: store.update(k=b"w")):
                with pytest.raises(StoreUnavailableError):
                    call()
            assert time.monotonic() - start < 60  # the default for an answer is 120
        finally:
            spare.process.send_signal(signal.SIGCONT)
    with MongoDBStore("d", url=spare.url) as store:
        assert store["k"] in {b"v", b"w"}


def test_not_a_mongodb_server() -> None:
    """A port where something else speaks is an error of ours."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            while True:
                try:
                    one, _ = other.accept()
                    one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    one.close()
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        with (
            MongoDBStore(port=other.getsockname()[1], serverSelectionTimeoutMS=500) as store,
            pytest.raises(StoreAccessError),
        ):
            store.list()


def test_restarted_server(spare: Any) -> None:
    """A server that is killed and comes back in time is waited for: nothing acknowledged is lost."""
    server = spare
    patience = 60_000  # of a busy machine: a start takes seconds, and the default is ten
    with MongoDBStore("restarted", url=server.url, journal=True, serverSelectionTimeoutMS=patience) as store:
        store.write_many({f"k/{i}": b"0" for i in range(10)})
        server.kill()
        back = threading.Thread(target=server.start)
        back.start()
        assert store["k/3"] == b"0"
        store.write_many({f"k/{i}": b"1" for i in range(10)})
        back.join()
        assert not store.swap_many({"k/3": (store.get_versioned(["k/3"])[0][1], b"swapped")})
        assert len(store) == 10


@pytest.mark.parametrize("rounds", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_server(spare: Any, rounds: int) -> None:
    """A server that is killed again and again loses nothing acknowledged, and no swap is made twice."""

    def restart() -> None:
        spare.kill()
        spare.start()

    opener = partial(MongoDBStore, f"killed{rounds}", url=spare.url, journal=True)
    assert restarted(opener, restart, rounds).acknowledged >= 3 * rounds


# ---------------------------------------------------------------- clients, forks


def test_client_is_used_and_not_closed(url: str, database: str) -> None:
    """A client of the user's is used as it is, works after `close`, and has no pickle and no spec."""
    with pymongo.MongoClient[Any](url) as own:
        store = MongoDBStore(database, client=own)
        store["k"] = b"v"
        assert store.driver.client is own  # type: ignore[attr-defined]
        assert store == MongoDBStore(database, client=own)
        store.close()
        assert own[database].zarr_collection.count_documents({}) == 1
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(store)
        with pytest.raises(ConfigurationError, match="live object"):
            store.spec()
        assert "client=" in repr(store)


def test_a_dropped_store_closes_its_client(url: str, database: str) -> None:
    """A store that nobody closed, as those that fsspec opens, closes its client when it is collected, from another thread."""
    store = MongoDBStore(database, url=url)
    store["k"] = b"v"
    client = store.driver.client  # type: ignore[attr-defined]
    cycle = [store]
    cycle.append(cycle)  # type: ignore[arg-type]
    del store, cycle
    gc.collect()

    def ask_for_a_minute() -> None:
        for _ in range(6000):
            client.admin.command("ping")
            time.sleep(0.01)

    with pytest.raises(pymongo.errors.InvalidOperation):
        ask_for_a_minute()


def test_fork(url: str, database: str) -> None:
    """A store that was used before a fork works in the children and in the parent, over connections of their own."""
    with MongoDBStore(database, url=url) as store:
        store["k"] = b"parent"
        parent = store.driver
        found = together(_use, store, 3, os.getpid(), id(parent))
        assert found == [b"parent"] * 3
        assert sorted(store) == ["child/0", "child/1", "child/2", "k"]
        assert store.driver is parent


def _use(store: MongoDBStore, number: int, parent: int, driver: int) -> bytes:
    assert os.getpid() != parent
    store[f"child/{number}"] = b"%d" % number
    assert id(store.driver) != driver
    return store["k"]


def test_transactions_only_where_there_are_some(standalone: Any, server: Any) -> None:
    """A standalone server has no transactions and the store says so."""
    with MongoDBStore(url=server.url) as store:
        assert store.capabilities.transactions
    with MongoDBStore(url=standalone.url) as store:
        assert not store.capabilities.transactions
        store.write_many({"a/1": b"1", "k": b"v"})
        with pytest.raises(UnsupportedError, match="transactions"), store.transaction():
            pass
        assert not store.swap_many({"k": (store.get_versioned(["k"])[0][1], b"w")})
        assert dict(store.items()) == {"a/1": b"1", "k": b"w"}


def test_errors_are_ours() -> None:
    """Every exception that pymongo has becomes one of ours."""
    for name, kind in vars(pymongo.errors).items():
        if isinstance(kind, type) and issubclass(kind, pymongo.errors.PyMongoError):
            fits = [ours for theirs, ours in MongoDBStore.errors.items() if issubclass(kind, theirs)]
            assert fits, name
            assert issubclass(fits[0], ZarrError)
