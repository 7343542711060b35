"""The layer that counts: what tests and benchmarks measure round trips, keys and bytes with."""

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, Request


class Counting(Layer):
    """Counts what passes through; adapter `|counting:`. Thread-safe.

    Attributes:
        calls: how often each method was called: the round trips.
        requested: how many keys each method was asked for.
        bytes_read: bytes returned by `get_many`.
        bytes_written: bytes given to `set_many` and `compare_and_set`.
    """

    kind = "counting"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self._guard = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        with self._guard:
            self.calls: Counter[str] = Counter()
            self.requested: Counter[str] = Counter()
            self.bytes_read = 0
            self.bytes_written = 0

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        values = self.inner.get_many(requests)
        self._count("get_many", len(requests), read=sum(len(value) for value in values if value is not None))
        return values

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        self.inner.set_many(items)
        self._count("set_many", len(items), written=sum(map(len, items.values())))

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        self.inner.erase_many(keys)
        self._count("erase_many", len(keys))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self.inner.erase_prefix(folder)
        self._count("erase_prefix", 1)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        self.inner.rename_prefix(source, target)
        self._count("rename_prefix", 1)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        done = self.inner.compare_and_set(key, old, new)
        self._count("compare_and_set", 1, written=len(new) if done and new is not None else 0)
        return done

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        self.inner.apply_many(changes)
        self._count(
            "apply_many", len(changes), written=sum(len(v) for v in changes.values() if v is not None)
        )

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        self._count("sizes", 1)
        return self.inner.sizes(where)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        self._count("list_prefix", 1)
        return self.inner.list_prefix(prefix)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        self._count("list_dir", 1)
        return self.inner.list_dir(folder)

    def _count(self, method: str, keys: int, *, read: int = 0, written: int = 0) -> None:
        with self._guard:
            self.calls[method] += 1
            self.requested[method] += keys
            self.bytes_read += read
            self.bytes_written += written
