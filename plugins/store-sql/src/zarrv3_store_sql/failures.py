"""What a database's error means, in the database's own words.

SQLAlchemy's own texts carry the statement and the values; these do not.
"""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from zarrv3.errors import (
    LimitError,
    ReadOnlyError,
    StoreAccessError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)


class DatabaseError(Exception):
    """The database could not do it; `kind` is the class of the error that a store raises for it."""

    def __init__(self, text: str, kind: type[StoreError] = StoreAccessError) -> None:
        super().__init__(text)
        self.kind = kind


class ConflictError(DatabaseError):
    """The database undid a transaction in favour of another one; it can be tried again."""


_CONFLICTS = {"40P01", "40001", 1213, 1020, 1062}
"""PostgreSQL: deadlock, serialization; MySQL: deadlock, record has changed, record was made meanwhile."""

_BY_CODE: dict[object, type[StoreError]] = {
    **dict.fromkeys(("54000", 1153, 1406), LimitError),
    **dict.fromkeys(("25006", 1290, 1792, 1836), ReadOnlyError),
    **dict.fromkeys(("55P03", "57014", 1205, 1969, 3024), StoreTimeoutError),
    **dict.fromkeys(
        ("53300", "57P01", "57P02", "57P03", 1040, 1053, 1152, 2002, 2003, 2006, 2013, 2055, 4031),
        StoreUnavailableError,
    ),
}
"""By the SQLSTATE of PostgreSQL and the number of MySQL."""

_BY_TEXT: dict[str, type[StoreError]] = {
    "is locked": StoreTimeoutError,
    "readonly database": ReadOnlyError,
    "too big": LimitError,
    "timeout expired|timed out": StoreTimeoutError,
    "refused|resolve host|translate host|unreachable|closed the connection|reset by peer|broken pipe|starting up"
    "|shutting down|recovery mode|accepting connections|too many clients|is the server running": StoreUnavailableError,
}
"""By the messages of SQLite and of clients that cannot connect."""


def explained(
    error: SQLAlchemyError | sqlite3.Error, connect_timeout: float | None, lock_timeout: float | None
) -> DatabaseError:
    """The failure that an exception of SQLAlchemy stands for; names the time-out that has passed."""
    if isinstance(error, PoolTimeoutError):
        text = "all connections of the pool were in use for too long; use fewer threads or a larger pool"
        return DatabaseError(text, StoreTimeoutError)
    kind: type[StoreError] = StoreAccessError
    if isinstance(error, DBAPIError):
        text, code = _text(error), _code(error)
        if code in _CONFLICTS:
            return ConflictError(text)
        kind = _BY_CODE.get(code, StoreUnavailableError if error.connection_invalidated else kind)
    else:
        text = str(error).partition("\n")[0]
    for pattern, meant in _BY_TEXT.items():
        if kind in {StoreAccessError, StoreUnavailableError} and re.search(pattern, text, re.IGNORECASE):
            kind = meant
    if "is locked" in text:
        text = f"{text}: another writer held its lock for longer than timeout={lock_timeout} s"
    elif kind is StoreTimeoutError:
        text = f"{text}: no answer within connect_timeout={connect_timeout} s"
    return DatabaseError(text, kind)


def _code(error: DBAPIError) -> object:
    """The number of MySQL, the SQLSTATE of PostgreSQL, or `None`."""
    original = error.orig
    first = original.args[0] if original is not None and original.args else None
    if isinstance(first, int):
        return first
    if isinstance(first, dict):  # pg8000
        return first.get("C")
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)


def _text(error: DBAPIError) -> str:
    """What the database says, in one line."""
    original = error.orig
    args = original.args if original is not None else ()
    first = args[0] if args else None
    if isinstance(first, dict):  # pg8000
        return str(first.get("M"))
    text = str(args[1] if len(args) > 1 and isinstance(first, int) else original)
    return " ".join(text.split())
