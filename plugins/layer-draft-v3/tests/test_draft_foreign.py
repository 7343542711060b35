"""Data types and codecs that only translated documents have: records, objects, categories."""

import json
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3_layer_draft_v3 import DraftV3


def document_of(store: DraftV3, path: str, **changes: Any) -> bytes:
    """A translated document with changes."""
    return json.dumps({**json.loads(store[f"{path}/zarr.json"]), **changes}).encode()


LABELS = {"id": "categorize", "labels": ["a", "b"], "dtype": "<U1", "astype": "|u1"}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("o", {"codecs": [{"name": "zarr2.object", "configuration": {"codec": {"id": "pickle"}}}]}, "not known"),
    ("o", {"codecs": [{"name": "zarr2.object", "configuration": {}}]}, "lacks codec"),
    ("o", {"data_type": "string", "fill_value": ""}, "cannot encode string"),
    ("o", {"data_type": {"name": "zarr2.object", "configuration": {"x": 1}}}, "unknown configuration"),
    ("r", {"data_type": {"name": "zarr2.record", "configuration": {"fields": "<i4"}}}, "list of fields"),
    ("r", {"fill_value": "AAAA"}, "fill_value 'AAAA'"),
    ("x", {"codecs": [{"name": "zarr2.categorize", "configuration": {"labels": [1]}}, "bytes"]}, "list of texts"),
    ("x", {"codecs": [{"name": "zarr2.categorize", "configuration": {"labels": ["a"], "astype": "f4"}}, "bytes"]}, "cannot count"),
    ("x", {"data_type": "int8", "fill_value": 0}, "cannot encode int8"),
]  # fmt: skip


@pytest.fixture
def odd(new_draft: Any) -> DraftV3:
    """Objects, records of both byte orders, and categories."""
    draft = new_draft()
    items = np.array([None, 1], object)
    draft.array("o", items, chunks=(2,), filters=[{"id": "json2"}], fill=None)
    draft.array(
        "r", np.array([(1, 2), (3, 4)], [("a", "<i2"), ("b", ">i2")]), chunks=(2,), present=lambda _: False
    )
    draft.array("x", np.array(["a", "b"], "<U1"), chunks=(2,), filters=[LABELS], fill="")
    return DraftV3(draft.content)


@pytest.mark.parametrize(("path", "changes", "match"), WRONG)
def test_wrong_translations(odd: DraftV3, path: str, changes: dict[str, Any], match: str) -> None:
    """A document that names these data types and codecs wrongly is a `MetadataError`."""
    store = zarrv3.MemoryStore({"zarr.json": document_of(odd, path, **changes)})
    with pytest.raises(MetadataError, match=match):
        zarrv3.open_array(store, mode="r")


def test_documents_survive_a_round_trip(odd: DraftV3) -> None:
    """A translated document is what its parts are written as, fill values and codecs too."""
    for path in ("o", "r", "x"):
        metadata = zarrv3.open_array(odd, path=path, mode="r").metadata
        document = metadata.to_document()
        assert metadata.data_type.to_json() == document["data_type"]
        assert metadata.data_type.fill_to_json(metadata.fill_value) == document["fill_value"]
        assert [codec.to_json() for codec in metadata.codecs] == document["codecs"]
        assert not metadata.data_type.portable or not all(codec.portable for codec in metadata.codecs)


def test_fill_values_of_odd_types(odd: DraftV3) -> None:
    """Records and objects take the fill values that are of their type, and refuse others."""
    record = zarrv3.open_array(odd, path="r", mode="r").metadata.data_type
    zero = record.cast_fill(0)
    assert record.cast_fill(zero) == zero == record.cast_fill(None)
    with pytest.raises(MetadataError, match="fill_value"):
        record.cast_fill((1, 2))
    objects = zarrv3.open_array(odd, path="o", mode="r").metadata.data_type
    assert objects.cast_fill([1])[()] == [1]
    with pytest.raises(MetadataError, match="JSON cannot hold"):
        objects.cast_fill({1, 2})


def test_categories_are_encoded(odd: DraftV3) -> None:
    """The filter counts labels from 1, with 0 for every other text, as numcodecs does."""
    chain = zarrv3.open_array(odd, path="x", mode="r").metadata.codec_chain()
    assert bytes(chain.encode(np.array(["b", "z"], "<U1"))) == b"\x02\x00"


def test_objects_are_not_written(odd: DraftV3) -> None:
    """Arrays of objects are for reading: encoding one is an error that says so."""
    chain = zarrv3.open_array(odd, path="o", mode="r").metadata.codec_chain()
    with pytest.raises(MetadataError, match="are not written"):
        chain.encode(np.array([1, 2], object))


def test_scalar_objects(new_draft: Any) -> None:
    """An array of objects without dimensions holds one."""
    draft = new_draft()
    draft.array(
        "s",
        np.array({"a": 1}, object),
        chunks=(),
        filters=[{"id": "json2"}],
        fill=None,
        present=lambda _: False,
    )
    draft.content["data/root/s/c0"] = b'[{"a": 1}, "|O", []]'
    assert zarrv3.open_array(DraftV3(draft.content), path="s", mode="r")[()] == {"a": 1}
    draft.content["data/root/s/c0"] = b'[1, 2, "|O", []]'
    with pytest.raises(CorruptDataError, match="2 values where one"):
        _ = zarrv3.open_array(DraftV3(draft.content), path="s", mode="r")[()]
    draft.array("v", np.array([np.arange(2), np.arange(1)], object), chunks=(2,), filters=[{"id": "vlen-array", "dtype": "<i8"}], fill=None)  # fmt: skip
    draft.document("v", chunk_grid={"type": "regular", "chunk_shape": [3], "separator": "/"})
    with pytest.raises(CorruptDataError, match="2 elements where 3"):
        _ = zarrv3.open_array(DraftV3(draft.content), path="v", mode="r")[...]
