"""`bitround`: numbers with fewer bits that compress better."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.codecs import ChunkSpec
from zarrv3.format.codecs.base import Array
from zarrv3.format.data_types import DataType
from zarrv3.format.extensions import integer
from zarrv3_codecs_registered.elementwise import Elementwise

_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}


@dataclass(frozen=True)
class BitRound(Elementwise):
    """The first `keepbits` bits of a mantissa, or of an integer from its highest bit on; the nearest, of two the even one.

    What would become infinite or overflow is cut off instead. Negative integers are rounded as their absolute values are.
    """

    name: ClassVar[str] = "bitround"
    keepbits: Annotated[int, partial(integer, low=0, high=64)]

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type."""
        data_type = spec.data_type
        parts = _parts(data_type)
        is_float = data_type.number in {"float", "complex"}
        if parts is None or (is_float and parts.name not in _MANTISSA):
            raise MetadataError(f"codec 'bitround' cannot encode data type {data_type.describe()}")
        if is_float and self.keepbits > _MANTISSA[parts.name]:
            raise MetadataError(f"codec 'bitround': keepbits must be from 0 to {_MANTISSA[parts.name]}")
        if not is_float and not self.keepbits:
            raise MetadataError("codec 'bitround': keepbits must be positive for integers")
        return self

    def stored(self, data_type: DataType) -> DataType:
        return data_type

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        parts = _parts(spec.data_type)
        assert parts is not None
        flat = np.ascontiguousarray(array).reshape(-1).view(parts)
        word = np.dtype(f"u{parts.itemsize}").type
        if spec.data_type.number in {"float", "complex"}:
            dropped = np.full(flat.shape, _MANTISSA[parts.name] - self.keepbits, word)
            rounded = _round(flat.view(word), dropped)
            stays = ~np.isfinite(flat)
            cut = np.isfinite(flat) & ~np.isfinite(rounded.view(parts))
            rounded = np.where(cut, _cut(flat.view(word), dropped), rounded)
            rounded = np.where(stays, flat.view(word), rounded)
        else:
            size = np.where(flat < 0, (~flat).view(word) + word(1), flat.view(word))
            dropped = np.maximum(_length(size).astype(np.int64) - self.keepbits, 0).astype(word)
            rounded = _round(size, dropped)
            most = word(np.iinfo(parts).max)
            rounded = np.where((rounded < size - size % 2) & (rounded < _cut(size, dropped)) | (rounded > most),
                               _cut(size, dropped), rounded)  # fmt: skip
            rounded = np.where(flat < 0, ~rounded + word(1), rounded)
            rounded = np.where(size > most, flat.view(word), rounded) if parts.kind == "i" else rounded
        return rounded.astype(word, copy=False).view(spec.data_type.numpy).reshape(array.shape)

    def decode(self, array: Array, spec: ChunkSpec) -> Array:  # noqa: ARG002 - what was lost is lost
        return array


def _parts(data_type: DataType) -> np.dtype[Any] | None:
    """The dtype of an element, or of one part of a complex one."""
    kind = data_type.numpy.kind
    if kind in "mM":
        return np.dtype(np.int64)
    known = data_type.number in {"float", "complex"} or (data_type.number == "integer" and kind in "iu")
    return data_type.component if known else None


def _cut(words: Array, dropped: Array) -> Array:
    """Without the lowest bits."""
    kept: Array = np.where(dropped < words.dtype.itemsize * 8, words >> dropped << dropped, 0)
    return kept


def _round(words: Array, dropped: Array) -> Array:
    """To the nearest that lacks the lowest bits, of two to the even one; may overflow."""
    word = words.dtype.type
    half = np.where(dropped > 0, (word(1) << (np.maximum(dropped, 1) - word(1))) - word(1), word(0)).astype(
        word
    )
    odd = np.where(dropped > 0, words >> dropped & word(1), word(0)).astype(word)
    return _cut((words + half + odd).astype(word), dropped)


def _length(words: Array) -> Array:
    """The number of bits from the highest one on."""
    found = np.zeros(words.shape, words.dtype)
    for shift in (32, 16, 8, 4, 2, 1):
        if shift < words.dtype.itemsize * 8:
            more = words >> words.dtype.type(shift) > 0
            found = np.where(more, found + shift, found)
            words = np.where(more, words >> words.dtype.type(shift), words)
    return found + (words > 0)
