"""The state of an archive in a file, shared by all stores of a process that have it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from typing import Any

from zarrv3.errors import StoreAccessError
from zarrv3.forks import renew_in_children
from zarrv3.store.contract import Version
from zarrv3.store.files import inherit, status_of, sync_names
from zarrv3.store.helpers import unchanged
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.sharing import Sharing
from zarrv3_store_zip.entries import Entry, Packed, added, copied, finish, loaded
from zarrv3_store_zip.members import read_directory
from zarrv3_store_zip.spool import File, Spool, Stamp

SLACK = 64 << 20
"""This many superseded bytes, or as many as there are others, may lie in the spool before it is packed."""


class Archive:
    """An archive: what it holds, unflushed changes included. Thread-safe.

    There are unflushed changes while there is a `Spool`, which makes this process the only writer. Without
    one, the directory is read again when the file has changed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._index = MemoryDriver({})
        self._comment = b""
        self._seen: Stamp | None = None
        self._spool: Spool | None = None
        self._flushing: tuple[Spool, File, dict[str, Entry]] | None = None
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child: leave the parent's unflushed changes to the parent."""
        self._lock = threading.Lock()
        self._index, self._seen = MemoryDriver({}), None
        self._spool = self._flushing = None

    # ------------------------------------------------------------ reading

    def exists(self) -> bool:
        """Whether there is an archive, flushed or not."""
        with self._lock:
            self._refresh()
            return self._seen is not None or self._spool is not None

    def entries(self, keys: Collection[str] | None = None) -> list[Entry | None]:
        """The entries of some keys (of all keys) as they are at one moment."""
        with self._lock:
            self._refresh()
            mapping = self._index.mapping
            return [*mapping.values()] if keys is None else [mapping.get(key) for key in keys]

    def keys(self) -> MemoryDriver:
        """All keys, for listing."""
        with self._lock:
            self._refresh()
            return self._index

    def _refresh(self) -> None:
        self._settle()
        if self._spool is None and (there := Stamp.at(self.path)) != self._seen:
            self._load(there)

    def _load(self, there: Stamp | None) -> None:
        entries: dict[str, Entry] = {}
        comment = b""
        if there is not None:
            file = File(self.path, os.O_RDONLY)
            there = file.stamp()
            if there.size:  # an empty file is an archive without entries
                with file.stream("rb") as stream:
                    directory = read_directory(stream, repr(self.path))
                comment = directory.comment
                entries = {key: loaded(key, info, file) for key, info in directory.infos.items()}
        self._index, self._comment, self._seen = MemoryDriver(entries), comment, there

    # ------------------------------------------------------------ changing

    def change(self, changes: Mapping[str, Packed | None]) -> None:
        """Set and erase keys, all at once; erasing a missing key is not a change."""
        with self._lock:
            self._refresh()
            if any(packed or key in self._index.mapping for key, packed in changes.items()):
                self._apply(self._begin(), changes)

    def swap(self, swaps: Mapping[str, tuple[Version | None, Packed | None]]) -> Collection[str]:
        """Set and erase the keys that still have the given entries; returns the others."""
        with self._lock:
            self._refresh()
            changes, refused = self._unchanged(swaps)
            if changes:
                idle = self._spool is None
                spool = self._begin()
                changes, refused = self._unchanged(swaps)  # another process may have been faster
                if changes:
                    self._apply(spool, changes)
                elif idle:
                    self._spool = None
                    spool.release()
            return refused

    def _unchanged(self, swaps: Mapping[str, tuple[Version | None, Any]]) -> tuple[dict[str, Any], list[str]]:
        entries = map(self._index.mapping.get, swaps)
        return unchanged(swaps, (entry and entry.info for entry in entries))

    def erase(self, folder: str) -> None:
        """Erase all keys below a folder."""
        with self._lock:
            self._refresh()
            if [*self._index.list_prefix(folder)]:
                self._apply(self._begin(), dict.fromkeys(self._index.list_prefix(folder)))

    def rename(self, source: str, target: str) -> None:
        """Move all keys below a folder; values are not touched."""
        with self._lock:
            self._refresh()
            if next(self._index.list_prefix(source), None) is None:
                return
            spool = self._begin()
            old: dict[str, Entry] = {key: self._index.mapping[key] for key in self._index.list_prefix(source)}
            new = {target + key[len(source) :]: entry for key, entry in old.items()}
            self._index.change(dict.fromkeys(old) | {key: entry.under(key) for key, entry in new.items()})
            waiting = [one for one in old.values() if one.file is spool.file and not one.outdated]
            spool.dead += sum(one.data - one.start for one in waiting)

    def empty(self, *, exclusive: bool) -> None:
        """Start again empty; raises `StoreAccessError` if the archive exists and `exclusive` is set."""
        with self._lock:
            self._refresh()
            if self._seen is None and self._spool is None:
                return
            if exclusive:
                raise StoreAccessError(f"{self.path!r} exists; mode 'x' creates a new archive only")
            spool = self._begin()
            spool.dead = spool.end
            self._index, self._comment = MemoryDriver({}), b""

    def _begin(self) -> Spool:
        """Become the only writer, unless this process is already."""
        if self._spool is None:
            spool = Spool(self.path)
            try:
                self._refresh()
            except BaseException:
                spool.release()
                raise
            self._spool = spool
        return self._spool

    def _apply(self, spool: Spool, changes: Mapping[str, Packed | None]) -> None:
        end = spool.end
        try:
            new = {key: packed and added(packed, spool) for key, packed in changes.items()}
        except BaseException:
            spool.end = end  # what was written before it failed is overwritten by the next one
            raise
        written = spool.end - end
        spool.dead += written  # until they are in the index
        before = [
            old for old in map(self._index.mapping.get, new) if old is not None and old.file is spool.file
        ]
        self._index.change(new)
        spool.dead += sum(old.end - (old.data if old.outdated else old.start) for old in before) - written
        if spool.dead > max(SLACK, spool.end // 2):
            self._pack(spool)

    def _pack(self, spool: Spool) -> None:
        """Drop superseded values."""
        waiting = [(key, entry) for key, entry in self._index.mapping.items() if entry.file is spool.file]
        file = spool.second()
        try:
            copies, end = copied(waiting, file, 0)
        except OSError:  # no room for both: it stays as it is
            spool.discard(file)
        else:
            self._index.mapping.update(copies)
            spool.replace(file, end)

    # ------------------------------------------------------------ flushing

    def flush(self, *, fsync: bool) -> None:
        """Replace the archive, in one step, by one with all changes and nothing else."""
        with self._lock:
            self._flush(fsync)

    def _flush(self, fsync: bool) -> None:
        self._settle()
        spool = self._spool
        if spool is None:
            return
        self._check_unchanged()
        mapping = self._index.mapping
        old = [(key, entry) for key, entry in mapping.items() if entry.file is not spool.file]
        file = spool.second() if old or spool.dead else spool.file
        copies: dict[str, Entry] = {}
        self._flushing = spool, file, copies
        try:
            end = spool.end
            if file is not spool.file:
                new = [(key, entry) for key, entry in mapping.items() if entry.file is spool.file]
                first, end = copied(old, file, 0)  # at their old places some file systems share them
                more, end = copied(new, file, end)
                copies.update(first | more)
            finish(file, end, {**mapping, **copies}, self._comment)
            if self._seen is not None:
                inherit(file.fd, status_of(self.path))
            if fsync:
                os.fsync(file.fd)
            os.replace(file.path, self.path)  # noqa: PTH105 - texts are all there is
        finally:
            self._settle()
        if fsync:
            sync_names(self.path)

    def _settle(self) -> None:
        """Take note of whether the last flush has replaced the archive; an interrupt may have cut it off anywhere."""
        if self._flushing is None:
            return
        spool, file, copies = self._flushing
        if Stamp.at(self.path) == file.stamp():
            self._index.mapping.update(copies)
            self._seen = file.stamp()
            self._spool = None
            spool.release()
        else:
            spool.discard(file)
        self._flushing = None

    def _check_unchanged(self) -> None:
        there = Stamp.at(self.path)
        if there is not None and there != self._seen:
            raise StoreAccessError(
                f"{self.path!r} was changed by another program since this process began to write to it; "
                "it is left unchanged: move it away and flush again"
            )

    def flush_at_last(self, fsync: bool) -> None:
        """Flush when a store is dropped without being closed; not while another one is at work."""
        if self._lock.acquire(blocking=False):
            try:
                self._flush(fsync)
            finally:
                self._lock.release()

    def __del__(self) -> None:
        if self._spool is not None:
            self._spool.release()


# ---------------------------------------------------------------- one per process

_archives: Sharing[Archive] = Sharing()


def archive_at(path: str) -> Archive:
    """The archive at a path: the same object for all stores of this process."""
    real = os.path.realpath(path)
    return _archives.get_or_make(real, lambda: Archive(real))[0]
