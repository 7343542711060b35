"""On a cluster of processes, over stores that several processes use at once."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

import zarrv3
from zarrv3.errors import UnsupportedError
from zarrv3.store.base import BaseStore
from zarrv3_bridge_dask import from_dask, to_dask, write_dask

pytestmark = pytest.mark.filterwarnings(
    "ignore:Sending large graph:UserWarning",  # the graphs are small, the documents in them count
)

New = Callable[[str], BaseStore]

backends = pytest.mark.parametrize("backend", ["directory", "sqlite", "redis", "postgresql"])


def numbers(shape: tuple[int, ...], chunks: tuple[int, ...]) -> da.Array:
    """A dask array in which every element is its own place, made by the workers."""
    return da.arange(int(np.prod(shape)), chunks=-1, dtype="i8").reshape(shape).rechunk(chunks)


@backends
def test_parallel_write_and_rechunk(backend: str, client: Client, new_store: New) -> None:
    """Workers write an array in parallel, each chunk has its values, and another store gets it in other chunks."""
    expected = np.arange(60 * 40).reshape(60, 40)
    store = new_store(backend)
    array = from_dask(numbers((60, 40), (20, 10)), store, "group/first", chunks=(10, 10))
    reopened = zarrv3.open_array(store, path="group/first", mode="r")
    assert reopened.nchunks_initialized == reopened.nchunks == 24
    for row in range(6):
        for column in range(4):
            wanted = expected[10 * row : 10 * row + 10, 10 * column : 10 * column + 10]
            np.testing.assert_array_equal(reopened.blocks[row, column], wanted)

    other = new_store(
        {"directory": "redis", "redis": "sqlite", "sqlite": "postgresql"}.get(backend, "directory")
    )
    from_dask(to_dask(array), other, chunks=(15, 20), rechunk=True)
    np.testing.assert_array_equal(zarrv3.open_array(other, mode="r")[...], expected)
    workers = client.run(os.getpid)
    assert len(set(workers.values())) == 2
    assert os.getpid() not in workers.values()


def test_larger_than_a_worker(client: Client, new_store: New) -> None:
    """The sum of an array is right that is larger than all workers may hold together."""
    blocks = 110

    def in_blocks(
        _: int, block_info: Any = None
    ) -> Any:  # in here it is pickled by value: workers cannot import tests
        own = block_info[None]
        return np.full(own["chunk-shape"], own["chunk-location"][0], "f8")

    source = da.map_blocks(
        in_blocks, 0, chunks=((1024,) * blocks, (1024,)), dtype="f8", meta=np.empty((0, 0))
    )
    array = from_dask(source, new_store("directory"))
    limits = [worker["memory_limit"] for worker in client.scheduler_info()["workers"].values()]
    assert len(limits) == 2
    assert array.nbytes > sum(limits)
    assert float(to_dask(array).sum().compute()) == 1024 * 1024 * sum(range(blocks))


@pytest.mark.parametrize(
    "backend",
    [
        "directory",
        "redis",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "postgresql")),
    ],
)
def test_killed_in_the_middle_of_a_write(
    backend: str, client: Client, new_store: New, tmp_path: Path
) -> None:
    """A worker that is killed when half of a block's chunks are stored: the block is written again, all is right."""
    flag = tmp_path / "killed"

    class KilledOnce(zarrv3.Layer):
        """Kills its process at the first write of several chunks, after half of them."""

        kind = "killed-once"

        def __init__(self, store: object, flag: str) -> None:
            super().__init__(store, flag=flag)

        def write_many(self, items: Mapping[str, Any], /) -> None:
            names = [*items]
            if len(names) < 4:
                self.inner.write_many(items)
                return
            self.inner.write_many({name: items[name] for name in names[:2]})
            try:
                os.close(os.open(self.given_options["flag"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                self.inner.write_many({name: items[name] for name in names[2:]})
            else:
                os.kill(os.getpid(), signal.SIGKILL)

        def swap_many(self, swaps: Any, /) -> Any:
            """Passed on."""
            return self.inner.swap_many(swaps)

        def apply_many(self, changes: Any, /) -> None:
            """Passed on."""
            self.inner.apply_many(changes)

    opened = new_store(backend)
    store = KilledOnce(opened, str(flag))
    from_dask(numbers((40, 40), (20, 20)), store, chunks=(10, 10))
    assert flag.exists()  # written by the worker as its last act
    expected = np.arange(1600).reshape(40, 40)
    array = zarrv3.open_array(opened, mode="r")
    assert array.nchunks_initialized == 16
    np.testing.assert_array_equal(array[...], expected)


@pytest.mark.usefixtures("quiet")
def test_memory_does_not_leave_its_process(client: Client) -> None:
    """Reading from and writing to this process's memory by workers is refused, where they would find an empty store."""
    array = zarrv3.create_array("memory://here", data=np.arange(10), chunks=5, overwrite=True)
    with pytest.raises(TypeError, match="serialize"):  # distributed's; it logs ours
        to_dask(array).sum().compute()
    with pytest.raises(UnsupportedError, match="cannot be used by several processes"):
        write_dask(da.zeros(10, chunks=5, dtype="i8"), array)
    np.testing.assert_array_equal(array[...], np.arange(10))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Logging off: dask logs the graphs that it cannot pickle, in a form that logging cannot print."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_blocks_that_share_chunks(client: Client, new_store: New) -> None:
    """Processes that write parts of one chunk lose nothing where the store can swap: every element is as it was written."""
    store = new_store("directory")
    assert store.capabilities.swap
    array = zarrv3.create_array(store, name="c", shape=(60, 60), dtype="i8", chunks=(40, 40))
    sharded = zarrv3.create_array(store, name="s", shape=(60, 60), dtype="i8", chunks=(5, 5), shards=(40, 40))
    expected = np.arange(1, 3601).reshape(60, 60)
    for target in (array, sharded):
        write_dask(numbers((60, 60), (13, 17)) + 1, target)
        np.testing.assert_array_equal(target[...], expected)
        da.store(numbers((60, 60), (17, 13)) * 2, target, lock=False)
        np.testing.assert_array_equal(target[...], (expected - 1) * 2)
    fresh = from_dask(numbers((60, 60), (13, 17)) + 1, store, "new", chunks=(40, 40))
    np.testing.assert_array_equal(fresh[...], expected)
    odd = from_dask(da.arange(1000, chunks=((1, 499, 500),)), store, "odd")
    np.testing.assert_array_equal(odd[...], np.arange(1000))


def test_as_they_are(client: Client, new_store: New) -> None:
    """Arrays work in `da.from_array`, `da.store` and `map_blocks` without any of our functions."""
    store = new_store("directory")
    one = zarrv3.create_array(store, name="one", data=np.arange(100).reshape(10, 10), chunks=(5, 5))
    two = zarrv3.create_array(store, name="two", shape=(10, 10), dtype="i8", chunks=(5, 5))
    doubled = da.from_array(one, chunks=one.chunks).map_blocks(lambda block: block * 2)
    da.store(doubled, two, lock=False)
    np.testing.assert_array_equal(two[...], one[...] * 2)


def test_copy_by_workers(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster re-chunks in two passes for `zarrv3.copy`, and a worker that is killed meanwhile loses nothing."""
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    data = np.arange(256 * 64, dtype="i4").reshape(256, 64) + 1
    zarrv3.create_array(tmp_path / "rows", data=data, chunks=(1, 64), compressors=None)
    pids = client.run(os.getpid)
    told: list[int] = []

    def kill_one(done: int, _: int | None) -> None:
        told.append(done)
        if len(told) == 4:
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    report = zarrv3.copy(
        tmp_path / "rows",
        tmp_path / "columns",
        chunks=(256, 1),
        memory="8KiB",
        executor=client.get_executor(),
        progress=kill_one,
    )
    assert report.chunks == 64
    assert len(told) > 10
    copied = zarrv3.open_array(tmp_path / "columns", mode="r")
    assert copied.chunks == (256, 1)
    np.testing.assert_array_equal(copied[:], data)
    assert not [*temporary.iterdir()]
    with pytest.raises(UnsupportedError, match="several processes at once"):
        zarrv3.copy(tmp_path / "rows", "memory:", executor=client.get_executor())
