"""Re-chunking in bounded memory, without reading much more than once."""

import math
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Counting, MemoryStore
from zarrv3.errors import ConfigurationError, CorruptDataError
from zarrv3_tools.copying import values
from zarrv3_tools.copying.planning import MOST_READ, passes, read

AXES = st.lists(
    st.tuples(st.integers(1, 500), st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=3
)


@given(AXES, st.integers(1, 3000))
def test_boxes_are_made_of_whole_chunks(axes: list[tuple[int, int, int]], most: int) -> None:
    """Boxes are whole chunks of what they write, no larger than asked for if one chunk is not, and what is read is bounded."""
    shape, old, new = (tuple(axis) for axis in zip(*axes, strict=True))
    plan = passes(shape, old, new, most)
    boxes = [length for length in plan.boxes if isinstance(length, int)]
    assert all(box % unit == 0 for box, unit in zip(boxes, new, strict=True))
    assert math.prod(boxes) <= max(most, math.prod(new))
    if plan.between is None:
        assert read(shape, old, tuple(boxes)) <= MOST_READ
        return
    first = [length for length in plan.first if isinstance(length, int)]
    assert all(box % unit == 0 for box, unit in zip(first, old, strict=True))
    assert math.prod(first) <= max(most, math.prod(old))
    pairs = zip(shape, first, plan.between, strict=True)
    assert all(box >= extent or box % unit == 0 for extent, box, unit in pairs)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 40))
def test_what_is_read_is_counted(extent: int, unit: int, length: int) -> None:
    """How often elements are read is what counting them one by one says."""
    count = 0
    for start in range(0, extent, length):
        stop = min(start + length, extent)
        count += min(-(-stop // unit) * unit, extent) - start // unit * unit
    assert read((extent,), (unit,), (length,)) == count / extent


def rows(count: int, length: int) -> tuple[Counting, Any]:
    """An array stored row by row, and what counts its reads."""
    store = Counting(MemoryStore())
    data = np.arange(count * length, dtype="i4").reshape(count, length)
    zarrv3.create_array(store, name="x", data=data, chunks=(1, length), compressors=None)
    store.reset()
    return store, data


@pytest.mark.parametrize("size", [64, 256])
def test_across_the_grain(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows become columns, at any size, and no byte of the source is read more than twice; the copy can be verified."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * size)
    store, data = rows(size, size)
    dest = MemoryStore()
    report = zarrv3.copy(store, dest, chunks=(size, 1), verify=True)
    assert (report.chunks, report.recoded) == (size, 1)
    assert store.requested["get_many"] <= 1.2 * size  # rows, documents
    assert (zarrv3.open_array(dest, path="x")[:] == data).all()


def test_with_memory_one_pass_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What fits into the memory that is given goes by no other place."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    store, data = rows(64, 64)
    dest = MemoryStore()
    with zarrv3.config.set(threads=2):
        zarrv3.copy(store, dest, chunks=(64, 1), memory="64KiB")
    assert (zarrv3.open_array(dest, path="x")[:] == data).all()
    with pytest.raises(ConfigurationError, match="a size"):
        zarrv3.copy(store, MemoryStore(), memory="much")


def test_what_is_in_between_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing stays in the temporary folder, after a failure neither; the copy can be resumed."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * 64)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store, data = rows(64, 64)
    good = store["x/c/63/0"]
    store["x/c/63/0"] = b"short"
    dest = MemoryStore()
    with pytest.raises(CorruptDataError, match="x/c/63/0"):
        zarrv3.copy(store, dest, chunks=(64, 1))
    assert not [*tmp_path.iterdir()]
    report = zarrv3.copy(store, MemoryStore(), chunks=(64, 1), on_error="report")
    assert [failed.path for failed in report.not_carried] == ["x"]
    store["x/c/63/0"] = good
    zarrv3.copy(store, dest, chunks=(64, 1), resume=True)
    assert (zarrv3.open_array(dest, path="x")[:] == data).all()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("megabytes", [64, pytest.param(512, marks=pytest.mark.slow)])
def test_memory_is_bounded(megabytes: int, tmp_path: Path) -> None:
    """However large the array is, no more is held than was allowed, and 64 MiB."""
    count = megabytes * 256
    source = zarrv3.create_array(
        {}, name="x", shape=(count, 4096), chunks=(1, 4096), dtype="u1", compressors=None
    )
    row = b"\x01\x02" * 2048
    source.store.write_many({f"x/c/{number}/0": row for number in range(count)})
    store = Counting(source.store)
    tracemalloc.start()
    try:
        zarrv3.copy(store, tmp_path, chunks=(count, 4), memory="16MiB")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 80 * 2**20
    assert store.requested["get_many"] <= 2 * count + 10
    copy = zarrv3.open_array(tmp_path, path="x")
    assert copy.chunks == (count, 4)
    assert (copy[:, 5] == 2).all()
