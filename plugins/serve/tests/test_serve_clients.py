"""Other libraries read what is served, live, whatever store and format it is in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import obstore
import pytest
import tensorstore
import xarray
import zarr

import zarrv3
from zarrv3_serve import served

VALUES = np.arange(60, dtype="<f8").reshape(6, 10)
SOURCES = ["memory", "sqlite", "zip", "zarr2", "draft"]


def draft() -> dict[str, bytes]:
    """A hierarchy of the draft that zarr-python 2 wrote: the array `x`."""
    uri = "https://purl.org/zarr/spec/protocol/core/3.0"
    array = {
        "shape": [6, 10],
        "data_type": "<f8",
        "chunk_grid": {"type": "regular", "chunk_shape": [6, 10], "separator": "/"},
        "chunk_memory_layout": "C",
        "fill_value": 0,
        "extensions": [],
        "attributes": {"units": "m"},
    }
    root = {"zarr_format": uri, "metadata_encoding": uri, "metadata_key_suffix": ".json", "extensions": []}
    return {
        "zarr.json": json.dumps(root).encode(),
        "meta/root.group.json": b'{"attributes": {}, "extensions": []}',
        "meta/root/x.array.json": json.dumps(array).encode(),
        "data/root/x/c0/0": VALUES.tobytes(),
    }


def zarr2() -> dict[str, bytes]:
    """A hierarchy of version 2: the array `x`."""
    array = {
        "zarr_format": 2,
        "shape": [6, 10],
        "chunks": [6, 10],
        "dtype": "<f8",
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    return {
        ".zgroup": b'{"zarr_format": 2}',
        "x/.zarray": json.dumps(array).encode(),
        "x/.zattrs": b'{"units": "m", "_ARRAY_DIMENSIONS": ["a", "b"]}',
        "x/0.0": VALUES.tobytes(),
    }


@pytest.fixture(params=SOURCES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a server of a store with the array `x`."""
    made: Any = {"draft": draft, "zarr2": zarr2, "memory": dict}.get(request.param)
    places = {"sqlite": f"sqlite:///{tmp_path}/a.db", "zip": f"file://{tmp_path}/a.zip|zip:"}
    with zarrv3.open_store(places[request.param] if made is None else made()) as store:
        if made in {None, dict}:
            names = ("a", "b")
            root = zarrv3.create_group(store)
            root.create_array(
                "x", data=VALUES, chunks=(4, 4), dimension_names=names, attributes={"units": "m"}
            )
        with served(store) as address:
            yield address


def test_clients(url: str) -> None:
    """zarr-python, xarray, TensorStore, fsspec, obstore and zarrv3 itself read the values and attributes."""
    array = zarr.open_array(f"{url}/x", mode="r")
    np.testing.assert_array_equal(np.asarray(array[1:5, ::3]), VALUES[1:5, ::3])
    assert array.attrs["units"] == "m"
    spec = {"driver": "zarr3", "kvstore": {"driver": "http", "base_url": f"{url}/x/"}}
    np.testing.assert_array_equal(
        tensorstore.open(spec, open=True).result()[2:4].read().result(), VALUES[2:4]
    )
    np.testing.assert_array_equal(zarrv3.open_array(f"{url}/x", mode="r")[:], VALUES)
    document = fsspec.filesystem("http").cat(f"{url}/x/zarr.json")
    assert json.loads(document)["shape"] == [6, 10]
    remote = obstore.store.HTTPStore.from_url(url, client_options={"allow_http": True})
    assert bytes(obstore.get(remote, "x/zarr.json").bytes()) == document
    assert bytes(obstore.get_range(remote, "x/zarr.json", start=2, end=9)) == document[2:9]
    assert obstore.head(remote, "x/zarr.json")["size"] == len(document)
    assert [*zarr.open_group(url, mode="r")] == ["x"]  # by listing
    if array.metadata.dimension_names is not None:  # the draft has none
        with xarray.open_zarr(url, consolidated=False) as dataset:
            np.testing.assert_array_equal(dataset["x"].values, VALUES)
