"""Interrupts (Ctrl-C) at every point of reading and writing: values old or new, no lock taken, everything works at once."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array
from zarrv3.layers import Counting, Prefix
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import KVStore, MemoryStore
from zarrv3.testing.interrupts import interrupted, interruptions

STACKS: dict[str, Callable[[], BaseStore]] = {
    "memory": MemoryStore,
    "mapping": lambda: KVStore({}),
    "layers": lambda: Prefix(Counting(MemoryStore()), "a/b"),
}

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="on Python 3.14 Ctrl-C may leave a lock that `with` has just taken"
)

OLD, NEW = 1, 2

every = pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
"""At every point, or at every thirteenth."""


@pytest.fixture(params=[*STACKS])
def array(request: pytest.FixtureRequest) -> Array:
    """An array of eight elements in chunks of four, all of them old."""
    store = STACKS[request.param]()
    array = zarrv3.create_array(store, shape=8, chunks=4, dtype="i4")
    array[:] = OLD
    return array


@pytest.fixture
def other() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Does something in another thread; fails when that hangs."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda call: pool.submit(call).result(60)


def write_part(array: Array) -> None:
    """Write parts of both chunks."""
    array[2:6] = NEW


def write_all(array: Array) -> None:
    """Write both chunks."""
    array[:] = NEW


def write_at_once(array: Array) -> None:
    """Write parts of both chunks in a transaction."""
    with array.store.transaction() as store:
        zarrv3.open_array(store, mode="r+")[2:6] = NEW


@every
@pytest.mark.parametrize("write", [write_part, write_all, write_at_once])
def test_interrupted_writes(
    array: Array, write: Callable[[Array], None], step: int, other: Callable[[Callable[[], Any]], Any]
) -> None:
    """Wherever a write is interrupted, each chunk is old or new, in a transaction all are; the next write works at once."""
    expected = np.full(8, OLD)
    write(array)
    expected = other(lambda: array[:])
    kept = []
    other(lambda: array.set_basic_selection(slice(None), OLD))
    for error in interruptions(lambda: write(array), step):
        kept.append(error)  # with all its frames, as `sys.last_value` is
        left = other(lambda: array[:])
        for chunk in (slice(4), slice(4, 8)):
            assert (left[chunk] == OLD).all() or (left[chunk] == expected[chunk]).all(), left
        if write is write_at_once:
            assert (left == OLD).all() or (left == expected).all(), left
        other(lambda: write(array))
        assert (other(lambda: array[:]) == expected).all()
        other(lambda: array.set_basic_selection(slice(None), OLD))
    assert len(kept) > 100 // step


@every
def test_interrupted_appends(array: Array, step: int, other: Callable[[Callable[[], Any]], Any]) -> None:
    """Wherever an append is interrupted, the array has its old length or a longer one, and what was there is there."""
    kept = []
    for error in interruptions(lambda: array.append([NEW]), step):
        kept.append(error)
        length = other(lambda: array.refresh().shape[0])
        other(lambda: array.append([NEW]))
        values = other(lambda: array[:])
        assert values.shape == (length + 1,)
        assert (values[:8] == OLD).all()
        assert values[-1] == NEW
        other(lambda: array.resize(8))
    assert len(kept) > 100 // step


@every
def test_interrupted_reads(array: Array, step: int, other: Callable[[Callable[[], Any]], Any]) -> None:
    """Wherever a read is interrupted, the next ones, by any thread, work."""
    kept = []
    for error in interruptions(lambda: array[1:7], step):
        kept.append(error)
        assert (other(lambda: array[1:7]) == OLD).all()
    assert len(kept) > 100 // step
    assert interrupted(lambda: array[1:7], 10_000) is None


@every
def test_interrupted_reads_and_writes_with_a_cache(
    step: int, other: Callable[[Callable[[], Any]], Any]
) -> None:
    """Decoded chunks that are remembered stay right, and the cache usable, wherever reads and writes are interrupted."""
    store = MemoryStore()
    zarrv3.create_array(store, shape=64, chunks=8, dtype="i4")[:] = OLD
    cached = zarrv3.open_array(store, mode="r+", chunk_cache=400)
    kept = []
    for call in (lambda: cached.set_basic_selection(slice(4, 20), NEW), lambda: cached[3:30]):
        for error in interruptions(call, 1 + step // 4):
            kept.append(error)
            assert (other(lambda: cached[:]) == other(lambda: zarrv3.open_array(store)[:])).all()
    assert len(kept) > 100


@pytest.mark.parametrize("seconds", [0.5, pytest.param(120, marks=pytest.mark.slow)])
def test_real_interrupts(array: Array, seconds: float, other: Callable[[Callable[[], Any]], Any]) -> None:
    """Real signals at random moments, up to 3,000 of them, leave values old or new, and a store that works."""
    armed = False

    def raise_interrupt(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        pytest.skip("signals come to the main thread, where there are timers")
    rng, count, kept = np.random.default_rng(0), 0, []
    usual = signal.signal(signal.SIGALRM, raise_interrupt)
    end = time.monotonic() + seconds
    try:
        while count < 3000 and time.monotonic() < end:
            try:
                armed = True
                # once more after a second: Python drops what is raised while it clears a weak reference away
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2e-3), 1)
                while True:
                    array[2:6] = NEW
                    array[1:7]
            except KeyboardInterrupt as error:
                armed = False
                kept[:] = [error]
            count += 1
            values = other(lambda: array[:])
            assert {*values.tolist()} <= {OLD, NEW}
            other(lambda: array.set_basic_selection(slice(None), OLD))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    assert count > 10
