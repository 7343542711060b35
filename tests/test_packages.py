"""The distributions look alike, fit together, and keep to themselves what only this machine knows."""

import ast
import importlib
import importlib.metadata
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
EXTRAS = {
    "zarrv3-codecs-zfp",
    "zarrv3-serve",
    "zarrv3-store-redis",
    "zarrv3-store-mongodb",
    "zarrv3-store-obstore",
    "zarrv3-bridge-icechunk",
    "zarrv3-layer-telemetry",
    "zarrv3-bridge-zarr",
    "zarrv3-bridge-xarray",
    "zarrv3-bridge-dask",
}
"""The packages that need a server or another large library: extras of "zarrv3", not dependencies."""
BASES = {
    "zarrv3.stores": zarrv3.BaseStore,
    "zarrv3.layers": zarrv3.Layer,
    "zarrv3.storage_transformers": zarrv3.StorageTransformer,
}

packages = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def project(folder: Path) -> dict[str, Any]:
    """The table `project` of a `pyproject.toml`."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def sources(folder: Path) -> Path:
    """The one import package of a distribution."""
    (found,) = [path for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]
    return found


def required(requirements: list[str]) -> set[str]:
    """The names of required distributions."""
    return {re.split(r"[\[\]<>=~!; ]", requirement)[0] for requirement in requirements}


@packages
def test_project_tables_agree(folder: Path) -> None:
    """Version, Python versions, licence and classifiers are those of the root; only names and needs differ."""
    root, own = project(ROOT), project(folder)
    for member in ("version", "requires-python", "license"):
        assert own[member] == root[member], member
    versions = [line for line in root["classifiers"] if line.startswith("Programming Language")]
    assert [line for line in own["classifiers"] if line.startswith("Programming Language")] == versions
    assert "Typing :: Typed" in own["classifiers"]
    assert own["description"]
    assert zarrv3.__version__ == root["version"]


@packages
def test_names_follow_the_folder(folder: Path) -> None:
    """`plugins/store-directory` is the distribution zarrv3-store-directory with the package zarrv3_store_directory."""
    assert project(folder)["name"] == f"zarrv3-{folder.name}"
    expected = "zarrv3" if folder.name == "core" else f"zarrv3-{folder.name}".replace("-", "_")
    assert sources(folder).name == expected
    if folder.name != "core":
        assert "zarrv3-core" in required(project(folder)["dependencies"])


@packages
def test_the_contract_is_pinned(folder: Path) -> None:
    """A package needs others of ours in this minor version only: the next one may change the contract."""
    own = project(folder)
    major, minor, _ = own["version"].split(".")
    needs = [*own.get("dependencies", []), *chain(*own.get("optional-dependencies", {}).values())]
    for need in needs:
        if need.startswith("zarrv3-"):
            assert need.endswith(f">={major}.{minor},<{major}.{int(minor) + 1}"), need


@packages
def test_parts_are_there(folder: Path) -> None:
    """Every package is typed, has tests, a docstring, and a README that starts with its name and has an example."""
    source = sources(folder)
    assert (source / "py.typed").exists()
    assert [*folder.glob("tests/test_*.py")]
    assert importlib.import_module(source.name).__doc__
    readme = (folder / project(folder)["readme"]).read_text()
    assert readme.startswith(f"# {project(folder)['name']}\n")
    assert "```python\n" in readme


@packages
def test_installed_as_written(folder: Path) -> None:
    """What is installed here has the version and the entry points of the checkout."""
    own = project(folder)
    installed = importlib.metadata.distribution(own["name"])
    assert installed.version == own["version"]
    written = {
        (group, name, value)
        for group, points in own.get("entry-points", {}).items()
        for name, value in points.items()
    }
    assert {(point.group, point.name, point.value) for point in installed.entry_points} >= written


@packages
def test_entry_points_load(folder: Path) -> None:
    """Every entry point names something of the package; a store, layer or transformer is known by its own `kind`."""
    for group, points in project(folder).get("entry-points", {}).items():
        classes: dict[Any, set[str]] = {}
        for name, value in points.items():
            module, _, attribute = value.partition(":")
            assert module.split(".")[0] == sources(folder).name
            loaded = importlib.import_module(module)
            classes.setdefault(getattr(loaded, attribute) if attribute else loaded, set()).add(name)
        for found, names in classes.items():
            if group in BASES:
                assert issubclass(found, BASES[group])
                assert found.kind in names


@packages
def test_names_are_offered(folder: Path) -> None:
    """Where a package is missing, each of its names is answered with the line that installs it."""
    own = project(folder)
    for kind, offered in registry.OFFERED.items():
        names = own.get("entry-points", {}).get(f"zarrv3.{kind}", {})
        for name in names:
            internal = name.startswith("zarr2.")  # of codecs and types that only a layer's documents have
            assert offered.get(name) == (None if internal else own["name"]), name


def test_zarrv3_brings_what_needs_nothing_else() -> None:
    """The distribution "zarrv3" depends on every package that needs no server or large library; others are extras."""
    root = project(ROOT)
    names = {project(folder)["name"] for folder in FOLDERS}
    ours = {name for name in required(root["dependencies"]) if name.startswith("zarrv3-")}
    assert ours == names - EXTRAS
    extras = required([line for lines in root.get("optional-dependencies", {}).values() for line in lines])
    assert names & EXTRAS <= extras


def files() -> Iterator[Path]:
    """The files of the repository: those that git knows or would take, or without git all but what tools have made."""
    if (ROOT / ".git").exists():
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        yield from (ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file())
        return
    made = {"__pycache__", ".git", ".venv", ".nox", "build", "dist", "demo-output"}
    for folder, folders, names_ in os.walk(ROOT):
        folders[:] = [
            name for name in folders if name not in made and not name.endswith(("_cache", ".egg-info"))
        ]
        yield from (Path(folder, name) for name in names_ if not name.startswith(".coverage"))


def test_no_lock_files() -> None:
    """Nothing that records versions and where they came from is in the repository."""
    locks = re.compile(
        r"(.*[.-]lock(\.\w+)?|Pipfile.*|requirements.*\.txt|pip\.conf|pip\.ini|\.pypirc|uv\.toml)"
    )
    assert not [path for path in files() if locks.fullmatch(path.name)]


def test_nothing_of_this_machine() -> None:
    """No text in the repository names the address of a package registry or a folder of a developer's machine."""
    registry = (
        r"https?://[^/\s]*(?:pypi|pythonhosted|artifactory|nexus)[^/\s]*/(?:simple|packages|repository|api)"
    )
    option = r"\b(?:extra-)?index-url\b|\bfind-links\b|UV_INDEX|PIP_INDEX"
    path = r"(?<![\w.<~$/-])/(?:root|work|opt|home/\w+|Users/\w+|mnt)/\w"
    private = re.compile(f"{registry}|{option}|{path}")
    found = []
    for file in files():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{file.relative_to(ROOT)}: {match[0]}"
            for match in private.finditer(text)
            if file != Path(__file__)
        ]
    assert not found


# ---------------------------------------------------------------- what is whose


def nodes_of(folder: Path) -> list[ast.AST]:
    """All modules of a package, parsed."""
    paths = sources(folder).rglob("*.py")
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def private_names(nodes: list[ast.AST]) -> set[str]:
    """The functions, methods and attributes that begin with `_` and are made there."""
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    names |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {name for name in names if re.match("_[^_]", name)}


@packages
def test_no_package_touches_what_is_private_to_the_core(folder: Path) -> None:
    """What begins with `_` in the core is used there only, but for what a subclass finds in itself."""
    if folder.name == "core":
        return
    nodes = nodes_of(folder)
    foreign = private_names(nodes_of(ROOT / "core")) - private_names(nodes)
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in foreign:
            owner = ast.unparse(node.value)
            assert owner in {"self", "other", "cls", "super()"}, f"{owner}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zarrv3":
            assert not [alias.name for alias in node.names if alias.name.startswith("_")], node.module


def test_nothing_asks_which_store_or_codec_something_is() -> None:
    """Only the module, or the plugin, of a store, codec, data type, … asks whether an object is one of that class."""
    classes = {
        value.partition(":")[2]: value.partition(":")[0]
        for folder in FOLDERS
        for group, points in project(folder).get("entry-points", {}).items()
        if group != "zarrv3.hooks"
        for value in points.values()
    }
    for names in registry.BUILT_IN.values():
        classes |= {value.partition(":")[2]: value.partition(":")[0] for value in names.values()}
    for path in chain.from_iterable(sources(folder).rglob("*.py") for folder in FOLDERS):
        if path.name == "storage.py":  # it stands for zarr-python's classes, in `isinstance` too
            continue
        own = path.stem if "core" in path.parts else path.relative_to(ROOT).parts[3]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "issubclass"}
            asked = ast.unparse(node.args[1]) if is_call else ""
            if isinstance(node, ast.Compare) and ast.unparse(node.left).startswith("type("):
                asked = ast.unparse(node)
            found = {*re.findall(r"\w+", asked)} & classes.keys()
            assert all(own in classes[name].split(".") for name in found), f"{path}: {asked}"
