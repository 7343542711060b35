"""Datasets written to where they are read from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from zarrv3.errors import ConfigurationError, NodeExistsError
from zarrv3_bridge_xarray import to_zarrv3

OPENING: dict[str, Callable[[str], xr.Dataset]] = {
    "ours": lambda url: xr.open_dataset(url, engine="zarrv3", chunks={}),
    "open_zarr": xr.open_zarr,
    "a link": lambda url: xr.open_dataset(f"{url}-link", engine="zarrv3", chunks={}),
    "a prefix": lambda url: xr.open_dataset(
        f"file://{Path(url).parent}|prefix:{Path(url).name}", engine="zarrv3", chunks={}
    ),
    "group=": lambda url: xr.open_dataset(
        str(Path(url).parent), group=Path(url).name, engine="zarrv3", chunks={}
    ),
}


@pytest.mark.parametrize("opening", OPENING.values(), ids=OPENING)
def test_what_is_still_to_be_read_is_kept(opening: Callable[[str], xr.Dataset], tmp_path: Path) -> None:
    """Replacing a group by its own lazy values is refused by any spelling, and so are values that are shifted."""
    url = f"{tmp_path}/d.zarr"
    dataset = xr.Dataset({"a": ("x", np.arange(60.0)), "b": ("x", np.arange(60.0))})
    to_zarrv3(dataset, url, encoding={name: {"chunks": (10,)} for name in dataset})
    Path(f"{url}-link").symlink_to(url)
    lazy = opening(url)
    with pytest.raises(ConfigurationError, match="another path"):
        to_zarrv3(lazy * 2, url, mode="w")
    with pytest.raises(ConfigurationError, match="compute it first"):
        to_zarrv3(lazy.roll(x=1).chunk(x=10), url, mode="a")
    with pytest.raises(ConfigurationError, match="compute it first"):
        to_zarrv3(lazy.roll(x=1).chunk(x=10), url, region={"x": slice(0, 60)})
    xr.testing.assert_identical(xr.open_dataset(url, engine="zarrv3").load(), dataset)
    to_zarrv3(lazy * 2, url, mode="a")
    np.testing.assert_array_equal(xr.open_dataset(url, engine="zarrv3").a, np.arange(60.0) * 2)


def test_the_way_to_replace_is_said_in_its_own_words(tmp_path: Path) -> None:
    """What is there is replaced with `mode="w"`, and the refusal says so."""
    dataset = xr.Dataset({"a": ("x", np.arange(3))})
    to_zarrv3(dataset, tmp_path / "d")
    with pytest.raises(NodeExistsError, match="mode='w'") as caught:
        to_zarrv3(dataset, tmp_path / "d")
    assert "overwrite" not in str(caught.value)
