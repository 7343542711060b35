"""Servers that die and come back in the middle of calls."""

import gc
import os
import signal
import time
import uuid
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zarrv3.testing.restarts import restarted
from zarrv3_store_sql import SQLStore
from zarrv3_store_sql.testing import MariaDB, program

ROUNDS = [1, pytest.param(40, marks=pytest.mark.slow)]


def _crash(server: Any) -> None:
    """End a PostgreSQL as a crash would, so that it has to recover, and start it again."""
    file = Path(server.pgdata, "postmaster.pid")
    process = int(file.read_text().split()[0])
    os.kill(process, signal.SIGQUIT)
    while _lives(process):
        time.sleep(0.01)
    file.unlink(missing_ok=True)
    server.ensure_postgres_running()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="whether a process has ended is read from /proc"
)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_postgresql_crashes(rounds: int, postgresql_server: Any) -> None:
    """A PostgreSQL that crashes again and again loses nothing acknowledged, and no swap is made twice."""
    opener = partial(SQLStore, postgresql_server.get_uri(), f"zarr_{uuid.uuid4().hex}")
    counts = restarted(opener, partial(_crash, postgresql_server), rounds)
    assert counts.acknowledged >= 3 * rounds


@pytest.mark.skipif(not program("mariadbd"), reason="mariadbd is not installed")
@pytest.mark.parametrize("rounds", ROUNDS)
def test_mariadb_is_killed(rounds: int, tmp_path: Path) -> None:
    """A MariaDB that is killed again and again loses nothing acknowledged, and no swap is made twice."""
    server = MariaDB(str(tmp_path))

    def restart() -> None:
        server.kill()
        server.start()

    try:
        counts = restarted(partial(SQLStore, server.url), restart, rounds)
    finally:
        server.kill()
        with warnings.catch_warnings():  # PyMySQL forgets to close a socket that is refused
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    assert counts.acknowledged >= 3 * rounds
