"""What an LMDB file says about itself, checked before LMDB maps it: LMDB trusts its pages, and wrong ones end the process."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from functools import partial
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
_NODE = struct.Struct("=3H2x")  # of a branch: the page that it leads to
_LOOKED_AT = 4 << 20  # bytes of pages, so that to open a large database costs no more
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
    """What is wrong with the meta pages of a file, or with the trees that the newer one names; `None` if nothing is seen.

    Call it only while this process has no environment on the file. Other processes may write meanwhile, so something wrong counts
    only if it stays. A file in another format (another version, a machine with other numbers) is left to LMDB.
    """
    try:
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - a text path is all there is
    except OSError:
        return None  # LMDB will say so
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
    last, _ = struct.unpack_from("=2Q", newer, _LAST)
    for tree in _trees(newer):
        if tree.root != _NOTHING:
            yield from _tree_faults(file, tree, size, last)


def _tree_faults(file: RawIOBase, tree: _Tree, size: int, last: int) -> Iterator[str]:
    """Pages of a tree that are not where or what they should be; of a large tree, the first ones on the way to its entries."""
    pages, looked = [(tree.root, tree.depth)], 0
    while pages and looked < _LOOKED_AT:
        place, depth = pages.pop()
        looked += size
        page = _read(file, place * size, size)
        if len(page) < size:
            continue  # what is missing at the end is found later
        number, flags, lower, upper = _HEADER.unpack_from(page)
        kind = _LEAF if depth == 1 else _BRANCH
        sound = number == place and flags & 0xF == kind and _HEADER.size < lower <= upper <= size
        nodes = struct.unpack_from(f"={(lower - _HEADER.size) // 2}H", page, _HEADER.size) if sound else ()
        if not sound or not upper <= min(nodes) <= max(nodes) <= size - _NODE.size:
            yield f"page {place} is not part of a tree"
            return
        if depth > 1 and sys.byteorder == "little":
            below = [
                low | middle << 16 | high << 32
                for low, middle, high in map(partial(_NODE.unpack_from, page), nodes)
            ]
            if not 2 <= min(below) <= max(below) <= last:
                yield f"page {place} leads out of the file"
                return
            pages += [(number, depth - 1) for number in below]


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
