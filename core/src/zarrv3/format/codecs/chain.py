"""The codecs of an array as one: checked once, then `decode` and `encode` for every chunk."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self, cast

import numpy as np

from zarrv3.errors import CorruptDataError, LimitError, MetadataError
from zarrv3.format.codecs.base import (
    Array,
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
)
from zarrv3.format.codecs.support import TooLargeError, deliver, wrong_size
from zarrv3.format.extensions import PASSED, NamedConfig, blame, broken
from zarrv3.options.settings import config
from zarrv3.store.contract import JSON, Buffer

_ORDER = ("array-array", "array-bytes", "bytes-bytes")


@dataclass(frozen=True, eq=False)
class CodecChain:
    """What turns a chunk into bytes and back. Immutable; all methods may be called from many threads at once."""

    spec: ChunkSpec
    codecs: tuple[Codec, ...]
    """The codecs with everything filled in that they tell from the data type: what belongs into metadata."""
    filters: tuple[tuple[ArrayArrayCodec, ChunkSpec], ...]
    """The array → array codecs, each with what it encodes."""
    serializer: ArrayBytesCodec
    inner: ChunkSpec
    """What the serializer encodes."""
    plain: bool
    """What the serializer makes is the memory of the array."""
    compressors: tuple[tuple[BytesBytesCodec, int | None, int | None], ...]
    """The bytes → bytes codecs, each with the exact size of what it encodes, or the most it can be."""
    encoded_size: int | None
    """The bytes of every encoded chunk; `None` if that depends on the values."""

    @classmethod
    def build(cls, codecs: Iterable[Codec], spec: ChunkSpec) -> Self:
        """Check that the codecs are in order and fit each other and the chunk; `MetadataError` names the one that fails."""
        given = tuple(codecs)
        check_order(given)
        evolved: list[Codec] = []
        filters: list[tuple[ArrayArrayCodec, ChunkSpec]] = []
        compressors: list[tuple[BytesBytesCodec, int | None, int | None]] = []
        current, size, limit = spec, cast("int | None", None), cast("int | None", None)
        serializer: ArrayBytesCodec | None = None
        index = 0
        try:
            for index, one in enumerate(given):  # noqa: B007 - told where one fails
                codec: Any = one.evolve(current)
                evolved.append(codec)
                if codec.kind == "array-array":
                    filters.append((codec, current))
                    current = codec.resolve(current)
                elif codec.kind == "array-bytes":
                    serializer = codec
                    size = codec.encoded_size(current)
                    limit = size if size is not None or current.nbytes is None else _loose(current.nbytes)
                else:
                    if size is not None:
                        codec.check_size(size)
                    compressors.append((codec, size, limit))
                    size = None if size is None else codec.encoded_size(size)
                    limit = size if size is not None or limit is None else _loose(limit)
            assert serializer is not None
            index = len(filters)
            plain = serializer.is_plain(current)
        except Exception as error:
            blame("codecs", given[index], f"codecs[{index}]", error)
            raise
        return cls(spec, tuple(evolved), tuple(filters), serializer, current, plain, tuple(compressors), size)

    @cached_property
    def kernels(self) -> dict[Any, Any]:
        """What `zarrv3.chunks.kernels` keeps for this chain."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """By what it was built of: `decode` is a closure."""
        return type(self).build, (self.codecs, self.spec)

    @cached_property
    def decode(self) -> Callable[..., Array]:
        """`decode(buffer, out=None)`: the chunk of `spec.shape`, in native byte order.

        With `out`, a C-contiguous array of that shape and dtype, the chunk is decoded into it and it is returned; straight,
        without a copy, where the codecs allow. Without, the result may be a read-only view of the buffer. Raises
        `CorruptDataError`; `out` then has unspecified content.
        """
        is_memory = self.plain and not self.filters and self.spec.nbytes
        return self._plain_decoder() if is_memory else self._general_decoder()

    def encode(self, array: Array) -> Buffer:
        """The bytes of a chunk of `spec.shape`; nothing refers to the memory of `array` afterwards."""
        spec = self.spec
        if array.shape != spec.shape or array.dtype != spec.data_type.numpy:
            raise MetadataError(
                f"a chunk of {array.dtype} {array.shape} where {spec.data_type.numpy} {spec.shape} belongs"
            )
        codec: Any = self.serializer
        try:
            for codec, before in self.filters:
                array = codec.encode(array, before)
            codec = self.serializer
            data: Buffer
            if self.compressors and self.plain:
                data = _memory(np.ascontiguousarray(array), self.inner.data_type.carrier)
            else:
                data = self.serializer.encode(array, self.inner)
            for codec, _, _ in self.compressors:
                data = codec.encode(data)
        except PASSED:
            raise
        except Exception as error:
            raise MetadataError(_broken(codec, self.codecs, error)) from error
        return bytes(data) if isinstance(data, memoryview) else data

    def _plain_decoder(self) -> Callable[..., Array]:
        """For chunks that are stored as they are in memory: the last decompression writes into the result."""
        spec, codecs, compressors = self.spec, self.codecs, self.compressors
        shape, size, dtype = spec.shape, cast("int", spec.nbytes), spec.data_type.numpy
        frombuffer, count, carrier = np.frombuffer, spec.item_count, spec.data_type.carrier
        outer = compressors[:0:-1]
        first: Any = compressors[0][0] if compressors else codecs[0]
        innermost = compressors[0][0].decode if compressors else partial(deliver, "bytes")
        one_dimension, borrowed = len(shape) == 1, carrier is not dtype

        def decode(buffer: Buffer, out: Array | None = None) -> Array:
            codec = first
            try:
                for codec, exact, limit in outer:
                    buffer = codec.decode(buffer, exact, None, limit=limit)
                codec = first
                if out is not None:
                    innermost(buffer, size, _memory(out, carrier))
                    return out
                data = innermost(buffer, size)
                if len(data) != size:  # a third-party codec that does not check
                    raise wrong_size("codecs", len(data), size)  # noqa: TRY301
                array: Array = frombuffer(data, carrier, count)
                if borrowed:
                    array = array.view(dtype)
                if not one_dimension:
                    array = array.reshape(shape)
                array.setflags(write=False)
            except PASSED:
                raise
            except Exception as error:
                raise CorruptDataError(_broken(codec, codecs, error)) from error
            return array

        return decode

    def _general_decoder(self) -> Callable[..., Array]:
        """For everything else."""
        codecs, serializer, inner = self.codecs, self.serializer, self.inner
        stages, undo = self.compressors[::-1], self.filters[::-1]

        def decode(buffer: Buffer, out: Array | None = None) -> Array:
            codec: Any = serializer
            try:
                for codec, exact, limit in stages:
                    if exact is None and limit is None:
                        buffer = _within_setting(codec, buffer, inner.item_count)
                    else:
                        buffer = codec.decode(buffer, exact, None, limit=limit)
                codec = serializer
                if not undo:
                    return serializer.decode(buffer, inner, out)
                array = serializer.decode(buffer, inner, None)
                for codec, before in undo:
                    array = codec.decode(array, before)
            except PASSED:
                raise
            except Exception as error:
                raise CorruptDataError(_broken(codec, codecs, error)) from error
            if out is None:
                return array
            out[...] = array
            return out

        return decode

    def to_json(self) -> list[JSON]:
        """The value of `codecs` in a document."""
        return [codec.to_json() for codec in self.codecs]


def _loose(size: int) -> int:
    """More than any sane compressor makes of `size` bytes."""
    return 2 * size + 2**20


def _within_setting(codec: BytesBytesCodec, buffer: Buffer, items: int) -> Buffer:
    """The decoded bytes of a chunk whose elements vary in length, and whose size nothing else tells."""
    allowed: int = config.get("unpacked_bytes")
    try:
        return codec.decode(buffer, None, None, limit=allowed + 8 * items)
    except TooLargeError as error:
        raise LimitError(
            f"{error}; if that is not the work of somebody hostile, raise the setting unpacked_bytes ({allowed})"
        ) from error


def _broken(codec: Codec, codecs: Sequence[Codec], error: Exception) -> str:
    index = next(index for index, one in enumerate(codecs) if one is codec)
    return broken("codecs", codec, f"codecs[{index}]", error)


def check_order(codecs: Sequence[Codec]) -> None:
    """Any array → array codecs, one array → bytes, any bytes → bytes: `MetadataError` for any other list."""
    stages = [_ORDER.index(codec.kind) for codec in codecs]
    for codec, before, stage in zip(codecs[1:], stages, stages[1:], strict=False):
        if stage < before or stage == before == 1:
            name = NamedConfig.parse(codec.to_json(), "codecs").name
            raise MetadataError(f"codecs: {name!r} ({_ORDER[stage].replace('-', ' → ')}) cannot stand there")
    if 1 not in stages:
        raise MetadataError("codecs: there is no array → bytes codec ('bytes', 'vlen-utf8', …)")


def _memory(out: Array, carrier: np.dtype[Any]) -> memoryview:
    """The bytes of a C-contiguous array."""
    try:
        return out.data.cast("B")
    except (ValueError, TypeError, BufferError):  # dtypes for which the buffer protocol has no letter
        return out.reshape(-1).view(carrier).view(np.uint8).data
