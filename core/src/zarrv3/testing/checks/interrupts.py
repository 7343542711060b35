"""Calls that are interrupted, and processes that are forked while they are at work.

Derive from `InterruptConformance` beside `StoreConformance` or `LayerConformance` to run them; to look into one,
`pytest -k interrupted_calls` or `pytest -k forks_at_work`. `zarrv3.testing.interrupts` interrupts any other call.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from zarrv3.errors import StoreError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import whole
from zarrv3.testing.checks.table import Check, Opener, check, fill, opened, values_of
from zarrv3.testing.interrupts import interrupted, points, unheard
from zarrv3.testing.processes import CONTEXT, PATIENCE, Child
from zarrv3.testing.rules import FORKS, INTERRUPTS, NotApplicableError, require, same

CHECKS: list[Check] = []
"""Apart from the others, since many libraries of backends do not pass them."""

SECONDS = 0.3
"""How long each kind of call is interrupted, again and again, at points spread over all of it."""

FORKS_AT_WORK = 6

OLD: Mapping[str, bytes | None] = {"i/a": b"old", "i/b": b"older", "top": b"old", "i/new": None}
NEW: Mapping[str, bytes | None] = {"i/a": b"new", "i/b": b"newer", "top": b"new", "i/new": b"new"}


@check("write", table=CHECKS)
@unheard()
def check_interrupted_calls(opener: Opener) -> None:
    """A call that is interrupted (Ctrl-C) at any point leaves old or new values and no lock: the store works at once."""
    with opened(opener) as store:
        can = store.capabilities
        old = OLD if can.erase else {key: value for key, value in OLD.items() if value is not None}
        new = {key: NEW[key] for key in old}
        calls: dict[str, Callable[[], object]] = {
            "a write": lambda: store.write_many(new),
            "a read": lambda: store.get_many(whole(old)),
        }
        if can.swap:
            calls["a swap"] = lambda: store.swap_many(
                {key: (version, new[key]) for key, (_, version) in _versioned(store, old).items()}
            )
        if can.transactions:
            calls["a transaction"] = lambda: store.apply_many(new)
        if can.list:
            calls["a listing"] = lambda: [*store.list_prefix("i/"), *store.list_dir("i/")]
        if can.erase and can.list:
            calls["erasing a folder"] = lambda: store.erase_prefix("i/")
        for what, call in calls.items():
            _interrupt(store, what, call, old, new)


def _versioned(store: BaseStore, keys: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(keys, store.get_versioned([*keys]), strict=True))


def _interrupt(
    store: BaseStore, what: str, call: Callable[[], object], old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Interrupt a call here and there; each time another thread looks at what there is, and makes it old again."""
    store.write_many(old)
    end = time.monotonic() + SECONDS
    for point in sorted(range(1, points(call) + 1), key=lambda number: number * 0.618034 % 1):
        _in_time(partial(store.write_many, old), what)
        kept: BaseException | None = None  # with all its frames, as `sys.last_value` is
        try:
            kept = interrupted(call, point)
        except Exception as error:  # noqa: BLE001 - `threading`'s own, too; what counts is what comes afterwards
            kept = error
        found = dict(zip(old, _in_time(partial(values_of, store, *old), what), strict=True))
        for key, value in found.items():
            allowed = {old[key], new[key], *([None] if what == "erasing a folder" else [])}
            require(value in allowed, INTERRUPTS, f"after {what} was interrupted, {key!r} is {value!r}")
        if what == "a transaction":
            require(found in (dict(old), dict(new)), INTERRUPTS, f"after {what} was interrupted: {found}")
        if store.capabilities.list:
            listed = _in_time(lambda: sorted(store.list_prefix("")), what)
            there = sorted(key for key, value in found.items() if value is not None)
            same(listed, there, INTERRUPTS, f"the keys listed after {what} was interrupted")
        del kept
        if time.monotonic() > end:
            return


def _in_time(call: Callable[[], Any], what: str) -> Any:
    """What a call in another thread returns, which must not wait for the interrupted one."""
    outcomes: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((call(), None))
        except Exception as error:  # noqa: BLE001 - told below
            outcomes.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = outcomes.get(timeout=PATIENCE)
    except Empty:
        error = TimeoutError(f"it has not returned after {PATIENCE} s")
    require(
        error is None, INTERRUPTS, f"after {what} was interrupted, another thread's call failed: {error!r}"
    )
    return value


@check("write", table=CHECKS)
def check_forks_at_work(opener: Opener) -> None:
    """A child that is forked while threads of its parent read and write can use the store at once, and so can the parent."""
    if CONTEXT.get_start_method() != "fork":
        raise NotApplicableError("this system does not fork")
    with opened(opener) as store:
        items = fill(store, "f/a", "f/b")
        done = threading.Event()

        def work(number: int) -> None:
            while not done.is_set():
                store.get_many(whole(items))
                store[f"f/own{number}"] = b"value"

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(FORKS_AT_WORK):
                child = Child(_use, store, f"f/child{number}", [*items])
                try:
                    found = child.result()
                finally:
                    child.kill()
                if found is not None and (found[0] is not None or store.capabilities.persistent):
                    same(found, [*items.values(), b"child"], FORKS, "what a forked child reads")
                if store.capabilities.shared:
                    same(store.get(f"f/child{number}"), b"child", FORKS, "what a forked child wrote")
                store[f"f/parent{number}"] = b"parent"
        finally:
            done.set()
            for thread in threads:
                thread.join(PATIENCE)
        require(not any(map(threading.Thread.is_alive, threads)), FORKS, "a thread of the parent hangs")


def _use(store: BaseStore, own: str, keys: list[str]) -> list[bytes | None] | None:
    """Write and read in a child, from two threads; `None` where a store that several processes may not share refuses that."""
    try:
        store[own] = b"child"
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(values_of, store, *keys, own).result()
    except StoreError:
        if store.capabilities.shared:
            raise
        return None
