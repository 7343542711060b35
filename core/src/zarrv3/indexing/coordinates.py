"""Selections of single points: arrays of coordinates, or a boolean mask of the whole array.

All points are sorted by chunk at once; within a chunk they keep their order, so that when a point is written twice the
last value wins, as in numpy. The buffer is one-dimensional, in the order of the points.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrv3.errors import SelectionError
from zarrv3.format.cuts import Cut, chunks_of, lengths_of, starts_of
from zarrv3.indexing.arguments import as_array, as_indices, check_mask, is_array, is_integer
from zarrv3.indexing.axes import group
from zarrv3.indexing.basic import plan_basic
from zarrv3.indexing.orthogonal import plan_orthogonal
from zarrv3.indexing.plans import ListedPlan, Piece, Plan

Points = NDArray[np.intp]  # one row for each dimension


def plan_coordinates(selection: Any, shape: Sequence[int], cuts: Sequence[Cut]) -> Plan:
    """Plan `array.vindex[selection]`: one array of integers for each dimension, broadcast against each other.

    One boolean mask of the shape of the array is taken too; a 1-d mask in a tuple stands for its true positions.
    """
    entries = selection if type(selection) is tuple else (selection,)
    arrays = [_coordinates(entry) for entry in entries]
    if len(arrays) == 1 and arrays[0].dtype == bool:
        return plan_mask(arrays[0], shape, cuts)
    if len(arrays) != len(shape):
        raise SelectionError(
            f"a coordinate selection needs one array for each of {len(shape)} dimensions, but {len(arrays)} were given"
        )
    for axis, array in enumerate(arrays):
        if array.dtype == bool:
            check_mask(array, shape[axis : axis + 1], axis)
            array = np.flatnonzero(array)  # noqa: PLW2901  the name is for what came in
        arrays[axis] = as_indices(array, axis, shape[axis])
    if len(shape) == 1 and arrays[0].ndim == 1:  # one dimension: the same result, with slices where possible
        return plan_orthogonal(arrays[0], shape, cuts)
    try:
        result_shape = np.broadcast_shapes(*[array.shape for array in arrays])
    except ValueError:
        shapes = " ".join(str(array.shape) for array in arrays)
        raise SelectionError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {shapes}"
        ) from None
    if not shape:
        return plan_basic((), shape, cuts)
    points = np.stack([np.broadcast_to(array, result_shape).ravel() for array in arrays])
    return _plan_points(points, shape, cuts, result_shape)


def plan_mask(mask: Any, shape: Sequence[int], cuts: Sequence[Cut]) -> Plan:
    """Plan `array[mask]` for a boolean mask of the shape of the array: its true points in C order, as a 1-d result."""
    array = as_array(mask)
    check_mask(array, shape)
    if len(shape) == 1:
        return plan_orthogonal(array, shape, cuts)
    points = np.stack(np.nonzero(array)) if shape else np.zeros((0, int(array)), np.intp)
    return _plan_points(points, shape, cuts, (points.shape[1],))


def _coordinates(entry: Any) -> NDArray[Any]:
    if is_array(entry) or is_integer(entry) or isinstance(entry, (bool, np.bool_)):
        return as_array(entry)
    raise SelectionError(
        f"only arrays of integers, or one boolean mask, select points, not {type(entry).__name__}: "
        "use oindex to combine arrays with slices"
    )


def _plan_points(
    points: Points, shape: Sequence[int], cuts: Sequence[Cut], result_shape: tuple[int, ...]
) -> Plan:
    """Points grouped by chunk. Single points of a chunk are indexed by integers, which numpy does fastest."""
    numbers = _each(chunks_of, cuts, points)
    order, starts = _group_points(numbers)
    inside = points - _each(starts_of, cuts, numbers)
    chunks = numbers[:, starts if order is None else order[starts]]
    if order is not None:
        inside = np.take(inside, order, axis=1)
    left = np.array(shape, np.intp)[:, None] - _each(starts_of, cuts, chunks)
    extents = np.minimum(_each(lengths_of, cuts, chunks), left)
    fields = zip(
        _columns(chunks),
        _insides(inside, starts),
        _outsides(order, starts, points.shape[1]),
        _wholes(inside, starts, extents),
        strict=True,
    )
    return ListedPlan(map(Piece._make, fields), (points.shape[1],), result_shape)


def _each(function: Callable[[Cut, Points], Any], cuts: Sequence[Cut], rows: Points) -> Points:
    """What a function of a cut makes of each dimension's row."""
    result = np.empty_like(rows)
    for row, cut, values in zip(result, cuts, rows, strict=True):
        row[...] = function(cut, values)
    return result


def _group_points(numbers: Points) -> tuple[NDArray[np.intp] | None, NDArray[np.intp]]:
    """As `axes.group`, for chunks with several coordinates."""
    if not numbers.size:
        return None, np.arange(min(numbers.shape[1], 1))
    low = numbers.min(axis=1)
    spans = (numbers.max(axis=1) - low + 1).tolist()
    if math.prod(spans) < 2**62:
        flat = np.zeros(numbers.shape[1], np.intp)
        for row, first, span in zip(numbers, low, spans, strict=True):
            flat = flat * span + (row - first)
        return group(flat)
    order = np.lexsort(numbers[::-1])  # the grid has more chunks than an integer can count
    numbers = numbers[:, order]
    return order, np.flatnonzero(np.r_[True, (numbers[:, 1:] != numbers[:, :-1]).any(axis=0)])


def _columns(rows: Points) -> list[tuple[int, ...]]:
    return [tuple(column) for column in rows.T.tolist()]


def _insides(inside: Points, starts: NDArray[np.intp]) -> list[tuple[Any, ...]]:
    result: list[tuple[Any, ...]] = list(_columns(inside[:, starts]))
    stops = np.append(starts[1:], inside.shape[1])
    for number in np.flatnonzero(stops - starts > 1).tolist():
        result[number] = tuple(inside[:, starts[number] : stops[number]])
    return result


def _outsides(order: NDArray[np.intp] | None, starts: NDArray[np.intp], length: int) -> list[tuple[Any]]:
    stops = np.append(starts[1:], length)[: len(starts)]  # of no points there are none
    positions = np.arange(length) if order is None else order
    firsts = positions[starts]
    are_slices = positions[stops - 1] - firsts == stops - starts - 1  # within a chunk positions rise
    groups = zip(starts.tolist(), stops.tolist(), firsts.tolist(), are_slices.tolist(), strict=True)
    indices: list[Any] = [
        slice(first, first + stop - start) if is_slice else positions[start:stop]
        for start, stop, first, is_slice in groups
    ]
    for number in np.flatnonzero(stops - starts == 1).tolist():
        indices[number] = indices[number].start
    return [(index,) for index in indices]


def _wholes(inside: Points, starts: NDArray[np.intp], extents: Points) -> list[bool]:
    """Groups that hold every element of their chunk once, in C order. `extents`: of the chunks, within the array."""
    sizes = np.append(starts[1:], inside.shape[1]) - starts
    candidates = np.prod(extents, axis=0, dtype=float) == sizes  # float: a huge chunk must not overflow
    if not candidates.any():
        return [False] * len(starts)
    flat = np.zeros(inside.shape[1], np.intp)
    for row, extent in zip(inside, extents, strict=True):
        flat = flat * np.repeat(extent, sizes) + row
    in_order = flat == np.arange(len(flat)) - np.repeat(starts, sizes)
    whole: list[bool] = (candidates & np.logical_and.reduceat(in_order, starts)).tolist()
    return whole
