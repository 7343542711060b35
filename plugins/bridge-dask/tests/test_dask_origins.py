"""What a dask array still has to read is neither erased nor replaced first."""

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import zarrv3
from zarrv3.errors import ConfigurationError
from zarrv3_bridge_dask import from_dask, to_dask, write_dask


def made(folder: Path) -> str:
    """An array, and a link to it."""
    zarrv3.create_array(folder / "a.zarr", data=np.arange(60.0), chunks=10)
    (folder / "link.zarr").symlink_to("a.zarr")
    return f"{folder}/a.zarr"


READING: dict[str, Callable[[str], da.Array]] = {
    "ours": to_dask,
    "inline": lambda url: to_dask(url, inline_array=True),
    "zarr-python": da.from_zarr,
    "a link": lambda url: to_dask(url.replace("a.zarr", "link.zarr")),
    "a layer": lambda url: to_dask(f"file://{url}|retry:"),
    "a prefix": lambda url: to_dask(f"file://{url.removesuffix('/a.zarr')}|prefix:a.zarr"),
    "another class": lambda url: to_dask(f"fsspec+file://{url}"),
}


@pytest.mark.parametrize("reading", READING.values(), ids=READING)
def test_overwriting_what_is_read(reading: Callable[[str], da.Array], tmp_path: Path) -> None:
    """Replacing an array by what is computed from it is refused by any spelling."""
    url = made(tmp_path)
    with pytest.raises(ConfigurationError, match="another path"):
        from_dask(reading(url) * 2, url, overwrite=True)
    np.testing.assert_array_equal(zarrv3.open_array(url)[:], np.arange(60.0))


@pytest.mark.parametrize("reading", READING.values(), ids=READING)
def test_writing_back_what_is_read(reading: Callable[[str], da.Array], tmp_path: Path) -> None:
    """Blocks that read only what they replace are written; shifted, reversed or reduced ones are refused."""
    url = made(tmp_path)
    array, lazy = zarrv3.open_array(url), reading(url)
    for other in (da.roll(lazy, 1).rechunk(10), lazy[::-1].rechunk(10), lazy - lazy.mean()):
        with pytest.raises(ConfigurationError, match="compute it first"):
            write_dask(other, array)
    np.testing.assert_array_equal(array[:], np.arange(60.0))
    write_dask(lazy[10:20] * 3, array, region=(slice(20, 30),))  # reads what nobody replaces
    np.testing.assert_array_equal(array[20:30], np.arange(10.0, 20) * 3)
    expected = array[:] * 2
    write_dask(lazy * 2, array)
    np.testing.assert_array_equal(array[:], expected)
