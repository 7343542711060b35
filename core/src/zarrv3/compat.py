"""The names of zarr-python 2's experimental V3 support, so that code written for it changes one import.

    from zarr._storage.v3 import DirectoryStoreV3, KVStoreV3            # before
    from zarrv3.compat import DirectoryStoreV3, KVStoreV3               # now

The names of `zarr._storage.store` and `zarr._storage.v3_storage_transformers` are here too. Constructors take the arguments they took.
The classes of plugins are found when they are asked for; without the plugin the error says which package to install.

On disk it is the final Zarr V3 format: each node has its own `zarr.json`, the chunks of an array lie beside it under `c/`.
There is no `meta/root`, no `data/root` and no environment variable to set. Hierarchies in the draft format are opened by
the package `zarrv3-layer-draft-v3`. What else differs:

| then | now |
|---|---|
| `StoreV3` as the base of a store of one's own | `collections.abc.MutableMapping`; `KVStoreV3` makes a store of it |
| `store[key]` gives whatever was stored | always `bytes` |
| `store[key] = array` | bytes, bytearray or flat memoryview: `memoryview(array).cast("B")` |
| reading under a text that is not a key: KeyError, False | `InvalidKeyError`, a ValueError |
| keys start with `meta/` or `data/`, ASCII only | any text of parts joined by `/` without empty ones, `.` and `..` |
| `key in store` searches the full listing | asks for that key alone |
| `list_prefix(prefix)` and `list_dir(prefix)` look at every key | look at one folder where the store can |
| `list_dir(prefix)` returns keys and prefixes, two lists | an iterator over both, unsorted; names of folders end in `/` |
| `list_prefix(prefix)` returns a list | an iterator |
| `list_dir`, `erase_prefix`: AssertionError for a bad prefix | `InvalidKeyError`, a ValueError |
| `rename(src, dst)`: ValueError when nothing is there | `NodeNotFoundError`, a KeyError and FileNotFoundError |
| `rename` onto something replaces it | `InvalidKeyError`, a ValueError |
| `rmdir("")` leaves `zarr.json` in some stores | erases everything in all of them |
| `getsize(path)` counts its neighbours too; -1 or missing in some stores | the bytes of that path, in every store that lists |
| `get_partial_values` fails past the end of a value | clips, as slicing does |
| `set_partial_values`: AssertionError for a gap | `InvalidKeyError`, a ValueError |
| `close()` of most stores does nothing | releases connections; later calls raise `StoreClosedError`, a ValueError |
| `==` is identity for some stores | equal when both were made for the same data |
| writing to what is read-only: `zarr.errors.ReadOnlyError` | `zarrv3.errors.ReadOnlyError`, a PermissionError |
| `transformer.inner_store` before binding: AssertionError | `ConfigurationError`, a ValueError |
| a transformer overrides `__getitem__` | overrides `get_many` and `get_versioned` |
| a transformer overrides `__setitem__`, `__delitem__` | overrides `write_many`, `swap_many` and `apply_many` |
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
