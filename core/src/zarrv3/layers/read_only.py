"""The layer that refuses to write."""

from collections.abc import Collection, Mapping
from typing import NoReturn

from zarrv3.errors import ReadOnlyError
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Buffer, Capabilities


class ReadOnly(Layer):
    """A store that can be read and listed but not changed, whatever the wrapped one can; adapter `|read-only:`."""

    kind = "read-only"

    def __init__(self, store: object) -> None:
        super().__init__(store)

    @property
    def refuses_writes(self) -> bool:
        """Always."""
        return True

    @property
    def capabilities(self) -> Capabilities:
        """What can be read."""
        return self.inner.capabilities.without(
            "write", "erase", "atomic_create", "atomic_swap", "transactions"
        )

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """Refused."""
        self._refuse("write", items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """Refused."""
        self._refuse("erase", keys)

    def erase_prefix(self, folder: str, /) -> None:
        """Refused."""
        self._refuse("erase", [folder])

    def rename_prefix(self, source: str, target: str, /) -> None:
        """Refused."""
        self._refuse("rename", [source, target])

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:  # noqa: ARG002
        """Refused."""
        self._refuse("replace", [key])

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """Refused."""
        self._refuse("change", changes)

    def flush(self) -> None:
        """Nothing was written through this layer."""

    def _refuse(self, verb: str, keys: Collection[str]) -> NoReturn:
        first = next(iter(keys), "")
        raise ReadOnlyError(f"cannot {verb} {first!r}: {self.describe()} is read-only")
