"""The contract over commands, each call one round trip."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis

from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Limits, Request
from zarrv3.store.helpers import by_key, children, chunked, cut, rename_by_copy
from zarrv3_store_redis import scripts
from zarrv3_store_redis.index import PAGE, Index
from zarrv3_store_redis.names import Names, bounds

LARGEST = 512 << 20
"""The most bytes that a name or a value has (the server's `proto-max-bulk-len`, as it is delivered)."""

BATCH = 1000
"""The most keys in one command."""

_WRONG = "WRONGTYPE"
_FAR = 1 << 40  # further than any value reaches, and still a number to the server


class RedisDriver:
    """Keys as strings below a prefix, with an index beside them.

    Args:
        client: a client that returns bytes.
        prefix: what tells this store's keys from others in the database.
        owned: close the client with the driver.
    """

    def __init__(self, client: redis.Redis, prefix: str, *, owned: bool) -> None:
        self.client: Any = client  # redis-py leaves most of its commands without types
        self.names = Names.of(prefix)
        self.owned = owned
        self.index = Index(client, self.names)
        self.capabilities = Capabilities(
            native_ranges=True,
            transactions=True,
            limits=Limits(
                batch_keys=BATCH,
                batch_bytes=32 << 20,
                key_bytes=LARGEST - len(self.names.prefix),
                value_bytes=LARGEST,
            ),
        )

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: MGET and GETRANGE in one transaction, so that all of them see one state."""
        whole = [*by_key([request for request in requests if request[1] is None])]
        ranged = [(key, wanted) for key, wanted in requests if wanted is not None]
        commands: list[tuple[Any, ...]] = []
        if whole:
            names = [*map(self.names.value, whole)]
            commands += [("MGET", *names), ("EXISTS", *names)]
        parts = [*by_key(ranged)]
        commands += [("EXISTS", self.names.value(key)) for key in parts]
        commands += [("GETRANGE", self.names.value(key), *_span(wanted)) for key, wanted in ranged]
        replies = self._run(commands, transaction=bool(ranged))
        values: dict[str, Buffer | None] = {}
        if whole:
            found, there, *replies = replies
            values = dict(zip(whole, found, strict=True))
            if there != len(whole) - found.count(None):
                self._refuse_other_types([key for key, value in values.items() if value is None])
        exists = dict(zip(parts, replies, strict=False))
        pieces = iter(replies[len(parts) :])
        return [
            values[key] if wanted is None else _trimmed(next(pieces), wanted, exists=exists[key])
            for key, wanted in requests
        ]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract: all at once, with the index."""
        self.apply_many(items)

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract: all at once, with the index."""
        self.apply_many(dict.fromkeys(keys))

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract; in steps, so that the server is never busy for long."""
        start, end = bounds(folder)
        while (erased := self.index.run(scripts.ERASE, start, end, PAGE)) == PAGE:
            pass
        if erased is None:
            for keys in self.index.scan(folder):
                for part in chunked(keys, BATCH):
                    self.erase_many(part)

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: in one step, unless the server keeps evicting the index."""
        arguments = (*bounds(source), len(source.encode()), target.encode())
        if self.index.run(scripts.RENAME, *arguments) is None:
            self.index.build()
            if self.index.run(scripts.RENAME, *arguments) is None:
                rename_by_copy(self, source, target)

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract: in one step of the server."""
        done, complete = self._once(
            "EVAL",
            scripts.SWAP,
            1,
            self.names.index,
            self.names.prefix,
            key.encode(),
            *_maybe(old),
            *_maybe(new),
        )
        if done and not complete:
            self.index.build()
        return bool(done)

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: one MULTI … EXEC, which the server does whole or not at all."""
        values = {key: value for key, value in changes.items() if value is not None}
        gone = [key for key, value in changes.items() if value is None]
        commands: list[tuple[Any, ...]] = []
        for part in chunked(values, BATCH):  # the index first: an error then shows keys, not values
            commands.append(("ZADD", self.names.index, *_flat((0, key.encode()) for key in part)))
            commands.append(("MSET", *_flat((self.names.value(key), _sendable(values[key])) for key in part)))
        for part in chunked(gone, BATCH):
            commands.append(("ZREM", self.names.index, *map(str.encode, part)))
            commands.append(("UNLINK", *map(self.names.value, part)))
        if commands:
            commands.append(("ZSCORE", self.names.index, b""))
            complete = self._run(commands, transaction=True)[-1] is not None
            if values and not complete:
                self.index.build()

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract: STRLEN on the server, a page of keys a round trip."""
        if not where or where.endswith("/"):
            yield from self.index.sizes(where)
            return
        name = self.names.value(where)
        size, there = self._run([("STRLEN", name), ("EXISTS", name)], transaction=True)
        if there:
            yield where, size

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract: a page of keys a round trip."""
        return self.index.keys(folder)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract: from name to name, whatever lies below them."""
        names = self.index.names_in(folder)
        if names is None:
            return children(self.index.keys(folder), folder)
        keys = sorted(name for name in names if not name.endswith("/"))
        return keys, sorted(name for name in names if name.endswith("/"))

    def flush(self) -> None:
        """Nothing is held back: see the README for what the server's settings promise."""

    def close(self) -> None:
        """Close the connections that this driver has opened."""
        if self.owned:
            self.client.close()

    # ------------------------------------------------------------ commands

    def _run(self, commands: Collection[tuple[Any, ...]], *, transaction: bool) -> list[Any]:
        """The replies to some commands, sent together; the first error among them is raised."""
        with self.client.pipeline(transaction=transaction) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies: list[Any] = pipe.execute(raise_on_error=False)  # redis-py's own error would show values
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise redis.ResponseError(_other_type(command[1])) if _WRONG in str(reply) else reply
        return replies

    def _once(self, *command: Any) -> Any:
        """The reply to a command that is never sent twice: when a connection breaks nobody knows whether it was done.

        Connecting is tried again as ever, and a connection that broke since its last use is replaced.
        """
        pool = self.client.connection_pool
        connection = pool.get_connection()
        finished = False
        try:
            connection.send_command(*command)
            reply = connection.read_response(disable_decoding=True)
            finished = True
        except redis.ResponseError:
            finished = True
            raise
        finally:
            if not finished:
                connection.disconnect()
            pool.release(connection)
        return reply

    def _refuse_other_types(self, keys: list[str]) -> None:
        """MGET takes a key that is no string for missing; a reader must not."""
        types = self._run([("TYPE", self.names.value(key)) for key in keys], transaction=False)
        for key, kind in zip(keys, types, strict=True):
            if kind not in {b"none", b"string", "none", "string"}:
                raise redis.ResponseError(_other_type(self.names.value(key)))


def _span(wanted: ByteRange) -> tuple[int, int]:
    """First and last byte to ask for. GETRANGE takes an end before the first byte for the first byte: never give one."""
    start, stop = max(-_FAR, min(wanted.start, _FAR)), wanted.stop
    if stop is None or stop < 0:
        return start, -1
    if start < 0:
        return 0, -1
    return (start, min(stop, _FAR) - 1) if start < stop else (1, 0)


def _trimmed(piece: bytes, wanted: ByteRange, *, exists: int) -> Buffer | None:
    """What a range is, of the bytes that `_span` asked for."""
    if not exists:
        return None
    start, stop = wanted
    if stop is not None and start < 0 <= stop:
        return cut(piece, wanted)
    return piece[:stop] if stop is not None and stop < 0 else piece


def _maybe(value: Buffer | None) -> tuple[int, Any]:
    return (0, b"") if value is None else (1, _sendable(value))


def _sendable(value: Buffer) -> bytes | memoryview:
    return memoryview(value) if isinstance(value, bytearray) else value


def _flat(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    return (item for pair in pairs for item in pair)


def _other_type(name: bytes) -> str:
    return f"{_WRONG}: {name.decode()!r} is of another type than this store makes it; choose another prefix"
