"""`conditional`: compressors that each chunk may do without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Self

from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import BytesBytesCodec, ChunkSpec, parse_codec
from zarrv3.format.codecs.base import Declared
from zarrv3.format.codecs.support import deliver
from zarrv3.format.extensions import integer, shown
from zarrv3.store.contract import Buffer


def _codecs(owner: str, value: Any) -> tuple[BytesBytesCodec, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise MetadataError(f"{owner} must be a list of codecs, not {shown(value)}")
    found = tuple(parse_codec(item, f"{owner}[{index}]") for index, item in enumerate(value))
    if wrong := [codec for codec in found if not isinstance(codec, BytesBytesCodec)]:
        raise MetadataError(f"{owner}: {shown(wrong[0].to_json())} is not a codec from bytes to bytes")
    return found  # type: ignore[return-value]


@dataclass(frozen=True)
class Conditional(Declared, BytesBytesCodec):
    """A bit for each codec, in front, says whether it was used. Here all are where that makes the chunk smaller, else none."""

    name: ClassVar[str] = "conditional"
    codecs: Annotated[tuple[BytesBytesCodec, ...], _codecs]
    header_bits: Annotated[int | None, partial(integer, low=8, high=2**16)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        bits = self.header_bits
        if bits is not None and (bits % 8 or bits < len(self.codecs)):
            raise MetadataError(f"codec 'conditional': header_bits {bits} for {len(self.codecs)} codecs")

    @property
    def header(self) -> int:
        """The bytes of the header."""
        return (self.header_bits or -(-len(self.codecs) // 8) * 8) // 8

    def evolve(self, spec: ChunkSpec) -> Self:
        """With the inner codecs completed."""
        return replace(self, codecs=tuple(codec.evolve(spec) for codec in self.codecs))

    def check_size(self, size: int) -> None:
        self.codecs[0].check_size(size)

    def encode(self, buffer: Buffer) -> Buffer:
        data: Buffer = buffer
        for codec in self.codecs:
            data = codec.encode(data)
        is_used = len(data) < len(buffer)
        mask = (1 << len(self.codecs)) - 1 if is_used else 0
        return b"".join((mask.to_bytes(self.header, "little"), data if is_used else buffer))

    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        mask = int.from_bytes(buffer[: self.header], "little")
        if len(buffer) < self.header or mask >> len(self.codecs):
            raise CorruptDataError("conditional: the header names codecs that do not exist")
        used = [codec for index, codec in enumerate(self.codecs) if mask >> index & 1]
        sizes, most = [size], limit
        for codec in used:
            last = sizes[-1]
            sizes.append(None if last is None else codec.encoded_size(last))
        loose = None if size is None and most is None else 2 * (size or most or 0) + 2**20
        data: Buffer = memoryview(buffer)[self.header :]
        for index in range(len(used))[::-1]:
            inner = most if not index and size is None else loose
            data = used[index].decode(data, sizes[index], None, limit=inner)
        return deliver("conditional", data, size, out, limit)
