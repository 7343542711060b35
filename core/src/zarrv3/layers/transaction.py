"""The layer that keeps writes back until they are all made at once: what `store.transaction()` gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zarrv3.errors import ConfigurationError, StoreClosedError
from zarrv3.forks import Lock
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Capabilities, Changes, Request
from zarrv3.store.helpers import children, cut, rename_by_copy


class Transaction(Layer):
    """Writes in memory over a store that can apply many changes at once; thread-safe.

    Reads see the transaction's own writes over what the store holds at the time of the read. Swaps are not offered: what
    they compared could change before the end.
    """

    kind = "transaction"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self._lock = Lock()
        self._changes: dict[str, bytes | None] = {}
        self._ended = False

    def commit(self) -> None:
        """Make all changes at once; nothing can be written through this object afterwards."""
        with self._lock.taken:
            self._ended = True
            if self._changes:
                self.inner.apply_many(self._changes)

    def abandon(self) -> None:
        """Forget all changes; nothing can be written through this object afterwards."""
        with self._lock.taken:
            self._ended = True
            self._changes.clear()

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store, but for swaps, transactions within transactions, and renaming in one step."""
        return self.inner.capabilities.without("swap", "swap_erases", "transactions", "replace")

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        with self._lock.taken:
            own = {key: self._changes[key] for key, _ in requests if key in self._changes}
        rest = iter(self.inner.get_many([request for request in requests if request[0] not in own]))
        return [cut(own[key], wanted) if key in own else next(rest) for key, wanted in requests]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        with self._lock.taken:
            own = {key: self._changes[key] for key in keys if key in self._changes}
        rest = iter(self.inner.stat_many([key for key in keys if key not in own]))
        return [(None if (v := own[key]) is None else len(v)) if key in own else next(rest) for key in keys]

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        own = self._own(prefix)
        for key in self.inner.list_prefix(prefix):
            if key not in own:
                yield key
        yield from (key for key, value in own.items() if value is not None)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; folders in which something was erased are listed to see whether anything is left."""
        own = self._own(folder)
        added = dict.fromkeys(children([key for key, value in own.items() if value is not None], folder))
        touched = {*children([key for key, value in own.items() if value is None], folder)}
        for name in self.inner.list_dir(folder):
            if name in own or name in added:
                continue
            if name not in touched or next(iter(self.list_prefix(name)), None) is not None:
                yield name
        yield from added

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        own = self._own(folder)
        for key, size in self.inner.list_sizes(folder):
            if key not in own:
                yield key, size
        yield from ((key, len(value)) for key, value in own.items() if value is not None)

    def write_many(self, changes: Changes, /) -> None:
        copies = {key: None if value is None else bytes(value) for key, value in changes.items()}
        with self._lock.taken:
            if self._ended:
                raise StoreClosedError(
                    "the transaction has ended; begin another one with store.transaction()"
                )
            self._changes.update(copies)

    def erase_prefix(self, folder: str, /) -> None:
        """Erase the keys that are there now."""
        self.write_many(dict.fromkeys(self.list_prefix(folder)))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Move the keys that are there now; values are read, since both names belong to the transaction."""
        rename_by_copy(self, source, target)

    def flush(self) -> None:
        """Nothing is durable before the end."""

    def close(self) -> None:
        """The store outlives the transaction."""

    def _own(self, prefix: str) -> dict[str, bytes | None]:
        """What the transaction has changed of the keys that start with a prefix."""
        with self._lock.taken:
            return {key: value for key, value in self._changes.items() if key.startswith(prefix)}

    @classmethod
    def around(cls, store: object, options: Mapping[str, Any]) -> BaseStore:  # noqa: ARG003
        """Refused: as an adapter of a URL it would have no end."""
        raise ConfigurationError("a transaction begins with `with store.transaction() as …`, not in a URL")

    def __reduce__(self) -> tuple[Any, ...]:
        """Refused: a transaction belongs to its process."""
        raise TypeError("a transaction cannot be pickled: it belongs to the process that began it")
