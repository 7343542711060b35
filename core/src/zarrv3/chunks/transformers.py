"""Storage transformers: stores around stores that array metadata names (core specification, "Storage transformers")."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar

from zarrv3.errors import ConfigurationError, MetadataError
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer

if TYPE_CHECKING:
    from zarrv3.format.grids import ChunkKeyEncoding
    from zarrv3.format.metadata import ArrayMetadata

T = TypeVar("T", bound="StorageTransformer")

Changes: TypeAlias = Mapping[str, Buffer | None]
"""Keys with their new values; `None` stands for absence."""

Coords: TypeAlias = tuple[int, ...]

ChunkChanges: TypeAlias = Mapping[Coords, Buffer | None]
"""The same for chunks by their coordinates."""


class StorageTransformer(Layer):
    """A layer that array metadata names; this base class passes everything on unchanged.

    An instance made by `StorageTransformer(_type)` or read from metadata is a description. `bind` makes the store that an
    array uses: it sees the array's chunk keys, and the keys of everything else below the array's path. Subclasses give
    `extension_uri` and `valid_types`, keep their configuration in public attributes, and override what they are about.

    Args:
        _type: one of the types that the class knows.
    """

    extension_uri: ClassVar[str] = ""
    """The name in metadata: what the entry point of the group `zarrv3.storage_transformers` is called."""

    valid_types: ClassVar[Sequence[str]] = ()
    """What `_type` may be; with none, it may be anything."""

    _inner: BaseStore | None = None
    _folder: str
    _encoding: ChunkKeyEncoding

    def __init__(self, _type: str) -> None:
        if self.valid_types and _type not in self.valid_types:
            known = ", ".join(map(repr, self.valid_types))
            raise ConfigurationError(f"{type(self).__name__} knows no type {_type!r}; it knows {known}")
        self.type = _type
        self._options = {}

    @property
    def inner(self) -> BaseStore:  # type: ignore[override]  # bound later than other layers
        """The store it lies on; `ConfigurationError` unless it is bound to an array."""
        if self._inner is None:
            raise ConfigurationError(f"{type(self).__name__} is a description; an array binds it to a store")
        return self._inner

    inner_store = inner

    @property
    def block_shape(self) -> tuple[int, ...] | None:
        """How many chunks along each dimension are stored together; arrays then read and write them together.

        Where there are fewer entries than dimensions, the others are 1.
        """
        return None

    def bind(self, store: BaseStore, folder: str, metadata: ArrayMetadata) -> Self:
        """A copy around a store, for the array whose keys lie below `folder`; `MetadataError` if it does not fit.

        The chunk grid of `metadata` is that of the keys which the transformer sees: of several, each sees the blocks of
        the one before it as chunks.
        """
        bound = _rebuild(type(self), self._state())
        bound._inner = store
        bound._folder, bound._encoding = folder, metadata.chunk_key_encoding
        return bound

    def get_chunks(self, places: Sequence[tuple[int, ...]], /) -> Sequence[Buffer | None]:
        """The values of chunks by their coordinates, in order: what an array reads its chunks by.

        For those who need not spell keys to find them.
        """
        folder, encode = self._folder, self._encoding.encode
        return self.get_many([(folder + encode(coords), None) for coords in places])

    def change_many(
        self,
        keys: Collection[str],  # noqa: ARG002 - for those who store chunks together
        read: Collection[str],
        make: Callable[[Changes], Changes],
        *,
        keep_padding: bool = False,  # noqa: ARG002 - the same
    ) -> None:
        """Read, change and write some keys; see the function `change_many`.

        For those who store several chunks as one value: they read and write each value once, under a lock of their own.
        """
        _change_each(self, read, make)

    def change_chunks(
        self,
        chunks: Collection[Coords],
        read: Collection[Coords],
        make: Callable[[ChunkChanges], ChunkChanges],
        *,
        keep_padding: bool = False,
    ) -> None:
        """The same for chunks by their coordinates: what an array writes its chunks by.

        For those who need not spell keys to find them.
        """
        folder, encode = self._folder, self._encoding.encode
        change_spelled(self.change_many, folder, encode, chunks, read, make, keep_padding=keep_padding)

    def get_config(self) -> dict[str, JSON]:
        """The configuration in metadata: the public attributes but for the type."""
        own = vars(self).items()
        return {n: v for n, v in own if not n.startswith("_") and n not in {"type", "dimension_separator"}}

    @classmethod
    def from_config(cls, _type: str, config: Mapping[str, JSON]) -> Self:
        """The transformer that a type and a configuration describe."""
        try:
            return cls(_type, **config)
        except TypeError as error:
            raise MetadataError(
                f"{cls.__name__} does not take the configuration {dict(config)!r}: {error}"
            ) from error

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:  # noqa: ARG003 - the plugin interface
        """The transformer that a document names."""
        rest = dict(configuration)
        return cls.from_config(rest.pop("type", cls.valid_types[0] if cls.valid_types else ""), rest)

    def to_json(self) -> JSON:
        """The transformer as it stands in a document."""
        return {"name": self.extension_uri, "configuration": {"type": self.type, **self.get_config()}}

    def describe(self) -> str:
        """The transformer, and what it lies on once it is bound."""
        config = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        own = f"{type(self).__name__}({', '.join(filter(None, (repr(self.type), config)))})"
        return own if self._inner is None else f"{own} on {self._inner.describe()}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it is, bound or not."""
        return _rebuild, (type(self), self._state())

    def _state(self) -> dict[str, Any]:
        """What a copy has of this object: not whether it is in a `with` block."""
        return {name: value for name, value in vars(self).items() if name != "_entered"}

    def identity(self) -> Any:
        """What it is, and the store below."""
        return self._inner, self.type, self.get_config()


def _rebuild(cls: type[T], state: dict[str, Any]) -> T:
    made = object.__new__(cls)
    made.__dict__.update(state)
    return made


def change_many(
    store: BaseStore,
    keys: Collection[str],
    read: Collection[str],
    make: Callable[[Changes], Changes],
    *,
    keep_padding: bool = False,
) -> None:
    """Set some keys and erase others, in as few calls as the store can do it in.

    Args:
        store: where.
        keys: all that may be changed. Other keys keep their values, also where they are stored in one value with these.
        read: those of them whose old values `make` wants.
        make: gets the old values of `read` and returns the new ones; what it leaves out stays. Called once.
        keep_padding: chunks outside the array are kept, too: others may be making it longer just now. Without it, a value
            of which all chunks inside the array are among `keys` may be replaced unread.
    """
    if isinstance(store, StorageTransformer):
        store.change_many(keys, read, make, keep_padding=keep_padding)
    else:
        _change_each(store, read, make)


def change_spelled(
    change: Callable[..., None],
    folder: str,
    encode: Callable[[Coords], str],
    chunks: Collection[Coords],
    read: Collection[Coords],
    make: Callable[[ChunkChanges], ChunkChanges],
    *,
    keep_padding: bool,
) -> None:
    """Change chunks by their coordinates by way of a `change` of keys, which are `encode`d below a folder."""
    keys = {chunk: folder + encode(chunk) for chunk in chunks}

    def make_keyed(olds: Changes) -> Changes:
        return {keys[chunk]: new for chunk, new in make({chunk: olds[keys[chunk]] for chunk in read}).items()}

    change(keys.values(), [keys[chunk] for chunk in read], make_keyed, keep_padding=keep_padding)


def _change_each(store: BaseStore, read: Collection[str], make: Callable[[Changes], Changes]) -> None:
    """Every key is a value of its own."""
    olds = dict(zip(read, store.get_many([(key, None) for key in read]), strict=True)) if read else {}
    changes = make(olds)
    items = {key: value for key, value in changes.items() if value is not None}
    if items:
        store.set_many(items)
    if len(items) < len(changes):
        store.erase_many([key for key, value in changes.items() if value is None])
