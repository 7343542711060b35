"""Locks by name, for the threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager

from zarrv3.store.forks import renew_in_children


class NamedLocks:
    """Lets one thread at a time into what a name stands for.

    A thread takes all the names it needs at once or waits, so that there is no order to keep to. It asks for more while it
    holds some only where all who do have one order of kinds of names. In a forked child nothing is held.
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    @contextmanager
    def held(self, names: Collection[Hashable]) -> Iterator[None]:
        """A block during which no other thread holds any of the names."""
        changed, taken = self._changed, self._taken
        mine = set(names)
        with changed:
            while not taken.isdisjoint(mine):
                changed.wait()
            taken.update(mine)
        try:
            yield
        finally:
            with changed:
                taken.difference_update(mine)
                changed.notify_all()

    def renew(self) -> None:
        """Begin again with nothing held."""
        self._changed = threading.Condition(threading.Lock())
        self._taken: set[Hashable] = set()
