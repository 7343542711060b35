"""Threads and processes at once, killed writers, failing stores."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from zarrv3.errors import StoreError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities, whole
from zarrv3.testing.checks.table import Opener, capabilities_of, check, fill, holds, opened, values_of
from zarrv3.testing.faults import Faults
from zarrv3.testing.processes import (
    PATIENCE,
    Writer,
    generation_of,
    needs_kill,
    stamped,
    threads_together,
    together,
)
from zarrv3.testing.rules import ATOMIC, DURABLE, FAULTS, LIST_PREFIX, TURNS, require, same

KEYS = ("f/a", "f/b", "f/g/a", "h/a", "top")
ROUNDS = 15
KILLS = 20
FAULTY_CALLS = 60


@check("write")
def check_threads_at_once(opener: Opener) -> None:
    """Threads that write, read and list the same keys at once see whole values only."""
    with opened(opener) as store:
        threads_together([partial(_write_and_read, store, number, ROUNDS) for number in range(4)])
        _all_whole(store, "after four threads wrote")


@check("write")
def check_writer_among_readers(opener: Opener) -> None:
    """A thread that writes gets its turn among threads that read without a pause."""
    with opened(opener) as store:
        fill(store, *KEYS)
        done = threading.Event()

        def write() -> None:
            try:
                for turn in range(ROUNDS):
                    require(
                        not done.is_set(), TURNS, f"after {PATIENCE} s {turn} of {ROUNDS} writes were done"
                    )
                    store[KEYS[0]] = b"%d" % turn
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                store.get_many(whole(KEYS[:1]))

        patience = threading.Timer(PATIENCE, done.set)
        patience.start()
        try:
            threads_together([write, read, read])
        finally:
            patience.cancel()
        holds(store, {KEYS[0]: b"%d" % (ROUNDS - 1)}, TURNS, "after the last write")


@check("write")
def check_threads_in_different_folders(opener: Opener) -> None:
    """Threads that write and erase in folders of their own, coming and going, do not hurt each other."""
    with opened(opener) as store:

        def work(number: int) -> None:
            for turn in range(ROUNDS):
                items = {f"shared/own{number}/{turn}/{i}": b"%d" % i for i in range(3)}
                store.write_many(items)
                same(store.getitems([*items]), items, ATOMIC, "a thread's own keys")
                if store.capabilities.erase:
                    if turn % 2 and store.capabilities.list:
                        store.erase_prefix(f"shared/own{number}/")
                    else:
                        store.delitems(items)
                    same(store.getitems([*items]), {}, ATOMIC, "a thread's own keys, erased")

        threads_together([partial(work, number) for number in range(4)])
        if store.capabilities.erase and store.capabilities.list:
            same(store.list(), [], ATOMIC, "the keys after every thread erased its own")


@check("write", "shared", "persistent")
def check_processes_at_once(opener: Opener) -> None:
    """Processes that write and read the same keys at once see whole values only."""
    together(_process_writes, opener, 3, ROUNDS)
    with opened(opener) as store:
        _all_whole(store, "after three processes wrote")
        if store.capabilities.list:
            same(
                sorted(store.list_prefix("")),
                sorted(KEYS),
                LIST_PREFIX,
                "the keys after three processes wrote",
            )


@check("write", "persistent")
def check_killed_writers(opener: Opener) -> None:
    """When a writer is killed at any moment, every acknowledged write (without `durable`: flush) is there, every key is whole."""
    kill_writers(opener, KILLS)


def kill_writers(opener: Opener, kills: int, seed: int | None = 0) -> None:
    """Let a writer be killed so many times at random moments; after each time the store is looked through.

    The store is also read while the writer lives, if it may be shared.
    """
    needs_kill()
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    can = capabilities_of(opener)
    operate = partial(_operate, can)
    now: dict[str, int | None] = dict.fromkeys(KEYS)
    first = 1
    for _ in range(kills):
        writer = Writer(operate, opener, first)
        try:
            writer.wait_for_first()
            _watch(opener if can.shared else None, time.monotonic() + rng.uniform(0, 0.04))
        finally:
            last = writer.kill()
        for number in range(first, last + 1):
            now |= _operation(number, erase=can.erase)
        cut_off = _operation(last + 1, erase=can.erase)
        with opened(opener) as store:
            now = _after_kill(store, now, cut_off)
        first = last + 2


@check("write")
def check_failing_store(opener: Opener) -> None:
    """When calls fail half-way, no acknowledged write is lost, and a key of a failed call is old or new."""
    with opened(opener) as store:
        survives_faults(lambda: store, Faults(store, rate=0.3, seed=5))


def survives_faults(stored: Callable[[], BaseStore], faults: Faults, upper: BaseStore | None = None) -> None:
    """Write through `upper` (or `faults` itself) while calls below fail; compare with what was acknowledged.

    What is in the store itself is read through what `stored` returns, opened again each time: a layer may remember
    what it read.
    """
    top = upper or faults
    can = top.capabilities
    possible: dict[str, set[int | None]] = {key: {None} for key in KEYS}
    for number in range(1, FAULTY_CALLS + 1):
        changes = _operation(number, erase=can.erase)
        try:
            _apply(top, changes, can.limits.value_bytes)
        except StoreError:
            for key, generation in changes.items():
                possible[key] |= {generation}
        else:
            for key, generation in changes.items():
                possible[key] = {generation}
        truth = _agreeing(stored(), possible, "in the store itself, after failing calls")
        with suppress(StoreError):  # the read was made to fail
            same(
                _generations(top, "read through failing calls"),
                truth,
                FAULTS,
                "what a reader is told and what is stored",
            )
    faults.heal()
    truth = _agreeing(stored(), possible, "in the store itself, after the failures")
    same(_generations(top, "after the failures"), truth, FAULTS, "what a reader is told and what is stored")
    fill(top, "f/last")
    holds(top, {"f/last": b"f/last"}, FAULTS, "written after the failures")


# ---------------------------------------------------------------- what is done


def _operation(number: int, *, erase: bool) -> dict[str, int | None]:
    """The generations that the operation of a number gives to keys (`None`: erases)."""
    rng = random.Random(number)  # noqa: S311 - repeatable, not secret
    keys = rng.sample(KEYS, rng.randint(1, len(KEYS)))
    erases = erase and rng.random() < 0.3
    return {key: None if erases and rng.random() < 0.7 else number for key in keys}


def _apply(store: BaseStore, changes: dict[str, int | None], most: int | None) -> None:
    store.write_many(
        {
            key: None if generation is None else stamped(key, generation, most)
            for key, generation in changes.items()
        }
    )


def _operate(can: Capabilities, store: Any, number: int) -> None:
    _apply(store, _operation(number, erase=can.erase), can.limits.value_bytes)
    if not can.durable:
        store.flush()


def _watch(opener: Opener | None, end: float) -> None:
    """Look until the end whether values are whole, or wait."""
    if opener is None:
        time.sleep(max(0.0, end - time.monotonic()))
        return
    with opened(opener) as store:
        while time.monotonic() < end:
            _all_whole(store, "while another process writes")


def _write_and_read(store: BaseStore, number: int, rounds: int) -> None:
    most = store.capabilities.limits.value_bytes
    for turn in range(rounds):
        generation = number * 1000 + turn
        store.write_many({key: stamped(key, generation, most) for key in KEYS[turn % 2 :]})
        _all_whole(store, "while others write")
        if store.capabilities.list:
            listed = [*store.list_prefix("")]
            same(len(listed), len({*listed}), LIST_PREFIX, "the number of keys listed")
            require({*KEYS[1:]} <= {*listed}, LIST_PREFIX, f"keys that are there are not listed: {listed}")


def _process_writes(opener: Opener, number: int, rounds: int) -> None:
    with opened(opener) as store:
        _write_and_read(store, number, rounds)


# ---------------------------------------------------------------- what must be so


def _generations(store: BaseStore, what: str) -> dict[str, int | None]:
    """The generation of every key, `None` where it is missing; raises when a value is not whole."""
    most = store.capabilities.limits.value_bytes
    found: dict[str, int | None] = {}
    for key, value in zip(KEYS, values_of(store, *KEYS), strict=True):
        found[key] = None if value is None else generation_of(key, value, most)
        require(
            value is None or found[key] is not None,
            ATOMIC,
            f"{what}, the value of {key!r} is not whole: {_torn(value)}",
        )
    return found


def _torn(value: bytes | None) -> str:
    value = value or b""
    return f"{len(value)} bytes, {value[:24]!r} … {value[-24:]!r}"


_all_whole: Callable[[BaseStore, str], Any] = _generations


def _after_kill(
    store: BaseStore, now: dict[str, int | None], cut_off: dict[str, int | None]
) -> dict[str, int | None]:
    """Every key is as acknowledged, or as the interrupted operation would leave it; there are no others."""
    found = _generations(store, "after a writer was killed")
    for key, generation in found.items():
        allowed = [now[key], *([cut_off[key]] if key in cut_off else [])]
        rule = DURABLE if generation in {None, *range(generation or 0)} else ATOMIC
        require(
            generation in allowed,
            rule,
            f"after a writer was killed, {key!r} is of generation {generation}; acknowledged or under way were {allowed}",
        )
    there = sorted(key for key, generation in found.items() if generation is not None)
    if store.capabilities.list:
        same(sorted(store.list_prefix("")), there, LIST_PREFIX, "the keys listed after a writer was killed")
        same(
            sorted(key for key, _ in store.list_sizes("")),
            there,
            LIST_PREFIX,
            "the keys with sizes after a writer was killed",
        )
    return found


def _agreeing(store: BaseStore, possible: dict[str, set[int | None]], what: str) -> dict[str, int | None]:
    found = _generations(store, what)
    for key, generation in found.items():
        require(
            generation in possible[key],
            FAULTS,
            f"{what}, {key!r} is of generation {generation}, not {possible[key]}",
        )
    return found
