"""Stores over fsspec: the conformance kit over memory, local files, S3 and FTP."""

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

import zarrv3
from zarrv3.errors import StoreAccessError, StoreError
from zarrv3.store.contract import ByteRange, Request
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3_store_fsspec import FSStore


class RemoteFileSystem(LocalFileSystem):
    """Files as over SFTP: with folders, and replaced by renaming."""

    protocol = "remote"


class KeepingFileSystem(RemoteFileSystem):
    """Files as over WebDAV or SMB: moving does not replace a file."""

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Refuse if there is a file."""
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2, **kwargs)


class SilentFileSystem(RemoteFileSystem):
    """Files as over WebHDFS, which says nothing when it does not replace a file."""

    protocol = "webhdfs"

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Do nothing if there is a file."""
        if not self.exists(path2):
            super().mv(path1, path2, **kwargs)


class TestMemoryFSStore(InterruptConformance, StoreConformance):
    """An `FSStore` over fsspec's memory."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same folder."""
        return partial(FSStore, f"memory://{uuid.uuid4().hex}/data")


class TestGivenFSStore(InterruptConformance, StoreConformance):
    """An `FSStore` over a file system object."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same folder of the same object."""
        return partial(FSStore, f"/{uuid.uuid4().hex}", fs=MemoryFileSystem())


class TestLocalFSStore(InterruptConformance, StoreConformance):
    """An `FSStore` over local files."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(FSStore, (tmp_path / "new").as_uri())


class TestS3FSStore(InterruptConformance, StoreConformance):
    """An `FSStore` over S3."""

    examples = 4
    steps = 20

    @pytest.fixture
    def opener(self, s3_store: Callable[..., FSStore]) -> Opener:
        """Every call opens the same folder of a bucket."""
        return s3_store


class TestRenamingFSStore(InterruptConformance, StoreConformance):
    """An `FSStore` over a file system that replaces files by renaming."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(FSStore, str(tmp_path / "new" / "data"), fs=RemoteFileSystem())


@pytest.mark.parametrize(("server", "replaces"), [("webdav", False), ("samba", True)])
def test_servers_of_files(server: str, replaces: bool, request: pytest.FixtureRequest) -> None:
    """Over WebDAV and SMB all that is acknowledged is there, what is missing is missing, and nothing is left behind."""
    place = request.getfixturevalue(server)
    name = f"{uuid.uuid4().hex}/data"
    store = FSStore(name, fs=place) if server == "webdav" else FSStore(f"{place}/{name}")
    assert store.get_many([Request("k"), Request("f/k", ByteRange(2, 4))]) == [None, None]
    assert (store.list(), store.stat_many(["k"])) == ([], [None])
    array = zarrv3.create_array(store, name="a", shape=8, chunks=4, dtype="i4")
    for value in (1, 2):
        array[:] = value
        array[1:3] = 5
    array.attrs["unit"] = "m"
    array.append([3, 3])
    assert store.driver.files.replaces is replaces
    assert zarrv3.open_array(store, path="a")[:].tolist() == [2, 5, 5, 2, 2, 2, 2, 2, 3, 3]
    store.write_many({"f/g/k": b"0123456789", "f/h": b""})
    store["f/g/k"] = b"9876543210"
    assert store.get_many([Request("f/g/k", ByteRange(2, -3)), Request("f/h"), Request("f")]) == [
        b"76543",
        b"",
        None,
    ]
    assert sorted(store.list_dir("f/")) == ["f/g/", "f/h"]
    for key in ("f", "f/h/k"):
        with pytest.raises(StoreError):
            store[key] = b"v"
    del store["f/g/k"], store["f/h"]
    store.erase_prefix("a/c/")
    assert sorted(store.list_dir("")) == ["a/", "zarr.json"]
    assert zarrv3.open_array(store, path="a")[:].tolist() == [0] * 10
    store.clear()
    assert store.driver.files.fs.find(store.driver.files.base[:-1]) == []


@pytest.mark.parametrize("cls", [KeepingFileSystem, SilentFileSystem])
def test_files_that_moving_does_not_replace(cls: type[RemoteFileSystem], tmp_path: Path) -> None:
    """Where a file system does not move over a file that is there, values, attributes and chunks are replaced all the same."""
    store = FSStore(str(tmp_path / "data"), fs=cls(skip_instance_cache=True))
    array = zarrv3.create_array(store, shape=8, chunks=4, dtype="i4")
    for value in (1, 2):
        array[:] = value
    array.attrs["unit"] = "m"
    array.append([3, 3])
    assert zarrv3.open_array(store)[:].tolist() == [2] * 8 + [3] * 2
    assert store.erase_prefix("c/") is None
    assert store.list() == ["zarr.json"]
    assert [*(tmp_path / "data").rglob("*-scratch/*")] == []


def test_what_another_writer_was_faster_with(tmp_path: Path) -> None:
    """A file that another writer made just before the move is replaced, and nothing is left behind."""
    for cls in (KeepingFileSystem, SilentFileSystem):
        fs = cls(skip_instance_cache=True)
        store = FSStore(str(tmp_path / cls.__name__), fs=fs)
        (tmp_path / cls.__name__ / "f").mkdir(parents=True)
        (tmp_path / cls.__name__ / "f" / "k").write_bytes(b"theirs")
        asked = iter([True, False])  # whether there are files above, and here
        fs.isfile = lambda path, asked=asked: next(asked, True) and path.endswith("k")
        store.driver.files.replaces = False
        store["f/k"] = b"ours"
        assert dict(store.items()) == {"f/k": b"ours"}
        assert [*tmp_path.rglob("*-scratch/*")] == []


class OddFileSystem(RemoteFileSystem):
    """Files as over adlfs: what lies below a file is a list, and failures are its own or values that are wrong."""

    failure: Exception | None = None

    def find(self, path: str, *args: Any, **options: Any) -> Any:
        """A list of the file itself."""
        return [path] if self.isfile(path) else super().find(path, *args, **options)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        """Fail, if told to."""
        if self.failure is not None:
            raise self.failure
        super().pipe_file(path, value, **options)


class OddError(Exception):
    """An exception of an unknown library."""


def test_a_file_system_of_its_own_mind(tmp_path: Path) -> None:
    """The size of a key is told where `find` answers a list for a file, and what a library raises becomes an error of ours."""
    fs = OddFileSystem(skip_instance_cache=True)
    store = FSStore(str(tmp_path), fs=fs)
    store["k"] = b"value"
    assert (store.getsize("k"), store.getsize()) == (5, 5)
    for fs.failure in (OddError("no"), ValueError("no")):
        with pytest.raises(StoreAccessError, match=f"cannot write 'k' in .*{type(fs.failure).__name__}: no"):
            store["k"] = b"other"
    assert store["k"] == b"value"


class TestWebFSStore(StoreConformance):
    """An `FSStore` over a web server."""

    @pytest.fixture
    def opener(self, web: Callable[..., Any]) -> Opener:
        """Every call opens the same folder."""
        return partial(FSStore, web("honest", {"/data/k": b"value"}).url + "/data")


class TestFTPFSStore(InterruptConformance, StoreConformance):
    """An `FSStore` over FTP."""

    @pytest.fixture
    def opener(self, ftp: Any) -> Opener:
        """Every call opens the same folder."""
        return partial(FSStore, f"{ftp.url}/data")
