"""The threads that call the store, which blocks: as many as were asked for, made when they are first needed."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from zarrv3.forks import renew_in_children

T = TypeVar("T")
Task = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Workers:
    """A number of threads for calls that block. None of them keeps a process from ending, and a forked child has its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with no threads."""
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = 0

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function returns or raises in one of the threads."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._threads < self.number:
            self._threads += 1
            threading.Thread(target=self._work, args=(self._tasks,), daemon=True, name="zarrv3-serve").start()
        self._tasks.put((loop, future, function, arguments))
        return await future

    def stop(self) -> None:
        """Let every thread end when it has done what it is doing; the next call begins again."""
        tasks, threads = self._tasks, self._threads
        self.renew()
        for _ in range(threads):
            tasks.put(None)

    def _work(self, tasks: "SimpleQueue[Task | None]") -> None:
        while True:
            task = tasks.get()
            if task is None:
                return
            loop, future, function, arguments = task
            try:
                result, error = function(*arguments), None
            except BaseException as raised:  # noqa: BLE001 - raised where it is awaited
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                return
            del task, future, function, arguments, result, error  # nothing of a request outlives it


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():  # whoever waited has gone
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
