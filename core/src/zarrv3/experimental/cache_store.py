"""The cache of zarr-python 3 in its words: `zarrv3.LRUStoreCache` with a second tier."""

from collections.abc import Callable
from typing import Any

from zarrv3.errors import ConfigurationError
from zarrv3.storage import Named, offered
from zarrv3.store.base import BaseStore


def _cache_store(
    store: Any,
    *,
    cache_store: Any,
    max_age_seconds: float | str = "infinity",
    max_size: int | None = None,
    cache_set_data: bool = True,
) -> BaseStore:
    """A store that remembers what is read from another one, whole values in a store of their own; see `LRUStoreCache`."""
    if isinstance(max_age_seconds, str) and max_age_seconds != "infinity":
        raise ConfigurationError(
            f"max_age_seconds must be a number of seconds or 'infinity', not {max_age_seconds!r}"
        )
    layer: Callable[..., BaseStore] = offered("LRUStoreCache")
    limit = {} if max_size is None else {"max_size": max_size}
    return layer(
        store,
        ttl=None if isinstance(max_age_seconds, str) else max_age_seconds,
        cache_on_write=cache_set_data,
        cache_store=cache_store,
        cache_store_size=max_size,
        **limit,
    )


__all__ = ["CacheStore"]

CacheStore = Named(_cache_store, "LRUStoreCache")
