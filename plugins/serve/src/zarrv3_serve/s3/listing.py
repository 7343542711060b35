"""Names in order, page by page."""

from __future__ import annotations

import binascii
import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from zarrv3.errors import InvalidKeyError
from zarrv3.store.base import BaseStore
from zarrv3.store.keys import split_prefix
from zarrv3_serve.s3.documents import Tree
from zarrv3_serve.s3.errors import S3Error

MOST = 1000
"""The names of a page."""
OWNER: Tree = {"ID": "zarrv3", "DisplayName": "zarrv3"}


class Entry(NamedTuple):
    """A key with its size, or a prefix that several keys have; sorted as S3 sorts them, by code points."""

    name: str
    size: int | None


def now() -> str:
    """This moment, as listings have it. A store does not know when a value was written: nothing is taken for old."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def list_objects(store: BaseStore, bucket: str, query: Mapping[str, str]) -> Tree:
    """A page of names, as `ListObjects` or `ListObjectsV2` has it."""
    second = query.get("list-type") == "2"
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    token = query.get("continuation-token") if second else None
    start = query.get("start-after" if second else "marker", "")
    most = _number(query.get("max-keys"))
    after = start if token is None else _name(token)
    encoded = query.get("encoding-type")
    if encoded not in {None, "url"}:
        raise S3Error("InvalidArgument", "encoding-type is url")

    def text(name: str) -> str:
        return quote(name, safe="/-_.~*") if encoded else name

    page, last = _page(store, prefix, delimiter, after, most) if most else ([], None)
    common: Tree = {
        "Name": bucket,
        "Prefix": text(prefix),
        "Delimiter": text(delimiter) if delimiter else None,
        "MaxKeys": most,
        "EncodingType": encoded,
        "IsTruncated": last is not None,
    }
    assert isinstance(common, Mapping)
    owner = OWNER if not second or query.get("fetch-owner") == "true" else None
    contents: Tree = [
        {
            "Key": text(name),
            "LastModified": now(),
            "Size": size,
            "StorageClass": "STANDARD",
            "Owner": owner,
        }
        for name, size in page
        if size is not None
    ]
    prefixes: Tree = [{"Prefix": text(name)} for name, size in page if size is None]
    paging: Mapping[str, Tree | None] = (
        {
            "KeyCount": len(page),
            "StartAfter": text(start) if start else None,
            "ContinuationToken": token,
            "NextContinuationToken": None if last is None else _token(last),
        }
        if second
        else {"Marker": text(start), "NextMarker": None if last is None else text(last)}
    )
    return {**common, **paging, "Contents": contents, "CommonPrefixes": prefixes}


def _page(
    store: BaseStore, prefix: str, delimiter: str, after: str, most: int
) -> tuple[list[Entry], str | None]:
    """The first entries behind a name, at most so many, and the name of the last one if there are more."""
    try:
        folder, prefix = split_prefix(prefix)
    except InvalidKeyError:  # no key begins like that
        return [], None
    if delimiter != "/":
        entries = heapq.nsmallest(most + 1, _rolled(store, folder, prefix, delimiter, after))
        return entries[:most], entries[most - 1].name if len(entries) > most else None
    begun = _begun(store, folder, after)
    found = (name for name in store.list_dir(folder) if name.startswith(prefix))
    names = heapq.nsmallest(most + 1, (name for name in found if name > after or name == begun))
    last = names[most - 1] if len(names) > most else None
    keys = [name for name in names[:most] if not name.endswith("/")]
    sizes = dict(zip(keys, store.stat_many(keys), strict=True))
    # a key that has been erased meanwhile has no size
    page = [Entry(name, sizes.get(name)) for name in names[:most]]
    return [entry for entry in page if entry.size is not None or entry.name.endswith("/")], last


def _rolled(store: BaseStore, folder: str, prefix: str, delimiter: str, after: str) -> Iterator[Entry]:
    """Keys with a prefix, behind a name; those with the delimiter further on as what they have in common."""
    seen = set()
    for key, size in store.list_sizes(folder):
        if not key.startswith(prefix) or key <= after:
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            yield Entry(key, size)
        elif (name := key[: end + len(delimiter)]) != after and name not in seen:
            seen.add(name)
            yield Entry(name, None)


def _begun(store: BaseStore, folder: str, after: str) -> str | None:
    """The folder within another one that a name lies in, if there are keys behind the name in it."""
    name, slash, rest = after[len(folder) :].partition("/")
    inner = f"{folder}{name}/"
    if not (after.startswith(folder) and name and slash and rest):
        return None
    with suppress(InvalidKeyError):  # then there is no such folder
        return inner if any(key > after for key in store.list_prefix(inner)) else None
    return None


def _number(text: str | None) -> int:
    if text is None:
        return MOST
    if not (text.isascii() and text.isdigit()):
        raise S3Error("InvalidArgument", "max-keys is a number")
    return min(MOST, int(text[:9]) if len(text) <= 9 else MOST)


def _token(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode()


def _name(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode()
    except (binascii.Error, ValueError):
        raise S3Error("InvalidArgument", "the continuation token is not one of this server's") from None
