"""Google's storage as its documentation of the XML API describes it, as far as object_store asks for it; in memory.

The emulators that there are cannot be used: fake-gcs-server refuses `PUT` of the XML API and ignores `ifGenerationMatch`,
gcp-storage-emulator answers it without etag and generation, and neither lists nor erases by it.
"""

import hashlib
import itertools
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000


class Stored(NamedTuple):
    """An object as it lies there."""

    body: bytes
    generation: int

    @property
    def headers(self) -> dict[str, str]:
        """What answers say about it."""
        return {
            "ETag": f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"',
            "Last-Modified": formatdate(1_700_000_000, usegmt=True),
            "x-goog-generation": str(self.generation),
        }


class Google(BaseHTTPRequestHandler):
    """Buckets are there when they are asked for."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[tuple[str, str], Stored]] = {}
    uploads: ClassVar[dict[str, dict[int, bytes]]] = {}
    lock = Lock()
    generations = itertools.count(1)

    def do_GET(self) -> None:
        """A listing, an object, or a part of one."""
        bucket, key, query = self._asked()
        if not key:
            self._list(bucket, query)
            return
        found = self.objects.get((bucket, key))
        wanted = self.headers.get("Range")
        if found is None:
            self._answer(404)
        elif wanted is None:
            self._answer(200, found.body, found.headers)
        else:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            size = len(found.body)
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            if start >= size:
                self._answer(416, headers={"Content-Range": f"bytes */{size}"})
            else:
                part = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
                self._answer(206, found.body[start:stop], found.headers | part)

    do_HEAD = do_GET  # noqa: N815 - what the base class looks for

    def do_PUT(self) -> None:
        """Write an object, if its generation is the one given; copy one; or take a part of an upload."""
        bucket, key, query = self._asked()
        body = self._body()
        if "partNumber" in query:
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, headers={"ETag": f'"{query["partNumber"]}"'})
            return
        if source := self.headers.get("x-goog-copy-source"):
            origin = self.objects.get(self._place(source.lstrip("/")))
            if origin is None:
                self._answer(404)
                return
            body = origin.body
        self._store(bucket, key, body)

    def do_POST(self) -> None:
        """Begin an upload, or end one."""
        bucket, key, query = self._asked()
        self._body()
        if "uploads" in query:
            name = str(next(self.generations))
            self.uploads[name] = {}
            self._answer(200, f"<R><Bucket/><Key/><UploadId>{name}</UploadId></R>".encode())
        else:
            parts = self.uploads.pop(query["uploadId"])
            self._store(bucket, key, b"".join(parts[number] for number in sorted(parts)), as_document=True)

    def do_DELETE(self) -> None:
        """Erase an object, or give up an upload."""
        bucket, key, query = self._asked()
        if "uploadId" in query:
            self.uploads.pop(query["uploadId"], None)
            self._answer(204)
        else:
            self._answer(404 if self.objects.pop((bucket, key), None) is None else 204)

    def _store(self, bucket: str, key: str, body: bytes, *, as_document: bool = False) -> None:
        wanted = self.headers.get("x-goog-if-generation-match")
        with self.lock:
            before = self.objects.get((bucket, key))
            is_refused = wanted is not None and int(wanted) != (before.generation if before else 0)
            if not is_refused:
                self.objects[bucket, key] = new = Stored(body, next(self.generations))
        if is_refused:
            self._answer(412)
            return
        text = f"<R><ETag>{escape(new.headers['ETag'])}</ETag></R>" if as_document else ""
        self._answer(200, text.encode(), new.headers)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = query.get("continuation-token", "")
        entries: dict[str, str] = {}
        for place, key in sorted([*self.objects]):
            if place == bucket and key.startswith(prefix):
                rest, found = key[len(prefix) :], self.objects.get((place, key))
                if found is None:
                    continue
                if delimiter and delimiter in rest:
                    folder = prefix + rest.partition(delimiter)[0] + delimiter
                    entries[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
                else:
                    entries[key] = (
                        f"<Contents><Key>{escape(key)}</Key><Size>{len(found.body)}</Size>"
                        f"<ETag>{escape(found.headers['ETag'])}</ETag><LastModified>2023-11-14T22:13:20.000Z</LastModified></Contents>"
                    )
        names = [name for name in sorted(entries) if name > after]
        more = (
            f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>"
            if names[PAGE:]
            else ""
        )
        shown = "".join(entries[name] for name in names[:PAGE])
        self._answer(200, f"<ListBucketResult>{more}{shown}</ListBucketResult>".encode())

    def _asked(self) -> tuple[str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return (*self._place(parts.path.lstrip("/")), query)

    def _place(self, path: str) -> tuple[str, str]:
        bucket, _, key = unquote(path).partition("/")
        return bucket, key

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 256
    server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
    print(server.server_port, flush=True)  # noqa: T201 - for who has started it
    server.serve_forever()
