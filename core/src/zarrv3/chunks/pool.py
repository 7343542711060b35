"""The threads that move chunks: shared by the process, as many as `config` says."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from zarrv3.forks import Lock, at_forks, renew_in_children
from zarrv3.options.settings import config

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

_here = threading.local()
_callers: set[int] = set()
"""The threads of the user in which `run` is under way."""

is_given_up: ContextVar[Callable[[], bool]] = ContextVar("is_given_up", default=lambda: False)
"""Whether nobody wants any more what is being read; asked before each task."""


class GivenUpError(Exception):
    """What is raised then."""


WAITING = 3
"""How many threads a processor has by default where each waits for a store most of the time."""


def threads(*, waiting: bool = False) -> int:
    """How many threads there may be: the setting `threads`, by default one for each processor this process may use.

    With `waiting`, by default `WAITING` for each: while one waits for a store that is far away, another one decodes.
    """
    wanted: int | None = config.get("threads")
    if wanted is not None:
        return wanted
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not on macOS and Windows
        processors = os.cpu_count() or 1
    return processors * (WAITING if waiting else 1)


def run(action: Callable[[T], None], tasks: Iterable[T], count: int, workers: int) -> None:
    """Do something with every task, in up to `workers` threads at once; tasks are taken as threads become free.

    The calling thread is one of them, and the only one while those of other calls keep as many busy as there may be: more would
    only wait for each other. The first exception stops the rest from being started and is raised when those under
    way have ended. Called from within a task, or for one task or worker, everything happens in the calling thread. In
    other threads tasks see the context variables of the caller, so that `numpy.errstate` reaches them.
    """
    tasks = _wanted(tasks)
    if getattr(_here, "working", False):
        _run(action, tasks, 1)
        return
    me = threading.get_ident()
    try:
        _callers.add(me)
        _run(action, tasks, min(count, max(1, workers + 1 - len(_callers))))
    finally:
        _callers.discard(me)


def _run(action: Callable[[T], None], tasks: Iterator[T], workers: int) -> None:
    if workers <= 1:
        for task in tasks:
            action(task)
        return
    shared, helpers = _Shared(tasks), _Helpers()
    try:
        helpers.count = len(_threads.submit(workers - 1, helpers.drain, shared, action))
        _drain(shared, action)  # this thread is one of them: it need not be woken
        helpers.wait()
        helpers.check()
    except BaseException:
        shared.stop()
        helpers.wait()  # until no thread works on our tasks; a second interrupt does not wait for that
        raise
    finally:
        helpers.outcomes.clear()  # an error holds all frames, and with them what was read


class _Helpers:
    """What has become of the threads that help. Waiting for them is C: an interrupt comes through as what it is.

    A thread notes its end before it tells of it, so that who waits counts what is noted, whatever an interrupt has swallowed.
    """

    def __init__(self) -> None:
        self.count = 0
        self.outcomes: list[BaseException | None] = []
        self._ends: SimpleQueue[None] = SimpleQueue()

    def drain(self, tasks: _Shared[T], action: Callable[[T], None]) -> None:
        """Do tasks in a thread that helps."""
        error: BaseException | None = None
        try:
            _drain(tasks, action)
        except BaseException as raised:  # noqa: BLE001 - whoever waits raises it
            error = raised
        self.outcomes.append(error)
        del error
        self._ends.put(None)

    def wait(self) -> None:
        """Return when all have ended."""
        while len(self.outcomes) < self.count:
            self._ends.get()

    def check(self) -> None:
        """Raise what one of them has raised, the first to end."""
        if any(self.outcomes):
            raise next(filter(None, self.outcomes))  # by a name, this frame would hold it, and it this frame


def _wanted(tasks: Iterable[T]) -> Iterator[T]:
    """The tasks, as long as somebody wants what is being read."""
    given_up = is_given_up.get()
    for task in tasks:
        if given_up():
            raise GivenUpError
        yield task


class _Shared(Iterator[T]):
    """An iterator that several threads take from."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._lock = threading.Lock()
        self._stopped = False

    def __next__(self) -> T:
        with self._lock:
            if self._stopped:
                raise StopIteration
            return next(self._items)

    def stop(self) -> None:
        """Let nobody take any more."""
        self._stopped = True


def _drain(tasks: _Shared[T], action: Callable[[T], None]) -> None:
    _here.working = True
    try:
        for task in tasks:
            action(task)
    except BaseException:
        tasks.stop()
        raise
    finally:
        _here.working = False


class Threads:
    """Threads of this process under a name, as many as a setting says; a forked child has others."""

    def __init__(self, name: str, size: Callable[[], int]) -> None:
        self._name, self._wanted = name, size
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._size = 0
        renew_in_children(self)

    def renew(self) -> None:
        """In a forked child, where they are gone."""
        self._pool = None

    def submit(self, count: int, call: Callable[..., T], *arguments: Any) -> list[Future[T]]:
        """Make a call so many times, in the caller's context; fewer futures, or none, where no thread can be started any more."""
        try:
            # with logging, a tenth of the time to import zarrv3
            from concurrent.futures import ThreadPoolExecutor
        except RuntimeError:  # the interpreter is shutting down
            return []
        size = self._wanted()
        futures: list[Future[T]] = []
        with self._lock.taken:  # held while submitting: nobody replaces the pool in between
            if self._pool is None or self._size != size:
                if self._pool is not None:
                    self._pool.shutdown(wait=False)  # what is under way ends; what comes goes to the new one
                self._pool, self._size = ThreadPoolExecutor(size, thread_name_prefix=self._name), size
            for _ in range(count):
                try:
                    futures.append(self._pool.submit(copy_context().run, call, *arguments))
                except RuntimeError:
                    break
                except BaseException:  # a thread began that the pool would not know of, nor end
                    self._pool.shutdown(wait=False)
                    self._pool = None
                    raise
        return futures


_threads = Threads("zarrv3", partial(threads, waiting=True))


def _forget() -> None:
    """In a forked child, which has one thread."""
    _callers.intersection_update({threading.get_ident()})


at_forks(in_child=_forget)
