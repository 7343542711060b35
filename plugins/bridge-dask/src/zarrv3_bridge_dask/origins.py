"""What the tasks of a dask array still have to read: none of it may be erased, or replaced before it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple, TypeAlias

import dask.array as da
from dask._task_spec import GraphNode, convert_legacy_graph
from dask.core import flatten, toposort

from zarrv3 import Array
from zarrv3.errors import ConfigurationError
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.opening.stores import as_store
from zarrv3.store.base import BaseStore
from zarrv3.store.places import overlap
from zarrv3_bridge_dask.handles import Handle

Box: TypeAlias = tuple[slice, ...]
"""Slices with a start and a stop, in steps of one; none at all for what cannot be told, where there are dimensions."""

DEPTH = 6
"""How deep arrays are looked for in the arguments of a task."""


class Origin(NamedTuple):
    """An array, of ours or of zarr-python, that a task reads."""

    store: BaseStore
    path: str
    shown: str
    """How errors name it."""
    is_whole: bool
    """Whether what the task selects are elements of the array itself, and not of a part of it."""


def check_not_read(sources: Iterable[da.Array], store: BaseStore, path: str) -> None:
    """Raise `ConfigurationError` if dask arrays are made from arrays that would be erased at a path of a store."""
    checked: list[Origin] = []
    for origin in (origin for source in sources for origin in read_by(source)):
        if any(one.store is origin.store and one.path == origin.path for one in checked):
            continue
        checked.append(origin)
        if _overlaps(origin, store, path):
            raise ConfigurationError(
                f"the dask array reads {origin.shown}, which overwriting would erase first; "
                "write to another path and move it over the old one then"
            )


def check_not_shifted(darr: da.Array, array: Array, region: Box) -> None:
    """Raise `ConfigurationError` if a block is made from what other blocks of the same dask array replace.

    They are written in any order, so that it might read what is new already. A block that reads only what it replaces is fine.
    """
    known: dict[tuple[int, str], tuple[Origin, bool]] = {}

    def is_there(origin: Origin) -> bool:
        """Whether it is the array that is written; found out once for each."""
        place = id(origin.store), origin.path
        if place not in known:
            known[place] = origin, _overlaps(origin, array.store, array.path)
        return known[place][1]

    if not any(is_there(origin) for origin in read_by(darr)):
        return
    reads = _reads(darr, is_there)
    for key, block in zip(flatten(darr.__dask_keys__()), _boxes(darr, region), strict=True):
        box = reads[key]
        if box is not None and not (len(box) == len(block) and _spares_others(box, block, region)):
            raise ConfigurationError(
                f"a block of the dask array replaces {_shown(block)} of {array!r} and is made from other elements of it, "
                "which other blocks replace, in any order; compute it first, or write to another path and move it over the "
                "old one then"
            )


def _reads(darr: da.Array, is_there: Callable[[Origin], bool]) -> Mapping[Any, Box | None]:
    """For each task of a dask array the box of all that is read for it of some arrays; `None` for nothing."""
    graph = convert_legacy_graph(dict(darr.dask))
    own = {
        key: [origin for origin in _origins_in(task, DEPTH) if is_there(origin)]
        for key, task in graph.items()
    }
    needed = {key: task.dependencies & graph.keys() for key, task in graph.items()}
    reads: dict[Any, Box | None] = {}
    for key in toposort(graph, needed):
        task = graph[key]
        if own[key] and not hasattr(task, "args"):  # it only holds an array, for others to select from
            reads[key] = None
            continue
        held = [
            *own[key],
            *(origin for name in needed[key] if not hasattr(graph[name], "args") for origin in own[name]),
        ]
        boxes = [_selected(task, origin) for origin in held]
        boxes += [box for name in needed[key] if (box := reads[name]) is not None]
        reads[key] = _around(boxes)
    return reads


def _around(boxes: Sequence[Box]) -> Box | None:
    """The box around some; an empty one around those of which one is not known."""
    if not boxes:
        return None
    if len({len(box) for box in boxes}) > 1:
        return ()
    return tuple(
        slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*boxes, strict=True)
    )


def _overlaps(origin: Origin, store: BaseStore, path: str) -> bool:
    return overlap(origin.store, folder_of(origin.path), store, folder_of(path), probe=True)


def _boxes(darr: da.Array, region: Box) -> Iterator[Box]:
    """What each block replaces, in the order of the blocks' keys."""
    edges = []
    for lengths, part in zip(darr.chunks, region, strict=True):
        ends = [part.start]
        for length in lengths:
            ends.append(ends[-1] + length)
        edges.append([slice(*pair) for pair in pairwise(ends)])
    return product(*edges)


def _selected(task: Any, origin: Origin) -> Box:
    """The box that a task selects of an array, as its second argument says; an empty one if that cannot be told."""
    arguments: Sequence[Any] = getattr(task, "args", ())
    selection: Any = getattr(arguments[1], "value", arguments[1]) if len(arguments) > 1 else None
    if not origin.is_whole or not isinstance(selection, tuple):
        return ()
    is_box = all(
        isinstance(part, slice)
        and part.start is not None
        and part.stop is not None
        and part.step in {None, 1}
        for part in selection
    )
    return selection if is_box else ()


def _spares_others(box: Box, block: Box, region: Box) -> bool:
    """Whether what is read of a region lies in the block that is replaced."""
    parts = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, region, strict=True)]
    is_inside = all(
        part.start <= start and stop <= part.stop for (start, stop), part in zip(parts, block, strict=True)
    )
    return is_inside or any(start >= stop for start, stop in parts)


def _shown(block: Box) -> str:
    return f"[{', '.join(f'{part.start}:{part.stop}' for part in block)}]"


# ---------------------------------------------------------------- what tasks read


def read_by(darr: da.Array) -> Iterator[Origin]:
    """The arrays that stand in the graph of a dask array, in whatever form tasks hold them."""
    for task in dict(darr.dask).values():
        yield from _origins_in(task, DEPTH)


def _origins_in(value: Any, depth: int) -> Iterator[Origin]:
    """The arrays in a node of a graph: in its arguments, in collections, and under wrappers such as those of xarray."""
    inside: list[Any] = []
    if (origin := _origin(value, is_whole=True)) is not None:
        yield origin
    elif isinstance(value, Handle):
        inside = [value.array]
    elif isinstance(value, Mapping):
        inside = [*value.values()]
    elif isinstance(value, list | tuple):
        inside = [*value]
    elif isinstance(value, GraphNode):  # one with a value, or one with arguments
        inside = [getattr(value, "value", None), getattr(value, "args", ()), getattr(value, "kwargs", {})]
    elif (origin := _unwrapped(value)) is not None:
        yield origin
    if depth:
        for item in inside:
            yield from _origins_in(item, depth - 1)


def _unwrapped(value: Any) -> Origin | None:
    """What lazy values of xarray are read from, under the wrappers that keep it in an attribute."""
    is_whole = True
    for _ in range(16):
        indices = getattr(getattr(value, "key", None), "tuple", ())
        is_whole = is_whole and all(index == slice(None) for index in indices)
        value = next(
            (v for name in ("array", "_array") if (v := getattr(value, name, None)) is not None), None
        )
        if (origin := _origin(value, is_whole=is_whole)) is not None:
            return origin
    return None


def _origin(value: Any, *, is_whole: bool) -> Origin | None:
    """An array of ours, or one of zarr-python where it can be told where it lies."""
    if isinstance(value, Array):
        return Origin(value.store, value.path, repr(value), is_whole)
    if type(value).__name__ != "Array" or not type(value).__module__.startswith("zarr."):
        return None
    store = _store_of(value.store)
    return None if store is None else Origin(store, value.path, f"{value!r}", is_whole)


def _store_of(store: Any) -> BaseStore | None:
    """A store of zarr-python as one of ours."""
    try:
        from zarrv3_bridge_zarr import from_zarr_store
    except ImportError:  # folders do not need the bridge
        root = getattr(store, "root", None)
        return None if root is None else as_store(str(root))
    return from_zarr_store(store)
