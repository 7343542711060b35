"""Comparing with the fill value by bits: NaN equals the same NaN, 0.0 is not -0.0."""

from typing import Any

import numpy as np


def fill_equal(left: Any, right: Any) -> bool:
    """Whether two scalars of one data type are the same value, bit by bit."""
    if isinstance(left, np.generic) and isinstance(right, np.generic):
        one, other = np.asarray(left), np.asarray(right)
        if one.dtype.kind in "SU":
            return bool(one == other)
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return type(left) is type(right) and bool(left == right)


def all_equal_fill(array: np.ndarray[Any, Any], fill: Any) -> bool:
    """Whether every element is the fill value, bit by bit; True for an empty array.

    `fill` is a scalar of the array's data type. Costs little where the first element already differs.
    """
    if array.size == 0:
        return True
    dtype = array.dtype
    if dtype.kind in "OSTU":
        first = array[(0,) * array.ndim]
        return bool(first == fill) and bool(np.all(array == np.asarray(fill, dtype=dtype)))
    wanted = np.asarray(fill, dtype=dtype)
    word = _WORDS.get(dtype.itemsize)
    if word is None:
        return _all_equal_bytes(array, wanted.tobytes())
    # an item of 16 bytes is two words; the views below need items that lie next to each other
    if dtype.itemsize > word.itemsize:
        return _all_equal_bytes(array, wanted.tobytes())
    bits = wanted.view(word)
    integers = array.view(word)
    if integers[(0,) * array.ndim] != bits:
        return False
    return bool((integers == bits).all())


_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
_WORDS[16] = np.dtype("u8")


def _all_equal_bytes(array: np.ndarray[Any, Any], pattern: bytes) -> bool:
    """Items of any size: compare them as rows of the widest word that divides their size."""
    if array[(0,) * array.ndim].tobytes() != pattern:
        return False
    size = len(pattern)
    width = next(width for width in (8, 4, 2, 1) if size % width == 0)
    rows = np.ascontiguousarray(array).reshape(-1).view(f"u{width}").reshape(-1, size // width)
    return bool((rows == np.frombuffer(pattern, f"u{width}")).all())
