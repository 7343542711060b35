"""The kit itself: it finds what is wrong with stores that are wrong on purpose, and says which rule they break."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zarrv3.errors import StoreUnavailableError
from zarrv3.layers import Layer
from zarrv3.store.backend import Backend
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Limits, Request, Store
from zarrv3.store.memory import DriverStore, MappingDriver, MemoryStore
from zarrv3.testing import (
    CHECKS,
    Check,
    ConformanceError,
    LayerConformance,
    NotApplicableError,
    StoreConformance,
    run_checks,
)
from zarrv3.testing.conformance import silent_overrides
from zarrv3.testing.machine import check_like_a_dict
from zarrv3.testing.processes import generation_of, stamped, together

# ---------------------------------------------------------------- stores that are wrong on purpose


class ClipsNothing(MappingDriver):
    """Takes a negative start for an offset."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for `ByteRange(-3)`."""
        return super().get_many([(k, w and ByteRange(max(w.start, 0), w.stop)) for k, w in requests])


class EmptyIsMissing(MappingDriver):
    """Takes an empty value for a missing key, as a careless `or None` does."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for `b""`."""
        return [value or None for value in super().get_many(requests)]


class Unordered(MappingDriver):
    """Answers in the order of its keys, as an `IN` query does."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong unless asked in order."""
        return super().get_many(sorted(requests, key=lambda request: request[0]))


class Deduplicates(MappingDriver):
    """Answers each key once."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for duplicates."""
        return super().get_many([*dict.fromkeys(requests)])


class KeepsBuffers(MappingDriver):
    """Stores the caller's buffer itself."""

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Wrong when the caller goes on using the buffer."""
        self.mapping.update(items)


class ReturnsViews(MappingDriver):
    """Returns views into memory that it uses again, as a database without copies does."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong after the next write."""
        return [
            None if v is None else memoryview(self.page(k))[: len(v)] if w is None else v
            for (k, w), v in zip(requests, super().get_many(requests), strict=True)
        ]

    def page(self, key: str) -> bytearray:
        """The page of a key."""
        page = self.__dict__.setdefault("pages", {}).setdefault(key, bytearray(1 << 20))
        page[: len(self.mapping[key])] = self.mapping[key]
        return page  # type: ignore[no-any-return]


class ListsByLike(MappingDriver):
    """Lists and erases by SQL's `LIKE`: `_` stands for any letter (defect 7)."""

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """Wrong for `grp_1/`."""
        return iter(
            [
                key
                for key in self.mapping
                if all(a in ("_", b) for a, b in zip(folder, key.ljust(99), strict=False))
            ]
        )


class ErasesNeighbours(MappingDriver):
    """Forgets the `/` at the end of a folder (defect 21)."""

    def erase_prefix(self, folder: str, /) -> None:
        """Wrong for `foo/` beside `foobar`."""
        super().erase_prefix(folder.rstrip("/"))


class LowersCase(MappingDriver):
    """Mixes up `foo` and `Foo`."""

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Wrong for upper case."""
        super().set_many({key.lower(): value for key, value in items.items()})

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for upper case."""
        return super().get_many([(key.lower(), wanted) for key, wanted in requests])


class UnsortedFolders(MappingDriver):
    """Lists folders without the `/` at their end."""

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """Wrong for every folder."""
        keys, folders = super().list_dir(folder)
        return keys, [name.rstrip("/") for name in folders]


class ReadsForSizes(MappingDriver):
    """Yields a size of 0 for a missing key."""

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """Wrong for missing keys."""
        if where and not where.endswith("/"):
            return iter([(where, len(self.mapping.get(where, b"")))])
        return super().sizes(where)


class IgnoresOld(MappingDriver):
    """Swaps whatever the old value is."""

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """Wrong for another old value."""
        return super().compare_and_set(key, self.mapping.get(key), new)


class RacesOnSwap(MappingDriver):
    """Compares, waits, then sets."""

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """Wrong with two threads."""
        if self.mapping.get(key) != old:
            return False
        time.sleep(0.01)
        return super().compare_and_set(key, self.mapping.get(key), new)


class WritesInPieces(MappingDriver):
    """Grows values piece by piece in sight of readers."""

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Wrong for readers at the same time."""
        for key, value in items.items():
            for part in (len(value) // 2, len(value)):
                self.mapping[key] = bytes(value[:part])
                time.sleep(0.0005)


class CreatesOnRead(MappingDriver):
    """Makes a document when it is read."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong on an empty store (defect 19)."""
        self.mapping.setdefault("zarr.json", b"{}")
        return super().get_many(requests)


class Overclaims(MappingDriver):
    """Claims to erase and does nothing."""

    def erase_many(self, keys: Collection[str], /) -> None:
        """Wrong for all keys."""


class RenameForgets(MappingDriver):
    """Loses what lies deeper when renaming (defect 6)."""

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Wrong for sub-folders."""
        for key in [key for key in self.mapping if key.startswith(source)]:
            value = self.mapping.pop(key)
            if "/" not in key[len(source) :]:
                self.mapping[target + key[len(source) :]] = value


class LyingLimits(MappingDriver):
    """Holds at most two keys a batch and silently drops the rest, without saying so in the limits."""

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Wrong for long batches."""
        super().set_many(dict([*items.items()][:100]))


class HalfTransactions(MappingDriver):
    """Applies changes one by one in sight of readers."""

    capabilities = replace(MappingDriver.capabilities, transactions=True)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """Wrong for readers at the same time."""
        for key, value in changes.items():
            super().apply_many({key: value})
            time.sleep(0.0005)


class PretendsTransactions(MappingDriver):
    """Claims transactions and forgets the erasures."""

    capabilities = replace(MappingDriver.capabilities, transactions=True)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """Wrong for `None`."""
        self.set_many({key: value for key, value in changes.items() if value is not None})


WRONG: list[tuple[type[MappingDriver], str]] = [
    (ClipsNothing, "every_range"),
    (EmptyIsMissing, "empty_value"),
    (Unordered, "missing_keys_in_a_batch"),
    (Deduplicates, "duplicates_in_a_batch"),
    (KeepsBuffers, "callers_buffers_may_change"),
    (ReturnsViews, "returned_values_do_not_change"),
    (ListsByLike, "list_prefix"),
    (ErasesNeighbours, "erase_prefix"),
    (LowersCase, "case_matters"),
    (UnsortedFolders, "list_dir"),
    (ReadsForSizes, "sizes"),
    (IgnoresOld, "atomic_swap"),
    (RacesOnSwap, "racing_threads"),
    (WritesInPieces, "threads_at_once"),
    (CreatesOnRead, "reading_never_writes"),
    (Overclaims, "erase_many"),
    (RenameForgets, "rename_prefix"),
    (LyingLimits, "many_keys"),
    (HalfTransactions, "transactions_are_seen_at_once"),
    (PretendsTransactions, "apply_many"),
]


def named(name: str) -> Check:
    """A check by its name."""
    return next(check for check in CHECKS if check.name == name)


@pytest.mark.parametrize(("driver", "check"), WRONG, ids=[driver.__name__ for driver, _ in WRONG])
def test_a_wrong_store_is_found(driver: type[MappingDriver], check: str) -> None:
    """Each kind of wrong store fails the check that is about it, and the text names the rule."""
    with pytest.raises(ConformanceError, match="the rule: "):
        named(check).run(partial(DriverStore, driver({})))


@pytest.mark.parametrize("driver", [ClipsNothing, EmptyIsMissing])
def test_the_state_machine_finds_wrong_stores(driver: type[MappingDriver]) -> None:
    """The machine finds wrong stores by itself, and its error names the rule."""
    made = driver({})

    def empty() -> DriverStore:
        return DriverStore(made)

    with pytest.raises(Exception) as found:
        check_like_a_dict(empty, examples=100, shrink=False)
    errors = found.value.exceptions if isinstance(found.value, ExceptionGroup) else [found.value]
    assert all(isinstance(error, ConformanceError) for error in errors)


# ---------------------------------------------------------------- wrong files


class Files(Backend):
    """A store of files in one folder that writes each in place: not atomic."""

    kind = "files-in-place"

    def __init__(self, path: str) -> None:
        super().__init__(path=path)

    def connect(self) -> Store:
        """The driver."""
        return FilesDriver(self.option("path"))


class FilesDriver(MappingDriver):
    """One file a key, opened for writing and filled."""

    capabilities = replace(
        MappingDriver.capabilities, shared=True, persistent=True, atomic_swap=False, atomic_create=False
    )

    def __init__(self, path: str) -> None:
        super().__init__({})
        self.path = Path(path)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Whole files."""
        return [self.read(self.file(key)) for key, _ in requests]

    def read(self, path: Path) -> bytes | None:
        """One whole file."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """In place: a reader or a kill finds a half."""
        self.path.mkdir(exist_ok=True)
        for key, value in items.items():
            self.write(self.file(key), value)

    def write(self, path: Path, value: Buffer) -> None:
        """In sight of everybody."""
        with path.open("wb") as file:
            for start in range(0, len(value), 1000):
                file.write(value[start : start + 1000])

    def erase_many(self, keys: Collection[str], /) -> None:
        """One by one."""
        for key in keys:
            self.file(key).unlink(missing_ok=True)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """From the files."""
        return ((key, self.file(key).stat().st_size) for key in self.list_prefix(where))

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """From the names."""
        names = (file.name.replace("+", "/") for file in self.path.glob("*"))
        return (name for name in names if name.startswith(folder))

    def file(self, key: str) -> Path:
        """The file of a key."""
        return self.path / key.replace("/", "+")


@pytest.mark.parametrize("check", ["killed_writers", "processes_at_once"])
def test_a_store_that_writes_in_place_is_found(check: str, tmp_path: Path) -> None:
    """Half-written files are noticed by readers in other processes and after a kill."""
    with pytest.raises(ConformanceError, match=r"not whole|whole old or its whole new"):
        named(check).run(partial(Files, str(tmp_path / "data")))


class Forgetful(Files):
    """A store that acknowledges writes it has not done."""

    kind = "forgetful"

    def connect(self) -> Store:
        """The driver."""
        return ForgetfulDriver(self.option("path"))


class ForgetfulDriver(FilesDriver):
    """Keeps every second batch in memory only."""

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Lost at a kill."""
        self.late: dict[str, Buffer]
        super().set_many(self.__dict__.get("late", {}))
        self.late = {**items}

    def write(self, path: Path, value: Buffer) -> None:
        """At once."""
        path.with_suffix(".new").write_bytes(value)
        path.with_suffix(".new").replace(path)

    def close(self) -> None:
        """Write what is left."""
        super().set_many(self.__dict__.get("late", {}))


@pytest.mark.parametrize("check", ["killed_writers", "flushing"])
def test_a_store_that_acknowledges_too_early_is_found(check: str, tmp_path: Path) -> None:
    """A write that was acknowledged and is not there after a kill is noticed."""
    with pytest.raises(ConformanceError, match="kill"):
        named(check).run(partial(Forgetful, str(tmp_path / "data")))


class LateDriver(ForgetfulDriver):
    """Keeps batches in memory until the next one or a flush, and says so."""

    capabilities = replace(FilesDriver.capabilities, durable=False)

    def flush(self) -> None:
        """Write what is left."""
        self.close()
        self.late = {}

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """Without what a killed writer left."""
        return (key for key in super().list_prefix(folder) if not key.endswith(".new"))


class Late(Files):
    """A store that claims no `durable`."""

    kind = "late"

    def connect(self) -> Store:
        """The driver."""
        return LateDriver(self.option("path"))


def test_a_store_that_is_not_durable_is_killed_after_a_flush(tmp_path: Path) -> None:
    """Without the claim `durable` the writer that is killed flushes before it acknowledges."""
    named("killed_writers").run(partial(Late, str(tmp_path / "data")))


class NotClosed(Backend):
    """A store that works after `close`."""

    kind = "not-closed"

    def __init__(self) -> None:
        super().__init__()
        self._content = MappingDriver({})

    def connect(self) -> Store:
        """The driver."""
        return self._content

    def close(self) -> None:
        """Does nothing."""


def test_a_store_that_cannot_be_closed_is_found() -> None:
    """Calls after `close` have to be refused."""
    with pytest.raises(ConformanceError, match="get_many after close"):
        named("closed_store").run(NotClosed)


def test_unequal_stores_are_found() -> None:
    """Two stores that were opened alike have to be equal."""
    with pytest.raises(ConformanceError, match="opened alike are not equal"):
        named("equality").run(lambda: DriverStore(MappingDriver({})))


# ---------------------------------------------------------------- wrong layers


class Claims(Layer):
    """Claims everything."""

    kind = "claims"

    @property
    def capabilities(self) -> Capabilities:
        """Too much."""
        return Capabilities(transactions=True)


class OneByOne(Layer):
    """Breaks batches up."""

    kind = "one-by-one"

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """One call a key."""
        return [self.inner.get_many([request])[0] for request in requests]


class RememberingFailures(Layer):
    """A cache that keeps values whose writing failed."""

    kind = "remembering"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.cache: dict[str, Buffer | None] = {}

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Caches too early."""
        self.cache.update(items)
        self.inner.set_many(items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """Forgets them."""
        for key in keys:
            self.cache[key] = None
        self.inner.erase_many(keys)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """From the cache only."""
        missing = [key for key, _ in requests if key not in self.cache]
        self.cache.update(zip(missing, self.inner.get_many([(key, None) for key in missing]), strict=True))
        return [self.cache[key] for key, _ in requests]


class KeepsOpen(Layer):
    """Does not close what is below."""

    kind = "keeps-open"

    def close(self) -> None:
        """Nothing."""


class TestingALayer(LayerConformance):
    """An instance to call the kit's tests on."""

    __test__ = False


@pytest.mark.parametrize(
    ("layer", "test"),
    [
        (Claims, lambda layer: TestingALayer().test_capabilities_never_grow(layer, MemoryStore)),
        (OneByOne, lambda layer: TestingALayer().test_one_batch_in_at_most_one_out(layer, MemoryStore)),
        (RememberingFailures, lambda layer: TestingALayer().test_failures_below(layer, MemoryStore)),
        (KeepsOpen, lambda layer: TestingALayer().test_closes_its_store(layer, MemoryStore)),
    ],
)
def test_a_wrong_layer_is_found(layer: type[Layer], test: Callable[[Any], None]) -> None:
    """Each kind of wrong layer fails the test that is about it."""
    with pytest.raises(ConformanceError):
        test(layer)


# ---------------------------------------------------------------- overrides


class Honest(StoreConformance):
    """A class that says why a test cannot pass."""

    __test__ = False
    helper = 1

    @pytest.mark.xfail(reason="the server is like that")
    def test_case_matters(self) -> None:
        """Overridden openly."""

    def test_of_my_own(self) -> None:
        """Not the kit's."""


class Silent(Honest):
    """A class that hides tests."""

    test_big_value = None
    test_long_keys = pytest.mark.xfail(lambda self: None)  # without a reason

    def test_like_a_dict(self) -> None:  # type: ignore[override]
        """Overridden silently."""


def test_silent_overrides_are_found() -> None:
    """Redefining a test of the kit without a reason fails, and the error names the test."""
    Honest().test_no_silent_overrides()
    assert silent_overrides(Silent) == ["test_big_value", "test_like_a_dict", "test_long_keys"]
    with pytest.raises(
        ConformanceError, match=r"Silent overrides test_big_value, test_like_a_dict, test_long_keys silently"
    ):
        Silent().test_no_silent_overrides()


def test_the_finder_cannot_be_overridden() -> None:
    """The test that finds overrides cannot itself be redefined."""
    with pytest.raises(TypeError, match="must not override"):
        type("Sly", (StoreConformance,), {"test_no_silent_overrides": lambda self: None})


# ---------------------------------------------------------------- run_checks


def test_run_checks_reports_and_leaves_nothing() -> None:
    """Every check is run in a scratch folder, which is gone afterwards; what else is in the store stays."""
    content: dict[str, bytes] = {"mine/k": b"v", "zarrv3-checked": b"v"}
    results = [*run_checks(partial(DriverStore, MappingDriver(content)))]
    assert len(results) == len(CHECKS)
    assert {result.reason for result in results if result.outcome == "failed"} == set()
    skipped = [result for result in results if result.outcome == "skipped"]
    assert any("not claimed: persistent" in result.reason for result in skipped)
    assert content == {"mine/k": b"v", "zarrv3-checked": b"v"}


def test_run_checks_reports_failures() -> None:
    """What goes wrong is a result with the text of the error, whatever the error is."""
    found = [
        *run_checks(
            partial(DriverStore, EmptyIsMissing({})), checks=[named("empty_value"), named("big_value")]
        )
    ]
    assert [result.outcome for result in found] == ["failed", "passed"]
    assert "taken for" not in found[0].reason
    assert "the rule: values are bytes" in found[0].reason


def test_run_checks_refuses_a_scratch_folder_in_use() -> None:
    """A scratch folder that holds something is not touched."""
    store = MemoryStore({"zarrv3-check/k": b"v"})
    with pytest.raises(ValueError, match="is not empty"):
        next(run_checks(lambda: MemoryStore(store._driver.mapping)))


def test_run_checks_on_a_read_only_store() -> None:
    """A store that cannot be written is checked as it is."""

    class Fixed(MappingDriver):
        capabilities = Capabilities.read_only(shared=False, persistent=False)

    results = [*run_checks(partial(DriverStore, Fixed({"zarr.json": b"{}", "c/0": b"1234"})))]
    assert [result.check.name for result in results if result.outcome == "failed"] == []
    assert "what_is_there_reads_consistently" in {r.check.name for r in results if r.outcome == "passed"}


def test_importing_the_kit_imports_no_pytest() -> None:
    """The checks run where neither pytest nor hypothesis is installed."""
    code = "import sys, zarrv3.testing as t; assert t.CHECKS; sys.exit(bool({'pytest', 'hypothesis'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_check_has_a_name_and_a_sentence() -> None:
    """Names are unique, summaries are one sentence each, and what is needed is a capability."""
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.summary.endswith("."), check.name
        assert all(hasattr(Capabilities(), need) for need in check.needs), check.name


# ---------------------------------------------------------------- the tools


def test_stamped_values_prove_themselves() -> None:
    """A whole value gives its generation; a part, a mixture or another key's value gives none."""
    for generation in (1, 2, 3, 4, 12345):
        value = stamped("k", generation)
        assert generation_of("k", value) == generation
        assert generation_of("other", value) is None
        assert generation_of("k", value[:-1]) is None
        assert generation_of("k", value + b"x") is None
        mixed = value[: len(value) // 2] + stamped("k", generation + 4)[len(value) // 2 :]
        assert generation_of("k", mixed) is None
    assert generation_of("k", b"") is None
    assert generation_of("k", stamped("k", 7, 50), 50) == 7


def _fail(subject: object, number: int) -> None:
    raise StoreUnavailableError(f"child {number} has no connection")


def _exit(subject: object, number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_failures_of_children_are_reported() -> None:
    """What a child process raises, or that it died, reaches the test with its text."""
    with pytest.raises(ConformanceError, match="has no connection"):
        together(_fail, None, 2)
    with pytest.raises(ConformanceError, match="exit code -9"):
        together(_exit, None, 1)


def test_skipping_is_no_failure() -> None:
    """A check that makes no sense for a store says so."""
    with pytest.raises(NotApplicableError, match="not limited"):
        named("value_limit").run(MemoryStore)


def test_limits_are_checked() -> None:
    """Checks about limits run against a store that has some."""

    class Limited(MappingDriver):
        capabilities = Capabilities(
            shared=False,
            persistent=False,
            limits=Limits(key_bytes=300, value_bytes=2000, batch_keys=7, batch_bytes=3000),
        )

        def set_many(self, items: Mapping[str, Buffer], /) -> None:
            assert len(items) <= 7
            super().set_many(items)

    for name in (
        "long_keys",
        "value_limit",
        "batches_beyond_the_limit",
        "bytes_beyond_the_limit",
        "threads_at_once",
    ):
        named(name).run(partial(DriverStore, Limited({})))
    assert threading.active_count() < 50


AUTHORS_TEST = """
from functools import partial

import pytest

from zarrv3.store.memory import KVStore
from zarrv3.testing import StoreConformance


class TestMine(StoreConformance):
    @pytest.fixture
    def opener(self):
        return partial(KVStore, {})

    @pytest.mark.xfail(reason="the server is like that")
    def test_case_matters(self, opener):
        self.run_check("case_matters", opener)
        raise AssertionError


class TestWithoutOpener(StoreConformance):
    pass


class TestSilent(TestMine):
    def test_big_value(self, opener):
        pass
"""


def test_what_an_author_sees(tmp_path: Path) -> None:
    """Six lines are enough in a project of any settings; a forgotten fixture and a silent override are explained."""
    (tmp_path / "test_mine.py").write_text(AUTHORS_TEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n"
    )
    chosen = "TestMine or big_value or silent_overrides"
    command = [sys.executable, "-m", "pytest", "-q", "-k", chosen]
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    ).stdout
    assert "TestWithoutOpener has to define the fixture `opener`" in found
    assert "TestSilent overrides test_big_value silently" in found
    assert "1 failed" in found.splitlines()[-1], found
    assert "1 xfailed" in found.splitlines()[-1]
    assert "1 error" in found.splitlines()[-1]
