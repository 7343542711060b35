"""What goes in comes out: values of every size, and whose the buffers are."""

from typing import Any

from zarrv3.errors import InvalidKeyError, LimitError
from zarrv3.store.contract import whole
from zarrv3.testing.checks.table import Opener, check, fill, holds, opened, values_of
from zarrv3.testing.rules import (
    LIMITS,
    ORDER,
    OWNERSHIP,
    REFUSED_VALUES,
    VALUES,
    NotApplicableError,
    refuses,
    require,
    same,
)

MEBIBYTE = 1 << 20


@check("write")
def check_stored_values_come_back(opener: Opener) -> None:
    """Values come back byte by byte, whatever bytes they are made of."""
    with opened(opener) as store:
        items = {
            "text": b"hello",
            "nul": b"\0\0",
            "all": bytes(range(256)),
            "a/b/c/d": b"deep",
            "line": b"\r\n\n\r",
        }
        store.write_many(items)
        holds(store, items, VALUES, "read after write")


@check("write")
def check_values_are_replaced(opener: Opener) -> None:
    """A second write replaces the value, also by a shorter or longer one."""
    with opened(opener) as store:
        for value in (b"middle", b"s", b"very much longer than before", b"", b"again"):
            store.write_many({"f/k": value})
            holds(store, {"f/k": value}, VALUES, "read after replacing")


@check("write")
def check_empty_value(opener: Opener) -> None:
    """An empty value is a value, not a missing key."""
    with opened(opener) as store:
        store.write_many({"empty": b"", "f/empty": bytearray()})
        same(
            values_of(store, "empty", "f/empty", "none"),
            [b"", b"", None],
            VALUES,
            "two empty values and a missing one",
        )
        same([*store.stat_many(["empty"])], [0], VALUES, "the size of an empty value")
        require("empty" in store, VALUES, "the key of an empty value is not in the store")


@check("write")
def check_big_value(opener: Opener) -> None:
    """A value of 1 MiB (or the largest allowed) comes back whole and in parts."""
    with opened(opener) as store:
        size = min(MEBIBYTE, store.capabilities.limits.value_bytes or MEBIBYTE)
        value = (bytes(range(251)) * (size // 251 + 1))[:size]
        store.write_many({"big": value, "small": b"s"})
        found = values_of(store, "big", "small")
        require(found == [value, b"s"], VALUES, f"a value of {size} bytes came back different")
        middle = store.get_partial_values([("big", (size // 2, 100))])[0]
        same(middle, value[size // 2 :][:100], VALUES, "the middle of a big value")


@check("write")
def check_many_keys(opener: Opener) -> None:
    """Five hundred keys go in and come out in one batch each."""
    with opened(opener) as store:
        items = {f"many/{i % 7}/{i}": f"value {i}".encode() for i in range(500)}
        store.write_many(items)
        keys = list(reversed(items))
        same(values_of(store, *keys), [items[key] for key in keys], ORDER, "500 keys, read backwards")


@check("write")
def check_value_limit(opener: Opener) -> None:
    """A value beyond `limits.value_bytes` raises `LimitError` and leaves the old one."""
    with opened(opener) as store:
        most = store.capabilities.limits.value_bytes
        if most is None or most > 64 * MEBIBYTE:
            raise NotApplicableError("values are not limited, or not to 64 MiB")
        store.write_many({"k": b"old"})
        with refuses(LIMITS, f"a value of {most + 1} bytes", LimitError):
            store.write_many({"other": b"x", "k": bytes(most + 1)})
        holds(store, {"k": b"old"}, LIMITS, "after a refused value")


@check("write")
def check_callers_buffers_may_change(opener: Opener) -> None:
    """A bytearray or memoryview that changes after the call does not change the store."""
    with opened(opener) as store:
        array, backing = bytearray(b"array"), bytearray(b"<view>")
        store.write_many(
            {"array": array, "view": memoryview(backing)[1:5], "read-only": memoryview(b"bytes")}
        )
        array[:] = b"XXXXX"
        backing[:] = b"YYYYYY"
        holds(
            store,
            {"array": b"array", "view": b"view", "read-only": b"bytes"},
            OWNERSHIP,
            "buffers were changed",
        )
        if store.capabilities.swap:
            created = bytearray(b"created")
            refused = store.swap_many({"created": (None, created)})
            require(not refused, OWNERSHIP, "creating from a bytearray failed")
            created[:] = b"ZZZZZZZ"
            holds(store, {"created": b"created"}, OWNERSHIP, "the buffer was changed")


@check("write")
def check_callers_items_are_left_alone(opener: Opener) -> None:
    """The mapping and the sequence that a caller passes are not changed."""
    with opened(opener) as store:
        items = {"a": b"1", "f/b": b"2"}
        requests = whole(items)
        store.write_many(items)
        store.get_many(requests)
        same(
            (items, requests), ({"a": b"1", "f/b": b"2"}, whole(["a", "f/b"])), OWNERSHIP, "the caller's own"
        )


@check("write")
def check_returned_values_do_not_change(opener: Opener) -> None:
    """What was read stays as it was when the key is written, erased and the store closed."""
    with opened(opener) as store:
        store.write_many({"k": b"A" * 5000, "f/k": b"a"})
        kept = [*store.get_many(whole(["k", "f/k"]))]
        store.write_many({"k": b"B" * 5000, "f/k": b"b"})
        kept += store.get_many(whole(["k"]))
        if store.capabilities.erase:
            store.delitems(["k", "f/k"])
        store.write_many({f"other/{i}": b"C" * 5000 for i in range(10)})
    found = [None if value is None else bytes(value) for value in kept]
    require(
        found == [b"A" * 5000, b"a", b"B" * 5000],
        OWNERSHIP,
        "values that had been returned changed under later calls",
    )


@check("write")
def check_refused_values(opener: Opener) -> None:
    """Texts, numbers and views that are not flat bytes raise `InvalidKeyError`; the old value stays."""
    import array

    numbers = memoryview(array.array("i", [1, 2, 3]))
    refused: dict[str, Any] = {
        "text": "text",
        "a number": 7,
        "a list": [1, 2],
        "a view of integers": numbers,
        "a view with gaps": memoryview(b"abcdef")[::2],
        "a view of two dimensions": memoryview(bytes(4)).cast("B", (2, 2)),
    }
    with opened(opener) as store:
        fill(store, "k")
        for what, value in refused.items():
            with refuses(REFUSED_VALUES, f"storing {what}", InvalidKeyError):
                store.write_many({"new": b"fine", "k": value})
            if store.capabilities.swap:
                with refuses(REFUSED_VALUES, f"swapping in {what}", InvalidKeyError):
                    store.swap_many({"new": (None, value)})
            if store.capabilities.transactions:
                with refuses(REFUSED_VALUES, f"a transaction with {what}", InvalidKeyError):
                    store.apply_many({"new": b"fine", "k": value})
        same(values_of(store, "k", "new"), [b"k", None], REFUSED_VALUES, "after refused values")
