"""Elements from array to array."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zarrv3.errors import CorruptDataError
from zarrv3.format.cuts import Cut, chunk_of, start_of
from zarrv3.format.data_types import fill_test
from zarrv3.format.grids import decode_key, grid_shape
from zarrv3.hierarchy.array import Array
from zarrv3.indexing.boxes import spanned
from zarrv3_tools.copying.passing import numbers

BOX_BYTES = 16 * 2**20
"""About how many bytes of elements one box has by default, unless one chunk or shard of the destination has more."""

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
        boxed: how the new array is cut into boxes of whole chunks (or shards).
        resume: leave alone what is there: each value is whole, so what is there is done.
        whole: leave alone no part of a box: the parts need the same chunks of the source.
        verify: read each box again and compare bit by bit.
    """

    def __init__(
        self,
        source: Array,
        dest: Array,
        *,
        boxed: Sequence[Cut],
        resume: bool,
        verify: bool,
        whole: bool = False,
    ) -> None:
        self.source = source
        self.dest = dest
        self.verify = verify
        self.cuts = dest.metadata.chunk_grid.cuts
        self.grid = grid_shape(self.cuts, dest.shape)
        self.boxed = boxed
        self.whole = whole
        self.resume = resume and not dest.metadata.storage_transformers

    def boxes(self) -> Iterator[Box]:
        """The boxes to be copied; of a large array that can be listed only those with chunks."""
        counts = grid_shape(self.boxed, self.dest.shape)
        metadata, store = self.source.metadata, self.source.store
        listed = math.prod(counts) > ENUMERATED and store.capabilities.list
        boxes = numbers(counts)
        if listed and not metadata.storage_transformers:
            boxes = iter(self._touched())
        for number in boxes:
            ends = map(start_of, self.boxed, [n + 1 for n in number])
            parts = map(slice, map(start_of, self.boxed, number), map(min, ends, self.dest.shape))
            blocks = [*map(spanned, self.cuts, parts)]
            yield Box(tuple(r.start for r in blocks), tuple(r.stop for r in blocks))

    def _touched(self) -> set[Coords]:
        """The numbers of the boxes in which the source has chunks."""
        metadata, folder = self.source.metadata, self.source.layout.folder
        cuts, shape = metadata.chunk_grid.cuts, self.source.shape
        found: set[Coords] = set()
        for key in self.source.store.list_prefix(folder):
            coords = decode_key(metadata.chunk_key_encoding, key[len(folder) :], len(shape))
            if coords is not None and all(map(int.__lt__, coords, grid_shape(cuts, shape))):
                ends = map(min, map(start_of, cuts, [c + 1 for c in coords]), shape)
                parts = map(slice, map(start_of, cuts, coords), ends)
                found.update(product(*map(spanned, self.boxed, parts)))
        return found

    def box(self, box: Box) -> Counter[str]:
        """Copy one box."""
        present = self._present(box) if self.resume else set()
        if not present or (self.whole and len(present) < math.prod(map(int.__sub__, box.stop, box.start))):
            return self._region(box)
        counts: Counter[str] = Counter()
        for block in product(*map(range, box.start, box.stop)):
            one = Box(block, tuple(c + 1 for c in block))
            if block not in present:
                counts.update(self._region(one))
            else:
                counts.update(skipped=1, passed=_nbytes(self.source, self._selection(one)))
        return counts

    def _present(self, box: Box) -> set[Coords]:
        """The blocks of a box that are stored."""
        blocks = [*product(*map(range, box.start, box.stop))]
        folder, encode = self.dest.layout.folder, self.dest.metadata.chunk_key_encoding.encode
        sizes = self.dest.store.stat_many([folder + encode(block) for block in blocks])
        return {block for block, size in zip(blocks, sizes, strict=True) if size is not None}

    def _selection(self, box: Box) -> tuple[slice, ...]:
        ends = map(min, map(start_of, self.cuts, box.stop), self.dest.shape)
        return tuple(map(slice, map(start_of, self.cuts, box.start), ends))

    def _region(self, box: Box) -> Counter[str]:
        region = self._selection(box)
        values = self.source.read(region)
        filled = self._filled(values, box)
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
        return Counter(bytes=values.nbytes, chunks=filled)

    def _filled(self, values: np.ndarray[Any, Any], box: Box) -> int:
        """How many blocks of a box hold more than the fill value."""
        is_fill = fill_test(values.dtype, values.ndim, self.dest.fill_value)
        parts: list[list[Any]] = [
            [
                slice(start_of(cut, n) - start_of(cut, a), start_of(cut, n + 1) - start_of(cut, a))
                for n in range(a, b)
            ]
            for cut, a, b in zip(self.cuts, *box, strict=True)
        ]
        return sum(not is_fill(values[(*part, ...)]) for part in product(*parts))

    def _key(self, at: Coords) -> str:
        block = tuple(map(chunk_of, self.cuts, at))
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
