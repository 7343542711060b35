"""`scale_offset`: `(x - offset) * scale`, in the arithmetic of the data type."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, cast

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ChunkSpec
from zarrv3.format.codecs.base import Array
from zarrv3.format.data_types import DataType
from zarrv3.format.data_types.numerics import Integer
from zarrv3.format.extensions import shown
from zarrv3_codecs_registered.elementwise import Elementwise


def _scalar(owner: str, value: Any) -> Any:
    """A fill value's JSON, which means something once the data type is known."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise MetadataError(f"{owner} must be a number, not {shown(value)}")
    if value != value:  # noqa: PLR0124 - only NaN does
        raise MetadataError(f"{owner} must be a number, not NaN")
    return value


@dataclass(frozen=True)
class ScaleOffset(Elementwise):
    """Offset and scale are written as fill values are; a result that the data type does not hold is an error."""

    name: ClassVar[str] = "scale_offset"
    offset: Annotated[Any, _scalar] = 0
    scale: Annotated[Any, _scalar] = 1

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type."""
        self.check_number(spec.data_type)
        if self._scale(spec) == 0:
            raise MetadataError("codec 'scale_offset': scale must not be 0")
        self._offset(spec)
        return self

    def stored(self, data_type: DataType) -> DataType:
        return data_type

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        offset, scale = self._offset(spec), self._scale(spec)
        if spec.data_type.number == "integer":
            ends = [int(end) - int(offset) for end in _ends(array)]
            _check(spec.data_type, [*ends, *(end * int(scale) for end in ends)], MetadataError)
            wide = _wide(array)
            result: Array = (wide - wide.dtype.type(offset)) * wide.dtype.type(scale)
            return result.astype(array.dtype)
        with np.errstate(all="ignore"):
            found: Array = np.asarray(array - offset) if self.offset else array
            found = np.asarray(found * scale) if self.scale != 1 else found
        return _finite(array, found, spec, MetadataError)

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        offset, scale = self._offset(spec), self._scale(spec)
        if spec.data_type.number == "integer":
            wide = _wide(array)
            parts, rest = np.divmod(wide, wide.dtype.type(scale)) if self.scale != 1 else (wide, np.zeros(0))
            if rest.any():
                raise CorruptDataError("scale_offset: a stored number is not a multiple of the scale")
            ends = [int(end) for end in _ends(parts)]
            _check(
                spec.data_type,
                [*(int(end) // int(scale) for end in _ends(array)), *(end + int(offset) for end in ends)],
                CorruptDataError,
            )
            result: Array = parts + wide.dtype.type(offset)
            return result.astype(array.dtype)
        with np.errstate(all="ignore"):
            found: Array = np.asarray(array / scale) if self.scale != 1 else array
            found = np.asarray(found + offset) if self.offset else found
        return _finite(array, found, spec, CorruptDataError)

    def _offset(self, spec: ChunkSpec) -> Any:
        return spec.data_type.fill_from_json(self.offset) if self.offset else 0

    def _scale(self, spec: ChunkSpec) -> Any:
        return spec.data_type.fill_from_json(self.scale)


def _ends(array: Array) -> list[Any]:
    """The least and the greatest element, between which all results lie."""
    wide = _wide(array)
    return [wide.min(), wide.max()] if array.size else []


def _wide(array: Array) -> Array:
    """Integers of ml_dtypes as some that numpy calculates with."""
    return array if array.dtype.kind in "iu" else array.astype(np.int64)


def _check(data_type: DataType, numbers: list[int], error: type[Exception]) -> None:
    low, high = cast("Integer", data_type).limits
    if wrong := [number for number in numbers if not low <= number <= high]:
        raise error(f"codec 'scale_offset': {wrong[0]} is not a number of data type {data_type.describe()}")


def _finite(before: Array, after: Array, spec: ChunkSpec, error: type[Exception]) -> Array:
    """Refuse what became infinite."""
    if (np.isfinite(before) & ~np.isfinite(after)).any():
        raise error(f"codec 'scale_offset': a number is too large for data type {spec.data_type.describe()}")
    return after.astype(before.dtype, copy=False)
