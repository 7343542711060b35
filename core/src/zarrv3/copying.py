"""Copying nodes from one store to another, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zarrv3 import nodes
from zarrv3.errors import NodeExistsError, ReadOnlyError
from zarrv3.helpers import chunked
from zarrv3.node import Node, join_paths, split_location
from zarrv3.opening import StoreLike, as_store
from zarrv3.store import BaseStore

BATCH_BYTES = 16 * 2**20
"""About how many bytes of values are held at once."""


def copy(
    source: StoreLike,
    dest: StoreLike,
    *,
    source_path: str = "",
    dest_path: str = "",
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Copy a node with everything below it; returns how many keys were copied.

    Values pass through unchanged. Documents are copied last, so that a node can be opened at the destination only when
    all below it is there. Memory stays bounded by a few values.

    Args:
        source: the store to copy from: anything that `open_store` takes, or an open node.
        dest: the store to copy to, or an open group.
        source_path: the node to copy; by default the whole hierarchy.
        dest_path: where it goes.
        overwrite: erase what is at the destination; otherwise that is a `NodeExistsError`.
        progress: called as `progress(bytes done, bytes in all)`.
    """
    from_store, old = _place(source, source_path)
    to_store, new = _place(dest, dest_path)
    folder, target = nodes.folder_of(old), nodes.folder_of(new)
    if not nodes.exists(from_store, old):
        raise nodes.missing(from_store, old)
    if from_store == to_store and (folder.startswith(target) or target.startswith(folder)):
        raise NodeExistsError(f"cannot copy /{old} to /{new} of the same store: one lies inside the other")
    if not to_store.capabilities.write:
        raise ReadOnlyError(f"cannot copy to {nodes.where(to_store, new)}: the store is read-only")
    nodes.check_place(to_store, new)
    if not overwrite and _is_taken(to_store, new):
        raise NodeExistsError(
            f"there is something at {nodes.where(to_store, new)} already; pass overwrite=True to replace it"
        )
    if overwrite:
        nodes.erase(to_store, new)
    sizes = dict(from_store.sizes(folder))
    documents = [key for key in sizes if key.rpartition("/")[2] == nodes.DOCUMENT]
    values = [key for key in sizes if key.rpartition("/")[2] != nodes.DOCUMENT]
    total, done = sum(sizes.values()), 0
    # deeper documents first: a group is there when its members are
    for keys in [*_batches(values, sizes), *chunked(sorted(documents, key=_depth, reverse=True), 64)]:
        found = from_store.get_many([(key, None) for key in keys])
        to_store.set_many(
            {
                target + key[len(folder) :]: value
                for key, value in zip(keys, found, strict=True)
                if value is not None
            }
        )
        done += sum(sizes[key] for key in keys)
        if progress is not None:
            progress(done, total)
    if new:
        nodes.create_missing_groups(to_store, new)
    return len(sizes)


def _place(given: Any, path: str) -> tuple[BaseStore, str]:
    if isinstance(given, Node):
        return given.store, join_paths(given.path, path)
    store, below = split_location(given)
    return as_store(store), join_paths(below, path)


def _is_taken(store: BaseStore, path: str) -> bool:
    if not store.capabilities.list:
        return nodes.exists(store, path)
    return next(store.list_prefix(nodes.folder_of(path)), None) is not None


def _depth(key: str) -> int:
    return key.count("/")


def _batches(keys: list[str], sizes: dict[str, Any]) -> list[list[str]]:
    batches: list[list[str]] = []
    room = 0
    for key in keys:
        if not batches or len(batches[-1]) == 64 or room < sizes[key]:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(key)
        room -= sizes[key]
    return batches
