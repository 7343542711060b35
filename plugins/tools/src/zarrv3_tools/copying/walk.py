"""The nodes of the source, those below before those above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from zarrv3.errors import CorruptDataError, MetadataError, NodeError, ZarrError
from zarrv3.format.metadata import GroupMetadata
from zarrv3.hierarchy.nodes import DOCUMENT, Metadata, document_key, folder_of, parsed
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, whole
from zarrv3.store.helpers import BATCH, chunked, unrolled

NODE_ERRORS = (CorruptDataError, MetadataError, NodeError)
"""What is wrong with a node rather than with its store."""


class Found(NamedTuple):
    """A node, or a folder that is not a node."""

    path: str
    document: Buffer | None
    """Its document; `None` where there is none, or where it cannot be had."""
    metadata: Metadata | ZarrError | None
    """What the document says; the error that it is unreadable; `None` for a folder that is not a node."""
    others: Sequence[str] = ()
    """Keys of a group, beside its document, that belong to no node."""


def walk(store: BaseStore, path: str) -> Iterator[Found]:
    """A node and everything below it, each group after all that it holds.

    Costs one listing for each group and one call for each 64 documents. What an unreadable node or a folder that is not
    a node holds is not looked into. Only what lies between the top and the current node is kept in memory.
    """
    for found in _looked(store, [path]):
        yield from unrolled(_below(store, found))


def _below(store: BaseStore, found: Found) -> Iterator[Found | Iterator[Any]]:
    if not isinstance(found.metadata, GroupMetadata):
        yield found
        return
    folder = folder_of(found.path)
    names = sorted(store.list_dir(folder))
    for folders in chunked([name for name in names if name.endswith("/")], BATCH):
        for below in _looked(store, [name[:-1] for name in folders]):
            yield _below(store, below)
    yield found._replace(others=[name for name in names if name[-1] != "/" and name != folder + DOCUMENT])


def _looked(store: BaseStore, paths: Sequence[str]) -> list[Found]:
    """What is at some paths, in one call; one by one if a layer cannot translate all of them."""
    try:
        documents = store.get_many(whole([document_key(path) for path in paths]))
    except NODE_ERRORS as error:
        if len(paths) == 1:
            return [Found(paths[0], None, error)]
        return [found for path in paths for found in _looked(store, [path])]
    return [_found(store, path, document) for path, document in zip(paths, documents, strict=True)]


def _found(store: BaseStore, path: str, document: Buffer | None) -> Found:
    if document is None:
        return Found(path, None, None)
    try:
        return Found(path, document, parsed(store, path, document))
    except MetadataError as error:
        return Found(path, document, error)
