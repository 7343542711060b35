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
from zarrv3.format.grids import ChunkGrid, ChunkKeyEncoding, DefaultKeys, RegularGrid, parse_grid, parse_keys
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

Shape = tuple[int, ...]

numbers = st.one_of(st.integers(0, 12), st.integers(0, 10**18))
places = st.lists(numbers, max_size=4).map(tuple)
texts = st.one_of(
    st.text("c/.-_+0123456789 ٣", max_size=9),
    st.text(max_size=9),
    st.sampled_from(["", "zarr.json", "c", "0"]),
)


class _Conformance:
    """What both classes have in common."""

    examples: ClassVar[int] = 200
    """How many shapes, places or keys each test tries."""


class ChunkGridConformance(_Conformance):
    """Everything a chunk grid has to do; the subclass gives the fixture `grid`."""

    @pytest.fixture
    def grid(self) -> Any:
        """Return the grid, or its document: override this."""
        pytest.fail(f"{type(self).__name__} has to define the fixture `grid`; see zarrv3.testing.grids")

    def test_document(self, grid: Any) -> None:
        """The grid comes back from its document, and survives pickling."""
        made = _grid(grid)
        again = check_document(made, what=f"grid {made!r}")
        same(again.chunk_shape, made.chunk_shape, CONFIGURATION, "the chunk shape of what comes back")
        require(pickle.loads(pickle.dumps(made)) == made, PICKLE, "the copy of a grid is not equal to it")  # noqa: S301

    def test_malformed_configurations(self, grid: Any) -> None:
        """A wrong configuration raises `MetadataError` when it is read; what is accepted is a grid."""
        check_refusals(_grid(grid), _check_chunk_shape, what="the grid")

    def test_chunk_shape(self, grid: Any) -> None:
        """The chunk shape is a tuple of positive integers."""
        _check_chunk_shape(_grid(grid))

    def test_shapes(self, grid: Any) -> None:
        """An array of any lengths is covered by the chunks that `grid_shape` counts, and by no more; or `check` refuses it."""
        made = _grid(grid)
        fitting: list[Shape] = []

        @steady(self.examples)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            lengths = [
                st.one_of(st.integers(0, 3 * chunk + 2), st.integers(0, 2**62)) for chunk in made.chunk_shape
            ]
            shape = data.draw(st.tuples(*lengths))
            if _fits(made, shape):
                fitting.append(shape)
                counts = made.grid_shape(shape)
                expected = tuple(-(-n // chunk) for n, chunk in zip(shape, made.chunk_shape, strict=True))
                same(counts, expected, GRIDS, f"the chunks of an array of shape {shape}")

        check()
        require(fitting, GRIDS, "the grid fits no array")

    def test_other_dimensions(self, grid: Any) -> None:
        """An array of more or fewer dimensions than a chunk is refused with `MetadataError`."""
        made = _grid(grid)
        for ndim in {0, 1, 2, 5} - {len(made.chunk_shape)}:
            require(not _fits(made, (4,) * ndim), GRIDS, f"check accepts an array of {ndim} dimensions")

    def test_arrays(self, grid: Any) -> None:
        """Arrays on the grid read what was written, also at their edges."""
        made = _grid(grid)
        shapes = [tuple(2 * chunk + extra for chunk in made.chunk_shape) for extra in (0, 1)]
        for shape in filter(lambda shape: _fits(made, shape), shapes):
            _check_array(made, DefaultKeys(), shape)


class ChunkKeyEncodingConformance(_Conformance):
    """Everything a chunk key encoding has to do; the subclass gives the fixture `encoding`."""

    @pytest.fixture
    def encoding(self) -> Any:
        """Return the chunk key encoding, or its document: override this."""
        pytest.fail(f"{type(self).__name__} has to define the fixture `encoding`; see zarrv3.testing.grids")

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


def _check_chunk_shape(grid: ChunkGrid) -> None:
    shape = grid.chunk_shape
    right = type(shape) is tuple and all(type(length) is int and length > 0 for length in shape)
    require(right, GRIDS, f"chunk_shape is {shape!r}, not a tuple of positive integers")


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
    return iter(np.ndindex(*metadata.chunk_grid.grid_shape(metadata.shape)))


__all__ = ["ChunkGridConformance", "ChunkKeyEncodingConformance"]
