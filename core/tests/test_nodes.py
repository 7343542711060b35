"""Documents in stores: what is there, what may be created, and what is said when something else is there."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import zarrv3
from zarrv3 import Capabilities, Counting, Layer, MemoryStore, ReadOnly, hookimpl
from zarrv3.errors import (
    MetadataError,
    NodeExistsError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    UnknownExtensionError,
    UnsupportedError,
)
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.opening import hooks

GROUP = GroupMetadata.create()
ARRAY = ArrayMetadata.create(shape=(3,), data_type="int8")


def snapshot(store: Any) -> dict[str, bytes]:
    """All keys with their values."""
    return dict(store.items())


# ---------------------------------------------------------------- creating


def test_creating_makes_the_groups_above() -> None:
    """A deep path brings the groups above into being; what is there already is left alone."""
    store = MemoryStore()
    zarrv3.create_group(store, attributes={"mine": 1})
    nodes.create(store, "a/b/c", ARRAY)
    assert sorted(store) == ["a/b/c/zarr.json", "a/b/zarr.json", "a/zarr.json", "zarr.json"]
    assert zarrv3.open_group(store).attrs["mine"] == 1
    assert isinstance(nodes.find(store, "a/b"), GroupMetadata)


def test_costs_of_creating() -> None:
    """A node costs one read and one write for each document; many nodes are read and written in one batch each."""
    counting = Counting(MemoryStore())
    nodes.create(counting, "a/b", ARRAY)
    assert counting.calls == {"get_many": 1, "swap_many": 3}
    counting.reset()
    nodes.create(counting, "a/c", ARRAY)
    assert counting.calls == {"get_many": 1, "swap_many": 1}
    counting.reset()
    nodes.create_many(counting, {f"a/d{number}": ARRAY for number in range(50)})
    assert counting.calls == {"get_many": 1, "swap_many": 1}


@pytest.mark.parametrize("above", [ARRAY, None])
def test_nothing_lies_below_an_array(above: Any) -> None:
    """Creating below an array, stored or about to be, is refused and creates nothing."""
    store = MemoryStore()
    new = {"a/b/c": GROUP}
    if above is None:
        new["a"] = ARRAY  # type: ignore[assignment]
    else:
        nodes.create(store, "a", above)
    before = snapshot(store)
    with pytest.raises(NodeTypeError, match=r"/a in .*array; no node can lie below it"):
        nodes.create_many(store, new)
    assert snapshot(store) == before


@pytest.mark.parametrize("there", [GROUP, ARRAY, b"no json"])
def test_existing_nodes_are_kept_unless_overwritten(there: Any) -> None:
    """What is there, readable or not, is an error that says how to replace it; replacing erases all of it."""
    store = MemoryStore()
    store["x/zarr.json"] = there if isinstance(there, bytes) else nodes.dump_document(there.to_document())
    store["x/c/0"] = store["x/y/zarr.json"] = store["xy/zarr.json"] = b"1"
    store["zarr.json"] = nodes.dump_document(GROUP.to_document())
    before = snapshot(store)
    with pytest.raises(NodeExistsError, match=r"at /x in .*overwrite=True"):
        nodes.create(store, "x", ARRAY)
    assert snapshot(store) == before
    nodes.create(store, "x", ARRAY, overwrite=True)
    assert sorted(store) == ["x/zarr.json", "xy/zarr.json", "zarr.json"]


def test_one_creator_wins() -> None:
    """Of many threads that create one node at once, exactly one succeeds."""
    store = MemoryStore()

    def work(number: int) -> bool:
        try:
            nodes.create(store, "a/b/x", GroupMetadata.create({"by": number}))
        except NodeExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 1


def test_overwriting_where_nothing_can_be_erased() -> None:
    """A store that cannot erase refuses to replace a node rather than leave its chunks behind."""

    class NoErase(Layer):
        kind = "no-erase"

        @property
        def capabilities(self) -> Capabilities:
            return self.inner.capabilities.without("erase")

    store = NoErase(MemoryStore())
    nodes.create(store, "x", ARRAY, overwrite=True)
    before = snapshot(store)
    with pytest.raises(UnsupportedError, match="cannot erase"):
        nodes.create(store, "x", GROUP, overwrite=True)
    assert snapshot(store) == before


def test_read_only_store() -> None:
    """Nothing is created in a read-only store."""
    inner = MemoryStore()
    with pytest.raises(ReadOnlyError, match="/x"):
        nodes.create(ReadOnly(inner), "x", GROUP)
    assert not [*inner]


# ---------------------------------------------------------------- finding


def test_costs_of_looking() -> None:
    """Opening costs one call, listing a group two."""
    counting = Counting(MemoryStore())
    nodes.create_many(counting, {f"g/{number}": ARRAY for number in range(20)})
    for act, calls in (
        (lambda: zarrv3.Array(counting, "g/1"), {"get_many": 1}),
        (lambda: zarrv3.open_array(counting, path="g/1"), {"get_many": 1}),
        (lambda: zarrv3.open(counting, path="g"), {"get_many": 1}),
        (lambda: zarrv3.open_group(counting, path="g", mode="r"), {"get_many": 1}),
        (lambda: [*zarrv3.Group(counting, "g", metadata=GROUP).keys()], {"list_dir": 1, "stat_many": 1}),
        (lambda: [*zarrv3.Group(counting, "g", metadata=GROUP).members()], {"list_dir": 1, "get_many": 1}),
        (lambda: zarrv3.Group(counting, "g", metadata=GROUP).info, {"list_dir": 1, "get_many": 1}),
    ):
        counting.reset()
        act()
        assert counting.calls == calls


BROKEN = {
    "truncated": b'{"zarr_format": 3, "node_type": "array"',
    "not text": b"\xff\xfe\x00",
    "empty": b"",
    "a list": b"[]",
    "too deep": b"[" * 1_000_000,
    "deep": b'{"zarr_format": 3, "node_type": "group", "attributes": '
    + b'{"a":' * 100_000
    + b"1"
    + b"}" * 100_001,
    "another version": b'{"zarr_format": 4, "node_type": "array"}',
    "no type": b'{"zarr_format": 3}',
    "half": b'{"zarr_format": 3, "node_type": "array", "shape": [1]}',
}


@pytest.mark.parametrize("document", BROKEN.values(), ids=BROKEN)
def test_malformed_documents(document: bytes) -> None:
    """A document that is none is an error that names its key; its neighbours and its name stay visible."""
    store = MemoryStore()
    group = zarrv3.open_group(store)
    group.create_group("good")
    store["bad/zarr.json"] = document
    for act in (lambda: group["bad"], lambda: zarrv3.open(store, path="bad"), lambda: [*group.members()]):
        with pytest.raises(MetadataError, match=r"bad/zarr\.json"):
            act()
    with pytest.raises(MetadataError, match=r"bad/zarr\.json"):
        group.create_array("bad/x", shape=1)
    assert [*group] == ["bad", "good"]
    assert "bad" in group
    assert "(unreadable)" in repr(group.tree())
    assert "good" in repr(group.info)
    del group["bad"]
    assert [*group] == ["good"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"data_type": "floaty"}, "floaty"),
        ({"codecs": [{"name": "bytes"}, {"name": "acme.zip"}]}, r"codecs\[1\].*acme\.zip"),
        ({"storage_transformers": [{"name": "acme.mix"}]}, r"acme\.mix"),
        ({"chunk_grid": {"name": "acme.grid"}}, r"acme\.grid"),
        ({"shape": [-1]}, r"shape\[0\]"),
        ({"shape": [2**64]}, r"shape\[0\]"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0]}}}, "chunk"),
        ({"fill_value": "x"}, "fill_value"),
        ({"news": 1}, "news"),
    ],
)
def test_unfit_documents(change: dict[str, Any], text: str) -> None:
    """An array that cannot be understood is not opened; the error names the part and, for the unknown, what is unknown."""
    store = MemoryStore()
    store["zarr.json"] = json.dumps({**ARRAY.to_document(), **change}).encode()
    with pytest.raises(MetadataError, match=text) as caught:
        zarrv3.open_array(store)
    if "acme" in text or "floaty" in text or "news" in text:
        assert isinstance(caught.value, UnknownExtensionError)


@pytest.mark.usefixtures("without_sharding")
def test_codec_with_a_package_says_how_to_install_it() -> None:
    """A codec that a package of ours provides is named with its `pip install` line."""
    store = MemoryStore()
    store["zarr.json"] = json.dumps(
        {**ARRAY.to_document(), "codecs": [{"name": "sharding_indexed"}]}
    ).encode()
    with pytest.raises(UnknownExtensionError, match="pip install zarrv3-transformer-sharding"):
        zarrv3.open_array(store)


# ---------------------------------------------------------------- other formats


@pytest.mark.parametrize("name", [".zarray", ".zgroup"])
def test_version_2_is_recognised(name: str) -> None:
    """Where Zarr version 2 lies the error says so."""
    store = MemoryStore({f"x/{name}": b"{}"})
    with pytest.raises(NodeNotFoundError, match="Zarr version 2"):
        zarrv3.open(store, path="x", mode="r")


DRAFT = b'{"zarr_format": "https://purl.org/zarr/spec/protocol/core/3.0", "metadata_encoding": "x", "extensions": []}'


def test_the_draft_is_recognised() -> None:
    """Where the draft V3 format lies, root or below, the error says what to install."""
    store = MemoryStore({"zarr.json": DRAFT, "meta/root/foo.array.json": b"{}"})
    with pytest.raises(MetadataError, match="pip install zarrv3-layer-draft-v3"):
        zarrv3.open(store, mode="r")
    with pytest.raises(NodeNotFoundError, match=r"draft V3.*zarrv3-layer-draft-v3"):
        zarrv3.open(store, mode="r", path="foo")
    with pytest.raises(MetadataError, match="draft"):
        zarrv3.create_array(store, name="new", shape=1)
    assert len(store) == 2


def test_what_is_recognised_is_opened() -> None:
    """With `auto` the layer that a plugin names is put around the store, or around a folder of it; nothing else changes."""

    class Plugin:
        @hookimpl
        def zarrv3_recognise(self, store: Any, path: str) -> str | None:
            return "prefix:inner|read-only:" if store.get(f"{path}/mark".lstrip("/")) else None

    inner = MemoryStore()
    zarrv3.create_array(inner, name="inner/a", data=[1, 2])
    hooks.register(Plugin(), "test-auto")
    try:
        assert zarrv3.open_array(inner, path="inner/a", auto=True).store is inner
        inner["mark"] = b"!"
        assert zarrv3.open_array(inner, path="a", auto=True)[...].tolist() == [1, 2]
        assert zarrv3.open(inner, auto=True, path="a").read_only
        outer = MemoryStore({f"below/{key}": value for key, value in inner.items()})
        assert [*zarrv3.open_group(outer, path="below", auto=True)] == ["a"]
    finally:
        hooks.unregister("test-auto")


@pytest.fixture
def recogniser() -> Iterator[None]:
    """A plugin that recognises the draft."""

    class Plugin:
        @hookimpl
        def zarrv3_recognise(self, store: Any, path: str) -> str | None:
            return "draft-v3:" if b"purl" in store.get("zarr.json", b"") else None

    hooks.register(Plugin(), "test-recogniser")
    yield
    hooks.unregister("test-recogniser")


def test_a_plugin_recognises_the_draft(recogniser: None) -> None:
    """What a plugin recognises is named by the adapter that opens it."""
    store = MemoryStore({"zarr.json": DRAFT})
    with pytest.raises(MetadataError, match=r"add '\|draft-v3:'"):
        zarrv3.open(store, mode="r")
    with pytest.raises(NodeNotFoundError, match=r"add '\|draft-v3:'"):
        zarrv3.open_array(store, mode="r", path="x")


# ---------------------------------------------------------------- changing


def test_changes_come_on_top_of_each_other() -> None:
    """A change is made to the document as it is by then, not as it was."""
    store = MemoryStore()
    array = zarrv3.zeros(4, store=store)
    other = zarrv3.open_array(store)
    array.attrs["a"] = 1
    other.resize(9)
    array.attrs["b"] = 2
    assert array.shape == (9,)
    assert other.refresh().attrs == {"a": 1, "b": 2}


def test_a_node_that_became_something_else() -> None:
    """Changing an array that has become a group is refused."""
    store = MemoryStore()
    array = zarrv3.zeros(4, store=store)
    zarrv3.create_group(store, overwrite=True)
    with pytest.raises(NodeTypeError, match="has become a group"):
        array.attrs["x"] = 1
