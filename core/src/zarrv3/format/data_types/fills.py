"""Comparing with the fill value by bits: NaN equals the same NaN, 0.0 is not -0.0."""

from collections.abc import Callable
from typing import Any

import numpy as np


def filled(shape: tuple[int, ...], fill: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A new array full of a fill value; unlike `numpy.full`, it keeps zero bytes at the end of texts and byte strings."""
    array = np.empty(shape, dtype)
    array[...] = fill
    return array


def fill_test(dtype: np.dtype[Any], ndim: int, fill: Any) -> Callable[[np.ndarray[Any, Any]], bool]:
    """A function that says of an array whether all elements are the fill value, bit by bit; so they are if there are none.

    It is for arrays of one dtype and number of dimensions, and costs little where the first element already differs. `fill`
    is a scalar of their data type.
    """
    first = (0,) * ndim
    wanted = np.asarray(fill, dtype=dtype)
    word = _WORDS.get(dtype.itemsize)
    if dtype.kind in "OSTU":
        return lambda array: not array.size or (bool(array[first] == fill) and bool(np.all(array == wanted)))
    if word is None:
        pattern = wanted.tobytes()
        return lambda array: not array.size or _all_equal_bytes(array, pattern)
    bits = wanted.view(word)

    def is_empty(array: np.ndarray[Any, Any]) -> bool:
        if not array.size:
            return True
        integers = array.view(word)
        return bool(integers[first] == bits) and bool((integers == bits).all())

    return is_empty


_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
"""Longer items are compared as bytes: views of them as several words need items that lie next to each other."""


def _all_equal_bytes(array: np.ndarray[Any, Any], pattern: bytes) -> bool:
    """Items of any size: compare them as rows of the widest word that divides their size."""
    if array[(0,) * array.ndim].tobytes() != pattern:
        return False
    size = len(pattern)
    width = next(width for width in (8, 4, 2, 1) if size % width == 0)
    rows = np.ascontiguousarray(array).reshape(-1).view(f"u{width}").reshape(-1, size // width)
    return bool((rows == np.frombuffer(pattern, f"u{width}")).all())
