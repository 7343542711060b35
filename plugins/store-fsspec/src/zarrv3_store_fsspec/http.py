"""Reading from web servers, whatever they make of a range.

A server may ignore the header `Range` and send the whole value, or send another range; its answer says which.
"""

from __future__ import annotations

import re
from typing import Any

from zarrv3.store.contract import ByteRange
from zarrv3.store.helpers import resolve
from zarrv3_store_fsspec.access import Errors, ObjectAccess
from zarrv3_store_fsspec.reading import Part, range_header

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class HTTPAccess(ObjectAccess):
    """Files of a web server, by GET and HEAD."""

    exact: bool = True
    suffixes: bool = True

    async def marked(self, part: Part) -> tuple[bytes, object]:
        """A part and, where the server says them, etag and date."""
        return await self._get(*part)

    async def _cat(self, part: Part) -> bytes:
        return (await self._get(*part))[0]

    def _address(self, path: str) -> Any:
        return self.fs.encode_url(path + self.query)

    def __init__(self, fs: Any, missing: Errors, query: str) -> None:
        super().__init__(fs, missing)
        self.query = f"?{query}" if query else ""

    def is_absent(self, answer: object, others: Errors) -> bool:
        """Whether there is no such file; a refused login does not say so, even where a refused permission does."""
        return not isinstance(answer, _LoginRefusedError) and super().is_absent(answer, others)

    async def size(self, path: str) -> int | None:
        """The size of a file, by HEAD; by GET where the server does not say it."""
        session = await self.fs.set_session()
        async with session.head(self._address(path), **self._options(None)) as answer:
            length = answer.headers.get("Content-Length")
            if answer.status == 200 and length is not None and "Content-Encoding" not in answer.headers:
                return int(length)
            if answer.status not in {200, 405, 501}:
                _check(answer, path)
        return len((await self._get(path, None))[0])

    async def _get(self, path: str, wanted: ByteRange | None) -> tuple[bytes, object]:
        session = await self.fs.set_session()
        async with session.get(self._address(path), **self._options(wanted)) as answer:
            if answer.status == 416 and wanted is not None:
                size = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
                if size and size[3] != "*" and not resolve(wanted, int(size[3]))[1]:
                    return b"", _mark(answer)
            elif answer.status < 400:
                body: bytes = await answer.read()
                if answer.status != 206 or wanted is None:
                    return body if wanted is None else body[wanted.start : wanted.stop], _mark(answer)
                if _is_what_was_asked_for(answer.headers.get("Content-Range", ""), wanted, len(body)):
                    return body, _mark(answer)
            else:
                _check(answer, path)
        whole, mark = await self._get(path, None)  # the server does not handle ranges consistently
        assert wanted is not None
        return whole[wanted.start : wanted.stop], mark

    def _options(self, wanted: ByteRange | None) -> dict[str, Any]:
        options = {"allow_redirects": True, **self.fs.kwargs}
        headers = {"Accept-Encoding": "identity", **options.get("headers", {})}
        if wanted is not None:
            headers["Range"] = range_header(wanted)
        return {**options, "headers": headers}


class _LoginRefusedError(PermissionError):
    """A status that says who asks, not what is asked for, is refused."""


def _mark(answer: Any) -> object:
    found = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
    return found if any(found) else object()


def _is_what_was_asked_for(header: str, wanted: ByteRange, length: int) -> bool:
    """Whether an answer with status 206 holds the range: from its start to its end, or to the end of the file."""
    match = _CONTENT_RANGE.match(header)
    if not match or match[1] is None:
        return False
    first, last = int(match[1]), int(match[2])
    if last - first + 1 != length:
        return False
    if match[3] == "*":
        return first == wanted.start and wanted.stop is not None and last == wanted.stop - 1
    return (first, length) == resolve(wanted, int(match[3]))


def _check(answer: Any, path: str) -> None:
    """Raise the error that the status of an answer means."""
    text = f"the server answered {answer.status} {answer.reason} for {path}"
    if answer.status in {404, 410}:
        raise FileNotFoundError(text)
    if answer.status in {401, 403, 407}:
        raise (PermissionError if answer.status == 403 else _LoginRefusedError)(text)
    if answer.status >= 500 or answer.status in {408, 425, 429}:
        raise ConnectionError(text)
    raise OSError(text)
