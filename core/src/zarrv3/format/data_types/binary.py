"""Elements that are bytes: raw bits, null-terminated and variable-length byte strings."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.data_types.base import DataType, Named
from zarrv3.format.data_types.parsing import RAW_NAME
from zarrv3.format.extensions import check_members, integer
from zarrv3.store.contract import JSON

_MAX_LENGTH = 2**31 - 1  # what numpy can hold in one element


def bytes_from_json(value: JSON) -> bytes | None:
    """Bytes of a list of integers or of base64 text; `None` if it is neither."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return None
    if isinstance(value, list | tuple) and all(type(item) is int and 0 <= item <= 255 for item in value):
        return bytes(value)
    return None


def bytes_to_json(value: bytes) -> str:
    """Base64 text."""
    return base64.b64encode(value).decode("ascii")


def length_bytes(name: str, configuration: Mapping[str, JSON], multiple: int = 1) -> int:
    """The member `length_bytes`, the only one of several types."""
    check_members(f"data type {name!r}", configuration, ["length_bytes"])
    length = integer(f"data type {name!r}: length_bytes", configuration["length_bytes"], 1, _MAX_LENGTH)
    if length % multiple:
        raise MetadataError(
            f"data type {name!r}: length_bytes must be a multiple of {multiple}, not {length}"
        )
    return length


@dataclass(frozen=True)
class Raw(DataType):
    """Opaque bytes: `r16` of the specification, `raw_bytes` of zarr-python; in memory numpy's `V2`.

    The dtype `V2` is written as `raw_bytes` with a fill value in base64, which zarr-python 3.1 and TensorStore read;
    neither reads `r16` with the fill value that the specification gives it. Ask for `r16` by name to write that.
    """

    zero_is_default = True

    length: int
    name: str = ""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        if name == "raw_bytes":
            return cls(length_bytes(name, configuration), name)
        match = re.fullmatch(RAW_NAME, name)
        if match is None or int(match[1]) % 8 or int(match[1]) // 8 > _MAX_LENGTH:
            raise MetadataError(f"data type {name!r}: raw bits are called r8, r16, r24, …")
        check_members(f"data type {name!r}", configuration)
        return cls(int(match[1]) // 8)

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        is_raw = dtype.type is np.void and dtype.names is None and dtype.subdtype is None
        return cls(dtype.itemsize, "raw_bytes") if is_raw and dtype.itemsize else None

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype((np.void, self.length))

    def to_json(self) -> JSON:
        if self.name:
            return {"name": self.name, "configuration": {"length_bytes": self.length}}
        return f"r{self.length * 8}"

    def default_fill(self) -> Any:
        return self._scalar(bytes(self.length))

    def fill_from_user(self, value: Any) -> Any:
        """Bytes of the right length, or a void scalar."""
        data = value.tobytes() if isinstance(value, np.void) else value
        if not isinstance(data, bytes | bytearray | memoryview) or len(bytes(data)) != self.length:
            self.refuse(value)
        return self._scalar(bytes(data))

    def fill_from_json(self, value: JSON) -> Any:
        data = bytes_from_json(value)
        return self.refuse(value) if data is None or len(data) != self.length else self._scalar(data)

    def fill_to_json(self, value: Any) -> JSON:
        data = np.asarray(value, dtype=self.numpy).tobytes()
        return bytes_to_json(data) if self.name else list(data)

    def _scalar(self, data: bytes) -> Any:
        return np.frombuffer(data, dtype=self.numpy)[0]


@dataclass(frozen=True)
class Padded(DataType):
    """What numpy pads with zeros to a fixed length, and drops zeros from at the end."""

    zero_is_default = True

    name: ClassVar[str]
    scalar: ClassVar[type[np.bytes_ | np.str_]]
    unit: ClassVar[int] = 1
    """The bytes of one of `length`."""

    length: int

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        return cls(length_bytes(name, configuration, cls.unit) // cls.unit)

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:
        return cls(dtype.itemsize // cls.unit) if dtype.type is cls.scalar and dtype.itemsize else None

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype((self.scalar, self.length))

    def to_json(self) -> JSON:
        return {"name": self.name, "configuration": {"length_bytes": self.length * self.unit}}

    def default_fill(self) -> Any:
        return self.scalar()


class NullTerminatedBytes(Padded):
    """`null_terminated_bytes`: numpy's `S`, which drops trailing zero bytes."""

    name = "null_terminated_bytes"
    scalar = np.bytes_

    def fill_from_user(self, value: Any) -> Any:
        """Bytes, or ASCII text, that are not too long."""
        if isinstance(value, str) and value.isascii():
            value = value.encode("ascii")
        return self._scalar(value, value)

    def fill_from_json(self, value: JSON) -> Any:
        return self._scalar(value, bytes_from_json(value))

    def fill_to_json(self, value: Any) -> JSON:
        return bytes_to_json(bytes(value))

    def _scalar(self, value: Any, data: Any) -> Any:
        if not isinstance(data, bytes) or len(data.rstrip(b"\0")) > self.length:
            self.refuse(value)
        return np.bytes_(data.rstrip(b"\0"))


@dataclass(frozen=True)
class VariableBytes(Named):
    """`bytes`, which zarr-python 3.1 calls `variable_length_bytes`: byte strings of any length.

    In memory an object array whose elements are all `bytes`; nothing else ever goes in or comes out of a store.
    zarr-python reads both names; `bytes` is the registered one and is written unless a document says otherwise.
    """

    serializer = "vlen-bytes"
    zero_is_default = True
    item_size = None
    numpy = np.dtype(object)

    name: str = "bytes"

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:  # noqa: ARG003 - objects could be anything: never guessed
        return None

    def default_fill(self) -> Any:
        return b""

    def fill_from_user(self, value: Any) -> Any:
        """Bytes."""
        return bytes(value) if isinstance(value, bytes | bytearray) else self.refuse(value)

    def fill_from_json(self, value: JSON) -> Any:
        data = bytes_from_json(value)
        return self.refuse(value) if data is None else data

    def fill_to_json(self, value: Any) -> JSON:
        return bytes_to_json(value)
