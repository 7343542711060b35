"""A cache of decoded chunks: what an array read last need not be fetched and decoded again.

    cache = ChunkCache("64MiB")
    array = zarrv3.open_array(store, chunk_cache=cache)

It is asked by reading only. Writing part of a chunk always reads the chunk from the store, so that what others wrote to
the rest of it meanwhile is kept.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zarrv3.forks import renew_in_children
from zarrv3.options.urls import byte_size
from zarrv3.store.base import BaseStore

Chunk: TypeAlias = np.ndarray[Any, Any] | None
"""A decoded chunk that nobody can write to; `None` is one that is not stored."""

Place: TypeAlias = tuple[int, str]
"""Which store, and the key of a chunk there."""

ENTRY_BYTES = 256
"""What a chunk counts in addition to its elements: about what Python needs to remember it."""


class Reading(NamedTuple):
    """One look into the cache: what was there, and which of the rest may be remembered when it has been fetched."""

    remembered: dict[str, Chunk]
    open: set[Place]


class ChunkStatistics(NamedTuple):
    """What a cache has done since it was made, and what it holds."""

    hits: int = 0
    """Chunks that were remembered when they were asked for, absent ones included."""
    misses: int = 0
    """Chunks that had to be fetched."""
    evictions: int = 0
    """Chunks that went to make room."""
    bytes: int = 0
    """The size of all chunks: their elements, and 256 bytes for each chunk."""
    chunks: int = 0
    """How many chunks are held."""


class ChunkCache:
    """Decoded chunks of any number of arrays, at most `max_size` bytes; those unused longest go first. Thread-safe.

    Arrays that share a cache and were opened from one store object see each other's writes. What others write is not
    seen before `invalidate`, or `refresh` of the array. A pickled or forked copy begins empty.

    Args:
        max_size: how many bytes, as a number or as text such as `"64MiB"`.
    """

    def __init__(self, max_size: int | str) -> None:
        self.max_size = byte_size(max_size)
        self._stores: dict[int, weakref.ref[BaseStore]] = {}
        self._numbers = count()
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Begin again with nothing: in a forked child, where the threads that were at work are gone."""
        self._lock = threading.Lock()
        self._chunks: OrderedDict[Place, tuple[str, Chunk]] = OrderedDict()
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0
        self._changing: Counter[Place] = Counter()
        self._readings: dict[int, Reading] = {}

    @property
    def statistics(self) -> ChunkStatistics:
        """The numbers as of now."""
        with self._lock:
            return ChunkStatistics(self._hits, self._misses, self._evictions, self._bytes, len(self._chunks))

    def invalidate(self) -> None:
        """Forget everything; chunks that are being fetched are not remembered."""
        with self._lock:
            self._chunks.clear()
            self._bytes = 0
            self._readings.clear()

    def of(self, store: BaseStore, form: str) -> ArrayChunks:
        """The part of the cache for chunks of one store object that have one form."""
        with self._lock:
            self._stores = {number: ref for number, ref in self._stores.items() if ref() is not None}
            known = next((number for number, ref in self._stores.items() if ref() is store), None)
            number = next(self._numbers) if known is None else known
            self._stores[number] = weakref.ref(store)
        return ArrayChunks(self, number, form)

    def _forget(self, places: Collection[Place]) -> None:
        for place in places:
            self._drop(place)
        for reading in self._readings.values():
            reading.open.difference_update(places)

    def _drop(self, place: Place) -> None:
        entry = self._chunks.pop(place, None)
        if entry is not None:
            self._bytes -= _size(entry[1])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the size, not the content."""
        return type(self), (self.max_size,)

    def __repr__(self) -> str:
        return f"<ChunkCache {self.statistics.bytes} of {self.max_size} bytes>"


class ArrayChunks(NamedTuple):
    """A cache as one array sees it. Thread-safe."""

    cache: ChunkCache
    number: int
    """Which store."""
    form: str
    """What the bytes of a chunk mean: chunks of another form are not remembered, though they have the same key."""

    def look(self, keys: Sequence[str]) -> Reading:
        """What is remembered of some chunks, and the right to have the others remembered; `land` comes after it."""
        cache = self.cache
        reading = Reading({}, set())
        with cache._lock:
            for key in keys:
                place = self.number, key
                form, chunk = cache._chunks.get(place, (None, None))
                if form == self.form:
                    cache._chunks.move_to_end(place)
                    reading.remembered[key] = chunk
                elif not cache._changing[place]:
                    reading.open.add(place)
            cache._hits += len(reading.remembered)
            cache._misses += len(keys) - len(reading.remembered)
            cache._readings[id(reading)] = reading
            return reading

    def land(self, reading: Reading, chunks: Mapping[str, Chunk]) -> None:
        """Remember what was fetched after a look, but for what has been changed or forgotten since; the chunks become read-only."""
        cache = self.cache
        for chunk in chunks.values():
            if chunk is not None:
                chunk.flags.writeable = False
        with cache._lock:
            if cache._readings.pop(id(reading), None) is None:
                return
            for key, chunk in chunks.items():
                place, size = (self.number, key), _size(chunk)
                if place in reading.open and size <= cache.max_size:
                    cache._drop(place)
                    cache._chunks[place] = self.form, chunk
                    cache._bytes += size
            while cache._bytes > cache.max_size and cache._chunks:
                cache._drop(next(iter(cache._chunks)))
                cache._evictions += 1
            if not cache._chunks:
                cache._bytes = 0  # an interrupt may have come between a chunk and its size

    @contextmanager
    def changing(self, keys: Collection[str]) -> Iterator[None]:
        """A block in which chunks are changed: what is read before its end is not remembered."""
        cache, places = self.cache, [(self.number, key) for key in keys]
        with cache._lock:
            cache._forget(places)
            cache._changing.update(places)
        try:
            yield
        finally:
            with cache._lock:
                cache._changing -= Counter(places)

    def forget(self, folder: str) -> None:
        """Forget the chunks below a folder."""
        cache = self.cache
        with cache._lock:
            known = {*cache._chunks}.union(*(reading.open for reading in cache._readings.values()))
            cache._forget(
                [place for place in known if place[0] == self.number and place[1].startswith(folder)]
            )


def as_cache(cache: ChunkCache | int | str | None) -> ChunkCache | None:
    """A cache as it is, or a new one of some size."""
    return cache if cache is None or isinstance(cache, ChunkCache) else ChunkCache(cache)


def _size(chunk: Chunk) -> int:
    return ENTRY_BYTES + (0 if chunk is None else chunk.nbytes)
