"""The READMEs are true: their examples run, their commands are there, their links lead somewhere."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from zarrv3 import registry

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "core" / "README.md", *sorted(ROOT.glob("plugins/*/README.md"))]
TEXTS = [*sorted(ROOT.glob("*.md")), *READMES[1:]]
COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s {}"


def name(path: Path) -> str:
    """How a test calls a file."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_python_examples_run(readme: Path, tmp_path: Path) -> None:
    """The Python blocks of a README run one after the other in an empty home folder; `/data` and `/tmp` are moved there.

    A URL of a server becomes that of the server which the package starts for examples.
    """
    code = "\n".join(blocks(readme, "python"))
    assert code, "an example is missing"
    with contextlib.ExitStack() as stack:
        for scheme, server in servers(readme):
            there = re.search(rf'"{scheme}(?:\+\w+)?://[^"]*"', code)
            if there:
                code = code.replace(there[0], repr(stack.enter_context(server)))
        run(readme, code, tmp_path)


def servers(readme: Path) -> Iterator[tuple[str, AbstractContextManager[str]]]:
    """The schemes of a package's stores with the servers that they start for examples."""
    package = f"zarrv3_{readme.parent.name.replace('-', '_')}"
    for plugin in registry.plugins("stores"):
        if plugin.value.startswith(f"{package}:"):
            server = registry.load_plugin(plugin).example_server()
            if server is not None:
                yield plugin.name.rstrip("*+"), server


def run(readme: Path, code: str, tmp_path: Path) -> None:
    """Run the code of a README in a folder."""
    configuration = tmp_path / ".config" / "zarrv3" / "config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(moved("\n".join(blocks(readme, "toml")), tmp_path))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ZARRV3_", "XDG_"))}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", moved(code, tmp_path)],
        cwd=tmp_path,
        env={**environment, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{code}\n{ended.stderr}"


def moved(text: str, folder: Path) -> str:
    """A text whose absolute paths lie in a folder."""
    return re.sub(r"(?<=file://)/(?:tmp|data)(?=/)|(?<=[\"'])/(?:tmp|data)(?=/)", folder.as_posix(), text)


def test_the_readme_names_every_package() -> None:
    """The tables of the README have a row for each package that there is."""
    rows = {
        line.split("`")[1] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")
    }
    packages = {f"zarrv3-{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")}
    assert rows == packages | {"zarrv3-core"}


@pytest.mark.parametrize("session", ["demo", "tests"])
def test_commands_are_there(session: str) -> None:
    """The README shows the two commands, each alone in a block, word for word."""
    assert f"{COMMAND.format(session)}\n" in blocks(ROOT / "README.md", "sh")


def test_ci_runs_the_command_of_the_readme(tmp_path: Path) -> None:
    """`.ci/run` runs the README's test command, as it stands there, and fails when that fails or is missing."""
    script = tmp_path / ".ci" / "run"
    script.parent.mkdir()
    script.write_text((ROOT / ".ci" / "run").read_text())
    log = tmp_path / "log"
    fake = (
        tmp_path / "bin" / "python3"
    )  # what the command calls, put in its place: it makes a .venv of such things
    fake.parent.mkdir()
    for code in (0, 3):
        tool = f'#!/bin/sh\\necho "${{0##*/}} $*" >> {log}\\n'
        fake.write_text(
            f'#!/bin/sh\necho "python3 $*" >> {log}\nmkdir -p .venv/bin\n'
            f"printf '{tool}' > .venv/bin/pip\nprintf '{tool}exit {code}\\n' > .venv/bin/nox\n"
            "chmod +x .venv/bin/pip .venv/bin/nox\n"
        )
        fake.chmod(0o755)
        (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
        log.unlink(missing_ok=True)
        ended = ci(script, fake.parent)
        assert log.read_text().splitlines() == ["python3 -m venv .venv", "pip install -q nox", "nox -s tests"]
        assert ended.returncode == code, ended.stderr
    (tmp_path / "README.md").write_text("nothing\n")
    assert ci(script, fake.parent).returncode != 0


def ci(script: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with some tools first on the PATH."""
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("text", TEXTS, ids=name)
def test_links_lead_somewhere(text: Path) -> None:
    """Every relative link of a text leads to a file or folder, and to a heading where it names one."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        found = (text.parent / path).resolve() if path else text
        assert found.exists(), f"{target} leads nowhere"
        if heading:
            assert heading in {
                anchor(line) for line in found.read_text().splitlines() if line.startswith("#")
            }, target


def anchor(heading: str) -> str:
    """What GitHub calls a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")
