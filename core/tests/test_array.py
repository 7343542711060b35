"""What an array is and does, beside what `test_array_hypothesis` compares with numpy."""

import math
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array, Counting, MemoryStore, ReadOnly, config
from zarrv3.errors import (
    AssignmentError,
    CorruptDataError,
    MetadataError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    SelectionError,
    UnsupportedError,
)
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore


@pytest.fixture
def array() -> Array:
    """A small array of 3 x 2 chunks with values."""
    made = zarrv3.create((5, 4), chunks=(2, 2), dtype="i4", path="a/b", compressor=None, attributes={"k": 1})
    made[...] = np.arange(20).reshape(5, 4)
    return made


# ---------------------------------------------------------------- what it is


def test_properties(array: Array) -> None:
    """Every property says what the document and the chunks say."""
    assert (array.shape, array.chunks, array.shards, array.ndim) == ((5, 4), (2, 2), None, 2)
    assert (array.size, array.itemsize, array.nbytes, array.dtype) == (20, 4, 80, np.dtype("i4"))
    assert (array.name, array.path, array.basename) == ("/a/b", "a/b", "b")
    assert (array.cdata_shape, array.nchunks, array.nchunks_initialized) == ((3, 2), 6, 6)
    assert (array.order, array.fill_value, array.dimension_names) == ("C", 0, None)
    assert (array.filters, array.compressors, array.compressor) == ((), (), None)
    assert array.nbytes_stored() == 6 * 16 + len(array.store["a/b/zarr.json"])
    assert array.read_only is False
    assert dict(array.attributes) == {"k": 1}


@pytest.mark.parametrize(("shape", "order"), [((3, 4, 5), "F"), ((3, 4), "C"), ((3,), "F")])
def test_order_is_a_transpose_codec(shape: tuple[int, ...], order: Any) -> None:
    """Order F is told from the stored codecs, and one dimension has no order."""
    values = np.arange(math.prod(shape)).reshape(shape)
    array = zarrv3.array(values, order=order, compressor=None)
    assert array.order == (order if len(shape) > 1 else "C")
    [key] = [key for key in array.store if not key.endswith("json")]
    assert array.store[key] == values.tobytes(order)
    assert np.array_equal(array[:], values)


def test_repr(array: Array) -> None:
    """The array is described in one line that says where it lies, without asking the store."""
    counting = Counting(array.store)
    shown = Array(counting, "a/b")
    counting.reset()
    assert repr(shown) == f"<zarrv3.Array '/a/b' (5, 4) int32 in {counting.describe()}>"
    assert not counting.calls


def test_equality_is_of_places_not_values(array: Array) -> None:
    """Two arrays are equal if they are the same node of equal stores."""
    assert Array(array.store, "a/b") == array
    assert Array(array.store, "a/b", read_only=True) != array
    assert zarrv3.create((5, 4), path="a/b") != array
    assert array != zarrv3.open_group(array.store, path="a")


# ---------------------------------------------------------------- numpy's protocols


def test_array_protocol(array: Array) -> None:
    """Numpy makes an array of it, of any dtype, and is told that this always copies."""
    values = np.arange(20).reshape(5, 4)
    assert np.array_equal(np.asarray(array), values)
    assert np.asarray(array, dtype="f4").dtype == "f4"
    assert np.array_equal(np.array(array, copy=True), values)
    assert np.array_equal(np.add(array, 1), values + 1)
    with pytest.raises(ValueError, match="copy"):
        np.array(array, copy=False)


def test_iteration_reads_every_chunk_once(array: Array) -> None:
    """Iterating gives the rows and asks for each chunk once; so does `len` for nothing."""
    counting = Counting(array.store)
    other = Array(counting, "a/b")
    counting.reset()
    assert len(other) == 5
    assert np.array_equal(list(other), np.arange(20).reshape(5, 4))
    assert counting.requested["get_many"] == 6


def test_without_dimensions() -> None:
    """A 0-d array has a value but no length and no rows; an index of () gives a scalar, dots an array."""
    array = zarrv3.create((), dtype="f8", fill_value=2.5)
    assert array[()] == 2.5
    assert isinstance(array[()], np.float64)
    assert array[...].shape == ()
    array[...] = 7
    assert (float(array), int(array), complex(array), bool(array)) == (7.0, 7, 7 + 0j, True)
    with pytest.raises(TypeError, match="without dimensions"):
        len(array)
    with pytest.raises(TypeError, match="without dimensions"):
        iter(array).__next__()


def test_truth_of_several_elements_reads_nothing(array: Array) -> None:
    """As in numpy several elements have no truth, and no chunk is read to find out."""
    counting = Counting(array.store)
    other = Array(counting, "a/b")
    counting.reset()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(other)
    with pytest.raises(TypeError, match="only an array of one element"):
        float(other)
    assert not counting.calls


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 0, 0)])
def test_zero_length(shape: tuple[int, ...]) -> None:
    """An array without elements is written and read without touching the store."""
    counting = Counting(MemoryStore())
    array = zarrv3.create(shape, dtype="i2", store=counting)
    counting.reset()
    array[...] = np.zeros(shape)
    assert array[...].shape == shape
    assert list(array) == [] or shape[0] > 0
    assert not counting.calls


# ---------------------------------------------------------------- out=


@pytest.mark.parametrize("dtype", ["i4", "f8", ">i4"])
@pytest.mark.parametrize("view", [np.s_[:, :], np.s_[::-1, ::-1]])
def test_out(array: Array, dtype: str, view: Any) -> None:
    """The caller's memory is filled and returned, whatever its strides and (wider) dtype."""
    out = np.full((5, 4), -1, dtype)[view]
    assert array.read(..., out=out) is out
    assert np.array_equal(out, np.arange(20).reshape(5, 4))


def test_out_of_another_selection(array: Array) -> None:
    """All kinds of selections take `out`."""
    out = np.empty(2, "i4")
    assert array.get_coordinate_selection(([0, 4], [1, 3]), out=out).tolist() == [1, 19]
    assert array.get_mask_selection(np.arange(20).reshape(5, 4) < 2, out=out).tolist() == [0, 1]
    assert array.get_orthogonal_selection((0, [3, 1]), out=out).tolist() == [3, 1]
    assert array.get_block_selection((2, 0), out=out.reshape(1, 2)).tolist() == [[16, 17]]
    assert array.get_basic_selection(np.s_[1, :2], out=out) is out


@pytest.mark.parametrize(
    "out",
    [
        np.empty((4, 5), "i4"),
        np.empty((5, 4), "i2").astype(bool),
        [[0] * 4] * 5,
        np.broadcast_to(np.int32(0), (5, 4)),
    ],
)
def test_unfit_out_is_refused_unchanged(array: Array, out: Any) -> None:
    """Memory of the wrong shape or dtype, read-only memory and what is not an array are refused before anything is read."""
    before = np.array(out, copy=True)
    with pytest.raises(AssignmentError, match="out"):
        array.read(..., out=out)
    assert np.array_equal(before, out)


# ---------------------------------------------------------------- fields


def test_fields() -> None:
    """Fields are read and written by name, alone or several, also into the caller's memory; unknown ones are named."""
    array = zarrv3.create(4, chunks=3, dtype=[("x", "i4"), ("y", "f8")], fill_value=(1, 2.0))
    array["x"] = [5, 6, 7, 8]
    assert array["x"].tolist() == [5, 6, 7, 8]
    assert array["y"].tolist() == [2.0] * 4
    assert array[["y", "x"]][0].tolist() == (2.0, 5)
    array.set_basic_selection(np.s_[:2], 9.0, fields="y")
    assert array["y", 1:3].tolist() == [9.0, 2.0]
    out = np.empty(4, "f8")
    array.read(fields="y", out=out)
    assert out.tolist() == [9.0, 9.0, 2.0, 2.0]
    with pytest.raises(SelectionError, match="no field 'z'; its fields: x, y"):
        array["z"]


# ---------------------------------------------------------------- what is refused


def snapshot(store: Any) -> dict[str, bytes]:
    """All keys with their values."""
    return dict(store.items())


@pytest.mark.parametrize(
    "value", ["text", None, [1, 2, 3, "x"], 1j, 2**70, np.array(["a"]), np.ones(4) * 1j, object()]
)
def test_values_that_cannot_be_elements(array: Array, value: Any) -> None:
    """A value of a dtype that does not fit is refused before anything is written."""
    before = snapshot(array.store)
    with pytest.raises(AssignmentError, match="/a/b"):
        array[0] = value
    assert snapshot(array.store) == before


@pytest.mark.parametrize("value", [["a", 1], np.array([b"x", None], dtype=object), 5, [b"x", [b"y"]]])
def test_objects_are_never_stored(value: Any) -> None:
    """In an array of bytes only byte strings are stored, and nothing is when one of the values is none."""
    array = zarrv3.create(2, chunks=1, dtype="bytes")
    with pytest.raises(AssignmentError, match="cannot become elements"):
        array[...] = value
    assert [*array.store] == ["zarr.json"]
    array[0] = bytearray(b"x\0")
    array[1] = memoryview(b"y")
    assert array[...].tolist() == [b"x\0", b"y"]


def test_shapes_that_do_not_fit(array: Array) -> None:
    """A value that cannot be broadcast is a ValueError, and nothing is written."""
    before = snapshot(array.store)
    with pytest.raises(ValueError, match="broadcast"):
        array[:2] = np.zeros((3, 4))
    assert snapshot(array.store) == before


@pytest.mark.parametrize("index", [5, -6, (0, 4), (0, 0, 0), [0, 9]])
def test_out_of_bounds(array: Array, index: Any) -> None:
    """What lies outside is numpy's IndexError, reading and writing."""
    with pytest.raises(IndexError):
        array[index]
    with pytest.raises(IndexError):
        array[index] = 1


def test_read_only(array: Array) -> None:
    """Nothing about an array that is open for reading, or in a read-only store, can be changed."""
    before = snapshot(array.store)
    for shut in (Array(array.store, "a/b", read_only=True), Array(ReadOnly(array.store), "a/b")):
        assert shut.read_only
        for change in (
            lambda a: a.__setitem__(0, 1),
            lambda a: a.resize(2, 2),
            lambda a: a.append(np.zeros((1, 4))),
            lambda a: a.attrs.update(x=1),
            lambda a: a.attrs.clear(),
            lambda a: a.set_mask_selection(np.ones((5, 4), bool), 1),
        ):
            with pytest.raises(ReadOnlyError):
                change(shut)
    assert snapshot(array.store) == before


def test_missing_and_wrong_kind(array: Array) -> None:
    """Opening what is not there, or a group, says so and names the place."""
    with pytest.raises(NodeNotFoundError, match="no array at /a/c in MemoryStore"):
        Array(array.store, "a/c")
    with pytest.raises(NodeTypeError, match=r"/a in MemoryStore.* is a group, not an array"):
        Array(array.store, "a")
    with pytest.raises(NodeTypeError, match="is an array, not a group"):
        zarrv3.Group(array.store, "a/b")


# ---------------------------------------------------------------- corrupt chunks


@pytest.mark.parametrize("compressor", [None, "auto", "default", "gzip", "crc32c"])
@pytest.mark.parametrize("how", ["short", "long", "empty", "garbage", "flipped"])
def test_corrupt_chunks(compressor: Any, how: str) -> None:
    """A chunk that is not what the metadata says is an error that names its key; the other chunks stay readable."""
    if compressor == "gzip":
        compressor = {"name": "gzip", "configuration": {"level": 1}}
    array = zarrv3.create((8, 8), chunks=(4, 4), dtype="u2", compressor=compressor, path="x")
    values = np.random.default_rng(0).integers(0, 1000, (8, 8))
    array[...] = values
    old = array.store["x/c/1/0"]
    flipped = bytes([old[0] ^ 255]) + old[1:]
    new = {"short": old[:-1], "long": old + b"\0", "empty": b"", "garbage": b"\x07" * 3, "flipped": flipped}[
        how
    ]
    if how == "flipped" and compressor is None:
        pytest.skip("nothing tells these bytes from others")
    array.store["x/c/1/0"] = new
    with pytest.raises(CorruptDataError, match="x/c/1/0"):
        array[...]
    with pytest.raises(CorruptDataError, match="x/c/1/0"):
        array[5, 1] = 3  # part of it is needed
    assert array.store["x/c/1/0"] == new
    assert np.array_equal(array[:4], values[:4])
    array[4:, :4] = 5  # all of it is replaced
    assert (array[4:, :4] == 5).all()


# ---------------------------------------------------------------- fill values and empty chunks


def test_emptied_chunks_where_swaps_do_not_erase() -> None:
    """A chunk of which a partial write leaves nothing is stored where it cannot be erased on a condition; covered ones go."""
    driver = MemoryDriver({})
    driver.capabilities = driver.capabilities.without("swap_erases", "transactions")
    array = zarrv3.create_array(DriverStore(driver), shape=6, chunks=2, dtype="i4", compressors=None)
    array[:] = range(1, 7)
    array[1:6] = 0
    array[0] = 0
    assert {key: len(value) for key, value in array.store.items() if key != "zarr.json"} == {"c/0": 8}
    assert array[...].tolist() == [0] * 6
    with pytest.raises(UnsupportedError, match="on the condition that they have not changed"):
        array.store.swap_many({"c/0": (array.store.get_versioned(["c/0"])[0][1], None)})


@pytest.mark.parametrize("fill", [0.0, math.nan, -math.inf])
def test_write_empty_chunks(fill: float) -> None:
    """Chunks of nothing but the fill value are not stored and are erased, unless that is asked for."""
    for wanted, setting, stored in ((False, True, 0), (True, False, 4), (None, False, 0), (None, True, 4)):
        array = zarrv3.create(8, chunks=2, dtype="f4", fill_value=fill, write_empty_chunks=wanted)
        array[...] = 1
        with config.set(write_empty_chunks=setting):
            array[...] = fill
            assert array.nchunks_initialized == stored
            assert np.array_equal(array[...], np.full(8, fill), equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "fill"), [("bytes", b"ab\0"), ("bytes", b"\0"), ("string", "ab\0"), ("string", "\0")]
)
def test_fill_values_that_end_in_zero_bytes(dtype: str, fill: Any) -> None:
    """What a partial write leaves alone keeps the fill value, as long as it is; so does what is cut off and grown again."""
    array = zarrv3.create_array(shape=6, chunks=3, dtype=dtype, fill_value=fill)
    array[0] = array[5] = fill[:0]
    assert array[...].tolist() == [fill[:0], *[fill] * 4, fill[:0]]
    array.resize(5)
    array.resize(6)
    assert array[...].tolist() == [fill[:0], *[fill] * 5]


def test_minus_zero_is_not_the_fill_value_zero() -> None:
    """-0.0 is stored where the fill value is 0.0."""
    array = zarrv3.create(4, chunks=2, dtype="f8")
    array[:2] = -0.0
    assert np.signbit(array[...]).tolist() == [True, True, False, False]


# ---------------------------------------------------------------- other processes


def test_pickling(tmp_path: Path) -> None:
    """A pickled array or group is the same node: store by configuration, mode and empty chunks kept."""
    array = zarrv3.create(4, chunks=2, store=str(tmp_path), path="g/x", write_empty_chunks=True)
    array[...] = 3
    copy = pickle.loads(pickle.dumps(Array(array.store, "g/x", read_only=True, write_empty_chunks=True)))
    assert (copy.read_only, copy.write_empty_chunks) == (True, True)
    assert np.array_equal(copy[...], array[...])
    assert pickle.loads(pickle.dumps(array)) == array
    group = zarrv3.open_group(array.store, path="g")
    assert pickle.loads(pickle.dumps(group)) == group
    indexer = pickle.loads(pickle.dumps(array))
    indexer[0] = 9
    assert array[0] == 9


SPAWNED = """
import multiprocessing, sys
import numpy as np
import zarrv3

def work(array, number):
    array[number * 2 : number * 2 + 2] = number
    return int(array[:2].sum())

if __name__ == "__main__":
    array = zarrv3.create(8, chunks=2, dtype="i4", fill_value=-1, store=sys.argv[1])
    array[:2] = 0
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(work, [(array, number) for number in (1, 2, 3)]) == [0, 0, 0]
    assert array[...].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
"""

FORKED = """
import os, sys, threading
import numpy as np
import zarrv3

with zarrv3.config.set(threads=4):
    array = zarrv3.create((64, 64, 64), chunks=(16, 64, 64), dtype="f8", store=sys.argv[1], compressor=None)
    array[...] = 1  # threads have started
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            array[:16, 0, 0] = 2  # locks are held now and then
    worker = threading.Thread(target=busy)
    worker.start()
    children = []
    for number in range(5):
        child = os.fork()
        if not child:
            good = (array[16:] == 1).all()
            array[:16, 1:, :] = 1
            os._exit(0 if good else 1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    worker.join()
    assert codes == [0] * 5, codes
    assert (array[16:] == 1).all()
"""


@pytest.mark.parametrize("program", [SPAWNED, FORKED], ids=["spawn", "fork"])
def test_processes(tmp_path: Path, program: str) -> None:
    """Arrays work in spawned processes by pickling, and in forked ones as they are, whatever threads did meanwhile."""
    if program is FORKED and not hasattr(os, "fork"):
        pytest.skip("no fork here")
    script = tmp_path / "script.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), str(tmp_path / "data")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- odd inputs


def test_reading_while_resizing(array: Array) -> None:
    """A read sees one shape, old or new, while another thread resizes through the same object."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                assert array[...].shape in {(5, 4), (7, 4)}
            except BaseException as error:  # noqa: BLE001 - reported below
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        array.resize((7, 4) if number % 2 else (5, 4))
    stop.set()
    reader.join()
    assert not failures


@pytest.mark.parametrize("shape", [(1, 2, 3), (-1, 4), "ab", 2.5, None, (2.0, 2), ()])
def test_senseless_resize(array: Array, shape: Any) -> None:
    """A shape that is none is refused and nothing is changed."""
    before = snapshot(array.store)
    with pytest.raises(MetadataError):
        array.resize(shape)
    assert snapshot(array.store) == before
    assert array.shape == (5, 4)


def test_unknown_members_survive_a_change(array: Array) -> None:
    """What others wrote into the document stays there when shape and attributes change."""
    text = array.store["a/b/zarr.json"].decode()
    array.store["a/b/zarr.json"] = text.replace(
        "{", '{"x-note": {"must_understand": false, "by": 1},', 1
    ).encode()
    array.refresh()
    array.resize(7, 4)
    array.attrs["new"] = 1
    assert array.refresh().metadata.to_document()["x-note"] == {"must_understand": False, "by": 1}


def test_other_arrays_are_values(array: Array) -> None:
    """Another array of ours is written like a numpy array."""
    other = zarrv3.zeros((5, 4), dtype="f8")
    other[...] = array
    assert np.array_equal(other[...], array[...])
