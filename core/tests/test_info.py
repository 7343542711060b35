"""Reports of what arrays and groups are and hold."""

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

import zarrv3
from zarrv3 import Counting, MemoryStore
from zarrv3.errors import CorruptDataError
from zarrv3.hierarchy import display
from zarrv3.hierarchy.display import human

OLD = """\
Name               : path-where-you-want-zarr-v3-array
Type               : zarr.core.Array
Data type          : float64
Shape              : (10000, 10000)
Chunk shape        : (100, 100)
Order              : C
Read-only          : False
Compressor         : Blosc(cname='lz4', clevel=5, shuffle=SHUFFLE, blocksize=0)
Store type         : zarr._storage.v3.KVStoreV3
No. bytes          : 800000000 (762.9M)
No. bytes stored   : 557
Storage ratio      : 1436265.7
Chunks initialized : 0/10000"""


def test_info_has_the_lines_of_zarr_python_2() -> None:
    """The example of zarr-python 2 prints its lines in its order, with its values where they do not name classes; ours follow."""
    zarr = zarrv3
    z = zarr.create(
        (10000, 10000),
        chunks=(100, 100),
        dtype="f8",
        compressor="default",
        path="path-where-you-want-zarr-v3-array",
        zarr_version=3,
    )
    ours, old = str(z.info).splitlines(), OLD.splitlines()
    assert [line[:21] for line in ours[:13]] == [line[:21] for line in old]
    assert [line[:21] for line in ours[13:]] == ["Damage is detected : "]
    for number in (0, 2, 3, 4, 5, 6, 9, 12):
        assert ours[number] == old[number]
    assert "blosc(cname='lz4', clevel=5, shuffle='shuffle'" in ours[7]
    assert int(dict(z.info)["No. bytes stored"].split()[0]) == sum(
        len(v) for k, v in z.store.items() if k.startswith("path")
    )


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({}, "yes (zstd has a checksum)"),
        ({"shards": 50}, "yes (sharding_indexed has a checksum)"),
        ({"compressors": ["crc32c"]}, "yes (crc32c has a checksum)"),
        ({"compressors": None}, "no"),
        ({"compressors": None, "shards": 50}, "no"),
        ({"compressors": "default"}, "no"),
        ({"compressors": {"name": "zstd", "configuration": {"level": 0}}}, "no"),
    ],
)
def test_whether_damage_is_detected(arguments: Any, answer: str) -> None:
    """The report says whether a changed chunk is an error; where it says so, no flipped bit is read as other values."""
    store: dict[str, bytes] = {}
    array = zarrv3.create_array(store, shape=100, chunks=10, dtype="f8", **arguments)
    array[:] = data = np.random.default_rng(0).standard_normal(100)
    assert dict(array.info)["Damage is detected"].startswith(answer)
    key = min(key for key in store if key.startswith("c/"))
    good, silent = store[key], 0
    for place in range(0, 8 * len(good), 7):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        store[key] = bytes(bad)
        with suppress(CorruptDataError):
            silent += not np.array_equal(array[:], data)
    assert bool(silent) == answer.startswith("no")


def test_no_value_is_read() -> None:
    """A report lists keys with their sizes, once, and reads nothing."""
    counting = Counting(MemoryStore())
    array = zarrv3.array(np.arange(100), chunks=10, store=counting)
    counting.reset()
    assert "10/10" in str(array.info)
    assert counting.calls == {"list_sizes": 1}


def test_other_lines() -> None:
    """Filters are shown, the transposition of order F is the order, and everything else is in the complete report."""
    array = zarrv3.create(
        (4, 6), dtype="i4", order="F", filters=[numcodecs.Delta("i4")], compressor=None, fill_value=7
    )
    lines = dict(array.info)
    assert lines["Order"] == "F"
    assert lines["Compressor"] == "None"
    assert lines["Filter"].startswith("numcodecs.delta")
    complete = dict(array.info_complete())
    assert complete["Fill value"] == "7"
    assert complete["Dimension names"] == "None"
    assert "transpose" in complete["Codecs"]


def test_unlistable_stores() -> None:
    """Where keys cannot be listed the lines about what is stored are left out."""

    class NoList(zarrv3.Layer):
        kind = "no-list"

        @property
        def capabilities(self) -> zarrv3.Capabilities:
            return self.inner.capabilities.without("list")

    store = NoList(MemoryStore())
    assert list(dict(zarrv3.zeros(3, store=store, path="x").info))[-2:] == ["No. bytes", "Damage is detected"]
    assert list(dict(zarrv3.group(store, path="g").info))[-1] == "Store type"


def test_whether_several_writers_are_safe() -> None:
    """A complete report says whether several writers are safe and why; the short one only where they are not."""

    class NoSwap(zarrv3.Layer):
        kind = "no-swap"

        @property
        def capabilities(self) -> zarrv3.Capabilities:
            return self.inner.capabilities.without("swap")

    name = "Safe with several writers"
    safe, unsafe = MemoryStore(), NoSwap(MemoryStore())
    for store in (safe, unsafe, zarrv3.ReadOnly(unsafe)):
        node = zarrv3.open_group(store, mode="a" if store.capabilities.write else "r")
        if store.capabilities.write:
            node.create_array("a", shape=1, dtype="i4")
        for either in (node, node["a"]):
            assert dict(either.info_complete())[name] == store.several_writers
            assert (name in dict(either.info)) == (store is unsafe)
    assert safe.several_writers.startswith("yes, because only one process")
    assert unsafe.several_writers.startswith("no, because it cannot swap")
    assert zarrv3.ReadOnly(unsafe).several_writers == "yes, because nothing can be written"


def test_groups() -> None:
    """A group's report counts and names its members."""
    root = zarrv3.group()
    root.create_group("g/h")
    root.zeros("x", shape=1)
    lines = dict(root.info)
    assert (lines["No. members"], lines["No. arrays"], lines["No. groups"]) == ("2", "1", "1")
    assert (lines["Arrays"], lines["Groups"]) == ("x", "g")
    root.attrs["unit"] = "mm"
    del lines["Store type"]
    assert dict(root.info_complete()) == {
        **lines,
        "Safe with several writers": root.store.several_writers,
        "Store": root.store.describe(),
        "Attribute 'unit'": "'mm'",
    }


@pytest.mark.parametrize("missing", ["zarrv3_tools", "zarrv3_tools.notebook"])
def test_notebooks_show_the_text_without_tools(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `zarrv3-tools` is not installed, or is too old to draw, nothing has a form in HTML, and notebooks show the text."""
    monkeypatch.delitem(sys.modules, "zarrv3_tools.notebook", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    root = zarrv3.create_group({})
    array = root.create_array("x", shape=3, dtype="i1")
    assert [one._repr_html_() for one in (root, array, root.tree(), root.info, array.info)] == [None] * 5


def test_broken_tools_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What draws for notebooks and lacks something itself is an error, not a silent fall back."""

    def load(name: str) -> None:
        raise ModuleNotFoundError(f"{name} lacks something", name="something")

    monkeypatch.setattr(display, "import_module", load)
    with pytest.raises(ModuleNotFoundError, match="something"):
        zarrv3.create_group({})._repr_html_()


def test_stores_on_disk(tmp_path: Path) -> None:
    """The bytes stored are those on disk."""
    array = zarrv3.array(np.arange(1000.0), store=str(tmp_path), path="x", chunks=100)
    on_disk = sum(path.stat().st_size for path in (tmp_path / "x").rglob("*") if path.is_file())
    assert array.nbytes_stored() == on_disk
    assert re.search(rf"No\. bytes stored +: {on_disk}\b", str(array.info))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1024 (1.0K)"),
        (800000000, "800000000 (762.9M)"),
        (2**80, f"{2**80} (1048576.0E)"),
    ],
)
def test_human(number: int, text: str) -> None:
    """Numbers from 1024 on have a short form beside them."""
    assert human(number) == text


def test_names_move_no_cursor() -> None:
    """Reports and drawings show control characters in names and values as Python writes them, one line a node."""
    group = zarrv3.create_group({})
    group.create_array(
        "a\x1b[2J\nb/c", shape=1, dtype="string", fill_value="\x9b", dimension_names=["\u202e"]
    )
    array = group["a\x1b[2J\nb/c"]
    texts = [str(group.info), str(group.tree()), str(array.info_complete()), repr(group["a\x1b[2J\nb"])]
    assert all(line.isprintable() for text in texts for line in text.split("\n"))
    assert [line.count("a\\x1b[2J\\nb") for line in str(group.tree()).split("\n")] == [0, 1, 0]
