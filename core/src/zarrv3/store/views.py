"""The views of a store as a mapping, which read in batches."""

from __future__ import annotations

from collections.abc import Iterator

from zarrv3.store.contract import Store, whole
from zarrv3.store.helpers import BATCH, chunked


class Items:
    """The items view of a store, reading in batches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for keys in chunked(self._store.list_prefix(""), BATCH):
            values = self._store.get_many(whole(keys))
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    yield key, bytes(value)

    def __len__(self) -> int:
        return sum(1 for _ in self._store.list_prefix(""))

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        (value,) = self._store.get_many(whole([item[0]]))
        return value is not None and bytes(value) == item[1]


class Values(Items):
    """The values view of a store, reading in batches."""

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
        return (value for _, value in super().__iter__())

    def __contains__(self, value: object) -> bool:
        return any(value == other for other in self)
