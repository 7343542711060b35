"""A folder takes another one's place while somebody is on the way to it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import StoreAccessError
from zarrv3.store.contract import whole
from zarrv3_store_directory import DirectoryStore, driver
from zarrv3_store_directory.driver import DirectoryDriver
from zarrv3_store_directory.folders import Folder, Walk
from zarrv3_store_directory.replacing import OLD


def filled(root: Path, *replacers: str) -> DirectoryStore:
    """A store with a node, and what some are about to put in its place."""
    store = DirectoryStore(root)
    store.write_many({"a/zarr.json": b"old", "a/c/0": b"old"})
    for name in replacers:
        store.write_many({f"a/__new-{name}/zarr.json": name.encode(), f"a/__new-{name}/c/0": name.encode()})
    return store


READS: list[Callable[[DirectoryStore], Any]] = [
    lambda store: [store.get_many(whole(["a/c/0"]))[0]],
    lambda store: [store.get_versioned(["a/c/0"])[0][0]],
    lambda store: ["there" if store.stat_many(["a/c/0"])[0] == len(b"new") else None],
]


@pytest.mark.parametrize("read", READS, ids=["get_many", "get_versioned", "stat_many"])
def test_who_is_in_the_old_folder_looks_again(
    read: Callable[[DirectoryStore], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that has opened the folder of a node, which is then replaced and cleared, misses nothing that both have."""
    store, another = filled(tmp_path, "new"), DirectoryStore(tmp_path)
    monkeypatch.setattr(driver, "file_kernel", lambda: None)
    folder, left = Walk.folder, ["new"]

    def watched(walk: Walk, path: str, **options: bool) -> Folder | None:
        found = folder(walk, path, **options)
        if path == "a/c/" and left:
            another.rename_prefix(f"a/__new-{left.pop()}/", "a/")
        return found

    monkeypatch.setattr(Walk, "folder", watched)
    assert read(store) in (["new"], [b"new"], ["there"])
    assert not left


LISTS: list[Callable[[DirectoryStore], list[Any]]] = [
    lambda store: [*store.list_prefix("")],
    lambda store: [*store.list_prefix("a/")],
    lambda store: [key for key, size in store.list_sizes("") if size == len(b"new")],
    lambda store: (
        [f"a/c/{name}" for name in store.listdir("a/c")] + [f"a/{n}" for n in store.listdir("a") if n != "c"]
    ),
    lambda store: [key for name in store.list_dir("") for key in store.list_prefix(name)],
]


@pytest.mark.parametrize("lists", LISTS, ids=["everything", "node", "sizes", "dirs", "mixed"])
@pytest.mark.parametrize("moment", ["a", "c", "entry"])
def test_who_lists_the_old_folder_looks_again(
    lists: Callable[[DirectoryStore], list[Any]],
    moment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listing in whose midst a node is replaced has each key that both nodes have, once."""
    store, another = DirectoryStore(tmp_path), DirectoryStore(tmp_path)
    keys = ["zarr.json", *(f"c/{number}" for number in range(2))]
    store.write_many({f"a/{key}": b"old" for key in keys} | {f"a/__new-new/{key}": b"new" for key in keys})
    scan, left = Folder.scan, ["new"]

    def replace() -> None:
        if left:
            another.rename_prefix(f"a/__new-{left.pop()}/", "a/")

    @contextmanager
    def watched(folder: Folder) -> Iterator[Iterator[Any]]:
        with scan(folder) as entries:
            name = Path(folder.path).name
            if name == moment:
                replace()
            yield _and_then(entries, replace if moment == "entry" and name in {"a", "c"} else lambda: None)

    monkeypatch.setattr(Folder, "scan", watched)
    found = [key for key in lists(store) if "__new" not in key]
    assert sorted(found) == sorted(f"a/{key}" for key in keys)
    assert not left


def _and_then(entries: Iterator[Any], action: Callable[[], None]) -> Iterator[Any]:
    """An action follows the first of some entries."""
    for entry in entries:
        yield entry
        action()


def test_a_folder_that_was_replaced_while_its_lock_was_awaited_is_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that replace a node at once the second replaces what the first put there, or has been replaced with the old one."""
    store, another = filled(tmp_path, "one", "two"), DirectoryStore(tmp_path)
    locked, left = DirectoryDriver._locked, ["one"]

    def watched(self: DirectoryDriver, *arguments: Any, **options: bool) -> AbstractContextManager[None]:
        if left:
            another.rename_prefix(f"a/__new-{left.pop()}/", "a/")
        return locked(self, *arguments, **options)

    monkeypatch.setattr(DirectoryDriver, "_locked", watched)
    store.rename_prefix("a/__new-two/", "a/")
    assert not left
    assert store.getitems(["a/zarr.json", "a/c/0"]) == {"a/zarr.json": b"one", "a/c/0": b"one"}
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "a/c/0",
        "a/zarr.json",
    ]


def test_missing_keys_may_be_as_long_as_keys_can_be(tmp_path: Path) -> None:
    """Their paths may be longer than the system takes at once."""
    store = DirectoryStore(tmp_path)
    folder = "/".join(["f" * 199] * 19) + "/"
    store.write_many({folder + "k": b"k"})
    missing = folder + "n" * 180
    assert len(str(tmp_path / missing)) > 4000 - 50
    assert store.get_many(whole([missing]))[0] is None
    assert store.get_versioned([missing])[0][0] is None
    assert store.stat_many([missing])[0] is None


def test_what_cannot_be_erased_afterwards_is_told_apart_from_what_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not erase the old chunks learns that the new node is there, and where the old ones are."""
    store = filled(tmp_path, "new")
    discard = DirectoryDriver._discard

    def watched(self: DirectoryDriver, walk: Walk, folder: Folder, name: str, *above: Any) -> bool:
        if name == OLD:
            raise PermissionError(errno.EACCES, "Permission denied")
        return discard(self, walk, folder, name, *above)

    monkeypatch.setattr(DirectoryDriver, "_discard", watched)
    with pytest.raises(StoreAccessError, match=rf"'a/' was replaced.*left in '{OLD}' within it"):
        store.rename_prefix("a/__new-new/", "a/")
    assert store["a/zarr.json"] == b"new"
    assert (tmp_path / "a" / OLD / "c/0").read_bytes() == b"old"
