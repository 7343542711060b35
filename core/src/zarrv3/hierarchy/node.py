"""What arrays and groups have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, Self

from zarrv3.errors import ReadOnlyError
from zarrv3.format.node_names import normalize_path
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.attributes import Attributes, Change
from zarrv3.hierarchy.display import Info, Shown, full_report, report
from zarrv3.hierarchy.nodes import M
from zarrv3.layers.read_only import ReadOnly
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON


class StorePath(NamedTuple):
    """A place in a store, which can be given as a store itself."""

    store: StoreLike
    path: str = ""

    def __truediv__(self, below: str) -> StorePath:
        return StorePath(self.store, join_paths(self.path, below))

    def __str__(self) -> str:
        return nodes.where(as_store(self.store), self.path)


def split_location(store: StoreLike) -> tuple[StoreLike, str]:
    """A store and the path that the last adapter of its URL, `|zarr3:path`, names; `""` where there is none."""
    if isinstance(store, StorePath):
        return store
    if isinstance(store, str):
        head, bar, last = store.rpartition("|")
        if bar and last.startswith("zarr3:"):
            from urllib.parse import unquote

            return head, unquote(last.removeprefix("zarr3:"))
    return store, ""


def join_paths(*paths: str | None) -> str:
    """Paths below each other as one."""
    return normalize_path("/".join(filter(None, [normalize_path(path) for path in paths])))


class Node(Shown, Generic[M]):
    """An array or group of a hierarchy, open.

    Holds the metadata as it was when the node was opened or last changed through this object; `refresh` reads it again.
    Thread-safe. Pickling carries the store's configuration and the path.
    """

    metadata_class: ClassVar[Any]

    def __init__(
        self, store: StoreLike, path: str = "", *, read_only: bool = False, metadata: M | None = None
    ) -> None:
        store, below = split_location(store)
        self._store = as_store(store)
        self._path = join_paths(below, path)
        self._read_only = read_only
        self._metadata: M = (
            metadata if metadata is not None else nodes.get(self._store, self._path, self.metadata_class)
        )
        self._share(nodes.Above())

    def _share(self, above: nodes.Above) -> Self:
        """Share with other nodes what is known about consolidated metadata above; returns this node."""
        self._above = above
        above.note(self._path, self._metadata)
        return self

    @property
    def store(self) -> BaseStore:
        """The store the node lies in, as it was given: it may take writes even where the node refuses them."""
        return self._store

    @classmethod
    def open(cls, store: StoreLike) -> Self:
        """The node at the root, or at the path of a `StorePath`.

        Args:
            store: anything that `open_store` takes.
        """
        return cls(store)

    @property
    def store_path(self) -> StorePath:
        """Where the node lies; of one that was opened for reading, in a store that only reads."""
        store = self._store
        if self._read_only and not store.refuses_writes:
            store = ReadOnly(store)
        return StorePath(store, self._path)

    @property
    def path(self) -> str:
        """The path within the store, without slashes at its ends; `""` for the root."""
        return self._path

    @property
    def name(self) -> str:
        """The path with a leading slash; `"/"` for the root."""
        return f"/{self._path}"

    @property
    def basename(self) -> str:
        """The last part of the path."""
        return self._path.rpartition("/")[2]

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self._read_only or not self._store.capabilities.write

    @property
    def metadata(self) -> M:
        """The checked content of the node's document `zarr.json`, as it was when the node was opened or last changed."""
        return self._metadata

    @property
    def info(self) -> Info:
        """A report of what the node is and holds; lists its keys where the store can, reads no values."""
        return report(self)

    def info_complete(self) -> Info:
        """`info`, with whether several writers are safe, where it lies, and all that the metadata say: what `zarrv3 info` prints."""
        return full_report(self)

    @property
    def attrs(self) -> Attributes:
        """The user attributes: a mutable mapping of JSON that is written through; see `Attributes`."""
        return Attributes(lambda: self._metadata.attributes, self._change_attributes)

    attributes = attrs  # as zarr-python 3 calls them

    def update_attributes(self, new_attributes: Mapping[str, JSON]) -> Self:
        """Set several `new_attributes` in one write, on top of what is there then; returns this node.

        Raises `MetadataError` for values that are not JSON, and `ReadOnlyError`. Thread-safe.
        """
        self.attrs.update(new_attributes)
        return self

    def refresh(self) -> Self:
        """Read the metadata again, to see what another process or object has changed; returns this node.

        Raises `NodeNotFoundError` or `NodeTypeError` when the node is no longer there.
        """
        self._adopt(nodes.get(self._store, self._path, self.metadata_class))
        return self

    def _change_attributes(self, change: Change) -> None:
        """Change the attributes in the store and here, and tell if that makes consolidated metadata stale."""
        if self._change_quietly(lambda metadata: metadata.with_attributes(change(dict(metadata.attributes)))):
            self._tell("changed", self._path)

    def _change_quietly(self, changed: Callable[[M], M], known: dict[bytes, M] | None = None) -> bool:
        """Change the document in the store and adopt the result; returns whether it is another one."""
        self._check_writable()
        metadata, is_other = nodes.change(self._store, self._path, self.metadata_class, changed, known)
        self._adopt(metadata)
        return is_other

    def _tell(self, what: str, *paths: str) -> None:
        """Warn if what was done at some paths makes consolidated metadata above them stale."""
        self._above.tell(self._store, what, *paths)

    def _adopt(self, metadata: M) -> None:
        self._metadata = metadata
        self._above.note(self._path, metadata)

    def _check_writable(self) -> None:
        if self.read_only:
            raise ReadOnlyError(f"{self!r} is open for reading; open it with mode='r+' to change it")

    def __eq__(self, other: object) -> bool:
        """Whether both are one node, in equal stores, and both or neither read-only."""
        return (
            isinstance(other, Node)
            and type(other) is type(self)
            and other._path == self._path
            and other._store == self._store
            and other._read_only == self._read_only
        )

    __hash__ = None  # type: ignore[assignment]  # as for stores

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the store's configuration, the path, the metadata and the options; of a cache its size."""
        return _rebuild, (
            type(self),
            self._store,
            self._path,
            self._metadata.to_document(),
            self._options(),
        )

    def _options(self) -> dict[str, Any]:
        """What the constructor was told beside store, path and metadata."""
        return {"read_only": self._read_only}


def _rebuild(
    cls: type[Node[Any]], store: BaseStore, path: str, document: dict[str, JSON], options: dict[str, Any]
) -> Node[Any]:
    metadata = cls.metadata_class.from_document(document, source=nodes.where(store, path))
    return cls(store, path, metadata=metadata, **options)
