"""Memory that large shards are put together in, and that is used again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import zarrv3
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
