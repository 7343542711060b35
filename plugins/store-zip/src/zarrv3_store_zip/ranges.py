"""Reading parts of a value of another store: in batches, neighbours together, and as a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import ByteRange, Request

GAP = 16 << 10
"""Parts that lie no further apart are read together: a request costs more than these bytes."""


class Span(NamedTuple):
    """The bytes from `start` to before `stop`."""

    start: int
    stop: int


def fetched(store: BaseStore, key: str, spans: Sequence[Span]) -> list[memoryview] | None:
    """The bytes of each span by one `get_many`; shorter if the value ends before. `None` when the key is missing."""
    order = sorted(range(len(spans)), key=spans.__getitem__)
    joined: list[Span] = []
    member_of = [0] * len(spans)
    for number in order:
        start, stop = spans[number]
        if joined and start <= joined[-1].stop + GAP:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, stop))
        else:
            joined.append(Span(start, stop))
        member_of[number] = len(joined) - 1
    values = store.get_many([Request(key, ByteRange(start, stop)) for start, stop in joined])
    views = [memoryview(value) for value in values if value is not None]
    if len(views) < len(joined):
        return None
    return [
        views[place][start - joined[place].start : stop - joined[place].start]
        for (start, stop), place in zip(spans, member_of, strict=True)
    ]


class Tail:
    """A value as a file for `zipfile`: its end is in memory, what lies before is read on demand.

    Args:
        size: of the whole value.
        end: its last bytes.
        read_range: reads a part of what lies before.
    """

    def __init__(self, size: int, end: bytes, read_range: Callable[[Span], bytes]) -> None:
        self._size = size
        self._end = end
        self._read_range = read_range
        self._position = 0

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; `OSError` before the beginning, as files have it."""
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError("seek before the beginning")
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, length: int = -1) -> bytes:
        """At most this many bytes."""
        start = min(self._position, self._size)
        stop = self._size if length < 0 else min(start + length, self._size)
        before = self._size - len(self._end)
        missing = self._read_range(Span(start, min(stop, before))) if start < before else b""
        self._position = stop
        return missing + self._end[max(0, start - before) : max(0, stop - before)]
