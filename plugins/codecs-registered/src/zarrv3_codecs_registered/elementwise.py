"""What codecs share that make numbers of numbers, one by one."""

from abc import abstractmethod
from typing import Any

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.codecs import ArrayArrayCodec, ChunkSpec
from zarrv3.format.codecs.base import Array, Declared
from zarrv3.format.data_types import DataType


class Elementwise(Declared, ArrayArrayCodec):
    """Encodes every element by itself, so that the encoded fill value is that of the encoded array."""

    @abstractmethod
    def stored(self, data_type: DataType) -> DataType:
        """The data type of encoded elements."""

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """The encoded fill value, of the encoded type."""
        fill = self.encode(one(spec), spec._replace(shape=()))[()]
        return spec._replace(data_type=self.stored(spec.data_type), fill_value=fill)

    def check_number(self, data_type: DataType) -> None:
        """Raise `MetadataError` unless elements are integers or floats."""
        if data_type.number not in {"integer", "float"}:
            raise MetadataError(f"codec {self.name!r} cannot encode data type {data_type.describe()}")


def one(spec: ChunkSpec) -> Array:
    """The fill value as an array without dimensions."""
    made: np.ndarray[Any, Any] = np.empty((), spec.data_type.numpy)
    made[...] = spec.fill_value
    return made
