"""Writers whose server dies and comes back in the middle of their calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from zarrv3.errors import StoreError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import whole
from zarrv3.testing.processes import PATIENCE
from zarrv3.testing.rules import FAULTS, require

KEY = "counts"
"""One value, of which each writer counts in a part of its own."""

PARTS = 3


class Counts(NamedTuple):
    """What was seen of the writers."""

    acknowledged: int
    failed: int


def restarted(opener: Callable[[], BaseStore], restart: Callable[[], None], rounds: int) -> Counts:
    """Kill a server again and again while threads swap one value and write two in a transaction, where the store can.

    Every failure is an error of ours that says that it may be tried again; what was acknowledged is there, and nothing that was
    never tried: a swap whose answer was lost is not made twice. Writers whose calls go on failing are given up after `PATIENCE`.
    """
    with opener() as store:
        transactions = store.capabilities.transactions
        store.write_many({KEY: b"0 " * PARTS} | {f"{name}/{i}": b"0" for name in "tu" for i in range(PARTS)})
        ended, found = threading.Event(), [_Writer() for _ in range(PARTS)]

        def work(number: int) -> None:
            mine = found[number]
            while not ended.is_set():
                try:
                    _count(store, number, mine)
                    if transactions:
                        mine.moved = mine.tried
                        store.apply_many({f"{name}/{number}": b"%d" % mine.tried for name in "tu"})
                        mine.moved_surely = mine.tried
                except Exception as error:  # noqa: BLE001 - told below
                    mine.errors.append(error)
                    time.sleep(0.05)

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(PARTS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(rounds):
                _wait(found, threads, 3)
                restart()
            _wait(found, threads, 1)
        finally:
            ended.set()
            for thread in threads:
                thread.join(PATIENCE)
        require(not any(map(threading.Thread.is_alive, threads)), FAULTS, "a writer hangs")
    with opener() as store:
        _check(store, found)
    return Counts(sum(writer.done for writer in found), sum(len(writer.errors) for writer in found))


def _wait(found: list[_Writer], threads: list[threading.Thread], count: int) -> None:
    """Until each writer has made so many swaps more, or has ended."""
    limit = time.monotonic() + PATIENCE
    begun = [writer.done for writer in found]
    while True:
        made, least = min(
            ((writer.done - done, writer) for writer, done in zip(found, begun, strict=True)),
            key=itemgetter(0),
        )
        if made >= count:
            return
        if not all(map(threading.Thread.is_alive, threads)):
            return
        last = repr(least.errors[-1]) if least.errors else "no error"
        told = f"a writer made {made} swaps of {count} in {PATIENCE:g} s, with {len(least.errors)} errors, the last: {last}"
        require(time.monotonic() < limit, FAULTS, told)
        time.sleep(0.01)


def _check(store: BaseStore, found: list[_Writer]) -> None:
    (value,) = store.get_many(whole([KEY]))
    for number, (writer, now) in enumerate(zip(found, map(int, bytes(value or b"").split()), strict=True)):
        for error in writer.errors:
            fits = isinstance(error, StoreError) and error.retryable
            require(fits, FAULTS, f"while the server was away: {error!r}")
        surely, most = writer.done, writer.sent
        require(
            surely <= now <= most,
            FAULTS,
            f"{now} swaps were made: {surely} were acknowledged, {most} were tried",
        )
        pair = [int(store[f"{name}/{number}"]) for name in "tu"]
        surely, most = writer.moved_surely, writer.moved
        require(
            pair[0] == pair[1] and surely <= pair[0] <= most,
            FAULTS,
            f"transaction {surely} was acknowledged and {most} tried, and there is {pair}",
        )


class _Writer:
    def __init__(self) -> None:
        self.done = self.tried = self.sent = self.moved = self.moved_surely = 0
        self.errors: list[Exception] = []


def _count(store: BaseStore, number: int, mine: _Writer) -> None:
    """Add one to a part of the value, by swaps, so that one that was made twice would be seen."""
    mine.tried += 1
    while True:
        ((value, version),) = store.get_versioned([KEY])
        counts = [*map(int, bytes(value or b"").split())]
        counts[number] += 1
        mine.sent += 1
        if not store.swap_many({KEY: (version, b" ".join(b"%d" % count for count in counts))}):
            mine.done += 1
            return
        mine.sent -= 1
