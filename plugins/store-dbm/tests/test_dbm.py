"""DBM databases of every module there is: the conformance kit, and what is their own."""

import dbm
import dbm.dumb
import gc
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import zarrv3
from zarrv3.contract import ByteRange
from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreAccessError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.testing import Opener, StoreConformance
from zarrv3.testing.processes import Writer, generation_of, stamped, together
from zarrv3_store_dbm import DBMStore, databases

OLD = Path("/work/shared/fixtures/draft_v3/dbm_dumb_mixed")
KEYS = ("f/a", "f/b", "g")
UNGUARDED = {"gnu", "ndbm"}


class TestDBMStore(StoreConformance):
    """A database of each module that leaves a whole file behind when it is killed, and of an `open` function."""

    examples = 12
    variants: ClassVar = {"dumb", "sqlite3", "shelf"}

    @pytest.fixture
    def opener(self, open_it: Opener) -> Opener:
        """Every call opens the same database."""
        return open_it


class TestUnguarded(StoreConformance):
    """A database of a module that writes its file in place, page by page."""

    examples = 12
    variants: ClassVar = UNGUARDED

    @pytest.fixture
    def opener(self, open_it: Opener) -> Opener:
        """Every call opens the same database."""
        return open_it

    @pytest.mark.xfail(reason="killed while they write, gdbm and Berkeley DB may leave damage", strict=False)
    def test_killed_writers(self, opener: Opener) -> None:
        """A writer is killed at any moment."""
        self.run_check("killed_writers", opener)

    @pytest.mark.slow
    @pytest.mark.xfail(reason="killed while they write, gdbm and Berkeley DB may leave damage", strict=False)
    def test_writers_killed_often(self, opener: Opener, request: pytest.FixtureRequest) -> None:
        """A writer is killed many times."""
        super().test_writers_killed_often(opener, request)


class TestReadOnly(StoreConformance):
    """A database that is opened with `flag='r'`."""

    @pytest.fixture
    def opener(self, open_it: Opener) -> Opener:
        """Every call opens the same database for reading."""
        with open_it() as store:
            store.update({"k": b"0123456789", "f/g/k": b""})
        return partial(open_it, flag="r")


def in_child(function: Any, *arguments: Any) -> Any:
    """What a function returns in a forked child."""
    return together(function, *arguments)[0]


def _refused(store: DBMStore, _: int) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        store["k"]
    return str(caught.value)


# ---------------------------------------------------------------- what is there


def test_arrays(open_it: Opener) -> None:
    """Arrays come back as they were, after closing."""
    data = np.arange(600, dtype="f4").reshape(20, 30)
    with open_it() as store:
        zarrv3.create_array(store, shape=data.shape, chunks=(7, 8), dtype="f4")[:] = data
    with open_it() as store:
        array = zarrv3.open_array(store)
        np.testing.assert_array_equal(array[:], data)
        np.testing.assert_array_equal(array[3:9, ::2], data[3:9, ::2])


def test_by_url(tmp_path: Path, variant: dict[str, Any]) -> None:
    """The module and the flag can be said in the URL, and in the configuration that a store gives."""
    if "module" not in variant:
        with pytest.raises(ConfigurationError, match="live object"):
            DBMStore(tmp_path / "d", **variant).spec()
        return
    url = (tmp_path / "d").as_uri().replace("file:", "dbm:") + f"?module={variant['module']}&flag=n&mode=600"
    with zarrv3.open_store(url) as store:
        store["k"] = b"v"
        spec = store.spec()
        assert zarrv3.open_store(spec) == store
    assert spec == {"store": "dbm", "path": str(tmp_path / "d"), "flag": "n", "mode": 0o600, **variant}
    assert zarrv3.open_store(url.partition("?")[0])["k"] == b"v"


def test_functions_of_python_are_modules(tmp_path: Path, available: list[str]) -> None:
    """`open=dbm.gnu.open` says the same as `module='gnu'`, and `dbm.open` the same as nothing."""
    for module in available:
        store = DBMStore(tmp_path / "d", open=getattr(dbm, module).open)
        assert store == DBMStore(tmp_path / "d", module=module)
        assert store.spec() == {"store": "dbm", "path": str(tmp_path / "d"), "module": module}
    assert DBMStore(tmp_path / "d", open=dbm.open) == DBMStore(tmp_path / "d")


def test_python_reads_what_we_write(open_it: Opener, variant: dict[str, Any]) -> None:
    """The module itself finds our keys and values, and we find its, as UTF-8."""
    with open_it() as store:
        store.update({"a/b": b"1", "ключ": b"2" * 1000, "it's\n\\": b""})
        path, taken = store.path, {n: v for n, v in variant.items() if n == "ending"}
    function = variant.get("open") or getattr(dbm, variant["module"]).open
    database = function(path, "w", **taken)
    assert {bytes(k): bytes(database[k]) for k in database.keys()} == {  # noqa: SIM118 - _gdbm has no iterator
        b"a/b": b"1",
        "ключ".encode(): b"2" * 1000,
        b"it's\n\\": b"",
    }
    database[b"a/c"] = b"3"
    database["ключ".encode()] = b"4"
    del database[b"a/b"]
    database.close()
    with open_it() as store:
        assert dict(store.items()) == {"a/c": b"3", "ключ": b"4", "it's\n\\": b""}
        assert store.list_dir("a/") == (["a/c"], [])


def test_foreign_keys_are_left_alone(open_it: Opener, variant: dict[str, Any]) -> None:
    """Keys that are no text are not listed, and survive our writing."""
    with open_it() as store:
        store["k"] = b"v"
        path, taken = store.path, {n: v for n, v in variant.items() if n == "ending"}
    function = variant.get("open") or getattr(dbm, variant["module"]).open
    database = function(path, "w", **taken)
    database[b"\xff\xfe"] = b"theirs"
    database.close()
    with open_it() as store:
        assert store.list() == ["k"]
        store["l"] = b"w"
        store.erase_many(["k"])
    database = function(path, "r", **taken)
    assert bytes(database[b"\xff\xfe"]) == b"theirs"
    database.close()


def _read_by_python(path: Path) -> dict[str, bytes]:
    with dbm.dumb.open(str(path), "r") as database:
        return {key.decode(): database[key] for key in database}


@pytest.mark.skipif(not OLD.exists(), reason="the fixtures of zarr 2 are not on this machine")
def test_old_databases(tmp_path: Path) -> None:
    """A database of zarr 2 opens as it is, for reading and for writing."""
    for name in ("store.dat", "store.dir"):
        shutil.copy(OLD / name, tmp_path)
    expected = _read_by_python(tmp_path / "store")
    with DBMStore(tmp_path / "store", flag="r") as store:
        assert dict(store.items()) == expected
        assert store.list_dir("data/root/g/h/x/c0/")[0] == [f"data/root/g/h/x/c0/{i}" for i in range(3)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.dat", "store.dir"]
    with DBMStore(tmp_path / "store") as store:
        store.erase_prefix("data/root/g/")
        store["zarr.json"] = b"new"
    kept = {key: value for key, value in expected.items() if not key.startswith("data/root/g/")}
    assert _read_by_python(tmp_path / "store") == {**kept, "zarr.json": b"new"}


# ---------------------------------------------------------------- flags


def test_reading_creates_nothing(tmp_path: Path, open_it: Opener) -> None:
    """Where nothing is, reading, listing, erasing and flushing create neither file nor folder."""
    for flag in ("c", "n"):
        with open_it(flag=flag) as store:
            assert (store.get("k"), store.list(), store.getsize(), store.list_dir("")) == (
                None,
                [],
                0,
                ([], []),
            )
            store.erase_many(["k"])
            store.erase_prefix("f/")
            store.rename_prefix("f/", "g/")
            assert not store.compare_and_set("k", b"old", b"new")
            store.flush()
    assert not list(tmp_path.iterdir())


def test_flags_for_what_exists(open_it: Opener) -> None:
    """`r` and `w` need a database: without one the error says what makes one."""
    for flag in ("r", "w"):
        with pytest.raises(
            StoreAccessError, match=f"no dbm database at .*flag='{flag}' .* flag='c' makes one"
        ):
            open_it(flag=flag).get("k")
    with open_it() as store:
        store["k"] = b"v"
    with open_it(flag="w") as store:
        store["k"] = b"w"
    with open_it(flag="r") as store:
        assert store["k"] == b"w"
        with pytest.raises(ReadOnlyError):
            store["k"] = b"x"
    with pytest.raises(ConfigurationError, match="flag must be"):
        open_it(flag="a")


def test_beginning_anew(open_it: Opener) -> None:
    """`n` shows nothing of what is there and replaces it with the first write, but never again: copies are not new."""
    with open_it() as store:
        store.update({"old": b"v", "k": b"v"})
    with open_it(flag="n") as store:
        assert (store.get("old"), store.list()) == (None, [])
    with open_it() as store:
        assert "old" in store  # nothing was written
    with open_it(flag="n") as store:
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy["old"] == b"v"
        store["k"] = b"new"
        assert store.list() == ["k"]
        with pickle.loads(pickle.dumps(store)) as copy:
            copy["l"] = b"w"
        store._reset()  # as in a forked child
        store["m"] = b"x"
        assert sorted(store) == ["k", "l", "m"]
    assert open_it(flag="n") == open_it(flag="c", mode=0o600)


def test_beginning_anew_in_another_format(tmp_path: Path, available: list[str]) -> None:
    """`n` makes a database of the wanted module out of one of any module, and no file of the old one is left."""
    path = tmp_path / "d"
    for variant in [*({"module": module} for module in reversed(available)), {}]:
        with DBMStore(path, flag="n", **variant) as store:
            store["k"] = repr(variant).encode()
        with DBMStore(path) as store:
            assert store["k"] == repr(variant).encode()
            assert store.list() == ["k"]


def test_permissions(tmp_path: Path, available: list[str]) -> None:
    """New files have the mode that is asked for."""
    for module in available:
        with DBMStore(tmp_path / module / "d", mode=0o600, module=module) as store:
            store["k"] = b"v"
        files = [*(tmp_path / module).iterdir()]
        assert files
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


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
        store.erase_many([KEYS[number % 3]])
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
    for kill in range(25):
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
    """The same database may be opened several times in a process, by whatever path: each sees what the others write."""
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
    store._live = None
    del store
    gc.collect()
    return [*databases._registry.open]


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


# ---------------------------------------------------------------- cost


class Watched:
    """A database that notes what is asked of it."""

    def __init__(self, database: Any, calls: list[str]) -> None:
        self.database = database
        self.calls = calls

    def __getitem__(self, key: bytes) -> bytes:
        self.calls.append("get")
        value: bytes = self.database[key]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.calls.append("set")
        self.database[key] = value

    def __delitem__(self, key: bytes) -> None:
        self.calls.append("del")
        del self.database[key]

    def keys(self) -> Any:
        """List."""
        self.calls.append("keys")
        return self.database.keys()

    def close(self) -> None:
        """Close."""
        self.calls.append("close")
        self.database.close()


def test_listing_costs_once(tmp_path: Path) -> None:
    """The keys are asked for once, sizes are read once; afterwards listing, sizes and `in` ask nothing of the database."""
    calls: list[str] = []

    def watched(path: str, flag: str, mode: int) -> Watched:
        calls.append(f"open {flag}")
        return Watched(dbm.dumb.open(path, flag, mode), calls)

    with DBMStore(tmp_path / "d", open=watched) as store:
        store.update({f"a/{i}": b"%d" % i for i in range(100)})
        assert calls == ["open c"] + ["set"] * 100
        store.flush()
        assert calls[-1] == "close"
    with DBMStore(tmp_path / "d", open=watched) as store:
        calls.clear()
        assert store.list_dir("") == ([], ["a/"])
        assert calls == ["open r", "keys"]
        assert store.getsize("a") == 190
        assert calls == ["open r", "keys"] + ["get"] * 100
        store.set_many({"a/100": b"1234", "b": b""})
        calls.clear()
        assert len(store.list_dir("a/")[0]) == 101
        assert "a/100" in store
        assert store.getsize("a/100") == 4
        assert calls == ["keys"]  # opening for writing may let others in between: once more
        calls.clear()
        store.erase_many(["a/1", "missing"])
        assert calls == ["del"]
        store.getitems(["a/2", "a/3"])
        assert calls == ["del", "get", "get"]
        calls.clear()
        assert store.getsize() == 190 - 1 + 4
        assert calls == ["get"] * 99  # likewise
        calls.clear()
        store.getsize()
        store.list()
        assert calls == []


# ---------------------------------------------------------------- bad input


def test_not_a_database(tmp_path: Path) -> None:
    """A file of something else, a folder, or values without their index: clear errors, and nothing is touched."""
    text = tmp_path / "text"
    text.write_bytes(b"no database at all")
    (tmp_path / "folder").mkdir()
    (tmp_path / "half.dat").write_bytes(b"value")
    (tmp_path / "bad.dat").write_bytes(b"value")
    (tmp_path / "bad.dir").write_bytes(b"'k', (0, 5)\n'l', nonsense\n")
    (tmp_path / "short.dat").write_bytes(b"value")
    (tmp_path / "short.dir").write_bytes(b"'k', (0, 500)\n")
    before = sorted((p.name, p.is_file() and p.read_bytes()) for p in tmp_path.iterdir())
    for name, message in [
        ("text", r"text' is a file, but no database of Python's dbm modules"),
        ("folder", r"folder' is a folder, not a dbm database; give the path of a file in it"),
        ("half", r"index '.*half.dir' is not; restore it"),
        ("bad", r"line 2 of '.*bad.dir' is no entry"),
        ("short", r"short.dat' is damaged: it ends before the end of the value of 'k'"),
    ]:
        for flag in ("r", "c"):
            with (
                DBMStore(tmp_path / name, flag=flag) as store,
                pytest.raises(StoreAccessError, match=message),
            ):
                store["k"]
    with pytest.raises(StoreAccessError, match="no database"):
        DBMStore(tmp_path / "text", flag="n")["k"] = b"v"
    with pytest.raises(StoreAccessError, match="text"):
        DBMStore(tmp_path / "text" / "below")["k"] = b"v"
    assert sorted((p.name, p.is_file() and p.read_bytes()) for p in tmp_path.iterdir()) == before


def test_files_of_missing_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 31: a file of a module that this Python lacks is told by its name, and not taken for missing."""
    (tmp_path / "g").write_bytes(bytes.fromhex("cf9a5713") + bytes(100))
    (tmp_path / "n.db").write_bytes(bytes(12) + bytes.fromhex("61150600") + bytes(100))
    (tmp_path / "s").write_bytes(b"SQLite format 3\0" + bytes(100))
    for name, module in [("g", "gnu"), ("n", "ndbm"), ("s", "sqlite3")]:
        monkeypatch.setitem(sys.modules, f"dbm.{module}", None)
        with pytest.raises(
            ConfigurationError, match=rf"needs the module dbm\.{module}, which this Python does not have"
        ):
            DBMStore(tmp_path / name).get("k")
        with pytest.raises(StoreAccessError, match=rf"was written by dbm\.{module}, not by dbm\.dumb"):
            DBMStore(tmp_path / name, module="dumb").get("k")


def test_options(tmp_path: Path) -> None:
    """Unknown modules, options and functions are refused with what is known."""
    for options, message in [
        ({"module": "bsd"}, "module is one of dumb, gnu, ndbm, sqlite3, not 'bsd'"),
        ({"modul": "gnu"}, "'dbm' has no option 'modul'; its options are: path, flag"),
        ({"open": "gnu"}, r"open= is a function, as dbm.gnu.open; not str"),
        ({"open": print, "module": "gnu"}, "not both"),
        ({"flag": "cs"}, "flag must be"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            DBMStore(tmp_path / "d", **options)
    with pytest.raises(ConfigurationError, match=r"no URL option 'open'; its URL options are: .*module"):
        zarrv3.open_store("dbm:///tmp/x?open=gnu")


class StrangeError(Exception):
    """What the library of an open function may raise."""


def test_errors_of_an_open_function(tmp_path: Path) -> None:
    """Whatever an open function raises becomes an error of ours that names the store and hides secrets."""

    def failing(path: str, flag: str, mode: int, password: str) -> Any:
        raise StrangeError(f"cannot log in with {password}")

    store = DBMStore(tmp_path / "d", open=failing, password="hunter2")
    with pytest.raises(
        StoreAccessError, match=r"cannot write 'k' in DBMStore\(.*cannot log in with \*\*\*"
    ) as caught:
        store["k"] = b"v"
    assert "hunter2" not in repr(store) + str(caught.value)


def test_transactions_of_dumb_only(open_it: Opener, variant: dict[str, Any]) -> None:
    """`transaction()` is offered where the format can be changed at once, and refused elsewhere."""
    with open_it() as store:
        store["k"] = b"v"
        if variant.get("module") != "dumb":
            assert not store.capabilities.transactions
            with pytest.raises(UnsupportedError), store.transaction():
                pass
            return
        with store.transaction() as inside:
            inside.erase_many(["k"])
            inside["l"] = b"w"
            assert store.list() == ["k"]
        assert store.list() == ["l"]
        assert store.get_many([("l", ByteRange(-1))]) == [b"w"]


def test_full_disk(open_it: Opener, variant: dict[str, Any]) -> None:
    """When the disk is full the error is ours and the old value is still there."""
    if variant.get("module") not in {"dumb", "sqlite3"} and "open" not in variant:
        return  # gnu and ndbm may leave a damaged file: see the README
    assert in_child(_fill, open_it, 1) == (True, b"old" * 1000, ["k", "l"])
    with open_it() as store:
        assert dict(store.items()) == {"k": b"old" * 1000, "l": b""}


def _fill(opener: Opener, _: int) -> tuple[bool, bytes, list[str]]:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with opener() as store:
        store.update({"k": b"old" * 1000, "l": b""})
        store.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        refused = False
        for key in ("k", "m"):
            try:
                store[key] = bytes(1 << 20)
            except StoreAccessError:
                refused = True
        return refused, store["k"], sorted(store)
