"""What calls cost: commands sent and bytes of values brought, whatever else is in the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from bson import encode
from pymongo.monitoring import CommandListener

import zarrv3
from zarrv3.store.contract import ByteRange, Request, whole
from zarrv3_store_mongodb import MongoDBStore


class Sent(CommandListener):
    """The commands sent, and the size of what came back."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.brought = self.sent = 0

    def started(self, event: Any) -> None:
        """Count a command."""
        self.names.append(event.command_name)
        self.sent += len(encode(event.command))

    def succeeded(self, event: Any) -> None:
        """Count an answer."""
        self.brought += len(encode(event.reply))

    def failed(self, event: Any) -> None:
        """A failed command was counted when it was sent."""

    def reset(self) -> None:
        """Count from zero."""
        self.names, self.brought, self.sent = [], 0, 0


BIG = b"v" * 100_000


@pytest.fixture
def sent() -> Sent:
    """What is sent."""
    return Sent()


@pytest.fixture
def store(url: str, database: str, sent: Sent) -> Iterator[MongoDBStore]:
    """A store that counts, warm: 100 keys in `a/`, of 100 kB some."""
    with MongoDBStore(database, url=url, event_listeners=[sent]) as opened:
        opened.write_many(
            {f"a/{i:03d}": b"%d" % i for i in range(100)} | {"b/k": b"k", "a/b/c/zarr.json": b"{}"}
        )
        opened.write_many({f"big/{i}": BIG for i in range(10)})
        [*opened.list_dir("")]
        opened.write_many({"x": None})
        sent.reset()
        yield opened


def keys_in(folder: str, count: int) -> list[str]:
    """Names that the store has, or not."""
    return [f"{folder}/{i:03d}" for i in range(count)]


def swap(store: MongoDBStore, *keys: str, new: bytes | None = b"v") -> object:
    """Read some keys and swap them."""
    found = zip(keys, store.get_versioned(keys), strict=True)
    return store.swap_many({key: (version, new) for key, (_, version) in found})


CALLS: dict[str, tuple[Callable[[MongoDBStore], object], list[str]]] = {
    "get whole values": (lambda s: s.get_many(whole(keys_in("a", 100))), ["find"]),
    "get ranges": (lambda s: s.get_many([Request(f"a/{i:03d}", ByteRange(i, i + 2)) for i in range(100)] * 2), ["find"]),
    "get missing": (lambda s: s.get_many(whole(keys_in("x", 100))), ["find"]),
    "get many bytes": (lambda s: s.get_many(whole([f"big/{i}" for i in range(10)])), ["find"]),
    "get versions": (lambda s: s.get_versioned(keys_in("a", 100)), ["find"]),
    "write": (lambda s: s.write_many(dict.fromkeys(keys_in("a", 100), b"v")), ["update"]),
    "write new": (lambda s: s.write_many(dict.fromkeys(keys_in("n", 100), b"v")), ["update"]),
    "erase": (lambda s: s.write_many(dict.fromkeys(keys_in("a", 20))), ["delete"]),
    "write and erase": (lambda s: s.write_many({"a/001": b"v", "a/002": None, "n": b"v"}), ["delete", "update"]),
    "erase a folder": (lambda s: s.erase_prefix("a/b/"), ["delete"]),
    "create": (lambda s: s.swap_many(dict.fromkeys(keys_in("n", 100), (None, b"v"))), ["insert"]),
    "swap": (lambda s: swap(s, "b/k"), ["find", "update"]),
    "swap several": (lambda s: swap(s, *keys_in("a", 3)), ["find", "update", "update", "update"]),
    "swap away": (lambda s: swap(s, "b/k", new=None), ["find", "delete"]),
    "rename": (lambda s: s.rename_prefix("b/", "c/"), ["update"]),
    "list": (lambda s: [*s.list_prefix("a/")], ["find"]),
    "list a folder": (lambda s: [*s.list_dir("b/")], ["find"]),
    "sizes": (lambda s: [*s.list_sizes("big/")], ["aggregate"]),
    "sizes of keys": (lambda s: s.stat_many([*keys_in("a", 100), "big/1"]), ["aggregate"]),
    "membership": (lambda s: "big/1" in s, ["aggregate"]),
    "beyond the limit": (lambda s: s.get_many(whole(f"x/{i}" for i in range(2001))), ["find"] * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_commands(store: MongoDBStore, sent: Sent, name: str) -> None:
    """Every call is one command per kind of change; a batch beyond the limit one for each part."""
    call, expected = CALLS[name]
    call(store)
    assert sent.names == expected


def test_transaction_commands(store: MongoDBStore, sent: Sent) -> None:
    """A transaction is one command per kind of change, and the end."""
    if not store.capabilities.transactions:
        pytest.skip("the server has no transactions")
    store.apply_many({"a/1": b"x", "a/2": None, "z": b"z", "y": b"z"})
    assert sent.names == ["update", "delete", "commitTransaction"]


@pytest.mark.parametrize("name", ["list", "list a folder", "sizes", "sizes of keys", "membership"])
def test_no_values_are_brought(store: MongoDBStore, sent: Sent, name: str) -> None:
    """Listing, sizes and `in` bring no bytes of values (defect 23: `find({})` without projection)."""
    CALLS[name][0](store)
    list(store)
    [*store.list_sizes("")]
    [*store.list_dir("")]
    assert 0 < sent.brought < len(BIG)


def test_swaps_do_not_send_the_old_value(store: MongoDBStore, sent: Sent) -> None:
    """What is compared on the server is a version of a few bytes."""
    ((value, version),) = store.get_versioned(["big/1"])
    assert value == BIG
    sent.reset()
    assert not store.swap_many({"big/1": (version, b"small")})
    assert sent.names == ["update"]
    assert sent.sent < 1000


def test_opening_and_reading_write_nothing(url: str, database: str, sent: Sent) -> None:
    """No database, collection or index comes from reading."""
    with MongoDBStore(database, url=url, event_listeners=[sent]) as store:
        assert store.get("k") is None
        assert list(store) == []
        assert [*store.list_dir("")] == []
        assert store.getsize() == 0
        store.write_many({"k": None})
        assert not {"createIndexes", "create", "insert", "update"} & {*sent.names}
        client = store.driver.client  # type: ignore[attr-defined]
        assert database not in client.list_database_names()
        store["k"] = b"v"
        assert client[database].list_collection_names() == ["zarr_collection"]


def test_array_commands(store: MongoDBStore, sent: Sent) -> None:
    """An array of 1,600 chunks is written and read with one command per window."""
    array = zarrv3.create_array(store, name="array", shape=(1600,), chunks=(1,), dtype="u2")
    sent.reset()
    array[:] = np.arange(1, 1601, dtype="u2")
    assert {*sent.names} == {"update"}
    assert len(sent.names) <= 25
    sent.reset()
    assert (array[:] == np.arange(1, 1601)).all()
    assert {*sent.names} == {"find"}
    assert len(sent.names) <= 25


def test_listing_skips_what_lies_below(store: MongoDBStore, sent: Sent) -> None:
    """`list_dir` jumps over sub-folders, and brings some keys of each only."""
    documents = store.driver.heads.documents  # type: ignore[attr-defined]
    names = [f"f{folder}/c/{i:05d}" for folder in range(5) for i in range(400)]
    documents.insert_many([{"key": name, "value": b"v"} for name in names])
    documents.insert_many([{"key": f"many/{i:05d}", "value": b"v"} for i in range(600)])
    sent.reset()
    assert [*store.list_dir("")] == ["a/", "b/", "big/", *(f"f{i}/" for i in range(5)), "many/"]
    assert len(sent.names) <= 9
    assert sent.brought < 20_000
    sent.reset()
    assert len([*store.list_dir("many/")]) == 600
    assert len(sent.names) <= 5


def test_pages(store: MongoDBStore, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing goes page by page, and so leaves no cursor open when it is not finished."""
    monkeypatch.setattr("zarrv3_store_mongodb.heads.PAGE", 30)
    assert len([*store.list_prefix("a/")]) == 101
    assert sent.names == ["find"] * 4
    sent.reset()
    assert sum(size for _, size in store.list_sizes("a/")) == 192
    assert sent.names == ["aggregate"] * 4
    sent.reset()
    next(store.list_prefix(""))
    assert sent.names == ["find"]
