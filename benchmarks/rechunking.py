"""How an array gets other chunks: `python benchmarks/run.py rechunking`.

Maps of 512 moments become series of 16² places, 128 MiB in 32 MiB of memory, so that two passes are needed. Each round of each
implementation has a process of its own, in turns; rechunker and cubed have environments of their own, made by the first run.
What comes out is compared with what went in, after the clocks have stopped.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from harness import Worker, environment, place, spread
from rechunk_worker import RECHUNKERS
from rich.console import Console
from rich.table import Table

OURS, MIB = "zarrv3", 2**20
REQUIREMENTS = {
    "rechunker": ("rechunker>=0.5", "zarr<3", "numcodecs<0.16", "setuptools"),
    "cubed": ("cubed>=0.28", "zarr>=3"),
}


def _worker(name: str, folder: Path) -> Worker | None:
    """A process of an implementation; `None` where its environment cannot be made."""
    if name == OURS:
        return Worker("rechunk_worker.py", name)
    python = environment(folder / name, REQUIREMENTS[name])
    return None if python is None else Worker("rechunk_worker.py", name, python=python)


def measure(options: argparse.Namespace, console: Console) -> dict[str, list[dict[str, float]]]:
    """The answers of each round, by implementation."""
    found: dict[str, list[dict[str, float]]] = {}
    with place(options.where) as folder:
        for name in dict.fromkeys([OURS, *options.peers]):
            worker = _worker(name, options.environments)
            if worker is None:
                console.print(f"{name} cannot be installed here", style="yellow")
                continue
            with closing(worker):
                console.print(worker.version)
                worker.ask(do="write", path=str(folder / name))
            found[name] = []
        size = {name: sum(file.stat().st_size for file in (folder / name).rglob("*")) for name in found}
        for number in range(options.rounds):
            names = [*found]
            for name in names[number % len(names) :] + names[: number % len(names)]:
                target, between = folder / "target", folder / "between"
                between.mkdir()
                worker = _worker(name, options.environments)
                assert worker is not None
                with closing(worker):
                    answer = worker.ask(
                        source=str(folder / name),
                        target=str(target),
                        between=str(between),
                        memory=options.mib * MIB,
                    )
                found[name].append({**answer, "read": answer["read"] / size[name]})
                shutil.rmtree(target)
                shutil.rmtree(between)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> Table:
    """Medians, least and greatest."""
    made = Table(title="128 MiB to other chunks")
    for head in (
        "by",
        "processors' seconds",
        "seconds",
        "MiB at the peak",
        "bytes read ÷ those of the array",
    ):
        made.add_column(head, justify="left" if head == "by" else "right")
    for name, answers in found.items():
        columns = [[answer[what] for answer in answers] for what in ("cpu", "seconds", "peak", "read")]
        columns[2] = [size / MIB for size in columns[2]]
        made.add_row(name, *map(spread, columns))
    return made


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py rechunking", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=[*RECHUNKERS], default=[*RECHUNKERS])
    parser.add_argument("--mib", type=int, default=32, help="of memory that each may use for what it moves")
    parser.add_argument("--where", choices=["tmpfs", "disk"], default="tmpfs")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path.home() / ".cache/zarrv3-rechunking",
        help="those of the peers",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark-rechunking"), help="<out>.json is written"
    )
    options = parser.parse_args(arguments)
    console = Console()
    found = measure(options, console)
    console.print(table(found))
    ours = statistics.median(answer["cpu"] for answer in found[OURS])
    for name, answers in found.items():
        if name != OURS:
            ratio = ours / statistics.median(answer["cpu"] for answer in answers)
            console.print(f"zarrv3 ÷ {name}, processors' seconds: {ratio:.2f}")
    record: dict[str, Any] = {"python": platform.python_version(), "rounds": found}
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
