"""A thread that alone uses a handle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from zarrv3_store_dbm.modules import Handle

T = TypeVar("T")
_Answers = SimpleQueue[tuple[Any, BaseException | None]]
_Job = tuple[_Answers, Callable[[], Any]]


class WorkerThread:
    """A handle that lives in a thread of its own: `dbm.sqlite3` refuses every other one, and others may too.

    It has the methods of its handle; each runs there, while the caller waits.
    """

    def __init__(self, make: Callable[[], Handle]) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_work, args=(self._jobs,), name="zarrv3-store-dbm", daemon=True
        )
        self._thread.start()
        try:
            self._handle = self._run(make)
        except BaseException:
            self._jobs.put(None)
            raise

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self._run(lambda: getattr(self._handle, name)(*arguments))

    def close(self) -> None:
        """Close the handle and end the thread."""
        try:
            self._run(self._handle.close)
        finally:
            self._jobs.put(None)
            if threading.current_thread() is not self._thread:
                self._thread.join()

    def abandon(self) -> None:
        """See `Handle`; in a child there is no such thread."""
        self._handle.abandon()

    def _run(self, call: Callable[[], T]) -> T:
        answers: _Answers = SimpleQueue()  # in C: whoever is interrupted while they wait leaves no lock
        self._jobs.put((answers, call))
        value, error = answers.get()
        if error is not None:
            raise error
        result: T = value
        return result


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        answers, call = job
        try:
            answers.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            answers.put((None, error))
        del job, answers, call
