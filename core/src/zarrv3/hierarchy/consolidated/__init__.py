"""Consolidated metadata: the documents of a whole tree inside its top group's own.

documents  the form that zarr-python 3 reads and writes, checked and made; consolidating a group
staleness  what the documents say now, compared with what was consolidated
layer      `ConsolidatedMetadataStore`: a store that serves the documents from there, and where to put it

The form is the member `consolidated_metadata` of a group's document, with the `kind` `inline`, with the documents of everything
below by their paths relative to the group.
"""

from zarrv3.hierarchy.consolidated.documents import MEMBER, consolidate, read
from zarrv3.hierarchy.consolidated.layer import ConsolidatedMetadataStore, with_consolidated
from zarrv3.hierarchy.consolidated.staleness import Staleness

__all__ = [
    "MEMBER",
    "ConsolidatedMetadataStore",
    "Staleness",
    "consolidate",
    "read",
    "with_consolidated",
]
