"""What S3 has besides: sizes in one request, erasing in bulk, and conditional writes."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.httpsession import AIOHTTPSession  # type: ignore[import-untyped]
from aiobotocore.session import AioSession  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Buffer, ByteRange, Swaps, Version, Versioned
from zarrv3.store.helpers import chunked
from zarrv3_store_fsspec.access import Errors, ObjectAccess
from zarrv3_store_fsspec.reading import Part, range_header

_UNFIT = re.compile(r"[\x00-\x1f\x7f]|\?versionId=")
"""Not allowed in names: XML cannot hold the one, s3fs takes the other for the version of an object."""

_REFUSED = {"PreconditionFailed", "412", "NoSuchKey", "404"}
_CONFLICT = {"ConditionalRequestConflict", "409", "OperationAborted"}
_ATTEMPTS = 10  # codes for a write that met another one
_DENIED = {"AccessDenied", "AllAccessDisabled", "403", ""}
"""Codes for what this user may not see, or what is not there; others say that the user is not who it claims to be."""


def is_amazons(fs: Any) -> bool:
    """Whether requests go to Amazon, as options, environment and configuration files have it; nothing is sent."""
    try:
        session = fs.session or AioSession(**fs.kwargs)
        profile = session.get_scoped_config()
        services = session.full_config.get("services", {}).get(profile.get("services"), {})
    except BotoCoreError:  # there is no such profile
        return False
    endpoint = (
        fs.endpoint_url
        or fs.client_kwargs.get("endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or services.get("s3", {}).get("endpoint_url")
        or profile.get("endpoint_url")
        or "https://s3.amazonaws.com"
    )
    return f".{urlsplit(endpoint).hostname}".endswith((".amazonaws.com", ".amazonaws.com.cn"))


class S3Access(ObjectAccess):
    """Objects in S3 or something that speaks its protocol, through s3fs."""

    suffixes: bool = True

    def holds(self, path: str) -> bool:
        """Whether an object can have this name."""
        return not _UNFIT.search(path)

    def is_absent(self, answer: object, others: Errors) -> bool:
        """Whether there is no such object; a refused login does not say so, even where a refused permission does."""
        is_login = isinstance(answer, PermissionError) and _code(answer) not in _DENIED
        return not is_login and super().is_absent(answer, others)

    async def size(self, path: str) -> int | None:
        """The size of an object, by one request; a second one says why it was refused, as answers to HEAD do not."""
        try:
            head = await self.fs._call_s3("head_object", **self._place(path))
        except PermissionError:
            await self._cat(Part(path, ByteRange(0, 1)))
            raise
        return int(head["ContentLength"])

    def write(self, items: Mapping[str, Buffer], /) -> None:
        """All at once, by `pipe`."""
        for path in items:
            _check(path)
        super().write(items)

    def erase(self, paths: Sequence[str], /) -> None:
        """A thousand with each request."""
        batches = {part[0]: part for part in chunked(filter(self.holds, paths), 1000)}

        async def erase(first: str) -> None:
            keys = [{"Key": self._place(path)["Key"]} for path in batches[first]]
            bucket = self._place(first)["Bucket"]
            answer = await self.fs._call_s3(
                "delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True}
            )
            for error in answer.get("Errors", []):
                raise PermissionError(
                    f"S3 did not erase {error.get('Key')!r}: {error.get('Code')} {error.get('Message')}"
                )

        self.each(erase, batches)

    def versioned(self, paths: Sequence[str], /) -> Sequence[Versioned]:
        """All at once, by GET, whose answers have the etags."""

        async def fetch(path: str) -> tuple[bytes, str]:
            return await self.marked(Part(path, None))

        return [answer or (None, None) for answer in self.each(fetch, paths)]

    def swap(self, swaps: Swaps, /) -> Collection[str]:
        """All at once, by writes that S3 does only if the etag is the one given; never sent twice.

        A write that met another one, so that S3 asks for it again, is compared again.
        """
        for path in swaps:
            _check(path)
        none = [path for path, swap in swaps.items() if swap == (None, None)]
        refused = {path for path, size in zip(none, self.sizes(none), strict=True) if size is not None}
        left = [path for path in swaps if path not in none]

        async def put(path: str) -> None:
            await self._put(path, *swaps[path])

        for _ in range(_ATTEMPTS):
            again = []
            for path, answer in zip(left, self.at_once(put, left), strict=True):
                code = _code(answer)
                if code in _CONFLICT:
                    again.append(path)
                elif code in _REFUSED:
                    refused.add(path)
                elif isinstance(answer, BaseException):
                    raise answer
            left = again
            if not left:
                break
        return refused.union(left)

    def _place(self, path: str) -> dict[str, str]:
        bucket, key, _ = self.fs.split_path(path)
        return {"Bucket": bucket, "Key": key}

    async def marked(self, part: Part) -> tuple[bytes, str]:
        """A part and the etag, by one request."""
        span = {} if part.wanted is None else {"Range": range_header(part.wanted)}
        answer = await self.fs._call_s3("get_object", **self._place(part.path), **span, **self.fs.req_kw)
        async with answer["Body"] as body:
            return await body.read(), answer["ETag"]

    async def _put(self, path: str, version: Version | None, new: Buffer | None) -> None:
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        if new is None:
            await self._once._call_s3("delete_object", **self._place(path), **condition)
        else:
            await self._once._call_s3("put_object", **self._place(path), Body=bytes(new), **condition)

    @cached_property
    def _once(self) -> Any:
        """A copy of a file system that does not repeat: a write whose answer was lost must not be refused for it."""
        options = {**self.fs.storage_options, "skip_instance_cache": True}
        config = {"http_session_cls": _SentOnce, **options.get("config_kwargs", {})}
        options["config_kwargs"] = {**config, "retries": {"total_max_attempts": 1}}
        fs = type(self.fs)(*self.fs.storage_args, **options)
        fs.retries = 1
        return fs


class _SentOnce(AIOHTTPSession):  # type: ignore[misc]
    """Connections that send no request twice, as aiohttp does when one is cut before the answer, also for `PUT` and `DELETE`."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        return session


def _check(path: str) -> None:
    if _UNFIT.search(path):
        raise InvalidKeyError(
            f"{path!r} has a control character or '?versionId=' in it; an S3 store does not take such keys"
        )


def _code(answer: object) -> str:
    """The error code of S3 behind an exception."""
    while isinstance(answer, BaseException):
        response = getattr(answer, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        answer = answer.__cause__
    return ""
