"""How much memory it takes: `python benchmarks/run.py memory`.

Each measurement has a process of its own, with everything imported and started by a small array beforehand. What counts is what
the system says: the most pages that were resident at once, of numpy and of libraries in C too. From that are taken, of a read,
the result and what the process had before it; of a write, what it had before, the values included. The copies are of an array
that is made up while it is read and forgotten when it is written; of them the whole process counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import Worker, place, spread
from memory_worker import RECODED
from peers import PEERS
from rich.console import Console
from rich.table import Table
from workloads import WORKLOADS, data

OURS = "zarrv3"
MIB = 2**20
BESIDE, COPYING = 64 * MIB, 256 * MIB
"""What a read or write may take beside its array, and a copy in all."""


@dataclass(frozen=True)
class Peak:
    """One action of one implementation: the bytes of each round.

    Attributes:
        beside: what it took at its peak beside the array and what the process had before.
        whole: what the process had at its peak beside the array: interpreter, libraries and everything.
    """

    what: str
    action: str
    name: str
    beside: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)

    def add(self, answer: dict[str, int], *, array: int) -> None:
        """Take in the answer of a worker, and how many bytes of the array are in the peak."""
        self.beside.append(answer["peak"] - answer["before"] - answer["array"])
        self.whole.append(answer["peak"] - array)

    @property
    def is_too_much(self) -> bool:
        """Whether ours is above what it may be."""
        if self.action == "copy":
            return max(self.whole) > COPYING
        return self.name == OURS and max(self.beside) > BESIDE


def ask(name: str, shared: Path, **command: Any) -> dict[str, Any]:
    """The answer of a new process."""
    with closing(Worker("memory_worker.py", name, shared)) as worker:
        return worker.ask(**command)


def reads_and_writes(options: argparse.Namespace, shared: Path, folder: Path, console: Console) -> list[Peak]:
    """Peaks of writing an array and of reading it, in turns."""
    names = list(dict.fromkeys([OURS, *options.peers]))
    found: list[Peak] = []
    for workload in options.workloads:
        data(WORKLOADS[workload], shared)
        peaks = {(name, do): Peak(workload, do, name) for do in ("write", "read") for name in names}
        for _ in range(options.rounds):
            for (name, do), peak in peaks.items():
                path = folder / f"{workload}-{name.replace(' ', '-')}"
                answer = ask(name, shared, do=do, workload=workload, path=str(path))
                peak.add(answer, array=WORKLOADS[workload].nbytes)
        found += peaks.values()
        console.print(f"{workload} measured", style="dim")
    return found


def copies(options: argparse.Namespace, shared: Path, console: Console) -> list[Peak]:
    """Peaks of copies: one each, they take long."""
    found = [Peak(how, "copy", OURS) for how in RECODED]
    for peak in found:
        answer = ask(OURS, shared, do="copy", how=peak.what, gigabytes=options.gigabytes)
        peak.add({**answer, "array": 0}, array=0)
        console.print(f"{peak.what}: {answer['array'] / 1e9:.1f} GB measured", style="dim")
    return found


def table(peaks: Sequence[Peak]) -> Table:
    """MiB: medians, least and greatest."""
    made = Table(title="MiB at the peak")
    for head in ("array", "action", "by", "beside array and start", "process without array", "at most"):
        made.add_column(head, justify="left" if head in {"array", "action", "by"} else "right")
    for peak in peaks:
        limit = f"process {COPYING // MIB}" if peak.action == "copy" else f"beside {BESIDE // MIB}"
        made.add_row(
            peak.what, peak.action, peak.name, spread([n / MIB for n in peak.beside]),
            spread([n / MIB for n in peak.whole]), limit if peak.name == OURS else "",
            style="red" if peak.is_too_much else "",
        )  # fmt: skip
    return made


def draw(peaks: Sequence[Peak], path: Path) -> None:
    """The medians as bars."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.22 * len(peaks)), layout="constrained")
    for place_, peak in enumerate(peaks):
        values = peak.whole if peak.action == "copy" else peak.beside
        limit = COPYING if peak.action == "copy" else BESIDE
        color = "tab:blue" if peak.name == OURS else "tab:gray"
        axes.barh(place_, statistics.median(values) / MIB, color=color)
        axes.vlines(limit / MIB, place_ - 0.4, place_ + 0.4, color="tab:red")
    axes.set_yticks(range(len(peaks)), [f"{p.what}, {p.action}: {p.name}" for p in peaks], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=64)
    axes.set_xlabel("MiB beside the array and what was there before (copies: the whole process)")
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py memory", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    large = ["small", "big", "shard"]
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=large)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS])
    parser.add_argument(
        "--gigabytes", type=float, default=8, help="of the array that is copied; 0 for no copies"
    )
    parser.add_argument("--where", choices=["tmpfs", "disk"], default="tmpfs")
    parser.add_argument("--out", type=Path, default=Path("benchmark-memory"), help="<out>.json and .png")
    options = parser.parse_args(arguments)
    console = Console()
    with place("tmpfs") as shared, place(options.where) as folder:
        peaks = reads_and_writes(options, shared, folder, console)
        if options.gigabytes:
            peaks += copies(options, shared, console)
    console.print(table(peaks))
    record = {"python": platform.python_version(), "peaks": [asdict(peak) for peak in peaks]}
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(peaks, options.out.with_suffix(".png"))
