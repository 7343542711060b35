"""A call whose answer is waited for no longer than a time, whatever the library does that is called."""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from collections.abc import Callable

from zarrv3.errors import StoreTimeoutError


class Question:
    """A call under way in a thread of its own; any number of threads may wait for its end.

    The thread goes on when nobody waits any more, and does not keep the process from ending. What it and those who wait use is C:
    an interrupt leaves nothing locked.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.is_answered = False
        self._error: Exception | None = None
        self._answer = allocate_lock()  # held until there is one
        self._answer.acquire()
        try:
            start_new_thread(self._ask, (call,))
        except RuntimeError:  # the interpreter is shutting down, or can start no more threads
            self._ask(call)

    def wait(self, seconds: float, what: str) -> None:
        """Return when the call has; raise what it has raised, and `StoreTimeoutError` when the time is over."""
        if not self._answer.acquire(timeout=seconds):
            raise StoreTimeoutError(f"{what} has not answered within {seconds:.3g} s")
        self._answer.release()  # for whoever waits besides
        if self._error is not None:
            raise self._error

    def _ask(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - those who wait get it
            self._error = error
        finally:
            self.is_answered = True
            self._answer.release()
