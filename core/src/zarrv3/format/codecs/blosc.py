"""`blosc`: the meta-compressor, with byte or bit shuffling before lz4, zstd, … ."""

import struct
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from zarrv3.errors import CorruptDataError, MetadataError, UnknownExtensionError
from zarrv3.format.codecs.base import BytesBytesCodec, ChunkSpec, Declared
from zarrv3.format.codecs.support import check_size, lazy, library_of
from zarrv3.format.extensions import choice, integer
from zarrv3.store.contract import Buffer

CNAMES = ("lz4", "lz4hc", "blosclz", "snappy", "zlib", "zstd")
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
MAX_SIZE = 2**31 - 1 - 16
"""What blosc can compress at once."""

# version, format version, flags, typesize, then the sizes of the data, of a block and of the whole buffer
HEADER = struct.Struct("<2xBBIII")
# flags: not compressed at all; blocks are not split into one stream for each byte of an item
_STORED, _UNSPLIT = 0x02, 0x10
# otherwise those blocks are split that make at most so many streams, of at least so many bytes
_MAX_STREAMS, _MIN_STREAM = 16, 128
_MUCH = 2**26  # bytes that may be read, at worst, before it is worth looking at the blocks
MAX_TYPESIZE = 255
# the most that blosclz, lz4, snappy, zlib and zstd can make of a byte, where the size is not known beforehand
_RATIOS = {0: 256, 1: 256, 2: 256, 3: 1040, 4: 2**15}
_FORMATS = {0: "blosclz", 1: "lz4", 2: "snappy", 3: "zlib", 4: "zstd"}
_SMALL = 2**13  # so far a copy costs less than what numcodecs does to an output buffer


@dataclass(frozen=True)
class BloscCodec(Declared, BytesBytesCodec):
    """Compression of at most 2 GiB; `typesize` and `shuffle` are taken from the data type where they are not given."""

    name: ClassVar[str] = "blosc"
    cname: Annotated[str, partial(choice, allowed=CNAMES)] = "zstd"
    clevel: Annotated[int, partial(integer, low=0, high=9)] = 5
    shuffle: Annotated[str | None, partial(choice, allowed=SHUFFLES)] = None
    typesize: Annotated[int | None, partial(integer, low=0, high=2**31 - 1)] = None
    blocksize: Annotated[int, partial(integer, low=0, high=MAX_SIZE)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.typesize == 0 and self.shuffle != "noshuffle":  # some writers say so where it is ignored
            raise MetadataError("codec 'blosc': typesize must not be 0")

    def evolve(self, spec: ChunkSpec) -> Self:
        """With the size of an element as `typesize`, and by bits where that is one byte."""
        size = spec.data_type.item_size or 1
        return replace(
            self,
            typesize=size if self.typesize is None else self.typesize,
            shuffle=self.shuffle or ("bitshuffle" if size == 1 else "shuffle"),
        )

    def check_size(self, size: int) -> None:
        if size > MAX_SIZE:
            raise MetadataError(
                f"codec 'blosc' compresses at most {MAX_SIZE} bytes at once, a chunk has {size}"
            )

    @cached_property
    def arguments(self) -> tuple[bytes, int, int, int, int]:
        """What the library is told: name, level, number of the shuffle, block size, typesize."""
        # numcodecs takes the typesize of a buffer's items unless told; beyond 255 blosc itself falls back to 1
        typesize = self.typesize if self.typesize and self.typesize <= MAX_TYPESIZE else 1
        return (
            self.cname.encode(),
            self.clevel,
            SHUFFLES.index(self.shuffle or "shuffle"),
            self.blocksize,
            typesize,
        )

    def native(self) -> tuple[str, str, tuple[Any, ...]]:
        return "blosc", library_of("numcodecs.blosc"), self.arguments

    def encode(self, buffer: Buffer) -> Buffer:
        self.check_size(len(buffer))
        try:
            data: Buffer = library().compress(buffer, *self.arguments)
        except ValueError as error:  # this build lacks the compressor
            raise MetadataError(f"codec 'blosc': {error}") from error
        return data

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        return blosc_decode(buffer, size, out, limit)


@cache
def library() -> Any:
    """The blosc of numcodecs, told once to use no threads of its own, as zarr-python does too: chunks have threads already."""
    module = lazy("numcodecs.blosc")
    module.use_threads = False
    return module


def blosc_decode(
    buffer: Buffer, size: int | None, out: memoryview | None, limit: int | None = None
) -> Buffer:
    """Decompress what `size` and the header of the buffer agree on."""
    check_header(buffer, size, limit)
    try:
        if out is None or len(out) <= _SMALL:
            decoded: Buffer = library().decompress(buffer)
            if out is None:
                return decoded
            out[:] = decoded
        else:
            library().decompress(buffer, out)
    except MemoryError:
        raise
    except Exception as error:
        name = _FORMATS.get(HEADER.unpack_from(buffer)[0] >> 5, "")
        if name and name not in library().list_compressors():
            raise UnknownExtensionError(
                f"codec 'blosc': the chunk is compressed with {name}, without which the installed numcodecs was built"
            ) from error
        raise CorruptDataError(f"blosc: {error}") from error
    return out


def check_header(buffer: Buffer, size: int | None, limit: int | None = None) -> None:
    """Refuse a buffer whose header claims other sizes than it should: c-blosc believes the header."""
    if len(buffer) < 16:
        raise CorruptDataError(f"blosc: {len(buffer)} bytes are not a blosc buffer")
    flags, typesize, claimed, block, total = HEADER.unpack_from(buffer)
    if total != len(buffer):
        raise CorruptDataError(f"blosc: the header says {total} compressed bytes, there are {len(buffer)}")
    if claimed != size:
        check_size("blosc", claimed, size, limit)
        if claimed > total * _RATIOS.get(flags >> 5, 0):
            raise CorruptDataError(f"blosc: claims {claimed} bytes, which {total} cannot hold")
    # no compressor makes blocks that are larger than the data; c-blosc allocates what is said here, or crashes trying
    if not (0 < block <= claimed and typesize) and claimed:
        raise CorruptDataError("blosc: the header makes no sense")
    if block and total * (claimed // block) > _MUCH and not flags & _STORED:
        _check_blocks(buffer, flags, typesize, claimed, block)


def _check_blocks(buffer: Buffer, flags: int, typesize: int, claimed: int, block: int) -> None:
    """Refuse blocks that share compressed bytes: decoding them would take time as the square of the size."""
    data, left = np.frombuffer(buffer, "u1"), len(buffer)
    full, rest = divmod(claimed, block)
    split = not flags & _UNSPLIT and typesize <= _MAX_STREAMS and block // typesize >= _MIN_STREAM
    places = HEADER.size + 4 * np.arange(full + (rest > 0))
    positions = _words(data, places)
    for stream in range(typesize if split else 1):
        if stream == 1:
            positions = positions[:full]  # the last block is not split
        lengths = 4 + _words(data, positions)
        positions = positions + lengths
        left -= int(lengths.sum())
        if left < 0:
            raise CorruptDataError("blosc: its blocks share bytes")


def _words(data: Any, places: Any) -> Any:
    """The unsigned words of 4 bytes at some places."""
    if places.size and places.max() + 4 > data.size:
        raise CorruptDataError("blosc: a block lies outside the buffer")
    return data[places[:, np.newaxis] + np.arange(4)].view("<u4")[:, 0].astype("i8")
