"""zarr-python, xarray, Dask and pandas open every store by URL, and never import zarrv3 themselves."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

URLS = {
    "sqlite": "sqlite:///{}/data.db",
    "lmdb": "lmdb://{}/data",
    "dbm": "dbm://{}/data",
    "folder": "zarrv3://file://{}/data.zarr",
    "memory": "zarrv3://memory://{}",
    "cached": "sqlite:///{}/data.db|lru-cache:?max_size=64MiB",
    "retried": "lmdb://{}/data|retry:?attempts=2|prefix:a/b",
}
VALUES = np.arange(400.0).reshape(20, 20)


SERVERS = ["redis", "mongodb", "postgresql", "mysql"]


@pytest.fixture(params=[*URLS, *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path, server_url: Callable[[str], str]) -> str:
    """New data in every kind of store, with and without layers."""
    if request.param in URLS:
        return URLS[request.param].format(tmp_path)
    there = server_url(request.param)
    fs, _ = fsspec.url_to_fs(there)
    fs.store.clear()
    fs.close()
    return there


def test_zarr(url: str) -> None:
    """What zarr-python writes by URL, it reads by URL, and by that of a node inside."""
    group = zarr.open_group(url, mode="w")
    array = group.create_array("a/b", shape=VALUES.shape, chunks=(5, 20), dtype="f8")
    array[:] = VALUES
    assert [name for name, _ in zarr.open_group(url, mode="r").members(max_depth=None)] == ["a", "a/b"]
    assert (zarr.open_array(f"{url}|zarr3:a/b", mode="r")[:] == VALUES).all()
    assert (zarr.open_array(url, path="a/b", mode="r+")[:] == VALUES).all()


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_xarray_and_dask(url: str) -> None:
    """Datasets go there and come back, eagerly and by blocks; Dask writes beside them."""
    data = xr.Dataset({"t": (("y", "x"), VALUES)}, {"x": np.arange(20)})
    data.chunk(y=10).to_zarr(url, mode="w")
    with xr.open_zarr(url) as found:
        assert data.identical(found.load())
    blocks = da.from_array(VALUES, chunks=(10, 20))
    blocks.to_zarr(f"{url}|zarr3:below", component="dask")
    assert (da.from_zarr(url, component="below/dask").compute() == VALUES).all()


def test_pandas(url: str) -> None:
    """A table is written to a key and read from there."""
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    table.to_csv(f"{url}|zarr3:tables/t.csv", index=False)
    assert pd.read_csv(f"{url}|zarr3:tables/t.csv").equals(table)


def test_references(url: str) -> None:
    """References as kerchunk makes them lie in a store, and lead to parts of values there."""
    fs, _ = fsspec.url_to_fs(url)
    array = {"zarr_format": 2, "shape": [6], "chunks": [3], "dtype": "<i4", "order": "C", "fill_value": 0}
    parts = {f"a/{i}": [f"{url}|zarr3:raw", 4 + 12 * i, 12] for i in range(2)}
    references = {"a/.zarray": json.dumps({**array, "compressor": None, "filters": None}), **parts}
    fs.pipe({"raw": b"head" + np.arange(6, dtype="<i4").tobytes(), "refs": json.dumps(references).encode()})
    there = {"store": url, "asynchronous": True}
    shown = fsspec.filesystem("reference", fo=f"{url}|zarr3:refs", remote_options=there, asynchronous=True)
    store = zarr.storage.FsspecStore(shown, path="")
    assert (zarr.open_array(store, path="a", mode="r", zarr_format=2)[:] == np.arange(6)).all()


def test_urls_as_options(tmp_path: Path) -> None:
    """What other file systems are told of a store, such as where references lead to, is any URL of it."""
    for url in (f"sqlite:///{tmp_path}/data.db", f"zarrv3://sqlite:///{tmp_path}/data.db"):
        fsspec.filesystem("zarrv3", store=url).pipe_file("k", b"v")
        assert fsspec.open(f"{url}|zarr3:k").open().read() == b"v"


def test_nothing_has_to_be_imported(tmp_path: Path) -> None:
    """A program that imports zarr-python alone opens a URL."""
    url = f"sqlite:///{tmp_path}/x.db"
    code = f"import zarr; zarr.create_array('{url}', shape=3, dtype='i4')[:] = 1; print(zarr.open('{url}')[:].sum())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"


def test_fsspec_keeps_its_names() -> None:
    """No scheme of ours is one that fsspec knows already."""
    module = sys.modules["fsspec.registry"]  # `fsspec.registry` is a table in it
    theirs = runpy.run_path(str(module.__file__))["known_implementations"]
    points = distribution("zarrv3-bridge-fsspec").entry_points.select(group="fsspec.specs")
    assert not {point.name for point in points} & {*theirs}
    for point in points:
        assert fsspec.get_filesystem_class(point.name) is point.load()
        assert point.name in point.load().protocol
