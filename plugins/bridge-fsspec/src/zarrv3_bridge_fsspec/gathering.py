"""Single-key calls of one turn of an event loop become batches of a store.

fsspec and zarr-python ask for one key at a time, many times concurrently; a store of ours answers a batch in one round trip. So a
call only enters a queue, and at the end of the loop's turn, when every task that was ready has run, the queue goes to
the store. While `CONCURRENCY` batches are under way, what comes in waits and leaves together: the slower the store, the
fuller the batches. Batches run in the loop's default executor; the loop is never blocked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, cast
from weakref import WeakKeyDictionary

from zarrv3.errors import (
    ReadOnlyError,
    StoreAccessError,
    StoreClosedError,
    StoreError,
)
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Request

Kind: TypeAlias = Literal["get", "stat", "write", "create"]

READS = {"get", "stat"}

CONCURRENCY = 2
"""How many batches of an event loop are under way at once."""

WINDOW = 256
"""How many calls a batch has at most."""

WINDOW_BYTES = 64 * 2**20
"""How many bytes a batch writes at most, unless it is one value."""


class Call:
    """One call of one key, from when it is made until its answer is there.

    `done` never holds an exception: the caller may have gone, and nobody would fetch it.
    """

    __slots__ = ("done", "error", "item", "key", "kind", "number", "refused", "size", "value", "wanted")

    def __init__(
        self, number: int, kind: Kind, key: str, item: ByteRange | bytes | None, done: asyncio.Future[None]
    ) -> None:
        self.number = number
        self.kind = kind
        self.key = key
        self.item = item
        self.done = done
        self.value: Buffer | None = None
        self.size: int | None = None
        """The answer to `stat`."""
        self.refused = False
        """Whether `create` found the key there."""
        self.error: BaseException | None = None
        self.wanted = True

    async def answer(self) -> Buffer | None:
        """Wait for the value, or raise what this call failed with.

        A cancelled call is not begun any more; one that has begun runs to its end, and later calls of its key wait for it.
        """
        try:
            await asyncio.shield(self.done)
        except asyncio.CancelledError:
            self.wanted = False
            raise
        if self.error is not None:
            raise self.error
        return self.value


class Gatherer:
    """The queue of one event loop; used in its thread only.

    For each key, a call that is made after a write is carried out after it, also when the write has not been answered or
    its caller has been cancelled.

    Args:
        store: what carries out the batches, in threads.
    """

    def __init__(self, store: BaseStore) -> None:
        self.store = store
        self._numbers = 0
        self._running = 0
        self._scheduled = False
        self._ready: dict[Kind, deque[Call]] = {kind: deque() for kind in _ACTIONS}
        self._writes: set[Call] = set()  # those that have not ended
        self._writing: dict[str, deque[Call]] = {}  # their keys → the calls that wait for them

    def call(self, kind: Kind, key: str, item: ByteRange | bytes | None = None) -> Call:
        """Enter a call in the queue; wait for its `answer`."""
        loop = asyncio.get_running_loop()
        self._numbers += 1
        call = Call(self._numbers, kind, key, item, loop.create_future())
        if kind not in READS:
            self._writes.add(call)
        self._enter(call)
        self._schedule(loop)
        return call

    async def get_many(self, requests: Sequence[Request]) -> list[Buffer | None]:
        """The values of some requests, in order."""
        calls = [self.call("get", key, wanted) for key, wanted in requests]
        try:
            return [await call.answer() for call in calls]
        except BaseException:
            for call in calls:
                call.wanted = False
            raise

    async def writes_ended(self) -> None:
        """Wait until every write that has been made so far has ended."""
        if self._writes:
            await asyncio.wait([call.done for call in self._writes])

    # ------------------------------------------------------------ the queue

    def _enter(self, call: Call) -> None:
        waiting = self._writing.get(call.key)
        if waiting is not None:
            waiting.append(call)
            return
        if call.kind not in READS:
            self._writing[call.key] = deque()
        self._ready[call.kind].append(call)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and self._running < CONCURRENCY:
            self._scheduled = True
            loop.call_soon(self._leave)

    def _leave(self) -> None:
        """Start as many batches as may be under way, those first whose calls have waited longest."""
        self._scheduled = False
        while self._running < CONCURRENCY and any(self._ready.values()):
            kind = min((q[0].number, kind) for kind, q in self._ready.items() if q)[1]
            batch = self._batch(self._ready[kind])
            if batch:
                self._start(kind, batch)

    def _batch(self, queue: deque[Call]) -> list[Call]:
        batch: list[Call] = []
        size = 0
        while queue and len(batch) < WINDOW:
            length = len(queue[0].item) if isinstance(queue[0].item, bytes) else 0
            if batch and size + length > WINDOW_BYTES:
                break
            call = queue.popleft()
            if call.wanted:
                batch.append(call)
                size += length
            else:
                self._end(call)
        return batch

    def _start(self, kind: Kind, batch: list[Call]) -> None:
        self._running += 1
        loop = asyncio.get_running_loop()
        try:
            job = loop.run_in_executor(None, carry_out, self.store, kind, batch)
        except RuntimeError as error:  # the executor was shut down
            self._landed(batch, error)
            return
        job.add_done_callback(lambda job: self._landed(batch, _failure(job)))

    def _landed(self, batch: list[Call], error: BaseException | None) -> None:
        self._running -= 1
        for call in batch:
            call.error = error or call.error
            self._end(call)
        self._schedule(asyncio.get_running_loop())

    def _end(self, call: Call) -> None:
        call.done.set_result(None)
        if call.kind not in READS:
            self._writes.remove(call)
            for waiting in self._writing.pop(call.key):
                self._enter(waiting)


class Gatherers(WeakKeyDictionary[asyncio.AbstractEventLoop, Gatherer]):
    """The queues of event loops, each as long as its loop is there. No other loop looks at one, so this needs no lock."""

    def of_this_loop(self, store: BaseStore) -> Gatherer:
        """The queue of the running loop, over a store."""
        loop = asyncio.get_running_loop()
        found = self.get(loop)
        if found is None:
            found = self[loop] = Gatherer(store)
        return found


def _failure(job: asyncio.Future[None]) -> BaseException | None:
    if job.cancelled():
        return StoreAccessError(
            "the threads of the event loop were shut down before the call was carried out"
        )
    return job.exception()


# ---------------------------------------------------------------- in a thread


def carry_out(store: BaseStore, kind: Kind, calls: Sequence[Call]) -> None:
    """Carry out a batch and note at each call its value or error.

    When a batch fails, its halves are tried, and so on, so that a call fails only by its own key; unless the error is
    one that no call would escape: the store is closed, read-only, or cannot be reached. Trying again is harmless: the same
    values are stored, the same keys are erased.
    """
    try:
        _ACTIONS[kind](store, calls)
    except Exception as error:  # noqa: BLE001 - raised in the callers
        if len(calls) == 1 or _concerns_all(error):
            for call in calls:
                call.error = error
        else:
            half = len(calls) // 2
            carry_out(store, kind, calls[:half])
            carry_out(store, kind, calls[half:])


def _concerns_all(error: Exception) -> bool:
    return isinstance(error, StoreClosedError | ReadOnlyError) or (
        isinstance(error, StoreError) and error.retryable
    )


def _get(store: BaseStore, calls: Sequence[Call]) -> None:
    values = store.get_many([Request(call.key, cast("ByteRange | None", call.item)) for call in calls])
    for call, value in zip(calls, values, strict=True):
        call.value = value


def _stat(store: BaseStore, calls: Sequence[Call]) -> None:
    for call, size in zip(calls, store.stat_many([call.key for call in calls]), strict=True):
        call.size = size


def _write(store: BaseStore, calls: Sequence[Call]) -> None:
    store.write_many({call.key: cast("bytes | None", call.item) for call in calls})


def _create(store: BaseStore, calls: Sequence[Call]) -> None:
    """Store the values of keys that do not exist: atomically where the store can, else by looking first."""
    values = {call.key: cast("bytes", call.item) for call in calls}
    if store.capabilities.swap:
        taken = store.swap_many({key: (None, value) for key, value in values.items()})
    else:
        sizes = zip(values, store.stat_many([*values]), strict=True)
        taken = {key for key, size in sizes if size is not None}
        store.write_many({key: value for key, value in values.items() if key not in taken})
    for call in calls:
        call.refused = call.key in taken


_ACTIONS: Mapping[Kind, Callable[[BaseStore, Sequence[Call]], None]] = {
    "get": _get,
    "stat": _stat,
    "write": _write,
    "create": _create,
}
