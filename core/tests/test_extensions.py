"""Extension definitions: names with configurations, and what they stand for."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pytest
from importlib_metadata import EntryPoint

import zarrv3
from zarrv3 import registry
from zarrv3.chunks.transformers import StorageTransformer
from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs import BytesBytesCodec, ChunkSpec, CodecChain, parse_codec
from zarrv3.format.codecs.support import deliver
from zarrv3.format.codecs.transpose import TransposeCodec
from zarrv3.format.data_types import data_type_of
from zarrv3.format.data_types.numerics import Integer
from zarrv3.format.extensions import NamedConfig, check_members, resolve, shown
from zarrv3.format.grids import DefaultKeys, RegularGrid
from zarrv3.store.contract import JSON, Buffer, Changes, Request, Swaps, Versioned


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gzip", NamedConfig("gzip")),
        ({"name": "gzip"}, NamedConfig("gzip")),
        ({"name": "gzip", "configuration": {"level": 1}}, NamedConfig("gzip", {"level": 1})),
        ({"name": "x", "must_understand": False}, NamedConfig("x", {}, must_understand=False)),
        ({"name": "https://example.org/x"}, NamedConfig("https://example.org/x")),
    ],
)
def test_every_form_is_read(value: Any, expected: Any) -> None:
    """Short-hand names, objects and URIs are one and the same definition."""
    assert NamedConfig.parse(value, "codec") == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        "",
        {},
        {"name": 1},
        {"name": ""},
        {"configuration": {}},
        {"name": "x", "configuration": []},
        {"name": "x", "configuration": None},
        {"name": "x", "must_understand": "no"},
        {"name": "x", "other": 1},
    ],
)
def test_everything_else_is_refused(value: Any) -> None:
    """The error names the member of the document."""
    with pytest.raises(MetadataError, match=r"codecs\[3\]"):
        NamedConfig.parse(value, "codecs[3]")


def test_json_is_short() -> None:
    """Members with their implied value are left out."""
    assert NamedConfig("x").to_json() == {"name": "x"}
    full = {"name": "x", "configuration": {"a": 1}, "must_understand": False}
    assert NamedConfig.parse(full, "").to_json() == full


def test_a_known_name_becomes_its_object() -> None:
    """The class is found in the registry and given the configuration."""
    value = {"name": "regular", "configuration": {"chunk_shape": [2]}}
    assert resolve("chunk_grids", RegularGrid, value, "chunk_grid") == RegularGrid((2,))


def test_an_unknown_name_is_answered_with_advice() -> None:
    """The registry's advice reaches the user."""
    with pytest.raises(UnknownExtensionError, match="did you mean 'regular'"):
        resolve("chunk_grids", RegularGrid, "regulr", "chunk_grid")


def test_must_understand_false_is_no_way_around_a_grid() -> None:
    """The specification does not allow it for data types, grids and key encodings."""
    with pytest.raises(MetadataError, match="must_understand"):
        resolve("chunk_grids", RegularGrid, {"name": "x", "must_understand": False}, "chunk_grid")


def test_errors_of_a_configuration_name_the_member() -> None:
    """Where it stands and what it is called."""
    with pytest.raises(MetadataError, match=r"codecs\[0\]: codec 'transpose'.*lacks order"):
        resolve("codecs", TransposeCodec, "transpose", "codecs[0]")


def test_members_are_all_or_nothing() -> None:
    """Missing and unknown members are named."""
    check_members("x", {"a": 1, "c": 1}, ["a"], ["c"])
    with pytest.raises(MetadataError, match="lacks a"):
        check_members("x", {}, ["a"])
    with pytest.raises(MetadataError, match="unknown configuration: b; known: a"):
        check_members("x", {"a": 1, "b": 1}, ["a"])


def test_values_in_errors_are_short() -> None:
    """Whatever a document holds, an error stays readable."""
    assert len(shown("x" * 1000)) == 80
    assert shown(10**5000) == "a int"


# ---------------------------------------------------------------- plugins that fail


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that adds entry points, each of a group, a name and a value."""
    there = [*registry._installed()]

    def add(*points: tuple[str, str, str]) -> None:
        own = [EntryPoint(group=group, name=name, value=value) for group, name, value in points]
        monkeypatch.setattr(registry, "_installed", lambda: iter([*there, *own]))
        registry.reset()

    yield add
    monkeypatch.undo()
    registry.reset()


class Failing(BytesBytesCodec):
    """A codec that fails where it is told to, with errors that are not ours."""

    def __init__(self, where: str, error: type[BaseException] = RuntimeError) -> None:
        self.where, self.error = where, error

    def fail(self, where: str) -> None:
        """Raise if this is the place."""
        if where == self.where:
            raise self.error("no way to redis://u:hunter2@h/")

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """What the configuration says."""
        made = cls(str(configuration.get("where")))
        made.fail("from_json")
        return made

    def to_json(self) -> JSON:
        """As it is read."""
        return {"name": "failing", "configuration": {"where": self.where}}

    def evolve(self, spec: ChunkSpec) -> Self:
        """As it is."""
        self.fail("evolve")
        return self

    def encode(self, buffer: Buffer) -> Buffer:
        """As they are."""
        self.fail("encode")
        return bytes(buffer)

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """As they are."""
        self.fail("decode")
        return deliver("failing", buffer, size, out, limit)


@pytest.mark.parametrize("serializer", ["bytes", "vlen-bytes"])
@pytest.mark.parametrize("where", ["from_json", "evolve", "encode", "decode"])
def test_a_plugin_that_fails_is_named(where: str, serializer: str, entry_points: Callable[..., Any]) -> None:
    """Whatever a codec raises becomes our error that says where it stands, whose it is, and no password."""
    entry_points(("zarrv3.codecs", "failing", f"{__name__}:Failing"))
    codec = {"name": "failing", "configuration": {"where": where}}
    dtype = "bytes" if serializer == "vlen-bytes" else "u1"
    expected = CorruptDataError if where == "decode" else MetadataError
    with pytest.raises(  # noqa: PT012
        expected, match=r"codecs\[1\]: codec 'failing' of \S+.* failed: RuntimeError"
    ) as caught:
        array = zarrv3.create_array({}, shape=2, dtype=dtype, codecs=[serializer, codec])
        array[:] = np.array([b"a", b"b"], object) if dtype == "bytes" else 1
        array[:]
    assert "hunter2" not in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, RuntimeError):
        error = error.__cause__
    assert error is not None


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["evolve", "encode", "decode"])
def test_what_says_nothing_about_a_plugin_passes(where: str, error: type[BaseException]) -> None:
    """Having no memory, and being interrupted, stay what they are."""
    with pytest.raises(error):  # noqa: PT012
        chain = CodecChain.build(
            [parse_codec("bytes"), Failing(where, error)], ChunkSpec((2,), data_type_of("u1"), 0)
        )
        chain.decode(chain.encode(np.zeros(2, "u1")))


@pytest.mark.parametrize(
    ("cls", "hook", "member"),
    [
        (RegularGrid, "check", "chunk_grid: chunk grid"),
        (RegularGrid, "resized", "chunk_grid: chunk grid"),
        (DefaultKeys, "encode", "chunk_key_encoding: chunk key encoding"),
        (DefaultKeys, "decode", "chunk_key_encoding: chunk key encoding"),
        (Integer, "fill_to_json", "fill_value: data type"),
        (Integer, "fill_from_json", "fill_value: data type"),
        (StorageTransformer, "from_json", r"storage_transformers\[0\]: storage transformer"),
        (StorageTransformer, "bind", "storage_transformers: storage transformer"),
    ],
)
def test_hooks_of_every_kind_are_guarded(
    cls: type[Any],
    hook: str,
    member: str,
    monkeypatch: pytest.MonkeyPatch,
    entry_points: Callable[..., Any],
) -> None:
    """Grids, key encodings, data types and storage transformers are named when they fail."""
    entry_points(("zarrv3.storage_transformers", "plain", "zarrv3:StorageTransformer"))
    monkeypatch.setattr(StorageTransformer, "extension_uri", "plain")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no way")

    transformers = [{"name": "plain", "configuration": {"type": "x"}}]
    with pytest.raises(MetadataError, match=rf"{member} .* failed: RuntimeError: no way"):  # noqa: PT012
        array = zarrv3.create_array({}, shape=2, dtype="i4", storage_transformers=transformers)
        monkeypatch.setattr(cls, hook, fail)
        array = zarrv3.open_array(array.store)
        array[:] = array.nchunks
        array.resize(3)
        array.layout.coords("c/0")
        zarrv3.create_array({}, shape=2, dtype="i4")


class Breaking(StorageTransformer):
    """A transformer whose methods fail as they are told to, with errors that are not ours."""

    extension_uri = "breaking"

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Fail, or ask the store below."""
        self.fail("get_many")
        return self.inner.get_many(requests)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Fail, or ask the store below."""
        self.fail("get_versioned")
        return self.inner.get_versioned(keys)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """Fail after the first key."""
        for key in self.inner.list_prefix(prefix):
            yield key
            self.fail("list_prefix")

    def write_many(self, changes: Changes, /) -> None:
        """Fail, or tell the store below."""
        self.fail("write_many")
        self.inner.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Fail, or tell the store below."""
        self.fail("swap_many")
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        """Tell the store below."""
        self.inner.apply_many(changes)

    def fail(self, method: str) -> None:
        """Raise if it is this method's turn."""
        if self.type == method:
            raise RuntimeError("no way to redis://u:hunter2@h/")


@pytest.mark.parametrize(
    ("method", "action", "ours"),
    [
        ("get_many", lambda array: array[:], CorruptDataError),
        ("get_versioned", lambda array: array.__setitem__(0, 1), CorruptDataError),
        ("list_prefix", lambda array: [*array.layout.store.list_prefix("")], CorruptDataError),
        ("write_many", lambda array: array.__setitem__(slice(None), 1), MetadataError),
        ("swap_many", lambda array: array.__setitem__(0, 1), MetadataError),
    ],
)
def test_a_transformer_that_fails_is_named(
    method: str, action: Callable[[zarrv3.Array], Any], ours: Any, entry_points: Callable[..., Any]
) -> None:
    """Whatever a storage transformer raises when it reads or writes becomes our error, with its name and the key."""
    entry_points(("zarrv3.storage_transformers", "breaking", f"{__name__}:Breaking"))
    store = zarrv3.MemoryStore()
    array = zarrv3.create_array(
        store, shape=2, dtype="u1", compressors=None, storage_transformers=[Breaking(method)]
    )
    store["c/0"] = b"ab"
    key = "''" if method == "list_prefix" else "'c/0'"
    with pytest.raises(
        ours, match=rf"^{key}: storage transformer 'breaking' of \S+.* failed: RuntimeError"
    ) as caught:
        action(array)
    assert "hunter2" not in str(caught.value)


def test_errors_of_the_store_below_are_not_the_transformers(entry_points: Callable[..., Any]) -> None:
    """What a driver raises comes through a storage transformer as it is."""
    entry_points(("zarrv3.storage_transformers", "breaking", f"{__name__}:Breaking"))
    store = zarrv3.MemoryStore()
    zarrv3.create_array(store, shape=2, dtype="u1", storage_transformers=[Breaking("none")])

    class Failing(zarrv3.Layer):
        """Fails below."""

        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            """Chunks cannot be read."""
            if requests[0].key == "c/0":
                raise ArithmeticError("below")
            return self.inner.get_many(requests)

        def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
            """As it is."""
            return self.inner.get_versioned(keys)

    with pytest.raises(ArithmeticError, match="below"):
        zarrv3.open_array(Failing(store))[:]
