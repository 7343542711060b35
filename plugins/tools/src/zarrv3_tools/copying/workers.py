"""Tasks of a copy: parts that touch no value of each other, done by threads of this process or by an executor's workers.

A worker gets the configuration of the stores and opens them itself. Before each task it looks whether it sees what the copying
process sees, and whether the copy is still under way: a key beside the copy says so. Work of a copy that has ended does nothing.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

from zarrv3.errors import StoreAccessError, UnsupportedError, ZarrError
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.store.base import BaseStore

LEASE = "zarr.json.workers"
"""The key, below the copy, that is there while workers may write."""

MOST = 256
"""How many tasks wait for workers or are under way: more than there are workers, few enough to be forgotten soon."""

PATIENCE = 30.0
"""After so many seconds without an end of any task the executor is asked whether it still takes tasks."""

Counts: TypeAlias = Mapping[str, int]
"""What was done, as `Tally.add` takes it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What the tasks of one array have in common; picklable where its stores are."""

    do: Callable[[Any], Counts]
    """A method: does one task."""
    source: BaseStore
    dest: BaseStore
    sees: tuple[tuple[BaseStore, str], ...] = ()
    """Keys that are there for whoever sees the same places."""


class Task(NamedTuple):
    """A part of a copy."""

    work: Work
    item: Any
    failed: Callable[[ZarrError], None]
    """Called with what is wrong with the node."""
    is_told: bool = True
    """Whether it counts."""


Finish: TypeAlias = Callable[[Task, Callable[[], Counts]], None]
"""Called with each task and what returns its counts or raises its error."""


class Workers:
    """The workers of an executor while they do the tasks of one copy."""

    def __init__(self, executor: Executor, dest: BaseStore, target: str) -> None:
        self._executor = executor
        self._dest = dest
        self._key = folder_of(target) + LEASE
        self._token = uuid4().hex.encode("ascii")
        self._last: tuple[Work | None, bytes] = None, b""

    @contextmanager
    def hired(self) -> Iterator[None]:
        """A block in which there are tasks."""
        _check_shared(self._dest)
        if not self._dest.capabilities.erase:
            raise UnsupportedError(
                f"workers copy only to stores that can erase, not to {self._dest.describe()}"
            )
        self._dest.write_many({self._key: self._token})
        try:
            yield
        finally:
            self._dest.write_many({self._key: None})

    def run(self, tasks: Iterator[Task], finish: Finish) -> None:
        """Have all tasks done. After an error those that have not begun do nothing, and the others are waited for."""
        under_way: dict[Future[Counts], Task] = {}
        try:
            for task in tasks:
                under_way[self._executor.submit(_do, self._packed(task.work), task.item)] = task
                if len(under_way) >= MOST:
                    self._collect(under_way, finish)
            while under_way:
                self._collect(under_way, finish)
        except BaseException:
            with suppress(ZarrError):
                self._dest.write_many({self._key: None})
            with suppress(Exception):  # not cancelled: Dask's futures would tell nothing of those under way
                while under_way:
                    for future in self._ended(under_way):
                        del under_way[future]
            raise

    def _ended(self, under_way: Collection[Future[Counts]]) -> Collection[Future[Counts]]:
        """Wait until some tasks have ended."""
        while True:
            done = wait(under_way, PATIENCE, FIRST_COMPLETED).done
            if done:
                return done
            self._executor.submit(int)  # raises where the executor has ended: it may have forgotten tasks

    def _collect(self, under_way: dict[Future[Counts], Task], finish: Finish) -> None:
        """Wait until some tasks have ended, and finish those."""
        for future in self._ended(under_way):
            finish(under_way.pop(future), future.result)

    def _packed(self, work: Work) -> bytes:
        last, packed = self._last
        if work is not last:
            for store in (work.source, work.dest):
                _check_shared(store)
            try:
                packed = pickle.dumps((work, self._dest, self._key, self._token))
            except Exception as error:
                raise UnsupportedError(
                    f"{work.source.describe()} or {work.dest.describe()} cannot be opened by other processes: {error}; "
                    "copy without executor="
                ) from error
            self._last = work, packed
        return packed


def _check_shared(store: BaseStore) -> None:
    if not store.capabilities.shared:
        raise UnsupportedError(
            f"{store.describe()} cannot be used by several processes at once: copy without executor=, by threads of this process"
        )


def _do(packed: bytes, item: Any) -> Counts:
    """Do one task, in a worker."""
    work, dest, key, token = _unpacked(packed)
    if dest.get(key) != token:
        raise StoreAccessError(
            f"{socket.gethostname()} was to copy to {dest.describe()}, but the copy has ended, or that is another place there: "
            "workers on other machines need paths and servers that mean the same everywhere"
        )
    for store, name in work.sees:
        if store.stat_many([name])[0] is None:
            raise StoreAccessError(
                f"{socket.gethostname()} does not find {name!r} in {store.describe()}: workers on other machines need paths, "
                "servers and a TMPDIR that mean the same everywhere"
            )
    counts = work.do(item)
    if not work.dest.capabilities.durable:
        work.dest.flush()
    return counts


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> tuple[Work, BaseStore, str, bytes]:
    """What the tasks of an array share, with connections of this process."""
    try:
        found: tuple[Work, BaseStore, str, bytes] = pickle.loads(packed)  # noqa: S301 - from the copying process
    except Exception as error:
        raise UnsupportedError(
            f"a worker cannot open the stores of a copy: {error}; it needs the same packages, and classes that it can import"
        ) from error
    return found
