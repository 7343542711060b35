"""Replacing nodes: what is there stays, as a whole, until what takes its place is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from zarrv3.errors import NodeExistsError, ZarrError
from zarrv3.hierarchy import belongings, nodes
from zarrv3.layers.prefix import Prefix
from zarrv3.store.base import BaseStore

AT_ONCE = 2**26
"""How many bytes are kept in memory at most until a transaction writes them."""


class Site(NamedTuple):
    """Where a node is to be written: a path in a store."""

    store: BaseStore
    path: str


@contextmanager
def replacing(
    store: BaseStore, path: str, size: Callable[[], int | None], *, overwrite: bool = True
) -> Iterator[Site]:
    """A block in which a node is written that takes the place of what is at a path; yields where, still with `overwrite`.

    * Where the store can put a folder in the place of one around it, that is a folder within the old node, which is renamed at the
      end. Its name begins with `__`, so it is not a node. What a dead process leaves there goes with the old node, whenever that is.
    * Otherwise, where the store has transactions, it is the same path in one of them, if that is small enough to be kept in memory.
    * Elsewhere, and where something at the path belongs to no node and is to stay, it is the same path: whoever is killed then
      leaves no node, or a part of the new one.

    Args:
        store: where it is.
        path: of the node.
        size: how many bytes will be written, if that is known.
        overwrite: replace what is there; otherwise it is the same path.
    """
    able = store.capabilities
    folder = nodes.folder_of(path)
    is_there = overwrite and able.write and able.erase and able.list and nodes.exists(store, path)
    if not is_there or nodes.check_place(store, path):
        yield Site(store, path)
        return
    if able.replace and belongings.is_all(store, path):
        new = f"{folder}__new-{os.urandom(4).hex()}/"
        begun = f"{new}{nodes.DOCUMENT}.copying"
        try:
            store.write_many({begun: b""})
            yield Site(Prefix(store, f"{new}node"), "")
            _check_kept(store, path, begun)
            store.rename_prefix(f"{new}node/", folder)
        except BaseException:
            with suppress(ZarrError):
                store.erase_prefix(new)
            raise
    elif able.transactions and _is_small(store, size()):
        with store.transaction() as pending:
            yield Site(Prefix(pending, path), "") if path else Site(pending, "")
    else:
        yield Site(store, path)
        return
    nodes.Above().tell(store, "created", path)


def _check_kept(store: BaseStore, path: str, begun: str) -> None:
    """Raise where somebody has meanwhile erased the old node, and with it what was written, or put there what is not Zarr's."""
    if store.stat_many([begun])[0] is None:
        raise NodeExistsError(f"{nodes.where(store, path)} was replaced or erased by somebody else meanwhile")
    if not belongings.is_all(store, path):
        raise NodeExistsError(
            f"{nodes.where(store, path)} was not replaced: meanwhile somebody else put something there that is not Zarr's"
        )


def _is_small(store: BaseStore, size: int | None) -> bool:
    limits = store.capabilities.limits
    is_limited = limits.transaction_keys is not None or limits.transaction_bytes is not None
    return size is not None and size <= AT_ONCE and not is_limited
