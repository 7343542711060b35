"""What went wrong, in S3's words."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from zarrv3.errors import InvalidKeyError, LimitError, ReadOnlyError, StoreError, UnsupportedError

_LOG = logging.getLogger("zarrv3.serve")

_STATUS = {
    "AccessDenied": 403,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BucketAlreadyOwnedByYou": 409,
    "EntityTooLarge": 400,
    "IncompleteBody": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidStorageClass": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "XAmzContentSHA256Mismatch": 400,
}


class S3Error(Exception):
    """A request that is refused, or failed: a code that clients know, and what people read."""

    def __init__(self, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = _STATUS[code]
        self.headers = headers or {}


_TOLD: Mapping[type[Exception], tuple[str, str]] = {
    InvalidKeyError: (
        "InvalidArgument",
        "no store takes such a key: an empty part, '.', '..', or characters that no key has",
    ),
    LimitError: ("EntityTooLarge", "the key or value is larger than the store can hold"),
    ReadOnlyError: ("AccessDenied", "the store is read-only"),
    UnsupportedError: ("NotImplemented", "the store cannot do this"),
}


def translated(error: Exception) -> S3Error:
    """What a client is told of an exception; what is nobody else's business goes to the log."""
    if isinstance(error, S3Error):
        return error
    for kind, told in _TOLD.items():
        if isinstance(error, kind):
            return S3Error(*told)
    if isinstance(error, StoreError) and error.retryable:
        _LOG.warning("the store is not available: %s", error)
        return S3Error("SlowDown", "the store is not available just now; try again")
    _LOG.error("a request failed", exc_info=error)
    return S3Error(
        "InternalError", "the request failed; whether it was done is unknown. The server's log says why"
    )
