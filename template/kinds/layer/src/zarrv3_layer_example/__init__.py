"""The changes of a store in the log: `memory://data|example:`."""

import logging
from collections.abc import Collection

from zarrv3 import Layer
from zarrv3.store.contract import Changes, Swaps

log = logging.getLogger("zarrv3.example")


class Example(Layer):
    """A store around a store that says which keys were changed; values are written by these three methods."""

    kind = "example"

    def write_many(self, changes: Changes, /) -> None:
        self.inner.write_many(changes)
        log.info("changed: %s", ", ".join(changes))

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        refused = self.inner.swap_many(swaps)
        log.info("changed: %s", ", ".join(key for key in swaps if key not in refused))
        return refused

    def apply_many(self, changes: Changes, /) -> None:
        self.inner.apply_many(changes)
        log.info("changed: %s", ", ".join(changes))
