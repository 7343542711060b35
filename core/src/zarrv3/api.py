"""The functions of the top level, spelled as in zarr-python 3 and, where it differed, as in zarr-python 2."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, Unpack

import numpy as np

from zarrv3.chunks.chunk_cache import ChunkCache
from zarrv3.errors import ConfigurationError, NodeNotFoundError, ReadOnlyError
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, creation, nodes, spellings
from zarrv3.hierarchy.arguments import (
    ArrayArguments,
    Chunks,
    CreateArrayArguments,
    PlacedArguments,
    PlacedFullArguments,
    ShapedArguments,
    ShapedFullArguments,
    Zarr2Arguments,
    check_names,
    takes,
)
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.display import Tree
from zarrv3.hierarchy.group import Group
from zarrv3.hierarchy.node import join_paths, split_location
from zarrv3.hierarchy.nodes import Metadata, create_many, folder_of
from zarrv3.opening.stores import StoreLike, as_store, recognised
from zarrv3.store.base import BaseStore

Mode: TypeAlias = Literal["r", "r+", "a", "w", "w-", "x"]
"""`r` read, `r+` read and write what exists, `a` also create, `w` replace, `w-` or `x` create and fail if it exists."""


# ---------------------------------------------------------------- opening


@takes(ArrayArguments)
def open(  # noqa: A001 - zarr-python's name
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    shape: int | Sequence[int] | None = None,
    data: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    auto: bool = False,
    **arguments: Unpack[ArrayArguments],
) -> Array | Group:
    """Open the array or group at a path of a store, or create one where the mode allows.

    An array is created if a shape or data are given, otherwise a group.

    Args:
        store: anything that `open_store` takes; a URL may end in `|zarr3:path`.
        mode: see `Mode`; by default `a`, or `r` for a store that cannot be written.
        path: the path within the store.
        shape: the length of each dimension of an array that is created.
        data: values to write to an array that is created; they give shape and dtype unless those are given.
        storage_options: options of the store.
        use_consolidated: see `open_group`.
        auto: open another format that an installed plugin recognises through its layer; without it that is an error which
            says what is there.
        arguments: see `ArrayArguments`; used only if something is created, except `write_empty_chunks`.

    Raises `NodeNotFoundError` when nothing is there and nothing may be created, `NodeExistsError` for the modes `w-` and
    `x` when something is, `MetadataError` for a document that is not valid, and `TypeError` for an unknown argument.
    """
    _check(arguments)
    located, full_path, mode = _located(store, path, mode, storage_options, auto=auto)
    located = located.live if use_consolidated is False else located
    metadata = _present(located, full_path, mode)
    if use_consolidated and not isinstance(metadata, GroupMetadata):
        metadata = nodes.checked(located, full_path, metadata, GroupMetadata)
    if isinstance(metadata, ArrayMetadata):
        return _opened_array(located, full_path, mode, metadata, arguments)
    if metadata is not None:
        return _opened_group(located, full_path, mode, metadata, use_consolidated)
    if shape is not None or data is not None:
        return spellings.create(
            located, full_path, shape=shape, data=data, overwrite=mode == "w", **arguments
        )
    attributes = arguments.pop("attributes", None)
    if arguments.keys() - {"zarr_format", "zarr_version"}:
        raise ConfigurationError(
            f"there is nothing at {nodes.where(located, full_path)}; an array needs a shape besides "
            f"{', '.join(arguments)}, and a group takes only attributes"
        )
    return create_group(located, path=full_path, overwrite=mode == "w", attributes=attributes)


@takes(ArrayArguments)
def open_array(
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    shape: int | Sequence[int] | None = None,
    data: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    auto: bool = False,
    chunk_cache: ChunkCache | int | str | None = None,
    **arguments: Unpack[ArrayArguments],
) -> Array:
    """Open an array, or create it where the mode allows and a shape or data are given.

    Args:
        store: see `open`.
        mode: see `Mode`; by default `a`, or `r` for a store that cannot be written.
        path: the path within the store.
        shape: the length of each dimension of an array that is created.
        data: values to write to an array that is created.
        storage_options: options of the store.
        auto: see `open`.
        chunk_cache: remember decoded chunks: a size in bytes or as text such as `"64MiB"`, or a `ChunkCache`; see `Array`.
        arguments: see `ArrayArguments`; used only if it is created, except `write_empty_chunks`.

    Raises `NodeNotFoundError` when there is no array and none may be created, `NodeTypeError` when a group is there, and
    what `open` raises.
    """
    _check(arguments)
    located, full_path, mode = _located(store, path, mode, storage_options, auto=auto)
    present = _present(located, full_path, mode, ArrayMetadata)
    if present is not None:
        metadata = nodes.checked(located, full_path, present, ArrayMetadata)
        return _opened_array(located, full_path, mode, metadata, arguments, chunk_cache)
    if shape is None and data is None:
        raise NodeNotFoundError(
            f"there is no array at {nodes.where(located, full_path)}; give a shape to create one"
        )
    made = spellings.create(located, full_path, shape=shape, data=data, overwrite=mode == "w", **arguments)
    return made if chunk_cache is None else made.with_chunk_cache(chunk_cache)


def open_group(
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    zarr_version: int | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    auto: bool = False,
) -> Group:
    """Open a group, or create it where the mode allows.

    Args:
        store: see `open`.
        mode: see `Mode`; by default `a`, or `r` for a store that cannot be written.
        path: the path within the store.
        zarr_version: 3; others are refused.
        zarr_format: 3; others are refused.
        storage_options: options of the store.
        attributes: the user attributes of a group that is created.
        use_consolidated: `True` takes the documents of everything below from the group's consolidated metadata, so that
            opening reads one value; metadata cannot be changed through such a group, data can; `MetadataError` where
            there is none. `False` reads every document by itself. `None` means `True` where there is some and the mode
            is `r`: a writer must know the present shapes.
        auto: see `open`.

    Raises `NodeNotFoundError` when there is no group and none may be created, `NodeTypeError` when an array is there, and
    what `open` raises.
    """
    spellings.check_format(zarr_version, zarr_format)
    located, full_path, mode = _located(store, path, mode, storage_options, auto=auto)
    located = located.live if use_consolidated is False else located
    present = _present(located, full_path, mode, GroupMetadata)
    if present is not None or use_consolidated:
        metadata = nodes.checked(located, full_path, present, GroupMetadata)
        return _opened_group(located, full_path, mode, metadata, use_consolidated)
    return create_group(located, path=full_path, overwrite=mode == "w", attributes=attributes)


def open_consolidated(
    store: StoreLike,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    zarr_version: int | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    auto: bool = False,
) -> Group:
    """Open a group by its consolidated metadata: `open_group` with `use_consolidated=True`, described there.

    Args:
        store: see `open`.
        mode: see `Mode`; by default `a`, or `r` for a store that cannot be written.
        path: the path within the store.
        zarr_version: 3; others are refused.
        zarr_format: 3; others are refused.
        storage_options: options of the store.
        auto: see `open`.

    Raises `MetadataError` when there is no consolidated metadata, and what `open_group` raises.
    """
    return open_group(
        store,
        mode=mode,
        path=path,
        zarr_version=zarr_version,
        zarr_format=zarr_format,
        storage_options=storage_options,
        use_consolidated=True,
        auto=auto,
    )


def group(
    store: StoreLike = None,
    *,
    overwrite: bool = False,
    path: str | None = None,
    zarr_version: int | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    auto: bool = False,
) -> Group:
    """The group at a path, created if there is none: `open_group` in the mode `a` or, to overwrite, `w`.

    Args:
        store: see `open`.
        overwrite: erase what is at the path, and create a group.
        path: the path within the store.
        zarr_version: 3; others are refused.
        zarr_format: 3; others are refused.
        storage_options: options of the store.
        attributes: the user attributes of a group that is created.
        use_consolidated: see `open_group`.
        auto: see `open`.

    Raises what `open_group` raises.
    """
    return open_group(
        store,
        mode="w" if overwrite else "a",
        path=path,
        zarr_version=zarr_version,
        zarr_format=zarr_format,
        storage_options=storage_options,
        attributes=attributes,
        use_consolidated=use_consolidated,
        auto=auto,
    )


# ---------------------------------------------------------------- creating


@takes(CreateArrayArguments)
def create_array(
    store: StoreLike = None,
    *,
    name: str | None = None,
    shape: int | Sequence[int] | None = None,
    dtype: Any = None,
    data: Any = None,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    **arguments: Unpack[CreateArrayArguments],
) -> Array:
    """Create an array, and the groups that are missing above it.

    Everything is checked before anything is erased or written.

    Args:
        store: anything that `open_store` takes; by default a new store in memory.
        name: the path within the store; by default the root.
        shape: the length of each dimension; by default the shape of `data`.
        dtype: anything that `np.dtype` takes, or a name of the specification; by default that of `data`, else float64.
        data: values to write.
        overwrite: erase what is at the path first.
        storage_options: options of the store.
        zarr_format: 3; others are refused.
        arguments: see `CreateArrayArguments`.

    Raises `NodeExistsError` when a node is there and `overwrite` is false, `NodeTypeError` when an array lies above it,
    `MetadataError` for what does not fit, `ReadOnlyError`, and `TypeError` for an unknown argument.
    """
    check_names(arguments, CreateArrayArguments)
    spellings.check_format(zarr_format)
    located, full_path, _ = _located(store, name, "a", storage_options)
    return creation.create(
        located, full_path, shape=shape, dtype=dtype, data=data, overwrite=overwrite, **arguments
    )


@takes(Zarr2Arguments)
def create(
    shape: int | Sequence[int] | None = None,
    chunks: Chunks = True,
    dtype: Any = None,
    compressor: Any = "auto",
    fill_value: Any = None,
    order: Literal["C", "F"] | None = None,
    store: StoreLike = None,
    *,
    path: str | None = None,
    data: Any = None,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **arguments: Unpack[Zarr2Arguments],
) -> Array:
    """Create an array in the spelling of zarr-python 2 and of its experimental V3 support.

    Args:
        shape: the length of each dimension; by default the shape of `data`.
        chunks: the chunk shape; see `create_array`.
        dtype: anything that `np.dtype` takes, or a name of the specification; by default that of `data`, else float64.
        compressor: one codec, `None`, `"default"` (the Blosc of zarr-python 2) or `"auto"`; codecs of numcodecs are taken.
        fill_value: the value of elements that were never written; `None` is the zero of the data type.
        order: the memory order of stored chunks.
        store: anything that `open_store` takes; by default a new store in memory.
        path: the path within the store; by default the root.
        data: values to write.
        overwrite: erase what is at the path first.
        storage_options: options of the store.
        arguments: see `Zarr2Arguments`.

    Raises what `create_array` raises.
    """
    _check(arguments)
    located, full_path, _ = _located(store, path, "a", storage_options)
    return spellings.create(
        located,
        full_path,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressor=compressor,
        fill_value=fill_value,
        order=order,
        data=data,
        overwrite=overwrite,
        **arguments,
    )


def create_group(
    store: StoreLike = None,
    *,
    path: str | None = None,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Group:
    """Create a group, and the groups that are missing above it.

    Args:
        store: anything that `open_store` takes; by default a new store in memory.
        path: the path within the store; by default the root.
        overwrite: erase what is at the path first.
        attributes: the user attributes: JSON.
        zarr_format: 3; others are refused.
        storage_options: options of the store.

    Raises `NodeExistsError` when a node is there and `overwrite` is false, `NodeTypeError` when an array lies above it,
    and `ReadOnlyError`.
    """
    spellings.check_format(zarr_format)
    located, full_path, _ = _located(store, path, "a", storage_options)
    metadata = GroupMetadata.create(attributes)
    nodes.create(located, full_path, metadata, overwrite=overwrite)
    return Group(located, full_path, metadata=metadata)


def create_hierarchy(
    store: StoreLike, nodes: Mapping[str, Metadata], *, overwrite: bool = False
) -> dict[str, Array | Group]:
    """Create many nodes in one batch where the store can, and the groups that are missing in between.

    Args:
        store: anything that `open_store` takes.
        nodes: paths within the store with the metadata there.
        overwrite: erase what is at those paths first.

    Everything is checked before anything is erased or written; raises what `create_array` raises.
    """
    located, above, _ = _located(store, None, "a", None)
    full = {join_paths(above, path): metadata for path, metadata in nodes.items()}
    create_many(located, full, overwrite=overwrite)
    made: dict[str, Array | Group] = {}
    for path, (full_path, metadata) in zip(nodes, full.items(), strict=True):
        if isinstance(metadata, ArrayMetadata):
            made[path] = Array(located, full_path, metadata=metadata)
        else:
            made[path] = Group(located, full_path, metadata=metadata)
    return made


@takes(ShapedArguments)
def array(data: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array with the values and by default the shape, the dtype and the chunks of `data`.

    Args:
        data: the values: a numpy array, whatever numpy makes one of, or an array of zarrv3, zarr or dask.
        arguments: see `ShapedArguments`.

    Raises what `create_array` raises.
    """
    return create(**spellings.of(data, arguments))


@takes(PlacedArguments)
def empty(shape: int | Sequence[int], **arguments: Unpack[PlacedArguments]) -> Array:
    """Create an array whose content does not matter; it is the fill value.

    Args:
        shape: the length of each dimension.
        arguments: see `PlacedArguments`.

    Raises what `create_array` raises.
    """
    return create(shape, **arguments)


@takes(PlacedArguments)
def zeros(shape: int | Sequence[int], **arguments: Unpack[PlacedArguments]) -> Array:
    """Create an array of zeros (of empty texts, …); only metadata is written.

    Args:
        shape: the length of each dimension.
        arguments: see `PlacedArguments`.

    Raises what `create_array` raises.
    """
    return create(shape, **arguments)


@takes(PlacedArguments, fill_value=1)
def ones(shape: int | Sequence[int], **arguments: Unpack[PlacedArguments]) -> Array:
    """Create an array of ones; only metadata is written.

    Args:
        shape: the length of each dimension.
        arguments: see `PlacedArguments`.

    Raises what `create_array` raises.
    """
    arguments.setdefault("fill_value", 1)
    return create(shape, **arguments)


@takes(PlacedFullArguments)
def full(shape: int | Sequence[int], fill_value: Any, **arguments: Unpack[PlacedFullArguments]) -> Array:
    """Create an array of one value; only metadata is written.

    Args:
        shape: the length of each dimension.
        fill_value: the value of all elements.
        arguments: see `PlacedFullArguments`.

    Raises what `create_array` raises.
    """
    return create(shape, fill_value=fill_value, **arguments)


@takes(ShapedArguments)
def empty_like(prototype: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array with the shape, chunks and dtype of another, and its codecs if it is one of ours.

    Args:
        prototype: an array of zarrv3, or anything with a shape.
        arguments: see `ShapedArguments`; they take precedence over what the prototype has.

    Raises what `create_array` raises.
    """
    return create(**spellings.like(prototype, arguments))


@takes(ShapedArguments)
def zeros_like(prototype: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array of zeros like another; see `empty_like`.

    Args:
        prototype: an array of zarrv3, or anything with a shape.
        arguments: see `ShapedArguments`; they take precedence over what the prototype has.

    Raises what `create_array` raises.
    """
    arguments.setdefault("fill_value", None)
    return create(**spellings.like(prototype, arguments))


@takes(ShapedArguments, fill_value=1)
def ones_like(prototype: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array of ones like another; see `empty_like`.

    Args:
        prototype: an array of zarrv3, or anything with a shape.
        arguments: see `ShapedArguments`; they take precedence over what the prototype has.

    Raises what `create_array` raises.
    """
    arguments.setdefault("fill_value", 1)
    return create(**spellings.like(prototype, arguments))


@takes(ShapedFullArguments)
def full_like(prototype: Any, fill_value: Any = None, **arguments: Unpack[ShapedFullArguments]) -> Array:
    """Create an array of one value like another; see `empty_like`.

    Args:
        prototype: an array of zarrv3, or anything with a shape.
        fill_value: the value of all elements; by default the prototype's fill value.
        arguments: see `ShapedFullArguments`; they take precedence over what the prototype has.

    Raises what `create_array` raises.
    """
    given = {} if fill_value is None else {"fill_value": fill_value}
    return create(**spellings.like(prototype, {**given, **arguments}))


@takes(ArrayArguments)
def open_like(
    prototype: Any,
    path: str,
    *,
    store: StoreLike = None,
    mode: Mode | None = None,
    shape: int | Sequence[int] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    auto: bool = False,
    chunk_cache: ChunkCache | int | str | None = None,
    **arguments: Unpack[ArrayArguments],
) -> Array:
    """Open an array, or create it with the shape, chunks and dtype of another.

    Args:
        prototype: an array of zarrv3, or anything with a shape.
        path: the path within the store.
        store: see `open`.
        mode: see `Mode`; by default `a`, or `r` for a store that cannot be written.
        shape: the length of each dimension, if it is to differ from the prototype's.
        storage_options: options of the store.
        auto: see `open`.
        chunk_cache: see `open_array`.
        arguments: see `ArrayArguments`; they take precedence over what the prototype has.

    Raises what `open_array` raises.
    """
    given = {} if shape is None else {"shape": shape}
    return open_array(
        store,
        path=path,
        mode=mode,
        storage_options=storage_options,
        auto=auto,
        chunk_cache=chunk_cache,
        **spellings.like(prototype, {**given, **arguments}),
    )


# ---------------------------------------------------------------- saving and loading


def save(
    store: StoreLike, *args: Any, path: str | None = None, overwrite: bool = False, **named: Any
) -> None:
    """Save one array as an array, or several as a group.

    Args:
        store: anything that `open_store` takes; a store that is opened here is closed afterwards.
        args: arrays; several are called `arr_0`, `arr_1`, …
        path: the path within the store; by default the root.
        overwrite: erase the node at the path first; what else lies there stays.
        named: arrays by name.

    Raises `ConfigurationError` without an array, and what `create_array` raises.
    """
    if len(args) == 1 and not named:
        save_array(store, args[0], path=path, overwrite=overwrite)
    else:
        save_group(store, *args, path=path, overwrite=overwrite, **named)


@takes(ArrayArguments)
def save_array(
    store: StoreLike,
    data: Any,
    *,
    path: str | None = None,
    overwrite: bool = False,
    **arguments: Unpack[ArrayArguments],
) -> None:
    """Save one array.

    Args:
        store: anything that `open_store` takes; a store that is opened here is closed afterwards.
        data: the values.
        path: the path within the store; by default the root.
        overwrite: erase the node at the path first; what else lies there stays.
        arguments: see `ArrayArguments`.

    Raises what `create_array` raises.
    """
    with _used(store, path) as (located, full_path):
        array(data, store=located, path=full_path, overwrite=overwrite, **arguments)


def save_group(
    store: StoreLike, *args: Any, path: str | None = None, overwrite: bool = False, **named: Any
) -> None:
    """Save arrays as a group.

    Args:
        store: anything that `open_store` takes; a store that is opened here is closed afterwards.
        args: arrays, called `arr_0`, `arr_1`, …
        path: the path within the store; by default the root.
        overwrite: erase the node at the path first; what else lies there stays. All values are in memory by then, since they
            may be read from there.
        named: arrays by name.

    Raises `ConfigurationError` without an array, and what `create_array` raises.
    """
    if not args and not named:
        raise ConfigurationError("save_group needs at least one array")
    arrays = {**{f"arr_{number}": data for number, data in enumerate(args)}, **named}
    with _used(store, path) as (located, full_path):
        if overwrite:
            arrays = {name: np.asarray(data) for name, data in arrays.items()}
        target = create_group(located, path=full_path, overwrite=overwrite)
        for name, data in arrays.items():
            target.create_array(name, data=data)


def load(store: StoreLike, path: str | None = None) -> Any:
    """The values of an array as a numpy array, or those of the arrays in a group as a dict of numpy arrays by name.

    Args:
        store: anything that `open_store` takes; a store that is opened here is closed afterwards.
        path: the path within the store; by default the root.

    Raises what `open` in the mode `r` raises.
    """
    with _used(store, path) as (located, full_path):
        node = open(located, mode="r", path=full_path)
        if isinstance(node, Array):
            return node[...]
        return {name: member[...] for name, member in node.arrays()}


def tree(node: StoreLike, path: str | None = None, level: int | None = None) -> Tree:
    """A hierarchy as a drawing, in a terminal and in a notebook.

    Args:
        node: a group, or anything that `open_store` takes.
        path: the path of a group in that store.
        level: how many levels to draw; by default all.
    """
    top = node if isinstance(node, Group) else open_group(node, mode="r", path=path)
    return Tree(top, level)


def consolidate_metadata(store: StoreLike, path: str | None = None) -> Group:
    """Write the metadata of everything below a group into the group's own document.

    Readers that use it open the whole tree by one read. The form is that of zarr-python 3, the member
    `consolidated_metadata` with the `kind` `inline`, which is not part of the specification. Later changes below the group
    make it stale: consolidate again.

    Args:
        store: anything that `open_store` takes.
        path: the path of the group; by default the root.

    Raises `NodeNotFoundError` when no group is there, `MetadataError` when a document below cannot be read, and
    `ReadOnlyError`.
    """
    located, full_path, _ = _located(store, path, "r+", None)
    return consolidated.consolidate(located.live, full_path)


# ---------------------------------------------------------------- helpers


def _present(
    store: BaseStore, path: str, mode: Mode, wanted: type[Any] | None = None
) -> nodes.Metadata | None:
    """What is at a path if the mode opens what is there; raises where it must be there and is not."""
    if mode in {"w", "w-", "x"}:
        return None
    metadata = nodes.find(store, path)
    if metadata is None and mode != "a":
        noun = "node" if wanted is None else "array" if wanted is ArrayMetadata else "group"
        raise nodes.missing(store, path, noun)
    return metadata


def _located(
    store: StoreLike,
    path: str | None,
    mode: Mode | None,
    options: Mapping[str, Any] | None,
    *,
    auto: bool = False,
) -> tuple[BaseStore, str, Mode]:
    """The store, the path within it, and the mode that follows; with `auto` in the layer that a plugin knows it by."""
    if mode not in {None, "r", "r+", "a", "w", "w-", "x"}:
        raise ConfigurationError(f"mode must be r, r+, a, w, w- or x, not {mode!r}")
    if isinstance(store, Group):
        if store.read_only:
            if mode not in {None, "r"}:
                raise ReadOnlyError(f"{store!r} is open for reading")
            mode = "r"
        store, path = store.store, folder_of(store.path) + (path or "").strip("/")
    store, below = split_location(store)
    located = as_store(store, options)
    full_path = join_paths(below, path)
    if auto:
        located, full_path = recognised(located, full_path)
    if mode is None:
        mode = "a" if located.capabilities.write else "r"
    if mode != "r" and not located.capabilities.write:
        raise ReadOnlyError(f"{located.describe()} cannot be written; open it with mode='r'")
    return located, full_path, mode


def _check(arguments: Mapping[str, Any]) -> None:
    """Refuse unknown arguments and other versions of the format, whether or not an array is going to be created."""
    check_names(arguments, ArrayArguments)
    spellings.check_format(arguments.get("zarr_version"), arguments.get("zarr_format"))


def _opened_array(
    store: BaseStore,
    path: str,
    mode: Mode,
    metadata: ArrayMetadata,
    arguments: ArrayArguments,
    chunk_cache: ChunkCache | int | str | None = None,
) -> Array:
    return Array(
        store,
        path,
        read_only=mode == "r",
        metadata=metadata,
        write_empty_chunks=arguments.get("write_empty_chunks"),
        chunk_cache=chunk_cache,
    )


def _opened_group(
    store: BaseStore, path: str, mode: Mode, metadata: GroupMetadata, use_consolidated: bool | None
) -> Group:
    if use_consolidated or mode == "r":
        store = consolidated.with_consolidated(store, path, metadata, use_consolidated)
    return Group(store, path, read_only=mode == "r", metadata=metadata)


@contextmanager
def _used(given: StoreLike, path: str | None) -> Iterator[tuple[BaseStore, str]]:
    """The store and the path in it; a store that is opened here is closed afterwards, another one is flushed."""
    store, below = split_location(given)
    used = as_store(store)
    try:
        yield used, join_paths(below, path)
        if used.capabilities.write:
            used.flush()
    finally:
        if isinstance(given, str | os.PathLike | dict) and not isinstance(given, BaseStore):
            used.close()
