"""Many requests under way at once, by the library's coroutines, in the thread of the caller.

An event loop of asyncio would be a thread of its own, a selector and a pipe that wakes it for each answer. What the
library needs of a loop is where to make a future, and whom to tell its result from another thread: a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Asked = TypeVar("Asked")


def gather(
    request: Callable[[Asked], Coroutine[Any, Any, T]],
    items: Sequence[Asked],
    at_once: int,
    here: Callable[[], None] | None = None,
) -> list[T | Exception]:
    """The results or exceptions of a coroutine for each item, in order, some of them at a time.

    Args:
        request: makes the coroutines, which await nothing but the library.
        items: what they are made for.
        at_once: how many may be under way.
        here: done by this thread while they are.
    """
    loop: Any = _Loop(request, items, at_once)
    usual = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        loop.begin()
        if here is not None:
            here()
        loop.finish()
    finally:
        asyncio._set_running_loop(usual)
    found: list[T | Exception] = loop.found
    return found


class _Loop:
    """What the library sees as the running event loop."""

    def __init__(
        self, request: Callable[[Any], Coroutine[Any, Any, Any]], items: Sequence[Any], at_once: int
    ) -> None:
        self.found: list[Any] = [None] * len(items)
        self._request = request
        self._left: Iterator[tuple[int, Any]] = iter(enumerate(items))
        self._under_way, self._at_once = 0, at_once
        self._told: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()

    def create_future(self) -> _Future:
        """A future that goes on with the coroutine that awaits it."""
        return _Future(self)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, **_context: object) -> None:
        """Have the thread of the caller do something; called by threads of the library."""
        self._told.put((callback, args))

    def begin(self) -> None:
        """Begin with as many items as may be under way."""
        while self._under_way < self._at_once:
            place, item = next(self._left, (-1, None))
            if place < 0:
                return
            self._under_way += 1
            self.go_on(place, self._request(item))

    def go_on(self, place: int, work: Coroutine[Any, Any, Any]) -> None:
        """Let a coroutine do what it can."""
        try:
            work.send(None).waiting = place, work
        except StopIteration as done:
            self.found[place] = done.value
        except Exception as error:  # noqa: BLE001 - whoever asked raises it
            self.found[place] = error
        else:
            return
        self._under_way -= 1

    def finish(self) -> None:
        """Return when all have ended."""
        while self._under_way:
            callback, args = self._told.get()
            callback(*args)
            self.begin()


class _Future:
    """What the library knows of a future of asyncio, and a coroutine awaits."""

    waiting: tuple[int, Coroutine[Any, Any, Any]]

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._result: Any = None
        self._error: BaseException | None = None

    def __await__(self) -> Generator[_Future, None, Any]:
        """Wait for the result."""
        yield self
        if self._error is not None:
            raise self._error
        return self._result

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """By it the library would learn that somebody cancels the future, which nobody does."""

    def cancelled(self) -> bool:
        """Whether somebody has cancelled it."""
        return False

    def set_result(self, result: Any) -> None:
        """Go on with a result."""
        self._result = result
        self._loop.go_on(*self.waiting)

    def set_exception(self, error: BaseException) -> None:
        """Go on with an exception."""
        self._error = error
        self._loop.go_on(*self.waiting)
