"""Changed final documents as documents of version 2: shapes, attributes and consolidated metadata can change, nothing else."""

import json
from collections.abc import Mapping
from typing import Any

from zarrv3.errors import UnsupportedError
from zarrv3.format.documents import load_document
from zarrv3.format.metadata import parse_document
from zarrv3.store.contract import JSON, Buffer, whole
from zarrv3.store.helpers import BATCH, chunked
from zarrv3_layer_zarr2 import documents, keys
from zarrv3_layer_zarr2.members import valid_attributes
from zarrv3_layer_zarr2.nodes import Nodes, Raw

_ADVICE = "copy the hierarchy to a store without '|zarr2:', which makes it Zarr V3"
_CONSOLIDATED = "consolidated_metadata"


def changed(nodes: Nodes, path: str, raw: Raw, new: Buffer | None) -> dict[str, bytes]:
    """The documents of version 2 to write, by their keys, so that a node has a new final document.

    Raises `UnsupportedError` where version 2 cannot say it or where the node would be created or erased.
    """
    location = nodes.location(path, keys.GROUP if raw.array is None else keys.ARRAY)
    if new is None or (raw.array is None and raw.group is None):
        what = "erased" if new is None else "created"
        raise UnsupportedError(
            f"a node of Zarr version 2 cannot be {what} through '|zarr2:' (/{path} in {nodes.store.describe()}); {_ADVICE}"
        )
    final = _members(new, location)
    source = load_document(raw.array or raw.group or b"", source=location)
    stored = {} if raw.attributes is None else load_document(raw.attributes, source=location)
    own = dict(source)
    attributes = _restored(final.get("attributes", {}), stored)
    if raw.array is None:
        wanted: Mapping[str, JSON] = documents.group(own, attributes, location)
    else:
        own["shape"] = final.get("shape")
        names = final.get("dimension_names")
        if names is not None:
            attributes[documents.DIMENSIONS] = names
        wanted = documents.array(own, attributes, location, nodes.separator)
    old = nodes.document(path, raw)
    consolidated = None if old is None else _members(old, location).get(_CONSOLIDATED)
    wished = final.pop(_CONSOLIDATED, None)
    if final != _members(json.dumps(wanted).encode(), location):
        raise UnsupportedError(
            f"only shape and attributes of a node of Zarr version 2 can be changed ({location}); {_ADVICE}"
        )
    folder = keys.folder_of(path)
    changes = {}
    if own != source:
        changes[folder + keys.ARRAY] = _dumped(own)
    if repr(attributes) != repr(stored):  # NaN equals NaN
        changes[folder + keys.ATTRIBUTES] = _dumped(attributes)
    if wished != consolidated:
        changes |= _consolidated(nodes, path, changes, location, wished=wished is not None)
    elif not path and changes and raw.consolidated is not None:  # it has the attributes of the root too
        held = load_document(raw.consolidated, source=nodes.location(path, keys.CONSOLIDATED))
        if isinstance(metadata := held.get("metadata"), dict):
            metadata |= {key: json.loads(value) for key, value in changes.items()}
            changes[keys.CONSOLIDATED] = _dumped(held)
    return changes


def _consolidated(
    nodes: Nodes, path: str, changes: Mapping[str, bytes], location: str, *, wished: bool
) -> dict[str, bytes]:
    """`.zmetadata` as it is after some changes, of all documents that are stored."""
    if path or not wished:
        what = "erased" if not wished else "written elsewhere than at the root"
        raise UnsupportedError(
            f"consolidated metadata of Zarr version 2 are not {what} ({location}); {_ADVICE}"
        )
    names = (key for key in nodes.store.list_prefix("") if keys.split(key).name in keys.CONSOLIDATES)
    held: dict[str, JSON] = {}
    for part in chunked(names, BATCH):
        for key, value in zip(part, nodes.store.get_many(whole(part)), strict=True):
            if value is not None:
                held[key] = load_document(changes.get(key, value), source=f"{key!r} in {location}")
    held |= {key: json.loads(value) for key, value in changes.items()}
    return {keys.CONSOLIDATED: _dumped({"metadata": held, "zarr_consolidated_format": 1})}


def _members(document: Buffer, source: str) -> dict[str, Any]:
    """A final document as everyone spells it."""
    return dict(parse_document(document, source=source).to_document())


def _restored(attributes: Mapping[str, JSON], stored: Mapping[str, JSON]) -> dict[str, JSON]:
    """New attributes; those that did not change as they are stored, NaN too, which is a text here."""
    shown, _ = valid_attributes(stored)
    return {
        name: stored[name] if name in stored and shown[name] == value else value
        for name, value in attributes.items()
    }


def _dumped(document: Mapping[str, JSON]) -> bytes:
    """JSON as zarr-python 2 wrote it, but with members in their order."""
    return json.dumps(document, indent=4, separators=(",", ": ")).encode("ascii")
