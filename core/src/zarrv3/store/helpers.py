"""Free functions for authors of stores: fall-backs that a backend calls on purpose, and small shared arithmetic."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby, islice
from typing import Any, TypeVar

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Buffer, ByteRange, Request, Store

T = TypeVar("T")


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


def split_items(
    items: Mapping[str, Buffer], keys: int | None, size: int | None
) -> Iterator[Mapping[str, Buffer]]:
    """A batch of values cut so that no part has more than `keys` keys or, unless it is one value, `size` bytes."""
    part: dict[str, Buffer] = {}
    total = 0
    for key, value in items.items():
        length = len(value)
        if part and (len(part) == keys or (size is not None and total + length > size)):
            yield part
            part, total = {}, 0
        part[key] = value
        total += length
    if part:
        yield part


# ---------------------------------------------------------------- listing


def children(keys: Iterable[str], folder: str) -> tuple[list[str], list[str]]:
    """`list_dir` from a listing of all keys below a folder: costs what the listing costs."""
    direct: set[str] = set()
    folders: set[str] = set()
    skip = len(folder)
    for key in keys:
        end = key.find("/", skip)
        if end < 0:
            direct.add(key)
        else:
            folders.add(key[: end + 1])
    return sorted(direct), sorted(folders)


# ---------------------------------------------------------------- fall-backs


def rename_by_copy(store: Store, source: str, target: str, batch: int = 64) -> None:
    """`rename_prefix` by copying everything, then erasing the source: nothing is lost when it is interrupted.

    Metadata documents (`zarr.json`) are copied last and in batches of their own, inner nodes before outer ones, so that
    a node appears at the target only when everything in it is there.
    """
    check_rename(source, target)
    documents: list[str] = []
    keys: list[str] = []
    for key in store.list_prefix(source):
        (documents if key.rpartition("/")[2] == "zarr.json" else keys).append(key)
    documents.sort(key=lambda key: -key.count("/"))
    for part in [*chunked(keys, batch), *_by_depth(documents, batch)]:
        values = store.get_many([(key, None) for key in part])
        store.set_many(
            {
                target + key[len(source) :]: value
                for key, value in zip(part, values, strict=True)
                if value is not None
            }
        )
    store.erase_prefix(source)


def _by_depth(keys: Iterable[str], batch: int) -> Iterator[list[str]]:
    """Sorted keys in lists of at most `batch`, each of one depth."""
    for _, group in groupby(keys, lambda key: key.count("/")):
        yield from chunked(group, batch)


def check_rename(source: str, target: str) -> None:
    """Raise unless neither of two folders lies in the other."""
    if source.startswith(target) or target.startswith(source):
        raise InvalidKeyError(f"cannot rename {source!r} to {target!r}: one lies inside the other")


def compare_and_set_locked(
    lock: AbstractContextManager[Any],
    read: Callable[[str], Buffer | None],
    write: Callable[[str, Buffer], None],
    erase: Callable[[str], None],
    key: str,
    old: Buffer | None,
    new: Buffer | None,
) -> bool:
    """`compare_and_set` for a backend whose every write holds `lock`."""
    with lock:
        current = read(key)
        if (current is None) != (old is None) or (current is not None and current != old):
            return False
        if new is not None:
            write(key, new)
        elif current is not None:
            erase(key)
        return True


def by_key(requests: Sequence[Request]) -> Collection[str]:
    """The distinct keys of some requests, in order."""
    return dict.fromkeys(key for key, _ in requests)
