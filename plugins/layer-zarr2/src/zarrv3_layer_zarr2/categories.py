"""`zarr2.categorize`: texts as numbers of labels, for which the final format has no codec."""

# ruff: noqa: D102 - what the methods do is said in the base class

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs.base import Array, ArrayArrayCodec, ChunkSpec
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.format.extensions import check_members, shown
from zarrv3.store.contract import JSON


@dataclass(frozen=True)
class Categorize(ArrayArrayCodec):
    """The filter `categorize` of numcodecs: labels are numbered from 1, 0 stands for none and decodes to an empty text."""

    labels: tuple[str, ...]
    number: DataType
    configuration: Mapping[str, JSON]

    @property
    def portable(self) -> bool:
        return False

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"codec {name!r}", configuration, ["labels"], ["dtype", "astype"])
        labels = configuration["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise MetadataError(f"codec {name!r}: labels must be a list of texts, not {shown(labels)}")
        number = data_type_of(configuration.get("astype") or "u1")
        if number.numpy.kind not in "iu" or np.iinfo(number.numpy).max < len(labels):
            raise MetadataError(
                f"codec {name!r}: astype {number.describe()} cannot count {len(labels)} labels"
            )
        return cls(tuple(labels), number, configuration)

    def to_json(self) -> JSON:
        return {"name": "zarr2.categorize", "configuration": dict(self.configuration)}

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type."""
        if spec.data_type.numpy.kind not in "UT":
            raise MetadataError(f"codec 'zarr2.categorize' cannot encode {spec.data_type.describe()}")
        return self

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """The shape is kept; the elements are numbers."""
        return spec._replace(data_type=self.number, fill_value=self.number.default_fill())

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        numbers: Array = np.zeros(spec.shape, self.number.numpy)
        for number, label in enumerate(self.labels, 1):
            numbers[array == label] = number
        return numbers

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        if array.size and not 0 <= int(array.min()) <= int(array.max()) <= len(self.labels):
            raise CorruptDataError(f"categorize: a number beyond the {len(self.labels)} labels")
        known: Array = np.array(["", *self.labels], spec.data_type.numpy)
        labels: Any = known[array.astype(np.intp)]
        return np.asarray(labels).reshape(spec.shape)
