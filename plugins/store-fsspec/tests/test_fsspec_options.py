"""Options and URLs of `FSStore`, and file systems that the user made."""

import json
import pickle
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    NodeExistsError,
    ReadOnlyError,
    StoreAccessError,
)
from zarrv3.store.contract import ByteRange, Request
from zarrv3_store_fsspec import FSStore
from zarrv3_store_fsspec.access import ObjectAccess
from zarrv3_store_fsspec.files import FileAccess

FIXTURE = Path(__file__).parents[4] / "shared" / "fixtures" / "draft_v3" / "fs_mixed"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a%20b?anon=true", {"url": "s3://bucket/a b", "anon": True}),
        (
            's3://b/x?client_kwargs={"region_name":"eu"}&mode=r',
            {"client_kwargs": {"region_name": "eu"}, "mode": "r"},
        ),
        ("s3://b/x?max_concurrency=4&normalize_keys=yes", {"max_concurrency": 4, "normalize_keys": True}),
        ("s3://b/x?anon=no&token=1234&key=12", {"anon": False, "token": "1234", "key": "12"}),
        (
            "sftp://me@host/x?key_filename=/k&timeout=1.5&allow_agent=no&port=22",
            {"key_filename": "/k", "timeout": 1.5, "allow_agent": False, "port": 22},
        ),
        ("smb://host/share?encrypt=no&timeout=5", {"encrypt": False, "timeout": 5}),
        (
            'fsspec+simplecache::s3://b/x?cache_storage=/copies&cache_check=0&s3={"anon":true}',
            {
                "url": "simplecache::s3://b/x",
                "cache_storage": "/copies",
                "cache_check": 0,
                "s3": {"anon": True},
            },
        ),
        ("https://host/a%20b?mode=r", {"url": "https://host/a%20b", "mode": "r"}),
        ("fsspec+memory://a/b", {"url": "memory://a/b"}),
        ("fsspec+file:///tmp/a", {"url": "file:///tmp/a"}),
        ("fsspec+simplecache::memory://a", {"url": "simplecache::memory://a"}),
    ],
)
def test_urls(url: str, expected: dict[str, Any]) -> None:
    """A URL gives the store's options and the file system's, with their types; the spec opens an equal store."""
    store = zarrv3.open_store(url)
    spec = store.spec()
    assert isinstance(store, FSStore)
    assert spec.items() >= {"store": "fsspec", **expected}.items()
    assert zarrv3.open_store(json.loads(json.dumps(spec))) == store


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "s3://bucket/x?anom=true",
            r"'s3' has no URL option 'anom'; did you mean 'anon'\?",
        ),
        ("sftp://host/x?key_file=/k", r"'sftp' has no URL option 'key_file'; .*key_filename"),
        ("fsspec+simplecache::s3://b/x?gs={}", r"no URL option 'gs'; .*cache_storage"),
        ("fsspec+nothing://x?a=1", "nothing"),
        ("fsspec://x", "names no file system"),
        ("s3:/bucket/x", "after 's3' comes '://'"),
        ("https:/host/x", "after 'https' comes '://'"),
        ("gs:bucket/x", "after 'gs' comes '://'"),
        ("s3://b/x?client_kwargs={oops", "is not JSON"),
        ("memory+x://y", "no store is called"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    """What makes no sense is refused with what would."""
    with pytest.raises((ConfigurationError, LookupError), match=message):
        zarrv3.open_store(url)


def test_bad_options() -> None:
    """Unknown protocols, missing packages and contradictions are errors of ours."""
    with pytest.raises(ConfigurationError, match="Protocol not known: nothing"):
        FSStore("nothing://x").get("k")
    with pytest.raises(ConfigurationError, match=r"needs a package that is not installed: .*adlfs"):
        FSStore("az://container/x").get("k")
    with pytest.raises(ConfigurationError, match=r"options \(anon\) go with a URL"):
        FSStore("/x", fs=MemoryFileSystem(), anon=True)
    with pytest.raises(ConfigurationError, match="takes 'r' or 'w', not 'x'"):
        FSStore("memory://x", mode="x")


def test_read_only() -> None:
    """With `mode='r'` values read and every write is refused, locally too."""
    for url in ("memory://read-only/x", "file:///tmp"):
        store = FSStore(url, mode="r")
        assert store.get("none") is None
        for call in (
            partial(store.update, k=b"v"),
            store.clear,
            partial(store.swap_many, {"k": (None, b"v")}),
        ):
            with pytest.raises(ReadOnlyError):
                call()


def test_keys_are_lowered(tmp_path: Path) -> None:
    """`normalize_keys` makes `foo` and `FOO` one key."""
    for url in ("memory://lowered/x", tmp_path.as_uri()):
        store = FSStore(url, normalize_keys=True)
        store["Foo/Bar"] = b"v"
        assert (store["FOO/bar"], store.list(), [*store.list_dir("FOO/")]) == (b"v", ["foo/bar"], ["FOO/bar"])
        store.rmdir("FOO")
        assert store.list() == []


def test_separators() -> None:
    """`key_separator` wins over `dimension_separator`."""
    assert FSStore("memory://x", key_separator=".", dimension_separator="/").dimension_separator == "."
    assert FSStore("memory://x", dimension_separator="/").dimension_separator == "/"


def test_check_and_create(tmp_path: Path) -> None:
    """`create` makes the root and `check` tries to write, both on first use; nothing else creates anything."""
    FSStore((tmp_path / "none").as_uri()).list()
    assert [*tmp_path.iterdir()] == []
    store = FSStore((tmp_path / "made").as_uri(), create=True, check=True)
    assert (store.list(), (tmp_path / "made").is_dir()) == ([], True)
    (tmp_path / "file").touch()
    with pytest.raises(StoreAccessError, match="is a file, not a folder"):
        FSStore((tmp_path / "file").as_uri(), check=True).list()


def test_upath(tmp_path: Path) -> None:
    """A `UPath` is a place like its URL with its options."""
    UPath(tmp_path / "a.zarr").mkdir()
    for place in (
        UPath("memory://upath/x"),
        UPath(tmp_path / "a.zarr"),
        UPath((tmp_path / "a.zarr").as_uri()),
    ):
        store = FSStore(place)
        store["k"] = b"v"
        assert (place / "k").read_bytes() == b"v"
        store.clear()
    FSStore("memory://upath/y")["k"] = b"v"
    cached = zarrv3.open_store(UPath("simplecache::memory://upath/y"))
    assert cached.list() == ["k"]
    assert zarrv3.open_store(cached.spec()) == cached
    assert zarrv3.open_store(UPath("memory://upath/x")) == FSStore("memory://upath/x")
    assert FSStore(UPath("s3://bucket/x", anon=True)) == FSStore("s3://bucket/x", anon=True)


def test_a_given_file_system(tmp_path: Path) -> None:
    """A file system object is used as it is, pickled by fsspec's means, and has no spec and no secrets in its repr."""
    fs = fsspec.filesystem("s3", key="name", secret="s3cret-word")
    store = FSStore("bucket/x", fs=fs)
    assert repr(store) == "<FSStore(url='bucket/x', fs=<S3FileSystem>)>"
    assert pickle.loads(pickle.dumps(store)) == store
    with pytest.raises(ConfigurationError, match="live object"):
        store.spec()
    folder = DirFileSystem(str(tmp_path), LocalFileSystem())
    FSStore("deep/er", fs=folder)["a/k"] = b"v"
    assert (tmp_path / "deep" / "er" / "a" / "k").read_bytes() == b"v"


def test_an_asynchronous_file_system(s3: Any, folder: str) -> None:
    """A file system made for another event loop is copied, not run in ours."""
    from s3fs import S3FileSystem

    options = {k: v for k, v in s3.options.items() if k != "conditional_writes"}
    store = FSStore(folder, fs=S3FileSystem(**options, asynchronous=True))
    store["k"] = b"v"
    assert store["k"] == b"v"


def test_the_scratch_folder_is_no_key() -> None:
    """Where half-written files lie, no key may."""
    with pytest.raises(InvalidKeyError, match="is reserved"):
        FSStore("memory://x")[".zarrv3-scratch/k"] = b"v"


@pytest.mark.parametrize("cache", ["simplecache", "filecache"])
def test_caches_of_fsspec(cache: str) -> None:
    """A cache of fsspec reads what is behind it and refuses writes: a partial write would bring back what is old."""
    root = f"memory://{cache}{uuid.uuid4().hex}/x"
    behind = FSStore(root)
    behind["f/k"] = b"0123456789"
    ways = [
        zarrv3.open_store(f"fsspec+{cache}::{root}"),
        FSStore(root.partition(":/")[2], fs=fsspec.filesystem(cache, fs=MemoryFileSystem())),
    ]
    for store in ways:
        assert store["f/k"] == b"0123456789"
        assert store.list() == ["f/k"]
        assert store.get_many([Request("f/k", ByteRange(2, -3)), Request("no")]) == [b"23456", None]
        with pytest.raises(ReadOnlyError):
            store["f/k"] = b"new"
    behind["f/k"] = b"new, and longer than the old one"
    parts = [Request("f/k", part) for part in (None, ByteRange(-3), ByteRange(2, -3), ByteRange(8, 12))]
    assert ways[0].get_many(parts) == [b"0123456789", b"789", b"23456", b"89"]
    assert ways[0].stat_many(["f/k"]) == [10]
    assert not zarrv3.open_store(f"fsspec+blockcache::{root}").capabilities.write


def test_a_cache_is_the_place_behind_it(tmp_path: Path) -> None:
    """What is read through a cache of fsspec is not overwritten by its other name."""
    plain, cached = (tmp_path / "x").as_uri(), f"fsspec+simplecache::{(tmp_path / 'x').as_uri()}"
    zarrv3.create_array(plain, data=[1, 2])
    given = FSStore(str(tmp_path / "x"), fs=fsspec.filesystem("filecache", fs=LocalFileSystem()))
    for source in (cached, given):
        with pytest.raises(NodeExistsError):
            zarrv3.copy(source, plain, overwrite=True)
    assert zarrv3.open_array(plain)[:].tolist() == [1, 2]


def test_wrappers_that_keep_nothing(tmp_path: Path) -> None:
    """Coroutines around local files are local files, which are replaced at once and can be swapped."""
    wrapped = DirFileSystem(str(tmp_path), AsyncFileSystemWrapper(LocalFileSystem()))
    store = FSStore("x", fs=wrapped)
    store["k"] = b"v"
    assert store.capabilities.swap
    assert (tmp_path / "x" / "k").read_bytes() == b"v"


class ShellFileSystem(AsyncFileSystem):
    """An asynchronous file system that can move files, as sshfs is."""

    protocol = "shell"

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Move a file."""


def test_asynchronous_is_not_an_object_store(s3: Any) -> None:
    """Files that can be moved are written aside and moved, whether or not their file system is asynchronous."""
    assert isinstance(FSStore("x", fs=ShellFileSystem()).driver.files, FileAccess)
    assert isinstance(FSStore("x/y", fs=s3.plain()).driver.files, ObjectAccess)


def test_obstores_file_system() -> None:
    """The file systems of obstore are read, though they take no range without an end."""
    obstore = pytest.importorskip("obstore.fsspec")
    store = FSStore("x.zarr", fs=obstore.FsspecStore("memory"))
    store["k"] = b"0123456789"
    parts = [Request("k", part) for part in (None, ByteRange(2, 5), ByteRange(-2), ByteRange(7))]
    assert store.get_many([*parts, Request("no")]) == [b"0123456789", b"234", b"89", b"789", None]
    assert store.list() == ["k"]


def test_a_file_system_is_not_a_place() -> None:
    """A file system object where a place is wanted is refused with what to write."""
    with pytest.raises(
        ConfigurationError, match=r"MemoryFileSystem is not a place; write FSStore\(path, fs=…\)"
    ):
        zarrv3.open(MemoryFileSystem())


def test_fsspecs_own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fsspec is configured with holds beside our time-outs, and given options win."""
    ours = {
        "config_kwargs": {"s3": {"addressing_style": "path"}, "read_timeout": 7},
        "key": "a",
        "secret": "b",
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", ours)
    fs = FSStore("s3://bucket/x", key="c", endpoint_url="http://127.0.0.1:9").driver.files.fs
    assert (fs.key, fs.secret, fs.config_kwargs["read_timeout"]) == ("c", "b", 7)
    assert fs.config_kwargs["s3"] == {"addressing_style": "path"}
    assert fs.config_kwargs["connect_timeout"] == 5


@pytest.mark.skipif(not FIXTURE.exists(), reason="the fixtures are not part of this copy of the project")
def test_old_stores_open() -> None:
    """A store that zarr-python 2 wrote with its FSStore is files, and is found by the same keys."""
    expected = {
        p.relative_to(FIXTURE / "store").as_posix(): p.read_bytes()
        for p in (FIXTURE / "store").rglob("*")
        if p.is_file()
    }
    store = FSStore((FIXTURE / "store").as_uri(), mode="r")
    assert dict(store.items()) == expected
    assert store.getsize() == sum(map(len, expected.values()))


@pytest.mark.parametrize(
    "url", ["s3:/bucket/x.zarr", "s3:bucket/x.zarr", "fsspec+gs:/bucket/x", "https:/host/x"]
)
def test_urls_without_a_host(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL that has lost a slash is refused; nothing is written into a folder of that name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"after .* comes"):
        zarrv3.create_array(url, shape=4, dtype="i4")
    assert not list(tmp_path.iterdir())
