"""A process that has one implementation and uses arrays as programs do: a command a line in, an answer a line out."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS
from workloads import SEED, Workload, data

ARRAYS = {
    workload.name: workload
    for workload in (
        Workload(name="volume", shape=(384, 384, 256), chunks=(64, 64, 64)),
        Workload(name="volume in shards", shape=(384, 384, 256), chunks=(64, 64, 64), shards=(128, 128, 128)),
        Workload(name="image", shape=(4_000, 4_000), chunks=(100, 100)),
        Workload(name="image in shards", shape=(4_000, 4_000), chunks=(100, 100), shards=(1_000, 1_000)),
        Workload(name="large chunks", shape=(4_000, 4_000), chunks=(1_000, 1_000)),
    )
}
ROWS = 100
"""How many rows are appended one after the other."""

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pattern:
    """What is done with an array that is open: `read` returns what it has read, `write` what the array has to be then."""

    array: str
    read: Callable[[Any, Values], Any] | None = None
    write: Callable[[Any, Values], Values] | None = None
    again: int = 1
    """How many times within one measurement, where once is too short to be measured."""


def _random() -> np.random.Generator:
    return np.random.default_rng(SEED)


def patches(array: Any, shape: Sequence[int], threads: int = 1) -> list[Values]:
    """64 random boxes of 64³, by several threads of the user."""
    corners = _random().integers(0, np.array(shape) - 64, (64, 3)).tolist()
    boxes = [tuple(slice(start, start + 64) for start in corner) for corner in corners]
    if threads == 1:
        return [array[box] for box in boxes]
    with ThreadPoolExecutor(threads) as pool:
        return [*pool.map(array.__getitem__, boxes)]


def planes(array: Any, shape: Sequence[int]) -> list[Values]:
    """Single planes across all chunks, in each direction."""
    places = [shape[0] // 2 + 7, shape[0] // 3]
    return [
        array[(slice(None),) * axis + (place,) + (slice(None),) * (2 - axis)]
        for axis in range(3)
        for place in places
    ]


def lists(array: Any, shape: Sequence[int]) -> Values:
    """100 rows and 100 columns by their numbers."""
    rng = _random()
    rows, columns = (np.sort(rng.choice(length, 100, replace=False)) for length in shape)
    return array[np.ix_(rows, columns)] if isinstance(array, np.ndarray) else array.oindex[rows, columns]


def points(array: Any, shape: Sequence[int], count: int) -> Values:
    """Random points."""
    rng = _random()
    chosen = tuple([rng.integers(0, length, count) for length in shape])
    return array[chosen] if isinstance(array, np.ndarray) else array.vindex[chosen]


def elements(array: Any, shape: Sequence[int]) -> Values:
    """300 single elements, one after the other."""
    places = _random().integers(0, shape, (300, len(shape))).tolist()
    return np.array([array[tuple(place)] for place in places])


def set_elements(array: Any, values: Values) -> Values:
    """Set 100 single elements, one after the other."""
    places = _random().integers(0, values.shape, (100, values.ndim)).tolist()
    changed = values.copy()
    for number, place in enumerate(places):
        array[tuple(place)] = number
        changed[tuple(place)] = number
    return changed


def append(array: Any, values: Values, together: int = 1) -> Values:
    """Append rows, one after the other or some together."""
    bounds = range(0, ROWS * together + 1, together)
    for start, stop in pairwise(bounds):
        array.append(values[start:stop])
    return np.concatenate([values, values[: bounds[-1]]])


def everything(array: Any, values: Values) -> Values:
    """Write all of it."""
    array[...] = values
    return values


def _selected(selection: Any, array: Any, _: Sequence[int]) -> Values:
    return array[selection]


PATTERNS = {
    "patches": Pattern("volume", patches),
    "patches, 4 threads": Pattern("volume", partial(patches, threads=4)),
    "patches, 16 threads": Pattern("volume", partial(patches, threads=16)),
    "patches of shards": Pattern("volume in shards", patches),
    "patches of shards, 4 threads": Pattern("volume in shards", partial(patches, threads=4)),
    "patches of shards, 16 threads": Pattern("volume in shards", partial(patches, threads=16)),
    "planes": Pattern("volume", planes),
    "lists": Pattern("image", lists),
    "lists of shards": Pattern("image in shards", lists),
    "10⁴ points": Pattern("image", partial(points, count=10**4)),
    "10⁴ points of shards": Pattern("image in shards", partial(points, count=10**4)),
    "10⁶ points": Pattern("image", partial(points, count=10**6)),
    "10⁶ points of shards": Pattern("image in shards", partial(points, count=10**6)),
    "row of shards": Pattern("image in shards", partial(_selected, (2007, slice(None))), again=10),
    "column of shards": Pattern("image in shards", partial(_selected, (slice(None), 2007)), again=10),
    "1,000 points of shards": Pattern("image in shards", partial(points, count=1000)),
    "elements": Pattern("image", elements),
    "elements of shards": Pattern("image in shards", elements),
    "set elements": Pattern("image", write=set_elements),
    "set elements of shards": Pattern("image in shards", write=set_elements),
    "append rows": Pattern("image", write=append),
    "append 100 rows each": Pattern("image", write=partial(append, together=100)),
    "write shards": Pattern("image in shards", write=everything),
    "write 8 MB chunks": Pattern("large chunks", write=everything),
}


def main(name: str, shared: str) -> None:
    """Serve until the input ends.

    {"do": "make", "array": …, "path": …} writes an array; {"do": a pattern, "path": …} → {"seconds": …, "cpu": …}, the
    processors' seconds of all threads. What was read or written is compared after the clocks have stopped.
    """
    peer = PEERS[name]()
    print(json.dumps({"version": peer.version()}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(_make(peer, command, shared) or _measure(peer, name, command, shared)), flush=True)


def _make(peer: Any, command: dict[str, Any], shared: str) -> dict[str, Any] | None:
    if command["do"] != "make":
        return None
    workload = ARRAYS[command["array"]]
    shutil.rmtree(command["path"], ignore_errors=True)
    peer.write(command["path"], workload, data(workload, Path(shared)))
    return {"made": True}


def _measure(peer: Any, name: str, command: dict[str, Any], shared: str) -> dict[str, Any]:
    pattern, path = PATTERNS[command["do"]], command["path"]
    workload = ARRAYS[pattern.array]
    values = data(workload, Path(shared))
    array = peer.open(path)
    started, busy = time.perf_counter(), time.process_time()
    if pattern.read is not None:
        for _ in range(pattern.again):
            found = pattern.read(array, workload.shape)
    else:
        assert pattern.write is not None
        wanted = pattern.write(array, values)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    if pattern.read is not None:
        wanted = pattern.read(values, workload.shape)
    else:
        found = peer.read(path)
    same = len(found) == len(wanted) and all(map(np.array_equal, found, wanted))
    if not same:
        raise SystemExit(f"{name} has other values than were written: {command}")
    return {"seconds": seconds, "cpu": cpu}


if __name__ == "__main__":
    main(*sys.argv[1:])
