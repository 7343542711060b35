"""Damaged shards, and shards that others replace: right values or an error of ours that names the shard."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import Array, BaseStore, Buffer, MemoryStore, Request
from zarrv3.errors import CorruptDataError, ZarrError
from zarrv3.layers.base import Layer
from zarrv3.store.contract import Versioned
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
CRC = {"name": "crc32c"}
VALUES = np.arange(1, 65, dtype="u4").reshape(8, 8)


def remote() -> BaseStore:
    """Memory with byte ranges of its own."""
    driver = MemoryDriver({})
    driver.capabilities = replace(driver.capabilities, native_ranges=True)
    return DriverStore(driver)


def sharded(
    store: BaseStore,
    codecs: Sequence[Any] = (LITTLE,),
    index: Sequence[Any] = (LITTLE,),
    location: str = "end",
) -> Array:
    """An array of one shard of 4 x 2 chunks, all of them there."""
    configuration = {
        "chunk_shape": [2, 4],
        "codecs": [*codecs],
        "index_codecs": [*index],
        "index_location": location,
    }
    codec = {"name": "sharding_indexed", "configuration": configuration}
    array = zarrv3.create((8, 8), store=store, chunks=8, dtype="u4", codecs=[codec])
    array[...] = VALUES
    return array


@st.composite
def damages(draw: Any) -> Callable[[bytes], bytes]:
    """A way to damage some bytes: one is changed, some are cut off at an end, put in, or taken away.

    Never as many are put in as a chunk has: what comes of that is a shard with a gap, and nothing wrong about it.
    """
    place, mask, many = (
        draw(st.floats(0, 1, exclude_max=True)),
        draw(st.integers(1, 255)),
        draw(st.integers(1, 35)),
    )
    kind = draw(st.sampled_from(["flip", "tail", "head", "insert", "drop", "append"]))

    def damage(data: bytes) -> bytes:
        at = int(place * len(data))
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
        if kind == "insert":
            return data[:at] + bytes([mask]) * many + data[at:]
        if kind == "drop":
            return data[:at] + data[at + many :]
        return {"tail": data[:at], "head": data[at + 1 :], "append": data + bytes([mask]) * many}[kind]

    return damage


SELECTIONS = [..., (slice(3, 5), slice(None)), (1, 1), (slice(None, None, 5), 7), (slice(2, 4), slice(4, 8))]


def attempt(action: Callable[[], Any]) -> Any:
    """What it returns; an error of ours that names the shard or a chunk is `None`, every other error comes through."""
    try:
        return action()
    except CorruptDataError as error:
        if "'c/" not in str(error):
            raise
        return None


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("store", [MemoryStore, remote])
@given(damage=damages(), is_known=st.booleans())
def test_checksums_find_everything(store: Any, location: str, damage: Any, is_known: bool) -> None:
    """With checksums on index and chunks, whatever is changed in a shard: right values or `CorruptDataError`."""
    array = sharded(store(), [LITTLE, CRC], [LITTLE, CRC], location)
    assert not is_known or array[1, 1] == VALUES[1, 1]
    array.store["c/0/0"] = damage(array.store["c/0/0"])
    for selection in SELECTIONS:
        found = attempt(lambda selection=selection: array[selection])
        assert found is None or np.array_equal(found, VALUES[selection])
    known = attempt(lambda: {*array.layout.store.list_prefix("c/")})
    assert known is None or len(known) == 8
    before = dict(array.store.items())
    if attempt(lambda: array.__setitem__((0, slice(None)), 7)) is None and attempt(lambda: array[0, 0]) != 7:
        assert dict(array.store.items()) == before  # what cannot be kept is not written over


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("store", [MemoryStore, remote])
@given(damage=damages(), is_known=st.booleans())
def test_without_checksums_errors_are_ours(store: Any, location: str, damage: Any, is_known: bool) -> None:
    """Without any, values may be wrong, but nothing is raised that is not ours, and shapes are right."""
    array = sharded(store(), location=location)
    assert not is_known or array[1, 1] == VALUES[1, 1]
    array.store["c/0/0"] = damage(array.store["c/0/0"])
    for selection in SELECTIONS:
        found = attempt(lambda selection=selection: array[selection])
        assert found is None or np.shape(found) == np.shape(VALUES[selection])
    attempt(lambda: [*array.layout.store.list_sizes("")])
    attempt(lambda: array.__setitem__((slice(1, 4), 3), 7))
    attempt(lambda: array.resize(3, 3))


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), min_size=16, max_size=16), st.booleans())
def test_indexes_that_lie(words: list[int], ranges: bool) -> None:
    """An index of any numbers behind a shard: never bytes from elsewhere, by either way of reading."""
    array = sharded(remote() if ranges else MemoryStore())
    body = array.store["c/0/0"][: 8 * 32]
    array.store["c/0/0"] = body + np.array(words, "<u8").tobytes()
    for row in range(0, 8, 2):
        for column in (0, 4):
            slot = row + column // 4
            start, length = words[2 * slot : 2 * slot + 2]
            found = attempt(lambda row=row, column=column: array[row : row + 2, column : column + 4])
            if found is None:
                continue
            if start == length == 2**64 - 1:
                assert not found.any()
            else:
                assert found.tobytes() == body[start : start + length]


@pytest.mark.parametrize("store", [MemoryStore, remote])
@pytest.mark.parametrize("location", ["start", "end"])
def test_the_error_names_the_shard(store: Any, location: str) -> None:
    """Reading, changing and listing say which shard is corrupt, in which store, and why."""
    array = sharded(store(), index=[LITTLE, CRC], location=location)
    whole = array.store["c/0/0"]
    flipped = bytearray(whole)
    flipped[0 if location == "start" else -1] ^= 1
    for bad, why in (
        (bytes(flipped), "checksum"),
        (whole[:50], "bytes of an index|checksum"),
        (b"", "0 bytes"),
    ):
        array.store["c/0/0"] = bad
        for action in (
            lambda: array[...],
            lambda: array[0, 0],
            lambda: array.__setitem__((0, 0), 1),
            lambda: array.nchunks_initialized,
            lambda: array.layout.store.swap_many({"c/0/0": (None, b"")}),
        ):
            with pytest.raises(CorruptDataError, match=rf"shard 'c/0/0' in .*Store\(.*(?:{why})"):
                action()
        assert array.store["c/0/0"] == bad
    array[...] = 1  # replacing all of it reads nothing
    assert (array[...] == 1).all()


def codec(chunk_shape: list[int], codecs: Sequence[Any]) -> dict[str, Any]:
    """A shard in metadata."""
    configuration = {"chunk_shape": chunk_shape, "codecs": [*codecs], "index_codecs": [LITTLE, CRC]}
    return {"name": "sharding_indexed", "configuration": configuration}


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ({"chunks": 8, "codecs": [codec([2, 4], [LITTLE, CRC])]}, "inner chunk (2, 1) of shard 'c/1/0'"),
        (
            {"chunks": 8, "codecs": [codec([4, 8], [codec([2, 4], [LITTLE, CRC])])]},
            "inner chunk (0, 1) of inner shard (1, 0) of shard 'c/1/0'",
        ),
        (
            {
                "chunks": (2, 4),
                "codecs": [LITTLE, CRC],
                "storage_transformers": [zarrv3.ShardingTransformer("indexed", [4, 2])],
            },
            "inner chunk (2, 1) of shard 'c/1/0'",
        ),
        ({"chunks": (2, 8), "codecs": [LITTLE, CRC]}, "chunk 'c/6/0'"),
    ],
)
def test_the_error_names_the_damaged_inner_chunk(layout: dict[str, Any], name: str) -> None:
    """Reading, with or without remembered chunks, and changing a part: the key is that of the damaged value in the store."""
    store = MemoryStore()
    array = zarrv3.create((16, 8), store=store, dtype="u4", **layout)
    array[...] = np.arange(1, 129, dtype="u4").reshape(16, 8)
    key = name[name.index("'") :].strip("'")
    value = store[key]
    place = value.index(np.array(101, "<u4").tobytes())  # which is in row 12, column 4
    store[key] = bytes([*value[:place], 255, *value[place + 1 :]])
    for action in (
        lambda: array[...],
        lambda: zarrv3.open_array(store, chunk_cache="1MiB")[...],
        lambda: array.__setitem__((12, 5), 1),
    ):
        with pytest.raises(CorruptDataError, match=rf"^{re.escape(name)} in .*: crc32c"):
            action()


def test_truncated_between_chunks() -> None:
    """An index at the start that is whole, before chunks that are not: the ones that are there are read."""
    array = sharded(remote(), index=[LITTLE, CRC], location="start")
    array.store["c/0/0"] = array.store["c/0/0"][:-1]
    assert array[1, 1] == VALUES[1, 1]
    with pytest.raises(CorruptDataError, match=r"shard 'c/0/0'.*outside"):
        array[7, 7]
    with pytest.raises(CorruptDataError, match=r"shard 'c/0/0'.*outside"):
        array[...]


# ---------------------------------------------------------------- shards that are replaced


class Between(Layer):
    """Does something before some calls of `get_many`, as if another process came in between."""

    kind = "between"

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.plan: list[Callable[[], object] | None] = []
        self.calls = 0

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says, after what is planned."""
        self.calls += 1
        if self.plan and (action := self.plan.pop(0)):
            action()
        return super().get_many(requests)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says, at once."""
        return self.inner.get_versioned(keys)


def versions(index: Sequence[Any], location: str) -> tuple[Array, Between, bytes, bytes]:
    """An array with one shard in a version where chunks lie elsewhere and have other values, and both versions."""
    below = remote()
    array = sharded(below, index=index, location=location)
    first = below["c/0/0"]
    array[:2] = 0
    array[2:] = VALUES[2:] + 1000
    second = below["c/0/0"]
    assert len(second) < len(first)
    below["c/0/0"] = first
    between = Between(below)
    return zarrv3.open_array(between), between, first, second


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("index", [[LITTLE], [LITTLE, CRC]], ids=["plain", "crc32c"])
def test_replaced_between_index_and_chunks(index: Any, location: str) -> None:
    """Without any checksum of chunks: a shard replaced after its index was read gives the values of the new one."""
    array, between, first, second = versions(index, location)
    for old, new, expected in ((first, second, VALUES[4, 2] + 1000), (second, first, VALUES[4, 2])):
        between.inner["c/0/0"] = old
        between.calls, between.plan = 0, [None, lambda new=new: between.inner.write_many({"c/0/0": new})]
        assert array[4, 2] == expected
        assert between.calls <= 4
        assert bytes(between.inner["c/0/0"]) == new


@pytest.mark.parametrize("location", ["start", "end"])
def test_erased_between_index_and_chunks(location: str) -> None:
    """A shard that is gone when its chunks are asked for is missing."""
    array, between, _, _ = versions([LITTLE, CRC], location)
    between.plan = [None, lambda: between.inner.write_many({"c/0/0": None})]
    assert array[4, 2] == 0
    assert between.calls <= 4


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("index", [[LITTLE], [LITTLE, CRC]], ids=["plain", "crc32c"])
def test_shortened_behind_a_known_index(index: Any, location: str) -> None:
    """A shard without its last chunk, but with the index that was known, is damaged: nothing is cut out of its index."""
    store = remote()
    array = sharded(store, index=index, location=location)
    assert array[0, 0] == VALUES[0, 0]
    shard, chunk, many = bytes(store["c/0/0"]), 2 * 4 * 4, 8 * 16 + 4 * (len(index) - 1)
    store["c/0/0"] = shard[:-chunk] if location == "start" else shard[: -many - chunk] + shard[-many:]
    for selection in ((7, 7), ...):
        with pytest.raises(CorruptDataError, match="shard 'c/0/0'"):
            array[selection]


@pytest.mark.parametrize("location", ["start", "end"])
@given(steps=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3), st.booleans()), max_size=12))
def test_known_indexes_are_never_believed(location: str, steps: list[tuple[int, int, bool]]) -> None:
    """Whatever another object writes in between, also chunks that are erased and come back: what is read is what is there."""
    store = remote()
    writer = sharded(store, index=[LITTLE], location=location)
    reader = zarrv3.open_array(store, mode="r")
    expected = VALUES.copy()
    for where, value, reads in steps:
        part = (slice(where // 2, where // 2 + 2), slice(where % 2 * 4, where % 2 * 4 + 4))
        writer[part] = expected[part] = value
        if reads:
            assert np.array_equal(reader[part], expected[part])
            assert reader[7 - where // 2, 5] == expected[7 - where // 2, 5]


def test_replaced_again_and_again() -> None:
    """A shard that changes between all calls is read whole in the end: one version, no endless loop."""
    array, between, first, second = versions([LITTLE], "end")
    gap = first[:-128] + b"gap" + first[-128:]
    between.calls = 0
    between.plan = [
        lambda: between.inner.write_many({"c/0/0": gap}),
        None,
        lambda: between.inner.write_many({"c/0/0": second}),
        lambda: between.inner.write_many({"c/0/0": first}),
    ]
    assert array[4, 2] == VALUES[4, 2]
    assert between.calls == 4


def test_another_shard_in_between() -> None:
    """Ranges of a shard that was replaced for a moment, when they were read, are not taken for those of the index."""
    array, between, first, second = versions([LITTLE], "end")
    gaps = [shard[:-128] + bytes(2 * len(first)) + shard[-128:] for shard in (first, second)]
    between.inner["c/0/0"] = gaps[0]
    between.plan = [
        None,
        lambda: between.inner.write_many({"c/0/0": gaps[1]}),
        lambda: between.inner.write_many({"c/0/0": gaps[0]}),
    ]
    assert array[4, 2] == VALUES[4, 2]


def test_a_gap_before_the_index_costs_one_call_more() -> None:
    """Where the last chunk does not end at the index, that is looked at again, and no more than that is fetched."""
    below = remote()
    array = sharded(below)
    shard = below["c/0/0"]
    below["c/0/0"] = shard[:-128] + bytes(5000) + shard[-128:]
    counting = zarrv3.Counting(below)
    array = zarrv3.open_array(counting)
    counting.reset()
    assert array[4, 2] == VALUES[4, 2]
    assert counting.calls == {"get_many": 3}
    assert counting.bytes_read <= 3 * 128 + 2 * 32 + 1


def test_errors_of_the_store_come_through() -> None:
    """What the store below raises is raised."""
    array, between, _, _ = versions([LITTLE], "end")

    def fail() -> None:
        raise zarrv3.errors.StoreUnavailableError("down")

    for plan in ([fail], [None, fail]):
        between.plan = [*plan]
        with pytest.raises(ZarrError, match="down"):
            array[4, 2]
