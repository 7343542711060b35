"""`zarrv3.aio`: calls in coroutines, counted and not timed."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Buffer, Layer, Request, aio
from zarrv3.errors import NodeNotFoundError
from zarrv3.store.contract import Versioned

PATIENCE = 60.0


class Gate(Layer):
    """A store whose chunks are read and written while it is open, and that counts who is inside."""

    kind = "gate"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.inside = self.most = self.calls = 0
        self.lock = threading.Lock()

    def _pass(self, keys: Sequence[str]) -> None:
        if not any("c/" in key for key in keys):
            return
        with self.lock:
            self.calls += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self.open.wait(PATIENCE)
        with self.lock:
            self.inside -= 1

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """Chunks pass the gate."""
        self._pass([request.key for request in requests])
        return self.inner.get_many(requests)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """They are not asked for here."""
        return self.inner.get_versioned(keys)

    def write_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """Chunks pass the gate."""
        self._pass([*changes])
        self.inner.write_many(changes)

    def swap_many(self, swaps: Any, /) -> Any:
        """Passed on."""
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Any, /) -> None:
        """Passed on."""
        self.inner.apply_many(changes)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is closed, around an array of 10 chunks; it opens when the test has ended."""
    store = Gate(zarrv3.MemoryStore())
    store.open.set()
    zarrv3.create_array(store, data=np.arange(100), chunks=(10,))
    store.open.clear()
    store.calls = store.most = 0
    while store.entered.acquire(blocking=False):
        pass
    yield store
    store.open.set()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns, within a time that only something that hangs takes."""
    return asyncio.run(asyncio.wait_for(work, PATIENCE))


async def entered(gate: Gate) -> None:
    """Until one more call is at the gate."""
    assert await asyncio.to_thread(gate.entered.acquire, timeout=PATIENCE)


def test_reading_and_writing() -> None:
    """What is read is what the array has, by any selection; what is written is there; errors are those of the array."""

    async def work() -> None:
        array = zarrv3.create_array(zarrv3.MemoryStore(), data=np.arange(24).reshape(4, 6), chunks=(2, 3))
        assert (await aio.read(array)).tolist() == array[...].tolist()
        assert (await aio.read(array, (slice(1, 3), 2))).tolist() == [8, 14]
        assert (await aio.read(array.oindex, ([0, 3], [1, 5]))).tolist() == [[1, 5], [19, 23]]
        await aio.write(array, (0, slice(None)), 7)
        assert array[0].tolist() == [7] * 6
        with pytest.raises(IndexError):
            await aio.read(array, (9, 9))
        with pytest.raises(NodeNotFoundError):
            await aio.call(zarrv3.open_array, "memory://nothing", mode="r")

    run(work())


def test_the_loop_goes_on(gate: Gate) -> None:
    """While a read waits for the store, the loop does other things: among them, it lets the store answer."""

    async def work() -> None:
        reading = asyncio.create_task(aio.read(zarrv3.open_array(gate)))
        await entered(gate)
        for _ in range(1000):  # would never come here if the read held the loop up
            await asyncio.sleep(0)
        assert not reading.done()
        gate.open.set()
        assert (await reading).tolist() == list(range(100))

    run(work())


def test_so_many_at_once(gate: Gate) -> None:
    """No more calls run at once than the setting says; the others wait for their turn."""

    async def work() -> None:
        array = zarrv3.open_array(gate)
        with zarrv3.config.set(aio_threads=3, threads=1):
            reads = [asyncio.create_task(aio.read(array, 5)) for _ in range(12)]
            for _ in range(3):
                await entered(gate)
            assert gate.calls == 3
            gate.open.set()
            assert await asyncio.gather(*reads) == [5] * 12

    run(work())
    assert (gate.calls, gate.most) == (12, 3)


def test_what_has_not_begun_never_begins(gate: Gate) -> None:
    """A cancelled call that waited for its turn is not made: nothing is written."""

    async def work() -> None:
        array = zarrv3.open_array(gate)
        with zarrv3.config.set(aio_threads=1):
            first = asyncio.create_task(aio.read(array, 0))
            await entered(gate)
            second = asyncio.create_task(aio.write(array, slice(0, 10), -1))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            gate.open.set()
            await first
            assert await aio.read(array, 3) == 3

    run(work())
    assert gate.calls == 2


def test_a_cancelled_read_stops_before_its_next_piece(gate: Gate) -> None:
    """Who has cancelled waits no longer; the thread reads what it has begun to read, and no more."""

    async def work() -> None:
        with zarrv3.config.set(window=1, threads=1):
            reading = asyncio.create_task(aio.read(zarrv3.open_array(gate)))
            await entered(gate)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert gate.inside == 1
            gate.open.set()

    run(work())
    run(aio.call(int))  # whoever comes next finds threads that are free
    assert gate.calls == 1


def test_a_write_that_has_begun_goes_on(gate: Gate) -> None:
    """A cancelled write that has begun is done as a whole, though who has cancelled waits no longer."""
    array = zarrv3.open_array(gate)

    async def work() -> None:
        with zarrv3.config.set(window=1, threads=1):
            writing = asyncio.create_task(aio.write(array, slice(0, 100), np.full(100, -1)))
            await entered(gate)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            gate.open.set()

    run(work())
    for _ in range(9):
        assert gate.entered.acquire(timeout=PATIENCE)
    ended = threading.Event()
    run(aio.call(ended.set))
    while gate.inside:
        ended.wait(0.001)
    assert array[...].tolist() == [-1] * 100


def test_the_end_of_the_interpreter_waits(tmp_path: Path) -> None:
    """A write that was cancelled after it had begun is whole when the process has ended."""
    program = (
        "import asyncio, sys, threading\nimport zarrv3\nfrom zarrv3 import aio\n"
        "array = zarrv3.create_array(sys.argv[1], shape=(40,), chunks=(10,), dtype='i4')\n"
        "began, left = threading.Event(), threading.Event()\n"
        "def slowly():\n"
        "    began.set()\n    left.wait(60)\n    array[:] = 7\n"
        "async def main():\n"
        "    task = asyncio.create_task(aio.call(slowly))\n"
        "    await asyncio.to_thread(began.wait)\n    task.cancel()\n"
        "asyncio.run(main())\nleft.set()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program, str(tmp_path / "a")], check=True)
    assert zarrv3.open_array(tmp_path / "a")[...].tolist() == [7] * 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_has_threads_of_its_own(gate: Gate) -> None:
    """A worker that is forked while calls are under way in its parent reads in a loop of its own."""
    array = zarrv3.create_array(zarrv3.MemoryStore(), data=[1, 2, 3])

    async def work(fork: Callable[[], int]) -> int:
        reading = asyncio.create_task(aio.read(zarrv3.open_array(gate), 0))
        await entered(gate)
        child = fork()
        gate.open.set()
        await reading
        return child

    def fork() -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio._set_running_loop(None)  # type: ignore[attr-defined]  # the parent's
                code = 0 if run(aio.read(array)).tolist() == [1, 2, 3] else 2
            finally:
                os._exit(code)
        return child

    child = run(work(fork))
    assert os.waitpid(child, 0)[1] == 0
