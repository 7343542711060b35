"""The names of zarr-python 2's experimental V3 support, so that code written for it changes one import.

    from zarr._storage.v3 import DirectoryStoreV3, KVStoreV3            # before
    from zarrv3.compat import DirectoryStoreV3, KVStoreV3               # now

The names of `zarr._storage.store` and `zarr._storage.v3_storage_transformers` are here too. Constructors take the arguments they took.
The classes of plugins are found when they are asked for; without the plugin the error says which package to install.

On disk it is the final Zarr V3 format: each node has its own `zarr.json`, the chunks of an array lie beside it under `c/`.
There is no `meta/root`, no `data/root` and no environment variable to set. Hierarchies in the draft format are opened by
the package `zarrv3-layer-draft-v3`. `docs/migrating.md` lists, method by method, what else differs.
"""

from typing import Any

from zarrv3 import registry
from zarrv3.chunks.transformers import StorageTransformer
from zarrv3.hierarchy.consolidated import ConsolidatedMetadataStore as ConsolidatedMetadataStoreV3
from zarrv3.store.base import BaseStore
from zarrv3.store.memory import KVStore as KVStoreV3
from zarrv3.store.memory import MemoryStore as MemoryStoreV3

__all__ = [
    "BaseStore",
    "ConsolidatedMetadataStoreV3",
    "KVStoreV3",
    "MemoryStoreV3",
    "RmdirV3",
    "StorageTransformer",
    "StoreV3",
]

StoreV3 = BaseStore

PLUGIN_CLASSES: dict[str, str] = {
    "DBMStoreV3": "DBMStore",
    "DirectoryStoreV3": "DirectoryStore",
    "FSStoreV3": "FSStore",
    "LMDBStoreV3": "LMDBStore",
    "LRUStoreCacheV3": "LRUStoreCache",
    "MongoDBStoreV3": "MongoDBStore",
    "RedisStoreV3": "RedisStore",
    "SQLiteStoreV3": "SQLiteStore",
    "ShardingStorageTransformer": "ShardingTransformer",
    "ZipStoreV3": "ZipStore",
}
"""The names that plugins provide, and what the classes are called there."""


class RmdirV3:
    """A mixin that puts our `rmdir` before one that another base class may bring along."""

    rmdir = BaseStore.rmdir


def __getattr__(name: str) -> Any:
    """The class of an installed plugin; without the plugin an `ImportError` that says which package to install.

    It is not an `AttributeError`, because `from zarrv3.compat import …` would drop the text of one.
    """
    if name in PLUGIN_CLASSES:
        try:
            return registry.find_class(PLUGIN_CLASSES[name])
        except AttributeError:
            package = registry.OFFERED_CLASSES[PLUGIN_CLASSES[name]]
            raise ImportError(
                f"{name} comes with another package: pip install {package}", name=__name__
            ) from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    """What is here, with the classes of the plugins that are installed."""
    installed = registry.class_names()
    return sorted({*globals(), *(name for name, theirs in PLUGIN_CLASSES.items() if theirs in installed)})
