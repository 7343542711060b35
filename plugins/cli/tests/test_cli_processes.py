"""The command line as people meet it: processes, terminals, pipes, Ctrl-C."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import zarrv3

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")

Run = Callable[..., Any]
PROGRAM = [sys.executable, "-W", "error", "-m", "zarrv3_cli"]
PAUSING = """
import signal, sys
from zarrv3 import Layer, registry
from zarrv3_cli import main

class Pausing(Layer):
    "Stores a few batches, then says so and waits until stdin is closed."
    kind = "pausing"
    batches = 0
    def write_many(self, items, /):
        Pausing.batches += 1
        if Pausing.batches == 3:
            print("paused", flush=True)
            sys.stdin.read()
        self.inner.write_many(items)
    def swap_many(self, swaps, /):
        return self.inner.swap_many(swaps)
    def apply_many(self, changes, /):
        self.inner.apply_many(changes)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever began the tests in the background has it ignored
registry.register("layers", "pausing", Pausing)
sys.exit(main())
"""


def on_terminal(command: list[str], environment: dict[str, str], *, stderr: bool = False) -> tuple[int, str]:
    """Run a command whose stdout, or stderr, is a terminal of 100 columns; returns its exit code and what it wrote there."""
    ours, theirs = pty.openpty()
    screen = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    streams = {"stdout": subprocess.DEVNULL if stderr else theirs, "stderr": theirs if stderr else None}
    with subprocess.Popen(command, env={**environment, **screen}, **streams) as process:  # type: ignore[call-overload]
        os.close(theirs)
        written = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not more:
                break
            written += more
        code = process.wait()
    os.close(ours)
    return code, written.decode()


def test_a_terminal_gets_colours_and_a_pipe_does_not(url: str, environment: dict[str, str], run: Run) -> None:
    """On a terminal there are drawings, colours and short sizes; the same commands in a pipe write plain text."""
    cases = [
        (["tree", url], "└──"),
        (["cat", f"{url}/a/t", "--picture"], "\x1b[38;"),
        (["ls", "-l", url], "─"),
    ]
    for arguments, sign in cases:
        code, seen = on_terminal([*PROGRAM, *arguments], environment)
        assert code == 0
        assert sign in seen
        piped = run(*arguments)
        assert (piped.code, piped.err) == (0, "")
        assert not {*"└├│─\x1b▀"} & {*piped.out}, piped.out


def test_json_on_a_terminal_is_for_people(url: str, environment: dict[str, str]) -> None:
    """On a terminal JSON is indented."""
    code, seen = on_terminal([*PROGRAM, "info", url, "--json"], environment)
    assert code == 0
    assert seen.startswith('{\r\n  "path": ""')
    assert json.loads(seen)["metadata"]["node_type"] == "group"


def test_a_terminal_gets_no_file(url: str, environment: dict[str, str]) -> None:
    """Bytes of a `.npy` file are not written to a terminal."""
    assert on_terminal([*PROGRAM, "cat", f"{url}/a/t", "--npy", "-"], environment) == (2, "")


def test_colour_pictures(tmp_path: Path, environment: dict[str, str]) -> None:
    """Red, green and blue are drawn in their colours, an odd last row too."""
    data = np.zeros((3, 1, 3), np.uint8)
    data[:, 0, 0] = [1, 2, 3]
    zarrv3.save_array(tmp_path / "rgb", data)
    _, seen = on_terminal(
        [*PROGRAM, "cat", str(tmp_path / "rgb"), "--picture"], {**environment, "COLORTERM": "truecolor"}
    )
    assert "38;2;1;0;0" in seen
    assert "48;2;2;0;0" in seen
    assert "38;2;3;0;0" in seen


@pytest.mark.parametrize("command", ["verify", "copy"])
def test_progress_on_a_terminal(command: str, url: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """Long work shows a bar on stderr if that is a terminal, which is gone at the end."""
    more = [str(tmp_path / "copy")] if command == "copy" else []
    code, seen = on_terminal([*PROGRAM, command, url, *more], environment, stderr=True)
    assert code == 0
    assert f"{command} " in seen
    assert seen.endswith("\x1b[2K") or "\x1b[2K" in seen[-40:]


def test_a_reader_that_has_seen_enough(tmp_path: Path, environment: dict[str, str]) -> None:
    """`| head` ends the command without a word."""
    zarrv3.save_array(tmp_path / "long", np.arange(200_000), chunks=(10_000,))
    command = f"{shlex.join(PROGRAM)} cat {shlex.quote(str(tmp_path / 'long'))}"
    for tail in ("", " --npy -"):
        ended = subprocess.run(
            ["bash", "-c", f"{command}{tail} | head -c 1; exit ${{PIPESTATUS[0]}}"],
            env=environment,
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (1, b"")
        assert len(ended.stdout) == 1


def test_a_reader_that_was_never_there(url: str, environment: dict[str, str]) -> None:
    """Output that nobody reads, and that is written at the very end, ends the command without a word too."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as closed:
        ended = subprocess.run(
            [*PROGRAM, "ls", url], env=environment, stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("error", [KeyboardInterrupt, typer.Abort])
def test_interrupted_anywhere(error: type[BaseException], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while commands are being gathered, and a plugin that gives up, are exit code 130."""

    def interrupted() -> None:
        raise error

    monkeypatch.setattr("zarrv3_cli.application.application", interrupted)
    assert run("ls", "x") == (130, "", "")


def test_exit_codes(url: str, process: Run, tmp_path: Path) -> None:
    """A process ends with the code that the command has."""
    assert process("info", url).code == 0
    assert process("info", tmp_path).code == 1
    assert process("info").code == 2
    Path(url, "a/t/c/0/0").write_bytes(b"short")
    ended = process("verify", url)
    assert ended.code == 1
    assert "corrupt\ta/t/c/0/0\t" in ended.out


def test_warnings_are_one_line(url: str, environment: dict[str, str]) -> None:
    """A warning on the way is one line on stderr, without secrets, and changes nothing else."""
    program = (
        "import sys, warnings\nfrom zarrv3.opening import hooks\nfrom zarrv3_cli import main\n"
        "class Bad:\n    pass\n"
        "def zarrv3_wrap_store(store): raise RuntimeError('redis://u:hunter2@h/\\nfailed')\n"
        "bad = Bad(); bad.zarrv3_wrap_store = hooks.hookimpl(zarrv3_wrap_store)\n"
        "hooks.register(bad, 'bad')\nsys.exit(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "ls", url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "a\ns\nz\n")
    assert ended.stderr.startswith("zarrv3: warning: ")
    assert ended.stderr.count("\n") == 1
    assert "hunter2" not in ended.stderr


def interrupted_copy(source: Path, there: Path, environment: dict[str, str], *options: str) -> str:
    """Press Ctrl-C in the middle of a copy of an array of 1600 chunks; returns what is said."""
    array = zarrv3.create_array(source, shape=(400, 4), chunks=(1, 1), dtype="i4", compressors=None)
    array[:] = np.arange(1600).reshape(400, 4)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PAUSING, "copy", str(source), f"{there}|pausing:", *options],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "paused\n"
        child.send_signal(signal.SIGINT)
        child.stdin.close()
        rest, said = child.stdout.read(), child.stderr.read()
        assert (child.wait(), rest, said.count("\n")) == (130, "", 1)
    return said


LIMITED = """
import resource, sys
from zarrv3_cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
sys.exit(main())
"""


def test_no_room(tmp_path: Path, environment: dict[str, str], process: Run) -> None:
    """Where a value does not fit any more, the error says how to go on, as after Ctrl-C, and that works."""
    source, there = tmp_path / "source.zarr", tmp_path / "copy.zarr"
    group = zarrv3.create_group(source)
    group.create_array("fits", data=np.arange(100, dtype="u1"), chunks=10, compressors=None)
    group.create_array("large", data=np.ones(10_000, "u1"), chunks=10_000, compressors=None)
    command = [sys.executable, "-c", LIMITED, "copy", source, there]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.endswith("the same command with --resume goes on from there.\n")
    again = subprocess.run(
        [*command, "--overwrite"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "--resume" not in again.stderr
    assert process("copy", source, there, "--resume").code == 0
    assert zarrv3.load(there, "large").sum() == 10_000


def test_interrupted_overwriting(tmp_path: Path, environment: dict[str, str]) -> None:
    """After Ctrl-C in a copy with `--overwrite`, which is not resumed, the command is to be given again as it was."""
    said = interrupted_copy(tmp_path / "large.zarr", tmp_path / "copy.zarr", environment, "--overwrite")
    assert "the same command makes the copy again" in said
    assert "--resume" not in said


def test_interrupted_copy(tmp_path: Path, environment: dict[str, str], process: Run) -> None:
    """Ctrl-C in the middle of a copy: exit code 130, each key whole or absent, no node yet; `--resume` completes it."""
    source, there = tmp_path / "large.zarr", tmp_path / "copy.zarr"
    assert "the same command with --resume goes on" in interrupted_copy(source, there, environment)
    expected = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    partly = {path.relative_to(there): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert 0 < len(partly) < len(expected)
    assert partly.items() <= expected.items()
    assert process("info", there).code == 1
    resumed = process("copy", source, there, "--resume", "--verify")
    assert (resumed.code, resumed.err) == (0, "")
    assert f"{len(partly)} already there" in resumed.out
    assert {
        path.relative_to(there): path.read_bytes() for path in there.rglob("*") if path.is_file()
    } == expected


def test_completion(process: Run) -> None:
    """The script for a shell is written, and completes commands and options."""
    script = process(_ZARRV3_COMPLETE="source_bash")
    assert script.code == 0
    assert "complete -o default -F" in script.out
    assert script.out.rstrip().endswith("zarrv3")
    words = process(_ZARRV3_COMPLETE="complete_bash", COMP_WORDS="zarrv3\nco", COMP_CWORD="1")
    found = words.out.split()  # with the commands of other packages
    assert {"copy", "consolidate"} <= {*found}
    assert all(word.startswith("co") for word in found)


@pytest.fixture
def on_tab(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What bash is offered at the end of a line, which it has cut at colons and equal signs."""

    def offered(line: str) -> list[str]:
        words = re.findall(r'"[^"]*"?|[:=]+|[^\s:=]+|(?<=\s)$', line)
        monkeypatch.setenv("_ZARRV3_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        ended = run()
        assert (ended.code, ended.err) == (0, "")
        found: list[str] = ended.out.split()
        return found

    return offered


def test_what_is_offered(
    url: str, on_tab: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options, schemes with the files beside them, layers, nodes, options of the store, kinds and codecs are completed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "redo").mkdir()
    cases = {
        "zarrv3 copy --res": ["--resume"],
        "zarrv3 ls red": ["redo/", "redis://", "rediss://"],
        "zarrv3 ls mem": ["memory://"],
        "zarrv3 ls data": [],  # no scheme is called like that: left to the shell
        'zarrv3 ls "data.zarr|read': ["data.zarr|read-only:"],
        'zarrv3 ls "data.zarr|zarr3:a/': ["data.zarr|zarr3:a/empty", "data.zarr|zarr3:a/t"],
        "zarrv3 info data.zarr -p a/e": ["a/empty"],
        f"zarrv3 info file:{url} --path ": ["a", "s", "z"],
        "zarrv3 info data.zarr -o fs": ["fsync="],
        f"zarrv3 info file:{url} -o fs": ["fsync="],
        "zarrv3 stores --kind la": ["layers"],
        "zarrv3 copy data.zarr b --compressor=cr": ["crc32c"],
        "zarrv3 copy data.zarr b --compressor n": ["none", "n5_default"],
        "zarrv3 info nonsense://x -p ": [],
        "zarrv3 new-plugin ice --kind tr": ["transformer"],
    }
    for line, expected in cases.items():
        found = on_tab(line)
        assert found[: len(expected)] == expected, line
        assert expected or not found, line


def test_a_url_is_completed_behind_its_colon(
    url: str, on_tab: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """Bash is offered what follows the last colon, since it has kept what stands before."""
    zarrv3.open_store(f"file://{tmp_path}/other.zarr")
    assert on_tab(f'zarrv3 ls "file:{url}|zarr3:a/e') == [f"file:{url}|zarr3:a/empty"]
    assert on_tab(f"zarrv3 ls file:{url} -p a/e") == ["a/empty"]


def test_imports_are_few(environment: dict[str, str]) -> None:
    """The version and completion import no numpy, rich, nor what a store needs, and the former not even typer; help likewise."""
    program = (
        "import os, sys\nimport zarrv3_cli\n"
        "assert zarrv3_cli.main(['--version']) == 0\n"
        "assert len(sys.modules) < 110, len(sys.modules)\n"
        "heavy = {'numpy', 'rich', 'pytest', 'hypothesis', 'fsspec', 'sqlalchemy', 'zarrv3.testing', 'zarrv3_store_sql',"
        "'zarrv3_bridge_icechunk.store'}\n"
        "assert not (heavy | {'typer', 'importlib_metadata'}) & set(sys.modules)\n"
        "os.environ.update(_ZARRV3_COMPLETE='complete_bash', COMP_WORDS='zarrv3\\nco', COMP_CWORD='1')\n"
        "assert zarrv3_cli.main([]) == 0\n"
        "os.environ.update(COMP_WORDS='zarrv3\\nls\\nred', COMP_CWORD='2')\n"
        "assert zarrv3_cli.main([]) == 0\n"
        "del os.environ['_ZARRV3_COMPLETE']\n"
        "assert zarrv3_cli.main(['--help']) == 0\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
