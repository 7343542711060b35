"""`Consolidated`: a store that serves documents from consolidated metadata, and where to put it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from zarrv3 import registry
from zarrv3.errors import (
    ConfigurationError,
    MetadataError,
    ReadOnlyError,
    RegistryError,
    StaleMetadataWarning,
)
from zarrv3.format.metadata import GroupMetadata
from zarrv3.format.node_names import normalize_path
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.consolidated.documents import Documents, read
from zarrv3.hierarchy.nodes import DOCUMENT, document_key, folder_of
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, Request
from zarrv3.store.helpers import cut
from zarrv3.store.keys import check_folder, check_keys, check_where, split_prefix

Sized = tuple[str, int]


class Consolidated(Layer):
    """Serves the documents of a tree from the consolidated metadata of its top group, read once.

    What lies in groups is listed from there too; only the chunks of arrays are listed by the inner store. A listing that
    meets documents that the consolidated metadata does not have, or misses some that it has, gives a
    `StaleMetadataWarning`. Documents cannot be changed: `ReadOnlyError`. Data can. Keys that belong to no array are not
    listed. Thread-safe.

    Args:
        store: what it wraps.
        metadata_key: the key of the group's document, or the group's path.

    Raises on first use `NodeNotFoundError` and `MetadataError` when there is no consolidated metadata or it is malformed.
    """

    kind = "consolidated"
    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {"metadata_key": str}

    def __init__(self, store: object, metadata_key: str = DOCUMENT, **options: Any) -> None:
        super().__init__(store, metadata_key=metadata_key, **options)
        given: str = self.option("metadata_key")
        if given.endswith(".zmetadata"):
            raise ConfigurationError(
                f"metadata_key={given!r}: the consolidated metadata of Zarr V3 are in a group's {DOCUMENT}; "
                "name that key, or the group's path"
            )
        self._path = normalize_path("" if given == DOCUMENT else given.removesuffix(f"/{DOCUMENT}"))
        self._documents: Documents | None = None

    @property
    def path(self) -> str:
        """The path of the group whose document is used."""
        return self._path

    @property
    def documents(self) -> Documents:
        """What the consolidated metadata say, read on first use."""
        documents = self._documents
        if documents is None:  # two threads may both read it: nothing is lost by that
            metadata = nodes.get(self.inner, self._path, GroupMetadata)
            source = self._source
            documents = read(metadata, self._path, source)
            if documents is None:
                raise absent(source)
            self._documents = documents
        return documents

    @property
    def _source(self) -> str:
        return f"{document_key(self._path)!r} in {self.inner.describe()}"

    @property
    def live(self) -> BaseStore:
        """The store below: documents there are as they are now."""
        return self.inner.live

    def is_snapshot(self, key: str, /) -> bool:
        """Whether a document is taken from the consolidated metadata."""
        return key in self.documents.contents

    def forget(self) -> None:
        """Read the consolidated metadata again at the next use."""
        self._documents = None

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract; documents are not asked of the inner store."""
        keys = [key for key, _ in requests]
        check_keys(keys)
        asked = [key for key in keys if key.endswith(DOCUMENT)]
        if not asked:
            return self.inner.get_many(requests)
        documents = self.documents
        own = {key for key in asked if documents.holds(key)}
        others = [request for request in requests if request[0] not in own]
        rest = iter(self.inner.get_many(others) if others else ())
        return [
            cut(documents.contents.get(key), wanted) if key in own else next(rest) for key, wanted in requests
        ]

    def sizes(self, where: str, /) -> Iterator[Sized]:
        """See the contract."""
        where = check_where(where)
        if where and not where.endswith("/"):
            if not where.endswith(DOCUMENT) or not self.documents.holds(where):
                return self.inner.sizes(where)
            content = self.documents.contents.get(where)
            return iter([] if content is None else [(where, len(content))])
        if self._is_passed_on(where):
            return self.inner.sizes(where)
        return self._merged(self.documents, self.inner.sizes(where), where)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract."""
        folder, prefix = split_prefix(prefix)
        if self._is_passed_on(folder):
            return self.inner.list_prefix(prefix)
        listed = ((key, 0) for key in self.inner.list_prefix(prefix))
        return (key for key, _ in self._merged(self.documents, listed, prefix))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract; of groups the nodes alone, without asking the inner store."""
        folder = check_folder(folder)
        documents = self.documents
        if not folder.startswith(folder_of(self._path)) or documents.is_data(folder):
            return self.inner.list_dir(folder)
        own = {folder + DOCUMENT} & documents.contents.keys()
        if folder[:-1] not in documents.arrays:
            return sorted(own), [*documents.folders.get(folder, ())]
        keys, folders = self.inner.list_dir(folder)
        if folder + DOCUMENT not in keys:
            self._tell(set(), own)
        return sorted({key for key in keys if not documents.holds(key)} | own), folders

    def _is_passed_on(self, folder: str) -> bool:
        """Whether a folder holds no documents; also where the inner store is going to refuse to list it."""
        return not self.inner.capabilities.list or self.documents.is_data(folder)

    def _merged(self, documents: Documents, listed: Iterable[Sized], prefix: str) -> Iterator[Sized]:
        """A listing of the inner store with our documents in place of its own."""
        theirs: set[str] = set()
        for key, size in listed:
            if documents.holds(key):
                theirs.add(key)
            elif documents.shows(key):
                yield key, size
        ours = {key: len(value) for key, value in documents.contents.items() if key.startswith(prefix)}
        self._tell(theirs - ours.keys(), ours.keys() - theirs)
        yield from ours.items()

    def _tell(self, appeared: Collection[str], vanished: Collection[str]) -> None:
        """Warn if nodes came or went since the metadata were consolidated."""
        changes = {"appeared": appeared, "vanished": vanished}
        texts = [f"{_some(keys)} {what} since" for what, keys in changes.items() if keys]
        if texts:
            warn(self._source, " and ".join(texts))

    # ------------------------------------------------------------ writing

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract; documents are refused."""
        self._refuse_documents("write", items)
        self.inner.set_many(items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract; documents are refused."""
        self._refuse_documents("erase", keys)
        self.inner.erase_many(keys)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract; a folder with documents is refused."""
        if self.inner.capabilities.erase and not self.documents.is_data(check_folder(folder)):
            self._refuse("erase", folder)
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract; folders with documents are refused."""
        can = self.inner.capabilities
        for folder in (source, target) if can.write and can.erase else ():
            if not self.documents.is_data(check_folder(folder)):
                self._refuse("rename", folder)
        self.inner.rename_prefix(source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract; documents are refused."""
        self._refuse_documents("replace", [key])
        return self.inner.compare_and_set(key, old, new)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract; documents are refused."""
        self._refuse_documents("change", changes)
        self.inner.apply_many(changes)

    def _refuse_documents(self, verb: str, keys: Collection[str]) -> None:
        check_keys(keys)
        for key in keys:
            if key.endswith(DOCUMENT) and self.documents.holds(key):
                self._refuse(verb, key)

    def _refuse(self, verb: str, key: str) -> NoReturn:
        raise ReadOnlyError(
            f"cannot {verb} {key!r}: the consolidated metadata in {self._source} would become stale; "
            "open with use_consolidated=False to change metadata, then call zarrv3.consolidate_metadata"
        )


def _some(keys: Collection[str]) -> str:
    first, *rest = sorted(keys)
    return f"{first!r}{f' and {len(rest)} more documents' if rest else ''}"


def warn(source: str, text: str) -> None:
    """Tell that consolidated metadata are stale."""
    warnings.warn(
        f"the consolidated metadata in {source} are stale: {text}; call zarrv3.consolidate_metadata, "
        "or open with use_consolidated=False",
        StaleMetadataWarning,
        stacklevel=3,
    )


def absent(source: str) -> MetadataError:
    """The error that a group has no consolidated metadata."""
    return MetadataError(
        f"there is no consolidated metadata in {source}; write it with zarrv3.consolidate_metadata, "
        "or open with use_consolidated=False"
    )


# ---------------------------------------------------------------- using it


def with_consolidated(store: BaseStore, path: str, metadata: GroupMetadata, wanted: bool | None) -> BaseStore:
    """The store that a group is to be opened in: with its consolidated metadata on top where they are wanted.

    Args:
        store: the store.
        path: the group's path.
        metadata: the metadata that are there.
        wanted: `None` uses them if they are there; `True` raises `MetadataError` if not; `False` is the store without.
    """
    if wanted is False:
        return store.live
    if store.is_snapshot(document_key(path)):
        return store
    source = f"{document_key(path)!r} in {store.describe()}"
    documents = read(metadata, path, source)
    if documents is not None:
        layer = _layer()(store, metadata_key=document_key(path))
        layer._documents = documents
        return layer
    if wanted:
        raise absent(source)
    return store


def _layer() -> type[Consolidated]:
    """The class of the package `zarrv3-layer-consolidated` if it is installed, so that the store has a spec; else ours."""
    owner = registry.owner("layers", Consolidated.kind)
    if not owner:
        return Consolidated
    cls = registry.load("layers", Consolidated.kind)
    if isinstance(cls, type) and issubclass(cls, Consolidated):
        return cls
    raise RegistryError(
        f"plugin {Consolidated.kind!r} of {owner} is broken: "
        f"{cls!r} is not a subclass of zarrv3.hierarchy.consolidated.Consolidated"
    )
