"""What a request means, and what it takes to do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer
from zarrv3.store.keys import check_key
from zarrv3_serve.s3 import objects
from zarrv3_serve.s3.checksums import check, etag
from zarrv3_serve.s3.chunks import STREAMING, Chunks
from zarrv3_serve.s3.documents import Tree, document, parsed
from zarrv3_serve.s3.errors import S3Error
from zarrv3_serve.s3.listing import OWNER, list_objects, now
from zarrv3_serve.s3.requests import Account, Receive, Request, Response, Scope, pieces
from zarrv3_serve.s3.signatures import is_unsigned, verify
from zarrv3_serve.s3.uploads import Uploads
from zarrv3_serve.workers import Workers

T = TypeVar("T")

DOCUMENT = 4 << 20
"""The bytes of a document that a client sends."""
_DRAINED = 1 << 20
"""A body up to this size is taken before a request is refused, so that the client hears why."""
_UNKNOWN = {
    *(
        "accelerate",
        "acl",
        "analytics",
        "attributes",
        "cors",
        "encryption",
        "intelligent-tiering",
        "inventory",
    ),
    *("legal-hold", "lifecycle", "logging", "metrics", "notification", "object-lock", "ownershipControls"),
    *("policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore", "retention"),
    *(
        "select",
        "tagging",
        "torrent",
        "versions",
        "website",
        "append",
        "session",
        "renameObject",
        "metadataTable",
    ),
}
"""What else S3 can be asked for by a word in the query."""


class Served(Protocol):
    """What an application shows, and how: see `s3_app`."""

    store: BaseStore
    bucket: str
    keys: Mapping[str, str] | None
    public: bool
    writable: bool
    largest: int
    patience: float
    workers: Workers
    uploads: Uploads


class Exchange:
    """One request and what it takes to answer it."""

    def __init__(self, app: Served, scope: Scope, receive: Receive, account: Account) -> None:
        self.app = app
        self.scope = scope
        self.receive = receive
        self.account = account
        self.is_taken = False

    async def answer(self) -> Response:
        """Do what is asked."""
        app = self.app
        self.request = request = Request(self.scope)
        self.signature = None
        if app.keys is not None and not (
            app.public and is_unsigned(request) and request.method in {"GET", "HEAD"}
        ):
            self.signature = verify(request, app.keys)
        if unknown := _UNKNOWN & request.query.keys():
            raise S3Error("NotImplemented", f"this server does not know {', '.join(sorted(unknown))}")
        objects.check_version(request.query.get("versionId"))
        if not request.bucket:
            if request.method in {"GET", "HEAD"}:
                return self._buckets()
            raise S3Error("MethodNotAllowed", "there are only buckets to be listed here")
        if request.bucket != app.bucket:
            raise S3Error("NoSuchBucket", f"there is no bucket {request.bucket!r}")
        operation = self._operation()
        return await operation()

    def _operation(self) -> Callable[[], Awaitable[Response]]:
        """What is to be done."""
        request = self.request
        method, query, has_key = request.method, request.query, bool(request.key)
        reading = {
            ("GET", True): self._parts if "uploadId" in query else self._get,
            ("HEAD", True): self._get,
            ("GET", False): self._bucket,
            ("HEAD", False): self._bucket,
        }
        writing = {
            ("PUT", True): self._part if "uploadId" in query else self._put,
            ("PUT", False): self._make_bucket,
            ("DELETE", True): self._abort if "uploadId" in query else self._delete,
            ("POST", True): self._begin if "uploads" in query else self._complete,
            ("POST", False): self._delete_many,
        }
        if (method, has_key) in reading:
            return reading[method, has_key]
        if (method, has_key) not in writing:
            raise S3Error("MethodNotAllowed", f"{method} is not for this address")
        if not self.app.writable:
            raise S3Error("AccessDenied", "this server is read-only")
        return writing[method, has_key]

    # ------------------------------------------------------------ reading

    async def _get(self) -> Response:
        is_signed = self.signature is not None
        get = partial(objects.get, self.app.store, self.request, self.account, is_signed=is_signed)
        return await self._call(get)

    def _buckets(self) -> Response:
        bucket: Tree = {"Name": self.app.bucket, "CreationDate": now()}
        return _document("ListAllMyBucketsResult", {"Owner": OWNER, "Buckets": {"Bucket": [bucket]}})

    async def _bucket(self) -> Response:
        query = self.request.query
        if self.request.method == "HEAD":
            return Response(headers={"x-amz-bucket-region": "us-east-1"})
        if "location" in query:
            return _document("LocationConstraint", "")
        if "versioning" in query:
            return _document("VersioningConfiguration", "")
        if "uploads" in query:
            return self._uploads()
        if query.get("list-type", "2") != "2":
            raise S3Error("InvalidArgument", "list-type is 2, or left out")
        page = await self._call(list_objects, self.app.store, self.app.bucket, query)
        return _document("ListBucketResult", page)

    # ------------------------------------------------------------ writing

    async def _put(self) -> Response:
        request, store = self.request, self.app.store
        objects.check_headers(request.headers)
        if "x-amz-copy-source" in request.headers:
            return await self._copy()

        def put(value: Buffer, headers: Mapping[str, str]) -> Response:
            checked = check(value, headers)
            objects.write(store, request.key, value, request.headers)
            return Response(headers={"ETag": etag(value), **checked})

        check_key(request.key)  # before the body is asked for
        return await self._call(put, *await self._body(self.app.largest))

    async def _copy(self) -> Response:
        tag = await self._call(objects.copy, self.app.store, self.request, self.app.bucket, self.account)
        return _document("CopyObjectResult", {"LastModified": now(), "ETag": tag})

    async def _delete(self) -> Response:
        await self._call(objects.write, self.app.store, self.request.key, None, self.request.headers)
        return Response(204)

    async def _delete_many(self) -> Response:
        if "delete" not in self.request.query:
            raise S3Error("NotImplemented", "forms are not taken")
        headers = self.request.headers
        if "content-md5" not in headers and not any(
            n.startswith("x-amz-checksum-") or n == "x-amz-trailer" for n in headers
        ):
            # what a browser would send for any page, it would send without this
            raise S3Error("InvalidRequest", "erasing needs Content-MD5 or a checksum of the request")
        body, headers = await self._body(DOCUMENT)

        def delete() -> Response:
            check(body, headers)
            return _document("DeleteResult", objects.erase_many(self.app.store, body))

        return await self._call(delete)

    async def _make_bucket(self) -> Response:
        if self.request.query:
            raise S3Error("NotImplemented", "a bucket has no settings here")
        raise S3Error("BucketAlreadyOwnedByYou", "the bucket is there, and the only one")

    # ------------------------------------------------------------ values in parts

    async def _begin(self) -> Response:
        objects.check_headers(self.request.headers)
        check_key(self.request.key)
        name = await self._call(self.app.uploads.begin, self.request.key)
        return self._here("InitiateMultipartUploadResult", {"UploadId": name})

    async def _part(self) -> Response:
        request, uploads = self.request, self.app.uploads
        key, name = request.key, request.query["uploadId"]
        number = request.query.get("partNumber", "")
        uploads.find(key, name)
        if "x-amz-copy-source" in request.headers:

            def copy() -> str:
                value, _, _ = objects.source(self.app.store, request, self.app.bucket, self.account)
                part = objects.part_of(value, request.headers.get("x-amz-copy-source-range"))
                return uploads.put(key, name, number, part)

            return _document("CopyPartResult", {"LastModified": now(), "ETag": await self._call(copy)})

        def put(value: Buffer, headers: Mapping[str, str]) -> Response:
            checked = check(value, headers)
            return Response(headers={"ETag": uploads.put(key, name, number, value), **checked})

        return await self._call(put, *await self._body(self.app.largest))

    async def _complete(self) -> Response:
        request, app = self.request, self.app
        if "uploadId" not in request.query:
            raise S3Error("NotImplemented", "forms are not taken")
        key, name = request.key, request.query["uploadId"]
        body, _ = await self._body(DOCUMENT)
        wanted = _wanted(body)
        tag = app.uploads.done.get((key, name))
        if tag is None:
            upload = app.uploads.find(key, name)
            parts = upload.chosen(wanted)
            size = sum(part.size for part in parts)
            if size > app.largest:
                raise S3Error("EntityTooLarge", f"this server takes values of at most {app.largest} bytes")
            self.account.take(size)

            def complete() -> str:
                with upload.completing:
                    if (tag := app.uploads.done.get((key, name))) is not None:  # by another request
                        return tag
                    value = upload.value(parts)
                    check(
                        value,
                        {n: text for n, text in request.headers.items() if n.startswith("x-amz-checksum-")},
                    )
                    objects.write(app.store, key, value, request.headers)
                    tag = etag(value)
                    app.uploads.finish(key, name, tag)
                    return tag

            tag = await self._call(complete)
        place = f"/{app.bucket}/{key}"
        return self._here("CompleteMultipartUploadResult", {"Location": place, "ETag": tag})

    async def _abort(self) -> Response:
        self.app.uploads.abort(self.request.key, self.request.query["uploadId"])
        return Response(204)

    async def _parts(self) -> Response:
        query = self.request.query
        upload = self.app.uploads.find(self.request.key, query["uploadId"])
        numbers = sorted(
            number for number in upload.parts if number > _number(query.get("part-number-marker", "0"))
        )
        most = min(1000, _number(query.get("max-parts", "1000")))
        parts: Tree = [
            {
                "PartNumber": n,
                "LastModified": now(),
                "ETag": upload.parts[n].etag,
                "Size": upload.parts[n].size,
            }
            for n in numbers[:most]
        ]
        page: Mapping[str, Tree | None] = {
            "UploadId": query["uploadId"],
            "IsTruncated": len(numbers) > most,
            "NextPartNumberMarker": numbers[most - 1] if len(numbers) > most > 0 else None,
            "MaxParts": most,
            "Part": parts,
        }
        return self._here("ListPartsResult", page)

    def _uploads(self) -> Response:
        prefix = self.request.query.get("prefix", "")
        running = sorted((upload.key, name) for name, upload in [*self.app.uploads.running.items()])
        uploads: Tree = [
            {"Key": key, "UploadId": name, "Initiated": now(), "StorageClass": "STANDARD"}
            for key, name in running
            if key.startswith(prefix)
        ]
        page: Tree = {
            "Bucket": self.app.bucket,
            "Prefix": prefix,
            "IsTruncated": False,
            "MaxUploads": 1000,
            "Upload": uploads if self.app.writable else [],
        }
        return _document("ListMultipartUploadsResult", page)

    # ------------------------------------------------------------ what they need

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function returns that may wait for the store: done in a thread, and to its end even if the client has gone."""
        return await self.app.workers.run(function, *arguments)

    async def _body(self, most: int) -> tuple[bytearray, dict[str, str]]:
        """The whole body, and the headers with the trailers; it is all there, or an error."""
        headers = self.request.headers
        payload = headers.get("x-amz-content-sha256", "")
        is_chunked = payload in STREAMING
        if payload.startswith("STREAMING-") and not is_chunked:
            raise S3Error("NotImplemented", f"this server does not know {payload}")
        text = headers.get("x-amz-decoded-content-length" if is_chunked else "content-length")
        if text is None and headers.get("transfer-encoding") is None:
            raise S3Error("MissingContentLength", "the length of the body has to be said")
        size = None if text is None else _number(text)
        if (size or 0) > most:
            raise S3Error("EntityTooLarge", f"this server takes at most {most} bytes here")
        chunks = Chunks(payload, self.signature) if is_chunked else None
        value = bytearray()
        self.is_taken = True
        async for data in pieces(self.receive, self.app.patience):
            self.account.take(len(data))
            value += data if chunks is None else chunks.feed(data)
            if len(value) > most:
                raise S3Error("EntityTooLarge", f"this server takes at most {most} bytes here")
        if chunks is not None:
            chunks.finish()
        if size is not None and len(value) != size:
            raise S3Error("IncompleteBody", f"the body has {len(value)} bytes, not the {size} that were said")
        trailers = chunks.trailers if chunks else {}
        for name in headers.get("x-amz-trailer", "").split(","):
            if name and name.strip().lower() not in trailers:
                raise S3Error("IncompleteBody", f"the body ended before its {name.strip()}")
        return value, {**headers, **trailers}

    async def drain(self) -> None:
        """Take the body of a request that is refused, if it is short, so that the client hears why.

        One that waits to be asked for its body hears it anyway.
        """
        headers = dict(self.scope["headers"])
        length = headers.get(b"content-length", b"0")
        if self.is_taken or b"expect" in headers or not length.isdigit() or int(length) > _DRAINED:
            return
        left = _DRAINED
        with suppress(S3Error):
            async for data in pieces(self.receive, min(5.0, self.app.patience)):
                left -= len(data)
                if left < 0:
                    return

    def _here(self, name: str, content: Mapping[str, Tree | None]) -> Response:
        """A document about the key."""
        here: dict[str, Tree | None] = {"Bucket": self.app.bucket, "Key": self.request.key}
        return _document(name, here | {**content})


def _wanted(body: Buffer) -> list[tuple[int, str]]:
    """The numbers and entity tags of the parts that a document lists."""
    parts = parsed(bytes(body), "CompleteMultipartUpload").iter("Part")
    return [
        (_number(part.findtext("PartNumber", "").strip()), part.findtext("ETag", "").strip().strip('"'))
        for part in parts
    ]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise S3Error("InvalidArgument", f"{text[:20]!r} is not a number")
    return int(text)


def _document(name: str, content: Tree) -> Response:
    return Response(body=document(name, content), headers={"Content-Type": "application/xml"})
