"""Erasing keys and folders, and moving folders."""

from zarrv3.errors import InvalidKeyError
from zarrv3.store.base import BaseStore
from zarrv3.testing.checks.listing import TREE
from zarrv3.testing.checks.table import Opener, check, fill, holds, listed, opened, values_of
from zarrv3.testing.rules import CLAIMS, ERASE, RENAME, ConformanceError, refuses, same

FOLDERS = ("foo/", "foo/c/", "foo/c/0/", "grp_1/", "grp%1/", "grp/", "none/", "fo/", "a/", "foo/zarr.json/")


@check("write", "erase")
def check_erasing(opener: Opener) -> None:
    """The keys given go, missing ones are fine, all others stay."""
    with opened(opener) as store:
        items = {**fill(store, *TREE)}
        gone = dict.fromkeys(["foo/c/0/0", "zarr.json", "grp_1/k", "none", "foo/none", "foo", "a/b"])
        store.write_many(gone)
        holds(store, {**items, **gone}, ERASE, f"after write_many({gone})")
        store.write_many(gone)
        store.write_many(dict.fromkeys(TREE))
        holds(store, dict.fromkeys(TREE), ERASE, "after erasing all keys")


@check("write", "erase", "list")
def check_erase_prefix(opener: Opener) -> None:
    """Everything below the folder goes, neighbours whose names begin alike stay."""
    with opened(opener) as store:
        for folder in FOLDERS:
            items = fill(store, *TREE)
            store.erase_prefix(folder)
            expected = {key: None if key.startswith(folder) else value for key, value in items.items()}
            holds(store, expected, ERASE, f"after erase_prefix({folder!r})")


@check("write", "erase", "list")
def check_erase_everything(opener: Opener) -> None:
    """`erase_prefix("")` and `"/"` erase everything, an empty store included, and the store goes on working."""
    with opened(opener) as store:
        for everything in ("", "/", ""):
            store.erase_prefix(everything)
            fill(store, *TREE)
            store.erase_prefix(everything)
            same(values_of(store, *TREE), [None] * len(TREE), ERASE, f"after erase_prefix({everything!r})")
            same(listed(store), [], ERASE, f"list_dir('') after erase_prefix({everything!r})")
        fill(store, "k")
        holds(store, {"k": b"k"}, ERASE, "written again")


@check("write", "erase", "list")
def check_rename_prefix(opener: Opener) -> None:
    """All keys below one folder move to another, deeper, higher or beside it; neighbours stay."""
    moves = (
        ("foo/", "moved/"),
        ("moved/", "very/deep/new/"),
        ("very/deep/new/c/", "c/"),
        ("grp_1/", "grp_2/"),
        ("a/b/c/", "a/x/"),
    )
    with opened(opener) as store:
        items = fill(store, *TREE)
        for source, target in moves:
            store.rename_prefix(source, target)
            items = {
                target + key[len(source) :] if key.startswith(source) else key: value
                for key, value in items.items()
            }
            _is_all(store, items, f"after rename_prefix({source!r}, {target!r})")


@check("write", "erase", "list")
def check_rename_refusals(opener: Opener) -> None:
    """Renaming into itself is refused; renaming a missing folder does nothing; neither loses anything."""
    with opened(opener) as store:
        items = fill(store, "foo/k", "foo/c/0", "bar/k")
        outwards = () if store.capabilities.replace else (("foo/c/", "foo/"), ("foo/", ""))
        for source, target in (("foo/", "foo/c/"), ("foo/", "foo/"), ("", "foo/"), *outwards):
            with refuses(RENAME, f"rename_prefix({source!r}, {target!r})", InvalidKeyError):
                store.rename_prefix(source, target)
        store.rename_prefix("none/", "new/")
        store.rename_prefix("none/at/all/", "new/one/")
        _is_all(store, items, "after renames that do nothing")
        same(listed(store, "new/"), [], RENAME, "list_dir of a target to which nothing was renamed")


@check("write", "erase", "list", "replace")
def check_replacing(opener: Opener) -> None:
    """What lies in a folder takes its place, at any depth and at the root: all else there goes, neighbours stay."""
    with opened(opener) as store:
        for source, target in (("foo/c/", "foo/"), ("foo/c/", ""), ("a/b/c/", "a/"), ("grp_1/", "")):
            items = fill(store, *TREE, f"{source}zarr.json", f"{source}new/k")
            try:
                store.rename_prefix(source, target)
            except InvalidKeyError as error:
                said = f"claims `replace`, but rename_prefix({source!r}, {target!r}) raises {error}"
                raise ConformanceError(CLAIMS, said) from error
            moved = {target + key[len(source) :]: v for key, v in items.items() if key.startswith(source)}
            kept = {key: value for key, value in items.items() if not key.startswith(target)}
            _is_all(store, kept | moved, f"after rename_prefix({source!r}, {target!r})")
            store.rename_prefix(f"{target}none/", target)
            _is_all(store, kept | moved, "after a missing folder took the place of one")
            store.erase_prefix("")


def _is_all(store: BaseStore, items: dict[str, bytes], what: str) -> None:
    same(sorted(store.list_prefix("")), sorted(items), RENAME, f"{what}: the keys")
    holds(store, {**items}, RENAME, what)
