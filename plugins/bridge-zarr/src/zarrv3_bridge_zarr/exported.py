"""Codecs of ours that zarr-python lacks, as codecs of zarr-python.

zarr-python finds them by this package's entry points of the group `zarr.codecs`; what they do is in the packages of ours that
have them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Self

from zarr.abc import codec as theirs
from zarr.core.array_spec import ArraySpec
from zarr.core.dtype import get_data_type_from_json

from zarrv3.format.codecs import ChunkSpec, parse_codec
from zarrv3.format.data_types import parse_data_type
from zarrv3_bridge_zarr.codecs import fill_of


@dataclass(frozen=True)
class _Exported:
    """What the three kinds have in common."""

    codec: Any
    """The codec of ours."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The codec that a document names; an error of ours with the `pip install` line if its package is missing."""
        return cls(parse_codec(data))

    def to_dict(self) -> Any:
        """As it stands in a document."""
        return self.codec.to_json()

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """With what the codec fills in."""
        return type(self)(self.codec.evolve(_ours(array_spec)))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Asked of codecs of a shard's index only, which these are not."""
        raise NotImplementedError(f"the codec {self.to_dict()!r} cannot encode a shard's index")

    async def _encode_single(self, data: Any, spec: ArraySpec) -> Any:
        return await asyncio.to_thread(self._encode_sync, data, spec)

    async def _decode_single(self, data: Any, spec: ArraySpec) -> Any:
        return await asyncio.to_thread(self._decode_sync, data, spec)

    def _encode_sync(self, data: Any, spec: ArraySpec) -> Any:
        raise NotImplementedError

    def _decode_sync(self, data: Any, spec: ArraySpec) -> Any:
        raise NotImplementedError


class ArrayArray(_Exported, theirs.ArrayArrayCodec):
    """Arrays to arrays."""

    def resolve_metadata(self, chunk_spec: ArraySpec) -> ArraySpec:
        """What the encoded array looks like."""
        found: ChunkSpec = self.codec.resolve(_ours(chunk_spec))
        return replace(
            chunk_spec,
            shape=found.shape,
            dtype=get_data_type_from_json(found.data_type.to_json(), zarr_format=3),
            fill_value=found.fill_value,
        )

    def _encode_sync(self, data: Any, spec: ArraySpec) -> Any:
        ours = _ours(spec)
        return _array(self.codec.encode(_values(data, ours), ours), spec)

    def _decode_sync(self, data: Any, spec: ArraySpec) -> Any:
        ours = _ours(spec)
        return _array(self.codec.decode(_values(data, self.codec.resolve(ours)), ours), spec)


class ArrayBytes(_Exported, theirs.ArrayBytesCodec):
    """Arrays to bytes."""

    def _encode_sync(self, data: Any, spec: ArraySpec) -> Any:
        ours = _ours(spec)
        return _bytes(self.codec.encode(_values(data, ours), ours), spec)

    def _decode_sync(self, data: Any, spec: ArraySpec) -> Any:
        return _array(self.codec.decode(data.to_bytes(), _ours(spec), None), spec)


class BytesBytes(_Exported, theirs.BytesBytesCodec):
    """Bytes to bytes."""

    def _encode_sync(self, data: Any, spec: ArraySpec) -> Any:
        return _bytes(self.codec.encode(data.to_bytes()), spec)

    def _decode_sync(self, data: Any, spec: ArraySpec) -> Any:
        return _bytes(self.codec.decode(data.to_bytes(), None), spec)


def _ours(spec: ArraySpec) -> ChunkSpec:
    data_type = parse_data_type(spec.dtype.to_json(zarr_format=3))
    return ChunkSpec(tuple(spec.shape), data_type, fill_of(data_type, spec.fill_value))


def _values(data: Any, spec: ChunkSpec) -> Any:
    return data.as_numpy_array().astype(spec.data_type.numpy, copy=False)


def _array(values: Any, spec: ArraySpec) -> Any:
    return spec.prototype.nd_buffer.from_numpy_array(values)


def _bytes(value: Any, spec: ArraySpec) -> Any:
    return spec.prototype.buffer.from_bytes(bytes(value))


__all__ = ["ArrayArray", "ArrayBytes", "BytesBytes"]
