"""Small numbers for machine learning: those of the package ml_dtypes."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import ml_dtypes
import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.data_types.numerics import Complex, Float, FloatForms, Integer

FLOATS = frozenset({
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn",
})  # fmt: skip
INTEGERS = frozenset({"int2", "int4", "uint2", "uint4"})


@dataclass(frozen=True)
class SmallFloat(Float):
    """`bfloat16` and the float8, float6 and float4 families; a float6 or float4 occupies a byte."""

    names: ClassVar[frozenset[str]] = FLOATS

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self.name))
        return dtype

    @cached_property
    def carrier(self) -> np.dtype[Any]:
        return np.dtype(f"u{self.numpy.itemsize}")

    @cached_property
    def forms(self) -> FloatForms:
        found = re.match(r"float([46])_", self.name)
        return FloatForms(self.numpy, int(found[1]) if found else self.numpy.itemsize * 8)

    @cached_property
    def has_spare_bits(self) -> bool:
        return self.forms.significant < self.numpy.itemsize * 8

    def default_fill(self) -> Any:
        """Zero; for `float8_e8m0fnu`, which has none, its least number."""
        return np.zeros((), self.carrier).view(self.numpy)[()]

    def fill_from_user(self, value: Any) -> Any:
        if self.name == "float8_e8m0fnu" and isinstance(value, int | float) and value <= 0:
            raise MetadataError("fill_value: data type float8_e8m0fnu has neither zero nor negative numbers")
        return super().fill_from_user(value)

    def sanitize(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        mask = (1 << self.forms.significant) - 1
        bits: np.ndarray[Any, Any] = np.ascontiguousarray(array).view(self.carrier) & self.carrier.type(mask)
        return bits.view(self.numpy)


@dataclass(frozen=True)
class SmallInteger(Integer):
    """`int2`, `int4`, `uint2`, `uint4`: one byte each in memory, whose upper bits a reader ignores."""

    names: ClassVar[frozenset[str]] = INTEGERS

    @property
    def has_spare_bits(self) -> bool:
        return True

    @cached_property
    def bits(self) -> int:
        """How many bits a number has."""
        return int(re.sub(r"\D", "", self.name))

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self.name))
        return dtype

    @cached_property
    def carrier(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    @cached_property
    def limits(self) -> tuple[int, int]:
        return (
            (0, 2**self.bits - 1)
            if self.name[0] == "u"
            else (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1)
        )

    def sanitize(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        mask = self.carrier.type((1 << self.bits) - 1)  # so ml_dtypes keeps them, negative ones too
        bits: np.ndarray[Any, Any] = np.ascontiguousarray(array).view(self.carrier) & mask
        return bits.view(self.numpy)

    def scalar(self, number: int) -> Any:
        return np.array(number, dtype=np.int8).astype(self.numpy)[()]


COMPLEX = {"complex_float16": ("complex32", "float16"), "complex_bfloat16": ("bcomplex32", "bfloat16")}
"""What ml_dtypes calls them, and what it calls their parts."""


@dataclass(frozen=True)
class SmallComplex(Complex):
    """`complex_float16` and `complex_bfloat16`."""

    names: ClassVar[frozenset[str]] = frozenset(COMPLEX)

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        return next((cls(name) for name, (theirs, _) in COMPLEX.items() if theirs == dtype.name), None)

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, COMPLEX[self.name][0]))
        return dtype

    @cached_property
    def carrier(self) -> np.dtype[Any]:
        return np.dtype([("real", np.uint16), ("imaginary", np.uint16)])

    @cached_property
    def forms(self) -> FloatForms:
        part = COMPLEX[self.name][1]
        return FloatForms(np.dtype(getattr(ml_dtypes, part, part)))
