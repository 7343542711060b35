"""Odd, long and refused keys."""

from typing import Any

from zarrv3.errors import InvalidKeyError, LimitError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import whole
from zarrv3.testing.checks.claims import NEEDS, Calls
from zarrv3.testing.checks.table import Opener, check, fill, holds, opened, values_of
from zarrv3.testing.rules import (
    KEYS,
    LIMITS,
    REFUSED_KEYS,
    NotApplicableError,
    refuses,
    require,
    same,
)

UNICODE = ["é/ü", "日本/語", "emoji/🦓", "ß", "Ω/ω", "ı", "a\u0308bc", "עברית", "\u200dzwj", "e\u0301"]

ODD = [
    "a b/c d", " leading", "trailing ", "a.b", "a..b", "...", ".hidden", "dots./x", "a-b+c=d", "per%cent", "%2Fslash", "a%",
    "star*", "what?", "[set]", "{brace}", "under_score", "underXscore", "a:b", "c:/d", "a;b", "a&b=c", "a#b", "a@b", "~", "$x",
    "quote'", 'quote"', "back`tick", "<tag>", "a|b", "a,b", "!x", "^", "(p)", "con", "nul.txt", "c/0/0", "__init__", "-dash",
    "tab\there", "new\nline", "\x7f", "\x01", "back\\slash", "a\\..\\b", "\\", "0", "None", "x" * 200,
]  # fmt: skip
"""Keys with characters that mean something to a shell, SQL, a glob, a URL, a file system or a server."""

MAY_BE_REFUSED = {"\\", "\t", "\n", "\x7f", "\x01", ":", "|", "<", ">", "?", "*", '"', "con", "nul", " ", "."}
"""What Windows and others cannot hold: a store may refuse keys with these cleanly, but never confuse two."""

REFUSED: list[Any] = [
    "", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/.", "a/../b", "a/./b", "data/../../evil",
    "nul\0", "\0", "a/\0/b", "sur\ud800rogate", "\udcff", None, 7, b"bytes", ("a",), ["a"],
]  # fmt: skip
"""What is not a key."""

REFUSED_FOLDERS: list[Any] = [
    "a",
    "/a/",
    "a//",
    "../",
    "./",
    "a/../",
    "a/../../",
    "//",
    "nul\0/",
    "\ud800/",
    None,
    7,
    b"a/",
    ["a"],
]
"""What is not a folder."""

REFUSED_PREFIXES: list[Any] = ["/", "/a", "a//", "a//b", "../", "../a", "a/../b", "./", "\0/", None, 7, b"a"]
"""What no key can start with."""


@check("write")
def check_unicode_keys(opener: Opener) -> None:
    """Keys are Unicode, stored exactly as they are given."""
    _keeps_apart(opener, UNICODE)


@check("write")
def check_odd_keys(opener: Opener) -> None:
    """Keys with spaces, dots, wildcards, quotes and the like are keys; what a backend cannot hold it refuses cleanly."""
    _keeps_apart(opener, ODD)


@check("write")
def check_case_matters(opener: Opener) -> None:
    """`foo` and `Foo` are different keys, or the second one is refused; they are never mixed up."""
    with opened(opener) as store:
        stored: dict[str, bytes | None] = {}
        for key in ("foo", "Foo", "dir/x", "Dir/x", "DIR/X", "straße", "STRASSE"):
            try:
                fill(store, key)
                stored[key] = key.encode()
            except (InvalidKeyError, LimitError):
                stored[key] = None
        holds(store, stored, KEYS, "keys that differ in case")
        if store.capabilities.erase and stored["Foo"] is not None:
            store.delitems(["Foo", "Dir/x"])
            stored.update({"Foo": None, "Dir/x": None})
            holds(store, stored, KEYS, "after erasing 'Foo' and 'Dir/x'")


@check("write")
def check_long_keys(opener: Opener) -> None:
    """Long names and deep hierarchies work up to `limits.key_bytes`; beyond it, writing raises `LimitError`."""
    with opened(opener) as store:
        most = store.capabilities.limits.key_bytes
        part, deep = "n" * 200, "/".join("d" * 9 for _ in range(100))
        keys = [key for key in (part, f"m{part[1:]}/{part}", deep) if most is None or len(key) <= most]
        items = fill(store, *keys)
        holds(store, {**items}, KEYS, "long keys")
        if most is None:
            return
        if most > 1 << 20:
            raise NotApplicableError("keys may be longer than 1 MiB")
        longest = _of_length(most)
        fill(store, longest)
        holds(store, {longest: longest.encode()}, LIMITS, f"a key of {most} bytes")
        for key in (_of_length(most + 1), "é" + _of_length(most - 1)):
            with refuses(LIMITS, f"writing a key of {most + 1} bytes", LimitError):
                store.write_many({key: b"v"})
            with refuses(LIMITS, f"reading a key of {most + 1} bytes", LimitError):
                store.get_many(whole([key]))


@check("write")
def check_value_above_a_key(opener: Opener) -> None:
    """A key below another key (`a`, `a/b`) is kept or refused; the first value stays."""
    with opened(opener) as store:
        for first, second in (("a", "a/b"), ("c/d/e", "c/d"), ("f", "f/g/h")):
            fill(store, first)
            try:
                fill(store, second)
                expected: bytes | None = second.encode()
            except InvalidKeyError:
                expected = None
            holds(store, {first: first.encode(), second: expected}, KEYS, f"{first!r} and {second!r}")


@check()
def check_refused_keys(opener: Opener) -> None:
    """What is not a key raises `InvalidKeyError` from every method and changes nothing."""
    with opened(opener) as store:
        can = store.capabilities
        for key in REFUSED:
            with refuses(REFUSED_KEYS, f"get_many of {key!r}", InvalidKeyError):
                store.get_many(whole(["fine", key]))
            with refuses(REFUSED_KEYS, f"stat_many of {key!r}", InvalidKeyError):
                store.stat_many(["fine", key])
            if can.swap:
                with refuses(REFUSED_KEYS, f"get_versioned of {key!r}", InvalidKeyError):
                    store.get_versioned(["fine", key])
            if isinstance(key, list):
                continue
            for name, call in _changes(key).items():
                if all(getattr(can, need) for need in NEEDS[name]):
                    with refuses(REFUSED_KEYS, f"{name} of {key!r}", InvalidKeyError):
                        call(store)
        if can.write and can.list:
            same(list(store.list_prefix("")), [], REFUSED_KEYS, "what refused writes have left")


def _changes(key: Any) -> Calls:
    return {
        "write_many": lambda store: store.write_many({key: b"v"}),
        "erasing by write_many": lambda store: store.write_many({key: None}),
        "swap_many": lambda store: store.swap_many({key: (None, b"v")}),
        "apply_many": lambda store: store.apply_many({key: b"v"}),
    }


@check("write")
def check_one_refused_key_refuses_the_batch(opener: Opener) -> None:
    """A batch in which one text is not a key changes nothing at all."""
    with opened(opener) as store:
        fill(store, "k")
        with refuses(REFUSED_KEYS, "a batch with '..' in it", InvalidKeyError):
            store.write_many({"k": b"new", "other": b"new", "a/../b": b"new"})
        holds(store, {"k": b"k", "other": None}, REFUSED_KEYS, "after a refused batch")
        if store.capabilities.erase:
            with refuses(REFUSED_KEYS, "erasing a batch with '..' in it", InvalidKeyError):
                store.delitems(["k", "../k"])
            holds(store, {"k": b"k"}, REFUSED_KEYS, "after a refused batch")
        if store.capabilities.swap:
            version = store.get_versioned(["k"])[0][1]
            with refuses(REFUSED_KEYS, "swapping a batch with '..' in it", InvalidKeyError):
                store.swap_many({"k": (version, b"new"), "other": (None, b"new"), "../k": (None, b"new")})
            holds(store, {"k": b"k", "other": None}, REFUSED_KEYS, "after refused swaps")


@check()
def check_refused_folders(opener: Opener) -> None:
    """What is not a folder raises `InvalidKeyError` from every method that takes one."""
    with opened(opener) as store:
        can = store.capabilities
        for folder in REFUSED_FOLDERS:
            if can.list:
                with refuses(REFUSED_KEYS, f"list_dir of {folder!r}", InvalidKeyError):
                    list(store.list_dir(folder))
                with refuses(REFUSED_KEYS, f"list_sizes of {folder!r}", InvalidKeyError):
                    list(store.list_sizes(folder))
            if can.erase:
                with refuses(REFUSED_KEYS, f"erase_prefix of {folder!r}", InvalidKeyError):
                    store.erase_prefix(folder)
            if can.erase and can.write:
                with refuses(REFUSED_KEYS, f"rename_prefix from {folder!r}", InvalidKeyError):
                    store.rename_prefix(folder, "b/")
                with refuses(REFUSED_KEYS, f"rename_prefix to {folder!r}", InvalidKeyError):
                    store.rename_prefix("b/", folder)


@check("list")
def check_refused_prefixes(opener: Opener) -> None:
    """A prefix that no key can start with raises `InvalidKeyError` from `list_prefix`."""
    with opened(opener) as store:
        for prefix in REFUSED_PREFIXES:
            with refuses(REFUSED_KEYS, f"list_prefix of {prefix!r}", InvalidKeyError):
                list(store.list_prefix(prefix))


def _keeps_apart(opener: Opener, keys: list[str]) -> None:
    """Every key is stored with its own value, listed as it is and erased alone, or refused."""
    with opened(opener) as store:
        stored = {key: key.encode() for key in keys if _fits(store, key)}
        holds(store, {**dict.fromkeys(keys), **stored}, KEYS, "odd keys side by side")
        if store.capabilities.list:
            same(sorted(store.list_prefix("")), sorted(stored), KEYS, "the keys as they are listed")
            names = {*store.list_dir("")}
            sizes = dict(store.list_sizes(""))
            for key, value in stored.items():
                head, slash, _ = key.partition("/")
                require(head + slash in names, KEYS, f"{head + slash!r} is not in list_dir('')")
                require(
                    key in list(store.list_prefix(key)),
                    KEYS,
                    f"list_prefix({key!r}) does not yield the key itself",
                )
                same(
                    (sizes.get(key), *store.stat_many([key])),
                    (len(value), len(value)),
                    KEYS,
                    f"list_sizes and stat_many of {key!r}",
                )
        if store.capabilities.erase:
            for key in list(stored)[::2]:
                store.delitems([key])
                del stored[key]
            found = dict(zip(keys, values_of(store, *keys), strict=True))
            same(
                {k: v for k, v in found.items() if v is not None},
                stored,
                KEYS,
                "after erasing every other key",
            )


def _fits(store: BaseStore, key: str) -> bool:
    try:
        store.write_many({key: key.encode()})
    except (InvalidKeyError, LimitError) as error:
        allowed = (
            isinstance(error, LimitError) or any(what in key for what in MAY_BE_REFUSED) or not key.isascii()
        )
        require(allowed, KEYS, f"{key!r} was refused: {error}")
        return False
    return True


def _of_length(length: int) -> str:
    """A key of so many bytes whose parts have at most 100."""
    key = "/".join("k" * 100 for _ in range(length // 101 + 1))[:length]
    return f"{key[:-1]}k" if key.endswith("/") else key
