"""Imports: they point one way, and `import zarrv3` is light."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import zarrv3

ROOT = Path(zarrv3.__file__).parent

ROOMS = ["errors", "registry", "options", "store", "layers", "opening", "format", "indexing", "chunks", "hierarchy",
         "api", "compat", "testing"]  # fmt: skip
"""The rooms of the core from the lowest to the highest: each imports only from those before it, and from itself."""

LATE = {
    ("hierarchy", "api"): "`group.zeros` is `zarrv3.zeros` in that group",
    ("options", "store"): "for a type",
    ("store", "layers"): "`store.transaction()` is a layer around the store",
}
"""Imports that point up, each with its reason."""


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
    return {name for name in found if name.startswith("zarrv3.")}


MODULES = {
    ".".join(("zarrv3", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def graph() -> dict[str, set[str]]:
    """Every module of the core with those that it imports."""

    def module(name: str) -> str:
        return name if name in MODULES else name.rpartition(".")[0]

    return {
        own: {module(name) for name in imported(path)} & MODULES.keys() - {own}
        for own, path in MODULES.items()
    }


def test_imports_point_one_way_between_rooms() -> None:
    """Every module lies in a room, and imports only from its own room and from those below it."""
    rooms = {(own.split(".")[1], other.split(".")[1]) for own, names in graph().items() if own != "zarrv3"
             for other in names}  # fmt: skip
    assert {name.split(".")[1] for name in MODULES if name != "zarrv3"} == {*ROOMS}
    assert {(own, other) for own, other in rooms if ROOMS.index(other) > ROOMS.index(own)} == set(LATE)


def test_the_core_imports_no_plugin() -> None:
    """No module of the core imports a package beside it, in functions neither: plugins are found by name."""
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                )
                beside = [name for name in names if name.startswith("zarrv3_")]
                assert not beside or path == MODULES["zarrv3"], (
                    path
                )  # for type checkers, what `zarrv3.copy` is


@pytest.mark.xfail(strict=True, reason="the next steps take the circles away")
def test_no_module_imports_itself_by_way_of_others() -> None:
    """There is no circle of imports anywhere, within a room neither."""
    assert not [*circles(graph())]


def circles(edges: dict[str, set[str]]) -> Iterator[list[str]]:
    """What is left when modules that import nothing else that is left are taken away, again and again."""
    left = dict(edges)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    if left:
        yield sorted(left)


def test_the_tests_can_fail(tmp_path: Path) -> None:
    """Imports of all forms are found, also in functions, and not those for type checkers; and a circle is."""
    path = tmp_path / "made_up.py"
    path.write_text(
        "import zarrv3.a\nfrom zarrv3 import b\nif TYPE_CHECKING:\n    import zarrv3.d\n"
        "def f():\n    from zarrv3.e import y\n"
    )
    assert imported(path) == {"zarrv3.a", "zarrv3.b", "zarrv3.e.y"}
    assert [*circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": set()})] == [["a", "b", "c", "d"]]


def run(program: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter."""
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_importing_is_light() -> None:
    """`import zarrv3` imports no plugin and nothing heavy, and reads no entry points."""
    program = (
        "import sys, json, importlib.metadata\n"
        "before = set(sys.modules)\n"
        "def scan(*a, **k): raise AssertionError('entry points were read')\n"
        "importlib.metadata.entry_points = importlib.metadata.distributions = scan\n"
        "import zarrv3\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    imported = set(json.loads(run(program).stdout))
    heavy = {"numcodecs", "pluggy", "importlib_metadata", "asyncio", "concurrent.futures.thread", "fsspec", "logging",
             "multiprocessing", "sqlite3", "ssl", "zarr", "pytest", "hypothesis", "xarray", "tomllib"}  # fmt: skip
    assert not heavy & imported
    assert not [name for name in imported if name.split(".")[0].startswith("zarrv3_")]
    assert not [name for name in imported if name.startswith("zarrv3.testing")]


LATE_MODULES = {
    "decimal", "difflib", "fractions", "pathlib", "urllib.parse",
    "zarrv3.format.codecs.blosc", "zarrv3.format.data_types.binary",
    "zarrv3.format.data_types.structs", "zarrv3.format.data_types.texts", "zarrv3.format.data_types.times", "zarrv3.hierarchy.display",
}  # fmt: skip
"""What is imported when it is needed: all of it together would be a third of the time that `import zarrv3` takes."""


def test_what_is_rarely_needed_comes_late() -> None:
    """`import zarrv3` adds to numpy none of the modules that most programs do not need, and `zarrv3.copy` is there anyway."""
    program = (
        "import sys, json, numpy\n"
        "before = set(sys.modules)\n"
        "import zarrv3\n"
        "added = sorted(set(sys.modules) - before)\n"
        "assert callable(zarrv3.copy) and 'copy' in dir(zarrv3)\n"
        "print(json.dumps(added))\n"
    )
    assert not LATE_MODULES & set(json.loads(run(program).stdout))


def test_numpy_is_the_largest_part(tmp_path: Path) -> None:
    """Of the time that `import zarrv3` takes, once modules are compiled, numpy is the largest part."""
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    run("import zarrv3", **compiled)
    times: Counter[str] = Counter()
    for _ in range(3):
        for line in run("import zarrv3", "-X", "importtime", **compiled).stderr.splitlines():
            own, _, name = line.removeprefix("import time:").split("|")
            if own.strip().isdigit():
                times[name.strip().split(".")[0]] += int(own)
    assert times.most_common(1)[0][0] == "numpy", times.most_common(5)


@pytest.mark.parametrize("name", ["zarrv3.chunks.pool", "zarrv3.opening.hooks", "zarrv3.registry"])
def test_modules_can_be_imported_alone(name: str) -> None:
    """A module can be imported first: no import depends on another having come before."""
    run(f"import {name}")
