"""`ConsolidatedMetadataStore`: a store that serves documents from consolidated metadata, and where to put it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, NoReturn, TypeAlias, TypeVar

from zarrv3.errors import ConfigurationError, MetadataError, NodeNotFoundError, ReadOnlyError
from zarrv3.format.metadata import GroupMetadata
from zarrv3.format.node_names import normalize_path
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.consolidated.documents import Documents, consolidate, read
from zarrv3.hierarchy.consolidated.staleness import Staleness, compare, has_same_chunks, is_same
from zarrv3.hierarchy.nodes import DOCUMENT, document_key, folder_of, named, path_of
from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, Changes, Request, Swaps, Versioned, whole
from zarrv3.store.helpers import by_digest, cut
from zarrv3.store.keys import split_prefix

A = TypeVar("A")
B = TypeVar("B")

Sized = tuple[str, int]


def _path_of(key: str) -> str:
    if key.endswith(".zmetadata"):
        raise ConfigurationError(
            f"metadata_key={key!r}: the consolidated metadata of Zarr V3 are in a group's {DOCUMENT}; "
            "name that key, or the group's path"
        )
    return normalize_path("" if key == DOCUMENT else key.removesuffix(f"/{DOCUMENT}"))


MetadataKey: TypeAlias = Annotated[
    str, Option("the key of the group's document, or the group's path", check=_path_of)
]


class ConsolidatedMetadataStore(Layer):
    """Serves the documents of a tree out of the consolidated metadata of its top group; adapter `|consolidated:`.

    One read gets them all. What lies in groups is listed from there too; only the chunks of arrays are listed by the
    inner store. A listing that comes across documents that were not consolidated, or misses some that were, gives a
    `StaleMetadataWarning`. Documents cannot be changed (`ReadOnlyError`); data can. Keys that belong to no array are not
    listed. Thread-safe.

    Raises on first use `NodeNotFoundError` and `MetadataError` when there is no consolidated metadata or it is malformed.
    """

    kind = "consolidated"

    def __init__(
        self,
        store: object,
        metadata_key: MetadataKey = DOCUMENT,
        *,
        check: Annotated[
            bool,
            Option("call `verify` when the consolidated metadata is read, and warn if it is stale"),
        ] = False,
    ) -> None:
        super().__init__(store, metadata_key=metadata_key, check=check)
        self._documents: Documents | None = None
        self._checked: frozenset[str] = frozenset()

    @cached_property
    def path(self) -> str:
        """The path of the group whose document is used."""
        return _path_of(self.option("metadata_key"))

    @property
    def documents(self) -> Documents:
        """What the consolidated metadata say, read on first use."""
        documents = self._documents
        if documents is None:  # two threads may both read it: nothing is lost by that
            metadata = nodes.get(self.inner, self.path, GroupMetadata)
            documents = read(metadata, self.path, self._source)
            if documents is None:
                raise _missing(self._source)
            self._documents = documents
            if self.option("check"):
                self.verify()
        return documents

    @property
    def _source(self) -> str:
        return named(self.inner, self.path)

    def verify(self) -> Staleness:
        """Compare what was consolidated with the documents that are there; warns if it is stale.

        Reads every document, 64 in a call, and lists every group once where the store can list; where it cannot, nodes
        that appeared are not found and the report says so (`complete`). A document is the same if it means the same: the
        spelling of other writers makes no difference.
        """
        return self._warned(compare(self.inner, self.documents))

    def _warned(self, staleness: Staleness) -> Staleness:
        if staleness:
            nodes.warn_stale(self.inner, self.path, staleness.describe())
        return staleness

    def consolidate(self) -> None:
        """Read every document, write them into the group's own, and use those from then on."""
        consolidate(self.inner, self.path)
        self.forget()

    @property
    def live(self) -> BaseStore:
        """The store below: documents there are as they are now."""
        return self.inner.live

    def snapshot(self, key: str, /) -> Mapping[str, JSON] | None:
        """A document of the consolidated metadata."""
        return self.documents.contents.parsed.get(key)

    def forget(self) -> None:
        """Read the consolidated metadata again at the next use."""
        self._documents, self._checked = None, frozenset()

    def close(self) -> None:
        """Close the inner store; what the consolidated metadata say is forgotten."""
        super().close()
        self.forget()

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        keys = [request[0] for request in requests]
        values = self._mixed(keys, requests, self.inner.get_many, lambda own, request: cut(own, request[1]))
        self._check(key for key, value in zip(keys, values, strict=True) if value is None)
        return values

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        return self._mixed(keys, keys, self.inner.stat_many, lambda own, _: None if own is None else len(own))

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        values = self._mixed(keys, keys, self.inner.get_versioned, lambda own, _: by_digest([own])[0])
        self._check(key for key, (value, _) in zip(keys, values, strict=True) if value is None)
        return values

    def _mixed(
        self,
        keys: Sequence[str],
        asked: Sequence[A],
        ask: Callable[[list[A]], Iterable[B]],
        answer: Callable[[bytes | None, A], B],
    ) -> list[B]:
        """What the inner store answers, and what is made of our documents where they are asked for."""
        ours = [key.endswith(DOCUMENT) and self.documents.holds(key) for key in keys]
        rest = [one for one, is_ours in zip(asked, ours, strict=True) if not is_ours]
        theirs = iter(ask(rest) if rest else ())
        contents: Mapping[str, bytes] = self.documents.contents if any(ours) else {}
        return [
            answer(contents.get(key), one) if is_ours else next(theirs)
            for key, one, is_ours in zip(keys, asked, ours, strict=True)
        ]

    def _check(self, keys: Iterable[str]) -> None:
        """See that the arrays still exist whose chunks are missing or written: once each, by their own documents.

        Without it an array that is gone would be full of its fill value, and take values that nobody sees. Raises
        `NodeNotFoundError` for such an array, and `MetadataError` for one whose chunks have another form now; warns if shape
        or attributes differ.
        """
        arrays = sorted(
            {array for key in keys if (array := self.documents.array_above(key)) is not None} - self._checked
        )
        if not arrays:
            return
        for path, now in zip(arrays, self.inner.get_many(whole(map(document_key, arrays))), strict=True):
            then = self.documents.contents[document_key(path)]
            stale = f"the consolidated metadata in {self._source} are stale; open with use_consolidated=False"
            if now is None:
                raise NodeNotFoundError(
                    f"there is no array at {nodes.where(self.inner, path)} any more: {stale}"
                )
            if not is_same(then, now):
                if not has_same_chunks(then, now):
                    raise MetadataError(
                        f"what is at {nodes.where(self.inner, path)} is another array by now: {stale}"
                    )
                nodes.warn_stale(self.inner, self.path, f"/{path} changed")
        self._checked |= {*arrays}

    def list_sizes(self, folder: str, /) -> Iterator[Sized]:
        if self.documents.is_data(folder):
            return self.inner.list_sizes(folder)
        return self._merged(self.documents, self.inner.list_sizes(folder), folder)

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        if self.documents.is_data(split_prefix(prefix)[0]):
            return self.inner.list_prefix(prefix)
        listed = ((key, 0) for key in self.inner.list_prefix(prefix))
        return (key for key, _ in self._merged(self.documents, listed, prefix))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; of groups the nodes alone, without asking the inner store."""
        documents = self.documents
        if not folder.startswith(folder_of(self.path)) or documents.is_data(folder):
            yield from self.inner.list_dir(folder)
            return
        own = {folder + DOCUMENT} & documents.contents.keys()
        yield from own
        if folder[:-1] not in documents.arrays:
            yield from documents.folders.get(folder, ())
            return
        missing = True
        for name in self.inner.list_dir(folder):
            missing &= name != folder + DOCUMENT
            if not documents.holds(name):
                yield name
        if missing:
            self._tell(set(), own)

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
        """Warn if documents came or went since the metadata were consolidated."""
        came, gone = (tuple(sorted(map(path_of, keys))) for keys in (appeared, vanished))
        self._warned(Staleness(appeared=came, vanished=gone))

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        self._refuse_documents(changes)
        self.inner.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        self._refuse_documents(swaps)
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Changes, /) -> None:
        self._refuse_documents(changes)
        self.inner.apply_many(changes)

    def erase_prefix(self, folder: str, /) -> None:
        self._refuse_folders("erase", folder)
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        self._refuse_folders("rename", source, target)
        self.inner.rename_prefix(source, target)

    def _refuse_documents(self, keys: Collection[str]) -> None:
        for key in keys:
            if key.endswith(DOCUMENT) and self.documents.holds(key):
                self._refuse("change", key)
        self._check(keys)

    def _refuse_folders(self, verb: str, *folders: str) -> None:
        for folder in folders:
            if not self.documents.is_data(folder):
                self._refuse(verb, folder)

    def _refuse(self, verb: str, key: str) -> NoReturn:
        raise ReadOnlyError(
            f"cannot {verb} {key!r}: the consolidated metadata in {self._source} would become stale; "
            "open with use_consolidated=False to change metadata, then call zarrv3.consolidate_metadata"
        )


def _missing(source: str) -> MetadataError:
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
    if store.snapshot(document_key(path)) is not None:
        return store
    source = named(store, path)
    documents = read(metadata, path, source)
    if documents is None:
        if wanted:
            raise _missing(source)
        return store
    layer = ConsolidatedMetadataStore(store, metadata_key=document_key(path))
    layer._documents = documents
    return layer
