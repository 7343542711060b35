"""A process that re-chunks an array with one implementation; whatever is imported then is imported before the clocks start."""

from __future__ import annotations

import json
import resource
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (512, 256, 256)
OLD, NEW = (1, 256, 256), (512, 16, 16)
"""Maps of a moment, and series of a place: every new chunk has elements of all old ones."""


def values() -> np.ndarray[Any, Any]:
    """128 MiB of float32: a walk through time at each place."""
    steps = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    return np.round(steps.cumsum(0), 2)


class Rechunker(ABC):
    """One implementation."""

    @abstractmethod
    def version(self) -> str:
        """What is measured."""

    @abstractmethod
    def write(self, path: str, data: np.ndarray[Any, Any]) -> None:
        """The array in its old chunks, as Blosc with LZ4 makes them."""

    @abstractmethod
    def rechunk(self, source: str, target: str, between: str, memory: int) -> None:
        """Write it in its new chunks within so many bytes of memory; `between` is an empty folder."""

    @abstractmethod
    def read(self, path: str) -> np.ndarray[Any, Any]:
        """All of it."""


class Ours(Rechunker):
    """This project."""

    def __init__(self) -> None:
        import zarrv3

        self.library = zarrv3
        _ = zarrv3.copy, zarrv3.open_array  # which are imported when they are first asked for

    def version(self) -> str:
        """See `Rechunker`."""
        return f"zarrv3 {self.library.__version__}"

    def write(self, path: str, data: np.ndarray[Any, Any]) -> None:
        """See `Rechunker`."""
        from peers import BLOSC

        codec = {"name": "blosc", "configuration": {**BLOSC["configuration"], "typesize": 4}}
        self.library.create_array(path, data=data, chunks=OLD, compressors=[codec])

    def rechunk(self, source: str, target: str, between: str, memory: int) -> None:
        """See `Rechunker`."""
        import tempfile

        tempfile.tempdir = between
        self.library.copy(source, target, chunks=NEW, memory=memory)

    def read(self, path: str) -> np.ndarray[Any, Any]:
        """See `Rechunker`."""
        return self.library.open_array(path, mode="r")[...]


class RechunkerItself(Rechunker):
    """The package of that name, with zarr-python 2."""

    def __init__(self) -> None:
        import rechunker
        import zarr

        self.library, self.zarr = rechunker, zarr

    def version(self) -> str:
        """See `Rechunker`."""
        return f"rechunker {self.library.__version__} with zarr-python {self.zarr.__version__}"

    def write(self, path: str, data: np.ndarray[Any, Any]) -> None:
        """See `Rechunker`."""
        from numcodecs import Blosc

        codec = Blosc("lz4", 5, Blosc.SHUFFLE)
        self.zarr.open(path, mode="w", shape=SHAPE, chunks=OLD, dtype="f4", compressor=codec)[...] = data

    def rechunk(self, source: str, target: str, between: str, memory: int) -> None:
        """See `Rechunker`."""
        opened = self.zarr.open(source, mode="r")
        plan = self.library.rechunk(
            opened, NEW, memory, target, temp_store=f"{between}/array", executor="python"
        )
        plan.execute()

    def read(self, path: str) -> np.ndarray[Any, Any]:
        """See `Rechunker`."""
        return np.asarray(self.zarr.open(path, mode="r")[...])


class Cubed(Rechunker):
    """Cubed, with its threads and zarr-python 3."""

    def __init__(self) -> None:
        import cubed
        import zarr
        from cubed.runtime.create import create_executor

        self.library, self.zarr, self.executor = cubed, zarr, create_executor("threads")

    def version(self) -> str:
        """See `Rechunker`."""
        return f"cubed {self.library.__version__} with zarr-python {self.zarr.__version__}"

    def write(self, path: str, data: np.ndarray[Any, Any]) -> None:
        """See `Rechunker`."""
        codec = self.zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)
        self.zarr.create_array(path, data=data, chunks=OLD, compressors=[codec])

    def rechunk(self, source: str, target: str, between: str, memory: int) -> None:
        """See `Rechunker`."""
        spec = self.library.Spec(work_dir=between, allowed_mem=memory, reserved_mem=0)
        array = self.library.from_zarr(source, spec=spec).rechunk(NEW)
        self.library.to_zarr(array, target, executor=self.executor)

    def read(self, path: str) -> np.ndarray[Any, Any]:
        """See `Rechunker`."""
        return np.asarray(self.zarr.open_array(path, mode="r")[...])


RECHUNKERS: dict[str, type[Rechunker]] = {"zarrv3": Ours, "rechunker": RechunkerItself, "cubed": Cubed}


def _status(name: str, folder: str) -> int:
    """A number of the system's about this process."""
    line = next(
        line for line in Path(f"/proc/self/{folder}").read_text().splitlines() if line.startswith(name)
    )
    return int(line.split()[1])


def main(name: str) -> None:
    """Serve until the input ends.

    {"do": "write", "path": …} writes the array; {"source": …, "target": …, "between": …, "memory": …} re-chunks it →
    seconds, those of the processors, bytes that were read, and the bytes of the process at its peak.
    """
    implementation = RECHUNKERS[name]()
    print(json.dumps({"version": implementation.version()}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command.pop("do", "") == "write":
            implementation.write(command["path"], values())
            print(json.dumps({}), flush=True)
            continue
        read, started, busy = _status("rchar", "io"), time.perf_counter(), time.process_time()
        implementation.rechunk(**command)
        seconds, cpu = time.perf_counter() - started, time.process_time() - busy
        answer = {
            "seconds": seconds,
            "cpu": cpu,
            "read": _status("rchar", "io") - read,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        if not np.array_equal(implementation.read(command["target"]), values()):
            raise SystemExit(f"{name} has other values than were written")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
