"""DBM databases of every module there is: the conformance kit, and what is their own."""

import dbm
import dbm.dumb
import pickle
import shutil
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreAccessError,
)
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3.testing.processes import together
from zarrv3_store_dbm import DBMStore

OLD = Path(__file__).parents[4] / "shared" / "fixtures" / "draft_v3" / "dbm_dumb_mixed"
KEYS = ("f/a", "f/b", "g")
UNGUARDED = {"gnu", "ndbm"}


class TestDBMStore(InterruptConformance, StoreConformance):
    """A database of each module that leaves a whole file behind when it is killed, and of an `open` function."""

    examples = 12
    variants: ClassVar = {"dumb", "sqlite3", "shelf"}

    @pytest.fixture
    def opener(self, open_it: Opener) -> Opener:
        """Every call opens the same database."""
        return open_it


class TestUnguarded(InterruptConformance, StoreConformance):
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
        assert [*store.list_dir("a/")] == ["a/c"]


def test_foreign_keys_are_left_alone(open_it: Opener, variant: dict[str, Any]) -> None:
    """Keys that are not text are not listed, and survive our writing."""
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
        store.delitems(["k"])
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
        assert sorted(store.list_dir("data/root/g/h/x/c0/")) == [f"data/root/g/h/x/c0/{i}" for i in range(3)]
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
            assert (store.get("k"), store.list(), store.getsize()) == (None, [], 0)
            assert (store.stat_many(["k"]), [*store.list_dir("")]) == ([None], [])
            store.delitems(["k"])
            store.erase_prefix("f/")
            store.rename_prefix("f/", "g/")
            assert store.get_versioned(["k"]) == [(None, None)]
            assert store.swap_many({"k": (b"old", b"new"), "l": (None, None)}) == ["k"]
            store.flush()
    assert not list(tmp_path.iterdir())


def test_swaps(open_it: Opener) -> None:
    """Of a batch of swaps those whose value is another one are refused, the others made; also after opening again."""
    with open_it() as store:
        store.update({"a": b"1", "b": b"2", "c": b""})
    with open_it() as store:
        versions = [version for _, version in store.get_versioned(["a", "b", "c", "d"])]
        store["b"] = b"other"
        swaps = dict(zip("abcd", zip(versions, [b"new", b"new", None, b"new"], strict=True), strict=True))
        assert store.swap_many(swaps) == ["b"]
        assert dict(store.items()) == {"a": b"new", "b": b"other", "d": b"new"}
        assert store.swap_many({"d": (None, b"again"), "c": (b"", None)}) == ["d", "c"]
        assert (store.stat_many(["a", "b", "c", "d", "a"]), len(store)) == ([3, 5, None, 3, 3], 3)


def test_a_swap_sees_what_was_written_before_it_could_lock(open_it: Opener) -> None:
    """What another process writes between reading and swapping is not overwritten: comparing waits for the lock."""
    with open_it() as store:
        store["k"] = b"1"
    with open_it() as store:
        (found,) = store.get_versioned(["k"])
        store.driver.database._locked = None  # as if it had been read by a process that holds no lock
        store.driver.database.file.release()
        assert together(_write_two, open_it, 1) == [None]
        assert store.swap_many({"k": (found[1], b"new")}) == ["k"]
        assert store["k"] == b"2"


def _write_two(opener: Opener, _: int) -> None:
    with opener() as store:
        store["k"] = b"2"


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
    with pytest.raises(ConfigurationError, match="'flag' of 'dbm' takes"):
        open_it(flag="a")


def test_starting_over(open_it: Opener) -> None:
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
        store._Backend__process = -1  # as in a forked child
        store["m"] = b"x"
        assert sorted(store) == ["k", "l", "m"]
    assert open_it(flag="n") == open_it(flag="c", mode=0o600)


def test_starting_over_in_another_format(tmp_path: Path, available: list[str]) -> None:
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
