"""`ConsolidatedMetadataStore`: the layer of the core, with a look at the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from zarrv3 import consolidate_metadata
from zarrv3.hierarchy.consolidated import Consolidated, Documents, warn
from zarrv3.hierarchy.nodes import DOCUMENT
from zarrv3.options.urls import boolean
from zarrv3_layer_consolidated.staleness import Staleness, compare


class ConsolidatedMetadataStore(Consolidated):
    """Serves the documents of a tree out of the consolidated metadata of its top group; adapter `|consolidated:`.

    One read gets them all. Documents cannot be changed through it (`ReadOnlyError`), data can. Keys that belong to no
    array of the tree are not listed. Thread-safe.

    Args:
        store: what it wraps.
        metadata_key: the key of the group's document, or the group's path.
        check: call `verify` when the consolidated metadata are read, and warn if they are stale.

    Raises on first use `NodeNotFoundError` and `MetadataError` when there is no consolidated metadata or it is malformed.
    """

    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "metadata_key": str,
        "check": boolean,
    }

    def __init__(self, store: object, metadata_key: str = DOCUMENT, *, check: bool = False) -> None:
        super().__init__(store, metadata_key, check=check)

    @property
    def documents(self) -> Documents:
        """What the consolidated metadata say, read on first use."""
        is_first = self._documents is None
        found = super().documents
        if is_first and self._options["check"]:
            self.verify()
        return found

    def verify(self) -> Staleness:
        """Compare what was consolidated with the documents that are there; warns if it is stale.

        Reads every document, 64 in a call, and lists every group once where the store can list; where it cannot, nodes
        that appeared are not found and the report says so (`complete`). A document is the same if it means the same: the
        spelling of other writers makes no difference.
        """
        found = compare(self.inner, self.documents)
        if found:
            warn(self._source, found.describe())
        return found

    def consolidate(self) -> None:
        """Consolidate anew: read every document and write them into the group's own, then use those."""
        consolidate_metadata(self.inner, self.path)
        self.forget()
