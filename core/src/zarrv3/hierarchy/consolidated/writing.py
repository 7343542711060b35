"""Consolidating a group."""

from __future__ import annotations

from zarrv3.format.metadata import GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.consolidated.documents import inline
from zarrv3.hierarchy.group import Group
from zarrv3.store.base import BaseStore


def consolidate(store: BaseStore, path: str) -> Group:
    """Write the documents of everything below a group into the group's own; see `zarrv3.consolidate_metadata`."""
    if not nodes.exists(store, path) and nodes.names(store, path):
        nodes.create(store, path, GroupMetadata.create())  # an old hierarchy whose root has no document
    group = Group(store, path)
    member = inline({name: node.metadata.to_document() for name, node in group.members(None)})
    group._change_quietly(lambda metadata: metadata.with_consolidated_metadata(member))
    nodes.Above.consolidations += 1
    return group
