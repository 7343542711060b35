"""Folders and files: the conformance kit, and what is their own."""

from functools import partial
from pathlib import Path

import pytest

from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_directory import DirectoryStore
from zarrv3_store_directory.driver import DirectoryDriver


class PortableStore(DirectoryStore):
    """A `DirectoryStore` as it is where the system has no folder descriptors."""

    kind = "portable"

    def connect(self) -> DirectoryDriver:
        """The driver by paths."""
        return DirectoryDriver(self.path, lower=False, fsync=False, follow_symlinks=False, anchored=False)


class TestDirectoryStore(StoreConformance):
    """A `DirectoryStore` over folder descriptors."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(DirectoryStore, tmp_path / "new" / "data")


class TestPortableDirectoryStore(StoreConformance):
    """A `DirectoryStore` over paths."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(PortableStore, tmp_path / "new" / "data")
