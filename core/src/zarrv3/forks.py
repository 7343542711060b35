"""What a forked child makes new: its parent's other threads are gone, and the locks they held stay held."""

import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol


class Renewable(Protocol):
    """What has locks or knows of threads."""

    def renew(self) -> None:
        """Begin again with nothing."""


_all: "dict[int, weakref.ref[Renewable]]" = {}


def renew_in_children(subject: Renewable) -> None:
    """Let every forked child renew an object before it does anything else; the object may be forgotten meanwhile."""
    # forgotten by a callback in C: an interrupt that came into one of Python would be lost
    _all[id(subject)] = weakref.ref(subject, partial(_all.pop, id(subject)))


class Lock:
    """A lock that a thread may take again, and that nobody holds in a forked child: `with lock.taken: …`."""

    def __init__(self) -> None:
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nobody holding it."""
        self.taken = threading.RLock()


def at_forks(
    *,
    before: Callable[[], None] | None = None,
    in_parent: Callable[[], None] | None = None,
    in_child: Callable[[], None] | None = None,
) -> None:
    """Call functions around every fork of this process, where the system has forks; what is renewed is renewed first."""
    if hasattr(os, "register_at_fork"):
        functions = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
        os.register_at_fork(
            **{name: function for name, function in functions.items() if function is not None}
        )


def _renew() -> None:
    for reference in [*_all.values()]:
        subject = reference()
        if subject is not None:
            subject.renew()


at_forks(in_child=_renew)
