"""Values that zarr-python writes as version 2, and whatever it cannot write."""

import itertools
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

import zarrv3
from zarrv3_layer_zarr2 import Zarr2

DTYPES = [
    *("|b1", "|i1", "|u1", "<i2", ">i2", "<u4", ">i8", "<u8", "<f2", ">f4", "<f8", "<c8", ">c16"),
    *("<M8[ns]", ">m8[s]", "<M8[10D]", "|S4", "<U3", ">U2", "|V5"),
    [("a", "<i2"), ("b", "<f8")],
]
COMPRESSORS: list[Any] = [
    None,
    numcodecs.Blosc("lz4", 5, 1),
    numcodecs.Blosc("zstd", 3, 2),
    numcodecs.Blosc("zlib", 1, -1),
    numcodecs.GZip(1),
    numcodecs.Zlib(1),
    numcodecs.BZ2(1),
    numcodecs.LZ4(),
    numcodecs.LZMA(preset=1),
    numcodecs.Zstd(1),
    numcodecs.Zstd(0, checksum=True),
]


def values(dtype: Any, shape: tuple[int, ...]) -> Any:
    """Elements of any dtype."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    random = np.random.default_rng(count)
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind.kind in "US":
        return np.array([str(i)[: kind.itemsize] for i in random.integers(0, 99, count)], kind).reshape(shape)
    if kind.kind in "fc":
        return random.normal(size=shape).astype(kind)
    data = random.integers(0, 100, (count, kind.itemsize), dtype="u1")
    return np.frombuffer(data.tobytes(), kind).reshape(shape)


def same(got: Any, wanted: Any) -> None:
    """Equal elements, whatever the byte order."""
    assert got.shape == wanted.shape
    assert got.astype(wanted.dtype).tobytes() == np.ascontiguousarray(wanted).tobytes()


def written(folder: Path, data: Any, *, order: Any, separator: Any, compressor: Any, **more: Any) -> Any:
    """An array of zarr-python."""
    array = zarr.create_array(
        str(folder), data=data, chunks=tuple(max(1, (n + 1) // 2) for n in data.shape), zarr_format=2, order=order,
        compressors=compressor, chunk_key_encoding={"name": "v2", "separator": separator}, overwrite=True, **more,
    )  # fmt: skip
    return array[...]


CASES = list(itertools.product(DTYPES, "CF", "./", COMPRESSORS))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_of_zarr_python(dtype: Any, tmp_path: Path) -> None:
    """Every data type with both orders and separators, and compressors in turn, reads as zarr-python reads it."""
    data = values(dtype, (5, 7))
    every = itertools.cycle(COMPRESSORS[DTYPES.index(dtype) % 3 :: 3])
    for order, separator in itertools.product("CF", "./"):
        wanted = written(tmp_path, data, order=order, separator=separator, compressor=next(every))
        same(zarrv3.open(f"{tmp_path}|zarr2:", mode="r")[...], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_array_of_zarr_python(dtype: Any, tmp_path: Path) -> None:
    """Every data type with every order, separator, compressor and number of dimensions reads as zarr-python reads it."""
    for shape in [(), (7,), (5, 7)]:
        for order, separator, compressor in itertools.product("CF", "./", COMPRESSORS):
            wanted = written(
                tmp_path, values(dtype, shape), order=order, separator=separator, compressor=compressor
            )
            same(zarrv3.open(f"{tmp_path}|zarr2:", mode="r")[...], wanted)


FILTERS: list[tuple[str, list[dict[str, Any]]]] = [
    ("<i4", [{"id": "delta", "dtype": "<i4", "astype": "<i4"}]),
    (">i4", [{"id": "delta", "dtype": ">i4", "astype": ">i2"}]),
    ("<i8", [{"id": "delta", "dtype": "<i8", "astype": ">i2"}, {"id": "crc32"}]),
    ("<f8", [{"id": "fixedscaleoffset", "scale": 2, "offset": 1, "dtype": "<f8", "astype": "<i2"}]),
    ("<f8", [{"id": "quantize", "digits": 3, "dtype": "<f8", "astype": "<f8"}]),
    ("<f4", [{"id": "bitround", "keepbits": 5}]),
    ("|b1", [{"id": "packbits"}]),
    ("<f8", [{"id": "astype", "encode_dtype": "<f4", "decode_dtype": "<f8"}]),
    ("<i4", [{"id": "shuffle", "elementsize": 4}]),
    ("<i4", [{"id": "zlib", "level": 1}, {"id": "adler32"}]),
    ("<u2", [{"id": "fletcher32"}]),
    ("<u2", [{"id": "crc32c"}, {"id": "jenkins_lookup3"}]),
    ("<u2", [{"id": "base64"}]),
    ("<U2", [{"id": "categorize", "labels": ["a", "b"], "dtype": "<U2", "astype": "|u1"}]),
]


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("case", range(len(FILTERS)), ids=lambda i: FILTERS[i][1][0]["id"])
def test_filters(writer: Any, case: int, order: str) -> None:
    """Each filter of numcodecs decodes, with and without a compressor, and as the compressor."""
    dtype, filters = FILTERS[case]
    data = (np.arange(35).reshape(5, 7) / 2).astype(dtype)
    if dtype == "<U2":
        data = np.where(np.arange(35).reshape(5, 7) % 3 == 0, "a", "b").astype(dtype)
    if filters[0]["id"] in {"quantize", "bitround"}:
        data = np.round(data)
    for i, compressor in enumerate((None, {"id": "zstd", "level": 1}, {"id": "zlib", "level": 1})):
        writer.array(
            f"{i}", data, chunks=(2, 3), order=order, filters=filters, compressor=compressor, fill=None
        )
    if len(filters) == 1:
        writer.array("last", data, chunks=(2, 3), order=order, compressor=filters[0], fill=None)
    for _, array in zarrv3.open_group(Zarr2(writer.content), mode="r").arrays():
        same(array[...], data)


OBJECTS: list[tuple[str, list[Any], Any, Any]] = [
    ("vlen-utf8", ["a", "bc", "", "é世"], "z", "z"),
    ("vlen-utf8", ["a", "bc", "", "é世"], 0, ""),
    ("vlen-bytes", [b"a", b"", b"\0x", b"abc"], "eHk=", b"xy"),
    ("vlen-bytes", [b"a", b"", b"\0x", b"abc"], None, b""),
    ("json2", [{"a": [1]}, [1, 2], None, "x"], 7, 7),
    ("msgpack2", [{"a": [1]}, [1, 2], None, "x"], "none", "none"),
    ("vlen-array", [np.arange(3), np.arange(0), np.arange(1), np.arange(2)], None, None),
]


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("case", range(len(OBJECTS)), ids=lambda i: f"{OBJECTS[i][0]}-{OBJECTS[i][2]}")
def test_objects(writer: Any, case: int, order: str) -> None:
    """Arrays of objects read with equal elements, missing ones as the fill value."""
    codec, items, fill, expected = OBJECTS[case]
    data = np.empty(8, object)
    for index, item in enumerate([*items, *items[::-1]]):
        data[index] = item
    data = data.reshape(4, 2)
    config = {"id": codec, "dtype": "<i8"} if codec == "vlen-array" else {"id": codec}
    writer.array(
        "o",
        data,
        chunks=(2, 2),
        filters=[config],
        fill=fill,
        order=order,
        compressor={"id": "zstd", "level": 1},
    )
    del writer.content["o/1.0"]
    got = zarrv3.open_array(Zarr2(writer.content), path="o", mode="r")[...]
    for mine, theirs in zip(got[:2].ravel(), data[:2].ravel(), strict=True):
        assert np.array_equal(mine, theirs)
    assert all(item == expected for item in got[2:].ravel())


FILLS: list[tuple[Any, Any, Any]] = [
    ("<f8", "NaN", np.nan),
    ("<f8", float("nan"), np.nan),
    (">f4", "-Infinity", -np.inf),
    ("<f8", 3, 3.0),
    ("<i4", 3.0, 3),
    ("|b1", 1, True),
    ("<c16", [1, "Infinity"], complex(1, np.inf)),
    ("<u8", 18446744073709551615, 2**64 - 1),
    ("<M8[s]", -9223372036854775808, np.datetime64("NaT", "s")),
    ("<M8[s]", "NaT", np.datetime64("NaT", "s")),
    (">m8[D]", 3, np.timedelta64(3, "D")),
    ("|S3", "YWI=", b"ab"),
    ("|S3", 0, b""),
    ("|S3", "", b""),
    ("<U3", "xé", "xé"),
    ("<U3", 0, ""),
    ("|V3", "YWJj", np.void(b"abc")),
    ("<f8", None, 0.0),
    ("|S3", None, b""),
    ("<M8[s]", None, np.datetime64(0, "s")),
    ([("a", "<i2"), ("b", ">f4")], "AgE/wAAA", (258, 1.5)),
    ([("a", "<i2"), ("b", "<f4")], "AgEAAMA/", (258, 1.5)),
    ([("a", ">i2"), ("b", ">f4")], None, (0, 0)),
]


@pytest.mark.parametrize(("dtype", "stored", "expected"), FILLS)
def test_fill_values(writer: Any, dtype: Any, stored: Any, expected: Any) -> None:
    """Every spelling of a fill value is understood; null is zero."""
    writer.array("f", np.zeros(3, dtype), chunks=(2,), fill=stored)
    del writer.content["f/0"], writer.content["f/1"]
    got = zarrv3.open_array(Zarr2(writer.content), path="f", mode="r")[...]
    assert got.tobytes() == np.array([expected] * 3, got.dtype).tobytes()
