"""User attributes: a mapping that is written through, of which no change is lost."""

import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import Capabilities, Counting, Group, Layer, MemoryStore
from zarrv3.errors import MetadataError, NodeNotFoundError


@pytest.fixture
def group() -> Group:
    """A group with two attributes."""
    return zarrv3.create_group(attributes={"a": 1, "b": {"c": [1, 2]}})


def stored(group: Group) -> Any:
    """The attributes in the document."""
    return json.loads(group.store["zarr.json"])["attributes"]


def test_mapping(group: Group) -> None:
    """Everything a dict does works and is written at once."""
    attrs = group.attrs
    attrs["x"] = None
    attrs.update({"y": 2}, z="é")
    del attrs["a"]
    assert attrs.pop("y") == 2
    assert attrs.setdefault("w", []) == []
    assert attrs == {"b": {"c": [1, 2]}, "x": None, "z": "é", "w": []}
    assert stored(group) == attrs.asdict()
    assert "x" in attrs
    assert "nope" not in attrs
    assert len(attrs) == 4
    assert repr(attrs).startswith("<Attributes {")
    attrs.put({"only": 1})
    assert stored(group) == {"only": 1}
    attrs.clear()
    assert stored(group) == {}
    with pytest.raises(KeyError):
        attrs["gone"]
    with pytest.raises(KeyError):
        del attrs["gone"]


def test_costs() -> None:
    """Several attributes at once cost one read and one write; reading them costs nothing; no change, no write."""
    counting = Counting(MemoryStore())
    group = zarrv3.create_group(counting)
    counting.reset()
    group.update_attributes({"a": 1, "b": 2})
    assert counting.calls == {"get_versioned": 1, "swap_many": 1}
    group.attrs["a"] = 1
    assert counting.calls == {"get_versioned": 2, "swap_many": 1}
    assert group.attrs["a"] == 1
    assert counting.calls["get_versioned"] == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, b"x", {1: 2}, object(), [math.nan]])
def test_what_json_cannot_hold(group: Group, value: Any) -> None:
    """Other values are refused and nothing is changed."""
    before = group.store["zarr.json"]
    for change in (
        lambda: group.attrs.__setitem__("x", value),
        lambda: group.attrs.put({"ok": 1, "x": value}),
    ):
        with pytest.raises(MetadataError):
            change()
    assert group.store["zarr.json"] == before
    assert "x" not in group.attrs


def test_nan_of_other_writers(group: Group) -> None:
    """Bare NaN that another writer put into attributes stays while everything else about the nodes changes."""
    group.attrs["b"] = "?"
    array = group.create_array("a", data=[1, 2], chunks=2, attributes={"bad": "?", "ok": 1})
    for key in ("zarr.json", "a/zarr.json"):
        group.store[key] = bytes(group.store[key]).replace(b'"?"', b'{"c": [NaN, -Infinity]}')
    array.append([3])
    array.resize(5)
    array.attrs["ok"] = 2
    array.attrs.update(array.attrs.asdict())
    group.attrs["new"] = 1
    group.move("a", "b")
    zarrv3.consolidate_metadata(group.store)
    quick = zarrv3.open_consolidated(group.store)
    assert json.dumps(quick["b"].attrs.asdict()) == '{"bad": {"c": [NaN, -Infinity]}, "ok": 2}'
    assert json.dumps(quick.attrs["b"]) == '{"c": [NaN, -Infinity]}'
    assert group["b"][:].tolist() == [1, 2, 3, 0, 0]


def test_values_are_copies(group: Group) -> None:
    """Changing what was read, or what was set, changes nothing unnoticed."""
    group.attrs["b"]["c"].append(3)
    group.attrs.asdict()["b"].clear()
    given = {"list": [1]}
    group.attrs.update(given)
    given["list"].append(2)
    assert group.attrs.asdict() == {"a": 1, "b": {"c": [1, 2]}, "list": [1]}
    assert stored(group) == group.attrs.asdict()


def test_attributes_may_have_the_names_of_metadata() -> None:
    """An attribute called `filters` is an attribute, and `put` leaves the caller's dict alone."""
    array = zarrv3.zeros(3)
    given = {"filters": [1], "shape": 9}
    array.attrs.put(given)
    assert given == {"filters": [1], "shape": 9}
    assert zarrv3.open_array(array.store)[...].shape == (3,)


class NoSwap(Layer):
    """A store that cannot swap atomically."""

    kind = "no-swap"

    @property
    def capabilities(self) -> Capabilities:
        """What is left."""
        return self.inner.capabilities.without("swap")


@pytest.mark.parametrize("layer", [Layer, NoSwap])
def test_threads_lose_nothing(layer: Any) -> None:
    """Many objects set attributes of one node at once: all of them are there in the end."""
    store = layer(MemoryStore())
    zarrv3.create_group(store)

    def work(number: int) -> None:
        group = Group(store)
        for step in range(5):
            group.attrs[f"{number}-{step}"] = step

    with ThreadPoolExecutor(8) as pool:
        [*pool.map(work, range(8))]
    assert len(Group(store).attrs) == 40


def test_processes_lose_nothing(tmp_path: Path) -> None:
    """Two processes set attributes of one node at once: all of them are there in the end."""
    zarrv3.create_group(str(tmp_path))
    program = "import sys, zarrv3\ng = zarrv3.open_group(sys.argv[1])\nfor i in range(20): g.attrs[sys.argv[2] + str(i)] = i"
    workers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "ab"]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(zarrv3.open_group(str(tmp_path)).attrs) == 40


def test_a_node_that_is_gone(group: Group) -> None:
    """Setting an attribute of an erased node does not bring it back."""
    group.store.clear()
    with pytest.raises(NodeNotFoundError, match="any more"):
        group.attrs["x"] = 1
    assert not [*group.store]
