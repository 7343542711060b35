"""Arrays in a store as values: read and written part by part, and never lost where they lie in what is replaced."""

import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Array, Capabilities, MemoryStore, Prefix
from zarrv3.errors import AssignmentError, CorruptDataError, ZarrError
from zarrv3.indexing.boxes import as_box, box_shape, cut
from zarrv3.store.contract import Buffer, Request
from zarrv3.store.wrapping import DriverStore

MIB = 2**20
SHAPE = (3 * 2**12, 2**10)  # of 96 MiB
CHUNK = np.ones((2**10, 2**9)).tobytes()


class Endless:
    """A store that makes up its chunks, keeps documents, and counts the bytes of other values that are written to it."""

    capabilities = Capabilities(write=True, erase=True, list=True)

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.written = 0

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """A document, or the one chunk."""
        return [CHUNK if key.rpartition("/")[2].isdigit() else self.documents.get(key) for key, _ in requests]

    def write_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """Keep documents."""
        for key, value in changes.items():
            if not key.endswith(".json"):
                self.written += len(value or b"")
            elif value is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = bytes(value)

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """The keys of documents."""
        return iter([key for key in self.documents if key.startswith(folder)])


MOVES: dict[str, Callable[[Array, Any], object]] = {
    "create_array": lambda source, store: zarrv3.create_array(
        store, name="a", data=source, chunks=(300, 300), compressors=None
    ),
    "assignment": lambda source, store: zarrv3.open_array(store, path="there").__setitem__(..., source),
    "append": lambda source, store: zarrv3.open_array(store, path="there").append(source, axis=1),
    "group": lambda source, store: zarrv3.open_group(store).__setitem__("there", source),
    "save": lambda source, store: zarrv3.save(store, source, path="a"),
    "save_group": lambda source, store: zarrv3.save_group(store, a=source, b=source[:5], overwrite=True),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_memory(move: Callable[[Array, Any], object]) -> None:
    """An array in a store is written to another with at most 64 MiB in memory, however large it is."""
    arguments: Any = {"shape": SHAPE, "dtype": "f8", "compressors": None}
    source = zarrv3.create_array(DriverStore(Endless()), chunks=(2**10, 2**9), **arguments)
    driver = Endless()
    zarrv3.create_array(DriverStore(driver), name="there", chunks=(2**9, 2**10), **arguments)
    tracemalloc.start()
    try:
        move(source, DriverStore(driver))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert driver.written
    assert peak < 64 * MIB < source.nbytes


@pytest.fixture
def _small_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrv3.hierarchy.array.BOX_BYTES", 64)


@pytest.mark.usefixtures("_small_boxes")
def test_values() -> None:
    """What arrives are the same values, converted as numpy's are, at every place and in every shape."""
    expected = np.arange(13 * 11, dtype="f8").reshape(13, 11) + 0.5
    source = zarrv3.array(expected, chunks=(4, 5))
    for arguments in ({"chunks": (3, 2)}, {"chunks": (3, 1), "shards": (6, 4)}):
        made = zarrv3.create_array(data=source, **arguments)
        np.testing.assert_array_equal(made[:], expected)
        whole = zarrv3.create_array(shape=(20, 20), dtype="i4", **arguments)
        seen: list[tuple[int, int]] = []
        whole.write(np.s_[3:16, 7:18], source, progress=lambda a, b, seen=seen: seen.append((a, b)))
        model = np.zeros((20, 20), "i4")
        model[3:16, 7:18] = expected
        np.testing.assert_array_equal(whole[:], model)
        assert seen[-1][0] == seen[-1][1]
        assert [done for done, _ in seen] == sorted({done for done, _ in seen})
        assert len({total for _, total in seen}) == 1
        made.append(made)
        made.append(source, axis=0)
        np.testing.assert_array_equal(made[:], np.concatenate([expected] * 3))
        made[:] = made
        np.testing.assert_array_equal(made[:], np.concatenate([expected] * 3))
        made[::3] = zarrv3.array(np.zeros((13, 11)))  # not one box
        assert not made[::3].any()
        made[:13] = zarrv3.array(np.ones(11))  # broadcast
        assert made[:13].all()
    texts = zarrv3.array(np.array(["a", "bb"] * 9, np.dtypes.StringDType()), chunks=4)
    np.testing.assert_array_equal(zarrv3.create_array(data=texts, dtype="U3")[:], texts[:])


@pytest.mark.usefixtures("_small_boxes")
@pytest.mark.parametrize(
    "around", [lambda store: store, lambda store: Prefix(store, "g/")], ids=["same", "layer"]
)
def test_replacing_what_is_read(around: Callable[[Any], Any]) -> None:
    """An array that takes the place of itself, or of the group that it lies in, has its values, however that is spelled."""
    expected = np.arange(99).reshape(9, 11)

    def start() -> tuple[Any, Array]:
        store = MemoryStore()
        source = zarrv3.create_array(store, name="g/a", data=expected, chunks=4)
        return store, Array(around(store), source.path.removeprefix("g/" * (around(store) != store)))

    store, source = start()
    zarrv3.create_array(store, name="g/a", data=source, overwrite=True)
    np.testing.assert_array_equal(zarrv3.open_array(store, path="g/a")[:], expected)
    store, source = start()
    zarrv3.create_array(store, name="g", data=source, overwrite=True)
    np.testing.assert_array_equal(zarrv3.open_array(store, path="g")[:], expected)
    store, source = start()
    zarrv3.open_group(store, path="g")["a"] = source
    np.testing.assert_array_equal(zarrv3.open_array(store, path="g/a")[:], expected)
    store, source = start()
    zarrv3.save_group(store, x=source, y=source, path="g", overwrite=True)
    np.testing.assert_array_equal(zarrv3.open_array(store, path="g/y")[:], expected)


@pytest.mark.usefixtures("_small_boxes")
def test_a_source_that_cannot_be_read() -> None:
    """A new array that cannot be filled is not left behind, and an append gives its place back."""
    source = zarrv3.array(np.arange(99), chunks=10)
    source.store["c/7"] = b"damaged"
    store = MemoryStore()
    with pytest.raises(CorruptDataError, match="c/7"):
        zarrv3.create_array(store, name="a", data=source)
    assert list(store) == ["zarr.json"]
    there = zarrv3.ones(3, store=store, path="b")
    with pytest.raises(CorruptDataError, match="c/7"):
        there.append(source)
    assert there.refresh()[:].tolist() == [1, 1, 1]
    texts = zarrv3.array(np.array(["a"] * 99), chunks=10)
    before = dict(store)
    for wrong in (
        lambda: there.append(zarrv3.zeros((99, 2))),
        lambda: there.append(texts[:]),
        lambda: there.append(texts),
    ):
        with pytest.raises(AssignmentError):
            wrong()
    with pytest.raises(ZarrError, match="imaginary"):
        zarrv3.create_array(store, name="c", data=zarrv3.zeros(99, dtype="c8"), dtype="f4")
    assert dict(store) == before


@given(st.data())
def test_boxes(data: st.DataObject) -> None:
    """Boxes cover a selection once, on the grid of the units, and none has more elements than allowed or than one unit."""
    shape = data.draw(st.lists(st.integers(0, 20), min_size=0, max_size=3))
    unit, other = (data.draw(st.tuples(*[st.integers(1, 7)] * len(shape))) for _ in range(2))
    most = data.draw(st.integers(1, 300))
    lengths = box_shape(shape, unit, other, most)
    assert all(n % u == 0 for n, u in zip(lengths, unit, strict=True))
    assert np.prod(lengths, dtype=int) <= max(most, np.prod(unit, dtype=int))
    selection = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in shape
    )
    box = as_box(selection, shape)
    assert box == selection
    seen = np.zeros(shape, int)
    for place, part in cut(box, lengths):
        seen[place] += 1
        assert seen[box][part].shape == seen[place].shape
        assert all(
            p.start // n == (max(p.stop, p.start + 1) - 1) // n for p, n in zip(place, lengths, strict=True)
        )
    assert np.all(seen[box] == 1)
    assert seen.sum() == seen[box].size


def test_what_is_not_a_box() -> None:
    """Selections that skip or turn elements around, or drop dimensions."""
    assert as_box(..., (3, 4)) == np.s_[0:3, 0:4]
    assert as_box(np.s_[1:2], (3, 4)) == np.s_[1:2, 0:4]
    for selection in (0, np.s_[::2], np.s_[::-1], np.s_[:, 1], [0, 1]):
        assert as_box(selection, (3, 4)) is None
