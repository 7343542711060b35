"""`gzip`: deflate with a checksum; several members in a row are read as one."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

from zarrv3.errors import CorruptDataError
from zarrv3.format.codecs.base import BytesBytesCodec, Declared
from zarrv3.format.codecs.support import TooLargeError, deliver, guarded
from zarrv3.format.extensions import integer
from zarrv3.store.contract import Buffer

_GZIP = 31  # zlib's number for the format
_STEP = 2**24  # decoded bytes at a time, where their number is not known
_NEXT = 2**14  # bytes given to each stream but the first: it copies those that belong to the next one


@dataclass(frozen=True)
class GzipCodec(Declared, BytesBytesCodec):
    """Compression levels 0 to 9; 0 stores."""

    name: ClassVar[str] = "gzip"
    level: Annotated[int, partial(integer, low=0, high=9)] = 5
    has_checksum = True

    def native(self) -> tuple[str, str, tuple[Any, ...]]:
        return "gzip", "", (self.level,)

    def encode(self, buffer: Buffer) -> Buffer:
        # the result depends on nothing but the input: there is no time stamp
        compressor = zlib.compressobj(self.level, zlib.DEFLATED, _GZIP)
        return compressor.compress(buffer) + compressor.flush()

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return deliver("gzip", decompress_streams("gzip", new_decompressor, buffer, size, limit), size, out)


def new_decompressor() -> Any:
    """What decodes one member of gzip."""
    return zlib.decompressobj(_GZIP)


def decompress_streams(
    codec: str, new: Callable[[], Any], buffer: Buffer, size: int | None, limit: int | None
) -> bytes:
    """All streams of a buffer, one after the other, without ever holding more than the expected bytes.

    `new` makes what decodes one of them: an object of zlib, bz2 or lzma.
    """
    most = limit if size is None else size
    view, position, step = memoryview(buffer), 0, len(buffer)
    parts: list[bytes] = []
    total = 0
    while True:
        stream = new()
        while not stream.eof:
            given = view[position : position + step] if getattr(stream, "needs_input", True) else b""
            part = guarded(codec, stream.decompress, given, _STEP if most is None else most - total + 1)
            position += len(given) - len(getattr(stream, "unconsumed_tail", b"")) - len(stream.unused_data)
            total += len(part)
            parts.append(part)
            if most is not None and total > most:
                raise TooLargeError(f"{codec}: more than the expected {most} bytes")
            if not part and not given and not stream.eof:
                raise CorruptDataError(f"{codec}: the compressed bytes end too early")
        if position == len(view):
            return parts[0] if len(parts) == 1 else b"".join(parts)
        step = _NEXT
