"""Measure zarrv3 beside its peers: `python benchmarks/run.py speed`, or `nox -s bench -- speed`.

Every implementation has a process of its own. They take turns, A B C, then B C A, so that a machine that becomes slower does
so for all and nobody is always first; the ratio is taken within a round. What is read is compared with what was written in every round.
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
from peers import PEERS
from rich.console import Console
from rich.table import Table
from workloads import SELECTIONS, WHOLE, WORKLOADS, data

OURS = "zarrv3"
FAST = ("tensorstore", "zarrs")
"""The peers whose faster one we are measured against."""

LIMITS = {
    ("small", "write"): 0.9, ("small", "read"): 0.7, ("tiny", "write"): 1.0, ("tiny", "read"): 1.0,
    ("big", "write"): 1.0, ("big", "read"): 1.0, ("shard", "write"): 0.9, ("shard", "read"): 0.7,
    **{(name, action): 1.0 for name in ("small", "shard") for action in SELECTIONS},
}  # fmt: skip
"""What ours ÷ the faster of the fast peers is to be at most."""


@dataclass(frozen=True)
class Result:
    """One action on one workload: the seconds of every round by implementation."""

    workload: str
    action: str
    where: str
    seconds: dict[str, list[float]]

    def ratios(self, *peers: str) -> list[float]:
        """Ours ÷ the fastest of some peers, round by round."""
        there = [self.seconds[name] for name in peers if name in self.seconds]
        return [ours / min(times) for ours, *times in zip(self.seconds[OURS], *there, strict=True)]


def measure(
    workers: dict[str, Worker], workload: str, folder: Path, where: str, rounds: int, console: Console
) -> list[Result]:
    """All actions on one workload; everybody writes an array of its own and reads that."""
    actions = [*WHOLE, *(SELECTIONS if workload in {"small", "shard"} else ())]
    times: dict[str, dict[str, list[float]]] = {action: {name: [] for name in workers} for action in actions}
    for number in range(rounds + 1):  # the first one warms up
        names = [*workers]
        turn = number % len(names)  # who comes first finds the memory that nobody has warmed
        for action in actions:
            for name in names[turn:] + names[:turn]:
                worker = workers[name]
                path = str(folder / f"{workload}-{name.replace(' ', '-')}")
                seconds = worker.ask(do=action, workload=workload, path=path)["seconds"]
                if number:
                    times[action][name].append(seconds)
        console.print(f"{workload} on {where}: round {number} of {rounds}", style="dim")
    for name in workers:
        shutil.rmtree(folder / f"{workload}-{name.replace(' ', '-')}", ignore_errors=True)
    return [Result(workload, action, where, times[action]) for action in actions]


def table(results: list[Result], names: list[str]) -> Table:
    """Medians, and the ratio to the faster of the fast peers with its spread."""
    made = Table(title="seconds (medians); ours ÷ the faster of TensorStore and zarrs; ours ÷ zarr-python")
    for head in ("workload", "action", *names, "÷ fast", "aim", "÷ zarr-python"):
        made.add_column(head, justify="left" if head in {"workload", "action"} else "right")
    for result in results:
        medians = [f"{statistics.median(result.seconds[name]):.3f}" for name in names]
        fast = result.ratios(*FAST) if set(FAST) & result.seconds.keys() else []
        slow = result.ratios("zarr-python") if "zarr-python" in result.seconds else []
        aim = LIMITS.get((result.workload, result.action))
        missed = bool(fast) and aim is not None and statistics.median(fast) > aim
        made.add_row(
            f"{result.workload}, {result.where}", result.action, *medians, spread(fast) if fast else "",
            "" if aim is None else f"{aim}", f"{statistics.median(slow):.2f}" if slow else "",
            style="red" if missed else "",
        )  # fmt: skip
    return made


def draw(results: list[Result], path: Path) -> None:
    """The ratios as a picture: below the line we are faster."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    shown = [result for result in results if set(FAST) & result.seconds.keys()]
    figure, axes = pyplot.subplots(figsize=(max(6, len(shown) * 0.5), 4.5), layout="constrained")
    for number, result in enumerate(shown):
        ratios = result.ratios(*FAST)
        middle = statistics.median(ratios)
        axes.errorbar(
            number, middle, [[middle - min(ratios)], [max(ratios) - middle]], fmt="o", color="tab:blue"
        )
        aim = LIMITS.get((result.workload, result.action))
        if aim is not None:
            axes.hlines(aim, number - 0.4, number + 0.4, color="tab:red")
    axes.axhline(1, color="grey", linewidth=0.5)
    axes.set_xticks(
        range(len(shown)), [f"{r.workload} {r.action}\n{r.where}" for r in shown], rotation=90, fontsize=7
    )
    axes.set_ylabel("ours ÷ faster of TensorStore and zarrs")
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=[*PEERS])
    parser.add_argument("--where", nargs="+", choices=["tmpfs", "disk"], default=["tmpfs", "disk"])
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark-speed"), help="<out>.json and <out>.png are written"
    )
    options = parser.parse_args(arguments)
    console = Console()
    names = list(dict.fromkeys([OURS, *options.peers]))
    results: list[Result] = []
    with ExitStack() as stack:
        shared = stack.enter_context(place("tmpfs"))
        for name in options.workloads:
            data(WORKLOADS[name], shared)
        workers = stack.enter_context(taking_turns("worker.py", names, shared, console))
        for where in options.where:
            for workload in options.workloads:
                with place(where) as folder:
                    results += measure(workers, workload, folder, where, options.rounds, console)
    console.print(table(results, names))
    record = {
        "python": platform.python_version(),
        "versions": [worker.version for worker in workers.values()],
        "results": [asdict(r) for r in results],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(results, options.out.with_suffix(".png"))
