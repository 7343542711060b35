"""The second tier: beyond the process, bounded, whole or nothing, and never in the way."""

import json
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrv3.errors import ConfigurationError, StoreAccessError, StoreClosedError
from zarrv3.layers import Counting, Layer, Prefix, ReadOnly
from zarrv3.opening.stores import open_store
from zarrv3.store.backend import Backend
from zarrv3.store.contract import ByteRange, Changes, Limits, Request
from zarrv3.store.memory import MemoryDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore
from zarrv3.testing import Faults
from zarrv3.testing.interrupts import interruptions
from zarrv3.testing.processes import dies
from zarrv3_layer_lru_cache import CacheWarning, LRUStoreCache
from zarrv3_layer_lru_cache.sealed import seal, unseal
from zarrv3_layer_lru_cache.tier import Tier, name_of

CONTENT = {"a/zarr.json": b"{}", "a/c/0": b"0123456789", "a/c/1": b"abcdefghij", "top": b"t" * 50}


@pytest.fixture
def below(tmp_path: Path) -> Counting:
    """A store that outlives the process, with something in it."""
    store = open_store(str(tmp_path / "data"))
    store.update(CONTENT)
    return Counting(store)


@pytest.fixture
def tier() -> Counting:
    """A second tier that is looked into."""
    return Counting(MemoryStore())


def anew(below: Counting, tier: Any, **options: Any) -> LRUStoreCache:
    """A cache as a new process would have it."""
    below.reset()
    return LRUStoreCache(below, **{"max_size": 10_000, "cache_store": tier, **options})


def read_all(store: LRUStoreCache) -> dict[str, bytes]:
    """All values, in one batch."""
    return store.getitems([*CONTENT])


def held(tier: Any) -> int:
    """How many bytes a second tier occupies, names included."""
    return sum(len(key.encode()) + size for key, size in tier.list_sizes(""))


# ---------------------------------------------------------------- beyond the process


def test_values_outlive_the_process(below: Counting, tmp_path: Path) -> None:
    """What one cache read, the next one finds, in one call of the second tier and none of the store."""
    folder = str(tmp_path / "tier")
    assert read_all(anew(below, folder)) == CONTENT
    store = anew(below, Counting(open_store(folder)))
    assert read_all(store) == CONTENT
    assert not below.calls
    assert store._tier is not None
    assert store._tier.store.calls["get_many"] == 1  # type: ignore[attr-defined]
    assert read_all(store) == CONTENT
    assert store._tier.store.calls["get_many"] == 1  # type: ignore[attr-defined]


def test_a_batch_asks_the_store_for_the_rest_only(below: Counting, tier: Counting) -> None:
    """Of a batch the second tier gives what it has; one call asks for the rest, one call keeps that."""
    anew(below, tier).getitems(["a/c/0", "top"])
    store = anew(below, tier)
    tier.reset()
    assert read_all(store) == CONTENT
    assert (below.calls["get_many"], below.requested["get_many"]) == (1, 2)
    assert tier.calls == {"list_sizes": 1, "get_many": 1, "write_many": 1}
    assert (tier.requested["get_many"], tier.requested["write_many"]) == (2, 2)


def test_ranges_come_from_whole_values(below: Counting, tier: Counting) -> None:
    """A range of a value that the second tier has is cut from it; ranges and absence are not written to it."""
    anew(below, tier).get("a/c/0")
    store = anew(below, tier)
    assert store.get_many([Request("a/c/0", ByteRange(2, 4)), Request("a/c/0", ByteRange(-1))]) == [
        b"23",
        b"9",
    ]
    assert not below.calls
    store.get_many([Request("a/c/1", ByteRange(2, 4)), Request("none", None)])
    assert below.requested["get_many"] == 2
    assert len(tier) == 1


def test_by_url_and_configuration(tmp_path: Path) -> None:
    """A second tier is given by URL, configuration or object, and comes back from a spec and a pickle."""
    data, folder = str(tmp_path / "data"), str(tmp_path / "tier")
    store = open_store(f"{data}|lru-cache:?cache_store={folder}&cache_store_size=1MiB")
    spec = json.loads(json.dumps(store.spec()))
    assert spec["layers"] == [{"layer": "lru-cache", "cache_store": folder, "cache_store_size": 2**20}]
    given = LRUStoreCache(open_store(data), cache_store=open_store(folder), cache_store_size="1MiB")
    assert given.spec()["layers"][0]["cache_store"] == {"store": "directory", "path": folder}
    assert open_store(given.spec()) == store == given
    assert LRUStoreCache(open_store(data), cache_store=str(tmp_path / "other")) != store
    for copy in (open_store(spec), open_store(given.spec()), pickle.loads(pickle.dumps(store))):
        assert copy.get("k") in {None, b"value"}
        copy["k"] = b"value"
        copy.get("k")
        assert isinstance(copy, LRUStoreCache)
        copy._ledger.invalidate()
        assert copy["k"] == b"value"
    assert len(open_store(folder)) == 1
    with pytest.raises(ConfigurationError, match="has no spec"):
        LRUStoreCache(open_store(data), cache_store=MemoryStore()).spec()


def test_describing_asks_nothing(below: Counting, tier: Counting) -> None:
    """A description, comparison or pickle does not look into the second tier."""
    store = anew(below, tier)
    tier["k"] = b"content"
    tier.reset()
    assert "cache_store='Counting() on MemoryStore" in repr(store)
    assert "content" not in repr(store)
    assert store == LRUStoreCache(below, 10_000, cache_store=tier)
    assert store != LRUStoreCache(below, 10_000)
    assert not tier.calls


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """The password of a second tier is in no text that describes the cache."""
    pytest.importorskip("zarrv3_store_redis")
    url = "redis://:hidden-word@localhost:1/0"
    for tier in (url, {"url": url}, open_store(url)):
        store = LRUStoreCache(open_store(str(tmp_path)), cache_store=tier)
        assert "hidden-word" not in repr(store) + store._repr_html_()
        assert "lru-cache" in str(store.spec())


def test_close_closes_what_it_opened(below: Counting, tmp_path: Path) -> None:
    """A second tier given by URL is closed with the cache, one given as an object stays open for others."""
    mine = open_store(str(tmp_path / "tier"))
    store = anew(below, mine)
    store.get("top")
    store.close()
    assert len(mine) == 1
    with pytest.raises(StoreClosedError):
        store.get("top")
    with pytest.raises(StoreClosedError):
        store["k"] = b""
    with pytest.raises(StoreClosedError):
        store.clear()
    by_path = anew(Counting(open_store(str(tmp_path / "data"))), str(tmp_path / "tier"))
    assert by_path["top"] == CONTENT["top"]
    by_path.close()
    assert by_path._tier is not None
    with pytest.raises(StoreClosedError):
        by_path._tier.store.list()


# ---------------------------------------------------------------- bounded


@settings(max_examples=25)
@given(
    bound=st.integers(150, 1200),
    reads=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=1, max_size=8),
    lengths=st.lists(st.integers(0, 400), min_size=31, max_size=31),
)
def test_bounded_after_every_batch(bound: int, reads: list[list[int]], lengths: list[int]) -> None:
    """Whatever is read, in how many lives, the second tier never occupies more than it may, and counts what is there."""
    content = {f"f/{i}": bytes([i]) * length for i, length in enumerate(lengths)}
    inner, tier = MemoryStore(dict(content)), MemoryStore()
    for batch in reads:
        store = LRUStoreCache(inner, 500, cache_store=tier, cache_store_size=bound, cache_name="data")
        for number in batch:
            assert store[f"f/{number}"] == content[f"f/{number}"]
            assert store.getitems([f"f/{number}", "f/0"]) == {
                key: content[key] for key in (f"f/{number}", "f/0")
            }
            assert held(tier) <= bound
            assert store._tier is not None
            assert store._tier.total == held(tier)


def test_what_is_there_at_first_use_is_made_to_fit(below: Counting, tier: Counting) -> None:
    """A second tier that is too full when it is opened, with whatever, is made to fit."""
    tier.update({f"foreign/{i}": bytes(100) for i in range(100)})
    store = anew(below, tier, cache_store_size=2000)
    assert read_all(store) == CONTENT
    assert 1000 < held(tier) <= 2000


def test_recently_used_stays(below: Counting, tier: Counting) -> None:
    """Of the values of this process those go first that were unused longest, after those of earlier ones."""
    below.inner.update({f"f/{i}": bytes(100) for i in range(10)})
    store = anew(below, tier, max_size=0, cache_store_size=800)
    for i in (0, 1, 2, 3, 0, 4):
        store.get(f"f/{i}")
    below.reset()
    store.get("f/0")
    assert not below.calls
    store.get("f/1")
    assert below.calls["get_many"] == 1


def test_too_large_for_the_second_tier(below: Counting, tier: Counting) -> None:
    """What is larger than its bound, or than one of its values or keys may be, is not written to it."""
    store = anew(below, tier, cache_store_size=90)
    assert store["top"] == CONTENT["top"]
    assert len(tier) == 0
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, limits=Limits(key_bytes=40, value_bytes=80))
    below["long/" * 10 + "key"] = b"x"
    store = anew(below, DriverStore(driver))
    assert store.get("long/" * 10 + "key") == b"x"
    assert read_all(store) == CONTENT
    assert len(driver.mapping) == 3
    store.write_many(dict.fromkeys([*CONTENT, "long/" * 10 + "key"], b"new"))
    assert len(driver.mapping) == 0


# ---------------------------------------------------------------- never an old value


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.write_many({"a/c/0": b"new"}),
        lambda s: s.write_many({"a/c/0": None}),
        lambda s: s.erase_prefix("a/c/"),
        lambda s: s.erase_prefix(""),
        lambda s: s.rename_prefix("a/", "z/"),
        lambda s: s.swap_many({"a/c/0": (s.get_versioned(["a/c/0"])[0][1], b"new")}),
    ],
)
def test_writes_reach_the_second_tier(change: Any, below: Counting, tier: Counting) -> None:
    """What was written is not found in its old form, in this process or the next one; the rest stays."""
    store = anew(below, tier)
    read_all(store)
    change(store)
    for again in (store, anew(below, tier)):
        assert again.getitems([*CONTENT, "z/c/0"]) == below.inner.getitems([*CONTENT, "z/c/0"])
    assert anew(below, tier).get("a/c/0") != b"0123456789"


def test_a_process_killed_while_it_writes_leaves_no_old_value(below: Counting, tmp_path: Path) -> None:
    """The second tier forgets before the store is written: a later process reads what was written last."""
    folder = str(tmp_path / "tier")
    named = "shared name"
    read_all(anew(below, folder, cache_name=named))

    class KilledAfter(Layer):
        def write_many(self, changes: Changes, /) -> None:
            self.inner.write_many(changes)
            os.kill(os.getpid(), 9)

        swap_many = apply_many = None  # type: ignore[assignment]  # not called

    def write() -> None:
        LRUStoreCache(KilledAfter(below), cache_store=folder, cache_name=named).write_many({"top": b"new"})

    dies(write, rule="a writer is killed")
    assert anew(below, folder, cache_name=named)["top"] == b"new"


def test_a_writer_waits_for_those_who_fill(below: Counting) -> None:
    """A value that is just being put into the second tier is there, and erased, before a write of its key begins."""
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Layer):
        def write_many(self, changes: Changes, /) -> None:
            entered.set()
            assert go_on.wait(60)
            self.inner.write_many(changes)

        swap_many = apply_many = None  # type: ignore[assignment]  # not called

    kept = MemoryStore()
    store = anew(below, Slow(kept))
    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(store.get, "top")
        assert entered.wait(60)
        writer = pool.submit(store.write_many, {"top": b"new"})
        while not store._ledger.under_way:
            assert not writer.done()
        assert store.inner["top"] == CONTENT["top"]
        go_on.set()
        assert reader.result(60) == CONTENT["top"]
        writer.result(60)
    assert len(kept) == 0
    assert anew(below, kept)["top"] == b"new"


@pytest.mark.parametrize("tier", [None, MemoryStore])
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.getitems(["top", "a/c/0", "missing"]),
        lambda store: store.setitems({"top": b"new", "a/c/0": b"new"}),
        lambda store: store.erase_prefix("a/"),
        lambda store: [*store.list_dir("a/")],
        lambda store: store.swap_many({"top": (store.get_versioned(["top"])[0][1], b"new")}),
    ],
)
def test_interrupted_calls_leave_a_cache_that_works(call: Any, tier: Any) -> None:
    """A call interrupted at any point leaves nothing under way; others see what is stored, at once, and can change it."""
    kept = []
    with ThreadPoolExecutor(1) as other:
        for warm in (True, False):
            inner = MemoryStore(dict(CONTENT))
            store = LRUStoreCache(inner, cache_store=tier and tier())
            for number, error in enumerate(interruptions(lambda store=store: call(store))):
                kept.append(error)  # with all its frames, as `sys.last_value` is
                assert other.submit(store.getitems, [*CONTENT]).result(30) == dict(inner.items())
                assert store._ledger.is_idle()
                new = {**CONTENT, "top": b"%d" % number}
                other.submit(store.setitems, new).result(30)
                assert other.submit(store.getitems, [*CONTENT]).result(30) == new == dict(inner.items())
                if not warm:
                    store.invalidate()
    assert len(kept) > 50


def test_a_write_that_cannot_forget_is_refused(below: Counting) -> None:
    """When the old value cannot be erased from the second tier, nothing is written and the error says why."""
    tier = Faults(MemoryStore())
    store = anew(below, tier)
    read_all(store)
    tier.fail_next("write_many")
    with pytest.raises(StoreAccessError, match=r"'top'.*nothing was written"):
        store["top"] = b"new"
    assert below["top"] == CONTENT["top"]
    tier.fail_next("erase_prefix")
    with pytest.raises(StoreAccessError, match=r"'a/'.*nothing was written"):
        store.erase_prefix("a/")
    assert read_all(store) == CONTENT
    store["top"] = b"new"
    assert anew(below, tier)["top"] == b"new"


def test_names_keep_stores_apart(tmp_path: Path, tier: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stores whose values could be mistaken for each other's have different names."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        open_store("data")["k"] = name.encode()
        assert LRUStoreCache(open_store("data"), cache_store=tier)["k"] == name.encode()
        monkeypatch.setenv("WHERE", name)
        by_variable = open_store({"store": "directory", "path": f"{tmp_path}/${{WHERE}}/data"})
        assert LRUStoreCache(by_variable, cache_store=tier)["k"] == name.encode()
        assert LRUStoreCache(MemoryStore({"k": name.encode()}), cache_store=tier)["k"] == name.encode()
        passing = MemoryStore({"k": name.encode()}, name=None)
        assert LRUStoreCache(passing, cache_store=tier)["k"] == name.encode()
    absolute = open_store(str(tmp_path / "one" / "data"))
    first = name_of(absolute)
    monkeypatch.chdir(tmp_path)
    assert name_of(absolute) == first
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, persistent=True)
    assert name_of(DriverStore(driver)) != name_of(DriverStore(driver))


def test_names_are_those_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How one gets at the data changes no name: another token or password, retries, or another working directory."""

    class Remote(Backend):
        kind = "remote"

        def __init__(self, url: str, key: str, token: str) -> None:
            super().__init__(url=url, key=key, token=token)

        def connect(self) -> MemoryDriver:
            driver = MemoryDriver({})
            driver.capabilities = replace(driver.capabilities, persistent=True)
            return driver

    def named(url: str = "s3://lab/x.zarr", key: str = "abc", token: str = "ta") -> str:
        return name_of(Remote(url, key, token))

    first = named()
    assert first == named(token="tb", key="other")
    assert first == name_of(Counting(ReadOnly(Remote("s3://lab/x.zarr", "abc", "ta"))))
    assert first != name_of(Prefix(Remote("s3://lab/x.zarr", "abc", "ta"), "a"))
    assert first != named("s3://lab/y.zarr")
    assert named("https://u:one@host/x") == named("https://u:two@host/x") != named("https://v:one@host/x")
    monkeypatch.chdir(tmp_path)
    assert first == named()
    assert "abc" not in first
    retry = pytest.importorskip("zarrv3_layer_retry")
    assert first == name_of(retry.Retry(Remote("s3://lab/x.zarr", "abc", "ta"), attempts=2))


@pytest.mark.parametrize("ttl", [10.0, None])
def test_age_counts_over_both_tiers(
    ttl: float | None, below: Counting, tier: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value lives `ttl` seconds from when it was read of the store, in whichever tier; without, for ever."""
    now = [1000.0]
    monkeypatch.setattr(LRUStoreCache, "clock", staticmethod(lambda: now[0]))
    monkeypatch.setattr(Tier, "clock", staticmethod(lambda: now[0] + 5e8))
    anew(below, tier, ttl=ttl).get("top")
    now[0] += 6
    store = anew(below, tier, ttl=ttl)
    store.get("top")
    assert not below.calls
    now[0] += 3.9
    store.get("top")
    assert not below.calls
    now[0] += 0.1
    store.get("top")
    assert below.calls["get_many"] == (ttl is not None)
    now[0] -= 100  # a clock that was set back makes every age unknown
    anew(below, tier, ttl=ttl).get("top")
    assert below.calls["get_many"] == (ttl is not None)


def test_invalidate_empties_it(below: Counting, tier: Counting) -> None:
    """`invalidate` and `invalidate_values` forget what the second tier has of this store, and nothing else of it."""
    tier["foreign"] = b"x"
    store = anew(below, tier)
    for forget in (store.invalidate, store.invalidate_values):
        read_all(store)
        below.inner["top"] = forget.__name__.encode()
        forget()
        assert tier.list() == ["foreign"]
        assert store["top"] == forget.__name__.encode()


# ---------------------------------------------------------------- damaged


def test_sealed_values_come_back() -> None:
    """What was sealed is unsealed for its key only."""
    sealed = seal("a/é", b"value", 12.5)
    assert unseal("a/é", memoryview(sealed)) == (b"value", 12.5)
    assert unseal("a/e", sealed) is None


@given(st.binary(max_size=40), st.data())
def test_damage_is_noticed(value: bytes, data: st.DataObject) -> None:
    """A sealed value of which any byte differs, is missing or too many is refused."""
    sealed = bytearray(seal("key", value, 3.0))
    place = data.draw(st.integers(0, len(sealed) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "more"]))
    if kind == "flip":
        sealed[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del sealed[place:]
    else:
        sealed += b"\0" * (place + 1)
    assert unseal("key", sealed) is None


def test_damaged_entries_are_misses(below: Counting, tier: Counting) -> None:
    """A damaged, foreign or missing entry is read from the store, which repairs it."""
    read_all(anew(below, tier))
    names = sorted(tier.list())
    tier.inner[names[0]] = b"short"
    tier.inner[names[1]] = tier.inner[names[2]]
    tier.inner[names[2]] = tier.inner[names[2]][:-1]
    store = anew(below, tier)
    assert store._tier is not None
    store._tier.get(["top"])  # listed by now
    del tier.inner[names[3]]
    assert read_all(store) == CONTENT
    assert (below.calls["get_many"], below.requested["get_many"]) == (1, 4)
    assert read_all(anew(below, tier)) == CONTENT
    assert not below.calls


# ---------------------------------------------------------------- failing


@pytest.fixture
def faulty() -> Faults:
    """A second tier that can be made to fail."""
    return Faults(MemoryStore())


@pytest.mark.parametrize("method", ["get_many", "write_many", "list_sizes"])
def test_a_failing_second_tier_fails_no_read(method: str, below: Counting, faulty: Faults) -> None:
    """Whatever fails there, reads give what the store has; one warning is given, and it is used again on request."""
    anew(below, faulty, cache_store_size=150).get("a/c/0")
    faulty.fail_next(method)
    store = anew(below, faulty, cache_store_size=150)
    with pytest.warns(CacheWarning, match="not used from now on") as caught:
        assert read_all(store) == CONTENT
    assert len(caught) == 1
    store._ledger.invalidate()
    assert read_all(store) == CONTENT
    assert store._ledger.is_idle()
    store.invalidate()
    assert store["a/c/0"] == CONTENT["a/c/0"]
    assert len(faulty) == 1


def test_what_cannot_be_a_second_tier(below: Counting, tier: Counting) -> None:
    """A store that cannot be written cannot be a second tier: one warning, and reads go on."""
    store = anew(below, ReadOnly(tier))
    with pytest.warns(CacheWarning, match="must support writing, erasing and listing"):
        assert read_all(store) == CONTENT
    assert read_all(store) == CONTENT


def test_a_second_tier_that_cannot_be_closed(below: Counting, tmp_path: Path) -> None:
    """A failure to flush the second tier is a warning, and the store is closed."""

    class Stuck(Layer):
        def flush(self) -> None:
            raise OSError("stuck")

    store = anew(below, Stuck(MemoryStore()))
    with pytest.warns(CacheWarning, match="close"):
        store.close()
    with pytest.raises(StoreClosedError):
        store.get("top")


def test_an_unreachable_store_is_not_the_second_tiers_fault(tier: Counting) -> None:
    """When the store itself fails, that is what the caller is told, and the second tier stays in use."""
    driver = MemoryDriver(dict(CONTENT))
    driver.capabilities = replace(driver.capabilities, persistent=True)
    faults = Faults(DriverStore(driver))
    store = LRUStoreCache(faults, cache_store=tier)
    faults.fail_next("get_many")
    with pytest.raises(StoreAccessError, match="made to fail"):
        store.get("top")
    assert store["top"] == CONTENT["top"]
    assert len(tier) == 1


def test_a_forked_child_looks_again(below: Counting, tmp_path: Path) -> None:
    """A child lists the second tier again: its parent's counting is of no use to it."""
    from zarrv3.testing.processes import CONTEXT, Child

    if CONTEXT.get_start_method() != "fork":
        pytest.skip("no fork here")
    store = anew(below, str(tmp_path / "tier"))
    read_all(store)
    assert store._tier is not None
    store._tier._lock.acquire()
    child = Child(lambda: (read_all(store), below.calls["get_many"]))
    store._tier._lock.release()
    try:
        assert child.result() == (CONTENT, 1)
    finally:
        child.kill()
