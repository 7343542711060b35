"""`stores`, `new-plugin`, commands of plugins, and what the wheel carries."""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from importlib_metadata import EntryPoint

from zarrv3 import registry
from zarrv3.opening import hooks
from zarrv3.opening.hooks import HookWarning
from zarrv3_cli import template
from zarrv3_store_directory import DirectoryStore

Run = Callable[..., Any]
PACKAGE = Path(__file__).parents[1]
CHECKOUT = PACKAGE.parents[1]


# ---------------------------------------------------------------- stores


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[EntryPoint], None]]:
    """Add an entry point to those that are installed."""
    real = [*registry._installed()]

    def add(point: EntryPoint) -> None:
        real.append(point)
        registry.reset()

    monkeypatch.setattr(registry, "_installed", lambda: iter(real))
    yield add
    registry.reset()


def test_stores(run: Run) -> None:
    """Stores are listed, or all, with their distributions and versions, and which of several is asked first; kinds may be singular."""
    assert {line.split("\t")[0] for line in run("stores").out.splitlines()} == {"stores"}
    ended = run("stores", "--kind", "all")
    assert ended.code == 0
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert [
        [plugin.kind, plugin.name, plugin.distribution, plugin.version] for plugin in registry.plugins()
    ] == [row[:4] for row in rows]
    assert {row[4] for row in rows if row[1] == "sqlite"} == {""}
    both = {row[2]: row[4] for row in rows if row[1] == "s3"}
    assert both == {"zarrv3-store-obstore": "first", "zarrv3-store-fsspec": "next"}
    some = json.loads(run("stores", "--kind", "layers", "--json").out)
    assert json.loads(run("stores", "--kind", "Layer", "--json").out) == some
    assert run("stores", "--kind", "storage transformer").out.startswith("storage_transformers\t")
    assert {"kind": "layers", "name": "prefix"}.items() <= next(
        entry.items() for entry in some if entry["name"] == "prefix"
    )
    assert {entry["kind"] for entry in some} == {"layers"}


def test_options_of_a_store(run: Run) -> None:
    """With the name of a store or layer its options are listed: what each takes, its default, its meaning."""
    meaning = DirectoryStore.declared().options["fsync"].option.help
    assert f"fsync\ttrue or false\tFalse\t{meaning}" in run("stores", "file").out.splitlines()
    found = json.loads(run("stores", "prefix", "--json").out)
    assert [one["option"] for one in found] == ["prefix"]
    assert run("stores", "nonsense").code == 1


def test_stores_imports_nothing(run: Run, installed: Callable[[EntryPoint], None]) -> None:
    """A plugin that breaks when it is imported does not disturb the list; `--check` finds it and names it."""
    installed(EntryPoint("broken", "zarrv3_not_there:Store", "zarrv3.stores"))
    installed(EntryPoint("hooked", "zarrv3_not_there", "zarrv3.hooks"))
    assert run("stores").code == 0
    ended = run("stores", "--kind", "all", "--check", "--json")
    assert ended.code == 1
    broken = {entry["name"]: entry["error"] for entry in json.loads(ended.out) if entry["error"]}
    assert set(broken) >= {"broken", "hooked"}
    assert "zarrv3_not_there" in broken["broken"]
    assert "zarrv3_not_there" in broken["hooked"]
    lines = [
        line for line in run("stores", "--kind", "stores", "--check").out.splitlines() if "\tbroken\t" in line
    ]
    assert lines[0].split("\t")[5].startswith("broken: ")


def test_names_that_two_claim(run: Run, installed: Callable[[EntryPoint], None]) -> None:
    """A name of two distributions is broken."""

    class Distribution:
        version = "1"

        def __init__(self, name: str) -> None:
            self.name = name

    for name in ("one", "two"):
        point = EntryPoint("twice", "zarrv3.layers:Prefix", "zarrv3.layers")
        vars(point).update(dist=Distribution(name))
        installed(point)
    ended = run("stores", "--kind", "layers", "--check", "--json")
    errors = {entry["name"]: entry["error"] for entry in json.loads(ended.out)}
    assert ended.code == 1
    assert "one 1 and two 1" in errors["twice"]
    assert errors["prefix"] is None


def test_capabilities(run: Run) -> None:
    """With `--capabilities` it is said what a new store of each class can do, where that needs no server."""
    found = json.loads(run("stores", "--kind", "stores", "--capabilities", "--json").out)
    can = {entry["name"]: entry["capabilities"] for entry in found}
    assert {"write", "erase", "list", "persistent"} <= {*can["directory"]}
    assert can["file"] == can["directory"]
    assert can.get("redis") is None
    assert can.get("s3") is None
    assert "\twrite, " in run("stores", "--kind", "stores", "--capabilities").out


# ---------------------------------------------------------------- commands of plugins


def plugin(function: Callable[[typer.Typer], None]) -> ModuleType:
    """A plugin whose hook is a function of the application."""

    def zarrv3_commands(app: typer.Typer) -> None:
        function(app)

    module = ModuleType("plugin")
    vars(module)["zarrv3_commands"] = hooks.hookimpl(zarrv3_commands)
    return module


@pytest.fixture
def commands() -> Iterator[Callable[[Callable[[typer.Typer], None]], None]]:
    """Add a plugin's commands."""
    names: list[str] = []

    def add(function: Callable[[typer.Typer], None]) -> None:
        names.append(f"test plugin {len(names)}")
        hooks.register(plugin(function), names[-1])

    yield add
    for name in names:
        hooks.unregister(name)


def test_commands_of_plugins(run: Run, commands: Any) -> None:
    """A plugin adds commands and groups of commands; they are in the help and run."""

    def add(app: typer.Typer) -> None:
        more = typer.Typer()

        @more.command()
        def one() -> None:
            typer.echo("one of more")

        @more.command()
        def two() -> None:
            raise typer.Exit(3)

        @app.command("hello")
        def hello(name: str) -> None:
            """Say hello."""
            typer.echo(f"hello {name}")

        app.add_typer(more, name="more")

    commands(add)
    assert "Say hello." in run("--help").out
    assert run("hello", "you").out == "hello you\n"
    assert run("more", "one").out == "one of more\n"
    assert run("more", "two").code == 3


def takes_over(app: typer.Typer) -> None:
    """Add a command and try to replace others, and the application's own options."""

    @app.callback()
    def callback() -> None:
        raise RuntimeError

    @app.command()
    def ls() -> None:
        typer.echo("not the real one")

    @app.command("new-plugin")
    def other() -> None:
        typer.echo("nor this")

    group = typer.Typer(name="cat")
    group.command("x")(lambda: None)
    app.add_typer(group)
    app.command("fine")(lambda: typer.echo("fine"))


def test_plugins_that_fail(run: Run, commands: Any) -> None:
    """A plugin that fails, or whose command cannot be built, is reported and left out; all else works."""

    def fails(app: typer.Typer) -> None:
        app.command("half")(lambda: None)
        raise RuntimeError("no")

    def impossible(app: typer.Typer) -> None:
        def command(value: int | str) -> None:
            """Cannot be built."""

        app.command("impossible")(command)

    for function in (fails, impossible, takes_over):
        commands(function)
    with warnings.catch_warnings():
        warnings.simplefilter("always", HookWarning)
        helped = run("--help")
        assert run("fine").out == "fine\n"
        assert run("ls").code == 2
    assert helped.code == 0
    assert "half" not in helped.out
    assert "impossible" not in helped.out
    told = helped.err.splitlines()
    assert len(told) == 5
    assert all(line.startswith("zarrv3: warning: ") and "test plugin" in line for line in told)


# ---------------------------------------------------------------- new-plugin


@pytest.mark.parametrize(
    ("kind", "name", "short", "group", "cls"),
    [
        ("store", "ice", "ice", "stores", "IceStore"),
        ("store", "zarrv3-store-my-cold2", "my-cold2", "stores", "MyCold2Store"),
        ("layer", "my-log", "my-log", "layers", "MyLog"),
        ("codecs", "ice", "ice", "codecs", "Ice"),
        ("storage transformer", "zarrv3-transformer-ice", "ice", "storage_transformers", "Ice"),
    ],
)
def test_new_plugin(
    kind: str,
    name: str,
    short: str,
    group: str,
    cls: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The project has the template's files under the new name, licence, workflow and URLs, and says what to do next."""
    monkeypatch.chdir(tmp_path)
    ended = run(
        "new-plugin", name, "--kind", kind, "--author", 'Zoë "Z" O\\N', "--url", "https://git.home/ice/"
    )
    assert ended.code == 0, ended.err
    one = kind.removesuffix("s").removeprefix("storage ")
    (folder,) = tmp_path.iterdir()
    package = f"zarrv3_{one}_{short.replace('-', '_')}"
    assert f'pip install -e "{folder.name}[testing]"' in ended.err
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == folder.name == f"zarrv3-{one}-{short}"
    assert project["entry-points"] == {f"zarrv3.{group}": {short: f"{package}:{cls}"}}
    assert project["authors"] == [{"name": 'Zoë "Z" O\\N'}]
    assert project["urls"] == {"Source": "https://git.home/ice", "Issues": "https://git.home/ice/issues"}
    assert 'Zoë "Z" O\\N\n' in (folder / "LICENSE").read_text(encoding="utf-8")
    made = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert made == sorted(line.removeprefix(f"{folder.name}/") for line in ended.out.splitlines())
    assert len(made) == len([*template.files(one)]) == 7
    assert {".github/workflows/tests.yml", f"src/{package}/py.typed"} <= {*made}
    texts = "\n".join((folder / path).read_text(encoding="utf-8") for path in made)
    assert not re.search("example|your.name", texts, re.IGNORECASE)
    for path in made:
        if path.endswith(".py"):
            compile((folder / path).read_text(encoding="utf-8"), path, "exec")


def test_whose_a_new_plugin_is(
    run: Run, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless told, it is that of whom git knows; without git, a name that is to be replaced stands there."""
    assert run("new-plugin", "ice", "--kind", "grid").code == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    assert template.author("d") == template.Author("Your Name", "https://github.com/your-name/d")
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").write_text("[user]\n name = Ada Lovelace\n")
    assert template.author("d") == template.Author("Ada Lovelace", "https://github.com/ada-lovelace/d")
    (tmp_path / "config").write_text("[user]\n name = Ada\n[github]\n user = ada42\n")
    assert template.author("d").url == "https://github.com/ada42/d"


@pytest.mark.parametrize(
    ("kind", "some", "least"),
    [
        ("store", "key or range or value or sugar or batch", 20),
        ("layer", "capabilities or limits or failures or equal or every_range", 5),
        ("codec", "document or configurations or threads or damaged or larger", 5),
        ("transformer", "document or configurations or other_keys or threads", 4),
    ],
)
def test_the_new_plugin_passes_its_tests(
    kind: str, some: str, least: int, run: Run, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The conformance kit of the new project runs and passes, here the parts that take no time, and so does its README."""
    folder = tmp_path / "made" / "project"
    assert run("new-plugin", "ice-cold", "--kind", kind, "--into", folder).code == 0
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = folder / "src" / f"{project['name'].replace('-', '_')}-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in points.items()]
    (installed / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", some],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert int(re.findall(r"(\d+) passed", ended.stdout)[-1]) >= least
    (source,) = re.findall(
        r"^```python\n(.*?)^```", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env={**environment, "PYTHONPATH": str(folder / "src")},
        check=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*template.KINDS])
def test_the_new_plugin_installs(kind: str, run: Run, tmp_path: Path, environment: dict[str, str]) -> None:
    """In a new environment the project installs, is listed under its name and passes all its tests."""
    folder = tmp_path / "project"
    run("new-plugin", "ice-cold", "--kind", kind, "--into", folder)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    core = CHECKOUT / "core"
    install = [python, "-m", "pip", "install", "-q", "-e", f"{core}[testing]", "-e", folder]
    subprocess.run(install, check=True, env=environment)
    program = (
        "from zarrv3 import registry\n"
        "(found,) = [plugin for plugin in registry.plugins() if plugin.name == 'ice-cold']\n"
        f"assert found.distribution == 'zarrv3-{kind}-ice-cold'\n"
    )
    subprocess.run([python, "-W", "error", "-c", program], check=True, cwd=tmp_path, env=environment)
    subprocess.run([python, "-m", "pytest", "-q"], check=True, cwd=folder, env=environment)


@pytest.mark.parametrize("name", ["", "Ice", "1ice", "ice_cold", "ice-", "-ice", "é", "a/b", "zarrv3-store-"])
def test_names_that_make_no_package(
    name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that cannot be a distribution's and a scheme is refused, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    ended = run("new-plugin", "--", name)
    assert ended.code == 1
    assert "cannot be a plugin's name" in ended.err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["memory", "redis", "prefix", "store"])
def test_names_that_are_taken(name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of a store or layer that is installed, or that this project offers, is refused."""
    monkeypatch.chdir(tmp_path)
    ended = run("new-plugin", name)
    assert ended.code == 1
    assert "is taken" in ended.err
    assert [*tmp_path.iterdir()] == []


def test_nothing_is_replaced(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there is left alone, and a project that cannot be written whole is not written."""
    assert run("new-plugin", "ice", "--into", tmp_path).code == 1

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(template, "renamed", interrupted)
    assert run("new-plugin", "ice", "--into", tmp_path / "ice").code == 130
    assert [*tmp_path.iterdir()] == []


def test_an_installation_without_the_template(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the template is missing that is an error."""
    monkeypatch.setattr(template, "__file__", str(tmp_path / "a/b/c/d/e.py"))
    ended = run("new-plugin", "ice", "--into", tmp_path / "ice")
    assert ended.code == 1
    assert "template" in ended.err


def test_the_wheel_carries_the_template(tmp_path: Path, environment: dict[str, str]) -> None:
    """Wheel and source distribution have every file of the template, the wheel that is built from the latter too."""
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-d"]
    subprocess.run(
        [*build, tmp_path, "-t", "wheel", "-t", "sdist"], cwd=PACKAGE, check=True, capture_output=True
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extraction_filter = getattr(tarfile, "data_filter", None)  # not in every 3.11
        sources.extractall(tmp_path / "sources")
    (unpacked,) = (tmp_path / "sources").iterdir()
    again = tmp_path / "again"
    subprocess.run([*build, again, "-t", "wheel"], cwd=unpacked, check=True, capture_output=True)
    top = template.source()
    expected = {
        path.relative_to(top).as_posix(): path.read_bytes()
        for kind in template.KINDS
        for path, inside in template.files(kind)
    }
    for folder in (tmp_path, again):
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as file:
            names = [name for name in file.namelist() if name.startswith("zarrv3_cli/template/")]
            assert {name.removeprefix("zarrv3_cli/template/"): file.read(name) for name in names} == expected
            file.extractall(folder / "site")
    program = (
        "import zarrv3_cli, sys\nassert zarrv3_cli.__file__.startswith(sys.argv[1]), zarrv3_cli.__file__\n"
        "from zarrv3_cli import template\nassert str(template.source()).startswith(sys.argv[1])\n"
        "sys.exit(zarrv3_cli.main(['new-plugin', 'ice', '--into', sys.argv[1] + '/ice']))"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(again / "site")],
        env={**environment, "PYTHONPATH": str(again / "site")},
        check=True,
        capture_output=True,
    )
    assert (again / "site/ice/.github/workflows/tests.yml").exists()
