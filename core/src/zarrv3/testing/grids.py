"""The conformance classes for chunk grids and chunk key encodings: derive, give one fixture, and every check is a test of yours.

    class TestMyGrid(ChunkGridConformance):
        @pytest.fixture
        def grid(self):
            return {"name": "my-grid", "configuration": {"chunk_shape": [10, 20]}}

    class TestMyKeys(ChunkKeyEncodingConformance):
        @pytest.fixture
        def encoding(self):
            return {"name": "my-keys"}

Both have to be installed: arrays are written and read with them.
"""

import json
import pickle
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.api import open_array
from zarrv3.errors import InvalidKeyError, MetadataError
from zarrv3.format.cuts import Edges, start_of
from zarrv3.format.grids import (
    ChunkGrid,
    ChunkKeyEncoding,
    DefaultKeys,
    RegularGrid,
    grid_shape,
    parse_grid,
    parse_keys,
)
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.store.keys import check_key
from zarrv3.store.memory import MemoryStore
from zarrv3.testing.rules import (
    CONFIGURATION,
    GRIDS,
    KEY_ENCODINGS,
    PICKLE,
    ROUND_TRIP,
    ConformanceError,
    only_our_errors,
    require,
    same,
)
from zarrv3.testing.samples import check_document, check_refusals, steady
from zarrv3.testing.smoke import SmokeTested

Shape = tuple[int, ...]

numbers = st.one_of(st.integers(0, 12), st.integers(0, 10**18))
places = st.lists(numbers, max_size=4).map(tuple)
texts = st.one_of(
    st.text("c/.-_+0123456789 ٣", max_size=9),
    st.text(max_size=9),
    st.sampled_from(["", "zarr.json", "c", "0"]),
)


class _Conformance(SmokeTested):
    """What both classes have in common."""

    examples: ClassVar[int] = 200
    """How many shapes, places or keys each test tries."""


class ChunkGridConformance(_Conformance):
    """Everything a chunk grid has to do; the subclass gives the fixture `grid`."""

    fixture = "grid"

    @pytest.fixture
    def grid(self) -> Any:
        """Return the grid, or its document: override this."""
        pytest.fail(f"{type(self).__name__} has to define the fixture `grid`; see zarrv3.testing.grids")

    def try_out(self, extension: Any) -> None:
        """Read the cuts and the document, and write an array of whole chunks, if the grid fits one."""
        made = _grid(extension)
        _check_cuts(made)
        check_document(made, what="the grid")
        shape = tuple(start_of(cut, 2) for cut in made.cuts)
        if _fits(made, shape):
            _check_array(made, DefaultKeys(), shape)

    def test_basics(self, grid: Any) -> None:
        """The grid can be made, says how it is cut, and an array on it reads what was written."""
        self.check_basics(grid)

    def test_document(self, grid: Any) -> None:
        """The grid comes back from its document, and survives pickling."""
        made = _grid(grid)
        again = check_document(made, what=f"grid {made!r}")
        same(again.cuts, made.cuts, CONFIGURATION, "the cuts of what comes back")
        require(pickle.loads(pickle.dumps(made)) == made, PICKLE, "the copy of a grid is not equal to it")  # noqa: S301

    def test_malformed_configurations(self, grid: Any) -> None:
        """A wrong configuration raises `MetadataError` when it is read; what is accepted is a grid."""
        check_refusals(_grid(grid), _check_cuts, what="the grid")

    def test_cuts(self, grid: Any) -> None:
        """The cuts are a tuple of positive integers and `Edges`."""
        _check_cuts(_grid(grid))

    def test_shapes(self, grid: Any) -> None:
        """An array that `check` accepts has chunks for all its elements; of any others it says `MetadataError`."""
        made = _grid(grid)
        fitting: list[Shape] = []

        @steady(self.examples)
        @given(_shapes(made))
        def check(shape: Shape) -> None:
            if _fits(made, shape):
                fitting.append(shape)
                _check_covered(made, shape)

        check()
        require(fitting, GRIDS, "the grid fits no array")

    def test_other_lengths(self, grid: Any) -> None:
        """An array that gets another shape has a grid that fits it, and keeps the chunks it has; new ones are whole units."""
        made = _grid(grid)

        @steady(self.examples)
        @given(_shapes(made), st.integers(1, 5))
        def check(shape: Shape, unit: int) -> None:
            found: list[ChunkGrid] = []
            with only_our_errors(GRIDS, f"resized({shape}, …)", MetadataError):
                found.append(made.resized(shape, (unit,) * len(shape)))
            for one in found:
                _check_resized(made, one, shape, unit)

        check()

    def test_other_dimensions(self, grid: Any) -> None:
        """An array of more or fewer dimensions than a chunk is refused with `MetadataError`."""
        made = _grid(grid)
        for ndim in {0, 1, 2, 5} - {len(made.cuts)}:
            require(not _fits(made, (4,) * ndim), GRIDS, f"check accepts an array of {ndim} dimensions")

    def test_arrays(self, grid: Any) -> None:
        """Arrays on the grid read what was written, also at their edges."""
        made = _grid(grid)
        shapes = [tuple(start_of(cut, 2) + extra for cut in made.cuts) for extra in (0, 1)]
        for shape in filter(lambda shape: _fits(made, shape), shapes):
            _check_array(made, DefaultKeys(), shape)


class ChunkKeyEncodingConformance(_Conformance):
    """Everything a chunk key encoding has to do; the subclass gives the fixture `encoding`."""

    fixture = "encoding"

    @pytest.fixture
    def encoding(self) -> Any:
        """Return the chunk key encoding, or its document: override this."""
        pytest.fail(f"{type(self).__name__} has to define the fixture `encoding`; see zarrv3.testing.grids")

    def try_out(self, extension: Any) -> None:
        """Make the key of a chunk, and take it apart again."""
        made = _keys(extension)
        check_document(made, what="the chunk key encoding")
        _check_key(made, (1, 2))

    def test_basics(self, encoding: Any) -> None:
        """The encoding can be made, and the key of a chunk leads back to the chunk."""
        self.check_basics(encoding)

    def test_document(self, encoding: Any) -> None:
        """The encoding comes back from its document, spells keys as before, and survives pickling."""
        made = _keys(encoding)
        again = check_document(made, what=f"chunk key encoding {made!r}")
        for coords in ((), (0,), (3, 12), (1, 2, 3)):
            same(again.encode(coords), made.encode(coords), CONFIGURATION, f"the key of chunk {coords}")
        copy = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
        require(copy == made, PICKLE, "the copy of a chunk key encoding is not equal to it")

    def test_malformed_configurations(self, encoding: Any) -> None:
        """A wrong configuration raises `MetadataError` when it is read; what is accepted spells keys."""
        check_refusals(_keys(encoding), lambda one: _check_key(one, (1, 2)), what="the chunk key encoding")

    def test_keys(self, encoding: Any) -> None:
        """Every chunk has a key, which is not a document's; different chunks have different ones, and keys say whose they are."""
        made = _keys(encoding)

        @steady(self.examples)
        @given(places, places)
        def check(one: Shape, other: Shape) -> None:
            key = _check_key(made, one)
            if len(one) == len(other) and one != other:
                require(key != _check_key(made, other), KEY_ENCODINGS, f"{one} and {other} are both {key!r}")
            for ndim in range(6):
                _check_decoding(made, key, ndim)

        check()

    def test_other_keys(self, encoding: Any) -> None:
        """What `decode` makes of any text is `None`, or the place of which `encode` makes that text."""
        made = _keys(encoding)

        @steady(self.examples)
        @given(texts, st.one_of(st.none(), st.integers(0, 4)))
        def check(key: str, ndim: int | None) -> None:
            _check_decoding(made, key, ndim)

        check()
        for almost in _ALMOST_ONE:  # in the place of a number, where texts at random seldom have it
            for ndim in (None, 1, 2):
                for coords in ((1,), (10, 2)):
                    _check_decoding(made, made.encode(coords).replace("1", almost), ndim)
        require(made.decode("zarr.json") is None, KEY_ENCODINGS, "decode takes 'zarr.json' for a chunk")

    def test_arrays(self, encoding: Any) -> None:
        """Arrays have their chunks under these keys, and read what was written."""
        made = _keys(encoding)
        for shape in ((), (7,), (3, 4)):
            _check_array(RegularGrid((2,) * len(shape)), made, shape)


_ALMOST_ONE = ("x1", "1x", "01", "+1", "-1", " 1", "1_0", "\uff11")


def _grid(grid: Any) -> ChunkGrid:
    return grid if isinstance(grid, ChunkGrid) else parse_grid(grid)


def _keys(encoding: Any) -> ChunkKeyEncoding:
    return encoding if isinstance(encoding, ChunkKeyEncoding) else parse_keys(encoding)


def _check_cuts(grid: ChunkGrid) -> None:
    cuts = grid.cuts
    right = type(cuts) is tuple and all(
        isinstance(cut, Edges) or (type(cut) is int and cut > 0) for cut in cuts
    )
    require(right, GRIDS, f"cuts is {cuts!r}, not a tuple of positive integers and Edges")


def _shapes(grid: ChunkGrid) -> st.SearchStrategy[Shape]:
    """Lengths that end within some of the first chunks, and any others."""
    return st.tuples(
        *[st.one_of(st.integers(0, start_of(cut, 3) + 2), st.integers(0, 2**62)) for cut in grid.cuts]
    )


def _check_covered(grid: ChunkGrid, shape: Shape) -> None:
    counts = grid_shape(grid.cuts, shape)
    for cut, count, length in zip(grid.cuts, counts, shape, strict=True):
        right = start_of(cut, count) >= length and (not count or start_of(cut, count - 1) < length)
        require(right, GRIDS, f"check accepts an array of shape {shape}, which the chunks do not cover")


def _check_resized(grid: ChunkGrid, found: ChunkGrid, shape: Shape, unit: int) -> None:
    what = f"resized({shape}, units of {unit})"
    require(isinstance(found, ChunkGrid), GRIDS, f"{what} is {found!r}")
    if not _fits(found, shape):
        return
    _check_covered(found, shape)
    for before, after in zip(grid.cuts, found.cuts, strict=True):
        if isinstance(before, int) or isinstance(after, int):
            require(before == after, GRIDS, f"{what} cuts {after} instead of {before}")
            continue
        for number in {0, before.count // 2, before.count - 1, before.count}:
            same(
                start_of(after, number),
                start_of(before, number),
                GRIDS,
                f"{what}: where chunk {number} begins",
            )
        for number in range(before.count, after.count):
            require(after.length(number) % unit == 0, GRIDS, f"{what}: chunk {number} is not whole units")


def _fits(grid: ChunkGrid, shape: Shape) -> bool:
    with only_our_errors(GRIDS, f"check({shape})", MetadataError):
        grid.check(shape)
        return True
    return False


def _check_key(encoding: ChunkKeyEncoding, coords: Shape) -> str:
    """The key of a chunk, which must be one, and come back."""
    key = encoding.encode(coords)
    try:
        check_key(key)
    except InvalidKeyError as error:
        raise ConformanceError(KEY_ENCODINGS, f"encode({coords}) is not a key: {error}") from error
    require(not key.endswith("zarr.json"), KEY_ENCODINGS, f"encode({coords}) is {key!r}, a document's")
    same(encoding.decode(key, len(coords)), coords, KEY_ENCODINGS, f"decode({key!r}, {len(coords)})")
    return key


def _check_decoding(encoding: ChunkKeyEncoding, key: str, ndim: int | None) -> None:
    try:
        coords = encoding.decode(key, ndim)
    except Exception as error:
        text = f"decode({key!r}, {ndim}) raised {type(error).__name__} ({error})"
        raise ConformanceError(KEY_ENCODINGS, text) from error
    if coords is not None:
        same(encoding.encode(coords), key, KEY_ENCODINGS, f"the key of {coords}, which decode made")
        require(ndim in {None, len(coords)}, KEY_ENCODINGS, f"decode({key!r}, {ndim}) is {coords}")


def _check_array(grid: ChunkGrid, encoding: ChunkKeyEncoding, shape: Shape) -> None:
    made = ArrayMetadata.create(
        shape=shape, data_type="uint8", chunk_grid=grid, chunk_key_encoding=encoding, fill_value=0
    )
    store = MemoryStore()
    store["zarr.json"] = json.dumps(made.to_document()).encode()
    values = (np.arange(int(np.prod(shape))) % 250 + 1).astype("uint8").reshape(shape)
    open_array(store)[...] = values
    found = open_array(store)[...]
    same(np.asarray(found).tolist(), values.tolist(), ROUND_TRIP, f"an array of shape {shape}")
    expected = {"zarr.json", *map(encoding.encode, _all_places(made))}
    same({*store}, expected, KEY_ENCODINGS, f"the keys of an array of shape {shape}")


def _all_places(metadata: ArrayMetadata) -> Iterator[Shape]:
    return iter(np.ndindex(*grid_shape(metadata.chunk_grid.cuts, metadata.shape)))


__all__ = ["ChunkGridConformance", "ChunkKeyEncodingConformance"]
