"""What the tests of the command line share: running it here or as a process, and a store to look at."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import zarrv3
from zarrv3_cli import main

Run = Callable[..., "Ended"]
HIDDEN = ("PYTHON", "PYTEST", "HYPOTHESIS", "ZARRV3", "COVERAGE", "COLUMNS", "LINES")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process, through everything that a process would run."""

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of processes: that of a user who has set nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}


@pytest.fixture
def process(environment: dict[str, str]) -> Run:
    """Run a command line as a process of its own."""

    def run(*arguments: object, **more: object) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "zarrv3_cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**environment, **{name: str(value) for name, value in more.items()}},
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The folder of a hierarchy: `a/t` (100, 60) int16 in chunks, `s` texts, `z` three dimensions, `a/empty`."""
    folder = tmp_path / "data.zarr"
    group = zarrv3.create_group(folder, attributes={"title": "x\x1b[31m\ny"})
    array = group.create_array("a/t", shape=(100, 60), chunks=(10, 20), dtype="i2", compressors=None)
    array[:] = np.arange(6000).reshape(100, 60)
    group.create_array("a/empty", shape=(5,), chunks=(2,), dtype="f4")
    group.create_array("s", data=np.array(["a", "b\tc", "ü"], dtype=object), dtype=str)
    numbers = np.arange(24).reshape(2, 3, 4) / 8
    numbers[0, 0, 0] = np.nan
    group.create_array("z", data=numbers, chunks=(1, 2, 2), attributes={"unit": "m"})
    return str(folder)
