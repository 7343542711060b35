"""Stores by the names and arguments that zarr-python 3 has for them: `zarrv3.storage.LocalStore("data", read_only=True)`.

A name stands for a function that makes a store of ours, and `isinstance` knows those stores. Without the plugin that provides
the class, the error says which package to install.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Generic, Literal, ParamSpec

from zarrv3 import registry
from zarrv3.errors import ConfigurationError
from zarrv3.hierarchy.node import StorePath
from zarrv3.layers.base import Layer as WrapperStore
from zarrv3.layers.counting import Counting as LoggingStore
from zarrv3.layers.prefix import Prefix
from zarrv3.layers.read_only import ReadOnly
from zarrv3.opening.stores import StoreLike, open_store
from zarrv3.store import memory
from zarrv3.store.base import BaseStore

__all__ = [
    "FsspecStore",
    "LocalStore",
    "LoggingStore",
    "ManagedMemoryStore",
    "MemoryStore",
    "ObjectStore",
    "StoreLike",
    "StorePath",
    "WrapperStore",
    "ZipStore",
]

P = ParamSpec("P")


def offered(name: str, find: Callable[[str], Any] = registry.find_class) -> Any:
    """The class or function of a plugin; an `ImportError` says which package to install."""
    try:
        return find(name)
    except AttributeError as error:
        raise ImportError(str(error), name=name) from None


class Named(Generic[P]):
    """A name of zarr-python's for stores of ours: calling it makes one."""

    def __init__(self, make: Callable[P, BaseStore], *classes: str) -> None:
        functools.update_wrapper(self, make)
        self._make = make
        self._classes = classes

    def __call__(self, *args: P.args, **options: P.kwargs) -> BaseStore:
        """A new store."""
        return self._make(*args, **options)

    def __instancecheck__(self, store: object) -> bool:
        """Whether something is such a store, or one that may only be read."""
        while isinstance(store, ReadOnly) and type(store).__name__ not in self._classes:
            store = store.inner
        return isinstance(store, BaseStore) and type(store).__name__ in self._classes


def _named(*classes: str) -> Callable[[Callable[P, BaseStore]], Named[P]]:
    return lambda make: Named(make, *classes)


def _limited(store: BaseStore, *, read_only: bool) -> BaseStore:
    return ReadOnly(store) if read_only and not store.refuses_writes else store


@_named("DirectoryStore")
def LocalStore(root: str | os.PathLike[str], *, read_only: bool = False) -> BaseStore:  # noqa: N802 - zarr-python's
    """A folder: `zarrv3.DirectoryStore`."""
    return _limited(offered("DirectoryStore")(root), read_only=read_only)


@_named("MemoryStore")
def MemoryStore(  # noqa: N802
    store_dict: MutableMapping[str, Any] | None = None, *, read_only: bool = False
) -> BaseStore:
    """The memory of this process: `zarrv3.MemoryStore`."""
    return _limited(memory.MemoryStore(store_dict), read_only=read_only)


@_named("MemoryStore")
def ManagedMemoryStore(name: str, *, path: str = "", read_only: bool = False) -> BaseStore:  # noqa: N802
    """Memory that stores of one name share: `zarrv3.MemoryStore(name=…)`."""
    store = memory.MemoryStore(name=name)
    return _limited(Prefix(store, path) if path else store, read_only=read_only)


@_named("ZipStore", "ZipReader")
def ZipStore(  # noqa: N802
    path: Any,
    *,
    mode: Literal["r", "w", "a", "x"] = "r",
    read_only: bool | None = None,
    compression: int = 0,
    allowZip64: bool = True,  # noqa: N803
) -> BaseStore:
    """A zip archive, a file or an open file: `zarrv3.ZipStore`."""
    reads = mode == "r" if read_only is None else read_only
    if hasattr(path, "read"):
        if mode != "r" or not reads:
            raise ConfigurationError(
                "an archive in an open file can only be read; give its path to change it"
            )
        reader: BaseStore = offered("ZipReader").in_file(path)
        return reader
    if reads and mode in {"w", "x"}:
        raise ConfigurationError(f"mode={mode!r} writes an archive, which read_only=True refuses")
    return _limited(offered("ZipStore")(path, compression, allowZip64, mode), read_only=reads)


@_named("ForeignStore", "ObjectStore")
def ObjectStore(store: Any, *, read_only: bool = False) -> BaseStore:  # noqa: N802
    """A store of obstore: `zarrv3.from_zarr_store`, which goes by way of zarr-python's own class."""
    return _limited(offered("from_zarr_store", registry.find_function)(store), read_only=read_only)


def _fsspec_store(
    fs: Any, *, read_only: bool = False, path: str = "/", allowed_exceptions: Any = None
) -> BaseStore:
    """Files of a file system of fsspec: `zarrv3.FSStore`."""
    return _limited(
        offered("FSStore")(path, fs=fs, missing_exceptions=allowed_exceptions), read_only=read_only
    )


class _Fsspec(Named[P]):
    """A name with other ways to make a store."""

    @staticmethod
    def from_url(
        url: str, *, storage_options: Mapping[str, Any] | None = None, read_only: bool = False
    ) -> BaseStore:
        """What `open_store(url, **storage_options)` opens."""
        return open_store(url, read_only=read_only, **(storage_options or {}))

    @staticmethod
    def from_upath(upath: Any, *, read_only: bool = False) -> BaseStore:
        """What `open_store(upath)` opens."""
        return open_store(upath, read_only=read_only)

    @staticmethod
    def from_mapper(fs_map: Any, *, read_only: bool = False) -> BaseStore:
        """The folder of a mapper of fsspec's."""
        return _fsspec_store(fs_map.fs, path=fs_map.root, read_only=read_only)


FsspecStore = _Fsspec(_fsspec_store, "FSStore")
