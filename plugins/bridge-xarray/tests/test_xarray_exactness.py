"""What `to_zarrv3` makes of values: those that a store cannot hold are refused, and what it can hold is never refused."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import AssignmentError, ConfigurationError
from zarrv3_bridge_xarray import to_zarrv3
from zarrv3_bridge_xarray.encoding import cast

PACKED = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -32768}
WAYS: dict[str, dict[str, Any]] = {
    "appended": {"append_dim": "x"},
    "region": {"region": {"x": slice(0, 2)}},
    "overwritten": {"mode": "a"},
}


@pytest.fixture(autouse=True)
def threads() -> Any:
    """Computing by threads, whatever cluster other tests have."""
    with dask.config.set(scheduler="threads"):
        yield


def opened(store: Any, **options: Any) -> xr.Dataset:
    """What is in a store now, in memory."""
    return xr.open_dataset(store, engine="zarrv3", **options).load()


def one(values: Any, **attributes: Any) -> xr.Dataset:
    """A dataset of one variable."""
    return xr.Dataset({"v": ("x", values, attributes)})


def kept(way: str, first: list[Any], second: list[Any]) -> list[Any]:
    """What is to be in an array of `first` after `second` has been written."""
    return [*first, *second] if way == "appended" else second


@given(
    st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1),
    st.sampled_from(["i1", "u1", "i2", "u4", "i8", "u8", "f4", "f8"]),
    st.sampled_from(["i8", "u8", "f8"]),
)
def test_casts_are_exact(numbers: list[int], wanted: str, given_as: str) -> None:
    """A cast of numbers gives the same numbers, as Python counts them, or is refused; floats are rounded to other floats."""
    try:
        values = np.array(numbers, "f8") if given_as == "f8" else np.array(numbers, given_as)
    except OverflowError:
        return
    found = [int(value) for value in values.tolist()]
    dtype = np.dtype(wanted)
    if dtype.kind == "f":
        fits = given_as == "f8" or [int(dtype.type(value)) for value in found] == found
    else:
        fits = all(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max for value in found)
    for variable in (xr.Variable("x", values), xr.Variable("x", values).chunk()):
        if fits:
            result = np.asarray(cast(variable, dtype, "v", rounds=False))
            assert result.dtype == dtype
            assert dtype.kind == "f" or [int(value) for value in result.tolist()] == found
        else:
            with pytest.raises(AssignmentError, match="without loss"):
                np.asarray(cast(variable, dtype, "v", rounds=False))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chunked", [False, True])
def test_float_variables_without_fill_value(way: str, chunked: bool) -> None:
    """Floats, integers and booleans go into float variables, whether these have the attribute `_FillValue` or not."""
    for encoding in ({"v": {"_FillValue": None}}, {}):
        for second in (np.array([3, 4], "f4"), np.array([3, 4]), np.array([True, False])):
            store = zarrv3.MemoryStore()
            to_zarrv3(one(np.array([1, 2], "f4")), store, encoding=encoding)
            to_zarrv3(one(second).chunk() if chunked else one(second), store, **WAYS[way])
            assert opened(store)["v"].to_numpy().tolist() == kept(way, [1, 2], second.tolist())
            assert zarrv3.open_array(store, path="v").dtype == "f4"
    with pytest.raises(AssignmentError, match="without loss"):
        to_zarrv3(one(np.array([2**24 + 1, 0])), store, **WAYS[way])
    with pytest.raises(AssignmentError, match="without loss"):
        to_zarrv3(one(np.array([1e300, 0])), store, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "attributes",
    [
        {"units": "days since 2000-01-01"},
        {"units": "Days since 2000-1-1", "calendar": "gregorian"},
        {"units": "day since 2000-01-01T00:00:00Z", "calendar": "proleptic_gregorian"},
        {"units": "hours since 1999-12-31 00:00:00"},
    ],
)
def test_times_of_other_writers(way: str, attributes: dict[str, str]) -> None:
    """Times go where units are spelled in another way, and where no calendar is given."""
    store = zarrv3.MemoryStore()
    zarrv3.create_group(store)
    zarrv3.create_array(store, name="v", data=np.arange(2), dimension_names=["x"], attributes=attributes)
    before = opened(store)["v"].to_numpy().tolist()
    new = pd.date_range("2001-01-01", periods=2).as_unit("ns")
    to_zarrv3(one(new), store, **WAYS[way])
    assert opened(store)["v"].to_numpy().tolist() == kept(way, before, new.to_numpy().tolist())


@pytest.mark.filterwarnings("ignore:Times can't be serialized:UserWarning")  # xarray's, before we refuse
def test_times_between_are_refused() -> None:
    """Times that are not whole numbers of the units in the store are refused, and so are those of another calendar."""
    store = zarrv3.MemoryStore()
    to_zarrv3(one(pd.date_range("2000-01-01", periods=2)), store)
    noleap = xr.date_range("2000-01-01", periods=2, calendar="noleap", use_cftime=True)
    for values in (pd.date_range("2000-01-03T12", periods=2), noleap):
        with pytest.raises(AssignmentError):
            to_zarrv3(one(values), store, append_dim="x")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("dtype", "values"), [("M8[s]", [1, "NaT"]), ("M8[ns]", [1, 2]), ("m8[ms]", [1500, 2])]
)
def test_native_times(way: str, dtype: str, values: list[Any]) -> None:
    """Arrays of numpy's own times are read, written again, and written to; what is finer than they are is refused."""
    store, first = zarrv3.MemoryStore(), np.array(values, dtype)
    zarrv3.create_group(store)
    zarrv3.create_array(store, name="v", data=first, dimension_names=["x"])
    to_zarrv3(opened(store), store, group="again")
    np.testing.assert_array_equal(opened(store, group="again")["v"].to_numpy().astype(dtype), first)
    to_zarrv3(one(first[::-1]), store, **WAYS[way])
    np.testing.assert_array_equal(opened(store)["v"], kept(way, [*first], [*first[::-1]]))
    if dtype != "M8[ns]":
        with pytest.raises(AssignmentError, match="without loss"):
            to_zarrv3(one(np.array([1, 1], f"{dtype[0]}8[ns]")), store, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_spans_of_time_in_other_units(way: str) -> None:
    """Spans of time go where they are stored in finer units, and are refused where the units are too coarse."""
    store, first = zarrv3.MemoryStore(), np.array([1, 2], "m8[ms]")
    to_zarrv3(one(first), store)
    second = np.array([3, 4], "m8[s]")
    to_zarrv3(one(second), store, **WAYS[way])
    np.testing.assert_array_equal(opened(store)["v"], kept(way, [*first], [*second]))
    with pytest.raises(AssignmentError, match="without loss"):
        to_zarrv3(one(np.array([1, 1], "m8[us]")), store, **WAYS[way])


def test_longer_texts_are_not_cut(tmp_path: Any) -> None:
    """Texts that are combined with shorter ones are stored whole; a length that is asked for is refused if it cuts."""
    for name in ("ab", "abcdef"):
        to_zarrv3(one(np.array([name])), tmp_path / name)
    both = xr.concat([opened(tmp_path / name) for name in ("ab", "abcdef")], "x")
    to_zarrv3(both, tmp_path / "both")
    assert opened(tmp_path / "both")["v"].to_numpy().tolist() == ["ab", "abcdef"]
    with pytest.raises(AssignmentError, match="without loss"):
        to_zarrv3(both, tmp_path / "cut", encoding={"v": {"dtype": "<U2"}})
    assert not (tmp_path / "cut").exists()


def test_missing_texts_are_empty() -> None:
    """Missing texts are stored as empty ones, whatever stands for them."""
    for missing in (None, np.nan):
        store = zarrv3.MemoryStore()
        values = np.array(["a", missing], dtype=np.dtypes.StringDType(na_object=missing))
        to_zarrv3(one(values), store)
        assert opened(store)["v"].to_numpy().tolist() == ["a", ""]


def test_packed_values_do_not_wrap() -> None:
    """What packed integers cannot hold is refused: new, appended, from memory and from dask, signed or not."""
    unsigned = {"dtype": "i1", "_Unsigned": "true", "_FillValue": -1, "scale_factor": 0.1, "add_offset": 10.0}
    for encoding, good, bad in ((PACKED, 1.5, 5000.0), (unsigned, 30.0, 50.0), (unsigned, 30.0, 5.0)):
        store = zarrv3.MemoryStore()
        with pytest.raises(AssignmentError, match="without loss"):
            to_zarrv3(one([bad]), store, encoding={"v": encoding})
        assert store.list() == []
        to_zarrv3(one([good, np.nan]), store, encoding={"v": encoding})
        to_zarrv3(one([good]).chunk(), store, append_dim="x")
        before = dict(store.items())
        for new in (one([bad]), one([bad]).chunk(), one([good, bad]).chunk(x=1)):
            with pytest.raises(AssignmentError, match="without loss"):
                to_zarrv3(new, store, append_dim="x")
            assert dict(store.items()) == before
        np.testing.assert_allclose(opened(store)["v"], [good, np.nan, good])
    with pytest.raises(AssignmentError, match="without loss"):
        to_zarrv3(one([np.nan]), zarrv3.MemoryStore(), encoding={"v": {"dtype": "i4", "_FillValue": None}})


def test_opened_undecoded() -> None:
    """Numbers that were opened without decoding mean what their own attributes say."""
    store = zarrv3.MemoryStore()
    to_zarrv3(one([0.5, 1.5]), store, encoding={"v": PACKED})
    raw = xr.open_dataset(store, engine="zarrv3", decode_cf=False).load()
    to_zarrv3(raw, store, append_dim="x")
    np.testing.assert_allclose(opened(store)["v"], [0.5, 1.5, 0.5, 1.5])


def test_overwriting_brings_attributes() -> None:
    """New values come with their own attributes; a part of them leaves those there, and `r+` leaves all."""
    store = zarrv3.MemoryStore()
    to_zarrv3(one([1.0, 2.0], units="m", old=1), store, encoding={"v": PACKED})
    to_zarrv3(one([3.0, 4.0], units="mm"), store, mode="r+")
    to_zarrv3(one([3.0], units="mm"), store, mode="a", region={"x": slice(0, 1)})
    assert opened(store)["v"].attrs == {"units": "m", "old": 1}
    to_zarrv3(one([5.0, 6.0], units="mm"), store, mode="a")
    found = opened(store)["v"]
    assert (found.attrs, found.to_numpy().tolist()) == ({"units": "mm"}, [5, 6])
    assert zarrv3.open_array(store, path="v").dtype == "i2"


def test_coordinates_stay_coordinates() -> None:
    """New coordinates are coordinates afterwards, and those that are there stay it, also without a variable of theirs."""
    store = zarrv3.MemoryStore()
    to_zarrv3(one([1.0, 2.0]).assign_coords(scalar=1, b=("x", [1, 2]), alone=("y", [1])), store)
    to_zarrv3(one([1.0, 2.0]).assign_coords(c=("x", [1, 2])), store, mode="a")
    assert {*opened(store).coords} == {"alone", "b", "c", "scalar"}
    to_zarrv3(xr.Dataset({"w": ("x", [1, 2])}), store, mode="a")
    assert {*opened(store).coords} == {"alone", "b", "c", "scalar"}
    assert {*opened(store).data_vars} == {"v", "w"}


def test_an_append_that_fails_gives_its_places_back() -> None:
    """If values cannot be computed or somebody else appends to one of the arrays, everything is as long as before."""

    def fail(block: Any) -> Any:
        if block.size and block.flat[0] > 1:
            raise RuntimeError("computing fails")
        return block

    def days(values: list[float]) -> xr.Dataset:
        return xr.Dataset({"a": (("t", "x"), np.outer(values, [1, 1])), "b": ("t", values)}, {"t": values})

    store = zarrv3.MemoryStore()
    to_zarrv3(days([0.0, 1.0]), store)
    before = dict(store.items())
    new = days([0.5, 2.0]).chunk(t=1)
    new["a"] = new["a"].copy(data=da.map_blocks(fail, new["a"].data, dtype=float, meta=np.empty((0, 0))))
    with pytest.raises(RuntimeError, match="computing fails"):
        to_zarrv3(new, store, append_dim="t")
    assert dict(store.items()) == before


def test_numbers_that_json_lacks() -> None:
    """NaN and infinities in attributes are written as texts, and a missing value that is NaN as what it is anyhow."""
    store = zarrv3.MemoryStore()
    to_zarrv3(one([1.0, np.nan], missing_value=np.float32("nan"), valid_range=[-np.inf, np.inf]), store)
    assert opened(store)["v"].attrs == {"valid_range": ["-Infinity", "Infinity"]}
    assert b"NaN," not in store["v/zarr.json"].replace(b'"NaN"', b"")


def test_arguments_of_to_zarr(unswapped: type[zarrv3.Layer]) -> None:
    """Arguments are those of `to_zarr`, and mean the same."""
    store = unswapped(zarrv3.MemoryStore())
    to_zarrv3(one(np.arange(6)), store, "w", "g", {"v": {"chunks": (4,)}}, zarr_format=3)
    with pytest.raises(ConfigurationError, match="version 3"):
        to_zarrv3(one([1]), store, zarr_format=2)
    blocks = one(np.arange(6) * 2).chunk(x=1)
    with pytest.raises(ValueError, match="chunk"):
        to_zarrv3(blocks, store, "r+", "g")
    to_zarrv3(blocks, store, "r+", "g", safe_chunks=False, chunkmanager_store_kwargs={"scheduler": "threads"})
    np.testing.assert_array_equal(opened(store, group="g")["v"], np.arange(6) * 2)
    with pytest.raises(ConfigurationError, match="in append_dim and in region"):
        to_zarrv3(blocks, store, group="g", append_dim="x", region={"x": slice(0, 6)})


def test_arguments_of_open_zarr() -> None:
    """Arguments of the engine are those of xarray's, as far as they make sense here."""
    store = zarrv3.MemoryStore()
    to_zarrv3(one([7, 8]), store, encoding={"v": {"fill_value": 7}})
    for _, found in (
        (0, opened(store, use_zarr_fill_value_as_mask=True, mode="r", zarr_format=3)),
        (1, xr.open_groups(store, engine="zarrv3", use_zarr_fill_value_as_mask=True)["/"]),
    ):
        np.testing.assert_array_equal(found["v"], [np.nan, 8])
    for wrong in ({"mode": "w"}, {"zarr_format": 2}):
        with pytest.raises(ConfigurationError, match="zarr2"):
            opened(store, **wrong)
