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

ORDER = [
    "errors",
    "contract",
    "keys",
    "helpers",
    "forks",
    "redaction",
    "urls",
    "environment",
    "store",
    "backend",
    "file_backend",
    "memory",
    "layers",
    "registry",
    "hooks",
    "config",
    "opening",
    "extensions",
    "data_types",
    "grids",
    "codecs",
    "kernels",
    "documents",
    "node_names",
    "indexing",
    "casting",
    "metadata",
    "locks",
    "chunk_cache",
    "transformers",
    "layout",
    "pool",
    "transfer",
    "nodes",
    "consolidated",
    "attributes",
    "node",
    "resizing",
    "array",
    "info",
    "creation",
    "tree",
    "group",
    "api",
    "copying",
    "testing",
    "compat",
]
"""The modules from the lowest to the highest: each may import only from those before it (and within its own package)."""

LATE = {
    ("array", "info"): "an array is described by a module that looks at arrays",
    ("group", "api"): "`group.zeros` is `zarrv3.zeros` in that group",
    ("store", "layers"): "`store.transaction()` is a layer around the store",
}
"""Imports within functions that point up, each with its reason."""


def unit(name: str) -> str:
    """The module or sub-package directly below `zarrv3` that a dotted name lies in."""
    return name.split(".")[1]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports of ours, and whether within a function; what is only for type checkers is left out."""
    package = ["zarrv3", *path.relative_to(ROOT).parts[:-1]]

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names if alias.name.startswith("zarrv3."))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1] if node.level else [])
            module = ".".join(filter(None, [base, node.module]))
            if module == "zarrv3":
                yield from ((f"zarrv3.{alias.name}", inside) for alias in node.names)
            elif module.startswith("zarrv3."):
                yield module, inside
        deeper = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, deeper)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), inside=False)


def edges() -> set[tuple[str, str, bool]]:
    """All imports from one unit to another."""
    found = set()
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own != "__init__":
            found |= {(own, unit(name), inside) for name, inside in imports(path) if unit(name) != own}
    return found


def test_every_module_has_a_place() -> None:
    """No module is missing from the list."""
    units = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")} - {
        "__init__"
    }
    assert units <= set(ORDER)


def test_imports_point_one_way() -> None:
    """A module imports only from those above it in the list, within functions too, but for a few that say why."""
    places = {name: place for place, name in enumerate(ORDER)}
    wrong = {
        (own, other)
        for own, other, inside in edges()
        if other in places and places[other] > places[own] and not (inside and (own, other) in LATE)
    }
    assert not wrong


def test_no_exception_is_stale() -> None:
    """Every import that may point up exists."""
    assert set(LATE) <= {(own, other) for own, other, inside in edges() if inside}


def test_the_test_can_fail() -> None:
    """The finder sees imports of all forms, also in functions, and not those for type checkers."""
    path = ROOT / "made_up.py"
    text = "import zarrv3.a\nfrom zarrv3 import b\nfrom .c import x\nif TYPE_CHECKING:\n    import zarrv3.d\ndef f():\n    from zarrv3.e import y\n"

    class Made(type(path)):  # type: ignore[misc]
        def read_text(self, **_: object) -> str:
            return text

    found = [*imports(Made(path))]
    assert found == [("zarrv3.a", False), ("zarrv3.b", False), ("zarrv3.c", False), ("zarrv3.e", True)]


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
    "zarrv3.codecs.blosc", "zarrv3.copying", "zarrv3.data_types.binary", "zarrv3.data_types.small",
    "zarrv3.data_types.structs", "zarrv3.data_types.texts", "zarrv3.data_types.times", "zarrv3.info",
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


@pytest.mark.parametrize("name", ["zarrv3.pool", "zarrv3.hooks", "zarrv3.registry"])
def test_modules_can_be_imported_alone(name: str) -> None:
    """A module can be imported first: no import depends on another having come before."""
    run(f"import {name}")
