"""Finding plugins: throw-away distributions on `sys.path`, as pip would have put them there."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import importlib_metadata
import pytest

from zarrv3 import entry_points, registry
from zarrv3.errors import ConfigurationError, RegistryError
from zarrv3.opening.stores import open_store, preferred
from zarrv3.options.settings import config
from zarrv3.store.memory import MemoryStore

_numbers = itertools.count()

STORE = """
    from zarrv3.store.memory import MemoryStore
    class Store(MemoryStore):
        kind = "{name}"
"""

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution of one module; its name in the entry points is `MODULE`. Returns the module's name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def installer(distribution: str, points: str, code: str = "", version: str = "1.2") -> str:
        module = f"throw_away_{next(_numbers)}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(points).replace("MODULE", module))
        return module

    registry.reset()
    yield installer
    for module in made:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    registry.reset()


def run(code: str) -> Any:
    """What a new interpreter prints as JSON."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


# ---------------------------------------------------------------- third parties


def test_third_party_store_by_scheme(install: Install) -> None:
    """A store that the core has never heard of is opened by its URL as soon as it is installed."""
    install("acme-store", "[zarrv3.stores]\nacme = MODULE:Store\n", STORE.format(name="acme"))
    store = open_store("acme://x")
    assert type(store).__name__ == "Store"
    store["k"] = b"v"
    assert open_store(store.spec())["k"] == b"v"


def test_installed_after_the_scan(install: Install) -> None:
    """What is installed into a running process is found by its name, after a lookup that failed."""
    with pytest.raises(RegistryError):
        registry.load("stores", "latecomer")
    install("late", "[zarrv3.stores]\nlatecomer = MODULE:Store\n", STORE.format(name="latecomer"))
    assert registry.load("stores", "latecomer").kind == "latecomer"


def test_only_the_plugin_asked_for_is_imported(install: Install) -> None:
    """Looking one plugin up, or listing all, imports no other."""
    one = install("one", "[zarrv3.stores]\none = MODULE:Store\n", STORE.format(name="one"))
    two = install("two", "[zarrv3.stores]\ntwo = MODULE:Store\n", STORE.format(name="two"))
    found = [plugin for plugin in registry.plugins("stores") if plugin.name in {"one", "two"}]
    assert one not in sys.modules
    assert [(p.kind, p.name, p.value, p.distribution, p.version) for p in found] == [
        ("stores", "one", f"{one}:Store", "one", "1.2"),
        ("stores", "two", f"{two}:Store", "two", "1.2"),
    ]
    registry.load("stores", "one")
    assert one in sys.modules
    assert two not in sys.modules


def test_found_class_is_cached(install: Install) -> None:
    """A name is looked up once: the second time nothing is scanned or imported."""
    module = install("cached", "[zarrv3.stores]\ncached = MODULE:Store\n", STORE.format(name="cached"))
    first = registry.load("stores", "cached")
    del sys.modules[module]
    assert registry.load("stores", "cached") is first


def test_same_name_of_different_kinds(install: Install) -> None:
    """A store and a layer may have one name, as zip has."""
    install(
        "both",
        "[zarrv3.stores]\nboth = MODULE:Store\n[zarrv3.layers]\nboth = MODULE:Wrapper\n",
        STORE.format(name="both")
        + "    from zarrv3.layers.base import Layer\n    class Wrapper(Layer): kind = 'both'\n",
    )
    store = open_store("both:|both:")
    assert [type(store).__name__, type(store.inner).__name__] == ["Wrapper", "Store"]  # type: ignore[attr-defined]


def test_lookups_of_many_threads(install: Install) -> None:
    """Many threads that ask at once get the same class."""
    install("threads", "[zarrv3.stores]\nthreads = MODULE:Store\n", STORE.format(name="threads"))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.load("stores", "threads"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


# ---------------------------------------------------------------- what is broken


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import no_such_library", "no_such_library"),
        ("1 / 0", "ZeroDivisionError"),
        ("Other = 1", "Store"),
        ("def (", "SyntaxError"),
    ],
)
def test_broken_plugin(code: str, what: str, install: Install) -> None:
    """A plugin that cannot be imported breaks its own name alone, and the error names its distribution and the reason."""
    install("broken-dist", "[zarrv3.stores]\nbroken = MODULE:Store\n", code)
    install("sound", "[zarrv3.stores]\nsound = MODULE:Store\n", STORE.format(name="sound"))
    with pytest.raises(RegistryError, match=f"'broken' of broken-dist 1.2.*{what}") as caught:
        open_store("broken:")
    assert caught.value.__cause__ is not None
    assert open_store("sound:").capabilities.write
    assert open_store("memory:").capabilities.write


@pytest.mark.parametrize("code", ["Store = 3", "def Store(**options): pass", "class Store: pass"])
def test_plugin_that_is_no_store(code: str, install: Install) -> None:
    """A plugin whose value is not a store class is named with its distribution when it is opened."""
    install(
        "strange-dist",
        "[zarrv3.stores]\nstrange = MODULE:Store\n[zarrv3.layers]\nstrange = MODULE:Store\n",
        code,
    )
    with pytest.raises(RegistryError, match=r"strange-dist 1\.2.*BaseStore"):
        open_store("strange:")
    with pytest.raises(RegistryError, match=r"strange-dist 1\.2.*Layer"):
        open_store("memory:|strange:")


def test_two_distributions_with_one_name(install: Install) -> None:
    """A name that two distributions claim is an error that names both, when it is used and not before."""
    install("first", "[zarrv3.stores]\ntwice = MODULE:Store\n", STORE.format(name="twice"))
    install("second", "[zarrv3.stores]\ntwice = MODULE:Store\n", STORE.format(name="twice"))
    assert open_store("memory:").capabilities.write
    with pytest.raises(
        RegistryError, match=r"store 'twice' is claimed by first 1\.2 and second 1\.2; uninstall"
    ):
        registry.load("stores", "twice")


_TAKING = """
    from typing import Annotated, Any
    from zarrv3.options.declared import Option
    from zarrv3.store.memory import MemoryStore
    class Store(MemoryStore):
        kind = "{name}"
        def __init__(self, name: str | None = None, {option}: Annotated[bool, Option("only here")] = False) -> None:
            super().__init__(name=name)
"""


@pytest.fixture
def two(install: Install) -> None:
    """Two packages that serve `shared://`: one claims the name, the other one stands behind it."""
    install(
        "claims", "[zarrv3.stores]\nclaims = MODULE:Store\nshared = MODULE:Store\n",
        _TAKING.format(name="claims", option="quick"),
    )  # fmt: skip
    install(
        "behind", "[zarrv3.stores]\nbehind = MODULE:Store\n[zarrv3.fallbacks.stores]\nshared = MODULE:Store\n",
        _TAKING.format(name="behind", option="careful"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "prefer", "kind"),
    [
        ("shared:", "", "claims"),
        ("shared:", "behind", "behind"),
        ("shared:", "redis, behind,claims", "behind"),
        ("shared:?quick=yes", "behind", "claims"),
        ("shared:?careful=yes", "", "behind"),
        ({"store": "shared", "careful": True}, "", "behind"),
        ("behind:", "claims", "behind"),
    ],
)
def test_who_serves_a_name(
    two: None, url: Any, prefer: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several packages that serve a name, the first that takes all options is used: preferred ones, the claim, fallbacks."""
    with config.set(prefer=prefer):
        assert open_store(url).kind == kind
    monkeypatch.setenv("ZARRV3_PREFER", prefer)
    assert open_store(url).kind == kind
    order = ["behind", "claims"] if "behind" in prefer else ["claims", "behind"]
    assert [plugin.distribution for plugin in registry.providers("stores", "shared", preferred)] == order


def test_nobody_takes_an_option(two: None) -> None:
    """Where no package takes an option, the error has what each of them says."""
    with pytest.raises(ConfigurationError, match=r"^claims: .*quick.*; behind: .*'carefull'.*careful"):
        open_store("shared:?carefull=yes")
    with config.set(prefer="behnid"), pytest.raises(RegistryError, match="did you mean 'behind'"):
        open_store("shared:")
    with config.set(prefer="behnid"):
        assert open_store("behind:").kind == "behind"  # where there is no choice, nothing is preferred


def test_two_claims_and_a_preference(install: Install) -> None:
    """Of two distributions that claim a name, the preferred one is used, and the other one stands behind it."""
    for name in ("left", "right"):
        points = f"[zarrv3.stores]\ntwice = MODULE:Store\n{name} = MODULE:Store\n"
        install(name, points, STORE.format(name=name))
    with pytest.raises(RegistryError, match="name one by the setting 'prefer'"):
        open_store("twice:")
    with config.set(prefer="right"):
        assert open_store("twice:").kind == "right"


def test_one_distribution_found_twice(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable installation that is on the path as well is one distribution, not two."""
    module = install("double", "[zarrv3.stores]\ndouble = MODULE:Store\n", STORE.format(name="double"))
    other = tmp_path / "other" / "double-1.2.dist-info"
    other.mkdir(parents=True)
    for name in ("METADATA", "entry_points.txt"):
        (other / name).write_text((tmp_path / "double-1.2.dist-info" / name).read_text())
    monkeypatch.syspath_prepend(str(other.parent))
    assert registry.load("stores", "double").__module__ == module


def test_core_names_cannot_be_taken(install: Install) -> None:
    """The core's own names stay the core's."""
    install("thief", "[zarrv3.stores]\nmemory = MODULE:Store\n", STORE.format(name="memory"))
    assert registry.load("stores", "memory") is MemoryStore


def test_damaged_metadata(install: Install) -> None:
    """A distribution whose files are damaged does not hide others."""
    install("damaged", "[zarrv3.stores]\nno equals sign\n", "")
    install("healthy", "[zarrv3.stores]\nhealthy = MODULE:Store\n", STORE.format(name="healthy"))
    assert registry.load("stores", "healthy").kind == "healthy"
    assert "healthy" in {plugin.name for plugin in registry.plugins("stores")}


def test_no_metadata(install: Install, tmp_path: Path) -> None:
    """A distribution without a name of its own can be used and listed all the same."""
    install("nameless", "[zarrv3.stores]\nnameless = MODULE:Store\n", STORE.format(name="nameless"))
    (tmp_path / "nameless-1.2.dist-info" / "METADATA").unlink()
    assert registry.load("stores", "nameless").kind == "nameless"
    assert "nameless" in {plugin.name for plugin in registry.plugins("stores")}


def by_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported `importlib_metadata`, which stands in for Python's own finder of distributions."""
    left = [finder for finder in sys.meta_path if not hasattr(finder, "find_distributions")]
    monkeypatch.setattr(sys, "meta_path", [*left, PathFinder])


def told(points: Iterable[Any]) -> list[tuple[str, ...]]:
    """What entry points say, and of which distribution they are."""
    return sorted((p.group, p.name, p.value, p.attr or "", p.dist.name, p.dist.version) for p in points)


def test_entry_points_are_those_that_importlib_metadata_finds(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from the files in folders they are exactly those that the library finds, whatever the files and folders look like."""
    install(
        "acme.Store", "# a comment\n\n[zarrv3.stores]\n acme.x=MODULE : Store [extra]\nb = MODULE\n[empty]\n"
    )
    install("acme-store", "[zarrv3.stores]\nsecond = MODULE\n", version="0.9")
    shutil.move(tmp_path / "acme_store-0.9.dist-info", tmp_path / "acme_store-0.9.egg-info")
    (tmp_path / "acme_store-0.9.egg-info/METADATA").rename(tmp_path / "acme_store-0.9.egg-info/PKG-INFO")
    for version in ("1.0", "2.0"):
        install("removed", "[zarrv3.stores]\nremoved = MODULE\n", version=version)
    (tmp_path / "removed-1.0.dist-info/METADATA").unlink()
    (tmp_path / "alone.egg-info").write_text("Name: alone\nVersion: 1\n")
    expected = told(importlib_metadata.entry_points())
    by_folders(monkeypatch)
    monkeypatch.setattr(sys, "path", [*sys.path, "/nowhere"])
    monkeypatch.setattr(entry_points, "_by_library", lambda: pytest.fail("folders were not enough"))
    assert told(entry_points.installed()) == expected
    assert [line[1:] for line in expected if line[1] in {"acme.x", "b", "second", "removed"}]


@pytest.mark.parametrize(
    "where", ["sys.path.append('a.zip')", "sys.path.append('a.egg')", "sys.meta_path.append(Finder)"]
)
def test_distributions_elsewhere_are_left_to_importlib_metadata(where: str, tmp_path: Path) -> None:
    """Those in archives and eggs, and those that somebody's finder knows, are found beside those in folders."""
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: a\nVersion: 1\n",
        "entry_points.txt": "[zarrv3.stores]\nthere = a\n",
    }
    for name, text in files.items():
        for folder in ("a.egg/EGG-INFO", "found/a-1.dist-info"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(text)
        with ZipFile(tmp_path / "a.zip", "a") as archive:
            archive.writestr(f"a-1.dist-info/{name}", text)
    found = run(f"""
        import importlib.metadata, json, os, sys
        from zarrv3 import entry_points

        class Finder:
            find_spec = staticmethod(lambda *_: None)
            find_distributions = staticmethod(lambda _: [importlib.metadata.Distribution.at("found/a-1.dist-info")])

        os.chdir({str(tmp_path)!r})
        before = [*entry_points.installed()]
        {where}
        print(json.dumps([point.name for point in entry_points.installed() if point.group == "zarrv3.stores"]))
        assert len(before) == len([*entry_points.installed()]) - 1
    """)
    assert found.count("there") == 1


# ---------------------------------------------------------------- unknown names


def test_did_you_mean() -> None:
    """A name that is nearly right is answered with the right one."""
    with pytest.raises(RegistryError, match=r"no store is called 'memroy'; did you mean 'memory'\?"):
        open_store("memroy:")
    with pytest.raises(RegistryError, match="did you mean 'read-only'"):
        open_store("memory:|readonly:")


def test_known_names() -> None:
    """A name that resembles none is answered with all of them, or with eight of many."""
    assert registry.nearest("qqq", "abcdefghijkl", "known") == "known: a, b, c, d, e, f, g, h, i, j, k, l"
    assert re.fullmatch(r"known: (\w, ){8}and 5 others", registry.nearest("qqq", "abcdefghijklm", "known"))
    assert registry.nearest("qqq", [], "known") == "known: none"
    assert registry.nearest("regoin", ["Region", "x"], "known") == "did you mean 'Region'?"
    with pytest.raises(RegistryError, match=r"known here: .*, and \d+ others"):
        open_store("qqqqqq:")


@pytest.mark.parametrize(
    ("kind", "name", "package"),
    [
        (kind, name, package)
        for kind, names in registry.OFFERED.items()
        for name, package in names.items()
        if package not in {"zarrv3-store-directory", "zarrv3-layer-retry"}
    ],
)
def test_install_line(kind: registry.Kind, name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a package of this project provides is answered with the line that installs it."""
    monkeypatch.setattr(registry, "_installed", lambda: iter(()))
    registry.reset()
    with pytest.raises(RegistryError, match=f"pip install {package}$"):
        registry.load(kind, name)
    registry.reset()


def test_pattern_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the core that ends in `*` stands for any ending; an exact name comes first."""
    codecs = {
        "n.*": "zarrv3.store.memory:KVStore",
        "r*": "zarrv3.store.memory:MemoryStore",
        "n.zlib": "zarrv3.store.base:BaseStore",
    }
    monkeypatch.setitem(registry.BUILT_IN, "codecs", codecs)
    registry.reset()
    try:
        assert registry.load("codecs", "n.lz4").__name__ == "KVStore"
        assert registry.load("codecs", "n.zlib").__name__ == "BaseStore"
        assert registry.load("codecs", "r24") is MemoryStore
        with pytest.raises(RegistryError):
            registry.load("codecs", "n")
    finally:
        monkeypatch.undo()
        registry.reset()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in registry.BUILT_IN.items() for name in names if "*" not in name],
)
def test_core_names_exist(kind: registry.Kind, name: str) -> None:
    """Every name of the core can be loaded."""
    assert registry.load(kind, name) is not None


def test_every_kind_has_a_noun() -> None:
    """Each kind can be named in an error and has its tables."""
    assert set(registry.BUILT_IN) == set(registry.OFFERED) == set(registry.NOUN)


# ---------------------------------------------------------------- classes by name


def test_find_class(install: Install) -> None:
    """A class of an installed plugin is found by its own name, without importing others."""
    other = install("other", "[zarrv3.stores]\nother = MODULE:Store\n", STORE.format(name="other"))
    install(
        "named",
        "[zarrv3.stores]\nnamed = MODULE:NamedStore\nalias = MODULE:NamedStore\n",
        STORE.format(name="named") + "    NamedStore = Store\n",
    )
    assert registry.find_class("NamedStore").kind == "named"
    assert other not in sys.modules


def test_find_class_installed_later(install: Install) -> None:
    """A class that was missing is found once its package is installed."""
    with pytest.raises(AttributeError):
        registry.find_class("LaterStore")
    install(
        "later",
        "[zarrv3.stores]\nlater = MODULE:LaterStore\n",
        STORE.format(name="l") + "    LaterStore = Store\n",
    )
    assert registry.find_class("LaterStore").kind == "l"


def test_find_class_of_two(install: Install) -> None:
    """A class name that two distributions use is an error that names both, also under different schemes."""
    install("left", "[zarrv3.stores]\nleft = MODULE:Store\n", STORE.format(name="left"))
    install("right", "[zarrv3.stores]\nright = MODULE:Store\n", STORE.format(name="right"))
    with pytest.raises(RegistryError, match=r"zarrv3\.Store is claimed by left 1\.2 and right 1\.2"):
        registry.find_class("Store")


def test_find_class_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing class is an `AttributeError`, with the line that installs it where one is known."""
    monkeypatch.setattr(registry, "_installed", lambda: iter(()))
    registry.reset()
    for name, package in registry.OFFERED_CLASSES.items():
        with pytest.raises(AttributeError, match=f"{name}.*pip install {package}$"):
            registry.find_class(name)
    with pytest.raises(AttributeError, match=r"no attribute 'NoSuchStore'$"):
        registry.find_class("NoSuchStore")
    registry.reset()


# ---------------------------------------------------------------- what importing costs


def test_import_scans_nothing() -> None:
    """`import zarrv3` neither looks for entry points nor imports a plugin, and opening a built-in store does not either."""
    found = run("""
        import json, sys
        import zarrv3
        from zarrv3 import registry
        scanned = registry._scan is not None
        store = registry.load("stores", "memory")()
        layer = registry.load("layers", "read-only")(store)
        plugins = sorted(name for name in sys.modules if name.startswith("zarrv3_") or name.startswith("__editable__"))
        plugins = [name for name in plugins if not name.startswith("__editable__")]
        print(json.dumps([scanned, registry._scan is not None, plugins, "importlib_metadata" in sys.modules]))
    """)
    assert found == [False, False, [], False]


def test_lookup_scans_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of lookups of installed names costs one scan."""
    scans = []
    real = entry_points.installed
    install("once", "[zarrv3.stores]\nonce = MODULE:Store\nmore = MODULE:Store\n", STORE.format(name="once"))
    monkeypatch.setattr(entry_points, "installed", lambda: scans.append(1) or real())
    registry.reset()
    for name in ("once", "more", "once"):
        registry.load("stores", name)
    registry.plugins()
    assert len(scans) == 1


def test_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class can be made known for this process, until the registry is reset; names of the core are the core's."""
    monkeypatch.setattr(registry, "_loaded", {})

    class Noted(MemoryStore):
        kind = "noted"

    registry.register("stores", "noted", Noted)
    assert registry.installed("stores", "noted")
    assert type(open_store("noted:")) is Noted
    with pytest.raises(RegistryError, match="the store 'memory' belongs to the core"):
        registry.register("stores", "memory", Noted)
    registry.reset()
    with pytest.raises(RegistryError, match="noted"):
        registry.load("stores", "noted")
