"""Keys and folders over plain HTTP, asked of a real server."""

import contextlib
import email
import http.client
import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import zarrv3
from zarrv3_serve import replies, served, values

Ask = Callable[..., Any]
DIGITS = b"0123456789"
NOT_THERE = f"{HTTPStatus(416).phrase}\n".encode()  # Python 3.13 calls it otherwise


def test_values(ask: Ask) -> None:
    """A key is answered with its value, its type and its length, a missing one with 404; HEAD says the same without it."""
    store = zarrv3.open_store()
    store["a/zarr.json"], store["a/c/0"] = b"{}", DIGITS
    with served(store) as url:
        found = ask(url, "/a/c/0", Accept_Encoding="gzip, br")
        assert (found.status, found.body, found.headers["content-encoding"]) == (200, DIGITS, None)
        assert found.headers["content-type"] == "application/octet-stream"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert ask(url, "/a/zarr.json").headers["content-type"] == "application/json"
        assert ask(url, "/a/c/1").status == ask(url, "/a/c/1", "HEAD").status == 404
        head = ask(url, "/a/c/0", "HEAD")
        assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
        refused = ask(url, "/a/c/0", "PUT", b"x")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_listing(ask: Ask) -> None:
    """A folder is answered with what lies in it, however much that is; one in which nothing is, with 404."""
    store = zarrv3.open_store()
    store.update({f"a/{number}": b"x" * (number % 3) for number in range(1200)} | {"a/b/c": b""})
    with served(store) as url:
        found = json.loads(ask(url, "/a/", Accept="application/json").body)
        assert found["folder"] == "a/"
        expected = [{"name": str(number), "bytes": number % 3} for number in range(1200)] + [{"name": "b/"}]
        assert sorted(found["entries"], key=str) == sorted(expected, key=str)
        assert json.loads(ask(url, "/", Accept="application/json").body)["entries"] == [{"name": "a/"}]
        assert ask(url, "/b/").status == 404
        links = ask(url, "/").body.decode()  # as web servers list
        assert 'href="a/"' in links
        assert ask(url, "/a").headers["location"] == "./a/"
        assert ask(url, "/a/b/0").status == 404
    with served(zarrv3.open_store()) as url:
        assert json.loads(ask(url, "/", Accept="application/json").body) == {"folder": "", "entries": []}


RANGES: dict[str, tuple[int, bytes, str | None]] = {
    "bytes=2-4": (206, b"234", "bytes 2-4/10"),
    "bytes=7-": (206, b"789", "bytes 7-9/10"),
    "bytes=7-99": (206, b"789", "bytes 7-9/10"),
    "bytes=-3": (206, b"789", "bytes 7-9/10"),
    "bytes=-99": (206, DIGITS, "bytes 0-9/10"),
    "bytes=0-0,99-": (206, b"0", "bytes 0-0/10"),
    "bytes=10-": (416, NOT_THERE, "bytes */10"),
    "bytes=-0": (416, NOT_THERE, "bytes */10"),
    "bytes=4-2": (200, DIGITS, None),
    "bytes=x": (200, DIGITS, None),
    "items=0-1": (200, DIGITS, None),
    "bytes=0-,0-": (200, DIGITS, None),  # more than the whole
    "bytes=" + "0-0," * 300: (200, DIGITS, None),
    "bytes=" + "1" * 9000 + "-": (200, DIGITS, None),
}


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_ranges(kind: str, ask: Ask, tmp_path: Path) -> None:
    """A part of a value is what `value[start:stop]` is, whether the store can read it alone or not; what is not a range is ignored."""
    store = zarrv3.open_store(str(tmp_path) if kind == "directory" else None)
    store["v"], store["empty"] = DIGITS, b""
    with served(store) as url:
        for header, (status, body, where) in RANGES.items():
            found = ask(url, "/v", Range=header)
            assert (found.status, found.body, found.headers["content-range"]) == (status, body, where), header
        assert ask(url, "/empty", Range="bytes=0-").status == 416
        assert ask(url, "/empty", Range="bytes=-1").status == 200
        assert ask(url, "/none", Range="bytes=0-").status == 404
        found = ask(url, "/v", Range="bytes=1-2, -1,4-4")
        message = email.message_from_bytes(
            b"content-type: %b\r\n\r\n" % found.headers["content-type"].encode() + found.body
        )
        parts: Any = message.get_payload()
        assert [(part["content-range"], part.get_payload(decode=True)) for part in parts] == [
            ("bytes 1-2/10", b"12"),
            ("bytes 9-9/10", b"9"),
            ("bytes 4-4/10", b"4"),
        ]


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_conditions(kind: str, ask: Ask, tmp_path: Path) -> None:
    """The entity tag of a value changes whenever the value does, and requests may be made on condition of it."""
    store = zarrv3.open_store(str(tmp_path) if kind == "directory" else None)
    store["v"] = DIGITS
    with served(store) as url:
        tag = ask(url, "/v").headers["etag"]
        assert ask(url, "/v").headers["etag"] == tag
        same = ask(url, "/v", If_None_Match=f'"other", W/{tag}')
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
        assert ask(url, "/v", "HEAD", If_None_Match=tag).status == 304
        assert ask(url, "/v", If_Match=tag).status == ask(url, "/v", If_Match="*").status == 200
        assert ask(url, "/v", If_Range=tag, Range="bytes=0-1").body == b"01"
        store["v"] = DIGITS[::-1]  # as long as before
        changed = ask(url, "/v", If_None_Match=tag)
        assert (changed.status, changed.body) == (200, DIGITS[::-1])
        assert changed.headers["etag"] != tag
        assert ask(url, "/v", If_Match=tag).status == ask(url, "/none", If_Match="*").status == 412
        assert ask(url, "/v", If_Range=tag, Range="bytes=0-1").body == DIGITS[::-1]


def test_long_values(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long value is sent in pieces; if it changes meanwhile, the client is told by a body that ends too early."""
    monkeypatch.setattr(values, "PIECE", 1000)
    monkeypatch.setattr(values, "WHOLE", 5000)
    store, long = zarrv3.open_store(str(tmp_path)), bytes(range(256)) * 100
    store["v"] = long
    with served(store) as url:
        found = ask(url, "/v")
        assert (found.body, found.headers["etag"]) == (long, values.etag_of(long))
        assert ask(url, "/v", If_None_Match=found.headers["etag"]).status == 304
        part = ask(url, "/v", Range="bytes=100-20099")
        assert (part.status, part.body, part.headers["content-range"]) == (
            206,
            long[100:20100],
            "bytes 100-20099/25600",
        )
        assert ask(url, "/v", Range="bytes=100-199").body == long[100:200]
        real, pieces = values.Values._pieces, 0

        def counted(self: values.Values, key: str, span: Any) -> Any:
            nonlocal pieces
            for piece in real(self, key, span):
                pieces += 1
                if pieces == 40:  # in the second of two readings
                    store["v"] = long[::-1]
                yield piece

        monkeypatch.setattr(values.Values, "_pieces", counted)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask(url, "/v")


def test_nothing_outside_is_reached(ask: Ask, tmp_path: Path) -> None:
    """Paths that climb, NUL, what is not UTF-8 and names that are too long are refused, however they are spelled."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "inside").mkdir()
    store = zarrv3.open_store(str(tmp_path / "inside"))
    store["a/b"] = b"x"
    climbing = [
        "/../secret",
        "/%2e%2e/secret",
        "/a/%2e%2e/%2e%2e/secret",
        "/..%2fsecret",
        "/.%2e/secret/",
        "//secret",
    ]
    odd = [
        "/a%00",
        "/%ff",
        "/a//b",
        "/./a/b",
        "/a/%2e/b",
        "/" + "x" * 3000,
        "/" + "x/" * 3000,
        f"/{tmp_path}/secret",
    ]
    with served(store) as url:
        for path in climbing + odd:
            found = ask(url, path)
            assert found.status in {400, 404}, path
            assert found.body != b"secret", path
        assert ask(url, "/a%2fb").body == b"x"
        assert "error" in json.loads(ask(url, "/__zarrv3__/node?path=..%2Fsecret").body)
        assert ask(url, "/__zarrv3__/..%2f..%2fapplication.py").status == 404


class Failing:
    """A driver that does nothing but fail."""

    capabilities = zarrv3.Capabilities()
    error: Exception = OSError()

    def get_many(self, requests: object) -> Any:
        """Fail."""
        raise self.error


def test_failures(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """A store that cannot be reached is 503 and may be asked again, one that forbids is 403, all else 500 with no word of where."""
    driver = Failing()
    with served(driver) as url:
        for error, status in {
            ConnectionError("password"): 503,
            PermissionError("password"): 403,
            OSError("password"): 500,
        }.items():
            driver.error = error
            found = ask(url, "/v")
            assert found.status == status
            assert b"password" not in found.body
            assert ("retry-after" in found.headers) == (status == 503)
    assert "password" in caplog.text  # the log says why


def test_writing(ask: Ask) -> None:
    """With the token values are stored and erased, on a condition too; without it, or if they are too long, nothing is."""
    store, given = zarrv3.open_store(), {"Authorization": "Bearer secret-token"}
    with served(store, write=True, token="secret-token", longest=100) as url:
        assert ask(url, "/a/b", "PUT", b"1").status == 401
        assert ask(url, "/a/b", "PUT", b"1", Authorization="Bearer secret-tokem").status == 401
        done = ask(url, "/a/b", "PUT", b"1", **given)
        assert (done.status, store["a/b"], done.headers["etag"]) == (204, b"1", values.etag_of(b"1"))
        assert ask(url, "/a/b", "PUT", b"2", If_None_Match="*", **given).status == 412
        assert ask(url, "/a/b", "PUT", b"2", If_Match=values.etag_of(b"0"), **given).status == 412
        assert ask(url, "/a/b", "PUT", b"2", If_Match=values.etag_of(b"1"), **given).status == 204
        assert ask(url, "/c", "PUT", b"x" * 101, **given).status == 413
        assert ask(url, "/../c", "PUT", b"x", **given).status == 400
        assert ask(url, "/d/", "PUT", b"x", **given).status == 400
        assert dict(store) == {"a/b": b"2"}
        assert ask(url, "/a/b", "DELETE", **given).status == ask(url, "/a/b", "DELETE", **given).status == 204
        assert not [*store]
    with pytest.raises(zarrv3.errors.ConfigurationError, match="token"), served(store, write=True):
        pass


def test_who_may_ask(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """A token is asked for and appears in no log; a server of this machine answers to its own names only."""
    caplog.set_level("INFO", "zarrv3.serve")
    store = zarrv3.open_store()
    store["v"] = b"x"
    basic = "Basic dXNlcjpzZWNyZXQtdG9rZW4="  # user:secret-token
    with served(store, token="secret-token") as url:
        refused = ask(url, "/v?token=a")
        assert (refused.status, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        for wrong in (
            "Bearer x",
            "Bearer",
            "Basic x",
            "Basic dXNlcjp4",
            "secret-token",
            "Digest secret-token",
            "Bearer \xe9",
        ):
            assert ask(url, "/v", Authorization=wrong).status == 401
        assert (
            ask(url, "/v", Authorization=basic).body
            == ask(url, "/v", Authorization="bearer secret-token").body
            == b"x"
        )
        assert ask(url, "/", Accept="text/html").status == ask(url, "/__zarrv3__/node").status == 401
    assert '"GET /v" 200 1 ' in caplog.text
    assert "token" not in caplog.text
    with served(store, token="secret-token", public=True) as url:
        assert ask(url, "/v").body == b"x"
    with served(store) as url:
        port = urlsplit(url).port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
            assert ask(url, "/v", Host=host).status == 400
        for host in ("localhost", f"LOCALHOST:{port}", "[::1]", f"127.0.0.1:{port}"):
            assert ask(url, "/v", Host=host).status == 200
    with served(store, hosts=["data.example"]) as url:
        assert ask(url, "/v", Host="data.example").status == 200


def test_other_sites(ask: Ask) -> None:
    """Scripts of other sites may read nothing unless they are named; those that are may ask for ranges."""
    store, asked = (
        zarrv3.open_store(),
        {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"},
    )
    store["v"] = b"x"
    with served(store) as url:
        assert not [
            name for name in ask(url, "/v", Origin="https://a.example").headers if "access-control" in name
        ]
        assert not [
            name
            for name in ask(url, "/v", "OPTIONS", Origin="https://a.example", **asked).headers
            if "access-control" in name
        ]
    with served(store, origins=["https://a.example"], token="secret", public=True) as url:
        found = ask(url, "/v", Origin="https://a.example").headers
        assert (found["access-control-allow-origin"], found["vary"]) == ("https://a.example", "Origin")
        assert "Content-Range" in found["access-control-expose-headers"]
        assert ask(url, "/none", Origin="https://a.example").headers["access-control-allow-origin"]
        assert ask(url, "/v", Origin="https://b.example").headers["access-control-allow-origin"] is None
        before = ask(
            url,
            "/v",
            "OPTIONS",
            Origin="https://a.example",
            Access_Control_Request_Private_Network="true",
            **asked,
        )
        assert (before.status, before.headers["access-control-allow-methods"]) == (204, "GET, HEAD, OPTIONS")
        assert "Range" in before.headers["access-control-allow-headers"]
        assert before.headers["access-control-allow-private-network"] == "true"
        assert (
            ask(url, "/v", "OPTIONS", Origin="https://b.example", **asked).headers[
                "access-control-allow-methods"
            ]
            is None
        )
    with served(store, origins=["*"]) as url:
        assert ask(url, "/v", Origin="https://b.example").headers["access-control-allow-origin"] == "*"


def test_clients_that_do_nothing(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing of an answer, or sends nothing of a value, loses the connection, and others get the place."""
    monkeypatch.setattr(replies, "PATIENCE", 0.3)
    store = zarrv3.open_store()
    store["v"] = bytes(50_000_000)
    with served(store, requests=1, write=True, token="t") as url, contextlib.ExitStack() as stack:
        for request in (b"GET /v HTTP/1.1", b"PUT /w HTTP/1.1\r\nContent-Length: 9"):
            lazy = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(url).port)))
            lazy.sendall(request + b"\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n")
            assert lazy.recv(1)  # it has begun, or is over
            assert ask(url, "/none", Authorization="Bearer t").status == 404
    assert [*store] == ["v"]
