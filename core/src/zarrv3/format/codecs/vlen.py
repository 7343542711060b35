"""`vlen-utf8` and `vlen-bytes`: a count of elements, then length and bytes of each (all lengths 32-bit little-endian)."""

import struct
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs.base import Array, ArrayBytesCodec, ChunkSpec, Declared
from zarrv3.format.codecs.support import lazy
from zarrv3.format.extensions import shown
from zarrv3.store.contract import Buffer

_LENGTH = struct.Struct("<I")
_MAX_LENGTH = 2**32 - 1


@dataclass(frozen=True)
class _VLen(Declared, ArrayBytesCodec):
    """What the two have in common: the layout."""

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type."""
        if spec.data_type.serializer != self.name:
            raise MetadataError(f"codec {self.name!r} cannot encode data type {spec.data_type.describe()}")
        if spec.item_count > _MAX_LENGTH:
            raise MetadataError(f"codec {self.name!r} encodes at most {_MAX_LENGTH} elements per chunk")
        return self

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        parts = [_LENGTH.pack(spec.item_count)]
        for item in self._items(array):
            if len(item) > _MAX_LENGTH:
                raise MetadataError(f"codec {self.name!r}: an element of {len(item)} bytes is too long")
            parts.append(_LENGTH.pack(len(item)))
            parts.append(item)
        return b"".join(parts)

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        if len(buffer) < 4:
            raise CorruptDataError(f"{self.name}: {len(buffer)} bytes are too few")
        if (count := _LENGTH.unpack_from(buffer)[0]) != spec.item_count:
            raise CorruptDataError(f"{self.name}: {count} elements where {spec.item_count} are expected")
        # every element needs four bytes at least: nothing is allocated for a count that is a lie
        if len(buffer) < 4 + 4 * count:
            raise CorruptDataError(f"{self.name}: the bytes end too early")
        array = self._array(bytes(buffer), count).reshape(spec.shape)
        if out is None:
            return array
        out[...] = array
        return out

    @abstractmethod
    def _items(self, array: Array) -> Iterable[bytes]:
        """The elements in C order, encoded."""

    @abstractmethod
    def _array(self, data: bytes, count: int) -> Array:
        """The elements in one dimension."""

    def _split(self, data: bytes, count: int) -> list[bytes]:
        """The encoded elements, with every length checked."""
        items = []
        position, end = 4, len(data)
        unpack = _LENGTH.unpack_from
        for _ in range(count):
            start = position + 4
            if start > end:
                raise CorruptDataError(f"{self.name}: the bytes end too early")
            position = start + unpack(data, position)[0]
            items.append(data[start:position])
        if position != end:  # an element that reaches over the end has moved the position there
            raise CorruptDataError(
                f"{self.name}: the lengths of the elements do not add up to the {end} bytes there are"
            )
        return items


@dataclass(frozen=True)
class VLenUTF8Codec(_VLen):
    """Text as UTF-8."""

    name: ClassVar[str] = "vlen-utf8"

    def native(self, spec: ChunkSpec) -> str:  # noqa: ARG002
        return self.name

    def _items(self, array: Array) -> Iterable[bytes]:
        try:
            return [item.encode() for item in array.ravel().tolist()]
        except (AttributeError, UnicodeEncodeError) as error:
            raise MetadataError(f"codec 'vlen-utf8' cannot encode an element as UTF-8: {error}") from error

    def _array(self, data: bytes, count: int) -> Array:
        dtype = np.dtypes.StringDType()
        if data.isascii():  # no length has its upper bit set, which numcodecs would take for a negative one
            try:
                items = lazy("numcodecs.vlen").VLenUTF8().decode(data).tolist()
            except ValueError as error:
                raise CorruptDataError(f"vlen-utf8: {error}") from error
            if sum(map(len, items)) + 4 * count + 4 != len(data):
                raise CorruptDataError("vlen-utf8: bytes after the last element")
            return np.array(items, dtype=dtype)
        try:
            return np.array([str(item, "utf-8") for item in self._split(data, count)], dtype=dtype)
        except UnicodeDecodeError as error:
            raise CorruptDataError(f"vlen-utf8: an element is not UTF-8: {error.reason}") from error


@dataclass(frozen=True)
class VLenBytesCodec(_VLen):
    """Byte strings as they are."""

    name: ClassVar[str] = "vlen-bytes"

    def _items(self, array: Array) -> Iterable[bytes]:
        items = array.ravel().tolist()
        for item in items:
            if not isinstance(item, bytes):
                raise MetadataError(f"an array of data type bytes holds byte strings, not {shown(item)}")
        return items

    def _array(self, data: bytes, count: int) -> Array:
        array = np.empty(count, dtype=object)
        array[:] = self._split(data, count)
        return array
