"""`bytes`: the elements in C order, one after the other, in a byte order that the document names."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.codecs.base import Array, ArrayBytesCodec, ChunkSpec, Declared
from zarrv3.format.codecs.support import wrong_size
from zarrv3.format.extensions import choice
from zarrv3.store.contract import JSON, Buffer


def _endian(owner: str, value: JSON) -> str | None:
    return None if value is None else choice(owner, value, ("little", "big"))


@dataclass(frozen=True)
class BytesCodec(Declared, ArrayBytesCodec):
    """The plain memory of an array; `endian` is needed wherever elements have a byte order."""

    name: ClassVar[str] = "bytes"
    endian: Annotated[str | None, _endian] = "little"

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        return super().from_json(name, {"endian": None, **configuration})

    def evolve(self, spec: ChunkSpec) -> Self:
        """Without a byte order where none is needed."""
        data_type = spec.data_type
        if data_type.item_size is None:
            raise MetadataError(
                f"codec 'bytes' cannot encode data type {data_type.describe()}, whose elements vary in length"
            )
        if not data_type.has_byte_order:
            return replace(self, endian=None)
        if self.endian is None and data_type.implied_endian is None:
            raise MetadataError(
                f"codec 'bytes' needs endian (little or big) for data type {data_type.describe()}"
            )
        return self

    def native(self, spec: ChunkSpec) -> int | str | None:
        carrier = spec.data_type.carrier
        if not self._swaps(spec) or spec.data_type.has_spare_bits or carrier.kind not in "iufc":
            return super().native(spec)
        return carrier.itemsize // (2 if carrier.kind == "c" else 1)

    def is_plain(self, spec: ChunkSpec) -> bool:
        return not spec.data_type.has_spare_bits and not self._swaps(spec)

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        return spec.nbytes

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        if self._swaps(spec):
            return np.ascontiguousarray(array).view(spec.data_type.carrier).byteswap().tobytes()
        return array.tobytes()

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        size = spec.nbytes
        assert size is not None
        if len(buffer) != size:
            raise wrong_size("bytes", len(buffer), size)
        data_type = spec.data_type
        array: Array = np.frombuffer(buffer, data_type.carrier, count=spec.item_count).reshape(spec.shape)
        array.flags.writeable = False
        if self._swaps(spec):
            array = array.byteswap()
        array = array.view(data_type.numpy)
        if data_type.has_spare_bits:
            array = data_type.sanitize(array)
        if out is None:
            return array
        out[...] = array
        return out

    def _swaps(self, spec: ChunkSpec) -> bool:
        data_type = spec.data_type
        return (
            data_type.has_byte_order
            and (self.endian or data_type.implied_endian or "little") != sys.byteorder
        )
