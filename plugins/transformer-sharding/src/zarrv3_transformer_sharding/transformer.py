"""`ShardingTransformer`: a store of chunks on a store of shards."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from zarrv3.chunks.transformers import Changes, ChunkChanges, StorageTransformer, change_many
from zarrv3.errors import CorruptDataError, MetadataError, UnsupportedError
from zarrv3.format.codecs import Codec, parse_codec
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.backend import check_value
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, Capabilities, Request
from zarrv3.store.helpers import children, chunked, rename_by_copy
from zarrv3.store.keys import check_folder, check_keys, check_where, split_prefix
from zarrv3.store.locks import NamedLocks
from zarrv3_transformer_sharding.places import Coords, Group, Name, Places, counts
from zarrv3_transformer_sharding.reading import Asked, ShardReader, corrupt, entries_of
from zarrv3_transformer_sharding.shard import Location, ShardFormat

URI = "https://purl.org/zarr/spec/storage_transformers/sharding/1.0"

BATCH = 64
"""How many shards are looked at together when chunks are listed or erased by folder."""

WHOLE_BYTES = 64 * 2**20
"""How many bytes of shards are fetched at once for parts of them from a store where a part costs as much as the whole."""

_PLAIN = ({"name": "bytes", "configuration": {"endian": "little"}},)

_locks = NamedLocks()
"""The shards that a thread of this process reads, changes and writes just now."""


class ShardingTransformer(StorageTransformer):
    """Stores blocks of chunks as one value each, a shard; whoever uses it sees the chunks under their own keys.

    In metadata it is a storage transformer; the codec `sharding_indexed` becomes one when an array is opened. Bound to an
    array it is a store in which each chunk of the array is a key. All other keys pass through.

    * Reading asks for whole shards where all their chunks are wanted (one call); otherwise for indexes, then for ranges
      (two calls, however many shards). A store where a part costs as much as the whole is asked for whole shards.
    * Writing replaces a shard unread where all its chunks are given that lie in the array. Otherwise it is read once and
      written once, under a lock that the threads of this process share; chunks that stay are copied as they are.
    * A shard that is not what its index says raises `CorruptDataError` with its key, when it is read or changed.

    `compare_and_set` of a chunk swaps its shard. Processes must not write to the same shard at once, other than so.

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
    _level: int
    _shard_bytes: int

    kind: ClassVar[str] = "sharding"

    def __init__(self, _type: str, chunks_per_shard: int | Sequence[int]) -> None:
        super().__init__(_type)
        self.chunks_per_shard = counts(chunks_per_shard)

    @classmethod
    def indexed(cls, chunks_per_shard: Coords, codecs: Sequence[Codec], location: Location) -> Self:
        """One with other codecs and another place of the index than the storage transformer of the specification has."""
        made = cls("indexed", chunks_per_shard)
        made.chunks_per_shard = chunks_per_shard
        made._codecs = codecs
        made._location = location
        return made

    def get_config(self) -> dict[str, JSON]:
        """The configuration in metadata."""
        return {"chunks_per_shard": [*self.chunks_per_shard]}

    @property
    def block_shape(self) -> Coords:
        """How many chunks along each dimension are in a shard."""
        return self.chunks_per_shard

    def bind(self, store: BaseStore, folder: str, metadata: ArrayMetadata) -> Self:
        """A copy around a store, for the array whose keys lie below `folder`; `MetadataError` if it does not fit."""
        grid = metadata.chunk_grid
        ndim = len(metadata.shape)
        if len(self.chunks_per_shard) > ndim:
            raise MetadataError(
                f"chunks_per_shard {[*self.chunks_per_shard]} has more entries than the array has dimensions ({ndim})"
            )
        per_shard = (*self.chunks_per_shard, *(1,) * (ndim - len(self.chunks_per_shard)))
        bound = super().bind(store, folder, metadata)
        codecs = self._codecs if self._codecs is not None else [parse_codec(codec) for codec in _PLAIN]
        bound._shards = ShardFormat.build(per_shard, codecs, self._location)
        bound._places = Places(
            folder, metadata.chunk_key_encoding, per_shard, grid.grid_shape(metadata.shape)
        )
        bound._shard_bytes = math.prod((*grid.chunk_shape, *per_shard, metadata.data_type.item_size or 16))
        below, bound._level = store, 0
        while isinstance(below, StorageTransformer):
            below, bound._level = below.inner, bound._level + 1
        return bound

    def identity(self) -> Any:
        """What it is, the store below, and how shards lie there."""
        if self._inner is None:
            return super().identity()
        shards = self._shards
        return super().identity(), self._places, shards.location, shards.chain.to_json()

    # ------------------------------------------------------------ reading

    @property
    def capabilities(self) -> Capabilities:
        """Those of the store below; swapping a chunk needs both ways of swapping a shard."""
        can = self.inner.capabilities
        return can if can.atomic_create and can.atomic_swap else can.without("atomic_create", "atomic_swap")

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract; chunks are views of what the store below returned."""
        asked: dict[Coords, Asked] = defaultdict(Asked)
        others: list[int] = []
        place = self._places.place
        for position, (key, wanted) in enumerate(requests):
            found = place(key)
            if found is None:
                others.append(position)
                continue
            part = asked[found[0]]
            part.positions.append(position)
            part.slots.append(found[1])
            part.ranges.append(wanted)
        if not asked:
            return self.inner.get_many(requests)
        values: list[Buffer | None] = [None] * len(requests)
        found_others = self._fetch(asked, [requests[position] for position in others], values)
        for position, value in zip(others, found_others, strict=True):
            values[position] = value
        return values

    def get_chunks(self, places: Sequence[Coords], /) -> Sequence[Buffer | None]:
        """See `StorageTransformer`: without spelling and reading chunk keys."""
        asked: dict[Coords, Asked] = defaultdict(Asked)
        for position, (shard, slot) in enumerate(self._places.found(places)):
            part = asked[shard]
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
        """Put what is asked of shards into `values`; returned are the values of other keys, fetched beside them."""
        ranges = self.inner.capabilities.native_ranges
        for shard, part in asked.items():
            part.whole = not ranges or (
                part.ranges.count(None) == len(part.ranges) and self._places.covers(shard, {*part.slots})
            )
        reader = ShardReader(self.inner, self._shards, values)
        keyed = [(self._places.key(shard), part) for shard, part in asked.items()]
        size = len(keyed) if ranges else max(1, WHOLE_BYTES // max(1, self._shard_bytes))
        found: Sequence[Buffer | None] = ()
        for number, parts in enumerate(chunked(keyed, size)):
            others = reader.read(dict(parts), () if number else rest)
            found = found if number else others
        return found

    # ------------------------------------------------------------ writing

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract."""
        for key, value in items.items():
            check_value(key, value)
        self.change_many(items.keys(), (), lambda _: items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract."""
        check_keys(keys)
        if not self.inner.capabilities.erase:
            self.inner.erase_many(keys)  # refuses, also where a shard would only be rewritten
        self.change_many(keys, (), lambda _: dict.fromkeys(keys))

    def change_many(
        self,
        keys: Collection[str],
        read: Collection[str],
        make: Callable[[Changes], Changes],
        *,
        keep_padding: bool = False,
    ) -> None:
        """See `zarrv3.chunks.transformers.change_many`: each shard is read at most once and written at most once."""
        group = Group(self._places, ((key, self._places.place(key)) for key in keys))
        if group.slots:
            self._change(group, read, make, keep_padding=keep_padding)
        else:
            change_many(self.inner, keys, read, make, keep_padding=keep_padding)

    def change_chunks(
        self,
        chunks: Collection[Coords],
        read: Collection[Coords],
        make: Callable[[ChunkChanges], ChunkChanges],
        *,
        keep_padding: bool = False,
    ) -> None:
        """See `StorageTransformer`: without spelling and reading chunk keys."""
        found = self._places.found([*chunks])
        self._change(
            Group(self._places, zip(chunks, found, strict=True)), read, make, keep_padding=keep_padding
        )

    def _change(
        self,
        group: Group[Name],
        read: Collection[Name],
        make: Callable[[Mapping[Name, Buffer | None]], Mapping[Name, Buffer | None]],
        *,
        keep_padding: bool,
    ) -> None:
        """Read, change and write the shards that some chunks are in, and keys that are none of a chunk beside them."""
        wanted = {group.placed[name][0] for name in read if name in group.placed}
        load: list[str] = [
            key
            for key, (shard, slots) in group.slots.items()
            if key in wanted or not self._replaces(shard, slots, keep_padding=keep_padding)
        ]

        def make_shards(olds: Changes) -> Changes:
            opened = {key: self._unpacked(key, olds[key]) for key in load}
            chunks: dict[Name, Buffer | None] = {}
            for name in read:
                placed = group.placed.get(name)
                chunks[name] = olds[str(name)] if placed is None else opened[placed[0]][placed[1]]
            return self._packed(group, make(chunks), opened, keep_padding=keep_padding)

        with _locks.held(self._names(group.slots)):
            change_many(
                self.inner,
                [*group.slots, *map(str, group.others)],
                [*load, *(str(name) for name in read if name not in group.placed)],
                make_shards,
                keep_padding=keep_padding,
            )

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract."""
        group = Group(self._places, ((key, self._places.place(key)) for key in changes))
        if not group.slots:
            self.inner.apply_many(changes)
            return
        for key, value in changes.items():
            if value is not None:
                check_value(key, value)
        with _locks.held(self._names(group.slots)):
            self.inner.apply_many(self._packed(group, changes, {}, keep_padding=False))

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract; of a chunk, its shard is swapped for one with the other chunk."""
        placed = self._places.place(key)
        can = self.capabilities
        if not (can.atomic_create and can.atomic_swap) and can.write:
            raise UnsupportedError(
                f"{self.inner.describe()} cannot both create and swap atomically; chunks in shards need both"
            )
        if placed is None or not can.write:
            return self.inner.compare_and_set(key, old, new)
        for value in (old, new):
            if value is not None:
                check_value(key, value)
        shard, slot = self._places.key(placed[0]), placed[1]
        with _locks.held(self._names([shard])):
            while True:
                before = self.inner.get_many([(shard, None)])[0]
                chunks = self._unpacked(shard, before)
                current = chunks[slot]
                if (current is None) != (old is None) or (current is not None and current != old):
                    return False
                chunks[slot] = new
                if self.inner.compare_and_set(shard, before, self._shards.pack(chunks)):
                    return True  # otherwise another process has changed the shard, perhaps not this chunk

    def _names(self, shards: Iterable[str]) -> list[Hashable]:
        """What stands for some shards among the locks; of nested shards each level has names of its own."""
        return [(self._level, key) for key in shards]

    def _replaces(self, shard: Coords, slots: Collection[int], *, keep_padding: bool) -> bool:
        """Whether nothing of a shard stays when these chunks of it are replaced."""
        return len(slots) == self._places.slots or (not keep_padding and self._places.covers(shard, slots))

    def _unpacked(self, key: str, shard: Buffer | None) -> list[Buffer | None]:
        """The chunks of a shard; all are missing where it is."""
        if shard is None:
            return [None] * self._places.slots
        try:
            return self._shards.unpack(shard)
        except CorruptDataError as error:
            raise corrupt(self.inner, key, error) from error

    def _packed(
        self,
        group: Group[Name],
        changes: Mapping[Name, Buffer | None],
        opened: dict[str, list[Buffer | None]],
        *,
        keep_padding: bool,
    ) -> Changes:
        """The changes of shards, and of other keys, that changes of chunks amount to.

        `opened` holds the chunks of shards that have been read; those that have to be besides are read now.
        """
        packed: dict[str, Buffer | None] = {}
        new: dict[str, dict[int, Buffer | None]] = defaultdict(dict)
        for name, value in changes.items():
            placed = group.placed.get(name)
            if placed is None:
                packed[str(name)] = value
            else:
                new[placed[0]][placed[1]] = value
        late = [
            key
            for key, chunks in new.items()
            if key not in opened
            and not self._replaces(group.slots[key][0], chunks.keys(), keep_padding=keep_padding)
        ]
        if late:
            values = self.inner.get_many([(key, None) for key in late])
            opened |= {key: self._unpacked(key, value) for key, value in zip(late, values, strict=True)}
        for key, chunks in new.items():
            known = opened.get(key)
            blobs = known if known is not None else self._unpacked(key, None)
            if known is not None and all(value is None is blobs[slot] for slot, value in chunks.items()):
                continue  # what is to be erased is not there
            for slot, value in chunks.items():
                blobs[slot] = value
            packed[key] = self._shards.pack(blobs)
        return packed

    # ------------------------------------------------------------ listing

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract; of each shard the index is read."""
        split_prefix(prefix)
        if self._is_elsewhere(prefix):
            return self.inner.list_prefix(prefix)
        return (key for key, _ in self._shown(((k, 0) for k in self.inner.list_prefix(prefix)), prefix))

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract; the size of a chunk is that of its bytes in the shard, without its part of the index."""
        where = check_where(where)
        if where and not where.endswith("/"):
            placed = self._places.place(where)
            if placed is None:
                return self.inner.sizes(where)
            return self._chunks([placed[0]], where)
        if self._is_elsewhere(where):
            return self.inner.sizes(where)
        return self._shown(self.inner.sizes(where), where)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract; where there are chunk keys, everything below is listed."""
        folder = check_folder(folder)
        if not folder.startswith(self._places.root):
            return self.inner.list_dir(folder)
        return children(self.list_prefix(folder), folder)

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract; folders of chunk keys are erased chunk by chunk, everything else as the store does it."""
        folder, root = check_folder(folder), self._places.root
        if folder == root or not folder.startswith(root) or not self.inner.capabilities.erase:
            self.inner.erase_prefix(folder)
            return
        shards: dict[Coords | None, list[str]] = defaultdict(list)
        for key in self.list_prefix(folder):
            placed = self._places.place(key)
            shards[None if placed is None else placed[0]].append(key)
        for batch in chunked(shards.values(), BATCH):
            self.erase_many([key for keys in batch for key in keys])

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract; chunks of the array are copied one by one, since elsewhere they are in no shard."""
        source, target = check_folder(source), check_folder(target)
        can = self.inner.capabilities
        elsewhere = self._is_elsewhere(source) and self._is_elsewhere(target)
        if elsewhere or not (can.write and can.erase):
            self.inner.rename_prefix(source, target)
        else:
            rename_by_copy(self, source, target)

    def _is_elsewhere(self, prefix: str) -> bool:
        """Whether no key of a chunk starts with it."""
        root = self._places.root
        return not prefix.startswith(root) and not root.startswith(prefix)

    def _shown(self, found: Iterable[tuple[str, int]], prefix: str) -> Iterator[tuple[str, int]]:
        """A listing of the store below as it is seen from above: chunks instead of shards.

        `found` are the keys there that start with `prefix`, which may be too few or too many to be the shards.
        """
        root = self._places.root
        inside = self._places.shard_prefix(prefix) if prefix.startswith(root) and prefix != root else prefix
        if inside == prefix:
            return self._replaced(found, prefix)
        others = ((key, size) for key, size in found if self._places.coords(key) is None)
        shards = ((key, 0) for key in self.inner.list_prefix(inside) if self._places.coords(key) is not None)
        return (item for part in (others, self._replaced(shards, prefix)) for item in part)

    def _replaced(self, found: Iterable[tuple[str, int]], prefix: str) -> Iterator[tuple[str, int]]:
        for batch in chunked(found, BATCH):
            shards = []
            for key, size in batch:
                coords = self._places.coords(key)
                if coords is None:
                    yield key, size
                else:
                    shards.append(coords)
            if shards:
                yield from self._chunks(shards, prefix)

    def _chunks(self, shards: Sequence[Coords], prefix: str) -> Iterator[tuple[str, int]]:
        """The keys that start with `prefix`, and the sizes, of the chunks in some shards: reads their indexes."""
        where = self._shards.index_range
        keys = [self._places.key(shard) for shard in shards]
        values = self.inner.get_many([(key, where) for key in keys])
        for shard, key, raw in zip(shards, keys, values, strict=True):
            if raw is None:  # gone since it was listed
                continue
            entries = entries_of(self.inner, key, self._shards, raw)
            slots = entries.present()
            for name, start, stop in zip(
                self._places.chunk_keys(shard, slots), *entries.pick(slots), strict=True
            ):
                if name.startswith(prefix):
                    yield name, stop - start
