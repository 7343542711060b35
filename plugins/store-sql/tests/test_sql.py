"""SQL databases: the conformance kit over every variant, and what all of them share."""

import os
import pickle
import random
import re
import socket
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

import zarrv3
from zarrv3 import ByteRange, open_store
from zarrv3.errors import (
    ConfigurationError,
    LimitError,
    RegistryError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.store.contract import Request, Version, whole
from zarrv3.testing import InterruptConformance, Opener, StoreConformance
from zarrv3.testing.processes import threads_together, together
from zarrv3_store_sql import SQLiteStore, SQLStore
from zarrv3_store_sql.engines import parse, server
from zarrv3_store_sql.failures import ConflictError, explained


def fresh_table(url: str) -> Iterator[Opener]:
    """An opener of a table of its own, which is dropped in the end."""
    table = f"zarr_{uuid.uuid4().hex}"
    yield partial(SQLStore, url, table)
    engine = create_engine(parse(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    engine.dispose()


class TestSQLiteStore(InterruptConformance, StoreConformance):
    """A `SQLiteStore` over a file."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """Every call opens the same file, which does not exist at first."""
        return partial(SQLiteStore, tmp_path / "new" / "data.db")


class TestMemorySQLiteStore(InterruptConformance, StoreConformance):
    """A `SQLiteStore` in memory."""

    examples = 12

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call makes a database of its own."""
        return partial(SQLiteStore, ":memory:")

    @pytest.mark.xfail(reason="two databases in memory are different data")
    def test_equality(self, opener: Opener) -> None:
        """The kit's test of equality."""
        self.run_check("equality", opener)

    @pytest.mark.xfail(reason="two databases in memory are different data")
    def test_spec(self, opener: Opener) -> None:
        """The kit's test of what `spec()` opens."""
        self.run_check("spec", opener)


class TestPostgreSQLStore(InterruptConformance, StoreConformance):
    """A `SQLStore` over a PostgreSQL server."""

    examples = 12

    @pytest.fixture
    def opener(self, postgresql_url: str) -> Iterator[Opener]:
        """Every call opens the same table, which does not exist at first."""
        yield from fresh_table(postgresql_url)


class TestMySQLStore(InterruptConformance, StoreConformance):
    """A `SQLStore` over a MySQL or MariaDB server."""

    examples = 12

    @pytest.fixture
    def opener(self, mysql_url: str) -> Iterator[Opener]:
        """Every call opens the same table, which does not exist at first."""
        yield from fresh_table(mysql_url)


class Recording(sqlite3.Connection):
    """A connection that notes the statements it is given."""

    sent: ClassVar[list[str]] = []

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Note and run a statement."""
        self.sent.append(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Note and run a statement for several rows."""
        self.sent.append(sql)
        return super().executemany(sql, *parameters)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """What opens the same new table of each database."""
    if request.param == "sqlite":
        yield partial(SQLiteStore, tmp_path / "data.db", factory=Recording)
    else:
        yield from fresh_table(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def store(opener: Opener) -> Iterator[Any]:
    """A store over a new table of each database."""
    with opener() as opened:
        yield opened


def statements_of(store: Any) -> list[str]:
    """A list that grows by every statement that the store sends from now on."""
    if isinstance(store, SQLiteStore):
        Recording.sent.clear()
        return Recording.sent
    sent: list[str] = []
    engine = store.driver.opened.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _u, statement, *_: sent.append(statement))
    return sent


def versions_of(store: Any, *keys: str) -> dict[str, Version | None]:
    """The versions of some keys."""
    return {key: version for key, (_, version) in zip(keys, store.get_versioned(keys), strict=True)}


# ---------------------------------------------------------------- what is sent


def test_statements_of_each_call(store: Any) -> None:
    """Each call is one statement, whatever it is about; a batch of writes is one transaction."""
    items = {f"f/{i % 7}/{i}": bytes([i]) * i for i in range(100)}
    store.write_many({**items, "k": b""})
    versions = versions_of(store, *items, "k")
    sent = statements_of(store)
    # a batch is one statement for PostgreSQL; SQLite has one for each key, and MySQL compares by a query
    swaps = {"sqlite": 102, "postgresql": 1}.get(store.driver.opened.dialect.name, 4)
    calls: dict[str, tuple[int, Any]] = {
        "get_many": (1, lambda: store.get_many(whole(items))),
        "one value": (1, lambda: store.write_many({"k": b"v"})),
        "many values": (3, lambda: store.write_many(items)),
        "stat_many": (1, lambda: store.stat_many([*items, "none"])),
        "get_versioned": (1, lambda: store.get_versioned([*items])),
        "create": (1, lambda: store.swap_many({"new": (None, b"v")})),
        "swap": (1, lambda: store.swap_many({"new": (versions["k"], b"w")})),
        "swap many": (swaps, lambda: store.swap_many({key: (versions[key], b"w") for key in items})),
        "list_prefix": (1, lambda: list(store.list_prefix("f/"))),
        "list_sizes": (1, lambda: list(store.list_sizes("f/"))),
        "list_dir": (1, lambda: list(store.list_dir("f/"))),
        "getsize": (1, lambda: store.getsize("f")),
        "erase_many": (1, lambda: store.delitems(["f/0/0", "f/1/1"])),
        "rename_prefix": (1, lambda: store.rename_prefix("f/", "g/")),
        "erase_prefix": (1, lambda: store.erase_prefix("g/")),
    }
    for name, (expected, call) in calls.items():
        sent.clear()
        call()
        assert len(sent) == expected, f"{name}: {sent}"


def test_ranges_in_one_query(store: Any) -> None:
    """Ranges of many keys are cut in the database: by one query, or by SQLite's handles in one transaction."""
    store.write_many({f"f/{i}": bytes(range(256)) for i in range(40)})
    sent = statements_of(store)
    found = store.get_many([Request(f"f/{i}", ByteRange(i, i + 4)) for i in range(50)])
    assert [bytes(v) for v in found if v is not None] == [bytes(range(256))[i : i + 4] for i in range(40)]
    assert len(sent) == (52 if isinstance(store, SQLiteStore) else 1)


def test_no_pattern_is_ever_sent(store: Any) -> None:
    """Folders are ranges of keys: no statement has LIKE, whose wildcards and case made zarr 2 erase neighbours (defect 7)."""
    store.write_many({"grp_1/k": b"1", "grpA1/k": b"2", "foo/k": b"3", "Foo/k": b"4", "100%/k": b"5"})
    sent = statements_of(store)
    store.rmdir("grp_1")
    store.rmdir("foo")
    store.rename("100%", "all")
    assert sorted(store) == ["Foo/k", "all/k", "grpA1/k"]
    assert not any(re.search(r"\b(LIKE|GLOB|REGEXP)\b", text, re.IGNORECASE) for text in sent)


def test_sizes_of_a_path_only(store: Any) -> None:
    """`getsize` counts a path and what is below it, not what merely begins alike (defect 21)."""
    store.write_many(
        {"foo": b"1", "foo/a": b"22", "foobar": b"333", "foo2/x": b"4444", "zarr.json": b"55555"}
    )
    assert (store.getsize("foo"), store.getsize("foo2/"), store.getsize("none"), store.getsize()) == (
        3,
        4,
        0,
        15,
    )


def test_reading_while_listing(store: Any) -> None:
    """A listing goes on while its keys are read, over any number of pages (defect 8)."""
    store.write_many({f"f/{i:03}": b"%d" % i for i in range(300)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrv3_store_sql.driver.PAGE", 50)
        patch.setattr("zarrv3_store_sql.driver.STEPS", 50)
        assert [store[key] for key in store.list_prefix("f/")] == [b"%d" % i for i in range(300)]
        assert sorted(store.list_dir("f/")) == [f"f/{i:03}" for i in range(300)]
        assert dict(store.list_sizes("")) == {f"f/{i:03}": len(str(i)) for i in range(300)}


def test_sub_folders_over_many_pages(store: Any) -> None:
    """A folder is listed whole when its entries fill several queries, with keys between sub-folders."""
    keys = [f"f/{i:02}/{j}" for i in range(20) for j in range(9)] + [f"f/{i:02}.json" for i in range(20)]
    store.write_many(dict.fromkeys(keys, b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zarrv3_store_sql.driver.STEPS", 7)
        expected = [f"f/{i:02}.json" for i in range(20)] + [f"f/{i:02}/" for i in range(20)]
        assert sorted(store.list_dir("f/")) == sorted(expected)


def test_threads_that_read(store: Any) -> None:
    """Many threads read and list through one store (defect 1: a crash)."""
    items = {f"f/{i}": b"%d" % i * 50 for i in range(20)}
    store.write_many(items)

    def read() -> None:
        for _ in range(15):
            assert store.getitems([*items]) == items
            assert len([*store.list_dir("f/")]) == 20

    threads_together([read] * 6)


def test_writers_in_each_others_way(opener: Opener) -> None:
    """Batches over the same keys in any order, written, erased and moved at once, all end well: no deadlock is seen."""
    with opener() as store:
        store["zarr.json"] = b"{}"

        def write(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(12):
                keys = rng.sample([f"f/{i}" for i in range(40)], 25)
                store.write_many(dict.fromkeys(keys, b"v" * 2000))
                store.delitems(rng.sample(keys, 12))
                store.erase_prefix("f/") if rng.random() < 0.2 else None

        threads_together([partial(write, seed) for seed in range(6)])


def test_array_round_trip(store: Any) -> None:
    """An array is read as it was written; N chunks cost a statement a task, not one each."""
    values = np.arange(64 * 64).reshape(64, 64)
    array = zarrv3.create_array(store, shape=(64, 64), chunks=(8, 8), dtype="i8")
    array[:] = values
    sent = statements_of(store)
    np.testing.assert_array_equal(zarrv3.open_array(store)[:], values)
    assert len(sent) <= 5


def test_tables_apart(opener: Opener) -> None:
    """Two tables of one database are two stores."""
    with (
        opener() as one,
        type(one)(**{**one.given_options, "table": f"{one.given_options['table']}_2"}) as other,
    ):
        one["k"] = b"1"
        assert "k" not in other
        other["k"] = b"2"
        assert one["k"] == b"1"
        assert one != other
        table = other.given_options["table"]
        other.driver.opened.run(lambda connection: connection.exec_driver_sql(f"DROP TABLE {table}").close())


def test_key_limit(store: Any) -> None:
    """A key of the longest length claimed can be stored when it cannot be compressed; a longer one is refused."""
    rng = random.Random(1)
    most = store.capabilities.limits.key_bytes
    key = "".join(
        rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for _ in range(most)
    )
    store[key] = b"v"
    assert store.list() == [key]
    with pytest.raises(LimitError, match=str(most)):
        store[f"{key}x"] = b"v"


# ---------------------------------------------------------------- swaps


def test_swaps_of_a_batch(store: Any) -> None:
    """Of a batch of every kind of swap those are made whose keys have their versions still; the others are left alone."""
    keys = [
        f"{what}/{state}" for what in ("replace", "erase", "create", "none") for state in ("same", "other")
    ]
    store.write_many(dict.fromkeys(keys[:4], b"\0old\xff"))
    versions = versions_of(store, *keys)
    assert versions["create/same"] is versions["none/other"] is None
    store.write_many(dict.fromkeys(keys[1::2], b"theirs"))
    new = {"replace": b"new\0", "create": memoryview(b"<made>")[1:5], "erase": None, "none": None}
    refused = store.swap_many({key: (versions[key], new[key.partition("/")[0]]) for key in keys})
    assert sorted(refused) == sorted(keys[1::2])
    assert store.getitems(keys) == {
        **dict.fromkeys(keys[1::2], b"theirs"),
        "replace/same": b"new\0",
        "create/same": b"made",
    }


def test_swaps_one_by_one(store: Any) -> None:
    """A swap of a single key follows the same rules; a version that was used is not good for a second time."""
    assert not store.swap_many({"k": (None, None)})
    assert not store.swap_many({"k": (None, b"")})
    for refused in (b"v", None):
        assert [*store.swap_many({"k": (None, refused)})] == ["k"]
    ((value, version),) = store.get_versioned(["k"])
    assert value == b""
    assert not store.swap_many({"k": (version, b"1")})
    for refused in (b"2", None):
        assert [*store.swap_many({"k": (version, refused)})] == ["k"]
    assert store["k"] == b"1"
    assert not store.swap_many({"k": (versions_of(store, "k")["k"], None)})
    assert [*store.swap_many({"k": (version, b"2")})] == ["k"]
    assert "k" not in store


def test_large_values_are_swapped(store: Any) -> None:
    """A batch of values beside a large one, and of empty ones, arrives as it is."""
    items = {"a": b"", "b": bytes(range(256)) * (1 << 13), "c": b"c", "d": b""}
    store.write_many(dict.fromkeys(items, b"old"))
    versions = versions_of(store, *items)
    assert not store.swap_many({key: (versions[key], value) for key, value in items.items()})
    assert store.getitems([*items]) == items


def test_sizes_without_values(store: Any) -> None:
    """`stat_many` gives the size of each key in the order asked for, of missing ones `None`, and fetches no value."""
    store.write_many({"a": b"", "b": b"22", "c": b"v" * 1_000_000})
    sent = statements_of(store)
    assert [*store.stat_many(["c", "none", "a", "b", "c"])] == [1_000_000, None, 0, 2, 1_000_000]
    assert len(sent) == 1
    assert "length(" in sent[0]


def count_up(store: Any, seed: int) -> dict[str, int]:
    """Count up some keys by swaps, in batches of any order, and one of them by plain writes between; returns what was counted."""
    rng = random.Random(seed)
    counted: dict[str, int] = {}
    for _ in range(15):
        left = rng.sample([f"n/{i}" for i in range(8)], rng.randrange(1, 7))
        counted |= {key: counted.get(key, 0) + 1 for key in left}
        while left:
            found = zip(left, store.get_versioned(left), strict=True)
            left = [
                *store.swap_many(
                    {key: (version, b"%d" % (int(value or b"0") + 1)) for key, (value, version) in found}
                )
            ]
        store.write_many({f"n/of/{seed}": b"v" * 3000, "n/all": b"%d" % seed})
    return counted


def check_counts(store: Any, counted: list[dict[str, int]]) -> None:
    """Nothing that was counted is lost."""
    expected = {
        key: sum(one.get(key, 0) for one in counted) for key in {key for one in counted for key in one}
    }
    assert {key: int(value) for key, value in store.getitems([*expected]).items()} == expected


def test_swaps_of_many_threads(store: Any) -> None:
    """Threads that swap batches of the same keys in any order lose nothing and end well."""
    check_counts(store, threads_together([partial(count_up, store, seed) for seed in range(5)]))


def count_in_a_process(opener: Opener, number: int) -> dict[str, int]:
    """Count through a store of one's own."""
    with opener() as store:
        return count_up(store, number)


def test_swaps_of_many_processes(opener: Opener) -> None:
    """Processes that swap batches of the same keys, which none of them finds at first, lose nothing."""
    counted = together(count_in_a_process, opener, 4)
    with opener() as store:
        check_counts(store, counted)


def lock_and_erase(opener: Opener, number: int) -> int:
    """Create keys that only one may have, in batches, and erase those that were won; returns how many."""
    rng = random.Random(number)
    own, won = b"%d" % number, 0
    with opener() as store:
        for _ in range(30):
            keys = rng.sample(["l/a", "l/b", "l/c"], 2)
            refused = store.swap_many(dict.fromkeys(keys, (None, own)))
            mine = [key for key in keys if key not in refused]
            found = store.get_versioned(mine)
            assert [value for value, _ in found] == [own] * len(mine)
            assert not store.swap_many({key: (v, None) for key, (_, v) in zip(mine, found, strict=True)})
            won += len(mine)
    return won


def test_creators_and_erasers(opener: Opener) -> None:
    """One of several processes wins each key they create, and no other can erase what it made."""
    with opener() as store:
        store["zarr.json"] = b"{}"
        assert sum(together(lock_and_erase, opener, 4)) > 0
        assert store.list() == ["zarr.json"]


class ClientError(Exception):
    """What a database's Python package raises; some have the SQLSTATE beside MySQL's number."""

    sqlstate: str | None = None


@pytest.mark.parametrize(
    ("argument", "state", "conflict"),
    [
        ("deadlock detected", "40P01", True),  # psycopg
        ({"C": "40001", "M": "could not serialize access"}, None, True),  # pg8000
        (1213, "40001", True),  # PyMySQL
        (1062, "23000", True),  # another writer made the key meanwhile
        (1205, "HY000", False),
        ("value too long", "22001", False),
    ],
)
def test_conflicts_of_every_client(argument: Any, state: str | None, conflict: bool) -> None:
    """Whether a transaction is tried again is seen whichever way the client tells the error's code."""
    error = ClientError(argument, "text")
    error.sqlstate = state
    failure = explained(DBAPIError("", None, error), None, None)
    assert isinstance(failure, ConflictError) is conflict
    assert (failure.kind is StoreTimeoutError) is (argument == 1205)


# ---------------------------------------------------------------- engines


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of the user's."""
    made = create_engine(f"sqlite:///{tmp_path / 'own.db'}")
    yield made
    made.dispose()


def test_engine_of_the_user(engine: Engine) -> None:
    """An engine is used and outlives the store; what it has of its own is left as it was."""
    with SQLStore(engine) as store:
        store.write_many({"f/a": b"1", "f/b": b"22"})
        assert store.get_many([Request("f/b", ByteRange(1)), Request("f/a", None)]) == [b"2", b"1"]
        assert store == SQLStore(engine)
        assert store != SQLStore(engine, "other")
        with pytest.raises(ConfigurationError, match="live object"):
            store.spec()
        with pytest.raises(pickle.PicklingError, match="URL"):
            pickle.dumps(store)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM zarr").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.get_isolation_level() != "AUTOCOMMIT"


def test_transaction_over_an_engine(engine: Engine) -> None:
    """A block whose writes fail leaves nothing behind."""
    with SQLStore(engine) as store:
        store["k"] = b"old"
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER t BEFORE INSERT ON zarr WHEN NEW.k = 'm' BEGIN SELECT RAISE(ABORT, 'no m'); END"
            )
        with pytest.raises(StoreError, match="no m"), store.transaction() as block:
            block.update({"k": b"new", "l": b"too", "m": b"refused"})
        assert "l" not in store
        assert store["k"] == b"old"
        with store.transaction() as block:
            block["k"] = b"new"
            block["l"] = b"too"
        assert store.getitems(["k", "l"]) == {"k": b"new", "l": b"too"}


# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me@host/db", {"store": "sql", "url": "postgresql://me@host/db"}),
        (
            "postgresql+psycopg://h/db?table=t",
            {"store": "sql", "url": "postgresql+psycopg://h/db", "table": "t"},
        ),
        (
            "postgresql://h/db?sslmode=require&connect_timeout=3",
            {"store": "sql", "url": "postgresql://h/db?sslmode=require", "connect_timeout": 3.0},
        ),
        ("mysql://h/db", {"store": "sql", "url": "mysql://h/db"}),
        ("mariadb+pymysql://h/db", {"store": "sql", "url": "mariadb+pymysql://h/db"}),
        ("sql+mysql+mysqldb://h/db", {"store": "sql", "url": "sql+mysql+mysqldb://h/db"}),
        ("sqlite:///relative.db", {"store": "sqlite", "path": "relative.db"}),
        ("sqlite:////abs/a%20b.db?timeout=2", {"store": "sqlite", "path": "/abs/a b.db", "timeout": 2.0}),
        ("sqlite://", {"store": "sqlite", "path": ":memory:"}),
    ],
)
def test_urls(url: str, expected: dict[str, Any]) -> None:
    """A URL opens its store, whose spec opens an equal one."""
    store = open_store(url)
    assert store.spec() == expected
    if expected.get("path") != ":memory:":
        assert open_store(store.spec()) == store == pickle.loads(pickle.dumps(store))


def test_url_that_works(tmp_path: Path) -> None:
    """SQLAlchemy's own URLs and the example's open one and the same file."""
    with open_store(SQLiteStore.example_url(str(tmp_path))) as store:
        store["k"] = b"v"
    with open_store(f"sql+sqlite:///{tmp_path / 'sql.db'}?timeout=3") as store:
        assert store["k"] == b"v"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: open_store("sqlite:///x.db?colour=red"), "colour.*timeout"),
        (lambda: SQLiteStore("x.db", colour="red"), "colour.*timeout"),
        (lambda: SQLiteStore("x.db", isolation_level=None), "isolation_level"),
        (lambda: SQLiteStore("x.db", table="a; DROP TABLE b"), "takes the name of a table"),
        (lambda: open_store("sqlite://host/x.db"), "sqlite:///relative.db"),
        (lambda: open_store("sqlite:x.db"), "sqlite:///relative.db"),
        (lambda: open_store("sql://x"), "postgresql"),
        (lambda: open_store("sql+oracle://h/db"), "'oracle'.*sqlite, postgresql"),
        (lambda: open_store("postgresql+asyncpg://h/db"), "asyncpg"),
        (lambda: SQLStore("no url"), "not the URL"),
        (lambda: SQLStore("postgresql://h:port/db"), "not the URL"),
        (lambda: SQLStore("postgresql+nothing://h/db").get("k"), r"zarrv3-store-sql\[postgresql\]"),
    ],
)
def test_refused_configurations(call: Any, says: str) -> None:
    """What makes no sense is refused with what would."""
    with pytest.raises((ConfigurationError, RegistryError), match=says):
        call()


def test_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose driver is not installed answers with the line that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'zarrv3-store-sql\[postgresql\]'"):
        SQLStore("postgresql://h/db").get("k")


def test_secrets_stay_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """No password shows in a repr or an error, and one from the environment not in the spec either."""
    monkeypatch.setenv("ZARRV3_TEST_PASSWORD", "open/sesame")
    plain = open_store("postgresql://me:s3same@127.0.0.1:1/db")
    template = open_store("postgresql://me:${ZARRV3_TEST_PASSWORD}@127.0.0.1:1/db")
    for store, secret in ((plain, "s3same"), (template, "sesame")):
        assert secret not in repr(store)
        with pytest.raises(StoreUnavailableError) as caught:
            store.get("k")
        shown = [str(caught.value), repr(caught.value), str(caught.value.__cause__)]
        assert not any(secret in text for text in shown)
        assert "127.0.0.1" in shown[0]
    assert "${ZARRV3_TEST_PASSWORD}" in template.spec()["url"]


def test_errors_show_no_values_and_no_statements(tmp_path: Path) -> None:
    """An error says what the database says, in one line, without SQL and without what was to be written."""
    path = tmp_path / "data.db"
    path.write_bytes(b"no database, but long enough to be looked at as if it were one" * 40)
    with SQLiteStore(path) as store, pytest.raises(StoreError, match="file is not a database") as caught:
        store["k"] = b"a secret value"
    assert "\n" not in str(caught.value)
    assert not any(text in str(caught.value) for text in ("INSERT", "SELECT", "secret", "sqlalche.me"))
    assert os.fspath(path) in str(caught.value)


@pytest.mark.parametrize("given", [None, 7])
def test_queries_of_pymysql_take_as_long_as_they_may(given: int | None) -> None:
    """The time-out for the greeting of MySQL's server is not one for queries, which have what the URL says."""

    def packet(number: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "little") + bytes([number]) + payload

    def serve() -> None:
        client, _ = listening.accept()
        with client, suppress(ConnectionError):  # who says farewell does not wait for an answer
            greeting = b"\n8.0.0\0" + bytes(4) + b"12345678\0" + b"\x0f\xa2\x2d\x02\0\x08\0\x15" + bytes(10)
            client.sendall(packet(0, greeting + b"123456789012\0mysql_native_password\0"))
            number = 2
            while client.recv(4096):
                client.sendall(packet(number, b"\0\0\0\x02\0\0\0"))
                number = 1

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        query = "" if given is None else f"?read_timeout={given}"
        url = f"mysql://u@127.0.0.1:{listening.getsockname()[1]}/db{query}"
        engine = server(parse(url), 5.0, None).engine
        (make,) = engine.dialect.dispatch.do_connect
        arguments, options = engine.dialect.create_connect_args(engine.url)
        connection = make(engine.dialect, None, arguments, options)
        assert connection._read_timeout == given
        connection.query("SELECT 1")
        assert connection._sock.gettimeout() == given
        connection.close()
        thread.join()
