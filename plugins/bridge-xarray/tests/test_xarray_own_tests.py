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
from zarrv3_bridge_xarray import ZarrV3Backend, to_zarrv3
from zarrv3_bridge_zarr import as_zarr_store

__all__ = ["create_test_datatree", "simple_datatree", "time_unit", "unaligned_datatree_zarr_factory", "use_dask"]

EXPECTED: dict[str, str] = {}
"""Tests that fail on our engine, by name or by name with parameters, and why."""


@pytest.fixture
def default_zarr_format() -> int:
    """Version 3; ours writes no other."""
    return 3


@pytest.fixture(params=["tmp_path", "Dict"])
def tmp_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Where arrays are written to."""
    return str(tmp_path) if request.param == "tmp_path" else zarrv3.MemoryStore()


def _to_zarr(data: Any, store: Any = None, mode: Any = None, group: Any = None, encoding: Any = None, **options: Any) -> Any:
    """What stands for `to_zarr` of datasets, arrays and trees."""
    return to_zarrv3(data, store, mode=mode, group=group, encoding=encoding, **options)


def _awaited(test: Any) -> Any:
    """A test that is a coroutine as one that is not."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


@pytest.mark.filterwarnings("ignore")
class Ours:
    """What xarray's classes get in front of them."""

    def __init_subclass__(cls) -> None:
        for name, test in inspect.getmembers(cls, inspect.iscoroutinefunction):
            setattr(cls, name, _awaited(test))

    @pytest.fixture(autouse=True)
    def _ours(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        node = request.node
        parameters = {"default_zarr_format": 3, **getattr(getattr(node, "callspec", None), "params", {})}
        if parameters.get("zarr_format") == 2:
            pytest.skip("zarrv3 writes version 3")
        for mark in node.iter_markers("skip_if_param"):
            found = dict(mark.kwargs)
            reason, condition = found.pop("reason"), found.pop("condition", True)
            if condition and all(parameters.get(name) == value for name, value in found.items()):
                pytest.skip(reason)
        reason = EXPECTED.get(node.originalname) or EXPECTED.get(node.name)
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
        open_group = zarr.open_group
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
    """Datasets in memory."""

    @contextmanager
    def create_zarr_target(self) -> Iterator[Any]:
        """A store of ours."""
        yield zarrv3.MemoryStore()


class TestFolders(Ours, test_backends.TestZarrWriteEmpty):
    """Datasets in folders, which xarray gives by path."""


class TestRegions(Ours, test_backends.TestZarrRegionAuto):
    """Regions, and blocks that share chunks."""


class TestArrays(Ours, test_backends.TestDataArrayToZarr):
    """Arrays with their coordinates."""


class TestTrees(Ours, test_backends_datatree.TestZarrDatatreeIO):
    """Trees of datasets."""
