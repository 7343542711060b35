# errors · registry    what can go wrong; plugins by name, from their entry_points
# forks                what forked children make new
# options              declared options, URLs, `${NAME}`, redaction, settings
# store · layers       the contract, the guard, stores in memory; stores around stores
# opening              from a URL, a path or a configuration to a store
# format · indexing    documents, data types, codecs; selections: pure
# chunks               how chunks lie in a store, and moving them
# hierarchy · api      arrays and groups; the functions below
# aio                  the same in coroutines
# codecs · dtype · storage · experimental · core · compat    names of zarr-python 3 and 2
# testing              the conformance kit
"""A pluggable storage framework for Zarr V3: arrays and groups in any store, stores as plugins.

The public names are imported when they are first used: `import zarrv3` and `import zarrv3.store…` do not import numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrv3 import errors as errors

if TYPE_CHECKING:
    from zarrv3 import aio as aio
    from zarrv3 import codecs as codecs
    from zarrv3 import core as core
    from zarrv3 import dtype as dtype
    from zarrv3 import experimental as experimental
    from zarrv3 import storage as storage
    from zarrv3.api import array as array
    from zarrv3.api import consolidate_metadata as consolidate_metadata
    from zarrv3.api import create as create
    from zarrv3.api import create_array as create_array
    from zarrv3.api import create_group as create_group
    from zarrv3.api import create_hierarchy as create_hierarchy
    from zarrv3.api import empty as empty
    from zarrv3.api import empty_like as empty_like
    from zarrv3.api import from_array as from_array
    from zarrv3.api import full as full
    from zarrv3.api import full_like as full_like
    from zarrv3.api import group as group
    from zarrv3.api import load as load
    from zarrv3.api import ones as ones
    from zarrv3.api import ones_like as ones_like
    from zarrv3.api import open as open  # noqa: A004 - zarr-python has this name
    from zarrv3.api import open_consolidated as open_consolidated
    from zarrv3.api import open_group as open_group
    from zarrv3.api import open_like as open_like
    from zarrv3.api import save as save
    from zarrv3.api import save_array as save_array
    from zarrv3.api import save_group as save_group
    from zarrv3.api import tree as tree
    from zarrv3.api import zeros as zeros
    from zarrv3.api import zeros_like as zeros_like
    from zarrv3.chunks.chunk_cache import ChunkCache as ChunkCache
    from zarrv3.chunks.transformers import StorageTransformer as StorageTransformer
    from zarrv3.hierarchy.array import Array as Array
    from zarrv3.hierarchy.consolidated import ConsolidatedMetadataStore as ConsolidatedMetadataStore
    from zarrv3.hierarchy.group import Group as Group
    from zarrv3.hierarchy.opening import open_array as open_array
    from zarrv3.layers import Counting as Counting
    from zarrv3.layers import Layer as Layer
    from zarrv3.layers import Prefix as Prefix
    from zarrv3.layers import ReadOnly as ReadOnly
    from zarrv3.opening.hooks import hookimpl as hookimpl
    from zarrv3.opening.stores import open_store as open_store
    from zarrv3.options.declared import Option as Option
    from zarrv3.options.settings import config as config
    from zarrv3.store.backend import Backend as Backend
    from zarrv3.store.base import BaseStore as BaseStore
    from zarrv3.store.contract import Buffer as Buffer
    from zarrv3.store.contract import ByteRange as ByteRange
    from zarrv3.store.contract import Capabilities as Capabilities
    from zarrv3.store.contract import Limits as Limits
    from zarrv3.store.contract import Request as Request
    from zarrv3.store.contract import Store as Store
    from zarrv3.store.file_backend import FileBackend as FileBackend
    from zarrv3.store.memory import KVStore as KVStore
    from zarrv3.store.memory import MemoryStore as MemoryStore
    from zarrv3.store.wrapping import as_mapping as as_mapping

    # the classes of plugins: known to type checkers where the package is installed, Any where it is not
    from zarrv3_bridge_icechunk import IcechunkStore as IcechunkStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_bridge_zarr import from_zarr_store as from_zarr_store  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_draft_v3 import DraftV3 as DraftV3  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_log import LogLayer as LogLayer  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_lru_cache import LRUStoreCache as LRUStoreCache  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_overlay import OverlayLayer as OverlayLayer  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_retry import Retry as Retry  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_telemetry import TelemetryLayer as TelemetryLayer  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_layer_zarr2 import Zarr2 as Zarr2  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_dbm import DBMStore as DBMStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_directory import DirectoryStore as DirectoryStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_fsspec import FSStore as FSStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_lmdb import LMDBStore as LMDBStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_mongodb import MongoDBStore as MongoDBStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_obstore import ObjectStore as ObjectStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_redis import RedisStore as RedisStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_sql import SQLiteStore as SQLiteStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_sql import SQLStore as SQLStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_store_zip import ZipStore as ZipStore  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_tools import copy as copy  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_tools import diff as diff  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_tools import verify as verify  # type: ignore[import-not-found,unused-ignore]
    from zarrv3_transformer_sharding import ShardingTransformer as ShardingTransformer  # type: ignore[import-not-found,unused-ignore]

__version__ = "0.1.0"

_MODULES: dict[str, str] = {
    "zarrv3": "aio codecs core dtype experimental storage",
    "zarrv3.api": "array consolidate_metadata create create_array create_group create_hierarchy empty empty_like from_array full full_like group load ones ones_like open open_consolidated open_group open_like save save_array save_group tree zeros zeros_like",
    "zarrv3.chunks.chunk_cache": "ChunkCache",
    "zarrv3.chunks.transformers": "StorageTransformer",
    "zarrv3.hierarchy.array": "Array",
    "zarrv3.hierarchy.consolidated": "ConsolidatedMetadataStore",
    "zarrv3.hierarchy.group": "Group",
    "zarrv3.hierarchy.opening": "open_array",
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


if not TYPE_CHECKING:  # for type checkers a misspelt name is an error, and what is public stands above
    __all__ = ["errors", *_HOME]  # noqa: PLE0604 - they are texts

    def __getattr__(name: str) -> Any:
        """A public name, imported on first use; else what an installed package has, or which package to install for it."""
        if _HOME.get(name) == "zarrv3":
            return import_module(f"zarrv3.{name}")
        if name in _HOME:
            return globals().setdefault(name, getattr(import_module(_HOME[name]), name))
        from zarrv3.registry import OFFERED_FUNCTIONS, find_class, find_function

        if name in OFFERED_FUNCTIONS:
            return globals().setdefault(name, find_function(name))
        if not name[:1].isupper():
            raise AttributeError(f"module 'zarrv3' has no attribute {name!r}", name=name)
        return find_class(name)


def __dir__() -> list[str]:
    """The public names, with the classes of the plugins that are installed: the first call scans for them."""
    from zarrv3.registry import OFFERED_FUNCTIONS, class_names

    return sorted({*globals(), *_HOME, *OFFERED_FUNCTIONS, *class_names()})
