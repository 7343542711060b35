"""Event loops in threads of their own, for libraries whose functions are coroutines."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from _thread import LockType, allocate_lock
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeVar

from zarrv3.errors import StoreUnavailableError
from zarrv3.forks import renew_in_children
from zarrv3.store.undisturbed import undisturbed

T = TypeVar("T")

PATIENCE = 10.0
"""How many seconds the end of the interpreter waits for what is under way."""


class Loop:
    """An event loop in a thread, started when it is first needed; a forked child has another one.

    When the interpreter ends, what is under way is waited for, and nothing new begins but in the main thread: a library whose
    own threads come back to an interpreter that has gone, in order to hand over a result, ends the process with a signal.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._loop: _Loop | None = None
        self.renew()
        renew_in_children(self)
        atexit.register(self.stop, for_good=True)

    def renew(self) -> None:
        """Begin again without a thread."""
        self._inherited = self._loop  # a loop that goes without being closed warns
        self._lock = threading.Lock()
        self._is_over = False
        self._loop = None
        self._under_way: set[Future[Any]] = set()
        self._calls: set[LockType] = set()
        """A lock for each call under way, which holds it."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns; an interrupt would leave the future locked for the loop."""
        if self._is_alone():
            return asyncio.run(work)
        return undisturbed(lambda: self._begun(work).result())

    def call(self, function: Callable[[], T]) -> T:
        """What a function of the library returns that waits without a loop; at the end it is waited for as well."""
        return function() if self._is_alone() else undisturbed(lambda: self._waited_for(function))

    def stop(self, *, for_good: bool = False) -> None:
        """End the thread when what is under way is done; the next use starts another one, unless it is for good."""
        with self._lock:
            self._is_over = for_good
            loop, self._loop = self._loop, None
        latest = time.monotonic() + PATIENCE
        for call in [*self._calls]:
            call.acquire(timeout=max(0, latest - time.monotonic()))
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(2 * PATIENCE)

    def _is_alone(self) -> bool:
        """Whether only this thread goes on: the main one, at the end of the interpreter."""
        return self._is_over and threading.current_thread() is threading.main_thread()

    def _waited_for(self, function: Callable[[], T]) -> T:
        under_way = allocate_lock()
        under_way.acquire()
        with self._lock:
            self._check()
            self._calls.add(under_way)
        try:
            return function()
        finally:
            self._calls.discard(under_way)
            under_way.release()

    def _check(self) -> None:
        if self._is_over:
            raise StoreUnavailableError("the process is about to end, so nothing new can begin")

    def _begun(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            try:
                self._check()
            except StoreUnavailableError:
                work.close()
                raise
            if self._loop is None:
                self._loop = _Loop()
                self._thread = threading.Thread(
                    target=self._serve, args=[self._loop], name=self.name, daemon=True
                )
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._under_way.add(future)
            future.add_done_callback(self._under_way.discard)
            return future

    def _serve(self, loop: _Loop) -> None:
        try:
            loop.run_forever()
            loop.run_until_complete(_settled(self._under_way))
            with suppress(RuntimeError):  # at the very end no thread begins, not even to wait for others
                loop.run_until_complete(loop.shutdown_default_executor())
            loop.let_go()
        finally:
            loop.close()


class _Loop(getattr(asyncio, "ProactorEventLoop", asyncio.SelectorEventLoop)):  # type: ignore[misc] # one of two
    """An event loop that knows which other threads are just telling it something."""

    def __init__(self) -> None:
        super().__init__()
        self._tellers: set[int] = set()

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As in any loop. Within it a thread lets others go on, which may find the result that it brings, and end all."""
        thread = threading.get_ident()
        self._tellers.add(thread)
        try:
            handle: asyncio.Handle = super().call_soon_threadsafe(callback, *args, context=context)
            return handle
        finally:
            self._tellers.discard(thread)

    def let_go(self) -> None:
        """Wait until all of them have returned."""
        latest = time.monotonic() + PATIENCE
        while self._tellers and time.monotonic() < latest:
            time.sleep(0.001)


async def _settled(under_way: set[Future[Any]]) -> None:
    """Wait for what was asked for, and cancel what is left then."""
    asked = asyncio.gather(*map(asyncio.wrap_future, [*under_way]), return_exceptions=True)
    await asyncio.wait([asked], timeout=PATIENCE)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
