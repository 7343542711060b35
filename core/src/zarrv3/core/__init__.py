# group    as in zarr.core.group
"""What zarr-python's documentation imports from its `zarr.core`."""

from zarrv3.core import group as group
