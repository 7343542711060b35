"""The conformance kit through the cache: tiny, medium and without limit, and with a second tier."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from zarrv3.opening.stores import open_store
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import InterruptConformance, LayerConformance
from zarrv3.testing.checks import Opener
from zarrv3_layer_lru_cache import LRUStoreCache

LayerMaker = Callable[[BaseStore], BaseStore]


class TestTiny(LayerConformance):
    """Almost everything is evicted at once."""

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """Room for a few short values."""
        return partial(LRUStoreCache, max_size=100)


class TestMedium(InterruptConformance, LayerConformance):
    """Some of it is evicted, and what is written is not remembered."""

    examples = 15

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """Room for a few long values."""
        return partial(LRUStoreCache, max_size="64KiB", cache_on_write=False)


class TestUnlimited(LayerConformance):
    """Nothing is evicted."""

    examples = 15

    @pytest.fixture
    def layer(self) -> LayerMaker:
        """No limit."""
        return partial(LRUStoreCache, max_size=None)


class TestSecondTier(InterruptConformance, LayerConformance):
    """Almost everything comes from a second tier in memory, which is as long-lived as its name."""

    @pytest.fixture
    def layer(self) -> Iterator[LayerMaker]:
        """Little room in memory and more in the second tier."""
        tier = MemoryStore(name=f"tier-{uuid.uuid4()}")
        yield partial(LRUStoreCache, max_size=50, cache_store=tier, cache_store_size="128KiB")
        tier.clear()


class TestFolders(LayerConformance):
    """A folder with another one as its second tier: stores that outlive the process."""

    @pytest.fixture
    def inner(self, tmp_path: Path) -> Opener:
        """A folder."""
        return partial(open_store, str(tmp_path / "data"))

    @pytest.fixture
    def layer(self, tmp_path: Path) -> LayerMaker:
        """The second tier by its path, so that each object opens and closes its own."""
        return partial(LRUStoreCache, max_size=100, cache_store=str(tmp_path / "tier"), cache_name="data")
