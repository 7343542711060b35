"""Slices of arrays as pictures and tables, asked of a real server: every kind of elements, and how much is read for them."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

import zarrv3
from zarrv3_serve import served
from zarrv3_serve.page import pictures, slices

Ask = Callable[..., Any]


def asked(ask: Ask, url: str, name: str = "slice", **query: Any) -> Any:
    """A document of the page."""
    answer = ask(url, f"/__zarrv3__/{name}?{urlencode(query)}")
    assert answer.status == 200, answer
    return json.loads(answer.body)


def pixels(document: Any) -> Any:
    """The picture in a document: red, green, blue and opacity."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(document["png"]))).convert("RGBA"))


NUMBERS: dict[str, Any] = {
    "bool": np.array([[False, True]]),
    "uint8": np.array([[0, 255]], "u1"),
    "int64": np.array([[-(2**63), 2**63 - 1]]),
    "float64": np.array([[-1.7e308, 1.7e308]]),
    "float16": np.array([[-65504, 65504]], "f2"),
    "bfloat16": np.array([[1, 2]], ml_dtypes.bfloat16),
    "complex": np.array([[0, 3 + 4j]]),
    "datetime": np.array([["2020-01-01", "2021-01-01"]], "M8[s]"),
    "timedelta": np.array([[1, 5]], "m8[ms]"),
}


def test_numbers(ask: Ask) -> None:
    """Of elements of every kind that are numbers the smallest is black and the largest white; what is not a number is not seen."""
    store = zarrv3.open_store()
    for name, data in NUMBERS.items():
        zarrv3.create_array(store, name=name, data=data)
    zarrv3.create_array(store, name="odd", data=np.array([[np.nan, np.inf, -np.inf, 1.0, 3.0]]))
    zarrv3.create_array(store, name="same", data=np.ones((1, 2)))
    zarrv3.create_array(store, name="nothing", data=np.array([[np.nan]]))
    zarrv3.create_array(store, name="empty", shape=(0, 3), dtype="f4")
    zarrv3.create_array(store, name="scalar", data=np.float64(5))
    zarrv3.create_array(store, name="line", data=np.arange(3000))
    with served(store) as url:
        for name in NUMBERS:
            found = asked(ask, url, path=name)
            assert pixels(found).tolist() == [[[0, 0, 0, 255], [255, 255, 255, 255]]], name
            assert (found["histogram"][0], found["histogram"][-1], sum(found["histogram"])) == (1, 1, 2)
        shown = pixels(asked(ask, url, path="odd"))[0]
        assert shown[:, 3].tolist() == [0, 255, 255, 255, 255]
        assert shown[1:, 0].tolist() == [255, 0, 0, 255]
        assert pixels(asked(ask, url, path="same")).shape == (1, 2, 4)
        assert asked(ask, url, path="nothing")["histogram"] == [0] * pictures.BINS
        assert pixels(asked(ask, url, path="scalar")).shape == (1, 1, 4)
        line = asked(ask, url, path="line")
        assert (pixels(line).shape, line["window"], line["whole"]) == ((1, 500, 4), [[0, 3000, 6]], False)
        assert asked(ask, url, path="odd", low=2, high=4)["low"] == 2
        coloured = pixels(asked(ask, url, path="uint8", map="viridis"))
        assert [bytes(one[:3]).hex() for one in coloured[0]] == [
            pictures.MAPS["viridis"][0],
            pictures.MAPS["viridis"][-1],
        ]
        assert "error" in asked(ask, url, path="empty") or asked(ask, url, path="empty")["window"][0] == [
            0,
            0,
            1,
        ]


def test_texts_and_fields(ask: Ask) -> None:
    """Texts and bytes are a table; of structured elements one field is shown."""
    store = zarrv3.open_store()
    structured = np.array([[(1, "a"), (2, "b")]], dtype=[("number", "i4"), ("text", "U3")])
    zarrv3.create_array(store, name="structured", data=structured)
    zarrv3.create_array(store, name="texts", data=np.array([["x" * 1000, "b"]]))
    zarrv3.create_array(store, name="strings", data=np.array([["ä", "b"]], dtype=np.dtypes.StringDType()))
    zarrv3.create_array(store, name="bytes", data=np.array([[b"a", b"b"]]))
    with served(store) as url:
        assert asked(ask, url, path="structured")["high"] == 2
        assert asked(ask, url, path="structured", field="text")["table"] == [["a", "b"]]
        assert asked(ask, url, "value", path="structured", field="number", index="0,1") == {"value": "2"}
        assert asked(ask, url, "value", path="texts", index="0,0") == {"value": "x" * 300 + "…"}
        assert asked(ask, url, path="strings")["table"] == [["ä", "b"]]
        assert asked(ask, url, path="bytes")["table"] == [["b'a'", "b'b'"]]
        assert ask(url, "/__zarrv3__/slice?path=structured&field=none").status == 400


def test_planes(ask: Ask) -> None:
    """Any two axes in any order, anywhere in the others, and any part of them; what makes no sense is refused."""
    data = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    store = zarrv3.open_store()
    zarrv3.create_array(store, name="x", data=data)
    with served(store) as url:

        def plane(**query: Any) -> Any:
            return pixels(asked(ask, url, path="x", low=0, high=254, **query))[..., 0]

        np.testing.assert_array_equal(plane(), data[1])
        np.testing.assert_array_equal(plane(axes="2,0", at="0,2,0"), data[:, 2].T)
        np.testing.assert_array_equal(plane(at="0", window="1,3,2,4"), data[0, 1:3, 2:4])
        for query in (
            "axes=0,0",
            "axes=0,7",
            "axes=a",
            "at=9",
            "map=none",
            "low=x",
            "high=nan",
            "axes=0,1&at=0,0,4",
            "%ff=1",
        ):
            assert ask(url, f"/__zarrv3__/slice?path=x&{query}").status == 400, query
        assert ask(url, "/__zarrv3__/slice?path=none").status == 404
        assert ask(url, "/__zarrv3__/value?path=x&index=9,9,9").status == 400


@pytest.mark.parametrize("chunks", [(1, 1, 100, 100), (1, 1, 1000, 1000)])
def test_little_is_read_of_a_large_array(chunks: tuple[int, ...]) -> None:
    """Of a plane of 10¹² elements only some hundred chunks are read, and never more bytes of them than there is room for."""
    store = zarrv3.layers.counting.Counting(zarrv3.open_store())
    array = zarrv3.create_array(store, shape=(5, 5, 10**6, 10**6), chunks=chunks, dtype="f8")
    shown = slices.plane(array, (2, 3), (), (), most=(slices.PIXELS,) * 2)
    assert all(1 < len(part) <= slices.PIXELS for part in shown.window)
    assert not shown.is_whole
    rows, columns = map(len, shown.window)
    assert rows * columns * np.prod(chunks) * 8 <= slices.READ
    assert slices.read(array, shown, None).shape == (rows, columns)
    closer = slices.plane(array, (2, 3), (), [(0, 300), (0, 400)], most=(slices.PIXELS,) * 2)
    assert (closer.is_whole, [len(part) for part in closer.window]) == (True, [300, 400])


def test_a_chunk_that_is_too_large(ask: Ask) -> None:
    """An array whose chunks are larger than a picture is worth is not read; the page says so."""
    store = zarrv3.open_store()
    zarrv3.create_array(store, name="x", shape=(10**5, 10**5), chunks=(10**5, 10**5), dtype="f8")
    with served(store) as url:
        assert "too many for a picture" in asked(ask, url, path="x")["error"]


def test_nodes(ask: Ask) -> None:
    """A node is told with its attributes and members, the first thousand of them; damaged documents do not hide others."""
    store = zarrv3.open_store()
    store["zarr.json"] = b'{"zarr_format": 3, "node_type": "group", "attributes": {"nan": NaN}}'
    root = zarrv3.open_group(store)
    root.create_array("a", data=[1, 2], dimension_names=["t"])
    store["bad/zarr.json"] = b"{"
    store["folder/inner/zarr.json"] = b'{"zarr_format": 3, "node_type": "group"}'
    store.update(
        {f"many/{number}/zarr.json": b'{"zarr_format": 3, "node_type": "group"}' for number in range(1001)}
    )
    store["many/zarr.json"] = b'{"zarr_format": 3, "node_type": "group"}'
    with served(store) as url:
        found = asked(ask, url, "node")
        kinds = {member["name"]: member["kind"] for member in found["members"]}
        assert kinds == {"a": "array", "bad": "unreadable", "many": "group"}
        assert found["attributes"] == {"nan": "NaN"}
        assert asked(ask, url, "node", path="a")["names"] == ["t"]
        assert ["Chunks initialized", "1/1"] in asked(ask, url, "node", path="a", stored=1)["info"]
        assert asked(ask, url, "node", path="folder")["members"][0]["name"] == "inner"
        many = asked(ask, url, "node", path="many")
        assert (len(many["members"]), many["more"]) == (1000, True)
        assert "error" in asked(ask, url, "node", path="bad")
        assert ask(url, "/__zarrv3__/node?path=none").status == 404
