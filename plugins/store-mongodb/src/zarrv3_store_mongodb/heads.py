"""One document a key, `{"key": …, "value": …}`, as zarr-python 2 has it; queries, and the index that keys need.

A value that no document can hold is in parts, and its document, the *head*, says where:
`{"key": …, "parts": {"generation": …, "size": …, "part": …}}`.

zarr-python 2 made no index, so that writers at once could leave several documents for one key: the newest counts. The
first write of ours removes the others and makes the index that forbids it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymongo import DeleteMany, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as MongoCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError

Document = dict[str, Any]
Documents = MongoCollection[Document]
Write = ReplaceOne[Document] | DeleteMany

PAGE = 5000
"""How many keys one command of a listing brings: no cursor stays open between pages."""

MOST_STEPS = 1000
"""How many keys `list_dir` asks for at most with one command."""

_ATTEMPTS = 20  # of a write that another writer got in the way of
_DUPLICATE = 11000
_SIZE = {"$ifNull": ["$parts.size", {"$binarySize": "$value"}]}


class WriteFailedError(Exception):
    """The server did not do a part of a batch; pymongo's own error would show the values."""


class Heads:
    """The documents of a collection; thread-safe."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.making = threading.Lock()
        self._unique = False

    # ------------------------------------------------------------ the index

    @property
    def unique(self) -> bool:
        """Whether there is the index, so that a key has one document; asked for until it is so."""
        if not self._unique:
            indexes = self.documents.index_information().values()
            self._unique = any(
                [*index["key"]] == [("key", 1)]
                and bool(index.get("unique"))
                and "partialFilterExpression" not in index
                for index in indexes
            )
        return self._unique

    def make_unique(self) -> None:
        """Make the index, unless it is there."""
        with self.making:
            for _ in range(_ATTEMPTS):
                if self._unique:
                    return
                try:
                    self.documents.create_index("key", unique=True)
                    self._unique = True
                except DuplicateKeyError:
                    self._drop_duplicates()
        if not self._unique:
            raise WriteFailedError(
                "the collection has several documents for one key, and others keep adding some; "
                "stop the program that writes without an index"
            )

    def _drop_duplicates(self) -> None:
        several: list[Document] = [
            {"$match": {"key": below("")}},
            {"$group": {"_id": "$key", "newest": {"$max": "$_id"}, "count": {"$sum": 1}}},
            {"$match": {"count": {"$gt": 1}}},
        ]
        for found in self.documents.aggregate(several, allowDiskUse=True):
            self.documents.delete_many({"key": found["_id"], "_id": {"$lt": found["newest"]}})

    # ------------------------------------------------------------ reading

    def find(self, keys: Collection[str]) -> dict[str, Document]:
        """The documents of some keys, in one query."""
        asked = self.documents.find(
            {"key": {"$in": [*keys]}}, {"key": 1, "value": 1, "parts": 1}, batch_size=2 * len(keys) + 1
        )
        return _newest(asked)

    def split(self, where: Mapping[str, Any], session: ClientSession | None = None) -> dict[str, str]:
        """The keys whose values are in parts, with their generations."""
        asked = {**where, "parts.generation": {"$gt": ""}}
        found = self.documents.find(asked, {"_id": 0, "key": 1, "parts.generation": 1}, session=session)
        return {document["key"]: document["parts"]["generation"] for document in found}

    def keys(self, folder: str) -> Iterator[str]:
        """Every key below a folder, from the index alone, page by page."""
        if not self.unique:
            seen: set[str] = set()
            for document in self.documents.find({"key": below(folder)}, {"_id": 0, "key": 1}):
                if document["key"] not in seen:
                    seen.add(document["key"])
                    yield document["key"]
            return
        where = below(folder)
        while True:
            page = self.page(where, PAGE)
            yield from page
            if len(page) < PAGE:
                return
            where = {**where, "$gt": page[-1]}

    def page(self, where: Mapping[str, str], most: int) -> list[str]:
        """The first keys of a range, from the index alone."""
        found = self.documents.find(
            {"key": where}, {"_id": 0, "key": 1}, sort=[("key", 1)], limit=most, batch_size=most + 1
        )
        return [document["key"] for document in found]

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every key below a folder with the length of its value, which the server tells, page by page."""
        where = below(folder)
        shown = {"$project": {"key": 1, "size": _SIZE}}
        if not self.unique:
            newest = {"$group": {"_id": "$key", "size": {"$last": "$size"}}}
            stages: list[Document] = [{"$match": {"key": where}}, shown, {"$sort": {"_id": 1}}, newest]
            for document in self.documents.aggregate(stages, allowDiskUse=True):
                yield document["_id"], document["size"]
            return
        while True:
            stages = [{"$match": {"key": where}}, {"$sort": {"key": 1}}, {"$limit": PAGE}, shown]
            page = [*self.documents.aggregate(stages, batchSize=PAGE + 1)]
            for document in page:
                yield document["key"], document["size"]
            if len(page) < PAGE:
                return
            where = {**where, "$gt": page[-1]["key"]}

    def size(self, key: str) -> int | None:
        """The length of one value; `None` when the key is missing."""
        stages: list[Document] = [{"$match": {"key": key}}, {"$project": {"key": 1, "size": _SIZE}}]
        found = _newest(self.documents.aggregate(stages))
        return found[key]["size"] if found else None

    # ------------------------------------------------------------ writing

    def replace_many(self, heads: Mapping[str, Document]) -> None:
        """Put documents in the place of those with the same keys, in one batch."""
        writes: list[Write] = [ReplaceOne({"key": key}, head, upsert=True) for key, head in heads.items()]
        for _ in range(_ATTEMPTS):
            writes = self.write(writes)
            if not writes:
                return
        raise WriteFailedError(f"other writers got in the way {_ATTEMPTS} times")

    def replace(self, key: str, head: Document) -> str | None:
        """Put a document in the place of the one with the same key; returns the generation of that one's parts."""
        for _ in range(_ATTEMPTS):
            try:
                old = self.documents.find_one_and_replace(
                    {"key": key}, head, {"_id": 0, "parts": 1}, upsert=True
                )
            except DuplicateKeyError:
                continue
            return generation_of(old)
        raise WriteFailedError(f"other writers got in the way {_ATTEMPTS} times")

    def write(self, writes: Sequence[Write], session: ClientSession | None = None) -> list[Write]:
        """Send a batch; returns the writes that another writer of the same key got in the way of."""
        try:
            self.documents.bulk_write(writes, ordered=False, session=session)
        except BulkWriteError as error:
            return _refused(error, writes)
        return []


def below(folder: str) -> dict[str, str]:
    """The range of keys below a folder; of type text, so that foreign documents are in none."""
    return {"$gte": folder, "$lt": f"{folder[:-1]}0"} if folder else {"$gte": ""}  # "0" comes after "/"


def generation_of(head: Mapping[str, Any] | None) -> str | None:
    """The generation of the parts that a document names, if any."""
    parts = (head or {}).get("parts")
    return parts["generation"] if parts else None


def _newest(documents: Iterable[Document]) -> dict[str, Document]:
    found: dict[str, Document] = {}
    for document in documents:
        other = found.get(document["key"])
        if other is None or str(document["_id"]) > str(other["_id"]):
            found[document["key"]] = document
    return found


def _refused(error: BulkWriteError, writes: Sequence[Write]) -> list[Write]:
    """The writes to send again, unless one failed for good."""
    if error.has_error_label("TransientTransactionError"):
        raise error
    failed = error.details.get("writeErrors", [])
    for one in [*failed, *error.details.get("writeConcernErrors", [])]:
        if one.get("code") != _DUPLICATE:
            text = f"{one.get('errmsg')} (code {one.get('code')})"
            raise WriteFailedError(text) from None
    return [writes[one["index"]] for one in failed]
