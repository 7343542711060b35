"""The servers of the tests: a real PostgreSQL from a wheel, or the user's own."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from zarrv3_store_sql.testing import postgresql


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
def mysql_url() -> str:
    """The MySQL or MariaDB server of the user's: no wheel has one."""
    url = os.environ.get("ZARRV3_TEST_MYSQL_URL")
    if not url:
        pytest.skip("ZARRV3_TEST_MYSQL_URL names no MySQL or MariaDB server")
    return url
