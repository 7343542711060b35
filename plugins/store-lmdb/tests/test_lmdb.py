"""LMDB databases: the conformance kit, and what is their own."""

import itertools
import os
import pickle
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import lmdb
import numpy as np
import pytest

import zarrv3
from zarrv3.errors import ConfigurationError, LimitError
from zarrv3.store.contract import ByteRange, Request, whole
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3_store_lmdb import LMDBStore, driver, environments


class TestLMDBStore(InterruptConformance, StoreConformance):
    """A database in a folder."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(LMDBStore, tmp_path / "new" / "data")


class TestSingleFile(InterruptConformance, StoreConformance):
    """A database in a single file, whose map is too small again and again."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same file, which does not exist at first."""
        return partial(LMDBStore, tmp_path / "new" / "data.mdb", subdir=False, map_size=1 << 15)


class TestNewFormat(InterruptConformance, StoreConformance):
    """A database in the format of LMDB 1.0."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(LMDBStore, tmp_path / "new", lib_version=1)


class Watched:
    """An environment that notes what is asked of it."""

    def __init__(self, env: Any, calls: list[str]) -> None:
        self.env = env
        self.calls = calls

    def begin(self, **options: Any) -> Any:
        """Begin a transaction."""
        self.calls.append("write" if options.get("write") else "read")
        return self.env.begin(**options)

    def sync(self, *arguments: Any) -> None:
        """Flush."""
        self.calls.append("sync")
        self.env.sync(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of LMDB while a test runs."""
    found: list[str] = []
    real = lmdb.open
    monkeypatch.setattr(lmdb, "open", lambda *a, **o: Watched(real(*a, **o), found))
    return found


def environment(store: LMDBStore) -> Any:
    """The environment that a store uses."""
    held = store.driver._held  # type: ignore[attr-defined]
    assert held is not None
    return held


# ---------------------------------------------------------------- transactions


def test_one_transaction_per_batch(tmp_path: Path, calls: list[str]) -> None:
    """Whatever the number of keys, a call is one transaction; listing is one per thousand keys."""
    items = {f"a/{i}": b"%d" % i for i in range(2500)}
    steps: list[tuple[Callable[[LMDBStore], object], list[str]]] = [
        (lambda s: s.write_many(items), ["write"]),
        (lambda s: s.get_many(whole(items)), ["read"]),
        (lambda s: s.stat_many([*items]), ["read"]),
        (lambda s: s.list(), ["read"] * 3),
        (lambda s: s.getsize("a"), ["read"] * 4),
        (lambda s: [*s.list_dir("")], ["read"]),
        (lambda s: "a/1" in s, ["read"]),
        (lambda s: s.get_versioned([*items]), ["read"]),
        (lambda s: s.swap_many({key: (value, b"new") for key, value in items.items()}), ["write"]),
        (lambda s: s.delitems([*items][:100]), ["write"]),
        (lambda s: s.rename_prefix("a/", "b/"), ["read"] * 3 + ["write"]),
        (lambda s: s.erase_prefix("b/"), ["write"]),
    ]
    with LMDBStore(tmp_path / "data") as store:
        for step, expected in steps:
            calls.clear()
            step(store)
            assert calls == expected


def test_a_block_is_one_transaction(tmp_path: Path, calls: list[str]) -> None:
    """`store.transaction()` writes nothing before its end, and then everything in one transaction."""
    with LMDBStore(tmp_path / "data") as store:
        store.write_many({"gone": b"", "k": b"old"})
        calls.clear()
        with store.transaction() as pending:
            pending["k"] = b"new"
            pending["l"] = b"new"
            pending.delitems(["gone"])
            assert "write" not in calls
        assert calls.count("write") == 1
        assert store.getitems(["k", "l", "gone"]) == {"k": b"new", "l": b"new"}


def test_refused_swaps(tmp_path: Path) -> None:
    """Of a batch of swaps those whose value is another one are refused; one transaction makes the others."""
    with LMDBStore(tmp_path / "data") as store:
        store.write_many({"a": b"1", "b": b"2", "c": b"3"})
        versions = [version for _, version in store.get_versioned(["a", "b", "c", "d"])]
        store["b"] = b"other"
        swaps = dict(zip("abcd", zip(versions, [b"new", b"new", None, b"new"], strict=True), strict=True))
        assert store.swap_many(swaps) == ["b"]
        assert dict(store.items()) == {"a": b"new", "b": b"other", "d": b"new"}
        assert store.swap_many({"d": (None, b"again"), "c": (b"3", None)}) == ["d", "c"]


def test_a_listing_goes_on_where_keys_were_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing whose next page begins with keys that are gone ends, and yields nothing twice."""
    monkeypatch.setattr(driver, "_PAGE", 2)
    with LMDBStore(tmp_path / "data") as store:
        store.write_many(dict.fromkeys(["a", "b", "c/1", "c/2", "d/1"], b"v"))
        for listing, rest in ((store.list_prefix(""), ["b"]), (store.list_dir(""), ["b"])):
            assert next(listing) == "a"
            store.delitems(["c/1", "c/2", "d/1"])
            assert [*listing] == rest
            store.write_many(dict.fromkeys(["c/1", "c/2", "d/1"], b"v"))
        assert [*store.list_dir("")] == ["a", "b", "c/", "d/"]


def test_a_half_read_listing_blocks_nothing(tmp_path: Path) -> None:
    """An unfinished listing holds no transaction: the map can grow, and the listing goes on."""
    with LMDBStore(tmp_path / "data", map_size=1 << 20) as store:
        store.write_many({f"a/{i:04}": b"v" for i in range(3000)})
        listing = store.list_prefix("a/")
        first = list(itertools.islice(listing, 10))
        sizes = store.list_sizes("")
        next(sizes)
        assert environment(store)._lmdb.readers() == "(no active readers)\n"
        before = environment(store)._size
        store.write_many({"big": bytes(8 << 20)})
        assert environment(store)._size > before
        store.delitems(["a/1500"])
        rest = list(listing)
        assert first + rest == [f"a/{i:04}" for i in range(3000) if i != 1500]
        assert sum(1 for _ in sizes) == 2999


def test_list_dir_jumps_over_what_lies_deeper(tmp_path: Path) -> None:
    """Listing a folder takes one step a name, however many keys lie below the sub-folders."""

    class Cursor:
        def __init__(self, cursor: Any) -> None:
            self.cursor = cursor
            self.steps = 0

        def __getattr__(self, name: str) -> Any:
            self.steps += name in {"set_range", "next"}
            return getattr(self.cursor, name)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.cursor.close()

    with LMDBStore(tmp_path / "data") as store:
        store.write_many({f"a/{n}/c/{i}": b"" for n in range(5) for i in range(1000)})
        store.write_many({"a/zarr.json": b"", "a/1": b"", "a/10": b"", "a-b": b"", "a0": b""})

        def look(txn: Any) -> tuple[Any, int]:
            cursor = Cursor(txn.cursor())
            stand_in: Any = type("Txn", (), {"cursor": lambda _: cursor})()
            return driver._page(driver._names, b"a/", b"a/", stand_in)[0], cursor.steps

        found, steps = environment(store).read(look)
        expected = sorted(["a/1", "a/10", "a/zarr.json", *[f"a/{n}/" for n in range(5)]])
        assert [name.decode() for name, _ in found] == expected == [*store.list_dir("a/")]
        assert steps <= 10


# ---------------------------------------------------------------- values


def test_values_outlive_everything(tmp_path: Path) -> None:
    """Defect 2: values stay as they were after later writes and after `close`, with either setting of `buffers`."""
    for buffers in (True, False):
        store = LMDBStore(tmp_path / "data", buffers=buffers)
        store["k"] = b"A" * 10_000
        whole, part = store.get_many([Request("k"), Request("k", ByteRange(5, 9))])
        for n in range(20):
            store["k"] = b"%d" % n * 5000
        store.close()
        assert (whole, part) == (b"A" * 10_000, b"AAAA")
        assert type(whole) is type(part) is bytes


def test_a_range_copies_only_the_range(tmp_path: Path) -> None:
    """Ten bytes of a large value take ten bytes of memory, and its size none."""
    with LMDBStore(tmp_path / "data") as store:
        store["k"] = bytes(32 << 20)
        tracemalloc.start()
        store.get_many([Request("k", ByteRange(-10))])
        store.getsize("k")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 18


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(tmp_path: Path, order: str) -> None:
    """Defect 5: arrays without compressor come back as they were, in either order."""
    data = np.arange(600, dtype="f4").reshape(20, 30)
    path = (tmp_path / "data").as_uri().replace("file:", "lmdb:", 1)
    array = zarrv3.create_array(
        path, shape=data.shape, chunks=(7, 8), dtype="f4", order=order, compressors=None
    )
    array[:] = data
    array.store.close()
    again = zarrv3.open_array(path)
    np.testing.assert_array_equal(again[:], data)
    np.testing.assert_array_equal(again[3:9, ::2], data[3:9, ::2])
    again.store.close()


# ---------------------------------------------------------------- the map and the file


def test_the_map_grows_by_itself(tmp_path: Path, calls: list[str]) -> None:
    """Defect 30: more data than the map holds is not an error; the file is as large as what is in it."""
    with LMDBStore(tmp_path / "data", map_size=1 << 20) as store:
        for n in range(5):
            calls.clear()
            store.write_many({f"{n}/{i}": bytes([n]) * (1 << 20) for i in range(1 + n * 3)})
            assert calls.count("write") <= 2  # the first attempt shows how much room is needed
        assert (tmp_path / "data" / "data.mdb").stat().st_size < 40 << 20
        assert store.getsize("") == 35 << 20


def test_a_huge_map_is_no_huge_file(tmp_path: Path) -> None:
    """Defect 30: even a map of 1 TiB, as old programs ask for, leaves the file small."""
    with LMDBStore(tmp_path / "data", map_size=1 << 40) as store:
        store["k"] = b"v"
        assert (tmp_path / "data" / "data.mdb").stat().st_size < 1 << 16


def test_memory_does_not_leak_into_the_file(tmp_path: Path) -> None:
    """Defect 30: pages are cleared before they are written, and the map cannot be written to."""
    with LMDBStore(tmp_path / "data") as store:
        store["k"] = b"v"
        flags = environment(store)._lmdb.flags()
        assert (flags["meminit"], flags["writemap"]) == (True, False)


def test_long_keys(tmp_path: Path) -> None:
    """Defect 30: a key over 511 bytes is a clear error; a folder of such a length is empty."""
    with LMDBStore(tmp_path / "data") as store:
        store["k" * 511] = b"v"
        assert store.list() == ["k" * 511]
        with pytest.raises(LimitError, match=r"has 512 bytes but LMDBStore\(.*at most 511"):
            store["k" * 512] = b"v"
        store["short/" + "n" * 500] = b"v"
        with pytest.raises(LimitError):
            store.rename("short", "long" * 10)
        assert store.getsize("short") == 1
        folder = "f" * 600 + "/"
        assert ([*store.list_dir(folder)], [*store.list_prefix(folder)]) == ([], [])
        store.erase_prefix(folder)


def test_large_folders_are_renamed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that would take too much memory is done by copying."""
    monkeypatch.setattr(driver, "_BATCH_BYTES", 5000)
    with LMDBStore(tmp_path / "data") as store:
        items = {f"a/{i}": b"v" * 1000 for i in range(10)}
        store.write_many(items)
        store.rename("a", "b")
        assert dict(store.items()) == {key.replace("a/", "b/"): value for key, value in items.items()}


def test_flushing(tmp_path: Path, calls: list[str]) -> None:
    """Writes are not flushed at once; `flush` and `close` flush them, if there is anything to flush."""
    store = LMDBStore(tmp_path / "data")
    store.flush()
    store["k"] = b"v"
    assert "sync" not in calls
    store.flush()
    store.flush()
    store["k"]
    assert calls.count("sync") == 1
    store["k"] = b"w"
    store.close()
    assert calls.count("sync") == 2


# ---------------------------------------------------------------- opening


def test_reading_creates_nothing(tmp_path: Path) -> None:
    """Reading, listing, erasing, renaming and flushing where nothing is create neither folder nor file."""
    for options in ({}, {"subdir": False}, {"readonly": True}):
        with LMDBStore(tmp_path / "data", **options) as store:
            assert (store.get("k"), store.list(), store.getsize()) == (None, [], 0)
            if not options.get("readonly"):
                store.delitems(["k"])
                store.erase_prefix("f/")
                store.rename_prefix("f/", "g/")
                assert store.swap_many({"k": (b"old", b"new"), "l": (None, None)}) == ["k"]
            store.flush()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no umask")
def test_permissions(tmp_path: Path) -> None:
    """Folder, data and lock get the permissions that the umask leaves, as files of other programs do; `mode` says less."""
    before = os.umask(0o002)
    try:
        LMDBStore(tmp_path / "group")["k"] = b"v"
        LMDBStore(tmp_path / "own", mode=0o700)["k"] = b"v"
    finally:
        os.umask(before)
    for name, folder, file in (("group", 0o775, 0o664), ("own", 0o700, 0o600)):
        assert (tmp_path / name).stat().st_mode & 0o777 == folder
        assert {one.stat().st_mode & 0o777 for one in (tmp_path / name).iterdir()} == {file}


def test_old_databases(tmp_path: Path) -> None:
    """A database of zarr 2, in a folder or a single file, opens as it is."""
    for name, subdir in (("folder.mdb", True), ("file.mdb", False)):
        path = tmp_path / name
        env = lmdb.open(str(path), map_size=1 << 30, subdir=subdir, writemap=True, meminit=False)
        with env, env.begin(write=True) as txn:
            txn.put(b"meta/root/a.array.json", b"{}")
            txn.put(b"data/root/a/c0", b"chunk")
        with LMDBStore(path) as store:
            assert dict(store.items()) == {"data/root/a/c0": b"chunk", "meta/root/a.array.json": b"{}"}
            store["data/root/a/c1"] = b"more"
        assert path.is_dir() == subdir


def test_foreign_keys_are_not_listed(tmp_path: Path) -> None:
    """Keys that are not text, which another program has put there, are left alone."""
    with lmdb.open(str(tmp_path / "data")) as env, env.begin(write=True) as txn:
        txn.put(b"\xff\xfe", b"")
        txn.put(b"a/\xff", b"")
        txn.put(b"\xff/b", b"")
        txn.put(b"a/b", b"v")
    with LMDBStore(tmp_path / "data") as store:
        assert (store.list(), [*store.list_dir("")], store.getsize()) == (["a/b"], ["a/"], 1)


def test_two_stores_share_an_environment(tmp_path: Path) -> None:
    """Defect 30: the same database can be opened several times in a process, by whatever path."""
    (tmp_path / "link").symlink_to(tmp_path / "data")
    first = LMDBStore(tmp_path / "data")
    first["k"] = b"v"
    (tmp_path / "hard").mkdir()
    os.link(tmp_path / "data" / "data.mdb", tmp_path / "hard" / "data.mdb")
    others = [
        LMDBStore(tmp_path / "data", buffers=False),
        LMDBStore(tmp_path / "link"),
        LMDBStore(tmp_path / "hard"),
    ]
    assert [store["k"] for store in others] == [b"v"] * 3
    assert {id(environment(store)) for store in (first, *others)} == {id(environment(first))}
    shared = environment(first)
    for store in (first, *others):
        assert shared._lmdb is not None
        store["k"] = b"w"
        store.close()
    assert shared._lmdb is None
    with LMDBStore(tmp_path / "data") as again:
        assert again["k"] == b"w"


def test_an_unused_environment_is_closed(tmp_path: Path) -> None:
    """A store that is dropped without `close` does not keep its database open."""
    LMDBStore(tmp_path / "data")["k"] = b"v"
    with lmdb.open(str(tmp_path / "data")) as env, env.begin() as txn:
        assert txn.get(b"k") == b"v"


def test_conflicting_options(tmp_path: Path) -> None:
    """Two stores of one process that want different options of LMDB: a clear error."""
    with LMDBStore(tmp_path / "data") as store:
        store["k"] = b"v"
        with pytest.raises(
            ConfigurationError, match=r"data.mdb' is open in this process with sync=False; close"
        ):
            LMDBStore(tmp_path / "data", sync=True).get("k")
        assert LMDBStore(tmp_path / "data", map_size=1 << 30)["k"] == b"v"  # sizes do not conflict
    assert LMDBStore(tmp_path / "data", sync=True)["k"] == b"v"


def test_a_database_that_was_erased(tmp_path: Path) -> None:
    """A store notices that its file was erased or replaced: nothing is written to a file without a name."""
    with LMDBStore(tmp_path / "data") as store:
        store["k"] = b"v"
        (tmp_path / "data").rename(tmp_path / "moved")
        assert "k" not in store
        store["l"] = b"w"
        assert store.list() == ["l"]
    with LMDBStore(tmp_path / "moved") as moved:
        assert moved.list() == ["k"]


def test_urls_and_options(tmp_path: Path) -> None:
    """A URL gives every option of `lmdb.open`; spec and pickle keep them."""
    url = f"{LMDBStore.example_url(str(tmp_path))}?map_size=32MiB&sync=true&max_readers=20&dimension_separator=."
    with zarrv3.open_store(url) as store:
        assert isinstance(store, LMDBStore)
        store["k"] = b"v"
        info = environment(store)._lmdb.info()
        assert (info["map_size"], info["max_readers"], store.dimension_separator) == (32 << 20, 20, ".")
        assert zarrv3.open_store(store.spec()) == store == pickle.loads(pickle.dumps(store))
    assert environments.FIRST_SIZE == 16 << 20
