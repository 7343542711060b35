"""What happens to chunks when an array gets another shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from zarrv3 import transfer
from zarrv3.helpers import chunked
from zarrv3.indexing import plan_basic
from zarrv3.layout import Layout

ENUMERATED = 10_000
"""Up to how many keys are erased without asking which of them exist."""


def trim(before: Layout, after: Layout) -> None:
    """Erase the chunks that lie outside after a shrinking, and clear what lies outside in those at the new edge.

    So nothing of the old content comes back when the array grows again. `before` and `after` are the layouts of the old
    and the new shape; where no dimension has become shorter nothing is touched.
    """
    old, new = before.metadata.shape, after.metadata.shape
    shorter = [axis for axis, (a, b) in enumerate(zip(old, new, strict=True)) if b < a]
    if not shorter or not math.prod(old):
        return
    if after.store.capabilities.erase:
        for keys in chunked(_outside(before, after), 1000):
            after.store.erase_many(keys)
    for axis in shorter:
        edge = -(-new[axis] // after.chunk_shape[axis]) * after.chunk_shape[axis]
        beyond = slice(new[axis], min(old[axis], edge))
        if beyond.start < beyond.stop:
            lengths = tuple(min(a, b) if other < axis else a for other, (a, b) in enumerate(zip(old, new, strict=True)))
            selection = tuple(
                beyond if other == axis else slice(0, _cover(length, new[other], after.chunk_shape[other]))
                for other, length in enumerate(lengths)
            )
            plan = plan_basic(selection, old, before.chunk_shape)
            fill = np.broadcast_to(np.asarray(after.metadata.fill_value, dtype=after.dtype), plan.shape)
            transfer.write(before, plan, fill, only_existing=True)


def _cover(length: int, new: int, chunk: int) -> int:
    """As far as chunks that are still there reach along a dimension, within the old length."""
    return min(length, -(-new // chunk) * chunk)


def _outside(before: Layout, after: Layout) -> Iterator[str]:
    """The keys of chunks that were in the grid and are no more: all possible ones, or if they are many the stored ones."""
    old = before.grid.grid_shape(before.metadata.shape)
    new = after.grid.grid_shape(after.metadata.shape)
    if math.prod(old) - math.prod(new) <= ENUMERATED or not after.store.capabilities.list:
        for axis in range(len(old)):  # boxes that do not overlap: outside along this axis, inside along those before
            box = [range(min(o, n)) if other < axis else range(o) for other, (o, n) in enumerate(zip(old, new, strict=True))]
            box[axis] = range(new[axis], old[axis])
            yield from map(after.key, product(*box))
        return
    stored = [key for key in before.store.list_prefix(before.folder) if before.coords(key) is not None]
    for key in stored:
        if after.coords(key) is None:
            yield key
