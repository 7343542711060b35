"""The contract over the documents of a collection."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from pymongo import DeleteMany, MongoClient, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from zarrv3.errors import CorruptDataError
from zarrv3.store.contract import Buffer, Capabilities, Limits, Request
from zarrv3.store.helpers import by_key, children, chunked, cut
from zarrv3_store_mongodb.heads import (
    MOST_STEPS,
    Document,
    Heads,
    Write,
    WriteFailedError,
    below,
    generation_of,
)
from zarrv3_store_mongodb.parts import Parts, Place

BATCH = 1000
"""The most keys in one command."""

SPARE = 64 << 10
"""What a document or a command needs besides a value."""

_ATTEMPTS = (
    50  # of a read that finds a value replaced, or of a transaction that another writer got in the way of
)
_FEWEST_STEPS = 8


class MongoDBDriver:
    """Keys and values as documents.

    Args:
        client: connects when it is used; here it is asked what the server can do.
        database: the name of the database.
        collection: the name of the collection.
        owned: close the client with the driver.
    """

    def __init__(self, client: MongoClient[Document], database: str, collection: str, *, owned: bool) -> None:
        self.client = client
        self.owned = owned
        hello = client.admin.command("hello")
        ahead = hello["localTime"].replace(tzinfo=UTC).timestamp() - time.time()
        self.direct: int = hello["maxBsonObjectSize"] - SPARE
        self.heads = Heads(client[database][collection])
        self.parts = Parts(client[database][f"{collection}.parts"], self.heads.documents, ahead)
        self.preparing = threading.Lock()
        self.prepared = False
        self.capabilities = Capabilities(
            transactions="setName" in hello or hello.get("msg") == "isdbgrid",
            limits=Limits(batch_keys=BATCH, batch_bytes=32 << 20, key_bytes=8 << 10),
        )

    # ------------------------------------------------------------ the contract

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: one query, and one more where values are in parts."""
        keys = [*by_key(requests)]
        if not keys:
            return []
        heads = self.heads.find(keys)
        values: dict[Request, Buffer | None] = {}
        split: dict[Request, Place] = {}
        for key, wanted in dict.fromkeys(requests):
            head = heads.get(key)
            place = None if head is None else Place.of(head)
            if place is None:
                values[key, wanted] = None if head is None else cut(_value(head), wanted)
            else:
                split[key, wanted] = place
        if split:
            values.update(self._split(split))
        return [values[request] for request in requests]

    def set_many(self, items: Mapping[str, Buffer], /) -> None:
        """See the contract: one batch of replacements; values in parts one by one."""
        if not items:
            return
        self._prepare()
        alone = {key for key, value in items.items() if not self._fits(value)}
        if self.parts.any:
            alone |= self.heads.split({"key": {"$in": [*items]}}).keys()
        together = {key: _head(key, value) for key, value in items.items() if key not in alone}
        if together:
            self.heads.replace_many(together)
        for key in alone:
            self.parts.remove([self.heads.replace(key, self._stored(key, items[key]))])

    def erase_many(self, keys: Collection[str], /) -> None:
        """See the contract: one command."""
        if keys:
            self._erase({"key": {"$in": [*keys]}})

    def erase_prefix(self, folder: str, /) -> None:
        """See the contract: one command over a range of the index."""
        self._erase({"key": below(folder)})

    def rename_prefix(self, source: str, target: str, /) -> None:
        """See the contract: one command that changes the keys where they are, each in one step."""
        rest = {"$substrBytes": ["$key", len(source.encode()), -1]}
        self._prepare()
        self.heads.documents.update_many(
            {"key": below(source)}, [{"$set": {"key": {"$concat": [{"$literal": target}, rest]}}}]
        )

    def compare_and_set(self, key: str, old: Buffer | None, new: Buffer | None, /) -> bool:
        """See the contract: one command that names the old value, or the generation of its parts."""
        if old is None and new is None:
            return self.heads.size(key) is None
        self._prepare()
        head = (
            None
            if new is None
            else self._stored(key, new, besides=old if old is not None and self._fits(old) else None)
        )
        dead: str | None = None
        if old is None:
            done = head is not None and self._create(head)
        else:
            done = self._fits(old) and self._swap({"key": key, "value": bytes(old)}, head)
            if not done:
                dead = self._generation(key, old)
                done = dead is not None and self._swap({"key": key, "parts.generation": dead}, head)
        self.parts.remove([dead if done else generation_of(head)])
        return done

    def apply_many(self, changes: Mapping[str, Buffer | None], /) -> None:
        """See the contract: a transaction; parts are written before and removed after it."""
        if not changes:
            return
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

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract: the server looks at values and sends their lengths."""
        if not where or where.endswith("/"):
            yield from self.heads.sizes(where)
            return
        size = self.heads.size(where)
        if size is not None:
            yield where, size

    def list_prefix(self, folder: str, /) -> Iterator[str]:
        """See the contract: from the index alone."""
        return self.heads.keys(folder)

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract: from the index alone, jumping over what lies in a sub-folder."""
        if not self.heads.unique:
            return children(self.heads.keys(folder), folder)
        keys: list[str] = []
        folders: list[str] = []
        where, most = below(folder), 10 * _FEWEST_STEPS
        while True:
            found = self.heads.page(where, most)
            own, within = children(found, folder)
            keys += own
            folders += within
            if len(found) < most:
                return sorted(keys), sorted(folders)
            last = found[-1]
            end = last.find("/", len(folder))
            where = (
                {**below(folder), "$gt": last}
                if end < 0
                else {**below(folder), "$gte": f"{last[:end]}0"}  # "0" comes after "/"
            )
            many = len(own) + len(within) >= _FEWEST_STEPS
            most = min(4 * most, MOST_STEPS) if many else max(most // 4, _FEWEST_STEPS)

    def flush(self) -> None:
        """Nothing is held back: see the README for what the write concern promises."""

    def close(self) -> None:
        """Close the connections, unless the client is the user's."""
        if self.owned:
            self.client.close()

    # ------------------------------------------------------------ reading parts

    def _split(self, places: dict[Request, Place]) -> dict[Request, Buffer | None]:
        """The requested pieces of values that are in parts; a value replaced meanwhile is read anew."""
        self.parts.seen()
        values: dict[Request, Buffer | None] = {}
        for _ in range(_ATTEMPTS):
            ids = dict.fromkeys(name for (_, wanted), place in places.items() for name in place.ids(wanted))
            found = self.parts.read(ids)
            again: list[Request] = []
            for request, place in places.items():
                values[request] = place.joined(found, request[1])
                if values[request] is None:
                    again.append(request)
            if not again:
                return values
            heads = self.heads.find({key for key, _ in again})
            before, places = places, {}
            for request in again:
                head = heads.get(request[0])
                place_now = None if head is None else Place.of(head)
                if place_now is not None and place_now == before[request]:
                    raise CorruptDataError(
                        f"parts of the value of {request[0]!r} are missing; write it again"
                    )
                if place_now is not None:
                    places[request] = place_now
                else:
                    values[request] = None if head is None else cut(_value(head), request[1])
            if not places:
                return values
        raise WriteFailedError(f"values were replaced {_ATTEMPTS} times while they were read")

    # ------------------------------------------------------------ writing

    def _prepare(self) -> None:
        """Before the first write: keys become unique, and what dead writers left goes."""
        if self.prepared:
            return
        with self.preparing:
            if not self.prepared:
                self.heads.make_unique()
                self.parts.sweep()
                self.prepared = True

    def _fits(self, value: Buffer) -> bool:
        return len(value) <= self.direct

    def _stored(self, key: str, value: Buffer, besides: Buffer | None = None) -> Document:
        """The document for a value, whose parts are stored if one document, or one command, cannot hold it."""
        if len(value) + len(besides or b"") <= self.direct:
            return _head(key, value)
        place = self.parts.write(value)
        while not self.parts.fresh(place):  # it took so long that others may take it for debris
            self.parts.remove([place.generation])
            place = self.parts.write(value)
        return {"key": key, "parts": place.document}

    def _generation(self, key: str, value: Buffer) -> str | None:
        """The generation of the parts that a key's value is in, if it is this value."""
        head = self.heads.documents.find_one({"key": key}, {"_id": 0, "parts": 1})
        place = None if head is None else Place.of(head)
        if place is None or place.size != len(value):
            return None
        return place.generation if place.joined(self.parts.read(place.ids()), None) == value else None

    def _create(self, head: Document) -> bool:
        try:
            self.heads.documents.insert_one({**head})
        except DuplicateKeyError:
            return False
        return True

    def _swap(self, where: Mapping[str, Any], head: Document | None) -> bool:
        if head is None:
            return self.heads.documents.delete_one(where).deleted_count == 1
        return self.heads.documents.replace_one(where, head).matched_count == 1

    def _erase(self, where: Mapping[str, Any]) -> None:
        dead = self.heads.split(where).values() if self.parts.any else ()
        self.heads.documents.delete_many(where)
        self.parts.remove(dead)


def _head(key: str, value: Buffer) -> Document:
    return {"key": key, "value": bytes(value)}


def _value(head: Document) -> bytes:
    value = head.get("value")
    if not isinstance(value, bytes):
        raise CorruptDataError(
            f"the document of {head['key']!r} holds no binary value; another program wrote it"
        )
    return value if type(value) is bytes else bytes(value)
