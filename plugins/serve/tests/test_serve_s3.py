"""The S3 protocol itself: what is signed, what is refused, what is listed, and what attackers try."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

import zarrv3
from zarrv3 import BaseStore
from zarrv3.errors import (
    ConfigurationError,
    StoreAccessError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    SwapUnknownError,
)
from zarrv3.layers.counting import Counting
from zarrv3.layers.read_only import ReadOnly
from zarrv3.store.contract import Limits
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import DriverStore
from zarrv3.testing.faults import Faults
from zarrv3_serve import served
from zarrv3_serve.s3 import s3_app
from zarrv3_serve.s3.checksums import check
from zarrv3_serve.s3.chunks import SIGNED, Chunks
from zarrv3_serve.s3.errors import S3Error
from zarrv3_serve.s3.listing import list_objects
from zarrv3_serve.s3.requests import Request
from zarrv3_serve.s3.signatures import Signature, verify
from zarrv3_serve.s3.testing import server

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
KEYS = {"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
"""What Amazon's documentation signs its examples with."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an error."""
        return ET.fromstring(self.body).findtext("Code", "")


def ask(
    app: Any, method: str, path: str, body: bytes | list[bytes] = b"", *, cut: bool = False, **headers: str
) -> Answer:
    """What an application answers; `cut` ends the connection behind the body, before its end was told."""
    pieces = [body] if isinstance(body, bytes) else body
    raw, _, query = path.partition("?")
    named = {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()}
    if pieces != [b""] and b"content-length" not in named:
        named[b"content-length"] = str(len(b"".join(pieces))).encode()
    scope = {
        "type": "http",
        "method": method,
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower(), text) for name, text in {b"host": b"localhost", **named}.items()],
    }
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b""})
    waiting = iter(messages)
    sent: list[Any] = []

    async def receive() -> Any:
        return next(waiting)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    found = {name.decode(): text.decode("latin-1") for name, text in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message["body"] for message in sent[1:]))


@pytest.fixture
def store() -> BaseStore:
    """An empty store."""
    return zarrv3.MemoryStore()


@pytest.fixture
def app(store: BaseStore) -> Any:
    """An application that shows it and asks for no signature."""
    return s3_app(store, writable=True)


# ---------------------------------------------------------------- signatures


def example(method: str, path: str, **headers: str) -> Request:
    """A request of Amazon's documentation."""
    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    raw, _, query = path.partition("?")
    return Request(
        {
            "method": method,
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": named,
            "path": raw,
        }
    )


THEN = datetime(2013, 5, 24, tzinfo=UTC)
SCOPE = "20130524/us-east-1/s3/aws4_request"
CREDENTIAL = f"AKIAIOSFODNN7EXAMPLE/{SCOPE}"
EMPTY = hashlib.sha256(b"").hexdigest()


def test_amazons_examples_are_accepted() -> None:
    """The requests that Amazon's documentation signs as examples, in a header and in an address, have the right signatures."""
    verify(
        example(
            "GET",
            "/test.txt",
            host="examplebucket.s3.amazonaws.com",
            range="bytes=0-9",
            x_amz_content_sha256=EMPTY,
            x_amz_date="20130524T000000Z",
            authorization=f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        KEYS,
        THEN,
    )
    verify(
        example(
            "GET",
            f"/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(CREDENTIAL, safe='')}"
            "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
            host="examplebucket.s3.amazonaws.com",
        ),
        KEYS,
        THEN,
    )


def chunked_example(*, trailer: bool = False) -> tuple[Signature, bytes]:
    """A body in signed chunks of Amazon's documentation, and the signature that it follows."""
    key = f"AWS4{KEYS['AKIAIOSFODNN7EXAMPLE']}".encode()
    for part in SCOPE.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    plain = (
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    followed = (
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    )
    seed, *signatures = followed if trailer else plain
    body = b"".join(
        b"%x;chunk-signature=%b\r\n%b\r\n" % (size, signature.encode(), b"a" * size)
        for size, signature in zip((65536, 1024, 0), signatures, strict=True)
    )
    if trailer:
        last = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
        body = f"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{last}\r\n\r\n".join(
            [body.decode()[:-2], ""]
        ).encode()
    return Signature(key, "20130524T000000Z", SCOPE, seed), body


def test_signed_trailers() -> None:
    """Amazon's example of a body whose checksum comes behind it, signed, is read; a changed checksum or signature is refused."""
    signature, body = chunked_example(trailer=True)
    for text, is_right in ((body, True), (body.replace(b"sOO8", b"sOO9"), False), (body[:-10], False)):
        chunks = Chunks(f"{SIGNED}-TRAILER", signature)
        value = chunks.feed(text)
        if is_right:
            chunks.finish()
            assert check(value, chunks.trailers) == {"x-amz-checksum-crc32c": "sOO8/Q=="}
        else:
            with pytest.raises(S3Error, match="signature"):
                chunks.finish()


@pytest.mark.parametrize("piece", [1000, 65537, 1 << 20])
def test_a_body_in_signed_chunks(piece: int) -> None:
    """Amazon's example of a body in signed chunks is read, however it is cut on its way."""
    signature, body = chunked_example()
    chunks = Chunks(SIGNED, signature)
    found = b"".join(chunks.feed(body[at : at + piece]) for at in range(0, len(body), piece))
    chunks.finish()
    assert found == b"a" * 66560


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: body.replace(b"\r\na", b"\r\nb", 1), "SignatureDoesNotMatch"),
        (lambda body: body.replace(b"0055", b"0056"), "SignatureDoesNotMatch"),
        (lambda body: body.replace(b";chunk-signature", b";signature", 1), "InvalidRequest"),
        (lambda body: body.replace(b"10000;", b"10001;", 1), "InvalidRequest"),
        (lambda body: body.replace(b"10000;", b"fffffffffffffff;", 1), "IncompleteBody"),
        (lambda body: body[: body.index(b"400;")], "IncompleteBody"),
        (lambda body: body[: body.index(b"0;chunk-signature=b6c6")], "IncompleteBody"),
        (lambda body: body + b"more", "InvalidRequest"),
        (lambda body: b"1" * 2000 + body, "InvalidRequest"),
    ],
)
def test_a_changed_chunk_is_refused(change: Any, code: str) -> None:
    """A body in chunks that was changed, cut or continued on its way is refused."""
    signature, body = chunked_example()
    chunks = Chunks(SIGNED, signature)
    with pytest.raises(S3Error) as error:  # noqa: PT012 - whichever says it
        chunks.feed(change(body))
        chunks.finish()
    assert error.value.code == code


def signed(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    at: datetime | None = None,
    secret: str = "secret",
    **headers: str,
) -> dict[str, str]:
    """The headers of a request that botocore has signed, at some time."""
    request = AWSRequest(
        method, f"http://localhost{path}", {n.replace("_", "-"): t for n, t in headers.items()}, body
    )
    auth = S3SigV4Auth(Credentials("key", secret), "s3", "us-east-1")
    if at is None:
        auth.add_auth(request)
    else:
        before = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *_: at.replace(tzinfo=None)
        try:
            auth.add_auth(request)
        finally:
            botocore.auth.get_current_datetime = before
    return {name.lower(): text for name, text in request.headers.items()}


@pytest.fixture
def locked(store: BaseStore) -> Any:
    """An application that asks for signatures."""
    return s3_app(store, keys={"key": "secret"}, writable=True)


def test_requests_have_to_be_signed(locked: Any, store: BaseStore) -> None:
    """A request that botocore signed is answered; one without a signature, or with another secret, key or scope, is refused."""
    store["k"] = b"value"
    headers = signed("GET", "/zarr/k")
    assert ask(locked, "GET", "/zarr/k", **headers).body == b"value"
    assert ask(locked, "GET", "/zarr/k").code == "AccessDenied"
    assert (
        ask(locked, "GET", "/zarr/k", **signed("GET", "/zarr/k", secret="other")).code
        == "SignatureDoesNotMatch"
    )
    text = headers["authorization"]
    for changed, code in (
        (text.replace("Credential=key/", "Credential=other/"), "InvalidAccessKeyId"),
        (text.replace("/s3/", "/sts/"), "InvalidArgument"),
        (text.replace("us-east-1", "eu-west-1"), "SignatureDoesNotMatch"),
        (text[:-1] + ("0" if text[-1] != "0" else "1"), "SignatureDoesNotMatch"),
        (text.replace("x-amz-date", "accept"), "AccessDenied"),
        (text.replace("host;", ""), "AccessDenied"),
        ("AWS key:signature", "InvalidArgument"),
        ("Bearer secret", "InvalidArgument"),
    ):
        assert ask(locked, "GET", "/zarr/k", **{**headers, "authorization": changed}).code == code, changed
    assert ask(locked, "GET", "/zarr/l", **headers).code == "SignatureDoesNotMatch"
    assert ask(locked, "GET", "/zarr/k?partNumber=1", **headers).code == "SignatureDoesNotMatch"
    assert ask(locked, "PUT", "/zarr/k", b"x", **headers).code == "SignatureDoesNotMatch"
    assert ask(locked, "GET", "/zarr/k", **headers, x_amz_more="1").code == "AccessDenied"
    assert store["k"] == b"value"


def test_old_requests_are_refused(locked: Any) -> None:
    """A request that was signed more than a quarter of an hour ago, or ahead, is refused, as is one whose body is another."""
    now = datetime.now(UTC)
    for minutes in (-16, 16):
        headers = signed("PUT", "/zarr/k", b"x", at=now + timedelta(minutes=minutes))
        assert ask(locked, "PUT", "/zarr/k", b"x", **headers).code == "RequestTimeTooSkewed"
    headers = signed("PUT", "/zarr/k", b"x", at=now - timedelta(minutes=14))
    assert ask(locked, "PUT", "/zarr/k", b"y", **headers).code == "XAmzContentSHA256Mismatch"
    assert ask(locked, "PUT", "/zarr/k", b"x", **headers).status == 200


def test_signed_addresses(locked: Any, store: BaseStore) -> None:
    """An address that botocore signed is good for its time and for nothing else."""
    store["a b"] = b"value"
    request = AWSRequest("GET", "http://localhost/zarr/a%20b")
    S3SigV4QueryAuth(Credentials("key", "secret"), "s3", "us-east-1", expires=60).add_auth(request)
    path = request.url.removeprefix("http://localhost")
    assert ask(locked, "GET", path).body == b"value"
    assert ask(locked, "GET", path.replace("Expires=60", "Expires=6000")).code == "SignatureDoesNotMatch"
    assert (
        ask(locked, "GET", path.replace("Expires=60", "Expires=6000000")).code
        == "AuthorizationQueryParametersError"
    )
    assert ask(locked, "DELETE", path).code == "SignatureDoesNotMatch"
    raw, _, query = path.partition("?")
    scope = {
        "method": "GET",
        "path": "",
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
    }
    for seconds, message in ((62, "expired"), (-1000, "not valid yet")):
        with pytest.raises(S3Error, match=message):
            verify(Request(scope), {"key": "secret"}, datetime.now(UTC) + timedelta(seconds=seconds))


def test_public_reading(store: BaseStore) -> None:
    """Where reading is public, only writing needs a signature."""
    app = s3_app(store, keys={"key": "secret"}, public=True, writable=True)
    store["k"] = b"value"
    assert ask(app, "GET", "/zarr/k").body == b"value"
    assert ask(app, "PUT", "/zarr/k", b"x").code == "AccessDenied"
    assert ask(app, "GET", "/zarr/k", **signed("GET", "/zarr/k", secret="x")).code == "SignatureDoesNotMatch"


# ---------------------------------------------------------------- bodies


def test_checksums(app: Any, store: BaseStore) -> None:
    """A body that is not what Content-MD5 or a checksum says is not written; CRC-64 and CRC-32C are known without Amazon's library."""
    right = {
        "content-md5": base64.b64encode(hashlib.md5(b"123456789").digest()).decode(),
        "x-amz-checksum-crc32": "y/Q5Jg==",
        "x-amz-checksum-crc32c": "4waSgw==",
        "x-amz-checksum-crc64nvme": "rosUhgp5mIg=",
        "x-amz-checksum-sha1": base64.b64encode(hashlib.sha1(b"123456789").digest()).decode(),
    }
    for name, text in right.items():
        assert ask(app, "PUT", "/zarr/k", b"123456789", **{name: text}).status == 200
        assert ask(app, "PUT", "/zarr/l", b"12345678", **{name: text}).code == "BadDigest"
        assert ask(app, "PUT", "/zarr/l", b"123456789", **{name: "x" + text}).code == "InvalidDigest"
    assert ask(app, "PUT", "/zarr/l", b"1", x_amz_checksum_md4="MQ==").code == "NotImplemented"
    assert store.list() == ["k"]


def test_trailers(app: Any, store: BaseStore) -> None:
    """A body in unsigned chunks ends with its checksum, which is compared."""
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": "9",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "content-encoding": "aws-chunked",
    }
    body = b"4\r\n1234\r\n5\r\n56789\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n"
    assert ask(app, "PUT", "/zarr/k", body % b"y/Q5Jg==", **headers).status == 200
    assert store["k"] == b"123456789"
    assert ask(app, "PUT", "/zarr/l", body % b"4waSgw==", **headers).code == "BadDigest"
    assert ask(app, "PUT", "/zarr/l", b"9\r\n123456789\r\n0\r\n\r\n", **headers).code == "IncompleteBody"
    short = {**headers, "x-amz-decoded-content-length": "10"}
    assert ask(app, "PUT", "/zarr/l", body % b"y/Q5Jg==", **short).code == "IncompleteBody"
    assert store.list() == ["k"]


def test_a_cut_upload_writes_nothing(app: Any, store: BaseStore) -> None:
    """Of a body whose connection ends before it does, or that is shorter than it said, nothing is written."""
    assert ask(app, "PUT", "/zarr/k", [b"123", b"456"], cut=True).code == "IncompleteBody"
    assert ask(app, "PUT", "/zarr/k", b"123", content_length="4").code == "IncompleteBody"
    assert ask(app, "PUT", "/zarr/k").code == "MissingContentLength"
    assert store.list() == []


def test_limits(store: BaseStore) -> None:
    """What is larger than the server or the store takes is refused, also if its length was not said; so is too much at once."""
    app = s3_app(store, writable=True, largest=10)
    assert ask(app, "PUT", "/zarr/k", bytes(11)).code == "EntityTooLarge"
    assert ask(app, "PUT", "/zarr/k", bytes(11), content_length="10").code == "EntityTooLarge"
    assert ask(app, "PUT", "/zarr/k", bytes(10)).status == 200
    busy = s3_app(store, requests=1)
    busy._running = 1
    answer = ask(busy, "GET", "/zarr/k")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "SlowDown", "1")
    full = s3_app(store, memory=100, writable=True)
    with full.budget.account() as account:
        account.take(95)
        assert ask(full, "PUT", "/zarr/l", bytes(10)).code == "SlowDown"
        assert ask(full, "GET", "/zarr/k").code == "SlowDown"
    assert ask(full, "GET", "/zarr/k").body == bytes(10)
    assert full.budget.held == 0


def test_parts_on_the_disk_are_limited(store: BaseStore) -> None:
    """Parts that wait take no more of the disk than allowed, uploads are not begun without end, and what is aborted counts no more."""
    app = s3_app(store, writable=True, spool=10)
    name = ET.fromstring(ask(app, "POST", "/zarr/k?uploads").body).findtext(f"{NS}UploadId", "")
    assert ask(app, "PUT", f"/zarr/k?partNumber=1&uploadId={name}", bytes(8)).status == 200
    assert ask(app, "PUT", f"/zarr/k?partNumber=2&uploadId={name}", bytes(3)).code == "SlowDown"
    assert ask(app, "PUT", f"/zarr/k?partNumber=0&uploadId={name}", bytes(1)).code == "InvalidArgument"
    assert ask(app, "PUT", f"/zarr/l?partNumber=1&uploadId={name}", bytes(1)).code == "NoSuchUpload"
    for _ in range(99):
        assert ask(app, "POST", "/zarr/k?uploads").status == 200
    assert ask(app, "POST", "/zarr/k?uploads").code == "SlowDown"
    assert ask(app, "DELETE", f"/zarr/k?uploadId={name}").status == 204
    assert ask(app, "POST", "/zarr/k?uploads").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Other/>",
        b"<Delete/>",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        b'<!DOCTYPE d [<!ENTITY a "k"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>',
        b"<Delete><Object><Key>&k;</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="none"?><Delete><Object><Key>k</Key></Object></Delete>',
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
    ],
)
def test_hostile_documents(app: Any, store: BaseStore, body: bytes) -> None:
    """A document with a DTD, entities or anything else that is not plain XML erases nothing."""
    store["k"] = b"value"
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    assert (
        ask(app, "POST", "/zarr?delete", body, content_md5=digest, content_length=str(len(body))).code
        == "MalformedXML"
    )
    assert ask(app, "POST", "/zarr?delete", body, content_length=str(len(body))).code == "InvalidRequest"
    assert store.list() == ["k"]


# ---------------------------------------------------------------- what is not done


@pytest.mark.parametrize(
    "path",
    [
        "/zarr/../secret",
        "/zarr/%2e%2e/secret",
        "/zarr/a/%2E%2E/%2e%2e/secret",
        "/zarr//etc/passwd",
        "/zarr/%2fetc%2fpasswd",
        "/zarr/a//b",
        "/zarr/a/",
        "/zarr/./a",
        "/zarr/a%00b",
        "/zarr/%ff",
    ],
)
def test_no_way_out_of_the_store(path: str, tmp_path: Path) -> None:
    """A key that no store allows is refused, for reading, writing, copying and erasing: no other place is ever touched."""
    (tmp_path / "secret").write_text("secret")
    app = s3_app(zarrv3.open_store(f"file://{tmp_path}/store"), writable=True)
    assert ask(app, "PUT", "/zarr/a", b"x").status == 200
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = ask(app, method, path, b"x" if method == "PUT" else b"")
        assert answer.status == 400, answer
    source = path.removeprefix("/zarr/")
    assert ask(app, "PUT", "/zarr/b", x_amz_copy_source=f"/zarr/{source}").status == 400
    assert ask(app, "POST", f"{path}?uploads").status == 400
    listed = ask(app, "GET", f"/zarr?prefix={source}&list-type=2")
    assert b"<Key>" not in listed.body
    assert [*map(str, (tmp_path / "store").iterdir())] == [f"{tmp_path}/store/a"]
    assert (tmp_path / "secret").read_text() == "secret"


def test_what_is_not_done_is_refused(app: Any, store: BaseStore) -> None:
    """What would be forgotten is refused by name: versions, tags, encodings, encryption, other buckets, conditions by date."""
    store["k"] = b"value"
    for method, path, headers, code in (
        ("GET", "/zarr/k?versionId=1", {}, "NotImplemented"),
        ("GET", "/zarr/k?acl", {}, "NotImplemented"),
        ("GET", "/zarr/k?response-content-type=text/html", {}, "InvalidRequest"),
        ("PUT", "/zarr/k?tagging", {}, "NotImplemented"),
        ("GET", "/zarr?policy", {}, "NotImplemented"),
        ("GET", "/other/k", {}, "NoSuchBucket"),
        ("PUT", "/zarr", {}, "BucketAlreadyOwnedByYou"),
        ("DELETE", "/zarr", {}, "MethodNotAllowed"),
        ("PATCH", "/zarr/k", {}, "MethodNotAllowed"),
        ("POST", "/zarr", {}, "NotImplemented"),
        ("PUT", "/zarr/k", {"x-amz-server-side-encryption": "AES256"}, "NotImplemented"),
        ("PUT", "/zarr/k", {"content-encoding": "gzip"}, "NotImplemented"),
        ("PUT", "/zarr/k", {"x-amz-storage-class": "GLACIER"}, "InvalidStorageClass"),
        ("PUT", "/zarr/k", {"if-none-match": '"x"'}, "NotImplemented"),
        ("PUT", "/zarr/k", {"if-match": '"x"', "if-none-match": "*"}, "NotImplemented"),
        ("GET", "/zarr/k", {"if-unmodified-since": "Fri, 27 Nov 2026 18:00:00 GMT"}, "NotImplemented"),
        ("GET", "/zarr/k", {"range": "bytes=5-"}, "InvalidRange"),
        ("GET", "/zarr?max-keys=x", {}, "InvalidArgument"),
        ("GET", "/zarr?max-keys=-1", {}, "InvalidArgument"),
        ("GET", "/zarr?list-type=2&continuation-token=%C3%BC", {}, "InvalidArgument"),
    ):
        assert ask(app, method, path, b"x" if method == "PUT" else b"", **headers).code == code, path
    assert ask(s3_app(store), "PUT", "/zarr/k", b"x").code == "AccessDenied"
    assert ask(s3_app(store), "DELETE", "/zarr/k").code == "AccessDenied"
    assert dict(store) == {"k": b"value"}
    for options in ({"bucket": "a/b"}, {"keys": {}}, {"keys": {"key": ""}}):
        with pytest.raises(ConfigurationError):
            s3_app(store, **options)


def test_stores_that_cannot(store: BaseStore) -> None:
    """A store that cannot swap writes without a condition only, and one that is read-only or cannot list says so."""
    driver = MemoryDriver({})
    driver.capabilities = MemoryDriver.capabilities.without("swap", "swap_erases", "list")
    app = s3_app(DriverStore(driver), writable=True)
    assert ask(app, "PUT", "/zarr/k", b"1", if_none_match="*").code == "NotImplemented"
    assert ask(app, "PUT", "/zarr/k", b"1").status == 200
    tag = ask(app, "HEAD", "/zarr/k").headers["etag"]
    assert ask(app, "PUT", "/zarr/k", b"2", if_match=tag).code == "NotImplemented"
    assert ask(app, "DELETE", "/zarr/k", if_match=tag).code == "NotImplemented"
    assert ask(app, "GET", "/zarr").code == "NotImplemented"
    assert driver.mapping == {"k": b"1"}
    assert ask(s3_app(ReadOnly(store), writable=True), "PUT", "/zarr/k", b"x").code == "AccessDenied"
    driver.capabilities = replace(MemoryDriver.capabilities, limits=Limits(key_bytes=5, value_bytes=10))
    assert ask(app, "PUT", "/zarr/k/long", b"1").code == "KeyTooLongError"
    assert ask(app, "PUT", "/zarr/k", bytes(11)).code == "EntityTooLarge"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailableError, "SlowDown"),
        (StoreTimeoutError, "SlowDown"),
        (StoreAccessError, "InternalError"),
        (SwapUnknownError, "InternalError"),
    ],
)
def test_stores_that_fail(store: BaseStore, error: type[StoreError], code: str, caplog: Any) -> None:
    """A failure that may pass asks clients to come again; of any other the server's log has the reason, and no client."""
    faults = Faults(store)
    app = s3_app(faults, writable=True)
    for method, path, call in (("PUT", "/zarr/k", "write_many"), ("GET", "/zarr/k", "get_many")):
        faults.fail_next(call, error=error)
        answer = ask(app, method, path, b"x" if method == "PUT" else b"")
        assert answer.code == code
        assert b"Faults" not in answer.body
    assert len(caplog.records) == 2


def test_ranges(app: Any, store: BaseStore) -> None:
    """A range is what Python's slice would be; one that S3 would not understand gives the whole, as does an old If-Range."""
    value = bytes(range(10))
    store["k"] = value
    tag = ask(app, "HEAD", "/zarr/k").headers["etag"]
    for text, part in (
        ("0-0", value[:1]),
        ("3-", value[3:]),
        ("-3", value[-3:]),
        ("-30", value),
        ("8-99", value[8:]),
    ):
        answer = ask(app, "GET", "/zarr/k", range=f"bytes={text}")
        assert (answer.status, answer.body, answer.headers["etag"]) == (206, part, tag), text
    for text in ("bytes=5-3", "bytes=1-2,4-5", "rows=1-2", "bytes=a-b"):
        assert ask(app, "GET", "/zarr/k", range=text).body == value
    assert ask(app, "GET", "/zarr/k", range="bytes=1-2", if_range=tag).body == value[1:3]
    assert ask(app, "GET", "/zarr/k", range="bytes=1-2", if_range='"x"').body == value
    assert ask(app, "GET", "/zarr/k", range="bytes=1-2", if_match='"x"').code == "PreconditionFailed"
    head = ask(app, "HEAD", "/zarr/k")
    assert (head.body, head.headers["content-length"]) == (b"", "10")
    store["empty"] = b""
    assert ask(app, "GET", "/zarr/empty", range="bytes=-1").headers["content-range"] == "bytes */0"


def test_copying_to_its_own_place_changes_nothing(app: Any, store: BaseStore) -> None:
    """A value that is copied onto itself is left alone: what was written since it was read would be lost."""
    store["k"] = b"value"
    counting = Counting(store)
    assert ask(s3_app(counting, writable=True), "PUT", "/zarr/k", x_amz_copy_source="/zarr/k").status == 200
    assert counting.bytes_written == 0
    assert ask(app, "PUT", "/zarr/l", x_amz_copy_source="zarr/k").status == 200
    assert ask(app, "PUT", "/zarr/l", x_amz_copy_source="other/k").code == "NoSuchBucket"
    assert ask(app, "PUT", "/zarr/l", x_amz_copy_source="zarr/none").code == "NoSuchKey"
    assert (
        ask(app, "PUT", "/zarr/l", x_amz_copy_source="zarr/k", x_amz_copy_source_if_match='"x"').code
        == "PreconditionFailed"
    )
    assert dict(store) == {"k": b"value", "l": b"value"}


# ---------------------------------------------------------------- listing

names = st.lists(st.sampled_from(["a", "b", "a-", "a.", "é", "c0"]), min_size=1, max_size=3).map("/".join)


@given(
    keys=st.sets(names, max_size=12),
    prefix=st.one_of(st.just(""), names, names.map("{}/".format)),
    delimiter=st.sampled_from(["", "/", "-", "b"]),
    most=st.integers(1, 5),
    second=st.booleans(),
    start=st.one_of(st.just(""), names),
)
def test_pages_are_the_sorted_keys(
    keys: set[str], prefix: str, delimiter: str, most: int, second: bool, start: str
) -> None:
    """Page after page, a listing is what sorting all keys and cutting them at the delimiter gives."""
    store = zarrv3.MemoryStore(dict.fromkeys(keys, b"12"))
    rolled = {}
    for key in keys:
        if key.startswith(prefix) and key > start:
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            rolled[key if end < 0 else key[: end + len(delimiter)]] = end < 0
    rolled.pop(start, None)
    query = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(most)}
    query |= {"list-type": "2", "start-after": start} if second else {"marker": start}
    found: list[tuple[str, bool]] = []
    while True:
        page: Any = list_objects(store, "zarr", query)
        entries = [(item["Key"], True) for item in page["Contents"]]
        entries += [(item["Prefix"], False) for item in page["CommonPrefixes"]]
        assert len(entries) <= most
        found += sorted(entries)
        if not page["IsTruncated"]:
            break
        query["continuation-token" if second else "marker"] = page[
            "NextContinuationToken" if second else "NextMarker"
        ]
    assert found == sorted(rolled.items())


def test_names_that_xml_cannot_hold(app: Any, store: BaseStore) -> None:
    """With `encoding-type=url` every name can be listed; a page has at most a thousand names, whatever is asked for."""
    odd = "a/\x01 &<>\r\n+ü"
    store.update({odd: b"", **{f"k/{number}": b"" for number in range(1100)}})
    page = ET.fromstring(ask(app, "GET", "/zarr?encoding-type=url&max-keys=99999999999999999999").body)
    keys = [each.text or "" for each in page.iter(f"{NS}Key")]
    assert keys[0] == quote(odd)
    assert len(keys) == 1000
    assert page.findtext(f"{NS}MaxKeys") == "1000"
    assert ask(app, "GET", "/zarr?max-keys=0").body.count(b"<Key>") == 0


# ---------------------------------------------------------------- over real connections


def test_beside_plain_http(store: BaseStore) -> None:
    """A server that speaks S3 asks for signatures by its token where plain HTTP would ask for the token itself."""
    store["k"] = b"value"
    with served(store, s3=True, write=True, token="secret") as url:
        place = urlsplit(url).netloc
        for keys, status in ((Credentials("zarrv3", "secret"), 200), (Credentials("zarrv3", "other"), 403)):
            request = AWSRequest("GET", f"{url}/zarr/k")
            S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
            client = http.client.HTTPConnection(place, timeout=30)
            client.request("GET", "/zarr/k", headers=dict(request.headers.items()))
            assert client.getresponse().status == status
            client.close()
        client = http.client.HTTPConnection(place, timeout=30)
        client.request("PUT", "/zarr/k", b"x", {"Authorization": "Bearer secret"})
        assert client.getresponse().status == 400
        client.close()
    assert store["k"] == b"value"


def test_a_killed_server(tmp_path: Path) -> None:
    """What a server has acknowledged before it was killed is in the store, and nothing is there in part."""
    place = f"sqlite:///{tmp_path}/killed.db"
    acknowledged: list[str] = []
    begun = threading.Event()

    def write(address: str) -> None:
        client = http.client.HTTPConnection(address, timeout=30)
        with suppress(OSError, http.client.HTTPException):
            for number in range(100_000):
                client.request("PUT", f"/zarr/{number}", str(number).encode() * 1000)
                answer = client.getresponse()
                assert (answer.status, answer.read()) == (200, b"")
                acknowledged.append(str(number))
                if number == 20:
                    begun.set()
        client.close()

    with server(place, writable=True) as url:
        writer = threading.Thread(target=write, args=(urlsplit(url).netloc,))
        writer.start()
        assert begun.wait(60)
    writer.join()
    with zarrv3.open_store(place) as store:
        found = dict(store)
    assert found.keys() >= {*acknowledged}
    assert all(value == key.encode() * 1000 for key, value in found.items())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with little patience, and memory for one large value."""
    folder = tmp_path_factory.mktemp("patience")
    (folder / "large").write_bytes(bytes(1 << 25))
    with server(f"file://{folder}", writable=True, patience=0.5, memory=40 << 20) as url:
        yield urlsplit(url).netloc


def talk(address: str, text: bytes) -> bytes:
    """What a server says to some bytes, until it ends the connection."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(text)
        found = b""
        while data := connection.recv(65536):
            found += data
    return found


def test_slow_and_cut_bodies(address: str) -> None:
    """A body that stops coming ends in an error after the server's patience; one whose connection breaks is not written."""
    host, _, port = address.partition(":")
    head = b"PUT /zarr/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
    assert b"RequestTimeout" in talk(address, head + b"some")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + b"some")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            head.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked") + b"5\r\nsomet\r\n"
        )
    time.sleep(0.1)
    client = http.client.HTTPConnection(address, timeout=30)
    client.request("GET", "/zarr?list-type=2&prefix=slow")
    assert b"<Key>" not in client.getresponse().read()
    client.close()


def test_a_client_that_does_not_read(address: str) -> None:
    """A client that takes nothing of its answer loses its connection, and its value's place in memory, after the server's patience."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET /zarr/large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        while not is_answered(address, "/zarr/large"):  # as long as the value is kept for the other one
            time.sleep(0.05)
        taken = 0
        with suppress(ConnectionResetError):
            while data := connection.recv(1 << 20):
                taken += len(data)
    assert taken < 1 << 25


def is_answered(address: str, path: str) -> bool:
    """Whether a server has time and memory for a value."""
    client = http.client.HTTPConnection(address, timeout=60)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status == 200 and len(answer.read()) > 0
    except http.client.IncompleteRead:  # we were too slow
        return True
    finally:
        client.close()
