"""Servers: users, TLS, servers that are away, come back, are full, or only read."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

import zarrv3
from zarrv3.errors import (
    ReadOnlyError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3_store_redis import EvictionWarning, RedisStore

SECRET = "p@ss/w:ord?#|$"
QUOTED = "p%40ss%2Fw%3Aord%3F%23%7C%24"


def swap(store: RedisStore, key: str, old: bytes | None, new: bytes | None) -> bool:
    """Swap a value if it is `old`, by the version that it has then."""
    version = None if old is None else hashlib.sha1(old).hexdigest()
    return not store.swap_many({key: (version, new)})


# ---------------------------------------------------------------- users


@pytest.fixture(scope="module")
def users(new_server: Callable[..., Any]) -> Any:
    """A server with a password, a user for the prefix `mine`, and one who may only read it."""
    server = new_server()
    keys, reading = "resetkeys ~mine:* ~mine//index", "+@read +@scripting +@connection +@transaction"
    with server.client() as admin:
        admin.execute_command(f"ACL SETUSER writer on >{QUOTED} {keys} -@all {reading} +@write")
        admin.execute_command(f"ACL SETUSER reader on >{QUOTED} {keys} -@all {reading}")
        admin.config_set("requirepass", "admin")
    return server


def test_acl_user(users: Any) -> None:
    """A user with the rights that the README names does everything below the prefix, and nothing elsewhere."""
    with RedisStore("mine", port=users.port, username="writer", password=QUOTED) as store:
        store.write_many({"a/1": b"1", "a/2": b"2"})
        assert swap(store, "a/1", b"1", b"x")
        with store.transaction() as block:
            block["a/3"] = b"3"
        store.rename("a", "b")
        assert dict(store.list_sizes("")) == {"b/1": 1, "b/2": 1, "b/3": 1}
        store.reindex()
        assert sorted(store.list_dir("b/")) == ["b/1", "b/2", "b/3"]
        store.clear()
        store["k"] = b"v"
    with RedisStore("reader", port=users.port, username="writer", password=QUOTED) as store:
        for call in (store.list, lambda: store.get("k"), lambda: store.update(k=b"v")):
            with pytest.raises(StoreAccessError, match=r"No permissions|NOPERM"):  # defect 12
                call()


def test_acl_user_who_may_only_read(users: Any) -> None:
    """A reader reads and lists; a write is refused and changes nothing."""
    with users.client(password="admin") as admin, RedisStore("mine", client=admin) as store:
        store.clear()
        store.write_many({"a/1": b"1", "k": b"v"})
        with RedisStore("mine", port=users.port, username="reader", password=QUOTED) as reader:
            assert reader["k"] == b"v"
            assert sorted(reader.list_dir("")) == ["a/", "k"]
            assert dict(reader.list_sizes("")) == {"a/1": 1, "k": 1}
            for call in (
                lambda: reader.update(k=b"x"),
                reader.clear,
                lambda: swap(reader, "k", b"v", b"x"),
            ):
                with pytest.raises(StoreAccessError) as caught:
                    call()
                assert "x" not in str(caught.value).rpartition(":")[2]
        assert store["k"] == b"v"


def test_wrong_password_is_not_tried_again(users: Any) -> None:
    """A wrong password is answered at once, by an error that is not retryable."""
    start = time.monotonic()
    with RedisStore("mine", port=users.port, password="wrong-one") as store:
        with pytest.raises(StoreAccessError, match="invalid username-password") as caught:
            store.list()
        assert not caught.value.retryable
    with RedisStore("mine", port=users.port) as store, pytest.raises(StoreAccessError, match="authenticat"):
        store["k"] = b"v"
    assert time.monotonic() - start < 1


# ---------------------------------------------------------------- TLS


@pytest.fixture
def tls(server: Any, new_proxy: Callable[..., Any], tmp_path: Path) -> tuple[int, str]:
    """The port of a proxy that speaks TLS, and the file of the authority that it is certified by."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    proxy = new_proxy(server.socket, context)
    return proxy.port, str(tmp_path / "ca.pem")


def test_tls(tls: tuple[int, str], prefix: str) -> None:
    """`rediss://` speaks TLS and checks the certificate."""
    port, authority = tls
    with zarrv3.open_store(f"rediss://localhost:{port}/0?prefix={prefix}&ssl_ca_certs={authority}") as store:
        store.write_many({"a/1": b"1" * 100_000, "k": b"v"})
        assert store["a/1"] == b"1" * 100_000
        assert sorted(store.list_dir("")) == ["a/", "k"]
    with RedisStore(prefix, host="localhost", port=port, ssl=True, ssl_ca_certs=authority) as store:
        assert store["k"] == b"v"


def test_tls_with_an_unknown_authority(tls: tuple[int, str], quick: None) -> None:
    """A certificate that is not trusted is an error of ours."""
    with (
        zarrv3.open_store(f"rediss://localhost:{tls[0]}/0") as store,
        pytest.raises(StoreAccessError, match="certificate"),
    ):
        store.list()


# ---------------------------------------------------------------- servers that are not there


def test_unreachable_server(quick: None, tmp_path: Path) -> None:
    """Nobody at the port, no socket, a file or a folder in its place: a retryable error of ours, soon."""
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    (tmp_path / "file").write_bytes(b"")
    urls = [f"redis://127.0.0.1:{port}", *(f"unix://{tmp_path}/{name}" for name in ("missing", "file", ""))]
    for url in urls:
        with (
            zarrv3.open_store(url) as store,
            pytest.raises(StoreUnavailableError, match=r"connecting to") as caught,
        ):
            store.get("k")
        assert "'k'" in str(caught.value)


@pytest.mark.slow
def test_refused_connections_are_given_up(server: Any) -> None:
    """With the defaults a refused connection is an error within ten seconds."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        RedisStore(host="127.0.0.1", port=1).list()
    assert 2 < time.monotonic() - start < 10


def test_silent_servers_time_out(server: Any, new_server: Callable[..., Any]) -> None:
    """A server that takes no connection, or does not answer, is an error that names the time-out and the seconds."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        store = RedisStore(port=port, socket_connect_timeout=0.3)
        with pytest.raises(StoreTimeoutError, match=r"socket_connect_timeout=0.3 s"):
            store.list()
        for one in waiting:
            one.close()
    frozen = new_server()
    with RedisStore(url=frozen.url, socket_timeout=0.3) as store:
        store["k"] = b"v"
        pid = frozen.valkey._process.pid
        os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        for call in (lambda: store["k"], store.list, lambda: swap(store, "k", b"v", b"w")):
            with pytest.raises(StoreTimeoutError, match=r"Timeout"):
                call()
        assert time.monotonic() - start < 5
        os.kill(pid, signal.SIGCONT)
        assert store["k"] in {b"v", b"w"}


def test_not_a_redis_server(quick: None) -> None:
    """A port where something else speaks is an error of ours."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            for _ in range(8):
                try:
                    one, _ = other.accept()
                    one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    one.close()
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        with RedisStore(port=other.getsockname()[1]) as store, pytest.raises(StoreAccessError):
            store.list()


# ---------------------------------------------------------------- servers that come back


def test_restarted_server(new_server: Callable[..., Any]) -> None:
    """A server that is killed and comes back after a second is waited for: no call fails, nothing acknowledged is lost."""
    server = new_server(appendonly="yes", appendfsync="always")
    with RedisStore(port=server.port) as store:
        store.write_many({f"k/{i}": b"0" for i in range(10)})
        assert sorted(store.list_dir("")) == ["k/"]
        back = threading.Timer(0.8, server.start)
        server.kill()
        back.start()
        for turn in range(1, 200):
            store.write_many({f"k/{i}": b"%d" % turn for i in range(10)})
            assert store["k/3"] == b"%d" % turn
        back.join()
        assert swap(store, "k/3", b"199", b"swapped")
        assert len(store) == 10
        server.kill()
        threading.Timer(0.3, server.start).start()
        assert swap(store, "k/3", b"swapped", b"again")  # connecting is tried again
        assert sorted(store.list_dir("k/")) == [f"k/{i}" for i in range(10)]


def test_swap_is_never_sent_twice(server: Any, new_proxy: Callable[..., Any], prefix: str) -> None:
    """When the answer to a swap is lost that is an error; any other call is made again."""
    proxy = new_proxy(server.socket)
    with RedisStore(prefix, port=proxy.port) as store:
        store["k"] = b"1"
        proxy.drop_answer_to = b"MSET"
        store["l"] = b"1"
        assert proxy.drop_answer_to == b""
        proxy.drop_answer_to = b"UNLINK"
        with pytest.raises(StoreUnavailableError, match="'k'"):
            swap(store, "k", b"1", b"2")
        assert store["k"] == b"2"
        assert swap(store, "k", b"2", b"3")


# ---------------------------------------------------------------- servers that refuse


@pytest.mark.parametrize(
    ("policy", "memory", "warns"),
    [("allkeys-lru", "64mb", True), ("allkeys-lru", "0", False), ("volatile-lru", "64mb", False), ("noeviction", "64mb", False)],
)  # fmt: skip
def test_servers_that_evict(server: Any, prefix: str, policy: str, memory: str, warns: bool) -> None:
    """The first write to a server that may drop any key warns, once, since what is dropped is read as fill values."""
    with server.client() as admin, RedisStore(prefix, url=server.url) as store:
        old = admin.config_get("maxmemory*")
        admin.config_set("maxmemory-policy", policy)
        admin.config_set("maxmemory", memory)
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                assert store.get("k") is None
                assert not told
                store["k"] = b"v"
                store["k"] = b"w"
        finally:
            admin.config_set("maxmemory", old["maxmemory"])
            admin.config_set("maxmemory-policy", old["maxmemory-policy"])
    assert [one.category for one in told] == [EvictionWarning] * warns


def test_full_server(new_server: Callable[..., Any]) -> None:
    """When the server's memory is full the old value stays, index and values agree, and erasing helps."""
    server = new_server(maxmemory="8mb", **{"maxmemory-policy": "noeviction"})
    with RedisStore(url=server.url) as store:
        store["k"] = b"old"
        with pytest.raises(StoreAccessError, match=r"maxmemory|OOM"):
            [store.write_many({f"fill/{i}": b"x" * 200_000}) for i in range(100)]
        with server.client() as admin:  # and full it stays, whatever its buffers give back
            admin.config_set("maxmemory", "6mb")
        kept = sorted(store)
        writes: list[Callable[[], object]] = [
            lambda: store.update(k=b"new", other=b"v"),
            lambda: swap(store, "k", b"old", b"new"),
            lambda: swap(store, "other", None, b"new"),
            lambda: store.apply_many({"other": b"v", "k": None}),
            lambda: store.rename("fill", "moved"),
        ]
        for write in writes:
            with pytest.raises(StoreAccessError) as caught:
                write()
            assert b"xxx".decode() not in str(caught.value)
        assert store["k"] == b"old"
        assert sorted(store) == kept
        assert store.getsize() == 3 + 200_000 * (len(kept) - 1)
        store.erase_prefix("fill/")
        store["k"] = b"new"
        assert dict(store.items()) == {"k": b"new"}


def test_replica_is_read_only(new_server: Callable[..., Any]) -> None:
    """On a replica reading and listing work and writing raises `ReadOnlyError`."""
    first, second = new_server(**{"repl-diskless-sync-delay": 0}), new_server()
    with RedisStore(url=first.url) as store, RedisStore(url=second.url) as replica:
        store.write_many({"a/1": b"1", "k": b"v"})
        with second.client() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", first.port)
        end = time.monotonic() + 20
        while replica.get("k") is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert sorted(replica.list_dir("")) == ["a/", "k"]
        assert replica.get_partial_values([("k", (0, 1))]) == [b"v"]
        for call in (
            lambda: replica.update(k=b"x"),
            replica.clear,
            lambda: swap(replica, "k", b"v", b"x"),
            lambda: replica.rename("a", "b"),
            replica.reindex,
        ):
            with pytest.raises(ReadOnlyError):
                call()
        assert replica["k"] == b"v"
