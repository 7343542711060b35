"""Sharded arrays against numpy and against the same array without shards, whatever is done to them."""

import math
import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import zarrv3
from zarrv3 import Array, MemoryStore
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore
from zarrv3_transformer_sharding import ShardingTransformer

Shape = tuple[int, ...]
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
CRC = {"name": "crc32c"}
GZIP = {"name": "gzip", "configuration": {"level": 1}}

index_codecs = st.sampled_from([[LITTLE], [LITTLE, CRC], [BIG, CRC], [BIG]])
locations = st.sampled_from(["start", "end"])
inner_codecs = st.sampled_from([[LITTLE], [LITTLE, CRC], [BIG, GZIP]])


def remote() -> Any:
    """Memory with byte ranges of its own."""
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, native_ranges=True)
    return DriverStore(driver)


@st.composite
def spellings(draw: Any, chunks: Shape) -> dict[str, Any]:
    """What makes shards of chunks: codec, nested codecs, transformers, or both."""
    counts = [tuple(draw(st.integers(1, 3)) for _ in chunks) for _ in range(2)]
    kind = draw(st.sampled_from(["codec", "nested", "transformer", "transformers", "both"]))
    inner = draw(inner_codecs)
    made = [ShardingTransformer("indexed", count) for count in counts]
    if kind == "transformer":
        return {"chunks": chunks, "codecs": inner, "storage_transformers": made[:1]}
    if kind == "transformers":
        return {"chunks": chunks, "codecs": inner, "storage_transformers": made}
    lengths, codecs = chunks, inner
    for count in counts[: 2 if kind == "nested" else 1]:
        configuration = {
            "chunk_shape": [*lengths],
            "codecs": codecs,
            "index_codecs": draw(index_codecs),
            "index_location": draw(locations),
        }
        codecs = [{"name": "sharding_indexed", "configuration": configuration}]
        lengths = tuple(a * b for a, b in zip(lengths, count, strict=True))
    return {"chunks": lengths, "codecs": codecs, "storage_transformers": made[1:] if kind == "both" else []}


class ShardMachine(RuleBasedStateMachine):
    """An array in shards through writes, resizes, appends and reopening, beside one without and numpy."""

    folder: tempfile.TemporaryDirectory[str] | None = None

    def place(self) -> Any:
        """Where the array lies."""
        return MemoryStore()

    @initialize(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9))
    def create(self, data: st.DataObject, shape: Shape) -> None:
        """Create the two arrays."""
        chunks = tuple(data.draw(st.integers(1, 3)) for _ in shape)
        common = {
            "dtype": "f4",
            "fill_value": data.draw(st.sampled_from([0, math.nan, -1])),
            "write_empty_chunks": data.draw(st.booleans()),
            "path": data.draw(st.sampled_from([None, "a/b"])),
            "dimension_separator": data.draw(st.sampled_from("./")),
        }
        spelling = data.draw(spellings(chunks))
        note(str(spelling))
        self.array = zarrv3.create(shape, store=self.place(), **common, **spelling)
        self.plain = zarrv3.create(shape, chunks=chunks, store=MemoryStore(), compressor=None, **common)
        assert self.array.chunks == chunks
        self.twin = np.full(shape, self.array.fill_value, "f4")

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """Write to a basic selection."""
        selection = data.draw(hnp.basic_indices(self.twin.shape, allow_newaxis=False))
        value = data.draw(st.sampled_from([0.0, -1.0, math.nan, 3.5]))
        for target in (self.array, self.plain, self.twin):
            target[selection] = value

    @rule(data=st.data())
    def write_points(self, data: st.DataObject) -> None:
        """Write where a mask is true."""
        mask = data.draw(hnp.arrays(bool, self.twin.shape))
        values = np.arange(mask.sum(), dtype="f4")
        for target in (self.array, self.plain, self.twin):
            target[mask] = values

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Read a basic selection and a mask."""
        selection = data.draw(hnp.basic_indices(self.twin.shape, allow_newaxis=False))
        np.testing.assert_array_equal(self.array[selection], self.twin[selection])
        mask = data.draw(hnp.arrays(bool, self.twin.shape))
        np.testing.assert_array_equal(self.array[mask], self.twin[mask])

    @rule(data=st.data())
    def resize(self, data: st.DataObject) -> None:
        """Give the array another shape; what is new has the fill value."""
        shape = tuple(data.draw(st.integers(0, 10)) for _ in self.twin.shape)
        self.array.resize(shape)
        self.plain.resize(shape)
        new = np.full(shape, self.array.fill_value, "f4")
        both = tuple(slice(min(a, b)) for a, b in zip(shape, self.twin.shape, strict=True))
        new[both] = self.twin[both]
        self.twin = new

    @precondition(lambda self: self.twin.size < 200)
    @rule(data=st.data(), many=st.integers(0, 5))
    def append(self, data: st.DataObject, many: int) -> None:
        """Add elements along a dimension."""
        axis = data.draw(st.integers(0, self.twin.ndim - 1))
        shape = list(self.twin.shape)
        shape[axis] = many
        values = np.random.default_rng(many).random(shape, "f4")
        self.array.append(values, axis)
        self.plain.append(values, axis)
        self.twin = np.concatenate([self.twin, values], axis)

    @rule()
    def reopen(self) -> None:
        """Forget the objects and open the arrays again."""
        empty = not self.array.write_empty_chunks
        self.array = Array(self.array.store, self.array.path, write_empty_chunks=empty)
        self.plain = Array(self.plain.store, self.plain.path, write_empty_chunks=empty)

    @invariant()
    def is_equal(self) -> None:
        """Values are those of numpy, and the chunks there are those of the array without shards."""
        if not hasattr(self, "twin"):
            return
        np.testing.assert_array_equal(self.array[...], self.twin)
        mine, other = self.array.layout, self.plain.layout
        keys = {key for key in mine.store.list_prefix(mine.folder) if mine.coords(key) is not None}
        assert keys == {key for key in other.store.list_prefix(other.folder) if other.coords(key) is not None}
        assert self.array.nchunks_initialized == self.plain.nchunks_initialized == len(keys)

    def teardown(self) -> None:
        """Remove the folder."""
        if self.folder is not None:
            self.folder.cleanup()


class RemoteShardMachine(ShardMachine):
    """The machine with byte ranges."""

    def place(self) -> Any:
        """Memory like a remote store."""
        return remote()


class DirectoryShardMachine(ShardMachine):
    """The machine over a folder of files."""

    def place(self) -> Any:
        """A new folder."""
        self.folder = tempfile.TemporaryDirectory()
        return self.folder.name


FEW = settings(max_examples=max(5, settings().max_examples // 3))
"""Each example is some dozens of steps with three comparisons each."""

TestInMemory = ShardMachine.TestCase
TestLikeRemote = RemoteShardMachine.TestCase
TestInDirectory = DirectoryShardMachine.TestCase
TestInMemory.settings = TestLikeRemote.settings = TestInDirectory.settings = FEW


@given(st.data())
def test_chunks_in_any_order_with_gaps(data: st.DataObject) -> None:
    """Shards of other writers, with chunks in any order, gaps anywhere and chunks missing, read the same by any way."""
    per_shard = data.draw(st.integers(1, 6))
    location = data.draw(locations)
    configuration = {
        "chunk_shape": [2],
        "codecs": [LITTLE],
        "index_codecs": [LITTLE],
        "index_location": location,
    }
    twin = np.zeros(2 * per_shard, "u2")
    body = b""
    start = 16 * per_shard if location == "start" else 0
    words = np.full((per_shard, 2), -1, "<i8")
    for slot in data.draw(st.permutations(range(per_shard))):
        body += b"\xee" * data.draw(st.integers(0, 9))
        if data.draw(st.booleans()):
            twin[2 * slot : 2 * slot + 2] = [slot + 1, 1000 + slot]
            words[slot] = start + len(body), 4
            body += twin[2 * slot : 2 * slot + 2].astype("<u2").tobytes()
    body += b"\xee" * data.draw(st.integers(0, 9))
    for store in (MemoryStore(), remote()):
        array = zarrv3.create(
            2 * per_shard,
            store=store,
            chunks=2 * per_shard,
            dtype="u2",
            codecs=[{"name": "sharding_indexed", "configuration": configuration}],
        )
        index = words.tobytes()
        store["c/0"] = index + body if location == "start" else body + index
        selection = data.draw(st.slices(2 * per_shard))
        assert (array[selection] == twin[selection]).all()
        assert (array[...] == twin).all()
        assert array.nchunks_initialized == (words[:, 0] >= 0).sum()
        array[selection] = new = np.where(np.arange(2 * per_shard) % 2, twin, 7)[selection]
        changed = twin.copy()
        changed[selection] = new
        assert (array[...] == changed).all()
