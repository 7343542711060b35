"""Many requests under way at once: coroutines in one thread of the process."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from zarrv3.forks import renew_in_children
from zarrv3.store.undisturbed import undisturbed

T = TypeVar("T")
Asked = TypeVar("Asked")

AT_ONCE = 128
"""How many requests of one call are under way at once."""


class Loop:
    """An event loop in a thread of its own, started when it is first needed; a forked child has another."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again without a thread."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns; an interrupt would leave the future locked for the loop."""
        return undisturbed(lambda: asyncio.run_coroutine_threadsafe(work, self._running()).result())

    def end(self) -> None:
        """Stop the thread: the interpreter would end it in the middle of the library's code, which does not bear that."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.call_soon_threadsafe(loop.stop)
                self._thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        found = self._loop
        if found is None:
            with self._lock:
                found = self._loop
                if found is None:
                    found = asyncio.new_event_loop()
                    self._thread = threading.Thread(
                        target=found.run_forever, name="zarrv3-obstore", daemon=True
                    )
                    self._thread.start()
                    self._loop = found
        return found

    def each(self, function: Callable[[Asked], Awaitable[T]], asked: Iterable[Asked]) -> list[T | Exception]:
        """The results or exceptions of a coroutine function for each item, in order, `AT_ONCE` of them at a time."""
        items = [*asked]
        return self.run(_each(function, items)) if items else []


async def _each(function: Callable[[Asked], Awaitable[T]], items: list[Asked]) -> list[T | Exception]:
    found: list[Any] = [None] * len(items)
    left = iter(enumerate(items))

    async def take() -> None:
        for place, item in left:
            try:
                found[place] = await function(item)
            except Exception as error:  # noqa: BLE001 - whoever asked raises it
                found[place] = error

    if len(items) == 1:
        await take()
    else:
        await asyncio.gather(*(take() for _ in range(min(AT_ONCE, len(items)))))
    return found


LOOP = Loop()
atexit.register(LOOP.end)
