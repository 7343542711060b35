"""Which thread fetches or writes what: the bookkeeping that keeps a cache right under contention.

One lock, held for bookkeeping only. What makes it right:

* An answer enters the cache only if no write of its key was under way at any moment since its question was sent.
* A write first forgets what it changes and cuts off the fetches under way: threads waiting for them began
  before the write and may get the old value; no thread joins them any more, and they leave nothing behind.
* While a write is under way, reads of its keys ask by themselves and leave nothing behind either.
* A thread sends its own questions before it waits for those of others, so there is no deadlock.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zarrv3.forks import renew_in_children
from zarrv3.store.contract import ByteRange, Changes
from zarrv3.store.keys import parent
from zarrv3_layer_lru_cache.entries import FOLDER, MISS, SIZE, Entries, Item, Part, Statistics, lists


class Flight:
    """Questions that one thread is asking; others may wait for the answers."""

    __slots__ = ("answers", "asked", "born", "done", "error", "loose")

    def __init__(self, born: float) -> None:
        self.born = born
        self.asked: dict[Item, None] = {}
        self.loose: set[Item] = set()  # what must not be remembered
        self.done = threading.Event()
        self.answers: dict[Item, Any] | None = None
        self.error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """The result of looking into the cache for a batch of questions."""

    found: dict[Item, Any]
    """What was remembered."""
    own: Flight
    """What the caller has to ask now."""
    sources: dict[Item, tuple[Flight, Item]]
    """For every question without an answer: the flight that asks it, and as what."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write that is under way."""

    keys: frozenset[str]
    folders: tuple[str, ...]
    """Folders below which anything may change."""
    above: frozenset[str]
    """The other folders whose listings may change."""
    written: dict[str, bytes] = field(default_factory=dict)
    """The certain values of keys after the write: filled in by the writer when it succeeded."""


class Ledger:
    """The cache and everything under way around it; thread-safe."""

    def __init__(self, max_size: int | None, ttl: float | None, clock: Callable[[], float]) -> None:
        self._arguments = max_size, ttl, clock
        self._clock = clock
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Start again empty: in a forked child, where the parent's threads are gone."""
        self._lock = threading.Condition(threading.Lock())
        self._entries = Entries(*self._arguments)
        self._flights: dict[str, dict[Part, Flight]] = {}
        self._writers: dict[str, tuple[int, bool]] = {}  # how many, and whether ever more than one at once
        self._below: Counter[str] = Counter()
        self._above: Counter[str] = Counter()
        self._storing: Counter[str] = Counter()
        self._hits = self._misses = 0

    # ------------------------------------------------------------ reading

    def look(self, items: Sequence[Item]) -> Look:
        """Answer what is known, and say for the rest which thread asks it."""
        with self._lock:
            answers: dict[Item, Any] = {}
            open_: list[Item] = []
            for item in dict.fromkeys(items):
                answer = self._entries.get(item)
                if answer is MISS:
                    open_.append(item)
                else:
                    answers[item] = answer
            own = Flight(self._clock())
            open_.sort(key=_is_range)  # whole values first: they answer ranges
            sources = {item: self._source(item, own) for item in open_}
            misses = sum(1 for item in items if item in sources) if sources else 0
            if items and items[0][1] not in {FOLDER, SIZE}:
                self._misses += misses
                self._hits += len(items) - misses
            return Look(answers, own, sources)

    def _source(self, item: Item, own: Flight) -> tuple[Flight, Item]:
        key, part = item
        flights = self._flights.get(key)
        if isinstance(part, ByteRange):
            if (key, None) in own.asked:
                return own, (key, None)
            if flights is not None and None in flights:
                return flights[None], (key, None)
        if flights is not None and part in flights:
            return flights[part], item
        own.asked[item] = None
        if self._is_changing(item):
            own.loose.add(item)
        else:
            self._flights.setdefault(key, {})[part] = own
        return own, item

    def _is_changing(self, item: Item) -> bool:
        key, part = item
        if part == FOLDER:
            return key in self._above or any(key.startswith(folder) for folder in self._below)
        return key in self._writers or any(key.startswith(folder) for folder in self._below)

    def land(
        self, flight: Flight, answers: dict[Item, Any], ages: Mapping[str, float], *, claim: bool
    ) -> list[str]:
        """Hand out the answers and remember them where that is right.

        Args:
            flight: what was asked.
            answers: the answers.
            ages: how old the values of some keys were, in seconds, when they were asked for.
            claim: whether there is a second tier.

        Returns the keys whose values the caller may put into the second tier now: all but those with an age, which came
        from there. Writers of these keys wait until it calls `stored`.
        """
        with self._lock:
            claimed = []
            for item, answer in answers.items():
                if item in flight.loose:
                    continue
                self._leave(item)
                key, part = item
                self._entries.put(item, answer, flight.born - ages.get(key, 0.0))
                if claim and part is None and answer is not None and key not in ages:
                    self._storing[key] += 1
                    claimed.append(key)
            flight.answers = answers
        flight.done.set()
        return claimed

    def stored(self, claimed: Iterable[str]) -> None:
        """Note that the caller has put what it claimed into the second tier, or has given up."""
        with self._lock:
            self._storing -= Counter(claimed)
            self._lock.notify_all()

    def fail(self, flight: Flight, error: BaseException) -> None:
        """Tell waiting threads that there are no answers; nothing is remembered."""
        with self._lock:
            for key, part in flight.asked:
                if self._flights.get(key, {}).get(part) is flight:
                    self._leave((key, part))
            flight.error = error if isinstance(error, Exception) else None
        flight.done.set()

    def _leave(self, item: Item) -> None:
        key, part = item
        flights = self._flights[key]
        del flights[part]
        if not flights:
            del self._flights[key]

    # ------------------------------------------------------------ writing

    def begin(self, changes: Changes, folders: Collection[str]) -> Change:
        """Announce a write: forget what it changes, cut off fetches of it, wait for threads that put it into the second tier."""
        keys = frozenset(changes)
        above = _above((*keys, *folders))
        change = Change(keys, (*folders,), above)
        with self._lock:
            for key in keys:
                count, shared = self._writers.get(key, (0, False))
                inside = any(key.startswith(folder) for folder in self._below)
                self._writers[key] = count + 1, shared or count > 0 or inside
                self._entries.drop_key(key)
                self._cut_off(key)
            for folder in folders:
                self._begin_folder(folder)
            for folder in above:
                self._above[folder] += 1
                self._cut_off(folder)
            self._forget_listings(above, changes, folders)
            try:
                while any(self._covers(change, key) for key in self._storing):
                    self._lock.wait()
            except BaseException:  # interrupted: there will be no write
                self._end(change)
                raise
        return change

    def _begin_folder(self, folder: str) -> None:
        self._below[folder] += 1
        self._entries.drop_below(folder)
        for key, (count, _) in self._writers.items():
            if key.startswith(folder):
                self._writers[key] = count, True
        for key in [key for key in self._flights if key.startswith(folder)]:
            self._cut_off(key)

    def _forget_listings(self, above: Iterable[str], changes: Changes, folders: Collection[str]) -> None:
        stored = [key for key, value in changes.items() if value is not None]
        gone = [key for key, value in changes.items() if value is None and self._may_be_there(key)]
        for folder in above:
            listing = self._entries.listing(folder)
            if listing is not None and (
                any(name.startswith(folder) for name in folders)
                or any(not lists(listing, name) for name in _names(stored, folder))
                or any(lists(listing, name) for name in _names(gone, folder))
            ):
                self._entries.drop((folder, FOLDER))

    def _may_be_there(self, key: str) -> bool:
        listing = self._entries.listing(parent(key))
        return listing is None or lists(listing, key)

    @staticmethod
    def _covers(change: Change, key: str) -> bool:
        return key in change.keys or any(key.startswith(folder) for folder in change.folders)

    def _cut_off(self, key: str) -> None:
        """Cut off the fetches of a key or folder: no thread joins or remembers them any more."""
        for part, flight in [*self._flights.get(key, {}).items()]:
            flight.loose.add((key, part))
            self._leave((key, part))

    def end(self, change: Change) -> None:
        """The write has ended: remember what it wrote, unless another thread wrote the same keys in the meantime."""
        with self._lock:
            self._end(change)

    def _end(self, change: Change) -> None:
        now = self._clock()
        for key in change.keys:
            count, shared = self._writers[key]
            if count > 1:
                self._writers[key] = count - 1, shared
                continue
            del self._writers[key]
            if not shared and key in change.written:
                self._entries.put((key, None), change.written[key], now)
        self._below -= Counter(change.folders)
        self._above -= Counter(change.above)

    def refused(self, keys: Collection[str]) -> None:
        """Swaps were refused: another writer changed the keys, so listings may be wrong too."""
        with self._lock:
            for folder in _above(keys):
                self._entries.drop((folder, FOLDER))
                self._cut_off(folder)

    # ------------------------------------------------------------ life

    def fits(self, key: str, length: int) -> bool:
        """Whether a value of some length is small enough to be remembered."""
        return self._entries.fits(key, length)

    def invalidate(self, condition: Callable[[Part, Any], bool] | None = None) -> None:
        """Forget everything, or what the condition holds for; what is being fetched is not remembered."""
        with self._lock:
            if condition is None:
                self._entries.clear()
            else:
                self._entries.drop_where(condition)
            for key in [*self._flights]:
                self._cut_off(key)

    def statistics(self) -> Statistics:
        """The numbers as of now."""
        with self._lock:
            entries = self._entries
            return Statistics(self._hits, self._misses, entries.evictions, entries.bytes, len(entries))

    def reset_statistics(self) -> None:
        """Count hits, misses and evictions from zero."""
        with self._lock:
            self._hits = self._misses = self._entries.evictions = 0

    def snapshot(self) -> list[tuple[Item, Any, int]]:
        """What is remembered, with its sizes, the longest unused first."""
        with self._lock:
            return self._entries.items()

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        with self._lock:
            return not (self._flights or self._writers or self._below or self._above or self._storing)


def _is_range(item: Item) -> bool:
    return isinstance(item[1], ByteRange)


def _names(keys: Iterable[str], folder: str) -> Iterator[str]:
    """What a folder's listing calls the keys that lie in it: themselves, or the sub-folder they lie in."""
    for key in keys:
        if key.startswith(folder):
            end = key.find("/", len(folder))
            yield key if end < 0 else key[: end + 1]


def _above(names: Iterable[str]) -> frozenset[str]:
    """All folders that some keys or folders lie in."""
    folders: set[str] = set()
    for name in names:
        folder = name
        while folder:
            folder = parent(folder)
            if folder in folders:
                break
            folders.add(folder)
    return frozenset(folders)
