"""`ForeignStore`: any store of zarr-python as a store of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, WrapperStore
from zarr.storage import ObjectStore as ZarrObjectStore

from zarrv3.errors import (
    InvalidKeyError,
    StoreAccessError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.options.declared import Option
from zarrv3.store import contract
from zarrv3.store.backend import Backend
from zarrv3.store.base import Address, BaseStore
from zarrv3_bridge_zarr.driver import ZarrDriver
from zarrv3_bridge_zarr.store import ZarrStore


def from_zarr_store(store: Any, /, *, persistent: bool = False, concurrency: int = 64) -> ForeignStore:
    """A store of ours over any store of zarr-python: an icechunk session's, obstore's, fsspec's; see `ForeignStore`.

    Args:
        store: the store, also one of obstore; closing ours closes it, and pickling ours pickles it.
        persistent: whether other processes see each value once it is stored, and it outlives this one: so with folders,
            buckets and servers, not with memory, zip files and sessions of icechunk. The foreign store does not say.
        concurrency: how many calls of one batch are under way at once.
    """
    store = store if isinstance(store, Store) else ZarrObjectStore(store)
    return ForeignStore(store, persistent=persistent, concurrency=concurrency)


class ForeignStore(Backend):
    """A store of zarr-python as a store of ours.

    A batch becomes concurrent calls on an event loop of this package. Writing, erasing and listing are claimed as the foreign
    store does; that other processes see values, and that they survive this one, if you say so (`persistent`). Transactions
    and swaps are not claimed, since no method of a foreign store tells who was first. Whether a value is whole-old or
    whole-new at any instant depends on the foreign store.
    """

    kind = "zarr-python"
    errors: ClassVar[Mapping[type[Exception], type[StoreError]]] = {
        TimeoutError: StoreTimeoutError,
        ConnectionError: StoreUnavailableError,
        FileExistsError: InvalidKeyError,  # a key below a key, where keys are files
        IsADirectoryError: InvalidKeyError,
        NotADirectoryError: InvalidKeyError,
        ValueError: InvalidKeyError,  # a key that obstore cannot parse
        Exception: StoreAccessError,
    }

    def __init__(
        self,
        store: Annotated[
            Store,
            Option(
                "what it wraps; closing this store closes it, pickling pickles it",
                live=True,
                takes="a store of zarr-python",
            ),
        ],
        *,
        persistent: Annotated[
            bool, Option("whether other processes see each value once it is stored, and it outlives this one")
        ] = False,
        concurrency: Annotated[
            int,
            Option(
                "how many calls of one batch are under way at once",
                check=lambda n: n >= 1,
                takes="a whole number from 1 on",
            ),
        ] = 64,
    ) -> None:
        super().__init__(store=store, persistent=persistent, concurrency=concurrency)

    def connect(self) -> contract.Driver:
        """Open the foreign store."""
        driver = ZarrDriver(**{name: self.option(name) for name in self.given_options})
        fs = getattr(self._unwrapped(), "fs", None)
        kinds = [*type(fs).__mro__, *type(getattr(fs, "sync_fs", None)).__mro__]
        if any(cls.__name__ == "CachingFileSystem" for cls in kinds):
            driver.capabilities = (
                driver.capabilities.read_only()
            )  # its copies may be older than what is written
        return driver

    def describe(self) -> str:
        """The class of the foreign store; its own description may show a secret."""
        return f"ForeignStore({type(self.given_options['store']).__name__})"

    def identity(self) -> Any:
        """The foreign store."""
        return self.given_options["store"], self.given_options["persistent"]

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """See `BaseStore`: the store below both bridges, where one lies on the other."""
        store = self._unwrapped()
        return (store.store, folder) if isinstance(store, ZarrStore) else (self, folder)

    def address(self, folder: str) -> Address:
        """See `BaseStore`; for stores over the folders of this machine, and over fsspec's file systems."""
        store: Any = self._unwrapped()
        if isinstance(store, ZarrObjectStore):
            store, root = store.store, getattr(store.store, "prefix", None)
            is_local = type(store).__name__ == "LocalStore" and root is not None
        elif isinstance(store, LocalStore):
            root, is_local = store.root, True
        elif isinstance(store, FsspecStore):
            protocol = getattr(store.fs, "sync_fs", store.fs).protocol
            root, is_local = store.path, "file" in ({protocol} if isinstance(protocol, str) else {*protocol})
        else:
            root, is_local = "", False
        if is_local:
            return Address(os.path.join(str(root), folder), None)  # noqa: PTH118 - a text is wanted
        return Address(None, f"{root or ''}/{folder}".lstrip("/"))

    def _unwrapped(self) -> Store:
        store: Store = self.given_options["store"]
        while isinstance(store, WrapperStore):
            store = vars(store)["_store"]  # zarr-python has no public name for it
        return store
