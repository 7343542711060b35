"""What the document of an array becomes that is re-chunked, re-sharded or re-compressed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from zarrv3.errors import MetadataError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.creation import chunk_arguments, metadata_for
from zarrv3.store.base import BaseStore

KEEP: Final = "keep"
"""What an argument of `copy` is that is not to change anything."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What arrays are to become: each as `create_array` takes it, `KEEP`, or a function of the source array."""

    chunks: Any = KEEP
    shards: Any = KEEP
    filters: Any = KEEP
    serializer: Any = KEEP
    compressors: Any = KEEP

    @property
    def anything(self) -> bool:
        """Whether any array may change."""
        return any(not _is_keep(getattr(self, field.name)) for field in fields(self))

    def of(self, array: Array) -> dict[str, Any]:
        """What is to change in one array."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found = {name: value(array) if callable(value) else value for name, value in found.items()}
        return {name: value for name, value in found.items() if not _is_keep(value)}


def _is_keep(value: Any) -> bool:
    return isinstance(value, str) and value == KEEP


def recoded(array: Array, wanted: Wanted, dest: BaseStore) -> ArrayMetadata:
    """The metadata of the copy of an array: the same object where nothing changes.

    Everything but the chunk grid, the codecs and, when the shards change, the storage transformers is kept as it is.
    Raises `MetadataError` for what does not fit the array.
    """
    changes = wanted.of(array)
    old = array.metadata
    if not changes:
        return old
    transformed = bool(old.storage_transformers)
    kept: dict[str, Any] = {
        **chunk_arguments(array),
        "filters": [codec.to_json() for codec in array.filters],
        "serializer": next(codec.to_json() for codec in array.codecs if codec.kind == "array-bytes"),
        "compressors": [codec.to_json() for codec in array.compressors],
    }
    if transformed:
        kept["shards"] = None
    asked = {**kept, **changes}
    try:
        made = metadata_for(dest, shape=array.shape, dtype=old.data_type, fill_value=old.fill_value, **asked)
    except MetadataError as error:
        raise MetadataError(f"{array!r} cannot be stored so: {error}") from error
    if _layout(made, dest) == _layout(old, dest) and not (transformed and "shards" in changes):
        return old
    document = {
        **old.to_document(),
        "chunk_grid": made.document["chunk_grid"],
        "codecs": made.document["codecs"],
    }
    if transformed and "shards" in changes:
        document["storage_transformers"] = []
    return ArrayMetadata.from_document(document, source=f"the copy of {array!r}")


def _layout(metadata: ArrayMetadata, dest: BaseStore) -> Any:
    """What two arrays have in common whose chunks are the same bytes."""
    array = Array(dest, metadata=metadata)
    return array.layout.cuts, [codec.to_json() for codec in array.codecs], metadata.chunk_grid.to_json()
