"""Stores in this process's memory: `MemoryStore`, and `KVStore` around any mutable mapping."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from zarrv3.errors import ConfigurationError, CorruptDataError, InvalidKeyError
from zarrv3.forks import Lock
from zarrv3.options.declared import Option
from zarrv3.options.environment import Template
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend
from zarrv3.store.base import Separator
from zarrv3.store.contract import Buffer, Capabilities, Changes, Driver, Request, Swaps, Versioned
from zarrv3.store.helpers import cut, unchanged
from zarrv3.store.keys import parent
from zarrv3.store.sharing import Sharing

D = TypeVar("D", bound="MappingDriver")


class MappingDriver:
    """The contract over a mutable mapping from keys to bytes, under one lock; listing looks at every key.

    The version of a value is the value itself.
    """

    capabilities = Capabilities(
        write=True, erase=True, list=True, swap=True, swap_erases=True, transactions=True, replace=True
    )

    def __init__(self, mapping: MutableMapping[str, Any]) -> None:
        self.mapping = mapping
        self.lock = Lock()

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        with self.lock.taken:
            values = [self.mapping.get(key) for key, _ in requests]
        return [
            cut(_frozen(key, value), wanted) for value, (key, wanted) in zip(values, requests, strict=True)
        ]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        with self.lock.taken:
            return [
                len(_frozen(key, self.mapping[key]) or b"") if key in self.mapping else None for key in keys
            ]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        with self.lock.taken:
            values = [_frozen(key, self.mapping.get(key)) for key in keys]
        return [(value, value) for value in values]

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        with self.lock.taken:
            return iter([key for key in self.keys() if key.startswith(folder)])

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        with self.lock.taken:
            return iter(
                [(key, len(_frozen(key, self.mapping[key]) or b"")) for key in self.list_prefix(folder)]
            )

    def write_many(self, changes: Changes, /) -> None:
        self.change({key: None if value is None else bytes(value) for key, value in changes.items()})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Store values as they are, and remove those that are `None`: all at once or, whatever happens, none."""
        with self.lock.taken:
            before = {key: self.mapping[key] for key in changes if key in self.mapping}
            try:
                for key, value in changes.items():
                    if value is not None:
                        self.put(key, value)
                    elif key in self.mapping:
                        self.drop(key)
            except BaseException:  # an interrupt, or a mapping that fails: all of it or nothing
                self.mapping.update(before)
                for key in changes.keys() - before.keys():
                    self.mapping.pop(key, None)
                self.look_again()
                raise

    def apply_many(self, changes: Changes, /) -> None:
        self.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        with self.lock.taken:
            changes, refused = unchanged(swaps, [_frozen(key, self.mapping.get(key)) for key in swaps])
            self.write_many(changes)
        return refused

    def erase_prefix(self, folder: str, /) -> None:
        with self.lock.taken:
            self.write_many(dict.fromkeys(self.list_prefix(folder)))

    def rename_prefix(self, source: str, target: str, /) -> None:
        with self.lock.taken:
            moved = {target + key[len(source) :]: self.mapping[key] for key in self.list_prefix(source)}
            gone = target if source.startswith(target) else source
            if moved:
                self.write_many({**dict.fromkeys(self.list_prefix(gone)), **moved})

    def keys(self) -> Iterator[str]:
        """All keys; those of an open dbm file are bytes, and are asked for as text. The lock is held."""
        given: Any
        for given in self.mapping:
            key = given.decode(errors="replace") if isinstance(given, bytes) else given
            if not isinstance(key, str) or (key is not given and key not in self.mapping):
                raise InvalidKeyError(
                    f"the key {given!r} of a mapping ({type(self.mapping).__name__}) is not text, as a store's are"
                )
            yield key

    def put(self, key: str, value: Any) -> None:
        """Store one value; the lock is held."""
        self.mapping[key] = value

    def drop(self, key: str) -> None:
        """Remove one key; the lock is held."""
        del self.mapping[key]

    def look_again(self) -> None:
        """Take notice of what others did to the mapping."""


class MemoryDriver(MappingDriver):
    """A mapping with an index of folders: listing costs what it returns."""

    capabilities = replace(MappingDriver.capabilities, local=True)

    def __init__(self, mapping: MutableMapping[str, Any]) -> None:
        super().__init__(mapping)
        self._below: dict[str, dict[str, None]] = {}
        self.look_again()

    def look_again(self) -> None:
        with self.lock.taken:
            self._below = {}
            for key in self.keys():
                self._enter(key)

    def put(self, key: str, value: Any) -> None:
        if key not in self.mapping:
            self._enter(key)
        self.mapping[key] = value

    def drop(self, key: str) -> None:
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
        keys: list[str] = []
        with self.lock.taken:
            waiting = [folder]
            while waiting:
                for name in self._below.get(waiting.pop(), ()):
                    (waiting if name.endswith("/") else keys).append(name)
        return iter(keys)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        with self.lock.taken:
            return iter([*self._below.get(folder, ())])

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

    def connect(self) -> Driver:
        """The one driver: memory needs no connection."""
        return self._driver

    def describe(self) -> str:
        """The kind of mapping, not its content."""
        return f"KVStore({type(self.given_options['mutablemapping']).__name__})"

    def identity(self) -> Any:
        """The mapping."""
        return self.given_options["mutablemapping"]


_named: dict[str, MemoryDriver] = {}
_shared: Sharing[MappingDriver] = Sharing()


def _driver_of(mapping: MutableMapping[str, Any], cls: type[D]) -> D:
    """The driver of a mapping: stores around one mapping share its lock and its index, so that none goes stale."""
    # it keeps its mapping: the number stays
    driver, made = _shared.get_or_make((id(mapping), cls), lambda: cls(mapping))
    assert isinstance(driver, cls)
    if not made:
        driver.look_again()
    return driver


def _named_driver(name: str, cls: Callable[[], MutableMapping[str, Any]]) -> MemoryDriver:
    if name not in _named:
        _named.setdefault(name, MemoryDriver(cls()))
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
        self._own: MemoryDriver | None = None  # of a name that the environment has: when it is used
        if name is None:
            self._own = _driver_of(cls() if root is None else root, MemoryDriver)
            self.given_options = {**self.given_options, "root": self._own.mapping}
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

    def connect(self) -> MemoryDriver:
        """The one driver: memory needs no connection."""
        return self._own or _named_driver(self.option("name"), self.option("cls"))

    def describe(self) -> str:
        """The name, or the address that tells two unnamed ones apart; never the content."""
        name = self.given_options["name"]
        return f"MemoryStore({redact_url(name)!r})" if name else f"MemoryStore(at {id(self.identity()):#x})"

    def identity(self) -> Any:
        """The mapping with the content."""
        return self.connect().mapping


def _frozen(key: str, value: Any) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    try:
        return bytes(memoryview(value))
    except TypeError as error:
        raise CorruptDataError(
            f"the value of {key!r} is {type(value).__name__}, not bytes: another program wrote it"
        ) from error
