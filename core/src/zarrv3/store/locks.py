"""Locks for the threads of this process: by name, for many readers or one writer, and in the order of asking.

All begin again with nothing held in a forked child, and none stays taken when an interrupt (Ctrl-C) ends what held it, wherever
it strikes.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Hashable
from types import TracebackType

from zarrv3.forks import renew_in_children

LOOK_AGAIN = 0.05
"""Seconds after which a waiting thread looks whether whoever holds a lock is gone without a word."""

GONE = 20 * LOOK_AGAIN
"""Seconds after which a waiting thread that has not looked lets others go first: an interrupt has ended it."""


class NamedLocks:
    """Lets one thread at a time into what a name stands for.

    A thread takes all the names it needs at once or waits, so that there is no order to keep to. Among those who want a name
    in common, who came first goes first: one who waits for many names is not overtaken by those who want few. A thread asks
    for more while it holds some only where all who do have one order of kinds of names.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nothing held."""
        self._changed = threading.Condition(threading.Lock())
        self._taken: dict[Hashable, weakref.ref[Held]] = {}
        self._waiting: list[weakref.ref[Held]] = []

    def held(self, names: Collection[Hashable]) -> Held:
        """A block during which no other thread holds any of the names."""
        return Held(self, {*names})


class Held:
    """Names held by one thread; they are free again when the block ends, or this object is gone."""

    _looked = 0.0
    """When it last looked whether its turn has come."""

    def __init__(self, locks: NamedLocks, names: set[Hashable]) -> None:
        self._changed, self._taken, self._waiting = locks._changed, locks._taken, locks._waiting
        self._names = names

    def __enter__(self) -> None:
        own = weakref.ref(self)
        with self._changed._lock:  # type: ignore[attr-defined]  # no Python code runs between taking it and the block
            if self._is_busy(own):
                self._wait(own)
            self._taken.update(dict.fromkeys(self._names, own))

    def _wait(self, own: weakref.ref[Held]) -> None:
        self._looked = time.monotonic()
        try:
            self._waiting.append(own)
            while self._is_busy(own):
                self._changed.wait(LOOK_AGAIN)
                self._looked = time.monotonic()
        finally:
            self._waiting[:] = [other for other in self._waiting if other is not own and other() is not None]

    def _is_busy(self, own: weakref.ref[Held]) -> bool:
        """Whether somebody holds one of the names, or waits for one and came earlier."""
        taken = self._taken
        return (
            not taken.keys().isdisjoint(self._names)
            and any(name in taken and taken[name]() is not None for name in self._names)
        ) or (bool(self._waiting) and self._is_later(own))

    def _is_later(self, own: weakref.ref[Held]) -> bool:
        """Whether somebody who came earlier waits for one of the names; who has not looked for long was interrupted."""
        alive = time.monotonic() - GONE
        for other in self._waiting:
            if other is own:
                return False
            earlier = other()
            if earlier is not None and earlier._looked > alive and not earlier._names.isdisjoint(self._names):
                return True
        return False

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
        self._readers: set[weakref.ref[Visit]] = set()
        self._writer: weakref.ref[Visit] | None = None
        self._kept: Visit | None = None

    def reading(self) -> Visit:
        """A block during which nobody writes."""
        return Visit(self, alone=False)

    def writing(self) -> Visit:
        """A block during which nobody else is inside."""
        return Visit(self, alone=True)

    def acquire(self, timeout: float | None = None) -> bool:
        """Keep readers out and wait until all are gone; `False`, and open again, when that takes longer than `timeout` seconds."""
        visit = self.writing()
        if not self.let_in(visit, timeout):
            return False
        self._kept = visit
        return True

    def release(self) -> None:
        """Let everybody in again."""
        visit, self._kept = self._kept, None
        if visit is not None:
            self.let_out(visit)

    def let_in(self, visit: Visit, timeout: float | None = None) -> bool:
        """Begin a visit when its time has come; whether it did in that many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        own = weakref.ref(visit)
        with self._changed._lock:  # type: ignore[attr-defined]  # as in `Held`
            if not self._waited(self._has_no_writer, end):
                return False
            if not visit.alone:
                self._readers.add(own)
                return True
            self._writer = own
            if self._waited(self._has_no_reader, end):
                return True
            self._writer = None
            self._changed.notify_all()
            return False

    def let_out(self, visit: Visit) -> None:
        """End a visit."""
        own = weakref.ref(visit)
        with self._changed._lock:  # type: ignore[attr-defined]
            self._readers.discard(own)
            if self._writer is not None:
                if self._writer is own:
                    self._writer = None
                self._changed.notify_all()

    def _waited(self, condition: Callable[[], bool], end: float | None) -> bool:
        while not condition():
            left = LOOK_AGAIN if end is None else min(LOOK_AGAIN, end - time.monotonic())
            if left <= 0:
                return False
            self._changed.wait(left)
        return True

    def _has_no_writer(self) -> bool:
        return self._writer is None or self._writer() is None

    def _has_no_reader(self) -> bool:
        self._readers = {reader for reader in self._readers if reader() is not None}
        return not self._readers


class Visit:
    """A block inside a read-write lock; it is over when it ends, or this object is gone."""

    def __init__(self, lock: ReadWriteLock, *, alone: bool) -> None:
        self._lock = lock
        self.alone = alone

    def __enter__(self) -> None:
        self._lock.let_in(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.let_out(self)


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
