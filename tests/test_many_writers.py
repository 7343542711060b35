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
from zarrv3.errors import NodeExistsError
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


WORK["elements of nested shards"] = elements(chunks=240, codecs=[sharding(60, sharding(3, {"name": "bytes", "configuration": {"endian": "little"}}))])


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


def resizes() -> Work:
    """Each process makes an axis of its own longer by one; one makes the last axis shorter and longer; values stay."""

    def prepare(store: zarrv3.BaseStore) -> None:
        zarrv3.create_array(store, shape=(*(2,) * PROCESSES, 9), chunks=(*(2,) * PROCESSES, 4), dtype="i4")

    def one(store: zarrv3.BaseStore, number: int, rounds: int) -> None:
        array = zarrv3.open_array(store, mode="r+")
        for turn in range(rounds):
            array.resize_with(lambda s: (*s[:number], s[number] + 1, *s[number + 1 :]))
            if number == 0:
                array.resize_with(lambda s: (*s[:-1], 5 if turn % 2 else 9))
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
                assert (group[f"shared{turn}/own{number}"][:] == number).all()
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
