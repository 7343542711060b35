"""`Staleness`: what the documents say now, compared with what was consolidated."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from zarrv3.errors import MetadataError
from zarrv3.format.documents import load_document
from zarrv3.format.metadata import ArrayMetadata, parse_document
from zarrv3.hierarchy.consolidated.documents import MEMBER, Documents
from zarrv3.hierarchy.nodes import DOCUMENT, document_key, path_of
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, whole
from zarrv3.store.helpers import BATCH, chunked


@dataclass(frozen=True, kw_only=True)
class Staleness:
    """What is different now; true if anything is. All are paths of nodes, sorted."""

    changed: tuple[str, ...] = ()
    """Nodes whose document says something else."""
    vanished: tuple[str, ...] = ()
    """Nodes whose document is not there any more."""
    appeared: tuple[str, ...] = ()
    """Nodes that were not consolidated."""
    complete: bool = True
    """Whether it was possible to look for nodes that appeared: the store can list its keys."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.vanished or self.appeared)

    def describe(self) -> str:
        """What is stale in a few words."""
        found = {"changed": self.changed, "vanished": self.vanished, "appeared": self.appeared}
        return ", ".join(f"{_some(paths)} {what}" for what, paths in found.items() if paths) or "nothing"


def compare(store: BaseStore, documents: Documents) -> Staleness:
    """Compare consolidated documents with those in the store."""
    changed, vanished = [], []
    for keys in chunked(documents.contents, BATCH):
        values = store.get_many(whole(keys))
        for key, value in zip(keys, values, strict=True):
            if value is None:
                vanished.append(path_of(key))
            elif not is_same(documents.contents[key], value, is_top=key == document_key(documents.path)):
                changed.append(path_of(key))
    can_list = store.capabilities.list
    appeared = _appeared(store, documents) if can_list else ()
    return Staleness(
        changed=tuple(sorted(changed)),
        vanished=tuple(sorted(vanished)),
        appeared=tuple(sorted(appeared)),
        complete=can_list,
    )


def _appeared(store: BaseStore, documents: Documents) -> Iterator[str]:
    """The nodes that were not consolidated, found group by group; below a new one nothing is looked for."""
    for key in documents.contents:
        if path_of(key) in documents.arrays:
            continue
        folder = key.removesuffix(DOCUMENT)
        known = {*documents.folders.get(folder, ())}
        names = (name for name in store.list_dir(folder) if name.endswith("/") and name not in known)
        for folders in chunked(names, BATCH):
            sizes = store.stat_many([name + DOCUMENT for name in folders])
            yield from (name[:-1] for name, size in zip(folders, sizes, strict=True) if size is not None)


def is_same(old: bytes, new: Buffer, *, is_top: bool = False) -> bool:
    """Whether two documents mean the same; the top group's holds the consolidated metadata themselves."""
    if old == new:
        return True
    without = () if is_top else (MEMBER,)  # nested groups may have been consolidated on their own since
    try:
        return _meaning(old, without) == _meaning(new, without)
    except MetadataError:  # something that is not installed, or no document any more
        return bool(_parsed(old, without) == _parsed(new, without))


def has_same_chunks(old: Buffer, new: Buffer) -> bool:
    """Whether an array's documents differ at most in shape and attributes; `MetadataError` for one that is not understood."""
    without = (MEMBER, "shape", "attributes")
    return _meaning(old, without) == _meaning(new, without)


def _meaning(data: Buffer, without: Collection[str]) -> str:
    """A document in one spelling of the members that are known, with the others as they are, `without` some."""
    metadata = parse_document(data, source="document")
    document: dict[str, JSON] = {**metadata.document, "attributes": metadata.attributes}
    if isinstance(metadata, ArrayMetadata):
        data_type = metadata.data_type
        document |= {
            "shape": metadata.shape,
            "data_type": data_type.to_json(),
            "chunk_grid": metadata.chunk_grid.to_json(),
            "chunk_key_encoding": metadata.chunk_key_encoding.to_json(),
            "fill_value": data_type.fill_to_json(metadata.fill_value),
            "codecs": [codec.to_json() for codec in metadata.codecs],
            "storage_transformers": [named.to_json() for named in metadata.storage_transformers],
            "dimension_names": metadata.dimension_names,
        }
    kept = {name: value for name, value in document.items() if name not in without}
    return json.dumps(kept, sort_keys=True)


def _parsed(data: Buffer, without: Collection[str]) -> JSON:
    """A document as JSON; anything else as it is."""
    try:
        document = load_document(data, source="document")
    except MetadataError:
        return data
    return {name: item for name, item in document.items() if name not in without}


def _some(paths: tuple[str, ...]) -> str:
    more = len(paths) - 1
    return f"/{paths[0]}{f' and {more} more nodes' if more else ''}"
