"""The small numbers: names, fill values down to the last bit, chunks, and arrays of them."""

import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ChunkSpec, CodecChain, parse_codec
from zarrv3.format.data_types import data_type_of, fill_test, parse_data_type
from zarrv3.testing import DataTypeConformance
from zarrv3_types_ml_dtypes import SmallComplex, SmallFloat, SmallInteger

FLOATS = sorted(SmallFloat.names)
INTEGERS = sorted(SmallInteger.names)
BIG: Any = {"name": "bytes", "configuration": {"endian": "big"}}
LITTLE: Any = {"name": "bytes", "configuration": {"endian": "little"}}


def same_bytes(one: Any, other: Any) -> bool:
    """Whether two fill values have one type and the same bits."""
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
def test_names(name: str) -> None:
    """A type is found by its name and by the dtype of ml_dtypes, is written as it was read, and has a fill value."""
    kind = parse_data_type(name)
    assert kind.to_json() == name
    dtype = np.dtype(getattr(ml_dtypes, name))
    assert kind == data_type_of(dtype) == data_type_of(dtype.type) == data_type_of(name)
    assert kind.numpy == dtype
    assert kind.item_size == dtype.itemsize == kind.carrier.itemsize
    fill = kind.default_fill()
    assert same_bytes(fill, kind.cast_fill(None))
    assert same_bytes(fill, kind.fill_from_json(kind.fill_to_json(fill)))
    assert fill_test(dtype, 2, fill)(np.full((2, 3), fill, dtype=dtype))
    with pytest.raises(MetadataError, match="configuration"):
        parse_data_type({"name": name, "configuration": {"x": 1}})


def test_names_before_ml_dtypes_is_imported() -> None:
    """A name is understood in a process in which nobody has imported ml_dtypes; importing zarrv3 does not."""
    code = (
        "import sys, zarrv3; assert 'ml_dtypes' not in sys.modules; "
        "print(zarrv3.create_array(shape=2, dtype='bfloat16', fill_value=1)[...].dtype)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "bfloat16\n"


@given(st.sampled_from(FLOATS), st.integers(0, 2**16 - 1))
def test_every_bit_of_a_float_survives(name: str, bits: int) -> None:
    """Whatever the width, NaN payloads too."""
    kind = data_type_of(name)
    assert isinstance(kind, SmallFloat)
    fill = np.array(bits % (1 << kind.forms.significant), dtype=kind.carrier).view(kind.numpy)[()]
    assert kind.fill_from_json(kind.fill_to_json(fill)).tobytes() == fill.tobytes()


@pytest.mark.parametrize(
    ("name", "value", "document"),
    [("bfloat16", 1.5, 1.5), ("int4", -8, -8), ("uint2", 3, 3), ("float8_e4m3fn", math.nan, "NaN"),
     ("bfloat16", "0x7fc1", "0x7fc1"), ("float8_e8m0fnu", 0.5, 0.5)],
)  # fmt: skip
def test_fill_values_of_users(name: str, value: Any, document: Any) -> None:
    """They become exactly this JSON, and that JSON becomes the same value again."""
    kind = data_type_of(name)
    fill = kind.cast_fill(value)
    assert kind.fill_to_json(fill) == document
    assert same_bytes(kind.fill_from_json(document), fill)
    assert same_bytes(kind.cast_fill(np.asarray(fill, dtype=kind.numpy)), fill)


@pytest.mark.parametrize(
    ("name", "value"),
    [("int4", 8), ("uint2", -1), ("int2", 0.5), ("float4_e2m1fn", math.nan), ("float8_e4m3fn", 1e9),
     ("float8_e8m0fnu", -1), ("float8_e8m0fnu", 0)],
)  # fmt: skip
def test_fill_values_that_do_not_fit(name: str, value: Any) -> None:
    """Overflow is an error, never silently another value."""
    with pytest.raises(MetadataError, match="fill_value"):
        data_type_of(name).cast_fill(value)


@pytest.mark.parametrize("value", ["NaN", "0x10"])
def test_fill_values_of_documents_are_strict(value: str) -> None:
    """A float4 has no NaN, and four bits."""
    with pytest.raises(MetadataError, match="fill_value"):
        data_type_of("float4_e2m1fn").fill_from_json(value)


def test_bits_of_documents() -> None:
    """The examples of the specifications."""
    assert data_type_of("bfloat16").fill_from_json("NaN").tobytes() == struct.pack("<H", 0x7FC0)
    assert data_type_of("float8_e4m3").fill_from_json("NaN").tobytes() == b"\x7c"


@pytest.mark.parametrize("name", [*INTEGERS, "float4_e2m1fn", "float6_e2m3fn"])
def test_spare_bits_are_cleared(name: str) -> None:
    """What the upper bits of a byte hold does not matter."""
    kind = data_type_of(name)
    every = np.arange(256, dtype=np.uint8)
    bits = int("".join(c for c in name.partition("_")[0] if c.isdigit()))
    clean = kind.sanitize(every.view(kind.numpy)).view(np.uint8)
    assert (clean == every % 2**bits).all()
    in_record = data_type_of([("x", kind.numpy)])
    assert (in_record.sanitize(every.view(in_record.numpy))["x"].view(np.uint8) == clean).all()


def chain_of(name: str, *codecs: Any) -> CodecChain:
    """A chain for chunks of three times five elements."""
    kind = data_type_of(name)
    return CodecChain.build(map(parse_codec, codecs), ChunkSpec((3, 5), kind, kind.default_fill()))


def sample(chain: CodecChain) -> np.ndarray[Any, Any]:
    """Some values for a chain."""
    kind = chain.spec.data_type
    bits = np.random.default_rng(0).integers(0, 256, 15 * kind.numpy.itemsize, np.uint8)
    return kind.sanitize(bits.view(kind.numpy).reshape(3, 5))


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("codecs", [[LITTLE], [BIG], [BIG, "crc32c"]], ids=str)
def test_bytes(name: str, codecs: list[Any]) -> None:
    """Bytes come back as they were, in either byte order."""
    chain = chain_of(name, *codecs)
    array = sample(chain)
    found = chain.decode(chain.encode(array))
    assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())
    if codecs == [BIG]:
        assert bytes(chain.encode(array)) == array.view(chain.spec.data_type.carrier).byteswap().tobytes()


@pytest.mark.parametrize("padding", ["none", "first_byte", "last_byte"])
@pytest.mark.parametrize("name", [*INTEGERS, "float4_e2m1fn", "float6_e3m2fn", "bfloat16"])
def test_packbits(name: str, padding: str) -> None:
    """Elements take their bits and no more."""
    chain = chain_of(name, {"name": "packbits", "configuration": {"padding_encoding": padding}})
    array = sample(chain)
    data = chain.encode(array)
    assert len(data) == chain.encoded_size
    assert chain.decode(data).tobytes() == array.tobytes()
    with pytest.raises(CorruptDataError):
        chain.decode(bytes(data) + b"\0")


def test_bits_that_packbits_does_not_have() -> None:
    """An int4 has four bits."""
    with pytest.raises(MetadataError, match="packbits"):
        chain_of("int4", {"name": "packbits", "configuration": {"last_bit": 4}})


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
def test_arrays(name: str, tmp_path: Path) -> None:
    """An array is created by dtype or by name, and read again with the same values."""
    values = np.arange(2).astype(getattr(ml_dtypes, name)).repeat(5)
    zarrv3.save_array(tmp_path / "by-dtype", values)
    array = zarrv3.create_array(tmp_path / "by-name", shape=10, chunks=4, dtype=name)
    array[:] = values
    for path in ("by-dtype", "by-name"):
        found = zarrv3.open_array(tmp_path / path)[:]
        assert (found.dtype, found.tobytes()) == (values.dtype, values.tobytes())


class TestComplex(DataTypeConformance):
    """Complex numbers of two small floats."""

    @pytest.fixture(params=sorted(SmallComplex.names))
    def data_type(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param


@pytest.mark.parametrize(
    ("name", "dtype", "bits"),
    [
        ("complex_float16", ml_dtypes.complex32, "003c 00c0"),
        ("complex_bfloat16", ml_dtypes.bcomplex32, "803f 00c0"),
    ],
)
@pytest.mark.parametrize("codec", [LITTLE, BIG, "packbits"], ids=str)
def test_complex_numbers(name: str, dtype: Any, bits: str, codec: Any) -> None:
    """An element is its real and then its imaginary part, each in the byte order that the codec says."""
    values = np.array([1 - 2j, 0, 3 + 4j]).astype(dtype)
    assert data_type_of(values.dtype).to_json() == name
    array = zarrv3.create_array(data=values, codecs=[codec], fill_value=[0.0, "NaN"])
    assert array[:].tobytes() == values.tobytes()
    stored = bytes(array.store["c/0"])[:4]
    assert stored == (
        b"".join(bytes.fromhex(part)[::-1] for part in bits.split()) if codec is BIG else bytes.fromhex(bits)
    )
    array.resize(4)
    assert array.metadata.to_document()["fill_value"] == [0.0, "NaN"]
    assert np.isnan(complex(array[3]).imag)
