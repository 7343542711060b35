"""The codecs of zarr-extensions: the kit over each, the registry's own samples, and numbers that do not fit."""

from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.codecs import CastValue, ScaleOffset
from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ChunkSpec, CodecChain, parse_codec
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.testing import CodecConformance

LITTLE: Any = {"name": "bytes", "configuration": {"endian": "little"}}
BIG: Any = {"name": "bytes", "configuration": {"endian": "big"}}
SHARD: Any = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [2], "codecs": [LITTLE], "index_codecs": [LITTLE]},
}


def named(name: str, **configuration: Any) -> Any:
    """A codec's document."""
    return {"name": name, "configuration": configuration}


def n5(*order: int, compressor: Any = None) -> Any:
    """The document of `n5_default`."""
    inner = [named("transpose", order=[*order]), BIG, *([compressor] if compressor else [])]
    return named("n5_default", codecs=inner)


# ---------------------------------------------------------------- the kit


class TestBytes(CodecConformance):
    """Those that keep every bit, whatever it means."""

    examples = 10
    data_types = ("int16", "float64", "uint8", "bool")
    shapes = ((7,), (3, 4), (2, 3, 4))

    @pytest.fixture(
        params=[
            named("reshape", shape=[-1]),
            named("reshape", shape=[[0], [1]]),
            named("conditional", codecs=["zstd", "crc32c"]),
            named("conditional", codecs=["numcodecs.shuffle", {"name": "gzip"}], header_bits=16),
            n5(0),
            n5(1, 0, compressor={"name": "zstd"}),
        ],
        ids=lambda codec: f"{codec['name']}",
    )
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param


class TestNumbers(CodecConformance):
    """Those that calculate, with numbers that fit."""

    examples = 10
    lossless = False
    data_types = ("int16", "uint64", "float32", "float64", "bfloat16", "int8", "complex64", "M8[s]")
    shapes = ((), (7,), (3, 4))

    @pytest.fixture(
        params=[
            named("scale_offset", offset=2, scale=3),
            {"name": "scale_offset"},
            named("cast_value", data_type="float32"),
            named("cast_value", data_type="int32", rounding="towards-zero", out_of_range="clamp"),
            named("bitround", keepbits=3),
        ],
        ids=lambda codec: f"{codec['name']}",
    )
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param

    def values(self, data_type: DataType, shape: tuple[int, ...], seed: int) -> Any:
        """Small whole numbers."""
        found = np.random.default_rng(seed).integers(2, 30, shape)
        return np.asarray(found).astype(data_type.numpy)


# ---------------------------------------------------------------- fill values


def test_the_fill_value_goes_through_the_codecs() -> None:
    """What a shard behind them lacks is the fill value, and so is NaN that a scalar map stores as a number."""
    filters = [
        named("scale_offset", offset=-10, scale=0.1),
        named("cast_value", data_type="uint8", scalar_map={"encode": [["NaN", 0]], "decode": [[0, "NaN"]]}),
    ]
    array = zarrv3.create_array(shape=4, chunks=4, dtype="f8", fill_value=np.nan, codecs=[*filters, SHARD])
    assert array.layout.chain.inner.fill_value == 0
    inner = np.array([1, 255], "u1").tobytes()
    array.store["c/0"] = inner + b"\xff" * 16 + np.array([0, 2], "<u8").tobytes()
    assert np.array_equal(array[:], [np.nan, np.nan, 0, 2540], equal_nan=True)


@pytest.mark.parametrize(
    ("fill", "filters", "stored"),
    [
        (15.0, [named("scale_offset", offset=5, scale=2)], 20.0),
        (15, [named("cast_value", data_type="int8")], np.int8(15)),
        (np.inf, [named("cast_value", data_type="float32")], np.float32(np.inf)),
        (1.2, [named("bitround", keepbits=3)], 1.25),
        (7, [named("reshape", shape=[-1])], 7),
    ],
)
def test_encoded_fill_values(fill: Any, filters: Any, stored: Any) -> None:
    """Each codec hands on what stands for the fill value behind it."""
    array = zarrv3.create_array(shape=4, dtype="f8", fill_value=fill, filters=filters)
    assert array.layout.chain.inner.fill_value == stored


def test_fill_values_that_do_not_come_back() -> None:
    """`cast_value` refuses an array whose fill value it would change."""
    for fill in (np.nan, 300, 1.5):
        with pytest.raises(MetadataError, match="cast_value"):
            zarrv3.create_array(
                shape=4, dtype="f8", fill_value=fill, filters=[named("cast_value", data_type="uint8")]
            )


# ---------------------------------------------------------------- numbers


def test_scale_offset_refuses_what_does_not_fit() -> None:
    """Results out of range are errors when written and when read, and so are numbers that are not multiples."""
    array = zarrv3.create_array(
        shape=4, dtype="u1", fill_value=10, filters=[ScaleOffset(offset=10, scale=2)], compressors=None
    )
    array[:] = [10, 11, 12, 137]
    assert bytes(array.store["c/0"]) == bytes([0, 2, 4, 254])
    for wrong in (9, 138):
        with pytest.raises(MetadataError, match="is not a number of data type uint8"):
            array[0] = wrong
    array.store["c/0"] = bytes([1, 0, 0, 0])
    with pytest.raises(CorruptDataError, match="not a multiple"):
        array[:]
    floats = zarrv3.create_array(shape=1, dtype="f4", filters=[ScaleOffset(scale=1e30)])
    with pytest.raises(MetadataError, match="too large"):
        floats[0] = 1e30
    floats[0] = np.inf  # which it was before
    assert floats[0] == np.inf
    big = zarrv3.create_array(shape=2, dtype="u8", fill_value=2**63, filters=[ScaleOffset(offset=2**63)])
    big[:] = [2**63, 2**64 - 1]
    assert big[:].tolist() == [2**63, 2**64 - 1]


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("nearest-even", [2, -2, 2, 3]), ("nearest-away", [3, -3, 2, 3]), ("towards-zero", [2, -2, 1, 2]),
        ("towards-positive", [3, -2, 2, 3]), ("towards-negative", [2, -3, 1, 2]),
    ],
)  # fmt: skip
def test_rounding(rounding: str, expected: list[int]) -> None:
    """Each way of rounding does what it is called."""
    codec = CastValue(data_type="int8", rounding=rounding)
    array = zarrv3.create_array(data=np.array([2.5, -2.5, 1.6, 2.6]), filters=[codec])
    assert array[:].tolist() == expected


def test_out_of_range() -> None:
    """An error, or clamped, or wrapped; NaN is an error unless it is mapped; of equal scalars the first counts."""
    numbers = np.array([300.0, -5.0, 7.0])
    for out_of_range, expected in (("clamp", [255, 0, 7]), ("wrap", [44, 251, 7])):
        codec = CastValue(data_type="uint8", out_of_range=out_of_range)
        assert zarrv3.create_array(data=numbers, filters=[codec])[:].tolist() == expected
    array = zarrv3.create_array(shape=3, dtype="f8", filters=[CastValue(data_type="uint8")])
    for wrong in (300, np.nan):
        with pytest.raises(MetadataError, match="cast_value"):
            array[0] = wrong
    twice = CastValue(
        data_type="uint8", scalar_map={"encode": [["NaN", 1], ["NaN", 2]], "decode": [[1, "NaN"]]}
    )
    assert np.isnan(zarrv3.create_array(data=np.array([np.nan]), filters=[twice])[0])
    with pytest.raises(MetadataError, match="only integers wrap"):
        zarrv3.create_array(
            shape=1, dtype="f8", filters=[CastValue(data_type="float32", out_of_range="wrap")]
        )


def test_stored_numbers_that_do_not_decode() -> None:
    """A stored number outside the array's data type is damage."""
    array = zarrv3.create_array(shape=1, dtype="u1", filters=[CastValue(data_type="int32")], compressors=None)
    array.store["c/0"] = np.array([300], "<i4").tobytes()
    with pytest.raises(CorruptDataError, match="cast_value"):
        array[0]


def test_bitround_gives_the_numbers_of_the_registry() -> None:
    """Those of its samples; what would overflow is cut off, and signs and what is not finite stay."""
    integers = [0, 1, 10, 11, 100, 123, 200, 208, 209, 255]
    assert rounded(integers, "u1") == [0, 1, 10, 12, 96, 128, 192, 192, 224, 224]
    floats = [0, 0.1, 1.2, 12.3, 123.4, 1234.5, np.inf, -np.inf]
    assert rounded(floats, "f4") == [0, 0.1015625, 1.25, 12, 120, 1280, np.inf, -np.inf]
    assert rounded([3.4e38, -3.4e38], "f4") == [np.float32(2**128 - 2**124), -np.float32(2**128 - 2**124)]
    assert rounded([127, -127, -128, -1, -11], "i1") == [112, -112, -128, -1, -12]
    assert rounded([2**63 - 1, -(2**63)], "i8") == [7 * 2**60, -(2**63)]
    assert rounded([1.2 - 12.3j], "c8") == [1.25 - 12j]
    assert np.isnan(rounded([np.nan], "f8")[0])


def rounded(values: list[Any], dtype: str) -> list[Any]:
    """What three bits leave of numbers."""
    array = zarrv3.create_array(data=np.array(values, dtype), filters=[named("bitround", keepbits=3)])
    found: list[Any] = array[:].tolist()
    return found


# ---------------------------------------------------------------- shapes, blocks and headers


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([[0, 1], [2], 3], (6, 4, 3)), ([-1, 4, 3], (6, 4, 3)), ([[0], -1], (2, 36)), ([72, []], (72, 1))],
)
def test_reshape(shape: Any, expected: tuple[int, ...]) -> None:
    """Lengths may be numbers, products of input dimensions, and what is left."""
    spec = ChunkSpec((2, 3, 4, 3), data_type_of("i2"), 0)
    chain = CodecChain.build([parse_codec(named("reshape", shape=shape)), parse_codec(LITTLE)], spec)
    assert chain.inner.shape == expected


@pytest.mark.parametrize(
    "shape", [[5, -1], [[1], [0]], [[0, 1], 3, [2, 3]], [-1, -1], [[0], 36, [1]], [[9]], [[0, 2], -1], 7, [0]]
)
def test_reshapes_that_do_not_fit(shape: Any) -> None:
    """Other numbers of elements, dimensions that would move and two unknowns are refused."""
    spec = ChunkSpec((2, 3, 4, 3), data_type_of("i2"), 0)
    with pytest.raises(MetadataError, match="reshape"):
        CodecChain.build([parse_codec(named("reshape", shape=shape)), parse_codec(LITTLE)], spec)


def test_n5_blocks_may_be_truncated() -> None:
    """A block at the edge has the shape that its header says; beyond it is the fill value."""
    array = zarrv3.create_array(
        shape=(3, 2), chunks=(2, 2), dtype=">u2", fill_value=9, codecs=[n5(1, 0)],
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    values = np.arange(6).reshape(3, 2)
    array[:] = values
    header = bytes([0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2])
    assert bytes(array.store["0/0"]) == header + np.array([0, 2, 1, 3], ">u2").tobytes()
    array.store["1/0"] = bytes([0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + np.array([4, 5], ">u2").tobytes()
    assert np.array_equal(array[:], values)
    array.resize((4, 2))
    assert array[3].tolist() == [9, 9]
    for damaged in (b"", header[:5], b"\0\1" + header[2:], header[:4] + b"\xff" * 8):
        array.store["1/0"] = damaged
        with pytest.raises(CorruptDataError):
            array[2]


@pytest.mark.parametrize(
    ("dtype", "codec"),
    [
        ("u2", n5(0, 1)),
        ("u2", named("n5_default", codecs=[named("transpose", order=[1, 0]), LITTLE])),
        ("u2", named("n5_default", codecs=[BIG])),
        ("f2", n5(1, 0)),
        ("u2", named("n5_default", codecs=[*n5(1, 0)["configuration"]["codecs"], "zstd", "crc32c"])),
    ],
)
def test_what_n5_does_not_know(dtype: str, codec: Any) -> None:
    """Other orders, little-endian bytes, chains and data types are refused."""
    with pytest.raises(MetadataError, match="n5_default"):
        zarrv3.create_array(shape=(4, 4), dtype=dtype, codecs=[codec])


def test_conditional_compresses_where_that_is_shorter() -> None:
    """A bit for each codec says what was done; other writers may use some of them only."""
    codec = named("conditional", codecs=["zstd", "crc32c"])
    array = zarrv3.create_array(shape=100, dtype="u1", compressors=[codec])
    array[:] = 5
    assert bytes(array.store["c/0"])[0] == 3
    assert array[99] == 5
    noise = np.random.default_rng(0).integers(0, 255, 100, "u1")
    array[:] = noise
    assert bytes(array.store["c/0"]) == b"\0" + noise.tobytes()
    array.store["c/0"] = b"\2" + bytes(parse_codec("crc32c").encode(noise.tobytes()))  # type: ignore[attr-defined]
    assert np.array_equal(array[:], noise)
    for damaged in (b"", b"\4" + noise.tobytes(), b"\0" + noise.tobytes()[1:]):
        array.store["c/0"] = damaged
        with pytest.raises(CorruptDataError):
            array[:]


@pytest.mark.parametrize(
    ("filters", "compressor"),
    [
        ([named("scale_offset", offset=1, scale=2)], "zstd"),
        ([named("cast_value", data_type="int16")], "blosc"),
        ([named("bitround", keepbits=30)], "blosc"),
        ([named("reshape", shape=[-1])], "zstd"),
        ([], named("conditional", codecs=["zstd"])),
    ],
    ids=str,
)
def test_kernels_leave_such_chains_to_python(filters: list[Any], compressor: Any) -> None:
    """The stored bytes and the values are the same with kernels and without."""
    values = np.arange(2400.0).reshape(24, 100) // 7
    stored = []
    for kernels in ("native", "none"):
        with zarrv3.config.set(kernels=kernels):
            array = zarrv3.create_array(
                data=values, chunks=(4, 10), shards=(8, 20), filters=filters, compressors=compressor
            )
            assert np.array_equal(array[3:19, 5:44], values[3:19, 5:44])
            stored.append({key: bytes(array.store[key]) for key in array.store})
    assert stored[0] == stored[1]
