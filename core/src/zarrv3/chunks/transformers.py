"""Storage transformers: stores around stores that array metadata names (core specification, "Storage transformers")."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar

from zarrv3.errors import (
    ConfigurationError,
    CorruptDataError,
    MetadataError,
    SeveralWritersWarning,
    SwapUnknownError,
    ZarrError,
)
from zarrv3.format.extensions import PASSED, Guard, broken
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, Changes, Version, whole
from zarrv3.store.keys import summary
from zarrv3.store.locks import NamedLocks

if TYPE_CHECKING:
    from zarrv3.format.cuts import Cut
    from zarrv3.format.grids import ChunkKeyEncoding
    from zarrv3.format.metadata import ArrayMetadata

T = TypeVar("T", bound="StorageTransformer")

Coords: TypeAlias = tuple[int, ...]
Name = TypeVar("Name", str, Coords)
Item = TypeVar("Item")

Make: TypeAlias = Callable[[Collection[Name], Mapping[Name, Buffer | None]], Mapping[Name, Buffer | None]]
"""From some keys (or coordinates) and the old values of those that are read to new values; see `StorageTransformer.change_many`."""


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

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Have what a subclass overrides of the contract name it when it fails with an error that is not ours."""
        super().__init_subclass__(**arguments)
        for name in _READING | _WRITING:
            if inspect.isfunction(method := vars(cls).get(name)):
                setattr(cls, name, _naming(method, CorruptDataError if name in _READING else MetadataError))

    given_options: Mapping[str, Any] = MappingProxyType({})
    """None: what a transformer is told is its configuration."""

    _inner: BaseStore | None = None
    _below: StorageTransformer
    _level = 0
    """How many transformers lie below this one."""
    _folder: str
    _encoding: ChunkKeyEncoding

    def __init__(self, _type: str) -> None:
        if self.valid_types and _type not in self.valid_types:
            known = ", ".join(map(repr, self.valid_types))
            raise ConfigurationError(
                f"{type(self).__name__} does not know the type {_type!r}; it knows {known}"
            )
        self.type = _type

    @property
    def inner(self) -> BaseStore:  # type: ignore[override]  # bound later than other layers
        """The store it lies on; `ConfigurationError` unless it is bound to an array."""
        if self._inner is None:
            raise ConfigurationError(f"{type(self).__name__} is a description; an array binds it to a store")
        return self._inner

    inner_store = inner

    @property
    def is_bound(self) -> bool:
        """Whether it is around a store; otherwise it is a description."""
        return self._inner is not None

    @property
    def chunks_below(self) -> StorageTransformer:
        """What a bound one reads and changes chunks by: the transformer it lies on, or one that stores each chunk under its key."""
        return self._below

    @property
    def block_shape(self) -> tuple[Cut, ...] | None:
        """How many chunks along each dimension are stored together; arrays then read and write them together.

        `Edges` where the blocks of a dimension differ. Where there are fewer entries than dimensions, the others are 1.
        """
        return None

    def bind(self, store: BaseStore, folder: str, metadata: ArrayMetadata) -> Self:
        """A copy around a store, for the array whose keys lie below `folder`; `MetadataError` if it does not fit.

        The chunk grid of `metadata` is that of the keys which the transformer sees: of several, each sees the blocks of
        the one before it as chunks.
        """
        # whatever can change chunks is changed by that, everything else value by value
        below: Any = store if hasattr(store, "change_chunks") else plain(store, folder, metadata)
        bound = _bound(type(self), self.__getstate__(), store, folder, metadata)
        bound._below, bound._level = below, below._level + 1
        return bound

    def get_chunks(self, places: Sequence[Coords], /) -> Sequence[Buffer | None]:
        """The values of chunks by their coordinates, in order: what an array reads its chunks by."""
        return self.get_many(whole(self.chunk_keys(places)))

    def chunk_keys(self, places: Collection[Coords]) -> list[str]:
        """The keys of chunks by their coordinates."""
        folder, encode = self._folder, self._encoding.encode
        with Guard("chunk_key_encodings", self._encoding, "chunk_key_encoding"):
            return [folder + encode(coords) for coords in places]

    def named(self, coords: Coords, what: str = "chunk") -> str:
        """What errors call a chunk, by the key of the value in the store that holds it: `chunk 'c/0'`.

        A transformer that stores chunks together says which of them it is, and has the one below name the whole.
        """
        if self._level and self.block_shape is None:
            return self._below.named(coords, what)
        return f"{what} {self.chunk_keys([coords])[0]!r}"

    def change_chunks(
        self,
        chunks: Collection[Coords],
        read: Collection[Coords],
        make: Make[Coords],
        *,
        expect_missing: bool = False,
    ) -> None:
        """Read, change and write chunks by their coordinates: what an array writes its chunks by; see `change_many`."""
        keys = dict(zip(chunks, self.chunk_keys(chunks), strict=True))
        names = {key: chunk for chunk, key in keys.items()}

        def make_keyed(some: Collection[str], olds: Changes) -> Changes:
            news = make([names[key] for key in some], {names[key]: old for key, old in olds.items()})
            return {keys[chunk]: new for chunk, new in news.items()}

        self.change_many(names, [keys[chunk] for chunk in read], make_keyed, expect_missing=expect_missing)

    def change_many(
        self,
        keys: Collection[str],
        read: Collection[str],
        make: Make[str],
        *,
        expect_missing: bool = False,
        at_once: bool = False,
    ) -> None:
        """Set some keys and erase others, in as few calls as the store can do it in.

        Nothing that anybody else writes meanwhile is lost: what was read is swapped where the store can, and changed again
        on top of what somebody else was faster with. Where it cannot, other threads of this process are kept out.

        Args:
            keys: all that may be changed. Other keys keep their values, also where they are stored in one value with these.
            read: those of them whose old values `make` wants.
            make: gets some of the keys, and the old values of those of them that are to be read; returns new values, `None`
                for a key to erase; what it leaves out stays. Called again for keys that others have changed meanwhile.
            expect_missing: take what is to be read to be missing, and read only what turns out not to be; where the store
                cannot swap, it is replaced unread.
            at_once: make all changes in one transaction (`apply_many`). Only threads of this process are kept out then.
        """
        with _changing.held([(self._level, self._place, key) for key in keys]):
            if read and self.capabilities.swap and not at_once:
                _swap(self, keys, read, make, expect_missing=expect_missing)
                return
            if expect_missing:
                self.write_many({**dict.fromkeys(read), **make(keys, dict.fromkeys(read))})
                return
            if read and not at_once:
                _warn_in_pools(self)
            olds = dict(zip(read, self.get_many(whole(read)), strict=True)) if read else {}
            (self.apply_many if at_once else self.write_many)(make(keys, olds))

    @cached_property
    def _place(self) -> str:
        """Where the keys begin in the store that holds them: what tells keys of one name apart."""
        return self.inner.ground()[1]

    def get_config(self) -> dict[str, JSON]:
        """The configuration in metadata: the public attributes but for the type."""
        own = vars(self).items()
        return {n: v for n, v in own if not n.startswith("_") and n not in {"type", "dimension_separator"}}

    @classmethod
    def from_config(cls, _type: str, config: Mapping[str, JSON]) -> Self:
        """The transformer that a type and a configuration describe."""
        try:
            return cls(_type, **config)
        except (TypeError, ConfigurationError) as error:
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
        if not self.extension_uri and self._inner is not None:  # the base class is nothing by itself
            return self._inner.describe()
        config = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        own = f"{type(self).__name__}({', '.join(filter(None, (repr(self.type), config)))})"
        return own if self._inner is None else f"{own} on {self._inner.describe()}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it is, bound or not."""
        return _rebuild, (type(self), self.__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has of this object, bound to a store or pickled: not whether it is in a `with` block.

        A subclass leaves out what a copy has to make itself.
        """
        return {name: value for name, value in vars(self).items() if name != "_entered"}

    def identity(self) -> Any:
        """What it is, and the store below."""
        return self._inner, self.type, self.get_config()


def _rebuild(cls: type[T], state: dict[str, Any]) -> T:
    made = object.__new__(cls)
    made.__dict__.update(state)
    return made


def plain(store: BaseStore, folder: str, metadata: ArrayMetadata) -> StorageTransformer:
    """What lies below all transformers of an array, or is all there is: each chunk is a value of the store."""
    return _bound(StorageTransformer, StorageTransformer("").__getstate__(), store, folder, metadata)


def _bound(cls: type[T], state: dict[str, Any], store: BaseStore, folder: str, metadata: ArrayMetadata) -> T:
    bound = _rebuild(cls, state)
    bound._inner, bound._folder, bound._encoding = store, folder, metadata.chunk_key_encoding
    return bound


_READING = {"get_many", "stat_many", "get_versioned", "list_prefix", "list_dir", "list_sizes"}
_WRITING = {"write_many", "swap_many", "apply_many", "erase_prefix", "rename_prefix"}


def _naming(method: Callable[..., Any], ours: type[ZarrError]) -> Callable[..., Any]:
    """A method of a transformer whose errors become ours, with its name and the keys."""

    @wraps(method)
    def call(self: StorageTransformer, asked: Any, *rest: Any) -> Any:
        with _blaming(self, asked, ours):
            found = method(self, asked, *rest)
        return _each(self, asked, ours, found) if isinstance(found, Iterator) else found

    return call


def _each(
    transformer: StorageTransformer, asked: Any, ours: type[ZarrError], items: Iterator[Item]
) -> Iterator[Item]:
    with _blaming(transformer, asked, ours):
        yield from items


@contextmanager
def _blaming(transformer: StorageTransformer, asked: Any, ours: type[ZarrError]) -> Iterator[None]:
    try:
        yield
    except PASSED:
        raise
    except Exception as error:
        from traceback import walk_tb

        below = transformer.inner
        if any(frame.f_locals.get("self") is below for frame, _ in walk_tb(error.__traceback__)):
            raise  # of the store below: the transformer has only passed it on
        keys = [asked] if isinstance(asked, str) else [getattr(key, "key", key) for key in asked]
        raise ours(broken("storage_transformers", transformer, summary(keys), error)) from error


_changing = NamedLocks()
"""The keys that a thread of this process reads, changes and writes just now. Where the store can swap, that only saves work."""


def _warn_in_pools(store: BaseStore) -> None:
    """Tell, once per process, that one of several processes replaces values unaware of what others have written to them."""
    processes = sys.modules.get("multiprocessing.process")  # without it this is not a process of a pool
    if processes is None or processes.parent_process() is None or os.getpid() in _warned:
        return
    _warned.add(os.getpid())
    warnings.warn(
        f"a part of a chunk is written to {store.describe()} by a process of several. Is that safe? "
        f"{store.several_writers.capitalize()}. Let each process write whole chunks (or shards) of its own",
        SeveralWritersWarning,
        stacklevel=2,
    )


_warned: set[int] = set()
"""The processes that were told: this one, and those that it was forked from."""


def _swap(
    store: BaseStore,
    keys: Collection[str],
    read: Collection[str],
    make: Make[str],
    *,
    expect_missing: bool,
) -> None:
    """Write what is not read, and swap what is, until nobody else was faster."""
    unseen = [*read] if expect_missing else []
    versions: dict[str, Version | None] = dict.fromkeys(unseen)
    olds: Changes = dict.fromkeys(unseen) if expect_missing else _versioned(store, read, versions)
    left = keys
    while True:
        changes = make(left, olds)
        swaps = {key: (versions[key], new) for key, new in changes.items() if key in versions}
        if len(swaps) < len(changes):
            store.write_many({key: new for key, new in changes.items() if key not in versions})
        try:
            left = store.swap_many(swaps) if swaps else ()
        except SwapUnknownError:
            left = [*swaps]  # to set the same elements once more is as if this call had come later
        if unseen:  # what stays because it is missing has to be
            left, unseen = [*left, *(key for key in unseen if key not in changes)], []
        if not left:
            return
        olds = _versioned(store, left, versions)


def _versioned(
    store: BaseStore, keys: Collection[str], versions: dict[str, Version | None]
) -> dict[str, Buffer | None]:
    """The values of some keys; their versions are noted."""
    values = {}
    for key, (value, version) in zip(keys, store.get_versioned([*keys]), strict=True):
        values[key], versions[key] = value, version
    return values
