"""Storage transformers: named in metadata, bound to an array, passed through."""

import pickle
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Buffer, Capabilities, Layer, MemoryStore, Request, StorageTransformer, registry
from zarrv3.errors import ConfigurationError, MetadataError, RegistryError, UnknownExtensionError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.contract import Changes, Swaps, Versioned, whole


class Xor(StorageTransformer):
    """Changes every bit of chunks."""

    extension_uri = "https://example.org/xor"
    valid_types = ("full", "half")

    def __init__(self, _type: str, mask: int = 255) -> None:
        super().__init__(_type)
        self.mask = mask

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Change back what was read."""
        return [self._changed(value) for value in self.inner.get_many(requests)]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Change back what was read."""
        return [(self._changed(value), version) for value, version in self.inner.get_versioned(keys)]

    def write_many(self, changes: Changes, /) -> None:
        """Change what is written."""
        self.inner.write_many({key: self._changed(value) for key, value in changes.items()})

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Change what is written."""
        return self.inner.swap_many({key: (old, self._changed(new)) for key, (old, new) in swaps.items()})

    def apply_many(self, changes: Changes, /) -> None:
        """Change what is written."""
        self.inner.apply_many({key: self._changed(value) for key, value in changes.items()})

    def _changed(self, value: Buffer | None) -> bytes | None:
        return None if value is None else bytes(byte ^ self.mask for byte in bytes(value))


class Pairs(StorageTransformer):
    """Passes everything on and says that two chunks belong together."""

    extension_uri = "pairs"

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Two chunks."""
        return (2,)


class Broken:
    """Not a transformer at all."""

    @classmethod
    def from_json(cls, name: str, configuration: Any) -> "Broken":
        """What a plugin has to have."""
        return cls()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transformers above, as if entry points named them."""
    for name, found in ((Xor.extension_uri, Xor), ("pairs", Pairs), ("broken", Broken)):
        monkeypatch.setitem(registry._loaded, ("storage_transformers", name), found)


def test_round_trip(installed: None) -> None:
    """A transformer is recorded in the document, used for chunks only, and used again when the array is opened."""
    array = zarrv3.create(
        10, chunks=4, dtype="u1", compressor=None, storage_transformers=[Xor("full", 15)], path="x"
    )
    array[...] = range(10)
    document = zarrv3.open_group(array.store)["x"].metadata.to_document()
    assert document["storage_transformers"] == [
        {"name": "https://example.org/xor", "configuration": {"type": "full", "mask": 15}}
    ]
    assert array.store["x/c/0"] == bytes([0 ^ 15, 1 ^ 15, 2 ^ 15, 3 ^ 15])
    array.attrs["a"] = 1
    array.resize(6)
    array.append([7])
    again = zarrv3.open_array(array.store, path="x")
    assert again[...].tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert np.array_equal(pickle.loads(pickle.dumps(again))[...], again[...])
    like = zarrv3.zeros_like(again)
    assert like.metadata.storage_transformers == again.metadata.storage_transformers


def test_the_first_lies_on_the_array(installed: None) -> None:
    """Of several, the first one sees the array's keys and the last one lies on the store."""
    array = zarrv3.zeros(4, dtype="u1", compressor=None, storage_transformers=[Pairs(""), Xor("half")])
    outer = array.layout.store
    assert type(outer) is Pairs
    assert type(outer.inner) is Xor
    assert outer.inner.inner is array.store
    assert "Xor('half', mask=255) on MemoryStore" in outer.describe()
    assert array.shards == (8,)


def test_blocks_are_written_together(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one block are always in one task."""
    seen: list[list[str]] = []

    class Watching(Pairs):
        def write_many(self, changes: Changes, /) -> None:
            seen.append([*changes])
            super().write_many(changes)

        def swap_many(self, swaps: Swaps, /) -> Collection[str]:
            return super().swap_many(swaps)

        def apply_many(self, changes: Changes, /) -> None:
            super().apply_many(changes)

    monkeypatch.setitem(registry._loaded, ("storage_transformers", "pairs"), Watching)
    array = zarrv3.zeros(100, chunks=1, dtype="u1", storage_transformers=[Pairs("")])
    with zarrv3.config.set(window=3):
        array[...] = 1
    numbers = [sorted(int(key.split("/")[1]) for key in keys) for keys in seen]
    assert sorted(n for task in numbers for n in task) == list(range(100))
    assert all({n ^ 1 for n in task} == set(task) for task in numbers)


def test_descriptions() -> None:
    """An unbound transformer is a description: it has no store, says what it is, and knows its types."""
    with pytest.raises(ConfigurationError, match="binds it to a store"):
        Xor("full").get_many(whole(["k"]))
    with pytest.raises(ConfigurationError, match="does not know the type 'none'; it knows 'full', 'half'"):
        Xor("none")
    assert Xor("full") == Xor("full")
    assert Xor("full") != Xor("half")
    assert Xor("full").describe() == "Xor('full', mask=255)"
    with pytest.raises(MetadataError, match="does not take"):
        Xor.from_json("x", {"type": "full", "colour": 1})


def test_the_base_class_passes_everything_on() -> None:
    """Bound to a store, the base class is that store."""
    store = MemoryStore()
    metadata = zarrv3.zeros(1).metadata
    bound = StorageTransformer("any").bind(store, "", metadata)
    bound["k"] = b"v"
    assert store["k"] == bound["k"] == b"v"
    assert bound.capabilities == store.capabilities
    assert bound.block_shape is None


def test_unknown_transformers(installed: None) -> None:
    """An array with an unknown transformer is not opened, unless it need not be understood; nothing is created."""
    store = MemoryStore()
    with pytest.raises(RegistryError, match="broken: Broken is not a subclass"):
        zarrv3.create(4, store=store, storage_transformers=["broken"])
    with pytest.raises(UnknownExtensionError, match="nobody-knows"):
        zarrv3.create(4, store=store, storage_transformers=["nobody-knows"])
    assert not [*store]
    ignored = {"name": "nobody-knows", "must_understand": False}
    array = zarrv3.create(4, store=store, storage_transformers=[ignored])
    array.resize(5)
    assert isinstance(array.metadata, ArrayMetadata)
    found: Any = zarrv3.open_array(store).metadata.to_document()["storage_transformers"]
    assert found == [ignored]


@pytest.mark.usefixtures("without_sharding")
def test_sharding_says_what_to_install() -> None:
    """Shards without the plugin are refused with its name, before anything is written."""
    store = MemoryStore()
    with pytest.raises(UnknownExtensionError, match="pip install zarrv3-transformer-sharding"):
        zarrv3.create_array(store, shape=(8,), chunks=(2,), shards=(4,), dtype="i4")
    assert not [*store]


def test_each_sees_the_grid_above_it(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stacked transformers each is bound with the grid of the keys it sees: the blocks of the one before are its chunks."""
    seen: list[tuple[int, ...]] = []

    class Seeing(Pairs):
        def bind(self, store: Any, folder: str, metadata: ArrayMetadata) -> Any:
            seen.append(metadata.chunk_grid.chunk_shape)
            return super().bind(store, folder, metadata)

    monkeypatch.setitem(registry._loaded, ("storage_transformers", "pairs"), Seeing)
    array = zarrv3.zeros((9, 9), chunks=(3, 2), storage_transformers=[Seeing(""), Xor("half"), Seeing("")])
    assert array.shards == (12, 2)
    assert seen[-2:] == [(6, 2), (3, 2)]


def bound_xor(below: zarrv3.BaseStore) -> Xor:
    """The transformer on a store, for an array at its root."""
    return Xor("full").bind(below, "", zarrv3.zeros(1).metadata)


def test_change_many_passes_through() -> None:
    """A transformer that stores chunks one by one swaps what it has read and writes the rest, in one call each."""
    counting = zarrv3.Counting(MemoryStore({"a": b"1", "b": b"2", "c": b"3"}))
    xor = bound_xor(counting)
    seen: list[Any] = []

    def make(some: Any, olds: Any) -> Any:
        seen.append((sorted(some), {key: value and bytes(value) for key, value in olds.items()}))
        return {"a": None, "b": b"new", "d": b"new"}

    xor.change_many(["a", "b", "d"], ["b", "missing"], make)
    assert counting.calls == {"get_versioned": 1, "write_many": 1, "swap_many": 1}
    assert sorted(counting.inner) == ["b", "c", "d"]
    assert seen == [(["a", "b", "d"], {"b": bytes([255 - ord("2")]), "missing": None})]
    counting.reset()
    xor.change_many(["a"], [], lambda _, olds: olds)
    assert not counting.requested["write_many"]
    counting.reset()
    xor.change_many(["a", "b"], ["b"], lambda *_: {"a": b"1", "b": None}, at_once=True)
    assert counting.calls == {"get_many": 1, "apply_many": 1}
    assert sorted(counting.inner) == ["a", "c", "d"]


def test_change_many_works_on_top_of_what_others_wrote() -> None:
    """A key that another writer changes between reading and swapping is made again from their value; others are not."""
    store = MemoryStore({"a": b"1", "b": b"1", "c": b"1"})
    xor = bound_xor(store)
    theirs = [b"2", b"3"]
    asked: list[list[str]] = []

    def make(some: Any, olds: Any) -> Any:
        asked.append(sorted(some))
        if theirs:
            store["b"] = theirs.pop(0)
        return {key: None if key == "c" else bytes(value) + b"!" for key, value in olds.items()}

    xor.change_many(["a", "b", "c"], ["a", "b", "c"], make)
    assert asked == [["a", "b", "c"], ["b"], ["b"]]
    assert (xor["a"], xor["b"], "c" in xor) == (
        bytes([255 - ord("1")]) + b"!",
        bytes([255 - ord("3")]) + b"!",
        False,
    )


def test_change_many_without_swaps() -> None:
    """Where the store cannot swap, threads of this process that change one key wait for each other, in whatever objects."""

    class NoSwap(Layer):
        kind = "no-swap"

        @property
        def capabilities(self) -> Capabilities:
            return self.inner.capabilities.without("swap")

    store = NoSwap(MemoryStore({"n": b""}))

    def count(_: int) -> None:
        for _ in range(20):
            bound_xor(store).change_many(["n"], ["n"], lambda _, olds: {"n": bytes(olds["n"]) + b"."})

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(count, range(4))]
    assert len(store["n"]) == 80


def test_copies_are_in_no_block(installed: None) -> None:
    """A transformer that was bound or pickled inside a `with` block closes at the end of its own."""
    array = zarrv3.create_array(shape=4, chunks=2, storage_transformers=[Xor("full")])
    with array.layout.store as outer:
        copies = [outer.bind(MemoryStore(), "", array.metadata), pickle.loads(pickle.dumps(outer))]  # type: ignore[attr-defined]
    for copy in copies:
        with copy:
            pass
        with pytest.raises(ValueError, match="closed"):
            copy.get_many(whole(["c/0"]))
