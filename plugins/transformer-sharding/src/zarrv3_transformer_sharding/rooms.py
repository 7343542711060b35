"""Memory in which large shards are put together; used again, since the system clears each page of fresh memory."""

from __future__ import annotations

from collections.abc import Sequence

from zarrv3.store.contract import Buffer

LARGE = 2**20
"""Shards of fewer bytes are put together in memory of their own: that need not come from the system."""

KEPT = 32 * 2**20
"""How many bytes this process keeps, beside what is in use."""

_spare: list[bytearray] = []


class Rooms:
    """What one change of shards works in, until the store has taken them."""

    def __init__(self) -> None:
        self._lent: list[bytearray] = []

    def join(self, parts: Sequence[Buffer]) -> Buffer:
        """The parts one behind the other; valid until `leave`."""
        size = sum(map(len, parts))
        if size < LARGE:
            return b"".join(parts)
        room = _taken(size)
        self._lent.append(room)
        view, start = memoryview(room), 0
        for part in parts:
            stop = start + len(part)
            view[start:stop] = memoryview(part).cast("B")
            start = stop
        return view[:size]

    def forget(self) -> None:
        """Begin again, after an attempt whose answer may have been lost: somebody may still send what lies there."""
        self._lent.clear()

    def leave(self) -> None:
        """Let others have the memory. Where a change fails it is not known who still reads it: then it is left to Python."""
        while self._lent:
            room = self._lent.pop()
            if len(room) + sum(map(len, _spare)) <= KEPT:
                _spare.append(room)


def _taken(size: int) -> bytearray:
    """A room of at least that size; smaller ones make way for it."""
    while True:
        try:
            room = _spare.pop()
        except IndexError:
            return bytearray(size + size // 8)  # the next shard may be somewhat larger
        if len(room) >= size:
            return room
