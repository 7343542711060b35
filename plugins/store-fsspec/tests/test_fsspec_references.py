"""References of kerchunk and VirtualiZarr: values that lie in other files, or inline."""

import base64
import json
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import zarrv3
from zarrv3.errors import ConfigurationError, StoreAccessError
from zarrv3.store.contract import ByteRange, Request

pytestmark = pytest.mark.filterwarnings("ignore:The 'fastparquet' engine")

DATA = np.arange(12, dtype="<i4").reshape(3, 4)
LAST = np.concatenate([DATA[2:], np.zeros((1, 4), "<i4")]).tobytes()
ARRAY = {
    "zarr_format": 2, "shape": [3, 4], "chunks": [2, 4], "dtype": "<i4", "order": "C", "compressor": None,
    "filters": None, "fill_value": 0,
}  # fmt: skip


def test_references(tmp_path: Path) -> None:
    """Values in other files and inline are read right, ranges from the end and sizes too; version 2 through its layer."""
    (tmp_path / "blob").write_bytes(b"xx" + DATA[:2].tobytes())
    references = {
        ".zgroup": json.dumps({"zarr_format": 2}),
        "a/.zarray": json.dumps(ARRAY),
        "a/.zattrs": json.dumps({"unit": "é"}, ensure_ascii=False),
        "a/0.0": [f"file://{tmp_path}/blob", 2, 32],
        "a/1.0": f"base64:{base64.b64encode(LAST).decode()}",
    }
    path = tmp_path / "references.json"
    path.write_text(json.dumps({"version": 1, "refs": references}))
    url = f"reference://{path}"
    with zarrv3.open_store(url) as store:
        assert store.stat_many(["a/1.0"]) == [32]
        assert store.get_many([Request("a/1.0", ByteRange(-20, None))])[0] == LAST[-20:]
        assert {key: len(value) for key, value in store.items()} == dict(store.list_sizes(""))
    array = zarrv3.open_array(f"{url}|zarr2:", path="a", mode="r")
    assert array[...].tolist() == DATA.tolist()
    assert array.attrs["unit"] == "é"


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    """An HDF5 file with nested groups, filters, chunks that are missing, and small values that references have inline."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "d",
            data=np.arange(400, dtype="f4").reshape(20, 20),
            chunks=(5, 20),
            compression="gzip",
            shuffle=True,
        )
        file.create_dataset("holes", shape=(20,), chunks=(5,), dtype="i4", fillvalue=7)[0] = 1
        file.create_group("g").attrs["unit"] = "é"
        file["g/small"] = np.arange(5)
        file["g/texts"] = np.array([b"ab", b"c"], "S4")
    return path


def references_to(hdf5: Path, url: str) -> dict[str, Any]:
    """What kerchunk makes of a file that lies at a URL."""
    with warnings.catch_warnings():  # of libraries about each other
        warnings.simplefilter("ignore")
        from kerchunk.hdf import SingleHdf5ToZarr

        with hdf5.open("rb") as file:
            found: dict[str, Any] = SingleHdf5ToZarr(file, url=url, inline_threshold=100).translate()
    return found


def check(url: str, hdf5: Path) -> None:
    """Every value, attribute, size and listing is right, and a copy is too."""
    with zarrv3.open_store(f"{url}|zarr2:") as store:
        group = zarrv3.open_group(store, mode="r")
        copied = zarrv3.MemoryStore()
        zarrv3.copy(store, copied)
        with h5py.File(hdf5) as file:
            for path in ("d", "holes", "g/small", "g/texts"):
                for there in (group, zarrv3.open_group(copied, mode="r")):
                    np.testing.assert_array_equal(there[path][...], file[path][...])
        assert dict(group["g"].attrs) == {"unit": "é"}
        sizes = dict(store.list_sizes(""))
        assert {key: len(value) for key, value in store.items()} == sizes
        assert [key for key in sizes if key.startswith("holes/") and "json" not in key] == ["holes/0"]
        assert sorted(store.list_dir("g/")) == ["g/small/", "g/texts/", "g/zarr.json"]


@pytest.mark.parametrize("content", ["{", "[1]", "7"])
def test_what_is_not_references(content: str, tmp_path: Path) -> None:
    """A file that does not hold references is refused by its name."""
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))):
        zarrv3.open(f"reference://{path}|zarr2:", mode="r")


def test_hdf5_by_references(hdf5: Path, tmp_path: Path) -> None:
    """An HDF5 file is read by references in JSON."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(references_to(hdf5, hdf5.as_uri())))
    check(f"reference://{path}", hdf5)


def test_tables_of_references(hdf5: Path, tmp_path: Path) -> None:
    """A table of references in parquet is read, nested groups too; where fsspec cannot tell what it leads to, that is our error."""
    from kerchunk.df import refs_to_dataframe

    refs_to_dataframe(references_to(hdf5, hdf5.as_uri()), str(tmp_path / "x.parq"))
    check(f"reference://{tmp_path}/x.parq?remote_protocol=file", hdf5)
    with suppress(ConfigurationError):  # fsspec finds out by itself, unless it meets a group first
        zarrv3.open_store(f"reference://{tmp_path}/x.parq").get(".zgroup")


def test_references_on_the_web(hdf5: Path, web: Callable[..., Any]) -> None:
    """References on a web server to a file there open by `reference://` before their address; one that is not there is told."""
    files = {"/x.h5": hdf5.read_bytes()}
    server = web("honest", files)
    files["/x.json"] = json.dumps(references_to(hdf5, f"{server.url}/x.h5")).encode()
    check(f"reference://{server.url}/x.json", hdf5)
    check(f"reference::{server.url}/x.json", hdf5)
    with pytest.raises(StoreAccessError, match=r"none\.json"):
        zarrv3.open_store(f"reference://{server.url}/none.json").get("k")


def test_references_on_s3(hdf5: Path, s3: Any, folder: str, tmp_path: Path) -> None:
    """References on S3, in JSON or parquet, open by `reference://` before their URL, with the options of each side."""
    from kerchunk.df import refs_to_dataframe

    files, place = s3.plain(), folder.removeprefix("s3://")
    files.put(str(hdf5), f"{place}/x.h5")
    found = references_to(hdf5, f"{folder}/x.h5")
    files.pipe(f"{place}/x.json", json.dumps(found).encode())
    refs_to_dataframe(found, str(tmp_path / "x.parq"))
    files.put(str(tmp_path / "x.parq"), f"{place}/x.parq", recursive=True)
    login = json.dumps({name: value for name, value in s3.options.items() if name != "conditional_writes"})
    for name in ("x.json", "x.parq"):
        check(f"reference://{folder}/{name}?remote_protocol=s3&remote_options={login}&s3={login}", hdf5)
