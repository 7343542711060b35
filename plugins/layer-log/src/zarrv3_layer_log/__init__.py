"""A layer that writes a line to the log for a call.

layer      `LogLayer`: which calls, what the line says and how important it is
observing  `Observing`: the layer that is told of every call, for this one and others
"""

from zarrv3_layer_log.layer import LogLayer
from zarrv3_layer_log.observing import Call, Observing

__all__ = ["Call", "LogLayer", "Observing"]
