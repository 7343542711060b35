"""A layer that fails on purpose: what retries, caches and callers are tested with."""

import random
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from zarrv3.errors import StoreError, StoreUnavailableError
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, Request


class Faults(Layer):
    """Lets calls fail, some of them after a part of their work was done. Thread-safe.

    Args:
        store: what it wraps.
        rate: the share of calls that fail.
        seed: makes the choice repeatable.

    Attributes:
        failed: how many calls of each method were made to fail.
    """

    kind = "faults"

    def __init__(self, store: object, rate: float = 0.0, seed: int = 0) -> None:
        super().__init__(store, rate=rate, seed=seed)
        self.failed: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._rate = rate
        self._planned: list[tuple[str, type[StoreError]]] = []
        self._guard = threading.Lock()

    def fail_next(self, method: str, times: int = 1, error: type[StoreError] = StoreUnavailableError) -> None:
        """Let the next calls of one method fail."""
        with self._guard:
            self._planned += [(method, error)] * times

    def heal(self) -> None:
        """Fail no more."""
        with self._guard:
            self._planned.clear()
            self._rate = 0.0

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        self._maybe("get_many")
        return self.inner.get_many(requests)

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract; a failing call has stored a part of the values."""
        error = self._chosen("set_many")
        if error is None:
            self.inner.set_many(items)
            return
        self.inner.set_many(dict(islice(items.items(), self._part(len(items)))))
        raise error

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract; a failing call has erased a part of the keys."""
        error = self._chosen("erase_many")
        if error is None:
            self.inner.erase_many(keys)
            return
        self.inner.erase_many(list(islice(keys, self._part(len(keys)))))
        raise error

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self._maybe("erase_prefix")
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        self._maybe("rename_prefix")
        self.inner.rename_prefix(source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        self._maybe("compare_and_set")
        return self.inner.compare_and_set(key, old, new)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract; a failing call has changed nothing."""
        self._maybe("apply_many")
        self.inner.apply_many(changes)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        self._maybe("sizes")
        return self.inner.sizes(where)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        self._maybe("list_prefix")
        return self.inner.list_prefix(prefix)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        self._maybe("list_dir")
        return self.inner.list_dir(folder)

    # ------------------------------------------------------------ choosing

    def _maybe(self, method: str) -> None:
        error = self._chosen(method)
        if error is not None:
            raise error

    def _chosen(self, method: str) -> StoreError | None:
        with self._guard:
            kind = next((kind for name, kind in self._planned if name == method), None)
            if kind is not None:
                self._planned.remove((method, kind))
            elif self._random.random() < self._rate:
                kind = StoreUnavailableError
            if kind is None:
                return None
            self.failed[method] += 1
            return kind(f"{method} of {self.describe()} was made to fail")

    def _part(self, count: int) -> int:
        with self._guard:
            return self._random.randint(0, count)
