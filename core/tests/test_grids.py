"""Chunk grids and chunk key encodings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.grids import (
    DefaultKeys,
    RegularGrid,
    V2Keys,
    check_shape,
    grid_shape,
    parse_grid,
    parse_keys,
)

coordinates = st.lists(st.integers(0, 2**62), max_size=5).map(tuple)
encodings = st.sampled_from([DefaultKeys("/"), DefaultKeys("."), V2Keys("/"), V2Keys(".")])


@given(encodings, coordinates)
def test_keys_come_back(encoding: Any, coords: Any) -> None:
    """What `encode` makes, `decode` takes apart."""
    assert encoding.decode(encoding.encode(coords), len(coords)) == coords


@given(encodings, st.text(alphabet="c0123/.-x²", max_size=8), st.sampled_from([None, 0, 1, 2]))
def test_only_canonical_keys_are_decoded(encoding: Any, text: Any, ndim: Any) -> None:
    """A key that decodes is the one that `encode` makes: `01` and `1/` are not chunk keys."""
    coords = encoding.decode(text, ndim)
    if coords is not None:
        assert encoding.encode(coords) == text
        assert ndim in {None, len(coords)}


@pytest.mark.parametrize(
    ("encoding", "coords", "key"),
    [
        (DefaultKeys(), (1, 23, 45), "c/1/23/45"),
        (DefaultKeys("."), (1, 23, 45), "c.1.23.45"),
        (DefaultKeys(), (), "c"),
        (V2Keys(), (1, 23, 45), "1.23.45"),
        (V2Keys("/"), (1, 23, 45), "1/23/45"),
        (V2Keys(), (), "0"),
    ],
)
def test_examples_of_the_specification(encoding: Any, coords: Any, key: Any) -> None:
    """The keys that the specification gives."""
    assert encoding.encode(coords) == key


def test_the_zero_of_no_dimensions() -> None:
    """`0` belongs to one dimension unless the array has none."""
    assert V2Keys().decode("0") == (0,)
    assert V2Keys().decode("0", 0) == ()
    assert V2Keys().decode("1", 0) is None


@pytest.mark.parametrize("encoding", [DefaultKeys("."), V2Keys("/"), DefaultKeys(), V2Keys()])
def test_key_encodings_in_documents(encoding: Any) -> None:
    """They come back from their own document."""
    assert parse_keys(encoding.to_json()) == encoding


def test_default_separators() -> None:
    """Both have one of their own."""
    assert parse_keys("default") == DefaultKeys("/")
    assert parse_keys({"name": "v2"}) == V2Keys(".")


@pytest.mark.parametrize(
    "value",
    [
        "nope",
        {"name": "v2", "configuration": {"separator": "-"}},
        3,
        {"name": "default", "configuration": {"x": 1}},
    ],
)
def test_wrong_key_encodings(value: Any) -> None:
    """Unknown names, separators and members are refused."""
    with pytest.raises(MetadataError):
        parse_keys(value)


def test_regular_grid() -> None:
    """Chunks at the edge count."""
    grid = RegularGrid((5, 20, 400))
    assert grid_shape(grid.cuts, (10, 200, 3000)) == (2, 10, 8)
    assert grid_shape(grid.cuts, (0, 1, 401)) == (0, 1, 2)
    assert grid_shape(RegularGrid(()).cuts, ()) == ()
    assert parse_grid(grid.to_json()) == grid
    with pytest.raises(MetadataError, match="dimensions"):
        grid.check((1, 2))


def test_numpy_lengths_become_plain() -> None:
    """So that they can be written as JSON."""
    assert type(RegularGrid(tuple(np.array([3]))).chunk_shape[0]) is int


@pytest.mark.parametrize("shape", [[0], [-1], [1.0], [True], ["1"], "12", None, {}, [2**63]])
def test_wrong_chunk_shapes(shape: Any) -> None:
    """Lengths are positive integers."""
    with pytest.raises(MetadataError):
        parse_grid({"name": "regular", "configuration": {"chunk_shape": shape}})


@pytest.mark.parametrize("shape", [(0,), (1.5,), ("1",), (True,)])
def test_wrong_chunk_shapes_of_callers(shape: Any) -> None:
    """The constructor is as strict."""
    with pytest.raises(MetadataError):
        RegularGrid(shape)


def test_unknown_grid() -> None:
    """It is named."""
    with pytest.raises(UnknownExtensionError, match=r"acme\.grid"):
        parse_grid({"name": "acme.grid", "configuration": {}})


@pytest.mark.parametrize(
    "shape", [[-1], [1.0], [True], None, 3, "1", [2**63], [2**32, 2**32], [2**61], [1] * 65]
)
def test_impossible_shapes(shape: Any) -> None:
    """Negative, fractional, boolean and overflowing lengths are refused."""
    with pytest.raises(MetadataError, match="shape"):
        check_shape(shape, 8)


def test_possible_shapes() -> None:
    """Empty dimensions and none at all are fine."""
    assert check_shape([0, 2**60], 8) == (0, 2**60)
    assert check_shape([], 8) == ()
    assert check_shape([2**62], None) == (2**62,)
