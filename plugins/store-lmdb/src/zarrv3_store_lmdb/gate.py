"""The gate in front of an environment: many transactions at once, or nobody while the memory map is exchanged."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Many threads inside, or one alone; who wants to be alone goes before who comes later.

    A thread must not pass the gate twice.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside together with others."""
        with self._changed:
            while self._alone:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if self._alone and not self._inside:
                    self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside with nobody else."""
        self.shut()
        try:
            yield
        finally:
            self.open()

    def shut(self, timeout: float | None = None) -> bool:
        """Let nobody in and wait until all are out; false, and open again, when that takes longer than `timeout`."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if not self._changed.wait_for(lambda: not self._alone, timeout):
                return False
            self._alone = True
            if self._changed.wait_for(
                lambda: not self._inside, None if end is None else end - time.monotonic()
            ):
                return True
            self._alone = False
            self._changed.notify_all()
            return False

    def open(self) -> None:
        """Let all in again."""
        with self._changed:
            self._alone = False
            self._changed.notify_all()
