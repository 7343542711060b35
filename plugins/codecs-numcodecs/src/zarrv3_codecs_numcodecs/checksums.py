"""The checksums of numcodecs: four bytes before or behind the others."""

from dataclasses import dataclass
from typing import ClassVar

from zarrv3.format.codecs.base import BytesBytesCodec
from zarrv3.format.codecs.checksums import split
from zarrv3.format.codecs.support import deliver, guarded
from zarrv3.format.extensions import choice, integer
from zarrv3.store.contract import JSON, Buffer
from zarrv3_codecs_numcodecs.library import NumCodec, numcodec


@dataclass(frozen=True)
class Fletcher32(NumCodec, BytesBytesCodec):
    """`numcodecs.fletcher32`."""

    @property
    def has_checksum(self) -> bool:
        return True

    def encoded_size(self, size: int) -> int | None:
        return size + 4

    def encode(self, buffer: Buffer) -> Buffer:
        return bytes(numcodec(self.name, self.configuration).encode(buffer))

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        split(self.name, buffer, size, limit)
        found = guarded(self.name, numcodec(self.name, self.configuration).decode, buffer)
        return deliver(self.name, memoryview(found).cast("B") if len(buffer) > 4 else b"", size, out, limit)


class Checksum(Fletcher32):
    """`numcodecs.crc32`, `.crc32c`, `.adler32`."""

    optional: ClassVar[tuple[str, ...]] = ("location",)

    def _check(self, member: str, value: JSON) -> None:
        choice(f"codec {self.name!r}: {member}", value, ("start", "end"))


class JenkinsLookup3(Fletcher32):
    """`numcodecs.jenkins_lookup3`."""

    optional: ClassVar[tuple[str, ...]] = ("initval", "prefix")

    def _check(self, member: str, value: JSON) -> None:
        if member == "initval":
            integer(f"codec {self.name!r}: {member}", value, 0, 2**32 - 1)
