"""Migration is copying: what zarr-python 3 and TensorStore read afterwards, and what is told of the rest."""

import warnings
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import NotPortableError
from zarrv3_layer_draft_v3 import DraftV3

BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
DELTA = {"id": "delta", "dtype": "<i4", "astype": "<i4"}


@pytest.fixture
def draft(new_draft: Any) -> Any:
    """A hierarchy of what the final format has a form for."""
    made = new_draft()
    square = np.arange(49, dtype="<i4").reshape(7, 7)
    made.group("", title="old")
    made.array("g/plain", square, chunks=(3, 2), compressor=BLOSC, attributes={"unit": "m"})
    made.array("g/dots", square.astype(">f8"), chunks=(3, 2), separator=".", order="F")
    made.array("imp/shards", square, chunks=(2, 2), per_shard=[(2, 3)], compressor=BLOSC, fill=-1)
    made.array("nested", np.arange(30, dtype="|u1"), chunks=(1,), per_shard=[(2,), (4,)])
    made.array("partial", square, chunks=(2, 2), per_shard=[(2,)], present=lambda c: c != (0, 0), fill=9)
    made.array(
        "filtered",
        square,
        chunks=(3, 3),
        filters=[DELTA, {"id": "crc32"}],
        compressor={"id": "zlib", "level": 1},
    )
    made.array("scalar", np.float64(2.5), chunks=(), per_shard=[(1,)])
    made.array("times", np.arange(5).astype("<M8[ns]"), chunks=(2,), fill=-(2**63))
    made.array("names", np.array(["a", "bcd", "é"], "<U3"), chunks=(2,), fill="")
    made.array(
        "texts", np.array(["a", "bcd", "é"], object), chunks=(2,), filters=[{"id": "vlen-utf8"}], fill=""
    )
    made.consolidate()
    return made


def test_zarr_python_reads_what_was_copied(draft: Any, tmp_path: Any) -> None:
    """After copying everything zarr-python 3 opens the hierarchy with the same values, attributes and groups."""
    zarr = pytest.importorskip("zarr")
    source = DraftV3(draft.content)
    report = zarrv3.copy(source, tmp_path / "new", verify=True)
    assert report.not_carried == ()
    assert (report.arrays, report.recoded) == (10, 0)
    ours = zarrv3.open_group(source, mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr-python on data types and codecs outside the specification
        theirs = zarr.open_group(str(tmp_path / "new"), mode="r")
        assert dict(theirs.attrs) == {"title": "old"}
        paths = [path for path, node in ours.members(None) if isinstance(node, zarrv3.Array)]
        assert len(paths) == 10
        for path in paths:
            mine = ours[path]
            array = theirs[path]
            assert np.array_equal(np.asarray(array[...]), np.asarray(mine[...])), path
            assert dict(array.attrs) == dict(mine.attrs), path
            assert path == "nested" or array.chunks == mine.chunks, (
                path
            )  # it shows the outer one of two inner chunks
    assert not [key for key in zarrv3.open_store(tmp_path / "new") if "consolidated" in key or "meta/" in key]


def test_tensorstore_reads_what_was_copied(draft: Any, tmp_path: Any) -> None:
    """TensorStore opens copied arrays, sharded and nested ones too."""
    ts = pytest.importorskip("tensorstore")
    source = DraftV3(draft.content)
    zarrv3.copy(source, tmp_path / "new")
    for path in ("g/plain", "g/dots", "imp/shards", "nested", "partial", "scalar"):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/new/{path}/"}}
        found = ts.open(spec, read=True).result().read().result()
        assert np.array_equal(found, zarrv3.open_array(source, path=path, mode="r")[...]), path


def test_chunks_and_shards_pass_through(draft: Any) -> None:
    """Copying keeps the bytes of every chunk and shard."""
    dest = zarrv3.MemoryStore()
    zarrv3.copy(DraftV3(draft.content), dest)
    chunks = sorted(value for key, value in draft.content.items() if key.startswith("data/"))
    assert sorted(value for key, value in dest.items() if not key.endswith("zarr.json")) == chunks


def test_what_cannot_be_carried_is_reported(draft: Any) -> None:
    """Nodes without a final form, and documents that cannot be read, are in the report with the reason; the rest arrives."""
    both = np.dtype([("a", "<i2"), ("b", ">i2")])
    labels = {"id": "categorize", "labels": ["a"], "dtype": "<U1", "astype": "|u1"}
    draft.array("objects", np.array([1, None], object), chunks=(2,), filters=[{"id": "json2"}], fill=None)
    draft.array("records", np.zeros(2, both), chunks=(2,))
    draft.array(
        "labels", np.array(["a", "a"], "<U1"), chunks=(2,), filters=[labels], fill="", per_shard=[(1,)]
    )
    draft.array(
        "pickled", np.array(["a"], object), chunks=(1,), filters=[{"id": "pickle", "protocol": 4}], fill=None
    )
    draft.content["meta/root/broken.array.json"] = b"{"
    source = DraftV3(draft.content)
    dest = zarrv3.MemoryStore()
    report = zarrv3.copy(source, dest, on_error="report")
    assert sorted(entry.path for entry in report.not_carried) == [
        "broken",
        "labels",
        "objects",
        "pickled",
        "records",
    ]
    reasons = {entry.path: entry.reason for entry in report.not_carried}
    assert "no form in the final format" in reasons["objects"]
    assert "pickle" in reasons["pickled"]
    assert "broken.array.json" in reasons["broken"]
    assert report.arrays == 10
    assert not [key for key in dest if key.startswith(("broken", "labels", "objects", "pickled", "records"))]
    with pytest.raises(NotPortableError, match=r"cannot copy /pickled in .*on_error='report'"):
        zarrv3.copy(source, zarrv3.MemoryStore(), source_path="pickled")
    with pytest.raises(NotPortableError, match=r"cannot copy /labels in .*filters=None, serializer='auto'"):
        zarrv3.copy(source, zarrv3.MemoryStore(), source_path="labels")


def test_categories_are_carried_when_encoded_anew(new_draft: Any) -> None:
    """Texts behind the filter `categorize` arrive with other filters."""
    made = new_draft()
    data = np.array(["a", "bc", "a"], "<U2")
    labels = {"id": "categorize", "labels": ["a", "bc"], "dtype": "<U2", "astype": "|u1"}
    made.array("labels", data, chunks=(2,), filters=[labels], fill="")
    dest = zarrv3.MemoryStore()
    source = DraftV3(made.content)
    zarrv3.copy(source, dest, source_path="labels", dest_path="labels", filters=None, serializer="auto")
    copied = zarrv3.open_array(dest, path="labels")
    assert copied[...].tolist() == data.tolist()
    assert [codec.kind for codec in copied.codecs] == ["array-bytes"]


def test_repaired_arrays_are_carried(new_draft: Any) -> None:
    """An array that lost its transformer arrives whole, as plain chunks, when it is repaired on the way."""
    made = new_draft()
    data = np.arange(20, dtype="<i4")
    made.array("r", data, chunks=(2,), per_shard=[(4,)], compressor=BLOSC)
    made.document("r", storage_transformers=..., shape=[24])
    dest = zarrv3.MemoryStore()
    zarrv3.copy(DraftV3(made.content, repair=True), dest, verify=True)
    assert zarrv3.open_array(dest, path="r")[...].tolist() == [*data.tolist(), 0, 0, 0, 0]
    assert len([key for key in dest if key.startswith("r/c/")]) == 10
