"""Values that may be shards: their indexes, without the help of metadata."""

import struct
from typing import NamedTuple

from zarrv3.store.contract import Buffer

_ENTRY = struct.Struct("<QQ")
_EMPTY = (2**64 - 1, 2**64 - 1)


class Entry(NamedTuple):
    """Where a chunk lies in a shard."""

    offset: int
    size: int


def index_of(value: Buffer, count: int) -> list[Entry | None] | None:
    """The index of a shard of `count` chunks (`None`: an empty one); `None` if the value cannot be one.

    The entries must lie before the index and apart from each other, and one at least must not be empty.
    """
    body = len(value) - 16 * count
    if body < 0:
        return None
    entries = [None if pair == _EMPTY else Entry(*pair) for pair in _ENTRY.iter_unpack(value[body:])]
    end = 0
    for entry in sorted(entry for entry in entries if entry is not None):
        if entry.offset < end or not entry.size or entry.offset + entry.size > body:
            return None
        end = entry.offset + entry.size
    return entries if end else None


def count_of(value: Buffer) -> int | None:
    """How many chunks the index of a shard without gaps counts; `None` if the value is not such a shard.

    It is certain: the entries fill every byte before the index, which only one number of chunks can do.
    """
    length = len(value)
    used = last = 0
    for count in range(1, length // 16 + 1):
        pair = _ENTRY.unpack_from(value, length - 16 * count)
        if pair != _EMPTY:
            offset, size = pair
            if not size or offset + size > length - 16:
                return None
            used, last = used + size, max(last, offset + size)
        body = length - 16 * count
        if last > body:
            return None
        if used == body and last == body and index_of(value, count) is not None:
            return count
    return None


def may_be_index(tail: Buffer, length: int) -> bool:
    """Whether the last 16 bytes of a value of `length` bytes can be the last entry of an index."""
    if len(tail) < 16:
        return False
    pair = _ENTRY.unpack_from(tail, len(tail) - 16)
    return pair == _EMPTY or (pair[1] > 0 and pair[0] + pair[1] <= length - 16)
