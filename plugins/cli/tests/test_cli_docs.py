"""The page about the command line: its commands run as they stand there."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_commands_of_the_page_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the page's first Python block, its shell commands succeed one after the other, and say nothing on stderr."""
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    lines = "".join(blocks("sh")).splitlines()
    assert len(lines) > 15
    for line in lines:
        program, *arguments = shlex.split(line)
        ended = run(*arguments)
        assert (program, ended.code) == ("zarrv3", 0), f"{line}: {ended.err}"
        assert ended.err == "" or "new-plugin" in arguments
    assert (tmp_path / "first.npy").exists()
    assert (tmp_path / "zarrv3-store-my-store" / "pyproject.toml").exists()


def test_the_plugin_of_the_page_adds_its_command() -> None:
    """The hook on the page adds a command that counts keys."""
    import zarrv3
    from zarrv3.opening import hooks
    from zarrv3_cli.application import application

    space: dict[str, object] = {"zarrv3": zarrv3}
    exec(blocks("python")[1], space)
    module = type("Plugin", (), {"zarrv3_commands": staticmethod(space["zarrv3_commands"])})
    hooks.register(module, "page")
    try:
        names = [command.name for command in application().registered_commands]
    finally:
        hooks.unregister("page")
    assert "count" in names
