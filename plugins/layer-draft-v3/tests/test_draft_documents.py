"""Documents that cannot be read, and values that are not what documents say: clear errors, neighbours unharmed."""

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import CorruptDataError, MetadataError, NotPortableError, ZarrError
from zarrv3.testing import LayerConformance
from zarrv3_layer_draft_v3 import DraftV3

SHARDING = "https://purl.org/zarr/spec/storage_transformers/sharding/1.0"


def sharding(numbers: Any, **changes: Any) -> list[dict[str, Any]]:
    """A list of transformers with one of `chunks_per_shard`."""
    configuration = {"chunks_per_shard": numbers}
    return [{"extension": SHARDING, "type": "indexed", "configuration": configuration, **changes}]


def compressed(name: str, **configuration: Any) -> dict[str, Any]:
    """A compressor."""
    return {"codec": f"https://purl.org/zarr/spec/codec/{name}", "configuration": configuration}


GRID = {"type": "regular", "chunk_shape": [2, 2], "separator": "/"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"shape": ...}, "lacks shape"),
    ({"shape": [-1, 3]}, r"shape\[0\]"),
    ({"shape": "x"}, "shape must be a list"),
    ({"data_type": "f16"}, "no equivalent in the final format"),
    ({"data_type": "i4,i4"}, "no equivalent in the final format"),
    ({"data_type": {"type": 3}}, "no equivalent in the final format"),
    ({"data_type": {"type": [["a"]]}}, "a field is"),
    ({"data_type": {"type": [["a", "<i4"], ["a", "<i4"]]}}, "occurs more than once"),
    ({"data_type": {"type": [["a", "|O"]]}}, "holds objects"),
    ({"data_type": {"type": "<M8[parsec]"}}, "data_type"),
    ({"data_type": {"type": "|S0"}}, "has no length"),
    ({"data_type": {"type": "|O"}, "fill_value": None}, "without an object codec"),
    ({"chunk_grid": {**GRID, "type": "rectilinear"}}, "type regular"),
    ({"chunk_grid": {**GRID, "separator": "-"}}, "separator"),
    ({"chunk_grid": {**GRID, "chunk_shape": [2]}}, "does not match the shape"),
    ({"chunk_grid": {**GRID, "chunk_shape": [0, 2]}}, "must be positive"),
    ({"chunk_grid": {**GRID, "chunk_shape": [2.0, 2]}}, "must be positive"),
    ({"chunk_grid": {**GRID, "separator": {"": "/"}}}, "separator"),
    ({"chunk_memory_layout": ["C"]}, "chunk_memory_layout must be"),
    ({"compressor": compressed("blosc/1.0", shuffle={})}, "shuffle must be"),
    ({"chunk_memory_layout": "A"}, "one of 'C', 'F'"),
    ({"fill_value": "x"}, "fill_value 'x'"),
    ({"fill_value": 2**40}, "fill_value"),
    ({"data_type": "<f4", "fill_value": "0b12"}, "fill_value '0b12'"),
    ({"data_type": {"type": "<c8"}, "fill_value": 1}, "fill_value 1"),
    ({"data_type": {"type": "<M8[s]"}, "fill_value": 1.5}, "fill_value 1.5"),
    ({"data_type": {"type": [["a", "<i4"]]}, "fill_value": "AA"}, "fill_value 'AA'"),
    ({"data_type": {"type": "|O"}, "attributes": {"filters": [{"id": "nosuch"}]}}, "object codec 'nosuch'"),
    ({"attributes": []}, "attributes must be an object"),
    ({"compressor": "blosc"}, "not an object with codec"),
    ({"compressor": compressed("snappy/1.0")}, "is not known"),
    ({"compressor": {"codec": "https://purl.org/zarr/spec/codec/", "configuration": {}}}, "has no name"),
    ({"compressor": compressed("blosc/1.0", shuffle=7)}, "shuffle must be an integer"),
    ({"attributes": {"filters": [{"id": "nosuch"}]}}, "'nosuch' is not known"),
    (
        {"attributes": {"filters": [{"id": "crc32"}, {"id": "delta", "dtype": "<i4"}]}},
        "behind a filter of bytes",
    ),
    ({"attributes": {"filters": [{"id": "delta", "dtype": ">i4"}]}}, "configured for >i4"),
    ({"attributes": {"filters": [{"id": "delta", "dtype": "i4,i4"}]}}, "is not a dtype"),
    ({"attributes": {"filters": [{"id": "delta", "dtype": "<q99"}]}}, "is not a dtype"),
    ({"storage_transformers": {}}, "must be a list"),
    ({"storage_transformers": sharding([2], type="dummy_type")}, "is not known"),
    ({"storage_transformers": [{"extension": "x", "type": "indexed"}]}, "is not known"),
    ({"storage_transformers": sharding([2, 0])}, "positive numbers"),
    ({"storage_transformers": sharding([2, -1])}, "positive numbers"),
    ({"storage_transformers": sharding([2, True])}, "positive numbers"),
    ({"storage_transformers": sharding(None)}, "positive numbers"),
    ({"storage_transformers": sharding([1, 1, 2])}, "more numbers than"),
    ({"storage_transformers": sharding([2**30, 2**30])}, "an index of"),
]


@pytest.mark.parametrize(("changes", "match"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_array_documents(new_draft: Any, changes: dict[str, Any], match: str) -> None:
    """A document that makes no sense is an error that names its key when the node is opened; others are listed and read."""
    draft = new_draft()
    draft.array("bad", np.arange(9, dtype="<i4").reshape(3, 3), chunks=(2, 2))
    draft.array("good", np.arange(3), chunks=(2,))
    draft.document("bad", **changes)
    store = DraftV3(dict(draft.content))
    with pytest.raises(NotPortableError, match=rf"meta/root/bad\.array\.json.*{match}"):
        zarrv3.open(store, path="bad", mode="r")
    root = zarrv3.open_group(store, mode="r")
    assert [*root] == ["bad", "good"]
    assert root["good"][...].tolist() == [0, 1, 2]
    assert {key for key in store if key.startswith("bad")} == {"bad/zarr.json"}
    assert store.get("bad/c/0/0") is None
    found = [damage for damage in store.report() if damage.kind == "unreadable"]
    assert [(damage.path, damage.key) for damage in found] == [("bad", "meta/root/bad.array.json")]


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"\xff", b"[" * 10**5, b'{"attributes": 3}', b'{"a": 1, "a": 2}']
)
@pytest.mark.parametrize("kind", ["array", "group"])
def test_documents_that_are_none(new_draft: Any, value: bytes, kind: str) -> None:
    """Bytes that are not a node's document are an error that names their key."""
    draft = new_draft()
    draft.content[f"meta/root/n.{kind}.json"] = value
    with pytest.raises(NotPortableError, match=rf"meta/root/n\.{kind}\.json"):
        zarrv3.open(DraftV3(draft.content), path="n", mode="r")
    found = DraftV3(draft.content).report()
    assert [(damage.kind, damage.key) for damage in found] == [("unreadable", f"meta/root/n.{kind}.json")]


def test_what_is_let_pass(new_draft: Any) -> None:
    """Unknown members, the other spellings of one thing and odd but harmless values are read."""
    draft = new_draft()
    data = np.arange(9, dtype="|i1").reshape(3, 3)
    draft.array("a", data, chunks=(2, 2), per_shard=[(2,)])
    draft.document(
        "a",
        data_type="|i1",
        dimension_separator=".",
        extensions=["?"],
        storage_transformers=sharding([2], extension="sharding"),
        attributes={"filters": []},
    )
    draft.array("user", data, chunks=(2, 2), attributes={"filters": "mine"})
    draft.array("level", data, chunks=(2, 2), compressor={"id": "gzip", "level": 5})
    draft.document("level", compressor=compressed("gzip/7.5", level=-1))
    draft.array("none", np.zeros((0,), "<f8"), chunks=(1,))
    draft.document("none", chunk_grid={**GRID, "chunk_shape": [0]})
    draft.content["meta/root/g.group.json"] = b"{}"
    store = DraftV3(draft.content)
    for path in ("a", "user", "level"):
        assert zarrv3.open_array(store, path=path, mode="r")[...].tolist() == data.tolist(), path
    assert dict(zarrv3.open_array(store, path="user", mode="r").attrs) == {"filters": "mine"}
    assert dict(zarrv3.open_array(store, path="a", mode="r").attrs) == {}
    assert zarrv3.open_array(store, path="none", mode="r")[...].shape == (0,)
    assert zarrv3.open_group(store, path="g", mode="r").attrs == {}


def test_a_document_changes(new_draft: Any) -> None:
    """An array that is opened again is seen as its document is by then."""
    draft = new_draft()
    draft.array("a", np.arange(4), chunks=(2,))
    store = DraftV3(draft.content)
    assert zarrv3.open_array(store, path="a", mode="r")[...].tolist() == [0, 1, 2, 3]
    draft.array("a", np.arange(6).reshape(2, 3), chunks=(1, 3))
    assert zarrv3.open_array(store, path="a", mode="r")[...].tolist() == [[0, 1, 2], [3, 4, 5]]
    del draft.content["meta/root/a.array.json"]
    assert store.get("a/zarr.json") is None
    assert store.get("a/c/0/0") is None


def test_misordered(new_draft: Any) -> None:
    """Bytes in order C under a document that says F read rightly when that is declared, for one array or for all."""
    data = np.arange(12, dtype="<i2").reshape(3, 4)
    draft = new_draft()
    draft.array("f", data, chunks=(2, 2))
    draft.document("f", chunk_memory_layout="F")
    draft.array("sound", data, chunks=(2, 2), order="F", compressor={"id": "zlib", "level": 1})
    for option in (["f"], "f", True):
        url = {"misordered": option} if option != "f" else {"misordered": ["/f/"]}
        store = DraftV3(draft.content, **url)
        assert zarrv3.open_array(store, path="f", mode="r")[...].tolist() == data.tolist()
        assert zarrv3.open_array(store, path="sound", mode="r")[...].tolist() == data.tolist()
        assert not [damage for damage in store.report() if damage.kind == "order-unknown"]
    store = DraftV3(draft.content)
    assert zarrv3.open_array(store, path="f", mode="r")[...].tolist() != data.tolist()
    assert [damage.path for damage in store.report() if damage.kind == "order-unknown"] == ["f"]
    with pytest.raises(NotPortableError, match="misordered is for arrays"):
        zarrv3.open_array(DraftV3(draft.content, misordered=["sound"]), path="sound", mode="r")


# ---------------------------------------------------------------- values


def shard(new_draft: Any) -> Any:
    """An array with one full shard of raw chunks."""
    draft = new_draft()
    draft.array("s", np.arange(8, dtype="<u2"), chunks=(2,), per_shard=[(4,)])
    return draft


@pytest.mark.parametrize(
    "index",
    [
        [(0, 4), (2, 4), (8, 4), (12, 4)],
        [(0, 4), (4, 4), (8, 4), (14, 4)],
        [(0, 4), (4, 4), (8, 4), (2**63, 4)],
        [(0, 4), (4, 4), (8, 4), (12, 2**64 - 1)],
        [(0, 4), (4, 4), (8, 4), (2**64 - 1, 4)],
        [(0, 4), (4, 4), (8, 4), (12, 3)],
    ],
)
def test_lying_indexes(new_draft: Any, index: list[tuple[int, int]]) -> None:
    """An index that points outside the shard, overlaps or gives wrong sizes is an error that names the key."""
    draft = shard(new_draft)
    value = draft.content["data/root/s/c0"]
    draft.content["data/root/s/c0"] = value[:16] + np.array(index, "<u8").tobytes()
    with pytest.raises(CorruptDataError, match="s/c/"):
        _ = zarrv3.open_array(DraftV3(draft.content), path="s", mode="r")[...]


def test_truncated_shards(new_draft: Any) -> None:
    """A shard that was cut anywhere is an error that names the key."""
    draft = shard(new_draft)
    value = draft.content["data/root/s/c0"]
    for length in range(len(value)):
        draft.content["data/root/s/c0"] = value[:length]
        with pytest.raises(CorruptDataError, match="s/c/0"):
            _ = zarrv3.open_array(DraftV3(draft.content), path="s", mode="r")[...]


def test_objects_that_lie(new_draft: Any) -> None:
    """JSON whose values are not of the shape that they should have is an error that names the key."""
    data = np.empty(2, object)
    data[:] = [[1], [2]]
    draft = new_draft()
    draft.array("o", data, chunks=(2,), filters=[{"id": "json2"}], fill=None)
    for lie in ("3", "[]", '[1, "|O", [2]]', '[1, 2, 3, "|O", [2]]', '[1, 2, "|O", [9999999999]]', "{"):
        draft.content["data/root/o/c0"] = lie.encode()
        with pytest.raises(CorruptDataError, match="o/c/0"):
            _ = zarrv3.open_array(DraftV3(draft.content), path="o", mode="r")[...]


def test_numbers_beyond_the_labels(new_draft: Any) -> None:
    """A number that no label has is an error that names the key."""
    draft = new_draft()
    data = np.array(["a", "b"], "<U1")
    config = {"id": "categorize", "labels": ["a", "b"], "dtype": "<U1", "astype": "|u1"}
    draft.array("x", data, chunks=(2,), filters=[config], fill="")
    draft.content["data/root/x/c0"] = b"\x01\x03"
    with pytest.raises(CorruptDataError, match="x/c/0"):
        _ = zarrv3.open_array(DraftV3(draft.content), path="x", mode="r")[...]


COMPRESSORS = [
    {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    {"id": "zstd", "level": 1, "checksum": True},
    {"id": "gzip", "level": 1},
]


@given(
    compressor=st.sampled_from(COMPRESSORS),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    cut=st.booleans(),
    key=st.integers(0, 2),
    is_sharded=st.booleans(),
    repair=st.booleans(),
)
def test_flipped_and_cut_bytes(
    new_draft: Any,
    compressor: dict[str, Any],
    place: float,
    bit: int,
    cut: bool,
    key: int,
    is_sharded: bool,
    repair: bool,
) -> None:
    """Whatever happens to documents, shards and chunks that carry checksums: an array, or one of our errors; never another."""
    draft = new_draft()
    data = np.arange(40, dtype="<i4").reshape(5, 8)
    checked = [{"id": "crc32"}]
    draft.array(
        "a",
        data,
        chunks=(2, 2),
        compressor=compressor,
        filters=checked,
        per_shard=[(2, 2)] if is_sharded else [],
    )
    name = ["zarr.json", "meta/root/a.array.json", "data/root/a/c0/0"][key]
    value = bytearray(draft.content[name])
    index = int(place * len(value))
    value[index] ^= 1 << bit
    draft.content[name] = bytes(value[:index] if cut else value)
    try:
        store = DraftV3(draft.content, repair=repair)
        got = zarrv3.open_array(store, path="a", mode="r")[...]
        list(store.items())
        store.report()
    except ZarrError:
        return
    if name.startswith("data") and not is_sharded:
        assert got.tolist() == data.tolist()
    elif name.startswith("data"):  # an index has no checksum: an entry may have become an empty one, at worst
        assert ((got == data) | (got == 0)).all()


class TestConformance(LayerConformance):
    """What a layer has to do, over a small draft."""

    @pytest.fixture
    def layer(self) -> Any:
        """The layer."""
        return DraftV3

    @pytest.fixture
    def inner(self, new_draft: Any) -> Any:
        """A store with a draft in it."""
        draft = new_draft()
        draft.group("", title="old")
        draft.array("g/x", np.arange(12).reshape(3, 4), chunks=(2, 2))
        draft.array("y", np.arange(8), chunks=(2,), per_shard=[(2,)])
        return partial(zarrv3.MemoryStore, draft.content)


def test_metadata_errors_stay_what_they_are(new_draft: Any) -> None:
    """The error for an untranslatable node is a `MetadataError`, so that code for final documents handles it."""
    draft = new_draft()
    draft.content["meta/root/n.group.json"] = b"{"
    with pytest.raises(MetadataError):
        zarrv3.open(DraftV3(draft.content), path="n", mode="r")
    assert json.loads(DraftV3(draft.content)["n/zarr.json"])["node_type"] == "array"
