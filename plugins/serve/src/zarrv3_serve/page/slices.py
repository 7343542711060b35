"""Which elements of a plane are shown, so that little is read however large the array is."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zarrv3 import Array
from zarrv3.errors import SelectionError, UnsupportedError

PIXELS = 512
"""The most elements that are shown along a side."""

CELLS = (40, 12)
"""The most rows and columns that are shown of a table of texts."""

READ = 64 << 20
"""The most bytes of decoded chunks that are read for a picture."""

LARGEST = 512 << 20
"""A single chunk of more bytes than this is not read."""


class Plane(NamedTuple):
    """A part of an array along two axes (or one, or none): what is shown, and every how many elements of it."""

    axes: tuple[int, ...]
    at: tuple[int, ...]
    """Where the plane lies in the other dimensions; what is said of its own axes does not count."""
    window: tuple[range, ...]
    """The elements that are shown along each axis."""

    @property
    def is_whole(self) -> bool:
        """Whether no element between those shown is left out."""
        return all(part.step == 1 for part in self.window)

    def selection(self, field: str | None) -> tuple[Any, ...]:
        """What selects it from the array."""
        indices: list[Any] = [*self.at]
        for axis, part in zip(self.axes, self.window, strict=True):
            indices[axis] = slice(part.start, part.stop, part.step)
        return (*indices, *([] if field is None else [field]))


def axes_of(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that are shown unless others are asked for: the two longest, in order."""
    longest = sorted(range(len(shape)), key=lambda axis: (-shape[axis], axis))[:2]
    return tuple(sorted(longest))


def plane(
    array: Array,
    axes: Sequence[int],
    at: Sequence[int],
    windows: Sequence[tuple[int, int]],
    *,
    most: tuple[int, ...],
) -> Plane:
    """The plane of an array along some axes, with so many elements left out that little has to be read.

    Args:
        array: an array.
        axes: the axes that are shown, rows before columns.
        at: where the plane lies in each dimension; missing ones are in the middle.
        windows: from where to where it is shown along each axis; missing ones are shown whole.
        most: how many elements are shown along each axis at most.
    """
    shape, chunks = array.shape, _read_at_once(array)
    if len({*axes}) != len(axes) or not all(0 <= axis < len(shape) for axis in axes):
        raise SelectionError(f"the axes {[*axes]} are not axes of an array of {len(shape)} dimensions")
    place = tuple(at[axis] if axis < len(at) else length // 2 for axis, length in enumerate(shape))
    for axis, length in enumerate(shape):
        if axis not in axes and not 0 <= place[axis] < length:
            raise SelectionError(f"dimension {axis} has {length} elements, and none at {place[axis]}")
    size = math.prod(chunks) * (array.dtype.itemsize if array.dtype.kind != "O" else 64)
    if size > LARGEST:
        raise UnsupportedError(
            f"one chunk has {size} bytes, too many for a picture; read a part of it instead"
        )
    room = max(1, READ // max(1, size))
    shown = []
    for number, axis in enumerate(axes):
        first, last = windows[number] if number < len(windows) else (0, shape[axis])
        first = min(max(0, first), shape[axis])
        last = min(max(first, last), shape[axis])
        shown.append((first, last))
    steps = [
        max(1, math.ceil((last - first) / limit)) for (first, last), limit in zip(shown, most, strict=False)
    ]
    while _chunks(shown, steps, [chunks[axis] for axis in axes]) > room:
        lengths = [(last - first) / step for (first, last), step in zip(shown, steps, strict=True)]
        widest = lengths.index(max(lengths))
        if lengths[widest] <= 1:
            break
        steps[widest] *= 2
    window = tuple(range(first, last, step) for (first, last), step in zip(shown, steps, strict=True))
    return Plane(tuple(axes), place, window)


def read(array: Array, shown: Plane, field: str | None) -> NDArray[Any]:
    """The elements of a plane, as two dimensions; those of fewer are a row."""
    values = np.asarray(array[shown.selection(field)])
    if shown.axes != tuple(sorted(shown.axes)):
        values = values.swapaxes(0, 1)
    return values.reshape((1,) * (2 - len(shown.axes)) + values.shape)


def _read_at_once(array: Array) -> tuple[int, ...]:
    """The shape of what has to be read and decoded for one element."""
    layout = array.layout
    blocks = layout.blocks
    if blocks is None or array.store.capabilities.native_ranges:
        return layout.largest
    counts = (block if isinstance(block, int) else block.longest for block in blocks)
    return tuple(count * length for count, length in zip(counts, layout.largest, strict=True))


def _chunks(shown: list[tuple[int, int]], steps: list[int], chunks: list[int]) -> int:
    """How many chunks the elements lie in."""
    return math.prod(
        min(math.ceil((last - first) / step), -(-last // length) - first // length)
        for (first, last), step, length in zip(shown, steps, chunks, strict=True)
    )
