"""Where the blocks of a dask array end and where chunks or shards do: arithmetic without input or output.

A *unit* is what a store holds as one value: a shard, or a chunk of an array without shards. Two tasks may write side by
side as long as no unit belongs to both.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

from zarrv3.errors import ConfigurationError
from zarrv3.format.cuts import Cut, Edges, describe, round_up

Blocks: TypeAlias = tuple[tuple[int, ...], ...]
"""The lengths of the blocks along each dimension: `dask.array.Array.chunks`."""

CHUNK_BYTES = 2**24
"""About how large a chunk may be whose shape follows from the blocks."""

LEAST = 64
"""Into how many pieces a block may be cut, along a dimension, for chunks that fit irregular blocks."""


class UnalignedBlocksError(ConfigurationError):
    """Several blocks would write to one chunk or shard; the message holds the call that helps."""


def check_known(blocks: Blocks) -> None:
    """Raise `ConfigurationError` for blocks whose lengths dask does not know."""
    if any(math.isnan(length) for lengths in blocks for length in lengths):
        raise ConfigurationError(
            "the dask array has blocks of unknown length; call its compute_chunk_sizes() first"
        )


def crossings(blocks: Blocks, unit: Sequence[Cut], offset: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The axes and positions at which one block ends and the next begins inside a unit.

    Args:
        blocks: the blocks that are written.
        unit: how the array is cut into chunks or shards.
        offset: where the first block starts in the array.
    """
    for axis, lengths in enumerate(blocks):
        for end in accumulate(lengths[:-1], initial=offset[axis]):
            if end != offset[axis] and round_up(unit[axis], end) != end:
                yield axis, end


def partial(blocks: Blocks, unit: Sequence[Cut], offset: Sequence[int], shape: Sequence[int]) -> list[int]:
    """The axes along which the first or last unit is written in part, although the array goes on there."""
    found = []
    for axis, lengths in enumerate(blocks):
        start, stop = offset[axis], offset[axis] + sum(lengths)
        if round_up(unit[axis], start) != start or (round_up(unit[axis], stop) != stop != shape[axis]):
            found.append(axis)
    return found


def aligned(blocks: Blocks, unit: Sequence[Cut], offset: Sequence[int]) -> Blocks:
    """Blocks of about the same size that end where units end; axes that are fine stay as they are."""
    wrong = {axis for axis, _ in crossings(blocks, unit, offset)}
    return tuple(
        _along(lengths, unit[axis], offset[axis]) if axis in wrong else lengths
        for axis, lengths in enumerate(blocks)
    )


def _along(lengths: Sequence[int], cut: Cut, offset: int) -> tuple[int, ...]:
    if isinstance(cut, int):
        return _regular(sum(lengths), _multiple(max(lengths), cut), offset % cut)
    return _whole(sum(lengths), max(lengths), cut, offset)


def snapped(lengths: Sequence[int], cut: Cut, extent: int) -> tuple[int, ...]:
    """Blocks of at most about the same size, made of whole units (of one at least), for a dimension from its start."""
    if isinstance(cut, int):
        return _regular(extent, max(1, max(lengths) // cut) * cut, 0)
    return _whole(extent, max(lengths), cut, 0)


def _whole(total: int, length: int, edges: Edges, offset: int) -> tuple[int, ...]:
    """Blocks of at most a length that end where units of differing lengths end, or of one such unit."""
    ends, last = [], offset
    while last < offset + total:
        unit = edges.chunk(min(last + length, edges.total))
        last = min(max(edges.start(unit), edges.start(edges.chunk(last) + 1)), offset + total)
        ends.append(last - offset)
    return tuple(end - start for start, end in zip([0, *ends], ends or [0], strict=False))


def _multiple(length: int, unit: int) -> int:
    """The multiple of a unit that is next to a length, at least one unit."""
    return max(1, round(length / unit)) * unit


def _regular(total: int, length: int, inside: int) -> tuple[int, ...]:
    """Blocks of one length that start `inside` a unit, so that the first is shorter by that."""
    ends = [*range(length - inside, total, length), total]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def shown(blocks: Blocks, axes: Sequence[int], names: Sequence[object] | None = None) -> str:
    """Blocks as the argument of `rechunk` or `chunk`: a mapping from the axes to one length, or to all where they differ."""
    parts = []
    for axis in axes:
        first, *rest = blocks[axis]
        is_regular = all(length == first for length in rest[:-1]) and (not rest or rest[-1] <= first)
        label = repr(names[axis]) if names else axis
        parts.append(f"{label}: {first if is_regular else blocks[axis]}")
    return "{" + ", ".join(parts) + "}"


def check_aligned(
    blocks: Blocks,
    unit: Sequence[Cut],
    offset: Sequence[int],
    what: str,
    names: Sequence[object] | None = None,
) -> None:
    """Raise `UnalignedBlocksError` where two blocks share a unit.

    Args:
        blocks: the blocks that are written.
        unit: how the array is cut into chunks or shards.
        offset: where the first block starts in the array.
        what: how the message names the array.
        names: the names of the dimensions of a variable of xarray, for the message.
    """
    found = [*crossings(blocks, unit, offset)]
    if found:
        axis, end = found[0]
        better = aligned(blocks, unit, offset)
        axes = sorted({axis for axis, _ in found})
        raise UnalignedBlocksError(
            f"blocks of the dask array meet at {end} along axis {axis}, inside what {what} stores as one value "
            f"({describe(unit)}): two tasks would write it again and again, or one undo the other. "
            + (
                f"Write .chunk({shown(better, axes, names)}) of the dataset, or pass align_chunks=True"
                if names
                else f"Write .rechunk({shown(better, axes)}) of the dask array, or pass rechunk=True"
            )
        )


# ---------------------------------------------------------------- chunks for blocks


def fitting(blocks: Blocks, item_size: int, limit: int = CHUNK_BYTES) -> tuple[int, ...]:
    """A chunk shape for a new array such that no chunk belongs to two blocks: the blocks themselves, or an even part.

    Raises `UnalignedBlocksError` where only tiny chunks would do.
    """
    return divided(common(blocks), item_size, limit)


def common(blocks: Blocks) -> tuple[int, ...]:
    """The largest shape of a unit whose edges meet all edges of the blocks; see `fitting`."""
    found = []
    for axis, lengths in enumerate(blocks):
        inner = [length for length in lengths[:-1] if length]
        step = math.gcd(*inner) if inner else max(1, *lengths)
        if step * LEAST < max(lengths):
            raise UnalignedBlocksError(
                f"the blocks of the dask array along axis {axis} ({_some(lengths)}) have no chunk length in common; "
                f"write .rechunk({{{axis}: {max(lengths)}}}) of the dask array, or pass rechunk=True"
            )
        found.append(step)
    return tuple(found)


def even(blocks: Blocks) -> Blocks:
    """Blocks with those axes made regular for which `common` finds nothing."""
    result = []
    for lengths in blocks:
        try:
            common((lengths,))
        except UnalignedBlocksError:
            result.append(_regular(sum(lengths), max(lengths), 0))
        else:
            result.append(lengths)
    return tuple(result)


def divided(shape: Sequence[int], item_size: int, limit: int) -> tuple[int, ...]:
    """A shape that divides another evenly and has at most about `limit` bytes, as far as small factors lead there."""
    lengths = list(shape)
    while math.prod(lengths) * item_size > limit:
        factors = {axis: _factor(length) for axis, length in enumerate(lengths)}
        able = [axis for axis, factor in factors.items() if factor]
        if not able:
            break
        longest = max(able, key=lengths.__getitem__)
        lengths[longest] //= factors[longest]
    return tuple(lengths)


def _factor(length: int) -> int:
    """The smallest factor of a length that is not too large to cut by; 0 if there is none."""
    return next((n for n in range(2, min(length, LEAST) + 1) if length % n == 0), 0)


def _some(lengths: Sequence[int]) -> str:
    return ", ".join(map(str, lengths[:6])) + (", …" if len(lengths) > 6 else "")
