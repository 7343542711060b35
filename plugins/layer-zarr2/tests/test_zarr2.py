"""Version 2 as the layer shows it: documents, keys, and what it asks of the store below."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import MetadataError, NodeNotFoundError, NotPortableError, StaleMetadataWarning
from zarrv3.layers import Counting
from zarrv3.testing import InterruptConformance, LayerConformance
from zarrv3_layer_zarr2 import Zarr2, keys


class TestChunks(InterruptConformance, LayerConformance):
    """What a layer has to do with keys of chunks: documents, which cannot be any bytes, have another name here."""

    examples = 15

    @pytest.fixture
    def layer(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """The layer, which knows already that the kit's array of chunks has a fill value: it asks for that once."""
        monkeypatch.setattr(keys, "DOCUMENT", "no name of a key")
        monkeypatch.setattr(keys, "HIDDEN", keys.HIDDEN - {"zarr.json"})

        def knowing(store: Any) -> Zarr2:
            made = Zarr2(store)
            made._has_fill["f"] = True
            return made

        return knowing


class TestConformanceOfReading(LayerConformance):
    """What a layer has to do over a store that is only read."""

    @pytest.fixture
    def layer(self) -> Any:
        """The layer, over a store that refuses writes."""
        return lambda store: Zarr2(zarrv3.ReadOnly(store))

    @pytest.fixture
    def inner(self, mixed: Any) -> Any:
        """A store with nodes in it."""
        return partial(zarrv3.MemoryStore, mixed.content)


def test_nodes(below: Any) -> None:
    """Groups with and without documents, arrays, attributes and names of dimensions are those of Zarr V3."""
    root = zarrv3.open_group(Zarr2(below), mode="r")
    assert [name for name, _ in root.members(None)] == ["c", "g", "g/h", "g/h/y", "g/x"]
    assert dict(root.attrs) == {"title": "old"}
    array = root["g/x"]
    assert array.metadata.dimension_names == ("y", "x")
    assert dict(array.attrs) == {"units": "m"}
    assert array[...].tolist() == np.arange(12).reshape(3, 4).tolist()
    assert root["g/h/y"][1:4].tolist() == [1, 2, 3]
    assert root["c"][()] == 7


def test_keys(below: Any) -> None:
    """Documents are `zarr.json`, chunks keep their keys, and nothing of version 2 is shown; every listing agrees."""
    below["zarr.json"] = b"{}"
    below["g/.zattrs"] = b"{}"
    store = Zarr2(below)
    documents = {
        "zarr.json",
        "g/zarr.json",
        "g/x/zarr.json",
        "g/h/zarr.json",
        "g/h/y/zarr.json",
        "c/zarr.json",
    }
    chunks = {key for key in below if ".z" not in key and "json" not in key}
    listed = list(store.list_prefix(""))
    assert sorted(listed) == sorted(documents | chunks)
    assert {key: len(value) for key, value in store.items()} == dict(store.list_sizes(""))
    assert set(store.list_dir("g/")) == {"g/zarr.json", "g/x/", "g/h/"}
    assert set(store.list_prefix("g/h/z")) == {"g/h/zarr.json"}
    assert ".zgroup" not in store
    assert "nothing/zarr.json" not in store
    assert "g/x/0/zarr.json" not in store


def test_calls(below: Any) -> None:
    """A document costs one call, a chunk one, and a batch of both one; nothing is listed for nodes that are there."""
    counting = Counting(below)
    store = Zarr2(counting)
    store.get_many([("g/x/zarr.json", None), ("g/x/0.0", None), ("g/h/y/zarr.json", None)])
    assert dict(counting.calls) == {"get_many": 1}
    array = zarrv3.open_array(store, path="g/x", mode="r")
    counting.reset()
    array[...]
    assert dict(counting.calls) == {"get_many": 1}


def test_recognised(below: Any) -> None:
    """A plain open names the adapter; `auto=True` adds it, at the root and where only a node below has a document."""
    for path in ("", "g/x", "g/h/y"):
        with pytest.raises(NodeNotFoundError, match=r"Zarr version 2; to open what is there add '\|zarr2:'"):
            zarrv3.open(below, path=path, mode="r")
        assert zarrv3.open(below, path=path, mode="r", auto=True).path == path
    del below[".zgroup"], below[".zattrs"]
    with pytest.raises(NodeNotFoundError, match=r"add '\|prefix:g/x\|zarr2:'"):
        zarrv3.open(below, path="g/x", mode="r")
    assert zarrv3.open_array(below, path="g/x", mode="r", auto=True).shape == (3, 4)


def test_recognised_in_an_archive(below: Any, tmp_path: Path) -> None:
    """With `auto=True` an archive that was taken for a folder is opened, and the version 2 in it."""
    with zarrv3.open_store(f"zip://{tmp_path}/a.zip") as archive:
        archive.update(below)
    assert zarrv3.open_array(tmp_path / "a.zip", path="g/x", mode="r", auto=True).shape == (3, 4)


def test_untranslatable_nodes(mixed: Any) -> None:
    """A node that cannot be translated raises the reason when it is opened; its neighbours are listed and read."""
    mixed.array(
        "p", np.array(["a"], object), chunks=(1,), filters=[{"id": "pickle", "protocol": 5}], fill=None
    )
    mixed.array("q", np.zeros(1), chunks=(1,), compressor=None, dtype="<f16")
    mixed.document("r/.zarray", {"zarr_format": 1})
    mixed.content["s/.zgroup"] = b"{"
    store = Zarr2(mixed.content)
    for path, reason in {"p": "'pickle' is refused", "q": "<f16", "r": "zarr_format", "s": "JSON"}.items():
        with pytest.raises(NotPortableError, match=rf"{path}/\.z.*{reason}"):
            zarrv3.open(store, path=path, mode="r")
    assert zarrv3.open_array(store, path="g/x", mode="r").shape == (3, 4)


def test_separator_of_old_nested_stores(writer: Any) -> None:
    """Arrays of an old `NestedDirectoryStore`, which do not tell their separator, are read when it is given."""
    data = np.arange(6).reshape(2, 3)
    writer.array("a", data, chunks=(1, 2), separator="/")
    document = json.loads(writer.content["a/.zarray"])
    del document["dimension_separator"]
    writer.document("a/.zarray", document)
    assert (
        zarrv3.open_array(Zarr2(writer.content, separator="/"), path="a", mode="r")[...].tolist()
        == data.tolist()
    )


# ---------------------------------------------------------------- consolidated metadata


def test_consolidated(mixed: Any) -> None:
    """`.zmetadata` is read once, with the root, and then no document more."""
    mixed.consolidate()
    below = Counting(zarrv3.MemoryStore(mixed.content))
    root = zarrv3.open_group(Zarr2(below), mode="r")
    below.reset()
    assert [name for name, _ in root.members(None)] == ["c", "g", "g/h", "g/h/y", "g/x"]
    assert dict(below.calls) == {}
    assert root["g/x"][...].sum() == 66


def test_reserved_names(mixed: Any) -> None:
    """A node whose name Zarr V3 reserves is copied, opened by a prefix, and not left out of consolidated metadata: there are none."""
    mixed.array("g/__categories/cat", np.arange(3), chunks=(2,))
    mixed.consolidate()
    store, copied = Zarr2(mixed.content), zarrv3.MemoryStore()
    assert zarrv3.copy(store, copied, verify=True).arrays == 4
    for there in (store, copied):
        assert zarrv3.open_group(there, mode="r").metadata.consolidated_metadata is None
        assert zarrv3.open_array(zarrv3.Prefix(there, "g/__categories/cat"), mode="r")[:].tolist() == [
            0,
            1,
            2,
        ]
        assert [name for name, _ in zarrv3.open_group(there, path="g", mode="r").members()] == ["h", "x"]
    below = zarrv3.MemoryStore(mixed.content)
    zarrv3.consolidate_metadata(Zarr2(below))
    assert "g/__categories/cat/.zarray" in json.loads(below[".zmetadata"])["metadata"]


def test_consolidated_is_an_option(mixed: Any) -> None:
    """Malformed consolidated metadata are an error that says how to do without them."""
    mixed.document(".zmetadata", {"metadata": 1})
    with pytest.raises(MetadataError, match="consolidated=false"):
        zarrv3.open_group(Zarr2(mixed.content), mode="r")
    assert "g/x" in zarrv3.open_group(Zarr2(mixed.content, consolidated=False), mode="r")


def test_stale_consolidated_metadata(mixed: Any) -> None:
    """A change below warns that the consolidated metadata are stale."""
    mixed.consolidate()
    root = zarrv3.open_group(Zarr2(mixed.content), mode="r+", use_consolidated=False)
    with pytest.warns(StaleMetadataWarning):
        root["g/x"].attrs["new"] = 1


# ---------------------------------------------------------------- copying


def test_migration(below: Any, tmp_path: Path) -> None:
    """A copy is Zarr V3 with the same bytes of chunks, and nothing of version 2."""
    report = zarrv3.copy(Zarr2(below), str(tmp_path / "new"), verify=True)
    assert (report.arrays, report.recoded, report.not_carried) == (3, 0, ())
    new = zarrv3.open_store(str(tmp_path / "new"))
    chunks = {key: value for key, value in below.items() if ".z" not in key}
    assert {key: value for key, value in new.items() if not key.endswith("zarr.json")} == chunks
