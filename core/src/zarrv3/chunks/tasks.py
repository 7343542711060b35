"""A plan cut into tasks, and the threads that do them.

plan ── tasks of some dozens of pieces ──> threads, each doing a whole task: `reading` and `writing` say what is done.

Memory in addition to the result or value: the tasks under way, each at most `TASK_BYTES` of chunks or one block.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from zarrv3.chunks import pool
from zarrv3.chunks.kernels import ChunkKernel, chunk_kernel
from zarrv3.chunks.layout import Layout
from zarrv3.errors import CorruptDataError, ZarrError
from zarrv3.format.codecs import CodecChain
from zarrv3.indexing import Piece, Plan
from zarrv3.options.settings import config

Array: TypeAlias = np.ndarray[Any, Any]
Fields: TypeAlias = str | list[str] | None
Progress: TypeAlias = Callable[[int, int], object]
"""Called as `progress(chunks done, chunks in all)`, from one thread at a time."""

TASK_BYTES = 16 * 2**20
"""How many bytes of chunks one task handles at most (one block of chunks at least)."""

LOCAL_TASK_BYTES = 2 * 2**20
"""The limit for stores without round trips: what is read or encoded is then still in the processor's cache.

It does not count where chunks bring others along, which are not touched.
"""

SMALL_CHUNK = 16 * 2**10
"""Chunks of fewer bytes are moved by one thread: their cost is Python's, which runs in one thread at a time."""

SHARE = 4 * 2**20
"""Fewer bytes of chunks than this are not divided for a thread: what a task costs in Python would be more than what waiting costs."""

LARGE = 2**20
"""Fewer bytes of chunks than this are moved by one thread in any case: starting others would take longer."""


def run(
    layout: Layout,
    plan: Plan,
    task: Callable[[Sequence[Piece]], None],
    progress: Progress | None,
    together: int = 1,
) -> None:
    """Cut a plan into tasks and do them, in threads where that helps.

    `together` is how many chunks a piece may bring into memory: those that are stored as one value with it.
    """
    if not plan.count:
        return
    if plan.count == 1 and progress is None:  # there is nothing to cut
        task([*plan.pieces()])
        return
    local = layout.store.capabilities.local
    most = LOCAL_TASK_BYTES if local and together == 1 else TASK_BYTES
    size = max(1, min(config.get("window"), most // max(1, layout.chunk_bytes * together)))
    large = layout.chunk_bytes >= SMALL_CHUNK and layout.chunk_bytes * plan.count >= LARGE
    workers = pool.threads(waiting=not local) if large else 1
    if workers > 1:  # small windows rather than idle processors
        # several each, so that all end together, but none that is over before another thread has begun
        each = max(1, min(4, layout.chunk_bytes * plan.count // max(1, workers * SHARE)))
        shares = each * workers if local else pool.threads()
        size = max(1, min(size, -(-plan.count // shares)))
    if not layout.is_regular:
        task = _weighed(layout, task, most)
    if plan.count <= size and progress is None:
        task([*plan.pieces()])
        return
    if progress is not None:
        task = _reporting(task, progress, plan.count)
    pool.run(task, plan.tasks(size, layout.blocks), -(-plan.count // size), workers)


def _weighed(
    layout: Layout, task: Callable[[Sequence[Piece]], None], most: int
) -> Callable[[Sequence[Piece]], None]:
    """A task that is done in parts of at most so many bytes, where chunks are not of one size."""
    item = layout.metadata.data_type.item_size or 16

    def weighed(pieces: Sequence[Piece]) -> None:
        part: list[Piece] = []
        room = most
        for piece in pieces:
            weight = math.prod(layout.shape_of(piece.chunk)) * item
            if part and weight > room:
                task(part)
                part, room = [], most
            part.append(piece)
            room -= weight
        task(part)

    return weighed


def _reporting(
    task: Callable[[Sequence[Piece]], None], progress: Progress, total: int
) -> Callable[[Sequence[Piece]], None]:
    lock = threading.Lock()
    done = 0

    def report(pieces: Sequence[Piece]) -> None:
        nonlocal done
        task(pieces)
        with lock:
            done += len(pieces)
            progress(done, total)

    return report


def kernel_for(layout: Layout, array: Array, fields: Fields, chain: CodecChain) -> ChunkKernel | None:
    """What moves whole batches between chunks of one shape and an array; nothing does that casts, or knows fields."""
    return chunk_kernel(chain) if fields is None and array.dtype == layout.dtype else None


def by_shape(layout: Layout, pieces: Sequence[Piece]) -> dict[tuple[int, ...], list[int]]:
    """The numbers of the pieces whose chunks have one shape."""
    found: dict[tuple[int, ...], list[int]] = {}
    for number, piece in enumerate(pieces):
        found.setdefault(layout.shape_of(piece.chunk), []).append(number)
    return found


def unreadable(layout: Layout, coords: tuple[int, ...], error: ZarrError, so: str = "") -> ZarrError:
    """The error of a codec with the key that the store has its chunk under, or in."""
    how = "is corrupt" if isinstance(error, CorruptDataError) else "cannot be decoded"
    return type(error)(f"{layout.chunks.named(coords)} in {layout.store.describe()} {how}{so}: {error}")
