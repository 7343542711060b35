"""Bodies in chunks (`aws-chunked`), signed or not, with trailers or without."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from hashlib import sha256

from zarrv3_serve.s3.errors import S3Error
from zarrv3_serve.s3.signatures import ALGORITHM, Signature

SIGNED, UNSIGNED = f"STREAMING-{ALGORITHM}-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING = {SIGNED, f"{SIGNED}-TRAILER", UNSIGNED}
"""What `x-amz-content-sha256` says of a body in chunks."""

_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_LONGEST = 1024
"""The bytes of a chunk's first line."""
_TRAILERS = 8192
_NOTHING = sha256(b"").hexdigest()


class Chunks:
    """Takes a body as it comes (`feed`) and gives what is in its chunks; `finish` says that it was all, and right.

    Args:
        payload: which kind of body it is: what `x-amz-content-sha256` says.
        signature: of the request, with which chunks are to be signed; `None` where nobody asks for signatures.
    """

    def __init__(self, payload: str, signature: Signature | None) -> None:
        self.signature = signature if payload != UNSIGNED else None
        self.previous = signature.value if signature else ""
        self.has_trailers = payload.endswith("-TRAILER")
        self.trailers: dict[str, str] = {}
        self._rest = bytearray()
        self._left = 0  # bytes of the chunk that are to come
        self._claimed = b""  # its signature
        self._digest = sha256()
        self._state: Callable[[bytearray], bool] = self._head

    def feed(self, data: bytes) -> bytes:
        """What more is in the chunks, given the next bytes of the body."""
        self._rest += data
        found = bytearray()
        while self._state(found):
            pass
        return bytes(found)

    def finish(self) -> None:
        """Raise unless the last chunk, which is empty, has come, and the trailers are right."""
        if self._state != self._end:
            raise S3Error("IncompleteBody", "the body ended before its last chunk")
        if self.has_trailers:
            self._read_trailers()
        elif self._rest.strip(b"\r\n"):
            raise S3Error("InvalidRequest", "there is more behind the last chunk")

    def _head(self, _: bytearray) -> bool:
        """The first line of a chunk: its size and signature."""
        end = self._rest.find(b"\r\n", 0, _LONGEST)
        if end < 0:
            if len(self._rest) >= _LONGEST:
                raise S3Error("InvalidRequest", "the first line of a chunk is too long")
            return False
        found = _HEAD.fullmatch(self._rest[:end])
        if found is None or (self.signature and not found[2]):
            raise S3Error("InvalidRequest", "a chunk begins with its size, and its signature if it is signed")
        del self._rest[: end + 2]
        self._left, self._claimed, self._digest = int(found[1], 16), found[2], sha256()
        if self._left == 0:
            self._check()
            self._state = self._end
            return True
        self._state = self._data
        return True

    def _data(self, found: bytearray) -> bool:
        """What is in a chunk."""
        part = self._rest[: self._left]
        del self._rest[: len(part)]
        self._left -= len(part)
        found += part
        if self.signature:
            self._digest.update(part)
        if self._left or len(self._rest) < 2:
            return False
        if self._rest[:2] != b"\r\n":
            raise S3Error("InvalidRequest", "a chunk is longer than it says")
        del self._rest[:2]
        self._check()
        self._state = self._head
        return True

    def _end(self, _: bytearray) -> bool:
        """After the last chunk, only trailers come."""
        if len(self._rest) > _TRAILERS:
            raise S3Error("InvalidRequest", "there is too much behind the last chunk")
        return False

    def _check(self) -> None:
        if self.signature:
            kind = f"{ALGORITHM}-PAYLOAD"
            self._compare(kind, self._claimed.decode(), _NOTHING, self._digest.hexdigest())

    def _compare(self, kind: str, claimed: str, *digests: str) -> None:
        assert self.signature is not None
        expected = self.signature.sign(kind, self.previous, *digests)
        if not hmac.compare_digest(expected.encode(), claimed.encode()):
            raise S3Error("SignatureDoesNotMatch", "the signature of a chunk or of the trailers is not right")
        self.previous = expected

    def _read_trailers(self) -> None:
        try:
            lines = self._rest.decode("ascii").replace("\r\n", "\n").split("\n")
        except UnicodeDecodeError:
            raise S3Error("InvalidRequest", "trailers are ASCII") from None
        for line in filter(None, lines):
            name, colon, value = line.partition(":")
            if not colon:
                raise S3Error("InvalidRequest", "a trailer is a name, a colon and a value")
            self.trailers[name.strip().lower()] = value.strip()
        claimed = self.trailers.pop("x-amz-trailer-signature", "")
        if self.signature:
            text = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            self._compare(f"{ALGORITHM}-TRAILER", claimed, sha256(text.encode()).hexdigest())
