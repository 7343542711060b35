"""The contract over an archive in a file."""

from __future__ import annotations

import weakref
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from zipfile import ZIP_STORED

from zarrv3.errors import InvalidKeyError, LimitError, StoreAccessError
from zarrv3.store.contract import Buffer, Capabilities, Changes, Limits, Request, Swaps, Versioned
from zarrv3_store_zip.archive import Archive
from zarrv3_store_zip.entries import Packed
from zarrv3_store_zip.members import encode

KEY_BYTES = 65_000
"""A name and its other fields in the directory share 65,535 bytes."""


class ZipDriver:
    """Keys as entries of an archive.

    Args:
        archive: the archive, which other drivers of this process may share.
        mode: `r` reads only; `w` begins with an empty archive; `x` does so where there is none; `a` keeps
            what is there.
        compression: how new values are compressed.
        zip64: whether the archive may grow beyond 2 GiB and 65,535 entries.
        fsync: whether a flush waits for the disk.
    """

    def __init__(self, archive: Archive, *, mode: str, compression: int, zip64: bool, fsync: bool) -> None:
        self.archive = archive
        self.compression = compression
        self.zip64 = zip64
        self.fsync = fsync
        if mode in {"w", "x"}:
            archive.empty(exclusive=mode == "x")
        elif not archive.exists() and mode == "r":
            raise StoreAccessError(f"there is no archive {archive.path!r}; mode 'a' creates one")
        stored = all(entry is None or entry.info.compress_type == ZIP_STORED for entry in archive.entries())
        can = Capabilities(
            write=True,
            erase=True,
            list=True,
            swap=True,  # unflushed changes keep other processes out
            swap_erases=True,
            transactions=True,
            native_ranges=stored and compression == ZIP_STORED,
            shared=mode == "r",
            persistent=True,
            durable=mode == "r",
            limits=Limits(key_bytes=KEY_BYTES, value_bytes=None if zip64 else zipfile.ZIP64_LIMIT),
        )
        self.capabilities = can.read_only() if mode == "r" else can
        self._at_last = weakref.finalize(self, archive.flush_at_last, fsync)

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: a snapshot; stored values are read in place, compressed ones whole."""
        entries = self.archive.entries([key for key, _ in requests])
        return [
            None if entry is None else entry.value(wanted)
            for entry, (_, wanted) in zip(entries, requests, strict=True)
        ]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return [None if entry is None else entry.info.file_size for entry in self.archive.entries(keys)]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; the version of a value is its entry in the directory, which a flush does not change."""
        return [
            (None, None) if entry is None else (entry.value(None), entry.info)
            for entry in self.archive.entries(keys)
        ]

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        return self.archive.keys().list_prefix(folder)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        return self.archive.keys().list_dir(folder)

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says; seen by this process at once, by others after the next flush."""
        self.archive.change(self._packed(changes))

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says: all at once in this process and, by one flush, for all others."""
        self.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: the archive is locked against other processes if it has to be changed."""
        packed = self._packed({key: new for key, (_, new) in swaps.items()})
        return self.archive.swap({key: (version, packed[key]) for key, (version, _) in swaps.items()})

    def erase_prefix(self, folder: str, /) -> None:
        self.archive.erase(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: atomically, and no value is read."""
        self.archive.rename(source, target)

    def flush(self) -> None:
        """As the contract says: the archive is replaced by one with all changes."""
        self.archive.flush(fsync=self.fsync)

    def close(self) -> None:
        """As the contract says; another store of this process may go on using the archive."""
        self._at_last.detach()
        self.flush()

    # ------------------------------------------------------------ packing

    def _packed(self, changes: Changes) -> dict[str, Packed | None]:
        for key, value in changes.items():
            if "\\" in key and value is not None:
                raise InvalidKeyError(
                    f"key {key!r} contains a backslash, which many zip programs take for a '/'"
                )
        packed = {
            key: None if value is None else encode(key, value, self.compression)
            for key, value in changes.items()
        }
        if not self.zip64:
            self._check_room(packed)
        return packed

    def _check_room(self, packed: Mapping[str, Packed | None]) -> None:
        """Raise `LimitError` if the archive would no longer fit into the classic format."""
        infos = [
            entry.info for entry in self.archive.entries() if entry and entry.info.filename not in packed
        ]
        infos += [new[0] for new in packed.values() if new]
        size = sum(46 + 30 + 2 * len(info.filename.encode()) + info.compress_size for info in infos)
        if size > zipfile.ZIP64_LIMIT or len(infos) > zipfile.ZIP_FILECOUNT_LIMIT:
            raise LimitError(
                f"with {next(iter(packed))!r} the archive would have {size} bytes and {len(infos)} entries, more than "
                "2 GiB or 65,535; open it with allowZip64=True, or use larger chunks"
            )
