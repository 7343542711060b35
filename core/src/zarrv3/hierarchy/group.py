"""Groups: nodes that hold arrays and groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self, TypeAlias, Unpack

import numpy as np

from zarrv3.errors import MetadataError, NodeExistsError, NodeNameError, NodeNotFoundError, NodeTypeError
from zarrv3.format.data_types import data_type_of
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.format.node_names import normalize_path
from zarrv3.hierarchy import creation, nodes, spellings
from zarrv3.hierarchy.arguments import (
    CreateArrayArguments,
    MemberArguments,
    MemberFullArguments,
    Shape,
    ShapedMemberArguments,
    check_names,
    takes,
)
from zarrv3.hierarchy.array import Array
from zarrv3.hierarchy.display import Tree
from zarrv3.hierarchy.node import Node, StorePath, split_location
from zarrv3.hierarchy.nodes import Metadata, create_many, folder_of
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON
from zarrv3.store.helpers import check_rename

Member: TypeAlias = "Array | Group"


class Group(Node[GroupMetadata]):
    """A node that holds arrays and groups by name: a node of type `group` of the Zarr v3 specification.

    A mapping from names to open nodes: `group["a/b"]` opens a node, `group["a"] = data` creates an array with those values,
    `del group["a"]` erases a node with everything below it. Iterating costs one listing and one read of all documents.
    Thread-safe.

    Args:
        store: the store it lies in: anything that `open_store` takes.
        path: the path within the store.
        read_only: refuse to change anything, also in the nodes opened through it.
        metadata: its metadata, if they are known already.

    Raises `NodeNotFoundError` when nothing is there, `NodeTypeError` when it is an array, and `MetadataError` for a document
    that is not valid.
    """

    metadata_class = GroupMetadata

    @classmethod
    def from_store(
        cls, store: StoreLike, *, attributes: Mapping[str, JSON] | None = None, overwrite: bool = False
    ) -> Self:
        """Create a group at the root of a store, or at a `StorePath`.

        Args:
            store: anything that `open_store` takes.
            attributes: the user attributes.
            overwrite: erase what is there first.

        Raises `NodeExistsError` when a node is there and `overwrite` is false.
        """
        place, path = split_location(store)
        located, metadata = as_store(place), GroupMetadata.create(attributes)
        nodes.create(located, path, metadata, overwrite=overwrite)
        return cls(located, path, metadata=metadata)

    # ------------------------------------------------------------ looking

    def __getitem__(self, path: str) -> Member:
        """The open array or group at a path below this group; `NodeNotFoundError` (a `KeyError`) when there is none."""
        full = self._below(path)
        metadata = nodes.find(self._store, full)
        if metadata is None:
            raise nodes.missing(self._store, full)
        return self._open(full, metadata)

    def get(self, path: str, default: Any = None) -> Any:
        """The open node at `path` below this group, or `default` when there is none.

        Raises the `MetadataError` of a document that is not valid.
        """
        try:
            return self[path]
        except NodeNotFoundError:
            return default

    def get_array(self, path: str) -> Array:
        """The array at `path` below this group; `NodeNotFoundError` or `NodeTypeError` where there is none."""
        return Array(self._store, self._below(path), read_only=self._read_only)._share(self._above)

    def get_group(self, path: str) -> Group:
        """The group at `path` below this one; `NodeNotFoundError` or `NodeTypeError` where there is none."""
        return Group(self._store, self._below(path), read_only=self._read_only)._share(self._above)

    def __contains__(self, path: object) -> bool:
        """Whether there is a node at a path, readable or not."""
        if not isinstance(path, str):
            return False
        try:
            return nodes.exists(self._store, self._below(path))
        except NodeNameError:
            return False

    def __iter__(self) -> Iterator[str]:
        """The names of the nodes directly below, sorted; their documents may be unreadable."""
        return iter(nodes.names(self._store, self._path))

    def __len__(self) -> int:
        return len(nodes.names(self._store, self._path))

    def __bool__(self) -> bool:
        """True, also when empty."""
        return True

    def keys(self) -> Iterator[str]:
        """The names of the nodes directly below, sorted."""
        return iter(self)

    def values(self) -> Iterator[Member]:
        """The nodes directly below, by name."""
        return (member for _, member in self.members())

    def items(self) -> Iterator[tuple[str, Member]]:
        """Names and nodes directly below."""
        return self.members()

    def members(self, max_depth: int | None = 0) -> Iterator[tuple[str, Member]]:
        """Paths below this group and the nodes there, sorted within each group.

        Args:
            max_depth: how many levels of groups to go down; 0 stays directly below, `None` goes everywhere.

        Raises the `MetadataError` of a member whose document is unreadable; iterating over names does not.
        """
        # no recursion: a hierarchy may be deep
        groups = [("", self, nodes.children(self._store, self._path))]
        while groups:
            above, group, inside = groups[-1]
            name, metadata = next(inside, ("", None))
            if metadata is None:
                groups.pop()
                continue
            if isinstance(metadata, MetadataError):
                raise metadata
            member = group._open(folder_of(group._path) + name, metadata)
            yield above + name, member
            if isinstance(member, Group) and (max_depth is None or len(groups) <= max_depth):
                below = nodes.children(member._store, member._path)
                groups.append((f"{above}{name}/", member, below))

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Names and arrays directly below."""
        return ((name, member) for name, member in self.members() if isinstance(member, Array))

    def groups(self) -> Iterator[tuple[str, Group]]:
        """Names and groups directly below."""
        return ((name, member) for name, member in self.members() if isinstance(member, Group))

    def array_keys(self) -> Iterator[str]:
        """The names of the arrays directly below."""
        return (name for name, _ in self.arrays())

    def array_values(self) -> Iterator[Array]:
        """The arrays directly below."""
        return (array for _, array in self.arrays())

    def group_keys(self) -> Iterator[str]:
        """The names of the groups directly below."""
        return (name for name, _ in self.groups())

    def group_values(self) -> Iterator[Group]:
        """The groups directly below."""
        return (group for _, group in self.groups())

    def nmembers(self, max_depth: int | None = 0) -> int:
        """How many nodes lie below, down to `max_depth` levels of groups; see `members`."""
        return sum(1 for _ in self.members(max_depth))

    def tree(self, level: int | None = None) -> Tree:
        """The hierarchy as a drawing, for a terminal or a notebook; it is read when it is drawn.

        Args:
            level: how many levels to draw; by default all.
        """
        return Tree(self, level)

    # ------------------------------------------------------------ creating

    @takes()
    def create_group(
        self, name: str, *, overwrite: bool = False, attributes: Mapping[str, JSON] | None = None
    ) -> Group:
        """Create a group at a path below this one, and the groups that are missing in between.

        Raises `NodeExistsError` when a node is there and `overwrite` is false, `NodeTypeError` when an array lies above it,
        `NodeNameError` for a name that the specification does not allow, and `ReadOnlyError`.
        """
        place = StorePath(self._store, self._new(name))
        return Group.from_store(place, attributes=attributes, overwrite=overwrite)._share(self._above)

    @takes()
    def require_group(self, name: str, *, overwrite: bool = False) -> Group:
        """The group at a path below this one, created if there is none.

        Of several callers, also in several processes, one creates it where the store can create atomically. To overwrite, a new group
        is created in any case.

        Raises `NodeTypeError` when an array is there, and what `create_group` raises.
        """
        if overwrite:
            return self.create_group(name, overwrite=True)
        while (member := self.get(name)) is None:
            with suppress(NodeExistsError):  # somebody else was faster
                return self.create_group(name)
        if not isinstance(member, Group):
            raise NodeTypeError(f"{member!r} is an array, not a group")
        return member

    def require_groups(self, *names: str) -> tuple[Group, ...]:
        """The groups at several paths, `names`, each as `require_group` returns it."""
        return tuple(self.require_group(name) for name in names)

    @takes(CreateArrayArguments)
    def create_array(self, name: str, **arguments: Unpack[CreateArrayArguments]) -> Array:
        """Create an array at a path below this group, and the groups that are missing above it.

        Everything is checked before anything is erased or written, and an array whose data cannot be written to their end is not left
        behind.

        Raises `NodeExistsError` when a node is there and `overwrite` is false, `NodeTypeError` when an array lies above it,
        `MetadataError` for what does not fit, and `ReadOnlyError`.
        """
        return creation.create(self._store, self._new(name), **arguments)._share(self._above)

    create = create_array

    @takes(
        CreateArrayArguments,
        exact="whether the dtype must be the same, and not only one that casts to the array's without loss.",
        shape="the shape it must have.",
        dtype="the dtype it must have: exactly, or unless `exact` one that casts to the array's without loss.",
    )
    def require_array(
        self, name: str, *, exact: bool = False, **arguments: Unpack[CreateArrayArguments]
    ) -> Array:
        """The array at a path below this group, created if there is none.

        Of several callers, also in several processes, one creates it where the store can create atomically. All arguments but `shape`,
        `dtype` and `exact` are used only if it is created.

        Raises `NodeTypeError` when what is there is a group or differs, and what `create_array` raises.
        """
        check_names(arguments, CreateArrayArguments)
        while (member := self.get(name)) is None:
            with suppress(NodeExistsError):  # somebody else was faster
                return self.create_array(name, **arguments)
        if not isinstance(member, Array):
            raise NodeTypeError(f"{member!r} is a group, not an array")
        shape, dtype = arguments.get("shape"), arguments.get("dtype")
        if shape is not None and (wanted := creation.as_shape(shape)) != member.shape:
            raise NodeTypeError(f"{member!r} does not have the shape {wanted}")
        if dtype is not None:
            asked = data_type_of(dtype).numpy
            if asked != member.dtype if exact else not np.can_cast(asked, member.dtype):
                raise NodeTypeError(f"{member!r} does not have the dtype {asked}")
        return member

    @takes(nodes="paths below this group with the metadata there.")
    def create_hierarchy(
        self, nodes: Mapping[str, Metadata], *, overwrite: bool = False
    ) -> Iterator[tuple[str, Member]]:
        """Create many nodes in one batch where the store can, and the groups that are missing in between.

        Returns the paths with the new nodes. Everything is checked before anything is erased or written; raises what
        `create_array` raises.
        """
        self._check_writable()
        full = {self._new(path): metadata for path, metadata in nodes.items()}
        create_many(self._store, full, overwrite=overwrite)
        return ((path, self._open(self._below(path), metadata)) for path, metadata in nodes.items())

    @takes(ShapedMemberArguments, data="the values.")
    def array(self, name: str, data: Any, **arguments: Unpack[ShapedMemberArguments]) -> Array:
        """Create an array with the values and by default the shape, the dtype and the chunks of `data`."""
        return self._create(name, spellings.of(data, arguments))

    @takes(MemberArguments)
    def empty(self, name: str, *, shape: Shape, **arguments: Unpack[MemberArguments]) -> Array:
        """Create an array whose content does not matter; it is the fill value."""
        return self._create(name, {"shape": shape, **arguments})

    @takes(MemberArguments)
    def zeros(self, name: str, *, shape: Shape, **arguments: Unpack[MemberArguments]) -> Array:
        """Create an array of zeros (of empty texts, …); only metadata is written."""
        return self._create(name, {"shape": shape, **arguments})

    @takes(MemberArguments, defaults={"fill_value": 1})
    def ones(self, name: str, *, shape: Shape, **arguments: Unpack[MemberArguments]) -> Array:
        """Create an array of ones; only metadata is written."""
        return self._create(name, {"shape": shape, "fill_value": 1, **arguments})

    @takes(MemberFullArguments, fill_value="the value of all elements.")
    def full(
        self, name: str, fill_value: Any, *, shape: Shape, **arguments: Unpack[MemberFullArguments]
    ) -> Array:
        """Create an array of one value; only metadata is written."""
        return self._create(name, {"shape": shape, "fill_value": fill_value, **arguments})

    @takes(ShapedMemberArguments)
    def empty_like(self, name: str, prototype: Any, **arguments: Unpack[ShapedMemberArguments]) -> Array:
        """Create an array with the shape, chunks and dtype of another, and its codecs if it is one of ours."""
        return self._create(name, spellings.like(prototype, arguments))

    @takes(ShapedMemberArguments)
    def zeros_like(self, name: str, prototype: Any, **arguments: Unpack[ShapedMemberArguments]) -> Array:
        """Create an array of zeros like another; see `empty_like`."""
        return self._create(name, spellings.like(prototype, {"fill_value": None, **arguments}))

    @takes(ShapedMemberArguments, defaults={"fill_value": 1})
    def ones_like(self, name: str, prototype: Any, **arguments: Unpack[ShapedMemberArguments]) -> Array:
        """Create an array of ones like another; see `empty_like`."""
        return self._create(name, spellings.like(prototype, {"fill_value": 1, **arguments}))

    @takes(
        ShapedMemberArguments, fill_value="the value of all elements; by default the prototype's fill value."
    )
    def full_like(self, name: str, prototype: Any, **arguments: Unpack[ShapedMemberArguments]) -> Array:
        """Create an array of one value like another; see `empty_like`."""
        return self._create(name, spellings.like(prototype, arguments))

    @takes(ShapedMemberArguments)
    def create_dataset(
        self, name: str, *, data: Any = None, **arguments: Unpack[ShapedMemberArguments]
    ) -> Array:
        """Create an array, in the spelling of h5py and zarr-python 2."""
        return self._create(name, {"data": data, **arguments})

    require_dataset = require_array

    def _create(self, name: str, arguments: Mapping[str, Any]) -> Array:
        return spellings.create(self._store, self._new(name), **arguments)._share(self._above)

    def __setitem__(self, name: str, value: Any) -> None:
        """Create an array with the values of `value`, in place of the array that may be there; `NodeExistsError` for a group."""
        there = self.get(name)
        if isinstance(there, Group):
            raise NodeExistsError(f"{there!r} is a group; erase it before an array takes its place")
        self.create_array(name, data=value, overwrite=True)

    # ------------------------------------------------------------ erasing and moving

    def __delitem__(self, path: str) -> None:
        """Erase a node with everything below it; `NodeNotFoundError` (a `KeyError`) when there is none."""
        self._check_writable()
        if not normalize_path(path):
            raise MetadataError(f"{self!r} cannot erase itself; erase it from the group above, or clear it")
        if path not in self:
            raise NodeNotFoundError(
                f"there is nothing at {nodes.where(self._store, self._below(path))}; nothing was erased"
            )
        nodes.erase(self._store, self._below(path))
        self._tell("erased", self._below(path))

    def clear(self) -> None:
        """Erase every node directly below, with everything below it; this group and its attributes stay."""
        self._check_writable()
        nodes.erase(self._store, self._path, itself=False)
        self._tell("erased", folder_of(self._path) + "*")

    def move(self, source: str, dest: str) -> None:
        """Move a node with everything below it to another path below this group; groups that are missing are created.

        One step where the store can rename in one step, otherwise a copy of all values that are then erased.

        Args:
            source: the path of the node, below this group.
            dest: its new path, below this group.

        Raises `NodeNotFoundError` when nothing is there, `NodeExistsError` when something is at the destination,
        `MetadataError` for the root, and `ReadOnlyError`.
        """
        self._check_writable()
        old, new = self._below(source), self._below(dest)
        if not old or not new:
            raise MetadataError("the root of a hierarchy cannot be moved; copy it instead")
        if not nodes.exists(self._store, old):
            raise nodes.missing(self._store, old)
        check_rename(folder_of(old), folder_of(new))
        if next(self._store.list_prefix(folder_of(new)), None) is not None:
            raise NodeExistsError(f"there is something at {nodes.where(self._store, new)} already")
        nodes.create_missing_groups(self._store, new)
        self._store.rename_prefix(folder_of(old), folder_of(new))
        self._tell("moved", old, new)

    rename = move

    # ------------------------------------------------------------ paths

    def _below(self, path: str) -> str:
        """A path below this group as a path of the store; a leading slash makes no difference to that."""
        return folder_of(self._path) + normalize_path(path) if normalize_path(path) else self._path

    def _new(self, name: str) -> str:
        self._check_writable()
        if not normalize_path(name):
            raise MetadataError("a new node needs a name")
        return self._below(name)

    def _open(self, path: str, metadata: Metadata) -> Member:
        return opened(self._store, path, metadata, read_only=self._read_only)._share(self._above)

    # ------------------------------------------------------------ description

    def __repr__(self) -> str:
        return f"<zarrv3.Group {self.name!r} in {self._store.describe()}>"


def opened(store: BaseStore, path: str, metadata: Metadata, *, read_only: bool = False) -> Member:
    """The array or group that metadata describe; the store is not asked."""
    if isinstance(metadata, ArrayMetadata):
        return Array(store, path, read_only=read_only, metadata=metadata)
    return Group(store, path, read_only=read_only, metadata=metadata)
