"""`diff`: what is different in two hierarchies, or in an overlay and what it lies over."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from zarrv3.errors import ConfigurationError
from zarrv3.hierarchy.nodes import DOCUMENT, folder_of, missing
from zarrv3.opening.stores import StoreLike
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import whole
from zarrv3.store.helpers import BATCH, chunked, split
from zarrv3_tools.locations import placed

Kind: TypeAlias = Literal["added", "changed", "erased"]

BYTES = 1 << 24
"""How many bytes of values are read at once from each of the two, if a single value is not larger."""


@runtime_checkable
class Overlay(Protocol):
    """A layer that knows what is different in it from a store beside it."""

    def changes(self, folder: str, /) -> Iterator[tuple[str, int | None, int | None]]:
        """The keys below a folder whose values may differ: with the bytes there and here."""


class KeyChange(NamedTuple):
    """One key whose value is different."""

    kind: Kind
    key: str
    """Below the node that was compared."""
    before: int | None
    """The bytes of its value; `None` where there is none."""
    now: int | None


@dataclass(frozen=True, kw_only=True)
class NodeChange:
    """One node of which something is different. Immutable."""

    path: str | None
    """Below the node that was compared; `None` for keys that belong to no node."""
    kind: Kind
    document: bool
    """Whether its document is different."""
    added: int
    """How many of its other keys, which are chunks, were added."""
    changed: int
    erased: int
    before: int
    """The bytes of all those values, documents too."""
    now: int


@dataclass(frozen=True, kw_only=True)
class DiffReport:
    """What is different; false if nothing is. Immutable."""

    nodes: tuple[NodeChange, ...]
    """Sorted by path."""
    keys: tuple[KeyChange, ...]
    """Sorted by key."""

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.keys)


def diff(old: StoreLike, new: StoreLike = None, *, path: str = "", new_path: str | None = None) -> DiffReport:
    """Tell what was added, changed and erased between two hierarchies, or in an overlay.

    Values of one length are read and compared, some at a time; documents that mean the same are the same, however they are
    written. Of two stores, all keys and sizes are listed; those of the first are kept in memory. Of an overlay, only what it holds
    itself is looked at. Nothing is written.

    Args:
        old: anything that `open_store` takes, or an open node.
        new: what it is compared with; without it, `old` is an overlay, which is compared with its base.
        path: the node to compare, with all below it.
        new_path: where that is in `new`, if it is elsewhere.

    Raises `ConfigurationError` for one store that is not an overlay, `NodeNotFoundError` where nothing is at a path, and `UnsupportedError` where keys cannot be listed.
    """
    if new is None:
        with placed(old, path) as (store, top):
            overlay = _overlay(store, folder_of(top))
            if overlay is None:
                raise ConfigurationError(
                    f"{store.describe()} is not an overlay; name the hierarchy to compare it with"
                )
            layer, folder = overlay
            ((base, there),) = layer.beside(folder)
            below = ((key[len(folder) :], before, now) for key, before, now in layer.changes(folder))  # type: ignore[attr-defined]
            return _report(_Side(base, there), _Side(layer, folder), below)
    with (
        placed(old, path) as (one, here),
        placed(new, path if new_path is None else new_path) as (other, there),
    ):
        sides = _Side(one, folder_of(here)), _Side(other, folder_of(there))
        for side, top in zip(sides, (here, there), strict=True):
            if next(side.sizes(), None) is None:
                raise missing(side.store, top)
        return _report(*sides, _candidates(*sides))


class _Side(NamedTuple):
    """A folder of a store, with keys that start there."""

    store: BaseStore
    folder: str

    def sizes(self) -> Iterator[tuple[str, int]]:
        """All keys with the bytes of their values."""
        skip = len(self.folder)
        return ((key[skip:], size) for key, size in self.store.list_sizes(self.folder))

    def values(self, keys: Iterable[str]) -> list[bytes | None]:
        """The values of some keys."""
        found = self.store.get_many(whole(self.folder + key for key in keys))
        return [None if value is None else bytes(value) for value in found]

    def has(self, keys: list[str]) -> list[bool]:
        """Whether keys are there."""
        return [size is not None for size in self.store.stat_many([self.folder + key for key in keys])]


def _overlay(store: BaseStore, folder: str) -> tuple[BaseStore, str] | None:
    """The outermost overlay of a stack, and where a folder lies in it."""
    while not isinstance(store, Overlay):
        below, folder = store.below(folder)
        if below is store:
            return None
        store = below
    return store, folder


def _candidates(old: _Side, new: _Side) -> Iterator[tuple[str, int | None, int | None]]:
    before = dict(old.sizes())
    for key, now in new.sizes():
        yield key, before.pop(key, None), now
    for key, size in before.items():
        yield key, size, None


def _report(old: _Side, new: _Side, below: Iterable[tuple[str, int | None, int | None]]) -> DiffReport:
    changes = sorted(_changes(old, new, below), key=lambda change: change.key)
    places = _places(old, new, [change.key for change in changes])
    groups: dict[str | None, list[KeyChange]] = {}
    for change in changes:
        groups.setdefault(places[change.key], []).append(change)
    nodes = [_node(path, group) for path, group in groups.items()]
    return DiffReport(
        nodes=tuple(sorted(nodes, key=lambda node: (node.path is None, node.path or ""))), keys=tuple(changes)
    )


def _changes(
    old: _Side, new: _Side, below: Iterable[tuple[str, int | None, int | None]]
) -> Iterator[KeyChange]:
    """Those of some keys whose values differ."""
    equal: list[tuple[str, int]] = []
    for key, before, now in below:
        if before is None:
            yield KeyChange("added", key, None, now)
        elif now is None:
            yield KeyChange("erased", key, before, None)
        elif before == now or _is_document(key):
            equal.append((key, max(before, now)))
        else:
            yield KeyChange("changed", key, before, now)
    for part in split(equal, int, BATCH, BYTES):
        for key, one, other in zip(part, old.values(part), new.values(part), strict=True):
            if one != other and not (_is_document(key) and _means(one) == _means(other)):
                kind: Kind = "added" if one is None else "erased" if other is None else "changed"
                sizes = (None if value is None else len(value) for value in (one, other))
                yield KeyChange(kind, key, *sizes)


def _is_document(key: str) -> bool:
    return key.rpartition("/")[2] == DOCUMENT


def _means(value: bytes | None) -> object:
    """What a document says, or its bytes if it is none."""
    try:
        return value if value is None else json.dumps(json.loads(value), sort_keys=True)
    except (ValueError, RecursionError):
        return value


def _places(old: _Side, new: _Side, keys: list[str]) -> dict[str, str | None]:
    """For each key, the path of the innermost node that it lies in, on either side."""
    above = {key: _folders(key) for key in keys}
    nodes: set[str] = set()
    for part in chunked(dict.fromkeys(folder for folders in above.values() for folder in folders), BATCH):
        documents = [folder + DOCUMENT for folder in part]
        known = zip(part, old.has(documents), new.has(documents), strict=True)
        nodes |= {folder for folder, is_old, is_new in known if is_old or is_new}
    inner = {
        key: next((folder for folder in folders if folder in nodes), None) for key, folders in above.items()
    }
    return {key: None if folder is None else folder.rstrip("/") for key, folder in inner.items()}


def _folders(key: str) -> list[str]:
    """The folders that a key lies in, the innermost first."""
    parts = key.split("/")[:-1]
    return ["".join(f"{part}/" for part in islice(parts, end)) for end in range(len(parts), -1, -1)]


def _node(path: str | None, group: list[KeyChange]) -> NodeChange:
    document = next((change for change in group if change.key == folder_of(path or "") + DOCUMENT), None)
    counts = Counter(change.kind for change in group if change is not document)
    return NodeChange(
        path=path,
        kind="changed" if document is None else document.kind,
        document=document is not None,
        added=counts["added"],
        changed=counts["changed"],
        erased=counts["erased"],
        before=sum(change.before or 0 for change in group),
        now=sum(change.now or 0 for change in group),
    )
