"""One place, however it is spelled."""

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import pytest

import zarrv3
from zarrv3.store import places
from zarrv3.store.places import overlap


class View(MutableMapping[str, bytes]):
    """A mapping that is another one in its own way."""

    def __init__(self, below: MutableMapping[str, bytes]) -> None:
        self.below = below

    def __getitem__(self, key: str) -> bytes:
        return self.below[key]

    def __setitem__(self, key: str, value: bytes) -> None:
        self.below[key] = value

    def __delitem__(self, key: str) -> None:
        del self.below[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.below)

    def __len__(self) -> int:
        return len(self.below)


def same(source: object, dest: object, folder: str = "", target: str = "", *, probe: bool = False) -> bool:
    """Whether two places are one, in both directions."""
    one, other = zarrv3.open_store(source), zarrv3.open_store(dest)
    found = overlap(one, folder, other, target, probe=probe)
    assert overlap(other, target, one, folder, probe=probe) == found
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a hierarchy, links to it, and a database."""
    zarrv3.create_group(tmp_path / "a.zarr")["x"] = [1, 2]
    zarrv3.create_group(f"sqlite:///{tmp_path}/a.db")
    (tmp_path / "link.zarr").symlink_to("a.zarr")
    (tmp_path / "link.db").symlink_to("a.db")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to("..")
    return tmp_path


@pytest.mark.parametrize(
    "other",
    [
        "{}/a.zarr",
        "{}/link.zarr",
        "{}/sub/up/a.zarr",
        "{}/sub/../a.zarr/x",
        "{}",
        "file://{}/a.zarr",
        "fsspec+file://{}/link.zarr",
        "file://{}|prefix:a.zarr",
        "file://{}/link.zarr|lru-cache:?max_size=1MiB|retry:",
    ],
)
def test_spellings_of_a_folder(folder: Path, other: str) -> None:
    """A folder is the same by links, other classes and layers; and what contains it overlaps with it."""
    assert same(f"{folder}/a.zarr", other.format(folder))


@pytest.mark.parametrize("other", ["{}/b.zarr", "{}/a.zarr2", "fsspec+file://{}/a.zar", "file://{}|prefix:b", "memory:", "sqlite:///{}/a.db"])  # fmt: skip
def test_other_folders(folder: Path, other: str) -> None:
    """What begins alike, lies beside, or is not a folder is another place."""
    assert not same(f"{folder}/a.zarr", other.format(folder))


def test_paths_within_a_store(folder: Path) -> None:
    """Paths in one store overlap if one lies in the other."""
    for url in (f"{folder}/a.zarr", f"sqlite:///{folder}/a.db", f"zip://{folder}/a.zip", f"dbm://{folder}/d"):
        with zarrv3.open_store(url) as store:
            assert overlap(store, "x/", store, "", probe=False)
            assert overlap(store, "x/", store, "x/y/", probe=False)
            assert not overlap(store, "x/", store, "xy/", probe=False)


def test_databases(folder: Path) -> None:
    """A database is the same by a link and a relative path; another table of it is another place."""
    url = f"sqlite:///{folder}/a.db"
    assert same(url, f"sqlite:///{folder}/link.db")
    assert same(url, f"sqlite:///{os.path.relpath(folder)}/a.db")
    assert not same(url, f"sqlite:///{folder}/link.db?table=other")
    assert not same(url, f"sqlite:///{folder}/b.db")


def test_a_database_in_the_folder(folder: Path) -> None:
    """Replacing a folder would erase a database in it; writing a database into a folder that is read replaces nothing."""
    tree, database = zarrv3.open_store(folder), zarrv3.open_store(f"sqlite:///{folder}/a.db")
    assert overlap(database, "", tree, "", probe=False)
    assert not overlap(tree, "", database, "", probe=False)


def test_mounts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is mounted at a second place is one with what it is mounted from, and what lies in it lies there."""
    (folder / "mount").mkdir()
    (folder / "mount" / "x").mkdir()
    lines = [("8:1", "/", "/"), ("8:1", str(folder / "a.zarr"), str(folder / "mount"))]
    monkeypatch.setattr(places, "_mounts", lambda: lines)
    assert same(f"{folder}/a.zarr", f"{folder}/mount")
    assert same(f"{folder}/a.zarr", f"{folder}/mount/x")
    assert not same(f"{folder}/mount", f"{folder}/sub")


def test_the_list_of_mounts_is_read() -> None:
    """Where the system lists what is mounted, the root is among it, and octal numbers are letters."""
    if Path("/proc/self/mountinfo").exists():
        assert "/" in {point for _, _, point in places._mounts()}
    assert places._plain("/a\\040b\\134") == "/a b\\"


def test_memory() -> None:
    """Stores in memory are one if they have the same mapping, also with equal contents."""
    content: dict[str, bytes] = {}
    assert same(zarrv3.KVStore(content), zarrv3.KVStore(content))
    assert same(zarrv3.MemoryStore(content), zarrv3.MemoryStore(content))
    assert not same(zarrv3.MemoryStore(), zarrv3.MemoryStore(), probe=True)
    assert not same(zarrv3.KVStore({}), zarrv3.KVStore({}), probe=True)


def test_a_probe_tells_what_nothing_else_does() -> None:
    """A key that is written here is looked for there, and erased; without leave to write, nothing is written."""
    content = {"a/k": b"v"}
    one, other = zarrv3.Counting(zarrv3.KVStore(content)), zarrv3.Counting(zarrv3.KVStore(View(content)))
    assert not overlap(one, "", other, "", probe=False)
    assert not one.calls
    assert not other.calls
    assert overlap(one, "", other, "", probe=True)
    assert overlap(one, "a/", other, "", probe=True)
    assert overlap(one, "", other, "a/", probe=True)
    assert content == {"a/k": b"v"}
    assert not overlap(one, "", zarrv3.open_store(View(content), read_only=True), "", probe=False)


def test_a_probe_never_writes_to_what_is_read_only() -> None:
    """A destination that cannot be written or erased cannot destroy anything, and is left alone."""

    class Frozen(View):
        def __setitem__(self, key: str, value: bytes) -> None:
            raise AssertionError

    content = {"k": b"v"}
    below = zarrv3.open_store(Frozen(content), read_only=True)
    assert not overlap(zarrv3.KVStore(content), "", below.below("")[0], "", probe=False)
