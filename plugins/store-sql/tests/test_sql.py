"""SQL databases: the conformance kit over every variant, and what is their own."""

import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_sql import SQLiteStore, SQLStore


class TestSQLiteStore(StoreConformance):
    """A `SQLiteStore` over a file."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same file, which does not exist at first."""
        return partial(SQLiteStore, tmp_path / "new" / "data.db")


def fresh_table(url: str) -> Iterator[Opener]:
    """An opener of a table of its own, which is dropped in the end."""
    table = f"zarr_{uuid.uuid4().hex}"
    yield partial(SQLStore, url, table)
    from zarrv3_store_sql.engines import parse

    engine = create_engine(parse(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    engine.dispose()


class TestPostgreSQLStore(StoreConformance):
    """A `SQLStore` over a PostgreSQL server."""

    @pytest.fixture
    def opener(self, postgresql_url: str) -> Iterator[Opener]:
        """Every call opens the same table, which does not exist at first."""
        yield from fresh_table(postgresql_url)


class TestMySQLStore(StoreConformance):
    """A `SQLStore` over a MySQL or MariaDB server."""

    @pytest.fixture
    def opener(self, mysql_url: str) -> Iterator[Opener]:
        """Every call opens the same table, which does not exist at first."""
        yield from fresh_table(mysql_url)
