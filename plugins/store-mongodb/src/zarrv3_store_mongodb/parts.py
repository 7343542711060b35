"""Values that no document can hold, as parts in a second collection.

    <collection>         {"key": …, "parts": {"generation": g, "size": …, "part": …}}     the head, replaced in one step
    <collection>.parts   {"_id": "<g>-000000", "value": …}, {"_id": "<g>-000001", …}, …

A generation is written once and never changed. It comes to life when a head names it, and the writer that
replaces that head removes it. A reader that finds parts missing has an outdated head and reads it again.

A writer that dies leaves parts that no head names. They are swept by the first write of a later store, once they are
older than `GRACE`, by the server's clock, which their names begin with. No writer brings a generation to life that is
older than half of that: it writes a new one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.errors import BulkWriteError

from zarrv3.store.contract import Buffer, ByteRange, Version
from zarrv3.store.helpers import chunked, resolve
from zarrv3_store_mongodb.heads import Document, Documents, WriteFailedError, generation_of

PART = 4 << 20
"""How many bytes a part has."""

GRACE = 3600.0
"""Seconds for which parts that no head names may belong to a writer at work."""

_AT_ONCE = 8  # parts in one command
_IDS = 5000  # names in one command


@dataclass(frozen=True, slots=True)
class Place:
    """Where the parts of a value are: what its head says."""

    generation: str
    size: int
    part: int

    @classmethod
    def of(cls, head: Mapping[str, Any]) -> Place | None:
        """What a head says, if it has parts."""
        parts = head.get("parts")
        return cls(parts["generation"], parts["size"], parts["part"]) if parts else None

    @property
    def document(self) -> Document:
        """The member of the head."""
        return {"generation": self.generation, "size": self.size, "part": self.part}

    def ids(self, wanted: ByteRange | None = None) -> list[str]:
        """The names of the parts that a range touches."""
        start, length = resolve(wanted, self.size)
        first, last = start // self.part, (start + length - 1) // self.part
        return [f"{self.generation}-{i:06d}" for i in range(first, last + 1)] if length else []

    def joined(self, values: Mapping[str, bytes], wanted: ByteRange | None) -> bytes | None:
        """The wanted bytes from parts; `None` when one is missing."""
        ids = self.ids(wanted)
        if any(name not in values for name in ids):
            return None
        start, length = resolve(wanted, self.size)
        skip = start % self.part
        whole = b"".join([values[name] for name in ids])
        return whole if len(whole) == length else whole[skip : skip + length]


class Parts:
    """The collection of parts; thread-safe.

    Args:
        documents: the collection.
        heads: the collection of heads.
        ahead: by how many seconds the server's clock is ahead of ours.
    """

    def __init__(self, documents: Documents, heads: Documents, ahead: float) -> None:
        self.documents = documents
        self.heads = heads
        self.ahead = ahead
        self.size = PART
        self._any: bool | None = None
        self._indexed = False

    @property
    def any(self) -> bool:
        """Whether there may be parts. Others may have been added since; what they leave is swept later."""
        if self._any is None:
            self._any = self.documents.find_one({}, {"_id": 1}) is not None
        return self._any

    def seen(self) -> None:
        """Note that there are parts."""
        self._any = True

    # ------------------------------------------------------------ reading

    def read(self, ids: Collection[str]) -> dict[str, bytes]:
        """The parts that exist, in one query."""
        if not ids:
            return {}
        documents = self.documents.find({"_id": {"$in": [*ids]}}, batch_size=len(ids) + 1)
        return {document["_id"]: document["value"] for document in documents}

    # ------------------------------------------------------------ writing

    def write(self, value: Buffer) -> Place:
        """Store a value as a new generation, which no head names yet."""
        if not self._indexed:
            self.heads.create_index("parts.generation", sparse=True)
            self._indexed = True
        self._any = True
        place = Place(f"{self._now():08x}{secrets.token_hex(8)}", len(value), self.size)
        view = memoryview(value)
        numbered = enumerate(place.ids())
        for some in chunked(numbered, _AT_ONCE):
            documents = [
                {"_id": name, "value": bytes(view[i * self.size : (i + 1) * self.size])} for i, name in some
            ]
            try:
                self.documents.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                told = [*error.details.get("writeErrors", []), *error.details.get("writeConcernErrors", [])]
                raise WriteFailedError("; ".join({str(one.get("errmsg")) for one in told})) from None
        return place

    def fresh(self, place: Place) -> bool:
        """Whether a generation is young enough to come to life."""
        return self._now() - int(place.generation[:8], 16) < GRACE / 2

    def remove(self, versions: Collection[Version | None]) -> None:
        """Remove the parts of generations that no head names any more."""
        for generation in versions:
            if isinstance(generation, str):
                self.documents.delete_many({"_id": {"$gte": f"{generation}-", "$lt": f"{generation}."}})

    def sweep(self) -> None:
        """Remove what dead writers left."""
        if not self.any:
            return
        for generations in chunked(self._old(), _IDS):
            living = self.heads.find(
                {"parts.generation": {"$in": generations}}, {"_id": 0, "parts.generation": 1}
            )
            self.remove({*generations} - {generation_of(head) for head in living})

    def _old(self) -> Iterator[str]:
        """Every generation that no writer is working on, from the index alone."""
        low, high, last = "", f"{max(0, self._now() - int(GRACE)):08x}", ""
        while True:
            documents = self.documents.find(
                {"_id": {"$gt": low, "$lt": high}}, {"_id": 1}, sort=[("_id", 1)], limit=_IDS
            )
            names = [document["_id"] for document in documents]
            for name in names:
                generation = name.partition("-")[0]
                if generation != last:
                    yield generation
                    last = generation
            if len(names) < _IDS:
                return
            low = names[-1]

    def _now(self) -> int:
        return int(time.time() + self.ahead)
