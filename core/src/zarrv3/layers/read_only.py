"""The layer that refuses to write."""

from collections.abc import Mapping

from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Capabilities


class ReadOnly(Layer):
    """A store that can be read and listed but not changed, whatever the wrapped one can; adapter `|read-only:`.

    Its capabilities are enough: what they do not allow, a layer refuses.
    """

    kind = "read-only"

    def __init__(self, store: object) -> None:
        super().__init__(store)

    @property
    def refuses_writes(self) -> bool:
        """Always."""
        return True

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities.read_only()

    @property
    def live(self) -> BaseStore:
        """See `BaseStore`: the inner store's, which cannot be changed either."""
        below = self.inner.live
        return self if below is self.inner else ReadOnly(below)

    def snapshot(self, key: str, /) -> Mapping[str, JSON] | None:
        """See `BaseStore`: what the inner store shows."""
        return self.inner.snapshot(key)

    def flush(self) -> None:
        """Nothing was written through this layer."""
