"""Measure how programs use arrays, beside the peers: `python benchmarks/run.py patterns`, or `nox -s bench -- patterns`.

Patches by several threads, planes, lists, points, single elements, appended rows. Every implementation has a process of its own
and an array of its own, which is open; they take turns within a round. Besides the seconds those of the processors are
shown, of all threads: on a busy machine they are the better measure.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import Worker, place, spread, taking_turns
from pattern_worker import ARRAYS, PATTERNS
from peers import PEERS
from rich.console import Console
from rich.table import Table
from workloads import data

OURS = "zarrv3"


@dataclass(frozen=True)
class Result:
    """One pattern: the seconds and the processors' seconds of every round by implementation."""

    pattern: str
    seconds: dict[str, list[float]]
    cpu: dict[str, list[float]]

    def ratios(self, of: dict[str, list[float]]) -> list[float]:
        """Ours ÷ the least of the others', round by round."""
        others = [times for name, times in of.items() if name != OURS]
        return [ours / min(times) for ours, *times in zip(of[OURS], *others, strict=True)]


def measure(workers: dict[str, Worker], name: str, folder: Path, rounds: int) -> Result:
    """One pattern; every implementation uses an array of its own, and makes it again where it has been changed."""
    pattern = PATTERNS[name]
    seconds: dict[str, list[float]] = {peer: [] for peer in workers}
    cpu: dict[str, list[float]] = {peer: [] for peer in workers}
    for number in range(rounds + 1):  # the first one warms up
        peers = [*workers]
        turn = number % len(peers)  # who comes first finds the memory that nobody has warmed
        for peer in peers[turn:] + peers[:turn]:
            path = folder / f"{pattern.array}-{peer}".replace(" ", "-")
            if pattern.write is not None or not path.exists():
                workers[peer].ask(do="make", array=pattern.array, path=str(path))
            answer = workers[peer].ask(do=name, path=str(path))
            if number:
                seconds[peer].append(answer["seconds"])
                cpu[peer].append(answer["cpu"])
            if pattern.write is not None:
                shutil.rmtree(path)
    return Result(name, seconds, cpu)


def table(results: list[Result], names: list[str]) -> Table:
    """Medians, and the ratios with their spread."""
    made = Table(title="milliseconds, and those of the processors (medians); ours ÷ the best other")
    for head in ("pattern", *names, "time ÷", "processors ÷"):
        made.add_column(head, justify="left" if head == "pattern" else "right")
    for result in results:
        medians = [
            f"{1000 * statistics.median(result.seconds[name]):.1f}, {1000 * statistics.median(result.cpu[name]):.1f}"
            for name in names
        ]
        made.add_row(
            result.pattern, *medians, spread(result.ratios(result.seconds)), spread(result.ratios(result.cpu)),
            style="red" if statistics.median(result.ratios(result.seconds)) > 1 else "",
        )  # fmt: skip
    return made


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py patterns", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=[*PATTERNS])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["tensorstore", "zarrs"])
    parser.add_argument("--where", choices=["tmpfs", "disk"], default="tmpfs")
    parser.add_argument("--out", type=Path, default=Path("benchmark-patterns"), help="<out>.json is written")
    options = parser.parse_args(arguments)
    console = Console()
    names = list(dict.fromkeys([OURS, *options.peers]))
    results: list[Result] = []
    with ExitStack() as stack:
        shared = stack.enter_context(place("tmpfs"))
        folder = stack.enter_context(place(options.where))
        for array in {PATTERNS[name].array for name in options.patterns}:
            data(ARRAYS[array], shared)
        workers = stack.enter_context(taking_turns("pattern_worker.py", names, shared, console))
        for name in options.patterns:
            results.append(measure(workers, name, folder, options.rounds))
            ratios = [spread(results[-1].ratios(of)) for of in (results[-1].seconds, results[-1].cpu)]
            console.print(f"{name}: {ratios[0]}, processors {ratios[1]}", style="dim")
    console.print(table(results, names))
    record = {
        "python": platform.python_version(),
        "versions": [worker.version for worker in workers.values()],
        "results": [asdict(r) for r in results],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
