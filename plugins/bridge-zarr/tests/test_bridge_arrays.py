"""Arrays and groups of zarr-python, datasets of xarray and arrays of Dask over the bridge, and their costs."""

from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import redis
import xarray as xr
import zarr

import zarrv3
from zarrv3 import BaseStore, open_store
from zarrv3.layers.counting import Counting
from zarrv3_bridge_zarr import ZarrStore, as_zarr_store

LOCAL = ("memory", "directory", "zip", "sqlite", "lmdb", "dbm", "fsspec")
SERVED = ("redis", "mongodb", "postgresql")
Opener = Callable[[], BaseStore]
QUIET = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata:UserWarning", "ignore:.*Zarr format 3:UserWarning"
)


USUAL = ("directory", "redis")
ALL = [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in (*LOCAL, *SERVED)]


@pytest.fixture(params=ALL)
def opener(request: pytest.FixtureRequest, opener_of: Callable[[str], Opener]) -> Opener:
    """An empty place: of some backends always, of all in long runs."""
    return opener_of(request.param)


@pytest.fixture
def store(opener: Opener) -> Iterator[ZarrStore]:
    """An empty store of each backend, presented to zarr-python."""
    with as_zarr_store(opener()) as store:
        yield store


def numbers(*shape: int) -> np.ndarray[Any, Any]:
    """Different numbers."""
    return np.arange(np.prod(shape), dtype="f8").reshape(shape)


# ---------------------------------------------------------------- zarr-python


@pytest.mark.parametrize("shards", [None, (20, 20)])
def test_array(store: ZarrStore, shards: tuple[int, int] | None) -> None:
    """What zarr-python writes, whole, in part and by other selections, it and zarrv3 read; missing chunks are fill values."""
    array = zarr.create_array(
        store, name="a", shape=(50, 40), chunks=(10, 10), shards=shards, dtype="f8", fill_value=-1
    )
    expected = np.full((50, 40), -1.0)
    np.testing.assert_array_equal(array[:], expected)
    for where in [np.s_[:25, :], np.s_[7, 3:33], np.s_[::3, ::7]]:
        array[where] = expected[where] = np.random.default_rng(1).random(expected[where].shape)
    array.oindex[[1, 49], :] = expected[[1, 49], :] = 7
    again = zarr.open_array(store, path="a", mode="r")
    np.testing.assert_array_equal(again[:], expected)
    np.testing.assert_array_equal(again[12:31:2, 5], expected[12:31:2, 5])
    np.testing.assert_array_equal(again.vindex[[0, 30], [39, 2]], expected[[0, 30], [39, 2]])
    np.testing.assert_array_equal(zarrv3.open_array(store.store, path="a")[:], expected)


def test_resize_append_and_erase(store: ZarrStore) -> None:
    """An array shrinks, grows and goes; chunks outside go with it, and chunks of fill values are not kept."""
    array = zarr.create_array(store, name="g/a", shape=(40,), chunks=(4,), dtype="i4", fill_value=0)
    array[:] = np.arange(1, 41)
    array.resize((10,))
    array.append(np.full(5, 9, "i4"))
    array.attrs["unit"] = "m"
    again = zarr.open_group(store, mode="a")["g/a"]
    assert isinstance(again, zarr.Array)
    np.testing.assert_array_equal(again[:], [*range(1, 11), 9, 9, 9, 9, 9])
    assert dict(again.attrs) == {"unit": "m"}
    assert sorted(store.store.list_prefix("g/a/c")) == [f"g/a/c/{i}" for i in range(4)]
    again[4:8] = 0
    assert "g/a/c/1" not in store.store
    assert again.nbytes_stored() == sum(size for _, size in store.store.list_sizes("g/a/"))
    del zarr.open_group(store, mode="a")["g"]
    assert not [key for key in store.store if key.startswith("g/a")]


@QUIET
def test_groups_and_consolidated_metadata(store: ZarrStore) -> None:
    """A tree is listed and walked alike with and without consolidated metadata, and zarrv3 sees it too."""
    root = zarr.open_group(store, mode="w", attributes={"title": "tree"})
    for name in ("one", "two"):
        group = root.create_group(name)
        group.create_array("x", shape=(4,), chunks=(2,), dtype="u1", dimension_names=["i"])[:] = [1, 2, 3, 4]
    plain = {path: type(node) for path, node in zarr.open_group(store, mode="r").members(max_depth=None)}
    assert sorted(plain) == ["one", "one/x", "two", "two/x"]
    zarr.consolidate_metadata(store)
    consolidated = zarr.open_consolidated(store)
    assert {path: type(node) for path, node in consolidated.members(max_depth=None)} == plain
    np.testing.assert_array_equal(consolidated["two/x"][:], [1, 2, 3, 4])  # type: ignore[index]
    ours = zarrv3.open_group(store.store)
    assert ours.attrs["title"] == "tree"
    assert sorted(ours) == ["one", "two"]


def test_modes(store: ZarrStore) -> None:
    """`mode` means what it means for zarr-python's own stores."""
    zarr.create_array(store, shape=(2,), dtype="i4")[:] = 1
    with pytest.raises(FileExistsError):
        zarr.open_array(store, mode="w-", shape=(3,), dtype="i4")
    assert zarr.open_array(store, mode="a", shape=(3,), dtype="i4").shape == (2,)
    reading = zarr.open_array(store, mode="r")
    with pytest.raises(ValueError, match="read-only"):
        reading[:] = 2
    assert zarr.open_array(store, mode="w", shape=(3,), dtype="i4").shape == (3,)
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_array(store.with_read_only(True), mode="w", shape=(3,), dtype="i4")
    np.testing.assert_array_equal(zarr.open_array(store, mode="r+")[:], [0, 0, 0])


def test_zarr_format_2(store: ZarrStore) -> None:
    """zarr-python's format 2 works over the bridge as well."""
    array = zarr.create_array(store, name="old", shape=(5,), chunks=(2,), dtype="i8", zarr_format=2)
    array[:] = np.arange(5)
    np.testing.assert_array_equal(
        zarr.open_array(store, path="old", mode="r", zarr_format=2)[:], np.arange(5)
    )


# ---------------------------------------------------------------- xarray and Dask


def dataset() -> xr.Dataset:
    """A small dataset with coordinates and attributes."""
    return xr.Dataset(
        {"t": (("time", "x"), numbers(6, 4), {"units": "K"})},
        {"time": np.arange("2020-01-01", "2020-01-07", dtype="M8[D]").astype("M8[ns]"), "x": [1, 2, 3, 4]},
        {"title": "test"},
    )


@QUIET
def test_xarray(store: ZarrStore) -> None:
    """A dataset is written, appended to, changed in a region and read back identical."""
    data = dataset()
    data.isel(time=slice(4)).to_zarr(store, mode="w", consolidated=True)
    data.isel(time=slice(4, 6)).to_zarr(store, append_dim="time")
    with xr.open_zarr(store) as found:
        xr.testing.assert_identical(found.load(), data)
    (data[["t"]].drop_vars(["time", "x"]) * 2).isel(time=slice(2)).to_zarr(
        store, region={"time": slice(0, 2)}
    )
    with xr.open_zarr(store, chunks=None) as found:
        np.testing.assert_array_equal(found["t"][:2], data["t"][:2] * 2)
        np.testing.assert_array_equal(found["t"][2:], data["t"][2:])


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_dask(store: ZarrStore, scheduler: str) -> None:
    """Dask writes and reads from many threads, straight and into an array that is there."""
    values = numbers(40, 30)
    with dask.config.set(scheduler=scheduler):
        blocks = da.from_array(values, chunks=(7, 11)).rechunk((10, 10))  # type: ignore[no-untyped-call]
        target = zarr.create_array(store, name="b", shape=(40, 30), chunks=(10, 10), dtype="f8")
        da.store(blocks, target, lock=False)  # type: ignore[no-untyped-call]
        read = da.from_zarr(zarr.open_array(store, path="b", mode="r"))  # type: ignore[no-untyped-call]
        np.testing.assert_array_equal(read.compute(), values)
        assert float((read + 1).sum().compute()) == values.sum() + values.size


@pytest.mark.parametrize(
    "opener",
    [*(pytest.param(n, marks=pytest.mark.slow) for n in ("sqlite", "directory", "redis"))],
    indirect=True,
)
def test_dask_in_processes(store: ZarrStore) -> None:
    """The store travels to worker processes by its configuration."""
    target = zarr.create_array(store, name="p", shape=(20, 20), chunks=(10, 10), dtype="f8")
    values = numbers(20, 20)
    with dask.config.set(scheduler="processes", num_workers=2):
        da.store(da.from_array(values, chunks=(10, 10)), target, lock=False)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(target[:], values)


# ---------------------------------------------------------------- what it costs

CHUNKS = 1000


@pytest.fixture
def counted(opener_of: Callable[[str], Opener], request: pytest.FixtureRequest) -> Iterator[Counting]:
    """A backend whose calls are counted."""
    with Counting(opener_of(request.param)()) as counting:
        yield counting


@pytest.mark.parametrize(
    ("counted", "compressed"), [("memory", False), ("directory", True)], indirect=["counted"]
)
def test_a_thousand_chunks(counted: Counting, compressed: bool) -> None:
    """With `async.concurrency` at 128, 1,000 chunks are written and read in at most a few dozen batches."""
    with zarr.config.set({"async.concurrency": 128}):
        array = zarr.create_array(
            as_zarr_store(counted),
            shape=(CHUNKS, 9),
            chunks=(1, 9),
            dtype="f8",
            compressors="auto" if compressed else None,
        )
        values = np.random.default_rng(3).random((CHUNKS, 9))
        counted.reset()
        array[:] = values
        assert counted.requested["write_many"] == CHUNKS
        assert counted.calls["write_many"] <= (100 if compressed else 8)
        counted.reset()
        np.testing.assert_array_equal(array[:], values)
    assert counted.requested == {"get_many": CHUNKS}
    assert counted.calls["get_many"] <= (100 if compressed else 8)


def test_redis_commands(served: Callable[[str], str]) -> None:
    """A thousand chunks cost a real Redis a few dozen commands: counted by the server."""
    with open_store(served("redis")) as below:
        below.clear()
        with (
            zarr.config.set({"async.concurrency": 128}),
            redis.Redis.from_url(served("redis").partition("?")[0]) as client,
        ):
            array = zarr.create_array(
                as_zarr_store(below), shape=(CHUNKS, 9), chunks=(1, 9), dtype="f8", compressors=None
            )
            array[:] = 1.5
            client.config_resetstat()
            assert float(array[:].sum()) == 1.5 * 9 * CHUNKS
            stats = client.info("commandstats")
    commands = {name: stat["calls"] for name, stat in stats.items() if not name.startswith("cmdstat_config")}
    assert sum(commands.values()) <= 40, commands
