"""Reading chunks: keys → `get_many` → decode → `result[outside] = chunk[inside]`, straight into the result where it fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zarrv3.chunks.kernels import ChunkKernel
from zarrv3.chunks.layout import Layout
from zarrv3.chunks.tasks import Array, Fields, Progress, by_shape, kernel_for, run, unreadable
from zarrv3.errors import ZarrError
from zarrv3.format.codecs import CodecChain
from zarrv3.indexing import Piece, Plan
from zarrv3.store.contract import Buffer


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
    run(layout, plan, reader.task if layout.cache is None else reader.cached_task, progress)


class _Form(NamedTuple):
    """How chunks of one shape are decoded."""

    shape: tuple[int, ...]
    chain: CodecChain
    direct: bool
    """Whether a whole chunk can lie in one piece in the result's memory."""
    kernel: ChunkKernel | None


class _Reader:
    """What all tasks of one read share."""

    def __init__(self, layout: Layout, out: Array, fields: Fields) -> None:
        self.layout = layout
        self.out = out
        self.fields = fields
        fill, chain = layout.metadata.fill_value, layout.chain
        self.fill = fill if fields is None else np.asarray(fill)[fields][()]
        self.fixed = layout.metadata.data_type.item_size is not None
        self.reuse = self.fixed and bool(chain.compressors) and not chain.filters
        self.form = self._form(layout.largest, chain)

    def _form(self, shape: tuple[int, ...], chain: CodecChain) -> _Form:
        layout, out, fields = self.layout, self.out, self.fields
        direct = self.fixed and fields is None and out.dtype == layout.dtype and _may_fit(shape, out)
        return _Form(shape, chain, direct, kernel_for(layout, out, fields, chain))

    def task(self, pieces: Sequence[Piece]) -> None:
        layout = self.layout
        values = layout.chunks.get_chunks([piece[0] for piece in pieces])
        if layout.is_regular:
            self._decode(self.form, values, pieces)
            return
        for shape, some in by_shape(layout, pieces).items():
            self._decode(
                self._form(shape, layout.chain_of(shape)),
                [values[number] for number in some],
                [pieces[number] for number in some],
            )

    def _decode(self, form: _Form, values: Sequence[Buffer | None], pieces: Sequence[Piece]) -> None:
        """Put chunks of one shape into the result."""
        layout, out, fill, fields = self.layout, self.out, self.fill, self.fields
        chunk_shape, direct, decode = form.shape, form.direct, form.chain.decode
        if form.kernel is not None:
            left = form.kernel.decode(values, pieces, out)
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
                raise unreadable(layout, coords, error) from error
            out[outside] = (chunk if fields is None else chunk[fields])[inside]

    def cached_task(self, pieces: Sequence[Piece]) -> None:
        """Read by way of the cache of decoded chunks: only what it does not have is fetched and decoded."""
        layout, cache = self.layout, self.layout.cache
        assert cache is not None
        keys = [layout.key(piece[0]) for piece in pieces]
        reading = cache.look(keys)
        fetched: dict[str, Array | None] = {}
        try:
            rest = {
                key: piece[0]
                for key, piece in zip(keys, pieces, strict=True)
                if key not in reading.remembered
            }
            values = layout.chunks.get_chunks([*rest.values()]) if rest else ()
            for key, value in zip(rest, values, strict=True):
                fetched[key] = None if value is None else self._decoded(rest[key], value)
        finally:
            cache.land(reading, fetched)
        for key, (_, inside, outside, _) in zip(keys, pieces, strict=True):
            chunk = reading.remembered[key] if key in reading.remembered else fetched[key]
            if chunk is None:
                self.out[outside] = self.fill
            else:
                self.out[outside] = (chunk if self.fields is None else chunk[self.fields])[inside]

    def _decoded(self, coords: tuple[int, ...], value: Buffer) -> Array:
        """A chunk in memory of its own."""
        layout = self.layout
        try:
            shape = layout.shape_of(coords)
            return layout.chain_of(shape).decode(value, np.empty(shape, layout.dtype))
        except ZarrError as error:
            raise unreadable(layout, coords, error) from error


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
