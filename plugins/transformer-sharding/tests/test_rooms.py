"""Memory that large shards are put together in, and that is used again."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import SwapUnknownError
from zarrv3.store.contract import Buffer, Changes, Swaps
from zarrv3_transformer_sharding import rooms
from zarrv3_transformer_sharding.rooms import LARGE, Rooms


@pytest.fixture(autouse=True)
def spare(monkeypatch: pytest.MonkeyPatch) -> list[bytearray]:
    """What is kept: nothing at first."""
    kept: list[bytearray] = []
    monkeypatch.setattr(rooms, "_spare", kept)
    return kept


def test_a_room_is_used_again(spare: list[bytearray]) -> None:
    """What one change leaves the next one works in, if it is large enough; what is in use nobody else gets."""
    parts = [b"a" * LARGE, memoryview(b"bc").cast("b"), bytearray(b"d")]
    one, other = Rooms(), Rooms()
    first, second = one.join(parts), other.join(parts)
    assert first == second == b"".join(parts)
    one.leave()
    [room] = spare
    third = other.join([b"x" * (LARGE + 1)])
    assert not spare
    assert second == b"".join(parts)
    assert isinstance(third, memoryview)
    assert third.obj is room
    other.leave()
    assert len(Rooms().join([b"x" * (4 * LARGE)])) == 4 * LARGE
    assert not spare


def test_few_bytes_are_kept(spare: list[bytearray]) -> None:
    """Small shards need no room, and all that is kept has a bound."""
    many = Rooms()
    assert type(many.join([b"a", b"b"])) is bytes
    for _ in range(8):
        many.join([bytes(8 * LARGE)])
    many.leave()
    assert 0 < sum(map(len, spare)) <= rooms.KEPT


class Contended(zarrv3.Layer):
    """A store whose swaps are refused some times, or made without an answer."""

    kind = "contended"

    def __init__(self, inner: object, error: type[Exception] | None = None) -> None:
        super().__init__(inner)
        self.refusals, self.error = 0, error
        self.seen: list[Buffer] = []

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """Keep hold of the values, as a request that is still under way does."""
        if not self.refusals:
            return self.inner.swap_many(swaps)
        self.refusals -= 1
        self.seen += [new for _, new in swaps.values() if new is not None]
        if self.error is not None:
            raise self.error("lost")
        return [*swaps]

    def write_many(self, changes: Changes, /) -> None:
        """Pass on."""
        self.inner.write_many(changes)

    def apply_many(self, changes: Changes, /) -> None:
        """Pass on."""
        self.inner.apply_many(changes)


@pytest.mark.parametrize("error", [None, SwapUnknownError])
def test_attempts_do_not_add_up(
    error: type[Exception] | None, tmp_path: Path, spare: list[bytearray]
) -> None:
    """Of a change that is made again and again one room is kept, and not one that a lost attempt may still be sending from."""
    data = np.zeros((1, 160_000)) + 1
    store = Contended(zarrv3.open_store(str(tmp_path)), error)
    array = zarrv3.create_array(store, data=data, chunks=(1, 16_000), shards=(1, 160_000), compressors=None)
    spare.clear()
    store.refusals = 5
    array[0, 7] = data[0, 7] = 2
    assert len(store.seen) == 5
    [room] = spare
    assert all(isinstance(value, memoryview) and value.obj is not room for value in store.seen)
    np.testing.assert_array_equal(array[:], data)


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_large_shards_are_changed_at_once(kind: str, tmp_path: Path) -> None:
    """Several threads change parts of several large shards, again and again: each element is what was written to it last."""
    data = np.random.default_rng(0).random((4, 160_000))
    store = str(tmp_path / "s") if kind == "directory" else zarrv3.MemoryStore()
    array = zarrv3.create_array(store, data=data, chunks=(1, 16_000), shards=(1, 160_000), compressors=None)

    def change(row: int) -> None:
        for place in range(0, 160_000, 30_000):
            array[row, place] = data[row, place] = row + place

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(change, range(4))]
    assert np.array_equal(array[...], data)
