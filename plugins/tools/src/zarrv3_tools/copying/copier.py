"""One copy: batches of nodes, values first, documents last."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from uuid import uuid4

from zarrv3.chunks import pool
from zarrv3.errors import (
    CorruptDataError,
    InvalidKeyError,
    MetadataError,
    NodeExistsError,
    NotPortableError,
    StoreAccessError,
    ZarrError,
)
from zarrv3.format.cuts import Cut, largest
from zarrv3.format.documents import dump_document, load_document
from zarrv3.format.grids import decode_key, grid_shape
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.nodes import DOCUMENT, document_key, folder_of
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, whole
from zarrv3.store.helpers import BATCH, chunked, sizes_by_stat
from zarrv3_tools.copying import between, values
from zarrv3_tools.copying.passing import Item, Passer, grid_keys, windows
from zarrv3_tools.copying.planning import Passes, passes
from zarrv3_tools.copying.recoding import Wanted, recoded
from zarrv3_tools.copying.report import CopyReport, Tally
from zarrv3_tools.copying.values import Recoder
from zarrv3_tools.copying.walk import NODE_ERRORS, Found, walk
from zarrv3_tools.copying.workers import LEASE, Counts, Task, Work, Workers
from zarrv3_tools.locations import Place

MARK = "zarr.json.copying"
"""The key, below an array that is being re-encoded, of the document that it gets when it is complete; see `between.mark`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to copy; see `copy`."""

    wanted: Wanted
    resume: bool
    verify: bool
    report_errors: bool
    resumable: bool = True
    """Whether what a copy leaves that ends too early is of use to another one."""
    memory: int | None = None
    """The bytes that all threads together, or each task of an executor, may hold of arrays that are re-encoded."""
    executor: Executor | None = None
    """What has workers that copy; without it threads of this process do."""


@dataclass
class Job:
    """A node that is being copied."""

    found: Found
    target: str
    """The path at the destination."""
    document: bytes | None = None
    """The document of the copy."""
    metadata: ArrayMetadata | None = None
    """The metadata of an array that is to be re-encoded."""
    trusted: bool = True
    """Whether what is at the destination is from an earlier attempt at the same."""
    failed: bool = False
    finished: bool = False
    """Whether the destination has the document already, which came last."""
    between: str | None = None
    """The name of the array that lies between two passes, where there is one."""
    held: list[str] = field(default_factory=list)
    """Documents that lie in an unreadable node or in a folder: they too come last."""

    @property
    def path(self) -> str:
        """The path in the source."""
        return self.found.path


class Copier:
    """What one copy needs to know."""

    def __init__(self, source: Place, dest: Place, options: Options, tally: Tally) -> None:
        self.source = source.store
        self.top = source.path
        self.dest = dest.store
        self.target = dest.path
        self.options = options
        self.tally = tally
        self.can_list = self.source.capabilities.list
        self.can_erase = self.dest.capabilities.erase
        self.can_clean = self.can_erase and self.dest.capabilities.list and not options.resume
        passer = Passer(self.source, self.dest, resume=options.resume, verify=options.verify)
        self.passing = Work(
            do=passer.window,
            source=self.source,
            dest=self.dest,
            sees=((self.source, document_key(self.top)),) if self.can_list else (),
        )
        self.workers = None if options.executor is None else Workers(options.executor, self.dest, self.target)
        self.has_begun = False
        """Whether something may be at the destination that a copy can go on from."""
        self.early = False
        """Whether documents of arrays are written before their values."""
        self.again: list[str] = []
        self.jobs: dict[str, Job] = {}

    def run(self) -> CopyReport:
        """Copy; an error says how to go on, where something has been copied."""
        try:
            with nullcontext() if self.workers is None else self.workers.hired():
                return self._run_all()
        except BaseException as error:
            if self.has_begun:
                error.add_note("What was copied stays; the same call with resume=True goes on from there.")
            raise

    def _run_all(self) -> CopyReport:
        lease = folder_of(self.target) + LEASE
        if self.options.resume and self.workers is None and lease in self.dest:
            self.dest.write_many({lease: None})  # workers of a killed copy do no more
        for batch in chunked(walk(self.source, self.top), BATCH):
            self._batch([job for found in batch for job in self._job(found)])
        for path in self.again:
            consolidated.consolidate(self.dest, path)
        if self.target:
            nodes.create_missing_groups(self.dest, self.target)
            nodes.Above().tell(self.dest, "created", self.target)
        return self.tally.report(dry_run=False)

    def check(self) -> None:
        """Raise what a run would raise for a node's document; reads documents only."""
        for found in walk(self.source, self.top):
            for _ in self._job(found):
                pass
        self.options.wanted.check_names()

    def plan(self) -> CopyReport:
        """Count what a run would copy; writes nothing."""
        for found in walk(self.source, self.top):
            for job in self._job(found):
                self._count(job)
                if job.document is not None:
                    self.tally.add(documents=1, bytes=len(job.document))
                if job.metadata is not None:
                    array = Array(self.source, job.path, metadata=_array(found))
                    self.tally.add(bytes=array.nbytes, chunks=math.prod(_grid(job.metadata)))
                    continue
                for item in self._items(job):
                    self.tally.add(bytes=item.size or 0, chunks=1)
                for size in self.source.stat_many(job.held):
                    self.tally.add(documents=1, bytes=size or 0)
        return self.tally.report(dry_run=True)

    # ------------------------------------------------------------ what is to be done

    def _job(self, found: Found) -> Iterator[Job]:
        """What there is to do for a node; nothing if it cannot be carried and that is only told."""
        job = Job(found, self._at(found.path))
        try:
            self._prepare(job)
        except NODE_ERRORS as error:
            self._fail(job, error)
            return
        yield job

    def _prepare(self, job: Job) -> None:
        found, metadata = job.found, job.found.metadata
        if found.document is None:
            if isinstance(metadata, ZarrError):
                raise metadata
            if not self.can_list:
                raise MetadataError(
                    f"the consolidated metadata have nodes below {document_key(found.path)!r} but not that group itself"
                )
            return
        job.document = bytes(found.document)
        if isinstance(metadata, GroupMetadata):
            return
        if isinstance(metadata, ArrayMetadata):
            self._prepare_array(job, metadata)
        elif self.options.wanted.anything or isinstance(metadata, NotPortableError):
            raise metadata if isinstance(metadata, MetadataError) else MetadataError("unreadable")
        elif not self.can_list:
            raise MetadataError(
                f"{document_key(found.path)!r} cannot be understood and its store cannot list what belongs to it: "
                f"{metadata}"
            )

    def _prepare_array(self, job: Job, metadata: ArrayMetadata) -> None:
        if self.options.wanted.anything:
            new = recoded(Array(self.source, job.path, metadata=metadata), self.options.wanted, self.dest)
            if new is not metadata:
                job.metadata = new
                job.document = dump_document(new.document)
        elif not self.can_list and metadata.storage_transformers:  # which keys there are only they know
            job.metadata = metadata
        (job.metadata or metadata).check_portable()

    def _is_stale(self, job: Job) -> bool:
        """Whether a group has consolidated metadata that the copy makes untrue; known when all below it was tried."""
        metadata = job.found.metadata
        if not isinstance(metadata, GroupMetadata) or metadata.consolidated_metadata is None:
            return False
        return self.options.wanted.anything or self.tally.has_failed_below(folder_of(job.path))

    def _at(self, path: str) -> str:
        """The path at the destination of a path of the source."""
        below = path[len(self.top) :].strip("/") if self.top else path
        return f"{self.target}/{below}".strip("/")

    def _fail(self, job: Job, error: ZarrError) -> None:
        if not self.options.report_errors:
            what = f"cannot copy {nodes.where(self.source, job.path)}: {error}"
            raise type(error)(f"{what}; on_error='report' leaves it out and copies the rest") from error
        already, job.failed = job.failed, True
        if not already:  # one value of a node is enough to tell
            self.tally.fail(job.path, error)

    # ------------------------------------------------------------ one batch of nodes

    def _batch(self, jobs: Sequence[Job]) -> None:
        try:
            self._carry(jobs)
        except (StoreAccessError, InvalidKeyError):
            if self.early or not self._takes_documents_first():
                raise
            self.early = True
            self._carry(jobs)

    def _takes_documents_first(self) -> bool:
        """Whether the destination takes a document, but not a chunk that lies below none, as Icechunk."""
        folder = f"{folder_of(self.target)}zarrv3-probe-{uuid4().hex}/"
        keys = folder + DOCUMENT, f"{folder}c/0"
        taken = []
        for key in reversed(keys):
            try:
                self.dest.write_many({key: dump_document(GroupMetadata.create().document)})
            except (StoreAccessError, InvalidKeyError):
                continue
            taken.append(key)
        self.dest.write_many(dict.fromkeys(taken))
        return taken == [keys[0]]

    def _carry(self, jobs: Sequence[Job]) -> None:
        self.jobs = {job.path: job for job in jobs}
        self.has_begun = self.options.resumable
        if self.options.resume:
            self._look(jobs)
        reencoded = [job for job in jobs if job.metadata is not None and job.document is not None]
        early = [job for job in jobs if self.early and isinstance(job.found.metadata, ArrayMetadata)]
        self._write_documents(early)
        marked = reencoded and self.can_erase and not early
        if marked:
            self._put_marks(reencoded)
        passed = map(self._window, windows(self._all_items(jobs)))
        twice: list[tuple[Job, Passes]] = []
        self._run(chain(passed, self._recode(reencoded, twice)))
        for job, plan in twice:
            self._recode_twice(job, plan, resumable=bool(marked) and self.options.resumable)
        self._write_documents([job for job in jobs if not job.failed and job not in early])
        for job in jobs:
            if job.failed and self.can_clean:
                nodes.erase(self.dest, job.target)
                self._drop_between(job)
            elif not job.failed:
                self._count(job)
        if marked:
            done = [job for job in reencoded if not job.failed]
            for job in done:
                self._drop_between(job)
            self.dest.write_many({self._mark(job): None for job in done})

    def _drop_between(self, job: Job) -> None:
        if job.between is not None:
            between.remove(job.between)
        job.between = None

    def _put_marks(self, jobs: Iterable[Job]) -> None:
        self.dest.write_many(
            {self._mark(job): between.mark(job.document or b"", job.between) for job in jobs}
        )

    def _count(self, job: Job) -> None:
        is_array = isinstance(job.found.metadata, ArrayMetadata)
        is_group = isinstance(job.found.metadata, GroupMetadata)
        self.tally.add(arrays=is_array, groups=is_group, recoded=job.metadata is not None)

    def _mark(self, job: Job) -> str:
        return folder_of(job.target) + MARK

    def _all_items(self, jobs: Iterable[Job]) -> Iterator[Item]:
        for job in jobs:
            if job.metadata is None:
                yield from self._items(job)

    def _items(self, job: Job) -> Iterator[Item]:
        """The values of a node that pass through; documents among them are held back."""
        found, metadata = job.found, job.found.metadata
        folder, target = folder_of(found.path), folder_of(job.target)
        own = document_key(found.path)
        if isinstance(metadata, GroupMetadata):
            sizes: Iterable[tuple[str, int | None]] = sizes_by_stat(found.others, self.source)
        elif isinstance(metadata, ArrayMetadata) and not self.can_list:
            sizes = ((key, None) for key in grid_keys(metadata, found.path))
        else:
            sizes = self.source.list_sizes(folder)
        guess = _block_bytes(metadata) if isinstance(metadata, ArrayMetadata) else 0
        for key, size in sizes:
            if key == own:
                continue
            if key.rpartition("/")[2] == DOCUMENT:
                job.held.append(key)
            elif key not in {folder + MARK, folder + LEASE}:
                weight = guess if size is None else size
                yield Item(found.path, key, target + key[len(folder) :], size, weight)

    def _window(self, window: Sequence[Item]) -> Task:
        return Task(self.passing, window, partial(self._refuse, window))

    def _refuse(self, window: Sequence[Item], error: ZarrError) -> None:
        """Find out which node of a window is at fault, and tell."""
        if not self.options.report_errors:
            raise error
        if len(window) > 1:
            for item in window:
                self._do(self._window([item]))
        else:
            self._fail(self.jobs[window[0].path], error)

    def _recode(self, jobs: Iterable[Job], twice: list[tuple[Job, Passes]]) -> Iterator[Task]:
        """The tasks of arrays that are copied in one pass; the others are noted."""
        for job in jobs:
            source, dest = self._arrays(job)
            item = source.metadata.data_type.item_size
            plan = passes(source.shape, source.layout.stored, _cuts(dest), self._box_bytes // (item or 16))
            if plan.between is not None and item:
                twice.append((job, plan))
            else:
                yield from self._boxes(job, source, dest, plan.boxes, [(self.source, document_key(job.path))])

    def _recode_twice(self, job: Job, plan: Passes, *, resumable: bool) -> None:
        """Copy an array by way of another one, in a temporary folder, which stays where the copy can be resumed and is not complete."""
        source, dest = self._arrays(job)
        assert plan.between is not None
        name = job.between or between.new_name()
        if resumable and name != job.between:
            job.between = name
            self._put_marks([job])
        try:
            with between.opened(name, source, plan.between) as middle:
                if not middle.is_complete:
                    sees = [(self.source, document_key(job.path)), middle.witness]
                    self._run(self._boxes(job, source, middle.array, plan.first, sees, is_first=True))
                    if job.failed:
                        return
                    self._erase_values(job)
                    middle.complete()
                self._run(self._boxes(job, middle.array, dest, plan.boxes, [middle.witness]))
                is_whole = middle.is_complete
        except BaseException as error:
            if resumable:
                error.add_note(between.told(name))
            raise
        finally:
            if not resumable:
                between.remove(name)
        if not is_whole:  # missing chunks were read as fill values
            if self.can_erase:
                nodes.erase(self.dest, job.target)
            between.remove(name)
            raise CorruptDataError(
                f"something has removed files from a temporary folder by way of which {source!r} was copied; "
                "copy it again, with another folder in TMPDIR"
            )

    def _erase_values(self, job: Job) -> None:
        """Erase what an earlier second pass has copied: files may have been missing in between when it did."""
        if not (self.options.resume and job.trusted and self.can_erase) or job.finished:
            return
        assert job.metadata is not None
        keys: Iterable[str] = grid_keys(job.metadata, job.target)
        if self.dest.capabilities.list:
            folder, encoding, ndim = (
                folder_of(job.target),
                job.metadata.chunk_key_encoding,
                len(job.metadata.shape),
            )
            listed = self.dest.list_prefix(folder)
            keys = (key for key in listed if decode_key(encoding, key[len(folder) :], ndim) is not None)
        for part in chunked(keys, BATCH):
            self.dest.write_many(dict.fromkeys(part))

    def _run(self, tasks: Iterator[Task]) -> None:
        if self.workers is not None:
            self.workers.run(tasks, self._finish)
        else:
            workers = pool.threads()
            pool.run(self._do, tasks, workers, workers)

    def _do(self, task: Task) -> None:
        self._finish(task, partial(task.work.do, task.item))

    def _finish(self, task: Task, result: Callable[[], Counts]) -> None:
        """Note what a task has done, or what is wrong with its node."""
        try:
            counts = result()
        except NODE_ERRORS as error:
            task.failed(error)
        else:
            if task.is_told:
                self.tally.add(**counts)

    def _arrays(self, job: Job) -> tuple[Array, Array]:
        assert job.metadata is not None
        source = Array(self.source, job.path, metadata=_array(job.found))
        return source, Array(self.dest, job.target, metadata=job.metadata, write_empty_chunks=False)

    @property
    def _box_bytes(self) -> int:
        """How many bytes of elements a box may have: beside it there is what is encoded, or read back and compared."""
        if self.options.memory is None:
            return values.BOX_BYTES
        tasks = pool.threads() if self.workers is None else 1
        return self.options.memory // (tasks * (4 if self.options.verify else 2))

    def _boxes(
        self,
        job: Job,
        source: Array,
        dest: Array,
        boxed: Sequence[Cut],
        sees: Iterable[tuple[BaseStore, str]],
        *,
        is_first: bool = False,
    ) -> Iterator[Task]:
        """The tasks of one pass; the first one of two does not count."""
        recoder = Recoder(
            source,
            dest,
            boxed=boxed,
            resume=self.options.resume and job.trusted,
            verify=self.options.verify,
            whole=is_first,
        )

        work = Work(do=recoder.box, source=source.store, dest=dest.store, sees=tuple(sees))
        for box in recoder.boxes():
            if job.failed:
                return
            yield Task(work, box, partial(self._fail, job), is_told=not is_first)

    # ------------------------------------------------------------ documents

    def _write_documents(self, jobs: Sequence[Job]) -> None:
        """Write the documents of nodes whose values are there, those below before those above."""
        held = [(key, self._at_key(job, key)) for job in jobs for key in job.held]
        values = self.source.get_many(whole([key for key, _ in held])) if held else ()
        documents: dict[str, Buffer] = {
            target: value for (_, target), value in zip(held, values, strict=True) if value is not None
        }
        for job in jobs:
            if self._is_stale(job):
                self.again.append(job.target)
                job.document = _without_consolidated(job.found)
            if job.document is not None:
                documents[document_key(job.target)] = job.document
        for _, same in groupby(sorted(documents, key=_depth, reverse=True), _depth):
            for keys in chunked(same, BATCH):
                self._put({key: documents[key] for key in keys})

    def _put(self, documents: Mapping[str, Buffer]) -> None:
        if self.options.resume:
            theirs = self.dest.get_many(whole(documents))
            pairs = zip(documents.items(), theirs, strict=True)
            there = {key for (key, ours), other in pairs if other is not None and _same(ours, other)}
            self.tally.add(skipped=len(there), passed=sum(len(documents[key]) for key in there))
            documents = {key: value for key, value in documents.items() if key not in there}
        if documents:
            self.dest.write_many(documents)
            self.tally.add(documents=len(documents), bytes=sum(map(len, documents.values())))

    def _at_key(self, job: Job, key: str) -> str:
        return folder_of(job.target) + key[len(folder_of(job.path)) :]

    # ------------------------------------------------------------ going on after an interruption

    def _look(self, jobs: Sequence[Job]) -> None:
        """What an earlier attempt has left of some nodes; what cannot be from this copy is refused or erased."""
        jobs = [job for job in jobs if job.document is not None]
        keys = [*(document_key(job.target) for job in jobs), *map(self._mark, jobs)]
        found = self.dest.get_many(whole(keys))
        for job, theirs, mark in zip(jobs, found, found[len(jobs) :], strict=False):
            assert job.document is not None
            if theirs is not None and not _same(job.document, theirs):
                raise NodeExistsError(
                    f"what is at {nodes.where(self.dest, job.target)} is not from this copy; "
                    "pass overwrite=True to replace it"
                )
            if isinstance(job.found.metadata, GroupMetadata):
                continue
            marked, job.between = (None, None) if mark is None else between.unmarked(bytes(mark))
            job.trusted = marked == job.document if job.metadata is not None else mark is None
            job.trusted |= mark is None and theirs is not None
            job.finished = theirs is not None
            if not self.can_erase:
                continue
            if not job.trusted:
                nodes.erase(self.dest, job.target)
                self._drop_between(job)
            elif job.metadata is None and self.dest.capabilities.list:
                self._erase_strays(job)

    def _erase_strays(self, job: Job) -> None:
        """Erase chunks of the destination that have no counterpart in the source: they would become values."""
        metadata, folder, target = job.found.metadata, folder_of(job.path), folder_of(job.target)
        if not isinstance(metadata, ArrayMetadata):
            return
        names = (key[len(target) :] for key in self.dest.list_prefix(target))
        decode, ndim = metadata.chunk_key_encoding.decode, len(metadata.shape)
        chunks = (n for n in names if metadata.storage_transformers or decode(n, ndim) is not None)
        for part in chunked((name for name in chunks if name.rpartition("/")[2] != DOCUMENT), BATCH):
            sizes = self.source.stat_many([folder + name for name in part])
            if stray := [target + name for name, size in zip(part, sizes, strict=True) if size is None]:
                self.dest.write_many(dict.fromkeys(stray))


def _array(found: Found) -> ArrayMetadata:
    assert isinstance(found.metadata, ArrayMetadata)
    return found.metadata


def _without_consolidated(found: Found) -> bytes:
    assert isinstance(found.metadata, GroupMetadata)
    return dump_document(found.metadata.with_consolidated_metadata(None).document)


def _cuts(array: Array) -> Sequence[Cut]:
    return array.metadata.chunk_grid.cuts


def _grid(metadata: ArrayMetadata) -> tuple[int, ...]:
    return grid_shape(metadata.chunk_grid.cuts, metadata.shape)


def _block_bytes(metadata: ArrayMetadata) -> int:
    return math.prod(largest(metadata.chunk_grid.cuts)) * (metadata.data_type.item_size or 16)


def _depth(key: str) -> int:
    return key.count("/")


def _same(one: Buffer, other: Buffer) -> bool:
    """Whether two documents say the same, up to consolidated metadata."""
    if one == other:
        return True
    try:
        pair = [load_document(data, source="document") for data in (one, other)]
    except MetadataError:
        return False
    first, second = ({n: v for n, v in each.items() if n != consolidated.MEMBER} for each in pair)
    return first == second
