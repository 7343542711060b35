"""Stores over fsspec: the conformance kit over memory, local files, S3 and FTP."""

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_fsspec import FSStore


class RemoteFileSystem(LocalFileSystem):
    """Files as over SFTP: with folders, and replaced by renaming."""

    protocol = "remote"


class TestMemoryFSStore(StoreConformance):
    """An `FSStore` over fsspec's memory."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same folder."""
        return partial(FSStore, f"memory://{uuid.uuid4().hex}/data")


class TestGivenFSStore(StoreConformance):
    """An `FSStore` over a file system object."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same folder of the same object."""
        return partial(FSStore, f"/{uuid.uuid4().hex}", fs=MemoryFileSystem())


class TestLocalFSStore(StoreConformance):
    """An `FSStore` over local files."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(FSStore, (tmp_path / "new").as_uri())


class TestS3FSStore(StoreConformance):
    """An `FSStore` over S3."""

    examples = 4
    steps = 20

    @pytest.fixture
    def opener(self, s3_store: Callable[..., FSStore]) -> Opener:
        """Every call opens the same folder of a bucket."""
        return s3_store


class TestRenamingFSStore(StoreConformance):
    """An `FSStore` over a file system that replaces files by renaming."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(FSStore, str(tmp_path / "new" / "data"), fs=RemoteFileSystem())


class TestWebFSStore(StoreConformance):
    """An `FSStore` over a web server."""

    @pytest.fixture
    def opener(self, web: Callable[..., Any]) -> Opener:
        """Every call opens the same folder."""
        return partial(FSStore, web("honest", {"/data/k": b"value"}).url + "/data")


class TestFTPFSStore(StoreConformance):
    """An `FSStore` over FTP."""

    @pytest.fixture
    def opener(self, ftp: Any) -> Opener:
        """Every call opens the same folder."""
        return partial(FSStore, f"{ftp.url}/data")
