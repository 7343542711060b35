"""`transpose`: the dimensions in another order."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.codecs.base import Array, ArrayArrayCodec, ChunkSpec, Declared
from zarrv3.format.extensions import integers, shown


def _order(owner: str, value: Any) -> tuple[int, ...] | str:
    if isinstance(value, str) and value in {"C", "F"}:
        return str(value)
    order = integers(owner, value, 0, 64)
    if sorted(order) != list(range(len(order))):
        raise MetadataError(f"{owner} {shown(order)} is not a permutation")
    return order


@dataclass(frozen=True)
class TransposeCodec(Declared, ArrayArrayCodec):
    """`B[i] = A[order]`; the constants `"C"` and `"F"` of old documents are read as what they meant."""

    name: ClassVar[str] = "transpose"
    order: Annotated[tuple[int, ...] | str, _order]

    def evolve(self, spec: ChunkSpec) -> Self:
        """With a permutation in place of a constant."""
        ndim = len(spec.shape)
        if isinstance(self.order, str):
            axes = range(ndim) if self.order == "C" else reversed(range(ndim))
            return type(self)(tuple(axes))
        if len(self.order) != ndim:
            raise MetadataError(
                f"codec 'transpose': order {list(self.order)} for an array of {ndim} dimensions"
            )
        return self

    def native(self) -> tuple[int, ...] | None:
        return None if isinstance(self.order, str) else self.order

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return spec._replace(shape=tuple(spec.shape[axis] for axis in self._axes(spec)))

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        return array.transpose(self._axes(spec))

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        return array.transpose(np.argsort(self._axes(spec)).tolist())

    def _axes(self, spec: ChunkSpec) -> tuple[int, ...]:
        axes = self.evolve(spec).order
        assert not isinstance(axes, str)
        return axes
