"""Elements as text and as JSON."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zarrv3.errors import ZarrError, escaped


def lines(parts: Iterable[NDArray[Any]]) -> Iterator[str]:
    """The lines that parts of one array, cut along the first dimension, make.

    One dimension: one element per line. Two: one row per line, tabs between elements. More: tables with an empty line between
    them, two where the next higher dimension goes on, and so forth.
    """
    first = True
    for part in parts:
        if part.ndim < 2:
            yield from (element(value) for value in part.reshape(-1))
            continue
        for row in part:
            yield from [""] * (0 if first else part.ndim - 2)
            first = False
            yield from _table(row)


def _table(values: NDArray[Any]) -> Iterator[str]:
    if values.ndim == 1:
        yield "\t".join(element(value) for value in values)
        return
    for number, below in enumerate(values):
        yield from [""] * (values.ndim - 2 if number else 0)
        yield from _table(below)


def element(value: Any) -> str:
    """One element as text without tabs or line ends."""
    return escaped(str(value))


def plain(values: NDArray[Any]) -> Any:
    """An array as nested lists for JSON: complex numbers as pairs, texts for what JSON has no value for."""
    return _plain(values.tolist()) if values.dtype.kind not in "mM" else _plain(values.astype(str).tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):  # a tuple is a record
        return [_plain(item) for item in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def fixed(values: NDArray[Any]) -> NDArray[Any]:
    """Elements of varying length as elements of one length; raises `ZarrError` where that would change them."""
    if values.dtype.kind != "T":
        raise ZarrError("values of varying length other than texts do not fit into a .npy file")
    texts = np.array(values.tolist(), dtype=str).reshape(values.shape)
    if texts.tolist() != values.tolist():
        raise ZarrError("texts that end in NUL do not fit into a .npy file")
    return texts
