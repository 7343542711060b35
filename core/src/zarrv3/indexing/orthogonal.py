"""Orthogonal indexing: each dimension is selected on its own by an integer, a slice, a 1-d array or a 1-d mask.

numpy pairs arrays of indices element by element, so pieces with several arrays use the form of `numpy.ix_`; numpy also
moves the dimensions of arrays that are separated by a slice, so everything between two arrays becomes an array.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zarrv3.errors import SelectionError
from zarrv3.format.cuts import Cut
from zarrv3.indexing.arguments import as_array, as_index, as_indices, as_range, check_mask, expand, is_array
from zarrv3.indexing.axes import Axis, EdgesAxis, ListedAxis, Parts, SliceAxis, array_axis, integer_axis
from zarrv3.indexing.plans import GridPlan, Plan


def plan_orthogonal(selection: Any, shape: Sequence[int], cuts: Sequence[Cut]) -> Plan:
    """Plan `array.oindex[selection]`; the result is that of `numpy.ix_`, where integers drop their dimension."""
    entries = [
        _normalise(entry, axis, extent)
        for axis, (entry, extent) in enumerate(zip(expand(selection, len(shape)), shape, strict=True))
    ]
    # numpy treats an integer next to an array as an array: keep the dimension in the buffer, drop it at the end
    drop = not any(isinstance(entry, np.ndarray) for entry in entries)
    axes: list[Axis] = []
    for entry, extent, cut in zip(entries, shape, cuts, strict=True):
        if isinstance(entry, range):
            axes.append((SliceAxis if isinstance(cut, int) else EdgesAxis)(entry, extent, cut))
        elif isinstance(entry, int):
            axes.append(integer_axis(entry, extent, cut, drop=drop))
        else:
            axes.append(array_axis(entry, extent, cut))
    result_shape = tuple(
        axis.length for axis, entry in zip(axes, entries, strict=True) if not isinstance(entry, int)
    )
    buffer_shape = result_shape if drop else tuple(axis.length for axis in axes)
    return GridPlan(_crossable(axes), buffer_shape, result_shape)


def _normalise(entry: Any, axis: int, extent: int) -> Any:
    """An integer, a range of elements, or an array of elements that is not a range."""
    if isinstance(entry, slice):
        return as_range(entry, extent)
    if not is_array(entry):
        return as_index(entry, axis, extent)
    array = as_array(entry)
    if array.ndim != 1:
        raise SelectionError(
            f"arrays in an orthogonal selection must be 1-dimensional, but axis {axis} has {array.ndim} dimensions"
        )
    if array.dtype == bool:
        check_mask(array, (extent,), axis)
        array = np.flatnonzero(array)
    indices = as_indices(array, axis, extent)
    if not len(indices):
        return range(0)
    first = int(indices[0])
    step = int(indices[1]) - first if len(indices) > 1 else 1
    if step and (indices[1:] - indices[:-1] == step).all():
        return range(first, int(indices[-1]) + (1 if step > 0 else -1), step)
    return indices


def _crossable(axes: list[Axis]) -> list[Axis]:
    """Give the indices of the dimensions the shapes with which numpy combines them to the product."""
    parts = [axis.parts() if isinstance(axis, ListedAxis) else None for axis in axes]
    inside = _shapes([_has_arrays(part.inside) if part else False for part in parts])
    outside = _shapes([_has_arrays(part.outside) if part else False for part in parts])
    return [
        axis if a is None and b is None else _ShapedAxis(axis, a, b)
        for axis, a, b in zip(axes, inside, outside, strict=True)
    ]


def _has_arrays(indices: Sequence[Any] | None) -> bool:
    return indices is not None and any(isinstance(index, np.ndarray) for index in indices)


def _shapes(arrays: Sequence[bool]) -> list[tuple[int, ...] | None]:
    """For each dimension the shape its index needs as an array; None if it may stay what it is."""
    shapes: list[tuple[int, ...] | None] = [None] * len(arrays)
    places = [place for place, array in enumerate(arrays) if array]
    if len(places) > 1:
        first, last = places[0], places[-1]
        for place in range(first, last + 1):
            shapes[place] = (1,) * (place - first) + (-1,) + (1,) * (last - place)
    return shapes


class _ShapedAxis:
    """A dimension whose slices and arrays become arrays of the given shapes."""

    __slots__ = ("_axis", "_inside", "_outside", "count", "length")

    def __init__(self, axis: Axis, inside: tuple[int, ...] | None, outside: tuple[int, ...] | None) -> None:
        self._axis = axis
        self._inside = inside
        self._outside = outside
        self.count = axis.count
        self.length = axis.length

    def parts(self) -> Parts:
        return self._shaped(self._axis.parts())

    def windows(self, align: Cut) -> Iterable[Parts]:
        return map(self._shaped, self._axis.windows(align))

    def _shaped(self, parts: Parts) -> Parts:
        return Parts(
            parts.chunks,
            _reshape(parts.inside, self._inside),
            _reshape(parts.outside, self._outside),
            parts.whole,
        )


def _reshape(indices: Sequence[Any] | None, shape: tuple[int, ...] | None) -> Any:
    if indices is None or shape is None:
        return indices
    # our slices have explicit starts, so `indices` of any length is right for them
    return [
        (np.arange(*index.indices(2**62)) if isinstance(index, slice) else index).reshape(shape)
        for index in indices
    ]
