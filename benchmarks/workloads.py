"""What is measured: arrays, and what is read of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20120
"""Of everything random: every process draws the same."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A float64 array: its shape, chunks and, if there are any, shards."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return math.prod(self.shape) * 8


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(name="small", shape=(10_000, 10_000), chunks=(100, 100)),
        Workload(name="tiny", shape=(1_000, 1_000), chunks=(10, 10)),
        Workload(name="big", shape=(10_000, 10_000), chunks=(1_000, 1_000)),
        Workload(name="shard", shape=(10_000, 10_000), chunks=(100, 100), shards=(1_000, 1_000)),
    )
}

WHOLE = ("write", "read")
SELECTIONS = ("elements", "row", "column", "strided", "points")
"""What is read of `small` and `shard` besides everything."""


def signal(shape: tuple[int, ...]) -> np.ndarray:
    """A smooth field with noise, rounded to three decimals: it compresses as measurements do."""
    if len(shape) > 2:
        return signal((math.prod(shape[:-1]), shape[-1])).reshape(shape)
    rng = np.random.default_rng(SEED)
    y, x = np.linspace(0, 8, shape[0])[:, None], np.linspace(0, 6, shape[1])[None, :]
    field = 20 * np.sin(y) * np.cos(x) + 5 * np.sin(3 * x)
    field += rng.normal(0, 0.05, shape)
    return np.round(field, 3, out=field)


def data(workload: Workload, folder: Path) -> np.ndarray:
    """The values of a workload, made once and then mapped by every process, so that they share the memory."""
    path = folder / f"signal-{'x'.join(map(str, workload.shape))}.npy"
    if not path.exists():
        np.save(path, signal(workload.shape))
    mapped = np.load(path, mmap_mode="r")
    for start in range(0, workload.shape[0], 64):  # every page is mapped before anything is timed
        mapped[start : start + 64, ..., ::512].sum()
    return mapped


def selection(name: str, shape: tuple[int, int]) -> Any:
    """A selection: slices, a list of single coordinates (`elements`), or coordinates as arrays (`points`)."""
    rng = np.random.default_rng(SEED)
    rows, columns = shape
    match name:
        case "elements":
            return [
                *zip(rng.integers(0, rows, 300).tolist(), rng.integers(0, columns, 300).tolist(), strict=True)
            ]
        case "row":
            return (rows // 2 + 7, slice(None))
        case "column":
            return (slice(None), columns // 2 + 7)
        case "strided":
            return (slice(rows // 10, rows // 2, 7), slice(columns // 10, columns // 2, 11))
        case "points":
            return (rng.integers(0, rows, 1000), rng.integers(0, columns, 1000))
    raise KeyError(name)


def expected(name: str, values: np.ndarray) -> np.ndarray:
    """What reading a selection has to give."""
    if name == "read":
        return values
    chosen = selection(name, values.shape)
    if name == "elements":
        return np.array([values[point] for point in chosen])
    return values[chosen]
