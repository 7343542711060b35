"""Nodes in stores: finding, creating and changing the documents `zarr.json` of a hierarchy."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain, islice
from typing import ClassVar, TypeAlias, TypeVar

from zarrv3.errors import (
    MetadataError,
    NodeExistsError,
    NodeNameError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    StaleMetadataWarning,
    UnsupportedError,
    ZarrError,
)
from zarrv3.forks import Lock
from zarrv3.format.documents import dump_document
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata, Known, metadata_of, parse_document
from zarrv3.format.node_names import normalize_path
from zarrv3.hierarchy import belongings
from zarrv3.opening import hooks
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, whole

Metadata: TypeAlias = ArrayMetadata | GroupMetadata
M = TypeVar("M", ArrayMetadata, GroupMetadata)

DOCUMENT = belongings.DOCUMENT

_DEPTH, _WIDTH, _SHOWN = 4, 1000, 3
"""How far below a place where there is no node others are looked for, and how many of them are named."""


def folder_of(path: str) -> str:
    """The folder of a node's keys."""
    return f"{path}/" if path else ""


def document_key(path: str) -> str:
    """The key of a node's document."""
    return folder_of(path) + DOCUMENT


def path_of(key: str) -> str:
    """The path of the node that a document's key belongs to."""
    return key.removesuffix(DOCUMENT).rstrip("/")


def where(store: BaseStore, path: str) -> str:
    """How errors name a node."""
    return f"/{path} in {store.describe()}"


def named(store: BaseStore, path: str) -> str:
    """How errors name a node's document."""
    return f"{document_key(path)!r} in {store.describe()}"


# ---------------------------------------------------------------- finding


def find(store: BaseStore, path: str) -> Metadata | None:
    """The metadata of the node at a path, `None` when there is none."""
    return find_many(store, [path])[0]


def find_many(store: BaseStore, paths: Sequence[str]) -> list[Metadata | None]:
    """The metadata of several nodes, in one call to the store."""
    found = look(store, paths)
    for error in found:
        if isinstance(error, MetadataError):
            raise error
    return found  # type: ignore[return-value]  # no errors any more


def look(store: BaseStore, paths: Sequence[str]) -> list[Metadata | MetadataError | None]:
    """As `find_many`, but with the error in place of an unreadable document."""
    if not paths:
        return []
    keys = [*map(document_key, paths)]
    recorded = [*map(store.snapshot, keys)]
    if recorded.count(None) == len(keys):
        return _parsed(store, paths, store.get_many(whole(keys)))
    asked = [key for key, document in zip(keys, recorded, strict=True) if document is None]
    read = iter(store.get_many(whole(asked)) if asked else ())
    return _parsed(store, paths, [next(read) if document is None else document for document in recorded])


def _parsed(
    store: BaseStore, paths: Sequence[str], documents: Sequence[Buffer | Mapping[str, JSON] | None]
) -> list[Metadata | MetadataError | None]:
    found: list[Metadata | MetadataError | None] = []
    place, known = store.describe(), Known()
    for path, document in zip(paths, documents, strict=True):
        try:
            found.append(None if document is None else parsed(store, path, document, place, known))
        except MetadataError as error:
            found.append(error)
    return found


def exists(store: BaseStore, path: str) -> bool:
    """Whether a node is there, readable or not."""
    return store.stat_many([document_key(path)])[0] is not None


def get(store: BaseStore, path: str, wanted: type[M]) -> M:
    """The metadata of an array or of a group; raises `NodeNotFoundError` or `NodeTypeError` when there is none."""
    return checked(store, path, find(store, path), wanted)


def checked(store: BaseStore, path: str, metadata: Metadata | None, wanted: type[M]) -> M:
    """Metadata that were found at a path if they are of the wanted kind; see `get`."""
    if metadata is None:
        raise missing(store, path, wanted.node_type)
    if not isinstance(metadata, wanted):
        raise NodeTypeError(f"{where(store, path)} is {_a(metadata)}, not {_a(wanted)}")
    return metadata


def missing(store: BaseStore, path: str, noun: str = "node") -> NodeNotFoundError:
    """The error that there is no node at a path, saying what else is there."""
    return NodeNotFoundError(f"there is no {noun} at {where(store, path)}{_advice(store, path)}")


def names(store: BaseStore, path: str) -> list[str]:
    """The names of the nodes directly below a group, sorted; their documents are not looked into."""
    below = folders(store, path)
    sizes = store.stat_many([document_key(folder_of(path) + name) for name in below])
    return [name for name, size in zip(below, sizes, strict=True) if size is not None]


def children(store: BaseStore, path: str) -> Iterator[tuple[str, Metadata | MetadataError]]:
    """The nodes directly below a group with their names, sorted: one listing, one read of all documents."""
    below = folders(store, path)
    found = look(store, [folder_of(path) + name for name in below])
    for name, metadata in zip(below, found, strict=True):
        if metadata is not None:
            yield name, metadata


def folders(store: BaseStore, path: str, most: int | None = None) -> list[str]:
    """The names of the folders directly below a group that may be nodes, sorted; of the first `most` keys and folders, if given."""
    folder = folder_of(path)
    found = (name[len(folder) : -1] for name in islice(store.list_dir(folder), most) if name.endswith("/"))
    return sorted(name for name in found if is_path(name))


def is_path(text: object) -> bool:
    """Whether something is the path of a node below another, as it is spelled here."""
    try:
        return text != "" and normalize_path(text) == text  # type: ignore[arg-type]  # the check is there
    except NodeNameError:
        return False


def parsed(
    store: BaseStore,
    path: str,
    document: Buffer | Mapping[str, JSON],
    place: str | None = None,
    known: Known | None = None,
) -> Metadata:
    """The metadata in a node's document; a `MetadataError` names its key and the store, which is described by `place`.

    Documents that are read together share what is `known`.
    """
    source = f"{document_key(path)!r} in {place or store.describe()}"
    if isinstance(document, Mapping):
        return metadata_of(document, source=source, known=known)
    try:
        return parse_document(document, source=source, known=known)
    except MetadataError as error:
        if advice := _foreign(store, path, document):
            raise type(error)(f"{error}{advice}") from error
        raise


def _advice(store: BaseStore, path: str) -> str:
    """What to do about a node that is not there, if something else is."""
    [root], [marks] = belongings.read_with_marks(store, [DOCUMENT], [path])
    if what := belongings.other_format(store, path, marks):
        return f"; {what}{_recognised(store, path)}"
    if root is not None and path and (advice := _foreign(store, path, root)):
        return advice
    return _recognised(store, path) or ("" if path else _deeper(store, path))


def _foreign(store: BaseStore, path: str, document: Buffer) -> str:
    """What to do about a document that is not a Zarr V3 document."""
    try:
        version = json.loads(bytes(document)).get("zarr_format")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if version == 3:
        return ""
    known = _recognised(store, path)
    if isinstance(version, str) and "/core/3.0" in version:
        what = "; this is the draft V3 format of zarr-python 2"
        return what + (known or ": pip install zarrv3-layer-draft-v3, then add '|draft-v3:'")
    return known


def _recognised(store: BaseStore, path: str) -> str:
    for adapter in hooks.call_each("zarrv3_recognise", store=store, path=path):
        if "://" in adapter:
            return f"; what is there opens as {adapter!r}, or with auto=True"
        return f"; to open what is there add '|{adapter}' to the store's URL, or pass auto=True"
    return ""


def _deeper(store: BaseStore, path: str) -> str:
    """What to do where a node was looked for above its folder, as in an archive of a whole folder."""
    for _ in range(_DEPTH if store.capabilities.list else 0):
        folder = folder_of(path)
        found = store.list_dir(folder)
        first = next(found, None)
        if first is None and not path:
            return ", where nothing is stored at all"
        below = [*islice((name for name in chain([first or ""], found) if name.endswith("/")), _WIDTH)]
        paths = [name[:-1] for name in below if is_path(name[:-1])]
        sizes = store.stat_many([document_key(inner) for inner in paths])
        if nodes := sorted(inner for inner, size in zip(paths, sizes, strict=True) if size is not None):
            more = ", …" if len(nodes) > _SHOWN else ""
            return f"; nodes are at path={' or '.join(map(repr, nodes[:_SHOWN]))}{more}"
        [path] = paths if len(paths) == 1 else [""]
        if not path or (known := _recognised(store, path)):
            return known if path else ""
    return ""


# ---------------------------------------------------------------- creating and erasing


def create(store: BaseStore, path: str, metadata: Metadata, *, overwrite: bool = False) -> None:
    """Store the document of a new node, after those of groups that are missing above it.

    Raises `NodeExistsError` when a node is there and `overwrite` is false; with it, whatever is at the path is erased
    first. Raises `NodeTypeError` when an array lies above it.
    """
    create_many(store, {path: metadata}, overwrite=overwrite)


def create_many(store: BaseStore, nodes: Mapping[str, Metadata], *, overwrite: bool = False) -> None:
    """Store the documents of several new nodes, and of groups that are missing above them, in one batch if possible.

    Everything is checked before anything is changed. Warns where consolidated metadata have become stale.
    """
    if not store.capabilities.write:
        raise ReadOnlyError(f"cannot create {where(store, next(iter(nodes), ''))}: the store is read-only")
    parents = sorted({parent for path in nodes for parent in _ancestors(path)})
    above = [path for path in parents if path not in nodes]
    kept = above if overwrite else [*above, *nodes]
    found = _look_for_all(store, [*above, *nodes], kept)
    _check_above(store, {path: nodes.get(path, found[path]) for path in parents})
    for path in nodes:
        _check_free(store, path, found[path], overwrite=overwrite)
    documents = {document_key(path): dump_document(metadata.document) for path, metadata in nodes.items()}
    for path in nodes if overwrite and store.capabilities.erase else ():
        if not any(parent in nodes for parent in _ancestors(path)):
            erase(store, path)
    for path in [path for path in above if found[path] is None]:
        _create_group(store, path)
    if overwrite or not store.capabilities.swap:
        store.write_many(documents)
    else:
        for key in store.swap_many({key: (None, document) for key, document in documents.items()}):
            raise NodeExistsError(f"a node at {where(store, path_of(key))} was created meanwhile")
    for path in above:
        if _is_consolidated(found[path]):
            warn_stale(store, path, "a node was created below")


def _look_for_all(
    store: BaseStore, paths: Sequence[str], kept: Sequence[str]
) -> dict[str, Metadata | MetadataError | None]:
    """As `look`, in one call too; `NodeExistsError` where those that are kept hold nodes of another format."""
    documents, marks = belongings.read_with_marks(store, [*map(document_key, paths)], kept)
    found = dict(zip(paths, _parsed(store, paths, documents), strict=True))
    for path, own in zip(kept, marks, strict=True):
        if found[path] is None and (what := belongings.other_format(store, path, own)):
            raise NodeExistsError(
                f"cannot create a node at {where(store, path)}: {what}{_recognised(store, path)}; to replace it by Zarr V3, "
                "pass overwrite=True or mode='w' for that path"
            )
    return found


def _check_above(store: BaseStore, found: Mapping[str, Metadata | MetadataError | None]) -> None:
    for path, metadata in found.items():
        if isinstance(metadata, MetadataError):
            raise metadata
        if isinstance(metadata, ArrayMetadata):
            raise NodeTypeError(f"{where(store, path)} is an array; no node can lie below it")


def _check_free(
    store: BaseStore, path: str, there: Metadata | MetadataError | None, *, overwrite: bool
) -> None:
    if there is not None and not overwrite:
        why = f" ({there})" if isinstance(there, MetadataError) else ""
        raise NodeExistsError(
            f"there is {_a(there)} at {where(store, path)} already{why}; pass overwrite=True to replace it"
        )
    if there is not None and not store.capabilities.erase:
        raise UnsupportedError(
            f"{where(store, path)} cannot be replaced: {store.describe()} cannot erase what is there"
        )


def check_place(store: BaseStore, path: str) -> list[str]:
    """The paths above a node at which nothing is; raises `NodeTypeError` when an array is there."""
    above = _ancestors(path)
    found = dict(zip(above, look(store, above), strict=True))
    _check_above(store, found)
    return [parent for parent in above if found[parent] is None]


def create_missing_groups(store: BaseStore, path: str) -> None:
    """Create the groups above a path that are not there; `NodeTypeError` if one is an array."""
    for parent in check_place(store, path):
        _create_group(store, parent)


erase = belongings.erase


def _create_group(store: BaseStore, path: str) -> None:
    document = dump_document(GroupMetadata.create().document)
    if not store.capabilities.swap:
        store.write_many({document_key(path): document})
    elif store.swap_many({document_key(path): (None, document)}):  # somebody else's group is as good
        get(store, path, GroupMetadata)


def _ancestors(path: str) -> list[str]:
    if not path:
        return []
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts))]


# ---------------------------------------------------------------- changing


def change(
    store: BaseStore,
    path: str,
    wanted: type[M],
    changed: Callable[[M], M],
    known: dict[bytes, M] | None = None,
) -> tuple[M, bool]:
    """Change a node's metadata: read the document, change it, put it back; again if somebody else was faster.

    So no concurrent change to another part of the document is lost, where the store can swap atomically; elsewhere no thread of
    this process comes in between. Returns the new metadata, and whether they differ from the old ones.

    What is `known` of a document need not be parsed; afterwards that is the new one.
    """
    key, swaps = document_key(path), store.capabilities.swap
    with nullcontext() if swaps else _changing.taken:
        while True:
            document, version = (
                store.get_versioned([key])[0] if swaps else (store.get_many(whole([key]))[0], None)
            )
            if document is None:
                raise NodeNotFoundError(f"there is no {wanted.node_type} at {where(store, path)} any more")
            metadata: Metadata | None = known.pop(bytes(document), None) if known else None
            if metadata is None:
                metadata = parsed(store, path, document)
            if not isinstance(metadata, wanted):
                raise NodeTypeError(f"{where(store, path)} has become {_a(metadata)}; it was {_a(wanted)}")
            result = changed(metadata)
            new = dump_document(result.document)
            if new == document:
                return result, False
            if not swaps:
                store.write_many({key: new})
            elif store.swap_many({key: (version, new)}):
                continue
            if known is not None:
                known.clear()
                known[new] = result.detached()
            return result, True


_changing = Lock()


# ---------------------------------------------------------------- consolidated metadata


class Above:
    """Which groups have consolidated metadata, as far as a node and those opened through it know: they share this.

    So a change can tell whether it makes any of it stale, and asks the store only about groups that were not opened on the way,
    once. About groups without it the store is asked again after every `AGAIN` changes, as others may have consolidated
    meanwhile, and whenever this process has.
    """

    AGAIN = 64
    consolidations: ClassVar[int] = 0
    """How often this process has consolidated something."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._changes = 0
        self._as_of = Above.consolidations

    def note(self, path: str, metadata: Metadata | MetadataError | None) -> None:
        """Take note of what is at a path."""
        self._known[path] = _is_consolidated(metadata)

    def tell(self, store: BaseStore, what: str, *paths: str) -> None:
        """Warn if groups above `paths`, where nodes were just `what` ("created", …), have consolidated metadata."""
        self._changes += 1
        if self._as_of != Above.consolidations or not self._changes % self.AGAIN:
            self._as_of = Above.consolidations
            self._known = {path: True for path, known in self._known.items() if known}
        if what != "changed":  # what was known there is known no longer
            gone = tuple(f"{path}/" for path in paths)
            self._known = {p: known for p, known in self._known.items() if not f"{p}/".startswith(gone)}
        above = {parent: None for path in paths for parent in _ancestors(path)}
        unknown = [path for path in above if path not in self._known]
        try:
            for path, metadata in zip(unknown, look(store, unknown), strict=True):
                self.note(path, metadata)
        except ZarrError:  # what has been done is done, even if nothing above can be read
            return
        for path in above:
            if self._known.get(path):
                warn_stale(store, path, f"a node was {what} below")


def _is_consolidated(metadata: Metadata | MetadataError | None) -> bool:
    return isinstance(metadata, GroupMetadata) and metadata.consolidated_metadata is not None


def warn_stale(store: BaseStore, path: str, text: str) -> None:
    """Tell whoever called zarrv3 that the consolidated metadata of a group are stale."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        ("zarrv3", "contextlib")
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"the consolidated metadata in {named(store, path)} are stale: {text}; "
        "call zarrv3.consolidate_metadata, or open with use_consolidated=False",
        StaleMetadataWarning,
        stacklevel=level,
    )


def _a(node: Metadata | type[Metadata] | MetadataError) -> str:
    if isinstance(node, MetadataError):
        return "a document that is not Zarr V3 metadata"
    return "an array" if node.node_type == "array" else "a group"
