"""Groups that are opened by their consolidated metadata."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Array, Counting, Group, MemoryStore
from zarrv3.errors import (
    MetadataError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    StaleMetadataWarning,
    UnknownExtensionError,
    ZarrError,
)
from zarrv3.hierarchy.consolidated import MEMBER, ConsolidatedMetadataStore

PATHS = ["a", "a/b", "a/b/c", "d", "d/e", "naïve name"]


@pytest.fixture
def store() -> MemoryStore:
    """A consolidated hierarchy."""
    store = MemoryStore()
    root = zarrv3.group(store, attributes={"top": 1})
    root.create_array("a/b/x", data=np.arange(10), chunks=3, attributes={"unit": "m"})
    root.create_group("e")
    zarrv3.consolidate_metadata(store)
    return store


def with_member(store: MemoryStore, value: Any) -> MemoryStore:
    """The store with something else as consolidated metadata."""
    store["zarr.json"] = json.dumps({**json.loads(store["zarr.json"]), MEMBER: value}).encode()
    return store


def test_one_read_opens_the_tree(store: MemoryStore) -> None:
    """Whatever is asked about nodes costs the one read of the group's document, and no listing."""
    counting = Counting(store)
    group = zarrv3.open_group(counting, mode="r")
    assert [path for path, _ in group.members(None)] == ["a", "a/b", "a/b/x", "e"]
    assert repr(group.tree()).count("\n") == 4
    assert group["a/b/x"].attrs["unit"] == "m"
    assert next(iter(group["a"]["b"].arrays()))[1].shape == (10,)
    assert (group.attrs["top"], len(group), "e" in group, "f" in group) == (1, 2, True, False)
    assert "No. groups" in repr(group.info)
    group["a/b"].refresh()
    assert dict(counting.calls) == {"get_many": 1}
    assert dict(counting.requested) == {"get_many": 1}
    assert group["a/b/x"][...].tolist() == [*range(10)]
    assert dict(counting.requested) == {"get_many": 5}


def test_when_it_is_used(store: MemoryStore) -> None:
    """`None` uses it for reading where it is, `False` never, `True` demands it; only documents that are not read show it."""
    with pytest.warns(StaleMetadataWarning, match="a node was created below"):
        zarrv3.create_group(store, path="new")
    for opened, names in [
        (zarrv3.open(store, mode="r"), ["a", "e"]),
        (zarrv3.open_group(store, mode="r"), ["a", "e"]),
        (zarrv3.open_consolidated(store), ["a", "e"]),
        (zarrv3.open(store), ["a", "e", "new"]),
        (zarrv3.open_group(store, mode="r+"), ["a", "e", "new"]),
        (zarrv3.open(store, use_consolidated=False), ["a", "e", "new"]),
        (zarrv3.open(zarrv3.open_consolidated(store), use_consolidated=False), ["a", "e", "new"]),
        (zarrv3.open_group(zarrv3.open_consolidated(store), path="a", use_consolidated=True), ["b"]),
    ]:
        assert [*opened] == names
    assert [*zarrv3.open(store, path="new")] == []
    for path in ("new", "a"):
        with pytest.raises(MetadataError, match=f"no consolidated metadata in '{path}/zarr.json'"):
            zarrv3.open_group(store, path=path, use_consolidated=True)
    with pytest.raises(NodeTypeError):
        zarrv3.open(store, path="a/b/x", use_consolidated=True)
    with pytest.raises(NodeNotFoundError):
        zarrv3.open(MemoryStore(), use_consolidated=True)
    with pytest.raises(NodeNotFoundError):
        zarrv3.open_group({}, mode="a", use_consolidated=True)


def test_documents_cannot_be_changed(store: MemoryStore) -> None:
    """Whatever would make the metadata stale is refused with a way out, and changes nothing; data are written."""
    group = zarrv3.open_group(store, mode="r+", use_consolidated=True)
    array = group["a/b/x"]
    assert isinstance(array, Array)
    before = dict(store.items())
    for change in (
        lambda: group.attrs.update(b=2),
        lambda: array.attrs.update(b=2),
        lambda: group.create_group("new"),
        lambda: group.create_array("new/x", data=[1]),
        lambda: group.create_array("a/b/x", data=[1], overwrite=True),
        lambda: group.__setitem__("new", [1]),
        lambda: group.__delitem__("a"),
        group.clear,
        lambda: group.move("a/b", "new"),
        lambda: array.append([1]),
        lambda: array.resize(2),
        group.store.clear,
        lambda: group.store.rename_prefix("a/b/x/", "y/"),
        lambda: group.store.erase_prefix("a/b/x/"),
        lambda: group.store.write_many({"a/zarr.json": None}),
        lambda: group.store.apply_many({"a/zarr.json": None}),
        lambda: group.store.swap_many(
            {"a/zarr.json": (group.store.get_versioned(["a/zarr.json"])[0][1], None)}
        ),
    ):
        with pytest.raises(ReadOnlyError, match="use_consolidated=False"):
            change()
        assert dict(store.items()) == before
    array[2:5] = 7
    group.store.apply_many({"a/b/x/c/3": None})
    group.store.rename_prefix("a/b/x/c/", "a/b/x/moved/")
    group.store.rename_prefix("a/b/x/moved/", "a/b/x/c/")
    assert zarrv3.open_array(store, path="a/b/x")[...].tolist() == [0, 1, 7, 7, 7, 5, 6, 7, 8, 0]
    group.store.erase_prefix("a/b/x/c/")
    assert not array[...].any()


def test_consolidating_again_is_one_call(store: MemoryStore) -> None:
    """It works through a group that was opened by stale metadata, and sees the documents themselves."""
    group = zarrv3.open_consolidated(store)
    with pytest.warns(StaleMetadataWarning):
        zarrv3.create_group(store, path="a/new")
    assert "a/new" not in group
    zarrv3.consolidate_metadata(group)
    assert "a/new" in zarrv3.open_consolidated(store)


def test_listings_tell_what_is_stale(store: MemoryStore) -> None:
    """A listing that meets documents that came or went says so once; it shows the consolidated ones."""
    group = zarrv3.open_group(store, mode="r")
    assert sorted(group.store) == sorted(store)
    assert group["a/b/x"].nchunks_initialized == 4
    assert group.store.getsize("a/b/x/c") == store.getsize("a/b/x/c")
    del store["e/zarr.json"]
    store["f/zarr.json"] = b"{}"
    store["note"] = b"of nobody"
    with pytest.warns(StaleMetadataWarning, match="are stale: /e vanished, /f appeared;"):
        listed = [*group.store.list_prefix("")]
    assert sorted(listed) == sorted({*store, "e/zarr.json"} - {"f/zarr.json", "note"})
    with pytest.warns(StaleMetadataWarning, match="/e vanished"):
        assert [key for key, _ in group.store.list_sizes("e/")] == ["e/zarr.json"]
    del store["a/b/x/zarr.json"]
    with pytest.warns(StaleMetadataWarning, match="/a/b/x vanished"):
        assert sorted(group.store.list_dir("a/b/x/")) == ["a/b/x/c/", "a/b/x/zarr.json"]
    assert group.store["note"] == b"of nobody"
    size, nothing = group.store.stat_many(["e/zarr.json", "f/zarr.json"])
    assert (size, nothing) == (len(group.store["e/zarr.json"]), None)
    assert [*group.store.list_dir("nothing/")] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"kind": "inline"}, "metadata must be an object"),
        ({"kind": "inline", "metadata": []}, "metadata must be an object"),
        ({"kind": "inline", "metadata": {"a": 1}}, "'a' without a Zarr V3 document"),
        ({"kind": "inline", "metadata": {"a": {"zarr_format": 2}}}, "'a' without a Zarr V3 document"),
        ({"kind": "inline", "metadata": {"a": {"zarr_format": 3}}}, "'a' with a node_type"),
        ({"kind": "inline", "metadata": {"": {"zarr_format": 3, "node_type": "group"}}}, "not the path of a node"),
        ({"kind": "inline", "metadata": {"../b": {"zarr_format": 3, "node_type": "group"}}}, "not the path of a node"),
        ({"kind": "inline", "metadata": {"/b": {"zarr_format": 3, "node_type": "group"}}}, "not the path of a node"),
        (
            {"kind": "inline", "metadata": {p: {"zarr_format": 3, "node_type": "array"} for p in ("b", "b/c")}},
            "below an array",
        ),
    ],
)  # fmt: skip
def test_malformed(store: MemoryStore, value: Any, text: str) -> None:
    """What is not as it should be is an error that names the key; without consolidated metadata the group opens."""
    with_member(store, value)
    with pytest.raises(MetadataError, match=rf"(?s)zarr.json.*{text}"):
        zarrv3.open_group(store, mode="r")
    with pytest.raises(MetadataError, match="use_consolidated=False"):
        zarrv3.open_group(store, mode="r")
    assert [*zarrv3.open_group(store, use_consolidated=False)] == ["a", "e"]


def test_other_kinds(store: MemoryStore) -> None:
    """A kind that is not known is passed over if its writer allows it, and `null` means that there is none."""
    for value in (None, {"kind": "elsewhere", "must_understand": False}):
        with_member(store, value)
        assert zarrv3.open_group(store, mode="r").store is store
        with pytest.raises(MetadataError, match="no consolidated metadata"):
            zarrv3.open_consolidated(store)
    with pytest.raises(UnknownExtensionError, match="elsewhere"):
        zarrv3.open_group(with_member(store, {"kind": "elsewhere"}), mode="r")


def test_nested_metadata_of_other_writers(store: MemoryStore) -> None:
    """Nodes that stand only in a nested group's own consolidated metadata are found, and NaN is accepted."""
    entries = json.loads(store["zarr.json"])[MEMBER]["metadata"]
    array = {**entries["a/b/x"], "data_type": "float64", "fill_value": float("nan")}
    inner = {"kind": "inline", "must_understand": False, "metadata": {"x": array}}
    entries = {
        "a": {**entries["a"], MEMBER: {"kind": "inline", "metadata": {}}},
        "b": {**entries["a"], MEMBER: inner},
    }
    group = zarrv3.open_group(with_member(store, {"kind": "inline", "metadata": entries}), mode="r")
    assert [path for path, _ in group.members(None)] == ["a", "b", "b/x"]
    assert np.isnan(group["b/x"].fill_value)
    assert group["a"].metadata.consolidated_metadata is None


def test_a_document_within_that_is_unreadable(store: MemoryStore) -> None:
    """Only the node concerned raises, naming its key."""
    entries = json.loads(store["zarr.json"])[MEMBER]["metadata"]
    entries["a/b/x"]["data_type"] = "unheard of"
    group = zarrv3.open_group(with_member(store, {"kind": "inline", "metadata": entries}), mode="r")
    assert [*group["a"].keys()] == ["b"]
    with pytest.raises(UnknownExtensionError, match=r"'a/b/x/zarr\.json'"):
        _ = group["a/b/x"]


def test_groups_below_the_root(store: MemoryStore) -> None:
    """A group below has consolidated metadata of its own; what lies beside it is not concerned."""
    with pytest.warns(StaleMetadataWarning):
        zarrv3.create_group(store, path="a/beside")
    zarrv3.consolidate_metadata(store, "a/b")
    group = zarrv3.open_group(store, path="a/b", use_consolidated=True)
    assert (group.path, [*group], group["x"].path) == ("a/b", ["x"], "a/b/x")
    layer = group.store
    assert sorted(layer.list_dir("")) == sorted(store.list_dir(""))
    assert sorted(layer) == sorted(store)
    layer["beside"] = b"1"
    layer.erase_prefix("e/")
    layer["e/zarr.json"] = b"{}"
    for folder in ("", "a/", "a/b/", "a/b/new/"):
        with pytest.raises(ReadOnlyError):
            layer.erase_prefix(folder)
    copy = pickle.loads(pickle.dumps(group))
    assert (copy == group, copy.store == layer) == (True, True)


def test_an_array_as_the_only_node() -> None:
    """A store whose root is an array has no consolidated metadata."""
    store = MemoryStore()
    zarrv3.create_array(store, shape=3)
    assert zarrv3.open(store, mode="r").store is store
    with pytest.raises(NodeTypeError):
        _ = ConsolidatedMetadataStore(store).documents
    with pytest.raises(zarrv3.errors.ConfigurationError, match="zmetadata"):
        ConsolidatedMetadataStore(store, "meta/root/consolidated/.zmetadata")


@given(st.lists(st.sampled_from(PATHS), unique=True), st.data())
def test_like_the_documents_themselves(paths: list[str], data: st.DataObject) -> None:
    """Whatever the hierarchy, a group opened by its consolidated metadata shows what one opened without them shows."""
    root = zarrv3.group()
    for path in paths:
        try:
            if data.draw(st.booleans()):
                root.create_array(path, data=np.arange(3), chunks=2, attributes={"p": path})
            else:
                root.create_group(path, attributes={"p": path})
        except zarrv3.errors.NodeError:
            continue
    zarrv3.consolidate_metadata(root)
    plain, seen = (zarrv3.open_group(root.store, use_consolidated=use) for use in (False, True))
    expected = {path: node.metadata for path, node in plain.members(None)}
    assert {path: node.metadata for path, node in seen.members(None)} == expected
    assert repr(seen.tree()) == repr(plain.tree())
    assert sorted(seen.store) == sorted(plain.store)
    assert {key for key, _ in seen.store.list_sizes("")} == {*plain.store}
    for folder in {"", *(f"{path}/" for path in PATHS)}:
        assert sorted(seen.store.list_dir(folder)) == sorted(plain.store.list_dir(folder))
        assert sorted(seen.store.list_prefix(folder + "c")) == sorted(plain.store.list_prefix(folder + "c"))
    for path in PATHS:
        assert (path in seen) == (path in plain)


def test_failures_are_not_kept(store: MemoryStore) -> None:
    """A layer whose first read failed reads again."""
    layer = ConsolidatedMetadataStore(empty := MemoryStore())
    with pytest.raises(ZarrError):
        _ = layer.documents
    empty.update(dict(store.items()))
    assert layer.documents.arrays == {"a/b/x"}
    with pytest.raises(MetadataError, match=r"no consolidated metadata in 'a/zarr\.json'"):
        _ = ConsolidatedMetadataStore(store, "a").documents
    assert isinstance(zarrv3.open(layer), Group)
