"""The engine `zarrv3`: lazily, by name, in groups and trees, from whatever store."""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from xarray.backends.plugins import guess_engine

import zarrv3
from zarrv3 import registry
from zarrv3.errors import (
    ConfigurationError,
    CorruptDataError,
    MetadataError,
    NodeNotFoundError,
    StoreClosedError,
)
from zarrv3_bridge_xarray import ZarrV3Backend, to_zarrv3


def test_opening_calls_little(tmp_path: Path) -> None:
    """Each array more costs a bounded number of our calls: codecs and data types that arrays share are worked out once."""
    ours = (
        f"{Path(zarrv3.__file__).parent}",
        f"{Path(sys.modules[to_zarrv3.__module__].__file__ or '').parent}",
    )

    def calls(count: int) -> int:
        root, found = zarrv3.create_group(tmp_path / str(count)), 0
        for number in range(count):
            root.create_array(
                f"v{number}",
                shape=(10, 20),
                chunks=(5, 5),
                dtype="f4",
                attributes={"n": number, "flags": [1, 2]},
                dimension_names=["a", "b"],
            )
        zarrv3.consolidate_metadata(root)

        def profile(frame: Any, event: str, _: object) -> None:
            nonlocal found
            found += event == "call" and frame.f_code.co_filename.startswith(ours)

        xr.open_dataset(tmp_path / str(count), engine="zarrv3")  # imports and caches
        sys.setprofile(profile)
        try:
            xr.open_dataset(tmp_path / str(count), engine="zarrv3")
        finally:
            sys.setprofile(None)
        return found

    found = (calls(30) - calls(10)) / 20
    assert found <= 200


def test_opening_reads_documents_only(dataset: xr.Dataset) -> None:
    """Opening lists once and reads all documents at once; elements of a variable come when they are asked for."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    to_zarrv3(dataset.drop_indexes(["time", "x"]).drop_vars(["time", "x"]), counting)
    counting.reset()
    opened = xr.open_dataset(counting, engine="zarrv3")
    assert dict(counting.calls) == {"list_dir": 1, "get_many": 2}
    counting.reset()
    assert opened["plain"][2, 3].values == dataset["plain"][2, 3].values
    assert dict(counting.requested) == {"get_many": 1}


def test_conventions_are_applied_or_not(dataset: xr.Dataset) -> None:
    """Arguments of `open_dataset` about decoding do what they say."""
    store = zarrv3.MemoryStore()
    to_zarrv3(dataset, store)
    raw = xr.open_dataset(store, engine="zarrv3", decode_cf=False)
    assert raw["temperature"].dtype == "i2"
    assert raw["temperature"].attrs["_FillValue"] == -999
    assert raw["time"].dtype.kind == "i"
    unscaled = xr.open_dataset(store, engine="zarrv3", mask_and_scale=False)
    assert unscaled["temperature"].dtype == "i2"
    assert unscaled["time"].dtype.kind == "M"
    assert "lat" in unscaled.coords
    assert "lat" in xr.open_dataset(store, engine="zarrv3", decode_coords=False).data_vars
    assert "plain" not in xr.open_dataset(store, engine="zarrv3", drop_variables="plain")
    timed = xr.open_dataset(store, engine="zarrv3", decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))
    assert timed["time"].values[0].isoformat() == "2020-01-01T00:00:00"


indices = st.one_of(
    st.slices(7),
    st.integers(-7, 6),
    st.lists(st.integers(-7, 6), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=7, max_size=7),
)


@given(st.data())
def test_selections_are_those_of_memory(data: st.DataObject) -> None:
    """Any selection of a lazy variable, by dimension or by points, in steps, is that of the same values in memory."""
    values = np.arange(7 * 7 * 7).reshape(7, 7, 7)
    store = zarrv3.MemoryStore()
    zarrv3.create_array(store, name="v", data=values, chunks=(3, 2, 7), dimension_names=["x", "y", "z"])
    zarrv3.open_group(store).attrs["a"] = 1
    lazy = xr.open_dataset(store, engine="zarrv3")["v"]
    eager = xr.DataArray(values, dims=["x", "y", "z"])
    for _ in range(2):
        names = [str(dim) for dim in eager.dims]
        chosen: dict[str, Any] = {}
        for name in data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []:
            if eager.sizes[name] == 7:
                chosen[name] = data.draw(indices)
        if data.draw(st.booleans()) and len(chosen) >= 2:  # points: lists along one new dimension
            points = data.draw(st.integers(1, 4))
            for name in [*chosen][:2]:
                chosen[name] = xr.DataArray(
                    data.draw(st.lists(st.integers(0, 6), min_size=points, max_size=points)), dims="points"
                )
        if "points" in eager.dims and any(isinstance(entry, xr.DataArray) for entry in chosen.values()):
            break
        lazy, eager = lazy.isel(chosen), eager.isel(chosen)
    np.testing.assert_array_equal(lazy.values, eager.values)
    assert lazy.dims == eager.dims


def test_in_another_thread() -> None:
    """Asynchronous loading gives the same values."""
    store = zarrv3.MemoryStore()
    to_zarrv3(xr.Dataset({"v": ("x", np.arange(10))}), store)
    loaded = asyncio.run(xr.open_dataset(store, engine="zarrv3").isel(x=[3, 1]).load_async())
    np.testing.assert_array_equal(loaded["v"], [3, 1])


# ---------------------------------------------------------------- names and places


def test_names_of_dimensions() -> None:
    """Names come from the metadata, else from `_ARRAY_DIMENSIONS`, which is hidden; without any the array is refused."""
    store = zarrv3.MemoryStore()
    group = zarrv3.create_group(store)
    group.create_array("a", data=np.zeros((2, 3)), dimension_names=["x", "y"])
    group.create_array("b", data=np.zeros((2, 3)), attributes={"_ARRAY_DIMENSIONS": ["x", "y"], "unit": "m"})
    opened = xr.open_dataset(store, engine="zarrv3")
    assert opened["a"].dims == opened["b"].dims == ("x", "y")
    assert opened["b"].attrs == {"unit": "m"}
    group.create_array("c", data=np.zeros((2, 3)), dimension_names=["x", None])
    with pytest.raises(MetadataError, match="drop_variables='c'"):
        xr.open_dataset(store, engine="zarrv3")
    assert set(xr.open_dataset(store, engine="zarrv3", drop_variables="c")) == {"a", "b"}


def test_places(tmp_path: Path, dataset: xr.Dataset) -> None:
    """A group is found by argument, by the URL's end and as an open group; options go to the store."""
    url = f"file://{tmp_path}/data"
    to_zarrv3(dataset, url, group="one/two")
    expected = xr.open_dataset(url, engine="zarrv3", group="one/two").load()
    xr.testing.assert_identical(xr.open_dataset(f"{url}|zarr3:one/two", engine="zarrv3"), expected)
    xr.testing.assert_identical(xr.open_dataset(f"{url}|zarr3:one", engine="zarrv3", group="two"), expected)
    group = zarrv3.open_group(url, path="one", mode="r")
    xr.testing.assert_identical(xr.open_dataset(group, group="two"), expected)
    xr.testing.assert_identical(
        xr.open_dataset(url, engine="zarrv3", group="one/two", storage_options={"fsync": False}), expected
    )
    with pytest.raises(ConfigurationError, match="storage_options"):
        xr.open_dataset(group, engine="zarrv3", storage_options={"fsync": False})
    with pytest.raises(ConfigurationError, match="fsink"):
        xr.open_dataset(url, engine="zarrv3", storage_options={"fsink": False})
    with pytest.raises(NodeNotFoundError):
        xr.open_dataset(url, engine="zarrv3", group="three")


def test_groups_and_trees(tmp_path: Path, dataset: xr.Dataset) -> None:
    """All groups are opened as a dict or as a tree, the same with consolidated metadata and below a group."""
    url = f"file://{tmp_path}/data"
    tree = xr.DataTree.from_dict({"/": dataset, "/a": xr.Dataset(attrs={"n": 1}), "/a/b": dataset[["plain"]]})
    to_zarrv3(tree, url)
    for options in ({}, {"consolidated": True}, {"use_consolidated": True}):
        groups = xr.open_groups(url, engine="zarrv3", **options)
        assert [*groups] == ["/", "/a", "/a/b"]
        xr.testing.assert_identical(groups["/"], xr.open_dataset(url, engine="zarrv3"))
        found = xr.open_datatree(url, engine="zarrv3", **options)
        xr.testing.assert_identical(found["/a/b"].to_dataset(inherit=False).load(), groups["/a/b"].load())
        assert found["/a"].attrs == {"n": 1}
        below = xr.open_groups(url, engine="zarrv3", group="a", **options)
        assert [*below] == ["/", "/b"]
        found.close()
    chunked = xr.open_datatree(url, engine="zarrv3", chunks={})
    assert chunked["/a/b"]["plain"].chunks == ((6,), (5,))


def test_consolidated_metadata(dataset: xr.Dataset) -> None:
    """Consolidated metadata are read in one go if they are wanted, and missing ones said to be missing."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    to_zarrv3(dataset, counting, consolidated=False)
    with pytest.raises(ConfigurationError, match="no consolidated metadata"):
        xr.open_dataset(counting, engine="zarrv3", consolidated=True)
    zarrv3.consolidate_metadata(counting)
    expected = xr.open_dataset(counting, engine="zarrv3", consolidated=False).load()
    counting.reset()
    backend = ZarrV3Backend()
    opened = backend.open_dataset(counting, consolidated=True, decode_times=False, mask_and_scale=False)
    assert dict(counting.requested) == {"get_many": 1}
    assert set(opened.variables) == set(expected.variables)
    xr.testing.assert_identical(xr.open_dataset(counting, engine="zarrv3", use_consolidated=True), expected)
    with pytest.raises(ConfigurationError, match="different things"):
        xr.open_dataset(counting, engine="zarrv3", consolidated=True, use_consolidated=False)


class Unlistable(zarrv3.Layer):
    """A store that cannot list its keys, such as a web server."""

    kind = "unlistable"

    @property
    def capabilities(self) -> zarrv3.Capabilities:
        """Without `list`."""
        return self.inner.capabilities.without("list")


def test_stores_that_cannot_list(dataset: xr.Dataset) -> None:
    """Where keys cannot be listed consolidated metadata are read by default, and asked for if they are missing."""
    inner = zarrv3.MemoryStore()
    to_zarrv3(dataset, inner)
    expected = xr.open_dataset(inner, engine="zarrv3")
    xr.testing.assert_identical(xr.open_dataset(Unlistable(inner), engine="zarrv3"), expected)
    bare = zarrv3.MemoryStore()
    to_zarrv3(dataset, bare, consolidated=False)
    with pytest.raises(ConfigurationError, match="consolidate_metadata"):
        xr.open_dataset(Unlistable(bare), engine="zarrv3")


def test_guesses(tmp_path: Path) -> None:
    """What is taken without being told: stores, groups, URLs of kinds that are ours, and folders that hold a hierarchy."""
    backend = ZarrV3Backend()
    store = zarrv3.MemoryStore()
    installed = {plugin.name for kind in ("stores", "layers") for plugin in registry.plugins(kind)}
    ours = [store, zarrv3.create_group(store), "memory://x", "s3://bucket/a|counting:", "data|zarr3:a/b"]
    ours += [url for url in ("redis://host/0", "sqlite:///a.db") if url.partition(":")[0] in installed]
    ours += ["s3://bucket/a|retry:"] if "retry" in installed else []
    to_zarrv3(xr.Dataset(), tmp_path / "folder")
    ours += ["/data/a.zarr", Path("/data/a.zarr/"), "s3://bucket/a.zarr", tmp_path / "folder"]
    others = [
        "data/a.nc",
        "a.zip",
        "a|b.nc",
        "",
        b"CDF",
        "gs://bucket/a",
        "nosuch://x",
        "a|nosuch:",
        tmp_path,
    ]
    assert [guess for guess in ours if not backend.guess_can_open(guess)] == []
    assert [guess for guess in others if backend.guess_can_open(guess)] == []
    assert guess_engine("data/a.zarr") == "zarr"
    assert guess_engine("memory://x") == guess_engine(tmp_path / "folder") == "zarrv3"


# ---------------------------------------------------------------- dask and pickling


def test_chunks_for_dask(dataset: xr.Dataset) -> None:
    """`chunks={}` makes blocks of chunks; computing reads each chunk once."""
    counting = zarrv3.Counting(zarrv3.MemoryStore())
    to_zarrv3(dataset[["plain"]], counting, encoding={"plain": {"chunks": (2, 5)}})
    opened = xr.open_dataset(counting, engine="zarrv3", chunks={})
    assert opened["plain"].chunks == ((2, 2, 2), (5,))
    assert opened["plain"].encoding["preferred_chunks"] == {"time": 2, "x": 5}
    counting.reset()
    with dask.config.set(scheduler="threads"):
        np.testing.assert_array_equal(opened["plain"].values, dataset["plain"].values)
    assert counting.requested["get_many"] == 3


def test_pickles_by_configuration(tmp_path: Path, dataset: xr.Dataset) -> None:
    """A lazy dataset is pickled without its values and read in its copy."""
    to_zarrv3(dataset, tmp_path / "data")
    opened = xr.open_dataset(tmp_path / "data", engine="zarrv3")
    data = pickle.dumps(opened.drop_vars(["time", "x"]))
    assert dataset["plain"].values.tobytes() not in data
    np.testing.assert_array_equal(pickle.loads(data)["plain"], dataset["plain"])


def test_closing(tmp_path: Path, dataset: xr.Dataset) -> None:
    """A store that was opened for a dataset is closed with it, or at once if opening fails; the user's own is not."""
    to_zarrv3(dataset, f"{tmp_path}/data")
    with xr.open_dataset(f"{tmp_path}/data", engine="zarrv3") as opened:
        array = opened["plain"]
    with pytest.raises(StoreClosedError):
        array.load()
    own = zarrv3.open_store(f"{tmp_path}/data")
    xr.open_dataset(own, engine="zarrv3").close()
    assert "zarr.json" in own


def test_corrupt_chunks_are_named(dataset: xr.Dataset) -> None:
    """A damaged chunk is an error that names its key, not numbers."""
    store = zarrv3.MemoryStore()
    to_zarrv3(dataset, store)
    store["plain/c/0/0"] = store["plain/c/0/0"][:-3]
    with pytest.raises(CorruptDataError, match="plain/c/0/0"):
        xr.open_dataset(store, engine="zarrv3")["plain"].load()


def test_wrong_fill_values_are_named() -> None:
    """An attribute `_FillValue` that is none is an error that names the array."""
    store = zarrv3.MemoryStore()
    zarrv3.create_group(store)
    zarrv3.create_array(
        store, name="v", data=np.zeros(3), dimension_names=["x"], attributes={"_FillValue": "?"}
    )
    with pytest.raises(MetadataError, match="_FillValue"):
        xr.open_dataset(store, engine="zarrv3")
    zarrv3.open_array(store, path="v").attrs["_FillValue"] = 0.0  # as other writers have it
    assert xr.open_dataset(store, engine="zarrv3")["v"].isnull().all()
    zarrv3.open_array(store, path="v").attrs["_FillValue"] = "NaN"
    assert not xr.open_dataset(store, engine="zarrv3")["v"].isnull().any()


def test_groups_of_any_depth() -> None:
    """A hierarchy deeper than Python's calls may be opens group by group."""
    zarrv3.create_group(store := zarrv3.MemoryStore(), path="/".join("a" * 1100))
    assert len(xr.open_groups(store, engine="zarrv3")) == 1101
