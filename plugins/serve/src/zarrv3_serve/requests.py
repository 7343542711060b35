"""What a request says: which key, which part of it, on which condition. Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from zarrv3.errors import InvalidKeyError
from zarrv3_serve.replies import Scope

MOST_RANGES = 256
"""Requests for more ranges than this are answered with the whole value."""

_RANGE = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*")


class Span(NamedTuple):
    """The bytes `value[start:stop]`, which are there."""

    start: int
    stop: int


class NotSatisfiable(Exception):  # noqa: N818 - what HTTP calls it
    """No range that was asked for lies within the value."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def path_of(scope: Scope) -> str:
    """The decoded path of a request below where the application is mounted, without its first `/`.

    Raises `InvalidKeyError` where it is not text.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        path: str = scope["path"]
    else:
        try:
            path = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise InvalidKeyError("the path of a URL is percent-encoded UTF-8") from None
    return path.removeprefix(scope.get("root_path", "")).removeprefix("/")


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers of a request by their names in lower case; those that are repeated are joined."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        found[name] = found[name] + b"," + value if name in found else value
    return found


def spans(header: str, size: int) -> list[Span] | None:
    """The ranges that `Range` asks for; `None` where it is not understood or asks for more than the whole.

    Raises `NotSatisfiable` where all of them lie behind the end.
    """
    unit, equals, texts = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    found: list[Span] = []
    parts = texts.split(",")
    if len(parts) > MOST_RANGES:
        return None
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match is None or not (match[1] or match[2]) or len(match[0]) > 50:
            return None
        if not match[1]:
            length = int(match[2])
            if length and not size:
                return None  # an empty value has no range that could be named
            span = Span(max(0, size - length), size)
        else:
            span = Span(int(match[1]), min(size, int(match[2]) + 1) if match[2] else size)
            if match[2] and int(match[2]) < int(match[1]):
                return None
        if span.start < span.stop:
            found.append(span)
    if not found:
        raise NotSatisfiable(size)
    return found if sum(stop - start for start, stop in found) <= size else None


def matches(header: str, etag: str | None, *, weak: bool = False) -> bool:
    """Whether one of the tags in `If-Match` or `If-None-Match` is that of the value; `None` is that of a missing one."""
    if header.strip() == "*":
        return etag is not None
    tags = (tag.strip() for tag in header.split(","))
    return etag in {tag.removeprefix("W/") if weak else tag for tag in tags}
