"""From what users say about a new array to its metadata."""

import inspect
import math
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import MemoryStore, codecs, registry
from zarrv3.errors import ConfigurationError, MetadataError, UnknownExtensionError
from zarrv3.format.data_types import data_type_of
from zarrv3.format.grids import V2Keys
from zarrv3.hierarchy.creation import CHUNK_BYTES, chunk_shapes, guess_chunks, guess_shards
from zarrv3.opening import hooks
from zarrv3.opening.hooks import hookimpl

BYTE = data_type_of("u1")


def codecs_of(**arguments: Any) -> list[Any]:
    """The codecs in the document of a new array."""
    array = zarrv3.create_array(None, **{"shape": (4, 4), "dtype": "i4", **arguments})
    found: list[Any] = array.metadata.to_document()["codecs"]
    return found


def names_of(**arguments: Any) -> list[str]:
    """The names of those codecs."""
    return [codec["name"] for codec in codecs_of(**arguments)]


# ---------------------------------------------------------------- chunks


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((3, 4), (3, 4)),
        (5, (5, 5)),
        (np.int64(5), (5, 5)),
        (np.array([2, 3]), (2, 3)),
        (1, (1, 1)),
        ((3,), (3, 20)),
        ((3, None), (3, 20)),
        ((-1, 4), (10, 4)),
        (False, (10, 20)),
        (None, (10, 20)),
        (True, (10, 20)),
        ("auto", (10, 20)),
        ([7, 100], (7, 100)),
    ],
)
def test_chunk_shapes(chunks: Any, expected: tuple[int, ...]) -> None:
    """Every way of saying a chunk shape."""
    assert chunk_shapes((10, 20), BYTE, chunks, None) == (expected, None)
    assert zarrv3.create((10, 20), chunks=chunks, dtype="u1").chunks == expected


@pytest.mark.parametrize("chunks", [0, (0, 1), (1, 2, 3), "many", 2.5, (2.5, 1), -3, (1, "x")])
def test_senseless_chunks(chunks: Any) -> None:
    """A chunk shape that is none is refused and nothing is created."""
    store = MemoryStore()
    with pytest.raises(MetadataError):
        zarrv3.create((10, 20), chunks=chunks, store=store)
    assert not [*store]


def test_chunks_of_arrays_without_elements() -> None:
    """Dimensions of length 0, and none at all, get chunks too."""
    assert zarrv3.zeros((0, 5)).chunks == (1, 5)
    assert zarrv3.zeros(()).chunks == ()


@given(st.lists(st.integers(0, 10**9), max_size=4), st.sampled_from([1, 2, 8, 16, 1000]))
def test_guessed_chunks(shape: list[int], item_size: int) -> None:
    """A guessed chunk has at most the size aimed at, at least a fifth of it (or the whole array), and fits the array."""
    chunks = guess_chunks(shape, item_size)
    size = math.prod(chunks) * item_size
    assert size <= CHUNK_BYTES
    assert all(1 <= chunk <= max(1, length) for chunk, length in zip(chunks, shape, strict=True))
    whole = math.prod(max(1, length) for length in shape) * item_size
    assert size == whole or size * 5 >= CHUNK_BYTES


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=3))
def test_guessed_shards(shape: list[int]) -> None:
    """A guessed shard is a multiple of the chunks and no larger than aimed at."""
    chunks = guess_chunks(shape, 1)
    shards = guess_shards(shape, chunks, 1)
    assert all(shard % chunk == 0 for shard, chunk in zip(shards, chunks, strict=True))
    assert math.prod(shards) <= 2**26


@pytest.mark.parametrize(
    ("chunks", "shards", "expected"),
    [
        ((2, 5), (4, 10), ((2, 5), (4, 10))),
        (1, 4, ((1, 1), (4, 4))),
        ((2, 5), -1, ((2, 5), (10, 20))),
        ("auto", (4, 10), ((4, 10), (4, 10))),
        ((5, 5), "auto", ((5, 5), (10, 20))),
    ],
)
def test_shard_shapes(chunks: Any, shards: Any, expected: Any) -> None:
    """Every way of saying a shard shape."""
    assert chunk_shapes((10, 20), BYTE, chunks, shards) == expected


def test_shards_are_multiples() -> None:
    """A shard that is not a multiple of the chunks is refused."""
    with pytest.raises(MetadataError, match=r"shards\[1\] = 9 is not a multiple of chunks\[1\] = 5"):
        chunk_shapes((10, 20), BYTE, (2, 5), (4, 9))


# ---------------------------------------------------------------- codecs


def test_default_codecs() -> None:
    """The default is zstd, `"default"` is the Blosc of zarr-python 2, and `None` is nothing."""
    assert names_of() == ["bytes", "zstd"]
    assert names_of(compressors=None) == ["bytes"]
    assert names_of(compressors=[]) == ["bytes"]
    assert names_of(filters=None, serializer=None) == ["bytes", "zstd"]
    assert names_of(dtype="string") == ["vlen-utf8", "zstd"]
    assert names_of(order="F") == ["transpose", "bytes", "zstd"]
    [_, blosc] = codecs_of(compressors="default")
    options = {"typesize": 4, "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
    assert blosc == {"name": "blosc", "configuration": options}


def test_codec_classes_of_zarr_python() -> None:
    """They have its arguments and defaults, take integers of numpy, and fill in what depends on the data type."""
    chain = codecs_of(
        codecs=[
            codecs.TransposeCodec(order=np.array([1, 0])),
            codecs.BytesCodec(),
            codecs.BloscCodec(clevel=np.int64(3), shuffle=codecs.BloscShuffle.bitshuffle),
            codecs.ZstdCodec(level=np.uint8(3)),
            codecs.GzipCodec(),
            codecs.Crc32cCodec(),
        ],
        shape=(2, 3),
    )
    blosc = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "typesize": 4, "blocksize": 0}
    assert [codec.get("configuration") for codec in chain] == [
        {"order": [1, 0]}, {"endian": "little"}, blosc, {"level": 3, "checksum": False}, {"level": 5}, None
    ]  # fmt: skip
    assert type(chain[0]["configuration"]["order"][0]) is type(chain[2]["configuration"]["clevel"]) is int
    [_, bytewise] = codecs_of(dtype="u1", compressors={"name": "blosc", "configuration": {"cname": "lz4"}})
    assert bytewise["configuration"]["shuffle"] == "bitshuffle"
    sharded = codecs.ShardingCodec(
        chunk_shape=np.array([2]), codecs=[codecs.BytesCodec(), codecs.GzipCodec()]
    )
    assert zarrv3.create_array(shape=8, chunks=4, codecs=[sharded]).chunks == (2,)
    assert names_of(dtype="string", serializer=codecs.VLenUTF8Codec()) == ["vlen-utf8", "zstd"]
    assert {"ShardingCodec", "BloscCodec"} <= {*dir(codecs)}
    with pytest.raises(MetadataError, match="level must be an integer from 0 to 9, not 10"):
        codecs.GzipCodec(level=10)
    with pytest.raises(AttributeError, match="GZipCodec"):
        codecs.GZipCodec  # noqa: B018


@pytest.mark.parametrize("name", [*codecs.__all__, *codecs.PLUGIN_CLASSES])
def test_codec_classes_have_the_arguments_of_zarr_pythons(name: str) -> None:
    """Those that the installed version has, with equal defaults."""
    theirs = getattr(zarr.codecs, name, None)
    if not name.endswith("Codec"):
        return
    ours = inspect.signature(getattr(codecs, name)).parameters
    for argument, parameter in inspect.signature(theirs).parameters.items():  # type: ignore[arg-type]
        default = parameter.default
        if isinstance(default, tuple):
            assert [one.to_dict() for one in default] == [one.to_json() for one in ours[argument].default]
        else:
            assert ours[argument].default == getattr(default, "value", default), argument


def test_a_codec_class_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from zarrv3.codecs import …` says which package to install."""
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_installed", lambda: iter(()))
        registry.reset()
        with pytest.raises(ImportError, match="pip install zarrv3-transformer-sharding"):
            codecs.ShardingCodec  # noqa: B018
    registry.reset()


def test_the_serializer_is_that_of_what_filters_make() -> None:
    """Filters may give elements a byte order, and take it away."""
    for dtype, stored, expected in (
        ("u1", "<i4", {"endian": "little"}),
        ("i4", "|u1", None),
    ):
        _, serializer, _ = codecs_of(dtype=dtype, filters=codecs.numcodecs.AsType(encode_dtype=stored))
        assert serializer.get("configuration") == expected


def test_codecs_by_name_alone() -> None:
    """A name stands for the codec with its defaults; names of numcodecs do without the prefix."""
    assert names_of(compressors="gzip") == ["bytes", "gzip"]
    assert names_of(filters=["delta"], compressors=["lz4", "crc32c"]) == [
        "numcodecs.delta", "bytes", "numcodecs.lz4", "crc32c"
    ]  # fmt: skip
    assert names_of(compressors=codecs.numcodecs.LZ4(acceleration=np.int32(2))) == ["bytes", "numcodecs.lz4"]
    [delta, *_] = codecs_of(filters=codecs.numcodecs.Delta(dtype=np.int32))
    assert delta["configuration"] == {"dtype": "<i4"}
    with pytest.raises(AttributeError, match="LZ5"):
        codecs.numcodecs.LZ5  # noqa: B018


def test_codec_objects_of_other_libraries() -> None:
    """They are what a hook says they are called; what nobody knows is an error, with the package to install."""

    class Squeeze:
        codec_id = "squeeze"

    class Knowing:
        @hookimpl
        def zarrv3_describe_codec(self, codec: Any) -> Any:
            return "crc32c" if isinstance(codec, Squeeze) else None

    with pytest.raises(MetadataError, match="pip install zarrv3-codecs-numcodecs"):
        codecs_of(compressors=Squeeze())
    hooks.register(Knowing(), "knowing")
    try:
        assert names_of(compressors=Squeeze()) == ["bytes", "crc32c"]
    finally:
        hooks.unregister("knowing")
    with pytest.raises(MetadataError, match="not a codec: 7; give a name"):
        codecs_of(compressors=7)


def test_codecs_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating or opening an array with a codec that is not installed says which package to install."""
    store = MemoryStore()
    zarrv3.create_array(store, shape=4, compressors="numcodecs.zlib")
    monkeypatch.setattr(registry, "_installed", lambda: iter(()))
    registry.reset()
    with pytest.raises(UnknownExtensionError, match=r"zarr\.json.*pip install zarrv3-codecs-numcodecs"):
        zarrv3.open_array(store)
    with pytest.raises(UnknownExtensionError, match="pip install zarrv3-codecs-numcodecs"):
        codecs_of(filters="numcodecs.delta")
    monkeypatch.undo()
    registry.reset()


@pytest.mark.filterwarnings("ignore")
def test_codec_objects_of_zarr_python() -> None:
    """Codec objects of zarr-python 3 become the same codecs; what they only guess so far is filled in here."""
    lz4 = zarr.codecs.BloscCodec(cname="lz4")
    blosc = codecs_of(compressors=lz4)[1]["configuration"]
    sharding = zarr.codecs.ShardingCodec(chunk_shape=(2, 2), codecs=[zarr.codecs.BytesCodec(), lz4])
    assert codecs_of(codecs=[sharding])[0]["configuration"]["codecs"][1]["configuration"] == blosc
    assert (blosc["cname"], blosc["typesize"], blosc["shuffle"]) == ("lz4", 4, "shuffle")
    assert names_of(compressors=[zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]) == [
        "bytes",
        "gzip",
        "crc32c",
    ]
    assert codecs_of(serializer=zarr.codecs.BytesCodec(endian="big"))[0]["configuration"] == {"endian": "big"}
    assert codecs_of(filters=zarr.codecs.TransposeCodec(order=(1, 0)))[0]["configuration"] == {
        "order": [1, 0]
    }
    values = np.arange(16, dtype="i4").reshape(4, 4)
    array = zarrv3.array(
        values, filters=[zarr.codecs.TransposeCodec(order=(1, 0))], compressor=zarr.codecs.BloscCodec()
    )
    assert np.array_equal(array[...], values)


@pytest.mark.parametrize(
    "arguments",
    [
        {"compressors": "unknown-codec"},
        {"compressors": 5},
        {"compressors": "bytes"},
        {"filters": "gzip-typo"},
        {"serializer": "crc32c"},
        {"order": "A"},
        {"order": "K"},
        {"codecs": []},
        {"codecs": ["crc32c"]},
        {"filters": {"name": "transpose", "configuration": {"order": [0, 0]}}},
        {"compressors": {"name": "gzip", "configuration": {"level": 99}}},
    ],
)
def test_chains_that_do_not_fit(arguments: Any) -> None:
    """A codec that is unknown, misplaced or wrongly configured is refused and nothing is created."""
    store = MemoryStore()
    with pytest.raises(MetadataError):
        zarrv3.create((4, 4), dtype="i4", store=store, **arguments)
    assert not [*store]


def test_unknown_codec_has_advice() -> None:
    """The name of an unknown codec is in the error, with one that is meant perhaps."""
    with pytest.raises(UnknownExtensionError, match=r"gzipp.*gzip"):
        codecs_of(compressors={"name": "gzipp"})


# ---------------------------------------------------------------- keys, dtypes, data


def test_chunk_keys() -> None:
    """Separator and encoding come from the arguments, else from the store."""

    def key(**arguments: Any) -> str:
        array = zarrv3.create((4, 4), chunks=2, dtype="i1", **arguments)
        array[0, 3] = 1
        return next(key for key in array.store if not key.endswith("zarr.json"))

    assert key() == "c/0/1"
    assert key(dimension_separator=".") == "c.0.1"
    assert key(store=MemoryStore(dimension_separator=".")) == "c.0.1"
    assert key(store=MemoryStore(dimension_separator="."), dimension_separator="/") == "c/0/1"
    assert key(chunk_key_encoding="v2") == "0.1"
    assert key(chunk_key_encoding="v2", dimension_separator="/") == "0/1"
    assert key(chunk_key_encoding={"name": "v2", "separator": "/"}) == "0/1"
    assert key(chunk_key_encoding={"name": "default", "configuration": {"separator": "."}}) == "c.0.1"
    assert key(chunk_key_encoding=V2Keys(".")) == "0.1"
    for senseless in ("v9", {"name": "default", "separator": "-"}):
        with pytest.raises(MetadataError):
            key(chunk_key_encoding=senseless)


def test_dtypes() -> None:
    """Data types are named by numpy, by Python, or by the specification; objects never, and no bytes are unpickled."""
    for given_, expected in (
        ("<i4", "i4"),
        (">f8", "f8"),
        (int, "i8"),
        ("float32", "f4"),
        (np.int8, "i1"),
        ("U3", "U3"),
    ):
        assert zarrv3.zeros(1, dtype=given_).dtype == np.dtype(expected)
    assert zarrv3.zeros(1).dtype == "f8"
    assert zarrv3.zeros(1, dtype=str).metadata.data_type.to_json() == "string"
    for objects in (object, "O", [("a", "O")]):
        with pytest.raises(MetadataError, match="object"):
            zarrv3.zeros(1, dtype=objects)
    with pytest.raises(MetadataError, match="object"):
        zarrv3.array(np.array([1, "x"], dtype=object))
    assert (
        zarrv3.zeros(1, dtype=object, object_codec=numcodecs.VLenUTF8()).metadata.data_type.to_json()
        == "string"
    )
    with pytest.raises(ConfigurationError, match="object_codec"):
        zarrv3.zeros(1, dtype=object, object_codec=numcodecs.Pickle())


def test_big_endian_values_are_swapped() -> None:
    """Big-endian values are stored as the array's dtype says."""
    values = np.arange(5, dtype=">i4")
    array = zarrv3.array(values, compressor=None)
    assert array.dtype == np.dtype("i4")
    assert array[...].tolist() == values.tolist()


@pytest.mark.parametrize(
    "fill", [math.nan, math.inf, complex(1, math.inf), np.datetime64("NaT", "s"), "é", b"x", True, 3]
)
def test_fill_values(fill: Any) -> None:
    """Fill values of all kinds are what unwritten elements are, also for who opens the array later."""
    dtype = {"str": "U2", "bytes": "S2"}.get(type(fill).__name__, np.asarray(fill).dtype)
    dtype = "M8[s]" if np.asarray(fill).dtype.kind == "M" else dtype
    array = zarrv3.full(3, fill, dtype=dtype)
    expected = np.full(3, fill, array.dtype)
    assert array[...].tobytes() == zarrv3.open_array(array.store)[...].tobytes() == expected.tobytes()


def test_the_first_document_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shape and dtype come from data unless they are given; data is broadcast to a shape."""
    assert zarrv3.create_array(None, data=np.arange(6, dtype="u2")).dtype == "u2"
    assert zarrv3.create_array(None, data=[1.5, 2]).dtype == "f8"
    array = zarrv3.create_array(None, data=[1, 2], shape=(3, 2), dtype="f4", chunks=(1, 1))
    assert array[...].tolist() == [[1.0, 2.0]] * 3
    with pytest.raises(ConfigurationError, match="needs a shape"):
        zarrv3.create_array(None, dtype="i4")
    named = zarrv3.create_array(
        None, shape=(1, 2), dtype="i4", dimension_names=["x", None], attributes={"a": 1}
    )
    assert named.dimension_names == ("x", None)
    assert named.attrs == {"a": 1}


def test_unknown_arguments_are_refused() -> None:
    """A misspelt argument is a TypeError that names the nearest one, or all; nothing is created or opened."""
    store = zarrv3.MemoryStore()
    group = zarrv3.group(store, path="g")
    zarrv3.open_array(store, path="a", shape=3)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (zarrv3.create, (3,)),
        (zarrv3.create_array, (store,)),
        (zarrv3.zeros, (3,)),
        (zarrv3.full, (3, 1)),
        (zarrv3.ones_like, (np.zeros(3),)),
        (zarrv3.array, ([1],)),
        (zarrv3.open_array, (store,)),
        (zarrv3.open, (store,)),
        (group.create_array, ("x",)),
        (group.require_array, ("x",)),
        (group.create_dataset, ("x",)),
    ]
    for make, positional in calls:
        with pytest.raises(TypeError, match="a new array has no argument 'chonks'; did you mean 'chunks'"):
            make(*positional, chonks=1)
        with pytest.raises(TypeError, match=r"no argument 'what'; it has: .*shape, .*and \d+ others"):
            make(*positional, what=1)
    with pytest.raises(TypeError, match="chonks"):  # also where nothing would be created
        zarrv3.open_array(store, path="a", chonks=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="here it is 'path'"):
        zarrv3.open_array(store, name="a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="here it is 'name'"):
        zarrv3.create_array(store, path="a", shape=3)  # type: ignore[call-arg]
    assert store.listdir("g") == ["zarr.json"]


def test_open_says_what_a_group_does_not_take(tmp_path: Path) -> None:
    """Where nothing is, and neither a shape nor data are given, arguments of an array are an error."""
    with pytest.raises(ConfigurationError, match=r"there is nothing at /.*needs a shape besides dtype"):
        zarrv3.open(str(tmp_path / "new"), dtype="i4")
    assert not (tmp_path / "new").exists()
    made = zarrv3.open(str(tmp_path / "new"), attributes={"a": 1}, zarr_format=3)
    assert isinstance(made, zarrv3.Group)
    assert made.attrs == {"a": 1}


def test_arguments_of_zarr_2_that_mean_nothing_here() -> None:
    """What zarr-python 2 took and what changes nothing is accepted; what would change something is refused with a reason."""
    array = zarrv3.create(
        3, synchronizer=None, chunk_store=None, cache_metadata=True, cache_attrs=False, meta_array=None
    )
    assert array.shape == (3,)
    with pytest.raises(ConfigurationError, match="no 'synchronizer' here: writers of one process need none"):
        zarrv3.create(3, synchronizer=object())


def test_codecs_that_cannot_encode_are_refused_before_anything_is_written() -> None:
    """A codec that needs what is not installed is an error of `create_array`, and no document is left behind."""
    store = zarrv3.MemoryStore()
    snappy = {
        "name": "blosc",
        "configuration": {"cname": "snappy", "clevel": 5, "shuffle": "shuffle", "blocksize": 0},
    }
    for data in (None, np.zeros(3)):
        with pytest.raises(MetadataError, match="blosc"):
            zarrv3.create_array(store, shape=3, dtype="f8", compressors=snappy, data=data)
    assert not store.list()


@pytest.mark.parametrize("name", ["codecs", "dimension_names", "storage_transformers", "order"])
@pytest.mark.parametrize("value", [5, 1.5, [[]]])
def test_arguments_of_another_type(name: str, value: Any) -> None:
    """What is not a list, or neither `C` nor `F`, is an error that says so, and nothing is created."""
    store = zarrv3.MemoryStore()
    with pytest.raises(MetadataError, match=name.rstrip("s").replace("_", ".")):
        zarrv3.create_array(store, shape=4, dtype="f4", **{name: value})
    assert not [*store]
