"""A node, by whatever a user names it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from zarrv3.hierarchy.node import Node, join_paths, split_location
from zarrv3.opening.stores import as_store
from zarrv3.store.base import BaseStore

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called as `progress(done, in all)` from one thread at a time; the latter is `None` while it is not known."""


class Place(NamedTuple):
    """A path in a store."""

    store: BaseStore
    path: str


@contextmanager
def placed(given: Any, path: str) -> Iterator[Place]:
    """A store and the path in it, for an open node or anything that `open_store` takes.

    A store that is opened here is closed at the end of the block.
    """
    if isinstance(given, Node):
        yield Place(as_store(given.store_path.store), join_paths(given.path, path))
        return
    location, below = split_location(given)
    store = as_store(location)
    try:
        yield Place(store, join_paths(below, path))
    finally:
        if not isinstance(given, BaseStore):
            store.close()
