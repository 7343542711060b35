"""What is remembered, what is forgotten, and what that costs below."""

import json
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import ConfigurationError, InvalidKeyError, StoreClosedError, StoreUnavailableError
from zarrv3.layers import Counting, Layer
from zarrv3.opening.stores import open_store
from zarrv3.store.contract import Buffer, ByteRange, Request, whole
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import Faults
from zarrv3_layer_lru_cache import LRUStoreCache, Statistics
from zarrv3_layer_lru_cache.entries import SHARE

CONTENT = {"a/zarr.json": b"{}", "a/c/0": b"0123456789", "a/c/1": b"abcdefghij", "top": b"t"}


@pytest.fixture
def below() -> Counting:
    """A store that counts, with something in it."""
    return Counting(MemoryStore(dict(CONTENT)))


def cached(below: Counting, max_size: int | str | None = None, **options: Any) -> LRUStoreCache:
    """A cache over the store; counting begins now."""
    below.reset()
    return LRUStoreCache(below, max_size, **options)


def requested(below: Counting) -> dict[str, int]:
    """How often each method was called since the last look."""
    calls = dict(below.calls)
    below.reset()
    return calls


# ---------------------------------------------------------------- reading


def test_second_read_costs_nothing(below: Counting) -> None:
    """A value is asked for once."""
    store = cached(below)
    assert [store["a/c/0"] for _ in range(3)] == [b"0123456789"] * 3
    assert requested(below) == {"get_many": 1}
    assert (store.hits, store.misses) == (2, 1)


def test_a_batch_with_misses_is_one_batch_of_the_misses(below: Counting) -> None:
    """Of N keys of which M are not remembered, one call asks for M; a key that occurs twice is asked once."""
    store = cached(below)
    store.get_many(whole(["a/c/0", "none"]))
    below.reset()
    found = store.get_many(whole(["top", "a/c/0", "none", "a/c/1", "top"]))
    assert found == [b"t", b"0123456789", None, b"abcdefghij", b"t"]
    assert below.calls == {"get_many": 1}
    assert below.requested == {"get_many": 2}


def test_absence_is_remembered_and_counted(below: Counting) -> None:
    """A missing key is asked for once, whatever is asked about it, and costs its name."""
    store = cached(below)
    assert store.get("gone") is None
    assert store.get_many([Request("gone", ByteRange(1, 2))]) == [None]
    assert "gone" not in store
    assert store.stat_many(["gone"]) == [None]
    assert requested(below) == {"get_many": 1}
    assert store.statistics.bytes == len("gone")


def test_ranges_are_served_from_a_whole_value(below: Counting) -> None:
    """Any range of a value that is remembered costs nothing."""
    store = cached(below)
    store.get("a/c/0")
    ranges = [ByteRange(2, 5), ByteRange(-3), ByteRange(20, 30), ByteRange(), ByteRange(-4, -1)]
    assert store.get_many([Request("a/c/0", r) for r in ranges]) == [
        b"234",
        b"789",
        b"",
        b"0123456789",
        b"678",
    ]
    assert requested(below) == {"get_many": 1}


def test_ranges_are_remembered_by_themselves(below: Counting) -> None:
    """A range read again costs nothing, another one or the whole value is asked for; a range counts 16 bytes more."""
    store = cached(below)
    for _ in range(2):
        assert store.get_many([Request("a/c/0", ByteRange(2, 5)), Request("a/c/0", ByteRange(-3))]) == [
            b"234",
            b"789",
        ]
    assert requested(below) == {"get_many": 1}
    assert store.statistics.bytes == 2 * (5 + 16 + 3)
    assert store["a/c/0"] == b"0123456789"
    assert requested(below) == {"get_many": 1}
    assert store.statistics == Statistics(2, 3, 0, 5 + 10, 1)


def test_a_range_without_bounds_is_the_value(below: Counting) -> None:
    """`ByteRange(0, None)` asks for the whole value and is remembered as such."""
    store = cached(below)
    store.get_many([Request("top", ByteRange())])
    assert store["top"] == b"t"
    assert below.calls["get_many"] == 1


def test_a_whole_value_in_a_batch_answers_its_ranges(below: Counting) -> None:
    """A batch that asks for a value and ranges of it asks below for the value only."""
    store = cached(below)
    assert store.get_many([Request("a/c/0", ByteRange(1, 3)), Request("a/c/0", None)]) == [
        b"12",
        b"0123456789",
    ]
    assert below.requested["get_many"] == 1


def test_the_range_of_a_missing_key_tells_that_it_is_missing(below: Counting) -> None:
    """Asked for a range of it, a key is found missing and known to be."""
    store = cached(below)
    assert store.get_many([Request("gone", ByteRange(4))]) == [None]
    assert store.get("gone") is None
    assert below.calls["get_many"] == 1


def test_listings_and_sizes_are_remembered(below: Counting) -> None:
    """`list_dir`, `in` and the size of a key are asked once; whole listings pass through."""
    store = cached(below)
    for _ in range(3):
        assert [*store.list_dir("a/")] == ["a/c/", "a/zarr.json"]
        assert "top" in store
        assert store.stat_many(["a/c/1", "none", "top", "a/c/1"]) == [10, None, 1, 10]
        assert len(list(store.list_prefix("a/"))) == 3
        assert len(dict(store.list_sizes("a/c/"))) == 2
    assert below.requested["stat_many"] == 3
    assert requested(below) == {"list_dir": 1, "stat_many": 2, "list_sizes": 3, "list_prefix": 3}


def test_sizes_come_from_values(below: Counting) -> None:
    """The size of a value that is remembered is its length, that of a key known to be missing is known; one call for the rest."""
    store = cached(below)
    store.get_many(whole(["a/c/0", "none"]))
    store["new"] = b"four"
    below.reset()
    assert store.stat_many(["a/c/0", "new", "none"]) == [10, 4, None]
    assert not below.calls
    assert store.stat_many(["a/c/0", "top", "a/c/1"]) == [10, 1, 10]
    assert (below.calls, below.requested) == ({"stat_many": 1}, {"stat_many": 2})
    assert below.bytes_read == 0


def test_a_listing_is_asked_for_late(below: Counting) -> None:
    """A folder is listed when its first name is wanted, and a listing that is under way is the caller's own."""
    store = cached(below)
    names = store.list_dir("a/")
    assert not below.calls
    assert next(names) == "a/c/"
    assert [*store.list_dir("a/")] == ["a/c/", "a/zarr.json"]
    assert [*names] == ["a/zarr.json"]
    assert below.calls == {"list_dir": 1}


def test_returned_values_are_bytes(below: Counting) -> None:
    """What a store returns as a view of something larger is kept as bytes of its own."""

    class Views(Layer):
        def get_many(self, requests: Any, /) -> Any:
            return [v and memoryview(bytes(1000) + bytes(v))[1000:] for v in self.inner.get_many(requests)]

        get_versioned = None  # type: ignore[assignment]  # not called

    store = LRUStoreCache(Views(below), None)
    (value,) = store.get_many(whole(["a/c/0"]))
    assert type(value) is bytes
    assert store.get_many(whole(["a/c/0"])) == [b"0123456789"]


def test_what_is_not_a_key_is_refused(below: Counting) -> None:
    """What is not a key raises, whether asked or written, and is not remembered."""
    store = cached(below)
    for wrong in ("a//b", "", "../x", 7):
        with pytest.raises(InvalidKeyError):
            store.get_many([Request(wrong, None)])  # type: ignore[list-item]
        with pytest.raises(InvalidKeyError):
            store.write_many({wrong: b""})  # type: ignore[dict-item]
        with pytest.raises(InvalidKeyError):
            store.write_many({wrong: None})  # type: ignore[dict-item]
    assert store.statistics.entries == 0
    assert store._ledger.is_idle()


# ---------------------------------------------------------------- the bound


def test_least_recently_used_goes_first(below: Counting) -> None:
    """When room is needed the answer goes that was unused longest."""
    store = cached(below, 2 * 15)
    store.get_many(whole(["a/c/0", "a/c/1"]))
    assert store.statistics.bytes == 30
    store.get("a/c/0")
    store.get("top")
    assert {item[0] for item, _, _ in store._ledger.snapshot()} == {"a/c/0", "top"}
    assert store.statistics.evictions == 1


@pytest.mark.parametrize("how", ["read", "written", "range"])
def test_a_value_larger_than_the_cache_passes_through(how: str, below: Counting) -> None:
    """What does not fit is neither remembered nor makes room, and arrives."""
    store = cached(below, 40)
    store.get("top")
    if how == "written":
        store["large"] = bytes(40)
    else:
        below["large"] = bytes(40)
    below.reset()
    for _ in range(2):
        found = store.get_many([Request("large", ByteRange(0, 30) if how == "range" else None)])
        assert found == [bytes(30 if how == "range" else 40)]
    assert below.calls["get_many"] == 2
    assert store["top"] == b"t"
    assert below.calls["get_many"] == 2
    assert store.statistics.evictions == 0


def test_no_room_at_all(below: Counting) -> None:
    """With `max_size=0` everything passes through."""
    store = cached(below, 0)
    assert [store["top"] for _ in range(2)] == [b"t"] * 2
    assert below.calls["get_many"] == 2
    assert store.statistics[2:] == (0, 0, 0)


def test_entries_are_bounded_too(below: Counting) -> None:
    """Millions of short answers cannot outgrow the memory that is meant: one entry for 256 bytes of `max_size`."""
    store = cached(below, 512 * 1024)
    for start in range(0, 6000, 1000):
        store.get_many(whole([f"none/{i}" for i in range(start, start + 1000)]))
    assert store.statistics.entries == 2048
    assert store.statistics.evictions == 6000 - 2048


@pytest.mark.parametrize("size", [1 << 28, "256MiB", "268435456"])
def test_sizes_as_numbers_and_texts(size: int | str) -> None:
    """A size may be a number or a text, in code and in a URL."""
    store = LRUStoreCache(MemoryStore(name="sizes"), size)
    assert store == open_store(f"memory://sizes|lru-cache:?max_size={size}")
    assert store.spec()["layers"] == [{"layer": "lru-cache"}]


def test_no_limit_in_a_url() -> None:
    """`none` means no limit, and comes back from a spec."""
    store = open_store("memory://sizes|lru-cache:?max_size=none&ttl=1.5&cache_on_write=no")
    assert store == LRUStoreCache(MemoryStore(name="sizes"), None, ttl=1.5, cache_on_write=False)
    assert open_store(json.loads(json.dumps(store.spec()))) == store


@pytest.mark.parametrize("size", ["many", -1, 1.5, True, [1], "10 parsec"])
def test_bad_sizes(size: Any) -> None:
    """What is not a size is refused when the cache is made."""
    with pytest.raises(ConfigurationError, match="size"):
        LRUStoreCache(MemoryStore(), size)
    with pytest.raises(ConfigurationError, match="size"):
        LRUStoreCache(MemoryStore(), cache_store_size=size)


@pytest.mark.parametrize("ttl", [0, -1, "soon", True, float("nan")])
def test_bad_ttl(ttl: Any) -> None:
    """What is not a time to live is refused when the cache is made."""
    with pytest.raises(ConfigurationError, match="ttl"):
        LRUStoreCache(MemoryStore(), ttl=ttl)


# ---------------------------------------------------------------- writing


def test_written_values_are_remembered(below: Counting) -> None:
    """What was written is in the store and need not be read again."""
    store = cached(below)
    store["a/c/2"] = b"new"
    assert below["a/c/2"] == b"new"
    below.reset()
    assert store["a/c/2"] == b"new"
    assert not below.calls


def test_written_values_may_be_left_out(below: Counting) -> None:
    """With `cache_on_write=False` a written value is forgotten, not kept."""
    store = cached(below, cache_on_write=False)
    store.get("a/c/0")
    store["a/c/0"] = b"new"
    assert store.statistics.entries == 0
    assert store["a/c/0"] == b"new"


@pytest.mark.parametrize("view", [bytearray, lambda value: memoryview(bytearray(value))])
def test_the_callers_memory_is_not_kept(view: Callable[[bytes], Buffer], below: Counting) -> None:
    """A buffer that changes after it was written changes nothing that is read."""
    store = cached(below)
    mine = view(b"mine")
    store.write_many({"k": mine})
    assert not store.swap_many({"swapped": (None, mine)})
    mine[:] = b"XXXX"  # type: ignore[index]
    assert store.getitems(["k", "swapped"]) == {"k": b"mine", "swapped": b"mine"}


def test_writes_forget_what_they_change_only(below: Counting) -> None:
    """A write makes its key forgotten with all ranges, and nothing else."""
    store = cached(below, cache_on_write=False)
    keys = [*CONTENT]
    part = ByteRange(1, 2)
    writes: dict[str, Callable[[], object]] = {
        "set": lambda: store.write_many({"a/c/0": b"x"}),
        "swap": lambda: store.swap_many({"a/c/0": (b"x", b"y")}),
        "refused": lambda: store.swap_many({"a/c/0": (b"x", b"z")}),
        "erase": lambda: store.write_many(dict.fromkeys(["a/c/0"])),
        "apply": lambda: store.apply_many({"a/c/0": b"w"}),
        "swap away": lambda: store.swap_many({"a/c/0": (b"w", None)}),
    }
    for name, write in writes.items():
        store.get_many([Request("a/c/1", part), Request("a/c/0", part)])
        store.get_many(whole(keys))
        "a/c/0" in store  # noqa: B015 - to be remembered
        write()
        left = {item[0] for item, _, _ in store._ledger.snapshot()}
        assert left == {*keys} - {"a/c/0"}, name
        assert store.get("a/c/0") == below.inner.get("a/c/0"), name


def test_folders_forget_what_is_in_them_only(below: Counting) -> None:
    """Erasing a folder makes forgotten what is below it, renaming also what is below the target."""
    store = cached(below)
    below["ab/c"] = b"sibling"
    store.get_many(whole([*CONTENT, "ab/c", "z/c/0", "zz"]))
    store.rename_prefix("a/", "z/")
    assert {item[0] for item, _, _ in store._ledger.snapshot()} == {"top", "ab/c", "zz"}
    assert store["z/c/0"] == b"0123456789"
    assert store.get("a/c/0") is None
    store.erase_prefix("z/")
    assert store.get("z/c/0") is None
    assert {item[0] for item, _, _ in store._ledger.snapshot()} == {"top", "ab/c", "zz", "a/c/0", "z/c/0"}


LISTED = ("", "a/", "a/c/", "n/")


@pytest.mark.parametrize(
    ("write", "forgotten"),
    [
        (lambda s: s.write_many({"a/c/0": b"again"}), set()),
        (lambda s: s.write_many({"a/c/2": b"new"}), {"a/c/"}),
        (lambda s: s.write_many({"n/x/y": b"new"}), {"", "n/"}),
        (lambda s: s.write_many(dict.fromkeys(["a/c/none", "none"])), set()),
        (lambda s: s.write_many(dict.fromkeys(["a/c/0"])), {"", "a/", "a/c/"}),
        (lambda s: s.swap_many({"fresh": (None, b"")}), {""}),
        (lambda s: s.swap_many({"top": (b"t", b"u")}), set()),
        (lambda s: s.swap_many({"top": (b"t", None)}), {""}),
        (lambda s: s.swap_many({"a/zarr.json": (None, b"")}), {"", "a/"}),
        (lambda s: s.apply_many({"top": None, "a/c/1": b""}), {""}),
        (lambda s: s.erase_prefix("a/c/"), {"", "a/", "a/c/"}),
        (lambda s: s.rename_prefix("a/c/", "n/e/"), {"", "a/", "a/c/", "n/"}),
        (lambda s: s.invalidate_keys(), {*LISTED}),
        (lambda s: s.invalidate_values(), set()),
        (lambda s: s.invalidate(), {*LISTED}),
    ],
)
def test_listings_that_change_are_forgotten(
    write: Callable[[LRUStoreCache], object], forgotten: set[str], below: Counting
) -> None:
    """A write makes those listings forgotten that it changes, or may have changed; a refused swap those of its folders."""
    store = cached(below)
    for folder in LISTED:
        [*store.list_dir(folder)]
    write(store)
    below.reset()
    for folder in LISTED:
        assert [*store.list_dir(folder)] == sorted(below.inner.list_dir(folder))
    assert below.calls["list_dir"] == len(forgotten)


def test_a_refused_swap_looks_again(below: Counting) -> None:
    """After another writer was faster the next read is fresh, also of the folder; what was swapped is remembered."""
    store = cached(below)
    store.get_many(whole(["top", "a/c/0"]))
    [*store.list_dir("")]
    below.inner.update({"top": b"theirs", "more": b""})
    refused = store.swap_many({"top": (b"t", b"mine"), "a/c/0": (b"0123456789", b"new"), "new": (None, b"n")})
    assert {*refused} == {"top"}
    below.reset()
    assert store.getitems(["top", "a/c/0", "new"]) == {"top": b"theirs", "a/c/0": b"new", "new": b"n"}
    assert below.requested == {"get_many": 1}
    assert [*store.list_dir("")] == ["a/", "more", "new", "top"]


def test_versions_are_the_stores(below: Counting) -> None:
    """Values with versions are always asked for: a swap is made on top of what others wrote, whatever is remembered."""
    store = cached(below)
    assert store["top"] == b"t"
    below.inner["top"] = b"theirs"
    assert store["top"] == b"t"
    ((value, version),) = store.get_versioned(["top"])
    assert value == b"theirs"
    assert not store.swap_many({"top": (version, b"theirs and mine")})
    below.reset()
    assert store["top"] == b"theirs and mine"
    assert not below.calls
    for _ in range(2):
        store.get_versioned(["top", "none"])
    assert below.calls == {"get_versioned": 2}


def test_a_failed_write_leaves_nothing(below: Counting) -> None:
    """After a write that failed half-way nothing is remembered of its keys."""
    faults = Faults(below, seed=3)
    store = LRUStoreCache(faults, None)
    for _ in range(20):
        store.get_many(whole(CONTENT))
        faults.fail_next("write_many")
        with pytest.raises(StoreUnavailableError):
            store.write_many({key: value + b"!" for key, value in below.items()})
        assert store.statistics.entries == 0
        assert store.getitems([*CONTENT]) == below.getitems([*CONTENT])
    assert store._ledger.is_idle()


def test_a_failed_read_is_not_remembered(below: Counting) -> None:
    """A read that failed is asked again; values, listings and sizes alike."""
    faults = Faults(below)
    store = LRUStoreCache(faults, None)
    reads: dict[str, Callable[[], object]] = {
        "get_many": lambda: store["top"],
        "list_dir": lambda: [*store.list_dir("")],
        "stat_many": lambda: "a/c/0" in store,
    }
    for method, read in reads.items():
        faults.fail_next(method)
        with pytest.raises(StoreUnavailableError):
            read()
        assert store._ledger.is_idle()
        assert read()


def test_transactions_are_seen_at_their_end(below: Counting) -> None:
    """What a transaction changed is forgotten or remembered when it is made."""
    store = cached(below)
    store.get_many(whole(CONTENT))
    with store.transaction() as changes:
        changes["top"] = b"T"
        del changes["a/c/0"]
        assert store["top"] == b"t"
    assert store.getitems(["top", "a/c/0"]) == {"top": b"T"}


# ---------------------------------------------------------------- time


class Clock:
    """A clock that stands until it is told."""

    now = 100.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all caches that are made in a test."""
    found = Clock()
    monkeypatch.setattr(LRUStoreCache, "clock", staticmethod(found))
    return found


def test_answers_live_as_long_as_they_may(clock: Clock, below: Counting) -> None:
    """An answer is served until `ttl` seconds after it was asked for, however often it is used, and then asked again."""
    store = cached(below, ttl=10)
    store.get("top")
    store.get("gone")
    [*store.list_dir("")]
    below.inner["gone"] = b"theirs"
    clock.now += 9.9
    assert store.get("gone") is None
    assert below.calls == {"get_many": 2, "list_dir": 1}
    clock.now += 0.1
    assert store["gone"] == b"theirs"
    assert [*store.list_dir("")] == ["a/", "gone", "top"]
    assert below.calls == {"get_many": 3, "list_dir": 2}
    assert store.statistics.entries == 3


def test_time_runs_from_the_question(clock: Clock, below: Counting) -> None:
    """What takes long to fetch is as old as its question."""

    class Slow(Layer):
        get_versioned = None  # type: ignore[assignment]  # not called

        def get_many(self, requests: Any, /) -> Any:
            values = self.inner.get_many(requests)
            clock.now += 8
            return values

    store = LRUStoreCache(Slow(below), None, ttl=10)
    store.get("top")
    clock.now += 2
    store.get("top")
    assert store.misses == 2


# ---------------------------------------------------------------- life


def test_invalidate(below: Counting) -> None:
    """What others changed is seen after `invalidate`, each half after its own."""
    store = cached(below)
    assert ("top" in store, store.get("new"), store["top"]) == (True, None, b"t")
    below.inner.update({"new": b"n", "top": b"T"})
    store.invalidate_keys()
    assert (store.get("new"), store["top"]) == (b"n", b"t")
    store.invalidate_values()
    assert store["top"] == b"T"
    below.inner.update({"new": b"N"})
    store.invalidate()
    assert store.statistics.bytes == store.statistics.entries == 0
    assert store["new"] == b"N"


def test_erasing_and_renaming_what_others_changed(below: Counting) -> None:
    """Where others erased or added keys meanwhile, erasing and renaming a node still work, on what is there."""
    store = cached(below)
    assert store.listdir("a") == ["c", "zarr.json"]
    store.get_many(whole(CONTENT))
    below.inner.write_many(dict.fromkeys(["a/c/0"]))
    below.inner["a/d"] = b"theirs"
    store.rename("a", "z")
    assert sorted(below.inner) == ["top", "z/c/1", "z/d", "z/zarr.json"]
    assert sorted(store.getitems([*below.inner, *CONTENT])) == sorted(below.inner)
    assert store.listdir("") == ["top", "z"]
    store.rmdir("z")
    assert store.list() == ["top"]
    assert store.get("z/d") is None


@pytest.mark.parametrize("sharded", [False, True])
def test_arrays_over_a_cache(sharded: bool) -> None:
    """An array reads again without asking the store, and its writes are what a reader without the cache finds."""
    if sharded:
        pytest.importorskip("zarrv3_transformer_sharding")
    below = Counting(MemoryStore())
    store = LRUStoreCache(below, None)
    data = np.arange(60 * 40).reshape(60, 40)
    array = zarrv3.create_array(
        store, name="g/x", shape=data.shape, chunks=(10, 10), shards=(20, 20) if sharded else None, dtype="i4"
    )
    array[:] = data
    store.invalidate()
    array[7:33, ::3], array[59, 39]
    below.reset()
    np.testing.assert_array_equal(array[7:33, ::3], data[7:33, ::3])
    assert array[59, 39] == data[59, 39]
    assert not below.calls
    array[5:25, 3] = data[5:25, 3] = -1
    array.append(data[:7])
    for reader in (array, zarrv3.open_array(below, path="g/x")):
        np.testing.assert_array_equal(reader[:], np.concatenate([data, data[:7]]))


def test_what_is_held_takes_what_is_said(below: Counting) -> None:
    """Of many short answers, Python takes less than three times the bytes that `SHARE` stands for."""
    store = cached(below, None)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, 5000, 1000):
            store.get_many(whole([f"none/of/these/{i}" for i in range(start, start + 1000)]))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert store.statistics.entries == 5000
    assert used / 5000 < 3 * SHARE


def test_invalidated_values_leave_room(below: Counting) -> None:
    """After `invalidate_values` the size is that of what is left, and writing goes on."""
    store = cached(below, 40)
    for turn in range(5):
        store.get_many(whole(["a/c/0", "a/c/1"]))
        [*store.list_dir("a/c/")]
        store.invalidate_values()
        assert store.statistics.bytes == 4 + 5 + 5
        store["a/c/0"] = b"%d" % turn
        store.invalidate()


def test_statistics_are_reset(below: Counting) -> None:
    """Counting begins again, what is held stays."""
    store = cached(below, 20)
    store.get_many(whole(["a/c/0", "a/c/1", "a/c/1"]))
    assert store.statistics == Statistics(hits=0, misses=3, evictions=1, bytes=15, entries=1)
    store.reset_statistics()
    assert store.statistics == Statistics(bytes=15, entries=1)


def test_nothing_is_served_after_close(below: Counting) -> None:
    """A closed cache raises for what it remembered too."""
    store = cached(below)
    store.get("top")
    store.close()
    with pytest.raises(StoreClosedError):
        store.get("top")


def test_pickles_without_what_it_holds() -> None:
    """A copy has the options and begins empty."""
    store = LRUStoreCache(MemoryStore(name="pickled"), "1MiB", ttl=5)
    store["k"] = bytes(100_000)
    text = pickle.dumps(store)
    assert len(text) < 1000
    copy = pickle.loads(text)
    assert copy == store
    assert copy.statistics == Statistics()
    assert copy["k"] == bytes(100_000)
    store.clear()


def test_another_process_is_not_seen_and_not_claimed(below: Counting) -> None:
    """A cache does not claim to be shared, whatever is below."""
    assert not LRUStoreCache(MemoryStore()).capabilities.shared
    assert LRUStoreCache(below).capabilities == below.capabilities.without("shared")


def test_a_fork_begins_with_nothing(below: Counting) -> None:
    """A forked child waits neither for a lock nor for a fetch of threads that it does not have."""
    from zarrv3.testing.processes import CONTEXT, Child

    if CONTEXT.get_start_method() != "fork":
        pytest.skip("no fork here")
    entered, go_on = threading.Event(), threading.Event()
    readers: list[threading.Thread] = []

    class Blocked(Layer):
        get_versioned = None  # type: ignore[assignment]  # not called

        def get_many(self, requests: Any, /) -> Any:
            if threading.current_thread() in readers:
                entered.set()
                assert go_on.wait(60)
            return self.inner.get_many(requests)

    store = LRUStoreCache(Blocked(below), None)
    store.get("a/c/0")
    readers.append(threading.Thread(target=store.get, args=["top"]))
    readers[0].start()
    assert entered.wait(60)
    store._ledger._lock.acquire()
    child = Child(lambda: (store.statistics, store.get("top"), store.get("a/c/0"), store.hits))
    store._ledger._lock.release()
    try:
        assert child.result() == (Statistics(), b"t", b"0123456789", 0)
    finally:
        go_on.set()
        readers[0].join()
        child.kill()
    assert store["top"] == b"t"
