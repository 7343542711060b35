"""The process of one implementation that reads arrays from S3: `cloud_worker.py zarrv3 | zarr-python | tensorstore`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

KEYS = {"key": "bench", "secret": "bench"}
REGION = "us-east-1"


def zarrv3_array(endpoint: str, name: str) -> Callable[[], Any]:
    """Ours, by obstore."""
    import zarrv3

    array = zarrv3.open_array(
        f"obstore+s3://bucket/{name}",
        mode="r",
        storage_options={**KEYS, "endpoint_url": endpoint, "region": REGION},
    )
    return lambda: array[...]


def zarr_python_array(endpoint: str, name: str) -> Callable[[], Any]:
    """zarr-python over its own store for obstore."""
    import zarr
    from obstore.store import S3Store

    zarr.config.set({"async.concurrency": 128})
    store = S3Store(
        "bucket", prefix=name, endpoint=endpoint, access_key_id=KEYS["key"], secret_access_key=KEYS["secret"], region=REGION,
        client_options={"allow_http": True},
    )  # fmt: skip
    array = zarr.open_array(zarr.storage.ObjectStore(store, read_only=True), mode="r")
    return lambda: array[...]


def tensorstore_array(endpoint: str, name: str) -> Callable[[], Any]:
    """TensorStore over its own driver."""
    import tensorstore

    kvstore = {
        "driver": "s3", "bucket": "bucket", "path": f"{name}/", "endpoint": endpoint, "aws_region": REGION,
        "aws_credentials": {"type": "anonymous"},
    }  # fmt: skip
    array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True, read=True).result()
    return lambda: array.read().result()


READERS = {
    "zarrv3": ("zarrv3-core", zarrv3_array),
    "zarr-python": ("zarr", zarr_python_array),
    "tensorstore": ("tensorstore", tensorstore_array),
}


def used() -> float:
    """Seconds of all processors that this process has had."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(name: str) -> None:
    """Serve until the input ends: {"endpoint": …, "array": …, "sum": …} → {"seconds": …, "cpu": …}."""
    distribution, reader = READERS[name]
    print(json.dumps({"version": f"{name} {version(distribution)}"}), flush=True)
    opened: dict[tuple[str, str], Callable[[], Any]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        place = command["endpoint"], command["array"]
        if place not in opened:
            opened[place] = reader(*place)
        cpu, started = used(), time.perf_counter()
        found = opened[place]()
        answer = {"seconds": time.perf_counter() - started, "cpu": used() - cpu}
        if not np.isclose(np.sum(found), command["sum"]):
            raise SystemExit(f"{name} reads other values than were written: {command}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
