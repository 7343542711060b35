"""Capabilities: what is not claimed is refused, and a read-only store only reads."""

from collections.abc import Callable
from itertools import islice

from zarrv3.errors import ReadOnlyError, UnsupportedError
from zarrv3.layers.read_only import ReadOnly
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import ByteRange, Capabilities, Limits, Request
from zarrv3.testing.checks.table import Opener, answers, check, fill, opened, values_of
from zarrv3.testing.rules import CLAIMS, RANGES, SIZES, refuses, require, same

Calls = dict[str, Callable[[BaseStore], object]]

WRITES: Calls = {
    "write_many": lambda store: store.write_many({"k": b"v"}),
    "erasing by write_many": lambda store: store.write_many({"k": None}),
    "erase_prefix": lambda store: store.erase_prefix("f/"),
    "rename_prefix": lambda store: store.rename_prefix("f/", "g/"),
    "get_versioned": lambda store: store.get_versioned(["k"]),
    "swap_many": lambda store: store.swap_many({"k": (None, b"v")}),
    "erasing by swap_many": lambda store: store.swap_many({"k": ("version", None)}),
    "apply_many": lambda store: store.apply_many({"k": b"v", "l": None}),
}
"""Every call that changes a store, and the one that prepares for it."""

NEEDS: dict[str, tuple[str, ...]] = {
    "write_many": ("write",),
    "erasing by write_many": ("erase",),
    "erase_prefix": ("erase",),
    "rename_prefix": ("write", "erase"),
    "get_versioned": ("swap",),
    "swap_many": ("swap",),
    "erasing by swap_many": ("swap", "swap_erases"),
    "apply_many": ("transactions",),
}


@check()
def check_capabilities_are_values(opener: Opener) -> None:
    """The capabilities are a `Capabilities` with positive limits, the same with every call."""
    with opened(opener) as store:
        found = store.capabilities
        require(isinstance(found, Capabilities), CLAIMS, f"capabilities is a {type(found).__name__}")
        require(isinstance(found.limits, Limits), CLAIMS, f"limits is a {type(found.limits).__name__}")
        for name in Limits.__slots__:
            most = getattr(found.limits, name)
            require(most is None or most > 0, CLAIMS, f"limits.{name} is {most}")
        same(store.capabilities, found, CLAIMS, "asked again")


@check()
def check_unclaimed_writing_is_refused(opener: Opener) -> None:
    """A call whose capability is not claimed raises `UnsupportedError` or, without `write`, `ReadOnlyError`."""
    with opened(opener) as store:
        can = store.capabilities
        for name, call in WRITES.items():
            if not all(getattr(can, need) for need in NEEDS[name]):
                with refuses(CLAIMS, f"{name} without the capability", ReadOnlyError, UnsupportedError):
                    call(store)


@check()
def check_unclaimed_listing_is_refused(opener: Opener) -> None:
    """Without `list`, listing raises `UnsupportedError`; sizes of keys can be asked for all the same."""
    with opened(opener) as store:
        if not store.capabilities.list:
            with refuses(CLAIMS, "list_prefix without the capability", UnsupportedError):
                list(store.list_prefix(""))
            with refuses(CLAIMS, "list_dir without the capability", UnsupportedError):
                list(store.list_dir(""))
            with refuses(CLAIMS, "list_sizes without the capability", UnsupportedError):
                list(store.list_sizes(""))
        same([*store.stat_many(["nothing/here"])], [None], SIZES, "stat_many of a missing key")


@check()
def check_what_is_there_reads_consistently(opener: Opener) -> None:
    """Listing, sizes, whole values and ranges of what the store holds (a read-only one too) agree with each other."""
    with opened(opener) as store:
        if not store.capabilities.list:
            same(values_of(store, "nothing/here"), [None], CLAIMS, "a missing key")
            return
        keys = list(islice(store.list_prefix(""), 50))
        sizes = dict(islice(store.list_sizes(""), 1000))
        stats = dict(zip(keys, store.stat_many(keys), strict=True))
        for key in keys:
            value, *parts = answers(
                store, [Request(key, r) for r in (None, ByteRange(1, 3), ByteRange(-2), ByteRange(0, 0))]
            )
            if value is None:
                continue  # erased since it was listed: the store may be in use
            same(parts, [value[1:3], value[-2:], b""], RANGES, f"ranges of {key!r}")
            require(len(sizes) == 1000 or key in sizes, SIZES, f"{key!r} is listed but has no size")
            same(
                (sizes.get(key, len(value)), stats[key]),
                (len(value), len(value)),
                SIZES,
                f"list_sizes and stat_many of {key!r}",
            )
            folder = key[: key.rfind("/") + 1]
            require(key in store.list_dir(folder), CLAIMS, f"{key!r} is not in list_dir({folder!r})")


@check("write")
def check_read_only_layer_only_reads(opener: Opener) -> None:
    """Through `ReadOnly`, values read as before and every change raises `ReadOnlyError` and changes nothing."""
    with opened(opener) as store:
        items = fill(store, "k", "f/a")
        shielded = ReadOnly(store)
        same(shielded.getitems(list(items)), items, CLAIMS, "read through ReadOnly")
        same(shielded.is_writeable(), False, CLAIMS, "is_writeable of ReadOnly")
        for name, call in WRITES.items():
            with refuses(CLAIMS, f"{name} through ReadOnly", ReadOnlyError):
                call(shielded)
        same(store.getitems(list(items)), items, CLAIMS, "after refused writes")
