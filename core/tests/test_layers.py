"""The core's layers: the conformance kit through each of them, and what is their own."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    LimitError,
    ReadOnlyError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.layers import Counting, Layer, Prefix, ReadOnly
from zarrv3.store.contract import Capabilities, Changes, Limits, whole
from zarrv3.store.memory import MemoryDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore
from zarrv3.testing import Faults, InterruptConformance, LayerConformance, Opener
from zarrv3.testing.conformance import LayerMaker


class TestLayer(InterruptConformance, LayerConformance):
    """The layer that changes nothing."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """The base class itself."""
        return Layer


class TestReadOnly(LayerConformance):
    """The layer that refuses to write, over a store with something in it."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """The class itself."""
        return ReadOnly

    @pytest.fixture
    def inner(self) -> Opener:
        """A store that holds a small hierarchy."""
        return partial(
            MemoryStore, {"zarr.json": b"{}", "a/zarr.json": b'{"zarr_format": 3}', "a/c/0": bytes(100)}
        )


class TestPrefix(InterruptConformance, LayerConformance):
    """One folder of a store."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """A folder two levels down."""
        return partial(Prefix, prefix="some/folder")


class TestCounting(InterruptConformance, LayerConformance):
    """The layer that counts."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """The class itself."""
        return Counting


class TestStack(InterruptConformance, LayerConformance):
    """Several layers on each other."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """A folder in a folder, counted."""
        return lambda store: Counting(Prefix(Prefix(store, "a"), "b"))


class TestFaultsAtRest(LayerConformance):
    """The layer that fails on purpose, not failing."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """With no failure planned."""
        return Faults


# ---------------------------------------------------------------- Layer


def test_a_layer_wraps_anything() -> None:
    """A layer takes a store, a driver or a mapping, and nothing else."""
    content = {"k": b"v"}
    for store in (MemoryStore(content), MemoryDriver(content), content):
        assert Layer(store)["k"] == b"v"
    with pytest.raises(ConfigurationError, match="not a store: int"):
        Layer(7)


def test_a_layer_keeps_the_dimension_separator() -> None:
    """Arrays are created through a layer as they would be without it."""
    assert Layer(MemoryStore(dimension_separator=".")).dimension_separator == "."


def test_a_layer_describes_its_stack() -> None:
    """The description names the layer and the store below, and a stack reads from the top down."""
    store = ReadOnly(Prefix(MemoryStore(name="described"), "a/b"))
    assert store.describe() == "ReadOnly() on Prefix(prefix='a/b') on MemoryStore('described')"


def test_a_layers_spec_adds_to_its_stores() -> None:
    """The spec of a stack is the store's with a list of layers from the bottom up."""
    store = ReadOnly(Prefix(MemoryStore(name="specified"), "a/b"))
    layers = [{"layer": "prefix", "prefix": "a/b"}, {"layer": "read-only"}]
    assert store.spec() == {"store": "memory", "name": "specified", "layers": layers}


def test_around_refuses_unknown_options() -> None:
    """An option that a layer does not have is an error that lists those it has."""
    with pytest.raises(ConfigurationError, match="no option 'prefx'; did you mean 'prefix'"):
        Prefix.around(MemoryStore(), {"prefx": "a"})
    with pytest.raises(ConfigurationError, match="needs the option 'prefix'"):
        Prefix.around(MemoryStore(), {})


def test_layers_are_unequal_to_their_stores() -> None:
    """A layer is not equal to what it wraps, nor to another layer around the same."""
    store = MemoryStore()
    assert Layer(store) != store
    assert Layer(store) != Counting(store)
    assert Prefix(store, "a") != Prefix(store, "b")


# ---------------------------------------------------------------- ReadOnly


def test_read_only_names_key_and_store() -> None:
    """A refused write says which key and which store."""
    store = ReadOnly(MemoryStore(name="precious"))
    with pytest.raises(
        ReadOnlyError, match=r"cannot change 'a/b': ReadOnly\(\) on MemoryStore\('precious'\) is read-only"
    ):
        store["a/b"] = b"x"
    with pytest.raises(PermissionError):
        store.clear()


def test_read_only_sees_changes_below() -> None:
    """What is written below is seen through it at once."""
    store = MemoryStore()
    shielded = ReadOnly(store)
    store["k"] = b"1"
    assert shielded["k"] == b"1"


def test_overrides_are_given_folders_as_drivers_are() -> None:
    """What a layer overrides gets `""` for the `"/"` of zarr-python 2, so that no layer has to know of it."""
    seen: list[str] = []

    class Noting(Layer):
        """Notes the folders that it is asked for."""

        def list_dir(self, folder: str, /) -> Iterator[str]:
            """Noted."""
            seen.append(folder)
            return self.inner.list_dir(folder)

        def erase_prefix(self, folder: str, /) -> None:
            """Noted."""
            seen.append(folder)
            self.inner.erase_prefix(folder)

        def rename_prefix(self, source: str, target: str, /) -> None:
            """Noted."""
            seen.extend([source, target])

    store = Noting({"a/k": b""})
    assert [*store.list_dir("/")] == ["a/"]
    store.rename_prefix("a/", "b/")
    store.erase_prefix("/")
    assert (seen, [*store]) == (["", "a/", "b/", ""], [])


# ---------------------------------------------------------------- Prefix


def test_prefix_shows_only_its_folder() -> None:
    """Keys are those below the prefix, without it; neighbours that begin alike are not seen or touched."""
    store = MemoryStore({"a/b/k": b"1", "a/bc/k": b"2", "a/k": b"3", "a/b/c/k": b"4"})
    inside = Prefix(store, "/a/b/")
    assert sorted(inside) == ["c/k", "k"]
    assert sorted(inside.list_dir("")) == ["c/", "k"]
    assert dict(inside.list_sizes("")) == {"k": 1, "c/k": 1}
    assert dict(inside.list_sizes("/")) == {"k": 1, "c/k": 1}
    inside["new"] = b"5"
    inside.clear()
    assert sorted(store) == ["a/bc/k", "a/k"]


def test_prefix_cannot_be_left() -> None:
    """No key, folder or prefix leads out of the folder (defect 20)."""
    inside = Prefix(MemoryStore({"secret": b"s"}), "a")
    for key in ("../secret", "..", "b/../../secret", "/secret"):
        with pytest.raises(InvalidKeyError):
            inside.get(key)
    with pytest.raises(InvalidKeyError):
        inside.erase_prefix("../")
    with pytest.raises(InvalidKeyError):
        Prefix(MemoryStore(), "a/../..")


def test_prefix_takes_its_part_of_long_keys() -> None:
    """Where keys are limited, those of the folder may be shorter by its name."""
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, limits=Limits(key_bytes=10))
    inside = Prefix(DriverStore(driver), "abc")
    assert inside.capabilities.limits.key_bytes == 6
    inside["k" * 6] = b""
    with pytest.raises(LimitError):
        inside["k" * 7] = b""


# ---------------------------------------------------------------- Counting


def test_counting_counts() -> None:
    """Calls, keys and bytes are counted by method, and reset."""
    store = Counting(MemoryStore())
    store.write_many({"a": b"12", "b": b"345"})
    store.get_many(whole(["a", "none", "b"]))
    store.stat_many(["a", "none"])
    store.swap_many({"c": (None, b"6789"), "a": (None, b"not counted")})
    store.apply_many({"d": b"0"})
    store.get_versioned(["b"])
    list(store.list_prefix(""))
    list(store.list_dir(""))
    list(store.list_sizes(""))
    store.write_many({"a": None, "b": None})
    store.rename_prefix("x/", "y/")
    store.erase_prefix("")
    once = (
        "get_many",
        "stat_many",
        "swap_many",
        "apply_many",
        "get_versioned",
        "list_prefix",
        "list_dir",
        "list_sizes",
    )
    assert store.calls == {**dict.fromkeys((*once, "rename_prefix", "erase_prefix"), 1), "write_many": 2}
    keys = [
        store.requested[name]
        for name in ("write_many", "get_many", "stat_many", "swap_many", "get_versioned")
    ]
    assert keys == [4, 3, 2, 2, 1]
    assert (store.bytes_written, store.bytes_read) == (5 + 4 + 1, 5 + 3)
    store.reset()
    assert (store.calls, store.bytes_read, store.bytes_written) == ({}, 0, 0)


# ---------------------------------------------------------------- Faults


def test_faults_fail_as_planned() -> None:
    """Planned failures come once each, with the error that was asked for, and nothing fails afterwards."""
    store = Faults(MemoryStore({"k": b"v"}))
    store.fail_next("get_many", times=2)
    store.fail_next("list_dir", error=LimitError)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="get_many of Faults"):
            store.get("k")
    with pytest.raises(LimitError):
        store.list_dir("")
    assert store["k"] == b"v"
    assert store.failed == {"get_many": 2, "list_dir": 1}


def test_faults_leave_batches_half_done() -> None:
    """A failing batch has stored some values and not others, each whole."""
    found = set()
    for seed in range(20):
        below = MemoryStore()
        store = Faults(below, seed=seed)
        store.fail_next("write_many")
        with pytest.raises(StoreUnavailableError):
            store.write_many({f"k{i}": b"v" for i in range(4)})
        found.add(len(below))
    assert found == {0, 1, 2, 3, 4}


def test_a_layer_that_claims_what_passes_it_by() -> None:
    """A layer with capabilities of its own that leaves one way of writing to its inner store fails where it claims that way."""

    class Half(Layer):
        can: tuple[str, ...] = ()

        @property
        def capabilities(self) -> Capabilities:
            return self.inner.capabilities.without(*self.can)

        def write_many(self, changes: Changes, /) -> None:
            self.inner.write_many(changes)

    store = Half(MemoryStore())
    with pytest.raises(TypeError, match="Half overrides write_many and not swap_many"):
        store.swap_many({"k": (None, b"")})
    store.can = ("swap", "transactions")
    with pytest.raises(UnsupportedError):
        store.swap_many({"k": (None, b"")})
    with pytest.raises(UnsupportedError):
        store.apply_many({"k": b""})
    with pytest.raises(TypeError, match="overrides get_versioned and not get_many"):
        type("Reads", (Layer,), {"get_versioned": Layer.stat_many, "capabilities": Half.capabilities})
    assert [*store] == []
