"""Commands and their replies, over the connections of a client's pool.

A connection goes back to the pool only when every reply was read: whatever else ends an exchange, an interrupt too, closes it, so
that nobody reads another's replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

_WRONG = "WRONGTYPE"


class DemotedError(redis.ConnectionError):
    """The server has become a replica, and another one is the master, or will be soon."""


class Exchange:
    """What talks to the server; thread-safe.

    Attributes:
        has_written: the server was the master once. When it refuses to write, it has been replaced: its connections are closed, so that
            the next one goes to whichever has the address by then.
    """

    has_written = False

    def __init__(self, client: redis.Redis) -> None:
        self.pool: Any = client.connection_pool  # redis-py leaves most of it without types

    def one(self, *command: Any) -> Any:
        """The reply to a command, which is sent again when the connection breaks."""
        return self.many([command])[0]

    def once(self, *command: Any) -> Any:
        """The reply to a command that is never sent twice: when a connection breaks, whether it was done is unknown.

        Connecting is retried as usual, and a connection that broke since its last use is replaced.
        """
        return _checked([command], self._replies([command], again=False))[0]

    def many(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """The replies to commands that are sent together; raises the first error among them."""
        return _checked(commands, self._replies(commands))

    def together(self, commands: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """As `many`, in a transaction, which the server does wholly or not at all."""
        _, *queued, replies = self._replies([("MULTI",), *commands, ("EXEC",)])
        _checked(commands, queued)
        return _checked(commands, _checked([("EXEC",)], [replies])[0])

    def _replies(self, commands: Sequence[tuple[Any, ...]], *, again: bool = True) -> Sequence[Any]:
        try:
            connection = self.pool.get_connection()
        except BaseException as error:
            if not isinstance(error, Exception):  # one that was about to be opened is in the pool
                self.pool.disconnect(inuse_connections=False)
            raise

        def exchange() -> list[Any]:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
            if self.has_written and redis.ReadOnlyError in map(type, replies):
                raise DemotedError("the server has become a replica, which cannot be written to")
            return replies

        complete = False
        try:
            replies: list[Any] = connection.retry.call_with_retry(
                exchange, lambda _: connection.disconnect(), None if again else _was_not_done
            )
            complete = True
        finally:
            if not complete:
                connection.disconnect()
            self.pool.release(connection)
        return replies


def _was_not_done(error: Exception) -> bool:
    return isinstance(error, DemotedError)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


def _checked(commands: Sequence[tuple[Any, ...]], replies: Sequence[Any]) -> Sequence[Any]:
    """Replies, none of which is an error."""
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, Exception):  # redis-py's own text for several commands would show values
            raise other_type(command[1]) if _WRONG in str(reply) and command[0] != "EVAL" else reply
    return replies


def other_type(name: bytes) -> redis.ResponseError:
    """The error for a name under which something else is stored than the store keeps there."""
    return redis.ResponseError(
        f"{_WRONG}: {name.decode()!r} is not of the type that this store gives it; choose another prefix"
    )
