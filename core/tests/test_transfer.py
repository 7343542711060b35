"""Moving chunks: how often the store is asked, how much memory that takes, and what several threads do to each other."""

import dataclasses
import threading
import time
import tracemalloc
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array, Buffer, Capabilities, Counting, Layer, MemoryStore, Request, config
from zarrv3.chunks import pool
from zarrv3.errors import StoreAccessError
from zarrv3.store.contract import Changes, Swaps, Versioned


def counted(shape: Any, chunks: Any, **arguments: Any) -> tuple[Array, Counting]:
    """A new array and the counter of its store, at zero."""
    counting = Counting(MemoryStore())
    array = zarrv3.create(shape, chunks=chunks, store=counting, **arguments)
    counting.reset()
    return array, counting


# ---------------------------------------------------------------- how often the store is asked


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("window", [1, 7, 64])
@pytest.mark.parametrize("many", [1, 7, 64, 65, 500])
def test_reading_asks_for_a_window_at_once(threads: int, window: int, many: int) -> None:
    """N small chunks cost N / window calls, with however many threads."""
    array, counting = counted(many * 10, 10)
    with config.set(threads=threads, window=window):
        array[...]
    assert counting.calls == {"get_many": -(-many // window)}
    assert counting.requested["get_many"] == many


class Away(Layer):
    """A store that is far away: calls for values wait until as many are under way as are wanted."""

    wanted = threading.Barrier(1)

    @property
    def capabilities(self) -> Capabilities:
        """Those of what is below, with round trips."""
        return dataclasses.replace(self.inner.capabilities, local=False)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wait for the others."""
        if len(requests) > 1:
            self.wanted.wait(60)
        return super().get_many(requests)


def test_large_chunks_are_shared_among_threads() -> None:
    """Chunks worth a thread are cut into as many tasks as there are threads, and not into more."""
    counting = Counting(MemoryStore())
    array = zarrv3.create((64 * 10_000,), chunks=10_000, dtype="f8", store=Away(counting), compressors=None)
    for threads in (1, 4):
        with config.set(threads=threads):
            counting.reset()
            array[...]
            assert counting.calls["get_many"] == threads


def test_more_windows_are_under_way_where_threads_wait() -> None:
    """A store with round trips is asked for three windows a processor at once, each as large as before."""
    many, window, chunk = pool.threads(waiting=True), 24, 2**11
    assert many == 3 * pool.threads()
    counting = Counting(MemoryStore())
    shape = (window * many * chunk,)
    array = zarrv3.create(shape, chunks=chunk, dtype="f8", store=Away(counting), compressors=None)
    array[...] = np.arange(float(*shape))
    counting.reset()
    Away.wanted = threading.Barrier(many)
    with config.set(window=window):
        assert array[-1] == array[...][-1]
    assert counting.requested["get_many"] == window * many + 1
    assert counting.calls["get_many"] == many + 1


def test_whole_chunks_are_written_without_reading() -> None:
    """Writing whole chunks reads nothing; at the edge, where others may append, the chunks there are looked at."""
    array, counting = counted((90, 8), (10, 4))
    array[...] = 1
    array[10:30] = 2
    assert counting.requested == {"write_many": 18 + 4}
    array, counting = counted((95, 8), (10, 4))
    array[:90] = 1
    array[10:30] = 2
    array[...] = 3
    assert counting.requested == {"write_many": 18 + 4 + 18, "get_versioned": 2, "swap_many": 2}


def test_parts_of_chunks_are_read_once() -> None:
    """Writing parts reads and swaps those chunks, in one call each per task, and only those; whole ones are written."""
    array, counting = counted(100, 10)
    array[5:35] = 1
    assert counting.calls == {"get_versioned": 1, "write_many": 1, "swap_many": 1}
    assert counting.requested == {"get_versioned": 2, "write_many": 2, "swap_many": 2}
    counting.reset()
    array[5:35] = 0
    assert counting.calls == {"get_versioned": 1, "write_many": 1, "swap_many": 1}
    assert [*counting.inner] == ["zarr.json"]


def test_fill_values_into_nothing_cost_no_write() -> None:
    """Writing the fill value to part of a chunk that is not stored neither stores nor erases it."""
    array, counting = counted(100, 10)
    array[3:7] = 0
    assert counting.calls == {"get_versioned": 1}


def test_a_store_that_cannot_erase_keeps_empty_chunks() -> None:
    """Where nothing can be erased the fill value is stored, so that the old values are gone."""

    class NoErase(Layer):
        kind = "no-erase"

        @property
        def capabilities(self) -> Capabilities:
            return self.inner.capabilities.without("erase")

    array = zarrv3.create(10, chunks=5, store=NoErase(MemoryStore()))
    array[...] = 1
    array[...] = 0
    assert not array[...].any()
    assert array.nchunks_initialized == 2


# ---------------------------------------------------------------- progress


@pytest.mark.parametrize("threads", [1, 8])
def test_progress(threads: int) -> None:
    """The callback is told chunks done and in all, growing to the end, reading and writing."""
    array, _ = counted(200, 1)
    seen: list[tuple[int, int]] = []
    with config.set(threads=threads, window=9), pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrv3.chunks.tasks.SMALL_CHUNK", 0)
        patch.setattr("zarrv3.chunks.tasks.LARGE", 0)
        for act in (
            lambda: array.write(..., 1, progress=lambda *a: seen.append(a)),
            lambda: array.read(progress=lambda *a: seen.append(a)),
        ):
            seen.clear()
            act()
            assert seen == sorted(seen)
            assert seen[-1] == (200, 200)
            assert len(seen) >= 200 // 9


def test_progress_may_stop_everything() -> None:
    """What the callback raises reaches the caller and no more tasks are started."""
    array, counting = counted(100, 1)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with config.set(threads=1, window=1), pytest.raises(KeyboardInterrupt):
        array.read(progress=stop)
    assert counting.calls["get_many"] == 1


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("threads", [1, 4])
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Beside the result no more is held than the tasks under way."""
    monkeypatch.setattr("zarrv3.chunks.tasks.TASK_BYTES", 2**20)
    array = zarrv3.create((64, 2**17), chunks=(1, 2**17), dtype="f4", compressor="auto")
    array[...] = np.arange(2**17) // 2**12  # compresses well: what the store holds is not what is measured
    out = np.empty(array.shape, "f4")[
        ::-1
    ]  # 32 MiB; chunks cannot be decoded straight into it when shapes differ
    with config.set(threads=threads):
        for act in (lambda: array.read(out=out), lambda: array.write(..., out)):
            array[0]  # warm
            tracemalloc.start()
            act()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < (threads + 1) * 3 * 2**20 + 2**20 * 2


# ---------------------------------------------------------------- threads


class Writes(Layer):
    """Tells what is written before it is."""

    kind = "writes"

    def before(self, keys: Collection[str]) -> None:
        """Called with the keys of each batch, whichever way it is written."""

    def write_many(self, changes: Changes, /) -> None:
        """Told."""
        self.before(changes)
        self.inner.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Told."""
        self.before(swaps)
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        """Told."""
        self.before(changes)
        self.inner.apply_many(changes)


class Slow(Layer):
    """A store whose reads take a while, so that writers would get in each other's way."""

    kind = "slow"

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Read, then wait."""
        values = self.inner.get_many(requests)
        time.sleep(0.002)
        return values

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Read, then wait."""
        values = self.inner.get_versioned(keys)
        time.sleep(0.002)
        return values


def test_partial_writes_to_one_chunk_are_not_lost() -> None:
    """Many threads write parts of the same chunks, through objects of their own: every part is there in the end."""
    store = Slow(MemoryStore())
    zarrv3.create((4, 64), chunks=(2, 64), dtype="i4", store=store)

    def work(column: int) -> None:
        Array(store)[:, column] = column + 1

    with ThreadPoolExecutor(16) as pool:
        [*pool.map(work, range(64))]
    assert np.array_equal(Array(store)[...], np.tile(np.arange(64) + 1, (4, 1)))


def test_whole_and_partial_writes_are_in_some_order() -> None:
    """A partial write does not bring back what a whole write replaced meanwhile."""
    store = Slow(MemoryStore())
    array = zarrv3.create(8, chunks=8, dtype="i4", store=store)
    for round_ in range(1, 20):
        part = threading.Thread(target=lambda: array.__setitem__(0, -1))
        part.start()
        time.sleep(0.001)
        array[:] = round_
        part.join()
        assert set(array[1:].tolist()) == {round_}


def test_writers_of_different_chunks_do_not_wait() -> None:
    """Tasks that share no chunk run at the same time, however many chunks each has."""
    inside = threading.Barrier(2, timeout=20)

    class Meeting(Writes):
        kind = "meeting"

        def before(self, keys: Collection[str]) -> None:
            if len(keys) > 1:
                inside.wait()

    array = zarrv3.create(2000, chunks=10, dtype="i4", store=Meeting(MemoryStore()))
    with config.set(window=1000), ThreadPoolExecutor(2) as pool:
        [*pool.map(lambda start: array.__setitem__(slice(start, start + 1000), 1), (0, 1000))]
    assert array[...].all()


def test_locks_are_given_back_after_an_error() -> None:
    """A write that fails leaves nothing locked."""

    class Failing(Writes):
        kind = "failing"
        broken = True

        def before(self, keys: Collection[str]) -> None:
            if self.broken and "zarr.json" not in keys:
                raise StoreAccessError("disk full")

    store = Failing(MemoryStore())
    array = zarrv3.create(10, chunks=5, store=store)
    with pytest.raises(StoreAccessError, match="disk full"):
        array[...] = 1
    store.broken = False
    array[2:7] = 2
    assert array[...].sum() == 10


def test_the_first_error_stops_the_rest() -> None:
    """When a task fails its error is raised once and the tasks that were not started are not."""
    array, counting = counted(20_000, 1)
    array[...] = 1
    array.store["c/0"] = b"x"
    counting.reset()
    with config.set(threads=2, window=1), pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrv3.chunks.tasks.SMALL_CHUNK", 0)
        patch.setattr("zarrv3.chunks.tasks.LARGE", 0)
        with pytest.raises(ValueError, match="c/0"):
            array[...]
    assert counting.calls["get_many"] < 10_000


def test_errstate_reaches_the_threads() -> None:
    """Numpy's handling of casting errors is the caller's in every thread."""
    array = zarrv3.create(100, chunks=10, dtype="f4")
    with config.set(threads=4, window=1), pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrv3.chunks.tasks.SMALL_CHUNK", 0)
        patch.setattr("zarrv3.chunks.tasks.LARGE", 0)
        with np.errstate(over="ignore"):
            array[...] = np.full(100, 1e300)
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            array[...] = np.full(100, 1e300)


def test_writing_does_not_keep_the_callers_memory() -> None:
    """What the caller does to its array after a write changes nothing in the store."""
    values = np.ones(10)
    array = zarrv3.array(values, chunks=5, compressor=None)
    values[:] = 2
    assert array[...].tolist() == [1.0] * 10
    out = array[...]
    out[:] = 3
    assert array[...].tolist() == [1.0] * 10
