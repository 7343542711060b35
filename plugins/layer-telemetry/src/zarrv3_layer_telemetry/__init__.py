"""OpenTelemetry spans and metrics of every call of a store.

layer  `TelemetryLayer`: what is reported of a call
hooks  the layer around every store that is opened, where that is switched on

OpenTelemetry is imported when the layer is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrv3_layer_telemetry.layer import TelemetryLayer

__all__ = ["TelemetryLayer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from zarrv3_layer_telemetry import layer

        return getattr(layer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
