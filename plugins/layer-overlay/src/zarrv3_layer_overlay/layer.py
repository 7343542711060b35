"""`OverlayLayer`: what is read from where, and how erasures are remembered."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from zarrv3.errors import ConfigurationError, LimitError
from zarrv3.layers.base import Layer
from zarrv3.layers.read_only import ReadOnly
from zarrv3.opening.stores import as_store
from zarrv3.options.declared import Option
from zarrv3.options.environment import Template
from zarrv3.options.urls import Url, has_scheme
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import (
    JSON,
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Limits,
    Request,
    Swaps,
    Version,
    Versioned,
    whole,
)
from zarrv3.store.helpers import BATCH, chunked, cut, digest, rename_by_copy
from zarrv3.store.keys import longest, split_prefix
from zarrv3.store.places import overlap
from zarrv3.store.values import require
from zarrv3_layer_overlay.marks import (
    ANY,
    ERASED,
    FOLDER,
    MARKS,
    SIZE,
    THROUGH,
    above,
    check_names,
    check_values,
    is_mark,
    is_reserved,
)

A = TypeVar("A")
B = TypeVar("B")

_GONE: Any = object()
"""The answer of the store on top where it says that a key is erased."""

_DOCUMENT = "zarr.json"

_BARS = re.compile(r"%((?:25)*)7C", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Below:
    """The version of a value of the base: what the value is."""

    digest: bytes


class OverlayLayer(Layer):
    """A store that shows another one, the base, wherever it holds nothing itself; adapter `|overlay:base=URL`.

    Values are written to the store that the layer lies on, and read from there if they are there, else from the base. What is
    erased is marked there too (see `marks`). The base is opened for reading only. Thread-safe; any number of processes may use
    one store with one base, as far as that store may be shared.
    """

    kind = "overlay"

    def __init__(
        self,
        store: object,
        base: Annotated[
            Any,
            Option(
                "what is shown where nothing has been changed: a URL, a path, a configuration or a store",
                takes="whatever a store is opened by",
            ),
        ],
    ) -> None:
        if isinstance(base, os.PathLike) and not isinstance(base, BaseStore):
            base = os.fspath(base)
        super().__init__(store, base=base)
        self._base: BaseStore | None = None
        self._is_apart = False
        self._is_marked = False
        for below in self.inner.stack():
            if isinstance(below, OverlayLayer):
                raise ConfigurationError(
                    "an overlay cannot lie on another one; lay the other's base over a further base instead: "
                    "`|overlay:base=BASE%7Coverlay:base=FURTHER`"
                )
        if not self._is_named_by_environment:
            self._base = self._opened()
            self._check_places(early=True)

    # ------------------------------------------------------------ the base

    @property
    def base(self) -> BaseStore:
        """The store that is shown where this one holds nothing."""
        if self._base is None:
            self._base = self._opened()
        if not self._is_apart:
            self._check_places(early=False)
        return self._base

    @property
    def _is_named_by_environment(self) -> bool:
        given = self.given_options["base"]
        return isinstance(given, Template) and not has_scheme(given)

    def _opened(self) -> BaseStore:
        # with its variables, which the base takes from the environment itself
        given = self.option("base") if self._is_named_by_environment else self.given_options["base"]
        store = as_store(given)
        return store if store.refuses_writes else ReadOnly(store)

    def _check_places(self, *, early: bool) -> None:
        """Raise where what is written on top would be written into the base, or is shown by it."""
        assert self._base is not None
        try:
            is_one = overlap(self._base, "", self.inner, "", probe=False)
        except ConfigurationError:
            if early:
                return  # a variable is not set yet: asked again when the base is used
            raise
        if is_one:
            raise ConfigurationError(
                f"the base {self._base.describe()} is what it would be laid under, lies in it or has it inside "
                f"({self.inner.describe()}); choose a place of its own for what you change"
            )
        self._is_apart = True

    def beside(self, folder: str) -> Sequence[tuple[BaseStore, str]]:
        """The base, from which values are read too."""
        return [(self.base, folder)]

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store on top, as far as what is read from the base allows; names are shorter by what marks need."""
        can, below = self.inner.capabilities, self.base.capabilities
        both = ("list", "native_ranges", "shared", "persistent", "local")
        lost = [name for name in both if not getattr(below, name)]
        can = can.without(*lost, *(["replace"] if "list" in lost else []))
        if can.limits.key_bytes is None:
            return can
        room = Limits(key_bytes=max(1, can.limits.key_bytes - len(FOLDER)))
        return replace(can, limits=can.limits.meet(room))

    def _check_keys(self, keys: Collection[str]) -> None:
        """Raise for a key that is an overlay's own, or so long that its folder could not be marked."""
        check_names(keys)
        most = self.inner.capabilities.limits.key_bytes
        if most is not None and longest(keys) > most - len(FOLDER):
            key = max(keys, key=lambda key: len(key.encode()))
            raise LimitError(
                f"key {key!r} has {len(key.encode())} bytes; on {self.inner.describe()} an overlay holds keys of at most "
                f"{most - len(FOLDER)}; use shorter node names"
            )

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        self._check_keys([request.key for request in requests])
        return self._answers(requests, lambda request: request.key, self._mine, self.base.get_many)

    def _mine(self, requests: Sequence[Request]) -> list[Any]:
        """What the store on top has of some values: `None` where it says nothing, `_GONE` where it is erased."""
        values = [*self.inner.get_many(requests)]
        asked = [*zip(requests, values, strict=True)]
        unsure = {key for (key, wanted), value in asked if wanted is not None and _may_be_mark(value, wanted)}
        if unsure:  # a piece of a mark looks like this: with as much of the value as tells
            places = [place for place, request in enumerate(requests) if request.key in unsure]
            heads = [Request(key, ByteRange(0, SIZE + 1)) for key in unsure]
            again = self.inner.get_many([*(requests[place] for place in places), *heads])
            found = dict(zip(unsure, again[len(places) :], strict=True))
            for place, value in zip(places, again, strict=False):
                head = found[requests[place].key]
                values[place] = _said(head) if head is None or is_mark(head) else value
        return [
            value if request.key in unsure else _said(value)
            for request, value in zip(requests, values, strict=True)
        ]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        self._check_keys(keys)
        return self._answers(keys, str, self._my_sizes, self.base.stat_many)

    def _my_sizes(self, keys: Sequence[str]) -> list[Any]:
        sizes: list[Any] = [*self.inner.stat_many(keys)]
        unsure = [place for place, size in enumerate(sizes) if size == SIZE]
        if unsure:
            values = self.inner.get_many(whole([keys[place] for place in unsure]))
            for place, value in zip(unsure, map(_said, values), strict=True):
                sizes[place] = len(value) if value is not None and value is not _GONE else value
        return sizes

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        self._check_keys(keys)
        return self._look(keys)[0]

    def _look(self, keys: Sequence[str]) -> tuple[list[Versioned], dict[str, Version | None]]:
        """Values with their versions, and the versions of what the store on top has there, marks too."""
        own: dict[str, Version | None] = {}

        def mine(some: Sequence[str]) -> list[Any]:
            found = [*self.inner.get_versioned(some)]
            own.update(zip(some, (version for _, version in found), strict=True))
            said = (_said(value) for value, _ in found)
            return [
                pair if now is not None and now is not _GONE else now
                for pair, now in zip(found, said, strict=True)
            ]

        def theirs(some: Sequence[str]) -> list[Versioned | None]:
            values = self.base.get_many(whole(some))
            return [None if value is None else (value, _Below(digest(value))) for value in values]

        found = self._answers(keys, str, mine, theirs)
        return [(None, None) if pair is None else pair for pair in found], own

    def _answers(
        self,
        asked: Sequence[A],
        key_of: Callable[[A], str],
        mine: Callable[[Sequence[A]], list[Any]],
        theirs: Callable[[list[A]], Sequence[B | None]],
    ) -> list[Any]:
        """What the store on top answers, and the base where that says nothing; `None` for what is missing or erased.

        Whether folders are erased is looked up last: a key that had no value on top, in a folder that is not erased by then, had
        that of the base at that moment, whatever happens meanwhile.
        """
        found = mine(asked)
        left = [place for place, answer in enumerate(found) if answer is None]
        if left:
            below = theirs([asked[place] for place in left])
            shown = {place: answer for place, answer in zip(left, below, strict=True) if answer is not None}
            hidden = self._hidden([key_of(asked[place]) for place in shown])
            again = [place for place in shown if key_of(asked[place]) in hidden]
            found = [shown.get(place) if answer is None else answer for place, answer in enumerate(found)]
            if again:
                for place, answer in zip(again, mine([asked[place] for place in again]), strict=True):
                    found[place] = answer
        return [None if answer is _GONE else answer for answer in found]

    def _has_marks(self) -> bool:
        """Whether anything was ever erased here."""
        if not self._is_marked:
            self._is_marked = self.inner.stat_many([ANY])[0] is not None
        return self._is_marked

    def _hidden(self, keys: Collection[str]) -> Collection[str]:
        """Those of some keys that lie in a folder which is erased."""
        if not keys or not self._has_marks():
            return ()
        folders = [*dict.fromkeys(folder for key in keys for folder in above(key))]
        sizes = self.inner.stat_many([folder + FOLDER for folder in folders])
        erased = {folder for folder, size in zip(folders, sizes, strict=True) if size is not None}
        return {key for key in keys if not erased.isdisjoint(above(key))} if erased else ()

    # ------------------------------------------------------------ listing

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        return (key for key, _ in self._listed(prefix, sizes=False))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return self._listed(folder, sizes=True)

    def _listed(self, prefix: str, *, sizes: bool) -> Iterator[tuple[str, int]]:
        """Keys that start with a prefix, with the sizes of their values where they are wanted."""
        known: set[str] = set()
        erased: set[str] = set()
        for key, size in self._on_top(prefix, erased, sizes=sizes or self._has_marks()):
            known.add(key)
            if size is not None:
                yield key, size
        for key, size in self._in_base(prefix, erased, sizes=sizes):
            if key not in known:
                yield key, size

    def _on_top(self, prefix: str, erased: set[str], *, sizes: bool) -> Iterator[tuple[str, int | None]]:
        """The keys of which the store on top has something to say, with their sizes; `None` for one that is erased.

        The folders that are erased are added to a set. Without sizes, which is enough where nothing was ever erased, all are 0.
        """
        folder, prefix = split_prefix(prefix)
        unsure = []
        top = self.inner.list_sizes(folder) if sizes else ((key, 0) for key in self.inner.list_prefix(prefix))
        for key, size in top:
            if is_reserved(key):
                if key.endswith(FOLDER):
                    erased.add(key.removesuffix(FOLDER))
            elif key.startswith(prefix):
                if size == SIZE:
                    unsure.append(key)
                else:
                    yield key, size
        for part in chunked(unsure, BATCH):
            for key, value in zip(part, map(_said, self.inner.get_many(whole(part))), strict=True):
                if value is not None:
                    yield key, None if value is _GONE else len(value)

    def _in_base(self, prefix: str, erased: set[str], *, sizes: bool) -> Iterator[tuple[str, int]]:
        """The keys of the base that start with a prefix and are not in an erased folder, with sizes or 0."""
        folder, prefix = split_prefix(prefix)
        base = self.base
        if self._hidden([f"{folder}x"]):
            return
        below = base.list_sizes(folder) if sizes else ((key, 0) for key in base.list_prefix(prefix))
        for key, size in below:
            if (
                key.startswith(prefix)
                and not is_reserved(key)
                and (not erased or erased.isdisjoint(above(key)))
            ):
                yield key, size

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; where something was erased, folders on top without a document are looked into."""
        top = [name for name in self.inner.list_dir(folder) if not is_reserved(name.rstrip("/"))]
        theirs = self.base.list_dir(folder)
        if not self._has_marks():
            yield from top
        else:
            keys = [name for name in top if not name.endswith("/")]
            folders = [name for name in top if name.endswith("/")]
            said = self._my_sizes([*keys, *(name + _DOCUMENT for name in folders)])
            unsaid = {key for key, size in zip(keys, said, strict=False) if size is None}
            top = [name for name in top if name not in unsaid]
            yield from (
                key for key, size in zip(keys, said, strict=False) if size is not None and size is not _GONE
            )
            for name, size in zip(folders, said[len(keys) :], strict=True):
                if (size is not None and size is not _GONE) or next(self.list_prefix(name), None) is not None:
                    yield name
            if self._hidden([f"{folder}x"]):
                return
        known = {*top}
        yield from (name for name in theirs if name not in known and not is_reserved(name.rstrip("/")))

    def changes(self, folder: str = "") -> Iterator[tuple[str, int | None, int | None]]:
        """The keys below a folder that are not simply the base's: each with the bytes of its value there, and here.

        Lists the store on top, and of the base only what is erased. A value may be the same in both.
        """
        erased: set[str] = set()
        here = dict(self._on_top(folder, erased, sizes=True))
        for part in chunked(here, BATCH):
            for key, size in zip(part, self.base.stat_many(part), strict=True):
                if not (size is None and here[key] is None):
                    yield key, size, here[key]
        if self._hidden([f"{folder}x"]):
            erased = {folder}
        outer = [one for one in erased if erased.isdisjoint({*above(one[:-1])} - {one})]
        for one in outer:
            for key, size in self.base.list_sizes(one):
                if key not in here and not is_reserved(key):
                    yield key, size, None

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        self._check_keys(changes)
        check_values(changes)
        self.inner.write_many(self._with_marks(changes))

    def apply_many(self, changes: Changes, /) -> None:
        self._check_keys(changes)
        check_values(changes)
        self.inner.apply_many(self._with_marks(changes))

    def _with_marks(self, changes: Changes) -> Changes:
        """Changes with marks in place of the values of those erased keys that the base has."""
        gone = [key for key, value in changes.items() if value is None]
        if not gone:
            return changes
        sizes = self.base.stat_many(gone)
        there = [key for key, size in zip(gone, sizes, strict=True) if size is not None]
        if there:
            self._tell_marks()
        return {**changes, **dict.fromkeys(there, ERASED)}

    def _tell_marks(self) -> None:
        """Let everybody know that there are marks, before one is made; looked up each time, since all may have been removed."""
        if self.inner.stat_many([ANY])[0] is None:
            self.inner.write_many({ANY: b""})
        self._is_marked = True

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says. A value of the base is compared by its digest, when its key has been taken hold of on top.

        That is, when the key has the mark `THROUGH`, which changes nothing for readers: who erases the folder takes it away,
        who writes the key replaces it, and the swap of either is refused.
        """
        new = {key: value for key, (_, value) in swaps.items()}
        self._check_keys(new)
        check_values(new)
        new = {**self._with_marks(new)}
        below = [key for key, (version, _) in swaps.items() if isinstance(version, _Below)]
        if below:
            self.inner.swap_many(dict.fromkeys(below, (None, THROUGH)))
        direct = {key: version for key, (version, _) in swaps.items()}
        unsure = [key for key, version in direct.items() if version is None or isinstance(version, _Below)]
        refused: list[str] = []
        if unsure:
            found, own = self._look(unsure)
            for key, (_, now) in zip(unsure, found, strict=True):
                if now != direct[key] or (now is not None and own[key] is None):
                    refused.append(key)
                direct[key] = own[key]
        wanted = {key: (version, new[key]) for key, version in direct.items() if key not in refused}
        return [*refused, *(self.inner.swap_many(wanted) if wanted else ())]

    # ------------------------------------------------------------ whole folders

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says, by one mark for all that the base has there; documents on top go first."""
        check_names([folder])
        if folder and self.base.capabilities.list and not self._is_in_base(folder):
            self.inner.erase_prefix(folder)
            return
        require(self.inner, "list")
        documents = [key for key in self._kept(folder) if key.rpartition("/")[2] == _DOCUMENT]
        for part in chunked(sorted(documents, key=lambda key: key.count("/")), BATCH):
            self.write_many(dict.fromkeys(part))  # so that none is seen with a part of its chunks
        self._tell_marks()
        self.inner.write_many({folder + FOLDER: b""})
        for part in chunked([*self._kept(folder)], BATCH):
            self.inner.write_many(dict.fromkeys(part))

    def _kept(self, folder: str) -> Iterator[str]:
        """What the store on top has below a folder, but for what says that the folder is erased."""
        own = {folder + FOLDER, ANY}
        return (key for key in self.inner.list_prefix(folder) if key not in own)

    def _is_in_base(self, folder: str) -> bool:
        return next(self.base.list_prefix(folder), None) is not None

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: in one step where the base has nothing at the source, else by copying."""
        check_names([source, target])
        if next(self.list_prefix(source), None) is None:
            return
        is_below = self._is_in_base(source)
        if source.startswith(target):
            if is_below:
                self._copy_up(source)
            if is_below or self._is_in_base(target):
                self._tell_marks()
                marks = {source + FOLDER: b""} if target else {source + FOLDER: b"", source + ANY: b""}
                self.inner.write_many(marks)  # which come to lie in the target
            self.inner.rename_prefix(source, target)
        elif not is_below and next(self.inner.list_prefix(target), None) is None:
            self.inner.rename_prefix(source, target)
        else:
            rename_by_copy(_Copied(self), source, target)
            self.erase_prefix(source)

    def _copy_up(self, folder: str) -> None:
        """Write on top what the base shows below a folder."""
        for part in chunked((key for key in self.base.list_prefix(folder) if not is_reserved(key)), BATCH):
            values = zip(part, self.get_many(whole(part)), strict=True)
            self.write_many({key: value for key, value in values if value is not None})

    # ------------------------------------------------------------ description

    def close(self) -> None:
        """Close the store on top, and the base unless it was given as a store."""
        try:
            self.inner.close()
        finally:
            if self._base is not None and not isinstance(self.given_options["base"], BaseStore):
                self._base.close()

    @classmethod
    def url_options(cls, url: Url) -> dict[str, Any]:
        """The base in `|overlay:base=URL`, which takes all that follows, or in `|overlay:?base=…`, encoded as in any query.

        What begins with a scheme is the base's URL as it is, but that `%7C` stands for the `|` before its layers; anything else
        is decoded once.
        """
        value = re.match(r"[^:]*:base=(.*)", url.text, re.DOTALL)
        if value is None:
            return super().url_options(url)
        text = value[1]
        text = _BARS.sub(_bar, text) if has_scheme(text) else unquote(text)
        return {"base": Template(text) if "${" in text else text}

    def identity(self) -> Any:
        """See `BaseStore`; with the base, however it was given."""
        return self.inner, self.base

    def spec(self) -> dict[str, JSON]:
        """See `BaseStore`; with the base's spec where that was given as a store."""
        given = self.given_options["base"]
        if not isinstance(given, BaseStore):
            return super().spec()
        inner = self.inner.spec()
        return {**inner, "layers": [*inner.get("layers", []), {"layer": self.kind, "base": given.spec()}]}


class _Copied:
    """An overlay for a helper that copies, whose sources are erased later and at once."""

    def __init__(self, overlay: OverlayLayer) -> None:
        self.capabilities = overlay.capabilities
        self.get_many = overlay.get_many
        self.list_prefix = overlay.list_prefix
        self._write = overlay.write_many

    def write_many(self, changes: Changes, /) -> None:
        """Store values, and erase nothing."""
        values = {key: value for key, value in changes.items() if value is not None}
        if values:
            self._write(values)


def _said(value: Buffer | None) -> Any:
    """What a value on top says: `None` that the base's counts, `_GONE` that it is erased."""
    if value is None or len(value) != SIZE or value not in MARKS:
        return value
    return _GONE if value == ERASED else None


def _may_be_mark(value: Buffer | None, wanted: ByteRange) -> bool:
    return value is not None and len(value) <= SIZE and any(value == cut(mark, wanted) for mark in MARKS)


def _bar(match: re.Match[str]) -> str:
    """A `|` that is percent-encoded so many times, once less."""
    return f"%{match[1][2:]}7C" if match[1] else "|"
