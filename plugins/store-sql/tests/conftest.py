"""The servers of the tests: the user's own, or a PostgreSQL from a wheel and a MariaDB that is installed."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from zarrv3_store_sql.testing import mariadb, postgresql, program


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A PostgreSQL server of this session's own; the role `locked` needs the password `open sesame`."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """The URL of a PostgreSQL server: the user's own, or the session's."""
    own = os.environ.get("ZARRV3_TEST_POSTGRESQL_URL")
    return own or str(request.getfixturevalue("postgresql_server").get_uri())


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[str]:
    """The URL of a MySQL or MariaDB server: the user's own, or the session's where `mariadbd` is installed."""
    own = os.environ.get("ZARRV3_TEST_MYSQL_URL")
    if own:
        yield own
    elif program("mariadbd") and program("mariadb-install-db"):
        with mariadb() as url:
            yield url
    else:
        pytest.skip("ZARRV3_TEST_MYSQL_URL names no MySQL or MariaDB server, and mariadbd is not installed")
