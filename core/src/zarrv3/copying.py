"""Copying nodes from one store to another, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zarrv3 import nodes
from zarrv3.errors import NodeExistsError, NodeNotFoundError
from zarrv3.helpers import chunked
from zarrv3.node_names import normalize_path
from zarrv3.opening import StoreLike, as_store

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
        source: the store to copy from: anything that `open_store` takes.
        dest: the store to copy to.
        source_path: the node to copy; by default the whole hierarchy.
        dest_path: where it goes.
        overwrite: erase what is at the destination; otherwise that is a `NodeExistsError`.
        progress: called as `progress(bytes done, bytes in all)`.
    """
    from_store, to_store = as_store(source), as_store(dest)
    old, new = normalize_path(source_path), normalize_path(dest_path)
    metadata = nodes.find(from_store, old)
    if metadata is None:
        raise NodeNotFoundError(f"there is nothing to copy at {nodes.where(from_store, old)}")
    if nodes.find(to_store, new) is not None and not overwrite:
        raise NodeExistsError(
            f"there is a node at {nodes.where(to_store, new)} already; pass overwrite=True to replace it"
        )
    if overwrite:
        nodes.erase(to_store, new)
    folder, target = nodes.folder_of(old), nodes.folder_of(new)
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
