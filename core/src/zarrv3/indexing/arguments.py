"""What users write between the brackets, checked and normalised: the only place that looks at types of indices.

Texts and exception classes follow numpy, so that `except IndexError` (`ValueError`, `TypeError`) written for a numpy
array keeps working.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrv3.errors import SelectionError


class SelectionValueError(SelectionError, ValueError):
    """A slice with step 0, a ragged list, or a value whose shape cannot be broadcast to the selection."""


class SelectionTypeError(SelectionError, TypeError):
    """A slice whose start, stop or step is not an integer."""


def split_fields(selection: Any) -> tuple[str | list[str] | None, Any]:
    """Separate field names of a structured data type from the rest of a selection.

    `"f"` gives `("f", ())`; `("f", 3)` gives `("f", 3)`; several names, or a list of names, give a list. Without names
    the first item is None and the selection comes back as it is.
    """
    entries = selection if type(selection) is tuple else (selection,)
    names: list[str] = []
    rest = []
    is_list = False
    for entry in entries:
        if isinstance(entry, str):
            names.append(entry)
        elif type(entry) is list and entry and all(isinstance(name, str) for name in entry):
            names += entry
            is_list = True
        else:
            rest.append(entry)
    if not names:
        return None, selection
    return (names if is_list or len(names) > 1 else names[0]), (rest[0] if len(rest) == 1 else tuple(rest))


def expand(selection: Any, ndim: int) -> Sequence[Any]:
    """One entry for each dimension: the ellipsis and missing trailing dimensions become full slices."""
    entries = selection if type(selection) is tuple else (selection,)
    # `in` and `index` would compare with ==, which is elementwise for arrays
    dots = [position for position, entry in enumerate(entries) if entry is Ellipsis]
    given = len(entries) - len(dots)
    if given == ndim and not dots:
        return entries
    if len(dots) > 1:
        raise SelectionError("an index can only have a single ellipsis ('...')")
    for entry in entries:
        if entry is None:
            raise SelectionError("numpy.newaxis (None) is not supported: add the axis to the result")
    if given > ndim:
        raise SelectionError(
            f"too many indices for array: array is {ndim}-dimensional, but {given} were indexed"
        )
    filler = (slice(None),) * (ndim - given)
    if not dots:
        return (*entries, *filler)
    return (*entries[: dots[0]], *filler, *entries[dots[0] + 1 :])


def is_integer(entry: Any) -> bool:
    """Python and numpy integers and 0-d integer arrays; not booleans, which numpy reads as masks."""
    if type(entry) is int:
        return True
    return not isinstance(entry, bool) and is_index(entry)


def is_index(entry: Any) -> bool:
    """Whether Python takes something for an integer; arrays of several are not."""
    try:
        operator.index(entry)
    except TypeError:
        return False
    return True


def is_array(entry: Any) -> bool:
    """Whatever numpy would turn into an array of indices or a mask: arrays, lists, ranges, tuples in a tuple."""
    if isinstance(entry, (list, tuple, range)):
        return True
    return getattr(entry, "ndim", 0) > 0 or (hasattr(entry, "__array__") and not is_index(entry))


def as_index(entry: Any, axis: int, extent: int) -> int:
    """An integer in range(extent); negative ones count from the end."""
    if type(entry) is not int:
        if entry is None:
            raise SelectionError("numpy.newaxis (None) is not supported: add the axis to the result")
        if not is_integer(entry):
            raise SelectionError(
                f"an integer, a slice (`:`) or an ellipsis (`...`) is needed for axis {axis}, not "
                f"{type(entry).__name__}: use oindex or vindex for lists, arrays and masks"
            )
        entry = operator.index(entry)
    if not -extent <= entry < extent:
        raise SelectionError(f"index {entry} is out of bounds for axis {axis} with size {extent}")
    index: int = entry if entry >= 0 else entry + extent
    return index


def as_range(entry: slice, extent: int) -> range:
    """The elements that a slice selects, in its order."""
    try:
        return range(*entry.indices(extent))
    except ValueError as error:
        raise SelectionValueError(str(error)) from None
    except TypeError as error:
        raise SelectionTypeError(str(error)) from None


def as_array(entry: Any) -> NDArray[Any]:
    """An array of integers or booleans; the empty list counts as integers."""
    try:
        array = np.asarray(entry)
    except ValueError as error:
        raise SelectionValueError(f"not an array of indices: {error}") from None
    if array.size == 0 and isinstance(entry, list):
        array = array.astype(np.intp)
    if array.dtype.kind not in "biu":
        raise SelectionError(
            f"arrays used as indices must be of integer (or boolean) type, not {array.dtype}"
        )
    return array


def as_indices(array: NDArray[Any], axis: int, extent: int) -> NDArray[np.intp]:
    """Integers in range(extent), of the same shape; negative ones count from the end."""
    if array.size == 0:
        return array.astype(np.intp)
    low, high = int(array.min()), int(array.max())
    if low < -extent or high >= extent:
        wrong = low if low < -extent else high
        raise SelectionError(f"index {wrong} is out of bounds for axis {axis} with size {extent}")
    indices = array.astype(np.intp, copy=False)
    return indices if low >= 0 else np.where(indices < 0, indices + extent, indices)


def check_mask(mask: NDArray[Any], shape: Sequence[int], first_axis: int = 0) -> None:
    """Refuse a boolean mask that does not have exactly this shape."""
    if mask.dtype != bool:
        raise SelectionError(f"a boolean mask is needed, not an array of {mask.dtype}")
    if mask.ndim != len(shape):
        raise SelectionError(
            f"boolean index did not match indexed array: it has {mask.ndim} dimensions, {len(shape)} are needed"
        )
    for axis, (have, need) in enumerate(zip(mask.shape, shape, strict=True), first_axis):
        if have != need:
            raise SelectionError(
                f"boolean index did not match indexed array along axis {axis}; size of axis is {need} "
                f"but size of corresponding boolean axis is {have}"
            )
