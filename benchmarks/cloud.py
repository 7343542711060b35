"""Measure reading from S3 beside others: `python benchmarks/run.py cloud`, or `nox -s bench -- cloud`.

A server on this machine has two arrays of 128 MB, in 1,600 chunks of 80 KB and in 16 shards of 100 of them. zarrv3 and zarr-python
read them by obstore, TensorStore by its own driver: by turns, over loopback and through a proxy that adds 20 ms to a round
trip. Seconds and the processors' seconds count, and the requests that the server gets. Everything is to be at most 1.1 times TensorStore's, the
whole arrays at most 1.1 times (chunks) and 0.5 times (shards) zarr-python's.
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
from urllib.request import urlopen

import numpy as np
from cloud_worker import CHUNKS, READERS, SHAPE, selections
from harness import Worker, place, spread
from proxy import slow
from rich.console import Console
from rich.table import Table

import zarrv3

ARRAYS = {"chunks": None, "shards": (1000, 1000)}
READS = ("whole", "elements", "row", "points", "box", "patches")
ELEMENTS = {"near": 300, "far": 30}
"""How many are read one after the other: over the slow link each waits."""

_SERVER = """
import sys
from aiohttp import web
count = 0
@web.middleware
async def counted(request, handler):
    global count
    count += request.path != "/requests"
    return await handler(request)
async def told(request):
    global count
    before, count = count, 0
    return web.json_response(before)
app = web.Application(middlewares=[counted])
app.router.add_get("/requests", told)
app.router.add_static("/", sys.argv[1])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)
"""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of a web server, which is what reading from S3 needs; `/requests` tells how many it had since the last time."""
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
    """Medians, and ours divided by the others' in the same round."""
    made = Table(title="reading 128 MB from S3")
    others = [name for name in READERS if name != "zarrv3"]
    for head in ("link", "array", "read", "seconds", "cpu", "requests"):
        made.add_column(head)
    for name in others:
        for head in ("seconds", "cpu", "requests"):
            made.add_column(f"{head} ÷ {name}")
    for case, ours in found.items():
        link, array, read, reader = case.split("/")
        if reader != "zarrv3":
            continue
        cells = [f"{statistics.median(one[what] for one in ours):.3f}" for what in ("seconds", "cpu")]
        cells.append(f"{statistics.median(one['requests'] for one in ours):g}")
        for other in others:
            theirs = found[f"{link}/{array}/{read}/{other}"]
            for what in ("seconds", "cpu", "requests"):
                ratios = [one[what] / two[what] for one, two in zip(ours, theirs, strict=True)]
                limit = (
                    1.1 if other == "tensorstore" else 0.5 if array == "shards" and read == "whole" else 1.1
                )
                is_over = statistics.median(ratios) > limit
                cells.append(f"[red]{spread(ratios)}[/]" if is_over else spread(ratios))
        made.add_row(link, array, read, *cells)
    return made


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py cloud", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds of a round trip")
    parser.add_argument("--reads", nargs="*", choices=READS, default=READS)
    parser.add_argument("--out", type=Path, default=Path("benchmark-cloud"), help="<out>.json is written")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as stack:
        folder = stack.enter_context(place("tmpfs"))
        values = np.random.default_rng(0).random(SHAPE)
        for name, shards in ARRAYS.items():
            array = zarrv3.create_array(
                folder / "bucket" / name,
                shape=SHAPE,
                chunks=CHUNKS,
                shards=shards,
                dtype="f8",
                compressors=None,
            )
            array[:] = values
        port = stack.enter_context(served(folder))
        proxy = stack.enter_context(slow(("127.0.0.1", port), options.latency / 1000))
        links = {"near": port, "far": proxy.port}
        workers = {name: Worker("cloud_worker.py", name) for name in READERS}
        for worker in workers.values():
            stack.callback(worker.close)
        for number in range(options.rounds + 1):  # the first one opens and warms up
            for link, at in links.items():
                for read in options.reads:
                    _, chosen = selections(read, ELEMENTS[link])
                    wanted = sum(float(np.sum(values[one])) for one in chosen)
                    for name in ARRAYS:
                        for reader in [*workers][number % 3 :] + [*workers][: number % 3]:
                            with urlopen(f"http://127.0.0.1:{port}/requests"):
                                pass
                            answer = workers[reader].ask(
                                endpoint=f"http://127.0.0.1:{at}",
                                array=name,
                                read=read,
                                elements=ELEMENTS[link],
                            )
                            if not np.isclose(answer["sum"], wanted):
                                raise SystemExit(
                                    f"{reader} reads other values than were written: {name}, {read}"
                                )
                            with urlopen(f"http://127.0.0.1:{port}/requests") as told:
                                answer["requests"] = json.load(told)
                            if number:
                                found[f"{link}/{name}/{read}/{reader}"].append(answer)
            console.print(f"round {number} of {options.rounds}", style="dim")
    console.print(table(found))
    record = {"versions": [worker.version for worker in workers.values()], "results": found}
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
