"""Swaps: what is compared, what is refused, and what becomes of the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from zarrv3.errors import LimitError, StoreAccessError
from zarrv3_store_redis import RedisStore


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[RedisStore]:
    """A store, nothing written yet."""
    with RedisStore(prefix, url=url) as opened:
        yield opened


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """What another program writes with."""
    with redis.Redis.from_url(url) as opened:
        yield opened


def versions_of(store: RedisStore, *keys: str) -> dict[str, Any]:
    """The versions of some keys."""
    return {key: version for key, (_, version) in zip(keys, store.get_versioned(keys), strict=True)}


def members(client: redis.Redis, prefix: str) -> list[str]:
    """What is in the index, the mark of completeness included."""
    return [member.decode() for member in client.zrange(f"{prefix}//index", 0, -1)]


def test_swaps_of_a_batch(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """Of a batch of every kind of swap those are made whose keys have their versions still, with the index."""
    keys = [
        f"{what}/{state}" for what in ("replace", "erase", "create", "none") for state in ("same", "other")
    ]
    store.write_many(dict.fromkeys(keys[:4], b"\0old\xff"))
    versions = versions_of(store, *keys)
    assert versions["create/same"] is versions["none/other"] is None
    store.write_many(dict.fromkeys(keys[1::2], b"theirs"))
    new = {"replace": bytearray(b"new\0"), "create": memoryview(b"<made>")[1:5], "erase": None, "none": None}
    refused = store.swap_many({key: (versions[key], new[key.partition("/")[0]]) for key in keys})
    assert sorted(refused) == sorted(keys[1::2])
    expected = {**dict.fromkeys(keys[1::2], b"theirs"), "replace/same": b"new\0", "create/same": b"made"}
    assert store.getitems(keys) == expected
    assert members(client, prefix) == ["", *sorted(expected)]


def test_equal_values_have_equal_versions(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """A version is that of the value, whichever program wrote it: an equal one may be swapped, an empty one is not a missing one."""
    store.write_many({"k": b"v", "empty": b""})
    versions = versions_of(store, "k", "empty", "none")
    client.mset({f"{prefix}:k": b"w"})
    assert [*store.swap_many({"k": (versions["k"], b"x")})] == ["k"]
    client.mset({f"{prefix}:k": b"v"})
    assert not store.swap_many({"k": (versions["k"], b"x")})
    assert [*store.swap_many({"empty": (versions["none"], b"x"), "none": (versions["empty"], b"x")})] == [
        "empty",
        "none",
    ]
    assert store.getitems(["k", "empty", "none"]) == {"k": b"x", "empty": b""}


def test_swaps_make_the_index(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """The first swap that writes makes the index of an old database; one that is refused, or erases, does not."""
    client.mset({f"{prefix}:a/1": b"1", f"{prefix}:a/2": b"2", f"{prefix}:a/3": b"3"})
    version = versions_of(store, "a/1")["a/1"]
    assert store.swap_many({"a/2": (version, b"x")})
    assert not store.swap_many({"a/1": (version, None)})
    assert members(client, prefix) == []
    assert not store.swap_many({"new": (None, b"v")})
    assert members(client, prefix) == ["", "a/2", "a/3", "new"]


def test_values_that_the_server_dropped(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """What expired or was evicted since it was read is refused, and may be made again."""
    store.write_many({"k": b"v"})
    version = versions_of(store, "k")["k"]
    client.pexpire(f"{prefix}:k", 0)
    assert [*store.swap_many({"k": (version, b"w")})] == ["k"]
    assert store.get_versioned(["k"]) == [(None, None)]
    assert not store.swap_many({"k": (None, b"w")})
    assert store.list() == ["k"]


def test_a_value_of_another_type_stops_a_batch(store: RedisStore, client: redis.Redis, prefix: str) -> None:
    """A key that is not a string is an error, and nothing of its batch is written."""
    client.hset(f"{prefix}:z/hash", "f", "v")
    for key in ("a", "zz"):
        with pytest.raises(StoreAccessError, match="WRONGTYPE"):
            store.swap_many({key: (None, b"v"), "z/hash": (None, b"v")})
    with pytest.raises(StoreAccessError, match="not of the type"):
        store.get_versioned(["a", "z/hash"])
    assert "a" not in store
    assert "zz" not in store


def test_large_batches(store: RedisStore) -> None:
    """Thousands of keys, and values of megabytes, are swapped as they are."""
    items = {f"many/{i}": b"%d" % i for i in range(2300)} | {"large": bytes(range(256)) * (1 << 14)}
    assert not store.swap_many({key: (None, value) for key, value in items.items()})
    assert store.getitems([*items]) == items
    versions = versions_of(store, *items)
    store["many/7"] = b"theirs"
    assert [*store.swap_many({key: (versions[key], b"new") for key in items})] == ["many/7"]
    assert not store.swap_many({key: (version, None) for key, version in versions_of(store, *items).items()})
    assert store.list() == []


def test_full_server_takes_no_part_of_a_batch(new_server: Callable[..., Any]) -> None:
    """When the server's memory is full, a batch of swaps does nothing, and one that erases only works."""
    server = new_server(maxmemory="8mb", **{"maxmemory-policy": "noeviction"})
    with RedisStore(url=server.url) as store:
        store.write_many({"k": b"old", "l": b"old"})
        with pytest.raises(StoreAccessError, match=r"maxmemory|OOM"):
            [store.write_many({f"fill/{i}": b"x" * 200_000}) for i in range(100)]
        with server.client() as admin:  # and full it stays, whatever its buffers give back
            admin.config_set("maxmemory", "6mb")
        versions = versions_of(store, "k", "l")
        with pytest.raises(StoreAccessError, match=r"maxmemory|OOM"):
            store.swap_many({"k": (versions["k"], None), "l": (versions["l"], b"new")})
        assert store.getitems(["k", "l"]) == {"k": b"old", "l": b"old"}
        assert not store.swap_many({key: (version, None) for key, version in versions.items()})
        assert "k" not in {*store}


def test_transactions_that_the_server_would_break_off(store: RedisStore) -> None:
    """A transaction of more than the server takes from one client is refused, and nothing is sent."""
    large = bytes(500 << 20)
    with pytest.raises(LimitError, match="nothing was written"):
        store.apply_many({"a": large, "b": large})
    assert store.list() == []
