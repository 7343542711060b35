"""What is SQLite's own: the file, `:memory:`, old databases, locks."""

import gc
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from zarrv3 import ByteRange, open_store
from zarrv3.errors import ReadOnlyError, StoreAccessError, StoreTimeoutError
from zarrv3.store.contract import Request
from zarrv3.testing.processes import Child, threads_together, together
from zarrv3_store_sql import SQLiteStore


def test_old_database(tmp_path: Path) -> None:
    """A database that zarr 2 has made opens as it is, and stays readable with its table."""
    path = tmp_path / "array.sqldb"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE zarr(k TEXT PRIMARY KEY, v BLOB)")
        old.executemany("INSERT INTO zarr VALUES (?, ?)", [("zarr.json", b"{}"), ("data/root/a/c0", b"0123")])
    old.close()
    with SQLiteStore(path) as store:
        assert store.getitems(["zarr.json", "data/root/a/c0"]) == {
            "zarr.json": b"{}",
            "data/root/a/c0": b"0123",
        }
        assert store.get_many([Request("data/root/a/c0", ByteRange(1, 3))]) == [b"12"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["array.sqldb"]
        store["data/root/a/c1"] = b"new"
    old = sqlite3.connect(path)
    assert dict(old.execute("SELECT k, v FROM zarr"))["data/root/a/c1"] == b"new"
    old.close()


class Closing(sqlite3.Connection):
    """A connection that notes in which process it was closed."""

    closed: ClassVar[list[int]] = []

    def close(self) -> None:
        """Note and close."""
        self.closed.append(os.getpid())
        super().close()


def test_a_forgotten_store_closes_its_connections(tmp_path: Path) -> None:
    """A dropped store closes its connections, also when it was not closed; none is left in a forked child."""
    store = SQLiteStore(tmp_path / "data.db", factory=Closing)
    store["k"] = b"v"
    assert together(_forget, store, 1) == [[os.getpid()]]
    store["k"] = b"w"
    Closing.closed.clear()
    del store
    gc.collect()
    assert Closing.closed == [os.getpid()]


def _forget(store: SQLiteStore, _: int) -> list[int]:
    store._live = None
    gc.collect()
    return Closing.closed


class Holding(sqlite3.Connection):
    """A connection whose results somebody holds on to, as a profiler does."""

    held: ClassVar[list[Any]] = []

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement and hold its result."""
        self.held.append(super().execute(*arguments))
        cursor: sqlite3.Cursor = self.held[-1]
        return cursor


def test_no_cursor_stays_open(tmp_path: Path) -> None:
    """Making the table and flushing leave no statement under way, though somebody holds on to its result."""
    with SQLiteStore(tmp_path / "data.db", factory=Holding) as store:
        store.update({"a": b"1", "b": b"2"})
        store.flush()
        store.update({"a": b"3", "b": b"4"})
        assert store.getitems(["a", "b"]) == {"a": b"3", "b": b"4"}
    assert Holding.held
    Holding.held.clear()


def test_new_database(tmp_path: Path) -> None:
    """A new file has the table of zarr 2, a write-ahead log while it is open, and is one file after closing."""
    path = tmp_path / "data.db"
    with SQLiteStore(path) as store:
        store["k"] = b"v"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["data.db", "data.db-shm", "data.db-wal"]
    assert [p.name for p in tmp_path.iterdir()] == ["data.db"]
    plain = sqlite3.connect(path)
    assert [row[1:4] for row in plain.execute("PRAGMA table_info(zarr)")] == [
        ("k", "TEXT", 1),
        ("v", "BLOB", 0),
    ]
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert plain.execute("PRAGMA page_size").fetchone() == (16384,)
    plain.close()


def test_reading_creates_no_file(tmp_path: Path) -> None:
    """Opening, reading, listing and erasing where no file is create none; the first write makes folders and file."""
    path = tmp_path / "deep" / "er" / "data.db"
    with open_store(f"sqlite:///{path}") as store:
        assert (store.get("k"), store.list(), store.getsize()) == (None, [], 0)
        store.erase_prefix("")
        store.delitems(["k"])
        assert [*store.swap_many({"k": (b"old", b"new"), "l": (None, None)})] == ["k"]
        assert [*store.stat_many(["k"])] == [None]
        store.flush()
        assert [*tmp_path.iterdir()] == []
        store["k"] = b"v"
        assert path.exists()


def test_database_without_the_table(tmp_path: Path) -> None:
    """A database that has other tables reads as empty, and keeps them when ours comes in."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE other(x)")
        theirs.execute("INSERT INTO other VALUES (1)")
    with SQLiteStore(path) as store:
        assert store.list() == []
        assert [row[0] for row in theirs.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "other"
        ]
        store["k"] = b"v"
        assert theirs.execute("SELECT x FROM other").fetchall() == [(1,)]
    theirs.close()


def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`:memory:` is one database for all threads of a store, no file, not persistent, not shared, not picklable."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStore(":memory:") as store:
        threads_together([partial(store.write_many, {f"f/{i}": b"%d" % i}) for i in range(8)])
        assert store.getitems([f"f/{i}" for i in range(8)]) == {f"f/{i}": b"%d" % i for i in range(8)}
        assert not store.capabilities.persistent
        assert not store.capabilities.shared
        assert store == store
        assert store != SQLiteStore(":memory:")
        with pytest.raises(pickle.PicklingError, match="memory"):
            pickle.dumps(store)
    assert [*tmp_path.iterdir()] == []


def test_many_processes_make_the_file(tmp_path: Path) -> None:
    """Processes that open a new file at the same moment and write all succeed."""
    path = tmp_path / "data.db"
    assert together(_write_some, path, 6) == [None] * 6
    with SQLiteStore(path) as store:
        assert len(store) == 6 * 20


def _write_some(path: Path, number: int) -> None:
    with SQLiteStore(path) as store:
        for i in range(20):
            store[f"f/{number}/{i}"] = b"v" * 1000


def test_inherited_connections(tmp_path: Path) -> None:
    """A child that ends, with the connections of its parent in it, leaves the parent's log and transactions alone."""
    with SQLiteStore(tmp_path / "data.db") as store:
        store["k"] = b"before"
        child = multiprocessing.get_context("fork").Process(target=_use, args=(store,))
        child.start()
        store["l"] = b"meanwhile"
        child.join()
        assert child.exitcode == 0
        assert store.getitems(["k", "l"]) == {"k": b"child", "l": b"meanwhile"}
        check = sqlite3.connect(tmp_path / "data.db")
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        check.close()


def _use(store: SQLiteStore) -> None:
    store["k"] = b"child"
    store.close()


class CountingConnection(sqlite3.Connection):
    """A connection that counts the steps of SQLite's machine, in hundreds."""

    steps = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_progress_handler(self.count, 100)

    @classmethod
    def count(cls) -> int:
        """Go on."""
        cls.steps += 1
        return 0


def test_listing_costs_what_it_returns(tmp_path: Path) -> None:
    """Listing a folder steps over its sub-folders; sizes and a range read no values (measured in SQLite's own steps)."""
    with SQLiteStore(tmp_path / "data.db", factory=CountingConnection) as store:
        store.write_many({f"{folder}/{i}": b"" for folder in "abc" for i in range(20_000)})
        CountingConnection.steps = 0
        assert sorted(store.list_dir("")) == ["a/", "b/", "c/"]
        assert list(store.list_prefix("b/1999")) != []
        store.get_many([Request("c/77", ByteRange(0, 1))])
        few = CountingConnection.steps
        CountingConnection.steps = 0
        assert len(store) == 60_000
        assert few < CountingConnection.steps / 2
        CountingConnection.steps = 0
        assert len([*store.list_dir("")]) == 3
        assert CountingConnection.steps <= 5


def test_range_of_a_large_value(tmp_path: Path) -> None:
    """A few bytes of a large value are read without loading it."""
    import tracemalloc

    with SQLiteStore(tmp_path / "data.db") as store:
        store["big"] = bytes(range(256)) * (1 << 16)
        store.get_many([Request("none", ByteRange(0, 1))])
        tracemalloc.start()
        assert store.get_many([Request("big", ByteRange(-3)), Request("big", ByteRange(5, 8))]) == [
            b"\xfd\xfe\xff",
            b"\5\6\7",
        ]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


class Measuring(sqlite3.Connection):
    """A connection that notes the length of the longest value it is given."""

    longest: ClassVar[int] = 0

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Measure the parameters and run a statement."""
        values = parameters.values() if isinstance(parameters, dict) else parameters
        Measuring.longest = max(Measuring.longest, *(len(v) for v in values if isinstance(v, bytes)), 0, 0)
        return super().execute(sql, parameters)


def test_swaps_of_large_values(tmp_path: Path) -> None:
    """A large old value is compared where it lies, with every byte of it, and is not given to the database again."""
    old = bytes(range(256)) * (1 << 14)
    with SQLiteStore(tmp_path / "data.db", factory=Measuring) as store:
        for other in (old[:-1] + b"x", b"y" + old[1:], old + b"z", old[:-1]):
            store["k"] = other
            Measuring.longest = 0
            assert [*store.swap_many({"k": (old, b"new")})] == ["k"]
            assert store["k"] == other
            assert not store.swap_many({"k": (other, b"new")})
            assert store["k"] == b"new"
            store["k"] = other
            assert not store.swap_many({"k": (other, None), "l": (None, b"l")})
            assert store.list() == ["l"]
            assert Measuring.longest < 10
            store.clear()


# ---------------------------------------------------------------- what goes wrong


class SmallConnection(sqlite3.Connection):
    """A connection whose database is full at about 3 MB."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA max_page_count = 200")


def test_full_database(tmp_path: Path) -> None:
    """When the database is full, the old values stay, and everything works again when something is erased."""
    with SQLiteStore(tmp_path / "data.db", factory=SmallConnection) as store:
        store.write_many({"k": b"old", "filler": b"f" * 1_000_000})
        with pytest.raises(StoreAccessError, match="full"):
            store.write_many({"k": b"new", "big": b"b" * 5_000_000})
        assert store.getitems(["k", "big"]) == {"k": b"old"}
        store.delitems(["filler"])
        store["k"] = b"new" * 1000
        assert store["k"] == b"new" * 1000


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    """A folder is not a database, and the error says how a folder is opened."""
    with SQLiteStore(tmp_path) as store:
        for call in (lambda: store.get("k"), lambda: store.write_many({"k": b"v"}), store.list):
            with pytest.raises(StoreAccessError, match=r"is a folder.*file://"):
                call()


def test_file_above_the_database(tmp_path: Path) -> None:
    """A path through a file is refused."""
    (tmp_path / "file").write_text("text")
    with SQLiteStore(tmp_path / "file" / "data.db") as store, pytest.raises(StoreAccessError):
        store["k"] = b"v"


def test_other_columns(tmp_path: Path) -> None:
    """A table of that name that is not a store's is left alone."""
    with sqlite3.connect(tmp_path / "data.db") as theirs:
        theirs.execute("CREATE TABLE zarr(name, size)")
    theirs.close()
    with (
        SQLiteStore(tmp_path / "data.db") as store,
        pytest.raises(StoreAccessError, match=r"no column|no such column"),
    ):
        store["k"] = b"v"


def test_read_only_database(tmp_path: Path) -> None:
    """A database opened for reading only reads, and refuses every write."""
    with SQLiteStore(tmp_path / "data.db") as store:
        store["k"] = b"v"
    with SQLiteStore(f"file:{tmp_path}/data.db?mode=ro", uri=True) as store:
        assert store["k"] == b"v"
        with pytest.raises(ReadOnlyError):
            store["k"] = b"w"


def test_somebody_elses_lock(tmp_path: Path) -> None:
    """A writer waits for another one up to `timeout`, which the error names; readers do not wait."""
    with SQLiteStore(tmp_path / "data.db", timeout=0.2) as store:
        store["k"] = b"v"
        other = sqlite3.connect(tmp_path / "data.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for call in (lambda: store.write_many({"k": b"w"}), lambda: store.write_many({"k": b"w", "l": b"w"})):
            with pytest.raises(StoreTimeoutError, match=r"timeout=0\.2 s"):
                call()
        assert store["k"] == b"v"
        other.execute("ROLLBACK")
        other.close()
        store["k"] = b"w"


def test_fsync(tmp_path: Path) -> None:
    """With `fsync` SQLite syncs at each commit, without it at check-points."""
    for fsync, level in ((True, 2), (False, 1)):
        with SQLiteStore(tmp_path / "data.db", fsync=fsync) as store:
            store["k"] = b"v"
            run: Any = store.driver.opened.run  # type: ignore[attr-defined]
            assert run(lambda one: one.exec_driver_sql("PRAGMA synchronous").fetchall()) == [(level,)]


def test_a_new_file_at_the_place_of_an_old_one(tmp_path: Path) -> None:
    """A store that is opened again sees the file that is there now, not the one that was there before."""
    path = tmp_path / "data.db"
    with SQLiteStore(path) as store:
        store["k"] = b"old"
    for file in tmp_path.iterdir():
        file.unlink()
    with SQLiteStore(path) as store:
        assert "k" not in store
        assert not path.exists()
        store["k"] = b"new"
        assert store["k"] == b"new"


# ---------------------------------------------------------------- forks


def _write_after(store: SQLiteStore, number: int, closed: Any) -> None:
    store[f"early/{number}"] = b"v"
    closed.wait(60)
    store[f"late/{number}"] = b"v"
    os._exit(0)  # as a process of a pool ends: nothing is closed


def test_children_write_while_their_parent_closes(tmp_path: Path) -> None:
    """What forked children write is there, also when their parent, which was the first to open the file, closes it meanwhile."""
    fork = multiprocessing.get_context("fork")
    closed = fork.Event()
    store = SQLiteStore(tmp_path / "data.db")
    store["k"] = b"v"
    children = [fork.Process(target=_write_after, args=(store, number, closed)) for number in range(5)]
    for child in children:
        child.start()
        store["k"] = b"w"
    store.close()
    closed.set()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    with SQLiteStore(tmp_path / "data.db") as again:
        assert len(again) == 11


WRITE_AND_CLOSE = """
import sys
from zarrv3_store_sql import SQLiteStore
with SQLiteStore(sys.argv[1]) as store:
    store["b"] = b"v"
"""


def test_locks_outlive_other_connections(tmp_path: Path) -> None:
    """Opening connections releases no lock of others, or a process that closes its own would remove the log they write to."""
    path = tmp_path / "data.db"
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        store["a"] = b"v"
        assert other["a"] == b"v"
        subprocess.run([sys.executable, "-c", WRITE_AND_CLOSE, path], check=True, timeout=60)
        store["c"] = b"v"
        with SQLiteStore(path) as third:
            assert sorted(third) == ["a", "b", "c"]
    with SQLiteStore(path) as store:
        assert sorted(store) == ["a", "b", "c"]


def _in_a_thread(store: SQLiteStore, pipe: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        pipe.send(pool.submit(store.get, "k").result())


@pytest.mark.parametrize("place", ["data.db", ":memory:"])
def test_children_have_threads(place: str, tmp_path: Path) -> None:
    """All threads of a child can use the store, though threads of its parent were busy with it; a store in memory is empty."""
    fork = multiprocessing.get_context("fork")
    done = threading.Event()
    with SQLiteStore(place if place == ":memory:" else tmp_path / place) as store:
        store["k"] = b"v"

        def work() -> None:
            while not done.is_set():
                store["own"] = store["k"]

        with ThreadPoolExecutor(3) as pool:
            working = [pool.submit(work) for _ in range(3)]
            try:
                for _ in range(20):
                    ours, theirs = fork.Pipe(duplex=False)
                    child = fork.Process(target=_in_a_thread, args=(store, theirs), daemon=True)
                    with warnings.catch_warnings():  # Python 3.12 warns of forking when there are threads
                        warnings.simplefilter("ignore", DeprecationWarning)
                        child.start()
                    hangs = not ours.poll(60)
                    if hangs:
                        child.kill()
                    child.join()
                    assert not hangs
                    assert ours.recv() == (None if place == ":memory:" else b"v")
            finally:
                done.set()
        assert [future.result() for future in working] == [None] * 3


def _outcome(store: SQLiteStore, pipe: Any) -> None:
    try:
        pipe.send(store.get("k"))
    except StoreAccessError as error:
        pipe.send(str(error))


@pytest.mark.parametrize("place", ["data.db", ":memory:"])
def test_a_fork_in_the_middle_of_a_call(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork waits for other threads' calls; a child of one that could not wait is refused the data and told what to do."""
    monkeypatch.setattr("zarrv3_store_sql.files._PATIENCE", 0.1)
    fork = multiprocessing.get_context("fork")
    inside, leave = threading.Event(), threading.Event()

    def stay(_: Any) -> None:
        inside.set()
        leave.wait(60)

    with SQLiteStore(place if place == ":memory:" else tmp_path / place) as store:
        store["k"] = b"v"
        thread = threading.Thread(target=store.driver.opened.run, args=(stay,))  # type: ignore[attr-defined]
        thread.start()
        inside.wait(60)
        answers = []
        for _ in range(2):
            ours, theirs = fork.Pipe()
            child = fork.Process(target=_outcome, args=(store, theirs))
            with warnings.catch_warnings():  # Python 3.12 warns of forking when there are threads
                warnings.simplefilter("ignore", DeprecationWarning)
                child.start()
            answers.append(ours.recv())
            child.join()
            leave.set()
            thread.join()
        assert "spawn the process" in str(answers[0])
        assert answers[1] == (None if place == ":memory:" else b"v")


def test_permissions_of_a_new_file(tmp_path: Path) -> None:
    """The umask alone says who may use a new file, as with all other stores."""
    before = os.umask(0o002)
    try:
        with SQLiteStore(tmp_path / "data.db") as store:
            store["k"] = b"v"
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o664}
    finally:
        os.umask(before)


# ---------------------------------------------------------------- without permission to write


def _written(path: Path, *, logged: bool) -> None:
    """Make a finished database, with a write-ahead log as a reader that closes last leaves one if `logged`."""
    with SQLiteStore(path) as store:
        reader = SQLiteStore(path)
        if logged:
            assert reader.get("k") is None
        store["k"] = b"v"
        if logged:
            assert reader["k"] == b"v"
    reader.close()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert (path.read_bytes()[18:20] == b"\2\2") == logged


def _unprivileged() -> None:
    if os.getuid() == 0:  # whom no permission stops
        os.setgid(65534)
        os.setuid(65534)


def _read_only(path: Path) -> None:
    _unprivileged()
    with SQLiteStore(path) as store:
        assert (store["k"], store.list()) == (b"v", ["k"])
        assert store.get_many([Request("k", ByteRange(0, 1))]) == [b"v"]
        with pytest.raises(ReadOnlyError):
            store["k"] = b"w"
        assert [p.name for p in path.parent.iterdir()] == [path.name]


def _fail_to_read(path: Path) -> None:
    _unprivileged()
    with pytest.raises(StoreAccessError, match="open it once where it can"):
        SQLiteStore(path).get("k")


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


@pytest.mark.parametrize("logged", [False, True])
def test_reading_without_permission_to_write(locked: Path, logged: bool) -> None:
    """A finished database is read where nothing can be written, nothing is made there, and a write is refused."""
    path = locked / "x#?.db"
    _written(path, logged=logged)
    path.chmod(0o444)
    locked.chmod(0o555)

    Child(_read_only, path).result()


def test_reading_makes_no_files(tmp_path: Path) -> None:
    """Nothing appears beside a finished database that is only read, and it is not changed."""
    path = tmp_path / "x.db"
    _written(path, logged=False)
    before = path.stat().st_mtime_ns
    with SQLiteStore(path) as store:
        assert store["k"] == b"v"
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        store.flush()
    assert (path.stat().st_mtime_ns, [*tmp_path.iterdir()]) == (before, [path])


def test_a_change_of_what_nobody_should_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file is read as one that nobody changes and somebody does, reading sees the change."""
    path = tmp_path / "x.db"
    _written(path, logged=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    reader = SQLiteStore(path)
    assert reader["k"] == b"v"
    assert [*tmp_path.iterdir()] == [path]
    plain = sqlite3.connect(path)
    for value in (b"w", b"x" * 100_000):
        with plain:
            plain.execute("UPDATE zarr SET v = ?", (value,))
        assert reader["k"] == value
    plain.close()
    assert reader["k"] == value
    reader.close()


def test_a_log_that_cannot_be_read(locked: Path) -> None:
    """What a killed writer left in its log is not left out in silence where it cannot be read."""
    path = locked / "x.db"
    store = SQLiteStore(path)
    store["k"] = b"v"
    for name in ("x.db", "x.db-wal"):
        (locked / f"copy-{name}").write_bytes((locked / name).read_bytes())
    (locked / "copy-x.db").chmod(0o444)
    locked.chmod(0o555)

    Child(_fail_to_read, locked / "copy-x.db").result()
    locked.chmod(0o755)
    store.close()


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_files_that_are_links(tmp_path: Path, ending: str) -> None:
    """A link under the name of a file that SQLite makes is refused, and its target stays as it is."""
    path, theirs = tmp_path / "x.db", tmp_path / "theirs"
    _written(path, logged=False)
    theirs.write_text("precious")
    Path(f"{path}{ending}").symlink_to(theirs)
    with SQLiteStore(path) as store, pytest.raises(StoreAccessError, match="is a symbolic link"):
        store["k"] = b"w"
    assert theirs.read_text() == "precious"


def test_keys_that_are_not_text_are_not_keys(tmp_path: Path) -> None:
    """Rows that another program wrote with a blob for a key are not listed, copied or erased, nor in the way."""
    path = tmp_path / "x.db"
    with SQLiteStore(path) as store:
        store.update({"zarr.json": b"z", "a/c/0": b"0"})
    with closing(sqlite3.connect(path)) as other, other:
        other.executemany("INSERT INTO zarr VALUES (?, ?)", [(b"a/c/1", b"1"), (b"", b"2")])
    with SQLiteStore(path) as store:
        for folder, names in (("", ["a/", "zarr.json"]), ("a/", ["a/c/"]), ("a/c/", ["a/c/0"])):
            assert sorted(store.list_dir(folder)) == names
        assert sorted(store.list_prefix("")) == ["a/c/0", "zarr.json"]
        assert dict(store.list_sizes("")) == {"a/c/0": 1, "zarr.json": 1}
        store.erase_prefix("")
        assert [*store.list_prefix("")] == []
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM zarr").fetchall() == [(2,)]
