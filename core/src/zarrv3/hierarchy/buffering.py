"""`Buffering`: what an array object does that writes late, in whole chunks; `Array.buffered` and `write_buffer=` ask for it."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

from zarrv3.chunks import reading
from zarrv3.chunks.write_buffer import WriteBuffer
from zarrv3.errors import StoreError
from zarrv3.indexing import Plan, plan_basic

if TYPE_CHECKING:
    from zarrv3.chunks.layout import Layout
    from zarrv3.chunks.tasks import Fields, Progress
    from zarrv3.hierarchy.array import Array
    from zarrv3.indexing.casting import NumpyArray


class Buffering:
    """What an array object, the owner, has taken and its store does not have yet: parts of chunks, and appended elements.

    The owner shows appended elements in their places at once. In the store they get places when they are stored: behind what others
    have appended meanwhile.

    Args:
        owner: when it is forgotten, what waits is stored by another thread, as that may happen anywhere.
        array: the array as it is in the store, for all that is known; it writes at once.
        max_size: how many bytes may wait, as a number or as text such as `"64MiB"`.
    """

    def __init__(self, owner: Array, array: Array, max_size: int | str) -> None:
        self.array = array
        self.buffer = WriteBuffer(max_size)
        self.ended = False
        """Whether nothing is taken any more."""
        self._axis: int | None = None
        self._length = 0
        _all.add(self)
        weakref.finalize(owner, self._start_flush).atexit = False

    @property
    def is_growing(self) -> bool:
        """Whether appended elements wait that have no places in the store."""
        return self._axis is not None

    def takes(self, value: NumpyArray) -> bool:
        """Whether a value is small enough to wait."""
        return not self.ended and 2 * value.nbytes <= self.buffer.max_size

    # ------------------------------------------------------------ taking and showing

    def read(
        self,
        layout: Layout,
        plan: Plan,
        out: NumpyArray,
        *,
        fields: Fields = None,
        progress: Progress | None = None,
    ) -> None:
        """Read a selection as `reading.read` does, with what waits."""
        with self.buffer.taken:
            reading.read(layout, plan, out, fields=fields, progress=progress)
            self.buffer.lay_over(layout, plan, out, fields)

    def write(self, owner: Array, plan: Plan, value: NumpyArray) -> None:
        """Take elements, and store the chunks that they complete."""
        units = self.buffer.put(owner.layout, plan, value)
        self._store_whole(units)
        if self.buffer.size > self.buffer.max_size:
            self.flush()

    def append(self, owner: Array, value: NumpyArray, axis: int) -> None:
        """Take elements that lie behind the array's end along an axis, and store the chunks that they complete.

        If that fails, what was taken before goes on waiting, and the new elements do not, unless they have got their place in the store.
        """
        if self._axis != axis:
            owner.flush()
        before = owner.metadata
        old = before.shape[axis]
        self._axis, self._length = axis, old + value.shape[axis]
        owner.show(before.with_shape(with_length(before.shape, axis, self._length)))
        plan = self._appended(old)
        try:
            self.write(owner, plan, value)
        except BaseException:
            if self.is_growing and self.array.shape[axis] <= old:
                self.buffer.drop(owner.layout, plan)
                self._length = old
                owner.show(before)
            raise
        if not self.is_growing:
            owner.show(self.array.metadata)

    # ------------------------------------------------------------ storing

    def flush(self) -> None:
        """Store everything. What cannot be stored goes on waiting."""
        with self.buffer.taken:
            if self._axis is not None:
                self._lengthen(self._axis, self._length)
                self._axis = None
            self._store(self.buffer.units)

    def _store_whole(self, units: set[tuple[int, ...]]) -> None:
        axis = self._axis
        if axis is not None:
            unit = self.array.layout.stored[axis]
            assert isinstance(unit, int)
            start, stop = self.array.shape[axis], self._length // unit * unit
            if stop > start:
                self._lengthen(axis, stop)
                self._store(self.buffer.between(axis, start, stop))
        self._store(self.buffer.whole(self.array.layout, units, axis))

    def _store(self, units: list[tuple[int, ...]]) -> None:
        self.buffer.store(self.array.layout, units, write_empty=self.array.write_empty_chunks)

    def _lengthen(self, axis: int, length: int) -> None:
        """Get places in the store for what has been appended, up to some length, or elsewhere if its shape is another by now."""
        before = self.array.shape

        def longer(shape: tuple[int, ...]) -> tuple[int, ...]:
            if shape != before:
                raise _MovedError
            return with_length(shape, axis, length)

        if length > before[axis]:
            try:
                self.array.resize_with(longer)
            except _MovedError:
                self._append_behind(axis)

    def _append_behind(self, axis: int) -> None:
        """Append all that has been appended to the array as it is by now."""
        plan = self._appended(self.array.shape[axis])
        value = np.empty(plan.shape, self.array.dtype)
        self.buffer.lay_over(self.array.layout, plan, value)
        layout = self.array.layout
        self.array.refresh()
        self.array.append(value, axis)
        self.buffer.drop(layout, plan)
        self._axis = None

    def _appended(self, start: int) -> Plan:
        """The selection of what has been appended from some element on."""
        assert self._axis is not None
        shape = with_length(self.array.shape, self._axis, self._length)
        return plan_basic(from_on(shape, self._axis, start), shape, self.array.layout.cuts)

    def _start_flush(self) -> None:
        if self.buffer.units or self._axis is not None:
            try:
                threading.Thread(target=self.flush, name="zarrv3 write buffer").start()
            except RuntimeError:  # the interpreter is shutting down
                self.flush()


class _MovedError(Exception):
    """The array in the store has another shape than was known."""


def with_length(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    """A shape with another length along an axis."""
    return (*shape[:axis], length, *shape[axis + 1 :])


def from_on(shape: tuple[int, ...], axis: int, start: int) -> tuple[slice, ...]:
    """The selection of what lies in a shape from `start` on along an axis."""
    return tuple([slice(start if a == axis else 0, length) for a, length in enumerate(shape)])


_all: weakref.WeakSet[Buffering] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    """Store what waits when the interpreter ends; what cannot be stored is told, since nobody else would."""
    errors = []
    for buffering in [*_all]:
        try:
            buffering.flush()
        except Exception as error:  # noqa: BLE001 - the others first
            errors.append(error)
    if errors:
        told = "; ".join(map(str, errors))
        raise StoreError(f"writes that waited could not be stored, and are lost: {told}") from errors[0]
