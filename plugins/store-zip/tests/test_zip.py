"""Archives in files: the conformance kit, and what is their own."""

import zipfile
from functools import partial
from pathlib import Path

import pytest

from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_zip import ZipStore


class TestZipStore(StoreConformance):
    """A `ZipStore` that does not compress."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same archive, which does not exist at first."""
        return partial(ZipStore, tmp_path / "new" / "data.zip")


class TestDeflatingZipStore(StoreConformance):
    """A `ZipStore` that deflates."""

    examples = 5

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same archive, which does not exist at first."""
        return partial(ZipStore, tmp_path / "data.zip", zipfile.ZIP_DEFLATED)
