"""The pages in `docs`: their code runs, their tables are current, their links lead somewhere."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.config import SETTINGS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


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
    zarrv3.config.reset()
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)
    zarrv3.config.reset()
    registry.reset()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page: Path, folder: Path) -> None:
    """The Python blocks of a page run from top to bottom."""
    found = blocks(page, "python")
    assert found, "a page without code"
    space: dict[str, Any] = {"__name__": "page"}
    for line, source in found:
        exec(compile("\n" * (line - 1) + source, str(page), "exec"), space)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_links(page: Path) -> None:
    """Every link to another file leads to one, and the map names every page."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
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


def test_the_written_store_is_a_plugin(folder: Path) -> None:
    """The example of a store, installed by its entry point, opens by URL and passes the conformance tests."""
    page = DOCS / "writing-a-store.md"
    _, module = blocks(page, "python")[0]
    _, tests = next(block for block in blocks(page, "python") if "StoreConformance" in block[1])
    project = tomllib.loads(blocks(page, "toml")[0][1])["project"]
    (folder / "zarrv3_store_shelf.py").write_text(module, encoding="utf-8")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(groups), encoding="utf-8")
    test = "from zarrv3_store_shelf import ShelfStore\n" + tests
    (folder / "test_shelf.py").write_text(test, encoding="utf-8")
    use = "import zarrv3; store = zarrv3.open_store('shelf://name'); assert type(store) is zarrv3.ShelfStore"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for command in (["-c", use], ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shelf.py"]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
