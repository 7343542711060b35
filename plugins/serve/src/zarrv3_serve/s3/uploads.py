"""Values that come in parts: kept in a file without a name until they are complete, then written as one value."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from zarrv3.store.contract import Buffer
from zarrv3.store.files import read_at, write_at
from zarrv3_serve.s3.checksums import etag
from zarrv3_serve.s3.errors import S3Error

MOST = 100
"""The uploads that are under way at once; each has a file open."""
IDLE = 3600.0
"""The seconds after which an upload that nobody goes on with is forgotten."""
PARTS = 10_000
"""The highest number of a part."""
_DONE = 1000
"""Of how many complete uploads the result is remembered, for clients that did not get the answer."""


class Part(NamedTuple):
    """Where a part is in the file."""

    start: int
    size: int
    etag: str


class Upload:
    """The parts of a value that have come."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.used = time.monotonic()
        self.parts: dict[int, Part] = {}
        self.completing = threading.Lock()
        self.size = 0
        self._lock = threading.Lock()
        file = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with the upload
        self._file = file.fileno()
        weakref.finalize(self, file.close)

    def reserve(self, size: int) -> int:
        """Where in the file there is room for a part."""
        with self._lock:
            self.size += size
            return self.size - size

    def put(self, number: int, value: Buffer, start: int) -> str:
        """Keep a part; returns its entity tag."""
        view, at = memoryview(value), start
        while view:  # a write may stop short
            done = write_at(self._file, view, at)
            view, at = view[done:], at + done
        tag = etag(value)
        with self._lock:
            self.parts[number] = Part(start, len(value), tag)
            self.used = time.monotonic()
        return tag

    def chosen(self, wanted: Sequence[tuple[int, str]]) -> list[Part]:
        """The parts that a client wants, by number and entity tag, in order."""
        numbers = [number for number, _ in wanted]
        if not numbers or numbers != sorted({*numbers}):
            raise S3Error(
                "InvalidPartOrder" if numbers else "MalformedXML", "parts are listed in order, each once"
            )
        found = [self.parts.get(number) for number in numbers]
        parts = [
            part for part, (_, tag) in zip(found, wanted, strict=True) if part and part.etag.strip('"') == tag
        ]
        if len(parts) != len(wanted):
            raise S3Error("InvalidPart", "a part has not come, or has another entity tag")
        return parts

    def value(self, parts: Sequence[Part]) -> bytearray:
        """Parts as one value."""
        value = bytearray()
        for part in parts:
            at, end = part.start, part.start + part.size
            while at < end:
                piece = read_at(self._file, end - at, at)
                if not piece:
                    raise S3Error("InternalError", "a part has been lost")
                value += piece
                at += len(piece)
        return value


class Uploads:
    """The uploads that are under way in this process, by their secret names.

    Args:
        spool: the bytes that all parts together may take on the disk.
    """

    def __init__(self, spool: int) -> None:
        self.spool = spool
        self.running: dict[str, Upload] = {}
        self.done: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, key: str) -> str:
        """Begin an upload; returns its name."""
        with self._lock:
            old = time.monotonic() - IDLE
            for name in [name for name, upload in self.running.items() if upload.used < old]:
                self.running.pop(name)  # its file goes when the last request lets go of it
            if len(self.running) >= MOST:
                raise S3Error("SlowDown", f"{MOST} uploads are under way; complete or abort one")
            name = secrets.token_urlsafe(24)
            self.running[name] = Upload(key)
        return name

    def find(self, key: str, name: str) -> Upload:
        """An upload of a key."""
        upload = self.running.get(name)
        if upload is None or upload.key != key:
            raise S3Error("NoSuchUpload", "there is no such upload; it was completed, aborted or forgotten")
        return upload

    def put(self, key: str, name: str, number: str, value: Buffer) -> str:
        """Keep a part of an upload; returns its entity tag."""
        upload = self.find(key, name)
        if not (number.isascii() and number.isdigit() and len(number) < 9 and 1 <= int(number) <= PARTS):
            raise S3Error("InvalidArgument", f"partNumber is from 1 to {PARTS}")
        with self._lock:
            if sum(each.size for each in self.running.values()) + len(value) > self.spool:
                raise S3Error("SlowDown", "too many parts are waiting to be completed; try again")
            start = upload.reserve(len(value))
        return upload.put(int(number), value, start)

    def finish(self, key: str, name: str, tag: str) -> None:
        """An upload has become a value."""
        with self._lock:
            self.running.pop(name, None)
            self.done[key, name] = tag
            if len(self.done) > _DONE:
                self.done.popitem(last=False)

    def abort(self, key: str, name: str) -> None:
        """Forget an upload."""
        self.find(key, name)
        with self._lock:
            self.running.pop(name, None)

    def close(self) -> None:
        """Forget all."""
        with self._lock:
            self.running.clear()
