"""`store.transaction()`: all writes of a block at once or not at all."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import StoreClosedError, UnsupportedError
from zarrv3.testing import CHECKS, Check, NotApplicableError
from zarrv3.testing.machine import check_like_a_dict

KEYS = st.sampled_from(["a", "b/c", "b/d", "b/e/f", "g/h"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.binary(max_size=4)),
        st.tuples(st.just("erase"), KEYS, st.none()),
        st.tuples(st.just("erase_prefix"), st.sampled_from(["", "b/", "b/e/", "g/"]), st.none()),
    ),
    max_size=12,
)


def play(store: Any, model: dict[str, bytes], steps: list[Any]) -> None:
    """Do the same to a store and to a dict."""
    for verb, where, value in steps:
        if verb == "set":
            store[where] = value
            model[where] = value
        elif verb == "erase":
            store.write_many({where: None})
            model.pop(where, None)
        else:
            store.erase_prefix(where)
            for key in [key for key in model if key.startswith(where)]:
                del model[key]


@settings(deadline=None)
@given(before=STEPS, within=STEPS)
def test_a_transaction_reads_as_if_its_writes_were_made(before: list[Any], within: list[Any]) -> None:
    """Inside the block every reading method sees the block's writes; outside nobody does until its end."""
    store, model = zarrv3.MemoryStore(), dict[str, bytes]()
    play(store, model, before)
    untouched = dict(store.items())
    with store.transaction() as inside:
        play(inside, model, within)
        assert dict(inside.items()) == model
        assert dict(inside.list_sizes("")) == {key: len(value) for key, value in model.items()}
        twin = zarrv3.MemoryStore(dict(model))
        for folder in ("", "b/", "b/e/", "x/"):
            assert sorted(inside.list_dir(folder)) == sorted(twin.list_dir(folder))
        assert dict(store.items()) == untouched
    assert dict(store.items()) == model


def test_a_block_that_raises_has_written_nothing() -> None:
    """An exception in the block leaves the store as it was."""
    store = zarrv3.MemoryStore()
    store["a"] = b"old"
    inside: Any = None

    def block() -> None:
        nonlocal inside
        with store.transaction() as inside:
            inside.update({"a": b"new", "b": b"new"})
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        block()
    assert dict(store.items()) == {"a": b"old"}
    with pytest.raises(StoreClosedError):
        inside["b"] = b"new"


def test_arrays_and_groups_work_in_a_transaction() -> None:
    """Nodes created through the block's store appear together at its end."""
    store = zarrv3.MemoryStore()
    with store.transaction() as inside:
        array = zarrv3.create_array(inside, name="g/a", shape=(10,), chunks=(3,), dtype="i4")
        array[2:9] = np.arange(7)
        zarrv3.open_group(inside, path="g", mode="r+").move("a", "b")
        assert not store.list()
    assert zarrv3.open(store, path="g/b", mode="r")[:].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 0]


def test_writing_after_the_end_is_refused() -> None:
    """A transaction that has ended takes no more writes."""
    store = zarrv3.MemoryStore()
    with store.transaction() as inside:
        pass
    with pytest.raises(StoreClosedError, match="has ended"):
        inside["a"] = b""
    assert not store.list()


def test_a_store_without_transactions_says_so() -> None:
    """Where the capability is not claimed the call raises; it does not pretend."""
    store = zarrv3.open_store("memory:|read-only:")
    with pytest.raises(UnsupportedError, match="no transactions"), store.transaction():
        pass


def test_no_transaction_within_a_transaction() -> None:
    """Nesting is refused, and so is comparing, which could not be kept until the end."""
    with zarrv3.MemoryStore().transaction() as inside:
        assert not inside.capabilities.transactions
        assert not inside.capabilities.swap
        with pytest.raises(UnsupportedError), inside.transaction():
            pass
        for call in (
            lambda: inside.swap_many({"a": (None, b"")}),
            lambda: inside.get_versioned(["a"]),
            lambda: inside.apply_many({"a": b""}),
        ):
            with pytest.raises(UnsupportedError, match="cannot"):
                call()


NOT_BY_ITSELF = {"closed_store", "context_manager"}
"""What belongs to the store that the transaction is of."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_transaction_is_a_store(check: Check) -> None:
    """Within the block, the store does what the conformance kit asks of stores, but that closing it ends nothing."""
    with zarrv3.MemoryStore().transaction() as inside:
        if not check.missing(inside.capabilities) and check.name not in NOT_BY_ITSELF:
            with suppress(NotApplicableError):
                check.run(lambda: inside)


def test_a_transaction_is_like_a_dict() -> None:
    """Whatever is asked of it in whatever order, a transaction answers like a dict."""
    with zarrv3.MemoryStore({"a/zarr.json": b"below", "ab/zarr.json": b"below"}).transaction() as inside:
        check_like_a_dict(lambda: inside, examples=20, steps=25)
