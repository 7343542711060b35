"""How a URL divides into a store and a path inside: `<URL of the store>|zarr3:<path>`, as in all URLs of zarrv3.

Inside, a path is `/` and a key or folder; `""` is the store itself.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Any

from fsspec.utils import stringify_path  # type: ignore[import-untyped]

ANY = "zarrv3://"
"""What stands before the URL of a store whose scheme fsspec takes for itself: `zarrv3://s3://bucket/a.zarr|lru-cache:`."""

_KEY = secrets.token_bytes(32)


def token(value: object) -> str:
    """What stands for a value in this process, and from which nobody can find it by trying."""
    return blake2b(repr(value).encode("utf-8", "surrogatepass"), key=_KEY, digest_size=16).hexdigest()


class Inside(str):
    """A path that was given as a URL: it remembers of which store, so that no other store is asked for it."""

    __slots__ = ("place",)
    place: str

    @classmethod
    def of(cls, url: str) -> Inside:
        """The path inside that a URL names."""
        store, path = divide(url)
        inside = cls(normal(path))
        inside.place = token(store)
        return inside

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Pickle the path alone: another process has other tokens."""
        return str, (str(self),)


def divide(url: str) -> tuple[str, str]:
    """The URL of a store, and the path inside."""
    from zarrv3.hierarchy.node import split_location  # needs numpy

    return split_location(url.removeprefix(ANY))


def normal(path: str) -> str:
    """A path inside as fsspec's methods return it."""
    key = path.strip("/")
    return f"/{key}" if key else ""


def strip(path: Any) -> Any:
    """The path inside of a URL or path, or those of a list."""
    if isinstance(path, list):
        return [strip(one) for one in path]
    if isinstance(path, Inside):
        return path
    text = stringify_path(path)
    return Inside.of(text) if "://" in text else normal(text)
