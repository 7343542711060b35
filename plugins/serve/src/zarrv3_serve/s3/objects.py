"""Reading, writing, copying and erasing values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import unquote

from zarrv3.errors import ZarrError
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import Buffer, ByteRange, Version
from zarrv3.store.contract import Request as Wanted
from zarrv3.store.keys import check_key
from zarrv3_serve.s3.checksums import etag
from zarrv3_serve.s3.documents import Tree, parsed
from zarrv3_serve.s3.errors import S3Error, translated
from zarrv3_serve.s3.requests import Account, Request, Response

SMALL = 4 << 20
"""Values below this size are read without asking for their size."""
KEYS = 1000
"""How many keys are erased by one request."""
_RANGE = re.compile(r"bytes=(?:(\d{1,20})-(\d{1,20})?|-(\d{1,20}))")
_LOST = (
    "x-amz-server-side-encryption",
    "x-amz-object-lock",
    "x-amz-website-redirect",
    "x-amz-write-offset",
    "x-amz-tagging",
    "x-amz-grant",
)
"""How headers begin that ask for something which would be left undone."""


def checked(store: BaseStore, key: str) -> str:
    """A key, if the store may be asked for it."""
    check_key(key)
    most = store.capabilities.limits.key_bytes
    if most is not None and len(key.encode()) > most:
        raise S3Error("KeyTooLongError", f"the store holds keys of at most {most} bytes")
    return key


def read(store: BaseStore, key: str, account: Account) -> tuple[Buffer, str]:
    """A value and its entity tag; both of one version, whatever others write meanwhile, and so of the whole value.

    Where that costs no more, it is known beforehand whether there is memory for it.
    """
    wanted = Wanted(checked(store, key))
    size = 0
    value: Buffer | None = None
    if store.capabilities.native_ranges:
        [value] = store.get_many([wanted._replace(range=ByteRange(0, SMALL))])
        if value is not None and len(value) == SMALL:
            size = store.stat_many([key])[0] or 0
            account.take(size)
    if size or not store.capabilities.native_ranges:
        [value] = store.get_many([wanted])
    if value is None:
        raise S3Error("NoSuchKey", f"there is no {key!r}")
    account.take(max(0, len(value) - size))
    return value, etag(value)


def get(store: BaseStore, request: Request, account: Account, *, is_signed: bool) -> Response:
    """A value, or a range of it, unless a condition says otherwise; who signs may choose headers of the answer, as with S3."""
    asked = request.headers
    if request.query.get("partNumber", "1") != "1":
        raise S3Error("NotImplemented", "values have no parts once they are complete")
    headers_of_address = _overridden(request.query, is_signed=is_signed)
    value, tag = read(store, request.key, account)
    headers = {
        "ETag": tag,
        "Last-Modified": formatdate(usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": "application/json" if request.key.endswith(".json") else "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        **headers_of_address,
    }
    if not _matches(asked.get("if-match", "*"), tag):
        raise S3Error("PreconditionFailed", "the value has another entity tag", {"ETag": tag})
    if _matches(asked.get("if-none-match", ""), tag):
        return Response(304, b"", headers)
    if "if-unmodified-since" in asked and "if-match" not in asked:
        raise S3Error("NotImplemented", "the store does not know when values were written; use If-Match")
    view, size, status = memoryview(value), len(value), 200
    part = _range(asked.get("range", ""), size) if _matches(asked.get("if-range", "*"), tag) else None
    if part is not None:
        start, stop = part
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        view, status = view[start:stop], 206
    return Response(status, b"" if request.method == "HEAD" else view, headers, len(view))


def _overridden(query: Mapping[str, str], *, is_signed: bool) -> dict[str, str]:
    """The headers that the address of a value chooses for the answer."""
    headers = {
        name.removeprefix("response-"): text for name, text in query.items() if name.startswith("response-")
    }
    if headers and not is_signed:
        raise S3Error("InvalidRequest", "headers of the answer are for signed requests to choose")
    if not all(text.isprintable() and text.isascii() for text in headers.values()):
        raise S3Error("InvalidArgument", "a header of the answer is printable ASCII")
    known = ("cache-control", "content-disposition", "content-language", "content-type", "expires")
    return {name.title(): text for name, text in headers.items() if name in known}


def _range(text: str, size: int) -> tuple[int, int] | None:
    """The range that a header asks for, of a value of some size; `None` for the whole: also where S3 would not understand."""
    found = _RANGE.fullmatch(text.strip().replace(" ", ""))
    if found is None:
        return None
    first, last, end = found.groups()
    if end is None:
        start, stop = int(first), size if last is None else min(size, int(last) + 1)
        if last is not None and int(last) < start:
            return None
    else:
        start, stop = max(0, size - int(end)), size
    if start >= stop:
        raise S3Error("InvalidRange", "the value ends before the range", {"Content-Range": f"bytes */{size}"})
    return start, stop


def _matches(tags: str, tag: str) -> bool:
    """Whether an entity tag is among those of a header."""
    return any(
        each.strip().removeprefix("W/").strip('"') in {"*", tag.strip('"')} for each in tags.split(",")
    )


def check_version(version: str | None) -> None:
    """Raise `S3Error` where an older value is asked for."""
    if version not in {None, "", "null"}:
        raise S3Error("NotImplemented", "values have no versions here")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `S3Error` where a value is to be kept in a way that it would not be."""
    for name in headers:
        if name.startswith(_LOST):
            raise S3Error("NotImplemented", f"this server does nothing about {name}")
    coding = {part.strip() for part in headers.get("content-encoding", "").split(",")}
    if coding - {"", "aws-chunked", "identity"}:
        raise S3Error("NotImplemented", "a store keeps bytes, not their Content-Encoding")
    if headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise S3Error("InvalidStorageClass", "there is one storage class, STANDARD")


def write(store: BaseStore, key: str, new: Buffer | None, headers: Mapping[str, str]) -> None:
    """Write a value, or erase it (`None`); on the condition that headers name, if any."""
    checked(store, key)
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is None and none_match is None:
        store.write_many({key: new})
    else:
        if match is not None and none_match is not None:
            raise S3Error("NotImplemented", "a write has one condition")
        if not store.capabilities.swap:
            raise S3Error("NotImplemented", "the store cannot write on a condition: it has no swap")
        if none_match not in {None, "*"} or match == "*":
            raise S3Error("NotImplemented", "writes know If-None-Match: * and If-Match with an entity tag")
        version = None if match is None else _version(store, key, match, erases=new is None)
        if store.swap_many({key: (version, new)}):
            raise S3Error("PreconditionFailed", f"{key!r} has been written meanwhile, or was there")
    settle(store)


def settle(store: BaseStore) -> None:
    """Return when what was written would survive the end of this process: what is acknowledged is there."""
    can = store.capabilities
    if can.persistent and not can.durable:
        store.flush()


def _version(store: BaseStore, key: str, tags: str, *, erases: bool) -> Version:
    """The version of a value that has one of some entity tags."""
    [(old, version)] = store.get_versioned([key])
    if old is None and not erases:
        raise S3Error("NoSuchKey", f"there is no {key!r}")
    if old is None or not _matches(tags, etag(old)):
        raise S3Error("PreconditionFailed", f"{key!r} has another entity tag")
    return version


def source(store: BaseStore, request: Request, bucket: str, account: Account) -> tuple[Buffer, str, str]:
    """What is to be copied: its key, value and entity tag, if the conditions for it hold."""
    headers = request.headers
    encoded, _, version = headers["x-amz-copy-source"].partition("?versionId=")
    check_version(version)
    try:
        place = unquote(encoded, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise S3Error("InvalidArgument", "x-amz-copy-source is not UTF-8") from None
    found, _, key = place.partition("/")
    if found != bucket:
        raise S3Error("NoSuchBucket", f"there is no bucket {found!r}")
    value, tag = read(store, key, account)
    match, none_match = (headers.get(f"x-amz-copy-source-if-{kind}") for kind in ("match", "none-match"))
    if (match is not None and not _matches(match, tag)) or (
        none_match is not None and _matches(none_match, tag)
    ):
        raise S3Error("PreconditionFailed", "the value to copy is not the one that the condition names")
    if any(f"x-amz-copy-source-if-{kind}-since" in headers for kind in ("modified", "unmodified")):
        raise S3Error("NotImplemented", "the store does not know when values were written")
    return value, tag, key


def copy(store: BaseStore, request: Request, bucket: str, account: Account) -> str:
    """Copy a value; returns its entity tag. One that is copied to its own place is left alone: others may be writing it."""
    value, tag, key = source(store, request, bucket, account)
    if key != request.key or {"if-match", "if-none-match"} & request.headers.keys():
        write(store, request.key, value, request.headers)
    return tag


def part_of(value: Buffer, text: str | None) -> Buffer:
    """The range of a value that `x-amz-copy-source-range` names."""
    if text is None:
        return value
    part = _range(text, len(value))
    if part is None:
        raise S3Error("InvalidArgument", "x-amz-copy-source-range is bytes=FIRST-LAST")
    return memoryview(value)[part[0] : part[1]]


def erase_many(store: BaseStore, body: Buffer) -> Tree:
    """Erase what a document names; returns what is said of each key."""
    tree = parsed(bytes(body), "Delete")
    found = [*tree.iter("Object")]
    if not 1 <= len(found) <= KEYS:
        raise S3Error("MalformedXML", f"between 1 and {KEYS} keys are erased at once")
    plain: dict[str, None] = {}
    done: list[str] = []
    failed: list[Tree] = []
    for each in found:
        key, tag = each.findtext("Key", ""), each.findtext("ETag")
        try:
            checked(store, key)
            check_version(each.findtext("VersionId"))
            if tag:
                write(store, key, None, {"if-match": tag})
                done.append(key)
            else:
                plain[key] = None
        except (S3Error, ZarrError) as error:
            told = translated(error)
            failed.append({"Key": key, "Code": told.code, "Message": told.message})
    store.write_many(plain)
    settle(store)
    quiet = tree.findtext("Quiet", "").strip().lower() == "true"
    return {"Deleted": [] if quiet else [{"Key": key} for key in [*done, *plain]], "Error": failed}
