"""Codecs: round trips, what writers of other formats produce, and bytes that lie."""

import gzip
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import zstd

import zarrv3
from zarrv3.errors import CorruptDataError, LimitError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs import ChunkSpec, CodecChain, blosc, default_codecs, default_serializer, parse_codec
from zarrv3.format.codecs.base import BytesBytesCodec, Declared
from zarrv3.format.codecs.checksums import Crc32cCodec
from zarrv3.format.codecs.support import lazy
from zarrv3.format.codecs.zstd import frames
from zarrv3.format.data_types import data_type_of

LITTLE: Any = {"name": "bytes", "configuration": {"endian": "little"}}
BIG: Any = {"name": "bytes", "configuration": {"endian": "big"}}
TRANSPOSE: Any = {"name": "transpose", "configuration": {"order": [1, 0]}}
BLOSC: Any = {
    "name": "blosc",
    "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0},
}
GZIP: Any = {"name": "gzip", "configuration": {"level": 1}}
ZSTD: Any = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
COMPRESSORS: list[Any] = [
    BLOSC,
    {
        "name": "blosc",
        "configuration": {
            "cname": "zstd",
            "clevel": 9,
            "shuffle": "bitshuffle",
            "typesize": 4,
            "blocksize": 256,
        },
    },
    {
        "name": "blosc",
        "configuration": {
            "cname": "zlib",
            "clevel": 0,
            "shuffle": "noshuffle",
            "typesize": 0,
            "blocksize": 0,
        },
    },
    GZIP,
    ZSTD,
    "crc32c",
]
DTYPES = [
    "bool", "int8", "uint16", "int64", "float16", "float32", "complex64", "complex128", "r24",
    "U3", "S3", "M8[ns]", "string", "bytes",
]  # fmt: skip
STRUCT = [("a", "i4"), ("b", "?"), ("c", "U2")]


def chain_of(dtype: Any, *codecs: Any, shape: Any = (4, 6)) -> Any:
    """A chain; without a serializer among the codecs, the default one."""
    kind = data_type_of(dtype)
    parsed = [parse_codec(codec) for codec in codecs]
    if not any(codec.kind == "array-bytes" for codec in parsed):
        filters = [codec for codec in parsed if codec.kind == "array-array"]
        parsed = [*filters, default_serializer(kind), *parsed[len(filters) :]]
    return CodecChain.build(parsed, ChunkSpec(shape, kind, kind.default_fill()))


def sample(chain: Any, seed: Any = 0) -> Any:
    """Some values for a chain."""
    dtype, shape, count = chain.spec.data_type.numpy, chain.spec.shape, chain.spec.item_count
    random = np.random.default_rng(seed)
    if dtype.kind == "T":
        return np.array(["añ€😀"[: index % 5] * (index % 7) for index in range(count)], dtype=dtype).reshape(
            shape
        )
    if dtype.kind == "O":
        array = np.empty(count, object)
        array[:] = [bytes(random.integers(0, 256, index % 9, np.uint8)) for index in range(count)]
        return array.reshape(shape)
    if dtype.kind == "U":
        return np.array(["añ😀"[: index % 4] for index in range(count)], dtype=dtype).reshape(shape)
    if dtype.names:
        array = np.zeros(shape, dtype)
        array["a"] = random.integers(-9, 9, shape)
        array["b"] = array["a"] > 0
        array["c"] = "é"
        return array
    bits = random.integers(0, 2 if dtype.kind == "b" else 16, count * dtype.itemsize, np.uint8)
    return bits.view(dtype).reshape(shape)


def same(left: Any, right: Any) -> Any:
    """Equal, bit by bit."""
    if left.dtype.kind in "TO":
        return left.dtype == right.dtype and left.shape == right.shape and left.tolist() == right.tolist()
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("codec", [None, *COMPRESSORS], ids=str)
@pytest.mark.parametrize("dtype", [*DTYPES, STRUCT], ids=str)
def test_round_trip(dtype: Any, codec: Any) -> None:
    """What is encoded decodes to the same bits: into an array, without one, and from any kind of buffer."""
    chain = chain_of(dtype, *([] if codec is None else [codec]))
    array = sample(chain)
    data = bytes(chain.encode(array))
    for buffer in (data, bytearray(data), memoryview(data)):
        found = chain.decode(buffer)
        assert same(found, array)
        out = np.empty_like(array)
        assert chain.decode(buffer, out) is out
        assert same(out, array)
    assert chain.encoded_size in {None, len(data)}
    again = CodecChain.build([parse_codec(codec) for codec in chain.to_json()], chain.spec)
    assert again.codecs == chain.codecs
    assert same(pickle.loads(pickle.dumps(chain)).decode(data), array)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "c16", "M8[s]", "U3", STRUCT], ids=str)
@pytest.mark.parametrize(
    "codecs", [[BIG], [BIG, BLOSC], [TRANSPOSE, LITTLE], [TRANSPOSE, BIG, GZIP, "crc32c", ZSTD]], ids=str
)
def test_byte_orders_and_transpositions(dtype: Any, codecs: Any) -> None:
    """Arrays are in native order and C order whatever the bytes are."""
    chain = chain_of(dtype, *codecs)
    array = sample(chain)
    data = chain.encode(array)
    assert same(chain.decode(data), array)
    out = np.empty_like(array)
    chain.decode(data, out)
    assert same(out, array)
    assert same(chain.decode(chain.encode(np.asfortranarray(array))), array)


def test_big_endian_bytes() -> None:
    """Checked against numpy."""
    array = np.arange(6, dtype="f4").reshape(2, 3)
    assert bytes(chain_of("f4", BIG, shape=(2, 3)).encode(array)) == array.astype(">f4").tobytes()
    assert (
        bytes(chain_of("f4", TRANSPOSE, LITTLE, shape=(2, 3)).encode(array))
        == array.T.astype("<f4").tobytes()
    )


def test_no_dimensions() -> None:
    """One element is a chunk."""
    for codecs in ([], [BLOSC], [{"name": "transpose", "configuration": {"order": []}}, LITTLE]):
        chain = chain_of("f8", *codecs, shape=())
        assert same(chain.decode(chain.encode(np.array(1.5))), np.array(1.5))


def test_nothing_refers_to_the_callers_memory() -> None:
    """Without a compressor too (defect 9 of zarr-python 2)."""
    chain = chain_of("i4")
    array = sample(chain)
    data = chain.encode(array)
    before = bytes(data)
    array[...] = 7
    assert data == before


class Same(BytesBytesCodec):
    """A third-party compressor that does nothing."""

    @classmethod
    def from_json(cls, name: Any, configuration: Any) -> Any:
        """Nothing to configure."""
        return cls()

    def to_json(self) -> Any:
        """Its name."""
        return "same"

    def encode(self, buffer: Any) -> Any:
        """The buffer itself."""
        return buffer

    def decode(self, buffer: Any, size: Any, out: Any = None, *, limit: Any = None) -> Any:
        """The buffer itself."""
        if out is None:
            return buffer
        out[:] = buffer
        return out


def test_a_codec_may_return_what_it_gets() -> None:
    """The bytes are copied then."""
    chain = chain_of("i4", Same())
    array = sample(chain)
    data = chain.encode(array)
    expected = array.copy()
    array[...] = 7
    assert same(chain.decode(data), expected)


def test_views_are_read_only() -> None:
    """Without `out`, what is decoded cannot be written by accident."""
    for codecs in ([], [BLOSC], ["crc32c"]):
        chain = chain_of("f4", *codecs)
        assert not chain.decode(bytearray(chain.encode(sample(chain)))).flags.writeable


def test_a_wrong_chunk_is_refused() -> None:
    """Shape and dtype are the chunk's."""
    chain = chain_of("f4")
    with pytest.raises(MetadataError):
        chain.encode(np.zeros((4, 6)))
    with pytest.raises(MetadataError):
        chain.encode(np.zeros((6, 4), "f4"))


def test_many_threads() -> None:
    """One chain serves all."""
    chain = chain_of("i4", BLOSC, shape=(64, 64))
    arrays = [sample(chain, seed) for seed in range(8)]
    wrong: list[bool] = []

    def run(array: Any) -> None:
        found = [same(chain.decode(chain.encode(array), np.empty_like(array)), array) for _ in range(50)]
        wrong.extend(item for item in found if not item)

    threads = [threading.Thread(target=run, args=(array,)) for array in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "bytes", "configuration": {"endian": "middle"}},
        {"name": "bytes", "configuration": {"order": "C"}},
        "transpose",
        {"name": "transpose", "configuration": {"order": "10"}},
        {"name": "transpose", "configuration": {"order": [0, 0]}},
        {"name": "transpose", "configuration": {"order": [1]}},
        {"name": "transpose", "configuration": {"order": [True, False]}},
        {"name": "transpose", "configuration": {"order": "K"}},
        {"name": "blosc", "configuration": {**BLOSC["configuration"], "cname": "lzo"}},
        {"name": "blosc", "configuration": {**BLOSC["configuration"], "clevel": 10}},
        {"name": "blosc", "configuration": {**BLOSC["configuration"], "shuffle": 1}},
        {"name": "blosc", "configuration": {**BLOSC["configuration"], "typesize": 0}},
        {"name": "blosc", "configuration": {**BLOSC["configuration"], "blocksize": -1}},
        {"name": "gzip", "configuration": {"level": 10}},
        {"name": "gzip", "configuration": {"level": True}},
        {"name": "zstd", "configuration": {"level": 23}},
        {"name": "zstd", "configuration": {"level": 1, "checksum": 1}},
        {"name": "crc32c", "configuration": {"x": 1}},
        {"name": "vlen-utf8", "configuration": {"x": 1}},
        {"name": "nope"},
        {},
        7,
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
        ("f4", ["bytes"]),
        ("string", [LITTLE]),
        ("f4", ["vlen-utf8"]),
        ("string", ["vlen-bytes"]),
        ("f4", [BLOSC, LITTLE]),
        ("f4", [LITTLE, TRANSPOSE]),
        ("f4", [LITTLE, LITTLE]),
        ("f4", [{"name": "transpose", "configuration": {"order": [0, 1, 2]}}, LITTLE]),
    ],
    ids=str,
)
def test_codecs_that_do_not_fit(dtype: Any, codecs: Any) -> None:
    """The error names the codec."""
    with pytest.raises(MetadataError, match="codec"):
        CodecChain.build(map(parse_codec, codecs), ChunkSpec((4, 6), data_type_of(dtype), None))


def test_a_chain_needs_a_serializer() -> None:
    """Compressors alone make no bytes of an array."""
    with pytest.raises(MetadataError, match="array → bytes"):
        CodecChain.build([parse_codec(GZIP)], ChunkSpec((1,), data_type_of("u1"), 0))


def test_chunks_that_blosc_cannot_hold() -> None:
    """Two gigabytes are too many."""
    with pytest.raises(MetadataError, match="at most"):
        chain_of("f8", BLOSC, shape=(2**28,))


def test_what_is_recorded() -> None:
    """A chosen typesize is written down, an endianness that means nothing is not."""
    assert chain_of("f8", BLOSC).to_json() == [
        LITTLE,
        {"name": "blosc", "configuration": {**BLOSC["configuration"], "typesize": 8}},
    ]
    assert chain_of("u1", LITTLE).to_json() == [{"name": "bytes"}]
    assert chain_of("u1", {"name": "transpose", "configuration": {"order": "F"}}).to_json()[0] == TRANSPOSE


def test_defaults_are_zarr_pythons() -> None:
    """Its bytes, then zstd, though with a checksum."""
    assert chain_of("f4", *default_codecs(data_type_of("f4"))).to_json() == [
        LITTLE,
        {"name": "zstd", "configuration": {"level": 0, "checksum": True}},
    ]
    assert default_serializer(data_type_of(str)).to_json() == {"name": "vlen-utf8"}
    assert default_serializer(data_type_of(bytes)).to_json() == {"name": "vlen-bytes"}


def test_metadata_imports_no_compressor() -> None:
    """Reading a document is cheap: numcodecs comes with the first chunk."""
    code = (
        "import sys; from zarrv3.format.metadata import ArrayMetadata as M; "
        "m = M.create(shape=(4,), data_type='f4', codecs=["
        "{'name': 'bytes', 'configuration': {'endian': 'little'}}, {'name': 'zstd', 'configuration': {'level': 0}}, 'crc32c']); m.codec_chain(); "
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('numcodecs', 'ml_dtypes', 'crc32c')]"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


# ---------------------------------------------------------------- bytes that lie

CHAINS = [
    chain_of(dtype, *([] if codec is None else [codec]), shape=(10, 7))
    for dtype in ("u1", "f8", "string", "bytes", "bool", "U3")
    for codec in (None, *COMPRESSORS)
]


@pytest.mark.parametrize("index", range(len(CHAINS)))
def test_too_short_and_too_long(index: Any) -> None:
    """Every prefix and every addition is corrupt, with and without an output array."""
    chain = CHAINS[index]
    array = sample(chain)
    data = bytes(chain.encode(array))
    step = max(1, len(data) // 50)
    for wrong in [data[:stop] for stop in range(0, len(data), step)] + [
        data + b"\0",
        data + b"garbage",
        data + data,
    ]:
        for out in (None, np.empty_like(array)):
            with pytest.raises(CorruptDataError):
                chain.decode(wrong, out)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CHAINS), st.data())
def test_damaged_bytes_raise_our_error_or_decode(chain: Any, data: Any) -> None:
    """Whatever a few changed bytes do, no foreign exception comes out, and the shape is right."""
    buffer = bytearray(chain.encode(sample(chain)))
    for _ in range(data.draw(st.integers(1, 4))):
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = chain.decode(bytes(buffer))
    except (CorruptDataError, LimitError):
        return
    except UnknownExtensionError:  # Blosc's header names another compressor
        return
    assert found.shape == chain.spec.shape
    assert found.dtype == chain.spec.data_type.numpy
    found.tolist()


@pytest.mark.parametrize(
    "codec",
    ["crc32c", ZSTD, GZIP],
    ids=str,
)
def test_checksums_are_verified(codec: Any) -> None:
    """One changed bit of the data is found."""
    chain = chain_of("u1", codec, shape=(1000,))
    data = bytearray(chain.encode(np.random.default_rng(0).integers(0, 256, 1000, np.uint8)))
    data[500] ^= 1
    with pytest.raises(CorruptDataError):
        chain.decode(data)


def _memory() -> Any:
    resource = pytest.importorskip("resource", reason="this system does not tell how much memory was used")
    most: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


HUGE = 2**28


@pytest.mark.parametrize(
    ("codec", "make"),
    [
        (GZIP, lambda zeros: gzip.compress(zeros, 9)),
        (ZSTD, lambda zeros: zstd.compress(zeros, 1)),
        (BLOSC, lambda zeros: lazy("numcodecs.blosc").compress(zeros, b"lz4", 5, 1)),
    ],
    ids=["gzip", "zstd", "blosc"],
)
def test_bombs_are_refused_without_being_decoded(codec: Any, make: Any) -> None:
    """A quarter of a gigabyte of zeros never appears in memory where a hundred bytes are expected."""
    bomb = bytes(make(bytes(HUGE)))
    for codecs in ([codec], ["crc32c", codec], [codec, "crc32c"], [GZIP, codec]):
        chain = chain_of("u1", *codecs, shape=(100,))
        payload = bytes(Crc32cCodec().encode(bomb)) if codecs[-1] == "crc32c" else bomb
        before = _memory()
        with pytest.raises(CorruptDataError):
            chain.decode(payload)
        with pytest.raises(CorruptDataError):
            chain.decode(payload, np.empty(100, np.uint8))
        assert _memory() - before < HUGE // 4


def test_a_zstd_frame_that_does_not_say_its_size() -> None:
    """Streams of other writers decode; what their blocks can hold is bounded beforehand."""
    raw = bytes(range(100))
    # a frame without content size: window descriptor, one raw block that is the last
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", 100 << 3 | 1)[:3] + raw
    chain = chain_of("u1", ZSTD, shape=(100,))
    assert chain.decode(frame).tobytes() == raw
    out = np.empty(100, np.uint8)
    assert chain.decode(frame, out).tobytes() == raw
    repeated = b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", 2**17 << 3 | 2)[:3] + b"\0"
    with pytest.raises(CorruptDataError):
        chain.decode(repeated * 3)
    bomb = b"\x28\xb5\x2f\xfd\x00\x58" + (struct.pack("<I", 2**17 << 3 | 2)[:3] + b"\0") * 10000
    bomb += struct.pack("<I", 3)[:3] + b"\0"
    assert frames(bomb)[0].least == 2**17 * 10000
    with pytest.raises(CorruptDataError, match="expected"):
        chain.decode(bomb)
    with pytest.raises(CorruptDataError, match="at most"):
        chain_of("u1", GZIP, ZSTD, shape=(100,)).decode(bomb)


def test_several_frames_and_members() -> None:
    """Concatenated gzip members and zstd frames are one stream; skippable frames are skipped."""
    raw = bytes(range(100))
    chain = chain_of("u1", GZIP, shape=(100,))
    assert chain.decode(gzip.compress(raw[:30]) + gzip.compress(raw[30:])).tobytes() == raw
    chain = chain_of("u1", ZSTD, shape=(100,))
    skipped = b"\x50\x2a\x4d\x18" + struct.pack("<I", 3) + b"xyz"
    data = skipped + zstd.compress(raw[:30]) + zstd.compress(raw[30:]) + skipped
    out = np.empty(100, np.uint8)
    assert chain.decode(data).tobytes() == chain.decode(data, out).tobytes() == raw


@pytest.mark.parametrize(
    ("codec", "empty"),
    [(GZIP, gzip.compress(b"", mtime=0)), (ZSTD, bytes.fromhex("28b52ffd2000010000"))],
    ids=["gzip", "zstd"],
)
def test_many_empty_members(codec: Any, empty: bytes) -> None:
    """A hundred thousand members that hold nothing are passed over one by one, not again for each of them."""
    chain = chain_of("u1", codec, shape=(100,))
    array = sample(chain)
    assert same(chain.decode(empty * 100_000 + bytes(chain.encode(array))), array)


@pytest.mark.parametrize("cname", ["lz4", "blosclz", "zlib", "zstd"])
@pytest.mark.parametrize("dtype", ["u1", "f8", "r136"])
def test_blocks_of_blosc_are_apart(dtype: Any, cname: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Blosc makes passes the check for blocks that share bytes, split or not, with and without a rest."""
    monkeypatch.setattr(blosc, "_MUCH", -1)
    for shuffle, blocksize, items in product(blosc.SHUFFLES, (128, 2048, 0), (300, 4096)):
        configuration = {"cname": cname, "clevel": 1, "shuffle": shuffle, "blocksize": blocksize}
        chain = chain_of(dtype, {"name": "blosc", "configuration": configuration}, shape=(items,))
        array = sample(chain)
        assert same(chain.decode(chain.encode(array)), array)


def test_checking_many_small_blocks_costs_no_python_for_each() -> None:
    """A chunk of 4 MiB in 32,768 blocks is looked through by fewer than a hundred lines of Python, as one in 64 blocks is."""
    counts = []
    for blocksize in (2**16, 128):
        configuration = {"cname": "lz4", "clevel": 1, "shuffle": "shuffle", "blocksize": blocksize}
        chain = chain_of("u4", {"name": "blosc", "configuration": configuration}, shape=(2**20,))
        encoded = bytes(chain.encode(np.arange(2**20, dtype="u4")))
        flags, typesize, claimed, block, _ = blosc.HEADER.unpack_from(encoded)
        counts.append(lines_of(partial(blosc._check_blocks, encoded, flags, typesize, claimed, block)))
    assert max(counts) < 100


def lines_of(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs."""
    lines = 0

    def count(_: Any, event: str, __: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(("dtype", "codec"), [("string", "vlen-utf8"), ("bytes", "vlen-bytes")])
def test_lengths_that_lie(dtype: Any, codec: Any) -> None:
    """Counts and lengths are checked before anything is allocated or read."""
    chain = chain_of(dtype, codec, shape=(2,))
    good = struct.pack("<II1sI2s", 2, 1, b"a", 2, b"bc")
    assert chain.decode(good).tolist() in (["a", "bc"], [b"a", b"bc"])
    for wrong in (
        b"",
        good[:3],
        struct.pack("<I", 2),
        struct.pack("<III", 3, 0, 0),
        struct.pack("<I", 2**32 - 1) + good[4:],
        struct.pack("<II1sI2s", 2, 2**32 - 1, b"a", 2, b"bc"),
        struct.pack("<II1sI2s", 2, 1, b"a", 0x80000000, b"bc"),
        struct.pack("<II1sI2s", 2, 0x7FFFFFFF, b"a", 2, b"bc"),
        struct.pack("<II1sI2s", 2, 1, b"a", 1, b"bc"),
        good + b"\0",
    ):
        with pytest.raises(CorruptDataError):
            chain.decode(wrong)


def test_invalid_utf8() -> None:
    """It is corrupt, not replaced."""
    chain = chain_of("string", shape=(1,))
    with pytest.raises(CorruptDataError, match="UTF-8"):
        chain.decode(struct.pack("<II", 1, 2) + b"\xff\xfe")


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=20))
def test_text(texts: Any) -> None:
    """Any text that is Unicode comes back; the fast path for ASCII is the slow one."""
    chain = chain_of("string", shape=(len(texts),))
    array = np.array([text.encode("utf-8", "replace").decode() for text in texts], np.dtypes.StringDType())
    assert chain.decode(chain.encode(array)).tolist() == array.tolist()


def test_objects_are_never_guessed() -> None:
    """An array of data type bytes holds bytes and nothing else."""
    chain = chain_of("bytes", shape=(1,))
    for item in ("x", 1, None):
        with pytest.raises(MetadataError, match="byte strings"):
            chain.encode(np.array([item], dtype=object))


def test_blosc_headers() -> None:
    """Every size of the header is checked."""
    chain = chain_of("u1", BLOSC, shape=(1000,))
    good = bytes(chain.encode(np.zeros(1000, np.uint8)))
    for offset, value in (
        (4, 999),
        (4, 1001),
        (4, 2**31),
        (8, 0),
        (8, 2**31),
        (8, 1001),
        (12, 0),
        (12, len(good) + 1),
    ):
        wrong = bytearray(good)
        wrong[offset : offset + 4] = struct.pack("<I", value)
        with pytest.raises(CorruptDataError):
            chain.decode(wrong)


@pytest.mark.parametrize(
    "name", ["gzip", "zstd", "blosc", "numcodecs.bz2", "numcodecs.lzma", "numcodecs.lz4"]
)
@pytest.mark.parametrize("dtype", ["string", "bytes"])
def test_texts_unpack_within_a_setting(dtype: str, name: str) -> None:
    """Texts and byte strings are decompressed up to a setting; more is an error that says so, and is not called damage."""
    configuration = next(
        (codec["configuration"] for codec in (GZIP, ZSTD, BLOSC) if codec["name"] == name), {}
    )
    store: dict[str, Any] = {}
    array = zarrv3.create_array(
        store, shape=2, chunks=2, dtype=dtype, compressors=[{"name": name, "configuration": configuration}]
    )
    array[0] = value = "a" * 100_000 if dtype == "string" else b"a" * 100_000
    assert array[0] == value
    with zarrv3.config.set(unpacked_bytes=99_000):
        for kernels in ("native", "none"):
            with (
                zarrv3.config.set(kernels=kernels),
                pytest.raises(LimitError, match=r"unpacked_bytes \(99000\)"),
            ):
                array[:]
        with pytest.raises(LimitError):
            zarrv3.copy(store, {}, chunks=1, on_error="report")
        [problem] = zarrv3.verify(store).problems
        assert problem.kind == "unreadable"
    store["c/0"] = store["c/0"][: len(store["c/0"]) // 2]
    with pytest.raises(CorruptDataError, match="'c/0'"):
        array[:]


def test_a_member_without_a_check_says_how_it_is_declared() -> None:
    """The field of a codec's dataclass that names no function to check it is named, whatever stands in its place."""

    @dataclass(frozen=True)
    class Plain(Declared):
        name: ClassVar[str] = "plain"
        level: int = 1

    @dataclass(frozen=True)
    class Number(Declared):
        name: ClassVar[str] = "number"
        level: Annotated[int, 0] = 1

    for cls in (Plain, Number):
        with pytest.raises(
            TypeError, match=rf"{cls.__name__}.level has to be annotated .*`level: Annotated\["
        ):
            cls()
