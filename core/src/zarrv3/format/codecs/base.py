"""What a codec is: three kinds, each with the few methods that a chain calls.

A codec is immutable, compares by value and is called from many threads at once. Whatever is wrong with stored bytes
raises `CorruptDataError`; whatever is wrong with a configuration raises `MetadataError` before any byte is touched.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, cast, get_type_hints

import numpy as np

from zarrv3.format.cuts import Cut
from zarrv3.format.data_types import DataType
from zarrv3.format.extensions import NamedConfig, check_members
from zarrv3.store.contract import JSON, Buffer

Array: TypeAlias = np.ndarray[Any, Any]
Kind: TypeAlias = Literal["array-array", "array-bytes", "bytes-bytes"]


class ChunkSpec(NamedTuple):
    """What is known of a chunk before its bytes are read; chunks of one shape have the same."""

    shape: tuple[int, ...]
    data_type: DataType
    fill_value: Any

    @property
    def item_count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """The bytes of all elements; `None` where they differ in length."""
        size = self.data_type.item_size
        return None if size is None else size * self.item_count


class Codec(ABC):
    """A codec of any kind."""

    kind: ClassVar[Kind]

    @property
    def depth(self) -> int:
        """How many levels of shards within shards it makes."""
        return 0

    @property
    def has_checksum(self) -> bool:
        """Whether bytes that were changed by accident raise `CorruptDataError`, and never decode to other values."""
        return False

    @property
    def portable(self) -> bool:
        """Documents with it may be stored; false for codecs that exist only in what a layer shows."""
        return True

    @classmethod
    @abstractmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """The codec that a document names; `MetadataError` for missing, wrong and unknown members."""

    @abstractmethod
    def to_json(self) -> JSON:
        """The codec as it stands in a document."""

    def evolve(self, spec: ChunkSpec) -> Self:  # noqa: ARG002 - for those who need it
        """The codec with what it can tell from the data type filled in (byte order, typesize, …).

        `spec` is what the codec encodes; for bytes → bytes what the array → bytes codec encodes. Raises `MetadataError`
        if the codec cannot handle it. The result is what belongs into metadata.
        """
        return self

    def lower(self, spec: ChunkSpec, cuts: Sequence[Cut]) -> Any:  # noqa: ARG002 - for those who can
        """The codec, being the only one of an array, as a storage transformer (`layout.Lowered`); `None` if it is not one.

        The array is cut into chunks by `cuts`; `spec` is that of the largest.
        """
        return None


class Declared(Codec):
    """A codec whose configuration is the fields of its frozen dataclass, each declared once: `Annotated[int, check] = 5`.

    `check(where, value)` returns the value or raises `MetadataError`; `zarrv3.format.extensions` has some. What has a default may be left out of a document; where
    that is `None`, `None` stands for what is left out.
    """

    name: ClassVar[str]

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """See `Codec`."""
        members = _members(cls)
        required = [member for member, (default, _) in members.items() if default is MISSING]
        check_members(f"codec {name!r}", configuration, required, members)
        return cls(**configuration)

    def __post_init__(self) -> None:
        """Check every member."""
        for member, (default, check) in _members(type(self)).items():
            value = getattr(self, member)
            if value is not None or default is not None:
                object.__setattr__(self, member, check(f"codec {self.name!r}: {member}", value))

    def to_json(self) -> JSON:
        """See `Codec`."""
        members = {member: _as_json(getattr(self, member)) for member in _members(type(self))}
        given = {member: value for member, value in members.items() if value is not None}
        return NamedConfig(self.name, given).to_json()


@cache
def _members(codec: Any) -> dict[str, tuple[Any, Callable[[str, Any], Any]]]:
    """The members of a codec's configuration, each with its default (or `MISSING`) and its check."""
    hints = get_type_hints(codec, include_extras=True)
    return {
        each.name: (each.default, _check_of(codec, each.name, hints[each.name])) for each in fields(codec)
    }


def _check_of(codec: Any, member: str, hint: Any) -> Callable[[str, Any], Any]:
    """What checks a member's values; a `TypeError` that says how to write it where there is no such function."""
    for found in getattr(hint, "__metadata__", ()):
        if callable(found):
            return cast("Callable[[str, Any], Any]", found)
    raise TypeError(
        f"{codec.__name__}.{member} has to be annotated with a function that checks it: `{member}: Annotated[…, check]`"
    )


def _as_json(value: Any) -> JSON:
    """A member of a configuration: lists for tuples, documents for codecs."""
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return value.to_json() if isinstance(value, Codec) else value


class ArrayArrayCodec(Codec):
    """Arrays to arrays: filters, transposition."""

    kind = "array-array"

    def native(self) -> tuple[int, ...] | None:
        """For kernels: the order of the dimensions, where nothing else is changed; `None` otherwise."""
        return None

    @abstractmethod
    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """What the encoded array looks like.

        Its fill value, a scalar of its data type, is what the codecs behind take for elements that were never written: a
        shard's missing chunk for instance. So it has to stand for the fill value of `spec`.
        """

    @abstractmethod
    def encode(self, array: Array, spec: ChunkSpec) -> Array:
        """An array of `spec` to one of `resolve(spec)`; may be a view."""

    @abstractmethod
    def decode(self, array: Array, spec: ChunkSpec) -> Array:
        """An array of `resolve(spec)` to one of `spec`; may be a view."""


class ArrayBytesCodec(Codec):
    """Arrays to bytes: the one codec that every chain has."""

    kind = "array-bytes"

    def native(self, spec: ChunkSpec) -> int | str | None:
        """For kernels: how many bytes at a time are in reverse, 1 for the plain memory of an array.

        Where the elements are encoded otherwise, the name of a format that kernels may know; `None` if only Python can do it.
        """
        return 1 if self.is_plain(spec) else None

    def is_plain(self, spec: ChunkSpec) -> bool:  # noqa: ARG002 - for those who are
        """Whether the encoded bytes are exactly the memory of a C-contiguous array; the chain may then skip it."""
        return False

    def encoded_size(self, spec: ChunkSpec) -> int | None:  # noqa: ARG002 - for those who know
        """The bytes of every encoded chunk; `None` if that depends on the values."""
        return None

    @abstractmethod
    def encode(self, array: Array, spec: ChunkSpec) -> Buffer:
        """The bytes of an array of `spec`; not a view into its memory."""

    @abstractmethod
    def decode(self, buffer: Buffer, spec: ChunkSpec, out: Array | None) -> Array:
        """The array of `spec`.

        Written into `out` (C-contiguous, of that shape and dtype) and returned as it if there is one; otherwise new
        or a read-only view of the buffer.
        """


class BytesBytesCodec(Codec):
    """Bytes to bytes: compressors and checksums."""

    kind = "bytes-bytes"

    def encoded_size(self, size: int) -> int | None:  # noqa: ARG002 - for those who know
        """The encoded bytes of `size` bytes; `None` if that depends on what they are."""
        return None

    def native(self) -> tuple[str, str, tuple[Any, ...]] | None:
        """For kernels: what the codec is called, the file of the library that does it, and what the library is told.

        `None` if only Python can do it, which a subclass that encodes otherwise says too. The library is `""` for a format
        for which a kernel has one of its own.
        """
        return None

    def check_size(self, size: int) -> None:
        """Raise `MetadataError` if the codec cannot encode that many bytes."""

    @abstractmethod
    def encode(self, buffer: Buffer) -> Buffer:
        """The encoded bytes; may be the buffer itself."""

    @abstractmethod
    def decode(
        self, buffer: Buffer, size: int | None, out: memoryview | None = None, *, limit: int | None = None
    ) -> Buffer:
        """The decoded bytes.

        `size` is their exact number where it is known; otherwise `limit` (if any) is the most there can be. Nothing
        larger is ever allocated. With `out`, a writable view of `size` bytes, they are written there and it is returned.
        """
