"""Free functions for drivers and layers: what the guard calls where a driver lacks a method, and small shared arithmetic.

A driver may also call them on purpose. Each says what it costs.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import (
    Buffer,
    ByteRange,
    Driver,
    Lists,
    Request,
    Stats,
    Swaps,
    Version,
    Versioned,
    Writes,
    whole,
)

T = TypeVar("T")

BATCH = 64
"""How many keys the fall-backs ask for at once."""


class Movable(Driver, Lists, Writes, Protocol):
    """What can be read, listed and written."""


# ---------------------------------------------------------------- ranges


def cut(value: Buffer | None, wanted: ByteRange | None) -> Buffer | None:
    """The wanted part of a whole value: what a backend without ranges of its own returns."""
    if value is None or wanted is None:
        return value
    return value[wanted.start : wanted.stop]


def resolve(wanted: ByteRange | None, size: int) -> tuple[int, int]:
    """A range as offset and length within a value of `size` bytes, clipped as Python clips a slice."""
    start, stop, _ = slice(wanted.start, wanted.stop).indices(size) if wanted else (0, size, 1)
    return start, max(0, stop - start)


# ---------------------------------------------------------------- batches


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def split(
    items: Iterable[tuple[str, T]], length: Callable[[T], int], keys: int | None, size: int | None
) -> Iterator[dict[str, T]]:
    """A batch cut so that no part has more than `keys` keys or, unless it is one value, `size` bytes."""
    part: dict[str, T] = {}
    if keys is size is None:
        part, items = dict(items), ()
    total = 0
    for key, item in items:
        own = length(item)
        if part and (len(part) == keys or (size is not None and total + own > size)):
            yield part
            part, total = {}, 0
        part[key] = item
        total += own
    if part:
        yield part


def size_of(value: Buffer | None) -> int:
    """The bytes of a new value; an erased key has none."""
    return 0 if value is None else len(value)


def by_key(requests: Iterable[Request]) -> Collection[str]:
    """The distinct keys of some requests, in order."""
    return dict.fromkeys(map(itemgetter(0), requests))


# ---------------------------------------------------------------- listing


def children(keys: Iterable[str], folder: str) -> Iterator[str]:
    """`list_dir` from a listing of all keys below a folder, lazily: costs what the listing costs."""
    folders: set[str] = set()
    skip = len(folder)
    for key in keys:
        end = key.find("/", skip)
        if end < 0:
            yield key
        elif (name := key[: end + 1]) not in folders:
            folders.add(name)
            yield name


def stat_by_reading(store: Driver, keys: Sequence[str]) -> list[int | None]:
    """`stat_many` by reading the values, each key once: costs what they cost."""
    distinct = [*dict.fromkeys(keys)]
    values = store.get_many(whole(distinct))
    sizes = {key: None if value is None else len(value) for key, value in zip(distinct, values, strict=True)}
    return [sizes[key] for key in keys]


def sizes_by_stat(keys: Iterable[str], stat: Stats, batch: int = BATCH) -> Iterator[tuple[str, int]]:
    """`list_sizes` from a listing of keys and `stat_many`."""
    for part in chunked(keys, batch):
        for key, size in zip(part, stat.stat_many(part), strict=True):
            if size is not None:  # otherwise erased since it was listed
                yield key, size


# ---------------------------------------------------------------- versions


def digest(value: Buffer) -> bytes:
    """A version of a value that any process would make, for stores that have none of their own: 16 bytes."""
    from hashlib import blake2b

    return blake2b(value, digest_size=16).digest()


def by_digest(values: Iterable[Buffer | None]) -> list[Versioned]:
    """Values with their digests as versions."""
    return [(value, None if value is None else digest(value)) for value in values]


def unchanged(swaps: Swaps, versions: Iterable[Version | None]) -> tuple[dict[str, Buffer | None], list[str]]:
    """What of some swaps is to be written, and the keys that are refused, by the versions that the keys have now.

    For stores that compare under a lock which every writer holds.
    """
    changes: dict[str, Buffer | None] = {}
    refused: list[str] = []
    for (key, (version, new)), now in zip(swaps.items(), versions, strict=True):
        if version != now:
            refused.append(key)
        elif new is not None or now is not None:
            changes[key] = new
    return changes, refused


# ---------------------------------------------------------------- whole folders


def erase_by_listing(store: Movable, folder: str, batch: int = BATCH) -> None:
    """`erase_prefix` by listing the folder and erasing what is there, documents (`zarr.json`) first.

    So that no node is seen half erased: a node whose document is gone is gone.
    """
    documents, keys = _listed(store, folder)
    for part in chunked(chain(documents, keys), batch):
        store.write_many(dict.fromkeys(part))


def rename_by_copy(store: Movable, source: str, target: str, batch: int = BATCH) -> None:
    """`rename_prefix` by copying everything, then erasing the source: nothing is lost when it is interrupted.

    Documents (`zarr.json`) are copied last and in batches of their own, inner nodes before outer ones, so that a node
    appears at the target only when everything in it is there. An interruption may leave keys in both places.
    """
    check_rename(source, target)
    documents, keys = _listed(store, source)
    for part in [*chunked(keys, batch), *_by_depth(reversed(documents), batch)]:
        values = zip(part, store.get_many(whole(part)), strict=True)
        copies = {target + key[len(source) :]: value for key, value in values if value is not None}
        if copies:
            store.write_many(copies)
    for part in [*_by_depth(documents, batch), *chunked(keys, batch)]:
        store.write_many(dict.fromkeys(part))


def check_rename(source: str, target: str, *, replace: bool = False) -> None:
    """Raise where one of two folders lies in the other, but not where the source does and may `replace` what it lies in."""
    is_inside = source.startswith(target)
    if target.startswith(source) or (is_inside and not replace):
        raise InvalidKeyError(f"cannot rename {source!r} to {target!r}: one lies inside the other")


def _listed(store: Movable, folder: str) -> tuple[list[str], list[str]]:
    """The documents below a folder, those of outer nodes first, and the other keys."""
    documents: list[str] = []
    keys: list[str] = []
    for key in store.list_prefix(folder):
        (documents if key.rpartition("/")[2] == "zarr.json" else keys).append(key)
    return sorted(documents, key=lambda key: key.count("/")), keys


def _by_depth(keys: Iterable[str], batch: int) -> Iterator[list[str]]:
    """Sorted keys in lists of at most `batch`, each of one depth."""
    for _, group in groupby(keys, lambda key: key.count("/")):
        yield from chunked(group, batch)


def unrolled(items: Iterator[Any]) -> Iterator[Any]:
    """What a generator yields, with generators that it yields replaced by what they yield, however deep they lie.

    A `yield from` would end where Python's calls are nested too deeply, at some hundreds of levels.
    """
    stack = [items]
    while stack:
        for item in stack[-1]:
            if isinstance(item, Generator):
                stack.append(item)
                break
            yield item
        else:
            stack.pop()
