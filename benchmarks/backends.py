"""Measure arrays on every backend: `python benchmarks/run.py backends`, or `nox -s bench -- backends`.

An array of 1,600 chunks is written and read by zarrv3; the same encoded chunks are stored and fetched by the backend's own
library in bulk; and they are encoded and decoded with no store at all. All of that happens in one process by turns, each
round another one first; ours ÷ (bulk + codec) is taken within a round. zarr-python 2.18's experimental V3 stores write and
read the same array in an environment of their own. What is read is compared with what was written in every round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path

import zarr2
from clients import ARRAY, CLIENTS
from harness import Worker, environment, place, spread
from rich.console import Console
from rich.table import Table
from workloads import data

SERVERS = {"redis": "redis", "mongodb": "mongodb", "postgresql": "sql", "s3": "fsspec"}
"""The backends that need a server, and the store class that starts one."""

LIMIT = 1.3
"""What array ÷ (bulk + codec) is to be at most."""

PATIENCE = 30.0
"""Seconds after which zarr-python 2 is given up: without an index every key is a search through all documents."""

OURS = ("write", "bulk write", "codec write", "read", "bulk read", "codec read")


@dataclass(frozen=True)
class Result:
    """Writing or reading on one backend: the seconds of every round."""

    backend: str
    action: str
    array: list[float]
    bulk: list[float]
    codec: list[float]
    zarr2: list[float]
    """Empty where zarr-python 2 has no such store."""

    def ratios(self) -> list[float]:
        """Array ÷ (bulk + codec), round by round."""
        return [a / (b + c) for a, b, c in zip(self.array, self.bulk, self.codec, strict=True)]

    def beside_zarr2(self) -> list[float]:
        """Ours ÷ zarr-python 2's, round by round."""
        return [ours / theirs for ours, theirs in zip(self.array, self.zarr2, strict=False)]


class Other:
    """zarr-python 2 in its process, which is killed when it takes too long and started again.

    Args:
        python: the interpreter of its environment.
        shared: the folder with the values.
    """

    def __init__(self, python: str, shared: Path) -> None:
        self.python, self.shared = python, shared
        self.worker = self._started()
        self.version = self.worker.version

    def ask(self, action: str, backend: str, base: str) -> float:
        """The seconds of an action; `PATIENCE` when it was given up."""
        timer = threading.Timer(PATIENCE, self.worker.process.kill)
        timer.start()
        try:
            seconds: float = self.worker.ask(do=action, backend=backend, base=base)["seconds"]
        except SystemExit:
            if timer.is_alive():
                raise
            self.worker = self._started()
            return PATIENCE
        finally:
            timer.cancel()
        return seconds

    def close(self) -> None:
        """End the process."""
        self.worker.close()

    def _started(self) -> Worker:
        return Worker("zarr2.py", self.shared, python=self.python)


@contextmanager
def base_of(backend: str) -> Iterator[str | None]:
    """A server, if the backend needs one; files get a new folder each round."""
    if backend not in SERVERS:
        yield None
        return
    (found,) = entry_points(group="zarrv3.stores", name=SERVERS[backend])
    with found.load().example_server() as url:
        yield url.removesuffix("/example") if backend == "mongodb" else url


def measure(
    worker: Worker, other: Other | None, backend: str, where: str, rounds: int, console: Console
) -> list[Result]:
    """Both actions on one backend."""
    times: dict[str, list[float]] = {action: [] for action in (*OURS, "zarr2 write", "zarr2 read")}
    with base_of(backend) as server:
        for number in range(rounds + 1):  # the first one warms up
            with place(where) as folder:
                seconds = _round(worker, other, backend, server or str(folder), number)
            if other is not None and PATIENCE in seconds.values():
                other = None  # once is enough
                times["zarr2 write"] = times["zarr2 read"] = [PATIENCE] * rounds
            if number:
                for action, taken in seconds.items():
                    times[action].append(taken)
            console.print(f"{backend}: round {number} of {rounds}", style="dim")
    return [
        Result(backend, action, *(times[f"{what}{action}"] for what in ("", "bulk ", "codec ", "zarr2 ")))
        for action in ("write", "read")
    ]


def _round(worker: Worker, other: Other | None, backend: str, base: str, number: int) -> dict[str, float]:
    seconds: dict[str, float] = {}
    worker.ask(do="empty", backend=backend, base=base)
    for action in ("write", "read"):
        turns = [action, f"bulk {action}", f"codec {action}"]
        turns += [f"zarr2 {action}"] * (other is not None and backend in zarr2.STORES)
        first = number % len(turns)
        for turn in turns[first:] + turns[:first]:
            if turn.startswith("zarr2"):
                assert other is not None
                seconds[turn] = other.ask(action, backend, base)
                if seconds[turn] == PATIENCE:
                    other = None
            else:
                seconds[turn] = worker.ask(do=turn, backend=backend, base=base)["seconds"]
    return seconds


def table(results: list[Result]) -> Table:
    """Medians, and the ratios with their spread."""
    made = Table(title="seconds (medians); array ÷ (bulk + codec); array ÷ zarr-python 2.18's V3 store")
    for head in ("backend", "action", "array", "bulk", "codec", "÷ (bulk + codec)", "zarr 2", "÷ zarr 2"):
        made.add_column(head, justify="left" if head in {"backend", "action"} else "right")
    for result in results:
        array, bulk, codec = map(statistics.median, (result.array, result.bulk, result.codec))
        ratios, beside = result.ratios(), result.beside_zarr2()
        given_up = PATIENCE in result.zarr2
        seconds = f"{'> ' if given_up else ''}{statistics.median(result.zarr2):.3f}" if result.zarr2 else ""
        missed = statistics.median(ratios) > LIMIT or (bool(beside) and statistics.median(beside) > 1)
        made.add_row(
            result.backend, result.action, f"{array:.3f}", f"{bulk:.3f}", f"{codec:.3f}", spread(ratios),
            seconds, ("< " if given_up else "") + spread(beside) if beside else "", style="red" if missed else "",
        )  # fmt: skip
    return made


def draw(results: list[Result], path: Path) -> None:
    """The ratios as a picture: below the red line is what was aimed at."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(max(6, len(results) * 0.5), 4.5), layout="constrained")
    for number, result in enumerate(results):
        for ratios, colour in ((result.ratios(), "tab:blue"), (result.beside_zarr2(), "tab:orange")):
            if ratios:
                middle = statistics.median(ratios)
                about = [[middle - min(ratios)], [max(ratios) - middle]]
                axes.errorbar(number, middle, about, fmt="o", color=colour)
    axes.axhline(LIMIT, color="tab:red")
    axes.axhline(1, color="grey", linewidth=0.5)
    axes.set_xticks(
        range(len(results)), [f"{r.backend} {r.action}" for r in results], rotation=90, fontsize=8
    )
    axes.set_ylabel("array ÷ (bulk + codec), blue\narray ÷ zarr-python 2, orange")
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py backends", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backends", nargs="+", choices=CLIENTS, default=[*CLIENTS])
    parser.add_argument(
        "--where", choices=["tmpfs", "disk"], default="tmpfs", help="where files and archives go"
    )
    parser.add_argument("--without-zarr2", action="store_true", help="leave zarr-python 2 out")
    parser.add_argument(
        "--environment", type=Path, default=Path(tempfile.gettempdir(), "zarrv3-bench-zarr2"),
        help="the folder in which zarr-python 2's environment is made, and kept",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark-backends"), help="<out>.json and <out>.png are written"
    )
    options = parser.parse_args(arguments)
    console = Console()
    python = (
        None if options.without_zarr2 else environment(options.environment, zarr2.REQUIREMENTS, zarr2.PYTHON)
    )
    results: list[Result] = []
    with ExitStack() as stack:
        shared = stack.enter_context(place("tmpfs"))
        data(ARRAY, shared)
        worker = Worker("backend_worker.py", shared)
        stack.callback(worker.close)
        other = Other(python, shared) if python else None
        if other is not None:
            stack.callback(other.close)
        versions = [worker.version, *([other.version] if other else [])]
        console.print(f"Python {platform.python_version()}: {'; '.join(versions)}")
        for backend in options.backends:
            results += measure(worker, other, backend, options.where, options.rounds, console)
    console.print(table(results))
    record = {
        "python": platform.python_version(),
        "versions": versions,
        "results": [asdict(result) for result in results],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(results, options.out.with_suffix(".png"))
