"""Replacing nodes: what is there stays, as a whole, until what takes its place is whole."""

from __future__ import annotations

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import NodeExistsError
from zarrv3.hierarchy.replacing import replacing
from zarrv3.layers.base import Layer
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Capabilities


class Without(Layer):
    """A store that lacks some capabilities."""

    kind = "without"

    def __init__(self, store: BaseStore, *lost: str) -> None:
        super().__init__(store)
        self._lost = lost

    @property
    def capabilities(self) -> Capabilities:
        """Fewer."""
        return self.inner.capabilities.without(*self._lost)


@pytest.fixture(
    params=[(), ("replace",), ("replace", "transactions")], ids=["replace", "transact", "neither"]
)
def store(request: pytest.FixtureRequest) -> Without:
    """A store that can replace, one that has transactions, and one that has neither."""
    store = Without(zarrv3.MemoryStore(), *request.param)
    zarrv3.save(store, old=np.arange(3), other=np.arange(4), path="g")
    return store


def keys(store: BaseStore) -> list[str]:
    """All keys."""
    return sorted(store.list_prefix(""))


def test_what_fails_leaves_the_old_node(store: Without) -> None:
    """Whatever has been written of the new one is gone."""
    before = store.getitems(keys(store))

    def fails() -> None:
        with replacing(store, "g", lambda: 100) as site:
            zarrv3.save(site.store, x=np.arange(3), path=site.path, overwrite=True)
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fails()
    if store.capabilities.replace or store.capabilities.transactions:
        assert store.getitems(keys(store)) == before
    else:
        assert "g/old/zarr.json" not in keys(store)


def test_nodes_are_replaced(store: Without) -> None:
    """By an array and by a group, and the root too; nothing else is left."""
    zarrv3.save(store, np.arange(5), path="g/old", overwrite=True)
    assert zarrv3.load(store, "g/old").tolist() == [*range(5)]
    zarrv3.save(store, x=np.arange(2), y=np.arange(3), path="g/other", overwrite=True)
    assert {name: found.tolist() for name, found in zarrv3.load(store, "g/other").items()} == {
        "x": [0, 1],
        "y": [0, 1, 2],
    }
    zarrv3.save(store, np.arange(7), overwrite=True)
    assert keys(store) == ["c/0", "zarr.json"]


def test_values_may_come_from_what_is_replaced(store: Without) -> None:
    """They are read before it goes."""
    group = zarrv3.open_group(store)
    group["g/other"] = group["g/other"]
    assert zarrv3.load(store, "g/other").tolist() == [0, 1, 2, 3]


def test_what_is_not_zarrs_stays(store: Without) -> None:
    """A node among foreign files is replaced where it is."""
    store.write_many({"g/notes.txt": b"mine"})
    zarrv3.save(store, np.arange(5), path="g", overwrite=True)
    assert keys(store) == ["g/c/0", "g/notes.txt", "g/zarr.json", "zarr.json"]


def test_what_a_dead_process_left_is_not_a_node_and_goes_with_the_old_one(store: Without) -> None:
    """It is neither listed nor kept as something foreign."""
    left = {"g/__new-01234567/zarr.json.copying": b"", "g/__new-01234567/node/v/0.0": b"1"}
    store.write_many(left)
    assert [*zarrv3.open_group(store, path="g")] == ["old", "other"]
    zarrv3.save(store, np.arange(5), path="g", overwrite=True)
    assert keys(store) == ["g/c/0", "g/zarr.json", "zarr.json"]
    store.write_many(left)
    del zarrv3.open_group(store)["g"]
    assert keys(store) == ["zarr.json"]


@pytest.mark.parametrize("other", ["replaced", "erased"])
def test_of_two_who_replace_a_node_one_wins_as_a_whole(other: str) -> None:
    """Whoever comes later with a part of something is told, and leaves nothing."""
    store = zarrv3.MemoryStore()
    zarrv3.save(store, np.arange(3), path="a", overwrite=True)

    def late() -> None:
        with replacing(store, "a", lambda: None) as site:
            array = zarrv3.create_array(site.store, name=site.path, shape=4, dtype="i4", chunks=1)
            array[0] = 1
            if other == "replaced":
                zarrv3.save(store, np.arange(5), path="a", overwrite=True)
            else:
                del zarrv3.open_group(store)["a"]
            array[1] = 1

    with pytest.raises(NodeExistsError, match=r"/a in .* was replaced or erased by somebody else meanwhile"):
        late()
    assert keys(store) == (["a/c/0", "a/zarr.json"] if other == "replaced" else []) + ["zarr.json"]


def test_consolidated_metadata_above_are_told_to_be_stale(store: Without) -> None:
    """Once, when the new node is there."""
    zarrv3.consolidate_metadata(store)
    with pytest.warns(zarrv3.errors.StaleMetadataWarning) as told:
        zarrv3.save(store, np.arange(5), path="g/old", overwrite=True)
    assert len(told) == 1


def test_what_somebody_puts_into_the_folder_meanwhile_is_kept() -> None:
    """A file that is not Zarr's, put there after the new node was begun, is not erased with the old one."""
    store = zarrv3.MemoryStore()
    zarrv3.save(store, np.arange(3), path="a")
    before = store.getitems(keys(store))

    def replaced() -> None:
        with replacing(store, "a", lambda: 100) as site:
            zarrv3.save(site.store, np.arange(4), path=site.path)
            store["a/notes.txt"] = b"mine"

    with pytest.raises(NodeExistsError, match="not Zarr's"):
        replaced()
    assert store.getitems(keys(store)) == before | {"a/notes.txt": b"mine"}
