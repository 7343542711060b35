"""`to_zarrv3`: modes, appending, regions, encodings, dask arrays; what it writes is what xarray's own engine writes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import registry
from zarrv3.errors import (
    AssignmentError,
    ConfigurationError,
    MetadataError,
    NodeExistsError,
    NodeNotFoundError,
    NodeTypeError,
    ReadOnlyError,
    StaleMetadataWarning,
)
from zarrv3_bridge_dask import UnalignedBlocksError
from zarrv3_bridge_xarray import Accessor, to_zarrv3

Days = Callable[[int, int], xr.Dataset]

pytestmark = [
    pytest.mark.filterwarnings("ignore:The data type:Warning"),  # zarr-python's, about texts of fixed length
    pytest.mark.filterwarnings("ignore:Consolidated metadata:Warning"),  # zarr-python's, about every V3 one
    pytest.mark.usefixtures("threads"),
]


@pytest.fixture
def threads() -> Any:
    """Computing by threads, whatever cluster other tests have."""
    with dask.config.set(scheduler="threads"):
        yield


def has_sharding() -> bool:
    """Whether the package is installed that stores several chunks as one value."""
    return any(plugin.name == "sharding_indexed" for plugin in registry.plugins("codecs"))


def opened(store: Any, **options: Any) -> xr.Dataset:
    """What is in a store now, in memory."""
    return xr.open_dataset(store, engine="zarrv3", **options).load()


def content(store: Any) -> dict[str, bytes]:
    """Every key of a store with its value."""
    return dict(store.items())


# ---------------------------------------------------------------- the other engine


@pytest.mark.parametrize("writer", ["zarrv3", "zarr"])
def test_both_engines_agree(writer: str, dataset: xr.Dataset, tmp_path: Path) -> None:
    """What either engine writes both read alike: values, dtypes, attributes and encoding; and it is what was written."""
    path = str(tmp_path / "data")
    encoding = {"plain": {"chunks": (4, 3), "fill_value": 7.0}}
    if writer == "zarrv3":
        to_zarrv3(dataset, path, encoding=encoding)
    else:
        dataset.to_zarr(path, zarr_format=3, encoding=encoding)
    ours, theirs = opened(path), xr.open_dataset(path, engine="zarr").load()
    xr.testing.assert_identical(ours, theirs)
    for name, variable in theirs.variables.items():
        assert ours[name].dtype == variable.dtype, name
        for key in ("chunks", "preferred_chunks", "shards", "fill_value", "_FillValue", "dtype", "units"):
            a, b = ours[name].encoding.get(key), variable.encoding.get(key)
            assert a == b or np.array_equal(a, b, equal_nan=True), (name, key)
    xr.testing.assert_allclose(ours, dataset.assign(temperature=ours["temperature"]))
    assert np.isnan(ours["temperature"][0, 0])
    assert float(abs(ours["temperature"] - dataset["temperature"]).max()) <= 0.005
    assert ours.attrs == {"title": "all kinds", "number": 3, "nested": {"list": [1, 2.5]}}


@pytest.mark.parametrize("writer", ["zarrv3", "zarr"])
def test_read_by_one_written_by_the_other(writer: str, dataset: xr.Dataset, tmp_path: Path) -> None:
    """A dataset opened by one engine is written by the other with the same encoding, and read back the same."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    encoding = {"plain": {"chunks": (4, 3), "compressors": [{"name": "gzip", "configuration": {"level": 1}}]}}
    if writer == "zarrv3":
        dataset.to_zarr(first, zarr_format=3, encoding=encoding)
        to_zarrv3(xr.open_dataset(first, engine="zarr"), second)
    else:
        to_zarrv3(dataset, first, encoding=encoding)
        xr.open_dataset(first, engine="zarrv3").to_zarr(second, zarr_format=3)
    xr.testing.assert_identical(opened(second), opened(first))
    names = ("plain", "temperature", "time")
    for name in names:
        a, b = (
            zarrv3.open_array(path, path=name, mode="r").metadata.to_document() for path in (first, second)
        )
        assert a["codecs"] == b["codecs"]
        assert a["chunk_grid"] == b["chunk_grid"]
        assert {**a["attributes"], "units": None} == {**b["attributes"], "units": None}  # spelled differently


def test_other_engine_appends_to_ours(series: Days, tmp_path: Path) -> None:
    """Each engine appends to what the other has written."""
    path = str(tmp_path / "data")
    to_zarrv3(series(0, 3), path)
    series(3, 5).to_zarr(path, append_dim="time")
    to_zarrv3(series(5, 8), path, append_dim="time")
    for engine in ("zarr", "zarrv3"):
        xr.testing.assert_equal(xr.open_dataset(path, engine=engine).load(), series(0, 8))


def test_an_unreadable_neighbour_is_no_reason_to_write_again(series: Days) -> None:
    """What was appended stays, and that another node kept it from being consolidated is a warning, or a note if that was asked."""
    store = zarrv3.MemoryStore()
    zarrv3.create_group(store, path="sub")
    to_zarrv3(series(0, 2), store, mode="a")
    store["sub/bad/zarr.json"] = b'{"zarr_format": 3, "node_type": "array"}'
    with pytest.warns(StaleMetadataWarning, match="everything is written.*sub/bad/zarr.json"):
        to_zarrv3(series(2, 3), store, append_dim="time")
    with pytest.raises(MetadataError) as raised:
        to_zarrv3(series(3, 4), store, append_dim="time", consolidated=True)
    assert "everything is written" in raised.value.__notes__[0]
    assert xr.open_dataset(store, engine="zarrv3", consolidated=False).equals(series(0, 4))


def test_encoding_left_by_other_backends(tmp_path: Path) -> None:
    """What xarray's backends note about a variable's origin says nothing about its array, and is ignored."""
    data = xr.Dataset({"v": ("x", [1.0])})
    encoding = {"v": {"source": "a.nc", "original_shape": (1,), "preferred_chunks": {"x": 1}, "chunks": (1,)}}
    data.to_zarr(tmp_path / "theirs", zarr_format=3, encoding=encoding)
    store = zarrv3.MemoryStore()
    to_zarrv3(data, store, encoding=encoding)
    xr.testing.assert_identical(opened(store), opened(str(tmp_path / "theirs")))
    with pytest.raises(ConfigurationError, match="unknown encoding 'szip'"):
        to_zarrv3(data, store, mode="w", encoding={"v": {"szip": True}})


@pytest.mark.parametrize(
    "options",
    [{"mode": "w"}, {"mode": "a"}, {"append_dim": "x"}, {"region": "auto"}, {"region": {"x": slice(2)}}],
)
def test_unknown_lengths(options: dict[str, Any]) -> None:
    """Dask arrays whose lengths are not known are refused with the call that helps, before anything is changed."""
    store = zarrv3.MemoryStore()
    to_zarrv3(xr.Dataset({"v": ("x", np.arange(4.0))}), store)
    before, values = content(store), xr.DataArray(np.arange(6), dims="x").chunk(3).data
    with pytest.raises(ConfigurationError, match="compute_chunk_sizes"):
        to_zarrv3(xr.Dataset({"v": ("x", values[values > 2])}), store, **options)
    assert content(store) == before


# ---------------------------------------------------------------- modes


def test_modes(series: Days) -> None:
    """`w-` creates, `w` replaces, `a` adds and overwrites, `r+` only overwrites; the rest is refused, nothing changed."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 3), store)
    before = content(store)
    with pytest.raises(NodeExistsError):
        to_zarrv3(series(0, 2), store)
    with pytest.raises(ConfigurationError, match="mode='a'"):
        to_zarrv3(series(0, 3).assign(new=1), store, mode="r+")
    with pytest.raises(AssignmentError, match="append_dim"):
        to_zarrv3(series(0, 2), store, mode="a")
    with pytest.raises(ConfigurationError, match="mode must be"):
        to_zarrv3(series(0, 2), store, mode="x")  # type: ignore[arg-type]
    assert content(store) == before
    to_zarrv3(series(0, 3) * 2, store, mode="r+")
    np.testing.assert_array_equal(opened(store)["rain"], series(0, 3)["rain"] * 2)
    to_zarrv3(series(0, 3).assign(new=1).assign_attrs(n=2), store, mode="a")
    assert opened(store).attrs == {"n": 2}
    assert int(opened(store)["new"]) == 1
    to_zarrv3(series(0, 2), store, mode="w")
    xr.testing.assert_equal(opened(store), series(0, 2))
    with pytest.raises(NodeNotFoundError):
        to_zarrv3(series(0, 2), store, group="other", mode="r+")
    with pytest.raises(NodeTypeError):
        to_zarrv3(series(0, 2), store, group="rain", mode="a")


def test_replacing_what_is_read(series: Days) -> None:
    """A dataset that dask reads from a group is not written over it; one without dask is in memory before that."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 3), store, group="a")
    before = content(store)
    for group in ("a", None):
        with pytest.raises(ConfigurationError, match="erase first"):
            to_zarrv3(
                xr.open_dataset(store, engine="zarrv3", group="a", chunks={}) + 1,
                store,
                group=group,
                mode="w",
            )
    assert content(store) == before
    to_zarrv3(xr.open_dataset(store, engine="zarrv3", group="a") + 1, store, group="a", mode="w")
    np.testing.assert_array_equal(opened(store, group="a")["rain"], series(0, 3)["rain"] + 1)
    to_zarrv3(xr.open_dataset(store, engine="zarrv3", group="a"), store, group="a", mode="w")
    np.testing.assert_array_equal(opened(store, group="a")["rain"], series(0, 3)["rain"] + 1)


# ---------------------------------------------------------------- appending


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(1, 4), st.booleans())
def test_appending_is_concatenating(parts: list[int], chunk: int, chunked: bool) -> None:
    """Datasets appended one after the other are their concatenation, in memory and by dask, whatever the chunks."""
    ends = np.cumsum([0, *parts]).tolist()
    days = pd.date_range("2020-01-01", periods=ends[-1])
    whole = xr.Dataset({"v": (("time", "x"), np.arange(ends[-1] * 2).reshape(-1, 2))}, coords={"time": days})
    store = zarrv3.MemoryStore()
    with dask.config.set(scheduler="synchronous"):
        for start, stop in itertools.pairwise(ends):
            part = whole.isel(time=slice(start, stop))
            part = part.chunk(time=2) if chunked else part
            options: dict[str, Any] = (
                {"append_dim": "time"} if start else {"encoding": {"v": {"chunks": (chunk, 2)}}}
            )
            to_zarrv3(part, store, align_chunks=True, **options)
    xr.testing.assert_equal(opened(store), whole)


@pytest.mark.filterwarnings("ignore:Times can't be serialized:UserWarning")  # xarray's, before we refuse
def test_refused_appends(series: Days) -> None:
    """What cannot be appended exactly is refused before anything is changed."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 3), store)
    before = content(store)
    new = series(3, 4)
    cases: list[tuple[xr.Dataset, str, dict[str, Any]]] = [
        (new.drop_vars("rain"), "would stay shorter", {}),
        (new.assign(more=new["rain"]), "not in the store", {}),
        (new.assign_coords(time=new["time"] + np.timedelta64(1, "h")), "units would be", {}),
        (new.assign_coords(time=[3]), "would be None", {}),
        (new.assign(rain=new["rain"] + 0.5), "without loss", {}),
        (new.assign(rain=new["rain"].astype("M8[s]")), "would be", {}),
        (new.isel(x=slice(2)), "places along 'x'", {}),
        (new.rename(x="y"), "has the dimensions", {}),
        (new, "exists; its encoding", {"encoding": {"rain": {"chunks": (1, 4)}}}),
        (new, "no dimension 'day'", {"append_dim": "day"}),
        (new.rename(time="day"), "no array in the store", {"append_dim": "day"}),
        (new, "append_dim goes with", {"mode": "w"}),
        (new, "in append_dim and in region", {"region": {"time": slice(0, 1)}, "mode": "a"}),
    ]
    for dataset, message, options in cases:
        with pytest.raises((AssignmentError, ConfigurationError), match=message):
            to_zarrv3(dataset, store, **{"append_dim": "time", **options})
        assert content(store) == before, message
    to_zarrv3(series(3, 4).transpose("x", "time"), store, append_dim="time")
    xr.testing.assert_equal(opened(store), series(0, 4))


def test_integers_that_fit_are_appended() -> None:
    """Integers of a wider type go into a narrow array if their values fit, and texts only if none is cut."""
    store = zarrv3.MemoryStore()
    to_zarrv3(xr.Dataset({"n": ("x", np.array([1], "i1")), "t": ("x", np.array(["ab"]))}), store)
    new = xr.Dataset({"n": ("x", np.array([100])), "t": ("x", np.array(["c"]))})
    to_zarrv3(new, store, append_dim="x")
    assert opened(store)["n"].to_numpy().tolist() == [1, 100]
    for bad in (new.assign(n=("x", [300])), new.assign(t=("x", ["abc"])), new.assign(n=("x", [300])).chunk()):
        with pytest.raises(AssignmentError, match="without loss"):
            to_zarrv3(bad, store, append_dim="x")
    assert opened(store)["t"].to_numpy().tolist() == ["ab", "c"]


def test_only_what_grows(series: Days) -> None:
    """With `a-` variables without the dimension stay as they are, with `a` they are overwritten."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 2), store)
    to_zarrv3(series(2, 3).assign(height=("x", np.zeros(4))), store, mode="a-", append_dim="time")
    np.testing.assert_array_equal(opened(store)["height"], np.arange(4))
    to_zarrv3(series(3, 4).assign(height=("x", np.zeros(4))), store, append_dim="time")
    np.testing.assert_array_equal(opened(store)["height"], np.zeros(4))
    assert opened(store).sizes == {"time": 4, "x": 4}


def test_trees_grow_node_by_node(series: Days) -> None:
    """Every node of a tree that has the dimension grows; where one of them cannot, none does."""
    store = zarrv3.MemoryStore()
    other = xr.Dataset({"height": ("x", np.arange(4))}, {"x": [*"abcd"]})

    def tree(start: int, stop: int) -> xr.DataTree:
        rain = series(start, stop)
        return xr.DataTree.from_dict(
            {"/": rain[["time"]], "/a": rain[["rain"]], "/b": rain * 2, "/c/d": other}
        )

    to_zarrv3(tree(0, 3), store)
    to_zarrv3(tree(3, 4), store, append_dim="time")
    to_zarrv3(tree(4, 6).chunk(time=1), store, append_dim="time")
    xr.testing.assert_identical(xr.open_datatree(store, engine="zarrv3").load(), tree(0, 6))
    before = content(store)
    incomplete = tree(6, 7)
    incomplete["b"] = xr.DataTree(other)
    cases: list[tuple[xr.DataTree, str, dict[str, Any]]] = [
        (incomplete, "would stay shorter", {}),
        (tree(6, 7), "no dimension 'day'", {"append_dim": "day"}),
        (tree(6, 7), "with group=", {"append_dim": None, "region": "auto"}),
    ]
    for data, message, options in cases:
        with pytest.raises((AssignmentError, ConfigurationError), match=message):
            to_zarrv3(data, store, **{"append_dim": "time", **options})
        assert content(store) == before, message


def test_of_two_appenders_one_is_told(series: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who appends between the check and the growth is not overwritten."""
    from zarrv3_bridge_xarray import writing

    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 2), store)
    create = writing._create

    def late(*args: Any) -> None:
        monkeypatch.setattr(writing, "_create", create)
        to_zarrv3(series(2, 3), store, append_dim="time")
        create(*args)

    monkeypatch.setattr(writing, "_create", late)
    with pytest.raises(AssignmentError, match="somebody else appends"):
        to_zarrv3(series(2, 4), store, append_dim="time")
    xr.testing.assert_equal(opened(store), series(0, 3))


# ---------------------------------------------------------------- regions


def test_regions(series: Days) -> None:
    """A template is filled region by region, by slices or by coordinates."""
    store = zarrv3.MemoryStore()
    whole = series(0, 6)
    to_zarrv3(whole.chunk(time=2), store, compute=False)
    assert not opened(store)["rain"].any()
    xr.testing.assert_equal(opened(store)["time"], whole["time"])
    to_zarrv3(whole.isel(time=slice(0, 2)).drop_vars("height"), store, region={"time": slice(0, 2)})
    to_zarrv3(whole.isel(time=slice(2, 4)), store, region="auto")
    to_zarrv3(whole.isel(time=slice(4, 6)).drop_vars("height"), store, region={"time": "auto"}, mode="a")
    xr.testing.assert_equal(opened(store), whole)


def test_refused_regions(series: Days) -> None:
    """Regions that do not fit, or whose coordinates are others in the store, are refused and nothing is changed."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 6), store)
    before = content(store)
    part = series(2, 4).drop_vars("height")
    cases: list[tuple[xr.Dataset, Any, str]] = [
        (series(2, 4), {"time": slice(2, 4)}, "drop_vars\\(\\['height'\\]\\)"),
        (part, {"time": slice(1, 3)}, "others than the dataset's"),
        (part, {"time": slice(2, 5)}, "has 3 places"),
        (part, {"time": slice(2, 6, 2)}, "steps of one"),
        (part, {"time": 2}, "steps of one"),
        (part, {"day": slice(0, 1)}, "no dimension 'day'"),
        (part, "all", "region must be"),
        (part, [slice(0, 1)], "region must be"),
        (part.rename(time="day"), {"day": slice(0, 2)}, "no array in the store has"),
        (series(5, 8).drop_vars("height"), "auto", "not in the store"),
        (part.isel(time=[1, 0]), "auto", "side by side"),
        (part.assign(new=part["rain"]), {"time": slice(2, 4)}, "no array 'new'"),
    ]
    for dataset, region, message in cases:
        with pytest.raises((AssignmentError, ConfigurationError), match=message):
            to_zarrv3(dataset, store, region=region)
        assert content(store) == before, message
    with pytest.raises(ConfigurationError, match="region goes with"):
        to_zarrv3(part, store, region="auto", mode="w")
    twice = part.assign_coords(time=[2, 2])
    again = zarrv3.MemoryStore()
    to_zarrv3(twice, again)
    with pytest.raises(AssignmentError, match="2 occurs more than once"):
        to_zarrv3(twice, again, region="auto")
    to_zarrv3(part.drop_vars(["time", "x"]) * 0, store, region={"time": slice(1, 3)})
    assert opened(store)["rain"].sum("x").to_numpy().tolist()[1:3] == [0, 0]


def test_regions_end_at_chunks(series: Days, unswapped: type[zarrv3.Layer]) -> None:
    """Where a store cannot swap, blocks of dask arrays end where chunks do; `r+` wants it of the region, `a` does not."""
    store = unswapped(zarrv3.MemoryStore())
    to_zarrv3(series(0, 9), store, encoding={"rain": {"chunks": (4, 4)}})
    part = (series(2, 9) * 2).drop_vars("height")
    with pytest.raises(UnalignedBlocksError, match="multiples of 4, or mode='a'"):
        to_zarrv3(part.chunk(time=-1), store, region={"time": slice(2, 9)})
    with pytest.raises(UnalignedBlocksError, match=r"\.chunk\(\{'time': \(2, 4, 1\)\}\)") as caught:
        to_zarrv3(part.chunk(time=3), store, region={"time": slice(2, 9)}, mode="a")
    assert "writing the variable 'rain'" in caught.value.__notes__[0]
    to_zarrv3(part.chunk(time=3), store, region={"time": slice(2, 9)}, mode="a", align_chunks=True)
    np.testing.assert_array_equal(opened(store)["rain"][2:], part["rain"])
    to_zarrv3(part.isel(time=slice(2, 7)).chunk(time=4) * 0, store, region={"time": slice(4, 9)})
    assert not opened(store)["rain"][4:].any()
    to_zarrv3(part.chunk(time=3), store.inner, region={"time": slice(2, 9)})  # which swaps what blocks share
    np.testing.assert_array_equal(opened(store)["rain"][2:], part["rain"])


# ---------------------------------------------------------------- dask and encoding


def test_blocks_of_dask_arrays(series: Days, unswapped: type[zarrv3.Layer]) -> None:
    """Chunks follow from the blocks; where they are given and shared by blocks nothing is created if the store cannot swap."""
    store = zarrv3.MemoryStore()
    chunked = series(0, 6).chunk(time=4)
    with pytest.raises(UnalignedBlocksError, match=r"\.chunk\(\{'time': 3\}\) of the dataset"):
        to_zarrv3(chunked, unswapped(store), encoding={"rain": {"chunks": (3, 4)}})
    assert store.list() == []
    counting = zarrv3.Counting(store)
    to_zarrv3(chunked, counting, consolidated=False)
    assert zarrv3.open_array(store, path="rain").chunks == (4, 4)
    written = [counting.requested[verb] for verb in ("swap_many", "write_many")]
    # documents are created; time, x, height and the two chunks of rain, of which that at the edge keeps its padding
    assert written == [5 + 1, 1 + 1 + 1 + 1]
    to_zarrv3(chunked, store, mode="w", encoding={"rain": {"chunks": (3, 4)}}, align_chunks=True)
    xr.testing.assert_equal(opened(store), series(0, 6))
    irregular = series(0, 6).chunk(time=(1, 5))
    to_zarrv3(irregular, store, mode="w")
    xr.testing.assert_equal(opened(store), series(0, 6))


def test_delayed(series: Days, tmp_path: Path) -> None:
    """Without `compute` all is there but the values of dask arrays, which come with the computation."""
    chunked = series(0, 6).chunk(time=2)
    later = to_zarrv3(chunked.assign(height=chunked["height"].compute()), f"{tmp_path}/data", compute=False)
    assert not opened(tmp_path / "data")["rain"].any()
    np.testing.assert_array_equal(opened(tmp_path / "data")["height"], np.arange(4))
    later.compute()
    xr.testing.assert_equal(opened(tmp_path / "data"), series(0, 6))


def test_encoding(dataset: xr.Dataset) -> None:
    """An encoding says how an array is stored; an unknown word or variable is refused, a stale one is not used."""
    store = zarrv3.MemoryStore()
    gzip = {"name": "gzip", "configuration": {"level": 1}}
    own = {
        "chunks": (3, 5),
        "compressors": [gzip],
        "dtype": "f8",
        "fill_value": 1.0,
        "write_empty_chunks": True,
    }
    given = dict(own)
    to_zarrv3(dataset, store, encoding={"plain": given})
    assert given == own
    array = zarrv3.open_array(store, path="plain")
    assert (array.chunks, array.dtype, array.fill_value, array.compressor.to_json()) == (
        (3, 5),
        "f8",
        1.0,
        gzip,
    )
    for encoding, message in (
        ({"plain": {"chunk": 3}}, "unknown encoding 'chunk'"),
        ({"nosuch": {"chunks": 3}}, "no variable 'nosuch'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            to_zarrv3(dataset, zarrv3.MemoryStore(), encoding=encoding)
    again = xr.open_dataset(store, engine="zarrv3")
    to_zarrv3(again.isel(time=0), store, group="less")
    assert zarrv3.open_array(store, path="less/plain").compressor.to_json() == gzip
    xr.testing.assert_identical(opened(store, group="less"), again.isel(time=0).load())


@pytest.mark.skipif(not has_sharding(), reason="zarrv3-transformer-sharding is not installed")
def test_shards(series: Days, unswapped: type[zarrv3.Layer]) -> None:
    """Blocks are held against shards, given or made to fit, and are shards when they are read."""
    store = unswapped(zarrv3.MemoryStore())
    encoding = {"rain": {"chunks": (1, 4), "shards": (4, 4)}}
    with pytest.raises(UnalignedBlocksError, match=r"\.chunk\(\{'time': 4\}\)"):
        to_zarrv3(series(0, 8).chunk(time=3), store, encoding=encoding)
    to_zarrv3(series(0, 8).chunk(time=4), store, encoding=encoding)
    lazy = xr.open_dataset(store, engine="zarrv3", chunks={})
    assert lazy["rain"].chunks == ((4, 4), (4,))
    assert (lazy["rain"].encoding["chunks"], lazy["rain"].encoding["shards"]) == ((1, 4), (4, 4))
    xr.testing.assert_equal(lazy.load(), series(0, 8))
    to_zarrv3(series(0, 8).chunk(time=4), store, mode="w", encoding={"rain": {"shards": "auto"}})
    assert zarrv3.open_array(store, path="rain").shards == (4, 4)
    to_zarrv3(series(0, 8).chunk(time=8), store, mode="w", encoding={"rain": {"shards": (2, 4)}})
    assert zarrv3.open_array(store, path="rain").shards == (2, 4)
    xr.testing.assert_equal(opened(store), series(0, 8))


@pytest.mark.parametrize("chunked", [False, True])
def test_scaled_values_are_appended(chunked: bool) -> None:
    """Values that are stored as scaled integers are appended with the same scale; those out of range are refused."""
    store = zarrv3.MemoryStore()
    first = xr.Dataset({"v": ("x", [0.5, np.nan])})
    to_zarrv3(first, store, encoding={"v": {"dtype": "i2", "scale_factor": 0.25, "_FillValue": -1}})
    new = xr.Dataset({"v": ("x", [1.75, np.nan])})
    to_zarrv3(new.chunk() if chunked else new, store, append_dim="x")
    np.testing.assert_array_equal(opened(store)["v"], [0.5, np.nan, 1.75, np.nan])
    assert zarrv3.open_array(store, path="v").dtype == "i2"
    if not chunked:
        with pytest.raises(AssignmentError, match="without loss"):
            to_zarrv3(xr.Dataset({"v": ("x", [1e6])}), store, append_dim="x")


def test_bytes_and_empty_chunks() -> None:
    """Bytes of any length are stored as such; chunks of the fill value only if that is asked for."""
    store = zarrv3.MemoryStore()
    dataset = xr.Dataset({"b": ("x", np.array([b"a", b"bc"], dtype=object)), "z": ("y", np.zeros(3, "i4"))})
    to_zarrv3(dataset, store)
    assert "z/c/0" not in store
    assert opened(store)["b"].to_numpy().tolist() == [b"a", b"bc"]
    to_zarrv3(dataset, store, mode="w", write_empty_chunks=True)
    assert "z/c/0" in store


@pytest.mark.parametrize(
    "dataset",
    [
        xr.Dataset(attrs={"when": pd.Timestamp("2020-01-01")}),
        xr.Dataset(attrs={1: "number"}),
        xr.Dataset({3: ((), 1)}),
    ],
    ids=["value", "name", "variable"],
)
def test_what_no_document_can_hold(dataset: xr.Dataset) -> None:
    """Attributes and names that JSON or Zarr cannot hold are refused, and nothing is created."""
    store = zarrv3.MemoryStore()
    with pytest.raises(MetadataError):
        to_zarrv3(dataset, store)
    assert store.list() == []


# ---------------------------------------------------------------- other objects


def test_arrays_and_accessors(dataset: xr.Dataset) -> None:
    """Arrays come back with their names and coordinates, and everything has `.zarrv3.to_store`."""
    store = zarrv3.MemoryStore()
    for number, name in enumerate(["plain", None, "x"]):
        array = dataset["plain"].rename(name)
        array.zarrv3.to_store(store, group=str(number))
        found = xr.open_dataarray(store, engine="zarrv3", group=str(number))
        xr.testing.assert_identical(found.load(), array)
    assert isinstance(dataset.zarrv3, Accessor)
    xr.DataTree.from_dict({"/": xr.Dataset(), "/b": dataset}).zarrv3.to_store(store, group="tree")
    assert [*xr.open_groups(store, engine="zarrv3", group="tree")] == ["/", "/b"]


def test_trees(series: Days) -> None:
    """A tree is written whole or not at all, with encodings by node; its inherited coordinates only if asked for."""
    tree = xr.DataTree.from_dict(
        {"/": series(0, 2)[["time"]], "/a/b": series(0, 2)[["rain"]].drop_vars("time")}
    )
    store = zarrv3.MemoryStore()
    for encoding in ({"/c": {}}, {"/a/b": {"rain": {"chunk": 3}}}):
        with pytest.raises(ConfigurationError):
            to_zarrv3(tree, store, encoding=encoding)
    with pytest.raises(ConfigurationError, match="no array in the store"):
        to_zarrv3(tree, store, append_dim="time")
    assert store.list() == []
    to_zarrv3(tree, store, group="g", encoding={"/a/b": {"rain": {"chunks": (1, 4)}}})
    assert zarrv3.open_array(store, path="g/a/b/rain").chunks == (1, 4)
    assert "g/a/b/time/zarr.json" not in store
    xr.testing.assert_equal(xr.open_datatree(store, engine="zarrv3", group="g").load(), tree)
    with pytest.raises(NodeExistsError):
        to_zarrv3(tree, store, group="g")
    to_zarrv3(tree, store, group="g", mode="w", write_inherited_coords=True)
    assert "g/a/b/time/zarr.json" in store
    to_zarrv3(tree * 2, store, group="g", mode="a")
    np.testing.assert_array_equal(opened(store, group="g/a/b")["rain"], series(0, 2)["rain"] * 2)


def test_consolidated_metadata_stay_current(series: Days) -> None:
    """Consolidated metadata of the root follow each write that changes documents, unless that is not wanted."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 2), store, group="a")
    to_zarrv3(series(2, 5), store, group="a", append_dim="time")
    assert xr.open_dataset(store, engine="zarrv3", group="a", consolidated=True).sizes["time"] == 5
    with pytest.warns(zarrv3.errors.StaleMetadataWarning):
        to_zarrv3(series(5, 6), store, group="a", append_dim="time", consolidated=False)
    assert xr.open_dataset(store, engine="zarrv3", group="a", consolidated=True).sizes["time"] == 5
    assert opened(store, group="a").sizes["time"] == 6


@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "w"},
        {"mode": "a"},
        {"mode": "r+"},
        {"append_dim": "time"},
        {"region": {"time": slice(0, 2)}},
        {"mode": "w", "compute": False},
    ],
)
def test_groups_open_for_reading(series: Days, options: dict[str, Any], *, consolidated: bool) -> None:
    """A group that was opened for reading is read as any other, and refuses to be written, though its store could be."""
    store = zarrv3.MemoryStore()
    to_zarrv3(series(0, 2), store, group="a", consolidated=consolidated)
    group = zarrv3.open_group(store, mode="r")
    before = content(store)
    dataset = series(0, 2).drop_vars(["time", "height"]) if "region" in options else series(0, 2)
    with pytest.raises(ReadOnlyError):
        to_zarrv3(dataset.chunk(), group, group="a" if options else "b", **options)
    assert content(store) == before
    xr.testing.assert_identical(opened(group, group="a"), opened(store, group="a"))


def test_without_dask(tmp_path: Path) -> None:
    """Where neither dask nor its bridge can be imported, datasets in memory are written and read."""
    code = f"""
import sys
sys.modules["dask"] = sys.modules["zarrv3_bridge_dask"] = None
import numpy as np, xarray as xr, zarrv3_bridge_xarray
xr.Dataset({{"v": ("x", np.arange(5))}}).zarrv3.to_store({str(tmp_path / "data")!r})
assert xr.open_dataset({str(tmp_path / "data")!r}, engine="zarrv3")["v"].sum() == 10
from zarrv3_bridge_xarray import chunking
try:
    chunking.bridge()
except ValueError as error:
    assert "pip install" in str(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
