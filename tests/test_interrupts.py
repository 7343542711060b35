"""After Ctrl-C at any moment of a call the store works at once: values are old or new, and no lock stays."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

import zarrv3
from zarrv3 import ByteRange, registry
from zarrv3.store.contract import Request, whole
from zarrv3.testing.interrupts import interrupted

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="on Python 3.14 Ctrl-C may leave a lock that `with` has just taken"
)

BEFORE = {"a": b"old", "b": b"old", "f/x": b"kept"}
MOMENTS = 24
"""How many moments of a call are tried by default: they are spread over the first thousand or so."""


@pytest.fixture(
    scope="module", params=["sqlite", "sqlite in memory", "lmdb", "dbm", "redis", "mongodb", "sql"]
)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[zarrv3.BaseStore]:
    """A store of each database; a lock that stays is an error after two seconds."""
    kind = request.param.partition(" ")[0]
    cls = registry.load("stores", kind)
    with ExitStack() as stack:
        if kind in {"redis", "mongodb", "sql"}:
            url = stack.enter_context(cls.example_server())
        else:
            url = cls.example_url(str(tmp_path_factory.mktemp("data")))
        if kind == "sqlite":
            url = "sqlite://?timeout=2" if "memory" in request.param else f"{url}?timeout=2"
        yield stack.enter_context(zarrv3.open_store(url))


def swap(store: zarrv3.BaseStore, *keys: str) -> None:
    """Read versions and swap values."""
    versions = [version for _, version in store.get_versioned(keys)]
    store.swap_many({key: (version, b"new") for key, version in zip(keys, versions, strict=True)})


def rename(store: zarrv3.BaseStore) -> None:
    """Rename a folder and rename it back."""
    store.rename_prefix("f/", "g/")
    store.rename_prefix("g/", "f/")


CALLS = {
    "write one": lambda store: store.write_many({"a": b"new"}),
    "write many": lambda store: store.write_many({"a": b"new", "b": b"new"}),
    "apply many": lambda store: store.apply_many({"a": b"new", "b": None}),
    "swap one": lambda store: swap(store, "a"),
    "swap many": lambda store: swap(store, "a", "b"),
    "erase": lambda store: store.delitems(["a", "b"]),
    "rename": rename,
    "read": lambda store: store.get_many([*whole(["a", "b"]), Request("a", ByteRange(1, 2))]),
    "list": lambda store: [*store.list_prefix(""), *store.list_dir(""), *store.list_sizes("")],
    "flush": lambda store: store.flush(),
}


def interruptible(call: Callable[[zarrv3.BaseStore], object], store: zarrv3.BaseStore) -> None:
    """Make a call; what a library raises instead, when it fails to clean up after an interrupt, is the interrupt."""
    try:
        call(store)
    except zarrv3.errors.StoreError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        raise (cause or error) from None


def check(store: zarrv3.BaseStore) -> None:
    """Every value is old or new, listings agree, and the next write is there."""
    values = store.getitems(store.list())
    assert {*values} <= {"a", "b", "f/x", "g/x"}
    assert all(value in {BEFORE.get(key, b"kept"), b"new"} for key, value in values.items())
    assert sum(key.endswith("/x") for key in values) == 1
    after = {"a": b"after", "b": b"after"}
    store.write_many(after)
    assert store.getitems([*after]) == after


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("dense", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CALLS)
def test_a_store_works_at_once_after_an_interrupt(store: zarrv3.BaseStore, name: str, dense: bool) -> None:
    """Whatever a call was in the middle of, and though the interrupt is kept."""
    call, moment, tried = CALLS[name], 1, 0
    if name == "apply many" and not store.capabilities.transactions:
        return
    store.write_many(BEFORE)
    call(store)
    some = 5 if store.kind == "mongodb" else MOMENTS  # its client takes long to connect again
    while tried < (2000 if dense else some):
        store.erase_prefix("")
        store.write_many(BEFORE)
        kept = interrupted(partial(interruptible, call, store), moment)
        if kept is None:
            break
        check(store)
        del kept
        tried += 1
        moment += 1 if dense else 1 + tried * 3 * MOMENTS // some
    assert tried or name == "flush"
    gc.collect()  # what an interrupt has left open is closed here, and some say so
