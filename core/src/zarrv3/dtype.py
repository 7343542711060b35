"""Data types by the names that zarr-python 3 has for them: `zarrv3.dtype.DateTime64(unit="s")`, wherever a dtype is taken.

Each is a data type of ours in zarr-python's words. Of version 2 they know nothing but numpy's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import UnknownDataTypeError
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.format.extensions import NamedConfig
from zarrv3.store.contract import JSON

NAMES: dict[str, tuple[str, ...]] = {
    "Bool": ("bool",),
    **{name: (name.lower(),) for name in (
        "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32", "Float64",
        "Complex64", "Complex128")},
    "VariableLengthUTF8": ("string",),
    "VariableLengthBytes": ("bytes", "variable_length_bytes"),
    "FixedLengthUTF32": ("fixed_length_utf32",),
    "NullTerminatedBytes": ("null_terminated_bytes",),
    "RawBytes": ("raw_bytes",),
    "DateTime64": ("numpy.datetime64",),
    "TimeDelta64": ("numpy.timedelta64",),
    "Struct": ("struct", "structured"),
    "Structured": ("struct", "structured"),
}  # fmt: skip
"""zarr-python's classes with the names in documents, the one that is written first."""

_UNIT_BYTES = {"FixedLengthUTF32": 4, "NullTerminatedBytes": 1, "RawBytes": 1}
"""The bytes of a unit of `length`."""

_TIMES = {"scale_factor": 1, "unit": "generic"}
"""What zarr-python's times have by default."""


@dataclass(frozen=True, init=False)
class ZDType:
    """A data type as zarr-python shows it."""

    data_type: DataType
    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, length: int | None = None, **configuration: Any) -> None:
        """From zarr-python's arguments; `endianness` is left to the codec `bytes`."""
        configuration.pop("endianness", None)
        if length is not None:
            configuration["length_bytes"] = length * _UNIT_BYTES[type(self).__name__]
        if type(self).__name__ in {"DateTime64", "TimeDelta64"}:
            configuration = {**_TIMES, **configuration}
        document = NamedConfig(self.names[0], configuration).to_json()
        object.__setattr__(self, "data_type", data_type_of(document))

    @classmethod
    def _of(cls, data_type: DataType) -> Self:
        made = cls.__new__(cls)
        object.__setattr__(made, "data_type", data_type)
        return made

    @classmethod
    def from_native_dtype(cls, dtype: Any) -> Self:
        """The data type of numpy's dtype; `UnknownDataTypeError` if it is not of this class."""
        found = parse_dtype(dtype)
        if not isinstance(found, cls):
            raise UnknownDataTypeError(f"{dtype!r} is {found.data_type.describe()}, not {cls.__name__}")
        return found

    def to_native_dtype(self) -> np.dtype[Any]:
        """The dtype of numpy."""
        return self.data_type.numpy

    def default_scalar(self) -> Any:
        """The fill value of an array that was created without one."""
        return self.data_type.default_fill()

    def cast_scalar(self, data: object) -> Any:
        """A value as a scalar of this type."""
        return self.data_type.cast_fill(data)

    def to_json(self, zarr_format: int = 3) -> JSON:
        """As a document has it; for version 2 with numpy's name."""
        if zarr_format == 3:
            return self.data_type.to_json()
        if self.data_type.item_size is None:
            return {"name": "|O", "object_codec_id": self.data_type.serializer}
        return {"name": self.data_type.numpy.str, "object_codec_id": None}

    def to_json_scalar(self, data: object, *, zarr_format: int = 3) -> JSON:  # noqa: ARG002 - the same in both
        """A value as a `fill_value` in a document."""
        return self.data_type.fill_to_json(self.data_type.cast_fill(data))

    def from_json_scalar(self, data: JSON, *, zarr_format: int = 3) -> Any:  # noqa: ARG002
        """The value that a `fill_value` in a document means."""
        return self.data_type.fill_from_json(data)


_CLASSES: dict[str, type[ZDType]] = {
    name: type(name, (ZDType,), {"names": names, "__module__": __name__}) for name, names in NAMES.items()
}


def parse_dtype(dtype_spec: Any, *, zarr_format: int = 3) -> ZDType:  # noqa: ARG001 - numpy's names are those of both
    """The data type of whatever `create_array` takes as `dtype`."""
    data_type = data_type_of(dtype_spec)
    name = NamedConfig.parse(data_type.to_json(), "data_type").name
    return next((cls for cls in _CLASSES.values() if name in cls.names), ZDType)._of(data_type)


parse_data_type = parse_dtype


def __getattr__(name: str) -> type[ZDType]:
    if name in _CLASSES:
        return _CLASSES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_CLASSES})
