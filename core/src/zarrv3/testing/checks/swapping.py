"""compare_and_set, alone and in races."""

from functools import partial

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer
from zarrv3.testing.checks.table import Opener, check, fill, holds, opened, values_of
from zarrv3.testing.processes import threads_together, together
from zarrv3.testing.rules import RACE, SWAP, require, same

ROUNDS = 8
RACERS = 4


@check("atomic_create")
def check_atomic_create(opener: Opener) -> None:
    """`compare_and_set(key, None, new)` creates a missing key and leaves an existing one, also an empty one."""
    with opened(opener) as store:
        _swaps(store, None, None, b"first", done=True)
        _swaps(store, b"first", None, b"second", done=False)
        _swaps(store, b"", None, b"second", done=False)
        same(store.compare_and_set("new/deep/key", None, b"v"), True, SWAP, "creating below a new folder")
        same(store.compare_and_set("none", None, None), True, SWAP, "nothing replaced by nothing")
        holds(store, {"new/deep/key": b"v", "none": None}, SWAP, "after creating")


@check("atomic_swap")
def check_atomic_swap(opener: Opener) -> None:
    """`compare_and_set(key, old, new)` replaces exactly the old value; any other leaves the key as it is."""
    with opened(opener) as store:
        _swaps(store, b"old", b"old", b"new", done=True)
        _swaps(store, b"other", b"old", b"new", done=False)
        _swaps(store, b"old and more", b"old", b"new", done=False)
        _swaps(store, b"ol", b"old", b"new", done=False)
        _swaps(store, b"", b"", b"new", done=True)
        _swaps(store, b"old", b"", b"new", done=False)
        _swaps(store, b"old", b"old", b"", done=True)
        _swaps(store, b"same", b"same", b"same", done=True)
        _swaps(store, None, b"old", b"new", done=False)
        _swaps(store, None, b"", b"new", done=False)
        _swaps(store, b"old", bytearray(b"old"), memoryview(b"<new>")[1:4], done=True)


@check("atomic_swap", "erase")
def check_atomic_erase(opener: Opener) -> None:
    """`compare_and_set(key, old, None)` erases exactly the old value."""
    with opened(opener) as store:
        _swaps(store, b"old", b"old", None, done=True)
        _swaps(store, b"other", b"old", None, done=False)
        _swaps(store, b"", b"", None, done=True)
        _swaps(store, None, b"old", None, done=False)
        same(
            store.compare_and_set("no/such/folder", b"old", None),
            False,
            SWAP,
            "erasing a key in a folder that is not there",
        )
        fill(store, "only/k")
        store.compare_and_set("only/k", b"only/k", None)
        if store.capabilities.list:
            same(store.list_dir(""), ([], []), SWAP, "list_dir('') after the last key went")


@check("atomic_create")
def check_racing_threads(opener: Opener) -> None:
    """Of several threads that create one key, exactly one wins, and its value is there."""
    with opened(opener) as store:
        for turn in range(ROUNDS):
            won = threads_together(
                [partial(store.compare_and_set, f"race/{turn}", None, b"%d" % n) for n in range(RACERS)]
            )
            _one_winner(store, f"race/{turn}", won, "threads")


@check("atomic_swap")
def check_counting_threads(opener: Opener) -> None:
    """Threads that count up one key by swapping lose nothing."""
    with opened(opener) as store:
        store.set_many({"f/count": b"0"})
        threads_together([lambda: _count(store, "f/count", ROUNDS)] * RACERS)
        holds(
            store, {"f/count": b"%d" % (ROUNDS * RACERS)}, RACE, f"{RACERS} threads each counted to {ROUNDS}"
        )


@check("atomic_swap", "erase")
def check_flapping_threads(opener: Opener) -> None:
    """A key that threads create and erase in turns, its folder coming and going, is won by one at a time."""
    with opened(opener) as store:

        def flap(number: int) -> int:
            own = b"%d" % number
            won = 0
            for _ in range(20):
                if store.compare_and_set("deep/er/lock", None, own):
                    won += 1
                    require(
                        store.compare_and_set("deep/er/lock", own, None),
                        RACE,
                        "a lock that was won was lost again",
                    )
            return won

        won = threads_together([partial(flap, n) for n in range(RACERS)])
        require(sum(won) > 0, RACE, "nobody won the lock")
        holds(store, {"deep/er/lock": None}, RACE, "after all have let go")


@check("atomic_create", "shared", "persistent")
def check_racing_processes(opener: Opener) -> None:
    """Of several processes that create one key, exactly one wins, and its value is there."""
    wins = together(_create_all, opener, RACERS, ROUNDS)
    with opened(opener) as store:
        for turn in range(ROUNDS):
            _one_winner(store, f"race/{turn}", [own[turn] for own in wins], "processes")


@check("atomic_swap", "shared", "persistent")
def check_counting_processes(opener: Opener) -> None:
    """Processes that count up one key by swapping lose nothing."""
    with opened(opener) as store:
        store.set_many({"f/count": b"0"})
    together(_count_up, opener, RACERS, ROUNDS)
    with opened(opener) as store:
        holds(
            store,
            {"f/count": b"%d" % (ROUNDS * RACERS)},
            RACE,
            f"{RACERS} processes each counted to {ROUNDS}",
        )


def _swaps(
    store: BaseStore, present: bytes | None, old: Buffer | None, new: Buffer | None, *, done: bool
) -> None:
    key = "f/swap"
    if present is None:
        if values_of(store, key) != [None]:
            store.erase_many([key])
    else:
        store.set_many({key: present})
    call = f"compare_and_set(key, {old!r}, {new!r}) of a key that has {present!r}"
    same(store.compare_and_set(key, old, new), done, SWAP, call)
    after = (None if new is None else bytes(new)) if done else present
    holds(store, {key: after}, SWAP, f"after {call}")


def _one_winner(store: BaseStore, key: str, won: list[bool], who: str) -> None:
    same(sum(won), 1, RACE, f"how many of {RACERS} {who} created {key!r}")
    holds(store, {key: b"%d" % won.index(True)}, RACE, f"the winner of {key!r}")


def _count(store: BaseStore, key: str, times: int) -> None:
    for _ in range(times):
        while True:
            old = store.get_many([(key, None)])[0]
            if store.compare_and_set(key, old, b"%d" % (int(bytes(old or b"0")) + 1)):
                break


def _create_all(opener: Opener, number: int, rounds: int) -> list[bool]:
    with opened(opener) as store:
        return [store.compare_and_set(f"race/{turn}", None, b"%d" % number) for turn in range(rounds)]


def _count_up(opener: Opener, number: int, rounds: int) -> None:  # noqa: ARG001 - all do the same
    with opened(opener) as store:
        _count(store, "f/count", rounds)
