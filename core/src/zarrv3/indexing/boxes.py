"""Boxes: selections of slices in steps of one, cut into smaller ones that are moved one after the other in bounded memory."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from zarrv3.format.cuts import Cut, Edges, chunk_of, count_of
from zarrv3.indexing.arguments import as_range, expand
from zarrv3.indexing.basic import plan_basic

Box: TypeAlias = tuple[slice, ...]
"""Slices with a start and a stop."""


def as_box(selection: Any, shape: Sequence[int]) -> Box | None:
    """A selection as a box; `None` for one that is not."""
    entries = expand(selection, len(shape))
    if not all(type(entry) is slice for entry in entries):
        return None
    ranges = [as_range(entry, extent) for entry, extent in zip(entries, shape, strict=True)]
    return (
        tuple(slice(r.start, max(r.start, r.stop)) for r in ranges)
        if all(r.step == 1 for r in ranges)
        else None
    )


def box_shape(shape: Sequence[int], unit: Sequence[Cut], other: Sequence[Cut], most: int) -> tuple[Cut, ...]:
    """The lengths of boxes of at most `most` elements, or of one unit if that has more.

    They are multiples of the units that are written, and of those that are read on the `other` side where that fits, so that
    none is read twice. Where units differ in length boxes do, too, and reckon with the mean.
    """
    lengths = [
        cut if isinstance(cut, int) else -(-extent // max(1, count_of(cut, extent)))
        for extent, cut in zip(shape, unit, strict=True)
    ]
    for axis in reversed(range(len(lengths))):
        one, two = unit[axis], other[axis]
        if isinstance(one, int) and isinstance(two, int):
            reach = -(-shape[axis] // one) * one
            whole = min(math.lcm(one, two), max(reach, one))
            if math.prod(lengths) // lengths[axis] * whole <= most:
                lengths[axis] = whole
    for axis in reversed(range(len(lengths))):
        while lengths[axis] < shape[axis] and math.prod(lengths) * 2 <= most:
            lengths[axis] *= 2
    return tuple(
        length if isinstance(cut, int) else _packed(cut, extent, length)
        for cut, extent, length in zip(unit, shape, lengths, strict=True)
    )


def _packed(edges: Edges, extent: int, most: int) -> Edges:
    """The lengths of boxes of at most `most` elements or one chunk, for a dimension whose chunks differ in length."""
    boxes = [0]
    for length in edges.lengths(np.arange(max(1, count_of(edges, extent)))).tolist():
        if boxes[-1] and boxes[-1] + length > most:
            boxes.append(0)
        boxes[-1] += length
    return Edges.of(boxes)


def cut(box: Box, lengths: Sequence[Cut]) -> Iterator[tuple[Box, Box]]:
    """The parts of a box on a grid of such lengths, each with where it is in the box."""
    for piece in plan_basic(box, [part.stop for part in box], lengths).pieces():
        within = zip(box, piece.outside, strict=True)
        yield tuple(slice(b.start + part.start, b.start + part.stop) for b, part in within), piece.outside


def spanned(cut: Cut, part: slice) -> range:
    """The chunks that have elements of a slice."""
    if part.start >= part.stop:
        return range(0)
    return range(chunk_of(cut, part.start), chunk_of(cut, part.stop - 1) + 1)
