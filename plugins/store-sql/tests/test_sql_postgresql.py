"""What is PostgreSQL's own: the table, restarts, passwords, servers that do not answer."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import psycopg
import pytest
from sqlalchemy import event

from zarrv3 import ByteRange, create_array, open_store
from zarrv3.errors import (
    ConfigurationError,
    ReadOnlyError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.store.contract import Request
from zarrv3.testing.interrupts import interruptions, points, unheard
from zarrv3.testing.processes import threads_together
from zarrv3_store_sql import SQLStore, engines
from zarrv3_store_sql.testing import program


@pytest.fixture
def store(postgresql_url: str) -> Iterator[SQLStore]:
    """A store over a table of its own."""
    with SQLStore(postgresql_url, f"zarr_{uuid.uuid4().hex}") as opened:
        yield opened
        sql(opened, f"DROP TABLE IF EXISTS {opened.given_options['table']}")


def sql(store: Any, statement: str) -> Any:
    """The rows of a statement."""
    with store.driver.opened.engine.connect() as connection:
        found = connection.exec_driver_sql(statement)
        return found.fetchall() if found.returns_rows else None


def test_table(store: SQLStore) -> None:
    """Keys are ordered by their bytes whatever the database's language, values stored so that ranges can be cut."""
    store["k"] = b"v"
    table = store.given_options["table"]
    columns = sql(
        store,
        "SELECT attname, format_type(atttypid, atttypmod), attstorage::text, collname FROM pg_attribute "
        f"LEFT JOIN pg_collation c ON c.oid = attcollation WHERE attrelid = '{table}'::regclass AND attnum > 0",
    )
    assert [tuple(row) for row in columns] == [("k", "text", "x", "C"), ("v", "bytea", "e", None)]


def test_order_of_bytes(store: SQLStore) -> None:
    """Keys that languages sort together or ignore letters of are in the folders that their bytes say."""
    keys = ["foo/a", "Foo/a", "foo-bar", "foo/é", "foo0", "fo/o", "FOO/a", "foo/-", "föö/a"]
    store.write_many(dict.fromkeys(keys, b""))
    assert list(store.list_prefix("")) == sorted(keys, key=str.encode)
    assert sorted(store.list_prefix("foo/")) == ["foo/-", "foo/a", "foo/é"]
    assert [name for name in store.list_dir("") if name.endswith("/")] == [
        "FOO/",
        "Foo/",
        "fo/",
        "foo/",
        "föö/",
    ]
    store.erase_prefix("foo/")
    assert sorted(store) == sorted({*keys} - {"foo/-", "foo/a", "foo/é"})


def test_reading_creates_no_table(store: SQLStore) -> None:
    """Opening, reading and listing where no table is create none."""
    assert (store.get("k"), store.list(), [*store.list_dir("")], store.getsize()) == (None, [], [], 0)
    store.erase_prefix("")
    assert sql(store, f"SELECT to_regclass('{store.given_options['table']}')::text") == [(None,)]


def test_listing_costs_what_it_returns(store: SQLStore) -> None:
    """Listing a folder looks at a few rows of each sub-folder, not at all of them."""
    store.write_many({f"{folder}/{i}": b"" for folder in "abc" for i in range(5000)})
    sql(store, f"ANALYZE {store.given_options['table']}")
    driver: Any = store.driver
    walk = driver.sql.walk("").bindparams(low="", most=1000)
    text = str(walk.compile(driver.opened.engine, compile_kwargs={"literal_binds": True})).replace("%%", "%")
    plan = json.dumps(sql(store, f"EXPLAIN (ANALYZE, FORMAT JSON) {text}")[0][0])
    assert "Seq Scan" not in plan
    rows = [int(float(part.split(",")[0])) for part in plan.split('"Actual Rows": ')[1:]]
    assert max(rows) < 10


def test_restarted_server(postgresql_server: Any) -> None:
    """A store goes on after its server was restarted; while the server is down the error may be tried again."""
    with SQLStore(postgresql_server.get_uri(), f"zarr_{uuid.uuid4().hex}") as store:
        store["k"] = b"v"
        postgresql_server._stop()
        with pytest.raises(StoreUnavailableError) as caught:
            store.get("k")
        assert caught.value.retryable
        postgresql_server.ensure_postgres_running()
        assert store["k"] == b"v"
        store["k"] = b"w"
        assert store["k"] == b"w"


def test_ended_session(store: SQLStore) -> None:
    """A session that an administrator ended is replaced."""
    store["k"] = b"v"
    with SQLStore(store.given_options["url"]) as other:
        sql(
            other,
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL",
        )
    assert store["k"] == b"v"


@pytest.fixture
def sent(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that the store sends from now on, and `ping` for each time it only asks whether the server is there."""
    found: list[str] = []
    engine = store.driver.opened.engine  # type: ignore[attr-defined]
    ping = engine.dialect.do_ping

    def pinged(connection: Any) -> bool:
        found.append("ping")
        return bool(ping(connection))

    monkeypatch.setattr(engine.dialect, "do_ping", pinged)

    @event.listens_for(engine, "before_cursor_execute")
    def _(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement.partition(" ")[0])

    return found


def test_array_statements(store: SQLStore, sent: list[str]) -> None:
    """An array of 1,600 chunks is read by one statement a window and nothing else, written by one transaction a window."""
    array = create_array(store, name="array", shape=(1600,), chunks=(1,), dtype="u2")
    sent.clear()
    array[:] = np.arange(1, 1601, dtype="u2")
    assert sent == ["BEGIN", "INSERT", "COMMIT"] * 25
    sent.clear()
    assert (array[:] == np.arange(1, 1601)).all()
    assert sent == ["SELECT"] * 25


def test_partial_write_statements(store: SQLStore, sent: list[str]) -> None:
    """Writing a part of each of several chunks reads them by one statement and swaps them by another."""
    array = create_array(store, name="array", shape=(32, 32), chunks=(16, 16), dtype="u2", fill_value=1)
    array[...] = 2
    sent.clear()
    array[8:24, 8:24] = 3
    assert sent == ["SELECT", "WITH"]
    assert array[...].sum() == 2 * 32 * 32 + 16 * 16


def test_idle_connections(store: SQLStore, sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for long is asked before it is used; one that does not answer is replaced."""
    store["k"] = b"v"
    sent.clear()
    monkeypatch.setattr(engines, "IDLE", 0.0)
    assert store["k"] == b"v"
    assert sent == ["ping", "SELECT"]

    def refused(connection: Any) -> bool:
        connection.close()
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(store.driver.opened.engine.dialect, "do_ping", refused)  # type: ignore[attr-defined]
    assert store["k"] == b"v"


def test_closed_connections(store: SQLStore) -> None:
    """A connection that was closed in this process is replaced."""
    store["k"] = b"v"
    with store.driver.opened.engine.connect() as connection:  # type: ignore[attr-defined]
        raw = connection.connection.driver_connection
    raw.close()
    assert store["k"] == b"v"


def test_wrong_password(postgresql_server: Any) -> None:
    """A wrong password is an error that does not show it and is not tried again; the right one works."""
    url = postgresql_server.get_uri().replace("postgres:@", "locked:open%20{}@")
    assert "locked" in url
    with (
        open_store(url.format("barley")) as store,
        pytest.raises(StoreAccessError, match="authentication failed") as caught,
    ):
        store.get("k")
    assert not isinstance(caught.value, StoreUnavailableError)
    assert "barley" not in str(caught.value) + repr(store)
    with open_store(url.format("sesame")) as store:
        assert store.get("k") is None


def test_missing_database(postgresql_server: Any) -> None:
    """A database that is not there is named."""
    with (
        SQLStore(postgresql_server.get_uri("nowhere")) as store,
        pytest.raises(StoreAccessError, match='"nowhere" does not exist'),
    ):
        store.get("k")


def test_unknown_option_of_the_server(postgresql_url: str) -> None:
    """What neither the store nor the database's client knows is refused when the store is made."""
    with pytest.raises(ConfigurationError, match="'postgresql' has no URL option 'colour'; its"):
        open_store(f"{postgresql_url}&colour=red")


def test_read_only_session(postgresql_url: str) -> None:
    """A server that takes no writes is read-only."""
    table = f"zarr_{uuid.uuid4().hex}"
    with SQLStore(postgresql_url, table) as writer:
        writer["k"] = b"v"
    with SQLStore(f"{postgresql_url}&options=-cdefault_transaction_read_only=on", table) as store:
        assert store["k"] == b"v"
        with pytest.raises(ReadOnlyError):
            store["k"] = b"w"


def test_no_server() -> None:
    """Where nothing listens the error comes at once, names the server and may be tried again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        SQLStore(f"postgresql://127.0.0.1:{port}/db") as store,
        pytest.raises(StoreUnavailableError, match=f"{port}.*refused"),
    ):
        store.get("k")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_server_that_does_not_answer(scheme: str) -> None:
    """A server that says nothing is given up after `connect_timeout`, which the error names."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/db"
        assert SQLStore(url).option("connect_timeout") == 10
        started = time.monotonic()
        with (
            SQLStore(url, connect_timeout=2) as store,
            pytest.raises(StoreTimeoutError, match=r"connect_timeout=2.0 s"),
        ):
            store.get("k")
        assert time.monotonic() - started < 8


def test_values_cross_the_wire_as_they_are(store: SQLStore) -> None:
    """Bytes are fetched in binary form, not as hexadecimal text, and a range fetches its bytes only."""
    store["k"] = bytes(range(256)) * 4000
    driver: Any = store.driver
    with driver.opened.engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(f"SELECT v FROM {store.given_options['table']}")
        assert cursor.pgresult.fformat(0) == 1
        cursor.close()
    assert store.get_many([Request("k", ByteRange(-3)), Request("k", None)])[0] == b"\xfd\xfe\xff"


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_swaps_at_every_level_of_isolation(postgresql_url: str, isolation: str) -> None:
    """Whatever level of isolation the server gives a session, threads that swap and write lose nothing and end well."""
    option = f"options=-cdefault_transaction_isolation={isolation.replace(' ', '%5C%20')}"
    with SQLStore(f"{postgresql_url}&{option}", f"zarr_{uuid.uuid4().hex}") as store:

        def count() -> None:
            for _ in range(15):
                left = ["b", "a", "c"]
                while left:
                    found = zip(left, store.get_versioned(left), strict=True)
                    left = [
                        *store.swap_many(
                            {k: (version, bytes(old or b"") + b"+") for k, (old, version) in found}
                        )
                    ]
                store.write_many({"y": b"v", "x": b"v"})

        threads_together([count] * 4)
        assert store.getitems(["a", "b", "c"]) == dict.fromkeys("abc", b"+" * 60)
        assert sql(store, "SHOW transaction_isolation") == [(isolation,)]
        sql(store, f"DROP TABLE {store.given_options['table']}")


def test_reads_that_the_server_undoes(postgresql_url: str) -> None:
    """A serializable read that is undone because of what two writers read and wrote meanwhile is made again."""
    option = "options=-cdefault_transaction_isolation=serializable"
    with SQLStore(f"{postgresql_url}&{option}", f"zarr_{uuid.uuid4().hex}") as store:
        store.write_many({"x": b"old", "y": b"old"})
        table, url = store.given_options["table"], postgresql_url.replace("+psycopg", "")
        with psycopg.connect(url, options="-cdefault_transaction_isolation=serializable") as writer:
            writer.execute(f"SELECT v FROM {table} WHERE k IN ('x', 'y')")
            store.write_many({"y": b"new"})
            writer.execute(f"UPDATE {table} SET v = 'new' WHERE k = 'x'")
            writer.execute(f"LOCK TABLE {table}")
            with ThreadPoolExecutor(1) as pool:
                # its snapshot is from before the commit, and what it reads from after it
                reading = pool.submit(store.get_versioned, ["x", "y"])
                with psycopg.connect(url, autocommit=True) as observer:
                    waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
                    while not observer.execute(waits).fetchall() and not reading.done():
                        time.sleep(0.01)
                writer.commit()
                assert [value for value, _ in reading.result()] == [b"new", b"new"]
        sql(store, f"DROP TABLE {table}")


def test_versions_without_values(store: SQLStore) -> None:
    """A version is the server's identity of a row, whichever program writes: it changes with every write, and stays without one."""
    store.write_many({"k": b"v", "l": b"v"})
    before = store.get_versioned(["k", "l"])
    assert before == store.get_versioned(["k", "l"])
    sql(store, f"UPDATE {store.given_options['table']} SET v = 'w' WHERE k = 'k'")
    sql(store, f"VACUUM (FREEZE) {store.given_options['table']}")
    after = store.get_versioned(["k", "l"])
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert [*store.swap_many({"k": (before[0][1], b"x"), "l": (before[1][1], b"x")})] == ["k"]
    assert store.getitems(["k", "l"]) == {"k": b"w", "l": b"x"}


def test_swaps_do_not_look_at_other_rows(store: SQLStore) -> None:
    """Swapping a batch goes to its keys by the index and does not look at the values."""
    store.write_many({f"f/{i}": b"" for i in range(5000)})
    table = store.given_options["table"]
    sql(store, f"ANALYZE {table}")
    versions = store.get_versioned(["f/1", "f/2"])

    def scans() -> Any:
        sql(store, "SELECT pg_stat_force_next_flush()")
        return sql(store, f"SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '{table}'")

    scans()
    before = scans()
    assert not store.swap_many({f"f/{i + 1}": (version, b"") for i, (_, version) in enumerate(versions)})
    assert scans() == before


@pytest.fixture
def pooled_url(postgresql_server: Any) -> Iterator[str]:
    """The URL of PgBouncer before the server, where each transaction may go to another session."""
    bouncer = program("pgbouncer")
    if bouncer is None:
        pytest.skip("pgbouncer is not installed")
    host = parse_qs(urlsplit(postgresql_server.get_uri()).query)["host"][0]
    owner = Path(host).stat()
    with tempfile.TemporaryDirectory(prefix="zarrv3-pool-") as folder:
        settings = Path(folder, "settings")
        settings.write_text(
            f"[databases]\npostgres = host={host} port=5432 dbname=postgres user=postgres\n[pgbouncer]\n"
            f"auth_type=any\npool_mode=transaction\ndefault_pool_size=2\nunix_socket_dir={folder}\n"
        )
        command = [bouncer, "-q", str(settings)]
        if os.geteuid() == 0:  # it refuses to run as root
            os.chown(folder, owner.st_uid, owner.st_gid)
            command = ["setpriv", f"--reuid={owner.st_uid}", "--clear-groups", *command]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                while not Path(folder, ".s.PGSQL.6432").exists():
                    assert process.poll() is None
                    time.sleep(0.01)
                yield f"postgresql://postgres@/postgres?host={folder}&port=6432"
            finally:
                process.terminate()


@pytest.mark.parametrize("how", ["", "&prepare_threshold=0", "&prepare_threshold=none"])
def test_pools_of_transactions(pooled_url: str, how: str) -> None:
    """Behind PgBouncer no statement is prepared, which could be another one in the next session; URLs can say so too."""
    with open_store(f"{pooled_url}&table=zarr_{uuid.uuid4().hex}{how}") as store:
        array = create_array(store, shape=64, chunks=16, dtype="i4")

        def change(number: int) -> None:
            for k in range(12):  # more often than psycopg waits before it prepares
                array[number * 16 + k] = k
                assert array[number * 16 : number * 16 + k + 1].tolist() == list(range(k + 1))
                assert "zarr.json" in [*store.list_dir("")]

        threads_together([partial(change, number) for number in range(4)])
        assert sql(store, "SELECT count(*) FROM pg_prepared_statements")[0][0] == 0
        sql(store, f"DROP TABLE {store.given_options['table']}")


def test_statements_are_prepared(store: SQLStore) -> None:
    """Without a pool, statements that are used often are prepared."""
    for _ in range(7):
        assert store.get("k") is None
        store["a"] = b"v"
    with store.driver.opened.engine.connect() as connection:  # type: ignore[attr-defined]
        assert connection.connection.driver_connection.prepare_threshold == 5
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar() > 0


@unheard()
def test_no_interrupt_leaves_the_pool_taken(store: SQLStore) -> None:
    """Wherever Ctrl-C strikes a read, the next read of another thread gets a connection."""
    store["k"] = b"v"
    for error in interruptions(lambda: store["k"]):
        outcome: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=lambda: outcome.put(store["k"]), daemon=True).start()  # noqa: B023
        assert outcome.get(timeout=30) == b"v", error


def test_no_interrupt_comes_into_the_making_of_an_engine() -> None:
    """Opening leaves no lock of SQLAlchemy taken: Ctrl-C is let in at some points of ours, not at its thousands."""
    made = [SQLStore("postgresql://nobody@localhost/none").connect()]
    store = SQLStore("postgresql://nobody@localhost/none")
    assert points(lambda: made.append(store.connect())) < 100
    for driver in made:
        driver.close()
