"""The suites of fsspec for file systems, and of zarr-python for stores."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.tests import abstract
from zarr.core.buffer import Buffer, cpu
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests

from zarrv3_bridge_fsspec import StoreFileSystem

SQLITE, FOLDER = "sqlite:///{}/data.db", "zarrv3://{}/data.zarr"


@pytest.fixture(params=[SQLITE, FOLDER], ids=["sqlite", "directory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """New data in a database, and in a folder of files."""
    text: str = request.param.format(tmp_path)
    return text


class Fixtures(abstract.AbstractFixtures):
    """What fsspec's suite is told about the file system."""

    @pytest.fixture
    def fs(self, url: str) -> Iterator[StoreFileSystem]:
        """A file system."""
        fs, _ = fsspec.url_to_fs(url)
        yield fs
        fs.close()

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        """How paths are joined."""
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self) -> str:
        """The folder for the suite's files."""
        return "/base"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        """Folders are where files are."""
        return False


class TestCopy(Fixtures, abstract.AbstractCopyTests):
    """`cp`, with folders, patterns and lists."""


class TestGet(Fixtures, abstract.AbstractGetTests):
    """`get`, with folders, patterns and lists."""


class TestPut(Fixtures, abstract.AbstractPutTests):
    """`put`, with folders, patterns and lists."""


class TestPipe(Fixtures, abstract.AbstractPipeTests):
    """`pipe` into a file that is there."""


class TestOpen(Fixtures, abstract.AbstractOpenTests):
    """`open` of a file that is there."""


class TestZarrStore(StoreTests[FsspecStore, cpu.Buffer]):
    """zarr-python's suite, complete, over its own `FsspecStore` with a path inside."""

    store_cls = FsspecStore
    buffer_cls = cpu.Buffer

    async def set(self, store: FsspecStore, key: str, value: Buffer) -> None:
        """Store a value past zarr-python."""
        store.fs.store[f"{store.path[1:]}/{key}"] = value.to_bytes()

    async def get(self, store: FsspecStore, key: str) -> Buffer:
        """Read a value past zarr-python."""
        return self.buffer_cls.from_bytes(store.fs.store[f"{store.path[1:]}/{key}"])

    @pytest.fixture
    def store_kwargs(self, url: str) -> Iterator[dict[str, Any]]:
        """What the stores are made from."""
        fs, path = fsspec.url_to_fs(f"{url}|zarr3:below/here", asynchronous=True)
        yield {"fs": fs, "path": path}
        fs.close()

    @pytest.fixture
    def store(self, store_kwargs: dict[str, Any]) -> FsspecStore:
        """An open store."""
        return asyncio.run(FsspecStore.open(**store_kwargs))

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> FsspecStore:
        """A store that is not open."""
        return FsspecStore(**store_kwargs)

    def test_store_repr(self, store: FsspecStore) -> None:
        """The text names the class and the path inside."""
        assert str(store) == f"<FsspecStore({type(store.fs).__name__}, /below/here)>"

    def test_store_supports_writes(self, store: FsspecStore) -> None:
        """It can be written."""
        assert store.supports_writes

    def test_store_supports_listing(self, store: FsspecStore) -> None:
        """It can be listed."""
        assert store.supports_listing

    def test_store_supports_partial_writes(self, store: FsspecStore) -> None:
        """No value is written in parts."""
        assert not store.supports_partial_writes
