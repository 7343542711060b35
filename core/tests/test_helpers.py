"""The fall-backs and the arithmetic that authors of stores call on purpose, each against its slow twin."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3.errors import InvalidKeyError
from zarrv3.store import helpers
from zarrv3.store.contract import Buffer, ByteRange, Changes, Request
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
        """Begin a batch."""
        self.batches.append([])
        return super().get_many(requests)

    def put(self, key: str, value: bytes) -> None:
        """Note the key."""
        self._count()
        self.batches[-1].append(key)
        super().put(key, value)

    def drop(self, key: str) -> None:
        """Count it."""
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
    st.dictionaries(st.text(max_size=3), st.none() | st.binary(max_size=9), max_size=12),
    st.none() | st.integers(1, 5),
    st.none() | st.integers(1, 20),
)
def test_split(items: dict[str, bytes | None], keys: int | None, size: int | None) -> None:
    """Every item once and in order; no part over a limit unless it is one value; no part could take the next item."""
    parts = list(helpers.split(items.items(), helpers.size_of, keys, size))
    assert [pair for part in parts for pair in part.items()] == list(items.items())

    def total(part: dict[str, bytes | None]) -> int:
        return sum(len(value) for value in part.values() if value is not None)

    for part in parts:
        assert part
        assert keys is None or len(part) <= keys
        assert size is None or len(part) == 1 or total(part) <= size
    for part, after in itertools.pairwise(parts):
        more = total(part) + len(next(iter(after.values())) or b"")
        assert len(part) == keys or (size is not None and more > size)


def test_by_key() -> None:
    """The distinct keys of requests, in the order of their first request."""
    requests = [Request("b"), Request("a", ByteRange(1)), Request("b", ByteRange(2))]
    assert list(helpers.by_key(requests)) == ["b", "a"]


# ---------------------------------------------------------------- listing


@given(st.lists(names, max_size=12), st.sampled_from(["", "a/", "a/b/"]))
def test_children(keys: list[str], folder: str) -> None:
    """The direct keys and the sub-folders of a listing, whole names, each once where the listing has each key once."""
    below = [key for key in dict.fromkeys(keys) if key.startswith(folder)]
    rests = [key[len(folder) :].split("/") for key in below]
    expected = {folder + rest[0] + ("/" if len(rest) > 1 else "") for rest in rests}
    assert sorted(helpers.children(below, folder)) == sorted(expected)


def test_children_come_as_the_listing_does() -> None:
    """Nothing is kept but the names of folders: an endless listing can be looked into."""
    endless = (f"a/{number}" for number in itertools.count())
    assert [*itertools.islice(helpers.children(endless, "a/"), 3)] == ["a/0", "a/1", "a/2"]


# ---------------------------------------------------------------- sizes

contents = st.dictionaries(names, st.binary(max_size=5), max_size=8)


@given(contents, st.lists(names, max_size=12))
def test_stat_by_reading(content: dict[str, bytes], keys: list[str]) -> None:
    """The length of each value, in order; each key is read once."""
    driver = Recorder(dict(content))
    expected = [len(content[key]) if key in content else None for key in keys]
    assert helpers.stat_by_reading(driver, keys) == expected
    assert len(driver.batches) == 1


@given(contents, st.sampled_from(["", "a/"]), st.integers(1, 3))
def test_sizes_by_stat(content: dict[str, bytes], folder: str, batch: int) -> None:
    """Every key below the folder with the length of its value; what was erased meanwhile is left out."""
    driver = MappingDriver(dict(content))
    listed = [*driver.list_prefix(folder), "gone/meanwhile"]
    expected = {key: len(value) for key, value in content.items() if key.startswith(folder)}
    assert dict(helpers.sizes_by_stat(listed, driver, batch)) == expected


# ---------------------------------------------------------------- erasing


@given(st.sets(names, max_size=20), st.integers(1, 5))
def test_erase_by_listing(keys: set[str], batch: int) -> None:
    """Everything below the folder goes, in batches; what only starts alike stays."""
    content = {f"{top}/{key}": b"" for top in ("old", "older") for key in keys}
    driver = MappingDriver(dict(content))
    helpers.erase_by_listing(driver, "old/", batch)
    assert driver.mapping == {key: b"" for key in content if key.startswith("older/")}


def test_documents_are_erased_first() -> None:
    """No reader finds a node whose chunks are gone: documents go first, outer ones before inner ones."""

    class Erased(MappingDriver):
        def write_many(self, changes: Changes, /) -> None:
            order.extend(changes)

    order: list[str] = []
    keys = ["g/a/c/0", "g/a/zarr.json", "g/a/c/1", "g/zarr.json"]
    helpers.erase_by_listing(Erased(dict.fromkeys(keys, b"")), "g/", 1)
    assert order == ["g/zarr.json", "g/a/zarr.json", "g/a/c/0", "g/a/c/1"]


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


# ---------------------------------------------------------------- versions

values = st.none() | st.sampled_from([b"", b"x", b"y"])


@given(st.lists(st.tuples(values, values, values), max_size=6))
def test_unchanged(cases: list[tuple[bytes | None, bytes | None, bytes | None]]) -> None:
    """A key is swapped exactly when its version is the one of now, absence being one; nothing is erased that is missing."""
    swaps = {f"k{number}": (version, new) for number, (version, new, _) in enumerate(cases)}
    changes, refused = helpers.unchanged(swaps, [now for _, _, now in cases])
    for key, (version, new, now) in zip(swaps, cases, strict=True):
        assert (key in refused) == (version != now)
        assert (key in changes) == (version == now and not (new is None and now is None))
        assert changes.get(key, new) == new


@given(st.lists(st.none() | st.binary(max_size=3)))
def test_digests_are_versions(found: list[bytes | None]) -> None:
    """Equal values have equal digests and others do not, whatever holds their bytes; a missing key has none."""
    versioned = helpers.by_digest(found)
    assert [value for value, _ in versioned] == found
    again = helpers.by_digest([None if value is None else memoryview(value) for value in found])
    assert [version for _, version in again] == [version for _, version in versioned]
    assert len({version for _, version in versioned}) == len({*found})
    assert all((version is None) == (value is None) for value, version in versioned)
