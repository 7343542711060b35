"""`crc32c`: the bytes with a checksum behind them."""

import functools
import importlib
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zarrv3.errors import CorruptDataError, UnknownExtensionError
from zarrv3.format.codecs.base import BytesBytesCodec, Declared
from zarrv3.format.codecs.support import check_size, deliver
from zarrv3.store.contract import Buffer

_WORD = struct.Struct("<I")


@functools.cache
def crc32c_function() -> Callable[[Any], int]:
    """CRC32C by whichever package is installed (numcodecs' extra brings one)."""
    for module, name in (("google_crc32c", "value"), ("crc32c", "crc32c")):
        try:
            checksum: Callable[[Any], int] = getattr(importlib.import_module(module), name)
        except ImportError:
            continue
        if module == "google_crc32c":  # it takes no memoryview, but an array over one
            return lambda data: checksum(np.frombuffer(data, np.uint8) if len(data) else b"")
        return checksum
    raise UnknownExtensionError('CRC32C needs a package: pip install "numcodecs[google-crc32c]"')


@dataclass(frozen=True)
class Crc32cCodec(Declared, BytesBytesCodec):
    """The bytes as they are, followed by their CRC32C in little-endian order."""

    name: ClassVar[str] = "crc32c"
    has_checksum = True

    def native(self) -> tuple[str, str, tuple[Any, ...]] | None:
        crc32c_function()
        library = sys.modules.get("google_crc32c._crc32c")
        return None if library is None else ("crc32c", str(library.__file__), ())

    def encoded_size(self, size: int) -> int | None:
        return size + 4

    def encode(self, buffer: Buffer) -> Buffer:
        return b"".join((buffer, _WORD.pack(crc32c_function()(buffer))))

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        payload = split("crc32c", buffer, size, limit)
        if crc32c_function()(payload) != _WORD.unpack_from(buffer, len(payload))[0]:
            raise CorruptDataError("crc32c: the checksum does not match")
        return deliver("crc32c", payload, size, out, limit)


def split(codec: str, buffer: Buffer, size: int | None, limit: int | None) -> memoryview:
    """What stands before a checksum of four bytes."""
    if len(buffer) < 4:
        raise CorruptDataError(f"{codec}: {len(buffer)} bytes are too few for a checksum")
    check_size(codec, len(buffer) - 4, size, limit)
    return memoryview(buffer)[:-4]
