"""From a URL, options and a path to a store and a node."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import typer

import zarrv3
from zarrv3.options.urls import has_scheme
from zarrv3.registry import load

if TYPE_CHECKING:
    from zarrv3.hierarchy.array import Array
    from zarrv3.hierarchy.group import Group


class Place(NamedTuple):
    """A node of a store, not yet opened."""

    opener: "Callable[[], zarrv3.BaseStore]"
    """Opens the store; can be pickled."""
    path: str


def place(url: str, options: Sequence[str] | None = None, path: str = "") -> Place:
    """What a URL, options and a path stand for; nothing is opened."""
    from zarrv3.hierarchy.node import join_paths, split_location

    location, below = split_location(url)
    text, live = _with_options(str(location), dict(map(_pair, options or ())))
    return Place(partial(zarrv3.open_store, text, **live), join_paths(below, path))


@contextmanager
def node(place: Place) -> "Iterator[Array | Group]":
    """The array or group at a place, open for reading until the block ends."""
    with place.opener() as store:
        yield zarrv3.open(store, mode="r", path=place.path)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter("an option of a store is KEY=VALUE", param_hint="'-o'")
    return name, value


def _with_options(url: str, options: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """A URL with options in the query of its root; for a bare path, which has no query, the options as values."""
    if not options:
        return url, {}
    root, bar, adapters = url.partition("|")
    if not has_scheme(root):
        cls = load("stores", "directory")
        return url, cls.declared().from_query(options)
    head, hash_, fragment = root.partition("#")
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in options.items())
    joined = f"{head}{'&' if '?' in head else '?'}{query}"
    return f"{joined}{hash_}{fragment}{bar}{adapters}", {}
