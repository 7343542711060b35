"""Stores in memory: the conformance kit, and what is their own."""

import dbm.dumb
import pickle
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import ConfigurationError, CorruptDataError, InvalidKeyError
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import KVStore, MappingDriver, MemoryDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore, as_mapping, wrap
from zarrv3.testing import InterruptConformance, Opener, StoreConformance


class TestMemoryStore(InterruptConformance, StoreConformance):
    """A named `MemoryStore`."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same name."""
        return partial(MemoryStore, name=f"test-{uuid.uuid4()}")


class TestMemoryStoreAroundMapping(InterruptConformance, StoreConformance):
    """A `MemoryStore` around a mapping of the user's."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call wraps the same dict."""
        return partial(MemoryStore, {})


class TestKVStore(InterruptConformance, StoreConformance):
    """A `KVStore` around a dict."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call wraps the same dict."""
        return partial(KVStore, {})


class TestDriverStore(InterruptConformance, StoreConformance):
    """A driver of the contract's methods, without our base class."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call wraps the same driver."""
        return partial(DriverStore, MappingDriver({}))


# ---------------------------------------------------------------- MemoryStore


def test_stores_of_one_name_are_one() -> None:
    """What one store of a name writes, another that was open before sees in values and listings, and can erase."""
    one, two = MemoryStore(name="shared-name"), MemoryStore(name="shared-name")
    one["a/k"] = b"1"
    assert two["a/k"] == b"1"
    assert two.list() == ["a/k"]
    assert [*two.list_dir("")] == ["a/"]
    two["b"] = b"2"
    two.erase("a/k")
    assert [*one.list_dir("")] == ["b"]
    one.clear()


def test_stores_around_one_mapping_are_one() -> None:
    """Several stores around one dict share index and lock, and a new one sees what was done to the dict itself."""
    content: dict[str, Any] = {"x/k": b"0"}
    one, two = MemoryStore(content), MemoryStore(content)
    one["a/k"] = b"1"
    assert sorted(two) == ["a/k", "x/k"]
    content["late/k"] = b"2"
    assert sorted(MemoryStore(content)) == ["a/k", "late/k", "x/k"]
    assert sorted(one) == ["a/k", "late/k", "x/k"]


def test_names_and_roots_exclude_each_other() -> None:
    """A store has a name or a mapping of the user's, not both."""
    with pytest.raises(ConfigurationError, match="a name or a root, not both"):
        MemoryStore({}, name="n")


def test_unnamed_stores_are_apart() -> None:
    """Two stores without a name share nothing; they are equal when their contents are."""
    one, two = MemoryStore(), MemoryStore()
    one["k"] = b"v"
    assert "k" not in two
    assert one != two
    two["k"] = b"v"
    assert one == two


def test_pickling_carries_content_or_name() -> None:
    """A copy of an unnamed store has the content at that time, one of a named store is the same store."""
    store = MemoryStore()
    store["a/k"] = b"v"
    copy = pickle.loads(pickle.dumps(store))
    store["later"] = b"x"
    assert copy.list() == ["a/k"]
    named = MemoryStore(name="pickled")
    copy = pickle.loads(pickle.dumps(named))
    named["later"] = b"x"
    assert copy.list() == ["later"]


def test_values_in_memory_are_bytes() -> None:
    """Whatever was stored, the mapping holds immutable bytes (defect 24)."""
    content: dict[str, Any] = {}
    for store in (MemoryStore(content), KVStore(content)):
        store["k"] = bytearray(b"v")
        store.set_partial_values([("k", 1, memoryview(b"w"))])
        assert content == {"k": b"vw"}
        assert type(content["k"]) is bytes


def test_sizes_in_memory_are_lengths() -> None:
    """The size of a value is its length."""
    assert dict(MemoryStore({"a": b"123", "f/b": b""}).list_sizes("")) == {"a": 3, "f/b": 0}


def test_descriptions_show_no_content() -> None:
    """Neither store shows what it holds."""
    assert repr(MemoryStore({"k": b"secret"})).startswith("<MemoryStore(at 0x")
    assert repr(MemoryStore(name="n")) == "<MemoryStore('n')>"
    assert repr(KVStore({"k": b"secret"})) == "<KVStore(dict)>"
    assert repr(DriverStore(MappingDriver({}))) == "<DriverStore(MappingDriver)>"


def test_memory_takes_other_mappings() -> None:
    """`cls` makes the mapping; its order is kept by it, not by the store."""
    store = MemoryStore(cls=OrderedDict)
    store["k"] = b"v"
    assert isinstance(as_mapping(store), MemoryStore)
    assert store["k"] == b"v"


@pytest.mark.parametrize("cls", [KVStore, MemoryStore])
def test_open_dbm_files_are_stores(cls: Callable[[Any], BaseStore], tmp_path: Path) -> None:
    """An open dbm file is a mutable mapping that lists its keys as bytes: it is listed, measured and erased as any other."""
    with dbm.dumb.open(str(tmp_path / "d"), "c") as database:
        store = cls(database)
        store.update({"a/ä": b"12", "b": b"3"})
        assert sorted(cls(database)) == sorted(store) == ["a/ä", "b"]
        assert (sorted(store.list_dir("")), store.getsize()) == (["a/", "b"], 3)
        store.rename("a", "c")
        store.rmdir("c")
        assert [*database] == [b"b"]


@pytest.mark.parametrize("key", [5, b"a", b"\xff", ("a",), None])
@pytest.mark.parametrize("cls", [KVStore, MemoryStore])
def test_keys_of_mappings_are_text(cls: Callable[[Any], BaseStore], key: Any) -> None:
    """What is not text is a clear error of every listing, and nothing is erased."""
    mapping = {key: b"x"}
    for action in (list, len, BaseStore.getsize, BaseStore.clear):
        with pytest.raises(InvalidKeyError, match=r"is not text"):
            action(cls(mapping))
    assert mapping == {key: b"x"}


@pytest.mark.parametrize("value", [5, "text", 1.5])
@pytest.mark.parametrize("cls", [KVStore, MemoryStore])
def test_values_of_mappings_are_bytes(cls: Callable[[Any], BaseStore], value: Any) -> None:
    """A value that is not bytes is an error that names the key, and never so many zeros."""
    for action in (
        lambda store: store["k"],
        BaseStore.getsize,
        lambda store: store.swap_many({"k": (b"", b"new")}),
    ):
        with pytest.raises(CorruptDataError, match=rf"value of 'k' is {type(value).__name__}, not bytes"):
            action(cls({"k": value}))


def test_listing_in_memory_costs_what_it_returns() -> None:
    """`list_dir` of a small folder does not look at the rest of the store."""

    class Watched(dict[str, Any]):
        looks = 0

        def __iter__(self) -> Iterator[str]:
            Watched.looks += 1
            return super().__iter__()

    content = Watched({f"big/{i}": b"" for i in range(100)} | {"small/k": b""})
    store = MemoryStore(content)
    Watched.looks = 0
    assert [*store.list_dir("small/")] == ["small/k"]
    assert list(store.list_prefix("small/")) == ["small/k"]
    assert store.listdir() == ["big", "small"]
    assert Watched.looks == 0


# ---------------------------------------------------------------- KVStore, wrap


def test_kv_store_passes_through() -> None:
    """The mapping and the store show the same content, whichever of them is written to."""
    content: dict[str, Any] = {"zarr.json": bytearray(b"{}")}
    store = KVStore(content)
    assert store["zarr.json"] == b"{}"
    content["c/0"] = b"later"
    assert sorted(store) == ["c/0", "zarr.json"]
    assert store == KVStore(content)
    assert store == KVStore(dict(content))
    assert store != KVStore({})


def test_kv_store_needs_a_mapping() -> None:
    """Anything but a mutable mapping is refused with its type."""
    with pytest.raises(ConfigurationError, match="takes a mutable mapping, not list"):
        KVStore([])  # type: ignore[arg-type]


def test_a_store_is_a_mapping_for_a_store() -> None:
    """A store around a store works: every store is a mutable mapping."""
    inner = MemoryStore()
    outer = KVStore(inner)
    outer["a/b"] = b"v"
    assert inner["a/b"] == b"v"
    assert [*outer.list_dir("")] == ["a/"]


def test_wrap_takes_what_holds_data() -> None:
    """A store stays itself, a driver and a mapping are wrapped, anything else is refused."""
    store = MemoryStore()
    assert wrap(store) is store
    assert isinstance(wrap(MemoryDriver({})), DriverStore)
    assert isinstance(wrap({}), KVStore)
    assert as_mapping({"k": b"v"})["k"] == b"v"
    with pytest.raises(ConfigurationError, match="not a store: str"):
        wrap("memory://")


def test_a_closed_memory_store_keeps_its_content() -> None:
    """Closing ends the object, not the data of its name."""
    with MemoryStore(name="closing") as store:
        store["k"] = b"v"
    assert MemoryStore(name="closing")["k"] == b"v"


def test_live_objects_have_no_spec() -> None:
    """A store around a live mapping has no spec, and the error says how to get one."""
    with pytest.raises(ConfigurationError, match="made from a live object"):
        KVStore({}).spec()
    assert MemoryStore(name="n").spec() == {"store": "memory", "name": "n"}


def test_only_real_separators() -> None:
    """A dimension separator other than `.` and `/` is refused when the store is made."""
    for separator in ("x", "", "//"):
        with pytest.raises(ConfigurationError, match="'dimension_separator' of 'memory' takes"):
            MemoryStore(dimension_separator=separator)  # type: ignore[arg-type]


class Failing(dict[str, Any]):
    """A mapping that fails, or is interrupted, at one of the values."""

    def __setitem__(self, key: str, value: Any) -> None:
        if value == b"fatal":
            raise KeyboardInterrupt
        super().__setitem__(key, value)


def test_interrupted_changes_are_undone() -> None:
    """What is interrupted half-way, a transaction, a rename or an ordinary write, has changed nothing, nor the index."""
    store = MemoryStore(Failing({"f/a": b"1", "f/b": b"2", "g/c": b"3"}))
    before = dict(store.items())
    for call in (store.apply_many, store.write_many):
        with pytest.raises(KeyboardInterrupt):
            call({"f/a": b"new", "f/b": None, "h/i/j": b"new", "k": b"fatal", "g/c": None})
        assert dict(store.items()) == before
        assert sorted(store.list_dir("")) == ["f/", "g/"]
    store["h/i/j"] = b"4"
    assert sorted(store) == ["f/a", "f/b", "g/c", "h/i/j"]
