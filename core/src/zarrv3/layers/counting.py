"""The layer that counts: what tests and benchmarks measure round trips, keys and bytes with."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from zarrv3.forks import Lock
from zarrv3.layers.observing import Call, Observing


class Counting(Observing):
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

    def flush(self) -> None:
        """Not counted."""
        self.inner.flush()

    def began(self, method: str, asked: Collection[Any], *, is_listing: bool = False) -> None:
        """See `Observing`; a renamed folder counts as one key."""
        with self._guard.taken:
            self.calls[method] += 1
            self.requested[method] += 1 if is_listing or method == "rename_prefix" else len(asked)

    def ended(self, _: Any, call: Call) -> None:
        """See `Observing`."""
        if call.read or call.written:
            with self._guard.taken:
                self.bytes_read += call.read
                self.bytes_written += call.written
