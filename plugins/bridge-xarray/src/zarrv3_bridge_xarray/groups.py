"""Groups as xarray reads them: their documents now, their arrays' elements when asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from xarray import Variable
from xarray.backends.common import AbstractDataStore
from xarray.core.utils import FrozenDict

from zarrv3 import Array, Group
from zarrv3.errors import ConfigurationError, MetadataError
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import consolidated, nodes
from zarrv3.hierarchy.node import join_paths, split_location
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.store.base import BaseStore
from zarrv3.store.helpers import unrolled
from zarrv3_bridge_xarray.variables import Known, as_variable


class Place(NamedTuple):
    """A path in a store."""

    store: BaseStore
    path: str
    is_ours: bool
    """Whether the store was opened for this place and is closed with it."""


def place_of(store: StoreLike, group: str | None, storage_options: Mapping[str, Any] | None = None) -> Place:
    """Where a user's words lead: a URL (which may end in `|zarr3:path`), a store object or a `Group`, and a path below."""
    if isinstance(store, Group):
        if storage_options:
            raise ConfigurationError("storage_options go with a URL or configuration, not with an open group")
        return Place(as_store(store.store_path.store), join_paths(store.path, group), is_ours=False)
    head, below = split_location(store)
    opened = as_store(head, storage_options)
    return Place(opened, join_paths(below, group), is_ours=not isinstance(head, BaseStore))


@contextmanager
def closed(place: Place, *, keep: bool) -> Iterator[None]:
    """Close a store that was opened for a place: after an error always, else unless it is still needed."""
    try:
        yield
    except BaseException:
        if place.is_ours:
            place.store.close()
        raise
    if place.is_ours and not keep:
        place.store.close()


class GroupStore(AbstractDataStore):
    """One group: what xarray's conventions decode.

    Args:
        group: the group.
        arrays: its arrays by name.
        closes: whether closing it closes the store.
        masks: whether fill values stand for missing values.
    """

    def __init__(
        self, group: Group, arrays: Mapping[str, Array], *, closes: bool, masks: bool = False
    ) -> None:
        self.group = group
        self.arrays = arrays
        self.closes = closes
        self.masks = masks

    def get_variables(self) -> Mapping[str, Variable]:
        """The arrays as variables that are not decoded."""
        known: Known = {}
        return FrozenDict(
            {name: as_variable(array, masks=self.masks, known=known) for name, array in self.arrays.items()}
        )

    def get_attrs(self) -> Mapping[str, Any]:
        """The attributes of the group."""
        return self.group.attrs.asdict()

    def get_dimensions(self) -> Mapping[str, int]:
        """The names and lengths of the dimensions."""
        return {str(name): n for v in self.get_variables().values() for name, n in v.sizes.items()}

    def close(self) -> None:
        """Close the store, if it was opened for this."""
        if self.closes:
            self.group.store.close()


def open_group(
    place: Place, *, consolidated: bool | None, drop: Collection[str] = (), masks: bool = False
) -> GroupStore:
    """The group at a place: one listing and one read of the documents, or one read of consolidated metadata.

    Args:
        place: where it is.
        consolidated: whether to use consolidated metadata; `None` where the store cannot list its keys.
        drop: names of arrays to leave alone.
        masks: whether fill values stand for missing values.
    """
    top = _top(place, consolidated)
    arrays = {name: member for name, member in _members(top, drop) if isinstance(member, Array)}
    return GroupStore(top, arrays, closes=place.is_ours, masks=masks)


def open_groups(
    place: Place, *, consolidated: bool | None, drop: Collection[str] = (), masks: bool = False
) -> Iterator[tuple[str, GroupStore]]:
    """The group at a place as `"/"` and all below it as `"/a/b"`, parents first; see `open_group`."""
    yield from unrolled(_walked(_top(place, consolidated), "", drop, closes=place.is_ours, masks=masks))


def _walked(
    top: Group, name: str, drop: Collection[str], *, closes: bool, masks: bool
) -> Iterator[tuple[str, GroupStore] | Iterator[Any]]:
    children = dict(_members(top, drop))
    arrays = {key: child for key, child in children.items() if isinstance(child, Array)}
    yield name or "/", GroupStore(top, arrays, closes=closes, masks=masks)
    for key, child in children.items():
        if isinstance(child, Group):
            yield _walked(child, f"{name}/{key}", drop, closes=closes, masks=masks)


def _members(top: Group, drop: Collection[str]) -> Iterator[tuple[str, Array | Group]]:
    """What lies directly below a group, but for names to be dropped, whose documents may be unreadable."""
    for name, metadata in nodes.children(top.store, top.path):
        if name in drop and not isinstance(metadata, GroupMetadata):
            continue
        if isinstance(metadata, MetadataError):
            raise metadata
        cls: Any = Array if isinstance(metadata, ArrayMetadata) else Group
        yield name, cls(top.store, folder_of(top.path) + name, read_only=True, metadata=metadata)


def _top(place: Place, wanted: bool | None) -> Group:
    """The group at a place, with the consolidated metadata of itself or of a group above it where they are wanted."""
    store, path = place.store, place.path
    if wanted is not False and (wanted or not store.capabilities.list):
        store = _consolidated(place, wanted=wanted)
    return Group(store, path, read_only=True)


def _consolidated(place: Place, *, wanted: bool | None) -> BaseStore:
    parts = place.path.split("/") if place.path else []
    above = ["/".join(parts[:end]) for end in range(len(parts) + 1)][::-1]
    for path, found in zip(above, nodes.find_many(place.store, above), strict=True):
        if isinstance(found, GroupMetadata) and found.consolidated_metadata is not None:
            return consolidated.with_consolidated(place.store, path, found, wanted=True)
    if wanted is None:
        raise ConfigurationError(
            f"{place.store.describe()} cannot list its keys, and there is no consolidated metadata at or above "
            f"/{place.path}: call zarrv3.consolidate_metadata on the store where it was written"
        )
    raise ConfigurationError(
        f"there is no consolidated metadata at or above /{place.path} in {place.store.describe()}; "
        "call zarrv3.consolidate_metadata, or open it with consolidated=False"
    )
