"""What several of these tests look into: source distributions, which have what wheels leave out."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def source_distribution(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What downloads the archive of a package by pip, once; the test is skipped where that cannot be had."""
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")

    @cache
    def archive(requirement: str) -> Path:
        folder = tmp_path_factory.mktemp("sdist")
        command = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", requirement]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
        if done.returncode:
            pytest.skip(f"{requirement} cannot be downloaded: {done.stderr.strip()[-300:]}")
        return next(folder.glob("*.tar.gz"))

    return archive
