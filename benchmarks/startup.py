"""What it costs until something can be read: `python benchmarks/run.py startup`.

Seconds of the processor in a process of its own for each measurement, in turns, with compiled modules, and how many modules
that process has imported: `import zarrv3` where arrays are not used and where
they are, and `import zarrv3.store.base`, beside `import numpy`; and the first element of an array in a folder beside
zarr-python and TensorStore. Then, in one process, an array opened by the URL of its
store again and again; the store is closed in between.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from growth import BACKENDS, url_of
from harness import place, spread
from rich.console import Console
from rich.table import Table

import zarrv3

IMPORTS = 1.2
"""What a process that imports zarrv3 and uses no arrays may take at most, in times of one that imports numpy."""

OPENING = 1e-3
"""Seconds that opening an array by URL may take at most."""

PROGRAMS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import zarrv3, no arrays": "import zarrv3",
    "import zarrv3.store.base": "import zarrv3.store.base",
    "import zarrv3, arrays": "import zarrv3.api",
    "first element, zarrv3": "import zarrv3; assert zarrv3.open_array({path!r}, mode='r')[0, 0] == 1",
    "first element, zarr-python": "import zarr; assert zarr.open_array({path!r}, mode='r')[0, 0] == 1",
    "first element, TensorStore": (
        "import tensorstore\n"
        "kvstore = {{'driver': 'file', 'path': {path!r}}}\n"
        "array = tensorstore.open({{'driver': 'zarr3', 'kvstore': kvstore}}, open=True).result()\n"
        "assert array[0, 0].read().result() == 1"
    ),
}
"""What a process does; `{path}` is a folder that holds an array of ones."""


def environment(folder: Path) -> dict[str, str]:
    """One in which compiled modules are kept in a folder."""
    return {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
    }


def counted(folder: Path) -> dict[str, int]:
    """How many modules each process has imported at its end."""
    count = "\nimport sys; print(len(sys.modules))"
    return {
        name: int(
            subprocess.run(
                [sys.executable, "-c", text.format(path=str(folder / "array")) + count],
                env=environment(folder), check=True, capture_output=True, text=True,
            ).stdout
        )
        for name, text in PROGRAMS.items()
    }  # fmt: skip


def processes(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of the processor that each process takes, for each round; one round more compiles and warms up."""
    path = str(folder / "array")
    zarrv3.create_array(path, shape=(10, 10), chunks=(5, 5), dtype="f8")[...] = 1
    programs = {name: text.format(path=path) for name, text in PROGRAMS.items()}
    found: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        names = [*programs]
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            before = processor()
            subprocess.run([sys.executable, "-c", programs[name]], env=environment(folder), check=True)
            if number:
                found[name].append(processor() - before)
    return found


def processor() -> float:
    """Seconds that processes which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def openings(backends: Sequence[str], repeat: int) -> dict[str, list[float]]:
    """Seconds of opening an array by URL, with everything imported."""
    found = {}
    for backend in backends:
        with place("tmpfs") as folder, url_of(backend, folder) as url:
            made = zarrv3.create_array(url, name="a", shape=(100, 100), chunks=(10, 10), dtype="f8")
            made[...] = 1
            made.store.close()
            times = []
            for _ in range(repeat + 3):
                started = time.perf_counter()
                array = zarrv3.open_array(url, path="a", mode="r")
                times.append(time.perf_counter() - started)
                array.store.close()
            found[backend] = times[3:]
            zarrv3.open_store(url).clear()
    return found


def importing() -> list[tuple[int, str]]:
    """The microseconds that modules of ours took themselves, by `-X importtime`; the longest first."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import numpy, zarrv3.api"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
    own = [(int(line[0]), line[2].strip()) for line in lines if line[0].strip().isdigit()]
    return sorted((pair for pair in own if pair[1].startswith("zarrv3")), reverse=True)


def draw(results: dict[str, list[float]], path: Path) -> None:
    """All medians as bars."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.25 * len(results)), layout="constrained")
    axes.barh([*results], [1000 * statistics.median(times) for times in results.values()])
    axes.axvline(1000 * OPENING, color="tab:red", linewidth=0.5)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds")
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="run.py startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--backends", nargs="*", choices=BACKENDS, default=[*BACKENDS])
    parser.add_argument(
        "--modules", type=int, default=0, help="show so many modules that take longest to import"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmark-startup"), help="<out>.json and .png")
    options = parser.parse_args(arguments)
    console = Console()
    with place("tmpfs") as folder:
        times = processes(options.rounds, folder)
        modules = counted(folder)
    ratios = {
        name: [a / b for a, b in zip(times[name], times["import numpy"], strict=True)]
        for name in PROGRAMS
        if name.startswith("import zarrv3")
    }
    opened = openings(options.backends, 30)
    table = Table(title="milliseconds")
    for head in ("what", "median (least…greatest)", "at most", "modules"):
        table.add_column(head, justify="left" if head == "what" else "right")
    for name, seconds in times.items():
        table.add_row(name, spread([1000 * second for second in seconds]), "", str(modules[name]))
    for name, seconds in opened.items():
        late = "red" if statistics.median(seconds) > OPENING else ""
        milliseconds = [1000 * second for second in seconds]
        table.add_row(f"open by URL, {name}", spread(milliseconds), f"{1000 * OPENING:g}", style=late)
    console.print(table)
    for name, quotients in ratios.items():
        limit = "" if name == "import zarrv3, arrays" else f", at most {IMPORTS}"
        console.print(f"{name} ÷ import numpy: {spread(quotients)}{limit}")
    for microseconds, module in importing()[: options.modules]:
        console.print(f"{microseconds:6} µs {module}")
    record = {
        "python": platform.python_version(),
        "processes": times,
        "modules": modules,
        "ratios": ratios,
        "openings": opened,
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw({**times, **{f"open by URL, {name}": seconds for name, seconds in opened.items()}},
         options.out.with_suffix(".png"))  # fmt: skip
