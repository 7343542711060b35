"""`ShardingTransformer`: a store of chunks on a store of shards."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Self

from zarrv3.chunks.rooms import Rooms
from zarrv3.chunks.transformers import Coords, Make, Name, StorageTransformer
from zarrv3.errors import CorruptDataError, MetadataError
from zarrv3.format.codecs import Codec, parse_codec
from zarrv3.format.cuts import Cut, largest
from zarrv3.format.grids import grid_shape
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, Capabilities, Changes, Request, Swaps, Version, Versioned
from zarrv3.store.helpers import BATCH, by_digest, children, chunked, digest, rename_by_copy, unchanged
from zarrv3_transformer_sharding.places import Group, Place, Places, counts
from zarrv3_transformer_sharding.reading import Asked, ShardReader, corrupt, entries_of
from zarrv3_transformer_sharding.shard import Entries, Location, ShardFormat

URI = "https://purl.org/zarr/spec/storage_transformers/sharding/1.0"

MAX_FORMATS = 1000
"""For how many shapes of shards an array keeps ready how they are laid out."""

WHOLE_BYTES = 64 * 2**20
"""How many bytes of whole shards are fetched at once where a part costs as much as the whole."""

_PLAIN = ({"name": "bytes", "configuration": {"endian": "little"}},)


class ShardingTransformer(StorageTransformer):
    """Stores blocks of chunks as one value each, a shard; its users see the chunks under their own keys.

    In metadata it is a storage transformer; the codec `sharding_indexed` becomes one when an array is opened. Bound to an
    array it is a store in which each chunk of the array is a key. All other keys pass through.

    * Reading fetches whole shards where all their chunks are requested (one call); otherwise indexes, then
      ranges (two calls, however many shards). From a store where a part costs as much as the whole, it
      fetches whole shards.
    * Writing replaces a shard unread if all its chunks in the array are given. Otherwise it is read and
      swapped, again if another writer was faster; chunks that stay are copied unchanged.
    * A shard that contradicts its index raises `CorruptDataError` with its key, when it is read or changed.

    The version of a chunk is its digest. Where the store cannot swap, writes to one shard are safe only among
    the threads of this process.

    Args:
        _type: `"indexed"`, the only one there is.
        chunks_per_shard: how many chunks a shard has along each dimension; 1 along those that are left out.
    """

    extension_uri = URI
    valid_types = ("indexed",)

    _codecs: Sequence[Codec] | None = None
    _location: Location = "end"
    _places: Places
    _shards: ShardFormat
    """How the largest shard is laid out."""
    _formats: dict[Coords, ShardFormat]
    """How shards of other shapes are laid out, of those that were met."""
    _known: dict[str, Entries]
    """Indexes that were read, by the keys of their shards."""
    _shard_bytes: int

    kind: ClassVar[str] = "sharding"

    def __init__(self, _type: str, chunks_per_shard: int | Sequence[int]) -> None:
        super().__init__(_type)
        self.chunks_per_shard: tuple[Cut, ...] = counts(chunks_per_shard)

    @classmethod
    def indexed(cls, chunks_per_shard: tuple[Cut, ...], codecs: Sequence[Codec], location: Location) -> Self:
        """A transformer with other codecs and another place of the index than the specification's."""
        made = cls("indexed", largest(chunks_per_shard))
        made.chunks_per_shard = chunks_per_shard
        made._codecs = codecs
        made._location = location
        return made

    def get_config(self) -> dict[str, JSON]:
        """The configuration in metadata."""
        return {"chunks_per_shard": [n if isinstance(n, int) else str(n) for n in self.chunks_per_shard]}

    @property
    def block_shape(self) -> tuple[Cut, ...]:
        """The number of chunks in a shard along each dimension."""
        return self.chunks_per_shard

    def bind(self, store: BaseStore, folder: str, metadata: ArrayMetadata) -> Self:
        """A copy around a store, for the array whose keys lie below `folder`; `MetadataError` if it does not fit."""
        grid = metadata.chunk_grid
        ndim = len(metadata.shape)
        if len(self.chunks_per_shard) > ndim:
            raise MetadataError(
                f"chunks_per_shard {[*self.chunks_per_shard]} has more entries than the array has dimensions ({ndim})"
            )
        per_shard: tuple[Cut, ...] = (*self.chunks_per_shard, *(1,) * (ndim - len(self.chunks_per_shard)))
        bound = super().bind(store, folder, metadata)
        codecs = self._codecs if self._codecs is not None else [parse_codec(codec) for codec in _PLAIN]
        bound._shards = ShardFormat.build(largest(per_shard), codecs, self._location)
        bound._formats, bound._known = {}, {}
        bound._places = Places(
            folder, metadata.chunk_key_encoding, per_shard, grid_shape(grid.cuts, metadata.shape)
        )
        bound._shard_bytes = math.prod(
            (*largest(grid.cuts), *largest(per_shard), metadata.data_type.item_size or 16)
        )
        return bound

    def __getstate__(self) -> dict[str, Any]:
        """See `StorageTransformer`; a copy has to read indexes itself."""
        state = super().__getstate__()
        return {**state, "_known": {}} if "_known" in state else state

    def identity(self) -> Any:
        """The class, the store below, and the layout of shards."""
        if not self.is_bound:
            return super().identity()
        shards = self._shards
        return super().identity(), self._places, shards.location, shards.chain.to_json()

    def named(self, coords: Coords, what: str = "chunk") -> str:
        """See `StorageTransformer`: `inner chunk (0, 1) of shard 'c/2/3'`."""
        shard, inside = self._places.inside(coords)
        return f"inner {what} {inside} of {self.chunks_below.named(shard, 'shard')}"

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store; a folder of chunks lies in other shards elsewhere, and is not moved in one step."""
        return self.inner.capabilities.without("replace")

    def _format(self, shard: Coords) -> ShardFormat:
        """How a shard is laid out."""
        shape = self._places.shape(shard)
        if shape == self._shards.per_shard:
            return self._shards
        found = self._formats.get(shape)
        if found is None:
            if len(self._formats) >= MAX_FORMATS:
                self._formats.clear()
            found = ShardFormat.build(shape, self._shards.chain.codecs, self._shards.location)
            self._formats[shape] = found
        return found

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says; chunks are views of what the store below returned."""
        asked: dict[Coords, Asked] = {}
        others: list[int] = []
        place = self._places.place
        for position, request in enumerate(requests):
            located = place(request.key)
            if located is None:
                others.append(position)
                continue
            part = asked.get(located[0]) or asked.setdefault(located[0], Asked(self._format(located[0])))
            part.positions.append(position)
            part.slots.append(located[1])
            part.ranges.append(request.range)
        if not asked:
            return self.inner.get_many(requests)
        values: list[Buffer | None] = [None] * len(requests)
        found_others = self._fetch(asked, [requests[position] for position in others], values)
        for position, value in zip(others, found_others, strict=True):
            values[position] = value
        return values

    def get_chunks(self, places: Sequence[Coords], /) -> Sequence[Buffer | None]:
        """See `StorageTransformer`: without spelling and reading chunk keys."""
        asked: dict[Coords, Asked] = {}
        for position, (shard, slot) in enumerate(self._places.found(places)):
            part = asked.get(shard) or asked.setdefault(shard, Asked(self._format(shard)))
            part.positions.append(position)
            part.slots.append(slot)
        for part in asked.values():
            part.ranges = [None] * len(part.slots)
        values: list[Buffer | None] = [None] * len(places)
        self._fetch(asked, (), values)
        return values

    def _fetch(
        self, asked: Mapping[Coords, Asked], rest: Sequence[Request], values: list[Buffer | None]
    ) -> Sequence[Buffer | None]:
        """Put what is requested of shards into `values`; returns the values of other keys, fetched beside them."""
        ranges = self.inner.capabilities.native_ranges
        for shard, part in asked.items():
            part.whole = not ranges or (
                part.ranges.count(None) == len(part.ranges) and self._places.covers(shard, {*part.slots})
            )
        reader = ShardReader(self.inner, values, self._known)
        keyed = [(self._places.key(shard), part) for shard, part in asked.items()]
        size = len(keyed) if ranges else max(1, WHOLE_BYTES // max(1, self._shard_bytes))
        other_values: Sequence[Buffer | None] = ()
        for number, parts in enumerate(chunked(keyed, size)):
            others = reader.read(dict(parts), () if number else rest)
            other_values = other_values if number else others
        return other_values

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; whole shards are read, in one call, as a swap needs them."""
        group = Group(self._places, {key: self._places.place(key) for key in keys})
        below = self.inner.get_versioned([*group.chunks])
        versioned: dict[str, Versioned] = {}
        for (shard, chunks), (value, version) in zip(group.chunks.items(), below, strict=True):
            if group.coords[shard] is None:
                versioned[shard] = value, version
                continue
            blobs = self._opened(shard, value, group.coords[shard])
            versioned |= zip(chunks.values(), by_digest([blobs[slot] for slot in chunks]), strict=True)
        return [versioned[key] for key in keys]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says, from the indexes: the bytes of a chunk in its shard, without its part of the index."""
        chunks, others = self._apart(keys)
        sizes: dict[str, int | None] = {}
        group = Group(self._places, chunks)
        shards = {key: coords for key, coords in group.coords.items() if coords is not None}
        for wanted, entries in zip(group.chunks.values(), self._indexes(shards), strict=True):
            if entries is not None:
                pairs = zip(wanted.values(), *entries.pick(wanted), strict=True)
                sizes |= {key: None if start < 0 else stop - start for key, start, stop in pairs}
        if others:
            sizes |= zip(others, self.inner.stat_many(others), strict=True)
        return [sizes.get(key) for key in keys]

    def _apart(self, keys: Iterable[str]) -> tuple[dict[str, Place], list[str]]:
        """The chunks among some keys, with their places, and the other keys; each once."""
        chunks: dict[str, Place] = {}
        others: dict[str, None] = {}
        for key in keys:
            place = self._places.place(key)
            if place is None:
                others[key] = None
            else:
                chunks[key] = place
        return chunks, [*others]

    def _indexes(self, shards: Mapping[str, Coords]) -> list[Entries | None]:
        """The indexes of some shards, by their keys and places; `None` for a missing shard."""
        if not shards:
            return []
        formats = {key: self._format(shard) for key, shard in shards.items()}
        values = self.inner.get_many([Request(key, one.index_range) for key, one in formats.items()])
        return [
            None if raw is None else entries_of(self.inner, key, one, raw)
            for (key, one), raw in zip(formats.items(), values, strict=True)
        ]

    # ------------------------------------------------------------ writing

    def write_many(self, changes: Changes, /) -> None:
        self.change_many(changes, (), lambda some, _: {key: changes[key] for key in some})

    def apply_many(self, changes: Changes, /) -> None:
        self.change_many(changes, (), lambda some, _: {key: changes[key] for key in some}, at_once=True)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says; a shard in which others changed other chunks is read and swapped again."""
        chunks, others = self._apart(swaps)
        refused: set[str] = set()

        def make(some: Collection[str], olds: Changes) -> Changes:
            now: list[Version | None] = [None if (old := olds[key]) is None else digest(old) for key in some]
            changes, changed = unchanged({key: swaps[key] for key in some}, now)
            refused.difference_update(some)
            refused.update(changed)
            return changes

        if chunks:
            self.change_many(chunks, chunks, make)
        if others:
            refused.update(self.inner.swap_many({key: swaps[key] for key in others}))
        return refused

    def change_many(
        self,
        keys: Collection[str],
        read: Collection[str],
        make: Make[str],
        *,
        expect_missing: bool = False,
        at_once: bool = False,
    ) -> None:
        """As in `StorageTransformer`; each shard is read at most once and written once, unless others write to it."""
        place = self._places.place
        place_of = {key: place(key) for key in keys}
        self._change(place_of, read, make, expect_missing=expect_missing, at_once=at_once)

    def change_chunks(
        self,
        chunks: Collection[Coords],
        read: Collection[Coords],
        make: Make[Coords],
        *,
        expect_missing: bool = False,
    ) -> None:
        """As in `StorageTransformer`, without spelling and reading chunk keys."""
        place_of = dict(zip(chunks, self._places.found([*chunks]), strict=True))
        self._change(place_of, read, make, expect_missing=expect_missing)

    def _change(
        self,
        place_of: Mapping[Name, Place | None],
        read: Collection[Name],
        make: Make[Name],
        *,
        expect_missing: bool = False,
        at_once: bool = False,
    ) -> None:
        """Read, change and write the shards that some chunks are in, and keys that are not a chunk's beside them."""
        group = Group(self._places, place_of)
        wanted = {*read}

        def replaces(key: str, slots: Collection[int]) -> bool:
            """Whether nothing of a shard remains when these of its chunks are replaced; those outside the array remain."""
            shard = group.coords[key]
            return shard is None or len(slots) == self._places.slots(shard)

        load = [
            key
            for key, chunks in group.chunks.items()
            if not (replaces(key, chunks) and wanted.isdisjoint(chunks.values()))
        ]
        left: dict[Name, Buffer | None] = {}
        can = self.inner.capabilities
        keeps_empty = can.swap and not can.swap_erases and not at_once
        rooms = Rooms()
        # what keeps values in memory would copy them out of a room
        join = rooms.join if can.persistent and not at_once else b"".join

        def make_shards(some: Collection[str], olds: Changes) -> Changes:
            rooms.forget()
            opened = {key: self._opened(key, old, group.coords[key]) for key, old in olds.items()}
            known: dict[Name, Buffer | None] = {
                name: blobs[slot]
                for key, blobs in opened.items()
                for slot, name in group.chunks[key].items()
                if name in wanted
            }
            new = make([name for key in some for name in group.chunks[key].values()], known)
            made: dict[str, Buffer | None] = {}
            for key in some:
                chunks = group.chunks[key]
                changed = {slot: new[name] for slot, name in chunks.items() if name in new}
                if key in opened:
                    blobs = opened[key]
                    if all(value is None is blobs[slot] for slot, value in changed.items()):
                        continue  # what is to be erased does not exist
                elif changed and replaces(key, changed):
                    blobs = self._opened(key, None, group.coords[key])
                else:  # some of its chunks stay after all
                    left.update({chunks[slot]: value for slot, value in changed.items()})
                    continue
                for slot, value in changed.items():
                    blobs[slot] = value
                shard = group.coords[key]
                made[key] = (
                    blobs[0]
                    if shard is None
                    else self._format(shard).pack(blobs, join, keep_empty=keeps_empty and key in opened)
                )
            return made

        self.chunks_below.change_many(
            group.chunks, load, make_shards, expect_missing=expect_missing, at_once=at_once
        )
        rooms.close()
        if left:
            late = {name: place_of[name] for name in left}
            self._change(late, (), lambda some, _: {n: left[n] for n in some})

    def _opened(self, key: str, value: Buffer | None, shard: Coords | None) -> list[Buffer | None]:
        """The chunks of a shard, all missing if it is; for other keys, the value."""
        if shard is None:
            return [value]
        if value is None:
            return [None] * self._places.slots(shard)
        try:
            return self._format(shard).unpack(value)
        except CorruptDataError as error:
            raise corrupt(self.inner, key, error) from error

    # ------------------------------------------------------------ listing

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """As the contract says; of each shard the index is read."""
        if self._is_elsewhere(prefix):
            return self.inner.list_prefix(prefix)
        return (key for key, _ in self._shown(((k, 0) for k in self.inner.list_prefix(prefix)), prefix))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says; the size of a chunk is that of `stat_many`."""
        if self._is_elsewhere(folder):
            return self.inner.list_sizes(folder)
        return self._shown(self.inner.list_sizes(folder), folder)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; in folders of chunk keys everything below is listed."""
        if not folder.startswith(self._places.root):
            return self.inner.list_dir(folder)
        return children(self.list_prefix(folder), folder)

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says; folders of chunk keys are erased chunk by chunk, everything else as the store does it."""
        root = self._places.root
        if folder == root or not folder.startswith(root):
            self.inner.erase_prefix(folder)
            return
        chunks, others = self._apart(self.list_prefix(folder))
        shards = [[*names.values()] for names in Group(self._places, chunks).chunks.values()]
        for batch in chunked([*shards, *([key] for key in others)], BATCH):
            self.write_many(dict.fromkeys(key for keys in batch for key in keys))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says; chunks of the array are copied one by one, since elsewhere they are in no shard."""
        if self._is_elsewhere(source) and self._is_elsewhere(target):
            self.inner.rename_prefix(source, target)
        else:
            rename_by_copy(self, source, target)

    def _is_elsewhere(self, prefix: str) -> bool:
        """Whether no key of a chunk starts with it."""
        root = self._places.root
        return not prefix.startswith(root) and not root.startswith(prefix)

    def _shown(self, entries: Iterable[tuple[str, int]], prefix: str) -> Iterator[tuple[str, int]]:
        """A listing of the store below, with chunks in place of shards.

        `entries` are the keys there that start with `prefix`, which may be too few or too many to be the shards.
        """
        root = self._places.root
        inside = self._places.shard_prefix(prefix) if prefix.startswith(root) and prefix != root else prefix
        if inside == prefix:
            return self._replaced(entries, prefix)
        others = ((key, size) for key, size in entries if self._places.coords(key) is None)
        shards = ((key, 0) for key in self.inner.list_prefix(inside) if self._places.coords(key) is not None)
        return chain(others, self._replaced(shards, prefix))

    def _replaced(self, listed: Iterable[tuple[str, int]], prefix: str) -> Iterator[tuple[str, int]]:
        for batch in chunked(listed, BATCH):
            shards: dict[str, Coords] = {}
            for key, size in batch:
                coords = self._places.coords(key)
                if coords is None:
                    yield key, size
                else:
                    shards[key] = coords
            for shard, entries in zip(shards.values(), self._indexes(shards), strict=True):
                if entries is None:  # gone since it was listed
                    continue
                slots = entries.present()
                names = self._places.chunk_keys(shard, slots)
                for name, start, stop in zip(names, *entries.pick(slots), strict=True):
                    if name.startswith(prefix):
                        yield name, stop - start
