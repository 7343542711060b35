"""Measure every usual chain of codecs beside the peers: `python benchmarks/run.py codecs`, or `nox -s bench -- codecs`.

Processes take turns as in `speed`. Besides the time that passes, the processors' time is measured, which is the better measure on
a machine that is shared; what is read is compared with what was written in every round.
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

from codec_chains import CHAIN_PEERS, CHAINS, data
from harness import Worker, place, spread, taking_turns
from rich.console import Console
from rich.table import Table

OURS = "zarrv3"
ACTIONS = ("write", "read")
MEASURES = ("seconds", "cpu")


@dataclass(frozen=True)
class Result:
    """One action on one chain: what every round took, by measure and implementation."""

    chain: str
    action: str
    took: dict[str, dict[str, list[float]]]

    def ratios(self, measure: str) -> list[float]:
        """Ours ÷ the best peer, round by round; the best is the one with the least median."""
        took = dict(self.took[measure])
        ours = took.pop(OURS)
        return [a / b for a, b in zip(ours, took[self.best(measure)], strict=True)]

    def best(self, measure: str) -> str:
        """The peer with the least median."""
        medians = {name: statistics.median(rounds) for name, rounds in self.took[measure].items()}
        return min((name for name in medians if name != OURS), key=medians.__getitem__)


def measure(
    workers: dict[str, Worker], chain: str, folder: Path, rounds: int, console: Console
) -> list[Result]:
    """Both actions on one chain; everybody writes an array of its own and reads that."""
    able = [name for name in workers if name not in CHAINS[chain].without]
    took = {action: {kind: {name: [] for name in able} for kind in MEASURES} for action in ACTIONS}
    for number in range(rounds + 1):  # the first one warms up
        turn = number % len(able)
        for action in ACTIONS:
            for name in able[turn:] + able[:turn]:
                path = str(folder / f"{chain}-{name}".replace(" ", "-"))
                answer = workers[name].ask(do=action, chain=chain, path=path)
                for kind in MEASURES if number else ():
                    took[action][kind][name].append(answer[kind])
    for name in able:
        shutil.rmtree(folder / f"{chain}-{name}".replace(" ", "-"), ignore_errors=True)
    results = [Result(chain, action, took[action]) for action in ACTIONS]
    told = [f"{result.action} {spread(result.ratios('cpu'))} of {result.best('cpu')}" for result in results]
    console.print(f"{chain}: {', '.join(told)}", style="dim")
    return results


def table(results: list[Result], names: list[str]) -> Table:
    """Medians of the processors' time, and the ratios to the best peer with their spread."""
    made = Table(title="milliseconds of processors (medians); ours ÷ the best peer, with spread")
    for head in ("codecs", "action", *names, "÷ best, processors", "÷ best, time"):
        made.add_column(head, justify="left" if head in {"codecs", "action"} else "right")
    for result in results:
        cpu = result.took["cpu"]
        shown = [f"{1000 * statistics.median(cpu[name]):.0f}" if name in cpu else "" for name in names]
        ratios = [result.ratios(kind) for kind in ("cpu", "seconds")]
        missed = max(map(statistics.median, ratios)) > CHAINS[result.chain].aim
        row = (result.chain, result.action, *shown, *map(spread, ratios))
        made.add_row(*row, style="red" if missed else "")
    return made


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py codecs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chains", nargs="+", choices=CHAINS, default=[*CHAINS])
    parser.add_argument("--peers", nargs="+", choices=CHAIN_PEERS, default=[*CHAIN_PEERS])
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark-codecs"), help="<out>.json and <out>.txt are written"
    )
    options = parser.parse_args(arguments)
    console = Console()
    names = list(dict.fromkeys([OURS, *options.peers]))
    results: list[Result] = []
    with ExitStack() as stack:
        shared = stack.enter_context(place("tmpfs"))
        for name in options.chains:
            data(CHAINS[name], shared)
        workers = stack.enter_context(taking_turns("codec_worker.py", names, shared, console))
        for name in options.chains:
            with place("tmpfs") as folder:
                results += measure(workers, name, folder, options.rounds, console)
    console.print(table(results, names))
    with options.out.with_suffix(".txt").open("w") as file:
        Console(file=file, width=200).print(table(results, names))
    record = {
        "python": platform.python_version(),
        "versions": [worker.version for worker in workers.values()],
        "results": [asdict(result) for result in results],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
