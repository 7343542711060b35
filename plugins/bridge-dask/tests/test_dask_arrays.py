"""From and to dask arrays in one process: blocks against chunks and shards, names, refusals."""

from __future__ import annotations

import math
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask.delayed import Delayed
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import registry
from zarrv3.errors import (
    AssignmentError,
    ConfigurationError,
    NodeExistsError,
    ReadOnlyError,
    RegistryError,
    SelectionError,
    UnsupportedError,
)
from zarrv3.store.contract import Capabilities
from zarrv3_bridge_dask import (
    UnalignedBlocksError,
    append_dask,
    blocks,
    from_dask,
    to_dask,
    write_dask,
    writing,
)

pytestmark = pytest.mark.usefixtures("threads")


@pytest.fixture(scope="module")
def threads() -> Any:
    """Computing by threads, whatever cluster other tests have."""
    with dask.config.set(scheduler="threads"):
        yield


def has_sharding() -> bool:
    """Whether the package is installed that stores several chunks as one value."""
    try:
        registry.load("codecs", "sharding_indexed")
    except RegistryError:
        return False
    return True


sharded = pytest.mark.skipif(not has_sharding(), reason="zarrv3-transformer-sharding is not installed")

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6).map(tuple)


# ---------------------------------------------------------------- arithmetic


def writers(lengths: tuple[int, ...], unit: int, offset: int) -> dict[int, set[int]]:
    """The slow twin: which blocks write to each unit, element by element."""
    found: dict[int, set[int]] = {}
    place = offset
    for block, length in enumerate(lengths):
        for _ in range(length):
            found.setdefault(place // unit, set()).add(block)
            place += 1
    return found


@given(lengths, st.integers(1, 10), st.integers(0, 20))
def test_crossings_are_units_of_two_blocks(given: tuple[int, ...], unit: int, offset: int) -> None:
    """Blocks cross units exactly where some unit is written by two of them, and never once they are aligned."""
    is_shared = any(len(who) > 1 for who in writers(given, unit, offset).values())
    assert bool([*blocks.crossings((given,), [unit], [offset])]) == is_shared
    (better,) = blocks.aligned((given,), [unit], [offset])
    assert sum(better) == sum(given)
    assert all(length > 0 for length in better)
    assert all(len(who) == 1 for who in writers(better, unit, offset).values())
    assert is_shared or better == given


@given(lengths, st.integers(1, 10), st.integers(0, 20), st.integers(0, 5))
def test_partial_units(given: tuple[int, ...], unit: int, offset: int, beyond: int) -> None:
    """A region is partial where a unit at its edge has elements of the array that are not in it."""
    stop = offset + sum(given)
    written = set(range(offset, stop))
    units = {place // unit for place in written}
    others = {place for place in range(stop + beyond) if place // unit in units} - written
    assert bool(blocks.partial((given,), [unit], [offset], [stop + beyond])) == bool(others)


@given(st.lists(lengths, min_size=1, max_size=3).map(tuple), st.integers(1, 200))
def test_fitting_chunks_cross_nothing(given: tuple[tuple[int, ...], ...], limit: int) -> None:
    """Chunks that fit some blocks are shared by none of them and divide them evenly."""
    chunks = blocks.fitting(given, 1, limit)
    assert not [*blocks.crossings(given, chunks, [0] * len(given))]
    assert all(c % f == 0 for c, f in zip(blocks.common(given), chunks, strict=True))
    assert math.prod(chunks) <= limit or all(blocks._factor(length) == 0 for length in chunks)


def test_blocks_without_a_common_length() -> None:
    """Blocks that only tiny chunks would fit are refused, with the call that helps; `even` makes them regular."""
    given = ((1000, 999, 1),)
    with pytest.raises(UnalignedBlocksError, match=r"rechunk\({0: 1000}\)"):
        blocks.fitting(given, 8)
    assert blocks.even(given) == ((1000, 1000),)


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("dtype", ["i4", "f8", "c16", "?", "M8[s]", "U3", np.dtypes.StringDType()])
def test_round_trip_of_data_types(dtype: Any) -> None:
    """What is written is what is read, whatever the type."""
    data = np.arange(24).astype("U2" if np.dtype(dtype).kind in "UT" else "i8").astype(dtype).reshape(4, 6)
    array = from_dask(da.from_array(data, chunks=(2, 3)))
    assert array.chunks == (2, 3)
    back = to_dask(array)
    assert (back.dtype, back.chunks) == (data.dtype, ((2, 2), (3, 3)))
    np.testing.assert_array_equal(back.compute(), data)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_few_elements(shape: tuple[int, ...]) -> None:
    """Arrays without dimensions or without elements are written and read."""
    array = from_dask(da.ones(shape))
    assert array.shape == shape
    np.testing.assert_array_equal(to_dask(array).compute(), np.ones(shape))


def test_large_blocks_become_several_chunks() -> None:
    """A block of 64 MiB is cut into chunks of 16 MiB, of which no other block has a part; each chunk is written once."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    array = from_dask(da.ones((4096, 4096), chunks=(4096, 2048)), counting)
    assert array.nbytes == 2**27
    assert math.prod(array.chunks) * 8 == 2**24
    assert array.nchunks == 8
    assert counting.requested["write_many"] == 8
    assert counting.requested["get_many"] <= 6  # documents, and whether another format has some there


class Unswapped(zarrv3.Layer):
    """A store that cannot swap."""

    kind = "unswapped"

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner store but for swaps."""
        return self.inner.capabilities.without("swap")


def test_refused_before_anything_is_created() -> None:
    """Where a store cannot swap, blocks that share chunks are refused with the call that helps, and following it works."""
    store = Unswapped(zarrv3.MemoryStore())
    darr = da.arange(40, chunks=7).reshape(1, 40).rechunk((1, 7))
    with pytest.raises(UnalignedBlocksError, match=r"\.rechunk\(\{1: 5\}\)") as caught:
        from_dask(darr, store, "a", chunks=(1, 5))
    assert "meet at 7 along axis 1" in str(caught.value)
    assert store.list() == []
    array = from_dask(darr.rechunk({1: 5}), store, "a", chunks=(1, 5))
    np.testing.assert_array_equal(array[0], np.arange(40))
    other = from_dask(darr, store, "b", chunks=(1, 5), rechunk=True)
    np.testing.assert_array_equal(other[0], np.arange(40))


@given(st.lists(lengths, min_size=2, max_size=2), st.tuples(st.integers(1, 7), st.integers(1, 7)))
def test_rechunk_always_fits(given: list[tuple[int, ...]], chunks: tuple[int, int]) -> None:
    """With `rechunk` any blocks go into any chunks, and every chunk is written once."""
    shape = tuple(map(sum, given))
    data = np.arange(1, math.prod(shape) + 1).reshape(shape)
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    with dask.config.set(scheduler="synchronous"):
        array = from_dask(da.from_array(data, chunks=tuple(given)), counting, chunks=chunks, rechunk=True)
    np.testing.assert_array_equal(array[...], data)
    document = 1
    written = (
        counting.requested["write_many"] + counting.requested["swap_many"]
    )  # those at the edge keep their padding
    assert written == array.nchunks + document


def test_a_lock_lets_blocks_share_chunks() -> None:
    """With a lock tasks write one after the other, and nothing is lost where they share a chunk."""
    array = from_dask(da.arange(100, chunks=7), Unswapped(zarrv3.MemoryStore()), chunks=10, lock=True)
    np.testing.assert_array_equal(array[...], np.arange(100))


def test_delayed() -> None:
    """Without `compute` everything returns a `Delayed`: the array is there and empty, its values come with the computation."""
    store = zarrv3.MemoryStore()
    later = from_dask(da.arange(10, chunks=5), store, "a", compute=False)
    array = zarrv3.open_array(store, path="a")
    region = write_dask(da.arange(5, chunks=5) + 20, array, region=[slice(5, 10)], compute=False)
    behind = append_dask(da.arange(3, chunks=2), array, compute=False)
    several = writing.write_many(
        [writing.Write(da.ones(2, chunks=1), array, (slice(k, k + 2),)) for k in (0, 2)],
        compute=False,
        lock=None,
    )
    nothing = writing.write_many([], compute=False, lock=None)
    assert array.shape == (13,)
    assert array.nchunks_initialized == 0
    for each in (later, region, behind, several, nothing):
        assert isinstance(each, Delayed)
        assert each.compute() is None
    np.testing.assert_array_equal(array[...], [1, 1, 1, 1, 4, *range(20, 25), 0, 1, 2])


def test_appending() -> None:
    """Blocks go behind what is there, also where they share chunks; what does not fit changes nothing."""
    for store in (zarrv3.MemoryStore(), Unswapped(zarrv3.MemoryStore())):
        array = zarrv3.create_array(store, data=np.arange(12).reshape(3, 4), chunks=(2, 2))
        assert append_dask(da.ones((3, 3), chunks=(3, 2)), array, axis=-1, lock=True) == (3, 7)
        assert append_dask(da.ones((2, 7), chunks=(1, 7)), array, rechunk=True) == (5, 7)
        append_dask(to_dask(array), array, rechunk=True)
        model = np.ones((5, 7))
        model[:3, :4] = np.arange(12).reshape(3, 4)
        np.testing.assert_array_equal(array[...], np.concatenate([model, model]))
    before = dict(store)
    for wrong, error in (
        (da.ones((2, 6), chunks=1), AssignmentError),
        (da.ones(2, chunks=1), AssignmentError),
        (da.ones((2, 7), chunks=(1, 7)), UnalignedBlocksError),
        (da.ones((2, 7), chunks=2, dtype="c8"), AssignmentError),
    ):
        with pytest.raises(error):
            append_dask(wrong, array)
    with pytest.raises(SelectionError):
        append_dask(da.ones((2, 7)), array, axis=2)
    assert dict(store) == before


def test_a_failing_append_gives_its_place_back() -> None:
    """A task that fails leaves the array as long as it was."""
    array = zarrv3.create_array(data=np.arange(4, dtype="u1"), chunks=2)
    with pytest.raises(AssignmentError, match="out of range"):
        append_dask(da.arange(300, chunks=50), array)
    assert array.refresh()[...].tolist() == [0, 1, 2, 3]


def test_existing_regions() -> None:
    """A region of an array that exists is written; blocks that share a chunk without swaps, other lengths and steps are refused."""
    array = zarrv3.create_array(Unswapped(zarrv3.MemoryStore()), shape=20, chunks=5, dtype="i8")
    write_dask(da.arange(12, chunks=(2, 5, 5)), array, region=[slice(3, 15)])
    np.testing.assert_array_equal(array[...], [0] * 3 + [*range(12)] + [0] * 5)
    with pytest.raises(UnalignedBlocksError, match=r"rechunk\({0: \(2, 5, 5\)}\)"):
        write_dask(da.arange(12, chunks=4), array, region=[slice(3, 15)])
    write_dask(da.arange(12, chunks=4) * 2, array, region=[slice(3, 15)], rechunk=True)
    np.testing.assert_array_equal(array[3:15], np.arange(12) * 2)
    for region in ([slice(0, 11)], [slice(0, 20, 2)], [slice(0, 12), slice(0, 1)]):
        with pytest.raises(AssignmentError):
            write_dask(da.zeros(12, chunks=5), array, region=region)


def test_overwriting_what_is_read_is_refused(tmp_path: Path) -> None:
    """A graph that reads an array may not erase it first, however the array came into the graph."""
    array = from_dask(da.arange(20, chunks=5), tmp_path / "a", "x/y")
    for darr in (
        to_dask(array) + 1,
        to_dask(array, inline_array=True) + 1,
        da.from_array(array, chunks=5) * 2,
    ):
        for path in ("x/y", "x", None):
            with pytest.raises(ConfigurationError, match="overwriting would erase"):
                from_dask(darr, tmp_path / "a", path, overwrite=True)
    np.testing.assert_array_equal(array[...], np.arange(20))
    with pytest.raises(NodeExistsError):
        from_dask(da.zeros(3), tmp_path / "a", "x/y")
    assert from_dask(to_dask(array), tmp_path / "b", "x/y", overwrite=True)[19] == 19


def test_what_cannot_be_written() -> None:
    """Masked elements, blocks of unknown length and arrays open for reading are refused."""
    masked = da.ma.masked_equal(da.arange(6, chunks=3), 2)
    with pytest.raises(AssignmentError, match="masked"):
        from_dask(masked)
    np.testing.assert_array_equal(from_dask(da.ma.masked_equal(da.arange(6, chunks=3), 7))[...], np.arange(6))
    unknown = da.arange(10, chunks=5)
    with pytest.raises(ConfigurationError, match="compute_chunk_sizes"):
        from_dask(unknown[unknown > 3])
    store = zarrv3.MemoryStore()
    zarrv3.create_array(store, shape=10, chunks=5, dtype="i8")
    with pytest.raises(ReadOnlyError):
        write_dask(unknown, zarrv3.open_array(store, mode="r"))


def test_unflushed_writes_are_flushed(tmp_path: Path) -> None:
    """An archive, which shows changes when it is flushed, is complete when writing returns."""
    with zarrv3.open_store(f"{tmp_path}/a.zip|zip:") as store:
        from_dask(da.arange(20, chunks=5), store, "a")
        with zarrv3.open_store(f"{tmp_path}/a.zip|zip:", read_only=True) as again:
            np.testing.assert_array_equal(zarrv3.open_array(again, path="a", mode="r")[...], np.arange(20))


@sharded
def test_shards() -> None:
    """Blocks are held against shards, not chunks; each shard is written once and is a block when it is read."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    darr = da.arange(120, chunks=30)
    with pytest.raises(UnalignedBlocksError, match=r"rechunk\({0: 40}\)"):
        from_dask(darr, Unswapped(zarrv3.MemoryStore()), chunks=10, shards=20 * 2)
    array = from_dask(darr, counting, chunks=10, shards=30)
    assert counting.requested["write_many"] == 4
    assert to_dask(array).chunks == ((30,) * 4,)
    assert to_dask(array, chunks=10).chunks == ((10,) * 12,)
    free = from_dask(darr, zarrv3.MemoryStore(), shards="auto")
    assert free.shards == (30,)
    np.testing.assert_array_equal(free[...], np.arange(120))


# ---------------------------------------------------------------- reading


def test_block_lengths() -> None:
    """Blocks are chunks or multiples of chunks; others are refused with one that works."""
    array = zarrv3.create_array(None, data=np.arange(200).reshape(20, 10), chunks=(4, 5))
    assert to_dask(array).chunks == ((4,) * 5, (5, 5))
    assert to_dask(array, chunks=(8, -1)).chunks == ((8, 8, 4), (10,))
    assert to_dask(array, chunks={0: 12, 1: 5}).chunks == ((12, 8), (5, 5))
    with dask.config.set({"array.chunk-size": "400B"}):
        found = to_dask(array, chunks="auto").chunks
    assert all(
        length % unit == 0 for lengths, unit in zip(found, (4, 5), strict=True) for length in lengths[:-1]
    )
    assert max(a * b for a, b in product(*found)) * 8 <= 400
    with pytest.raises(ConfigurationError, match="a multiple of 4, such as 4"):
        to_dask(array, chunks=(6, 5))


def test_chunks_are_read_once() -> None:
    """Computing a whole array asks for each chunk once; a slice asks only for its own."""
    counting = zarrv3.Counting(zarrv3.create_array(zarrv3.MemoryStore(), data=np.arange(100), chunks=5).store)
    array = zarrv3.open_array(counting, mode="r")
    counting.reset()
    darr = to_dask(array, chunks=10)
    assert counting.requested["get_many"] == 0
    np.testing.assert_array_equal(darr.compute(), np.arange(100))
    assert counting.requested["get_many"] == 20
    counting.reset()
    assert darr[12].compute() == 12
    assert counting.requested["get_many"] <= 2


def test_names(tmp_path: Path) -> None:
    """A name follows from store, path, metadata and blocks; it is new with `False`, and as given if it is given."""
    array = from_dask(da.arange(20, chunks=5), tmp_path / "a", "one")
    other = from_dask(da.arange(20, chunks=5), tmp_path / "a", "two")
    name = to_dask(array).name
    assert name == to_dask(tmp_path / "a", "one").name == to_dask(pickle.loads(pickle.dumps(array))).name
    names = {name, to_dask(other).name, to_dask(array, chunks=10).name}
    array.attrs["changed"] = True
    names |= {to_dask(array).name, to_dask(array, name=False).name, to_dask(array, name=False).name}
    assert len(names) == 6
    assert to_dask(array, name="mine").name == "mine"
    memory = zarrv3.create_array({}, shape=3)
    assert to_dask(memory).name == to_dask(memory).name


def test_what_tasks_carry(tmp_path: Path) -> None:
    """A graph pickles as configuration and works in its copy; a store of this process alone refuses."""
    array = from_dask(da.arange(20, chunks=5), tmp_path / "a")
    data = pickle.dumps(to_dask(array))
    np.testing.assert_array_equal(pickle.loads(data).compute(), np.arange(20))
    with pytest.raises(UnsupportedError, match="scheduler='threads'"):
        pickle.dumps(to_dask(zarrv3.create_array("memory://alone", shape=3, overwrite=True)))


def test_arguments_that_do_not_fit() -> None:
    """A path goes with a store, not with an open array."""
    array = zarrv3.create_array(None, shape=3)
    with pytest.raises(ConfigurationError, match="path"):
        to_dask(array, "a")


def test_as_they_are() -> None:
    """`da.from_array`, `da.store` and `map_blocks` take arrays as they are."""
    array = zarrv3.create_array(None, data=np.arange(100).reshape(10, 10), chunks=(5, 5))
    result = zarrv3.create_array(None, shape=(10, 10), chunks=(5, 5), dtype="i8")
    da.store(da.from_array(array).map_blocks(lambda block: block + 1), result, lock=False)
    np.testing.assert_array_equal(result[...], array[...] + 1)
    assert da.from_array(array, chunks=array.chunks).chunks == ((5, 5), (5, 5))
