"""S3: what is asked of the server, conditions, failures; against moto's server over HTTP."""

import pickle
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    LimitError,
    NodeExistsError,
    StoreAccessError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.store.contract import ByteRange, Request, Version
from zarrv3.testing.cutting import cutting
from zarrv3_serve.s3.testing import server as s3_with_keys
from zarrv3_store_fsspec import FSStore, systems

Opener = Callable[..., FSStore]


def test_requests_are_counted(s3: Any, s3_store: Opener) -> None:
    """A key is one request, whole, in part or measured; a thousand erasures are one, a listing is one."""
    if s3.log is None:
        pytest.skip("counts need our own server")
    store = s3_store()
    store.get("warm")
    items = {f"f/{i}": bytes(range(100)) for i in range(12)}
    keys = [*items]
    store.update(items)
    swaps = {
        key: (version, b"v" * 100) for key, (_, version) in zip(keys, store.get_versioned(keys), strict=True)
    }
    counts = {
        "write": len(s3.requests(lambda: store.update(items))),
        "read": len(s3.requests(lambda: store.getitems(keys))),
        "missing": len(s3.requests(lambda: store.get("none"))),
        "ranges": len(
            s3.requests(
                lambda: store.get_many([Request("f/1", ByteRange(i, i + 2)) for i in range(0, 90, 3)])
            )
        ),
        "suffix": len(
            s3.requests(
                lambda: store.get_many([Request("f/1", ByteRange(-5)), Request("f/2", ByteRange(-5))])
            )
        ),
        "from the end": len(s3.requests(lambda: store.get_many([Request("f/1", ByteRange(2, -5))]))),
        "in": len(s3.requests(lambda: "f/1" in store)),
        "list": len(s3.requests(store.list)),
        "sizes": len(s3.requests(lambda: store.stat_many([*keys, "none"]))),
        "versions": len(s3.requests(lambda: store.get_versioned([*keys, "none"]))),
        "swap": len(s3.requests(lambda: store.swap_many(swaps))),
        "list_dir": len(s3.requests(lambda: [*store.list_dir("f/")])),
        "getsize": len(s3.requests(lambda: [*store.list_sizes("f/")])),
        "erase": len(s3.requests(lambda: store.delitems(keys[:6]))),
        "erase_prefix": len(s3.requests(lambda: store.rmdir("f"))),
    }
    assert counts == {
        "write": 12, "read": 12, "missing": 1, "ranges": 1, "suffix": 2, "from the end": 2, "in": 1,
        "sizes": 13, "versions": 13, "swap": 12, "list": 1, "list_dir": 1, "getsize": 1, "erase": 1, "erase_prefix": 2,
    }  # fmt: skip


def test_an_array_costs_a_request_a_chunk(s3: Any, s3_store: Opener) -> None:
    """An array is written and read with one request for each chunk and none besides: nothing is asked about beforehand."""
    if s3.log is None:
        pytest.skip("counts need our own server")
    array = zarrv3.create_array(s3_store(), shape=(160,), chunks=(1,), dtype="u2")
    values = np.arange(1, 161, dtype="u2")

    def write() -> None:
        array[...] = values

    written, read = s3.requests(write), s3.requests(lambda: array[...])
    assert (len(written), sum("PUT /" in line for line in written)) == (160, 160)
    assert (len(read), sum("GET /" in line for line in read)) == (160, 160)
    assert (array[...] == values).all()


def test_an_array_by_url(s3: Any, folder: str) -> None:
    """An array is written and read through a URL whose options are those of s3fs, and opens in another process's way."""
    options = "&".join(f"{k}={str(v).lower() if v is True else v}" for k, v in s3.options.items())
    array = zarrv3.create_array(f"{folder}?{options}", shape=(30, 30), chunks=(7, 7), dtype="f4")
    values = np.arange(900, dtype="f4").reshape(30, 30)
    array[...] = values
    again = zarrv3.open_array(array.store.spec(), mode="r")
    assert (again[3:25, 8] == values[3:25, 8]).all()
    assert pickle.loads(pickle.dumps(array.store)) == array.store
    assert "zarrv3-secret" not in f"{array.store!r} {array!r}"


def test_listings_are_never_stale(s3: Any, folder: str) -> None:
    """What others write is listed at once, also through a file system object that remembers listings (defect 18)."""
    from s3fs import S3FileSystem

    options = {k: v for k, v in s3.options.items() if k != "conditional_writes"}
    fs = S3FileSystem(**options, use_listings_cache=True, skip_instance_cache=True)
    for store in (FSStore(folder, **s3.options), FSStore(folder, fs=fs)):
        assert [*store.list_dir("f/")] == []
        s3.plain().pipe(f"{folder}/f/k", b"v")
        assert ([*store.list_dir("f/")], store.list(), store.getsize()) == (["f/k"], ["f/k"], 1)
        s3.plain().rm(f"{folder}/f/k")
        assert ([*store.list_dir("f/")], store.list(), "f/k" in store) == ([], [], False)


def test_markers_of_folders_are_hidden(s3: Any, s3_store: Opener, folder: str) -> None:
    """Empty objects `folder/` that other tools make, and names that are not keys, are not listed."""
    place = folder.removeprefix(f"s3://{s3.bucket}/")
    for name in ("", "f/", "g/", "f//x"):
        s3.plain().call_s3("put_object", Bucket=s3.bucket, Key=f"{place}/{name}", Body=b"")
    store = s3_store()
    store["f/k"] = b"v"
    assert (store.list(), sorted(store.list_dir("")), [*store.list_dir("f/")]) == (
        ["f/k"],
        ["f/", "g/"],
        ["f/k"],
    )
    assert dict(store.list_sizes("")) == {"f/k": 1}


def test_patterns_are_names(s3_store: Opener) -> None:
    """Keys with `*`, `?` and `[` are erased alone: fsspec's own rm would take others with them."""
    store = s3_store()
    store.update(dict.fromkeys(["a*", "ab", "ac", "a?", "[ab]c", "bc", "d*/k", "dx/k"], b"v"))
    store.delitems(["a*", "[ab]c"])
    store.rmdir("d*")
    assert sorted(store) == ["a?", "ab", "ac", "bc", "dx/k"]


def test_conditions_are_claimed_where_they_hold(s3: Any, folder: str) -> None:
    """Without a word about another server than Amazon's, nothing is claimed that it might ignore."""
    options = {**s3.options, "conditional_writes": None}
    store = FSStore(folder, **options)
    assert not store.capabilities.swap
    with pytest.raises(UnsupportedError, match="cannot swap values atomically"):
        store.swap_many({"k": (None, b"v")})
    assert s3.options["conditional_writes"]


_PROFILES = """
[default]
region=us-east-1
[profile server]
endpoint_url=http://127.0.0.1:9
[profile services]
services=ours
[services ours]
s3 =
  endpoint_url=http://127.0.0.1:9
"""


@pytest.mark.parametrize(
    ("options", "environment", "claimed"),
    [
        ({"anon": True}, {}, True),
        ({"profile": "default"}, {}, True),
        ({"endpoint_url": "https://s3.eu-west-1.amazonaws.com"}, {}, True),
        ({"endpoint_url": "http://127.0.0.1:9"}, {}, False),
        ({"endpoint_url": "http://evil-amazonaws.com"}, {}, False),
        ({"client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}, {}, False),
        ({"profile": "server"}, {}, False),
        ({"profile": "services"}, {}, False),
        ({"profile": "none"}, {}, False),
        ({}, {"AWS_PROFILE": "server"}, False),
        ({}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, False),
        ({}, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, False),
        ({"conditional_writes": False}, {}, False),
        ({"conditional_writes": True}, {"AWS_PROFILE": "server"}, True),
    ],
)
def test_amazon_is_known_by_its_endpoint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    environment: dict[str, str],
    claimed: bool,
) -> None:
    """Swaps are claimed where neither options nor environment nor the profile name another server."""
    (tmp_path / "config").write_text(_PROFILES)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_CONFIG_FILE": str(tmp_path / "config"), **environment}.items():
        monkeypatch.setenv(name, value)
    assert FSStore("s3://bucket/x", **options, skip_instance_cache=True).capabilities.swap is claimed


def test_swaps_are_conditions_of_the_server(s3_store: Opener) -> None:
    """The version is the etag; what another writer changed, erased or created is refused, the rest is written."""
    store, other = s3_store(), s3_store()
    store.update({"a": b"1", "b": b"2", "c": b"3", "d": b"4"})
    versions: dict[str, Version | None] = {
        key: version for key, (_, version) in zip("abcdx", store.get_versioned([*"abcdx"]), strict=True)
    }
    assert versions["a"] == store.driver.files.fs.info(store.driver.path("a"))["ETag"]  # type: ignore[attr-defined]
    assert versions["x"] is None
    other.write_many({"b": b"theirs", "c": None})
    swaps = {key: (version, b"ours") for key, version in versions.items()} | {"d": (versions["d"], None)}
    assert {*store.swap_many(swaps)} == {"b", "c"}
    assert dict(store.items()) == {"a": b"ours", "b": b"theirs", "x": b"ours"}
    assert [*store.swap_many({"a": (None, None), "y": (None, None)})] == ["a"]


def test_writes_that_met_another_are_compared_again(
    s3_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When S3 asks for a conditional write to be sent again, it is; when it never takes it, the key is refused."""
    store = s3_store()
    store.update({"a": b"1", "b": b"1"})
    (_, a), (_, b) = store.get_versioned(["a", "b"])
    access = store.driver.files  # type: ignore[attr-defined]
    real, met = access._put, {"a": 3, "b": 1000}

    async def put(path: str, *how: Any) -> None:
        met[path[-1]] -= 1
        if met[path[-1]] >= 0:
            error = OSError("conflict")
            error.response = {"Error": {"Code": "ConditionalRequestConflict"}}  # type: ignore[attr-defined]
            raise error
        await real(path, *how)

    monkeypatch.setattr(access, "_put", put)
    assert [*store.swap_many({"a": (a, b"2"), "b": (b, b"2")})] == ["b"]
    assert dict(store.items()) == {"a": b"2", "b": b"1"}


def test_a_swap_whose_answer_is_lost_is_sent_once(s3: Any, folder: str) -> None:
    """It is an error that may be retried, never a refusal, and was made once, on connections that were used before."""
    target = s3.options["endpoint_url"].removeprefix("http://")
    with cutting(target) as proxy, FSStore(folder, **{**s3.options, "endpoint_url": proxy.url}) as store:
        store["k"] = b"1"
        for new in (b"2", b"3", None):
            ((_, version),) = store.get_versioned(["k"])
            proxy.cut, proxy.lost = {"PUT", "DELETE"}, []
            with pytest.raises(StoreUnavailableError) as caught:
                store.swap_many({"k": (version, new)})
            assert caught.value.retryable
            assert proxy.lost == ["DELETE" if new is None else "PUT"]
            proxy.cut = set()
            assert store.get("k") == new


def test_refused_erasures_are_errors(s3_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 says it did not erase is an error: s3fs itself passes over it."""
    store = s3_store()
    store["k"] = b"v"
    fs = store.driver.files.fs  # type: ignore[attr-defined]
    real = fs._call_s3

    async def call(method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "delete_objects":
            return {"Errors": [{"Key": "k", "Code": "AccessDenied", "Message": "no"}]}
        return await real(method, *args, **kwargs)

    monkeypatch.setattr(fs, "_call_s3", call)
    with pytest.raises(StoreAccessError, match="did not erase 'k': AccessDenied"):
        store.write_many({"k": None})


def test_a_refused_permission_is_not_a_missing_key(s3_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """When S3 refuses, a partial write fails and the chunk stays as it was (defect 12)."""
    store = s3_store()
    array = zarrv3.create_array(store, shape=4, chunks=4, dtype="i4")
    array[:] = [1, 2, 3, 4]
    fs = store.driver.files.fs  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:

        async def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError("Access Denied")

        patched.setattr(fs, "_call_s3", refuse)
        with pytest.raises(StoreAccessError, match="Access Denied"):
            array[0] = 9
    assert list(array[:]) == [1, 2, 3, 4]


def test_a_refused_login_is_never_a_missing_key(s3_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """`missing_exceptions` takes S3's "access denied" for missing, not that the keys have expired."""
    store = s3_store(missing_exceptions="PermissionError")
    code = ""

    async def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError from ClientError({"Error": {"Code": code}}, "GetObject")

    monkeypatch.setattr(store.driver.files.fs, "_call_s3", refuse)  # type: ignore[attr-defined]
    code = "AccessDenied"
    assert (store.get("k"), store.stat_many(["k"])) == (None, [None])
    code = "ExpiredToken"
    for call in (lambda: store.get("k"), lambda: store.stat_many(["k"])):
        with pytest.raises(StoreAccessError):
            call()


def test_a_wrong_secret_is_never_a_missing_key(tmp_path: Path) -> None:
    """Nor is it for sizes, though an answer to HEAD does not say why it is refused."""
    with s3_with_keys(str(tmp_path), bucket="lab", writable=True, keys={"me": "right"}) as address:
        options = {"endpoint_url": address, "key": "me", "region": "us-east-1"}
        store = FSStore("s3://lab/x", secret="wrong", missing_exceptions="PermissionError", **options)
        for call in (lambda: store.get("k"), lambda: store.stat_many(["k"])):
            with pytest.raises(StoreAccessError):
                call()
        assert FSStore("s3://lab/x", secret="right", **options).stat_many(["k"]) == [None]


def test_who_pays(s3: Any, folder: str) -> None:
    """With `requester_pays`, every request says so."""
    if s3.log is None:
        pytest.skip("requests need our own server")
    store = FSStore(folder, requester_pays=True, **s3.options)
    store.get("warm")

    def use() -> None:
        store.update(a=b"1", b=b"2")
        store.swap_many({"a": (store.get_versioned(["a"])[0][1], b"3")})
        assert store.get_many([Request("a"), Request("b", ByteRange(-1))]) == [b"3", b"2"]
        assert store.stat_many(["a"]) == [1]
        assert sorted(store.list()) == ["a", "b"]
        store.clear()

    assert all(line.endswith("requester") for line in s3.requests(use))


def test_keys_that_it_cannot_hold(s3_store: Opener) -> None:
    """Control characters and what s3fs takes for a version are refused, and never another key's value is read."""
    store = s3_store()
    store["a"] = b"v"
    for key in ("a?versionId=1", "new\nline", "\x01"):
        with pytest.raises(InvalidKeyError, match="control character or"):
            store[key] = b"x"
        assert store.get(key) is None
        assert key not in store
        store.write_many({key: None})
    with pytest.raises(LimitError, match="keys of at most"):
        store["k" * 1024] = b"x"
    assert dict(store.items()) == {"a": b"v"}


def test_a_missing_bucket(s3: Any) -> None:
    """A bucket that is not there reads as empty, refuses writes, and is made on request."""
    store = FSStore("s3://no-such-bucket-zarrv3/x", **s3.options)
    assert (store.get("k"), store.list(), [*store.list_dir("")]) == (None, [], [])
    with pytest.raises(StoreAccessError, match="bucket does not exist"):
        store["k"] = b"v"
    if s3.log is not None:
        made = FSStore("s3://made-by-zarrv3/x", create=True, check=True, **s3.options)
        made["k"] = b"v"
        assert made.list() == ["k"]
    with pytest.raises(ConfigurationError, match="name of a bucket"):
        FSStore("s3://", **s3.options).get("k")


def test_an_unreachable_server(folder: str) -> None:
    """Nobody listening is an error soon, without the secret."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    store = FSStore(folder, endpoint_url=endpoint, key="name", secret="s3cret-word")
    begun = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="Could not connect to the endpoint URL") as caught:
        store.get("k")
    assert time.monotonic() - begun < 15
    assert "s3cret" not in f"{caught.value} {store!r}"


def test_a_server_that_does_not_answer(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is given up; the error names the time-outs and the option."""
    monkeypatch.setattr(systems, "ANSWER", 0.2)
    monkeypatch.setattr(systems, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = FSStore(folder, endpoint_url=endpoint, key="name", secret="word")
        with pytest.raises(StoreUnavailableError, match=r"read_timeout=0.2 s.*option config_kwargs"):
            store.get("k")


def test_the_same_bucket_by_other_names(s3: Any, folder: str) -> None:
    """A copy onto its source by another name of the server, or through a file system object, is refused; nothing is lost."""
    source = FSStore(folder, **s3.options)
    zarrv3.create_array(source, name="a", data=[1, 2])
    alias = {**s3.options, "endpoint_url": s3.options["endpoint_url"].replace("127.0.0.1", "localhost")}
    place = folder.removeprefix("s3://")
    for dest in (FSStore(folder, **alias), FSStore(f"{folder}/a", **alias), FSStore(place, fs=s3.plain())):
        with pytest.raises(NodeExistsError, match="same place"):
            zarrv3.copy(source, dest, overwrite=True)
    assert zarrv3.open_array(source, path="a")[:].tolist() == [1, 2]
