"""The process of one implementation that reads arrays from S3: `cloud_worker.py zarrv3 | zarr-python | tensorstore`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np

KEYS = {"key": "bench", "secret": "bench"}
REGION = "us-east-1"
SHAPE = (4000, 4000)
CHUNKS = (100, 100)
SEED = 20120

Read: TypeAlias = Callable[[str, Any], Any]
"""Reads a selection of an array by one of its indexers: `""` for slices and integers, `"vindex"` for points."""


def zarrv3_array(endpoint: str, name: str) -> Read:
    """Ours, by obstore."""
    import zarrv3

    array = zarrv3.open_array(
        f"obstore+s3://bucket/{name}",
        mode="r",
        storage_options={**KEYS, "endpoint_url": endpoint, "region": REGION},
    )
    return lambda indexer, chosen: (array.vindex if indexer else array)[chosen]


def zarr_python_array(endpoint: str, name: str) -> Read:
    """zarr-python over its own store for obstore."""
    import zarr
    from obstore.store import S3Store

    zarr.config.set({"async.concurrency": 128})
    store = S3Store(
        "bucket", prefix=name, endpoint=endpoint, access_key_id=KEYS["key"], secret_access_key=KEYS["secret"], region=REGION,
        client_options={"allow_http": True},
    )  # fmt: skip
    array = zarr.open_array(zarr.storage.ObjectStore(store, read_only=True), mode="r")
    return lambda indexer, chosen: (array.vindex if indexer else array)[chosen]


def tensorstore_array(endpoint: str, name: str) -> Read:
    """TensorStore over its own driver."""
    import tensorstore

    kvstore = {
        "driver": "s3", "bucket": "bucket", "path": f"{name}/", "endpoint": endpoint, "aws_region": REGION,
        "aws_credentials": {"type": "anonymous"},
    }  # fmt: skip
    array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True, read=True).result()
    return lambda indexer, chosen: (array.vindex if indexer else array)[chosen].read().result()


READERS = {
    "zarrv3": ("zarrv3-core", zarrv3_array),
    "zarr-python": ("zarr", zarr_python_array),
    "tensorstore": ("tensorstore", tensorstore_array),
}


def selections(name: str, elements: int) -> tuple[str, list[Any]]:
    """The indexer, and what is read by it, one after the other."""
    rng = np.random.default_rng(SEED)
    match name:
        case "whole":
            return "", [...]
        case "elements":
            return "", [*zip(*rng.integers(0, SHAPE[0], (2, elements)).tolist(), strict=True)]
        case "row":
            return "", [(SHAPE[0] // 2 + 7, slice(None))]
        case "points":
            return "vindex", [tuple(rng.integers(0, SHAPE[0], (2, 1000)))]
        case "box":
            return "", [(slice(450, 1950), slice(650, 2150))]
        case "patches":
            corners = rng.integers(0, SHAPE[0] - 64, (16, 2)).tolist()
            return "", [(slice(y, y + 64), slice(x, x + 64)) for y, x in corners]
    raise KeyError(name)


def used() -> float:
    """Seconds of all processors that this process has had."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(name: str) -> None:
    """Serve until the input ends: {"endpoint": …, "array": …, "read": …, "elements": …} → {"seconds": …, "cpu": …, "sum": …}."""
    distribution, reader = READERS[name]
    print(json.dumps({"version": f"{name} {version(distribution)}"}), flush=True)
    opened: dict[tuple[str, str], Read] = {}
    for line in sys.stdin:
        command = json.loads(line)
        place = command["endpoint"], command["array"]
        if place not in opened:
            opened[place] = reader(*place)
        read = opened[place]
        indexer, chosen = selections(command["read"], command["elements"])
        cpu, started = used(), time.perf_counter()
        found = [read(indexer, one) for one in chosen]
        answer = {"seconds": time.perf_counter() - started, "cpu": used() - cpu}
        print(json.dumps({**answer, "sum": float(sum(map(np.sum, found)))}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
