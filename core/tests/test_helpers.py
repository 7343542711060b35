"""The fall-backs and the arithmetic that authors of stores call on purpose, each against its slow twin."""

import itertools
import threading
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import InvalidKeyError
from zarrv3.store import helpers
from zarrv3.store.contract import Buffer, ByteRange, Request
from zarrv3.store.memory import MappingDriver

bounds = st.integers(-12, 12)
ranges = st.none() | st.builds(ByteRange, bounds, st.none() | bounds)
names = st.lists(st.sampled_from(["a", "b", "c", "zarr.json"]), min_size=1, max_size=4).map("/".join)


class Interrupted(Exception):  # noqa: N818 - no error of the code under test
    """What stops a driver."""


class Recorder(MappingDriver):
    """Remembers what was written in which batch, and stops after some writes."""

    def __init__(self, mapping: dict[str, bytes], writes: int = 10**6) -> None:
        super().__init__(mapping)
        self.batches: list[list[str]] = []
        self.writes = writes

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract."""
        self.batches.append([])
        return super().get_many(requests)

    def put(self, key: str, value: bytes) -> None:
        """See the contract."""
        self._count()
        self.batches[-1].append(key)
        super().put(key, value)

    def drop(self, key: str) -> None:
        """See the contract."""
        self._count()
        super().drop(key)

    def _count(self) -> None:
        if self.writes == 0:
            raise Interrupted
        self.writes -= 1


# ---------------------------------------------------------------- ranges


@given(st.binary(max_size=10), ranges)
def test_cut_is_a_slice(value: bytes, wanted: ByteRange | None) -> None:
    """A range is exactly the Python slice."""
    assert helpers.cut(value, wanted) == (value if wanted is None else value[wanted.start : wanted.stop])
    assert helpers.cut(None, wanted) is None


@given(st.binary(max_size=10), ranges)
def test_resolve_is_a_slice(value: bytes, wanted: ByteRange | None) -> None:
    """Offset and length name the same bytes, and lie within the value."""
    offset, length = helpers.resolve(wanted, len(value))
    assert value[offset : offset + length] == helpers.cut(value, wanted)
    assert length == len(helpers.cut(value, wanted) or b"")
    assert 0 <= offset <= len(value)


# ---------------------------------------------------------------- batches


@given(st.lists(st.integers(), max_size=20), st.integers(1, 7))
def test_chunked(items: list[int], size: int) -> None:
    """All items in order, every list full but the last."""
    parts = list(helpers.chunked(iter(items), size))
    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(0 < len(part) <= size for part in parts)


@given(
    st.dictionaries(st.text(max_size=3), st.binary(max_size=9), max_size=12),
    st.none() | st.integers(1, 5),
    st.none() | st.integers(1, 20),
)
def test_split_items(items: dict[str, bytes], keys: int | None, size: int | None) -> None:
    """Every item once and in order; no part over a limit unless it is one value; no part could take the next item."""
    parts = list(helpers.split_items(items, keys, size))
    assert [pair for part in parts for pair in part.items()] == list(items.items())
    for part in parts:
        assert part
        assert keys is None or len(part) <= keys
        assert size is None or len(part) == 1 or sum(map(len, part.values())) <= size
    for part, after in itertools.pairwise(parts):
        total = sum(map(len, part.values())) + len(next(iter(after.values())))
        assert len(part) == keys or (size is not None and total > size)


def test_by_key() -> None:
    """The distinct keys of requests, in the order of their first request."""
    assert list(helpers.by_key([("b", None), ("a", ByteRange(1)), ("b", ByteRange(2))])) == ["b", "a"]


# ---------------------------------------------------------------- listing


@given(st.lists(names, max_size=12), st.sampled_from(["", "a/", "a/b/"]))
def test_children(keys: list[str], folder: str) -> None:
    """The direct keys and the sub-folders of a listing, sorted, whole names."""
    below = [key for key in keys if key.startswith(folder)]
    rests = [key[len(folder) :].split("/") for key in below]
    direct, folders = helpers.children(below, folder)
    assert direct == sorted({folder + rest[0] for rest in rests if len(rest) == 1})
    assert folders == sorted({folder + rest[0] + "/" for rest in rests if len(rest) > 1})


# ---------------------------------------------------------------- renaming


@given(st.sets(names, max_size=20), st.integers(1, 5))
def test_rename_by_copy(keys: set[str], batch: int) -> None:
    """Everything below the source is below the target afterwards, and nothing else has changed."""
    content = {f"{top}/{key}": f"{top}{key}".encode() for top in ("old", "older") for key in keys}
    driver = Recorder(dict(content))
    helpers.rename_by_copy(driver, "old/", "new/", batch=batch)
    assert driver.mapping == {
        f"new/{key.removeprefix('old/')}" if key.startswith("old/") else key: value
        for key, value in content.items()
    }
    assert all(len(part) <= batch for part in driver.batches)


@given(st.sets(names, min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_interrupted_rename_loses_nothing(keys: set[str], batch: int, data: st.DataObject) -> None:
    """Wherever it stops every value is in one of both places, and calling it again completes it."""
    content = {f"old/{key}": key.encode() for key in keys}
    driver = Recorder(dict(content), writes=data.draw(st.integers(0, 2 * len(keys) - 1)))
    with pytest.raises(Interrupted):
        helpers.rename_by_copy(driver, "old/", "new/", batch=batch)
    for key in keys:
        assert key.encode() in {driver.mapping.get(f"old/{key}"), driver.mapping.get(f"new/{key}")}
    driver.writes = 10**6
    helpers.rename_by_copy(driver, "old/", "new/", batch=batch)
    assert driver.mapping == {f"new/{key}": key.encode() for key in keys}


def test_documents_are_copied_last() -> None:
    """A metadata document is in a later batch than all chunks and all documents below it, so no reader finds half a node."""
    chunks = [f"old/g/a/c/{i}" for i in range(5)]
    documents = ["old/zarr.json", "old/g/zarr.json", "old/g/a/zarr.json"]
    driver = Recorder(dict.fromkeys([*documents, *chunks], b""))
    helpers.rename_by_copy(driver, "old/", "new/")
    assert [sorted(part) for part in driver.batches] == [
        [f"new/g/a/c/{i}" for i in range(5)],
        ["new/g/a/zarr.json"],
        ["new/g/zarr.json"],
        ["new/zarr.json"],
    ]


@pytest.mark.parametrize(
    ("source", "target"), [("a/", "a/"), ("a/", "a/b/"), ("a/b/", "a/"), ("", "a/"), ("a/", "")]
)
def test_rename_into_itself(source: str, target: str) -> None:
    """A folder is moved neither into itself nor onto a folder above it."""
    driver = MappingDriver({"a/b/c": b""})
    with pytest.raises(InvalidKeyError, match="inside"):
        helpers.rename_by_copy(driver, source, target)
    assert driver.mapping == {"a/b/c": b""}


def test_rename_to_a_longer_name() -> None:
    """A name that only starts alike is another folder."""
    helpers.check_rename("a/", "ab/")


# ---------------------------------------------------------------- swapping

values = st.none() | st.sampled_from([b"", b"x", b"y"])


@given(values, values, values, st.sampled_from([bytes, bytearray, memoryview]))
def test_compare_and_set_locked(
    current: bytes | None, old: bytes | None, new: bytes | None, kind: type
) -> None:
    """The value is replaced exactly when it is the old one, absence being a value; the buffer's type does not matter."""
    mapping = {} if current is None else {"k": current}
    done = helpers.compare_and_set_locked(
        threading.Lock(),
        mapping.get,
        lambda key, value: mapping.update({key: bytes(value)}),
        mapping.__delitem__,
        "k",
        None if old is None else kind(old),
        None if new is None else kind(new),
    )
    assert done == (current == old)
    assert mapping.get("k") == (new if current == old else current)


def test_compare_and_set_holds_the_lock() -> None:
    """Reading, writing and erasing happen while the lock is held, and it is free afterwards, also after an error."""
    lock = threading.Lock()
    seen = []

    def read(_: str) -> bytes | None:
        seen.append(lock.locked())
        return b"old"

    def write(_: str, value: Buffer) -> None:
        seen.append(lock.locked())
        if value == b"bad":
            raise Interrupted

    def erase(_: str) -> None:
        seen.append(lock.locked())

    assert helpers.compare_and_set_locked(lock, read, write, erase, "k", b"old", b"new")
    assert helpers.compare_and_set_locked(lock, read, write, erase, "k", b"old", None)
    with pytest.raises(Interrupted):
        helpers.compare_and_set_locked(lock, read, write, erase, "k", b"old", b"bad")
    assert seen == [True] * 6
    assert not lock.locked()


def test_mapping_is_what_a_batch_is() -> None:
    """The parts of a batch are mappings, as `set_many` takes them."""
    assert all(isinstance(part, Mapping) for part in helpers.split_items({"a": b"1", "b": b"2"}, 1, None))
