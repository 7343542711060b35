"""A layer that fails on purpose: what retries, caches and callers are tested with."""

import random
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Annotated

from zarrv3.errors import StoreError, StoreUnavailableError
from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.store.contract import Buffer, Changes, Request, Swaps, Versioned


class Faults(Layer):
    """Lets calls fail, some of them after a part of their work was done. Thread-safe.

    Attributes:
        failed: how many calls of each method were made to fail.
    """

    kind = "faults"

    def __init__(
        self,
        store: object,
        rate: Annotated[float, Option("the share of calls that fail, from 0 to 1")] = 0.0,
        seed: Annotated[int, Option("makes the choice repeatable")] = 0,
    ) -> None:
        super().__init__(store, rate=rate, seed=seed)
        self.failed: Counter[str] = Counter()
        self._random = random.Random(self.option("seed"))  # noqa: S311 - repeatable, not secret
        self._rate: float = self.option("rate")
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
        self._maybe("get_many")
        return self.inner.get_many(requests)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        self._maybe("stat_many")
        return self.inner.stat_many(keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        self._maybe("get_versioned")
        return self.inner.get_versioned(keys)

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says; a failing call has made a part of the changes."""
        error = self._chosen("write_many")
        if error is None:
            self.inner.write_many(changes)
            return
        self.inner.write_many(dict(islice(changes.items(), self._part(len(changes)))))
        raise error

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; a failing call has swapped nothing."""
        self._maybe("swap_many")
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says; a failing call has changed nothing."""
        self._maybe("apply_many")
        self.inner.apply_many(changes)

    def erase_prefix(self, folder: str, /) -> None:
        self._maybe("erase_prefix")
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        self._maybe("rename_prefix")
        self.inner.rename_prefix(source, target)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        self._maybe("list_prefix")
        return self.inner.list_prefix(prefix)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        self._maybe("list_dir")
        return self.inner.list_dir(folder)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        self._maybe("list_sizes")
        return self.inner.list_sizes(folder)

    # ------------------------------------------------------------ choosing

    def _maybe(self, method: str) -> None:
        error = self._chosen(method)
        if error is not None:
            raise error

    def _chosen(self, method: str) -> StoreError | None:
        with self._guard:
            error = next((error for name, error in self._planned if name == method), None)
            if error is not None:
                self._planned.remove((method, error))
            elif self._random.random() < self._rate:
                error = StoreUnavailableError
            if error is None:
                return None
            self.failed[method] += 1
            return error(f"{method} of {self.describe()} was made to fail")

    def _part(self, count: int) -> int:
        with self._guard:
            return self._random.randint(0, count)
