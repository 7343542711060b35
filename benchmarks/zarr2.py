"""zarr-python 2.18's experimental V3 stores on the same backends, in an environment of its own: a process as `backend_worker.py` is.

The environment is made with the interpreter that zarr 2.18 still runs on (Python 3.11) and kept between runs.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from clients import ARRAY, login
from workloads import data

REQUIREMENTS = ("zarr==2.18.*", "numcodecs<0.16", "numpy<2.3", "redis", "pymongo", "lmdb", "s3fs")
PYTHON = "3.11"


def _zip(base: str) -> Any:
    from zarr import ZipStoreV3

    path = Path(base, "zarr2.zip")
    return ZipStoreV3(str(path), mode="r" if path.exists() else "w", compression=0)


def _dbm(base: str) -> Any:
    import dbm.dumb

    from zarr import DBMStoreV3

    return DBMStoreV3(f"{base}/zarr2.dbm", open=dbm.dumb.open)


def _s3(base: str) -> Any:
    from zarr._storage.v3 import FSStoreV3

    url, options = login(base)
    endpoint = {"endpoint_url": options.pop("endpoint_url")}
    return FSStoreV3(f"s3://{url.netloc}/zarr2", **options, client_kwargs=endpoint)


_kept: dict[str, bytes] = {}

STORES: dict[str, Callable[[str], Any]] = {
    "memory": lambda _: _zarr().KVStoreV3(_kept),
    "directory": lambda base: _zarr().DirectoryStoreV3(f"{base}/zarr2"),
    "zip": _zip,
    "lmdb": lambda base: _zarr().LMDBStoreV3(f"{base}/zarr2.lmdb"),
    "sqlite": lambda base: _zarr().SQLiteStoreV3(f"{base}/zarr2.db"),
    "dbm": _dbm,
    "redis": lambda base: _zarr().RedisStoreV3(
        "zarr2", unix_socket_path=base.partition("?")[0].removeprefix("unix://")
    ),
    "mongodb": lambda base: _zarr().MongoDBStoreV3(database="zarr2", host=base),
    "s3": _s3,
}
"""The namesakes of our stores, over places of their own."""


def _zarr() -> Any:
    import zarr

    return zarr


def write(store: Any, values: np.ndarray) -> None:
    """Create the array, write all of it, close."""
    import zarr
    from numcodecs import Blosc

    array = zarr.create(
        ARRAY.shape, chunks=ARRAY.chunks, dtype="f8", compressor=Blosc("lz4", 5, Blosc.SHUFFLE),
        store=store, path="array", zarr_version=3,
    )  # fmt: skip
    array[...] = values
    store.close()


def read(store: Any) -> np.ndarray:
    """Open the array, read all of it, close."""
    import zarr

    found = zarr.open(store, path="array", mode="r", zarr_version=3)[...]
    store.close()
    return np.asarray(found)


def main(shared: str) -> None:
    """Serve until the input ends: `write` and `read` as `backend_worker.py` has them."""
    os.environ.update(ZARR_V3_EXPERIMENTAL_API="1", ZARR_V3_SHARDING="1")  # asked for when zarr is imported
    warnings.filterwarnings("ignore")
    import zarr

    values = data(ARRAY, Path(shared))
    print(json.dumps({"version": f"zarr-python {zarr.__version__}, experimental V3"}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        started = time.perf_counter()
        if command["do"] == "write":
            _kept.clear()
            write(STORES[command["backend"]](command["base"]), values)
            seconds = time.perf_counter() - started
        else:
            found = read(STORES[command["backend"]](command["base"]))
            seconds = time.perf_counter() - started
            if not np.array_equal(found, values):
                raise SystemExit(f"zarr 2 reads other values than were written: {command}")
            del found
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
