"""The contract over the documents of a collection."""

from __future__ import annotations

import _thread
import os
import threading
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC
from typing import Any

from pymongo import DeleteMany, MongoClient, ReplaceOne
from pymongo.client_session import ClientSession

from zarrv3.errors import CorruptDataError
from zarrv3.store.contract import (
    Buffer,
    Capabilities,
    Changes,
    Limits,
    Request,
    Swaps,
    Version,
    Versioned,
    whole,
)
from zarrv3.store.helpers import by_key, children, chunked, cut
from zarrv3.store.undisturbed import methods_undisturbed
from zarrv3_store_mongodb.heads import (
    MOST_STEPS,
    Document,
    Heads,
    Write,
    WriteFailedError,
    below,
    generation_of,
    head_of,
    value_of,
    version_of,
)
from zarrv3_store_mongodb.parts import Parts, Place

BATCH = 1000
"""The most keys in one command."""

SPARE = 64 << 10
"""What a document or a command needs besides a value."""

_ATTEMPTS = 50  # for a read that finds a value replaced, or a transaction that met another writer
_AT_ONCE = 16  # swaps under way
_FEWEST_STEPS = 8


@methods_undisturbed
class MongoDBDriver:
    """Keys and values as documents. An interrupt would leave the locks of pymongo's pool taken.

    Args:
        client: connects when it is used; it is asked at once what the server can do.
        database: the name of the database.
        collection: the name of the collection.
        owned: close the client with the driver.
    """

    def __init__(self, client: MongoClient[Document], database: str, collection: str, *, owned: bool) -> None:
        self.client = client
        hello = client.admin.command("hello")
        ahead = hello["localTime"].replace(tzinfo=UTC).timestamp() - time.time()
        self.direct: int = hello["maxBsonObjectSize"] - SPARE
        self.heads = Heads(client[database][collection])
        self.parts = Parts(client[database][f"{collection}.parts"], self.heads.documents, ahead)
        self.preparing = threading.Lock()
        self.prepared = False
        self.capabilities = Capabilities(
            write=True,
            erase=True,
            list=True,
            swap=True,
            swap_erases=True,
            shared=True,
            persistent=True,
            durable=True,
            transactions="setName" in hello or hello.get("msg") == "isdbgrid",
            limits=Limits(batch_keys=BATCH, batch_bytes=32 << 20, key_bytes=8 << 10),
        )
        self.left: weakref.finalize[Any, Any] | None = None
        if owned:
            self.left = weakref.finalize(self, _close_elsewhere, client, os.getpid())
            self.left.atexit = False

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one query, and one more where values are in parts."""
        answers = self._read(requests)
        return [answers[request][0] for request in requests]

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        requests = whole(keys)
        answers = self._read(requests)
        return [answers[request] for request in requests]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says: the server looks at the values and sends their lengths."""
        sizes = self.heads.sizes_of({*keys})
        return [sizes.get(key) for key in keys]

    def write_many(self, changes: Changes, /) -> None:
        """As the contract says: one batch of replacements, and one command that erases; values in parts one by one."""
        gone = [key for key, value in changes.items() if value is None]
        if gone:
            self._erase({"key": {"$in": gone}})
        values = {key: value for key, value in changes.items() if value is not None}
        if not values:
            return
        self._prepare()
        alone = {key for key, value in values.items() if len(value) > self.direct}
        if self.parts.any:
            alone |= self.heads.split({"key": {"$in": [*values]}}).keys()
        together = {key: head_of(key, value) for key, value in values.items() if key not in alone}
        if together:
            self.heads.replace_many(together)
        for key in alone:
            self.parts.remove([self.heads.replace(key, self._stored(key, values[key]))])

    def swap_many(self, swaps: Swaps, /) -> Collection[str]:
        """As the contract says: one batch creates; other keys are a command each, `_AT_ONCE` under way at a time.

        They are not a batch, since its answer only counts the documents that had their version.
        """
        self._prepare()
        heads = {
            key: self._stored(key, new, version) for key, (version, new) in swaps.items() if new is not None
        }
        fresh = {key for key, (version, _) in swaps.items() if version is None}
        refused = {*self.heads.create_many([heads[key] for key in heads if key in fresh])}
        if none := fresh - heads.keys():
            refused |= self.heads.sizes_of(none).keys()

        def swap(key: str) -> bool:
            return self.heads.swap(key, swaps[key][0], heads.get(key))

        old = [key for key in swaps if key not in fresh]
        if len(old) > 1:
            with ThreadPoolExecutor(min(_AT_ONCE, len(old))) as pool:
                done = [*pool.map(swap, old)]
        else:
            done = [*map(swap, old)]
        refused |= {key for key, was_done in zip(old, done, strict=True) if not was_done}
        self.parts.remove(
            [generation_of(heads.get(key)) if key in refused else swaps[key][0] for key in swaps]
        )
        return refused

    def erase_prefix(self, folder: str, /) -> None:
        """As the contract says: one command over a range of the index."""
        self._erase({"key": below(folder)})

    def rename_prefix(self, source: str, target: str, /) -> None:
        """As the contract says: one command that changes the keys in place, each in one step."""
        rest = {"$substrBytes": ["$key", len(source.encode()), -1]}
        self._prepare()
        self.heads.documents.update_many(
            {"key": below(source)}, [{"$set": {"key": {"$concat": [{"$literal": target}, rest]}}}]
        )

    def apply_many(self, changes: Changes, /) -> None:
        """As the contract says: a transaction; parts are written before and removed after it."""
        self._prepare()
        heads = {key: self._stored(key, value) for key, value in changes.items() if value is not None}
        gone = [key for key, value in changes.items() if value is None]
        writes: list[Write] = [ReplaceOne({"key": key}, head, upsert=True) for key, head in heads.items()]
        writes += [DeleteMany({"key": {"$in": keys}}) for keys in chunked(gone, BATCH)]

        def change(session: ClientSession) -> list[str] | None:
            dead: list[str] = []
            if self.parts.any:
                for keys in chunked(changes, BATCH):
                    dead += self.heads.split({"key": {"$in": keys}}, session).values()
            refused = self.heads.write(writes, session)
            if refused:
                session.abort_transaction()
            return None if refused else dead

        for _ in range(_ATTEMPTS):
            with self.client.start_session() as session:
                dead = session.with_transaction(change)
            if dead is not None:
                self.parts.remove(dead)
                return
        raise WriteFailedError(f"other writers got in the way {_ATTEMPTS} times")

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        return self.heads.sizes(folder)

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """As the contract says: from the index alone."""
        return self.heads.keys(folder)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says: from the index alone, skipping what lies in a sub-folder."""
        if not self.heads.unique:
            yield from children(self.heads.keys(folder), folder)
            return
        condition, most = below(folder), 10 * _FEWEST_STEPS
        while True:
            keys = self.heads.page(condition, most)
            names = [*children(keys, folder)]
            yield from names
            if len(keys) < most:
                return
            last = keys[-1]
            end = last.find("/", len(folder))
            condition = (
                {**below(folder), "$gt": last}
                if end < 0
                else {**below(folder), "$gte": f"{last[:end]}0"}  # "0" comes after "/"
            )
            many = len(names) >= _FEWEST_STEPS
            most = min(4 * most, MOST_STEPS) if many else max(most // 4, _FEWEST_STEPS)

    def close(self) -> None:
        """Close the connections, unless the client is the user's."""
        if self.left is not None:
            self.left.detach()
            self.client.close()

    # ------------------------------------------------------------ reading

    def _read(self, requests: Sequence[Request]) -> dict[Request, Versioned]:
        """The requested bytes, each with the version of its whole value; a value replaced meanwhile is read again."""
        values: dict[Request, Versioned] = {}
        left: Collection[Request] = dict.fromkeys(requests)
        missing: dict[Request, Place] = {}
        for _ in range(_ATTEMPTS):
            heads = self.heads.find(by_key(left))
            places: dict[Request, Place] = {}
            for request in left:
                head = heads.get(request.key)
                place = None if head is None else Place.of(head)
                if head is None:
                    values[request] = None, None
                elif place is None:
                    values[request] = cut(value_of(head), request.range), version_of(head)
                elif missing.get(request) == place:
                    raise CorruptDataError(
                        f"parts of the value of {request.key!r} are missing; write it again"
                    )
                else:
                    places[request] = place
            missing = self._read_parts(places, values) if places else {}
            if not missing:
                return values
            replaced = by_key(missing)
            left = [request for request in dict.fromkeys(requests) if request.key in replaced]
        raise WriteFailedError(f"values were replaced {_ATTEMPTS} times while they were read")

    def _read_parts(
        self, places: Mapping[Request, Place], values: dict[Request, Versioned]
    ) -> dict[Request, Place]:
        """Read values that are in parts; returns those with a missing part."""
        self.parts.seen()
        parts = self.parts.read(
            dict.fromkeys(name for request, place in places.items() for name in place.ids(request.range))
        )
        missing: dict[Request, Place] = {}
        for request, place in places.items():
            value = place.joined(parts, request.range)
            if value is None:
                missing[request] = place
            else:
                values[request] = value, place.generation
        return missing

    # ------------------------------------------------------------ writing

    def _prepare(self) -> None:
        """Before the first write: make keys unique and remove what dead writers left."""
        if self.prepared:
            return
        with self.preparing:
            if not self.prepared:
                self.heads.make_unique()
                self.parts.sweep()
                self.prepared = True

    def _stored(self, key: str, value: Buffer, version: Version | None = None) -> Document:
        """The document for a value, whose parts are stored if one document or one command cannot hold it."""
        beside = len(version) if isinstance(version, bytes) else 0  # it goes with the same command
        if len(value) + beside <= self.direct:
            return head_of(key, value)
        place = self.parts.write(value)
        while not self.parts.fresh(place):  # it took so long that others may take the parts for debris
            self.parts.remove([place.generation])
            place = self.parts.write(value)
        return {"key": key, "parts": place.document}

    def _erase(self, condition: Mapping[str, Any]) -> None:
        dead = self.heads.split(condition).values() if self.parts.any else ()
        self.heads.documents.delete_many(condition)
        self.parts.remove(dead)


def _close_elsewhere(client: MongoClient[Document], process: int) -> None:
    """Close the client of a store that was dropped; never that of a parent process.

    The garbage collector may run in any thread, also in one of the client's own that holds its locks. So another one closes it.
    """
    if process == os.getpid():
        with suppress(RuntimeError):  # there are no new threads at the end of the interpreter
            _thread.start_new_thread(client.close, ())
