"""What an LMDB file says about itself, checked before LMDB maps it: LMDB trusts its pages, and wrong ones end the process."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from io import RawIOBase
from typing import NamedTuple

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NOTHING = (1 << 64) - 1  # the root of an empty tree
_META, _BRANCH, _LEAF = 8, 1, 2
_INTEGER_KEYS, _OF_ENVIRONMENT = (
    8,
    0x4001,
)  # of the free list's flags; those that the environment was made with
_DEPTH = 32  # as deep as LMDB's cursors go
_MOST = 1 << 47  # bytes of address space
_TRIES = 100
_HEADER = struct.Struct("=Q2x3H")
_TREE = struct.Struct("=I2H32xQ")
_FIRST, _TREES, _LAST = 16, (40, 88), 136  # where the fields of a meta page lie; a number takes 8 bytes
_END = 152  # after the last page and the transaction


class _Tree(NamedTuple):
    """A tree of pages, as a meta page describes it."""

    page_size: int
    """Of the free list only."""
    flags: int
    depth: int
    root: int


def damage(path: str) -> str | None:
    """What is wrong with the meta pages of a file, or with the roots that the newer one names; `None` if nothing is seen.

    Call it only while this process has no environment on the file. Other processes may write meanwhile, so something wrong counts
    only if it stays. A file in another format (another version, a machine with other numbers) is left to LMDB.
    """
    try:
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - a text path is all there is
    except OSError:
        return None  # LMDB says it
    found: str | None = None
    with file:
        before: list[bytes] = []
        for _ in range(_TRIES if sys.maxsize >> 32 else 0):
            first = _read(file, 0, _END)
            if not _is_meta(first):
                return None
            size = _TREE.unpack_from(first, _TREES[0])[0]
            metas = [first, _read(file, size, _END)]
            if found and metas == before:
                return found
            found, before = next(_faults(file, metas, size), None), metas
            if not found:
                break
    return None


def _read(file: RawIOBase, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length) or b""


def _is_meta(page: bytes) -> bool:
    return len(page) == _END and struct.unpack_from("=2I", page, _FIRST) == (_MAGIC, _VERSION)


def _trees(page: bytes) -> list[_Tree]:
    return [_Tree(*_TREE.unpack_from(page, place)) for place in _TREES]


def _faults(file: RawIOBase, metas: list[bytes], size: int) -> Iterator[str]:
    for number, page in enumerate(metas):
        yield from (f"meta page {number} has {fault}" for fault in _meta_faults(page, size))
    newer = max(metas, key=lambda page: struct.unpack_from("=2Q", page, _LAST)[1])
    for tree in _trees(newer):
        header = b"" if tree.root == _NOTHING else _read(file, tree.root * size, _HEADER.size)
        if len(header) == _HEADER.size:  # what is missing at the end is found later
            number, flags, lower, upper = _HEADER.unpack(header)
            kind = _LEAF if tree.depth == 1 else _BRANCH
            if number != tree.root or flags & 0xF != kind or not _HEADER.size <= lower <= upper <= size:
                yield f"page {tree.root} is not the root of a tree"


def _meta_faults(page: bytes, size: int) -> Iterator[str]:
    if not _is_meta(page) or _HEADER.unpack_from(page)[1] & 0xF != _META:
        yield "another header"
        return
    last, _ = struct.unpack_from("=2Q", page, _LAST)
    free, main = _trees(page)
    if free.page_size != size or size.bit_count() != 1 or not 256 <= size <= 1 << 16:
        yield f"pages of {free.page_size} bytes"
    if not 1 <= last < _MOST // size:
        yield f"{last} for its last page"
    if free.flags & ~_OF_ENVIRONMENT != _INTEGER_KEYS or main.flags:
        yield "flags that are not a store's"
    for tree in (free, main):
        empty = tree.root == _NOTHING
        if (tree.depth == 0) != empty or tree.depth > _DEPTH or not (empty or 2 <= tree.root <= last):
            yield f"a root of depth {tree.depth} at page {tree.root}"
