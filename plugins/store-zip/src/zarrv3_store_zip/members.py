"""What lies in an archive: names, headers, compression and checksums, by the standard library's `zipfile`."""

from __future__ import annotations

import bz2
import copy
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from io import BytesIO
from typing import IO, Any, NamedTuple
from zipfile import (
    ZIP_BZIP2,
    ZIP_DEFLATED,
    ZIP_LZMA,
    ZIP_STORED,
    BadZipFile,
    ZipFile,
    ZipInfo,
)

from zarrv3.errors import CorruptDataError, InvalidKeyError, StoreAccessError
from zarrv3.store.contract import Buffer
from zarrv3.store.keys import check_keys

HEADER = struct.Struct("<4s22x2H")
"""The header before a member's data: its signature, the lengths of the name and the extra field that follow it."""

ENCRYPTED = 0x41
_FIELD = struct.Struct("<2H")
_UNICODE_PATH = 0x7075
_DESCRIPTOR = 0x08
_UTF8 = 0x800

_UNREADABLE = (BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError, EOFError)


class Directory(NamedTuple):
    """The central directory of an archive."""

    infos: dict[str, ZipInfo]
    """The last entry of each key."""
    start: int
    """Where it begins: no member extends beyond."""
    comment: bytes
    offsets: list[int]
    """Where members begin, superseded ones too."""


# ---------------------------------------------------------------- the directory


def read_directory(file: IO[bytes], archive: str) -> Directory:
    """The directory of an archive; errors call it `archive`. Raises `StoreAccessError` where there is none, or an entry would leave the root."""
    try:
        with ZipFile(file) as opened:
            every, start, comment = opened.infolist(), opened.start_dir, opened.comment
    except _UNREADABLE as error:
        raise StoreAccessError(f"{archive} cannot be read as a zip archive: {error}") from error
    infos = {_name(info): info for info in every if not info.filename.endswith("/")}
    _check_names(infos, archive)
    for key, info in infos.items():
        if not 0 <= info.header_offset <= start - HEADER.size - info.compress_size:
            raise CorruptDataError(f"{archive} is damaged: {key!r} would lie outside of it")
    return Directory(infos, start, comment, [info.header_offset for info in every])


def _check_names(names: Collection[str], archive: str) -> None:
    try:
        check_keys(names)
    except InvalidKeyError as error:
        raise StoreAccessError(
            f"{archive} has an entry that is not a valid key; take it out: {error}"
        ) from error
    odd = next((name for name in names if "\\" in name), None)
    if odd is not None:
        raise StoreAccessError(
            f"{archive} has an entry with a backslash in its name, {odd!r}; rename it or take it out"
        )


def write_directory(file: IO[bytes], infos: Iterable[ZipInfo], comment: bytes) -> None:
    """Write the central directory and the end of an archive where the file is positioned."""
    with ZipFile(file, "w") as archive:
        archive.filelist.extend(infos)
        archive.comment = comment


def _name(info: ZipInfo) -> str:
    """The key of an entry: its name without `./` before it."""
    name = info.filename if info.filename.isascii() or info.flag_bits & _UTF8 else _other_letters(info)
    while name.startswith("./"):
        name = name[2:]
    return name


def _other_letters(info: ZipInfo) -> str:
    """A name that is not marked as UTF-8: a Unicode name may accompany it, or it is UTF-8 all the same, as from Unix."""
    raw = _raw_name(info)
    extra = info.extra
    try:
        while len(extra) >= _FIELD.size:
            kind, length = _FIELD.unpack_from(extra)
            body, extra = extra[_FIELD.size :][:length], extra[_FIELD.size + length :]
            if kind == _UNICODE_PATH and body[:5] == b"\1" + zlib.crc32(raw).to_bytes(4, "little"):
                return body[5:].decode()
        return raw.decode()
    except UnicodeDecodeError:
        return info.filename


def _raw_name(info: ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


# ---------------------------------------------------------------- headers


def renamed(info: ZipInfo, key: str) -> ZipInfo:
    """A member under another name, with a plain header: no extra fields, and sizes before the data."""
    new = copy.copy(info)
    new.filename = key
    new.extra = b""
    if not info.flag_bits & ENCRYPTED:  # the descriptor's place in the flags is part of the password check
        new.flag_bits &= ~_DESCRIPTOR
    return new


def needs_header(info: ZipInfo, key: str) -> bool:
    """Whether a member has to be copied with a new header."""
    old_name = not key.isascii() and not info.flag_bits & _UTF8
    return info.filename != key or old_name or bool(info.flag_bits & _DESCRIPTOR)


def descriptor(info: ZipInfo) -> bytes:
    """What follows the data of a member whose header does not tell its sizes."""
    if not info.flag_bits & _DESCRIPTOR:
        return b""
    large = max(info.file_size, info.compress_size) > zipfile.ZIP64_LIMIT
    return struct.pack(
        "<4sLQQ" if large else "<4sLLL", b"PK\7\x08", info.CRC, info.compress_size, info.file_size
    )


def header_length(info: ZipInfo, header: Buffer, archive: str) -> int:
    """The offset of a member's data from its beginning; raises `CorruptDataError` unless the header is the member's."""
    name = _raw_name(info)
    if len(header) >= HEADER.size + len(name):
        signature, name_length, extra_length = HEADER.unpack_from(header)
        if signature == b"PK\3\4" and bytes(header[HEADER.size :][:name_length]) == name:
            return HEADER.size + int(name_length) + int(extra_length)
    raise CorruptDataError(
        f"{info.filename!r} does not begin where the directory of {archive} says: the archive is damaged"
    )


def header_room(info: ZipInfo) -> int:
    """How much of a member's beginning to read for its header, perhaps without all of its extra field."""
    return HEADER.size + 4 * len(info.orig_filename)


# ---------------------------------------------------------------- values


def encode(key: str, value: Buffer, compression: int) -> tuple[ZipInfo, tuple[Buffer, ...]]:
    """A value as a member: its entry, and header with data; equal values become equal bytes.

    A value stored uncompressed is not copied. Its bytes are those that `zipfile` would write.
    """
    info = ZipInfo(key)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    if compression == ZIP_STORED:
        info.CRC = zlib.crc32(value)
        info.file_size = info.compress_size = len(value)
        return info, (info.FileHeader(len(value) * 1.05 > zipfile.ZIP64_LIMIT), value)
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr(info, bytes(value))
        end = archive.start_dir
    return info, (buffer.getvalue()[:end],)


def decode(info: ZipInfo, data: Buffer, archive: str) -> bytes:
    """The value of a member from its data; takes no more memory than the declared size."""
    if info.flag_bits & ENCRYPTED:
        raise StoreAccessError(
            f"{info.filename!r} in {archive} is encrypted, which zarr cannot read; make the archive without a password"
        )
    decoder = _DECODERS.get(info.compress_type)
    if decoder is None:
        raise StoreAccessError(
            f"{info.filename!r} in {archive} is compressed by method {info.compress_type}; "
            "stored, deflated, bzip2 and lzma can be read"
        )
    try:
        value = decoder(data, info.file_size)
    except (zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError) as error:
        raise CorruptDataError(f"{info.filename!r} in {archive} cannot be decompressed: {error}") from error
    if len(value) != info.file_size or zlib.crc32(value) != info.CRC:
        raise CorruptDataError(
            f"{info.filename!r} in {archive} is damaged: its length or checksum (CRC-32) is wrong"
        )
    return value


def _stored(data: Buffer, size: int) -> bytes:  # noqa: ARG001
    return bytes(data)


def _inflate(data: Buffer, size: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)


def _bunzip(data: Buffer, size: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, size + 1)


def _unlzma(data: Buffer, size: int) -> bytes:
    """Version of the packer, length of the properties, properties (literal and position bits, dictionary), stream."""
    length, bits, dictionary = struct.unpack_from("<2xHBL", data)
    bits, literal_context = divmod(bits, 9)
    position, literal_position = divmod(bits, 5)
    properties: dict[str, Any] = {
        "id": lzma.FILTER_LZMA1,
        "lc": literal_context,
        "lp": literal_position,
        "pb": position,
        "dict_size": max(
            4096, min(dictionary, size)
        ),  # no reference goes back further than the length of the value
    }
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[properties])
    return decompressor.decompress(bytes(data[4 + length :]), size + 1)


_DECODERS: Mapping[int, Callable[[Buffer, int], bytes]] = {
    ZIP_STORED: _stored,
    ZIP_DEFLATED: _inflate,
    ZIP_BZIP2: _bunzip,
    ZIP_LZMA: _unlzma,
}
