"""`verify`: reading everything at and below a node to find what is corrupt or missing."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product, starmap
from typing import Literal, NamedTuple, TypeAlias

from zarrv3.chunks import pool
from zarrv3.chunks.tasks import TASK_BYTES
from zarrv3.errors import (
    CorruptDataError,
    MetadataError,
    NotPortableError,
    StoreUnavailableError,
    UnknownExtensionError,
    ZarrError,
)
from zarrv3.format.cuts import chunk_of, count_of, largest, start_of
from zarrv3.format.grids import decode_key
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.nodes import Metadata
from zarrv3.opening.stores import StoreLike
from zarrv3.options.settings import config
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, whole
from zarrv3.store.helpers import BATCH, chunked
from zarrv3_tools.locations import Progress, placed

Coords: TypeAlias = tuple[int, ...]


class Problem(NamedTuple):
    """One key with what is wrong about it."""

    kind: Literal["corrupt", "missing", "unreadable"]
    """Wrong bytes; not there although it has to be; not to be had or understood here."""
    key: str
    message: str


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was read, and what is wrong. Immutable."""

    groups: int = 0
    """Groups whose document could be read."""
    arrays: int = 0
    """Arrays whose document could be read and whose chunks were looked for."""
    chunks: int = 0
    """Chunks that are stored; each was decoded or is among the problems."""
    bytes: int = 0
    """How many bytes they have encoded."""
    problems: tuple[Problem, ...] = ()
    """What is wrong, sorted by key; none if all is well."""


def verify(
    store: StoreLike, path: str = "", *, complete: bool = False, progress: Progress | None = None
) -> VerifyReport:
    """Read and decode every document and chunk at and below a node, and tell what is corrupt or missing.

    Where the store can list its keys, nodes are found by their documents, so that one whose parent is damaged is found
    too; elsewhere by consolidated metadata, and chunks by the chunk grid. What is wrong with a node or chunk is a problem
    in the report and stops nothing. What lies below a name that begins with `__`, which is reserved, is not a node and is
    not read. Nothing is written. Chunks are read some dozens at a time by as many threads as the
    setting `threads` says; each holds about 16 MiB of decoded chunks, one chunk at least. May be called from several
    threads at once.

    Args:
        store: anything that `open_store` takes, or an open node. What is opened here is closed afterwards.
        path: the node below that; by default the root, or the node given.
        complete: every chunk of the grid has to be stored; otherwise one that is not stands for the fill value.
        progress: called as `progress(chunks done, chunks in all)` from one thread at a time.

    Raises `NodeNotFoundError` when nothing is at the path, and `StoreUnavailableError` when the store goes away.
    """
    with placed(store, path) as (opened, top):
        findings = _Findings()
        documents = _documents(opened, top, findings)
        checks = [
            _ArrayCheck(Array(opened, node, metadata=metadata), findings, complete=complete)
            for node, metadata in sorted(documents.items())
            if isinstance(metadata, ArrayMetadata) and _is_arrangeable(opened, node, metadata, findings)
        ]
        total = sum(check.count for check in checks)
        done = 0
        for check in checks:
            for tasks in chunked(check.tasks(), 8):
                pool.run(check.task, tasks, len(tasks), pool.threads())
                done += sum(map(len, tasks))
                if progress is not None:
                    progress(done, total)
        return VerifyReport(
            groups=sum(isinstance(metadata, GroupMetadata) for metadata in documents.values()),
            arrays=len(checks),
            chunks=findings.chunks,
            bytes=findings.bytes,
            problems=tuple(sorted(findings.problems, key=lambda problem: problem.key)),
        )


class _Findings:
    """A report while it is made, by several threads."""

    def __init__(self) -> None:
        self.chunks = 0
        self.bytes = 0
        self.problems: dict[Problem, None] = {}
        self.lock = threading.Lock()

    def count(self, values: Sequence[Buffer]) -> None:
        """Count stored chunks."""
        with self.lock:
            self.chunks += len(values)
            self.bytes += sum(map(len, values))

    def report(self, problem: Problem) -> None:
        """Add a problem, once."""
        with self.lock:
            self.problems[problem] = None


# ---------------------------------------------------------------- documents


def _documents(store: BaseStore, top: str, findings: _Findings) -> dict[str, Metadata]:
    """All readable documents at and below a path; what is wrong with others is reported."""
    why = dict.fromkeys(_paths(store, top), "nodes lie below it")
    paths = [*why]
    readable: dict[str, Metadata] = {}
    done = 0
    while done < len(paths):  # which grows
        some = paths[done : done + BATCH]
        done += len(some)
        for path, metadata in zip(some, nodes.look(store, some), strict=True):
            key = nodes.document_key(path)
            if isinstance(metadata, MetadataError):
                unknown = isinstance(metadata, UnknownExtensionError | NotPortableError)
                findings.report(Problem("unreadable" if unknown else "corrupt", key, str(metadata)))
            elif metadata is not None:
                readable[path] = metadata
                told = [other for other in _told(store, path, metadata, findings) if other not in why]
                why.update(dict.fromkeys(told, f"{key!r} has it consolidated"))
                paths += told
            elif paths == [top]:
                raise nodes.missing(store, top)
            else:
                message = f"{nodes.where(store, path)} has no document, though {why[path]}"
                findings.report(Problem("missing", key, message))
    return readable


def _told(store: BaseStore, path: str, metadata: Metadata, findings: _Findings) -> list[str]:
    """The paths of the nodes that a group's consolidated metadata tell of."""
    if not isinstance(metadata, GroupMetadata):
        return []
    key = nodes.document_key(path)
    try:
        documents = consolidated.read(metadata, path, f"{key!r} in {store.describe()}")
    except MetadataError as error:
        findings.report(Problem("corrupt", key, str(error)))
        return []
    contents = () if documents is None else documents.contents
    return [found.removesuffix(nodes.DOCUMENT).rstrip("/") for found in contents]


def _paths(store: BaseStore, path: str) -> list[str]:
    """The node's path, the paths of all documents below it, and of everything between.

    What lies below a name that begins with `__` is not a node: the specification reserves it, and an unfinished replacement
    leaves a document there.
    """
    if not store.capabilities.list:
        return [path]
    folder = nodes.folder_of(path)
    found = {path}
    for key in store.list_prefix(folder):
        if key.rpartition("/")[2] == nodes.DOCUMENT:
            inside = key[len(folder) :].split("/")[:-1]
            if any(name.startswith("__") for name in inside):
                continue
            found |= {folder + "/".join(inside[:end]) for end in range(1, len(inside) + 1)}
    return sorted(found)


def _is_arrangeable(store: BaseStore, path: str, metadata: ArrayMetadata, findings: _Findings) -> bool:
    try:
        Array(store, path, metadata=metadata)
    except ZarrError as error:
        findings.report(Problem("unreadable", nodes.document_key(path), str(error)))
        return False
    return True


# ---------------------------------------------------------------- chunks


class _ArrayCheck:
    """The chunks of one array: which there are, and reading some of them."""

    def __init__(self, array: Array, findings: _Findings, *, complete: bool) -> None:
        self.layout = array.layout
        self.findings = findings
        self.complete = complete
        grid = self.layout.grid_shape
        block = self.layout.blocks or (1,) * len(grid)
        self.grid = grid
        self.block = block
        self.blocks = tuple(map(count_of, block, grid))
        self.listed = None if complete or not array.store.capabilities.list else self._stored(array.store)
        self.count = array.nchunks if self.listed is None else len(self.listed) * math.prod(largest(block))

    def _stored(self, store: BaseStore) -> list[Coords] | None:
        """The blocks that are stored, by their keys; `None` where keys do not tell."""
        layout = self.layout
        metadata = layout.metadata
        if layout.blocks is None and metadata.storage_transformers:
            found = [layout.coords(key) for key in layout.store.list_prefix(layout.folder)]
            return [coords for coords in found if coords is not None]
        encoding = metadata.chunk_key_encoding
        keys = (key[len(layout.folder) :] for key in store.list_prefix(layout.folder))
        decoded = (decode_key(encoding, key, len(self.grid)) for key in keys)
        return [
            c for c in decoded if c is not None and all(i < n for i, n in zip(c, self.blocks, strict=True))
        ]

    def tasks(self) -> Iterator[list[Coords]]:
        """All chunks to be read, in lists; the chunks of a block stand together."""
        blocks: Iterable[Coords] = (
            self.listed if self.listed is not None else product(*map(range, self.blocks))
        )
        size = max(1, min(config.get("window"), TASK_BYTES // max(1, self.layout.chunk_bytes)))
        task: list[Coords] = []
        for block in blocks:
            for coords in self._inside(block):
                task.append(coords)
                if len(task) >= size:
                    yield task
                    task = []
        if task:
            yield task

    def _inside(self, block: Coords) -> Iterator[Coords]:
        """The chunks of a block that lie in the grid."""
        ends = map(min, map(start_of, self.block, [c + 1 for c in block]), self.grid)
        spans = zip(map(start_of, self.block, block), ends, strict=True)
        return product(*starmap(range, spans))

    def task(self, chunks: Sequence[Coords]) -> None:
        """Read and decode some chunks; one by one where that fails together."""
        keys = [self.layout.key(coords) for coords in chunks]
        try:
            values = self.layout.store.get_many(whole(keys))
        except StoreUnavailableError:
            raise
        except ZarrError as error:
            if len(chunks) > 1:
                for coords in chunks:
                    self.task([coords])
                return
            self._report(chunks[0], error)
            return
        self.findings.count([value for value in values if value is not None])
        for coords, value in zip(chunks, values, strict=True):
            try:
                if value is not None:
                    self.layout.chain_of(self.layout.shape_of(coords)).decode(value)
                elif self.complete:
                    self.findings.report(
                        Problem("missing", self._key(coords), f"chunk {coords} is not stored")
                    )
            except ZarrError as error:
                self._report(coords, error)

    def _key(self, coords: Coords) -> str:
        """The key in the store that a chunk is part of."""
        return self.layout.key(tuple(map(chunk_of, self.block, coords)))

    def _report(self, coords: Coords, error: ZarrError) -> None:
        kind: Literal["corrupt", "unreadable"] = (
            "corrupt" if isinstance(error, CorruptDataError) else "unreadable"
        )
        stored = self._key(coords)
        message = str(error) if stored in str(error) else f"chunk {coords}: {error}"
        self.findings.report(Problem(kind, stored, message))
