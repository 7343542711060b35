"""Arrays whose chunks differ in length, against numpy, and their documents."""

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import IrregularGridError, MetadataError
from zarrv3.format.cuts import Edges, clipped
from zarrv3.format.grids import parse_grid
from zarrv3.testing import ChunkGridConformance
from zarrv3_grid_rectilinear import RectilinearGrid

lengths = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def document(*shapes: Any) -> dict[str, Any]:
    """A chunk grid as a document names it."""
    return {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [*shapes]}}


class TestGrid(ChunkGridConformance):
    """The conformance kit."""

    examples = 50

    @pytest.fixture(
        params=[[[3, 4, 5]], [[[1, 3], 4], 10], [2, 3], [[[7, 100000]], [5]]],
        ids=str,
    )
    def grid(self, request: pytest.FixtureRequest) -> Any:
        """Lists, runs and lengths."""
        return document(*request.param)


# ---------------------------------------------------------------- against numpy


@given(st.data())
def test_everything_is_as_in_numpy(data: st.DataObject) -> None:
    """Reading, writing, appending and resizing do what they do to an array of numpy, in any order."""
    draw = data.draw
    chunks = [draw(st.one_of(lengths, st.integers(1, 5))) for _ in range(draw(st.integers(1, 3)))]
    shape = tuple(draw(st.integers(1, sum(c) if isinstance(c, list) else 9)) for c in chunks)
    expected = np.arange(math.prod(shape)).reshape(shape)
    array = zarrv3.create_array(data=expected, chunks=chunks, fill_value=-1)
    for _ in range(4):
        match draw(st.sampled_from(["slice", "oindex", "vindex", "mask", "block", "append", "resize"])):
            case "slice":
                step = st.sampled_from([None, 1, 2, 3, -1])
                selection = tuple(
                    slice(*sorted(draw(st.tuples(*[st.integers(0, n)] * 2))), draw(step))
                    for n in expected.shape
                )
                expected[selection] *= 2
                array[selection] = array[selection] * 2
            case "oindex":
                rows = tuple([draw(st.integers(0, n - 1))] for n in expected.shape)
                assert array.oindex[rows].tolist() == expected[np.ix_(*rows)].tolist()
                array.oindex[rows] = expected[np.ix_(*rows)] = 7
            case "vindex":
                points = tuple(
                    draw(st.lists(st.integers(0, n - 1), min_size=5, max_size=5)) for n in expected.shape
                )
                assert array.vindex[points].tolist() == expected[points].tolist()
                array.vindex[points] = expected[points] = 8
            case "mask":
                assert array[expected % 3 == 0].tolist() == expected[expected % 3 == 0].tolist()
                mask = expected % 3 == 0
                array[mask] = expected[mask] = 9
            case "block":
                numbers = [draw(st.integers(0, len(sizes) - 1)) for sizes in array.read_chunk_sizes]
                starts = [sum(sizes[:n]) for n, sizes in zip(numbers, array.read_chunk_sizes, strict=True)]
                part = tuple(
                    slice(start, start + sizes[n])
                    for n, start, sizes in zip(numbers, starts, array.read_chunk_sizes, strict=True)
                )
                assert array.blocks[tuple(numbers)].tolist() == expected[part].tolist()
                array.blocks[tuple(numbers)] = expected[part] = 10
            case "append":
                axis = draw(st.integers(0, len(shape) - 1))
                more = list(expected.shape)
                more[axis] = draw(st.integers(1, 4))
                array.append(np.full(more, 11), axis)
                expected = np.concatenate([expected, np.full(more, 11)], axis)
            case "resize":
                new = tuple(draw(st.integers(1, n + 3)) for n in expected.shape)
                array.resize(new)
                kept = tuple(map(slice, map(min, new, expected.shape)))
                old, expected = expected, np.full(new, -1)
                expected[kept] = old[kept]
        assert array[...].tolist() == expected.tolist()
    again = zarrv3.open_array(array.store)
    assert np.array([*again]).tolist() == expected.tolist()
    assert pickle.loads(pickle.dumps(again.metadata)).chunk_grid == again.metadata.chunk_grid
    assert again.nchunks_initialized <= again.nchunks == math.prod(map(len, again.read_chunk_sizes))
    assert tuple(map(sum, again.read_chunk_sizes)) == again.shape


@pytest.mark.parametrize("dtype", ["string", "f4", [("a", "i2"), ("b", "f8")], "datetime64[s]"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_element(dtype: Any, order: str) -> None:
    """Chunks are encoded by their own shape, also transposed, of texts and of records."""
    values = np.arange(24).reshape(12, 2)
    expected = values.astype(str).astype(object) if dtype == "string" else values.astype(dtype)
    array = zarrv3.create_array(data=expected, dtype=dtype, chunks=[[3, 4, 5], [1, 1]], order=order)
    assert array[...].tolist() == expected.tolist()
    array[2:5] = expected[5:8]
    assert (
        array[1:8:2].tolist() == np.concatenate([expected[:2], expected[5:8], expected[5:]])[1:8:2].tolist()
    )


def test_a_cache_of_chunks_and_kernels_none() -> None:
    """Decoded chunks are remembered each in its own shape; without kernels all is the same."""
    expected = np.arange(24).reshape(12, 2)
    with zarrv3.config.set(kernels="none"):
        array = zarrv3.create_array(data=expected, chunks=[[3, 4, 5], 2]).with_chunk_cache("1MiB")
        for _ in range(2):
            assert array[...].tolist() == expected.tolist()
    assert array.chunk_cache is not None
    assert array.chunk_cache.statistics.hits == 3


def test_chunks_of_very_different_size_are_moved_in_portions() -> None:
    """A task of a thousand small chunks is not one of a thousand large ones."""
    sizes = [1] * 1000 + [400_000] * 20
    array = zarrv3.create_array(shape=(sum(sizes),), chunks=[sizes], dtype="i4", compressors=None)
    array[:] = 1
    counting = zarrv3.Counting(array.store)
    assert int(zarrv3.open_array(counting)[...].sum()) == sum(sizes)
    assert counting.calls["get_many"] > 10


# ---------------------------------------------------------------- the grid


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([4], ((4, 2),)),
        ([[1, 2, 3]], ((1, 2, 3),)),
        ([[[4, 2]]], ((4, 2),)),
        ([[[1, 3], 3]], ((1, 1, 1, 3),)),
        ([[4, 4, 4]], ((4, 2),)),
    ],
)
def test_examples_of_the_specification(shapes: Any, expected: Any) -> None:
    """The five ways to declare edges that the specification shows, for six elements."""
    array = zarrv3.create_array(shape=6, dtype="u1", chunks=document(*shapes))
    assert array.read_chunk_sizes == expected


@pytest.mark.parametrize(
    "shapes",
    [
        [[3, 4]], [[0, 12]], [[-1, 13]], [[12, 0]], [[[3, 0], 12]], [[[-3, 4]]], [[[3, 4, 5]]], [[[3]]], [[[]]], [[]], [0],
        [-4], [3.0], [[3.0, 9]], [True], [[True, 11]], ["4"], ["12"], [["12"]], [None], [{}], [3, 4], [], 12, "12", None,
        [[[2**40, 2**40]]], [[[1, 2**63]]], [[2**63]], [[2**62, 2**62]], [[[1, [12]]]], [[[[12, 1]]]],
    ],
    ids=str,
)  # fmt: skip
def test_bad_documents(shapes: Any) -> None:
    """Lists that end too early, empty chunks, the wrong rank and what cannot be counted are refused, and so is their document."""
    configuration = {"kind": "inline", "chunk_shapes": shapes}
    with pytest.raises(MetadataError):
        zarrv3.create_array(shape=(12,), chunks={"name": "rectilinear", "configuration": configuration})
    store = zarrv3.MemoryStore()
    found = zarrv3.create_array(store, shape=(12,)).metadata.to_document()
    grid: Any = {"name": "rectilinear", "configuration": configuration}
    store["zarr.json"] = json.dumps({**found, "chunk_grid": grid}).encode()
    with pytest.raises(MetadataError, match=r"zarr\.json"):
        zarrv3.open_array(store)


@pytest.mark.parametrize(
    "change", [{"kind": "other"}, {"kind": None}, {"kind": ...}, {"more": 1}, {"chunk_shapes": ...}]
)
def test_bad_configurations(change: dict[str, Any]) -> None:
    """Another kind, a missing member and one more are refused."""
    whole = {"kind": "inline", "chunk_shapes": [3], **change}
    configuration = {name: value for name, value in whole.items() if value is not ...}
    with pytest.raises(MetadataError, match="rectilinear"):
        parse_grid({"name": "rectilinear", "configuration": configuration})


def test_both_forms_are_written_where_they_are_short() -> None:
    """Lengths that differ are listed, equal ones in a row are pairs, and single lengths stay what they are."""
    grid = RectilinearGrid((Edges.of([3, 4, 5]), Edges.of([5, 5, 5, 1]), 10, Edges.of([4])))
    assert grid.to_json() == document([3, 4, 5], [[5, 3], 1], 10, [4])
    assert parse_grid(grid.to_json()) == grid
    assert repr(grid) == "RectilinearGrid(cuts=(<Edges [3, 4, 5]>, <Edges [5×3, 1]>, 10, <Edges [4]>))"


def test_a_document_that_is_read_keeps_its_form() -> None:
    """Only a grid that changes is written in our form."""
    array = zarrv3.create_array(shape=6, dtype="u1", chunks=document([[2, 1], [2, 1], 2]))
    found = json.loads(array.store["zarr.json"])
    assert found["chunk_grid"] == document([[2, 3]])
    found["chunk_grid"] = document([2, [2, 1], 2])
    array.store["zarr.json"] = json.dumps(found).encode()
    array = zarrv3.open_array(array.store)
    array.attrs["a"] = 1
    assert json.loads(array.store["zarr.json"])["chunk_grid"] == found["chunk_grid"]
    array.resize(7)
    assert json.loads(array.store["zarr.json"])["chunk_grid"] == document([[2, 3], 1])


@pytest.mark.parametrize("runs", [((1, 10**15),), ((3, 10**15), (10, 10**15), (1, 3))])
def test_runs_cost_what_they_are_long_to_write(runs: tuple[tuple[int, int], ...]) -> None:
    """A chunk among 10**15 is found, written, read and resized at once."""
    edges = Edges(runs)
    array = zarrv3.create_array(
        shape=edges.total, dtype="u1", chunks=document([[length, count] for length, count in runs])
    )
    array[[0, 10**14 + 5, edges.total - 1]] = 5
    assert array[10**14 + 4 : 10**14 + 7].tolist() == [0, 5, 0]
    assert array.nchunks_initialized == 3
    array.append([1, 2])
    assert array[-3:].tolist() == [5, 1, 2]
    array.resize(10**14)
    assert array.nchunks_initialized == 1
    assert len(json.dumps(array.metadata.document["chunk_grid"])) < 150


def test_many_chunks_of_all_lengths_in_few_calls() -> None:
    """A hundred thousand chunks are planned as a whole: reading some of each costs a call a window and no search a chunk."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 30, 100_000).tolist()
    edges = Edges.of(sizes)
    ends = np.cumsum(sizes)
    elements = rng.integers(0, edges.total, 100_000)
    assert edges.chunks(elements).tolist() == np.searchsorted(ends, elements, "right").tolist()
    numbers = np.arange(edges.count)
    assert edges.starts(numbers).tolist() == [0, *ends[:-1].tolist()]
    assert edges.lengths(numbers).tolist() == sizes
    assert [*clipped(edges, edges.total - 1)] == [*sizes[:-1], sizes[-1] - 1][: 100_000 - (sizes[-1] == 1)]
    for chunk in (0, 5, 99_999):
        assert (edges.start(chunk), edges.length(chunk)) == ([0, *ends][chunk], sizes[chunk])
        assert edges.chunk(edges.start(chunk)) == chunk


# ---------------------------------------------------------------- making arrays


def test_what_is_asked_of_chunks() -> None:
    """There is no single shape of all chunks; there are lengths instead, and `info` shows them."""
    array = zarrv3.create_array(shape=(12, 20), chunks=[[3, 4, 5], 10])
    with pytest.raises(IrregularGridError, match="use read_chunk_sizes"):
        _ = array.chunks
    with pytest.raises(NotImplementedError):
        _ = array.chunks
    assert array.shards is None
    assert array.read_chunk_sizes == array.write_chunk_sizes == ((3, 4, 5), (10, 10))
    assert array.cdata_shape == (3, 2)
    assert "Chunk shape        : ([3, 4, 5], 10)" in repr(array.info)
    regular = zarrv3.create_array(shape=12, chunks=document(5))
    assert regular.chunks == (5,)
    assert regular.read_chunk_sizes == ((5, 5, 2),)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([[3, 4, 5], -1], ((3, 4, 5), (20,))),
        ([[3, 9], None], ((3, 9), (20,))),
        ((np.array([6, 6]), np.int64(10)), ((6, 6), (10, 10))),
        (((12,), (5, 5, 5, 5)), ((12,), (5, 5, 5, 5))),
        ([[5, 10, 5], 20], ((5, 7), (20,))),
    ],
)
def test_spellings_of_chunks(chunks: Any, expected: Any) -> None:
    """Lists, tuples and arrays stand for lengths, beside all that stands for one length; they may reach over the end."""
    assert zarrv3.create_array(shape=(12, 20), chunks=chunks).read_chunk_sizes == expected


@pytest.mark.parametrize(
    "chunks", [[[3, 4]], [[3, 4, 5]] * 3, [[3, 4, 5], "x"], [[], 2], [[3, 4, 5], [0, 20]]]
)
def test_wrong_chunks(chunks: Any) -> None:
    """What does not fit the array is refused before anything is stored."""
    store = zarrv3.MemoryStore()
    with pytest.raises(MetadataError):
        zarrv3.create_array(store, shape=(12, 20), chunks=chunks)
    assert not [*store]


def test_arrays_like_it() -> None:
    """An array like another has its chunks."""
    array = zarrv3.create_array(shape=(12, 20), chunks=[[3, 4, 5], 10], dtype="f4")
    assert zarrv3.zeros_like(array).read_chunk_sizes == array.read_chunk_sizes
    assert (
        zarrv3.create_array(shape=(12, 20), chunks=array.metadata.chunk_grid).metadata
        == zarrv3.create_array(shape=(12, 20), chunks=(*array.read_chunk_sizes[:1], 10)).metadata
    )


def test_an_append_that_fails_gives_its_place_back() -> None:
    """The array is as long as before; its list may end later, so that the next elements share a chunk."""
    array = zarrv3.create_array(data=np.arange(12), chunks=[[3, 4, 5]])

    class Failing(zarrv3.Layer):
        """Has no room for chunks."""

        def write_many(self, changes: Any, /) -> None:
            """Take what is to be erased."""
            if any(changes.values()):
                raise OSError("full")
            self.inner.write_many(changes)

        def swap_many(self, swaps: Any, /) -> Any:
            """Take documents."""
            if any(key.startswith("c/") and new for key, (_, new) in swaps.items()):
                raise OSError("full")
            return self.inner.swap_many(swaps)

        def apply_many(self, changes: Any, /) -> None:
            """Take nothing."""
            raise OSError("full")

    failing = zarrv3.open_array(Failing(array.store))
    with pytest.raises(OSError, match="full"):
        failing.append(np.arange(4))
    assert array.refresh().shape == (12,)
    assert array[...].tolist() == [*range(12)]
    array.append([12, 13])
    assert array[...].tolist() == [*range(14)]


# ---------------------------------------------------------------- shards


@given(st.data())
def test_shards_that_differ_in_shape_are_as_in_numpy(data: st.DataObject) -> None:
    """Chunks of one shape in shards of several: read, written in part and whole, erased, counted, verified."""
    draw = data.draw
    chunks = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    counts = [
        draw(st.one_of(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4)))
        for _ in chunks
    ]
    shards = [
        c * n if isinstance(n, int) else [c * i for i in n] for c, n in zip(chunks, counts, strict=True)
    ]
    shape = tuple(draw(st.integers(1, 12 if isinstance(s, int) else sum(s))) for s in shards)
    expected = np.arange(1, math.prod(shape) + 1).reshape(shape)
    array = zarrv3.create_array(data=expected, chunks=chunks, shards=shards)
    assert len(array.store) == 1 + math.prod(map(len, array.write_chunk_sizes))
    for _ in range(3):
        part = tuple(slice(*sorted(draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in shape)
        expected[part] = draw(st.sampled_from([0, 7]))
        array[part] = expected[part]
        assert array[part].tolist() == expected[part].tolist()
        points = tuple(draw(st.lists(st.integers(0, n - 1), min_size=20, max_size=20)) for n in shape)
        assert array.vindex[points].tolist() == expected[points].tolist()
        number = tuple(draw(st.integers(0, len(sizes) - 1)) for sizes in array.write_chunk_sizes)
        array.blocks[number] = array.blocks[number] + 1
        low = [sum(sizes[:n]) for n, sizes in zip(number, array.write_chunk_sizes, strict=True)]
        box = tuple(slice(a, a + s[n]) for a, n, s in zip(low, number, array.write_chunk_sizes, strict=True))
        expected[box] += 1
        assert array[...].tolist() == expected.tolist()
    assert array.nchunks_initialized <= array.nchunks
    assert zarrv3.verify(array.store).chunks == array.nchunks_initialized
    more = np.full((draw(st.integers(1, 5)), shape[1]), 9)
    array.append(more)
    assert array[...].tolist() == np.concatenate([expected, more]).tolist()


def test_shards_are_read_by_parts_and_in_few_calls() -> None:
    """Many chunks cost one call where shards are read whole, and a shard is written unread, whatever shapes shards have."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    array = zarrv3.create_array(
        counting, shape=(60, 40), chunks=(2, 4), shards=[[4, 16, 40], [8, 32]], dtype="i4", compressors=None
    )
    array[...] = 5
    assert (array.chunks, array.write_chunk_sizes) == ((2, 4), ((4, 16, 40), (8, 32)))
    with pytest.raises(IrregularGridError, match="use write_chunk_sizes"):
        _ = array.shards
    assert "Shard shape        : ([4, 16, 40], [8, 32])" in repr(array.info)
    counting.reset()
    assert array[5:50:7, 3:30:9].tolist() == np.full((7, 3), 5).tolist()
    assert counting.calls == {"get_many": 1}
    counting.reset()
    array.blocks[1, 1] = 6
    assert counting.calls == {"write_many": 1}
    assert array[4:20, 8:].min() == 6


@pytest.mark.parametrize(
    ("chunks", "shards", "error"),
    [
        (2, [[4, 5]], "multiple"),
        ([[4, 8]], 4, "give the lists of lengths to shards"),
        ([[4, 8]], [[4, 8]], "give the lists of lengths to shards"),
    ],
)
def test_wrong_shards(chunks: Any, shards: Any, error: str) -> None:
    """Chunks of a shard have one shape, which divides every shard."""
    with pytest.raises(MetadataError, match=error):
        zarrv3.create_array(shape=9, chunks=chunks, shards=shards)


def test_wrong_shards_in_a_document() -> None:
    """An array of which any shard is not whole chunks does not open."""
    array = zarrv3.create_array(shape=12, chunks=2, shards=[[4, 8]])
    found = json.loads(array.store["zarr.json"])
    found["chunk_grid"] = document([3, 10])
    array.store["zarr.json"] = json.dumps(found).encode()
    with pytest.raises(MetadataError, match="does not divide a shard's length 3"):
        zarrv3.open_array(array.store)


def test_shards_grow_by_whole_chunks() -> None:
    """What is appended gets a shard of its own, long enough for whole chunks; shards within shards too."""
    array = zarrv3.create_array(data=np.arange(12), chunks=3, shards=[[3, 9]])
    array.append(np.arange(12, 16))
    assert array.metadata.chunk_grid == RectilinearGrid((Edges.of([3, 9, 6]),))
    array.append([16, 17, 18])
    assert array.write_chunk_sizes == ((3, 9, 6, 1),)
    assert array[...].tolist() == [*range(19)]
    inner = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [2],
            "codecs": ["bytes"],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, "crc32c"],
        },
    }
    nested = zarrv3.create_array(data=np.arange(12), dtype="u1", chunks=4, shards=[[8, 4]], codecs=[inner])
    assert (nested.chunks, nested.write_chunk_sizes) == ((2,), ((8, 4),))
    nested.append(np.arange(12, 17))
    assert nested.metadata.chunk_grid == RectilinearGrid((Edges.of([8, 4, 8]),))
    assert nested[...].tolist() == [*range(17)]


# ---------------------------------------------------------------- other packages


def test_copies_into_and_out_of_the_grid() -> None:
    """Copies pass chunks through, or re-chunk them from and to lists of lengths, and are verified."""
    data = np.arange(240).reshape(12, 20)
    source = zarrv3.create_array(data=data, chunks=[[3, 4, 5], 10])
    for chunks in ("keep", (5, 5), [[1, 11], [7, 7, 6]]):
        copied = zarrv3.MemoryStore()
        report = zarrv3.copy(source.store, copied, chunks=chunks, verify=True)
        array = zarrv3.open_array(copied)
        assert array[...].tolist() == data.tolist()
        assert report.recoded == (chunks != "keep")
        assert zarrv3.verify(copied).chunks == array.nchunks
    report = zarrv3.copy(source.store, sharded := zarrv3.MemoryStore(), chunks=1, shards=[[4, 8], 20])
    assert zarrv3.open_array(sharded)[...].tolist() == data.tolist()
    assert zarrv3.copy(sharded, zarrv3.MemoryStore(), compressors=None).recoded == 1


def test_dask_arrays_of_it() -> None:
    """The blocks of a dask array are its chunks, and blocks of any lengths become chunks by being named."""
    from zarrv3_bridge_dask import from_dask, to_dask

    data = np.arange(240).reshape(12, 20)
    array = zarrv3.create_array(data=data, chunks=[[3, 4, 5], 10])
    lazy = to_dask(array)
    assert lazy.chunks == ((3, 4, 5), (10, 10))
    assert lazy.compute().tolist() == data.tolist()
    assert to_dask(array, chunks="auto").chunks == ((12,), (20,))
    assert from_dask(lazy, chunks=lazy.chunks)[...].tolist() == data.tolist()
    with pytest.raises(zarrv3.errors.ConfigurationError, match="give whole ones"):
        to_dask(array, chunks=((6, 6), (20,)))


def test_datasets_of_it(tmp_path: Any) -> None:
    """Variables of xarray keep their lists of lengths, which reach farther where a variable has become longer."""
    import xarray as xr

    import zarrv3_bridge_xarray

    group = zarrv3.create_group(str(tmp_path / "a"))
    group.create_array("v", data=np.arange(12.0), chunks=[[3, 4, 5]], dimension_names=["t"])
    found = xr.open_dataset(str(tmp_path / "a"), engine="zarrv3", chunks={})
    assert found["v"].chunks == ((3, 4, 5),)
    assert found["v"].encoding["chunks"] == ((3, 4, 5),)
    zarrv3_bridge_xarray.to_zarrv3(found.load(), str(tmp_path / "b"))
    assert zarrv3.open_array(str(tmp_path / "b"), path="v").read_chunk_sizes == ((3, 4, 5),)
    longer = xr.concat([found, found], "t")
    zarrv3_bridge_xarray.to_zarrv3(longer, str(tmp_path / "c"))
    assert zarrv3.open_array(str(tmp_path / "c"), path="v").read_chunk_sizes[0][:4] == (3, 4, 5, 5)


def test_consolidated_metadata_of_it() -> None:
    """The grid is in consolidated metadata, which an append makes stale."""
    store = zarrv3.MemoryStore()
    zarrv3.create_group(store).create_array("a", data=np.arange(12), chunks=[[3, 4, 5]])
    zarrv3.consolidate_metadata(store)
    assert zarrv3.open_consolidated(store)["a"].read_chunk_sizes == ((3, 4, 5),)
    with pytest.warns(zarrv3.errors.StaleMetadataWarning):
        zarrv3.open_array(store, path="a").append([1])
