"""Which thread fetches or writes what: the bookkeeping that keeps a cache right under contention.

One lock, held for bookkeeping only. What makes it right:

* An answer enters the cache only if no write of its key was under way at any moment since its question was sent.
* A write first forgets what it changes and cuts off the fetches under way: threads waiting for them began
  before the write and may get the old value; no thread joins them any more, and they leave nothing behind.
* While a write is under way, reads of its keys ask by themselves and leave nothing behind either.
* A thread sends its own questions before it waits for those of others, so there is no deadlock.
* What others wait for is a lock that its thread holds in a `with` block: an interrupt (Ctrl-C) ends that, too. Bookkeeping
  that an interrupt has cut short makes whoever comes next forget everything.
* Parts of one value that are asked for in one batch are of one version, also where others change it: all are remembered, or all
  are fetched by one call. Where one of them is not what was remembered of it, everything else of that value is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from zarrv3.forks import renew_in_children
from zarrv3.store.contract import ByteRange, Changes
from zarrv3.store.keys import parent
from zarrv3_layer_lru_cache.entries import FOLDER, MISS, SIZE, Entries, Item, Part, Statistics, lists

P = ParamSpec("P")
R = TypeVar("R")


class Flight:
    """Questions that one thread is asking; others may wait for the answers."""

    __slots__ = ("answers", "asked", "born", "claimed", "error", "flying", "storing")

    def __init__(self, born: float) -> None:
        self.born = born
        self.asked: dict[Item, None] = {}
        self.answers: dict[Item, Any] | None = None
        self.error: Exception | None = None
        self.flying = threading.Lock()
        """Held by the thread until the answers are there, or will not come."""
        self.claimed: list[str] = []
        """The keys whose values go into the second tier."""
        self.storing = threading.Lock()
        """Held by the thread until they are there; writers of these keys wait for it."""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of looking into the cache for a batch of questions."""

    found: dict[Item, Any]
    """What was remembered."""
    sources: dict[Item, tuple[Flight, Item]]
    """For every question without an answer: the flight that asks it, and as what."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A write that is under way."""

    keys: frozenset[str]
    folders: tuple[str, ...]
    """Folders below which anything may change."""
    above: frozenset[str]
    """The other folders whose listings may change."""
    contested: set[str] = field(default_factory=set)
    """Those of its keys that another write changed at the same time."""

    @classmethod
    def of(cls, keys: Collection[str], folders: Collection[str]) -> Change:
        """A write of some keys, or of whole folders."""
        return cls(frozenset(keys), (*folders,), _above((*keys, *folders)))

    def covers(self, key: str) -> bool:
        """Whether it may change a key."""
        return key in self.keys or key.startswith(self.folders)


def _bookkeeping(
    method: Callable[Concatenate[Ledger, P], R],
) -> Callable[Concatenate[Ledger, P], R]:
    """Run a method under the lock; if the last one was cut short, forget what it has left first."""

    @wraps(method)
    def locked(self: Ledger, /, *arguments: P.args, **options: P.kwargs) -> R:
        with self._lock:
            if self._is_torn:
                self._forget_all()
            self._is_torn = True
            result = method(self, *arguments, **options)
            self._is_torn = False
            return result

    return locked


class Ledger:
    """The cache and everything under way around it; thread-safe."""

    def __init__(self, max_size: int | None, ttl: float | None, clock: Callable[[], float]) -> None:
        self._arguments = max_size, ttl, clock
        self._clock = clock
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Start again empty: in a forked child, where the parent's threads are gone."""
        self._lock = threading.Lock()
        self._hits = self._misses = 0
        self.under_way: set[Change] = set()
        """The writes under way; who begins one takes it away at the end, without the lock."""
        self._storing: set[Flight] = set()
        self._is_torn = False
        self._forget_all()

    def _forget_all(self) -> None:
        self._entries = Entries(*self._arguments)
        self._flights: dict[str, dict[Part, Flight]] = {}

    # ------------------------------------------------------------ reading

    @_bookkeeping
    def look(self, items: Sequence[Item], own: Flight) -> Look:
        """Answer what is known, and say for the rest which thread asks it: by the `own` flight, or by another."""
        answers: dict[Item, Any] = {}
        open_: list[Item] = []
        for item in dict.fromkeys(items):
            answer = self._entries.get(item)
            if answer is MISS:
                open_.append(item)
            else:
                answers[item] = answer
        if open_ and answers:
            incomplete = {key for key, part in open_ if part not in {FOLDER, SIZE}}
            open_ += [item for item in answers if item[0] in incomplete]
            for item in open_:
                answers.pop(item, None)
        open_.sort(key=_is_range)  # whole values first: they answer ranges
        apart = self._apart(open_)
        sources = {item: self._source(item, own, apart) for item in open_}
        misses = sum(1 for item in items if item in sources) if sources else 0
        if items and items[0][1] not in {FOLDER, SIZE}:
            self._misses += misses
            self._hits += len(items) - misses
        return Look(answers, sources)

    def _apart(self, items: Sequence[Item]) -> set[str]:
        """The keys of which several parts are asked for that no single flight will bring, but others bring some."""
        sources: dict[str, set[Flight | None]] = {}
        for key, part in items:
            flights = {
                p: flight for p, flight in self._flights.get(key, {}).items() if flight.flying.locked()
            }
            sources.setdefault(key, set()).add(flights.get(None, flights.get(part)))
        return {key for key, flights in sources.items() if len(flights) > 1}

    def _source(self, item: Item, own: Flight, apart: Collection[str]) -> tuple[Flight, Item]:
        key, part = item
        flights = {} if key in apart else self._flights.get(key, {})
        if isinstance(part, ByteRange):
            if (key, None) in own.asked:
                return own, (key, None)
            if None in flights and flights[None].flying.locked():
                return flights[None], (key, None)
        if part in flights and flights[part].flying.locked():
            return flights[part], item
        own.asked[item] = None
        if key not in apart and not self._is_changing(item):
            self._flights.setdefault(key, {})[part] = own
        return own, item

    def _is_changing(self, item: Item) -> bool:
        key, part = item
        if part == FOLDER:
            return any(key in change.above or key.startswith(change.folders) for change in [*self.under_way])
        return any(change.covers(key) for change in [*self.under_way])

    @_bookkeeping
    def land(
        self, flight: Flight, answers: dict[Item, Any], ages: Mapping[str, float], *, claim: bool
    ) -> None:
        """Hand out the answers and remember them where that is right.

        Args:
            flight: what was asked.
            answers: the answers.
            ages: how old the values of some keys were, in seconds, when they were asked for.
            claim: whether there is a second tier. Then the flight claims the keys whose values go there now: all but those
                with an age, which came from there.
        """
        wanted = [item for item in answers if self._leave(item, flight)]
        for item in wanted:
            if self._entries.contradicts(item, answers[item]):
                self._entries.drop_key(item[0])
        for item in wanted:
            (key, part), answer = item, answers[item]
            self._entries.put(item, answer, flight.born - ages.get(key, 0.0))
            if claim and part is None and answer is not None and key not in ages:
                flight.claimed.append(key)
        if flight.claimed:
            self._storing = {other for other in self._storing if other.storing.locked()} | {flight}
        flight.answers = answers

    @_bookkeeping
    def fail(self, flight: Flight, error: Exception) -> None:
        """Tell waiting threads that there are no answers; nothing is remembered."""
        for item in flight.asked:
            self._leave(item, flight)
        flight.error = error

    def _leave(self, item: Item, flight: Flight) -> bool:
        """Take a flight off the list; whether its answer is still wanted."""
        key, part = item
        flights = self._flights.get(key, {})
        if flights.get(part) is not flight:
            return False
        del flights[part]
        if not flights:
            del self._flights[key]
        return True

    # ------------------------------------------------------------ writing

    def begin(self, change: Change, changes: Changes) -> None:
        """Announce a write: forget what it changes, cut off fetches of it, wait for threads that put it into the second tier."""
        for flight in self._announced(change, changes):
            with flight.storing:
                pass

    @_bookkeeping
    def _announced(self, change: Change, changes: Changes) -> list[Flight]:
        for other in [*self.under_way]:
            contested = {key for key in change.keys if other.covers(key)}
            contested.update(key for key in other.keys if change.covers(key))
            change.contested.update(contested)
            other.contested.update(contested)
        self.under_way.add(change)
        for key in change.keys:
            self._entries.drop_key(key)
            self._flights.pop(key, None)
        for folder in change.folders:
            self._entries.drop_below(folder)
            for key in [key for key in self._flights if key.startswith(folder)]:
                del self._flights[key]
        for folder in change.above:
            self._flights.pop(folder, None)
        self._forget_listings(change, changes)
        return [flight for flight in self._storing if any(map(change.covers, flight.claimed))]

    def _forget_listings(self, change: Change, changes: Changes) -> None:
        stored = [key for key, value in changes.items() if value is not None]
        gone = [key for key, value in changes.items() if value is None and self._may_be_there(key)]
        for folder in change.above:
            listing = self._entries.listing(folder)
            if listing is not None and (
                any(name.startswith(folder) for name in change.folders)
                or any(not lists(listing, name) for name in _names(stored, folder))
                or any(lists(listing, name) for name in _names(gone, folder))
            ):
                self._entries.drop((folder, FOLDER))

    def _may_be_there(self, key: str) -> bool:
        listing = self._entries.listing(parent(key))
        return listing is None or lists(listing, key)

    @_bookkeeping
    def end(self, change: Change, written: Mapping[str, bytes]) -> None:
        """Remember what a write has written, unless another one changed the same keys in the meantime."""
        now = self._clock()
        self.under_way.discard(change)
        for key, value in written.items():
            if key not in change.contested:
                self._entries.put((key, None), value, now)

    @_bookkeeping
    def refused(self, keys: Collection[str]) -> None:
        """Swaps were refused: another writer changed the keys, so listings may be wrong too."""
        for folder in _above(keys):
            self._entries.drop((folder, FOLDER))
            self._flights.pop(folder, None)

    # ------------------------------------------------------------ life

    def fits(self, key: str, length: int) -> bool:
        """Whether a value of some length is small enough to be remembered."""
        return self._entries.fits(key, length)

    @_bookkeeping
    def invalidate(self, condition: Callable[[Part, Any], bool] | None = None) -> None:
        """Forget everything, or what the condition holds for; what is being fetched is not remembered."""
        if condition is None:
            self._entries.clear()
        else:
            self._entries.drop_where(condition)
        self._flights.clear()

    @_bookkeeping
    def statistics(self) -> Statistics:
        """The numbers as of now."""
        entries = self._entries
        return Statistics(self._hits, self._misses, entries.evictions, entries.bytes, len(entries))

    @_bookkeeping
    def reset_statistics(self) -> None:
        """Count hits, misses and evictions from zero."""
        self._hits = self._misses = self._entries.evictions = 0

    @_bookkeeping
    def snapshot(self) -> list[tuple[Item, Any, int]]:
        """What is remembered, with its sizes, the longest unused first."""
        return self._entries.items()

    @_bookkeeping
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        flying = any(flight.flying.locked() for those in self._flights.values() for flight in those.values())
        return not (flying or self.under_way or any(flight.storing.locked() for flight in self._storing))


def _is_range(item: Item) -> bool:
    return isinstance(item[1], ByteRange)


def _names(keys: Collection[str], folder: str) -> Iterator[str]:
    """What a folder's listing calls the keys that lie in it: themselves, or the sub-folder they lie in."""
    for key in keys:
        if key.startswith(folder):
            end = key.find("/", len(folder))
            yield key if end < 0 else key[: end + 1]


def _above(names: Collection[str]) -> frozenset[str]:
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
