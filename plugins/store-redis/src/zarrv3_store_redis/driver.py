"""The contract over commands, each call one round trip."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any

import redis

from zarrv3.store.contract import (
    Buffer,
    ByteRange,
    Capabilities,
    Changes,
    Limits,
    Request,
    Swaps,
    Versioned,
    whole,
)
from zarrv3.store.helpers import by_key, chunked, cut, rename_by_copy
from zarrv3_store_redis import scripts
from zarrv3_store_redis.exchange import Exchange, other_type
from zarrv3_store_redis.index import PAGE, Index
from zarrv3_store_redis.names import Names, bounds

LARGEST = 512 << 20
"""The most bytes of a name or a value (the server's default `proto-max-bulk-len`)."""

TRANSACTION = 960 << 20
"""The most bytes of values in a transaction: the server disconnects a client that has sent 1 GiB of one, names included."""

BATCH = 1000
"""The most keys in one command."""

_FAR = 1 << 40  # beyond any value, and still an integer to the server


class EvictionWarning(UserWarning):
    """The server drops keys when its memory is full; what it drops is read as fill values."""


class RedisDriver:
    """Keys as strings below a prefix, with an index beside them.

    Args:
        client: a client that returns bytes.
        prefix: what tells this store's keys from others in the database.
        owned: close the client with the driver.
    """

    def __init__(self, client: redis.Redis, prefix: str, *, owned: bool) -> None:
        self.client = client
        self.names = Names.of(prefix)
        self.owned = owned
        self.exchange = Exchange(client)
        self._asked = False
        self.index = Index(self.exchange, self.names)
        self.capabilities = Capabilities(
            write=True,
            erase=True,
            list=True,
            swap=True,
            swap_erases=True,
            transactions=True,
            native_ranges=True,
            shared=True,
            persistent=True,
            durable=True,
            limits=Limits(
                batch_keys=BATCH,
                batch_bytes=32 << 20,
                key_bytes=LARGEST - len(self.names.prefix),
                value_bytes=LARGEST,
                transaction_bytes=TRANSACTION,
            ),
        )

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: MGET and GETRANGE in one transaction, so that all see one state."""
        wholes = [*by_key([request for request in requests if request.range is None])]
        ranged = [(key, wanted) for key, wanted in requests if wanted is not None]
        commands: list[tuple[Any, ...]] = []
        if wholes:
            names = [*map(self.names.value, wholes)]
            commands += [("MGET", *names), ("EXISTS", *names)]
        parts = [*dict(ranged)]
        commands += [("EXISTS", self.names.value(key)) for key in parts]
        commands += [("GETRANGE", self.names.value(key), *_span(wanted)) for key, wanted in ranged]
        replies = (self.exchange.together if ranged else self.exchange.many)(commands)
        values: dict[str, Buffer | None] = {}
        if wholes:
            whole_values, there, *replies = replies
            values = dict(zip(wholes, whole_values, strict=True))
            if there != len(wholes) - whole_values.count(None):
                self._refuse_other_types([key for key, value in values.items() if value is None])
        exists = dict(zip(parts, replies, strict=False))
        pieces = iter(replies[len(parts) :])
        return [
            values[key] if wanted is None else _trimmed(next(pieces), wanted, exists=exists[key])
            for key, wanted in requests
        ]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says: STRLEN on the server."""
        sizes = self.index.run(scripts.SIZES, *map(str.encode, keys))
        return [None if size < 0 else size for size in sizes]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says; the version is the SHA-1 of the value, which is what scripts can compute."""
        return [
            (value, None if value is None else sha1(value, usedforsecurity=False).hexdigest())
            for value in self.get_many(whole(keys))
        ]

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """As the contract says: a page of keys per round trip."""
        return self.index.keys(folder)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says: from name to name, whatever lies below them."""
        return self.index.names_in(folder)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says: STRLEN on the server, a page of keys per round trip."""
        return self.index.sizes(folder)

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: one MULTI … EXEC, which the server does wholly or not at all, with the index."""
        self._warn_of_eviction()
        values = {key: value for key, value in changes.items() if value is not None}
        gone = [key for key, value in changes.items() if value is None]
        commands: list[tuple[Any, ...]] = []
        for part in chunked(values, BATCH):  # the index first: an error then shows keys, not values
            commands.append(("ZADD", self.names.index, *_flat((0, key.encode()) for key in part)))
            commands.append(("MSET", *_flat((self.names.value(key), _sendable(values[key])) for key in part)))
        for part in chunked(gone, BATCH):
            commands.append(("ZREM", self.names.index, *map(str.encode, part)))
            commands.append(("UNLINK", *map(self.names.value, part)))
        commands.append(("ZSCORE", self.names.index, b""))
        complete = self.exchange.together(commands)[-1] is not None
        self.exchange.has_written = True
        if values and not complete:
            self.index.build()

    def apply_many(self, changes: Changes, /) -> None:
        self.write_many(changes)

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: in one step of the server, and never sent twice."""
        self._warn_of_eviction()
        arguments = _flat(
            (key.encode(), version or b"", int(new is not None), b"" if new is None else _sendable(new))
            for key, (version, new) in swaps.items()
        )
        complete, *refused = self.exchange.once(
            "EVAL", scripts.SWAP, 1, self.names.index, self.names.prefix, *arguments
        )
        self.exchange.has_written |= len(refused) < len(swaps)
        if not complete:
            self.index.build()
        keys = [*swaps]
        return [keys[number] for number in refused]

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says; in steps, so that the server is never busy for long."""
        start, end = bounds(folder)
        while (erased := self.index.run(scripts.ERASE, start, end, PAGE)) == PAGE:
            pass
        if erased is None:
            for keys in self.index.scan(folder):
                for part in chunked(keys, BATCH):
                    self.write_many(dict.fromkeys(part))

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: in one step, unless the server keeps evicting the index."""
        arguments = (*bounds(source), len(source.encode()), target.encode())
        if self.index.run(scripts.RENAME, *arguments) is None:
            self.index.build()
            if self.index.run(scripts.RENAME, *arguments) is None:
                rename_by_copy(self, source, target)

    def close(self) -> None:
        """Close the connections that this driver has opened."""
        if self.owned:
            self.client.close()

    def _warn_of_eviction(self) -> None:
        """Before the first write, ask once whether the server evicts keys; one that does not tell is believed to keep them."""
        if self._asked:
            return
        self._asked = True
        told = b""
        with suppress(redis.ResponseError):
            told = self.exchange.one("INFO", "memory")
        info = dict(line.split(b":", 1) for line in told.splitlines() if b":" in line)
        policy = info.get(b"maxmemory_policy", b"").decode()
        if policy.startswith("allkeys") and info.get(b"maxmemory") != b"0":
            warnings.warn(
                f"the Redis server drops any key when its memory is full (maxmemory-policy {policy}): chunks that it drops "
                "are read as fill values; set maxmemory-policy to noeviction",
                EvictionWarning,
                stacklevel=2,
            )

    def _refuse_other_types(self, keys: list[str]) -> None:
        """Raise for keys that are not strings, which MGET treats as missing."""
        types = self.exchange.many([("TYPE", self.names.value(key)) for key in keys])
        for key, kind in zip(keys, types, strict=True):
            if kind not in {b"none", b"string"}:
                raise other_type(self.names.value(key))


def _span(wanted: ByteRange) -> tuple[int, int]:
    """First and last byte to ask for. GETRANGE takes an end before the first byte as the first byte: never give one."""
    start, stop = max(-_FAR, min(wanted.start, _FAR)), wanted.stop
    if stop is None or stop < 0:
        return start, -1
    if start < 0:
        return 0, -1
    return (start, min(stop, _FAR) - 1) if start < stop else (1, 0)


def _trimmed(piece: bytes, wanted: ByteRange, *, exists: int) -> Buffer | None:
    """A range, cut out of the bytes that `_span` asked for."""
    if not exists:
        return None
    start, stop = wanted
    if stop is not None and start < 0 <= stop:
        return cut(piece, wanted)
    return piece[:stop] if stop is not None and stop < 0 else piece


def _sendable(value: Buffer) -> bytes | memoryview:
    return memoryview(value) if isinstance(value, bytearray) else value


def _flat(rows: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    return (item for row in rows for item in row)
