"""What databases say differently: the table, upserts, ranges, folders.

Keys are ordered and compared by their bytes everywhere, so that a folder is the range of keys from `folder/` up to, but
without, `folder0`: `0` follows `/`. No `LIKE`, no collation of a language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    bindparam,
    delete,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect as Theirs
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.dml import Delete, Insert
from sqlalchemy.types import TypeDecorator, TypeEngine

from zarrv3.store.contract import ByteRange, Limits

Piece = tuple[int, str, ByteRange]
"""A wanted range with its place among the requests and its key."""

SUCCESSOR = "\x01"
"""`key + SUCCESSOR` is the first text that can be a key after `key`: no key contains NUL."""

_FAR = 2**31 - 2  # beyond every value of PostgreSQL; MySQL's may be longer, its ranges are not clipped


class Dialect:
    """The table of one store and the statements over it; immutable.

    Attributes:
        limits: what the database holds.
        begin: how a transaction that writes begins.
        asks: whether only the server knows its limits.
        walks: whether a recursive query can follow the keys of a folder from one to the next.
    """

    limits = Limits(batch_keys=500, batch_bytes=32 << 20)
    begin = "BEGIN"
    walks = True
    asks = False
    key_type: TypeEngine[str] = Text()
    value_type: TypeEngine[bytes] = LargeBinary()
    position = "strpos(substr({key}, {skip}), '/')"
    nullable = False
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

    # ------------------------------------------------------------ the table

    def create(self, connection: Connection) -> None:
        """Make the table unless it is there."""
        connection.execute(CreateTable(self.table, if_not_exists=True))

    def prepare(self, connection: Connection) -> None:
        """What a database needs before it is written."""

    def limits_of(self, connection: Connection) -> Limits:  # noqa: ARG002
        """The limits of the server at hand."""
        return self.limits

    # ------------------------------------------------------------ keys

    def below(self, folder: str) -> list[ColumnElement[bool]]:
        """The conditions for keys below a folder."""
        if not folder:
            return []
        return [self.table.c.k >= folder, self.table.c.k < end(folder)]

    def among(self) -> ColumnElement[bool]:
        """The condition for the keys of the parameter `keys`, a list."""
        return self.table.c.k.in_(bindparam("keys", expanding=True))

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
        bound = "AND z.k < :high" if folder else ""
        found = text(
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
        return found.bindparams(bindparam("high", end(folder), type_=self.key_type)) if folder else found

    # ------------------------------------------------------------ values

    def upsert(self) -> Insert:
        """Store a value, replacing what was there."""
        raise NotImplementedError

    def insert_new(self) -> Insert:
        """Store a value unless the key is there."""
        raise NotImplementedError

    def erase(self, *conditions: ColumnElement[bool]) -> Delete:
        """Remove the rows for which all conditions hold."""
        return delete(self.table).where(*conditions)

    def pieces(self, connection: Connection, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """Ranges of values, cut in the database, with their places among the requests."""
        raise NotImplementedError


class SQLite(Dialect):
    """A file: a table with row numbers, as zarr 2 made it, so that listing reads the index of the keys alone."""

    limits = Limits(batch_keys=500, batch_bytes=32 << 20, key_bytes=1 << 15, value_bytes=10**9 - (1 << 16))
    begin = "BEGIN IMMEDIATE"
    nullable = True
    position = "instr(substr({key}, {skip}), '/')"

    def prepare(self, connection: Connection) -> None:
        """Larger pages, which suit chunks; readers that do not wait for a writer."""
        connection.exec_driver_sql("PRAGMA page_size = 16384")
        connection.exec_driver_sql("PRAGMA journal_mode = WAL").close()  # else the next commit is refused

    def upsert(self) -> Insert:
        """See the base class; the row keeps its number."""
        insert = sqlite.insert(self.table)
        return insert.on_conflict_do_update(index_elements=["k"], set_={"v": insert.excluded.v})

    def insert_new(self) -> Insert:
        """See the base class."""
        return sqlite.insert(self.table).on_conflict_do_nothing(index_elements=["k"])

    def pieces(self, connection: Connection, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """See the base class: through SQLite's handle on a blob; `substr` would load all of it."""
        by_key: dict[str, list[tuple[int, ByteRange]]] = {}
        for place, key, part in wanted:
            by_key.setdefault(key, []).append((place, part))
        raw: Any = connection.connection.driver_connection
        row_of = f"SELECT rowid FROM {self.name} WHERE k = ?"  # noqa: S608 - the table's name is quoted
        connection.exec_driver_sql("BEGIN")  # the row must not become another one's before its blob is open
        for key, parts in by_key.items():
            row = connection.exec_driver_sql(row_of, (key,)).scalar()
            if row is not None:
                with raw.blobopen(
                    self.table.name, "v", row, readonly=True, name=self.table.schema or "main"
                ) as blob:
                    for place, part in parts:
                        start, stop, _ = slice(*part).indices(len(blob))
                        blob.seek(start)
                        yield place, blob.read(max(0, stop - start))
        connection.exec_driver_sql("COMMIT")


class PostgreSQL(Dialect):
    """A server: text ordered as `"C"` does, values stored uncompressed so that a range reads its own pages only."""

    limits = Limits(batch_keys=1000, batch_bytes=16 << 20, key_bytes=2692, value_bytes=(1 << 29) - (1 << 16))
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

    def among(self) -> ColumnElement[bool]:
        """See the base class: one parameter, so that the statement is the same, and prepared, however many keys there are."""
        return self.table.c.k == func.any(bindparam("keys", type_=ARRAY(Text)))

    def create(self, connection: Connection) -> None:
        """See the base class; one at a time, since PostgreSQL's `IF NOT EXISTS` fails in a race."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('zarrv3'))").close()
        super().create(connection)
        connection.exec_driver_sql(f"ALTER TABLE {self.name} ALTER COLUMN v SET STORAGE EXTERNAL")

    def upsert(self) -> Insert:
        """See the base class."""
        insert = postgresql.insert(self.table)
        return insert.on_conflict_do_update(index_elements=["k"], set_={"v": insert.excluded.v})

    def insert_new(self) -> Insert:
        """See the base class."""
        return postgresql.insert(self.table).on_conflict_do_nothing(index_elements=["k"])

    def erase(self, *conditions: ColumnElement[bool]) -> Delete:
        """See the base class; rows are locked in the order of their keys, as writers do: two wait, none is undone."""
        k = self.table.c.k
        return delete(self.table).where(k.in_(select(k).where(*conditions).order_by(k).with_for_update()))

    def pieces(self, connection: Connection, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """See the base class: one query."""
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

    def upsert(self) -> Insert:
        """See the base class."""
        insert = mysql.insert(self.table)
        return insert.on_duplicate_key_update(v=insert.inserted.v)

    def insert_new(self) -> Insert:
        """See the base class."""
        return mysql.insert(self.table).prefix_with("IGNORE")

    def limits_of(self, connection: Connection) -> Limits:
        """See the base class: a statement, in which a byte of a value may need two, has to fit a packet."""
        packet = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
        most = packet // 2 - (1 << 14)
        return replace(self.limits, value_bytes=most, batch_bytes=min(most, 8 << 20))

    def pieces(self, connection: Connection, wanted: Sequence[Piece]) -> Iterable[tuple[int, bytes]]:
        """See the base class: one query, a branch for each range."""
        branches = [
            f"SELECT {place}, {_cut(part)} FROM {self.name} WHERE k = :k{place}"  # noqa: S608 - numbers, a quoted name
            for place, _, part in wanted
        ]
        keys = {f"k{place}": key.encode() for place, key, _ in wanted}
        return [
            (place, value) for place, value in connection.execute(text(" UNION ALL ".join(branches)), keys)
        ]


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
