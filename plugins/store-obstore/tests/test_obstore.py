"""`ObjectStore`: the conformance kit over the servers of the clouds, and what the kit cannot know."""

import asyncio
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.store.contract import ByteRange, Request
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3.testing.cutting import cutting
from zarrv3_store_obstore import ObjectStore
from zarrv3_store_obstore.requests import Part, Requests, Span

Make = Callable[..., ObjectStore]


class TestS3(InterruptConformance, StoreConformance):
    """An `ObjectStore` over S3."""

    examples = 4
    steps = 20

    @pytest.fixture
    def opener(self, s3_store: Make) -> Opener:
        """Every call opens the same folder of a bucket."""
        return s3_store


class TestAzure(InterruptConformance, StoreConformance):
    """An `ObjectStore` over Azure's storage."""

    examples = 4
    steps = 20

    @pytest.fixture
    def opener(self, azure_store: Make) -> Opener:
        """Every call opens the same folder of a container."""
        return azure_store


class TestGoogle(InterruptConformance, StoreConformance):
    """An `ObjectStore` over Google's storage."""

    examples = 4
    steps = 20

    @pytest.fixture
    def opener(self, google_store: Make) -> Opener:
        """Every call opens the same folder of a bucket."""
        return google_store


class TestWeb(StoreConformance):
    """An `ObjectStore` over web servers."""

    @pytest.fixture
    def opener(self, web: tuple[str, Path]) -> Opener:
        """Every call opens the same folder."""
        (web[1] / "k").write_bytes(b"value")
        return partial(ObjectStore, web[0])


def test_requests_are_counted(s3: Any, s3_store: Make) -> None:
    """A key is one request, whole, in part, measured or from its end; a thousand erasures are one, a listing is one."""
    store = s3_store()
    items = {f"f/{i}": bytes(range(100)) for i in range(12)}
    keys = [*items]
    store.update(items)
    versions = store.get_versioned(keys)
    swaps = {key: (version, b"v" * 100) for key, (_, version) in zip(keys, versions, strict=True)}
    near = [Request("f/1", ByteRange(i, i + 2)) for i in range(0, 90, 3)]
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: store.update(items),
        "read": lambda: store.getitems(keys),
        "missing": lambda: store.get("none"),
        "ranges": lambda: store.get_many(near),
        "suffix": lambda: store.get_many([Request("f/1", ByteRange(-5)), Request("f/2", ByteRange(-5))]),
        "from the end": lambda: store.get_many([Request("f/1", ByteRange(2, -5))]),
        "behind the end": lambda: store.get_many([Request("f/1", ByteRange(200, 300))]),
        "sizes": lambda: store.stat_many([*keys, "none"]),
        "versions": lambda: store.get_versioned([*keys, "none"]),
        "swap": lambda: store.swap_many(swaps),
        "list": store.list,
        "list_dir": lambda: [*store.list_dir("f/")],
        "list_sizes": lambda: [*store.list_sizes("f/")],
        "erase": lambda: store.delitems(keys[:6]),
        "erase_prefix": lambda: store.rmdir("f"),
    }
    assert {name: len(s3.requests(call)) for name, call in calls.items()} == {
        "write": 12, "read": 12, "missing": 1, "ranges": 1, "suffix": 2, "from the end": 1, "behind the end": 2,
        "sizes": 13, "versions": 13, "swap": 12, "list": 1, "list_dir": 1, "list_sizes": 1, "erase": 1, "erase_prefix": 2,
    }  # fmt: skip


def test_markers_of_folders_are_hidden(s3: Any, s3_store: Make) -> None:
    """The empty objects `folder/` of other tools are not keys, even where nothing else lies there; an empty value beside them is one."""
    store = s3_store()
    store.update({"empty": b"", "empty/x": b"1", "both": b"12", "alone": b"", "f/k": b"3"})
    place = s3_store.args[0].removeprefix("s3:/")  # type: ignore[attr-defined]
    connection = HTTPConnection(s3.address, timeout=30)
    for marker in ("", "f/", "both/", "nothing/"):
        connection.request("PUT", f"{place}/{marker}", headers={"Content-Length": "0"})
        connection.getresponse().read()
    connection.close()
    assert dict(store.list_sizes("")) == {"alone": 0, "both": 2, "empty": 0, "empty/x": 1, "f/k": 1}
    assert sorted(store.list()) == ["alone", "both", "empty", "empty/x", "f/k"]
    assert [*store.list_prefix("f/")] == [*store.list_dir("f/")] == ["f/k"]
    assert [*store.list_prefix("nothing/")] == [*store.list_dir("nothing/")] == []
    assert {"alone", "both", "empty", "empty/", "f/"} <= {*store.list_dir("")}
    store.clear()
    assert store.list() == []


def test_an_array_costs_a_request_a_chunk(s3: Any, s3_store: Make) -> None:
    """An array is written and read with one request for each chunk and none besides; part of a chunk costs two."""
    array = zarrv3.create_array(s3_store(), name="whole", shape=(160,), chunks=(1,), dtype="u2")
    values = np.arange(1, 161, dtype="u2")
    assert len(s3.requests(lambda: array.__setitem__(..., values))) == 160
    assert len(s3.requests(lambda: array[...])) == 160
    assert (array[...] == values).all()
    parts = zarrv3.create_array(s3_store(), name="parts", shape=8, chunks=4, dtype="u2")
    parts[:] = 1
    assert len(s3.requests(lambda: parts.__setitem__(slice(2, 6), 2))) == 4


def test_pieces_of_two_versions_are_read_again(s3_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces far apart that are of two versions of an object are read once more, as one value."""
    store = s3_store()
    old, new = bytes(200_000), bytes([1]) * 200_000
    store["k"] = old
    get, spans = Requests.get, []

    async def late(self: Requests, span: Span) -> Part | None:
        found = await get(self, span)
        spans.append(span)
        if len(spans) == 1:
            await self.put(("k", new))
        return found

    monkeypatch.setattr(Requests, "get", late)
    first, last = store.get_many([Request("k", ByteRange(0, 2)), Request("k", ByteRange(199_000, 199_002))])
    assert (bytes(first or b""), bytes(last or b"")) in {(new[:2], new[:2]), (old[:2], old[:2])}


def test_the_end_of_an_object_is_remembered(s3: Any, s3_store: Make) -> None:
    """It is asked for once, as long as what is read beside it has the etag that it had; then both are read again."""
    store, other = s3_store(), s3_store()
    asked = [Request("k", ByteRange(0, 2)), Request("k", ByteRange(199_998, 200_001))]

    def read() -> tuple[int, list[bytes | None]]:
        found: list[bytes | None] = []
        count = len(
            s3.requests(
                lambda: found.extend(None if one is None else bytes(one) for one in store.get_many(asked))
            )
        )
        return count, found

    values = {number: bytes([number]) * 200_000 for number in range(4)}
    store["k"] = values[0]
    assert [read() for _ in range(3)] == [(count, [b"\0\0", b"\0\0"]) for count in (2, 1, 1)]
    other["k"] = values[1]
    assert [read() for _ in range(2)] == [(3, [b"\1\1", b"\1\1"]), (1, [b"\1\1", b"\1\1"])]
    store["k"] = values[2]
    assert [read() for _ in range(2)] == [(2, [b"\2\2", b"\2\2"]), (1, [b"\2\2", b"\2\2"])]
    store.swap_many({"k": (store.get_versioned(["k"])[0][1], values[3])})
    assert [read() for _ in range(2)] == [(2, [b"\3\3", b"\3\3"]), (1, [b"\3\3", b"\3\3"])]
    assert (
        len(s3.requests(lambda: store.get_many(asked[1:]))) == 1
    )  # alone, nothing would say that it is still there
    other["k"] = values[1][:199_998]
    assert read() == (4, [b"\1\1", b""])
    del other["k"]
    assert read()[1] == [None, None]


def test_an_element_of_a_shard_costs_a_request(s3_store: Make, s3: Any) -> None:
    """Elements of a shard cost one request each when its index is known to belong to what comes."""
    array = zarrv3.create_array(
        s3_store(), shape=400_000, chunks=40_000, shards=400_000, dtype="u1", compressors=None
    )
    array[:] = 7
    for place in (1, 50_000):
        assert array[place] == 7
    assert [len(s3.requests(lambda place=place: array[place])) for place in range(3, 400_000, 90_000)] == [
        1
    ] * 5


def test_a_call_within_an_event_loop(s3_store: Make) -> None:
    """Calls wait within the loop of another thread as anywhere, and leave it to what it was doing."""
    store = s3_store()
    store.update({f"k{number}": b"v" for number in range(9)})

    async def work() -> bool:
        loop = asyncio.get_running_loop()
        assert len(store.getitems([f"k{number}" for number in range(9)])) == 9
        await asyncio.sleep(0)
        return asyncio.get_running_loop() is loop

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(asyncio.run, work()).result()


def test_requests_that_stand_alone_know_no_version(s3_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of an object in one piece is right at its ends, behind them, and where there is nothing at all."""
    store = s3_store()
    value = bytes(range(200))
    store.write_many({"k": value, "empty": b""})
    versions = []
    whole = Requests._whole_answer
    monkeypatch.setattr(
        Requests, "_whole_answer", lambda self, span: versions.append(span) or whole(self, span)
    )
    for wanted in (
        None,
        ByteRange(),
        ByteRange(0, 3),
        ByteRange(150, 1000),
        ByteRange(199),
        ByteRange(7, -7),
    ):
        for keys in (["k"], ["k", "none", "empty"]):
            found = [
                None if one is None else bytes(one)
                for one in store.get_many([Request(k, wanted) for k in keys])
            ]
            part = slice(None) if wanted is None else slice(wanted.start, wanted.stop)
            assert found == [value[part], None, b""][: len(keys)]
    assert not versions
    assert store.get_many([Request("k", ByteRange(200)), Request("k2", None)]) == [b"", None]


def test_a_swap_whose_answer_is_lost_is_sent_once(s3: Any, s3_store: Make) -> None:
    """It is an error that may be retried, never a refusal, and was made once, on connections that were used before."""
    with cutting(s3.address) as proxy, s3_store(endpoint_url=proxy.url) as store:
        store["k"] = b"1"
        for new in (b"2", b"3"):
            ((_, version),) = store.get_versioned(["k"])
            proxy.cut, proxy.lost = {"PUT"}, []
            with pytest.raises(StoreUnavailableError) as caught:
                store.swap_many({"k": (version, new)})
            assert caught.value.retryable
            assert proxy.lost == ["PUT"]
            proxy.cut = set()
            assert store.get("k") == new


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_library_of_its_own(s3_store: Make) -> None:
    """A child neither hangs nor disturbs its parent, whose requests go on, also after the child has ended."""
    store = s3_store()
    store["k"] = b"parent"
    for turn in range(3):
        child = os.fork()
        if not child:
            code = 1
            try:
                store[f"child/{turn}"] = bytes(store["k"])
                code = 0
            finally:
                os._exit(code)
        assert store["k"] == b"parent"
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store[f"child/{turn}"] == b"parent"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_has_obstore_already(s3: Any) -> None:
    """Where somebody else uses obstore, and forks, a child's stores work; they have a library of their own from the start."""
    program = f"""
import os
import obstore
from obstore.store import MemoryStore
memory = MemoryStore()
obstore.put(memory, "k", b"v")
from zarrv3_store_obstore import ObjectStore
store = ObjectStore("s3://{s3.bucket}/taken", **{s3.options!r})
child = os.fork()
store[f"of/{{bool(child)}}"] = b"v"
if not child:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert bytes(obstore.get(memory, "k").bytes()) == b"v"
assert sorted(store) == ["of/False", "of/True"]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


def test_options_and_urls(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL says all; secrets come from the environment and are shown nowhere; unknown and unfit options are refused."""
    monkeypatch.setenv("S3_SECRET", "zarrv3-secret")
    url = (
        f"obstore+s3://{s3.bucket}/by-url?key=zarrv3-key&secret=${{S3_SECRET}}"
        f"&endpoint_url={s3.options['endpoint_url']}&conditional_writes=true&retries=0"
    )
    array = zarrv3.create_array(url, shape=4, chunks=2, dtype="i4")
    array[:] = range(4)
    assert zarrv3.open_array(url)[...].tolist() == [0, 1, 2, 3]
    store = array.store
    assert "zarrv3-secret" not in repr(store) + str(store.describe())
    assert pickle.loads(pickle.dumps(store)) == store
    assert sorted(store) == ["c/0", "c/1", "zarr.json"]
    with pytest.raises(ConfigurationError, match="'no_such_option'"):
        ObjectStore("s3://bucket/path", no_such_option="1").get("k")
    for bad, text in [
        ("ftp://host/path", "obstore opens s3://"),
        ("s3:///path", "lacks the name of a bucket"),
        ("https:///path", "lacks the name of a host"),
    ]:
        with pytest.raises(ConfigurationError, match=text):
            ObjectStore(bad)
    with pytest.raises(ConfigurationError, match=r"obstore\+s3://bucket/path"):
        zarrv3.open("obstore://bucket/path")


@pytest.mark.parametrize(
    ("url", "options", "swaps"),
    [
        ("s3://b/p", {}, True),
        ("s3://b/p", {"endpoint_url": "https://s3.eu-west-1.amazonaws.com"}, True),
        ("s3://b/p", {"endpoint_url": "https://minio.example"}, False),
        ("s3://b/p", {"endpoint_url": "https://amazonaws.com.example"}, False),
        ("s3://b/p", {"endpoint_url": "https://minio.example", "conditional_writes": True}, True),
        ("s3://b/p", {"conditional_writes": False}, False),
        ("gs://b/p", {"token": "anon"}, True),
        ("gs://b/p", {"endpoint_url": "http://127.0.0.1:1", "anon": True}, False),
        ("az://c/p", {"account_name": "a", "account_key": "a2V5"}, True),
        ("abfs://c@a.dfs.core.windows.net/p", {"anon": True}, True),
        ("https://host/p", {}, False),
        ("s3://b/p", {"mode": "r"}, False),
    ],
)
def test_what_is_claimed(
    url: str, options: dict[str, Any], swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swaps are claimed where the provider itself is spoken to or the user says so; nothing is sent to find out."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    can = ObjectStore(url, **options).capabilities
    assert (can.swap, can.swap_erases) == (swaps, False)


def test_another_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that the environment names counts as one that an option names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    assert not ObjectStore("s3://b/p").capabilities.swap


def test_failures(s3: Any, s3_store: Make) -> None:
    """A bucket that is not there refuses writes, an unreachable server is an error with its time-outs, a bad name as well."""
    elsewhere = ObjectStore("s3://no-such-bucket/p", **s3.options)
    with pytest.raises(StoreAccessError, match="cannot write 'k'"):
        elsewhere["k"] = b"v"
    with pytest.raises(StoreAccessError, match="bucket does not exist") as refused:
        elsewhere.swap_many({"k": (None, b"v")})  # not that somebody else was faster
    assert "Debug source" not in str(refused.value)
    with pytest.raises(StoreAccessError, match="bucket does not exist") as caught:
        [*elsewhere.list_dir("")]
    assert not isinstance(caught.value, StoreUnavailableError)  # which would be tried again
    with pytest.raises(InvalidKeyError, match="does not keep in names"):
        s3_store()["a\tb"] = b"v"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gone = ObjectStore("s3://b/p", **{**s3.options, "endpoint_url": f"http://127.0.0.1:{port}"}, retries=1)
    with pytest.raises(StoreUnavailableError, match=r"connect_timeout=3\.0") as caught:
        gone.get("k")
    assert "zarrv3-secret" not in str(caught.value)
    assert not isinstance(caught.value, StoreTimeoutError)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = {**s3.options, "endpoint_url": address, "read_timeout": 0.1}
        with pytest.raises(StoreTimeoutError, match=r"read_timeout=0\.1"):
            ObjectStore("s3://b/p", **options, retries=0).get("k")
    with pytest.raises(UnsupportedError, match="list"):
        [*ObjectStore("http://127.0.0.1:1/p")]


def test_arrays_over_web_servers(web: tuple[str, Path]) -> None:
    """An array behind a web server reads whole and in part, its shards too, whatever the server makes of ranges."""
    url, folder = web
    values = np.arange(400).reshape(20, 20)
    array = zarrv3.create_array(str(folder), shape=(20, 20), chunks=(5, 5), shards=(10, 10), dtype="i8")
    array[:] = values
    served = zarrv3.open_array(f"obstore+{url}", mode="r")
    assert (served[...] == values).all()
    assert (served[3:7, 9:12] == values[3:7, 9:12]).all()
