"""`LRUStoreCache`: which calls are answered from memory, and what every write does to what is remembered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

from zarrv3.layers.base import Layer
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.options.declared import Option
from zarrv3.options.environment import as_templates
from zarrv3.options.urls import byte_size, size_text
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, ByteRange, Capabilities, Changes, Request, Swaps, Versioned
from zarrv3.store.helpers import cut
from zarrv3_layer_lru_cache.entries import FOLDER, SIZE, Item, Statistics
from zarrv3_layer_lru_cache.ledger import Change, Flight, Ledger
from zarrv3_layer_lru_cache.tier import Tier, name_of

WHOLE = ByteRange()
"""The range that is the whole value."""

Fetched: TypeAlias = tuple[dict[Item, Any], Mapping[str, float]]
"""Answers, and the age in seconds of the values that come from the second tier."""


def size(text: str) -> int | None:
    """A number of bytes such as `256MiB`; `none` and `unlimited` mean no limit."""
    return None if text.lower() in {"none", "unlimited"} else byte_size(text)


_SIZE: dict[str, Any] = {
    "convert": size,
    "check": lambda number: number is None or number >= 0,
    "show": size_text,
    "takes": "a size like `256MiB`, or `None`",
}


class LRUStoreCache(Layer):
    """Remembers what was read from a store and forgets the least recently used; adapter `|lru-cache:?max_size=256MiB`.

    Answers values, ranges of them (from a whole value where that is remembered), absence, `list_dir`, `in` and the size
    of a key. Whatever is written through it changes what it remembers exactly as far as necessary. It does
    not see what others change until `ttl` has passed or `invalidate` is called. Values with versions always
    come from the store, so a swap never starts from an old value. Thread-safe; each process has a cache of
    its own.
    """

    kind = "lru-cache"
    clock = staticmethod(time.monotonic)

    def __init__(
        self,
        store: object,
        max_size: Annotated[
            int | None,
            Option(
                "how many bytes of keys and values are remembered; a larger value passes through", **_SIZE
            ),
        ] = 256 * 2**20,
        *,
        ttl: Annotated[
            float | None,
            Option(
                "after how many seconds an answer is forgotten; `None` for never",
                check=lambda seconds: seconds is None or 0 < seconds < math.inf,
                takes="a positive number of seconds, or `None`",
            ),
        ] = None,
        cache_on_write: Annotated[
            bool, Option("remember written values too, not only those that are read")
        ] = True,
        cache_store: Annotated[
            StoreLike,
            Option(
                "a second tier, which keeps whole values beyond the process and should hold nothing else",
                takes="a store, URL or configuration",
            ),
        ] = None,
        cache_store_size: Annotated[
            int | None, Option("how many bytes the second tier may occupy", **_SIZE)
        ] = 10 * 2**30,
        cache_name: Annotated[
            str | None,
            Option(
                "the name under which the second tier keeps the values; by default derived from the store"
            ),
        ] = None,
    ) -> None:
        super().__init__(
            store,
            max_size=max_size,
            ttl=ttl,
            cache_on_write=cache_on_write,
            cache_store=cache_store,
            cache_store_size=cache_store_size,
            cache_name=cache_name,
        )
        ttl = self.option("ttl")
        self._on_write: bool = self.option("cache_on_write")
        self._ledger = Ledger(self.option("max_size"), ttl, self.clock)
        self._owns = not isinstance(cache_store, BaseStore)
        self._tier: Tier | None = None
        if cache_store is not None:
            self._tier = Tier(as_store(cache_store), self.option("cache_store_size"), ttl, self._name)

    def _name(self) -> str:
        given = self.option("cache_name")
        return name_of(self.inner) if given is None else f"name {given}"

    @property
    def capabilities(self) -> Capabilities:
        """The inner ones without `shared`: what another process writes is not seen at once."""
        return self.inner.capabilities.without("shared")

    @property
    def remembers(self) -> bool:
        """Always true; but parts that one call asks for are of one version."""
        return True

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says; what is not remembered is fetched in one call, unless another thread is fetching it."""
        items: list[Item] = [
            (request.key, None if request.range == WHOLE else request.range) for request in requests
        ]
        return self._answers(items, self._fetch)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says, bypassing what is remembered."""
        return self.inner.get_versioned(keys)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        def fetch(items: Sequence[Item]) -> Fetched:
            return dict(zip(items, self.inner.stat_many([key for key, _ in items]), strict=True)), {}

        return self._answers([(key, SIZE) for key in keys], fetch)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; a folder that is not remembered is listed to its end when the first name is asked for."""

        def fetch(items: Sequence[Item]) -> Fetched:
            return dict.fromkeys(items, sorted(self.inner.list_dir(folder))), {}

        (names,) = self._answers([(folder, FOLDER)], fetch)
        yield from names

    def _answers(self, items: Sequence[Item], fetch: Callable[[Sequence[Item]], Fetched]) -> list[Any]:
        """The answers in the order of the questions: remembered, fetched in one call, or awaited from other threads."""
        own = Flight(self.clock())
        with own.storing:
            with own.flying:
                look = self._ledger.look(items, own)
                if own.asked:
                    self._fly(own, fetch)
            if self._tier is not None and own.claimed:
                values = own.answers or {}
                self._tier.put({key: values[key, None] for key in own.claimed}, self.clock() - own.born)
        answers = look.found
        again: list[Item] = []
        for item, (flight, source) in look.sources.items():
            with flight.flying:
                pass
            if flight.answers is not None:
                answers[item] = _part_of(flight.answers[source], item, source)
            elif flight.error is not None and flight.asked.keys() <= {*items}:
                raise flight.error
            else:  # what failed may have been another key in another thread's batch
                again.append(item)
        if again:  # together with what else of their keys was asked for: all is to be of one version
            keys = {key for key, _ in again}
            answers.update(fetch([item for item in dict.fromkeys(items) if item[0] in keys])[0])
        return [answers[item] for item in items]

    def _fly(self, flight: Flight, fetch: Callable[[Sequence[Item]], Fetched]) -> None:
        """Ask what this thread has to ask."""
        try:
            answers, ages = fetch([*flight.asked])
        except Exception as error:
            self._ledger.fail(flight, error)
            raise
        self._ledger.land(flight, answers, ages, claim=self._tier is not None)

    def _fetch(self, items: Sequence[Item]) -> Fetched:
        """Values and ranges from the second tier where it has them, the rest from the inner store, by one call each."""
        answers: dict[Item, Any] = {}
        ages: dict[str, float] = {}
        if self._tier is not None:
            held = self._tier.get([*dict.fromkeys(key for key, _ in items)])
            for key, part in items:
                if key in held:
                    value, ages[key] = held[key]
                    answers[key, part] = _part_of(value, (key, part), (key, None))
        rest = [item for item in items if item not in answers]
        if rest:
            values = self.inner.get_many([Request(*item) for item in rest])  # type: ignore[arg-type]  # no FOLDER, no SIZE
            answers |= {item: _own(value) for item, value in zip(rest, values, strict=True)}
        return answers, ages

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        self._write(changes, self.inner.write_many)

    def apply_many(self, changes: Changes, /) -> None:
        self._write(changes, self.inner.apply_many)

    def _write(self, changes: Changes, write: Callable[[Changes], None]) -> None:
        kept = self._kept(changes)

        def written() -> dict[str, bytes]:
            write(changes)
            return kept

        self._change(written, changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; what was remembered of refused keys, and of their folders, is forgotten."""
        changes = {key: new for key, (_, new) in swaps.items()}
        kept = self._kept(changes)
        refused: set[str] = set()

        def swapped() -> dict[str, bytes]:
            refused.update(self.inner.swap_many(swaps))
            self._ledger.refused(refused)
            return {key: kept[key] for key in kept.keys() - refused}

        self._change(swapped, changes)
        return refused

    def erase_prefix(self, folder: str, /) -> None:
        self._change(lambda: self.inner.erase_prefix(folder), folders=[folder])

    def rename_prefix(self, source: str, target: str, /) -> None:
        self._change(lambda: self.inner.rename_prefix(source, target), folders=[source, target])

    def _kept(self, changes: Changes) -> dict[str, bytes]:
        """What to remember if the write succeeds: copies of buffers that the caller may change afterwards."""
        if not self._on_write:
            return {}
        fits = self._ledger.fits
        return {k: bytes(value) for k, value in changes.items() if value is not None and fits(k, len(value))}

    def _change(
        self,
        write: Callable[[], Mapping[str, bytes] | None],
        changes: Changes = MappingProxyType({}),
        folders: Collection[str] = (),
    ) -> None:
        """Forget what a write changes, before it; what it returns is remembered, if it succeeds.

        When a write fails half-way the values are unknown, and nothing is remembered. The second tier forgets
        before the write too: if this process is killed in between, no other one finds an old value there.
        """
        change = Change.of(changes, folders)
        under_way = self._ledger.under_way
        try:
            self._ledger.begin(change, changes)
            if self._tier is not None:
                self._tier.drop(change.keys, change.folders)
            self._ledger.end(change, write() or {})
        finally:
            under_way.discard(change)  # nothing of ours, which could be interrupted

    # ------------------------------------------------------------ what is remembered

    @property
    def statistics(self) -> Statistics:
        """Hits, misses and evictions since the beginning or `reset_statistics`, and the bytes and entries held now."""
        return self._ledger.statistics()

    def cache_info(self) -> dict[str, Any]:
        """What zarr-python's `CacheStore` tells of itself."""
        held, tier = self.statistics, self._tier
        ttl = self.option("ttl")
        return {
            "cache_store_type": "None" if tier is None else type(tier.store).__name__,
            "max_age_seconds": "infinity" if ttl is None else ttl,
            "max_size": self.option("max_size" if tier is None else "cache_store_size"),
            "current_size": held.bytes,
            "cache_set_data": self._on_write,
            "tracked_keys": held.entries,
            "cached_keys": held.entries,
        }

    def cache_stats(self) -> dict[str, Any]:
        """Hits, misses and evictions as zarr-python's `CacheStore` counts them."""
        counted = self.statistics
        total = counted.hits + counted.misses
        return {
            "hits": counted.hits,
            "misses": counted.misses,
            "evictions": counted.evictions,
            "total_requests": total,
            "hit_rate": counted.hits / total if total else 0.0,
        }

    async def clear_cache(self) -> None:
        """`invalidate`, which zarr-python's `CacheStore` has as a coroutine."""
        self.invalidate()

    def reset_statistics(self) -> None:
        """Count hits, misses and evictions from zero."""
        self._ledger.reset_statistics()

    @property
    def hits(self) -> int:
        """How many values and ranges were answered from memory."""
        return self.statistics.hits

    @property
    def misses(self) -> int:
        """How many values and ranges were not."""
        return self.statistics.misses

    def invalidate(self) -> None:
        """Forget everything, in the second tier too: changes by others are seen from now on."""
        self._ledger.invalidate()
        if self._tier is not None:
            self._change(self._tier.revive, folders=[""])

    def invalidate_values(self) -> None:
        """Forget values and absence; with a second tier, everything."""
        if self._tier is not None:
            self.invalidate()
        self._ledger.invalidate(lambda part, _: part not in {FOLDER, SIZE})

    def invalidate_keys(self) -> None:
        """Forget listings, sizes, and which keys are missing."""
        self._ledger.invalidate(lambda part, value: part in {FOLDER, SIZE} or value is None)

    # ------------------------------------------------------------ life

    def close(self) -> None:
        """Close the inner store, and the second tier if it was given by URL or configuration; forget everything."""
        try:
            self.inner.close()
        finally:
            self._ledger.invalidate()
            if self._tier is not None:
                self._tier.close(own=self._owns)

    def spec(self) -> dict[str, JSON]:
        """The inner store's spec with this layer's added; a second tier given as an object appears as its own spec."""
        cache = self.given_options["cache_store"]
        if not isinstance(cache, BaseStore):
            return super().spec()
        plain = type(self)(self.inner, **{**self.given_options, "cache_store": as_templates(cache.spec())})
        return plain.spec()

    def identity(self) -> Any:
        """The options, with the second tier as a store."""
        inner, options = super().identity()
        return inner, {**options, "cache_store": self._tier and self._tier.store}


def _own(value: Buffer | None) -> bytes | None:
    """A value that the caller cannot change."""
    return value if value is None or type(value) is bytes else bytes(value)


def _part_of(answer: Any, item: Item, source: Item) -> Any:
    """The answer to a question from the answer to a larger one."""
    part = item[1]
    return cut(answer, part) if item != source and isinstance(part, ByteRange) else answer
