# base            the three kinds of codecs            chain           an array's codecs as one
# bytes           bytes                                vlen            vlen-utf8, vlen-bytes
# transpose       transpose                            checksums       crc32c
# blosc gzip zstd compressors                          support         what they share
"""Codecs: how a chunk becomes bytes. numcodecs is imported when the first chunk is encoded or decoded."""

from zarrv3.format.codecs.base import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
    Declared,
)
from zarrv3.format.codecs.chain import CodecChain, check_order
from zarrv3.format.data_types import DataType
from zarrv3.format.extensions import resolve
from zarrv3.store.contract import JSON

ZSTD: JSON = {"name": "zstd", "configuration": {"level": 0, "checksum": True}}
"""The compressor of new arrays: that of zarr-python 3 with a checksum, four bytes a chunk by which damage is detected."""


def parse_codec(value: JSON, member: str = "codec") -> Codec:
    """The codec that a document names (`"gzip"`, `{"name": "gzip", "configuration": …}`); a `Codec` is returned as it is."""
    if isinstance(value, Codec):
        return value
    return resolve("codecs", Codec, value, member)  # type: ignore[type-abstract]


def default_serializer(data_type: DataType) -> Codec:
    """The array → bytes codec for a data type: the one it names, little-endian where there is a byte order."""
    name = data_type.serializer
    return parse_codec(
        {"name": name, "configuration": {"endian": "little"}} if data_type.has_byte_order else name
    )


def default_codecs(data_type: DataType) -> tuple[Codec, ...]:
    """The codecs of a new array unless others are given: the serializer of its data type, then `ZSTD`."""
    return default_serializer(data_type), parse_codec(ZSTD)


__all__ = [
    "ZSTD",
    "ArrayArrayCodec",
    "ArrayBytesCodec",
    "BytesBytesCodec",
    "ChunkSpec",
    "Codec",
    "CodecChain",
    "Declared",
    "check_order",
    "default_codecs",
    "default_serializer",
    "parse_codec",
]
