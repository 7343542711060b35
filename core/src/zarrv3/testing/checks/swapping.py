"""get_versioned and swap_many, alone and in races."""

import time
from collections.abc import Callable, Hashable
from functools import partial
from threading import Event

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Version
from zarrv3.testing.checks.table import Opener, check, fill, holds, listed, opened, values_of
from zarrv3.testing.processes import threads_together, together
from zarrv3.testing.rules import RACE, SWAP, VERSIONS, require, same

ROUNDS = 8
RACERS = 4
PAUSE = 0.001
SPELL = 0.3
"""Seconds that racers count, so that quick stores race often."""
COUNTS = ("f/count", "f/other", "g/count")


@check("swap")
def check_versions(opener: Opener) -> None:
    """`get_versioned` returns what `get_many` returns, in order, each key with a version; a missing key has none."""
    with opened(opener) as store:
        fill(store, "a", "f/b", "f/c")
        store.write_many({"empty": b"", "f/b": b"a"})
        keys = ["none", "f/c", "a", "empty", "f/none", "f/b", "a", "f", "none"]
        for _ in range(2):
            found = store.get_versioned(keys)
            same(len(found), len(keys), VERSIONS, f"the number of answers to {len(keys)} keys")
            values = [None if value is None else bytes(value) for value, _ in found]
            same(values, values_of(store, *keys), VERSIONS, f"the values of get_versioned({keys})")
            for key, (value, version) in zip(keys, found, strict=True):
                require(isinstance(version, Hashable), VERSIONS, f"the version of {key!r} cannot be hashed")
                same(version is None, value is None, VERSIONS, f"whether {key!r} has no version")


@check("swap")
def check_versions_tell_values_apart(opener: Opener) -> None:
    """However quickly a value is replaced, by what, and back again: one version never stands for two values."""
    with opened(opener) as store:
        values: dict[Version | None, bytes] = {}
        before: Version | None = None
        for turn in range(60):
            value = (b"red", b"cyan", b"blue", b"gold", b"")[turn % 5] * (1 + turn % 3)
            if turn % 4 == 3:
                same([*store.swap_many({"f/k": (before, value)})], [], SWAP, "a swap with the version of now")
            elif turn % 7 == 6 and store.capabilities.erase:
                store.write_many({"f/k": None})
                store.write_many({"f/k": value})
            else:
                store.write_many({"f/k": value})
            found, version = store.get_versioned(["f/k"])[0]
            same(bytes(found or b""), value, VERSIONS, "the value just written")
            known = values.setdefault(version, value)
            same(known, value, VERSIONS, f"the value that went with version {version!r} before")
            before = version


@check("swap")
def check_swap_creates(opener: Opener) -> None:
    """A swap with the version `None` creates a missing key, and leaves one that exists alone, an empty one too."""
    with opened(opener) as store:
        _swaps(store, None, "now", b"first", done=True)
        _swaps(store, b"first", "missing", b"second", done=False)
        _swaps(store, b"", "missing", b"second", done=False)
        same([*store.swap_many({"new/deep/key": (None, b"v")})], [], SWAP, "creating below a new folder")
        same([*store.swap_many({"none": (None, None)})], [], SWAP, "nothing replaced by nothing")
        holds(store, {"new/deep/key": b"v", "none": None}, SWAP, "after creating")


@check("swap")
def check_swap_replaces(opener: Opener) -> None:
    """A swap with the version of now replaces the value; with an older one it leaves the key as it is."""
    with opened(opener) as store:
        for new in (b"new", b"", b"old", memoryview(b"<new>")[1:4], bytearray(b"newer")):
            _swaps(store, b"old", "now", new, done=True)
            _swaps(store, b"", "now", new, done=True)
        for later in (b"other", b"", b"old and more", b"OLD"):
            _swaps(store, b"old", "older", b"new", done=False, later=later)
        _swaps(store, b"", "older", b"new", done=False, later=b"x")


@check("swap_erases")
def check_swap_erases(opener: Opener) -> None:
    """A swap to `None` erases the key if it has its version still."""
    with opened(opener) as store:
        _swaps(store, b"old", "now", None, done=True)
        _swaps(store, b"", "now", None, done=True)
        _swaps(store, b"old", "older", None, done=False, later=b"other")
        fill(store, "only/k")
        version = store.get_versioned(["only/k"])[0][1]
        same([*store.swap_many({"only/k": (version, None)})], [], SWAP, "erasing the last key of a folder")
        if store.capabilities.list:
            require("only/" not in listed(store), SWAP, "list_dir('') shows a folder whose last key went")
        again = store.swap_many({"only/k": (version, None)})
        same([*again], ["only/k"], SWAP, "erasing again, with the version that the key had")


@check("swap_erases")
def check_swap_of_a_key_made_again(opener: Opener) -> None:
    """A version is useless once its key is gone, or was made again with another value."""
    with opened(opener) as store:
        for by_swap in (False, True):
            fill(store, "f/k")
            old = store.get_versioned(["f/k"])[0][1]
            if by_swap:
                store.swap_many({"f/k": (old, None)})
            else:
                store.write_many({"f/k": None})
            for new in (b"new", None):
                same([*store.swap_many({"f/k": (old, new)})], ["f/k"], SWAP, "a swap of a key that is gone")
                holds(store, {"f/k": None}, SWAP, "after a refused swap")
            same([*store.swap_many({"f/k": (None, b"again")})], [], SWAP, "making the key again")
            same([*store.swap_many({"f/k": (old, b"new")})], ["f/k"], SWAP, "a swap of a key made again")
            holds(store, {"f/k": b"again"}, SWAP, "after a refused swap")


@check("swap")
def check_swap_of_many(opener: Opener) -> None:
    """Of many swaps, those that are refused are returned, once each, and left alone; all others are made."""
    with opened(opener) as store:
        erase = store.capabilities.swap_erases
        items: dict[str, bytes | None] = {f"f/{i % 3}/{i}": b"%d" % i for i in range(240)}
        store.write_many(items)
        found = dict(zip(items, store.get_versioned([*items]), strict=True))
        stale = dict.fromkeys([*items][::5], b"other")
        store.write_many(stale)
        swaps: dict[str, tuple[Version | None, Buffer | None]] = {}
        expected: dict[str, Buffer | None] = {**items, **stale}
        refused = {*stale}
        for number, (key, (_, version)) in enumerate(found.items()):
            if number % 7 == 1:  # as if it did not exist
                swaps[key] = None, b"created"
                refused.add(key)
            else:
                swaps[key] = version, None if erase and number % 3 == 0 else b"new%d" % number
            if key not in refused:
                expected[key] = swaps[key][1]
        for number in range(60):
            swaps[f"new/{number}"] = None, b"made"
            expected[f"new/{number}"] = b"made"
        same(sorted(store.swap_many(swaps)), sorted(refused), SWAP, f"what is refused of {len(swaps)} swaps")
        holds(store, expected, SWAP, f"after {len(swaps)} swaps")


# ---------------------------------------------------------------- races


@check("swap")
def check_racing_threads(opener: Opener) -> None:
    """Of several threads that create one key, exactly one wins, and its value is there."""
    with opened(opener) as store:
        for turn in range(ROUNDS):
            won = threads_together([partial(_creates, store, f"race/{turn}", n) for n in range(RACERS)])
            _one_winner(store, f"race/{turn}", won, "threads")


@check("swap")
def check_counting_threads(opener: Opener) -> None:
    """Threads that count up some keys by swapping lose nothing."""
    with opened(opener) as store:
        store.write_many(dict.fromkeys(COUNTS, b"0"))
        _counted(store, sum(threads_together([lambda: _count(store)] * RACERS)), "threads")


@check("swap")
def check_threads_that_write_over(opener: Opener) -> None:
    """What a thread writes while others swap is never replaced by what was made from an older value."""
    with opened(opener) as store:
        over = Event()

        def write() -> None:
            try:
                _write_over(store)
            finally:
                over.set()

        store.write_many({"f/k": b"0 0"})
        append: Callable[[], None] = partial(_append, store, over)
        threads_together([write, append, append, append])


@check("swap_erases")
def check_flapping_threads(opener: Opener) -> None:
    """A key that threads create and erase in turns, its folder coming and going, is won by one at a time."""
    with opened(opener) as store:

        def flap(number: int) -> int:
            won = turns = 0
            end = time.monotonic() + SPELL
            while turns < ROUNDS or time.monotonic() < end:
                turns += 1
                if _creates(store, "deep/er/lock", number):
                    won += 1
                    value, version = store.get_versioned(["deep/er/lock"])[0]
                    same(value and bytes(value), b"%d" % number, RACE, "a lock that was won")
                    refused = store.swap_many({"deep/er/lock": (version, None)})
                    require(not refused, RACE, "a lock that was won was lost again")
            return won

        won = threads_together([partial(flap, n) for n in range(RACERS)])
        require(sum(won) > 0, RACE, "no thread won the lock")
        holds(store, {"deep/er/lock": None}, RACE, "after all have let go")


@check("swap", "shared", "persistent")
def check_racing_processes(opener: Opener) -> None:
    """Of several processes that create one key, exactly one wins, and its value is there."""
    wins = together(_create_all, opener, RACERS, ROUNDS)
    with opened(opener) as store:
        for turn in range(ROUNDS):
            _one_winner(store, f"race/{turn}", [own[turn] for own in wins], "processes")


@check("swap", "shared", "persistent")
def check_counting_processes(opener: Opener) -> None:
    """Processes that count up some keys by swapping lose nothing."""
    with opened(opener) as store:
        store.write_many(dict.fromkeys(COUNTS, b"0"))
    count = sum(together(_count_up, opener, RACERS))
    with opened(opener) as store:
        _counted(store, count, "processes")


@check("swap", "shared", "persistent")
def check_processes_that_write_over(opener: Opener) -> None:
    """What a process writes while others swap is never replaced by what was made from an older value."""
    with opened(opener) as store:
        store.write_many({"f/k": b"0 0"})
    together(_write_over_or_append, opener, RACERS - 1)


def _swaps(
    store: BaseStore, present: bytes | None, which: str, new: Buffer | None, *, done: bool, later: bytes = b""
) -> None:
    """Give a key a value, or none, and swap it by the version of now, an older one, or as if it were missing."""
    key = "f/swap"
    if present is not None:
        store.write_many({key: present})
    elif values_of(store, key) != [None]:
        store.write_many({key: None})
    version = store.get_versioned([key])[0][1]
    if which == "older":
        store.write_many({key: later})
        present = later
    refused = store.swap_many({key: (None if which == "missing" else version, new)})
    call = f"a swap to {new!r} of a key that has {present!r}, by the version {which!r}"
    same([*refused], [] if done else [key], SWAP, f"what is refused by {call}")
    after = (None if new is None else bytes(new)) if done else present
    holds(store, {key: after}, SWAP, f"after {call}")


def _creates(store: BaseStore, key: str, number: int) -> bool:
    return not store.swap_many({key: (None, b"%d" % number)})


def _one_winner(store: BaseStore, key: str, won: list[bool], who: str) -> None:
    same(sum(won), 1, RACE, f"how many of {RACERS} {who} created {key!r}")
    holds(store, {key: b"%d" % won.index(True)}, RACE, f"the winner of {key!r}")


def _count(store: BaseStore) -> int:
    """Count every key up for a while, in batches, those that are refused again; returns how often."""
    end = time.monotonic() + SPELL
    times = 0
    while times < ROUNDS or time.monotonic() < end:
        left = [*COUNTS]
        while left:
            found = zip(left, store.get_versioned(left), strict=True)
            swaps = {key: (version, b"%d" % (int(bytes(old or b"0")) + 1)) for key, (old, version) in found}
            left = [*store.swap_many(swaps)]
        times += 1
    return times


def _counted(store: BaseStore, count: int, who: str) -> None:
    what = f"{RACERS} {who} have counted {len(COUNTS)} keys up to {count} in total"
    holds(store, dict.fromkeys(COUNTS, b"%d" % count), RACE, what)


def _write_over(store: BaseStore) -> None:
    """Write a new value again and again; what is there then was made from it, not from one before."""
    for turn in range(1, 4 * ROUNDS + 1):
        store.write_many({"f/k": b"%d 0" % turn})
        for _ in range(3):
            time.sleep(PAUSE / 2)
            made_from = int((values_of(store, "f/k")[0] or b"-1").split()[0])
            same(made_from, turn, RACE, "the unconditional write that the value stems from")


def _append(store: BaseStore, over: Event) -> None:
    while not over.is_set():
        _append_once(store)


def _append_once(store: BaseStore) -> None:
    """Make a new value from the one that is there."""
    old, version = store.get_versioned(["f/k"])[0]
    turn, count = bytes(old or b"0 0").split()
    if int(count) % 2:
        time.sleep(PAUSE)  # so that others write meanwhile
    store.swap_many({"f/k": (version, b"%s %d" % (turn, int(count) + 1))})


def _write_over_or_append(opener: Opener, number: int) -> None:
    with opened(opener) as store:
        if number == 0:
            _write_over(store)
        else:
            for _ in range(8 * ROUNDS):
                _append_once(store)


def _create_all(opener: Opener, number: int, rounds: int) -> list[bool]:
    with opened(opener) as store:
        return [_creates(store, f"race/{turn}", number) for turn in range(rounds)]


def _count_up(opener: Opener, number: int) -> int:  # noqa: ARG001 - all do the same
    with opened(opener) as store:
        return _count(store)
