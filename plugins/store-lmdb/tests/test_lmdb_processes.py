"""LMDB databases: threads, processes and forks."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest

from zarrv3.errors import StoreAccessError, StoreClosedError
from zarrv3_store_lmdb import LMDBStore, environments

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def child(action: Callable[[], object]) -> int:
    """The exit code of a forked child: 0 when the action went well."""
    pid = os.fork()
    if not pid:
        code = 1
        with suppress(BaseException):
            action()
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_new_process(code: str, *arguments: object) -> int:
    """Run code in a process that shares nothing with this one; returns its exit code."""
    command = [sys.executable, "-c", f"import sys\n{code}", *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=60).returncode


WRITE = """
from zarrv3_store_lmdb import LMDBStore
path, key, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
with LMDBStore(path) as store:
    for turn in range(4):
        store[key] = b"v" * (size - turn)
    store[key] = b"v" * size
"""
"""Write one value."""

HOLD_AND_DIE = """
import lmdb, os, signal
transaction = lmdb.open(sys.argv[1], max_readers=1024).begin()
transaction.get(b"k")
os.kill(os.getpid(), signal.SIGKILL)
"""
"""Be killed in a read transaction."""


def write(path: Path, key: str, size: int) -> None:
    """Write one value."""
    with LMDBStore(path) as store:
        for turn in range(4):
            store[key] = b"v" * (size - turn)
        store[key] = b"v" * size


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LMDBStore]:
    """A store with one value, whose map is small."""
    with LMDBStore(tmp_path / "data", map_size=1 << 20) as found:
        found["k"] = b"v"
        yield found


def test_another_process_grows_the_map(store: LMDBStore, tmp_path: Path) -> None:
    """A store goes on when another process has made the database larger than its map."""
    assert in_new_process(WRITE, tmp_path / "data", "big", 3 << 20) == 0
    assert len(store["big"]) == 3 << 20
    assert in_new_process(WRITE, tmp_path / "data", "bigger", 9 << 20) == 0
    store["own"] = b"w"
    assert (store["own"], len(store["bigger"])) == (b"w", 9 << 20)


def test_a_map_that_grows_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening is tried again when another process grows the map in that very moment."""
    real, attempts = lmdb.open, []

    def opening(*arguments: Any, **options: Any) -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise lmdb.MapResizedError("grew")
        return real(*arguments, **options)

    monkeypatch.setattr(lmdb, "open", opening)
    write(tmp_path / "data", "k", 1)
    assert len(attempts) == 3


def test_threads_read_while_the_map_grows(store: LMDBStore, tmp_path: Path) -> None:
    """Readers in other threads, through other stores too, see whole values while the map is exchanged again and again."""
    other = LMDBStore(tmp_path / "data")
    store.write_many({str(n): b"%d" % n for n in range(8)})
    ended, errors = threading.Event(), []

    def read(own: LMDBStore) -> None:
        try:
            while not ended.is_set():
                for key, value in own.items():
                    assert set(value) <= {value[0]}, key
                assert sum(1 for _ in own.list_sizes("")) == len(own.list())
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    readers = [
        threading.Thread(daemon=True, target=read, args=(own,)) for own in (store, other, store, other)
    ]
    for thread in readers:
        thread.start()
    for size in range(8):
        store.write_many({str(n): b"%d" % n * (1 << (10 + size)) for n in range(8)})
        time.sleep(0.01)
    ended.set()
    for thread in readers:
        thread.join()
    other.close()
    assert not errors
    assert store.driver._held._size > 1 << 20  # type: ignore[attr-defined]


@fork
def test_forks_while_threads_work(store: LMDBStore) -> None:
    """Children forked while other threads read, write and grow the map use the store without harm."""
    ended = threading.Event()

    def work(number: int) -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            store[f"t{number}"] = b"%d" % turn * 20_000
            assert store["k"] == b"v"

    def copy(key: str) -> None:
        store[key] = store["k"]

    threads = [threading.Thread(daemon=True, target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    codes = [child(partial(copy, f"c{n}")) for n in range(15)]
    ended.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 15
    assert store.getitems([f"c{n}" for n in range(15)]) == {f"c{n}": b"v" for n in range(15)}


@fork
def test_a_child_leaves_the_parent_alone(store: LMDBStore, tmp_path: Path) -> None:
    """What a child drops, opens and closes frees neither the locks nor the reader slots of its parent."""
    env = store.driver._held  # type: ignore[attr-defined]
    child_reads, parent_writes = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        with suppress(BaseException):
            os.read(child_reads, 1)  # the parent is in a transaction by now
            assert env._lmdb is None
            with pytest.raises(StoreClosedError):
                env.read(lambda txn: None)
            write(tmp_path / "data", "c", 1)
            store.close()
            code = 0
        os._exit(code)

    def go_on(transaction: Any) -> None:
        os.write(parent_writes, b"g")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert str(os.getpid()) in env._lmdb.readers()
        assert in_new_process(WRITE, tmp_path / "data", "k", 5000) == 0
        assert bytes(transaction.get(b"k")) == b"v"

    env.read(go_on)
    assert (len(store["k"]), store["c"]) == (5000, b"v")
    os.close(child_reads)
    os.close(parent_writes)


@fork
def test_a_fork_in_a_transaction(store: LMDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that would have to wait too long goes ahead; its child cannot use the database, and is told so."""
    monkeypatch.setattr(environments, "_PATIENCE", 0.05)

    def refused() -> None:
        with pytest.raises(StoreAccessError, match="already open in this process"):
            store.get("k")

    assert store.driver._held.read(lambda _: child(refused)) == 0  # type: ignore[attr-defined]
    assert child(lambda: store["k"]) == 0
    assert store["k"] == b"v"


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
def test_dead_readers_are_cleared(store: LMDBStore, tmp_path: Path) -> None:
    """A reader that was killed in a transaction does not keep pages from being used again for ever."""
    store.close()
    assert in_new_process(HOLD_AND_DIE, tmp_path / "data") == -signal.SIGKILL
    with LMDBStore(tmp_path / "data") as again:
        again["k"] = b"w"
        assert again.driver._held._lmdb.readers() == "(no active readers)\n"  # type: ignore[attr-defined]


def test_a_database_without_locks(tmp_path: Path) -> None:
    """With `lock=False` only one process may use the database, as the capabilities say; its threads are kept apart."""
    with LMDBStore(tmp_path / "data", lock=False) as store:
        assert not store.capabilities.shared

        def work(number: int) -> None:
            for turn in range(50):
                store.write_many({f"{n}": b"%d" % (number * 100 + turn) * 5000 for n in range(3)})
                for value in store.getitems(["0", "1", "2"]).values():
                    assert value == value[: len(value) // 5000] * 5000

        threads = [threading.Thread(daemon=True, target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not (tmp_path / "data" / "lock.mdb").exists()
