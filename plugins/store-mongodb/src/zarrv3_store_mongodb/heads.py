"""One document per key, `{"key": …, "value": …, "version": …}`; queries, and the index that keys need.

A value that no document can hold is in parts, and its document, the *head*, says which:
`{"key": …, "parts": {"generation": …, "size": …, "part": …}}`.

Every write of ours gives its document a version that no other has, and so does a new generation of parts; what
zarr-python 2 wrote has none, and its version is the value itself. zarr-python 2 made no index either, so
concurrent writers could leave several documents for one key: the newest counts. The first write of ours
removes the others and makes the index that forbids it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo import DeleteMany, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as MongoCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError

from zarrv3.errors import CorruptDataError
from zarrv3.store.contract import Buffer, Version

Document = dict[str, Any]
Documents = MongoCollection[Document]
Write = ReplaceOne[Document] | DeleteMany

PAGE = 5000
"""How many keys one command of a listing brings: no cursor stays open between pages."""

MOST_STEPS = 1000
"""How many keys `list_dir` asks for at most with one command."""

_ATTEMPTS = 20  # for a write that met another writer
_DUPLICATE = 11000
_SIZE = {"$ifNull": ["$parts.size", {"$binarySize": "$value"}]}


class WriteFailedError(Exception):
    """The server refused a part of a batch; pymongo's own error would show the values."""


class Heads:
    """The documents of a collection; thread-safe."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.making = threading.Lock()
        self._unique = False

    # ------------------------------------------------------------ the index

    @property
    def unique(self) -> bool:
        """Whether the index exists, so that a key has one document; asked until it does."""
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
        """Make the index unless it exists."""
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
                "the collection has several documents for one key, and other writers keep adding some; "
                "stop the program that writes without an index"
            )

    def _drop_duplicates(self) -> None:
        several: list[Document] = [
            {"$match": {"key": below("")}},
            {"$group": {"_id": "$key", "newest": {"$max": "$_id"}, "count": {"$sum": 1}}},
            {"$match": {"count": {"$gt": 1}}},
        ]
        for group in self.documents.aggregate(several, allowDiskUse=True):
            self.documents.delete_many({"key": group["_id"], "_id": {"$lt": group["newest"]}})

    # ------------------------------------------------------------ reading

    def find(self, keys: Collection[str]) -> dict[str, Document]:
        """The documents of some keys, in one query."""
        asked = self.documents.find(
            {"key": {"$in": [*keys]}},
            {"key": 1, "value": 1, "version": 1, "parts": 1},
            batch_size=2 * len(keys) + 1,
        )
        return _newest(asked)

    def split(self, condition: Mapping[str, Any], session: ClientSession | None = None) -> dict[str, str]:
        """The keys whose values are in parts, with their generations."""
        asked = {**condition, "parts.generation": {"$gt": ""}}
        documents = self.documents.find(asked, {"_id": 0, "key": 1, "parts.generation": 1}, session=session)
        return {document["key"]: document["parts"]["generation"] for document in documents}

    def keys(self, folder: str) -> Iterator[str]:
        """Every key below a folder, from the index alone, page by page."""
        if not self.unique:
            documents = self.documents.find({"key": below(folder)}, {"_id": 0, "key": 1})
            yield from dict.fromkeys(document["key"] for document in documents)
            return
        condition = below(folder)
        while True:
            page = self.page(condition, PAGE)
            yield from page
            if len(page) < PAGE:
                return
            condition = {**condition, "$gt": page[-1]}

    def page(self, condition: Mapping[str, str], most: int) -> list[str]:
        """The first keys of a range, from the index alone."""
        documents = self.documents.find(
            {"key": condition}, {"_id": 0, "key": 1}, sort=[("key", 1)], limit=most, batch_size=most + 1
        )
        return [document["key"] for document in documents]

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Every key below a folder with the length of its value, which the server tells, page by page."""
        condition = below(folder)
        shown = {"$project": {"key": 1, "size": _SIZE}}
        if not self.unique:
            newest = {"$group": {"_id": "$key", "size": {"$last": "$size"}}}
            stages: list[Document] = [{"$match": {"key": condition}}, shown, {"$sort": {"_id": 1}}, newest]
            for document in self.documents.aggregate(stages, allowDiskUse=True):
                yield document["_id"], document["size"]
            return
        while True:
            stages = [{"$match": {"key": condition}}, {"$sort": {"key": 1}}, {"$limit": PAGE}, shown]
            page = [*self.documents.aggregate(stages, batchSize=PAGE + 1)]
            for document in page:
                yield document["key"], document["size"]
            if len(page) < PAGE:
                return
            condition = {**condition, "$gt": page[-1]["key"]}

    def sizes_of(self, keys: Collection[str]) -> dict[str, int]:
        """The lengths of the values of those keys that exist, in one query."""
        stages: list[Document] = [
            {"$match": {"key": {"$in": [*keys]}}},
            {"$project": {"key": 1, "size": _SIZE}},
        ]
        documents = _newest(self.documents.aggregate(stages, batchSize=2 * len(keys) + 1))
        return {key: document["size"] for key, document in documents.items()}

    # ------------------------------------------------------------ writing

    def replace_many(self, heads: Mapping[str, Document]) -> None:
        """Replace documents by key, in one batch."""
        writes: list[Write] = [ReplaceOne({"key": key}, head, upsert=True) for key, head in heads.items()]
        for _ in range(_ATTEMPTS):
            writes = [writes[number] for number in self.write(writes)]
            if not writes:
                return
        raise WriteFailedError(f"other writers got in the way {_ATTEMPTS} times")

    def replace(self, key: str, head: Document) -> str | None:
        """Replace the document with the same key; returns the generation of the old one's parts."""
        for _ in range(_ATTEMPTS):
            try:
                old = self.documents.find_one_and_replace(
                    {"key": key}, head, {"_id": 0, "parts": 1}, upsert=True
                )
            except DuplicateKeyError:
                continue
            return generation_of(old)
        raise WriteFailedError(f"other writers got in the way {_ATTEMPTS} times")

    def create_many(self, heads: Sequence[Document]) -> list[str]:
        """Insert documents in one batch; returns the keys that exist already."""
        refused = self._once("insert", "documents", heads).get("writeErrors", []) if heads else []
        return [heads[error["index"]]["key"] for error in refused]

    def swap(self, key: str, version: Version, head: Document | None) -> bool:
        """Replace or remove the document of a key if it has the version; whether it had."""
        field = _FIELDS.get(type(version))
        if field is None:  # not one of ours
            return False
        condition = {"key": key, field: version}
        if head is None:
            return bool(self._once("delete", "deletes", [{"q": condition, "limit": 1}])["n"])
        return bool(self._once("update", "updates", [{"q": condition, "u": head}])["n"])

    def _once(self, command: str, field: str, items: Sequence[Document]) -> Document:
        """The answer to a command that is never sent twice: when the connection breaks, whether it was done is unknown.

        pymongo's own methods send again, and not every server recognises what it has done already.
        """
        concern = self.documents.write_concern.document
        asked = {command: self.documents.name, field: [*items], "ordered": False}
        answer: Document = self.documents.database.command(
            asked | ({"writeConcern": concern} if concern else {})
        )
        told = [*answer.get("writeErrors", []), *filter(None, [answer.get("writeConcernError")])]
        _refuse_but_duplicates(told)
        return answer

    def write(self, writes: Sequence[Write], session: ClientSession | None = None) -> list[int]:
        """Send a batch; returns the numbers of the writes whose key already has a document."""
        try:
            self.documents.bulk_write(writes, ordered=False, session=session)
        except BulkWriteError as error:
            if error.has_error_label("TransientTransactionError"):
                raise
            failed = error.details.get("writeErrors", [])
            _refuse_but_duplicates([*failed, *error.details.get("writeConcernErrors", [])])
            return [one["index"] for one in failed]
        return []


def _refuse_but_duplicates(told: Iterable[Mapping[str, Any]]) -> None:
    for one in told:
        if one.get("code") != _DUPLICATE:
            raise WriteFailedError(f"{one.get('errmsg')} (code {one.get('code')})") from None


_FIELDS: Mapping[type[Any], str] = {ObjectId: "version", str: "parts.generation", bytes: "value"}
"""The member that holds a document's version, by the type of the version."""


def head_of(key: str, value: Buffer) -> Document:
    """A document that holds a value."""
    return {"key": key, "value": bytes(value), "version": ObjectId()}


def value_of(head: Mapping[str, Any]) -> bytes:
    """The value that a document holds."""
    value = head.get("value")
    if not isinstance(value, bytes):
        raise CorruptDataError(
            f"the document of {head['key']!r} does not hold a binary value; another program wrote it"
        )
    return value if type(value) is bytes else bytes(value)


def version_of(head: Mapping[str, Any]) -> Version:
    """The version of a document whose value is not in parts."""
    version = head.get("version")
    return version if isinstance(version, ObjectId) else value_of(head)


def below(folder: str) -> dict[str, str]:
    """The range of keys below a folder; of type text, so it contains no foreign documents."""
    return {"$gte": folder, "$lt": f"{folder[:-1]}0"} if folder else {"$gte": ""}  # "0" comes after "/"


def generation_of(head: Mapping[str, Any] | None) -> str | None:
    """The generation of the parts that a document names, if any."""
    parts = (head or {}).get("parts")
    return parts["generation"] if parts else None


def _newest(documents: Iterable[Document]) -> dict[str, Document]:
    newest: dict[str, Document] = {}
    for document in documents:
        other = newest.get(document["key"])
        if other is None or str(document["_id"]) > str(other["_id"]):
            newest[document["key"]] = document
    return newest
