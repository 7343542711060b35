"""The contract over a database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar, cast

from zarrv3.store.contract import Buffer, Capabilities, Changes, Request, Swaps, Versioned, whole
from zarrv3.store.helpers import unchanged
from zarrv3_store_dbm.databases import Database, acquire, release
from zarrv3_store_dbm.dumb import DumbHandle
from zarrv3_store_dbm.lock import LOCKS
from zarrv3_store_dbm.modules import DURABLE, Handle, Place

T = TypeVar("T")


class DBMDriver:
    """Keys as UTF-8 bytes in a database that all stores of this process over it share.

    Args:
        place: where the database is or will be.
        flag: `r`, `w`, `c` or `n`; with `n` it is empty, whatever is there, and replaced by the first write.
        begun: called when that has been done.
    """

    def __init__(self, place: Place, flag: str, begun: Callable[[], None]) -> None:
        self.database: Database = acquire(self, place)
        self.flag = flag
        self.begun = begun
        dumb = place.module == "dumb"
        can = Capabilities(
            write=True,
            erase=True,
            list=True,
            swap=LOCKS,  # keep all other processes out
            swap_erases=LOCKS,
            transactions=dumb,
            native_ranges=dumb,
            persistent=True,
            durable=place.module in DURABLE,
        )
        self.capabilities = can.read_only() if flag == "r" else can

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: values one by one, under one hold of the lock."""
        return self._read(lambda handle: handle.get_many(requests), [None] * len(requests))

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says; modules that cannot tell sizes have their values read, once, and not kept."""
        return self._read(lambda handle: self.database.stat_many(handle, keys), [None] * len(keys))

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; the version of a value is the value itself."""
        missing: list[bytes | None] = [None] * len(keys)
        return [(value, value) for value in self._read(lambda handle: handle.get_many(whole(keys)), missing)]

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """As the contract says: from the index in memory, made by the first listing."""
        return self._read(lambda handle: self.database.index(handle).list_prefix(folder), iter(()))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says: from the index in memory, made by the first listing."""
        return self._read(lambda handle: self.database.index(handle).list_dir(folder), iter(()))

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: values one by one, under one hold of the lock."""
        self._change(changes, "write_many")

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: under the lock that keeps every other thread and process from writing."""

        def swap(handle: Handle) -> Collection[str]:
            changes, refused = unchanged(swaps, handle.get_many(whole(swaps)))
            self.database.change(handle.write_many, changes)
            return refused

        with self.database.lock:
            if not self._exists() and not any(v is None and new is not None for v, new in swaps.values()):
                return unchanged(swaps, [None] * len(swaps))[1]
            return self._write(swap)

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: at once for the threads of this process."""
        with self.database.lock:
            self.write_many(dict.fromkeys(self.list_prefix(folder)))

    def flush(self) -> None:
        self.database.flush()

    def close(self) -> None:
        release(self, self.database)

    # ------------------------------------------------------------ the database

    def _read(self, action: Callable[[Handle], T], missing: T) -> T:
        return missing if self.flag == "n" else self.database.read(action, missing)

    def _write(self, action: Callable[[Handle], T]) -> T:
        def begun(handle: Handle) -> T:
            if self.flag == "n":
                self.flag = "c"
                self.begun()
            return action(handle)

        with self.database.lock:
            return self.database.write(begun, self.flag)

    def _exists(self) -> bool:
        return self._read(lambda _: True, missing=False)

    def _change(self, changes: Changes, method: str) -> None:
        """Make changes by a method of the handle; erasing what is not there does not open a database for writing."""
        with self.database.lock:
            if None in changes.values():
                there: Collection[str] = self._read(
                    lambda handle: self.database.index(handle).mapping.keys(), ()
                )
                changes = {key: value for key, value in changes.items() if value is not None or key in there}
            if changes:
                self._write(lambda handle: self.database.change(getattr(handle, method), changes))


class DumbDriver(DBMDriver):
    """What the format of `dbm.dumb` can do in addition."""

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says: by replacing the index."""
        self._change(changes, "apply_many")

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: at once, and without copying a value."""
        with self.database.lock:
            names = {key: target + key[len(source) :] for key in self.list_prefix(source)}
            if names:
                self._write(lambda handle: self._move(cast("DumbHandle", handle), names))

    def _move(self, handle: DumbHandle, names: Mapping[str, str]) -> None:
        handle.move(names)
        self.database.forget()
