"""The conveniences of every store object: the mapping protocol and the methods of zarr-python 2's V3 stores."""

from zarrv3.errors import InvalidKeyError, KeyMissingError, NodeNotFoundError
from zarrv3.testing.checks.table import Opener, check, fill, holds, opened
from zarrv3.testing.rules import SUGAR, refuses, require, same


@check("write")
def check_item_access(opener: Opener) -> None:
    """`store[key]`, `get`, `in` and `setdefault` read and write bytes; a missing key is a `KeyError`."""
    with opened(opener) as store:
        store["f/k"] = bytearray(b"value")
        same((store["f/k"], type(store["f/k"])), (b"value", bytes), SUGAR, "store['f/k']")
        same(
            (store.get("f/k"), store.get("none"), store.get("none", b"d")),
            (b"value", None, b"d"),
            SUGAR,
            "get",
        )
        same(
            ("f/k" in store, "f" in store, "none" in store, "" in store),
            (True, False, False, False),
            SUGAR,
            "in",
        )
        same(
            (store.setdefault("f/k", b"x"), store.setdefault("new", b"x")),
            (b"value", b"x"),
            SUGAR,
            "setdefault",
        )
        with refuses(SUGAR, "store['none']", KeyMissingError):
            store["none"]


@check("write", "erase")
def check_item_deletion(opener: Opener) -> None:
    """`del`, `erase` and `pop` remove a key and raise `KeyError` for a missing one; `delitems` does not."""
    with opened(opener) as store:
        fill(store, "a", "b", "c", "f/d", "f/e")
        del store["a"]
        store.erase("b")
        same((store.pop("c"), store.pop("c", b"gone")), (b"c", b"gone"), SUGAR, "pop")
        store.delitems(["f/d", "none"])
        holds(store, {"a": None, "b": None, "c": None, "f/d": None, "f/e": b"f/e"}, SUGAR, "after deleting")
        for what in (lambda: store.__delitem__("a"), lambda: store.erase("a"), lambda: store.pop("a")):
            with refuses(SUGAR, "deleting a missing key", KeyMissingError):
                what()


@check("write", "list")
def check_mapping_views(opener: Opener) -> None:
    """`keys`, `values`, `items`, `len`, iteration and `list` show all keys, read in batches."""
    with opened(opener) as store:
        items = {f"f/{i}": b"%d" % i for i in range(150)}
        store.update(items, top=b"t")
        items["top"] = b"t"
        same(sorted(store), sorted(items), SUGAR, "iteration")
        same(
            (sorted(store.keys()), sorted(store.list())),
            (sorted(items), sorted(items)),
            SUGAR,
            "keys() and list()",
        )
        same(dict(store.items()), items, SUGAR, "items()")
        same(sorted(store.values()), sorted(items.values()), SUGAR, "values()")
        same((len(store), len(store.items())), (151, 151), SUGAR, "len")
        same([store[key] for key in store], [items[key] for key in store], SUGAR, "reading while iterating")


@check("write", "erase", "list")
def check_mapping_emptied(opener: Opener) -> None:
    """`popitem` takes any key until none is left; `clear`, also twice, erases all."""
    with opened(opener) as store:
        items = fill(store, "a", "f/b")
        same(dict([store.popitem(), store.popitem()]), items, SUGAR, "what popitem returned")
        with refuses(SUGAR, "popitem of an empty store", KeyError):
            store.popitem()
        fill(store, "zarr.json", "f/b")
        store.clear()
        store.clear()
        same(store.list(), [], SUGAR, "the keys after clear()")


@check("write")
def check_getitems(opener: Opener) -> None:
    """`getitems` returns those keys that exist, `setitems` writes them."""
    with opened(opener) as store:
        store.setitems({"a": b"1", "f/b": b"2"})
        same(store.getitems(["f/b", "none", "a", "a"]), {"f/b": b"2", "a": b"1"}, SUGAR, "getitems")
        same(store.getitems(["a"], contexts={}), {"a": b"1"}, SUGAR, "getitems with contexts")


@check("write")
def check_get_partial_values(opener: Opener) -> None:
    """`get_partial_values` takes start and length, negative starts, open and too long ones."""
    forms = [((0, 3), b"012"), ((2, None), b"23456789"), ((-3, None), b"789"), ((-3, 2), b"78"), ((-3, 3), b"789"),
             ((-2, 2), b"89"), ((-3, 9), b"789"), ((8, 9), b"89"), ((20, 3), b""), ((4, 0), b""), (None, b"0123456789")]  # fmt: skip
    with opened(opener) as store:
        store["f/k"] = b"0123456789"
        found = store.get_partial_values(
            [("f/k", wanted) for wanted, _ in forms] + [("none", (0, 1)), ("none", None)]
        )
        same(found, [*(expected for _, expected in forms), None, None], SUGAR, "get_partial_values")
        same(store.get_partial_values([]), [], SUGAR, "get_partial_values([])")
        with refuses(SUGAR, "a negative length", InvalidKeyError):
            store.get_partial_values([("f/k", (0, -1))])


@check("write")
def check_set_partial_values(opener: Opener) -> None:
    """`set_partial_values` writes pieces inside and at the end; a gap is an error and changes nothing."""
    with opened(opener) as store:
        store["f/k"] = b"0123456789"
        store.set_partial_values(
            [("f/k", 2, b"ab"), ("f/k", 3, b"X"), ("f/k", 10, b"+"), ("new", 0, b"ne"), ("new", 2, b"w")]
        )
        holds(store, {"f/k": b"01aX456789+", "new": b"new"}, SUGAR, "after writing pieces")
        store.set_partial_values([("f/k", -3, b"tail"), ("new", 0, memoryview(b"N"))])
        holds(store, {"f/k": b"01aX4567tail", "new": b"New"}, SUGAR, "after a negative start")
        store.set_partial_values([])
        for key, start in (("f/k", 13), ("f/k", -13), ("none", 1), ("none", -1)):
            with refuses(SUGAR, f"a piece at {start} of {key!r}", InvalidKeyError):
                store.set_partial_values([(key, start, b"x")])
        holds(store, {"f/k": b"01aX4567tail", "new": b"New", "none": None}, SUGAR, "after refused pieces")


@check("write", "list")
def check_sizes_and_names(opener: Opener) -> None:
    """`getsize` sums below a path without its neighbours, `listdir` names what is directly below."""
    with opened(opener) as store:
        fill(store, "zarr.json", "foo/zarr.json", "foo/c/0", "foobar/zarr.json", "foo2/x")
        sizes = dict(store.list_sizes(""))
        below = sizes["foo/zarr.json"] + sizes["foo/c/0"]
        same((store.getsize("foo"), store.getsize("/foo/")), (below, below), SUGAR, "getsize('foo')")
        same(
            (store.getsize(), store.getsize("zarr.json")),
            (sum(sizes.values()), sizes["zarr.json"]),
            SUGAR,
            "getsize",
        )
        same((store.getsize("none"), store.getsize("fo")), (0, 0), SUGAR, "getsize of nothing")
        same(store.listdir(), ["foo", "foo2", "foobar", "zarr.json"], SUGAR, "listdir()")
        same(
            (store.listdir("foo"), store.listdir("none")), (["c", "zarr.json"], []), SUGAR, "listdir of paths"
        )


@check("write", "erase", "list")
def check_rmdir_and_rename(opener: Opener) -> None:
    """`rmdir` removes a node alone, `rename` moves it; missing, taken and nested paths are errors for `rename`."""
    with opened(opener) as store:
        items = fill(store, "zarr.json", "foo/zarr.json", "foo/c/0", "foobar/x", "grp_1/x", "grpA1/x")
        store.rmdir("grp_1")
        store.rmdir("none")
        store.rename("foo", "new/place")
        expected = {"grp_1/x": None, "grpA1/x": b"grpA1/x", "foobar/x": b"foobar/x", "foo/c/0": None}
        expected |= {"new/place/zarr.json": items["foo/zarr.json"], "new/place/c/0": items["foo/c/0"]}
        holds(store, expected, SUGAR, "after rmdir and rename")
        with refuses(SUGAR, "renaming what is not there", NodeNotFoundError):
            store.rename("none", "other")
        for source, target in (("foobar", "grpA1"), ("foobar", "foobar/x"), ("foobar", "foobar")):
            with refuses(SUGAR, f"rename({source!r}, {target!r})", InvalidKeyError):
                store.rename(source, target)
        holds(store, expected, SUGAR, "after refused renames")
        store.rmdir()
        same(store.list(), [], SUGAR, "the keys after rmdir('')")


@check()
def check_what_it_says_it_can(opener: Opener) -> None:
    """`is_writeable` and its like say what the capabilities say."""
    with opened(opener) as store:
        can = store.capabilities
        said = (store.is_readable(), store.is_writeable(), store.is_erasable(), store.is_listable())
        same(
            said,
            (True, can.write, can.erase, can.list),
            SUGAR,
            "is_readable, is_writeable, is_erasable, is_listable",
        )
        same(
            store.supports_efficient_get_partial_values,
            can.native_ranges,
            SUGAR,
            "supports_efficient_get_partial_values",
        )
        require(
            store.supports_efficient_set_partial_values() is False,
            SUGAR,
            "supports_efficient_set_partial_values()",
        )
