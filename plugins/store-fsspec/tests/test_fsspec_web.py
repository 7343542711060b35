"""Web and FTP servers: reading only, and never a wrong value."""

import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.store.contract import ByteRange, Request, whole
from zarrv3_store_fsspec import FSStore, systems

VALUE = bytes(range(100))
RANGES = [
    (8, 16),
    (-4, None),
    (2, -2),
    (90, 200),
    (200, 300),
    (5, 5),
    (0, None),
    (7, None),
    (-200, 3),
    (-3, -1),
]


@pytest.mark.parametrize("manner", ["honest", "ignores", "shifts", "knows no size"])
def test_ranges_are_right_whatever_the_server_does(web: Callable[..., Any], manner: str) -> None:
    """A server that ignores ranges, sends others or hides the size costs more, never a wrong value."""
    store = FSStore(web(manner, {"/d/k": VALUE}).url + "/d")
    found = [store.get_many([Request(key, ByteRange(*wanted)) for key in ("k", "none")]) for wanted in RANGES]
    assert [one[0] for one in found] == [VALUE[slice(*wanted)] for wanted in RANGES]
    assert {one[1] for one in found} == {None}


def test_a_batch_is_concurrent_and_joined(web: Callable[..., Any]) -> None:
    """N keys are N requests; ranges of one value are one request, and so is a suffix."""
    server = web("honest", {f"/{i}": VALUE for i in range(20)})
    store = FSStore(server.url)
    store.get_many(whole(str(i) for i in range(20)))
    assert sorted(server.seen) == sorted(("GET", f"/{i}", None) for i in range(20))
    server.seen.clear()
    store.get_many(
        [Request("1", ByteRange(i, i + 2)) for i in range(0, 90, 3)] + [Request("2", ByteRange(-9))]
    )
    assert sorted(server.seen) == [("GET", "/1", "bytes=0-88"), ("GET", "/2", "bytes=-9")]


def test_an_array_on_the_web(web: Callable[..., Any]) -> None:
    """An array that was written elsewhere is read over HTTP, by URL; it cannot be written or listed."""
    files: dict[str, bytes] = {}
    array = zarrv3.create_array(files, shape=(20, 20), chunks=(5, 5), dtype="i4")
    array[...] = 7
    url = web("honest", {f"/a b/{key}": value for key, value in files.items()}).url + "/a%20b"
    found = zarrv3.open_array(url, mode="r")
    assert (found[...] == 7).all()
    store = zarrv3.open_store(url)
    assert not store.capabilities.write
    assert not store.capabilities.list
    with pytest.raises(ReadOnlyError, match="read-only"):
        store["k"] = b"v"
    with pytest.raises(UnsupportedError, match="cannot list"):
        store.list()
    assert "zarr.json" in store
    assert store.getitems(["zarr.json", "none"]).keys() == {"zarr.json"}


@pytest.mark.parametrize(
    "key", ["a b/c", "per%cent", "%2Fx", "what?x=1", "a#b", "é/日", "a+b", "a&b=c", "star*[x]"]
)
def test_keys_become_paths(web: Callable[..., Any], key: str) -> None:
    """Characters that mean something in a URL belong to the key."""
    assert FSStore(web("honest", {f"/d/{key}": b"v"}).url + "/d")[key] == b"v"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("401", StoreAccessError),
        ("403", StoreAccessError),
        ("500", StoreUnavailableError),
        ("503", StoreUnavailableError),
    ],
)
def test_failures_are_not_missing_keys(
    web: Callable[..., Any], status: str, expected: type[Exception]
) -> None:
    """What is refused or broken is an error that names key and status, never a missing value (defect 12)."""
    store = FSStore(web(status, {}).url)
    for call in (
        lambda: store.get("k"),
        lambda: store.get_many([Request("k", ByteRange(0, 4))]),
        lambda: "k" in store,
    ):
        with pytest.raises(expected, match=rf"'k'.*{status}"):
            call()
    assert FSStore(web("404", {}).url).get("k") is None
    assert FSStore(web("410", {}).url).get("k") is None


def test_what_else_is_missing_can_be_said(web: Callable[..., Any]) -> None:
    """`missing_exceptions` counts what a user names, for servers that answer 403 for what is not there."""
    url = web("403", {}).url
    assert FSStore(url, missing_exceptions=(PermissionError,)).get("k") is None
    assert FSStore(url, missing_exceptions=["KeyError", "PermissionError"]).get("k") is None
    store = zarrv3.open_store(f"{url}?missing_exceptions=KeyError,PermissionError")
    assert store.get("k") is None
    assert store == FSStore(url, missing_exceptions=(KeyError, PermissionError))
    assert zarrv3.open_store(store.spec()).get("k") is None
    for wrong in ("PermissionEror", "len", [3], ""):
        with pytest.raises(ConfigurationError, match=r"is not a Python exception"):
            FSStore(url, missing_exceptions=wrong)
    with pytest.raises(StoreAccessError, match="set missing_exceptions=PermissionError"):
        FSStore(url, exceptions=(KeyError, PermissionError, OSError)).get("k")
    with pytest.raises(StoreAccessError, match=r"401 \w+ for [^;]*$"):  # the login is refused, not this key
        FSStore(web("401", {}).url, missing_exceptions="PermissionError").get("k")


def test_an_unreachable_server() -> None:
    """Nobody listening is an error at once that says so, without the password in the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = FSStore(f"http://user:s3cret@127.0.0.1:{free.getsockname()[1]}/x")
    with pytest.raises(
        StoreUnavailableError, match=r"cannot read 'k' in FSStore\(.*Cannot connect"
    ) as caught:
        store.get("k")
    assert "s3cret" not in f"{caught.value} {store!r}"


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing is given up; the error names the time-out."""
    monkeypatch.setattr(systems, "ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = FSStore(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreTimeoutError, match=r"0.3 s to answer; option client_kwargs"):
            store.get("k")


def test_reading_over_ftp(ftp: Any) -> None:
    """FTP is read and listed, not written; ranges are right and a wrong password is not shown."""
    store = zarrv3.open_store(f"{ftp.url}/data")
    assert sorted(store) == ["f/k", "k"]
    assert sorted(store.list_dir("")) == ["f/", "k"]
    assert store.getsize() == 105
    found = [
        store.get_many([Request(key, ByteRange(*wanted)) for key in ("f/k", "none")]) for wanted in RANGES
    ]
    assert found == [[VALUE[slice(*wanted)], None] for wanted in RANGES]
    assert "s3cret" not in repr(store)
    with pytest.raises(ReadOnlyError):
        store["k"] = b"v"
    closed = ftp.folder / "data" / "k"
    if os.getuid() == 0:  # root reads everything: a folder in the place of the file that was listed
        store.driver.files._size = lambda path: 5  # type: ignore[attr-defined]
        with pytest.raises(StoreAccessError, match="550"):
            store.get("f")
    else:
        closed.chmod(0)
        with pytest.raises(StoreAccessError, match="550"):
            store.get("k")
        closed.chmod(0o644)
    with pytest.raises(StoreAccessError, match=r"Authentication failed|530") as caught:
        FSStore(ftp.url.replace("s3cret-ftp", "wr0ng-ftp")).get("k")
    assert "wr0ng" not in str(caught.value)


def test_odd_names_and_passwords(ftp: Any) -> None:
    """A user and a password with signs that mean something in URLs are percent-encoded there, and decoded for the server."""
    place = ftp.url.partition("@")[2]
    login = f"{quote('eve@lab.org', safe='')}:{quote('p@ss#1/%41', safe='')}"
    assert zarrv3.open_store(f"ftp://{login}@{place}/data")["k"] == b"value"


def test_files_over_ssh(sftp: Any) -> None:
    """SFTP is read, written and listed, with a password or with a key that options name; a wrong password is not shown."""
    password = f"{quote('eve@lab.org', safe='')}:{quote('p@ss#1/%41', safe='')}"
    ours = f"?key_filename={sftp.key}&allow_agent=no&look_for_keys=no"
    for number, url in enumerate((f"sftp://{password}@{sftp.place}", f"ssh://me@{sftp.place}")):
        store = zarrv3.open_store(f"{url}/x{number}.zarr{ours if number else ''}")
        array = zarrv3.create_array(store, shape=8, chunks=4, dtype="i4")
        array[:] = 1
        array[1] = 2
        assert array[:].tolist() == [1, 2, 1, 1, 1, 1, 1, 1]
        assert sorted(store) == ["c/0", "c/1", "zarr.json"]
        assert store.get_many([Request("c/0", ByteRange(1, 3)), Request("no")])[1] is None
        assert store.stat_many(["zarr.json", "no"])[1] is None
        assert (sftp.folder / f"x{number}.zarr" / "c" / "1").is_file()
        store.driver.files.fs.client.close()
    with pytest.raises(StoreAccessError, match="Authentication failed") as caught:
        zarrv3.open_store(f"sftp://me:wr0ng@{sftp.place}/x?allow_agent=no&look_for_keys=no").get("k")
    assert "wr0ng" not in str(caught.value)


def test_a_query_that_every_request_needs(web: Callable[..., Any]) -> None:
    """What is not an option in a web address, such as a signature, goes to the server with each key, and is not shown."""
    server = web("honest", {"/data/f/k?sv=1&sig=a/b=": b"0123456789"})
    store = zarrv3.open_store(f"{server.url}/data?mode=r&sv=1&sig=a%2Fb%3D")
    assert store.get_many([Request("f/k"), Request("f/k", ByteRange(2, -3))]) == [b"0123456789", b"23456"]
    assert store.stat_many(["f/k", "no"]) == [10, None]
    assert "a%2Fb" not in repr(store)
    assert zarrv3.open_store(store.spec())["f/k"] == b"0123456789"


def test_headers_in_a_url(web: Callable[..., Any]) -> None:
    """Headers that a URL gives go with every request, and a token among them is not shown."""
    server = web("honest", {"/k": b"v"})
    store = zarrv3.open_store(f'{server.url}?headers={{"Authorization":"Bearer lab"}}')
    assert (store["k"], store.stat_many(["k"])) == (b"v", [1])
    assert {*server.logins} == {"Bearer lab"}
    assert "lab" not in repr(store)
