"""Real images through every installed backend: written, read back by another process, compared, drawn.

    python examples/demo.py [--output FOLDER] [--servers]

A magnetic resonance series of a head (comes with nibabel) and the Hubble deep field (comes with scikit-image) become two
arrays of one group, in every installed backend that needs no server; with `--servers` also in those that need one, which
is started for as long as the demo runs. A new process opens each by its URL and compares all
values with the originals. A table says what it took; a picture drawn from a store says what is in there.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
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
    """The original images, by the names that their arrays get; both are inside the packages, nothing is downloaded."""
    scan: Any = nibabel.load(Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz")
    skies: Any = skimage.data
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
            values=skies.hubble_deep_field(),
            chunks=(218, 250, 3),
            dimension_names=("y", "x", "colour"),
            attributes={"title": "Hubble eXtreme Deep Field", "credit": "NASA, ESA"},
        ),
    }


# ---------------------------------------------------------------- storing them


@dataclass(kw_only=True)
class Result:
    """What became of the images in one backend."""

    backend: str
    url: str
    objects: int = 0
    stored: int = 0
    write_seconds: float = 0.0
    read_seconds: float = 0.0
    reader: str = ""
    failure: str = ""


def classes() -> Iterator[type[zarrv3.BaseStore]]:
    """The classes of installed stores and adapters, each once."""
    seen = set()
    kinds: tuple[registry.Kind, ...] = ("stores", "layers")
    for kind in kinds:
        for plugin in registry.plugins(kind):
            try:
                backend = registry.load(kind, plugin.name)
            except RegistryError as error:  # a plugin that is broken is left out, the others go on
                print(f"left out: {error}", file=sys.stderr)
                continue
            if backend not in seen:  # a class may have several names
                seen.add(backend)
                yield backend


def backends(folder: str) -> Iterator[tuple[str, str]]:
    """The installed backends that need no server: names, with URLs for new data below a folder."""
    for backend in classes():
        url = backend.example_url(folder)
        if url is not None:
            yield backend.kind, url


def servers(started: ExitStack) -> Iterator[Result]:
    """A result to fill for each installed backend that needs a server; the stack stops the servers that were started."""
    for backend in classes():
        result = Result(backend=backend.kind, url="")
        try:
            server = backend.example_server()
            if server is None:
                continue
            result.url = started.enter_context(server)
        except Exception as error:  # noqa: BLE001 - whatever a server does wrong, the others have their turn
            result.failure = f"no server: {type(error).__name__}: {error}"
        yield result


def write(result: Result, images: Mapping[str, Picture], progress: Progress) -> None:
    """Write the images under one group, with a progress bar for each."""
    start = time.perf_counter()
    with zarrv3.open_store(result.url) as store:
        group = zarrv3.create_group(store, attributes={"title": "What the demo of zarrv3 has written"})
        for name, image in images.items():
            bar = progress.add_task(f"{result.backend}: {name}")

            def report(done: int, chunks: int, bar: TaskID = bar) -> None:
                progress.update(bar, completed=done, total=chunks)

            array = group.create_array(
                name,
                shape=image.values.shape,
                dtype=image.values.dtype,
                chunks=image.chunks,
                dimension_names=image.dimension_names,
                attributes=image.attributes,
            )
            array.write(..., image.values, progress=report)
        store.flush()
        result.write_seconds = time.perf_counter() - start
        sizes = [size for _, size in store.list_sizes("")]
        result.objects, result.stored = len(sizes), sum(sizes)


def compare(url: str, images: Mapping[str, Picture]) -> float:
    """Read everything back: the seconds that took, or `ValueError` unless every bit is what it was."""
    seconds = 0.0
    with zarrv3.open_store(url) as store:
        for name, image in images.items():
            start = time.perf_counter()
            array = zarrv3.open_array(store, path=name, mode="r")
            found = array[...]
            seconds += time.perf_counter() - start
            if (found.dtype, found.shape) != (image.values.dtype, image.values.shape):
                raise ValueError(f"{name} has become {found.dtype} of the shape {found.shape}")
            if found.tobytes() != image.values.tobytes():
                raise ValueError(f"{np.sum(found != image.values)} of {found.size} elements of {name} differ")
            if dict(array.attrs) != image.attributes or array.dimension_names != image.dimension_names:
                raise ValueError(f"the attributes or dimension names of {name} differ")
    return seconds


def compare_in_new_process(url: str) -> float:
    """Read everything back in a process that knows nothing but the URL."""
    command = [sys.executable, __file__, "--compare", url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    if ended.returncode != 0:
        raise ValueError(ended.stderr.strip().rpartition("\n")[2] or f"exit code {ended.returncode}")
    return float(ended.stdout)


def run(result: Result, images: Mapping[str, Picture], progress: Progress) -> None:
    """Write to one backend and compare; what goes wrong there is noted, so that the others have their turn."""
    try:
        write(result, images, progress)
        with zarrv3.open_store(result.url) as store:
            persistent = store.capabilities.persistent
        result.reader = "a new process" if persistent else "this process"  # nobody else sees its memory
        result.read_seconds = (
            compare_in_new_process(result.url) if persistent else compare(result.url, images)
        )
    except (ValueError, ZarrError) as error:  # the ValueError is a difference
        result.failure = str(error)


# ---------------------------------------------------------------- showing them


def table(results: Sequence[Result], images: Mapping[str, Picture], folder: str) -> Table:
    """A line for each backend."""
    shown = Table("backend", "URL")
    for title in ("objects", "bytes", "ratio", "write MB/s", "read MB/s"):
        shown.add_column(title, justify="right", no_wrap=True)
    shown.add_column("read back", overflow="fold")
    size = sum(image.values.nbytes for image in images.values())
    for result in results:
        speeds = (f"{size / s / 1e6:.0f}" if s else "-" for s in (result.write_seconds, result.read_seconds))
        shown.add_row(
            result.backend,
            escape(result.url.replace(folder, "/...")),
            str(result.objects),
            f"{result.stored:,}",
            f"{size / result.stored:.2f}" if result.stored else "-",
            *speeds,
            f"FAILED: {escape(result.failure)}" if result.failure else f"equal, by {result.reader}",
        )
    return shown


def draw(url: str) -> Image.Image:
    """Four slices of both volumes of the series above the deep field, all read from a store."""
    with zarrv3.open_store(url) as store:
        slices = zarrv3.open_array(store, path="mri", mode="r")[:, ::-1, 3:23:5, :]
        field = zarrv3.open_array(store, path="hubble", mode="r")[...]
    grey = (slices * (255 / slices.max())).astype("u1")
    rows = [np.hstack([grey[:, :, z, t].T for z in range(grey.shape[2])]) for t in range(grey.shape[3])]
    scan = np.vstack(rows).repeat(2, axis=0).repeat(2, axis=1)  # every voxel is two pixels wide and high
    canvas = np.zeros((len(scan) + len(field), max(scan.shape[1], field.shape[1]), 3), "u1")
    canvas[: len(scan), : scan.shape[1]] = scan[..., np.newaxis]
    canvas[len(scan) :, : field.shape[1]] = field
    return Image.fromarray(canvas)


def show(console: Console, results: Sequence[Result], folder: str, output: Path) -> bool:
    """Do all that for every backend; returns whether every one gave back what it was given."""
    images = pictures()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for result in results:
            if not result.failure:
                run(result, images, progress)
    console.print(table(results, images, folder))
    good = [result for result in results if not result.failure]
    if good:
        output.mkdir(parents=True, exist_ok=True)
        draw(good[0].url).save(output / "slices.png")
        console.print(f"drawn from the store {good[0].backend}: {output / 'slices.png'}", soft_wrap=True)
    return len(good) == len(results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 0 when everything came back as it was."""
    parser = argparse.ArgumentParser(description="Real images through every installed backend of zarrv3.")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="the folder for the picture")
    parser.add_argument(
        "--servers", action="store_true", help="start servers, for the backends that need one"
    )
    parser.add_argument("--compare", help=argparse.SUPPRESS)  # a URL: what the new process is called with
    chosen = parser.parse_args(arguments)
    if chosen.compare:
        try:
            print(compare(chosen.compare, pictures()))
        except (ValueError, ZarrError) as error:
            sys.exit(str(error))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="zarrv3-demo-") as folder, ExitStack() as started:
        results = [Result(backend=name, url=url) for name, url in backends(folder)]
        results += servers(started) if chosen.servers else ()
        return 0 if show(console, results, folder, chosen.output) else 1


if __name__ == "__main__":
    sys.exit(main())
