"""Changes below consolidated metadata: who makes them is warned, and who reads by them never gets values that are not there."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Array, Counting, Group, MemoryStore
from zarrv3.errors import MetadataError, NodeNotFoundError, StaleMetadataWarning
from zarrv3.hierarchy.nodes import Above


@pytest.fixture
def store() -> MemoryStore:
    """A consolidated hierarchy with a full array, an array of which nothing is stored, and one deep down."""
    store = MemoryStore()
    root = zarrv3.group(store)
    root.create_array("full", data=np.arange(1, 7), chunks=2)
    root.create_array("sparse", shape=6, chunks=2, dtype="i4")
    root.create_array("a/b/deep", data=np.arange(1, 5), chunks=2)
    zarrv3.consolidate_metadata(store)
    return store


CHANGES: dict[str, Callable[[Group], object]] = {
    "append": lambda root: root["full"].append([9]),
    "resize": lambda root: root["full"].resize(4),
    "resize_with": lambda root: root["full"].resize_with(lambda shape: (shape[0] + 1,)),
    "attributes of an array": lambda root: root["full"].attrs.update(a=1),
    "attributes of a group": lambda root: root["a"].attrs.update(a=1),
    "removing an attribute": lambda root: root["a/b"].attrs.put({"x": 1}),
    "del": lambda root: root.__delitem__("a/b/deep"),
    "clear": lambda root: root["a/b"].clear(),
    "clear of the top": lambda root: root.clear(),
    "move": lambda root: root.move("a/b/deep", "new/place"),
    "create_array": lambda root: root.create_array("new", shape=1),
    "create_group": lambda root: root["a"].create_group("new"),
    "create_hierarchy": lambda root: root.create_hierarchy({"a/new": root["a"].metadata}),
    "replacing": lambda root: root.__setitem__("full", [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_who_changes_a_document_is_told(store: MemoryStore, name: str) -> None:
    """Whatever makes consolidated metadata stale is done and warns, from the line of the caller."""
    with pytest.warns(
        StaleMetadataWarning, match=r"'zarr.json' in .* are stale: a node was \w+ below"
    ) as told:
        CHANGES[name](zarrv3.open_group(store))
    assert [Path(warning.filename).name for warning in told] == [Path(__file__).name]
    with pytest.warns(StaleMetadataWarning):
        assert zarrv3.ConsolidatedMetadataStore(store).verify()


def test_nobody_is_told_without_a_reason(store: MemoryStore) -> None:
    """Changes of values, of the top itself, of what is not consolidated, and those that change nothing, do not warn."""
    root = zarrv3.open_group(store)
    root["full"][1] = 5
    root["full"].resize(6)
    root["full"].append(np.empty(0))
    root["a"].attrs.update({})
    root.attrs["title"] = "x"
    zarrv3.consolidate_metadata(root, "a")
    assert not zarrv3.ConsolidatedMetadataStore(store).verify()
    other = zarrv3.group()
    other.create_array("a/b/x", data=[1]).append([2])
    other.move("a/b", "c")
    del other["c"]
    other.clear()


def test_each_group_above_is_told_of(store: MemoryStore) -> None:
    """Each of several groups that were consolidated on their own is named; so is one that an array opened by path lies in."""
    zarrv3.consolidate_metadata(store, "a/b")
    for opened in (zarrv3.open_group(store)["a/b/deep"], zarrv3.open_array(store, path="a/b/deep")):
        with pytest.warns(StaleMetadataWarning) as told:
            opened.append([1])
        assert [str(one.message).split("'")[1] for one in told] == ["zarr.json", "a/b/zarr.json"]


def test_consolidating_meanwhile_is_noticed() -> None:
    """An object that was opened before this process consolidates warns at its next change; after others did, before long."""
    root = zarrv3.group()
    array = root.create_array("x", data=[1])
    array.append([1])
    zarrv3.consolidate_metadata(root.store)
    with pytest.warns(StaleMetadataWarning):
        array.append([1])

    other = zarrv3.group()
    array = other.create_array("x", data=[1])
    array.append([1])
    document = zarrv3.consolidate_metadata({**other.store}).store["zarr.json"]
    other.store["zarr.json"] = document  # as another process does
    with pytest.warns(StaleMetadataWarning):
        _ = [array.append([1]) for _ in range(Above.AGAIN)]


@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.filterwarnings("ignore::zarrv3.errors.StaleMetadataWarning")
def test_what_telling_costs(store: MemoryStore, consolidated: bool) -> None:
    """A change costs nothing more where the groups above were opened on the way, else one call for the first of many."""
    if not consolidated:
        root = zarrv3.open_group(store)
        root.store["zarr.json"] = zarrv3.group().store["zarr.json"]
    counting = Counting(store)

    def requested(action: Callable[[], object]) -> tuple[int, int]:
        counting.reset()
        action()
        return sum(counting.calls.values()), sum(counting.requested.values())

    member = zarrv3.open_group(counting)["full"]
    member.append([1, 2])
    ordinary = requested(lambda: member.append([1, 2]))
    assert ordinary == (3, 3)  # the document is read and swapped, a chunk is written
    for _ in range(4):
        assert requested(lambda: member.append([1, 2])) == ordinary
    member = zarrv3.open_group(counting)["full"]
    assert requested(lambda: member.append([1, 2])) == ordinary
    by_path = zarrv3.open_array(counting, path="a/b/deep")
    assert requested(lambda: by_path.append([1, 2])) == (ordinary[0] + 1, ordinary[1] + 3)
    assert requested(lambda: by_path.append([1, 2])) == ordinary


def test_a_warning_as_an_error_loses_nothing(store: MemoryStore) -> None:
    """Where warnings are errors the change has been made all the same, values included."""
    array = zarrv3.open_group(store)["full"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StaleMetadataWarning):
            array.append([7, 8])
    assert zarrv3.open_array(store, path="full")[...].tolist() == [*range(1, 9)]


# ---------------------------------------------------------------- reading


def seen(store: Any) -> Group:
    """The hierarchy by its consolidated metadata, for reading and writing."""
    return zarrv3.open_group(store, mode="r+", use_consolidated=True)


@pytest.mark.filterwarnings("ignore:.*a node was .* below")
@pytest.mark.parametrize("how", ["del", "clear", "move", "del of the group above"])
@pytest.mark.parametrize("use", ["read", "write a part", "write whole chunks"])
def test_an_array_that_is_gone_is_an_error(store: MemoryStore, how: str, use: str) -> None:
    """An array that is gone is told as such: it is not full of fill values, and takes no values that nobody would see."""
    array = seen(store)["a/b/deep"]
    root = zarrv3.open_group(store)
    {
        "del": lambda: root.__delitem__("a/b/deep"),
        "clear": root["a/b"].clear,
        "move": lambda: root.move("a/b/deep", "new"),
        "del of the group above": lambda: root.__delitem__("a"),
    }[how]()
    before = dict(store.items())
    refused = {
        "read": lambda: array[...],
        "write a part": lambda: array.__setitem__(slice(0, 1), 5),
        "write whole chunks": lambda: array.__setitem__(slice(0, 2), 5),
    }[use]
    with pytest.raises(NodeNotFoundError, match=r"no array at /a/b/deep .* any more.*use_consolidated=False"):
        refused()
    assert dict(store.items()) == before


@pytest.mark.filterwarnings("ignore:.*a node was .* below")
def test_an_array_that_is_another_by_now_is_an_error(store: MemoryStore) -> None:
    """Where the form of the chunks is another, missing chunks are not fill values of the old one, and none is written."""
    group = seen(store)
    root = zarrv3.open_group(store)
    root.create_array("sparse", shape=6, chunks=3, dtype="f8", fill_value=7, overwrite=True)
    root.create_group("full", overwrite=True)
    store["a/b/deep/zarr.json"] = b"no JSON"
    for name in ("sparse", "full"):
        with pytest.raises(MetadataError, match=f"/{name} .* is another array by now"):
            group[name][...]
        with pytest.raises(MetadataError):
            group[name][...] = 1
    assert group["a/b/deep"][...].tolist() == [1, 2, 3, 4]
    with pytest.raises(MetadataError):
        group["a/b/deep"][0:2] = 1


@pytest.mark.filterwarnings("ignore:.*a node was .* below")
def test_another_shape_is_told(store: MemoryStore) -> None:
    """Where only shape or attributes are others, missing chunks are the fill value, with one warning."""
    group = seen(store)
    zarrv3.open_array(store, path="full").resize(2)
    zarrv3.open_array(store, path="a/b/deep").attrs["new"] = 1
    with pytest.warns(StaleMetadataWarning, match="/full changed"):
        assert group["full"][...].tolist() == [1, 2, 0, 0, 0, 0]
    assert group["full"][...].tolist() == [1, 2, 0, 0, 0, 0]
    with pytest.warns(StaleMetadataWarning, match="/a/b/deep changed"):
        group["a/b/deep"][0] = 9


def test_what_looking_costs(store: MemoryStore) -> None:
    """Reading what is stored costs nothing more; the first missing chunk of an array, and its first write, one request."""
    counting = Counting(store)
    group = seen(counting)
    assert counting.requested == {"get_many": 1}
    group["full"][...]
    group["full"][0:1]
    assert counting.requested == {"get_many": 5}
    for _ in range(3):
        group["sparse"][...]
    assert counting.requested == {"get_many": 15}
    assert counting.calls == {"get_many": 7}
    for _ in range(3):
        group["a/b/deep"][0:2] = 1
    assert counting.requested == {"get_many": 16, "write_many": 3}


@pytest.mark.parametrize("options", [{}, {"shards": 4}, {"chunks": 1}])
def test_in_several_processes(tmp_path: Path, options: dict[str, Any]) -> None:
    """A process that changes is warned, and one that reads by what was consolidated before gets values or an error."""
    root = zarrv3.group(tmp_path / "x")
    for name in ("kept", "gone"):
        root.create_array(name, data=np.arange(1, 9), **{"chunks": 2, **options})
    zarrv3.consolidate_metadata(tmp_path / "x")
    reader: Array = zarrv3.open_group(tmp_path / "x", mode="r")["gone"]
    program = (
        "import sys, warnings, zarrv3\n"
        "root = zarrv3.open_group(sys.argv[1])\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    zarrv3.open_array(sys.argv[1], path='kept').append([9])\n"
        "    del root['gone']\n"
        "print(*(type(one.message).__name__ for one in told))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["StaleMetadataWarning"] * 2
    with pytest.raises(NodeNotFoundError):
        reader[0]
    assert zarrv3.open_group(tmp_path / "x", mode="r")["kept"][...].tolist() == [*range(1, 9)]


class Interrupted(zarrv3.Layer):
    """A layer below which a chunk is not written, once, but something else is done."""

    kind = "interrupted"
    instead: Callable[[], object] | None = None

    def write_many(self, changes: Any, /) -> None:
        """Fail once."""
        self._fail(changes)
        super().write_many(changes)

    def swap_many(self, swaps: Any, /) -> Any:
        """Fail once."""
        self._fail(swaps)
        return super().swap_many(swaps)

    def apply_many(self, changes: Any, /) -> None:
        """Fail once."""
        self._fail(changes)
        super().apply_many(changes)

    def _fail(self, keys: Any) -> None:
        instead = self.instead
        if instead is not None and not any(key.endswith("zarr.json") for key in keys):
            self.instead = None
            instead()
            raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{"chunks": 4}, {"chunks": 3}, {"chunks": 2, "shards": 4}])
@pytest.mark.parametrize("behind", [False, True])
def test_a_failed_append_leaves_no_hole(behind: bool, options: Any) -> None:
    """An append that fails gives its place back, unless somebody has appended behind it."""
    below = MemoryStore()
    store = Interrupted(below)
    array = zarrv3.create_array(store, name="x", data=np.arange(1, 7), **options)
    other = zarrv3.open_array(below, path="x")
    store.instead = (lambda: other.resize(9)) if behind else (lambda: None)
    with pytest.raises(KeyboardInterrupt):
        array.append([7, 8])
    expected = [*range(1, 7), 0, 0, 0] if behind else [*range(1, 7)]
    assert zarrv3.open_array(below, path="x")[...].tolist() == expected
    array.append([5])
    assert zarrv3.open_array(below, path="x")[...].tolist() == [*expected, 5]


def test_what_others_append_to_a_new_array_is_kept() -> None:
    """The object that created an array keeps what others have appended since, also where it writes the chunk at the edge."""
    store = MemoryStore()
    array = zarrv3.create_array(store, name="x", shape=10, chunks=4, dtype="i4")
    filled = zarrv3.create_array(store, name="y", data=np.ones(10), chunks=4)
    for name in ("x", "y"):
        zarrv3.open_array(store, path=name).append([7, 8])
    array[...] = filled[...] = 1
    for name in ("x", "y"):
        assert zarrv3.open_array(store, path=name)[...].tolist() == [1] * 10 + [7, 8]


def test_creating_with_data_reads_no_chunk() -> None:
    """The values that an array is created with are written without looking for others, at the edge neither."""
    counting = Counting(MemoryStore())
    zarrv3.create_array(counting, name="x", data=np.ones(10), chunks=4)
    assert "get_versioned" not in counting.calls
