"""Datasets that the tests write and read."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrv3
from zarrv3.store.contract import Capabilities


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks that xarray's own tests bear."""
    for name in ("asyncio", "flaky", "network", "skip_if_param", "skip_with_dask_array"):
        config.addinivalue_line("markers", f"{name}: a mark of xarray's tests")


class Unswapped(zarrv3.Layer):
    """A store that cannot swap."""

    kind = "unswapped"

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner store but for swaps."""
        return self.inner.capabilities.without("swap")


@pytest.fixture
def unswapped() -> type[Unswapped]:
    """What makes of a store one that cannot swap."""
    return Unswapped


@pytest.fixture
def dataset() -> xr.Dataset:
    """A dataset with every kind of variable that CF conventions and Zarr know."""
    random = np.random.default_rng(0)
    texts = ["a", "bb", "", "d", "ü"]
    found = xr.Dataset(
        {
            "temperature": (("time", "x"), random.normal(size=(6, 5)), {"units": "K", "range": np.arange(3)}),
            "plain": (("time", "x"), random.normal(size=(6, 5)).astype("f4")),
            "flag": ("x", np.array([True, False, True, True, False])),
            "count": ("x", np.arange(5, dtype="i2"), {"scale": np.float32(2)}),
            "object": ("x", np.array(texts, dtype=object)),
            "fixed": ("x", np.array(texts)),
            "text": ("x", np.array(texts, dtype=np.dtypes.StringDType())),
            "wave": ("x", np.arange(5) * 1j),
            "delay": ("x", pd.to_timedelta(np.arange(5), unit="s")),
            "zero": ((), 3.5),
        },
        coords={
            "time": pd.date_range("2020-01-01", periods=6),
            "x": np.arange(5) * 10,
            "lat": ("x", np.linspace(0, 1, 5)),
        },
        attrs={"title": "all kinds", "number": np.int64(3), "nested": {"list": [1, np.float64(2.5)]}},
    )
    found.temperature[0, 0] = np.nan
    found.temperature.encoding = {
        "dtype": "int16",
        "scale_factor": 0.01,
        "add_offset": 1.0,
        "_FillValue": -999,
    }
    return found


@pytest.fixture
def series() -> Callable[[int, int], xr.Dataset]:
    """Make a dataset of some days, numbered through."""

    def days(start: int, stop: int) -> xr.Dataset:
        return xr.Dataset(
            {
                "rain": (("time", "x"), np.arange(start * 4, stop * 4, dtype="i8").reshape(-1, 4)),
                "height": ("x", np.arange(4.0)),
            },
            coords={
                "time": pd.date_range("2020-01-01", periods=stop)[start:],
                "x": [10, 20, 30, 40],
            },
        )

    return days
