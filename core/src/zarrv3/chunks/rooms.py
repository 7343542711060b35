"""Memory that large chunks are encoded in and large shards are put together in; used again, since the system clears fresh pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import ref

import numpy as np

from zarrv3.store.contract import Buffer

LARGE = 2**20
"""What has fewer bytes lies in memory of its own: that need not come from the system."""

KEPT = 32 * 2**20
"""How many bytes this process keeps, beside what is in use."""

_spare: list[Room] = []


class Room(np.ndarray[Any, np.dtype[np.uint8]]):
    """A piece of memory, and the chunks that lie in it from its beginning, one behind the other."""

    _chunks: Sequence[ref[Any]] = ()
    """Not held: they hold the memory, which would then be freed late."""

    def note(self, chunks: Iterable[Buffer]) -> None:
        """These views of it are the chunks, in this order."""
        self._chunks = [*map(ref, chunks)]

    def joined(self, parts: Sequence[Buffer], size: int) -> memoryview | None:
        """All chunks of the room with one part more, put behind them, if that is what the parts are; `None` otherwise."""
        *chunks, last = parts
        if len(chunks) != len(self._chunks) or size > len(self):
            return None
        if any(here() is not chunk for here, chunk in zip(self._chunks, chunks, strict=True)):
            return None
        view: memoryview = self.data
        view[size - len(last) : size] = memoryview(last).cast("B")
        return view[:size]


class Rooms:
    """The memory of one change, until the store has taken what lies there. Not for several threads at once."""

    def __init__(self) -> None:
        self._lent: list[Room] = []
        self._free: list[Room] = []

    def lend(self, size: int) -> Room:
        """Memory of at least so many bytes; valid until `leave`."""
        room = _taken(self._free, size)
        if room is None:
            room = _taken(_spare, size)
        if room is None:
            room = np.empty(size + size // 8, np.uint8).view(Room)  # the next one may be somewhat larger
        room.note(())
        self._lent.append(room)
        return room

    def join(self, parts: Sequence[Buffer]) -> Buffer:
        """The parts one behind the other; valid until `leave`. Chunks that were encoded so are not copied."""
        size = sum(map(len, parts))
        first = getattr(parts[0], "obj", None) if parts else None
        if isinstance(first, Room) and (whole := first.joined(parts, size)) is not None:
            return whole
        if size < LARGE:
            return b"".join(parts)
        view: memoryview = self.lend(size).data
        start = 0
        for part in parts:
            stop = start + len(part)
            view[start:stop] = memoryview(part).cast("B")
            start = stop
        return view[:size]

    def forget(self) -> None:
        """Begin again, after an attempt whose answer may have been lost: somebody may still send what lies there."""
        self._lent.clear()

    def leave(self) -> None:
        """Use the memory again. Where a change fails it is not known who still reads it: then it is left to Python."""
        self._free += self._lent
        self._lent.clear()

    def close(self) -> None:
        """Let others have the memory."""
        self.leave()
        while self._free:
            room = self._free.pop()
            if len(room) + sum(map(len, _spare)) <= KEPT:
                _spare.append(room)


def _taken(rooms: list[Room], size: int) -> Room | None:
    """A room of at least that size; smaller ones make way for it."""
    while True:
        try:
            room = rooms.pop()
        except IndexError:
            return None
        if len(room) >= size:
            return room
