"""The nodes of a hierarchy of version 2: which documents they have, and what these say in the final format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from zarrv3.errors import MetadataError
from zarrv3.format.documents import load_document
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, whole
from zarrv3_layer_zarr2 import consolidated, documents, keys
from zarrv3_layer_zarr2.unreadable import unreadable


class Raw(NamedTuple):
    """The documents of one node as they are stored; `None` for those that are not there."""

    array: Buffer | None = None
    group: Buffer | None = None
    attributes: Buffer | None = None
    consolidated: Buffer | None = None


NAMES = (keys.ARRAY, keys.GROUP, keys.ATTRIBUTES, keys.CONSOLIDATED)
"""The keys of a `Raw`, below the folder of the node."""


class Nodes:
    """Reads and translates documents; remembers nothing.

    Args:
        store: where the hierarchy lies.
        separator: that of chunk keys, for arrays whose documents do not say.
        consolidated: use `.zmetadata` of the root.
    """

    def __init__(self, store: BaseStore, separator: str, *, consolidated: bool) -> None:
        self.store = store
        self.separator = separator
        self._consolidated = consolidated

    def names(self, path: str) -> list[str]:
        """The keys of a node's documents, in the order of `Raw`; only those of the root have `.zmetadata`."""
        names = NAMES[:3] if path else NAMES
        return [keys.folder_of(path) + name for name in names]

    def all_names(self, paths: Iterable[str]) -> list[str]:
        """The keys of the documents of several nodes, one node after the other."""
        return [name for path in paths for name in self.names(path)]

    def raws(self, paths: Sequence[str], values: Iterator[Buffer | None]) -> dict[str, Raw]:
        """The documents of several nodes from the values of `all_names`."""
        return {path: Raw(*[next(values) for _ in self.names(path)]) for path in paths}

    def look(self, paths: Sequence[str]) -> dict[str, bytes | None]:
        """The final documents of nodes: one call for all of them, and for those without document a listing each."""
        return self.translated(
            self.raws(paths, iter(self.store.get_many(whole(self.all_names(paths))) if paths else ()))
        )

    def translated(self, raws: Mapping[str, Raw]) -> dict[str, bytes | None]:
        """The final documents of nodes; `None` where there is no node, not even a group without document."""
        found = {path: self.document(path, raw) for path, raw in raws.items()}
        return {
            path: documents.IMPLICIT if document is None and self.has_members(path) else document
            for path, document in found.items()
        }

    def document(self, path: str, raw: Raw) -> bytes | None:
        """The final document of a node, or one that raises the reason why it has none; `None` without documents."""
        try:
            return documents.dumped(self._final(path, raw))
        except MetadataError as error:
            return unreadable(error)

    def _final(self, path: str, raw: Raw) -> Mapping[str, JSON] | None:
        def loaded(value: Buffer | None, name: str) -> dict[str, JSON]:
            return {} if value is None else load_document(value, source=self.location(path, name))

        held = raw.consolidated if self._consolidated else None
        if raw.array is None and raw.group is None and held is None:
            return None
        attributes = loaded(raw.attributes, keys.ATTRIBUTES)
        if raw.array is not None:
            source = self.location(path, keys.ARRAY)
            return documents.array(loaded(raw.array, keys.ARRAY), attributes, source, self.separator)
        source = self.location(path, keys.GROUP)
        own = None if raw.group is None else loaded(raw.group, keys.GROUP)
        final = documents.group(own, attributes, source)
        if held is not None:
            source = self.location(path, keys.CONSOLIDATED)
            member = consolidated.member(loaded(held, keys.CONSOLIDATED), source, self.separator)
            final |= {} if member is None else {"consolidated_metadata": member}
        return final

    def location(self, path: str, name: str) -> str:
        """Where a document lies, for errors."""
        return f"{keys.folder_of(path) + name!r} in {self.store.describe()}"

    def has_members(self, path: str) -> bool:
        """Whether a group exists without a document: one lies below, and no array above."""
        if not self.store.capabilities.list:
            return False
        folder = keys.folder_of(path)
        if not any(keys.split(key).name in keys.NODES for key in self.store.list_prefix(folder)):
            return False
        arrays = [keys.folder_of(above) + keys.ARRAY for above in keys.above(path)]
        return not any(size is not None for size in self.store.stat_many(arrays) if arrays)
