"""What is wrong or unusual in a draft hierarchy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from zarrv3.errors import MetadataError
from zarrv3.format.documents import load_document
from zarrv3.hierarchy.nodes import is_path
from zarrv3.store.contract import JSON, whole
from zarrv3_layer_draft_v3 import keys
from zarrv3_layer_draft_v3.documents import DraftArray
from zarrv3_layer_draft_v3.entry import ENTRY
from zarrv3_layer_draft_v3.hierarchy import BrokenNode, Hierarchy
from zarrv3_layer_draft_v3.repair import PlainArray

KINDS: Mapping[str, str] = {
    "unreadable": "a document that cannot be translated; the node raises the reason when it is opened",
    "lost-transformer": "an array whose values are shards, though its document names no sharding; see `repair`",
    "orphan-chunks": "chunks of no array: of one that was deleted, or of another grid; they are not shown",
    "below-array": "a node below an array; it is shown, but walking through groups does not find it",
    "forbidden-name": "a node whose name the final format forbids; it is shown, but walking through groups does not find it",
    "no-entry-point": "a hierarchy without its `zarr.json`; it is read as if the suffix were `.json`",
    "empty": "an entry point without nodes: a failed attempt to read leaves that behind",
    "stale-consolidated": "consolidated metadata that differ from the documents; only the documents are used",
    "order-unknown": "an array of order F that `FSStoreV3` may have written in order C; see `misordered`",
    "undefined-fill": "an array without fill value; what was never written is read as zero or empty",
    "foreign": "an array that only this package reads: the final format has no data type or codec for it",
    "old-datetime": "a date or time type as zarr-python 2.12 spelled it; nothing is lost",
    "not-json": "NaN or Infinity in attributes; they become texts",
    "filters-attribute": "an attribute `filters` that names no filters; it is kept",
    "partial": "a file that a killed writer left behind; it is not shown",
    "other-format": "documents of Zarr version 2 beside the draft; they are not shown",
    "mangled-key": "a metadata key that belongs to no node (`copy_store` with a path wrote such keys); it is not shown",
    "unknown-key": "a key that the draft does not have; it is not shown",
}
"""The kinds of findings and what they mean."""

_PARTIAL = re.compile(r".*\.[0-9a-f]{32}\.partial")
_V2 = re.compile(r"(?:.*/)?\.z(?:group|array|attrs|metadata)")
_SHOWN = 3


class Damage(NamedTuple):
    """One finding."""

    path: str
    """The path of the node, `""` for the root and for what belongs to no node."""
    key: str
    """A key in the store below; the first one where it is about several."""
    kind: str
    """One of `KINDS`."""
    text: str
    """What it is, and what to do."""

    def __str__(self) -> str:
        return f"/{self.path}: {self.kind}: {self.text} ({self.key})"


def examine(hierarchy: Hierarchy, chunks_per_shard: Mapping[str, Any]) -> list[Damage]:
    """All findings, sorted by path and key."""
    findings: list[Damage] = []
    arrays: dict[str, DraftArray] = {}
    documents: set[str] = set()
    suffix = hierarchy.suffix
    for path, node in hierarchy.nodes(""):
        key = keys.draft_document(path, node.kind, suffix)
        if isinstance(node, DraftArray):
            arrays[path] = node
            findings += [
                Damage(path, key, "foreign", f"{text} has no equivalent in the final format")
                for text in node.foreign
            ]
            if not node.is_sharded:
                findings += _lost(hierarchy, path, node, path in chunks_per_shard)
        if isinstance(node, BrokenNode):
            findings.append(Damage(path, key, "unreadable", str(node.error)))
        else:
            findings += [Damage(path, key, *note) for note in node.notes]
    for key in hierarchy.store.list_prefix(keys.META):
        split = keys.split_document(key, suffix)
        if split is not None:
            documents.add(key)
            findings += _misplaced(key, split[0], arrays)
    findings += _strange(hierarchy, documents, arrays)
    findings += _stale(hierarchy, documents)
    return sorted(findings)


def _lost(hierarchy: Hierarchy, path: str, array: DraftArray, given: bool) -> Iterator[Damage]:
    """An array without transformer whose values are shards."""
    if array.foreign:
        return
    findings = PlainArray(hierarchy.store, path, array).findings()
    shards = [coords for coords, count in findings.shards.items() if count is not None]
    if not shards:
        return
    key = keys.draft_chunks(path, min(shards), array.grid.separator)[0]
    what = f"{len(shards)} values are shards"
    if given:
        how = "chunks_per_shard is given for it"
    elif findings.per_shard is not None:
        how = f"chunks_per_shard is {list(findings.per_shard)}: repair=True reads it"
    else:
        count = (
            "whose number of chunks is uncertain"
            if findings.chunks is None
            else f"of {findings.chunks} chunks"
        )
        how = f"{count}; give chunks_per_shard={{{path!r}: [...]}} and repair=True"
    yield Damage(path, key, "lost-transformer", f"{what}; {how}")


def _misplaced(key: str, path: str, arrays: Mapping[str, DraftArray]) -> Iterator[Damage]:
    if path and not is_path(path):
        yield Damage(
            path,
            key,
            "forbidden-name",
            "the final format forbids this name; `|prefix:` shows what is there, and a copy keeps it",
        )
    parts = path.split("/")
    for end in range(1, len(parts)):
        if "/".join(parts[:end]) in arrays:
            text = f"it lies below the array /{'/'.join(parts[:end])}; open it by its path"
            yield Damage(path, key, "below-array", text)
            break


def _strange(hierarchy: Hierarchy, documents: set[str], arrays: Mapping[str, DraftArray]) -> Iterator[Damage]:
    """Keys that belong to no node."""
    orphans: dict[str, list[str]] = {}
    has_entry = False
    for key in hierarchy.store.list_prefix(""):
        kind = _kind_of(key, documents)
        if key == ENTRY:
            has_entry = True
        elif kind == "chunk":
            path = _without_array(key, arrays)
            if path is not None:
                orphans.setdefault(path, []).append(key)
        elif kind is not None:
            yield Damage("", key, kind, KINDS[kind])
    for path, orphaned in orphans.items():
        names = ", ".join(sorted(orphaned)[:_SHOWN]) + (", …" if len(orphaned) > _SHOWN else "")
        text = f"{len(orphaned)} keys below data/root that no readable array has: {names}"
        yield Damage(path, min(orphaned), "orphan-chunks", text)
    if documents and not has_entry:
        yield Damage("", ENTRY, "no-entry-point", KINDS["no-entry-point"])
    if has_entry and not documents:
        yield Damage("", ENTRY, "empty", KINDS["empty"])


def _kind_of(key: str, documents: set[str]) -> str | None:
    """What a key is: the kind of finding, `chunk`, or `None` for a key that belongs there."""
    if _PARTIAL.fullmatch(key):
        return "partial"
    if key in documents or key == ENTRY or key.startswith(f"{keys.META}/{keys.CONSOLIDATED}/"):
        return None
    if _V2.fullmatch(key):
        return "other-format"
    if key.startswith(keys.DATA):
        return "chunk"
    return "mangled-key" if key.startswith("meta/") else "unknown-key"


def _without_array(key: str, arrays: Mapping[str, DraftArray]) -> str | None:
    """The path in a chunk key, if no array that can be read has chunks of such keys."""
    name = key.removeprefix(keys.DATA)
    chunk = keys.split_draft(name)
    if chunk is None:
        return name.rpartition("/")[0]
    array = arrays.get(chunk.path)
    return chunk.path if array is None or keys.coords_in(chunk, array.grid) is None else None


def _stale(hierarchy: Hierarchy, documents: Iterable[str]) -> Iterator[Damage]:
    """Consolidated metadata that differ from the documents."""
    folder = f"{keys.meta_name(keys.CONSOLIDATED)}/"
    names = [key for key in hierarchy.store.list_prefix(folder) if key not in documents]
    for name, value in zip(names, hierarchy.store.get_many(whole(names)), strict=True):
        try:
            held = load_document(value or b"", source=name)
        except MetadataError as error:
            yield Damage(keys.CONSOLIDATED, name, "stale-consolidated", str(error))
            continue
        metadata = held.get("metadata")
        if not isinstance(metadata, dict):
            yield Damage(keys.CONSOLIDATED, name, "stale-consolidated", "it has no member metadata")
            continue
        differing = _differing(hierarchy, sorted(documents), metadata)
        if differing:
            text = f"it differs from the documents {', '.join(differing[:_SHOWN])}" + (
                ", …" if differing[_SHOWN:] else ""
            )
            yield Damage(keys.CONSOLIDATED, name, "stale-consolidated", text)


def _differing(hierarchy: Hierarchy, documents: list[str], metadata: Mapping[str, JSON]) -> list[str]:
    """The documents that differ between the store and consolidated metadata."""
    values = hierarchy.store.get_many(whole(documents))
    differing = set(metadata) - set(documents) - {ENTRY}
    for key, value in zip(documents, values, strict=True):
        try:
            own = load_document(value or b"", source=key)
        except MetadataError:
            own = {}
        if repr(metadata.get(key)) != repr(own):  # NaN equals NaN
            differing.add(key)
    side_effect = keys.draft_document(keys.CONSOLIDATED, "group", hierarchy.suffix)
    return sorted(differing - {side_effect})
