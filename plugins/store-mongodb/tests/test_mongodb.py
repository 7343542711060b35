"""MongoDB: the conformance kit, over a replica set, over a standalone server, and with all values in parts."""

from functools import partial
from typing import Any

import pytest

from zarrv3.contract import Store
from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_mongodb import MongoDBStore
from zarrv3_store_mongodb.driver import MongoDBDriver


class SplitStore(MongoDBStore):
    """A `MongoDBStore` to which 500 bytes are too many for one document."""

    kind = "split"

    def connect(self) -> Store:
        """The driver, with other sizes."""
        driver = super().connect()
        assert isinstance(driver, MongoDBDriver)
        driver.direct, driver.parts.size = 500, 30_000
        return driver


class TestMongoDBStore(StoreConformance):
    """A `MongoDBStore` over a replica set."""

    examples = 15

    @pytest.fixture
    def opener(self, url: str, database: str) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(MongoDBStore, database, url=url)


class TestStandaloneMongoDBStore(StoreConformance):
    """A `MongoDBStore` over a standalone server."""

    examples = 5

    @pytest.fixture
    def opener(self, standalone: Any, standalone_database: str) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(MongoDBStore, standalone_database, "a.b-c", host="127.0.0.1", port=standalone.port)


class TestSplitMongoDBStore(StoreConformance):
    """A `MongoDBStore` most of whose values are in parts."""

    examples = 10

    @pytest.fixture
    def opener(self, url: str, database: str) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(SplitStore, database, url=url)
