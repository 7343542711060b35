"""The pages in `docs`: their code runs, their tables are current, their links lead somewhere."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.opening.hooks import HookSpecs
from zarrv3.options.settings import SETTINGS
from zarrv3.store import helpers
from zarrv3.store.contract import Capabilities, Limits, Store

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))
RUN_ELSEWHERE = {"first-plugin"}
"""Pages that need an environment of their own: `test_template.py`."""


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a page in one language, each with the line it starts at."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to run in, and the environment, settings and registry as they were afterwards."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    zarrv3.config.reset()
    yield tmp_path
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    os.environ.clear()
    os.environ.update(before)
    zarrv3.config.reset()
    registry.reset()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in RUN_ELSEWHERE], ids=lambda page: page.stem
)
def test_page_runs(page: Path, folder: Path) -> None:
    """The Python blocks of a page run from top to bottom."""
    found = blocks(page, "python")
    assert found, "a page without code"
    space: dict[str, Any] = {"__name__": "page"}
    for line, source in found:
        exec(compile("\n" * (line - 1) + source, str(page), "exec"), space)


def test_the_tutorial_runs(folder: Path) -> None:
    """The code of the notebook runs from top to bottom, and it is kept without what the code puts out."""
    cells = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    found = [cell for cell in cells if cell["cell_type"] == "code"]
    assert found
    assert not any(cell["outputs"] for cell in found)
    space: dict[str, Any] = {"__name__": "tutorial"}
    for cell in found:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_links(page: Path) -> None:
    """Every link to another file leads to one, with its heading if it names one, and the map names every page."""
    for target in re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            named = {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}
            assert heading in named, target
    assert page.stem == "index" or f"({page.name})" in (DOCS / "index.md").read_text(encoding="utf-8")


def test_settings_are_current() -> None:
    """The table of settings is the one that follows from the code; the failure shows what to paste."""
    rows = [
        f"| `{name}` | `{setting.default}` | {setting.meaning} |\n"
        for name, setting in sorted(SETTINGS.items())
    ]
    table = "| setting | default | meaning |\n|---|---|---|\n" + "".join(rows)
    text = (DOCS / "arrays.md").read_text(encoding="utf-8")
    assert text.split("<!-- settings -->\n")[1].split("<!-- end of settings -->")[0] == table, table


def test_store_urls_are_current() -> None:
    """The table of URLs lists each package of a store or layer that this project has."""
    text = (DOCS / "stores.md").read_text(encoding="utf-8")
    plugins = [path.parent.name for path in DOCS.parent.glob("plugins/*/pyproject.toml")]
    missing = [
        name for name in plugins if name.startswith(("store-", "layer-")) and f"`zarrv3-{name}`" not in text
    ]
    assert missing == []


def test_capabilities_are_current() -> None:
    """The tables of capabilities, and of several writers, are those of the installed backends; `nox -s docs` writes them."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check", "capabilities.md", "concurrency.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_directory_is_current() -> None:
    """The page about plugins has every package, with the names that its entry points have; `nox -s docs` writes it."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check", "plugins.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_is_current() -> None:
    """The page about the command line has the help of every command as it is; `nox -s docs` writes it."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check", "cli.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_floor_plan_is_current() -> None:
    """The page about the architecture has exactly the modules that the core has, in an order in which imports point one way."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check", "ARCHITECTURE.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (DOCS.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    plan = text.split("<!-- generated -->")[1].split("<!-- end of generated -->")[0]
    core = Path(zarrv3.__file__).parent
    for path in core.rglob("*.py"):
        if path.name != "__init__.py":
            assert re.search(rf"\b{path.stem}\b", plan), path


def test_the_tables_of_options_are_current() -> None:
    """Each plugin's README has the options that its classes declare; `nox -s docs` writes them."""
    command = [sys.executable, str(DOCS / "generate.py"), "--check", "README.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_is_complete() -> None:
    """The page for authors of stores has every method, capability, limit, hook, helper and member there is."""
    lines = (DOCS / "writing-a-store.md").read_text(encoding="utf-8").splitlines()
    rows = "\n".join(line.split("|")[1] for line in lines if line.startswith("| `"))
    written = set(re.findall(r"`(\w+)", rows))
    expected = {name for name in dir(Store) if not name.startswith("_")}
    expected |= {field.name for cls in (Capabilities, Limits) for field in fields(cls)} - {"limits"}
    expected |= {name for name in vars(HookSpecs) if name.startswith("zarrv3_")}
    expected |= {
        name
        for name, value in vars(helpers).items()
        if inspect.isfunction(value) and value.__module__ == helpers.__name__ and not name.startswith("_")
    } - {"check_rename"}  # the guard's
    expected |= {
        "kind",
        "location",
        "url_options",
        "connect",
        "errors",
        "tested_against",
        "identity",
        "plain_error",
        "secrets",
        "using_driver",
        "live_driver",
        "ping",
    }
    expected |= {"example_url", "example_server"}
    assert expected - written == set()
    assert {name for name in written - expected if hasattr(zarrv3.Backend, name)} == {"option", "declared"}
