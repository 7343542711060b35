"""Values in parts, what crashes leave, and collections that zarr-python 2 wrote."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from bson import Binary
from pymongo import MongoClient
from pymongo.errors import OperationFailure

import zarrv3
from zarrv3.errors import CorruptDataError, StoreAccessError, StoreUnavailableError
from zarrv3.store.contract import ByteRange, Request, Version
from zarrv3.testing.processes import Child, dies
from zarrv3_store_mongodb import MongoDBStore, parts
from zarrv3_store_mongodb.driver import MongoDBDriver

LARGE = bytes(range(251)) * 130


class Split(MongoDBStore):
    """A store to which 1000 bytes are too many for a document."""

    kind = "split"

    def connect(self) -> MongoDBDriver:
        """The driver, with other sizes."""
        driver = super().connect()
        assert isinstance(driver, MongoDBDriver)
        driver.direct, driver.parts.size = 1000, 10_000
        return driver


@pytest.fixture
def collections(url: str, database: str) -> Iterator[Any]:
    """The database as pymongo sees it."""
    with MongoClient[Any](url) as client:
        yield client[database]


@pytest.fixture
def store(url: str, database: str) -> Iterator[Split]:
    """A store with small documents."""
    with Split(database, url=url) as opened:
        yield opened


def version(store: MongoDBStore, key: str) -> Version | None:
    """The version that a key has now."""
    return store.get_versioned([key])[0][1]


def debris(collections: Any) -> list[str]:
    """The parts that no head names."""
    living = {
        head["parts"]["generation"] for head in collections.zarr_collection.find({"parts": {"$exists": True}})
    }
    names = [part["_id"] for part in collections["zarr_collection.parts"].find({}, {"_id": 1})]
    return [name for name in names if name.partition("-")[0] not in living]


def test_over_16_megabytes(url: str, database: str, collections: Any) -> None:
    """Values at and over the limit of a document come back whole and in ranges, with the real sizes."""
    edge = (16 << 20) - (64 << 10)
    values = {"edge": b"e" * edge, "over": b"o" * (edge + 1), "large": bytes(range(256)) * (80 << 10)}
    with MongoDBStore(database, url=url) as store:
        store.write_many(values | {"small": b"s"})
        assert all(store[key] == value for key, value in values.items())
        wanted = [
            ByteRange(5 << 20, (5 << 20) + 9),
            ByteRange(-3),
            ByteRange(10, -(20 << 20) + 20),
            ByteRange(1 << 30),
        ]
        found = store.get_many([Request("large", one) for one in wanted])
        assert found == [values["large"][one.start : one.stop] for one in wanted]
        assert dict(store.list_sizes("")) == {
            "small": 1,
            **{key: len(value) for key, value in values.items()},
        }
        assert store.stat_many(["over", "none", "edge"]) == [edge + 1, None, edge]
        old = version(store, "over")
        assert not store.swap_many({"large": (version(store, "large"), values["edge"])})
        store["over"] = values["over"][::-1]
        assert {*store.swap_many({"over": (old, b"")})} == {"over"}
        assert not store.swap_many({"edge": (version(store, "edge"), values["edge"][::-1] + b"x")})
        store["over"] = b""
        assert "value" in collections.zarr_collection.find_one({"key": "large"})
        assert debris(collections) == []


def test_large_chunk_of_an_array(url: str, database: str) -> None:
    """An array whose one chunk has 20 MB."""
    with MongoDBStore(database, url=url) as store:
        data = np.random.default_rng(1).integers(0, 1 << 60, 2_600_000)
        array = zarrv3.create_array(
            store, name="a", shape=data.shape, chunks=data.shape, dtype="i8", compressors=None
        )
        array[:] = data
        assert (zarrv3.open_array(store, path="a")[:] == data).all()


def test_ranges_bring_their_parts_only(store: Split, collections: Any) -> None:
    """A range of a value in parts reads those parts."""
    store["k"] = LARGE
    asked: list[int] = []
    read = store.driver.parts.read  # type: ignore[attr-defined]
    store.driver.parts.read = lambda ids: asked.append(len(ids)) or read(ids)  # type: ignore[attr-defined]
    assert store.get_many([Request("k", ByteRange(9_990, 10_010)), Request("k", ByteRange(-1))]) == [
        LARGE[9_990:10_010],
        LARGE[-1:],
    ]
    assert store.get_many([Request("k", ByteRange(5, 5))]) == [b""]
    assert asked == [3, 0]


def test_every_change_leaves_no_debris(store: Split, collections: Any) -> None:
    """Replacing, swapping, erasing, renaming and transactions remove the parts that are out of use, and no others."""
    store.write_many({"a/1": LARGE, "a/2": LARGE, "b": LARGE, "c": b"c"})
    store["a/1"] = LARGE[1:]
    store["a/1"] = b"small"
    store["c"] = LARGE
    old = version(store, "b")
    store["b"] = LARGE[2:]
    for stale in (None, old):
        assert {*store.swap_many({"b": (stale, LARGE), "n": (None, LARGE)})} == {"b"}
        store.write_many({"n": None})
    assert not store.swap_many({"b": (version(store, "b"), LARGE[3:])})
    store.rename("a", "z")
    if store.capabilities.transactions:
        store.apply_many({"b": LARGE[4:], "z/2": None, "d": LARGE})
        store.apply_many({"d": None, "z/2": LARGE})
    assert debris(collections) == []
    assert [store["z/2"], store["c"]] == [LARGE, LARGE]
    store.erase_prefix("z/")
    store.write_many({"c": None, "d": None})
    assert not store.swap_many({"b": (version(store, "b"), None)})
    assert list(store) == []
    assert collections["zarr_collection.parts"].count_documents({}) == 0


def test_debris_of_a_dead_writer_is_swept(
    url: str, database: str, collections: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a writer that was killed has left goes with the first write of a later store, unless it may be at work."""
    with Split(database, url=url) as store:
        store["k"] = LARGE

    def write_half(store: Split) -> None:
        store.driver.parts.write(LARGE)  # type: ignore[attr-defined]

    dies(lambda: write_half(Split(database, url=url)), rule="")
    assert len(debris(collections)) == 4
    with Split(database, url=url) as store:
        store["other"] = b"v"
        assert len(debris(collections)) == 4
    monkeypatch.setattr(parts, "GRACE", -5.0)
    with Split(database, url=url) as store:
        store["other"] = b"v"
    assert debris(collections) == []
    with Split(database, url=url) as store:
        assert store["k"] == LARGE


def test_a_writer_that_slept_writes_again(
    store: Split, collections: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that are too old to be named by a head are written again."""
    store["k"] = b"old"
    fresh = iter([False, True])
    monkeypatch.setattr(parts.Parts, "fresh", lambda *_: next(fresh))
    store["k"] = LARGE
    assert store["k"] == LARGE
    assert debris(collections) == []


def test_readable_while_it_is_replaced(url: str, database: str, store: Split) -> None:
    """Readers of a value that is replaced all the time see a whole value each time."""
    store["k"] = LARGE
    done = threading.Event()

    def write() -> None:
        with Split(database, url=url) as other:
            for i in range(60):
                other["k"] = (b"%02d" % i) * (8_000 + 400 * i) if i % 7 else b"%02d" % i
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not done.is_set():
        value, end = store.get_many([Request("k"), Request("k", ByteRange(-2))])
        assert value is not None
        assert end is not None
        assert bytes(value) == LARGE or len({*zip(value[::2], value[1::2], strict=True)}) == 1
        reads += 1
    writer.join()
    assert reads > 5


def test_missing_parts_are_told(store: Split, collections: Any) -> None:
    """A value whose parts were removed is an error, not an empty chunk."""
    store["k"] = LARGE
    collections["zarr_collection.parts"].delete_one({})
    with pytest.raises(CorruptDataError, match="'k'"):
        store["k"]


def test_killed_while_replacing_large_values(url: str, database: str, collections: Any) -> None:
    """A writer of values in parts that is killed at any moment leaves whole values."""

    def write(start: int) -> None:
        with Split(database, url=url) as other:
            for i in range(start, start + 10_000):
                other["k"] = (b"%08d" % i) * 4_000

    for turn in range(3):
        child = Child(write, turn * 10_000)
        child.process.join(0.3 + 0.11 * turn)
        child.kill()
        with Split(database, url=url) as store:
            value = store.get("k", b"")
            assert value == value[:8] * (len(value) // 8)
            assert len(value) in {0, 32_000}


# ---------------------------------------------------------------- old collections


@pytest.fixture
def old(collections: Any) -> Any:
    """A collection as zarr-python 2 left it: no index, and two documents for some keys."""
    documents = [("zarr.json", b"{}"), ("a/1", b"old"), ("a/2", b"two"), ("a/b/c", b"c"), ("a/1", b"newest!")]
    for key, value in documents:
        collections.zarr_collection.insert_one({"key": key, "value": Binary(value)})
    collections.zarr_collection.insert_one({"foreign": 1})
    return collections.zarr_collection


NEWEST = {"zarr.json": b"{}", "a/1": b"newest!", "a/2": b"two", "a/b/c": b"c"}


def test_old_collection_reads(url: str, database: str, old: Any) -> None:
    """It reads and lists as it is, the newest document counts, and nothing is changed."""
    with MongoDBStore(database, url=url) as store:
        assert dict(store.items()) == NEWEST
        assert sorted(store) == sorted(NEWEST)
        assert sorted(store.list_dir("a/")) == ["a/1", "a/2", "a/b/"]
        assert dict(store.list_sizes("")) == {key: len(value) for key, value in NEWEST.items()}
        assert store.getsize("a/1") == 7
        assert "a/1" in store
    assert old.count_documents({}) == 6
    assert [*old.index_information()] == ["_id_"]


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.write_many({"a/1": b"x"}),
        lambda s: s.swap_many({"a/1": (version(s, "a/1"), b"x")}),
        lambda s: s.apply_many({"a/1": b"x"}),
    ],
    ids=["set", "swap", "transaction"],
)
def test_old_collection_is_written(
    url: str, database: str, old: Any, write: Callable[[MongoDBStore], object]
) -> None:
    """The first write makes the keys unique, keeping the newest; documents of others stay."""
    with MongoDBStore(database, url=url) as store:
        if not store.capabilities.transactions:
            pytest.skip("the server has no transactions")
        write(store)
        assert dict(store.items()) == {**NEWEST, "a/1": b"x"}
        assert old.count_documents({}) == 5
        assert old.index_information()["key_1"]["unique"]
        store.clear()
        assert old.count_documents({}) == 1


def test_what_we_write_zarr_2_reads(url: str, database: str, collections: Any) -> None:
    """A value is in `{"key": …, "value": Binary}`, in a database and collection of the names that zarr 2 has."""
    with MongoDBStore(database, url=url) as store:
        store["a/b"] = bytearray(b"v")
        (found,) = collections.zarr_collection.find({}, {"_id": 0, "version": 0})
        assert found == {"key": "a/b", "value": b"v"}
    fresh = MongoDBStore()
    assert fresh.option("database") == "mongodb_zarr"
    assert fresh.option("collection") == "zarr_collection"


def test_old_values_are_swapped(url: str, database: str, old: Any) -> None:
    """Documents without a version are compared by their values, even if another program wrote them again."""
    with MongoDBStore(database, url=url) as store:
        first, two, c = [version for _, version in store.get_versioned(["a/1", "a/2", "a/b/c"])]
        old.replace_one({"key": "a/2"}, {"key": "a/2", "value": Binary(b"TWO")})  # as zarr-python 2 does
        store["a/b/c"] = b"ours"
        swaps = {"a/1": (first, b"1"), "a/2": (two, b"2"), "a/b/c": (c, None), "zarr.json": (None, b"")}
        assert {*store.swap_many(swaps)} == {"a/2", "a/b/c", "zarr.json"}
        assert dict(store.items()) == {"zarr.json": b"{}", "a/1": b"1", "a/2": b"TWO", "a/b/c": b"ours"}
        ours = version(store, "a/1")
        old.replace_one({"key": "a/1"}, {"key": "a/1", "value": Binary(b"theirs")})
        assert {*store.swap_many({"a/1": (ours, b"x")})} == {"a/1"}
        assert not store.swap_many({"a/1": (version(store, "a/1"), b"x")})


def test_large_old_values_are_swapped(url: str, database: str, collections: Any) -> None:
    """Where one command could not name the old value beside the new one, the new one is put in parts."""
    half = (16 << 20) - (64 << 10) - 9
    collections.zarr_collection.insert_one({"key": "k", "value": b"o" * half})
    with MongoDBStore(database, url=url) as store:
        assert not store.swap_many({"k": (version(store, "k"), b"n" * half)})
        assert store["k"] == b"n" * half
        assert "value" not in collections.zarr_collection.find_one({"key": "k"})


def test_erasing_duplicates(url: str, database: str, old: Any) -> None:
    """Erasing a key that has two documents erases both: the older one does not come to light."""
    with MongoDBStore(database, url=url) as store:
        del store["a/1"]
        assert "a/1" not in store
        assert store.get("a/1") is None


def test_documents_of_others(url: str, database: str, collections: Any) -> None:
    """A value that is not binary is an error that names the key."""
    collections.zarr_collection.insert_one({"key": "k", "value": 7})
    with MongoDBStore(database, url=url) as store, pytest.raises(CorruptDataError, match="'k'"):
        store["k"]


# ---------------------------------------------------------------- servers that fail


@pytest.fixture
def failing(server: Any) -> Iterator[Callable[..., None]]:
    """Let commands of the server fail."""
    with server.client() as client:

        def fail(*commands: str, times: int = 1, **how: Any) -> None:
            mode = {"times": times}
            client.admin.command(
                "configureFailPoint", "failCommand", mode=mode, data={"failCommands": [*commands], **how}
            )

        yield fail
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture
def ours(server: Any) -> Iterator[tuple[str, str]]:
    """A database of our own server."""
    from uuid import uuid4

    name = f"test_{uuid4().hex}"
    yield server.url, name
    with server.client() as client:
        client.drop_database(name)


def test_full_disk(ours: tuple[str, str], failing: Callable[..., None]) -> None:
    """When the disk is full the old value stays and the error says it, without the value."""
    with Split(ours[1], url=ours[0]) as store:
        store["k"] = b"old"
        old = version(store, "k")
        writes: list[tuple[str, Callable[[], object]]] = [
            ("update", lambda: store.update(k=b"secret value")),
            ("insert", lambda: store.update(k=b"secret value" * 100)),
            ("update", lambda: store.swap_many({"k": (old, b"secret value")})),
            ("insert", lambda: store.swap_many({"n": (None, b"secret value")})),
            ("update", lambda: store.apply_many({"k": b"secret value"})),
            ("delete", lambda: store.write_many({"k": None})),
        ]
        for command, write in writes:
            failing(command, errorCode=14031)
            with pytest.raises(StoreAccessError) as caught:
                write()
            assert "secret value" not in repr((caught.value, caught.value.__cause__))
            assert store["k"] == b"old"
            assert [*store] == ["k"]


def test_lost_connections(ours: tuple[str, str], failing: Callable[..., None]) -> None:
    """A connection that breaks once is made again, though a swap is not sent again; one that keeps breaking is a retryable error."""
    with MongoDBStore(ours[1], url=ours[0]) as store:
        store["k"] = b"1"
        failing("find", "update", closeConnection=True)
        assert store["k"] == b"1"
        old = version(store, "k")
        failing("update", closeConnection=True)
        with pytest.raises(StoreUnavailableError, match="'k'") as caught:
            store.swap_many({"k": (old, b"2")})
        assert caught.value.retryable
        assert store["k"] == b"1"
        assert not store.swap_many({"k": (old, b"2")})
        failing("insert", closeConnection=True)
        with pytest.raises(StoreUnavailableError, match="'new'"):
            store.swap_many({"new": (None, b"v")})
        assert store.getitems(["k", "new"]) == {"k": b"2"}
        failing("find", times=50, closeConnection=True)
        with pytest.raises(StoreUnavailableError, match="'k'"):
            store["k"]


def test_failed_transaction_changes_nothing(ours: tuple[str, str], failing: Callable[..., None]) -> None:
    """A transaction whose end fails is undone; one that met another writer is tried again."""
    with Split(ours[1], url=ours[0]) as store:
        store["k"] = b"old"
        failing("commitTransaction", errorCode=14031)
        with pytest.raises(StoreAccessError):
            store.apply_many({"k": b"new", "l": LARGE})
        assert dict(store.items()) == {"k": b"old"}
        failing("update", errorCode=112, errorLabels=["TransientTransactionError"])
        with store.transaction() as changes:
            changes["k"] = b"new"
        assert store["k"] == b"new"


def test_server_errors_are_short() -> None:
    """Errors of the server lose the raw answer that pymongo hangs on them."""
    store = MongoDBStore()
    error = OperationFailure("no space", 14031, {"errmsg": "no space", "op": "secret"})
    found = store.plain_error(error)
    assert isinstance(found, StoreAccessError)
    assert "no space" in str(found)
    assert "secret" not in str(found)
