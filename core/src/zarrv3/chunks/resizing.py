"""What happens to chunks when an array gets another shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from zarrv3.chunks import writing
from zarrv3.chunks.layout import Layout
from zarrv3.format.cuts import chunk_of, start_of
from zarrv3.format.grids import grid_shape
from zarrv3.indexing import ListedPlan, Piece, Plan

ENUMERATED = 10_000
"""Up to how many chunks are looked at without asking which of them exist."""

Coords = tuple[int, ...]


def trim(before: Layout, new: Coords) -> None:
    """Before an array is made smaller: erase the chunks that will lie outside, and clear what will lie outside in the others.

    So nothing of the old content comes back when the array grows again. `before` is the layout of the present shape; where no
    dimension becomes shorter, nothing is touched. What already lies outside stays, as others may be making the array longer.
    The cost is that of the chunks concerned or, where those are many, of the chunks stored.
    """
    old = before.metadata.shape
    shorter = [axis for axis, (a, b) in enumerate(zip(old, new, strict=True)) if b < a]
    if not shorter or not math.prod(old):
        return
    cuts = before.cuts
    grids = before.grid_shape, grid_shape(cuts, new)
    stored = _stored(before) if _is_sparse(before, *grids) else None

    def piece(coords: Coords, axis: int = 0, start: int = 0) -> Piece:
        """What of a chunk lies inside the old shape, along one axis only from `start` on."""
        edges = zip(before.shape_of(coords), old, map(start_of, cuts, coords), strict=True)
        stops = [min(length, n - begin) for length, n, begin in edges]
        inside = [slice(start if a == axis else 0, stop) for a, stop in enumerate(stops)]
        return Piece(coords, tuple(inside), (), whole=False)

    whole: list[Piece] = []
    partial: list[Piece] = []
    for coords in _outside(*grids) if stored is None else (c for c in stored if not _within(c, grids[1])):
        is_inside = all(start_of(c, k + 1) <= n for k, c, n in zip(coords, cuts, old, strict=True))
        (whole if is_inside else partial).append(piece(coords))
    writing.erase(before, _plan(whole))
    for axis in shorter:
        edge = chunk_of(cuts[axis], new[axis])
        if beyond := new[axis] - start_of(cuts[axis], edge):
            at_edge = (
                _slab(*grids, axis, edge)
                if stored is None
                else (c for c in stored if c[axis] == edge and _within(c, grids[1]))
            )
            partial += [piece(coords, axis, beyond) for coords in at_edge]
            writing.clear(before, _plan(partial))
            partial = []
    writing.clear(before, _plan(partial))


def _plan(pieces: list[Piece]) -> Plan:
    """A plan for one value that all pieces get."""
    return ListedPlan(pieces, (), ())


def _is_sparse(before: Layout, old: Coords, new: Coords) -> bool:
    """Whether to look at the stored chunks rather than at all that are concerned."""
    kept = math.prod(map(min, old, new))
    edges = sum(kept // max(1, min(o, n)) for o, n in zip(old, new, strict=True) if n <= o)
    return math.prod(old) - kept + edges > ENUMERATED and before.store.capabilities.list


def _stored(layout: Layout) -> list[Coords]:
    found = map(layout.coords, layout.store.list_prefix(layout.folder))
    return [coords for coords in found if coords is not None]


def _within(coords: Coords, grid: Coords) -> bool:
    return all(c < n for c, n in zip(coords, grid, strict=True))


def _outside(old: Coords, new: Coords) -> Iterator[Coords]:
    """The chunks of the old grid that are not in the new one: for each axis those outside along it, inside before it."""
    inside = _ranges(old, new)
    for axis, (o, n) in enumerate(zip(old, new, strict=True)):
        yield from product(*inside[:axis], range(n, o), *map(range, old[axis + 1 :]))


def _slab(old: Coords, new: Coords, axis: int, number: int) -> Iterator[Coords]:
    """The chunks in both grids that have this number along an axis."""
    inside = _ranges(old, new)
    return product(*inside[:axis], [number], *inside[axis + 1 :])


def _ranges(old: Coords, new: Coords) -> list[range]:
    return [range(min(o, n)) for o, n in zip(old, new, strict=True)]
