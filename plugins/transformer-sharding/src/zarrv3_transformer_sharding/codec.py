"""`sharding_indexed`: as the only codec of an array it becomes a `ShardingTransformer`, in a longer chain it is a codec."""

# ruff: noqa: D102 - what the methods do is said in the base class

from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass
from functools import partial
from itertools import product
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

import numpy as np

from zarrv3.chunks.layout import Lowered
from zarrv3.errors import MetadataError
from zarrv3.format.codecs import ArrayBytesCodec, ChunkSpec, Codec, CodecChain, check_order, parse_codec
from zarrv3.format.codecs.base import Array, Declared
from zarrv3.format.codecs.bytes import BytesCodec
from zarrv3.format.codecs.checksums import Crc32cCodec
from zarrv3.format.cuts import MAX_LENGTH, Cut, Edges
from zarrv3.format.extensions import choice, integers, shown
from zarrv3.format.grids import RegularGrid
from zarrv3.store.contract import Buffer
from zarrv3_transformer_sharding.shard import Location, ShardFormat
from zarrv3_transformer_sharding.transformer import ShardingTransformer

WriteOrder: TypeAlias = Literal["morton", "unordered", "lexicographic", "colexicographic"]

MAX_DEPTH = 8
"""How many levels of shards within shards there may be."""


def _chain(owner: str, value: Any) -> tuple[Codec, ...]:
    """The codecs in a member of the configuration."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise MetadataError(f"{owner} must be a list of codecs, not {shown(value)}")
    try:
        codecs = tuple(parse_codec(item, f"{owner}[{index}]") for index, item in enumerate(value))
    except RecursionError:
        raise MetadataError(f"{owner} is nested too deep") from None
    check_order(codecs)
    return codecs


@dataclass(frozen=True)
class ShardingCodec(Declared, ArrayBytesCodec):
    """The codec `sharding_indexed` of the specification."""

    name: ClassVar[str] = "sharding_indexed"
    chunk_shape: Annotated[tuple[int, ...], partial(integers, low=1, high=MAX_LENGTH)]
    """The shape of an inner chunk."""
    codecs: Annotated[tuple[Codec, ...], _chain] = (BytesCodec(),)
    """What encodes each inner chunk."""
    index_codecs: Annotated[tuple[Codec, ...], _chain] = (BytesCodec(), Crc32cCodec())
    """What encodes the index."""
    index_location: Annotated[Location, partial(choice, allowed=("start", "end"))] = "end"
    subchunk_write_order: InitVar[WriteOrder] = "morton"
    """How zarr-python orders the chunks that it writes, which no document says. Here they are in C order, whatever is given."""

    def __post_init__(self, subchunk_write_order: WriteOrder) -> None:
        super().__post_init__()
        choice("subchunk_write_order", subchunk_write_order, get_args(WriteOrder))
        if self.depth > MAX_DEPTH:
            raise MetadataError(f"codec 'sharding_indexed': nested deeper than {MAX_DEPTH} levels")

    @property
    def has_checksum(self) -> bool:
        """Whether the chunks have one, and the index too."""
        return all(any(codec.has_checksum for codec in codecs) for codecs in (self.codecs, self.index_codecs))

    @property
    def portable(self) -> bool:
        """Whether all inner codecs are."""
        return all(codec.portable for codec in self.codecs)

    @property
    def depth(self) -> int:
        """How many levels of shards there are, this one included."""
        return 1 + max((codec.depth for codec in self.codecs), default=0)

    def evolve(self, spec: ChunkSpec) -> Self:
        """With the inner codecs and those of the index completed; checks that they fit the shard."""
        shards = self._format(spec)
        inner = self._inner(spec)
        return type(self)(self.chunk_shape, inner.codecs, shards.chain.codecs, self.index_location)

    def lower(self, spec: ChunkSpec, cuts: Sequence[Cut]) -> Lowered:
        self._per_shard(spec)  # of the largest
        per_shard = tuple(map(self._counted, range(len(cuts)), cuts, self.chunk_shape))
        transformer = ShardingTransformer.indexed(per_shard, self.index_codecs, self.index_location)
        return Lowered(RegularGrid(self.chunk_shape), self.codecs, transformer)

    def _counted(self, axis: int, cut: Cut, chunk: int) -> Cut:
        """How many chunks a shard has along a dimension, where shards differ for each."""
        if isinstance(cut, int):
            return cut // chunk
        if wrong := [length for length, _ in cut.runs if length % chunk]:
            raise MetadataError(
                f"codec 'sharding_indexed': chunk_shape[{axis}] = {chunk} does not divide a shard's length {wrong[0]}"
            )
        return Edges(tuple((length // chunk, count) for length, count in cut.runs))

    # ------------------------------------------------------------ within a longer chain

    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        """All inner chunks: behind other codecs the fill value cannot be recognised."""
        inner = self._inner(spec)
        shard = self._format(spec).pack([inner.encode(array[part]) for part in self._parts(spec)])
        assert shard is not None
        return shard

    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        inner = self._inner(spec)
        if out is None:
            out = np.empty(spec.shape, spec.data_type.numpy)
        for part, chunk in zip(self._parts(spec), self._format(spec).unpack(buffer), strict=True):
            out[part] = spec.fill_value if chunk is None else inner.decode(chunk)
        return out

    def _parts(self, spec: ChunkSpec) -> Iterator[tuple[Any, ...]]:
        """Where the inner chunks lie in the shard, in C order."""
        axes = [
            [slice(start, start + chunk) for start in range(0, length, chunk)]
            for length, chunk in zip(spec.shape, self.chunk_shape, strict=True)
        ]
        return ((*parts, ...) for parts in product(*axes))

    def _per_shard(self, spec: ChunkSpec) -> tuple[int, ...]:
        if len(self.chunk_shape) != len(spec.shape):
            raise MetadataError(
                f"codec 'sharding_indexed': chunk_shape {shown([*self.chunk_shape])} for a shard of {len(spec.shape)} "
                "dimensions"
            )
        if any(length % chunk for length, chunk in zip(spec.shape, self.chunk_shape, strict=True)):
            raise MetadataError(
                f"codec 'sharding_indexed': chunk_shape {shown([*self.chunk_shape])} does not divide the shard shape "
                f"{shown([*spec.shape])}"
            )
        return tuple(length // chunk for length, chunk in zip(spec.shape, self.chunk_shape, strict=True))

    def _format(self, spec: ChunkSpec) -> ShardFormat:
        return ShardFormat.build(self._per_shard(spec), self.index_codecs, self.index_location)

    def _inner(self, spec: ChunkSpec) -> CodecChain:
        return CodecChain.build(self.codecs, spec._replace(shape=self.chunk_shape))
