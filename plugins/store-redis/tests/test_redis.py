"""Redis: the conformance kit, over every way to connect and without an index."""

from functools import partial

import pytest

from zarrv3.store.contract import Driver
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3_store_redis import RedisStore
from zarrv3_store_redis.driver import RedisDriver
from zarrv3_store_redis.index import Index


class NeverComplete(Index):
    """An index that is dropped before it is complete, each time."""

    def build(self) -> None:
        """Build nothing."""


class UnindexedStore(RedisStore):
    """A `RedisStore` as it is over a database that has no index and gets none."""

    kind = "unindexed"

    def connect(self) -> Driver:
        """The driver, looking through the whole database."""
        driver = super().connect()
        assert isinstance(driver, RedisDriver)
        driver.index = NeverComplete(driver.exchange, driver.names)
        return driver


class TestRedisStore(InterruptConformance, StoreConformance):
    """A `RedisStore` over a socket."""

    @pytest.fixture
    def opener(self, url: str, prefix: str) -> Opener:
        """Every call opens the same prefix."""
        return partial(RedisStore, prefix, url=url)


class TestRedisStoreOverTcp(InterruptConformance, StoreConformance):
    """A `RedisStore` over TCP, with the newer protocol and a prefix that is a glob."""

    examples = 10

    @pytest.fixture
    def opener(self, tcp_url: str, prefix: str) -> Opener:
        """Every call opens the same prefix."""
        return partial(RedisStore, f"{prefix}*[a-z]\\?", url=tcp_url, protocol=3)


class TestUnindexedRedisStore(InterruptConformance, StoreConformance):
    """A `RedisStore` that has no index to list from."""

    examples = 10

    @pytest.fixture
    def opener(self, url: str, prefix: str) -> Opener:
        """Every call opens the same prefix."""
        return partial(UnindexedStore, prefix, url=url)
