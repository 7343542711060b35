"""`diff`: what is told of two hierarchies, and of an overlay."""

import json
from pathlib import Path

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import ConfigurationError, NodeNotFoundError, UnsupportedError
from zarrv3.layers.counting import Counting
from zarrv3.store.contract import Capabilities
from zarrv3.store.memory import MemoryDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore
from zarrv3_layer_overlay import OverlayLayer
from zarrv3_tools import DiffReport, KeyChange, NodeChange, diff


@pytest.fixture
def base() -> MemoryStore:
    """A group with two arrays, one in a group of its own."""
    store = MemoryStore()
    group = zarrv3.create_group(store)
    group.create_array("x", data=np.arange(1, 13), chunks=3, compressors=None)
    group.create_array("g/y", data=np.arange(1, 5, dtype="u1"), chunks=1, compressors=None)
    return store


def told(report: DiffReport) -> dict[str | None, tuple[object, ...]]:
    """What is told of each node, without bytes."""
    return {n.path: (n.kind, n.document, n.added, n.changed, n.erased) for n in report.nodes}


def change(store: zarrv3.BaseStore) -> None:
    """Add, change and erase all kinds of things."""
    group = zarrv3.open_group(store, mode="r+")
    group["x"][4] = 40  # type: ignore[index]
    group["x"][:3] = 0  # type: ignore[index]  # the fill value: not stored
    group["x"].attrs["mine"] = True
    del group["g"]
    group.create_array("z", data=np.arange(1, 4), chunks=1)
    store["notes.txt"] = b"n"


EXPECTED = {
    "": ("changed", False, 1, 0, 0),
    "x": ("changed", True, 0, 1, 1),
    "g": ("erased", True, 0, 0, 0),
    "g/y": ("erased", True, 0, 0, 4),
    "z": ("added", True, 3, 0, 0),
}


def test_two_hierarchies(base: MemoryStore) -> None:
    """What was added, changed and erased is told for each node, with its chunks and bytes; nothing of what is the same."""
    other = MemoryStore(dict(base))
    assert not diff(base, other)
    change(other)
    report = diff(base, other)
    assert report
    assert told(report) == EXPECTED
    y = next(node for node in report.nodes if node.path == "g/y")
    assert (y.before, y.now) == (4 + len(base["g/y/zarr.json"]), 0)
    assert KeyChange("changed", "x/c/1", 24, 24) in report.keys
    assert [change.key for change in report.keys] == sorted(change.key for change in report.keys)
    back = {path: (n[0], n[1], n[4], n[3], n[2]) for path, n in told(diff(other, base)).items()}
    turned = {"added": "erased", "erased": "added", "changed": "changed"}
    assert back == {path: (turned[str(n[0])], *n[1:]) for path, n in EXPECTED.items()}


def test_an_overlay(base: MemoryStore) -> None:
    """Of an overlay the same is told, without a listing of its base and without reading more than what is on top."""
    below = Counting(base)
    overlay = OverlayLayer(MemoryStore(), base=below)
    assert not diff(overlay)
    change(overlay)
    expected = diff(base, overlay)
    below.reset()
    report = diff(overlay)
    assert report == expected
    assert told(report) == EXPECTED
    assert below.calls["list_prefix"] == 0
    assert below.bytes_read < 1500
    assert told(diff(zarrv3.Prefix(overlay, "g"))) == {
        "": ("erased", True, 0, 0, 0),
        "y": ("erased", True, 0, 0, 4),
    }
    assert told(diff(overlay, path="x")) == {"": EXPECTED["x"]}
    overlay["x/c/1"] = base["x/c/1"]  # written, and the same
    assert told(diff(overlay, path="x")) == {"": ("changed", True, 0, 0, 1)}


def test_places_within(base: MemoryStore) -> None:
    """Nodes at different paths are compared as if they were at one."""
    zarrv3.copy(base, base, source_path="x", dest_path="copies/x")
    assert not diff(base, base, path="x", new_path="copies/x")
    zarrv3.open_array(base, path="copies/x", mode="r+")[0] = 9
    assert told(diff(zarrv3.open_array(base, path="x"), zarrv3.open_array(base, path="copies/x"))) == {
        "": ("changed", False, 0, 1, 0)
    }


def test_documents_that_mean_the_same(base: MemoryStore) -> None:
    """However a document is written, it is the same as long as it says the same; what is not JSON is compared as it is."""
    other = MemoryStore(dict(base))
    for key in [key for key in other if key.endswith("zarr.json")]:
        other[key] = json.dumps(json.loads(other[key]), indent=7, sort_keys=True).encode()
    assert not diff(base, other)
    other["zarr.json"] = b"damaged"
    assert told(diff(base, other)) == {"": ("changed", True, 0, 0, 0)}


def test_keys_of_no_node() -> None:
    """Keys that no node is around are told together."""
    report = diff({"a/k": b"1", "same": b""}, {"a/k": b"2", "same": b"", "b/c": b""})
    assert report.nodes == (
        NodeChange(path=None, kind="changed", document=False, added=1, changed=1, erased=0, before=1, now=1),
    )


def test_what_cannot_be_compared(base: MemoryStore, tmp_path: Path) -> None:
    """A store alone that is not an overlay, a path where nothing is, and a store that cannot list are errors."""
    with pytest.raises(ConfigurationError, match="not an overlay"):
        diff(base)
    with pytest.raises(NodeNotFoundError, match="none"):
        diff(base, base, path="x", new_path="none")
    with pytest.raises(NodeNotFoundError):
        diff(str(tmp_path / "typo"), base)
    driver = MemoryDriver(dict(base))
    driver.capabilities = Capabilities()
    with pytest.raises(UnsupportedError):
        diff(base, DriverStore(driver))
    assert not [*tmp_path.iterdir()]
