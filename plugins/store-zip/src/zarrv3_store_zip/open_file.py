"""An archive in an open file of Python's, or whatever can be read like one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO

from zarrv3.forks import Lock
from zarrv3.store.contract import Buffer, Capabilities, Request
from zarrv3.store.helpers import resolve

ARCHIVE = "archive.zip"
"""The one key there is."""


class OpenFile:
    """The contract over a file that others have opened, and will close."""

    capabilities = Capabilities(native_ranges=True)

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = Lock()

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says, one request after the other: a file has one position."""
        with self._lock.taken:
            size = self._file.seek(0, io.SEEK_END)
            return [self._part(request, size) if request.key == ARCHIVE else None for request in requests]

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says: the length of the file."""
        with self._lock.taken:
            size = self._file.seek(0, io.SEEK_END)
        return [size if key == ARCHIVE else None for key in keys]

    def _part(self, request: Request, size: int) -> bytes:
        start, length = resolve(request.range, size)
        self._file.seek(start)
        return self._file.read(length)
