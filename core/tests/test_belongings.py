"""What is not Zarr's is not erased, and nothing of ours is written beside other formats."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import MetadataError, NodeExistsError, NodeNotFoundError, StoreAccessError
from zarrv3.hierarchy import belongings
from zarrv3.store.contract import Buffer, Request, Versioned

FOREIGN = {
    "notes.txt": b"n",
    "x/README": b"r",
    "x/c/0/thumbs.db": b"t",
    "photos/2024/11.jpg": b"p",
    "sub/y/raw/1.tif": b"i",
}
"""Keys that belong to no node, at all levels."""


@pytest.fixture(params=["directory", "memory", "sqlite", "zip", "lmdb", "dbm", "fsspec"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> zarrv3.BaseStore:
    """A store of a kind."""
    urls = {
        "directory": f"file://{tmp_path}/d",
        "memory": "memory:",
        "sqlite": f"sqlite:///{tmp_path}/a.db",
        "zip": f"zip://{tmp_path}/a.zip",
        "lmdb": f"lmdb://{tmp_path}/l",
        "dbm": f"dbm://{tmp_path}/b",
        "fsspec": "memory:",
    }
    url = f"fsspec+file://{tmp_path}/f" if request.param == "fsspec" else urls[request.param]
    with zarrv3.open_store(url) as opened:
        yield opened


def filled(store: zarrv3.BaseStore) -> None:
    """A hierarchy with arrays of all forms, and what is not Zarr's between."""
    group = zarrv3.create_group(store)
    group.create_array("x", data=np.ones((4, 4)), chunks=(2, 2))
    group.create_array("dots", data=np.ones(4), chunks=2, dimension_separator=".")
    group.create_array(
        "old", data=np.ones((4, 4)), chunks=2, chunk_key_encoding="v2", dimension_separator="/"
    )
    group.create_array("sub/y", data=np.ones(4), chunks=2, shards=4)
    group.create_array("sub/one", data=np.float64(1))
    store.update(FOREIGN)


@pytest.mark.parametrize(
    "overwrite",
    [
        lambda store: zarrv3.save(store, np.zeros(3), overwrite=True),
        lambda store: zarrv3.save(store, a=np.zeros(3), b=np.zeros(3), overwrite=True),
        lambda store: zarrv3.open_group(store, mode="w"),
        lambda store: zarrv3.create_array(store, shape=3, overwrite=True),
        lambda store: zarrv3.create_group(store, overwrite=True),
        lambda store: zarrv3.open_group(store).clear(),
        lambda store: zarrv3.copy(
            {"zarr.json": zarrv3.create_group().store["zarr.json"]}, store, overwrite=True
        ),
    ],
)
def test_overwriting_erases_nodes_only(store: zarrv3.BaseStore, overwrite: Callable[..., object]) -> None:
    """All that belongs to nodes goes, however its chunks are named, and all else stays."""
    filled(store)
    overwrite(store)
    left = {
        key: store[key] for key in store if not key.endswith("zarr.json") and key[:1] not in {"c", "a", "b"}
    }
    assert left == FOREIGN
    nodes = {key for key in store if key.endswith("zarr.json")}
    assert nodes <= {"zarr.json", "a/zarr.json", "b/zarr.json"}


def test_deleting_a_member(store: zarrv3.BaseStore) -> None:
    """What is not an array's stays in its folder when the array is deleted."""
    filled(store)
    del zarrv3.open_group(store)["x"]
    assert sorted(store.list_prefix("x/")) == ["x/README", "x/c/0/thumbs.db"]


def test_what_an_interrupted_copy_left_goes(store: zarrv3.BaseStore) -> None:
    """Chunks without a document would show up in a new array, so they are erased with what is above."""
    store.update(
        {"a/c/0/0": b"old", "a/zarr.json.copying": b"{}", "c/0": b"old", "0.0": b"old", "a/b.txt": b"b"}
    )
    zarrv3.create_group(store, overwrite=True)
    assert sorted(store) == ["a/b.txt", "zarr.json"]


def test_a_long_listing_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many keys there is a second listing; the result is the same."""
    monkeypatch.setattr(belongings, "_REMEMBERED", 3)
    store = zarrv3.MemoryStore()
    filled(store)
    zarrv3.create_group(store, overwrite=True)
    assert sorted(store) == sorted([*FOREIGN, "zarr.json"])


def test_overwriting_costs_a_listing() -> None:
    """Replacing an array costs a listing more than erasing it."""
    store = zarrv3.Counting(zarrv3.MemoryStore())
    zarrv3.create_array(store, name="a", shape=8, chunks=1)[:] = 1
    store.reset()
    zarrv3.create_array(store, name="a", shape=8, chunks=1, overwrite=True)
    assert store.calls == {"get_many": 1, "list_prefix": 1, "write_many": 2, "erase_prefix": 1}


def test_creating_costs_one_read() -> None:
    """What is there of other formats is asked in the call that asks for documents."""
    store = zarrv3.Counting(zarrv3.MemoryStore())
    zarrv3.create_array(store, name="a/b", shape=8)
    assert store.calls == {"get_many": 1, "swap_many": 3}


# ---------------------------------------------------------------- other formats


OTHERS = {
    "v2 group": {".zgroup": b'{"zarr_format": 2}', "a/.zarray": b"{}", "a/0": b"v"},
    "v2 array": {".zarray": b'{"zarr_format": 2}', "0.0": b"v"},
    "v2 consolidated": {".zmetadata": b'{"zarr_consolidated_format": 1}'},
    "N5 root": {"attributes.json": b'{"n5": "2.5.0"}', "a/attributes.json": b"{}"},
    "N5 array": {"attributes.json": b'{"dimensions": [4], "blockSize": [2], "dataType": "uint8"}', "0": b"v"},
}
CREATING: dict[str, Callable[[object], object]] = {
    "default mode": zarrv3.open_group,
    "w-": lambda store: zarrv3.open_group(store, mode="w-"),
    "array": lambda store: zarrv3.open_array(store, shape=3),
    "create_group": zarrv3.create_group,
    "create_array": lambda store: zarrv3.create_array(store, name="new", shape=3),
    "group below": lambda store: zarrv3.create_group(store, path="new/er"),
    "below, overwriting": lambda store: zarrv3.create_array(store, name="new", shape=3, overwrite=True),
    "save": lambda store: zarrv3.save(store, np.zeros(3)),
    "hierarchy": lambda store: zarrv3.create_hierarchy(store, {"n": zarrv3.create_group().metadata}),
}


@pytest.mark.parametrize("creating", CREATING.values(), ids=CREATING)
@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_nothing_is_created_beside_other_formats(
    content: dict[str, bytes], creating: Callable[[object], object], store: zarrv3.BaseStore
) -> None:
    """Creating at or below a node of Zarr version 2 or N5 is refused, with what reads it, and nothing is written."""
    store.update(content)
    with pytest.raises(NodeExistsError, match=r"(zarr2:|zarr-python).*overwrite=True"):
        creating(store)
    assert dict(store.items()) == content


def test_overwriting_version_2() -> None:
    """Asked for, a hierarchy of version 2 is replaced, with its chunks and without what is not its."""
    store = zarrv3.MemoryStore({**OTHERS["v2 group"], "a/.zattrs": b"{}", "notes": b"n"})
    zarrv3.open_group(store, mode="w")
    assert sorted(store) == ["notes", "zarr.json"]


def test_any_other_attributes_json_is_no_obstacle() -> None:
    """A file of that name that is not N5's is not taken for it."""
    for text in (b'{"a": 1}', b"[]", b"no JSON", b""):
        store = zarrv3.MemoryStore({"attributes.json": text})
        zarrv3.create_group(store)
        assert sorted(store) == ["attributes.json", "zarr.json"]


def test_the_draft_is_no_place_to_create() -> None:
    """A root of the draft format is refused, naming the layer; asked for, it is replaced."""
    root = json.dumps({"zarr_format": "https://purl.org/zarr/spec/protocol/core/3.0"}).encode()
    store = zarrv3.MemoryStore(
        {"zarr.json": root, "meta/root.group.json": b"{}", "data/root/a/c0": b"v", "notes": b"n"}
    )
    with pytest.raises(MetadataError, match="draft-v3"):
        zarrv3.open_group(store)
    with pytest.raises((MetadataError, NodeExistsError), match="draft-v3"):
        zarrv3.create_group(store)
    with pytest.raises(MetadataError, match="draft-v3"):
        zarrv3.create_array(store, name="x", shape=2)
    zarrv3.create_group(store, overwrite=True)
    assert sorted(store) == ["notes", "zarr.json"]


# ---------------------------------------------------------------- saving


def test_saving_over_what_is_there(store: zarrv3.BaseStore) -> None:
    """Saving is refused where a node is, unless told to overwrite it."""
    zarrv3.save(store, np.ones(3))
    for values in ({"a": np.zeros(2)}, {}):
        with pytest.raises(NodeExistsError, match="overwrite=True"):
            zarrv3.save(store, *([] if values else [np.zeros(2)]), **values)
    np.testing.assert_array_equal(zarrv3.load(store), np.ones(3))
    zarrv3.save(store, np.zeros(2), overwrite=True)
    np.testing.assert_array_equal(zarrv3.load(store), np.zeros(2))


def test_saving_what_is_read_from_there(store: zarrv3.BaseStore) -> None:
    """Arrays are saved over the group they lie in, or over themselves, with their values."""
    group = zarrv3.create_group(store)
    group["a"] = np.arange(5)
    zarrv3.save(store, a=group["a"], b=group["a"], overwrite=True)
    zarrv3.save(store, zarrv3.open_group(store)["b"], path="b", overwrite=True)
    for values in zarrv3.load(store).values():
        np.testing.assert_array_equal(values, np.arange(5))


def test_stores_that_take_zarrs_keys_only() -> None:
    """A store that refuses the keys of other formats holds none of them: nodes are created, and missing ones are missing."""

    class Strict(zarrv3.Layer):
        kind = "strict"

        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            if any(not request.key.endswith("zarr.json") for request in requests):
                raise StoreAccessError("no key of Zarr")
            return self.inner.get_many(requests)

        def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
            return self.inner.get_versioned(keys)

    store = Strict({})
    with pytest.raises(NodeNotFoundError):
        zarrv3.open_group(store, path="a", mode="r")
    zarrv3.create_array(store, name="a", shape=2)
    assert sorted(store) == ["a/zarr.json", "zarr.json"]


def test_clearing_without_listing_changes_nothing() -> None:
    """Where keys cannot be listed a group cannot be cleared: it is refused, and the group's own document stays."""
    store = zarrv3.MemoryStore()
    zarrv3.group(store).create_array("x", data=[1])
    before = dict(store.items())
    with pytest.raises(zarrv3.errors.UnsupportedError, match="cannot list"):
        zarrv3.open_group(_Unlisted(store)).clear()
    assert dict(store.items()) == before


class _Unlisted(zarrv3.Layer):
    """A layer that cannot list."""

    kind = "unlisted"

    @property
    def capabilities(self) -> zarrv3.Capabilities:
        """Those of the inner store, but for listing."""
        return self.inner.capabilities.without("list")
