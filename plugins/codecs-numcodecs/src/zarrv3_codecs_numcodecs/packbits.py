"""`packbits` of zarr-extensions: elements of a few bits without gaps between them."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs.base import Array, ArrayBytesCodec, ChunkSpec, Declared
from zarrv3.format.codecs.support import wrong_size
from zarrv3.format.data_types import DataType
from zarrv3.format.extensions import choice, integer
from zarrv3.store.contract import Buffer


@dataclass(frozen=True)
class PackBits(Declared, ArrayBytesCodec):
    """The bits `first_bit` to `last_bit` of every component, least significant first."""

    name: ClassVar[str] = "packbits"
    padding_encoding: Annotated[str, partial(choice, allowed=("none", "first_byte", "last_byte"))] = "none"
    first_bit: Annotated[int | None, partial(integer, low=0, high=63)] = None
    last_bit: Annotated[int | None, partial(integer, low=0, high=63)] = None

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type."""
        first, last, _ = self._bits(spec.data_type)
        width = component_bits(spec.data_type)
        if not first <= last < width:
            raise MetadataError(f"codec 'packbits': bits {first} to {last} of {width}")
        return self

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        first, last, components = self._bits(spec.data_type)
        payload = -(-spec.item_count * components * (last - first + 1) // 8)
        return payload + (self.padding_encoding != "none")

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        first, last, _ = self._bits(spec.data_type)
        words = _little(np.ascontiguousarray(array), spec.data_type)
        rows = np.unpackbits(words, axis=1, bitorder="little")[:, first : last + 1]
        packed = np.packbits(rows.reshape(-1), bitorder="little").tobytes()
        padding = bytes([-rows.size % 8])
        if self.padding_encoding == "first_byte":
            return padding + packed
        return packed + padding if self.padding_encoding == "last_byte" else packed

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        size = self.encoded_size(spec)
        if len(buffer) != size:
            raise wrong_size("packbits", len(buffer), size or 0)
        first, last, components = self._bits(spec.data_type)
        data_type, kept, items = spec.data_type, last - first + 1, spec.item_count * components
        data = np.frombuffer(buffer, np.uint8)
        if self.padding_encoding != "none":
            place, data = (
                (data[0], data[1:]) if self.padding_encoding == "first_byte" else (data[-1], data[:-1])
            )
            if place != -items * kept % 8:
                raise CorruptDataError(f"packbits: says {place} bits of padding")
        word = _word(data_type)
        width = word.itemsize * 8
        rows = np.zeros((items, width), np.uint8)
        rows[:, first : last + 1] = np.unpackbits(data, count=items * kept, bitorder="little").reshape(
            items, kept
        )
        if data_type.numpy.kind == "i" or data_type.to_json() in {"int2", "int4"}:
            top = component_bits(data_type)  # int2 and int4 leave the rest of their byte empty
            rows[:, last + 1 : top] = rows[:, last : last + 1]  # repeat the sign
        words = np.packbits(rows, axis=1, bitorder="little")
        array: Array = words.reshape(-1).view(word.newbyteorder("<")).astype(word, copy=False)
        array = array.view(data_type.numpy).reshape(spec.shape)
        if out is None:
            return array
        out[...] = array
        return out

    def _bits(self, data_type: DataType) -> tuple[int, int, int]:
        """First and last bit that are kept, and the components of an element."""
        width = component_bits(data_type)
        first = 0 if self.first_bit is None else self.first_bit
        last = width - 1 if self.last_bit is None else self.last_bit
        return first, last, _components(data_type)


def component_bits(data_type: DataType) -> int:
    """How many bits of one component of an element are significant."""
    name = data_type.to_json()
    if data_type.number == "complex":
        return data_type.component.itemsize * 8
    if name == "bool":
        return 1
    for prefix, bits in (("int2", 2), ("uint2", 2), ("int4", 4), ("uint4", 4), ("float4", 4), ("float6_", 6)):
        if isinstance(name, str) and name.startswith(prefix):
            return bits
    if data_type.carrier.kind not in "iuf":
        raise MetadataError(f"codec 'packbits' cannot encode data type {data_type.describe()}")
    return data_type.numpy.itemsize * 8


def _components(data_type: DataType) -> int:
    """The parts of an element."""
    return data_type.numpy.itemsize // data_type.component.itemsize


def _word(data_type: DataType) -> np.dtype[Any]:
    """An unsigned integer of the size of a component."""
    return np.dtype(f"u{data_type.component.itemsize}")


def _little(array: Array, data_type: DataType) -> Array:
    """The little-endian bytes of every component, a row each."""
    words = array.reshape(-1).view(_word(data_type))
    little = words.astype(words.dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8).reshape(words.size, words.dtype.itemsize)
