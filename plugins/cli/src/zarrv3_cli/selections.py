"""Selections in numpy's spelling: `10:90,:,3`."""

from collections.abc import Sequence
from types import EllipsisType
from typing import TypeAlias

from zarrv3.errors import SelectionError
from zarrv3.format.cuts import Cut, chunk_of, start_of

Index: TypeAlias = int | slice | EllipsisType
Full: TypeAlias = tuple[int | slice, ...]


def parse(text: str) -> tuple[Index, ...]:
    """The selection that a text spells, in brackets or not; raises `ValueError` if it is not one."""
    inside = text.strip()
    if inside.startswith("[") and inside.endswith("]"):
        inside = inside[1:-1].strip()
    if not inside:
        return (...,)
    return tuple(_index(part.strip()) for part in inside.removesuffix(",").split(","))


def _index(text: str) -> Index:
    if text == "...":
        return ...
    numbers = text.split(":")
    if len(numbers) > 3:
        raise ValueError(f"{text!r} is not an index: at most start:stop:step")
    try:
        if len(numbers) == 1:
            return int(text)
        return slice(*(int(number) if number.strip() else None for number in numbers))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an index: expected a number, start:stop:step or ...") from error


def complete(selection: tuple[Index, ...], shape: tuple[int, ...]) -> Full:
    """An index for each dimension: what is left out is selected whole, and numbers count from the start."""
    if selection.count(...) > 1:
        raise SelectionError("a selection has one '...' at most")
    given = [index for index in selection if index is not ...]
    if len(given) > len(shape):
        raise SelectionError(f"{len(given)} indices for an array of {len(shape)} dimensions")
    ellipsis = selection.index(...) if ... in selection else len(given)
    rest = [slice(None)] * (len(shape) - len(given))
    indices: list[int | slice] = [*given[:ellipsis], *rest, *given[ellipsis:]]
    return tuple(
        _within(index, length, axis) for axis, (index, length) in enumerate(zip(indices, shape, strict=True))
    )


def _within(index: int | slice, length: int, axis: int) -> int | slice:
    if isinstance(index, slice):
        if index.step is not None and index.step == 0:
            raise SelectionError(f"a step of 0 in dimension {axis}")
        return index
    if not -length <= index < length:
        raise SelectionError(f"index {index} is out of bounds for dimension {axis} of length {length}")
    return index % length


def lengths(selection: Full, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what a complete selection selects."""
    return tuple(
        len(range(*index.indices(length)))
        for index, length in zip(selection, shape, strict=True)
        if isinstance(index, slice)
    )


def thinned(selection: Full, shape: tuple[int, ...], most: tuple[int, ...]) -> Full:
    """The selection with steps so long that each of its dimensions has at most so many elements."""
    limits = iter(most)
    found: list[int | slice] = []
    for index, length in zip(selection, shape, strict=True):
        if isinstance(index, int):
            found.append(index)
            continue
        there = range(*index.indices(length))
        found.append(_slice(there[:: max(1, -(-len(there) // next(limits)))]))
    return tuple(found)


def cut(selection: Full, shape: tuple[int, ...], cuts: Sequence[Cut]) -> list[Full]:
    """The selection cut along its first slice into parts of whole chunks (or shards) of that dimension, in order.

    Parts that are read one after the other make the whole in C order, and no chunk is read twice when the slice has no negative
    step.
    """
    axis = next((axis for axis, index in enumerate(selection) if isinstance(index, slice)), None)
    if axis is None:
        return [selection]
    first = selection[axis]
    assert isinstance(first, slice)
    there = range(*first.indices(shape[axis]))
    parts: list[range] = []
    while there:
        count = 1 + _rest_of_block(there, cuts[axis])
        parts.append(there[:count])
        there = there[count:]
    return [(*selection[:axis], _slice(part), *selection[axis + 1 :]) for part in parts] or [selection]


def _rest_of_block(there: range, cut: Cut) -> int:
    """How many elements after the first of a range lie in the same chunk as the first."""
    chunk = chunk_of(cut, there[0])
    room = start_of(cut, chunk + 1) - 1 - there[0] if there.step > 0 else there[0] - start_of(cut, chunk)
    return min(len(there) - 1, room // abs(there.step))


def _slice(there: range) -> slice:
    if not there:
        return slice(0, 0)
    if there.step > 0 or there.stop >= 0:
        return slice(there.start, there.stop, there.step)
    return slice(there.start, None, there.step)
