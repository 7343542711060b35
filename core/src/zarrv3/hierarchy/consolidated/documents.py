"""The form that zarr-python 3 reads and writes, checked and made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.extensions import shown
from zarrv3.format.metadata import GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.group import Group
from zarrv3.hierarchy.nodes import DOCUMENT, document_key, folder_of, is_path, path_of
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON

MEMBER = "consolidated_metadata"
KIND = "inline"


class Contents(Mapping[str, bytes]):
    """The bytes of documents, made when they are asked for.

    Args:
        parsed: the documents, by key.
    """

    def __init__(self, parsed: Mapping[str, Mapping[str, JSON]]) -> None:
        self.parsed = parsed
        self._dumped: dict[str, bytes] = {}

    def __getitem__(self, key: str) -> bytes:
        """Compact, and with the bare NaN of other writers left as it was read."""
        found = self._dumped.get(key)
        if found is None:
            found = self._dumped[key] = json.dumps(self.parsed[key]).encode("ascii")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.parsed)

    def __len__(self) -> int:
        return len(self.parsed)

    def __contains__(self, key: object) -> bool:
        return key in self.parsed


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The documents of a group and of everything below it, as the group's own document has them. Immutable."""

    path: str
    """The path of the group."""
    contents: Contents
    """The keys of the documents with their content."""
    arrays: frozenset[str]
    """The paths of the arrays."""

    @cached_property
    def folders(self) -> Mapping[str, Sequence[str]]:
        """The folders directly below a folder, sorted, where there are any."""
        own = folder_of(self.path)
        below: dict[str, set[str]] = {}
        for key in self.contents:
            folder = own
            for part in key[len(own) :].split("/")[:-1]:
                below.setdefault(folder, set()).add(f"{folder}{part}/")
                folder += f"{part}/"
        return {folder: sorted(folders) for folder, folders in below.items()}

    def holds(self, key: str) -> bool:
        """Whether a key is that of a document of this tree, there or not; below an array there are none."""
        if key != DOCUMENT and not key.endswith(f"/{DOCUMENT}"):
            return False
        return key.startswith(folder_of(self.path)) and self.array_above(path_of(key)) is None

    def shows(self, key: str) -> bool:
        """Whether a key that is not a document's belongs to an array of this tree, or lies outside the tree."""
        return not key.startswith(folder_of(self.path)) or self.array_above(key) is not None

    def is_data(self, folder: str) -> bool:
        """Whether no document of this tree can lie in a folder."""
        own = folder_of(self.path)
        if folder.startswith(own):
            return self.array_above(folder[:-1]) is not None
        return not own.startswith(folder)

    def array_above(self, text: str) -> str | None:
        """The path of the array that a key or path lies below, if any."""
        end = text.rfind("/")
        while end > 0:
            if text[:end] in self.arrays:
                return text[:end]
            end = text.rfind("/", 0, end)
        return "" if "" in self.arrays and text else None


def read(metadata: GroupMetadata, path: str, source: str) -> Documents | None:
    """The documents in a group's consolidated metadata; `None` where there are none of a known kind.

    Raises `MetadataError` naming `source` for anything malformed, and `UnknownExtensionError` for an unknown kind that must
    be understood.
    """
    value = metadata.consolidated_metadata
    kind = None if value is None else value.get("kind")
    if value is not None and kind != KIND and value.get("must_understand", True) is not False:
        raise UnknownExtensionError(f"{source}: {MEMBER} is of the unknown kind {shown(kind)}")
    if value is None or kind != KIND:
        return None
    parsed: dict[str, Mapping[str, JSON]] = {document_key(path): metadata.document}
    arrays: set[str] = set()
    for name, document in _entries(value, "", source):
        node = folder_of(path) + name
        node_type = document.get("node_type")
        if not isinstance(node_type, str) or node_type not in {"array", "group"}:
            raise MetadataError(
                f'{source}: {MEMBER} has {name!r} with a node_type that is neither "array" nor "group"; {_ADVICE}'
            )
        if node_type == "array":
            arrays.add(node)
        own = {member: item for member, item in document.items() if member != MEMBER}
        parsed.setdefault(document_key(node), own)
    documents = Documents(path=path, contents=Contents(parsed), arrays=frozenset(arrays))
    for key in parsed:
        if not documents.holds(key):
            raise MetadataError(f"{source}: {MEMBER} has {key!r} below an array; {_ADVICE}")
    return documents


_ADVICE = "consolidate again, or open with use_consolidated=False"


def _entries(value: Mapping[str, JSON], above: str, source: str) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    """Paths below the group with documents: what stands there, then what nested groups have of their own."""
    entries = value.get("metadata")
    if not isinstance(entries, Mapping):
        raise MetadataError(f"{source}: {MEMBER}.metadata must be an object, not {shown(entries)}; {_ADVICE}")
    for name, document in entries.items():
        if not isinstance(document, Mapping) or document.get("zarr_format") != 3:
            raise MetadataError(f"{source}: {MEMBER} has {name!r} without a Zarr V3 document; {_ADVICE}")
        if not is_path(name):
            raise MetadataError(
                f"{source}: {MEMBER} has {name!r}, which is not the path of a node; {_ADVICE}"
            )
        yield above + name, document
    for name, document in entries.items():
        nested = document.get(MEMBER)
        if isinstance(nested, Mapping) and nested.get("kind") == KIND:
            yield from _entries(nested, f"{above}{name}/", source)


def consolidate(store: BaseStore, path: str) -> Group:
    """Write the documents of everything below a group into the group's own; see `zarrv3.consolidate_metadata`."""
    if not nodes.exists(store, path) and nodes.names(store, path):
        nodes.create(store, path, GroupMetadata.create())  # an old hierarchy whose root has no document
    group = Group(store, path)
    found = {name: node.metadata.document for name, node in group.members(None)}
    plain = {name: {n: v for n, v in one.items() if n != MEMBER} for name, one in found.items()}
    member = {"kind": KIND, "must_understand": False, "metadata": plain}
    group._change_quietly(lambda metadata: metadata.with_consolidated_metadata(member))
    nodes.Above.consolidations += 1
    return group
