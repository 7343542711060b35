"""Memory that large shards are put together in, and that is used again."""

import gc
import weakref
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3.chunks import rooms
from zarrv3.chunks.rooms import LARGE, Room, Rooms
from zarrv3.errors import SwapUnknownError
from zarrv3.store.contract import Buffer, Changes, Swaps


@pytest.fixture(autouse=True)
def spare(monkeypatch: pytest.MonkeyPatch) -> list[Room]:
    """What is kept: nothing at first."""
    kept: list[Room] = []
    monkeypatch.setattr(rooms, "_spare", kept)
    return kept


def test_a_room_is_used_again(spare: list[Room]) -> None:
    """What one change leaves the next one works in, if it is large enough; what is in use nobody else gets."""
    parts = [b"a" * LARGE, memoryview(b"bc").cast("b"), bytearray(b"d")]
    one, other = Rooms(), Rooms()
    first, second = one.join(parts), other.join(parts)
    assert first == second == b"".join(parts)
    one.close()
    [room] = spare
    third = other.join([b"x" * (LARGE + 1)])
    assert not spare
    assert second == b"".join(parts)
    assert isinstance(third, memoryview)
    assert third.obj is room
    other.close()
    assert len(Rooms().join([b"x" * (4 * LARGE)])) == 4 * LARGE
    assert not spare


def test_few_bytes_are_kept(spare: list[Room]) -> None:
    """Small shards need no room, and all that is kept has a bound."""
    many = Rooms()
    assert type(many.join([b"a", b"b"])) is bytes
    for _ in range(8):
        many.join([bytes(8 * LARGE)])
    many.close()
    assert 0 < sum(map(len, spare)) <= rooms.KEPT


def test_chunks_that_lie_in_a_room_are_not_copied() -> None:
    """All chunks of a room, in their order, become one value where they lie; anything else is copied."""
    mine = Rooms()

    def filled() -> list[memoryview]:
        room = mine.lend(3 * LARGE)
        view: memoryview = room.data
        room[: 2 * LARGE] = np.arange(2 * LARGE) % 251
        chunks = [view[:7], view[7 : 2 * LARGE]]
        room.note(chunks)
        return chunks

    end = memoryview(b"index")
    first, second = filled()
    whole = b"".join([first, second, end])
    joined = mine.join([first, second, end])
    assert joined == whole
    assert isinstance(joined, memoryview)
    assert joined.obj is first.obj
    for parts in (
        [second, first, end],
        [first, end],
        [end, first, second],
        [first, second, bytes(2 * LARGE)],
    ):
        expected = b"".join(parts)
        copied = mine.join(parts)
        assert copied == expected
        assert getattr(copied, "obj", None) is not first.obj
        assert b"".join([first, second]) == whole[:-5]


def test_memory_is_freed_at_once() -> None:
    """What nobody needs any more goes without waiting for the garbage collector."""
    rooms = Rooms()
    room = rooms.lend(LARGE)
    chunk: memoryview = room.data[:5]
    room.note([chunk])
    assert bytes(rooms.join([chunk, b"end"])[-3:]) == b"end"
    gone = weakref.ref(room)
    gc.disable()
    try:
        rooms.forget()
        del room, chunk
        assert gone() is None
    finally:
        gc.enable()


@given(
    st.lists(st.sampled_from(["full", "empty", "odd"]), min_size=8, max_size=8),
    st.integers(0, 7),
    st.sampled_from([None, "crc32c"]),
)
def test_shards_are_what_python_makes(kinds: list[str], cut: int, checksum: str | None) -> None:
    """Shards of several MiB, some of whose chunks are empty or set on their own, are byte for byte what Python makes."""
    rng = np.random.default_rng(0)
    values = {"full": rng.random(40_000), "empty": np.zeros(40_000), "odd": np.arange(40_000.0)}
    data = np.concatenate([values[kind] for kind in kinds])
    found = []
    for name in ("native", "none"):
        with TemporaryDirectory() as folder, zarrv3.config.set(kernels=name, threads=2):
            store = zarrv3.open_store(folder)
            array = zarrv3.create_array(
                store,
                shape=320_000,
                dtype="f8",
                chunks=20_000,
                shards=160_000,
                compressors=checksum,
                fill_value=0,
            )
            array[: cut * 40_000] = data[: cut * 40_000]
            array[cut * 40_000 :] = data[cut * 40_000 :]
            array[5] = 1
            array[...] = data
            np.testing.assert_array_equal(array[...], data)
            found.append({key: bytes(value) for key, value in store.items()})
    assert found[0] == found[1]


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
def test_attempts_do_not_add_up(error: type[Exception] | None, tmp_path: Path, spare: list[Room]) -> None:
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
