"""Which blocks of a data file are free."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

BLOCK = 512
"""Values start at multiples of this, as in `dbm.dumb`."""

_SETTLE = 64 << 20


def blocks(size: int) -> int:
    """How many blocks a number of bytes takes."""
    return -(-size // BLOCK)


class Space:
    """The free blocks of a file, as gaps by length.

    What is given back is not reused until `settle`: an index on the disk may still point there.

    Args:
        taken: positions and sizes in bytes of what is in use.
        size: of the file, in bytes.
    """

    def __init__(self, taken: Iterable[tuple[int, int]], size: int) -> None:
        self._gaps: list[tuple[int, int]] = []  # sorted: lengths and where they begin
        self._waiting: list[tuple[int, int]] = []
        self._used = self._idle = end = 0
        for position, length in sorted(taken):
            start = position // BLOCK
            if start > end:
                self._gaps.append((start - end, end))
            end = max(end, start + blocks(length))
            self._used += blocks(length)
        self._end = max(end, blocks(size))
        if self._end > end:
            self._gaps.append((self._end - end, end))
        self._gaps.sort()

    def take(self, size: int) -> int:
        """The position of a free place for a number of bytes: in the smallest gap with room, else at the end."""
        wanted = blocks(size)
        if not wanted:
            return 0
        self._used += wanted
        place = bisect_left(self._gaps, (wanted, 0))
        if place == len(self._gaps):
            start, self._end = self._end, self._end + wanted
            return start * BLOCK
        length, start = self._gaps.pop(place)
        if length > wanted:
            insort(self._gaps, (length - wanted, start + wanted))
        return start * BLOCK

    def give(self, position: int, size: int) -> None:
        """A value is no longer needed."""
        if size:
            self._waiting.append((blocks(size), position // BLOCK))
            self._used -= blocks(size)
            self._idle += blocks(size)

    @property
    def is_wasteful(self) -> bool:
        """Whether enough was given back to make settling worthwhile."""
        return self._idle * BLOCK > _SETTLE and self._idle > self._used // 2

    def settle(self) -> None:
        """Everything given back may be overwritten: no index on the disk points there any more."""
        self._gaps += self._waiting
        self._gaps.sort()
        self._waiting, self._idle = [], 0
