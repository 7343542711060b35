"""Stores in this process's memory: `MemoryStore`, and `KVStore` around any mutable mapping."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from typing import Annotated, Any, TypeVar

from zarrv3.errors import ConfigurationError
from zarrv3.options.declared import Option
from zarrv3.options.environment import Template
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend
from zarrv3.store.base import BaseStore, Separator
from zarrv3.store.contract import Buffer, Capabilities, Request, Store
from zarrv3.store.helpers import children, compare_and_set_locked, cut
from zarrv3.store.keys import parent

D = TypeVar("D", bound="MappingDriver")


class MappingDriver:
    """The contract over a mutable mapping from keys to bytes, under one lock; listing looks at every key."""

    capabilities = Capabilities(shared=False, persistent=False, transactions=True)

    def __init__(self, mapping: MutableMapping[str, Any]) -> None:
        self.mapping = mapping
        self.lock = threading.RLock()

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        with self.lock:
            values = [self.mapping.get(key) for key, _ in requests]
        return [cut(_frozen(value), wanted) for value, (_, wanted) in zip(values, requests, strict=True)]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        copies = {key: bytes(value) for key, value in items.items()}
        with self.lock:
            for key, value in copies.items():
                self.put(key, value)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        with self.lock:
            for key in keys:
                if key in self.mapping:
                    self.drop(key)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        with self.lock:
            self.erase_many([*self.list_prefix(folder)])

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: at once, for every reader of this process."""
        with self.lock:
            for key in [*self.list_prefix(source)]:
                self.put(target + key[len(source) :], self.mapping[key])
                self.drop(key)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract."""
        return compare_and_set_locked(
            self.lock, self.mapping.get, lambda k, v: self.put(k, bytes(v)), self.drop, key, old, new
        )

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: at once, for every reader of this process."""
        copies = {key: None if value is None else bytes(value) for key, value in changes.items()}
        with self.lock:
            for key, value in copies.items():
                if value is not None:
                    self.put(key, value)
                elif key in self.mapping:
                    self.drop(key)

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract."""
        with self.lock:
            keys = [*self.list_prefix(where)] if where.endswith("/") or not where else [where]
            found = [(key, len(self.mapping[key])) for key in keys if key in self.mapping]
        return iter(found)

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract."""
        with self.lock:
            return iter([key for key in self.mapping if key.startswith(folder)])

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        return children(self.list_prefix(folder), folder)

    def flush(self) -> None:
        """Memory needs no flushing."""

    def close(self) -> None:
        """Memory needs no closing: the mapping keeps its content."""

    def put(self, key: str, value: bytes) -> None:
        """Store one value; the lock is held."""
        self.mapping[key] = value

    def drop(self, key: str) -> None:
        """Remove one key; the lock is held."""
        del self.mapping[key]

    def look_again(self) -> None:
        """Take notice of what others did to the mapping."""


class MemoryDriver(MappingDriver):
    """The same with an index of folders: listing costs what it returns."""

    def __init__(self, mapping: MutableMapping[str, Any]) -> None:
        super().__init__(mapping)
        self._below: dict[str, dict[str, None]] = {}
        self.look_again()

    def look_again(self) -> None:
        """Make the index anew."""
        with self.lock:
            self._below = {}
            for key in self.mapping:
                self._enter(key)

    def put(self, key: str, value: bytes) -> None:
        """Store one value; the lock is held."""
        if key not in self.mapping:
            self._enter(key)
        self.mapping[key] = value

    def drop(self, key: str) -> None:
        """Remove one key; the lock is held."""
        del self.mapping[key]
        name = key
        while name:  # folders that became empty go too
            folder = parent(name)
            names = self._below[folder]
            del names[name]
            if names or not folder:
                break
            del self._below[folder]
            name = folder

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract."""
        found: list[str] = []
        with self.lock:
            waiting = [folder]
            while waiting:
                for name in self._below.get(waiting.pop(), ()):
                    (waiting if name.endswith("/") else found).append(name)
        return iter(found)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        with self.lock:
            names = sorted(self._below.get(folder, ()))
        return [name for name in names if not name.endswith("/")], [
            name for name in names if name.endswith("/")
        ]

    def _enter(self, key: str) -> None:
        name = key
        while name:
            folder = parent(name)
            names = self._below.get(folder)
            if names is not None:
                names[name] = None
                return
            self._below[folder] = {name: None}
            name = folder


class KVStore(Backend):
    """Any mutable mapping from text to bytes as a store.

    Values are copied to `bytes` when they are stored. The mapping may be changed by others while nobody uses the store;
    listing looks at every key, so a large hierarchy is better off in a `MemoryStore`. Thread-safe as far as all access
    goes through this object.
    """

    kind = "kv"

    def __init__(
        self,
        mutablemapping: Annotated[MutableMapping[str, Any], Option("holds keys and values", live=True)],
        dimension_separator: Separator = None,
    ) -> None:
        super().__init__(mutablemapping=mutablemapping, dimension_separator=dimension_separator)
        self._driver = _driver_of(mutablemapping, MappingDriver)

    def connect(self) -> Store:
        """The one driver: memory needs no connection."""
        return self._driver

    def describe(self) -> str:
        """The kind of mapping, not its content."""
        return f"KVStore({type(self._options['mutablemapping']).__name__})"

    def identity(self) -> Any:
        """The mapping."""
        return self._options["mutablemapping"]


_named: dict[str, MemoryDriver] = {}
_drivers: weakref.WeakValueDictionary[tuple[int, type], MappingDriver] = weakref.WeakValueDictionary()
_drivers_lock = threading.Lock()


def _driver_of(mapping: MutableMapping[str, Any], cls: type[D]) -> D:
    """The driver of a mapping: stores around one mapping share its lock and its index, so that none goes stale."""
    with _drivers_lock:
        found = _drivers.get(
            (id(mapping), cls)
        )  # a driver keeps its mapping: while it lives the number is the mapping's
        if isinstance(found, cls):
            found.look_again()
        else:
            found = _drivers[id(mapping), cls] = cls(mapping)
        return found


def _named_driver(name: str, cls: Callable[[], MutableMapping[str, Any]]) -> MemoryDriver:
    with _drivers_lock:
        if name not in _named:
            _named[name] = MemoryDriver(cls())
        return _named[name]


class MemoryStore(Backend):
    """A store in the memory of this process; safe to use from many threads.

    A pickled copy carries the content with it, or only the name if it has one.
    """

    kind = "memory"

    def __init__(
        self,
        root: Annotated[
            MutableMapping[str, Any] | None,
            Option("what it holds at first, a flat mapping from keys to bytes, used as it is", live=True),
        ] = None,
        cls: Annotated[
            Callable[[], MutableMapping[str, Any]],
            Option("the class of mapping to make when `root` is not given", live=True),
        ] = dict,
        dimension_separator: Separator = None,
        *,
        name: Annotated[
            str | None, Option("stores of one name share their content, which lives as long as the process")
        ] = None,
    ) -> None:
        if name is not None and root is not None:
            raise ConfigurationError("a memory store has a name or a root, not both")
        super().__init__(root=root, cls=cls, dimension_separator=dimension_separator, name=name)
        self._own: MemoryDriver | None = (
            None  # of a name that the environment has, it is looked up when it is used
        )
        if name is None:
            self._own = _driver_of(cls() if root is None else root, MemoryDriver)
            self._options = {**self._options, "root": self._own.mapping}
        elif not isinstance(name, Template):
            self._own = _named_driver(name, cls)

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The name in `memory://name`."""
        name = ((url.authority or "") + url.path).strip("/")
        return {"name": name} if name else {}

    @classmethod
    def example_url(cls, folder: str) -> str:
        """A store with a name of its own for each folder."""
        from pathlib import Path

        return Path(folder).absolute().as_uri().replace("file:", "memory:", 1)

    def connect(self) -> Store:
        """The one driver: memory needs no connection."""
        return self._found()

    def _found(self) -> MemoryDriver:
        return self._own or _named_driver(self.option("name"), self.option("cls"))

    def describe(self) -> str:
        """The name, or the address that tells two unnamed ones apart; never the content."""
        name = self._options["name"]
        return f"MemoryStore({name!r})" if name else f"MemoryStore(at {id(self.identity()):#x})"

    def identity(self) -> Any:
        """The mapping with the content."""
        return self._found().mapping


class DriverStore(Backend):
    """Any object with the contract's methods as a full store, guarded."""

    kind = "driver"

    def __init__(
        self, driver: Annotated[Store, Option("any object with the contract's methods", live=True)]
    ) -> None:
        super().__init__(driver=driver)

    def connect(self) -> Store:
        """The driver as it was given."""
        driver: Store = self._options["driver"]
        return driver

    def describe(self) -> str:
        """The class of the driver."""
        return f"DriverStore({type(self._options['driver']).__name__})"


def wrap(store: object) -> BaseStore:
    """A store object from one, from anything that has the contract's methods, or from a mutable mapping."""
    if isinstance(store, BaseStore):
        return store
    if isinstance(store, Store):
        return DriverStore(store)
    if isinstance(store, MutableMapping):
        return KVStore(store)
    raise ConfigurationError(
        f"not a store: {type(store).__name__}; give a store object, a mutable mapping, a URL or a configuration"
    )


def as_mapping(store: object) -> MutableMapping[str, bytes]:
    """Any store as a mutable mapping from keys to bytes: the way back from `KVStore`."""
    return wrap(store)


def _frozen(value: Any) -> bytes | None:
    return value if value is None or type(value) is bytes else bytes(value)
