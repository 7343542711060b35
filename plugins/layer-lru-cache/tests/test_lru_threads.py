"""Many at once: one request for one question, no old value after a write, and in the end the cache is the store."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zarrv3.errors import InvalidKeyError, LimitError, StoreError, StoreUnavailableError
from zarrv3.layers import Counting, Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Changes, Request, Swaps, Versioned
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import Faults
from zarrv3.testing.processes import generation_of, stamped
from zarrv3_layer_lru_cache import LRUStoreCache
from zarrv3_layer_lru_cache.entries import size_of

PATIENCE = 60
CONTENT = {"a": b"aaaa", "b": b"bbbb", "f/c": b"cccc", "f/d": b"dddd"}


class Gate(Layer):
    """Calls of chosen methods stop before or after their work until they are let through."""

    kind = "gate"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.stops: dict[str, Callable[[Any], bool]] = {}
        self.arrived: dict[str, threading.Semaphore] = {}
        self.opened: dict[str, threading.Event] = {}

    def stop(self, name: str, condition: Callable[[Any], bool] = lambda _: True) -> None:
        """Stop at `get_many` before the work, or at `got_many` after it, …, if the condition holds for the argument."""
        self.stops[name] = condition
        self.arrived[name] = threading.Semaphore(0)
        self.opened[name] = threading.Event()

    def wait_for(self, name: str) -> None:
        """Return when a thread has stopped there."""
        assert self.arrived[name].acquire(timeout=PATIENCE)

    def open(self, name: str) -> None:
        """Let everybody through from now on."""
        self.stops.pop(name)
        self.opened[name].set()

    def _pass(self, name: str, argument: Any) -> None:
        if name in self.stops and self.stops[name](argument):
            self.arrived[name].release()
            assert self.opened[name].wait(PATIENCE)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says."""
        self._pass("get_many", requests)
        values = self.inner.get_many(requests)
        self._pass("got_many", requests)
        return values

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; nobody stops."""
        return self.inner.get_versioned(keys)

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says."""
        self._pass("write_many", changes)
        self.inner.write_many(changes)
        self._pass("done_many", changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; nobody stops."""
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says; nobody stops."""
        self.inner.apply_many(changes)

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says."""
        self._pass("erase_prefix", folder)
        self.inner.erase_prefix(folder)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says."""
        found = [*self.inner.list_dir(folder)]
        self._pass("listed_dir", folder)
        return iter(found)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads."""
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.fixture
def counting() -> Counting:
    """The store itself."""
    return Counting(MemoryStore(dict(CONTENT)))


@pytest.fixture
def gate(counting: Counting) -> Gate:
    """Where its callers can be stopped."""
    return Gate(counting)


@pytest.fixture
def store(gate: Gate) -> LRUStoreCache:
    """A cache above."""
    return LRUStoreCache(gate, None)


def waiting(store: LRUStoreCache, misses: int) -> None:
    """Return when so many questions were found unanswered: all who asked wait by then, or are about to."""
    moment = threading.Event()
    for _ in range(PATIENCE * 1000):
        if store.misses >= misses:
            return
        moment.wait(0.001)
    pytest.fail(f"only {store.misses} of {misses} have asked")


def listed(store: BaseStore, folder: str) -> list[str]:
    """A folder's names, sorted."""
    return sorted(store.list_dir(folder))


def result(future: "Future[Any]") -> Any:
    """What a thread returned."""
    return future.result(PATIENCE)


# ---------------------------------------------------------------- one request


def test_concurrent_misses_make_one_request(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """Threads that miss one key at once wait for one request, those who want a range of it too."""
    gate.stop("get_many")
    readers = [pool.submit(store.get_many, [Request("a", None)]) for _ in range(8)]
    gate.wait_for("get_many")
    waiting(store, 8)
    ranged = [pool.submit(store.get_many, [Request("a", ByteRange(1, 3))]) for _ in range(4)]
    waiting(store, 12)
    gate.open("get_many")
    assert [result(reader) for reader in readers] == [[b"aaaa"]] * 8
    assert [result(reader) for reader in ranged] == [[b"aa"]] * 4
    assert (counting.calls["get_many"], counting.requested["get_many"]) == (1, 1)


def test_concurrent_listings_make_one_request(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """Threads that list one folder at once wait for one listing."""
    gate.stop("listed_dir")
    first = pool.submit(listed, store, "f/")
    gate.wait_for("listed_dir")
    others = [pool.submit(listed, store, "f/") for _ in range(4)]
    gate.open("listed_dir")
    assert [result(reader) for reader in [first, *others]] == [["f/c", "f/d"]] * 5
    assert counting.calls["list_dir"] == 1


def test_a_failure_goes_to_all_who_wait(gate: Gate, counting: Counting, pool: ThreadPoolExecutor) -> None:
    """When the one request fails, all get its error, and the next reader asks again."""
    faults = Faults(counting)
    gate = Gate(faults)
    store = LRUStoreCache(gate, None)
    gate.stop("get_many")
    faults.fail_next("get_many")
    readers = [pool.submit(store.get_many, [Request("a", None)]) for _ in range(5)]
    gate.wait_for("get_many")
    waiting(store, 5)
    gate.open("get_many")
    for reader in readers:
        with pytest.raises(StoreUnavailableError):
            result(reader)
    assert counting.calls["get_many"] == 0
    assert store["a"] == b"aaaa"
    assert store._ledger.is_idle()


def test_a_failure_about_another_key_is_not_mine(
    gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """A thread that waits for a batch which fails, perhaps for another key of it, asks for its own keys by itself."""
    faults = Faults(counting)
    gate = Gate(faults)
    store = LRUStoreCache(gate, None)
    gate.stop("get_many", lambda requests: len(requests) == 2)
    faults.fail_next("get_many", error=LimitError)
    large = pool.submit(store.get_many, [Request("a", None), Request("x" * 900, None)])
    gate.wait_for("get_many")
    mine = pool.submit(store.get_many, [Request("a", None)])
    waiting(store, 3)
    gate.open("get_many")
    with pytest.raises(LimitError):
        result(large)
    assert result(mine) == [b"aaaa"]
    assert counting.calls["get_many"] == 1


def test_an_interrupted_owner_interrupts_nobody_else(
    gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """When the thread that asks is interrupted, those who wait ask by themselves."""

    class Interrupted(Layer):
        first = True

        get_versioned = None  # type: ignore[assignment]  # not called

        def get_many(self, requests: Any, /) -> Any:
            if self.first:
                self.first = False
                gate.get_many(requests)
                raise KeyboardInterrupt
            return self.inner.get_many(requests)

    store = LRUStoreCache(Interrupted(counting), None)
    gate.stop("get_many")

    def read() -> str:
        try:
            return str(store.get("a"))
        except KeyboardInterrupt:
            return "interrupted"

    owner = pool.submit(read)
    gate.wait_for("get_many")
    other = pool.submit(read)
    waiting(store, 2)
    gate.open("get_many")
    assert result(owner) == "interrupted"
    assert result(other) == "b'aaaa'"
    assert store._ledger.is_idle()


def test_overlapping_batches_do_not_wait_in_a_circle(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """Two batches of which each wants what the other one asks for: both ask first, then wait; no key is asked twice."""
    gate.stop("get_many")
    one = pool.submit(store.get_many, [Request("a", None)])
    gate.wait_for("get_many")
    two = pool.submit(store.get_many, [Request("b", None), Request("a", None)])
    gate.wait_for("get_many")
    three = pool.submit(store.get_many, [Request("a", None), Request("f/c", None), Request("b", None)])
    gate.wait_for("get_many")
    gate.open("get_many")
    assert result(one) == [b"aaaa"]
    assert result(two) == [b"bbbb", b"aaaa"]
    assert result(three) == [b"aaaa", b"cccc", b"bbbb"]
    assert (counting.calls["get_many"], counting.requested["get_many"]) == (3, 3)


def test_an_invalid_key_of_another_batch_is_not_waited_for(store: LRUStoreCache) -> None:
    """A batch with something that is not a key is refused before anybody could join it."""
    with pytest.raises(InvalidKeyError):
        store.get_many([Request("a", None), Request("a//b", None)])
    assert store.misses == 0


# ---------------------------------------------------------------- reads and writes at once


def told(store: LRUStoreCache, forget: Callable[[], object]) -> None:
    """Somebody else writes, and then the cache is told to forget."""
    store.inner.write_many({"f/c": b"new"})
    forget()


WRITES: dict[str, Callable[[LRUStoreCache], object]] = {
    "write_many": lambda store: store.write_many({"f/c": b"new"}),
    "erasing": lambda store: store.write_many({"f/c": None}),
    "erase_prefix": lambda store: store.erase_prefix("f/"),
    "rename_prefix": lambda store: store.rename_prefix("f/", "g/"),
    "swap_many": lambda store: store.swap_many({"f/c": (b"cccc", b"new")}),
    "apply_many": lambda store: store.apply_many({"f/c": b"new"}),
    "invalidate": lambda store: told(store, store.invalidate),
    "invalidate_values": lambda store: told(store, store.invalidate_values),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("part", [None, ByteRange(0, 2)])
def test_an_old_value_does_not_come_in_after_a_write(
    part: ByteRange | None,
    write: Callable[[LRUStoreCache], object],
    store: LRUStoreCache,
    gate: Gate,
    counting: Counting,
    pool: ThreadPoolExecutor,
) -> None:
    """A read that was under way when a key was written gets what it found, leaves nothing behind, and no thread joins it."""
    gate.stop("got_many")
    early = pool.submit(store.get_many, [Request("f/c", part)])
    gate.wait_for("got_many")
    gate.stops.clear()
    write(store)
    late = store.get_many([Request("f/c", part)])
    assert late == counting.inner.get_many([Request("f/c", part)])
    gate.opened["got_many"].set()
    assert result(early) == [b"cccc" if part is None else b"cc"]
    assert store.get_many([Request("f/c", part)]) == late


@pytest.mark.parametrize("name", ["write_many", "done_many"])
def test_a_read_during_a_write_leaves_nothing(
    name: str, store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """While a write is under way every read asks by itself and is not remembered; then the written value is."""
    gate.stop(name)
    writer = pool.submit(store.write_many, {"a": b"new"})
    gate.wait_for(name)
    expected = b"aaaa" if name == "write_many" else b"new"
    for _ in range(2):
        assert store["a"] == expected
        assert listed(store, "") == ["a", "b", "f/"]
    assert counting.calls["get_many"] == 2
    assert counting.calls["list_dir"] == 2
    assert store.statistics.entries == 0
    gate.open(name)
    result(writer)
    assert store["a"] == b"new"
    assert counting.calls["get_many"] == 2


def test_a_read_during_the_erasure_of_its_folder_leaves_nothing(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """While a folder is being erased, reads and listings of what is in it and around it are not remembered."""
    gate.stop("erase_prefix")
    eraser = pool.submit(store.erase_prefix, "f/")
    gate.wait_for("erase_prefix")
    assert store["f/c"] == b"cccc"
    assert listed(store, "f/") == ["f/c", "f/d"]
    assert listed(store, "") == ["a", "b", "f/"]
    store["f/new"] = b"new"
    assert store.statistics.entries == 0
    gate.open("erase_prefix")
    result(eraser)
    assert store.get("f/c") is None
    assert listed(store, "") == ["a", "b"]
    assert store.get("f/new") == counting.inner.get("f/new")


def test_a_folder_erased_during_a_write(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """A value whose folder was erased while it was written is not remembered: which came last is unknown."""
    gate.stop("done_many")
    writer = pool.submit(store.write_many, {"f/c": b"new"})
    gate.wait_for("done_many")
    store.erase_prefix("f/")
    gate.open("done_many")
    result(writer)
    assert store.get("f/c") is None


def test_two_writers_of_one_key(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """Which of two concurrent writers came last is unknown: neither value is remembered."""
    gate.stop("done_many", lambda items: items["a"] == b"first")
    first = pool.submit(store.write_many, {"a": b"first"})
    gate.wait_for("done_many")
    store["a"] = b"second"
    assert store["a"] == b"second"
    gate.open("done_many")
    result(first)
    assert store.statistics.entries == 0
    assert store["a"] == b"second"


def test_a_listing_under_way_when_a_key_appears(
    store: LRUStoreCache, gate: Gate, counting: Counting, pool: ThreadPoolExecutor
) -> None:
    """A listing that was made before a key appeared is not remembered."""
    gate.stop("listed_dir")
    early = pool.submit(listed, store, "")
    gate.wait_for("listed_dir")
    gate.stops.clear()
    store["n/e/w"] = b""
    gate.opened["listed_dir"].set()
    assert result(early) == ["a", "b", "f/"]
    assert listed(store, "") == ["a", "b", "f/", "n/"]


# ---------------------------------------------------------------- everything at once


@pytest.fixture
def eager() -> Iterator[None]:
    """Threads take turns much more often than usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


KEYS = ("zarr.json", "a/zarr.json", "a/c/0", "a/c/1", "b/x")
RANGES = (None, ByteRange(0, 10), ByteRange(-4), ByteRange(3, 3), ByteRange(11, 700))


def is_exact(store: LRUStoreCache) -> None:
    """The statistics are what counting everything that is held gives, and nothing is under way."""
    held = store._ledger.snapshot()
    assert all(size == size_of(item, value) for item, value, size in held)
    found = store.statistics
    assert (found.bytes, found.entries) == (sum(size for _, _, size in held), len(held))
    limit = store.given_options["max_size"]
    assert limit is None or found.bytes <= limit
    assert store._ledger.is_idle()
    parts = Counter(item[0] for item, _, _ in held if item[1] is not None)
    assert {key: len(parts) for key, parts in store._ledger._entries._parts.items()} == parts


def is_the_store(store: LRUStoreCache, bare: Any) -> None:
    """Every key, range, size and listing is that of the bare store."""
    questions = [Request(key, wanted) for key in KEYS for wanted in RANGES]
    assert [*store.get_many(questions)] == [*bare.get_many(questions)]
    assert store.stat_many(KEYS) == bare.stat_many(KEYS)
    for folder in ("", "a/", "a/c/", "b/"):
        assert listed(store, folder) == listed(bare, folder)


def work(store: LRUStoreCache, rng: random.Random, thread: int) -> None:
    """One random operation; what is read is whole."""
    keys = rng.sample(KEYS, rng.randint(1, len(KEYS)))
    choice = rng.random()
    number = thread * 1_000_000 + rng.randrange(1_000_000)
    if choice < 0.5:
        for key, value in zip(keys, store.get_many([Request(key, None) for key in keys]), strict=True):
            assert value is None or generation_of(key, bytes(value)) is not None
    elif choice < 0.6:
        store.get_many([Request(key, rng.choice(RANGES)) for key in keys])
    elif choice < 0.7:
        listed(store, rng.choice(["", "a/", "a/c/", "b/"]))
        store.stat_many(keys)
    elif choice < 0.85:
        store.write_many({key: stamped(key, number) for key in keys})
    elif choice < 0.9:
        store.write_many(dict.fromkeys(keys))
    elif choice < 0.93:
        versions = [version for _, version in store.get_versioned(keys)]
        news = [rng.choice([None, stamped(key, number)]) for key in keys]
        store.swap_many(dict(zip(keys, zip(versions, news, strict=True), strict=True)))
    elif choice < 0.96:
        store.erase_prefix(rng.choice(["a/", "a/c/", "b/"]))
    elif choice < 0.98:
        store.apply_many({key: rng.choice([None, stamped(key, number)]) for key in keys})
    else:
        rng.choice([store.invalidate, store.invalidate_keys, store.invalidate_values])()


def run_together(store: LRUStoreCache, seed: int, threads: int, turns: int) -> None:
    """Random operations in several threads, some of which fail."""
    barrier = threading.Barrier(threads)

    def thread(number: int) -> None:
        rng = random.Random(f"{seed}/{number}")
        barrier.wait(PATIENCE)
        for _ in range(turns):
            try:
                work(store, rng, number)
            except StoreError:
                continue

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(thread, number) for number in range(threads)]:
            future.result()


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("tier", [False, True], ids=["memory", "second tier"])
@pytest.mark.parametrize("max_size", [60, 20_000, None])
@pytest.mark.usefixtures("eager")
@settings(max_examples=6, suppress_health_check=[*HealthCheck])
@given(seed=st.integers(0, 2**32))
def test_afterwards_the_cache_is_the_store(max_size: int | None, tier: bool, rate: float, seed: int) -> None:
    """After threads did everything at once, calls failing or not, every answer is that of the bare store."""
    bare = MemoryStore()
    faults = Faults(bare, rate=rate, seed=seed)
    second = MemoryStore() if tier else None
    store = LRUStoreCache(faults, max_size, cache_store=second, cache_store_size=30_000)
    run_together(store, seed, 4, 40)
    faults.heal()
    is_exact(store)
    for _ in range(2):
        is_the_store(store, bare)
    is_exact(store)
    store._ledger.invalidate()
    is_the_store(store, bare)  # and of what is in the second tier


@pytest.mark.slow
@pytest.mark.parametrize("tier", [False, True], ids=["memory", "second tier"])
def test_afterwards_the_cache_is_the_store_for_long(tier: bool) -> None:
    """Many more random operations leave the cache equal to the store."""
    for seed in range(40):
        test_afterwards_the_cache_is_the_store.hypothesis.inner_test(
            max_size=[60, 20_000, None][seed % 3], tier=tier, rate=0.1 * (seed % 2), seed=seed
        )


@given(seed=st.integers(0, 2**32), max_size=st.sampled_from([0, 60, 300, 20_000, None]), keep=st.booleans())
def test_every_step_is_exact(seed: int, max_size: int | None, keep: bool) -> None:
    """After every single operation the sizes are exact and every answer is that of the bare store."""
    bare = MemoryStore()
    store = LRUStoreCache(bare, max_size, cache_on_write=keep)
    rng = random.Random(seed)
    for _ in range(25):
        work(store, rng, 1)
        is_exact(store)
        questions = [Request(key, rng.choice(RANGES)) for key in KEYS]
        assert [*store.get_many(questions)] == [*bare.get_many(questions)]
        is_exact(store)
    is_the_store(store, bare)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("tier", [False, True], ids=["memory", "second tier"])
@pytest.mark.parametrize("max_size", [0, 25, None])
@pytest.mark.parametrize("keep", [False, True])
def test_nobody_goes_back_in_time(
    max_size: int | None, tier: bool, keep: bool, pool: ThreadPoolExecutor
) -> None:
    """Readers of keys whose numbers only grow never see a number fall, nor one that is behind what was acknowledged."""
    second = MemoryStore() if tier else None
    store = LRUStoreCache(MemoryStore(), max_size, cache_on_write=keep, cache_store=second)
    keys = ("a/0", "a/1", "b/0")
    acknowledged = dict.fromkeys(keys, 0)
    store.write_many(dict.fromkeys(keys, b"0"))
    done = threading.Event()

    def write() -> None:
        for number in range(1, 150):
            store.write_many(dict.fromkeys(keys, b"%d" % number))
            acknowledged.update(dict.fromkeys(keys, number))
        done.set()

    def read(thread: int) -> None:
        rng = random.Random(thread)
        while not done.is_set():
            known = dict(acknowledged)
            asked = rng.sample(keys, rng.randint(1, 3))
            for key, value in zip(asked, store.get_many([Request(key, None) for key in asked]), strict=True):
                found = int(bytes(value or b"-1"))
                assert found >= max(known[key], seen[thread][key])
                seen[thread][key] = found

    seen: dict[int, Counter[str]] = {number: Counter() for number in range(3)}
    readers = [pool.submit(read, number) for number in seen]
    writer = pool.submit(write)
    try:
        result(writer)
    finally:
        done.set()
    for reader in readers:
        result(reader)
    is_exact(store)


def test_own_writes_are_seen(pool: ThreadPoolExecutor) -> None:
    """A thread that wrote a key reads its own value next, whatever other threads read and evict meanwhile."""
    store = LRUStoreCache(MemoryStore(), 3000)

    def write_and_read(thread: int) -> None:
        rng = random.Random(thread)
        for turn in range(200):
            key = f"f/{thread}"
            store[key] = b"%d" % turn
            store.get_many([Request(f"f/{rng.randrange(6)}", rng.choice(RANGES)) for _ in range(4)])
            assert store[key] == b"%d" % turn
            if turn % 20 == 0:
                store.write_many({key: None})
                assert key not in store
                assert key not in listed(store, "f/")

    for future in [pool.submit(partial(write_and_read, number)) for number in range(6)]:
        result(future)
    is_exact(store)
