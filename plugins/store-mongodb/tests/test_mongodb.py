"""MongoDB: the conformance kit, over a replica set, over a standalone server, and with all values in parts."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3_store_mongodb import MongoDBStore
from zarrv3_store_mongodb.driver import MongoDBDriver


class ShortStore(MongoDBStore):
    """A `MongoDBStore` with shorter batches: the test server takes a millisecond for a key."""

    kind = "short"

    def connect(self) -> MongoDBDriver:
        """The driver, with other limits."""
        driver = super().connect()
        assert isinstance(driver, MongoDBDriver)
        limits = replace(driver.capabilities.limits, batch_keys=200, batch_bytes=4 << 20)
        driver.capabilities = replace(driver.capabilities, limits=limits)
        return driver


class SplitStore(ShortStore):
    """A store to which 500 bytes are too many for one document."""

    kind = "split"

    def connect(self) -> MongoDBDriver:
        """The driver, with other sizes."""
        driver = super().connect()
        driver.direct, driver.parts.size = 500, 30_000
        return driver


class TestMongoDBStore(InterruptConformance, StoreConformance):
    """A `MongoDBStore` over a replica set."""

    examples = 8

    @pytest.fixture
    def opener(self, url: str, database: str) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(ShortStore, database, url=url)


@pytest.mark.slow
class TestStandaloneMongoDBStore(StoreConformance):
    """A `MongoDBStore` over a standalone server."""

    examples = 5

    @pytest.fixture
    def opener(self, standalone: Any, standalone_database: str) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(ShortStore, standalone_database, "a.b-c", host="127.0.0.1", port=standalone.port)


class TestSplitMongoDBStore(InterruptConformance, StoreConformance):
    """A `MongoDBStore` most of whose values are in parts."""

    examples = 5

    @pytest.fixture
    def opener(self, url: str, database: str) -> Opener:
        """Every call opens the same database, which does not exist at first."""
        return partial(SplitStore, database, url=url)
