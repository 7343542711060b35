"""Basic indexing with integers, slices and the ellipsis, and the same counted in blocks of chunks."""

from collections.abc import Sequence
from typing import Any

from zarrv3.errors import SelectionError
from zarrv3.indexing.arguments import as_index, as_range, expand
from zarrv3.indexing.axes import Axis, SliceAxis, integer_axis
from zarrv3.indexing.plans import GridPlan, Plan


def plan_basic(selection: Any, shape: Sequence[int], chunk_shape: Sequence[int]) -> Plan:
    """Plan `array[selection]` of integers, slices (any step, negative ones too) and at most one ellipsis."""
    entries = expand(selection, len(shape))
    axes: list[Axis] = []
    lengths = []
    for number, entry in enumerate(entries):
        extent, chunk = shape[number], chunk_shape[number]
        if type(entry) is slice:
            axis = SliceAxis(as_range(entry, extent), extent, chunk)
            lengths.append(axis.length)
            axes.append(axis)
        else:
            axes.append(integer_axis(as_index(entry, number, extent), extent, chunk, drop=True))
    buffer_shape = tuple(lengths)
    return GridPlan(axes, buffer_shape, buffer_shape)


def plan_blocks(
    selection: Any,
    shape: Sequence[int],
    chunk_shape: Sequence[int],
    block_shape: Sequence[int] | None = None,
) -> Plan:
    """Plan `array.blocks[selection]`: integers and slices count blocks, by default chunks, and keep all dimensions.

    `block_shape` is for arrays whose blocks are made of several chunks (shards).
    """
    entries = expand(selection, len(shape))
    blocks = chunk_shape if block_shape is None else block_shape
    elements = tuple(
        _block_elements(entry, axis, extent, block)
        for axis, (entry, extent, block) in enumerate(zip(entries, shape, blocks, strict=True))
    )
    return plan_basic(elements, shape, chunk_shape)


def _block_elements(entry: Any, axis: int, extent: int, block: int) -> slice:
    grid = -(-extent // block) if extent else 0
    if not isinstance(entry, slice):
        index = as_index(entry, axis, grid)
        return slice(index * block, (index + 1) * block)
    numbers = as_range(entry, grid)
    if numbers.step != 1:
        raise SelectionError(f"a slice of blocks must have step 1, not {numbers.step}")
    return slice(numbers.start * block, numbers.stop * block)
