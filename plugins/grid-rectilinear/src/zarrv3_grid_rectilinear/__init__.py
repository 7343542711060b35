"""The chunk grid `rectilinear`: along each dimension chunks have one length, or each its own.

grid    `RectilinearGrid`: the grid in documents, and how it grows; the arithmetic is the core's (`zarrv3.format.cuts`)
"""

from zarrv3_grid_rectilinear.grid import RectilinearGrid

__all__ = ["RectilinearGrid"]
