"""The form of a value in the second tier: the value, its key and its age under one checksum, so that damage shows.

    "zc3" and the byte 1 | digest of all that follows, 16 bytes | time stored, float64 | length of the key, uint32 | key | value

Numbers are little-endian; the digest is BLAKE2b.
"""

import hashlib
import struct
from typing import NamedTuple

from zarrv3.store.contract import Buffer

MAGIC = b"zc3\x01"
_DIGEST = 16
_HEAD = struct.Struct("<dI")


class Sealed(NamedTuple):
    """A value that is intact."""

    value: bytes
    stored: float
    """When it was true, in seconds since 1970."""


def seal(key: str, value: bytes, stored: float) -> bytes:
    """A value in the form described above."""
    name = key.encode()
    body = b"".join((_HEAD.pack(stored, len(name)), name, value))
    return b"".join((MAGIC, _digest(body), body))


def unseal(key: str, sealed: Buffer) -> Sealed | None:
    """The value of a key; `None` when the bytes are damaged, or another key's."""
    view = memoryview(sealed)
    start = len(MAGIC) + _DIGEST
    body = view[start:]
    if len(body) < _HEAD.size or view[: len(MAGIC)] != MAGIC or view[len(MAGIC) : start] != _digest(body):
        return None
    stored, length = _HEAD.unpack_from(body)
    value = _HEAD.size + length
    if body[_HEAD.size : value] != key.encode():
        return None
    return Sealed(bytes(body[value:]), stored)


def _digest(body: Buffer) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
