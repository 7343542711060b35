"""xarray's own tests of its engine `zarr`, run on ours: whatever they write goes to `to_zarrv3`, whatever they open to our engine.

`EXPECTED` lists those that fail here, each with its reason; one that passes all the same fails the run.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
import xarray as xr
import zarr
from xarray.backends import plugins
from xarray.tests import test_backends, test_backends_datatree
from xarray.tests.conftest import create_test_datatree, simple_datatree, time_unit, use_dask
from xarray.tests.test_backends_datatree import unaligned_datatree_zarr_factory

import zarrv3
import zarrv3.errors
from zarrv3_bridge_xarray import ZarrV3Backend, to_zarrv3
from zarrv3_bridge_zarr import as_zarr_store

__all__ = [
    "create_test_datatree",
    "simple_datatree",
    "time_unit",
    "unaligned_datatree_zarr_factory",
    "use_dask",
]

COUNTS = "counts calls of methods of zarr's own classes"
SHARES = "blocks may share a chunk where the store swaps values, and uneven blocks get chunks that fit them"
CODECS = "codecs of an encoding are JSON, which both engines take, and not objects of zarr's"
SILENT = "documents are read from where they are without a warning"
EXPECTED = {
    "test_async_load_multiple_variables": COUNTS,
    "test_avoid_excess_metadata_calls": COUNTS,
    "test_chunk_encoding_with_dask": SHARES,
    "test_compressor_encoding": CODECS,
    "test_concurrent_load_multiple_objects": COUNTS,
    "test_indexing": COUNTS,
    "test_invalid_dataarray_names_raise": "the error for a name that is not a text is in other words",
    "test_read_non_consolidated_warning": SILENT,
    "test_roundtrip_None_variable": "names that begin with __, under which xarray stores this variable, are reserved in Zarr V3",
    "TestFolders.test_shard_encoding_with_dask": SHARES,
    "test_to_zarr_not_consolidated": SILENT,
    "test_write_preexisting_override_metadata": "new values come with their own attributes; xarray's test calls its way incorrect",
    "test_zarr_encoding": CODECS,
}
"""Tests that fail on our engine, by name, and why."""

KNOWN = "2026.9."
"""The version of xarray that they are for; a test of another one may fail."""


@pytest.fixture
def default_zarr_format() -> int:
    """Version 3; ours writes no other."""
    return 3


@pytest.fixture(params=["tmp_path", "Dict"])
def tmp_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Where arrays are written to."""
    return str(tmp_path) if request.param == "tmp_path" else zarrv3.MemoryStore()


def _to_zarr(
    data: Any, store: Any = None, mode: Any = None, group: Any = None, encoding: Any = None, **options: Any
) -> Any:
    """What stands for `to_zarr` of datasets, arrays and trees."""
    return to_zarrv3(data, store, mode=mode, group=group, encoding=encoding, **options)


class Pytest:
    """pytest as xarray's tests see it: an error of ours, in our words, stands for whatever they expect."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pytest, name)

    def raises(self, expected: Any, *_: Any, match: Any = None) -> Any:
        """As `pytest.raises`."""
        kinds = expected if isinstance(expected, tuple) else (expected,)
        if kinds == (AssertionError,):
            return pytest.raises(kinds, match=match)
        return pytest.raises((*kinds, zarrv3.errors.ZarrError))


def _awaited(test: Any) -> Any:
    """A test that is a coroutine as one that is not."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


def _again(test: Any) -> Any:
    """A test as a function of its own, which can have its own marks."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> Any:
        return test(*args, **options)

    return _awaited(test) if inspect.iscoroutinefunction(test) else run


@pytest.mark.filterwarnings("ignore")
class Ours:
    """What xarray's classes get in front of them."""

    def __init_subclass__(cls) -> None:
        for name, test in inspect.getmembers(cls, inspect.iscoroutinefunction):
            setattr(cls, name, _awaited(test))

    @pytest.fixture(autouse=True)
    def _ours(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, unswapped: type[zarrv3.Layer]
    ) -> Iterator[None]:
        self.unswapped = unswapped
        node = request.node
        parameters = {"default_zarr_format": 3, **getattr(getattr(node, "callspec", None), "params", {})}
        if parameters.get("zarr_format") == 2:
            pytest.skip("zarrv3 writes version 3")
        for mark in node.iter_markers("skip_if_param"):
            found = dict(mark.kwargs)
            reason, condition = found.pop("reason"), found.pop("condition", True)
            if condition and all(parameters.get(name) == value for name, value in found.items()):
                pytest.skip(reason)
        name = node.originalname
        if not xr.__version__.startswith(KNOWN):
            request.applymarker(pytest.mark.xfail(reason=f"the list is for xarray {KNOWN}*", strict=False))
        elif reason := EXPECTED.get(name) or EXPECTED.get(f"{type(self).__name__}.{name}"):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True, run=reason != COUNTS))
        open_group = zarr.open_group
        for module in (test_backends, test_backends_datatree):
            monkeypatch.setattr(module, "pytest", Pytest())
        for kind in (xr.Dataset, xr.DataArray, xr.DataTree):
            monkeypatch.setattr(kind, "to_zarr", _to_zarr)
        monkeypatch.setitem(plugins.list_engines(), "zarr", ZarrV3Backend())
        monkeypatch.setitem(plugins.BACKEND_ENTRYPOINTS, "zarr", (None, ZarrV3Backend))
        monkeypatch.setattr(
            zarr,
            "open_group",
            lambda store, **options: open_group(
                as_zarr_store(store) if isinstance(store, zarrv3.BaseStore) else store, **options
            ),
        )
        with dask.config.set(scheduler="threads"):
            yield


class TestStores(Ours, test_backends.TestZarrDictStore):
    """Datasets in a store that cannot swap values, so that blocks which share chunks are refused as xarray does."""

    @contextmanager
    def create_zarr_target(self) -> Iterator[Any]:
        """A store of ours."""
        yield self.unswapped(zarrv3.MemoryStore())


class TestFolders(Ours, test_backends.TestZarrWriteEmpty):
    """Datasets in folders, which xarray gives by path; what other stores are tested with takes a stress run."""

    for _name, _test in inspect.getmembers(test_backends.TestZarrDirectoryStore, inspect.isfunction):
        if _name.startswith("test_"):
            locals()[_name] = pytest.mark.slow(_again(_test))


class TestRegions(Ours, test_backends.TestZarrRegionAuto):
    """Regions, and blocks that share chunks, in a store that cannot swap values."""

    @contextmanager
    def create_zarr_target(self) -> Iterator[Any]:
        """A store of ours."""
        yield self.unswapped(zarrv3.MemoryStore())


class TestArrays(Ours, test_backends.TestDataArrayToZarr):
    """Arrays with their coordinates."""


class TestTrees(Ours, test_backends_datatree.TestZarrDatatreeIO):
    """Trees of datasets."""
