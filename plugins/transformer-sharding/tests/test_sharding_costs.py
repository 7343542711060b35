"""What reading and writing shards costs, counted below the transformer on a store like a remote one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array, Counting
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore
from zarrv3_transformer_sharding import ShardingTransformer

CHUNK = 10 * 10 * 8
"""The bytes of a chunk."""
INDEX = {"codec": 25 * 16 + 4, "transformer": 25 * 16}
WITNESS = {"codec": 4, "transformer": 25 * 16}
SWAPPED = {"get_versioned": 1, "swap_many": 1}
"""What a write costs that keeps something."""

Make = Callable[..., tuple[Array, Counting]]


def remote() -> Counting:
    """Memory that has byte ranges of its own, as a remote store has, counted."""
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, native_ranges=True)
    return Counting(DriverStore(driver))


@pytest.fixture(params=["codec", "transformer"])
def spelling(request: pytest.FixtureRequest) -> str:
    """Either of the two ways to write it down."""
    return str(request.param)


@pytest.fixture
def make(spelling: str) -> Make:
    """Make an array of 4 x 4 shards of 5 x 5 chunks of 10 x 10 elements, and the counter below it."""

    def made(store: Counting | None = None, **options: Any) -> tuple[Array, Counting]:
        counting = store or remote()
        shards: dict[str, Any] = (
            {"shards": (50, 50)}
            if spelling == "codec"
            else {"storage_transformers": [ShardingTransformer("indexed", (5, 5))]}
        )
        given = {"shape": (200, 200), "chunks": (10, 10), "dtype": "f8", "compressors": None, **options}
        array = zarrv3.create_array(counting, **shards, **given)
        counting.reset()
        return array, counting

    return made


def full(make: Make, **options: Any) -> tuple[Array, Counting, np.ndarray[Any, Any]]:
    """An array of numbers, none of them the fill value."""
    array, counting = make(**options)
    values = np.arange(1.0, array.size + 1).reshape(array.shape)
    with zarrv3.config.set(threads=1):
        array[...] = values
    counting.reset()
    return array, counting, values


def test_whole_shards_are_written_once_unread(make: Make, spelling: str) -> None:
    """Writing all chunks of 16 shards stores 16 values, each once, and reads nothing."""
    array, counting = make()
    array[...] = 1.0
    assert counting.requested == {"write_many": 16}
    assert counting.bytes_written == 16 * (25 * CHUNK + INDEX[spelling])


def test_shards_at_the_edge_are_whole(make: Make) -> None:
    """A shard of which only a part lies in the array is not read when the array is new, but swapped: others may be appending."""
    array, counting = make(shape=(63, 57))
    array.write(..., 1.0, is_new=True)
    assert counting.requested == {"write_many": 1, "swap_many": 3}
    counting.reset()
    assert (array[...] == 1).all()
    assert counting.requested == {"get_many": 4}


def test_filling_a_shard_is_linear(make: Make) -> None:
    """A shard of four times as many chunks costs four times as many bytes, written once."""
    written = []
    for length in (100, 200, 400):
        driver = remote()
        array = zarrv3.create_array(
            driver, shape=(length, length), chunks=10, shards=length, dtype="f8", compressors=None
        )
        driver.reset()
        array[...] = 1.0
        assert driver.calls == {"write_many": 1}
        written.append(driver.bytes_written)
    assert [size - 4 for size in written] == [
        (CHUNK + 16) * (length // 10) ** 2 for length in (100, 200, 400)
    ]


def test_whole_shards_are_read_in_one_call(make: Make, spelling: str) -> None:
    """Reading whole shards is one request a shard, all of a task in one call."""
    array, counting, values = full(make)
    with zarrv3.config.set(window=400, threads=1):
        assert (array[...] == values).all()
    assert (counting.calls, counting.requested) == ({"get_many": 1}, {"get_many": 16})
    counting.reset()
    assert (array[:50, 50:150] == values[:50, 50:150]).all()
    assert (counting.calls, counting.requested) == ({"get_many": 1}, {"get_many": 2})
    assert counting.bytes_read == 2 * (25 * CHUNK + INDEX[spelling])


def test_one_chunk_never_fetches_the_shard(make: Make, spelling: str) -> None:
    """One element reads the index, its chunk, and the few bytes that prove that the index still holds."""
    array, counting, values = full(make)
    assert array[77, 123] == values[77, 123]
    assert (counting.calls, counting.requested) == ({"get_many": 2}, {"get_many": 3})
    assert counting.bytes_read == INDEX[spelling] + CHUNK + WITNESS[spelling]


def test_a_known_index_saves_a_call(make: Make, spelling: str) -> None:
    """What comes next from a shard is one call: its bytes, and the index to compare with the one that is known."""
    array, counting, values = full(make)
    array[77, 123]
    counting.reset()
    assert (array[70:80, 110:130] == values[70:80, 110:130]).all()
    assert (counting.calls, counting.requested) == ({"get_many": 1}, {"get_many": 2})
    assert counting.bytes_read == INDEX[spelling] + 2 * CHUNK


def test_an_index_that_has_changed_costs_one_call(make: Make) -> None:
    """A shard that somebody else has replaced is read as if nothing had been known of it, after one call in vain."""
    array, counting, _ = full(make)
    array[0, 0]
    other = zarrv3.open_array(counting)
    other[10:20, :10] = 0  # the chunk is missing now, and what comes after it has moved
    counting.reset()
    assert array[20, 0] == other[20, 0] == 20 * 200 + 1
    assert counting.calls == {"get_many": 3 + 2}
    other[:50, :50] = 0
    assert array[20, 0] == 0
    counting.reset()
    assert array[20, 0] == 0
    assert counting.calls == {"get_many": 1}


def test_known_indexes_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many shards as fit into the memory for it, the index is known, and a copy of the array knows none."""
    monkeypatch.setattr("zarrv3_transformer_sharding.reading.KNOWN_BYTES", 3 * 25 * 40)
    array, counting, values = full(make)
    for place in range(0, 200, 50):
        assert array[place, place] == values[place, place]
    counting.reset()
    assert array[150, 150] == values[150, 150]
    assert counting.calls == {"get_many": 1}
    counting.reset()
    assert array[0, 0] == values[0, 0]
    assert counting.calls == {"get_many": 2}


@pytest.mark.parametrize(
    "selection",
    [
        (slice(5, 195), slice(5, 195)),
        (slice(None), 3),
        (slice(None, None, 7), slice(None, None, -13)),
        (slice(45, 55), slice(45, 55)),
    ],
    ids=["slab", "column", "steps", "corner"],
)
def test_any_selection_is_two_calls(make: Make, selection: Any) -> None:
    """Over however many shards: one call for indexes (and whole shards), one for ranges."""
    array, counting, values = full(make)
    with zarrv3.config.set(window=400, threads=1):
        assert (array[selection] == values[selection]).all()
    assert counting.calls["get_many"] <= 2
    assert counting.calls.keys() == {"get_many"}


def test_points_are_two_calls(make: Make) -> None:
    """Single points all over the array, too."""
    array, counting, values = full(make)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 200, (2, 40))
    with zarrv3.config.set(window=400):
        assert (array.vindex[rows, columns] == values[rows, columns]).all()
    assert counting.calls == {"get_many": 2}


def test_no_more_than_half_is_fetched_in_vain(make: Make, spelling: str) -> None:
    """Chunks side by side come as one range; with gaps, at most half as much again is read as was asked for."""
    array, counting, values = full(make)
    assert (array[0, :40] == values[0, :40]).all()
    assert counting.requested == {"get_many": 3}
    assert counting.bytes_read == INDEX[spelling] + 4 * CHUNK + WITNESS[spelling]
    for columns in ([0, 20, 40], [0, 10, 30, 40], [0, 40]):
        counting.reset()
        assert (array.oindex[0, columns] == values[0, columns]).all()
        read = counting.bytes_read - INDEX[spelling]
        assert len(columns) * CHUNK <= read <= 1.5 * len(columns) * CHUNK


@pytest.mark.parametrize(("local", "requests"), [(True, 8), (False, 1)])
def test_gaps_are_wider_where_requests_cost_round_trips(local: bool, requests: int) -> None:
    """A chunk of 80 KB that nobody asked for, between such as are wanted, costs less than another request far away; near, none are joined."""
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, native_ranges=True, local=local)
    counting = Counting(DriverStore(driver))
    array = zarrv3.create_array(
        counting, shape=(120_000,), chunks=(10_000,), shards=(120_000,), dtype="f8", compressors=None
    )
    array[:] = values = np.arange(120_000.0)
    array[0]
    counting.reset()
    wanted = [number * 10_000 for number in (0, 1, 3, 4, 6, 7, 9, 10)]
    assert (array.oindex[wanted] == values[wanted]).all()
    assert counting.requested == {"get_many": requests + 1}  # and the index


def test_partial_write_is_one_read_and_one_write(make: Make) -> None:
    """Parts of chunks, or some chunks of a shard: the shards are read once and written once, in one call each."""
    array, counting, values = full(make)
    for selection in ((slice(45, 55), slice(45, 55)), (slice(0, 10), slice(0, 10)), (7, slice(None))):
        counting.reset()
        array[selection] = values[selection] = -1.0
        assert counting.calls == SWAPPED
        assert counting.requested["get_versioned"] == counting.requested["swap_many"] <= 4
    assert (array[...] == values).all()


def test_partial_write_without_swaps() -> None:
    """Where the store cannot swap, a partial write reads its shards once and writes them once, too."""
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, swap=False)
    counting = Counting(DriverStore(driver))
    array = zarrv3.create_array(counting, shape=100, chunks=10, shards=50, dtype="f8", compressors=None)
    array[...] = 1.0
    counting.reset()
    array[45:55] = 2.0
    assert (counting.calls, counting.requested) == (
        {"get_many": 1, "write_many": 1},
        {"get_many": 2, "write_many": 2},
    )
    assert array[44:56].tolist() == [1, *[2] * 10, 1]


def test_mixed_writes_read_only_partial_shards(make: Make) -> None:
    """Where one shard is covered and its neighbour is not, only the neighbour is read."""
    array, counting, values = full(make)
    array[:50, :60] = values[:50, :60] = -1.0
    assert counting.requested == {**SWAPPED, "write_many": 1}
    assert (array[...] == values).all()


def test_first_write_to_a_shard(make: Make, spelling: str) -> None:
    """One chunk of a shard that does not exist: looked for, then written with that chunk alone."""
    array, counting = make()
    array[:10, :10] = 1.0
    assert counting.calls == SWAPPED
    assert counting.bytes_read == 0
    assert counting.bytes_written == CHUNK + INDEX[spelling]


def test_fill_values_erase(make: Make) -> None:
    """Whole shards of the fill value are erased unread, chunks of it leave their shard, and the last one takes it along."""
    array, counting, values = full(make, shape=(100, 100))
    array[:50] = values[:50] = 0.0
    assert (counting.calls, counting.requested) == ({"write_many": 1}, {"write_many": 2})
    counting.reset()
    array[50:90] = values[50:90] = 0.0
    assert counting.calls == SWAPPED
    counting.reset()
    array[90:] = values[90:] = 0.0
    assert len(array.store) == 1
    array[50:] = 0.0
    assert (array[...] == values).all()


def test_one_call_sets_and_erases(make: Make) -> None:
    """A write that sets some chunks of a shard and empties others stores the shard once."""
    array, counting, values = full(make, shape=(50, 50))
    new = np.where(np.arange(50) < 20, 0.0, 2.0)[:, None] * np.ones(50)
    array[:40, 5:] = values[:40, 5:] = new[:40, 5:]
    assert counting.calls == SWAPPED
    assert counting.requested == SWAPPED
    assert (array[...] == values).all()
    assert array.nchunks_initialized == 25 - 2 * 4


def test_shrinking_reads_edges_only(make: Make) -> None:
    """A smaller shape erases whole shards unread and rewrites only those at the new edge."""
    array, counting, values = full(make)
    array.resize(200, 50)
    assert counting.requested == {**SWAPPED, "write_many": 12}  # the document, and three columns of shards
    counting.reset()
    array.resize(95, 50)
    assert (array[...] == values[:95, :50]).all()
    array.resize(100, 50)
    assert (array[95:] == 0).all()


def test_chunks_are_counted_by_indexes(make: Make, spelling: str) -> None:
    """`nchunks_initialized` and `info` read the indexes of all shards, in one call, and nothing else."""
    array, counting, _ = full(make)
    array[:10] = 0.0
    counting.reset()
    assert array.nchunks_initialized == 400 - 20
    assert counting.calls == {"list_prefix": 1, "get_many": 1}
    assert counting.bytes_read == 16 * INDEX[spelling]
    size = sum(len(value) for value in array.store.values())
    text = repr(array.info)
    assert array.nbytes_stored() == size
    assert "Chunks initialized : 380/400" in text
    assert "Shard shape        : (50, 50)" in text
    assert "Chunk shape        : (10, 10)" in text


def test_chunks_are_looked_at_by_indexes(make: Make, spelling: str) -> None:
    """Whether chunks are there and their sizes come from the indexes of their shards, in one call."""
    array, counting, _ = full(make)
    assert array.layout.store.stat_many([f"c/{n}/{n}" for n in range(21)]) == [CHUNK] * 20 + [None]
    assert counting.calls == {"get_many": 1}
    assert counting.bytes_read == 4 * INDEX[spelling]


def test_stores_without_ranges_give_whole_shards(make: Make) -> None:
    """Where a part of a value costs as much as all of it, one call fetches the shard."""
    array, counting, values = full(make, store=Counting(zarrv3.MemoryStore()))
    assert array[77, 123] == values[77, 123]
    assert (counting.calls, counting.requested) == ({"get_many": 1}, {"get_many": 1})


def test_whole_shards_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """From such a store a column over many shards is fetched a few shards at a time."""
    array, counting, values = full(make, store=Counting(zarrv3.MemoryStore()))
    monkeypatch.setattr("zarrv3_transformer_sharding.transformer.WHOLE_BYTES", 2 * 25 * CHUNK)
    assert (array[:, 3] == values[:, 3]).all()
    assert (counting.calls, counting.requested) == ({"get_many": 2}, {"get_many": 4})


def test_partial_writes_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task reads no more shards at once than its bytes allow, however small the part of each is."""
    array, counting, values = full(make)
    monkeypatch.setattr("zarrv3.chunks.tasks.TASK_BYTES", 2 * 25 * CHUNK)
    array[:, 3] = values[:, 3] = -1.0
    assert counting.calls == {"get_versioned": 4, "swap_many": 4}
    counting.reset()
    array[::50, 3] = values[::50, 3] = -2.0
    assert counting.calls == {"get_versioned": 2, "swap_many": 2}
    assert counting.requested == {"get_versioned": 4, "swap_many": 4}
    assert (array[...] == values).all()


def test_nested_shards() -> None:
    """Shards in shards: whole ones are one request and one write; a part is read once and written once."""
    counting = remote()
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    index = [little, {"name": "crc32c"}]
    inner = {"chunk_shape": [5], "codecs": [little], "index_codecs": index, "index_location": "start"}
    outer = {
        "chunk_shape": [20],
        "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        "index_codecs": index,
    }
    array = zarrv3.create(
        160,
        store=counting,
        chunks=80,
        dtype="i4",
        codecs=[{"name": "sharding_indexed", "configuration": outer}],
    )
    assert (array.chunks, array.shards) == ((5,), (80,))
    counting.reset()
    array[...] = values = np.arange(1, 161)
    assert counting.requested == {"write_many": 2}
    counting.reset()
    with zarrv3.config.set(window=100):
        assert (array[...] == values).all()
    assert (counting.calls, counting.requested) == ({"get_many": 1}, {"get_many": 2})
    counting.reset()
    array[33:40] = values[33:40] = -1
    assert counting.calls == SWAPPED
    assert (array[...] == values).all()
    counting.reset()
    assert zarrv3.open_array(counting)[36] == -1
    assert counting.calls.pop("get_many") == 4  # the document, the outer index, the inner one, the chunk
    assert counting.bytes_read < 4 * 80 + len(counting["zarr.json"])
    assert array[36] == -1
    counting.reset()
    assert array[37] == -1
    assert counting.calls == {"get_many": 1}
    assert array.nchunks_initialized == 32
