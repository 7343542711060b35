"""Data types and fill values of old documents, as numpy dtypes and as the final format's data types."""

# ruff: noqa: D102 - what the methods of a data type do is said in the base class

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.format.data_types.base import is_zero, plain
from zarrv3.format.data_types.binary import bytes_from_json, bytes_to_json
from zarrv3.format.extensions import check_members, shown
from zarrv3.store.contract import JSON

DType = np.dtype[Any]

_TEXT = re.compile(
    r"bool|[|<>]?(?:b1|[iu][1248]|f[248]|c8|c16)|[<>][mM]8(?:\[[0-9]*[a-zA-Z]+\])?|\|?S[0-9]+|[<>]U[0-9]+|\|V[1-9][0-9]*"
)


def dtype_of(value: JSON) -> DType:
    """The dtype that a `data_type` stands for, in its byte order; raises `MetadataError`.

    Of an extension type only the member `type` counts: zarr-python 2 looked at nothing else.
    """
    spelling = value.get("type") if isinstance(value, dict) else value
    try:
        if isinstance(spelling, str):
            if spelling in {"|O", "|O8", "O"}:
                return np.dtype(object)
            if _TEXT.fullmatch(spelling):
                return np.dtype(spelling)
        elif isinstance(spelling, list) and spelling:
            return np.dtype([_field(item) for item in spelling])
    except (TypeError, ValueError, MemoryError) as error:
        raise MetadataError(f"data_type {shown(value)}: {error}") from error
    raise MetadataError(f"data_type {shown(value)} has no equivalent in the final format")


def _field(item: JSON) -> tuple[Any, ...]:
    """One field of a structured type: name, type and perhaps the shape of a sub-array."""
    if not isinstance(item, list) or len(item) not in {2, 3} or not isinstance(item[0], str):
        raise MetadataError(f"data_type: a field is [name, type] or [name, type, shape], not {shown(item)}")
    own = dtype_of(item[1])
    if own.hasobject:
        raise MetadataError(f"data_type: the field {item[0]!r} holds objects")
    return (item[0], own, tuple(item[2])) if len(item) == 3 else (item[0], own)


def byte_orders(dtype: DType) -> set[str]:
    """The byte orders of a dtype's elements: `little`, `big`, both, or none if no element has one."""
    if dtype.subdtype is not None:
        return byte_orders(dtype.subdtype[0])
    if dtype.fields is not None:
        return set().union(*(byte_orders(field[0]) for field in dtype.fields.values()))
    return {{"<": "little", ">": "big"}[dtype.str[0]]} if dtype.str[0] in "<>" else set()


def data_type(dtype: DType) -> DataType:
    """The final data type for a dtype without objects.

    Records for which the final format has no type become `zarr2.record`.
    """
    return Record(dtype) if is_mixed(dtype) else data_type_of(dtype)


def is_mixed(dtype: DType) -> bool:
    """Whether elements are records for which the final format has no type: with sub-arrays, or of both byte orders."""
    return dtype.fields is not None and (len(byte_orders(dtype)) > 1 or _has_arrays(dtype))


def _has_arrays(dtype: DType) -> bool:
    fields = [field[0] for field in (dtype.fields or {}).values()]
    return any(field.subdtype is not None or _has_arrays(field) for field in fields)


def fill_value(value: JSON, dtype: DType, data_type: DataType) -> JSON:
    """A draft fill value in the final spelling; `null` becomes the zero of the dtype."""
    if value is None:
        return data_type.fill_to_json(np.zeros((), data_type.numpy)[()])
    try:
        return data_type.fill_to_json(_scalar(value, dtype, data_type))
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, MetadataError):
            raise
        raise MetadataError(f"fill_value {shown(value)}: {error}") from error


def _scalar(value: JSON, dtype: DType, data_type: DataType) -> Any:
    if is_zero(value):  # what other writers say for any dtype
        return np.zeros((), data_type.numpy)[()]
    if dtype.kind == "f":
        return data_type.fill_from_json(_number(value))
    if dtype.kind == "c":
        if not isinstance(value, list) or len(value) != 2:
            data_type.refuse(value)
        return data_type.fill_from_json([_number(part) for part in value])
    if dtype.kind == "V":
        data = bytes_from_json(value) if isinstance(value, str) else None
        if data is None or len(data) != dtype.itemsize:
            data_type.refuse(value)
        return np.frombuffer(data, dtype)[0].astype(data_type.numpy)
    if dtype.kind in "biu" and type(value) in {int, float}:
        value = dtype.type(value).item() if dtype.type(value) == value else value
    return data_type.fill_from_json(value)  # zarr-python 2 and the final format agree


def _number(value: JSON) -> JSON:
    """A float's fill value: the draft has `+Infinity` and binary digits besides, other writers bare NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == "+Infinity":
        return "Infinity"
    if isinstance(value, str) and re.fullmatch(r"0b[01]+", value):
        digits = len(value) - 2
        return f"0x{int(value, 2):0{max(1, digits // 4)}x}"
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


# ---------------------------------------------------------------- records


@dataclass(frozen=True)
class Record(DataType):
    """`zarr2.record`: fields with sub-arrays, or of both byte orders, for which the final format has no data type.

    Elements are in memory as in the store. Only translated documents have it. The configuration is numpy's `descr`.
    """

    dtype: np.dtype[Any]

    portable: ClassVar[bool] = False

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"data type {name!r}", configuration, ["fields"])
        dtype = dtype_of(configuration["fields"])
        if dtype.fields is None:
            raise MetadataError(f"data type {name!r}: fields must be a list of fields")
        return cls(dtype)

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:  # noqa: ARG003 - only documents of drafts have it
        return None

    @property
    def numpy(self) -> np.dtype[Any]:
        return self.dtype

    def to_json(self) -> JSON:
        return {"name": "zarr2.record", "configuration": {"fields": _described(self.dtype)}}

    def default_fill(self) -> Any:
        return np.zeros((), self.dtype)[()]

    def cast_fill(self, value: Any) -> Any:
        """A record of this dtype; 0 is zero bytes."""
        value = plain(value)
        if value is None or is_zero(value):
            return self.default_fill()
        if not isinstance(value, np.void) or value.dtype != self.dtype:
            self.refuse(value)
        return value

    def fill_from_json(self, value: JSON) -> Any:
        data = bytes_from_json(value)
        if data is None or len(data) != self.dtype.itemsize:
            self.refuse(value)
        return np.frombuffer(data, self.dtype)[0]

    def fill_to_json(self, value: Any) -> JSON:
        return bytes_to_json(np.asarray(value, dtype=self.dtype).tobytes())


def _described(dtype: np.dtype[Any]) -> JSON:
    """A structured dtype as numpy's `descr`, in lists."""
    fields: list[JSON] = []
    for name in dtype.names or ():
        assert dtype.fields is not None
        field = dtype.fields[name][0]
        base, shape = field.subdtype if field.subdtype is not None else (field, ())
        spelled = _described(base) if base.names is not None else base.str
        fields.append([name, spelled, list(shape)] if shape else [name, spelled])
    return fields
