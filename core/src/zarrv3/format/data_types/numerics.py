"""Booleans, integers, floating point and complex numbers: the core data types of the specification."""

import math
import operator
import re
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError
from zarrv3.format.data_types.base import Named
from zarrv3.store.contract import JSON

_HEX = r"0x[0-9a-fA-F]+"
_SMALL = 2**12  # up to here bytes.translate beats the set-up of a numpy reduction
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _Number(Named):
    """A type that is named like numpy's.

    Subclasses without fields of their own are dataclasses by inheritance: making one takes a hundredth of the time to
    import zarrv3.
    """

    names: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        return cls(dtype.name) if dtype.name in cls.names else None

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.name)

    @cached_property
    def has_byte_order(self) -> bool:
        return self.numpy.itemsize > 1

    def default_fill(self) -> Any:
        return self.numpy.type(0)


class Bool(_Number):
    """`bool`: one byte, 0 or 1."""

    names: ClassVar[frozenset[str]] = frozenset({"bool"})
    has_spare_bits = True

    def fill_from_user(self, value: Any) -> Any:
        """True or false; 0 and 1 are taken for them."""
        if isinstance(value, bool | np.bool_ | int | np.integer) and int(value) in {0, 1}:
            return np.bool_(value)
        return self.refuse(value)

    def fill_from_json(self, value: JSON) -> Any:
        return np.bool_(value) if isinstance(value, bool) else self.refuse(value)

    def fill_to_json(self, value: Any) -> JSON:
        return bool(value)

    def sanitize(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if array.nbytes <= _SMALL:
            wrong = bool(array.tobytes().translate(None, b"\0\1"))
        else:
            wrong = bool(array.view(np.uint8).max() > 1)
        if wrong:
            raise CorruptDataError("a boolean is neither 0 nor 1")
        return array


class Integer(_Number):
    """`int8` … `int64`, `uint8` … `uint64`."""

    number = "integer"
    names: ClassVar[frozenset[str]] = frozenset(
        f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
    )

    @cached_property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest value."""
        info = np.iinfo(self.numpy)
        return int(info.min), int(info.max)

    def fill_from_user(self, value: Any) -> Any:
        """An integer in range; a float without fraction and a boolean are taken for one."""
        if isinstance(value, float | np.floating) and math.isfinite(value) and value == math.floor(value):
            value = int(value)
        try:
            # not every scalar has __index__
            is_whole = isinstance(value, np.bool_) or getattr(value, "dtype", None) == self.numpy
            number = operator.index(int(value) if is_whole else value)
        except TypeError:
            return self.refuse(value)
        low, high = self.limits
        return self.scalar(number) if low <= number <= high else self.refuse(value)

    def fill_from_json(self, value: JSON) -> Any:
        """An integer; `1.0` (a spelling that some writers use) is read as one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(value)
        return self.fill_from_user(value)

    def fill_to_json(self, value: Any) -> JSON:
        return int(value)

    def scalar(self, number: int) -> Any:
        """A number within the limits as a scalar of this type."""
        return self.numpy.type(number)


class FloatForms:
    """JSON forms of one floating point number (core specification, "Permitted fill values").

    Args:
        dtype: its dtype.
        significant: how many bits a number has, where that is not all of its bytes.
    """

    def __init__(self, dtype: np.dtype[Any], significant: int | None = None) -> None:
        self.dtype = dtype
        self.significant = dtype.itemsize * 8 if significant is None else significant
        self.bits = np.dtype(f"u{dtype.itemsize}")
        self.special: dict[str, int] = {}
        for name, value in _SPECIAL.items():
            number = self.rounded(value)
            if _is_same(float(number), value):  # numpy makes something else of what a type does not have
                self.special[name] = int(np.array(number).view(self.bits)[()])

    def scalar(self, bits: int) -> Any:
        return np.array(bits, dtype=self.bits).view(self.dtype)[()]

    def read(self, value: JSON) -> Any:
        """The number; `None` if the value is not a form of one."""
        if isinstance(value, str):
            if value in self.special:
                return self.scalar(self.special[value])
            if re.fullmatch(_HEX, value) and int(value, 16) < 1 << self.significant:
                return self.scalar(int(value, 16))
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return self.rounded(value)

    def rounded(self, value: float) -> Any:
        try:
            with np.errstate(all="ignore"):
                return np.array(float(value)).astype(self.dtype)[()]
        except OverflowError:
            return None

    def cast(self, value: Any) -> Any:
        """A user's number; `None` if it is not a number or becomes infinite."""
        if isinstance(value, np.generic) and value.dtype == self.dtype:
            return np.asarray(value).astype(self.dtype)[()]
        if isinstance(value, str):
            return self.read(value)
        if isinstance(value, complex | np.complexfloating) or not hasattr(value, "__float__"):
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        rounded = self.rounded(number)
        found = float(rounded)
        is_kept = math.isfinite(found) if math.isfinite(number) else _is_same(found, number)
        return rounded if is_kept else None

    def write(self, value: Any) -> JSON:
        """A JSON number, `"NaN"`, `"Infinity"`, `"-Infinity"`, or hex where only that keeps the bits."""
        array = np.asarray(value, dtype=self.dtype)
        bits = int(array.view(self.bits)[()])
        number = float(array[()])
        if math.isfinite(number):
            return number
        for name, special in self.special.items():
            if bits == special:
                return name
        return f"0x{bits:0{self.dtype.itemsize * 2}x}"


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


float_forms = lru_cache(FloatForms)
"""The forms of a number of a dtype, made once."""


class Float(_Number):
    """`float16`, `float32`, `float64`; NaN payloads survive in every direction."""

    number = "float"
    names: ClassVar[frozenset[str]] = frozenset({"float16", "float32", "float64"})

    @cached_property
    def forms(self) -> FloatForms:
        """The JSON forms of a number of this type."""
        return float_forms(self.numpy)

    def fill_from_user(self, value: Any) -> Any:
        """A real number that does not overflow, or one of the JSON texts."""
        number = self.forms.cast(value)
        return self.refuse(value) if number is None else number

    def fill_from_json(self, value: JSON) -> Any:
        number = self.forms.read(value)
        return self.refuse(value) if number is None else number

    def fill_to_json(self, value: Any) -> JSON:
        return self.forms.write(value)


class Complex(_Number):
    """`complex64`, `complex128`, which are also called `complex_float32` and `complex_float64`."""

    number = "complex"
    names: ClassVar[frozenset[str]] = frozenset({"complex64", "complex128"})

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype({"complex_float32": "c8", "complex_float64": "c16"}.get(self.name, self.name))

    @cached_property
    def forms(self) -> FloatForms:
        """The JSON forms of either part."""
        return float_forms(np.dtype(f"f{self.numpy.itemsize // 2}"))

    @property
    def component(self) -> np.dtype[Any]:
        return self.forms.dtype

    def fill_from_user(self, value: Any) -> Any:
        """A number, or a pair of what a real part may be; each part keeps its bits (`1+inf j` stays that)."""
        if isinstance(value, list | tuple):
            parts = tuple(value)
        elif isinstance(value, np.generic) and value.dtype == self.numpy:
            parts = tuple(np.asarray(value).reshape(1).view(self.forms.dtype))
        elif isinstance(value, complex | np.complexfloating):
            parts = (value.real, value.imag)
        else:
            parts = (value, 0.0)
        return self._pair(value, parts, self.forms.cast)

    def fill_from_json(self, value: JSON) -> Any:
        return self._pair(value, value if isinstance(value, list | tuple) else (), self.forms.read)

    def fill_to_json(self, value: Any) -> JSON:
        parts = np.asarray(value, dtype=self.numpy).reshape(1).view(self.forms.dtype)
        return [self.forms.write(part) for part in parts]

    def _pair(self, value: Any, parts: Any, convert: Any) -> Any:
        numbers = [convert(part) for part in parts]
        if len(numbers) != 2 or any(part is None for part in numbers):
            self.refuse(value)
        return np.array(numbers, dtype=self.forms.dtype).view(self.numpy)[0]
