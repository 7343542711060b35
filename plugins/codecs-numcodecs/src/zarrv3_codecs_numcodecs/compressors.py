"""Compressors of numcodecs: bytes → bytes.

Encoding is left to numcodecs. Decoding is not, wherever numcodecs would believe what the bytes claim.
"""

# ruff: noqa: D102 - what the methods do is said in the base class

import bz2
import lzma
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs.base import BytesBytesCodec, ChunkSpec
from zarrv3.format.codecs.blosc import MAX_SIZE, blosc_decode
from zarrv3.format.codecs.gzip import GZIP, inflate
from zarrv3.format.codecs.support import check_size, deliver, guarded, lazy, wrong_size
from zarrv3.format.codecs.zstd import zstd_decode
from zarrv3.format.extensions import check_members, shown
from zarrv3.store.contract import JSON, Buffer
from zarrv3_codecs_numcodecs.library import numcodec, whole_number

_STEP = 2**24
_ZLIB = 15  # zlib's number for its own format
_LZMA_MEMORY = 2**30  # what a header may ask for; the strongest preset needs 65 MiB


@dataclass(frozen=True)
class Compressor(BytesBytesCodec):
    """A codec of numcodecs whose configuration is kept as the document spells it."""

    name: str
    configuration: Mapping[str, JSON] = field(default_factory=dict)

    members: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"codec {name!r}", configuration, optional=cls.members)
        return cls(name, configuration)

    def __post_init__(self) -> None:
        """Check what numcodecs would only find out when it is called."""
        for member, value in self.configuration.items():
            self._check(member, value)

    def to_json(self) -> JSON:
        return {"name": self.name, "configuration": dict(self.configuration)}

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

    def _check(self, member: str, value: JSON) -> None:
        whole_number(self.name, member, value)


@dataclass(frozen=True)
class Blosc(Compressor):
    """`numcodecs.blosc`: the format of `blosc`; shuffle is a number, the typesize is 1 unless told."""

    members: ClassVar[tuple[str, ...]] = ("cname", "clevel", "shuffle", "blocksize", "typesize")

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

    members: ClassVar[tuple[str, ...]] = ("level", "checksum")

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return zstd_decode(buffer, size, out, limit)

    def _check(self, member: str, value: JSON) -> None:
        if member != "checksum" or not isinstance(value, bool):
            whole_number(self.name, member, value)


@dataclass(frozen=True)
class GZip(Compressor):
    """`numcodecs.gzip`: the format of `gzip`."""

    members: ClassVar[tuple[str, ...]] = ("level",)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return inflate(self.name, buffer, GZIP, size, out, limit)


@dataclass(frozen=True)
class Zlib(Compressor):
    """`numcodecs.zlib`."""

    members: ClassVar[tuple[str, ...]] = ("level",)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return inflate(self.name, buffer, _ZLIB, size, out, limit)


@dataclass(frozen=True)
class BZ2(Compressor):
    """`numcodecs.bz2`."""

    members: ClassVar[tuple[str, ...]] = ("level",)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return deliver(self.name, _streamed(self.name, bz2.BZ2Decompressor, buffer, size, limit), size, out)


@dataclass(frozen=True)
class LZMA(Compressor):
    """`numcodecs.lzma`."""

    members: ClassVar[tuple[str, ...]] = ("format", "check", "preset", "filters")

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        kind = self.configuration.get("format", lzma.FORMAT_XZ)
        filters = self.configuration.get("filters")
        memory = None if kind == lzma.FORMAT_RAW else _LZMA_MEMORY

        def start() -> lzma.LZMADecompressor:
            return lzma.LZMADecompressor(format=kind, memlimit=memory, filters=filters)

        return deliver(self.name, _streamed(self.name, start, buffer, size, limit), size, out)

    def _check(self, member: str, value: JSON) -> None:
        if member == "filters":
            if value is not None and not isinstance(value, list):
                raise MetadataError(f"codec {self.name!r}: filters must be a list, not {shown(value)}")
        elif member != "preset" or value is not None:
            whole_number(self.name, member, value)


@dataclass(frozen=True)
class LZ4(Compressor):
    """`numcodecs.lz4`: one block, its decoded size in front."""

    members: ClassVar[tuple[str, ...]] = ("acceleration",)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        if len(buffer) < 5:
            raise CorruptDataError(f"{self.name}: {len(buffer)} bytes are not an lz4 buffer")
        claimed = int.from_bytes(buffer[:4], "little", signed=True)
        check_size(self.name, claimed, size, limit)
        if claimed <= 0 or claimed > 255 * len(buffer):  # what the format can reach at best
            raise CorruptDataError(f"{self.name}: claims {claimed} bytes, which {len(buffer)} cannot hold")
        found: Buffer = guarded(self.name)(lazy("numcodecs.lz4").decompress)(buffer, out)
        return found if out is None else out


@dataclass(frozen=True)
class Shuffle(Compressor):
    """`numcodecs.shuffle`: the first bytes of all elements, then the second ones, and so on."""

    members: ClassVar[tuple[str, ...]] = ("elementsize",)

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
        found = guarded(self.name)(numcodec(self.name, self.configuration).decode)(buffer)
        return deliver(self.name, memoryview(found), size, out, limit)

    def _check(self, member: str, value: JSON) -> None:
        if value is not None and whole_number(self.name, member, value) < 1:
            raise MetadataError(f"codec {self.name!r}: elementsize must be positive")


def _streamed(
    codec: str, start: Callable[[], Any], buffer: Buffer, size: int | None, limit: int | None
) -> bytes:
    """All streams of a buffer, decoded without ever holding more than the expected bytes."""
    most = limit if size is None else size
    parts: list[bytes] = []
    total = 0
    rest: Buffer = buffer
    try:
        while True:
            stream = start()
            given: Buffer = rest
            while not stream.eof:
                part = stream.decompress(given, _STEP if most is None else most - total + 1)
                if not part and not given and not stream.eof:
                    raise CorruptDataError(f"{codec}: the compressed bytes end too early")
                given = b""
                total += len(part)
                parts.append(part)
                if most is not None and total > most:
                    raise wrong_size(codec, total, most)
            rest = stream.unused_data
            if not rest:
                return b"".join(parts)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        if isinstance(error, CorruptDataError):
            raise
        raise CorruptDataError(f"{codec}: {error}") from error
