"""A thread that alone touches a handle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from zarrv3.store.contract import Buffer, Request
from zarrv3_store_dbm.modules import Handle

T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[], Any]]


class Lane:
    """A handle that lives in a thread of its own: `dbm.sqlite3` refuses every other one, and others may too."""

    def __init__(self, make: Callable[[], Handle]) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_work, args=(self._jobs,), name="zarrv3-store-dbm", daemon=True
        )
        self._thread.start()
        try:
            self.handle = self._run(make)
        except BaseException:
            self._jobs.put(None)
            raise

    def get_many(self, requests: Sequence[Request]) -> list[bytes | None]:
        """See `Handle`."""
        return self._run(lambda: self.handle.get_many(requests))

    def sizes(self, keys: Collection[str]) -> list[int | None]:
        """See `Handle`."""
        return self._run(lambda: self.handle.sizes(keys))

    def keys(self) -> list[str]:
        """See `Handle`."""
        return self._run(self.handle.keys)

    def put(self, items: Mapping[str, Buffer]) -> None:
        """See `Handle`."""
        self._run(lambda: self.handle.put(items))

    def drop(self, keys: Collection[str]) -> None:
        """See `Handle`."""
        self._run(lambda: self.handle.drop(keys))

    def sync(self) -> bool:
        """See `Handle`."""
        return self._run(self.handle.sync)

    def close(self) -> None:
        """Close the handle and end the thread."""
        try:
            self._run(self.handle.close)
        finally:
            self._jobs.put(None)
            if threading.current_thread() is not self._thread:
                self._thread.join()

    def _run(self, call: Callable[[], T]) -> T:
        future: Future[T] = Future()
        self._jobs.put((future, call))
        return future.result()


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, call = job
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            future.set_exception(error)
        del job, future, call
