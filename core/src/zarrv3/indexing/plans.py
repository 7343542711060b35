"""A plan is a selection cut along the chunk grid: an iterable of pieces, handed out in tasks.

`GridPlan` is the product of what each dimension contributes (basic and orthogonal selections) and knows their number
without enumerating them; `ListedPlan` has a list, of points for instance.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, product, starmap
from operator import floordiv
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zarrv3.format.cuts import Cut, are_regular, chunk_of
from zarrv3.indexing.arguments import SelectionValueError
from zarrv3.indexing.axes import WINDOW, Axis, Parts


class Piece(NamedTuple):
    """One chunk's share of a selection: `result[outside] = chunk[inside]`, where both sides have the same shape.

    Integers in `inside` drop a dimension and `chunk[inside]` of only integers is a scalar, as always in numpy.
    """

    chunk: tuple[int, ...]
    """Where the chunk is in the chunk grid."""
    inside: tuple[Any, ...]
    """Index into the decoded chunk, one entry for each of its dimensions."""
    outside: tuple[Any, ...]
    """Index into the result or the value to be written."""
    whole: bool
    """Every element of the chunk within the bounds of the array is there once, in C order: a write needs no read.

    `value[outside]` may have fewer dimensions than the chunk (or, for points, just one), but reshapes to it.
    """


class Plan(ABC):
    """A selection cut into pieces, no two of the same chunk."""

    __slots__ = ("count", "result_shape", "shape")

    shape: tuple[int, ...]
    """Shape of the buffer that `outside` indexes."""
    result_shape: tuple[int, ...]
    """Shape that the user sees; `finish` makes it of the buffer, without copying."""
    count: int
    """Number of pieces, exactly."""

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """All pieces, in any order."""

    @abstractmethod
    def blocks(self, align: Sequence[Cut]) -> Iterator[list[Piece]]:
        """All pieces, those of one block of `align` chunks (a shard) together."""

    def tasks(self, size: int, align: Sequence[Cut] | None = None) -> Iterator[list[Piece]]:
        """The pieces in lists of at most `size`.

        With `align` all pieces of one block of chunks (`chunk_of(align[d], chunk[d])` equal for all d) stand together in one
        task, which is longer than `size` only if that one block has more pieces.
        """
        if align is None or self.count == 1 or all(block == 1 for block in align):
            pieces = self.pieces()
            while task := list(islice(pieces, size)):
                yield task
            return
        task = []
        for block in self.blocks(align):
            if task and len(task) + len(block) > size:
                yield task
                task = []
            task += block
        if task:
            yield task

    def finish(self, buffer: NDArray[Any]) -> NDArray[Any]:
        """The result as the user sees it, made of the filled buffer; never a copy."""
        return buffer if buffer.shape == self.result_shape else buffer.reshape(self.result_shape)

    def start(self, value: ArrayLike) -> NDArray[Any]:
        """A value to be written, broadcast to the buffer's shape by numpy's rules of assignment; only to be read.

        No element is copied, except that a value that was broadcast to an n-d array of coordinates is laid out.
        """
        array = np.asarray(value)
        if array.shape != self.result_shape:
            array = self._broadcast(array)
        return array if array.shape == self.shape else array.reshape(self.shape)

    def _broadcast(self, array: NDArray[Any]) -> NDArray[Any]:
        while array.ndim > len(self.result_shape) and array.shape[0] == 1:
            array = array.reshape(array.shape[1:])  # assignments, unlike other operations, drop leading ones
        try:
            return np.broadcast_to(array, self.result_shape)
        except ValueError:
            raise SelectionValueError(
                f"could not broadcast input array from shape {array.shape} into shape {self.result_shape}"
            ) from None


class ListedPlan(Plan):
    """Pieces that are known one by one."""

    __slots__ = ("_pieces",)

    def __init__(
        self, pieces: Iterable[Piece], shape: tuple[int, ...], result_shape: tuple[int, ...]
    ) -> None:
        self._pieces = [*pieces]
        self.shape = shape
        self.result_shape = result_shape
        self.count = len(self._pieces)

    def pieces(self) -> Iterator[Piece]:
        return iter(self._pieces)

    def blocks(self, align: Sequence[Cut]) -> Iterator[list[Piece]]:
        found: dict[tuple[int, ...], list[Piece]] = {}
        is_regular = are_regular(align)
        for piece in self._pieces:
            block = map(floordiv, piece[0], align) if is_regular else map(chunk_of, align, piece[0])
            found.setdefault(tuple(block), []).append(piece)
        return iter(found.values())


class GridPlan(Plan):
    """The product of what each dimension selects.

    A dimension with more than `WINDOW` chunks is enumerated window by window, so that memory stays bounded.
    """

    __slots__ = ("_axes",)

    def __init__(self, axes: list[Axis], shape: tuple[int, ...], result_shape: tuple[int, ...]) -> None:
        self._axes = axes
        self.shape = shape
        self.result_shape = result_shape
        self.count = math.prod([axis.count for axis in axes])

    def pieces(self) -> Iterator[Piece]:
        if self.count == 1:
            return iter((_single([axis.parts() for axis in self._axes]),))
        boxes = self._boxes([1] * len(self._axes))
        blocks = chain.from_iterable(_crossed([[parts] for parts in box]) for box in boxes)
        return chain.from_iterable(blocks)

    def blocks(self, align: Sequence[Cut]) -> Iterator[list[Piece]]:
        for box in self._boxes(align):
            yield from map(list, _crossed([parts.split(k) for parts, k in zip(box, align, strict=True)]))

    def _boxes(self, align: Sequence[Cut]) -> Iterable[Sequence[Parts]]:
        if not self.count:
            return ()
        if self.count <= WINDOW or max([axis.count for axis in self._axes]) <= WINDOW:
            return ([axis.parts() for axis in self._axes],)
        return _nest(self._axes, align)


def _nest(axes: Sequence[Axis], align: Sequence[Cut]) -> Iterator[tuple[Parts, ...]]:
    """The product of the windows, none of them kept."""
    if not axes:
        yield ()
        return
    for parts in axes[0].windows(align[0]):
        for rest in _nest(axes[1:], align[1:]):
            yield (parts, *rest)


def _single(box: Sequence[Parts]) -> Piece:
    """The only piece of a small selection, without the machinery."""
    return Piece(
        tuple([parts.chunks[0] for parts in box]),
        tuple([parts.inside[0] for parts in box]),
        tuple([parts.outside[0] for parts in box if parts.outside is not None]),
        False not in [parts.whole[0] for parts in box],
    )


def _crossed(split: Sequence[Sequence[Parts]]) -> Iterator[Iterator[Piece]]:
    """For each block the product of the dimensions' lists; `itertools` does what happens for each block and piece."""
    fields = zip(
        _products([[parts.chunks for parts in axis] for axis in split]),
        _products([[parts.inside for parts in axis] for axis in split]),
        _products([[parts.outside for parts in axis] for axis in split if axis[0].outside is not None]),
        map(_alls, _products([[parts.whole for parts in axis] for axis in split])),
        strict=True,
    )
    return map(_pieces, starmap(zip, fields))


def _products(split: Sequence[Sequence[Any]]) -> Iterator[Iterator[tuple[Any, ...]]]:
    return starmap(product, product(*split))


_alls = partial(map, all)
_pieces = partial(map, partial(tuple.__new__, Piece))  # `_make` without a call in Python for each
