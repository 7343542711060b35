"""The conformance classes for extensions: over all that the core brings, and against extensions that lie."""

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from zarrv3 import Buffer, Request, StorageTransformer, registry
from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec, ChunkSpec, parse_codec
from zarrv3.format.codecs.support import deliver
from zarrv3.format.cuts import Edges
from zarrv3.format.data_types import data_type_of
from zarrv3.format.extensions import check_members, integer
from zarrv3.format.grids import ChunkGrid, ChunkKeyEncoding, DefaultKeys, RegularGrid
from zarrv3.store.contract import JSON, Changes, Swaps, Versioned
from zarrv3.testing import (
    ChunkGridConformance,
    ChunkKeyEncodingConformance,
    CodecConformance,
    ConformanceError,
    DataTypeConformance,
    TransformerConformance,
)
from zarrv3.testing.transformers import PLACES

BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}
TRANSPOSE = {"name": "transpose", "configuration": {"order": [1, 0]}}

LOSSLESS: list[Any] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "bytes", "configuration": {"endian": "big"}},
    "bytes",
    "vlen-utf8",
    "vlen-bytes",
    TRANSPOSE,
    {"name": "blosc", "configuration": BLOSC},
    {"name": "blosc", "configuration": {**BLOSC, "cname": "zstd", "shuffle": "bitshuffle", "blocksize": 256}},
    {"name": "gzip", "configuration": {"level": 1}},
    {"name": "zstd", "configuration": {"level": 1, "checksum": True}},
    {"name": "zstd", "configuration": {"level": 0, "checksum": False}},
    "crc32c",
]


class TestCodecs(CodecConformance):
    """The codecs that keep every bit."""

    examples = 30

    @pytest.fixture(params=LOSSLESS, ids=str)
    def codec(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param


def test_no_codec_of_the_core_is_left_out() -> None:
    """Every codec of the core is tried."""
    tried = {parse_codec(codec).to_json()["name"] for codec in LOSSLESS}
    assert {*registry.BUILT_IN["codecs"]} == tried


# ---------------------------------------------------------------- data types


TYPES: list[Any] = [
    *(name for name in registry.BUILT_IN["data_types"] if name not in {
        "raw_bytes", "null_terminated_bytes", "fixed_length_utf32", "numpy.datetime64", "numpy.timedelta64", "struct",
        "structured",
    }),
    "r8", "r24", "M8[ns]", "M8[25s]", "m8[D]", "m8", "S3", "U3", "V5",
    {"name": "raw_bytes", "configuration": {"length_bytes": 3}},
    [("a", "i4"), ("é", "?"), ("c", [("x", "f8"), ("t", "M8[s]")]), ("u", "U2")],
    {"name": "structured", "configuration": {"fields": [["a", "int32"], ["b", "uint8"]]}},
]  # fmt: skip


class TestDataTypes(DataTypeConformance):
    """All data types of the core."""

    @pytest.fixture(params=TYPES, ids=str)
    def data_type(self, request: pytest.FixtureRequest) -> Any:
        """Each of them."""
        return request.param


# ---------------------------------------------------------------- codecs that lie


@dataclass(frozen=True)
class Flip(BytesBytesCodec):
    """Honest: every byte is inverted, after a byte that says how."""

    mask: int = 255

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, Any]) -> Any:
        """The mask has to be a byte."""
        check_members(name, configuration, optional=["mask"])
        return cls(integer(f"{name}: mask", configuration.get("mask", 255), 0, 255))

    def to_json(self) -> Any:
        """With the mask."""
        return {"name": "flip", "configuration": {"mask": self.mask}}

    def encoded_size(self, size: int) -> int | None:
        """One more."""
        return size + 1

    def encode(self, buffer: Buffer) -> Buffer:
        """Inverted."""
        return bytes([self.mask]) + bytes(byte ^ self.mask for byte in bytes(buffer))

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """Inverted back."""
        if not buffer or buffer[0] != self.mask:
            raise CorruptDataError("flip: not ours")
        found = bytes(byte ^ self.mask for byte in bytes(buffer)[1:])
        return deliver("flip", found, size, out, limit)


class ForgetsItsMask(Flip):
    """Has a document without its configuration."""

    def to_json(self) -> Any:
        """Too little."""
        return "flip"


class LosesItsMask(Flip):
    """Makes another codec of its document, which it takes for equal."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, Any]) -> Any:
        """Always the same mask."""
        check_members(name, configuration, optional=["mask"])
        return cls(255)

    def to_json(self) -> Any:
        """Nothing."""
        return "flip"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    __hash__ = None  # type: ignore[assignment]


class TakesAnything(Flip):
    """Does not look at its configuration."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, Any]) -> Any:
        """Whatever it is."""
        return cls(configuration.get("mask", 255))


class RaisesRawly(Flip):
    """Lets errors of Python out for a wrong configuration."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, Any]) -> Any:
        """A mask that is text is a `ValueError`."""
        check_members(name, configuration, optional=["mask"])
        return cls(int(configuration.get("mask", 255)) & 255)


class ClaimsAChecksum(Flip):
    """Says that it has one."""

    has_checksum = True


class LosesTheLastByte(Flip):
    """Forgets the end of long values."""

    def encode(self, buffer: Buffer) -> Buffer:
        """Shorter."""
        return super().encode(bytes(buffer)[:200].ljust(len(buffer), b"?"))


class LiesAboutItsSize(Flip):
    """Says that nothing is added."""

    def encoded_size(self, size: int) -> int | None:
        """One too few."""
        return size


class IgnoresMemory(Flip):
    """Does not write into memory that it is given."""

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """As if there were none."""
        return super().decode(buffer, size, None, limit=limit)


class FailsRawly(Flip):
    """Lets errors of Python out for damaged bytes."""

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """Nothing at all is an `IndexError`."""
        if bytes(buffer)[0] != self.mask:
            raise AssertionError("not ours")
        return super().decode(buffer, size, out, limit=limit)


class BelievesLengths(Flip):
    """Returns however much there is."""

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """Neither `size` nor `limit` is looked at."""
        if out is not None:
            return super().decode(buffer, size, out, limit=limit)
        return super().decode(buffer, None, None)


class TrustsWhatIsNested(Flip):
    """Looks into an object of its configuration without asking what stands there."""

    def to_json(self) -> JSON:
        """With the mask two levels deep."""
        return {"name": "flip", "configuration": {"mask": self.mask, "rounds": {"of": [1]}}}

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """`rounds` has to be an object, and what it holds is believed."""
        rounds = configuration.get("rounds")
        if not isinstance(rounds, dict) or not isinstance(rounds.get("of"), list):
            raise MetadataError("rounds must be an object with a list")
        if rounds["of"] and rounds["of"][0] in {7, 8}:
            raise MetadataError("that many rounds are too many")
        return super().from_json(name, {n: value for n, value in configuration.items() if n != "rounds"})


class NotThreadSafe(Flip):
    """Works in one piece of memory for all."""

    work = bytearray()

    def encode(self, buffer: Buffer) -> Buffer:
        """In the memory of the class."""
        self.work[:] = super().encode(buffer)
        time.sleep(0)
        return bytes(self.work)


class NotPicklable(Flip):
    """Cannot leave its process."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle")


class ChangesItsInput(Flip):
    """Inverts the caller's array in place."""

    def encode(self, buffer: Buffer) -> Buffer:
        """In place where that can be."""
        view = memoryview(buffer)
        data = super().encode(buffer)
        if not view.readonly:
            view[:] = data[1:]
        return data


class TestingCodecs(CodecConformance):
    """An instance to call the kit's tests on."""

    __test__ = False


CODEC = TestingCodecs()


def test_an_honest_codec_passes() -> None:
    """The codec that the lying ones are made from passes every test."""
    for name in dir(CODEC):
        if name.startswith("test_"):
            getattr(CODEC, name)(Flip(7))


@pytest.mark.parametrize(
    ("codec", "test"),
    [
        (ForgetsItsMask, CODEC.test_document),
        (LosesItsMask, CODEC.test_document),
        (TakesAnything, CODEC.test_malformed_configurations),
        (RaisesRawly, CODEC.test_malformed_configurations),
        (TrustsWhatIsNested, CODEC.test_malformed_configurations),
        (ClaimsAChecksum, CODEC.test_claimed_checksum),
        (LosesTheLastByte, CODEC.test_claims_about_size),
        (LiesAboutItsSize, CODEC.test_claims_about_size),
        (LiesAboutItsSize, CODEC.test_round_trips),
        (IgnoresMemory, CODEC.test_round_trips),
        (FailsRawly, CODEC.test_damaged_bytes),
        (BelievesLengths, CODEC.test_damaged_bytes),
        (BelievesLengths, CODEC.test_nothing_larger_than_allowed),
        (NotThreadSafe, CODEC.test_many_threads),
        (ChangesItsInput, CODEC.test_round_trips),
    ],
)
def test_a_codec_that_lies_is_found(codec: type[Flip], test: Callable[[Any], None]) -> None:
    """Each kind of wrong codec fails the test that is about it, and the text names the rule."""
    with pytest.raises(ConformanceError, match="the rule: "):
        test(codec(7))


def test_a_codec_that_cannot_be_pickled_is_found() -> None:
    """A pool of processes could not use it."""
    with pytest.raises(TypeError, match="cannot pickle"):
        CODEC.test_pickling(NotPicklable(7))


class Narrow(ArrayBytesCodec):
    """Bytes of one data type; raises what numpy raises for others, and believes any length."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, Any]) -> Any:
        """Nothing to configure."""
        check_members(name, configuration)
        return cls()

    def to_json(self) -> Any:
        """Its name."""
        return "narrow"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    __hash__ = None  # type: ignore[assignment]

    def encode(self, array: Any, spec: ChunkSpec) -> Buffer:
        """As they lie there."""
        return bytes(np.ascontiguousarray(array).tobytes())

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Any) -> Any:
        """As they lie there."""
        found = np.resize(
            np.frombuffer(bytes(buffer).ljust(spec.nbytes or 0), spec.data_type.numpy), spec.shape
        )
        if out is None:
            return found
        out[...] = found
        return out

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        """What it is."""
        return spec.nbytes


class NarrowRaisesRawly(Narrow):
    """Refuses what it cannot do with an error of Python's."""

    def evolve(self, spec: ChunkSpec) -> Any:
        """A `TypeError` for all but one."""
        if spec.data_type.numpy.kind != "u":
            raise TypeError("unsigned integers only")
        return self


class NarrowFitsNothing(Narrow):
    """Refuses everything."""

    def evolve(self, spec: ChunkSpec) -> Any:
        """Nothing is right."""
        raise MetadataError("never")


class Unsigned(TestingCodecs):
    """Unsigned integers only."""

    __test__ = False
    data_types = ("uint8", "uint16")


@pytest.mark.parametrize(
    ("codec", "test"),
    [
        (Narrow, Unsigned().test_damaged_bytes),
        (NarrowRaisesRawly, CODEC.test_what_does_not_fit),
        (NarrowFitsNothing, CODEC.test_what_does_not_fit),
    ],
)
def test_a_serializer_that_lies_is_found(codec: type[Narrow], test: Callable[[Any], None]) -> None:
    """Bytes of the wrong length are refused, and so is what does not fit, with our errors."""
    with pytest.raises(ConformanceError, match="the rule: "):
        test(codec())


class Shifted(ArrayArrayCodec):
    """Honest: one more than what was given, and so is the fill value."""

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, Any]) -> Any:
        """Nothing to configure."""
        check_members(name, configuration)
        return cls()

    def to_json(self) -> Any:
        """Its name."""
        return "shifted"

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """One more."""
        return spec._replace(fill_value=spec.fill_value + spec.data_type.numpy.type(1))

    def encode(self, array: Any, spec: ChunkSpec) -> Any:
        """One more."""
        return array + array.dtype.type(1)

    def decode(self, array: Any, spec: ChunkSpec) -> Any:
        """One less."""
        return array - array.dtype.type(1)


class ShiftedWithAnotherFill(Shifted):
    """Forgets that the codecs behind it need the fill value."""

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """The default one."""
        return spec._replace(fill_value=spec.data_type.default_fill())


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_filter_that_loses_the_fill_value_is_found() -> None:
    """What a shard behind it lacks would be read as another value."""
    Unsigned().test_fill_values(Shifted())
    with pytest.raises(ConformanceError, match=r"resolve\(\) makes .* `encodes_fill = False`"):
        Unsigned().test_fill_values(ShiftedWithAnotherFill())


# ---------------------------------------------------------------- data types that lie


HONEST = data_type_of("float32")


class TestingTypes(DataTypeConformance):
    """An instance to call the kit's tests on."""

    __test__ = False
    examples = 30


TYPE = TestingTypes()


def lying(**methods: Any) -> Any:
    """The 32-bit float with some methods replaced."""
    cls = type(HONEST)
    return type("Lying", (cls,), methods)(
        **{field.name: getattr(HONEST, field.name) for field in fields(cls)}
    )


@pytest.mark.parametrize(
    ("methods", "test"),
    [
        ({"to_json": lambda _: "float64"}, TYPE.test_document),
        ({"describe": lambda _: "two\nlines"}, TYPE.test_document),
        ({"from_json": classmethod(lambda *_: HONEST)}, TYPE.test_malformed_configurations),
        ({"from_json": classmethod(lambda *_: 1 / 0)}, TYPE.test_malformed_configurations),
        ({"numpy": property(lambda _: np.dtype(">f4"))}, TYPE.test_dtype),
        ({"item_size": property(lambda _: 3)}, TYPE.test_dtype),
        ({"carrier": property(lambda _: np.dtype("u8"))}, TYPE.test_dtype),
        ({"from_numpy": classmethod(lambda *_: data_type_of("float64"))}, TYPE.test_dtype),
        ({"cast_fill": lambda _, value: np.float32(value or 1)}, TYPE.test_default_fill),
        ({"fill_to_json": lambda _, value: float(value)}, TYPE.test_fill_values),
        ({"fill_to_json": lambda _, value: "NaN" if np.isnan(value) else str(value)}, TYPE.test_fill_values),
        ({"cast_fill": lambda _, value: np.float32(np.round(value))}, TYPE.test_fill_values),
        ({"fill_from_json": lambda _, value: np.float32(value)}, TYPE.test_what_is_not_a_fill_value),
        ({"sanitize": lambda _, array: array + 1}, TYPE.test_default_codecs),
    ],
)
def test_a_data_type_that_lies_is_found(methods: dict[str, Any], test: Callable[[Any], None]) -> None:
    """Each kind of wrong data type fails the test that is about it, and the text names the rule."""
    with np.errstate(all="ignore"), pytest.raises(ConformanceError, match="the rule: "):
        test(lying(**methods))


# ---------------------------------------------------------------- storage transformers


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[StorageTransformer]], StorageTransformer]:
    """Installs a class of transformers; returns one of them."""

    def install(cls: type[StorageTransformer]) -> StorageTransformer:
        monkeypatch.setitem(registry._loaded, ("storage_transformers", cls.extension_uri), cls)
        return cls("full", mask=7)  # type: ignore[call-arg]

    return install


class Xor(StorageTransformer):
    """Honest: changes bits of all values below the array but the documents."""

    extension_uri = "https://example.org/xor"
    valid_types = ("full", "half")

    def __init__(self, _type: str, mask: int = 255) -> None:
        super().__init__(_type)
        if type(mask) is not int or not 0 <= mask <= 255:
            raise MetadataError(f"mask must be an integer from 0 to 255, not {mask!r}")
        self.mask = mask

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Changed back."""
        values = self.inner.get_many(requests)
        return [self.changed(key, value) for (key, _), value in zip(requests, values, strict=True)]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Changed back."""
        found = self.inner.get_versioned(keys)
        return [
            (self.changed(key, value), version) for key, (value, version) in zip(keys, found, strict=True)
        ]

    def write_many(self, changes: Changes, /) -> None:
        """Changed."""
        self.inner.write_many({key: self.changed(key, value) for key, value in changes.items()})

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Changed."""
        return self.inner.swap_many({k: (old, self.changed(k, new)) for k, (old, new) in swaps.items()})

    def apply_many(self, changes: Changes, /) -> None:
        """Changed."""
        self.inner.apply_many({key: self.changed(key, value) for key, value in changes.items()})

    def changed(self, key: str, value: Buffer | None) -> bytes | None:
        """Not a document, and not what lies elsewhere."""
        name = key.removeprefix(f"{self._folder}c/")
        if value is None or name == key or not name.replace("/", "").isdigit():
            return None if value is None else bytes(value)
        return bytes(byte ^ self.mask for byte in bytes(value))


class TestXor(TransformerConformance):
    """A transformer in thirty lines does what transformers have to do."""

    examples = 5
    histories = 10

    @pytest.fixture
    def transformer(
        self, installed: Callable[[type[StorageTransformer]], StorageTransformer]
    ) -> StorageTransformer:
        """Installed for the test."""
        return installed(Xor)


class ForgetsMask(Xor):
    """Does not tell its mask."""

    def get_config(self) -> dict[str, Any]:
        """Nothing."""
        return {}


class BindsRawly(Xor):
    """Looks at its configuration when it is bound, with errors of Python's."""

    def __init__(self, _type: str, mask: Any = 255) -> None:
        StorageTransformer.__init__(self, _type)
        self.mask = mask

    def bind(self, store: Any, folder: str, metadata: Any) -> Any:
        """A `TypeError` for text."""
        if self.mask < 0:
            raise MetadataError("mask")
        return super().bind(store, folder, metadata)


class ForgetsVersions(Xor):
    """Swaps what it has not changed back."""

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As it is stored."""
        return self.inner.get_versioned(keys)


class ChangesDocuments(Xor):
    """Changes everything."""

    def changed(self, key: str, value: Buffer | None) -> bytes | None:
        """Documents too."""
        return None if value is None else bytes(byte ^ self.mask for byte in bytes(value))


class LosesChunks(Xor):
    """Writes what it read a while ago."""

    def change_many(
        self, keys: Any, read: Any, make: Any, *, expect_missing: bool = False, at_once: bool = False
    ) -> None:
        """Nobody else is kept out, and nothing is swapped."""
        olds = self.getitems([*keys])
        time.sleep(0.002)
        news = make(keys, {key: olds.get(key) for key in read})
        self.write_many({key: olds.get(key) for key in PLACES_KEYS} | dict(news))


PLACES_KEYS = [f"c/{row}/{column}" for row, column in PLACES]


class TestingTransformers(TransformerConformance):
    """An instance to call the kit's tests on."""

    __test__ = False


TRANSFORMER = TestingTransformers()


@pytest.mark.parametrize(
    ("cls", "test"),
    [
        (ForgetsMask, TRANSFORMER.test_document),
        (BindsRawly, TRANSFORMER.test_malformed_configurations),
        (ForgetsVersions, TRANSFORMER.test_chunks_like_a_dict),
        (ForgetsVersions, TRANSFORMER.test_arrays),
        (ChangesDocuments, TRANSFORMER.test_other_keys_are_passed_on),
        (LosesChunks, TRANSFORMER.test_threads_lose_no_chunk),
    ],
)
def test_a_transformer_that_lies_is_found(
    cls: type[StorageTransformer],
    test: Callable[[Any], None],
    installed: Callable[[type[StorageTransformer]], StorageTransformer],
) -> None:
    """Each kind of wrong transformer fails the test that is about it, and the text names the rule."""
    with pytest.raises(ConformanceError, match="the rule: "):
        test(installed(cls))


# ---------------------------------------------------------------- chunk grids and chunk key encodings


class TestGrids(ChunkGridConformance):
    """The grid of the core."""

    @pytest.fixture(params=[(), (1,), (3, 4), (2, 1, 7)], ids=str)
    def grid(self, request: pytest.FixtureRequest) -> Any:
        """With chunks of several shapes."""
        return {"name": "regular", "configuration": {"chunk_shape": [*request.param]}}


class TestKeyEncodings(ChunkKeyEncodingConformance):
    """The encodings of the core."""

    @pytest.fixture(params=registry.BUILT_IN["chunk_key_encodings"])
    def name(self, request: pytest.FixtureRequest) -> Any:
        """All of them."""
        return request.param

    @pytest.fixture(params=["/", "."])
    def encoding(self, name: str, request: pytest.FixtureRequest) -> Any:
        """With either separator."""
        return {"name": name, "configuration": {"separator": request.param}}


class TestingGrids(ChunkGridConformance):
    """An instance to call the kit's tests on."""

    __test__ = False


class TestingKeys(ChunkKeyEncodingConformance):
    """An instance to call the kit's tests on."""

    __test__ = False


GRID, KEYS = TestingGrids(), TestingKeys()


def raises(error: Exception) -> Callable[..., Any]:
    """A method that does nothing else."""

    def method(*_: Any) -> Any:
        raise error

    return method


EDGES = Edges.of([1, 2])


def cut_as(*cuts: Any, **methods: Any) -> ChunkGrid:
    """A regular grid, but for its cuts and some methods."""
    made: ChunkGrid = object.__new__(type("Lying", (RegularGrid,), methods))
    object.__setattr__(made, "chunk_shape", (2, 3))
    object.__setattr__(made, "cuts", cuts)
    return made


@pytest.mark.parametrize(
    ("methods", "test"),
    [
        ({"to_json": lambda _: "regular"}, GRID.test_document),
        ({"from_json": classmethod(lambda cls, *_: cls((2, 2)))}, GRID.test_malformed_configurations),
        ({"cuts": (2, [3])}, GRID.test_cuts),
        ({"cuts": (2, 0)}, GRID.test_cuts),
        ({"cuts": (2, Edges.of([1, 2])), "check": lambda *_: None}, GRID.test_shapes),
        ({"resized": lambda *_: None}, GRID.test_other_lengths),
        ({"resized": lambda *_: RegularGrid((3, 2))}, GRID.test_other_lengths),
        ({"cuts": (2, EDGES), "resized": lambda *_: cut_as(2, EDGES.longer(50))}, GRID.test_other_lengths),
        ({"cuts": (2, EDGES), "resized": lambda *_: cut_as(2, Edges.of([2, 1, 9]))}, GRID.test_other_lengths),
        ({"check": raises(ValueError("no"))}, GRID.test_shapes),
        ({"check": raises(MetadataError("no"))}, GRID.test_shapes),
        ({"check": lambda *_: None}, GRID.test_other_dimensions),
    ],
)
def test_a_grid_that_lies_is_found(methods: dict[str, Any], test: Callable[[Any], None]) -> None:
    """Each kind of wrong grid fails the test that is about it, and the text names the rule."""
    made = cut_as(*methods.pop("cuts", (2, 3)), **methods)
    with pytest.raises(ConformanceError, match="the rule: "):
        test(made)


@pytest.mark.parametrize(
    ("methods", "test"),
    [
        ({"to_json": lambda _: {"name": "default", "configuration": {"a": 1}}}, KEYS.test_document),
        ({"from_json": classmethod(lambda cls, *_: cls("."))}, KEYS.test_malformed_configurations),
        ({"encode": lambda _, coords: "c/" + "".join(map(str, coords))}, KEYS.test_keys),
        ({"encode": lambda _, coords: "/".join(map(str, coords))}, KEYS.test_keys),
        ({"decode": lambda *_: None}, KEYS.test_keys),
        ({"decode": lambda _, key, ndim=None: tuple(map(int, key.split("/")[1:]))}, KEYS.test_other_keys),
        ({"_numbers": lambda _, text: tuple(map(int, filter(str.isdigit, text)))}, KEYS.test_other_keys),
        ({"decode": lambda _, key, ndim=None: DefaultKeys().decode(key)}, KEYS.test_other_keys),
    ],
)
def test_a_key_encoding_that_lies_is_found(methods: dict[str, Any], test: Callable[[Any], None]) -> None:
    """Each kind of wrong chunk key encoding fails the test that is about it, and the text names the rule."""
    made: ChunkKeyEncoding = type("Lying", (DefaultKeys,), methods)()
    with pytest.raises(ConformanceError, match="the rule: "):
        test(made)


BROKEN = """
from dataclasses import dataclass

import pytest

from zarrv3 import registry
from zarrv3.format.codecs import BytesBytesCodec, Declared
from zarrv3.format.codecs.support import deliver
from zarrv3.format.data_types.numerics import Float
from zarrv3.format.grids import ChunkGrid, DefaultKeys
from zarrv3.testing import ChunkGridConformance, ChunkKeyEncodingConformance, CodecConformance, DataTypeConformance


@dataclass(frozen=True)
class Backwards(Declared, BytesBytesCodec):
    name = "backwards"

    def encode(self, buffer):
        return bytes(buffer)[::-1]

    def decode(self, buffer, size, out=None, *, limit=None):
        return deliver("backwards", bytes(buffer), size, out, limit)


class Grid(ChunkGrid):
    cuts = [2.5]

    @classmethod
    def from_json(cls, name, configuration):
        return cls()

    def to_json(self):
        return "grid"


class Keys(DefaultKeys):
    def encode(self, coords):
        return "/chunk"


registry.register("data_types", "nothing", type("Nothing", (Float,), {}))


class TestBackwards(CodecConformance):
    @pytest.fixture(params=[Backwards(), "gzip"], ids=["broken", "sound"])
    def codec(self, request):
        return request.param


class TestNothing(DataTypeConformance):
    @pytest.fixture
    def data_type(self):
        return "nothing"


class TestGrid(ChunkGridConformance):
    @pytest.fixture
    def grid(self):
        return Grid()


class TestKeys(ChunkKeyEncodingConformance):
    @pytest.fixture
    def encoding(self):
        return Keys()
"""


def test_what_is_basically_wrong_is_said_once(tmp_path: Path) -> None:
    """Of a codec, data type, grid or key encoding that fails the basics, one test says why; the others are skipped."""
    (tmp_path / "test_mine.py").write_text(BROKEN)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", "-q"]
    told = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    ).stdout
    assert "TestBackwards: a chunk of bool" in told, told
    assert "TestNothing: TypeError: data type 'nothing' not understood" in told, told
    assert "TestGrid: cuts is [2.5], not a tuple of positive integers and Edges" in told, told
    assert "TestKeys: encode((1, 2)) is not a key" in told, told
    assert "4 failed" in told.splitlines()[-1], told
    assert "error" not in told.splitlines()[-1], told
