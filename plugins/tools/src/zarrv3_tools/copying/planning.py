"""In which boxes an array is re-chunked, and by way of which chunks where boxes would read too much more than once. Pure.

A box that fits into memory and covers whole chunks of the copy cuts through chunks of the source, which its neighbours read
again. Where that is too much there are two passes: the first one reads boxes of whole chunks of the source, the second one writes
boxes of whole chunks of the copy, and between them lies an array whose chunks both kinds of boxes are made of. So nothing is
read more than once on either side, however large the array is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from zarrv3.format.cuts import Cut
from zarrv3.indexing.boxes import box_shape

MOST_READ = 2.0
"""How often a byte of the source may be read on average in one pass."""

CHOICES = 20_000
"""About how many boxes are compared."""

SMALL = 4096
"""Chunks in between have at least so many elements, if they can: there are many."""

Shape = tuple[int, ...]


class Passes(NamedTuple):
    """How an array is copied."""

    boxes: tuple[Cut, ...]
    """How the copy is cut into what is written at once: whole chunks (or shards) of it."""
    between: Shape | None = None
    """The chunks of an array in between; `None` where one pass does."""
    first: Shape = ()
    """How that array is cut into what is written at once: whole chunks of the source, and of its own."""


def passes(shape: Shape, source: Sequence[Cut], dest: Sequence[Cut], most: int) -> Passes:
    """How to copy an array, whose stored values are cut so, in boxes of about `most` elements (or of one chunk of the copy)."""
    one = box_shape(shape, dest, source, most)
    if not _are_regular(source) or not _are_regular(dest):
        return Passes(one)
    old, new = _regular(source), _regular(dest)
    best = min([_regular(one), *_boxes(shape, new, old, most)], key=lambda box: read(shape, old, box))
    if read(shape, old, best) <= MOST_READ:
        return Passes(best)
    first, last = _grown(shape, old, new, most), _grown(shape, new, old, most)
    return Passes(last, _between(shape, first, last), first)


def read(shape: Shape, unit: Shape, box: Shape) -> float:
    """How often an element is read on average if boxes are read that cut through units."""
    return math.prod(
        _touched(extent, one, length) / extent for extent, one, length in zip(shape, unit, box, strict=True) if extent
    )  # fmt: skip


def _touched(extent: int, unit: int, length: int) -> int:
    """How many elements of one dimension are read by all boxes, each of them whole units."""
    period = math.lcm(unit, length)
    if period >= extent:
        return _touched_once(extent, unit, length)
    whole, rest = divmod(extent, period)
    return whole * _touched_once(period, unit, length) + (_touched_once(rest, unit, length) if rest else 0)


def _touched_once(extent: int, unit: int, length: int) -> int:
    if length % unit == 0 or length >= extent:
        return extent
    starts = np.arange(0, extent, length)
    stops = np.minimum(starts + length, extent)
    return int((np.minimum(-(-stops // unit) * unit, extent) - starts // unit * unit).sum())


def _boxes(shape: Shape, unit: Shape, other: Shape, most: int) -> Iterator[Shape]:
    """Boxes of whole units that have at most so many elements."""
    each = max(3, int(CHOICES ** (1 / max(1, len(shape)))))
    lengths = [_lengths(*one, each) for one in zip(shape, unit, other, strict=True)]
    return (box for box in product(*lengths) if math.prod(box) <= most)


def _lengths(extent: int, unit: int, other: int, count: int) -> list[int]:
    """Some multiples of a unit, those first that leave nothing of the others cut."""
    whole = -(-extent // unit) * unit
    found = {unit, whole, min(whole, math.lcm(unit, other))}
    for base in (math.lcm(unit, other), unit):
        length = base
        while length < whole and len(found) < count:
            found.add(length)
            length *= 2
    return sorted(found)


def _grown(shape: Shape, unit: Shape, other: Shape, most: int) -> Shape:
    """A box of whole units, grown first along the dimensions in which the others are longer."""
    box = [*unit]
    for axis in sorted(range(len(shape)), key=lambda a: unit[a] / other[a]):
        whole = -(-shape[axis] // unit[axis]) * unit[axis]
        room = max(1, most // (math.prod(box) // box[axis] * unit[axis]))
        both = math.lcm(unit[axis], other[axis])
        length = min(whole, room * unit[axis])
        box[axis] = length if length == whole or length < both else length // both * both
    return tuple(box)


def _between(shape: Shape, first: Shape, last: Shape) -> Shape:
    """The chunks that boxes of the first pass write whole, and that boxes of the second one cut little: the largest such, unless tiny."""
    each = max(3, int(CHOICES ** (1 / max(1, len(shape)))))
    lengths = [
        _divisors(min(end, extent) if begin >= extent else begin, each)
        for extent, begin, end in zip(shape, first, last, strict=True)
    ]
    return min(
        product(*lengths),
        key=lambda chunk: (
            -min(SMALL, math.prod(chunk)),
            round(read(shape, chunk, last), 1),
            -math.prod(chunk),
        ),
    )


def _divisors(number: int, count: int) -> list[int]:
    """The largest divisors of a number, itself among them."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})[-count:]


def _are_regular(cuts: Sequence[Cut]) -> bool:
    return all(isinstance(cut, int) for cut in cuts)


def _regular(cuts: Sequence[Cut]) -> Shape:
    return tuple(cut for cut in cuts if isinstance(cut, int))
