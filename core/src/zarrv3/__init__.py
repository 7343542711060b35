# contract · errors       what a store is, and what can go wrong
# store · backend         what a user holds; the guard around a backend's driver
# memory · layers         stores in memory; stores around stores
# registry · hooks        plugins by name; functions of any number of plugins
# urls · config · opening from a URL, a path or a configuration to a store
# data_types · grids · codecs · metadata · indexing     the format and the selections, pure
# transformers · layout · transfer                      how chunks lie in a store, and moving them
# nodes · consolidated · node · array · group · creation · api     arrays and groups
# testing · compat                                      the conformance kit; names of zarr-python 2
"""A pluggable storage framework for Zarr V3: arrays and groups in any store, stores as plugins."""

from typing import TYPE_CHECKING, Any

from zarrv3 import errors
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
    open,  # noqa: A004 - zarr-python's name
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

if TYPE_CHECKING:
    from zarrv3_tools import copy as copy
    from zarrv3_tools import verify as verify

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


def __getattr__(name: str) -> Any:
    """The class or function of an installed package (`zarrv3.LMDBStore`, `zarrv3.copy`), or which one to install for it."""
    from zarrv3.registry import OFFERED_FUNCTIONS, find_class, find_function

    if name in OFFERED_FUNCTIONS:
        return globals().setdefault(name, find_function(name))
    if not name[:1].isupper():
        raise AttributeError(f"module 'zarrv3' has no attribute {name!r}", name=name)
    return find_class(name)


def __dir__() -> list[str]:
    """What is here, with the classes of the plugins that are installed: the first call scans for them."""
    from zarrv3.registry import OFFERED_FUNCTIONS, class_names

    return sorted({*globals(), *OFFERED_FUNCTIONS, *class_names()})
