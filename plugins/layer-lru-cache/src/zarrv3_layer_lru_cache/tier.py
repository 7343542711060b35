"""The second tier: any store that holds values beyond the process; bounded, and trusted only as far as its checksums.

A key `a/b` lies at `<namespace>/a.d/b.v`: so a folder is erased by one call, no key is a folder of another,
and every name is a valid key. Namespaces keep the values of different stores apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from zarrv3.errors import ConfigurationError, StoreAccessError, StoreClosedError, ZarrError
from zarrv3.forks import renew_in_children
from zarrv3.options.environment import as_templates, expand
from zarrv3.options.redaction import HIDDEN, redact_options
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import whole
from zarrv3.store.helpers import BATCH, chunked
from zarrv3.store.keys import summary
from zarrv3_layer_lru_cache.sealed import seal, unseal

TRANSPARENT = {"counting", "read-only", "retry"}
"""Layers that do not change values and so do not affect the name."""


class CacheWarning(UserWarning):
    """The store of a second tier failed; its values come from the inner store."""


class Tier:
    """Values in a store, by the key they have in another one. Thread-safe.

    A failure here does not fail a read: it is reported once by a `CacheWarning`, and the tier is not used
    from then on. Only `drop` raises: a value not forgotten before a write would come back after a restart.

    Args:
        store: where the values lie.
        max_size: how many bytes they may occupy; `None` for no limit.
        ttl: after how many seconds a value is forgotten; `None` for never.
        source: returns a name for the store that the values come from.
    """

    clock = staticmethod(time.time)

    def __init__(
        self, store: BaseStore, max_size: int | None, ttl: float | None, source: Callable[[], str]
    ) -> None:
        self.store = store
        self._max_size = max_size
        self._ttl = ttl
        self._source = source
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Look again at what the store holds, before the next use."""
        self._lock = threading.Lock()
        self._filling = threading.Lock()
        self._loading = threading.Lock()
        self._sizes: OrderedDict[str, int] | None = None
        self._total = 0
        self._folder = ""
        self.failed = False

    @property
    def total(self) -> int:
        """How many bytes the entries occupy."""
        with self._lock:
            return self._total

    # ------------------------------------------------------------ reading

    def get(self, keys: Sequence[str]) -> dict[str, tuple[bytes, float]]:
        """The values of those keys that are held with their ages in seconds, by one call of the store.

        Damaged and outdated values count as missing.
        """
        self._name()
        try:
            return self._get(keys)
        except Exception as error:  # noqa: BLE001 - no failure of a cache fails a read
            self._give_up("read", error)
            return {}

    def _get(self, keys: Sequence[str]) -> dict[str, tuple[bytes, float]]:
        if self.failed:
            return {}
        sizes = self._loaded()
        with self._lock:
            places = {key: place for key in keys if (place := self._place(key)) in sizes}
            for place in places.values():
                sizes.move_to_end(place)
        if not places:
            return {}
        values: dict[str, tuple[bytes, float]] = {}
        stored = self.store.get_many(whole(places.values()))
        for key, sealed in zip(places, stored, strict=True):
            there = None if sealed is None else unseal(key, sealed)
            if there is None:
                continue
            age = self.clock() - there.stored
            if self._ttl is None or 0 <= age < self._ttl:
                values[key] = there.value, age
        return values

    # ------------------------------------------------------------ writing

    def put(self, values: Mapping[str, bytes], age: float) -> None:
        """Hold values that were true `age` seconds ago, by one call; the least recently used go by another.

        Threads do this one after the other, so that the count is right.
        """
        self._name()
        try:
            with self._filling:
                self._put(values, self.clock() - age)
        except Exception as error:  # noqa: BLE001 - no failure of a cache fails a read
            self._give_up("write", error)

    def _put(self, values: Mapping[str, bytes], born: float) -> None:
        if self.failed:
            return
        sizes = self._loaded()
        items = {self._place(key): seal(key, value, born) for key, value in values.items()}
        items = {place: sealed for place, sealed in items.items() if self._fits(place, len(sealed))}
        with self._lock:
            for place, sealed in items.items():
                self._forget(sizes, place)
                sizes[place] = _size(place, len(sealed))
                self._total += sizes[place]
            gone = self._overflow(sizes)
        self._erase(gone)
        kept = {place: sealed for place, sealed in items.items() if place not in gone}
        if kept:
            self.store.write_many(kept)

    def _fits(self, place: str, length: int) -> bool:
        """Whether the store may hold a value of some length."""
        limits = self.store.capabilities.limits
        bounds = (
            (_size(place, length), self._max_size),
            (len(place.encode()), limits.key_bytes),
            (length, limits.value_bytes),
        )
        return all(most is None or size <= most for size, most in bounds)

    def _overflow(self, sizes: OrderedDict[str, int]) -> dict[str, None]:
        """What has to be erased to make room, already uncounted; the lock is held."""
        gone: dict[str, None] = {}
        while sizes and self._max_size is not None and self._total > self._max_size:
            place = next(iter(sizes))
            self._forget(sizes, place)
            gone[place] = None
        return gone

    def _forget(self, sizes: OrderedDict[str, int], place: str) -> None:
        self._total -= sizes.pop(place, 0)

    def _erase(self, places: Collection[str]) -> None:
        for part in chunked(places, BATCH):
            self.store.write_many(dict.fromkeys(part))

    def drop(self, keys: Collection[str], folders: Collection[str]) -> None:
        """Forget the values of some keys, and of all below some folders; raises when that cannot be done."""
        self._name()
        try:
            self._drop(keys, folders)
        except StoreClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the entry may still be there
            raise StoreAccessError(
                f"the cached value of {summary([*keys, *folders])} in {self.store.describe()} cannot be erased and would be "
                f"taken for the current one later, so nothing was written: {error}; repair or empty that store"
            ) from (error if isinstance(error, ZarrError) else None)

    def _drop(self, keys: Collection[str], folders: Collection[str]) -> None:
        places = [place for place in map(self._place, keys) if self._fits(place, 0)]
        below = [self._folder + _folders(folder) for folder in folders]
        self._erase(places)
        for folder in below:
            self.store.erase_prefix(folder)
        with self._lock:
            if self._sizes is not None:
                for place in places:
                    self._forget(self._sizes, place)
                for place in [place for place in self._sizes if place.startswith((*below,))]:
                    self._forget(self._sizes, place)

    def revive(self) -> None:
        """Try again after a failure."""
        with self._lock:
            self.failed = False

    def close(self, *, own: bool) -> None:
        """Flush the store, or close it if it is the tier's own."""
        try:
            (self.store.close if own else self.store.flush)()
        except Exception as error:  # noqa: BLE001 - it is only a cache
            self._give_up("close", error)
        with self._lock:
            self.failed = True

    # ------------------------------------------------------------ places

    def _loaded(self) -> OrderedDict[str, int]:
        """What the store holds, listed once: what was there already, of any namespace, counts and is erased first."""
        with self._loading:
            if self._sizes is None:
                can = self.store.capabilities
                if not (can.write and can.erase and can.list):
                    raise ConfigurationError("a second tier must support writing, erasing and listing")
                sizes = OrderedDict(
                    (place, _size(place, length)) for place, length in self.store.list_sizes("")
                )
                with self._lock:
                    self._sizes, self._total = sizes, sum(sizes.values())
                    gone = self._overflow(sizes)
                self._erase(gone)
            return self._sizes

    def _name(self) -> None:
        if not self._folder:
            name = hashlib.blake2b(self._source().encode(), digest_size=12).hexdigest()
            with self._lock:
                self._adopt(f"{name}/")

    def _adopt(self, folder: str) -> None:
        """Take the name from the first thread that asks: a source may return another one to each."""
        if not self._folder:
            self._folder = folder

    def _place(self, key: str) -> str:
        folder, slash, name = key.rpartition("/")
        return f"{self._folder}{_folders(folder + slash)}{name}.v"

    def _give_up(self, verb: str, error: Exception) -> None:
        with self._lock:
            already, self.failed = self.failed, True
        if not already:
            warnings.warn(
                f"the cache in {self.store.describe()} could not {verb} and is not used from now on: {error}",
                CacheWarning,
                stacklevel=2,
            )


def name_of(store: BaseStore) -> str:
    """A name for a store's data: from its spec if the data outlive it, otherwise a unique one.

    Environment variables are expanded, and the working directory is added where a text may be a relative
    path, so that different stores have different names. What only says how to reach the data is left out:
    secrets, and layers that do not change it.
    """
    if not store.capabilities.persistent:
        return str(uuid.uuid4())
    try:
        spec = redact_options(expand(as_templates(store.spec())))
    except ConfigurationError:
        return str(uuid.uuid4())
    spec["layers"] = [layer for layer in spec.get("layers", []) if layer["layer"] not in TRANSPARENT]
    directory = os.getcwd() if any(map(_may_be_relative, _texts(spec))) else ""  # noqa: PTH109
    return json.dumps([directory, spec], sort_keys=True)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a spec except class names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in {"store", "layer"}:
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _may_be_relative(text: str) -> bool:
    return text != HIDDEN and "://" not in text and not os.path.isabs(text)  # noqa: PTH117


def _folders(folder: str) -> str:
    return folder.replace("/", ".d/")


def _size(place: str, length: int) -> int:
    return len(place.encode()) + length
