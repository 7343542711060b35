"""Chunk grids and chunk key encodings: which chunks an array has, and which keys they are stored under."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from zarrv3.errors import MetadataError
from zarrv3.format.cuts import MAX_LENGTH, Cut, count_of
from zarrv3.format.extensions import Guard, check_members, choice, integers, resolve, shown
from zarrv3.store.contract import JSON

Shape = tuple[int, ...]

MAX_COORDINATE = 10**20
"""Beyond all chunk coordinates, so that no key is taken for one that no array can have."""

MAX_DIMENSIONS = 64
"""What numpy can hold."""


class ChunkGrid(ABC):
    """How an array is cut into chunks: each dimension on its own."""

    cuts: tuple[Cut, ...]
    """For each dimension the length of all its chunks or, where they differ, their `Edges`.

    Chunks have these lengths also where they reach over the edge of the array.
    """

    @classmethod
    @abstractmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """The grid that a document names."""

    @abstractmethod
    def to_json(self) -> JSON:
        """The value of `chunk_grid` in a document."""

    def check(self, array_shape: Shape) -> None:
        """Raise `MetadataError` when the grid does not fit an array of that shape."""
        if len(array_shape) != len(self.cuts):
            raise MetadataError(
                f"the chunks have {len(self.cuts)} dimensions, the array has {len(array_shape)}"
            )
        for axis, (length, cut) in enumerate(zip(array_shape, self.cuts, strict=True)):
            if not isinstance(cut, int) and cut.total < length:
                raise MetadataError(
                    f"the chunks of dimension {axis} end at {cut.total}, the array has {length} elements there"
                )

    def resized(self, array_shape: Shape, unit: Shape) -> "ChunkGrid":  # noqa: ARG002 - for those who need it
        """The grid of an array that gets another shape: this one, or one that fits and leaves the chunks as they are.

        Only behind the last chunk of a dimension may there be new ones, whose lengths are multiples of `unit`: other readers
        and writers still know the old grid.
        """
        return self


@dataclass(frozen=True)
class RegularGrid(ChunkGrid):
    """`regular`: all chunks have one shape."""

    chunk_shape: Shape
    cuts: Shape = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Take any integers, numpy's too, and check that they are positive."""
        lengths = integers("chunk_shape", self.chunk_shape, 1, MAX_LENGTH)
        for name in ("chunk_shape", "cuts"):
            object.__setattr__(self, name, lengths)

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        check_members(f"chunk grid {name!r}", configuration, ["chunk_shape"])
        return cls(configuration["chunk_shape"])

    def to_json(self) -> JSON:
        return {"name": "regular", "configuration": {"chunk_shape": list(self.chunk_shape)}}


class ChunkKeyEncoding(ABC):
    """How the grid coordinates of a chunk become a key below the array's path."""

    @classmethod
    @abstractmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        """The encoding that a document names."""

    @abstractmethod
    def to_json(self) -> JSON:
        """The value of `chunk_key_encoding` in a document."""

    @abstractmethod
    def encode(self, coords: Shape) -> str:
        """The key of the chunk at `coords`, without the path of the array."""

    @abstractmethod
    def decode(self, key: str, ndim: int | None = None) -> Shape | None:
        """The coordinates of which `encode` makes this key; `None` if it is not a chunk key of `ndim` dimensions."""


@dataclass(frozen=True)
class _Separated(ChunkKeyEncoding):
    """Numbers joined by `/` or `.`; subclasses are dataclasses by inheritance, which is quicker to import."""

    separator: str = ""

    name: ClassVar[str]
    default_separator: ClassVar[str]

    def __post_init__(self) -> None:
        """Fill in the default separator."""
        separator = self.separator or self.default_separator
        object.__setattr__(self, "separator", choice("separator", separator, ("/", ".")))

    @classmethod
    def from_json(cls, name: str, configuration: Mapping[str, JSON]) -> Self:
        owner = f"chunk key encoding {name!r}"
        check_members(owner, configuration, optional=["separator"])
        separator = configuration.get("separator", cls.default_separator)
        return cls(choice(f"{owner}: separator", separator, ("/", ".")))

    def to_json(self) -> JSON:
        return {"name": self.name, "configuration": {"separator": self.separator}}

    def _numbers(self, text: str, ndim: int | None) -> Shape | None:
        """`ndim` numbers as `str` spells them: `int` would also take `+1`, `01`, `1_0` and the digits of other scripts."""
        try:
            coords = tuple(map(int, text.split(self.separator)))
        except ValueError:
            return None
        if self.separator.join(map(str, coords)) != text or ndim not in {None, len(coords)}:
            return None
        return coords if min(coords) >= 0 and max(coords) < MAX_COORDINATE else None


class DefaultKeys(_Separated):
    """`default`: `c/1/23/45`; the one chunk of an array without dimensions is `c`."""

    name: ClassVar[str] = "default"
    default_separator: ClassVar[str] = "/"

    def encode(self, coords: Shape) -> str:
        return self.separator.join(["c", *map(str, coords)])

    def decode(self, key: str, ndim: int | None = None) -> Shape | None:
        if key == "c":
            return None if ndim else ()
        return self._numbers(key[2:], ndim) if key.startswith("c" + self.separator) else None


class V2Keys(_Separated):
    """`v2`: `1.23.45`; the one chunk of an array without dimensions is `0`."""

    name: ClassVar[str] = "v2"
    default_separator: ClassVar[str] = "."

    def encode(self, coords: Shape) -> str:
        return self.separator.join(map(str, coords)) or "0"

    def decode(self, key: str, ndim: int | None = None) -> Shape | None:
        """As described; `"0"` belongs to one dimension unless `ndim` says that there is none."""
        if ndim == 0:
            return () if key == "0" else None
        return self._numbers(key, ndim)


def parse_grid(value: JSON, member: str = "chunk_grid") -> ChunkGrid:
    """The chunk grid that a document names."""
    return resolve("chunk_grids", ChunkGrid, value, member)  # type: ignore[type-abstract]


def parse_keys(value: JSON, member: str = "chunk_key_encoding") -> ChunkKeyEncoding:
    """The chunk key encoding that a document names."""
    return resolve("chunk_key_encodings", ChunkKeyEncoding, value, member)  # type: ignore[type-abstract]


def check_fit(grid: ChunkGrid, array_shape: Shape) -> None:
    """Raise `MetadataError` when a grid does not fit an array of some shape."""
    with Guard("chunk_grids", grid, "chunk_grid"):
        grid.check(array_shape)


def resized(grid: ChunkGrid, array_shape: Shape, unit: Shape) -> ChunkGrid:
    """The grid of an array that gets another shape; `MetadataError` if there is none."""
    with Guard("chunk_grids", grid, "chunk_grid"):
        found = grid.resized(array_shape, unit)
        found.check(array_shape)
        return found


def grid_shape(cuts: Sequence[Cut], array_shape: Shape) -> Shape:
    """The number of chunks along each dimension of an array."""
    return tuple(map(count_of, cuts, array_shape))


def decode_key(encoding: ChunkKeyEncoding, key: str, ndim: int | None = None) -> Shape | None:
    """The coordinates of the chunk with a key; `None` if it is not a chunk key of `ndim` dimensions."""
    with Guard("chunk_key_encodings", encoding, "chunk_key_encoding"):
        return encoding.decode(key, ndim)


def check_shape(value: Any, item_size: int | None, member: str = "shape") -> Shape:
    """A list of lengths of dimensions as a tuple; refuses negative ones and arrays of more than `MAX_LENGTH` bytes."""
    shape = integers(member, value, 0, MAX_LENGTH)
    if len(shape) > MAX_DIMENSIONS:
        raise MetadataError(f"{member} has {len(shape)} dimensions; numpy has at most {MAX_DIMENSIONS}")
    if math.prod(shape) * (item_size or 1) > MAX_LENGTH:
        raise MetadataError(f"{member} {shown(value)}: an array of more than 2**63 bytes")
    return shape
