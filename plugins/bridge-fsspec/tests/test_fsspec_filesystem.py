"""The file system itself: batches, modes, moving, secrets, forks and pickles."""

import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
import zarr

from zarrv3 import MemoryStore, open_store
from zarrv3.errors import ConfigurationError, ReadOnlyError
from zarrv3.layers.counting import Counting
from zarrv3.testing.interrupts import interruptions, unheard
from zarrv3_bridge_fsspec import StoreFileSystem
from zarrv3_bridge_fsspec.gathering import WINDOW

TIME = 60.0
"""Seconds after which a call is taken to hang."""

FILES = {f"/many/{i:03}": b"%d" % i for i in range(2 * WINDOW)}


@pytest.fixture
def counting() -> Counting:
    """A store in memory that counts."""
    return Counting(MemoryStore())


@pytest.fixture
def fs(counting: Counting) -> StoreFileSystem:
    """A file system over it."""
    return StoreFileSystem(counting)


def used(counting: Counting) -> dict[str, int]:
    """The calls since it was last asked, of each method that was called."""
    calls = {name: number for name, number in counting.calls.items() if number}
    counting.reset()
    return calls


def test_many_files_are_few_batches(fs: StoreFileSystem, counting: Counting, tmp_path: Path) -> None:
    """Of twice as many files as a batch holds, reading and writing, in any spelling, are two calls of the store each."""
    fs.pipe(FILES)
    assert used(counting) == {"write_many": 2}
    assert fs.cat([*FILES]) == FILES
    assert used(counting) == {"get_many": 2}
    assert fs.cat_ranges([*FILES], 0, 1) == [value[:1] for value in FILES.values()]
    assert used(counting) == {"get_many": 2}
    assert fs.sizes([*FILES]) == [len(value) for value in FILES.values()]
    assert used(counting) == {"stat_many": 2}
    fs.copy([*FILES], [f"/copies{name}" for name in FILES])
    calls = used(counting)
    assert calls.keys() == {"get_many", "write_many"}
    assert sum(calls.values()) <= 8
    fs.rm([*FILES])
    calls = used(counting)
    assert calls.keys() == {"stat_many", "write_many"}
    assert sum(calls.values()) <= 8
    assert sorted(counting) == [f"copies{name}" for name in FILES]


def test_folders_are_one_call(fs: StoreFileSystem, counting: Counting) -> None:
    """A folder is listed with sizes, moved and erased without a call for each of its files."""
    fs.pipe(FILES)
    used(counting)
    assert fs.find("/many", detail=True)["/many/300"] == {"name": "/many/300", "size": 3, "type": "file"}
    assert used(counting) == {"list_sizes": 1, "stat_many": 1}
    assert {one["size"] for one in fs.ls("/many")} == {1, 2, 3}
    assert used(counting) == {"list_dir": 1, "stat_many": 1}
    fs.mv("/many", "/moved/here", recursive=True)
    assert used(counting)["rename_prefix"] == 1
    fs.rm("/moved", recursive=True)
    assert used(counting) == {"stat_many": 1, "list_prefix": 1, "erase_prefix": 1}
    assert not fs.exists("/moved")
    assert fs.ls("") == []


@pytest.mark.parametrize("concurrency", [10, 128])
def test_chunks_are_read_in_batches(fs: StoreFileSystem, counting: Counting, concurrency: int) -> None:
    """What zarr-python asks for at once is one batch: the more it may ask for, the fewer there are."""
    with zarr.config.set({"async.concurrency": concurrency}):
        store = zarr.storage.FsspecStore(StoreFileSystem(counting, asynchronous=True), path="")
        array = zarr.create_array(store, shape=(640, 2), chunks=(1, 2), dtype="u1", compressors=None)
        array[:] = 1
        counting.reset()
        assert array[:].sum() == 1280
    assert counting.requested["get_many"] == 640
    assert counting.calls["get_many"] <= 640 // concurrency * 2


def test_parts_of_a_file(fs: StoreFileSystem) -> None:
    """A part is `value[start:end]`, whatever the two are."""
    value = b"0123456789"
    fs.pipe("a", value)
    for start in (None, 0, 3, -4, 20, -20):
        for end in (None, 0, 5, -2, 20, -20):
            assert fs.cat_file("a", start, end) == value[start:end], (start, end)


def test_missing_files(fs: StoreFileSystem) -> None:
    """What is not there is a `FileNotFoundError`, whatever is asked of it, and nothing is changed."""
    fs.pipe("there", b"1")
    calls: list[Any] = [fs.cat_file, fs.info, fs.ls, fs.rm, fs.open, fs.ukey]
    for call in calls:
        with pytest.raises(FileNotFoundError, match="gone"):
            call("gone")
    with pytest.raises(FileNotFoundError):
        fs.copy("gone", "there")
    with pytest.raises(FileNotFoundError):
        fs.mv("gone", "there")
    assert fs.cat("there") == b"1"
    with pytest.raises(IsADirectoryError):
        fs.cat_file("")


def test_moving_loses_nothing(fs: StoreFileSystem) -> None:
    """A folder that would be moved into itself, and a file onto itself, stay as they are."""
    fs.pipe({"/a/x": b"1", "/a/b/y": b"2", "/ab": b"3"})
    before = fs.cat("", recursive=True)
    for source, target in [("a", "a/b"), ("/a/", "a/new"), ("a", "/a/x/y")]:
        with pytest.raises(ValueError, match="into itself"):
            fs.mv(source, target, recursive=True)
    for source, target in [("a/x", "a/"), ("/a/*", "a")]:
        with pytest.raises(ValueError, match="copied to itself"):
            fs.mv(source, target)
    fs.mv("a", "/a", recursive=True)
    assert fs.cat("", recursive=True) == before


def test_moving_to_where_something_is(fs: StoreFileSystem) -> None:
    """A folder moves into one that is there; a file replaces another."""
    fs.pipe({"/a/x": b"1", "/b/y": b"2", "/c": b"3"})
    fs.mv("a", "b", recursive=True)
    fs.mv("c", "b/y")
    assert fs.cat("", recursive=True) == {"/b/a/x": b"1", "/b/y": b"3"}


def test_names_are_not_patterns(fs: StoreFileSystem, counting: Counting) -> None:
    """Erasing in an array called `a?`, and that array, leaves the array `ab`; patterns are for `rm` alone."""
    store = zarr.storage.FsspecStore(StoreFileSystem(counting, asynchronous=True), path="")
    group = zarr.create_group(store)
    for name in ("a?", "ab"):
        group.create_array(name, shape=4, chunks=2, dtype="i4", fill_value=0)[:] = 1
    group["a?"][:] = 0
    assert group["ab"][:].sum() == 4
    del group["a?"]
    assert [*group] == ["ab"]
    assert group["ab"][:].sum() == 4
    fs.pipe({"/x1": b"1", "/x?": b"2", "/y[1": b"3"})
    fs.rm("x?")
    assert fs.exists("x1")
    fs.rm(["x*", "y*"])
    assert fs.ls("", detail=False) == ["/ab", "/zarr.json"]


def test_a_key_below_a_key(fs: StoreFileSystem) -> None:
    """Where a store holds a key and others below it, all of them are found, and erased together."""
    fs.pipe({"/a": b"1", "/a/b": b"22"})
    assert fs.find("a") == ["/a", "/a/b"]
    assert fs.cat_file("a") == b"1"
    fs.rm("a", recursive=True)
    assert fs.find("") == []


def test_files_are_written_whole_or_not_at_all(fs: StoreFileSystem) -> None:
    """A value appears when its file is closed; after an error it does not; `xb` and `ab` keep what others wrote."""
    with fs.open("a", "wb") as file:
        file.write(b"first")
        assert not fs.exists("a")
    with pytest.raises(ZeroDivisionError), fs.open("a", "wb") as file:
        file.write(b"%d" % (file.write(b"half") / 0))
    assert fs.cat("a") == b"first"
    with fs.open("a", "at") as text:
        text.write(" and second")
    assert fs.cat("a") == b"first and second"
    late = fs.open("b", "xb")
    late.write(b"late")
    fs.pipe("b", b"early")
    with pytest.raises(FileExistsError):
        late.close()
    assert fs.cat("b") == b"early"
    with fs.transaction:
        fs.open("c", "wb").close()
        assert not fs.exists("c")
    assert fs.size("c") == 0
    with pytest.raises(ValueError, match="r\\+b"):
        fs.open("a", "r+b")


def test_appending_in_many_threads_loses_nothing(fs: StoreFileSystem) -> None:
    """What several writers append is all there."""

    def append(number: int) -> None:
        with fs.open("log", "ab") as file:
            file.write(b"%03d\n" % number)

    with ThreadPoolExecutor(8) as pool:
        [*pool.map(append, range(100))]
    assert sorted(fs.cat("log").split()) == [b"%03d" % number for number in range(100)]


def test_read_only_layers(tmp_path: Path) -> None:
    """What a layer refuses is refused with its error, which is a `PermissionError`."""
    fs, path = fsspec.url_to_fs(f"sqlite:///{tmp_path}/x.db|read-only:|zarr3:a/b")
    with pytest.raises(ReadOnlyError):
        fs.pipe(path, b"1")


def test_urls_of_other_stores_are_refused(tmp_path: Path) -> None:
    """A file system does not read in its own store what a URL names in another."""
    url, other = f"sqlite:///{tmp_path}/x.db", f"sqlite:///{tmp_path}/y.db"
    with fsspec.open(f"{url}|zarr3:a%23/b", "wb") as file:
        file.write(b"1")
    fs, path = fsspec.url_to_fs(f"{url}|zarr3:a%23")
    assert path == "/a#"
    assert fs.cat(f"{url}|zarr3:a%23/b") == b"1"
    assert fs.unstrip_protocol("/a#/b") == f"{url}|zarr3:a%23/b"
    for call in (fs.cat, fs.find, fs.glob, fs.exists, fs.rm):
        with pytest.raises(ConfigurationError, match="another store"):
            call(f"{other}|zarr3:a*")
    with pytest.raises(ConfigurationError, match="another store"):
        [file.open() for file in fsspec.open_files([f"{url}|zarr3:a%23/b", f"{other}|zarr3:a%23/b"])]


def test_options_make_a_store(tmp_path: Path) -> None:
    """Options are the store's, beside a URL or in place of one; an unknown one is named."""
    fs = fsspec.filesystem("sqlite", path=str(tmp_path / "x.db"), table="t", use_listings_cache=True)
    assert fs.store == open_store(f"sqlite:///{tmp_path}/x.db?table=t")
    assert fsspec.filesystem("sqlite", store=f"sqlite:///{tmp_path}/x.db", table="t").store == fs.store
    with pytest.raises(ConfigurationError, match="tabel"):
        fsspec.filesystem("sqlite", path=str(tmp_path / "x.db"), tabel="t")
    with pytest.raises(ConfigurationError, match="which store"):
        fsspec.filesystem("zarrv3")


def test_secrets_are_kept() -> None:
    """No password is in what people read, nor in what fsspec and Dask tell file systems apart by."""
    url = "redis://user:hunter22@localhost:1/0|lru-cache:"
    fs, path = fsspec.url_to_fs(url, asynchronous=True)
    by_option = fsspec.filesystem("redis", host="localhost", port=1, password="hunter22")
    other, _ = fsspec.url_to_fs(url.replace("hunter22", "hunter23"), asynchronous=True)
    zarrs = zarr.storage.FsspecStore(fs, path=path)
    shown = [repr(fs), str(fs), repr(zarrs), str(zarrs), fs.unstrip_protocol("/a"), repr(by_option)]
    shown += [str(fs.to_dict(include_password=False)), by_option.to_json(include_password=False)]
    shown += [repr(fsspec.open(f"{url}|zarr3:a")), fsspec.open(f"{url}|zarr3:a").full_name]
    assert not [text for text in shown if "hunter22" in text]
    assert type(fs)._cache == {}
    plain = fsspec.utils.tokenize(type(fs), os.getpid(), **fs.storage_options)
    assert fs.__dask_tokenize__() not in {plain, other.__dask_tokenize__()}
    assert fs == pickle.loads(pickle.dumps(fs)) != other
    assert fs == StoreFileSystem.from_json(fs.to_json())


def _child(fs: StoreFileSystem, answers: Any) -> None:
    fs.pipe("/from/child", b"2")
    answers.put(fs.cat("/from", recursive=True))


def test_forked_child(tmp_path: Path) -> None:
    """A file system that was in use is used in a forked child, and afterwards here."""
    fs, _ = fsspec.url_to_fs(f"lmdb://{tmp_path}/data")
    fs.pipe("/from/parent", b"1")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_child, args=[fs, answers])
    child.start()
    assert answers.get(timeout=60) == {"/from/child": b"2", "/from/parent": b"1"}
    child.join()
    assert fs.find("") == ["/from/child", "/from/parent"]
    fs.close()


def test_pickles(tmp_path: Path) -> None:
    """A file system, an open file and what fsspec will open are pickled by where they are."""
    url = f"sqlite:///{tmp_path}/x.db"
    fs, _ = fsspec.url_to_fs(url)
    fs.pipe("a", b"123")
    assert pickle.loads(pickle.dumps(fs)).cat("a") == b"123"
    assert pickle.loads(pickle.dumps(fs.open("a"))).read() == b"123"
    with pickle.loads(pickle.dumps(fsspec.open(f"{url}|zarr3:a"))) as file:
        assert file.read() == b"123"


def test_digests(fs: StoreFileSystem) -> None:
    """`ukey` and `checksum` tell files of one length apart, so that fsspec's caches notice a change."""
    fs.pipe({"a": b"1", "b": b"2", "c": b"1"})
    assert fs.ukey("a") == fs.ukey("c") != fs.ukey("b")
    assert fs.checksum("a") == fs.checksum("c") != fs.checksum("b")


@unheard()
def test_interrupts(fs: StoreFileSystem) -> None:
    """Wherever an interrupt (Ctrl-C) comes into a call, its files are old or new, and other threads go on."""
    old, new = {"/a": b"old", "/b/c": b"old"}, {"/a": b"new", "/b/c": b"new"}
    calls: list[Callable[[], object]] = [
        lambda: fs.pipe(new),
        lambda: fs.cat([*old]),
        lambda: fs.rm([*old]),
        lambda: fs.mv("/b", "/d", recursive=True),
    ]
    with ThreadPoolExecutor(1) as pool:
        for call in calls:
            pool.submit(fs.pipe, old).result(TIME)
            for _ in interruptions(call, 3):
                found = pool.submit(fs.cat, [*old], on_error="omit").result(TIME)
                assert all(value in {old[path], new[path]} for path, value in found.items())
                pool.submit(fs.pipe, old).result(TIME)
