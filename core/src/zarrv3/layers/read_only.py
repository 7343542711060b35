"""The layer that refuses to write."""

from zarrv3.layers.base import Layer
from zarrv3.store.contract import Capabilities


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

    def flush(self) -> None:
        """Nothing was written through this layer."""
