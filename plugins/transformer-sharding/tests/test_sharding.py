"""Sharded arrays as their users see them: both spellings, metadata, nesting, longer chains, and what is refused."""

import json
import pickle
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import MemoryStore, Request, registry
from zarrv3.compat import ShardingStorageTransformer
from zarrv3.errors import MetadataError, UnknownExtensionError, UnsupportedError
from zarrv3.store.contract import ByteRange
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore
from zarrv3_transformer_sharding import ShardingCodec, ShardingTransformer

URI = "https://purl.org/zarr/spec/storage_transformers/sharding/1.0"
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


def sharding(chunk_shape: list[int], *codecs: Any, **changes: Any) -> dict[str, Any]:
    """The codec's document."""
    configuration = {
        "chunk_shape": chunk_shape,
        "codecs": list(codecs or [LITTLE]),
        "index_codecs": [LITTLE, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {"name": "sharding_indexed", "configuration": configuration | changes}


def document(array: zarrv3.Array) -> dict[str, Any]:
    """The `zarr.json` of an array."""
    found: dict[str, Any] = json.loads(array.store["zarr.json"])
    return found


# ---------------------------------------------------------------- the two spellings


def test_the_codec() -> None:
    """`shards=` writes the portable codec: the grid is that of shards, and all shapes are as they were meant."""
    array = zarrv3.create_array(
        MemoryStore(), shape=(10, 10), chunks=(2, 3), shards=(4, 6), dtype="i4", compressors=None
    )
    found = document(array)
    assert found["codecs"] == [sharding([2, 3])]
    assert found["chunk_grid"]["configuration"] == {"chunk_shape": [4, 6]}
    assert "storage_transformers" not in found or found["storage_transformers"] == []
    assert (array.chunks, array.shards, array.nchunks, array.cdata_shape) == ((2, 3), (4, 6), 20, (5, 4))


def test_the_transformer() -> None:
    """The class of zarr-python 2 writes the specification's storage transformer: the grid is that of chunks."""
    assert ShardingStorageTransformer is ShardingTransformer is zarrv3.ShardingTransformer
    transformer = ShardingTransformer("indexed", chunks_per_shard=(2, 2))
    array = zarrv3.create(
        (10, 10),
        chunks=(2, 3),
        dtype="i4",
        compressor=None,
        storage_transformers=[transformer],
        zarr_version=3,
    )
    found = document(array)
    assert found["storage_transformers"] == [
        {"name": URI, "configuration": {"type": "indexed", "chunks_per_shard": [2, 2]}}
    ]
    assert found["chunk_grid"]["configuration"] == {"chunk_shape": [2, 3]}
    assert (array.chunks, array.shards, array.nchunks) == ((2, 3), (4, 6), 20)
    array[:] = 7
    shard = array.store["c/0/0"]
    index = np.frombuffer(shard[-64:], "<u8").reshape(4, 2)
    assert len(shard) == 4 * 24 + 64  # no checksum
    assert index.tolist() == [[0, 24], [24, 24], [48, 24], [72, 24]]


def test_the_short_name() -> None:
    """The short name of the transformer is understood and stays as it is."""
    short = {"name": "sharding", "configuration": {"type": "indexed", "chunks_per_shard": 3}}
    array = zarrv3.create(12, chunks=2, dtype="i4", storage_transformers=[short])
    array[:] = range(12)
    array.attrs["a"] = 1
    again = zarrv3.open_array(array.store)
    assert again.shards == (6,)
    assert again[...].tolist() == [*range(12)]
    assert document(again)["storage_transformers"] == [short]


@pytest.mark.parametrize(
    ("given", "counts"), [(3, (3,)), (np.int8(2), (2,)), ((2, 5), (2, 5)), ([4], (4,)), ((), (1,))]
)
def test_counts(given: Any, counts: tuple[int, ...]) -> None:
    """`chunks_per_shard` is one integer or several; none is 1."""
    made = ShardingTransformer("indexed", given)
    assert made.chunks_per_shard == counts
    assert ShardingTransformer.from_json(URI, made.to_json()["configuration"]) == made


@pytest.mark.parametrize("given", [0, -1, (2, 0), "2", True, 1.5, (1, "2"), None, (2**63,), [[1]], {"a": 1}])
def test_refused_counts(given: Any) -> None:
    """Everything else is an error that names the argument."""
    with pytest.raises(MetadataError, match="chunks_per_shard"):
        ShardingTransformer("indexed", given)


def test_fewer_counts_than_dimensions() -> None:
    """Dimensions without a count are not joined; more counts than dimensions are refused before anything is written."""
    array = zarrv3.create((4, 4, 4), chunks=1, storage_transformers=[ShardingTransformer("indexed", (2, 4))])
    assert array.shards == (2, 4, 1)
    array[...] = 1
    assert len(array.store) == 1 + 8
    store = MemoryStore()
    with pytest.raises(MetadataError, match="2 dimensions, the array has 1"):
        zarrv3.create(4, store=store, storage_transformers=[ShardingTransformer("indexed", (2, 4))])
    with pytest.raises(MetadataError, match="more entries than"):
        ShardingTransformer("indexed", (1,) * 4).bind(store, "", array.metadata)
    with pytest.raises(MetadataError, match="make chunks larger"):
        zarrv3.create(4, store=store, storage_transformers=[ShardingTransformer("indexed", 2**40)])
    with pytest.raises(zarrv3.errors.ConfigurationError, match="does not know the type 'other'"):
        ShardingTransformer("other", 2)
    assert not [*store]


@pytest.mark.parametrize("keys", ["default/", "default.", "v2/", "v2."])
def test_without_dimensions(keys: str) -> None:
    """An array without dimensions can be one chunk in one shard."""
    encoding = {"name": keys[:-1], "configuration": {"separator": keys[-1]}}
    array = zarrv3.create(
        (),
        chunks=(),
        dtype="i4",
        codecs=[sharding([])],
        store=MemoryStore(),
        path="a",
        chunk_key_encoding=encoding,
    )
    assert array[()] == 0
    assert array.nchunks_initialized == 0
    array[()] = 5
    assert (int(zarrv3.open_array(array.store, path="a")[()]), array.shards, array.nchunks_initialized) == (
        5,
        (),
        1,
    )
    array[()] = 0
    assert sorted(array.store) == ["a/zarr.json", "zarr.json"]


def test_changes_of_metadata_keep_the_shards() -> None:
    """`resize`, `append`, attributes and a new fill value leave transformer and codec as they are, and the values."""
    for options in ({"shards": 4}, {"storage_transformers": [ShardingTransformer("indexed", 2)]}):
        array = zarrv3.create_array(MemoryStore(), shape=8, chunks=2, dtype="i4", **options)  # type: ignore[arg-type]
        array[:] = range(8)
        before = document(array)
        array.append([8, 9])
        array.resize(9)
        array.attrs["a"] = 1
        again = zarrv3.open_array(array.store)
        again.resize(20)
        assert again[...].tolist() == [*range(9), *[0] * 11]
        after = document(again)
        for member in ("codecs", "storage_transformers", "chunk_grid"):
            assert after.get(member) == before.get(member)
        assert pickle.loads(pickle.dumps(again))[7] == 7
        like = zarrv3.zeros_like(again)
        assert (like.chunks, like.shards) == (again.chunks, again.shards)
        assert document(like).get("codecs") == after["codecs"]


def test_both_at_once() -> None:
    """A transformer under an array of shards puts shards into shards; either kind nests."""
    two = [ShardingTransformer("indexed", (2,)), ShardingTransformer("indexed", (3,))]
    values = np.arange(1, 101)
    for options in (
        {"storage_transformers": two},
        {"codecs": [sharding([4], sharding([2], index_location="start"))]},
        {"codecs": [sharding([2])], "storage_transformers": two[1:]},
    ):
        chunks = {"storage_transformers": 2, "codecs": 4}[next(iter(options))]
        if "codecs" in options and "storage_transformers" not in options:
            chunks = 12
        array = zarrv3.create(100, chunks=chunks, dtype="i8", **options)
        assert (array.chunks, array.shards) == ((2,), (12,))
        array[...] = values
        array[7:30:3] = values[7:30:3]
        again = zarrv3.open_array(array.store)
        assert (again[...] == values).all()
        assert again[37] == 38
        assert again.nchunks_initialized == 50
        assert len(array.store) == 1 + 9
        again.resize(31)
        again.resize(40)
        assert again[...].tolist() == [*range(1, 32), *[0] * 9]


# ---------------------------------------------------------------- in a longer chain


TRANSPOSE = {"name": "transpose", "configuration": {"order": [1, 0]}}
GZIP = {"name": "gzip", "configuration": {"level": 1}}


@pytest.mark.parametrize(
    "codecs",
    [
        [TRANSPOSE, sharding([3, 2])],
        [sharding([2, 3]), GZIP],
        [TRANSPOSE, sharding([3, 2], TRANSPOSE, LITTLE, GZIP, index_location="start"), {"name": "crc32c"}],
        [TRANSPOSE, sharding([6, 2], sharding([3, 1]))],
        [sharding([4, 3], TRANSPOSE, sharding([3, 2]))],
    ],
    ids=["after transpose", "before gzip", "between", "nested", "inside"],
)
def test_longer_chains(codecs: list[Any]) -> None:
    """Before and behind other codecs it works on whole chunks: no transformer, all values."""
    array = zarrv3.create((9, 13), chunks=(4, 6), dtype="f4", codecs=codecs, fill_value=-1)
    values = np.arange(9 * 13, dtype="f4").reshape(9, 13)
    assert array.shards == ((4, 6) if len(codecs) == 1 else None)
    array[:5] = values[:5]
    array[5:, 3:] = values[5:, 3:]
    values[5:, :3] = -1
    again = zarrv3.open_array(array.store)
    assert (again[...] == values).all()
    assert document(again)["codecs"] == codecs
    assert again[7, 12] == values[7, 12]


def test_missing_chunks_in_a_longer_chain() -> None:
    """Chunks that a shard lacks have the fill value, also where the shard is decoded as a whole."""
    array = zarrv3.create(8, chunks=4, dtype="u1", codecs=[sharding([2]), GZIP], fill_value=9)
    plain = zarrv3.create(8, chunks=4, dtype="u1", codecs=[sharding([2])], fill_value=9)
    plain[1:2] = 5
    plain[6:] = 6
    for key in ("c/0", "c/1"):
        array.store[key] = bytes(zarrv3.format.codecs.parse_codec(GZIP).encode(plain.store[key]))  # type: ignore[attr-defined]
    assert array[...].tolist() == plain[...].tolist() == [9, 5, 9, 9, 9, 9, 6, 6]


def test_inner_codecs_of_all_kinds() -> None:
    """Inner chunks may hold texts, records, and anything compressed; order F reverses inner chunks."""
    text = np.array(["a", "", "longer", "żółw"] * 3, dtype=np.dtypes.StringDType())
    record = np.zeros(12, [("a", "i2"), ("b", "f8")])
    record["a"] = range(12)
    for values in (text, record, np.arange(12.0), np.arange(12) % 3 == 0):
        array = zarrv3.create_array(MemoryStore(), data=values, chunks=2, shards=6)
        assert np.array_equal(np.asarray(array[...]), values)
        array[3:5] = values[:2]
        assert np.array_equal(np.asarray(array[2:6]), values[[2, 0, 1, 5]])
    square = np.arange(36).reshape(6, 6)
    ordered = zarrv3.create_array(MemoryStore(), data=square, chunks=(2, 3), shards=(4, 6), order="F")
    assert ordered.order == "F"
    assert (ordered[...] == square).all()


# ---------------------------------------------------------------- documents that are refused


@pytest.mark.parametrize(
    ("codec", "what"),
    [
        (sharding([3]), "does not divide"),
        (sharding([2, 2]), "1 dimensions"),
        (sharding([0]), r"chunk_shape\[0\]"),
        (sharding([-2]), r"chunk_shape\[0\]"),
        (sharding(["2"]), r"chunk_shape\[0\]"),  # type: ignore[list-item]
        (sharding(4), "must be a list"),  # type: ignore[arg-type]
        (sharding([8]), "does not divide"),
        (sharding([2], index_location="middle"), "index_location"),
        (sharding([2], codecs=[]), "codecs must be a list"),
        (sharding([2], codecs="bytes"), "codecs must be a list"),
        (sharding([2], codecs=[{"name": "crc32c"}]), "array → bytes"),
        (sharding([2], index_codecs=[LITTLE, GZIP]), "same size"),
        (sharding([2], index_codecs=[]), "index_codecs must be a list"),
        (sharding([2], index_codecs=[{"name": "bytes"}]), "endian"),
        (sharding([2], more=1), "unknown configuration: more"),
        ({"name": "sharding_indexed"}, "lacks chunk_shape"),
        (sharding([2], {"name": "no-such-codec"}), "no-such-codec"),
    ],
)
def test_refused_documents(codec: Any, what: str) -> None:
    """A configuration that makes no sense is refused when it is created and when it is opened, by its own words."""
    store = MemoryStore()
    with pytest.raises(MetadataError, match=what):
        zarrv3.create(8, chunks=4, dtype="i4", store=store, codecs=[codec])
    assert not [*store]
    good = zarrv3.create(8, chunks=4, dtype="i4", store=store)
    store["zarr.json"] = json.dumps(document(good) | {"codecs": [codec]}).encode()
    with pytest.raises(MetadataError, match=what):
        zarrv3.open_array(store)


@pytest.mark.parametrize("depth", [9, 100, 400])
def test_nested_too_deep(depth: int) -> None:
    """Shards in shards in shards … end in an error, not in the interpreter's stack."""
    codec = sharding([1])
    for _ in range(depth - 1):
        codec = sharding([1], codec)
    with pytest.raises(MetadataError, match="nested"):
        zarrv3.create(4, chunks=1, dtype="i4", codecs=[codec])


def test_deepest_nesting() -> None:
    """Eight levels work."""
    codec = sharding([1])
    for level in range(1, 8):
        codec = sharding([2**level], codec)
    array = zarrv3.create(512, chunks=256, dtype="i2", codecs=[codec])
    array[...] = np.arange(512)
    array[100:105] = -1
    assert array[99:106].tolist() == [99, -1, -1, -1, -1, -1, 105]
    assert (array.chunks, array.shards) == ((1,), (256,))


def test_without_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, opening says which one to install, for either spelling."""
    arrays = [
        zarrv3.create(8, chunks=4, dtype="i4", codecs=[sharding([2])]),
        zarrv3.create(8, chunks=2, storage_transformers=[ShardingTransformer("indexed", 2)]),
    ]
    monkeypatch.setattr(registry, "_entry_points", dict)
    monkeypatch.setattr(registry, "_loaded", {})
    for array in arrays:
        with pytest.raises(UnknownExtensionError, match="pip install zarrv3-transformer-sharding"):
            zarrv3.open_array(array.store)


def test_codecs_are_values() -> None:
    """Two codecs of one document are equal, and documents come back as they were."""
    given = sharding([2], sharding([1]), index_location="start")
    one, other = (zarrv3.format.codecs.parse_codec(given) for _ in range(2))
    assert isinstance(one, ShardingCodec)
    assert one == other
    assert one.to_json() == given
    short = sharding([2])
    del short["configuration"]["index_location"]
    assert zarrv3.format.codecs.parse_codec(short).to_json() == sharding([2])


# ---------------------------------------------------------------- the store of chunks


def test_the_store_shows_chunks() -> None:
    """Through the bound transformer each chunk is a key with its size, and all other keys are as below."""
    array = zarrv3.create((4, 40), chunks=(2, 2), dtype="i2", compressor=None, storage_transformers=[
        ShardingTransformer("indexed", (2, 4))
    ], path="g/a")  # fmt: skip
    array[:, 2:38] = 1
    store, below = array.layout.store, array.store
    chunks = {f"g/a/c/{i}/{j}": 8 for i in range(2) for j in range(1, 19)}
    assert dict(store.list_sizes("g/a/c/")) == chunks
    documents = {key: len(below[key]) for key in ("zarr.json", "g/zarr.json", "g/a/zarr.json")}
    assert dict(store.list_sizes("")) == chunks | documents
    asked = ["g/a/c/1/5", "zarr.json", "g/a/c/1/0", "g/a/c/1/5", "g/a/c/7/7", "other"]
    assert store.stat_many(asked) == [8, documents["zarr.json"], None, 8, None, None]
    assert "g/a/c/0/1" in store
    assert "g/a/c/0/0" not in store
    assert sorted(store.list_prefix("g/a/c/1/1")) == sorted(k for k in chunks if k.startswith("g/a/c/1/1"))
    for folder, names in (
        ("g/a/", {"g/a/zarr.json", "g/a/c/"}),
        ("g/a/c/", {"g/a/c/0/", "g/a/c/1/"}),
        ("g/a/c/1/", {k for k in chunks if k.startswith("g/a/c/1/")}),
        ("", {"zarr.json", "g/"}),
    ):
        listed = store.list_dir(folder)
        assert iter(listed) is listed
        assert sorted(listed) == sorted(names)
    assert [*store.list_prefix("other")] == []
    ranges = (ByteRange(2, 4), ByteRange(-100, 100), ByteRange(9))
    got = store.get_many([Request("g/a/c/0/1", wanted) for wanted in ranges])
    assert [bytes(value or b"") for value in got] == [b"\1\0", b"\1\0" * 4, b""]
    store["g/a/c/0/note"] = b"not a chunk"
    assert below["g/a/c/0/note"] == b"not a chunk"
    assert "g/a/c/0/note" in [*store.list_prefix("g/a/c/0/")]
    store.erase_prefix("g/a/c/1/")
    assert sorted(store.list_prefix("g/a/c/")) == sorted(
        ["g/a/c/0/note", *(k for k in chunks if k.startswith("g/a/c/0/"))]
    )
    assert array[...].tolist() == [[0, 0, *[1] * 36, 0, 0]] * 2 + [[0] * 40] * 2
    store.erase_prefix("g/a/c/")
    assert {*below} == {*documents}


def test_moving_chunks() -> None:
    """Renaming a folder of chunks moves them as chunks: elsewhere each is a value of its own."""
    array = zarrv3.create(8, chunks=2, dtype="u1", compressor=None, storage_transformers=[
        ShardingTransformer("indexed", 2)
    ], path="a")  # fmt: skip
    array[:] = range(1, 9)
    array.layout.store.rename_prefix("a/c/", "b/")
    assert {key: array.store[key] for key in array.store.list_prefix("b/")} == {
        f"b/{n}": bytes([2 * n + 1, 2 * n + 2]) for n in range(4)
    }
    assert [*array.store.list_prefix("a/c/")] == []
    array.layout.store.rename_prefix("b/", "a/c/")
    assert sorted(array.store.list_prefix("a/c/")) == ["a/c/0", "a/c/1"]
    assert array[...].tolist() == [*range(1, 9)]


def test_swapping_chunks() -> None:
    """`swap_many` swaps chunks that have the version given, also to and from absence; the last one takes the shard."""
    array = zarrv3.create(8, chunks=2, dtype="u1", compressor=None, storage_transformers=[
        ShardingTransformer("indexed", 2)
    ])  # fmt: skip
    store, swap = array.layout.store, array.layout.store.swap_many

    def version(key: str) -> Any:
        return store.get_versioned([key])[0][1]

    assert {*swap({"c/0": (b"other", b"cd")})} == {"c/0"}
    assert not swap({"c/0": (None, b"ab"), "c/2": (None, b"xy"), "note": (None, b"n")})
    assert {*swap({"c/0": (None, b"cd"), "c/1": (None, b"ef"), "note": (None, b"m")})} == {"c/0", "note"}
    assert store.get_versioned(["c/1", "c/3", "note"])[1] == (None, None)
    assert version("c/0") != version("c/1")
    assert not swap({"c/0": (version("c/0"), b"cd"), "c/2": (version("c/2"), None)})
    assert array[...].tolist() == [*b"cdef", 0, 0, 0, 0]
    assert not swap({"c/0": (version("c/0"), None), "c/1": (version("c/1"), None)})
    assert sorted(array.store) == ["note", "zarr.json"]
    driver = MemoryDriver({})
    driver.capabilities = driver.capabilities.without("swap")
    half = ShardingTransformer("indexed", 2).bind(DriverStore(driver), "", array.metadata)
    assert not half.capabilities.swap
    with pytest.raises(UnsupportedError, match="cannot swap"):
        half.swap_many({"c/0": (None, b"ab")})


def test_emptied_shards_where_swaps_do_not_erase() -> None:
    """A shard of which a partial change leaves nothing is an index alone where it cannot be erased on a condition."""
    driver = MemoryDriver({})
    driver.capabilities = driver.capabilities.without("swap_erases", "transactions")
    array = zarrv3.create_array(
        DriverStore(driver), shape=12, chunks=1, shards=4, dtype="u1", fill_value=0, compressors=None
    )
    array[:] = range(1, 13)
    array.resize(6)
    array.resize(4)
    assert len(array.store["c/1"]) == 4 * 16 + 4
    array.resize(12)
    array[4:8] = range(4)
    array[5:8] = 0
    assert array[...].tolist() == [1, 2, 3, 4, *[0] * 8]


def test_chunks_left_out() -> None:
    """Chunks that a change leaves out stay, also where all of the shard could have been replaced unread."""
    array = zarrv3.create(
        8, chunks=2, dtype="u1", compressor=None, storage_transformers=[ShardingTransformer("indexed", 2)]
    )
    array[:] = range(1, 9)
    array.layout.chunks.change_many(
        ["c/0", "c/1", "c/2", "c/3", "note", "other"],
        ["c/2", "note"],
        lambda _, olds: {"c/1": b"xx", "c/3": olds["c/2"], "note": b"n"},
    )
    assert array[...].tolist() == [1, 2, *b"xx", 5, 6, 5, 6]
    assert sorted(array.store) == ["c/0", "c/1", "note", "zarr.json"]


def test_transactions() -> None:
    """In a transaction shards are written once, at its end; `apply_many` changes chunks of several shards at once."""
    store = zarrv3.Counting(MemoryStore())
    array = zarrv3.create_array(store, shape=16, chunks=2, shards=8, dtype="u1", compressors=None)
    array[:] = 1
    store.reset()
    with store.transaction() as pending:
        inside = zarrv3.open_array(pending, mode="r+")
        inside[3:5] = 9
        inside[12:] = 0
        assert array[3] == 1
    assert store.calls["apply_many"] == 1
    assert "write_many" not in store.calls
    assert array[...].tolist() == [1, 1, 1, 9, 9, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    array.layout.store.apply_many({"c/0": b"xy", "c/4": None, "c/5": None, "note": b"n"})
    assert array[...].tolist() == [*b"xy", 1, 9, 9, 1, 1, 1, *[0] * 8]
    assert sorted(array.store) == ["c/0", "note", "zarr.json"]
