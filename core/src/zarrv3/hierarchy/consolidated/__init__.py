"""Consolidated metadata: the documents of a whole tree inside its top group's own.

documents  the form that zarr-python 3 reads and writes, checked and made
layer      `Consolidated`: a store that serves the documents from there, and where to put it

The form is the member `consolidated_metadata` of a group's document, with the `kind` `inline`, with the documents of everything
below by their paths relative to the group. The package `zarrv3-layer-consolidated` adds the adapter `|consolidated:` and a
look for what has become stale.
"""

from zarrv3.hierarchy.consolidated.documents import MEMBER, Documents, inline, read
from zarrv3.hierarchy.consolidated.layer import Consolidated, warn, with_consolidated

__all__ = ["MEMBER", "Consolidated", "Documents", "inline", "read", "warn", "with_consolidated"]
