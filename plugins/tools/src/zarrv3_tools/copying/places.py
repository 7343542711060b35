"""`copy`: checks the places, then copies."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any, Literal

from zarrv3.errors import (
    ConfigurationError,
    MetadataError,
    NodeExistsError,
    NotPortableError,
    ReadOnlyError,
    UnknownExtensionError,
    UnsupportedError,
)
from zarrv3.format.metadata import GroupMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.replacing import replacing
from zarrv3.opening.stores import StoreLike
from zarrv3.options.urls import byte_size
from zarrv3.store.places import overlap
from zarrv3_tools.copying.copier import Copier, Options
from zarrv3_tools.copying.recoding import KEEP, Wanted
from zarrv3_tools.copying.report import CopyReport, Tally
from zarrv3_tools.locations import Place, Progress, placed

PASSED = (UnknownExtensionError, NotPortableError)
"""What is wrong with documents that are passed through, or refused in words of their own."""


def copy(
    source: StoreLike,
    dest: StoreLike,
    *,
    source_path: str = "",
    dest_path: str = "",
    overwrite: bool = False,
    progress: Progress | None = None,
    chunks: Any = KEEP,
    shards: Any = KEEP,
    filters: Any = KEEP,
    serializer: Any = KEEP,
    compressors: Any = KEEP,
    resume: bool = False,
    verify: bool = False,
    memory: int | str | None = None,
    executor: Executor | None = None,
    on_error: Literal["raise", "report"] = "raise",
    dry_run: bool = False,
) -> CopyReport:
    """Copy a node with everything below it.

    Values pass through unchanged, those of unknown extensions too; only arrays that are to become something else are
    decoded and encoded. What is not stored stays so. A node's document is written when all below it is there: an
    interrupted copy is not a node. Several threads copy at once; each holds about 16 MiB, or one value, chunk or shard if
    that is larger. May be called from several threads at once.

    Args:
        source: the store to copy from: anything that `open_store` takes, or an open node. One that cannot list its keys
            is walked by consolidated metadata and chunk grids.
        dest: the store to copy to, or an open group.
        source_path: the node to copy; by default the whole hierarchy.
        dest_path: where it goes.
        overwrite: replace what is at the destination, otherwise that is a `NodeExistsError`. It stays until the copy is whole, where
            the store can replace it in one step; elsewhere it is erased first.
        progress: called as `progress(bytes done, bytes in all)`, where the latter is `None` if it cannot be known. The
            source is listed twice for that. Re-encoded arrays count with the bytes of their elements.
        chunks: the new chunk shape, as `create_array` takes it, or lengths by the names of dimensions, `{"time": 30}`, which leave
            alone arrays without these, or a function that gets the source array and returns one; `"keep"` leaves it, here and
            in the next four.
        shards: the new shard shape; `None` for none.
        filters: the new codecs from array to array.
        serializer: the new codec from array to bytes.
        compressors: the new codecs from bytes to bytes.
        resume: go on with a copy that was interrupted: values that are there with the same size are not copied again.
        verify: read back every value and compare; with `resume` also those that were there. `CorruptDataError` names the
            key that differs, and its node gets no document.
        memory: how many bytes all threads together (with `executor`, each task) may hold of arrays that are re-chunked, or text such as `"1GiB"`; by default about
            16 MiB each, or one chunk or shard. The more, the less is read twice: where every byte of the source would be read more
            than twice on average, the array goes by way of a temporary folder (`TMPDIR` says where), in two passes.
        executor: whose workers copy, in place of threads of this process: `ProcessPoolExecutor()`, `client.get_executor()` of a Dask
            cluster, or another `concurrent.futures.Executor`. A task is a window of values, or a box of whole chunks (or shards) of
            the copy, so no two write the same one. Workers open the stores themselves: `UnsupportedError` for
            those that several processes cannot use at once.
        on_error: `"report"` leaves out nodes that cannot be carried and tells them in the report. Failures of a store
            are raised in any case.
        dry_run: change nothing; the report tells what would be done.

    Returns what was copied, and what could not be carried.

    Raises `NodeNotFoundError`, `NodeExistsError`, `NodeTypeError`, `ReadOnlyError`, and `UnsupportedError` for a source
    that can neither be listed nor has consolidated metadata.
    """
    if on_error not in {"raise", "report"}:
        raise ConfigurationError(f"on_error must be 'raise' or 'report', not {on_error!r}")
    if executor is not None and not isinstance(executor, Executor):
        raise ConfigurationError(
            f"executor must be a concurrent.futures.Executor, such as client.get_executor() of a Dask client, not {executor!r}"
        )
    if overwrite and resume:
        raise ConfigurationError("a copy is resumed or overwrites what is there, not both")
    wanted = Wanted(
        chunks=chunks, shards=shards, filters=filters, serializer=serializer, compressors=compressors
    )
    options = Options(
        wanted=wanted,
        resume=resume,
        resumable=not overwrite,
        verify=verify,
        report_errors=on_error == "report",
        memory=None if memory is None else byte_size(memory),
        executor=executor,
    )
    with placed(source, source_path) as old, placed(dest, dest_path) as new:
        old = _walkable(old)  # noqa: PLW2901 - the same place, seen through its consolidated metadata
        _check(old, new, overwrite=overwrite, resume=resume, dry_run=dry_run)
        top = nodes.look(old.store, [old.path])[0]
        if isinstance(top, MetadataError) and not isinstance(top, PASSED) and not options.report_errors:
            raise top
        total: int | None = None
        if dry_run or progress is not None:
            plan = Copier(old, new, options, Tally(None, None)).plan()
            if dry_run:
                wanted.check_names()
                return plan
            total = plan.bytes if old.store.capabilities.list else None
        if overwrite or wanted.names:
            Copier(old, new, options, Tally(None, None)).check()

        def size() -> int | None:
            return Copier(old, new, options, Tally(None, None)).plan().bytes

        with replacing(*new, size, overwrite=overwrite) as site:
            if overwrite:
                nodes.erase(*site)
            report = Copier(old, Place(*site), options, Tally(progress, total)).run()
        new.store.flush()
        return report


def _walkable(source: Place) -> Place:
    """The source as its documents are, or through its consolidated metadata where it cannot be listed."""
    store, path = source
    if store.capabilities.list:
        return Place(store.live, path)
    metadata = nodes.look(store, [path])[0]
    if isinstance(metadata, GroupMetadata):
        seen = consolidated.with_consolidated(store, path, metadata, None)
        if seen.snapshot(nodes.document_key(path)) is None:
            raise UnsupportedError(
                f"cannot copy {nodes.where(store, path)}: the store cannot list its keys and the group has no "
                "consolidated metadata that would tell what is there; call zarrv3.consolidate_metadata where it was written"
            )
        return Place(seen, path)
    return source


def _check(old: Place, new: Place, *, overwrite: bool, resume: bool, dry_run: bool) -> None:
    """Refuse before anything is written."""
    if not nodes.exists(old.store, old.path):
        raise nodes.missing(old.store, old.path)
    if not new.store.capabilities.write:
        raise ReadOnlyError(f"cannot copy to {nodes.where(*new)}: the store is read-only")
    if new.store.live is not new.store:
        raise ReadOnlyError(
            f"cannot copy to {nodes.where(*new)}: its consolidated metadata would become stale; "
            "open it with use_consolidated=False"
        )
    nodes.check_place(*new)
    if not overwrite and not resume and _is_taken(new):
        raise NodeExistsError(
            f"there is something at {nodes.where(*new)} already; pass overwrite=True to replace it, "
            "or resume=True to go on with a copy that was interrupted"
        )
    folder, target = nodes.folder_of(old.path), nodes.folder_of(new.path)
    if overlap(old.store, folder, new.store, target, probe=overwrite and not dry_run):
        raise NodeExistsError(
            f"cannot copy {nodes.where(*old)} to {nodes.where(*new)}: that is the same place, or one lies inside the other, "
            "and nothing was changed. To change it where it is, for example to other chunks, copy it to a new path, then "
            "erase the old node and move the new one to its path: group.move(new, old)"
        )


def _is_taken(place: Place) -> bool:
    if not place.store.capabilities.list:
        return nodes.exists(*place)
    return next(place.store.list_prefix(nodes.folder_of(place.path)), None) is not None
