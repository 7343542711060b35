"""The layer that counts: what tests and benchmarks measure round trips, keys and bytes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from zarrv3.forks import Lock
from zarrv3.layers.base import Layer
from zarrv3.store.helpers import size_of

M = TypeVar("M", bound=Callable[..., Any])


def _stored(changes: Any, _: None) -> int:
    return sum(map(size_of, changes.values()))


def _swapped(swaps: Any, refused: Any) -> int:
    return sum(size_of(new) for key, (_, new) in swaps.items() if key not in refused)


def _counted(
    method: M,
    *,
    read: Callable[[Any], int] | None = None,
    written: Callable[[Any, Any], int] | None = None,
) -> M:
    """A method of every layer that is counted: with the bytes that its answer has, or that it has stored by its answer."""

    @wraps(method)
    def counted(self: Counting, asked: Any, *more: Any) -> Any:
        with self._guard.taken:
            self.calls[method.__name__] += 1
            self.requested[method.__name__] += 1 if isinstance(asked, str) else len(asked)
        answer = method(self, asked, *more)
        if read or written:
            sizes = read(answer) if read else 0, written(asked, answer) if written else 0
            with self._guard.taken:
                self.bytes_read += sizes[0]
                self.bytes_written += sizes[1]
        return answer

    return cast("M", counted)


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

    get_many = _counted(Layer.get_many, read=lambda values: sum(map(size_of, values)))
    stat_many = _counted(Layer.stat_many)
    get_versioned = _counted(
        Layer.get_versioned, read=lambda found: sum(size_of(value) for value, _ in found)
    )
    list_prefix = _counted(Layer.list_prefix)
    list_dir = _counted(Layer.list_dir)
    list_sizes = _counted(Layer.list_sizes)
    write_many = _counted(Layer.write_many, written=_stored)
    swap_many = _counted(Layer.swap_many, written=_swapped)
    apply_many = _counted(Layer.apply_many, written=_stored)
    erase_prefix = _counted(Layer.erase_prefix)
    rename_prefix = _counted(Layer.rename_prefix)
