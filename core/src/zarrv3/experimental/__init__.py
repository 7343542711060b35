# cache_store    as in zarr.experimental.cache_store
"""What zarr-python 3 calls experimental, and is not here."""

from zarrv3.experimental import cache_store as cache_store
