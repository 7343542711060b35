"""The checksums of numcodecs: four bytes before or behind the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from zarrv3.format.codecs.base import BytesBytesCodec
from zarrv3.format.codecs.checksums import split
from zarrv3.format.codecs.support import deliver, guarded
from zarrv3.format.extensions import check_members, choice, integer
from zarrv3.store.contract import JSON, Buffer
from zarrv3_codecs_numcodecs.library import numcodec


@dataclass(frozen=True)
class Checksum(BytesBytesCodec):
    """`numcodecs.crc32`, `.crc32c`, `.adler32`, `.fletcher32`, `.jenkins_lookup3`."""

    name: str
    configuration: Mapping[str, JSON] = field(default_factory=dict)

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        owner = f"codec {name!r}"
        if name == "numcodecs.fletcher32":
            check_members(owner, configuration)
        elif name == "numcodecs.jenkins_lookup3":
            check_members(owner, configuration, optional=["initval", "prefix"])
            integer(f"{owner}: initval", configuration.get("initval", 0), 0, 2**32 - 1)
        else:
            check_members(owner, configuration, optional=["location"])
            choice(f"{owner}: location", configuration.get("location", "start"), ("start", "end"))
        return cls(name, configuration)

    def to_json(self) -> JSON:
        return {"name": self.name, "configuration": dict(self.configuration)}

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
