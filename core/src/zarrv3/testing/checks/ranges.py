"""Parts of values."""

from zarrv3.store.contract import ByteRange, Request
from zarrv3.store.helpers import cut
from zarrv3.testing.checks.table import Opener, answers, check, opened
from zarrv3.testing.rules import RANGES, require, same

VALUE = b"0123456789"
EDGES = (*range(-12, 13), 1 << 40, -(1 << 40))
ALL = [ByteRange(start, stop) for start in EDGES for stop in (None, *EDGES)]
"""Every form of range over ten bytes: negative, clipped, empty, backwards, past the end, open."""


@check("write")
def check_every_range(opener: Opener) -> None:
    """Every range of a value is `value[start:stop]`."""
    with opened(opener) as store:
        store.write_many({"f/k": VALUE})
        found = store.get_many([Request("f/k", wanted) for wanted in ALL])
        same(len(found), len(ALL), RANGES, "the number of values")
        for wanted, value in zip(ALL, found, strict=True):
            require(value is not None, RANGES, f"{wanted} of {VALUE!r} is None as if the key were missing")
            same(bytes(value or b""), VALUE[wanted.start : wanted.stop], RANGES, f"{wanted} of {VALUE!r}")


@check("write")
def check_ranges_of_empty_and_missing(opener: Opener) -> None:
    """Every range of an empty value is empty, of a missing key `None`."""
    forms = [
        ByteRange(),
        ByteRange(0, 0),
        ByteRange(0, 5),
        ByteRange(3),
        ByteRange(-1),
        ByteRange(-4, -2),
        ByteRange(2, 1),
    ]
    with opened(opener) as store:
        store.write_many({"empty": b""})
        found = answers(store, [Request("empty", wanted) for wanted in forms])
        same(found, [b""] * len(forms), RANGES, f"{forms} of an empty value")
        found = answers(store, [Request("f/none", wanted) for wanted in forms])
        same(found, [None] * len(forms), RANGES, f"{forms} of a missing key")


@check("write")
def check_ranges_of_many_keys(opener: Opener) -> None:
    """A batch may mix keys, ranges and whole values in any order."""
    with opened(opener) as store:
        items = {f"f/{i}": bytes([i]) * 3 + VALUE * i for i in range(12)}
        store.write_many(items)
        forms = [ByteRange(1, 4), None, ByteRange(-3), ByteRange(5), ByteRange(0, 1 << 30)]
        requests = [Request(f"f/{(i * 5) % 13}", forms[i % 5]) for i in range(65)]
        for (key, wanted), found in zip(requests, answers(store, requests), strict=True):
            same(found, cut(items.get(key), wanted), RANGES, f"{wanted} of {key!r} in a mixed batch")
