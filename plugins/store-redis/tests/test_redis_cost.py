"""What calls cost: round trips, and commands of the server, whatever else is in its database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import redis

import zarrv3
from zarrv3.store.contract import ByteRange, Request, whole
from zarrv3_store_redis import RedisStore

SENT = [0]


class Counting(redis.UnixDomainSocketConnection):
    """A connection that counts what is sent, after it was made."""

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Count one round trip."""
        SENT[0] += 1
        super().send_packed_command(*args, **kwargs)


@pytest.fixture
def store(server: Any, prefix: str) -> Iterator[RedisStore]:
    """A store over counting connections, warm."""
    with redis.ConnectionPool(connection_class=Counting, path=server.socket) as pool:
        opened = RedisStore(prefix, client=redis.Redis(connection_pool=pool))
        opened.write_many({f"a/{i}": b"%d" % i for i in range(300)} | {"a/b/c/zarr.json": b"{}", "b/k": b"k"})
        yield opened


def version(value: bytes) -> str:
    """The version of a value."""
    return hashlib.sha1(value).hexdigest()


CALLS: dict[str, tuple[Callable[[RedisStore], object], int]] = {
    "get whole values": (lambda s: s.get_many(whole(f"a/{i}" for i in range(300))), 1),
    "get ranges": (lambda s: s.get_many([Request(f"a/{i}", ByteRange(i, i + 2)) for i in range(300)]), 1),
    "get both": (
        lambda s: s.get_many([Request(f"a/{i}", ByteRange(-1) if i % 2 else None) for i in range(300)] * 2),
        1,
    ),
    "get missing": (lambda s: s.get_many(whole(f"x/{i}" for i in range(300))), 1),
    "set": (lambda s: s.write_many({f"a/{i}": b"v" for i in range(300)}), 1),
    "erase": (lambda s: s.delitems([f"a/{i}" for i in range(100, 120)]), 1),
    "erase a folder": (lambda s: s.erase_prefix("a/b/"), 1),
    "create": (lambda s: s.swap_many({"new": (None, b"v")}), 1),
    "swap": (lambda s: s.swap_many({"b/k": (version(b"k"), b"v")}), 1),
    "swap many": (lambda s: s.swap_many({f"a/{i}": (version(b"v"), b"w") for i in range(100)}), 1),
    "swap beyond the limit": (lambda s: s.swap_many({f"x/{i}": (None, b"") for i in range(1001)}), 2),
    "get versions": (lambda s: s.get_versioned([f"a/{i}" for i in range(300)]), 1),
    "rename": (lambda s: s.rename_prefix("b/", "c/"), 1),
    "transaction": (lambda s: s.apply_many({"a/1": b"x", "a/2": None, "z": b"z"}), 1),
    "list": (lambda s: list(s.list_prefix("a/")), 1),
    "sizes": (lambda s: list(s.list_sizes("a/")), 1),
    "sizes of keys": (lambda s: s.stat_many([f"a/{i}" for i in range(300)]), 1),
    "list a folder": (lambda s: list(s.list_dir("")), 1),
    "nothing": (
        lambda s: (s.get_many([]), s.write_many({}), s.delitems([]), s.swap_many({}), s.stat_many([])),
        0,
    ),
    "beyond the limit": (lambda s: s.get_many(whole(f"x/{i}" for i in range(2001))), 3),
}


@pytest.mark.parametrize("name", CALLS)
def test_round_trips(store: RedisStore, name: str) -> None:
    """Every call is one round trip; a batch beyond the limit one for each part."""
    call, expected = CALLS[name]
    SENT[0] = 0
    call(store)
    assert SENT[0] == expected


def test_array_round_trips(store: RedisStore) -> None:
    """An array of 1,600 chunks is written and read with one round trip a window."""
    array = zarrv3.create_array(store, name="array", shape=(1600,), chunks=(1,), dtype="u2")
    SENT[0] = 0
    array[:] = np.arange(1, 1601, dtype="u2")
    written, SENT[0] = SENT[0], 0
    assert (array[:] == np.arange(1, 1601)).all()
    assert written <= 25
    assert SENT[0] <= 25


def test_partial_write_round_trips(store: RedisStore) -> None:
    """Writing a part of each of sixteen chunks reads them by one round trip and swaps them by another."""
    array = zarrv3.create_array(
        store, name="array", shape=(64, 64), chunks=(16, 16), dtype="u2", fill_value=1
    )
    array[...] = 2
    SENT[0] = 0
    array[8:56, 8:56] = 3
    assert SENT[0] <= 2 + 1  # chunks that lie wholly inside are written, not swapped
    assert array[...].sum() == 2 * 64 * 64 + 48 * 48


def test_info_round_trips(store: RedisStore) -> None:
    """Sizes of 2500 keys come in three pages."""
    store.write_many({f"many/{i}": b"v" for i in range(2500)})
    SENT[0] = 0
    assert store.getsize("many") == 2500
    assert SENT[0] == 3 + 1  # and the size of a key of that name


def work(store: RedisStore) -> dict[str, int]:
    """How many commands the server does for each call, those within scripts included."""
    store.write_many({f"a/{i}": b"%d" % i for i in range(300)} | {"a/b/c/zarr.json": b"{}", "b/k": b"k"})
    with redis.Redis.from_url(store.option("url")) as client:
        done = {}
        for name, (call, _) in CALLS.items():
            client.config_resetstat()
            call(store)
            stats = client.info("commandstats")
            done[name] = sum(
                command["calls"] for kind, command in stats.items() if not kind.startswith("cmdstat_config")
            )
        return done


def test_cost_does_not_grow_with_the_database(new_server: Callable[..., Any]) -> None:
    """The server does the same number of commands for every call, with 20000 more keys of others in the database."""
    server = new_server()
    with RedisStore("mine", url=server.url) as store:
        alone = work(store)
        store.clear()
        with server.client() as client:
            for start in range(0, 20_000, 1000):
                client.mset(
                    {f"{p}{i}": b"v" for i in range(start, start + 1000) for p in ("other:", "mine2:")}
                )
        with RedisStore("another", url=server.url) as another:
            another.write_many({f"k/{i}": b"v" for i in range(1000)})
        store.write_many({f"more/{i}/k": b"v" for i in range(3)})
        store.erase_prefix("more/")
        crowded = work(store)
    assert crowded == alone
    assert crowded["list a folder"] < 30


def test_listing_skips_what_lies_below(server: Any, prefix: str) -> None:
    """`list_dir` of folders that hold thousands of keys costs the server by the folders, not by the keys."""
    with RedisStore(prefix, url=server.url) as store:
        for folder in range(5):
            store.write_many({f"f{folder}/c/{i}": b"" for i in range(3000)})
        with server.client() as client:
            client.config_resetstat()
            assert sorted(store.list_dir("")) == [f"f{i}/" for i in range(5)]
            stats = client.info("commandstats")
    assert stats["cmdstat_zrangebylex"]["calls"] <= 6
    assert stats["cmdstat_exists"]["calls"] <= 5


def test_membership_does_not_list(server: Any, prefix: str) -> None:
    """`in` costs a few commands (defect 23: `KEYS prefix:*`)."""
    with RedisStore(prefix, url=server.url) as store:
        store.write_many({f"k/{i}": b"" for i in range(1000)})
        with server.client() as client:
            client.config_resetstat()
            assert "k/1" in store
            assert "k" not in store
            stats = client.info("commandstats")
    assert not {"cmdstat_keys", "cmdstat_scan", "cmdstat_zrangebylex"} & stats.keys()
    assert sum(command["calls"] for command in stats.values()) < 20
