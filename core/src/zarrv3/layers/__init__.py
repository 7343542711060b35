"""Layers: stores around stores, chosen at run time.

base      pass everything on: what every layer starts from
read_only refuse to write
prefix    show one folder of a store as a store
counting  count round trips, keys and bytes
"""

from zarrv3.layers.base import Layer
from zarrv3.layers.counting import Counting
from zarrv3.layers.prefix import Prefix
from zarrv3.layers.read_only import ReadOnly

__all__ = ["Counting", "Layer", "Prefix", "ReadOnly"]
