"""A thread that alone uses a handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zarrv3.store.undisturbed import Worker
from zarrv3_store_dbm.modules import Handle


class WorkerThread:
    """A handle that lives in a thread of its own: `dbm.sqlite3` refuses every other one, and others may too.

    It has the methods of its handle; each runs there, while the caller waits.
    """

    def __init__(self, make: Callable[[], Handle]) -> None:
        self._worker = Worker()
        try:
            self._handle = self._worker.run(make)
        except BaseException:
            self._worker.stop()
            raise

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self._worker.run(lambda: getattr(self._handle, name)(*arguments))

    def close(self) -> None:
        """Close the handle and end the thread."""
        try:
            self._worker.run(self._handle.close)
        finally:
            self._worker.stop()

    def abandon(self) -> None:
        """See `Handle`; in a child there is no such thread."""
        self._handle.abandon()
