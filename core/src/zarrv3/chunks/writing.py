"""Writing chunks: old values where only part changes → `chunk[inside] = value[outside]` → encode → store.

What a chunk keeps is read with its version and swapped (`StorageTransformer.change_chunks`), so that nothing is lost that
other threads, processes or machines write into the same chunk.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import floordiv

import numpy as np

from zarrv3.chunks.kernels import UNDONE, Undone, chunk_kernel
from zarrv3.chunks.layout import Layout
from zarrv3.chunks.rooms import LARGE, Rooms
from zarrv3.chunks.tasks import Array, Fields, Progress, run, unreadable
from zarrv3.chunks.transformers import Coords
from zarrv3.errors import ZarrError
from zarrv3.format.cuts import are_regular, largest
from zarrv3.format.data_types import fill_test, filled
from zarrv3.indexing import Piece, Plan
from zarrv3.store.contract import Buffer

SMALL_VALUE = 2**20
"""Values of so many bytes are cast at once, larger ones chunk by chunk."""


def write(
    layout: Layout,
    plan: Plan,
    value: Array,
    *,
    fields: Fields = None,
    write_empty: bool = False,
    only_existing: bool = False,
    expect_missing: bool = False,
    progress: Progress | None = None,
) -> None:
    """Store `value`, an array of `plan.shape`, as the selected elements.

    A chunk that is covered is written without being read; of another the old value is read first, and swapped. So is one that
    reaches over the array's edge: others may be making the array longer just now.

    Args:
        layout: the array's chunks.
        plan: the selection.
        value: the elements, of a dtype that casts to the array's, or to that of its `fields`; any strides.
        fields: the field or fields of a structured dtype to be set.
        write_empty: store chunks that hold only the fill value; otherwise such chunks are erased.
        only_existing: leave chunks alone that are not stored.
        expect_missing: nobody has written to the chunks yet, as far as is known; see `StorageTransformer.change_many`.
        progress: told after every task.
    """
    write_empty = write_empty or not layout.store.capabilities.erase
    writer = _Writer(layout, value, fields, write_empty, only_existing, expect_missing)
    run(layout, plan, writer.task, progress, math.prod(largest(layout.blocks or ())))
    for rooms in writer.rooms:
        rooms.close()


@dataclass(eq=False)
class _Writer:
    """What all tasks of one write share."""

    layout: Layout
    value: Array
    fields: Fields
    write_empty: bool
    only_existing: bool
    expect_missing: bool

    def __post_init__(self) -> None:
        layout = self.layout
        self.has_padding = layout.has_padding
        self.can_empty = not layout.store.capabilities.swap or layout.store.capabilities.swap_erases
        self.is_empty = fill_test(layout.dtype, len(layout.cuts), layout.metadata.fill_value)
        kernel = chunk_kernel(layout.chain) if self.fields is None else None
        if kernel is not None and self.value.dtype != layout.dtype:  # kernels do not cast
            if self.value.nbytes <= SMALL_VALUE and layout.dtype.kind in "biufcmM":
                self.value = self.value.astype(layout.dtype)
            else:
                kernel = None
        self.kernel = kernel
        blocks = layout.blocks
        self.blocks = blocks if blocks is not None and layout.is_regular and are_regular(blocks) else None
        self.rooms: list[Rooms] = []

    def task(self, pieces: Sequence[Piece]) -> None:
        layout = self.layout
        chunks = [piece[0] for piece in pieces]
        kept = [self._is_partial(piece) for piece in pieces]
        read = [chunk for chunk, is_kept in zip(chunks, kept, strict=True) if is_kept]
        rooms = self._rooms()
        with changing(layout, chunks):
            layout.chunks.change_chunks(
                chunks, read, partial(self._changes, pieces, kept, rooms), expect_missing=self.expect_missing
            )
        if rooms is not None:
            rooms.leave()
            self.rooms.append(rooms)

    def _rooms(self) -> Rooms | None:
        """Where kernels put chunks until they are stored; used again by the next task."""
        if self.kernel is None:
            return None
        try:
            return self.rooms.pop()
        except IndexError:  # all are in use, by other threads
            return Rooms()

    def _changes(
        self,
        pieces: Sequence[Piece],
        kept: Sequence[bool],
        rooms: Rooms | None,
        some: Collection[Coords],
        olds: Mapping[Coords, Buffer | None],
    ) -> dict[Coords, Buffer | None]:
        """The new values of those chunks that change, parts of some `kept`; `None` for one that became empty."""
        if len(some) < len(pieces):  # those that somebody else has changed meanwhile
            again = {*some}
            kept = [is_kept for piece, is_kept in zip(pieces, kept, strict=True) if piece.chunk in again]
            pieces = [piece for piece in pieces if piece.chunk in again]
        changes: dict[Coords, Buffer | None] = {}
        made: list[Buffer | Undone | None] = [UNDONE] * len(pieces)
        if rooms is not None:
            rooms.forget()
            self._encode(pieces, kept, rooms, olds, made)
        for piece, is_kept, encoded in zip(pieces, kept, made, strict=True):
            chunk = piece[0]
            if self.only_existing and olds[chunk] is None:
                continue
            new = self._new(piece, olds, is_kept=is_kept) if encoded is UNDONE else encoded
            if new is not None or olds.get(chunk, _UNREAD) is not None:
                changes[chunk] = new
        return changes

    def _encode(
        self,
        pieces: Sequence[Piece],
        kept: Sequence[bool],
        rooms: Rooms,
        olds: Mapping[Coords, Buffer | None],
        made: list[Buffer | Undone | None],
    ) -> None:
        """Put what kernels make of the pieces into `made`: chunks of one shape, kept in part or not, by one call.

        What is stored together is encoded together, so that nothing has to be copied for that.
        """
        layout = self.layout
        for (are_kept, shape, block), some in self._groups(pieces, kept, olds).items():
            kernel = self.kernel if layout.is_regular else chunk_kernel(layout.chain_of(shape))
            if kernel is None:
                continue
            own = [pieces[number] for number in some]
            is_large = layout.chunk_bytes * (1 if block is None else len(some)) >= LARGE
            encoded = kernel.encode(
                own,
                self.value,
                rooms if is_large else None,
                keep_empty=self.write_empty or (are_kept and not self.can_empty),
                olds=[olds[piece[0]] for piece in own] if are_kept else None,
            )
            for number, one in zip(some, encoded, strict=True):
                made[number] = one

    def _groups(
        self, pieces: Sequence[Piece], kept: Sequence[bool], olds: Mapping[Coords, Buffer | None]
    ) -> Mapping[tuple[bool, Coords, Coords | None], Sequence[int]]:
        """The numbers of the pieces that one call of a kernel encodes: those of one shape, kept in part or not, and of one block."""
        layout, blocks = self.layout, self.blocks
        if layout.is_regular and not (blocks or self.only_existing or any(kept)):
            return {(False, layout.largest, None): range(len(pieces))}
        groups: dict[tuple[bool, Coords, Coords | None], list[int]] = {}
        for number, (piece, is_kept) in enumerate(zip(pieces, kept, strict=True)):
            if not (self.only_existing and olds[piece[0]] is None):
                shape = layout.largest if layout.is_regular else layout.shape_of(piece[0])
                block = tuple(map(floordiv, piece[0], blocks)) if blocks and not is_kept else None
                groups.setdefault((is_kept, shape, block), []).append(number)
        return groups

    def _new(self, piece: Piece, olds: Mapping[Coords, Buffer | None], *, is_kept: bool) -> Buffer | None:
        """The new value of a chunk, `None` for an empty one."""
        chunk = self._chunk(piece, olds[piece.chunk]) if is_kept else self._covered(piece)
        keeps_empty = self.write_empty or (is_kept and not self.can_empty)
        if not keeps_empty and self.is_empty(chunk):
            return None
        layout = self.layout
        chain = layout.chain if chunk.shape == layout.largest else layout.chain_of(chunk.shape)
        return chain.encode(chunk)

    def _is_partial(self, piece: Piece) -> bool:
        """Whether something of a chunk stays that is not in the value."""
        if not piece.whole or self.fields is not None or self.only_existing:
            return True
        return self.has_padding and self.value[(*piece.outside, ...)].shape != self.layout.shape_of(
            piece.chunk
        )

    def _covered(self, piece: Piece) -> Array:
        """The content of a chunk of which nothing stays; may be a view of the value."""
        part = self.value[(*piece.outside, ...)]
        layout = self.layout
        if part.shape == (layout.largest if layout.is_regular else layout.shape_of(piece.chunk)):
            return part.astype(layout.dtype, copy=False)
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
        shape, chain = layout.largest, layout.chain
        if not layout.is_regular:
            shape = layout.shape_of(coords)
            chain = layout.chain_of(shape)
        if old is None:
            return filled(shape, layout.metadata.fill_value, layout.dtype)
        try:
            if layout.metadata.data_type.item_size is None:
                return chain.decode(old).copy()
            return chain.decode(old, np.empty(shape, layout.dtype))
        except ZarrError as error:
            so = ", so that part of it cannot be replaced"
            raise unreadable(layout, coords, error, so) from error


_UNREAD = b"not looked at"


def erase(layout: Layout, plan: Plan) -> None:
    """Make the selected chunks, which are selected whole, missing; where a store cannot erase, full of the fill value."""
    if not layout.store.capabilities.erase:
        clear(layout, plan)
        return

    def task(pieces: Sequence[Piece]) -> None:
        chunks = [piece.chunk for piece in pieces]
        with changing(layout, chunks):
            layout.chunks.change_chunks(chunks, (), lambda some, _: dict.fromkeys(some))

    run(layout, plan, task, None, math.prod(largest(layout.blocks or ())))


def clear(layout: Layout, plan: Plan) -> None:
    """Set the selected elements to the fill value, touching only chunks that are stored."""
    fill = filled((), layout.metadata.fill_value, layout.dtype)
    write(layout, plan, np.broadcast_to(fill, plan.shape), only_existing=True)


def changing(layout: Layout, chunks: Sequence[Coords]) -> AbstractContextManager[None]:
    """A block that changes some chunks: what remembers decoded chunks forgets them."""
    return nullcontext() if layout.cache is None else layout.cache.changing([*map(layout.key, chunks)])
