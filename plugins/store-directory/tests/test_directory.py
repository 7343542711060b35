"""Folders and files: the conformance kit, and what is their own."""

import errno
import os
import shutil
import signal
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import InvalidKeyError, ReadOnlyError, StoreAccessError
from zarrv3.layers import ReadOnly
from zarrv3.options.settings import config
from zarrv3.store.helpers import digest
from zarrv3.testing import CHECKS, InterruptConformance, Opener, StoreConformance
from zarrv3.testing.interrupts import interrupted
from zarrv3.testing.processes import Child, dies, open_files
from zarrv3_store_directory import DirectoryStore
from zarrv3_store_directory.driver import TEMPORARY, DirectoryDriver
from zarrv3_store_directory.folders import MOST_DEEP, MOST_OPEN, Folder, Spelling, Walk

IS_ROOT = hasattr(os, "getuid") and os.getuid() == 0


class PortableStore(DirectoryStore):
    """A `DirectoryStore` as it is where the system has no folder descriptors."""

    kind = "portable"

    def connect(self) -> DirectoryDriver:
        """The driver by paths."""
        follow = self.given_options["follow_symlinks"]
        return DirectoryDriver(self.path, lower=False, fsync=False, follow_symlinks=follow, anchored=False)


class TestDirectoryStore(InterruptConformance, StoreConformance):
    """A `DirectoryStore` over folder descriptors."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(DirectoryStore, tmp_path / "new" / "data")


class TestDirectoryStoreInPython(InterruptConformance, StoreConformance):
    """A `DirectoryStore` without kernels, as it is where none are installed."""

    @pytest.fixture(autouse=True)
    def without_kernels(self) -> Iterator[None]:
        """Nothing is done in C."""
        with config.set(kernels="none"):
            yield

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(DirectoryStore, tmp_path / "new" / "data")


class TestPortableDirectoryStore(InterruptConformance, StoreConformance):
    """A `DirectoryStore` over paths."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(PortableStore, tmp_path / "new" / "data")


class TestDurableDirectoryStore(InterruptConformance, StoreConformance):
    """A `DirectoryStore` that waits for the disk."""

    examples = 5

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same folder, which does not exist at first."""
        return partial(DirectoryStore, tmp_path / "new" / "data", fsync=True)


@pytest.fixture(params=[DirectoryStore, PortableStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DirectoryStore:
    """A store of either kind in the folder `data`, which does not exist at first."""
    made: DirectoryStore = request.param(tmp_path / "data")
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of `store`."""
    return tmp_path / "data"


def files(root: Path) -> list[str]:
    """Everything below a folder, temporary files too."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# ---------------------------------------------------------------- files


def test_one_file_a_key(store: DirectoryStore, root: Path) -> None:
    """A key is the path of a file that holds exactly its value; sizes are those of the files."""
    store.update({"zarr.json": b"{}", "a/c/0/1": b"chunk"})
    assert (root / "a/c/0/1").read_bytes() == b"chunk"
    assert files(root) == ["a", "a/c", "a/c/0", "a/c/0/1", "zarr.json"]
    assert dict(store.list_sizes("")) == {"zarr.json": 2, "a/c/0/1": 5}


def test_nothing_is_created_by_reading(store: DirectoryStore, tmp_path: Path) -> None:
    """Opening, reading, listing, refused and failing calls on a missing root leave no trace (defect 19)."""
    assert store.get("k") is None
    assert (store.list(), [*store.list_dir("a/")], store.getsize(), store.listdir("x")) == ([], [], 0, [])
    store.write_many({"a/k": None})
    store.erase_prefix("a/")
    store.rename_prefix("a/", "b/c/")
    store.clear()
    if store.capabilities.swap:
        assert store.get_versioned(["a/k"]) == [(None, None)]
        assert [*store.swap_many({"a/k": ((1, 2, 3, 4), b"new"), "b": (None, None)})] == ["a/k"]
        assert [*store.swap_many({"a/k": ((1, 2, 3, 4), None)})] == ["a/k"]
    with pytest.raises(ReadOnlyError):
        ReadOnly(store)["k"] = b"v"
    store.flush()
    store.close()
    assert [*tmp_path.iterdir()] == []


def test_erasing_removes_empty_folders_but_not_the_root(store: DirectoryStore, root: Path) -> None:
    """Folders go with their last file, by `erase`, `erase_prefix` and `clear`; the root stays, also twice (defect 32)."""
    store.update({"a/b/c/k": b"", "a/b/l": b"", "x/y/z": b""})
    store.erase("a/b/c/k")
    assert files(root) == ["a", "a/b", "a/b/l", "x", "x/y", "x/y/z"]
    store.erase_prefix("x/y/")
    store.erase("a/b/l")
    assert files(root) == []
    store.clear()
    store.clear()
    assert root.is_dir()


def test_rename_is_one_step(store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renaming moves one folder, whatever it holds, and leaves no empty ones behind."""
    store.update({f"deep/old/c/{i}": b"%d" % i for i in range(20)})
    renames = []
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *a, **k: (renames.append(a), rename(*a, **k)))
    store.rename("deep/old", "new/place")
    assert len(renames) == 1
    assert sorted(store) == sorted(f"new/place/c/{i}" for i in range(20))
    assert not (root / "deep").exists()


def test_rename_across_file_systems_copies(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a folder cannot be renamed because the target lies on another file system, its values are copied."""
    store.update({"old/zarr.json": b"{}", "old/c/0": b"chunk"})

    def elsewhere(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", elsewhere)
    store.rename("old", "new")
    assert dict(store.items()) == {"new/zarr.json": b"{}", "new/c/0": b"chunk"}


def test_a_value_where_a_folder_is(store: DirectoryStore) -> None:
    """A key that is a folder already, or lies below a value, is refused; nothing is lost."""
    store["a/b"] = b"value"
    with pytest.raises(InvalidKeyError, match="is a folder"):
        store["a"] = b"x"
    with pytest.raises(InvalidKeyError, match="'a/b' holds a value"):
        store["a/b/c/d"] = b"x"
    assert store.get("a") is None
    assert store.get("a/b/c") is None
    assert store.list() == ["a/b"]
    assert store["a/b"] == b"value"


def test_only_files_are_values(store: DirectoryStore, root: Path) -> None:
    """A pipe is not a value: it is neither read (which would hang) nor listed."""
    store["f/k"] = b"v"
    os.mkfifo(root / "f" / "pipe")
    assert store.get("f/pipe") is None
    assert (store.list(), [*store.list_dir("f/")], dict(store.list_sizes(""))) == (
        ["f/k"],
        ["f/k"],
        {"f/k": 1},
    )
    assert "f/pipe" not in store


def test_names_are_bytes(store: DirectoryStore, root: Path) -> None:
    """One text, composed and decomposed, is two keys where the file system keeps them apart."""
    store.update({unicodedata.normalize(form, "é/ü"): form.encode() for form in ("NFC", "NFD")})
    assert dict(store.items()) == {
        unicodedata.normalize(form, "é/ü"): form.encode() for form in ("NFC", "NFD")
    }


# ---------------------------------------------------------------- options


def test_names_of_many_bytes(store: DirectoryStore) -> None:
    """A name that is as long as a file's may be is a key, in whatever letters."""
    for name in ("n" * 255, "€" * 85):
        store[f"a/{name}"] = b"v"
        assert store[f"a/{name}"] == b"v"


def test_folders_deeper_than_a_key(store: DirectoryStore, root: Path) -> None:
    """Keys may lie as deep as is allowed; what others made below that is not listed, and goes with the folder."""
    key = "d/" * MOST_DEEP + "k"
    store[key] = b"v"
    assert ([*store], store.getsize(), store[key]) == ([key], 1, b"v")
    folder = os.open(root, os.O_RDONLY)
    for _ in range(3000):  # longer than a path may be
        with suppress(FileExistsError):
            os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    store["e/k"] = b"w"
    try:
        assert (sorted(store), store.getsize()) == ([key, "e/k"], 2)
        store.rmdir("d")
        assert files(root) == ["e", "e/k"]
        assert open_files(root) == []
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)  # shutil's walk is as deep as Python's calls


def test_a_folder_that_is_mounted_within_itself(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Erasing is refused there, and does not wait for its own lock for ever."""
    store.update({"a/k": b"v", "a/b/k": b"w"})
    same = os.path.samestat
    there = (root / "a").stat()
    monkeypatch.setattr(Folder, "status", lambda _: there)
    monkeypatch.setattr(
        os.path, "samestat", lambda one, other: other is there or same(one, other)
    )  # mounting takes rights that tests may not have
    with pytest.raises(StoreAccessError, match="mounted there again"):
        store.erase_prefix("a/")
    monkeypatch.undo()
    assert store["a/b/k"] == b"w"


def test_normalize_keys(tmp_path: Path) -> None:
    """With `normalize_keys`, keys that differ in case are one key, also for erasing, listing and renaming (defect 6)."""
    store = DirectoryStore(tmp_path, normalize_keys=True)
    store["Foo/BAR"] = b"v"
    assert (store["FOO/bar"], "foo/Bar" in store, store.list()) == (b"v", True, ["foo/bar"])
    assert [*store.list_dir("FOO/")] in (["foo/bar"], ["FOO/bar"])
    store.rename("FOO", "New")
    assert store["NEW/Bar"] == b"v"
    store.rmdir("NEW")
    assert files(tmp_path) == []


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files and folders that have been synchronised."""
    paths: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    return paths


def test_fsync_of_writes(tmp_path: Path, synced: list[str]) -> None:
    """With `fsync` the file, the folders on its way and, once, those above the root are synchronised; without it nothing is."""
    root = tmp_path / "new" / "root"
    DirectoryStore(root)["a/k"] = b"v"
    assert synced == []
    store = DirectoryStore(root, fsync=True)
    store["a/k"] = b"v"
    on_the_way = [f"{root}/a/.zarrv3-k", str(root), f"{root}/a"]
    assert synced == [*on_the_way, *map(str, root.parents)]
    synced.clear()
    [(_, version)] = store.get_versioned(["a/k"])
    assert not store.swap_many({"a/k": (version, b"w")})
    assert synced == on_the_way
    shutil.rmtree(root)
    store["k"] = b"v"
    assert str(root.parent) in synced[3:]


def test_fsync_of_erasing(tmp_path: Path, synced: list[str]) -> None:
    """With `fsync` the lowest folders that are left are synchronised after erasing, and both sides after renaming."""
    store = DirectoryStore(tmp_path, fsync=True)
    keys = ["a/b/c/k", "a/d/k", "a/d/l", "e/f/k"]
    for erase, left in {
        lambda: store.write_many({"a/b/c/k": None, "a/d/k": None}): {"a", "a/d"},
        lambda: store.swap_many({"a/b/c/k": (store.get_versioned(["a/b/c/k"])[0][1], None)}): {"a"},
        lambda: store.erase_prefix("a/b/"): {"a"},
        lambda: store.erase_prefix("e/"): {""},
        lambda: store.rename_prefix("a/b/", "e/g/"): {"a", "e"},
        lambda: store.rename_prefix("e/f/", "a/g/"): {"", "a"},
    }.items():
        store.erase_prefix("")
        store.write_many(dict.fromkeys(keys, b"v"))
        synced.clear()
        erase()
        assert {str(tmp_path / folder) for folder in left} <= {*synced}


def test_the_path_may_be_relative_or_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path and `~` name the same data as the absolute path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    DirectoryStore("data")["k"] = b"v"
    assert DirectoryStore("~/data")["k"] == b"v"
    assert DirectoryStore("data") == DirectoryStore(tmp_path / "data") == DirectoryStore("~/data")
    assert DirectoryStore("data") != DirectoryStore("data", normalize_keys=True)


# ---------------------------------------------------------------- outside the root


def test_no_key_leaves_the_root(store: DirectoryStore, tmp_path: Path) -> None:
    """`..` is not a key (defect 20)."""
    for key in ("data/../../evil", "../evil", "..", "a/../../evil"):
        with pytest.raises(InvalidKeyError):
            store[key] = b"x"
        with pytest.raises(InvalidKeyError):
            store.get(key)
    assert not (tmp_path / "evil").exists()


@pytest.fixture
def linked(store: DirectoryStore, root: Path, tmp_path: Path) -> Path:
    """A folder outside that links in the store lead to."""
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "secret").write_bytes(b"secret")
    (outside / "sub" / "k").write_bytes(b"deep")
    store["k"] = b"v"
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "dangling").symlink_to(outside / "none")
    return outside


def test_links_are_not_followed(store: DirectoryStore, linked: Path) -> None:
    """Reading, listing and writing through a link is an error that says how to allow it; nothing outside changes."""
    calls = [
        lambda: store.get("file"),
        lambda: store.get("folder/secret"),
        lambda: store.get("folder/sub/k"),
        lambda: store.update({"folder/new": b"x"}),
        lambda: store.update({"folder/new/deep": b"x"}),
        store.list,
        lambda: store.stat_many(["file"]),
        lambda: [*store.list_dir("folder/")],
        lambda: store.write_many({"folder/secret": None}),
        lambda: store.erase_prefix("folder/sub/"),
        lambda: store.rename_prefix("folder/sub/", "mine/"),
    ]
    for call in calls:
        with pytest.raises(StoreAccessError, match="symbolic link; open the store with follow_symlinks=True"):
            call()
    assert files(linked) == ["secret", "sub", "sub/k"]
    assert store["k"] == b"v"


def test_links_are_replaced_and_erased_not_their_targets(
    store: DirectoryStore, linked: Path, root: Path
) -> None:
    """Writing over a link to a file replaces the link; erasing everything erases links only."""
    store["file"] = b"mine"
    assert (linked / "secret").read_bytes() == b"secret"
    assert store["file"] == b"mine"
    store.clear()
    assert files(root) == []
    assert files(linked) == ["secret", "sub", "sub/k"]


@pytest.mark.parametrize("kind", [DirectoryStore, PortableStore])
def test_links_are_followed_when_asked_to(kind: type[DirectoryStore], tmp_path: Path) -> None:
    """With `follow_symlinks`, links to files and folders read, list and write like what they lead to."""
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "k").write_bytes(b"value")
    (root / "file").symlink_to(outside / "k")
    (root / "folder").symlink_to(outside)
    (root / "dangling").symlink_to(outside / "none")
    store = kind(root, follow_symlinks=True)
    assert (store["file"], store["folder/k"], store.get("dangling")) == (b"value", b"value", None)
    assert sorted(store) == ["file", "folder/k"]
    assert dict(store.list_sizes("")) == {"file": 5, "folder/k": 5}
    store["folder/new"] = b"x"
    assert (outside / "new").read_bytes() == b"x"


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    """Links on the way to the root are the user's own and are followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    DirectoryStore(tmp_path / "link" / "deeper")["a/k"] = b"v"
    assert DirectoryStore(tmp_path / "real" / "deeper")["a/k"] == b"v"


# ---------------------------------------------------------------- temporary files


def test_fsync_of_folders_before_one_that_vanished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `fsync`, a folder that vanishes during a batch does not make the folders before it less durable."""
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(str(Path(f"/proc/self/fd/{fd}").readlink())))
    driver = DirectoryDriver(str(tmp_path), lower=False, fsync=True, follow_symlinks=False)
    replace, vanished = driver._replace, []

    def vanishing(walk: Walk, values: list[tuple[str, Any]], folder: Folder) -> None:
        if folder.path.endswith("b") and not vanished:
            vanished.append(folder)
            raise FileNotFoundError(folder.path)
        replace(walk, values, folder)

    monkeypatch.setattr(driver, "_replace", vanishing)
    driver.write_many({"a/k": b"1", "b/k": b"2"})
    assert vanished
    assert {str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path)} <= synced


def test_temporary_files_are_never_seen(store: DirectoryStore, root: Path) -> None:
    """What a writer at work or a killed one leaves is not listed, counted or readable (defect 22)."""
    store["a/k"] = b"v"
    (root / "a" / f"{TEMPORARY}k").write_bytes(b"half")
    (root / f"{TEMPORARY}other").write_bytes(b"half")
    assert (store.list(), [*store.list_dir("")], [*store.list_dir("a/")]) == (["a/k"], ["a/"], ["a/k"])
    assert dict(store.list_sizes("")) == {"a/k": 1}
    with pytest.raises(InvalidKeyError, match="reserved for temporary files"):
        store.get(f"a/{TEMPORARY}k")
    with pytest.raises(InvalidKeyError, match="reserved for temporary files"):
        [*store.list_dir(f"{TEMPORARY}x/")]


def _die_while_writing(store: DirectoryStore, key: str) -> None:
    real = os.replace
    os.replace = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    try:
        with config.set(kernels="none"):
            store[key] = b"never seen"
    finally:
        os.replace = real


@pytest.mark.parametrize("next_step", ["write", "write another", "erase", "erase folder", "clear"])
def test_what_a_killed_writer_leaves_is_reclaimed(root: Path, next_step: str) -> None:
    """A temporary file of a killed writer goes with the next write of its key or the erasure of its folder."""
    store = DirectoryStore(root)
    store["a/k"] = b"old"
    dies(_die_while_writing, store, "a/k", rule="")
    assert f"a/{TEMPORARY}k" in files(root)
    assert store["a/k"] == b"old"
    match next_step:
        case "write":
            store["a/k"] = b"new"
            assert files(root) == ["a", "a/k"]
        case "write another":
            store["a/l"] = b"other"
            assert sorted(store) == ["a/k", "a/l"]
        case "erase":
            store.erase("a/k")
            assert files(root) == []
        case "erase folder":
            store.erase_prefix("a/")
            assert files(root) == []
        case _:
            store.clear()
            assert files(root) == []


def test_a_killed_writer_hinders_nobody_without_locks(tmp_path: Path) -> None:
    """Where the dead cannot be told from the living their files stay, unseen, until the folder is erased."""
    store = PortableStore(tmp_path)
    store["a/k"] = b"old"
    dies(_die_while_writing, store, "a/k", rule="")
    store["a/k"] = b"new"
    assert sorted(store.items()) == [("a/k", b"new")]
    assert files(tmp_path) == ["a", f"a/{TEMPORARY}k", "a/k"]
    store.erase_prefix("a/")
    assert files(tmp_path) == []


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Somebody is writing the key `a/k`, which exists, until what this gives is called."""
    fcntl = pytest.importorskip("fcntl", reason="folders are not locked on this system")
    DirectoryStore(tmp_path)["a/k"] = b"old"
    folder = os.open(tmp_path / "a", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    (tmp_path / "a" / f"{TEMPORARY}k").write_bytes(b"half")
    yield partial(fcntl.flock, folder, fcntl.LOCK_UN)
    os.close(folder)


def test_a_living_writers_file_is_left_alone(tmp_path: Path, writing: Callable[[], None]) -> None:
    """While a writer is in a folder its temporary files stay: another write of the key makes one of its own."""
    store = DirectoryStore(tmp_path)
    store["a/k"] = b"new"
    assert files(tmp_path) == ["a", f"a/{TEMPORARY}k", "a/k"]
    store.erase("a/k")
    assert files(tmp_path) == ["a", f"a/{TEMPORARY}k"]
    writing()
    store["a/k"] = b"newer"
    assert files(tmp_path) == ["a", "a/k"]
    assert store["a/k"] == b"newer"


def test_erasing_a_folder_waits_for_its_writers(tmp_path: Path, writing: Callable[[], None]) -> None:
    """A temporary file of the living is not erased: its name could be taken by another one and be published half-written."""
    store = DirectoryStore(tmp_path)
    eraser = threading.Thread(target=store.erase_prefix, args=("a/",))
    eraser.start()
    eraser.join(0.2)
    assert eraser.is_alive()
    assert files(tmp_path) == ["a", f"a/{TEMPORARY}k", "a/k"]
    writing()
    eraser.join()
    assert files(tmp_path) == []


def test_documents_are_erased_first(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder that is erased the documents go first, from above: a node is never seen without its values."""
    names = ["zarr.json", "0", "1", "c/0", "g/zarr.json", "g/inner", "h/0/1"]
    store.update({f"a/{name}": b"" for name in names})
    erased: list[str] = []
    unlink = os.unlink

    def note(path: str, **kwargs: Any) -> None:
        unlink(path, **kwargs)
        erased.append(Path(path).name)

    monkeypatch.setattr(os, "unlink", note)
    store.erase_prefix("a/")
    assert len(erased) == len(names)
    assert erased[0] == "zarr.json"
    assert {*erased[1:3]} == {"0", "1"}
    assert erased.index("zarr.json", 1) < erased.index("inner")


def test_a_failed_write_leaves_nothing(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails the old value stays and the temporary file goes."""
    store["a/k"] = b"old"

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched, config.set(kernels="none"):
        patched.setattr(os, "replace", fail)
        with pytest.raises(StoreAccessError, match=r"cannot write 'a/k' in .*Input/output error"):
            store["a/k"] = b"new"
    assert store["a/k"] == b"old"
    assert files(root) == ["a", "a/k"]


# ---------------------------------------------------------------- interrupts and forks

OLD, NEW = b"old", b"new" * 100


def _swap(store: DirectoryStore) -> None:
    (_, first), (_, second) = store.get_versioned(["a/b/k", "c/k"])
    store.swap_many({"a/b/k": (first, NEW), "c/k": (second, None)})


CALLS: dict[str, Callable[[DirectoryStore], Any]] = {
    "read": lambda store: store.get_many([("a/b/k", None), ("c/k", None)]),
    "write": lambda store: store.write_many({"a/b/k": NEW, "a/b/l": NEW, "c/k": NEW}),
    "swap": _swap,
    "erase": lambda store: store.write_many({"a/b/k": None, "c/k": None}),
    "erase folder": lambda store: store.erase_prefix("a/"),
    "rename": lambda store: store.rename_prefix("a/", "d/"),
    "list": lambda store: [*store.list_prefix(""), *store.list_dir("a/b/"), *store.list_sizes("")],
}


@pytest.mark.filterwarnings(
    "ignore:unclosed scandir iterator:ResourceWarning"
)  # closed as it was interrupted
@pytest.mark.parametrize("kernels", ["native", "none"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupt_anywhere(step: int, call: str, kernels: str, tmp_path: Path) -> None:
    """Wherever Ctrl-C strikes, values are old or new, and no lock, open file or temporary file stays."""
    store = DirectoryStore(tmp_path)
    with config.set(kernels=kernels):
        for point in count(1, step):
            store.write_many({"a/b/k": OLD, "a/b/l": OLD, "c/k": OLD, "d/b/k": None, "d/b/l": None})
            ended = interrupted(partial(CALLS[call], store), point) is None
            assert open_files(tmp_path) == []
            assert not [name for name in files(tmp_path) if TEMPORARY in name]
            assert {*store.values()} <= {OLD, NEW}
            for folder in (path for path in [tmp_path, *tmp_path.rglob("*")] if path.is_dir()):
                with lock_of(folder):
                    pass
            if ended:
                break


@contextmanager
def lock_of(folder: Path) -> Iterator[None]:
    """The lock of a folder, which nobody else may have."""
    fcntl = pytest.importorskip("fcntl", reason="folders are not locked on this system")
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


@pytest.mark.parametrize("call", ["write", "swap", "erase folder"])
def test_a_child_leaves_locks_to_its_parent(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child forked while another thread has a folder locked does not have it, nor files open there; the call goes on in peace."""
    store = DirectoryStore(tmp_path)
    store.write_many({"a/b/k": OLD, "a/b/l": OLD, "c/k": OLD})
    unlink, replace, held, free = os.unlink, os.replace, threading.Event(), threading.Event()

    def wait(really: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        held.set()
        assert free.wait(60)
        really(*args, **kwargs)

    monkeypatch.setattr(os, "unlink", partial(wait, unlink))
    monkeypatch.setattr(os, "replace", partial(wait, replace))
    with config.set(kernels="none"), ThreadPoolExecutor(1) as pool:
        working = pool.submit(CALLS[call], store)
        assert held.wait(60)
        child = Child(open_files, tmp_path)
        try:
            assert child.result() == []
        finally:
            child.kill()
            free.set()
        working.result(60)
    assert {*store.values()} <= {OLD, NEW}


@pytest.mark.parametrize("fault", [errno.ENOLCK, errno.ENOSYS])
def test_folders_that_cannot_be_locked(fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system locks no folders, as some networks' do, a store does not claim to swap, and writes all the same."""

    def refuse(*_: Any) -> None:
        raise OSError(fault, os.strerror(fault))

    fcntl = pytest.importorskip("fcntl", reason="folders are not locked on this system")
    monkeypatch.setattr(fcntl, "flock", refuse)
    store = DirectoryStore(tmp_path / "to" / "be" / "made")
    assert not store.capabilities.swap
    store.update({"a/k": b"1", "a/l": b"2"})
    store.erase_prefix("a/")
    store["a/k"] = b"3"
    assert dict(store.items()) == {"a/k": b"3"}
    assert files(tmp_path / "to" / "be" / "made") == ["a", "a/k"]


def test_listing_reads_as_far_as_it_is_asked(tmp_path: Path) -> None:
    """`list_dir` reads a folder as its names are asked for, and closes it when nobody asks for more."""
    store = DirectoryStore(tmp_path)
    store.update({f"{number}": b"" for number in range(5)})
    before = open_files(tmp_path)
    names = store.list_dir("")
    first = next(names)
    assert open_files(tmp_path) != before
    (tmp_path / "new").write_bytes(b"")
    del names
    assert open_files(tmp_path) == []
    assert first in store


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", [DirectoryStore, PortableStore])
def test_a_file_as_root(kind: type[DirectoryStore], tmp_path: Path) -> None:
    """Where the root or its parent is a file, every call says so and names what to do."""
    (tmp_path / "file").write_bytes(b"PK")
    store = kind(tmp_path / "file")
    for call in (
        lambda: store.get("k"),
        lambda: store.update({"a/k": b""}),
        store.list,
        lambda: [*store.list_dir("")],
    ):
        with pytest.raises(StoreAccessError, match=r"is a file, not a folder; open an archive as .*zip:"):
            call()
    with pytest.raises(StoreAccessError, match="cannot write 'k'"):
        kind(tmp_path / "file" / "below")["k"] = b"v"
    assert (tmp_path / "file").read_bytes() == b"PK"


def test_failures_are_not_missing_keys(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read is an error that names the key, never a missing value (defect 12)."""
    store["f/k"] = b"v"
    really = os.open

    def refuse(path: str, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("k"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return really(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with config.set(kernels="none"):
        with pytest.raises(StoreAccessError, match=r"cannot read 'f/k' in .*Permission denied"):
            store.get("f/k")
        with pytest.raises(StoreAccessError, match="Permission denied"):
            store.set_partial_values([("f/k", 0, b"x")])


def _as_nobody(path: str) -> dict[str, str]:
    os.setgid(65534)
    os.setuid(65534)
    store = DirectoryStore(path)
    calls = {
        "read": lambda: store.get("closed/k"),
        "write": lambda: store.update({"k": b"x"}),
        "write a new folder": lambda: store.update({"new/k": b"x"}),
        "erase": lambda: store.write_many({"k": None}),
        "list": store.list,
        "list_dir": lambda: [*store.list_dir("closed/")],
    }
    found = {}
    for name, call in calls.items():
        try:
            found[name] = f"no error: {call()!r}"
        except StoreAccessError as error:
            found[name] = str(error)
    return found


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_permission_errors(tmp_path: Path) -> None:
    """For a user without permission every call fails with our error and the key; nothing reads as missing."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        store = DirectoryStore(name)
        store.update({"k": b"v", "closed/k": b"secret"})
        Path(name).chmod(0o755)
        Path(name, "closed").chmod(0o700)
        child = Child(_as_nobody, name)
        try:
            found = child.result()
        finally:
            child.kill()
        for call, text in found.items():
            assert "Permission denied" in text, f"{call}: {text}"
            assert text.startswith("cannot ")
        assert "'closed/k'" in found["read"]
        assert dict(store.items()) == {"k": b"v", "closed/k": b"secret"}


@pytest.mark.parametrize("kernels", ["native", "none"])
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_replaced_value_keeps_its_permissions(
    store: DirectoryStore, root: Path, kernels: str, mode: int
) -> None:
    """What was made private, or shared with a group, stays so whichever way it is written; a new file has the usual ones."""
    store.update({"k": b"old", "other": b"old"})
    usual = (root / "k").stat().st_mode
    (root / "k").chmod(mode)
    with config.set(kernels=kernels):
        store.write_many({"k": b"new", "new": b"new"})
        assert (root / "k").stat().st_mode & 0o777 == mode
        if store.capabilities.swap:
            assert not store.swap_many({"k": (store.get_versioned(["k"])[0][1], b"newer")})
    assert (root / "k").stat().st_mode & 0o777 == mode
    assert (root / "new").stat().st_mode == (root / "other").stat().st_mode == usual
    assert dict(store.items()) == {
        "k": b"newer" if store.capabilities.swap else b"new",
        "new": b"new",
        "other": b"old",
    }


def _replaces_as_a_stranger(root: str) -> dict[str, int]:
    os.umask(0)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    for kernels in ("native", "none"):
        with config.set(kernels=kernels):
            DirectoryStore(root)[kernels] = b"new"
    return {name: Path(root, name).stat().st_mode & 0o777 for name in ("native", "none")}


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_a_replaced_value_keeps_its_owner_where_that_may_be(tmp_path: Path) -> None:
    """Root leaves a file to its owner and group; a user who may not gives his own group no more than everybody had."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        store = DirectoryStore(name)
        for kernels in ("native", "none"):
            store[kernels] = b"old"
            os.chown(Path(name, kernels), 12345, 23456)
            Path(name, kernels).chmod(0o664)
            with config.set(kernels=kernels):
                store[kernels] = b"new"
            there = Path(name, kernels).stat()
            assert (there.st_uid, there.st_gid, there.st_mode & 0o777) == (12345, 23456, 0o664)
        Path(name).chmod(0o777)
        child = Child(_replaces_as_a_stranger, name)
        try:
            assert child.result() == {"native": 0o644, "none": 0o644}
        finally:
            child.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("cannot mount a small disk here; see test_too_large_a_file")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kind", [DirectoryStore, PortableStore])
def test_a_full_disk(kind: type[DirectoryStore], small_disk: Path) -> None:
    """On a full disk the old value stays, the error names the key, and what is erased makes room again."""
    store = kind(small_disk / "data")
    store.update({"a/k": b"old", "a/big": bytes(600_000)})
    with pytest.raises(StoreAccessError, match=r"cannot write 'a/k' in .*No space left"):
        store["a/k"] = bytes(600_000)
    assert store["a/k"] == b"old"
    assert files(small_disk / "data") == ["a", "a/big", "a/k"]
    store.erase("a/big")
    store["a/k"] = bytes(600_000)
    assert len(store["a/k"]) == 600_000


def _write_too_much(path: str) -> tuple[str, bytes]:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    store = DirectoryStore(path)
    try:
        store["a/k"] = bytes(5000)
    except StoreAccessError as error:
        return str(error), store["a/k"]
    return "no error", b""


def test_too_large_a_file(tmp_path: Path) -> None:
    """A value that the system does not let grow fails half-way: the old one stays and nothing is left behind."""
    DirectoryStore(tmp_path)["a/k"] = b"old"
    pytest.importorskip("resource", reason="this system has no resource limits")
    child = Child(_write_too_much, str(tmp_path))
    try:
        text, value = child.result()
    finally:
        child.kill()
    assert text.startswith("cannot write 'a/k' in DirectoryStore(")
    assert value == b"old"
    assert files(tmp_path) == ["a", "a/k"]


def test_a_file_that_shrinks_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that something else shortens while it is read is an error, not a short value."""
    store = DirectoryStore(tmp_path)
    store["k"] = b"12345678"
    monkeypatch.setattr(os, "read", lambda fd, length: b"")
    with (
        config.set(kernels="none"),
        pytest.raises(StoreAccessError, match="became shorter while it was read"),
    ):
        store.get("k")


# ---------------------------------------------------------------- file systems that change names


class FakeFolder:
    """A folder of a file system that ignores case and composes letters."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def stat(self, name: str) -> os.stat_result | None:
        """The file under any spelling of its name."""
        for number, own in enumerate(self.names):
            if _same_name(own, name):
                return os.stat_result((0o100644, number + 1, 1, 1, 0, 0, 0, 0, 0, 0))
        return None

    def scan(self) -> AbstractContextManager[list[Any]]:
        """The files under their own names."""
        return nullcontext([type("Entry", (), {"name": name}) for name in self.names])


def _same_name(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()


def test_spelling_is_exact_or_not() -> None:
    """A name is the file's own, or only leads to it because the file system ignores case or composition."""
    folder: Any = FakeFolder("foo", "Bar", unicodedata.normalize("NFC", "é"))
    spelling = Spelling()
    exact = {name: spelling.is_exact(folder, name) for name in ("foo", "FOO", "Foo", "Bar", "bar", "none")}
    assert exact == {"foo": True, "FOO": False, "Foo": False, "Bar": True, "bar": False, "none": True}
    assert Spelling().is_exact(folder, unicodedata.normalize("NFC", "é"))
    assert not Spelling().is_exact(folder, unicodedata.normalize("NFD", "é"))


@pytest.fixture
def ignoring_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths below a portable store lead to existing files whatever their case and composition."""
    plain = Folder.at

    def at(self: Folder, name: str) -> str:
        with os.scandir(self.path) as entries:
            return plain(self, next((entry.name for entry in entries if _same_name(entry.name, name)), name))

    monkeypatch.setattr(Folder, "at", at)


def test_a_file_system_that_ignores_case(ignoring_case: None, tmp_path: Path) -> None:
    """`Foo` beside `foo` is refused, reads as missing and is not erased: never is one taken for the other."""
    next(check for check in CHECKS if check.name == "case_matters").run(
        partial(PortableStore, tmp_path / "data")
    )
    store = PortableStore(tmp_path / "other")
    store.update({"foo": b"v", "dir/x": b"w"})
    for key in ("FOO", "Dir/x", "dir/X"):
        assert store.get(key) is None
        assert key not in store
        store.write_many({key: None})
        with pytest.raises(InvalidKeyError, match="file system ignores case or normalises"):
            store[key] = b"other"
    store.erase_prefix("DIR/")
    assert dict(store.items()) == {"foo": b"v", "dir/x": b"w"}
    store["foo"] = b"again"
    assert store["foo"] == b"again"


def _mounted(name: str, image: Path, place: Path) -> bool:
    """Make and mount a file system that ignores case; `False` where that is not possible."""
    commands = {
        "exfat": [["mkfs.exfat", str(image)], ["mount.exfat-fuse", "LOOP", str(place)]],
        "ntfs": [
            ["mkfs.ntfs", "-qF", str(image)],
            ["lowntfs-3g", "-o", "ignore_case", str(image), str(place)],
        ],
    }[name]
    if not IS_ROOT or not all(shutil.which(command) for command, *_ in [*commands, ["losetup"]]):
        return False
    with image.open("wb") as file:
        file.truncate(16 << 20)
    run = partial(subprocess.run, capture_output=True, check=False, text=True, timeout=60)
    done = run(commands[0])
    loop = ""
    if not done.returncode and "LOOP" in commands[1]:
        done = run(["losetup", "--find", "--show", str(image)])
        loop = done.stdout.strip()
    if not done.returncode:
        done = run([loop if part == "LOOP" else part for part in commands[1]])
    if loop:
        run(["losetup", "--detach", loop])  # when it is unmounted
    return not done.returncode and os.path.ismount(place)


@pytest.fixture(params=["exfat", "ntfs"])
def ignoring_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A disk that ignores case, which exFAT keeps and this driver of NTFS turns into lower case."""
    place = tmp_path / "disk"
    place.mkdir()
    if not _mounted(request.param, tmp_path / "image", place):
        pytest.skip(f"cannot mount {request.param} here (root, losetup, exfat-fuse, exfatprogs, ntfs-3g)")
    yield request.param, place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kernels", ["native", "none"])
def test_a_disk_that_ignores_case(ignoring_disk: tuple[str, Path], kernels: str) -> None:
    """Of keys that lead to one file the first is written; the others are refused, read as missing, and erase nothing."""
    kind, root = ignoring_disk
    with config.set(kernels=kernels):
        pairs = [("a", "A"), ("é", "É"), ("d/1", "D/1"), ("d/1", "D/2"), ("ab", "aB")]
        for number, (one, other) in enumerate(pairs):
            store = DirectoryStore(root / f"batch {number}")
            with pytest.raises(InvalidKeyError, match="ignores case"):
                store.write_many({other: b"other", one: b"one"})
            for key in store.list():
                assert store[key] == (b"one" if key == one else b"other")
            store = DirectoryStore(root / f"one by one {number}")
            store[one] = b"one"
            with pytest.raises(InvalidKeyError, match="ignores case"):
                store[other] = b"other"
            with pytest.raises(InvalidKeyError, match="ignores case"):
                store.swap_many({other: (None, b"other")})
            store.write_many({other: None})
            store.erase_prefix("D/")
            assert (store.get(other), [*store.list_prefix("D/")]) == (None, [])
            assert dict(store.items()) == {one: b"one"}
        store = DirectoryStore(root / "alone")
        if kind == "exfat":
            store["Foo/Bar"] = b"kept"
            assert dict(store.items()) == {"Foo/Bar": b"kept"}
        else:
            for key in ("Foo", "Foo/bar"):
                with pytest.raises(InvalidKeyError, match="ignores case"):
                    store[key] = b"lost"
            store["f/k"] = b"v"
            with pytest.raises(InvalidKeyError, match="ignores case"):
                store.rename_prefix("f/", "G/")
            assert dict(store.items()) == {"f/k": b"v"}


def _write_each(root: str, letter: str) -> list[int]:
    written = []
    for number in range(60):
        with suppress(InvalidKeyError):
            DirectoryStore(root)[f"{number}{letter}"] = letter.encode()
            written.append(number)
    return written


def test_writers_on_a_disk_that_ignores_case(ignoring_disk: tuple[str, Path]) -> None:
    """Of two processes that write `a` and `A` at once, one is refused, and what the other one wrote is there."""
    _, root = ignoring_disk
    children = {letter: Child(_write_each, str(root / "data"), letter) for letter in "aA"}
    try:
        written = {letter: child.result() for letter, child in children.items()}
    finally:
        for child in children.values():
            child.kill()
    assert {*written["a"]}.isdisjoint(written["A"])
    kept = {f"{number}{letter}": letter.encode() for letter in "aA" for number in written[letter]}
    assert dict(DirectoryStore(root / "data").items()) == kept


def test_keys_are_told_apart_in_each_mode(store: DirectoryStore) -> None:
    """On a file system that keeps names, `foo`, `Foo` and `FOO` are three keys."""
    store.update({"foo": b"1", "Foo": b"2", "FOO": b"3"})
    assert dict(store.items()) == {"foo": b"1", "Foo": b"2", "FOO": b"3"}


@pytest.mark.parametrize("kernels", ["native", "none"])
def test_more_folders_than_descriptors(kernels: str, tmp_path: Path) -> None:
    """One call may touch more folders than a process may have files open."""
    store = DirectoryStore(tmp_path / "d", fsync=True)
    keys = [f"n{number}/below/k" for number in range(300)]
    resource = pytest.importorskip("resource", reason="this system has no resource limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open(tmp_path, os.O_RDONLY)  # the lowest number that is free
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 2 * MOST_OPEN, hard))
    try:
        with config.set(kernels=kernels):
            store.write_many(dict.fromkeys(keys, b"v"))
            assert store.get_many([(key, None) for key in keys]) == [b"v"] * len(keys)
            store.write_many(dict.fromkeys(keys))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [*store.list_dir("")] == []


@pytest.mark.parametrize("native", [True, False])
def test_a_version_never_comes_back(tmp_path: Path, native: bool) -> None:
    """A file that is replaced, even by equal bytes in the same instant and under a number used before, has another version."""
    with config.set(kernels="native" if native else "none"):
        store = DirectoryStore(tmp_path)
        versions = []
        for turn in range(300):
            store["k"] = b"%d" % (turn % 2)
            versions.append(store.get_versioned(["k"])[0][1])
        assert len({*versions}) == len(versions)
        assert [*store.swap_many({"k": (versions[-3], b"new")})] == ["k"]
        assert not store.swap_many({"k": (versions[-1], b"new")})
    assert store["k"] == b"new"


exact = os.utime


def test_coarse_times_are_made_up_for_by_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system keeps times less exactly than to the nanosecond, the digest of the value is in its version."""
    monkeypatch.setattr(
        "zarrv3_store_directory.driver.os.utime", lambda fd, ns: exact(fd, ns=(10**18, 10**18))
    )
    with config.set(kernels="none"):
        store = DirectoryStore(tmp_path)
        store["k"] = b"1"
        [(_, version)] = store.get_versioned(["k"])
        assert isinstance(version, tuple)
        assert version[-1] == digest(b"1")
        assert not store.swap_many({"k": (version, b"2")})
        assert [*store.swap_many({"k": (version, b"3")})] == ["k"]
    assert store["k"] == b"2"


def test_a_swap_sees_plain_writes(tmp_path: Path) -> None:
    """Of values written at once by threads that write plainly and threads that swap, none is lost behind a swap's back."""
    store = DirectoryStore(tmp_path)
    store["k"] = b"0:0"
    plain: list[int] = []

    def write() -> None:
        for number in range(1, 200):
            plain.append(number)
            store["k"] = b"%d:0" % number

    def swap() -> None:
        for _ in range(200):
            while True:
                [(value, version)] = store.get_versioned(["k"])
                assert value is not None
                first, second = bytes(value).split(b":")
                if not store.swap_many({"k": (version, first + b":%d" % (int(second) + 1))}):
                    break

    threads = [threading.Thread(target=write), *(threading.Thread(target=swap) for _ in range(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store["k"].split(b":")[0] == b"%d" % plain[-1]
