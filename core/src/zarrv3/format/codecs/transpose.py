"""`transpose`: the dimensions in another order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.codecs.base import Array, ArrayArrayCodec, ChunkSpec
from zarrv3.format.codecs.support import named
from zarrv3.format.extensions import check_members, shown
from zarrv3.store.contract import JSON


@dataclass(frozen=True)
class Transpose(ArrayArrayCodec):
    """`B[i] = A[order]`; the constants `"C"` and `"F"` of old documents are read as what they meant."""

    order: tuple[int, ...] | str

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"codec {name!r}", configuration, ["order"])
        order = configuration["order"]
        if isinstance(order, str) and order in {"C", "F"}:
            return cls(order)
        if not isinstance(order, list | tuple) or any(type(axis) is not int for axis in order):
            raise MetadataError(f"codec 'transpose': order must be a list of integers, not {shown(order)}")
        if sorted(order) != list(range(len(order))):
            raise MetadataError(f"codec 'transpose': order {shown(order)} is not a permutation")
        return cls(tuple(order))

    def to_json(self) -> JSON:
        return named("transpose", {"order": self.order if isinstance(self.order, str) else list(self.order)})

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
