"""`gzip`: deflate with a checksum; several members in a row are read as one."""

# ruff: noqa: D102 - what the methods do is said in the base class

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from zarrv3.errors import CorruptDataError
from zarrv3.format.codecs.base import BytesBytesCodec
from zarrv3.format.codecs.support import deliver, named
from zarrv3.format.extensions import check_members, integer
from zarrv3.store.contract import JSON, Buffer

GZIP = 31
_STEP = 2**24  # at a time, where the decoded size is not known


@dataclass(frozen=True)
class GZip(BytesBytesCodec):
    """Compression levels 0 to 9; 0 stores."""

    level: int = 5

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"codec {name!r}", configuration, ["level"])
        return cls(integer(f"codec {name!r}: level", configuration["level"], 0, 9))

    def to_json(self) -> JSON:
        return named("gzip", {"level": self.level})

    def encode(self, buffer: Buffer) -> Buffer:
        return deflate(buffer, self.level, GZIP)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return inflate("gzip", buffer, GZIP, size, out, limit)


def deflate(buffer: Buffer, level: int, wbits: int) -> bytes:
    """Compress; the result depends on nothing but the input (no time stamp)."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, wbits)
    return compressor.compress(buffer) + compressor.flush()


def inflate(
    codec: str, buffer: Buffer, wbits: int, size: int | None, out: memoryview | None, limit: int | None
) -> Buffer:
    """Decompress without ever holding more than the expected bytes, one member after the other."""
    most = limit if size is None else size
    parts: list[bytes] = []
    total = 0
    rest: Buffer = buffer
    try:
        while True:
            member = zlib.decompressobj(wbits)
            while not member.eof:
                part = member.decompress(rest, _STEP if most is None else most - total + 1)
                rest = member.unconsumed_tail
                total += len(part)
                parts.append(part)
                if most is not None and total > most:
                    raise CorruptDataError(f"{codec}: more than the expected {most} bytes")
                if not part and not rest and not member.eof:
                    raise CorruptDataError(f"{codec}: the compressed bytes end too early")
            rest = member.unused_data
            if not rest:
                break
            if wbits != GZIP:
                raise CorruptDataError(f"{codec}: {len(rest)} bytes after the end of the compressed data")
    except zlib.error as error:
        raise CorruptDataError(f"{codec}: {error}") from error
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return deliver(codec, data, size, out, limit)
