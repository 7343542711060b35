"""One resource per place and process, shared by all stores over it: a database file that must not be opened twice, an archive."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from zarrv3.forks import renew_in_children

R = TypeVar("R")


class Sharing(Generic[R]):
    """The resources of one kind that this process uses, by the place that each stands for; thread-safe.

    It keeps none of them alive: their users do, and are counted where they say so (`use`, `release`). In a forked child it is
    empty; what is to become of the parent's resources is their own matter (`zarrv3.forks`).
    """

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget everything: in a forked child."""
        self.lock = threading.RLock()
        self._open: weakref.WeakValueDictionary[Hashable, R] = weakref.WeakValueDictionary()
        self._users: weakref.WeakKeyDictionary[R, weakref.WeakSet[object]] = weakref.WeakKeyDictionary()

    def find(self, place: Hashable) -> R | None:
        """The resource of a place, if there is one."""
        with self.lock:
            return self._open.get(place)

    def every(self) -> list[R]:
        """All resources there are now."""
        with self.lock:
            return [*self._open.values()]

    def get_or_make(self, place: Hashable, make: Callable[[], R]) -> tuple[R, bool]:
        """The resource of a place, and whether it was made just now: one at a time, under `lock`."""
        with self.lock:
            resource = self._open.get(place)
            if resource is not None:
                return resource, False
            resource = make()
            self.add(place, resource)
            return resource, True

    def add(self, place: Hashable, resource: R) -> None:
        """Have a resource found at a place: one whose place is known only when it has been made; hold `lock` meanwhile."""
        with self.lock:
            self._open[place] = resource

    def use(self, resource: R, user: object) -> None:
        """Count a user of a resource, until it releases it or is gone."""
        with self.lock:
            self._users.setdefault(resource, weakref.WeakSet()).add(user)

    def release(self, resource: R, user: object) -> bool:
        """Count a user no longer; whether that was the last one, in which case the next to come gets a new resource."""
        with self.lock:
            users = self._users.get(resource)
            if users is None:
                return False
            users.discard(user)
            if users:
                return False
            self.drop(resource)
            return True

    def drop(self, resource: R) -> None:
        """Let the next to come have a new resource."""
        with self.lock:
            self._users.pop(resource, None)
            for place, other in [*self._open.items()]:
                if other is resource:
                    del self._open[place]
