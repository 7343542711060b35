"""Objects for which the final format has no data type: JSON values, messages, arrays of differing lengths."""

# ruff: noqa: D102 - what the methods do is said in the base class

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs.base import Array, ArrayBytesCodec, ChunkSpec
from zarrv3.format.codecs.support import guarded, lazy
from zarrv3.format.data_types import DataType
from zarrv3.format.documents import check_json
from zarrv3.format.extensions import check_members, shown
from zarrv3.store.contract import JSON, Buffer
from zarrv3_codecs_numcodecs.library import numcodec


@dataclass(frozen=True)
class Objects(DataType):
    """`zarr2.object`: Python objects that an object codec reads; only translated documents contain it.

    The fill value is any JSON value; a list or object is handed out as an array without dimensions that holds it.
    """

    portable: ClassVar[bool] = False

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"data type {name!r}", configuration)
        return cls()

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Self | None:  # noqa: ARG003 - objects could be anything: never guessed
        return None

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def item_size(self) -> int | None:
        return None

    def to_json(self) -> JSON:
        return "zarr2.object"

    def default_fill(self) -> Any:
        return None

    def cast_fill(self, value: Any) -> Any:
        return self.fill_from_json(check_json(self.fill_to_json(value), "fill_value"))

    def fill_from_json(self, value: JSON) -> Any:
        if not isinstance(value, list | dict):
            return value
        held: Array = np.empty((), object)
        held[()] = value
        return held

    def fill_to_json(self, value: Any) -> JSON:
        return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


@dataclass(frozen=True)
class ObjectCodec(ArrayBytesCodec):
    """`zarr2.object`: an object codec of numcodecs (`json2`, `msgpack2`, `vlen-array`), for reading."""

    config: Mapping[str, JSON]

    @property
    def portable(self) -> bool:
        return False

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"codec {name!r}", configuration, ["codec"])
        config = configuration["codec"]
        if not isinstance(config, dict) or config.get("id") not in {"json2", "msgpack2", "vlen-array"}:
            raise UnknownExtensionError(f"codec {name!r}: the object codec {shown(config)} is not known")
        return cls(config)

    def to_json(self) -> JSON:
        return {"name": "zarr2.object", "configuration": {"codec": dict(self.config)}}

    def evolve(self, spec: ChunkSpec) -> Self:
        """Checked against the data type."""
        if not isinstance(spec.data_type, Objects):
            raise MetadataError(f"codec 'zarr2.object' cannot encode {spec.data_type.describe()}")
        return self

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:  # noqa: ARG002 - the base class's
        raise MetadataError("codec 'zarr2.object' reads old data; arrays of objects are not written")

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        name = str(self.config["id"])
        data = bytes(buffer)
        if name == "vlen-array":
            decoded: Array = guarded(name, self._arrays().decode, data)
            if decoded.size != spec.item_count:
                raise CorruptDataError(
                    f"{name}: {decoded.size} elements where {spec.item_count} are expected"
                )
            array = decoded.reshape(spec.shape)
        else:
            load = json.loads if name == "json2" else lazy("msgpack").unpackb
            array = rebuilt(name, guarded(name, load, data), spec.shape)
        if out is None:
            return array
        out[...] = array
        return out

    def _arrays(self) -> Any:
        options = {member: value for member, value in self.config.items() if member != "id"}
        return numcodec("numcodecs.vlen-array", options)


def rebuilt(codec: str, items: Any, shape: tuple[int, ...]) -> Array:
    """An array of objects from nested lists that end in the dtype and the shape (`json2`, `msgpack2`).

    Raises `CorruptDataError` unless they have that shape; nothing is allocated for what the bytes merely
    claim.
    """
    if not isinstance(items, list) or len(items) < 2 or items[-1] != list(shape):
        claimed = items[-1] if isinstance(items, list) and items else items
        raise CorruptDataError(f"{codec}: values of shape {shown(claimed)} where {list(shape)} is expected")
    level = items[:-2]
    if not shape:
        if len(level) != 1:
            raise CorruptDataError(f"{codec}: {len(level)} values where one is expected")
    else:
        lists: list[Any] = [level]
        for axis, length in enumerate(shape):
            if any(not isinstance(one, list) or len(one) != length for one in lists):
                raise CorruptDataError(f"{codec}: the values do not have the shape {list(shape)}")
            level = [value for one in lists for value in one]
            lists = level if axis + 1 < len(shape) else []
    array: Array = np.empty(len(level), object)
    for index, value in enumerate(level):
        array[index] = value
    return array.reshape(shape)
