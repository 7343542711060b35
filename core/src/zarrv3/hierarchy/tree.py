"""A hierarchy as a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zarrv3.errors import MetadataError
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.store.base import BaseStore

if TYPE_CHECKING:
    from zarrv3.hierarchy.group import Group


class Tree:
    """The drawing of a group and what lies below; made when it is shown."""

    def __init__(self, group: Group, level: int | None = None) -> None:
        self._group = group
        self._level = level

    def lines(self) -> Iterator[str]:
        """One line for each node; an unreadable one is drawn as such."""
        yield self._group.name
        yield from _below(self._group.store, self._group.path, "", self._level)

    def __repr__(self) -> str:
        """The drawing."""
        return "\n".join(self.lines())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The drawing in a notebook."""
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"


def _below(store: BaseStore, path: str, indent: str, level: int | None) -> Iterator[str]:
    if level is not None and level <= 0:
        return
    members = [*nodes.children(store, path)]
    for number, (name, metadata) in enumerate(members, 1):
        last = number == len(members)
        yield f"{indent}{'└──' if last else '├──'} {name}{_note(metadata)}"
        if isinstance(metadata, GroupMetadata):
            deeper = None if level is None else level - 1
            yield from _below(
                store, nodes.folder_of(path) + name, f"{indent}{'    ' if last else '│   '}", deeper
            )


def _note(metadata: nodes.Metadata | MetadataError) -> str:
    if isinstance(metadata, MetadataError):
        return " (unreadable)"
    if isinstance(metadata, ArrayMetadata):
        return f" {metadata.shape} {metadata.data_type.describe()}"
    return ""
