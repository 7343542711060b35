"""What costs are allowed to grow with, counted: calls of a store and of Python functions. Seconds are not looked at.

Opening, reading an element, appending a row and listing a node cost the same in an array of few chunks and of many, and a child
costs the same in a group of few and of many. What touches everything grows no faster than everything. `benchmarks/growth.py`
measures the same in seconds, up to a million chunks.
"""

import sys
import tracemalloc
from collections import Counter, UserDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.format.metadata import GroupMetadata
from zarrv3.options.settings import config

ROW = 10
"""How many chunks a row of the array has."""

FEW, MANY = 40, 1000
"""Chunks of an array, or children of a group."""

URLS = {
    "memory": "memory://{}",
    "directory": "file://{}/d",
    "zip": "zip:{}/d.zip",
    "sqlite": "sqlite:///{}/d.db",
    "lmdb": "lmdb:{}/d.lmdb",
    "dbm": "dbm:{}/d",
}

LISTED = {"zip", "dbm"}
"""Formats that keep the places of all values in one list, which has to be read before the first value is."""

REWRITTEN = {("dbm", "erase a child")}
"""The index of `dbm.dumb` has no mark for what was erased: it is written again."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Profiles see one thread."""
    with config.set(threads=1):
        yield


def calls(action: Callable[[], object]) -> int:
    """How many Python functions an action calls, when it has been done once before."""
    action()
    count = 0

    def profile(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def array_of(store: Any, chunks: int) -> zarrv3.Array:
    """The array `a` of so many chunks of one byte, put into the store directly."""
    array = zarrv3.create_array(
        store, name="a", shape=(chunks // ROW, ROW), chunks=(1, 1), dtype="u1", compressors=None
    )
    array.store.write_many(
        {f"a/c/{row}/{column}": b"\1" for row in range(chunks // ROW) for column in range(ROW)}
    )
    return array


def group_of(store: Any, children: int) -> zarrv3.Group:
    """A group of so many groups."""
    group = zarrv3.create_group(store)
    zarrv3.create_hierarchy(group.store, {f"n{number}": GroupMetadata.create() for number in range(children)})
    return group


def on_arrays(store: zarrv3.BaseStore) -> dict[str, Callable[[], object]]:
    """What must not depend on the number of chunks."""
    array = zarrv3.open_array(store, path="a")
    row = np.ones((1, ROW), "u1")
    return {
        "open": lambda: zarrv3.open_array(store, path="a"),
        "list the group": lambda: [*zarrv3.open_group(store)],
        "list the array": lambda: [*store.list_dir("a/")],
        "read one": lambda: array[1, 1],
        "append": lambda: array.append(row),
    }


def on_groups(store: zarrv3.BaseStore) -> dict[str, Callable[[], object]]:
    """What must not depend on the number of children."""
    group = zarrv3.open_group(store)
    more = iter(range(99))
    return {
        "open": lambda: zarrv3.open_group(store),
        "open a child": lambda: group["n7"],
        "ask for a child": lambda: "n7" in group,
        "create a child": lambda: group.create_group(f"more{next(more)}"),
        "erase a child": lambda: group.__delitem__(f"n{next(more) + 10}"),
    }


@pytest.mark.parametrize("backend", URLS)
@pytest.mark.parametrize(("made", "actions"), [(array_of, on_arrays), (group_of, on_groups)])
def test_some_calls_do_not_grow(
    made: Callable[..., Any],
    actions: Callable[[zarrv3.BaseStore], dict[str, Callable[[], object]]],
    backend: str,
    tmp_path: Path,
) -> None:
    """Twenty-five times the chunks, or children, change nothing in what is called for one array, chunk, row or child."""
    found = []
    for size in (FEW, MANY):
        with zarrv3.open_store(URLS[backend].format(tmp_path / f"{size}")) as store:
            made(store, size)
            found.append({name: calls(action) for name, action in actions(store).items()})
    few, many = found
    # a tree of pages is deeper, a key longer: not more than a tenth
    grown = {name for name, count in many.items() if count > 1.1 * few[name] + 5}
    assert grown == {name for where, name in REWRITTEN if where == backend and name in many}


@pytest.mark.parametrize("backend", sorted(URLS.keys() - LISTED))
def test_opening_by_url_does_not_grow(backend: str, tmp_path: Path) -> None:
    """An array is opened by URL, its store being closed in between, as quickly among many chunks as among few."""
    found = []
    for size in (FEW, MANY):
        url = URLS[backend].format(tmp_path / f"{size}")
        array_of(url, size).store.close()
        found.append(calls(lambda url=url: zarrv3.open_array(url, path="a", mode="r").store.close()))
    assert found[1] <= 1.1 * found[0] + 5


@pytest.mark.parametrize(
    ("backend", "most"), [("memory", 360), ("directory", 480), ("lmdb", 615), ("sqlite", 1500)]
)
def test_opening_by_url(backend: str, most: int, tmp_path: Path) -> None:
    """Opening an array by URL calls a bounded number of Python functions: 10 ask `zarrv3-layer-telemetry`, which is installed here."""
    url = URLS[backend].format(tmp_path / "x")
    array_of(url, FEW).store.close()

    def opening() -> None:
        zarrv3.open_array(url, path="a", mode="r").store.close()

    assert calls(opening) <= most


def test_store_calls_do_not_grow() -> None:
    """What one array, chunk, row or child takes of its store does not depend on how many others there are."""
    found = []
    for size in (FEW, MANY):
        store = zarrv3.Counting(zarrv3.MemoryStore())
        counts: dict[str, Any] = {}
        for made, actions in ((array_of, on_arrays), (group_of, on_groups)):
            store.clear()
            made(store, size)
            for name, action in actions(store).items():
                action()
                store.reset()
                action()
                counts[made.__name__, name] = (Counter(store.calls), Counter(store.requested))
        found.append(counts)
    assert found[0] == found[1]


def test_clearing_takes_one_call_for_the_documents() -> None:
    """Children that hold nothing but their document go in one call, others take one more each."""
    store = zarrv3.Counting(zarrv3.MemoryStore())
    group = group_of(store, MANY)
    group.create_array("n3/a", shape=1, dtype="u1")
    store.reset()
    group.clear()
    assert [*store.list_prefix("")] == ["zarr.json"]
    assert store.calls == {
        "write_many": 1,
        "erase_prefix": 1,
        "list_prefix": 2,
    }


def test_info_lists_once() -> None:
    """The report of an array is made by one listing, which has the sizes too."""
    store = zarrv3.Counting(zarrv3.MemoryStore())
    array = array_of(store, FEW)
    store.reset()
    lines = dict(array.info)
    assert lines["Chunks initialized"] == f"{FEW}/{FEW}"
    assert lines["No. bytes stored"] == str(array.nbytes_stored())
    assert store.calls == {"list_sizes": 2}  # one of them is nbytes_stored


@pytest.mark.parametrize("backend", URLS)
def test_the_rest_grows_with_what_it_touches(backend: str, tmp_path: Path) -> None:
    """Reports, listings and erasing call no more for each chunk or child when there are many."""
    found: dict[str, list[int]] = {}
    for size in (100, 200, 400, 1000):  # the first one fills caches
        for made in (array_of, group_of):
            with zarrv3.open_store(URLS[backend].format(tmp_path / f"{made.__name__}{size}")) as store:
                node = made(store, size)
                found.setdefault(f"{made.__name__} info", []).append(calls(lambda node=node: node.info))
                if isinstance(node, zarrv3.Group):
                    found.setdefault("names", []).append(calls(lambda node=node: [*node]))
                erasing = iter([None, lambda store=store: zarrv3.open_group(store).clear()])
                found.setdefault(f"{made.__name__} erase", []).append(
                    calls(lambda erasing=erasing: (next(erasing) or bool)())
                )
                assert [*store.list_prefix("")] == ["zarr.json"]
    for name, (_, few, more, many) in found.items():
        assert (many - more) / 600 <= 1.1 * (more - few) / 200 + 0.1, (name, few, more, many)


class MadeUp(UserDict[str, bytes]):
    """A document and many chunks, each made when it is asked for."""

    def __init__(self, document: bytes, chunk: bytes, chunks: int) -> None:
        super().__init__({"zarr.json": document} | {f"c/{number}": chunk for number in range(chunks)})

    def __getitem__(self, key: str) -> bytes:
        """A new copy of the value."""
        return bytes(bytearray(super().__getitem__(key)))


class Forgetful(dict[str, bytes]):
    """Keeps documents; of chunks only how many there were."""

    chunks = 0

    def __setitem__(self, key: str, value: bytes) -> None:
        if "zarr.json" in key:
            super().__setitem__(key, value)
        else:
            self.chunks += 1


@pytest.mark.parametrize(
    ("wanted", "written"),
    [
        ({}, 128),
        ({"chunks": 3 * 2**16}, 86),
        ({"chunks": 2**14, "shards": 2**18}, 64),
        ({"compressors": None}, 128),
    ],
)
def test_a_copy_keeps_little(wanted: dict[str, Any], written: int) -> None:
    """A copy of 128 MiB keeps a few windows of 16 MiB, whatever becomes of the chunks."""
    example = zarrv3.MemoryStore()
    values = np.random.default_rng(0).random(2**17)
    array = zarrv3.create_array(example, shape=128 * 2**17, chunks=2**17, dtype="f8")
    array[: 2**17] = values
    source, dest = MadeUp(bytes(example["zarr.json"]), bytes(example["c/0"]), 128), Forgetful()
    tracemalloc.start()
    try:
        zarrv3.copy(source, dest, **wanted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dest.chunks == written
    assert peak < 56 * 2**20
