"""Where chunks are: which shard a chunk key means, and which chunks a shard may hold. Pure arithmetic on keys."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from os.path import commonprefix
from typing import Any, Generic, TypeAlias

import numpy as np

from zarrv3.chunks.transformers import Coords, Name
from zarrv3.errors import MetadataError
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
    per_shard: Coords
    """How many chunks a shard has along each dimension."""
    grid: Coords
    """How many chunks the array has along each dimension."""
    root: str = field(init=False)
    """The folder that all chunk keys lie below, and perhaps others: `a/c/`, or `a/` itself."""
    slots: int = field(init=False)
    """How many chunks a shard has."""
    _strides: Coords = field(init=False)

    def __post_init__(self) -> None:
        """Compute the derived attributes."""
        ndim = len(self.per_shard)
        common = commonprefix([self.encoding.encode((n,) * ndim) for n in (0, 1)])  # noqa: RUF071 - of the text
        strides = tuple(math.prod(self.per_shard[axis + 1 :]) for axis in range(ndim))
        object.__setattr__(self, "root", self.folder + common[: common.rfind("/") + 1])
        object.__setattr__(self, "slots", math.prod(self.per_shard))
        object.__setattr__(self, "_strides", strides)

    def coords(self, key: Any) -> Coords | None:
        """The place in the grid that a key names, of a chunk or of a shard; `None` for all other keys."""
        if not isinstance(key, str) or not key.startswith(self.folder):
            return None  # the store below refuses what is not text
        return decode_key(self.encoding, key[len(self.folder) :], len(self.per_shard))

    def place(self, key: str) -> Place | None:
        """The shard of a chunk key and the number of the chunk in it; `None` for keys that are not a chunk's."""
        coords = self.coords(key)
        return None if coords is None else self._split(coords)

    def _split(self, coords: Coords) -> Place:
        shard = tuple([c // n for c, n in zip(coords, self.per_shard, strict=True)])
        slot = sum([c % n * s for c, n, s in zip(coords, self.per_shard, self._strides, strict=True)])
        return shard, slot

    def found(self, chunks: Sequence[Coords]) -> Iterator[Place]:
        """The shard of each chunk and its number there, for many of them."""
        if len(chunks) < MANY or not self.per_shard:
            yield from map(self._split, chunks)
            return
        shards, inside = np.divmod(np.array(chunks, np.int64), np.array(self.per_shard, np.int64))
        slots = inside @ np.array(self._strides, np.int64)
        yield from zip(map(tuple, shards.tolist()), slots.tolist(), strict=True)

    def key(self, coords: Coords) -> str:
        """The key of a chunk, or of a shard."""
        return self.folder + self.encoding.encode(coords)

    def covers(self, shard: Coords, slots: Collection[int]) -> bool:
        """Whether every chunk of a shard that lies in the array is one of `slots`."""
        if len(slots) == self.slots:
            return True
        inside = [
            range(max(0, min(n, g - s * n))) for s, n, g in zip(shard, self.per_shard, self.grid, strict=True)
        ]
        count = math.prod([len(numbers) for numbers in inside])
        if not 0 < count <= len(slots):
            return False
        return all(sum(map(int.__mul__, c, self._strides)) in slots for c in product(*inside))

    def chunk_keys(self, shard: Coords, slots: Iterable[int]) -> Iterator[str]:
        """The keys of some chunks of a shard."""
        numbers = np.fromiter(slots, np.intp)
        base = [s * n for s, n in zip(shard, self.per_shard, strict=True)]
        if not base:
            return iter([self.key(())] * len(numbers))
        columns = [
            [b + i for i in axis.tolist()]
            for b, axis in zip(base, np.unravel_index(numbers, self.per_shard), strict=True)
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
        shard = tuple([c // n for c, n in zip(coords, self.per_shard, strict=False)])
        return self.folder + self.encoding.encode(shard) + text[known - 1]


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
