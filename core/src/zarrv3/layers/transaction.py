"""The layer that keeps writes back until they are all made at once: what `store.transaction()` gives."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from zarrv3.errors import StoreClosedError, UnsupportedError
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, Capabilities, Request
from zarrv3.store.helpers import children, cut
from zarrv3.store.keys import check_folder, check_keys, split_prefix


class Transaction(Layer):
    """Writes in memory over a store that can apply many changes at once; thread-safe.

    Reads see the transaction's own writes over what the store holds at the time of the read. `compare_and_set` is not
    offered: what it compared could change before the end.
    """

    kind = "transaction"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self._lock = threading.RLock()
        self._changes: dict[str, bytes | None] = {}
        self._ended = False

    def commit(self) -> None:
        """Make all changes at once; nothing can be written through this object afterwards."""
        with self._lock:
            self._ended = True
            if self._changes:
                self.inner.apply_many(self._changes)

    def abandon(self) -> None:
        """Forget all changes; nothing can be written through this object afterwards."""
        with self._lock:
            self._ended = True
            self._changes.clear()

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do, but for atomic comparisons and transactions in transactions."""
        return self.inner.capabilities.without("atomic_create", "atomic_swap", "transactions")

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        with self._lock:
            own = {key: self._changes[key] for key, _ in requests if key in self._changes}
        rest = iter(self.inner.get_many([(key, wanted) for key, wanted in requests if key not in own]))
        return [cut(own[key], wanted) if key in own else next(rest) for key, wanted in requests]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        check_keys(items.keys())
        self._change({key: bytes(value) for key, value in items.items()})

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        check_keys(keys)
        self._change(dict.fromkeys(keys))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract: the keys that are there now."""
        self._change(dict.fromkeys(self.list_prefix(check_folder(folder))))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: values are read, since both names belong to the transaction."""
        keys = [*self.list_prefix(check_folder(source))]
        values = self.get_many([(key, None) for key in keys])
        moved = {
            target + key[len(source) :]: bytes(v)
            for key, v in zip(keys, values, strict=True)
            if v is not None
        }
        self._change({**dict.fromkeys(keys), **moved})

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        check_keys(changes.keys())
        self._change({key: None if value is None else bytes(value) for key, value in changes.items()})

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:  # noqa: ARG002
        """Not offered."""
        raise UnsupportedError(f"cannot compare and set {key!r} in a transaction; do it on the store itself")

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        with self._lock:
            own = {key: value for key, value in self._changes.items() if key == where or _below(key, where)}
        for key, size in self.inner.sizes(where):
            if key not in own:
                yield key, size
        for key, value in own.items():
            if value is not None:
                yield key, len(value)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        prefix = split_prefix(prefix)[1]
        with self._lock:
            own = {key: value for key, value in self._changes.items() if key.startswith(prefix)}
        for key in self.inner.list_prefix(prefix):
            if key not in own:
                yield key
        yield from (key for key, value in own.items() if value is not None)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract; folders in which something was erased are listed to see whether anything is left."""
        folder = check_folder(folder)
        with self._lock:
            own = {key: value for key, value in self._changes.items() if key.startswith(folder)}
        keys, folders = self.inner.list_dir(folder)
        own_keys, own_folders = children([key for key, value in own.items() if value is not None], folder)
        _, touched = children([key for key, value in own.items() if value is None], folder)
        emptied = {name for name in touched if next(self.list_prefix(name), None) is None}
        return (
            sorted({key for key in keys if key not in own} | set(own_keys)),
            sorted((set(folders) | set(own_folders)) - emptied),
        )

    def flush(self) -> None:
        """Nothing is durable before the end."""

    def close(self) -> None:
        """The store outlives the transaction."""

    def _change(self, changes: Mapping[str, bytes | None]) -> None:
        with self._lock:
            if self._ended:
                raise StoreClosedError(
                    "the transaction has ended; begin another one with store.transaction()"
                )
            self._changes.update(changes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Refused: a transaction belongs to its process."""
        raise TypeError("a transaction cannot be pickled: it belongs to the process that began it")


def _below(key: str, where: str) -> bool:
    return (not where or where.endswith("/")) and key.startswith(where)
