"""What a forked child makes new: its parent's other threads are gone, and the locks they held stay held."""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
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


def load_again(name: str, path: str | os.PathLike[str]) -> ModuleType:
    """A compiled module once more, for a child that cannot use its parent's: the system tells libraries apart by their files.

    So it is loaded from a copy, with its own threads and whatever else it keeps for the whole process.
    """
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    with _copy(path) as copy:
        loader = ExtensionFileLoader(name, copy)
        spec = spec_from_file_location(name, copy, loader=loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
    return module


@contextmanager
def _copy(original: str | os.PathLike[str]) -> Iterator[str]:
    """A copy of a file, in memory where the system has that: a folder for temporary files may not allow programs."""
    import shutil
    import tempfile

    with open(original, "rb") as source:  # noqa: PTH123 - a text may be given
        if hasattr(os, "memfd_create"):
            with open(os.memfd_create(os.path.basename(original)), "wb") as copy:  # noqa: PTH119, PTH123 - of a descriptor
                shutil.copyfileobj(source, copy)
                copy.flush()
                yield f"/proc/self/fd/{copy.fileno()}"
        else:
            with tempfile.NamedTemporaryFile(suffix=os.path.splitext(original)[1]) as copy:  # noqa: PTH122
                shutil.copyfileobj(source, copy)
                copy.flush()
                yield copy.name


def _renew() -> None:
    for reference in [*_all.values()]:
        subject = reference()
        if subject is not None:
            subject.renew()


at_forks(in_child=_renew)
