"""`ZipReader`, the adapter `|zip:`: an archive that is a value of another store, read by ranges."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Annotated, Any, NamedTuple, cast
from urllib.parse import unquote
from zipfile import ZIP_STORED, ZipInfo

from zarrv3.errors import ConfigurationError, CorruptDataError, StoreAccessError
from zarrv3.layers.base import Layer
from zarrv3.layers.prefix import Prefix
from zarrv3.layers.read_only import ReadOnly
from zarrv3.options.declared import Option
from zarrv3.options.environment import as_templates
from zarrv3.options.urls import Url
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON, Buffer, ByteRange, Capabilities, Limits, Request
from zarrv3.store.helpers import cut, resolve
from zarrv3.store.keys import split_prefix
from zarrv3.store.memory import MemoryDriver
from zarrv3.store.wrapping import wrap
from zarrv3_store_zip.members import ENCRYPTED, Directory, decode, header_length, header_room, read_directory
from zarrv3_store_zip.open_file import ARCHIVE, OpenFile
from zarrv3_store_zip.ranges import Span, Tail, fetched
from zarrv3_store_zip.store import ZipStore

TAIL = (64 << 10) + 98
"""How much of an archive's end is read at first: a comment of any length, the records before it, and most directories."""

SMALL = 32 << 10
"""A member up to this size is read whole even for a range, since its header has to be read anyway."""

_EXTRA = 1 << 10  # how long the extra field of a header is expected to be at most
_ATTEMPTS = 3


class _ChangedError(Exception):
    """The archive is not the one whose directory was read."""


class Content(NamedTuple):
    """What is known of the archive: its directory, and how it is recognised."""

    directory: Directory
    keys: MemoryDriver
    """The keys with their entries, for listing."""
    starts: list[int]
    """Where members begin, sorted, and finally the directory."""
    mark: Span
    """The range of its last bytes, and one byte more, which does not exist."""
    end: bytes
    """Its last bytes."""
    is_stored: bool
    """Whether no member is compressed."""
    data: dict[str, int]
    """Where the data of members begin, of those whose header was read."""

    def first_span(self, info: ZipInfo, wanted: ByteRange | None) -> Span:
        """What to read of a member at first."""
        if info.filename in self.data:
            return self.exact_span(info, wanted)
        start = info.header_offset
        stop = start + header_room(info) + _EXTRA
        if _as_whole(info, wanted) or info.compress_size <= SMALL:
            stop += info.compress_size
        return Span(start, min(stop, self.starts[bisect_right(self.starts, start)]))

    def exact_span(self, info: ZipInfo, wanted: ByteRange | None) -> Span:
        """Where exactly the wanted bytes lie, or the whole data where they have to be decompressed."""
        start, length = 0, info.compress_size
        if not _as_whole(info, wanted):
            start, length = resolve(wanted, info.file_size)
        begin = self.data[info.filename] + start
        return Span(begin, begin + length)


class ZipReader(ReadOnly):
    """An archive that is a value of another store, to read; adapter `|zip:`, as in `s3://bucket/a.zip|zip:`.

    The archive is never fetched as a whole: its directory is read once, then the requested parts of members,
    a batch by one batch of ranges. An archive that is replaced in the meantime is noticed and read again.
    Thread-safe.
    """

    kind = "zip"

    def __init__(
        self, store: object, archive: Annotated[str, Option("the archive's key in the store")]
    ) -> None:
        Layer.__init__(self, store, archive=archive)
        self._loaded: Content | None = None

    @classmethod
    def in_file(cls, file: IO[bytes]) -> ZipReader:
        """The archive in an open file, which has to stay open as long as this is used."""
        return cls(wrap(OpenFile(file)), ARCHIVE)

    # ------------------------------------------------------------ the contract

    @property
    def capabilities(self) -> Capabilities:
        """Those of reading; listing needs the archive only."""
        below = self.inner.capabilities
        return replace(
            below.read_only(),
            list=True,
            native_ranges=self._content().is_stored and below.native_ranges,
            limits=Limits(),
        )

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one batch below, two where headers have to be read before parts of large members."""
        for _ in range(_ATTEMPTS):
            content = self._content()
            try:
                return self._read(content, requests)
            except _ChangedError:
                self._loaded = None
        raise StoreAccessError(
            f"{self.describe()}: the archive was replaced each of the {_ATTEMPTS} times it was read"
        )

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says: from the directory."""
        infos = self._current().directory.infos
        return [infos[key].file_size if key in infos else None for key in keys]

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """As the contract says: from the directory."""
        folder, prefix = split_prefix(prefix)
        return (key for key in self._current().keys.list_prefix(folder) if key.startswith(prefix))

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says: from the directory."""
        return self._current().keys.list_dir(folder)

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says: from the directory."""
        content = self._current()
        keys = content.keys.list_prefix(folder)
        return ((key, content.directory.infos[key].file_size) for key in keys)

    def below(self, folder: str) -> tuple[BaseStore, str]:
        """The store below, and in it a prefix that only the archive's key begins with."""
        return self.inner, f"{self.option('archive')}/{folder}"

    # ------------------------------------------------------------ the directory

    def _content(self) -> Content:
        loaded = self._loaded  # once: another thread may forget it
        if loaded is None:
            loaded = self._loaded = self._load()
        return loaded

    def _current(self) -> Content:
        """What is known, after a look at the archive."""
        content = self._content()
        try:
            self._fetch(content, [])
        except _ChangedError:
            content = self._loaded = self._load()
        return content

    def _load(self) -> Content:
        archive = self.option("archive")
        answer = self.inner.get_many([Request(archive, ByteRange(-TAIL))])[0]
        if answer is None:
            raise StoreAccessError(f"there is no archive {archive!r} in {self.inner.describe()}")
        end = bytes(answer)
        size = len(end) if len(end) < TAIL else self.inner.stat_many([archive])[0] or 0
        file = cast("IO[bytes]", Tail(size, end, self._part))
        directory = read_directory(file, f"{archive!r} in {self.inner.describe()}")
        starts = sorted({*directory.offsets, directory.start})
        mark = Span(max(0, size - 98), size + 1)
        is_stored = all(info.compress_type == ZIP_STORED for info in directory.infos.values())
        return Content(directory, MemoryDriver(directory.infos), starts, mark, end[-98:], is_stored, {})

    def _part(self, span: Span) -> bytes:
        answer = self.inner.get_many([Request(self.option("archive"), ByteRange(*span))])[0]
        return b"" if answer is None else bytes(answer)

    # ------------------------------------------------------------ members

    def _fetch(self, content: Content, spans: Sequence[Span]) -> list[memoryview]:
        """Parts of the archive, together with its end, by which it is recognised."""
        parts = fetched(self.inner, self.option("archive"), [*spans, content.mark])
        if parts is None or parts.pop() != content.end:
            raise _ChangedError
        return parts

    def _read(self, content: Content, requests: Sequence[Request]) -> list[Buffer | None]:
        infos = content.directory.infos
        wants = [
            (number, infos[key], wanted) for number, (key, wanted) in enumerate(requests) if key in infos
        ]
        spans = [content.first_span(info, wanted) for _, info, wanted in wants]
        parts = self._fetch(content, spans)
        values: list[Buffer | None] = [None] * len(requests)
        later: list[tuple[int, ZipInfo, ByteRange | None]] = []
        for (number, info, wanted), span, part in zip(wants, spans, parts, strict=True):
            if info.filename not in content.data:
                content.data[info.filename] = span.start + header_length(info, part, self._name())
            exact = content.exact_span(info, wanted)
            if span.start <= exact.start and exact.stop <= span.start + len(part):
                values[number] = self._value(
                    info, part[exact.start - span.start : exact.stop - span.start], wanted
                )
            else:
                later.append((number, info, wanted))
        if later:
            spans = [content.exact_span(info, wanted) for _, info, wanted in later]
            for (number, info, wanted), span, part in zip(
                later, spans, self._fetch(content, spans), strict=True
            ):
                if len(part) < span.stop - span.start:
                    raise CorruptDataError(
                        f"{info.filename!r} reaches beyond the end of {self._name()}: it was truncated"
                    )
                values[number] = self._value(info, part, wanted)
        return values

    def _value(self, info: ZipInfo, part: memoryview, wanted: ByteRange | None) -> Buffer | None:
        return cut(decode(info, part, self._name()), wanted) if _as_whole(info, wanted) else bytes(part)

    def _name(self) -> str:
        return f"{self.option('archive')!r} in {self.inner.describe()}"

    # ------------------------------------------------------------ from a URL

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The folder in the archive: `|zip:a/b`, as ZEP 8 has it."""
        path = ((url.authority or "") + url.path).strip("/")
        return {"path": path} if path else {}

    @classmethod
    def url_options(cls, url: Url) -> dict[str, Any]:
        """See `BaseStore`; with the options of `ZipStore`, which opens an archive in a folder."""
        own = {name: text for name, text in url.query.items() if name in cls.declared().options}
        rest = {name: text for name, text in url.query.items() if name not in own}
        return {**cls.declared().from_url(cls, url, own), **ZipStore.declared().from_query(rest)}

    @classmethod
    def around(cls, store: object, options: Mapping[str, Any]) -> BaseStore:
        """The archive in a file where the store is a folder of files, else a reader of the archive in the store.

        The option `archive` says which value of the store is the archive, otherwise the last part of what the
        store was opened with. With the option `path` the result shows that folder of the archive.
        """
        own = dict(options)
        path = own.pop("path", "")
        opened = cls._opened(wrap(store), own)
        return Prefix(opened, path) if path else opened

    @classmethod
    def _opened(cls, inner: BaseStore, own: dict[str, Any]) -> BaseStore:
        spec = _plain_spec(inner)
        if spec.get("store") == "directory":
            return ZipStore.from_options({**_file(spec, own.pop("archive", None)), **own})
        if own.pop("mode", "r") != "r":
            raise ConfigurationError(f"an archive in {inner.describe()} can only be read: mode is 'r'")
        if "archive" not in own:
            inner, own["archive"] = _named(inner, spec)
        cls.declared().check_names(own)
        return cls(inner, **own)


def _as_whole(info: ZipInfo, wanted: ByteRange | None) -> bool:
    return wanted is None or info.compress_type != ZIP_STORED or bool(info.flag_bits & ENCRYPTED)


def _plain_spec(store: BaseStore) -> dict[str, JSON]:
    """What a store was opened with; nothing for one around a live object."""
    try:
        return store.spec()
    except ConfigurationError:
        return {}


def _file(spec: Mapping[str, JSON], archive: str | None) -> dict[str, Any]:
    """The options of the archive in a file that a folder's spec leads to."""
    known = {name: value for name, value in spec.items() if name in {"path", "dimension_separator", "fsync"}}
    unknown = sorted({*spec} - {*known, "store"})
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!r} of a folder has no meaning for an archive in a file; leave it out"
        )
    if archive is not None:
        known["path"] = f"{known['path']}/{archive}"
    options: dict[str, Any] = as_templates(known)
    return options


def _named(inner: BaseStore, spec: Mapping[str, JSON]) -> tuple[BaseStore, str]:
    """The store that holds the archive, and its key, where the last part of what was opened names the archive."""
    store, folder = inner.below("")
    if folder:
        return store, folder[:-1]
    if "layers" not in spec and spec.get("store") == "fsspec":
        match = re.fullmatch(r"(.+://[^/]+.*|[^:]*)/([^/]+)/*", str(spec["url"]))
        if match:
            rest = {name: value for name, value in spec.items() if name not in {"store", "url"}}
            name = unquote(match[2]) if re.match("https?://", match[1]) else match[2]
            return type(inner).from_options(as_templates({**rest, "url": match[1]})), as_templates(name)
    raise ConfigurationError(
        f"{inner.describe()} is not an archive, and holds many values; say which of them is one: |zip:?archive=KEY"
    )
