"""What is remembered: answers in the order of their last use, bounded by exact sizes. Not thread-safe: see `ledger`."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from zarrv3.store.contract import ByteRange
from zarrv3.store.helpers import cut

Part: TypeAlias = ByteRange | Literal["folder", "size"] | None
"""What is asked of a key: its value (`None`), a range of it, its stored size; or a folder's `list_dir`."""

Item: TypeAlias = tuple[str, Part]
"""A question for the inner store: a key or folder, and what is asked of it."""

FOLDER: Final = "folder"
SIZE: Final = "size"
MISS: Final[Any] = object()
"""Nothing is known; `None` means that a key is known to be missing."""

RANGE_BYTES = 16
"""What a range counts beside its key and bytes: two numbers."""

SHARE = 256
"""Bytes of `max_size` per entry allowed: about Python's overhead for one, beside what is counted."""

FEW = 1024
"""How many entries there may be whatever `max_size` is."""


class Statistics(NamedTuple):
    """What a cache has done since it was made or reset, and what it holds now."""

    hits: int = 0
    """Values and ranges asked for that were answered from memory, known absence included."""
    misses: int = 0
    """Values and ranges asked for that were not; several callers that waited for one request each count."""
    evictions: int = 0
    """Entries dropped to make room."""
    bytes: int = 0
    """The size of all entries: bytes of values, of keys, and 16 for each range."""
    entries: int = 0
    """How many answers are held: values, ranges, absences, sizes, folders."""


class Entry(NamedTuple):
    """An answer."""

    value: Any
    size: int
    expires: float


def size_of(item: Item, value: Any) -> int:
    """What an answer counts: the bytes of its value, its key's in UTF-8, and 16 for a range or a size."""
    key, part = item
    own = _utf8(key)
    if part == FOLDER:
        return own + sum(map(_utf8, value))
    if part is not None:
        own += RANGE_BYTES
    return own + (len(value) if isinstance(value, bytes) else 0)


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class Entries:
    """Answers by question; the longest unused one goes first. Every access costs the same, however many there are."""

    def __init__(self, max_size: int | None, ttl: float | None, clock: Callable[[], float]) -> None:
        self.max_size = max_size
        self.max_entries = None if max_size is None else max(FEW, max_size // SHARE)
        self.ttl = ttl
        self.clock = clock
        self.bytes = 0
        self.evictions = 0
        self._entries: OrderedDict[Item, Entry] = OrderedDict()
        self._parts: dict[
            str, set[Part]
        ] = {}  # of each key that has any: the answers other than the whole value

    def __len__(self) -> int:
        return len(self._entries)

    # ------------------------------------------------------------ reading

    def get(self, item: Item) -> Any:
        """The answer, made from a whole value or from known absence where that is there; `MISS` if nothing is known."""
        key, part = item
        if part != FOLDER:
            whole = self._used((key, None))
            if part is None or whole is None:
                return whole
            if whole is not MISS:
                return len(whole) if part == SIZE else cut(whole, part)
        return self._used(item)

    def _used(self, item: Item) -> Any:
        entry = self._entries.get(item)
        if entry is None:
            return MISS
        if self.ttl is not None and self.clock() >= entry.expires:
            self.drop(item)
            if item[1] != FOLDER:  # parts that are younger need not be of the version that will be fetched
                self.drop_key(item[0])
            return MISS
        self._entries.move_to_end(item)
        return entry.value

    def contradicts(self, item: Item, answer: Any) -> bool:
        """Whether another range is held under a question; this does not count as use of it."""
        entry = self._entries.get(item)
        return entry is not None and isinstance(item[1], ByteRange) and entry.value != answer

    def listing(self, folder: str) -> list[str] | None:
        """The listing of a folder, if it is held; this does not count as use of it."""
        entry = self._entries.get((folder, FOLDER))
        return None if entry is None else entry.value

    # ------------------------------------------------------------ writing

    def fits(self, key: str, length: int) -> bool:
        """Whether a whole value of some length is small enough to be held at all."""
        return self.max_size is None or _utf8(key) + length <= self.max_size

    def put(self, item: Item, value: Any, born: float) -> None:
        """Hold an answer that was true at `born`; drops what becomes redundant or no longer fits."""
        key, part = item
        if value is None:
            part = None
        if part is None:
            self.drop_key(key)
        else:
            self.drop(item)
        item = key, part
        size = size_of(item, value)
        if self.max_size is not None and size > self.max_size:
            return
        self._entries[item] = Entry(value, size, born + (self.ttl or 0))
        self.bytes += size
        if part is not None:
            self._parts.setdefault(key, set()).add(part)
        while self._is_over():
            self.drop(next(iter(self._entries)))
            self.evictions += 1

    def _is_over(self) -> bool:
        if self.max_size is None or self.max_entries is None:
            return False
        return self.bytes > self.max_size or len(self._entries) > self.max_entries

    # ------------------------------------------------------------ dropping

    def drop(self, item: Item) -> None:
        """Forget one answer, if it is there."""
        entry = self._entries.pop(item, None)
        if entry is None:
            return
        self.bytes -= entry.size
        key, part = item
        if part is not None:
            parts = self._parts[key]
            parts.discard(part)
            if not parts:
                del self._parts[key]

    def drop_key(self, key: str) -> None:
        """Forget the value of a key, all ranges of it, and its size."""
        self.drop((key, None))
        for part in [*self._parts.get(key, ())]:
            self.drop((key, part))

    def drop_below(self, folder: str) -> None:
        """Forget everything about a folder and what lies below it; looks at every entry."""
        for item in [item for item in self._entries if item[0].startswith(folder)]:
            self.drop(item)

    def drop_where(self, condition: Callable[[Part, Any], bool]) -> None:
        """Forget the answers for which `condition(part, value)` holds."""
        for item in [item for item, entry in self._entries.items() if condition(item[1], entry.value)]:
            self.drop(item)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._parts.clear()
        self.bytes = 0

    def items(self) -> list[tuple[Item, Any, int]]:
        """All answers with their sizes, the longest unused first."""
        return [(item, entry.value, entry.size) for item, entry in self._entries.items()]


def lists(listing: list[str], name: str) -> bool:
    """Whether a sorted listing of a folder has a name."""
    place = bisect_left(listing, name)
    return place < len(listing) and listing[place] == name
