"""What can be written through the layer, and what is refused with nothing changed; version 2 in every kind of store."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrv3
from zarrv3.errors import NodeExistsError, StaleMetadataWarning, StoreAccessError, UnsupportedError
from zarrv3_bridge_xarray import to_zarrv3
from zarrv3_layer_zarr2 import Zarr2
from zarrv3_layer_zarr2.keys import CONSOLIDATES


def test_values_shapes_and_attributes(below: Any) -> None:
    """What is written is version 2, with what did not change as it was."""
    below["g/x/.zattrs"] = b'{"_ARRAY_DIMENSIONS": ["y", "x"], "bad": NaN, "units": "m"}'
    document = json.loads(below["g/x/.zarray"])
    array = zarrv3.open_array(Zarr2(below), path="g/x", mode="r+")
    array[1:3, 1:3] = -1
    array.attrs["units"] = "km"
    array.append(np.full((2, 4), 5), axis=0)
    assert json.loads(below["g/x/.zarray"]) == {**document, "shape": [5, 4]}
    attributes = '{"_ARRAY_DIMENSIONS": ["y", "x"], "bad": NaN, "units": "km"}'
    assert repr(sorted(json.loads(below["g/x/.zattrs"]).items())) == repr(
        sorted(json.loads(attributes).items())
    )
    expected = np.arange(12).reshape(3, 4)
    expected[1:3, 1:3] = -1
    again = zarrv3.open_array(Zarr2(below), path="g/x", mode="r")
    assert again[...].tolist() == [*expected.tolist(), [5] * 4, [5] * 4]
    assert again.metadata.dimension_names == ("y", "x")
    array.resize((2, 2))
    array.resize((3, 4))
    assert array[...].tolist() == [[0, 1, 0, 0], [4, -1, 0, 0], [0] * 4]


def test_attributes_of_groups(below: Any) -> None:
    """A group with a document takes attributes."""
    zarrv3.open_group(Zarr2(below), mode="r+").attrs["new"] = [1]
    assert json.loads(below[".zattrs"]) == {"title": "old", "new": [1]}


REFUSED: dict[str, Callable[[Any], object]] = {
    "create an array": lambda store: zarrv3.create_array(store, name="n", shape=(2,), dtype="i4"),
    "create a group": lambda store: zarrv3.create_group(store, path="g/n"),
    "erase a node": lambda store: zarrv3.open_group(store, mode="r+").__delitem__("g"),
    "overwrite": lambda store: zarrv3.open_group(store, mode="w"),
    "consolidate below": lambda store: zarrv3.consolidate_metadata(store, "g/h"),
    "erase a folder": lambda store: store.erase_prefix("g/"),
    "move a folder": lambda store: store.rename_prefix("g/", "h/"),
    "a hidden key": lambda store: store.write_many({"g/x/.zarray": b"{}"}),
    "another fill value": lambda store: store.write_many(
        {"g/x/zarr.json": bytes(store["g/x/zarr.json"]).replace(b'"fill_value": 0', b'"fill_value": 1')}
    ),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_refused(below: Any, change: Callable[[Any], object]) -> None:
    """What version 2 is not changed in is refused, and nothing is changed."""
    before = dict(below.items())
    with pytest.raises((UnsupportedError, NodeExistsError)):
        change(Zarr2(below))
    assert dict(below.items()) == before


def check_consolidated(below: Any) -> None:
    """Check that `.zmetadata` says what the documents say."""
    held = json.loads(below[".zmetadata"])["metadata"]
    documents = {key: json.loads(below[key]) for key in below if key.rpartition("/")[2] in CONSOLIDATES}
    assert repr(sorted(held.items())) == repr(sorted(documents.items()))


def test_consolidated_metadata_are_written(below: Any) -> None:
    """`.zmetadata` has every document as it is stored, NaN too; twice is the same as once."""
    below["g/x/.zattrs"] = b'{"_ARRAY_DIMENSIONS": ["y", "x"], "bad": NaN}'
    for _ in range(2):
        zarrv3.consolidate_metadata(Zarr2(below))
        check_consolidated(below)
        assert zarrv3.open_group(Zarr2(below), mode="r").metadata.consolidated_metadata is not None


@pytest.mark.parametrize("use", [True, False])
def test_consolidated_metadata_are_not_stale(mixed: Any, use: bool) -> None:
    """Attributes of the root are in `.zmetadata` too; of other nodes a warning says so, and what it advises helps."""
    mixed.consolidate()
    below = zarrv3.MemoryStore(mixed.content)
    store = Zarr2(below, consolidated=use)
    zarrv3.open_group(store, mode="r+").attrs["title"] = "new"
    assert json.loads(below[".zattrs"]) == {"title": "new"}
    check_consolidated(below)
    with nullcontext() if not use else pytest.warns(StaleMetadataWarning, match="consolidate_metadata"):
        zarrv3.open_array(store, path="g/x", mode="r+").append(np.ones((1, 4)))
    zarrv3.consolidate_metadata(store)
    check_consolidated(below)


def test_a_dataset_is_appended_to(tmp_path: Path) -> None:
    """A dataset of version 2 is appended to, with and without consolidated metadata, which zarr-python then uses."""
    for consolidated in (True, False):
        url = f"{tmp_path}/{consolidated}.zarr"
        xr.Dataset({"t": ("x", [1.5, 2.5])}, {"x": [0, 1]}).to_zarr(
            url, zarr_format=2, consolidated=consolidated
        )
        to_zarrv3(xr.Dataset({"t": ("x", [3.5])}, {"x": [2]}), f"{url}|zarr2:", append_dim="x")
        with xr.open_zarr(url, zarr_format=2, consolidated=True) as found:
            assert found["t"].to_numpy().tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize("write", ["write_many", "swap_many"])
def test_chunks_without_fill_value_are_not_erased(writer: Any, write: str) -> None:
    """Where there is no fill value, a chunk of zeros is stored instead, since readers of version 2 find anything in a missing one."""
    compressor = {"id": "zlib", "level": 1}
    writer.array("a/0", np.arange(1, 5, dtype=">i4"), chunks=(2,), fill=None, compressor=compressor)
    writer.array("b", np.arange(1, 5), chunks=(2,))
    below = zarrv3.MemoryStore(writer.content)
    zarrv3.open_array(Zarr2(below), path="a/0", mode="r+")[:2] = 0
    zarrv3.open_array(Zarr2(below), path="b", mode="r+")[:2] = 0
    assert (zlib.decompress(below["a/0/0"]), "b/0" in below) == (bytes(8), False)
    store = Zarr2(below)
    changes = {
        "write_many": {"a/0/1": None},
        "swap_many": {"a/0/1": (store.get_versioned(["a/0/1"])[0][1], None)},
    }
    getattr(store, write)(changes[write])
    assert zarrv3.open_array(store, path="a/0", mode="r")[:].tolist() == [0] * 4
    assert zlib.decompress(below["a/0/1"]) == bytes(8)


def test_objects_without_fill_value_are_not_erased(writer: Any) -> None:
    """Objects that are only read cannot be stored as missing ones either."""
    writer.array("a", np.array(["x"], object), chunks=(1,), filters=[{"id": "json2"}], fill=None)
    with pytest.raises(UnsupportedError, match="no fill value"):
        Zarr2(writer.content).write_many({"a/0": None})


def test_an_append_that_fails_gives_lengths_back(tmp_path: Path) -> None:
    """Wherever a write fails once, the dataset is as before or has all that was appended; xarray writes integers without fill value."""
    xr.Dataset({"t": ("x", [1.5, 2.5])}, {"x": [0, 1]}).to_zarr(tmp_path, zarr_format=2)
    with zarrv3.open_store(tmp_path) as given:
        content = dict(given)
    done = 0
    while True:
        below = FailingOnce(content, done)
        try:
            to_zarrv3(xr.Dataset({"t": ("x", [3.5])}, {"x": [2]}), Zarr2(below), append_dim="x")
        except StoreAccessError:
            assert below.failed
        with xr.open_dataset(Zarr2(below.content), engine="zarrv3", consolidated=False) as found:
            assert found["t"].to_numpy().tolist() in ([1.5, 2.5], [1.5, 2.5, 3.5])
            assert found["x"].to_numpy().tolist() == [0, 1, 2][: found.sizes["x"]]
        if not below.failed:
            break
        done += 1
    assert done >= 5
    assert found.sizes["x"] == 3


class FailingOnce(MutableMapping[str, bytes]):
    """A mapping in which one write fails."""

    def __init__(self, content: Mapping[str, bytes], number: int) -> None:
        self.content, self.left, self.failed = dict(content), number, False

    def __setitem__(self, key: str, value: bytes) -> None:
        self.failed |= (fails := self.left == 0)
        self.left -= 1
        if fails:
            raise OSError("the disk is full")
        self.content[key] = value

    def __getitem__(self, key: str) -> bytes:
        return self.content[key]

    def __delitem__(self, key: str) -> None:
        del self.content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


def test_a_lost_race_is_tried_again(below: Any) -> None:
    """An attribute that somebody else sets between reading and writing is kept."""
    store = Zarr2(below)
    key = "g/x/zarr.json"
    [(document, version)] = store.get_versioned([key])
    zarrv3.open_array(Zarr2(below), path="g/x", mode="r+").attrs["theirs"] = 1
    assert list(store.swap_many({key: (version, document)})) == [key]
    assert json.loads(below["g/x/.zattrs"])["theirs"] == 1


URLS = {
    "directory": "{}/d",
    "zip": "zip://{}/z.zip",
    "sqlite": "sqlite:///{}/s.db",
    "lmdb": "lmdb://{}/l",
    "dbm": "dbm://{}/b",
    "fsspec": "fsspec+file://{}/f",
}


@pytest.mark.parametrize("kind", URLS)
def test_over_every_store(kind: str, mixed: Any, tmp_path: Path) -> None:
    """Version 2 reads the same from every kind of store."""
    url = URLS[kind].format(tmp_path)
    with zarrv3.open_store(url) as below:
        below.update(mixed.content)
    expected = dict(Zarr2(mixed.content).items())
    with zarrv3.open_store(f"{url}|zarr2:") as store:
        assert dict(store.items()) == expected


@pytest.mark.parametrize("kind", ["redis", "mongodb"])
def test_over_servers(kind: str, mixed: Any) -> None:
    """Version 2 in the databases of servers, which the packages of the stores start, reads alike."""
    testing = pytest.importorskip(f"zarrv3_store_{kind}.testing")
    with testing.server() as url:
        with zarrv3.open_store(url) as below:
            below.update(mixed.content)
        with zarrv3.open_store(f"{url}|zarr2:") as store:
            assert dict(store.items()) == dict(Zarr2(mixed.content).items())
