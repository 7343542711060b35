"""Values from store to store, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from zarrv3.errors import CorruptDataError
from zarrv3.format.extensions import Guard
from zarrv3.format.grids import grid_shape
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, whole
from zarrv3.store.helpers import BATCH

WINDOW_BYTES = 16 * 2**20
"""About how many bytes of values one window holds; each thread has one."""


class Item(NamedTuple):
    """A value that is to be copied."""

    path: str
    """The node of the source that it belongs to."""
    key: str
    target: str
    size: int | None
    """Its bytes; `None` where the source cannot tell without reading."""
    weight: int
    """How many bytes to reckon with."""


def windows(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Values in lists of at most 64 and, unless it is one value, `WINDOW_BYTES`."""
    part: list[Item] = []
    room = WINDOW_BYTES
    for item in items:
        if part and (len(part) == BATCH or item.weight > room):
            yield part
            part, room = [], WINDOW_BYTES
        part.append(item)
        room -= item.weight
    if part:
        yield part


def numbers(counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All coordinates of a grid in C order; unlike `itertools.product` it keeps no list of any axis."""
    if not counts:
        yield ()
        return
    for first in range(counts[0]):
        for rest in numbers(counts[1:]):
            yield (first, *rest)


def grid_keys(metadata: ArrayMetadata, path: str) -> Iterator[str]:
    """The keys that an array may have by its chunk grid; not for arrays with storage transformers."""
    encoding = metadata.chunk_key_encoding
    with Guard("chunk_key_encodings", encoding, "chunk_key_encoding"):
        for coords in numbers(grid_shape(metadata.chunk_grid.cuts, metadata.shape)):
            yield folder_of(path) + encoding.encode(coords)


class Passer:
    """What all windows of one copy share."""

    def __init__(self, source: BaseStore, dest: BaseStore, *, resume: bool, verify: bool) -> None:
        self.source = source
        self.dest = dest
        self.resume = resume
        self.verify = verify

    def window(self, items: Sequence[Item]) -> Counter[str]:
        """Copy the values of one window; missing ones stay missing."""
        counts: Counter[str] = Counter()
        if self.resume and not self.verify:
            items = self._unfinished(items, counts)
        if not items:
            return counts
        values = self.source.get_many(whole([item.key for item in items]))
        found = {item: value for item, value in zip(items, values, strict=True) if value is not None}
        if self.resume and self.verify:
            found = self._differing(found, counts)
        if found:
            self.dest.write_many({item.target: value for item, value in found.items()})
        if self.verify:
            for item in self._differing(found, Counter()):
                raise CorruptDataError(
                    f"{item.target!r} in {self.dest.describe()} is not what was copied from {item.key!r} in "
                    f"{self.source.describe()}"
                )
        counts.update(chunks=len(found), bytes=sum(map(len, found.values())))
        return counts

    def _unfinished(self, items: Sequence[Item], counts: Counter[str]) -> list[Item]:
        """Those that the destination does not have with the same size, in one call that reads no value."""
        sizes = self.dest.stat_many([item.target for item in items])
        there = {
            item: item.size
            for item, size in zip(items, sizes, strict=True)
            if size is not None and item.size in {None, size}  # values are whole: what is there is complete
        }
        counts.update(skipped=len(there), passed=sum(size or 0 for size in there.values()))
        return [item for item in items if item not in there]

    def _differing(self, values: dict[Item, Buffer], counts: Counter[str]) -> dict[Item, Buffer]:
        """Those values that the destination does not have, or has otherwise."""
        theirs = self.dest.get_many(whole([item.target for item in values]))
        pairs = zip(values.items(), theirs, strict=True)
        same = {item: len(value) for (item, value), other in pairs if other is not None and other == value}
        counts.update(skipped=len(same), passed=sum(same.values()))
        return {item: value for item, value in values.items() if item not in same}
