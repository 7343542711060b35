"""Plans against numpy: a dict of chunks is read and written piece by piece, and compared with one numpy array."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, groupby, product, repeat
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from zarrv3 import indexing
from zarrv3.errors import SelectionError, ZarrError
from zarrv3.format.cuts import Cut, Edges, are_regular, grouped
from zarrv3.indexing import (
    Plan,
    SelectionTypeError,
    SelectionValueError,
    axes,
    plan,
    plan_basic,
    plan_blocks,
    plan_coordinates,
    plan_mask,
    plan_orthogonal,
    plans,
    split_fields,
)

Shape = tuple[int, ...]
Grid = tuple[Shape, tuple[Cut, ...]]
Chunks = dict[Shape, NDArray[np.int64]]
PADDING, GARBAGE = -7, -9

# ---------------------------------------------------------------- the slow twin of a chunked array


def numbered(shape: Shape) -> NDArray[np.int64]:
    """An array whose elements are all different."""
    return np.arange(math.prod(shape)).reshape(shape)


def spans(extent: int, cut: Cut) -> list[tuple[int, int, int]]:
    """Each chunk of a dimension: where it begins, where it ends, and where what of it lies in the array does."""
    lengths = repeat(cut) if isinstance(cut, int) else iter(cut)
    found, low = [], 0
    while low < extent:
        high = low + next(lengths)
        found.append((low, high, min(high, extent)))
        low = high
    return found


def boxes(grid: Grid) -> Iterator[tuple[Shape, Shape, tuple[slice, ...], tuple[slice, ...]]]:
    """Each chunk with its shape, its part of the array, and the part of it that lies in the array."""
    for box in product(*[enumerate(spans(n, c)) for n, c in zip(*grid, strict=True)]):
        yield (
            tuple(chunk for chunk, _ in box),
            tuple(high - low for _, (low, high, _) in box),
            tuple(slice(low, end) for _, (low, _, end) in box),
            tuple(slice(0, end - low) for _, (low, _, end) in box),
        )


def split(array: NDArray[np.int64], grid: Grid) -> Chunks:
    """Full chunks; what lies outside the array is padding."""
    chunks = {}
    for chunk, shape, part, inside in boxes(grid):
        chunks[chunk] = np.full(shape, PADDING)
        chunks[chunk][inside] = array[part]
    return chunks


def join(chunks: Chunks, grid: Grid) -> NDArray[np.int64]:
    """The opposite of `split`; the padding has to be untouched."""
    array = np.zeros(grid[0], np.int64)
    for chunk, shape, part, inside in boxes(grid):
        array[part] = chunks[chunk][inside]
        outside = np.ones(shape, bool)
        outside[inside] = False
        assert (chunks[chunk][outside] == PADDING).all()
    return array


def read(planned: Plan, chunks: Chunks) -> NDArray[np.int64]:
    """What a reader does."""
    buffer = np.full(planned.shape, GARBAGE)
    for piece in planned.pieces():
        source = chunks[piece.chunk][piece.inside]
        assert np.shape(buffer[piece.outside]) == np.shape(source)
        buffer[piece.outside] = source
    return planned.finish(buffer)


def write(planned: Plan, chunks: Chunks, value: Any) -> None:
    """What a writer does: a whole chunk is made of the value alone."""
    values = planned.start(value)
    assert values.shape == planned.shape
    for piece in planned.pieces():
        chunk = chunks[piece.chunk]
        if piece.whole:
            within = chunk != PADDING
            chunk[within] = GARBAGE
            chunk[within] = values[piece.outside].reshape(-1)
        else:
            chunk[piece.inside] = values[piece.outside]


def assert_sound(planned: Plan, grid: Grid, size: int, align: tuple[Cut, ...]) -> None:
    """`count`, `whole` and the tasks are what they promise to be."""
    pieces = list(planned.pieces())
    chunks = [piece.chunk for piece in pieces]
    assert len(set(chunks)) == len(chunks) == planned.count
    inner = {chunk: (shape, inside) for chunk, shape, _, inside in boxes(grid)}
    for piece in pieces:
        shape, inside = inner[piece.chunk]
        positions = numbered(shape)
        assert piece.whole is np.array_equal(np.ravel(positions[piece.inside]), positions[inside].ravel())
    plain = list(planned.tasks(size))
    assert all(0 < len(task) <= size for task in plain)
    assert [piece.chunk for task in plain for piece in task] == chunks

    aligned = list(planned.tasks(size, align))
    assert sorted(piece.chunk for task in aligned for piece in task) == sorted(chunks)
    seen = []
    for task in aligned:
        blocks = [
            block
            for block, _ in groupby(
                tuple(block_of(i, k) for i, k in zip(piece.chunk, align, strict=True)) for piece in task
            )
        ]
        assert 0 < len(task) <= size or len(blocks) == 1
        seen += blocks
    assert len(set(seen)) == len(seen)


def block_of(number: int, block: Cut) -> int:
    """The block that a chunk is in, or the chunk that an element is in."""
    if isinstance(block, int):
        return number // block
    return next(i for i, end in enumerate(accumulate(block)) if number < end)


def assert_like_numpy(planned: Plan, elements: NDArray[np.int64], grid: Grid) -> None:
    """Reading and writing do what they do to the `elements` (flat positions, in the order and shape of the result)."""
    array = numbered(grid[0])
    chunks = split(array, grid)
    result = read(planned, chunks)
    assert result.shape == planned.result_shape == elements.shape
    np.testing.assert_array_equal(result, elements)

    values = 1000 + numbered(elements.shape)
    write(planned, chunks, values)
    flat = array.ravel()
    for element, value in zip(elements.ravel(), values.ravel(), strict=True):
        flat[element] = value  # in order: the last one wins
    np.testing.assert_array_equal(join(chunks, grid), flat.reshape(grid[0]))

    write(planned, chunks, 5)
    flat[elements.ravel()] = 5
    np.testing.assert_array_equal(join(chunks, grid), flat.reshape(grid[0]))


@contextmanager
def window(size: int) -> Iterator[None]:
    """Let dimensions with more than `size` chunks count as large."""
    with patch.object(axes, "WINDOW", size), patch.object(plans, "WINDOW", size):
        yield


def label(selection: Any) -> str:
    """A short name for a selection in the list of tests."""
    return "".join(repr(selection).split())[:40]


# ---------------------------------------------------------------- strategies


@st.composite
def grids(draw: st.DrawFn, min_dims: int = 0, min_side: int = 0) -> Grid:
    """A shape with a cut for each dimension, which may reach farther."""
    shape = draw(st.lists(st.integers(min_side, 9), min_size=min_dims, max_size=4).map(tuple))
    return shape, tuple(draw(st.integers(1, 11) | edges(n)) for n in shape)


def edges(extent: int) -> st.SearchStrategy[Edges]:
    """Chunks of differing lengths that cover a dimension."""
    some = st.lists(st.integers(1, 5), min_size=1, max_size=8)
    return some.map(lambda lengths: Edges.of(lengths).longer(extent))


def slices() -> st.SearchStrategy[slice]:
    """Slices that may be empty, clipped, backwards, or step over whole chunks."""
    bound = st.none() | st.integers(-12, 12)
    return st.builds(slice, bound, bound, st.sampled_from([None, 1, 1, 2, 3, 7, 40, -1, -2, -5, -40]))


def integers(extent: int) -> st.SearchStrategy[Any]:
    """Integers within bounds, of several types."""
    kinds: list[Any] = [int, int, np.int8, np.int64, np.array]
    return st.builds(
        lambda kind, index: kind(index), st.sampled_from(kinds), st.integers(-extent, extent - 1)
    )


def index_arrays(extent: int) -> st.SearchStrategy[Any]:
    """Lists and arrays of integers, unsorted, negative, with duplicates, or evenly spaced; and 1-d masks."""
    masks = hnp.arrays(bool, extent)
    if not extent:
        return masks | st.just([])
    lists = st.lists(st.integers(-extent, extent - 1), max_size=12)
    signs = st.sampled_from([-1, 1, 2])
    even = st.builds(lambda n, sign: list(range(n))[::sign], st.integers(0, extent), signs)
    return masks | lists | lists.map(lambda x: np.array(x, np.int16)) | even


@st.composite
def basic(draw: st.DrawFn, shape: Shape) -> Any:
    """A basic selection in one of its spellings."""
    entries = [draw(slices() | integers(n)) if n and draw(st.booleans()) else draw(slices()) for n in shape]
    form = draw(st.sampled_from(["full", "short", "ellipsis", "single"]))
    if form == "short":
        return tuple(entries[: draw(st.integers(0, len(entries)))])
    if form == "ellipsis":
        a = draw(st.integers(0, len(entries)))
        return (*entries[:a], Ellipsis, *entries[draw(st.integers(a, len(entries))) :])
    if form == "single" and entries:
        return entries[0]
    return tuple(entries)


@st.composite
def orthogonal(draw: st.DrawFn, shape: Shape) -> tuple[Any, ...]:
    """One entry for each dimension: integer, slice, array, mask."""
    return tuple(
        draw(st.one_of(slices(), index_arrays(n), index_arrays(n), *([integers(n)] if n else [])))
        for n in shape
    )


@st.composite
def coordinates(draw: st.DrawFn, shape: Shape) -> tuple[Any, ...]:
    """Arrays of integers that broadcast against each other."""
    shapes = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=len(shape), max_dims=3, max_side=5)
    ).input_shapes
    return tuple(
        draw(hnp.arrays(np.int64, s, elements=st.integers(-n, n - 1)))
        for s, n in zip(shapes, shape, strict=True)
    )


def by_ix(shape: Shape, selection: tuple[Any, ...]) -> NDArray[np.int64]:
    """The elements of an orthogonal selection, by `numpy.ix_`."""
    arrays: list[NDArray[np.int64]] = []
    result_shape: Shape = ()
    for entry, n in zip(selection, shape, strict=True):
        chosen = np.asarray(np.arange(n)[entry])
        arrays.append(np.atleast_1d(chosen))
        result_shape += chosen.shape
    return numbered(shape)[np.ix_(*arrays)].reshape(result_shape) if arrays else numbered(())


sizes = st.integers(1, 12)
aligns = st.lists(st.integers(1, 4) | edges(10**4), min_size=4, max_size=4).map(tuple)

# ---------------------------------------------------------------- against numpy


@given(st.data(), grids(), sizes, aligns)
def test_basic(data: st.DataObject, grid: Grid, size: int, align: tuple[Cut, ...]) -> None:
    """Integers, slices and the ellipsis select what they select in numpy, through `plan` too."""
    selection = data.draw(basic(grid[0]))
    elements = np.asarray(numbered(grid[0])[selection])
    for planned in (plan_basic(selection, *grid), plan(selection, *grid)):
        assert_sound(planned, grid, size, align[: len(grid[0])])
        assert_like_numpy(planned, elements, grid)


@given(st.data(), grids(), sizes, aligns, st.integers(1, 4))
def test_windows(data: st.DataObject, grid: Grid, size: int, align: tuple[Cut, ...], width: int) -> None:
    """Dimensions that are enumerated piecemeal give the same pieces and never divide a block."""
    selection = data.draw(orthogonal(grid[0]))
    planned = plan_orthogonal(selection, *grid)
    with window(width):
        assert_sound(planned, grid, size, align[: len(grid[0])])
        assert_like_numpy(planned, by_ix(grid[0], selection), grid)


@given(st.data(), grids(), sizes, aligns)
def test_orthogonal(data: st.DataObject, grid: Grid, size: int, align: tuple[Cut, ...]) -> None:
    """Every dimension is selected on its own, as with `numpy.ix_`; integers drop theirs."""
    selection = data.draw(orthogonal(grid[0]))
    planned = plan_orthogonal(selection, *grid)
    assert_sound(planned, grid, size, align[: len(grid[0])])
    assert_like_numpy(planned, by_ix(grid[0], selection), grid)


@given(st.data(), grids(min_dims=1, min_side=1), sizes, aligns)
def test_coordinates(data: st.DataObject, grid: Grid, size: int, align: tuple[Cut, ...]) -> None:
    """Arrays for all dimensions select points and give the result their broadcast shape, through `plan` too."""
    selection = data.draw(coordinates(grid[0]))
    elements = np.asarray(numbered(grid[0])[selection])
    for planned in (plan_coordinates(selection, *grid), plan(selection, *grid)):
        assert_sound(planned, grid, size, align[: len(grid[0])])
        assert_like_numpy(planned, elements, grid)


@given(st.data(), grids(), sizes, aligns)
def test_mask(data: st.DataObject, grid: Grid, size: int, align: tuple[Cut, ...]) -> None:
    """A mask selects its true elements in C order, through `plan` and `plan_coordinates` too."""
    mask = data.draw(hnp.arrays(bool, grid[0]) | st.just(np.ones(grid[0], bool)))
    elements = numbered(grid[0])[mask]
    for planned in (plan_mask(mask, *grid), plan(mask, *grid), plan_coordinates(mask, *grid)):
        assert_sound(planned, grid, size, align[: len(grid[0])])
        assert_like_numpy(planned, elements, grid)


@given(st.data(), grids(min_dims=1), sizes, aligns)
def test_blocks(data: st.DataObject, grid: Grid, size: int, align: tuple[Cut, ...]) -> None:
    """Blocks are the elements of whole chunks, or of blocks of chunks; integers keep the dimension."""
    shape, cuts = grid
    blocks = None
    if are_regular(cuts) and data.draw(st.booleans()):
        counts = [data.draw(st.just(2) | edges(9)) for _ in cuts]
        blocks = tuple(map(grouped, cuts, counts))
    selection, elements = [], []
    for n, b in zip(shape, blocks or cuts, strict=True):
        numbers = np.arange(len(spans(n, b)))
        bound = st.none() | st.integers(-5, 5)
        entry = data.draw(st.builds(slice, bound, bound))
        if len(numbers) and data.draw(st.booleans()):
            entry = data.draw(integers(len(numbers)))
        selection.append(entry)
        elements.append([i for i in range(n) if block_of(i, b) in np.atleast_1d(numbers[entry])])
    planned = plan_blocks(tuple(selection), shape, cuts, blocks)
    assert_sound(planned, grid, size, align[: len(shape)])
    assert_like_numpy(planned, numbered(shape)[np.ix_(*[np.array(e, np.intp) for e in elements])], grid)
    if blocks is None:
        assert all(piece.whole for piece in planned.pieces())


@given(st.data(), grids(min_dims=1))
def test_one_array_beside_slices(data: st.DataObject, grid: Grid) -> None:
    """`array[...]` with one list or 1-d mask beside integers and slices is orthogonal, with an ellipsis too."""
    shape = grid[0]
    place = data.draw(st.integers(0, len(shape) - 1))
    selection = tuple(
        data.draw(index_arrays(n) if axis == place else (integers(n) | slices()) if n else slices())
        for axis, n in enumerate(shape)
    )
    if data.draw(st.booleans()):
        rest = (slice(None),) * (len(shape) - place - 1)
        assert_like_numpy(
            plan((*selection[: place + 1], ...), *grid), by_ix(shape, (*selection[: place + 1], *rest)), grid
        )
    else:
        assert_like_numpy(plan(selection, *grid), by_ix(shape, selection), grid)


# ---------------------------------------------------------------- forms of `array[...]`


@pytest.mark.parametrize(
    "selection",
    [
        [0, 2],
        range(3),
        [True, False, True, False],
        np.array(2),
        ([0, 2], [1, 4]),
        ([0, 2], 3),
        (2, [[0, 1], [3, 0]]),
        ([[0], [1]], [2, 3]),
        ((0, 1), slice(None)),
        ([], slice(1, 3)),
        ([], []),
        (slice(None), [4, 0, -1, 4]),
        (np.array([3, 1], np.uint64), ...),
        (np.int8(-1), ...),
        (..., slice(None), slice(None)),
        (0, 0, ...),
        (slice(10**30), slice(-(10**30), None, 10**20)),
    ],
    ids=label,
)
def test_forms(selection: Any) -> None:
    """Every usual spelling of a selection gives numpy's result."""
    grid = ((4, 5), (3, 2))
    elements = np.asarray(numbered(grid[0])[selection])
    assert_like_numpy(plan(selection, *grid), elements, grid)


def test_integer_before_array_keeps_its_place() -> None:
    """As in zarr-python, `array[0, :, [1, 2]]` does not move the dimension of the list to the front as numpy does."""
    planned = plan((0, slice(None), [1, 0, 2]), (2, 3, 4), (1, 2, 2))
    assert planned.result_shape == (3, 3)
    assert planned.shape == (1, 3, 3)


def test_zero_dimensional_array() -> None:
    """A 0-d array has one chunk, `()`, one element and one piece."""
    grid: Grid = ((), ())
    for selection in ((), Ellipsis, (Ellipsis,)):
        planned = plan(selection, *grid)
        assert list(planned.pieces()) == [indexing.Piece((), (), (), whole=True)]
        assert list(planned.tasks(5, ())) == [list(planned.pieces())]
    assert plan_coordinates((), *grid).result_shape == ()
    assert plan_orthogonal((), *grid).count == 1
    assert plan_blocks((), *grid).count == 1
    assert_like_numpy(plan(np.array(True), *grid), np.array([0]), grid)
    assert_like_numpy(plan(np.array(False), *grid), np.zeros(0, int), grid)


def test_chunks_of_length_zero() -> None:
    """An axis without elements has no chunks, whatever their length."""
    for planned in (
        plan(..., (0, 3), (0, 2)),
        plan_blocks(slice(None), (0, 3), (0, 2)),
        plan_mask(np.zeros((0, 3), bool), (0, 3), (0, 2)),
        plan_coordinates(([], []), (0, 3), (0, 2)),
    ):
        assert planned.count == 0
        assert list(planned.tasks(10)) == []
        assert list(planned.tasks(10, (2, 2))) == []


# ---------------------------------------------------------------- indices are as simple as can be


def test_slices_where_possible() -> None:
    """Runs of consecutive elements, evenly spaced lists and contiguous masks are sliced, not gathered."""
    grid = ((20, 20), (5, 5))
    mask = np.zeros(20, bool)
    mask[4:12] = True
    for selection in (([3, 4, 5, 6], mask), ([9, 7, 5], slice(None)), ([0, 1, 2, 10, 11, 3, 4], slice(2))):
        planned = plan_orthogonal(selection, *grid)
        for piece in planned.pieces():
            assert all(isinstance(index, slice) for index in piece.inside)


def test_lonely_points_are_integers() -> None:
    """A point that is alone in its chunk is indexed by integers, on both sides."""
    first, second = sorted(plan_coordinates(([0, 9, 9], [3, 9, 9]), (10, 10), (5, 5)).pieces())
    assert first == ((0, 0), (0, 3), (0,), False)
    assert second.outside == (slice(1, 3),)


# ---------------------------------------------------------------- large grids


def test_huge_arrays_are_planned_by_what_is_selected() -> None:
    """A grid of 10**24 chunks is counted by arithmetic, and its first task does not wait for the last."""
    huge = ((10**12, 10**12), (1, 1))
    planned = plan(..., *huge)
    assert planned.count == 10**24
    assert len(next(planned.tasks(64))) == 64
    assert {piece.chunk for piece in next(planned.tasks(4, (2, 2)))} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert [piece.chunk for piece in plan((7, slice(-2, None)), *huge).pieces()] == [
        (7, 10**12 - 2),
        (7, 10**12 - 1),
    ]
    assert plan((slice(None, None, 10**11), 3), *huge).count == 10
    points = plan(([10**12 - 1, 3, -1], [0, 5, 0]), *huge)
    assert sorted(piece.chunk for piece in points.pieces()) == [(3, 5), (10**12 - 1, 0)]


def test_huge_lists_of_lengths_are_planned_by_their_runs() -> None:
    """Of 10**15 chunks that two pairs of numbers describe, nothing is listed but what is selected, window by window."""
    edges = Edges(((3, 10**15), (10, 10**15), (7, 1)))
    extent = edges.total
    planned = plan(..., (extent,), (edges,))
    assert planned.count == edges.count == 2 * 10**15 + 1
    assert len(next(planned.tasks(64))) == 64
    last = [*plan(slice(-19, None), (extent,), (edges,)).pieces()]
    assert [piece.chunk[0] - 2 * 10**15 for piece in last] == [-2, -1, 0]
    assert [piece.inside for piece in last] == [(slice(8, 10),), (slice(0, 10),), (slice(0, 7),)]
    assert plan(slice(None, None, 10**14), (extent,), (edges,)).count == 131
    assert plan([extent - 1, 2, 3 * 10**15 + 10], (extent,), (edges,)).count == 3


def test_more_chunks_than_an_integer_counts() -> None:
    """Points that lie 10**36 chunks apart are grouped, in order, without overflow."""
    shape = (10**12, 10**12, 10**12)
    rows = np.array([10**12 - 1, 0, 10**12 - 1, 5])
    planned = plan((rows, rows, rows), shape, (1, 1, 1))
    pieces = {piece.chunk[0]: piece.outside for piece in planned.pieces()}
    assert planned.count == len(pieces) == 3
    assert pieces[0] == (1,)
    np.testing.assert_array_equal(pieces[10**12 - 1][0], [0, 2])
    assert len(list(planned.tasks(1, (2, 2, 10)))) == 3


@given(st.lists(st.integers(0, 10**6), max_size=30), st.integers(1, 9))
def test_many_chunks_are_grouped_whatever_the_sort(rows: list[int], chunk: int) -> None:
    """Far apart and close together, repeated elements come in their order."""
    for planned in (
        plan(rows, (10**6 + 1,), (chunk,)),
        plan_coordinates((rows, 0), (10**6 + 1, 1), (chunk, 1)),
    ):
        found = np.full(len(rows), -1)
        for piece in planned.pieces():
            positions = np.arange(chunk)[piece.inside[0]] + piece.chunk[0] * chunk
            found[piece.outside] = positions
        assert found.tolist() == rows


# ---------------------------------------------------------------- values to be written


@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
def test_start_broadcasts_as_an_assignment_does(data: st.DataObject, target: Shape) -> None:
    """A value fits exactly if numpy would take it, with the same text if not; leading 1s are dropped."""
    tail = data.draw(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=5).map(tuple))
    value = numbered(tail)
    planned = plan(..., target, (2,) * len(target))
    expected = np.zeros(target, np.int64)
    numpys = ours = None
    try:
        expected[...] = value
    except ValueError as error:
        numpys = str(error)
    try:
        np.testing.assert_array_equal(planned.start(value), expected)
    except SelectionValueError as error:
        ours = str(error)
    assert (ours or "").replace(" ", "") == (numpys or "").replace(" ", "")  # numpy writes (2,3)


def test_start_and_finish_do_not_copy() -> None:
    """A value is passed on as a view, and the result is the buffer itself."""
    value = numbered((3, 4))
    planned = plan((slice(None), 0, [0, 2, 1, 3]), (3, 2, 4), (2, 2, 3))
    assert np.shares_memory(planned.start(value), value)
    assert planned.start(value).shape == (3, 1, 4)
    buffer = np.zeros(planned.shape)
    assert np.shares_memory(planned.finish(buffer), buffer)
    scalar = plan(..., (10**6, 10**6), (10, 10)).start(7)
    assert scalar.strides == (0, 0)
    basic = plan((slice(2), 0), (3, 4), (2, 2))
    assert basic.finish(buffer := np.zeros(2)) is buffer


def test_start_of_points() -> None:
    """A value for n-d coordinates is broadcast to their shape and laid out for the flat buffer."""
    planned = plan_coordinates(([[0], [1]], [0, 1, 2]), (2, 3), (1, 2))
    assert planned.start([1, 2, 3]).tolist() == [1, 2, 3, 1, 2, 3]
    with pytest.raises(ValueError, match=r"shape \(2,\) into shape \(2, 3\)"):
        planned.start([1, 2])


def test_masks_among_coordinates() -> None:
    """A 1-d mask in a tuple of coordinates stands for the positions of its true elements, as in numpy."""
    grid = ((4, 5), (3, 2))
    selection = ([True, False, True, True], [4, 0, 4])
    assert_like_numpy(plan_coordinates(selection, *grid), numbered(grid[0])[selection], grid)


def test_last_value_wins() -> None:
    """Of several values for one element the last is stored, for points and along a dimension."""
    grid = ((2, 6), (1, 4))
    for planned in (plan(([1, 1, 0, 1], [5, 5, 0, 5]), *grid), plan_orthogonal((1, [5, 5, 0, 5]), *grid)):
        chunks = split(numbered(grid[0]), grid)
        write(planned, chunks, [1, 2, 3, 4])
        assert join(chunks, grid)[1, 5] == 4


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "selection",
    [
        4,
        -5,
        (0, 5),
        (0, 0, 0),
        (..., ...),
        (0, ..., 0, 0),
        1.0,
        np.float64(1.0),
        "x",
        {1},
        slice(None, None, 0),
        slice(1.5, None),
        (slice(None), slice("a")),
        [0.5],
        ["x"],
        [4],
        [-5],
        (slice(None), [0, 5]),
        [[0], [1, 2]],
        [True],
        (slice(None), [True] * 4),
        np.zeros((4, 4), bool),
        np.zeros((4, 5, 1), bool),
        ([0, 1], [0, 1, 2]),
        ([0, 1], [0, 9]),
        ([0, 1], 9),
        np.array([2**63], np.uint64),
    ],
    ids=label,
)
def test_errors_are_numpys(selection: Any) -> None:
    """What numpy refuses we refuse, with an error that is also of numpy's class."""
    with pytest.raises(SelectionError) as ours:
        plan(selection, (4, 5), (3, 2))
    with pytest.raises((IndexError, ValueError, TypeError)) as numpys:
        np.zeros((4, 5))[selection]
    assert isinstance(ours.value, numpys.type)
    assert isinstance(ours.value, ZarrError)


def test_bounds_errors_name_index_axis_and_size() -> None:
    """The texts of the frequent errors are numpy's."""
    for selection in (4, (0, -6), [9], (0, [1, 7]), (0, 0, 0), (..., ...), [True]):
        with pytest.raises(IndexError) as numpys:
            np.zeros((4, 5))[selection]
        with pytest.raises(SelectionError) as ours:
            plan(selection, (4, 5), (3, 2))
        assert str(ours.value) == str(numpys.value)


@pytest.mark.parametrize(
    ("selection", "hint"),
    [
        (None, "newaxis"),
        ((0, None), "newaxis"),
        (True, "not bool"),
        (([0, 1], slice(None), [0, 1]), "oindex .* vindex"),
        (([0, 1], [0, 1]), "oindex .* vindex"),
        ([[0, 1], [1, 0]], "oindex .* vindex"),
        ((np.zeros((4, 5), bool), 0), "oindex .* vindex"),
        (([True] * 4, [0] * 5, [1]), "oindex .* vindex"),
    ],
    ids=label,
)
def test_what_numpy_takes_and_we_do_not(selection: Any, hint: str) -> None:
    """Where zarr-python refuses or differs from numpy, the error says what to write instead."""
    with pytest.raises(SelectionError, match=hint):
        plan(selection, (4, 5, 6), (3, 2, 2))


@pytest.mark.parametrize(
    ("planner", "selection", "error"),
    [
        (plan_basic, [0, 1], SelectionError),
        (plan_basic, None, SelectionError),
        (plan_orthogonal, ([[0, 1]],), SelectionError),
        (plan_orthogonal, (0, None), SelectionError),
        (plan_orthogonal, (slice(None, None, 0),), SelectionValueError),
        (plan_coordinates, ([0],), SelectionError),
        (plan_coordinates, ([0], slice(None)), SelectionError),
        (plan_coordinates, ([0], None), SelectionError),
        (plan_coordinates, ([0], [True]), SelectionError),
        (plan_coordinates, ([0], [1.0]), SelectionError),
        (plan_coordinates, ([0], 1.0), SelectionError),
        (plan_mask, [[0, 1]], SelectionError),
        (plan_mask, [True], SelectionError),
        (plan_blocks, 2, SelectionError),
        (plan_blocks, slice(None, None, 2), SelectionError),
        (plan_blocks, slice(None, None, -1), SelectionError),
        (plan_blocks, slice("a"), SelectionTypeError),
        (plan_blocks, [0, 1], SelectionError),
    ],
)
def test_errors_of_one_planner(planner: Any, selection: Any, error: type[Exception]) -> None:
    """Each kind of indexing refuses what belongs to another."""
    with pytest.raises(error):
        planner(selection, (4, 5), (3, 2))


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("selection", "fields", "rest"),
    [
        ("f", "f", ()),
        (("f",), "f", ()),
        (("f", 0), "f", 0),
        ((slice(2), "f"), "f", slice(2)),
        ((0, "f", 1), "f", (0, 1)),
        (("f", "g"), ["f", "g"], ()),
        (("f", "g", "h", ...), ["f", "g", "h"], ...),
        (["f", "g"], ["f", "g"], ()),
        ((["f"], 3), ["f"], 3),
        (([0, 1], "f"), "f", [0, 1]),
        (3, None, 3),
        ((3, 4), None, (3, 4)),
        ([], None, []),
        ([0], None, [0]),
        ((), None, ()),
    ],
    ids=label,
)
def test_split_fields(selection: Any, fields: Any, rest: Any) -> None:
    """Names of fields are taken out; the rest of the selection stays as it was."""
    assert split_fields(selection) == (fields, rest)
