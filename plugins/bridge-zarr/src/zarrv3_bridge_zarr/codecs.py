"""Codecs made for zarr-python, under their own names in documents, as codecs of ours.

The registry finds them by the entry points of the group `zarr.codecs`, and calls `adapted` with the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from zarr.abc import codec as theirs
from zarr.core.array_spec import ArrayConfig, ArraySpec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.dtype import get_data_type_from_json

from zarrv3.errors import CorruptDataError, MetadataError, RegistryError
from zarrv3.format.codecs import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec, ChunkSpec, Codec
from zarrv3.format.codecs.base import Array
from zarrv3.format.codecs.support import deliver, guarded
from zarrv3.format.data_types import DataType, parse_data_type
from zarrv3.format.extensions import NamedConfig
from zarrv3.registry import load
from zarrv3.store.contract import JSON, Buffer
from zarrv3_bridge_zarr.loop import run


def adapted(foreign: Any) -> type[Codec]:
    """The class of ours for a class of a codec of zarr-python; `RegistryError` if it is not one."""
    for base, ours in (
        (theirs.ArrayArrayCodec, _ArrayArray),
        (theirs.ArrayBytesCodec, _ArrayBytes),
        (theirs.BytesBytesCodec, _BytesBytes),
    ):
        if isinstance(foreign, type) and issubclass(foreign, base):
            return type(foreign.__name__, (ours,), {"foreign": foreign, "__module__": foreign.__module__})
    raise RegistryError(f"{foreign!r} is not a codec of zarr-python")


@dataclass(frozen=True)
class _Foreign(Codec):
    """What the three kinds have in common."""

    foreign: ClassVar[Any]

    name: str
    configuration: Mapping[str, JSON]
    codec: Any = field(compare=False, repr=False)
    """The codec of zarr-python."""
    spec: Any = field(compare=False, repr=False, default=None)
    """The chunk as zarr-python describes it."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """See `Codec`."""
        document = {"name": name, "configuration": dict(configuration)}
        return cls._of(_asked(name, cls.foreign.from_dict, document))

    @classmethod
    def _of(cls, codec: Any, spec: Any = None) -> Self:
        document = NamedConfig.parse(codec.to_dict(), "codec")
        return cls(document.name, document.configuration, codec, spec)

    def __reduce__(self) -> Any:
        """By its document: the class was made here."""
        return _again, (self.name, dict(self.configuration))

    def to_json(self) -> JSON:
        """See `Codec`."""
        return {"name": self.name, "configuration": dict(self.configuration)}

    def evolve(self, spec: ChunkSpec) -> Self:
        """With what the codec fills in."""
        their_spec = _asked(self.name, _spec, spec)
        return self._of(_asked(self.name, self.codec.evolve_from_array_spec, their_spec), their_spec)

    def call(self, way: str, data: Any, spec: Any) -> Any:
        """Encode or decode, at once where the codec can and on the bridge's loop where it cannot."""
        at_once = getattr(self.codec, f"_{way}_sync", None)
        if at_once is not None:
            return at_once(data, spec)

        async def call() -> Any:
            [found] = await getattr(self.codec, way)([(data, spec)])
            return found

        return run(call())


class _ArrayArray(_Foreign, ArrayArrayCodec):
    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """As the codec says, with its fill value."""
        found = _asked(self.name, self.codec.resolve_metadata, _spec(spec))
        data_type = parse_data_type(found.dtype.to_json(zarr_format=3))
        return ChunkSpec(tuple(found.shape), data_type, fill_of(data_type, found.fill_value))

    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        """See `ArrayArrayCodec`."""
        return _fits(self.name, self.call("encode", _array(array), _spec(spec)), self.resolve(spec))

    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        """See `ArrayArrayCodec`."""
        found = guarded(self.name, self.call, "decode", _array(array), _spec(spec))
        return _fits(self.name, found, spec)


class _ArrayBytes(_Foreign, ArrayBytesCodec):
    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        """See `ArrayBytesCodec`."""
        found = self.call("encode", _array(array), _spec(spec))
        if found is None:
            raise MetadataError(f"codec {self.name!r} encodes nothing, which only zarr-python understands")
        return bytes(found.to_bytes())

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        """See `ArrayBytesCodec`."""
        found = guarded(self.name, self.call, "decode", _bytes(buffer), _spec(spec))
        array = _fits(self.name, found, spec)
        if out is None:
            return array
        out[...] = array
        return out


class _BytesBytes(_Foreign, BytesBytesCodec):
    def encode(self, buffer: Buffer) -> Buffer:
        """See `BytesBytesCodec`."""
        return bytes(self.call("encode", _bytes(buffer), self.spec).to_bytes())

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """See `BytesBytesCodec`; what is decoded is measured afterwards, since zarr-python's codecs take no limit."""
        found = guarded(self.name, self.call, "decode", _bytes(buffer), self.spec)
        return deliver(self.name, bytes(found.to_bytes()), size, out, limit)


def _again(name: str, configuration: dict[str, JSON]) -> Codec:
    made: Codec = load("codecs", name).from_json(name, configuration)
    return made


def _asked(name: str, function: Any, *arguments: Any) -> Any:
    """What a codec says of its configuration and of a chunk; what it raises becomes a `MetadataError`."""
    try:
        return function(*arguments)
    except (MetadataError, MemoryError):
        raise
    except Exception as error:
        raise MetadataError(f"codec {name!r}: {type(error).__name__}: {error}") from error


def _spec(spec: ChunkSpec) -> ArraySpec:
    """A chunk as zarr-python describes it; it may not know the data type."""
    return ArraySpec(
        shape=spec.shape,
        dtype=get_data_type_from_json(spec.data_type.to_json(), zarr_format=3),
        fill_value=spec.fill_value,
        config=ArrayConfig.from_dict({}),
        prototype=default_buffer_prototype(),
    )


def fill_of(data_type: DataType, value: Any) -> Any:
    """A fill value of zarr-python, which may be a number of another type."""
    try:
        return data_type.cast_fill(value)
    except MetadataError:
        with np.errstate(all="ignore"):
            return np.asarray(value).astype(data_type.numpy)[()]


def _array(array: Array) -> Any:
    return default_buffer_prototype().nd_buffer.from_numpy_array(array)


def _bytes(buffer: Buffer) -> Any:
    return default_buffer_prototype().buffer.from_bytes(bytes(buffer))


def _fits(name: str, found: Any, spec: ChunkSpec) -> Array:
    """The array in a buffer of zarr-python; `CorruptDataError` if it is another one than expected."""
    array: Array = found.as_numpy_array()
    if array.size != spec.item_count:
        raise CorruptDataError(f"{name}: {array.size} elements where {spec.item_count} are expected")
    dtype = spec.data_type.numpy
    if array.dtype.newbyteorder("=") != dtype:
        raise CorruptDataError(f"{name}: elements of {array.dtype}, not of {dtype}")
    return array.reshape(spec.shape).astype(dtype, copy=False)


__all__ = ["adapted"]
