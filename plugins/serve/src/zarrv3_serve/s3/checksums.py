"""What a client says about the bytes it sends: `Content-MD5`, `x-amz-checksum-…`, `x-amz-content-sha256`."""

from __future__ import annotations

import binascii
import hashlib
import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

import anycrc

from zarrv3.store.contract import Buffer
from zarrv3_serve.s3.errors import S3Error

_CRC32C, _CRC64 = map(anycrc.Model, ("CRC32C", "CRC64-NVME"))  # type: ignore[attr-defined]  # not exported by __all__

ALGORITHMS: Mapping[str, Callable[[Buffer], bytes]] = {
    "crc32": lambda value: zlib.crc32(value).to_bytes(4, "big"),
    "crc32c": lambda value: int(_CRC32C.calc(value)).to_bytes(4, "big"),
    "crc64nvme": lambda value: int(_CRC64.calc(value)).to_bytes(8, "big"),
    "sha1": lambda value: hashlib.sha1(value, usedforsecurity=False).digest(),
    "sha256": lambda value: hashlib.sha256(value).digest(),
}
"""The checksums that S3 knows, by the ends of their headers' names."""

PREFIX = "x-amz-checksum-"
_ABOUT = {"algorithm", "mode", "type"}
"""What else begins like that, and is not a checksum."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check(value: Buffer, headers: Mapping[str, str]) -> dict[str, str]:
    """Raise unless a value is what headers and trailers say it is; returns the checksums that were sent, for the answer."""
    sent = headers.get("content-md5")
    if sent is not None and _digest(sent, 16) != hashlib.md5(value, usedforsecurity=False).digest():
        raise S3Error("BadDigest", "the body does not have the Content-MD5 that was sent with it")
    payload = headers.get("x-amz-content-sha256", "")
    if _SHA256.fullmatch(payload) and hashlib.sha256(value).hexdigest() != payload:
        raise S3Error(
            "XAmzContentSHA256Mismatch", "the body does not have the x-amz-content-sha256 sent with it"
        )
    checked = {}
    for name, text in headers.items():
        algorithm = name.removeprefix(PREFIX)
        if (
            algorithm == name or algorithm in _ABOUT or "-" in text
        ):  # that of a value in parts is one of checksums
            continue
        function = ALGORITHMS.get(algorithm)
        if function is None:
            raise S3Error("NotImplemented", f"this server does not know the checksum {algorithm!r}")
        found = function(value)
        if _digest(text, len(found)) != found:
            raise S3Error("BadDigest", f"the body does not have the {name} that was sent with it")
        checked[name] = b64encode(found).decode()
    return checked


def etag(value: Buffer) -> str:
    """The entity tag of a value: its MD5, as S3 has it for values sent at once."""
    return f'"{hashlib.md5(value, usedforsecurity=False).hexdigest()}"'


def _digest(text: str, size: int) -> bytes:
    try:
        digest = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size:
        raise S3Error("InvalidDigest", "a checksum that was sent is not one")
    return digest
