"""The layer that refuses to write."""

from collections.abc import Collection
from typing import NoReturn

from zarrv3.errors import ReadOnlyError
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Capabilities, Changes, Swaps
from zarrv3.store.keys import summary


class ReadOnly(Layer):
    """A store that can be read and listed but not changed, whatever the wrapped one can; adapter `|read-only:`."""

    kind = "read-only"

    def __init__(self, store: object) -> None:
        super().__init__(store)

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities.read_only()

    def write_many(self, changes: Changes, /) -> None:
        self._refuse(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        self._refuse(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        self._refuse(changes)

    def erase_prefix(self, folder: str, /) -> None:
        self._refuse([folder])

    def rename_prefix(self, source: str, target: str, /) -> None:
        self._refuse([source, target])

    def flush(self) -> None:
        """Nothing was written through this layer."""

    def _refuse(self, keys: Collection[str]) -> NoReturn:
        raise ReadOnlyError(f"cannot change {summary(keys)}: {self.describe()} is read-only")
