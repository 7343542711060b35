"""The nodes of a hierarchy with their stored sizes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zarrv3 import BaseStore
from zarrv3.errors import MetadataError
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.nodes import Metadata
from zarrv3.store.keys import parent
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
    waiting = [entry]
    while waiting:
        yield (entry := waiting.pop())
        waiting += reversed(entry.members)


def _descend(store: BaseStore, top: Entry, level: int | None) -> None:
    waiting = [(top, 0)]
    while waiting:
        entry, depth = waiting.pop()
        if isinstance(entry.metadata, GroupMetadata) and (level is None or depth < level):
            for name, metadata in nodes.children(store, entry.path):
                entry.members.append(Entry(path=nodes.folder_of(entry.path) + name, metadata=metadata))
            waiting += [(member, depth + 1) for member in entry.members]


def _measure(store: BaseStore, top: Entry) -> None:
    entries = {entry.path: entry for entry in flat(top)}
    for entry in entries.values():
        entry.size = 0
    for key, size in store.list_sizes(nodes.folder_of(top.path)):
        path = parent(key)[:-1]
        while path not in entries:
            path = parent(path)[:-1]
        own = entries[path]
        own.size = (own.size or 0) + size
    for entry in reversed([*entries.values()]):
        entry.size = (entry.size or 0) + sum(member.size or 0 for member in entry.members)
