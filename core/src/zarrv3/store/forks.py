"""What a forked child has to make anew: its parent's other threads are gone, and locks they held stay held."""

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """What has locks or knows of threads."""

    def renew(self) -> None:
        """Begin again with nothing."""


_all: "weakref.WeakSet[Renewable]" = weakref.WeakSet()


def renew_in_children(subject: Renewable) -> None:
    """Let every forked child renew an object before it does anything else."""
    _all.add(subject)


def _renew() -> None:
    for subject in [*_all]:
        subject.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
