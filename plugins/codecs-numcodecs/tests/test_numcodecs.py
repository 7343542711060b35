"""The codecs of numcodecs: round trips, bytes that lie, configurations, and objects of numcodecs."""

import bz2
import lzma
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from numcodecs import lz4

import zarrv3
from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs import ChunkSpec, CodecChain, default_serializer, parse_codec
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.testing import CodecConformance

LITTLE: Any = {"name": "bytes", "configuration": {"endian": "little"}}
TRANSPOSE: Any = {"name": "transpose", "configuration": {"order": [1, 0]}}
COMPRESSORS = ["blosc", "lz4", "zstd", "zlib", "gzip", "bz2", "lzma", "shuffle", "base64"]
CHECKSUMS = ["crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"]
CODECS: list[Any] = [
    *(f"numcodecs.{name}" for name in [*COMPRESSORS, *CHECKSUMS]),
    {"name": "numcodecs.crc32", "configuration": {"location": "end"}},
]


def chain_of(dtype: Any, *codecs: Any, shape: Any = (4, 6)) -> CodecChain:
    """A chain; without a serializer among the codecs, the default one."""
    kind = data_type_of(dtype)
    parsed = [parse_codec(codec) for codec in codecs]
    if not any(codec.kind == "array-bytes" for codec in parsed):
        filters = [codec for codec in parsed if codec.kind == "array-array"]
        parsed = [*filters, default_serializer(kind), *parsed[len(filters) :]]
    return CodecChain.build(parsed, ChunkSpec(shape, kind, kind.default_fill()))


def sample(chain: CodecChain) -> Any:
    """Some values for a chain."""
    dtype, shape, count = chain.spec.data_type.numpy, chain.spec.shape, chain.spec.item_count
    if dtype.kind == "T":
        return np.array(["añ€😀"[: index % 5] for index in range(count)], dtype=dtype).reshape(shape)
    bits = np.random.default_rng(0).integers(0, 16, count * dtype.itemsize, np.uint8)
    return bits.view(dtype).reshape(shape)


def same(left: Any, right: Any) -> bool:
    """Equal, bit by bit."""
    if left.dtype.kind == "T":
        return bool(left.tolist() == right.tolist())
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


# ---------------------------------------------------------------- round trips


class TestCodecs(CodecConformance):
    """All that keep every bit of every data type."""

    examples = 10
    data_types = ("bool", "int16", "float64", "string")
    shapes = ((), (7,), (3, 4))

    @pytest.fixture(params=CODECS, ids=str)
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param


class TestPackBits(CodecConformance):
    """Few bits per element, of the data types that have them."""

    examples = 60
    data_types = ("bool", "int8", "int16", "uint64", "float32", "complex64", "string")

    @pytest.fixture(params=["none", "first_byte", "last_byte"])
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """With each kind of padding."""
        return {"name": "packbits", "configuration": {"padding_encoding": request.param}}


FILTERS: list[Any] = [
    {"name": "numcodecs.delta", "configuration": {"astype": "i8"}},
    {"name": "numcodecs.fixedscaleoffset", "configuration": {"offset": 1, "scale": 8, "astype": "i4"}},
    {"name": "numcodecs.quantize", "configuration": {"digits": 2, "astype": "f4"}},
    {"name": "numcodecs.bitround", "configuration": {"keepbits": 7}},
    {"name": "numcodecs.astype", "configuration": {"encode_dtype": "i2"}},
    "numcodecs.packbits",
]


@pytest.mark.filterwarnings("ignore")
class TestFilters(CodecConformance):
    """Those that take numbers and may round them."""

    examples = 5
    lossless = False
    encodes_fill = False
    data_types = ("bool", "int16", "float64")
    shapes = ((), (3, 4))

    @pytest.fixture(params=FILTERS, ids=str)
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param

    def values(self, data_type: DataType, shape: tuple[int, ...], seed: int) -> Any:
        """Numbers that integers can hold: numcodecs raises for some of the others."""
        found = super().values(data_type, shape, seed)
        return np.nan_to_num(found).clip(-99, 99) if found.dtype.kind == "f" else found


@pytest.mark.parametrize(
    ("codec", "stored", "meant"),
    [
        ({"name": "numcodecs.astype", "configuration": {"encode_dtype": "f4"}}, np.float32(15), 15),
        ({"name": "numcodecs.astype", "configuration": {"encode_dtype": "i2"}}, np.int16(15), 15),
        (FILTERS[1], np.int32(15), 15 / 8 + 1),
    ],
    ids=str,
)
def test_shards_behind_filters_know_the_fill_value(codec: Any, stored: Any, meant: float) -> None:
    """What zarr-python leaves out of a shard is the array's fill value as a number of the type behind the filter."""
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [2],
            "codecs": [LITTLE],
            "index_codecs": [LITTLE, {"name": "crc32c"}],
        },
    }
    array = zarrv3.create_array(shape=4, chunks=4, dtype="f8", fill_value=15, codecs=[codec, sharding])
    inner = np.full(2, stored)
    missing = b"\xff" * 16
    index = missing + np.array([0, inner.nbytes], "<u8").tobytes()
    checksum = bytes(parse_codec("crc32c").encode(index))[-4:]  # type: ignore[attr-defined]
    array.store["c/0"] = inner.tobytes() + index + checksum
    assert array[:].tolist() == [meant] * 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*COMPRESSORS, *CHECKSUMS])
def test_the_bytes_are_those_of_numcodecs(name: str) -> None:
    """What we encode numcodecs decodes, and the other way round."""
    chain = chain_of("i4", f"numcodecs.{name}", shape=(100,))
    array = np.arange(100, dtype="i4")
    codec = numcodecs.get_codec({"id": name, **chain.to_json()[-1].get("configuration", {})})
    assert bytes(codec.decode(bytes(chain.encode(array)))) == array.tobytes()
    assert same(chain.decode(bytes(codec.encode(array.view("u1")))), array)


@pytest.mark.parametrize(
    ("dtype", "codec"),
    [
        ("i4", {"name": "numcodecs.delta", "configuration": {"dtype": "<i4"}}),
        ("i4", {"name": "numcodecs.delta", "configuration": {"dtype": "i4", "astype": "int8"}}),
        (
            "f8",
            {
                "name": "numcodecs.fixedscaleoffset",
                "configuration": {"offset": 1, "scale": 8, "astype": "i4"},
            },
        ),
        ("f4", {"name": "numcodecs.quantize", "configuration": {"digits": 2, "dtype": "f4"}}),
        ("f4", {"name": "numcodecs.bitround", "configuration": {"keepbits": 23}}),
        ("i2", {"name": "numcodecs.astype", "configuration": {"encode_dtype": "i8"}}),
        ("bool", "numcodecs.packbits"),
    ],
    ids=str,
)
def test_filters(dtype: Any, codec: Any) -> None:
    """Small integers survive all of them, in either memory order."""
    chain = chain_of(dtype, codec)
    array = (np.arange(24) % 2).astype(dtype).reshape(4, 6)
    assert same(chain.decode(chain.encode(array)), array)
    assert same(chain.decode(chain.encode(np.asfortranarray(array))), array)
    transposed = chain_of(dtype, TRANSPOSE, codec)
    assert same(transposed.decode(transposed.encode(array)), array)


def test_equal_chunks_are_equal_bytes() -> None:
    """`numcodecs.gzip` writes no time stamp, so that a chunk has the same bytes whenever it is written."""
    data = parse_codec("numcodecs.gzip").encode(b"values")  # type: ignore[attr-defined]
    assert data[4:8] == bytes(4)
    assert zlib.decompress(data, 31) == b"values"


def test_filters_fill_in_the_dtype() -> None:
    """What zarr-python records too."""
    codec = {"name": "numcodecs.fixedscaleoffset", "configuration": {"offset": 0, "scale": 10}}
    assert chain_of("f4", codec).to_json()[0]["configuration"]["dtype"] == "float32"
    assert chain_of("f4", "numcodecs.shuffle").to_json()[-1]["configuration"] == {"elementsize": 4}


def test_missing_libraries_are_named() -> None:
    """At the first chunk, not when the document is read."""
    chain = chain_of("f4", "numcodecs.pcodec")
    with pytest.raises(UnknownExtensionError, match="pip install pcodec"):
        chain.encode(sample(chain))
    with pytest.raises(UnknownExtensionError, match="pip install pcodec"):
        chain.decode(b"xxxx")


def test_pickle_is_refused_by_name() -> None:
    """The error says why."""
    with pytest.raises(UnknownExtensionError, match="code from the store"):
        parse_codec("numcodecs.pickle")


# ---------------------------------------------------------------- packbits


def test_packbits_of_some_bits() -> None:
    """Signs are repeated."""
    codec = {
        "name": "packbits",
        "configuration": {"padding_encoding": "none", "first_bit": 0, "last_bit": 4},
    }
    chain = chain_of("i2", codec, shape=(32,))
    array = np.arange(-16, 16, dtype="i2")
    assert chain.encoded_size == 20
    assert same(chain.decode(chain.encode(array)), array)
    assert chain.to_json() == [codec]


def test_packbits_order() -> None:
    """The first element is in the lowest bit."""
    array = np.array([True, False, False, False, False, False, False, False, True])
    assert chain_of("bool", "packbits", shape=(9,)).encode(array) == b"\x01\x01"


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "numcodecs.zlib", "configuration": {"level": "x"}},
        {"name": "numcodecs.lzma", "configuration": {"filters": 1}},
        {"name": "numcodecs.shuffle", "configuration": {"elementsize": 0}},
        {"name": "numcodecs.crc32", "configuration": {"location": "middle"}},
        {"name": "numcodecs.jenkins_lookup3", "configuration": {"initval": -1}},
        {"name": "numcodecs.delta", "configuration": {"dtype": "O"}},
        {"name": "numcodecs.delta", "configuration": {"dtype": 1}},
        {"name": "numcodecs.bitround", "configuration": {"keepbits": "x"}},
        {"name": "numcodecs.lz4", "configuration": {"x": 1}},
        {"name": "packbits", "configuration": {"first_bit": -1}},
        {"name": "packbits", "configuration": {"padding_encoding": "middle"}},
        "numcodecs.quantize",
    ],
    ids=str,
)
def test_wrong_configurations(codec: Any) -> None:
    """They are refused when they are read."""
    with pytest.raises(MetadataError):
        parse_codec(codec)


@pytest.mark.parametrize(
    ("dtype", "codecs"),
    [
        ("f4", ["numcodecs.packbits", LITTLE]),
        ("i4", [{"name": "numcodecs.bitround", "configuration": {"keepbits": 3}}, LITTLE]),
        ("f4", [{"name": "numcodecs.bitround", "configuration": {"keepbits": 24}}, LITTLE]),
        ("f4", [{"name": "numcodecs.delta", "configuration": {"dtype": "i4"}}, LITTLE]),
        ("string", ["numcodecs.delta", "vlen-utf8"]),
        ("f4", [LITTLE, {"name": "numcodecs.shuffle", "configuration": {"elementsize": 7}}]),
        ("M8[s]", ["numcodecs.pcodec"]),
        ("U3", ["packbits"]),
    ],
    ids=str,
)
def test_codecs_that_do_not_fit(dtype: Any, codecs: Any) -> None:
    """The error names the codec."""
    with pytest.raises(MetadataError, match="codec"):
        CodecChain.build(map(parse_codec, codecs), ChunkSpec((4, 6), data_type_of(dtype), None))


def test_metadata_imports_no_compressor() -> None:
    """Reading a document is cheap: numcodecs comes with the first chunk."""
    code = (
        "import sys; from zarrv3.format.metadata import ArrayMetadata as M; "
        "m = M.create(shape=(4,), data_type='f4', codecs=["
        "{'name': 'bytes', 'configuration': {'endian': 'little'}}, 'numcodecs.zlib']); m.codec_chain(); "
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'numcodecs']"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


# ---------------------------------------------------------------- objects of numcodecs


def described(**arguments: Any) -> list[Any]:
    """The codecs of a new array in its document."""
    made = zarrv3.create_array(**{"shape": (4, 6), "dtype": "i4", **arguments})
    return [codec.to_json() for codec in made.codecs]


def names(**arguments: Any) -> list[str]:
    """The names of those codecs."""
    return [codec["name"] for codec in described(**arguments)]


@pytest.mark.filterwarnings("ignore")
def test_objects_of_numcodecs() -> None:
    """They become the specification's codecs, else those of numcodecs; kinds find their place."""
    blosc = numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE)
    assert described(compressors=blosc)[1]["configuration"] == {
        "typesize": 4, "cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "blocksize": 0,
    }  # fmt: skip
    assert described(compressors=numcodecs.GZip(4))[1] == {"name": "gzip", "configuration": {"level": 4}}
    assert described(compressors=numcodecs.Zstd(2))[1]["configuration"] == {"level": 2, "checksum": False}
    assert names(compressors=[numcodecs.Zlib(1), numcodecs.CRC32C()]) == ["bytes", "numcodecs.zlib", "crc32c"]
    assert names(filters=[numcodecs.Delta("i4")], compressors=None) == ["numcodecs.delta", "bytes"]
    assert names(filters=[numcodecs.Shuffle(4)], compressors=None) == ["bytes", "numcodecs.shuffle"]
    assert names(dtype="string", filters=[numcodecs.VLenUTF8()]) == ["vlen-utf8", "zstd"]


def test_an_array(tmp_path: Path) -> None:
    """An array is written and read with them, also in shards."""
    array = zarrv3.create_array(
        tmp_path / "a", data=np.arange(100), chunks=5, shards=20,
        filters=[numcodecs.Delta("i8")], compressors=[{"name": "numcodecs.lzma"}],
    )  # fmt: skip
    assert zarrv3.open_array(tmp_path / "a")[:].tolist() == [*range(100)]
    assert [codec.to_json()["name"] for codec in array.codecs] == [
        "numcodecs.delta",
        "bytes",
        "numcodecs.lzma",
    ]


# ---------------------------------------------------------------- bytes that lie

CHAINS = [
    chain_of(dtype, codec, shape=(10, 7)) for dtype in ("u1", "f8", "string", "bool") for codec in CODECS
]


@pytest.mark.parametrize("index", range(len(CHAINS)))
def test_too_short_and_too_long(index: int) -> None:
    """Every prefix and every addition is corrupt, with and without an output array."""
    chain = CHAINS[index]
    array = (
        (np.arange(70) % 2).astype("u1").reshape(10, 7).view("?")
        if index >= 3 * len(CODECS)
        else sample(chain)
    )
    data = bytes(chain.encode(array))
    step = max(1, len(data) // 50)
    prefixes = [data[:stop] for stop in range(0, len(data), step)]
    for wrong in [*prefixes, data + b"\0", data + b"garbage", data + data]:
        for out in (None, np.empty_like(array)):
            with pytest.raises(CorruptDataError):
                chain.decode(wrong, out)


@pytest.mark.parametrize(
    ("name", "compress"), [("bz2", bz2.compress), ("lzma", lzma.compress), ("zlib", zlib.compress)]
)
def test_many_empty_streams(name: str, compress: Any) -> None:
    """Thousands of streams that hold nothing are passed over one by one, not again for each of them."""
    chain = chain_of("u1", f"numcodecs.{name}", shape=(100,))
    array = sample(chain)
    assert same(chain.decode(compress(b"") * 20_000 + bytes(chain.encode(array))), array)


@pytest.mark.parametrize("name", ["crc32", "fletcher32", "zlib", "bz2", "lzma"])
def test_checksums_are_verified(name: str) -> None:
    """One changed bit of the data is found."""
    chain = chain_of("u1", f"numcodecs.{name}", shape=(1000,))
    data = bytearray(chain.encode(np.random.default_rng(0).integers(0, 256, 1000, np.uint8)))
    data[500] ^= 1
    with pytest.raises(CorruptDataError):
        chain.decode(data)


def _memory() -> int:
    resource = pytest.importorskip("resource", reason="this system does not tell how much memory was used")
    most: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


HUGE = 2**28


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("zlib", lambda zeros: zlib.compress(zeros, 9)),
        ("bz2", lambda zeros: bz2.compress(zeros, 9)),
        ("lzma", lambda zeros: lzma.compress(zeros, preset=0)),
        ("lz4", lz4.compress),
    ],
)
def test_bombs_are_refused_without_being_decoded(name: str, make: Any) -> None:
    """A quarter of a gigabyte of zeros never appears in memory where a hundred bytes are expected."""
    bomb = bytes(make(bytes(HUGE)))
    codec = f"numcodecs.{name}"
    for codecs in (
        [codec],
        ["crc32c", codec],
        [codec, "crc32c"],
        [{"name": "gzip", "configuration": {"level": 1}}, codec],
    ):
        chain = chain_of("u1", *codecs, shape=(100,))
        payload = bytes(parse_codec("crc32c").encode(bomb)) if codecs[-1] == "crc32c" else bomb  # type: ignore[attr-defined]
        before = _memory()
        with pytest.raises(CorruptDataError):
            chain.decode(payload)
        with pytest.raises(CorruptDataError):
            chain.decode(payload, np.empty(100, np.uint8))
        assert _memory() - before < HUGE // 4
