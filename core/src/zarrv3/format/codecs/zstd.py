"""`zstd`, with a reader of frame headers that bounds the output before anything is decoded (RFC 8878)."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

from zarrv3.errors import CorruptDataError
from zarrv3.format.codecs.base import BytesBytesCodec, Declared
from zarrv3.format.codecs.support import TooLargeError, deliver, guarded, lazy, library_of
from zarrv3.format.extensions import boolean, integer
from zarrv3.store.contract import Buffer

_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 2**17  # the most that one block decodes to
_SLACK = 2**26
_SHORT = "zstd: the compressed bytes end too early"


class Frame(NamedTuple):
    """One frame of a buffer."""

    start: int
    stop: int
    size: int | None
    """The decoded bytes that its header claims, if it does."""
    least: int
    most: int
    """Bounds of the decoded bytes, from its block headers."""


@dataclass(frozen=True)
class ZstdCodec(Declared, BytesBytesCodec):
    """Level 0 is the library's default; `checksum` adds four bytes, which every reader verifies."""

    name: ClassVar[str] = "zstd"
    level: Annotated[int, partial(integer, low=-131072, high=22)] = 0
    checksum: Annotated[bool, boolean] = False

    @property
    def has_checksum(self) -> bool:
        return self.checksum

    def native(self) -> tuple[str, str, tuple[Any, ...]]:
        return "zstd", library_of("numcodecs.zstd"), (self.level, self.checksum)

    def encode(self, buffer: Buffer) -> Buffer:
        return lazy("numcodecs.zstd").compress(buffer, self.level, self.checksum)  # type: ignore[no-any-return]

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return zstd_decode(buffer, size, out, limit)


def zstd_decode(buffer: Buffer, size: int | None, out: memoryview | None, limit: int | None = None) -> Buffer:
    """Decompress one or several frames to exactly `size` bytes."""
    pieces = frames(buffer)  # numcodecs would allocate whatever any of the frames claims
    least = most = 0
    for frame in pieces:
        least += frame.least
        most += frame.most
    if size is None and limit is not None and (least > limit or most > 4 * limit + _SLACK):
        raise TooLargeError(f"zstd: claims {least} to {most} bytes where at most {limit} can be")
    if size is not None and not least <= size <= most:
        raise CorruptDataError(f"zstd: holds {least} to {most} bytes where {size} are expected")
    decompress = lazy("numcodecs.zstd").decompress
    if size and len(pieces) == 1 and pieces[0].stop - pieces[0].start == len(buffer):
        if pieces[0].size is None and out is None:
            out = memoryview(bytearray(size))
        decoded: Buffer = guarded("zstd", decompress, buffer, out)
        return decoded if out is None else out
    view = memoryview(buffer)  # numcodecs refuses frames that hold nothing
    parts = [view[frame.start : frame.stop] for frame in pieces if frame.most]
    data = b"".join([guarded("zstd", decompress, part) for part in parts])
    return deliver("zstd", data, size, out, limit)


def _header(buffer: Buffer, start: int) -> tuple[int | None, int, int]:
    """Claimed size, where the blocks begin, and the bytes of the checksum."""
    flags = buffer[start + 4]
    single = flags >> 5 & 1
    window = 0 if single else 1
    identifier = (0, 1, 2, 4)[flags & 3]
    width = (1 if single else 0, 2, 4, 8)[flags >> 6]
    position = start + 5 + window + identifier
    if position + width > len(buffer):
        raise CorruptDataError(_SHORT)
    size = int.from_bytes(buffer[position : position + width], "little") if width else None
    if size is not None and width == 2:
        size += 256
    return size, position + width, 4 if flags & 4 else 0


def frames(buffer: Buffer) -> list[Frame]:
    """The frames of a buffer from its headers alone; raises `CorruptDataError` if they do not fill it exactly."""
    pieces: list[Frame] = []
    position = 0
    while position < len(buffer):
        if (
            position + 8 <= len(buffer)
            and 0x184D2A50 <= int.from_bytes(buffer[position : position + 4], "little") <= 0x184D2A5F
        ):
            position += 8 + int.from_bytes(buffer[position + 4 : position + 8], "little")  # a skippable frame
            continue
        frame = _frame(buffer, position)
        pieces.append(frame)
        position = frame.stop
    if position != len(buffer) or not pieces:
        raise CorruptDataError(_SHORT)
    return pieces


def _frame(buffer: Buffer, start: int) -> Frame:
    if buffer[start : start + 4] != _MAGIC or start + 6 > len(buffer):
        raise CorruptDataError("zstd: this is not a zstd frame")
    size, position, checksum = _header(buffer, start)
    least = most = 0
    last = False
    while not last:
        if position + 3 > len(buffer):
            raise CorruptDataError(_SHORT)
        block = int.from_bytes(buffer[position : position + 3], "little")
        last, block_type, length = bool(block & 1), block >> 1 & 3, block >> 3
        if length > _BLOCK or block_type == 3:
            raise CorruptDataError("zstd: a block header is wrong")
        position += 3 + (1 if block_type == 1 else length)  # type 1 repeats one byte `length` times
        least += 0 if block_type == 2 else length
        most += _BLOCK if block_type == 2 else length
    if position + checksum > len(buffer):
        raise CorruptDataError(_SHORT)
    if size is not None and not least <= size <= most:
        raise CorruptDataError("zstd: the frame header claims another size than its blocks")
    least, most = (least, most) if size is None else (size, size)
    return Frame(start, position + checksum, size, least, most)
