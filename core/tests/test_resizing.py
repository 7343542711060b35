"""Shapes change: what was cut off never comes back, and sparse grids of any size cost nothing."""

import itertools
import threading
import time
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array, Counting, Layer, MemoryStore
from zarrv3.errors import AssignmentError, SelectionError
from zarrv3.store.contract import Capabilities, Swaps
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore


class NoErase(Layer):
    """A store that cannot erase."""

    kind = "no-erase"

    @property
    def capabilities(self) -> Capabilities:
        """What is left."""
        return self.inner.capabilities.without("erase")


class NoList(Layer):
    """A store that cannot list."""

    kind = "no-list"

    @property
    def capabilities(self) -> Capabilities:
        """What is left."""
        return self.inner.capabilities.without("list")


class NoSwap(Layer):
    """A store that cannot swap."""

    kind = "no-swap"

    @property
    def capabilities(self) -> Capabilities:
        """What is left."""
        return self.inner.capabilities.without("swap")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("layer", [Layer, NoErase, NoList])
@pytest.mark.parametrize("shape", list(itertools.product([0, 1, 3, 4, 9], [0, 2, 5, 6])))
def test_what_was_cut_off_never_comes_back(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], layer: Any, sparse: bool
) -> None:
    """Shrinking and growing again shows fill values, also inside the chunks at the edge, in every kind of store."""
    if sparse:
        monkeypatch.setattr("zarrv3.chunks.resizing.ENUMERATED", 0)
    array = zarrv3.create((7, 5), chunks=(3, 2), dtype="i4", fill_value=-1, store=layer(MemoryStore()))
    values = np.arange(35).reshape(7, 5)
    array[...] = values
    array.resize(shape)
    array.resize((9, 9))
    expected = np.full((9, 9), -1)
    both = min(7, shape[0]), min(5, shape[1])
    expected[: both[0], : both[1]] = values[: both[0], : both[1]]
    assert np.array_equal(array[...], expected)
    if layer is Layer:
        assert array.nchunks_initialized == np.prod(
            [-(-n // chunk) for n, chunk in zip(both, (3, 2), strict=True)]
        )


def test_chunks_at_the_edge_are_cleared_only_if_stored() -> None:
    """Shrinking does not make chunks that were never written."""
    counting = Counting(MemoryStore())
    array = zarrv3.create((100, 100), chunks=(10, 10), store=counting)
    array[0, 0] = 1
    counting.reset()
    array.resize(55, 55)
    assert array.nchunks_initialized == 1
    assert counting.requested["swap_many"] == 1
    assert counting.bytes_written == len(array.store["zarr.json"])


def test_growing_writes_one_document() -> None:
    """Growing costs a read and a write of the document, whatever is stored."""
    counting = Counting(MemoryStore())
    array = zarrv3.create(1000, chunks=10, store=counting)
    array[...] = 1
    counting.reset()
    array.resize(10**9)
    assert counting.calls == {"get_versioned": 1, "swap_many": 1}


@pytest.mark.parametrize(("shape", "chunks"), [((10**15,), (1000,)), ((10**9, 10**9), (1000, 1000))])
def test_a_million_million_chunks_cost_nothing(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    """A grid of 10**12 chunks is created, written to, shrunk, described and erased in no time."""
    start = time.perf_counter()
    group = zarrv3.group()
    array = group.create_array("x", shape=shape, chunks=chunks, dtype="u1", fill_value=7)
    assert array.nchunks == 10**12
    last = tuple(length - 1 for length in shape)
    array[last] = 1
    array[(0,) * len(shape)] = 2
    assert "2/1000000000000" in str(array.info)
    array.resize(tuple(length - 1 for length in shape))
    assert array.nchunks_initialized == 1
    array.resize(shape)
    assert array[last] == 7
    assert array[(0,) * len(shape)] == 2
    array.resize((500,) * len(shape))
    assert array.nchunks_initialized == 1
    del group["x"]
    assert [*group.store] == ["zarr.json"]
    assert time.perf_counter() - start < 5


def test_shape_can_be_set() -> None:
    """Assigning to `shape` resizes."""
    array = zarrv3.create((4, 4))
    array.shape = (2, 9)
    assert Array(array.store).shape == (2, 9)
    array.resize(3, 3)
    assert array.shape == (3, 3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_append_along_every_axis(axis: int) -> None:
    """Appending is concatenating."""
    values = np.arange(24).reshape(2, 3, 4)
    array = zarrv3.array(values, chunks=(2, 2, 3))
    assert array.append(values, axis) == np.concatenate([values, values], axis).shape
    assert np.array_equal(array[...], np.concatenate([values, values], axis))


@pytest.mark.parametrize(
    ("value", "axis", "error"),
    [
        (np.zeros((2, 4)), 0, AssignmentError),
        (np.zeros(3), 0, AssignmentError),
        (np.zeros((1, 2, 3)), 0, AssignmentError),
        (np.zeros((2, 3)), 2, SelectionError),
        (np.zeros((2, 3)), -3, SelectionError),
        ([["a", "b", "c"]], 0, AssignmentError),
    ],
)
def test_mismatching_append_changes_nothing(value: Any, axis: int, error: type[Exception]) -> None:
    """Values of another shape or dtype are refused before the array grows."""
    array = zarrv3.array(np.ones((2, 3)))
    before = dict(array.store.items())
    with pytest.raises(error):
        array.append(value, axis)
    assert dict(array.store.items()) == before
    assert array.shape == (2, 3)


def test_append_from_many_threads_loses_nothing() -> None:
    """Callers that append at once, through objects of their own, each get a place of their own."""
    array = zarrv3.create(0, chunks=7, dtype="i4")
    others = [Array(array.store) for _ in range(8)]

    def work(number: int) -> None:
        for _ in range(10):
            others[number].append(np.full(3, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert array.refresh().shape == (240,)
    assert np.bincount(array[...]).tolist() == [30] * 8


class AppendsFirst(DriverStore):
    """Somebody else appends as soon as an array's document is there."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Then appends."""
        refused = super().swap_many(swaps)
        if any(key == "x/zarr.json" and version is None for key, (version, _) in swaps.items()):
            Array(self, "x").append([7, 8])
        return refused


@pytest.mark.parametrize("value", [1, 0])
@pytest.mark.parametrize("shards", [None, 8, 4])
def test_what_is_appended_before_the_first_values_stays(shards: int | None, value: int) -> None:
    """An append between the document and the values it is created with keeps its rows, beside fill values too."""
    store = AppendsFirst(MemoryDriver({}))
    array = zarrv3.create_array(store, name="x", data=np.full(10, value), chunks=4, shards=shards)
    assert array.refresh()[...].tolist() == [value] * 10 + [7, 8]


def test_the_first_write_overrules_what_others_wrote() -> None:
    """Fill values replace what others have written since the array was created, and nothing else."""
    store = MemoryStore()
    array = zarrv3.create_array(store, shape=10, chunks=4, dtype="i4")
    other = Array(store)
    other[...] = 5
    other.append([7, 8])
    array.write(slice(7, None), 0, is_new=True)
    assert other[...].tolist() == [5] * 7 + [0, 0, 0, 7, 8]


@pytest.mark.parametrize("shards", [None, 8])
def test_first_writes_read_nothing(shards: int | None) -> None:
    """What a new array gets first is stored without looking for older values, the chunk at the edge swapped; later ones look."""
    store = Counting(MemoryStore())
    array = zarrv3.create_array(store, shape=10, chunks=4, shards=shards, dtype="i4")
    store.reset()
    array.write(..., 1, is_new=True)
    assert store.calls == {"write_many": 1, "swap_many": 1}
    store.reset()
    array[...] = 2
    assert store.calls == {"write_many": 1, "get_versioned": 1, "swap_many": 1}


@pytest.mark.parametrize("shards", [None, 8])
def test_first_values_where_the_store_cannot_swap(shards: int | None) -> None:
    """The values that an array is created with are written unread, in one call."""
    store = Counting(NoSwap(MemoryStore()))
    array = zarrv3.create_array(store, data=np.arange(10) % 5, chunks=4, shards=shards)
    assert (store.calls["write_many"], store.bytes_read) == (2, 0)
    assert array[...].tolist() == [*range(5)] * 2


def test_resizing_a_stale_object() -> None:
    """An object that does not know of a growth still cuts off what the others wrote."""
    array = zarrv3.create(4, chunks=2, dtype="i4")
    stale = Array(array.store)
    array.resize(10)
    array[...] = 5
    stale.resize(3)
    stale.resize(10)
    assert stale[...].tolist() == [5, 5, 5] + [0] * 7


def test_appends_see_what_others_have_written() -> None:
    """An append starts from the document that is there, whoever wrote it, and from nothing that a user has changed in memory."""
    store = MemoryStore()
    array = zarrv3.create_array(store, shape=(0, 2), chunks=(3, 2), dtype="i4", attributes={"list": [1]})
    other = zarrv3.open_array(store)
    for number in range(3):
        array.append([[number, 0]])
        array.append([[number, 1]])
        array.metadata.attributes["list"].append(number)
        array.metadata.document["shape"][0] = 100
        other.append([[number, 2]])
        other.attrs[f"of {number}"] = number
    array.append([[3, 0]])
    assert array.shape == (10, 2)
    assert dict(zarrv3.open_array(store).attrs) == {"list": [1], "of 0": 0, "of 1": 1, "of 2": 2}
    expected = [[number, which] for number in range(3) for which in range(3)]
    assert zarrv3.open_array(store)[...].tolist() == [*expected, [3, 0]]
