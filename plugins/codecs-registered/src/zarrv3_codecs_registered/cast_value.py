"""`cast_value`: numbers as another data type."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ChunkSpec
from zarrv3.format.codecs.base import Array
from zarrv3.format.codecs.support import lazy
from zarrv3.format.data_types import DataType, parse_data_type
from zarrv3.format.extensions import check_members, choice, shown
from zarrv3.store.contract import JSON
from zarrv3_codecs_registered.elementwise import Elementwise, one

ROUNDING = ("nearest-even", "towards-zero", "towards-positive", "towards-negative", "nearest-away")


def _type(owner: str, value: Any) -> JSON:
    """A data type's document, or the data type."""
    data_type = value if isinstance(value, DataType) else parse_data_type(value, owner)
    return data_type.to_json()


def _map(owner: str, value: Any) -> dict[str, list[list[JSON]]]:
    """Pairs of fill values' JSON, which mean something once both data types are known."""
    if not isinstance(value, Mapping):
        raise MetadataError(f"{owner} must be an object, not {shown(value)}")
    check_members(owner, value, optional=["encode", "decode"])
    found = {}
    for way, entries in value.items():
        pairs = list(entries.items()) if isinstance(entries, Mapping) else entries
        if not isinstance(pairs, list | tuple) or not all(
            isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
        ):
            raise MetadataError(f"{owner}.{way} must be a list of pairs, not {shown(entries)}")
        found[way] = [list(pair) for pair in pairs]
    return found


@dataclass(frozen=True)
class CastValue(Elementwise):
    """What a type does not hold is rounded, then clamped or wrapped, or an error; `scalar_map` goes before all that."""

    name: ClassVar[str] = "cast_value"
    data_type: Annotated[Any, _type]
    rounding: Annotated[str, partial(choice, allowed=ROUNDING)] = "nearest-even"
    out_of_range: Annotated[str | None, partial(choice, allowed=("clamp", "wrap"))] = None
    scalar_map: Annotated[Any, _map] = None

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type, whose fill value has to come back."""
        target = self.stored(spec.data_type)
        for data_type in (spec.data_type, target):
            self.check_number(data_type)
            if data_type.carrier != data_type.numpy:
                raise MetadataError(f"codec 'cast_value' does not know data type {data_type.describe()}")
        if self.out_of_range == "wrap" and target.numpy.kind == "f":
            raise MetadataError("codec 'cast_value': only integers wrap")
        fill = one(spec)
        try:
            back = self.decode(self.encode(fill, spec), spec)
        except CorruptDataError as error:
            raise MetadataError(str(error)) from error
        if not np.array_equal(back, fill, equal_nan=fill.dtype.kind == "f"):
            raise MetadataError(f"codec 'cast_value' turns the fill value {fill} into {back}")
        return self

    def stored(self, data_type: DataType) -> DataType:  # noqa: ARG002 - whatever it was
        return parse_data_type(self.data_type)

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        return self._cast("encode", array, spec.data_type, self.stored(spec.data_type), MetadataError)

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        return self._cast("decode", array, self.stored(spec.data_type), spec.data_type, CorruptDataError)

    def _cast(
        self, way: str, array: Array, source: DataType, target: DataType, error: type[Exception]
    ) -> Array:
        entries = (self.scalar_map or {}).get(way, [])
        scalars = {  # of equal ones the first counts
            source.fill_from_json(key).tobytes(): (source.fill_from_json(key), target.fill_from_json(value))
            for key, value in reversed(entries)
        }
        pairs = [(key.item(), value.item()) for key, value in scalars.values()]
        wraps = self.out_of_range == "wrap" and target.numpy.kind == "f"  # which only integers can
        try:
            found: Array = lazy("cast_value_rs").cast_array(
                np.ascontiguousarray(array),
                target_dtype=target.numpy,
                rounding_mode=self.rounding,
                out_of_range_mode=None if wraps else self.out_of_range,
                scalar_map_entries=pairs or None,
            )
        except (ValueError, TypeError, OverflowError) as problem:
            raise error(f"codec 'cast_value': {problem}") from problem
        return found.reshape(array.shape)
