"""What is repeated, how often, and what the caller is told."""

import json
import logging
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    StoreAccessError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.layers.base import Layer
from zarrv3.opening.stores import open_store
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Request
from zarrv3.store.memory import MemoryStore
from zarrv3.testing import Faults, LayerConformance
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
        """See the contract."""
        return self._do("capabilities", lambda: self.inner.capabilities)

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        return self._do("get_many", lambda: self.inner.get_many(requests))

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        self._do("set_many", lambda: self.inner.set_many(items))

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        self._do("erase_many", lambda: self.inner.erase_many(keys))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self._do("erase_prefix", lambda: self.inner.erase_prefix(folder))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        self._do("rename_prefix", lambda: self.inner.rename_prefix(source, target))

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        return self._do("compare_and_set", lambda: self.inner.compare_and_set(key, old, new))

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        self._do("apply_many", lambda: self.inner.apply_many(changes))

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        return self._broken(self._do("sizes", lambda: self.inner.sizes(where)))

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        return self._broken(self._do("list_prefix", lambda: self.inner.list_prefix(prefix)))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        return self._do("list_dir", lambda: self.inner.list_dir(folder))

    def flush(self) -> None:
        """See the contract."""
        self._do("flush", self.inner.flush)

    def close(self) -> None:
        """See the contract."""
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
    "get_many": lambda store: store.get_many([("a/k", ByteRange(1, 3)), ("a/none", None)]),
    "set_many": lambda store: store.set_many({"a/new": b"new"}),
    "erase_many": lambda store: store.erase_many(["a/k"]),
    "erase_prefix": lambda store: store.erase_prefix("a/"),
    "rename_prefix": lambda store: store.rename_prefix("a/", "b/"),
    "compare_and_set": lambda store: store.compare_and_set("a/k", b"value", b"other"),
    "apply_many": lambda store: store.apply_many({"a/k": None, "a/new": b"new"}),
    "sizes": lambda store: sorted(store.sizes("a/")),
    "list_prefix": lambda store: sorted(store.list_prefix("a/")),
    "list_dir": lambda store: store.list_dir("a/"),
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
    store.inner.set_many({"a/k": b"value", "a/l/m": b"deep"})
    return store


@pytest.mark.parametrize("method", CALLS)
def test_repeats_until_it_works(method: str, flaky: Flaky) -> None:
    """Every call is repeated after retryable errors and then gives what it would have given at once."""
    calm = Flaky()
    calm.inner.set_many(dict(flaky.inner.items()))
    flaky.plan[method] = lost(3)
    assert CALLS[method](Retry(flaky)) == CALLS[method](Retry(calm))
    assert flaky.calls[method] == 4
    assert dict(flaky.inner.items()) == dict(calm.inner.items())


@pytest.mark.parametrize("method", sorted(set(CALLS) - {"compare_and_set"}))
def test_repeats_what_failed_after_it_was_done(method: str, flaky: Flaky) -> None:
    """Doing a call twice, because the first answer was lost, ends like doing it once."""
    calm = Flaky()
    calm.inner.set_many(dict(flaky.inner.items()))
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
    method=st.sampled_from(["list_prefix", "sizes"]),
)
def test_listing_resumes(keys: set[str], breaks: list[int], method: str) -> None:
    """A listing that breaks off anywhere gives every key exactly once all the same."""
    flaky = Flaky(MemoryStore({key: b"x" * len(key) for key in keys}))
    flaky.break_at = list(breaks)
    found = list(getattr(Retry(flaky, attempts=9), method)(""))
    assert sorted(found) == sorted(keys if method == "list_prefix" else ((key, len(key)) for key in keys))


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


# ---------------------------------------------------------------- compare_and_set


@pytest.mark.parametrize(("old", "new"), [(b"value", b"mine"), (b"value", None), (None, b"mine")])
def test_swap_whose_answer_was_lost(old: bytes | None, new: bytes | None, flaky: Flaky) -> None:
    """A swap that was done without an answer is no `False` and is not done twice: an error says to look."""
    key = "a/k" if old else "new"
    flaky.late["compare_and_set"] = lost()
    with pytest.raises(StoreAccessError, match=f"{key}.*has the new value now"):
        Retry(flaky).compare_and_set(key, old, new)
    assert flaky.calls["compare_and_set"] == 1
    assert flaky.inner.get(key) == new


def test_swap_that_was_refused_is_false(flaky: Flaky) -> None:
    """Without an error the answer is the store's."""
    assert Retry(flaky).compare_and_set("a/k", b"wrong", b"mine") is False
    assert flaky.calls["get_many"] == 0


@pytest.mark.parametrize("new", [b"mine", None])
@pytest.mark.parametrize("theirs", [b"mine", b"theirs", None])
def test_swap_of_unknown_outcome_is_an_error(new: bytes | None, theirs: bytes | None, flaky: Flaky) -> None:
    """When the key has not its old value after an error nobody can know: an error that is not retryable says so."""
    flaky.plan["compare_and_set"] = lost()
    flaky.after = lambda: flaky.inner.set_many({"a/k": theirs}) if theirs else flaky.inner.erase_many(["a/k"])
    with pytest.raises(StoreAccessError, match=r"a/k.*unknown") as caught:
        Retry(flaky).compare_and_set("a/k", b"value", new)
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, StoreUnavailableError)
    assert flaky.inner.get("a/k") == theirs


def test_swap_overtaken_between_reading_and_swapping(flaky: Flaky) -> None:
    """A refusal after an error is no `False`: the first attempt may have come through in the meantime."""

    class Late(Flaky):
        def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
            if self.calls["compare_and_set"] == 1:  # the first message arrives just before the second
                self.inner.set_many({key: new or b""})
            return super().compare_and_set(key, old, new)

    late = Late(flaky.inner)
    late.plan["compare_and_set"] = lost()
    with pytest.raises(StoreAccessError, match="new value"):
        Retry(late).compare_and_set("a/k", b"value", b"mine")
    assert late.calls["compare_and_set"] == 2


def test_swap_to_the_same_value(flaky: Flaky) -> None:
    """A swap of a value for itself is repeated and true."""
    flaky.late["compare_and_set"] = lost()
    assert Retry(flaky).compare_and_set("a/k", b"value", memoryview(b"value")) is True


def test_reading_after_an_error_is_retried(flaky: Flaky) -> None:
    """The read before another swap belongs to the attempt and is repeated with it."""
    flaky.plan["compare_and_set"] = lost()
    flaky.plan["get_many"] = lost(2)
    assert Retry(flaky).compare_and_set("a/k", b"value", b"mine") is True
    assert flaky.calls["get_many"] == 3
    assert flaky.calls["compare_and_set"] == 2


class Unsteady(Flaky):
    """Fails every fifth swap before and every fifth after the work, and knows what each thread has done."""

    def __init__(self) -> None:
        super().__init__(MemoryStore({"n": b"0"}))
        self.guard = threading.Lock()
        self.done: Counter[int] = Counter()

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        with self.guard:
            self.calls["compare_and_set"] += 1
            turn = self.calls["compare_and_set"] % 5
        if turn == 0:
            raise StoreUnavailableError("before")
        done = self.inner.compare_and_set(key, old, new)
        self.done[threading.get_ident()] += done
        if turn == 1:
            raise StoreUnavailableError("after")
        return done


def test_swaps_of_many_threads() -> None:
    """Of threads that count over a bad connection, one that is told `True` has swapped once and `False` not at all."""
    unsteady = Unsteady()
    store = Retry(unsteady, attempts=50)
    wrong = []
    outcomes: Counter[str] = Counter()

    def swap_once() -> str:
        old = store["n"]
        try:
            return str(store.compare_and_set("n", old, b"%d" % (int(old) + 1)))
        except StoreAccessError:
            return "unknown"

    def count() -> None:
        me = threading.get_ident()
        for _ in range(200):
            before = unsteady.done[me]
            outcome = swap_once()
            outcomes[outcome] += 1
            swapped = unsteady.done[me] - before
            if outcome != "unknown" and swapped != (outcome == "True"):
                wrong.append((outcome, swapped))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert int(store["n"]) == sum(unsteady.done.values())
    assert outcomes["True"] > 100
    assert outcomes["unknown"] > 0


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


def test_no_secret_is_logged(flaky: Flaky, caplog: pytest.LogCaptureFixture) -> None:
    """What stamina logs about a retry holds no value that was being written."""
    flaky.plan["set_many"] = lost(2)
    stamina.instrumentation.set_on_retry_hooks([stamina.instrumentation.LoggingOnRetryHook])
    try:
        with caplog.at_level(logging.DEBUG):
            Retry(flaky).set_many({"key": b"the-content"})
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert len(caplog.records) == 2
    assert not [record for record in caplog.records if "the-content" in repr(vars(record))]
    assert all(record.name == "stamina" for record in caplog.records)


def test_core_does_not_import_stamina() -> None:
    """Opening a store without retries imports neither the plugin nor stamina."""
    code = "import sys, zarrv3.opening.stores as o; o.open_store('memory:'); print('stamina' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
    assert found.stderr == ""


class TestConformance(LayerConformance):
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
    store.set_many(content)
    assert dict(store.items()) == dict(inner.items()) == content
    assert dict(store.sizes("")) == {key: len(value) for key, value in content.items()}
    store.rename("0", "moved")
    store.erase_many(["1/1", "1/8"])
    store.erase_prefix("2/")
    faults.heal()
    expected = {("moved" + key[1:] if key.startswith("0/") else key): value for key, value in content.items()}
    expected = {k: v for k, v in expected.items() if k not in {"1/1", "1/8"} and not k.startswith("2/")}
    assert dict(inner.items()) == expected
    assert len(faults.failed) > 3
