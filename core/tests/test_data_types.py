"""Data types: names, numpy forms and fill values down to the last bit."""

import math
import sys
import types
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from importlib_metadata import EntryPoint

from zarrv3 import registry
from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.data_types import data_type_of, fill_test, parse_data_type
from zarrv3.format.data_types.binary import NullTerminatedBytes

NUMBERS = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
]  # fmt: skip
TIMES = [
    {"name": name, "configuration": {"unit": unit, "scale_factor": scale}}
    for name in ("numpy.datetime64", "numpy.timedelta64")
    for unit in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "μs", "ns", "ps", "fs", "as", "generic")
    for scale in ((1,) if unit == "generic" else (1, 25))
]
STRUCT = {
    "name": "struct",
    "configuration": {
        "fields": [
            {"name": "a", "data_type": "int32"},
            {"name": "é", "data_type": "bool"},
            {"name": "p", "data_type": {"name": "struct", "configuration": {"fields": [{"name": "x", "data_type": "float64"}]}}},
            {"name": "t", "data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}}},
        ]
    },
}  # fmt: skip
LEGACY = {"name": "structured", "configuration": {"fields": [["a", "int32"], ["b", "uint8"]]}}
OTHERS = [
    "r8", "r24", "string", "bytes", "variable_length_bytes", STRUCT, LEGACY,
    {"name": "raw_bytes", "configuration": {"length_bytes": 3}},
    {"name": "null_terminated_bytes", "configuration": {"length_bytes": 3}},
    {"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}},
]  # fmt: skip
ALL = [*NUMBERS, *TIMES, *OTHERS]


def fill_equal(left: Any, right: Any) -> bool:
    """Whether two scalars of one data type are the same value, bit by bit."""
    if isinstance(left, np.generic) and isinstance(right, np.generic):
        one, other = np.asarray(left), np.asarray(right)
        if one.dtype.kind in "SU":
            return bool(one == other)
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return type(left) is type(right) and bool(left == right)


def all_equal_fill(array: Any, fill: Any) -> bool:
    """Whether every element of an array is the fill value."""
    return fill_test(array.dtype, array.ndim, fill)(array)


@pytest.mark.parametrize("document", ALL, ids=str)
def test_documents_come_back(document: Any) -> None:
    """A type is written as it was read, and its default fill value survives."""
    kind = parse_data_type(document)
    assert kind.to_json() == document
    assert parse_data_type(kind.to_json()) == kind
    fill = kind.default_fill()
    assert fill_equal(fill, kind.cast_fill(None))
    assert fill_equal(fill, kind.fill_from_json(kind.fill_to_json(fill)))
    assert all_equal_fill(np.full((2, 3), fill, dtype=kind.numpy), fill)
    assert kind.item_size is None or kind.item_size == kind.numpy.itemsize == kind.carrier.itemsize
    assert kind.numpy.isnative
    assert kind.describe()


@pytest.mark.parametrize(
    ("given_", "document"),
    [
        ("f8", "float64"),
        (">i4", "int32"),
        ("float64", "float64"),
        (np.float32, "float32"),
        (int, "int64"),
        (bool, "bool"),
        (float, "float64"),
        (complex, "complex128"),
        (str, "string"),
        (bytes, "bytes"),
        ("string", "string"),
        (np.dtypes.StringDType(), "string"),
        ("r16", "r16"),
        ("V3", {"name": "raw_bytes", "configuration": {"length_bytes": 3}}),
        ("S3", {"name": "null_terminated_bytes", "configuration": {"length_bytes": 3}}),
        (">U3", {"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}}),
        ("<M8[ns]", {"name": "numpy.datetime64", "configuration": {"unit": "ns", "scale_factor": 1}}),
        ("m8[25s]", {"name": "numpy.timedelta64", "configuration": {"unit": "s", "scale_factor": 25}}),
        ("M8", {"name": "numpy.datetime64", "configuration": {"unit": "generic", "scale_factor": 1}}),
        (STRUCT, STRUCT),
    ],
    ids=str,
)
def test_dtypes_in_all_spellings(given_: Any, document: Any) -> None:
    """Whatever a user calls a dtype becomes a type of the specification, without byte order."""
    assert data_type_of(given_).to_json() == document
    assert data_type_of(data_type_of(given_)) is not None


def test_records_are_packed() -> None:
    """An aligned dtype loses its padding, fields keep their order."""
    aligned = np.dtype([("a", "u1"), ("b", ">f8")], align=True)
    assert data_type_of(aligned).numpy == np.dtype([("a", "u1"), ("b", "f8")])


@pytest.mark.parametrize(
    "value",
    [
        object,
        "O",
        [("a", "O")],
        None,
        np.longdouble,
        [("a", "f8", (2,))],
        "S",
        "U",
        "V",
        3.5,
    ],
    ids=str,
)
def test_dtypes_that_nothing_stands_for(value: Any) -> None:
    """Above all objects, which would have to be pickled."""
    with pytest.raises(MetadataError):
        data_type_of(value)


def test_the_error_for_objects_says_what_to_use() -> None:
    """Text and bytes have types of their own."""
    with pytest.raises(MetadataError, match=r"'string'.*'bytes'"):
        data_type_of(object)


@pytest.mark.parametrize(
    "document",
    [
        None, 1, [], {}, {"name": "float32", "configuration": {"x": 1}}, "r7", "r0", "r8x", "r99999999999999999999",
        {"name": "raw_bytes"}, {"name": "raw_bytes", "configuration": {"length_bytes": 0}},
        {"name": "fixed_length_utf32", "configuration": {"length_bytes": 5}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": True}},
        {"name": "numpy.datetime64"}, {"name": "numpy.datetime64", "configuration": {"unit": "x", "scale_factor": 1}},
        {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 0}},
        {"name": "numpy.datetime64", "configuration": {"unit": [], "scale_factor": 1}},
        {"name": "struct", "configuration": {"fields": []}}, {"name": "struct", "configuration": {"fields": {}}},
        {"name": "struct", "configuration": {"fields": [{"name": "a"}]}},
        {"name": "struct", "configuration": {"fields": [{"name": "a", "data_type": "string"}]}},
        {"name": "struct", "configuration": {"fields": [["", "int8"]]}},
        {"name": "struct", "configuration": {"fields": [["a", "int8"], ["a", "int8"]]}},
        {"name": "struct", "configuration": {"fields": [[1, "int8"]]}},
        {"name": "struct", "configuration": {"fields": ["a"]}},
        {"name": "struct", "configuration": {"fields": [["a", "r8589934592"], ["b", "r8589934592"]]}},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_documents(document: Any) -> None:
    """They are refused, never guessed."""
    with pytest.raises(MetadataError):
        parse_data_type(document)


def test_unknown_names_are_said_to_be_unknown() -> None:
    """With advice."""
    with pytest.raises(UnknownExtensionError, match="did you mean 'float64'"):
        parse_data_type("flot64")
    with pytest.raises(UnknownExtensionError, match="did you mean 'float64'"):
        data_type_of("flot64")


class Pair(NullTerminatedBytes):
    """A plugin's data type, for one dtype of numpy that the core does not know."""

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Any:
        """Pairs of bytes."""
        return cls(2) if dtype.subdtype == (np.dtype("u1"), (2,)) else None


def test_data_types_of_plugins_are_found_by_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dtype that the core does not know is shown to the data types of plugins; a broken one does not matter."""
    points = [
        EntryPoint("broken", "zarrv3_no_such_module", "zarrv3.data_types"),
        EntryPoint("pair", f"{__name__}:Pair", "zarrv3.data_types"),
    ]
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(Pair=Pair))
    monkeypatch.setattr(registry, "_installed", lambda: iter(points))
    registry.reset()
    assert data_type_of(np.dtype(("u1", (2,)))) == Pair(2)
    with pytest.raises(MetadataError, match="no data type stands for"):
        data_type_of(np.dtype(("u1", (3,))))
    monkeypatch.undo()
    registry.reset()


def test_data_types_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name or by dtype, the error says which package to install."""
    monkeypatch.setattr(registry, "_installed", lambda: iter(()))
    registry.reset()
    for wanted in ("bfloat16", {"name": "int4"}, np.dtype(ml_dtypes.float8_e5m2), [("x", ml_dtypes.uint2)]):
        with pytest.raises(UnknownExtensionError, match="pip install zarrv3-types-ml-dtypes"):
            data_type_of(wanted)
    monkeypatch.undo()
    registry.reset()


# ---------------------------------------------------------------- fill values


@given(st.integers(0, 2**64 - 1))
def test_every_bit_of_a_float64_survives(bits: Any) -> None:
    """NaN payloads, signs of zero, denormal numbers."""
    kind = data_type_of("float64")
    fill = np.uint64(bits).view(np.float64)
    assert kind.fill_from_json(kind.fill_to_json(fill)).tobytes() == fill.tobytes()
    assert kind.cast_fill(fill).tobytes() == fill.tobytes()


@given(st.sampled_from(["float16", "float32"]), st.integers(0, 2**32 - 1))
def test_every_bit_of_smaller_floats_survives(name: Any, bits: Any) -> None:
    """Whatever the width."""
    kind = data_type_of(name)
    carrier = np.dtype(f"u{kind.numpy.itemsize}")
    bits %= 1 << getattr(kind, "forms").significant  # noqa: B009 - of floats only
    fill = np.array(bits, dtype=carrier).view(kind.numpy)[()]
    assert kind.fill_from_json(kind.fill_to_json(fill)).tobytes() == fill.tobytes()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_every_bit_of_a_complex_survives(real: Any, imaginary: Any) -> None:
    """Both parts."""
    kind = data_type_of("complex128")
    fill = np.array([real, imaginary], np.uint64).view(np.complex128)[0]
    assert kind.fill_from_json(kind.fill_to_json(fill)).tobytes() == fill.tobytes()
    assert kind.cast_fill(fill).tobytes() == fill.tobytes()


@given(st.sampled_from(NUMBERS[1:9]), st.integers(-(2**65), 2**65))
def test_integers_fit_or_are_refused(name: Any, number: Any) -> None:
    """Over the full range, without a detour through floats."""
    kind = data_type_of(name)
    info = np.iinfo(name)
    if info.min <= number <= info.max:
        assert int(kind.cast_fill(number)) == kind.fill_to_json(kind.fill_from_json(number)) == number
    else:
        with pytest.raises(MetadataError, match="fill_value"):
            kind.cast_fill(number)


@given(st.integers(-(2**63), 2**63 - 1))
def test_counts_of_time_survive(count: Any) -> None:
    """The least one is "not a time"."""
    for name in ("M8[ns]", "m8[3h]"):
        kind = data_type_of(name)
        assert kind.fill_to_json(kind.fill_from_json(count)) == count


def test_special_floats_are_named() -> None:
    """As the specification spells them; another NaN is written in hexadecimal."""
    kind = data_type_of("f4")
    assert kind.fill_to_json(np.float32("nan")) == "NaN"
    assert kind.fill_to_json(np.float32("-inf")) == "-Infinity"
    assert kind.fill_to_json(np.uint32(0x7FC00001).view(np.float32)) == "0x7fc00001"
    assert kind.fill_to_json(-np.float32("nan")) == "0xffc00000"
    assert kind.fill_from_json("0x7fc00000").tobytes() == kind.fill_from_json("NaN").tobytes()
    assert math.copysign(1, kind.fill_from_json(-0.0)) == -1


def test_complex_infinity() -> None:
    """`1+inf j` stays that (defect 11 of zarr-python 2)."""
    kind = data_type_of("c16")
    assert kind.fill_to_json(kind.cast_fill(complex(1, math.inf))) == [1.0, "Infinity"]
    assert kind.fill_from_json([1, "Infinity"]) == complex(1, math.inf)
    assert kind.cast_fill(3) == 3


@pytest.mark.parametrize(
    ("name", "value", "document"),
    [
        ("bool", 1, True), ("bool", np.False_, False), ("int8", -128, -128), ("int8", 5.0, 5), ("int8", True, 1),
        ("float32", "0x7f800001", "0x7f800001"), ("float32", 1, 1.0), ("float64", np.float32(0.5), 0.5),
        ("complex64", [1, "NaN"], [1.0, "NaN"]),
        ("r16", b"\x01\x02", [1, 2]), ("r16", 0, [0, 0]),
        ("V2", b"\x01\x02", "AQI="), ("V2", np.void(b"ab"), "YWI="), ("S3", b"ab", "YWI="), ("S3", "ab", "YWI="),
        ("U3", "añ", "añ"), ("U3", 0, ""), (str, "ä", "ä"), (str, 0, ""), (bytes, b"\xff", "/w=="), (bytes, 0, ""),
        ("M8[ns]", "NaT", -(2**63)), ("M8[D]", np.datetime64("1970-01-02", "ns"), 1), ("M8[s]", "1970-01-01T00:00:07", 7),
        ("m8[s]", np.timedelta64(2, "m"), 120), ("M8[s]", 0, 0),
        ([("a", "i4"), ("b", "f8")], (1, math.inf), {"a": 1, "b": "Infinity"}),
        ([("a", "i4"), ("b", "f8")], {"b": 2, "a": 1}, {"a": 1, "b": 2.0}),
        ([("a", "i4"), ("b", "f8")], 0, {"a": 0, "b": 0.0}),
        (LEGACY, (1, 2), "AQAAAAI="),
    ],
    ids=str,
)  # fmt: skip
def test_fill_values_of_users(name: Any, value: Any, document: Any) -> None:
    """They become exactly this JSON, and that JSON becomes the same value again."""
    kind = data_type_of(name)
    fill = kind.cast_fill(value)
    assert kind.fill_to_json(fill) == document
    assert fill_equal(kind.fill_from_json(document), fill)
    assert fill_equal(kind.cast_fill(np.asarray(fill, dtype=kind.numpy)), fill)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bool", 2), ("bool", "true"), ("int8", 128), ("int8", 1.5), ("int8", "1"), ("int8", math.nan), ("uint8", -1),
        ("float32", 1e39), ("float16", 70000), ("float64", 10**400), ("float32", 1j), ("float32", "nan"), ("float32", []),
        ("complex64", "x"), ("complex64", [1]), ("complex64", [1, 2, 3]),
        ("r16", b"x"), ("r16", 5), ("S3", b"abcd"), ("S3", "ä"),
        ("U3", "abcd"), ("U3", b"a"), ("U3", "\ud800"), (str, 5), (str, "\ud800"), (bytes, "x"), ("M8[ns]", "x"), ("M8[D]", "2000-01-01T12"),
        ("M8[ns]", np.datetime64("9999-01-01")), ("M8[s]", np.timedelta64(1, "s")), ("m8[s]", 1.5), ("m8[s]", True),
        ([("a", "i4")], (1, 2)), ([("a", "i4")], {"b": 1}), ([("a", "i4")], "x"), ([("a", "i1")], (300,)),
    ],
    ids=str,
)  # fmt: skip
def test_fill_values_that_do_not_fit(name: Any, value: Any) -> None:
    """Overflow and wrong types are errors, never silently another value."""
    with pytest.raises(MetadataError, match="fill_value"):
        data_type_of(name).cast_fill(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bool", 0), ("bool", "true"), ("bool", None), ("int8", "1"), ("int8", True), ("int8", 1.5), ("int8", 128), ("int8", None),
        ("float32", "nan"), ("float32", "0x"), ("float32", "0x1ffffffff"), ("float32", True), ("float32", None), ("float32", [1]),
        ("complex64", 1), ("complex64", [1]), ("complex64", "12"), ("r16", [1]), ("r16", [1, 256]), ("r16", [1, True]),
        ("r16", "A"), ("S3", "ä"), ("S3", [1, 2, 3, 4]), ("U3", 1), ("string", 1), ("string", None), ("bytes", 1), ("bytes", "!!!!"),
        ("M8[s]", "2000"), ("M8[s]", 2**63), ("M8[s]", 1.0), ("M8[s]", None), ([("a", "i4")], [1]), ([("a", "i4")], "AA=="),
        ([("a", "i4")], {}), ([("a", "i4")], {"a": 1, "b": 2}),
    ],
    ids=str,
)  # fmt: skip
def test_fill_values_of_documents_are_strict(name: Any, value: Any) -> None:
    """JSON types are what the specification says."""
    with pytest.raises(MetadataError, match="fill_value"):
        data_type_of(name).fill_from_json(value)


def test_other_writers_forms_are_read() -> None:
    """Base64 for raw bits, lists for bytes, base64 of packed records, 1.0 for an integer."""
    assert bytes(data_type_of("r24").fill_from_json("AQID")) == b"\1\2\3"
    assert data_type_of("bytes").fill_from_json([1, 2, 3]) == b"\1\2\3"
    packed = "AQAAAAAAAAAAAPA/"
    record = data_type_of([("a", "i4"), ("b", "f8")]).fill_from_json(packed)
    assert record.tolist() == (1, 1.0)
    assert data_type_of("int8").fill_from_json(1.0) == 1


# ---------------------------------------------------------------- comparing with the fill value


def _slow(array: Any, fill: Any) -> Any:
    return all(item.tobytes() == fill.tobytes() for item in array.reshape(-1))


@given(
    st.sampled_from(["u1", "i2", "f4", "f8", "c8", "c16", "V3", "V24", "M8[s]"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
)
def test_all_equal_fill_is_what_it_says(name: Any, choices: Any) -> None:
    """The fast comparison is the slow one: element by element, by bytes."""
    kind = data_type_of(name)
    values = [
        bytes(kind.numpy.itemsize),
        b"\x80" + bytes(kind.numpy.itemsize - 1),
        bytes(kind.numpy.itemsize - 1) + b"\1",
        b"\1" * kind.numpy.itemsize,
    ]
    fill = np.frombuffer(values[choices[0]], dtype=kind.numpy)[0]
    array = np.frombuffer(b"".join(values[choice] for choice in choices), dtype=kind.numpy)
    expected = len({values[choice] for choice in choices}) == 1
    assert all_equal_fill(array, fill) == expected
    assert all_equal_fill(np.repeat(array, 2).reshape(-1, 2)[:, 0], fill) == expected  # not contiguous


def test_special_values_compare_by_bits() -> None:
    """NaN equals the same NaN, 0.0 is not -0.0, NaT equals NaT."""
    nan = np.full(3, np.nan)
    assert all_equal_fill(nan, np.float64("nan"))
    assert not all_equal_fill(nan, -np.float64("nan"))
    assert not all_equal_fill(np.zeros(3), np.float64(-0.0))
    assert all_equal_fill(np.full(3, "NaT", "M8[s]"), np.datetime64("NaT", "s"))
    assert all_equal_fill(np.array([]), np.float64(1))
    assert all_equal_fill(np.array(["", ""], np.dtypes.StringDType()), "")
    assert not all_equal_fill(np.array(["", "x"], "U3"), np.str_(""))
    assert all_equal_fill(np.array([b"x", b"x"], object), b"x")
    assert all_equal_fill(np.array(5), np.int64(5))
    assert not fill_equal(np.float64(0), np.float64(-0.0))
    assert not fill_equal("", b"")


# ---------------------------------------------------------------- decoded bits


def test_bits_that_are_no_value() -> None:
    """A boolean 2 and a character beyond Unicode are corrupt."""
    with pytest.raises(CorruptDataError):
        data_type_of(bool).sanitize(np.array([0, 2], np.uint8).view(bool))
    with pytest.raises(CorruptDataError):
        data_type_of(bool).sanitize(np.full(9999, 2, np.uint8).view(bool))
    with pytest.raises(CorruptDataError):
        data_type_of("U1").sanitize(np.array([0x110000], np.uint32).view("U1"))
    with pytest.raises(CorruptDataError):
        data_type_of([("a", "?")]).sanitize(np.array([7], np.uint8).view([("a", "?")]))
