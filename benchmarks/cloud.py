"""Measure reading from S3 beside others: `python benchmarks/run.py cloud`, or `nox -s bench -- cloud`.

A server on this machine has two arrays of 128 MB, in 1,600 chunks and in 16 shards of 100 chunks. zarrv3 and zarr-python
read them by obstore, TensorStore by its own driver: by turns, over loopback and through a proxy that adds 20 ms to a round
trip. Both seconds and the processors' seconds count; the aims are 1.1 times zarr-python's for chunks, and 0.5 times for shards.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from cloud_worker import READERS
from harness import Worker, place, spread
from proxy import slow
from rich.console import Console
from rich.table import Table

import zarrv3

SHAPE = (1600, 10_000)
ARRAYS = {"chunks": None, "shards": (100, SHAPE[1])}
LIMITS = {"chunks": 1.1, "shards": 0.5}
"""What ours ÷ zarr-python's is to be at most."""

_SERVER = """
import sys
from aiohttp import web
app = web.Application()
app.router.add_static("/", sys.argv[1])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
"""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of a web server, which is what reading from S3 needs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _SERVER, folder, str(port)])
    try:
        for _ in range(600):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """Medians, and how many times zarr-python's in the same round."""
    made = Table(title="reading 128 MB from S3")
    for head in ("link", "array", "reader", "seconds", "÷ zarr-python", "cpu", "÷ zarr-python"):
        made.add_column(head)
    for case, answers in found.items():
        link, name, reader = case.split("/")
        base = found[f"{link}/{name}/zarr-python"]
        cells = []
        for what in ("seconds", "cpu"):
            ratios = [one[what] / other[what] for one, other in zip(answers, base, strict=True)]
            is_over = reader == "zarrv3" and statistics.median(ratios) > LIMITS[name]
            text = f"[red]{spread(ratios)}[/]" if is_over else spread(ratios)
            cells += [f"{statistics.median(one[what] for one in answers):.3f}", text]
        made.add_row(link, name, reader, *cells)
    return made


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py cloud", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds of a round trip")
    parser.add_argument("--out", type=Path, default=Path("benchmark-cloud"), help="<out>.json is written")
    options = parser.parse_args(arguments)
    console = Console()
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as stack:
        folder = stack.enter_context(place("tmpfs"))
        values = np.random.default_rng(0).random(SHAPE)
        for name, shards in ARRAYS.items():
            array = zarrv3.create_array(
                folder / "bucket" / name,
                shape=SHAPE,
                chunks=(1, SHAPE[1]),
                shards=shards,
                dtype="f8",
                compressors=None,
            )
            array[:] = values
        port = stack.enter_context(served(folder))
        proxy = stack.enter_context(slow(("127.0.0.1", port), options.latency / 1000))
        links = {"loopback": port, f"{options.latency:g} ms": proxy.port}
        workers = {name: Worker("cloud_worker.py", name) for name in READERS}
        for worker in workers.values():
            stack.callback(worker.close)
        for number in range(options.rounds + 1):  # the first one opens and warms up
            for link, at in links.items():
                for name in ARRAYS:
                    for reader in [*workers][number % 3 :] + [*workers][: number % 3]:
                        asked = {
                            "endpoint": f"http://127.0.0.1:{at}",
                            "array": name,
                            "sum": float(values.sum()),
                        }
                        answer = workers[reader].ask(**asked)
                        if number:
                            found[f"{link}/{name}/{reader}"].append(answer)
            console.print(f"round {number} of {options.rounds}", style="dim")
    console.print(table(found))
    record = {"versions": [worker.version for worker in workers.values()], "results": found}
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
