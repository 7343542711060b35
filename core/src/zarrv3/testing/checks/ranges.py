"""Parts of values."""

import threading

from zarrv3.store.contract import ByteRange, Request
from zarrv3.store.helpers import cut
from zarrv3.testing.checks.table import Opener, answers, check, opened
from zarrv3.testing.processes import threads_together
from zarrv3.testing.rules import ONE_VERSION, RANGES, require, same

VALUE = b"0123456789"
LONG = 1 << 18
"""The bytes of a value whose ends are too far apart to be read as one range."""
READS = 10
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


@check("write")
def check_ranges_of_one_version(opener: Opener) -> None:
    """While a thread replaces a value, all parts of it that a call returns are of one version; so are parts and the whole."""
    with opened(opener) as store:
        size = min(LONG, store.capabilities.limits.value_bytes or LONG)
        spans = [ByteRange(start, start + 1) for start in range(0, size - 1, size // 5)]
        batches = [
            [Request("f/k", span) for span in spans],
            [Request("f/k", span) for span in (*spans, None, ByteRange(-1))],
        ]
        store["f/k"] = bytes(size)
        done = threading.Event()

        def write() -> None:
            number = 0
            while not done.is_set():
                number = (number + 1) % 256
                store["f/k"] = bytes([number]) * size

        def read() -> None:
            try:
                for _ in range(READS):
                    for requests in batches:
                        seen = {value and value[0] for value in answers(store, requests)}
                        require(len(seen) == 1, ONE_VERSION, f"parts are of the versions {seen}")
            finally:
                done.set()

        threads_together([write, read])
