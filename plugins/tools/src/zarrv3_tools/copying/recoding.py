"""What the document of an array becomes that is re-chunked, re-sharded or re-compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from zarrv3.errors import ConfigurationError, MetadataError
from zarrv3.format.cuts import Cut
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
    met: set[str] = field(default_factory=set, init=False)
    """The names of dimensions that arrays have."""

    @property
    def anything(self) -> bool:
        """Whether any array may change."""
        return any(not _is_keep(value) for value in self._given().values())

    @property
    def names(self) -> set[str]:
        """The names of dimensions for which lengths are given."""
        return {name for given in (self.chunks, self.shards) if _is_named(given) for name in given}

    def of(self, array: Array) -> dict[str, Any]:
        """What is to change in one array."""
        self.met.update(filter(None, array.dimension_names or ()))
        found = {name: value(array) if callable(value) else value for name, value in self._given().items()}
        layout = array.layout
        for name, cuts in (("chunks", layout.cuts), ("shards", layout.stored)):
            if _is_named(found[name]):
                found[name] = _by_name(found[name], array.dimension_names or (), cuts)
        return {name: value for name, value in found.items() if not _is_keep(value)}

    def check_names(self) -> None:
        """Raise `ConfigurationError` for a name that no dimension of the arrays that were met has."""
        if unknown := sorted(self.names - self.met):
            known = ", ".join(sorted(self.met)) or "none"
            raise ConfigurationError(f"no array has a dimension {unknown[0]!r}; named dimensions: {known}")

    def _given(self) -> dict[str, Any]:
        return {own.name: getattr(self, own.name) for own in fields(self) if own.init}


def _is_keep(value: Any) -> bool:
    return isinstance(value, str) and value == KEEP


def _is_named(value: Any) -> bool:
    """Whether lengths are given by the names of dimensions; the document of a chunk grid has a text as its name."""
    return isinstance(value, Mapping) and not isinstance(value.get("name"), str)


def _by_name(given: Mapping[str, Any], names: Sequence[str | None], cuts: Sequence[Cut]) -> Any:
    """The lengths for all dimensions: those not named keep theirs; `KEEP` where none is."""
    if not set(given) & set(names):
        return KEEP
    own = [cut if isinstance(cut, int) else [*cut] for cut in cuts]
    return [given.get(name, length) if name else length for name, length in zip(names, own, strict=True)]


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
