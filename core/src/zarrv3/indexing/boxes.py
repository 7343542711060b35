"""Boxes: selections of slices in steps of one, cut into smaller ones that are moved one after the other in bounded memory."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from zarrv3.indexing.arguments import as_range, expand

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


def box_shape(shape: Sequence[int], unit: Sequence[int], other: Sequence[int], most: int) -> tuple[int, ...]:
    """The lengths of boxes of at most `most` elements, or of one unit if that has more.

    They are multiples of the units that are written, and of those that are read on the `other` side where that fits, so that
    none is read twice.
    """
    lengths = [*unit]
    for axis in reversed(range(len(lengths))):
        reach = -(-shape[axis] // unit[axis]) * unit[axis]
        whole = min(math.lcm(unit[axis], other[axis]), max(reach, unit[axis]))
        if math.prod(lengths) // lengths[axis] * whole <= most:
            lengths[axis] = whole
    for axis in reversed(range(len(lengths))):
        while lengths[axis] < shape[axis] and math.prod(lengths) * 2 <= most:
            lengths[axis] *= 2
    return tuple(lengths)


def cut(box: Box, lengths: Sequence[int]) -> Iterator[tuple[Box, Box]]:
    """The parts of a box on a grid of such lengths, each with where it is in the box."""
    counts = [
        -(-part.stop // length) - part.start // length for part, length in zip(box, lengths, strict=True)
    ]
    for number in np.ndindex(*counts):
        inside = []
        for part, length, n in zip(box, lengths, number, strict=True):
            start = (part.start // length + n) * length
            inside.append(slice(max(start, part.start), min(start + length, part.stop)))
        yield (
            tuple(inside),
            tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(inside, box, strict=True)),
        )
