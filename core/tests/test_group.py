"""Groups: a mapping of nodes by name, paths below it, and moving and erasing them."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array, Group, MemoryStore
from zarrv3.errors import (
    InvalidKeyError,
    MetadataError,
    NodeExistsError,
    NodeNameError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
)
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata


@pytest.fixture
def root() -> Group:
    """A hierarchy: a (group) with x and y (arrays) and b (group) with z (array); top (array)."""
    made = zarrv3.group()
    group = made.create_group("a", attributes={"k": 1})
    group.create_array("x", data=np.arange(6))
    group.zeros("y", shape=(2, 2))
    group.create_array("b/z", shape=3, dtype="i1")
    made.ones("top", shape=4)
    return made


def snapshot(store: Any) -> dict[str, bytes]:
    """All keys with their values."""
    return dict(store.items())


def test_mapping(root: Group) -> None:
    """A group is a mapping from names to nodes, sorted by name."""
    assert list(root) == list(root.keys()) == ["a", "top"]
    assert len(root) == 2
    assert [type(node) for node in root.values()] == [Group, Array]
    assert [name for name, _ in root.items()] == ["a", "top"]
    assert "a" in root
    assert "a/b/z" in root
    assert "/a/" in root
    for missing in ("b", "a/q", "", "..", "a//b", 5):
        assert missing not in root or missing == ""
    assert root["a/b/z"].shape == (3,)
    assert root["/a"]["b"]["z"] == root["a/b/z"]
    assert root.get("nope", 5) == 5
    assert root["a"].attrs["k"] == 1
    assert bool(root["a/b"])
    with pytest.raises(KeyError, match="nope"):
        root["nope"]


def test_members(root: Group) -> None:
    """Members are listed to any depth, arrays and groups also apart."""
    assert [name for name, _ in root.members()] == ["a", "top"]
    assert [name for name, _ in root.members(1)] == ["a", "a/b", "a/x", "a/y", "top"]
    everything = ["a", "a/b", "a/b/z", "a/x", "a/y", "top"]
    assert [name for name, _ in root.members(None)] == everything
    assert root.nmembers() == 2
    assert root.nmembers(None) == 6
    assert all(root[name] == node for name, node in root.members(None))
    group = root["a"]
    assert [*group.array_keys()] == [name for name, _ in group.arrays()] == ["x", "y"]
    assert [*group.group_keys()] == [name for name, _ in group.groups()] == ["b"]
    assert [array.name for array in group.array_values()] == ["/a/x", "/a/y"]
    assert [found.name for found in group.group_values()] == ["/a/b"]


def test_tree(root: Group) -> None:
    """The drawing shows names, shapes and data types, to any level."""
    assert str(root.tree()).splitlines() == [
        "/",
        "├── a",
        "│   ├── b",
        "│   │   └── z (3,) int8",
        "│   ├── x (6,) int64",
        "│   └── y (2, 2) float64",
        "└── top (4,) float64",
    ]
    assert str(root.tree(level=1)).splitlines() == ["/", "├── a", "└── top (4,) float64"]
    assert str(root["a/b"].tree()) == str(zarrv3.tree(root.store, "a/b")) == "/a/b\n└── z (3,) int8"


def test_a_tree_of_any_depth() -> None:
    """A hierarchy deeper than Python's calls may be is drawn, listed and consolidated."""
    group = zarrv3.create_group(store := zarrv3.MemoryStore(), path="/".join("a" * 1500))
    group.create_array("x", shape=1, dtype="i1")
    root = zarrv3.open_group(store)
    assert sum("── " in line for line in root.tree().lines()) == len([*root.members(None)]) == 1501
    zarrv3.consolidate_metadata(store)
    *_, last = zarrv3.open_group(store, mode="r").tree().lines()
    assert last.endswith("└── x (1,) int8")


def test_repr_equality_pickle(root: Group) -> None:
    """A group is described in one line, equal to itself opened again, and pickles with its store."""
    assert repr(root["a"]) == f"<zarrv3.Group '/a' in {root.store.describe()}>"
    assert Group(root.store, "a") == root["a"] != root["a/b"]
    copy = pickle.loads(pickle.dumps(root["a"]))
    assert copy["x"][...].tolist() == list(range(6))
    assert copy.attrs == {"k": 1}


# ---------------------------------------------------------------- creating


def test_assigning_values(root: Group) -> None:
    """`group[name] = values` makes an array of them, also of those that are there already; groups are not replaced."""
    root["new/deep"] = np.arange(3, dtype="u1")
    assert root["new/deep"].dtype == "u1"
    root["new/deep"] = [[1.5]]
    assert root["new/deep"][...].tolist() == [[1.5]]
    root["scalar"] = 5
    assert root["scalar"].shape == ()
    root["text"] = ["a", "bc"]
    assert root["text"][...].tolist() == ["a", "bc"]
    root["a/x"] = root["a/x"]
    assert root["a/x"][...].tolist() == list(range(6))
    before = snapshot(root.store)
    with pytest.raises(NodeExistsError, match="is a group"):
        root["a"] = np.zeros(2)
    for value in (None, object(), [object()], {"a": 1}):
        with pytest.raises(ValueError, match=r".+"):
            root["a/x"] = value
    assert snapshot(root.store) == before


def test_creating_with_unfit_data_leaves_nothing(root: Group) -> None:
    """Values that do not fit dtype or shape are refused before anything is created or erased."""
    before = snapshot(root.store)
    for arguments in (
        {"data": ["a"], "dtype": "i4"},
        {"data": np.zeros(3), "shape": (2,)},
        {"data": np.ones(3) * 1j, "dtype": "f4"},
        {"shape": -1},
        {"shape": (2, "x")},
        {"shape": 2, "chunks": 0},
        {"shape": 2, "dtype": "float512"},
        {"shape": 2, "compressors": "nothing-known"},
        {"shape": 2, "fill_value": "x"},
        {"shape": 2, "attributes": {"x": {1}}},
        {"shape": 2, "dimension_names": ["a", "b"]},
        {},
    ):
        with pytest.raises(ValueError, match=r".+"):
            root.create_array("a/x", overwrite=True, **arguments)
    assert snapshot(root.store) == before


def test_existing_nodes(root: Group) -> None:
    """Creating what is there is refused, also a group over an array and the other way round; `overwrite` erases it."""
    before = snapshot(root.store)
    for name in ("a", "a/x"):
        with pytest.raises(NodeExistsError):
            root.create_group(name)
        with pytest.raises(NodeExistsError):
            root.create_array(name, shape=1)
    with pytest.raises(NodeTypeError, match=r"/top .*is an array"):
        root.create_group("top/below")
    with pytest.raises(NodeTypeError, match=r"/a/x .*is an array"):
        root.create_array("a/x/y/z", shape=1)
    assert snapshot(root.store) == before
    root.create_array("a", shape=1, overwrite=True)
    assert [*root.store.list_prefix("a/")] == ["a/zarr.json"]
    root.create_group("top", overwrite=True)
    assert not [*root["top"]]


@pytest.mark.parametrize(
    "name", ["", "/", ".", "..", "...", "__x", "zarr.json", "a//b", "a/../b", "a/./b", "x\0", 5]
)
def test_forbidden_names(root: Group, name: Any) -> None:
    """Names that the specification forbids are refused and nothing is created."""
    before = snapshot(root.store)
    for create in (
        lambda: root.create_group(name),
        lambda: root.create_array(name, shape=1),
        lambda: root.__setitem__(name, 1),
        lambda: root.move("top", name),
        lambda: root.create_hierarchy({name: GroupMetadata.create()}),
    ):
        with pytest.raises((NodeNameError, MetadataError, NodeExistsError, NodeTypeError)):
            create()
    assert snapshot(root.store) == before


@pytest.mark.parametrize(
    "name", ["with space", "ünïcödé", "日本語", "a+b=c:d*?", "-", "_x", "c", "0", "a.b", "A", "\\"]
)
def test_allowed_names(root: Group, name: str) -> None:
    """All other names work, also those that look like chunk keys."""
    root.create_array(f"{name}/{name}", data=[1, 2])
    assert root[name][name][...].tolist() == [1, 2]
    assert name in list(root)
    assert root[name][name].basename == name


def test_require(root: Group) -> None:
    """What is there is returned if it fits, what is not is created, what does not fit is refused."""
    assert root.require_group("a") == root["a"]
    assert root.require_groups("n1/m", "n2")[0].path == "n1/m"
    with pytest.raises(NodeTypeError, match="not a group"):
        root.require_group("top")
    assert not [*root.require_group("a/b", overwrite=True)]
    array = root.require_array("a/x", shape=6, dtype="i4")
    assert array[5] == 5
    assert root.require_dataset("a/x", shape=(6,), dtype="i8", exact=True) == array
    assert root.require_array("fresh", shape=np.int64(3), dtype="u1").shape == (3,)
    assert root.require_array("fresh").shape == (3,)
    for arguments in ({"shape": 5}, {"dtype": "f8"}, {"dtype": "i4", "exact": True}, {"dtype": "U3"}):
        with pytest.raises(NodeTypeError, match=r"/a/x.* does not have the"):
            root.require_array("a/x", **arguments)
    with pytest.raises(NodeTypeError, match="not an array"):
        root.require_array("a", shape=1)


def test_require_from_many_threads() -> None:
    """Many threads require one deep group and array at once: all get the same, none fails."""
    store = MemoryStore()
    zarrv3.group(store)

    def work(_: int) -> tuple[Group, Array]:
        group = Group(store)
        return group.require_group("a/b/c"), group.require_array("a/b/x", shape=3, dtype="i4")

    with ThreadPoolExecutor(16) as pool:
        results = [*pool.map(work, range(16))]
    assert all(result == results[0] for result in results)


def test_create_hierarchy(root: Group) -> None:
    """Many nodes are made at once, all or none of them."""
    array = ArrayMetadata.create(shape=(2,), data_type="int8")
    group = GroupMetadata.create({"x": 1})
    made = dict(root["a"].create_hierarchy(nodes={"h": group, "h/one": array, "i/j/two": array}))
    assert made["h"].attrs["x"] == 1
    assert made["i/j/two"] == root["a/i/j/two"]
    assert isinstance(root["a/i/j"], Group)
    before = snapshot(root.store)
    for nodes in (
        {"new": group, "h/one": array},
        {"p": array, "p/q": group},
        {"top2": group, "x/below": group},
    ):
        with pytest.raises((NodeExistsError, NodeTypeError)):
            root["a"].create_hierarchy(nodes)
    assert snapshot(root.store) == before
    dict(root["a"].create_hierarchy({"h": group}, overwrite=True))
    assert not [*root["a/h"]]


def test_all_kinds_of_arrays(root: Group) -> None:
    """The functions of the top level exist as methods."""
    data = np.arange(4.0)
    assert root.array("p1", data)[...].tolist() == data.tolist()
    assert root.empty("p2", shape=2)[...].tolist() == [0, 0]
    assert root.full("p3", 7, shape=2)[...].tolist() == [7, 7]
    assert root.ones_like("p4", data)[...].tolist() == [1.0] * 4
    assert root.zeros_like("p5", root["p1"])[...].tolist() == [0.0] * 4
    assert root.full_like("p6", data, fill_value=3)[...].tolist() == [3.0] * 4
    assert root.empty_like("p7", data).shape == (4,)
    assert root.create_dataset("p8", shape=2, dtype="i2", compressor=None).compressors == ()


# ---------------------------------------------------------------- erasing and moving


def test_erasing(root: Group) -> None:
    """A node is erased with everything below it and nothing else; what is not there, and the group itself, is refused."""
    root.create_group("a2")
    del root["a"]
    assert [*root] == ["a2", "top"]
    for missing in ("a", "zz/y"):
        with pytest.raises(KeyError, match="nothing was erased"):
            del root[missing]
    for itself in ("", "/"):
        with pytest.raises(MetadataError, match="itself"):
            del root[itself]
    root.clear()
    assert [*root.store] == ["zarr.json"]


def test_moving(root: Group) -> None:
    """A node moves with everything below it, its new groups are made, and its values stay."""
    root.move("a/b", "new/place/b")
    assert [name for name, _ in root["new"].members(None)] == ["place", "place/b", "place/b/z"]
    root.rename("a/x", "x")
    assert root["x"][...].tolist() == list(range(6))
    assert [*root["a"]] == ["y"]


@pytest.mark.parametrize(
    ("source", "dest", "error"),
    [
        ("nope", "z", NodeNotFoundError),
        ("a", "top", NodeExistsError),
        ("a", "a", InvalidKeyError),
        ("a", "a/b/c", InvalidKeyError),
        ("a/b", "a", InvalidKeyError),
        ("a", "top/x", NodeTypeError),
        ("", "z", MetadataError),
        ("a", "", MetadataError),
    ],
)
def test_impossible_moves(root: Group, source: str, dest: str, error: type[Exception]) -> None:
    """A move that cannot be is refused with nothing created on the way."""
    before = snapshot(root.store)
    with pytest.raises(error):
        root.move(source, dest)
    assert snapshot(root.store) == before


def test_read_only(root: Group) -> None:
    """Nothing can be changed through a group that is open for reading, nor through what is opened from it."""
    before = snapshot(root.store)
    shut = zarrv3.open_group(root.store, mode="r")
    for change in (
        lambda: shut.create_group("x"),
        lambda: shut.create_array("x", shape=1),
        lambda: shut.zeros("x", shape=1),
        lambda: shut.require_group("x"),
        lambda: shut.__setitem__("x", 1),
        lambda: shut.__delitem__("a"),
        shut.clear,
        lambda: shut.move("a", "x"),
        lambda: shut.create_hierarchy({"x": GroupMetadata.create()}),
        lambda: shut.attrs.update(x=1),
        lambda: shut["a/x"].__setitem__(0, 1),
        shut["a"].attrs.clear,
        lambda: next(iter(shut["a"].array_values())).resize(1),
        lambda: zarrv3.open_array(shut, path="a/x", mode="r+"),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert zarrv3.open_array(shut, path="a/x").read_only
    assert snapshot(root.store) == before
