"""Order, duplicates, empty batches, batches beyond the limits."""

from zarrv3.store.contract import ByteRange
from zarrv3.testing.checks.table import Opener, check, fill, holds, opened, values_of
from zarrv3.testing.rules import ERASE, LIMITS, ORDER, NotApplicableError, require, same

MANY = 4000


@check()
def check_empty_batches(opener: Opener) -> None:
    """Batches of nothing do nothing, and return nothing."""
    with opened(opener) as store:
        same(list(store.get_many([])), [], ORDER, "get_many of nothing")
        if store.capabilities.write:
            store.set_many({})
        if store.capabilities.erase:
            store.erase_many([])
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
        store.set_many({"k": b"0123456789", "l": b"x"})
        requests = [
            ("k", None),
            ("l", None),
            ("k", ByteRange(2, 4)),
            ("k", None),
            ("none", None),
            ("k", ByteRange(2, 4)),
            ("none", None),
        ]
        found = [None if value is None else bytes(value) for value in store.get_many(requests)]
        same(
            found,
            [b"0123456789", b"x", b"23", b"0123456789", None, b"23", None],
            ORDER,
            "a batch with duplicates",
        )
        if store.capabilities.erase:
            store.erase_many(["k", "k", "none", "none"])
            holds(store, {"k": None, "l": b"x"}, ERASE, "erased twice in one batch")


@check("write")
def check_batches_beyond_the_limit(opener: Opener) -> None:
    """A batch of more keys than `limits.batch_keys` works as a whole."""
    with opened(opener) as store:
        most = store.capabilities.limits.batch_keys
        if most is None or most > MANY:
            raise NotApplicableError(f"batches are not limited, or not to {MANY} keys")
        items = {f"f/{i}": b"%d" % i for i in range(2 * most + 1)}
        store.set_many(items)
        same(values_of(store, *items), [*items.values()], LIMITS, f"{len(items)} keys")
        if store.capabilities.erase:
            store.erase_many(list(items)[1:])
            same(values_of(store, *items), [b"0", *[None] * (2 * most)], LIMITS, f"{2 * most} keys erased")


@check("write")
def check_bytes_beyond_the_limit(opener: Opener) -> None:
    """A batch of more bytes than `limits.batch_bytes` works as a whole."""
    with opened(opener) as store:
        limits = store.capabilities.limits
        if limits.batch_bytes is None or limits.batch_bytes > 1 << 26:
            raise NotApplicableError("batches are not limited, or not to 64 MiB")
        each = min(limits.batch_bytes // 3 + 1, limits.value_bytes or limits.batch_bytes)
        items = {f"f/{i}": bytes([i]) * each for i in range(8)}
        store.set_many(items)
        require(
            values_of(store, *items) == [*items.values()],
            LIMITS,
            f"8 values of {each} bytes came back different",
        )
