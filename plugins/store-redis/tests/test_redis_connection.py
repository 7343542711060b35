"""Connections: URLs, clients, users, TLS, time-outs, servers that go and come back, servers that are full."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
    ZarrError,
)
from zarrv3.testing.processes import together
from zarrv3_store_redis import RedisStore, client
from zarrv3_store_redis.driver import RedisDriver

SECRET = "p@ss/w:ord?#|$"
QUOTED = "p%40ss%2Fw%3Aord%3F%23%7C%24"


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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is tried twice only."""
    monkeypatch.setattr(client, "RETRIES", 1)


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
        ("redis:h", "no URL of a server"),
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
        "values are bytes": {"decode_responses": True},
        "not both": {"client": redis.Redis(), "url": "redis://h"},
        "redis.Redis, not str": {"client": "redis://h"},
        "prefix is text": {"prefix": b"x"},
        "an argument of its own": {"url": "redis://h?prefix=x"},
        "no URL of a server": {"url": "http://h"},
    }
    for says, options in wrong.items():
        with pytest.raises(ConfigurationError, match=says):
            RedisStore(**options)
    with pytest.raises(ConfigurationError, match="make no connection"):
        RedisStore(url="unix:///s", ssl_ca_certs="/ca.pem").list()


def test_seed_signature(server: Any, prefix: str) -> None:
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
            store.set_many({"a/é": b"\xff\x00", "b": b"v"})
            assert store["a/é"] == b"\xff\x00"
            assert sorted(store) == ["a/é", "b"]
            assert store.compare_and_set("b", b"v", b"\xfe")
            assert store.list_dir("") == (["b"], ["a/"])
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
        store.set_many({"a/1": b"1", "a/2": b"2"})
        assert store.compare_and_set("a/1", b"1", b"x")
        with store.transaction() as block:
            block["a/3"] = b"3"
        store.rename("a", "b")
        assert dict(store.sizes("")) == {"b/1": 1, "b/2": 1, "b/3": 1}
        store.reindex()
        assert store.list_dir("b/") == (["b/1", "b/2", "b/3"], [])
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
        store.set_many({"a/1": b"1", "k": b"v"})
        with RedisStore("mine", port=users.port, username="reader", password=QUOTED) as reader:
            assert reader["k"] == b"v"
            assert reader.list_dir("") == (["k"], ["a/"])
            assert dict(reader.sizes("")) == {"a/1": 1, "k": 1}
            for call in (
                lambda: reader.update(k=b"x"),
                reader.clear,
                lambda: reader.compare_and_set("k", b"v", b"x"),
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
def tls(server: Any, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The port of a proxy that speaks TLS, and the file of the authority that it is certified by."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    proxy = Proxy(server.socket, context)
    yield proxy.port, str(tmp_path / "ca.pem")
    proxy.close()


def test_tls(tls: tuple[int, str], prefix: str) -> None:
    """`rediss://` speaks TLS and checks the certificate."""
    port, authority = tls
    with zarrv3.open_store(f"rediss://localhost:{port}/0?prefix={prefix}&ssl_ca_certs={authority}") as store:
        store.set_many({"a/1": b"1" * 100_000, "k": b"v"})
        assert store["a/1"] == b"1" * 100_000
        assert store.list_dir("") == (["k"], ["a/"])
    with RedisStore(prefix, host="localhost", port=port, ssl=True, ssl_ca_certs=authority) as store:
        assert store["k"] == b"v"


def test_tls_with_an_unknown_authority(tls: tuple[int, str], quick: None) -> None:
    """A certificate that nobody vouches for is an error of ours."""
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
        for call in (lambda: store["k"], store.list, lambda: store.compare_and_set("k", b"v", b"w")):
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
        store.set_many({f"k/{i}": b"0" for i in range(10)})
        assert store.list_dir("") == ([], ["k/"])
        back = threading.Timer(0.8, server.start)
        server.kill()
        back.start()
        for turn in range(1, 200):
            store.set_many({f"k/{i}": b"%d" % turn for i in range(10)})
            assert store["k/3"] == b"%d" % turn
        back.join()
        assert store.compare_and_set("k/3", b"199", b"swapped")
        assert len(store) == 10
        server.kill()
        threading.Timer(0.3, server.start).start()
        assert store.compare_and_set("k/3", b"swapped", b"again")  # connecting is tried again
        assert store.list_dir("k/")[0] == [f"k/{i}" for i in range(10)]


def test_swap_is_never_sent_twice(server: Any, prefix: str) -> None:
    """When the answer to a swap is lost that is an error; any other call is made again."""
    proxy = Proxy(server.socket)
    with RedisStore(prefix, port=proxy.port) as store:
        store["k"] = b"1"
        proxy.drop_answer_to = b"MSET"
        store["l"] = b"1"
        assert proxy.drop_answer_to == b""
        proxy.drop_answer_to = b"UNLINK"
        with pytest.raises(StoreUnavailableError, match="'k'"):
            store.compare_and_set("k", b"1", b"2")
        assert store["k"] == b"2"
        assert store.compare_and_set("k", b"2", b"3")
    proxy.close()


# ---------------------------------------------------------------- servers that refuse


def test_full_server(new_server: Callable[..., Any]) -> None:
    """When the server's memory is full the old value stays, index and values agree, and erasing helps."""
    server = new_server(maxmemory="8mb", **{"maxmemory-policy": "noeviction"})
    with RedisStore(url=server.url) as store:
        store["k"] = b"old"
        with pytest.raises(StoreAccessError, match=r"maxmemory|OOM"):
            [store.set_many({f"fill/{i}": b"x" * 200_000}) for i in range(100)]
        kept = sorted(store)
        writes: list[Callable[[], object]] = [
            lambda: store.update(k=b"new", other=b"v"),
            lambda: store.compare_and_set("k", b"old", b"new"),
            lambda: store.compare_and_set("other", None, b"new"),
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
        store.set_many({"a/1": b"1", "k": b"v"})
        with second.client() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", first.port)
        end = time.monotonic() + 20
        while replica.get("k") is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert replica.list_dir("") == (["k"], ["a/"])
        assert replica.get_partial_values([("k", (0, 1))]) == [b"v"]
        for call in (
            lambda: replica.update(k=b"x"),
            replica.clear,
            lambda: replica.compare_and_set("k", b"v", b"x"),
            lambda: replica.rename("a", "b"),
            replica.reindex,
        ):
            with pytest.raises(ReadOnlyError):
                call()
        assert replica["k"] == b"v"


def test_errors_are_ours(server: Any) -> None:
    """Every exception that redis-py documents becomes one of ours, unless it is a mistake of the program."""
    for name, kind in vars(redis.exceptions).items():
        if isinstance(kind, type) and issubclass(kind, redis.RedisError):
            fits = [ours for theirs, ours in RedisStore.errors.items() if issubclass(kind, theirs)]
            assert fits, name
            assert issubclass(fits[0], ZarrError)
