"""The layer that counts: what tests and benchmarks measure round trips, keys and bytes with."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from zarrv3.forks import Lock
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, Changes, Request, Swaps, Versioned
from zarrv3.store.helpers import size_of


class Counting(Layer):
    """Counts what passes through; adapter `|counting:`. Thread-safe.

    Attributes:
        calls: how often each method was called: the round trips.
        requested: how many keys each method was asked for.
        bytes_read: bytes returned by `get_many` and `get_versioned`.
        bytes_written: bytes stored by `write_many`, `swap_many` and `apply_many`.
    """

    kind = "counting"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self._guard = Lock()
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        with self._guard.taken:
            self.calls: Counter[str] = Counter()
            self.requested: Counter[str] = Counter()
            self.bytes_read = 0
            self.bytes_written = 0

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        values = self.inner.get_many(requests)
        self._count("get_many", len(requests), read=sum(len(value) for value in values if value is not None))
        return values

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        self._count("stat_many", len(keys))
        return self.inner.stat_many(keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        values = self.inner.get_versioned(keys)
        self._count("get_versioned", len(keys), read=sum(len(v) for v, _ in values if v is not None))
        return values

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        self._count("list_prefix", 1)
        return self.inner.list_prefix(prefix)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        self._count("list_dir", 1)
        return self.inner.list_dir(folder)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        self._count("list_sizes", 1)
        return self.inner.list_sizes(folder)

    def write_many(self, changes: Changes, /) -> None:
        self.inner.write_many(changes)
        self._count("write_many", len(changes), written=sum(map(size_of, changes.values())))

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        refused = self.inner.swap_many(swaps)
        done = (new for key, (_, new) in swaps.items() if key not in refused)
        self._count("swap_many", len(swaps), written=sum(map(size_of, done)))
        return refused

    def apply_many(self, changes: Changes, /) -> None:
        self.inner.apply_many(changes)
        self._count("apply_many", len(changes), written=sum(map(size_of, changes.values())))

    def erase_prefix(self, folder: str, /) -> None:
        self.inner.erase_prefix(folder)
        self._count("erase_prefix", 1)

    def rename_prefix(self, source: str, target: str, /) -> None:
        self.inner.rename_prefix(source, target)
        self._count("rename_prefix", 1)

    def _count(self, method: str, keys: int, *, read: int = 0, written: int = 0) -> None:
        with self._guard.taken:
            self.calls[method] += 1
            self.requested[method] += keys
            self.bytes_read += read
            self.bytes_written += written
