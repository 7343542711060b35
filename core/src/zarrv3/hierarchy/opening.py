"""Opening an array, and what opening a group shares with it; how something new is created is imported when it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from zarrv3.chunks.chunk_cache import ChunkCache
from zarrv3.errors import ConfigurationError, ReadOnlyError, ShapeMissingError
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.arguments import ArrayArguments, Mode, Shape, check_format, check_names, takes
from zarrv3.hierarchy.array import Array, usage_of
from zarrv3.hierarchy.node import Node, join_paths, split_location
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.opening.stores import StoreLike, as_store, recognised
from zarrv3.store.base import BaseStore

_CREATING = frozenset({"w", "w-", "x"})
"""The modes that never open what is there."""

READ_ONLY = "open it in the mode `r`: nothing is created, and what is opened refuses to be changed."
"""What `read_only` means where something is opened."""


@takes(ArrayArguments, read_only=READ_ONLY)
def open_array(
    store: StoreLike = None,
    *,
    mode: Mode | None = None,
    path: str | None = None,
    shape: Shape | None = None,
    data: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    auto: bool = False,
    chunk_cache: ChunkCache | int | str | None = None,
    write_buffer: int | str | None = None,
    **arguments: Unpack[ArrayArguments],
) -> Array:
    """Open an array, or create it where the mode allows and a shape or data are given.

    What describes a new array is used only if it is created, except `write_empty_chunks` and `config`. Thread-safe, as is the
    array that is returned.

    Raises `NodeNotFoundError` when there is no array and none may be created, `NodeTypeError` when a group is there, and
    what `open` raises.
    """
    check(arguments)
    reads = arguments.pop("read_only", False)
    located, full_path, mode = locate(store, path, mode, storage_options, auto=auto, reads=reads)
    there = present(located, full_path, mode, ArrayMetadata)
    if there is not None:
        metadata = nodes.checked(located, full_path, there, ArrayMetadata)
    elif shape is None and data is None:
        raise ShapeMissingError(
            f"there is no array at {nodes.where(located, full_path)}; give a shape to create one"
        )
    else:
        from zarrv3.hierarchy import spellings

        made = spellings.create(
            located, full_path, shape=shape, data=data, overwrite=mode == "w", **arguments
        )
        if chunk_cache is None and write_buffer is None:
            return made
        metadata = made.metadata
    return Array(
        located,
        full_path,
        read_only=mode == "r",
        metadata=metadata,
        chunk_cache=chunk_cache,
        write_buffer=write_buffer,
        **usage_of(arguments),
    )


def present(
    store: BaseStore, path: str, mode: Mode, wanted: type[Any] | None = None
) -> nodes.Metadata | None:
    """What is at a path if the mode opens what is there; raises where it must be there and is not."""
    if mode in _CREATING:
        return None
    metadata = nodes.find(store, path)
    if metadata is None and mode != "a":
        raise nodes.missing(store, path, "node" if wanted is None else wanted.node_type)
    return metadata


def locate(
    store: StoreLike,
    path: str | None,
    mode: Mode | None,
    options: Mapping[str, Any] | None,
    *,
    auto: bool = False,
    reads: bool | None = False,
) -> tuple[BaseStore, str, Mode]:
    """The store, the path within it, and the mode that follows; with `auto` in the layer that a plugin knows it by.

    What `reads` is opened in the mode `r` where the mode would open what is there; one that only creates is refused.
    """
    if mode not in {None, "r", "r+", "a", "w", "w-", "x"}:
        raise ConfigurationError(f"mode must be r, r+, a, w, w- or x, not {mode!r}")
    if reads:
        if mode in _CREATING:
            raise ConfigurationError(f"mode={mode!r} creates something new, which read_only=True refuses")
        mode = "r"
    if isinstance(store, Node) and not isinstance(store, Array):  # a group
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


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse unknown arguments and other versions of the format, whether or not an array is going to be created."""
    check_names(arguments, ArrayArguments)
    check_format(arguments.get("zarr_version"), arguments.get("zarr_format"))
