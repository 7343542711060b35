"""Arrays: numpy's manners over chunks in a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias, Unpack

import numpy as np
from numpy.typing import ArrayLike

from zarrv3.chunks import reading, writing
from zarrv3.chunks.chunk_cache import ChunkCache, as_cache
from zarrv3.chunks.layout import Layout, arrange, form_of
from zarrv3.chunks.resizing import trim
from zarrv3.chunks.tasks import Fields, Progress
from zarrv3.errors import AssignmentError, IrregularGridError, MetadataError, SelectionError, ZarrError
from zarrv3.format.codecs import Codec
from zarrv3.format.cuts import Cut, are_regular, count_of, largest, start_of
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy.arguments import ReadArguments, WriteArguments, takes
from zarrv3.hierarchy.buffering import Buffering, from_on, with_length
from zarrv3.hierarchy.node import Node
from zarrv3.hierarchy.nodes import document_key, folder_of
from zarrv3.indexing import (
    Plan,
    is_index,
    plan,
    plan_basic,
    plan_blocks,
    plan_coordinates,
    plan_mask,
    plan_orthogonal,
    split_fields,
)
from zarrv3.indexing.boxes import Box, as_box, box_shape, cut, spanned
from zarrv3.indexing.casting import NumpyArray, castable, check_out, field_dtype, is_stored
from zarrv3.opening.stores import StoreLike
from zarrv3.options.settings import checked, config

Planner: TypeAlias = Callable[..., Plan]

BOX_BYTES = 16 * 2**20
"""About how many bytes of an array in a store are read at once to be written to another."""

_ORTHOGONAL = "an integer, a slice, a list of indices or a mask of its length for each dimension."
_COORDINATES = "an array of coordinates for each dimension; they are broadcast together."
_MASK = "a boolean array of the array's shape."
_BLOCKS = "an integer or a slice (with step 1) of the numbers of chunks for each dimension."
_IS_NEW = """the array was created a moment ago, so that no chunk is read first. Where the store can swap, what others have written
since stays nevertheless; elsewhere it is lost where it shares a chunk (or shard) with what is written."""
_READING = """Returns a numpy array, without dimensions where `array[selection]` is a scalar. Raises `SelectionError` (an
`IndexError`) for a selection that does not fit, `AssignmentError` for an `out` that does not, and `CorruptDataError` for a chunk
that cannot be decoded. Thread-safe."""
_WRITING = """Raises `SelectionError` (an `IndexError`) for a selection that does not fit; `AssignmentError` for a value of another shape, or
with elements that the array cannot hold (numbers out of range, longer texts, masked ones, …), before anything is written;
`CorruptDataError` for a chunk of which a part stays and that cannot be decoded; and `ReadOnlyError`. Thread-safe: concurrent
writes to different elements all take effect, those of several processes where the store can swap."""


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """How an array is used, apart from what its document says, as zarr-python 3 calls it."""

    order: Literal["C", "F"]
    write_empty_chunks: bool


def usage_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What an `Array` is told for the arguments `config` and `write_empty_chunks`; the second one counts."""
    given = arguments.get("config") or {}
    if not isinstance(given, Mapping):
        given = {name: getattr(given, name) for name in ("order", "write_empty_chunks")}
    found = checked({f"array.{name}": value for name, value in given.items()})
    empty = arguments.get("write_empty_chunks")
    return {
        "write_empty_chunks": found.get("write_empty_chunks") if empty is None else empty,
        "memory_order": found.get("order"),
    }


class Array(Node[ArrayMetadata]):
    """An n-dimensional array whose chunks lie in a store: a node of type `array` of the Zarr v3 specification.

    Indexing reads, assigning writes; both follow numpy: `a[10:90, ::-1]`, masks, lists of indices. `oindex` selects each
    dimension on its own, `vindex` single points, `blocks` whole chunks. Reading returns new numpy arrays.

    Thread-safe: concurrent writes to different elements all take effect, also where they share a chunk. So do those of
    several processes where the store can swap (`array.info` says so); elsewhere processes should not share chunks (or shards).

    Args:
        store: the store it lies in: anything that `open_store` takes.
        path: the path within the store.
        read_only: refuse to change anything.
        write_empty_chunks: store chunks that hold only the fill value; by default the setting of that name.
        memory_order: how the elements of what is read lie in memory, `C` or `F`; by default as the setting `order` says.
        metadata: its metadata, if they are known already.
        chunk_cache: remember decoded chunks for reading: a size in bytes or as text such as `"64MiB"`, or a `ChunkCache`
            that several arrays share. What others write is then not seen before `refresh`. Chunks whose elements vary
            in length are not remembered.
        write_buffer: write late, in whole chunks, as in a block of `buffered` that ends with `flush`, or when the array is forgotten:
            how many bytes may wait, or text such as `"256MiB"`.

    Raises `NodeNotFoundError` when nothing is there, `NodeTypeError` when it is a group, and `MetadataError` for a document
    that is not valid.
    """

    metadata_class = ArrayMetadata

    def __init__(
        self,
        store: StoreLike,
        path: str = "",
        *,
        read_only: bool = False,
        write_empty_chunks: bool | None = None,
        memory_order: Literal["C", "F"] | None = None,
        metadata: ArrayMetadata | None = None,
        chunk_cache: ChunkCache | int | str | None = None,
        write_buffer: int | str | None = None,
    ) -> None:
        self._buffering: Buffering | None = None
        self._resized: dict[bytes, ArrayMetadata] = {}
        super().__init__(store, path, read_only=read_only, metadata=metadata)
        self._write_empty = write_empty_chunks
        self._memory_order: Literal["C", "F"] = memory_order or config.get("order")
        self._cache = as_cache(chunk_cache)
        self._layout = self._arranged(self._metadata)
        self._write_buffer = write_buffer
        if write_buffer is not None:
            self._buffer(write_buffer)

    def _arranged(self, metadata: ArrayMetadata) -> Layout:
        layout = arrange(self._store, folder_of(self._path), metadata)
        if self._cache is None or metadata.data_type.item_size is None:
            return layout
        return replace(layout, cache=self._cache.of(self._store, form_of(metadata)))

    def _adopt(self, metadata: ArrayMetadata) -> None:
        if self._buffering is not None:
            self._buffering.array._adopt(metadata)
        self.show(metadata)

    def show(self, metadata: ArrayMetadata) -> None:
        """Be an array of other metadata from now on, without asking the store or telling it.

        Args:
            metadata: the array's.
        """
        self._layout = self._as_laid_out(metadata)
        super()._adopt(metadata)

    def _as_laid_out(self, metadata: ArrayMetadata) -> Layout:
        """The layout of this array with other metadata."""
        return self._layout.reshaped(metadata) or self._arranged(metadata)

    def refresh(self) -> Self:
        """Read the metadata again and forget decoded chunks, to see what another process or object has changed.

        Stores what waits first. Returns this array. Raises `NodeNotFoundError` or `NodeTypeError` when it is no longer there.
        """
        with self._stored():
            super().refresh()
        if self._layout.cache is not None:
            self._layout.cache.forget(self._layout.folder)
        return self

    @takes(raises="Raises `ConfigurationError` for a size that is not one.")
    def with_chunk_cache(self, chunk_cache: ChunkCache | int | str | None) -> Self:
        """A new object for this array that remembers decoded chunks for reading; this one stays as it is."""
        return self._with(chunk_cache=chunk_cache)

    def with_config(self, config: ArrayConfig | Mapping[str, Any]) -> Self:
        """A new object for this array that is used otherwise; this one stays as it is.

        Args:
            config: as `create_array` takes it; what it does not name stays.

        Raises `ConfigurationError` for a name or value that makes no sense.
        """
        told = {name: value for name, value in usage_of({"config": config}).items() if value is not None}
        return self._with(**told)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it takes to open the array again; what waits is stored first."""
        self.flush()
        return super().__reduce__()

    def _with(self, **options: Any) -> Self:
        self.flush()
        told = self._options() | options
        return type(self)(self._store, self._path, metadata=self._metadata, **told)._share(self._above)

    def _options(self) -> dict[str, Any]:
        return {
            **super()._options(),
            "write_empty_chunks": self._write_empty,
            "memory_order": self._memory_order,
            "chunk_cache": self._cache,
            "write_buffer": self._write_buffer,
        }

    @property
    def chunk_cache(self) -> ChunkCache | None:
        """The cache of decoded chunks, or `None`."""
        return self._cache

    # ------------------------------------------------------------ what it is

    @property
    def layout(self) -> Layout:
        """How the chunks lie in the store: their keys, codecs and storage transformers."""
        return self._layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension; assigning is `resize`."""
        return self._metadata.shape

    @shape.setter
    def shape(self, shape: Sequence[int]) -> None:
        self.resize(shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements in memory, in native byte order."""
        return self._layout.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape, in elements, of the chunks that are encoded one by one (in a shard: of the inner chunks).

        Raises `IrregularGridError` where chunks differ in shape; `read_chunk_sizes` has the lengths of any.
        """
        return self._one_shape(self._layout.cuts, "chunks", "read_chunk_sizes")

    @property
    def shards(self) -> tuple[int, ...] | None:
        """The shape, in elements, of what is stored as one value, where that is several chunks; otherwise `None`.

        Raises `IrregularGridError` where shards differ in shape; `write_chunk_sizes` has the lengths of any.
        """
        if self._layout.blocks is None:
            return None
        return self._one_shape(self._layout.stored, "shards", "write_chunk_sizes")

    def _one_shape(self, cuts: Sequence[Cut], what: str, instead: str) -> tuple[int, ...]:
        if are_regular(cuts):
            return largest(cuts)
        raise IrregularGridError(f"the {what} of {self!r} differ in shape: use {instead}")

    @property
    def read_chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """The lengths of all chunks (of a sharded array: inner chunks) along each dimension, as far as they lie in the array."""
        return self._layout.sizes(self._layout.cuts)

    @property
    def write_chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """The lengths of all that is stored as one value, chunks or shards, along each dimension, as far as they lie in the array."""
        return self._layout.sizes(self._layout.stored)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """The size of an element in memory, in bytes."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The size of all elements in memory, in bytes: `size * itemsize`."""
        return self.size * self.itemsize

    @property
    def fill_value(self) -> Any:
        """The value of elements that were never written: a numpy scalar of `dtype`."""
        return self._metadata.fill_value

    @property
    def dimension_names(self) -> tuple[str | None, ...] | None:
        """A name or `None` for each dimension; `None` if none has a name (`dimension_names` of the specification)."""
        return self._metadata.dimension_names

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """The codecs that encode a chunk, in the order of encoding (`codecs` of the specification)."""
        return self._layout.chain.codecs

    @property
    def serializer(self) -> Codec:
        """The codec from array to bytes."""
        return next(codec for codec in self.codecs if codec.kind == "array-bytes")

    @property
    def compressors(self) -> tuple[Codec, ...]:
        """The codecs from bytes to bytes, in the order of encoding."""
        return tuple(codec for codec in self.codecs if codec.kind == "bytes-bytes")

    @property
    def compressor(self) -> Codec | None:
        """The first of the `compressors`, or `None`, as in zarr-python 2."""
        return next(iter(self.compressors), None)

    @property
    def filters(self) -> tuple[Codec, ...]:
        """The codecs from array to array, in the order of encoding."""
        return tuple(codec for codec in self.codecs if codec.kind == "array-array")

    @property
    def order(self) -> str:
        """`"F"` if chunks are stored in Fortran order (by a `transpose` codec that reverses the axes), else `"C"`."""
        reverse = list(range(self.ndim))[::-1]
        first = next(iter(self.filters), None)
        document = first.to_json() if first is not None else None
        is_reversed = isinstance(document, dict) and document.get("configuration", {}).get("order") == reverse
        return "F" if is_reversed and self.ndim > 1 else "C"

    @property
    def cdata_shape(self) -> tuple[int, ...]:
        """How many chunks (of a sharded array: inner chunks) there are along each dimension, stored or not."""
        return self._layout.grid_shape

    @property
    def nchunks(self) -> int:
        """How many chunks (of a sharded array: inner chunks) there are, stored or not."""
        return math.prod(self.cdata_shape)

    @property
    def nchunks_initialized(self) -> int:
        """How many chunks (of a sharded array: inner chunks) are stored: lists the array's keys, reads no chunks.

        Raises `UnsupportedError` for a store that cannot list its keys.
        """
        layout = self._layout
        return sum(1 for key in layout.store.list_prefix(layout.folder) if layout.coords(key) is not None)

    def nbytes_stored(self) -> int:
        """The size of all values of the array in the store, its document included, in bytes; reads no values.

        Raises `UnsupportedError` for a store that cannot list its keys.
        """
        return sum(size for _, size in self._store.list_sizes(self._layout.folder))

    # ------------------------------------------------------------ reading

    def __getitem__(self, selection: Any) -> Any:
        """Read what is selected by integers, slices, `...`, masks or lists of indices, as numpy does.

        Returns a numpy scalar if integers select one element, else a new numpy array. With arrays of indices for all
        dimensions points are selected, with one for some dimensions each dimension on its own, as in zarr-python 3. Names of
        fields of a structured dtype may stand beside them. Raises what `read` raises. Thread-safe.
        """
        result = self._get(plan, selection)
        if result.ndim == 0 and not _has_dots(selection):
            return result[()]
        return result

    @takes(ReadArguments, raises=_READING, selection="what `array[selection]` takes; by default everything.")
    def read(
        self, selection: Any = ..., *, progress: Progress | None = None, **options: Unpack[ReadArguments]
    ) -> NumpyArray:
        """Read a selection into new memory or into the caller's."""
        return self._get(plan, selection, progress=progress, **options)

    @takes(ReadArguments, raises=_READING, selection="integers, slices and `...`; by default everything.")
    def get_basic_selection(self, selection: Any = ..., **options: Unpack[ReadArguments]) -> NumpyArray:
        """Read a selection of integers and slices."""
        return self._get(plan_basic, selection, **options)

    @takes(ReadArguments, raises=_READING, selection=_ORTHOGONAL)
    def get_orthogonal_selection(self, selection: Any, **options: Unpack[ReadArguments]) -> NumpyArray:
        """Read a selection of each dimension on its own; `oindex` does the same."""
        return self._get(plan_orthogonal, selection, **options)

    @takes(ReadArguments, raises=_READING, selection=_COORDINATES)
    def get_coordinate_selection(self, selection: Any, **options: Unpack[ReadArguments]) -> NumpyArray:
        """Read single points, as an array of the shape of the coordinates; `vindex` does the same."""
        return self._get(plan_coordinates, selection, **options)

    @takes(ReadArguments, raises=_READING, mask=_MASK)
    def get_mask_selection(self, mask: Any, **options: Unpack[ReadArguments]) -> NumpyArray:
        """Read where a mask is true, as one dimension in the order of the elements; `vindex` does the same."""
        return self._get(plan_mask, mask, **options)

    @takes(ReadArguments, raises=_READING, selection=_BLOCKS)
    def get_block_selection(self, selection: Any, **options: Unpack[ReadArguments]) -> NumpyArray:
        """Read whole chunks (of a sharded array: shards); `blocks` does the same."""
        return self._get(self._plan_blocks, selection, **options)

    @property
    def oindex(self) -> Indexer:
        """Orthogonal indexing, reading and writing."""
        return Indexer(self, plan_orthogonal)

    @property
    def vindex(self) -> Indexer:
        """Indexing by points or a mask, reading and writing."""
        return Indexer(self, plan_coordinates)

    @property
    def blocks(self) -> Indexer:
        """Indexing by chunks (of a sharded array: shards), reading and writing."""
        return Indexer(self, self._plan_blocks)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NumpyArray:
        """All elements as a numpy array; `ValueError` for `copy=False`, which cannot be granted."""
        if copy is False:
            raise ValueError("an array in a store cannot become a numpy array without a copy")
        whole = self._get(plan_basic, ...)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __bool__(self) -> bool:
        """The truth of the only element; like numpy, an error for several or none."""
        if self.size != 1:
            raise ValueError(f"the truth value of an array of {self.size} elements is ambiguous")
        return bool(self._only())

    def __iter__(self) -> Iterator[Any]:
        """The elements along the first dimension; chunks are read once each."""
        if not self.shape:
            raise TypeError("iteration over an array without dimensions")
        cut, length = self._layout.stored[0], self.shape[0]
        for number in range(count_of(cut, length)):
            yield from self[start_of(cut, number) : start_of(cut, number + 1)]

    def __float__(self) -> float:
        return float(self._only())

    def __int__(self) -> int:
        return int(self._only())

    def __complex__(self) -> complex:
        return complex(self._only())

    def _only(self) -> Any:
        if self.size != 1:
            raise TypeError(
                f"only an array of one element can become a scalar, not one of shape {self.shape}"
            )
        return self[(0,) * self.ndim]

    def _plan_blocks(self, selection: Any, shape: Sequence[int], cuts: Sequence[Cut]) -> Plan:
        return plan_blocks(selection, shape, cuts, self._layout.stored)

    def _get(
        self,
        planner: Planner,
        selection: Any,
        *,
        out: NumpyArray | None = None,
        fields: Fields = None,
        progress: Progress | None = None,
    ) -> NumpyArray:
        layout = self._layout
        fields, selection = self._fields(fields, selection)
        selected = planner(selection, layout.metadata.shape, layout.cuts)
        dtype = layout.dtype if fields is None else field_dtype(layout.dtype, fields)
        if out is not None:
            check_out(out, selected.result_shape, dtype)
        if out is not None and out.dtype == dtype and out.shape == selected.shape:
            buffer = out
        else:
            buffer = np.empty(selected.shape, dtype, self._memory_order)
        read = reading.read if self._buffering is None else self._buffering.read
        read(layout, selected, buffer, fields=fields, progress=progress)
        if out is None:
            return selected.finish(buffer)
        if buffer is not out:
            out[...] = selected.finish(buffer)
        return out

    def _fields(self, fields: Fields, selection: Any) -> tuple[Fields, Any]:
        named, selection = split_fields(selection)
        fields = fields or named
        if fields is not None:
            known = self.dtype.names or ()
            for name in [fields] if isinstance(fields, str) else fields:
                if name not in known:
                    have = ", ".join(known) or "none"
                    raise SelectionError(f"{self!r} has no field {name!r}; its fields: {have}")
        return fields, selection

    # ------------------------------------------------------------ writing

    def __setitem__(self, selection: Any, value: ArrayLike) -> None:
        """Write a value, broadcast and cast as numpy does, to what `array[selection]` selects.

        Takes what `write` takes, and raises what it raises. Thread-safe.
        """
        self._set(plan, selection, value)

    @takes(WriteArguments, raises=_WRITING, selection="what `array[selection]` takes.", is_new=_IS_NEW)
    def write(
        self,
        selection: Any,
        value: ArrayLike,
        *,
        is_new: bool = False,
        progress: Progress | None = None,
        **options: Unpack[WriteArguments],
    ) -> None:
        """Write a value to a selection: `array[selection] = value`, with more options.

        A chunk or shard of which a part stays is read, changed and written. Readers see each of them whole, old or new; all
        of them together are not one step.
        """
        self._set(plan, selection, value, is_new=is_new, progress=progress, **options)

    @takes(WriteArguments, raises=_WRITING, selection="integers, slices and `...`.")
    def set_basic_selection(
        self, selection: Any, value: ArrayLike, **options: Unpack[WriteArguments]
    ) -> None:
        """Write to a selection of integers and slices."""
        self._set(plan_basic, selection, value, **options)

    @takes(WriteArguments, raises=_WRITING, selection=_ORTHOGONAL)
    def set_orthogonal_selection(
        self, selection: Any, value: ArrayLike, **options: Unpack[WriteArguments]
    ) -> None:
        """Write to a selection of each dimension on its own; `oindex` does the same."""
        self._set(plan_orthogonal, selection, value, **options)

    @takes(WriteArguments, raises=_WRITING, selection=_COORDINATES)
    def set_coordinate_selection(
        self, selection: Any, value: ArrayLike, **options: Unpack[WriteArguments]
    ) -> None:
        """Write to single points; `vindex` does the same. Of a point that is named twice the last value counts."""
        self._set(plan_coordinates, selection, value, **options)

    @takes(WriteArguments, raises=_WRITING, mask=_MASK)
    def set_mask_selection(self, mask: Any, value: ArrayLike, **options: Unpack[WriteArguments]) -> None:
        """Write where a mask is true; `vindex` does the same."""
        self._set(plan_mask, mask, value, **options)

    @takes(WriteArguments, raises=_WRITING, selection=_BLOCKS)
    def set_block_selection(
        self, selection: Any, value: ArrayLike, **options: Unpack[WriteArguments]
    ) -> None:
        """Write whole chunks (of a sharded array: shards); `blocks` does the same."""
        self._set(self._plan_blocks, selection, value, **options)

    def _set(
        self,
        planner: Planner,
        selection: Any,
        value: Any,
        *,
        fields: Fields = None,
        is_new: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._check_writable()
        if self._buffering is not None and self._set_late(
            planner, selection, value, fields=fields, progress=progress
        ):
            return
        layout = self._layout
        fields, selection = self._fields(fields, selection)
        selected = planner(selection, layout.metadata.shape, layout.cuts)
        dtype = layout.dtype if fields is None else field_dtype(layout.dtype, fields)
        if is_stored(value) and planner in {plan, plan_basic} and selected.result_shape == tuple(value.shape):
            box = as_box(selection, layout.metadata.shape)
            if box is not None and math.prod(value.shape) * value.dtype.itemsize > BOX_BYTES:
                self.castable(np.empty(0, value.dtype), dtype)
                self._set_parts(box, value, selected.count, fields=fields, is_new=is_new, progress=progress)
                return
        writing.write(
            layout,
            selected,
            selected.start(self.castable(value, dtype)),
            fields=fields,
            write_empty=self.write_empty_chunks,
            expect_missing=is_new,
            progress=progress,
        )

    def _set_late(
        self, planner: Planner, selection: Any, value: Any, *, fields: Fields, progress: Progress | None
    ) -> bool:
        """Put a value into the write buffer; `False` if it has to be written at once: what it would replace is stored then."""
        buffering = self._buffering
        assert buffering is not None
        with buffering.buffer.taken:
            layout = self._layout
            fields, selection = self._fields(fields, selection)
            if fields is None and progress is None and not is_stored(value):
                selected = planner(selection, layout.metadata.shape, layout.cuts)
                array = selected.start(self.castable(value, layout.dtype))
                if buffering.takes(array):
                    buffering.write(self, selected, array)
                    return True
            self.flush()
            return False

    def _set_parts(
        self,
        box: Box,
        source: Any,
        total: int,
        *,
        fields: Fields,
        is_new: bool,
        progress: Progress | None,
    ) -> None:
        """Write an array in a store to as large a box, one part after the other; the first write comes after the first read."""
        item = max(source.dtype.itemsize, self.itemsize)
        layout = self._layout
        lengths = box_shape(self.shape, layout.stored, _stored(source), BOX_BYTES // item)
        done = 0

        def report(chunks: int, _: int) -> None:
            assert progress is not None
            progress(done + chunks, total)

        for place, part in cut(box, lengths):
            moved = report if progress is not None else None
            self._set(plan_basic, place, source[part], fields=fields, is_new=is_new, progress=moved)
            done += math.prod(map(len, map(spanned, layout.cuts, place)))

    @property
    def config(self) -> ArrayConfig:
        """How this object uses the array."""
        return ArrayConfig(order=self._memory_order, write_empty_chunks=self.write_empty_chunks)

    @property
    def write_empty_chunks(self) -> bool:
        """Whether chunks that hold only the fill value are stored."""
        return bool(config.get("write_empty_chunks") if self._write_empty is None else self._write_empty)

    def castable(self, value: Any, dtype: np.dtype[Any] | None = None) -> NumpyArray:
        """A value as a numpy array any part of which can be cast to the array's dtype without becoming something else.

        Args:
            value: what `write` takes.
            dtype: the dtype to be cast to; by default the array's.

        Raises `AssignmentError` where that cannot be, as `write` does.
        """
        return castable(value, self.dtype if dtype is None else dtype, self)

    # ------------------------------------------------------------ writing late

    @contextmanager
    def buffered(self, size: int | str = "256MiB") -> Iterator[Self]:
        """A block in which this object writes late: `with array.buffered(): for frame in camera: array.append(frame)`.

        Parts of chunks (or shards) wait in memory, decoded, until the whole chunk has been written, `size` is reached, the block
        ends or `flush` is called; a chunk that is written wholly is stored at once and not read. So small writes and appends cost
        about what writing whole chunks costs. This object shows what waits, in reading and in its `shape`; others, and copies of it
        in other processes, see it when it has been stored. Then parts are swapped into what is there by then, as always.

        **A write or append that waits is not in the store: it is lost if the process dies.** What has been stored is complete, and an
        array that is appended to gets longer in the store only as elements are stored.

        Appended elements that wait have no place in the store yet: if others append meanwhile, they come behind that. Values of
        more than half the `size`, fields of a structured dtype, arrays in stores, and appends to a chunk grid that is not regular
        are written at once, after what waits.

        If storing fails, the error reaches whoever wrote or ended the block, and what has not been stored goes on waiting: call
        `flush` again. Thread-safe. In a forked child nothing waits.

        Args:
            size: how many bytes may wait, or text such as `"64MiB"`; a byte more for each element tells whether it was written.

        Raises `ConfigurationError` for what is not a size, and `ReadOnlyError`.
        """
        self._check_writable()
        if self._buffering is not None:  # an inner block, or an array that was opened so
            yield self
            self.flush()
            return
        buffering = self._buffer(size)
        try:
            yield self
        finally:
            with buffering.buffer.taken:
                self.flush()
                buffering.ended, self._buffering = True, None

    def flush(self) -> None:
        """Store what waits, if anything: see `buffered`. What cannot be stored goes on waiting. Thread-safe."""
        buffering = self._buffering
        if buffering is not None:
            with buffering.buffer.taken:
                buffering.flush()
                self.show(buffering.array.metadata)

    def _buffer(self, size: int | str) -> Buffering:
        self._buffering = Buffering(self, self._with(write_buffer=None), size)
        return self._buffering

    @contextmanager
    def _stored(self) -> Iterator[None]:
        """A block in which nothing waits."""
        with nullcontext() if self._buffering is None else self._buffering.buffer.taken:
            self.flush()
            yield

    # ------------------------------------------------------------ changing the shape

    def _change_quietly(
        self,
        changed: Callable[[ArrayMetadata], ArrayMetadata],
        known: dict[bytes, ArrayMetadata] | None = None,
    ) -> bool:
        with self._stored():
            return super()._change_quietly(changed, known)

    def resize(self, *shape: Any, new_shape: Any = None) -> None:
        """Change the lengths of the dimensions, in place; new elements have the fill value.

        When the array grows, only the document is written; beyond chunks that are listed one by one (`rectilinear`) there is
        one more then, as long as needed. When it shrinks, the chunk grid stays, and what will lie outside is first erased or, where part
        of a chunk stays, set to the fill value: whatever happens, nothing of it comes back when the array grows again. If the
        process dies in between, the array is as long as before, and some of the elements that were to go have the fill value.

        Args:
            shape: one length for each dimension, as several arguments or as one sequence.
            new_shape: the same by name, as zarr-python 3 calls it.

        Raises `MetadataError` for another number of dimensions or a negative length, and `ReadOnlyError`. Where the store can
        swap atomically, each of several callers changes what the one before has left.
        """
        shape = shape if new_shape is None else (new_shape,)
        lengths = shape[0] if len(shape) == 1 and not is_index(shape[0]) else shape
        if not isinstance(lengths, Iterable):
            raise MetadataError(f"shape must be lengths of dimensions, not {lengths!r}")
        wanted = tuple(lengths)
        self.resize_with(lambda _: wanted)

    def resize_with(self, lengths: Callable[[tuple[int, ...]], Sequence[int]]) -> tuple[int, ...]:
        """Change the lengths of the dimensions on top of what they are by now; returns what they were.

        What becomes of elements and chunks, and what is raised, is as in `resize`.

        Args:
            lengths: from the shape in the store to the new one; called again where somebody else was faster. What it raises
                reaches the caller; the first time, nothing has been changed then.
        """
        before, is_other = self._reshape(lengths)
        if is_other:
            self._tell("changed", self._path)
        return before

    def _reshape(self, lengths: Callable[[tuple[int, ...]], Sequence[int]]) -> tuple[tuple[int, ...], bool]:
        """Do as `resize_with` says; returns what the lengths were, and whether they are others now."""
        before = self.shape
        recorded = self._store.snapshot(document_key(self._path))  # its change will be refused

        def changed(metadata: ArrayMetadata) -> ArrayMetadata:
            nonlocal before
            before = metadata.shape
            resized = metadata.with_shape(lengths(before))
            if recorded is None:
                trim(self._as_laid_out(metadata), resized.shape)
            return resized

        is_other = self._change_quietly(changed, self._resized)
        return before, is_other

    def append(self, data: ArrayLike, axis: int = 0) -> tuple[int, ...]:
        """Add elements at the end of a dimension; returns the new shape.

        Several callers, also in several processes, append one after the other where the store can swap atomically, each
        to a place of its own. The place is taken first, then filled; until then it holds the fill value. An append that fails or is
        interrupted gives its place back unless others have appended behind it; if the process dies, the fill value stays there.

        Args:
            data: elements, as `write` takes them, with the array's lengths in all other dimensions.
            axis: the dimension that grows; negative ones count from the last.

        Raises `AssignmentError` for data that do not fit and `SelectionError` for an axis that does not exist, before anything is
        changed, and `ReadOnlyError`. Thread-safe.
        """
        if isinstance(data, Array):  # as it is now: it may be this one
            data = data.with_chunk_cache(data.chunk_cache)
        array: Any = data if is_stored(data) else self.castable(data)
        if not -self.ndim <= axis < self.ndim:
            raise SelectionError(f"axis {axis} is out of bounds for an array of {self.ndim} dimensions")
        axis %= self.ndim

        def longer(shape: tuple[int, ...]) -> tuple[int, ...]:
            if array.ndim != len(shape) or with_length(array.shape, axis, 0) != with_length(shape, axis, 0):
                raise AssignmentError(
                    f"cannot append {array.shape} to {self!r} along axis {axis}: all other lengths must be equal"
                )
            return with_length(shape, axis, shape[axis] + array.shape[axis])

        if self._buffering is not None and self._append_late(array, axis, longer):
            return self.shape
        old, is_other = self._reshape(longer)
        new = longer(old)  # by now other threads may have made this array longer still
        try:
            self._set(plan_basic, from_on(new, axis, old[axis]), array)
        except BaseException:
            with suppress(ZarrError):
                self._reshape(lambda shape: old if shape == new else shape)
            raise
        if is_other:
            self._tell("changed", self._path)
        return self.shape

    def _append_late(
        self, array: Any, axis: int, longer: Callable[[tuple[int, ...]], tuple[int, ...]]
    ) -> bool:
        """Put elements into the write buffer; `False` if they have to be appended at once: what waits is stored then."""
        buffering = self._buffering
        assert buffering is not None
        self._check_writable()
        with buffering.buffer.taken:
            longer(self.shape)
            if isinstance(array, np.ndarray) and buffering.takes(array) and are_regular(self._layout.stored):
                buffering.append(self, array, axis)
                return True
            self.flush()
            return False

    # ------------------------------------------------------------ description

    def __repr__(self) -> str:
        what = f"{self.shape} {self._metadata.data_type.describe()}"
        return f"<zarrv3.Array {self.name!r} {what} in {self._store.describe()}>"


class Indexer:
    """`array.oindex`, `array.vindex` and `array.blocks`: one way to index an array, for reading and writing."""

    def __init__(self, array: Array, planner: Planner) -> None:
        self._array = array
        self._planner = planner

    def __getitem__(self, selection: Any) -> Any:
        result = self._array._get(self._planner, selection)
        return result[()] if result.ndim == 0 else result

    def __setitem__(self, selection: Any, value: ArrayLike) -> None:
        self._array._set(self._planner, selection, value)


def _stored(source: Any) -> Sequence[Cut]:
    """How an array in a store, of ours or of another library, is cut into what is stored as one value."""
    if isinstance(source, Array):
        return source.layout.stored
    with suppress(NotImplementedError):  # chunks that differ in shape
        units: Sequence[Cut] = getattr(source, "shards", None) or source.chunks
        return units
    return (1,) * len(source.shape)


def _has_dots(selection: Any) -> bool:
    return selection is Ellipsis or (
        type(selection) is tuple and any(entry is Ellipsis for entry in selection)
    )
