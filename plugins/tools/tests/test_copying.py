"""Copies from store to store."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3 import Group, MemoryStore, ReadOnly
from zarrv3.errors import NodeExistsError, NodeNotFoundError, NodeTypeError, ReadOnlyError, ZarrError
from zarrv3.store.contract import Changes, Swaps


@pytest.fixture
def source() -> Group:
    """A hierarchy with values."""
    root = zarrv3.group()
    root.create_array("g/x", data=np.arange(1000), chunks=10)
    root.create_array("g/h/y", data=np.ones((3, 3)))
    root.create_group("other", attributes={"a": 1})
    return root


def below(store: Any, folder: str) -> dict[str, bytes]:
    """The keys below a folder, without it, with their values."""
    return {key[len(folder) :]: store[key] for key in store.list_prefix(folder)}


def test_whole_hierarchies(source: Group, tmp_path: Path) -> None:
    """Everything is copied byte for byte, between stores of any kind, with progress in bytes."""
    seen: list[tuple[int, int]] = []
    report = zarrv3.copy(source.store, str(tmp_path / "a"), progress=lambda *a: seen.append(a))
    target = zarrv3.open_store(str(tmp_path / "a"))
    assert dict(target.items()) == dict(source.store.items())
    assert report.chunks + report.documents == len(source.store)
    assert (report.arrays, report.groups, report.bytes) == (2, 4, source.store.getsize())
    assert seen == sorted(seen)
    assert seen[-1] == (source.store.getsize(), source.store.getsize())
    assert zarrv3.open_group(target)["g/x"][...].tolist() == list(range(1000))


def test_one_node(source: Group) -> None:
    """A node is copied to another path, also within one store, and the groups above it are made."""
    other = MemoryStore()
    zarrv3.copy(source.store, other, source_path="g/x", dest_path="deep/down/x")
    assert below(other, "deep/down/x/") == below(source.store, "g/x/")
    assert "deep/zarr.json" in other
    zarrv3.copy(source["g"], source, dest_path="g2")
    assert below(source.store, "g2/") == below(source.store, "g/")
    zarrv3.copy(source["g"], source["other"], source_path="h", dest_path="h")
    assert source["other/h/y"][...].sum() == 9


def test_overwriting(source: Group) -> None:
    """What is at the destination stays unless it is to be replaced; then nothing of it stays."""
    other = zarrv3.group()
    other.create_array("g/old", data=[1])
    before = dict(other.store.items())
    with pytest.raises(NodeExistsError, match=r"/g in .*overwrite=True"):
        zarrv3.copy(source.store, other.store, source_path="g", dest_path="g")
    assert dict(other.store.items()) == before
    zarrv3.copy(source.store, other.store, source_path="g", dest_path="g", overwrite=True)
    assert below(other.store, "g/") == below(source.store, "g/")


def test_leftovers_are_no_place(source: Group) -> None:
    """Chunks without a document at the destination would become values of the copy: refused."""
    other = MemoryStore({"x/c/5": b"old"})
    with pytest.raises(NodeExistsError):
        zarrv3.copy(source.store, other, source_path="g/x", dest_path="x")
    assert len(other) == 1


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("nope", "z", NodeNotFoundError),
        ("g", "g", NodeExistsError),
        ("g", "g/h/z", NodeExistsError),
        ("g/h", "g", NodeExistsError),
        ("other", "g/x/z", NodeTypeError),
    ],
)
def test_impossible_copies(source: Group, old: str, new: str, error: type[ZarrError]) -> None:
    """A copy into itself, below an array or of nothing is refused, also with `overwrite`, and nothing is changed."""
    before = dict(source.store.items())
    for overwrite in (False, True):
        with pytest.raises(error):
            zarrv3.copy(source.store, source.store, source_path=old, dest_path=new, overwrite=overwrite)
    assert dict(source.store.items()) == before


def test_read_only_destination(source: Group) -> None:
    """A store that cannot be written is refused before anything is read."""
    with pytest.raises(ReadOnlyError):
        zarrv3.copy(source.store, ReadOnly(MemoryStore()))


@pytest.mark.parametrize("overwrite", [False, True])
def test_destination_open_for_reading(source: Group, *, overwrite: bool) -> None:
    """A group that was opened for reading is refused as a destination, though its store could be written; it may be a source."""
    store = MemoryStore()
    zarrv3.create_group(store, path="g")
    before = dict(store.items())
    for dest in (zarrv3.open_group(store, mode="r", path="g"), Group(store, "g", read_only=True)):
        with pytest.raises(ReadOnlyError):
            zarrv3.copy(source.store, dest, dest_path="" if overwrite else "new", overwrite=overwrite)
    assert dict(store.items()) == before
    zarrv3.copy(zarrv3.open_group(source.store, mode="r"), store, dest_path="new")
    assert [*zarrv3.open_group(store, path="new")] == [*source]


def test_documents_come_last(source: Group) -> None:
    """A node can be opened at the destination only when all below it is there."""
    order: list[str] = []

    class Watching(zarrv3.Layer):
        kind = "watching"

        def write_many(self, changes: Changes, /) -> None:
            super().write_many(changes)
            order.extend(changes)

        def swap_many(self, swaps: Swaps, /) -> Collection[str]:
            order.extend(swaps)
            return super().swap_many(swaps)

        def apply_many(self, changes: Changes, /) -> None:
            super().apply_many(changes)
            order.extend(changes)

    zarrv3.copy(source.store, Watching(MemoryStore()))
    assert order[-1] == "zarr.json"
    for position, key in enumerate(order):
        if key.endswith("zarr.json"):
            folder = key.removesuffix("zarr.json")
            assert not [later for later in order[position + 1 :] if later.startswith(folder)]


def test_hierarchies_of_any_depth() -> None:
    """A hierarchy deeper than Python's calls may be is copied and verified."""
    source, dest = zarrv3.MemoryStore(), zarrv3.MemoryStore()
    zarrv3.create_group(source, path="/".join("a" * 1500)).create_array("x", data=[1, 2])
    zarrv3.copy(source, dest)
    assert {key: dest[key] for key in dest} == {key: source[key] for key in source}
    assert zarrv3.verify(dest).groups == 1501
