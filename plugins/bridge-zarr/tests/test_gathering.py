"""What becomes of single-key calls: batches, order, errors, cancellation, loops and threads."""

import asyncio
import gc
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype

from zarrv3 import MemoryStore
from zarrv3.errors import (
    InvalidKeyError,
    StoreAccessError,
    StoreClosedError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.layers.base import Layer
from zarrv3.layers.counting import Counting
from zarrv3.store import contract
from zarrv3_bridge_fsspec import gathering
from zarrv3_bridge_zarr import ZarrStore

PROTOTYPE = default_buffer_prototype()


def buffer(value: bytes) -> Buffer:
    """A value as zarr-python passes it."""
    return cpu.Buffer.from_bytes(value)


async def value(store: ZarrStore, key: str) -> bytes | None:
    """A value as bytes."""
    found = await store.get(key, PROTOTYPE)
    return None if found is None else found.to_bytes()


class Gate(Layer):
    """Holds writes and reads back until it is opened, and refuses what it is told to."""

    kind = "gate"

    def __init__(self, store: object = None) -> None:
        super().__init__(MemoryStore() if store is None else store)
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.bad: set[str] = set()
        self.error: type[Exception] = StoreAccessError
        self.order: list[tuple[str, tuple[str, ...]]] = []

    def _pass(self, method: str, keys: Collection[str]) -> None:
        self.order.append((method, tuple(keys)))
        self.entered.release()
        assert self.open.wait(60)
        if found := self.bad & {*keys}:
            raise self.error(f"cannot touch {min(found)!r}")

    def get_many(self, requests: Sequence[contract.Request], /) -> Sequence[contract.Buffer | None]:
        """Read, when it may."""
        self._pass("get", [key for key, _ in requests])
        return self.inner.get_many(requests)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[contract.Versioned]:
        """Read, when it may."""
        self._pass("get", keys)
        return self.inner.get_versioned(keys)

    def write_many(self, changes: contract.Changes, /) -> None:
        """Write and erase, when it may."""
        self._pass("write", changes.keys())
        self.inner.write_many(changes)

    def swap_many(self, swaps: contract.Swaps, /) -> Collection[str]:
        """Write, when it may."""
        self._pass("write", swaps.keys())
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: contract.Changes, /) -> None:
        """Write, when it may."""
        self._pass("write", changes.keys())
        self.inner.apply_many(changes)


async def entered(gate: Gate) -> None:
    """Wait, beside the loop, until a call has reached the gate."""
    assert await asyncio.to_thread(gate.entered.acquire, timeout=60)


# ---------------------------------------------------------------- batches


async def test_one_turn_is_one_batch() -> None:
    """What is asked for concurrently is one call below, for reads, writes and erasures, whatever methods it came by."""
    counting = Counting(MemoryStore())
    store = ZarrStore(counting)
    await asyncio.gather(*(store.set(f"k/{i}", buffer(b"%d" % i)) for i in range(200)))
    assert counting.calls == {"write_many": 1}
    counting.reset()
    found = await asyncio.gather(
        *(value(store, f"k/{i}") for i in range(100)),
        store.get_partial_values(PROTOTYPE, [(f"k/{i}", None) for i in range(100)]),
    )
    assert found[:100] == [b"%d" % i for i in range(100)]
    assert [one.to_bytes() for one in found[100]] == found[:100]
    assert counting.calls == {"get_many": 1}
    assert counting.requested == {"get_many": 200}
    counting.reset()
    await asyncio.gather(*(store.delete(f"k/{i}") for i in range(200)), store.set("last", buffer(b"v")))
    assert counting.calls == {"write_many": 1}
    assert [key async for key in store.list()] == ["last"]


async def test_windows_bound_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has at most so many calls and writes at most so many bytes, unless it is one value."""
    counting = Counting(MemoryStore())
    store = ZarrStore(counting)
    await asyncio.gather(*(store.set(f"k/{i}", buffer(b"v")) for i in range(gathering.WINDOW * 2 + 1)))
    assert counting.calls == {"write_many": 3}
    counting.reset()
    monkeypatch.setattr(gathering, "WINDOW_BYTES", 100)
    await asyncio.gather(
        *(store.set(f"b/{i}", buffer(bytes(size))) for i, size in enumerate([40, 40, 40, 500, 1]))
    )
    assert counting.calls == {"write_many": 4}  # 40 40, 40, 500, 1
    assert await store.getsize_prefix("b") == 621


async def test_what_comes_while_batches_run_leaves_together() -> None:
    """While as many batches as may be are under way, calls of many turns wait, and then are one batch."""
    gate = Gate()
    gate.inner.write_many({f"k/{i}": b"%d" % i for i in range(50)})
    store = ZarrStore(gate)
    gate.open.clear()
    running = []
    for i in range(gathering.CONCURRENCY):
        running.append(asyncio.create_task(value(store, f"k/{i}")))
        await entered(gate)
    for i in range(gathering.CONCURRENCY, 50):
        running.append(asyncio.create_task(value(store, f"k/{i}")))
        await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(*running) == [b"%d" % i for i in range(50)]
    assert [len(keys) for _, keys in gate.order] == [1] * gathering.CONCURRENCY + [50 - gathering.CONCURRENCY]


async def test_the_loop_is_not_blocked() -> None:
    """While the store works, the loop goes on."""
    gate = Gate()
    store = ZarrStore(gate)
    gate.open.clear()
    reading = asyncio.create_task(value(store, "k"))
    await entered(gate)  # the loop runs this while the store is held back
    assert not reading.done()
    gate.open.set()
    assert await reading is None


# ---------------------------------------------------------------- order

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "get", "delete", "create"]), st.sampled_from("abc"), st.booleans()),
    max_size=40,
)


@given(steps=STEPS)
def test_calls_of_one_key_keep_their_order(steps: list[tuple[str, str, bool]]) -> None:
    """A read sees at least the writes made before it, never one that a later write made before it replaced."""

    async def play() -> None:
        store = ZarrStore(MemoryStore())
        model: dict[str, bytes] = {}
        tasks: list[asyncio.Task[Any]] = []
        expected: list[tuple[asyncio.Task[Any], set[bytes | None]]] = []
        for number, (verb, key, turn) in enumerate(steps):
            new = b"%d" % number
            if verb == "get":
                task = asyncio.create_task(value(store, key))
                later = {
                    b"%d" % n
                    for n, (v, k, _) in enumerate(steps)
                    if n > number and k == key and v in {"set", "create"}
                }
                gone = {None} if any(v == "delete" and k == key for v, k, _ in steps[number:]) else set()
                expected.append((task, {model.get(key)} | later | gone))
            elif verb == "delete":
                task = asyncio.create_task(store.delete(key))
                model.pop(key, None)
            else:
                method = store.set if verb == "set" else store.set_if_not_exists
                task = asyncio.create_task(method(key, buffer(new)))
                model[key] = new if verb == "set" else model.get(key, new)
            tasks.append(task)
            if turn:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        for task, allowed in expected:
            assert task.result() in allowed
        assert dict(store.store.items()) == model

    asyncio.run(play())


async def test_a_read_waits_for_the_write_before_it() -> None:
    """A read of a key whose write has not ended is not begun; one of another key is."""
    gate = Gate()
    store = ZarrStore(gate)
    gate.open.clear()
    writing = asyncio.create_task(store.set("k", buffer(b"new")))
    await entered(gate)
    reading = asyncio.create_task(value(store, "k"))
    other = asyncio.create_task(value(store, "other"))
    await entered(gate)
    assert gate.order == [("write", ("k",)), ("get", ("other",))]
    gate.open.set()
    assert (await writing, await reading, await other) == (None, b"new", None)


async def test_erasing_a_folder_comes_after_the_writes_before_it() -> None:
    """No write that was made before `delete_dir` arrives after it, not even one whose caller has gone."""
    gate = Gate()
    store = ZarrStore(gate)
    gate.open.clear()
    writing = asyncio.create_task(store.set("f/k", buffer(b"old")))
    await entered(gate)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    erasing = asyncio.create_task(store.delete_dir("f"))
    await asyncio.sleep(0)
    assert not erasing.done()
    gate.open.set()
    await erasing
    assert list(gate.inner) == []


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("verb", ["get", "set", "delete"])
async def test_an_error_reaches_its_own_caller_only(verb: str) -> None:
    """Of a batch with one bad key, that key's caller gets the error and all others what they asked for."""
    gate = Gate(MemoryStore({f"k/{i}": b"%d" % i for i in range(20)}))
    gate.bad = {"k/13"}
    store = ZarrStore(gate)
    calls: Mapping[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
        "get": lambda key: value(store, key),
        "set": lambda key: store.set(key, buffer(b"new")),
        "delete": store.delete,
    }
    found = await asyncio.gather(*(calls[verb](f"k/{i}") for i in range(20)), return_exceptions=True)
    errors = {i: one for i, one in enumerate(found) if isinstance(one, BaseException)}
    assert [*errors] == [13]
    assert isinstance(errors[13], StoreAccessError)
    assert "k/13" in str(errors[13])
    assert len(gate.order) <= 11  # halves of halves
    if verb == "get":
        assert found[:13] == [b"%d" % i for i in range(13)]
    assert gate.inner["k/13"] == b"13"
    assert [gate.inner.get(f"k/{i}") for i in (0, 19)] == {
        "get": [b"0", b"19"],
        "set": [b"new", b"new"],
        "delete": [None, None],
    }[verb]


async def test_an_invalid_key_fails_alone() -> None:
    """A key that no store holds does not spoil its neighbours."""
    store = ZarrStore(MemoryStore({"good": b"1"}))
    found = await asyncio.gather(value(store, "good"), value(store, "a//b"), return_exceptions=True)
    assert found[0] == b"1"
    assert isinstance(found[1], InvalidKeyError)


async def test_a_lost_server_is_not_asked_key_by_key() -> None:
    """When the store cannot be reached, every caller is told so after one try."""
    gate = Gate()
    gate.bad, gate.error = {"k/1"}, StoreUnavailableError
    store = ZarrStore(gate)
    found = await asyncio.gather(*(value(store, f"k/{i}") for i in range(64)), return_exceptions=True)
    assert {type(one) for one in found} == {StoreUnavailableError}
    assert len(gate.order) == 1


class Undeletable(Layer):
    """Refuses to erase."""

    @property
    def capabilities(self) -> contract.Capabilities:
        """Without erasing."""
        return self.inner.capabilities.without("erase")


async def test_what_a_store_cannot_do_fails_alone() -> None:
    """Where keys cannot be erased, values that are stored in the same turn are stored."""
    store = ZarrStore(Undeletable(MemoryStore({"old": b"v"})))
    found = await asyncio.gather(
        store.set("new", buffer(b"1")),
        store.delete("old"),
        store.set("other", buffer(b"2")),
        return_exceptions=True,
    )
    assert [type(one) for one in found] == [type(None), UnsupportedError, type(None)]
    assert dict(store.store.items()) == {"old": b"v", "new": b"1", "other": b"2"}


async def test_a_closed_store_says_so() -> None:
    """After closing, every call raises the store's own error."""
    store = ZarrStore(MemoryStore())
    store.close()
    with pytest.raises(StoreClosedError):
        await store.get("k", PROTOTYPE)
    with pytest.raises(StoreClosedError):
        await store.set_if_not_exists("k", buffer(b"v"))


def test_a_loop_without_threads_is_an_error() -> None:
    """When the loop's threads have been shut down, calls fail and none is lost silently."""

    async def play() -> None:
        store = ZarrStore(MemoryStore({"k": b"v"}))
        loop = asyncio.get_running_loop()
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown"):
            await store.get("k", PROTOTYPE)

    asyncio.run(play())


async def test_calls_dropped_by_the_threads_are_an_error() -> None:
    """When the loop's threads are shut down with work waiting, its callers are told that it was not carried out."""
    gate = Gate()
    store = ZarrStore(gate)
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(1)
    loop.set_default_executor(threads)
    gate.open.clear()
    begun = asyncio.create_task(store.set("begun", buffer(b"v")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gate.entered.acquire(timeout=60)  # in the loop's thread: the only other one is busy
    waiting = asyncio.create_task(store.set("waiting", buffer(b"v")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    threads.shutdown(wait=False, cancel_futures=True)
    gate.open.set()
    await begun
    with pytest.raises(StoreAccessError, match="before the call was carried out"):
        await waiting
    assert dict(gate.inner.items()) == {"begun": b"v"}


# ---------------------------------------------------------------- cancellation


async def test_a_cancelled_call_that_has_not_begun_never_does() -> None:
    """Cancelling what waits in the queue takes it out, and nothing else; the next call of the key goes on."""
    gate = Gate()
    store = ZarrStore(gate)
    gate.open.clear()
    holding = []
    for i in range(gathering.CONCURRENCY):
        holding.append(asyncio.create_task(value(store, f"hold/{i}")))
        await entered(gate)
    doomed = [
        asyncio.create_task(store.set("k", buffer(b"doomed"))),
        asyncio.create_task(value(store, "other")),
    ]
    spared = asyncio.create_task(value(store, "k"))
    await asyncio.sleep(0)
    for task in doomed:
        task.cancel()
    gate.open.set()
    assert await asyncio.gather(*holding) == [None] * gathering.CONCURRENCY
    assert await spared is None
    assert all(task.cancelled() for task in doomed)
    assert "k" not in gate.inner


async def test_cancelling_a_batch_of_reads_drops_what_has_not_begun() -> None:
    """A cancelled `get_partial_values` leaves nothing in the queue that would be read for nobody."""
    gate = Gate()
    store = ZarrStore(gate)
    gate.open.clear()
    reading = asyncio.create_task(
        store.get_partial_values(PROTOTYPE, [(f"k/{i}", None) for i in range(3 * gathering.WINDOW)])
    )
    await entered(gate)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    gate.open.set()
    assert await value(store, "last") is None
    assert sum(len(keys) for _, keys in gate.order) <= gathering.CONCURRENCY * gathering.WINDOW + 1


async def test_the_caller_may_change_a_buffer_after_cancelling() -> None:
    """A write that has begun stores what it was given, also when its caller has gone and changed the memory."""
    gate = Gate()
    store = ZarrStore(gate)
    memory = bytearray(b"whole")
    gate.open.clear()
    writing = asyncio.create_task(store.set("k", buffer(memory)))  # type: ignore[arg-type]
    await entered(gate)
    writing.cancel()
    memory[:] = b"mixed"
    gate.open.set()
    assert await value(store, "k") == b"whole"


# ---------------------------------------------------------------- loops and threads


def test_many_loops_at_once() -> None:
    """Several threads with a loop each share a store, and zarr-python's own loop does too; nothing is mixed up."""
    store = ZarrStore(MemoryStore())

    async def play(me: int) -> list[bytes | None]:
        await asyncio.gather(*(store.set(f"{me}/{i}", buffer(b"%d.%d" % (me, i))) for i in range(50)))
        return await asyncio.gather(*(value(store, f"{me}/{i}") for i in range(50)))

    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda me: asyncio.run(play(me)), range(8))]
    assert found == [[b"%d.%d" % (me, i) for i in range(50)] for me in range(8)]
    assert len(store.store) == 400


def test_loops_that_ended_leave_nothing_behind() -> None:
    """The queue of a loop goes with the loop."""
    store = ZarrStore(MemoryStore())
    for _ in range(5):
        asyncio.run(store.set("k", buffer(b"v")))
    gc.collect()
    assert len(store._gatherers) == 0
