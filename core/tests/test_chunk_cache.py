"""The cache of decoded chunks: what it saves, its bound, and that no reader sees an old chunk after a write."""

import pickle
import random
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrv3
from zarrv3.chunks.chunk_cache import ENTRY_BYTES, ChunkCache, ChunkStatistics
from zarrv3.errors import ConfigurationError, CorruptDataError
from zarrv3.hierarchy.array import Array
from zarrv3.layers import Counting, Layer
from zarrv3.store.contract import Buffer, Request, Versioned
from zarrv3.store.memory import MemoryStore

PATIENCE = 60
DATA = np.arange(40 * 30).reshape(40, 30)


@pytest.fixture
def store() -> Counting:
    """A store that counts, with a compressed array of 4 x 3 chunks of 800 bytes in it."""
    counting = Counting(MemoryStore())
    array = zarrv3.create_array(counting, name="x", shape=(40, 30), chunks=(10, 10), dtype="i8")
    array[:] = DATA
    return counting


def opened(store: Any, cache: ChunkCache | int | str | None = "1MiB") -> Array:
    """The array with a cache; counting begins now."""
    array = zarrv3.open_array(store, path="x", chunk_cache=cache)
    store.reset()
    return array


def statistics(array: Array) -> ChunkStatistics:
    """The numbers of an array's cache."""
    assert array.chunk_cache is not None
    return array.chunk_cache.statistics


def test_second_read_costs_nothing(store: Counting) -> None:
    """What was read is neither fetched nor decoded again, whatever part of it is asked for."""
    array = opened(store)
    for selection in (np.s_[:, :], np.s_[5:25, ::3], np.s_[3, 4], np.s_[[1, 30], 2:9]):
        np.testing.assert_array_equal(array[selection], DATA[selection])
    assert store.calls == {"get_many": 1}
    assert statistics(array)[:2] == (3 * 3 + 1 + 2, 12)


def test_only_missing_chunks_are_fetched(store: Counting) -> None:
    """Of a selection, one call asks for the chunks that are not remembered."""
    array = opened(store)
    array[:10]
    store.reset()
    np.testing.assert_array_equal(array[:20], DATA[:20])
    assert (store.calls["get_many"], store.requested["get_many"]) == (1, 3)


def test_off_by_default(store: Counting) -> None:
    """Without being asked for, there is no cache."""
    array = opened(store, None)
    assert array.chunk_cache is None
    assert array.layout.cache is None
    array[:]
    array[:]
    assert store.calls["get_many"] == 2


def test_absent_chunks_are_remembered(store: Counting) -> None:
    """A chunk that is not stored is asked for once and reads as the fill value."""
    zarrv3.create_array(store, name="x", shape=20, chunks=10, dtype="f4", fill_value=7, overwrite=True)
    array = opened(store)
    for _ in range(2):
        np.testing.assert_array_equal(array[:], np.full(20, 7, "f4"))
    assert store.calls["get_many"] == 1
    assert statistics(array) == ChunkStatistics(2, 2, 0, 2 * ENTRY_BYTES, 2)


def test_what_is_returned_is_the_callers(store: Counting) -> None:
    """Changing what was read changes nothing that is read later."""
    array = opened(store)
    for _ in range(3):
        got = array[:10, :10]
        np.testing.assert_array_equal(got, DATA[:10, :10])
        got[:] = 0


def test_bounded_and_least_recently_used(store: Counting) -> None:
    """The chunks never take more than they may; those unused longest go."""
    size = 3 * (800 + ENTRY_BYTES)
    array = opened(store, size)
    for row in (0, 10, 20, 0, 30):
        array[row, 0]
    assert statistics(array) == ChunkStatistics(1, 4, 1, size, 3)
    store.reset()
    array[0, 0]
    array[20, 0]
    array[30, 0]
    assert not store.calls
    np.testing.assert_array_equal(array[:], DATA)
    assert statistics(array).bytes <= size


@pytest.mark.parametrize("size", [0, 1000])
def test_chunks_that_do_not_fit_pass_through(size: int, store: Counting) -> None:
    """A chunk larger than the cache is read and not remembered."""
    array = opened(store, size)
    np.testing.assert_array_equal(array[:], DATA)
    assert statistics(array).chunks == 0


@pytest.mark.parametrize("size", ["much", -1, 1.5, True])
def test_bad_sizes(size: Any, store: Counting) -> None:
    """What is not a size is refused."""
    with pytest.raises(ConfigurationError, match="size"):
        opened(store, size)


def test_strings_are_not_remembered(store: Counting) -> None:
    """Chunks whose elements differ in length are read as without a cache."""
    zarrv3.create_array(store, name="x", shape=3, chunks=2, dtype=str, overwrite=True)[:] = ["a", "b", "c"]
    array = opened(store)
    assert [*array[:]] == [*array[:]] == ["a", "b", "c"]
    assert statistics(array) == ChunkStatistics()


def test_fields_of_remembered_chunks(store: Counting) -> None:
    """A field is taken from a remembered chunk."""
    dtype = np.dtype([("a", "i4"), ("b", "f8")])
    data = np.array([(i, i / 2) for i in range(20)], dtype)
    zarrv3.create_array(store, name="x", shape=20, chunks=8, dtype=dtype, overwrite=True)[:] = data
    array = opened(store)
    np.testing.assert_array_equal(array[:], data)
    store.reset()
    np.testing.assert_array_equal(array["b"], data["b"])
    np.testing.assert_array_equal(array.read(fields=["b", "a"])["a"], data["a"])
    assert not store.calls


# ---------------------------------------------------------------- writing

CHANGES: dict[str, Callable[[Array], object]] = {
    "whole": lambda array: array.__setitem__(..., -1),
    "part": lambda array: array.__setitem__(np.s_[5:15, 3], -2),
    "points": lambda array: array.vindex.__setitem__(([1, 35], [2, 3]), -3),
    "fill value": lambda array: array.__setitem__(np.s_[:10], 0),
    "shrink": lambda array: array.resize(25, 12),
    "append": lambda array: array.append(np.ones((7, 30), "i8")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("writer", ["same", "sharing"])
def test_changes_are_seen(writer: str, change: Callable[[Array], object], store: Counting) -> None:
    """What is changed through an array is seen by it, and by arrays that share its cache and store."""
    cache = ChunkCache("1MiB")
    reader = opened(store, cache)
    reader[:]
    change(reader if writer == "same" else opened(store, cache))
    expected = zarrv3.open_array(store, path="x")[:]
    if reader.shape != expected.shape:
        assert writer == "sharing"
        common = tuple(map(slice, map(min, reader.shape, expected.shape)))
        np.testing.assert_array_equal(reader[common], expected[common])
    else:
        np.testing.assert_array_equal(reader[:], expected)
    reader.refresh()
    reader.resize(60, 60)
    everything = reader[:]
    np.testing.assert_array_equal(everything, zarrv3.open_array(store, path="x")[:])


def test_only_changed_chunks_are_forgotten(store: Counting) -> None:
    """A write makes its own chunks forgotten and no others."""
    array = opened(store)
    array[:]
    array[3:12, 0] = 1
    store.reset()
    array[:]
    assert store.requested["get_many"] == 2


def test_part_of_a_chunk_is_written_on_what_is_stored(store: Counting) -> None:
    """Writing part of a chunk keeps what others wrote to the rest of it, though a cache remembers it as it was."""
    array, other = opened(store), zarrv3.open_array(store, path="x")
    array[:]
    other[0, 0] = -5
    array[1, 1] = -6
    assert (other[0, 0], other[1, 1]) == (-5, -6)
    assert (array[0, 0], array[1, 1]) == (-5, -6)


def test_others_are_seen_after_refresh(store: Counting) -> None:
    """What another array object wrote is seen after `refresh` or `invalidate`; other arrays' chunks stay."""
    zarrv3.create_array(store, name="y", shape=4, dtype="u1", chunks=4)[:] = 9
    cache = ChunkCache("1MiB")
    array, neighbour = opened(store, cache), zarrv3.open_array(store, path="y", chunk_cache=cache)
    other = zarrv3.open_array(store, path="x")
    for look in (array.refresh, cache.invalidate):
        array[:], neighbour[:]
        other[0, 0] += 1
        assert array[0, 0] == other[0, 0] - 1
        look()
        store.reset()
        assert array[0, 0] == other[0, 0]
        neighbour[:]
        assert store.requested["get_many"] == 1 + 1 + (look == cache.invalidate)


def test_another_form_under_the_same_key(store: Counting) -> None:
    """An array that was made again with another dtype is not read from chunks of the old one."""
    cache = ChunkCache("1MiB")
    opened(store, cache)[:]
    made = zarrv3.create_array(store, name="x", shape=(40, 30), chunks=(10, 10), dtype="f8", overwrite=True)
    made[:] = DATA / 4
    again = opened(store, cache)
    for _ in range(2):
        np.testing.assert_array_equal(again[:], DATA / 4)


def test_stores_are_kept_apart() -> None:
    """Equal keys of two stores are two chunks, also when the stores are equal for the moment."""
    cache = ChunkCache("1MiB")
    arrays = [
        zarrv3.open_array(MemoryStore(), shape=4, chunks=4, dtype="i4", chunk_cache=cache) for _ in range(2)
    ]
    assert arrays[0].store == arrays[1].store
    assert [int(array[0]) for array in arrays] == [0, 0]
    arrays[0][:] = 1
    assert [int(array[0]) for array in arrays] == [1, 0]
    del arrays[0]
    third = zarrv3.open_array(MemoryStore(), shape=4, chunks=4, dtype="i4", chunk_cache=cache)
    assert int(third[0]) == 0


def test_corrupt_chunks_are_not_remembered(store: Counting) -> None:
    """A chunk that cannot be decoded is an error each time, until it is whole again; its neighbours are fine."""
    array = opened(store)
    good = store["x/c/0/1"]
    store["x/c/0/1"] = good[:-3]
    for _ in range(2):
        with pytest.raises(CorruptDataError, match="x/c/0/1"):
            array[:]
    store["x/c/0/1"] = good
    np.testing.assert_array_equal(array[:], DATA)


# ---------------------------------------------------------------- at once


class Held(Layer):
    """A store whose reads, once they have their values, wait for a sign."""

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.holding = False
        self.arrived = threading.Event()
        self.go_on = threading.Event()

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wait with the values in hand."""
        values = self.inner.get_many(requests)
        self.hold()
        return values

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Wait with the values in hand."""
        values = self.inner.get_versioned(keys)
        self.hold()
        return values

    def hold(self) -> None:
        """Wait for the sign, if told to."""
        if self.holding:
            self.arrived.set()
            assert self.go_on.wait(PATIENCE)


@pytest.mark.parametrize(
    "change",
    [
        *CHANGES.values(),
        lambda array: (array.store.inner.inner.erase_prefix("x/c/"), array.refresh()),
        lambda array: (array.store.inner.inner.erase_prefix("x/c/"), array.chunk_cache.invalidate()),
    ],
)
def test_an_old_chunk_does_not_come_in_after_a_write(
    change: Callable[[Array], object], store: Counting
) -> None:
    """A read that was under way when its chunks were changed leaves nothing behind."""
    held = Held(store)
    array = zarrv3.open_array(held, path="x", chunk_cache="1MiB")
    held.holding = True
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(lambda: array[:])
        assert held.arrived.wait(PATIENCE)
        held.holding = False
        change(array)
        held.go_on.set()
        early.result(PATIENCE)
    np.testing.assert_array_equal(array[:], zarrv3.open_array(store, path="x")[:])


def test_a_read_during_a_write_leaves_nothing(store: Counting) -> None:
    """What is read while its chunk is being written is not remembered."""
    array = opened(store)
    cache = array.layout.cache
    assert cache is not None
    with cache.changing(["x/c/0/0"]):
        array[:]
        assert statistics(array).chunks == 11
    array[:]
    assert statistics(array).chunks == 12


@pytest.mark.parametrize("shards", [None, (20, 20)])
@settings(max_examples=8, suppress_health_check=[*HealthCheck])
@given(seed=st.integers(0, 2**32), size=st.sampled_from([0, 3000, 10**6]))
def test_afterwards_the_cache_is_the_store(shards: Any, size: int, seed: int) -> None:
    """After threads read and wrote everything at once, each its own columns, every element is what was written last."""
    if shards is not None:
        pytest.importorskip("zarrv3_transformer_sharding")
    cache = ChunkCache(size)
    store = MemoryStore()
    array = zarrv3.create_array(store, shape=(40, 40), chunks=(10, 10), shards=shards, dtype="i4")
    array = array.with_chunk_cache(cache)
    expected = np.zeros((40, 40), "i4")

    def work(thread: int) -> None:
        rng = random.Random(f"{seed}/{thread}")
        mine = np.s_[:, thread * 10 + 5 : thread * 10 + 15]
        for turn in range(15):
            first = rng.randrange(40)
            rows = slice(first, rng.randrange(first, 41))
            choice = rng.random()
            if choice < 0.4:
                array[rows, mine[1]] = expected[rows, mine[1]] = rng.choice([0, thread * 100 + turn])
            elif choice < 0.7:
                np.testing.assert_array_equal(array[rows, mine[1]], expected[rows, mine[1]])
            else:
                array[rng.randrange(40), :]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(3) as pool:
            for future in [pool.submit(work, thread) for thread in range(3)]:
                future.result(PATIENCE)
    finally:
        sys.setswitchinterval(before)
    for _ in range(2):
        np.testing.assert_array_equal(array[:], expected)
    with cache._lock:
        held = [ENTRY_BYTES + (0 if chunk is None else chunk.nbytes) for _, chunk in cache._chunks.values()]
        assert cache._bytes == sum(held) <= size
        assert not cache._changing
        assert not cache._readings


# ---------------------------------------------------------------- life


def test_pickles_empty() -> None:
    """A pickled array has an empty cache of the same size; arrays that share one share its copy."""
    store = MemoryStore(name="chunk-cache")
    cache = ChunkCache(5000)
    array = zarrv3.open_array(store, mode="w", shape=4, dtype="i4", chunk_cache=cache)
    array[:] = 3
    array[:]
    one, two = pickle.loads(pickle.dumps([array, array.with_chunk_cache(cache)]))
    assert one.chunk_cache is two.chunk_cache
    assert one.chunk_cache.max_size == 5000
    assert one.chunk_cache.statistics == ChunkStatistics()
    assert [*one[:]] == [3] * 4
    assert array.with_chunk_cache(None).chunk_cache is None
    assert repr(cache) == f"<ChunkCache {16 + ENTRY_BYTES} of 5000 bytes>"
    store.clear()


def test_a_fork_begins_with_nothing(store: Counting) -> None:
    """A forked child has an empty cache, even if another thread held its lock."""
    from zarrv3.testing.processes import CONTEXT, Child

    if CONTEXT.get_start_method() != "fork":
        pytest.skip("no fork here")
    array = opened(store)
    array[:]
    cache = array.chunk_cache
    assert cache is not None
    with cache._lock:
        child = Child(lambda: (statistics(array).chunks, int(array[3, 4])))
    try:
        assert child.result() == (0, DATA[3, 4])
    finally:
        child.kill()
    assert statistics(array).chunks == 12
