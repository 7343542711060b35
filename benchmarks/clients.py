"""The bulk operations of the backends' own libraries: values stored and fetched under their keys, with nothing of ours.

Each in the fastest way that was found and that keeps what the backend promises: a value replaces the one that its key
had, and what was written can be read by everybody when the client is closed. Opening and closing belong to both, as they
do to ours.
"""

from __future__ import annotations

import dbm.dumb
import sqlite3
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from workloads import Workload

T = TypeVar("T")

Values = Mapping[str, bytes]

ARRAY = Workload(name="backends", shape=(4_000, 4_000), chunks=(100, 100))
"""What is written: 1,600 objects."""


class Client(ABC):
    """One backend, reached by its own library.

    Args:
        base: where it is: a folder, or the URL of a server.
        name: what the values go by: a file, a prefix, a table.
    """

    def __init__(self, base: str, name: str) -> None:
        self.base = base
        self.name = name

    @abstractmethod
    def write(self, values: Values) -> None:
        """Open, store everything, close."""

    @abstractmethod
    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Open, fetch everything, close."""


class Memory(Client):
    """A dict of copies: what is kept needs memory of its own, which is new."""

    stored: dict[str, bytes]

    def write(self, values: Values) -> None:
        """See `Client`."""
        self.stored = {key: bytes(memoryview(value)) for key, value in values.items()}

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        return [self.stored.get(key) for key in keys]


class Directory(Client):
    """A file each, neither written beside and renamed nor flushed."""

    def write(self, values: Values) -> None:
        """See `Client`."""
        root = f"{self.base}/{self.name}"
        for folder in {key.rpartition("/")[0] for key in values}:
            Path(root, folder).mkdir(parents=True, exist_ok=True)
        for key, value in values.items():
            with open(f"{root}/{key}", "wb", buffering=0) as file:  # noqa: PTH123
                file.write(value)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        found: list[bytes | None] = []
        for key in keys:
            with open(f"{self.base}/{self.name}/{key}", "rb", buffering=0) as file:  # noqa: PTH123
                found.append(file.read())
        return found


class Zip(Client):
    """Python's `zipfile`."""

    def write(self, values: Values) -> None:
        """See `Client`."""
        with zipfile.ZipFile(f"{self.base}/{self.name}.zip", "w") as archive:
            for key, value in values.items():
                archive.writestr(key, value)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        with zipfile.ZipFile(f"{self.base}/{self.name}.zip") as archive:
            return [archive.read(key) for key in keys]


class LMDB(Client):
    """One transaction and one cursor."""

    def _opened(self) -> Any:
        import lmdb

        # a map that is large enough from the start; flushed at the end, as ours is
        return lmdb.open(f"{self.base}/{self.name}.lmdb", map_size=1 << 30, sync=False, metasync=False)

    def write(self, values: Values) -> None:
        """See `Client`."""
        with self._opened() as env:
            with env.begin(write=True) as transaction, transaction.cursor() as cursor:
                cursor.putmulti([(key.encode(), value) for key, value in values.items()])
            env.sync(True)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        with self._opened() as env, env.begin() as transaction, transaction.cursor() as cursor:
            found = dict(cursor.getmulti([key.encode() for key in keys]))
            return [found.get(key.encode()) for key in keys]


class SQLite(Client):
    """One transaction of upserts in a write-ahead log, `IN` with as many keys as ours asks for at once."""

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.base}/{self.name}.db", isolation_level=None)

    def write(self, values: Values) -> None:
        """See `Client`."""
        connection = self._opened()
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA journal_mode = WAL").close()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE zarr (k TEXT PRIMARY KEY, v BLOB)")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO zarr VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v", values.items()
        )
        connection.execute("COMMIT")
        connection.close()  # the last one moves the log into the file

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        connection = self._opened()
        found: dict[str, bytes] = {}
        for part in batched(keys, 500):
            marks = ",".join("?" * len(part))
            found.update(connection.execute(f"SELECT k, v FROM zarr WHERE k IN ({marks})", part))  # noqa: S608
        connection.close()
        return [found.get(key) for key in keys]


class DBM(Client):
    """Python's `dbm.dumb`."""

    def write(self, values: Values) -> None:
        """See `Client`."""
        with dbm.dumb.open(f"{self.base}/{self.name}.dbm", "n") as database:
            for key, value in values.items():
                database[key.encode()] = value

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        with dbm.dumb.open(f"{self.base}/{self.name}.dbm", "r") as database:
            return [database[key.encode()] for key in keys]


class Redis(Client):
    """MSET and MGET of a hundred keys."""

    def _names(self, keys: Sequence[str]) -> list[str]:
        return [f"{self.name}:{key}" for key in keys]

    def _opened(self) -> Any:
        import redis

        return redis.Redis.from_url(self.base.partition("?")[0])

    def write(self, values: Values) -> None:
        """See `Client`."""
        with self._opened() as client:
            for part in batched(values.items(), 100):
                client.mset({f"{self.name}:{key}": value for key, value in part})

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        with self._opened() as client:
            return [value for part in batched(self._names(keys), 100) for value in client.mget(part)]


class MongoDB(Client):
    """A batch of replacements under a unique key, and `$in` of 32 keys: more at once take longer."""

    def _opened(self) -> Any:
        from pymongo import MongoClient

        return MongoClient(self.base)

    def write(self, values: Values) -> None:
        """See `Client`."""
        from pymongo import ReplaceOne

        with self._opened() as client:
            documents = client[self.name]["zarr_collection"]
            documents.create_index("key", unique=True)
            writes = [
                ReplaceOne({"key": key}, {"key": key, "value": value}, upsert=True)
                for key, value in values.items()
            ]
            documents.bulk_write(writes, ordered=False)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        with self._opened() as client:
            documents = client[self.name]["zarr_collection"]
            found = {
                document["key"]: document["value"]
                for part in batched(keys, 32)
                for document in documents.find({"key": {"$in": [*part]}}, batch_size=len(part) + 1)
            }
        return [found.get(key) for key in keys]


class PostgreSQL(Client):
    """`executemany`, which psycopg sends without waiting for each answer, and `= ANY` of 32 keys, both binary.

    Copying (COPY) into a temporary table and merging that takes longer, as do arrays with `unnest`; copying into the table itself
    replaces nothing.
    """

    def _opened(self) -> Any:
        import psycopg

        return psycopg.connect(self.base)

    def write(self, values: Values) -> None:
        """See `Client`."""
        with self._opened() as connection, connection.cursor() as cursor:
            cursor.execute(f'CREATE TABLE "{self.name}" (k text COLLATE "C" PRIMARY KEY, v bytea NOT NULL)')
            cursor.execute(f'ALTER TABLE "{self.name}" ALTER COLUMN v SET STORAGE EXTERNAL')
            cursor.executemany(
                f'INSERT INTO "{self.name}" VALUES (%s, %b) ON CONFLICT (k) DO UPDATE SET v = excluded.v',  # noqa: S608
                values.items(),
            )

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        with self._opened() as connection, connection.cursor(binary=True) as cursor:
            found: dict[str, bytes] = {}
            for part in batched(keys, 32):
                cursor.execute(f'SELECT k, v FROM "{self.name}" WHERE k = ANY(%s)', [[*part]])  # noqa: S608
                found.update(cursor.fetchall())
        return [found.get(key) for key in keys]


class S3(Client):
    """All at once, by s3fs."""

    def _opened(self) -> tuple[Any, str]:
        import s3fs

        url, options = login(self.base)
        fs = s3fs.S3FileSystem(
            **options, use_listings_cache=False, config_kwargs={"max_pool_connections": 64}
        )
        return fs, f"{url.netloc}/{self.name}"

    def write(self, values: Values) -> None:
        """See `Client`."""
        fs, root = self._opened()
        fs.pipe({f"{root}/{key}": value for key, value in values.items()})

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Client`."""
        fs, root = self._opened()
        found = fs.cat([f"{root}/{key}" for key in keys])
        return [found.get(f"{root}/{key}") for key in keys]


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The items in parts."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part


def login(url: str) -> tuple[Any, dict[str, str]]:
    """The parts of an S3 URL, and the options in it."""
    parts = urlsplit(url)
    return parts, {name: found[0] for name, found in parse_qs(parts.query).items()}


CLIENTS: dict[str, Callable[[str, str], Client]] = {
    "memory": Memory,
    "directory": Directory,
    "zip": Zip,
    "lmdb": LMDB,
    "sqlite": SQLite,
    "dbm": DBM,
    "redis": Redis,
    "mongodb": MongoDB,
    "postgresql": PostgreSQL,
    "s3": S3,
}


def empty(backend: str, base: str, name: str) -> None:
    """Remove all that was stored under a name on a server; files have a folder of their own each time."""
    match CLIENTS[backend](base, name):
        case Redis() as server:
            with server._opened() as client:
                for part in batched([*client.scan_iter(f"{name}:*", count=10_000)], 1000):
                    client.unlink(*part)
        case MongoDB() as server:
            with server._opened() as client:
                client.drop_database(name)
        case PostgreSQL() as server:
            with server._opened() as connection:
                connection.execute(f'DROP TABLE IF EXISTS "{name}"')
        case S3() as server:
            fs, root = server._opened()
            if fs.exists(root):
                fs.rm(root, recursive=True)


def url_of(backend: str, base: str, name: str) -> str:
    """The URL by which zarrv3 opens the same place."""
    server, _, options = base.partition("/?")
    urls = {
        "memory": f"memory://{name}",
        "directory": f"file://{base}/{name}",
        "sqlite": f"sqlite:///{base}/{name}.db",
        "redis": f"{base.partition('?')[0]}?prefix={name}",
        "mongodb": f"{server}/{name}" + (f"?{options}" if options else ""),
        "postgresql": f"{base}{'&' if '?' in base else '?'}table={name}",
        "s3": base.replace("/example.zarr?", f"/{name}?"),
    }
    return urls.get(backend) or f"{backend}://{base}/{name}.{backend}"
