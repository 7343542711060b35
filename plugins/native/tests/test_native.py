"""The kernels in C against the code in Python: the same bytes, the same values, the same errors."""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import zarrv3
from zarrv3.chunks.kernels import UNDONE, chunk_kernel, kernels
from zarrv3.chunks.rooms import Room, Rooms
from zarrv3.errors import CorruptDataError, StoreAccessError, ZarrError
from zarrv3.format.codecs import CodecChain
from zarrv3.format.codecs.gzip import GzipCodec
from zarrv3.indexing import plan
from zarrv3.options.settings import config
from zarrv3.store.contract import ByteRange, whole
from zarrv3_native import Native, NativeChunks, NativeTexts, _kernels
from zarrv3_store_directory import DirectoryStore

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DTYPES = [
    "bool",
    "i1",
    "<i2",
    "u4",
    "f4",
    "<f8",
    ">f8",
    "c16",
    "M8[ns]",
    "m8[s]",
    "V5",
    "S3",
    [("a", "<i2"), ("b", "f8")],
]


def blosc(cname: str = "lz4", shuffle: str = "shuffle", blocksize: int = 0) -> dict[str, Any]:
    """Blosc as it stands in a document."""
    return {
        "name": "blosc",
        "configuration": {"cname": cname, "clevel": 5, "shuffle": shuffle, "blocksize": blocksize},
    }


COMPRESSORS: list[Any] = [
    None,
    "auto",
    [blosc()],
    [blosc("zstd", "bitshuffle")],
    [blosc("blosclz", "noshuffle", 256)],
    [{"name": "zstd", "configuration": {"level": 3, "checksum": True}}],
    [blosc(), "crc32c"],
    ["crc32c"],
    ["crc32c", {"name": "zstd", "configuration": {"level": 1, "checksum": False}}, "crc32c", "crc32c"],
    ["crc32c", blosc("lz4", "shuffle", 256)],
    [{"name": "gzip", "configuration": {"level": 1}}],
    ["crc32c", {"name": "gzip", "configuration": {"level": 9}}, "crc32c"],
    [{"name": "numcodecs.zlib", "configuration": {"level": 0}}],
    ["numcodecs.shuffle"],
]


def with_kernels(name: str) -> Any:
    """A block in which these kernels are used, and threads."""
    return config.set(kernels=name, threads=2)


def stored(store: zarrv3.MemoryStore) -> dict[str, bytes]:
    """All keys with their values; of deflate and Zstandard, which differ from library to library, what they hold."""
    return {key: unpacked(bytes(value)) for key, value in store.items()}


def unpacked(data: bytes) -> bytes:
    """What gzip, zlib or Zstandard has made of something, and what stands behind it; other bytes as they are."""
    if not data.startswith(b"\x28\xb5\x2f\xfd"):
        return inflated(data)
    frame = zstd.ZstdDecompressor()
    content = frame.decompress(data)
    return content + frame.unused_data[4:] if frame.eof else data


def inflated(data: bytes) -> bytes:
    """What gzip or zlib has made of something, as `unpacked` gives it."""
    stream = zlib.decompressobj(47)  # either of the two
    try:
        content = stream.decompress(data)
    except zlib.error:
        return data
    return content + stream.unused_data[4:] if stream.eof else data


def array_of(store: zarrv3.MemoryStore, kernel: str, **arguments: Any) -> zarrv3.Array:
    """A new array."""
    with with_kernels(kernel):
        return zarrv3.create_array(store, name="a", overwrite=True, **arguments)


def bits(array: Any) -> tuple[Any, ...]:
    """What two arrays must have in common to be the same, NaNs and signs of zeros included."""
    whole = np.asarray(array)
    return whole.shape, whole.dtype, whole.tobytes()


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """Values, with runs of the fill value among them, and what an array of them is created with."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=13))
    raw = draw(hnp.arrays("u1", (*shape, dtype.itemsize), elements=st.integers(0, 1), fill=st.just(0)))
    values = np.ascontiguousarray(raw).view(dtype).reshape(shape)
    arguments = {
        "shape": shape,
        "dtype": dtype,
        "chunks": tuple(draw(st.integers(1, length + 2)) for length in shape),
        "compressors": draw(st.sampled_from(COMPRESSORS)),
        "filters": [
            {"name": "transpose", "configuration": {"order": order}}
            for order in draw(st.lists(st.permutations(range(len(shape))), max_size=2))
        ],
        "write_empty_chunks": draw(st.booleans()),
    }
    if dtype.itemsize > 1 and dtype.kind not in "VS":
        endian = draw(st.sampled_from(["little", "big"]))
        arguments["serializer"] = {"name": "bytes", "configuration": {"endian": endian}}
    return values, arguments


def some_slice(length: int) -> st.SearchStrategy[slice]:
    """A slice of any step, backwards too."""
    bound = st.none() | st.integers(-length, length)
    return st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 3, -1, -2]))


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Integers and slices."""
    return tuple(draw(st.integers(0, length - 1) | some_slice(length)) for length in shape)


# ---------------------------------------------------------------- the same as Python


@given(st.data())
def test_the_same_bytes_and_values(data: st.DataObject) -> None:
    """What the kernels store and read is what Python stores and reads, for whole arrays and any selection."""
    values, arguments = data.draw(cases())
    stores = {name: zarrv3.MemoryStore() for name in ("native", "none")}
    arrays = {name: array_of(store, name, **arguments) for name, store in stores.items()}
    written = data.draw(st.lists(selections(values.shape), max_size=3))
    others = np.flip(values).copy() if values.ndim else values.copy()
    is_filled = data.draw(st.booleans())
    for name, array in arrays.items():
        with with_kernels(name):
            if is_filled:
                array[...] = values
            for one in written:
                array[one] = others[one]
    assert stored(stores["native"]) == stored(stores["none"])
    values = values.copy() if is_filled else np.full_like(values, arrays["none"].fill_value)
    for one in written:
        values[one] = others[one]
    read = data.draw(selections(values.shape))
    with with_kernels("native"):
        values = values.astype(values.dtype.newbyteorder("="))
        assert bits(arrays["native"][...]) == bits(values)
        assert bits(arrays["native"][read]) == bits(values[read])
        backwards = np.zeros_like(values)[::-1] if values.ndim else np.zeros_like(values)
        assert bits(arrays["native"].read(out=backwards)) == bits(values)


@given(st.data())
def test_points_and_lists(data: st.DataObject) -> None:
    """Points and lists of indices, repeated ones too, beside slices and integers, read what numpy reads and write what Python writes."""
    values = np.arange(
        7 * 11 * 5, dtype=data.draw(st.sampled_from(["f8", "u1", "V3", "i2"])).replace("V3", "f8")
    )
    values = values.reshape(7, 11, 5)
    chunks = data.draw(st.sampled_from([(3, 4, 2), (7, 11, 5), (1, 12, 3)]))
    arguments = {
        "data": values,
        "chunks": chunks,
        "compressors": data.draw(st.sampled_from([[blosc()], None])),
    }
    stores = {name: zarrv3.MemoryStore() for name in ("native", "none")}
    arrays = {name: array_of(store, name, **arguments) for name, store in stores.items()}
    count = data.draw(st.integers(1, 9))
    points = tuple(
        np.array(data.draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count)))
        for n in values.shape
    )
    crossed = tuple(data.draw(selector(length)) for length in values.shape)
    one = tuple([[entry] if isinstance(entry, int) else entry for entry in crossed])
    ranges = [np.arange(n)[entry] for n, entry in zip(values.shape, one, strict=True)]
    drop = tuple(0 if isinstance(entry, int) else slice(None) for entry in crossed)
    with with_kernels("native"):
        np.testing.assert_array_equal(arrays["native"].vindex[points], values[points])
        np.testing.assert_array_equal(arrays["native"].oindex[crossed], values[np.ix_(*ranges)][drop])
    shape = values[np.ix_(*ranges)][drop].shape
    for name, array in arrays.items():
        with with_kernels(name):
            array.vindex[points] = np.arange(count, dtype=values.dtype)
            array.oindex[crossed] = np.arange(math.prod(shape)).reshape(shape).astype(values.dtype)
    assert stored(stores["native"]) == stored(stores["none"])


def selector(length: int) -> st.SearchStrategy[Any]:
    """What selects of one dimension: an integer, a slice, a list or a mask."""
    return st.one_of(
        st.integers(0, length - 1),
        some_slice(length),
        st.lists(st.integers(0, length - 1), min_size=1, max_size=6),
        st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
    )


def test_points_need_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points, lists, masks and parts of chunks are moved by the kernel, none of them by the codecs in Python."""
    values = np.arange(40_000.0).reshape(200, 200)
    array = array_of(zarrv3.MemoryStore(), "native", data=values, chunks=(20, 20), compressors=[blosc()])
    rng = np.random.default_rng(1)
    points = tuple(rng.integers(0, 200, (2, 3000)))
    lists = np.sort(rng.choice(200, 50, replace=False)), rng.choice(200, 50)

    def refuse(*_: Any) -> None:
        raise AssertionError("a chunk was left to Python")

    chain = array.layout.chain
    monkeypatch.setitem(vars(chain), "decode", refuse)
    monkeypatch.setattr(type(chain), "encode", refuse)
    with with_kernels("native"):
        array.vindex[points] = -1
        array.oindex[lists] = -2
        array.oindex[lists[0], 3:190:2] = -3
        array[7, 3:] = 5
        values[points] = -1
        values[np.ix_(*lists)] = -2
        values[lists[0], 3:190:2] = -3
        values[7, 3:] = 5
        np.testing.assert_array_equal(array.vindex[points], values[points])
        np.testing.assert_array_equal(array.oindex[lists], values[np.ix_(*lists)])
        np.testing.assert_array_equal(array.vindex[values > 30_000], values[values > 30_000])
        np.testing.assert_array_equal(array[...], values)


def test_numbers_out_of_bounds() -> None:
    """Numbers that name no element, of another size or in an odd shape are left to Python: nothing is read or written there."""
    kernel = chunk_kernel(chain_of(shape=(2, 4), dtype="i4", compressors=None))
    assert kernel is not None
    chunk, out = np.arange(8, dtype="i4"), np.zeros(4, "i4")
    good = np.array([0, 1])
    for inside, outside in [
        ((good, np.array([0, 4])), (slice(0, 2),)),
        ((good, np.array([-1, 0])), (slice(0, 2),)),
        ((good, good), (np.array([0, 4]),)),
        ((good, good), (slice(0, 3),)),
        ((good.astype("i4"), good), (slice(0, 2),)),
        ((good.reshape(2, 1), good.reshape(2, 1)), (slice(0, 2),)),
        ((good, 0), (slice(0, 2),)),
        ((good.astype("f8"), good), (slice(0, 2),)),
    ]:
        piece = ((0, 0), inside, outside, False)
        assert kernel.decode([chunk.tobytes()], [piece], out) == [0]
        assert kernel.encode([piece], out, keep_empty=True, olds=[chunk.tobytes()]) == [UNDONE]
    assert not out.any()
    piece = ((0, 0), (good, good), (np.array([3, 1]),), False)
    assert kernel.decode([chunk.tobytes()], [piece], out) == []
    assert out.tolist() == [0, 5, 0, 0]


@given(st.data())
def test_parts_of_large_chunks(data: st.DataObject) -> None:
    """A selection of a chunk that Blosc has cut into blocks is right, whichever blocks it touches."""
    values, array = LARGE
    chosen = data.draw(selections(values.shape))
    with with_kernels("native"):
        assert bits(array[chosen]) == bits(values[chosen])


def _large() -> tuple[np.ndarray[Any, Any], zarrv3.Array]:
    values = np.arange(60 * 70 * 30, dtype="i4").reshape(60, 70, 30) % 1000
    compressors = [blosc("lz4", "shuffle", 4096)]
    return values, zarrv3.create_array(None, data=values, chunks=(50, 70, 30), compressors=compressors)


LARGE = _large()


@given(st.data())
def test_what_is_taken_out_of_shuffled_chunks(data: st.DataObject) -> None:
    """Boxes, lines, points and lists of chunks whose bytes Blosc has shuffled are right, with rows that it could not compress."""
    values, array = data.draw(st.sampled_from(SHUFFLED))
    rows, columns = (
        data.draw(st.lists(st.integers(0, length - 1), min_size=3, max_size=3)) for length in values.shape
    )
    chosen = data.draw(selections(values.shape))
    with with_kernels("native"):
        assert bits(array[chosen]) == bits(values[chosen])
        assert bits(array.vindex[rows, columns]) == bits(values[rows, columns])
        assert bits(array.oindex[rows, columns]) == bits(values[np.ix_(rows, columns)])
        assert bits(array[...]) == bits(values)


def _shuffled(dtype: str, blocksize: int) -> tuple[np.ndarray[Any, Any], zarrv3.Array]:
    """Elements of which the first byte is noise, in chunks that end in a shorter block unless there is one only."""
    values = np.arange(90 * 80).reshape(90, 80).astype(dtype)
    first = values.view("u1").reshape(*values.shape, -1)[..., 0]
    first[...] = np.random.default_rng(3).integers(0, 256, values.shape)
    return values, zarrv3.create_array(
        None, data=values, chunks=(50, 77), compressors=[blosc("lz4", "shuffle", blocksize)]
    )


SHUFFLED = [
    _shuffled(dtype, blocksize) for dtype in ("i2", "i4", "f8", "c16") for blocksize in (0, 4096, 256)
]


def test_edges_have_the_fill_value() -> None:
    """What a chunk has beyond the array's edge is the fill value, as Python writes it."""
    stores = {name: zarrv3.MemoryStore() for name in ("native", "none")}
    for name, store in stores.items():
        array = array_of(
            store, name, shape=(5, 5), dtype="f4", chunks=(4, 3), fill_value=math.nan, compressors=None
        )
        with with_kernels(name):
            array[...] = np.arange(25, dtype="f4").reshape(5, 5)
    assert stored(stores["native"]) == stored(stores["none"])


def test_parts_of_new_chunks_have_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of chunks that are not stored yet are encoded by the kernel, with the fill value around them."""
    array = array_of(zarrv3.MemoryStore(), "native", shape=(5, 5), dtype="f4", chunks=(4, 3), fill_value=7)
    monkeypatch.setattr(CodecChain, "encode", None)
    with with_kernels("native"):
        array[1:3, ::2] = 1
        expected = np.full((5, 5), 7, "f4")
        expected[1:3, ::2] = 1
        np.testing.assert_array_equal(array[...], expected)


def test_empty_chunks() -> None:
    """A chunk that holds only the fill value is not stored, one that holds another zero is; missing ones read as it."""
    store = zarrv3.MemoryStore()
    array = array_of(
        store, "native", shape=(6,), dtype="f8", chunks=(2,), fill_value=0.0, compressors=[blosc()]
    )
    with with_kernels("native"):
        array[...] = np.array([0.0, 0.0, -0.0, 0.0, 1.0, 0.0])
        assert sorted(key for key in store if not key.endswith(".json")) == ["a/c/1", "a/c/2"]
        assert bits(array[...]) == bits(np.array([0.0, 0.0, -0.0, 0.0, 1.0, 0.0]))


# ---------------------------------------------------------------- what is wrong


TEXTS = st.lists(
    st.sampled_from(["", "a", "\0", "é\0", "long and more than fifteen bytes", "𝄞" * 80, "Zürich"])
    | st.text(),
    min_size=1,
)


@given(st.data())
def test_texts(data: st.DataObject) -> None:
    """Texts are stored and read as Python stores and reads them: any shape, order, selection, fill value and codecs."""
    some = data.draw(TEXTS)
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=7))
    numbers = np.arange(math.prod(shape)) * data.draw(st.integers(0, 3)) % len(some)
    values = np.array(some, dtype=np.dtypes.StringDType())[numbers].reshape(shape)
    stores = {name: zarrv3.MemoryStore() for name in ("native", "none")}
    written, read = data.draw(selections(shape)), data.draw(selections(shape))
    arguments = {
        "shape": shape,
        "dtype": "string",
        "chunks": tuple(data.draw(st.integers(1, length + 2)) for length in shape),
        "compressors": data.draw(st.sampled_from(CHAINS)),
        "fill_value": data.draw(st.sampled_from(["", "x", "fill value of many bytes"])),
        "filters": [
            {"name": "transpose", "configuration": {"order": order}}
            for order in data.draw(st.lists(st.permutations(range(len(shape))), max_size=1))
        ],
        "write_empty_chunks": data.draw(st.booleans()),
    }
    for name, store in stores.items():
        array = array_of(store, name, **arguments)
        with with_kernels(name):
            array[written] = values[written]
            found = np.full(shape, "what was there is replaced", dtype=np.dtypes.StringDType())
            array.read(out=found)
            expected = np.full(shape, arguments["fill_value"], dtype=np.dtypes.StringDType())
            expected[written] = values[written]
            assert found.tolist() == expected.tolist()
            array[...] = values
            assert np.asarray(array[read]).tolist() == np.asarray(values[read]).tolist()
    assert stored(stores["native"]) == stored(stores["none"])


@given(st.data())
def test_damaged_texts(data: st.DataObject) -> None:
    """Of changed bytes of texts the kernels make what Python makes of them: the same texts, or the same error."""
    store = zarrv3.MemoryStore()
    values = np.array(data.draw(TEXTS), dtype=np.dtypes.StringDType())
    array = array_of(
        store,
        "none",
        data=values,
        chunks=values.shape,
        compressors=data.draw(st.sampled_from(CHAINS)),
        write_empty_chunks=True,
    )
    blob = bytearray(store["a/c/0"])
    for _ in range(data.draw(st.integers(0, 3))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(blob)) | st.integers(0, len(blob)))
    store["a/c/0"] = bytes(blob[:cut]) + data.draw(st.just(b"") | st.binary(max_size=9))
    found = []
    for name in ("native", "none"):
        with config.set(kernels=name, unpacked_bytes=10**6):
            try:
                found.append(array[...].tolist())
            except ZarrError as error:
                found.append((type(error), str(error)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        (b"\xc3\xa9", True),
        (b"\xed\x9f\xbf\xee\x80\x80", True),
        (b"\xf4\x8f\xbf\xbf", True),
        (b"12345678\xc3", False),
        (b"\xc0\x80", False),
        (b"\xc1\xbf", False),
        (b"\xe0\x9f\xbf", False),
        (b"\xed\xa0\x80", False),
        (b"\xf0\x8f\xbf\xbf", False),
        (b"\xf4\x90\x80\x80", False),
        (b"\xf5\x80\x80\x80", False),
        (b"\xe2\x82", False),
        (b"\xe2\x82A", False),
        (b"\x80", False),
    ],
)
def test_utf8(text: bytes, is_good: bool) -> None:
    """What is UTF-8 for the kernel is what is UTF-8 for Python, at the borders of every length too."""
    with with_kernels("native"):
        kernel = chunk_kernel(chain_of(shape=2, dtype="string", compressors=None))
    assert isinstance(kernel, NativeTexts)
    out = np.empty(2, np.dtypes.StringDType())
    value = struct.pack("<III", 2, 0, len(text)) + text
    assert kernel.decode([value], [*plan(slice(None), (2,), (2,)).pieces()], out) == ([] if is_good else [0])
    if is_good:
        assert out.tolist() == ["", text.decode()]
    else:
        with pytest.raises(UnicodeDecodeError):
            text.decode()


def test_texts_by_many_threads() -> None:
    """Threads may read into one array and write from it at once: all texts of an array have one allocator."""
    values = np.array([f"text {'long ' * (number % 9)}{number}" for number in range(40_000)]).astype(
        np.dtypes.StringDType()
    )
    with config.set(kernels="native", threads=4):
        array = zarrv3.create_array(None, data=values, chunks=(1000,))
        out = np.full(values.shape, "something else", dtype=np.dtypes.StringDType())
        for _ in range(3):
            array.read(out=out)
            array[...] = out
        assert (out == values).all()


def test_forks_while_texts_are_encoded() -> None:
    """A child may use the texts that another thread was just writing: nobody holds their lock when a process forks."""
    texts = np.array([f"text {number} " * 5 for number in range(20_000)], np.dtypes.StringDType())
    array = zarrv3.create_array({}, data=texts, chunks=(5_000,))
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            array[:] = texts

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(60):
            child = os.fork()
            if not child:
                signal.alarm(30)  # ends the child if it waits for ever
                os._exit(0 if texts[7] == texts[7:8][0] and array[9] == texts[9] else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        ended.set()
        for writer in writers:
            writer.join()


def test_points_and_parts_of_texts() -> None:
    """Lists of indices, points and parts of stored chunks of texts are right, though Python does them."""
    values = (
        np.array([f"text {number}" for number in range(77)]).astype(np.dtypes.StringDType()).reshape(7, 11)
    )
    array = array_of(zarrv3.MemoryStore(), "native", data=values, chunks=(3, 4))
    with with_kernels("native"):
        assert array.vindex[[0, 6, 3], [10, 0, 5]].tolist() == values[[0, 6, 3], [10, 0, 5]].tolist()
        assert array.oindex[[6, 0], [1, 2]].tolist() == values[np.ix_([6, 0], [1, 2])].tolist()
        array.vindex[[0, 6], [10, 0]] = values[1, :2]
        array[1:5, ::3] = values[:4, 1:5]
        values[[0, 6], [10, 0]] = values[1, :2].copy()
        values[1:5, ::3] = values[:4, 1:5].copy()
        assert array[...].tolist() == values.tolist()


def test_arrays_that_are_not_texts() -> None:
    """The functions for texts refuse other arrays, and leave what is missing and too large to Python."""
    with with_kernels("native"):
        kernel = chunk_kernel(chain_of(shape=2, dtype="string", compressors=["gzip"]))
    assert isinstance(kernel, NativeTexts)
    pieces = [*plan(slice(None), (2,), (2,)).pieces()]
    frozen = np.empty(2, np.dtypes.StringDType())
    frozen.flags.writeable = False
    for wrong in (np.empty(2, object), np.empty(2, "U3"), np.empty(2, "i8"), frozen, [1, 2]):
        with pytest.raises(ValueError, match="not an array of texts"):
            kernel.decode([None], pieces, wrong)  # type: ignore[arg-type]
    missing = np.array(["a", None], dtype=np.dtypes.StringDType(na_object=None))
    assert kernel.encode(pieces, missing, keep_empty=True) == [UNDONE]
    values = np.array(["a" * 1000, "b"], dtype=np.dtypes.StringDType())
    (data,) = kernel.encode(pieces, values, keep_empty=True)
    assert isinstance(data, bytes)
    with config.set(unpacked_bytes=1000):
        assert kernel.decode([data], pieces, values) == [0]
    assert kernel.decode([data, b""], pieces * 2, values) == [1]


GZIP = {"name": "gzip", "configuration": {"level": 6}}
CHAINS: list[Any] = [
    None,
    "auto",
    [blosc()],
    [blosc("zstd", "noshuffle", 128)],
    ["crc32c"],
    ["crc32c", "crc32c", blosc(), "crc32c"],
    [{"name": "zstd", "configuration": {"level": 1, "checksum": False}}, "crc32c"],
    [GZIP],
    [GZIP, "crc32c"],
    ["crc32c", {"name": "numcodecs.zlib", "configuration": {"level": 4}}],
]


@given(st.data())
def test_corrupt_chunks(data: st.DataObject) -> None:
    """Of bytes that were changed the kernels make what Python makes of them: the same values, or the same error."""
    store = zarrv3.MemoryStore()
    values = np.arange(400, dtype="i4").reshape(20, 20) // 7
    array = array_of(
        store,
        "none",
        data=values,
        chunks=(20, 20),
        compressors=data.draw(st.sampled_from(CHAINS)),
        filters=data.draw(st.sampled_from([[], [{"name": "transpose", "configuration": {"order": [1, 0]}}]])),
        serializer={
            "name": "bytes",
            "configuration": {"endian": data.draw(st.sampled_from(["little", "big"]))},
        },
    )
    blob = bytearray(store["a/c/0/0"])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, min(40, len(blob) - 1)) | st.integers(0, len(blob) - 1))
        blob[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(blob)) | st.integers(0, len(blob)))
    store["a/c/0/0"] = bytes(blob[:cut]) + data.draw(st.just(b"") | st.binary(max_size=9))
    chosen = data.draw(st.just(...) | selections(values.shape))
    outcomes: list[Any] = []
    damaged = bytes(store["a/c/0/0"])
    for name in ("native", "none"):
        store["a/c/0/0"] = damaged
        found = outcome(array, chosen, name)
        with with_kernels(name):
            try:
                array[3:7, 2] = 5
            except ZarrError as error:
                outcomes.append((found, type(error), str(error)))
            else:
                outcomes.append((found, bits(array[...])))
    assert outcomes[0] == outcomes[1]


def test_streams_in_a_row() -> None:
    """Members of gzip and streams of zlib are read one after the other, with whatever stands in their headers."""
    content = np.arange(100, dtype="u1").tobytes()
    for name, kind in (("gzip", 31), ("numcodecs.zlib", 15)):
        store = zarrv3.MemoryStore()
        codec = {"name": name, "configuration": {"level": 1}}
        array = array_of(store, "none", shape=(100,), dtype="u1", chunks=(100,), compressors=[codec])

        def member(data: bytes, kind: int = kind) -> bytes:
            stream = zlib.compressobj(6, zlib.DEFLATED, kind)
            return stream.compress(data) + stream.flush()

        whole, empty = member(content), member(b"")
        named = whole[:3] + b"\x08" + whole[4:10] + b"name\0" + whole[10:]
        checked = whole[:3] + b"\x02" + whole[4:10] + b"??" + whole[10:]
        for value, is_good in (
            (member(content[:60]) + empty + member(content[60:]), True),
            (empty + whole, True),
            (named, name == "gzip"),
            (checked, False),
            (whole + b"\0", False),
            (whole + empty[:-1], False),
            (whole + member(b"1"), False),
            (whole[:-1], False),
            (member(content[:99]), False),
            (empty, False),
            (b"", False),
        ):
            store["a/c/0"] = value
            found = outcome(array, ..., "native")
            assert found == outcome(array, ..., "none")
            assert (found[0] == (100,)) == is_good


def test_contexts_are_used_again() -> None:
    """A context that another level or a damaged chunk has used makes the bytes that a new one makes."""
    values = np.arange(3000, dtype="i8") ** 2 % 1009
    parameter = zstd.CompressionParameter
    zstds = [
        {"name": "zstd", "configuration": {"level": level, "checksum": True}} for level in (1, 19, -5, 3)
    ]
    for _ in range(3):
        for compressor in [*zstds, GZIP]:
            found, made = {}, b""
            for kernel in ("native", "none"):
                store = zarrv3.MemoryStore()
                array = array_of(
                    store, kernel, shape=(3000,), dtype="i8", chunks=(1000,), compressors=[compressor]
                )
                with with_kernels(kernel):
                    array[...] = values
                    found[kernel] = stored(store)
                    made = made or bytes(store["a/c/0"])
                    store["a/c/0"] = bytes(store["a/c/0"])[:-9]
                    with pytest.raises(CorruptDataError, match="a/c/0"):
                        array[...]
                    assert bits(array[1000:]) == bits(values[1000:])
            assert found["native"] == found["none"]
            if compressor is not GZIP:
                level = compressor["configuration"]["level"]
                new = zstd.ZstdCompressor(
                    options={parameter.compression_level: level, parameter.checksum_flag: 1}
                )
                new.set_pledged_input_size(8000)
                assert made == new.compress(values[:1000].tobytes(), new.FLUSH_FRAME)


def outcome(array: zarrv3.Array, chosen: Any, kernel: str) -> Any:
    """The bits of a selection, or the error."""
    with config.set(kernels=kernel):
        return bits_or_error(array, chosen)


def bits_or_error(array: zarrv3.Array, chosen: Any) -> Any:
    """Values as the kernels that are set read and write them."""
    try:
        return bits(array[chosen])
    except ZarrError as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    "compressor",
    [
        *map(blosc, ["lz4", "blosclz", "zlib", "zstd"]),
        "zstd",
        *(
            pytest.param(blosc(*kind), marks=pytest.mark.slow)
            for kind in product(
                ["lz4", "lz4hc", "blosclz", "zlib", "zstd"], ["noshuffle", "shuffle", "bitshuffle"]
            )
        ),
    ],
    ids=str,
)
def test_every_byte_of_a_header(compressor: Any) -> None:
    """Whatever stands in any byte of a Blosc header or Zstandard frame, kernels and Python make the same of the chunk."""
    if isinstance(compressor, dict):
        compressor["configuration"]["blocksize"] = 128  # several blocks, few enough to be decoded one by one
    else:
        compressor = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
    store = zarrv3.MemoryStore()
    array = array_of(
        store, "none", data=np.arange(200, dtype="i4") // 7, chunks=(200,), compressors=[compressor]
    )
    good = bytes(store["a/c/0"])
    assert compressor["name"] == "zstd" or struct.unpack_from("<I", good, 8) == (128,)
    outcomes: dict[str, list[Any]] = {"native": [], "none": []}
    for kernel, found in outcomes.items():
        with config.set(kernels=kernel):
            for place, byte in product(range(16 if compressor["name"] == "blosc" else 8), range(256)):
                store["a/c/0"] = good[:place] + bytes([byte]) + good[place + 1 :]
                found += [bits_or_error(array, slice(None)), bits_or_error(array, slice(1, None))]
    assert outcomes["native"] == outcomes["none"]
    errors = [found[1] for found in outcomes["none"] if isinstance(found[0], type)]
    assert len(errors) > 256
    assert all("a/c/0" in text for text in errors)


@given(st.data())
def test_buffers_that_others_have_made(data: st.DataObject) -> None:
    """Of a Blosc buffer with elements and blocks of any size, whole or damaged, kernels and Python make the same, whatever is selected."""
    cname = data.draw(st.sampled_from(["lz4", "lz4", "lz4hc", "blosclz"]))
    size = data.draw(st.sampled_from([1, 2, 3, 4, 8, 16, 17]))
    count = data.draw(st.integers(1, 40) | st.integers(1, 3000))
    noise = np.random.default_rng(data.draw(st.integers(0, 9))).integers(
        0, 256, (count, 2 * size), dtype="u1"
    )
    columns = data.draw(st.lists(st.sampled_from(["noise", "zero"]), min_size=2 * size, max_size=2 * size))
    noise[:, [column == "zero" for column in columns]] = 0
    content = noise.tobytes()[data.draw(st.integers(0, size - 1)) :]
    block = data.draw(st.sampled_from([0, 128, size * 128, size * 200, 1000, 4096]))
    codec = numcodecs.Blosc(cname, 5, numcodecs.Blosc.SHUFFLE, block, size)
    buffer = bytearray(codec.encode(content))
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(buffer) - 1) | st.integers(0, min(len(buffer) - 1, 40)))
        buffer[place] = data.draw(st.integers(0, 255))
    store = zarrv3.MemoryStore()
    shape = (len(content),)
    array = array_of(store, "none", shape=shape, dtype="u1", chunks=shape, compressors=[blosc()])
    store["a/c/0"] = bytes(buffer)
    chosen = data.draw(st.just(slice(1, None)) | st.just(slice(None)) | selections(shape))
    assert outcome(array, chosen, "native") == outcome(array, chosen, "none")


READS = """
import resource, numpy as np, zarrv3
values = np.arange(2**18, dtype="f8").reshape(512, 512)
array = zarrv3.create_array(None, data=values, chunks=(512, 512), compressors=["lz4"])
out = np.empty((511, 512))
for times in (3, 50):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        array.get_basic_selection(slice(1, None), out=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_kernels_work_in_is_kept() -> None:
    """Reading chunk after chunk does not ask the system for fresh memory each time: it would clear all of its pages."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is larger comes from the system
    script = READS.replace('"lz4"', repr(blosc()))
    faults = subprocess.check_output([sys.executable, "-c", script], env=environment)
    assert int(faults) < 50 * 100  # a chunk has 512 pages


def test_tiny_blocks() -> None:
    """A chunk of a million blocks of 4 bytes is decoded in one go: part by part it would take hours, deaf to interrupts."""
    count = 2**22
    store = zarrv3.MemoryStore()
    array = array_of(store, "none", shape=(count,), dtype="u1", chunks=(count,), compressors=[blosc()])
    values = (np.arange(count) % 251).astype("u1")
    store["a/c/0"] = bytes([2, 1, 0x22, 1]) + struct.pack("<III", count, 4, count + 16) + values.tobytes()
    with with_kernels("native"):
        assert bits(array[1:]) == bits(values[1:])


def test_blocks_that_share_bytes() -> None:
    """A chunk whose blocks are all one slow stream is refused: decoding it would take time as the square of its size."""
    count, junk = 2**19, 80_000
    content = bytes(128)
    empty = b"\0\0\0\xff\xff"  # a stored block of no bytes
    raw = empty * junk + b"\x01" + struct.pack("<HH", 128, 128 ^ 0xFFFF) + content
    stream = b"\x78\x01" + raw + struct.pack(">I", zlib.adler32(content))
    offsets = struct.pack("<I", 16 + 4 * (count // 128)) * (count // 128)
    body = offsets + struct.pack("<I", len(stream)) + stream
    header = bytes([2, 1, 0x70, 1]) + struct.pack("<III", count, 128, 16 + len(body))
    store = zarrv3.MemoryStore()
    array = array_of(store, "none", shape=(count,), dtype="u1", chunks=(count,), compressors=[blosc("zlib")])
    store["a/c/0"] = header + body
    for kernel in ("native", "none"):
        assert outcome(array, slice(1, None), kernel)[1].endswith("its blocks share bytes")


@given(st.data())
def test_damaged_shards(data: st.DataObject) -> None:
    """Of shards that were changed, index and chunks, the kernels make what Python makes of them."""
    store = zarrv3.MemoryStore()
    values = np.arange(400, dtype="i4").reshape(20, 20) // 7
    array = array_of(
        store,
        "none",
        data=values,
        chunks=(5, 10),
        shards=(20, 20),
        compressors=[blosc("zstd", "shuffle", 128)],
    )
    blob = bytearray(store["a/c/0/0"])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(1, 140).map(int.__neg__) | st.integers(0, len(blob) - 1))
        blob[position] = data.draw(st.integers(0, 255))
    store["a/c/0/0"] = bytes(blob[: data.draw(st.just(len(blob)) | st.integers(0, len(blob)))])
    chosen = data.draw(st.just(...) | selections(values.shape))
    found = outcome(array, chosen, "none")
    assert outcome(array, chosen, "native") == found
    assert not isinstance(found[0], type) or "a/c/" in found[1]


@pytest.mark.parametrize("place", [3, 4, 8, 12])
def test_a_header_that_lies(place: int) -> None:
    """A Blosc header with a wrong typesize or size is an error that names the chunk, whatever is selected of it."""
    store = zarrv3.MemoryStore()
    array = array_of(
        store, "native", data=np.arange(4000.0), chunks=(4000,), compressors=[blosc(blocksize=1024)]
    )
    blob = bytearray(store["a/c/0"])
    if place == 3:
        blob[place] = 0
    else:
        struct.pack_into("<I", blob, place, 0xFFFFFFF0)
    store["a/c/0"] = bytes(blob)
    with with_kernels("native"):
        for chosen in (slice(None), 7, slice(10, 3000, 3)):
            with pytest.raises(CorruptDataError, match="a/c/0"):
                array[chosen]


# ---------------------------------------------------------------- what is left to Python


def chain_of(**arguments: Any) -> CodecChain:
    """The codecs of an array."""
    return zarrv3.create_array(None, **arguments)._layout.chain


def test_what_has_a_kernel() -> None:
    """Elements of one size in any order, with one compressor and checksums, have a kernel; all else is Python's."""
    big = {"name": "bytes", "configuration": {"endian": "big"}}
    with with_kernels("native"):
        for arguments in (
            *({"dtype": "f8", "compressors": compressors} for compressors in CHAINS),
            {"dtype": "f8", "serializer": big},
            {"dtype": "f8", "filters": [{"name": "transpose", "configuration": {"order": "F"}}]},
        ):
            assert isinstance(chunk_kernel(chain_of(shape=4, **arguments)), NativeChunks)
        assert isinstance(chunk_kernel(chain_of(shape=4, dtype="string")), NativeTexts)
        for arguments in (
            {"dtype": "f8", "compressors": [blosc(), GZIP]},
            {"dtype": "f8", "compressors": ["numcodecs.shuffle"]},
            {"dtype": "f8", "filters": [{"name": "numcodecs.delta", "configuration": {"dtype": "<f8"}}]},
            {"dtype": "f8", "compressors": [{"name": "numcodecs.zlib", "configuration": {"level": -1}}]},
            {"dtype": "bytes"},
            {"dtype": "bool"},
        ):
            assert chunk_kernel(chain_of(shape=4, **arguments)) is None
        assert chunk_kernel(chain_of(shape=(1,) * 17, dtype="f8")) is None
    with with_kernels("none"):
        assert chunk_kernel(chain_of(shape=4, dtype="f8")) is None


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        *((number, "f8") for number in range(len(CHAINS))),
        *((number, "string") for number in range(len(CHAINS) - 1)),  # zlib does not say how large a text is
    ],
)
def test_python_is_not_asked(number: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk is encoded or decoded by Python, whatever the chain: none at an edge, none of which a part is read."""
    values = np.arange(63.0).reshape(9, 7).astype(np.dtypes.StringDType() if dtype == "string" else dtype)
    arguments: dict[str, Any] = {"filters": [{"name": "transpose", "configuration": {"order": [1, 0]}}]}
    if dtype != "string":
        arguments["serializer"] = {"name": "bytes", "configuration": {"endian": "big"}}
    store = zarrv3.MemoryStore()
    array = array_of(
        store,
        "native",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(4, 3),
        compressors=CHAINS[number],
        **arguments,
    )
    for name in ("encode", "decode"):
        monkeypatch.setattr(CodecChain, name, None)
    with with_kernels("native"):
        array[...] = values
        assert array[...].tolist() == values.tolist()
        assert array[::2, 1].tolist() == values[::2, 1].tolist()


def test_python_is_not_asked_in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a chunk within a shard."""
    values = np.arange(63.0).reshape(9, 7)
    array = array_of(
        zarrv3.MemoryStore(),
        "native",
        shape=(9, 7),
        dtype="f8",
        chunks=(2, 3),
        shards=(4, 6),
        compressors=[GZIP, "crc32c"],
    )
    for name in ("encode", "decode"):
        monkeypatch.setattr(GzipCodec, name, None)
    with with_kernels("native"):
        array[...] = values
        assert bits(array[...]) == bits(values)


def test_what_is_left() -> None:
    """Pieces with unusual arrays as indices and values that are not chunks are left; the others are done beside them."""
    with with_kernels("native"):
        kernel = chunk_kernel(chain_of(shape=8, chunks=4, dtype="i4", compressors=None))
    assert kernel is not None
    pieces = [*plan(slice(None), (8,), (4,)).pieces()]
    out = np.full(8, -1, "i4")
    assert kernel.decode([b"short", None], pieces, out) == [0]
    assert out.tolist() == [-1] * 4 + [0] * 4
    odd = [piece._replace(inside=(np.arange(4, dtype="i4"),)) for piece in pieces]
    good = np.arange(4, dtype="i4").tobytes()
    assert kernel.decode([good, memoryview(good)], odd, out) == [0, 1]
    assert kernel.encode([odd[0], pieces[1]], out, keep_empty=True) == [UNDONE, bytes(16)]
    assert kernel.encode([odd[0], pieces[1]], out, keep_empty=False) == [UNDONE, None]


def test_arguments_that_do_not_fit() -> None:
    """The functions refuse what would make them read or write outside of what they were given."""
    out = np.zeros(4, "i4")
    with pytest.raises(MemoryError):
        _kernels.decode(None, (4,), b"12345678", [], [], out)
    with pytest.raises(ValueError, match="too large"):
        _kernels.decode(None, (2**62, 4), b"1234", [], [], out)
    with pytest.raises(ValueError, match="too many dimensions"):
        _kernels.encode(None, (1,) * 17, b"1234", True, [], None, out, UNDONE, None)
    read_only = np.zeros(4, "i4")
    read_only.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        _kernels.decode(None, (4,), b"1234", [], [], read_only)
    with pytest.raises(ValueError, match="as many values"):
        _kernels.replace_files(0, ["a"], [], None, ".tmp-", os.O_WRONLY, True)
    with pytest.raises(ValueError, match="as many values"):
        _kernels.replace_files(0, ["a"], [b""], [], ".tmp-", os.O_WRONLY, True)
    assert _kernels.blosc("/nowhere.so", b"lz4", 5, 1, 0, 8) is None
    assert _kernels.zstd("/nowhere.so", 0, False) is None
    assert _kernels.deflate("/nowhere.so", True, 6) is None
    assert _kernels.chain(None, 0, 1, "/nowhere.so", 1, None) is None
    for word, order in ((0, None), (1, (0, 0)), (1, (1, 2)), (1, (-1, 0))):
        with pytest.raises(ValueError, match=r"permutation|makes no sense"):
            _kernels.chain(None, 0, 0, "", word, order)
    with pytest.raises(ValueError, match="do not fit"):
        _kernels.decode(_kernels.chain(None, 0, 0, "", 3, None), (4,), b"1234", [], [], out)
    with pytest.raises(ValueError, match="do not fit"):
        _kernels.decode(_kernels.chain(None, 0, 0, "", 1, (1, 0)), (4,), b"1234", [], [], out)
    piece = ((0,), (slice(0, 4),), (slice(0, 4),), True)
    outside = ((0,), (7,), (1,), False)
    assert _kernels.decode(None, (4,), b"1234", [bytes(16)], [outside], out) == [0]
    assert _kernels.decode(None, (4,), b"1234", [bytes(16)], [piece], out) == []


@given(st.data())
def test_blocks_are_made_as_the_library_makes_them(data: st.DataObject) -> None:
    """What is compressed block by block from where elements lie is byte for byte what Blosc makes of a chunk."""
    dtype = data.draw(st.sampled_from(["u1", "<i2", "<f4", "<f8", "c16", ">f8"]))
    shape = data.draw(st.sampled_from([(300, 70), (40, 5, 60), (9000,), (130, 130)]))
    chunks = tuple(data.draw(st.integers(max(1, length // 3), length)) for length in shape)
    rng = np.random.default_rng(data.draw(st.integers(0, 3)))
    steps = data.draw(
        st.sampled_from([0, 1, 7, 2**31 - 1])
    )  # from nothing but zeros to what cannot be compressed
    values = rng.integers(0, steps, shape, endpoint=True).astype(dtype) / (1 if dtype[1] in "12" else 3)
    values = np.array(values, dtype, order=data.draw(st.sampled_from(["C", "F"])))
    if data.draw(st.booleans()):
        values = values[::-1]
    codec = blosc(blocksize=data.draw(st.sampled_from([0, 0, 128, 2048, 5000])))
    codec["configuration"]["clevel"] = data.draw(st.integers(0, 9))
    stores = {name: zarrv3.MemoryStore() for name in ("native", "none")}
    for name, store in stores.items():
        array = array_of(store, name, shape=shape, dtype=dtype, chunks=chunks, compressors=[codec, "crc32c"])
        with with_kernels(name):
            for _ in range(2):  # the first chunk tells how the others are cut
                array[...] = values
    assert stored(stores["native"]) == stored(stores["none"])


def test_memory_is_used_again() -> None:
    """Large chunks are encoded in memory that is lent, one behind the other: the same bytes, and in the same place again."""
    values = np.arange(600_000.0).reshape(600, 1000) // 7
    stores = {name: zarrv3.MemoryStore() for name in ("native", "none")}
    for name, store in stores.items():
        array = array_of(
            store, name, shape=values.shape, dtype="f8", chunks=(150, 1000), compressors=[blosc()]
        )
        with with_kernels(name):
            array[...] = values
            array[100:400] = values[100:400]
    assert stored(stores["native"]) == stored(stores["none"])
    kernel = chunk_kernel(array.layout.chain)
    assert isinstance(kernel, NativeChunks)
    rooms = Rooms()
    pieces = [*plan(..., values.shape, (150, 1000)).pieces()]
    for some in ([0, 1], [2, 3]):
        made = kernel.encode([pieces[number] for number in some], values, rooms, keep_empty=False)
        assert [bytes(one) for one in made] == [stored(stores["none"])[f"a/c/{number}/0"] for number in some]  # type: ignore[arg-type]
        [first, second] = made
        room = first.obj  # type: ignore[union-attr]
        assert isinstance(room, Room)
        assert bytes(room[: len(first) + len(second)]) == bytes(first) + bytes(second)  # type: ignore[arg-type]
        rooms.leave()
        assert rooms.lend(1) is room
        rooms.leave()
    empty = kernel.encode(pieces[:2], np.zeros_like(values), rooms, keep_empty=False)
    assert empty == [None, None]
    one = [((0,), (slice(0, 4),), (slice(0, 4),), True)]
    assert _kernels.encode(None, (4,), b"1234", True, one, None, np.zeros(4, "i4"), UNDONE, bytearray(3)) == [
        UNDONE
    ]


def test_shards_are_encoded_where_they_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a shard that is written as a whole no chunk is copied, whether others are stored by the same task or not."""
    found: list[bool] = []
    joined = Room.joined

    def spy(room: Room, parts: Any, size: int) -> memoryview | None:
        whole = joined(room, parts, size)
        found.append(whole is not None)
        return whole

    monkeypatch.setattr(Room, "joined", spy)
    data = np.random.default_rng(0).random((600, 1000))
    with with_kernels("native"):
        array = zarrv3.create_array(
            str(tmp_path), data=data, chunks=(50, 100), shards=(300, 500), compressors=[blosc()]
        )
        assert found == [True] * 4
        array[7, 7] = data[7, 7] = 1
        assert len(found) == 4  # what stays does not lie in a room
    np.testing.assert_array_equal(array[...], data)


@pytest.mark.parametrize("name", ["native", "none"])
@pytest.mark.parametrize(
    "compressors", [None, [{"name": "zstd", "configuration": {"level": 3, "checksum": True}}]]
)
def test_a_missing_chunk_needs_no_memory(name: str, compressors: Any) -> None:
    """Elements of a missing chunk are read and cut off even where no memory could hold the whole chunk."""
    store = zarrv3.MemoryStore()
    zarrv3.create_array(store, shape=4, chunks=1, dtype="i4", fill_value=7, compressors=compressors)
    document = json.loads(store["zarr.json"])
    document["chunk_grid"]["configuration"]["chunk_shape"] = [2**50]
    store["zarr.json"] = json.dumps(document).encode()
    array = zarrv3.open_array(store)
    with with_kernels(name):
        assert array[:2].tolist() == [7, 7]
        array.resize(3)
        assert array[...].tolist() == [7, 7, 7]


def test_many_threads() -> None:
    """Threads that read and write through the same kernel do not disturb each other."""
    values = np.random.default_rng(0).random((200, 200))
    array = zarrv3.create_array(None, data=values, chunks=(20, 20), compressors=[blosc()])
    wrong: list[Any] = []

    def work(row: int) -> None:
        for _ in range(20):
            array[row * 20 : row * 20 + 20] = values[row * 20 : row * 20 + 20]
            if not np.array_equal(array[...], values):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """An open folder."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def test_reading_files(tmp_path: Path) -> None:
    """Files below a folder are read whole or in part, many at once; what is not there is `None`."""
    (tmp_path / "a").mkdir()
    for number in range(150):
        (tmp_path / f"a/{number}").write_bytes(bytes([number]) * number)
    requests: list[Any] = [(f"a/{number}", None) for number in range(151)]
    requests += [
        ("a/9", ByteRange(2, 5)),
        ("a/9", ByteRange(-3)),
        ("a/9", ByteRange(20)),
        ("b/1", None),
        ("a/1/2", None),
    ]
    values, left = _kernels.get_files(str(tmp_path), requests, ".tmp-", READ, True, False)
    assert left == []
    assert values == [
        *[bytes([number]) * number for number in range(150)], None, b"\x09" * 3, b"\x09" * 3, b"", None, None
    ]  # fmt: skip


def test_files_that_are_left(tmp_path: Path) -> None:
    """Links, folders, reserved names, other letters and letters where case may not count are left to Python."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a/2").symlink_to(tmp_path / "a/1")
    os.mkfifo(tmp_path / "a/3")
    odd = ["link/1", "a/2", "a", "a/.tmp-1", ".tmp-/1", "ä", "", "x\0y", "../x", "1" * 5000]
    requests: list[Any] = [("a/1", None), *[(name, None) for name in odd], "no request", ("a/1", "no range")]
    values, left = _kernels.get_files(str(tmp_path), requests, ".tmp-", READ | os.O_NONBLOCK, True, False)
    assert values == [b"x"] + [None] * (len(requests) - 1)
    assert left == [*range(1, len(requests))]
    assert _kernels.get_files(str(tmp_path), [("a/1", None), ("1", None)], ".tmp-", READ, False, False) == (
        [None, None],
        [0],
    )
    assert _kernels.get_files(str(tmp_path / "no"), [("a", None)], ".tmp-", READ, True, False) == (
        [None],
        [0],
    )


def test_versions_of_files(tmp_path: Path) -> None:
    """Beside a file's bytes comes what tells it from others, unless its time is not exact enough for that."""
    for name in ("1", "2"):
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / "1", ns=(0, 1_700_000_000_123_456_789))
    os.utime(tmp_path / "2", ns=(0, 1_700_000_000_000_000_000))
    requests: list[Any] = [("1", None), ("2", None), ("3", None)]
    there = (tmp_path / "1").stat()
    version = there.st_ino, 1, 1_700_000_000_123_456_789, there.st_ctime_ns
    assert _kernels.get_files(str(tmp_path), requests, ".tmp-", READ, True, True) == (
        [(b"x", version), None, (None, None)],
        [1],
    )


def test_links_are_followed_where_they_may_be(tmp_path: Path) -> None:
    """Without `O_NOFOLLOW` links are gone through."""
    (tmp_path / "1").write_bytes(b"x")
    (tmp_path / "2").symlink_to(tmp_path / "1")
    assert _kernels.get_files(str(tmp_path), [("2", None)], ".tmp-", READ & ~os.O_NOFOLLOW, True, False) == (
        [b"x"],
        [],
    )


def test_writing_files(tmp_path: Path, folder: int) -> None:
    """Values of any kind replace files; no temporary file stays."""
    (tmp_path / "1").write_bytes(b"old")
    values: list[Any] = [b"new", bytearray(b"two"), memoryview(b"three"), b""]
    names = ["1", "2", "x", "4"]
    assert _kernels.replace_files(folder, names, values, None, ".tmp-", CREATE, True) == ([], [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "1": b"new", "2": b"two", "x": b"three", "4": b""
    }  # fmt: skip


def test_values_that_are_left(tmp_path: Path, folder: int) -> None:
    """Where a folder or another writer's temporary file is in the way, old values and those files stay as they are."""
    (tmp_path / "1").mkdir()
    (tmp_path / ".tmp-2").write_bytes(b"theirs")
    (tmp_path / "2").write_bytes(b"old")
    names = ["1", "2", "a/b", "ö", ".tmp-5", "6", "x"]
    left, refused = _kernels.replace_files(folder, names, [b"new"] * 7, None, ".tmp-", CREATE, False)
    assert (left, refused) == ([0, 1, 2, 3, 4, 6], [])
    found = {path.name: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"1": False, ".tmp-2": b"theirs", "2": b"old", "6": b"new"}


def test_files_that_have_changed(tmp_path: Path, folder: int) -> None:
    """With versions only those files are replaced that still have them; what cannot be told from the status is left."""
    names = [*"12345678"]
    assert _kernels.replace_files(folder, [*"12347"], [b"old"] * 5, None, ".tmp-", CREATE, True) == ([], [])
    found, _ = _kernels.get_files(str(tmp_path), whole(names), ".tmp-", READ, True, True)
    versions = [version for _, version in found]
    _kernels.replace_files(folder, ["2", "5"], [b"theirs"] * 2, None, ".tmp-", CREATE, True)
    (tmp_path / "3").unlink()
    os.utime(tmp_path / "4", ns=(1_000, 1_000))
    (tmp_path / "6").symlink_to("1")
    versions[6] = (*versions[6], "digest")
    values: list[Any] = [*[b"new"] * 7, None]
    left, refused = _kernels.replace_files(folder, names, values, versions, ".tmp-", CREATE, True)
    assert (left, refused) == ([3, 5, 6, 7], [1, 2, 4])
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.is_symlink()}
    assert contents == {"1": b"new", "2": b"theirs", "4": b"old", "5": b"theirs", "7": b"old"}
    for odd in ((), (1, 2, 3), (1, 2, 3, "x"), (2**70, 1, 1, 1), "version"):
        assert _kernels.replace_files(folder, ["1"], [b"x"], [odd], ".tmp-", CREATE, True) == ([0], [])


def test_a_store_through_both(tmp_path: Path) -> None:
    """A directory store has the same answers and errors with and without the kernels."""
    store = DirectoryStore(tmp_path / "s")
    outcomes = []
    for name in ("native", "none"):
        with with_kernels(name):
            store["a/x"] = b"1"
            store.write_many({f"a/{number}": b"%d" % number for number in range(5)})
            (tmp_path / "s/a/link").unlink(missing_ok=True)
            (tmp_path / "s/a/link").symlink_to("x")
            found = store.get_many([("a/x", None), ("a/3", ByteRange(0, 1)), ("a/none", None), ("a", None)])
            with pytest.raises(StoreAccessError, match="symbolic link") as caught:
                store["a/link"]
            outcomes.append((found, str(caught.value)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == [b"1", b"3", None, None]


def test_they_are_in_use() -> None:
    """Where the package is installed with its compiled module, it is used unless the setting says otherwise."""
    assert isinstance(kernels(), Native)
    with config.set(kernels="none"):
        assert kernels() is None


@given(
    st.lists(st.sampled_from(["new", "file", "link", "folder", "private"]), min_size=1, max_size=12),
    st.booleans(),
)
def test_what_is_there_is_found_whatever_came_before(kinds: list[str], swaps: bool) -> None:
    """A file goes where nothing is, replaces a file, and leaves all else to Python, whatever the one before it found."""
    with TemporaryDirectory() as root:
        names = [f"{number}-{kind}" for number, kind in enumerate(kinds)]
        for name, kind in zip(names, kinds, strict=True):
            path = Path(root, name)
            if kind in {"file", "private"}:
                path.write_bytes(b"old")
                path.chmod(0o600 if kind == "private" else 0o666 & ~umask())
            elif kind == "link":
                path.symlink_to("nowhere")
            elif kind == "folder":
                path.mkdir()
        folder = os.open(root, os.O_RDONLY)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            values = [name.encode() for name in names]
            versions = [None] * len(names) if swaps else None  # nothing must be there
            left, refused = _kernels.replace_files(folder, names, values, versions, ".tmp-", flags, True)
        finally:
            os.close(folder)
        there = {"file", "private"}
        assert refused == [n for n, kind in enumerate(kinds) if swaps and kind in there]
        assert left == [
            n
            for n, kind in enumerate(kinds)
            if kind in {"link", "folder"} or (kind == "private" and not swaps)
        ]
        done = {*range(len(names))} - {*left, *refused}
        for number, name in enumerate(names):
            if number in done:
                assert Path(root, name).read_bytes() == name.encode()
            elif kinds[number] in there:
                assert Path(root, name).read_bytes() == b"old"
        assert sorted(path.name for path in Path(root).iterdir()) == sorted(names)


def umask() -> int:
    """What this process takes from the permissions of new files."""
    now = os.umask(0)
    os.umask(now)
    return now
