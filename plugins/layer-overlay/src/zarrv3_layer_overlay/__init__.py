"""A layer that shows another store where it holds nothing of its own, and never changes that one.

layer  `OverlayLayer`: what is read from where, and how erasures are remembered
marks  what an overlay writes into its store besides values
"""

from zarrv3_layer_overlay.layer import OverlayLayer

__all__ = ["OverlayLayer"]
