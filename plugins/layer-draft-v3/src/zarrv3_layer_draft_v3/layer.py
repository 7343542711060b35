"""`DraftV3`: a draft hierarchy as a store of the final format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from zarrv3.errors import ConfigurationError, CorruptDataError, MetadataError, StoreClosedError
from zarrv3.layers.base import Layer
from zarrv3.layers.read_only import ReadOnly
from zarrv3.options.declared import Option
from zarrv3.options.urls import boolean
from zarrv3.store.contract import Buffer, Capabilities, Request
from zarrv3.store.helpers import children, cut
from zarrv3.store.keys import check_folder, check_keys, check_where, split_prefix
from zarrv3_layer_draft_v3 import keys
from zarrv3_layer_draft_v3.documents import DraftArray, Options, per_dimension
from zarrv3_layer_draft_v3.hierarchy import DraftGroup, Hierarchy
from zarrv3_layer_draft_v3.listing import Listing
from zarrv3_layer_draft_v3.repair import PlainArray, Repaired, blosc_fits
from zarrv3_layer_draft_v3.report import Damage, examine
from zarrv3_layer_draft_v3.shards import count_of

Paths = Sequence[str]


def _paths(text: str) -> bool | list[str]:
    """`true`, `false`, or paths separated by commas."""
    return boolean(text) if text.lower() in {"true", "false"} else text.split(",")


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
                "for paths of such arrays, how many chunks a shard has along each dimension; without, that is found out "
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
        """None: the layer writes nothing."""
        return None

    @property
    def capabilities(self) -> Capabilities:
        """What can be read; with `repair` a range may cost a whole shard."""
        own = super().capabilities
        return own.without("native_ranges") if self.option("repair") else own

    def report(self) -> list[Damage]:
        """What is wrong or unusual in the hierarchy, in the order of paths; reads all documents and a part of all chunks.

        See `report.KINDS`. With the capability `list` only.
        """
        return examine(self._hierarchy, self._per_shard)

    # ------------------------------------------------------------ reading

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """See the contract: one call for chunks, one more for documents that are asked for or not yet known."""
        self._check_open()
        check_keys([key for key, _ in requests])
        nodes = {key: node for key, _ in requests if (node := keys.node_of(key)) is not None}
        chunks = {
            key: chunk
            for key, _ in requests
            if key not in nodes and (chunk := keys.split_final(key)) is not None
        }
        found = self._hierarchy.look(nodes.values()) if nodes else {}
        arrays = self._hierarchy.arrays({chunk.path for chunk in chunks.values()}, found)
        values = self._chunks(arrays, chunks, [request for request in requests if request[0] in chunks])
        results: list[Buffer | None] = []
        for key, wanted in requests:
            translated = found.get(nodes[key]) if key in nodes else None
            document = None if translated is None else translated.document
            results.append(values.get((key, wanted)) if document is None else cut(document, wanted))
        return results

    def _chunks(
        self,
        arrays: Mapping[str, DraftArray],
        chunks: Mapping[str, keys.Chunk],
        requests: Sequence[Request],
    ) -> dict[Request, Buffer | None]:
        """The requested pieces of chunks or shards: one call below, one more for each array that is repaired."""
        asked: dict[Request, list[str]] = {}
        repaired: dict[str, dict[Request, tuple[int, ...]]] = {}
        repairs = {path: self._repaired(path, array) for path, array in arrays.items()}
        for request in dict.fromkeys(requests):
            chunk = chunks[request[0]]
            array = arrays.get(chunk.path)
            if array is None or not keys.fits(chunk, array.grid):
                continue
            if repairs[chunk.path] is not None:
                repaired.setdefault(chunk.path, {})[request] = chunk.coords
            else:
                asked[request] = keys.draft_chunks(chunk.path, chunk.coords, array.grid.separator)
        below = [(name, request[1]) for request, names in asked.items() for name in names]
        got = iter(self.inner.get_many(below)) if below else iter(())
        values: dict[Request, Buffer | None] = {}
        for request, names in asked.items():
            pieces = [next(got) for _ in names]
            values[request] = next((piece for piece in pieces if piece is not None), None)
            path = chunks[request[0]].path
            self._check(request, names[0], path, arrays[path], values[request])
        for path, coords in repaired.items():
            repair = repairs[path]
            assert repair is not None
            wholes = repair.read(list(coords.values()))
            values.update((r, cut(v, r[1])) for r, v in zip(coords, wholes, strict=True))
        return values

    def _check(self, request: Request, name: str, path: str, array: DraftArray, value: Buffer | None) -> None:
        """Raise `CorruptDataError` for a value that is a shard where the metadata say that it is a chunk.

        Sizes tell; where they do not, decoding the chunk fails.
        """
        if value is None or request[1] is not None or array.is_sharded:
            return
        is_odd = (array.raw_size is not None and len(value) != array.raw_size) or (
            array.is_blosc and not blosc_fits(value, len(value))
        )
        if is_odd and (count := count_of(value)) is not None:
            raise CorruptDataError(
                f"{request[0]!r} ({name!r} in {self.inner.describe()}) is a shard of {count} chunks, but the metadata of "
                f"/{path} have lost the sharding transformer; open it with repair=True, or "
                f"chunks_per_shard={{{path!r}: [...]}} if that does not find out"
            )

    # ------------------------------------------------------------ listing

    def sizes(self, where: str, /) -> Iterator[tuple[str, int]]:
        """See the contract; documents are read, since their size here is that of the translation."""
        self._check_open()
        where = check_where(where)
        if not where or where.endswith("/"):
            return self._listing.below(where, where, sized=True)
        if keys.node_of(where) is not None:
            value = self.get_many([(where, None)])[0]
            return iter([] if value is None else [(where, len(value))])
        return self._size(where)

    def _size(self, key: str) -> Iterator[tuple[str, int]]:
        chunk = keys.split_final(key)
        array = None if chunk is None else self._hierarchy.arrays({chunk.path}).get(chunk.path)
        if chunk is None or array is None or not keys.fits(chunk, array.grid):
            return
        if self._repaired(chunk.path, array) is not None:
            value = self.get_many([(key, None)])[0]
            if value is not None:
                yield key, len(value)
            return
        for name in keys.draft_chunks(chunk.path, chunk.coords, array.grid.separator):
            for _, size in self.inner.sizes(name):
                yield key, size
                return

    def list_prefix(self, prefix: str, /) -> Iterator[str]:
        """See the contract; costs a listing of the documents and one of the chunks below the folder."""
        self._check_open()
        folder, prefix = split_prefix(prefix)
        return (key for key, _ in self._listing.below(folder, prefix, sized=False))

    def list_dir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """See the contract; chunks are listed for arrays only."""
        self._check_open()
        folder = check_folder(folder)
        path = folder[:-1]
        names = [f"{folder}{name}/" for name in self._hierarchy.members(path)] if keys.is_path(path) else []
        node = self._hierarchy.look([path])[path] if keys.is_path(path) else None
        direct = [keys.final_document(path)] if node is not None else []
        if not isinstance(node, DraftGroup):
            found, folders = children(self._listing.chunks_below(folder), folder)
            direct, names = [*direct, *found], [*names, *folders]
        return sorted(set(direct)), sorted(set(names))

    def close(self) -> None:
        """See the contract."""
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
        """How an array is read that lost its transformer; `None` for all others, and unless that is asked for."""
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
