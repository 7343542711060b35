"""How one dimension is cut into chunks: by one length, or at `Edges`. Arithmetic only.

Everywhere a *cut* is either an integer, the length of all chunks, or `Edges`. So what is regular costs a division, and what
is not costs a search among runs of equal lengths, however many chunks those stand for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby, repeat, starmap
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zarrv3.errors import MetadataError

MAX_LENGTH = 2**63 - 1
"""The greatest length of a dimension, and the greatest number of bytes of an array."""

Numbers: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True)
class Edges:
    """Chunks whose lengths are listed one by one, as runs of equal ones. Immutable.

    Numbers of chunks and elements must be in range where a method does not say otherwise.
    """

    runs: tuple[tuple[int, int], ...]
    """The lengths in order, each with how many chunks in a row have it; neighbours differ."""

    def __post_init__(self) -> None:
        """Join what can be one run; `MetadataError` if there are no chunks, empty ones or more elements than can be counted."""
        joined: list[tuple[int, int]] = []
        for length, count in self.runs:
            if length < 1 or count < 1:
                raise MetadataError(f"chunks must have at least one element, not {count} times {length}")
            before = joined.pop()[1] if joined and joined[-1][0] == length else 0
            joined.append((length, before + count))
        if not joined:
            raise MetadataError("a dimension needs at least one chunk length")
        object.__setattr__(self, "runs", tuple(joined))
        if self.total > MAX_LENGTH:
            raise MetadataError("the chunks of a dimension have more than 2**63 elements")

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Edges:
        """The edges of chunks of these lengths."""
        return cls(tuple((length, len([*run])) for length, run in groupby(lengths)))

    @cached_property
    def count(self) -> int:
        """How many chunks there are."""
        return sum(count for _, count in self.runs)

    @cached_property
    def total(self) -> int:
        """Where the last chunk ends."""
        return sum(length * count for length, count in self.runs)

    @cached_property
    def longest(self) -> int:
        """The greatest length of a chunk."""
        return max(length for length, _ in self.runs)

    @cached_property
    def _firsts(self) -> tuple[int, ...]:
        """The number of the first chunk of each run."""
        return (0, *accumulate(count for _, count in self.runs))[:-1]

    @cached_property
    def _offsets(self) -> tuple[int, ...]:
        """The first element of each run."""
        return (0, *accumulate(length * count for length, count in self.runs))[:-1]

    @cached_property
    def _arrays(self) -> tuple[Numbers, ...]:
        """For each run: its first chunk, its first element, the length of its chunks."""
        lengths = [length for length, _ in self.runs]
        return tuple([np.array(row, np.intp) for row in (self._firsts, self._offsets, lengths)])

    def length(self, chunk: int) -> int:
        """The length of a chunk."""
        return self.runs[bisect_right(self._firsts, chunk) - 1][0]

    def start(self, chunk: int) -> int:
        """The first element of a chunk; of the number behind the last one, where that ends."""
        run = bisect_right(self._firsts, chunk) - 1
        return self._offsets[run] + (chunk - self._firsts[run]) * self.runs[run][0]

    def chunk(self, element: int) -> int:
        """The number of the chunk that an element lies in; of the element behind the last one, `count`."""
        run = bisect_right(self._offsets, element) - 1
        return self._firsts[run] + (element - self._offsets[run]) // self.runs[run][0]

    def lengths(self, chunks: Numbers) -> Numbers:
        """`length` of many chunks at once."""
        firsts, _, lengths = self._arrays
        return lengths[np.searchsorted(firsts, chunks, "right") - 1]

    def starts(self, chunks: Numbers) -> Numbers:
        """`start` of many chunks at once."""
        firsts, offsets, lengths = self._arrays
        run = np.searchsorted(firsts, chunks, "right") - 1
        return offsets[run] + (chunks - firsts[run]) * lengths[run]

    def chunks(self, elements: Numbers) -> Numbers:
        """`chunk` of many elements at once."""
        firsts, offsets, lengths = self._arrays
        run = np.searchsorted(offsets, elements, "right") - 1
        return firsts[run] + (elements - offsets[run]) // lengths[run]

    def __iter__(self) -> Iterator[int]:
        """The lengths of all chunks."""
        return chain.from_iterable(starmap(repeat, self.runs))

    def __repr__(self) -> str:
        return f"<Edges {self}>"

    def __str__(self) -> str:
        """The lengths in brackets, `3×100` for a hundred times 3, cut after the fifth run."""
        shown = [f"{length}×{count}" if count > 1 else f"{length}" for length, count in self.runs[:5]]
        return f"[{', '.join(shown)}{', …' if len(self.runs) > 5 else ''}]"

    def longer(self, total: int) -> Edges:
        """These edges and, if they end before `total`, one chunk more that ends there."""
        return self if total <= self.total else Edges((*self.runs, (total - self.total, 1)))


Cut: TypeAlias = int | Edges


def longest(cut: Cut) -> int:
    """The greatest length of a chunk."""
    return cut if isinstance(cut, int) else cut.longest


def length_of(cut: Cut, chunk: int) -> int:
    """The length of a chunk, also where it reaches over the end of the array."""
    return cut if isinstance(cut, int) else cut.length(chunk)


def start_of(cut: Cut, chunk: int) -> int:
    """The first element of a chunk."""
    return chunk * cut if isinstance(cut, int) else cut.start(min(chunk, cut.count))


def starts_of(cut: Cut, chunks: Numbers) -> Numbers:
    """`start_of` of many chunks at once."""
    return chunks * cut if isinstance(cut, int) else cut.starts(chunks)


def lengths_of(cut: Cut, chunks: Numbers) -> int | Numbers:
    """`length_of` of many chunks at once; one number where it is the same for all."""
    return cut if isinstance(cut, int) else cut.lengths(chunks)


def chunks_of(cut: Cut, elements: Numbers) -> Numbers:
    """`chunk_of` of many elements at once."""
    return elements // cut if isinstance(cut, int) else cut.chunks(elements)


def chunk_of(cut: Cut, element: int) -> int:
    """The chunk that an element lies in."""
    return element // cut if isinstance(cut, int) else cut.chunk(element)


def count_of(cut: Cut, extent: int) -> int:
    """How many chunks have elements of a dimension of that length (of edges: as far as they reach)."""
    if not extent:
        return 0
    if isinstance(cut, int):
        return -(-extent // cut)
    return cut.chunk(extent - 1) + 1 if extent <= cut.total else cut.count


def clipped(cut: Cut, extent: int) -> tuple[int, ...]:
    """The lengths of the chunks of a dimension, the last one only as far as it lies in the array."""
    count = count_of(cut, extent)
    if not count:
        return ()
    if isinstance(cut, int):
        return (cut,) * (count - 1) + (extent - (count - 1) * cut,)
    lengths: list[int] = cut.lengths(np.arange(count - 1)).tolist()
    return (*lengths, extent - cut.start(count - 1))


def grouped(cut: Cut, block: Cut) -> Cut:
    """How a dimension is cut into blocks: of chunks as `cut` says, `block` of them each. One of the two must be an integer."""
    if isinstance(block, Edges):
        assert isinstance(cut, int)
        return Edges(tuple((length * cut, count) for length, count in block.runs))
    if isinstance(cut, int):
        return cut * block
    assert block == 1
    return cut


def round_up(cut: Cut, element: int) -> int:
    """The start of the first chunk that does not begin before an element."""
    if isinstance(cut, int):
        return -(-element // cut) * cut
    return cut.total if element >= cut.total else cut.start(count_of(cut, element))


def largest(cuts: Sequence[Cut]) -> tuple[int, ...]:
    """The shape of the largest chunk."""
    return tuple([longest(cut) for cut in cuts])


def are_regular(cuts: Sequence[Cut]) -> bool:
    """Whether all chunks have one shape."""
    return all(isinstance(cut, int) for cut in cuts)


def describe(cuts: Sequence[Cut]) -> str:
    """The shape of chunks as text: `(3, 4)`, with lists of lengths where they differ: `([3×2, 5], 4)`."""
    return str(cuts) if are_regular(cuts) else f"({', '.join(map(str, cuts))})"
