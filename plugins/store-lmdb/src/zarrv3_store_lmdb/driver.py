"""The contract over transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import lmdb

from zarrv3.errors import StoreClosedError
from zarrv3.store.contract import (
    ByteRange,
    Capabilities,
    Changes,
    Limits,
    Request,
    Swaps,
    Versioned,
    whole,
)
from zarrv3.store.helpers import rename_by_copy, size_of, unchanged
from zarrv3_store_lmdb.environments import FIRST_SIZE, Environment, Place, Transaction, acquire, release

T = TypeVar("T")
_Cursor: TypeAlias = "lmdb.Cursor[memoryview]"
_Entry: TypeAlias = tuple[bytes, int]
_Page: TypeAlias = tuple[list[_Entry], bytes | None]
_Listing: TypeAlias = Callable[[_Cursor, bytes], Iterator[_Entry]]

KEY_BYTES = 511
"""How long a key may be: LMDB's own limit in every build of data format 1."""

_VALUE_BYTES = (1 << 32) - 1
_BATCH_BYTES = 32 << 20  # a transaction keeps what it writes in memory until the end
_PAGE = 1000  # how many keys are listed in one transaction
_KEY_ROOM = 600  # the most that a key takes, besides its value


class LMDBDriver:
    """Keys as UTF-8 bytes in the default database of an environment.

    Args:
        place: where the environment is or will be.
        options: for `lmdb.open`.
        map_size: the initial size of the map.
        readonly: refuse to write.
    """

    def __init__(
        self, place: Place, options: Mapping[str, Any], *, map_size: int = FIRST_SIZE, readonly: bool = False
    ) -> None:
        self.place = place
        self.options = options
        self.map_size = map_size
        self.capabilities = _capabilities(
            readonly=readonly or not place.can_write(), locking=bool(options.get("lock", True))
        )
        self._lock = threading.Lock()
        self._held: Environment | None = None
        self._closed = False

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> list[bytes | None]:
        """As the contract says: one read transaction; each part is copied out of the map once."""
        wanted = [(key.encode(), part) for key, part in requests]
        return self._read(
            lambda txn: [_copied(txn.get(key), part) for key, part in wanted], [None] * len(requests)
        )

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says: nothing is copied, but py-lmdb touches each page of a value."""
        names = [key.encode() for key in keys]
        return self._read(lambda txn: [_length(txn.get(name)) for name in names], [None] * len(keys))

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; the version of a value is the value itself."""
        return [(value, value) for value in self.get_many(whole(keys))]

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: one write transaction."""
        sizes = [len(value) for value in changes.values() if value is not None]
        env = self._environment(create=bool(sizes))
        if env is not None:
            env.write(partial(_apply, changes), _room(sizes))

    def apply_many(self, changes: Changes, /) -> None:
        self.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: one write transaction."""
        creates = any(version is None and new is not None for version, new in swaps.values())
        env = self._environment(create=creates)
        if env is None:
            return unchanged(swaps, [None] * len(swaps))[1]

        def swap(txn: Transaction) -> Collection[str]:
            changes, refused = unchanged(swaps, (_copied(txn.get(key.encode()), None) for key in swaps))
            _apply(changes, txn)
            return refused

        return env.write(swap, _room([size_of(new) for _, new in swaps.values()]))

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: one write transaction, all at once."""
        env = self._environment(create=False)
        if env is not None:
            env.write(partial(_erase_below, folder.encode()))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: one write transaction, unless it would take too much memory."""
        sizes = [size for _, size in self.list_sizes(source)]
        env = self._environment(create=False)
        if sum(sizes) > _BATCH_BYTES:
            rename_by_copy(self, source, target)
        elif sizes and env is not None:
            env.write(partial(_move_below, source.encode(), target.encode()), _room(sizes))

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        return (key for key, _ in self._listed(folder, _keys))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says: nothing is copied, but py-lmdb touches each page of a value."""
        return self._listed(folder, _sizes)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says: one cursor step per name, whatever lies below it."""
        return (name for name, _ in self._listed(folder, _names))

    def flush(self) -> None:
        """Have everything on the disk."""
        env = self._held
        if env is not None:
            env.flush()

    def close(self) -> None:
        """Flush; the last user of the file in this process closes it."""
        with self._lock:
            env, self._held, self._closed = self._held, None, True
        if env is not None:
            try:
                env.flush()
            finally:
                release(self, env)

    # ------------------------------------------------------------ the environment

    def _read(self, function: Callable[[Transaction], T], nothing: T) -> T:
        """What a function returns in a read transaction; `nothing` without a file: reading creates none."""
        env = self._environment(create=False)
        return nothing if env is None else env.read(function)

    def _environment(self, *, create: bool) -> Environment | None:
        env = self._held
        if env is not None and env.is_at(self.place):
            return env
        with self._lock:
            if self._closed:
                raise StoreClosedError(f"{self.place.path!r} was closed in the middle of a call")
            env = self._held
            if env is None or not env.is_at(self.place):
                self._held = None
                if env is not None:  # its file was erased, or replaced by another one
                    release(self, env)
                self._held = acquire(self, self.place, self.options, self.map_size, create=create)
            return self._held

    def _listed(self, folder: str, listing: _Listing) -> Iterator[tuple[str, int]]:
        """Page by page, each in a transaction of its own: none stays open while the caller iterates."""
        prefix = folder.encode()
        start: bytes | None = prefix
        nothing: _Page = [], None
        while start is not None and len(prefix) <= KEY_BYTES:
            page, start = self._read(partial(_page, listing, prefix, start), nothing)
            for name, size in page:
                try:
                    yield name.decode(), size
                except UnicodeDecodeError:  # a key that another program has put there
                    continue


# ---------------------------------------------------------------- in a transaction


def _copied(value: Any, wanted: ByteRange | None) -> bytes | None:
    """A copy of this part of a value in the map."""
    if value is None:
        return None
    return bytes(value if wanted is None else value[wanted.start : wanted.stop])


def _length(value: Any) -> int | None:
    return None if value is None else len(value)


def _apply(changes: Changes, txn: Transaction) -> None:
    for key, value in changes.items():
        if value is None:
            txn.delete(key.encode())
        else:
            txn.put(key.encode(), value)


def _erase_below(prefix: bytes, txn: Transaction) -> None:
    if len(prefix) > KEY_BYTES:
        return
    with txn.cursor() as cursor:
        there = cursor.set_range(prefix)
        while there and cursor.key()[: len(prefix)] == prefix:
            there = cursor.delete()


def _move_below(source: bytes, target: bytes, txn: Transaction) -> None:
    with txn.cursor() as cursor:
        cursor.set_range(source)
        keys = [key for key, _ in _keys(cursor, source)]
    for key in keys:
        value = txn.pop(key)
        assert value is not None
        txn.put(target + key[len(source) :], value)


def _page(listing: _Listing, prefix: bytes, start: bytes, txn: Transaction) -> _Page:
    """What a listing yields from a key on, and where to continue if there is more."""
    with txn.cursor() as cursor:
        items = [*islice(listing(cursor, prefix), _PAGE + 1)] if cursor.set_range(start) else []
    return items[:_PAGE], items[_PAGE][0] if len(items) > _PAGE else None


def _keys(cursor: _Cursor, prefix: bytes) -> Iterator[_Entry]:
    """The keys from a cursor's position, as long as they start with a prefix."""
    for view in cursor.iternext(values=False):
        key = bytes(view)
        if not key.startswith(prefix):
            return
        yield key, 0


def _sizes(cursor: _Cursor, prefix: bytes) -> Iterator[_Entry]:
    """Keys with the lengths of their values."""
    return ((key, len(cursor.value())) for key, _ in _keys(cursor, prefix))


def _names(cursor: _Cursor, folder: bytes) -> Iterator[_Entry]:
    """Keys and folders directly below a folder: after the first key of a folder the rest is skipped."""
    while (key := bytes(cursor.key())).startswith(folder):
        end = key.find(b"/", len(folder))
        yield (key if end < 0 else key[: end + 1]), 0
        if not (cursor.next() if end < 0 else cursor.set_range(key[:end] + b"0")):  # what comes after b"/"
            return


def _room(sizes: Sequence[int]) -> int:
    """The most that values take in the file, without the tree above them: whole pages."""
    return sum(sizes) + len(sizes) * (4096 + _KEY_ROOM)


def _capabilities(*, readonly: bool, locking: bool) -> Capabilities:
    can = Capabilities(
        write=True,
        erase=True,
        list=True,
        swap=True,
        swap_erases=True,
        transactions=True,
        native_ranges=True,
        shared=locking,
        persistent=True,
        durable=True,
        limits=Limits(key_bytes=KEY_BYTES, value_bytes=_VALUE_BYTES, batch_bytes=_BATCH_BYTES),
    )
    return can.read_only() if readonly else can
