"""The attributes of a node as a mutable mapping that is written through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from zarrv3.format.documents import copied
from zarrv3.store.contract import JSON

Change = Callable[[dict[str, JSON]], dict[str, JSON]]
"""From the attributes that are there, which it may change, to those that are wanted."""


class Attributes(MutableMapping[str, Any]):
    """The user attributes of an array or group.

    Reading takes from the metadata that the node holds. Every change is written to the store at once, on top of what is there
    then: concurrent changes of other attributes are kept where the store can swap atomically. Values are JSON; anything else
    is a `MetadataError`, and nothing is changed. NaN and infinities are not JSON: those that other writers have left stay where
    they are, new ones are refused. Thread-safe.
    """

    def __init__(self, read: Callable[[], Mapping[str, JSON]], write: Callable[[Change], None]) -> None:
        self._read = read
        self._write = write

    def __getitem__(self, name: str) -> Any:
        return copied(self._read()[name])  # a change within would not be written

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        def without(attributes: dict[str, JSON]) -> dict[str, JSON]:
            del attributes[name]
            return attributes

        self._write(without)

    def update(self, *others: Any, **more: Any) -> None:
        """Set several attributes in one write; takes what `dict.update` takes."""
        new = dict(*others, **more)
        self._write(lambda attributes: attributes | new)

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Replace all attributes by `attributes` in one write."""
        new = dict(attributes)
        self._write(lambda _: new)

    def clear(self) -> None:
        """Remove all attributes in one write."""
        self.put({})

    def asdict(self) -> dict[str, Any]:
        """The attributes as a plain dict, which can be changed without changing them."""
        return {name: copied(value) for name, value in self._read().items()}

    def __repr__(self) -> str:
        return f"<Attributes {self.asdict()!r}>"
