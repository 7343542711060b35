"""The contract over transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import lmdb

from zarrv3.errors import StoreClosedError
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Limits, Request
from zarrv3.store.helpers import rename_by_copy
from zarrv3_store_lmdb.environments import FIRST_SIZE, Environment, Place, Transaction, acquire, release

_Page: TypeAlias = tuple[list[tuple[bytes, int]], bytes | None]
_PageOf: TypeAlias = Callable[[bytes, bytes, Transaction], _Page]

KEY_BYTES = 511
"""How long a key may be: LMDB's own limit in every build of data format 1."""

_VALUE_BYTES = (1 << 32) - 1
_BATCH_BYTES = 32 << 20  # a transaction keeps what it writes in memory until the end
_PAGE = 1000  # how many keys are listed in one transaction
_KEY_ROOM = 600  # what a key takes at most, besides its value


class LMDBDriver:
    """Keys as UTF-8 bytes in the default database of an environment.

    Args:
        place: where the environment lies, or will.
        options: for `lmdb.open`.
        map_size: how large the map is at first.
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

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: one read transaction; each part is copied out of the map once."""
        env = self._existing() if requests else None
        if env is None:
            return [None] * len(requests)
        wanted = [(key.encode(), part) for key, part in requests]
        return env.read(lambda txn: [_copied(txn.get(key), part) for key, part in wanted])

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract: one write transaction."""
        self.apply_many(items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract: one write transaction."""
        self.apply_many(dict.fromkeys(keys))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract: one write transaction, all at once."""
        env = self._existing()
        if env is not None:
            env.write(partial(_erase_below, folder.encode()))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: one write transaction, unless that would take too much memory."""
        env = self._existing()
        if env is None:
            return
        sizes = [size for _, size in self.sizes(source)]
        if sum(sizes) > _BATCH_BYTES:
            rename_by_copy(self, source, target)
        elif sizes:
            env.write(partial(_move_below, source.encode(), target.encode()), _room(sizes))

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract: one write transaction."""
        env = self._writable() if old is None and new is not None else self._existing()
        if env is None:
            return old is None
        name = key.encode()
        before = None if old is None else bytes(old)

        def swap(txn: Transaction) -> bool:
            found = txn.get(name)
            if found is None or before is None:
                if found is not None or before is not None:
                    return False
            elif len(found) != len(before) or bytes(found) != before:
                return False
            _apply(txn, name, new)
            return True

        return env.write(swap, _room([len(new or b"")]))

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: one write transaction."""
        sizes = [len(value) for value in changes.values() if value is not None]
        env = self._writable() if sizes else self._existing()
        if env is None or not changes:
            return
        items = [(key.encode(), value) for key, value in changes.items()]

        def change(txn: Transaction) -> None:
            for key, value in items:
                _apply(txn, key, value)

        env.write(change, _room(sizes))

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract: nothing is copied, but py-lmdb touches each page of a value."""
        if not where or where.endswith("/"):
            yield from self._listed(where, _page_of_sizes)
            return
        env = self._existing()
        size = None if env is None else env.read(lambda txn: _length(txn.get(where.encode())))
        if size is not None:
            yield where, size

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract, in key order."""
        return (key for key, _ in self._listed(folder, _page_of_keys))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract: one step of a cursor for each name, whatever lies below it."""
        env = self._existing()
        if env is None or len(prefix := folder.encode()) > KEY_BYTES:
            return [], []
        return env.read(partial(_names, prefix))

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

    def _existing(self) -> Environment | None:
        """The environment if its file exists: reading creates nothing."""
        return self._environment(create=False)

    def _writable(self) -> Environment:
        env = self._environment(create=True)
        assert env is not None
        return env

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

    def _listed(self, folder: str, page_of: _PageOf) -> Iterator[tuple[str, int]]:
        """Page by page, each in a transaction of its own: no transaction stays open while somebody iterates."""
        prefix = folder.encode()
        last: bytes | None = b"" if len(prefix) <= KEY_BYTES else None
        while last is not None:
            env = self._existing()
            if env is None:
                return
            page, last = env.read(partial(page_of, prefix, last))
            for key, size in page:
                name = _text(key)
                if name is not None:
                    yield name, size


# ---------------------------------------------------------------- in a transaction


def _copied(value: Any, wanted: ByteRange | None) -> bytes | None:
    """That part of a value in the map as bytes of its own."""
    if value is None:
        return None
    return bytes(value if wanted is None else value[wanted.start : wanted.stop])


def _length(value: Any) -> int | None:
    return None if value is None else len(value)


def _apply(txn: Transaction, key: bytes, value: Buffer | None) -> None:
    if value is None:
        txn.delete(key)
    else:
        txn.put(key, value)


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
        keys = [*_below(cursor, source)]
    for key in keys:
        value = txn.pop(key)
        assert value is not None
        txn.put(target + key[len(source) :], value)


def _below(cursor: lmdb.Cursor[memoryview], prefix: bytes) -> Iterator[bytes]:
    """The keys from where the cursor is, as long as they start with the prefix."""
    for view in cursor.iternext(values=False):
        key = bytes(view)
        if not key.startswith(prefix):
            return
        yield key


def _page_of_keys(prefix: bytes, last: bytes, txn: Transaction) -> _Page:
    """Keys below a prefix after `last`, and the last one if there may be more."""
    page: list[tuple[bytes, int]] = []
    with txn.cursor() as cursor:
        if _after(cursor, prefix, last):
            for key in _below(cursor, prefix):
                page.append((key, 0))
                if len(page) == _PAGE:
                    return page, key
    return page, None


def _page_of_sizes(prefix: bytes, last: bytes, txn: Transaction) -> _Page:
    """The same with the lengths of the values."""
    page: list[tuple[bytes, int]] = []
    with txn.cursor() as cursor:
        if _after(cursor, prefix, last):
            for view, value in cursor.iternext():
                key = bytes(view)
                if not key.startswith(prefix):
                    break
                page.append((key, len(value)))
                if len(page) == _PAGE:
                    return page, key
    return page, None


def _after(cursor: lmdb.Cursor[memoryview], prefix: bytes, last: bytes) -> bool:
    """Go to the first key below a prefix that comes after `last`."""
    there = cursor.set_range(last or prefix)
    if there and last and cursor.key() == last:
        there = cursor.next()
    return there


def _names(folder: bytes, txn: Transaction) -> tuple[list[str], list[str]]:
    """Keys and folders directly below a folder: after the first key of a folder the rest of it is jumped over."""
    keys: list[bytes] = []
    folders: list[bytes] = []
    with txn.cursor() as cursor:
        there = cursor.set_range(folder)
        while there and (key := bytes(cursor.key())).startswith(folder):
            end = key.find(b"/", len(folder))
            if end < 0:
                keys.append(key)
                there = cursor.next()
            else:
                folders.append(key[: end + 1])
                there = cursor.set_range(key[:end] + b"0")  # what comes after b"/"
    return [name for name in map(_text, keys) if name], [name for name in map(_text, folders) if name]


def _text(key: bytes) -> str | None:
    """A key as text; `None` for one that something else has put there."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def _room(sizes: Sequence[int]) -> int:
    """What values take in the file at most, but for the tree above them: whole pages."""
    return sum(sizes) + len(sizes) * (4096 + _KEY_ROOM)


def _capabilities(*, readonly: bool, locking: bool) -> Capabilities:
    limits = Limits(key_bytes=KEY_BYTES, value_bytes=_VALUE_BYTES, batch_bytes=_BATCH_BYTES)
    if readonly:
        return Capabilities.read_only(native_ranges=True, limits=limits)
    return Capabilities(transactions=True, native_ranges=True, shared=locking, limits=limits)
