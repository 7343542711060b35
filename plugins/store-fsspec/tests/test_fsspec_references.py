"""References of kerchunk and VirtualiZarr: values that lie in other files, or inline."""

import base64
import json
from pathlib import Path

import numpy as np

import zarrv3
from zarrv3.store.contract import ByteRange, Request

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
