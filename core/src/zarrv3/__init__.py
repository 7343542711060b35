# errors · registry    what can go wrong; plugins by name
# forks                what forked children make new
# options              declared options, URLs, `${NAME}`, redaction, settings
# store · layers       the contract, the guard, stores in memory; stores around stores
# opening              from a URL, a path or a configuration to a store
# format · indexing    documents, data types, codecs; selections: pure
# chunks               how chunks lie in a store, and moving them
# hierarchy · api      arrays and groups; the functions below
# compat · testing     names of zarr-python 2; the conformance kit
"""A pluggable storage framework for Zarr V3: arrays and groups in any store, stores as plugins.

The public names are imported when they are first used: `import zarrv3` and `import zarrv3.store…` do not import numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrv3 import errors

if TYPE_CHECKING:
    from zarrv3.api import (
        array,
        consolidate_metadata,
        create,
        create_array,
        create_group,
        create_hierarchy,
        empty,
        empty_like,
        full,
        full_like,
        group,
        load,
        ones,
        ones_like,
        open,  # noqa: A004 - zarr-python has this name
        open_array,
        open_consolidated,
        open_group,
        open_like,
        save,
        save_array,
        save_group,
        tree,
        zeros,
        zeros_like,
    )
    from zarrv3.chunks.chunk_cache import ChunkCache
    from zarrv3.chunks.transformers import StorageTransformer
    from zarrv3.hierarchy.array import Array
    from zarrv3.hierarchy.consolidated import ConsolidatedMetadataStore
    from zarrv3.hierarchy.group import Group
    from zarrv3.layers import Counting, Layer, Prefix, ReadOnly
    from zarrv3.opening.hooks import hookimpl
    from zarrv3.opening.stores import open_store
    from zarrv3.options.declared import Option
    from zarrv3.options.settings import config
    from zarrv3.store.backend import Backend
    from zarrv3.store.base import BaseStore
    from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Limits, Request, Store
    from zarrv3.store.file_backend import FileBackend
    from zarrv3.store.memory import KVStore, MemoryStore
    from zarrv3.store.wrapping import as_mapping

    # the classes of plugins: known to type checkers where the package is installed, Any where it is not
    from zarrv3_layer_draft_v3 import DraftV3 as DraftV3  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_lru_cache import LRUStoreCache as LRUStoreCache  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_retry import Retry as Retry  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_dbm import DBMStore as DBMStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_directory import DirectoryStore as DirectoryStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_fsspec import FSStore as FSStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_lmdb import LMDBStore as LMDBStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_mongodb import MongoDBStore as MongoDBStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_redis import RedisStore as RedisStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_sql import SQLiteStore as SQLiteStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_sql import SQLStore as SQLStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_zip import ZipStore as ZipStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_tools import copy as copy  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_tools import verify as verify  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_transformer_sharding import ShardingTransformer as ShardingTransformer  # type: ignore[import-not-found,unused-ignore]

__version__ = "0.1.0"

__all__ = [
    "Array",
    "Backend",
    "BaseStore",
    "Buffer",
    "ByteRange",
    "Capabilities",
    "ChunkCache",
    "ConsolidatedMetadataStore",
    "Counting",
    "FileBackend",
    "Group",
    "KVStore",
    "Layer",
    "Limits",
    "MemoryStore",
    "Option",
    "Prefix",
    "ReadOnly",
    "Request",
    "StorageTransformer",
    "Store",
    "array",
    "as_mapping",
    "config",
    "consolidate_metadata",
    "create",
    "create_array",
    "create_group",
    "create_hierarchy",
    "empty",
    "empty_like",
    "errors",
    "full",
    "full_like",
    "group",
    "hookimpl",
    "load",
    "ones",
    "ones_like",
    "open",
    "open_array",
    "open_consolidated",
    "open_group",
    "open_like",
    "open_store",
    "save",
    "save_array",
    "save_group",
    "tree",
    "zeros",
    "zeros_like",
]

_MODULES: dict[str, str] = {
    "zarrv3.api": "array consolidate_metadata create create_array create_group create_hierarchy empty empty_like full full_like group load ones ones_like open open_array open_consolidated open_group open_like save save_array save_group tree zeros zeros_like",
    "zarrv3.chunks.chunk_cache": "ChunkCache",
    "zarrv3.chunks.transformers": "StorageTransformer",
    "zarrv3.hierarchy.array": "Array",
    "zarrv3.hierarchy.consolidated": "ConsolidatedMetadataStore",
    "zarrv3.hierarchy.group": "Group",
    "zarrv3.layers": "Counting Layer Prefix ReadOnly",
    "zarrv3.opening.hooks": "hookimpl",
    "zarrv3.opening.stores": "open_store",
    "zarrv3.options.declared": "Option",
    "zarrv3.options.settings": "config",
    "zarrv3.store.backend": "Backend",
    "zarrv3.store.base": "BaseStore",
    "zarrv3.store.contract": "Buffer ByteRange Capabilities Limits Request Store",
    "zarrv3.store.file_backend": "FileBackend",
    "zarrv3.store.memory": "KVStore MemoryStore",
    "zarrv3.store.wrapping": "as_mapping",
}
"""Where the public names are defined."""

_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}


if not TYPE_CHECKING:  # so that a misspelt name is an error for type checkers

    def __getattr__(name: str) -> Any:
        """A public name, imported on first use; else what an installed package has, or which package to install for it."""
        if name in _HOME:
            return globals().setdefault(name, getattr(import_module(_HOME[name]), name))
        if name.startswith("_"):
            raise AttributeError(f"module 'zarrv3' has no attribute {name!r}", name=name)
        from zarrv3.registry import OFFERED_FUNCTIONS, find_class, find_function

        if name in OFFERED_FUNCTIONS:
            return globals().setdefault(name, find_function(name))
        if not name[:1].isupper():
            raise AttributeError(f"module 'zarrv3' has no attribute {name!r}", name=name)
        return find_class(name)


def __dir__() -> list[str]:
    """The public names, with the classes of the plugins that are installed: the first call scans for them."""
    from zarrv3.registry import OFFERED_FUNCTIONS, class_names

    return sorted({*globals(), *__all__, *OFFERED_FUNCTIONS, *class_names()})
