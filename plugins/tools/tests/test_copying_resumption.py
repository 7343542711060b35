"""Copies that are interrupted, and go on."""

from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Group, Layer, MemoryStore, Prefix, ReadOnly
from zarrv3.errors import (
    MetadataError,
    NodeExistsError,
    NodeNotFoundError,
    ReadOnlyError,
    StoreUnavailableError,
)
from zarrv3.store.contract import Changes, Swaps
from zarrv3.testing import Faults
from zarrv3.testing.interrupts import interruptions

GZIP = {"name": "gzip", "configuration": {"level": 1}}


class Writes(Layer):
    """Knows how often each key was stored."""

    kind = "writes"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.stored: Counter[str] = Counter()

    def write_many(self, changes: Changes, /) -> None:
        """Count the keys that get a value."""
        super().write_many(changes)
        self.stored.update([key for key, value in changes.items() if value is not None])

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Count the keys that get a value."""
        refused = super().swap_many(swaps)
        self.stored.update([key for key in swaps if key not in refused])
        return refused

    def apply_many(self, changes: Changes, /) -> None:
        """Count the keys that get a value."""
        super().apply_many(changes)
        self.stored.update([key for key, value in changes.items() if value is not None])


@pytest.fixture
def root() -> Group:
    """A hierarchy of several windows."""
    return made()


def made() -> Group:
    """A hierarchy of several windows; no chunk is empty."""
    root = zarrv3.group()
    root.create_array("g/x", data=np.arange(1, 301), chunks=1)
    root.create_array("g/h/y", data=np.ones((30, 30)), chunks=5)
    root.create_group("other", attributes={"a": 1})
    return root


def is_complete(group: Group, store: Any) -> bool:
    """Whether a store shows the same hierarchy."""
    copied = zarrv3.open_group(store, mode="r")
    return {path: dict(node.attrs) for path, node in copied.members(None)} == {
        path: dict(node.attrs) for path, node in group.members(None)
    } and all(
        np.array_equal(copied[path][...], array[...])
        for path, array in group.members(None)
        if not isinstance(array, Group)
    )


@given(
    st.integers(0, 8),
    st.integers(0, 99),
    st.sampled_from([{}, {"chunks": 7}, {"compressors": GZIP}]),
)
def test_interrupted_copies_go_on(after: int, seed: int, change: dict[str, Any]) -> None:
    """After a failure at any call there is no node at the top; resumed, no value is stored a second time."""
    group, inner = made(), MemoryStore()
    writes = Writes(inner)
    faults = Faults(writes, seed=seed)

    class Late(Layer):
        kind = "late"
        calls = 0

        def write_many(self, changes: Changes, /) -> None:
            self.calls += any(value is not None for value in changes.values())
            if self.calls == after + 1:
                faults.fail_next("write_many")
            super().write_many(changes)

        def swap_many(self, swaps: Swaps, /) -> Collection[str]:
            return super().swap_many(swaps)

        def apply_many(self, changes: Changes, /) -> None:
            super().apply_many(changes)

    try:
        zarrv3.copy(group, Late(faults), **change)
    except StoreUnavailableError:
        assert "zarr.json" not in inner or is_complete(group, inner)  # stored before the call failed
        if len(inner):
            with pytest.raises(NodeExistsError, match="resume=True"):
                zarrv3.copy(group, inner, **change)
    report = zarrv3.copy(group, writes, resume=True, **change)
    assert is_complete(group, inner)
    assert not [
        key
        for key, times in writes.stored.items()
        if times > 1 and not key.endswith(("zarr.json.copying", "zarr.json"))
    ]
    assert not [key for key in inner if key.endswith("zarr.json.copying")]
    assert report.skipped + report.chunks + report.documents == len(inner)


def test_leftovers_of_something_else(root: Group) -> None:
    """What an earlier attempt at another copy has left is not taken for a part of this one."""
    store = MemoryStore()
    faults = Faults(store, seed=1)
    with pytest.raises(StoreUnavailableError):
        zarrv3.copy(root, _failing_at(faults, 3), chunks=7, compressors=None)
    left = [key for key in store if "/c/" in key]
    assert left
    zarrv3.copy(root, store, chunks=7, compressors=GZIP, resume=True)
    assert is_complete(root, store)
    with pytest.raises(StoreUnavailableError):
        zarrv3.copy(root, _failing_at(Faults(other := MemoryStore()), 3), chunks=7)
    zarrv3.copy(root, other, resume=True)
    assert dict(other.items()) == dict(root.store.items())


def _failing_at(faults: Faults, call: int) -> Layer:
    class Late(Layer):
        kind = "late"
        calls = 0

        def write_many(self, changes: Changes, /) -> None:
            self.calls += any(value is not None for value in changes.values())
            if self.calls == call:
                faults.fail_next("write_many")
            super().write_many(changes)

        def swap_many(self, swaps: Swaps, /) -> Collection[str]:
            return super().swap_many(swaps)

        def apply_many(self, changes: Changes, /) -> None:
            super().apply_many(changes)

    return Late(faults)


def test_marks_are_not_copied(root: Group) -> None:
    """The mark of an array whose copy is not complete does not travel with it."""
    store = MemoryStore(dict(root.store.items()))
    store["g/x/zarr.json.copying"] = b"{}"
    zarrv3.copy(store, other := MemoryStore())
    assert dict(other.items()) == dict(root.store.items())


def test_strays_are_erased(root: Group) -> None:
    """A chunk that the source has not any more does not become a value of a resumed copy."""
    zarrv3.copy(root, store := MemoryStore())
    root["g/x"][100:200] = 0
    assert "g/x/c/150" not in root.store
    zarrv3.copy(root, store, resume=True)
    assert dict(store.items()) == dict(root.store.items())


def test_another_node_is_not_continued(root: Group) -> None:
    """Where a node is that this copy would not make, resuming is refused and changes nothing."""
    store = MemoryStore()
    zarrv3.group(store).create_array("g/x", data=[1])
    before = dict(store.items())
    with pytest.raises(NodeExistsError, match="not from this copy"):
        zarrv3.copy(root, store, resume=True)
    assert store["g/x/zarr.json"] == before["g/x/zarr.json"]
    assert "other/zarr.json" not in store


def test_equal_documents_do_not_hide_missing_chunks(root: Group) -> None:
    """That a node is there already does not mean that its chunks are."""
    store = MemoryStore()
    zarrv3.create_array(store, name="g/x", shape=300, chunks=1, dtype="i8")
    zarrv3.copy(root, store, resume=True)
    assert is_complete(root, store)


# ---------------------------------------------------------------- places


def test_views_of_one_store_are_one_store(root: Group) -> None:
    """A copy into itself is refused also where layers lie between, before `overwrite` erases anything."""
    store = root.store
    before = dict(store.items())
    for source, dest, path in [
        (ReadOnly(store), store, ""),
        (ReadOnly(store), store, "new"),
        (Prefix(store, "g"), store, "g/new"),
        (store, Prefix(store, "deep"), ""),
        (Prefix(ReadOnly(store), "g"), Prefix(store, "g"), "h"),
    ]:
        for overwrite in (False, True):
            with pytest.raises((NodeExistsError, NodeNotFoundError)):
                zarrv3.copy(source, dest, dest_path=path, overwrite=overwrite)
    assert dict(store.items()) == before
    zarrv3.copy(Prefix(ReadOnly(store), "g"), store, dest_path="other/g")
    assert is_complete(root["g"], Prefix(store, "other/g"))


def test_overwriting_checks_first(root: Group) -> None:
    """What is at the destination is not erased for a copy that cannot be made."""
    store = MemoryStore()
    zarrv3.copy(root, store)
    before = dict(store.items())
    with pytest.raises(MetadataError, match="more entries"):
        zarrv3.copy(root, store, overwrite=True, chunks=(5, 5))
    assert dict(store.items()) == before


def test_sources_with_stale_metadata(root: Group) -> None:
    """A group that was opened by its consolidated metadata is copied as its documents are by now."""
    zarrv3.consolidate_metadata(root)
    opened = zarrv3.open_group(root.store)
    with pytest.warns(zarrv3.errors.StaleMetadataWarning):
        root["other"].attrs["a"] = 2
    zarrv3.copy(opened, store := MemoryStore())
    assert dict(store.items()) == dict(root.store.items())


def test_consolidated_destinations(root: Group) -> None:
    """A copy into a group that was opened by its consolidated metadata is refused before anything is written."""
    target = zarrv3.group()
    zarrv3.consolidate_metadata(target.store)
    opened = zarrv3.open_group(target.store, use_consolidated=True)
    with pytest.raises(ReadOnlyError, match="use_consolidated=False"):
        zarrv3.copy(root, opened, dest_path="new")
    assert len(target.store) == 1
    with pytest.warns(zarrv3.errors.StaleMetadataWarning, match="a node was created below"):
        zarrv3.copy(root, target.store, dest_path="new")


def test_stores_opened_here_are_closed(tmp_path: Any) -> None:
    """An archive that was given by its URL is complete on disk when the copy ends."""
    pytest.importorskip("zarrv3_store_zip")
    root = made()
    url = f"zip://{tmp_path}/a.zip"
    zarrv3.copy(root, url)
    assert is_complete(root, url)


def test_folders_are_copied_and_continued(tmp_path: Any) -> None:
    """Copies between folders of files, where not every name is free, go on too: bytes, and re-encoded arrays."""
    pytest.importorskip("zarrv3_store_directory")
    root = made()
    zarrv3.copy(root, str(tmp_path / "a"))
    for change in ({}, {"chunks": 11}):
        target = zarrv3.open_store(str(tmp_path / f"b{len(change)}"))
        with pytest.raises(StoreUnavailableError):
            zarrv3.copy(str(tmp_path / "a"), _failing_at(Faults(target), 3), **change)
        zarrv3.copy(str(tmp_path / "a"), target, resume=True, verify=True, **change)
        assert is_complete(root, target)
        assert not [key for key in target if key.endswith("copying")]


def test_interrupted_at_any_point() -> None:
    """Wherever a copy is interrupted, its source is as it was, and the next one completes what is there."""
    source = MemoryStore()
    zarrv3.create_array(source, name="a/b", shape=8, chunks=4, dtype="i4")[:] = 1
    before = dict(source.items())
    dest, kept = MemoryStore(), []

    def copy() -> None:
        zarrv3.copy(source, dest, overwrite=True)

    for error in interruptions(copy, 41):
        kept.append(error)  # with all its frames, as `sys.last_value` is
        assert dict(source.items()) == before
        assert all(value == before[key] for key, value in dest.items())
        with ThreadPoolExecutor(1) as other:
            other.submit(copy).result(60)
        assert dict(dest.items()) == before
        dest.clear()
    assert len(kept) > 20
