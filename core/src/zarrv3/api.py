"""The functions of the top level, spelled as in zarr-python 3 and, where it differed, as in zarr-python 2."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np

from zarrv3.chunks.chunk_cache import ChunkCache
from zarrv3.errors import ConfigurationError, NodeNotFoundError, ReadOnlyError
from zarrv3.format.data_types import data_type_of
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, creation, nodes
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.group import Group
from zarrv3.hierarchy.node import join_paths, split_location
from zarrv3.hierarchy.nodes import Metadata, create_many, folder_of
from zarrv3.hierarchy.tree import Tree
from zarrv3.opening.stores import StoreLike, as_store, recognised
from zarrv3.store.base import BaseStore

Mode: TypeAlias = Literal["r", "r+", "a", "w", "w-", "x"]
"""`r` read, `r+` read and write what exists, `a` also create, `w` create anew, `w-` or `x` create, fail if it exists."""


# ---------------------------------------------------------------- opening


def open(  # noqa: A001 - zarr-python's name
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    zarr_version: int | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    use_consolidated: bool | None = None,
    auto: bool = False,
    **arguments: Any,
) -> Array | Group:
    """Open the array or group at a path of a store.

    Args:
        store: anything that `open_store` takes; a URL may end in `|zarr3:path`.
        mode: see `Mode`; by default `a`, or `r` for a store that cannot be written.
        path: the path within the store.
        zarr_version: 3; others are refused.
        zarr_format: the same.
        storage_options: options of the store.
        use_consolidated: see `open_group`.
        auto: open another format that an installed plugin recognises through its layer; without, that is an error which
            says what is there.
        arguments: for the creation of an array, if that is what is wanted: with a shape or data it is.

    Raises `NodeNotFoundError` when nothing is there and nothing may be created.
    """
    _check_format(zarr_version, zarr_format)
    opened, where, mode = _located(store, path, mode, storage_options, auto=auto)
    opened = consolidated.bare(opened) if use_consolidated is False else opened
    metadata = _present(opened, where, mode)
    if use_consolidated and not isinstance(metadata, GroupMetadata):
        metadata = nodes.checked(opened, where, metadata, GroupMetadata)
    if isinstance(metadata, ArrayMetadata):
        write_empty = arguments.get("write_empty_chunks")
        return Array(opened, where, read_only=mode == "r", metadata=metadata, write_empty_chunks=write_empty)
    if metadata is not None:
        if use_consolidated or mode == "r":
            opened = consolidated.chosen(opened, where, metadata, use_consolidated)
        return Group(opened, where, read_only=mode == "r", metadata=metadata)
    if arguments.get("shape") is not None or arguments.get("data") is not None:
        return create(store=opened, path=where, overwrite=mode == "w", **arguments)
    return create_group(opened, path=where, overwrite=mode == "w", **arguments)


def open_array(
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    shape: Any = None,
    zarr_version: int | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    auto: bool = False,
    chunk_cache: ChunkCache | int | str | None = None,
    **arguments: Any,
) -> Array:
    """Open an array, or create it where the mode allows and a shape is given; see `open`.

    With `chunk_cache`, a size such as `"64MiB"` or a `ChunkCache`, decoded chunks are remembered; see `Array`.
    """
    _check_format(zarr_version, zarr_format)
    opened, where, mode = _located(store, path, mode, storage_options, auto=auto)
    found = _present(opened, where, mode, ArrayMetadata)
    if found is not None:
        metadata = nodes.checked(opened, where, found, ArrayMetadata)
        write_empty = arguments.get("write_empty_chunks")
        return Array(
            opened,
            where,
            read_only=mode == "r",
            metadata=metadata,
            write_empty_chunks=write_empty,
            chunk_cache=chunk_cache,
        )
    if shape is None and arguments.get("data") is None:
        raise NodeNotFoundError(
            f"there is no array at {nodes.where(opened, where)}; give a shape to create one"
        )
    made = create(shape, store=opened, path=where, overwrite=mode == "w", **arguments)
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
    """Open a group, or create it where the mode allows; see `open`.

    Args:
        store: see `open`.
        mode: see `Mode`.
        path: the path within the store.
        zarr_version: 3; others are refused.
        zarr_format: the same.
        storage_options: options of the store.
        attributes: of the group, if it is created.
        use_consolidated: `True` takes the documents of everything below from the group's consolidated metadata, so that
            opening reads one value; metadata cannot be changed through such a group, data can; `MetadataError` where
            there are none. `False` reads every document by itself. `None` is `True` where there are some and the mode is
            `r`: who writes has to know the shapes there are now.
        auto: see `open`.
    """
    _check_format(zarr_version, zarr_format)
    opened, where, mode = _located(store, path, mode, storage_options, auto=auto)
    opened = consolidated.bare(opened) if use_consolidated is False else opened
    found = _present(opened, where, mode, GroupMetadata)
    if found is not None or use_consolidated:
        metadata = nodes.checked(opened, where, found, GroupMetadata)
        if use_consolidated or mode == "r":
            opened = consolidated.chosen(opened, where, metadata, use_consolidated)
        return Group(opened, where, read_only=mode == "r", metadata=metadata)
    return create_group(opened, path=where, overwrite=mode == "w", attributes=attributes)


def open_consolidated(store: StoreLike, *, path: str | None = None, **arguments: Any) -> Group:
    """Open a group by its consolidated metadata: `open_group` with `use_consolidated=True`."""
    return open_group(store, path=path, use_consolidated=True, **arguments)


def group(
    store: StoreLike = None, *, overwrite: bool = False, path: str | None = None, **arguments: Any
) -> Group:
    """The group at a path, created if there is none or if it is to be overwritten."""
    return open_group(store, mode="w" if overwrite else "a", path=path, **arguments)


# ---------------------------------------------------------------- creating


def create_array(
    store: StoreLike = None,
    *,
    name: str | None = None,
    shape: int | Sequence[int] | None = None,
    dtype: Any = None,
    data: Any = None,
    chunks: creation.Chunks = "auto",
    shards: Any = None,
    filters: Any = "auto",
    compressors: Any = "auto",
    serializer: Any = "auto",
    fill_value: Any = None,
    order: Literal["C", "F"] | None = None,
    zarr_format: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    chunk_key_encoding: Any = None,
    dimension_names: Sequence[str | None] | None = None,
    storage_transformers: Sequence[Any] = (),
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    write_empty_chunks: bool | None = None,
) -> Array:
    """Create an array; the arguments are described at `zarrv3.hierarchy.creation.metadata_for`.

    Args:
        store: anything that `open_store` takes; a new one in memory by default.
        name: the path within the store; the root by default.
        shape: the lengths of the dimensions.
        dtype: the data type.
        data: values to be written; gives shape and dtype unless they are given.
        chunks: the chunk shape.
        shards: the shape of what is stored as one value.
        filters: codecs from array to array.
        compressors: codecs from bytes to bytes.
        serializer: the codec from array to bytes.
        fill_value: the value of elements that were not written.
        order: the memory order of stored chunks.
        zarr_format: 3; others are refused.
        attributes: the user attributes.
        chunk_key_encoding: how chunk coordinates become keys.
        dimension_names: a name or `None` for each dimension.
        storage_transformers: what lies between the array and the store.
        storage_options: options of the store.
        overwrite: erase what is at the path.
        write_empty_chunks: store chunks that hold only the fill value.

    Raises `NodeExistsError` when a node is there and `overwrite` is false, `MetadataError` for what does not fit.
    """
    _check_format(zarr_format)
    opened, path, _ = _located(store, name, "a", storage_options)
    return creation.create(
        opened,
        path,
        overwrite=overwrite,
        data=data,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        filters=filters,
        compressors=compressors,
        serializer=serializer,
        fill_value=fill_value,
        order=order,
        attributes=attributes,
        chunk_key_encoding=chunk_key_encoding,
        dimension_names=dimension_names,
        storage_transformers=storage_transformers,
        write_empty_chunks=write_empty_chunks,
    )


def create(
    shape: int | Sequence[int] | None = None,
    chunks: creation.Chunks = True,
    dtype: Any = None,
    compressor: Any = "auto",
    fill_value: Any = None,
    order: Literal["C", "F"] | None = None,
    store: StoreLike = None,
    *,
    overwrite: bool = False,
    path: str | None = None,
    filters: Any = "auto",
    object_codec: Any = None,
    dimension_separator: Literal[".", "/"] | None = None,
    write_empty_chunks: bool | None = None,
    zarr_version: int | None = None,
    zarr_format: int | None = None,
    read_only: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Array:
    """Create an array in the spelling of zarr-python 2 and of its experimental V3 support.

    `compressor` is one codec, `None`, `"default"` (the Blosc of zarr-python 2) or `"auto"`; codecs of numcodecs are
    taken. Other arguments are those of `create_array`. Those of zarr-python 2 that have no meaning here (`cache_metadata`,
    `cache_attrs`, and `synchronizer`, `chunk_store`, `meta_array` as `None`) are let pass.
    """
    _check_format(zarr_version, zarr_format)
    _let_pass(arguments)
    opened, where, _ = _located(store, path, "a", storage_options)
    arguments.setdefault("compressors", compressor)
    array = creation.create(
        opened,
        where,
        overwrite=overwrite,
        shape=shape,
        chunks=chunks,
        dtype=_object_dtype(dtype, object_codec),
        fill_value=fill_value,
        order=order,
        filters=filters,
        dimension_separator=dimension_separator,
        write_empty_chunks=write_empty_chunks,
        **arguments,
    )
    return Array(opened, where, read_only=True, metadata=array.metadata) if read_only else array


def create_group(
    store: StoreLike = None,
    *,
    path: str | None = None,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Group:
    """Create a group; `NodeExistsError` when a node is there and `overwrite` is false."""
    _check_format(zarr_format)
    opened, where, _ = _located(store, path, "a", storage_options)
    metadata = GroupMetadata.create(attributes)
    nodes.create(opened, where, metadata, overwrite=overwrite)
    return Group(opened, where, metadata=metadata)


def create_hierarchy(
    store: StoreLike, nodes: Mapping[str, Metadata], *, overwrite: bool = False
) -> dict[str, Array | Group]:
    """Create many nodes in one batch, from paths and metadata; groups in between come with them."""
    opened, where, _ = _located(store, None, "a", None)
    full = {join_paths(where, path): metadata for path, metadata in nodes.items()}
    create_many(opened, full, overwrite=overwrite)
    made: dict[str, Array | Group] = {}
    for path, metadata in zip(nodes, full.values(), strict=True):
        if isinstance(metadata, ArrayMetadata):
            made[path] = Array(opened, join_paths(where, path), metadata=metadata)
        else:
            made[path] = Group(opened, join_paths(where, path), metadata=metadata)
    return made


def array(data: Any, **arguments: Any) -> Array:
    """Create an array with the values and by default the shape, dtype and chunks of `data`."""
    if not hasattr(data, "shape"):
        data = np.asarray(data)
    if "chunks" not in arguments and isinstance(getattr(data, "chunks", None), tuple):
        chunks = data.chunks
        if all(isinstance(length, int) for length in chunks):  # a dask array has tuples there
            arguments["chunks"] = chunks
    return create(data=data, **arguments)


def empty(shape: int | Sequence[int], **arguments: Any) -> Array:
    """Create an array whose content does not matter; it is the fill value."""
    return create(shape, **arguments)


def zeros(shape: int | Sequence[int], **arguments: Any) -> Array:
    """Create an array of zeros (empty texts, …): nothing is written but metadata."""
    return create(shape, **arguments)


def ones(shape: int | Sequence[int], **arguments: Any) -> Array:
    """Create an array of ones: nothing is written but metadata."""
    return create(shape, **{"fill_value": 1, **arguments})


def full(shape: int | Sequence[int], fill_value: Any, **arguments: Any) -> Array:
    """Create an array of one value: nothing is written but metadata."""
    return create(shape, fill_value=fill_value, **arguments)


def empty_like(prototype: Any, **arguments: Any) -> Array:
    """Create an array with the shape, chunks and dtype of another, and its codecs if it is one of ours."""
    return empty(**_like(prototype, arguments))


def zeros_like(prototype: Any, **arguments: Any) -> Array:
    """Create an array of zeros like another; see `empty_like`."""
    return zeros(**_like(prototype, {"fill_value": None, **arguments}))


def ones_like(prototype: Any, **arguments: Any) -> Array:
    """Create an array of ones like another; see `empty_like`."""
    return ones(**_like(prototype, {"fill_value": 1, **arguments}))


def full_like(prototype: Any, fill_value: Any = None, **arguments: Any) -> Array:
    """Create an array of one value (by default the prototype's fill value) like another; see `empty_like`."""
    given = {} if fill_value is None else {"fill_value": fill_value}
    return create(**_like(prototype, {**given, **arguments}))


def open_like(prototype: Any, path: str, **arguments: Any) -> Array:
    """Open an array, or create it with the shape, chunks and dtype of another."""
    return open_array(path=path, **_like(prototype, arguments))


# ---------------------------------------------------------------- saving and loading


def save(store: StoreLike, *args: Any, path: str | None = None, **named: Any) -> None:
    """Save one array to a store, or several as a group (`arr_0`, `arr_1`, … and the names given)."""
    if len(args) == 1 and not named:
        save_array(store, args[0], path=path)
    else:
        save_group(store, *args, path=path, **named)


def save_array(store: StoreLike, data: Any, *, path: str | None = None, **arguments: Any) -> None:
    """Save one array, replacing what is at the path."""
    with _used(store, path) as (opened, where):
        array(data, store=opened, path=where, overwrite=True, **arguments)


def save_group(store: StoreLike, *args: Any, path: str | None = None, **named: Any) -> None:
    """Save several arrays as a group, replacing what is at the path."""
    if not args and not named:
        raise ConfigurationError("save_group needs at least one array")
    arrays = {**{f"arr_{number}": data for number, data in enumerate(args)}, **named}
    with _used(store, path) as (opened, where):
        target = group(opened, path=where, overwrite=True)
        for name, data in arrays.items():
            target.create_array(name, data=data)


def load(store: StoreLike, path: str | None = None) -> Any:
    """The values of an array, or those of a group's arrays by name, as numpy arrays."""
    with _used(store, path) as (opened, where):
        node = open(opened, mode="r", path=where)
        if isinstance(node, Array):
            return node[...]
        return {name: member[...] for name, member in node.arrays()}


def tree(node: StoreLike, path: str | None = None, level: int | None = None) -> Tree:
    """A hierarchy as a drawing, from a group or a store."""
    top = node if isinstance(node, Group) else open_group(node, mode="r", path=path)
    return Tree(top, level)


def consolidate_metadata(store: StoreLike, path: str | None = None) -> Group:
    """Write the metadata of everything below a group into the group's own document.

    Readers that use it open the whole tree by one read. It is as zarr-python 3 writes it: the member
    `consolidated_metadata` of the kind `inline`. Later changes below make it stale: consolidate again.
    """
    opened, where, _ = _located(store, path, "r+", None)
    return consolidated.consolidate(consolidated.bare(opened), where)


# ---------------------------------------------------------------- helpers


def _present(
    store: BaseStore, path: str, mode: Mode, wanted: type[Any] | None = None
) -> nodes.Metadata | None:
    """What is at a path if the mode opens what is there; raises where it has to be there and is not."""
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
    opened = as_store(store, options)
    where = join_paths(below, path)
    if auto:
        opened, where = recognised(opened, where)
    if mode is None:
        mode = "a" if opened.capabilities.write else "r"
    if mode != "r" and not opened.capabilities.write:
        raise ReadOnlyError(f"{opened.describe()} cannot be written; open it with mode='r'")
    return opened, where, mode


def _check_format(*versions: int | None) -> None:
    for version in versions:
        if version not in {None, 3}:
            raise ConfigurationError(f"zarrv3 reads and writes Zarr version 3, not {version!r}")


def _let_pass(arguments: dict[str, Any]) -> None:
    """Take away what zarr-python 2 could be told and what changes nothing here; refuse what would change something."""
    for name in ("cache_metadata", "cache_attrs"):
        arguments.pop(name, None)
    reasons = {
        "synchronizer": "writers of one process need none, and processes should not share chunks",
        "chunk_store": "an array's chunks lie beside its metadata",
        "meta_array": "arrays are numpy arrays",
    }
    for name, reason in reasons.items():
        if arguments.pop(name, None) is not None:
            raise ConfigurationError(f"there is no {name!r} here: {reason}")


def _object_dtype(dtype: Any, object_codec: Any) -> Any:
    """Object dtypes of zarr-python 2 that are really texts or bytes."""
    if object_codec is None:
        return dtype
    known = {"vlen-utf8": "string", "vlen-bytes": "bytes"}
    codec_id = getattr(object_codec, "codec_id", None)
    if codec_id not in known:
        raise ConfigurationError(
            f"object_codec {object_codec!r} has no data type in Zarr V3; use VLenUTF8 or VLenBytes"
        )
    return known[codec_id]


def _like(prototype: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for an array like another, those given winning."""
    if isinstance(prototype, Array):
        metadata = prototype.metadata
        found: dict[str, Any] = {
            "shape": prototype.shape,
            "chunks": prototype.chunks,
            "dtype": metadata.data_type,
        }
        if metadata.storage_transformers:
            found["storage_transformers"] = [named.to_json() for named in metadata.storage_transformers]
        else:
            found["shards"] = prototype.shards
        if arguments.get("dtype") is None or data_type_of(arguments["dtype"]) == metadata.data_type:
            found["fill_value"] = prototype.fill_value
            if not {"compressor", "compressors", "filters", "serializer", "order", "codecs"} & set(arguments):
                found["codecs"] = prototype.codecs
    else:
        found = {"shape": np.shape(prototype)}
        for name in ("dtype", "fill_value"):
            if getattr(prototype, name, None) is not None:
                found[name] = getattr(prototype, name)
        chunks = getattr(prototype, "chunks", None)
        if isinstance(chunks, tuple) and all(isinstance(length, int) for length in chunks):
            found["chunks"] = chunks
    return {**found, **arguments}


@contextmanager
def _used(given: StoreLike, path: str | None) -> Iterator[tuple[BaseStore, str]]:
    """A store for a while, and the path in it: if it is opened here it is closed afterwards, otherwise only flushed."""
    store, below = split_location(given)
    opened = as_store(store)
    try:
        yield opened, join_paths(below, path)
        if opened.capabilities.write:
            opened.flush()
    finally:
        if isinstance(given, str | os.PathLike | dict) and not isinstance(given, BaseStore):
            opened.close()
