"""Google's object store by gcsfs, against the server of `gcp-storage-emulator`."""

import json
import pickle
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from gcp_storage_emulator.server import create_server

import zarrv3
from zarrv3.errors import NodeNotFoundError, ZarrError


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of our own, with a bucket."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # else gcsfs asks Google, for a minute
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    try:
        address = f"http://127.0.0.1:{server._api._httpd.server_port}"
        request = urllib.request.Request(
            f"{address}/storage/v1/b?project=p", json.dumps({"name": "bucket"}).encode()
        )
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request).close()
        yield address
    finally:
        server.stop()


@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_options_in_a_url(scheme: str, endpoint: str) -> None:
    """Login and endpoint are options in the URL; arrays are written in part, read by another store, listed, erased."""
    url = f"{scheme}://bucket/a.zarr?token=anon&endpoint_url={endpoint}"
    data = np.arange(12).reshape(3, 4)
    with zarrv3.open_store(url) as store:
        array = zarrv3.create_array(store, data=data, chunks=(2, 2))
        array[1:, 1:] = -1
        data[1:, 1:] = -1
        assert sorted(store) == ["c/0/0", "c/0/1", "c/1/0", "c/1/1", "zarr.json"]
        with pickle.loads(pickle.dumps(store)) as again:
            assert np.array_equal(zarrv3.open_array(again, mode="r"), data)
        store.erase_prefix("c/")
        assert np.array_equal(zarrv3.open_array(url, mode="r"), np.zeros((3, 4)))
        assert "anon" not in repr(store)


def test_what_is_missing(endpoint: str) -> None:
    """A missing key is none, a missing bucket an error of ours."""
    options = f"token=anon&endpoint_url={endpoint}"
    with pytest.raises(NodeNotFoundError):
        zarrv3.open(f"gs://bucket/nothing.zarr?{options}", mode="r")
    with pytest.raises(ZarrError, match="nobucket"):
        zarrv3.create_group(f"gs://nobucket/a.zarr?{options}")
