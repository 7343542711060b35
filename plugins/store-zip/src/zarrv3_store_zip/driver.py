"""The contract over an archive in a file."""

from __future__ import annotations

import weakref
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from zipfile import ZIP_STORED

from zarrv3.errors import InvalidKeyError, LimitError, StoreAccessError
from zarrv3.store.contract import Buffer, Capabilities, Limits, Request
from zarrv3_store_zip.archive import Archive
from zarrv3_store_zip.entries import Entry, Packed
from zarrv3_store_zip.members import encode

KEY_BYTES = 65_000
"""A name and its other fields in the directory share 65,535 bytes."""


class ZipDriver:
    """Keys as entries of an archive.

    Args:
        archive: the archive, which other drivers of this process may share.
        mode: `r` reads only; `w` begins with an empty archive; `x` does so where none is; `a` keeps what is there.
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
        self.capabilities = (Capabilities.read_only if mode == "r" else Capabilities)(
            transactions=mode != "r",
            shared=mode == "r",
            durable=mode == "r",
            native_ranges=stored and compression == ZIP_STORED,
            limits=Limits(key_bytes=KEY_BYTES, value_bytes=None if zip64 else zipfile.ZIP64_LIMIT),
        )
        self._at_last = weakref.finalize(self, archive.flush_at_last, fsync)

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: as of one moment; stored values are read in place, compressed ones whole."""
        entries = self.archive.entries([key for key, _ in requests])
        return [
            None if entry is None else entry.value(wanted)
            for entry, (_, wanted) in zip(entries, requests, strict=True)
        ]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract; seen by this process at once, by others after the next flush."""
        self.apply_many(items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        self.archive.change(dict.fromkeys(keys))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self.archive.erase(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: at once, and no value is read."""
        self.archive.rename(source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract: the archive is locked against other processes when it has to be changed."""

        def expected(entry: Entry | None) -> bool:
            return old is None if entry is None else old is not None and entry.value(None) == old

        return self.archive.swap(key, expected, None if new is None else self._packed({key: new})[key])

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: all at once in this process and, by one flush, for all others."""
        new = self._packed({key: value for key, value in changes.items() if value is not None})
        self.archive.change({key: new.get(key) for key in changes})

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract: the compressed sizes, from the directory."""
        keys = [*self.list_prefix(where)] if where.endswith("/") or not where else [where]
        for key, entry in zip(keys, self.archive.entries(keys), strict=True):
            if entry is not None:
                yield key, entry.info.compress_size

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract."""
        return self.archive.below(folder)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        return self.archive.directly_below(folder)

    def flush(self) -> None:
        """See the contract: the archive is replaced by one with all changes."""
        self.archive.flush(fsync=self.fsync)

    def close(self) -> None:
        """Flush; another store of this process may go on using the archive."""
        self._at_last.detach()
        self.flush()

    # ------------------------------------------------------------ packing

    def _packed(self, items: Mapping[str, Buffer]) -> dict[str, Packed]:
        for key in items:
            if "\\" in key:
                raise InvalidKeyError(
                    f"key {key!r} contains a backslash, which many zip programs take for a '/'"
                )
        packed = {key: encode(key, value, self.compression) for key, value in items.items()}
        if not self.zip64:
            self._check_room(packed)
        return packed

    def _check_room(self, packed: Mapping[str, Packed]) -> None:
        """Raise `LimitError` where the archive would not fit into the classic format any more."""
        infos = [
            entry.info for entry in self.archive.entries() if entry and entry.info.filename not in packed
        ]
        infos += [info for info, _ in packed.values()]
        size = sum(46 + 30 + 2 * len(info.filename.encode()) + info.compress_size for info in infos)
        if size > zipfile.ZIP64_LIMIT or len(infos) > zipfile.ZIP_FILECOUNT_LIMIT:
            raise LimitError(
                f"with {next(iter(packed))!r} the archive would have {size} bytes and {len(infos)} entries, more than "
                "2 GiB or 65,535; open it with allowZip64=True, or use larger chunks"
            )
