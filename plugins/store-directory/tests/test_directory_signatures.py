"""Files and databases that are given as if they were folders."""

import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zarrv3
from zarrv3.errors import NodeNotFoundError, StoreAccessError


@pytest.mark.parametrize("scheme", ["sqlite:///", "zip://", "lmdb://", "dbm://"])
def test_stores_given_as_paths(scheme: str, tmp_path: Path) -> None:
    """A store that is given by its path alone is recognised by its first bytes; the error has the URL, which `auto` opens."""
    path = tmp_path / "a store|é.data"
    url = f"{scheme}{str(path).replace(' ', '%20').replace('|', '%7C').replace('é', '%C3%A9')}"
    with zarrv3.open_store(url) as store:
        zarrv3.create_array(store, data=[1, 2])
    for place in (path, path / "data.mdb") if scheme == "lmdb://" else (path,):
        with pytest.raises((StoreAccessError, NodeNotFoundError)) as caught:
            zarrv3.open(place, mode="r")
        assert f"{url!r}" in str(caught.value)
        assert zarrv3.open_array(place, mode="r", auto=True)[...].tolist() == [1, 2]
    if path.is_file():
        with pytest.raises(StoreAccessError, match="not a folder; open it as"):
            zarrv3.open(path / "inner", mode="r")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (
            b"\x89HDF\r\n\x1a\n",
            "is an HDF5 or NetCDF file, not a folder; make references to it with kerchunk",
        ),
        (b"CDF\1", "is a NetCDF file, not a folder; make references"),
        (b"II*\0", "is a TIFF file, not a folder; make references"),
        (b'{ "version": 1', r"is a file of references, not a folder; open it as 'reference://.*\|zarr2:'"),
        (b"", r"is a file, not a folder; open an archive as .*zip:"),
        (b"CDF is not all", r"is a file, not a folder; open an archive"),
    ],
)
def test_other_files(head: bytes, what: str, tmp_path: Path) -> None:
    """Files that other programs know are named, with what to do."""
    (tmp_path / "file").write_bytes(head + bytes(100 if head else 0))
    with pytest.raises(StoreAccessError, match=what):
        zarrv3.open(tmp_path / "file", mode="r")
    with pytest.raises(StoreAccessError, match=what):
        zarrv3.open_store((tmp_path / "file").as_uri())["k"] = b"v"


def test_looking_keeps_locks(tmp_path: Path) -> None:
    """Looking at a file does not take the locks away that SQLite holds on it in this process."""
    path = tmp_path / "x.db"
    ours = sqlite3.connect(path, isolation_level=None)
    ours.execute("CREATE TABLE t (x)")
    ours.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreAccessError, match="is an SQLite database"):
        zarrv3.open(path, mode="r")
    other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM t')"
    found = subprocess.run([sys.executable, "-c", other, path], check=False, capture_output=True, text=True)
    assert "is locked" in found.stderr
    ours.close()


def test_an_archive_of_a_folder(tmp_path: Path) -> None:
    """Where a node lies in a folder of an archive, the error says in which; so it does for a folder of hierarchies."""
    zarrv3.create_array(tmp_path / "in" / "a.zarr", data=[1, 2])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in (tmp_path / "in").rglob("*"):
            archive.write(file, Path("outer", file.relative_to(tmp_path / "in")))
        archive.writestr("__MACOSX/outer/._a.zarr", b"")
    with pytest.raises(NodeNotFoundError, match=r"nodes are at path='outer/a.zarr'$"):
        zarrv3.open(f"zip://{tmp_path}/x.zip", mode="r")
    for name in "bcd":
        zarrv3.create_array(tmp_path / "in" / name, shape=1, dtype="i1")
    with pytest.raises(NodeNotFoundError, match=r"nodes are at path='a.zarr' or 'b' or 'c', …$"):
        zarrv3.open(tmp_path / "in", mode="r")
    with pytest.raises(NodeNotFoundError, match=r"DirectoryStore\(path='[^;]*$"):
        zarrv3.open(tmp_path / "nothing", mode="r")
