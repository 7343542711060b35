"""From dask arrays to arrays in stores."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import signature
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import dask.array as da
import numpy as np
from dask import local, threaded
from dask._task_spec import List, Task, TaskRef
from dask.base import compute as compute_now
from dask.base import get_scheduler, optimize
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

import zarrv3
from zarrv3 import Array
from zarrv3.errors import AssignmentError, ReadOnlyError, SelectionError, UnsupportedError, ZarrError
from zarrv3.format.cuts import Cut
from zarrv3.format.data_types import data_type_of
from zarrv3.hierarchy.creation import metadata_for
from zarrv3.hierarchy.node import join_paths, split_location
from zarrv3.hierarchy.replacing import replacing
from zarrv3.indexing.casting import castable
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.store.base import BaseStore
from zarrv3_bridge_dask import blocks as arithmetic
from zarrv3_bridge_dask.handles import Target
from zarrv3_bridge_dask.origins import check_not_read, check_not_shifted

Region: TypeAlias = Sequence[slice] | None
Lock: TypeAlias = Any


class Write(NamedTuple):
    """A dask array and where it goes."""

    source: da.Array
    array: Array
    region: tuple[slice, ...]
    """Slices with a start and a stop, in steps of one."""


def from_dask(
    darr: da.Array,
    store: StoreLike = None,
    path: str | None = None,
    *,
    compute: bool = True,
    lock: Lock = None,
    rechunk: bool = False,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Write a dask array to a new array, its blocks in parallel.

    Everything is checked before anything is created. Unless they are given, chunks follow from the blocks: a block is a
    chunk, or several where it is large. A task that runs twice, since its worker died, writes the same again.

    Args:
        darr: what is written.
        store: anything that `open_store` takes.
        path: the path within the store.
        compute: write now and return the `Array`; else create it and return a `dask.delayed.Delayed` that writes.
        lock: what `dask.array.store` takes: `True` or a lock that tasks hold while they write. With one, blocks may share
            chunks in any store.
        rechunk: change the blocks where they would share chunks or shards.
        overwrite: replace what is at the path; it stays until all is written, where the store can replace it in one step, unless
            `compute` is false.
        storage_options: options of the store.
        options: what `zarrv3.create_array` takes: chunks, shards, compressors, attributes, …

    Blocks may share chunks or shards where the store can swap values: nothing is lost, but what is shared is written once
    for each block. Elsewhere, without a lock, `UnalignedBlocksError` is raised.
    """
    arithmetic.check_known(darr.chunks)
    data_type = data_type_of(options.pop("dtype", None) or darr.dtype)
    store, below = split_location(store)
    opened = as_store(store, storage_options)
    name = join_paths(below, path)
    if rechunk and options.get("chunks", "auto") == "auto" and options.get("shards") in {None, "auto"}:
        darr = darr.rechunk(arithmetic.even(darr.chunks))
    is_safe = bool(lock) or opened.capabilities.swap
    options |= _shapes(darr, data_type, options.get("chunks", "auto"), options.get("shards"), is_safe=is_safe)
    unit = _unit(opened, darr.shape, data_type, options)
    offset = (0,) * darr.ndim
    if rechunk:
        darr = darr.rechunk(arithmetic.aligned(darr.chunks, unit, offset))
    if not is_safe:
        arithmetic.check_aligned(darr.chunks, unit, offset, f"the new array /{name}")
    if overwrite:
        check_not_read([darr], opened, name)
    castable(np.empty(0, darr.dtype), data_type.numpy, f"/{name}")
    with replacing(opened, name, lambda: None, overwrite=overwrite and compute) as site:
        array = zarrv3.create_array(
            site.store, name=site.path, shape=darr.shape, dtype=data_type, overwrite=overwrite, **options
        )
        done = write_many([_write(darr, array, None)], compute=compute, lock=lock)
    return Array(opened, name, metadata=array.metadata) if compute else done


def write_dask(
    darr: da.Array,
    array: Array,
    *,
    region: Region = None,
    compute: bool = True,
    lock: Lock = None,
    rechunk: bool = False,
) -> Any:
    """Write a dask array to an array that exists, or to a part of it, its blocks in parallel.

    Args:
        darr: what is written.
        array: where to.
        region: one slice in steps of one for each dimension, of the lengths of `darr`; by default the whole array.
        compute: write now and return `None`; else return a `dask.delayed.Delayed` that writes.
        lock: see `from_dask`.
        rechunk: see `from_dask`.

    Blocks may share chunks or shards as in `from_dask`; elsewhere `UnalignedBlocksError` is raised, and a unit at the edge
    of the region is read and written back: nobody else may write to it then. Raises `AssignmentError` for a region of other
    lengths.
    """
    arithmetic.check_known(darr.chunks)
    write = _write(darr, array, region)
    check_not_shifted(darr, array, write.region)
    return write_many(
        [_aligned(write, array.layout.stored, lock=lock, rechunk=rechunk)], compute=compute, lock=lock
    )


def append_dask(
    darr: da.Array,
    array: Array,
    axis: int = 0,
    *,
    compute: bool = True,
    lock: Lock = None,
    rechunk: bool = False,
) -> Any:
    """Add a dask array at the end of a dimension of an array that exists, its blocks in parallel.

    As for `Array.append`, the place is taken first, then filled; until then it holds the fill value. If a task fails, the place
    is given back unless others have appended behind it.

    Args:
        darr: what is appended; in all other dimensions as long as the array.
        array: where to.
        axis: the dimension that grows; negative ones count from the last.
        compute: write now and return the new shape; else take the place and return a `dask.delayed.Delayed` that fills it.
        lock: see `from_dask`.
        rechunk: see `from_dask`.

    Blocks may share chunks or shards as in `write_dask`. Raises `AssignmentError` for a dask array that does not fit,
    `SelectionError` for an axis that does not exist; nothing is changed then.
    """
    arithmetic.check_known(darr.chunks)
    if not -array.ndim <= axis < array.ndim:
        raise SelectionError(f"axis {axis} is out of bounds for an array of {array.ndim} dimensions")
    if darr.ndim != array.ndim:
        raise AssignmentError(f"cannot append {darr.shape} to {array!r}: both need as many dimensions")
    axis %= array.ndim
    write: Write | None = None

    def longer(shape: tuple[int, ...]) -> tuple[int, ...]:
        nonlocal write
        new = (*shape[:axis], shape[axis] + darr.shape[axis], *shape[axis + 1 :])
        place = tuple(
            slice(n if a == axis else 0, m) for a, (n, m) in enumerate(zip(shape, new, strict=True))
        )
        grown = Array(array.store, array.path, metadata=array.metadata.with_shape(new))
        write = _aligned(_write_at(darr, array, place), grown.layout.stored, lock=lock, rechunk=rechunk)
        return new

    _check_scheduler(array, compute=compute)
    old = array.resize_with(longer)
    assert write is not None
    try:
        done = write_many([write], compute=compute, lock=lock)
    except BaseException:
        new = tuple(part.stop for part in write.region)
        with suppress(ZarrError):
            array.resize_with(lambda shape: old if shape == new else shape)
        raise
    return array.shape if compute else done


def _aligned(write: Write, unit: Sequence[Cut], *, lock: Lock, rechunk: bool) -> Write:
    """A write whose blocks follow chunks or shards where they have to, or are to."""
    array = write.array
    offset = tuple(part.start for part in write.region)
    if rechunk:
        write = write._replace(
            source=write.source.rechunk(arithmetic.aligned(write.source.chunks, unit, offset))
        )
    if not (lock or array.store.capabilities.swap):
        arithmetic.check_aligned(write.source.chunks, unit, offset, repr(array))
    return write


def write_many(writes: Sequence[Write], *, compute: bool, lock: Lock, **options: Any) -> Any:
    """Write several dask arrays as one graph; they are checked already. Returns a `Delayed` unless they are computed.

    `options` are those of `dask.compute`.
    """
    for write in writes:
        _check_scheduler(write.array, compute=compute)
    stored: Any = ()
    targets: list[Any] = [Target(write.array) for write in writes]
    if writes:
        sources, regions = [write.source for write in writes], [write.region for write in writes]
        stored = da.store(sources, targets, regions=regions, lock=lock or False, compute=False)
    arrays = stored if isinstance(stored, tuple) else (stored,)
    if not compute:
        return _later(optimize(*arrays))
    try:
        compute_now(*arrays, **options)
    except BaseException:
        for target in targets:  # what is written later would come back when an array grows again
            target.give_up()
        raise
    for write in writes:
        write.array.store.flush()
    return None


def _later(arrays: Sequence[Any]) -> Delayed:
    """What computes dask arrays of nothing but tasks that write."""
    name = f"zarrv3-written-{uuid4().hex}"
    keys = [TaskRef(key) for array in arrays for key in flatten(array.__dask_keys__())]
    graph: dict[Any, Any] = {name: Task(name, _forget, List(*keys))}
    return Delayed(name, HighLevelGraph.from_collections(name, graph, dependencies=arrays))


def _forget(_: object) -> None:
    """What tasks that write return is of no use."""


def _check_scheduler(array: Array, *, compute: bool) -> None:
    """Raise where an array cannot be written at all, or not by the processes that dask would use now."""
    if array.read_only:
        raise ReadOnlyError(f"{array!r} is open for reading; open it with mode='r+' to change it")
    if compute and not array.store.capabilities.shared and _leaves_process():
        raise UnsupportedError(
            f"{array.store.describe()} cannot be used by several processes at once: compute with dask's threads "
            "(dask.config.set(scheduler='threads')), or write to a store that can"
        )


def _leaves_process() -> bool:
    """Whether dask would compute by a cluster or by processes, as far as it is set now."""
    scheduler: Any = get_scheduler()
    return scheduler is not None and scheduler not in {threaded.get, local.get_sync}


def _write(darr: da.Array, array: Array, region: Region) -> Write:
    given = tuple(region) if region is not None else (slice(None),) * array.ndim
    if len(given) != array.ndim or any(part.step not in {None, 1} for part in given):
        raise AssignmentError(
            f"a region of {array!r} needs {array.ndim} slices in steps of one, not {region!r}"
        )
    whole = tuple(slice(*part.indices(n)[:2]) for part, n in zip(given, array.shape, strict=True))
    return _write_at(darr, array, whole)


def _write_at(darr: da.Array, array: Array, whole: tuple[slice, ...]) -> Write:
    """A write of what has the lengths of a region and a dtype that casts."""
    lengths = tuple(max(0, part.stop - part.start) for part in whole)
    if lengths != darr.shape:
        raise AssignmentError(f"{darr.shape} elements do not fit {lengths} of {array!r}; nothing was written")
    array.castable(np.empty(0, darr.dtype))
    return Write(darr, array, whole)


def _unit(
    store: BaseStore, shape: Sequence[int], data_type: Any, options: Mapping[str, Any]
) -> tuple[Cut, ...]:
    """How a new array will be cut into what it stores as one value; asks the store for nothing."""
    names = signature(metadata_for).parameters
    known = {name: value for name, value in options.items() if name in names}
    planned = Array(store, metadata=metadata_for(store, shape=shape, dtype=data_type, **known))
    return planned.layout.stored


def _shapes(darr: da.Array, data_type: Any, chunks: Any, shards: Any, *, is_safe: bool) -> dict[str, Any]:
    """The arguments `chunks` and `shards` of the new array."""
    item_size = data_type.item_size or 16
    is_free = chunks is True or (isinstance(chunks, str) and chunks == "auto")
    wants_shards = isinstance(shards, str) and shards == "auto"
    try:
        if is_free and shards is None:
            return {"chunks": arithmetic.fitting(darr.chunks, item_size), "shards": None}
        if is_free and wants_shards:
            shard = arithmetic.common(darr.chunks)
            return {
                "chunks": arithmetic.divided(shard, item_size, arithmetic.CHUNK_BYTES // 16),
                "shards": shard,
            }
    except arithmetic.UnalignedBlocksError:
        if not is_safe:
            raise
    return {"chunks": chunks, "shards": shards}
