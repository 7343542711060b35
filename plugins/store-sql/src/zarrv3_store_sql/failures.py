"""What a database's error means, in the words of the database alone.

SQLAlchemy's own texts carry the statement and the values; these do not.
"""

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class DatabaseFailure(Exception):
    """The database could not do it."""


class UnavailableFailure(DatabaseFailure):
    """The database cannot be reached, or the connection broke."""


class TimeoutFailure(UnavailableFailure):
    """The database did not answer, or a lock was not free, in time."""


class ReadOnlyFailure(DatabaseFailure):
    """The database may not be written."""


class TooLargeFailure(DatabaseFailure):
    """A key or value is larger than the database takes."""


_CONFLICTS = {"40P01", "40001", 1213, 1020}  # PostgreSQL: deadlock, serialization; MySQL: deadlock, record has changed
_UNREACHABLE = {1040, 1053, 1152, 2002, 2003, 2006, 2013, 2055, 4031}
_TOO_LARGE = {"54000", 1153, 1301, 1406}
_READ_ONLY = {"25006", 1290, 1792, 1836}
_TIMED_OUT = {1205, 1969, 3024}


def is_conflict(error: DBAPIError) -> bool:
    """Whether the database undid a transaction in favour of another one, so that it can be tried again."""
    return _code(error) in _CONFLICTS


def explained(error: SQLAlchemyError, connect_timeout: float | None, lock_timeout: float | None) -> DatabaseFailure:
    """The failure that an exception of SQLAlchemy stands for; names the time-out that has passed."""
    if isinstance(error, PoolTimeoutError):
        return TimeoutFailure("all connections of the pool were in use for too long; use fewer threads or a larger pool")
    if not isinstance(error, DBAPIError):
        return DatabaseFailure(str(error).partition("\n")[0])
    text, code = _text(error), _code(error)
    if "database is locked" in text or "database table is locked" in text:
        return TimeoutFailure(f"{text}: another writer held its lock for longer than timeout={lock_timeout} s")
    if code in _READ_ONLY or "readonly database" in text:
        return ReadOnlyFailure(text)
    if code in _TOO_LARGE or "too big" in text:
        return TooLargeFailure(text)
    if code in _TIMED_OUT:
        return TimeoutFailure(text)
    if error.connection_invalidated or code in _UNREACHABLE or _could_not_connect(error):
        if "timed out" in text or "timeout" in text.lower():
            return TimeoutFailure(f"{text}: the server did not answer within connect_timeout={connect_timeout} s")
        return UnavailableFailure(text)
    return DatabaseFailure(text)


def _could_not_connect(error: DBAPIError) -> bool:
    """Whether no connection came about, other than by a refused password."""
    text = _text(error)
    refused = "authentication" in text or "FATAL" in text and "starting up" not in text and "shutting down" not in text
    return "connection" in text and ("failed" in text or "timeout" in text or "closed" in text) and not refused


def _code(error: DBAPIError) -> object:
    """The SQLSTATE of PostgreSQL, the number of MySQL, or `None`."""
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state is not None:
        return state
    first = original.args[0] if original is not None and original.args else None
    return first if isinstance(first, int) else None


def _text(error: DBAPIError) -> str:
    """What the database says, in one line."""
    original = error.orig
    args = original.args if original is not None else ()
    text = str(args[1] if len(args) > 1 and isinstance(args[0], int) else original)
    return " ".join(text.split())
