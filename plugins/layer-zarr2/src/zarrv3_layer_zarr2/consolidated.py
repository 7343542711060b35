"""`.zmetadata` as the consolidated metadata of the final format."""

from collections.abc import Mapping

from zarrv3.errors import MetadataError
from zarrv3.format.documents import load_document
from zarrv3.format.extensions import shown
from zarrv3.hierarchy.nodes import is_path
from zarrv3.store.contract import JSON
from zarrv3_layer_zarr2 import documents, keys
from zarrv3_layer_zarr2.unreadable import unreadable

ADVICE = "consolidate again, or open it with '|zarr2:?consolidated=false'"


def member(document: Mapping[str, JSON], source: str, separator: str) -> dict[str, JSON] | None:
    """The member `consolidated_metadata` of the root's final document; raises `MetadataError` naming `source`.

    `None` where a node has a name that the final format reserves: it could not be in there, and readers would miss it.
    """
    metadata = document.get("metadata")
    is_known = (
        document.get("zarr_consolidated_format") == 1 or "record_size" in document
    )  # kerchunk's, in parquet
    if not is_known or not isinstance(metadata, Mapping):
        raise MetadataError(f"{source}: this is not consolidated metadata of Zarr version 2; {ADVICE}")
    nodes: dict[str, dict[str, JSON]] = {}
    for key, value in metadata.items():
        folder, name = keys.split(key)
        nodes.setdefault(folder[:-1], {})[name] = value
    found = {path for path, own in nodes.items() if keys.NODES & own.keys()}
    arrays = {path for path in found if keys.ARRAY in nodes[path]}
    if not all(is_path(path) for path in found if path):
        return None
    implicit = {parent for path in found for parent in keys.above(path)}
    entries = {
        path: _final(path, nodes.get(path, {}), source, separator)
        for path in sorted(found | implicit)
        if path and arrays.isdisjoint(keys.above(path))
    }
    return {"kind": "inline", "must_understand": False, "metadata": entries}


def _final(path: str, own: Mapping[str, JSON], source: str, separator: str) -> Mapping[str, JSON]:
    """The final document of a node, or one that raises the reason why it has none."""
    entry = f"{path!r} of {source}"
    try:
        attributes = _object(own.get(keys.ATTRIBUTES, {}), entry)
        if keys.ARRAY in own:
            return documents.array(_object(own[keys.ARRAY], entry), attributes, entry, separator)
        group = _object(own[keys.GROUP], entry) if keys.GROUP in own else None
        return documents.group(group, attributes, entry)
    except MetadataError as error:
        return load_document(unreadable(error), source=entry)


def _object(value: JSON, source: str) -> Mapping[str, JSON]:
    if not isinstance(value, Mapping):
        raise MetadataError(f"{source}: a document must be an object, not {shown(value)}")
    return value
