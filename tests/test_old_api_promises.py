"""What zarr-python 2's experimental V3 support promised of its classes, over every store that is installed.

A store of a plugin joins by being installed, once its class has an `example_url`.
"""

import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.compat import (
    DirectoryStoreV3,
    KVStoreV3,
    MemoryStoreV3,
    RmdirV3,
    StorageTransformer,
    StoreV3,
)
from zarrv3.errors import (
    ConfigurationError,
    KeyMissingError,
    NodeNotFoundError,
    RegistryError,
    StoreClosedError,
)
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.contract import Buffer, Request
from zarrv3.testing.processes import open_files

CONTENT = {
    "zarr.json": b"root",
    "a/zarr.json": b"document",
    "a/c/0": b"0123456789",
    "ab/c/0": b"xyz",
    "b": b"",
}

Opener = Callable[[Path], StoreV3]


class PassThrough(StorageTransformer):
    """A transformer that does nothing."""

    extension_uri = "https://example.org/pass-through"
    valid_types = ("plain", "fancy")

    def __init__(self, _type: str, strength: int = 1) -> None:
        super().__init__(_type)
        self.strength = strength


def _metadata() -> ArrayMetadata:
    return zarrv3.create(4).metadata


def _by_url(cls: type[StoreV3]) -> Opener:
    return lambda folder: zarrv3.open_store(cls.example_url(str(folder / cls.kind)))


def _openers() -> dict[str, Opener]:
    found: dict[str, Opener] = {
        "memory": lambda _: zarrv3.MemoryStore(),
        "kv": lambda _: zarrv3.KVStore({}),
        "directory": lambda folder: zarrv3.DirectoryStore(folder / "data"),
        "layers": lambda folder: zarrv3.Counting(
            zarrv3.Prefix(zarrv3.DirectoryStore(folder / "data"), "below/it")
        ),
        "transformer": lambda _: PassThrough("plain").bind(zarrv3.MemoryStore(), "", _metadata()),
    }
    known = {zarrv3.MemoryStore, zarrv3.KVStore, zarrv3.DirectoryStore}
    for plugin in registry.plugins("stores"):
        try:
            cls = registry.load("stores", plugin.name)
        except RegistryError:
            found[plugin.name] = lambda _, name=plugin.name: registry.load("stores", name)
            continue
        if cls not in known and cls.example_url("/tmp") is not None:
            known.add(cls)
            found[plugin.name] = _by_url(cls)
    return found


@pytest.fixture(params=_openers().items(), ids=lambda item: item[0])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> StoreV3:
    """An empty store of each kind."""
    made: StoreV3 = request.param[1](tmp_path)
    return made


@pytest.fixture
def store(fresh: StoreV3) -> Iterator[StoreV3]:
    """A store that is closed in the end."""
    with fresh:
        yield fresh


@pytest.fixture
def filled(store: StoreV3) -> StoreV3:
    """A store with some keys, closed in the end."""
    store.update(CONTENT)
    return store


# ---------------------------------------------------------------- methods every store has


def test_get(filled: StoreV3) -> None:
    """`store[key]` and `get` give the bytes; a missing key is a KeyError or the default."""
    assert filled["a/c/0"] == b"0123456789"
    assert filled["b"] == b""
    assert filled.get("a/c/0") == b"0123456789"
    assert filled.get("missing") is None
    assert filled.get("missing", b"else") == b"else"
    with pytest.raises(KeyError, match="missing"):
        filled["missing"]


def test_set(filled: StoreV3) -> None:
    """`store[key] = value` replaces, whatever kind of buffer it is given."""
    for value in (b"bytes", bytearray(b"longer bytes"), memoryview(b"view"), b""):
        filled["a/c/0"] = value
        assert filled["a/c/0"] == bytes(value)
        assert type(filled["a/c/0"]) is bytes


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/./b", "a/../b"])
def test_set_checks_the_key(store: StoreV3, key: str) -> None:
    """A text that is not a key is a ValueError and nothing is stored."""
    with pytest.raises(ValueError, match="key"):
        store[key] = b"value"
    assert store.list() == []


@pytest.mark.parametrize("method", ["__delitem__", "erase"])
def test_delete(filled: StoreV3, method: str) -> None:
    """`del store[key]` and `erase` remove a key; a missing one is a KeyError."""
    getattr(filled, method)("a/c/0")
    assert "a/c/0" not in filled
    with pytest.raises(KeyError, match="a/c/0"):
        getattr(filled, method)("a/c/0")


def test_contains(filled: StoreV3) -> None:
    """`in` is about keys, not about folders or anything else."""
    assert "a/c/0" in filled
    assert "b" in filled
    assert "a" not in filled
    assert "a/c" not in filled
    assert 7 not in filled


def test_views(filled: StoreV3) -> None:
    """`keys`, `values`, `items`, `iter` and `len` are over all keys."""
    assert {*filled} == {*filled.keys()} == {*CONTENT}
    assert dict(filled.items()) == CONTENT
    assert sorted(filled.values()) == sorted(CONTENT.values())
    assert len(filled) == len(CONTENT)


def test_mutable_mapping(filled: StoreV3) -> None:
    """`pop`, `popitem`, `setdefault` and `update` do what a dict does."""
    assert isinstance(filled, MutableMapping)
    assert filled.pop("b") == b""
    assert filled.pop("b", b"default") == b"default"
    assert filled.setdefault("b", b"new") == b"new"
    assert filled.setdefault("b", b"newer") == b"new"
    filled.update({"b": b"1"}, d=b"2")
    assert filled.getitems(["b", "d"]) == {"b": b"1", "d": b"2"}
    key, value = filled.popitem()
    assert {**CONTENT, "b": b"1", "d": b"2"}[key] == value
    assert key not in filled


def test_clear(filled: StoreV3) -> None:
    """`clear` erases everything, the root's document too, and may be called again."""
    filled.clear()
    assert filled.list() == []
    filled.clear()


def test_list(filled: StoreV3) -> None:
    """`list` is a list of all keys."""
    assert type(filled.list()) is list
    assert sorted(filled.list()) == sorted(CONTENT)


def test_list_prefix(filled: StoreV3) -> None:
    """`list_prefix` gives all keys that start with a text; a leading slash is a ValueError."""
    assert sorted(filled.list_prefix("a")) == ["a/c/0", "a/zarr.json", "ab/c/0"]
    assert sorted(filled.list_prefix("a/")) == ["a/c/0", "a/zarr.json"]
    assert sorted(filled.list_prefix("")) == sorted(CONTENT)
    assert [*filled.list_prefix("nothing")] == []
    with pytest.raises(ValueError, match="/"):
        [*filled.list_prefix("/a")]


def test_list_dir(filled: StoreV3) -> None:
    """`list_dir` gives full names of keys and folders directly below, folders ending in a slash."""
    assert sorted(filled.list_dir("")) == ["a/", "ab/", "b", "zarr.json"]
    assert sorted(filled.list_dir("a/")) == ["a/c/", "a/zarr.json"]
    assert [*filled.list_dir("nothing/")] == []
    with pytest.raises(ValueError, match="'a'"):
        filled.list_dir("a")


def test_listdir(filled: StoreV3) -> None:
    """`listdir` gives sorted names below a path, none for a path that is not there."""
    assert filled.listdir() == ["a", "ab", "b", "zarr.json"]
    assert filled.listdir("a") == filled.listdir("/a/") == ["c", "zarr.json"]
    assert filled.listdir("nothing") == []


def test_erase_prefix(filled: StoreV3) -> None:
    """`erase_prefix` erases a folder and not its neighbours; it must end in a slash; "/" is everything."""
    with pytest.raises(ValueError, match="'a'"):
        filled.erase_prefix("a")
    filled.erase_prefix("a/")
    assert sorted(filled) == ["ab/c/0", "b", "zarr.json"]
    filled.erase_prefix("/")
    assert filled.list() == []


def test_rename(filled: StoreV3) -> None:
    """`rename` moves a node with all that is below it, and leaves its neighbours."""
    filled.rename("a", "deep/er")
    assert dict(filled.items()) == {
        "zarr.json": b"root",
        "deep/er/zarr.json": b"document",
        "deep/er/c/0": b"0123456789",
        "ab/c/0": b"xyz",
        "b": b"",
    }


def test_rename_refuses(filled: StoreV3) -> None:
    """Renaming what is not there, or onto something, is an error that changes nothing."""
    with pytest.raises(NodeNotFoundError, match="nothing"):
        filled.rename("nothing", "c")
    with pytest.raises(ValueError, match="ab"):
        filled.rename("a", "ab")
    with pytest.raises(ValueError, match="inside"):
        filled.rename("a", "a/below")
    assert dict(filled.items()) == CONTENT


def test_rmdir(filled: StoreV3) -> None:
    """`rmdir` removes a node with all that is below it; a missing node is not an error; "" is the whole hierarchy."""
    filled.rmdir("nothing")
    assert len(filled) == len(CONTENT)
    filled.rmdir("a")
    assert sorted(filled) == ["ab/c/0", "b", "zarr.json"]
    filled.rmdir()
    assert filled.list() == []


def test_getsize(filled: StoreV3) -> None:
    """`getsize` is the stored bytes below a path or of one key, without its neighbours; 0 for nothing."""
    if filled.describe().startswith(("MemoryStore", "KVStore", "DirectoryStore", "Counting", "PassThrough")):
        assert filled.getsize("a") == filled.getsize("/a/") == 18
        assert filled.getsize("a/c/0") == 10
        assert filled.getsize() == 25
    assert filled.getsize("a") == filled.getsize("a/c/0") + filled.getsize("a/zarr.json")
    assert filled.getsize() >= filled.getsize("a") > 0
    assert filled.getsize("nothing") == 0


def test_get_partial_values(filled: StoreV3) -> None:
    """Pieces come in the order of the requests, clipped; a key may repeat; a missing one gives None."""
    pieces = filled.get_partial_values(
        [
            ("a/c/0", (2, 3)),
            ("missing", (0, 1)),
            ("a/c/0", (-3, None)),
            ("a/c/0", (-3, 2)),
            ("a/c/0", (8, 100)),
            ("a/c/0", (100, 1)),
            ("a/c/0", (4, None)),
            ("a/c/0", (-2, 2)),
            ("a/c/0", (5, 0)),
            ("a/c/0", None),
            ("ab/c/0", (0, 1)),
        ]
    )
    assert pieces == [b"234", None, b"789", b"78", b"89", b"", b"456789", b"89", b"", b"0123456789", b"x"]


def test_set_partial_values(filled: StoreV3) -> None:
    """Pieces are written into values; a negative start replaces the tail."""
    filled.set_partial_values(
        [("a/c/0", 1, b"AB"), ("b", 0, b"new"), ("a/c/0", -2, b"the end"), ("c", 0, b"c")]
    )
    assert filled.getitems(["a/c/0", "b", "c"]) == {"a/c/0": b"0AB34567the end", "b": b"new", "c": b"c"}


def test_set_partial_values_refuses_gaps(filled: StoreV3) -> None:
    """A piece past the end of a value, or not at the start of a missing one, is a ValueError that changes nothing."""
    for piece in (("a/c/0", 11, b"x"), ("missing", 1, b"x"), ("b", -1, b"x")):
        with pytest.raises(ValueError, match=piece[0]):
            filled.set_partial_values([piece])
    assert dict(filled.items()) == CONTENT


def test_supports_efficient(store: StoreV3) -> None:
    """Reading pieces is efficient where the store says so (a property); writing them never is (a method)."""
    assert store.supports_efficient_get_partial_values is store.capabilities.native_ranges
    assert store.supports_efficient_set_partial_values() is False


def test_getitems(filled: StoreV3) -> None:
    """`getitems` gives those keys that exist, also with the `contexts` of zarr-python 2."""
    assert filled.getitems(["b", "missing", "a/c/0"], contexts={}) == {"b": b"", "a/c/0": b"0123456789"}


def test_abilities(store: StoreV3) -> None:
    """The four questions about abilities are methods."""
    answers = [store.is_readable(), store.is_writeable(), store.is_erasable(), store.is_listable()]
    assert answers == [True] * 4


def test_close(store: StoreV3) -> None:
    """A store can be closed twice; using it afterwards is a ValueError that says so."""
    store["a"] = b"1"
    store.close()
    store.close()
    with pytest.raises(StoreClosedError, match="closed"):
        store["a"]


def test_context_manager(fresh: StoreV3) -> None:
    """`with` may be nested; the outermost block closes."""
    with fresh as first:
        with first as second:
            second["a"] = b"1"
        assert first["a"] == b"1"
    with pytest.raises(StoreClosedError, match="closed"):
        fresh["a"]


def test_unhashable(store: StoreV3) -> None:
    """Stores are compared by what they are made for and are not hashable."""
    assert store == store
    assert store != zarrv3.MemoryStore({"other": b""})
    with pytest.raises(TypeError, match="unhashable"):
        hash(store)


def test_pickle(filled: StoreV3) -> None:
    """A pickled store has the same content, and keeps its separator."""
    copy = pickle.loads(pickle.dumps(filled))
    assert type(copy) is type(filled)
    assert dict(copy.items()) == CONTENT
    assert copy.dimension_separator == filled.dimension_separator
    copy.close()


def test_arrays_and_groups(store: StoreV3) -> None:
    """Arrays and groups live in every store, and moving and erasing them leaves nothing behind."""
    root = zarrv3.group(store, overwrite=True)
    values = np.arange(35).reshape(5, 7)
    root.create_group("foo").array("bar", values, chunks=(2, 3))
    root.move("foo", "deep/foo")
    np.testing.assert_array_equal(zarrv3.open(store, mode="r")["deep/foo/bar"][1:, ::-2], values[1:, ::-2])
    del root["deep"]
    assert store.list() == ["zarr.json"]


# ---------------------------------------------------------------- promises of the module


def test_no_flag_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`zarr_version=3` works without any environment variable; other versions are refused."""
    for name in ("ZARR_V3_EXPERIMENTAL_API", "ZARR_V3_SHARDING"):
        monkeypatch.delenv(name, raising=False)
    assert zarrv3.create(10, zarr_version=3).shape == (10,)
    with pytest.raises(ConfigurationError, match="2"):
        zarrv3.create(10, zarr_version=2)


def test_mappings_become_stores() -> None:
    """A plain mapping is wrapped in `KVStoreV3`, and gets exactly what is written."""
    content: dict[str, bytes] = {}
    array = zarrv3.create(10, store=content)
    assert isinstance(array.store, KVStoreV3)
    assert [*content] == ["zarr.json"]


def test_every_class_is_a_store_v3() -> None:
    """`isinstance(store, StoreV3)` holds for every store."""
    for made in (MemoryStoreV3(), KVStoreV3({}), DirectoryStoreV3("x"), StorageTransformer("any")):
        assert isinstance(made, StoreV3)


def test_storage_transformers_are_set_by_create(monkeypatch: pytest.MonkeyPatch) -> None:
    """`create(storage_transformers=[…])` names them in the document, and a reopened array reads through them."""
    monkeypatch.setitem(registry._loaded, ("storage_transformers", PassThrough.extension_uri), PassThrough)
    store = zarrv3.MemoryStore()
    array = zarrv3.create(4, dtype="i4", store=store, storage_transformers=[PassThrough("fancy", 3)])
    array[...] = 7
    (named,) = zarrv3.open(store, mode="r").metadata.storage_transformers
    assert named.to_json() == {
        "name": PassThrough.extension_uri,
        "configuration": {"type": "fancy", "strength": 3},
    }
    assert zarrv3.open(store, mode="r")[...].tolist() == [7] * 4


# ---------------------------------------------------------------- RmdirV3


def test_rmdir_mixin_wins() -> None:
    """`RmdirV3` before a class with an `rmdir` of its own puts ours in its place."""

    class Old(zarrv3.KVStore):
        def rmdir(self, path: str = "") -> None:
            raise AssertionError(path)

    class New(RmdirV3, Old):
        pass

    store = New({"a/zarr.json": b"", "a/c/0": b"", "ab": b""})
    store.rmdir("a")
    assert store.list() == ["ab"]


# ---------------------------------------------------------------- KVStoreV3


def test_kv_passes_through() -> None:
    """What is stored is in the mapping under the same key, and the other way round."""
    content: dict[str, bytes] = {}
    store = KVStoreV3(content)
    store["a/b"] = b"1"
    content["c"] = b"2"
    assert content == {"a/b": b"1", "c": b"2"}
    assert dict(store.items()) == content


def test_kv_takes_any_mapping() -> None:
    """Any mutable mapping will do; what is none is refused by name."""

    class Mine(MutableMapping[str, bytes]):
        def __init__(self) -> None:
            self.content: dict[str, bytes] = {}

        def __getitem__(self, key: str) -> bytes:
            return self.content[key]

        def __setitem__(self, key: str, value: bytes) -> None:
            self.content[key] = value

        def __delitem__(self, key: str) -> None:
            del self.content[key]

        def __iter__(self) -> Iterator[str]:
            return iter(self.content)

        def __len__(self) -> int:
            return len(self.content)

    array = zarrv3.array(np.arange(5), store=Mine(), chunks=2)
    assert array[...].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="list"):
        KVStoreV3([])  # type: ignore[arg-type]


def test_kv_equality() -> None:
    """Two are equal when their mappings are."""
    assert KVStoreV3({"a": b"1"}) == KVStoreV3({"a": b"1"})
    assert KVStoreV3({"a": b"1"}) != KVStoreV3({"a": b"2"})
    assert KVStoreV3({}) != MemoryStoreV3()


def test_kv_repr_hides_the_content() -> None:
    """The repr names the kind of mapping and none of its values."""
    assert repr(KVStoreV3({"a": b"precious"})) == "<KVStore(dict)>"


# ---------------------------------------------------------------- MemoryStoreV3


def test_memory_is_the_default() -> None:
    """Groups and arrays that are given no store are in memory."""
    assert type(zarrv3.group().store) is MemoryStoreV3
    assert type(zarrv3.zeros(3).store) is MemoryStoreV3


def test_memory_takes_root_and_class() -> None:
    """`root` is what it holds at first; `cls` makes the mapping when there is no root."""

    class Mine(dict[str, Any]):
        pass

    assert MemoryStoreV3({"a": b"1"})["a"] == b"1"
    assert type(MemoryStoreV3(cls=Mine).identity()) is Mine


def test_memory_equality() -> None:
    """Two are equal when they hold the same."""
    first, second = MemoryStoreV3(), MemoryStoreV3()
    assert first == second
    first["a"] = b"1"
    assert first != second
    second["a"] = b"1"
    assert first == second


def test_memory_copies_values() -> None:
    """A buffer that is changed after it was stored changes nothing in the store."""
    store, value = MemoryStoreV3(), bytearray(b"1")
    store["a"] = value
    value[0] = 0
    assert store["a"] == b"1"


def test_memory_is_thread_safe() -> None:
    """Threads that write, list and erase at once lose nothing and see no error."""
    store = MemoryStoreV3()
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for step in range(100):
                store[f"{number}/{step}"] = b"1"
                store.listdir()
                store.getsize(str(number))
                if step % 2:
                    del store[f"{number}/{step}"]
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store) == 8 * 50


# ---------------------------------------------------------------- DirectoryStoreV3


def test_directory_is_folders_and_files(tmp_path: Path) -> None:
    """A key is the file at that path below the root, holding exactly the value."""
    DirectoryStoreV3(str(tmp_path / "d"))["a/b"] = b"value"
    assert (tmp_path / "d" / "a" / "b").read_bytes() == b"value"


def test_directory_normalizes_keys(tmp_path: Path) -> None:
    """With `normalize_keys` upper and lower case are one key; by default they are two."""
    store = DirectoryStoreV3(tmp_path / "n", normalize_keys=True)
    store["Foo"] = b"1"
    assert store["FOO"] == b"1"
    assert store.list() == ["foo"]
    plain = DirectoryStoreV3(tmp_path / "p")
    plain["foo"] = b"1"
    assert "FOO" not in plain


def test_directory_dimension_separator(tmp_path: Path) -> None:
    """Arrays use the store's separator unless they are told otherwise."""
    store = DirectoryStoreV3(tmp_path, False, ".")
    zarrv3.ones((2, 2), chunks=1, store=store, path="a")[...] = 2
    zarrv3.ones((2, 2), chunks=1, store=store, path="b", dimension_separator="/")[...] = 2
    assert {"a/c.0.0", "a/c.1.1", "b/c/0/0", "b/c/1/1"} <= {*store}


def test_directory_writes_atomically(tmp_path: Path) -> None:
    """A reader meets the whole old or the whole new value, and no temporary file stays."""
    store = DirectoryStoreV3(tmp_path)
    store["a"] = b"0" * 100_000
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(store["a"])

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(200):
        store["a"] = b"%d" % (number % 10) * 100_000
    done.set()
    thread.join()
    assert seen
    assert all(len(value) == 100_000 and len({*value}) == 1 for value in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_directory_needs_no_close(tmp_path: Path) -> None:
    """Files are open only while they are used: nothing is left open without `close`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        store = DirectoryStoreV3(tmp_path)
        store["a"] = b"1"
        assert open_files(tmp_path) == []
        del store


def test_directory_is_safe_in_threads(tmp_path: Path) -> None:
    """Threads with stores of their own write into one folder and lose nothing."""

    def work(number: int) -> None:
        store = DirectoryStoreV3(tmp_path)
        store.update({f"shared/{number}/{step}": b"1" for step in range(50)})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(DirectoryStoreV3(tmp_path)) == 400


def test_directory_equality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are equal when their path is, however it is spelled."""
    monkeypatch.chdir(tmp_path)
    assert DirectoryStoreV3("a") == DirectoryStoreV3(tmp_path / "a")
    assert DirectoryStoreV3("a") != DirectoryStoreV3("b")


def test_directory_path_is_a_file(tmp_path: Path) -> None:
    """A root that is a file is refused by name."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        DirectoryStoreV3(tmp_path / "file")["a"] = b"1"


# ---------------------------------------------------------------- StorageTransformer


def test_transformer_checks_its_type() -> None:
    """A type that the class does not know is a ValueError that lists those it knows."""
    assert PassThrough("fancy").type == "fancy"
    with pytest.raises(ValueError, match="'plain', 'fancy'"):
        PassThrough("other")


def test_transformer_config_round_trips() -> None:
    """The configuration is the public attributes but the type, and makes an equal transformer."""
    made = PassThrough("plain", strength=5)
    assert made.get_config() == {"strength": 5}
    assert PassThrough.from_config("plain", made.get_config()) == made
    assert PassThrough("plain") != made
    assert PassThrough("fancy", 5) != made


def test_transformer_before_binding() -> None:
    """A transformer that is bound to no array has no inner store, and says so."""
    with pytest.raises(ConfigurationError, match="description"):
        _ = PassThrough("plain").inner_store


def test_transformer_binding_makes_a_copy() -> None:
    """Binding leaves the description as it was; the copy lies on the store."""
    description, store = PassThrough("plain", 2), zarrv3.MemoryStore()
    bound = description.bind(store, "a/", _metadata())
    assert bound.inner_store is store
    assert bound.strength == 2
    with pytest.raises(ConfigurationError, match="description"):
        _ = description.inner_store


def test_transformer_passes_everything_on() -> None:
    """The base class changes nothing: what comes in through it is in the store, and the other way round."""
    store = zarrv3.MemoryStore()
    bound = PassThrough("plain").bind(store, "", _metadata())
    bound.update(CONTENT)
    assert dict(store.items()) == CONTENT
    bound.rename("a", "z")
    bound.erase("b")
    bound.set_partial_values([("z/c/0", 0, b"X")])
    assert store.getitems(["z/c/0", "b"]) == {"z/c/0": b"X123456789"}
    assert sorted(bound.list_dir("z/")) == sorted(store.list_dir("z/"))
    assert bound.getsize("z") == store.getsize("z") == 18


def test_transformer_is_overridden_by_subclasses() -> None:
    """What a subclass overrides takes effect in every convenience that is built on it."""

    class Upper(StorageTransformer):
        def get_many(self, requests: list[Request], /) -> list[Buffer | None]:  # type: ignore[override]
            return [None if v is None else bytes(v).upper() for v in super().get_many(requests)]

        def get_versioned(self, keys: Any, /) -> Any:
            return [(None if v is None else v.upper(), version) for v, version in super().get_versioned(keys)]

        def write_many(self, changes: Any, /) -> None:
            super().write_many({key: value.lower() for key, value in changes.items()})

        def swap_many(self, swaps: Any, /) -> Any:
            return super().swap_many(
                {key: (version, value.lower()) for key, (version, value) in swaps.items()}
            )

        def apply_many(self, changes: Any, /) -> None:
            super().apply_many({key: value.lower() for key, value in changes.items()})

    store = zarrv3.MemoryStore()
    bound = Upper("any").bind(store, "", _metadata())
    bound["a"] = b"Text"
    assert (store["a"], bound["a"], [*bound.values()]) == (b"text", b"TEXT", [b"TEXT"])
    with pytest.raises(KeyMissingError, match="missing"):
        bound["missing"]
