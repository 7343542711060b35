"""A layer that writes a line to the log for a call.

layer  `LogLayer`: which calls, what the line says and how important it is
"""

from zarrv3_layer_log.layer import LogLayer

__all__ = ["LogLayer"]
