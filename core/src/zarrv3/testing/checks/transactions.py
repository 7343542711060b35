"""Many changes at once or not at all."""

import threading
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

from zarrv3.errors import InvalidKeyError, LimitError, UnsupportedError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities
from zarrv3.testing.checks.crowds import KEYS, KILLS
from zarrv3.testing.checks.table import Opener, capabilities_of, check, fill, holds, listed, opened, values_of
from zarrv3.testing.processes import Writer, generation_of, needs_kill, stamped, threads_together
from zarrv3.testing.rules import (
    CLAIMS,
    LIMITS,
    REFUSED_KEYS,
    TRANSACTIONS,
    ConformanceError,
    refuses,
    require,
    same,
)

ROUNDS = 20
KEYS_AT_ONCE = 1000
BYTES_AT_ONCE = 12 << 20
MEBIBYTE = 1 << 20


@check()
def check_unclaimed_transactions_are_refused(opener: Opener) -> None:
    """Without `transactions`, `store.transaction()` raises `UnsupportedError` instead of pretending."""
    with opened(opener) as store:
        if store.capabilities.transactions:
            return
        with refuses(CLAIMS, "transaction() without the capability", UnsupportedError), store.transaction():
            pass


@check("transactions")
def check_apply_many(opener: Opener) -> None:
    """`apply_many` sets and erases in one call; one refused key refuses everything."""
    with opened(opener) as store:
        fill(store, "a", "f/b", "f/c")
        store.apply_many({"a": None, "f/b": bytearray(b"new"), "g/h/d": b"", "none": None})
        expected = {"a": None, "f/b": b"new", "f/c": b"f/c", "g/h/d": b"", "none": None}
        holds(store, expected, TRANSACTIONS, "after apply_many")
        store.apply_many({})
        with refuses(REFUSED_KEYS, "apply_many with '..' in it", InvalidKeyError):
            store.apply_many({"f/b": None, "f/c": b"x", "../k": b"x"})
        holds(store, expected, TRANSACTIONS, "after a refused apply_many")
        if store.capabilities.list:
            same(
                sorted(store.list_prefix("")),
                ["f/b", "f/c", "g/h/d"],
                TRANSACTIONS,
                "the keys after apply_many",
            )
            same(listed(store), ["f/", "g/"], TRANSACTIONS, "list_dir('') after apply_many")


@check("transactions")
def check_committed_transaction(opener: Opener) -> None:
    """What is written in a block is seen in it, outside only after its end, and then all of it."""
    with opened(opener) as store:
        before = fill(store, "a", "f/b", "f/c")
        with store.transaction() as inside:
            inside["a"] = b"new"
            inside.delitems(["f/b"])
            inside["g/d"] = b"more"
            after = {"a": b"new", "f/b": None, "f/c": b"f/c", "g/d": b"more"}
            holds(inside, after, TRANSACTIONS, "inside the block")
            holds(store, {**before, "g/d": None}, TRANSACTIONS, "outside, before its end")
        holds(store, after, TRANSACTIONS, "after its end")


@check("transactions")
def check_abandoned_transaction(opener: Opener) -> None:
    """When a block raises, nothing of it is written."""
    with opened(opener) as store:
        before = fill(store, "a", "f/b")
        with refuses(TRANSACTIONS, "a block that raises", ZeroDivisionError), store.transaction() as inside:
            inside.update({"a": b"new", "g/d": b"new"})
            inside.delitems(["f/b"])
            1 / 0  # noqa: B018 - the error of a caller
        holds(store, {**before, "g/d": None}, TRANSACTIONS, "after a block that raised")


@check("transactions")
def check_transactions_of_many_keys(opener: Opener) -> None:
    """A transaction takes a thousand keys, or as many as `limits.transaction_keys` says; more are refused with nothing written."""
    with opened(opener) as store:
        most = store.capabilities.limits.transaction_keys
        _takes(
            store,
            {f"f/{i}": b"%d" % i for i in range(min(most or KEYS_AT_ONCE, KEYS_AT_ONCE))},
            "transaction_keys",
        )
        if most is not None and most <= 100 * KEYS_AT_ONCE:
            _refuses(store, {f"g/{i}": b"" for i in range(most + 1)})


@check("transactions")
def check_transactions_of_many_bytes(opener: Opener) -> None:
    """A transaction takes twelve MiB, or as much as `limits.transaction_bytes` says; more is refused with nothing written."""
    with opened(opener) as store:
        limits = store.capabilities.limits
        most = min(limits.transaction_bytes or BYTES_AT_ONCE, BYTES_AT_ONCE)
        each = min(limits.value_bytes or MEBIBYTE, MEBIBYTE)
        count = min(-(-most // each), limits.transaction_keys or KEYS_AT_ONCE)
        sizes = [min(each, most - number * each) for number in range(count)]
        _takes(
            store, {f"f/{i}": bytes([i % 251]) * size for i, size in enumerate(sizes)}, "transaction_bytes"
        )
        if limits.transaction_bytes == most == sum(sizes) and sizes[-1] < each:
            _refuses(store, {f"g/{i}": bytes(size) for i, size in enumerate([*sizes[:-1], sizes[-1] + 1])})


def _takes(store: BaseStore, changes: dict[str, bytes], limit: str) -> None:
    what = f"a transaction of {len(changes)} keys and {sum(map(len, changes.values()))} bytes"
    try:
        store.apply_many(changes)
    except Exception as error:
        raise ConformanceError(
            TRANSACTIONS, f"{what} failed, and Limits.{limit} does not tell: {error}"
        ) from error
    require(values_of(store, *changes) == [*changes.values()], TRANSACTIONS, f"{what} came back different")


def _refuses(store: BaseStore, changes: dict[str, bytes]) -> None:
    what = f"a transaction of {len(changes)} keys and {sum(map(len, changes.values()))} bytes"
    with refuses(LIMITS, what, LimitError):
        store.apply_many(changes)
    require(
        values_of(store, *changes) == [None] * len(changes), LIMITS, f"{what} was refused, and has written"
    )


@check("transactions")
def check_transactions_are_seen_at_once(opener: Opener) -> None:
    """A reader of a later key of a transaction never finds it older than a key that it read before."""
    with opened(opener) as store:
        most = store.capabilities.limits.value_bytes

        done = threading.Event()

        def write() -> None:
            try:
                for generation in range(1, ROUNDS + 1):
                    store.apply_many({key: stamped(key, generation, most) for key in KEYS})
            finally:
                done.set()

        read: Callable[[], None] = partial(_read_in_turns, store, done)
        threads_together([write, read, read])
        same(_generations(store), [ROUNDS] * len(KEYS), TRANSACTIONS, "after the last transaction")


@check("transactions", "persistent")
def check_killed_transactions(opener: Opener) -> None:
    """When a writer is killed at any moment, all keys of a transaction are new or all are old; acknowledged ones are there."""
    needs_kill()
    operate = partial(_replace_all, capabilities_of(opener))
    first = 1
    for _ in range(KILLS):
        writer = Writer(operate, opener, first)
        try:
            writer.wait_for_first()
        finally:
            last = writer.kill()
        with opened(opener) as store:
            found = _generations(store)
            require(len({*found}) == 1, TRANSACTIONS, f"after a kill the keys are of generations {found}")
            require(
                found[0] in {last, last + 1},
                TRANSACTIONS,
                f"generation {last} was acknowledged, {found[0]} is there",
            )
        first = last + 2


def _replace_all(can: Capabilities, store: Any, number: int) -> None:
    store.apply_many({key: stamped(key, number, can.limits.value_bytes) for key in KEYS})
    if not can.durable:
        store.flush()


def _generations(store: BaseStore) -> list[int | None]:
    most = store.capabilities.limits.value_bytes
    values = values_of(store, *KEYS)
    return [None if v is None else generation_of(k, v, most) for k, v in zip(KEYS, values, strict=True)]


def _read_in_turns(store: BaseStore, done: threading.Event) -> None:
    most = store.capabilities.limits.value_bytes
    seen = 0
    for key in cycle(KEYS):
        if done.is_set():
            return
        value = values_of(store, key)[0]
        generation = 0 if value is None else generation_of(key, value, most)
        require(generation is not None, TRANSACTIONS, f"{key!r} is not whole")
        require(
            (generation or 0) >= seen,
            TRANSACTIONS,
            f"{key!r} is of generation {generation}, an earlier read key of {seen}",
        )
        seen = generation or 0
