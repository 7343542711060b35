"""The functions of the top level, in both spellings."""

import asyncio
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

import zarrv3
from zarrv3 import Array, BaseStore, Group, KVStore, Layer, MemoryStore, ReadOnly, aio, hookimpl, open_store
from zarrv3.errors import (
    AssignmentError,
    ConfigurationError,
    MetadataError,
    NodeExistsError,
    NodeNameError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    ZarrError,
)
from zarrv3.opening import hooks


def snapshot(store: Any) -> dict[str, bytes]:
    """All keys with their values."""
    return dict(store.items())


def _filled() -> MemoryStore:
    made = MemoryStore()
    zarrv3.full(4, 3, dtype="i4", chunks=2, store=made, path="g/x")[...] = 5
    return made


@pytest.fixture
def store() -> MemoryStore:
    """A store with a group `g` and an array `g/x` of threes."""
    return _filled()


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_opening_what_is_there(store: MemoryStore, mode: Any) -> None:
    """Modes that keep what is there open it, and change nothing."""
    before = snapshot(store)
    for found in (
        zarrv3.open(store, mode=mode, path="g/x"),
        zarrv3.open_array(store, mode=mode, path="g/x"),
        zarrv3.open_array(store, mode=mode, path="/g/x/", shape=99),
    ):
        assert found == Array(store, "g/x", read_only=mode == "r")
        assert found[0] == 5
    for group in (zarrv3.open(store, mode=mode, path="g"), zarrv3.open_group(store, mode=mode, path="g")):
        assert group == Group(store, "g", read_only=mode == "r")
    assert snapshot(store) == before


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_opening_what_is_missing(mode: Any) -> None:
    """Modes that do not create raise, naming the place, and create nothing."""
    store = MemoryStore()
    for act, noun in (
        (lambda: zarrv3.open(store, mode=mode, path="q", shape=3), "node"),
        (lambda: zarrv3.open_array(store, mode=mode, path="q", shape=3), "array"),
        (lambda: zarrv3.open_group(store, mode=mode, path="q"), "group"),
    ):
        with pytest.raises(NodeNotFoundError, match=f"no {noun} at /q in MemoryStore"):
            act()
    with pytest.raises(NodeNotFoundError, match="where nothing is stored at all"):
        zarrv3.open(store, mode=mode)
    assert not [*store]


def test_creating_by_opening() -> None:
    """Modes a, w, w- and x create what is missing: an array where there is a shape or data, else a group."""
    for mode in ("a", "w", "w-", "x"):
        store = MemoryStore()
        assert zarrv3.open(store, mode=mode, path="x", shape=3).shape == (3,)
        assert zarrv3.open(store, mode=mode, path="d", data=[1, 2])[...].tolist() == [1, 2]
        assert isinstance(zarrv3.open(store, mode=mode, path="g"), Group)
        assert zarrv3.open_array(store, mode=mode, path="y", shape=(2, 2), dtype="u1").dtype == "u1"
        assert zarrv3.open_group(store, mode=mode, path="h", attributes={"a": 1}).attrs == {"a": 1}
    with pytest.raises(NodeNotFoundError, match="give a shape"):
        zarrv3.open_array(MemoryStore())


def test_writing_anew(store: MemoryStore) -> None:
    """Mode w erases what is there, with everything below it; w- and x refuse and change nothing."""
    before = snapshot(store)
    for mode in ("w-", "x"):
        for act in (
            lambda mode=mode: zarrv3.open(store, mode=mode, path="g"),
            lambda mode=mode: zarrv3.open_array(store, mode=mode, path="g/x", shape=1),
            lambda mode=mode: zarrv3.open_group(store, mode=mode, path="g"),
        ):
            with pytest.raises(NodeExistsError):
                act()
    assert snapshot(store) == before
    zarrv3.open_group(store, mode="w", path="g")
    assert sorted(store) == ["g/zarr.json", "zarr.json"]


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
def test_the_wrong_kind(store: MemoryStore, mode: Any) -> None:
    """A group where an array is asked for, and the other way round, is refused."""
    with pytest.raises(NodeTypeError, match=r"/g in .* is a group, not an array"):
        zarrv3.open_array(store, mode=mode, path="g", shape=3)
    with pytest.raises(NodeTypeError, match=r"/g/x in .* is an array, not a group"):
        zarrv3.open_group(store, mode=mode, path="g/x")


def test_read_only_stores(store: MemoryStore) -> None:
    """A store that cannot be written is opened for reading by default and refuses the other modes."""
    shut = ReadOnly(store)
    before = snapshot(store)
    assert zarrv3.open_array(shut, path="g/x").read_only
    assert zarrv3.open(shut, path="g").read_only
    for mode in ("r+", "a", "w", "w-"):
        with pytest.raises(ReadOnlyError, match="mode='r'"):
            zarrv3.open(shut, mode=mode, path="g")
    for act in (
        lambda: zarrv3.zeros(1, store=shut),
        lambda: zarrv3.save(shut, [1]),
        lambda: zarrv3.group(shut, path="z"),
    ):
        with pytest.raises(ReadOnlyError):
            act()
    assert snapshot(store) == before


@pytest.mark.parametrize("arguments", [{"mode": "rw"}, {"zarr_version": 2}, {"zarr_format": 2}, {"mode": 1}])
def test_senseless_arguments(store: MemoryStore, arguments: Any) -> None:
    """Other modes and other versions of the format are refused."""
    for function in (zarrv3.open, zarrv3.open_array, zarrv3.open_group):
        with pytest.raises(ConfigurationError, match=r"mode must be|version 3, not 2"):
            function(store, path="g", **arguments)
    with pytest.raises(ConfigurationError, match="version 3, not 2"):
        zarrv3.create(3, zarr_version=2)


def test_opening_creates_nothing(tmp_path: Path) -> None:
    """Looking for something in a folder that is not there does not make it (defect 19 of zarr-python 2)."""
    with pytest.raises(NodeNotFoundError):
        zarrv3.open(str(tmp_path / "none"), mode="r")
    assert not (tmp_path / "none").exists()


# ---------------------------------------------------------------- naming a store


def test_urls_that_end_in_a_path(tmp_path: Path) -> None:
    """`|zarr3:path` at the end of a URL is the path within the store, joined with `path=`."""
    url = f"file://{tmp_path}/data"
    zarrv3.create_array(f"{url}|zarr3:a/b", name="x y", data=[1, 2])
    assert zarrv3.open(f"{url}|zarr3:a/b/x%20y")[...].tolist() == [1, 2]
    assert zarrv3.open_group(f"{url}|zarr3:a", mode="r", path="b").path == "a/b"
    assert zarrv3.open_group(f"{url}|zarr3:", mode="r").path == ""
    assert zarrv3.load(f"{url}|zarr3:a/b/x y").tolist() == [1, 2]
    zarrv3.save(f"{url}|zarr3:saved", [7])
    assert zarrv3.open(f"{url}|zarr3:saved")[0] == 7
    assert "saved" in str(zarrv3.tree(f"{url}|zarr3:"))


def test_storage_options(tmp_path: Path) -> None:
    """Options go to the store; unknown ones are errors that list the known ones."""
    array = zarrv3.open_array(
        str(tmp_path), mode="w", shape=4, chunks=2, storage_options={"dimension_separator": "."}
    )
    array[...] = 1
    assert "c.0" in array.store
    with pytest.raises(ConfigurationError, match="dimension_separator"):
        zarrv3.open(str(tmp_path), storage_options={"colour": 1})


def test_stores_are_opened_once() -> None:
    """A store object is used as it is; hooks that wrap what is opened see it once."""

    class Seen(Layer):
        kind = "seen"

    class Plugin:
        @hookimpl
        def zarrv3_wrap_store(self, store: BaseStore) -> BaseStore:
            return Seen(store)

    hooks.register(Plugin(), "test-wrapper")
    try:
        group = zarrv3.open_group("memory://test-stores-are-opened-once")
        assert isinstance(group.store, Seen)
        array = group.zeros("x", shape=2)
        assert array.store is group.store
        assert not isinstance(group.store.inner, Seen)
    finally:
        hooks.unregister("test-wrapper")
    mine = MemoryStore()
    assert zarrv3.zeros(2, store=mine).store is mine


def test_paths_and_mappings(tmp_path: Path) -> None:
    """A pathlib path is a folder, a mapping a store in memory."""
    zarrv3.save(tmp_path / "p", np.arange(3))
    assert zarrv3.load(str(tmp_path / "p")).tolist() == [0, 1, 2]
    content: dict[str, bytes] = {}
    zarrv3.zeros(3, store=content)
    assert [*content] == ["zarr.json"]


def _ways_to_read(store: Any) -> dict[str, Callable[[], Any]]:
    """Everything that gives `g/x` or `g` of a store for reading."""
    like, path = np.empty(4, "i4"), "g/x"
    group = zarrv3.open_group(store, mode="r", path="g")
    array = zarrv3.open_array(store, mode="r", path=path)
    shut = ReadOnly(store)
    readings: dict[str, dict[str, Any]] = {
        "mode=r": {"mode": "r"},
        "read_only": {"read_only": True},
        "read_only, mode=r+": {"read_only": True, "mode": "r+"},
        "read_only, mode=a": {"read_only": True, "mode": "a"},
        "read_only, chunk_cache": {"read_only": True, "chunk_cache": 100},
        "read_only, write_buffer": {"read_only": True, "write_buffer": 100},
    }
    ways: dict[str, Callable[[], Any]] = {}
    for name, reading in readings.items():
        ways |= {
            f"open_array, {name}": partial(zarrv3.open_array, store, path=path, **reading),
            f"open_array with a shape, {name}": partial(
                zarrv3.open_array, store, path=path, shape=4, **reading
            ),
            f"open_array with data, {name}": partial(
                zarrv3.open_array, store, path=path, data=like, **reading
            ),
            f"open_like, {name}": partial(zarrv3.open_like, like, path, store=store, **reading),
        }
        if not {"chunk_cache", "write_buffer"} & {*reading}:
            ways |= {
                f"open an array, {name}": partial(zarrv3.open, store, path=path, **reading),
                f"open a group, {name}": partial(zarrv3.open, store, path="g", **reading),
                f"open by a call in a coroutine, {name}": lambda reading=reading: asyncio.run(
                    aio.call(zarrv3.open_array, store, path=path, **reading)
                ),
            }
    return ways | {
        "open_group": lambda: group,
        "open_group in a group": lambda: zarrv3.open_group(group),
        "open_array in a group": lambda: zarrv3.open_array(group, path="x"),
        "open_array with a cache in a group": lambda: zarrv3.open_array(group, path="x", chunk_cache=100),
        "open in a group": lambda: zarrv3.open(group, path="x"),
        "an array of a group": lambda: group["x"],
        "get": lambda: group.get("x"),
        "get_array": lambda: group.get_array("x"),
        "get_group": lambda: zarrv3.open_group(store, mode="r").get_group("g"),
        "require_array": lambda: group.require_array("x", shape=4),
        "require_group": lambda: zarrv3.open_group(store, mode="r").require_group("g"),
        "members": lambda: next(group.members())[1],
        "with_config": lambda: array.with_config({"order": "F"}),
        "with_chunk_cache": lambda: array.with_chunk_cache(100),
        "pickled": lambda: pickle.loads(pickle.dumps(Array(KVStore({**store}), path, read_only=True))),
        "the place of a group": lambda: Group(group.store_path),
        "open the place of a group": lambda: zarrv3.open_group(group.store_path),
        "open the place of an array": lambda: zarrv3.open_array(array.store_path),
        "Array": lambda: Array(store, path, read_only=True),
        "Group": lambda: Group(store, "g", read_only=True),
        "Array.open": lambda: Array.open(zarrv3.storage.StorePath(shut, path)),
        "Group.open": lambda: Group.open(zarrv3.storage.StorePath(shut, "g")),
        "a store for reading": lambda: zarrv3.open_array(open_store(store, read_only=True), path=path),
        "in a layer": lambda: zarrv3.open(zarrv3.Counting(shut), path="g"),
        "create": lambda: zarrv3.create(4, store=MemoryStore(), read_only=True),
        "a new array in a group": lambda: zarrv3.group(MemoryStore()).zeros("y", shape=4, read_only=True),
    }


def _writes(node: Any) -> Iterator[Callable[[], Any]]:
    """Everything that changes a node."""
    yield lambda: node.attrs.update(a=1)
    yield lambda: node.update_attributes({"a": 1})
    yield node.attrs.clear
    yield lambda: zarrv3.create_group(node.store_path / "new")
    if isinstance(node, Group):
        yield lambda: node.create_array("y", shape=3)
        yield lambda: node.create_group("y")
        yield lambda: node.require_group("y")
        yield lambda: node.require_array("y", shape=3)
        yield lambda: node.zeros("y", shape=3)
        yield lambda: node.create_hierarchy({"y": node.metadata})
        yield lambda: node.__setitem__("x", np.arange(3))
        yield lambda: node.__delitem__("x")
        yield lambda: node.move("x", "y")
        yield node.clear
        yield lambda: node["x"].__setitem__(0, 9)
        yield lambda: zarrv3.consolidate_metadata(node)
        yield lambda: zarrv3.create_array(node, name="y", shape=3)
        yield lambda: zarrv3.open_array(node, path="x", mode="w", shape=3)
        yield lambda: zarrv3.group(node, overwrite=True)
        yield lambda: Group.from_store(node.store_path, overwrite=True)
        yield lambda: zarrv3.save(node.store_path, np.arange(3), overwrite=True)
        return
    yield lambda: node.__setitem__(0, 9)
    yield lambda: node.write(..., 9)
    yield lambda: node.oindex.__setitem__([0, 2], 9)
    yield lambda: node.vindex.__setitem__([0, 2], 9)
    yield lambda: node.blocks.__setitem__(0, 9)
    yield lambda: node.set_mask_selection(np.ones(node.shape, bool), 9)
    yield lambda: node.append([1, 2])
    yield lambda: node.resize(2)
    yield lambda: node.buffered().__enter__()


_WAYS_TO_READ = [*_ways_to_read(_filled())]


@pytest.mark.parametrize("way", _WAYS_TO_READ)
def test_what_is_opened_for_reading_refuses_every_change(store: MemoryStore, way: str) -> None:
    """Whoever says `read_only`, `mode="r"` or has a store that only reads gets a node that reads, and changes nothing."""
    before = snapshot(store)
    node = _ways_to_read(store)[way]()
    assert node.read_only
    kept = snapshot(node.store)
    for write in _writes(node):
        with pytest.raises(ReadOnlyError):
            write()
    if isinstance(node, Array):
        node.flush()
    assert snapshot(node.store) == kept
    assert snapshot(store) == before


@pytest.mark.parametrize("mode", [None, "r", "r+", "a"])
def test_reading_only_creates_nothing(mode: Any) -> None:
    """With `read_only=True` what is not there is missing, whatever would describe it."""
    store = MemoryStore()
    for act in (
        lambda: zarrv3.open(store, mode=mode, read_only=True),
        lambda: zarrv3.open(store, mode=mode, shape=3, read_only=True),
        lambda: zarrv3.open_array(store, mode=mode, shape=3, read_only=True),
        lambda: zarrv3.open_array(store, mode=mode, data=[1], read_only=True, write_buffer=100),
        lambda: zarrv3.open_array(store, mode=mode, shape=3, read_only=True, chunk_cache=100),
        lambda: zarrv3.open_like(np.arange(3), "a", store=store, mode=mode, read_only=True),
    ):
        with pytest.raises(NodeNotFoundError):
            act()
    assert not [*store]


@pytest.mark.parametrize("mode", ["w", "w-", "x"])
def test_reading_only_contradicts_creating(store: MemoryStore, mode: Any) -> None:
    """Modes that never open what is there are refused beside `read_only=True`, before anything is erased."""
    before = snapshot(store)
    for act in (
        lambda: zarrv3.open(store, mode=mode, path="g", read_only=True),
        lambda: zarrv3.open_array(store, mode=mode, path="g/x", shape=3, read_only=True),
        lambda: zarrv3.open_array(store, mode=mode, path="new", shape=3, read_only=True),
        lambda: zarrv3.open_like(np.arange(3), "g/x", store=store, mode=mode, read_only=True),
    ):
        with pytest.raises(ConfigurationError, match=f"mode='{mode}'.*read_only=True"):
            act()
    assert snapshot(store) == before


def test_not_reading_only_is_the_default(store: MemoryStore) -> None:
    """`read_only` that is false or `None`, zarr-python's default, changes nothing: not even the mode `r`."""
    assert not zarrv3.open_array(store, path="g/x", read_only=False).read_only
    assert not zarrv3.open(store, path="g/x", read_only=None).read_only
    assert zarrv3.open_array(store, path="g/x", mode="r", read_only=False).read_only
    assert isinstance(zarrv3.open(store, path="h", read_only=False), Group)


def test_a_new_array_that_only_reads_is_used_as_it_was_told() -> None:
    """What is created with `read_only=True` holds its data, and keeps how it is to be used."""
    array = zarrv3.array([[1, 2]], read_only=True, write_empty_chunks=True, config={"order": "F"})
    assert array.read_only
    assert array.write_empty_chunks
    assert array.config.order == "F"
    assert array[...].tolist() == [[1, 2]]


# ---------------------------------------------------------------- creating


def test_all_spellings() -> None:
    """Every creating function, with positional arguments where zarr-python 2 has them."""
    assert zarrv3.create((4, 4), (2, 2), "i4", None, 7, "F", MemoryStore(), path="p").fill_value == 7
    assert zarrv3.zeros((2, 3)).shape == (2, 3)
    assert zarrv3.empty(2, dtype="i1")[...].tolist() == [0, 0]
    assert zarrv3.ones(2)[...].tolist() == [1.0, 1.0]
    assert zarrv3.full(2, 42, dtype="i2")[...].tolist() == [42, 42]
    assert zarrv3.array([[1, 2]], chunks=1).chunks == (1, 1)
    assert zarrv3.create(3, read_only=True).read_only
    assert isinstance(zarrv3.group(), Group)
    nodes = {"a": zarrv3.zeros(1).metadata, "b/c": zarrv3.group().metadata}
    assert zarrv3.create_hierarchy(MemoryStore(), nodes=nodes)["a"].shape == (1,)
    assert zarrv3.create(4, compressor=numcodecs.Zlib(2)).compressor is not None
    store = MemoryStore()
    zarrv3.create_array(store, shape=1)
    with pytest.raises(NodeExistsError):
        zarrv3.create_array(store, shape=1)


def test_like(store: MemoryStore) -> None:
    """An array like another has its shape, chunks, dtype, fill value and codecs, those given winning."""
    mine = zarrv3.full((4, 6), 9, chunks=(2, 3), dtype="u2", compressor="default", order="F")
    like = zarrv3.empty_like(mine)
    assert like.metadata == mine.metadata
    assert zarrv3.zeros_like(mine).fill_value == 0
    assert zarrv3.ones_like(mine)[0, 0] == 1
    assert zarrv3.full_like(mine, 5)[0, 0] == 5
    assert zarrv3.full_like(mine)[0, 0] == 9
    assert zarrv3.zeros_like(mine, dtype="string")[0, 0] == ""
    assert zarrv3.zeros_like(mine, shape=3, chunks=2, dtype="f4", order="C").chunks == (2,)
    numpys = zarrv3.zeros_like(np.ones((2, 2), "c8"))
    assert (numpys.shape, numpys.dtype) == ((2, 2), np.dtype("c8"))
    assert zarrv3.open_like(mine, "x", store=store).metadata == mine.metadata
    assert zarrv3.open_like(mine, "g/x", store=store).shape == (4,)
    theirs = zarr.zeros((4, 4), chunks=(2, 2), dtype="i2", store=zarr.storage.MemoryStore())
    assert (zarrv3.zeros_like(theirs).chunks, zarrv3.zeros_like(theirs).dtype) == ((2, 2), np.dtype("i2"))
    assert zarrv3.array(theirs).chunks == (2, 2)


# ---------------------------------------------------------------- saving and loading


def test_save_and_load(tmp_path: Path) -> None:
    """One array is saved as an array, several as a group; either replaces what was there if told to."""
    place = str(tmp_path / "data")
    zarrv3.save(place, np.arange(3))
    assert zarrv3.load(place).tolist() == [0, 1, 2]
    zarrv3.save(place, np.arange(2), np.arange(3), named=[1.5], overwrite=True)
    found = zarrv3.load(place)
    assert {name: values.tolist() for name, values in found.items()} == {
        "arr_0": [0, 1], "arr_1": [0, 1, 2], "named": [1.5],
    }  # fmt: skip
    zarrv3.save_array(place, [5], path="deep/one", dtype="u1")
    assert zarrv3.load(place, path="deep/one").dtype == "u1"
    zarrv3.save_group(place, path="two", a=[1])
    assert zarrv3.load(place, "two")["a"].tolist() == [1]
    with pytest.raises(ConfigurationError, match="at least one"):
        zarrv3.save_group(place)
    with pytest.raises(NodeNotFoundError):
        zarrv3.load(place, "nope")


@pytest.mark.parametrize("spec", [True, False])
def test_saving_closes_what_it_opened(monkeypatch: pytest.MonkeyPatch, spec: bool) -> None:
    """A store that is opened by URL or configuration is closed, also after an error; the caller's own stays open."""
    closed: list[str] = []
    monkeypatch.setattr(MemoryStore, "close", lambda self: closed.append(self.describe()))
    place: Any = {"store": "memory", "name": "test-closing"} if spec else "memory://test-closing"
    zarrv3.save(place, [1], overwrite=True)
    zarrv3.load(place)
    with pytest.raises(ZarrError):
        zarrv3.load(place, "nope")
    assert len(closed) == 3
    mine = MemoryStore()
    zarrv3.save(mine, [1])
    zarrv3.load(mine)
    assert len(closed) == 3


# ---------------------------------------------------------------- consolidated metadata


@pytest.fixture
def _quiet() -> Iterator[None]:
    """zarr-python warns that consolidated metadata is not in the specification."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("_quiet")
def test_consolidated_metadata_are_zarr_pythons(tmp_path: Path) -> None:
    """zarr-python 3 opens the tree from the one document."""
    root = zarrv3.group(str(tmp_path), attributes={"top": 1})
    root.create_array("a/b/x", data=np.arange(4), attributes={"k": [1]})
    root.create_group("a/empty")
    zarrv3.consolidate_metadata(str(tmp_path))
    theirs = zarr.open_consolidated(str(tmp_path), zarr_format=3)
    assert sorted(name for name, _ in theirs.members(max_depth=None)) == ["a", "a/b", "a/b/x", "a/empty"]
    assert theirs["a/b/x"].attrs["k"] == [1]
    assert theirs["a/b/x"][...].tolist() == [0, 1, 2, 3]
    assert theirs.attrs["top"] == 1
    zarrv3.consolidate_metadata(str(tmp_path))  # again, on top of itself
    document = json.loads((tmp_path / "zarr.json").read_text())
    assert sorted(document["consolidated_metadata"]["metadata"]) == ["a", "a/b", "a/b/x", "a/empty"]


@pytest.mark.usefixtures("_quiet")
def test_consolidating_below_and_without_a_root() -> None:
    """A group below is consolidated on its own; a hierarchy whose root has no document gets one (defect 26 of zarr-python 2)."""
    store = MemoryStore()
    zarrv3.group(store, path="g").create_array("x", shape=1)
    zarrv3.consolidate_metadata(store, "g")
    assert "consolidated_metadata" in json.loads(store["g/zarr.json"])
    del store["zarr.json"]
    assert [*zarrv3.consolidate_metadata(store)] == ["g"]
    with pytest.raises(NodeNotFoundError):
        zarrv3.consolidate_metadata(MemoryStore())


# ---------------------------------------------------------------- with zarr-python


@pytest.mark.usefixtures("_quiet")
def test_zarr_python_reads_what_is_written_here(tmp_path: Path) -> None:
    """Arrays with fill values, codecs and orders of all kinds are the same to zarr-python 3, and the way back."""
    values = np.random.default_rng(0).integers(0, 3, (7, 5))
    for number, arguments in enumerate([
        {}, {"compressor": "default"}, {"order": "F"}, {"compressor": None, "fill_value": 2}, {"dtype": "f4"},
        {"chunk_key_encoding": "v2"}, {"dtype": "U3"}, {"dtype": "c16", "fill_value": 1j},
    ]):  # fmt: skip
        ours = zarrv3.array(values, chunks=(3, 2), store=str(tmp_path / str(number)), **arguments)
        ours[1:4, 1:4] = ours.fill_value
        theirs = zarr.open_array(str(tmp_path / str(number)))
        assert np.array_equal(theirs[...], ours[...])
        theirs[0] = ours.fill_value
        assert (ours[0] == ours.fill_value).all()


@pytest.mark.parametrize("overwrite", [False, True])
def test_groups_that_cannot_be_saved(overwrite: bool) -> None:
    """Everything is checked before anything is erased or written."""
    store = MemoryStore()
    zarrv3.save(store, np.arange(3), path="there")
    before = dict(store)
    for wrong in ([1, None], np.ma.masked_equal([1, 2], 2), np.array([object()]), [[1], [1, 2]]):  # type: ignore[no-untyped-call]
        with pytest.raises((AssignmentError, MetadataError)):
            zarrv3.save_group(
                store, path="there" if overwrite else "new", overwrite=overwrite, a=[1], b=wrong
            )
    with pytest.raises(NodeNameError):
        zarrv3.save_group(store, path="new", overwrite=overwrite, a=[1], **{"..": [1]})
    assert dict(store) == before


def test_names_of_the_package() -> None:
    """Everything in `__all__` is there, and nothing else is claimed."""
    assert all(hasattr(zarrv3, name) for name in zarrv3.__all__)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = zarrv3.no_such_thing
    assert issubclass(MetadataError, ValueError)
