"""Compressors of numcodecs: bytes → bytes.

Encoding is left to numcodecs. Decoding is not, wherever numcodecs would believe what the bytes claim.
"""

import base64
import bz2
import lzma
import zlib
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs.base import BytesBytesCodec, ChunkSpec
from zarrv3.format.codecs.blosc import MAX_SIZE, blosc_decode
from zarrv3.format.codecs.gzip import decompress_streams, new_decompressor
from zarrv3.format.codecs.support import check_size, deliver, guarded, lazy
from zarrv3.format.codecs.zstd import zstd_decode
from zarrv3.format.extensions import shown
from zarrv3.store.contract import JSON, Buffer
from zarrv3_codecs_numcodecs.library import NumCodec, numcodec, whole_number

_LZMA_MEMORY = 2**30  # what a header may ask for; the strongest preset needs 65 MiB


@dataclass(frozen=True)
class Compressor(NumCodec, BytesBytesCodec):
    """One that numcodecs encodes."""

    def encode(self, buffer: Buffer) -> Buffer:
        codec = numcodec(self.name, self.configuration)
        try:
            return bytes(codec.encode(buffer))
        except ValueError as error:
            raise MetadataError(f"codec {self.name!r}: {error}") from error

    @abstractmethod
    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """As in the base class."""


@dataclass(frozen=True)
class Blosc(Compressor):
    """`numcodecs.blosc`: the format of `blosc`; shuffle is a number, the typesize is 1 unless told."""

    optional: ClassVar[tuple[str, ...]] = ("cname", "clevel", "shuffle", "blocksize", "typesize")

    def check_size(self, size: int) -> None:
        if size > MAX_SIZE:
            raise MetadataError(
                f"codec {self.name!r} compresses at most {MAX_SIZE} bytes at once, a chunk has {size}"
            )

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return blosc_decode(buffer, size, out, limit)

    def _check(self, member: str, value: JSON) -> None:
        if member == "cname" and isinstance(value, str):
            return
        if member != "typesize" or value is not None:
            whole_number(self.name, member, value)


@dataclass(frozen=True)
class Zstd(Compressor):
    """`numcodecs.zstd`: the format of `zstd`."""

    optional: ClassVar[tuple[str, ...]] = ("level", "checksum")

    @property
    def has_checksum(self) -> bool:
        return bool(self.configuration.get("checksum"))

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return zstd_decode(buffer, size, out, limit)

    def _check(self, member: str, value: JSON) -> None:
        if member != "checksum" or not isinstance(value, bool):
            whole_number(self.name, member, value)


@dataclass(frozen=True)
class Streams(Compressor):
    """What a module of Python decodes: one stream, or several in a row, each with a checksum."""

    @property
    def has_checksum(self) -> bool:
        return True

    @abstractmethod
    def new(self) -> Any:
        """What decodes one stream."""

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return deliver(self.name, decompress_streams(self.name, self.new, buffer, size, limit), size, out)


@dataclass(frozen=True)
class GZip(Streams):
    """`numcodecs.gzip`: the format of `gzip`."""

    optional: ClassVar[tuple[str, ...]] = ("level",)

    def native(self) -> tuple[str, str, tuple[Any, ...]]:
        return "gzip", "", (self.configuration.get("level", 1),)

    def encode(self, buffer: Buffer) -> Buffer:
        """Without the time of writing, which numcodecs puts there: equal chunks are equal bytes."""
        data = super().encode(buffer)
        return b"".join((data[:4], bytes(4), data[8:]))

    def new(self) -> Any:
        return new_decompressor()


@dataclass(frozen=True)
class Zlib(Streams):
    """`numcodecs.zlib`."""

    optional: ClassVar[tuple[str, ...]] = ("level",)

    def native(self) -> tuple[str, str, tuple[Any, ...]]:
        return "zlib", "", (self.configuration.get("level", 1),)

    def new(self) -> Any:
        return zlib.decompressobj()


@dataclass(frozen=True)
class BZ2(Streams):
    """`numcodecs.bz2`."""

    optional: ClassVar[tuple[str, ...]] = ("level",)

    def new(self) -> Any:
        return bz2.BZ2Decompressor()


@dataclass(frozen=True)
class LZMA(Streams):
    """`numcodecs.lzma`."""

    optional: ClassVar[tuple[str, ...]] = ("format", "check", "preset", "filters")

    @property
    def has_checksum(self) -> bool:
        is_xz = self.configuration.get("format", lzma.FORMAT_XZ) == lzma.FORMAT_XZ
        return bool(is_xz and self.configuration.get("check", -1) != lzma.CHECK_NONE)

    def new(self) -> Any:
        kind = self.configuration.get("format", lzma.FORMAT_XZ)
        memory = None if kind == lzma.FORMAT_RAW else _LZMA_MEMORY
        return lzma.LZMADecompressor(kind, memory, self.configuration.get("filters"))

    def _check(self, member: str, value: JSON) -> None:
        if member == "filters":
            if value is not None and not isinstance(value, list):
                raise MetadataError(f"codec {self.name!r}: filters must be a list, not {shown(value)}")
        elif member != "preset" or value is not None:
            whole_number(self.name, member, value)


@dataclass(frozen=True)
class LZ4(Compressor):
    """`numcodecs.lz4`: one block, its decoded size in front."""

    optional: ClassVar[tuple[str, ...]] = ("acceleration",)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        if len(buffer) < 5:
            raise CorruptDataError(f"{self.name}: {len(buffer)} bytes are not an lz4 buffer")
        claimed = int.from_bytes(buffer[:4], "little", signed=True)
        check_size(self.name, claimed, size, limit)
        if claimed <= 0 or claimed > 255 * len(buffer):  # what the format can reach at best
            raise CorruptDataError(f"{self.name}: claims {claimed} bytes, which {len(buffer)} cannot hold")
        found: Buffer = guarded(self.name, lazy("numcodecs.lz4").decompress, buffer, out)
        return found if out is None else out


@dataclass(frozen=True)
class Shuffle(Compressor):
    """`numcodecs.shuffle`: the first bytes of all elements, then the second ones, and so on."""

    optional: ClassVar[tuple[str, ...]] = ("elementsize",)

    def evolve(self, spec: ChunkSpec) -> Self:
        """With the size of an element."""
        if self.configuration.get("elementsize") is not None:
            return self
        return replace(
            self, configuration={**self.configuration, "elementsize": spec.data_type.item_size or 1}
        )

    def encoded_size(self, size: int) -> int | None:
        return size

    def check_size(self, size: int) -> None:
        if size % max(1, self.configuration.get("elementsize") or 4):
            raise MetadataError(
                f"codec {self.name!r}: elementsize does not divide the {size} bytes of a chunk"
            )

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        check_size(self.name, len(buffer), size, limit)
        found = guarded(self.name, numcodec(self.name, self.configuration).decode, buffer)
        return deliver(self.name, memoryview(found), size, out, limit)

    def _check(self, member: str, value: JSON) -> None:
        if value is not None and whole_number(self.name, member, value) < 1:
            raise MetadataError(f"codec {self.name!r}: elementsize must be positive")


@dataclass(frozen=True)
class Base64(Compressor):
    """`numcodecs.base64`."""

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        check_size(self.name, len(buffer) // 4 * 3 - bytes(buffer[-2:]).count(b"="), size, limit)
        return deliver(self.name, guarded(self.name, base64.b64decode, buffer, None, True), size, out, limit)
