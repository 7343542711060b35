"""A hierarchy as a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from zarrv3.array import Array

if TYPE_CHECKING:
    from zarrv3.group import Group, Member


class Tree:
    """The drawing of a group and what lies below; made when it is shown."""

    def __init__(self, group: Group, level: int | None = None) -> None:
        self._group = group
        self._level = level

    def lines(self) -> Iterator[str]:
        """One line for each node."""
        yield self._group.name
        yield from self._below(self._group, "", self._level)

    def _below(self, group: Group, indent: str, level: int | None) -> Iterator[str]:
        if level == 0:
            return
        members = [*group.members()]
        for number, (name, member) in enumerate(members, 1):
            last = number == len(members)
            yield f"{indent}{'└──' if last else '├──'} {name}{_note(member)}"
            if not isinstance(member, Array):
                yield from self._below(
                    member, f"{indent}{'    ' if last else '│   '}", None if level is None else level - 1
                )

    def __repr__(self) -> str:
        """The drawing."""
        return "\n".join(self.lines())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The drawing in a notebook."""
        return f"<pre>{escape(repr(self))}</pre>"


def _note(member: Member) -> str:
    return f" {member.shape} {member.metadata.data_type.describe()}" if isinstance(member, Array) else ""
