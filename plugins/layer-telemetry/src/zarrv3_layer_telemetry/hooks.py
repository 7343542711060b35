"""The layer around every store that is opened, where that is switched on; OpenTelemetry is imported only then."""

import os
from collections.abc import Collection
from typing import Any

from zarrv3.opening.hooks import hookimpl
from zarrv3.options.urls import boolean
from zarrv3.store.base import BaseStore

VARIABLE = "ZARRV3_TELEMETRY"
"""The environment variable that switches it on."""

_on: set[str] = set()


@hookimpl
def zarrv3_wrap_store(store: BaseStore) -> BaseStore | None:
    """The store in the layer, unless it is switched off or the store has it."""
    if not (_on or ((text := os.environ.get(VARIABLE)) and boolean(text))):
        return None
    from zarrv3_layer_telemetry.layer import TelemetryLayer

    return None if any(isinstance(one, TelemetryLayer) for one in store.stack()) else TelemetryLayer(store)


class Instrumentor:
    """What the command `opentelemetry-instrument` finds: switches the layer on for every store that is opened from then on."""

    def instrument(self, **_: Any) -> None:
        """Switch it on."""
        _on.add("")

    def uninstrument(self, **_: Any) -> None:
        """Switch it off; stores that are open keep the layer."""
        _on.clear()

    def instrumentation_dependencies(self) -> Collection[str]:
        """What has to be installed for it to make sense: nothing beside this package."""
        return []
