"""Flushing: what others see, what is copied, several writers, forks, stores that are never closed."""

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from zip_archives import content, fill

import zarrv3
from zarrv3.errors import StoreAccessError, StoreUnavailableError
from zarrv3.testing.processes import together
from zarrv3_store_zip import ZipStore, archive, entries
from zarrv3_store_zip.spool import File

# ---------------------------------------------------------------- what a flush does


def test_stores_of_a_process_share_unflushed_changes(path: Path) -> None:
    """All stores of a process over one archive see changes at once, whatever their mode, link or spelling; files do not."""
    fill(path, k=b"old")
    link = path.with_name("link.zip")
    link.symlink_to(path)
    one, two, reader = ZipStore(path), zarrv3.open_store(f"{link}|zip:"), ZipStore(path, mode="r")
    one["k"] = b"new"
    two["l"] = b"more"
    assert [reader.getitems(["k", "l"]), one["l"], two["k"]] == [{"k": b"new", "l": b"more"}, b"more", b"new"]
    assert content(path) == {"k": b"old"}
    two.close()
    assert content(path) == {"k": b"new", "l": b"more"}
    assert link.is_symlink()
    one["k"] = b"newer"
    one.close()
    assert reader["k"] == b"newer"


def test_a_flush_replaces_the_archive(path: Path) -> None:
    """Who has the old archive open reads it on; permissions and the comment stay; a flush of nothing does nothing."""
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("k", b"old")
        opened.comment = b"made by hand"
    path.chmod(0o640)
    with zipfile.ZipFile(path) as reader:
        with ZipStore(path) as store:
            store["l"] = b"new"
            (waiting,) = path.parent.glob(f".{path.name}.zarrv3-*")
            assert waiting.stat().st_mode & 0o777 == 0o640
        assert reader.read("k") == b"old"
    assert path.stat().st_mode & 0o777 == 0o640
    with zipfile.ZipFile(path) as reader:
        assert (reader.comment, sorted(reader.namelist())) == (b"made by hand", ["k", "l"])
    before = path.stat().st_ino
    with ZipStore(path) as store:
        assert store["k"] == b"old"
        store.delitems(["none"])
        store.flush()
    assert path.stat().st_ino == before


def test_a_new_archive_is_written_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of a new archive are not copied by the flush, of an old one they are, in as many pieces as there are gaps."""
    copied: list[int] = []
    copy = File.copy
    monkeypatch.setattr(File, "copy", lambda *args: copied.append(args[2]) or copy(*args))
    with ZipStore(path) as store:
        store.update({f"a/{i}": bytes(100) for i in range(20)})
    assert copied == []
    size = path.stat().st_size
    with ZipStore(path) as store:
        store["b"] = bytes(100)
    assert len(copied) == 2
    assert copied[0] < size
    copied.clear()
    with ZipStore(path) as store:
        store.delitems(["a/7"])
    assert len(copied) == 2


@pytest.mark.parametrize("method", [8, 12, 14])
def test_a_flush_does_not_compress_again(path: Path, method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed members are copied as they are, also when they are renamed."""
    with ZipStore(path, method) as store:
        store.update({"a/1": b"one" * 1000, "a/2": b"two" * 1000})
    monkeypatch.setattr(entries, "decode", None)
    with ZipStore(path) as store:
        store.rename("a", "b")
        store["k"] = b"v"
    assert content(path) == {"b/1": b"one" * 1000, "b/2": b"two" * 1000, "k": b"v"}
    with zipfile.ZipFile(path) as opened:
        assert {info.compress_type for info in opened.infolist()} == {0, method}


def test_copying_without_help_of_the_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot copy from file to file, or not between these, it is done piece by piece."""
    from zarrv3_store_zip import spool

    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(spool, "_PIECE", 64)
    for number, replacement in enumerate([refuse, None, lambda *_: 0]):
        monkeypatch.setattr(spool, "_copy_range", replacement)
        fill(path, **{f"k{number}": bytes([number]) * 1000})
    assert content(path) == {f"k{number}": bytes([number]) * 1000 for number in range(3)}


def test_renaming_twice_before_a_flush(path: Path) -> None:
    """Unflushed and flushed values may be renamed, replaced and erased in any order; the archive has what is left."""
    fill(path, **{"a/1": b"one", "a/2": b"two"})
    with ZipStore(path) as store:
        store["a/3"] = b"three"
        store.rename("a", "b")
        store.rename("b", "c")
        store.update({"c/1": b"ONE", "a/1": b"new"})
        store.delitems(["c/2"])
    assert content(path) == {"c/1": b"ONE", "c/3": b"three", "a/1": b"new"}
    assert path.stat().st_size < 350


def test_the_spool_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced again and again before a flush occupies the disk about twice at most."""
    monkeypatch.setattr(archive, "SLACK", 10_000)
    store = ZipStore(path)
    for number in range(100):
        store.update({"a": bytes([number]) * 5000, f"b/{number % 3}": b"x"})
        assert sum(file.stat().st_size for file in path.parent.iterdir()) < 40_000
    store.close()
    assert content(path) == {"a": b"\x63" * 5000, **{f"b/{number}": b"x" for number in range(3)}}


def test_fsync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush waits for the disk, file before rename and the folders above it afterwards, unless told otherwise."""
    synced: list[tuple[Path, bool]] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append((Path(f"/proc/self/fd/{fd}").readlink(), path.exists()))
    )
    with ZipStore(path) as store:
        store["k"] = b"v"
        store.flush()
        assert [there for _, there in synced] == [False, *[True] * len(path.parents)]
        assert [folder for folder, _ in synced[1:]] == [*path.parents]
        synced.clear()
        del store["k"]
    assert path.parent in dict(synced[1:])
    synced.clear()
    fill(path, l=b"w")
    assert synced == []


def test_a_file_changed_by_others_is_left_alone(path: Path) -> None:
    """What another program did to the archive since is not overwritten; moved away, the flush succeeds."""
    fill(path, k=b"old")
    store = ZipStore(path)
    store["l"] = b"mine"
    path.unlink()
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("theirs", b"theirs")
    with pytest.raises(StoreAccessError, match="changed by another program"):
        store.flush()
    assert content(path) == {"theirs": b"theirs"}
    path.unlink()
    store.close()
    assert content(path) == {"k": b"old", "l": b"mine"}


# ---------------------------------------------------------------- several processes


def _try_to_write(path: Path, number: int) -> str:
    store = ZipStore(path)
    seen = store.get("k", b"").decode()
    try:
        store[f"child/{number}"] = b"c"
    except StoreUnavailableError as error:
        store.close()
        return f"{seen} {error}"
    store.close()
    return f"{seen} written"


def test_one_writer_at_a_time(path: Path) -> None:
    """While one process has unflushed changes another one reads the old archive and is refused to write; then it may."""
    fill(path, k=b"old")
    store = ZipStore(path)
    store["k"] = b"new"
    (found,) = together(_try_to_write_in, str(path), 1)
    assert found.startswith("old another process has unflushed changes")
    store.flush()
    assert together(_try_to_write_in, str(path), 1) == ["new written"]
    assert store["child/0"] == b"c"
    assert store.swap_many({"k": (store.get_versioned(["k"])[0][1], b"newer")}) == []
    store.close()
    assert content(path) == {"k": b"newer", "child/0": b"c"}


def _try_to_write_in(path: str, number: int) -> str:
    return _try_to_write(Path(path), number)


def _write_in_turns(path: str, number: int) -> int:
    done = 0
    with ZipStore(path, fsync=False) as store:
        while done < 20:
            try:
                ((old, version),) = store.get_versioned(["n"])
                if not store.swap_many({"n": (version, b"%d" % (int(old or b"0") + 1))}):
                    store.flush()
                    done += 1
            except StoreUnavailableError:
                time.sleep(0.001)
    return done


def test_processes_that_take_turns(path: Path) -> None:
    """Processes that repeat what was refused lose no update: comparing is atomic against all of them."""
    together(_write_in_turns, str(path), 3)
    assert content(path) == {"n": b"60"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_leaves_changes_to_its_parent(path: Path) -> None:
    """A child sees the flushed archive, does not write what its parent has not flushed, and does not keep the lock."""
    fill(path, k=b"old")
    store = ZipStore(path)
    store["k"] = b"new"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        seen = store.get("k")
        store.close()
        del store
        gc.collect()
        os.write(writing, seen or b"")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reading, 10) == b"old"
        assert content(path) == {"k": b"old"}
        store.close()
        assert content(path) == {"k": b"new"}
        fill(path, l=b"more")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


# ---------------------------------------------------------------- threads and stores that nobody closes


def test_threads_that_write_and_flush(path: Path) -> None:
    """Threads that write, read, erase and flush one archive lose nothing."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store = ZipStore(path, fsync=False)
            for turn in range(30):
                items = {f"{number}/{turn}/{i}": b"%d" % turn * 500 for i in range(3)}
                store.update(items)
                assert store.getitems([*items]) == items
                if turn % 3 == 0:
                    store.flush()
                if turn % 5 == 4:
                    store.erase_prefix(f"{number}/{turn}/")
            store.close()
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(content(path)) == 6 * 24 * 3


def test_a_forgotten_store_is_flushed(path: Path) -> None:
    """A store that is thrown away without `close` puts its changes into the archive, the last of several too."""
    one, two = ZipStore(path), ZipStore(path)
    one["k"] = b"v"
    two["l"] = b"w"
    del one
    gc.collect()
    two["m"] = b"x"
    del two
    gc.collect()
    assert content(path) == {"k": b"v", "l": b"w", "m": b"x"}


def test_a_program_that_ends_flushes(path: Path) -> None:
    """A program that forgets `close`, or ends with an error, has its changes in the archive."""
    program = (
        f"import zarrv3; store = zarrv3.open_store('zip://{path}'); store['k'] = b'v'; raise SystemExit(7)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7
    assert content(path) == {"k": b"v"}
