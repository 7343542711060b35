"""Locks for the threads of this process: by name, for many readers or one writer, and in the order of asking.

All begin again with nothing held in a forked child, and none stays taken when an interrupt (Ctrl-C) ends what held it, wherever
it strikes.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager
from types import TracebackType

from zarrv3.store.forks import renew_in_children

LOOK_AGAIN = 0.05
"""Seconds after which a waiting thread looks whether whoever holds a lock is gone without a word."""


class NamedLocks:
    """Lets one thread at a time into what a name stands for.

    A thread takes all the names it needs at once or waits, so that there is no order to keep to. It asks for more while it
    holds some only where all who do have one order of kinds of names.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nothing held."""
        self._changed = threading.Condition(threading.Lock())
        self._taken: dict[Hashable, weakref.ref[Held]] = {}

    def held(self, names: Collection[Hashable]) -> Held:
        """A block during which no other thread holds any of the names."""
        return Held(self, {*names})


class Held:
    """Names held by one thread; they are free again when the block ends, or this object is gone."""

    def __init__(self, locks: NamedLocks, names: Collection[Hashable]) -> None:
        self._changed, self._taken = locks._changed, locks._taken
        self._names = names

    def __enter__(self) -> None:
        own = weakref.ref(self)
        with self._changed._lock:  # type: ignore[attr-defined]  # no Python code runs between taking it and the block
            while self._is_busy():
                self._changed.wait(LOOK_AGAIN)
            self._taken.update(dict.fromkeys(self._names, own))

    def _is_busy(self) -> bool:
        taken = self._taken
        return not taken.keys().isdisjoint(self._names) and any(
            name in taken and taken[name]() is not None for name in self._names
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        own = weakref.ref(self)
        with self._changed._lock:  # type: ignore[attr-defined]
            for name in self._names:
                if self._taken.get(name) is own:
                    del self._taken[name]
            self._changed.notify_all()


class ReadWriteLock:
    """Many readers at once, or one writer; a writer who waits goes before readers who come later.

    A thread must not take it twice.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nobody inside."""
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A block during which nobody writes."""
        changed = self._changed
        with changed:
            while self._writing:
                changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with changed:
                self._readers -= 1
                if self._writing and not self._readers:
                    changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block during which nobody else is inside."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def acquire(self, timeout: float | None = None) -> bool:
        """Keep readers out and wait until all are gone; `False`, and open again, when that takes longer than `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if not self._changed.wait_for(lambda: not self._writing, timeout):
                return False
            self._writing = True
            try:
                if self._changed.wait_for(
                    lambda: not self._readers, None if end is None else end - time.monotonic()
                ):
                    return True
            except BaseException:  # an interrupt
                self._open()
                raise
            self._open()
            return False

    def release(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._open()

    def _open(self) -> None:
        self._writing = False
        self._changed.notify_all()


class FairLock:
    """A lock that is handed to whoever has waited longest.

    A plain lock may be taken again at once by the thread that gives it up: two threads that read without a pause keep a
    third one from ever writing.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nobody waiting."""
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()
        except BaseException:  # an interrupt of the main thread
            with self._mutex:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                    raise
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
