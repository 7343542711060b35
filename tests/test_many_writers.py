"""Many processes write to one hierarchy at once, some are killed: every acknowledged write is there afterwards.

Each kind of work says what `count` processes do together and what must be there then. It is tried on every place where
several processes can write and that can swap, bare and through layers.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.errors import NodeExistsError, SeveralWritersWarning
from zarrv3.testing.processes import Child, Writer, together

PROCESSES = 3
STACKS = ["|lru-cache:", "|retry:", "|prefix:deep/er", "|retry:|lru-cache:"]
SHORT = ["directory", "sqlite"]


def has_server(cls: type[zarrv3.BaseStore]) -> bool:
    """Whether a class says how to start its server."""
    return cls.example_server.__func__ is not zarrv3.BaseStore.example_server.__func__  # type: ignore[attr-defined]


def backends() -> list[Any]:
    """The classes of stores that have a place for new data; those beyond the usual two take long."""
    found = {registry.load("stores", plugin.name): None for plugin in registry.plugins("stores")}
    return [
        pytest.param(cls, id=cls.kind, marks=() if cls.kind in SHORT else pytest.mark.slow)
        for cls in found
        if cls.example_url("/folder") or has_server(cls)
    ]


@pytest.fixture(scope="module", params=backends())
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A place for new data of each backend that promises to be safe with several writers."""
    cls: type[zarrv3.BaseStore] = request.param
    if has_server(cls):
        with cls.example_server() as url:  # type: ignore[union-attr]
            yield from promising(url)
    else:
        yield from promising(str(cls.example_url(str(tmp_path_factory.mktemp("data")))))


def promising(url: str) -> Iterator[str]:
    """A URL if processes can share what it names and swap there."""
    with zarrv3.open_store(url) as store:
        can = store.capabilities
    if not (can.shared and can.swap):
        pytest.skip(f"{url.partition(':')[0]} does not claim to be safe with writers of several processes")
    yield url


class Work(NamedTuple):
    """What processes do together; each function is given the store."""

    prepare: Callable[[zarrv3.BaseStore], object]
    one: Callable[[zarrv3.BaseStore, int, int], object]
    """What process `number` does in its `rounds`."""
    check: Callable[[zarrv3.BaseStore, int], object]
    """What must be there after so many rounds of all processes."""


WORK: dict[str, Work] = {}


def elements(**creation: Any) -> Work:
    """Each process writes elements of its own, which share chunks with those of all others."""
    size = 240

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r+")
        for turn in range(rounds):
            array[turn * PROCESSES + number] = number + 1

    def check(store: zarrv3.BaseStore, rounds: int) -> None:
        values = zarrv3.open_array(store, mode="r")[: rounds * PROCESSES].reshape(rounds, PROCESSES)
        assert np.array_equal(values, np.tile(np.arange(1, PROCESSES + 1), (rounds, 1)))

    return Work(partial(zarrv3.create_array, shape=size, dtype="i4", **creation), one, check)


WORK["elements"] = elements(chunks=240)
WORK["elements of shards"] = elements(chunks=2, shards=240)
WORK["elements of transformed shards"] = elements(
    chunks=2,
    storage_transformers=[
        {
            "name": "https://purl.org/zarr/spec/storage_transformers/sharding/1.0",
            "configuration": {"type": "indexed", "chunks_per_shard": [120]},
        }
    ],
)


def sharding(chunk: int, *codecs: Any) -> dict[str, Any]:
    """The codec that puts chunks into shards."""
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    return {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [chunk], "codecs": [*codecs], "index_codecs": index},
    }


WORK["elements of nested shards"] = elements(
    chunks=240, codecs=[sharding(60, sharding(3, {"name": "bytes", "configuration": {"endian": "little"}}))]
)


def fields_of_records() -> Work:
    """Each process writes one field of all records, a few at a time."""
    names = [f"f{number}" for number in range(PROCESSES)]

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r+")
        for turn in range(rounds):
            array[names[number], turn : turn + 1] = number + 1

    def check(store: zarrv3.BaseStore, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r")
        for number, name in enumerate(names):
            assert (array[name, :rounds] == number + 1).all(), name

    dtype = np.dtype([(name, "i4") for name in names])
    return Work(partial(zarrv3.create_array, shape=80, chunks=80, dtype=dtype), one, check)


WORK["fields"] = fields_of_records()


def appends(axis: int, **creation: Any) -> Work:
    """Each process appends two rows a turn, and writes the first one through an array that knows of no other."""
    shape = (1, 3) if axis == 0 else (3, 1)

    def rows(values: Any) -> Any:
        return values if axis == 0 else values.T

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r+")
        first = zarrv3.Array(store, metadata=array.metadata.with_shape(shape))
        for turn in range(rounds):
            array.append(rows(np.full((2, 3), number + turn * PROCESSES)), axis)
            first[...] = -1
            assert (rows(array[...])[-1] >= 0).all()

    def check(store: zarrv3.BaseStore, rounds: int) -> None:
        values = rows(zarrv3.open_array(store, mode="r")[...])
        assert sorted(values[1:, 0].tolist()) == sorted([*range(rounds * PROCESSES)] * 2)
        assert (values == values[:, :1]).all()

    return Work(partial(zarrv3.create_array, shape=shape, dtype="i4", fill_value=-9, **creation), one, check)


WORK["appends"] = appends(0, chunks=(7, 2))
WORK["appends of columns to shards"] = appends(1, chunks=(2, 3), shards=(4, 15))


def with_last(length: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with another length of its last dimension."""
    return (*shape[:-1], length)


def resizes() -> Work:
    """Each process makes an axis of its own longer by one; one makes the last axis shorter and longer; values stay."""

    def prepare(store: zarrv3.BaseStore) -> None:
        zarrv3.create_array(store, shape=(*(2,) * PROCESSES, 9), chunks=(*(2,) * PROCESSES, 4), dtype="i4")

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r+")
        for turn in range(rounds):
            array.resize_with(lambda s: (*s[:number], s[number] + 1, *s[number + 1 :]))
            if number == 0:
                array.resize_with(partial(with_last, 5 if turn % 2 else 9))
            array[(0,) * PROCESSES + (number,)] = turn + 1

    def check(store: zarrv3.BaseStore, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r")
        assert array.shape[:-1] == (2 + rounds,) * PROCESSES
        assert (array[(0,) * PROCESSES][:PROCESSES] == rounds).all()

    return Work(prepare, one, check)


WORK["resizes"] = resizes()


def attributes() -> Work:
    """Each process sets attributes of its own on a group and an array, and removes some of them."""

    def prepare(store: zarrv3.BaseStore) -> None:
        zarrv3.create_group(store).create_array("a", shape=1, dtype="i4")

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        group = zarrv3.open_group(store, mode="r+", use_consolidated=False)
        for node in (group, group["a"]):
            for turn in range(rounds):
                node.attrs[f"{number} {turn}"] = turn
                if turn % 3 == 2:
                    del node.attrs[f"{number} {turn}"]

    def check(store: zarrv3.BaseStore, rounds: int) -> None:
        wanted = {f"{n} {turn}": turn for n in range(PROCESSES) for turn in range(rounds) if turn % 3 != 2}
        group = zarrv3.open_group(store, mode="r", use_consolidated=False)
        assert group.attrs.asdict() == wanted
        assert group["a"].attrs.asdict() == wanted

    return Work(prepare, one, check)


WORK["attributes"] = attributes()


def members() -> Work:
    """Each process creates arrays and groups, below groups that others make too, and tries to create what others create."""

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        group = zarrv3.open_group(store, mode="r+")
        for turn in range(rounds):
            group.create_array(f"shared{turn}/own{number}", shape=2, dtype="i4")[:] = number
            try:
                group.create_array(f"first{turn}", shape=1, dtype="i4", attributes={"by": number})
            except NodeExistsError:
                group.attrs[f"late {turn} {number}"] = True

    def check(store: zarrv3.BaseStore, rounds: int) -> None:
        group = zarrv3.open_group(store, mode="r")
        for turn in range(rounds):
            assert [*group[f"shared{turn}"]] == [f"own{number}" for number in range(PROCESSES)]
            for number in range(PROCESSES):
                array = zarrv3.open_array(store, path=f"shared{turn}/own{number}", mode="r")
                assert array[:].tolist() == [number] * 2
            late = {number for number in range(PROCESSES) if f"late {turn} {number}" in group.attrs}
            assert {*range(PROCESSES)} - late == {group[f"first{turn}"].attrs["by"]}

    return Work(zarrv3.create_group, one, check)


WORK["members"] = members()


def working(url: str, number: int, work: str, rounds: int) -> None:
    """What a process does."""
    with zarrv3.open_store(url) as store:
        WORK[work].one(store, number, rounds)


def run(url: str, work: str, rounds: int) -> None:
    """Prepare, let processes work together, and check."""
    with zarrv3.open_store(url) as store:
        store.clear()
        WORK[work].prepare(store)
    together(working, url, PROCESSES, work, rounds)
    with zarrv3.open_store(url) as store:
        WORK[work].check(store, rounds)


@pytest.mark.parametrize("work", WORK)
def test_processes_lose_nothing(place: str, work: str) -> None:
    """What several processes have written together is there afterwards."""
    run(place, work, 12)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("work", ["elements of shards", "appends", "attributes"])
def test_processes_lose_nothing_through_layers(place: str, work: str, stack: str) -> None:
    """So it is through layers."""
    run(place + stack, work, 6)


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["", *STACKS])
@pytest.mark.parametrize("work", WORK)
def test_processes_lose_nothing_for_long(place: str, work: str, stack: str) -> None:
    """So it is with many more rounds, of every kind of work, through every layer."""
    run(place + stack, work, 80)


# ---------------------------------------------------------------- killed


def append_numbered(url: str, number: int, turn: int) -> None:
    """Append a row that says who appended it and when, write an element, and set an attribute."""
    with zarrv3.open_store(url) as store:
        zarrv3.open_array(store, path="rows", mode="r+").append(
            np.full((1, 3), 1 + number + PROCESSES * turn)
        )
        array = zarrv3.open_array(store, path="elements", mode="r+")
        array[turn * PROCESSES + number] = 1
        array.attrs[f"{number}"] = turn


def some_are_killed(url: str, kills: int, seed: int) -> None:
    """Processes append, write and set attributes until they are killed at random; then all that they acknowledged is there."""
    random.seed(seed)
    with zarrv3.open_store(url) as store:
        store.clear()
        zarrv3.create_array(store, name="rows", shape=(0, 3), chunks=(5, 2), shards=(10, 4), dtype="i4")
        zarrv3.create_array(store, name="elements", shape=10**6, chunks=5000, dtype="i1")
    done = [-1] * PROCESSES
    known: set[tuple[int, int]] = set()
    for _ in range(kills):
        writers = [
            Writer(partial(numbered, number), partial(str, url), done[number] + 1)
            for number in range(PROCESSES)
        ]
        try:
            for writer in writers:
                writer.wait_for_first()
            time.sleep(random.random() / 10)
        finally:
            for number, writer in enumerate(writers):
                first = done[number] + 1
                last = writer.kill()
                known |= {(number, turn) for turn in range(first, last + 1)}
                done[number] = last + 1  # the one under way may be there or not
    with zarrv3.open_store(url) as store:
        rows = zarrv3.open_array(store, path="rows", mode="r")[...]
        found = rows[:, 0].tolist()
        elements = zarrv3.open_array(store, path="elements", mode="r")
        for number, turn in known:
            tag = 1 + number + PROCESSES * turn
            assert found.count(tag) == 1, f"row {tag} of {len(found)}"
            assert (rows[found.index(tag)] == tag).all()
        values = elements[: PROCESSES * (2 + max(done))]
        assert all(values[turn * PROCESSES + number] == 1 for number, turn in known)
        for number in range(PROCESSES):
            last = max(turn for who, turn in known if who == number)
            assert elements.attrs[f"{number}"] >= last
        assert not zarrv3.verify(store).problems


def numbered(number: int, url: str, turn: int) -> None:
    """One turn of a process that is given its store and its turn."""
    append_numbered(url, number, turn)


def test_what_killed_writers_acknowledged_is_there(place: str) -> None:
    """Of writers that are killed at random nothing that they acknowledged is lost, nor of what others write meanwhile."""
    some_are_killed(place, 3, seed=11)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_what_many_killed_writers_acknowledged_is_there(place: str, stack: str) -> None:
    """So it is with many more, through layers."""
    some_are_killed(place + stack, 100, seed=12)


def shrink(url: str) -> None:
    """Make an array smaller and larger again, for ever."""
    array = zarrv3.open_array(url, mode="r+")
    while True:
        array.resize((13,))
        array.resize((100,))
        array[13:] = 7


def grows_with_fill_values(url: str, sharded: bool, kills: int) -> None:
    """A process that makes an array smaller is killed at random; what was outside never comes back."""
    random.seed(5)
    for _ in range(kills):
        with zarrv3.open_store(url) as store:
            shards = 20 if sharded else None
            array = zarrv3.create_array(store, shape=100, chunks=5, shards=shards, dtype="i4", overwrite=True)
            array[...] = 7
        child = Child(shrink, url)
        time.sleep(0.03 + random.random() / 20)
        child.kill()
        array = zarrv3.open_array(url, mode="r+")
        length = array.shape[0]
        array.resize((100,))
        assert set(array[length:].tolist()) <= {0}
        assert (array[:13] == 7).all()


@pytest.mark.parametrize("sharded", [False, True])
def test_nothing_comes_back_after_a_kill(place: str, sharded: bool) -> None:
    """An array whose shrinking was cut off by a kill shows fill values when it grows again."""
    grows_with_fill_values(place, sharded, 4)


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_nothing_comes_back_after_many_kills(place: str, sharded: bool) -> None:
    """So it is after many more kills."""
    grows_with_fill_values(place, sharded, 250)


# ---------------------------------------------------------------- bridges


def test_dask_writes_unaligned_blocks_by_processes(place: str) -> None:
    """Blocks of dask that share chunks are all there when processes write them."""
    dask = pytest.importorskip("dask.array")
    with zarrv3.open_store(place) as store:
        store.clear()
        zarrv3.create_array(store, shape=(40, 30), chunks=(16, 16), dtype="i4")
    values = np.arange(1, 1201).reshape(40, 30)
    import dask as settings

    with settings.config.set(scheduler="processes", num_workers=PROCESSES):
        dask.from_array(values, chunks=(3, 7)).store(zarrv3.open_array(place, mode="r+"), lock=False)
    assert np.array_equal(zarrv3.open_array(place, mode="r")[...], values)


def create_by_zarr(url: str, number: int, rounds: int) -> list[int]:
    """Create members through zarr-python; says which of those that all want are this process's."""
    zarr = pytest.importorskip("zarr")
    bridge = pytest.importorskip("zarrv3_bridge_zarr")
    group = zarr.open_group(bridge.as_zarr_store(url), mode="r+")
    for turn in range(rounds):
        group.create_array(f"g{turn}/own{number}", shape=3, dtype="i4")[:] = number + 1
    return [number]


def test_members_created_by_zarr_python(place: str) -> None:
    """Processes of zarr-python that create arrays below groups which others make too lose none."""
    with zarrv3.open_store(place) as store:
        store.clear()
        zarrv3.create_group(store)
    together(create_by_zarr, place, PROCESSES, 5)
    for turn in range(5):
        for number in range(PROCESSES):
            array = zarrv3.open_array(place, path=f"g{turn}/own{number}", mode="r")
            assert array[:].tolist() == [number + 1] * 3


# ---------------------------------------------------------------- stores that cannot swap


class NoSwap(zarrv3.Layer):
    """A store that cannot swap."""

    kind = "no-swap"

    @property
    def capabilities(self) -> zarrv3.Capabilities:
        """What is left."""
        return self.inner.capabilities.without("swap", "transactions")


def write_parts(store: zarrv3.BaseStore) -> list[str]:
    """Write parts of chunks twice; the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array = zarrv3.open_array(store, mode="r+")
        array[0:2] = 1  # a whole chunk
        assert not caught
        for at in (2, 5):
            array[at] = 1
    return [str(one.message) for one in caught if one.category is SeveralWritersWarning]


def test_processes_are_told_once_that_a_store_is_not_safe(tmp_path: Path) -> None:
    """The first time that a process of several writes part of a chunk to a store that cannot swap, it is told; not otherwise."""
    safe = zarrv3.open_store(f"file://{tmp_path}/safe")
    unsafe = NoSwap(zarrv3.open_store(f"file://{tmp_path}/unsafe"))
    for store in (unsafe, safe):
        zarrv3.create_array(store, shape=6, chunks=2, dtype="i4")
    assert write_parts(unsafe) == []
    child, other = Child(write_parts, unsafe), Child(write_parts, safe)
    (told,) = child.result()
    assert "No, because it cannot swap" in told
    assert other.result() == []
