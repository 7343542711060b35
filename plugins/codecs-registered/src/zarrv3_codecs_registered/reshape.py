"""`reshape`: other dimensions, the same order of elements."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zarrv3.errors import MetadataError
from zarrv3.format.codecs import ArrayArrayCodec, ChunkSpec
from zarrv3.format.codecs.base import Array, Declared
from zarrv3.format.cuts import MAX_LENGTH
from zarrv3.format.extensions import integer, integers, shown
from zarrv3.format.grids import MAX_DIMENSIONS, check_shape


def _shape(owner: str, value: Any) -> tuple[int | tuple[int, ...], ...]:
    """Lengths, lists of input dimensions in rising order, and at most one -1."""
    if not isinstance(value, list | tuple):
        raise MetadataError(f"{owner} must be a list, not {shown(value)}")
    found = tuple(
        integers(f"{owner}[{index}]", item, 0, MAX_DIMENSIONS)
        if isinstance(item, list | tuple)
        else integer(f"{owner}[{index}]", item, -1, MAX_LENGTH)
        for index, item in enumerate(value)
    )
    axes = [axis for item in found if isinstance(item, tuple) for axis in item]
    if axes != sorted(set(axes)) or found.count(-1) > 1 or 0 in found:
        raise MetadataError(
            f"{owner} {shown(value)}: lengths, rising dimensions and at most one -1 are expected"
        )
    return found


@dataclass(frozen=True)
class Reshape(Declared, ArrayArrayCodec):
    """Each length is a number, the product of some input dimensions, or -1 for what is left."""

    name: ClassVar[str] = "reshape"
    shape: Annotated[tuple[int | tuple[int, ...], ...], _shape]

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """The shape that the elements get; `MetadataError` where they do not fit."""
        given = spec.shape
        if any(axis >= len(given) for item in self.shape if isinstance(item, tuple) for axis in item):
            raise MetadataError(f"codec 'reshape': {shown(self.shape)} of {len(given)} dimensions")
        lengths = [
            math.prod(given[axis] for axis in item) if isinstance(item, tuple) else item
            for item in self.shape
        ]
        if -1 in lengths:
            rest = math.prod(length for length in lengths if length != -1)
            lengths[lengths.index(-1)] = spec.item_count // rest if rest else 0
        for index, item in enumerate(self.shape):
            if isinstance(item, tuple) and item:
                before = math.prod(lengths[:index]) == math.prod(given[: item[0]])
                if not before or math.prod(lengths[index + 1 :]) != math.prod(given[item[-1] + 1 :]):
                    raise MetadataError(f"codec 'reshape': {shown(self.shape)} moves dimensions of {given}")
        if math.prod(lengths) != spec.item_count:
            raise MetadataError(f"codec 'reshape': {shown(self.shape)} does not hold the elements of {given}")
        return spec._replace(shape=check_shape(tuple(lengths), spec.data_type.item_size, "reshape"))

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        return array.reshape(self.resolve(spec).shape)

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        return array.reshape(spec.shape)
