"""`ping`, over servers that are there, refuse us, have gone, or never answer."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import zarrv3
from zarrv3.errors import StoreAccessError, StoreError, StoreTimeoutError, StoreUnavailableError
from zarrv3.store.contract import Capabilities
from zarrv3.store.wrapping import DriverStore

WITHIN = 20.0
"""More than any answer takes here."""

SERVERS = {
    "redis": "redis://me:hunter2@{}/0",
    "postgresql": "postgresql://me:hunter2@{}/data",
    "mysql": "mysql://me:hunter2@{}/data",
    "mongodb": "mongodb://me:hunter2@{}/data",
    "s3": "s3://bucket/data?endpoint=http://{}&access_key_id=me&secret_access_key=hunter2&allow_http=true&region=x",
    "http": "http://me:hunter2@{}/data",
    "fsspec": "fsspec+http://{}/data",
}
"""URLs of servers of other libraries, at an address."""


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word; in the end it hangs up."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield "{}:{}".format(*server.getsockname())


@pytest.fixture
def closed() -> str:
    """The address of a server that has gone."""
    with silent() as address:
        pass
    return address


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_has_gone(name: str, closed: str) -> None:
    """The error comes within the time, says that it may be tried again, and tells no password."""
    store = zarrv3.open_store(SERVERS[name].format(closed))
    with pytest.raises(StoreError) as caught:
        store.ping(2)
    assert caught.value.retryable
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_never_answers(name: str) -> None:
    """The time is kept, whatever the library's own time-outs are, and no more than one question is under way."""
    with silent() as address:
        store = zarrv3.open_store(SERVERS[name].format(address))
        for _ in range(2):
            with pytest.raises(StoreTimeoutError, match=r"has not answered within 0\.2 s|within") as caught:
                store.ping(0.2)
            assert "hunter2" not in str(caught.value)


def test_one_question_at_a_time() -> None:
    """Whoever asks while a question is under way waits for its answer; then it is asked again."""
    driver = _Answering()
    store = DriverStore(driver)
    for _ in range(3):
        with pytest.raises(StoreTimeoutError, match=r"has not answered within 0\.05 s"):
            store.ping(0.05)
    assert driver.asked == 1
    driver.answers.set()
    store.ping(WITHIN)
    store.ping(WITHIN)
    assert driver.asked in {2, 3}  # the first answer may have come in time for the next


class _Answering:
    """A driver whose server answers when it is told to."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.asked = 0
        self.answers = threading.Event()

    def get_many(self, requests: Any, /) -> list[None]:
        """Nothing is there, as is said in the end."""
        self.asked += 1
        assert self.answers.wait(60)
        return [None for _ in requests]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_asks_anew() -> None:
    """A child does not wait for a question that a thread of its parent has asked."""
    driver = _Answering()
    store = DriverStore(driver)
    with pytest.raises(StoreTimeoutError):
        store.ping(0.05)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            driver.answers = threading.Event()
            driver.answers.set()
            store.ping(WITHIN)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    driver.answers.set()


def test_layers_do_not_answer_for_the_server() -> None:
    """Caches and layers that ask again are passed by; of an overlay both stores are asked, below the folder of a prefix."""
    keys: list[str] = []

    class Spy(_Answering):
        def get_many(self, requests: Any, /) -> list[None]:
            keys.extend(request.key for request in requests)
            return [None for _ in requests]

    store = zarrv3.Prefix(zarrv3.LRUStoreCache(zarrv3.Retry(zarrv3.open_store(Spy()))), "team/a")
    for _ in range(2):
        store.ping(WITHIN)
    assert keys == ["team/a/zarr.json"] * 2
    overlay = zarrv3.OverlayLayer(zarrv3.MemoryStore(), base=zarrv3.open_store(Spy()))
    overlay.ping(WITHIN)
    assert keys[2:] == ["zarr.json"]


def test_passwords_and_a_server_that_is_killed() -> None:
    """With the right password a server of Redis answers, with another one that is an error; killed, it is unavailable."""
    redis = pytest.importorskip("redis")
    testing = pytest.importorskip("zarrv3_store_redis.testing")
    with testing.server() as url:
        path = url.partition("://")[2].partition("?")[0]
        with redis.Redis(unix_socket_path=path) as admin:
            admin.config_set("requirepass", "right-one")
        store = zarrv3.open_store(f"{url}&password=right-one")
        store.ping(WITHIN)
        assert list(store) == []
        with pytest.raises(StoreAccessError) as caught:
            zarrv3.open_store(f"{url}&password=wrong-one").ping(WITHIN)
        assert "wrong-one" not in str(caught.value)
    with pytest.raises(StoreUnavailableError):
        store.ping(WITHIN)


class _Login(BaseHTTPRequestHandler):
    """A web server with a password, where nothing is."""

    def do_GET(self) -> None:
        """Refuse those without it."""
        self.send_response(404 if self.headers.get("Authorization") == "Basic bWU6b3Blbg==" else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - http.server calls it so

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_web_server_with_a_password() -> None:
    """Who is let in finds that nothing is there, which is an answer; who is not, an error."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/data"
        zarrv3.open_store(url, headers={"authorization": "Basic bWU6b3Blbg=="}).ping(WITHIN)
        with pytest.raises(StoreAccessError, match="401") as caught:
            zarrv3.open_store(url, headers={"authorization": "Basic hunter2"}).ping(WITHIN)
        assert "hunter2" not in str(caught.value)
        server.shutdown()
