"""Defects of zarr-python 2's experimental V3 support that a user met, each as what happens here instead.

The numbers are those of the list this project started from. Where a defect is about stores, the test runs over every
store that is installed.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.chunks.transformers import StorageTransformer
from zarrv3.errors import InvalidKeyError, MetadataError, NodeNotFoundError, RegistryError, StoreAccessError
from zarrv3.store.base import BaseStore


class Stays(StorageTransformer):
    """A transformer that changes values, so that an array without it reads nonsense."""

    extension_uri = "https://example.org/stays"

    def get_many(self, requests: Any, /) -> Any:
        """Turn the bits around."""
        return [_turned(value) for value in super().get_many(requests)]

    def write_many(self, items: Any, /) -> None:
        """Turn the bits around."""
        super().write_many({key: _turned(value) for key, value in items.items()})

    def get_versioned(self, keys: Any, /) -> Any:
        """Turn the bits around."""
        return [(_turned(value), version) for value, version in super().get_versioned(keys)]

    def swap_many(self, swaps: Any, /) -> Any:
        """Turn the bits around."""
        return super().swap_many({key: (version, _turned(value)) for key, (version, value) in swaps.items()})

    def apply_many(self, changes: Any, /) -> None:
        """Turn the bits around."""
        super().apply_many({key: _turned(value) for key, value in changes.items()})


def _turned(value: Any) -> Any:
    return None if value is None else bytes(255 - byte for byte in bytes(value))


def _openers() -> dict[str, Callable[[Path], BaseStore]]:
    found: dict[str, Callable[[Path], BaseStore]] = {"kv": lambda _: zarrv3.KVStore({})}
    classes: list[type[BaseStore]] = []
    for plugin in registry.plugins("stores"):
        try:
            cls = registry.load("stores", plugin.name)
        except RegistryError:
            found[plugin.name] = lambda _, name=plugin.name: registry.load("stores", name)
            continue
        if cls not in classes and cls.example_url("/tmp") is not None:
            classes.append(cls)
            found[plugin.name] = lambda folder, cls=cls: zarrv3.open_store(
                cls.example_url(str(folder / cls.kind))
            )
    return found


@pytest.fixture(params=_openers().items(), ids=lambda item: item[0])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    """An empty store of each kind, closed in the end."""
    with request.param[1](tmp_path) as opened:
        yield opened


# ---------------------------------------------------------------- crashes


def test_reading_from_threads(store: BaseStore) -> None:
    """1: many threads read one store at once and get what is there."""
    store.update({f"k{number}": b"%d" % number for number in range(20)})

    def read(number: int) -> bool:
        key = f"k{number % 20}"
        return store[key] == b"%d" % (number % 20) and key in store and len(store) == 20

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(400)))


def test_values_stay(store: BaseStore) -> None:
    """2: a value that was read stays what it was, after later writes and after `close`."""
    store["a"] = b"AAAA"
    value = store.get_many([("a", None)])[0]
    store["a"] = b"BBBB"
    store.close()
    assert value is not None
    assert bytes(value) == b"AAAA"


# ---------------------------------------------------------------- silent wrong data


@pytest.mark.parametrize("change", [lambda array: array.resize(12), lambda array: array.append([1, 2])])
def test_resizing_keeps_transformers(
    change: Callable[[zarrv3.Array], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """3: resizing and appending keep the storage transformers in the document, and the values behind them."""
    monkeypatch.setitem(registry._loaded, ("storage_transformers", Stays.extension_uri), Stays)
    memory = zarrv3.MemoryStore()
    array = zarrv3.create(
        8, chunks=4, dtype="i4", fill_value=-1, store=memory, storage_transformers=[Stays("any")]
    )
    array[...] = np.arange(8)
    change(array)
    reopened = zarrv3.open_array(memory, mode="r")
    assert len(reopened.metadata.storage_transformers) == 1
    assert reopened[:8].tolist() == [*range(8)]


def write_from_threads(array: zarrv3.Array) -> None:
    """Write 1 to 16, each from a thread of its own, all at once."""
    start = threading.Barrier(16)

    def write(number: int) -> None:
        start.wait()
        array[number] = number + 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))


def test_threads_sharing_a_chunk_lose_nothing(store: BaseStore) -> None:
    """4: threads that write different elements of one stored value all take effect."""
    array = zarrv3.zeros(16, chunks=16, dtype="i4", store=store)
    write_from_threads(array)
    assert array[...].tolist() == [*range(1, 17)]


@pytest.mark.parametrize("change", [lambda array: array.resize(12), lambda array: array.append([1, 2])])
def test_resizing_keeps_shards(change: Callable[[zarrv3.Array], object]) -> None:
    """3: resizing and appending keep the sharding transformer, so that what follows lies in shards too."""
    memory = zarrv3.MemoryStore()
    sharding = zarrv3.ShardingTransformer("indexed", 2)
    array = zarrv3.create(8, chunks=2, dtype="i4", store=memory, storage_transformers=[sharding])
    array[...] = np.arange(8)
    change(array)
    array[8:10] = [8, 9]
    reopened = zarrv3.open_array(memory, mode="r")
    assert reopened.shards == (4,)
    assert reopened[:10].tolist() == [*range(10)]
    assert sorted(key for key in memory if "c/" in key) == ["c/0", "c/1", "c/2"]


def test_threads_sharing_a_shard_lose_nothing(store: BaseStore) -> None:
    """4: threads that write different chunks of one shard all take effect."""
    array = zarrv3.create_array(store, shape=16, chunks=1, shards=16, dtype="i4")
    write_from_threads(array)
    assert array[...].tolist() == [*range(1, 17)]


def test_fortran_order_without_compressor(store: BaseStore) -> None:
    """5: arrays in Fortran order without a compressor come back as they were."""
    values = np.asfortranarray(np.arange(24).reshape(4, 6))
    array = zarrv3.array(values, order="F", compressor=None, chunks=(2, 3), store=store)
    np.testing.assert_array_equal(zarrv3.open(store, mode="r")[...], values)
    assert array.order == "F"


def test_erased_arrays_do_not_come_back(store: BaseStore) -> None:
    """6: `rmdir` erases the chunks too: an array created again in the same place holds fill values."""
    zarrv3.ones(4, chunks=2, store=store, path="Foo/bar")[...] = 5
    store.rmdir("Foo")
    assert not [key for key in store if key.startswith("Foo")]
    assert zarrv3.zeros(4, chunks=2, store=store, path="Foo/bar")[...].tolist() == [0] * 4


def test_erased_arrays_with_normalized_keys(tmp_path: Path) -> None:
    """6: the same with `normalize_keys` and upper case."""
    folder = zarrv3.DirectoryStore(tmp_path, normalize_keys=True)
    zarrv3.ones(4, chunks=2, store=folder, path="Foo")[...] = 5
    folder.rmdir("FOO")
    assert folder.list() == ["zarr.json"]


@pytest.mark.parametrize(
    ("erased", "neighbour"), [("grp_1", "grpA1"), ("foo", "Foo"), ("a", "ab"), ("%", "x")]
)
def test_erasing_leaves_neighbours(store: BaseStore, erased: str, neighbour: str) -> None:
    """7: erasing a node leaves those whose names only look like its own."""
    store.update({f"{erased}/zarr.json": b"1", f"{neighbour}/zarr.json": b"2"})
    store.rmdir(erased)
    assert dict(store.items()) == {f"{neighbour}/zarr.json": b"2"}


def test_reading_while_iterating(store: BaseStore) -> None:
    """8: values can be read while keys are iterated over, so that consolidating sees all of them."""
    store.update({f"k{number}": b"%d" % number for number in range(10)})
    assert sorted(store[key] for key in store.keys()) == [b"%d" % number for number in range(10)]  # noqa: SIM118
    store.clear()
    root = zarrv3.group(store)
    for number in range(10):
        root.create_group(f"g{number}")
    assert (
        len(zarrv3.consolidate_metadata(store).metadata.to_document()["consolidated_metadata"]["metadata"])
        == 10
    )


def test_the_callers_array_is_copied(store: BaseStore) -> None:
    """9: changing an array after it was written changes nothing in the store."""
    values = np.arange(4)
    array = zarrv3.array(values, chunks=4, compressor=None, store=store)
    values[...] = -1
    assert array[...].tolist() == [0, 1, 2, 3]
    read = array[...]
    read[...] = -2
    assert array[...].tolist() == [0, 1, 2, 3]


def test_a_cache_copies_the_callers_array(store: BaseStore) -> None:
    """9: the same through the LRU cache, for values read and written."""
    cache = zarrv3.LRUStoreCache(store, max_size=2**20)
    values = np.arange(4)
    array = zarrv3.array(values, chunks=4, compressor=None, store=cache)
    values[...] = -1
    assert array[...].tolist() == [0, 1, 2, 3]
    key = next(key for key in store if key.endswith("c/0"))
    buffer = bytearray(b"abcd")
    cache[key] = buffer
    buffer[:] = b"wxyz"
    assert bytes(cache[key]) == bytes(store[key]) == b"abcd"


def test_pieces_of_chunks_are_clipped(store: BaseStore) -> None:
    """10: pieces of a chunk in a shard never reach into its neighbours, nor into the index."""
    array = zarrv3.create_array(store, shape=8, chunks=4, shards=8, dtype="u1", compressors=None)
    array[...] = np.arange(48, 56)
    chunks = array.layout.store
    wanted = [(2, None), (0, 10), (-2, 2), (-1, None), (-9, 7), (4, 1)]
    pieces = chunks.get_partial_values([(array.layout.key((0,)), pair) for pair in wanted])
    assert [piece and bytes(piece) for piece in pieces] == [b"23", b"0123", b"23", b"3", b"01", b""]


def test_pieces_are_clipped(store: BaseStore) -> None:
    """10: pieces of a value never reach into its neighbours, whatever the range."""
    store.update({"a": b"0123", "b": b"4567"})
    wanted = [(2, None), (0, 10), (-2, 2), (-1, None), (-9, 7), (4, 1)]
    pieces = store.get_partial_values([("a", pair) for pair in wanted])
    assert pieces == [b"23", b"0123", b"23", b"3", b"01", b""]


@pytest.mark.parametrize("value", [complex(1, np.inf), complex(np.nan, -np.inf), complex(-0.0, 1)])
def test_complex_fill_values(value: complex) -> None:
    """11: the parts of a complex fill value come back each as it was."""
    memory = zarrv3.MemoryStore()
    zarrv3.full(3, value, dtype="c16", store=memory)
    read = zarrv3.open_array(memory, mode="r")[...]
    assert read.tobytes() == np.full(3, value, "c16").tobytes()


def test_no_fill_value_is_zero() -> None:
    """11: elements that were never written without a fill value are zero, not whatever lay in memory."""
    array = zarrv3.empty(1000, dtype="f8", fill_value=None)
    assert not array[...].any()


@pytest.mark.parametrize("error", [PermissionError("denied"), OSError("outage"), TimeoutError("late")])
def test_an_outage_is_not_a_missing_chunk(error: OSError) -> None:
    """12: when reading fails a partial write fails too, and what is stored stays."""

    class Failing(dict[str, bytes]):
        broken = False

        def get(self, key: str, default: Any = None) -> Any:
            if self.broken and "c/" in key:
                raise error
            return super().get(key, default)

    content = Failing()
    array = zarrv3.array(np.arange(1, 5), chunks=4, store=content)
    content.broken = True
    with pytest.raises(StoreAccessError, match="c/0"):
        array[0] = 9
    content.broken = False
    assert array[...].tolist() == [1, 2, 3, 4]


def test_copying_one_array(store: BaseStore) -> None:
    """13: copying a node copies its document too, and works to any path."""
    source = zarrv3.MemoryStore()
    zarrv3.array(np.arange(6), chunks=2, store=source, path="x")
    zarrv3.copy(source, store, source_path="x", dest_path="q/r")
    assert zarrv3.open(store, mode="r")["q/r"][...].tolist() == [*range(6)]


def test_overwriting_a_group(store: BaseStore) -> None:
    """14: an array that takes the place of a group leaves nothing of its members."""
    zarrv3.group(store, path="g").array("below", np.arange(3))
    zarrv3.zeros(3, store=store, path="g", overwrite=True)
    assert sorted(store) == ["g/zarr.json", "zarr.json"]


# ---------------------------------------------------------------- errors and surprises


def test_reading_imports_no_tests(tmp_path: Path) -> None:
    """15: reading needs neither pytest nor hypothesis nor an environment variable."""
    zarrv3.array(np.arange(4), store=str(tmp_path / "a"), compressor="default")
    code = """
import sys, zarrv3
zarrv3.open(sys.argv[1], mode="r")[...]
assert not {"pytest", "hypothesis"} & {*sys.modules}, "imported"
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_sizes_are_silent(store: BaseStore, capsys: pytest.CaptureFixture[str]) -> None:
    """16, 17: `info` and `getsize` work in every store and print nothing themselves."""
    array = zarrv3.array(np.arange(100), chunks=10, store=store, path="a")
    assert dict(array.info)["Chunks initialized"] == "10/10"
    assert array.nbytes_stored() == store.getsize("a") > 0
    assert store.getsize() > store.getsize("a")
    assert capsys.readouterr().out == ""


def test_forgetting_values_resets_the_size(store: BaseStore) -> None:
    """18: after `invalidate_values` the cache is empty by its own count, and goes on."""
    cache = zarrv3.LRUStoreCache(store, max_size=100)
    for number in range(10):
        cache[f"k{number}"] = b"x" * 30
    cache.invalidate_values()
    assert cache.statistics.bytes == 0
    cache["new"] = b"y" * 50
    assert cache.statistics.bytes == len("new") + 50


@pytest.mark.parametrize("function", [zarrv3.open, zarrv3.open_array, zarrv3.open_group])
def test_opening_for_reading_creates_nothing(function: Callable[..., Any], tmp_path: Path) -> None:
    """19: a missing hierarchy opened for reading is an error, and still missing afterwards."""
    with pytest.raises(NodeNotFoundError, match="missing"):
        function(str(tmp_path / "missing"), mode="r")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("key", ["data/../../evil", "../evil", "..", "/evil", "a/./b"])
def test_no_key_leaves_the_root(store: BaseStore, key: str, tmp_path: Path) -> None:
    """20: keys that point outside are refused by every method, and nothing is written."""
    for call in (
        lambda: store.__setitem__(key, b"x"),
        lambda: store[key],
        lambda: store.update({key: b"x"}),
        lambda: store.write_many({key: None}),
        lambda: store.swap_many({key: (None, b"x")}),
        lambda: store.set_partial_values([(key, 0, b"x")]),
    ):
        with pytest.raises(InvalidKeyError, match="key"):
            call()
    assert not [*tmp_path.parent.rglob("evil")]


def test_sizes_leave_neighbours_out(store: BaseStore) -> None:
    """21: the size of `foo` is without `foobar` and `foo2/…`."""
    store.update({"foo/a": b"1" * 630})
    alone = store.getsize("foo")
    store.update({"foobar": b"1" * 100, "foo2/a": b"1" * 1000})
    assert store.getsize("foo") == alone


@pytest.mark.parametrize("shards", [None, 2])
def test_leftovers_are_no_chunks(shards: int | None, tmp_path: Path) -> None:
    """22: what a killed writer left behind, ours or zarr-python 2's, is neither counted nor in the way."""
    folder = zarrv3.DirectoryStore(tmp_path)
    array = zarrv3.create_array(folder, data=np.arange(1, 5), chunks=1, shards=shards)
    (tmp_path / "c" / "0.0123456789abcdef.partial").write_bytes(b"half")
    assert array.nchunks_initialized == array.nchunks == 4
    assert dict(array.info)["Chunks initialized"] == "4/4"
    assert array[...].tolist() == [1, 2, 3, 4]


def test_writing_pieces(store: BaseStore) -> None:
    """24: several pieces make a new value, no pieces do nothing, a gap is a ValueError, and values stay bytes."""
    store.set_partial_values([])
    store.set_partial_values([("new", 0, b"01"), ("new", 2, b"23")])
    assert store["new"] == b"0123"
    with pytest.raises(ValueError, match="'gap'"):
        store.set_partial_values([("gap", 3, b"x")])
    assert "gap" not in store
    content: dict[str, bytes] = {}
    zarrv3.KVStore(content).set_partial_values([("a", 0, bytearray(b"x"))])
    assert type(content["a"]) is bytes


def test_bad_prefixes_without_assert(tmp_path: Path) -> None:
    """25: a prefix without a slash is refused also by `python -O`, which leaves out every assert."""
    code = """
import zarrv3
store = zarrv3.MemoryStore({"a/b": b""})
for call in (store.erase_prefix, store.list_dir):
    try:
        call("a")
    except ValueError as error:
        print(type(error).__name__)
print(store.list())
"""
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["InvalidKeyError", "InvalidKeyError", "['a/b']"], done.stderr


def test_folders_are_listed_in_order(store: BaseStore) -> None:
    """25: `listdir` gives sorted names."""
    names = [f"f{number}" for number in range(20)]
    store.update({f"{name}/a": b"1" for name in reversed(names)})
    assert store.listdir("") == sorted(names)


def test_roots_are_there(store: BaseStore) -> None:
    """26: after creating an array deep in an empty store its root opens, for reading and for consolidating."""
    zarrv3.zeros(3, store=store, path="deep/er/array")
    assert isinstance(zarrv3.open(store, mode="r"), zarrv3.Group)
    assert [*zarrv3.open_group(store, mode="r")] == ["deep"]
    zarrv3.consolidate_metadata(store)
    assert zarrv3.open_group(store, mode="r")["deep/er/array"].shape == (3,)


def test_consolidating_adds_no_node(store: BaseStore) -> None:
    """27: consolidated metadata shows up neither as a member nor in the sizes that `info` tells."""
    root = zarrv3.group(store)
    root.array("a", np.arange(3))
    zarrv3.consolidate_metadata(store)
    assert [*zarrv3.open_group(store, mode="r")] == ["a"]
    assert "No. bytes stored" in dict(zarrv3.open_group(store, mode="r")["a"].info)


def test_attributes_are_the_callers_own() -> None:
    """28: `attrs.put` leaves the caller's dict alone, and an attribute may be called `filters`."""
    memory = zarrv3.MemoryStore()
    given: dict[str, Any] = {"filters": ["mine"], "a": 1}
    array = zarrv3.array(np.arange(3), store=memory, filters=None)
    array.attrs.put(given)
    assert given == {"filters": ["mine"], "a": 1}
    reopened = zarrv3.open_array(memory, mode="r")
    assert dict(reopened.attrs) == given
    assert reopened[...].tolist() == [0, 1, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_documents_are_json(value: Any) -> None:
    """28: an attribute that is not JSON is refused and what was there stays, so that every document can be parsed."""
    memory = zarrv3.MemoryStore()
    group = zarrv3.group(memory)
    group.attrs["a"] = 1
    with pytest.raises(MetadataError, match="a"):
        group.attrs["a"] = value
    assert json.loads(memory["zarr.json"], parse_constant=pytest.fail)["attributes"] == {"a": 1}


@pytest.mark.parametrize(
    "name", ["with space", "größe", "日本", "a+b", "k=v", "c:d", "x*y", "100%", "?", "#1", "a|b"]
)
def test_names_of_any_script(store: BaseStore, name: str) -> None:
    """29: nodes may have spaces, any script and punctuation in their names."""
    zarrv3.group(store).array(name, np.arange(3), chunks=2)
    root = zarrv3.open_group(store, mode="r")
    assert [*root] == [name]
    assert root[name][...].tolist() == [0, 1, 2]
    del zarrv3.open_group(store)[name]
    assert store.list() == ["zarr.json"]


def test_clearing_twice(store: BaseStore) -> None:
    """32: an empty store can be cleared, again and again."""
    store["a/b"] = b"1"
    store.clear()
    store.clear()
    assert store.list() == []


def test_errors_show_the_path(tmp_path: Path) -> None:
    """32: the error about a root that is a file shows its path and no placeholder."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreAccessError, match="file") as caught:
        zarrv3.DirectoryStore(tmp_path / "file")["a"] = b""
    assert "%" not in str(caught.value)


def test_all_classes_answer_at_the_top() -> None:
    """33: every class is offered as `zarrv3.<Name>`, none only in a module of its own."""
    for name in registry.OFFERED_CLASSES:
        try:
            found = getattr(zarrv3, name)
        except AttributeError as error:
            assert "pip install" in str(error)  # noqa: PT017 - either is right
        else:
            assert found.__name__ == name


# ---------------------------------------------------------------- cost, and combinations that failed


def test_round_trips() -> None:
    """A plain array of 64 chunks costs few calls to its store, to write and to read, and `in` reads no value."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    array = zarrv3.create(640, chunks=10, store=counting)
    counting.reset()
    array[...] = 1
    assert counting.calls["write_many"] <= 8
    counting.reset()
    assert array[...].sum() == 640
    assert counting.calls["get_many"] <= 8
    counting.reset()
    assert "c/0" in counting
    assert counting.bytes_read == 0


def test_listing_one_folder_is_one_call() -> None:
    """Listing a folder asks for that folder, not for all keys of the store."""
    counting = zarrv3.Counting(zarrv3.MemoryStore({f"{n}/{m}": b"" for n in range(9) for m in range(9)}))
    assert len(counting.listdir("3")) == 9
    assert dict(counting.calls) == {"list_dir": 1}


@pytest.mark.parametrize("dtype", ["m8[25s]", "M8[10ms]", "V3", "c8"])
def test_data_types_that_could_not_be_written(dtype: str) -> None:
    """Times in multiples of a unit and raw bytes come back with their dtype."""
    memory = zarrv3.MemoryStore()
    values = np.frombuffer(bytes(range(96)), np.uint8)[: 8 * np.dtype(dtype).itemsize].copy().view(dtype)
    zarrv3.array(values, chunks=3, store=memory)
    read = zarrv3.open_array(memory, mode="r")
    assert read.dtype == np.dtype(dtype)
    assert read[...].tobytes() == values.tobytes()


@pytest.mark.parametrize(
    "arguments",
    [
        {"chunks": 0},
        {"compressor": {"name": "numcodecs.delta", "configuration": {"dtype": "<f8"}}},
        {"chunks": (2, 2)},
    ],
)
def test_what_does_not_fit_leaves_nothing(arguments: dict[str, Any]) -> None:
    """Chunks of length 0 and filters in the compressor's place are refused before a document is written."""
    memory = zarrv3.MemoryStore()
    with pytest.raises(MetadataError):
        zarrv3.create(4, store=memory, path="a", **arguments)
    assert memory.list() == []


@pytest.mark.parametrize("made", [zarrv3.MemoryStore({"a": b"precious"}), zarrv3.KVStore({"a": b"precious"})])
def test_reprs_hold_no_content(made: BaseStore) -> None:
    """The repr of a store tells what it is and none of what it holds."""
    assert "precious" not in repr(made)
    assert type(made).__name__ in repr(made)
