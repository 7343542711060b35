"""Bytes backwards, as a codec: `compressors=[{"name": "example"}]`."""

from dataclasses import dataclass
from typing import ClassVar

from zarrv3 import Buffer
from zarrv3.format.codecs import BytesBytesCodec, Declared
from zarrv3.format.codecs.support import deliver


@dataclass(frozen=True)
class Example(Declared, BytesBytesCodec):
    """Stores the last byte first. Fields of the dataclass would be the codec's configuration; this one has none."""

    name: ClassVar[str] = "example"

    def encode(self, buffer: Buffer) -> Buffer:
        return bytes(buffer)[::-1]

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return deliver(self.name, bytes(buffer)[::-1], size, out, limit)
