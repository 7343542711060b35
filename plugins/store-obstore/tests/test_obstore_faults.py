"""What goes wrong on the way or at a server: nothing is missing that is there, nothing is lost, and no secret is told."""

import base64
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import StoreAccessError, StoreError, StoreTimeoutError, StoreUnavailableError
from zarrv3.store.contract import ByteRange, Request
from zarrv3.testing.cutting import cutting
from zarrv3_serve.s3.testing import server as s3_with_keys
from zarrv3_store_obstore import ObjectStore

Make = Callable[..., ObjectStore]

SECRET = base64.b64encode(b"s3cr3t-s3cr3t").decode()
PLACES: dict[str, dict[str, Any]] = {
    "s3://bucket/x": {"key": "mykey", "secret": SECRET},
    "az://container/x": {"account_name": "me", "account_key": SECRET},
    "gs://bucket/x": {"anon": True},
}
CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "get": lambda store: store.get("k"),
    "range": lambda store: store.get_many([Request("k", ByteRange(2, 5))]),
    "size": lambda store: store.stat_many(["k"]),
    "put": lambda store: store.update(k=b"v"),
    "swap": lambda store: store.swap_many({"k": (None, b"v")}),
    "list": lambda store: store.list(),
    "erase": lambda store: store.delitems(["k"]),
}


@pytest.mark.parametrize("url", PLACES)
@pytest.mark.parametrize(
    ("status", "expected", "retryable"),
    [
        (400, StoreAccessError, False),
        (401, StoreAccessError, False),
        (403, StoreAccessError, False),
        (429, StoreUnavailableError, True),
        (500, StoreUnavailableError, True),
        (503, StoreUnavailableError, True),
    ],
)
def test_statuses(answering: Any, url: str, status: int, expected: type[StoreError], retryable: bool) -> None:
    """A refusal or a broken server is an error of every call, with the status, and may be retried only if it can pass."""
    with answering(status, {}) as (address, _):
        store = ObjectStore(url, endpoint_url=address, retries=0, conditional_writes=True, **PLACES[url])
        for call in CALLS.values():
            with pytest.raises(expected) as caught:
                call(store)
            assert SECRET not in str(caught.value)
            assert caught.value.retryable is retryable
            assert str(status) in str(caught.value)


@pytest.mark.parametrize("url", PLACES)
def test_a_refused_login_is_never_a_missing_key(answering: Any, url: str) -> None:
    """`missing_exceptions` takes "access denied" for missing, not that keys are wrong, of which no error suggests it."""
    options = {"retries": 0, **PLACES[url]}
    for code in ("SignatureDoesNotMatch", "ExpiredToken"):
        with answering(403, {}, f"<Error><Code>{code}</Code></Error>") as (address, _):
            with pytest.raises(StoreAccessError) as caught:
                ObjectStore(url, endpoint_url=address, **options).get("k")
            assert "missing_exceptions" not in str(caught.value)
            store = ObjectStore(url, endpoint_url=address, missing_exceptions="PermissionError", **options)
            for name in ("get", "range", "size"):
                with pytest.raises(StoreAccessError, match=code):
                    CALLS[name](store)
    with answering(403, {}, "<Error><Code>AccessDenied</Code></Error>") as (address, _):
        store = ObjectStore(url, endpoint_url=address, missing_exceptions="PermissionError", **options)
        assert [CALLS[name](store) for name in ("get", "range", "size")] == [None, [None], [None]]
        with pytest.raises(StoreAccessError, match="set missing_exceptions=PermissionError"):
            ObjectStore(url, endpoint_url=address, **options).get("k")


class _Odd(BaseHTTPRequestHandler):
    """A web server of one value, which sends other ranges than are asked for, or not how large it is."""

    shifts: bool
    value = bytes(range(100))

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        part, status = self.value, 200
        if wanted is not None:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else 100 - int(last)
            stop = min(100, int(last) + 1) if first and last else 100
            start, stop = (0, stop - start) if self.shifts else (start, stop)
            part, status = self.value[start:stop], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(part)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{100 if self.shifts else '*'}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    do_HEAD = do_GET  # noqa: N815 - what the base class looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("shifts", [True, False])
def test_web_servers_with_odd_ranges(shifts: bool) -> None:
    """A web server that sends other ranges, or does not say of how much they are, costs a request more, never a wrong value."""
    ranges = [(8, 16), (-4, None), (2, -2), (90, 200), (5, 5), (0, None), (7, None), (-3, -1)]
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Odd", (_Odd,), {"shifts": shifts})) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        store = ObjectStore(f"http://127.0.0.1:{server.server_port}")
        found = [store.get_many([Request("k", ByteRange(*wanted))])[0] for wanted in ranges]
        server.shutdown()
    assert found == [_Odd.value[slice(*wanted)] for wanted in ranges]


class _Longer(_Odd):
    """A server of one value, which is replaced by a longer one when a range behind its end has been refused."""

    def do_GET(self) -> None:
        if self.headers.get("Range") is not None:
            self.send_error(416)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.value)))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("ETag", '"longer"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.value)

    do_HEAD = do_GET  # noqa: N815 - what the base class looks for


@pytest.mark.parametrize("url", ["s3://bucket", None])
def test_replaced_by_a_longer_one(url: str | None) -> None:
    """A range that lies behind the end of an object when it is asked for, but not a moment later, is read and is not an error."""
    ranges = [(8, 16), (90, 200), (50, None), (100, 120)]
    with ThreadingHTTPServer(("127.0.0.1", 0), _Longer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        options = {"endpoint_url": address, "retries": 0, "anon": True} if url else {}
        store = ObjectStore(url or address, **options)
        found = [store.get_many([Request("k", ByteRange(*wanted))])[0] for wanted in ranges]
        found += store.get_many([Request("k", ByteRange(*wanted)) for wanted in ((0, 1), (99, 100))])
        server.shutdown()
    assert found == [_Odd.value[slice(*wanted)] for wanted in [*ranges, (0, 1), (99, 100)]]


class _Together(_Odd):
    """A server with a weak etag, which answers when as many requests as `together` waits for are under way."""

    together: threading.Barrier

    def do_GET(self) -> None:
        self.together.wait(60)
        start, stop = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        part = self.value[start : stop + 1]
        self.send_response(206)
        self.send_header("ETag", 'W/"same"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/100")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_requests_of_a_call_are_under_way_at_once(count: int) -> None:
    """None waits for another one to end. By a weak etag, which two values may have, nothing is remembered."""
    asked = [
        Request(str(number // 2), ByteRange(*((0, 2), (90, 100))[number % 2])) for number in range(count)
    ]
    handler = type("Together", (_Together,), {"together": threading.Barrier(count)})
    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        patch.setattr("zarrv3_store_obstore.driver.GAP", 10)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        store = ObjectStore("s3://bucket", endpoint_url=address, retries=0, anon=True)
        for _ in range(2):
            assert store.get_many(asked) == [_Odd.value[slice(*wanted)] for _, wanted in asked]
        server.shutdown()


def test_what_is_gone_is_missing(answering: Any) -> None:
    """A web server may say of a value that it is no longer there; a 404 without words says the same."""
    for status in (404, 410):
        with answering(status, {}) as (address, _):
            store = ObjectStore(address, retries=0)
            assert (store.get("k"), store.stat_many(["k"])) == (None, [None])


def test_redirects(answering: Any) -> None:
    """What a server sends elsewhere is read there; where nobody answers there, it is an error and not a missing key."""
    date = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    with answering(200, date, "v") as (there, _), answering(307, {"Location": f"{there}/k"}) as (address, _):
        assert ObjectStore(address).get("k") == b"v"
    with (
        answering(301, {"Location": "http://127.0.0.1:9/x"}) as (address, _),
        pytest.raises(StoreUnavailableError),
    ):
        ObjectStore(address, retries=0).get("k")


def test_refused_erasures_are_errors(answering: Any) -> None:
    """Where S3 answers that it has not erased one of many objects, that is an error which says why."""
    refused = "<Error><Key>x/k</Key><Code>AccessDenied</Code><Message>not yours</Message></Error>"
    body = f'<?xml version="1.0"?><DeleteResult><Deleted><Key>x/a</Key></Deleted>{refused}</DeleteResult>'
    with answering(200, {"Content-Type": "application/xml"}, body) as (address, _):
        store = ObjectStore("s3://bucket/x", endpoint_url=address, **PLACES["s3://bucket/x"])
        with pytest.raises(StoreAccessError, match="AccessDenied"):
            store.delitems(["a", "k"])


def test_wrong_keys(tmp_path: Path) -> None:
    """A server that checks signatures refuses a wrong secret in every call, and neither secret is told; the right one works."""
    right = {"key": "mykey", "secret": "right-s3cr3t", "conditional_writes": True, "region": "us-east-1"}
    with s3_with_keys(str(tmp_path), bucket="lab", writable=True, keys={"mykey": "right-s3cr3t"}) as address:
        store = ObjectStore("s3://lab/x", endpoint_url=address, **right)
        store["k"] = b"v"
        assert store["k"] == b"v"
        for name in ("mykey", "nobody"):
            wrong = ObjectStore(
                "s3://lab/x", endpoint_url=address, **{**right, "key": name, "secret": SECRET}, retries=0
            )
            for call in CALLS.values():
                with pytest.raises(StoreAccessError) as caught:
                    call(wrong)
                assert SECRET not in str(caught.value)
        assert store["k"] == b"v"


def test_cut_connections(s3: Any, s3_store: Make) -> None:
    """Reads and plain writes whose answers are cut are sent again; where all are cut, that is an error, not a missing key."""
    with cutting(s3.address) as proxy, s3_store(endpoint_url=proxy.url, retries=1) as store:
        store["k"] = b"v"
        proxy.cut = {"GET", "PUT"}
        for call in (lambda: store.get("k"), lambda: store.update(k=b"w")):
            with pytest.raises(StoreUnavailableError) as caught:
                call()
            assert caught.value.retryable
        proxy.cut = set()
        assert store["k"] == b"w"  # it was done; only the answer was lost


def test_a_slow_server(answering: Any) -> None:
    """A server that stops in the middle of a value is given up after `read_timeout`, and what came is not taken for the value."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n"
                connection.sendall(head + b"12345")
                done.wait(60)

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        options = {**PLACES["s3://bucket/x"], "endpoint_url": address, "read_timeout": 0.2, "retries": 0}
        try:
            with pytest.raises(StoreTimeoutError, match=r"read_timeout=0\.2"):
                ObjectStore("s3://bucket/x", **options).get("k")
        finally:
            done.set()
            thread.join()


_WRITER = """
import sys, zarrv3
array = zarrv3.open_array(sys.argv[1], mode="r+")
number = int(sys.argv[2])
print(flush=True)
sys.stdin.readline()
for turn in range(6):
    array[turn * 3 + number] = 1
"""


@pytest.mark.parametrize("shards", [None, (18,)])
def test_no_update_of_processes_is_lost(s3: Any, s3_store: Make, shards: Any) -> None:
    """Three processes that write their elements of one chunk or shard at once lose none."""
    query = "&".join(f"{name}={value}" for name, value in s3.options.items())
    url = f"{s3_store.args[0]}?{query}"  # type: ignore[attr-defined]
    zarrv3.create_array(url, shape=18, chunks=2 if shards else 18, shards=shards, dtype="i4")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout
        writer.stdout.readline()
    for writer in writers:
        writer.communicate("\n", timeout=300)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert np.all(zarrv3.open_array(url)[...] == 1)
