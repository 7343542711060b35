"""What one dimension contributes to a plan: the chunks it touches and, for each, the part inside and outside.

A plan over several dimensions is the product of these lists, so that the work in Python is a sum over dimensions and
only `itertools` runs for each chunk. Chunks are always in ascending order, whatever the order of the selection.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from zarrv3.format.cuts import Cut, chunk_of, chunks_of, lengths_of, round_up, start_of, starts_of

WINDOW = 4096
"""A slice over more chunks than this is turned into lists piecemeal, so that memory stays bounded."""


class Parts(NamedTuple):
    """Parallel lists with one entry for each chunk (of one dimension)."""

    chunks: Sequence[int]
    inside: Sequence[Any]
    outside: Sequence[Any] | None  # None: the dimension is dropped from the result
    whole: Sequence[bool]

    def split(self, align: Cut) -> "list[Parts]":
        """Cut where a new block of `align` chunks begins."""
        blocks = (
            [chunk // align for chunk in self.chunks]
            if isinstance(align, int)
            else align.chunks(np.asarray(self.chunks)).tolist()
        )
        cuts = [0, *(i for i in range(1, len(blocks)) if blocks[i] != blocks[i - 1]), len(blocks)]
        return [
            Parts(
                self.chunks[a:b],
                self.inside[a:b],
                None if self.outside is None else self.outside[a:b],
                self.whole[a:b],
            )
            for a, b in pairwise(cuts)
        ]


class Axis(Protocol):
    """One dimension of a selection."""

    count: int  # chunks it touches
    length: int  # elements it selects

    def parts(self) -> Parts:
        """All chunks at once; only asked for if there are at most WINDOW, or if the lists exist anyway."""

    def windows(self, align: Cut) -> Iterable[Parts]:
        """The parts in portions that never divide a block of `align` chunks."""


class ListedAxis:
    """A dimension whose lists exist already: an integer or an array of integers."""

    __slots__ = ("_parts", "count", "length")

    def __init__(self, parts: Parts, length: int) -> None:
        self._parts = parts
        self.count = len(parts.chunks)
        self.length = length

    def parts(self) -> Parts:
        return self._parts

    def windows(self, align: Cut) -> Iterable[Parts]:  # noqa: ARG002  one window divides nothing
        return (self._parts,)


class SliceAxis:
    """A dimension selected by a range of elements with any step; costs nothing until it is enumerated."""

    __slots__ = ("_chunk", "_elements", "_extent", "_reverse", "count", "length")

    _chunk: Any
    """The length of all chunks; of `EdgesAxis` their edges."""

    def __init__(self, elements: range, extent: int, chunk: Cut) -> None:
        self.length = len(elements)
        self._reverse = elements.step < 0
        self._elements = elements[::-1] if self._reverse else elements
        self._extent = extent
        self._chunk = chunk
        self.count = self._count()

    def _count(self) -> int:
        """How many chunks have a selected element."""
        elements, chunk = self._elements, int(self._chunk)
        if not self.length or elements.step > chunk:  # at most one element a chunk
            return self.length
        return elements[-1] // chunk - elements[0] // chunk + 1  # no chunk between them is skipped

    def windows(self, align: Cut) -> Iterator[Parts]:
        elements, start, step = self._elements, self._elements.start, self._elements.step
        low = 0
        while low < self.length:
            last = chunk_of(self._chunk, elements[min(low + WINDOW, self.length) - 1])
            end = round_up(align, max(chunk_of(self._chunk, elements[low]) + WINDOW, last + 1))
            edge = start_of(self._chunk, end)  # an element that begins a block
            high = min(-((start - edge) // step), self.length)  # selected elements before it
            yield self.parts(low, high)
            low = high

    def parts(self, low: int = 0, high: int | None = None) -> Parts:
        """The parts from the `low`-th to the `high`-th element, which begins and ends a chunk; by default all."""
        high = self.length if high is None else high
        start, step, chunk = self._elements.start, self._elements.step, self._chunk
        first = self._elements[low] // chunk
        last = self._elements[high - 1] // chunk
        chunks: Sequence[int]
        if step == 1:
            chunks = range(first, last + 1)
            bounds = [low, *range((first + 1) * chunk - start, last * chunk - start + 1, chunk), high]
        elif step <= chunk:
            chunks = range(first, last + 1)
            bounds = [low, *[-((start - edge * chunk) // step) for edge in chunks[1:]], high]
        else:
            chunks = [element // chunk for element in self._elements[low:high]]
            bounds = list(range(low, high + 1))
        if self._reverse:
            outside = [slice(self.length - b, self.length - a) for a, b in pairwise(bounds)]
        else:
            outside = list(map(slice, bounds[:-1], bounds[1:]))
        if step > 1 or self._reverse:
            return self._strided(chunks, bounds, outside)
        # only the first and the last chunk can be partial, all others share one slice
        inside = [slice(0, chunk)] * len(chunks)
        whole = [True] * len(chunks)
        inside[-1] = slice(0, start + high - last * chunk)
        whole[-1] = start + high == min((last + 1) * chunk, self._extent)
        inside[0] = slice(start + low - first * chunk, inside[0].stop)
        whole[0] = whole[0] and start + low == first * chunk
        return Parts(chunks, inside, outside, whole)

    def _strided(self, chunks: Sequence[int], bounds: list[int], outside: list[slice]) -> Parts:
        """Any step, forwards or backwards."""
        start, step = self._elements.start, self._elements.step
        inside, whole = [], []
        for chunk, (a, b) in zip(chunks, pairwise(bounds), strict=True):
            offset = chunk * self._chunk
            low, high = start + a * step - offset, start + (b - 1) * step - offset
            if low == high:
                inside.append(slice(low, low + 1))
            elif self._reverse:  # a stop of -1 would count from the end
                inside.append(slice(high, low - 1 if low else None, -step))
            else:
                inside.append(slice(low, high + 1, step))
            whole.append(low == high and min(self._chunk, self._extent - offset) == 1)
        return Parts(chunks, inside, outside, whole)


class EdgesAxis(SliceAxis):
    """As `SliceAxis`, for a dimension whose chunks differ in length."""

    __slots__ = ()

    def _count(self) -> int:
        """As above, from the runs of equal chunks alone."""
        count = first = 0
        elements, start, step = self._elements, self._elements.start, self._elements.step
        for length, chunks in self._chunk.runs:
            last = first + length * chunks
            low = max(0, -((start - first) // step))
            high = min(self.length, -((start - last) // step))
            if low < high and step > length:  # at most one element a chunk
                count += high - low
            elif low < high:
                count += (elements[high - 1] - first) // length - (elements[low] - first) // length + 1
            first = last
        return count

    def parts(self, low: int = 0, high: int | None = None) -> Parts:
        high = self.length if high is None else high
        start, step, edges = self._elements.start, self._elements.step, self._chunk
        first, last = edges.chunk(self._elements[low]), edges.chunk(self._elements[high - 1])
        if high - low < last - first:  # most chunks are skipped
            chunks = np.unique(edges.chunks(start + step * np.arange(low, high)))
        else:
            chunks = np.arange(first, last + 1)
        begins, lengths = edges.starts(chunks), edges.lengths(chunks)
        lows = np.maximum(-((start - begins) // step), low)
        highs = np.minimum(-((start - begins - lengths) // step), high)
        if step > 1:  # chunks between two selected elements
            chunks, begins, lengths, lows, highs = (
                row[lows < highs] for row in (chunks, begins, lengths, lows, highs)
            )
        one, other = start + lows * step - begins, start + (highs - 1) * step - begins
        size = highs - lows
        whole = (size == np.minimum(lengths, self._extent - begins)) & ((size == 1) | (not self._reverse))
        if self._reverse:
            inside = [
                slice(b, a - 1 if a else None, -step) if n > 1 else slice(a, a + 1)
                for a, b, n in zip(one.tolist(), other.tolist(), size.tolist(), strict=True)
            ]
            lows, highs = self.length - highs, self.length - lows
        elif step == 1:
            inside = list(map(slice, one.tolist(), (other + 1).tolist()))
        else:
            inside = [
                slice(a, b + 1, step) if n > 1 else slice(a, a + 1)
                for a, b, n in zip(one.tolist(), other.tolist(), size.tolist(), strict=True)
            ]
        outside = list(map(slice, lows.tolist(), highs.tolist()))
        return Parts(chunks.tolist(), inside, outside, whole.tolist())


def integer_axis(index: int, extent: int, cut: Cut, *, drop: bool) -> ListedAxis:
    """One element; with `drop` it is indexed by an integer, so that the result has no such dimension."""
    if isinstance(cut, int):
        number, offset = divmod(index, cut)
        whole = min(cut, extent - number * cut) == 1
    else:
        number = cut.chunk(index)
        begin = cut.start(number)
        offset, whole = index - begin, min(cut.length(number), extent - begin) == 1
    if drop:
        return ListedAxis(Parts((number,), (offset,), None, (whole,)), 1)
    return ListedAxis(Parts((number,), (slice(offset, offset + 1),), (slice(0, 1),), (whole,)), 1)


def array_axis(indices: NDArray[np.intp], extent: int, cut: Cut) -> ListedAxis:
    """Elements in any order, repeated ones too; runs of consecutive elements become slices.

    Within a chunk the order of the selection is kept, so that when a repeated element is written the last value wins.
    """
    numbers = chunks_of(cut, indices)
    order, starts = group(numbers)
    if order is None:
        order = np.arange(len(indices))
    else:
        numbers, indices = numbers[order], indices[order]
    outside = runs(order, starts)
    chunks = numbers[starts]
    inside = runs(indices - starts_of(cut, numbers), starts)
    extents = np.minimum(lengths_of(cut, chunks), extent - starts_of(cut, chunks)).tolist()
    whole = [
        isinstance(part, slice) and part.start == 0 and part.stop == stop
        for part, stop in zip(inside, extents, strict=True)
    ]
    return ListedAxis(Parts(chunks.tolist(), inside, outside, whole), len(indices))


def group(numbers: NDArray[np.intp]) -> tuple[NDArray[np.intp] | None, NDArray[np.intp]]:
    """A stable order that brings equal numbers together (None: they are in order), and where each group starts then.

    There must be at least one number.
    """
    order = None
    if (numbers[1:] < numbers[:-1]).any():
        smallest = numbers.min()
        if numbers.max() - smallest < 2**16:  # numpy sorts 16 bits by radix, about ten times as fast
            order = np.argsort((numbers - smallest).astype(np.uint16), kind="stable")
        else:
            order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
    return order, np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))


def runs(indices: NDArray[np.intp], starts: NDArray[np.intp]) -> list[Any]:
    """An index for each group: a slice if its elements are consecutive, otherwise the array of them."""
    if not len(indices):
        return []
    stops = np.concatenate((starts[1:], [len(indices)]))
    jumps = np.concatenate(([0], np.cumsum(indices[1:] != indices[:-1] + 1)))
    consecutive = jumps[starts] == jumps[stops - 1]
    first = indices[starts]
    result: list[Any] = list(map(slice, first.tolist(), (first + stops - starts).tolist()))
    for number in np.flatnonzero(~consecutive).tolist():
        result[number] = indices[starts[number] : stops[number]]
    return result
