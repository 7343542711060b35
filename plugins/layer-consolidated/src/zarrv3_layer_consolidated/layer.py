"""`ConsolidatedMetadataStore`: the layer of the core, with a look at the store."""

from __future__ import annotations

from typing import Annotated

from zarrv3 import consolidate_metadata
from zarrv3.hierarchy.consolidated import Consolidated, Documents, warn
from zarrv3.hierarchy.consolidated.layer import MetadataKey
from zarrv3.hierarchy.nodes import DOCUMENT
from zarrv3.options.declared import Option
from zarrv3_layer_consolidated.staleness import Staleness, compare


class ConsolidatedMetadataStore(Consolidated):
    """Serves the documents of a tree out of the consolidated metadata of its top group; adapter `|consolidated:`.

    One read gets them all. Documents cannot be changed through it (`ReadOnlyError`), data can. Keys that belong to no
    array of the tree are not listed. Thread-safe.

    Raises on first use `NodeNotFoundError` and `MetadataError` when there is no consolidated metadata or it is malformed.
    """

    def __init__(
        self,
        store: object,
        metadata_key: MetadataKey = DOCUMENT,
        *,
        check: Annotated[
            bool,
            Option("call `verify` when the consolidated metadata is read, and warn if it is stale"),
        ] = False,
    ) -> None:
        super().__init__(store, metadata_key, check=check)

    @property
    def documents(self) -> Documents:
        """What the consolidated metadata say, read on first use."""
        is_first = self._documents is None
        found = super().documents
        if is_first and self.option("check"):
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
            warn(self._where, found.describe())
        return found

    def consolidate(self) -> None:
        """Consolidate anew: read every document and write them into the group's own, then use those."""
        consolidate_metadata(self.inner, self.path)
        self.forget()
