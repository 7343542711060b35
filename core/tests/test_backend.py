"""The guard: what a backend's driver never has to care about."""

import os
import pickle
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    LimitError,
    ReadOnlyError,
    StoreAccessError,
    StoreClosedError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.options.environment import Template
from zarrv3.store.backend import Backend, ErrorTable
from zarrv3.store.contract import (
    METHODS,
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Driver,
    Limits,
    Request,
    Swaps,
    Versioned,
    whole,
)
from zarrv3.store.helpers import children, unchanged
from zarrv3.store.memory import MappingDriver, MemoryDriver
from zarrv3.store.wrapping import DriverStore


class LibraryError(Exception):
    """What some database's library raises."""


class LibraryTimeoutError(LibraryError):
    """A more special one."""


class Recorder(MappingDriver):
    """A driver that records its calls and can be told to fail."""

    def __init__(self) -> None:
        super().__init__({})
        self.calls: list[tuple[str, int]] = []
        self.failure: Exception | None = None
        self.closed = 0

    def record(self, name: str, count: int = 1) -> None:
        """Note a call, and fail if asked to."""
        self.calls.append((name, count))
        if self.failure is not None:
            raise self.failure

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Recorded."""
        self.record("get_many", len(requests))
        return super().get_many(requests)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """Recorded."""
        self.record("stat_many", len(keys))
        return super().stat_many(keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Recorded."""
        self.record("get_versioned", len(keys))
        return super().get_versioned(keys)

    def write_many(self, changes: Changes, /) -> None:
        """Recorded."""
        self.record("write_many", len(changes))
        super().write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Recorded."""
        self.record("swap_many", len(swaps))
        changes, refused = unchanged(swaps, [self.mapping.get(key) for key in swaps])
        super().write_many(changes)
        return refused

    def apply_many(self, changes: Changes, /) -> None:
        """Recorded."""
        self.record("apply_many", len(changes))
        super().write_many(changes)

    def erase_prefix(self, folder: str, /) -> None:
        """Recorded."""
        self.record("erase_prefix")

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Recorded."""
        self.record("rename_prefix")

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """Recorded when it is read from."""
        self.record("list_sizes")
        yield from super().list_sizes(folder)

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """Recorded when it is read from."""
        assert not folder or folder.endswith("/"), "the guard asks for folders only"
        self.record("list_prefix")
        yield from super().list_prefix(folder)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """Recorded when it is read from."""
        self.record("list_dir")
        yield from children(super().list_prefix(folder), folder)

    def flush(self) -> None:
        """Recorded."""
        self.record("flush")

    def close(self) -> None:
        """Recorded."""
        self.record("close")
        self.closed += 1


class Example(Backend):
    """A backend with a secret, around recorders."""

    kind = "example"
    errors: ClassVar[ErrorTable] = {LibraryTimeoutError: StoreTimeoutError, LibraryError: StoreAccessError}

    def __init__(
        self, url: str = "example://host/db", password: str | None = None, *, limits: Limits | None = None
    ) -> None:
        super().__init__(url=url, password=password, limits=limits)
        self.made: list[Recorder] = []

    def connect(self) -> Driver:
        """A new recorder."""
        made = Recorder()
        if self.given_options["limits"]:
            made.capabilities = replace(made.capabilities, limits=self.given_options["limits"])
        self.made.append(made)
        return made


@pytest.fixture
def store() -> Example:
    """A store with a password."""
    return Example("example://user:hunter2@host/db", "sesame")


CALLS: dict[str, Callable[[Backend], object]] = {
    "get_many": lambda s: s.get_many(whole(["a/k"])),
    "stat_many": lambda s: s.stat_many(["a/k"]),
    "get_versioned": lambda s: s.get_versioned(["a/k"]),
    "write_many": lambda s: s.write_many({"a/k": b"v"}),
    "erasing by write_many": lambda s: s.write_many({"a/k": None}),
    "swap_many": lambda s: s.swap_many({"a/k": (None, b"v")}),
    "apply_many": lambda s: s.apply_many({"a/k": b"v"}),
    "erase_prefix": lambda s: s.erase_prefix("a/k/"),
    "rename_prefix": lambda s: s.rename_prefix("a/k/", "b/"),
    "list_sizes": lambda s: list(s.list_sizes("a/k/")),
    "list_prefix": lambda s: list(s.list_prefix("a/k/")),
    "list_dir": lambda s: list(s.list_dir("a/k/")),
    "flush": lambda s: s.flush(),
}


# ---------------------------------------------------------------- the driver's life


def test_the_driver_is_made_on_first_use(store: Example) -> None:
    """Constructing, describing, comparing, pickling and flushing connect nothing; the first call does, once."""
    repr(store)
    assert store == pickle.loads(pickle.dumps(store))
    store.flush()
    assert store.made == []
    assert store.capabilities.write
    assert store.capabilities.write
    assert len(store.made) == 1


def test_threads_share_one_driver() -> None:
    """Threads that use a new store at once make one driver."""
    barrier = threading.Barrier(8)
    store = Example()

    def use() -> None:
        barrier.wait()
        store.get_many(whole(["k"]))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.made) == 1


def test_closing_closes_the_driver_once(store: Example) -> None:
    """`close` reaches the driver once; an unused store closes without connecting."""
    assert store.capabilities.write
    store.close()
    store.close()
    assert store.made[0].closed == 1
    unused = Example()
    unused.close()
    assert unused.made == []


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"flush"}))
def test_a_closed_store_says_so(store: Example, call: str) -> None:
    """Every call after `close` raises `StoreClosedError` with the store's name and without its secrets."""
    store.close()
    with pytest.raises(StoreClosedError, match=r"Example\(.*\) is closed; open it again") as found:
        CALLS[call](store)
    assert "hunter2" not in str(found.value)
    assert "sesame" not in str(found.value)


def test_a_failing_connection_is_translated() -> None:
    """What goes wrong in `connect` is one of our errors, and the next call tries again."""

    class Unreachable(Example):
        tries = 0

        def connect(self) -> Driver:
            Unreachable.tries += 1
            raise ConnectionRefusedError(111, "refused for user:hunter2@host")

    store = Unreachable("example://user:hunter2@host/db")
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="cannot open Unreachable") as found:
            store.get("k")
        assert found.value.retryable
        assert "hunter2" not in str(found.value)
    assert Unreachable.tries == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_children_connect_anew(tmp_path: Path) -> None:
    """A store used before a fork makes a driver of its own in the child, even when a lock was held at the time."""
    script = tmp_path / "forking.py"
    script.write_text(
        textwrap.dedent("""
        import os, threading
        from zarrv3.store.backend import Backend
        from zarrv3.store.memory import MappingDriver

        class Connection(MappingDriver):
            def __init__(self):
                super().__init__({"process": str(os.getpid()).encode()})
            def close(self):
                assert self.mapping["process"] == str(os.getpid()).encode(), "closed another process's connection"

        class Connecting(Backend):
            kind = "connecting"
            def __init__(self):
                super().__init__()
            def connect(self):
                return Connection()

        used, closed, unused, held = Connecting(), Connecting(), Connecting(), Connecting()
        parent = used["process"]
        closed.close()
        held["process"]
        locked, done = threading.Event(), threading.Event()
        def hold():
            with held._Backend__lock:
                locked.set()
                done.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait()
        child = os.fork()
        if child == 0:
            own = str(os.getpid()).encode()
            try:
                assert used["process"] == own != parent
                assert unused["process"] == own
                held.flush()
                assert held["process"] == own, "the lock of the parent's thread"
                used.close()
                try:
                    closed["process"]
                    os._exit(2)
                except ValueError:
                    pass
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        done.set()
        thread.join()
        assert used["process"] == parent
        raise SystemExit(status)
        """)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script],
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_closing_an_inherited_store_in_a_child_does_not_hang(tmp_path: Path) -> None:
    """A child may close a store whose lock some thread of the parent held when it forked."""
    script = tmp_path / "closing.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, threading
        from zarrv3.store.memory import MemoryStore
        store = MemoryStore()
        locked, done = threading.Event(), threading.Event()
        def hold():
            with store._Backend__lock:
                locked.set()
                done.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            store.close()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        done.set()
        thread.join()
        raise SystemExit(abs(status))
        """)
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script], timeout=60, check=False
    )
    assert done.returncode == 0


# ---------------------------------------------------------------- limits


def test_requests_may_be_plain_tuples() -> None:
    """A driver is asked by requests with ranges, whatever the caller wrote."""

    class Strict(Recorder):
        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            assert [type(one) for one in requests] == [Request] * len(requests)
            assert all(one.range is None or type(one.range) is ByteRange for one in requests)
            return super().get_many(requests)

    driver = Strict()
    driver.mapping["k"] = b"0123"
    store: Any = DriverStore(driver)
    assert [bytes(value) for value in store.get_many([("k", (1, 3)), ("k",), ("k", None), Request("k")])] == [
        b"12", b"0123", b"0123", b"0123",
    ]  # fmt: skip


def test_long_batches_are_split() -> None:
    """The driver never sees more keys than it takes, and results come back whole and in order."""
    store = Example(limits=Limits(batch_keys=3))
    items = {f"k{i}": b"%d" % i for i in range(8)}
    store.write_many(items)
    assert store.get_many(whole(items)) == [*items.values()]
    assert store.stat_many([*items]) == [1] * 8
    found = store.get_versioned([*items])
    assert [value for value, _ in found] == [*items.values()]
    swaps = {key: (version, b"new") for key, (_, version) in zip(items, found, strict=True)}
    store.write_many({"k1": b"other", "k7": b"other"})
    assert store.swap_many(swaps) == ["k1", "k7"]
    store.write_many(dict.fromkeys(items))
    in_parts = ("write_many", "get_many", "stat_many", "get_versioned")
    assert store.made[0].calls == [
        *[(name, n) for name in in_parts for n in (3, 3, 2)],
        ("write_many", 2),
        *[(name, n) for name in ("swap_many", "write_many") for n in (3, 3, 2)],
    ]


def test_heavy_batches_are_split() -> None:
    """A batch is cut before it has more bytes than the driver takes; a single value never is."""
    store = Example(limits=Limits(batch_bytes=10))
    items = {"a": b"1234", "b": b"5678", "c": b"9", "gone": None, "d": b"x" * 30, "e": b""}
    store.write_many(items)
    store.swap_many({f"new/{key}": (None, value) for key, value in items.items()})
    calls = store.made[0].calls
    assert calls == [(name, n) for name in ("write_many", "swap_many") for n in (4, 1, 1)]


def test_large_transactions_are_refused() -> None:
    """Transactions cannot be cut: one that is larger than the driver takes is refused, and it is not asked."""
    store = Example(limits=Limits(transaction_keys=3, transaction_bytes=10))
    store.apply_many({"a": b"12345", "b": b"12345", "c": None})
    with pytest.raises(LimitError, match=r"transaction of 4 keys .* at most 3; nothing was written"):
        store.apply_many(dict.fromkeys("abcd"))
    with pytest.raises(LimitError, match=r"transaction of 11 bytes .* at most 10; nothing was written"):
        store.apply_many({"a": b"123456", "b": b"12345"})
    assert store.made[0].calls == [("apply_many", 3)]


def test_empty_batches_never_reach_the_driver(store: Example) -> None:
    """Empty batches do not even make the driver."""
    assert [*store.get_many([]), *store.stat_many([]), *store.swap_many({})] == []
    store.write_many({})
    assert store.made == []
    assert store.get_versioned([]) == []
    store.apply_many({})
    assert not any(made.calls for made in store.made)


def test_unlimited_batches_pass_whole(store: Example) -> None:
    """Without limits one batch is one call."""
    store.write_many({f"k{i}": b"" for i in range(1000)})
    store.get_many([Request(f"k{i}", ByteRange(1)) for i in range(1000)])
    assert store.made[0].calls == [("write_many", 1000), ("get_many", 1000)]


def test_limits_name_the_culprit() -> None:
    """Too long a key or too large a value is named, with the limit; nothing reaches the driver."""
    store = Example(limits=Limits(key_bytes=5, value_bytes=4))
    with pytest.raises(LimitError, match=r"key 'éééx' has 7 bytes but .* at most 5"):
        store.get_many(whole(["ok", "éééx"]))
    with pytest.raises(LimitError, match=r"the value of 'big' has 5 bytes but .* at most 4"):
        store.write_many({"ok": b"1", "big": b"12345"})
    for call in (
        lambda: store.swap_many({"ok": (None, b"1"), "big": (None, b"12345")}),
        lambda: store.apply_many({"ok": b"1", "big": b"12345"}),
    ):
        with pytest.raises(LimitError, match="the value of 'big'"):
            call()
    assert store.made[0].calls == []


# ---------------------------------------------------------------- checks


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\0b", "\ud800", 7, None, b"a"]
)
def test_bad_keys_never_reach_the_driver(store: Example, key: Any) -> None:
    """What is not a key is refused before the driver is asked."""
    for call in (
        lambda: store.get_many(whole(["fine", key])),
        lambda: store.stat_many(["fine", key]),
        lambda: store.get_versioned(["fine", key]),
        lambda: store.write_many({"fine": b"", key: b""}),
        lambda: store.write_many({"fine": None, key: None}),
        lambda: store.swap_many({"fine": (None, b""), key: (None, b"")}),
        lambda: store.apply_many({"fine": b"", key: b""}),
    ):
        with pytest.raises(InvalidKeyError):
            call()
    assert store.made[0].calls == []


def test_bad_folders_never_reach_the_driver(store: Example) -> None:
    """What is not a folder or prefix is refused before the driver is asked, even where it cannot be hashed."""
    bad: list[Any] = ["a", "/a/", "a//", "../", None, 7, ["a/"], b"a/"]
    for folder in bad:
        for call in (store.erase_prefix, store.list_dir, store.list_sizes):
            with pytest.raises(InvalidKeyError):
                call(folder)
        with pytest.raises(InvalidKeyError):
            store.rename_prefix("x/", folder)
        with pytest.raises(InvalidKeyError):
            store.list_prefix("a//" if folder == "a" else folder)
    with pytest.raises(InvalidKeyError, match="one lies inside the other"):
        store.rename_prefix("a/", "a/b/")
    assert not any(made.calls for made in store.made)


def test_list_prefix_filters_what_the_folder_holds(store: Example) -> None:
    """The driver is asked for the folder, the guard keeps what starts with the text."""
    store.write_many({"a/foo": b"", "a/foobar/x": b"", "a/bar": b"", "b": b""})
    assert sorted(store.list_prefix("a/foo")) == ["a/foo", "a/foobar/x"]
    assert sorted(store.list_prefix("")) == ["a/bar", "a/foo", "a/foobar/x", "b"]


class Fixed(MappingDriver):
    """A driver that claims nothing."""

    capabilities = Capabilities()


def test_what_is_not_claimed_is_refused() -> None:
    """A read-only store says so with `ReadOnlyError`, anything else that is not claimed is `UnsupportedError`."""
    fixed = DriverStore(Fixed({"k": b"v"}))
    for name in CALLS.keys() - {"get_many", "stat_many", "list_sizes", "list_prefix", "list_dir", "flush"}:
        with pytest.raises(ReadOnlyError, match="is read-only; open it for writing"):
            CALLS[name](fixed)
    for name in ("list_sizes", "list_prefix", "list_dir"):
        with pytest.raises(UnsupportedError, match="cannot list its keys"):
            CALLS[name](fixed)
    assert fixed.stat_many(["k", "none"]) == [1, None]
    assert fixed["k"] == b"v"

    driver = MappingDriver({})
    driver.capabilities = Capabilities(write=True)
    appending = DriverStore(driver)
    appending["k"] = b"v"
    for name, text in {
        "erasing by write_many": "cannot erase keys",
        "erase_prefix": "cannot erase keys",
        "rename_prefix": "cannot erase keys",
        "swap_many": "cannot swap values atomically",
        "get_versioned": "cannot swap values atomically",
        "apply_many": "cannot make several changes at once",
    }.items():
        with pytest.raises(UnsupportedError, match=text):
            CALLS[name](appending)
    assert driver.mapping == {"k": b"v"}


def test_swapping_is_not_erasing() -> None:
    """Without `erase`, a swap cannot be used to erase either."""
    driver = MappingDriver({"k": b"v"})
    driver.capabilities = Capabilities(write=True, swap=True)
    store = DriverStore(driver)
    with pytest.raises(UnsupportedError, match="cannot erase keys"):
        store.swap_many({"k": (store.get_versioned(["k"])[0][1], None)})
    assert store.swap_many({"none": (None, None)}) == []
    assert driver.mapping == {"k": b"v"}


@pytest.mark.parametrize(
    ("claim", "method"),
    [(claim, method) for claim, methods in METHODS.items() for method in methods] + [("read", "get_many")],
)
def test_a_claim_needs_its_methods(claim: str, method: str) -> None:
    """A driver that claims what it has no method for is refused at its first use, in a line that names both."""
    driver = type("Half", (MappingDriver,), {method: None})({})

    class Around(Backend):
        kind = "around"

        def connect(self) -> Driver:
            return driver

    with pytest.raises(ConfigurationError, match=f"Half of .* but has no method `{method}`"):
        Around().get("k")
    if claim != "read":
        driver.capabilities = MappingDriver.capabilities.without(
            *(c for c, m in METHODS.items() if method in m)
        )
        assert DriverStore(driver).get("k") is None


class Least:
    """The least that a driver can have, and all that it claims."""

    capabilities = Capabilities(write=True, erase=True, list=True)

    def __init__(self, mapping: dict[str, bytes]) -> None:
        self.inner = MappingDriver(mapping)
        self.get_many, self.write_many, self.list_prefix = (
            self.inner.get_many,
            self.inner.write_many,
            self.inner.list_prefix,
        )


def test_the_guard_does_what_a_driver_lacks() -> None:
    """Three methods are enough: all others are made from them."""
    store = DriverStore(Least({"a/x": b"1", "a/b/y": b"22", "ab/z": b"333"}))
    assert store.stat_many(["a/b/y", "none", "a/x"]) == [2, None, 1]
    assert sorted(store.list_dir("")) == ["a/", "ab/"]
    assert sorted(store.list_dir("a/")) == ["a/b/", "a/x"]
    assert dict(store.list_sizes("a/")) == {"a/x": 1, "a/b/y": 2}
    store.rename_prefix("a/", "c/d/")
    assert sorted(store) == ["ab/z", "c/d/b/y", "c/d/x"]
    store.erase_prefix("c/")
    store.flush()
    assert sorted(store) == ["ab/z"]
    store.close()


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("call", CALLS)
def test_errors_of_the_library_become_ours(store: Example, call: str) -> None:
    """Whatever call fails: our error, the key, the redacted store, the library's text, the cause kept."""
    assert store.capabilities.write
    store.made[0].failure = LibraryError("disk on fire")
    with pytest.raises(StoreAccessError, match="disk on fire") as found:
        CALLS[call](store)
    assert type(found.value.__cause__) is LibraryError
    if call != "flush":
        assert "a/k" in str(found.value)
    assert "Example(url='example://user:***@host/db', password='***')" in str(found.value)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (LibraryTimeoutError("slow"), StoreTimeoutError),
        (LibraryError("bad"), StoreAccessError),
        (TimeoutError("slow"), StoreTimeoutError),
        (ConnectionResetError("gone"), StoreUnavailableError),
        (PermissionError("no"), StoreAccessError),
        (OSError(28, "No space left on device"), StoreAccessError),
    ],
)
def test_the_first_class_that_fits_counts(store: Example, theirs: Exception, ours: type[StoreError]) -> None:
    """The backend's table comes first, then the errors of the system; only what may pass is retryable."""
    assert store.capabilities.write
    store.made[0].failure = theirs
    with pytest.raises(StoreError) as found:
        store.get("k")
    assert type(found.value) is ours
    assert found.value.retryable == issubclass(ours, StoreUnavailableError)


def test_bugs_and_our_own_errors_pass_unchanged(store: Example) -> None:
    """An error that is not a failure of the backend is not dressed up as one."""
    assert store.capabilities.write
    for error in (ZeroDivisionError("bug"), InvalidKeyError("ours")):
        store.made[0].failure = error
        with pytest.raises(type(error)) as found:
            store.get("k")
        assert found.value is error


@pytest.mark.parametrize(
    "text", ["cannot reach example://user:hunter2@host", "AUTH sesame failed", "example://h/?password=other"]
)
def test_secrets_in_a_librarys_text_are_hidden(store: Example, text: str) -> None:
    """A text with a secret is shown without it, and the error that has it is not shown as the cause."""
    assert store.capabilities.write
    store.made[0].failure = LibraryError(text)
    with pytest.raises(StoreAccessError) as found:
        store.get("k")
    shown = f"{found.value} {found.value.__cause__} {found.value.__suppress_context__}"
    assert "***" in shown
    assert not any(secret in shown for secret in ("hunter2", "sesame", "other"))
    assert found.value.__suppress_context__


def test_secrets_from_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value put in for `${NAME}` reaches the driver and appears nowhere else."""
    monkeypatch.setenv("EXAMPLE_SECRET", "p@ss")
    store = Example(Template("example://user:${EXAMPLE_SECRET}@host"), Template("${EXAMPLE_SECRET}"))
    assert store.option("url") == "example://user:p%40ss@host"
    assert store.option("password") == "p@ss"
    assert store.capabilities.write
    store.made[0].failure = LibraryError("wrong: p@ss or p%40ss")
    with pytest.raises(StoreAccessError) as found:
        store.get("k")
    for text in (str(found.value), repr(store), str(store.spec()), repr(pickle.dumps(store))):
        assert "p@ss" not in text
        assert "p%40ss" not in text
    monkeypatch.delenv("EXAMPLE_SECRET")
    with pytest.raises(ConfigurationError, match="EXAMPLE_SECRET is not set"):
        store.option("password")


def test_what_is_not_set_is_named() -> None:
    """An error about a variable that is not set has its name, without a word of what is hidden."""

    class Asking(Example):
        def connect(self) -> Driver:
            self.option("url")
            return super().connect()

    with pytest.raises(ConfigurationError, match="EXAMPLE_SECRET is not set") as found:
        Asking(Template("example://user:${EXAMPLE_SECRET}@host")).get("k")
    assert "***" not in str(found.value)


def test_many_keys_are_summed_up(store: Example) -> None:
    """An error about a batch names its first key and how many more there were."""
    assert store.capabilities.write
    store.made[0].failure = LibraryError("bad")
    with pytest.raises(StoreAccessError, match=r"cannot read 'k0' \(or one of 99 more keys\) in"):
        store.get_many(whole([f"k{i}" for i in range(100)]))


def test_failing_listings_are_translated_half_way() -> None:
    """A listing that fails after some items raises our error there."""

    class Breaking(MappingDriver):
        def list_prefix(self, folder: str, /) -> Iterator[str]:
            yield "a"
            raise OSError("connection lost")

    listing = DriverStore(Breaking({})).list_prefix("")
    assert next(listing) == "a"
    with pytest.raises(StoreAccessError, match="connection lost"):
        next(listing)


# ---------------------------------------------------------------- drivers without the base class


class Plain:
    """The contract's methods and nothing else."""

    capabilities = MappingDriver.capabilities

    def __init__(self) -> None:
        self.inner = MappingDriver({})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_driver_needs_no_base_class() -> None:
    """Anything with the contract's methods becomes a full store, checked like all others."""
    store = DriverStore(Plain())  # type: ignore[arg-type]
    store["a/b"] = b"v"
    assert dict(store.items()) == {"a/b": b"v"}
    with pytest.raises(InvalidKeyError):
        store["../b"] = b"v"


def test_notebooks_see_no_secrets(store: Example) -> None:
    """The representation in a notebook is escaped and hides secrets too."""
    assert "hunter2" not in store._repr_html_()


class Miscounting(MemoryDriver):
    """A driver that answers too much or too little, and refuses keys that nobody asked about."""

    def __init__(self, more: int) -> None:
        super().__init__({"a": b"1", "b": b"2"})
        self.more = more

    def get_many(self, requests: Sequence[Request], /) -> list[Buffer | None]:
        """One value too many, or too few."""
        values = [*super().get_many(requests)]
        return [*values, None] if self.more > 0 else values[:-1]

    def swap_many(self, swaps: Any, /) -> list[str]:
        """A key that was not given."""
        return ["nonsense"]


@pytest.mark.parametrize("more", [1, -1])
def test_answers_are_counted(more: int) -> None:
    """A driver that gives more or fewer answers than questions, or refuses other keys, is an error, not wrong data."""
    store = DriverStore(Miscounting(more))
    with pytest.raises(StoreAccessError, match=r"get_many gave . answers to 2 questions"):
        store.get_many([Request("a"), Request("b")])
    with pytest.raises(StoreAccessError, match="refused keys that it was not given"):
        store.swap_many({"a": (None, b"3")})


def test_secrets_in_odd_places() -> None:
    """A secret in a note, in a group of exceptions, in one of our own errors or in an unreadable one is not shown."""
    secret = "hunter" + str(2)  # so that no line of this test that a traceback shows has it

    class Mute(Exception):  # noqa: N818 - a plugin's
        def __str__(self) -> str:
            raise ValueError(secret)

    noted = ValueError("fine")
    noted.add_note(f"the password is {secret}")
    errors = [
        noted,
        ExceptionGroup("fine", [ValueError(secret)]),
        StoreUnavailableError(secret),
        Mute(),
    ]

    class Secretive(Backend):
        kind = "secretive"
        error: ClassVar[Exception]

        def __init__(self, password: str) -> None:
            super().__init__(password=password)

        def connect(self) -> Any:
            raise self.error

    for Secretive.error in errors:
        with pytest.raises(StoreError) as caught:
            Secretive(secret)["k"]
        assert secret not in "".join(traceback.format_exception(caught.value))


# ---------------------------------------------------------------- names that are taken


class Named(Backend):
    """A store as a third party writes it, with an attribute of a name that it has chosen."""

    kind = "named"

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        setattr(self, name, "text")

    def connect(self) -> Driver:
        """Nothing special."""
        return MemoryDriver({})


def test_a_store_that_sets_its_driver() -> None:
    """The driver is what `connect` makes: a store that sets it is told so."""
    with pytest.raises(TypeError, match=r"Named\.driver is what Named.connect makes; give an attribute"):
        Named("driver")


@pytest.mark.parametrize("name", ["_lock", "_live", "_closed", "_process", "_questions"])
def test_private_names_of_its_own(name: str) -> None:
    """A store may have private state under any usual name."""
    store = Named(name)
    store["k"] = b"v"
    assert (store["k"], getattr(store, name)) == (b"v", "text")


def test_a_driver_is_there_once_it_was_made() -> None:
    """Asking whether there is a driver makes none; there is one from the first call until the store is closed."""
    store = Named("_lock")
    assert store.live_driver is None
    assert store.get("k") is None
    assert store.live_driver is store.driver
    store.close()
    assert store.live_driver is None
