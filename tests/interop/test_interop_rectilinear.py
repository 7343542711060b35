"""Chunks of differing lengths, exchanged with zarr-python and zarrs in both directions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from interop_zarrita import HAS_NODE, ZarritaError, node

import zarrv3
from zarrv3_bridge_zarr import as_zarr_store

KNOWN = "rectilinear_chunks" in zarr.config.get("array")
"""Whether this version of zarr-python has the grid (3.2 and later, for Python 3.12 and later)."""

DATA = np.arange(240).reshape(12, 20)

LAYOUTS: dict[str, dict[str, Any]] = {
    "lengths": {"chunks": [[3, 4, 5], 10]},
    "runs": {"chunks": [[2] * 6, [5, 5, 10]]},
    "shards": {"chunks": (2, 5), "shards": [[4, 8], [10, 10]]},
}


@pytest.mark.parametrize(
    "pipeline", ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_exchange(pipeline: str, layout: str) -> None:
    """Each reads, changes and appends to what the other wrote, and lists the same lengths; older versions say that they cannot."""
    settings: dict[str, Any] = {"codec_pipeline.path": pipeline, "array.rectilinear_chunks": True}
    more = np.full((6, 20), 7)
    expected = np.concatenate([DATA, more])
    expected[2:9:3, 5] = -1
    with zarr.config.set(settings):
        store = zarrv3.MemoryStore()
        ours = zarrv3.create_array(store, data=DATA, **LAYOUTS[layout])
        if not KNOWN:
            with pytest.raises(ValueError, match="rectilinear"):
                zarr.open_array(as_zarr_store(store))
            return
        theirs = zarr.open_array(as_zarr_store(store), mode="r+")
        assert np.asarray(theirs).tolist() == DATA.tolist()
        theirs[2:9:3, 5] = -1
        theirs.append(more)
        assert ours.refresh()[...].tolist() == expected.tolist()
        assert ours.write_chunk_sizes == theirs.write_chunk_sizes

        store = zarrv3.MemoryStore()
        zarr.create_array(as_zarr_store(store), data=DATA, **LAYOUTS[layout])
        ours = zarrv3.open_array(store, mode="r+")
        assert ours[...].tolist() == DATA.tolist()
        ours[2:9:3, 5] = -1
        ours.append(more)
        theirs = zarr.open_array(as_zarr_store(store))
        assert np.asarray(theirs).tolist() == expected.tolist()
        assert ours.write_chunk_sizes == theirs.write_chunk_sizes


def test_refused(tmp_path: Path) -> None:
    """TensorStore and zarrita.js do not know the grid, and say so."""
    zarrv3.create_array(tmp_path, data=DATA, chunks=[[3, 4, 5], 10])
    with pytest.raises(ValueError, match='received: "rectilinear"'):
        tensorstore.open({"driver": "zarr3", "kvstore": f"file://{tmp_path}/"}).result()
    if HAS_NODE:
        with pytest.raises(ZarritaError):
            node().ask(zarrv3.open_store(tmp_path), do="read")
