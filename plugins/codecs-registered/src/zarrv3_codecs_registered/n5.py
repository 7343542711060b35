"""`n5_default`: the blocks of N5, whose header says their shape."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ArrayBytesCodec, ChunkSpec, Codec, CodecChain, check_order, parse_codec
from zarrv3.format.codecs.base import Array, Declared
from zarrv3.format.data_types import filled
from zarrv3.format.extensions import NamedConfig, shown
from zarrv3.store.contract import Buffer

_LARGE = 2**24  # elements that a block may have even if the chunk is smaller


def _chain(owner: str, value: Any) -> tuple[Codec, ...]:
    """`transpose`, `bytes` and at most one compressor."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise MetadataError(f"{owner} must be a list of codecs, not {shown(value)}")
    codecs = tuple(parse_codec(item, f"{owner}[{index}]") for index, item in enumerate(value))
    check_order(codecs)
    if [_name(codec) for codec in codecs[:2]] != ["transpose", "bytes"] or len(codecs) > 3:
        raise MetadataError(f"{owner} must be transpose, bytes and at most one codec more")
    return codecs


def _name(codec: Codec) -> str:
    return NamedConfig.parse(codec.to_json(), "codec").name


@dataclass(frozen=True)
class N5Default(Declared, ArrayBytesCodec):
    """A block may be smaller than the chunk, as truncated ones at the edge are: the rest is the fill value."""

    name: ClassVar[str] = "n5_default"
    codecs: Annotated[tuple[Codec, ...], _chain]

    def evolve(self, spec: ChunkSpec) -> Self:
        """With the inner codecs completed; checked against what N5 knows."""
        data_type = spec.data_type
        known = data_type.number in {"integer", "float"}
        if not known or data_type.carrier != data_type.numpy or data_type.numpy.name == "float16":
            raise MetadataError(f"codec 'n5_default' cannot encode data type {data_type.describe()}")
        if any(length >= 2**32 for length in spec.shape):
            raise MetadataError(f"codec 'n5_default' cannot encode a chunk of shape {spec.shape}")
        codecs = CodecChain.build(self.codecs, spec).codecs
        order, endian = (NamedConfig.parse(codec.to_json(), "codec").configuration for codec in codecs[:2])
        if order != {"order": [*range(len(spec.shape))][::-1]} or endian == {"endian": "little"}:
            raise MetadataError("codec 'n5_default': all dimensions are transposed, and bytes are big-endian")
        return type(self)(codecs)

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        header = struct.pack(f">HH{len(spec.shape)}I", 0, len(spec.shape), *spec.shape)
        return b"".join((header, CodecChain.build(self.codecs, spec).encode(array)))

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        ndim, view = len(spec.shape), memoryview(buffer)
        if len(buffer) < 4 + 4 * ndim:
            raise CorruptDataError("n5_default: the bytes end within the header")
        mode, dimensions, *shape = struct.unpack_from(f">HH{ndim}I", buffer)
        if mode or dimensions != ndim:
            raise CorruptDataError(f"n5_default: a block of mode {mode} and {dimensions} dimensions")
        block = ChunkSpec(tuple(shape), spec.data_type, spec.fill_value)
        if block.item_count > max(spec.item_count, _LARGE):
            raise CorruptDataError(f"n5_default: a block of shape {shape} for a chunk of shape {spec.shape}")
        found = CodecChain.build(self.codecs, block).decode(view[4 + 4 * ndim :])
        if block.shape != spec.shape:
            part = tuple(slice(0, min(pair)) for pair in zip(shape, spec.shape, strict=True))
            inner, found = found[part], filled(spec.shape, spec.fill_value, spec.data_type.numpy)
            found[part] = inner
        if out is None:
            return found
        out[...] = found
        return out
