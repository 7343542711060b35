"""Drafts as the layer shows them: values, documents, keys, and what it asks of the store below."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import (
    NotPortableError,
)
from zarrv3.store.contract import ByteRange, Request
from zarrv3_layer_draft_v3 import DraftV3

COMPRESSORS: list[dict[str, Any] | None] = [
    None,
    {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0},
    {"id": "blosc", "cname": "lz4hc", "clevel": 9, "shuffle": -1, "blocksize": 256},
    {"id": "gzip", "level": 1},
    {"id": "zlib", "level": 1},
    {"id": "bz2", "level": 1},
    {"id": "lz4", "acceleration": 1},
    {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None},
    {"id": "zstd", "level": 1},
    {"id": "zstd", "level": 0, "checksum": True},
]
DTYPES = [
    *("|b1", "|i1", "|u1", "<i2", ">i2", "<u4", ">i8", "<u8", "<f2", ">f4", "<f8", "<c8", ">c16"),
    *("<M8[ns]", ">m8[s]", "|S4", "<U3", ">U2"),
    [("a", "<i2"), ("b", "<f8")],
    [("a", ">i2"), ("n", [("x", ">f4"), ("t", "|S3")])],
    [("a", "<i2"), ("b", ">f8")],
    [("a", "<i2", (2,)), ("b", "|u1")],
    [("", "|V3")],
]


def values(dtype: Any, shape: tuple[int, ...], seed: int) -> Any:
    """Random elements of any dtype, from random bytes that every dtype can hold."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    random = np.random.default_rng(seed)
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind.kind in "US":
        return np.array([str(i)[: kind.itemsize] for i in random.integers(0, 99, count)], kind).reshape(shape)
    if kind.kind in "fc":
        return random.normal(size=shape).astype(kind)
    data = random.integers(0, 100, (count, kind.itemsize), dtype="u1")
    return np.frombuffer(data.tobytes(), kind).reshape(shape)


def opened(draft: Any, **options: Any) -> DraftV3:
    """The hierarchy through the layer."""
    return DraftV3(dict(draft.content), **options)


def same(got: Any, wanted: Any) -> None:
    """Whether two arrays have equal elements, whatever the byte order."""
    assert got.shape == wanted.shape
    assert got.astype(wanted.dtype).tobytes() == np.ascontiguousarray(wanted).tobytes()


@st.composite
def arrays(draw: Any) -> dict[str, Any]:
    """What an array of a draft may be."""
    ndim = draw(st.integers(0, 3))
    shape = tuple(draw(st.integers(0, 7)) for _ in range(ndim))
    levels = draw(st.lists(st.tuples(*[st.integers(1, 3)] * ndim), max_size=2)) if ndim else []
    return {
        "data": values(draw(st.sampled_from(DTYPES)), shape, draw(st.integers(0, 99))),
        "chunks": tuple(draw(st.integers(1, 4)) for _ in shape),
        "order": draw(st.sampled_from("CF")),
        "separator": draw(st.sampled_from("/.")),
        "compressor": draw(st.sampled_from(COMPRESSORS)),
        "per_shard": levels,
    }


# ---------------------------------------------------------------- values


@given(made=arrays(), path=st.sampled_from(["", "a", "g/c0", "c", "g/c/0"]))
def test_arrays_read_as_written(new_draft: Any, made: dict[str, Any], path: str) -> None:
    """Every data type, order, separator, compressor and nesting of shards reads as it was written, by keys that are listed."""
    draft = new_draft()
    draft.array(path, **made)
    store = opened(draft)
    array = zarrv3.open_array(store, path=path, mode="r")
    same(array[...], made["data"])
    assert array.chunks == made["chunks"]
    listed = set(store)
    assert len(listed) == len([*store.list_prefix("")])
    assert {key: len(value) for key, value in store.items()} == dict(store.list_sizes(""))
    chunks = [key for key in draft.content if key.startswith("data/")]
    prefix = f"{path}/" if path else ""
    assert len([key for key in listed if key.startswith(f"{prefix}c") and "zarr.json" not in key]) == len(
        chunks
    )


@given(made=arrays(), missing=st.integers(0, 7))
def test_missing_chunks_are_the_fill_value(new_draft: Any, made: dict[str, Any], missing: int) -> None:
    """A chunk that was not written, in a shard or not, reads as the fill value."""
    made["data"] = values("<i4", made["data"].shape, missing)
    draft = new_draft()
    draft.array("a", **made, fill=-5, present=lambda coords: sum(coords) % 8 != missing)
    expected = made["data"].copy()
    for coords in np.ndindex(*(-(-n // c) for n, c in zip(expected.shape, made["chunks"], strict=True))):
        if sum(coords) % 8 == missing:
            expected[tuple(slice(i * c, i * c + c) for i, c in zip(coords, made["chunks"], strict=True))] = -5
    same(zarrv3.open_array(opened(draft), path="a", mode="r")[...], expected)


FILTERS: list[tuple[str, list[dict[str, Any]]]] = [
    ("<i4", [{"id": "delta", "dtype": "<i4", "astype": "<i4"}]),
    (">i4", [{"id": "delta", "dtype": ">i4", "astype": ">i4"}]),
    ("<i8", [{"id": "delta", "dtype": "<i8", "astype": ">i2"}, {"id": "crc32"}]),
    ("<f8", [{"id": "fixedscaleoffset", "scale": 2, "offset": 1, "dtype": "<f8", "astype": "<i2"}]),
    ("<f8", [{"id": "quantize", "digits": 3, "dtype": "<f8", "astype": "<f8"}]),
    ("<f4", [{"id": "bitround", "keepbits": 5}]),
    ("|b1", [{"id": "packbits"}]),
    ("<f8", [{"id": "astype", "encode_dtype": "<f4", "decode_dtype": "<f8"}]),
    ("<i4", [{"id": "shuffle", "elementsize": 4}]),
    ("<i4", [{"id": "zlib", "level": 1}, {"id": "adler32"}]),
    ("<u2", [{"id": "fletcher32"}]),
    ("<U2", [{"id": "categorize", "labels": ["a", "b"], "dtype": "<U2", "astype": "|u1"}]),
]


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("case", range(len(FILTERS)), ids=lambda i: FILTERS[i][1][0]["id"])
def test_filters(new_draft: Any, case: int, order: str) -> None:
    """Each filter decodes, with and without a compressor and shards, and is not an attribute any more."""
    dtype, filters = FILTERS[case]
    data = (np.arange(35).reshape(5, 7) / 2).astype(dtype)
    if dtype == "<U2":
        data = np.where(np.arange(35).reshape(5, 7) % 3 == 0, "a", "b").astype(dtype)
    if filters[0]["id"] in {"quantize", "bitround"}:
        data = np.round(data)
    for compressor in (None, {"id": "zstd", "level": 1}):
        for shards in ([], [(2, 2)]):
            draft = new_draft()
            draft.array(
                "x", data, chunks=(2, 3), order=order, filters=filters, compressor=compressor,
                per_shard=shards, attributes={"kept": 1}, fill="" if dtype == "<U2" else 0,
            )  # fmt: skip
            array = zarrv3.open_array(opened(draft), path="x", mode="r")
            same(array[...], data)
            assert dict(array.attrs) == {"kept": 1}


OBJECTS: list[tuple[str, list[Any], Any]] = [
    ("vlen-utf8", ["a", "bc", "", "é世"], "z"),
    ("vlen-bytes", [b"a", b"", b"\0x", b"abc"], None),
    ("json2", [{"a": [1]}, [1, 2], None, "x"], [7]),
    ("msgpack2", [{"a": [1]}, [1, 2], None, "x"], "none"),
    ("vlen-array", [np.arange(3), np.arange(0), np.arange(1), np.arange(2)], None),
]


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize(
    ("codec", "items", "fill"), OBJECTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_objects(new_draft: Any, codec: str, items: list[Any], fill: Any, order: str) -> None:
    """Arrays of objects read with equal elements, missing ones as the fill value."""
    if codec == "msgpack2":
        pytest.importorskip("msgpack")
    data = np.empty(8, object)
    for index, item in enumerate([*items, *items[::-1]]):
        data[index] = item
    data = data.reshape(4, 2)
    config = {"id": codec, "dtype": "<i8"} if codec == "vlen-array" else {"id": codec}
    draft = new_draft()
    draft.array(
        "o",
        data,
        chunks=(2, 2),
        filters=[config],
        fill=fill,
        order=order,
        present=lambda coords: coords[0] == 0,
    )
    array = zarrv3.open_array(opened(draft), path="o", mode="r")
    got = array[...]
    for mine, theirs in zip(got[:2].ravel(), data[:2].ravel(), strict=True):
        assert np.array_equal(mine, theirs)
    expected = {"vlen-bytes": b""}.get(codec, fill)
    assert all(item == expected for item in got[2:].ravel())


def test_pickles_are_refused(new_draft: Any) -> None:
    """An array whose object codec is pickle is refused by name, and nothing is unpickled."""
    draft = new_draft()
    data = np.array(["a", "b"], object)
    draft.array("p", data, chunks=(2,), filters=[{"id": "pickle", "protocol": 5}], fill=None)
    with pytest.raises(NotPortableError, match=r"p\.array\.json.*'pickle' is refused"):
        zarrv3.open(opened(draft), path="p", mode="r")


FILLS: list[tuple[Any, Any, Any]] = [
    ("<f8", "NaN", np.nan),
    ("<f8", "+Infinity", np.inf),
    (">f4", "-Infinity", -np.inf),
    ("<f4", "0x7fc00001", np.array([0x7FC00001], "u4").view("f4")[0]),
    ("<f2", "0b0011110000000000", np.float16(1)),
    ("<f8", 3, 3.0),
    ("<c16", [1, "Infinity"], complex(1, np.inf)),
    ("<u8", 18446744073709551615, 2**64 - 1),
    ("<M8[s]", -9223372036854775808, np.datetime64("NaT", "s")),
    (">m8[D]", 3, np.timedelta64(3, "D")),
    ("|S3", "YWI=", b"ab"),
    ("<U3", "xé", "xé"),
    ("<f8", None, 0.0),
    ("|S3", None, b""),
    ("<M8[s]", None, np.datetime64(0, "s")),
]


@pytest.mark.parametrize(("dtype", "stored", "expected"), FILLS)
def test_fill_values(new_draft: Any, dtype: str, stored: Any, expected: Any) -> None:
    """Every spelling of a fill value is understood; null is zero."""
    draft = new_draft()
    draft.array("f", np.zeros(3, dtype), chunks=(2,), present=lambda _: False)
    draft.document("f", fill_value=stored)
    got = zarrv3.open_array(opened(draft), path="f", mode="r")[...]
    assert got.tobytes() == np.array([expected] * 3, got.dtype).tobytes()


def test_big_endian_record_fill(new_draft: Any) -> None:
    """The fill value of a big-endian record is taken in the array's byte order."""
    dtype = np.dtype([("a", ">i2"), ("b", ">f4")])
    draft = new_draft()
    draft.array("r", np.zeros(2, dtype), chunks=(2,), fill=(258, 1.5), present=lambda _: False)
    assert zarrv3.open_array(opened(draft), path="r", mode="r")[0].tolist() == (258, 1.5)


@given(made=arrays(), start=st.integers(-40, 40), stop=st.none() | st.integers(-40, 40))
def test_ranges(new_draft: Any, made: dict[str, Any], start: int, stop: int | None) -> None:
    """A range of a document, chunk or shard is that slice of the whole."""
    draft = new_draft()
    draft.array("a", **made)
    store = opened(draft)
    wanted = ByteRange(start, stop)
    keys = list(store)
    pieces = store.get_many([Request(key, wanted) for key in keys] + [Request(key) for key in keys])
    for piece, whole in zip(pieces, pieces[len(keys) :], strict=False):
        assert whole is not None
        assert bytes(piece or b"") == bytes(whole)[start:stop]
