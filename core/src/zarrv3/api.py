"""The functions of the top level, spelled as in zarr-python 3 and, where it differed, as in zarr-python 2."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Unpack

from zarrv3.errors import ConfigurationError
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, creation, nodes, spellings
from zarrv3.hierarchy.arguments import (
    ArrayArguments,
    Chunks,
    CreateArrayArguments,
    GroupArguments,
    MemberArguments,
    Mode,
    OpenConsolidatedArguments,
    OpenLikeArguments,
    PlacedArguments,
    PlacedFullArguments,
    Shape,
    ShapedArguments,
    ShapedFullArguments,
    VersionArguments,
    Zarr2Arguments,
    check_format,
    check_names,
    takes,
)
from zarrv3.hierarchy.array import Array, usage_of
from zarrv3.hierarchy.display import Tree
from zarrv3.hierarchy.group import Group, opened
from zarrv3.hierarchy.node import StorePath, join_paths, split_location
from zarrv3.hierarchy.nodes import Metadata, create_many
from zarrv3.hierarchy.opening import READ_ONLY, check, locate, present
from zarrv3.hierarchy.opening import open_array as open_array  # noqa: PLC0414 - it is one of these too
from zarrv3.hierarchy.replacing import replacing
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.store.base import BaseStore

# ---------------------------------------------------------------- opening


@takes(ArrayArguments, read_only=READ_ONLY)
def open(  # noqa: A001 - zarr-python's name
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    shape: Shape | None = None,
    data: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    auto: bool = False,
    **arguments: Unpack[ArrayArguments],
) -> Array | Group:
    """Open the array or group at a path of a store, or create one where the mode allows.

    An array is created if a shape or data are given, otherwise a group. What describes a new array is used only if one is created,
    except `write_empty_chunks` and `config`. Thread-safe, as are the nodes that are returned.

    Raises `NodeNotFoundError` when nothing is there and nothing may be created, `NodeExistsError` for the modes `w-` and
    `x` when something is, `MetadataError` for a document that is not valid, and `TypeError` for an unknown argument.
    """
    check(arguments)
    reads = arguments.pop("read_only", False)
    located, full_path, mode = locate(store, path, mode, storage_options, auto=auto, reads=reads)
    located = located.live if use_consolidated is False else located
    metadata = present(located, full_path, mode)
    if use_consolidated and not isinstance(metadata, GroupMetadata):
        metadata = nodes.checked(located, full_path, metadata, GroupMetadata)
    if isinstance(metadata, ArrayMetadata):
        return Array(located, full_path, read_only=mode == "r", metadata=metadata, **usage_of(arguments))
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


@takes(VersionArguments)
def open_group(
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    auto: bool = False,
    **version: Unpack[VersionArguments],
) -> Group:
    """Open a group, or create it where the mode allows.

    Raises `NodeNotFoundError` when there is no group and none may be created, `NodeTypeError` when an array is there, and
    what `open` raises.
    """
    check_format(**version)
    located, full_path, mode = locate(store, path, mode, storage_options, auto=auto)
    located = located.live if use_consolidated is False else located
    there = present(located, full_path, mode, GroupMetadata)
    if there is not None or use_consolidated:
        metadata = nodes.checked(located, full_path, there, GroupMetadata)
        return _opened_group(located, full_path, mode, metadata, use_consolidated)
    return create_group(located, path=full_path, overwrite=mode == "w", attributes=attributes)


@takes(
    OpenConsolidatedArguments,
    raises="Raises `MetadataError` when there is no consolidated metadata, and what `open_group` raises.",
)
def open_consolidated(store: StoreLike, **arguments: Unpack[OpenConsolidatedArguments]) -> Group:
    """Open a group by its consolidated metadata: `open_group` with `use_consolidated=True`, described there."""
    return open_group(store, use_consolidated=True, **arguments)


@takes(GroupArguments, raises="Raises what `open_group` raises.")
def group(store: StoreLike = None, *, overwrite: bool = False, **arguments: Unpack[GroupArguments]) -> Group:
    """The group at a path, created if there is none: `open_group` in the mode `a` or, to overwrite, `w`."""
    return open_group(store, mode="w" if overwrite else "a", **arguments)


# ---------------------------------------------------------------- creating

_DATA = "the values: a numpy array, whatever numpy makes one of, or an array of zarrv3, zarr or dask."


@takes(CreateArrayArguments, name="the path within the store; by default the root.")
def create_array(
    store: StoreLike = None,
    *,
    name: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    **arguments: Unpack[CreateArrayArguments],
) -> Array:
    """Create an array (core specification, "Array metadata"), and the groups that are missing above it.

    Everything is checked before anything is erased or written, and an array whose data cannot be written to their end is not left
    behind. Of several callers, also in several processes, one creates the array where the store can swap; the others get
    `NodeExistsError`.

    Raises `NodeExistsError` when a node is there and `overwrite` is false, `NodeTypeError` when an array lies above it,
    `MetadataError` for what does not fit, `ReadOnlyError`, and `TypeError` for an unknown argument.
    """
    check_names(arguments, CreateArrayArguments)
    check_format(zarr_format)
    located, full_path, _ = locate(store, name, "a", storage_options)
    return creation.create(located, full_path, **arguments)


@takes(Zarr2Arguments)
def create(
    shape: Shape | None = None,
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
    mode: Mode | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **arguments: Unpack[Zarr2Arguments],
) -> Array:
    """Create an array in the spelling of zarr-python 2 and of its experimental V3 support."""
    check(arguments)
    if mode in {"r", "r+"}:
        raise ConfigurationError(f"mode={mode!r} creates no array")
    located, full_path, mode = locate(store, path, mode or "a", storage_options)
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
        overwrite=overwrite or mode == "w",
        **arguments,
    )


@takes(CreateArrayArguments, name="the path within the store; by default the root.", data=_DATA)
def from_array(
    store: StoreLike,
    *,
    name: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    **arguments: Unpack[CreateArrayArguments],
) -> Array:
    """Create an array with the values of another, and with its chunks, codecs, attributes and names of dimensions.

    What is given as an argument is taken from there instead, unless it is `"keep"`.
    """
    check_names(arguments, CreateArrayArguments)
    given = {n: v for n, v in arguments.items() if not (isinstance(v, str) and v == "keep")}
    data = given.pop("data", None)
    if data is None:
        raise ConfigurationError("from_array needs data")
    return create_array(
        store,
        name=name,
        storage_options=storage_options,
        zarr_format=zarr_format,
        data=data,
        **spellings.like(data, given, kept=("attributes", "dimension_names")),
    )


@takes()
def create_group(
    store: StoreLike = None,
    *,
    path: str | None = None,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Group:
    """Create a group (core specification, "Group metadata"), and the groups that are missing above it.

    Of several callers, also in several processes, one creates it where the store can swap; the others get `NodeExistsError`.

    Raises `NodeExistsError` when a node is there and `overwrite` is false, `NodeTypeError` when an array lies above it,
    and `ReadOnlyError`.
    """
    check_format(zarr_format)
    located, full_path, _ = locate(store, path, "a", storage_options)
    return Group.from_store(StorePath(located, full_path), attributes=attributes, overwrite=overwrite)


@takes(nodes="paths within the store with the metadata there.")
def create_hierarchy(
    store: StoreLike, nodes: Mapping[str, Metadata], *, overwrite: bool = False
) -> dict[str, Array | Group]:
    """Create many nodes in one batch where the store can, and the groups that are missing in between.

    Everything is checked before anything is erased or written. Returns the new nodes by their paths; raises what `create_array`
    raises.
    """
    located, above, _ = locate(store, None, "a", None)
    full = {join_paths(above, path): metadata for path, metadata in nodes.items()}
    create_many(located, full, overwrite=overwrite)
    return {path: opened(located, join_paths(above, path), metadata) for path, metadata in nodes.items()}


@takes(ShapedArguments, data=_DATA)
def array(data: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array with the values and by default the shape, the dtype and the chunks of `data`."""
    return create(**spellings.of(data, arguments))


@takes(PlacedArguments)
def empty(shape: Shape, **arguments: Unpack[PlacedArguments]) -> Array:
    """Create an array whose content does not matter; it is the fill value."""
    return create(shape, **arguments)


@takes(PlacedArguments)
def zeros(shape: Shape, **arguments: Unpack[PlacedArguments]) -> Array:
    """Create an array of zeros (of empty texts, …); only metadata is written."""
    return create(shape, **arguments)


@takes(PlacedArguments, defaults={"fill_value": 1})
def ones(shape: Shape, **arguments: Unpack[PlacedArguments]) -> Array:
    """Create an array of ones; only metadata is written."""
    arguments.setdefault("fill_value", 1)
    return create(shape, **arguments)


@takes(PlacedFullArguments, fill_value="the value of all elements.")
def full(shape: Shape, fill_value: Any, **arguments: Unpack[PlacedFullArguments]) -> Array:
    """Create an array of one value; only metadata is written."""
    return create(shape, fill_value=fill_value, **arguments)


@takes(ShapedArguments)
def empty_like(prototype: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array with the shape, chunks and dtype of another, and its codecs if it is one of ours."""
    return create(**spellings.like(prototype, arguments))


@takes(ShapedArguments)
def zeros_like(prototype: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array of zeros like another; see `empty_like`."""
    return create(**spellings.like(prototype, {"fill_value": None, **arguments}))


@takes(ShapedArguments, defaults={"fill_value": 1})
def ones_like(prototype: Any, **arguments: Unpack[ShapedArguments]) -> Array:
    """Create an array of ones like another; see `empty_like`."""
    return create(**spellings.like(prototype, {"fill_value": 1, **arguments}))


@takes(ShapedFullArguments, fill_value="the value of all elements; by default the prototype's fill value.")
def full_like(prototype: Any, fill_value: Any = None, **arguments: Unpack[ShapedFullArguments]) -> Array:
    """Create an array of one value like another; see `empty_like`."""
    given = {} if fill_value is None else {"fill_value": fill_value}
    return create(**spellings.like(prototype, {**given, **arguments}))


@takes(OpenLikeArguments, raises="Raises what `open_array` raises.", read_only=READ_ONLY)
def open_like(prototype: Any, path: str, **arguments: Unpack[OpenLikeArguments]) -> Array:
    """Open an array, or create it with the shape, chunks and dtype of another."""
    return open_array(path=path, **spellings.like(prototype, arguments))


# ---------------------------------------------------------------- saving and loading

_SAVED = "arrays; several are called `arr_0`, `arr_1`, …"


@takes(args=_SAVED, named="arrays by name.")
def save(
    store: StoreLike, *args: Any, path: str | None = None, overwrite: bool = False, **named: Any
) -> None:
    """Save one array as an array, or several as a group. A store that is opened here is closed afterwards.

    Raises `ConfigurationError` without an array, and what `create_array` raises.
    """
    if len(args) == 1 and not named:
        save_array(store, args[0], path=path, overwrite=overwrite)
    else:
        save_group(store, *args, path=path, overwrite=overwrite, **named)


@takes(MemberArguments, data="the values.")
def save_array(
    store: StoreLike,
    data: Any,
    *,
    path: str | None = None,
    mode: Mode | None = None,
    **arguments: Unpack[MemberArguments],
) -> None:
    """Save one array. A store that is opened here is closed afterwards."""
    with _used(store, path) as (located, full_path):
        array(data, store=located, path=full_path, mode=mode, **arguments)


@takes(args=_SAVED, named="arrays by name.")
def save_group(
    store: StoreLike, *args: Any, path: str | None = None, overwrite: bool = False, **named: Any
) -> None:
    """Save arrays as a group. A store that is opened here is closed afterwards.

    Whether all can be stored is checked before anything is erased or written. To overwrite, arrays that may lie there are read into
    memory first.

    Raises `ConfigurationError` without an array, and what `create_array` raises.
    """
    if not args and not named:
        raise ConfigurationError("save_group needs at least one array")
    arrays = {**{f"arr_{number}": data for number, data in enumerate(args)}, **named}
    with _used(store, path) as (located, full_path):
        for name, data in arrays.items():
            join_paths(full_path, name)
            apart = creation.apart(data, located, full_path) if overwrite else data
            arrays[name] = creation.storable(apart, located)
        size = sum(getattr(data, "nbytes", 0) for data in arrays.values())
        with replacing(located, full_path, lambda: size, overwrite=overwrite) as site:
            target = create_group(site.store, path=site.path, overwrite=overwrite)
            for name, data in arrays.items():
                target.create_array(name, data=data)


@takes(raises="Raises what `open` in the mode `r` raises.")
def load(store: StoreLike, path: str | None = None) -> Any:
    """The values of an array as a numpy array, or those of the arrays in a group as a dict of numpy arrays by name.

    A store that is opened here is closed afterwards.
    """
    with _used(store, path) as (located, full_path):
        node = open(located, mode="r", path=full_path)
        if isinstance(node, Array):
            return node[...]
        return {name: member[...] for name, member in node.arrays()}


def tree(node: StoreLike, path: str | None = None, level: int | None = None) -> Tree:
    """A hierarchy as a drawing, for a terminal or a notebook; it is read when it is drawn.

    Args:
        node: a group, or anything that `open_store` takes.
        path: the path of a group in that store.
        level: how many levels to draw; by default all.
    """
    top = node if isinstance(node, Group) else open_group(node, mode="r", path=path)
    return Tree(top, level)


def consolidate_metadata(store: StoreLike, path: str | None = None) -> Group:
    """Write the metadata of everything below a group into the group's own document.

    Readers that use them open the whole tree with one read. The form is that of zarr-python 3, the member
    `consolidated_metadata` with the `kind` `inline`, which is not part of the specification. Later changes below the group
    make it stale: consolidate again.

    Args:
        store: anything that `open_store` takes.
        path: the path of the group; by default the root.

    Raises `NodeNotFoundError` when no group is there, `MetadataError` when a document below cannot be read, and
    `ReadOnlyError`.
    """
    located, full_path, _ = locate(store, path, "r+", None)
    return consolidated.consolidate(located.live, full_path)


# ---------------------------------------------------------------- helpers


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
