"""What differs between databases: the table, upserts, ranges, folders.

Keys are ordered and compared by their bytes everywhere, so that a folder is the range of keys from `folder/` up to, but
without, `folder0`: `0` follows `/`. No `LIKE`, no language's collation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import accumulate
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Dialect as Theirs
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.dml import Delete, Insert
from sqlalchemy.types import TypeDecorator, TypeEngine

from zarrv3.store.contract import Buffer, ByteRange, Changes, Limits, Swaps, Version
from zarrv3.store.helpers import chunked, unchanged

Piece = tuple[int, str, ByteRange]
"""A wanted range with its place among the requests and its key."""

SUCCESSOR = "\x01"
"""`key + SUCCESSOR` is the first text that can be a key after `key`: no key contains NUL."""

_FAR = 2**31 - 2  # beyond every value of PostgreSQL; MySQL's may be longer, its ranges are not clipped


class Dialect:
    """The table of one store and the statements over it; immutable.

    Attributes:
        limits: what the database holds.
        among: the condition for the keys of the parameter `keys`, a list.
        values: the query for these keys and their values.
        versioned: the query for these keys, their values, and the database's part of their versions.
        sizes: the query for these keys and the lengths of their values.
        upsert: what stores a value, replacing what was there.
        begin: how a transaction that writes begins.
        insert: SQLAlchemy's function for an insert with a clause for keys that exist.
        asks: whether the server has to be asked for its limits.
        walks: whether a recursive query can follow the keys of a folder from one to the next.
    """

    limits = Limits(batch_keys=500, batch_bytes=32 << 20)
    begin = "BEGIN"
    walks = True
    asks = False
    key_type: TypeEngine[str] = Text()
    beyond = ""
    """What comes after all texts where a column may hold something else, which other programs wrote: it is not a key."""
    value_type: TypeEngine[bytes] = LargeBinary()
    position = "strpos(substr({key}, {skip}), '/')"
    nullable = False
    insert: Any = None
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, table: str, dialect: Theirs) -> None:
        schema, _, name = table.rpartition(".")
        self.table = Table(
            name,
            MetaData(),
            Column("k", self.key_type, primary_key=True),
            Column("v", self.value_type, nullable=self.nullable),
            schema=schema or None,
            **self.options,
        )
        self.name = dialect.identifier_preparer.format_table(self.table)
        k, v = self.table.c.k, self.table.c.v
        self.among = self._among()
        self.values = select(k, v).where(self.among)
        self.versioned = self.values
        self.sizes = select(k, func.length(v)).where(self.among)
        self.upsert = self._upsert()
        same = (k == bindparam("key")) & (self._version_there() == bindparam("version"))
        self.replacing = update(self.table).where(same).values(v=bindparam("new"))
        self.erasing = delete(self.table).where(same)
        self.making = self._insert_new().execution_options(preserve_rowcount=True)

    # ------------------------------------------------------------ the table

    def create(self, connection: Any) -> None:
        """Make the table unless it is there."""
        connection.execute(CreateTable(self.table, if_not_exists=True))

    def is_there(self, connection: Any) -> bool:
        """Whether the table exists."""
        return bool(inspect(connection).has_table(self.table.name, schema=self.table.schema))

    def prepare(self, connection: Any) -> None:
        """Prepare a database for writing."""

    def limits_of(self, connection: Any) -> Limits:  # noqa: ARG002
        """The limits of the server at hand."""
        return self.limits

    # ------------------------------------------------------------ keys

    def below(self, folder: str) -> list[ColumnElement[bool]]:
        """The conditions for keys below a folder."""
        if not folder and not self.beyond:
            return []
        return [
            self.table.c.k >= folder,
            self.table.c.k < (end(folder) if folder else literal_column(self.beyond)),
        ]

    def moved(self, source: str, target: str) -> ColumnElement[str]:
        """A key below `source` as it is called below `target`."""
        key = self.table.c.k
        rest = func.substr(key, func.length(literal(source, self.key_type)) + 1, type_=self.key_type)
        return literal(target, self.key_type).concat(rest)

    def walk(self, folder: str) -> TextClause:
        """The first key of each sub-folder and every direct key, from one to the next: each costs one look-up.

        It starts at `:low`, takes at most `:most` steps and has `:skip`, the place after the folder's name.
        """
        position = self.position.format(key="walk.k", skip=":skip")
        after_folder = f"substr(walk.k, 1, :skip + {position} - 2) || '0'"
        bound = "AND z.k < :high" if folder else self.beyond and f"AND z.k < {self.beyond}"
        query = text(
            f"WITH RECURSIVE walk(k, n) AS ("  # noqa: S608 - the table's name is quoted
            f"SELECT min(z.k), 1 FROM {self.name} z WHERE z.k >= :low {bound} "
            f"UNION ALL SELECT (SELECT min(z.k) FROM {self.name} z WHERE z.k >= "
            f"CASE WHEN {position} > 0 THEN {after_folder} ELSE walk.k || '{SUCCESSOR}' END {bound}), n + 1 "
            f"FROM walk WHERE walk.k IS NOT NULL AND n < :most) "
            f"SELECT k FROM walk WHERE k IS NOT NULL"
        ).bindparams(
            bindparam("low", type_=self.key_type),
            bindparam("skip", len(folder) + 1, type_=Integer()),
            bindparam("most", type_=Integer()),
        )
        return query.bindparams(bindparam("high", end(folder), type_=self.key_type)) if folder else query

    # ------------------------------------------------------------ values

    def erase(self, *conditions: ColumnElement[bool]) -> Delete:
        """Remove the rows for which all conditions hold."""
        return delete(self.table).where(*conditions)

    def apply(self, connection: Any, changes: Changes) -> None:
        """Store and erase, in the order of the keys, so that writers wait for each other and none is undone."""
        gone = sorted(key for key, value in changes.items() if value is None)
        for keys in chunked(gone, self.limits.batch_keys or len(gone)):
            connection.execute(self.erase(self.among), {"keys": keys})
        rows = [{"k": key, "v": bytes(value)} for key, value in sorted(changes.items()) if value is not None]
        if rows:
            connection.execute(self.upsert, rows)

    # ------------------------------------------------------------ swaps

    def version(self, value: bytes, *stamps: Any) -> Version:
        """The version of a value, given what the query `versioned` returned."""
        raise NotImplementedError

    def swaps_by_one_statement(self, swaps: Swaps) -> bool:
        """Whether `swap` needs no transaction around it."""
        return len(swaps) == 1

    def swap(self, connection: Any, swaps: Swaps) -> Collection[str]:
        """Swap values; returns the keys that are refused."""
        return [key for key in sorted(swaps) if not self._swap_one(connection, key, *swaps[key])]

    def _swap_one(self, connection: Any, key: str, version: Version | None, new: Buffer | None) -> bool:
        if version is None and new is None:
            return not connection.execute(self.sizes, {"keys": [key]}).fetchall()
        if version is None:
            done = connection.execute(self.making, {"k": key, "v": bytes(new or b"")}).rowcount
        elif new is None:
            done = connection.execute(self.erasing, {"key": key, "version": version}).rowcount
        else:
            row = {"key": key, "version": version, "new": bytes(new)}
            done = connection.execute(self.replacing, row).rowcount
        return bool(done)

    def pieces(self, connection: Any, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """Ranges of values, cut in the database, with their places among the requests."""
        raise NotImplementedError

    # ------------------------------------------------------------ what differs between databases

    def _among(self) -> ColumnElement[bool]:
        return self.table.c.k.in_(bindparam("keys", expanding=True))

    def _upsert(self) -> Insert:
        made = self.insert(self.table)  # the row keeps its number
        upsert: Insert = made.on_conflict_do_update(index_elements=["k"], set_={"v": made.excluded.v})
        return upsert

    def _insert_new(self) -> Insert:
        """Store a value unless the key is there."""
        made: Insert = self.insert(self.table).on_conflict_do_nothing()
        return made

    def _version_there(self) -> ColumnElement[Any]:
        """The version of the value of a row."""
        raise NotImplementedError


_PIECE = 1 << 20  # how many bytes of a large value are looked at in one step


def _is_large(version: Any) -> bool:
    return version is not None and len(version) > _PIECE


class SQLite(Dialect):
    """A file: a table with row numbers, as zarr 2 made it, so that listing reads the index of the keys alone."""

    limits = Limits(batch_keys=500, batch_bytes=32 << 20, key_bytes=1 << 15, value_bytes=10**9 - (1 << 16))
    begin = "BEGIN IMMEDIATE"
    beyond = "x''"
    nullable = True
    insert = staticmethod(sqlite_insert)
    position = "instr(substr({key}, {skip}), '/')"

    @property
    def row_of(self) -> str:
        """The query for the number of a key's row."""
        return f"SELECT rowid FROM {self.name} WHERE k = ?"  # noqa: S608 - the table's name is quoted

    def _among(self) -> ColumnElement[bool]:
        return text("k IN (SELECT value FROM json_each(:keys))")  # type: ignore[return-value]

    def is_there(self, connection: Any) -> bool:
        """As the base class says."""
        schema = f"{self.table.schema or 'main'}.sqlite_master"
        query = f"SELECT 1 FROM {schema} WHERE name = ?"  # noqa: S608 - the name of a schema is checked
        return bool(connection.exec_driver_sql(query, (self.table.name,)).fetchall())

    def prepare(self, connection: Any) -> None:
        """Larger pages, which suit chunks; readers do not wait for a writer."""
        connection.exec_driver_sql("PRAGMA page_size = 16384")
        with suppress(sqlite3.OperationalError):  # another process is doing it: the next statement waits
            connection.exec_driver_sql("PRAGMA journal_mode = WAL").close()  # else the next commit is refused

    def version(self, value: bytes, *_: Any) -> Version:
        """The value itself: it is compared in place."""
        return value

    def swaps_by_one_statement(self, swaps: Swaps) -> bool:
        """As the base class says; large values are compared piece by piece."""
        return len(swaps) == 1 and not any(map(_is_large, [version for version, _ in swaps.values()]))

    def _swap_one(self, connection: Any, key: str, version: Any, new: Buffer | None) -> bool:
        if not _is_large(version):
            return super()._swap_one(connection, key, version, new)
        same = False
        of_length = f"{self.row_of} AND length(v) = ?"
        for (row,) in connection.exec_driver_sql(of_length, (key, len(version))).fetchall():
            with self._opened(connection, row) as blob:
                starts = range(0, len(version), _PIECE)
                same = all(blob.read(_PIECE) == version[at : at + _PIECE] for at in starts)
        if same:
            self.apply(connection, {key: new})
        return same

    def _opened(self, connection: Any, row: int) -> Any:
        """The value of a row, to be read in pieces."""
        schema = self.table.schema or "main"
        return connection.raw.blobopen(self.table.name, "v", row, readonly=True, name=schema)

    def _version_there(self) -> ColumnElement[Any]:
        return self.table.c.v

    def pieces(self, connection: Any, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """As the base class says: through SQLite's handle on a blob; `substr` would load all of it."""
        by_key: dict[str, list[tuple[int, ByteRange]]] = {}
        for place, key, part in wanted:
            by_key.setdefault(key, []).append((place, part))
        connection.exec_driver_sql("BEGIN")  # the row must not become another one's before its blob is open
        for key, parts in by_key.items():
            for (row,) in connection.exec_driver_sql(self.row_of, (key,)).fetchall():
                with self._opened(connection, row) as blob:
                    for place, part in parts:
                        start, stop, _ = slice(*part).indices(len(blob))
                        blob.seek(start)
                        yield place, blob.read(max(0, stop - start))
        connection.exec_driver_sql("COMMIT")


_STAMP = "(z.ctid::text || ' ' || z.xmin::text)"
"""Where a row of `z` lies and which transaction wrote it: together never the same for two rows."""


class PostgreSQL(Dialect):
    """A server: text ordered as `"C"` does, values stored uncompressed so that a range reads its own pages only."""

    limits = Limits(batch_keys=1000, batch_bytes=16 << 20, key_bytes=2692, value_bytes=(1 << 29) - (1 << 16))
    insert = staticmethod(postgresql.insert)
    key_type = Text(collation="C")
    value_type = postgresql.BYTEA()

    def __init__(self, table: str, dialect: Theirs) -> None:
        super().__init__(table, dialect)
        # `s` and `e` are start and stop of a slice; both are clipped before they are subtracted: they are 32 bits wide
        low = "greatest(CASE WHEN r.s < 0 THEN length(z.v) + r.s ELSE r.s END, 0)"
        high = "greatest(least(CASE WHEN r.e < 0 THEN length(z.v) + r.e ELSE r.e END, length(z.v)), 0)"
        self.cut = text(
            f"SELECT r.i, substr(z.v, {low} + 1, greatest({high} - {low}, 0)) "  # noqa: S608 - the name is quoted
            f"FROM unnest(:places, :keys, :starts, :stops) AS r(i, k, s, e) "
            f'JOIN {self.name} z ON z.k = r.k COLLATE "C"'
        ).bindparams(
            bindparam("places", type_=ARRAY(Integer)),
            bindparam("keys", type_=ARRAY(Text)),
            bindparam("starts", type_=ARRAY(Integer)),
            bindparam("stops", type_=ARRAY(Integer)),
        )
        self.versioned = self.values.add_columns(self._version_there())
        # the new values are cut from one parameter, since clients send arrays of bytes as hexadecimal text
        self.swapping = text(
            f"WITH n AS (SELECT * FROM unnest(:keys, :versions, :starts, :lengths) AS n(k, d, s, l)), "  # noqa: S608
            f'held AS (SELECT z.k FROM {self.name} z JOIN n ON z.k = n.k COLLATE "C" '
            f"WHERE {_STAMP} = n.d ORDER BY z.k FOR UPDATE OF z), "
            f"gone AS (DELETE FROM {self.name} z USING held, n "
            f'WHERE z.k = held.k AND z.k = n.k COLLATE "C" AND n.l IS NULL RETURNING z.k), '
            f"put AS (INSERT INTO {self.name} AS z (k, v) SELECT n.k, substr(CAST(:data AS bytea), n.s, n.l) FROM n "
            f'WHERE n.l IS NOT NULL AND (n.d IS NULL OR n.k COLLATE "C" IN (SELECT k FROM held)) '
            f"ON CONFLICT (k) DO UPDATE SET v = excluded.v WHERE z.k IN (SELECT k FROM held) RETURNING z.k) "
            f"SELECT k FROM gone UNION ALL SELECT k FROM put UNION ALL "
            f"SELECT n.k FROM n WHERE n.l IS NULL AND n.d IS NULL "
            f'AND NOT EXISTS (SELECT FROM {self.name} z WHERE z.k = n.k COLLATE "C")'
        ).bindparams(
            bindparam("keys", type_=ARRAY(Text)),
            bindparam("versions", type_=ARRAY(Text)),
            bindparam("starts", type_=ARRAY(Integer)),
            bindparam("lengths", type_=ARRAY(Integer)),
            bindparam("data", type_=postgresql.BYTEA()),
        )

    def _among(self) -> ColumnElement[bool]:
        """One parameter, so that the statement stays the same, and prepared, for any number of keys."""
        return self.table.c.k == func.any(bindparam("keys", type_=ARRAY(Text)))

    def create(self, connection: Any) -> None:
        """As the base class says; one at a time, since PostgreSQL's `IF NOT EXISTS` fails in a race."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('zarrv3'))").close()
        super().create(connection)
        connection.exec_driver_sql(f"ALTER TABLE {self.name} ALTER COLUMN v SET STORAGE EXTERNAL")

    def _version_there(self) -> ColumnElement[Any]:
        return literal_column(_STAMP.replace("z.", ""), Text())

    def version(self, value: bytes, *stamps: Any) -> Version:  # noqa: ARG002
        """The server's identity of the row: neither it nor the client looks at the value."""
        return str(*stamps)

    def swaps_by_one_statement(self, swaps: Swaps) -> bool:  # noqa: ARG002
        """As the base class says: always."""
        return True

    def erase(self, *conditions: ColumnElement[bool]) -> Delete:
        """As the base class says; rows are locked in the order of their keys, as writers do: two wait, none is undone."""
        k = self.table.c.k
        return delete(self.table).where(k.in_(select(k).where(*conditions).order_by(k).with_for_update()))

    def swap(self, connection: Any, swaps: Swaps) -> Collection[str]:
        """As the base class says; a batch is one statement, which locks the rows that still match, in the order of their keys."""
        if len(swaps) == 1:
            return super().swap(connection, swaps)
        keys = sorted(swaps)
        values = [swaps[key][1] for key in keys]
        lengths = [None if value is None else len(value) for value in values]
        arguments = {
            "keys": keys,
            "versions": [swaps[key][0] for key in keys],
            "starts": [*accumulate((length or 0 for length in lengths), initial=1)][:-1],
            "lengths": lengths,
            "data": b"".join(value for value in values if value is not None),
        }
        done = {*connection.execute(self.swapping, arguments).scalars()}
        return [key for key in keys if key not in done]

    def pieces(self, connection: Any, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """As the base class says: one query."""
        places, keys, parts = zip(*wanted, strict=True)
        starts = [min(max(part.start, -_FAR), _FAR) for part in parts]
        stops = [_FAR if part.stop is None else min(max(part.stop, -_FAR), _FAR) for part in parts]
        arguments = {"places": list(places), "keys": list(keys), "starts": starts, "stops": stops}
        return [(place, value) for place, value in connection.execute(self.cut, arguments)]


class _KeyBytes(TypeDecorator[str]):
    """Text as its UTF-8 bytes: MySQL's collations ignore trailing blanks or case."""

    impl = mysql.VARBINARY
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Theirs) -> Any:  # noqa: ARG002
        """To the database."""
        return None if value is None else value.encode()

    def process_result_value(self, value: Any, dialect: Theirs) -> str | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else bytes(value).decode()


class MySQL(Dialect):
    """A MySQL or MariaDB server: keys as bytes, values as `LONGBLOB`."""

    key_type = _KeyBytes(3072)
    value_type = mysql.LONGBLOB()
    limits = Limits(batch_keys=500, batch_bytes=8 << 20, key_bytes=3072)
    asks = True
    walks = False  # its recursive queries stop after 1000 steps, MariaDB's without an error
    options: ClassVar[Mapping[str, Any]] = {
        f"{name}_{option}": value
        for name in ("mysql", "mariadb")
        for option, value in (("engine", "InnoDB"), ("row_format", "DYNAMIC"))
    }

    def _upsert(self) -> Insert:
        insert = mysql.insert(self.table)
        return insert.on_duplicate_key_update(v=insert.inserted.v)

    def _insert_new(self) -> Insert:
        return insert(self.table).prefix_with("IGNORE")

    def _version_there(self) -> ColumnElement[Any]:
        return func.unhex(func.sha2(self.table.c.v, 256))

    def version(self, value: bytes, *_: Any) -> Version:
        """The digest of a value, which the server can compute too."""
        return sha256(value).digest()

    def swap(self, connection: Any, swaps: Swaps) -> Collection[str]:
        """As the base class says; a batch is compared by one query, which locks the rows."""
        if len(swaps) == 1:
            return super().swap(connection, swaps)
        versions = select(self.table.c.k, self._version_there()).where(self.among).with_for_update()
        now: dict[str, Version] = dict(connection.execute(versions, {"keys": sorted(swaps)}).fetchall())
        changes, refused = unchanged(swaps, [now.get(key) for key in swaps])
        made = [{"k": key, "v": bytes(changes.pop(key) or b"")} for key in sorted({*changes} - {*now})]
        self.apply(connection, changes)
        if made:  # an upsert could overwrite what another writer has made since
            connection.execute(insert(self.table), made)
        return refused

    def limits_of(self, connection: Any) -> Limits:
        """As the base class says: a statement, in which a byte of a value may need two, has to fit a packet."""
        packet = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
        most = packet // 2 - (1 << 14)
        return replace(self.limits, value_bytes=most, batch_bytes=min(most, 8 << 20))

    def pieces(self, connection: Any, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """As the base class says: one query, a branch for each range."""
        branches = [
            f"SELECT {place}, {_cut(part)} FROM {self.name} WHERE k = :k{place}"  # noqa: S608 - numbers, a quoted name
            for place, _, part in wanted
        ]
        keys = {f"k{place}": key.encode() for place, key, _ in wanted}
        rows = connection.execute(text(" UNION ALL ".join(branches)), keys)
        return [(place, value) for place, value in rows]


def _cut(part: ByteRange) -> str:
    """A range of `v` in MySQL."""
    start, stop = int(part.start), part.stop
    if stop is None:
        return (
            f"substr(v, {start} + 1)" if start >= 0 else f"substr(v, greatest(length(v) - {-start}, 0) + 1)"
        )
    if start >= 0 and stop >= 0:
        return f"substr(v, {start} + 1, {max(0, int(stop) - start)})"
    low = f"greatest(CAST(length(v) AS SIGNED) - {-start}, 0)" if start < 0 else str(start)
    high = f"greatest(CAST(length(v) AS SIGNED) - {-int(stop)}, 0)" if stop < 0 else str(int(stop))
    return f"substr(v, {low} + 1, greatest({high} - {low}, 0))"


DIALECTS: dict[str, type[Dialect]] = {
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "mariadb": MySQL,
}
"""The databases that the package speaks, by SQLAlchemy's name for them."""


def end(folder: str) -> str:
    """The first text after all keys below a folder."""
    return f"{folder[:-1]}0" if folder else ""
