"""What is repeated, how often, and what the caller is told."""

import json
import logging
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    StoreAccessError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    SwapUnknownError,
)
from zarrv3.layers.base import Layer
from zarrv3.opening.stores import open_store
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Changes, Request, Swaps, Versioned
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import Faults, InterruptConformance, LayerConformance
from zarrv3_layer_retry import Retry


class Flaky(Layer):
    """Fails as planned: `plan[method]` holds one entry a call, an error or `None`; `late` errors come after the work."""

    kind = "flaky"

    def __init__(self, store: object = None) -> None:
        super().__init__(MemoryStore() if store is None else store)
        self.plan: dict[str, list[Exception | None]] = {}
        self.late: dict[str, list[Exception | None]] = {}
        self.calls: Counter[str] = Counter()
        self.after: Callable[[], None] = lambda: None
        self.break_at: list[int] = []
        self.requested: list[list[str]] = []

    def _do(self, method: str, work: Callable[[], Any]) -> Any:
        self.calls[method] += 1
        early = self.plan.get(method)
        if early and (error := early.pop(0)):
            self.after()
            raise error
        result = work()
        late = self.late.get(method)
        if late and (error := late.pop(0)):
            self.after()
            raise error
        return result

    @property
    def capabilities(self) -> Capabilities:
        """As the contract says, or as planned."""
        return self._do("capabilities", lambda: self.inner.capabilities)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says, or as planned."""
        return self._do("get_many", lambda: self.inner.get_many(requests))

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says, or as planned."""
        return self._do("stat_many", lambda: self.inner.stat_many(keys))

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says, or as planned."""
        return self._do("get_versioned", lambda: self.inner.get_versioned(keys))

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says, or as planned."""
        self._do("write_many", lambda: self.inner.write_many(changes))

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says, or as planned."""
        self.requested.append([*swaps])
        return self._do("swap_many", lambda: self.inner.swap_many(swaps))

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says, or as planned."""
        self._do("apply_many", lambda: self.inner.apply_many(changes))

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says, or as planned."""
        self._do("erase_prefix", lambda: self.inner.erase_prefix(folder))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says, or as planned."""
        self._do("rename_prefix", lambda: self.inner.rename_prefix(source, target))

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """As the contract says, or as planned."""
        return self._broken(self._do("list_prefix", lambda: self.inner.list_prefix(prefix)))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says, or as planned."""
        return self._broken(self._do("list_dir", lambda: self.inner.list_dir(folder)))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says, or as planned."""
        return self._broken(self._do("list_sizes", lambda: self.inner.list_sizes(folder)))

    def flush(self) -> None:
        """As the contract says, or as planned."""
        self._do("flush", self.inner.flush)

    def close(self) -> None:
        """As the contract says, or as planned."""
        self._do("close", self.inner.close)

    def _broken(self, items: Iterator[Any]) -> Iterator[Any]:
        if not self.break_at:
            return items

        def until_broken(count: int) -> Iterator[Any]:
            yield from islice(items, count)
            raise StoreUnavailableError("the listing broke off")

        return until_broken(self.break_at.pop(0))


def lost(times: int = 1) -> list[Exception | None]:
    """Errors of calls that may be repeated."""
    return [StoreUnavailableError(f"lost {i}") for i in range(times)]


CALLS: dict[str, Callable[[Retry], Any]] = {
    "capabilities": lambda store: store.capabilities,
    "get_many": lambda store: store.get_many([Request("a/k", ByteRange(1, 3)), Request("a/none")]),
    "stat_many": lambda store: store.stat_many(["a/k", "a/none"]),
    "get_versioned": lambda store: store.get_versioned(["a/k", "a/none"]),
    "write_many": lambda store: store.write_many({"a/new": b"new", "a/k": None}),
    "swap_many": lambda store: [*store.swap_many({"a/k": (b"value", b"other"), "a/new": (None, b"new")})],
    "apply_many": lambda store: store.apply_many({"a/k": None, "a/new": b"new"}),
    "erase_prefix": lambda store: store.erase_prefix("a/"),
    "rename_prefix": lambda store: store.rename_prefix("a/", "b/"),
    "list_prefix": lambda store: sorted(store.list_prefix("a/")),
    "list_dir": lambda store: sorted(store.list_dir("a/")),
    "list_sizes": lambda store: sorted(store.list_sizes("a/")),
    "flush": lambda store: store.flush(),
}


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """No pauses between attempts; as many attempts as the options say."""
    with stamina.set_testing(True, attempts=10**6, cap=True):
        yield


@pytest.fixture
def flaky() -> Flaky:
    """A store that fails as a test plans it, with two keys."""
    store = Flaky()
    store.inner.write_many({"a/k": b"value", "a/l/m": b"deep"})
    return store


@pytest.mark.parametrize("method", CALLS)
def test_repeats_until_it_works(method: str, flaky: Flaky) -> None:
    """Every call is repeated after retryable errors and then gives what it would have given at once."""
    calm = Flaky()
    calm.inner.write_many(dict(flaky.inner.items()))
    flaky.plan[method] = lost(3)
    assert CALLS[method](Retry(flaky)) == CALLS[method](Retry(calm))
    assert flaky.calls[method] == 4
    assert dict(flaky.inner.items()) == dict(calm.inner.items())


@pytest.mark.parametrize("method", CALLS)
def test_repeats_what_failed_after_it_was_done(method: str, flaky: Flaky) -> None:
    """Doing a call twice, because the first answer was lost, ends like doing it once."""
    calm = Flaky()
    calm.inner.write_many(dict(flaky.inner.items()))
    flaky.late[method] = lost(2)
    assert CALLS[method](Retry(flaky)) == CALLS[method](Retry(calm))
    assert dict(flaky.inner.items()) == dict(calm.inner.items())


@pytest.mark.parametrize("method", CALLS)
def test_attempts_are_bounded(method: str, flaky: Flaky) -> None:
    """After the last attempt its error comes out, the object itself."""
    errors = lost(9)
    flaky.plan[method] = list(errors)
    with pytest.raises(StoreUnavailableError) as caught:
        CALLS[method](Retry(flaky, attempts=3))
    assert caught.value is errors[2]
    assert flaky.calls[method] == 3


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    "error", [StoreAccessError("disk full"), InvalidKeyError("bad"), ZeroDivisionError("bug")]
)
def test_other_errors_are_raised_at_once(method: str, error: Exception, flaky: Flaky) -> None:
    """An error that is not marked retryable is raised as it is after one attempt."""
    flaky.plan[method] = [error]
    with pytest.raises(type(error)) as caught:
        CALLS[method](Retry(flaky))
    assert caught.value is error
    assert flaky.calls[method] == 1


def test_an_error_of_somebody_else_can_be_marked_retryable(flaky: Flaky) -> None:
    """A store error of a third party counts by its mark, not by its class; a timeout is marked."""

    class ThrottledError(StoreError):
        retryable = True

    flaky.plan["get_many"] = [ThrottledError("slow down"), StoreTimeoutError("late")]
    assert Retry(flaky)["a/k"] == b"value"
    assert flaky.calls["get_many"] == 3


def test_close_is_not_repeated(flaky: Flaky) -> None:
    """A failed close is reported: a second one would do nothing and hide it."""
    flaky.plan["close"] = lost()
    with pytest.raises(StoreUnavailableError):
        Retry(flaky).close()
    assert flaky.calls["close"] == 1


# ---------------------------------------------------------------- time


def test_waits_between_attempts(flaky: Flaky) -> None:
    """The pauses double up to the longest one."""
    flaky.plan["get_many"] = lost(4)
    store = Retry(flaky, wait_initial=0.01, wait_max=0.02, wait_jitter=0)
    with stamina.set_testing(False):
        start = time.monotonic()
        assert store["a/k"] == b"value"
        waited = time.monotonic() - start
    assert 0.07 <= waited < 5


def test_timeout_ends_the_attempts(flaky: Flaky) -> None:
    """No attempt is begun after the timeout."""
    flaky.plan["get_many"] = lost(1000)
    store = Retry(flaky, attempts=1000, timeout=0.1, wait_initial=0.01, wait_max=0.01, wait_jitter=0)
    with stamina.set_testing(False), pytest.raises(StoreUnavailableError):
        store["a/k"]
    assert 1 < flaky.calls["get_many"] <= 11


def test_retrying_can_be_switched_off(flaky: Flaky) -> None:
    """`stamina.set_active(False)` holds for stores too."""
    flaky.plan["get_many"] = lost(1)
    stamina.set_active(False)
    try:
        with pytest.raises(StoreUnavailableError):
            Retry(flaky)["a/k"]
    finally:
        stamina.set_active(True)
    assert flaky.calls["get_many"] == 1


# ---------------------------------------------------------------- listings


@given(
    keys=st.sets(st.text("abcdef", min_size=1, max_size=3), max_size=30),
    breaks=st.lists(st.integers(0, 40), max_size=8),
    method=st.sampled_from(["list_prefix", "list_dir", "list_sizes"]),
)
def test_listing_resumes(keys: set[str], breaks: list[int], method: str) -> None:
    """A listing that breaks off anywhere gives every key exactly once all the same."""
    flaky = Flaky(MemoryStore({key: b"x" * len(key) for key in keys}))
    flaky.break_at = list(breaks)
    found = list(getattr(Retry(flaky, attempts=9), method)(""))
    assert sorted(found) == sorted(((key, len(key)) for key in keys) if method == "list_sizes" else keys)


def test_listing_without_progress_is_bounded() -> None:
    """A listing that never gets further ends with the error after all attempts."""
    flaky = Flaky(MemoryStore({"a": b"", "b": b"", "c": b""}))
    flaky.break_at = [2] * 100
    listing = Retry(flaky, attempts=4).list_prefix("")
    assert len(list(islice(listing, 2))) == 2
    with pytest.raises(StoreUnavailableError, match="broke off"):
        next(listing)
    assert flaky.calls["list_prefix"] == 4


def test_listing_with_progress_has_all_attempts_again() -> None:
    """Each further key gives a listing all its attempts back."""
    flaky = Flaky(MemoryStore({str(i): b"" for i in range(10)}))
    flaky.break_at = list(range(10))
    assert len(set(Retry(flaky, attempts=2).list_prefix(""))) == 10


def test_listing_is_lazy() -> None:
    """The first key comes before the listing is at its end."""
    flaky = Flaky(MemoryStore({"a": b"", "b": b""}))
    flaky.break_at = [1]
    assert next(Retry(flaky, attempts=1).list_prefix("")) in {"a", "b"}


def test_error_in_mid_listing_that_is_final() -> None:
    """An error that is not retryable ends a listing."""

    class Ending(Flaky):
        def list_prefix(self, prefix: str, /) -> Iterator[str]:
            self.calls["list_prefix"] += 1
            yield next(self.inner.list_prefix(prefix))
            raise StoreAccessError("refused")

    ending = Ending(MemoryStore({"a": b"", "b": b""}))
    with pytest.raises(StoreAccessError, match="refused"):
        list(Retry(ending).list_prefix(""))
    assert ending.calls["list_prefix"] == 1


def test_bad_prefix_is_refused_at_once(flaky: Flaky) -> None:
    """What the store refuses when it is called is refused when it is called."""
    with pytest.raises(InvalidKeyError):
        Retry(flaky).list_prefix("/a")


# ---------------------------------------------------------------- swaps


@pytest.mark.parametrize(("old", "new"), [(b"value", b"mine"), (b"value", None), (None, b"mine")])
def test_swap_whose_answer_was_lost(old: bytes | None, new: bytes | None, flaky: Flaky) -> None:
    """A swap that was done without an answer counts as done and is not done twice."""
    key = "a/k" if old else "new"
    flaky.late["swap_many"] = lost()
    assert not Retry(flaky).swap_many({key: (old, new)})
    assert flaky.inner.get(key) == new
    assert flaky.requested == [[key], []]


def test_swap_that_was_refused(flaky: Flaky) -> None:
    """Without an error the answer is the store's, and nothing is read."""
    assert {*Retry(flaky).swap_many({"a/k": (b"wrong", b"mine"), "new": (None, b"")})} == {"a/k"}
    assert flaky.calls["get_versioned"] == flaky.calls["get_many"] == 0


def test_of_many_keys_only_those_are_swapped_again_that_were_not(flaky: Flaky) -> None:
    """After a call that swapped some of its keys, only those that have their versions are swapped again."""
    flaky.inner["later"] = b"1"
    flaky.plan["swap_many"] = lost()
    flaky.after = lambda: flaky.inner.write_many({"a/k": b"mine"})
    assert not Retry(flaky).swap_many(
        {"a/k": (b"value", b"mine"), "new": (None, b"n"), "later": (b"1", None)}
    )
    assert dict(flaky.inner.items()) == {"a/k": b"mine", "a/l/m": b"deep", "new": b"n"}
    assert flaky.requested == [["a/k", "new", "later"], ["new", "later"]]


@pytest.mark.parametrize("new", [b"mine", None])
@pytest.mark.parametrize("theirs", [b"theirs", b"", None])
def test_swap_of_unknown_outcome_is_an_error(new: bytes | None, theirs: bytes | None, flaky: Flaky) -> None:
    """A key with neither its old version nor the new value is ambiguous: an error that is not retryable says so."""
    flaky.plan["swap_many"] = lost()
    flaky.after = lambda: flaky.inner.write_many({"a/k": theirs})
    if new == theirs:
        assert not Retry(flaky).swap_many({"a/k": (b"value", new)})
        return
    with pytest.raises(SwapUnknownError, match=r"a/k.*unknown") as caught:
        Retry(flaky).swap_many({"a/k": (b"value", new)})
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, StoreUnavailableError)
    assert flaky.inner.get("a/k") == theirs


def test_arrays_change_again_what_may_have_been_changed(flaky: Flaky) -> None:
    """An element whose swap was done or not, before another writer changed the chunk, is there in the end, and theirs too."""
    zarrv3.create_array(flaky.inner, name="a", shape=8, dtype="u1", compressors=None, fill_value=9)
    retry = Retry(flaky, wait_initial=0, wait_jitter=0)
    ours = zarrv3.open_array(retry, path="a")
    ours[0] = 1
    for number, plan in enumerate((flaky.plan, flaky.late), 1):
        plan["swap_many"] = lost()
        flaky.after = partial(flaky.inner.set_partial_values, [("a/c/0", number + 4, b"7")])
        ours[number] = number
    assert ours[:].tolist() == [1, 1, 2, 9, 9, 55, 55, 9]
    flaky.late["swap_many"] = lost()
    flaky.after = partial(flaky.inner.set_partial_values, [("a/c/0", 7, b"7")])
    retry.set_partial_values([("a/c/0", 3, b"8")])
    assert ours[:].tolist() == [1, 1, 2, 56, 9, 55, 55, 55]


def test_documents_need_more_than_the_new_value(flaky: Flaky) -> None:
    """Two who append write the same length: whose it is, after an error, is unknown; the error says so."""
    flaky.inner["zarr.json"] = b"1 row"
    flaky.late["swap_many"] = lost()
    with pytest.raises(StoreAccessError, match=r"'zarr\.json'.*unknown"):
        Retry(flaky).swap_many({"zarr.json": (b"1 row", b"2 rows")})
    flaky.plan["swap_many"] = lost()
    assert not Retry(flaky).swap_many({"zarr.json": (b"2 rows", b"3 rows")})  # it has its version: once more


@pytest.mark.parametrize("first", [b"mine", b"theirs"])
def test_swap_overtaken_between_reading_and_swapping(first: bytes, flaky: Flaky) -> None:
    """A refusal after an error is not an answer by itself: the first attempt may have come through in the meantime."""

    class Late(Flaky):
        def swap_many(self, swaps: Swaps, /) -> Collection[str]:
            if (
                self.calls["swap_many"] == 1
            ):  # the first message arrives just before the second, or another writer's
                self.inner.write_many(dict.fromkeys(swaps, first))
            return super().swap_many(swaps)

    late = Late(flaky.inner)
    late.plan["swap_many"] = lost()
    if first == b"mine":
        assert not Retry(late).swap_many({"a/k": (b"value", b"mine")})
    else:
        with pytest.raises(StoreAccessError, match="unknown"):
            Retry(late).swap_many({"a/k": (b"value", b"mine")})
    assert late.calls["swap_many"] == 2


def test_swap_to_the_same_value(flaky: Flaky) -> None:
    """A swap of a value for itself is repeated and done."""
    flaky.late["swap_many"] = lost()
    assert not Retry(flaky).swap_many({"a/k": (b"value", memoryview(b"value"))})


def test_reading_after_an_error_is_retried(flaky: Flaky) -> None:
    """The read before another swap belongs to the attempt and is repeated with it."""
    flaky.plan["swap_many"] = lost()
    flaky.plan["get_versioned"] = lost(2)
    assert not Retry(flaky).swap_many({"a/k": (b"value", b"mine")})
    assert flaky.calls["get_versioned"] == 3
    assert flaky.calls["swap_many"] == 2


class Halfway(Faults):
    """Of the swaps that fail, some were done, wholly or in part: what a lost answer is."""

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; a failing call has swapped a part."""
        error = self._chosen("swap_many")
        if error is None:
            return self.inner.swap_many(swaps)
        self.inner.swap_many(dict(islice(swaps.items(), self._part(len(swaps)))))
        raise error


def test_swaps_of_many_threads() -> None:
    """Of threads that write over a bad connection, each entry that is acknowledged is there once, and no other twice."""
    faults = Halfway(MemoryStore({"n": b"", "m": b""}), rate=0.3, seed=3)
    store = Retry(faults, attempts=200)
    outcomes: Counter[str] = Counter()

    def write(name: int) -> list[bytes]:
        told = []
        for number in range(60):
            entry = b"%d.%d " % (name, number)
            found = dict(zip("nm", store.get_versioned(["n", "m"]), strict=True))
            time.sleep(0.0005)  # for the others
            try:
                refused = store.swap_many(
                    {k: (version, bytes(old or b"") + entry) for k, (old, version) in found.items()}
                )
            except StoreAccessError:
                outcomes["unknown"] += 1
                continue
            outcomes["refused"] += len(refused)
            told += [key.encode() + entry for key in {"n", "m"} - {*refused}]
            assert not any(entry.strip() in store[key].split() for key in refused)
        return told

    with ThreadPoolExecutor(4) as pool:
        told = [entry for entries in pool.map(write, range(4)) for entry in entries]
    faults.heal()
    there = [key.encode() + entry + b" " for key in "nm" for entry in store[key].split()]
    assert len({*there}) == len(there)
    assert {*told} <= {*there}
    assert len(told) > 50
    assert outcomes["unknown"]
    assert outcomes["refused"]


def test_parts_of_chunks_over_a_bad_connection() -> None:
    """Threads that write parts of one chunk, whose swaps lose their answers, lose nothing that was acknowledged."""
    faults = Halfway(MemoryStore(), seed=4)
    store = Retry(faults, attempts=200)
    zarrv3.create_array(store, shape=64, chunks=64, dtype="u1", fill_value=0)
    faults._rate = 0.2
    unknown = []

    def write(first: int) -> None:
        array = zarrv3.open_array(store, mode="r+")
        for place in range(first, 64, 4):
            try:
                array[place] = place + 1
            except StoreAccessError:
                unknown.append(place)

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(write, range(4))]
    faults.heal()
    found = zarrv3.open_array(store)[...].tolist()
    assert all(found[place] == place + 1 for place in range(64) if place not in unknown)
    assert faults.failed["swap_many"]


# ---------------------------------------------------------------- options and description


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 2.5},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "half a minute"},
        {"timeout": float("nan")},
        {"wait_initial": -0.1},
        {"wait_max": float("inf")},
        {"wait_jitter": None},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    """An option that makes no sense is an error that names it."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Retry(MemoryStore(), **options)


def test_url() -> None:
    """The adapter takes its options from a URL, and unknown ones are refused with the known ones."""
    store = open_store("memory://retry-url|retry:?attempts=7&timeout=30")
    assert isinstance(store, Retry)
    assert store.spec() == {
        "store": "memory",
        "name": "retry-url",
        "layers": [{"layer": "retry", "attempts": 7, "timeout": 30.0}],
    }
    with pytest.raises(ConfigurationError, match="wait_jitter"):
        open_store("memory:|retry:?tries=7")
    with pytest.raises(ConfigurationError, match="attempts"):
        open_store("memory:|retry:?attempts=many")


def test_spec_and_pickle() -> None:
    """A spec and a pickle make an equal layer that retries."""
    store = Retry(MemoryStore(name="retry-spec"), attempts=2, wait_max=1.5)
    assert open_store(json.loads(json.dumps(store.spec()))) == store
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    copy["k"] = b"v"
    assert store["k"] == b"v"


def test_capabilities_are_the_inner_ones() -> None:
    """The layer claims what the store under it claims."""
    inner = open_store("memory:", read_only=True)
    assert Retry(inner).capabilities == inner.capabilities


def test_the_log_says_what_failed(flaky: Flaky, caplog: pytest.LogCaptureFixture) -> None:
    """Each failed attempt has a line with its number, store, error and pause, and never a value that was being written."""
    last = f"cannot write 'key' in {flaky.describe()}: refused"
    flaky.plan["write_many"] = [*lost(2), StoreUnavailableError(last)]
    stamina.instrumentation.set_on_retry_hooks([stamina.instrumentation.LoggingOnRetryHook])
    try:
        with stamina.set_testing(False), caplog.at_level(logging.DEBUG), pytest.raises(StoreUnavailableError):
            Retry(flaky, attempts=3, wait_initial=0.001, wait_jitter=0).write_many({"key": b"the-content"})
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert not [record for record in caplog.records if "the-content" in repr(vars(record))]
    lines = [record for record in caplog.records if record.name != "stamina"]
    assert len(caplog.records) - len(lines) == 2
    assert [line.getMessage() for line in lines] == [
        f"attempt 1 of 3 failed for 'key' in {flaky.describe()}, the next 0.001 s later or more: lost 0",
        f"attempt 2 of 3 failed for 'key' in {flaky.describe()}, the next 0.002 s later or more: lost 1",
        f"attempt 3 of 3 failed: {last}",
    ]
    assert {(line.name, line.levelno) for line in lines} == {("zarrv3.retry", logging.WARNING)}


def test_the_log_names_the_keys_of_every_call(flaky: Flaky, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever was called, the line has its first key, or folder, and how many more there are."""
    calls: list[tuple[str, Callable[[Retry], object], str]] = [
        (
            "get_many",
            lambda store: store.get_many([Request("a/k"), Request("a/l/m")]),
            "'a/k' (or one of 1 more keys)",
        ),
        ("stat_many", lambda store: store.stat_many(["a/k"]), "'a/k'"),
        ("swap_many", lambda store: store.swap_many({"new": (None, b"v")}), "'new'"),
        ("erase_prefix", lambda store: store.erase_prefix("a/"), "'a/'"),
    ]
    for method, call, named in calls:
        caplog.clear()
        flaky.plan[method] = lost()
        with caplog.at_level(logging.WARNING, "zarrv3"):
            call(Retry(flaky, wait_initial=0, wait_jitter=0))
        lines = [record.getMessage() for record in caplog.records if record.name == "zarrv3.retry"]
        assert lines == [
            f"attempt 1 of 5 failed for {named} in {flaky.describe()}, the next 0 s later or more: lost 0"
        ]


def test_core_does_not_import_stamina() -> None:
    """Opening a store without retries imports neither the plugin nor stamina."""
    code = "import sys, zarrv3.opening.stores as o; o.open_store('memory:'); print('stamina' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
    assert found.stderr == ""


class TestConformance(InterruptConformance, LayerConformance):
    """Everything a store has to do, through the layer."""

    @pytest.fixture
    def layer(self) -> Callable[[BaseStore], BaseStore]:
        """The layer around a store."""
        return Retry


def test_everything_over_a_bad_connection() -> None:
    """Over a store of which every third call fails, some half-way, all values arrive, are listed and go again."""
    inner = MemoryStore()
    faults = Faults(inner, rate=0.33, seed=7)
    store = Retry(faults, attempts=100)
    content = {f"{i % 7}/{i}": str(i).encode() for i in range(50)}
    for key, value in content.items():
        store[key] = value
    store.write_many(content)
    assert dict(store.items()) == dict(inner.items()) == content
    assert dict(store.list_sizes("")) == {key: len(value) for key, value in content.items()}
    store.rename("0", "moved")
    store.write_many(dict.fromkeys(["1/1", "1/8"]))
    store.erase_prefix("2/")
    faults.heal()
    expected = {("moved" + key[1:] if key.startswith("0/") else key): value for key, value in content.items()}
    expected = {k: v for k, v in expected.items() if k not in {"1/1", "1/8"} and not k.startswith("2/")}
    assert dict(inner.items()) == expected
    assert len(faults.failed) > 3
