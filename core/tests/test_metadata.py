"""Metadata documents: what they mean, what is wrong with them, and that rewriting keeps what it does not change."""

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import MetadataError, NodeNameError, UnknownExtensionError
from zarrv3.format.documents import check_json, dump_document, load_document
from zarrv3.format.extensions import NamedConfig
from zarrv3.format.grids import V2Keys
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata, parse_document
from zarrv3.format.node_names import check_name, normalize_path

ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [10000, 1000],
    "dimension_names": ["rows", None],
    "data_type": "float64",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1000, 100]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    "fill_value": "NaN",
    "attributes": {"foo": 42, "bar": "apples", "baz": [1, 2, 3, 4]},
}
GROUP: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {"spam": "ham", "eggs": 42}}


def changed(document: Any, **members: Any) -> Any:
    """A document with other members; `...` removes one."""
    found = {**copy.deepcopy(document), **members}
    return {name: value for name, value in found.items() if value is not ...}


def test_the_example_of_the_specification() -> None:
    """Every member is what it says."""
    metadata = parse_document(json.dumps(ARRAY).encode(), source="a")
    assert isinstance(metadata, ArrayMetadata)
    assert metadata.shape == (10000, 1000)
    assert metadata.data_type.to_json() == "float64"
    assert metadata.chunk_grid.chunk_shape == (1000, 100)
    assert math.isnan(metadata.fill_value)
    assert metadata.dimension_names == ("rows", None)
    assert metadata.chunk_key_encoding.encode((1, 2)) == "c/1/2"
    assert metadata.codec_chain().encoded_size == 8 * 100000
    assert metadata.attributes == ARRAY["attributes"]
    assert metadata.to_document() == ARRAY
    assert metadata.chunk_spec.shape == (1000, 100)


def test_groups() -> None:
    """They have attributes, and perhaps consolidated metadata."""
    metadata = parse_document(json.dumps(GROUP).encode(), source="g")
    assert isinstance(metadata, GroupMetadata)
    assert metadata.attributes == GROUP["attributes"]
    assert metadata.consolidated_metadata is None
    consolidated = {"must_understand": False, "kind": "inline", "metadata": {}}
    metadata = GroupMetadata.from_document(changed(GROUP, consolidated_metadata=consolidated), source="g")
    assert metadata.consolidated_metadata == consolidated
    assert metadata.with_attributes({}).to_document()["consolidated_metadata"] == consolidated
    assert metadata.with_consolidated_metadata(None).to_document() == GROUP
    assert (
        GroupMetadata.from_document(
            changed(GROUP, consolidated_metadata=None), source="g"
        ).consolidated_metadata
        is None
    )
    assert GroupMetadata.create({"a": (1, 2)}).to_document()["attributes"] == {"a": [1, 2]}


WRONG_ARRAYS: list[dict[str, Any]] = [
    {"zarr_format": ...}, {"zarr_format": 2}, {"zarr_format": 3.0}, {"zarr_format": True}, {"node_type": ...}, {"node_type": "group"},
    {"shape": ...}, {"shape": None}, {"shape": 5}, {"shape": [-1, 1]}, {"shape": [1.0, 1]}, {"shape": [True, 1]}, {"shape": ["1", 1]},
    {"shape": [1]}, {"shape": [2**32, 2**31]}, {"shape": [2**62, 1]}, {"shape": []}, {"shape": [1] * 65},
    {"data_type": ...}, {"data_type": None}, {"data_type": []}, {"data_type": {"name": "float64", "must_understand": False}},
    {"data_type": "<f8"}, {"chunk_grid": ...}, {"chunk_grid": [1]}, {"chunk_grid": "regular"},
    {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 1]}}},
    {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}}},
    {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**40, 2**40]}}},
    {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1], "x": 1}}},
    {"chunk_key_encoding": ...}, {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "x"}}},
    {"chunk_key_encoding": {"name": "default", "must_understand": False}},
    {"codecs": ...}, {"codecs": []}, {"codecs": None}, {"codecs": "bytes"}, {"codecs": {}}, {"codecs": [1]}, {"codecs": ["crc32c"]},
    {"codecs": ["crc32c", "bytes"]}, {"codecs": ["nope"]}, {"codecs": [{"name": "bytes", "x": 1}]}, {"codecs": ["numcodecs.pickle", "bytes"]},
    {"fill_value": ...}, {"fill_value": None}, {"fill_value": "nan"}, {"fill_value": [1]}, {"fill_value": True},
    {"attributes": None}, {"attributes": []}, {"attributes": "x"}, {"dimension_names": ["x"]}, {"dimension_names": "xy"},
    {"dimension_names": [1, 2]}, {"storage_transformers": {}}, {"storage_transformers": [1]},
    {"storage_transformers": [{"type": "x"}]}, {"extra": 1}, {"extra": {}}, {"extra": {"must_understand": True}},
    {"extra": {"must_understand": 0}}, {"extra": None}, {"consolidated_metadata": None},
]  # fmt: skip


@pytest.mark.parametrize("members", WRONG_ARRAYS, ids=str)
def test_wrong_array_documents(members: Any) -> None:
    """Every violation is an error that names the document."""
    with pytest.raises(MetadataError, match=r"^store/a/zarr\.json: "):
        ArrayMetadata.from_document(changed(ARRAY, **members), source="store/a/zarr.json")


@pytest.mark.parametrize(
    "members",
    [
        {"zarr_format": 2},
        {"node_type": "array"},
        {"attributes": 1},
        {"shape": [1]},
        {"extra": True},
        {"consolidated_metadata": 1},
    ],
    ids=str,
)
def test_wrong_group_documents(members: Any) -> None:
    """Groups are as strict."""
    with pytest.raises(MetadataError, match=r"^g: "):
        GroupMetadata.from_document(changed(GROUP, **members), source="g")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"[]", b"3", b'"x"', b"{}", b"\xff\xfe", json.dumps(ARRAY).encode()[:-1], json.dumps(ARRAY).encode("utf-16"),
        json.dumps(ARRAY).encode() + b"x", b"[" * 1_000_000, b'{"a":' * 1_000_000, b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"zarr_format": 3, "zarr_format": 3}', b'{"shape": [' + b"9" * 5000 + b"]}", b'{"node_type": "dataset"}', b"\x00",
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_bytes_that_are_no_document(data: Any) -> None:
    """Truncated, nested a million deep, not UTF-8, not an object: always this error."""
    with pytest.raises(MetadataError, match=r"^here"):
        parse_document(data, source="here")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    ),
    st.sampled_from([*ARRAY, "extra", "storage_transformers"]),
)
def test_any_member_may_be_anything(value: Any, member: Any) -> None:
    """A document either means something or raises `MetadataError`."""
    try:
        metadata = ArrayMetadata.from_document(changed(ARRAY, **{member: value}), source="x")
        metadata.codec_chain()
    except MetadataError:
        pass


def test_unknown_members_are_kept() -> None:
    """An object that says `must_understand: false` is ignored and survives."""
    document = changed(ARRAY, extra={"must_understand": False, "x": [1]}, data_type={"name": "float64"})
    metadata = ArrayMetadata.from_document(document, source="a")
    assert metadata.to_document() == document
    rewritten = metadata.with_shape((5, 5)).with_attributes({"a": 1}).to_document()
    assert rewritten == changed(document, shape=[5, 5], attributes={"a": 1})
    assert list(rewritten) == list(document)
    assert metadata.to_document() == document


def test_unknown_members_are_named() -> None:
    """The error is the one for missing extensions."""
    with pytest.raises(UnknownExtensionError, match="'extra'"):
        ArrayMetadata.from_document(changed(ARRAY, extra=1), source="a")


def test_storage_transformers_are_kept() -> None:
    """As they are, through every change (defect 3 of zarr-python 2)."""
    transformers = [
        {"name": "indexed", "configuration": {"chunks_per_shard": [2, 2]}},
        "https://example.org/t",
    ]
    metadata = ArrayMetadata.from_document(changed(ARRAY, storage_transformers=transformers), source="a")
    assert metadata.storage_transformers == (
        NamedConfig("indexed", {"chunks_per_shard": [2, 2]}),
        NamedConfig("https://example.org/t"),
    )
    for other in (metadata.with_shape((1, 1)), metadata.with_attributes({})):
        assert other.storage_transformers == metadata.storage_transformers
        assert other.to_document()["storage_transformers"] == transformers


def test_codecs_that_need_not_be_understood() -> None:
    """An unknown one is left out of the chain and stays in the document; a known one is used."""
    unknown = {"name": "nope", "configuration": {"x": 1}, "must_understand": False}
    known = {"name": "crc32c", "must_understand": False}
    document = changed(ARRAY, codecs=[*ARRAY["codecs"], unknown, known])
    metadata = ArrayMetadata.from_document(document, source="a")
    assert [codec.to_json()["name"] for codec in metadata.codecs] == ["bytes", "crc32c"]
    assert metadata.with_shape((1, 1)).to_document()["codecs"] == document["codecs"]
    with pytest.raises(UnknownExtensionError, match=r"codecs\[1\]"):
        ArrayMetadata.from_document(changed(document, codecs=[*ARRAY["codecs"], "nope"]), source="a")


def test_null_for_no_dimension_names() -> None:
    """Some writers say it so."""
    assert (
        ArrayMetadata.from_document(changed(ARRAY, dimension_names=None), source="a").dimension_names is None
    )


def test_null_for_no_storage_transformers() -> None:
    """Some writers say `null` for an empty list; the document keeps it."""
    metadata = ArrayMetadata.from_document(changed(ARRAY, storage_transformers=None), source="a")
    assert metadata.storage_transformers == ()
    assert metadata.to_document()["storage_transformers"] is None


def test_bare_nan_of_other_writers() -> None:
    """It is read; a fill value is written back as JSON has it, attributes as they were found."""
    data = json.dumps(changed(ARRAY, fill_value=math.nan, attributes={"x": math.inf})).encode()
    metadata = parse_document(data, source="a")
    assert isinstance(metadata, ArrayMetadata)
    assert math.isnan(metadata.fill_value)
    assert metadata.to_document()["fill_value"] == "NaN"
    assert math.isinf(metadata.attributes["x"])
    again = metadata.with_shape((7, 7)).with_attributes({**metadata.attributes, "y": 1})
    assert load_document(dump_document(again.to_document()), source="a")["attributes"] == {
        "x": math.inf,
        "y": 1,
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (math.nan, math.nan),
        ([1, -math.inf], (1, -math.inf, 2)),
        ({"a": [{"b": math.nan}], "c": 1}, {"a": [{"b": float("nan"), "d": 2}]}),
    ],
    ids=["alone", "list", "deep"],
)
def test_bare_nan_stays_where_it_was(old: Any, new: Any) -> None:
    """An attribute may keep the NaN that another writer put there, with changes around it; it may not move elsewhere."""
    document = json.dumps(changed(ARRAY, attributes={"x": old})).encode()
    metadata = parse_document(document, source="a")
    kept = metadata.with_attributes({"x": new}).to_document()["attributes"]["x"]
    assert json.dumps(kept) == json.dumps(new)
    for moved in ({"y": new}, {"x": [[new]]}):
        with pytest.raises(MetadataError, match=r"attributes\.[xy].*JSON has no"):
            metadata.with_attributes(moved)


def test_new_metadata_hold_no_bare_nan() -> None:
    """Not in what extensions say of themselves either."""
    transformer = NamedConfig("scaled", {"factor": math.nan})
    with pytest.raises(
        MetadataError, match=r"storage_transformers\[0\]\.configuration\.factor: JSON has no nan"
    ):
        ArrayMetadata.create(shape=(1,), data_type="u1", storage_transformers=[transformer])


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [math.inf],
        {"a": {1: 2}},
        {1: 2},
        object(),
        b"x",
        {"a": {"b": {3}}},
        np.longdouble(1),
        np.datetime64(1, "ns"),
        np.array([np.nan]),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_attributes_that_json_cannot_hold(value: Any) -> None:
    """They are refused before anything is written, with the place (defect 28 of zarr-python 2)."""
    metadata = ArrayMetadata.from_document(ARRAY, source="a")
    with pytest.raises(MetadataError, match=r"attributes\.key"):
        metadata.with_attributes({"key": value})


def test_attributes_that_contain_themselves() -> None:
    """And those that are nested deeper than any reader follows."""
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(MetadataError, match="nested"):
        check_json({"a": loop}, "attributes")


def test_attributes_are_copied() -> None:
    """Changing the caller's dict changes nothing (defect 28 of zarr-python 2)."""
    mine = {"a": [1]}
    metadata = ArrayMetadata.from_document(ARRAY, source="a").with_attributes(mine)
    mine["a"].append(2)
    metadata.to_document()["attributes"]["a"].append(3)
    assert metadata.to_document()["attributes"] == {"a": [1]}
    assert mine == {"a": [1, 2]}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    )
)
def test_documents_come_back(value: Any) -> None:
    """What is written is read, and written again to the same bytes."""
    document = {**GROUP, "attributes": {"x": value}}
    data = dump_document(document)
    assert load_document(data, source="x") == document
    assert dump_document(load_document(data, source="x")) == data
    assert data.isascii()


# ---------------------------------------------------------------- new arrays


def test_a_new_array() -> None:
    """What is not given is filled in and recorded."""
    metadata = ArrayMetadata.create(shape=(np.int64(10), 3), data_type="<f4")
    assert metadata.to_document() == {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [10, 3],
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 0, "checksum": True}},
        ],
        "attributes": {},
        "storage_transformers": [],
    }
    assert metadata == parse_document(dump_document(metadata.to_document()), source="x")


def test_a_new_array_with_everything() -> None:
    """All members can be chosen."""
    metadata = ArrayMetadata.create(
        shape=(0, 4),
        data_type=str,
        chunk_shape=(2, 2),
        chunk_key_encoding=V2Keys("/"),
        fill_value="ä",
        codecs=["vlen-utf8", {"name": "gzip", "configuration": {"level": 3}}],
        attributes={"a": 1},
        dimension_names=["x", None],
        storage_transformers=[NamedConfig("sharding", {"chunks_per_shard": [1, 1]})],
    )
    assert metadata.fill_value == "ä"
    assert metadata.dimension_names == ("x", None)
    assert metadata.to_document()["storage_transformers"] == [
        {"name": "sharding", "configuration": {"chunks_per_shard": [1, 1]}}
    ]
    assert metadata == parse_document(dump_document(metadata.to_document()), source="x")


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (-1,), "data_type": "f4"}, {"shape": (1.5,), "data_type": "f4"}, {"shape": (True,), "data_type": "f4"},
        {"shape": (4,), "data_type": object}, {"shape": (4,), "data_type": "f4", "chunk_shape": (0,)},
        {"shape": (4,), "data_type": "f4", "chunk_shape": (1, 1)}, {"shape": (4,), "data_type": "f4", "fill_value": "x"},
        {"shape": (4,), "data_type": "f4", "codecs": ["bytes"]}, {"shape": (4,), "data_type": "f4", "attributes": {1: 2}},
        {"shape": (4,), "data_type": "f4", "dimension_names": ["a", "b"]},
    ],
    ids=str,
)  # fmt: skip
def test_new_arrays_that_make_no_sense(arguments: Any) -> None:
    """The arguments are checked like a document."""
    with pytest.raises(MetadataError):
        ArrayMetadata.create(**arguments)


def test_other_shapes() -> None:
    """The number of dimensions stays, lengths stay possible."""
    metadata = ArrayMetadata.from_document(ARRAY, source="a")
    assert metadata.with_shape((np.int32(1), 0)).shape == (1, 0)
    wrong: list[Any] = [(1,), (1, 2, 3), (-1, 1), (2**62, 2), (1.0, 1)]
    for shape in wrong:
        with pytest.raises(MetadataError):
            metadata.with_shape(shape)


# ---------------------------------------------------------------- node names


@pytest.mark.parametrize("name", ["a", "ä b", "a\\b", "..a", "_a", "zarr.json.x", "+=:*", "日本", "c"])
def test_names_that_are_allowed(name: Any) -> None:
    """Nearly everything (defect 29 of zarr-python 2)."""
    assert check_name(name) == name
    assert normalize_path(f"/x/{name}/") == f"x/{name}"


@pytest.mark.parametrize("name", ["", ".", "..", "...", "__x", "zarr.json", "a/b", "a\0", "\ud800", 5, None])
def test_names_that_are_forbidden(name: Any) -> None:
    """The rules of the specification, and NUL."""
    with pytest.raises(NodeNameError):
        check_name(name)


@pytest.mark.parametrize("path", ["a//b", "a/../b", "./a", "a/__b", "a/zarr.json", 5, "a/\0"])
def test_paths_that_are_forbidden(path: Any) -> None:
    """Every part is a name."""
    with pytest.raises(NodeNameError):
        normalize_path(path)


def test_paths_of_the_root() -> None:
    """All spellings of nothing."""
    assert [normalize_path(path) for path in ("", "/", "//", None)] == [""] * 4
