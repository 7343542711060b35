"""Whichever lock of ours a thread of the parent holds while a child is forked, the child can use every store, cache and setting."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3.errors import StoreError
from zarrv3.testing.processes import CONTEXT, PATIENCE, Child

pytestmark = pytest.mark.skipif(CONTEXT.get_start_method() != "fork", reason="this system does not fork")

URLS = {
    "memory": "memory://",
    "folder": "file://{}/x.zarr|retry:",
    "cache": "file://{}/x.zarr|lru-cache:",
    "fsspec": "fsspec+file://{}/x.zarr",
    "archive": "zip://{}/x.zip",
    "SQLite": "sqlite://{}/x.db",
    "LMDB": "lmdb://{}/x.lmdb",
    "DBM": "dbm://{}/x.dbm",
}
LOCKS = type(threading.Lock()), type(threading.RLock()), threading.Condition
ALIKE = 3
"""How many locks are tried that are attributes of one name: other tests of this process leave objects of one class by the hundred."""
WAITS = 0.5
"""How many seconds a fork may wait for a lock, as those do that wait for the end of a transaction."""


def is_ours(kind: type) -> bool:
    """Whether a class is one of zarrv3's or of its plugins', but for the conformance kit."""
    module = str(kind.__module__)
    return module.startswith("zarrv3") and not module.startswith("zarrv3.testing")


def owners() -> Iterator[tuple[str, Any]]:
    """Our modules, our classes, and their instances, with names."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("zarrv3") and not name.startswith("zarrv3.testing"):
            yield name, module
    for subject in gc.get_objects():
        if is_ours(kind := subject if isinstance(subject, type) else type(subject)):
            yield f"{kind.__module__}.{kind.__qualname__}", subject


def locks() -> dict[int, tuple[str, Any]]:
    """All locks that these have as attributes, alone or in a list or dict, with the names of the attributes."""
    found: dict[int, tuple[str, Any]] = {}
    for owner, subject in owners():
        slots = {name for kind in type(subject).__mro__ for name in getattr(kind, "__slots__", ())}
        members = {**getattr(subject, "__dict__", {})}
        members |= {name: getattr(subject, name, None) for name in slots if name not in members}
        for name, value in members.items():
            several = [*value.values()] if type(value) is dict else value
            for lock in several if isinstance(several, list | tuple) else [value]:
                if isinstance(lock, LOCKS):
                    found[id(lock)] = f"{owner}.{name}", lock
    return found


class Holder:
    """A thread that holds a lock until it is told, or until a fork has waited for it for long."""

    def __init__(self, lock: Any) -> None:
        self.lock, self.ready, self.done = lock, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.hold)

    def hold(self) -> None:
        """Hold it, unless somebody else does."""
        taken = self.lock.acquire(timeout=WAITS)
        self.ready.set()
        if taken:
            self.done.wait(WAITS)
            self.lock.release()

    def __enter__(self) -> None:
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join(PATIENCE)


def use(array: zarrv3.Array, cached: zarrv3.Array) -> bool:
    """Use all that has locks; whether the store could be used, which one that is not shared may refuse."""
    zarrv3.config.get("kernels")
    zarrv3.create_group(zarrv3.MemoryStore(), attributes={"a": 1}).attrs["b"] = 2
    try:
        array[3:50] = 2
        assert (cached[3:50] == 2).all()
        array.attrs["child"] = 1
        with zarrv3.open_store(array.store.spec()) if array.store.capabilities.persistent else array.store:
            pass
    except StoreError:
        if array.store.capabilities.shared:
            raise
        return False
    return True


@pytest.mark.parametrize(
    "place",
    [name if name == "archive" else pytest.param(name, marks=pytest.mark.slow) for name in URLS],
)
def test_no_lock_of_the_parent_stops_a_child(place: str, tmp_path: Path) -> None:
    """Every kind of lock that is alive is held by a thread of the parent while a child is forked, one after the other."""
    with zarrv3.open_store(URLS[place].format(tmp_path)) as store:
        array = zarrv3.create_array(store, data=[*range(100)], chunks=10)
        cached = array.with_chunk_cache("1MB")
        assert cached[...].tolist() == [*range(100)]
        found = locks()
        assert len(found) > 3
        seen = Counter[str]()
        for name, lock in found.values():
            seen[name] += 1
            if seen[name] > ALIKE:
                continue
            with Holder(lock):
                child = Child(use, array, cached)
            try:
                child.result()
            except BaseException as error:
                error.add_note(f"while {name} was held")
                raise
            finally:
                child.kill()
