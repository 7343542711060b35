"""Who signed a request: AWS's signature version 4, in a header or in the query."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from zarrv3_serve.s3.errors import S3Error
from zarrv3_serve.s3.requests import Request

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = timedelta(minutes=15)
"""How far a client's clock may be from ours, as S3 has it: a request that is replayed later is refused."""
LONGEST = 7 * 24 * 3600
"""The seconds that a signed address may be good for."""

_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<credential>[^,\s]+)\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_PAYLOAD = re.compile(
    r"[0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-(UNSIGNED-PAYLOAD|AWS4-HMAC-SHA256-PAYLOAD)(-TRAILER)?"
)


class Signature(NamedTuple):
    """A signature that was checked, and what the chunks of the body are signed with."""

    key: bytes
    time: str
    scope: str
    value: str

    def sign(self, kind: str, previous: str, *digests: str) -> str:
        """The signature of a chunk or of trailers, which follow a signature."""
        return _hmac(self.key, "\n".join([kind, self.time, self.scope, previous, *digests])).hex()


class _Claim(NamedTuple):
    """What a request says about its signature."""

    credential: str
    headers: str
    signature: str
    time: str
    expires: str | None
    """For how many seconds, in an address."""
    payload: str


def is_unsigned(request: Request) -> bool:
    """Whether a request says nothing about who sends it."""
    return "authorization" not in request.headers and not any(n.startswith("X-Amz-") for n in request.query)


def verify(request: Request, keys: Mapping[str, str], now: datetime | None = None) -> Signature:
    """The signature of a request, by one of some keys and their secrets; raises `S3Error` unless it is right."""
    now = now or datetime.now(UTC)
    in_query = "X-Amz-Algorithm" in request.query
    if in_query and "authorization" in request.headers:
        raise S3Error("InvalidArgument", "only one way of signing is allowed")
    if not in_query and "authorization" not in request.headers:
        raise S3Error("AccessDenied", "this server wants requests to be signed")
    claim = _from_query(request) if in_query else _from_header(request)
    name, _, scope = claim.credential.partition("/")
    for _ in range(claim.credential.count("/") - 4):  # a name may have slashes
        part, _, scope = scope.partition("/")
        name = f"{name}/{part}"
    parts = scope.split("/")
    if len(parts) != 4 or parts[2:] != ["s3", "aws4_request"] or parts[0] != claim.time[:8] or not parts[1]:
        raise S3Error("InvalidArgument", "the scope of the signature is not DATE/REGION/s3/aws4_request")
    _check_time(claim, now)
    secret = keys.get(name)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", "this server does not know the access key")
    names = claim.headers.split(";")
    unsigned = [n for n in request.headers if n.startswith("x-amz-") and n not in names]
    if "host" not in names or unsigned:
        raise S3Error("AccessDenied", f"headers that must be signed are not: {', '.join(unsigned) or 'host'}")
    key = f"AWS4{secret}".encode()
    for part in parts:
        key = _hmac(key, part)
    digest = sha256(_canonical(request, names, claim.payload)).hexdigest()
    expected = _hmac(key, f"{ALGORITHM}\n{claim.time}\n{scope}\n{digest}").hex()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise S3Error("SignatureDoesNotMatch", "the signature is not the one that the secret key gives")
    return Signature(key, claim.time, scope, expected)


def _from_header(request: Request) -> _Claim:
    found = _HEADER.fullmatch(request.headers["authorization"].strip())
    if found is None:
        raise S3Error("InvalidArgument", f"this server takes signatures by {ALGORITHM} only")
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None or not _PAYLOAD.fullmatch(payload):
        raise S3Error("InvalidArgument", "x-amz-content-sha256 has to be a SHA-256 or one of S3's words")
    time = request.headers.get("x-amz-date")
    if time is None:
        try:
            time = parsedate_to_datetime(request.headers["date"]).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        except (KeyError, ValueError):
            raise S3Error("AccessDenied", "a signed request needs a date") from None
    return _Claim(found["credential"], found["headers"], found["signature"], time, None, payload)


def _from_query(request: Request) -> _Claim:
    query = request.query
    names = (
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-Expires",
    )
    if not all(query.get(name) for name in names) or query["X-Amz-Algorithm"] != ALGORITHM:
        raise S3Error(
            "AuthorizationQueryParametersError", f"a signed address has {', '.join(names)}, for {ALGORITHM}"
        )
    payload = query.get("X-Amz-Content-Sha256") or request.headers.get("x-amz-content-sha256") or UNSIGNED
    if not _PAYLOAD.fullmatch(payload):
        raise S3Error("InvalidArgument", "x-amz-content-sha256 has to be a SHA-256 or one of S3's words")
    _, credential, headers, signature, time, expires = (query[name] for name in names)
    return _Claim(credential, headers, signature, time, expires, payload)


def _check_time(claim: _Claim, now: datetime) -> None:
    try:
        time = datetime.strptime(claim.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise S3Error("AccessDenied", "the date of the signature is not one") from None
    text = claim.expires
    if text is None:
        if abs(now - time) > SKEW:
            raise S3Error("RequestTimeTooSkewed", "the request's time and the server's are too far apart")
        return
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= LONGEST:
        raise S3Error(
            "AuthorizationQueryParametersError", f"X-Amz-Expires is a number of seconds up to {LONGEST}"
        )
    if now < time - SKEW:
        raise S3Error("AccessDenied", "the signed address is not valid yet")
    if now > time + timedelta(seconds=int(text[:9])):
        raise S3Error("AccessDenied", "the signed address has expired")


def _canonical(request: Request, names: list[str], payload: str) -> bytes:
    """What is signed of a request."""
    pairs = sorted(
        (_quoted(name), _quoted(value)) for name, value in request.pairs if name != b"X-Amz-Signature"
    )
    lines = [
        request.method,
        quote_from_bytes(request.path, safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names),
        "",
        ";".join(names),
        payload,
    ]
    return "\n".join(lines).encode("latin-1", "backslashreplace")


def _quoted(text: bytes) -> str:
    return quote_from_bytes(text, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("latin-1", "backslashreplace"), "sha256")
