"""Which keys belong to nodes: what is erased with a node, and what stays since it is not Zarr's.

To an array belong its document and its chunks, to a group its document and the nodes below. What else lies in their folders was
put there by somebody else. Values without a document, left by a copy or by a write that was interrupted, count as a node's:
they would show up again in a new array.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

from zarrv3.errors import (
    InvalidKeyError,
    MetadataError,
    StoreAccessError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.format.grids import decode_key
from zarrv3.format.metadata import ArrayMetadata, parse_document
from zarrv3.registry import installed
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Request, whole
from zarrv3.store.helpers import BATCH, chunked

DOCUMENT = "zarr.json"
"""The name of a node's document."""

MARKERS = (".zgroup", ".zarray", ".zmetadata", "attributes.json")
"""Names of documents of other formats: Zarr version 2 and N5."""

Owner: TypeAlias = ArrayMetadata | Literal["group", "v2", "unreadable", "nothing"]
"""What a folder is."""

_DOCUMENTS = frozenset({DOCUMENT, f"{DOCUMENT}.copying", ".zgroup", ".zarray", ".zattrs", ".zmetadata"})
_CHUNK = r"(?:.*/)?c(?:[/.]\d+)+"
_NEW = r"(?s)(?:.*/)?__new-[0-9a-f]{8}/.*"
_V2_CHUNK = r"\d+(?:[/.]\d+)*"
_INSTALL = ": pip install zarrv3-layer-zarr2, then add '|zarr2:'"
_REMEMBERED = 10_000
"""How many keys are remembered; of more there is a second listing."""


def erase(store: BaseStore, path: str, *, itself: bool = True) -> None:
    """Erase a node with everything below it, and nothing else; documents go first, so that no half of it is ever seen.

    Costs a listing and two calls where nothing else is there; documents are read where keys are not named by default. A store that
    cannot list its keys is taken at its word that all of them are Zarr's.

    Args:
        store: where it is.
        path: the node.
        itself: erase also its own document, not only what is below; `UnsupportedError` without it where keys cannot be listed.
    """
    folder = f"{path}/" if path else ""
    if not store.capabilities.list:
        if not itself:
            raise UnsupportedError(
                f"what lies below /{path} cannot be erased: {store.describe()} cannot list its keys"
            )
        store.write_many({folder + DOCUMENT: None})
        store.erase_prefix(folder)
        return
    own = folder + DOCUMENT
    found = _look(store, folder, "" if itself else own)
    if not found.is_all:
        known = set(found.documents)
        owned = (key for key in found.listed() if key not in known and _is_owned(key, folder, found.owners))
        for part in chain(chunked(found.documents, BATCH), chunked(owned, BATCH)):
            store.write_many(dict.fromkeys(part))
    elif itself and found.is_any:
        store.write_many({own: None})
        store.erase_prefix(folder)
    elif found.is_any:
        tops = {key: None for key in found.documents if _depth(key) == _depth(own) + 1}
        store.write_many(tops)
        below = {key[: key.index("/", len(folder)) + 1] for key in found.listed() if key not in tops}
        for name in sorted(below):
            store.erase_prefix(name)


def is_all(store: BaseStore, path: str) -> bool:
    """Whether all that lies at a path belongs to nodes."""
    return _look(store, f"{path}/" if path else "", "").is_all


class _Found(NamedTuple):
    """What lies in a folder."""

    listed: Callable[[], Iterable[str]]
    """All keys."""
    documents: Sequence[str]
    """Those of nodes, of outer ones first."""
    owners: Mapping[str, Owner]
    is_any: bool
    is_all: bool
    """Whether all keys belong to nodes."""


def _look(store: BaseStore, folder: str, but: str) -> _Found:
    """What lies in a folder besides one key, which then is a group's document."""
    listing = (key for key in store.list_prefix(folder) if key != but)
    head = list(islice(listing, _REMEMBERED))
    is_whole = len(head) < _REMEMBERED

    def keys() -> Iterable[str]:
        return head if is_whole else (key for key in store.list_prefix(folder) if key != but)

    documents = sorted((key for key in keys() if key.rpartition("/")[2] in _DOCUMENTS), key=_depth)
    owners: dict[str, Owner] = {
        folder: "nothing",
        **{key[: key.rfind("/") + 1]: "group" for key in documents},
    }
    doubtful = {_nearest(key, folder, owners) for key in keys() if not _is_plain(key)}
    owners |= _owners(store, [key for key in documents if key[: key.rfind("/") + 1] in doubtful])
    if but:
        owners[folder] = "group"
    return _Found(keys, documents, owners, bool(head), all(_is_owned(key, folder, owners) for key in keys()))


def _owners(store: BaseStore, documents: Sequence[str]) -> dict[str, Owner]:
    """What the folders are that have these documents."""
    arrays = [key.removesuffix(".zarray") for key in documents if key.rpartition("/")[2] == ".zarray"]
    owners: dict[str, Owner] = dict.fromkeys(arrays, "v2")
    for part in chunked((key for key in documents if key.rpartition("/")[2] == DOCUMENT), BATCH):
        for key, document in zip(part, store.get_many(whole(part)), strict=True):
            if document is not None:
                owners[key[: -len(DOCUMENT)]] = _owner(document)
    return owners


def _owner(document: Buffer) -> Owner:
    try:
        metadata = parse_document(document, source="a document")
    except MetadataError:
        return "unreadable"
    return metadata if isinstance(metadata, ArrayMetadata) else "group"


def _is_plain(key: str) -> bool:
    """Whether a key is a document, a chunk as it is named by default, or part of what a dead process would have put here."""
    return key.rpartition("/")[2] in _DOCUMENTS or any(re.fullmatch(form, key) for form in (_CHUNK, _NEW))


def _nearest(key: str, top: str, owners: Mapping[str, Owner]) -> str:
    """The innermost folder with a document that a key lies in, else the top."""
    folder = key
    while folder not in owners:
        folder = folder[: folder.rstrip("/").rfind("/") + 1]
        if len(folder) <= len(top):
            return top
    return folder


def _is_owned(key: str, top: str, owners: Mapping[str, Owner]) -> bool:
    """Whether a key belongs to the node that it lies in, or is left of one."""
    if _is_plain(key):
        return True
    folder = _nearest(key, top, owners)
    owner, name = owners[folder], key[len(folder) :]
    if isinstance(owner, ArrayMetadata):
        return bool(owner.storage_transformers) or (
            decode_key(owner.chunk_key_encoding, name, len(owner.shape)) is not None
        )
    if owner == "unreadable":  # a draft, or of a later version: what is its, nobody knows
        return "/" in name or re.fullmatch(_V2_CHUNK, name) is not None
    return owner != "group" and (name == "c" or re.fullmatch(_V2_CHUNK, name) is not None)


def _depth(key: str) -> int:
    return key.count("/")


# ---------------------------------------------------------------- other formats


def read_with_marks(
    store: BaseStore, keys: Sequence[str], paths: Sequence[str]
) -> tuple[Sequence[Buffer | None], Sequence[Sequence[Buffer | None]]]:
    """Values, and in the same call for each path what `other_format` can tell from what is there.

    A store that refuses such keys, as Icechunk does, has none.
    """
    folders = [f"{path}/" if path else "" for path in paths]
    marks = [Request(folder + name, ByteRange(0, 1)) for folder in folders for name in MARKERS]
    try:
        values = store.get_many([*whole(keys), *marks])
    except StoreUnavailableError:
        raise
    except (InvalidKeyError, StoreAccessError):
        values = [*store.get_many(whole(keys)), *(None for _ in marks)]
    return values[: len(keys)], [*chunked(values[len(keys) :], len(MARKERS))]


def other_format(store: BaseStore, path: str, found: Sequence[Buffer | None]) -> str:
    """What a path holds, and what opens it, if it is a node of another format than Zarr V3; else an empty text."""
    *v2, n5 = found
    if any(value is not None for value in v2):
        return "what is there is Zarr version 2" + ("" if installed("layers", "zarr2") else _INSTALL)
    if n5 is None:
        return ""
    [document] = store.get_many(whole([f"{path}/{MARKERS[-1]}".lstrip("/")]))
    try:
        names = set(json.loads(bytes(document or b"")))
    except (ValueError, TypeError, RecursionError):
        return ""
    if "n5" in names or {"dimensions", "blockSize", "dataType"} <= names:
        return "what is there is N5, which zarr.N5FSStore of zarr-python 2 and TensorStore read"
    return ""
