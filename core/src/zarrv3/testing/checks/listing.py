"""list_prefix, list_dir, sizes."""

import random

from zarrv3.testing.checks.table import Opener, check, fill, opened
from zarrv3.testing.rules import LIST_DIR, LIST_PREFIX, SIZES, require, same

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
    """`list_dir` gives whole names, sorted, sub-folders ending in `/`; nothing for a folder that is not there."""
    with opened(opener) as store:
        fill(store, *TREE)
        for folder in FOLDERS:
            below = [key for key in TREE if key.startswith(folder)]
            keys = sorted(key for key in below if "/" not in key[len(folder) :])
            folders = sorted(
                {key[: key.index("/", len(folder)) + 1] for key in below if "/" in key[len(folder) :]}
            )
            found = store.list_dir(folder)
            same(([*found[0]], [*found[1]]), (keys, folders), LIST_DIR, f"list_dir({folder!r})")
        same(store.list_dir("foo/zarr.json/"), ([], []), LIST_DIR, "list_dir of a key as if it were a folder")


@check("list")
def check_listing_nothing(opener: Opener) -> None:
    """Folders and prefixes that are not there list as empty."""
    with opened(opener) as store:
        name = "no-such-folder/"
        same(list(store.list_prefix(name)), [], LIST_PREFIX, f"list_prefix({name!r})")
        same(store.list_dir(name), ([], []), LIST_DIR, f"list_dir({name!r})")
        same(list(store.sizes(name)), [], SIZES, f"sizes({name!r})")


@check("write", "erase", "list")
def check_folders_vanish_with_their_last_key(opener: Opener) -> None:
    """When the only key below a folder is erased, `list_dir` no longer shows the folder."""
    with opened(opener) as store:
        fill(store, "a/b/c/k", "a/x", "only/deep/k")
        store.erase_many(["a/b/c/k", "only/deep/k"])
        same(store.list_dir(""), ([], ["a/"]), LIST_DIR, "list_dir('')")
        same(store.list_dir("a/"), (["a/x"], []), LIST_DIR, "list_dir('a/')")
        fill(store, "a/b/c/k")
        same(store.list_dir("a/b/"), ([], ["a/b/c/"]), LIST_DIR, "list_dir('a/b/') after writing again")


@check("write", "list")
def check_listing_while_reading(opener: Opener) -> None:
    """A listing may be read from between its items, and written to, without losing a key that was there."""
    with opened(opener) as store:
        items = fill(store, *(f"f/{i}" for i in range(30)))
        found = {}
        for key in store.list_prefix("f/"):
            if key in items:
                found[key] = store[key]
                store.set_many({f"g/{len(found)}": b"new", "f/0": items["f/0"]})
        same(found, items, LIST_PREFIX, "the values of a listing, read one by one while it is going on")


@check("write")
def check_sizes(opener: Opener) -> None:
    """`sizes` of a key is what it occupies: about its length for random bytes, nothing for a missing key."""
    rng = random.Random(1)  # noqa: S311 - incompressible, not secret
    items = {f"f/{i}": rng.randbytes(i) for i in (0, 1, 1000, 5000)} | {"foobar": b"b", "foo/k": b"k"}
    with opened(opener) as store:
        store.set_many(items)
        alone = {}
        for key, value in items.items():
            found = list(store.sizes(key))
            same([name for name, _ in found], [key], SIZES, f"the keys in sizes({key!r})")
            size = alone[key] = found[0][1]
            most = len(value) * 1.2 + 512
            require(
                len(value) <= size <= most, SIZES, f"sizes({key!r}) of {len(value)} random bytes is {size}"
            )
        for key in ("none", "f/none", "f", "foo"):
            same(list(store.sizes(key)), [], SIZES, f"sizes({key!r}) of a missing key")
        if not store.capabilities.list:
            return
        for folder in ("", "f/", "foo/", "none/"):
            expected = {key: size for key, size in alone.items() if key.startswith(folder)}
            found = list(store.sizes(folder))
            same(dict(found), expected, SIZES, f"sizes({folder!r})")
            same(len(found), len(expected), SIZES, f"the number of keys in sizes({folder!r})")
