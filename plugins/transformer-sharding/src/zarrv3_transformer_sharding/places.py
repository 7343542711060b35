"""Where chunks are: which shard a chunk key means, and which chunks a shard may hold. Pure arithmetic on keys."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from operator import sub
from os.path import commonprefix
from typing import Any, Generic, TypeAlias

import numpy as np

from zarrv3.chunks.transformers import Coords, Name
from zarrv3.errors import MetadataError
from zarrv3.format.cuts import Cut, chunk_of, chunks_of, length_of, lengths_of, starts_of
from zarrv3.format.extensions import integers, shown
from zarrv3.format.grids import ChunkKeyEncoding, decode_key

Place: TypeAlias = tuple[Coords, int]
"""A shard by its coordinates, and the number of a chunk in it."""

MANY = 16
"""The number of chunks from which numpy is quicker."""


@dataclass(frozen=True)
class Places:
    """The chunk grid of an array in shards: a shard's key is the chunk key encoding of its place among the shards."""

    folder: str
    """The array's path with `/` at its end, or `""`."""
    encoding: ChunkKeyEncoding
    per_shard: tuple[Cut, ...]
    """How many chunks a shard has along each dimension, `Edges` where shards differ."""
    grid: Coords
    """How many chunks the array has along each dimension."""
    root: str = field(init=False)
    """The folder that all chunk keys lie below, and perhaps others: `a/c/`, or `a/` itself."""

    def __post_init__(self) -> None:
        """Compute the derived attributes."""
        ndim = len(self.per_shard)
        common = commonprefix([self.encoding.encode((n,) * ndim) for n in (0, 1)])  # noqa: RUF071 - of the text
        object.__setattr__(self, "root", self.folder + common[: common.rfind("/") + 1])

    def shape(self, shard: Coords) -> Coords:
        """How many chunks a shard has along each dimension."""
        return tuple(map(length_of, self.per_shard, shard))

    def slots(self, shard: Coords) -> int:
        """How many chunks a shard has."""
        return math.prod(self.shape(shard))

    def _first(self, shard: Coords) -> Coords:
        """The first chunk of a shard."""
        pairs = zip(self.per_shard, shard, strict=True)
        return tuple([n * cut if isinstance(cut, int) else cut.start(n) for cut, n in pairs])

    def coords(self, key: Any) -> Coords | None:
        """The place in the grid that a key names, of a chunk or of a shard; `None` for all other keys."""
        if not isinstance(key, str) or not key.startswith(self.folder):
            return None  # the store below refuses what is not text
        return decode_key(self.encoding, key[len(self.folder) :], len(self.per_shard))

    def place(self, key: str) -> Place | None:
        """The shard of a chunk key and the number of the chunk in it; `None` for keys that are not a chunk's."""
        coords = self.coords(key)
        return None if coords is None else self._split(coords)

    def inside(self, coords: Coords) -> tuple[Coords, Coords]:
        """The shard of a chunk, and where the chunk is in it."""
        shard = tuple(map(chunk_of, self.per_shard, coords))
        return shard, tuple(map(sub, coords, self._first(shard)))

    def _split(self, coords: Coords) -> Place:
        shard, inside = self.inside(coords)
        return shard, _number(inside, self.shape(shard))

    def found(self, chunks: Sequence[Coords]) -> Iterable[Place]:
        """The shard of each chunk and its number there, for many of them."""
        if len(chunks) < MANY or not self.per_shard:
            return map(self._split, chunks)
        columns = np.array(chunks, np.int64).T
        shards, slots = np.empty_like(columns), np.zeros(len(chunks), np.int64)
        for cut, column, shard in zip(self.per_shard, columns, shards, strict=True):
            shard[:] = chunks_of(cut, column)
            slots = slots * lengths_of(cut, shard) + (column - starts_of(cut, shard))
        return zip(map(tuple, shards.T.tolist()), slots.tolist(), strict=True)

    def key(self, coords: Coords) -> str:
        """The key of a chunk, or of a shard."""
        return self.folder + self.encoding.encode(coords)

    def covers(self, shard: Coords, slots: Collection[int]) -> bool:
        """Whether every chunk of a shard that lies in the array is one of `slots`."""
        shape = self.shape(shard)
        if len(slots) == math.prod(shape):
            return True
        inside = [
            range(max(0, min(n, g - s))) for s, n, g in zip(self._first(shard), shape, self.grid, strict=True)
        ]
        count = math.prod([len(numbers) for numbers in inside])
        if not 0 < count <= len(slots):
            return False
        return all(_number(c, shape) in slots for c in product(*inside))

    def chunk_keys(self, shard: Coords, slots: Iterable[int]) -> Iterator[str]:
        """The keys of some chunks of a shard."""
        numbers = np.fromiter(slots, np.intp)
        base = self._first(shard)
        if not base:
            return iter([self.key(())] * len(numbers))
        columns = [
            [b + i for i in axis.tolist()]
            for b, axis in zip(base, np.unravel_index(numbers, self.shape(shard)), strict=True)
        ]
        return map(self.key, zip(*columns, strict=True))

    def shard_prefix(self, prefix: str) -> str:
        """What the keys of all shards start with that hold chunks whose keys start with `prefix`, which begins with `root`.

        Numbers followed by a separator are known; of the last one, perhaps only its first digits.
        """
        text = prefix[len(self.folder) :]
        known = max(text.rfind("/"), text.rfind(".")) + 1
        coords = decode_key(self.encoding, text[: known - 1]) if known else None
        if coords is None or len(coords) >= len(self.per_shard):
            return self.root
        shard = tuple(map(chunk_of, self.per_shard, coords))
        return self.folder + self.encoding.encode(shard) + text[known - 1]


def _number(inside: Coords, shape: Coords) -> int:
    """The number of a chunk in a shard of some shape, in C order."""
    number = 0
    for place, length in zip(inside, shape, strict=True):
        number = number * length + place
    return number


class Group(Generic[Name]):
    """Some chunks, called by their keys or coordinates, sorted by the shards they are in.

    Args:
        places: where chunks are.
        place_of: what they are called, each with its shard and number there; `None` for a key that is not a chunk's, which is
            kept as if it were the only chunk of a shard.
    """

    def __init__(self, places: Places, place_of: Mapping[Name, Place | None]) -> None:
        self.chunks: dict[str, dict[int, Name]] = {}
        """By the key of each shard: the numbers of the chunks concerned."""
        self.coords: dict[str, Coords | None] = {}
        """The place of each shard; `None` for what is not a shard."""
        shards: dict[Coords, dict[int, Name]] = {}
        for name, place in place_of.items():
            if place is None:
                self.chunks[str(name)], self.coords[str(name)] = {0: name}, None
                continue
            shard, slot = place
            if shard not in shards:
                key = places.key(shard)
                self.chunks[key], self.coords[key] = shards.setdefault(shard, {}), shard
            shards[shard][slot] = name


def counts(given: Any) -> Coords:
    """`chunks_per_shard` as a tuple of positive integers; a plain number is for one dimension, none means 1."""
    values = (given,) if hasattr(given, "__index__") else given
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise MetadataError(f"chunks_per_shard must be one or several integers, not {shown(given)}")
    return integers("chunks_per_shard", tuple(values), 1, 2**63 - 1) or (1,)
