"""The way back: stores of zarr-python, obstore and icechunk as stores of zarrv3."""

import asyncio
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import icechunk
import numpy as np
import obstore.store
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import FsspecStore, LocalStore, LoggingStore, MemoryStore, ObjectStore, ZipStore

import zarrv3
from zarrv3 import ByteRange
from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreAccessError,
    StoreClosedError,
    UnsupportedError,
)
from zarrv3.testing import InterruptConformance, StoreConformance
from zarrv3.testing.checks.table import Opener
from zarrv3_bridge_zarr import ForeignStore, as_zarr_store, from_zarr_store
from zarrv3_bridge_zarr.loop import LOOP


def local(folder: Path) -> Opener:
    """A folder through zarr-python's own store."""
    return lambda: from_zarr_store(LocalStore(folder), persistent=True)


def memory(_: Path) -> Opener:
    """Memory through zarr-python's own store."""
    content: dict[str, Any] = {}
    return lambda: from_zarr_store(MemoryStore(content))


def object_memory(_: Path) -> Opener:
    """Memory through obstore."""
    inner = obstore.store.MemoryStore()
    return lambda: from_zarr_store(ObjectStore(inner))


def object_local(folder: Path) -> Opener:
    """A folder through obstore, whose threads do not survive the forks of the tests for shared stores."""
    folder.mkdir()
    return lambda: from_zarr_store(ObjectStore(obstore.store.LocalStore(folder)))


def there_and_back(folder: Path) -> Opener:
    """A folder of ours, presented to zarr-python and taken back: every call passes both bridges."""
    return lambda: from_zarr_store(as_zarr_store(str(folder)), persistent=True)


class _Conformance(StoreConformance):
    """The kit over one foreign store."""

    examples = 5
    kills = 20
    make: Callable[[Path], Opener]

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """What opens the same place each time."""
        return type(self).make(tmp_path / "data")


class TestThereAndBack(InterruptConformance, _Conformance):
    """Both bridges lose nothing."""

    make = staticmethod(there_and_back)


@pytest.mark.slow
class TestLocal(InterruptConformance, _Conformance):
    """`zarr.storage.LocalStore`."""

    make = staticmethod(local)

    @pytest.mark.xfail(
        reason="LocalStore lists the temporary files of writers that were killed", strict=False
    )
    def test_killed_writers(self, opener: Opener) -> None:
        """As the kit says."""
        self.run_check("killed_writers", opener)


@pytest.mark.slow
class TestMemory(InterruptConformance, _Conformance):
    """`zarr.storage.MemoryStore`."""

    make = staticmethod(memory)


@pytest.mark.slow
class TestObjectMemory(_Conformance):
    """obstore in memory."""

    make = staticmethod(object_memory)


class TestObjectLocal(_Conformance):
    """obstore in a folder."""

    make = staticmethod(object_local)


# ---------------------------------------------------------------- VirtualiZarr


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_virtual_stores(tmp_path: Path) -> None:
    """An HDF5 file behind VirtualiZarr's store is listed, read and copied, though it lists folders only, and not those of chunks."""
    with warnings.catch_warnings():  # of libraries about each other
        warnings.simplefilter("ignore")
        from obspec_utils.registry import ObjectStoreRegistry
        from virtualizarr.parsers import HDFParser
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=np.arange(400.0).reshape(20, 20), chunks=(5, 20), compression="gzip")
        file.create_dataset("holes", shape=(20,), chunks=(5,), dtype="i4", fillvalue=7)[0] = 1
        file["g/small"] = np.arange(5)
    registry = ObjectStoreRegistry({"file://": obstore.store.LocalStore()})
    store = from_zarr_store(HDFParser()(url=path.as_uri(), registry=registry))
    group = zarrv3.open_group(store, mode="r")
    assert [name for name, _ in group.members(None)] == ["d", "g", "g/small", "holes"]
    assert [key for key in store if key.startswith("holes/c")] == ["holes/c/0"]
    copied = zarrv3.MemoryStore()
    zarrv3.copy(store, copied)
    for there in (group, zarrv3.open_group(copied, mode="r")):
        assert there["holes"][:].tolist() == [1, *[7] * 19]
        assert there["d"][7].tolist() == [*range(140, 160)]
    path.rename(tmp_path / "gone")
    with pytest.raises(StoreAccessError, match="not found"):  # what cannot be read is not a missing chunk
        group["d"][:]


# ---------------------------------------------------------------- arrays


def test_icechunk(tmp_path: Path) -> None:
    """Arrays are written and read through an icechunk session, and a commit is seen by the next one."""
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path)))
    session = repository.writable_session("main")
    with from_zarr_store(session.store) as store:
        array = zarrv3.create_array(store, shape=(30, 20), chunks=(7, 6), dtype="f8", name="a")
        values = np.arange(600.0).reshape(30, 20)
        array[:] = values
        session.commit("written by zarrv3")
    with from_zarr_store(repository.readonly_session("main").store) as store:
        assert not store.capabilities.write
        assert store.capabilities.list
        found = zarrv3.open_array(store, path="a", mode="r")
        np.testing.assert_array_equal(found[:], values)
        np.testing.assert_array_equal(found[3:29:4, 5], values[3:29:4, 5])
        assert sum(1 for key in store if key.startswith("a/c/")) == 20
        with pytest.raises(ReadOnlyError):
            store["a/zarr.json"] = b"{}"
    written = zarr.open_array(repository.readonly_session("main").store, path="a", mode="r")
    np.testing.assert_array_equal(written[:], values)


def test_ranges_in_icechunk() -> None:
    """A range that begins at or behind the end of a chunk is empty: icechunk 1 answers with the last byte."""
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    store = from_zarr_store(repository.writable_session("main").store)
    zarrv3.create_array(store, shape=(4,), chunks=(4,), dtype="u1", compressors=None)[:] = [1, 2, 3, 4]
    for wanted in (
        ByteRange(4),
        ByteRange(4, 8),
        ByteRange(9),
        ByteRange(3),
        ByteRange(3, 9),
        ByteRange(0, 1),
    ):
        [found] = store.get_many([zarrv3.Request("c/0", wanted)])
        assert found == bytes([1, 2, 3, 4])[wanted.start : wanted.stop], wanted


def test_hierarchies_in_icechunk() -> None:
    """Nodes are listed, copied, re-chunked, moved, overwritten and erased in Icechunk, which takes only what is Zarr's."""
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    store = from_zarr_store(repository.writable_session("main").store)
    source = zarrv3.group()
    source.create_array("a/x", data=np.arange(10), chunks=4)
    source.create_array("y", data=[1, 2])
    assert zarrv3.copy(source, store, dest_path="in").documents == 4
    assert zarrv3.copy(source, store, dest_path="cut", chunks=lambda x: (5,), verify=True).recoded == 2
    group = zarrv3.open_group(store)
    assert [path for path, _ in group.members(None)] == [
        *("cut", "cut/a", "cut/a/x", "cut/y"),
        *("in", "in/a", "in/a/x", "in/y"),
    ]
    np.testing.assert_array_equal(group["in/a/x"][:], np.arange(10))
    group.move("cut/a", "moved")
    np.testing.assert_array_equal(group["moved/x"][:], np.arange(10))
    assert group["moved/x"].chunks == (5,)
    assert [*store.list_prefix("cut/")] == ["cut/zarr.json", "cut/y/zarr.json", "cut/y/c/0"]
    assert [*store.list_prefix("cut/y/c/")] == ["cut/y/c/0"]
    assert [*store.list_prefix("no/")] == []
    zarrv3.create_array(store, name="in/y", data=[3], overwrite=True)
    del group["moved"]
    assert sorted(group) == ["cut", "in"]
    assert group["in/y"][:].tolist() == [3]
    assert zarrv3.verify(store).problems == ()


def test_caches_of_fsspec(tmp_path: Path) -> None:
    """Over a cache of fsspec a store is read-only, since a partial write would bring back what is old."""
    zarrv3.create_array(str(tmp_path), data=[1, 2])
    url = f"simplecache::{tmp_path.as_uri()}"
    store = from_zarr_store(LoggingStore(FsspecStore.from_url(url)))
    assert zarrv3.open_array(store)[:].tolist() == [1, 2]
    with pytest.raises(ReadOnlyError):
        store["k"] = b"v"


@pytest.mark.parametrize("make", [local, memory, object_memory, object_local, there_and_back])
def test_arrays(make: Callable[[Path], Opener], tmp_path: Path) -> None:
    """zarrv3 writes an array into a foreign store, in part and whole, and zarr-python reads it from there."""
    with make(tmp_path / "data")() as store:
        array = zarrv3.create_array(store, shape=(30, 20), chunks=(7, 6), dtype="i4", name="g/a")
        values = np.arange(600, dtype="i4").reshape(30, 20)
        array[:] = values
        array[3:5, ::2] = values[3:5, ::2] = -1
        theirs = zarr.open_array(store.option("store"), path="g/a", mode="r")  # type: ignore[attr-defined]
        np.testing.assert_array_equal(theirs[:], values)
        np.testing.assert_array_equal(zarrv3.open_array(store, path="g/a")[10:, 3], values[10:, 3])


# ---------------------------------------------------------------- ranges


class Strict(MemoryStore):
    """A store that answers a range beyond the value with an error, as servers do."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """A value or part of one."""
        whole = await super().get(key, prototype)
        end = getattr(byte_range, "end", getattr(byte_range, "offset", getattr(byte_range, "suffix", 0)))
        if byte_range is not None and whole is not None and end > len(whole):
            raise OSError("416 range not satisfiable")
        return await super().get(key, prototype, byte_range)


BOUND = st.integers(-12, 12)
RANGES = st.one_of(st.none(), st.builds(ByteRange, BOUND, st.one_of(st.none(), BOUND)))


@pytest.mark.parametrize("cls", [MemoryStore, Strict])
@given(value=st.binary(max_size=8), wanted=RANGES)
def test_every_range_is_a_slice(cls: type[MemoryStore], value: bytes, wanted: ByteRange | None) -> None:
    """Whatever the foreign store makes of a range, the answer is Python's slice."""
    store = from_zarr_store(cls())
    store["k"] = value
    expected = value if wanted is None else value[wanted.start : wanted.stop]
    assert [None if v is None else bytes(v) for v in store.get_many([("k", wanted), ("none", wanted)])] == [
        expected,
        None,
    ]


# ---------------------------------------------------------------- what it is


def test_erasing_a_key_spares_the_folder_of_that_name(tmp_path: Path) -> None:
    """`LocalStore.delete` of a folder removes all in it; ours removes keys only."""
    store = from_zarr_store(LocalStore(tmp_path))
    store["a/b"] = b"kept"
    store.write_many({"a": None, "none": None})
    assert store["a/b"] == b"kept"


def test_a_store_that_cannot_write(tmp_path: Path) -> None:
    """What the foreign store refuses is not claimed and not tried."""
    with ZipStore(tmp_path / "a.zip", mode="w") as archive:
        from_zarr_store(archive)["k"] = b"v"
    with from_zarr_store(ZipStore(tmp_path / "a.zip", mode="r")) as store:
        assert not store.capabilities.write
        assert dict(store.items()) == {"k": b"v"}
        with pytest.raises(ReadOnlyError):
            store["k"] = b"new"
    with from_zarr_store(ZipStore(tmp_path / "a.zip", mode="a")) as store:
        assert not store.capabilities.erase
        with pytest.raises(UnsupportedError):
            store.write_many({"k": None})


def test_nothing_is_claimed_that_nobody_knows(tmp_path: Path) -> None:
    """No method of a foreign store tells who was first, nor who else sees its values: the latter is claimed as it is told."""
    store = from_zarr_store(MemoryStore())
    can = store.capabilities
    assert (can.write, can.erase, can.list) == (True, True, True)
    assert (can.swap, can.transactions, can.shared, can.persistent, can.durable) == (False,) * 5
    can = from_zarr_store(LocalStore(tmp_path), persistent=True).capabilities
    assert (can.shared, can.persistent, can.durable) == (True, True, True)
    with pytest.raises(UnsupportedError):
        store.swap_many({"k": (None, b"v")})
    assert "k" not in store


def test_options(tmp_path: Path) -> None:
    """It is pickled and compared by the foreign store; wrong options are refused; a live store has no spec."""
    store = from_zarr_store(LocalStore(tmp_path), concurrency=3)
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    copy["k"] = b"v"
    assert store["k"] == b"v"
    assert store != from_zarr_store(LocalStore(tmp_path / "other"))
    assert repr(store) == "<ForeignStore(LocalStore)>"
    with pytest.raises(ConfigurationError, match="live object"):
        store.spec()
    with pytest.raises(ConfigurationError, match="takes a store of zarr-python"):
        ForeignStore("memory:")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="concurrency"):
        from_zarr_store(LocalStore(tmp_path), concurrency=0)
    store.close()
    with pytest.raises(StoreClosedError):
        store["k"]


class Crowded(MemoryStore):
    """Counts how many reads are under way at once."""

    now = most = 0

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """A value, after others had their chance to begin."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return await super().get(key, prototype, byte_range)


@pytest.mark.parametrize("concurrency", [1, 7, 100])
def test_a_batch_is_concurrent_and_bounded(concurrency: int) -> None:
    """The keys of a batch are asked for at once, as many as allowed."""
    inner = Crowded()
    store = from_zarr_store(inner, concurrency=concurrency)
    assert store.get_many([(f"k/{i}", None) for i in range(50)]) == [None] * 50
    assert inner.most == min(concurrency, 50)


class Failing(MemoryStore):
    """Fails for one key, and says when another one has been stored."""

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        """Store, or fail."""
        if key == "bad":
            raise RuntimeError("full")
        await super().set(key, value)


def test_a_failure_is_ours_and_waits_for_the_rest() -> None:
    """An error names the key and the store; what was begun beside it has ended when it is raised."""
    store = from_zarr_store(Failing())
    with pytest.raises(StoreAccessError, match=r"'bad' .*ForeignStore\(Failing\): full"):
        store.write_many({"bad": b""} | {f"k/{i}": b"v" for i in range(20)})
    assert len(store) == 20


def test_from_the_thread_of_a_loop() -> None:
    """A store of ours over a foreign one works within zarr-python's own loop: the loops do not wait for each other."""
    nested = as_zarr_store(from_zarr_store(as_zarr_store(from_zarr_store(MemoryStore()))))
    array = zarr.create_array(nested, shape=(100,), chunks=(1,), dtype="i4")
    array[:] = np.arange(100)
    np.testing.assert_array_equal(array[:], np.arange(100))


def test_the_loop_starts_again() -> None:
    """After the thread has been stopped, the next call starts another one."""
    store = from_zarr_store(MemoryStore())
    store["k"] = b"v"
    LOOP.stop()
    LOOP.stop()
    assert store["k"] == b"v"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_loop_of_its_own(tmp_path: Path) -> None:
    """A store that was used before a fork works in the child."""
    store = from_zarr_store(LocalStore(tmp_path))
    store["parent"] = b"p"
    child = os.fork()
    if not child:
        try:
            store["child"] = store["parent"] + b"c"
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert store["child"] == b"pc"
