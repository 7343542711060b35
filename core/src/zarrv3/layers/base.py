"""The layer that changes nothing: the base class of all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, Capabilities, Request, Store
from zarrv3.store.memory import wrap


class Layer(BaseStore):
    """A store around a store that passes every call on unchanged; subclasses override what they are about.

    Each of the contract's methods is forwarded by itself, so that the inner store's fast paths stay visible. A layer
    never claims a capability that its inner store lacks. Closing it closes the inner store.

    Args:
        store: what it wraps: a store, anything with the contract's methods, or a mutable mapping.
        options: the subclass's own options, by the names of its constructor's parameters.
    """

    kind = "layer"
    takes_store: ClassVar[bool] = True

    def __init__(self, store: object, **options: Any) -> None:
        self.inner: BaseStore = wrap(store)
        self._options = self.declared().check(options)

    @property
    def dimension_separator(self) -> str | None:
        """See `BaseStore`: the inner store's."""
        return self.inner.dimension_separator

    @property
    def capabilities(self) -> Capabilities:
        """See the contract."""
        return self.inner.capabilities

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        return self.inner.get_many(requests)

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        self.inner.set_many(items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        self.inner.erase_many(keys)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        self.inner.rename_prefix(source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        return self.inner.compare_and_set(key, old, new)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        self.inner.apply_many(changes)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        return self.inner.sizes(where)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        return self.inner.list_prefix(prefix)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        return self.inner.list_dir(folder)

    def flush(self) -> None:
        """See the contract."""
        self.inner.flush()

    def close(self) -> None:
        """See the contract."""
        self.inner.close()

    # ------------------------------------------------------------ description

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """The inner store and where a folder of this layer lies there; as far as is known, in the same place."""
        return self.inner, folder

    @classmethod
    def around(cls, store: object, options: Mapping[str, Any]) -> BaseStore:
        """Construct around a store from named options; an unknown one is an error that lists the known ones."""
        cls.declared().check_names(options)
        return cls(store, **options)

    def spec(self) -> dict[str, JSON]:
        """The inner store's spec with this layer's added."""
        inner = self.inner.spec()
        own = super().spec()
        layer = {"layer": own.pop("store"), **own}
        return {**inner, "layers": [*inner.get("layers", []), layer]}

    def describe(self) -> str:
        """The layer and what it lies on."""
        return f"{super().describe()} on {self.inner.describe()}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration of the whole stack."""
        return _rebuild, (type(self), self.inner, dict(self._options))

    def identity(self) -> Any:
        """See `BaseStore`; with the inner store."""
        return self.inner, self._changed_options()


def _rebuild(cls: type[Layer], inner: Store, options: dict[str, Any]) -> Layer:
    return cls(inner, **options)
