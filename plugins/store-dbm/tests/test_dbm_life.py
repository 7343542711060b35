"""DBM databases: flushing, dying, threads, processes, several stores over one."""

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreUnavailableError,
)
from zarrv3.testing import Opener
from zarrv3.testing.interrupts import interruptions, unheard
from zarrv3.testing.processes import Writer, generation_of, open_files, stamped, together
from zarrv3_store_dbm import DBMStore, databases
from zarrv3_store_dbm.dumb import DumbHandle
from zarrv3_store_dbm.lock import LockFile
from zarrv3_store_dbm.modules import Place

KEYS = ("f/a", "f/b", "g")
UNGUARDED = {"gnu", "ndbm"}


def in_child(function: Any, *arguments: Any) -> Any:
    """What a function returns in a forked child."""
    return together(function, *arguments)[0]


def _refused(store: DBMStore, _: int) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        store["k"]
    return str(caught.value)


# ---------------------------------------------------------------- flushing and dying


def test_flush_reaches_the_file(open_it: Opener, tmp_path: Path, variant: dict[str, Any]) -> None:
    """What was flushed is in the file while the store is still open."""
    with open_it() as store:
        store.flush()
        store.update({f"f/{i}": b"%d" % i * 100 for i in range(50)})
        store.flush()
        shutil.copytree(tmp_path / "new", tmp_path / "copy")
        (tmp_path / "copy" / "data.lock").unlink()
        store["f/0"] = b"after"
        with DBMStore(tmp_path / "copy" / "data", **variant) as copy:
            assert copy["f/49"] == b"49" * 100
            assert len(copy) == 50


def test_nothing_is_lost_without_close(open_it: Opener) -> None:
    """A store that is dropped without `close`, and one that is open when Python ends, lose nothing."""
    open_it()["k"] = b"dropped"
    with open_it() as store:
        assert store["k"] == b"dropped"


def test_nothing_is_lost_at_exit(tmp_path: Path) -> None:
    """What a program wrote without closing its store is there after it has ended, and no lock."""
    here = [module for module in ("dumb", "gnu", "ndbm", "sqlite3") if _plainly_has(module)]
    for module in here:
        code = f"import zarrv3_store_dbm as z; s = z.DBMStore({str(tmp_path / module)!r}, module={module!r}); s['k'] = b'v'"
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
        with DBMStore(tmp_path / module) as store:
            assert store["k"] == b"v"
    assert not list(tmp_path.glob("*.lock"))


def _plainly_has(module: str) -> bool:
    """Whether a new interpreter can import the module."""
    return not subprocess.run(
        [sys.executable, "-c", f"import dbm.{module}"], check=False, capture_output=True
    ).returncode


def _write(store: Any, number: int) -> None:
    store.update({key: stamped(key, number) for key in KEYS})
    if number % 5 == 0:
        store.delitems([KEYS[number % 3]])
        store.update({KEYS[number % 3]: stamped(KEYS[number % 3], number)})


def _write_then_flush_and_wait(store: Any, number: int) -> None:
    if number > 1:
        time.sleep(60)
    store.update({f"f/{i}": stamped(f"f/{i}", 7) for i in range(100)})
    store.flush()


def test_killed_writers(open_it: Opener, variant: dict[str, Any]) -> None:
    """A writer that never flushes is killed at random moments: acknowledged writes are there, every value is whole."""
    if variant.get("module") in UNGUARDED:
        return
    first = 1
    for kill in range(12):
        writer = Writer(_write, open_it, first)
        try:
            writer.wait_for_first()
            time.sleep(0.002 * (kill % 10))
        finally:
            last = writer.kill()
        with open_it() as store:
            values = store.getitems(KEYS)
            found = {key: generation_of(key, value) for key, value in values.items()}
            assert {*found.values()} <= {last, last + 1}, found
            missing = {*KEYS} - {*found}
            assert missing <= ({KEYS[(last + 1) % 3]} if (last + 1) % 5 == 0 else set())
            assert sorted(store) == sorted(found)
        first = last + 2


def test_killed_after_flush(open_it: Opener) -> None:
    """What was flushed is whole, and the lock is gone, when its process is killed."""
    writer = Writer(_write_then_flush_and_wait, open_it, 1)
    try:
        writer.wait_for_first()
        with pytest.raises(StoreUnavailableError, match="by another process"):
            open_it().get("f/1")
    finally:
        writer.kill()
    with open_it() as store:
        assert {key: generation_of(key, value) for key, value in store.items()} == {
            f"f/{i}": 7 for i in range(100)
        }
        store["more"] = b"v"


# ---------------------------------------------------------------- threads, processes, several stores


def test_stores_of_one_process_share_the_database(
    open_it: Opener, tmp_path: Path, variant: dict[str, Any]
) -> None:
    """A database may be opened several times in a process, by whatever path: each sees what the others write."""
    with open_it() as one:
        one["k"] = b"v"
        (tmp_path / "link").symlink_to(tmp_path / "new")
        two = DBMStore(tmp_path / "link" / "data", **variant)
        reader = open_it(flag="r")
        assert (two["k"], reader.list()) == (b"v", ["k"])
        two["l"] = b"w"
        two.close()
        assert sorted(reader) == sorted(one) == ["k", "l"]
        with pytest.raises(ReadOnlyError):
            reader["k"] = b"x"
        reader.close()
        assert one["l"] == b"w"


def test_two_ways_at_once(tmp_path: Path, shelf: dict[str, Any]) -> None:
    """One database opened in two ways in one process is a clear error."""
    with DBMStore(tmp_path / "d", **shelf) as store:
        store["k"] = b"v"
        with pytest.raises(ConfigurationError, match="in use in this process through an open function"):
            DBMStore(tmp_path / "d").get("k")


def test_threads_need_no_lock_of_their_own(open_it: Opener) -> None:
    """Defect 31: readers and writers of many threads, which the modules do not allow, get whole values (`write_lock` or not)."""
    with open_it(write_lock=False) as store:
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(30):
                    key = KEYS[turn % 3]
                    store[key] = stamped(key, number * 100 + turn)
                    assert generation_of(key, store[key]) is not None
                    assert {*store} <= {*KEYS}
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


def test_one_process_at_a_time(open_it: Opener) -> None:
    """A second process is refused while one writes, readers share, and nothing is left of the lock afterwards."""
    with open_it() as store:
        store["k"] = b"v"
        assert not store.capabilities.shared
        assert "by another process" in in_child(_refuse_new, open_it, 1)
    with open_it() as store:
        assert store["k"] == b"v"
        assert in_child(_read, open_it, 1) == b"v"
        message = in_child(_write_refused, open_it, 1)
        assert "one process at a time may write" in message
        assert "data.lock" in message
    assert in_child(_write_something, open_it, 1) is None
    with open_it() as store:
        assert store["l"] == b"child"
    assert not list(Path(open_it().path).parent.glob("*.lock"))


def _refuse_new(opener: Opener, number: int) -> str:
    return _refused(opener(), number)


def _read(opener: Opener, _: int) -> bytes:
    with opener() as store:
        return store["k"]


def _write_refused(opener: Opener, _: int) -> str:
    with opener() as store:
        assert store["k"] == b"v"
        with pytest.raises(StoreUnavailableError) as caught:
            store["k"] = b"w"
        assert store["k"] == b"v"
        return str(caught.value)


def _write_something(opener: Opener, _: int) -> None:
    with opener() as store:
        store["l"] = b"child"


def _end_as_a_program(store: Any, _: int) -> list[Any]:
    """What the interpreter does at its end, as far as it concerns databases."""
    databases._close_all()
    store._Backend__live = None
    del store
    gc.collect()
    return databases._databases.every()


def test_fork(open_it: Opener) -> None:
    """A forked child does not touch its parent's handle: it is refused, and harms nothing by ending."""
    with open_it() as store:
        store.update({key: stamped(key, 1) for key in KEYS})
        message = in_child(_refused, store, 1)
        assert "by another process" in message
        assert in_child(_end_as_a_program, store, 1) == []
        store["g"] = stamped("g", 2)
        assert generation_of("f/a", store["f/a"]) == 1
    with open_it() as store:
        assert [generation_of(key, store[key]) for key in KEYS] == [1, 1, 2]


@pytest.mark.skipif(os.name == "nt", reason="the locks of POSIX are those that closing a file releases")
def test_locks_of_sqlite_outlast_a_look(tmp_path: Path) -> None:
    """What the application has locked of a file of SQLite's stays locked when the store looks at the file and synchronises it."""
    path = tmp_path / "data"
    place = Place(str(path), "sqlite3", None, {}, 0o666, "")
    code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        for mode in ("delete", "wal"):
            own.execute(f"PRAGMA journal_mode = {mode}")
            own.execute("CREATE TABLE IF NOT EXISTS t (k)")
            own.execute("BEGIN IMMEDIATE")
            assert place.exists()
            place.sync_files()
            other = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
            assert b"database is locked" in other.stderr, mode
            own.execute("COMMIT")
    place.remove()
    assert not place.exists()


@unheard()
def test_interrupts_leave_no_descriptor(tmp_path: Path) -> None:
    """Wherever an interrupt (Ctrl-C) comes into the taking or giving back of the lock, or opens a file, nothing stays open."""
    lock = LockFile(str(tmp_path / "data"))

    def use() -> None:
        lock.take(exclusive=True)
        lock.release()
        DumbHandle(str(tmp_path / "data"), writing=True, mode=0o666, new=False).close()

    for interrupt in interruptions(use):
        interrupt.with_traceback(None)  # whose frames keep what they were using
        lock.forget()
        assert not open_files(tmp_path)
