"""What moving a chunk costs, counted: calls of Python functions, and bytes that are copied. Seconds are not looked at.

A limit is what it costs today and a little more. Who exceeds one has made every chunk dearer, and either finds a way or
raises it here with the reason.
"""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.options.settings import config

CHUNK = (10, 10)
COLUMNS = 400
FEW, MANY = 40, 80
"""How many rows of chunks: the difference is what chunks cost, without what a call costs."""

LZ4 = {
    "name": "blosc",
    "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 8, "blocksize": 0},
}


@pytest.fixture(autouse=True, params=["none", "native"])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kernels in use; profiles see one thread."""
    with config.set(threads=1, kernels=request.param):
        yield request.param


def values(rows: int) -> np.ndarray:
    """Random values for so many rows of chunks."""
    return np.random.default_rng(0).random((rows * CHUNK[0], COLUMNS))


def made(store: Any, rows: int, shards: tuple[int, int] | None) -> zarrv3.Array:
    """An empty array of so many rows of 40 chunks."""
    return zarrv3.create_array(
        store,
        name=f"a{rows}",
        shape=(rows * CHUNK[0], COLUMNS),
        chunks=CHUNK,
        shards=shards,
        dtype="f8",
        compressors=[LZ4],
        overwrite=True,
    )


def calls(action: Callable[[], object]) -> int:
    """How many Python functions an action calls."""
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


def per_chunk(few: int, many: int) -> float:
    """What one chunk adds."""
    return (many - few) / ((MANY - FEW) * COLUMNS / CHUNK[1])


def writing(store: Any, rows: int, shards: tuple[int, int] | None) -> int:
    """The calls of writing everything."""
    array, data = made(store, rows, shards), values(rows)
    return calls(lambda: array.write(..., data))


def reading(store: Any, rows: int, shards: tuple[int, int] | None) -> int:
    """The calls of reading everything."""
    array = made(store, rows, shards)
    array[...] = values(rows)
    return calls(array.read)


@pytest.mark.parametrize(
    ("action", "kind", "shards", "most"),
    [
        (writing, "memory", None, {"none": 19, "native": 7}),
        (reading, "memory", None, {"none": 12.5, "native": 4.5}),
        (writing, "directory", None, {"none": 28.5, "native": 7}),
        (reading, "directory", None, {"none": 19, "native": 2.5}),
        (writing, "memory", (100, 100), {"none": 15, "native": 3}),
        (reading, "memory", (100, 100), {"none": 9.5, "native": 1.5}),
    ],
)
def test_python_calls(
    action: Callable[..., int],
    kind: str,
    shards: tuple[int, int] | None,
    most: dict[str, float],
    kernels: str,
    tmp_path: Path,
) -> None:
    """A chunk more costs a bounded number of calls of Python functions, from the array down to the bytes."""
    store = zarrv3.open_store(str(tmp_path / "x") if kind == "directory" else None)
    action(store, FEW, shards)  # imports and caches
    found = per_chunk(action(store, FEW, shards), action(store, MANY, shards))
    assert found <= most[kernels]


@pytest.mark.parametrize(
    ("kind", "read", "write"),
    [
        ("memory", {"none": 95, "native": 90}, {"none": 200, "native": 190}),
        ("directory", {"none": 140, "native": 90}, {"none": 335, "native": 255}),
    ],
)
def test_python_calls_of_one_element(
    kind: str, read: dict[str, int], write: dict[str, int], kernels: str, tmp_path: Path
) -> None:
    """Reading or writing one element costs a bounded number of calls of Python functions."""
    array = made(zarrv3.open_store(str(tmp_path / "x") if kind == "directory" else None), 1, None)
    array[...] = values(1)
    array[3, 4] = array[3, 4] + 1  # imports and caches
    assert calls(lambda: array[3, 4]) <= read[kernels]
    assert calls(lambda: array.write((3, 4), 2)) <= write[kernels]


@pytest.mark.parametrize(
    ("kind", "shards", "most"),
    [
        ("memory", None, {"none": 29, "native": 6.5}),
        ("directory", None, {"none": 56, "native": 4.5}),
        ("memory", (100, 100), {"none": 31, "native": 9}),
    ],
)
def test_python_calls_of_a_row(
    kind: str, shards: tuple[int, int] | None, most: dict[str, float], kernels: str, tmp_path: Path
) -> None:
    """A chunk of which part is replaced costs a bounded number of calls: 40 of them in a row, 20 in half of one."""
    array = made(zarrv3.open_store(str(tmp_path / "x") if kind == "directory" else None), 10, shards)
    array[...] = values(10)
    half = COLUMNS // 2

    def write(columns: int) -> int:
        data = np.ones(columns)
        return calls(lambda: array.write((5, slice(columns)), data))

    write(COLUMNS)  # imports and caches
    found = (write(COLUMNS) - write(half)) / (half / CHUNK[1])
    assert found <= most[kernels]


@pytest.mark.parametrize(
    ("kind", "most"),
    [("memory", {"none": 2200, "native": 1300}), ("directory", {"none": 3600, "native": 1350})],
)
def test_python_calls_of_an_append(kind: str, most: dict[str, int], kernels: str, tmp_path: Path) -> None:
    """A row that is appended after another one costs a bounded number of calls: the document is known, all chunks are changed at once."""
    array = made(zarrv3.open_store(str(tmp_path / "x") if kind == "directory" else None), 1, None)
    row = values(1)[:1]
    array.append(row)
    array.append(row)  # imports and caches
    assert calls(lambda: array.append(row)) <= most[kernels]


def test_python_calls_of_a_row_of_shards(kernels: str, tmp_path: Path) -> None:
    """A shard more, with ten chunks, in a row that is read costs a bounded number of calls."""
    array = made(zarrv3.open_store(str(tmp_path / "x")), 10, (100, 100))
    array[...] = values(10)

    def read(columns: int) -> int:
        return calls(lambda: array[5, :columns])

    read(COLUMNS)  # imports, caches and indexes
    assert (read(COLUMNS) - read(COLUMNS // 2)) / 2 <= {"none": 125, "native": 34}[kernels]


@pytest.mark.parametrize("shards", [None, (1000, 1000)])
def test_reading_allocates_the_result(shards: tuple[int, int] | None) -> None:
    """Reading holds the result and one window of encoded chunks: nothing of the result's size besides."""
    data = np.random.default_rng(0).random((4000, 1000))
    array = zarrv3.create_array(None, data=data, chunks=(100, 100), shards=shards, compressors=[LZ4])
    array[:10, :10]
    tracemalloc.start()
    try:
        found = array.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.nbytes == 32_000_000
    assert peak < found.nbytes + 20 * 2**20


def test_writing_allocates_windows() -> None:
    """Writing holds the encoded chunks of one window, not a copy of the input."""
    data = np.random.default_rng(0).random((4000, 1000))

    class Nowhere(zarrv3.Layer):
        """Takes values and forgets them."""

        kind = "nowhere"

        def write_many(self, items: Any, /) -> None:
            """Keep documents only."""
            self.inner.write_many({key: value for key, value in items.items() if key.endswith(".json")})

        def swap_many(self, swaps: Any, /) -> Any:
            """Keep documents only."""
            return self.inner.swap_many({key: swap for key, swap in swaps.items() if key.endswith(".json")})

        def apply_many(self, changes: Any, /) -> None:
            """Keep documents only."""
            self.write_many(changes)

    array = zarrv3.create_array(
        Nowhere(zarrv3.MemoryStore()), shape=data.shape, dtype="f8", chunks=(100, 100), compressors=[LZ4]
    )
    array[:10, :10] = 0
    tracemalloc.start()
    try:
        array[...] = data
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20
