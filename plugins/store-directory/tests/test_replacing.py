"""What lies in a folder takes its place: in one step, or by few renames where the system or the folder does not let it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from zarrv3.errors import StoreAccessError
from zarrv3_store_directory import DirectoryStore, replacing
from zarrv3_store_directory.folders import TEMPORARY


def filled(root: Path) -> DirectoryStore:
    """A store with a node, what is to take its place, and a neighbour."""
    store = DirectoryStore(root)
    store.write_many({"a/zarr.json": b"old", "a/c/0": b"old", "a/b/k": b"old", "n": b"n"})
    store.write_many({"a/__new/n/zarr.json": b"new", "a/__new/n/c/0": b"new", "a/__new/begun": b""})
    return store


def content(root: Path) -> dict[str, bytes]:
    """All files, temporary ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


NEW = {"a/zarr.json": b"new", "a/c/0": b"new", "n": b"n"}


def test_a_folder_is_exchanged_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no time is there anything but the old or the new, which whatever else renames cannot show."""
    seen = []
    exchange = replacing._exchange

    def watched(*names: object) -> None:
        seen.append((tmp_path / "a/zarr.json").read_bytes())
        exchange(*names)  # type: ignore[arg-type]
        seen.append((tmp_path / "a/zarr.json").read_bytes())

    monkeypatch.setattr(replacing, "_exchange", watched)
    filled(tmp_path).rename_prefix("a/__new/n/", "a/")
    assert seen == [b"old", b"new"]
    assert content(tmp_path) == NEW


def test_the_root_is_replaced_too(tmp_path: Path) -> None:
    """Nothing is left beside it."""
    filled(tmp_path / "x").rename_prefix("a/__new/n/", "")
    assert content(tmp_path) == {"x/zarr.json": b"new", "x/c/0": b"new"}


@pytest.mark.parametrize("target", ["a/", ""])
def test_a_system_that_cannot_exchange_renames_piece_by_piece(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document goes first and comes last, and nothing is left."""
    monkeypatch.setattr(replacing, "_system", lambda: None)
    moved: list[tuple[str, str]] = []
    move = replacing._move

    def watched(source: tuple[object, str], place: tuple[object, str]) -> None:
        moved.append((source[1], place[1]))
        move(source, place)  # type: ignore[arg-type]

    monkeypatch.setattr(replacing, "_move", watched)
    store = filled(tmp_path)
    store.write_many({"zarr.json": b"old"})
    store.rename_prefix("a/__new/n/", target)
    assert content(tmp_path) == (
        NEW | {"zarr.json": b"old"} if target else {"zarr.json": b"new", "c/0": b"new"}
    )
    documents = [pair for pair in moved if "zarr.json" in pair[0]]
    assert documents == [("zarr.json", f"{replacing.OLD}/zarr.json"), ("zarr.json", "zarr.json")]
    assert moved[-1] == documents[-1]
    assert not (tmp_path.parent / f"{TEMPORARY}{tmp_path.name}").exists()


def test_a_folder_keeps_its_permissions(tmp_path: Path) -> None:
    """A root that a group may write to stays so."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2770)
    inode = root.stat().st_ino
    store = filled(root)
    (root / "a/__new/n").chmod(0o755)
    store.rename_prefix("a/__new/n/", "")
    assert stat.S_IMODE(root.stat().st_mode) == 0o2770
    assert root.stat().st_ino == inode
    assert content(root) == {"zarr.json": b"new", "c/0": b"new"}


def test_where_this_process_is_stays_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is not exchanged for another one, in which it would then not be."""
    store = filled(tmp_path)
    monkeypatch.chdir(tmp_path)
    store.rename_prefix("a/__new/n/", "")
    assert sorted(os.listdir()) == ["c", "zarr.json"]  # noqa: PTH208 - where the process is


def test_a_root_behind_a_link_is_replaced_where_the_link_leads(tmp_path: Path) -> None:
    """The link stays."""
    filled(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    DirectoryStore(tmp_path / "link").rename_prefix("a/__new/n/", "")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"zarr.json": b"new", "c/0": b"new"}


def test_a_link_within_is_not_exchanged(tmp_path: Path) -> None:
    """A store that follows links replaces what a linked folder holds; one that does not, refuses."""
    filled(tmp_path / "real")
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a").symlink_to(tmp_path / "real/a")
    with pytest.raises(StoreAccessError, match="symbolic link"):
        DirectoryStore(tmp_path / "x").rename_prefix("a/__new/n/", "a/")
    DirectoryStore(tmp_path / "x", follow_symlinks=True).rename_prefix("a/__new/n/", "a/")
    assert (tmp_path / "x/a").is_symlink()
    assert content(tmp_path / "real") == NEW


@pytest.mark.parametrize("exchanges", [True, False])
def test_what_the_killed_left_goes_with_the_next_one(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never listed, and neither a writer nor whoever erases the folder above stumbles over it."""
    for left in (f"{TEMPORARY}a/zarr.json", f"a/{replacing.OLD}/c/0", f"a/{replacing.NEW}/zarr.json"):
        (tmp_path / "g" / left).parent.mkdir(parents=True)
        (tmp_path / "g" / left).write_bytes(b"half")
    store = DirectoryStore(tmp_path)
    store.write_many({"g/a/__new/zarr.json": b"new", "g/a": None})
    assert [*store.list_prefix("")] == ["g/a/__new/zarr.json"]
    if not exchanges:
        monkeypatch.setattr(replacing, "_system", lambda: None)
    store.rename_prefix("g/a/__new/", "g/a/")
    assert content(tmp_path) == {"g/a/zarr.json": b"new"}
    (tmp_path / "g" / f"{TEMPORARY}a").mkdir()
    (tmp_path / "g" / f"{TEMPORARY}a/zarr.json").write_bytes(b"half")
    store.write_many({"g/a/zarr.json": None})
    assert [*tmp_path.iterdir()] == []
