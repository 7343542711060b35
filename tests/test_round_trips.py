"""What an array costs in calls to its store, for every installed backend: found through the registry and not listed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import zarrv3
from zarrv3 import registry

CHUNKS = 150
"""Not a multiple of any window below."""
WINDOWS = [1, 7, 64, 1000]


def backends() -> list[type[zarrv3.BaseStore]]:
    """The classes of stores and adapters that give new data an URL, with or without a server, once each."""
    kinds: tuple[registry.Kind, ...] = ("stores", "layers")
    found = {registry.load(kind, plugin.name): None for kind in kinds for plugin in registry.plugins(kind)}
    return [cls for cls in found if cls.example_url("/folder") or has_server(cls)]


def has_server(cls: type[zarrv3.BaseStore]) -> bool:
    """Whether a class says how to start its server; that of `BaseStore` says there is none."""
    return cls.example_server.__func__ is not zarrv3.BaseStore.example_server.__func__


@contextmanager
def place(cls: type[zarrv3.BaseStore], folder: Path) -> Iterator[str]:
    """A URL for new data of a class, for as long as the block lasts."""
    server = cls.example_server()
    if server is None:
        yield cls.example_url(str(folder))
    else:
        with server as url:
            yield url


@pytest.fixture(scope="module", params=backends(), ids=lambda cls: cls.kind)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A place for new data of each backend."""
    with place(request.param, tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture
def store(url: str) -> Iterator[zarrv3.Counting]:
    """A store there, empty, whose calls are counted."""
    with zarrv3.Counting(zarrv3.open_store(url)) as counting:
        counting.clear()
        counting.reset()
        yield counting


@pytest.fixture(params=WINDOWS)
def window(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many chunks are asked of a store at once, as configured."""
    with zarrv3.config.set(window=request.param, threads=1):
        yield request.param


def array_in(store: zarrv3.Counting, length: int = 10 * CHUNKS - 3) -> zarrv3.Array:
    """A new array of small chunks, the last of which lies partly outside; counting starts after it."""
    made = zarrv3.create_array(store, shape=length, chunks=10, dtype="i4", fill_value=-1)
    store.reset()
    return made


def test_the_directory_store_is_among_them() -> None:
    """Discovery finds something: at least the stores that every installation has."""
    assert {"memory", "directory"} <= {cls.kind for cls in backends()}


def test_writing_costs_a_call_a_window_and_reads_nothing(store: zarrv3.Counting, window: int) -> None:
    """Writing all N chunks is at most ceil(N / window) `write_many`, and nothing else: whole chunks are not read."""
    array_in(store, 10 * CHUNKS)[:] = np.arange(10 * CHUNKS)
    assert set(store.calls) == {"write_many"}
    assert store.calls["write_many"] <= math.ceil(CHUNKS / window)
    assert store.requested["write_many"] == CHUNKS
    assert store.bytes_read == 0


def test_reading_costs_a_call_a_window(store: zarrv3.Counting, window: int) -> None:
    """Reading all N chunks is at most ceil(N / window) `get_many`, each chunk once, whether it is stored or not."""
    array = array_in(store)
    array[: 10 * 70] = 5
    store.reset()
    assert int((array[:] == 5).sum()) == 700
    assert set(store.calls) == {"get_many"}
    assert store.calls["get_many"] <= math.ceil(CHUNKS / window)
    assert store.requested["get_many"] == CHUNKS


def test_changing_parts_costs_two_calls_a_window(store: zarrv3.Counting, window: int) -> None:
    """Writing to a part of each chunk is one read and one swap per window, or one write; only changed chunks are read."""
    array = array_in(store)
    array[:] = 1
    store.reset()
    array[5 : 10 * CHUNKS - 10 : 10] = 2
    reads, writes = ("get_versioned", "swap_many") if store.capabilities.swap else ("get_many", "write_many")
    assert set(store.calls) == {reads, writes}
    assert max(store.calls.values()) <= math.ceil((CHUNKS - 1) / window)
    assert store.requested[reads] == store.requested[writes] == CHUNKS - 1


def test_a_slice_reads_only_the_chunks_at_its_ends(store: zarrv3.Counting) -> None:
    """Of a slice that covers chunks and ends within two, those two are read in one call, and swapped in another."""
    array = array_in(store)
    array[:] = 1
    store.reset()
    array[15:85] = 3
    if store.capabilities.swap:
        assert dict(store.calls) == {"get_versioned": 1, "write_many": 1, "swap_many": 1}
        assert dict(store.requested) == {"get_versioned": 2, "write_many": 6, "swap_many": 2}
    else:
        assert dict(store.calls) == {"get_many": 1, "write_many": 1}
        assert dict(store.requested) == {"get_many": 2, "write_many": 8}


def test_emptying_costs_one_erasing_a_window(store: zarrv3.Counting, window: int) -> None:
    """Chunks that are overwritten with the fill value are erased, a window at a time."""
    array = array_in(store)
    array[:] = 1
    store.reset()
    array[:] = -1
    assert store.calls["write_many"] <= math.ceil(CHUNKS / window)
    if (
        store.capabilities.swap_erases or not store.capabilities.swap
    ):  # otherwise the one that reaches over the edge stays
        assert store.bytes_written == 0
        assert store.list() == ["zarr.json"]


def test_opening_is_one_call(store: zarrv3.Counting) -> None:
    """Opening an array or a group for reading is one `get_many`, at the root and below."""
    zarrv3.create_group(store).create_array("deep/er/array", shape=4, chunks=2, dtype="i4")
    for opening in (
        lambda: zarrv3.open_array(store, path="deep/er/array", mode="r"),
        lambda: zarrv3.open_group(store, mode="r"),
        lambda: zarrv3.open(store, path="deep/er/array", mode="r"),
        lambda: zarrv3.open(store, mode="r"),
    ):
        store.reset()
        opening()
        assert dict(store.calls) == {"get_many": 1}


def test_threads_share_the_windows(store: zarrv3.Counting) -> None:
    """Large chunks in several threads: smaller windows, so that all threads work; still each chunk once.

    Where a call costs no round trip there are several windows a thread, so that all end together.
    """
    with zarrv3.config.set(window=64, threads=4):
        array = zarrv3.create_array(store, shape=(32, 2**14), chunks=(1, 2**14), dtype="f8", compressors=None)
        store.reset()
        array[:] = 1.0
        assert array[...].sum() == array.size
    assert dict(store.requested) == {"write_many": 32, "get_many": 32}
    assert max(store.calls.values()) <= (16 if store.capabilities.local else 4)
