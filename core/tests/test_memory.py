"""Stores in memory: the conformance kit, and what is their own."""

import pickle
import uuid
from functools import partial
from typing import Any

import pytest

from zarrv3.memory import DriverStore, KVStore, MappingDriver, MemoryDriver, MemoryStore, as_mapping, wrap
from zarrv3.testing import Opener, StoreConformance


class TestMemoryStore(StoreConformance):
    """A named `MemoryStore`."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same name."""
        return partial(MemoryStore, name=f"test-{uuid.uuid4()}")


class TestMemoryStoreAroundMapping(StoreConformance):
    """A `MemoryStore` around a mapping of the user's."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call wraps the same dict."""
        return partial(MemoryStore, {})


class TestKVStore(StoreConformance):
    """A `KVStore` around a dict."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call wraps the same dict."""
        return partial(KVStore, {})


class TestDriverStore(StoreConformance):
    """A driver of the contract's methods, without our base class."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call wraps the same driver."""
        return partial(DriverStore, MappingDriver({}))
