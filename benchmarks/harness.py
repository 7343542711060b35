"""What all measurements share: processes that take turns, places to write to, how numbers are shown."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

HERE = Path(__file__).parent


class Worker:
    """A process that gets a command a line and answers each with a line; its first line tells its version.

    Args:
        script: a file beside this one.
        arguments: what it is called with.
        python: the interpreter; that of another environment for what cannot be installed in ours.
    """

    def __init__(self, script: str, *arguments: object, python: str = sys.executable) -> None:
        self.process = subprocess.Popen(
            [python, HERE / script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._answer()["version"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """The answer to a command: `seconds` and whatever else was measured."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker has died with exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def taking_turns(
    script: str, names: Sequence[str], shared: Path, console: Console
) -> Iterator[dict[str, Worker]]:
    """A process for each implementation; their versions are printed."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in names:
            workers[name] = Worker(script, name, shared)
            stack.callback(workers[name].close)
        versions = [worker.version for worker in workers.values()]
        console.print(f"Python {platform.python_version()}: {'; '.join(versions)}")
        yield workers


def environment(folder: Path, requirements: Sequence[str], version: str | None = None) -> str | None:
    """The interpreter of an environment, made unless it is there; `None` where that version of Python is not found.

    Args:
        folder: where it is kept between runs.
        requirements: what is installed.
        version: of Python, as `3.11`; that of this interpreter, if it is not given.
    """
    python, ready = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), folder / "ready"
    if not ready.exists():
        here = version in {None, f"{sys.version_info.major}.{sys.version_info.minor}"}
        found = sys.executable if here else shutil.which(f"python{version}")
        if found is None:
            return None
        subprocess.run([found, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
        ready.touch()
    return str(python)


@contextmanager
def place(where: str) -> Iterator[Path]:
    """A new folder in memory or on the disk."""
    parent = "/dev/shm" if where == "tmpfs" else None  # noqa: S108 - that is what it is
    folder = Path(tempfile.mkdtemp(prefix="zarrv3-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spread(values: Sequence[float]) -> str:
    """Median, and least and greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}…{max(values):.2f})"
