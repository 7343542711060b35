"""Records that the final format has no data type for, kept as numpy's own dtype."""

# ruff: noqa: D102 - what the methods do is said in the base class

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import MetadataError
from zarrv3.format.data_types import DataType
from zarrv3.format.data_types.base import is_zero, plain
from zarrv3.format.data_types.binary import bytes_from_json, bytes_to_json
from zarrv3.format.extensions import check_members
from zarrv3.store.contract import JSON


@dataclass(frozen=True)
class Record(DataType):
    """`draft-v3.record`: fields with sub-arrays, or of both byte orders; in memory as in the store.

    Only translated documents have it. The configuration is numpy's `descr`.
    """

    dtype: np.dtype[Any]

    portable: ClassVar[bool] = False

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        from zarrv3_layer_draft_v3.dtypes import dtype_of

        check_members(f"data type {name!r}", configuration, ["fields"])
        found = dtype_of(configuration["fields"])
        if found.fields is None:
            raise MetadataError(f"data type {name!r}: fields must be a list of fields")
        return cls(found)

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:  # noqa: ARG003 - only documents of drafts have it
        return None

    @property
    def numpy(self) -> np.dtype[Any]:
        return self.dtype

    def to_json(self) -> JSON:
        return {"name": "draft-v3.record", "configuration": {"fields": described(self.dtype)}}

    def default_fill(self) -> Any:
        return np.zeros((), self.dtype)[()]

    def cast_fill(self, value: Any) -> Any:
        """A record of this dtype; 0 is zero bytes."""
        value = plain(value)
        if value is None or is_zero(value):
            return self.default_fill()
        if not isinstance(value, np.void) or value.dtype != self.dtype:
            self.refuse(value)
        return value

    def fill_from_json(self, value: JSON) -> Any:
        data = bytes_from_json(value)
        if data is None or len(data) != self.dtype.itemsize:
            self.refuse(value)
        return np.frombuffer(data, self.dtype)[0]

    def fill_to_json(self, value: Any) -> JSON:
        return bytes_to_json(np.asarray(value, dtype=self.dtype).tobytes())


def described(dtype: np.dtype[Any]) -> JSON:
    """A structured dtype as numpy's `descr`, in lists."""
    fields: list[JSON] = []
    for name in dtype.names or ():
        assert dtype.fields is not None
        kind = dtype.fields[name][0]
        base, shape = kind.subdtype if kind.subdtype is not None else (kind, ())
        spelled = described(base) if base.names is not None else base.str
        fields.append([name, spelled, list(shape)] if shape else [name, spelled])
    return fields


__all__ = ["Record", "described"]
