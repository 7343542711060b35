"""What notebooks show of arrays, groups, trees and reports."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import zarrv3
from zarrv3 import Capabilities, Counting, Layer, MemoryStore
from zarrv3.errors import StoreError
from zarrv3_tools import notebook

HOSTILE = (
    '</style><script>document.title="broken"<\\/script><img src=x onerror=document.title="broken">'.replace(
        "/", "|"
    )
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Far(Layer):
    """A store over a network that can go."""

    kind = "far"
    gone = False

    @property
    def capabilities(self) -> Capabilities:
        """Those of a network."""
        if self.gone:
            raise StoreError("nobody answers")
        return self.inner.capabilities.without("local")


def parsed(html: str) -> ET.Element:
    """The HTML as elements: an error where something is not closed or not escaped."""
    return ET.fromstring(re.sub(r"<(details) open>", r'<\1 open="">', html))


def texts(html: str) -> list[str]:
    """What is to be read."""
    page = parsed(html)
    page.remove(page.find("style"))  # type: ignore[arg-type]  # each has one
    return [text.strip() for text in page.itertext() if text.strip()]


def shown(shape: tuple[int, ...], **arguments: Any) -> str:
    """A new array as it is shown."""
    return zarrv3.create_array({}, shape=shape, dtype="i4", **arguments)._repr_html_()


def test_an_array() -> None:
    """Its name, place, shape, chunks, names, data type, fill value, codecs and attributes are there, and what is stored of it."""
    root = zarrv3.create_group(MemoryStore())
    array = root.create_array(
        "scan",
        shape=(40, 60),
        chunks=(5, 10),
        shards=(20, 30),
        dtype="i2",
        fill_value=-1,
        dimension_names=["y", "x"],
        attributes={"unit": "mm", "range": [1, 2]},
    )
    array[:20, :30] = 3
    lines = texts(array._repr_html_())
    assert lines[:3] == ["zarrv3.Array", "/scan", f"in {root.store.describe()}"]
    for row in (
        ["Shape", "(40, 60)", "(20, 30)", "(5, 10)"],
        ["Bytes", "4.7 KiB", "1.2 KiB", "100 B"],
        ["Count", "1", "4", "48"],
        ["Dimension names", "y, x"],
        ["Fill value", "-1"],
        ["unit", "mm", "range", "[1, 2]"],
        ["x: 60", "y: 40"],
        ["Read-only", "False"],
    ):
        assert row[0] in lines
        assert lines[lines.index(row[0]) :][: len(row)] == row
    assert any(line.startswith("bytes(endian=") for line in lines)
    assert re.fullmatch(r"[\d.]+ KiB, 1 of 4 shards", lines[lines.index("Stored") + 1])


@pytest.mark.parametrize(
    ("shape", "chunks", "count"),
    [
        ((), (), 1),
        ((7,), (2,), 1),
        ((7, 5), (2, 5), 1),
        ((7, 5, 9), (2, 3, 3), 1),
        ((7, 5, 9, 2), (2, 3, 3, 1), 2),
        ((2,) * 12, (1,) * 12, 3),
        ((0, 5), (1, 1), 0),
        ((10**12, 3), (1, 1), 1),
    ],
)
def test_pictures(shape: tuple[int, ...], chunks: tuple[int, ...], count: int) -> None:
    """Three dimensions are a picture; however many chunks there are it is small."""
    html = shown(shape, chunks=chunks)
    assert html.count("<svg") == count
    assert len(html) < 16_000
    parsed(html)


def test_lines_lie_where_chunks_end() -> None:
    """The picture of a row of chunks has a line at the edge of each; a shard has a picture of its own where it has many."""
    svg = parsed(shown((10,), chunks=(4,))).find(".//{*}svg")
    assert svg is not None
    marks = {float(x) for x in re.findall(r"M([\d.]+) [\d.]+L\1 ", ET.tostring(svg, "unicode"))}
    assert sorted(round((x - min(marks)) / (max(marks) - min(marks)), 2) for x in marks) == [0, 0.4, 0.8, 1]
    assert shown((1000, 1000), chunks=(10, 10), shards=(100, 100)).count("<svg") == 2
    assert shown((20, 20), chunks=(1, 1), shards=(10, 10)).count("<svg") == 1


def test_names_and_attributes_stay_text() -> None:
    """What looks like markup or moves the direction of text is shown as written, everywhere."""
    store = MemoryStore()
    root = zarrv3.create_group(store, attributes={HOSTILE: HOSTILE})
    group = root.create_group(HOSTILE)
    array = group.create_array(
        HOSTILE,
        shape=(1,),
        dtype="string",
        fill_value=HOSTILE,
        dimension_names=[HOSTILE],
        attributes={HOSTILE: [HOSTILE]},
    )
    group.create_array("\u202e\x1b", shape=(1,), dtype="i1")
    for one in (root, group, array, root.tree(), array.info, array.info_complete(), group.info):
        html = one._repr_html_()
        assert html.count("</style>") == html.count("<style>") == 1
        assert "<script" not in html
        assert "<img" not in html
        assert html.isprintable() or not {"\u202e", "\x1b"} & {*html}
        assert any(HOSTILE[:12] in text for text in texts(html))


def test_a_store_over_a_network_is_not_asked() -> None:
    """Of a store that takes round trips nothing is asked, and a node is shown when its server is gone."""
    store = Far(counting := Counting(MemoryStore()))
    group = zarrv3.create_group(store, attributes={"a": 1})
    array = group.create_array("x", shape=(4,), dtype="i4")
    array[:] = 1
    counting.reset()
    for _ in range(2):
        assert "Stored" not in array._repr_html_()
        assert "group.tree()" in group._repr_html_() or store.gone
        assert repr(array) == f"<zarrv3.Array '/x' (4,) int32 in {store.describe()}>"
        assert not counting.calls
        Far.gone = True
    try:
        assert "(4,)" in array._repr_html_()
        assert "nobody answers" in group._repr_html_()
    finally:
        Far.gone = False


def test_consolidated_members_are_known() -> None:
    """Of a consolidated group over a network the members are shown, and the store is not asked."""
    store = Far(counting := Counting(MemoryStore()))
    zarrv3.create_group(store).create_array("x", shape=(4,), dtype="i4")
    zarrv3.consolidate_metadata(store)
    group = zarrv3.open_group(store, mode="r")
    counting.reset()
    assert "(4) int32" in texts(group._repr_html_())
    assert not counting.calls


def test_little_is_read_of_what_is_near() -> None:
    """Of a store without round trips keys are listed and documents of the members shown are read, and no more."""
    counting = Counting(MemoryStore())
    root = zarrv3.create_group(counting)
    for number in range(80):
        root.create_array(f"{number:02}", shape=(100,), chunks=(50,), dtype="i1")
    root["00"][...] = np.ones(100)
    counting.reset()
    assert "2 of 2 chunks" in root.get_array("00")._repr_html_()
    assert "… 30 more" in root._repr_html_()
    assert counting.calls == {"get_many": 2, "list_sizes": 1, "list_dir": 1}


def test_thousands_of_nodes_and_attributes_are_cut() -> None:
    """However many nodes, attributes and chunks there are, what a notebook keeps is small."""
    store = MemoryStore()
    root = zarrv3.create_group(store, attributes={str(n): "long" * 10_000 for n in range(500)})
    document = b'{"zarr_format": 3, "node_type": "group"}'
    store.update(
        {f"{n % 10}/{n}/zarr.json": document for n in range(10_000)}
        | {f"{n}/zarr.json": document for n in range(10)}
    )
    for one, most in ((root, 60_000), (root["3"], 10_000), (root.tree(), 250_000)):
        html = one._repr_html_()
        parsed(html)
        assert len(html) < most
        assert " more<" in html
    assert len(repr(root.tree()).splitlines()) == 1001
    assert len([*root.tree().lines()]) == 10_011


def test_trees_fold(tmp_path: Path) -> None:
    """A tree shows what the drawing in words shows, as lists that fold."""
    root = zarrv3.create_group(tmp_path)
    root.create_array("a/b/x", shape=(3,), dtype="i1", dimension_names=["t"])
    html = root.tree()._repr_html_()
    assert texts(html) == ["/", "a", "group", "b", "group", "x", "(t: 3) int8"]
    assert html.count("<details") == 3
    assert "x" not in texts(root.tree(level=2)._repr_html_())
    deep = zarrv3.create_group({}, path="/".join("a" * 300))
    assert zarrv3.open_group(deep.store).tree()._repr_html_().count("<ul>") == notebook.DEEP


PAGE = """<!doctype html><meta charset="utf-8"><body style="background: {ground}; color: {ink}">{parts}<script>
const found = [...document.querySelectorAll(".zarrv3 td, .zarrv3 th, .zarrv3 code, .zarrv3 summary, .zarrv3 svg")];
const wrong = found.filter(one => getComputedStyle(one).color !== getComputedStyle(document.body).color);
const boxes = [...document.querySelectorAll("svg")].map(one => [one.getBoundingClientRect(), one.getBBox()]);
const grounds = [...document.querySelectorAll(".zarrv3 *")].filter(one => getComputedStyle(one).backgroundColor !== "rgba(0, 0, 0, 0)");
document.body.dataset.seen = JSON.stringify({{
  seen: found.length, wrong: wrong.length, grounds: grounds.length, title: document.title,
  asked: performance.getEntriesByType("resource").length, scripts: document.querySelectorAll(".zarrv3 script, .zarrv3 img").length,
  cut: boxes.filter(([page, own]) => own.x < -1 || own.y < -1 || own.x + own.width > page.width + 1 || own.y + own.height > page.height + 1).length,
}});
</script>"""


@pytest.mark.parametrize(
    ("ground", "ink"), [("rgb(255, 255, 255)", "rgb(20, 20, 20)"), ("rgb(17, 17, 17)", "rgb(230, 230, 230)")]
)
def test_in_a_browser(ground: str, ink: str, tmp_path: Path) -> None:
    """On light and dark pages all is written in the page's colour on its ground, no picture is cut, and nothing is run or asked for."""
    if CHROMIUM is None:
        pytest.skip("what notebooks show is looked at in Chromium, which is not here")
    root = zarrv3.create_group({}, attributes={HOSTILE: HOSTILE})
    arrays = [
        root.create_array(
            f"{len(shape)}",
            shape=shape,
            chunks=chunks,
            dtype="f4",
            dimension_names=["a long name of one"] * len(shape),
        )
        for shape, chunks in (
            ((9,), (2,)),
            ((9000, 2), (100, 1)),
            ((5, 3000, 4), (1, 70, 2)),
            ((2, 3, 4, 5), (1, 1, 1, 1)),
        )
    ]
    parts = "".join(one._repr_html_() for one in (*arrays, root, root.tree(), root.info))
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(ground=ground, ink=ink, parts=parts), encoding="utf-8")
    ended = subprocess.run(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    [attribute] = re.findall(r'<body[^>]* data-seen="([^"]*)"', ended.stdout)
    seen = json.loads(attribute.replace("&quot;", '"'))
    assert seen.pop("seen") > 100
    assert seen == {"wrong": 0, "grounds": 0, "title": "", "asked": 0, "scripts": 0, "cut": 0}
