"""Numbers as a picture: PNG with a palette, of which the first colour is transparent and stands for what is not a number. Pure."""

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAPS: dict[str, tuple[str, ...]] = {
    "grey": ("000000", "ffffff"),
    "viridis": (
        "440154", "482878", "3e4a89", "31688e", "26828e", "1f9e89", "35b779", "6dcd59", "b4de2c", "fde725",
    ),
    "magma": (
        "000004", "180f3d", "440f76", "721f81", "9e2f7f", "cd4071", "f1605d", "fd9668", "feca8d", "fcfdbf",
    ),
    "blue-red": ("2166ac", "67a9cf", "d1e5f0", "f7f7f7", "fddbc7", "ef8a62", "b2182b"),
}  # fmt: skip
"""Colour maps, from the smallest number to the largest; colours between those that are named are mixed."""

BINS = 64
"""How many bars the histogram has."""


class Scaled(NamedTuple):
    """Numbers as places in a palette: 1 to 255, and 0 for what is not a number."""

    places: NDArray[np.uint8]
    low: float
    high: float
    histogram: list[int]


def are_numbers(dtype: np.dtype[Any]) -> bool:
    """Whether elements can be shown as a picture."""
    return dtype.kind not in "OSTU" and type(dtype) is not np.dtypes.VoidDType


def numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """Elements as numbers: of complex ones the magnitude, of times their count."""
    if values.dtype.kind == "c":
        values = np.abs(values)
    elif values.dtype.kind in "mM":
        return np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
    return values.astype(np.float64)


def scaled(values: NDArray[np.float64], low: float | None = None, high: float | None = None) -> Scaled:
    """Numbers between two bounds, or between the smallest and the largest that is finite."""
    finite = np.isfinite(values)
    some = values[finite]
    bottom = low if low is not None else float(some.min()) if some.size else 0.0
    top = high if high is not None else float(some.max()) if some.size else 1.0
    half = top / 2 - bottom / 2 or 1.0  # halves: their difference is finite
    with np.errstate(invalid="ignore"):
        share = np.clip((np.nan_to_num(values, posinf=top, neginf=bottom) / 2 - bottom / 2) / half, 0, 1)
    places = np.where(np.isnan(values), 0, 1 + np.rint(share * 254)).astype(np.uint8)
    counts = np.bincount((share[finite] * (BINS - 1e-9)).astype(np.intp), minlength=BINS)[:BINS]
    return Scaled(places, bottom, top, counts.tolist())


def palette(name: str) -> bytes:
    """The 256 colours of a map; the first one is not seen."""
    stops = np.array([[*bytes.fromhex(text)] for text in MAPS[name]], np.float64)
    at = np.linspace(0, len(stops) - 1, 255)
    mixed = [np.interp(at, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return bytes(3) + np.rint(np.stack(mixed, 1)).astype(np.uint8).tobytes()


def png(places: NDArray[np.uint8], colours: bytes) -> bytes:
    """A PNG file of places in a palette, row by row; see the specification, 11.2."""
    height, width = places.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each begins with its filter, 0
    rows[:, 1:] = places
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": colours,
        b"tRNS": b"\0",
        b"IDAT": zlib.compress(rows.tobytes(), 3),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
