"""zarrita.js reads our groups, attributes, consolidated metadata and any store of ours that is served over HTTP, old formats too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interop_peers import check_same
from interop_zarrita import HAS_NODE, Zarrita, decoded, node

import zarrv3

pytestmark = pytest.mark.skipif(not HAS_NODE, reason="zarrita.js runs in Node, which is not here")

ATTRIBUTES: dict[str, Any] = {"title": "żółw", "levels": [1, 2.5, None, True], "nested": {"a": {"b": []}}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A hierarchy of two groups and an array."""
    root = zarrv3.create_group(str(tmp_path), attributes=ATTRIBUTES)
    data = np.arange(10, dtype="i4")
    root.create_array("a/b/numbers", data=data, chunks=3, attributes={"units": "m"}, dimension_names=["t"])
    return tmp_path


def test_groups(tree: Path) -> None:
    """It opens groups and arrays at every level, with attributes and dimension names."""
    peer = Zarrita()
    assert peer.ask(tree, do="describe") == {"kind": "group", "attributes": ATTRIBUTES, "names": None}
    assert peer.ask(tree, do="describe", path="a")["kind"] == "group"
    found = peer.ask(tree, do="describe", path="a/b/numbers")
    assert found == {"kind": "array", "attributes": {"units": "m"}, "names": ["t"]}


def test_consolidated_metadata(tree: Path) -> None:
    """It opens a tree by the metadata that we consolidated, even where the documents themselves are gone."""
    zarrv3.consolidate_metadata(str(tree))
    for path in ("a", "a/b", "a/b/numbers"):
        (tree / path / "zarr.json").unlink()
    found = Zarrita().ask(tree, do="contents")
    kinds = {entry["path"]: entry["kind"] for entry in found["contents"]}
    assert kinds == {"/": "group", "/a": "group", "/a/b": "group", "/a/b/numbers": "array"}
    assert found["described"]["/"]["attributes"] == ATTRIBUTES
    assert found["described"]["/a/b/numbers"]["names"] == ["t"]


def test_version_2() -> None:
    """It reads data of version 2 as final Zarr V3."""
    array = {
        "zarr_format": 2,
        "shape": [4],
        "chunks": [2],
        "dtype": "<i4",
        "compressor": None,
        "fill_value": 0,
    }
    document = json.dumps({**array, "order": "C", "filters": None}).encode()
    values = np.arange(4, dtype="<i4")
    store = zarrv3.open_store({".zarray": document, "0": values[:2].tobytes(), "1": values[2:].tobytes()})
    check_same(decoded(node().ask(store, do="read")), values)


@pytest.mark.parametrize("kind", ["memory", "zip", "sqlite"])
def test_any_store(kind: str, tmp_path: Path) -> None:
    """What it reads may lie in any store of ours: the server asks the store."""
    urls = {"memory": None, "zip": f"zip://{tmp_path}/a.zip", "sqlite": f"sqlite:///{tmp_path}/a.db"}
    values = np.arange(60, dtype="f8").reshape(6, 10)
    with zarrv3.open_store(urls[kind]) as store:
        zarrv3.create_array(store, name="x", data=values, chunks=(4, 4))
        check_same(decoded(node().ask(store, do="read", path="x")), values)
