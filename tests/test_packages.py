"""The distributions look alike, fit together, and keep to themselves what only this machine knows."""

import ast
import importlib.metadata
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trove_classifiers
import yaml

import zarrv3
from zarrv3 import registry

ROOT = Path(__file__).parents[1]


def load(path: Path) -> ModuleType:
    """A module that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = load(ROOT / "release.py")
project = release.project
FOLDERS = release.packages()
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


def sources(folder: Path) -> Path:
    """The one import package of a distribution."""
    (found,) = [path for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]
    return found


def required(requirements: list[str]) -> set[str]:
    """The names of required distributions."""
    return {re.split(r"[\[\]<>=~!; ]", requirement)[0] for requirement in requirements}


def test_what_all_have_in_common_is_declared_once() -> None:
    """Licence, authors, addresses, Python versions, … of every package are those of the root; `nox -s docs` writes them."""
    assert not release.common(ROOT, check=True)
    assert zarrv3.__version__ == project(ROOT)["version"]


def test_the_root_declares_what_an_index_shows() -> None:
    """There are authors, an SPDX licence with its text, keywords, addresses, and classifiers that indexes know."""
    root = project(ROOT)
    assert root["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert root["authors"]
    assert root["urls"].keys() >= {"Documentation", "Source", "Issues", "Changelog"}
    for folder in [ROOT, *FOLDERS]:
        own = project(folder)
        assert not {*own["classifiers"]} - trove_classifiers.classifiers, folder
        assert own["keywords"] == [*dict.fromkeys(own["keywords"])]


@packages
def test_names_follow_the_folder(folder: Path) -> None:
    """`plugins/store-directory` is the distribution zarrv3-store-directory with the package zarrv3_store_directory."""
    assert project(folder)["name"] == f"zarrv3-{folder.name}"
    expected = "zarrv3" if folder.name == "core" else f"zarrv3-{folder.name}".replace("-", "_")
    assert sources(folder).name == expected
    if folder.name != "core":
        assert "zarrv3-core" in required(project(folder)["dependencies"])


@pytest.mark.parametrize("folder", [ROOT, *FOLDERS], ids=lambda path: path.name)
def test_the_contract_is_pinned(folder: Path) -> None:
    """A package needs others of ours in this minor version only: the next one may change the contract."""
    own = project(folder)
    needs = [*own["dependencies"], *chain(*own.get("optional-dependencies", {}).values())]
    for need in needs:
        if need.startswith("zarrv3-"):
            assert need.endswith(release.pin(own["version"])), need


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


def test_no_lock_files() -> None:
    """Nothing that records versions and where they came from is in the repository."""
    locks = re.compile(
        r"(.*[.-]lock(\.\w+)?|Pipfile.*|requirements.*\.txt|pip\.conf|pip\.ini|\.pypirc|uv\.toml)"
    )
    assert not [path for path in release.files() if locks.fullmatch(path.name)]


def test_nothing_of_this_machine() -> None:
    """No text in the repository names the address of a package registry or a folder of a developer's machine."""
    registry = (
        r"https?://[^/\s]*(?:pypi|pythonhosted|artifactory|nexus)[^/\s]*/(?:simple|packages|repository|api)"
    )
    option = r"\b(?:extra-)?index-url\b|\bfind-links\b|UV_INDEX|PIP_INDEX"
    path = r"(?<![\w.<~$/-])/(?:root|work|opt|home/\w+|Users/\w+|mnt)/\w"
    private = re.compile(f"{registry}|{option}|{path}")
    found = []
    for file in release.files():
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


# ---------------------------------------------------------------- what is built and released


def test_what_is_built_holds_its_own_package_and_no_dead_link(tmp_path: Path) -> None:
    """A source distribution and a wheel made of it have what an index asks for; what they lack is found."""
    source, built = tmp_path / "source", tmp_path / "dist"
    release.copy(ROOT, source)
    shutil.rmtree(source / "core" / "tests")
    (source / "core" / "notes.txt").write_text("not ours")
    for folder in (source / "core", source / "plugins" / "cli"):
        make = [sys.executable, "-m", "hatchling", "build", "-d", str(built)]
        subprocess.run(make, cwd=folder, check=True, capture_output=True)
    found = release.faults(built, ROOT)
    version = project(ROOT)["version"]
    missing = [line for line in found if line.endswith(" is missing")]
    assert len(missing) == 2 * (len(FOLDERS) + 1) - 4
    assert [line for line in found if line not in missing] == [
        f"zarrv3_core-{version}.tar.gz: holds ['notes.txt']"
    ]


def test_links_lead_to_the_forge(tmp_path: Path) -> None:
    """Relative links of a README lead to files and folders of this version on the forge; others stay as they are."""
    folder = tmp_path / "plugins" / "one"
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    declared = {"version": "1.2.3", "urls": {"Source": "https://forge.example/us"}}
    text = (
        "[a](../../docs) [b](../../docs/b.md#c) [d](https://example.org/) [e](#e) [f](mailto:a@example.org)"
    )
    expected = text.replace("../../docs/b.md#c", "https://forge.example/us/blob/v1.2.3/docs/b.md#c")
    expected = expected.replace("../../docs", "https://forge.example/us/tree/v1.2.3/docs")
    assert release.absolute(text, folder / "README.md", tmp_path, declared) == expected


def test_packages_are_uploaded_after_those_that_they_need() -> None:
    """The order has every package once, each after all of ours that it depends on."""
    order = release.order()
    assert sorted(order) == sorted(project(folder)["name"] for folder in [ROOT, *FOLDERS])
    for folder in [ROOT, *FOLDERS]:
        own = project(folder)
        for need in required(own["dependencies"]) & {*order}:
            assert order.index(need) < order.index(own["name"])


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with the files of this one, committed."""
    folder = tmp_path_factory.mktemp("committed")
    for file in release.files():
        there = folder / file.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    release.git(folder, "init", "-q")
    release.git(folder, "add", "-A")
    release.git(folder, *SOMEBODY, "commit", "-q", "-m", "All")
    return folder


@pytest.fixture
def clone(committed: Path, tmp_path: Path) -> Path:
    """A clone of that, to release from."""
    release.git(tmp_path, "clone", "-q", str(committed), "clone")
    return tmp_path / "clone"


SOMEBODY = ["-c", "user.name=A Test", "-c", "user.email=test@example.org"]
"""Who commits."""


def prepare(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a clone."""
    command = [sys.executable, str(folder / "release.py"), "prepare", version]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def announced(folder: Path, version: str) -> None:
    """Begin the section of a version in the changelog."""
    changelog = folder / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    changelog.write_text(
        text.replace("\n## ", f"\n## {version} (unreleased)\n\nAll is new.\n\n## ", 1), "utf-8"
    )
    release.git(folder, *SOMEBODY, "commit", "-q", "-a", "-m", "Announce")


def test_a_release_sets_the_version_everywhere(clone: Path) -> None:
    """Versions, ranges and the changelog's date are set; a second release needs a later version and its own section."""
    current = project(ROOT)["version"]
    major, minor, _ = map(int, current.split("."))
    version = f"{major}.{minor + 1}.0"
    announced(clone, version)
    ended = prepare(clone, version)
    assert ended.returncode == 0, ended.stderr
    for folder in [clone, *release.packages(clone)]:
        own = project(folder)
        assert own["version"] == version
        needs = [*own["dependencies"], *chain(*own.get("optional-dependencies", {}).values())]
        assert all(need.endswith(release.pin(version)) for need in needs if need.startswith("zarrv3-"))
    assert f'__version__ = "{version}"' in (clone / "core/src/zarrv3/__init__.py").read_text("utf-8")
    assert re.search(
        rf"^## {version} \(\d{{4}}-\d\d-\d\d\)$", (clone / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert release.pin(version) in (clone / "template" / "pyproject.toml").read_text("utf-8")
    left = [
        path
        for path in release.files(clone)
        if path.suffix in {".toml", ".md", ".py"}
        if path.parts[-2] != "tests"
    ]
    texts = {path: path.read_text("utf-8") for path in left}
    assert not [path for path, text in texts.items() if re.search(rf"zarrv3-\S+{release.pin(current)}", text)]
    release.git(clone, *SOMEBODY, "commit", "-q", "-a", "-m", f"Version {version}")
    release.git(clone, "tag", f"v{version}")
    assert "is not later than" in prepare(clone, version).stderr


@pytest.mark.parametrize("version", ["1", "1.0.0rc1", "v99.0.0", "99.0.0 ", "99.01.0"])
def test_what_is_not_a_version_is_refused(clone: Path, version: str) -> None:
    """A version is three numbers; nothing is changed for others."""
    ended = prepare(clone, version)
    assert (ended.returncode, "is not a version" in ended.stderr) == (1, True)
    assert not release.git(clone, "status", "--porcelain")


def test_a_release_needs_a_clean_tree_and_a_changelog(clone: Path) -> None:
    """Uncommitted changes and a missing or empty section are refused, and nothing is changed."""
    assert "CHANGELOG.md has no section" in prepare(clone, "99.0.0").stderr
    announced(clone, "99.0.0")
    (clone / "new.txt").write_text("new")
    ended = prepare(clone, "99.0.0")
    assert (ended.returncode, "new.txt" in ended.stderr) == (1, True)
    (clone / "new.txt").unlink()
    assert not release.git(clone, "status", "--porcelain")


def workflow(name: str) -> dict[str, Any]:
    """A workflow of the forge."""
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_workflows_run_commands_that_are_there() -> None:
    """The forge runs sessions that exist, on every supported Python and the three systems; jobs are limited in time."""
    sessions = set(
        re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE)
    )
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for name, job in workflow(path.stem)["jobs"].items():
            assert job["timeout-minutes"], name
            lines = "\n".join(step.get("run", "") for step in job["steps"])
            for run in re.findall(r"nox -s ([\w ]+)", lines):
                assert {*run.split()} <= sessions, run
    matrix = workflow("tests")["jobs"]["tests"]["strategy"]["matrix"]
    versions = [
        line.rpartition(" ")[2] for line in project(ROOT)["classifiers"] if " :: Python :: 3." in line
    ]
    assert matrix["python"] == versions
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_what_people_look_for_is_there() -> None:
    """How to report a weakness, how to behave and how to ask are told, and the texts lead to the declared address."""
    source = project(ROOT)["urls"]["Source"]
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        assert (ROOT / name).read_text("utf-8").strip(), name
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 3
    forge = re.compile(r"https://github\.com/[\w-]+/zarrv3(?![\w-])")
    for path in release.files():
        if path.suffix in {".md", ".py", ".toml", ".yml"}:
            assert {*forge.findall(path.read_text("utf-8"))} <= {source}, path


# ---------------------------------------------------------------- what is whose


@cache
def nodes_of(folder: Path) -> list[ast.AST]:
    """All modules of a package, parsed."""
    paths = sources(folder).rglob("*.py")
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


@cache
def private_names(folder: Path) -> set[str]:
    """The functions, methods and attributes of a package that begin with `_` and are made there."""
    nodes = nodes_of(folder)
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    names |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {name for name in names if re.match("_[^_]", name)}


@packages
def test_no_package_touches_what_is_private_to_the_core(folder: Path) -> None:
    """What begins with `_` in the core is used there only."""
    if folder.name == "core":
        return
    nodes = nodes_of(folder)
    foreign = private_names(ROOT / "core") - private_names(folder)
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in foreign:
            owner = ast.unparse(node.value)
            assert owner in {"self", "other", "cls", "super()"}, f"{owner}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zarrv3":
            assert not [alias.name for alias in node.names if alias.name.startswith("_")], node.module


def private_to(cls: type) -> set[str]:
    """The names with one underscore that a class defines, and those that its methods use."""
    return {*re.findall(r"(?:^    |def |\.)(_[a-z]\w*)\b(?<!_)", inspect.getsource(cls), re.MULTILINE)}


@packages
def test_no_subclass_needs_what_is_private_to_the_core(folder: Path) -> None:
    """No store, layer or transformer of a plugin uses or overrides a private name of its base classes in the core."""
    points = project(folder).get("entry-points", {})
    for value in {value for group in BASES for value in points.get(group, {}).values()}:
        module, _, attribute = value.partition(":")
        bases = getattr(importlib.import_module(module), attribute).__mro__
        core = [base for base in bases if base.__module__.startswith("zarrv3.")]
        private = set().union(*map(private_to, core))
        for base in bases:
            if base.__module__.startswith("zarrv3_"):
                assert not private_to(base) & private, base


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
