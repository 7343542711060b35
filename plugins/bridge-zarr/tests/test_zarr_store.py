"""`ZarrStore` beyond what zarr-python's suite asks: ranges, synchronous calls, life, listings, description."""

import asyncio
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype

from zarrv3 import BaseStore, MemoryStore
from zarrv3.errors import ConfigurationError, StoreClosedError, StoreUnavailableError, UnsupportedError
from zarrv3.layers.base import Layer
from zarrv3.layers.counting import Counting
from zarrv3.store.contract import Capabilities
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore
from zarrv3.testing import Faults
from zarrv3_bridge_zarr import ZarrStore, as_zarr_store
from zarrv3_bridge_zarr import store as module

PROTOTYPE = default_buffer_prototype()
FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"
COUNT = st.integers(0, 12)
REQUESTS = st.one_of(
    st.none(),
    st.tuples(COUNT, COUNT).map(lambda both: RangeByteRequest(min(both), max(both))),
    COUNT.map(OffsetByteRequest),
    COUNT.map(SuffixByteRequest),
)


def buffer(value: bytes) -> Buffer:
    """A value as zarr-python passes it."""
    return cpu.Buffer.from_bytes(value)


def part(value: bytes, wanted: Any) -> bytes:
    """What a byte request means."""
    if isinstance(wanted, RangeByteRequest):
        return value[wanted.start : wanted.end]
    if isinstance(wanted, OffsetByteRequest):
        return value[wanted.offset :]
    return value if wanted is None else value[max(0, len(value) - wanted.suffix) :]


class Limited(Layer):
    """A store without some capabilities."""

    kind = "limited"

    def __init__(self, store: object, lost: tuple[str, ...] = ()) -> None:
        super().__init__(store, lost=lost)
        self.lost = lost

    @property
    def capabilities(self) -> Capabilities:
        """What is left."""
        return self.inner.capabilities.without(*self.lost)


class Ranged(Layer):
    """A store that claims ranges of its own."""

    kind = "ranged"

    @property
    def capabilities(self) -> Capabilities:
        """Reads, writes and ranges."""
        return replace(self.inner.capabilities, native_ranges=True)


# ---------------------------------------------------------------- ranges


@given(value=st.binary(max_size=10), wanted=st.lists(REQUESTS, max_size=5))
@pytest.mark.parametrize("wrap", [Limited, Ranged])
def test_every_byte_request(wrap: Callable[[object], BaseStore], value: bytes, wanted: list[Any]) -> None:
    """Each kind of request, by each method, is the part that it names, clipped to the value."""
    store = ZarrStore(wrap(MemoryStore({"k": value})))
    expected = [part(value, one) for one in wanted]

    async def ask() -> None:
        single = [await store.get("k", PROTOTYPE, one) for one in wanted]
        many = await store.get_partial_values(PROTOTYPE, [("k", one) for one in wanted])
        groups = [group async for group in store.get_ranges("k", wanted, prototype=PROTOTYPE)]
        named = [pair async for pair in store._get_many([("k", PROTOTYPE, one) for one in wanted])]
        for found in (
            single,
            many,
            [pair[1] for group in groups for pair in group],
            [pair[1] for pair in named],
        ):
            assert [None if one is None else one.to_bytes() for one in found] == expected
        assert [pair[0] for group in groups for pair in group] == [*range(len(wanted))]

    asyncio.run(ask())
    at_once = store.get_ranges_sync("k", wanted, prototype=PROTOTYPE)
    assert [(i, one.to_bytes()) for i, one in at_once if one is not None] == [*enumerate(expected)]
    singly = [store.get_sync("k", byte_range=one) for one in wanted]
    assert [one.to_bytes() for one in singly if one is not None] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        (0, 2),
        3,
        RangeByteRequest(-1, 3),
        OffsetByteRequest(-1),
        SuffixByteRequest(-1),
        RangeByteRequest(0, -2),
    ],
)
async def test_a_wrong_byte_request_is_refused(wrong: Any) -> None:
    """What is not a byte request of zarr-python, or is negative, is an error and not another part of the value."""
    store = ZarrStore(MemoryStore({"k": b"value"}))
    with pytest.raises(ValueError, match="Unexpected byte_range, got"):
        await store.get("k", PROTOTYPE, wrong)


@pytest.mark.parametrize(("wrap", "requested"), [(Limited, 1), (Ranged, 3)])
async def test_parts_of_a_value_cost_one_call(wrap: Callable[[object], BaseStore], requested: int) -> None:
    """Parts of one value are one batch; where a part costs what the whole costs, the whole is fetched once."""
    counting = Counting(wrap(MemoryStore({"k": b"0123456789"})))
    store = ZarrStore(counting)
    parts = [RangeByteRequest(0, 2), SuffixByteRequest(3), None]
    assert [group async for group in store.get_ranges("k", parts, prototype=PROTOTYPE)]
    assert store.get_ranges_sync("k", parts, prototype=PROTOTYPE)
    assert counting.calls == {"get_many": 2}
    assert counting.requested == {"get_many": 2 * requested}


async def test_parts_of_a_missing_value() -> None:
    """As zarr-python's own stores do, reading parts of a missing key, or failing, raises a group of errors."""
    store = ZarrStore(MemoryStore())
    with pytest.raises(ExceptionGroup) as caught:
        [group async for group in store.get_ranges("k", [None], prototype=PROTOTYPE)]
    assert caught.group_contains(FileNotFoundError, match="k")
    with pytest.raises(ExceptionGroup) as caught:
        store.get_ranges_sync("k", [None, None], prototype=PROTOTYPE)
    assert caught.group_contains(FileNotFoundError, match="k")


# ---------------------------------------------------------------- creating


@pytest.mark.parametrize("lost", [(), ("swap",)])
async def test_of_many_creators_one_wins(lost: tuple[str, ...]) -> None:
    """A key is created once, whoever asks; where the store can, that is one atomic call."""
    counting = Counting(Limited(MemoryStore(), lost))
    store = ZarrStore(counting)
    await asyncio.gather(*(store.set_if_not_exists("k", buffer(b"%d" % i)) for i in range(9)))
    assert store.store["k"] == b"0"
    assert counting.calls["swap_many"] == (0 if lost else 9)


async def test_failing_to_create_is_told() -> None:
    """An error of one creation reaches its caller."""
    store = ZarrStore(Faults(MemoryStore(), rate=1.0, seed=1))
    with pytest.raises(StoreUnavailableError):
        await store.set_if_not_exists("k", buffer(b"v"))


# ---------------------------------------------------------------- what it can do


async def test_capabilities_decide() -> None:
    """What the store below cannot do is told by the properties of zarr-python and refused."""
    store = ZarrStore(Limited(MemoryStore({"k": b"v"}), ("write", "erase", "list")))
    assert (store.supports_writes, store.supports_deletes, store.supports_listing) == (False, False, False)
    assert store.read_only
    assert store.with_read_only(False).read_only
    with pytest.raises(ValueError, match="read-only"):
        await store.set("k", buffer(b"new"))
    with pytest.raises(UnsupportedError):
        async for _ in ZarrStore(_unlistable()).list():
            pass


def _unlistable() -> BaseStore:
    driver = MemoryDriver({"k": b"v"})
    driver.capabilities = MemoryDriver.capabilities.without("list")
    return DriverStore(driver)


async def test_refused_values() -> None:
    """A value is a buffer of zarr-python, and is never written in parts."""
    store = ZarrStore(MemoryStore())
    with pytest.raises(TypeError, match="bytes"):
        await store.set("k", b"v")  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        await store.set_partial_values([("k", 0, b"v")])
    with pytest.raises(ConfigurationError, match="as_zarr_store"):
        ZarrStore("memory:")  # type: ignore[arg-type]


# ---------------------------------------------------------------- listing


async def test_listings_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long listing is fetched page by page, each key once; a listing that is left early leaves nothing behind."""
    monkeypatch.setattr(module, "PAGE", 7)
    keys = {f"a/{i}" for i in range(50)} | {"b/c/d", "top"}
    store = ZarrStore(MemoryStore(dict.fromkeys(keys, b"v")))
    assert sorted([key async for key in store.list()]) == sorted(keys)
    assert [key async for key in store.list_prefix("b/c/")] == ["b/c/d"]
    assert [key async for key in store.list_prefix("/")] == []
    assert [name async for name in store.list_dir("b")] == ["c"]
    assert sorted([name async for name in store.list_dir("/")]) == ["a", "b", "top"]
    async for key in store.list():
        assert key in keys
        break


async def test_a_name_that_is_key_and_folder_is_listed_once() -> None:
    """zarr-python wants names, so a key and a folder of one name are one."""
    store = ZarrStore(MemoryStore({"a": b"v", "a/b": b"v"}))
    assert [name async for name in store.list_dir("")] == ["a"]


# ---------------------------------------------------------------- synchronous


@pytest.mark.skipif(
    tuple(map(int, zarr.__version__.split(".")[:2])) < (3, 4), reason="zarr-python has no fused pipeline"
)
@pytest.mark.parametrize("sync_io", [True, False])
def test_fused_pipeline(sync_io: bool) -> None:
    """The fused pipeline takes its fast path over the bridge, unless that is declined: then it is served in batches."""
    counting = Counting(MemoryStore())
    values = np.arange(1000.0).reshape(100, 10)
    with zarr.config.set({"codec_pipeline.path": FUSED, "async.concurrency": 128}):
        array = zarr.create_array(
            as_zarr_store(counting, sync_io=sync_io), name="a", shape=(100, 10), chunks=(1, 10), dtype="f8"
        )
        array[:] = values
        sharded = zarr.create_array(
            as_zarr_store(counting, sync_io=sync_io),
            name="s",
            shape=(100, 10),
            chunks=(5, 5),
            shards=(20, 10),
            dtype="f8",
        )
        sharded[:] = values
        sharded[3:9, 4:] = values[3:9, 4:] = -1
        np.testing.assert_array_equal(sharded[7:44, 3], values[7:44, 3])
        np.testing.assert_array_equal(sharded[:], values)
        counting.reset()
        array[3:9, 4:] = -1
        np.testing.assert_array_equal(array[:], values)
    assert (counting.calls["get_many"] >= 100) == sync_io


# ---------------------------------------------------------------- life


async def test_closing() -> None:
    """Closing closes the store below; a copy made by `with_read_only` leaves it open."""
    below = MemoryStore({"k": b"v"})
    store = await ZarrStore.open(below)
    copy = store.with_read_only(True)
    copy.close()
    assert await store.exists("k")
    store.close()
    with pytest.raises(StoreClosedError):
        below["k"]


async def test_opening_what_is_closed() -> None:
    """A store that cannot be opened is not open, and says why."""
    below = MemoryStore()
    below.close()
    for opening in (ZarrStore(below)._open, ZarrStore(below)._ensure_open):
        with pytest.raises(StoreClosedError):
            await opening()
    store = ZarrStore(below)
    with pytest.raises(StoreClosedError):
        await store._open()
    assert not store._is_open


async def test_opening_twice_at_once() -> None:
    """Many tasks may find the store not open and open it."""
    store = ZarrStore(MemoryStore())
    await asyncio.gather(*(store._ensure_open() for _ in range(9)))
    assert store._is_open


def test_description_and_pickle(tmp_path: Path) -> None:
    """No text shows a secret; a pickled store is the same store in the same mode."""
    secret = as_zarr_store("memory://x?dimension_separator=.", read_only=True)
    assert str(secret) == secret.store.describe()
    store = as_zarr_store(str(tmp_path), read_only=True, sync_io=False)
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert copy.read_only
    assert not copy._supports_sync_io
    assert store != store.with_read_only(False)
    assert store != ZarrStore(MemoryStore())
    assert isinstance(store, Store)
    with pytest.raises(TypeError):
        hash(store)


def test_options_go_to_the_store(tmp_path: Path) -> None:
    """`as_zarr_store` takes what `open_store` takes."""
    store = as_zarr_store(str(tmp_path / "data"), normalize_keys=True)
    store.set_sync("Foo", buffer(b"v"))
    assert store.get_sync("fOO") is not None
    store.delete_sync("foo")
    assert store.get_sync("Foo") is None


async def test_the_empty_key() -> None:
    """The key of nothing is missing, as in zarr-python's own stores: it reads as nothing and is erased without an error."""
    inner = MemoryStore({"k": b"v"})
    store = as_zarr_store(inner)
    assert await store.get("", default_buffer_prototype()) is None
    assert not await store.exists("")
    await store.delete("")
    store.delete_sync("")
    assert dict(inner) == {"k": b"v"}
