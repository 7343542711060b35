"""Arrays that lost their sharding transformer, and the report on a hierarchy."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import ConfigurationError, CorruptDataError
from zarrv3_layer_draft_v3 import KINDS, Damage, DraftV3
from zarrv3_layer_draft_v3.shards import count_of, index_of, may_be_index

COMPRESSORS: list[dict[str, Any] | None] = [
    None,
    {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    {"id": "zlib", "level": 1},
    {"id": "zstd", "level": 1},
    {"id": "lz4", "acceleration": 1},
    {"id": "gzip", "level": 1},
    {"id": "bz2", "level": 1},
    {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None},
]


def lost(draft: Any, path: str, length: int, **changes: Any) -> None:
    """Drop the transformer as zarr-python 2 does: the document is rewritten with another length."""
    document = json.loads(draft.content[draft.meta(path, "array")])
    shape = [length, *document["shape"][1:]]
    draft.document(path, **{"shape": shape, "storage_transformers": ..., **changes})


def values(store: Any, path: str) -> Any:
    """All elements of an array."""
    return zarrv3.open_array(store, path=path, mode="r")[...]


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda c: c["id"] if c else "raw")
def test_shards_in_disguise(new_draft: Any, compressor: dict[str, Any] | None) -> None:
    """Reading them is an error that names the key; with `repair` they read, without a word about their shards."""
    data = np.arange(100, 116, dtype="<i4")
    draft = new_draft()
    draft.array("r", data, chunks=(2,), per_shard=[(4,)], compressor=compressor)
    lost(draft, "r", 20)
    with pytest.raises(CorruptDataError, match="r/c/0"):
        values(DraftV3(draft.content), "r")
    store = DraftV3(draft.content, repair=True)
    assert values(store, "r").tolist() == [*data.tolist(), 0, 0, 0, 0]
    found = [damage for damage in store.report() if damage.kind == "lost-transformer"]
    assert [(damage.path, damage.key) for damage in found] == [("r", "data/root/r/c0")]
    assert "[4]" in found[0].text
    assert {key: len(value) for key, value in store.items()} == dict(store.list_sizes(""))
    assert sorted(store.list_prefix("r/c/")) == [f"r/c/{i}" for i in range(8)]
    assert store.stat_many(["r/c/3", "r/zarr.json", "r/c/9"]) == [
        len(store["r/c/3"]),
        len(store["r/zarr.json"]),
        None,
    ]


def test_the_error_says_what_to_do(new_draft: Any) -> None:
    """Where sizes tell, the error names both keys and the option."""
    draft = new_draft()
    draft.array("r", np.arange(8, dtype="<i4"), chunks=(2,), per_shard=[(4,)])
    lost(draft, "r", 8)
    with pytest.raises(CorruptDataError, match=r"'r/c/0' \('data/root/r/c0'.*shard of 4 chunks.*repair=True"):
        values(DraftV3(draft.content), "r")


@given(
    old=st.integers(1, 20),
    more=st.integers(0, 12),
    per_shard=st.integers(1, 5),
    compressor=st.sampled_from(COMPRESSORS),
    absent=st.integers(0, 9),
    given_=st.booleans(),
)
def test_appended_arrays(
    new_draft: Any,
    old: int,
    more: int,
    per_shard: int,
    compressor: dict[str, Any] | None,
    absent: int,
    given_: bool,
) -> None:
    """Shards of before and plain chunks of after read together, or the read is an error; never a wrong number."""
    draft = new_draft()
    before = np.arange(1, 2 * old + 1, dtype="<i4")
    draft.array(
        "r",
        before,
        chunks=(2,),
        per_shard=[(per_shard,)],
        compressor=compressor,
        present=lambda c: c[0] != absent,
    )
    expected = np.concatenate([before, np.arange(1000, 1000 + 2 * more, dtype="<i4")])
    expected[2 * absent : 2 * absent + 2] *= 2 * absent >= 2 * old
    later = new_draft()
    later.array("r", expected, chunks=(2,), compressor=compressor, present=lambda c: c[0] >= old)
    lost(draft, "r", len(expected))
    added = {key: value for key, value in later.content.items() if key.startswith("data/")}
    overwritten = {key for key in added if key in draft.content}
    draft.content.update(added)
    options = {"chunks_per_shard": {"r": [per_shard]}} if given_ else {}
    store = DraftV3(draft.content, repair=True, **options)
    try:
        got = values(store, "r")
    except CorruptDataError:
        assert overwritten
        return
    assert got.tolist() == expected.tolist()


def test_overwritten_shards(new_draft: Any) -> None:
    """A chunk whose shard was overwritten by a plain chunk is an error, also for a copy; the plain chunk reads."""
    draft = new_draft()
    draft.array("r", np.arange(32, dtype="<i4"), chunks=(2,), per_shard=[(4,)])
    lost(draft, "r", 32)
    draft.content["data/root/r/c1"] = np.array([-1, -2], "<i4").tobytes()
    store = DraftV3(draft.content, repair=True)
    array = zarrv3.open_array(store, path="r", mode="r")
    assert array[2:4].tolist() == [-1, -2]
    assert array[:8].tolist() == [0, 1, -1, -2, 4, 5, 6, 7]
    with pytest.raises(CorruptDataError, match=r"chunk \[4\] of /r may be lost: 'data/root/r/c1'"):
        _ = array[8:10]
    assert "r/c/4" in set(store)
    report = zarrv3.copy(store, zarrv3.MemoryStore(), on_error="report")
    assert {entry.path for entry in report.not_carried} == {"r"}


def test_two_dimensions_need_to_be_told(new_draft: Any) -> None:
    """The shape of a shard in two dimensions is not guessed: without it reading is an error, with it right."""
    data = np.arange(64, dtype="<i2").reshape(8, 8)
    draft = new_draft()
    draft.array("r", data, chunks=(2, 2), per_shard=[(2, 4)])
    lost(draft, "r", 8)
    with pytest.raises(CorruptDataError, match="r/c/0/0"):
        values(DraftV3(draft.content, repair=True), "r")
    assert "of 8 chunks" in next(
        d.text for d in DraftV3(draft.content).report() if d.kind == "lost-transformer"
    )
    store = DraftV3(draft.content, repair=True, chunks_per_shard={"/r": [2, 4]})
    assert values(store, "r").tolist() == data.tolist()
    assert "is given" in next(d.text for d in store.report() if d.kind == "lost-transformer")
    with pytest.raises(CorruptDataError, match="neither a chunk of /r nor a shard"):
        values(DraftV3(draft.content, repair=True, chunks_per_shard={"r": [4, 4]}), "r")


def test_shards_of_one_chunk(new_draft: Any) -> None:
    """Shards of one chunk are certain in any number of dimensions."""
    for data in (np.arange(16, dtype="<i2").reshape(4, 4), np.int16(7)):
        draft = new_draft()
        draft.array("r", np.asarray(data), chunks=(2,) * data.ndim, per_shard=[(1,) * data.ndim])
        draft.document("r", storage_transformers=...)
        assert np.array_equal(values(DraftV3(draft.content, repair=True), "r"), data)


def test_holes_need_to_be_told(new_draft: Any) -> None:
    """A shard with a gap tells nothing for certain; told, it reads."""
    draft = new_draft()
    draft.array("r", np.arange(8, dtype="<i4"), chunks=(2,), per_shard=[(4,)])
    lost(draft, "r", 8)
    value = bytearray(draft.content["data/root/r/c0"])
    value[-48:-32] = b"\xff" * 16
    draft.content["data/root/r/c0"] = bytes(value)
    with pytest.raises(CorruptDataError, match="r/c/0"):
        values(DraftV3(draft.content, repair=True), "r")
    store = DraftV3(draft.content, repair=True, chunks_per_shard={"r": [4]})
    assert values(store, "r").tolist() == [0, 1, 0, 0, 4, 5, 6, 7]


def test_repair_leaves_sound_arrays_alone(new_draft: Any) -> None:
    """What has its transformer is read as ever; naming it is an error."""
    data = np.arange(8, dtype="<i4")
    draft = new_draft()
    draft.array("s", data, chunks=(2,), per_shard=[(4,)])
    draft.array("p", data, chunks=(2,))
    store = DraftV3(draft.content, repair=True)
    assert values(store, "s").tolist() == values(store, "p").tolist() == data.tolist()
    assert not store.report()
    with pytest.raises(ConfigurationError, match="/s: its metadata have not lost"):
        values(DraftV3(draft.content, repair=True, chunks_per_shard={"s": [4]}), "s")
    with pytest.raises(ConfigurationError, match=r"/p: .*positive numbers"):
        values(DraftV3(draft.content, repair=True, chunks_per_shard={"p": [0]}), "p")


@given(st.binary(max_size=96))
def test_bytes_that_are_no_shard(value: bytes) -> None:
    """Of any bytes the number of chunks is only told where an index of that length covers all before it."""
    count = count_of(value)
    if count is not None:
        entries = index_of(value, count)
        assert entries is not None
        assert sum(entry.size for entry in entries if entry) == len(value) - 16 * count


@given(sizes=st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=6))
def test_indexes_of_shards(sizes: list[int | None]) -> None:
    """A shard without gaps tells its number of chunks; an index longer than the value never fits."""
    places, end = [], 0
    for size in sizes:
        places.append((2**64 - 1, 2**64 - 1) if size is None else (end, size))
        end += size or 0
    shard = b"x" * end + b"".join(struct.pack("<QQ", *place) for place in places)
    expected = len(sizes) if end else None
    assert count_of(shard) == expected
    found = index_of(shard, len(sizes))
    assert found == (
        [None if size is None else place for size, place in zip(sizes, places, strict=True)] if end else None
    )
    assert index_of(shard, len(shard) // 16 + 1) is None
    assert may_be_index(shard[-16:], len(shard))
    assert not may_be_index(shard[-15:], len(shard))


# ---------------------------------------------------------------- the report


def kinds(store: DraftV3) -> list[tuple[str, str]]:
    """Kinds and keys of what is found."""
    return sorted((damage.kind, damage.key) for damage in store.report())


EXPECTED = [
    ("below-array", "meta/root/top/below.array.json"),
    ("filters-attribute", "meta/root/user.array.json"),
    ("forbidden-name", "meta/root/__mine.array.json"),
    ("foreign", "meta/root/obj.array.json"),
    ("mangled-key", "meta/root.copy/group.json"),
    ("not-json", "meta/root.group.json"),
    ("old-datetime", "meta/root/old.array.json"),
    ("order-unknown", "meta/root/f.array.json"),
    ("orphan-chunks", "data/root/gone/c0"),
    ("orphan-chunks", "data/root/top/c0/1"),
    ("other-format", ".zgroup"),
    ("partial", "data/root/top/c0.0123456789abcdef0123456789abcdef.partial"),
    ("stale-consolidated", "meta/root/consolidated/.zmetadata"),
    ("undefined-fill", "meta/root/null.array.json"),
    ("undefined-fill", "meta/root/obj.array.json"),
    ("unknown-key", "readme.txt"),
]


def test_everything_odd_is_reported(new_draft: Any) -> None:
    """Each kind of damage that zarr-python 2 leaves behind is found, once, with the key."""
    draft = new_draft()
    one = np.arange(2, dtype="<i4")
    draft.group("", limit=float("inf"))
    draft.array("top", one, chunks=(2,))
    draft.array("top/below", one, chunks=(2,))
    draft.array("null", one, chunks=(2,), fill=None)
    draft.array("__mine", one, chunks=(2,))
    draft.array("old", one.astype("<M8[s]"), chunks=(2,))
    uri = "https://zarr-specs.readthedocs.io/en/core-protocol-v3.0-dev/protocol/extensions/datetime-dtypes/v1.0.html"
    draft.document("old", data_type={"extension": uri, "type": "<M8[s]", "fallback": None})
    draft.array("f", np.arange(4).reshape(2, 2), chunks=(1, 2), order="F")
    draft.array("user", one, chunks=(2,), attributes={"filters": {"id": 3}})
    draft.array("obj", np.array([None, 1], object), chunks=(2,), filters=[{"id": "json2"}], fill=None)
    draft.consolidate()
    draft.group("after")
    more = {
        "data/root/gone/c0": b"x",
        "data/root/gone/c1": b"x",
        "data/root/top/c0/1": b"x",
        "data/root/top/c0.0123456789abcdef0123456789abcdef.partial": b"",
        ".zgroup": b"{}",
        "meta/root.copy/group.json": b"{}",
        "readme.txt": b"hello",
    }
    draft.content.update(more)
    store = DraftV3(draft.content)
    assert kinds(store) == EXPECTED
    assert {kind for kind, _ in EXPECTED} <= set(KINDS)
    assert [*zarrv3.open_group(store, mode="r")] == ["after", "f", "null", "obj", "old", "top", "user"]
    assert str(Damage("a", "k", "partial", "text")) == "/a: partial: text (k)"


def test_a_sound_hierarchy_has_no_findings(new_draft: Any) -> None:
    """Nothing is reported of what is as it should be, consolidated or not."""
    draft = new_draft()
    draft.group("g", n=1)
    draft.array("g/a", np.arange(9).reshape(3, 3), chunks=(2, 2), per_shard=[(2, 2)])
    draft.array("b", np.arange(9.0), chunks=(2,), compressor={"id": "zstd", "level": 1})
    assert kinds(DraftV3(draft.content)) == []
    draft.consolidate()
    assert kinds(DraftV3(draft.content)) == []


def test_entry_points(new_draft: Any) -> None:
    """A missing entry point is reported, and one without any node."""
    draft = new_draft()
    assert kinds(DraftV3(draft.content)) == [("empty", "zarr.json")]
    draft.group("a")
    del draft.content["zarr.json"]
    assert kinds(DraftV3(draft.content)) == [("no-entry-point", "zarr.json")]


def test_documents_that_were_consolidated_and_broke(new_draft: Any) -> None:
    """A broken document is unreadable, and not what was consolidated; a key below the data that is not a chunk is an orphan."""
    draft = new_draft()
    draft.array("a", np.arange(3), chunks=(2,))
    draft.consolidate()
    draft.content["meta/root/a.array.json"] = b"{"
    draft.content["data/root/notes/readme"] = b""
    assert kinds(DraftV3(draft.content)) == [
        ("orphan-chunks", "data/root/a/c0"),
        ("orphan-chunks", "data/root/notes/readme"),
        ("stale-consolidated", "meta/root/consolidated/.zmetadata"),
        ("unreadable", "meta/root/a.array.json"),
    ]


@pytest.mark.parametrize(
    "value", [b"{", b"{}", b'{"metadata": []}', b'{"metadata": {"meta/root/x.group.json": {}}}']
)
def test_bad_consolidated_metadata(new_draft: Any, value: bytes) -> None:
    """Consolidated metadata that cannot be used are reported, and change nothing."""
    draft = new_draft()
    draft.array("a", np.arange(3), chunks=(2,))
    draft.consolidate()
    draft.content["meta/root/consolidated/.zmetadata"] = value
    store = DraftV3(draft.content)
    assert kinds(store) == [("stale-consolidated", "meta/root/consolidated/.zmetadata")]
    assert [*zarrv3.open_group(store, mode="r")] == ["a"]
