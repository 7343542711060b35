"""Arrays that write late, in whole chunks."""

import gc
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Array, MemoryStore
from zarrv3.errors import ConfigurationError, ReadOnlyError, StoreAccessError
from zarrv3.layers.counting import Counting


def counted(**options: Any) -> tuple[Counting, Array]:
    """An array of 8 x 6 in chunks of 4 x 3, and what counts its calls."""
    store = Counting(MemoryStore())
    arguments: dict[str, Any] = {"shape": (8, 6), "chunks": (4, 3), "dtype": "i4"} | options
    return store, zarrv3.create_array(store, **arguments)


def stored(array: Array) -> Any:
    """What another object reads."""
    return Array(array.store, array.path)[...]


def test_a_chunk_is_stored_once_it_is_whole() -> None:
    """Rows wait, are shown by the object and by no other, and are stored as one value without reading."""
    store, array = counted()
    with array.buffered() as same:
        assert same is array
        store.reset()
        for row in range(3):
            array[row] = row + 1
        assert not store.calls["write_many"]
        assert array[:4, 0].tolist() == [1, 2, 3, 0]
        assert array[2, 1] == 3
        assert not stored(array).any()
        store.reset()
        array[3] = 4
        assert (store.calls["swap_many"], store.calls["get_versioned"], store.calls["get_many"]) == (0, 0, 0)
        assert stored(array)[:4, 0].tolist() == [1, 2, 3, 4]


def test_what_is_left_is_stored_at_the_end() -> None:
    """At the end of the block parts of chunks are swapped into what others have stored meanwhile; `flush` does the same."""
    _, array = counted()
    with array.buffered():
        array[1] = 1
        array[::2, 5] = 7  # not a box in its chunk
        Array(array.store)[0] = 9
        array.flush()
        assert (stored(array)[0, 0], stored(array)[1, 0], stored(array)[0, 5]) == (9, 1, 7)
        array[7, 0] = 3
        Array(array.store)[7, 1] = 5
    assert stored(array)[7].tolist() == [3, 5, 0, 0, 0, 0]
    array[2, 2] = 4
    assert stored(array)[2, 2] == 4


def test_frames_cost_what_whole_chunks_cost() -> None:
    """Appending frame by frame changes the document once a chunk, and writes each chunk once."""
    store, array = counted(shape=(0, 6), chunks=(32, 6))
    with array.buffered():
        store.reset()
        for number in range(64):
            assert array.append(np.full((1, 6), number)) == (number + 1, 6)
            assert array[number, 3] == number
        assert store.calls["write_many"] + store.calls["swap_many"] <= 4
        array.append(np.full((1, 6), 64))
        assert Array(array.store).shape == (64, 6)
    assert stored(array)[:, 0].tolist() == [*range(65)]
    assert array.shape == (65, 6)


@pytest.mark.parametrize("shards", [None, (16, 6)])
@pytest.mark.parametrize("begin", [0, 3])
def test_appends_of_others_come_first(begin: int, shards: Any) -> None:
    """Appended elements that wait come behind what others append meanwhile; the object shows where."""
    _, array = counted(shape=(begin, 6), chunks=(8, 3), shards=shards)
    with array.buffered():
        array.append(np.full((3, 6), 1))
        Array(array.store).append(np.full((2, 6), 2))
        array.append(np.full((1, 6), 3))
    expected = [0] * begin + [2, 2, 1, 1, 1, 3]
    assert stored(array)[:, 0].tolist() == expected
    assert array[:, 5].tolist() == expected


def test_appending_along_another_axis() -> None:
    """What waits behind one axis is stored before another one grows; elements that wait can be written over."""
    _, array = counted(shape=(4, 3))
    with array.buffered():
        array.append(np.ones((1, 3)))
        array[4, 1] = 5
        array.append(np.full((5, 2), 2), axis=-1)
        assert array.shape == (5, 5)
        array[-1, -1] = 6
    assert stored(array)[4].tolist() == [1, 5, 1, 2, 6]


def test_documents_change_after_what_waits_is_stored() -> None:
    """Attributes, lengths and copies of the object see all that was written."""
    _, array = counted(shape=(0, 3))
    with array.buffered():
        array.append(np.ones((2, 3)))
        array.attrs["a"] = 1
        assert stored(array).shape == (2, 3)
        array.append(np.ones((2, 3)))
        array.resize(3, 3)
        assert stored(array).tolist() == [[1] * 3] * 3
        array.append(np.ones((1, 3)))
        assert array.with_config({"write_empty_chunks": True})[:].sum() == 12
        array[0, 0] = 4
        assert array.refresh()[0, 0] == 4
        assert stored(array)[0, 0] == 4
    assert array.attrs["a"] == 1


def test_memory_is_bounded() -> None:
    """When more waits than was allowed it is stored; large values are written at once, over what waits."""
    store, array = counted(shape=(64, 64), chunks=(8, 8))
    with array.buffered(4 * 8 * 8 * 5):
        for number in range(8):
            array[8 * number, 8 * number] = 1
        assert store.calls["swap_many"] >= 4
        array[...] = np.full((64, 64), 2)
        assert (stored(array) == 2).all()
        array[0, 0] = 3
        array[...] = np.full((64, 64), 4)
    assert (stored(array) == 4).all()


def test_texts() -> None:
    """Elements that vary in length wait too, and count."""
    _, array = counted(shape=(0,), chunks=(4,), dtype=str, fill_value="")
    with array.buffered("1KiB"):
        for number in range(10):
            array.append(np.array(["x" * number], dtype=object))
        assert array[3] == "xxx"
    assert [len(text) for text in stored(array)] == [*range(10)]


def test_fields_are_written_at_once() -> None:
    """Fields of a structured dtype are stored at once, on top of what waits."""
    _, array = counted(shape=(4,), chunks=(4,), dtype=[("a", "i2"), ("b", "i4")], fill_value=None)
    with array.buffered():
        array[1] = np.array((1, 2), array.dtype)
        array["a", 1] = 3
        assert stored(array)[1].tolist() == (3, 2)
        array[2] = np.array((5, 6), array.dtype)
        assert array["b", 1:3].tolist() == [2, 6]


def test_without_dimensions() -> None:
    """An array without dimensions is one chunk, which is always whole."""
    _, array = counted(shape=(), chunks=())
    with array.buffered():
        array[...] = 5
        assert stored(array) == 5


def test_irregular_chunks_are_appended_at_once() -> None:
    """Where chunks differ in length appends do not wait, other writes do."""
    _, array = counted(shape=(5, 6), chunks=[[2, 3], [6]])
    with array.buffered():
        array[0] = 1
        array[3] = 2
        assert not stored(array).any()
        array.append(np.full((2, 6), 3))
        array[0] = 1
        array[1] = 4
        assert stored(array)[:2, 0].tolist() == [1, 4]
    assert stored(array)[:, 5].tolist() == [1, 4, 0, 2, 0, 3, 3]


class Failing(Counting):
    """A store that refuses to be written to, now and then."""

    fails = False

    def swap_many(self, swaps: Any, /) -> Any:
        """Refuse."""
        if self.fails:
            raise StoreAccessError("away")
        return super().swap_many(swaps)

    def write_many(self, changes: Any, /) -> None:
        """Refuse."""
        if self.fails:
            raise StoreAccessError("away")
        super().write_many(changes)


def test_what_cannot_be_stored_goes_on_waiting() -> None:
    """A failure reaches the writer; the append that met it is not made, what was taken before can be stored later."""
    store = Failing(MemoryStore())
    array = zarrv3.create_array(store, shape=(0,), chunks=(4,), dtype="i4")
    with array.buffered():
        array.append([0, 1, 2])
        store.fails = True
        with pytest.raises(StoreAccessError):
            array.append([3])
        assert array.shape == (3,)
        with pytest.raises(StoreAccessError):
            array.flush()
        assert array[:].tolist() == [0, 1, 2]
        store.fails = False
        array.append([3, 4])
    assert stored(array).tolist() == [0, 1, 2, 3, 4]
    block = array.buffered()
    with pytest.raises(StoreAccessError), block:  # noqa: PT012 - the end of the block raises
        array[0] = 7
        store.fails = True
    store.fails = False
    assert array[0] == 7
    array.flush()
    assert stored(array)[0] == 7


def test_bad_values_change_nothing() -> None:
    """Values that do not fit are refused before anything waits."""
    _, array = counted(shape=(0, 6))
    with array.buffered():
        with pytest.raises(zarrv3.errors.AssignmentError):
            array.append(np.ones((1, 5)))
        with pytest.raises(zarrv3.errors.AssignmentError):
            array.append(np.full((1, 6), 2**40))
        with pytest.raises(IndexError):
            array[3] = 1
    assert stored(array).shape == (0, 6)
    with pytest.raises(ConfigurationError, match="a size"), array.buffered("much"):
        pass
    with pytest.raises(ReadOnlyError), Array(array.store, read_only=True).buffered():
        pass


def test_opened_with_a_buffer(tmp_path: Path) -> None:
    """`write_buffer=` buffers until `flush`, or until the object is forgotten; a pickled copy has what was written, and its own buffer."""
    array = zarrv3.open_array(tmp_path, mode="w", shape=4, chunks=4, dtype="i4", write_buffer="1MiB")
    array[0] = 1
    with array.buffered():
        array[1] = 2
    assert stored(array).tolist() == [1, 2, 0, 0]
    array[2] = 3
    copy = pickle.loads(pickle.dumps(array))
    copy[3] = 4
    assert stored(array).tolist() == [1, 2, 3, 0]
    copy.flush()
    array[0] = 5
    del array
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "zarrv3 write buffer":
            thread.join()
    assert zarrv3.open_array(tmp_path)[:].tolist() == [5, 2, 3, 4]


def test_the_end_of_the_interpreter(tmp_path: Path) -> None:
    """What waits when the interpreter ends is stored."""
    zarrv3.create_array(tmp_path, shape=(0,), chunks=4, dtype="i4")
    code = f"import zarrv3; a = zarrv3.open_array({str(tmp_path)!r}, mode='r+', write_buffer=1000); a.append([1, 2, 3, 4, 5])"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert zarrv3.open_array(tmp_path)[:].tolist() == [1, 2, 3, 4, 5]


def test_what_is_lost_at_the_end_is_told(tmp_path: Path) -> None:
    """What cannot be stored when the interpreter ends is an error that says so; other arrays are stored."""
    for name in ("gone", "kept"):
        zarrv3.create_array(tmp_path / name, shape=(0,), chunks=4, dtype="i4")
    code = (
        "import sys, shutil, zarrv3\n"
        "arrays = [zarrv3.open_array(path, mode='r+', write_buffer=1000) for path in sys.argv[1:]]\n"
        "for array in arrays: array.append([1])\n"
        "shutil.rmtree(sys.argv[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "gone"), str(tmp_path / "kept")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "writes that waited could not be stored, and are lost" in done.stderr
    assert "gone" in done.stderr
    assert zarrv3.open_array(tmp_path / "kept")[:].tolist() == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_nothing_waits_in_a_forked_child(tmp_path: Path) -> None:
    """What waits is stored once, by the process that wrote it."""
    array = zarrv3.create_array(tmp_path, shape=4, chunks=4, dtype="i4")
    with array.buffered():
        array[0] = 1
        child = os.fork()
        if not child:
            array.flush()
            os._exit(0 if not stored(array).any() else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert stored(array)[0] == 1


def test_threads_lose_nothing() -> None:
    """Threads that append and write through one object, and one that flushes and reads, lose nothing."""
    _, array = counted(shape=(0,), chunks=(16,))
    fixed = zarrv3.create_array(MemoryStore(), shape=200, chunks=16, dtype="i4")

    def work(number: int) -> None:
        for turn in range(50):
            array.append([100 * number + turn])
            fixed[50 * number + turn] = turn + 1
            if not turn % 10:
                array.flush()
                assert (fixed[:50] >= 0).all()

    with array.buffered(), fixed.buffered("1KiB"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(stored(array)) == [100 * number + turn for number in range(4) for turn in range(50)]
    assert stored(fixed).tolist() == [*range(1, 51)] * 4


SLICES = st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([1, 1, 2])).map(
    lambda t: slice(min(t[:2]), max(t[:2]), t[2])
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), SLICES, SLICES, st.integers(1, 9)),
        st.tuples(st.just("points"), st.lists(st.integers(0, 8), min_size=1, max_size=4), st.integers(1, 9)),
        st.tuples(st.just("append"), st.integers(0, 5), st.sampled_from([0, 1]), st.integers(1, 9)),
        st.tuples(st.just("resize"), st.integers(5, 12), st.integers(5, 12)),
        st.tuples(st.just("flush")),
        st.tuples(st.just("read"), SLICES, SLICES),
    ),
    max_size=12,
)


@given(STEPS, st.sampled_from([None, (6, 4)]), st.sampled_from([200, 2000, 10**6]))
@settings(deadline=None)
def test_as_numpy_does(steps: list[Any], shards: Any, size: int) -> None:
    """Whatever is written, appended, resized, flushed and read, the object is what an array in memory is, and so is what is stored."""
    expected = np.zeros((9, 9), "i4")
    array = zarrv3.create_array(MemoryStore(), shape=(9, 9), chunks=(3, 2), shards=shards, dtype="i4")
    with array.buffered(size):
        for name, *told in steps:
            if name == "set":
                array[told[0], told[1]] = expected[told[0], told[1]] = told[2]
            elif name == "points":
                points = [min(p, min(expected.shape) - 1) for p in told[0]]
                array.vindex[points, points] = expected[points, points] = told[1]
            elif name == "append":
                count, axis, value = told
                shape = list(expected.shape)
                shape[axis] = count
                new = np.full(shape, value)
                array.append(new, axis)
                expected = np.concatenate([expected, new.astype("i4")], axis)
            elif name == "resize":
                larger = np.zeros(told, "i4")
                both = tuple(slice(0, min(pair)) for pair in zip(told, expected.shape, strict=True))
                larger[both] = expected[both]
                expected = larger
                array.resize(told)
            elif name == "flush":
                array.flush()
                assert (stored(array) == expected).all()
            else:
                assert (array[told[0], told[1]] == expected[told[0], told[1]]).all()
            assert array.shape == expected.shape
        assert (array[:] == expected).all()
    assert (stored(array) == expected).all()
