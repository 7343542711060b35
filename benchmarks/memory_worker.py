"""A process whose memory is measured: it does one thing, then it is thrown away.

{"do": "write" | "read", "workload": …, "path": …} with an implementation of `peers.py`, or {"do": "copy", …} for a copy of
made-up chunks between two stores. The answer has the bytes of the process: before, at its peak, and those of the array.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS
from workloads import WORKLOADS, Workload, data

CHUNK = 1000
"""The length of a chunk of the made-up array along both axes."""

RECODED: dict[str, dict[str, Any]] = {
    "copied as it is": {},
    "other chunks": {"chunks": (600, 600)},
    "into shards": {"chunks": (100, 100), "shards": (1000, 1000)},
    "other codec": {"compressors": [{"name": "zstd", "configuration": {"level": 1, "checksum": False}}]},
}
"""What a copy is asked for."""


def status(name: str) -> int:
    """Bytes of this process: `VmRSS`, those resident now; `VmHWM`, those at the peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"this system does not tell {name}")


def peak_of(action: Callable[[], Any]) -> dict[str, int]:
    """The bytes of the process before an action, and the most there were until its end, with what it returned."""
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again
    kept = action()
    peak = status("VmHWM")
    del kept
    return {"before": before, "peak": peak}


def read_or_write(name: str, action: str, workload: Workload, path: str, shared: str) -> dict[str, int]:
    """The peak of one implementation; a small array has warmed it up, so that what it imports and starts is there."""
    peer = PEERS[name]()
    small = Workload(name="small", shape=(200, 200), chunks=(100, 100), shards=workload.shards and (200, 200))
    peer.write(f"{path}-small", small, np.ones(small.shape))
    peer.read(f"{path}-small")
    shutil.rmtree(f"{path}-small")
    if action == "read":
        return {**peak_of(lambda: peer.read(path)), "array": workload.nbytes}
    values = np.array(data(workload, Path(shared)))  # of this process, not mapped
    shutil.rmtree(path, ignore_errors=True)
    return {**peak_of(lambda: peer.write(path, workload, values)), "array": 0}  # it is there before


# ---------------------------------------------------------------- stores of made-up chunks


class MadeUp:
    """A store that has one array: every chunk is the same bytes, made again for whoever asks."""

    def __init__(self, document: bytes, chunk: bytes, grid: tuple[int, int]) -> None:
        from zarrv3 import Capabilities

        self.capabilities = Capabilities(list=True)
        self.document, self.chunk, self.grid = document, chunk, grid

    def _keys(self) -> Iterator[str]:
        yield "zarr.json"
        for row in range(self.grid[0]):
            yield from (f"c/{row}/{column}" for column in range(self.grid[1]))

    def get_many(self, requests: Sequence[Any], /) -> list[bytes | None]:
        """As from a network, every value has memory of its own."""
        found: list[bytes | None] = []
        for key, wanted in requests:
            whole = self.document if key == "zarr.json" else self.chunk if key.startswith("c/") else None
            start, stop = wanted or (0, None)
            found.append(None if whole is None else bytes(bytearray(whole[start:stop])))
        return found

    def stat_many(self, keys: Sequence[str], /) -> list[int | None]:
        """As large as they are."""
        return [len(self.document if key == "zarr.json" else self.chunk) for key in keys]

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """Made up, one by one."""
        return (key for key in self._keys() if key.startswith(folder))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """Only the root is looked at."""
        return iter(() if folder else ("zarr.json", "c/"))


def forgetful() -> Any:
    """A store in memory that keeps documents and, of everything else, how many values and bytes there were."""
    from zarrv3 import Layer, MemoryStore

    class Forgetful(Layer):
        def __init__(self) -> None:
            super().__init__(MemoryStore())
            self.values = self.bytes = 0

        def swap_many(self, swaps: Mapping[str, Any], /) -> list[str]:
            self.write_many({key: value for key, (_, value) in swaps.items()})
            return []

        def apply_many(self, changes: Mapping[str, Any], /) -> None:
            self.write_many(changes)

        def write_many(self, items: Mapping[str, Any], /) -> None:
            kept = {key: value for key, value in items.items() if "zarr.json" in key}
            if kept:
                self.inner.write_many(kept)
            self.values += len(items) - len(kept)
            self.bytes += sum(len(value) for key, value in items.items() if key not in kept)

    return Forgetful()


def copy(how: str, gigabytes: float) -> dict[str, int]:
    """The peak of a copy of an array of so many gigabytes that is made up on the way and forgotten at once."""
    import zarrv3

    rows = max(1, round(gigabytes * 10**9 / 8 / CHUNK**2 / 32))
    grid = (rows, 32)
    example = zarrv3.MemoryStore()
    values = np.round(np.cumsum(np.random.default_rng(0).normal(0, 0.05, (CHUNK, CHUNK)), axis=1), 3)
    blosc = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 8, "blocksize": 0}
    array = zarrv3.create_array(
        example, shape=(rows * CHUNK, 32 * CHUNK), chunks=(CHUNK, CHUNK), dtype="f8",
        compressors=[{"name": "blosc", "configuration": blosc}],
    )  # fmt: skip
    array[:CHUNK, :CHUNK] = values
    source, dest = MadeUp(bytes(example["zarr.json"]), bytes(example["c/0/0"]), grid), forgetful()
    del values, example
    result = peak_of(lambda: zarrv3.copy(source, dest, **RECODED[how]))
    made = zarrv3.open_array(dest)
    blocks = math.prod(-(-n // c) for n, c in zip(made.shape, made.shards or made.chunks, strict=True))
    if dest.values != blocks:
        raise SystemExit(f"{how}: {dest.values} values were written, not {blocks}")
    return {**result, "array": array.nbytes, "written": dest.bytes}


def main(name: str, shared: str) -> None:
    """Do one thing."""
    print(json.dumps({"version": name}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "copy":
            answer = copy(command["how"], command["gigabytes"])
        else:
            workload = WORKLOADS[command["workload"]]
            answer = read_or_write(name, command["do"], workload, command["path"], shared)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
