# numcodecs    those of numcodecs, as in zarr.codecs.numcodecs
"""The codecs by the names that zarr-python 3 has for them: `zarrv3.codecs.BloscCodec(cname="zstd", shuffle="bitshuffle")`.

They are the classes that documents name too. Those of plugins are found when they are asked for; without the plugin the error
says which package to install.
"""

from enum import StrEnum
from typing import Any

from zarrv3.codecs import numcodecs
from zarrv3.errors import RegistryError
from zarrv3.format.codecs.blosc import BloscCodec
from zarrv3.format.codecs.bytes import BytesCodec
from zarrv3.format.codecs.checksums import Crc32cCodec
from zarrv3.format.codecs.gzip import GzipCodec
from zarrv3.format.codecs.transpose import TransposeCodec
from zarrv3.format.codecs.vlen import VLenBytesCodec, VLenUTF8Codec
from zarrv3.format.codecs.zstd import ZstdCodec
from zarrv3.registry import load

__all__ = [
    "BloscCname",
    "BloscCodec",
    "BloscShuffle",
    "BytesCodec",
    "Crc32cCodec",
    "Endian",
    "GzipCodec",
    "ShardingCodecIndexLocation",
    "TransposeCodec",
    "VLenBytesCodec",
    "VLenUTF8Codec",
    "ZstdCodec",
    "numcodecs",
]

PLUGIN_CLASSES = {
    "CastValue": "cast_value",
    "ScaleOffset": "scale_offset",
    "ShardingCodec": "sharding_indexed",
}
"""The classes of plugins, and the names that documents have for them."""


class BloscCname(StrEnum):
    """The compressors of Blosc."""

    lz4 = "lz4"
    lz4hc = "lz4hc"
    blosclz = "blosclz"
    snappy = "snappy"
    zlib = "zlib"
    zstd = "zstd"


class BloscShuffle(StrEnum):
    """What Blosc does before it compresses."""

    noshuffle = "noshuffle"
    shuffle = "shuffle"
    bitshuffle = "bitshuffle"


class Endian(StrEnum):
    """The byte orders."""

    little = "little"
    big = "big"


class ShardingCodecIndexLocation(StrEnum):
    """Where the index of a shard is."""

    start = "start"
    end = "end"


def __getattr__(name: str) -> Any:
    """The class of an installed plugin; an `ImportError`, whose text `from … import` keeps, says which package to install."""
    if name in PLUGIN_CLASSES:
        try:
            return load("codecs", PLUGIN_CLASSES[name])
        except RegistryError as error:
            raise ImportError(str(error), name=__name__) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    """What is here, with the classes of plugins."""
    return sorted({*globals(), *PLUGIN_CLASSES})
