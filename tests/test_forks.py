"""Children are forked while threads of their parent write: all can use the store at once, and no acknowledged write is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.errors import StoreError
from zarrv3.testing.processes import CONTEXT, PATIENCE, Child

pytestmark = pytest.mark.skipif(CONTEXT.get_start_method() != "fork", reason="this system does not fork")

SHARDS = {"chunks": (2, 5), "shards": (10, 5)}
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "memory": ("memory://", {}),
    "folder": ("file://{}/x.zarr", {}),
    "shards": ("file://{}/x.zarr", SHARDS),
    "cache": ("file://{}/x.zarr|lru-cache:", {}),
    "archive": ("zip://{}/x.zip", {}),
    "SQLite": ("sqlite://{}/x.db", {}),
    "SQLite in memory": ("sqlite://", {}),
    "LMDB": ("lmdb://{}/x.lmdb", {}),
    "DBM": ("dbm://{}/x.dbm", {}),
    "Redis": ("", {}),
}
AT_ONCE = 3
"""How many children live at the same time."""

THREADS = 3
"""How many threads of the parent are busy; each has a column of the array, and so have both threads of a child."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The URL of a store, and how the array in it is laid out."""
    url, layout = PLACES[request.param]
    with ExitStack() as stack:
        if not url:
            url = stack.enter_context(registry.load("stores", "redis").example_server())
        yield url.format(tmp_path), {"chunks": (10, THREADS + 2)} | layout


def use(array: zarrv3.Array, row: int) -> list[list[int]] | None:
    """Write two elements in a child, one of them in a second thread, which then reads all; `None` where the store refuses."""

    def write_and_read() -> list[list[int]]:
        array[row, -1] = row + 1
        found: list[list[int]] = array[...].tolist()
        return found

    try:
        array[row, -2] = row + 1
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(write_and_read).result()
    except StoreError:
        if array.store.capabilities.shared:
            raise
        return None


class Busy:
    """Threads of the parent that write and read all the time, and what the array has acknowledged to each."""

    def __init__(self, array: zarrv3.Array) -> None:
        self.array, self.done = array, threading.Event()
        self.acknowledged = [[0] * THREADS for _ in range(array.shape[0])]

    def work(self, column: int) -> None:
        """Write a number that grows to one row after another."""
        turn = 0
        while not self.done.is_set():
            turn += 1
            row = turn % len(self.acknowledged)
            self.array[row, column] = turn
            self.acknowledged[row][column] = turn
            assert self.array[row, column] == turn


def are_forked(url: str, layout: dict[str, Any], rounds: int) -> None:
    """Fork children again and again, a few at once, from a parent that is busy."""
    rows = rounds * AT_ONCE
    with zarrv3.open_store(url) as store, ThreadPoolExecutor(THREADS) as pool:
        array = zarrv3.create_array(store, shape=(rows, THREADS + 2), dtype="i4", **layout)
        busy = Busy(array)
        threads = [pool.submit(busy.work, column) for column in range(THREADS)]
        try:
            for first in range(0, rows, AT_ONCE):
                before = [[*row] for row in busy.acknowledged]
                children = [Child(use, array, row) for row in range(first, first + AT_ONCE)]
                try:
                    found = [child.result() for child in children]
                finally:
                    for child in children:
                        child.kill()
                for row, values in enumerate(found, first):
                    if values is None:
                        continue
                    assert values[row][THREADS:] == [row + 1] * 2
                    if store.capabilities.shared:
                        assert all(values[done][THREADS:] == [done + 1] * 2 for done in range(first))
                        now = [value for line in values for value in line[:THREADS]]
                        then = [value for line in before for value in line]
                        assert all(new >= old for new, old in zip(now, then, strict=True))
        finally:
            busy.done.set()
        for thread in threads:
            thread.result(PATIENCE)
        can = store.capabilities
        ends = [array[...]]
    if can.persistent:
        with zarrv3.open_store(url) as store:
            ends.append(zarrv3.open_array(store, mode="r")[...])
    for values in ends:
        assert values[:, :THREADS].tolist() == busy.acknowledged
        if can.shared:
            assert values[:, THREADS:].tolist() == [[row + 1] * 2 for row in range(rows)]


def test_children_of_a_busy_parent(place: tuple[str, dict[str, Any]]) -> None:
    """Three children at once read and write, in a second thread too, while three threads of their parent do."""
    are_forked(*place, 1)


@pytest.mark.slow
def test_many_children_of_a_busy_parent(place: tuple[str, dict[str, Any]]) -> None:
    """So do a thousand children, a hundred in each place."""
    are_forked(*place, 1000 // len(PLACES) // AT_ONCE + 1)
