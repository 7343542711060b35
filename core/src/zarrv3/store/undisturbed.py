"""Calls of libraries that cannot bear an interrupt (Ctrl-C), which comes to the main thread only: another thread does them.

What `threading` builds of its locks (conditions, events) is Python code, and so are the pools, futures and event loops that others
build of these. An interrupt at the wrong point leaves them locked for ever, for all threads.
"""

from __future__ import annotations

import inspect
import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from functools import partial, wraps
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from zarrv3.forks import at_forks

T = TypeVar("T")
C = TypeVar("C", bound=type)

_Answers = SimpleQueue[tuple[Any, BaseException | None]]

MOST = 1000
"""How many items of an iterator are fetched at once, after fewer at first."""


class Worker:
    """A thread that does calls for others, who wait; what can be interrupted there is C, and leaves no lock."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Context, Callable[[], Any], _Answers] | None] = SimpleQueue()
        start_new_thread(_work, (self._jobs,))  # `Thread.start` waits for an event

    def run(self, call: Callable[[], T]) -> T:
        """What a call returns. An interrupt waits until it has ended: nothing is written behind what follows; a second one does not."""
        answers: _Answers = SimpleQueue()
        try:
            self._jobs.put((copy_context(), call, answers))
            result, error = answers.get()
        except BaseException:
            ended: _Answers = SimpleQueue()
            self._jobs.put((copy_context(), _nothing, ended))
            ended.get()
            raise
        if error is not None:
            raise error
        value: T = result
        return value

    def stop(self) -> None:
        """End the thread when it has done what was asked of it."""
        self._jobs.put(None)


def _work(jobs: SimpleQueue[tuple[Context, Callable[[], Any], _Answers] | None]) -> None:
    """Do the calls; when the caller has an answer, nothing here holds on to what was called."""
    while (job := jobs.get()) is not None:
        context, call, answers = job
        del job
        answer: list[tuple[Any, BaseException | None]] = []
        try:
            answer.append((context.run(call), None))
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            answer.append((None, error))
        del context, call
        answers.put(answer.pop())
        del answers


def _nothing() -> None:
    """What is asked for to learn that all before it is done."""


_workers: list[Worker] = []
"""The worker of the main thread, which alone makes and uses it; a forked child has none, since the thread is the parent's."""

at_forks(in_child=_workers.clear)


def undisturbed(call: Callable[[], T]) -> T:
    """What a call returns that no interrupt comes into."""
    if threading.get_ident() != threading.main_thread().ident or sys.is_finalizing():
        return call()
    if not _workers:
        try:
            _workers.append(Worker())
        except RuntimeError:  # the interpreter is shutting down, or can start no more threads
            return call()
    return _workers[0].run(call)


def function_undisturbed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, into which no interrupt comes, nor into the iterator that it returns."""

    @wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        result = undisturbed(partial(function, *arguments, **options))
        return _iterated(result) if isinstance(result, Iterator) else result

    return wrapper


def methods_undisturbed(cls: C) -> C:
    """Let no interrupt come into the public methods of a class, nor into the iterators that they return; a decorator."""
    for name, method in [*vars(cls).items()]:
        if inspect.isfunction(method) and name[0] != "_" and not inspect.iscoroutinefunction(method):
            setattr(cls, name, function_undisturbed(method))
    return cls


def _iterated(items: Iterator[T]) -> Iterator[T]:
    count = 1
    while some := undisturbed(partial(_first, items, count)):
        yield from some
        count = min(2 * count, MOST)


def _first(items: Iterator[T], count: int) -> list[T]:
    return [*islice(items, count)]
