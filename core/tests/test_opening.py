"""From everything that names a store to the store, and back."""

import json
import pickle
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from zarrv3 import registry
from zarrv3.errors import ConfigurationError, RegistryError
from zarrv3.layers import Counting, Layer, Prefix, ReadOnly
from zarrv3.opening.stores import as_store, open_store
from zarrv3.options.environment import Template
from zarrv3.options.settings import config
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Store
from zarrv3.store.memory import KVStore, MappingDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore

directory = pytest.importorskip("zarrv3_store_directory")


class Server(Backend):
    """A store with options of every kind, which keeps its content by address."""

    kind = "testserver"
    contents: ClassVar[dict[str, dict[str, bytes]]] = {}

    def __init__(
        self, address: str, *, size: int = 3, safe: bool = False, password: str = "", extra: Any = None
    ) -> None:
        super().__init__(address=address, size=size, safe=safe, password=password, extra=extra)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """See the contract."""
        return {"address": (url.authority or "") + url.path}

    def connect(self) -> Store:
        """See the contract."""
        return MappingDriver(self.contents.setdefault(self.option("address"), {}))


class Sized(Layer):
    """A layer with options."""

    kind = "testsized"

    def __init__(self, store: object, size: int = 1, label: str = "") -> None:
        super().__init__(store, size=size, label=label)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The two classes above are installed, and there is no configuration but the test's."""
    monkeypatch.setitem(registry.BUILT_IN["stores"], "testserver", "unused")
    registry.reset()
    registry._loaded["stores", "testserver"] = Server
    registry._loaded["layers", "testsized"] = Sized
    monkeypatch.setitem(registry.BUILT_IN["layers"], "testsized", "unused")
    monkeypatch.setenv("ZARRV3_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text("")
    config.reset()
    yield
    config.reset()
    registry.reset()
    Server.contents.clear()


def named(tmp_path: Path, text: str) -> None:
    """Write the configuration file."""
    (tmp_path / "config.toml").write_text(text)
    config.reset()


# ---------------------------------------------------------------- every form


def test_nothing() -> None:
    """`None` is a new store in memory, each time another; options go with it."""
    assert type(open_store()) is MemoryStore
    first, second = open_store(None), open_store(None)
    first["k"] = b"v"
    assert "k" not in second
    assert open_store(dimension_separator=".").dimension_separator == "."
    with pytest.raises(ConfigurationError, match=r"colour.*dimension_separator"):
        open_store(colour="red")


def test_store_object() -> None:
    """A store object is itself; options for it are refused."""
    store = MemoryStore()
    assert open_store(store) is store
    assert as_store(store) is store
    with pytest.raises(ConfigurationError, match="size"):
        open_store(store, size=3)


def test_mapping() -> None:
    """A mutable mapping is used as it is, also an empty dict and one with keys that look like options."""
    for mapping in ({}, {"store": b"x"}, {"url": b"x", "a/b": bytearray(b"y")}):
        store = open_store(mapping)
        assert type(store) is KVStore
        store["k"] = b"v"
        assert mapping["k"] == b"v"


def test_other_mapping() -> None:
    """Any class of mutable mapping will do."""

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

    mine = Mine()
    open_store(mine)["a/b"] = b"v"
    assert mine.content == {"a/b": b"v"}


def test_driver() -> None:
    """An object with the contract's methods becomes a full store."""
    store = open_store(MappingDriver({"k": b"v"}))
    assert type(store) is DriverStore
    assert store["k"] == b"v"


def test_paths(tmp_path: Path) -> None:
    """A bare path, a `Path` and a file URL are one folder; nothing is created."""
    path = tmp_path / "some folder" / "x.zarr"
    stores = [open_store(str(path)), open_store(path), open_store(path.as_uri())]
    assert stores[0] == stores[1] == stores[2]
    assert all(type(store) is directory.DirectoryStore for store in stores)
    assert not path.parent.exists()
    stores[0]["k"] = b"v"
    assert stores[1]["k"] == stores[2]["k"] == b"v"
    assert (path / "k").read_bytes() == b"v"


def test_path_is_literal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a `Path` nothing has a meaning: neither `|` nor a colon nor a variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZT_A", "other")
    for name in ("a|b:", "memory:x", "${ZT_A}", "a%20b?c#d"):
        open_store(Path(name))["k"] = name.encode()
        assert (tmp_path / name / "k").read_bytes() == name.encode()
        assert open_store(open_store(Path(name)).spec())["k"] == name.encode()


def test_options_with_a_path(tmp_path: Path) -> None:
    """Options go to the store that the path names."""
    store = open_store(tmp_path, normalize_keys=True)
    store["FOO"] = b"v"
    assert (tmp_path / "foo").exists()
    with pytest.raises(ConfigurationError, match=r"normalise_keys.*normalize_keys"):
        open_store(tmp_path, normalise_keys=True)


@pytest.mark.parametrize("what", [3, 4.5, b"path", [], ("memory:",), object(), type])
def test_no_store(what: object) -> None:
    """Anything else is refused with what would do."""
    with pytest.raises(ConfigurationError, match=r"not a store: .*give a store object"):
        open_store(what)


@pytest.mark.parametrize(
    "what", [{"stroe": "memory"}, {"path": "/x"}, {"kind": "memory", "size": 3}, {"a": None}]
)
def test_misspelt_configuration(what: dict[str, Any]) -> None:
    """A dict that is neither content nor a configuration is refused, not taken for an empty store."""
    with pytest.raises(ConfigurationError, match="'store' or 'url'"):
        open_store(what)


# ---------------------------------------------------------------- URLs


def test_url() -> None:
    """A URL is root and adapters, with options of their types."""
    store = open_store("testserver://h/1?size=5&safe=yes|prefix:a/b|testsized:?size=2|counting:")
    assert store.spec() == {
        "store": "testserver",
        "address": "h/1",
        "size": 5,
        "safe": True,
        "layers": [
            {"layer": "prefix", "prefix": "a/b"},
            {"layer": "testsized", "size": 2},
            {"layer": "counting"},
        ],
    }
    store["k"] = b"v"
    assert Server.contents == {"h/1": {"a/b/k": b"v"}}


def test_options_win() -> None:
    """Options beside a URL or a configuration win over those in it."""
    assert open_store("testserver:h?size=5", size=6).spec()["size"] == 6
    assert open_store({"store": "testserver", "address": "h", "size": 5}, size=6).spec()["size"] == 6
    assert open_store({"url": "testserver:h?size=5", "safe": True}, size=6).spec()["size"] == 6


@pytest.mark.parametrize(
    ("what", "known"),
    [
        ("testserver:h?colour=red", "address, size, safe, password, extra"),
        ("testserver:h|testsized:?colour=red", "size, label"),
        ("testserver:h|read-only:?colour=red", "none"),
        ({"store": "testserver", "address": "h", "colour": "red"}, "address, size, safe, password, extra"),
        ({"url": "testserver:h", "colour": "red"}, "address, size, safe, password, extra"),
        ({"store": "memory", "layers": [{"layer": "testsized", "colour": "red"}]}, "size, label"),
    ],
)
def test_unknown_options(what: Any, known: str) -> None:
    """An unknown option is an error that lists the known ones, wherever it stands."""
    with pytest.raises(ConfigurationError, match=f"'colour'.*: {known}$"):
        open_store(what)


def test_missing_option() -> None:
    """An option that is needed is named."""
    with pytest.raises(ConfigurationError, match="'testserver' needs the option 'address'"):
        open_store({"store": "testserver"})


@pytest.mark.parametrize(
    "what", ["", "|prefix:a", "memory:|prefix", "memory:name", "memory://a|read-only:path"]
)
def test_bad_urls(what: str) -> None:
    """A text that is not a URL is refused, and so is a name where none is expected."""
    if what == "memory:name":
        assert open_store(what) == open_store("memory://name")
        return
    with pytest.raises(ConfigurationError):
        open_store(what)


@pytest.mark.parametrize("what", ["read-only:", "memory:|memory:", "memory:|testserver:h"])
def test_store_and_layer_exchanged(what: str) -> None:
    """A layer is not a root, and a store is not an adapter."""
    with pytest.raises(RegistryError):
        open_store(what)


# ---------------------------------------------------------------- configurations


@pytest.mark.parametrize(
    "url",
    [
        "testserver://h/1",
        "testserver://h/1?size=5&safe=true&password=secret",
        "testserver://h/a%20b%7Cc|prefix:x/y|read-only:",
        "testserver:h|testsized:?size=4&label=a%26b|testsized:?label=c|counting:",
        "testserver:h|testsized:?label=$${ZT_A}",
        "testserver:$${ZT_A}?password=${ZT_A}",
    ],
)
def test_spec_round_trip(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store → spec → JSON → store gives an equal store over the same data, and so does a pickle."""
    monkeypatch.setenv("ZT_A", "value")
    store = open_store(url)
    spec = store.spec()
    again = open_store(json.loads(json.dumps(spec)))
    assert again == store
    assert again.spec() == spec
    copied = pickle.loads(pickle.dumps(store))
    assert copied == store
    assert copied.spec() == spec
    inner: Any = store
    while isinstance(inner, Layer):
        inner = inner.inner
    inner["x/y/k"] = b"v"
    assert set(again) == set(copied) == set(store) != set()


def test_spec_of_a_folder(tmp_path: Path) -> None:
    """The spec of a folder opens the same folder."""
    store = open_store(f"file://{tmp_path}/a%20b?fsync=1|prefix:p")
    store["k"] = b"v"
    assert open_store(json.loads(json.dumps(store.spec())))["k"] == b"v"


def test_spec_says_what_differs() -> None:
    """Defaults are left out of a spec, also when they were given."""
    assert open_store("testserver:h?size=3&safe=no").spec() == {"store": "testserver", "address": "h"}


def test_spec_of_a_live_object() -> None:
    """A store around a live object has no spec, nor has a layer on it."""
    for store in (KVStore({"a": b""}), Server("h", extra=object()), ReadOnly(DriverStore(MappingDriver({})))):
        with pytest.raises(ConfigurationError, match="live object"):
            store.spec()


def test_templates_stay_unexpanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` is put in only on use: not in the spec, not in the pickle, not in the repr."""
    monkeypatch.delenv("ZT_HOST", raising=False)
    store = open_store("testserver://${ZT_HOST}/x?password=${ZT_PASSWORD}|prefix:a")
    assert store.spec()["address"] == "${ZT_HOST}/x"
    assert store.spec()["password"] == "${ZT_PASSWORD}"
    dump = pickle.dumps(store)
    with pytest.raises(ConfigurationError, match="ZT_HOST"):
        store["k"] = b"v"
    monkeypatch.setenv("ZT_HOST", "the-host")
    store["k"] = b"v"
    assert Server.contents == {"the-host/x": {"a/k": b"v"}}
    assert b"the-host" not in pickle.dumps(store)
    assert "the-host" not in repr(store)
    assert store.spec()["address"] == "${ZT_HOST}/x"
    assert pickle.loads(dump)["k"] == b"v"
    assert open_store(json.loads(json.dumps(store.spec())))["k"] == b"v"


def test_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`$${NAME}` means `${NAME}`; an option given in code is taken literally, and its spec says so."""
    monkeypatch.setenv("ZT_HOST", "the-host")
    open_store("testserver:$${ZT_HOST}")["k"] = b"1"
    store = open_store("testserver:", address="${ZT_HOST}")
    store["l"] = b"2"
    assert store.spec()["address"] == "$${ZT_HOST}"
    open_store(store.spec())["m"] = b"3"
    open_store({"url": "testserver:"}, address="${ZT_HOST}")["n"] = b"4"
    open_store({"store": "testserver"}, address="${ZT_HOST}")["o"] = b"5"
    Server("${ZT_HOST}")["p"] = b"6"
    assert Server.contents == {
        "${ZT_HOST}": {"k": b"1", "l": b"2", "m": b"3", "n": b"4", "o": b"5", "p": b"6"}
    }


def test_templates_in_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of a configuration dict are templates, also within tables."""
    monkeypatch.setenv("ZT_HOST", "the-host")
    store = open_store({"store": "testserver", "address": "${ZT_HOST}", "extra": {"deep": ["${ZT_HOST}"]}})
    assert isinstance(store.given_options["extra"]["deep"][0], Template)
    assert isinstance(store, Server)
    assert store.option("extra") == {"deep": ["the-host"]}


def test_configuration_is_not_changed() -> None:
    """Opening leaves the dict as it was."""
    spec = {"store": "testserver", "address": "h", "layers": [{"layer": "testsized", "size": 2}]}
    before = json.dumps(spec)
    open_store(spec)
    assert json.dumps(spec) == before


@pytest.mark.parametrize(
    "layers", ["read-only", {"layer": "read-only"}, ["read-only"], [{"size": 3}], [None]]
)
def test_bad_layers(layers: Any) -> None:
    """Layers are a list of tables with a name each."""
    with pytest.raises(ConfigurationError, match="layer"):
        open_store({"store": "memory", "layers": layers})


def test_layers_around_a_url() -> None:
    """A configuration may name its root by a URL, adapters and layers together."""
    store = open_store({"url": "testserver:h|prefix:a", "layers": [{"layer": "read-only"}]})
    assert [type(store), type(store.inner)] == [ReadOnly, Prefix]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- named stores


def test_named_url(tmp_path: Path) -> None:
    """`store:NAME` opens what the file says, with options, adapters and query options on top."""
    named(tmp_path, '[stores.scans]\nurl = "testserver://h/1?size=5|prefix:a"\nsafe = true\n')
    for text in ("store:scans", "store://scans", "STORE:scans"):
        assert open_store(text).spec() == open_store("testserver://h/1?size=5&safe=1|prefix:a").spec()
    store = open_store("store:scans?size=7&safe=false|read-only:", password="x")
    assert isinstance(store, ReadOnly)
    assert store.spec()["size"] == 7
    assert store.spec()["password"] == "x"


def test_named_url_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Query options of a named store are converted like those of a URL."""
    monkeypatch.setenv("ZARRV3_STORE_BARE", "testserver:h?safe=yes")
    named(tmp_path, '[stores.table]\nstore = "testserver"\naddress = "h"\nsafe = true\n')
    for name in ("bare", "table"):
        assert open_store(f"store:{name}").spec()["safe"] is True
        assert open_store(f"store:{name}?safe=no&size=8").spec() == {
            "store": "testserver",
            "address": "h",
            "size": 8,
        }
        with pytest.raises(ConfigurationError, match=r"colour.*safe"):
            open_store(f"store:{name}?colour=red")


def test_named_table_with_layers(tmp_path: Path) -> None:
    """A table is a whole configuration."""
    named(tmp_path, '[stores.t]\nstore = "memory"\nname = "t"\nlayers = [{layer = "testsized", size = 4}]\n')
    assert open_store("store:t").spec()["layers"] == [{"layer": "testsized", "size": 4}]


def test_named_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of a named store comes from the environment and is not in its spec."""
    monkeypatch.setenv("ZT_SECRET", "hunter2")
    named(tmp_path, '[stores.s]\nurl = "testserver://h/?password=${ZT_SECRET}"\n')
    store = open_store("store:s")
    assert isinstance(store, Server)
    assert store.option("password") == "hunter2"
    assert "hunter2" not in json.dumps(store.spec()) + repr(store)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[stores]\nx = "store:x"', "'x' must not name another"),
        ('[stores]\nx = "STORE://y"', "'x' must not name another"),
        ('[stores.x]\nurl = "store:x"', "'x' must not name another"),
        ('[stores.x]\npath = "/data"', "'x' needs a 'url' or a 'store'"),
        ("[stores]\nx = 3", "'x' needs a 'url' or a 'store'"),
        ('[stores]\ny = "memory:"', "no store is named 'x'.*: y"),
    ],
)
def test_bad_named_stores(text: str, what: str, tmp_path: Path) -> None:
    """A named store that leads nowhere or in a circle is refused."""
    named(tmp_path, text)
    for url in ("store:x", "store://x"):
        with pytest.raises(ConfigurationError, match=what):
            open_store(url)


# ---------------------------------------------------------------- read_only, pickles


def test_read_only() -> None:
    """`read_only=True` refuses every write, and is not stacked on what is read-only."""
    store = open_store({"k": b"v"}, read_only=True)
    assert isinstance(store, ReadOnly)
    assert store["k"] == b"v"
    with pytest.raises(PermissionError):
        store["k"] = b"w"
    assert open_store(store, read_only=True) is store
    assert open_store("testserver:h|read-only:", read_only=True).spec()["layers"] == [{"layer": "read-only"}]


def test_pickled_stack() -> None:
    """A stack is pickled with all its layers and their options; the copy opens the same data."""
    store = open_store("testserver:h|prefix:a|testsized:?size=9&label=x|counting:|read-only:")
    copied = pickle.loads(pickle.dumps(store))
    kinds: list[type[BaseStore]] = []
    inner = copied
    while isinstance(inner, Layer):
        kinds.append(type(inner))
        inner = inner.inner
    assert kinds == [ReadOnly, Counting, Sized, Prefix]
    Server("h")["a/k"] = b"v"
    assert copied["k"] == b"v"


def test_pickled_content() -> None:
    """A mapping of content goes with the pickle, since there is nowhere else to find it."""
    copied = pickle.loads(pickle.dumps(open_store({"k": b"v"})))
    assert copied["k"] == b"v"


def test_opening_creates_nothing(tmp_path: Path) -> None:
    """Opening a folder for reading or writing leaves the disk as it was."""
    open_store(tmp_path / "a")
    open_store(tmp_path / "b", read_only=True)
    assert list(open_store(tmp_path / "c").list_prefix("")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_a_url_in_a_path_object() -> None:
    """`Path("memory://x")` is `memory:/x`: it is not taken for a folder of that name."""
    with pytest.raises(ConfigurationError, match="pathlib has dropped a slash"):
        open_store(Path("memory://x") / "y")
