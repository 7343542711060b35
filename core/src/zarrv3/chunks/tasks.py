"""Moving data between memory and store: the one place where plan, keys, codecs and store meet.

plan ── tasks of some dozens of pieces ──> threads, each doing a whole task:

* read: keys → get_many → decode → `result[outside] = chunk[inside]`, straight into the result where it fits;
* write: old chunks where only part changes → `chunk[inside] = value[outside]` → encode → set_many, erase_many
  (`Layout.change_chunks`, which does it in one read and one write where chunks are stored together).

Memory beside the result or value: the tasks under way, each at most `TASK_BYTES` of chunks or one block.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from zarrv3.chunks import pool
from zarrv3.chunks.kernels import ChunkKernel, chunk_kernel
from zarrv3.chunks.layout import Layout
from zarrv3.chunks.transformers import Coords
from zarrv3.errors import CorruptDataError, ZarrError
from zarrv3.format.data_types import fill_test
from zarrv3.indexing import Piece, Plan
from zarrv3.options.settings import config
from zarrv3.store.contract import Buffer
from zarrv3.store.locks import NamedLocks

Array: TypeAlias = np.ndarray[Any, Any]
Fields: TypeAlias = str | list[str] | None
Progress: TypeAlias = Callable[[int, int], object]
"""Called as `progress(chunks done, chunks in all)`, from one thread at a time."""

TASK_BYTES = 16 * 2**20
"""How many bytes of chunks one task handles at most (one block of chunks at least)."""

LOCAL_TASK_BYTES = 2 * 2**20
"""The same for stores without round trips: what is read or encoded is then still in the processor's cache."""

SMALL_CHUNK = 16 * 2**10
"""Chunks of fewer bytes are moved by one thread: their cost is Python's, which runs in one thread at a time."""

LARGE = 2**20
"""Fewer bytes of chunks than this are moved by one thread in any case: starting others would take longer."""


# ---------------------------------------------------------------- reading


def read(
    layout: Layout, plan: Plan, out: Array, *, fields: Fields = None, progress: Progress | None = None
) -> None:
    """Fill `out`, an array of `plan.shape`, with the selected elements.

    Args:
        layout: the array's chunks.
        plan: the selection.
        out: where the elements go; of the array's dtype, or of its `fields`; any strides.
        fields: the field or fields of a structured dtype that are wanted.
        progress: told after every task.

    Raises `CorruptDataError` naming the key of a chunk that is not what the metadata says.
    """
    reader = _Reader(layout, out, fields)
    _run(layout, plan, reader.task if layout.cache is None else reader.cached_task, progress)


class _Reader:
    """What all tasks of one read share."""

    def __init__(self, layout: Layout, out: Array, fields: Fields) -> None:
        self.layout = layout
        self.out = out
        self.fields = fields
        self.fill = (
            layout.metadata.fill_value if fields is None else _fields_of(layout.metadata.fill_value, fields)
        )
        chain = layout.chain
        fixed = layout.metadata.data_type.item_size is not None
        self.direct = (
            fixed and fields is None and out.dtype == layout.dtype and _may_fit(layout.chunk_shape, out)
        )
        self.reuse = fixed and bool(chain.compressors) and not chain.filters
        self.kernel = _kernel(layout, out, fields)

    def task(self, pieces: Sequence[Piece]) -> None:
        layout, out, fill, fields, direct = self.layout, self.out, self.fill, self.fields, self.direct
        chunk_shape, decode = layout.chunk_shape, layout.chain.decode
        values = layout.get_chunks([piece[0] for piece in pieces])
        if self.kernel is not None:
            left = self.kernel.decode(values, pieces, out)
            values, pieces = [values[number] for number in left], [pieces[number] for number in left]
        scratch: Array | None = None
        for value, (coords, inside, outside, whole) in zip(values, pieces, strict=True):
            if value is None:
                out[outside] = fill
                continue
            try:
                if direct and whole:
                    target = _window(out, outside)
                    if target is not None and target.shape == chunk_shape and target.flags.c_contiguous:
                        decode(value, target)
                        continue
                if self.reuse:
                    if scratch is None:
                        scratch = np.empty(chunk_shape, layout.dtype)
                    chunk = decode(value, scratch)
                else:
                    chunk = decode(value)
            except ZarrError as error:
                raise _unreadable(layout, layout.key(coords), error) from error
            out[outside] = (chunk if fields is None else chunk[fields])[inside]

    def cached_task(self, pieces: Sequence[Piece]) -> None:
        """The same by way of the cache of decoded chunks: only what it does not have is fetched and decoded."""
        layout, cache = self.layout, self.layout.cache
        assert cache is not None
        keys = [layout.key(piece[0]) for piece in pieces]
        reading = cache.look(keys)
        fetched: dict[str, Array | None] = {}
        try:
            rest = {
                key: piece[0] for key, piece in zip(keys, pieces, strict=True) if key not in reading.found
            }
            values = layout.get_chunks([*rest.values()]) if rest else ()
            for key, value in zip(rest, values, strict=True):
                fetched[key] = None if value is None else self._decoded(key, value)
        finally:
            cache.land(reading, fetched)
        for key, (_, inside, outside, _) in zip(keys, pieces, strict=True):
            chunk = reading.found[key] if key in reading.found else fetched[key]
            if chunk is None:
                self.out[outside] = self.fill
            else:
                self.out[outside] = (chunk if self.fields is None else chunk[self.fields])[inside]

    def _decoded(self, key: str, value: Buffer) -> Array:
        """A chunk in memory of its own."""
        layout = self.layout
        try:
            return layout.chain.decode(value, np.empty(layout.chunk_shape, layout.dtype))
        except ZarrError as error:
            raise _unreadable(layout, key, error) from error


def _may_fit(chunk_shape: tuple[int, ...], out: Array) -> bool:
    """Whether a whole chunk can lie in one piece in the result's memory."""
    if not out.flags.c_contiguous or out.ndim != len(chunk_shape):
        return False
    long = next((axis for axis, length in enumerate(chunk_shape) if length > 1), out.ndim)
    return bool(out.shape[long + 1 :] == chunk_shape[long + 1 :])


def _window(out: Array, outside: tuple[Any, ...]) -> Array | None:
    """The part of the result that slices name, as a view; `None` for other indices, which make copies."""
    for index in outside:
        if type(index) is not slice:
            return None
    view: Array = out[(*outside, ...)]  # the dots make it a view even where nothing is left
    return view


def _fields_of(fill: Any, fields: str | list[str]) -> Any:
    return np.asarray(fill)[fields][()]


def _kernel(layout: Layout, array: Array, fields: Fields) -> ChunkKernel | None:
    """What moves whole batches between chunks and an array; nothing does that casts, or knows fields."""
    return chunk_kernel(layout.chain) if fields is None and array.dtype == layout.dtype else None


# ---------------------------------------------------------------- writing


def write(
    layout: Layout,
    plan: Plan,
    value: Array,
    *,
    fields: Fields = None,
    write_empty: bool = False,
    only_existing: bool = False,
    keep_padding: bool = False,
    progress: Progress | None = None,
) -> None:
    """Store `value`, an array of `plan.shape`, as the selected elements.

    A chunk that is covered is written without being read; of another the old value is read first, under a lock that
    serialises writers of the same chunk in this process.

    Args:
        layout: the array's chunks.
        plan: the selection.
        value: the elements, of a dtype that casts to the array's, or to that of its `fields`; any strides.
        fields: the field or fields of a structured dtype to be set.
        write_empty: store chunks that hold only the fill value; otherwise such chunks are erased.
        only_existing: leave chunks alone that are not stored.
        keep_padding: keep what chunks hold outside the array: others may be making it longer just now.
        progress: told after every task.
    """
    writer = _Writer(
        layout, value, fields, write_empty=write_empty, only_existing=only_existing, keep_padding=keep_padding
    )
    _run(layout, plan, writer.task, progress, math.prod(layout.block_shape or ()))


class _Writer:
    """What all tasks of one write share."""

    def __init__(
        self,
        layout: Layout,
        value: Array,
        fields: Fields,
        *,
        write_empty: bool,
        only_existing: bool,
        keep_padding: bool,
    ) -> None:
        self.layout = layout
        self.value = value
        self.fields = fields
        self.write_empty = write_empty or not layout.store.capabilities.erase
        self.only_existing = only_existing
        self.keep_padding = keep_padding
        self.is_empty = fill_test(layout.dtype, len(layout.chunk_shape), layout.metadata.fill_value)
        self.kernel = _kernel(layout, value, fields)
        self.memories: list[Any] = []

    def task(self, pieces: Sequence[Piece]) -> None:
        layout = self.layout
        chunks = [piece[0] for piece in pieces]
        kept = [self._is_partial(piece) for piece in pieces]
        read = [chunk for chunk, is_kept in zip(chunks, kept, strict=True) if is_kept]
        with _locked(layout, chunks), self._memory() as memory:
            layout.change_chunks(
                chunks, read, partial(self._changes, pieces, kept, memory), keep_padding=self.keep_padding
            )

    @contextmanager
    def _memory(self) -> Iterator[Any]:
        """What the kernel, if any, may work with until the chunks are stored; used again by the next task."""
        try:
            memory = self.memories.pop()
        except IndexError:  # all are in use, by other threads
            memory = None if self.kernel is None else self.kernel.memory()
        yield memory
        self.memories.append(memory)

    def _changes(
        self,
        pieces: Sequence[Piece],
        kept: Sequence[bool],
        memory: Any,
        olds: Mapping[Coords, Buffer | None],
    ) -> dict[Coords, Buffer | None]:
        """The new values of the chunks that change, parts of some `kept`; `None` for one that became empty."""
        changes: dict[Coords, Buffer | None] = {}
        for piece, is_kept, encoded in zip(pieces, kept, self._encoded(pieces, kept, memory), strict=True):
            chunk = piece[0]
            if self.only_existing and olds[chunk] is None:
                continue
            new = self._new(piece, olds, is_kept=is_kept) if encoded is False else encoded
            if new is not None or olds.get(chunk, _UNREAD) is not None:
                changes[chunk] = new
        return changes

    def _encoded(
        self, pieces: Sequence[Piece], kept: Sequence[bool], memory: Any
    ) -> Sequence[Buffer | Literal[False] | None]:
        """What a kernel makes of the pieces that cover their chunks; `False` for the others."""
        if self.kernel is None or all(kept):
            return [False] * len(pieces)
        covered = [piece for piece, is_kept in zip(pieces, kept, strict=True) if not is_kept]
        made = self.kernel.encode(covered, self.value, memory, keep_empty=self.write_empty)
        if len(covered) == len(pieces):
            return made
        rest = iter(made)
        return [False if is_kept else next(rest) for is_kept in kept]

    def _new(self, piece: Piece, olds: Mapping[Coords, Buffer | None], *, is_kept: bool) -> Buffer | None:
        """The new value of a chunk, `None` for an empty one."""
        chunk = self._chunk(piece, olds[piece.chunk]) if is_kept else self._covered(piece)
        return self.layout.chain.encode(chunk) if self.write_empty or not self.is_empty(chunk) else None

    def _is_partial(self, piece: Piece) -> bool:
        """Whether something of a chunk stays that is not in the value."""
        if not piece.whole or self.fields is not None or self.only_existing:
            return True
        return self.keep_padding and self.value[(*piece.outside, ...)].shape != self.layout.chunk_shape

    def _covered(self, piece: Piece) -> Array:
        """The content of a chunk of which nothing stays; may be a view of the value."""
        part = self.value[(*piece.outside, ...)]
        if part.shape == self.layout.chunk_shape:
            return part.astype(self.layout.dtype, copy=False)
        return self._chunk(piece, None)  # it reaches over the array's edge

    def _chunk(self, piece: Piece, old: Buffer | None) -> Array:
        """The new content of a chunk of which a part is in the value."""
        part = self.value[(*piece.outside, ...)]
        if part.dtype.kind == "O" and part.ndim == 0:
            part = part[()]  # numpy would store the 0-d array itself as an element
        chunk = self._old_chunk(piece.chunk, old)
        (chunk if self.fields is None else chunk[self.fields])[piece.inside] = part
        return chunk

    def _old_chunk(self, coords: Coords, old: Buffer | None) -> Array:
        layout = self.layout
        if old is None:
            return np.full(layout.chunk_shape, layout.metadata.fill_value, layout.dtype)
        try:
            if layout.metadata.data_type.item_size is None:
                return layout.chain.decode(old).copy()
            return layout.chain.decode(old, np.empty(layout.chunk_shape, layout.dtype))
        except ZarrError as error:
            so = ", so that part of it cannot be replaced"
            raise _unreadable(layout, layout.key(coords), error, so) from error


_UNREAD = b"not looked at"


def erase(layout: Layout, plan: Plan) -> None:
    """Make the selected chunks, which are selected whole, missing; where a store cannot erase, full of the fill value."""
    if layout.store.capabilities.erase:
        _run(layout, plan, _Eraser(layout).task, None, math.prod(layout.block_shape or ()))
    else:
        clear(layout, plan)


def clear(layout: Layout, plan: Plan) -> None:
    """Set the selected elements to the fill value, touching only chunks that are stored."""
    fill = np.full((), layout.metadata.fill_value, layout.dtype)
    write(layout, plan, np.broadcast_to(fill, plan.shape), only_existing=True)


class _Eraser:
    """What all tasks of one erasing share."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def task(self, pieces: Sequence[Piece]) -> None:
        keys = [self.layout.key(piece.chunk) for piece in pieces]
        with _locked(self.layout, [piece.chunk for piece in pieces]):
            self.layout.store.erase_many(keys)


# ---------------------------------------------------------------- errors


def _unreadable(layout: Layout, key: str, error: ZarrError, so: str = "") -> ZarrError:
    """The error of a codec with the key of its chunk."""
    how = "is corrupt" if isinstance(error, CorruptDataError) else "cannot be decoded"
    return type(error)(f"chunk {key!r} in {layout.store.describe()} {how}{so}: {error}")


# ---------------------------------------------------------------- tasks


def _run(
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
    local = layout.store.capabilities.local
    most = LOCAL_TASK_BYTES if local else TASK_BYTES
    size = max(1, min(config.get("window"), most // max(1, layout.chunk_bytes * together)))
    large = layout.chunk_bytes >= SMALL_CHUNK and layout.chunk_bytes * plan.count >= LARGE
    workers = pool.threads() if large else 1
    if workers > 1:  # small windows rather than idle threads
        shares = 4 * workers if local else workers  # several each, so that all end together
        size = max(1, min(size, -(-plan.count // shares)))
    if plan.count <= size and progress is None:
        task([*plan.pieces()])
        return
    if progress is not None:
        task = _reporting(task, progress, plan.count)
    pool.run(task, plan.tasks(size, layout.block_shape), -(-plan.count // size), workers)


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


# ---------------------------------------------------------------- locks

_locks = NamedLocks()
"""The chunks, or blocks, that a thread of this process reads, changes and writes just now, whatever store object it
reaches them through."""


def _locked(layout: Layout, chunks: Sequence[Coords]) -> AbstractContextManager[None]:
    """Be the only one in this process who changes some chunks, or the blocks they are stored in."""
    mine: Collection[Coords] = chunks
    block = layout.block_shape
    if block is not None:
        mine = {tuple([c // b for c, b in zip(chunk, block, strict=True)]) for chunk in chunks}
    held = _locks.held([(layout.folder, place) for place in mine])
    return held if layout.cache is None else _both(held, layout.cache.changing([*map(layout.key, chunks)]))


@contextmanager
def _both(one: AbstractContextManager[None], two: AbstractContextManager[None]) -> Iterator[None]:
    with one, two:
        yield
