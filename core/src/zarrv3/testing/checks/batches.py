"""Order, duplicates, empty batches, batches beyond the limits."""

from zarrv3.store.contract import ByteRange, Request
from zarrv3.testing.checks.table import Opener, answers, check, fill, holds, opened, values_of
from zarrv3.testing.rules import ERASE, LIMITS, ORDER, NotApplicableError, require, same

MANY = 4000


@check()
def check_empty_batches(opener: Opener) -> None:
    """Empty batches do nothing and return nothing."""
    with opened(opener) as store:
        same(list(store.get_many([])), [], ORDER, "get_many of nothing")
        if store.capabilities.write:
            store.write_many({})
        same([*store.stat_many([])], [], ORDER, "stat_many of nothing")
        if store.capabilities.swap:
            same([*store.get_versioned([])], [], ORDER, "get_versioned of nothing")
            same([*store.swap_many({})], [], ORDER, "swap_many of nothing")
        if store.capabilities.write and store.capabilities.list:
            same(list(store.list_prefix("")), [], ORDER, "after batches of nothing the store")


@check("write")
def check_missing_keys_in_a_batch(opener: Opener) -> None:
    """Missing keys are `None` at their places, before, between and after others."""
    with opened(opener) as store:
        fill(store, "a", "f/b")
        found = values_of(store, "none", "a", "f/none", "f/b", "g/none", "f", "f/b/c")
        same(found, [None, b"a", None, b"f/b", None, None, None], ORDER, "a batch with missing keys")


@check("write")
def check_duplicates_in_a_batch(opener: Opener) -> None:
    """A key may occur several times in a batch, with the same or other ranges."""
    with opened(opener) as store:
        store.write_many({"k": b"0123456789", "l": b"x"})
        part = ByteRange(2, 4)
        requests = [
            Request(key, wanted)
            for key, wanted in (
                ("k", None), ("l", None), ("k", part), ("k", None), ("none", None), ("k", part), ("none", None)
            )
        ]  # fmt: skip
        expected = [b"0123456789", b"x", b"23", b"0123456789", None, b"23", None]
        same(answers(store, requests), expected, ORDER, "a batch with duplicates")
        keys = [key for key, _ in requests]
        same([*store.stat_many(keys)], [10, 1, 10, 10, None, 10, None], ORDER, "stat_many with duplicates")
        if store.capabilities.swap:
            found = [None if value is None else bytes(value) for value, _ in store.get_versioned(keys)]
            same(found, values_of(store, *keys), ORDER, "get_versioned with duplicates")
        if store.capabilities.erase:
            store.delitems(["k", "k", "none", "none"])
            holds(store, {"k": None, "l": b"x"}, ERASE, "erased in one batch with a missing key")


@check("write", "erase")
def check_writing_and_erasing_in_one_batch(opener: Opener) -> None:
    """One `write_many` may store some keys and erase others, missing ones too."""
    with opened(opener) as store:
        fill(store, "a", "f/b", "f/c", "f/d")
        store.write_many({"a": b"new", "f/b": None, "g/e": b"", "none": None, "f/c": None, "z": b"z"})
        expected = {"a": b"new", "f/b": None, "f/c": None, "f/d": b"f/d", "g/e": b"", "none": None, "z": b"z"}
        holds(store, expected, ERASE, "after a mixed batch")


@check("write")
def check_batches_beyond_the_limit(opener: Opener) -> None:
    """A batch of more keys than `limits.batch_keys` works as a whole."""
    with opened(opener) as store:
        most = store.capabilities.limits.batch_keys
        if most is None or most > MANY:
            raise NotApplicableError(f"batches are not limited, or not to {MANY} keys")
        items = {f"f/{i}": b"%d" % i for i in range(2 * most + 1)}
        store.write_many(items)
        same(values_of(store, *items), [*items.values()], LIMITS, f"{len(items)} keys")
        if store.capabilities.swap:
            found = store.get_versioned([*items])
            same(
                [bytes(v or b"") for v, _ in found],
                [*items.values()],
                LIMITS,
                f"{len(items)} keys, versioned",
            )
            refused = store.swap_many(
                {key: (version, b"new") for key, (_, version) in zip(items, found, strict=True)}
            )
            same([*refused], [], LIMITS, f"what of {len(items)} swaps is refused")
            same({*values_of(store, *items)}, {b"new"}, LIMITS, f"{len(items)} keys, swapped")
        sizes = [len(value or b"") for value in values_of(store, *items)]
        same([*store.stat_many([*items])], sizes, LIMITS, f"the sizes of {len(items)} keys")
        if store.capabilities.erase:
            first, *others = items
            kept = values_of(store, first)
            store.delitems(others)
            same(
                values_of(store, *items), [*kept, *[None] * len(others)], LIMITS, f"{len(others)} keys erased"
            )


@check("write")
def check_bytes_beyond_the_limit(opener: Opener) -> None:
    """A batch of more bytes than `limits.batch_bytes` works as a whole."""
    with opened(opener) as store:
        limits = store.capabilities.limits
        if limits.batch_bytes is None or limits.batch_bytes > 1 << 26:
            raise NotApplicableError("batches are not limited, or not to 64 MiB")
        each = min(limits.batch_bytes // 3 + 1, limits.value_bytes or limits.batch_bytes)
        items = {f"f/{i}": bytes([i]) * each for i in range(8)}
        store.write_many(items)
        require(
            values_of(store, *items) == [*items.values()],
            LIMITS,
            f"8 values of {each} bytes came back different",
        )
