"""Basic indexing with integers, slices and the ellipsis, and the same counted in blocks of chunks."""

from collections.abc import Sequence
from typing import Any

from zarrv3.errors import SelectionError
from zarrv3.format.cuts import Cut, count_of, start_of
from zarrv3.indexing.arguments import as_index, as_range, expand
from zarrv3.indexing.axes import Axis, EdgesAxis, SliceAxis, integer_axis
from zarrv3.indexing.plans import GridPlan, Plan


def plan_basic(selection: Any, shape: Sequence[int], cuts: Sequence[Cut]) -> Plan:
    """Plan `array[selection]` of integers, slices (any step, negative ones too) and at most one ellipsis."""
    entries = expand(selection, len(shape))
    axes: list[Axis] = []
    lengths = []
    for number, entry in enumerate(entries):
        extent, cut = shape[number], cuts[number]
        if type(entry) is slice:
            elements = as_range(entry, extent)
            axis = (SliceAxis if isinstance(cut, int) else EdgesAxis)(elements, extent, cut)
            lengths.append(axis.length)
            axes.append(axis)
        else:
            axes.append(integer_axis(as_index(entry, number, extent), extent, cut, drop=True))
    buffer_shape = tuple(lengths)
    return GridPlan(axes, buffer_shape, buffer_shape)


def plan_blocks(
    selection: Any, shape: Sequence[int], cuts: Sequence[Cut], blocks: Sequence[Cut] | None = None
) -> Plan:
    """Plan `array.blocks[selection]`: integers and slices count blocks, by default chunks, and keep all dimensions.

    `blocks` is how the array is cut into blocks that are made of several chunks (shards).
    """
    entries = expand(selection, len(shape))
    elements = tuple(
        _block_elements(entry, axis, extent, block)
        for axis, (entry, extent, block) in enumerate(zip(entries, shape, blocks or cuts, strict=True))
    )
    return plan_basic(elements, shape, cuts)


def _block_elements(entry: Any, axis: int, extent: int, block: Cut) -> slice:
    grid = count_of(block, extent)
    if not isinstance(entry, slice):
        index = as_index(entry, axis, grid)
        return slice(start_of(block, index), start_of(block, index + 1))
    numbers = as_range(entry, grid)
    if numbers.step != 1:
        raise SelectionError(f"a slice of blocks must have step 1, not {numbers.step}")
    return slice(start_of(block, numbers.start), start_of(block, numbers.stop))
