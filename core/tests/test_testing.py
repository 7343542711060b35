"""The kit itself: it finds what is wrong with stores that are wrong on purpose, and says which rule they break."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest

from zarrv3 import registry
from zarrv3.errors import StoreAccessError, StoreUnavailableError
from zarrv3.layers import Layer
from zarrv3.options.declared import Option
from zarrv3.store.backend import Backend
from zarrv3.store.contract import (
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
from zarrv3.store.file_backend import FileBackend
from zarrv3.store.helpers import (
    by_digest,
    children,
    cut,
    erase_by_listing,
    rename_by_copy,
    size_of,
    stat_by_reading,
    unchanged,
)
from zarrv3.store.memory import MappingDriver, MemoryDriver, MemoryStore
from zarrv3.store.wrapping import DriverStore
from zarrv3.testing import (
    CHECKS,
    Check,
    ConformanceError,
    LayerConformance,
    NotApplicableError,
    StoreConformance,
    processes,
    restarts,
    run_checks,
)
from zarrv3.testing.checks import interrupts
from zarrv3.testing.checks.basics import basic_problem
from zarrv3.testing.conformance import silent_overrides
from zarrv3.testing.machine import check_like_a_dict
from zarrv3.testing.processes import generation_of, stamped, together
from zarrv3.testing.restarts import restarted

# ---------------------------------------------------------------- stores that are wrong on purpose


class ClipsNothing(MappingDriver):
    """Takes a negative start for an offset."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for `ByteRange(-3)`."""
        return super().get_many([Request(k, w and ByteRange(max(w.start, 0), w.stop)) for k, w in requests])


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


class OneByOneAnswers(MappingDriver):
    """Looks a key up again for each range of its value."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong where another thread writes in between."""
        found: list[Buffer | None] = []
        for request in requests:
            found += super().get_many([request])
            time.sleep(0.001)
        return found


class KeepsBuffers(MappingDriver):
    """Stores the caller's buffer itself."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong when the caller goes on using the buffer."""
        self.mapping.update(changes)


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
        fits = [key for key in self.mapping if len(key) > len(folder)]
        return iter([key for key in fits if all(a in ("_", b) for a, b in zip(folder, key, strict=False))])


class ErasesNeighbours(MappingDriver):
    """Forgets the `/` at the end of a folder (defect 21)."""

    def erase_prefix(self, folder: str, /) -> None:
        """Wrong for `foo/` beside `foobar`."""
        super().erase_prefix(folder.rstrip("/"))


class LowersCase(MappingDriver):
    """Mixes up `foo` and `Foo`."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong for upper case."""
        super().write_many({key.lower(): value for key, value in changes.items()})

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for upper case."""
        return super().get_many([Request(key.lower(), wanted) for key, wanted in requests])


class BareFolders(MappingDriver):
    """Lists folders without the `/` at their end."""

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """Wrong for every folder."""
        return (name.rstrip("/") for name in children(self.list_prefix(folder), folder))


class RepeatsFolders(MappingDriver):
    """Lists a folder once for each key in it."""

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """Wrong for folders of several keys."""
        skip = len(folder)
        for key in self.list_prefix(folder):
            name, slash, _ = key[skip:].partition("/")
            yield folder + name + slash


class NothingHasNoSize(MappingDriver):
    """Takes a missing key for one of no bytes."""

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """Wrong for missing keys."""
        return [size or 0 for size in super().stat_many(keys)]


class RoundsSizes(MappingDriver):
    """Tells the blocks that a value occupies."""

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """Wrong for most lengths."""
        return [None if size is None else -(-size // 512) * 512 for size in super().stat_many(keys)]


class ReadsForSizes(MappingDriver):
    """Reads whole values to tell how long they are."""

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """Right, at the price of everything."""
        return stat_by_reading(self, keys)


class IgnoresVersions(MappingDriver):
    """Swaps whatever the version is."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong for a key that was changed."""
        self.write_many({key: new for key, (_, new) in swaps.items()})
        return []


class RacesOnSwapQuickly(MappingDriver):
    """Compares, then writes, without a lock around both."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong with two threads."""
        changes, refused = unchanged(swaps, [self.mapping.get(key) for key in swaps])
        self.between()
        self.write_many(changes)
        return refused

    def between(self) -> None:
        """Go on at once."""


class RacesOnSwap(RacesOnSwapQuickly):
    """Compares, waits a moment for another thread to get as far, then writes."""

    two = threading.Barrier(2)

    def between(self) -> None:
        """Meet another thread, on a busy machine too."""
        with suppress(threading.BrokenBarrierError):
            self.two.wait(0.05)
            return
        self.two.reset()


class RacesWithinBatches(MappingDriver):
    """Compares all keys under a lock, and writes them one by one without it."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong for the last keys."""
        with self.lock.taken:
            changes, refused = unchanged(swaps, [self.mapping.get(key) for key in swaps])
        for key, new in changes.items():
            time.sleep(0.0005)
            self.write_many({key: new})
        return refused


class AllOrNothing(MappingDriver):
    """Refuses all swaps where one has to be refused."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong for the others."""
        _, refused = unchanged(swaps, [self.mapping.get(key) for key in swaps])
        return [*swaps] if refused else super().swap_many(swaps)


class RefusesSilently(MappingDriver):
    """Swaps what it can and names the first one only that it could not."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong for two refusals."""
        return [*super().swap_many(swaps)][:1]


class SwapsCannotErase(MappingDriver):
    """Takes `None` for nothing to do."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong for erasures."""
        return super().swap_many({key: swap for key, swap in swaps.items() if swap[1] is not None})


class EmptyIsFree(MappingDriver):
    """Creates a key that exists with an empty value."""

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Wrong for `b""`."""
        return [(value, value or None) for value, _ in super().get_versioned(keys)]

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong for `b""`."""
        with self.lock.taken:
            changes, refused = unchanged(swaps, [self.mapping.get(key) or None for key in swaps])
            self.write_many(changes)
        return refused


class Versioning(MappingDriver):
    """Keeps versions beside the values; subclasses make them badly."""

    def version(self, key: str) -> Hashable:
        """The version of a key that exists."""
        return self.mapping[key]  # type: ignore[no-any-return]

    def now(self, keys: Iterable[str]) -> list[Hashable]:
        """The versions of keys."""
        return [self.version(key) if key in self.mapping else None for key in keys]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As honest as the versions."""
        with self.lock.taken:
            return [*zip(self.get_many(whole(keys)), self.now(keys), strict=True)]

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As honest as the versions."""
        with self.lock.taken:
            changes, refused = unchanged(swaps, self.now(swaps))
            self.write_many(changes)
        return refused


class VersionsByLength(Versioning):
    """Tells values apart by their length only."""

    def version(self, key: str) -> Hashable:
        """Wrong for values of one length."""
        return len(self.mapping[key])


class VersionsByClock(Versioning):
    """Tells values apart by the time of the last write, in tenths of a second."""

    def write_many(self, changes: Changes, /) -> None:
        """Note the time."""
        times = self.__dict__.setdefault("times", {})
        times.update(dict.fromkeys(changes, int(time.monotonic() * 10)))
        super().write_many(changes)

    def version(self, key: str) -> Hashable:
        """Wrong for quick writes."""
        return self.__dict__["times"][key]  # type: ignore[no-any-return]


class VersionsBySwaps(Versioning):
    """Counts swaps, not writes."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Count."""
        refused = super().swap_many(swaps)
        self.counts().update(key for key in swaps if key not in refused)
        return refused

    def counts(self) -> Counter[str]:
        """How often each key was swapped."""
        return self.__dict__.setdefault("swapped", Counter())  # type: ignore[no-any-return]

    def version(self, key: str) -> Hashable:
        """Wrong after `write_many`."""
        return self.counts()[key]


class VersionsStartAgain(Versioning):
    """Counts the writes of a key, from one again when it is made again."""

    def write_many(self, changes: Changes, /) -> None:
        """Count."""
        counts = self.__dict__.setdefault("written", Counter())
        super().write_many(changes)
        counts.update([*changes])
        for key, value in changes.items():
            if value is None:
                counts.pop(key, None)

    def version(self, key: str) -> Hashable:
        """Wrong for a key made again."""
        return self.__dict__["written"][key]  # type: ignore[no-any-return]


class VersionsTheMissing(Versioning):
    """Gives missing keys a version, too."""

    def now(self, keys: Iterable[str]) -> list[Hashable]:
        """Wrong for missing keys."""
        return [self.mapping.get(key, b"") for key in keys]


class StaleVersions(MappingDriver):
    """Remembers what `get_versioned` returned first."""

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Wrong after the next write."""
        known: dict[str, Versioned] = self.__dict__.setdefault("known", {})
        return [known.setdefault(key, super(StaleVersions, self).get_versioned([key])[0]) for key in keys]


class WritesInPieces(MappingDriver):
    """Grows values piece by piece in sight of readers."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong for readers at the same time."""
        for key, value in changes.items():
            for part in (size_of(value) // 2, size_of(value)):
                self.mapping[key] = bytes(value or b"")[:part]
                time.sleep(0.0005)


class CreatesOnRead(MappingDriver):
    """Makes a document when it is read."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong on an empty store (defect 19)."""
        self.mapping.setdefault("zarr.json", b"{}")
        return super().get_many(requests)


class PingsByWriting(MappingDriver):
    """Leaves a key behind to learn whether it is let in."""

    def ping(self) -> None:
        """Wrong: others see it, and who may only read cannot ask."""
        self.mapping["ping"] = b""


class Overclaims(MappingDriver):
    """Claims to erase and does nothing."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong for all keys to be erased."""
        super().write_many({key: value for key, value in changes.items() if value is not None})


class ErasesFirst(MappingDriver):
    """Takes a batch in which anything is to be erased for one in which all is."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong for mixed batches."""
        super().write_many(dict.fromkeys(changes) if None in changes.values() else changes)


class RenameForgets(MappingDriver):
    """Loses what lies deeper when renaming (defect 6)."""

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Wrong for sub-folders."""
        for key in [key for key in self.mapping if key.startswith(source)]:
            value = self.mapping.pop(key)
            if "/" not in key[len(source) :]:
                self.mapping[target + key[len(source) :]] = value


class LyingLimits(MappingDriver):
    """Holds at most a hundred keys per batch and silently drops the rest, without saying so in the limits."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong for long batches."""
        super().write_many(dict([*changes.items()][:100]))


class HalfTransactions(MappingDriver):
    """Applies changes one by one in sight of readers."""

    def apply_many(self, changes: Changes, /) -> None:
        """Wrong for readers at the same time."""
        for key, value in changes.items():
            super().apply_many({key: value})
            time.sleep(0.0005)


class SmallTransactions(MappingDriver):
    """Takes 128 keys per transaction, as etcd does, and does not say so."""

    def apply_many(self, changes: Changes, /) -> None:
        """Wrong for 129 keys."""
        if len(changes) > 128:
            raise OSError("too many operations in txn request")
        super().apply_many(changes)


class LightTransactions(MappingDriver):
    """Takes ten megabytes per transaction, as FoundationDB does, and does not say so."""

    def apply_many(self, changes: Changes, /) -> None:
        """Wrong for more."""
        if sum(map(size_of, changes.values())) > 10_000_000:
            raise RuntimeError("Transaction exceeds byte limit")
        super().apply_many(changes)


class ReplacesWithoutErasing(MappingDriver):
    """Moves what is new over what is there and leaves the rest."""

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Wrong where the target is not empty."""
        keys = [*self.list_prefix(source)]
        moved = {target + key[len(source) :]: self.mapping[key] for key in keys}
        self.write_many({**dict.fromkeys(keys), **moved})


class TruncatedTransactions(MappingDriver):
    """Forgets what is beyond the first five hundred keys."""

    def apply_many(self, changes: Changes, /) -> None:
        """Wrong for 501 keys."""
        super().apply_many(dict([*changes.items()][:500]))


class PretendsTransactions(MappingDriver):
    """Claims transactions and forgets the erasures."""

    def apply_many(self, changes: Changes, /) -> None:
        """Wrong for `None`."""
        self.write_many({key: value for key, value in changes.items() if value is not None})


class ReleasesByHand(MappingDriver):
    """Takes its lock and gives it back without a `with` block."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong when it is interrupted in between."""
        self.lock.taken.acquire()
        super().write_many(changes)
        self.lock.taken.release()


class SwapsOneByOne(MappingDriver):
    """Erases the old value before it writes the new one."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong when it is interrupted in between."""
        with self.lock.taken:
            changes, refused = unchanged(swaps, [self.mapping.get(key) for key in swaps])
            for key in changes:
                self.mapping.pop(key, None)
            self.write_many(changes)
            return refused


class KeepsItsLock(MappingDriver):
    """Leaves a lock that a thread of its parent holds to a forked child: it is not made new."""

    own = threading.Lock()

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Hold the lock for a while."""
        with self.own:
            time.sleep(0.01)
            return super().get_many(requests)


WRONG: list[tuple[type[MappingDriver], str]] = [
    (ClipsNothing, "every_range"),
    (EmptyIsMissing, "empty_value"),
    (Unordered, "missing_keys_in_a_batch"),
    (OneByOneAnswers, "ranges_of_one_version"),
    (KeepsBuffers, "callers_buffers_may_change"),
    (ReturnsViews, "returned_values_do_not_change"),
    (ListsByLike, "list_prefix"),
    (ErasesNeighbours, "erase_prefix"),
    (LowersCase, "case_matters"),
    (BareFolders, "list_dir"),
    (RepeatsFolders, "list_dir"),
    (NothingHasNoSize, "sizes"),
    (RoundsSizes, "sizes"),
    (ReadsForSizes, "sizes_without_reading"),
    (IgnoresVersions, "swap_replaces"),
    (IgnoresVersions, "swap_creates"),
    (RacesOnSwap, "racing_threads"),
    (RacesOnSwap, "counting_threads"),
    (RacesOnSwap, "threads_that_write_over"),
    (RacesOnSwap, "flapping_threads"),
    (RacesOnSwapQuickly, "counting_threads"),
    (RacesWithinBatches, "counting_threads"),
    (AllOrNothing, "swap_of_many"),
    (RefusesSilently, "swap_of_many"),
    (SwapsCannotErase, "swap_erases"),
    (EmptyIsFree, "versions"),
    (EmptyIsFree, "swap_creates"),
    (VersionsByLength, "versions_tell_values_apart"),
    (VersionsByLength, "swap_replaces"),
    (VersionsByClock, "versions_tell_values_apart"),
    (VersionsBySwaps, "swap_replaces"),
    (VersionsBySwaps, "threads_that_write_over"),
    (VersionsStartAgain, "swap_of_a_key_made_again"),
    (VersionsTheMissing, "versions"),
    (StaleVersions, "ways_of_reading_agree"),
    (WritesInPieces, "threads_at_once"),
    (CreatesOnRead, "reading_never_writes"),
    (PingsByWriting, "ping"),
    (Overclaims, "erasing"),
    (ErasesFirst, "writing_and_erasing_in_one_batch"),
    (RenameForgets, "rename_prefix"),
    (ReplacesWithoutErasing, "replacing"),
    (LyingLimits, "many_keys"),
    (HalfTransactions, "transactions_are_seen_at_once"),
    (PretendsTransactions, "apply_many"),
    (SmallTransactions, "transactions_of_many_keys"),
    (TruncatedTransactions, "transactions_of_many_keys"),
    (LightTransactions, "transactions_of_many_bytes"),
]


def named(name: str) -> Check:
    """A check by its name."""
    return next(check for check in (*CHECKS, *interrupts.CHECKS) if check.name == name)


@pytest.mark.parametrize(
    ("driver", "check"), WRONG, ids=[f"{driver.__name__}-{check}" for driver, check in WRONG]
)
def test_a_wrong_store_is_found(driver: type[MappingDriver], check: str) -> None:
    """Each kind of wrong store fails the check that is about it, and the text names the rule."""
    with pytest.raises(ConformanceError, match="the rule: "):
        named(check).run(partial(DriverStore, driver({})))


@pytest.mark.parametrize(
    ("driver", "check", "text"),
    [
        (ReleasesByHand, "interrupted_calls", "after a write was interrupted, another thread's call failed"),
        (SwapsOneByOne, "interrupted_calls", "after a swap was interrupted, '.*' is None"),
        (HalfTransactions, "interrupted_calls", "after a transaction was interrupted: "),
        (KeepsItsLock, "forks_at_work", "a child process has not ended after 1 s"),
    ],
)
def test_interrupts_and_forks_find_wrong_stores(
    driver: type[MappingDriver], check: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left taken or half done by an interrupt, or to a forked child, is found."""
    monkeypatch.setattr(interrupts, "PATIENCE", 1.0)
    monkeypatch.setattr(processes, "PATIENCE", 1.0)
    with pytest.raises(ConformanceError, match=text):
        named(check).run(partial(DriverStore, driver({})))


def test_a_store_that_answers_each_key_once_is_found() -> None:
    """Fewer answers than requests are found by the guard, before the kit sees them."""
    with pytest.raises(StoreAccessError, match="get_many gave 4 answers to 7 questions"):
        named("duplicates_in_a_batch").run(partial(DriverStore, Deduplicates({})))


@pytest.mark.parametrize(
    "driver", [ClipsNothing, EmptyIsMissing, NothingHasNoSize, VersionsByLength, AllOrNothing, StaleVersions]
)
def test_the_state_machine_finds_wrong_stores(driver: type[MappingDriver]) -> None:
    """The machine finds wrong stores by itself, and its error names the rule."""
    made = driver({})

    def empty() -> DriverStore:
        return DriverStore(made)

    with pytest.raises(Exception) as found:
        check_like_a_dict(empty, examples=1000, shrink=False)
    errors = found.value.exceptions if isinstance(found.value, ExceptionGroup) else [found.value]
    assert all(isinstance(error, ConformanceError) for error in errors)


# ---------------------------------------------------------------- wrong files


class Files(Backend):
    """A store of files in one folder that writes each in place: not atomically."""

    kind = "files-in-place"

    def __init__(self, path: str) -> None:
        super().__init__(path=path)

    def connect(self) -> Driver:
        """The driver."""
        return FilesDriver(self.option("path"))


class FilesDriver:
    """One file per key, opened for writing and filled."""

    capabilities = Capabilities(write=True, erase=True, list=True, shared=True, persistent=True, durable=True)

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.late: dict[str, Buffer | None] = {}

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Whole files."""
        return [self.read(self.file(key)) for key, _ in requests]

    def read(self, path: Path) -> bytes | None:
        """One whole file."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def write_many(self, changes: Changes, /) -> None:
        """In place: a reader or a kill finds a half."""
        self.path.mkdir(exist_ok=True)
        for key, value in changes.items():
            if value is None:
                self.file(key).unlink(missing_ok=True)
            else:
                self.write(self.file(key), value)

    def write(self, path: Path, value: Buffer) -> None:
        """In sight of everybody."""
        with path.open("wb") as file:
            for start in range(0, len(value), 1000):
                file.write(value[start : start + 1000])

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """From the files."""
        return stat_by_reading(self, keys)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """From the files."""
        return ((key, self.file(key).stat().st_size) for key in self.list_prefix(folder))

    def erase_prefix(self, folder: str, /) -> None:
        """One by one."""
        erase_by_listing(self, folder)

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

    def connect(self) -> Driver:
        """The driver."""
        return ForgetfulDriver(self.option("path"))


class ForgetfulDriver(FilesDriver):
    """Keeps every second batch in memory only."""

    def write_many(self, changes: Changes, /) -> None:
        """Lost at a kill."""
        super().write_many(self.late)
        self.late = {**changes}

    def write(self, path: Path, value: Buffer) -> None:
        """At once."""
        path.with_suffix(".new").write_bytes(value)
        path.with_suffix(".new").replace(path)

    def close(self) -> None:
        """Write what is left."""
        super().write_many(self.late)


@pytest.mark.parametrize("check", ["killed_writers", "flushing"])
def test_a_store_that_acknowledges_too_early_is_found(check: str, tmp_path: Path) -> None:
    """A write that was acknowledged and is not there after a kill is noticed."""
    with pytest.raises(ConformanceError, match="kill"):
        named(check).run(partial(Forgetful, str(tmp_path / "data")))


class Snapshot(FileBackend):
    """A store of one file that keeps all of it in memory, as an embedded database may."""

    kind = "snapshot"

    def connect(self) -> Driver:
        """The driver."""
        return SnapshotDriver(self.path)


class SnapshotDriver(MappingDriver):
    """Reads the file when it is opened and writes the whole of it after every change."""

    capabilities = Capabilities(write=True, erase=True, list=True, persistent=True, durable=True)

    def __init__(self, path: str) -> None:
        self.file = Path(path)
        super().__init__(json.loads(self.file.read_text()) if self.file.exists() else {})
        self.save()

    def save(self) -> None:
        """Write all that this process knows of, over what others have written."""
        self.file.write_text(json.dumps(dict(self.mapping)))

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """From memory."""
        found = [self.mapping.get(key) for key, _ in requests]
        values = [None if text is None else text.encode() for text in found]
        return [cut(value, request.range) for value, request in zip(values, requests, strict=True)]

    def write_many(self, changes: Changes, /) -> None:
        """In memory, then in the file."""
        self.mapping.update({key: str(value, "ascii") for key, value in changes.items() if value is not None})
        self.save()


def test_a_child_whose_writes_its_parent_overwrites_is_found(tmp_path: Path) -> None:
    """A store of one process that acknowledges what a forked child writes, and then loses it, is noticed."""
    with pytest.raises(
        ConformanceError, match="the value of 'from/child': expected b'from/child', found None"
    ):
        named("inherited_store_of_one_process").run(partial(Snapshot, str(tmp_path / "data")))


def test_a_file_that_is_made_by_reading_is_found(tmp_path: Path) -> None:
    """A store of a file that is there after it was only read is noticed, though it has no keys."""
    with pytest.raises(ConformanceError, match="Snapshot made its file when it was only read"):
        named("reading_never_writes").run(partial(Snapshot, str(tmp_path / "data")))


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
    """A store that does not claim `durable`."""

    kind = "late"

    def connect(self) -> Driver:
        """The driver."""
        return LateDriver(self.option("path"))


def test_a_store_that_is_not_durable_is_killed_after_a_flush(tmp_path: Path) -> None:
    """Without the claim `durable` the writer that is killed flushes before it acknowledges."""
    named("killed_writers").run(partial(Late, str(tmp_path / "data")))


class SwappingFiles(Files):
    """A store whose swaps are atomic between the threads of a process only."""

    kind = "swapping-files"

    def connect(self) -> Driver:
        """The driver."""
        return SwappingDriver(self.option("path"))


class SwappingDriver(FilesDriver):
    """Replaces whole files; compares under a lock of its own."""

    capabilities = replace(FilesDriver.capabilities, swap=True)
    lock = threading.Lock()

    def write(self, path: Path, value: Buffer) -> None:
        """At once."""
        new = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        new.write_bytes(value)
        new.replace(path)

    def write_many(self, changes: Changes, /) -> None:
        """Not while another thread compares."""
        with self.lock:
            super().write_many(changes)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """Digests."""
        return by_digest(self.get_many(whole(keys)))

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Wrong with two processes."""
        with self.lock:
            changes, refused = unchanged(swaps, [version for _, version in self.get_versioned([*swaps])])
            time.sleep(0.005)  # longer than a process may be late
            super().write_many(changes)
        return refused


@pytest.mark.parametrize("check", ["racing_processes", "counting_processes", "processes_that_write_over"])
def test_swaps_that_race_between_processes_are_found(check: str, tmp_path: Path) -> None:
    """A lock that only threads respect is not enough for a store that is shared."""
    opener = partial(SwappingFiles, str(tmp_path / "data"))
    named(check.replace("processes", "threads")).run(opener)
    with pytest.raises(ConformanceError, match="one wins"):
        named(check).run(partial(SwappingFiles, str(tmp_path / "more")))


class NotClosed(Backend):
    """A store that works after `close`."""

    kind = "not-closed"

    def __init__(self) -> None:
        super().__init__()
        self._content = MappingDriver({})

    def connect(self) -> Driver:
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
        return replace(self.inner.capabilities, transactions=True)


class OneByOne(Layer):
    """Breaks batches up."""

    kind = "one-by-one"

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """One call per key."""
        return [self.inner.get_many([request])[0] for request in requests]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """In one call."""
        return self.inner.get_versioned(keys)


class RememberingFailures(Layer):
    """A cache that keeps values whose writing failed."""

    kind = "remembering"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.cache: dict[str, Buffer | None] = {}

    @property
    def capabilities(self) -> Capabilities:
        """Less than it passes on, so that it need not override every way of writing."""
        return self.inner.capabilities.without("transactions")

    def write_many(self, changes: Changes, /) -> None:
        """Caches too early."""
        self.cache.update(changes)
        self.inner.write_many(changes)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """From the cache only."""
        missing = [key for key, _ in requests if key not in self.cache]
        self.cache.update(zip(missing, self.inner.get_many(whole(missing)), strict=True))
        return [cut(self.cache[key], wanted) for key, wanted in requests]


class ForgetsSwaps(RememberingFailures):
    """A cache that does not know of swaps."""

    kind = "forgets-swaps"

    def write_many(self, changes: Changes, /) -> None:
        """Right."""
        self.inner.write_many(changes)
        self.cache.update(changes)


class Inverts(Layer):
    """Stores values inverted, and has forgotten that they can be read with their versions."""

    kind = "inverts"

    @property
    def capabilities(self) -> Capabilities:
        """It claims swaps all the same."""
        return self.inner.capabilities.without("transactions")

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Inverted back."""
        return [None if v is None else bytes(255 - b for b in v) for v in self.inner.get_many(requests)]

    def write_many(self, changes: Changes, /) -> None:
        """Inverted."""
        self.inner.write_many(
            {key: None if v is None else bytes(255 - b for b in v) for key, v in changes.items()}
        )


class Pads(Layer):
    """Shows values a byte longer, and has forgotten that sizes can be asked for."""

    kind = "pads"

    @property
    def capabilities(self) -> Capabilities:
        """Without what would have to be padded, too."""
        return self.inner.capabilities.without("transactions", "swap")

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """With their byte."""
        values = self.inner.get_many(whole([key for key, _ in requests]))
        padded = [None if value is None else bytes(value[:-1]) for value in values]
        return [cut(value, wanted) for value, (_, wanted) in zip(padded, requests, strict=True)]

    def write_many(self, changes: Changes, /) -> None:
        """Without it."""
        self.inner.write_many({k: None if v is None else bytes(v) + b"!" for k, v in changes.items()})


class MovesByCopying(Layer):
    """Copies a folder to move it, and claims what the store inside claims."""

    kind = "moves-by-copying"

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Not over the folder that the source lies in."""
        rename_by_copy(self, source, target)


class ReadsToTellSizes(Layer):
    """Reads values to tell their sizes."""

    kind = "reads-to-tell-sizes"

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """Right, at the price of everything."""
        return stat_by_reading(self, keys)


class HiddenOption(Layer):
    """Has an option that its signature does not tell, so that neither a URL nor a configuration can give it."""

    kind = "hidden-option"

    def __init__(self, store: object) -> None:
        super().__init__(store, level=3)


class DropsOption(Layer):
    """Takes an option and does not pass it on."""

    kind = "drops-option"

    def __init__(self, inner: Any, level: int = 1) -> None:
        super().__init__(inner)


class ShowsSecret(Layer):
    """Describes itself in its own words."""

    kind = "shows-secret"

    def __init__(self, inner: Any, password: str = "") -> None:
        super().__init__(inner, password=password)

    def describe(self) -> str:
        """With the password."""
        return f"ShowsSecret({self.option('password')!r})"


class TextOption(Layer):
    """Has an option that means something else as text."""

    kind = "text-option"

    def __init__(self, store: object, level: Annotated[int, Option("how much", convert=len)] = 3) -> None:
        super().__init__(store, level=level)


class ForgetsOption(Layer):
    """Keeps an option to itself."""

    kind = "forgets-option"

    def __init__(self, store: object, level: int = 3) -> None:
        super().__init__(store)
        self.level = level

    def identity(self) -> Any:
        """With the option."""
        return self.inner, self.level


class OtherName(Layer):
    """Is installed under another name than it says."""

    kind = "other-name"


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
        (
            ReadsToTellSizes,
            lambda layer: TestingALayer().test_sizes_without_reading_below(layer, MemoryStore),
        ),
        (RememberingFailures, lambda layer: TestingALayer().test_failures_below(layer, MemoryStore)),
        (KeepsOpen, lambda layer: TestingALayer().test_closes_its_store(layer, MemoryStore)),
    ],
)
def test_a_wrong_layer_is_found(layer: type[Layer], test: Callable[[Any], None]) -> None:
    """Each kind of wrong layer fails the test that is about it."""
    with pytest.raises(ConformanceError):
        test(layer)


@pytest.mark.parametrize(
    ("layer", "check"),
    [
        (ForgetsSwaps, "ways_of_reading_agree"),
        (Inverts, "ways_of_reading_agree"),
        (Pads, "ways_of_reading_agree"),
        (HiddenOption, "declared_options"),
        (DropsOption, "declared_options"),
        (MovesByCopying, "replacing"),
        (partial(ShowsSecret, password="open sesame"), "secrets"),
        (partial(TextOption, level=5), "declared_options"),
    ],
)
def test_a_layer_that_is_only_half_there_is_found(layer: Callable[[Any], Layer], check: str) -> None:
    """A layer that overrides one way of reading and not the others, or has options that no URL gives, is found."""
    content: dict[str, bytes] = {}
    with pytest.raises(ConformanceError, match="the rule: "):
        named(check).run(lambda: layer(MemoryStore(content)))


@pytest.mark.parametrize("layer", [partial(ForgetsOption, level=5), OtherName])
def test_a_spec_that_forgets_is_found(layer: Callable[[Any], Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer has to come back from its spec, with its options, by the name that it gives."""
    for name, cls in {"forgets-option": ForgetsOption, "misnamed": OtherName}.items():
        monkeypatch.setitem(registry.BUILT_IN["layers"], name, f"{__name__}:{cls.__name__}")
    with pytest.raises(ConformanceError, match=r"comes back from spec\(\)"):
        named("spec").run(lambda: layer(MemoryStore(name="spec")))


# ---------------------------------------------------------------- the basics


def without(*names: str) -> type[MappingDriver]:
    """A driver that lacks some methods."""
    return type("Lacking", (MappingDriver,), dict.fromkeys(names))


class NoCapabilities(MappingDriver):
    """Has something else for its capabilities."""

    capabilities: Any = "everything"


class SwapsWithoutWriting(MappingDriver):
    """Claims to swap, not to write."""

    capabilities = replace(MappingDriver.capabilities, write=False)


class OneAnswer(MappingDriver):
    """Answers with what is there."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Wrong for missing keys."""
        return [value for value in super().get_many(requests) if value is not None]


class Generates(MappingDriver):
    """Answers with a generator."""

    def get_many(self, requests: Sequence[Request], /) -> Any:
        """Has no length."""
        return (value for value in super().get_many(requests))


class Texts(MappingDriver):
    """Answers with text."""

    def get_many(self, requests: Sequence[Request], /) -> Any:
        """Not bytes."""
        return [None if value is None else bytes(value).decode() for value in super().get_many(requests)]


class WritesNothing(MappingDriver):
    """Forgets at once."""

    def write_many(self, changes: Changes, /) -> None:
        """Wrong for everything."""


class SwapsLikeOnce(MappingDriver):
    """Says whether a swap was made, as the first edition of the contract did."""

    def swap_many(self, swaps: Swaps, /) -> Any:
        """True or false."""
        return not super().swap_many(swaps)


class ListsNeighbours(MappingDriver):
    """Takes a folder for the beginning of a name."""

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """Without the slash that ends it."""
        return super().list_prefix(folder.rstrip("/"))


class Unreachable(MappingDriver):
    """Has no connection."""

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Fails."""
        raise ConnectionError("nobody listens\nat port 1")


BROKEN: list[tuple[type[MappingDriver], str]] = [
    (without("get_many"), "takes a Driver, not Lacking"),
    (without("write_many"), "claims `write` but has no method `write_many`"),
    (without("list_prefix"), "claims `list` but has no method `list_prefix`"),
    (without("get_versioned"), "claims `swap` but has no method `get_versioned`"),
    (without("apply_many"), "claims `transactions` but has no method `apply_many`"),
    (NoCapabilities, "has no attribute `capabilities` of class zarrv3.Capabilities"),
    (SwapsWithoutWriting, "it claims `swap` but not `write`"),
    (OneAnswer, "get_many gave 0 answers to 1 questions"),
    (Generates, "get_many returned a generator, not a sequence of answers"),
    (Texts, "get_many returns 'value', which is neither bytes nor None"),
    (WritesNothing, "after write_many, 'basics/k' reads None, not b'value'"),
    (Overclaims, "after erasing, 'basics/k' reads b'value', not None"),
    (BareFolders, "list_dir('basics/') yields"),
    (ListsNeighbours, "list_prefix('basics/f/') yields ['basics/f/k', 'basics/fk'], not ['basics/f/k']"),
    (SwapsLikeOnce, "swap_many returned True, not the keys that it refused"),
    (VersionsTheMissing, "get_versioned answers a missing key with (None, b'')"),
    (NothingHasNoSize, ""),
    (
        Unreachable,
        "get_many failed: cannot read 'basics/none' in DriverStore(Unreachable): nobody listens at port 1",
    ),
]


@pytest.mark.parametrize(("driver", "text"), BROKEN, ids=[driver.__name__ for driver, _ in BROKEN])
def test_what_is_basically_wrong_is_said_in_one_line(driver: type[MappingDriver], text: str) -> None:
    """The basics name the one thing that is wrong; a store that is wrong in finer ways passes them."""
    content: dict[str, bytes] = {}
    problem = basic_problem(lambda: DriverStore(driver(content)))
    assert problem is None if not text else problem and text in problem and "\n" not in problem


def test_the_basics_leave_nothing_behind() -> None:
    """What they write is erased again, and what else is in the store stays."""
    content = {"mine": b"v"}
    assert basic_problem(lambda: DriverStore(MappingDriver(content))) is None
    assert content == {"mine": b"v"}


def test_nothing_else_is_run_when_the_basics_fail() -> None:
    """One failure says what is wrong, all other checks are skipped and say so."""
    results = [*run_checks(partial(DriverStore, WritesNothing({})))]
    assert [(r.check.name, r.outcome) for r in results if r.outcome != "skipped"] == [("basics", "failed")]
    assert "'basics/k' reads None" in results[0].reason
    assert all(
        "the basics fail: after write_many" in r.reason for r in results[1:] if "claimed" not in r.reason
    )


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
    content = {"zarrv3-check/k": b"v"}
    with pytest.raises(ValueError, match="is not empty"):
        next(run_checks(partial(MemoryStore, content)))
    assert content == {"zarrv3-check/k": b"v"}


def test_run_checks_on_a_read_only_store() -> None:
    """A store that cannot be written is checked as it is."""

    class Fixed(MappingDriver):
        capabilities = MappingDriver.capabilities.read_only()

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


def test_skipping_is_not_failing() -> None:
    """A check that makes no sense for a store says so."""
    with pytest.raises(NotApplicableError, match="not limited"):
        named("value_limit").run(MemoryStore)


def test_limits_are_checked() -> None:
    """Checks about limits run against a store that has some."""

    class Limited(MappingDriver):
        capabilities = replace(
            MappingDriver.capabilities,
            limits=Limits(
                key_bytes=300,
                value_bytes=2000,
                batch_keys=7,
                batch_bytes=3000,
                transaction_keys=128,
                transaction_bytes=100_000,
            ),
        )

        def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            assert len(requests) <= 7
            return super().get_many(requests)

        def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
            assert len(keys) <= 7
            return super().stat_many(keys)

        def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
            assert len(keys) <= 7
            return super().get_versioned(keys)

        def write_many(self, changes: Changes, /) -> None:
            assert len(changes) <= 7
            assert sum(map(size_of, changes.values())) <= 3000
            super().write_many(changes)

        def swap_many(self, swaps: Swaps, /) -> Collection[str]:
            assert len(swaps) <= 7
            return super().swap_many(swaps)

        def apply_many(self, changes: Changes, /) -> None:
            assert len(changes) <= 128
            assert sum(map(size_of, changes.values())) <= 100_000
            MappingDriver.write_many(self, changes)

    before = threading.active_count()
    for name in (
        "long_keys",
        "value_limit",
        "batches_beyond_the_limit",
        "bytes_beyond_the_limit",
        "swap_of_many",
        "transactions_of_many_keys",
        "transactions_of_many_bytes",
        "threads_at_once",
    ):
        named(name).run(partial(DriverStore, Limited({})))
    assert threading.active_count() < before + 50


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


class TestBroken(StoreConformance):
    @pytest.fixture(params=["sound", "broken"])
    def opener(self, request):
        return partial(KVStore, {} if request.param == "sound" else Forgetful())


class Forgetful(dict):
    def __setitem__(self, key, value):
        pass
"""


def test_what_an_author_sees(tmp_path: Path) -> None:
    """Six lines are enough in a project of any settings; a forgotten fixture and a silent override are explained."""
    (tmp_path / "test_mine.py").write_text(AUTHORS_TEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n"
    )
    chosen = "TestMine or TestBroken or big_value or silent_overrides"
    command = [sys.executable, "-m", "pytest", "-q", "-k", chosen]
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    ).stdout
    assert "TestWithoutOpener has to define the fixture `opener`" in found
    assert "TestSilent overrides test_big_value silently" in found
    assert "TestBroken: after write_many, 'basics/k' reads None, not b'value'" in found
    assert "2 failed" in found.splitlines()[-1], found
    assert "1 xfailed" in found.splitlines()[-1]
    assert "1 error" in found.splitlines()[-1]


class Repeating(MemoryDriver):
    """Takes the first swap that is made after a restart for refused, as a client that sends again does."""

    repeats = False

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Swap, and say otherwise."""
        refused = super().swap_many(swaps)
        if refused or not self.repeats:
            return refused
        self.repeats = False
        return [*swaps]


def test_swaps_made_twice_are_found() -> None:
    """A server's restarts show a store that makes a swap and says that it was refused; one that does neither passes."""
    driver = Repeating({})
    counts = restarted(lambda: DriverStore(driver), lambda: None, 2)
    assert counts.acknowledged >= 6
    assert not counts.failed
    with pytest.raises(ConformanceError, match="swaps were made"):
        restarted(lambda: DriverStore(driver), lambda: setattr(driver, "repeats", True), 2)


class Down(MemoryDriver):
    """A server that never comes back."""

    is_down = False

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Fail, once it is down."""
        if self.is_down:
            raise ConnectionError("the server is away")
        return super().swap_many(swaps)


def test_writers_whose_calls_always_fail_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not come back ends the check of restarts, which says what the calls raised."""
    monkeypatch.setattr(restarts, "PATIENCE", 0.3)
    driver = Down({})
    driver.is_down = True
    with pytest.raises(ConformanceError, match=r"made 0 swaps of 3 in 0\.3 s, .*the server is away"):
        restarted(lambda: DriverStore(driver), lambda: None, 1)
