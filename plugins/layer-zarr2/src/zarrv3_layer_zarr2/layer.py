"""`Zarr2`: a hierarchy of Zarr version 2 as a store of the final format."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from zarrv3.errors import MetadataError, UnsupportedError
from zarrv3.format.documents import load_document
from zarrv3.layers.base import Layer
from zarrv3.options.declared import Option
from zarrv3.store.contract import Buffer, Capabilities, Changes, Request, Swaps, Version, Versioned, whole
from zarrv3.store.helpers import BATCH, by_digest, chunked, cut, digest
from zarrv3.store.keys import split_prefix
from zarrv3_layer_zarr2 import keys
from zarrv3_layer_zarr2.changes import changed
from zarrv3_layer_zarr2.nodes import Nodes


class Zarr2(Layer):
    """A hierarchy of Zarr version 2 as final Zarr V3; adapter `|zarr2:`.

    Documents are translated when they are read. Chunks keep their keys (the final documents say `chunk_key_encoding: v2`) and
    their bytes, so that they are read, written, swapped and listed by the store below. Shapes and attributes can be changed, and
    consolidated metadata be written; all else about documents is refused. Documents are not
    remembered. Thread-safe.
    """

    kind = "zarr2"

    def __init__(
        self,
        store: object,
        *,
        separator: Annotated[
            Literal[".", "/"],
            Option(
                "that of chunk keys, for arrays whose documents do not tell: `/` for those of an old `NestedDirectoryStore`"
            ),
        ] = ".",
        consolidated: Annotated[bool, Option("use the consolidated metadata in `.zmetadata`")] = True,
    ) -> None:
        super().__init__(store, separator=separator, consolidated=consolidated)
        self._has_fill: dict[str, bool] = {}

    @property
    def _nodes(self) -> Nodes:
        return Nodes(self.inner, self.option("separator"), consolidated=self.option("consolidated"))

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store; nodes stay where they are."""
        return self.inner.capabilities.without("replace")

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one call, and a listing for each document that is asked for and not there."""
        nodes, paths = self._nodes, _paths(key for key, _ in requests)
        shown = [request for request in requests if _is_shown(request.key)]
        below = [*whole(nodes.all_names(paths)), *shown]
        found = iter(self.inner.get_many(below) if below else ())
        documents = nodes.translated(nodes.raws(paths, found))
        return [
            next(found) if _is_shown(key) else cut(_own(documents, key), wanted) for key, wanted in requests
        ]

    def stat_many(self, wanted: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says; documents are read, since their sizes differ here."""
        documents = self._nodes.look(_paths(wanted))
        shown = [key for key in wanted if _is_shown(key)]
        found = iter(self.inner.stat_many(shown) if shown else ())
        return [next(found) if _is_shown(key) else _size(_own(documents, key)) for key in wanted]

    def get_versioned(self, wanted: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; the version of a document is the digest of its translation."""
        documents = self._nodes.look(_paths(wanted))
        shown = [key for key in wanted if _is_shown(key)]
        found = iter(self.inner.get_versioned(shown) if shown else ())
        return [next(found) if _is_shown(key) else by_digest([_own(documents, key)])[0] for key in wanted]

    # ------------------------------------------------------------ listing

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """As the contract says: one listing; what is remembered meanwhile are the folders of nodes."""
        folder, prefix = split_prefix(prefix)
        listed = ((key, 0) for key in self.inner.list_prefix(folder))
        return (key for key, _ in self._shown(listed, folder) if key.startswith(prefix))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says; documents are read, since their sizes differ here."""
        documents: list[str] = []
        for key, size in self._shown(self.inner.list_sizes(folder), folder):
            if _is_shown(key):
                yield key, size
            else:
                documents.append(key)
        for part in chunked(documents, BATCH):
            sizes = zip(part, self.stat_many(part), strict=True)
            yield from ((key, size) for key, size in sizes if size is not None)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; a listing of all that is below is begun where a group may have no document."""
        path = folder[:-1]
        has_document = False
        for name in self.inner.list_dir(folder):
            if name.endswith("/") or _is_shown(name):
                yield name
            has_document |= keys.split(name).name in keys.NODES
        if has_document or self._nodes.look([path])[path] is not None:
            yield keys.document(path)

    def _shown(self, listed: Iterator[tuple[str, int]], folder: str) -> Iterator[tuple[str, int]]:
        """The keys in a listing of a folder as they are here; groups without documents have one each."""
        known: set[str] = set()
        for key, size in listed:
            above, name = keys.split(key)
            if _is_shown(key):
                yield key, size
            elif name in keys.NODES:
                path = above[:-1]
                for node in (path, *keys.above(path)):
                    if node in known or not keys.folder_of(node).startswith(folder):
                        break
                    known.add(node)
                    yield keys.document(node), 0

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says; of documents, shapes and attributes can change, and consolidated metadata."""
        self.inner.write_many(self._translated(changes))

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says; of documents, shapes and attributes can change, and consolidated metadata."""
        self.inner.apply_many(self._translated(changes))

    def _translated(self, changes: Changes) -> dict[str, Buffer | None]:
        """The changes as they are made below."""
        below = self._chunks(changes)
        nodes, paths = self._nodes, _paths(changes)
        if paths:
            found = nodes.raws(paths, iter(self.inner.get_many(whole(nodes.all_names(paths)))))
            for path, raw in found.items():
                below |= changed(nodes, path, raw, changes[keys.document(path)])
        return below

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; where shape and attributes of one node change, each is a swap of its own."""
        below: dict[str, tuple[Version | None, Buffer | None]] = {}
        chunks = self._chunks({key: value for key, (_, value) in swaps.items()})
        below.update({key: (swaps[key][0], value) for key, value in chunks.items()})
        refused: set[str] = set()
        nodes, paths = self._nodes, _paths(swaps)
        names = nodes.all_names(paths)
        versioned = dict(zip(names, self.inner.get_versioned(names) if names else (), strict=True))
        found = nodes.raws(paths, iter([value for value, _ in versioned.values()]))
        for path, now in nodes.translated(found).items():
            key = keys.document(path)
            version, new = swaps[key]
            if version != (None if now is None else digest(now)):
                refused.add(key)
                continue
            for name, value in changed(nodes, path, found[path], new).items():
                below[name] = versioned[name][1], value
        for name in self.inner.swap_many(below) if below else ():
            refused.add(name if _is_shown(name) else keys.document(keys.split(name).folder[:-1]))
        return refused

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says; a folder with documents is refused."""
        self._refuse_nodes("erase", folder)
        self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says; folders with documents are refused."""
        self._refuse_nodes("rename", source, target)
        self.inner.rename_prefix(source, target)

    def _chunks(self, changes: Changes) -> dict[str, Buffer | None]:
        """The changes of chunks, which are made as they are.

        Instead of erasing a chunk of an array without fill value, one of zeros is written: for readers of version 2 its elements
        would be undefined.
        """
        for key in changes:
            if not _is_shown(key) and keys.node_of(key) is None:
                raise UnsupportedError(f"{key!r} is a key of Zarr version 2 that '|zarr2:' does not show")
        chunks = {key: value for key, value in changes.items() if _is_shown(key)}
        above = {key: keys.arrays_of(key) for key, value in chunks.items() if value is None}
        zeros = self._zeros({path for paths in above.values() for path in paths})
        for key, paths in above.items():
            chunks[key] = next((zeros[path] for path in paths if path in zeros), None)
        return chunks

    def _zeros(self, paths: Collection[str]) -> dict[str, bytes]:
        """The chunks that stand for missing ones in the arrays that have no fill value, among some paths."""
        unknown = sorted(path for path in paths if not self._has_fill.get(path))
        names = [keys.folder_of(path) + keys.ARRAY for path in unknown]
        found: dict[str, bytes] = {}
        for path, value in zip(unknown, self.inner.get_many(whole(names)) if names else (), strict=True):
            document = {} if value is None else load_document(value, source=path + keys.ARRAY)
            self._has_fill[path] = document.get("fill_value", 0) is not None
            if not self._has_fill[path]:
                found[path] = self._missing_chunk(path)
        return found

    def _missing_chunk(self, path: str) -> bytes:
        """A chunk of nothing but what is read where one is missing."""
        from zarrv3.format.data_types import filled  # needs numpy
        from zarrv3.hierarchy.array import Array

        layout = Array(self, path).layout
        try:
            return bytes(
                layout.chain.encode(filled(layout.largest, layout.metadata.fill_value, layout.dtype))
            )
        except MetadataError as error:  # objects that are only read
            raise UnsupportedError(
                f"the array /{path} in {self.inner.describe()} has no fill value: where a chunk is missing, readers of Zarr "
                "version 2 find anything; copy the array to Zarr V3"
            ) from error

    def _refuse_nodes(self, verb: str, *folders: str) -> None:
        for folder in folders:
            if any(keys.split(key).name in keys.HIDDEN for key in self.inner.list_prefix(folder)):
                raise UnsupportedError(
                    f"cannot {verb} {folder!r} through '|zarr2:': nodes of Zarr version 2 lie there; {verb} them in "
                    f"{self.inner.describe()}"
                )


def _is_shown(key: str) -> bool:
    """Whether a key is the same here and below."""
    return keys.split(key).name not in keys.HIDDEN


def _paths(wanted: Iterable[str]) -> list[str]:
    """The paths of nodes whose documents are among some keys, each once."""
    return list(dict.fromkeys(path for key in wanted if (path := keys.node_of(key)) is not None))


def _own(documents: Mapping[str, bytes | None], key: str) -> bytes | None:
    """The document with a key; hidden keys have none."""
    path = keys.node_of(key)
    return None if path is None else documents[path]


def _size(value: Buffer | None) -> int | None:
    return None if value is None else len(value)
