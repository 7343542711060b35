"""`DraftV3`: a draft hierarchy as a store of the final format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from zarrv3.errors import ConfigurationError, CorruptDataError, MetadataError, StoreClosedError
from zarrv3.layers.base import Layer
from zarrv3.layers.read_only import ReadOnly
from zarrv3.options.declared import Option
from zarrv3.options.urls import boolean
from zarrv3.store.contract import Buffer, Capabilities, Request
from zarrv3.store.helpers import children, cut, stat_by_reading
from zarrv3.store.keys import split_prefix
from zarrv3_layer_draft_v3 import keys
from zarrv3_layer_draft_v3.documents import DraftArray, Options, per_dimension
from zarrv3_layer_draft_v3.hierarchy import DraftGroup, Found, Hierarchy
from zarrv3_layer_draft_v3.listing import Listing
from zarrv3_layer_draft_v3.repair import PlainArray, Repaired, blosc_fits
from zarrv3_layer_draft_v3.report import Damage, examine
from zarrv3_layer_draft_v3.shards import count_of

Paths = Sequence[str]


def _paths(text: str) -> bool | list[str]:
    """`true`, `false`, or paths separated by commas."""
    return boolean(text) if text.lower() in {"true", "false"} else text.split(",")


class Located(NamedTuple):
    """Where a chunk lies in the draft."""

    path: str
    array: DraftArray
    coords: tuple[int, ...]
    names: list[str]
    """The draft keys that it may have."""
    repair: Repaired | None
    """How it is read if the array has lost its transformer."""


class DraftV3(ReadOnly):
    """What zarr-python 2.12 to 2.18 wrote with its experimental V3 support, as final Zarr V3; adapter `|draft-v3:`.

    Documents are translated when they are read, chunk keys by their form; the bytes of chunks and shards pass through,
    ranges too. Every write is refused. Arrays are remembered as they were when their document was last read. Thread-safe.
    """

    kind = "draft-v3"

    def __init__(
        self,
        store: object,
        *,
        repair: Annotated[
            bool,
            Option(
                "read arrays that lost their sharding transformer: each value is found to be a shard or a plain chunk"
            ),
        ] = False,
        chunks_per_shard: Annotated[
            Mapping[str, Any] | None,
            Option(
                "for paths of such arrays, how many chunks a shard has along each dimension; without, inferred "
                "where it is certain",
                takes='a mapping from paths to numbers, as JSON `{"a/b":[4]}`',
            ),
        ] = None,
        misordered: Annotated[
            bool | Paths,
            Option(
                "paths of arrays of order F whose bytes `FSStoreV3` wrote in order C, or `True` for all that may be",
                convert=_paths,
                takes="true, false, or paths; as text separated by commas",
            ),
        ] = False,
    ) -> None:
        Layer.__init__(self, store, repair=repair, chunks_per_shard=chunks_per_shard, misordered=misordered)
        per_shard, misordered = self.option("chunks_per_shard"), self.option("misordered")
        if per_shard and not self.option("repair"):
            raise ConfigurationError("chunks_per_shard of 'draft-v3' goes with repair=True")
        self._per_shard = {path.strip("/"): value for path, value in (per_shard or {}).items()}
        named = [] if isinstance(misordered, bool) else [path.strip("/") for path in misordered]
        self._misordered = dict.fromkeys(named, Options(misordered=True))
        self._default = Options(misordered=misordered is True, named=False)
        self._hierarchy = Hierarchy(self.inner, self._options_of)
        self._listing = Listing(self._hierarchy, self._repaired)
        self._closed = False
        self._repairs: dict[tuple[str, bytes], Repaired | None] = {}

    @property
    def dimension_separator(self) -> str | None:
        """The layer writes nothing."""
        return None

    @property
    def capabilities(self) -> Capabilities:
        """Those of reading; with `repair` a range may cost a whole shard."""
        own = super().capabilities
        return own.without("native_ranges") if self.option("repair") else own

    def report(self) -> list[Damage]:
        """What is wrong or unusual in the hierarchy, in the order of paths; reads all documents and a part of all chunks.

        See `report.KINDS`. Needs the capability `list`.
        """
        return examine(self._hierarchy, self._per_shard)

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says: one call for chunks, one more for documents that are requested or not yet known."""
        self._check_open()
        nodes = {key: node for key, _ in requests if (node := keys.node_of(key)) is not None}
        translations = self._hierarchy.look(nodes.values()) if nodes else {}
        values = self._chunks([request for request in requests if request.key not in nodes], translations)
        results: list[Buffer | None] = []
        for request in requests:
            translated = translations.get(nodes[request.key]) if request.key in nodes else None
            document = None if translated is None else translated.document
            results.append(values.get(request) if document is None else cut(document, request.range))
        return results

    def stat_many(self, wanted: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says; documents and repaired chunks are read, since their sizes differ here."""
        self._check_open()
        chunks = self._located([key for key in wanted if keys.node_of(key) is None], {})
        names = {key: chunk.names for key, chunk in chunks.items() if chunk.repair is None}
        below = [name for group in names.values() for name in group]
        found_sizes = iter(self.inner.stat_many(below) if below else ())
        sizes: dict[str, int | None] = {}
        for key, group in names.items():
            pieces = [next(found_sizes) for _ in group]
            sizes[key] = next((size for size in pieces if size is not None), None)
        rest = [key for key in wanted if key not in sizes]
        sizes |= zip(rest, stat_by_reading(self, rest), strict=True)
        return [sizes[key] for key in wanted]

    def _located(self, chunk_keys: Sequence[str], fresh: Mapping[str, Found | None]) -> dict[str, Located]:
        """Where the chunks of some keys lie; keys that are not an array's chunk are left out."""
        chunks = {key: chunk for key in chunk_keys if (chunk := keys.split_final(key)) is not None}
        arrays = self._hierarchy.arrays({chunk.path for chunk in chunks.values()}, fresh)
        located = {}
        for key, chunk in chunks.items():
            array = arrays.get(chunk.path)
            if array is not None and keys.fits(chunk, array.grid):
                names = keys.draft_chunks(chunk.path, chunk.coords, array.grid.separator)
                repair = self._repaired(chunk.path, array)
                located[key] = Located(chunk.path, array, chunk.coords, names, repair)
        return located

    def _chunks(
        self, requests: Sequence[Request], fresh: Mapping[str, Found | None]
    ) -> dict[Request, Buffer | None]:
        """The requested pieces of chunks or shards: one call below, one more for each array that is repaired."""
        chunks = self._located([request.key for request in requests], fresh)
        asked: list[Request] = []
        repaired: dict[str, list[Request]] = {}
        for request in dict.fromkeys(requests):
            if (chunk := chunks.get(request.key)) is not None:
                (asked if chunk.repair is None else repaired.setdefault(chunk.path, [])).append(request)
        below = [Request(name, wanted) for key, wanted in asked for name in chunks[key].names]
        got: Iterator[Buffer | None] = iter(self.inner.get_many(below) if below else ())
        values: dict[Request, Buffer | None] = {}
        for request in asked:
            chunk = chunks[request.key]
            pieces = [next(got) for _ in chunk.names]
            values[request] = next((piece for piece in pieces if piece is not None), None)
            self._check(request, chunk, values[request])
        for some in repaired.values():
            repair = chunks[some[0].key].repair
            assert repair is not None
            wholes = repair.read([chunks[request.key].coords for request in some])
            values.update((r, cut(v, r.range)) for r, v in zip(some, wholes, strict=True))
        return values

    def _check(self, request: Request, chunk: Located, value: Buffer | None) -> None:
        """Raise `CorruptDataError` for a value that is a shard where metadata promise a chunk.

        Sizes usually tell; otherwise decoding the chunk fails.
        """
        array = chunk.array
        if value is None or request.range is not None or array.is_sharded:
            return
        is_odd = (array.raw_size is not None and len(value) != array.raw_size) or (
            array.is_blosc and not blosc_fits(value, len(value))
        )
        if is_odd and (count := count_of(value)) is not None:
            raise CorruptDataError(
                f"{request.key!r} ({chunk.names[0]!r} in {self.inner.describe()}) is a shard of {count} chunks, but the "
                f"metadata of /{chunk.path} have lost the sharding transformer; open it with repair=True, or "
                f"chunks_per_shard={{{chunk.path!r}: [...]}} if that does not find out"
            )

    # ------------------------------------------------------------ listing

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """As the contract says: one listing of the documents and one of the chunks below the folder."""
        self._check_open()
        folder, prefix = split_prefix(prefix)
        return (key for key, _ in self._listing.below(folder, prefix, sized=False))

    def list_sizes(self, folder: str, /) -> Iterator[tuple[str, int]]:
        """As the contract says; documents are read, since their size here is that of the translation."""
        self._check_open()
        return self._listing.below(folder, folder, sized=True)

    def list_dir(self, folder: str, /) -> Iterator[str]:
        """As the contract says; chunks are listed for arrays only."""
        self._check_open()
        return self._names(folder)

    def _names(self, folder: str) -> Iterator[str]:
        path = folder[:-1]
        node = self._hierarchy.look([path])[path]
        given = {f"{folder}{name}/" for name in self._hierarchy.members(path)}
        given |= {keys.final_document(path)} if node is not None else set()
        yield from given
        if not isinstance(node, DraftGroup):
            chunks = children(self._listing.chunks_below(folder), folder)
            yield from (name for name in chunks if name not in given)

    def close(self) -> None:
        self._closed = True
        super().close()

    def _check_open(self) -> None:
        """Raise `StoreClosedError` after `close`: not every call reaches the store below."""
        if self._closed:
            raise StoreClosedError(f"{self.describe()} is closed")

    # ------------------------------------------------------------ options

    def _options_of(self, path: str) -> Options:
        return self._misordered.get(path, self._default)

    def _repaired(self, path: str, array: DraftArray) -> Repaired | None:
        """How to read an array that lost its transformer; `None` for all others, and without `repair`."""
        if not self.option("repair"):
            return None
        given = self._per_shard.get(path)
        if array.is_sharded:
            if given is not None:
                raise ConfigurationError(
                    f"chunks_per_shard for /{path}: its metadata have not lost their sharding transformer"
                )
            return None
        known = path, array.document
        if known not in self._repairs:
            plain = PlainArray(self.inner, path, array)
            per_shard = plain.findings().per_shard if given is None else self._given(path, array, given)
            self._repairs[known] = None if per_shard is None else Repaired(plain, per_shard)
        return self._repairs[known]

    def _given(self, path: str, array: DraftArray, given: Any) -> tuple[int, ...]:
        try:
            return per_dimension(given, array.grid.ndim)
        except MetadataError as error:
            raise ConfigurationError(f"chunks_per_shard for /{path}: {error}") from error
