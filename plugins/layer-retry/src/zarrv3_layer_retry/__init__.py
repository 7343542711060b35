"""A layer that tries again.

layer  `Retry`: which calls are repeated, and when that would be wrong
"""

from zarrv3_layer_retry.layer import Retry

__all__ = ["Retry"]
