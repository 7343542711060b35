"""The views of a store as a mapping, which read in batches."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Any

from zarrv3.store.helpers import BATCH, chunked


class Items(ItemsView[str, bytes]):
    """The items view of a store, reading in batches."""

    _mapping: Any

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for keys in chunked(self._mapping, BATCH):
            yield from self._mapping.getitems(keys).items()


class Values(ValuesView[bytes]):
    """The values view of a store, reading in batches."""

    _mapping: Any

    def __iter__(self) -> Iterator[bytes]:
        return (value for _, value in Items(self._mapping))

    def __contains__(self, value: object) -> bool:
        return any(value == other for other in self)
