"""Re-chunking in bounded memory, without reading much more than once."""

import math
import subprocess
import sys
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
from zarrv3.errors import ConfigurationError, CorruptDataError, NodeNotFoundError, StoreAccessError
from zarrv3_tools.copying import between, values
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
    """Nothing stays in the temporary folder but after a failure that a copy can go on from, which then removes it."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * 64)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store, data = rows(64, 64)
    good = store["x/c/63/0"]
    store["x/c/63/0"] = b"short"
    dest = MemoryStore()
    with pytest.raises(CorruptDataError, match="x/c/63/0") as caught:
        zarrv3.copy(store, dest, chunks=(64, 1))
    [left] = tmp_path.iterdir()
    assert str(left) in caught.value.__notes__[0]
    assert "resume=True goes on" in caught.value.__notes__[1]
    report = zarrv3.copy(store, MemoryStore(), chunks=(64, 1), on_error="report")
    assert [failed.path for failed in report.not_carried] == ["x"]
    assert [*tmp_path.iterdir()] == [left]
    store["x/c/63/0"] = good
    zarrv3.copy(store, dest, chunks=(64, 1), resume=True)
    assert (zarrv3.open_array(dest, path="x")[:] == data).all()
    assert not [*tmp_path.iterdir()]


KILLED = """
import os, sys, tempfile
import zarrv3
from zarrv3 import Layer
from zarrv3_store_directory import DirectoryStore
from zarrv3_tools.copying import values

source, dest, temporary, kind, after = sys.argv[1:]
tempfile.tempdir = temporary
values.BOX_BYTES = 4 * 4 * 64
get_many, write_many, calls = DirectoryStore.get_many, DirectoryStore.write_many, 0

def count(path):
    global calls
    calls += path == kind
    if calls > int(after):
        os.kill(os.getpid(), 9)

def reads(self, requests):
    count("first" if str(self.option("path")) == source else "second" if "zarrv3-copy-" in str(self.option("path")) else "")
    return get_many(self, requests)

DirectoryStore.get_many = reads
zarrv3.copy(source, dest, chunks=(64, 1), resume=True)
"""


@pytest.mark.parametrize(("kind", "after"), [("first", 12), ("second", 8)])
def test_killed_in_either_pass(
    kind: str, after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A copy that is killed in the first or second pass goes on from what lies between, loses nothing and leaves nothing."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * 64)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary := tmp_path / "temporary"))
    temporary.mkdir()
    source, dest = tmp_path / "source", tmp_path / "dest"
    data = np.arange(64 * 64, dtype="i4").reshape(64, 64) + 1
    zarrv3.create_array(source, name="x", data=data, chunks=(1, 64), compressors=None)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, source, dest, temporary, kind, str(after)], check=False, timeout=120
    )
    assert ended.returncode == -9
    [left] = temporary.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    with pytest.raises(NodeNotFoundError):
        zarrv3.open_array(dest, path="x", mode="r")
    counting = Counting(zarrv3.open_store(str(source)))
    report = zarrv3.copy(counting, dest, chunks=(64, 1), resume=True, verify=True)
    assert (zarrv3.open_array(dest, path="x", mode="r")[:] == data).all()
    assert not [*temporary.iterdir()]
    assert not [key for key in zarrv3.open_store(str(dest)) if "copying" in key]
    assert report.chunks + report.skipped >= 64
    if kind == "second":
        assert counting.requested["get_many"] < 10  # documents: no row is read again
    else:
        assert counting.requested["get_many"] < 64


def test_damage_in_between_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What lies between has checksums: a changed byte is an error, and nothing of it becomes a copy."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * 64)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store, _ = rows(64, 64)
    complete = between.Between.complete

    def damaged(self: between.Between) -> None:
        complete(self)
        file = next(file for file in tmp_path.rglob("array/c/*/*") if file.is_file())
        file.write_bytes(bytes(map((1).__xor__, file.read_bytes())))

    dest = MemoryStore()
    monkeypatch.setattr(between.Between, "complete", damaged)
    with pytest.raises(CorruptDataError, match=r"array/c/.* crc32c"):
        zarrv3.copy(store, dest, chunks=(64, 1))
    assert "x/zarr.json" not in dest


def test_lost_files_are_no_fill_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where something removes what lies between, that is an error, and nothing stays of the copy."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * 64)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store, _ = rows(64, 64)
    complete = between.Between.complete

    def cleaned(self: between.Between) -> None:
        complete(self)
        next(file for file in tmp_path.rglob("array/c/*/*") if file.is_file()).unlink()

    dest = MemoryStore()
    monkeypatch.setattr(between.Between, "complete", cleaned)
    with pytest.raises(CorruptDataError, match="removed files"):
        zarrv3.copy(store, dest, chunks=(64, 1))
    assert not [key for key in dest if key.startswith("x/")]
    assert not [*tmp_path.iterdir()]


def test_lost_files_and_an_interruption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was copied while files were missing in between is copied again, though the copy that goes on has them."""
    monkeypatch.setattr(values, "BOX_BYTES", 4 * 4 * 64)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store, data = rows(64, 64)
    complete, dest = between.Between.complete, MemoryStore()

    def cleaned(self: between.Between) -> None:
        complete(self)
        next(file for file in tmp_path.rglob("array/c/*/*") if file.is_file()).unlink()

    def interrupt(done: int, _: int | None) -> None:
        if done == data.nbytes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(between.Between, "complete", cleaned)
        with pytest.raises(KeyboardInterrupt):
            zarrv3.copy(store, dest, chunks=(64, 1), progress=interrupt)
    assert "x/c/0/63" in dest
    zarrv3.copy(store, dest, chunks=(64, 1), resume=True)
    assert (zarrv3.open_array(dest, path="x")[:] == data).all()
    assert not [*tmp_path.iterdir()]


def test_two_copies_do_not_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What lies between is for one process; a folder that others can write to is refused."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = zarrv3.create_array({}, shape=(4, 4), chunks=(1, 4), dtype="i1")
    name = between.new_name()
    with between.opened(name, array, (2, 2)), pytest.raises(StoreAccessError, match="another process"):
        between.opened(name, array, (2, 2)).__enter__()
    [folder] = tmp_path.iterdir()
    folder.chmod(0o777)
    with pytest.raises(StoreAccessError, match="open to other users"):
        between.opened(name, array, (2, 2)).__enter__()


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
