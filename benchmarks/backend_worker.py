"""A process that measures zarrv3 on backends, the libraries of the backends, and the codec: a command a line, an answer a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from clients import ARRAY, CLIENTS, batched, empty, url_of
from peers import BLOSC
from workloads import data

import zarrv3
from zarrv3.chunks import pool

Window = tuple[slice, slice]


class Measured:
    """All that is measured, over the same values.

    Args:
        values: what is written.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        rows, columns = ARRAY.chunks
        grid = product(range(0, values.shape[0], rows), range(0, values.shape[1], columns))
        self.windows: list[Window] = [(slice(r, r + rows), slice(c, c + columns)) for r, c in grid]
        with zarrv3.open_store() as store:
            self.array_write(store)
            array = zarrv3.open_array(store, mode="r")
            self.chain = array.layout.chain
            coords = [(r.start // rows, c.start // columns) for r, c in self.windows]
            keys = [array.layout.key(place) for place in coords]
            found = store.get_many([(key, None) for key in keys])
            self.encoded = {key: bytes(value or b"") for key, value in zip(keys, found, strict=True)}

    def array_write(self, store: Any) -> None:
        """Create the array and write all of it."""
        array = zarrv3.create_array(
            store, shape=ARRAY.shape, dtype="f8", chunks=ARRAY.chunks, compressors=[BLOSC]
        )
        array[...] = self.values

    def encode(self, windows: Sequence[Window]) -> None:
        """Only the codec."""
        for window in windows:
            self.chain.encode(self.values[window])

    def decode(self, out: np.ndarray, windows: Sequence[Window], values: Sequence[bytes]) -> None:
        """Only the codec, and chunks to their places."""
        scratch = np.empty(ARRAY.chunks)
        for window, value in zip(windows, values, strict=True):
            out[window] = self.chain.decode(value, scratch)

    def codec_write(self) -> None:
        """Encode everything, in the threads that zarrv3 would use."""
        with ThreadPoolExecutor(pool.threads()) as threads:
            [*threads.map(self.encode, batched(self.windows, 64))]

    def codec_read(self) -> np.ndarray:
        """Decode everything, in the threads that zarrv3 would use."""
        out = np.empty(ARRAY.shape)
        with ThreadPoolExecutor(pool.threads()) as threads:
            parts = batched(self.windows, 64), batched(self.encoded.values(), 64)
            [*threads.map(lambda windows, values: self.decode(out, windows, values), *parts)]
        return out


class Place:
    """A place on a backend, by zarrv3 and by the backend's library."""

    def __init__(self, measured: Measured, backend: str, base: str) -> None:
        self.measured = measured
        self.backend, self.base = backend, base
        self.url = url_of(backend, base, "ours")
        self.client = CLIENTS[backend](base, "bulk")
        self.array: Any = None

    def empty(self) -> None:
        """Nothing is there."""
        for name in ("ours", "bulk", "zarr2"):
            empty(self.backend, self.base, name)
        if self.backend == "memory":
            with zarrv3.open_store(self.url) as store:
                store.clear()

    def write(self) -> None:
        """Open, write the array, close."""
        with zarrv3.open_store(self.url) as store:
            self.measured.array_write(store)

    def read(self) -> np.ndarray:
        """Open, read the array, close."""
        with zarrv3.open_store(self.url) as store:
            found: np.ndarray = zarrv3.open_array(store, mode="r")[...]
            return found

    def open(self) -> None:
        """Open the array, and keep it open."""
        self.array = zarrv3.open_array(zarrv3.open_store(self.url), mode="r")

    def chunks(self) -> np.ndarray:
        """Read the open array."""
        found: np.ndarray = self.array[...]
        return found

    def close(self) -> None:
        """Close it."""
        self.array.layout.store.close()

    def bulk_write(self) -> None:
        """Store the encoded chunks."""
        self.client.write(self.measured.encoded)

    def bulk_read(self) -> list[bytes | None]:
        """Fetch the encoded chunks."""
        return self.client.read([*self.measured.encoded])


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    started = time.perf_counter()
    found = action()
    return time.perf_counter() - started, found


def main(shared: str) -> None:
    """Serve until the input ends.

    {"do": one of the actions below, "backend": …, "base": …} → {"seconds": …}; what was read is compared with what was written,
    after the clock has stopped.
    """
    measured = Measured(data(ARRAY, Path(shared)))
    print(json.dumps({"version": f"zarrv3 {zarrv3.__version__}"}), flush=True)
    places: dict[tuple[str, str], Place] = {}
    for line in sys.stdin:
        command = json.loads(line)
        where = command["backend"], command["base"]
        place = places.get(where) or places.setdefault(where, Place(measured, *where))
        actions: dict[str, Callable[[], Any]] = {
            "empty": place.empty,
            "write": place.write,
            "read": place.read,
            "open": place.open,
            "chunks": place.chunks,
            "close": place.close,
            "bulk write": place.bulk_write,
            "bulk read": place.bulk_read,
            "codec write": measured.codec_write,
            "codec read": measured.codec_read,
        }
        seconds, found = timed(actions[command["do"]])
        if command["do"] == "bulk read":
            same = found == [*measured.encoded.values()]
        else:
            same = found is None or np.array_equal(found, measured.values)
        if not same:
            raise SystemExit(f"other values are read than were written: {command}")
        del found
        size = sum(map(len, measured.encoded.values()))
        print(json.dumps({"seconds": seconds, "bytes": size}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
