"""Where values lie in files, and copying them from file to file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zipfile import ZIP_STORED, ZipInfo

from zarrv3.store.contract import Buffer, ByteRange
from zarrv3.store.helpers import resolve
from zarrv3_store_zip.members import (
    ENCRYPTED,
    decode,
    descriptor,
    header_length,
    header_room,
    needs_header,
    renamed,
    write_directory,
)
from zarrv3_store_zip.spool import File, Spool

Packed = tuple[ZipInfo, tuple[Buffer, ...]]
"""A member that is not in a file yet: its entry, and header with data, in pieces."""


class Entry:
    """The value of a key: its file and position. It never changes, so readers need no lock.

    Attributes:
        info: its entry in the directory.
        file: the archive or the spool.
        start: where its header begins.
        outdated: whether the header has to be written again when the entry is copied.
    """

    __slots__ = ("_data", "file", "info", "outdated", "start")

    def __init__(
        self, info: ZipInfo, file: File, start: int, data: int | None, *, outdated: bool = False
    ) -> None:
        self.info = info
        self.file = file
        self.start = start
        self.outdated = outdated
        self._data = data

    @property
    def data(self) -> int:
        """Where the compressed value begins: known, or found behind the header."""
        if self._data is None:
            header = self.file.peek(self.start, header_room(self.info))
            self._data = self.start + header_length(self.info, header, self.file.path)
        return self._data

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.data + self.info.compress_size

    @property
    def length(self) -> int:
        """What it occupies in its file."""
        return self.end - self.start

    def value(self, wanted: ByteRange | None) -> bytes:
        """The value or a range of it; a range of a stored one is read alone, so its checksum is not checked."""
        info = self.info
        if wanted is None or info.compress_type != ZIP_STORED or info.flag_bits & ENCRYPTED:
            whole = decode(info, self.file.read(self.data, info.compress_size), self.file.path)
            return whole if wanted is None else whole[wanted.start : wanted.stop]
        start, length = resolve(wanted, info.file_size)
        return self.file.read(self.data + start, length)

    def under(self, key: str) -> Entry:
        """The value under another key."""
        return Entry(renamed(self.info, key), self.file, self.start, self.data, outdated=True)


def loaded(key: str, info: ZipInfo, file: File) -> Entry:
    """An entry of an archive's directory."""
    start = info.header_offset
    if needs_header(info, key):
        return Entry(renamed(info, key), file, start, None, outdated=True)
    return Entry(info, file, start, None)


def added(packed: Packed, spool: Spool) -> Entry:
    """A packed value as an entry of the spool, where it is written."""
    info, pieces = packed
    start = spool.append(pieces)
    return Entry(info, spool.file, start, spool.end - info.compress_size)


def copied(entries: Iterable[tuple[str, Entry]], file: File, place: int) -> tuple[dict[str, Entry], int]:
    """Copies of entries in another file, from a position on, and their end: neighbours in one go, nothing unpacked."""
    copies: dict[str, Entry] = {}
    begin = stop = place  # of the run that is still to be copied, in its old file
    source: File | None = None
    for key, entry in sorted(entries, key=lambda item: item[1].start):
        header = entry.info.FileHeader() if entry.outdated else b""
        start = entry.data if entry.outdated else entry.start
        if source is not None and (header or start != stop or entry.file is not source):
            source.copy(begin, stop - begin, file, place - (stop - begin))
            source = None
        if source is None:
            file.write(place, header)
            source, begin = entry.file, start
        data = place + len(header) + entry.data - start
        trailer = descriptor(entry.info) if entry.outdated else b""
        copies[key] = Entry(entry.info, file, place, data, outdated=bool(trailer))
        place, stop = data + entry.info.compress_size, entry.end
        if trailer:
            source.copy(begin, stop - begin, file, place - (stop - begin))
            source = None
            file.write(place, trailer)
            place += len(trailer)
    if source is not None:
        source.copy(begin, stop - begin, file, place - (stop - begin))
    return copies, place


def finish(file: File, end: int, entries: Mapping[str, Entry], comment: bytes) -> None:
    """Write the directory behind the members."""
    for entry in entries.values():
        entry.info.header_offset = entry.start
    with file.stream("r+b", end) as stream:
        write_directory(stream, (entry.info for entry in entries.values()), comment)
        stream.truncate(stream.tell())
