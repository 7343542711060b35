"""Locks for the threads of this process, taken in the order of asking: by name, and by one writer or many readers.

Each thread that asks holds a lock of its own, from joining the queue until its block ends, and waits for the locks of those
ahead of it. So nobody has to be woken, and a block ends with the release of a lock, in C, which no interrupt (Ctrl-C) can
prevent. A thread that is interrupted while it waits leaves those it waited for to the next. In a forked child nothing is held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from itertools import chain

from zarrv3.forks import renew_in_children

_SOME = 256
"""How many names are remembered, beside those that are held, before they are looked through."""

_POLL = 0.001
"""Seconds between two looks at a lock that is not waited for without end."""


class NamedLocks:
    """Locks by name: one thread at a time holds a name, or many share it.

    A thread asks for all the names it needs at once, so there is no order to keep to. First come, first served: a thread that
    waits for many names is not overtaken by those that want few. A thread must not ask for a name that it holds. It may ask
    for more while it holds some only where every thread does so in the same order of kinds of names.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nothing held."""
        self.mutex = threading.Lock()
        self.last: dict[Hashable, tuple[Turn, ...]] = {}
        self.most = _SOME

    def forget(self) -> None:
        """Forget the names that nobody holds; the mutex is held."""
        some = {*_going_on({*chain.from_iterable(self.last.values())})}
        self.last = {
            name: on for name, turns in self.last.items() if (on := (*filter(some.__contains__, turns),))
        }
        self.most = 2 * len(self.last) + _SOME

    def held(self, names: Collection[Hashable]) -> Turn:
        """A block during which no other thread holds any of the names."""
        return Turn(self, names)

    def shared(self, names: Collection[Hashable]) -> Turn:
        """A block during which other threads hold the names only if they share them, too."""
        return Turn(self, names, True)


class Turn:
    """A block in which a thread holds names; it can be entered once."""

    __slots__ = ("__exit__", "_earlier", "_end", "_lock", "_locks", "_names", "_shared")

    def __init__(
        self,
        locks: NamedLocks,
        names: Collection[Hashable],
        shared: bool = False,
        end: float | None = None,
    ) -> None:
        self._locks, self._names, self._shared, self._end = locks, names, shared, end
        self._earlier: list[Turn] = []
        self._lock = threading.Lock()
        self._lock.acquire()  # nobody knows it yet
        self.__exit__: Callable[..., None] = (
            self._lock.__exit__
        )  # nothing of ours, which could be interrupted

    def __enter__(self) -> None:
        """Wait until all who go first are gone; raises `TimeoutError` when that is after the `end`."""
        try:
            with self._locks.mutex:
                self._join()
            while self._earlier:
                other = self._earlier[-1]
                if self._end is not None:
                    other._poll(self._end)
                with other._lock:  # gone, or interrupted, in which case those it waited for are not
                    pass
                self._earlier[-1:] = self._not_with(other._earlier)
        except BaseException:
            self._lock.release()
            raise

    def _join(self) -> None:
        """Note who goes first, then have those who come later wait for this one: in one step, or not at all."""
        last = self._locks.last
        joined: dict[Hashable, tuple[Turn, ...]] = {}
        if self._shared:
            for name in self._names:
                turns = _going_on(last.get(name, ()))
                self._earlier += self._not_with(turns)
                joined[name] = (*turns, self)
        else:
            self._earlier = _going_on({*chain.from_iterable(filter(None, map(last.get, self._names)))})
            joined = dict.fromkeys(self._names, (self,))
        last.update(joined)
        if len(last) > self._locks.most:
            self._locks.forget()

    def _not_with(self, turns: list[Turn]) -> list[Turn]:
        """Those of some turns that this one cannot share its names with."""
        return [turn for turn in turns if not turn._shared] if self._shared else turns

    def _poll(self, end: float) -> None:
        while self._lock.locked():
            if time.monotonic() >= end:
                raise TimeoutError
            time.sleep(_POLL)


def _going_on(turns: Iterable[Turn]) -> list[Turn]:
    """Those that have not ended, or that left others to wait for."""
    return [turn for turn in turns if turn._lock.locked() or turn._earlier]


class ReadWriteLock:
    """Many readers at once, or one writer, in the order of asking. A thread must not take it twice."""

    def __init__(self) -> None:
        self._locks = NamedLocks()
        self._kept: Turn | None = None

    def reading(self) -> Turn:
        """A block during which nobody writes."""
        return self._locks.shared(_ALL)

    def writing(self) -> Turn:
        """A block during which nobody else is inside."""
        return self._locks.held(_ALL)

    def acquire(self, timeout: float) -> bool:
        """Keep readers out and wait until all are gone; `False`, and open again, when that takes longer than `timeout` seconds."""
        turn = Turn(self._locks, _ALL, end=time.monotonic() + timeout)
        try:
            turn.__enter__()
        except TimeoutError:
            return False
        self._kept = turn
        return True

    def release(self) -> None:
        """Let everybody in again; in a forked child, too, where nobody is kept out."""
        turn, self._kept = self._kept, None
        if turn is not None:
            turn.__exit__()


_ALL = ("",)
