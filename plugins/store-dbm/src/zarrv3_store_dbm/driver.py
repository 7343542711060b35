"""The contract over a database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from zarrv3.store.contract import Buffer, Capabilities, Request
from zarrv3.store.helpers import chunked, compare_and_set_locked, rename_by_copy
from zarrv3_store_dbm.databases import Database, acquire, release
from zarrv3_store_dbm.dumb import DumbHandle
from zarrv3_store_dbm.modules import DURABLE, Handle, Place

_PAGE = 256  # how many sizes are found out under one hold of the lock


class DBMDriver:
    """Keys as UTF-8 bytes in a database that all stores of this process over it share.

    Args:
        place: where the database is, or will be.
        flag: `r`, `w`, `c` or `n`; with `n` it is empty, whatever is there, and replaced by the first write.
        begun: called when that has happened.
    """

    def __init__(self, place: Place, flag: str, begun: Callable[[], None]) -> None:
        self.database: Database = acquire(self, place)
        self.flag = flag
        self.begun = begun
        dumb = place.module == "dumb"
        self.capabilities = (
            Capabilities.read_only(shared=False, native_ranges=dumb)
            if flag == "r"
            else Capabilities(
                shared=False, transactions=dumb, native_ranges=dumb, durable=place.module in DURABLE
            )
        )

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: values one by one, under one hold of the lock."""
        with self._reading() as handle:
            return [None] * len(requests) if handle is None else handle.get_many(requests)

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract: values one by one, under one hold of the lock."""
        if items:
            with self._writing() as handle:
                self.database.put(handle, items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        with self.database.lock, self._reading() as there:
            found = [] if there is None else self._present(there, keys)
            if found:
                with self._writing() as handle:
                    self.database.drop(handle, found)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        with self.database.lock:
            self.erase_many([*self.list_prefix(folder)])

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: with `dbm.dumb` at once and without copying; else copied, in one hold of the lock."""
        with self.database.lock:
            keys = [*self.list_prefix(source)]
            if not keys:
                return
            with self._writing() as handle:
                if isinstance(handle, DumbHandle):
                    handle.move({key: target + key[len(source) :] for key in keys})
                    self.database.forget_names()
                else:
                    rename_by_copy(self, source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract: under the lock, and no other process can write."""
        return compare_and_set_locked(
            self.database.lock,
            lambda key: self.get_many([(key, None)])[0],
            lambda key, value: self.set_many({key: value}),
            lambda key: self.erase_many([key]),
            key,
            old,
            new,
        )

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: `dbm.dumb` only, by replacing its index."""
        sets = any(value is not None for value in changes.values())
        if sets or (changes and self._exists()):
            with self._writing() as handle:
                self.database.apply(cast("DumbHandle", handle), changes)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract, but for the modules that cannot tell sizes: their values are read, once, and not kept."""
        keys = self.list_prefix(where) if not where or where.endswith("/") else iter((where,))
        for page in chunked(keys, _PAGE):
            with self._reading() as handle:
                found = [] if handle is None else self.database.sizes(handle, page)
            yield from found

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract: from the index in memory, made by the first listing."""
        with self._reading() as handle:
            return iter(()) if handle is None else self.database.names(handle).list_prefix(folder)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract: from the index in memory, made by the first listing."""
        with self._reading() as handle:
            return ([], []) if handle is None else self.database.names(handle).list_dir(folder)

    def flush(self) -> None:
        """Have everything on the disk."""
        self.database.flush()

    def close(self) -> None:
        """Flush; the last user of the database in this process closes it."""
        release(self, self.database)

    # ------------------------------------------------------------ the database

    @contextmanager
    def _reading(self) -> Iterator[Handle | None]:
        with self.database.lock:
            if self.flag == "n":
                yield None
            else:
                with self.database.reading() as handle:
                    yield handle

    @contextmanager
    def _writing(self) -> Iterator[Handle]:
        with self.database.lock, self.database.writing(self.flag) as handle:
            if self.flag == "n":
                self.flag = "c"
                self.begun()
            yield handle

    def _exists(self) -> bool:
        with self._reading() as handle:
            return handle is not None

    def _present(self, handle: Handle, keys: Collection[str]) -> list[str]:
        """Those keys that exist: from the index in memory, else from the database's own."""
        if isinstance(handle, DumbHandle):
            return [key for key, size in zip(keys, handle.sizes(keys), strict=True) if size is not None]
        names = self.database.names(handle).mapping
        return [key for key in dict.fromkeys(keys) if key in names]
