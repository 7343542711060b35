"""Reopening, pickling, equality, closing; reading never writes."""

import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress

from zarrv3.errors import ConfigurationError, StoreClosedError, ZarrError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import ByteRange, Request, whole
from zarrv3.store.file_backend import FileBackend
from zarrv3.testing.checks.claims import NEEDS, WRITES
from zarrv3.testing.checks.table import Opener, capabilities_of, check, fill, holds, listed, opened
from zarrv3.testing.processes import PATIENCE, Child, dies, together
from zarrv3.testing.rules import (
    ALONE,
    CLOSED,
    EQUALITY,
    FLUSHED,
    PERSISTENT,
    PICKLE,
    PING,
    READING,
    NotApplicableError,
    refuses,
    require,
    same,
)

READS: dict[str, Callable[[BaseStore], object]] = {
    "get_many": lambda store: store.get_many(whole(["k"])),
    "get_many of a range": lambda store: store.get_many([Request("f/k", ByteRange(1, 2))]),
    "stat_many": lambda store: store.stat_many(["k", "f/k"]),
    "in": lambda store: "k" in store,
    "get": lambda store: store.get("k"),
    "getitems": lambda store: store.getitems(["k", "f/k"]),
    "ping": lambda store: store.ping(PATIENCE),
}
"""Calls that only read."""

LISTINGS: dict[str, Callable[[BaseStore], object]] = {
    "list_sizes": lambda store: list(store.list_sizes("")),
    "list_sizes of a folder": lambda store: list(store.list_sizes("f/")),
    "list_prefix": lambda store: list(store.list_prefix("")),
    "list_prefix of a folder": lambda store: list(store.list_prefix("f/")),
    "list_dir": lambda store: list(store.list_dir("")),
    "list_dir of a folder": lambda store: list(store.list_dir("f/g/")),
    "getsize": lambda store: store.getsize(),
    "listdir": lambda store: store.listdir("f"),
    "len": len,
    "items": lambda store: list(store.items()),
}
"""Calls that only list."""


@check("persistent", "write")
def check_reopening(opener: Opener) -> None:
    """What one instance wrote, the next one finds after `close`, and can replace and erase."""
    with opened(opener) as store:
        fill(store, "k", "f/k", "f/gone")
        if store.capabilities.erase:
            store.delitems(["f/gone"])
        erased = store.capabilities.erase
    with opened(opener) as store:
        holds(
            store,
            {"k": b"k", "f/k": b"f/k", "f/gone": None if erased else b"f/gone"},
            PERSISTENT,
            "opened again",
        )
        store.write_many({"k": b"new"})
    with opened(opener) as store:
        holds(store, {"k": b"new"}, PERSISTENT, "replaced and opened again")
        if store.capabilities.list:
            same(len(store), 2 if erased else 3, PERSISTENT, "the number of keys")


@check("persistent", "write")
def check_flushing(opener: Opener) -> None:
    """What was flushed is there for the next process even if this one is killed without closing."""
    dies(_write_and_flush, opener, rule=FLUSHED)
    with opened(opener) as store:
        holds(store, {f"f/{i}": b"flushed" * 100 for i in range(20)}, FLUSHED, "after flush and kill")


@check()
def check_ping(opener: Opener) -> None:
    """`ping` reaches a store that is there, again and again, and writes nothing."""
    with opened(opener) as store:
        if store.capabilities.write:
            fill(store, "k")
        before = {*store.list_prefix("")} if store.capabilities.list else set()
        for _ in range(3):
            store.ping(PATIENCE)
        if store.capabilities.list:
            same({*store.list_prefix("")}, before, PING, "the keys that are there after it")


@check()
def check_flush_and_close(opener: Opener) -> None:
    """A store can be flushed at any time, closed unused, and closed twice."""
    with opened(opener) as store:
        store.close()
        store.close()
    with opened(opener) as store:
        store.flush()
        store.get_many(whole(["k"]))
        if store.capabilities.write:
            fill(store, "k")
            store.flush()
            holds(store, {"k": b"k"}, CLOSED, "after flush")
            store.flush()


@check()
def check_closed_store(opener: Opener) -> None:
    """Every call on a closed store raises `StoreClosedError`."""
    can = capabilities_of(opener)
    calls = {**READS, **(LISTINGS if can.list else {})}
    calls |= {name: call for name, call in WRITES.items() if all(getattr(can, need) for need in NEEDS[name])}
    with opened(opener) as store:
        if can.write:
            fill(store, "k")
        store.get_many(whole(["k"]))
        store.close()
        for name, call in calls.items():
            with refuses(CLOSED, f"{name} after close()", StoreClosedError):
                call(store)


@check()
def check_context_manager(opener: Opener) -> None:
    """`with store:` closes at the end of the outermost block."""
    with opened(opener) as store:
        with store as entered:
            require(entered is store, CLOSED, "`with store as s` gave another object")
            with store:
                store.get_many(whole(["k"]))
            store.get_many(whole(["k"]))
        with refuses(CLOSED, "reading after the block", StoreClosedError):
            store.get_many(whole(["k"]))


@check("persistent")
def check_pickling(opener: Opener) -> None:
    """A pickled store opens the same data with connections of its own, used or not, closed or not."""
    with opened(opener) as store:
        fresh = pickle.dumps(store)
        if store.capabilities.write:
            fill(store, "k")
            store.flush()
        store.get_many(whole(["k"]))
        used = pickle.dumps(store)
        expected = store.get("k")
        for text in (fresh, used):
            with pickle.loads(text) as copy:  # noqa: S301 - our own
                require(
                    type(copy) is type(store),
                    PICKLE,
                    f"a {type(store).__name__} came back as {type(copy).__name__}",
                )
                same(copy.get("k"), expected, PICKLE, "the copy's value of 'k'")
                same(copy.capabilities, store.capabilities, PICKLE, "the copy's capabilities")
                require(copy == store, PICKLE, "the copy is not equal to the original")
        holds(store, {"k": expected}, PICKLE, "the original after its copies were closed")


@check("persistent", "shared", "write")
def check_other_processes_see_writes(opener: Opener) -> None:
    """A child process reads what its parent wrote, through a store that the parent had open, and the other way round."""
    with opened(opener) as store:
        fill(store, "from/parent")
        seen = together(_read_and_answer, opener, 2)
        same(seen, [b"from/parent"] * 2, PERSISTENT, "what two child processes read")
        holds(
            store, {"from/child/0": b"0", "from/child/1": b"1"}, PERSISTENT, "what the child processes wrote"
        )


@check("persistent", "shared", "write")
def check_inherited_store(opener: Opener) -> None:
    """A store that was used before a fork works in the children and, afterwards, in the parent."""
    with opened(opener) as store:
        fill(store, "from/parent")
        seen = together(_use_inherited, store, 3)
        same(
            seen,
            [b"from/parent"] * 3,
            PERSISTENT,
            "what three children read through the store they inherited",
        )
        holds(store, {f"from/child/{n}": b"%d" % n for n in range(3)}, PERSISTENT, "what the children wrote")


@check("persistent", "write")
def check_inherited_store_of_one_process(opener: Opener) -> None:
    """What a store that is not `shared` acknowledges to a forked child, its parent finds; or the child is refused."""
    if capabilities_of(opener).shared:
        raise NotApplicableError("several processes may use the store")
    with opened(opener) as store:
        fill(store, "from/parent")
        child = Child(_use_alone, store)
        try:
            acknowledged = child.result()
        finally:
            child.kill()
        fill(store, "from/later")
    with opened(opener) as store:
        there = ["from/parent", "from/later", *acknowledged]
        holds(store, {key: key.encode() for key in there}, ALONE, "after parent and child have written")


@check()
def check_equality(opener: Opener) -> None:
    """Two stores of one opener are equal, and unequal to anything else; no store is hashable."""
    with opened(opener) as one, opened(opener) as two:
        require(one == one, EQUALITY, "a store is not equal to itself")  # noqa: PLR0124
        require(one == two, EQUALITY, "two stores opened alike are not equal")
        require(not one != two, EQUALITY, "two stores opened alike are unequal")  # noqa: SIM202
        for other in (None, 1, "text", {}, object()):
            require(one != other, EQUALITY, f"a store is equal to {other!r}")
        with refuses(EQUALITY, "hash(store)", TypeError):
            hash(one)


@check()
def check_reading_never_writes(opener: Opener) -> None:
    """Opening, reading and listing an empty place find nothing and create nothing."""
    with opened(opener) as store:
        path = store.path if isinstance(store, FileBackend) and not os.path.lexists(store.path) else ""
        can = store.capabilities
        if can.write:
            found = store.get_many([Request("k"), Request("f/k", ByteRange(1))])
            same([*found], [None] * 2, READING, "reading an empty store")
        for call in (*READS.values(), *(LISTINGS.values() if can.list else ())):
            call(store)
        if can.swap:
            same([*store.get_versioned(["k"])], [(None, None)], READING, "get_versioned in an empty store")
        store.flush()
    if path:
        require(
            not os.path.lexists(path), READING, f"{type(store).__name__} made its file when it was only read"
        )
    if can.write and can.list:
        with opened(opener) as store:
            same(store.list(), [], READING, "the keys after only reading")
            same(listed(store), [], READING, "list_dir('') after only reading")


@check()
def check_description(opener: Opener) -> None:
    """`repr` is one short line, also of a closed store, and a store is true even when empty."""
    with opened(opener) as store:
        require(bool(store), EQUALITY, "an empty store is false")
        with suppress(ConfigurationError):  # made from live objects
            json.dumps(store.spec())
        store.close()
        text = repr(store)
        require(
            text and "\n" not in text and len(text) < 1000,
            EQUALITY,
            f"repr is not a short line: {text[:300]!r}",
        )


def _write_and_flush(opener: Opener) -> None:
    store = opener()
    store.write_many({f"f/{i}": b"flushed" * 100 for i in range(20)})
    store.flush()


def _use_inherited(store: BaseStore, number: int) -> bytes:
    for _ in range(20):
        store.write_many({f"from/child/{number}": b"%d" % number})
        seen = store["from/parent"]
    return seen


def _use_alone(store: BaseStore) -> list[str]:
    """The keys that a child was allowed to write."""
    try:
        written = fill(store, "from/child")
        store.flush()
    except ZarrError:
        return []
    return [*written]


def _read_and_answer(opener: Opener, number: int) -> bytes:
    with opened(opener) as store:
        store.write_many({f"from/child/{number}": b"%d" % number})
        return store["from/parent"]
