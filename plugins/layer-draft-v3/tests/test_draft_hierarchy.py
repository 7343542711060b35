"""The hierarchy as the layer shows it: names, keys, listings, what it asks of the store below, and how it is opened."""

import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    MetadataError,
    NodeNotFoundError,
    ReadOnlyError,
)
from zarrv3.layers import Counting, Layer
from zarrv3.store.contract import ByteRange, Request
from zarrv3_layer_draft_v3 import DraftV3


def opened(draft: Any, **options: Any) -> DraftV3:
    """The hierarchy through the layer."""
    return DraftV3(dict(draft.content), **options)


def same(got: Any, wanted: Any) -> None:
    """Whether two arrays have equal elements, whatever the byte order."""
    assert got.shape == wanted.shape
    assert got.astype(wanted.dtype).tobytes() == np.ascontiguousarray(wanted).tobytes()


def test_hierarchy(mixed: Any) -> None:
    """Groups with and without documents, odd names and attributes appear; the side effect of consolidation does not."""
    root = zarrv3.open_group(opened(mixed), mode="r")
    assert dict(root.attrs) == {"title": "old", "bad": "NaN"}
    assert [*root] == ["c", "g", "imp", "x.array", "y.group.json"]
    assert dict(root["g"].attrs) == {"n": 1}
    assert [*root["imp"]] == ["licit"]
    assert sorted(name for name, _ in root.members(None)) == [
        *("c", "g", "g/x", "imp", "imp/licit", "imp/licit/y", "x.array", "y.group.json")
    ]
    assert root["c"][()] == 7
    same(root["imp/licit/y"][...], np.arange(5.0))
    with pytest.raises(NodeNotFoundError):
        _ = root["consolidated"]


def test_a_group_called_consolidated_stays(new_draft: Any) -> None:
    """A group of that name with members or attributes, or without consolidated metadata, is a group like any other."""
    for change in ("members", "attributes", "alone"):
        draft = new_draft()
        draft.consolidate()
        if change == "members":
            draft.array("consolidated/a", np.arange(2), chunks=(2,))
        elif change == "attributes":
            draft.group("consolidated", mine=1)
        else:
            del draft.content["meta/root/consolidated/.zmetadata"]
        assert [*zarrv3.open_group(opened(draft), mode="r")] == ["consolidated"], change


def test_suffix_and_missing_entry(new_draft: Any) -> None:
    """Documents are found by the suffix of the entry point, and by `.json` where that is gone."""
    draft = new_draft(suffix=".meta.txt")
    draft.array("a", np.arange(3), chunks=(2,))
    assert [*zarrv3.open_group(opened(draft), mode="r")] == ["a"]
    draft = new_draft()
    draft.array("a", np.arange(3), chunks=(2,))
    del draft.content["zarr.json"]
    same(zarrv3.open_array(opened(draft), path="a", mode="r")[...], np.arange(3))
    assert zarrv3.open_group(opened(draft), mode="r")["a"].shape == (3,)


def test_an_array_wins_over_a_folder(new_draft: Any) -> None:
    """Where a name is an array, a group and a folder it is the array; what lies below is found by its path."""
    draft = new_draft()
    draft.array("top", np.arange(4), chunks=(2,))
    draft.group("top")
    draft.array("top/skip/below", np.arange(3), chunks=(2,))
    root = zarrv3.open_group(opened(draft), mode="r")
    assert [(name, type(node).__name__) for name, node in root.members()] == [("top", "Array")]
    same(root["top/skip/below"][...], np.arange(3))


def test_reading_while_others_open(new_draft: Any) -> None:
    """Threads that open an array again and again never make its chunks vanish for those that read it."""
    draft = new_draft()
    data = np.arange(1, 41)
    draft.array("a", data, chunks=(4,))
    store = opened(draft)
    array = zarrv3.open_array(store, path="a", mode="r")
    done = threading.Event()

    def reopen() -> None:
        while not done.is_set():
            zarrv3.open_array(store, path="a", mode="r")

    threads = [threading.Thread(target=reopen) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert array[...].tolist() == data.tolist()
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_both_keys_of_a_scalar(new_draft: Any) -> None:
    """The chunk of an array without dimensions is `c0`, or `c` as the specification had it; it is listed once."""
    draft = new_draft()
    draft.array("s", np.int16(5), chunks=())
    value = draft.content.pop("data/root/s/c0")
    draft.content["data/root/s/c"] = value
    store = opened(draft)
    assert zarrv3.open_array(store, path="s", mode="r")[()] == 5
    draft.content["data/root/s/c0"] = np.int16(6).tobytes()
    store = opened(draft)
    assert zarrv3.open_array(store, path="s", mode="r")[()] == 6
    assert [*store.list_prefix("s/")].count("s/c") == 1


def names_in(listed: set[str], folder: str) -> list[str]:
    """`list_dir` from all keys, sorted."""
    below = [key[len(folder) :].partition("/") for key in listed if key.startswith(folder)]
    return sorted({folder + name + slash for name, slash, _ in below})


def test_listings_agree(mixed: Any) -> None:
    """Whatever is listed by folder or prefix is what the list of all keys says, and each key has a value of that size."""
    mixed.content["data/root/g/x/c0/0.0123456789abcdef0123456789abcdef.partial"] = b"half"
    mixed.content[".zgroup"] = b"{}"
    store = opened(mixed)
    everything = set(store)
    assert not any("partial" in key or ".z" in key for key in everything)
    folders = {key[: i + 1] for key in everything for i, letter in enumerate(key) if letter == "/"} | {""}
    for folder in folders:
        assert sorted(store.list_dir(folder)) == names_in(everything, folder), folder
        assert set(store.list_prefix(folder)) == {key for key in everything if key.startswith(folder)}
        assert dict(store.list_sizes(folder)) == {
            key: len(store[key]) for key in everything if key.startswith(folder)
        }
    sizes = store.stat_many([*everything, *everything])
    assert sizes == [len(store[key]) for key in everything] * 2
    for key in everything:
        assert set(store.list_prefix(key)) >= {key}
    for key in (
        "nothing",
        "g/x/c/9/9",
        "g/x/c.0.0",
        "g/x/c/0",
        "c/c/0",
        "imp/licit/y/c/0",
        "g/x/zarr",
        "g/c/0",
    ):
        assert store.get(key) is None
        assert store.stat_many([key]) == [None]
    assert [*store.list_dir("nowhere/")] == []


# ---------------------------------------------------------------- what it costs


def test_calls(mixed: Any) -> None:
    """Opening costs one call for the entry point and one for both documents; all chunks of a batch one; ranges pass through."""
    counting = Counting(dict(mixed.content))
    store = DraftV3(counting)
    array = zarrv3.open_array(store, path="g/x", mode="r")
    assert dict(counting.calls) == {"get_many": 2}
    counting.reset()
    _ = array[...]
    assert dict(counting.calls) == {"get_many": 1}
    assert counting.requested["get_many"] == 4
    counting.reset()
    size = store.get_many([Request("x.array/c/0", ByteRange(-16))])[0]
    assert len(size or b"") == 16
    assert dict(counting.calls) == {"get_many": 2}  # the document of an array that was not opened before
    assert counting.bytes_read < 16 + len(mixed.content["meta/root/x.array.array.json"]) + 1
    counting.reset()
    chunks = [f"g/x/c/{i}/{j}" for i in range(3) for j in range(2)]
    assert store.stat_many(chunks) == [32] * 4 + [None] * 2
    assert (counting.calls, counting.bytes_read) == ({"stat_many": 1}, 0)
    counting.reset()
    zarrv3.open_group(store, mode="r")
    assert sorted(counting.calls) == ["get_many"]


def test_listing_a_group_lists_no_chunks(new_draft: Any) -> None:
    """The members of a group cost listings of its documents only, and one read of all of them."""
    draft = new_draft()
    for number in range(20):
        draft.array(f"a{number}", np.arange(8), chunks=(1,))
    counting = Counting(dict(draft.content))
    store = DraftV3(counting)
    assert len([*zarrv3.open_group(store, mode="r").members()]) == 20
    assert counting.calls["get_many"] <= 5
    assert counting.calls["list_prefix"] == 0
    assert counting.bytes_read < 2 * sum(len(v) for k, v in draft.content.items() if k.startswith("meta"))


# ---------------------------------------------------------------- read-only


def test_every_write_is_refused(mixed: Any) -> None:
    """No method changes anything below, and each says that the store is read-only."""
    before = dict(mixed.content)
    inner = zarrv3.MemoryStore(dict(mixed.content))
    store = DraftV3(inner)
    for call in (
        lambda: store.write_many({"k": b"v"}),
        lambda: store.write_many({"zarr.json": None}),
        lambda: store.erase_prefix(""),
        lambda: store.rename_prefix("g/", "h/"),
        lambda: store.swap_many({"k": (None, b"v")}),
        lambda: store.get_versioned(["zarr.json"]),
        lambda: store.apply_many({"k": b"v"}),
    ):
        with pytest.raises(ReadOnlyError):
            call()
    array = zarrv3.open(store, path="g/x")
    assert array.read_only
    with pytest.raises(ReadOnlyError):
        array[0] = 1
    can = store.capabilities
    assert not any((can.write, can.erase, can.swap, can.transactions))
    store.flush()
    assert dict(inner.items()) == before


def test_reading_creates_nothing(tmp_path: Path) -> None:
    """Opening a missing folder says so and makes none."""
    with pytest.raises(NodeNotFoundError):
        zarrv3.open(f"{tmp_path}/missing|draft-v3:", mode="r")
    assert not (tmp_path / "missing").exists()


# ---------------------------------------------------------------- by URL, as a value, recognised


def test_url_spec_and_pickle(mixed: Any, tmp_path: Path) -> None:
    """The adapter takes its options from a URL; spec and pickle make an equal layer."""
    with zarrv3.open_store(tmp_path / "old") as below:
        below.update(mixed.content)
    url = f'{tmp_path}/old|draft-v3:?repair=true&chunks_per_shard={{"g/z":[4]}}&misordered=a,b/c'
    store = zarrv3.open_store(url)
    assert isinstance(store, DraftV3)
    assert store.spec()["layers"] == [
        {"layer": "draft-v3", "repair": True, "chunks_per_shard": {"g/z": [4]}, "misordered": ["a", "b/c"]}
    ]
    assert zarrv3.open_store(json.loads(json.dumps(store.spec()))) == store
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert set(again) == set(store)
    assert zarrv3.open_store(f"{tmp_path}/old|draft-v3:") != store


@pytest.mark.parametrize(
    ("query", "match"),
    [
        ("chunks_per_shard={", "as JSON"),
        ("chunks_per_shard=[1]", "as JSON"),
        ('chunks_per_shard={"a":[1]}', "goes with repair"),
        ("fix=true", "misordered"),
    ],
)
def test_bad_options(query: str, match: str) -> None:
    """An option that makes no sense is an error that says so."""
    with pytest.raises(ConfigurationError, match=match):
        zarrv3.open_store(f"memory:|draft-v3:?{query}")


def test_bad_option_types() -> None:
    """Options from code are checked too."""
    with pytest.raises(ConfigurationError, match="mapping"):
        DraftV3({}, repair=True, chunks_per_shard=[4])  # type: ignore[arg-type]


def test_recognised(mixed: Any, tmp_path: Path) -> None:
    """Opening a draft as final V3 says what it is and how to open it; `auto` opens it, at a path of a store too."""
    with zarrv3.open_store(tmp_path) as below:
        below.update({f"old/{key}": value for key, value in mixed.content.items()})
    with pytest.raises(MetadataError, match=r"draft V3 format of zarr-python 2.*'\|draft-v3:'.*auto=True"):
        zarrv3.open(tmp_path / "old", mode="r")
    with pytest.raises(MetadataError, match=r"draft V3.*'\|prefix:old\|draft-v3:'"):
        zarrv3.open(tmp_path, path="old", mode="r")
    with pytest.raises(NodeNotFoundError, match="draft V3"):
        zarrv3.open_array(tmp_path / "old", path="g/x", mode="r")
    same(zarrv3.open_array(tmp_path / "old", path="g/x", auto=True)[...], np.arange(12).reshape(3, 4))
    assert zarrv3.open_group(tmp_path / "old", auto=True).read_only
    assert "g" in zarrv3.open(tmp_path, path="old", auto=True)
    with pytest.raises(ReadOnlyError):
        zarrv3.open(tmp_path / "old", mode="r+", auto=True)


def test_auto_leaves_other_stores_alone() -> None:
    """What is not a draft is opened as it is."""
    store = zarrv3.MemoryStore()
    zarrv3.create_array(store, name="a", data=np.arange(3))
    assert zarrv3.open_array(store, path="a", auto=True).store is store
    assert zarrv3.open(auto=True, shape=3).shape == (3,)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (b'{"zarr_format": 3, "node_type": "group"}', "final Zarr V3 format"),
        (b'{"zarr_format": 2}', "not the entry point"),
        (b"[]", "must be an object"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_other_formats_are_refused(entry: bytes, match: str) -> None:
    """The layer on something else says what that is."""
    with pytest.raises(MetadataError, match=match):
        zarrv3.open(DraftV3({"zarr.json": entry, "a/zarr.json": b"{}"}), mode="r")


def test_nothing_is_imported_in_vain() -> None:
    """Opening other stores imports nothing of the package but what recognises drafts."""
    code = "import sys, zarrv3; zarrv3.create_array(shape=3); print(*sorted(m for m in sys.modules if 'draft' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "zarrv3_layer_draft_v3", "zarrv3_layer_draft_v3.entry", "zarrv3_layer_draft_v3.hooks"
    ]  # fmt: skip


class Unlisted(Layer):
    """A store that cannot list its keys, as a web server."""

    kind = "unlisted"

    @property
    def capabilities(self) -> Any:
        """See the contract."""
        return self.inner.capabilities.without("list")


def test_below_a_store_that_cannot_list(mixed: Any) -> None:
    """Nodes with documents open by their paths; groups without one are not found, listing is refused."""
    store = DraftV3(Unlisted(dict(mixed.content)))
    same(zarrv3.open_array(store, path="imp/licit/y", mode="r")[...], np.arange(5.0))
    assert dict(zarrv3.open_group(store, mode="r").attrs)["title"] == "old"
    assert zarrv3.open_group(store, path="consolidated", mode="r").attrs == {}
    with pytest.raises(NodeNotFoundError):
        zarrv3.open_group(store, path="imp", mode="r")
