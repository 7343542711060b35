"""What S3 has besides: sizes in one request, erasing in bulk, and writes on a condition."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from zarrv3.errors import InvalidKeyError
from zarrv3.store.contract import Buffer
from zarrv3.store.helpers import chunked
from zarrv3_store_fsspec.access import ObjectAccess
from zarrv3_store_fsspec.reading import Answer, Part

_UNFIT = re.compile(r"[\x00-\x1f\x7f]|\?versionId=")
"""What no name here has: XML cannot hold the one, s3fs takes the other for the version of an object."""

_REFUSED = {"PreconditionFailed", "412", "NoSuchKey", "404"}
_CONFLICT = {"ConditionalRequestConflict", "409", "OperationAborted"}


class S3Access(ObjectAccess):
    """Objects in S3 or something that speaks its protocol, through s3fs.

    Args:
        fs: the file system.
        missing: further exceptions that stand for a missing object.
        conditional: whether the server obeys `If-None-Match` and `If-Match` when it writes.
    """

    suffixes: bool = True

    def __init__(self, fs: Any, missing: tuple[type[BaseException], ...] = (), *, conditional: bool) -> None:
        super().__init__(fs, missing)
        self.swaps = conditional

    def read(self, parts: Sequence[Part], /) -> Sequence[Answer]:
        """All at once, by `cat_ranges`."""
        if not any(_UNFIT.search(part.path) for part in parts):
            return super().read(parts)
        answers = iter(super().read([part for part in parts if not _UNFIT.search(part.path)]))
        return [None if _UNFIT.search(part.path) else next(answers) for part in parts]

    def sizes(self, paths: Collection[str], /) -> Sequence[int | None]:
        """All at once, by HEAD."""
        fit = [path for path in paths if not _UNFIT.search(path)]
        found = dict(zip(fit, super().sizes(fit), strict=True))
        return [found.get(path) for path in paths]

    async def size(self, path: str) -> int | None:
        """The size of an object, by one request."""
        found = await self.fs._call_s3("head_object", **self._place(path))
        return int(found["ContentLength"])

    def write(self, items: Mapping[str, Buffer], /) -> None:
        """All at once, by `pipe`."""
        for path in items:
            _check(path)
        super().write(items)

    def erase(self, paths: Sequence[str], /) -> None:
        """A thousand by each request."""
        batches = {
            part[0]: part for part in chunked((path for path in paths if not _UNFIT.search(path)), 1000)
        }

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

        for answer in self.at_once(erase, batches):
            self._value(answer)

    def swap(self, path: str, old: bytes | None, new: bytes | None, /) -> bool:
        """By a write that S3 does only if nobody was faster; never sent twice."""
        _check(path)
        while True:
            (found,) = self.at_once(self._fetch, [path])
            value, tag = self._value(found) or (None, "")
            if value != old:
                return False
            if value is None and new is None:
                return True
            (done,) = self.at_once(partial(self._put, new=new, tag=tag), [path])
            code = _code(done)
            if code not in {*_REFUSED, *_CONFLICT}:
                if isinstance(done, BaseException):
                    raise done
                return True
            # somebody was faster: look again, for they may have written the same value or nothing

    def _place(self, path: str) -> dict[str, str]:
        bucket, key, _ = self.fs.split_path(path)
        return {"Bucket": bucket, "Key": key}

    async def _fetch(self, path: str) -> tuple[bytes, str]:
        answer = await self.fs._call_s3("get_object", **self._place(path))
        async with answer["Body"] as body:
            return await body.read(), answer["ETag"]

    async def _put(self, path: str, new: bytes | None, tag: str) -> None:
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        if new is None:
            await self._once._call_s3("delete_object", **self._place(path), **condition)
        else:
            await self._once._call_s3("put_object", **self._place(path), Body=new, **condition)

    @cached_property
    def _once(self) -> Any:
        """The same file system without repeating: a write that was done, but whose answer was lost, must not be refused."""
        options = {**self.fs.storage_options, "skip_instance_cache": True}
        options["config_kwargs"] = {**options.get("config_kwargs", {}), "retries": {"total_max_attempts": 1}}
        fs = type(self.fs)(*self.fs.storage_args, **options)
        fs.retries = 1
        return fs


def _check(path: str) -> None:
    if _UNFIT.search(path):
        raise InvalidKeyError(
            f"{path!r} has a control character or '?versionId=' in it; an S3 store takes no such keys"
        )


def _code(answer: object) -> str:
    """The error code of S3 behind an exception."""
    while isinstance(answer, BaseException):
        response = getattr(answer, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        answer = answer.__cause__
    return ""
