"""The index of keys: what is in it, and what happens without it and when others write."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrv3
from zarrv3.errors import StoreAccessError
from zarrv3.store.contract import ByteRange, Request
from zarrv3.store.helpers import children
from zarrv3.testing.processes import together
from zarrv3_store_redis import RedisStore, index

OLD = {
    "zarr.json": b"{}",
    "meta/root/a.array.json": b"",
    "data/root/a/c0": b"12345678",
    "data/root/a/c1": b"1",
}
PATIENT = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """What another program writes with."""
    with redis.Redis.from_url(url) as opened:
        yield opened


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[RedisStore]:
    """A store, nothing written yet."""
    with RedisStore(prefix, url=url) as opened:
        yield opened


@pytest.fixture
def old(client: redis.Redis, prefix: str) -> dict[str, bytes]:
    """A database as zarr-python 2 leaves it."""
    client.mset({f"{prefix}:{key}": value for key, value in OLD.items()})
    return OLD


def members(client: redis.Redis, prefix: str) -> list[str]:
    """What is in the index, the mark of completeness included."""
    return [member.decode() for member in client.zrange(f"{prefix}//index", 0, -1)]


def names(client: redis.Redis, prefix: str) -> set[bytes]:
    """All names that begin with the prefix."""
    return {*client.scan_iter(match=f"{prefix}*", count=5000)}


def swap(store: RedisStore, key: str, old: bytes | None, new: bytes | None) -> bool:
    """Swap a value if it is `old`, by the version that it has then."""
    version = None if old is None else hashlib.sha1(old).hexdigest()
    return not store.swap_many({key: (version, new)})


# ---------------------------------------------------------------- old databases


def test_old_database_opens_as_it_is(
    store: RedisStore, old: dict[str, bytes], client: redis.Redis, prefix: str
) -> None:
    """What zarr-python 2 wrote is read, measured and listed, and nothing is written by that (defect 19)."""
    before = names(client, prefix)
    assert dict(store.items()) == old
    assert dict(store.list_sizes("")) == {key: len(value) for key, value in old.items()}
    assert sorted(store.list_dir("data/root/a/")) == ["data/root/a/c0", "data/root/a/c1"]
    assert sorted(store.list_dir("")) == ["data/", "meta/", "zarr.json"]
    assert store.getsize("data") == 9
    assert names(client, prefix) == before


def test_first_write_makes_the_index(
    store: RedisStore, old: dict[str, bytes], client: redis.Redis, prefix: str
) -> None:
    """After the first write of ours the index holds the old keys and the new one."""
    store["new"] = b"v"
    assert members(client, prefix) == sorted(["", *old, "new"])
    assert sorted(store) == sorted([*old, "new"])


WRITES: dict[str, Callable[[RedisStore], object]] = {
    "write_many": lambda s: s.write_many({"x": b"v"}),
    "apply_many": lambda s: s.apply_many({"x": b"v", "zarr.json": None}),
    "swap_many": lambda s: swap(s, "zarr.json", b"{}", b"v"),
    "rename_prefix": lambda s: s.rename_prefix("data/", "other/"),
    "reindex": lambda s: s.reindex(),
}


@pytest.mark.parametrize("name", WRITES)
def test_any_write_makes_the_index(
    name: str, store: RedisStore, old: dict[str, bytes], client: redis.Redis, prefix: str
) -> None:
    """Whatever the first write is, index and values agree afterwards."""
    WRITES[name](store)
    values = {f.decode().removeprefix(f"{prefix}:") for f in names(client, prefix) if b"//" not in f}
    assert members(client, prefix) == sorted(["", *values])
    assert len(values) >= len(old) - 1


def test_old_database_is_erased_without_an_index(
    store: RedisStore, old: dict[str, bytes], client: redis.Redis, prefix: str
) -> None:
    """`erase_prefix` on an old database takes what is below the folder, and leaves no index behind."""
    store.erase_prefix("data/")
    assert sorted(store) == sorted(key for key in old if not key.startswith("data/"))
    store.clear()
    store.clear()  # defect 32
    assert names(client, prefix) == set()


def test_odd_names_below_the_prefix_are_no_keys(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """Names that are not keys, and values that are not strings, are neither listed nor entered."""
    for name in ("", "/a", "a//b", "../a", "a/"):
        client.set(f"{prefix}:{name}", b"v")
    client.set(prefix.encode() + b":\xff", b"v")
    client.hset(f"{prefix}:hash", "f", "v")
    client.set(f"{prefix}:fine", b"v")
    assert list(store) == ["fine"]
    assert dict(store.list_sizes("")) == {"fine": 1}
    store["k"] = b"v"
    assert members(client, prefix) == ["", "fine", "k"]


# ---------------------------------------------------------------- others


def test_what_others_write_is_listed_after_reindex(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    """With an index, a foreign key is read but not listed; a foreign erasure is seen; `reindex` puts all right."""
    store.write_many({"a/1": b"1", "a/2": b"2", "b/1": b"1"})
    client.set(f"{prefix}:c/foreign", b"v")
    client.delete(f"{prefix}:a/1", f"{prefix}:b/1")
    assert store["c/foreign"] == b"v"
    assert sorted(store) == ["a/2"]
    assert dict(store.list_sizes("")) == {"a/2": 1}
    assert sorted(store.list_dir("")) == ["a/"]
    store.reindex()
    assert sorted(store.list_dir("")) == ["a/", "c/"]
    assert members(client, prefix) == ["", "a/2", "c/foreign"]


def test_expired_keys_are_not_listed(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """A value that the server dropped is in no listing, in no size, and is not moved."""
    store.write_many({"a/1": b"1", "a/2": b""})
    client.pexpire(f"{prefix}:a/1", 0)
    assert list(store.list_sizes("")) == [("a/2", 0)]
    store.rename("a", "b")
    assert store.list() == ["b/2"]
    assert members(client, prefix) == ["", "b/2"]


def test_lost_index_is_made_anew(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """Without its index a store lists the same, and has one again after the next write."""
    store.write_many({"a/1": b"1", "a/2": b"2"})
    client.delete(f"{prefix}//index")
    assert sorted(store.list_dir("a/")) == ["a/1", "a/2"]
    store["b"] = b"v"
    assert members(client, prefix) == ["", "a/1", "a/2", "b"]


def test_index_lost_in_the_middle_of_a_listing(
    store: RedisStore, client: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing goes on without the index where it stopped: every key comes once."""
    monkeypatch.setattr(index, "PAGE", 7)
    keys = [f"k/{i}" for i in range(50)]
    store.write_many(dict.fromkeys(keys, b"v"))
    for listing in (store.list_prefix(""), (key for key, _ in store.list_sizes("k/")), store.list_dir("k/")):
        found = [next(listing) for _ in range(10)]
        client.delete(f"{prefix}//index")
        assert sorted([*found, *listing]) == sorted(keys)
        store.reindex()


def test_index_of_another_type(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """Somebody else's value in the place of the index is an error of ours that names it."""
    client.set(f"{prefix}//index", b"not ours")
    with pytest.raises(StoreAccessError, match="//index"):
        store["k"] = b"v"
    with pytest.raises(StoreAccessError, match="WRONGTYPE"):
        store.list()


def test_values_of_another_type(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """A key that is not a string is an error that names it, not a missing key, however it is read."""
    client.hset(f"{prefix}:a/hash", "f", "v")
    for wanted in (None, ByteRange(0, 2)):
        with pytest.raises(StoreAccessError, match=r"a/hash.*not of the type"):
            store.get_many([Request("k", None), Request("a/hash", wanted)])
    for call in (lambda: swap(store, "a/hash", b"x", b"y"), lambda: store.stat_many(["a/hash"])):
        with pytest.raises(StoreAccessError, match=r"WRONGTYPE|not of the type"):
            call()
    assert client.hget(f"{prefix}:a/hash", "f") == b"v"


# ---------------------------------------------------------------- neighbours


def test_prefixes_are_no_globs(url: str, prefix: str, client: redis.Redis) -> None:
    r"""`*`, `?`, `[` and `\` in prefixes and keys stand for themselves, with and without an index (defect 23)."""
    odd = [
        f"{prefix}{ending}"
        for ending in ("", "*", "?", "[a-z]", "a", "\\", "-", "^", "[^x]", "//index", ":b")
    ]
    keys = ["*", "f*/k", "f[a]/k", "fa/k", "f?/k", "f\\/k", "Fa/k", "f_/k"]
    for name in odd:
        with RedisStore(name, url=url) as store:
            store.write_many(dict.fromkeys(keys, name.encode()))
    for dropped in (False, True):
        for name in odd:
            with RedisStore(name, url=url) as store:
                if dropped:
                    client.delete(f"{name}//index")
                    nested = [f"b:{key}" for key in keys] if name == prefix else []
                else:
                    nested = []
                assert sorted(store) == sorted(keys + nested)
                for key in keys[1:]:
                    assert list(store.list_prefix(key[:-1])) == [key]


def test_folders_are_told_apart(store: RedisStore) -> None:
    """Erasing and measuring a folder touches no folder of a similar name (defects 7 and 21)."""
    keys = ["foo/k", "Foo/k", "foo2/k", "foobar", "grp_1/k", "grpA1/k", "foo-/k", "foo0/k"]
    store.write_many(dict.fromkeys(keys, b"12"))
    assert store.getsize("foo") == 2
    store.rmdir("foo")
    store.rmdir("grp_1")
    assert sorted(store) == sorted({*keys} - {"foo/k", "grp_1/k"})


# ---------------------------------------------------------------- twins


@PATIENT
@given(
    value=st.binary(max_size=12),
    start=st.integers(-15, 15) | st.just(-(10**30)) | st.just(10**30),
    stop=st.none() | st.integers(-15, 15) | st.just(10**30) | st.just(-(10**30)),
)
def test_ranges_like_slices(store: RedisStore, value: bytes, start: int, stop: int | None) -> None:
    """A range is what a slice is."""
    store["k"] = value
    wanted = ByteRange(start, stop)
    assert store.get_many([Request("k", wanted), Request("missing", wanted)]) == [value[start:stop], None]


@PATIENT
@given(
    keys=st.sets(
        st.lists(st.sampled_from(["a", "b0", "b", "é", "/0", "zarr.json"]), min_size=1, max_size=4).map(
            "+".join
        )
    ),
    gone=st.integers(0, 5),
)
def test_listing_like_a_set(
    store: RedisStore, client: redis.Redis, prefix: str, keys: set[str], gone: int
) -> None:
    """`list_dir` and the listings, in pages of every size and with values gone, are what the set of keys gives."""
    keys = {key.replace("+/", "/").replace("+", "/").strip("/") for key in keys}
    store.clear()
    store.write_many(dict.fromkeys(keys, b"v"))
    lost = {*sorted(keys)[:gone]}
    if lost:
        client.delete(*(f"{prefix}:{key}" for key in lost))
    left = keys - lost
    folders = {key[: i + 1] for key in keys for i, letter in enumerate(key) if letter == "/"} | {""}
    page = index.PAGE
    try:
        for index.PAGE in (1, 2, 1000):
            for folder in folders:
                below = {key for key in left if key.startswith(folder)}
                assert sorted(store.list_dir(folder)) == sorted(children(below, folder))
                assert sorted(store.list_prefix(folder)) == sorted(below)
                assert dict(store.list_sizes(folder)) == dict.fromkeys(below, 1)
    finally:
        index.PAGE = page


def test_long_listings(store: RedisStore) -> None:
    """A folder of thousands of names, and one of thousands of folders, come whole."""
    store.write_many(
        {f"n/{i}": b"" for i in range(2500)} | {f"f/{i}/{j}": b"" for i in range(1200) for j in "ab"}
    )
    assert sorted(store.list_dir("n/")) == sorted(f"n/{i}" for i in range(2500))
    assert sorted(store.list_dir("f/")) == sorted(f"f/{i}/" for i in range(1200))
    store.erase_prefix("n/")
    store.rename("f", "g")
    assert len(store) == len([*store.list_prefix("g/")]) == 2400


# ---------------------------------------------------------------- races


def test_builder_that_was_killed(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """What a killed builder leaves is not taken for an index, and goes when one is made."""
    client.set(f"{prefix}:old", b"v")
    client.zadd(f"{prefix}//index", {"/token-of-the-dead": 0, "some": 0})
    assert store.list() == ["old"]
    store["new"] = b"v"
    assert sorted(store) == ["new", "old"]
    assert [m for m in members(client, prefix) if not m.startswith("/")] == ["", "new", "old", "some"]
    assert sorted(store.list_dir("")) == ["new", "old"]


def write_and_erase(url: str, prefix: str, number: int) -> None:
    """Write, list and erase through a store of one's own, dropping the index again and again."""
    rng = random.Random(number)
    with RedisStore(prefix, url=url) as store, redis.Redis.from_url(url) as client:
        for turn in range(40):
            keys = [f"{number}/{rng.randrange(20)}" for _ in range(5)]
            store.write_many(dict.fromkeys(keys, b"v"))
            if turn % 7 == number:
                client.delete(f"{prefix}//index")
            if turn % 3 == 0:
                store.delitems(keys[:3])
            assert {*keys[3:]} - {*keys[:3]} <= {*store.list_prefix(f"{number}/")}


def test_index_dropped_while_others_write(
    store: RedisStore, old: dict[str, bytes], client: redis.Redis, prefix: str, url: str
) -> None:
    """Whoever writes, builds and drops it at once: the index ends as the values are."""
    together(partial(write_and_erase, url), prefix, 4)
    store["end"] = b"v"
    values = {n.decode().removeprefix(f"{prefix}:") for n in names(client, prefix) if b"//" not in n}
    assert {*store} == values
    assert {*old, "end"} <= values
    store.reindex()
    assert {m for m in members(client, prefix) if m[:1] != "/"} - {""} == values


def test_array_round_trip(url: str, prefix: str) -> None:
    """An array and a group written through a URL are read back through another store object."""
    where = f"{url}{'&' if '?' in url else '?'}prefix={prefix}"
    group = zarrv3.create_group(where, attributes={"a": 1})
    array = group.create_array("x", shape=(20, 30), chunks=(7, 8), dtype="i4")
    array[...] = 7
    array[3, 4] = 5
    again: Any = zarrv3.open(where)
    assert again.attrs["a"] == 1
    assert again["x"][...].sum() == 7 * 600 - 2
