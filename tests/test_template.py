"""The template of a plugin and the page about it: done as written, from top to bottom, in a new environment."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template"
PAGE = ROOT / "docs" / "first-plugin.md"
BLOCK = re.compile(r"(?:^`([^`\n]+)`(, added)?:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block of the page."""

    file: str
    added: bool
    language: str
    text: str


class Run(NamedTuple):
    """What a command of the page said."""

    code: int
    output: str


def page() -> list[Block]:
    """The blocks of the page, in order."""
    found = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [Block(file, bool(added), language, text) for file, added, language, text in found]


def patched(text: str, hunk: str) -> str:
    """A text with one hunk of a diff applied, whose old lines have to occur once."""
    lines = hunk.splitlines(keepends=True)
    old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    assert text.count(old) == 1, hunk
    return text.replace(old, new)


class Environment:
    """A new virtual environment with nothing but the core, editable, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.home = folder / "venv"
        self.uv = shutil.which("uv")
        if self.uv:
            self._run([self.uv, "venv", "-q", "--python", sys.executable, str(self.home)], folder)
        else:
            venv.create(self.home, with_pip=True)
        bin_ = self.home / ("Scripts" if os.name == "nt" else "bin")
        self.path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        self.python = str(bin_ / "python")
        assert self.run(["pip", "install", "-q", "-e", f"{ROOT / 'core'}[testing]"], folder).code == 0

    def run(self, command: list[str], folder: Path | None = None) -> Run:
        """Run a command there."""
        tool, *arguments = command
        if tool == "pip" and self.uv:
            command = [self.uv, "pip", arguments[0], "--python", self.python, *arguments[1:]]
        elif tool in {"pip", "pytest"}:
            command = [self.python, "-m", *command]
        elif tool == "python":
            command = [self.python, *arguments]
        return self._run(command, folder or self.folder)

    def _run(self, command: list[str], folder: Path) -> Run:
        hidden = ("PYTHON", "PYTEST", "HYPOTHESIS", "ZARRV3", "COVERAGE", "VIRTUAL_ENV", "UV_PROJECT")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        ended = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(ended.returncode, ended.stdout)


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.last = Run(0, "")
        self.passed: list[int] = []
        """How many tests passed, each time that all of them ran."""

    def do(self, block: Block) -> None:
        """Do what a block is about."""
        if block.file:
            self.write(block)
        else:
            does: dict[str, Callable[[str], None]] = {
                "sh": self.command,
                "text": self.see,
                "python": self.python,
                "diff": self.change,
            }
            does[block.language](block.text)

    def write(self, block: Block) -> None:
        """Make a file, or add to one; a file of the template is there and the same."""
        path = self.environment.folder / block.file
        if block.added:
            path.write_text(f"{path.read_text(encoding='utf-8')}\n{block.text}", encoding="utf-8")
        elif path.exists():
            assert path.read_text(encoding="utf-8") == block.text, f"{block.file} is not what the page shows"
        else:
            path.write_text(block.text, encoding="utf-8")

    def command(self, text: str) -> None:
        """Run a command; whether it should fail is said by what is seen."""
        self.last = self.environment.run(shlex.split(text))
        assert self.last.code in {0, 1}, self.last.output
        if text.strip() == "pytest":
            self.passed.append(int(re.findall(r"(\d+) passed", self.last.output)[-1]))
        else:
            assert self.last.code == 0, self.last.output

    def see(self, text: str) -> None:
        """Compare what the command said: every line of the page is in it."""
        for line in text.splitlines():
            assert re.search(rf"(?<!\d){re.escape(line)}", self.last.output), f"{line}\n{self.last.output}"
        assert (self.last.code != 0) == ("failed" in text), self.last.output

    def python(self, text: str) -> None:
        """Run a program in a process of its own."""
        ended = self.environment.run(["python", "-W", "error", "-c", text], self.environment.home)
        assert ended.code == 0, f"{text}\n{ended.output}"

    def change(self, text: str) -> None:
        """Change the module."""
        path = self.environment.folder / "src" / "zarrv3_store_example" / "__init__.py"
        path.write_text(patched(path.read_text(encoding="utf-8"), text), encoding="utf-8")


def test_the_page_works_as_written(tmp_path: Path) -> None:
    """The template installs into a new environment, is listed, opens by URL, passes its tests, and learns more.

    Every command of the page is run and every program, every file made, every change applied; the counts that the page
    shows are those of the kit, and the capability that is added brings tests that pass.
    """
    environment = Environment(tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "dist", "build", "kinds")
    shutil.copytree(TEMPLATE, environment.folder, ignore=ignored)
    reader = Reader(environment)
    for block in page():
        reader.do(block)
    first, _, last = reader.passed
    assert last > first


def test_the_page_shows_the_whole_template() -> None:
    """The page shows every file of the template as it is, but for the README and the empty `py.typed`."""
    shown = {block.file: block.text for block in page() if block.file and (TEMPLATE / block.file).exists()}
    shown = {name: text for name, text in shown.items() if not name.endswith(".md")}
    there = {
        path.relative_to(TEMPLATE).as_posix()
        for path in TEMPLATE.rglob("*")
        if path.is_file() and path.suffix in {".py", ".toml"} and not {"__pycache__", "kinds"} & {*path.parts}
    }
    assert set(shown) == there
    first = {block.file: block.text for block in reversed(page()) if block.file in there and not block.added}
    for name, text in first.items():
        assert text == (TEMPLATE / name).read_text(encoding="utf-8"), name


def test_the_template_is_like_the_plugins() -> None:
    """The templates have the Python versions and the licence of every plugin, its name and its parts."""
    root = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    kinds = {path.name: path for path in (TEMPLATE / "kinds").iterdir()}
    for kind, folder in {"store": TEMPLATE, **kinds}.items():
        table = (folder / "pyproject.toml").read_text(encoding="utf-8")
        for member in ("license", "requires-python"):
            line = re.search(rf"^{member} = .*$", root, re.MULTILINE)
            assert line is not None
            assert line[0] in table
        assert (folder / "src" / f"zarrv3_{kind}_example" / "py.typed").exists()
        readme = (folder / "README.md").read_text(encoding="utf-8")
        assert readme.startswith(f"# zarrv3-{kind}-example\n\n```python\n")
        assert "## What it promises" in readme.splitlines()
    own = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (TEMPLATE / "LICENSE").read_text(encoding="utf-8") == own.replace(
        "The zarrv3 developers", "Your Name"
    )


@pytest.mark.parametrize(
    ("hunk", "result"),
    [("-b\n+c\n", "a\nc\n"), ("+x\n b\n", "a\nx\nb\n"), (" a\n-b\n", "a\n")],
)
def test_hunks_are_applied(hunk: str, result: str) -> None:
    """What this file does with a diff is what `patch` does; a hunk that does not fit is an error."""
    assert patched("a\nb\n", hunk) == result
    with pytest.raises(AssertionError):
        patched("nothing\n", hunk)
