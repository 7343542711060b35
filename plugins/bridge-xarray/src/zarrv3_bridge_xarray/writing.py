"""From datasets to groups in stores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from xarray import DataArray, Dataset, DataTree, Variable
from xarray.backends.api import DATAARRAY_NAME

import zarrv3
from zarrv3 import Array, Group
from zarrv3.errors import (
    AssignmentError,
    ConfigurationError,
    MetadataError,
    NodeExistsError,
    NodeTypeError,
    StaleMetadataWarning,
    ZarrError,
)
from zarrv3.format.documents import dump_document
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.hierarchy.replacing import replacing
from zarrv3.opening.stores import StoreLike
from zarrv3.store.base import BaseStore
from zarrv3_bridge_xarray import chunking
from zarrv3_bridge_xarray.groups import Place, closed, place_of
from zarrv3_bridge_xarray.plans import Mode, Plan, PlanStore
from zarrv3_bridge_xarray.regions import Region, Slices, check_covers, resolved
from zarrv3_bridge_xarray.variables import dimensions

UNNAMED = "xarray_dataarray_variable"
"""The variable of an array without a name of its own; xarray's own word for it starts with `__`, which Zarr V3 reserves."""


def to_zarrv3(
    data: Dataset | DataArray | DataTree,
    store: StoreLike = None,
    mode: Mode | None = None,
    group: str | None = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    append_dim: Hashable | None = None,
    region: Region = None,
    compute: bool = True,
    consolidated: bool | None = None,
    safe_chunks: bool = True,
    align_chunks: bool = False,
    write_empty_chunks: bool | None = None,
    write_inherited_coords: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    chunkmanager_store_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Write a dataset, an array with its coordinates, or a tree of datasets to a group of any store.

    Arguments are those of xarray's `to_zarr`. Everything is checked before anything is changed, but for values of dask arrays.
    Documents come first, then values: at once where they are numpy arrays, then all dask arrays as one graph, whose tasks
    carry the store's configuration. An append that fails gives its places back.

    Args:
        data: what is written.
        store: anything that `zarrv3.open_store` takes, or a `zarrv3.Group`; a new store in memory by default.
        mode: `w-` creates the group and fails if there is one, `w` replaces it with everything below it (what is there
            stays until all is written, where the store can replace it in one step, unless `compute` is false), `a` adds and
            overwrites variables, `a-` too but with `append_dim` only those that have it, `r+` only writes values. By
            default `a` with `append_dim`, `r+` with `region`, else `w-`.
        group: the path of the group.
        encoding: for each variable what its array is to be: chunks, shards, compressors, filters, serializer, fill_value,
            chunk_key_encoding, storage_transformers, write_empty_chunks, and what CF conventions know (dtype,
            scale_factor, add_offset, _FillValue, units, calendar). For a tree: by path of the node.
        append_dim: the dimension along which variables that are there grow by these, in every node of a tree that has it.
        region: a slice for dimensions, or `"auto"` for those or all: where coordinates are found in the store.
        compute: write the values; else return a `dask.delayed.Delayed` that writes those of dask arrays.
        consolidated: bring consolidated metadata of the store's root up to date, as other readers of xarray datasets
            expect. By default wherever documents change and the store can list its keys, as far as the documents of other
            nodes can be read.
        safe_chunks: refuse blocks of dask arrays that share chunks or shards where the store cannot swap values. If not,
            such blocks are written one after the other there, as far as dask's locks reach.
        align_chunks: change the blocks of dask arrays where they would share chunks or shards.
        write_empty_chunks: store chunks that hold only the fill value; by default zarrv3's setting.
        write_inherited_coords: give nodes of a tree the coordinates of those above them.
        storage_options: options of the store.
        zarr_format: 3.
        chunkmanager_store_kwargs: what `dask.array.store` takes besides, such as `lock`.

    Raises `UnalignedBlocksError` where blocks of a dask array share a chunk or shard and the store cannot swap values,
    `AssignmentError` for what does not fit the arrays that are there, `NodeExistsError`, `ConfigurationError`, `MetadataError`.
    """
    actual = _mode(mode, append_dim, region)
    if zarr_format not in {None, 3}:
        raise ConfigurationError(f"zarrv3 writes Zarr version 3, not {zarr_format!r}")
    given = place_of(store, group, storage_options)
    with closed(given, keep=not compute):
        members = [*_members(data, write_inherited_coords, encoding or {})]
        if len(members) > 1 and region is not None:
            raise ConfigurationError(
                "region is for datasets; write the nodes of a tree one by one, with group="
            )
        if append_dim is not None and not any(append_dim in member.dims for _, member, _ in members):
            dims = [*dict.fromkeys(dim for _, member, _ in members for dim in member.dims)]
            raise ConfigurationError(
                f"append_dim: there is no dimension {append_dim!r} in what is written; it has {dims}"
            )
        consolidates = consolidated or (
            consolidated is None and actual != "r+" and given.store.capabilities.list
        )
        with (
            warnings.catch_warnings(),
            replacing(*given[:2], lambda: None, overwrite=actual == "w" and compute) as site,
        ):
            if consolidates:
                warnings.simplefilter("ignore", StaleMetadataWarning)  # they are not, a moment later
            place = Place(*site, is_ours=False)
            plans = [
                _planned(
                    member,
                    place._replace(path=(folder_of(place.path) + path).rstrip("/")),
                    actual,
                    encoding=own,
                    append_dim=append_dim,
                    region=region,
                    align=align_chunks,
                    is_safe=safe_chunks,
                    write_empty=write_empty_chunks,
                )
                for path, member, own in members
            ]
            _check_not_read(plans, given, actual)
            try:
                _create(plans, place, actual)
            except NodeExistsError as error:  # in the words of this function
                raise NodeExistsError(str(error).replace("overwrite=True", "mode='w'")) from None
            lock = not (safe_chunks or place.store.capabilities.swap)
            options = {"lock": lock, **(chunkmanager_store_kwargs or {})}
            done = _write(plans, place, compute=compute, options=options)
        if consolidates:
            _consolidate(given.store, wanted=consolidated is True)
        given.store.flush()
        return done


def _consolidate(store: BaseStore, *, wanted: bool) -> None:
    """Consolidate metadata when all is written: whatever is wrong with other nodes, nobody should write the data again."""
    try:
        zarrv3.consolidate_metadata(store)
    except ZarrError as error:
        text = "everything is written, but the metadata could not be consolidated"
        if wanted or not isinstance(error, MetadataError):
            error.add_note(text)
            raise
        warnings.warn(f"{text}: {error}", StaleMetadataWarning, stacklevel=3)


def _mode(mode: Mode | None, append_dim: Hashable | None, region: Region) -> Mode:
    if mode is None:
        mode = "a" if append_dim is not None else "r+" if region is not None else "w-"
    if mode not in {"w", "w-", "a", "a-", "r+"}:
        raise ConfigurationError(f"mode must be w, w-, a, a- or r+, not {mode!r}")
    if append_dim is not None and mode not in {"a", "a-"}:
        raise ConfigurationError(f"append_dim goes with mode='a' or 'a-', not {mode!r}")
    if isinstance(region, Mapping) and append_dim in region:
        raise ConfigurationError(f"{append_dim!r} is in append_dim and in region; it can only be one")
    if region is not None and mode not in {"a", "a-", "r+"}:
        raise ConfigurationError(f"region goes with mode='r+', 'a' or 'a-', not {mode!r}")
    return mode


def _members(
    data: Any, inherited: bool, encoding: Mapping[str, Any]
) -> Iterator[tuple[str, Dataset, Mapping[str, Any]]]:
    """The datasets to write, with paths below the group and encodings."""
    if isinstance(data, DataTree):
        if unknown := sorted(set(encoding) - {node.path for node in data.subtree}):
            raise ConfigurationError(f"encoding: the tree has no node {unknown[0]!r}")
        for path, node in data.subtree_with_keys:
            is_root = node is data
            dataset = node.to_dataset(inherit=inherited or is_root)
            yield "" if is_root else path, dataset, encoding.get(node.path, {})
        return
    dataset = _as_dataset(data)
    if unknown := sorted(set(encoding) - set(map(str, dataset.variables))):
        raise ConfigurationError(f"encoding: the dataset has no variable {unknown[0]!r}")
    yield "", dataset, encoding


def _as_dataset(data: Dataset | DataArray) -> Dataset:
    """A dataset from which `xr.open_dataarray` makes the same array again, whatever its name is."""
    if isinstance(data, Dataset):
        return data
    if data.name is not None and data.name not in data.coords and data.name not in data.dims:
        return data.to_dataset()
    dataset = data.to_dataset(name=UNNAMED)
    dataset.attrs[DATAARRAY_NAME] = data.name
    return dataset


# ---------------------------------------------------------------- planning


def _planned(
    dataset: Dataset,
    place: Place,
    mode: Mode,
    *,
    encoding: Mapping[str, Any],
    append_dim: Hashable | None,
    region: Region,
    align: bool,
    is_safe: bool,
    write_empty: bool | None,
) -> Plan:
    chunking.check_known(dataset)
    there = _existing(place, mode)
    arrays = dict(there.arrays()) if there else {}
    slices: Slices = {}
    if region is not None:
        slices = resolved(dataset, region, arrays)
        check_covers(dataset, slices)
        dataset = dataset.drop_vars([*dataset.indexes])  # they are there already
    if append_dim is not None:
        _check_append(dataset, append_dim, arrays)
    store = PlanStore(
        place.store,
        place.path,
        mode,
        arrays=arrays,
        there=there.attrs.asdict() if there else {},
        append_dim=append_dim,
        region=slices,
        align=align,
        is_safe=is_safe,
        write_empty=write_empty,
    )
    dataset.dump_to_store(store, encoding={name: dict(own) for name, own in encoding.items()})
    return store.plan


def _existing(place: Place, mode: Mode) -> Group | None:
    """The group, if it is there and not to be replaced."""
    if mode in {"w", "w-"}:
        return None
    found = nodes.find(place.store, place.path)
    if found is None and mode != "r+":
        return None
    nodes.checked(place.store, place.path, found, GroupMetadata)
    return Group(place.store, place.path)


def _check_append(dataset: Dataset, dim: Hashable, arrays: Mapping[str, Array]) -> None:
    there = {name: array for name, array in arrays.items() if dim in dimensions(array)}
    if not there and dim in dataset.dims:
        raise ConfigurationError(f"append_dim: no array in the store has the dimension {dim!r}")
    left = [name for name in there if name not in dataset.variables]
    if left:
        raise AssignmentError(
            f"{left} in the store have the dimension {dim!r} too and would stay shorter; append all of them together"
        )
    new = [str(n) for n, v in dataset.variables.items() if dim in v.dims and n not in arrays]
    if new:
        raise AssignmentError(
            f"{new} have the dimension {dim!r} but are not in the store, so cannot be appended"
        )


def _check_not_read(plans: list[Plan], place: Place, mode: Mode) -> None:
    """Raise `ConfigurationError` if dask arrays are still to be computed from what would be erased or replaced first."""
    lazy = [
        target for plan in plans for target in plan.targets if not isinstance(target.values, Variable)
    ]  # others are in memory since they were encoded
    if mode == "w":
        for target in lazy:
            chunking.bridge().check_not_read([target.values], place.store, place.path)
        return
    created = {path for plan in plans for path in plan.arrays}
    for target in (target for target in lazy if target.path not in created):
        array = Array(place.store, target.path)
        chunking.bridge().check_not_shifted(target.values, array, target.region)


# ---------------------------------------------------------------- doing


def _create(plans: list[Plan], place: Place, mode: Mode) -> None:
    """Store the documents of groups and arrays."""
    if mode == "r+":
        return
    arrays = {path: metadata for plan in plans for path, metadata in plan.arrays.items()}
    groups = {plan.path: GroupMetadata.create(plan.attributes) for plan in plans}
    if mode == "w":
        nodes.create_many(place.store, {**groups, **arrays}, overwrite=True)
        return
    if mode == "w-":
        nodes.create(place.store, place.path, groups.pop(place.path))  # of several writers one gets it
        nodes.create_many(place.store, {**groups, **arrays})
        return
    found = nodes.find_many(place.store, [*groups])
    if wrong := [path for path, there in zip(groups, found, strict=True) if isinstance(there, ArrayMetadata)]:
        raise NodeTypeError(f"{nodes.where(place.store, wrong[0])} is an array, not a group")
    new = {path: groups[path] for path, there in zip(groups, found, strict=True) if there is None}
    nodes.create_many(place.store, {**new, **arrays})
    for plan in plans:
        if plan.path not in new and plan.attributes is not None:
            Group(place.store, plan.path).attrs.put(plan.attributes)


def _write(plans: list[Plan], place: Place, *, compute: bool, options: Mapping[str, Any]) -> Any:
    """Write the values; those of dask arrays as one graph, which is returned unless it is computed."""
    created = {path: metadata for plan in plans for path, metadata in plan.arrays.items()}
    targets = [target for plan in plans for target in plan.targets]
    with _grown(plans, place) as changed:
        later = []
        for target in targets:
            metadata = created.get(target.path) or changed.get(target.path)
            array = Array(place.store, target.path, metadata=metadata, write_empty_chunks=target.write_empty)
            if not isinstance(target.values, Variable):
                later.append(chunking.bridge().Write(target.values, array, target.region))
            elif target.values.size:
                array.write(target.region, np.asarray(target.values.data), is_new=target.path in created)
        return (
            chunking.bridge().write_many(later, compute=compute, **options) if later or not compute else None
        )


Change: TypeAlias = Callable[[ArrayMetadata], ArrayMetadata]


@contextmanager
def _grown(plans: list[Plan], place: Place) -> Iterator[dict[str, ArrayMetadata]]:
    """Give arrays their new lengths and attributes; their metadata by then. After an error lengths are as they were."""
    grows = {
        target.path: target.grows for plan in plans for target in plan.targets if target.grows is not None
    }
    attributes = {path: own for plan in plans for path, own in plan.changed.items()}
    changes: dict[str, Change] = {
        path: partial(
            _changed,
            grows=grows.get(path),
            attributes=attributes.get(path),
            name=nodes.where(place.store, path),
        )
        for path in {**grows, **attributes}
    }
    done: dict[str, ArrayMetadata] = {}
    try:
        _change(place, changes, done)
        if done:
            nodes.Above().tell(place.store, "changed", *done)
        yield done
    except BaseException:
        for path in grows.keys() & done.keys():
            axis, before, after = grows[path]
            with suppress(ZarrError):
                Array(place.store, path).resize_with(
                    lambda shape, axis=axis, before=before, after=after: (  # type: ignore[misc]
                        (*shape[:axis], before, *shape[axis + 1 :]) if shape[axis] == after else shape
                    )
                )
        raise


def _changed(
    metadata: ArrayMetadata, *, grows: tuple[int, int, int] | None, attributes: Any, name: str
) -> ArrayMetadata:
    if grows is not None:
        axis, before, after = grows
        shape = metadata.shape
        if shape[axis] != before:
            raise AssignmentError(
                f"{name} has become {shape[axis]} long, from {before}: somebody else appends; try again"
            )
        metadata = metadata.with_shape((*shape[:axis], after, *shape[axis + 1 :]))
    return metadata if attributes is None else metadata.with_attributes(attributes)


def _change(place: Place, changes: dict[str, Change], done: dict[str, ArrayMetadata]) -> None:
    """Change the documents of arrays, with one swap where the store has that; `done` gets those that are changed."""
    store, left = place.store, {nodes.document_key(path): path for path in changes}
    if not store.capabilities.swap:
        for path, change in changes.items():
            done[path], _ = nodes.change(store, path, ArrayMetadata, change)
        return
    while left:
        new = {}
        for key, (document, _) in zip(left, found := store.get_versioned([*left]), strict=True):
            metadata = nodes.parsed(store, left[key], document) if document is not None else None
            new[key] = changes[left[key]](nodes.checked(store, left[key], metadata, ArrayMetadata))
        swaps = {
            key: (version, dump_document(new[key].document))
            for key, (_, version) in zip(left, found, strict=True)
        }
        refused = store.swap_many(swaps)
        done |= {left[key]: new[key] for key in left if key not in refused}
        left = {key: left[key] for key in refused}
