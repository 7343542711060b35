"""list_prefix, list_dir, list_sizes, stat_many."""

import random
from collections.abc import Iterable, Mapping, Sequence

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Request
from zarrv3.store.helpers import cut
from zarrv3.testing.checks.table import Opener, answers, check, fill, listed, opened, values_of
from zarrv3.testing.rules import (
    AGREEMENT,
    LIST_DIR,
    LIST_PREFIX,
    SIZES,
    STATS,
    NotApplicableError,
    require,
    same,
)

TREE = (
    "zarr.json", "foo/zarr.json", "foo/c/0/0", "foo/c/0/1", "foo/c/1/0", "foobar/zarr.json", "foo2/x", "Foo3/x", "foo.x",
    "grp_1/k", "grpA1/k", "grp%1/k", "grp/k", "a/b/c/d/e/f",
)  # fmt: skip
"""Keys whose texts begin alike, with the wildcards of SQL and globs among them."""

FOLDERS = sorted(
    {"", *(key[: i + 1] for key in TREE for i, letter in enumerate(key) if letter == "/"), "none/", "fo/"}
)

PREFIXES = (
    *FOLDERS, "f", "foo", "foo/c", "foo/c/0/1", "foo/c/0/1x", "fo", "grp", "grp_", "grp%", "grp_1", "z", "none", "Foo",
    "foo/z", "*", "[f]oo", "a/b/", ".",
)  # fmt: skip


@check("write", "list")
def check_list_prefix(opener: Opener) -> None:
    """`list_prefix` takes any text, a folder or not, and yields the keys that start with it, each once."""
    with opened(opener) as store:
        fill(store, *TREE)
        for prefix in PREFIXES:
            expected = sorted(key for key in TREE if key.startswith(prefix))
            same(sorted(store.list_prefix(prefix)), expected, LIST_PREFIX, f"list_prefix({prefix!r})")


@check("write", "list")
def check_list_dir(opener: Opener) -> None:
    """`list_dir` yields whole names, each once, those of folders ending in `/`; nothing for a folder that is not there."""
    with opened(opener) as store:
        fill(store, *TREE)
        for folder in FOLDERS:
            same(listed(store, folder), directly_below(TREE, folder), LIST_DIR, f"list_dir({folder!r})")
        same(listed(store, "foo/zarr.json/"), [], LIST_DIR, "list_dir of a key as if it were a folder")


def directly_below(keys: Iterable[str], folder: str) -> list[str]:
    """What `list_dir` has to yield, sorted: the slow way."""
    below = [key[len(folder) :] for key in keys if key.startswith(folder)]
    return sorted({folder + name.partition("/")[0] + name.partition("/")[1] for name in below})


@check("list")
def check_listing_nothing(opener: Opener) -> None:
    """Folders and prefixes that are not there list as empty."""
    with opened(opener) as store:
        name = "no-such-folder/"
        same(list(store.list_prefix(name)), [], LIST_PREFIX, f"list_prefix({name!r})")
        same(listed(store, name), [], LIST_DIR, f"list_dir({name!r})")
        same(list(store.list_sizes(name)), [], SIZES, f"list_sizes({name!r})")


@check("write", "erase", "list")
def check_folders_vanish_with_their_last_key(opener: Opener) -> None:
    """When the only key below a folder is erased, `list_dir` no longer shows the folder."""
    with opened(opener) as store:
        fill(store, "a/b/c/k", "a/x", "only/deep/k")
        store.delitems(["a/b/c/k", "only/deep/k"])
        same(listed(store), ["a/"], LIST_DIR, "list_dir('')")
        same(listed(store, "a/"), ["a/x"], LIST_DIR, "list_dir('a/')")
        fill(store, "a/b/c/k")
        same(listed(store, "a/b/"), ["a/b/c/"], LIST_DIR, "list_dir('a/b/') after writing again")


@check("write", "list")
def check_listing_while_reading(opener: Opener) -> None:
    """A listing may be read from between its items, and written to, without losing a key that was there."""
    with opened(opener) as store:
        items = fill(store, *(f"f/{i}" for i in range(30)))
        found = {}
        for key in store.list_prefix("f/"):
            if key in items:
                found[key] = store[key]
                store.write_many({f"g/{len(found)}": b"new", "f/0": items["f/0"]})
        same(found, items, LIST_PREFIX, "the values of a listing, read one by one while it is going on")


@check("write")
def check_sizes(opener: Opener) -> None:
    """`stat_many` and `list_sizes` tell the bytes of each value: an empty one has 0, a missing key `None` or no line."""
    rng = random.Random(1)  # noqa: S311 - incompressible, not secret
    items = {f"f/{i}": rng.randbytes(i) for i in (0, 1, 1000, 5000)} | {"foobar": b"b" * 3000, "foo/k": b"k"}
    sizes = {key: len(value) for key, value in items.items()}
    with opened(opener) as store:
        store.write_many(items)
        missing = ["none", "f/none", "f", "foo", "foo/k/x"]
        asked = [*missing[:2], *reversed(items), *missing[2:], *items]
        same([*store.stat_many(asked)], [sizes.get(key) for key in asked], SIZES, f"stat_many({asked})")
        same(
            [key for key in asked if key in store],
            [k for k in asked if k in sizes],
            SIZES,
            "the keys `in` the store",
        )
        if not store.capabilities.list:
            return
        for folder in ("", "f/", "foo/", "none/"):
            expected = sorted((key, size) for key, size in sizes.items() if key.startswith(folder))
            same(sorted(store.list_sizes(folder)), expected, SIZES, f"list_sizes({folder!r})")


@check("write")
def check_sizes_without_reading(opener: Opener) -> None:
    """`stat_many`, `in` and `list_sizes` call no `get_many` of a driver that has a `stat_many`."""
    with opened(opener) as store:
        driver = getattr(store, "driver", None)
        if driver is None or not hasattr(driver, "stat_many"):
            raise NotApplicableError("there is no driver with a method `stat_many`")
        items = fill(store, *TREE)
        read: list[str] = []
        original = driver.get_many

        def get_many(requests: Sequence[Request], /) -> Sequence[Buffer | None]:
            read.extend(key for key, _ in requests)
            return original(requests)  # type: ignore[no-any-return]

        try:
            driver.get_many = get_many
        except AttributeError:
            raise NotApplicableError("calls of this driver cannot be counted") from None
        try:
            same([*store.stat_many([*TREE, "none"])], [*map(len, items.values()), None], SIZES, "stat_many")
            same(("zarr.json" in store, "none" in store), (True, False), SIZES, "`in`")
            if store.capabilities.list:
                same(dict(store.list_sizes("")), {k: len(v) for k, v in items.items()}, SIZES, "list_sizes")
        finally:
            del driver.get_many
        require(not read, STATS, f"values were read to tell sizes: {read}")


@check("write")
def check_ways_of_reading_agree(opener: Opener) -> None:
    """Whole values, ranges, versions, sizes and listings show one state, after each way of changing it."""
    with opened(opener) as store:
        can = store.capabilities
        state: dict[str, bytes] = {}
        _agree(store, state, "of an empty store")
        changes: dict[str, bytes | None] = {
            "a": b"0123456789" * 40,
            "f/b": b"text",
            "f/c": b"",
            "f/g/d": b"x",
        }
        for turn in range(2):  # what was remembered in the first turn must not be shown in the second
            changes = {key: value and bytes(value) + b"%d" % turn for key, value in changes.items()}
            store.write_many(changes)
            _agree(store, _changed(state, changes), "after write_many")
            if can.swap:
                versions = [version for _, version in store.get_versioned(["a", "f/b", "new"])]
                changes = {
                    "a": b"swapped%d" % turn,
                    "f/b": None if can.swap_erases else b"s",
                    "new": b"n%d" % turn,
                }
                swaps = {key: (v, new) for (key, new), v in zip(changes.items(), versions, strict=True)}
                same([*store.swap_many(swaps)], [], AGREEMENT, "what of some swaps was refused")
                _agree(store, _changed(state, changes), "after swap_many")
            if can.transactions:
                changes = {"a": b"applied%d" % turn, "f/b": b"again", **({"new": None} if can.erase else {})}
                store.apply_many(changes)
                _agree(store, _changed(state, changes), "after apply_many")
            if can.erase and can.list:
                store.rename_prefix("f/", "m/o/")
                state = {f"m/o/{k[2:]}" if k.startswith("f/") else k: v for k, v in state.items()}
                _agree(store, state, "after rename_prefix")
                store.rename_prefix("m/o/", "f/")
                state = {f"f/{k[4:]}" if k.startswith("m/o/") else k: v for k, v in state.items()}
                _agree(store, state, "after renaming back")
                store.erase_prefix("f/g/")
                state.pop("f/g/d", None)
                _agree(store, state, "after erase_prefix")
            changes = {
                "a": b"0",
                "f/b": None if can.erase else b"1",
                "f/c": b"longer than before",
                "f/g/d": b"y",
            }


def _changed(state: dict[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """A state, changed in place."""
    for key, value in changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
    return state


def _agree(store: BaseStore, state: Mapping[str, bytes], what: str) -> None:
    keys = [*state, "none", "f/none", "f"]
    expected = [state.get(key) for key in keys]
    wanted = ByteRange(1, 4)
    same(values_of(store, *keys), expected, AGREEMENT, f"get_many {what}")
    same(
        answers(store, [Request(key, wanted) for key in keys]),
        [cut(value, wanted) for value in expected],
        AGREEMENT,
        f"ranges {what}",
    )
    sizes = [None if value is None else len(value) for value in expected]
    same([*store.stat_many(keys)], sizes, AGREEMENT, f"stat_many {what}")
    same([key in store for key in keys], [key in state for key in keys], AGREEMENT, f"`in` {what}")
    if store.capabilities.swap:
        try:
            found = store.get_versioned(keys)
        except TypeError as error:  # of a layer that claims what it has not thought of
            require(False, AGREEMENT, str(error))
        same(
            [None if v is None else bytes(v) for v, _ in found], expected, AGREEMENT, f"get_versioned {what}"
        )
    if store.capabilities.list:
        same(sorted(store.list_prefix("")), sorted(state), AGREEMENT, f"list_prefix {what}")
        expected_sizes = sorted((key, len(value)) for key, value in state.items())
        same(sorted(store.list_sizes("")), expected_sizes, AGREEMENT, f"list_sizes {what}")
        for folder in ("", "f/", "f/g/"):
            same(
                listed(store, folder),
                directly_below(state, folder),
                AGREEMENT,
                f"list_dir({folder!r}) {what}",
            )
