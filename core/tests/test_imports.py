"""Imports: they point one way, and `import zarrv3` is light."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.options.kernels import kernels

ROOT = Path(zarrv3.__file__).parent
PLUGINS = sorted(path.parent for path in Path(__file__).parents[2].glob("plugins/*/src/*/__init__.py"))

ROOMS = ["errors", "forks", "entry_points", "registry", "options", "store", "layers", "opening", "format", "indexing", "chunks", "hierarchy",
         "api", "aio", "codecs", "dtype", "storage", "experimental", "core", "compat", "testing"]  # fmt: skip
"""The rooms of the core from the lowest to the highest: each imports only from those before it, and from itself."""


def imported(path: Path) -> set[str]:
    """The modules of ours that a module imports, in functions too; what is only for type checkers is left out."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            waiting += ast.iter_child_nodes(node)
    return {name for name in found if name.startswith("zarrv3")}


def graph(root: Path) -> dict[str, set[str]]:
    """Every module of a package with those of the package that it imports."""
    modules = {
        ".".join((root.name, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in root.rglob("*.py")
    }

    def module(name: str) -> str:
        return name if name in modules else name.rpartition(".")[0]

    return {
        own: {module(name) for name in imported(path)} & modules.keys() - {own}
        for own, path in modules.items()
    }


def test_imports_point_one_way_between_rooms() -> None:
    """Every module lies in a room, and imports only from its own room and from those below it."""
    edges = graph(ROOT)
    rooms = {(own.split(".")[1], other.split(".")[1]) for own, names in edges.items() if own != "zarrv3"
             for other in names}  # fmt: skip
    assert {name.split(".")[1] for name in edges if name != "zarrv3"} == {*ROOMS}
    assert not {(own, other) for own, other in rooms if ROOMS.index(other) > ROOMS.index(own)}


def test_the_core_imports_no_plugin() -> None:
    """No module of the core imports a package beside it, in functions neither: plugins are found by name."""
    for path in ROOT.rglob("*.py"):
        beside = [name for name in imported(path) if name.startswith("zarrv3_")]
        assert not beside, path


@pytest.mark.parametrize("root", [ROOT, *PLUGINS], ids=lambda root: root.name)
def test_no_module_imports_itself_by_way_of_others(root: Path) -> None:
    """There is no circle of imports anywhere, in the core or in a plugin, not even within a room."""
    assert not circles(graph(root))


def circles(edges: dict[str, set[str]]) -> list[str]:
    """What is left when modules that import nothing that is left, or are imported by nothing, are taken away."""
    left = {name: others & edges.keys() for name, others in edges.items()}
    while ends := [
        name for name, others in left.items() if not others or not any(name in each for each in left.values())
    ]:
        for name in ends:
            del left[name]
        left = {name: others & left.keys() for name, others in left.items()}
    return sorted(left)


def test_the_tests_can_fail(tmp_path: Path) -> None:
    """Imports of all forms are found, also in functions, and not those for type checkers; and a circle is."""
    path = tmp_path / "made_up.py"
    path.write_text(
        "import zarrv3.a\nfrom zarrv3 import b\nif TYPE_CHECKING:\n    import zarrv3.d\n"
        "def f():\n    from zarrv3.e import y\n"
    )
    assert imported(path) == {"zarrv3.a", "zarrv3.b", "zarrv3.e.y"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "e"}, "d": {"a"}, "e": set()}) == ["b", "c"]


def run(program: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter."""
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def loaded(program: str) -> set[str]:
    """The modules that a program and numpy import."""
    return set(json.loads(run(f"import json, sys\n{program}\nprint(json.dumps(sorted(sys.modules)))").stdout))


def added(program: str) -> set[str]:
    """The modules that a program imports; it fails if it reads entry points."""
    before = (
        "import sys, json, importlib.metadata\n"
        "before = set(sys.modules)\n"
        "def scan(*a, **k): raise AssertionError('entry points were read')\n"
        "importlib.metadata.entry_points = importlib.metadata.distributions = scan\n"
    )
    done = run(f"{before}{program}\nprint(json.dumps(sorted(set(sys.modules) - before)))")
    return set(json.loads(done.stdout))


HEAVY = {"numcodecs", "pluggy", "importlib_metadata", "zarrv3.entry_points", "asyncio", "concurrent.futures.thread", "fsspec", "logging",
         "multiprocessing", "sqlite3", "ssl", "zarr", "pytest", "hypothesis", "xarray", "tomllib"}  # fmt: skip
"""What is imported neither by `import zarrv3` nor with arrays."""


@pytest.mark.parametrize("program", ["import zarrv3", "import zarrv3.api"])
def test_importing_is_light(program: str) -> None:
    """Importing imports no plugin and nothing heavy, and reads no entry points."""
    names = added(program)
    assert not HEAVY & names
    assert not [name for name in names if name.split(".")[0].startswith("zarrv3_")]
    assert not [name for name in names if name.startswith("zarrv3.testing")]


def test_importing_alone_imports_next_to_nothing() -> None:
    """`import zarrv3` imports of ours only the errors: public names come when they are used."""
    assert {name for name in added("import zarrv3") if name.startswith("zarrv3")} == {
        "zarrv3",
        "zarrv3.errors",
    }


STORE_MODULES = [
    f"zarrv3.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
    for room in ("store", "layers", "opening", "options")
    for path in sorted((ROOT / room).glob("*.py"))
]
PROGRAMS = [
    "zarrv3.open_store({}, read_only=True)",
    "from zarrv3 import Backend, Capabilities, Layer, MemoryStore",
]


def test_stores_need_no_numpy() -> None:
    """Who uses only stores does not wait for numpy."""
    lines = [f"import {', '.join(STORE_MODULES)}", *PROGRAMS]
    assert "numpy" not in {name.split(".")[0] for name in added("\n".join(lines))}


def test_backends_need_no_numpy() -> None:
    """A store or layer that knows nothing of arrays is imported without numpy."""
    names = [root.name for root in PLUGINS if root.name.startswith(("zarrv3_store_", "zarrv3_layer_"))]
    lines = [f"import sys, {name}; assert 'numpy' not in sys.modules, {name!r}" for name in names]
    run("\n".join(lines))


LATE_MODULES = {
    "decimal", "difflib", "fractions", "pathlib", "urllib.parse",
    "zarrv3.format.codecs.blosc", "zarrv3.format.data_types.binary",
    "zarrv3.format.data_types.structs", "zarrv3.format.data_types.texts", "zarrv3.format.data_types.times",
}  # fmt: skip
"""What is imported when it is needed: all of it together would be a third of the time until the first array is open."""


def test_what_is_rarely_needed_comes_late() -> None:
    """Arrays add to numpy none of the modules that most programs do not need."""
    names = added("import numpy\nbefore = set(sys.modules)\nimport zarrv3.api")
    assert not LATE_MODULES & names


NOT_FOR_ONE_ELEMENT = {
    "asyncio", "csv", "email", "fsspec", "hashlib", "importlib.metadata", "importlib_metadata", "logging", "multiprocessing",
    "numcodecs", "pathlib", "random", "secrets", "sqlalchemy", "sqlite3", "subprocess", "tempfile", "traceback", "typer",
    "urllib.parse", "uuid", "zipfile",
    "zarrv3.api", "zarrv3.hierarchy.consolidated", "zarrv3.hierarchy.creation", "zarrv3.hierarchy.group",
}  # fmt: skip
"""What is not imported to read an element of an array in a folder, whatever is installed, where there are kernels."""


def test_one_element_needs_few_modules(tmp_path: Path) -> None:
    """Opening an array in a folder and reading an element imports only what that needs, of other packages as well."""
    path = str(tmp_path / "a")
    for codec in ("zstd", "blosc"):
        array = zarrv3.create_array(path, shape=4, chunks=2, dtype="f8", compressors=[codec], overwrite=True)
        array[...] = 1
        program = f"import zarrv3; assert zarrv3.open_array({path!r}, mode='r')[0] == 1"
        names = loaded(program)
        if kernels() is None:  # the codec is numcodecs', which imports much itself
            names = {name for name in names if name.startswith("zarrv3")}
        assert not NOT_FOR_ONE_ELEMENT & names
        assert len([name for name in names if name.startswith("zarrv3.")]) <= 90


def test_public_names_are_there() -> None:
    """Every public name can be used, is listed by `dir` and imported by `*`, and is defined where the table says."""
    everything: dict[str, object] = {}
    exec("from zarrv3 import *", everything)
    listed = dir(zarrv3)
    for name in zarrv3.__all__:
        assert everything[name] is getattr(zarrv3, name)
        assert name in listed
    assert {"errors", *zarrv3._HOME} == set(zarrv3.__all__)
    elsewhere = {name for name, home in zarrv3._HOME.items() if home != "zarrv3"}
    assert not {path.stem for path in ROOT.iterdir()} & elsewhere  # a submodule would take the name's place


def test_unknown_names() -> None:
    """A name that there is not is an AttributeError, and one of a plugin that is not installed says how to get it."""
    for name in ("opne_array", "DirectorStore", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"module 'zarrv3' has no attribute '{name}'"):
            getattr(zarrv3, name)


def test_type_checkers_see_what_there_is_at_run_time() -> None:
    """What is imported for type checkers is the table of public names, and the classes of the plugins."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    homes = {
        alias.name: node.module
        for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }  # fmt: skip
    offered = {**registry.OFFERED_CLASSES, **registry.OFFERED_FUNCTIONS}
    plugins = {name: home for name, home in homes.items() if name in offered}
    assert {name: home for name, home in homes.items() if name not in plugins} == zarrv3._HOME
    assert {name: home.replace("_", "-") for name, home in plugins.items() if home} == offered


def test_arrays_need_numpy_and_nothing_else() -> None:
    """Of what is installed, only numpy is loaded until arrays can be used."""
    loaded = run("import sys; before = {*sys.modules}; import zarrv3.api; print(*{*sys.modules} - before)")
    packages = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert packages - sys.stdlib_module_names == {"numpy", "zarrv3"}


@pytest.mark.parametrize("name", ["zarrv3.chunks.pool", "zarrv3.opening.hooks", "zarrv3.registry"])
def test_modules_can_be_imported_alone(name: str) -> None:
    """A module can be imported first: no import depends on one that came before."""
    run(f"import {name}")
