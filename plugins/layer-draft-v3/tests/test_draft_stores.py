"""Drafts in every kind of store, and the files that zarr-python 2 itself wrote."""

import json
import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3_layer_draft_v3 import DraftV3


def opened(draft: Any, **options: Any) -> DraftV3:
    """The hierarchy through the layer."""
    return DraftV3(dict(draft.content), **options)


def same(got: Any, wanted: Any) -> None:
    """Whether two arrays have equal elements, whatever the byte order."""
    assert got.shape == wanted.shape
    assert got.astype(wanted.dtype).tobytes() == np.ascontiguousarray(wanted).tobytes()


# ---------------------------------------------------------------- every store below


def backends(folder: Path) -> dict[str, Callable[[], str]]:
    """URLs of new stores that need no server."""
    return {
        "directory": lambda: f"{folder}/d",
        "zip": lambda: f"zip://{folder}/z.zip",
        "sqlite": lambda: f"sqlite:///{folder}/s.db",
        "lmdb": lambda: f"lmdb://{folder}/l",
        "dbm": lambda: f"dbm://{folder}/b",
        "fsspec": lambda: f"fsspec+file://{folder}/f",
    }


@pytest.mark.parametrize("kind", ["directory", "zip", "sqlite", "lmdb", "dbm", "fsspec"])
def test_over_every_store(kind: str, mixed: Any, tmp_path: Path) -> None:
    """A draft reads the same from every kind of store, written there as plain keys and values."""
    url = backends(tmp_path)[kind]()
    with zarrv3.open_store(url) as below:
        below.update(mixed.content)
    expected = dict(opened(mixed).items())
    with zarrv3.open_store(f"{url}|draft-v3:") as store:
        assert dict(store.items()) == expected
        same(zarrv3.open_array(store, path="g/x", mode="r")[...], np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("kind", ["redis", "mongodb"])
def test_over_servers(kind: str, mixed: Any) -> None:
    """Drafts in the databases of servers, which the packages of the stores start, read alike."""
    testing = pytest.importorskip(f"zarrv3_store_{kind}.testing")
    with testing.server() as url:
        with zarrv3.open_store(url) as below:
            below.update(mixed.content)
        with zarrv3.open_store(f"{url}|draft-v3:") as store:
            assert dict(store.items()) == dict(opened(mixed).items())


# ---------------------------------------------------------------- files of zarr-python 2 itself

NAMED = os.environ.get("ZARRV3_DRAFT_V3_FIXTURES")
FIXTURES = Path(NAMED) if NAMED else Path(__file__).parents[4] / "shared" / "fixtures" / "draft_v3"
CASES = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))
ROOTS = {
    "DirectoryStoreV3": "{}/store",
    "FSStoreV3": "fsspec+file://{}/store",
    "ZipStoreV3": "zip://{}/store.zip",
    "SQLiteStoreV3": "sqlite:///{}/store.sqlite",
    "DBMStoreV3": "dbm://{}/store?flag=r",
}


def valid(value: Any) -> Any:
    """An attribute as the layer shows it."""
    special = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return special.get(str(value), value) if isinstance(value, float) else value


@pytest.mark.skipif(
    not CASES, reason="files of zarr-python 2 are not here; ZARRV3_DRAFT_V3_FIXTURES names their folder"
)
@pytest.mark.parametrize("case", CASES)
def test_files_of_zarr_2(case: str) -> None:
    """What zarr-python 2.18.7 wrote reads with the values, attributes and groups that it was given."""
    folder = FIXTURES / case
    expected = json.loads((folder / "expected.json").read_text())
    url = ROOTS[expected["store_class"]].format(folder)
    store = zarrv3.open_store(f"{url}|draft-v3:?repair=true{'&misordered=f' if 'f_order' in case else ''}")
    for path, array in expected["arrays"].items():
        wanted = np.load(folder / array["npy"])
        node = zarrv3.open_array(store, path=path, mode="r")
        got = node[...].astype(wanted.dtype)
        np.testing.assert_array_equal(got, wanted, err_msg=path)
        assert dict(node.attrs) == {name: valid(value) for name, value in array["attributes"].items()}, path
    for path, group in expected["groups"].items():
        if path != "consolidated":
            assert dict(zarrv3.open_group(store, path=path, mode="r").attrs) == group["attributes"]


SERVERS = FIXTURES / "server_stores.json"


@pytest.mark.skipif(not SERVERS.exists(), reason="files of zarr-python 2 are not here")
@pytest.mark.parametrize("kind", ["redis", "mongodb"])
def test_databases_of_zarr_2(kind: str) -> None:
    """What zarr-python 2 put into a server reads, with the names that its stores use by default."""
    testing = pytest.importorskip(f"zarrv3_store_{kind}.testing")
    content = json.loads(SERVERS.read_text())
    with testing.server() as example:
        if kind == "redis":
            redis = pytest.importorskip("redis")
            url = example.partition("?")[0]
            with redis.Redis.from_url(url) as client:
                client.mset({key: b64decode(value) for key, value in content["redis"].items()})
        else:
            pymongo = pytest.importorskip("pymongo")
            url = example.rpartition("/")[0]
            items = [
                {"key": item["key"], "value": b64decode(item["value_base64"])} for item in content["mongodb"]
            ]
            with pymongo.MongoClient(url) as client:
                client["mongodb_zarr"]["zarr_collection"].insert_many(items)
        with zarrv3.open_store(f"{url}|draft-v3:") as store:
            root = zarrv3.open_group(store, mode="r")
            assert {name: array[...].tolist() for name, array in root.arrays()} == content["expected"]
