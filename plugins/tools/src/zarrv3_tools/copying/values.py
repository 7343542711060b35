"""Elements from array to array."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zarrv3.errors import CorruptDataError
from zarrv3.format.data_types import fill_test
from zarrv3.format.grids import decode_key, grid_shape
from zarrv3.hierarchy.array import Array
from zarrv3.indexing.boxes import box_shape
from zarrv3_tools.copying.passing import numbers
from zarrv3_tools.copying.report import Tally

BOX_BYTES = 16 * 2**20
"""About how many bytes of elements one box has, unless one chunk or shard of the destination has more."""

ENUMERATED = 10_000
"""Up to how many boxes are read without asking which chunks there are."""

Coords: TypeAlias = tuple[int, ...]


class Box(NamedTuple):
    """A part of an array that covers whole chunks (or shards) of the destination, by their numbers."""

    start: Coords
    stop: Coords


class Recoder:
    """The copy of one array whose chunks are decoded and re-encoded.

    Args:
        source: the array.
        dest: the new one; its document need not be stored yet.
        tally: what is told.
        resume: leave alone what is there: each value is whole, so what is there is done.
        verify: read each box again and compare bit by bit.
    """

    def __init__(self, source: Array, dest: Array, tally: Tally, *, resume: bool, verify: bool) -> None:
        self.source = source
        self.dest = dest
        self.tally = tally
        self.verify = verify
        self.block: Coords = dest.metadata.chunk_grid.chunk_shape
        self.grid: Coords = grid_shape(dest.metadata.chunk_grid, dest.shape)
        item = source.metadata.data_type.item_size or 16
        lengths = box_shape(dest.shape, self.block, source.shards or source.chunks, BOX_BYTES // item)
        self.step: Coords = tuple(n // b for n, b in zip(lengths, self.block, strict=True))
        """How many blocks a box has along each axis."""
        self.resume = resume and not dest.metadata.storage_transformers

    def boxes(self) -> Iterator[Box]:
        """The boxes to be copied; of a large array that can be listed only those with chunks."""
        counts = [-(-n // step) for n, step in zip(self.grid, self.step, strict=True)]
        metadata, store = self.source.metadata, self.source.store
        listed = math.prod(counts) > ENUMERATED and store.capabilities.list
        chosen = numbers(counts)
        if listed and not metadata.storage_transformers:
            chosen = iter(self._touched())
        for number in chosen:
            start = tuple(n * step for n, step in zip(number, self.step, strict=True))
            stop = tuple(min(s + step, n) for s, step, n in zip(start, self.step, self.grid, strict=True))
            yield Box(start, stop)

    def _touched(self) -> set[Coords]:
        """The numbers of the boxes in which the source has chunks."""
        metadata, folder = self.source.metadata, self.source.layout.folder
        shape = metadata.chunk_grid.chunk_shape
        found: set[Coords] = set()
        for key in self.source.store.list_prefix(folder):
            coords = decode_key(metadata.chunk_key_encoding, key[len(folder) :], len(shape))
            if coords is not None:
                spans = [
                    range(c * n // (step * b), min(-(-(c + 1) * n // (step * b)), -(-g // step)))
                    for c, n, step, b, g in zip(coords, shape, self.step, self.block, self.grid, strict=True)
                ]
                found.update(product(*spans))
        return found

    def box(self, box: Box) -> None:
        """Copy one box."""
        present = self._present(box) if self.resume else set()
        if not present:
            self._region(self._selection(box.start, box.stop))
        else:
            for block in product(*map(range, box.start, box.stop)):
                region = self._selection(block, tuple(c + 1 for c in block))
                if block not in present:
                    self._region(region)
                else:
                    self.tally.add(skipped=1, passed=_nbytes(self.source, region))

    def _present(self, box: Box) -> set[Coords]:
        """The blocks of a box that are stored."""
        blocks = [*product(*map(range, box.start, box.stop))]
        folder, encode = self.dest.layout.folder, self.dest.metadata.chunk_key_encoding.encode
        sizes = self.dest.store.stat_many([folder + encode(block) for block in blocks])
        return {block for block, size in zip(blocks, sizes, strict=True) if size is not None}

    def _selection(self, start: Sequence[int], stop: Sequence[int]) -> tuple[slice, ...]:
        return tuple(
            slice(a * b, min(c * b, n))
            for a, c, b, n in zip(start, stop, self.block, self.dest.shape, strict=True)
        )

    def _region(self, region: tuple[slice, ...]) -> None:
        values = self.source.read(region)
        filled = self._filled(values)
        if filled:
            self.dest.write(region, values)
        if self.verify:
            differing = _differing(self.dest.read(region), values)
            if differing is not None:
                at = tuple(int(s.start + d) for s, d in zip(region, differing, strict=True))
                key = self._key(at)
                raise CorruptDataError(
                    f"{key!r} in {self.dest.store.describe()} does not read back as what was copied from "
                    f"{self.source!r}: element {at} differs (codecs that lose precision cannot be verified)"
                )
        self.tally.add(bytes=values.nbytes, chunks=filled)

    def _filled(self, values: np.ndarray[Any, Any]) -> int:
        """How many blocks of a region that starts at a block's corner hold more than the fill value."""
        starts = [range(0, n, b) for n, b in zip(values.shape, self.block, strict=True)]
        is_fill = fill_test(values.dtype, values.ndim, self.dest.fill_value)
        return sum(not is_fill(values[self._window(at)]) for at in product(*starts))

    def _window(self, at: Coords) -> tuple[Any, ...]:
        return (*(slice(s, s + b) for s, b in zip(at, self.block, strict=True)), ...)

    def _key(self, at: Coords) -> str:
        block = tuple(a // b for a, b in zip(at, self.block, strict=True))
        return self.dest.layout.folder + self.dest.metadata.chunk_key_encoding.encode(block)


def _nbytes(array: Array, region: tuple[slice, ...]) -> int:
    lengths: list[int] = [s.stop - s.start for s in region]
    return math.prod(lengths) * array.itemsize


def _differing(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> Coords | None:
    """Where two arrays of one shape and dtype differ first, bit by bit; `None` if nowhere."""
    if one.dtype.kind in "OT":
        unequal = np.asarray(one != other, dtype=bool)
    else:
        rows = [np.ascontiguousarray(a).reshape(-1).view("u1").reshape(a.size, -1) for a in (one, other)]
        unequal = (rows[0] != rows[1]).any(axis=1).reshape(one.shape)
    if not unequal.any():
        return None
    first = np.unravel_index(int(unequal.argmax()), unequal.shape)
    return tuple(int(i) for i in first)
