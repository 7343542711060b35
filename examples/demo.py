"""Real images through every installed backend: written, read back by another process, compared, drawn.

    python examples/demo.py [--output FOLDER]

A magnetic resonance series of a head (comes with nibabel) and the Hubble deep field (comes with scikit-image) become two
arrays of one group, in every installed backend that needs no server. A new process opens each by its URL and compares all
values with the originals. A table says what it took; a picture drawn from a store says what is in there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import skimage.data  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import zarrv3
from zarrv3 import registry
from zarrv3.errors import RegistryError, ZarrError

Pixels = NDArray[Any]


# ---------------------------------------------------------------- the images


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image with what an array in a store should say about it."""

    values: Pixels
    chunks: tuple[int, ...]
    dimension_names: tuple[str, ...]
    attributes: Mapping[str, Any]


def pictures() -> dict[str, Picture]:
    """The original images, by the names that their arrays get."""
    scan: Any = nibabel.load(Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz")  # type: ignore[attr-defined]
    unit, second = scan.header.get_xyzt_units()
    return {
        "mri": Picture(
            values=np.asarray(scan.dataobj),
            chunks=(64, 48, 12, 1),
            dimension_names=("x", "y", "z", "t"),
            attributes={
                "voxel_size": [float(size) for size in scan.header.get_zooms()],
                "units": [unit, unit, unit, second],
                "affine": scan.affine.tolist(),
            },
        ),
        "hubble": Picture(
            values=skimage.data.hubble_deep_field(),
            chunks=(218, 250, 3),
            dimension_names=("y", "x", "colour"),
            attributes={"title": "Hubble eXtreme Deep Field", "credit": "NASA, ESA"},
        ),
    }


# ---------------------------------------------------------------- storing them


def backends(folder: str) -> Iterator[tuple[str, str]]:
    """The installed backends that need no server: names, with URLs for new data below a folder."""
    seen = set()
    for plugin in [*registry.plugins("stores"), *registry.plugins("layers")]:
        try:
            backend: type[zarrv3.BaseStore] = registry.load(plugin.kind, plugin.name)
        except RegistryError as error:  # a plugin that is broken is left out, the others go on
            print(f"left out: {error}", file=sys.stderr)
            continue
        url = backend.example_url(folder)
        if url is not None and backend not in seen:
            seen.add(backend)
            yield backend.kind, url


def write(url: str, images: Mapping[str, Picture], progress: Callable[[int], object]) -> dict[str, float]:
    """Write the images under one group; `progress` is told how many chunks are done. Returns what it took."""
    done = 0
    start = time.perf_counter()
    with zarrv3.open_store(url) as store:
        group = zarrv3.create_group(store, attributes={"title": "What the demo of zarrv3 has written"})
        for name, image in images.items():
            array = group.create_array(
                name,
                shape=image.values.shape,
                dtype=image.values.dtype,
                chunks=image.chunks,
                dimension_names=image.dimension_names,
                attributes=image.attributes,
            )
            array.write(..., image.values, progress=lambda chunks, _, before=done: progress(before + chunks))
            done += array.nchunks
        store.flush()
        seconds = time.perf_counter() - start
        sizes = [size for _, size in store.sizes("")]
    return {"write seconds": seconds, "objects": len(sizes), "bytes": sum(sizes)}


def compare(url: str, images: Mapping[str, Picture]) -> dict[str, float]:
    """Read everything back and raise `ValueError` unless it is, bit by bit, what was written. Returns what it took."""
    seconds = 0.0
    with zarrv3.open_store(url) as store:
        for name, image in images.items():
            start = time.perf_counter()
            array = zarrv3.open_array(store, path=name, mode="r")
            found = array[...]
            seconds += time.perf_counter() - start
            if found.dtype != image.values.dtype or found.shape != image.values.shape:
                raise ValueError(f"{name}: {found.dtype} {found.shape} is not the original's dtype and shape")
            if found.tobytes() != image.values.tobytes():
                raise ValueError(f"{name}: {np.sum(found != image.values)} of {found.size} elements differ")
            if dict(array.attrs) != image.attributes or array.dimension_names != image.dimension_names:
                raise ValueError(f"{name}: attributes or dimension names differ")
    return {"read seconds": seconds}


def compare_in_new_process(url: str) -> dict[str, float]:
    """The same by a process that knows nothing but the URL."""
    done = subprocess.run(
        [sys.executable, __file__, "--compare", url], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip() or f"the process that compared ended with {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# ---------------------------------------------------------------- showing them


def draw(url: str) -> Image.Image:
    """Four slices of both volumes of the series above the deep field, all read from a store."""
    with zarrv3.open_store(url) as store:
        slices = zarrv3.open_array(store, path="mri", mode="r")[:, ::-1, 3:23:5, :]
        field = zarrv3.open_array(store, path="hubble", mode="r")[...]
    grey = (slices * (255 / slices.max())).astype("u1")
    rows = [np.hstack([grey[:, :, z, t].T for z in range(4)]) for t in range(2)]
    scan = np.vstack(rows).repeat(2, axis=0).repeat(2, axis=1)  # every voxel is two pixels wide and high
    canvas = np.zeros((len(scan) + len(field), max(scan.shape[1], field.shape[1]), 3), "u1")
    canvas[: len(scan), : scan.shape[1]] = scan[..., np.newaxis]
    canvas[len(scan) :, : field.shape[1]] = field
    return Image.fromarray(canvas)


def table_of(results: Mapping[str, dict[str, Any]], folder: str, images: Mapping[str, Picture]) -> Table:
    """A line for each backend."""
    table = Table()
    for title in ("backend", "URL"):
        table.add_column(title, overflow="fold")
    for title in ("objects", "bytes", "ratio", "write MB/s", "read MB/s"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("compared", overflow="fold")
    size = sum(image.values.nbytes for image in images.values())
    for name, result in results.items():
        cells = [name, result["url"].replace(folder.removeprefix("/"), "...")]
        if "bytes" in result:
            cells += [f"{result['objects']}", f"{result['bytes']:,}", f"{size / result['bytes']:.2f}"]
        for step in ("write", "read"):
            seconds = result.get(f"{step} seconds")
            cells.append(f"{size / seconds / 1e6:.0f}" if seconds else "-")
        table.add_row(*cells, result["outcome"])
    return table


def run(console: Console, images: Mapping[str, Picture], folder: str, output: Path) -> bool:
    """Do all that for every backend; returns whether all comparisons were fine."""
    results: dict[str, dict[str, Any]] = {}
    chunks = sum(zarrv3.zeros(image.values.shape, chunks=image.chunks).nchunks for image in images.values())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for name, url in backends(folder):
            bar = progress.add_task(f"writing to {name}", total=chunks)
            took = write(url, images, lambda done, bar=bar: progress.update(bar, completed=done))
            results[name] = {"url": url, **took}
    for result in results.values():
        _check(result, images)
    console.print(table_of(results, folder, images))
    good = [result["url"] for result in results.values() if result["fine"]]
    if good:
        output.mkdir(parents=True, exist_ok=True)
        draw(good[0]).save(output / "slices.png")
        console.print(f"drawn from {good[0]}:", output / "slices.png", soft_wrap=True)
    for result in results.values():
        with zarrv3.open_store(result["url"]) as store:
            store.clear()
    return len(good) == len(results)


def _check(result: dict[str, Any], images: Mapping[str, Picture]) -> None:
    """Compare what a backend holds, and note how that went."""
    with zarrv3.open_store(result["url"]) as store:
        persistent = store.capabilities.persistent
    try:
        result |= compare_in_new_process(result["url"]) if persistent else compare(result["url"], images)
    except (ValueError, ZarrError) as error:
        result |= {"fine": False, "outcome": f"FAILED: {error}"}
    else:
        where = "in a new process" if persistent else "in this process, whose memory it is"
        result |= {"fine": True, "outcome": f"equal, {where}"}


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code is 0 when everything came back as it was."""
    parser = argparse.ArgumentParser(description="Real images through every installed backend of zarrv3.")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="the folder for the picture")
    parser.add_argument("--compare", metavar="URL", help=argparse.SUPPRESS)  # what the new process is called with
    chosen = parser.parse_args(arguments)
    if chosen.compare:
        try:
            print(json.dumps(compare(chosen.compare, pictures())))
        except (ValueError, ZarrError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="zarrv3-demo-") as folder:
        return 0 if run(console, pictures(), folder, chosen.output) else 1


if __name__ == "__main__":
    sys.exit(main())
