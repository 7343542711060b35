"""LMDB databases: what is wrong, full, read-only or cut short."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import zarrv3
from zarrv3.errors import ConfigurationError, ReadOnlyError, StoreAccessError
from zarrv3_store_lmdb import LMDBStore, environments, pages

posix = pytest.mark.skipif(sys.platform == "win32", reason="this system has no resource limits")

FULL = """
import os, sys
from zarrv3.errors import StoreAccessError
from zarrv3_store_lmdb import LMDBStore
folder, limit = sys.argv[1:]
if limit != "0":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
def refused(call):
    try:
        call()
    except StoreAccessError as error:
        print(error)
    else:
        sys.exit("nothing was refused")
store = LMDBStore(folder + "/data")
store["k"] = b"old" * 1000
large = os.urandom(3 << 20)
refused(lambda: store.write_many({"k": b"new", "large": large}))
def block():
    with store.transaction() as pending:
        pending["k"] = b"new"
        pending["large"] = large
refused(block)
refused(lambda: store.swap_many({"k": (b"old" * 1000, large)}))
assert (store["k"], store.list()) == (b"old" * 1000, ["k"])
store["k"] = b"smaller"
store.close()
again = LMDBStore(folder + "/data")
assert (again["k"], again.list()) == (b"smaller", ["k"])
if limit == "0":
    again.close()
    os.unlink(folder + "/data/lock.mdb")
    with open(folder + "/rest", "wb", buffering=0) as rest:
        try:
            while True:
                rest.write(bytes(4096))
        except OSError:
            pass
    refused(lambda: LMDBStore(folder + "/data")["k"])
    refused(lambda: LMDBStore(folder + "/other").write_many({"k": b"v"}))
    os.unlink(folder + "/rest")
    assert LMDBStore(folder + "/data")["k"] == b"smaller"
"""

NO_ADDRESSES = """
import resource, sys
from zarrv3.errors import StoreAccessError
from zarrv3_store_lmdb import LMDBStore
store = LMDBStore(sys.argv[1], map_size=1 << 20)
store["k"] = b"v"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))
try:
    store.write_many({str(n): bytes(4 << 20) for n in range(12)})
except StoreAccessError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert store.list() == ["k"] and store["k"] == b"v"
store["l"] = bytes(8 << 20)
assert len(store["l"]) == 8 << 20
"""


def run(code: str, *arguments: str) -> str:
    """What a new Python process that has to succeed prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[bool]:
    """A small file system of its own at a folder; false where this user may not make one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", "-l", str(folder)], check=True)


# ---------------------------------------------------------------- full


@posix
def test_a_full_disk(tmp_path: Path) -> None:
    """On a full disk writes are an error that says so, and the old values stay."""
    with mounted(tmp_path, "2m") as made:
        printed = run(FULL, str(tmp_path), "0" if made else str(2 << 20))
        assert "cannot write 'k' (or one of 1 more keys) in LMDBStore(" in printed
        assert "the disk is full or broken; nothing was changed" in printed


@posix
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """Likewise where a limit on the size of files is reached."""
    assert "nothing was changed" in run(FULL, str(tmp_path), str(2 << 20))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much address space is used")
def test_a_map_that_cannot_grow(tmp_path: Path) -> None:
    """Without address space for a larger map: an error that says so, and the store can be used afterwards."""
    assert "cannot grow from 1048576 to" in run(NO_ADDRESSES, str(tmp_path / "data"))


# ---------------------------------------------------------------- read-only


def check_read_only(path: Path) -> None:
    """A database that can only be read."""
    before = sorted(path.iterdir())
    with LMDBStore(path) as store:
        assert (store["k"], store.list(), store.capabilities.write) == (b"v", ["k"], False)
        with pytest.raises(ReadOnlyError, match="is read-only"):
            store["k"] = b"w"
        store.flush()
    with LMDBStore(path.parent / "none") as missing:
        assert missing.list() == []
        with pytest.raises(StoreAccessError, match=r"cannot write 'k' in LMDBStore\("):
            missing["k"] = b"w"
    assert sorted(path.iterdir()) == before


def test_read_only_media(tmp_path: Path) -> None:
    """A database on a file system that cannot be written opens for reading, with a lock file or without one."""
    for lock in (True, False):
        with mounted(tmp_path, "1m") as made:
            path = tmp_path / "data"
            LMDBStore(path).update({"k": b"v"})
            if not lock:
                (path / "lock.mdb").unlink()
            if made:
                subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
                check_read_only(path)
            elif os.getuid():  # root may write to anything
                for one in (*path.iterdir(), path, tmp_path):
                    one.chmod(0o555 if one.is_dir() else 0o444)
                try:
                    check_read_only(path)
                finally:
                    for one in (tmp_path, path, *path.iterdir()):
                        one.chmod(0o755)


def test_opened_read_only(tmp_path: Path) -> None:
    """With `readonly=True` every change is refused, and other stores of the process may write."""
    with LMDBStore(tmp_path / "data") as writer, LMDBStore(tmp_path / "data", readonly=True) as reader:
        assert reader.list() == []
        writer["k"] = b"v"
        assert (reader["k"], reader.is_writeable(), reader.is_erasable()) == (b"v", False, False)
        with pytest.raises(ReadOnlyError):
            reader.delitems(["k"])


# ---------------------------------------------------------------- not what it should be


def test_not_a_database(tmp_path: Path) -> None:
    """A file that is not a database is an error of ours when it is read or written, and stays as it is."""
    (tmp_path / "folder").mkdir()
    for name, content in (
        ("text", b"no database " * 1000),
        ("short", b"x"),
        ("folder/data.mdb", bytes(9000)),
    ):
        (tmp_path / name).write_bytes(content)
        with LMDBStore(tmp_path / name.removesuffix("/data.mdb")) as store:
            with pytest.raises(StoreAccessError, match=r"cannot read 'k' in LMDBStore\(.*not an LMDB file"):
                store.get("k")
            with pytest.raises(StoreAccessError, match="not an LMDB file"):
                store["k"] = b"v"
        assert (tmp_path / name).read_bytes() == content


def test_a_database_cut_short(tmp_path: Path) -> None:
    """A database whose end is missing, as after an interrupted copy, is an error, not a crash."""
    with LMDBStore(tmp_path / "data") as store:
        store.write_many({str(n): bytes(5000) for n in range(200)})
    os.truncate(tmp_path / "data" / "data.mdb", 20_000)
    with pytest.raises(StoreAccessError, match=r"is truncated, .* bytes are missing at its end"):
        LMDBStore(tmp_path / "data").get("1")


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        (10, 2, "another header"),
        (40, 0, "pages of 0 bytes"),
        (46, 40, "a root of depth 40"),
        (92, 4, "flags that are not a store's"),
        (128, 1 << 40, "a root of depth 1 at page 1099511627776"),
        (128, 4, "page 4 is not part of a tree"),
        (136, 1 << 60, "1152921504606846976 for its last page"),
    ],
)
def test_damaged_meta_pages(tmp_path: Path, place: int, value: int, fault: str) -> None:
    """What LMDB would believe, and die of, is an error that says what is wrong; nothing is changed."""
    path = tmp_path / "data.mdb"
    with LMDBStore(tmp_path) as store:
        store["k"] = bytes(9000)
        store["l"] = b"v"
    content = bytearray(path.read_bytes())
    size = 8 if place >= 128 else 4 if place == 40 else 2
    for start in (0, mmap.PAGESIZE):
        content[start + place : start + place + size] = value.to_bytes(size, sys.byteorder)
    path.write_bytes(content)
    with LMDBStore(tmp_path) as store:
        with pytest.raises(StoreAccessError, match=f"is damaged: .*{fault}.*; restore it from a copy"):
            store.get("k")
        with pytest.raises(StoreAccessError, match="is damaged"):
            store["k"] = b"v"
    assert path.read_bytes() == content


def test_damaged_pages_of_a_tree(tmp_path: Path) -> None:
    """A page of the trees that was cleared, moved or leads elsewhere, at which LMDB would end the process, is an error at the opening."""
    path = tmp_path / "data.mdb"
    with LMDBStore(tmp_path) as store:
        for part in range(10):
            store.write_many({f"{part}/{number:0100}": b"v" for number in range(40)})
    content = path.read_bytes()
    size = mmap.PAGESIZE
    found = {1: 0, 2: 0}  # branches and leaves, some of which are free
    for start in range(2 * size, len(content), size):
        page = content[start : start + size]
        flags = page[10] & 0xF
        if int.from_bytes(page[:8], sys.byteorder) * size != start or flags not in found:
            continue
        first = int.from_bytes(page[16:18], sys.byteorder)
        for changed in (
            bytes(size),
            (1).to_bytes(8, sys.byteorder) + page[8:],
            page[:16] + b"\xff\xff" + page[18:],
            page[:first] + b"\xff" * 4 + page[first + 4 :] if flags == 1 else b"",
        ):
            path.write_bytes(content[:start] + (changed or bytes(size)) + content[start + size :])
            found[flags] += pages.damage(str(path)) is not None
    assert found[1] >= 4
    assert found[2] >= 40
    path.write_bytes(content)
    assert pages.damage(str(path)) is None
    with LMDBStore(tmp_path) as store:
        assert len(store) == 400


@pytest.mark.parametrize("missing", [20_480, 100_000])
def test_a_database_that_lacks_its_last_value(tmp_path: Path, missing: int) -> None:
    """Also where so little is missing that it could be free pages: an error when the database is opened, not a signal."""
    with LMDBStore(tmp_path / "data") as store:
        store["first"] = b"v"
        store["last"] = bytes(200_000)
    os.truncate(tmp_path / "data" / "data.mdb", (tmp_path / "data" / "data.mdb").stat().st_size - missing)
    for readonly in (True, False):
        with pytest.raises(StoreAccessError, match=rf"is truncated, {missing} bytes are missing"):
            LMDBStore(tmp_path / "data", readonly=readonly).get("first")


def test_a_database_that_lacks_free_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages at the end that were never written since they are free may be missing; they are added when it is opened."""
    path = tmp_path / "data" / "data.mdb"
    with LMDBStore(tmp_path / "data") as store:
        store["first"] = b"v"
        store["last"] = bytes(200_000)
        full = path.stat().st_size
        del store["last"]
        for turn in range(4):
            store["first"] = b"%d" % turn
    os.truncate(path, path.stat().st_size - 40_960)  # what was there is free
    for readonly in (True, False):
        with LMDBStore(tmp_path / "data", readonly=readonly) as store:
            assert dict(store.items()) == {"first": b"3"}
    assert path.stat().st_size >= full
    monkeypatch.setattr(environments.Environment, "_is_damaged", None)  # nobody asks again
    with LMDBStore(tmp_path / "data") as store:
        store["last"] = bytes(300_000)
        assert store.stat_many(["first", "last"]) == [1, 300_000]


def test_a_folder_for_a_file_and_the_other_way_round(tmp_path: Path) -> None:
    """`subdir` that does not fit what is there, or a path below a file: errors that say what is there."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreAccessError, match="is a folder, not a database in a single file"):
        LMDBStore(tmp_path, subdir=False).get("k")
    with pytest.raises(StoreAccessError, match="is a file, not the folder of an LMDB database"):
        LMDBStore(tmp_path / "file", subdir=True).get("k")
    with pytest.raises(StoreAccessError, match="Not a directory"):
        LMDBStore(tmp_path / "file" / "data")["k"] = b"v"


def test_bad_options(tmp_path: Path) -> None:
    """Unknown options are errors that list the known ones; a URL needs a path and no host."""
    with pytest.raises(
        ConfigurationError,
        match=r"'lmdb' has no option 'compress'; its options are: .*max_spare_txns, .*others",
    ):
        LMDBStore(tmp_path, compress=True)
    with pytest.raises(
        ConfigurationError, match=r"no URL option 'compress'; its URL options are: .*map_size"
    ):
        zarrv3.open_store(f"lmdb://{tmp_path}?compress=1")
    with pytest.raises(ConfigurationError, match="three slashes"):
        zarrv3.open_store("lmdb://relative/path")
    with pytest.raises(ConfigurationError, match="map_size"):
        zarrv3.open_store(f"lmdb://{tmp_path}?map_size=much")


def test_lock_file_that_is_a_link(tmp_path: Path) -> None:
    """A link, symbolic or hard, that somebody put in the place of the lock file is refused: LMDB would overwrite what it leads to."""
    (tmp_path / "theirs").write_text("precious")
    with LMDBStore(tmp_path / "data") as store:
        store["k"] = b"v"
    lock = tmp_path / "data" / "lock.mdb"
    lock.unlink()
    lock.symlink_to(tmp_path / "theirs")
    with LMDBStore(tmp_path / "data") as store, pytest.raises(StoreAccessError, match="symbolic link"):
        store.get("k")
    lock.unlink()
    lock.hardlink_to(tmp_path / "theirs")
    with LMDBStore(tmp_path / "data") as store, pytest.raises(StoreAccessError, match="hard links"):
        store.get("k")
    assert (tmp_path / "theirs").read_text() == "precious"
