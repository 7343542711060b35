"""What a database's error means, in the database's own words.

SQLAlchemy's own texts carry the statement and the values; these do not.
"""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class DatabaseError(Exception):
    """The database could not do it."""


class ConflictError(DatabaseError):
    """The database undid a transaction in favour of another one; it can be tried again."""


class UnavailableError(DatabaseError):
    """The database cannot be reached, or the connection broke."""


class TimedOutError(UnavailableError):
    """The database did not answer, or a lock was not free, in time."""


class ReadOnlyDatabaseError(DatabaseError):
    """Writing to the database is not permitted."""


class TooLargeError(DatabaseError):
    """A key or value is larger than the database allows."""


_BY_CODE: dict[object, type[DatabaseError]] = {
    # PostgreSQL: deadlock, serialization; MySQL: deadlock, record has changed, record was made meanwhile
    **dict.fromkeys(("40P01", "40001", 1213, 1020, 1062), ConflictError),
    **dict.fromkeys(("54000", 1153, 1406), TooLargeError),
    **dict.fromkeys(("25006", 1290, 1792, 1836), ReadOnlyDatabaseError),
    **dict.fromkeys(("55P03", "57014", 1205, 1969, 3024), TimedOutError),
    **dict.fromkeys(
        ("53300", "57P01", "57P02", "57P03", 1040, 1053, 1152, 2002, 2003, 2006, 2013, 2055, 4031),
        UnavailableError,
    ),
}
"""By the SQLSTATE of PostgreSQL and the number of MySQL."""

_BY_TEXT: dict[str, type[DatabaseError]] = {
    "is locked": TimedOutError,
    "readonly database": ReadOnlyDatabaseError,
    "too big": TooLargeError,
    "timeout expired|timed out": TimedOutError,
    "refused|resolve host|translate host|unreachable|closed the connection|reset by peer|broken pipe|starting up"
    "|shutting down|too many clients|is the server running": UnavailableError,
}
"""By the messages of SQLite and of clients that cannot connect."""


def explained(
    error: SQLAlchemyError | sqlite3.Error, connect_timeout: float | None, lock_timeout: float | None
) -> DatabaseError:
    """The failure that an exception of SQLAlchemy stands for; names the time-out that has passed."""
    if isinstance(error, PoolTimeoutError):
        return TimedOutError(
            "all connections of the pool were in use for too long; use fewer threads or a larger pool"
        )
    if isinstance(error, DBAPIError):
        text = _text(error)
        lost = UnavailableError if error.connection_invalidated else DatabaseError
        failure = _BY_CODE.get(_code(error), lost)
    else:
        text = str(error).partition("\n")[0]
        failure = DatabaseError
    for pattern, kind in _BY_TEXT.items():
        if failure in {DatabaseError, UnavailableError} and re.search(pattern, text, re.IGNORECASE):
            failure = kind
    if "is locked" in text:
        text = f"{text}: another writer held its lock for longer than timeout={lock_timeout} s"
    elif failure is TimedOutError:
        text = f"{text}: no answer within connect_timeout={connect_timeout} s"
    return failure(text)


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
