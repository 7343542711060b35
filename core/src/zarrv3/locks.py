"""Locks by name, for the threads of this process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager


class NamedLocks:
    """Lets one thread at a time into what a name stands for.

    A thread takes all the names it needs at once or waits, so that there is no order to keep to. It asks for more while it
    holds some only where all who do have one order of kinds of names. In a forked child nothing is held.
    """

    def __init__(self) -> None:
        self._renew()
        _all.add(self)

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

    def _renew(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._taken: set[Hashable] = set()


_all: weakref.WeakSet[NamedLocks] = weakref.WeakSet()


def _renew_all() -> None:
    """In a forked child: the threads that held names are gone, and their locks with them."""
    for locks in list(_all):
        locks._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
