"""Parts of chunks that have been written and are not stored yet: they wait until the whole chunk has been written.

write ──> elements and a mask, for each chunk (or shard) ──all written──> stored like any other value, and nothing is read
read  ──> as always, then the waiting elements are laid over
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from zarrv3.chunks import writing
from zarrv3.chunks.layout import Layout
from zarrv3.chunks.tasks import Array, Fields
from zarrv3.forks import renew_in_children
from zarrv3.format.cuts import chunk_of, length_of, start_of
from zarrv3.indexing import ListedPlan, Piece, Plan, plan_basic
from zarrv3.indexing.boxes import Box
from zarrv3.options.urls import byte_size

Coords = tuple[int, ...]


class _Part:
    """What has been written of a chunk (or shard)."""

    __slots__ = ("begin", "elements", "written")

    def __init__(self, begin: Coords, shape: Coords, dtype: np.dtype[Any]) -> None:
        self.begin = begin
        """Where it begins in the array."""
        self.elements: Array = np.empty(shape, dtype)
        self.written: Array = np.zeros(shape, bool)

    def within(self, shape: Coords) -> tuple[Any, ...]:
        """The index of what lies in an array of some shape."""
        ends = zip(self.elements.shape, shape, self.begin, strict=True)
        return (*[slice(0, max(0, min(length, extent - begin))) for length, extent, begin in ends], ...)


class WriteBuffer:
    """The waiting parts of one array, of about `max_size` bytes. Hold `taken` around every call.

    In a forked child it is empty: what waits is the parent's, and is stored by that.

    Args:
        max_size: how many bytes, as a number or as text such as `"64MiB"`.
    """

    def __init__(self, max_size: int | str) -> None:
        self.max_size = byte_size(max_size)
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nothing."""
        self.taken = threading.RLock()
        self.size = 0
        """How many bytes wait."""
        self._parts: dict[Coords, _Part] = {}

    def put(self, layout: Layout, plan: Plan, value: Array) -> set[Coords]:
        """Keep the elements of a selection, whose value is not referred to afterwards; returns which chunks (or shards) they are of."""
        varies = layout.metadata.data_type.item_size is None
        units = set[Coords]()
        for piece in plan.pieces():
            unit = self._unit(layout, piece.chunk)
            units.add(unit)
            part = self._part(layout, unit)
            inside = self._inside(layout, piece.chunk, part)
            new = value[(*piece.outside, ...)]
            part.elements[inside][(*piece.inside, ...)] = new
            part.written[inside][(*piece.inside, ...)] = True
            if varies:
                self.size += sum(map(sys.getsizeof, new.flat))
        return units

    def lay_over(self, layout: Layout, plan: Plan, out: Array, fields: Fields = None) -> None:
        """Put the waiting elements of a selection into what has been read of it."""
        if not self._parts:
            return
        for piece in plan.pieces():
            part = self._parts.get(self._unit(layout, piece.chunk))
            if part is None:
                continue
            inside = self._inside(layout, piece.chunk, part)
            written = part.written[inside][(*piece.inside, ...)]
            if written.any():
                new = part.elements[inside][(*piece.inside, ...)]
                new = new if fields is None else new[fields]
                out[piece.outside] = np.where(written, new, out[piece.outside])

    @property
    def units(self) -> list[Coords]:
        """The chunks (or shards) of which something waits."""
        return [*self._parts]

    def whole(self, layout: Layout, units: Collection[Coords], growing: int | None = None) -> list[Coords]:
        """Those of some chunks (or shards) of which everything waits that lies in the array.

        Along a dimension that is `growing` everything is more: the array may be longer a moment later.
        """
        found = []
        for unit in units:
            part = self._parts.get(unit)
            if part is None:
                continue
            within = part.within(layout.metadata.shape)
            ends_early = growing is not None and within[growing].stop < part.elements.shape[growing]
            if not ends_early and part.written[within].all():
                found.append(unit)
        return found

    def between(self, axis: int, start: int, stop: int) -> list[Coords]:
        """The chunks (or shards) of which something waits and that have elements of a range along a dimension."""
        return [
            unit
            for unit, part in self._parts.items()
            if part.begin[axis] < stop and part.begin[axis] + part.elements.shape[axis] > start
        ]

    def store(self, layout: Layout, units: Collection[Coords], *, write_empty: bool) -> None:
        """Store what waits of some chunks (or shards), in the array that has this layout; it waits no longer then."""
        for unit in units:
            part = self._parts[unit]
            for plan, value in _written(layout, part):
                writing.write(layout, plan, value, write_empty=write_empty)
            self._forget(layout, unit)

    def drop(self, layout: Layout, plan: Plan) -> None:
        """Let the elements of a selection wait no longer."""
        for piece in plan.pieces():
            part = self._parts.get(unit := self._unit(layout, piece.chunk))
            if part is not None:
                part.written[self._inside(layout, piece.chunk, part)][(*piece.inside, ...)] = False
                if not part.written.any():
                    self._forget(layout, unit)

    # ------------------------------------------------------------ chunks that are stored as one value

    @staticmethod
    def _unit(layout: Layout, chunk: Coords) -> Coords:
        """Which chunk of what is stored a chunk belongs to."""
        return chunk if layout.blocks is None else tuple(map(chunk_of, layout.blocks, chunk))

    @staticmethod
    def _inside(layout: Layout, chunk: Coords, part: _Part) -> tuple[Any, ...]:
        """Where a chunk lies in what is stored."""
        begins = map(start_of, layout.cuts, chunk)
        lengths = layout.shape_of(chunk)
        places = zip(begins, lengths, part.begin, strict=True)
        return (*(slice(begin - own, begin - own + length) for begin, length, own in places), ...)

    def _part(self, layout: Layout, unit: Coords) -> _Part:
        part = self._parts.get(unit)
        if part is None:
            shape = tuple(map(length_of, layout.stored, unit))
            part = self._parts[unit] = _Part(tuple(map(start_of, layout.stored, unit)), shape, layout.dtype)
            self.size += part.elements.nbytes + part.written.nbytes
        return part

    def _forget(self, layout: Layout, unit: Coords) -> None:
        part = self._parts.pop(unit)
        self.size -= part.elements.nbytes + part.written.nbytes
        if layout.metadata.data_type.item_size is None:
            self.size -= sum(map(sys.getsizeof, part.elements[part.written].flat))
        if not self._parts:
            self.size = 0


def _written(layout: Layout, part: _Part) -> Iterator[tuple[Plan, Array]]:
    """The written elements of a part with the selection that they are: a box where they are one, else chunk by chunk."""
    within = part.within(layout.metadata.shape)
    written, elements = part.written[within], part.elements[within]
    box = _bounds(written)
    if box is None:
        return
    inside: Any = (*box, ...)
    written, elements = written[inside], elements[inside]
    place = tuple([slice(b + s.start, b + s.stop) for b, s in zip(part.begin, box, strict=True)])
    plan = plan_basic(place, layout.metadata.shape, layout.cuts)
    if written.all():
        yield plan, elements
        return
    pieces: list[Piece] = []
    found: list[Array] = []
    end = 0
    for piece in plan.pieces():
        mask = written[piece.outside]
        count = int(np.count_nonzero(mask))
        if count:
            mask_of_chunk = np.zeros(layout.shape_of(piece.chunk), bool)
            mask_of_chunk[piece.inside] = mask
            pieces.append(Piece(piece.chunk, (mask_of_chunk,), (slice(end, end + count),), whole=False))
            found.append(elements[piece.outside][mask])
            end += count
    yield ListedPlan(pieces, (end,), (end,)), np.concatenate(found)


def _bounds(mask: Array) -> Box | None:
    """The smallest box that holds all that is true; `None` where nothing is."""
    if mask.all():
        return tuple([slice(0, length) for length in mask.shape]) if mask.size else None
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if not found.size:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)
