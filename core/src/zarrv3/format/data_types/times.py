"""`numpy.datetime64` and `numpy.timedelta64` of zarr-extensions."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from zarrv3.format.data_types.base import DataType
from zarrv3.format.extensions import check_members, choice, integer
from zarrv3.store.contract import JSON

UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "μs", "ns", "ps", "fs", "as", "generic")
_KINDS = {"numpy.datetime64": "M", "numpy.timedelta64": "m"}
_NAT = -(2**63)


@dataclass(frozen=True)
class Time(DataType):
    """A point in time or a duration: 64-bit counts of `scale_factor` units; the least integer is "not a time"."""

    has_byte_order = True

    name: str
    unit: str = "generic"
    scale_factor: int = 1

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        owner = f"data type {name!r}"
        check_members(owner, configuration, ["unit", "scale_factor"])
        unit = choice(f"{owner}: unit", configuration["unit"], UNITS)
        scale = integer(f"{owner}: scale_factor", configuration["scale_factor"], 1, 2**31 - 1)
        return cls(name, unit, scale)

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        if dtype.kind not in "mM":
            return None
        unit, scale = np.datetime_data(dtype)
        return cls("numpy.datetime64" if dtype.kind == "M" else "numpy.timedelta64", unit, scale)

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        letter = _KINDS[self.name]
        if self.unit == "generic":
            return np.dtype(f"{letter}8")
        unit = "us" if self.unit == "μs" else self.unit
        return np.dtype(f"{letter}8[{self.scale_factor}{unit}]")

    def to_json(self) -> JSON:
        return {"name": self.name, "configuration": {"unit": self.unit, "scale_factor": self.scale_factor}}

    def default_fill(self) -> Any:
        """Not a time, as in zarr-python 3."""
        return self._scalar(_NAT)

    def fill_from_user(self, value: Any) -> Any:
        """A count of units, `"NaT"`, or a date or duration that this type holds without loss."""
        if isinstance(value, np.datetime64 | np.timedelta64 | dt.date | dt.timedelta):
            return self._converted(value)
        if isinstance(value, np.integer):
            value = int(value)
        if isinstance(value, str) and value != "NaT":
            return self._converted(value)
        return self.fill_from_json(value)

    def fill_from_json(self, value: JSON) -> Any:
        if value == "NaT":
            return self._scalar(_NAT)
        if isinstance(value, bool) or not isinstance(value, int) or not _NAT <= value < 2**63:
            self.refuse(value)
        return self._scalar(value)

    def fill_to_json(self, value: Any) -> JSON:
        """The count, also for "not a time": zarr-python 3.1 writes it so and everybody reads it."""
        return int(np.asarray(value, dtype=self.numpy).view(np.int64)[()])

    def _scalar(self, count: int) -> Any:
        return np.array(count, dtype=np.int64).view(self.numpy)[()]

    def _converted(self, value: Any) -> Any:
        # numpy's conversion wraps around silently: what comes back must be what went in
        try:
            given = np.asarray(value, _KINDS[self.name] + "8" if isinstance(value, str) else None)
            if given.dtype.kind != self.numpy.kind:
                self.refuse(value)
            converted = given.astype(self.numpy, casting="unsafe")
            generic = "generic" in {self.unit, np.datetime_data(given.dtype)[0]}
            exact = (
                np.isnat(given) or generic or bool(converted.astype(given.dtype, casting="unsafe") == given)
            )
        except (TypeError, ValueError, OverflowError):
            self.refuse(value)
        return converted[()] if exact else self.refuse(value)
