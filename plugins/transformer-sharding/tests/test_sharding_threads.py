"""Threads and processes that write to one shard."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import MemoryStore
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, Changes, Request, Swaps, Versioned
from zarrv3.store.helpers import digest
from zarrv3_transformer_sharding import ShardingTransformer

MANY = 16


class Slow(Layer):
    """Lets other threads run in the middle of every call, so that what is not locked goes wrong."""

    kind = "slow"

    def get_many(self, requests: Any, /) -> Any:
        """As the contract says."""
        return self._slowly(self.inner.get_many(requests))

    def get_versioned(self, keys: Any, /) -> Any:
        """As the contract says."""
        return self._slowly(self.inner.get_versioned(keys))

    def _slowly(self, found: Any) -> Any:
        for _ in range(20):
            os.sched_yield()
        return found


def together(actions: Sequence[Callable[[], object]]) -> None:
    """Do all at once, each in a thread of its own."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        start.wait()
        action()

    with ThreadPoolExecutor(len(actions)) as pool:
        for future in [pool.submit(run, action) for action in actions]:
            future.result()


@pytest.fixture(params=["codec", "transformer", "nested"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One shard of sixteen chunks of two elements, in all spellings."""
    two = [ShardingTransformer("indexed", 4), ShardingTransformer("indexed", 4)]
    return {
        "codec": {"shards": 2 * MANY},
        "transformer": {"storage_transformers": [ShardingTransformer("indexed", MANY)]},
        "nested": {"storage_transformers": two},
    }[str(request.param)]


@pytest.mark.parametrize("rounds", [10])
def test_threads_lose_nothing(options: dict[str, Any], rounds: int) -> None:
    """Sixteen threads, sixteen chunks, one shard: every chunk has what its thread wrote last."""
    store = Slow(MemoryStore())
    zarrv3.create_array(store, shape=2 * MANY, chunks=2, dtype="i4", **options)
    for number in range(1, rounds + 1):
        arrays = [zarrv3.open_array(store, mode="r+") for _ in range(MANY)]
        expected = np.repeat(number * 100 + np.arange(MANY), 2)
        parts = [slice(2 * i, 2 * i + 2) for i in range(MANY)]
        together(
            [
                partial(array.__setitem__, part, expected[part])
                for array, part in zip(arrays, parts, strict=True)
            ]
        )
        assert (zarrv3.open_array(store)[...] == expected).all()


def test_users_of_the_store_lose_nothing(options: dict[str, Any]) -> None:
    """Those who set, erase and swap chunks through the store itself, or in a transaction, take the same turns, whatever object they hold."""
    store = Slow(MemoryStore(name="users-of-shards"))  # whose pickled copies have the same content
    array = zarrv3.create_array(
        store, shape=2 * MANY, chunks=2, dtype="u1", compressors=None, overwrite=True, **options
    )
    array[:] = 1
    bound = [
        zarrv3.open_array(store).layout.store if i % 2 else pickle.loads(pickle.dumps(array)).layout.store
        for i in range(MANY)
    ]
    actions: list[Callable[[], object]] = []
    for i, chunks in enumerate(bound):
        key = f"c/{i}"
        actions.append(
            [
                lambda chunks=chunks, key=key, i=i: chunks.write_many({key: bytes([i, i])}),
                lambda chunks=chunks, key=key: chunks.write_many({key: None}),
                lambda chunks=chunks, key=key, i=i: chunks.swap_many({key: (digest(b"\1\1"), bytes([i, i]))}),
                lambda chunks=chunks, key=key, i=i: chunks.apply_many({key: bytes([i, i])}),
                lambda i=i: array.__setitem__(slice(2 * i, 2 * i + 2), i),
            ][i % 5]
        )
    together(actions)
    expected = [0 if i % 5 == 1 else i for i in range(MANY)]
    assert array[...].tolist() == np.repeat(expected, 2).tolist()


def test_appending_together(options: dict[str, Any]) -> None:
    """Several who append to an array whose places share a shard all get a place of their own, and keep it."""
    store = Slow(MemoryStore())
    zarrv3.create_array(store, shape=0, chunks=2, dtype="i4", **options)
    together(
        [lambda i=i: zarrv3.open_array(store, mode="r+").append([i, i]) for i in range(1, MANY + 1)]  # type: ignore[misc]
    )
    found = zarrv3.open_array(store)[...]
    assert sorted(found.tolist()) == sorted([*range(1, MANY + 1)] * 2)
    assert (found[::2] == found[1::2]).all()


class Overtaken(Layer):
    """Lets another writer in after the next call of a method."""

    kind = "overtaken"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.after: dict[str, Callable[[], object]] = {}

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says; nobody comes in."""
        return self.inner.get_many(requests)

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says; nobody comes in."""
        self.inner.write_many(changes)

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says; nobody comes in."""
        self.inner.apply_many(changes)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says."""
        found = self.inner.get_versioned(keys)
        self.after.pop("get_versioned", int)()
        return found

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says."""
        refused = self.inner.swap_many(swaps)
        self.after.pop("swap_many", int)()
        return refused


def test_overtaken_while_appending(options: dict[str, Any]) -> None:
    """Who appends after us, and has written before we have, keeps what is in the same shard, though we write its start."""
    store = MemoryStore()
    zarrv3.create_array(store, shape=0, chunks=2, dtype="i4", **options)
    overtaken = Overtaken(store)
    mine = zarrv3.open_array(overtaken, mode="r+")
    overtaken.after["swap_many"] = lambda: zarrv3.open_array(store, mode="r+").append([2, 2, 3])
    mine.append([1, 1])
    assert zarrv3.open_array(store)[...].tolist() == [1, 1, 2, 2, 3]


def test_overtaken_while_swapping(options: dict[str, Any]) -> None:
    """A swap whose shard another process has changed meanwhile is made on top of that, or refused if the chunk changed."""
    store = MemoryStore()
    array = zarrv3.create_array(store, shape=2 * MANY, chunks=2, dtype="u1", compressors=None, **options)
    array[:] = 1
    overtaken = Overtaken(store)
    mine = zarrv3.open_array(overtaken, mode="r+").layout.store

    before = store["c/0"]
    array[2:4] = 5
    changed = store["c/0"]
    one = digest(b"\1\1")
    for swaps, refused, values in (
        ({"c/0": (one, b"\7\7")}, set(), [7, 7, 5, 5, 1, 1]),
        ({"c/1": (one, b"\7\7")}, {"c/1"}, [1, 1, 5, 5, 1, 1]),
        (
            {"c/0": (one, b"\7\7"), "c/1": (one, b"\7\7"), "c/2": (None, b"\7\7")},
            {"c/1", "c/2"},
            [7, 7, 5, 5, 1, 1],
        ),
        ({"c/0": (one, None), "c/1": (digest(b"\5\5"), b"\7\7")}, set(), [0, 0, 7, 7, 1, 1]),
    ):
        store["c/0"] = before
        overtaken.after["get_versioned"] = lambda: store.write_many(
            {"c/0": changed}
        )  # as another process would
        assert {*mine.swap_many(swaps)} == refused
        assert array[:6].tolist() == values


def test_overtaken_while_writing(options: dict[str, Any]) -> None:
    """A part of a chunk is put into what another process has made of the shard meanwhile, whatever of it has changed."""
    store = MemoryStore()
    array = zarrv3.create_array(store, shape=2 * MANY, chunks=2, dtype="u1", compressors=None, **options)
    array[:] = 1
    overtaken = Overtaken(store)
    mine = zarrv3.open_array(overtaken, mode="r+")
    others = [partial(array.__setitem__, part, 5) for part in (0, slice(2, 4), slice(0, 32))]
    for other, values in zip(others, ([5, 7, 1, 1], [1, 7, 5, 5], [5, 7, 5, 5]), strict=True):
        array[:] = 1
        before = store["c/0"]
        other()
        changed, store["c/0"] = store["c/0"], before
        overtaken.after["get_versioned"] = lambda changed=changed: store.write_many({"c/0": changed})  # type: ignore[misc]
        mine[1] = 7
        assert array[:4].tolist() == values


def run_together(program: str, url: str) -> None:
    """Run a program in four processes that begin at the same moment; none may fail."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, url, str(number)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for number in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        assert child.communicate(timeout=120)[1] == b""
        assert child.returncode == 0


SWAPS = """
import sys, zarrv3
folder, first = sys.argv[1], int(sys.argv[2])
chunks = zarrv3.open_array(folder, mode="r+").layout.store
input()  # all begin together
assert not any(chunks.swap_many({f"c/{n}": (None, bytes([n + 1] * 2))}) for n in range(first, 16, 4))
"""


def test_swaps_of_processes(tmp_path: Path) -> None:
    """Processes that swap chunks of one shard all succeed: a shard that another one has changed is read again."""
    folder = str(tmp_path / "data")
    zarrv3.create_array(folder, shape=2 * MANY, chunks=2, shards=2 * MANY, dtype="u1", compressors=None)
    run_together(SWAPS, folder)
    assert zarrv3.open_array(folder)[...].tolist() == np.repeat(np.arange(1, MANY + 1), 2).tolist()


WRITES = """
import sys, zarrv3
url, number = sys.argv[1], int(sys.argv[2])
array = zarrv3.open_array(url, mode="r+")
input()  # all begin together
for start in range(0, array.shape[0], 4):
    array[start + number] = number + 1
"""


@pytest.mark.parametrize("place", ["{}", "sqlite:///{}.db"], ids=["directory", "sqlite"])
@pytest.mark.parametrize("rounds", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_processes_lose_nothing(tmp_path: Path, place: str, rounds: int) -> None:
    """Four processes that each write elements of their own of one sharded chunk, in turns, lose none of them."""
    if place.startswith("sqlite"):
        pytest.importorskip("zarrv3_store_sql")
    url = place.format(tmp_path / "data")
    zarrv3.create_array(url, shape=4 * rounds, chunks=4 * rounds // 2, shards=4 * rounds, dtype="u1")
    run_together(WRITES, url)
    assert zarrv3.open_array(url)[...].tolist() == [1, 2, 3, 4] * rounds


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_while_a_shard_is_locked() -> None:
    """A child that is forked while another thread holds a shard is not kept from it."""
    store = MemoryStore()
    array = zarrv3.create(
        8, store=store, chunks=2, dtype="i4", storage_transformers=[ShardingTransformer("indexed", 4)]
    )
    inside, go_on = threading.Event(), threading.Event()

    class Held(Layer):
        kind = "held"

        def get_many(self, requests: Any, /) -> Any:
            return self.inner.get_many(requests)

        def get_versioned(self, keys: Any, /) -> Any:
            inside.set()
            go_on.wait(30)
            return self.inner.get_versioned(keys)

    slow = ShardingTransformer("indexed", 4).bind(Held(store), "", array.metadata)
    thread = threading.Thread(target=slow.write_many, args=({"c/0": b"xxxx"},))
    thread.start()
    try:
        assert inside.wait(30)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # that forking with threads is delicate is the point
            child = os.fork()
        if child == 0:
            signal.alarm(30)
            array[2:4] = 5
            os._exit(0 if array[3] == 5 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        go_on.set()
        thread.join()
