"""What a node is and holds, as documents for the page."""

from itertools import islice
from typing import Any

import numpy as np

import zarrv3
from zarrv3 import BaseStore
from zarrv3.errors import MetadataError, NodeNotFoundError, UnsupportedError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.display import report
from zarrv3_serve.page.slices import axes_of

MEMBERS = 1000
"""The most members of a group that are listed."""

_HIDDEN = {"Name", "Type", "Read-only", "Store type"}


def describe(store: BaseStore, path: str, *, stored: bool) -> dict[str, Any]:
    """What the page says of a node; with what is `stored` of an array, which takes a listing."""
    try:
        node = zarrv3.open(store, mode="r", path=path)
    except NodeNotFoundError:
        members = _members(store, path)
        if not members["members"]:
            raise
        return {"path": path, "kind": "folder", "info": [], "attributes": {}, **members}
    info = [[*line] for line in report(node, complete=True, stored=stored) if line[0] not in _HIDDEN]
    said = {"path": path, "info": info, "attributes": node.attrs.asdict()}
    if isinstance(node, zarrv3.Array):
        names = node.dtype.names
        return {
            **said,
            "kind": "array",
            "shape": [*node.shape],
            "names": [*(node.metadata.dimension_names or [None] * node.ndim)],
            "axes": [*axes_of(node.shape)],
            "fields": [*(names or ())],
        }
    return {**said, "kind": "group", **_members(store, path, node)}


def _members(store: BaseStore, path: str, group: Any = None) -> dict[str, Any]:
    """The members of a group, as many as are shown; of one whose store cannot list, those of its consolidated metadata."""
    if not store.capabilities.list:
        if group is None:
            return {"members": [], "more": False}
        store = consolidated.with_consolidated(store, path, group.metadata, wanted=None)
    try:
        found = [*islice(nodes.children(store, path), MEMBERS + 1)]
    except UnsupportedError:
        found = []
    return {"members": [_member(name, one) for name, one in found[:MEMBERS]], "more": len(found) > MEMBERS}


def _member(name: str, metadata: Any) -> dict[str, Any]:
    if isinstance(metadata, MetadataError):
        return {"name": name, "kind": "unreadable", "note": str(metadata)}
    if isinstance(metadata, ArrayMetadata):
        shape = " × ".join(map(str, metadata.shape)) or "scalar"
        return {"name": name, "kind": "array", "note": f"{metadata.data_type.describe()}, {shape}"}
    return {"name": name, "kind": "group", "note": ""}


def value(store: BaseStore, path: str, index: tuple[int, ...], field: str | None) -> str:
    """One element as text."""
    array = zarrv3.open_array(store, mode="r", path=path)
    found = np.asarray(array[(*index, *([] if field is None else [field]))])
    return as_text(found[()])


def as_text(item: Any) -> str:
    """An element as a person reads it, and not too much of it."""
    shown = item if isinstance(item, str) else repr(bytes(item)) if isinstance(item, bytes) else str(item)
    return shown if len(shown) <= 300 else f"{shown[:300]}…"
