"""`struct`: records of named fields, packed without padding; also its legacy alias `structured`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.data_types.base import DataType, is_zero
from zarrv3.format.data_types.binary import bytes_from_json, bytes_to_json
from zarrv3.format.data_types.parsing import data_type_of, parse_data_type
from zarrv3.format.extensions import check_members, shown
from zarrv3.store.contract import JSON


@dataclass(frozen=True)
class Struct(DataType):
    """Records. New arrays are called `struct`; a document that says `structured` keeps that name and its forms.

    zarr-extensions forbids writing `structured`, yet it is all that zarr-python 3.1 knows: whoever writes for that
    version asks for `{"name": "structured", "configuration": {"fields": [["a", "int32"]]}}`.
    """

    fields: tuple[tuple[str, DataType], ...]
    legacy: bool = False

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"data type {name!r}", configuration, ["fields"])
        fields = configuration["fields"]
        if not isinstance(fields, list | tuple) or not fields:
            raise MetadataError(f"data type {name!r}: fields must be a list with at least one field")
        pairs = [_pair(name, field) for field in fields]
        return cls(
            tuple((label, parse_data_type(data_type)) for label, data_type in pairs),
            legacy=name == "structured",
        )

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        if dtype.names is None or dtype.fields is None:
            return None
        return cls(tuple((name, data_type_of(dtype.fields[name][0])) for name in dtype.names))

    def __post_init__(self) -> None:
        """Check what the specification asks of fields."""
        names = [name for name, _ in self.fields]
        if not names or "" in names or len(set(names)) != len(names):
            raise MetadataError(
                f"data type struct: field names must be unique and not empty, not {shown(names)}"
            )
        if loose := [name for name, data_type in self.fields if data_type.item_size is None]:
            raise MetadataError(f"data type struct: fields must have a fixed size: {', '.join(loose)}")
        if sum(data_type.item_size or 0 for _, data_type in self.fields) >= 2**31:
            raise MetadataError("data type struct: an element of more than 2 GiB")

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype([(name, data_type.numpy) for name, data_type in self.fields])

    @cached_property
    def carrier(self) -> np.dtype[Any]:
        return np.dtype([(name, data_type.carrier) for name, data_type in self.fields])

    @cached_property
    def has_byte_order(self) -> bool:
        return any(data_type.has_byte_order for _, data_type in self.fields)

    @cached_property
    def implied_endian(self) -> str | None:
        return "little" if self.legacy else None

    @cached_property
    def has_spare_bits(self) -> bool:
        return any(data_type.has_spare_bits for _, data_type in self.fields)

    def to_json(self) -> JSON:
        if self.legacy:
            pairs = [[name, data_type.to_json()] for name, data_type in self.fields]
            return {"name": "structured", "configuration": {"fields": pairs}}
        fields = [{"name": name, "data_type": data_type.to_json()} for name, data_type in self.fields]
        return {"name": "struct", "configuration": {"fields": fields}}

    def default_fill(self) -> Any:
        return self._record(data_type.default_fill() for _, data_type in self.fields)

    def fill_from_user(self, value: Any) -> Any:
        """A mapping, tuple, list or record with a value for each field; 0 is zero bytes."""
        if is_zero(value):
            return np.zeros((), self.numpy)[()]
        if isinstance(value, np.void) and value.dtype.names is not None:
            value = {name: value[name] for name in value.dtype.names}
        if isinstance(value, list | tuple) and len(value) == len(self.fields):
            value = {name: item for (name, _), item in zip(self.fields, value, strict=True)}
        return self._of_mapping(value, lambda data_type, item: data_type.cast_fill(item))

    def fill_from_json(self, value: JSON) -> Any:
        """An object with a value for each field, or base64 of the packed little-endian bytes (old zarr-python)."""
        if isinstance(value, str):
            data = bytes_from_json(value)
            if data is None or len(data) != self.item_size:
                self.refuse(value)
            return np.frombuffer(data, self._little)[0].astype(self.carrier).view(self.numpy)
        return self._of_mapping(value, lambda data_type, item: data_type.fill_from_json(item))

    def fill_to_json(self, value: Any) -> JSON:
        record = np.asarray(value, dtype=self.numpy)[()]
        if self.legacy:
            return bytes_to_json(np.asarray(record).view(self.carrier).astype(self._little).tobytes())
        return {name: data_type.fill_to_json(record[name]) for name, data_type in self.fields}

    def sanitize(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        for name, data_type in self.fields:
            if data_type.has_spare_bits:
                clean = data_type.sanitize(np.ascontiguousarray(array[name]))
                if not np.array_equal(clean.view(np.uint8), np.ascontiguousarray(array[name]).view(np.uint8)):
                    array = array if array.flags.writeable else array.copy()
                    array[name] = clean
        return array

    @property
    def _little(self) -> np.dtype[Any]:
        return self.carrier.newbyteorder("<")

    def _of_mapping(self, value: Any, convert: Callable[[DataType, Any], Any]) -> Any:
        if not isinstance(value, Mapping) or set(value) != {name for name, _ in self.fields}:
            self.refuse(value)
        return self._record(convert(data_type, value[name]) for name, data_type in self.fields)

    def _record(self, values: Any) -> Any:
        record = np.zeros((), self.numpy)
        for (name, _), item in zip(self.fields, values, strict=True):
            record[name] = item
        return record[()]


def _pair(owner: str, field: JSON) -> tuple[str, JSON]:
    """Name and type of a field in either form: an object, or a legacy pair."""
    if isinstance(field, Mapping):
        check_members(f"data type {owner!r}: field", field, ["name", "data_type"])
        name, data_type = field["name"], field["data_type"]
    elif isinstance(field, list | tuple) and len(field) == 2:
        name, data_type = field
    else:
        raise MetadataError(
            f"data type {owner!r}: a field is an object with name and data_type, not {shown(field)}"
        )
    if not isinstance(name, str):
        raise MetadataError(f"data type {owner!r}: a field name must be a string, not {shown(name)}")
    return name, data_type
