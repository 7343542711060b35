"""Measure reading over a link with latency: `python benchmarks/run.py latency`, or `nox -s bench -- latency`.

A proxy on this machine delays every byte on its way to a server and back (20 ms in all for a round trip) and counts round
trips. An array of 1,600 chunks is read through it, and through the same proxy without delay: that is the transfer, with
everything that server and client do. The aim is 1.5 × (round trips that the window makes necessary × latency + transfer).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backends import base_of
from clients import ARRAY
from harness import Worker, place, spread
from proxy import Address, Counts, Proxy, address, slow
from rich.console import Console
from rich.table import Table
from workloads import data

from zarrv3 import config
from zarrv3.chunks import pool

LIMIT = 1.5
"""What seconds ÷ (round trips × latency + transfer) are to be at most."""

S3_CONNECTIONS = 64
"""How many requests the S3 store has under way at once: botocore's `max_pool_connections`, as the store sets it."""


@dataclass
class Result:
    """One backend: what opening and reading cost, in every round."""

    backend: str
    requests: int
    """How many requests the chunks need: one per window, of S3 one per chunk."""
    at_once: int
    """How many of them are under way at once."""
    latency: float
    transfer: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    opening: list[float] = field(default_factory=list)
    opened: list[Counts] = field(default_factory=list)
    counted: list[Counts] = field(default_factory=list)

    @property
    def waits(self) -> int:
        """Round trips one after the other."""
        return math.ceil(self.requests / self.at_once)

    def ratios(self) -> list[float]:
        """Seconds ÷ (round trips × latency + transfer), round by round."""
        return [
            seconds / (self.waits * self.latency + transfer)
            for seconds, transfer in zip(self.seconds, self.transfer, strict=True)
        ]


def target_of(backend: str, base: str) -> tuple[Address, Callable[[int], str]]:
    """Where a server is, and its URL by way of a port."""
    match backend:
        case "redis":
            return base.partition("?")[0].removeprefix("unix://"), "redis://127.0.0.1:{}/0".format
        case "mongodb":
            return address(base), "mongodb://127.0.0.1:{}/?directConnection=true".format
        case "postgresql":
            folder = base.rpartition("host=")[2]
            return f"{folder}/.s.PGSQL.5432", "postgresql://postgres@127.0.0.1:{}/postgres".format
        case "s3":
            url = base.rpartition("endpoint_url=")[2]
            return address(url), lambda port: base.replace(url, f"http://127.0.0.1:{port}")
    raise KeyError(backend)


def measure(worker: Worker, backend: str, latency: float, rounds: int, console: Console) -> Result:
    """Write directly, then read through the proxies by turns."""
    chunks = math.prod(-(-n // c) for n, c in zip(ARRAY.shape, ARRAY.chunks, strict=True))
    window = min(config.get("window"), -(-chunks // pool.threads()))
    if backend == "s3":
        result = Result(backend, chunks, min(S3_CONNECTIONS, pool.threads(waiting=True) * window), latency)
    else:
        result = Result(backend, -(-chunks // window), pool.threads(waiting=True), latency)
    with ExitStack() as stack:
        base = stack.enter_context(base_of(backend))
        assert base is not None
        target, url = target_of(backend, base)
        near = stack.enter_context(slow(target, 0))
        far = stack.enter_context(slow(target, latency))
        for action in ("empty", "write"):
            worker.ask(do=action, backend=backend, base=base)
        for number in range(rounds + 1):  # the first one warms up
            for proxy in (near, far) if number % 2 else (far, near):
                found = _round(worker, backend, url(proxy.port), proxy)
                if number:
                    _record(result, *found, delayed=proxy is far)
            console.print(f"{backend}: round {number} of {rounds}", style="dim")
    return result


def _round(worker: Worker, backend: str, base: str, proxy: Proxy) -> tuple[float, Counts, float, Counts]:
    """Seconds and counts of opening the array, and of reading it."""
    proxy.reset()
    opening = worker.ask(do="open", backend=backend, base=base)["seconds"]
    opened = proxy.reset()
    seconds = worker.ask(do="chunks", backend=backend, base=base)["seconds"]
    counted = proxy.reset()
    worker.ask(do="close", backend=backend, base=base)
    return opening, opened, seconds, counted


def _record(
    result: Result, opening: float, opened: Counts, seconds: float, counted: Counts, *, delayed: bool
) -> None:
    if not delayed:
        result.transfer.append(seconds)
        return
    result.opening.append(opening)
    result.opened.append(opened)
    result.seconds.append(seconds)
    result.counted.append(counted)


def table(results: list[Result]) -> Table:
    """Medians and counts."""
    made = Table(title="reading 1,600 chunks over a slow link (medians)")
    heads = (
        "backend", "opening", "its round trips", "requests", "round trips", "connections", "at once", "transfer",
        "seconds", "÷ (round trips × latency + transfer)",
    )  # fmt: skip
    for head in heads:
        made.add_column(head, justify="left" if head == "backend" else "right")
    for result in results:
        ratios = result.ratios()
        made.add_row(
            result.backend,
            f"{statistics.median(result.opening):.3f}",
            f"{statistics.median(counts.round_trips for counts in result.opened):g}",
            f"{result.requests}",
            f"{statistics.median(counts.round_trips for counts in result.counted):g}",
            f"{statistics.median(counts.connections for counts in result.counted):g}",
            f"{result.at_once}",
            f"{statistics.median(result.transfer):.3f}",
            f"{statistics.median(result.seconds):.3f}",
            spread(ratios),
            style="red" if statistics.median(ratios) > LIMIT else "",
        )
    return made


def draw(results: list[Result], path: Path) -> None:
    """What the time goes to, beside what was measured."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for number, result in enumerate(results):
        transfer, waits = statistics.median(result.transfer), result.waits * result.latency
        axes.bar(number - 0.2, transfer, 0.35, color="tab:blue", label="" if number else "transfer")
        axes.bar(
            number - 0.2, waits, 0.35, transfer, color="tab:orange",
            label="" if number else "necessary round trips × latency",
        )  # fmt: skip
        axes.bar(
            number + 0.2, statistics.median(result.seconds), 0.35, color="tab:green",
            label="" if number else "measured",
        )  # fmt: skip
    axes.set_xticks(range(len(results)), [result.backend for result in results])
    axes.set_ylabel("seconds")
    axes.legend()
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py latency", description=__doc__)
    names = ("redis", "mongodb", "postgresql", "s3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds of a round trip")
    parser.add_argument("--backends", nargs="+", choices=names, default=[*names])
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark-latency"), help="<out>.json and <out>.png are written"
    )
    options = parser.parse_args(arguments)
    console = Console()
    with ExitStack() as stack:
        shared = stack.enter_context(place("tmpfs"))
        data(ARRAY, shared)
        worker = Worker("backend_worker.py", shared)
        stack.callback(worker.close)
        results = [
            measure(worker, backend, options.latency / 1000, options.rounds, console)
            for backend in options.backends
        ]
    console.print(table(results))
    record = {
        "python": platform.python_version(),
        "version": worker.version,
        "results": [asdict(result) for result in results],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(results, options.out.with_suffix(".png"))
