"""Keys over plain HTTP: GET and HEAD with ranges and conditions, PUT and DELETE."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import blake2b

from zarrv3 import BaseStore, Buffer, ByteRange, Request
from zarrv3.errors import StoreUnavailableError, SwapUnknownError
from zarrv3_serve.replies import Headers, Reply, headers, text
from zarrv3_serve.requests import Span, matches, spans
from zarrv3_serve.workers import Workers

PIECE = 4 << 20
"""What is read of a long value at once, and the most of which many requests may hold one each."""

WHOLE = 64 << 20
"""Values up to this length are read by one call, so that what is sent is of one version; longer ones are read twice."""

DOCUMENTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


def etag_of(value: Buffer) -> str:
    """The entity tag of a value, which is that of no other value: a digest."""
    return f'"{blake2b(value, digest_size=16).hexdigest()}"'


def content_type(key: str) -> str:
    """What a value is: documents are JSON, all else is bytes."""
    return "application/json" if key.rpartition("/")[2] in DOCUMENTS else "application/octet-stream"


class Values:
    """Requests for keys of a store. Methods whose names begin with `_` are called in the workers' threads, since they block."""

    def __init__(self, store: BaseStore, workers: Workers) -> None:
        self.store = store
        self.workers = workers

    async def get(self, key: str, asked: Mapping[bytes, bytes], *, is_head: bool) -> Reply:
        """The answer to GET or HEAD."""
        return await self.workers.run(self._get, key, asked, is_head)

    async def put(self, key: str, asked: Mapping[bytes, bytes], value: Buffer | None) -> Reply:
        """The answer to PUT or, without a value, DELETE."""
        return await self.workers.run(self._put, key, asked, value)

    # ------------------------------------------------------------ reading

    def _get(self, key: str, asked: Mapping[bytes, bytes], is_head: bool) -> Reply:
        conditional = not asked.keys().isdisjoint((b"if-none-match", b"if-match", b"if-range"))
        wanted = asked.get(b"range", b"").decode("latin-1")
        in_pieces = self.store.capabilities.native_ranges
        if not conditional and (is_head or (wanted and in_pieces)):
            return self._by_size(key, wanted, is_head=is_head)
        if in_pieces:
            (value,) = self.store.get_many([Request(key, ByteRange(0, PIECE))])
            if value is not None and len(value) == PIECE:
                size = self._size(key)
                if size is None or size > WHOLE:
                    return self._long(key, asked, wanted, size)
                (value,) = self.store.get_many([Request(key)])
        else:
            (value,) = self.store.get_many([Request(key)])
        if value is None:
            return self._missing(asked)
        etag = etag_of(value)
        refused = _refused(asked, etag)
        if refused is not None:
            return refused
        own = headers(
            content_type=content_type(key), etag=etag, accept_ranges="bytes", cache_control="no-cache"
        )
        found = _spans(asked, wanted, etag, len(value))
        if found is None:
            return Reply(200, own, value)
        return _partial(own, found, [value[start:stop] for start, stop in found], len(value), key)

    def _by_size(self, key: str, wanted: str, *, is_head: bool) -> Reply:
        """The answer without a condition, for which the size of a value is asked first; what is not wanted is not read."""
        for _ in range(10):
            size = self._size(key)
            if size is None:
                return text(404, cache_control="no-cache")
            own = headers(content_type=content_type(key), accept_ranges="bytes", cache_control="no-cache")
            found = _spans({}, wanted, "", size) if not is_head else None
            if is_head:
                return Reply(200, own, length=size)
            if found is None:
                return self._get(key, {}, is_head=False)
            if sum(stop - start for start, stop in found) > WHOLE:
                return self._long(key, {}, wanted, size)
            parts = self.store.get_many([Request(key, ByteRange(*span)) for span in found])
            lengths = [None if part is None else len(part) for part in parts]
            if lengths == [stop - start for start, stop in found]:
                return _partial(own, found, [part or b"" for part in parts], size, key)
        raise StoreUnavailableError(f"{key!r} changes faster than it can be read")

    def _size(self, key: str) -> int | None:
        return self.store.stat_many([key])[0]

    def _missing(self, asked: Mapping[bytes, bytes]) -> Reply:
        return text(412 if b"if-match" in asked else 404, cache_control="no-cache")

    # ------------------------------------------------------------ long values

    def _long(self, key: str, asked: Mapping[bytes, bytes], wanted: str, size: int | None) -> Reply:
        """The answer for a value that is too long to be held: read once for its tag, and again while it is sent."""
        if size is None:
            return self._missing(asked)
        etag = self._digest(key, Span(0, size))
        refused = _refused(asked, etag)
        if refused is not None:
            return refused
        own = headers(
            content_type=content_type(key), etag=etag, accept_ranges="bytes", cache_control="no-cache"
        )
        found = _spans(asked, wanted, etag, size)
        span = Span(0, size) if found is None or len(found) > 1 else found[0]
        if span == (0, size):
            status, tag = 200 if found is None or len(found) > 1 else 206, etag
        else:
            status, tag = 206, self._digest(key, span)
        if status == 206:
            own.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, size)))
        return Reply(status, own, self._stream(key, span, tag), span.stop - span.start)

    def _pieces(self, key: str, span: Span) -> Iterator[Buffer]:
        for start in range(*span, PIECE):
            stop = min(start + PIECE, span.stop)
            (piece,) = self.store.get_many([Request(key, ByteRange(start, stop))])
            if piece is None or len(piece) != stop - start:
                raise StoreUnavailableError(f"{key!r} was changed while it was read")
            yield piece

    def _digest(self, key: str, span: Span) -> str:
        digest = blake2b(digest_size=16)
        for piece in self._pieces(key, span):
            digest.update(piece)
        return f'"{digest.hexdigest()}"'

    async def _stream(self, key: str, span: Span, etag: str) -> AsyncIterator[Buffer]:
        """The pieces of a value; the last one comes only if all of them are of the version with the tag."""
        digest = blake2b(digest_size=16)
        pieces = self._pieces(key, span)
        held: Buffer = b""
        while (piece := await self.workers.run(next, pieces, None)) is not None:
            await self.workers.run(digest.update, piece)
            if held:
                yield held
            held = piece
        if f'"{digest.hexdigest()}"' != etag:
            raise StoreUnavailableError(f"{key!r} was changed while it was sent")
        yield held

    # ------------------------------------------------------------ writing

    def _put(self, key: str, asked: Mapping[bytes, bytes], value: Buffer | None) -> Reply:
        own = {} if value is None else {"etag": etag_of(value)}
        if asked.keys().isdisjoint((b"if-none-match", b"if-match")):
            self.store.write_many({key: value})
            return Reply(204, headers(**own))
        if not self.store.capabilities.swap:
            return text(501, "this store cannot write on a condition")
        while True:
            ((old, version),) = self.store.get_versioned([key])
            if _refused(asked, None if old is None else etag_of(old)) is not None:
                return text(412)
            try:
                if not self.store.swap_many({key: (version, value)}):
                    return Reply(204, headers(**own))
            except SwapUnknownError:  # somebody else has written since: the condition is asked again
                continue


def _refused(asked: Mapping[bytes, bytes], etag: str | None) -> Reply | None:
    """The answer where a condition does not hold."""
    if (given := asked.get(b"if-match")) is not None and not matches(given.decode("latin-1"), etag):
        return text(412)
    given = asked.get(b"if-none-match")
    if given is not None and matches(given.decode("latin-1"), etag, weak=True):
        return Reply(304, headers(etag=etag, cache_control="no-cache"))
    return None


def _spans(asked: Mapping[bytes, bytes], wanted: str, etag: str, size: int) -> list[Span] | None:
    """The parts that are wanted; `None` where it is the whole, also since a part is wanted of another version only."""
    given = asked.get(b"if-range")
    if not wanted or (given is not None and given.decode("latin-1").strip() != etag):
        return None
    return spans(wanted, size)


def _partial(own: Headers, found: list[Span], parts: list[Buffer], size: int, key: str) -> Reply:
    """The answer with one part, or with several between boundaries."""
    ranges = [b"bytes %d-%d/%d" % (start, stop - 1, size) for start, stop in found]
    if len(parts) == 1:
        return Reply(206, [*own, (b"content-range", ranges[0])], parts[0])
    boundary = secrets.token_hex(16).encode()
    kind = content_type(key).encode()
    body = b"".join(
        b"--%b\r\ncontent-type: %b\r\ncontent-range: %b\r\n\r\n%b\r\n" % (boundary, kind, range_, bytes(part))
        for range_, part in zip(ranges, parts, strict=True)
    )
    others = [header for header in own if header[0] != b"content-type"]
    multipart = (b"content-type", b"multipart/byteranges; boundary=" + boundary)
    return Reply(206, [*others, multipart], body + b"--%b--\r\n" % boundary)
