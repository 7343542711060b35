"""DBM databases: what is asked of them, and what is refused."""

import dbm
import dbm.dumb
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    StoreAccessError,
    UnsupportedError,
)
from zarrv3.store.contract import ByteRange, Request
from zarrv3.testing import Opener
from zarrv3.testing.processes import together
from zarrv3_store_dbm import DBMStore


def in_child(function: Any, *arguments: Any) -> Any:
    """What a function returns in a forked child."""
    return together(function, *arguments)[0]


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
        assert [*store.list_dir("")] == ["a/"]
        assert calls == ["open r", "keys"]
        assert store.getsize("a") == 190
        assert calls == ["open r", "keys"] + ["get"] * 100
        store.write_many({"a/100": b"1234", "b": b""})
        calls.clear()
        assert len([*store.list_dir("a/")]) == 101
        assert "a/100" in store
        assert store.getsize("a/100") == 4
        assert calls == ["keys"]  # opening for writing may let others in between: once more
        calls.clear()
        store.delitems(["a/1", "missing"])
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
        ("text", r"text' is a file, but not a database of Python's dbm modules"),
        ("folder", r"folder' is a folder, not a dbm database; give the path of a file in it"),
        ("half", r"index '.*half.dir' is not; restore it"),
        ("bad", r"line 2 of '.*bad.dir' is not an entry"),
        ("short", r"short.dat' is damaged: it ends before the end of the value of 'k'"),
    ]:
        for flag in ("r", "c"):
            with (
                DBMStore(tmp_path / name, flag=flag) as store,
                pytest.raises(StoreAccessError, match=message),
            ):
                store["k"]
    with pytest.raises(StoreAccessError, match="not a database"):
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
        ({"module": "bsd"}, "'module' of 'dbm' takes one of dumb, gnu, ndbm, sqlite3, not 'bsd'"),
        ({"modul": "gnu"}, "'dbm' has no option 'modul'; did you mean 'module' or 'mode'"),
        ({"open": "gnu"}, "'open' of 'dbm' takes a function or None, not 'gnu'"),
        ({"open": print, "module": "gnu"}, "not both"),
        ({"flag": "cs"}, "more than one letter"),
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
            inside.delitems(["k"])
            inside["l"] = b"w"
            assert store.list() == ["k"]
        assert store.list() == ["l"]
        assert store.get_many([Request("l", ByteRange(-1))]) == [b"w"]


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
