"""The nodes of a hierarchy with their stored sizes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zarrv3 import BaseStore
from zarrv3.errors import MetadataError
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.nodes import Metadata
from zarrv3_cli.output import bytes_text


@dataclass(kw_only=True)
class Entry:
    """A node and those below it."""

    path: str
    metadata: Metadata | MetadataError
    size: int | None = None
    """The stored bytes of the node with everything below; `None` where the store cannot say."""
    members: list["Entry"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the path; `/` for the root."""
        return self.path.rpartition("/")[2] or "/"

    @property
    def kind(self) -> str:
        """`array`, `group` or `unreadable`."""
        if isinstance(self.metadata, MetadataError):
            return "unreadable"
        return "array" if isinstance(self.metadata, ArrayMetadata) else "group"

    def fields(self) -> list[str]:
        """Kind, shape, data type and size as texts."""
        shape = data_type = ""
        if isinstance(self.metadata, ArrayMetadata):
            shape, data_type = str(self.metadata.shape), self.metadata.data_type.describe()
        return [self.kind, shape, data_type, bytes_text(self.size)]

    def to_json(self) -> dict[str, Any]:
        """The entry and its members as a document."""
        found: dict[str, Any] = {"name": self.name, "path": self.path, "type": self.kind, "bytes": self.size}
        if isinstance(self.metadata, ArrayMetadata):
            found["shape"] = [*self.metadata.shape]
            found["data_type"] = self.metadata.data_type.describe()
        if isinstance(self.metadata, GroupMetadata):
            found["members"] = [member.to_json() for member in self.members]
        if isinstance(self.metadata, MetadataError):
            found["error"] = str(self.metadata)
        return found


def look(store: BaseStore, path: str, level: int | None = None) -> Entry:
    """The node at a path with its members down to a level; sizes come from one listing of the whole.

    Where the store cannot list, members are those of the consolidated metadata. Raises `NodeNotFoundError` when nothing is there.
    """
    (found,) = nodes.look(store, [path])
    if found is None:
        raise nodes.missing(store, path)
    top = Entry(path=path, metadata=found)
    if isinstance(found, GroupMetadata) and not store.capabilities.list:
        store = consolidated.with_consolidated(store, path, found, wanted=None)
    _descend(store, top, level)
    if store.capabilities.list:
        _measure(store, top)
    return top


def flat(entry: Entry) -> Iterator[Entry]:
    """An entry and all below it."""
    yield entry
    for member in entry.members:
        yield from flat(member)


def _descend(store: BaseStore, entry: Entry, level: int | None) -> None:
    if not isinstance(entry.metadata, GroupMetadata) or (level is not None and level <= 0):
        return
    for name, metadata in nodes.children(store, entry.path):
        member = Entry(path=nodes.folder_of(entry.path) + name, metadata=metadata)
        entry.members.append(member)
        _descend(store, member, None if level is None else level - 1)


def _measure(store: BaseStore, top: Entry) -> None:
    entries = {entry.path: entry for entry in flat(top)}
    for entry in entries.values():
        entry.size = 0
    for key, size in store.list_sizes(nodes.folder_of(top.path)):
        parts = key.split("/")[:-1]
        for end in range(len(parts) + 1):
            entry_ = entries.get("/".join(parts[:end]))
            if entry_ is not None:
                entry_.size = (entry_.size or 0) + size
