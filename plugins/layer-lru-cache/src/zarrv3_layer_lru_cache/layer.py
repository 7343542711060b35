"""`LRUStoreCache`: which calls are answered from memory, and what every write does to what is remembered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

from zarrv3.layers.base import Layer
from zarrv3.opening.stores import StoreLike, as_store
from zarrv3.options.declared import Option
from zarrv3.options.environment import as_templates
from zarrv3.options.urls import byte_size, size_text
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, ByteRange, Capabilities, Request
from zarrv3.store.helpers import cut
from zarrv3.store.keys import check_folder, check_key, check_keys, check_where
from zarrv3_layer_lru_cache.entries import FOLDER, SIZE, Item, Statistics
from zarrv3_layer_lru_cache.ledger import Change, Flight, Ledger
from zarrv3_layer_lru_cache.tier import Tier, name_of

WHOLE = ByteRange()
"""The range that is the whole value."""

Fetched: TypeAlias = tuple[dict[Item, Any], Mapping[str, float]]
"""Answers, and of those keys whose values come from a second tier how many seconds old they are."""


def size(text: str) -> int | None:
    """A number of bytes such as `256MiB`; `none` and `unlimited` are no limit."""
    return None if text.lower() in {"none", "unlimited"} else byte_size(text)


_SIZE: dict[str, Any] = {
    "convert": size,
    "check": lambda number: number is None or number >= 0,
    "show": size_text,
    "takes": "a size like `256MiB`, or `None`",
}


class LRUStoreCache(Layer):
    """Remembers what was read of a store and forgets what was unused longest; adapter `|lru-cache:?max_size=256MiB`.

    Answers values, ranges of them (from a whole value where that is remembered), absence, `list_dir`, `in` and the size
    of a key. Whatever is written through it changes what it remembers exactly as far as necessary. What others change it
    does not see before `ttl` has passed or `invalidate` was called. Thread-safe; each process has a cache of its own.
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
                "after how many seconds an answer is forgotten; `None` is never",
                check=lambda seconds: seconds is None or 0 < seconds < math.inf,
                takes="a positive number of seconds, or `None`",
            ),
        ] = None,
        cache_on_write: Annotated[
            bool, Option("remember values that are written too, not only those that are read")
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
                "what the second tier files the values under; by default a name that follows from the store"
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
        """The inner ones but for `shared`: what another process writes is not seen at once."""
        return self.inner.capabilities.without("shared")

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract; what is not remembered is asked for in one call, what another thread asks for is awaited."""
        if not requests:
            return self.inner.get_many(requests)
        check_keys([key for key, _ in requests])
        items: list[Item] = [
            (key, None if wanted is None or wanted == WHOLE else ByteRange(*wanted))
            for key, wanted in requests
        ]
        return self._answers(items, self._fetch)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract."""
        folder = check_folder(folder)

        def fetch(items: Sequence[Item]) -> Fetched:
            keys, folders = self.inner.list_dir(folder)
            return dict.fromkeys(items, (sorted(keys), sorted(folders))), {}

        ((keys, folders),) = self._answers([(folder, FOLDER)], fetch)
        return [*keys], [*folders]

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract; of a key it is remembered, of a folder it is not."""
        where = check_where(where)
        if not where or where.endswith("/"):
            return self.inner.sizes(where)

        def fetch(items: Sequence[Item]) -> Fetched:
            found = next(iter(self.inner.sizes(where)), None)
            return dict.fromkeys(items, None if found is None else found[1]), {}

        (found,) = self._answers([(where, SIZE)], fetch)
        return iter([] if found is None else [(where, found)])

    def _answers(self, items: Sequence[Item], fetch: Callable[[Sequence[Item]], Fetched]) -> list[Any]:
        """The answers in the order of the questions: remembered, fetched in one call, or awaited from other threads."""
        look = self._ledger.look(items)
        found = look.found
        if look.own.asked:
            self._fly(look.own, fetch)
        again: list[Item] = []
        for item, (flight, source) in look.sources.items():
            flight.done.wait()
            if flight.answers is not None:
                found[item] = _part_of(flight.answers[source], item, source)
            elif flight.error is not None and flight.asked.keys() <= {*items}:
                raise flight.error
            else:  # what failed may have been another key, which somebody else asked for in the same batch
                again.append(item)
        if again:
            found.update(fetch(again)[0])
        return [found[item] for item in items]

    def _fly(self, flight: Flight, fetch: Callable[[Sequence[Item]], Fetched]) -> None:
        """Ask what this thread has to ask, and tell those who wait."""
        try:
            answers, ages = fetch([*flight.asked])
            claimed = self._ledger.land(flight, answers, ages, claim=self._tier is not None)
        except BaseException as error:
            self._ledger.fail(flight, error)
            raise
        if self._tier is not None and claimed:
            try:
                self._tier.put({key: answers[key, None] for key in claimed}, self.clock() - flight.born)
            finally:
                self._ledger.stored(claimed)

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
            values = self.inner.get_many(rest)  # type: ignore[arg-type]  # here parts are ranges or None
            answers |= {item: _own(value) for item, value in zip(rest, values, strict=True)}
        return answers, ages

    # ------------------------------------------------------------ writing

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        check_keys(items.keys())
        kept = self._kept(items)
        with self._changing(stored=items.keys()) as change:
            self.inner.set_many(items)
            change.written.update(kept)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        check_keys(keys)
        with self._changing(erased=keys):
            self.inner.erase_many(keys)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract."""
        folder = check_folder(folder)
        with self._changing(folders=[folder]):
            self.inner.erase_prefix(folder)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract."""
        source, target = check_folder(source), check_folder(target)
        with self._changing(folders=[source, target]):
            self.inner.rename_prefix(source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract; a refused swap makes forgotten what was remembered of the key."""
        check_key(key)
        kept = {} if new is None else self._kept({key: new})
        with self._changing(**({"erased": [key]} if new is None else {"stored": [key]})) as change:
            done = self.inner.compare_and_set(key, old, new)
            if done:
                change.written.update(kept)
            else:
                self._ledger.refused(key)
        return done

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        check_keys(changes.keys())
        stored = {key: value for key, value in changes.items() if value is not None}
        kept = self._kept(stored)
        with self._changing(stored=stored, erased=changes.keys() - stored.keys()) as change:
            self.inner.apply_many(changes)
            change.written.update(kept)

    def _kept(self, items: Mapping[str, Buffer]) -> dict[str, bytes]:
        """What to remember of what is written, if that goes well: copies of what the caller may change afterwards."""
        if not self._on_write:
            return {}
        return {
            key: bytes(value)
            for key, value in items.items()
            if _is_flat(value) and self._ledger.fits(key, len(value))
        }

    @contextmanager
    def _changing(
        self, *, stored: Collection[str] = (), erased: Collection[str] = (), folders: Collection[str] = ()
    ) -> Iterator[Change]:
        """Forget what a write changes, before it; what was written is remembered only if the block ends well.

        When a write fails half-way nobody knows what a key has, and nothing is remembered. The second tier forgets before
        the write too: if this process is killed in between, no other one finds an old value there.
        """
        change = self._ledger.begin(stored, erased, folders)
        try:
            if self._tier is not None:
                self._tier.drop(change.keys, change.folders)
            yield change
        finally:
            self._ledger.end(change)

    # ------------------------------------------------------------ what is remembered

    @property
    def statistics(self) -> Statistics:
        """Hits, misses and evictions since the beginning or `reset_statistics`, and the bytes and entries held now."""
        return self._ledger.statistics()

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
        """Forget everything, in the second tier too: what others have changed is seen from now on."""
        self._ledger.invalidate()
        if self._tier is not None:
            with self._changing(folders=[""]):
                self._tier.revive()

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
        """The inner store's spec with this layer's added; a second tier given as an object stands there by its own spec."""
        cache = self._options["cache_store"]
        if not isinstance(cache, BaseStore):
            return super().spec()
        plain = type(self)(self.inner, **{**self._options, "cache_store": as_templates(cache.spec())})
        return plain.spec()


def _own(value: Buffer | None) -> bytes | None:
    """A value that nobody else can change."""
    return value if value is None or type(value) is bytes else bytes(value)


def _is_flat(value: object) -> bool:
    return isinstance(value, bytes | bytearray) or (isinstance(value, memoryview) and value.itemsize == 1)


def _part_of(answer: Any, item: Item, source: Item) -> Any:
    """The answer to a question from the answer to a larger one."""
    part = item[1]
    return cut(answer, part) if item != source and isinstance(part, ByteRange) else answer
