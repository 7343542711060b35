"""What scripts written for zarr-python 3 say, with `import zarrv3 as zarr`."""

import asyncio
import io
import pickle
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import obstore.store
import pytest
import zarr as zarr_python

import zarrv3 as zarr
from zarrv3 import registry
from zarrv3.errors import ConfigurationError, MetadataError

VALUES = np.arange(24, dtype="i4").reshape(4, 6)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("theirs", "ours", "value"),
    [
        ("array.order", "order", "F"),
        ("array.write_empty_chunks", "write_empty_chunks", True),
        ("async.concurrency", "window", 128),
        ("threading.max_workers", "threads", 3),
        ("codec_pipeline.max_workers", "threads", 3),
    ],
)
def test_settings_by_their_names(theirs: str, ours: str, value: Any) -> None:
    """A setting goes by zarr-python's name too, in a block as well."""
    before = zarr.config.get(ours)
    with zarr.config.set({theirs: value}):
        assert zarr.config.get(ours) == zarr.config.get(theirs) == value
    assert zarr.config.get(theirs) == before


def test_settings_without_a_meaning() -> None:
    """What concerns zarr-python's own machinery may be set and read, and nothing follows from it."""
    name = "codec_pipeline.path"
    with zarr.config.set({name: "zarr.core.codec_pipeline.FusedCodecPipeline"}):
        assert zarr.config.get(name) == "zarr.core.codec_pipeline.FusedCodecPipeline"
    assert zarr.config.get(name) is None
    assert zarr.config.get("default_zarr_format") == 3


@pytest.mark.parametrize(
    "named",
    [
        {"default_zarr_format": 2},
        {"array.read_missing_chunks": False},
        {"array.order": "K"},
        {"threading.max_workers": "many"},
        {"no.such": 1},
    ],
)
def test_settings_that_cannot_be(named: dict[str, Any]) -> None:
    """What would have to change something and does not is refused, and nothing is set."""
    with pytest.raises(ConfigurationError):
        zarr.config.set({"array.order": "F", **named})
    assert zarr.config.get("array.order") == "C"
    assert zarr.config.get("no.such", 5) == 5
    with pytest.raises(ConfigurationError):
        zarr.config.get("no.such")


def test_settings_are_printed() -> None:
    """All settings can be printed as zarr-python prints them."""
    stream = io.StringIO()
    zarr.config.pprint(stream=stream, width=60)
    assert "'write_empty_chunks': False" in stream.getvalue()


# ---------------------------------------------------------------- arrays


def test_order_in_memory() -> None:
    """`order` in `config` is that of what is read; the chunks are the same."""
    with zarr.config.set({"array.order": "F"}):
        set_outside = zarr.create_array({}, data=VALUES)
    given = zarr.create_array({}, data=VALUES, config={"order": "F"})
    plain = zarr.create_array({}, data=VALUES)
    for array in (set_outside, given, plain.with_config({"order": "F"}), pickle.loads(pickle.dumps(given))):
        assert array.config.order == "F"
        assert array[...].flags.f_contiguous
        assert not array[...].flags.c_contiguous
        assert np.array_equal(array[1:, ::2], VALUES[1:, ::2])
        assert array.store["c/0/0"] == plain.store["c/0/0"]
    assert plain[...].flags.c_contiguous


def test_empty_chunks_by_config() -> None:
    """`write_empty_chunks` goes by `config` too; the argument of that name counts more."""
    array = zarr.create_array({}, shape=3, dtype="i1", config={"write_empty_chunks": True})
    assert array.config.write_empty_chunks
    assert array.with_config(array.config).config == array.config
    array[:] = 0
    assert array.nchunks_initialized == 1
    opened = zarr.open(array.store, config=array.config, write_empty_chunks=False)
    assert isinstance(opened, zarr.Array)
    assert not opened.write_empty_chunks


@pytest.mark.parametrize("config", [{"ordre": "F"}, {"order": "K"}, {"read_missing_chunks": False}])
def test_config_that_cannot_be(config: dict[str, Any]) -> None:
    """What an array cannot be told is refused before anything is written."""
    store = zarr.MemoryStore()
    with pytest.raises(ConfigurationError):
        zarr.create_array(store, shape=3, dtype="i1", config=config)
    assert [*store] == []


def test_what_an_array_tells() -> None:
    """The properties of zarr-python's arrays that have no other name here."""
    array = zarr.create_array({}, shape=(7, 4), chunks=(2, 2), shards=(4, 4), dtype="i4")
    assert array.read_chunk_sizes == ((2, 2, 2, 1), (2, 2))
    assert array.write_chunk_sizes == ((4, 3), (4,))
    assert array.serializer.to_json() == {"name": "bytes", "configuration": {"endian": "little"}}
    assert array.metadata.to_dict() == array.metadata.to_document()
    assert array.metadata.zarr_format == zarr.group().metadata.zarr_format == 3
    array.resize(new_shape=(2, 2))
    assert array.update_attributes(new_attributes={"a": 1}).shape == (2, 2)
    assert array.nbytes_stored() == array.store.getsize("")


def test_data_are_not_written() -> None:
    """With `write_data=False` the data say what shape and dtype an array has, no more."""
    array = zarr.create_array({}, data=VALUES, write_data=False)
    assert (array.shape, array.dtype, array.nchunks_initialized) == (VALUES.shape, VALUES.dtype, 0)


def test_from_array() -> None:
    """`from_array` copies values and what describes them; an argument counts more, unless it says "keep"."""
    source = zarr.create_array(
        {}, data=VALUES, chunks=(2, 3), fill_value=7, compressors=None, attributes={"a": 1},
        dimension_names=["x", "y"],
    )  # fmt: skip
    same = zarr.from_array({}, data=source, chunks="keep")
    assert same.metadata == source.metadata
    assert np.array_equal(same, VALUES)
    other = zarr.from_array({}, data=source, name="b", chunks=(4, 6), attributes={}, write_data=False)
    assert (other.path, other.chunks, dict(other.attrs), other.fill_value) == ("b", (4, 6), {}, 7)
    assert other.nchunks_initialized == 0
    assert zarr.from_array({}, data=[[1, 2], [3, 4]])[1, 0] == 3


def test_creation_by_mode() -> None:
    """`mode="w"` replaces, as `overwrite` does; a mode that creates nothing is refused."""
    store = zarr.MemoryStore()
    zarr.save_array(store, VALUES)
    zarr.save_array(store, VALUES + 1, mode="w")
    assert np.array_equal(zarr.zeros((2, 3), store=store, chunk_shape=(1, 3), mode="w").chunks, (1, 3))
    with pytest.raises(zarr.errors.NodeExistsError):
        zarr.zeros(2, store=store, mode="w-")
    with pytest.raises(ConfigurationError, match="creates no array"):
        zarr.zeros(2, store=store, mode="r")


def test_shards_as_a_dict() -> None:
    """Shards may be given with the place of their index, as zarr-python has it."""
    array = zarr.create_array(
        {}, data=VALUES, chunks=(2, 2), shards={"shape": (4, 4), "index_location": "start"}
    )
    assert array.shards == (4, 4)
    assert array.metadata.to_document()["codecs"][0]["configuration"]["index_location"] == "start"  # type: ignore[index,call-overload]
    assert np.array_equal(array, VALUES)
    for wrong in (
        {"index_location": "end"},
        {"shape": (4, 4), "x": 1},
        {"shape": (4, 4), "index_location": 1},
    ):
        with pytest.raises(MetadataError):
            zarr.create_array({}, shape=(4, 4), dtype="i1", chunks=(2, 2), shards=wrong)


def test_text_by_name() -> None:
    """`"str"` means texts of any length, as `str` does."""
    assert zarr.create_array({}, shape=2, dtype="str").metadata.to_document()["data_type"] == "string"


# ---------------------------------------------------------------- nodes


def test_members_of_a_kind() -> None:
    """`get_array` and `get_group` open what they say, and an `except` clause of zarr-python's catches the rest."""
    group = zarr.open_group(zarr.MemoryStore(), mode="w")
    group.create("a/b", shape=2, dtype="i1")
    assert group.get_array("a/b") == group["a/b"]
    assert group.get_group("a") == group["a"]
    with pytest.raises(zarr.errors.ContainsGroupError):
        group.get_array("a")
    with pytest.raises(zarr.errors.ContainsArrayError):
        group.get_group("a/b")
    with pytest.raises(zarr.errors.ArrayNotFoundError):
        group.get_array("c")
    reading = zarr.open_group(group.store, mode="r")
    assert reading.get_array("a/b").read_only
    assert reading.get_group("a").read_only


def test_places() -> None:
    """A `store_path` stands for the node that lies there."""
    group = zarr.create_group(zarr.MemoryStore(), path="g")
    array = group.create_array("a", shape=2, dtype="i1")
    assert zarr.open_array(group.store_path / "a") == array == zarr.Array.open(array.store_path)
    assert zarr.Group.open(group.store_path) == group
    assert str(array.store_path) == f"/g/a in {array.store.describe()}"


# ---------------------------------------------------------------- stores


def test_stores_by_their_names(tmp_path: Path) -> None:
    """Each name of `zarr.storage` makes a store of ours, which `isinstance` knows, and may only be read where asked for."""
    folder = zarr.storage.LocalStore(root=tmp_path / "a")
    named = zarr.storage.ManagedMemoryStore("scripts", path="below")
    archive = zarr.storage.ZipStore(tmp_path / "a.zip", mode="w")
    files = zarr.storage.FsspecStore(fsspec.filesystem("memory"), path="/scripts")
    stores: list[tuple[Any, Any]] = [
        (folder, zarr.storage.LocalStore),
        (named, zarr.storage.ManagedMemoryStore),
        (archive, zarr.storage.ZipStore),
        (files, zarr.storage.FsspecStore),
        (zarr.storage.MemoryStore({}), zarr.storage.MemoryStore),
        (zarr.storage.ObjectStore(obstore.store.MemoryStore()), zarr.storage.ObjectStore),
    ]
    for store, name in stores:
        zarr.save_array(store, VALUES)
        assert np.array_equal(zarr.open_array(store), VALUES)
        assert isinstance(store, name) or store is named
        assert not isinstance({}, name)
    archive.close()
    reading = zarr.storage.LocalStore(tmp_path / "a", read_only=True)
    assert isinstance(reading, zarr.storage.LocalStore)
    for read in (reading, zarr.storage.ZipStore(tmp_path / "a.zip")):
        assert np.array_equal(zarr.open_array(read), VALUES)
        with pytest.raises(zarr.errors.ReadOnlyError):
            read["x"] = b""
    assert zarr.storage.FsspecStore.from_url(f"file://{tmp_path}/a", read_only=True)["zarr.json"]
    assert zarr.storage.FsspecStore.from_mapper(fsspec.get_mapper("memory://scripts"))["zarr.json"]


def test_archives_in_open_files(tmp_path: Path) -> None:
    """An archive is read from an open file too, part by part; to change it, its path is needed."""
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as archive:
        zarr.create_group(archive, path="g").create_array("a", data=VALUES, chunks=(2, 2))
    content = (tmp_path / "a.zip").read_bytes()
    with (tmp_path / "a.zip").open("rb") as file:
        for given in (file, io.BytesIO(content)):
            group = zarr.open_group(zarr.storage.ZipStore(given), path="g", mode="r")
            assert np.array_equal(group["a"], VALUES)
            assert [*group] == ["a"]
            with pytest.raises(ConfigurationError, match="path"):
                zarr.storage.ZipStore(given, mode="a")
            for other in (zarr.ZipStore, zarr.open_store):
                with pytest.raises(ConfigurationError, match=r"zarrv3\.storage\.ZipStore\(file\)"):
                    other(given)
    with pytest.raises(zarr.errors.StoreError):
        zarr.open_group(zarr.storage.ZipStore(io.BytesIO(content[:-30])), mode="r")


def test_cache_store() -> None:
    """zarr-python's cache is our own with a second tier, and tells of itself in its words."""
    source = zarr.MemoryStore()
    cached = zarr.experimental.cache_store.CacheStore(
        store=source, cache_store=zarr.MemoryStore(), max_age_seconds=60, max_size=2**20
    )
    assert isinstance(cached, zarr.LRUStoreCache)
    zarr.save_array(cached, VALUES)
    assert np.array_equal(zarr.open_array(cached), VALUES)
    assert cached.cache_info()["cached_keys"] > 0
    assert cached.cache_info()["max_age_seconds"] == 60
    assert cached.cache_stats()["hits"] > 0
    asyncio.run(cached.clear_cache())
    assert cached.cache_info()["current_size"] == cached.cache_info()["tracked_keys"] == 0
    with pytest.raises(ConfigurationError, match="infinity"):
        zarr.experimental.cache_store.CacheStore(source, cache_store={}, max_age_seconds="never")


def test_stores_of_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that comes with another package says which one when it is made, not when it is imported."""
    monkeypatch.setattr(registry, "_of_classes", lambda: iter(()))
    for make in (zarr.storage.LocalStore, zarr.storage.ZipStore):
        with pytest.raises(ImportError, match="pip install zarrv3-store-"):
            make("x")
    monkeypatch.setitem(registry.OFFERED_FUNCTIONS, "from_zarr_store", "zarrv3-no-such-bridge")
    with pytest.raises(ImportError, match="pip install zarrv3-no-such-bridge"):
        zarr.storage.ObjectStore(None)


# ---------------------------------------------------------------- data types


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.parametrize("name", sorted(zarr.dtype.NAMES))
def test_data_types_by_their_names(name: str) -> None:
    """A class of zarr-python's, ours by that name and what it makes of a numpy dtype describe the same array."""
    told: dict[str, dict[str, Any]] = {
        "FixedLengthUTF32": {"length": 3},
        "NullTerminatedBytes": {"length": 3},
        "RawBytes": {"length": 3},
        "DateTime64": {"unit": "s", "scale_factor": 10},
        "TimeDelta64": {"unit": "ms"},
    }
    if name.startswith("Struct"):
        native = np.dtype([("a", "<i4"), ("b", "<f8")])
        ours, theirs = zarr.dtype.Struct.from_native_dtype(native), native
    else:
        ours = getattr(zarr.dtype, name)(**told.get(name, {}))
        theirs = getattr(zarr_python.dtype, name)(**told.get(name, {}))
        assert ours.to_json(zarr_format=3) == theirs.to_json(zarr_format=3) or name == "VariableLengthBytes"
        assert ours.to_json(zarr_format=2) == theirs.to_json(zarr_format=2)
        assert ours.to_native_dtype() == theirs.to_native_dtype()
    first = zarr.create_array({}, shape=2, dtype=ours)
    assert first.dtype == zarr.create_array({}, shape=2, dtype=theirs).dtype == ours.to_native_dtype()
    assert zarr.dtype.parse_dtype(ours, zarr_format=2) == ours
    scalar = ours.default_scalar()
    assert (
        repr(ours.from_json_scalar(ours.to_json_scalar(scalar)))
        == repr(ours.cast_scalar(scalar))
        == repr(scalar)
    )


def test_data_types_of_another_class() -> None:
    """A dtype that is not of a class is refused by it."""
    assert zarr.dtype.Int8.from_native_dtype("int8") == zarr.dtype.Int8()
    with pytest.raises(zarr.errors.DataTypeValidationError, match="int16, not Int8"):
        zarr.dtype.Int8.from_native_dtype(np.dtype("int16"))
    with pytest.raises(AttributeError, match="Int9"):
        getattr(zarr.dtype, "Int9")  # noqa: B009 - a type checker knows that there is none


def test_groups_from_stores() -> None:
    """`Group.from_store` creates a group, and `GroupMetadata` describes one that `create_hierarchy` makes."""
    group = zarr.core.group.Group.from_store(zarr.MemoryStore(), attributes={"a": 1})
    assert dict(group.attrs) == {"a": 1}
    with pytest.raises(zarr.errors.ContainsGroupError):
        zarr.Group.from_store(group.store_path)
    below = zarr.Group.from_store(group.store_path / "g", overwrite=True)
    assert below == group["g"]
    nodes = {"a/b": zarr.core.group.GroupMetadata(attributes={"name": "leaf"})}
    assert dict(zarr.create_hierarchy(store=group.store, nodes=nodes)["a/b"].attrs) == {"name": "leaf"}


def test_consolidated_metadata_as_objects() -> None:
    """What a group's consolidated metadata say of the nodes below is there as metadata, by path."""
    group = zarr.group(zarr.MemoryStore())
    array = group.create_array("a/b", data=VALUES)
    consolidated = zarr.consolidate_metadata(group.store)
    inline = consolidated.metadata.consolidated_metadata
    assert inline is not None
    assert inline.metadata == {"a": group["a"].metadata, "a/b": array.metadata}
