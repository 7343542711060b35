"""Array and group metadata: the document `zarr.json` as checked values (core specification, "Metadata").

The document that was read is kept. Rewriting one changes the members that changed and nothing else: unknown members,
short-hand names, URIs and the order of members survive.
"""

import marshal
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, SupportsIndex, TypeAlias

from zarrv3.errors import MetadataError, NotPortableError, UnknownExtensionError
from zarrv3.format.codecs import ChunkSpec, Codec, CodecChain, check_order, default_codecs, parse_codec
from zarrv3.format.cuts import Cut, Edges, largest
from zarrv3.format.data_types import DataType, data_type_of, parse_data_type
from zarrv3.format.documents import check_json, copied, load_document
from zarrv3.format.extensions import Guard, NamedConfig, Reading, shown
from zarrv3.format.grids import (
    ChunkGrid,
    ChunkKeyEncoding,
    DefaultKeys,
    RegularGrid,
    Shape,
    check_fit,
    check_shape,
    parse_grid,
    parse_keys,
    resized,
)
from zarrv3.store.contract import JSON, Buffer

_COMMON = ("zarr_format", "node_type", "attributes")
_REQUIRED = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
_ARRAY = frozenset({*_COMMON, *_REQUIRED, "dimension_names", "storage_transformers"})
_GROUP = frozenset({*_COMMON, "consolidated_metadata"})

SAMPLED = 100
"""With how many lengths of chunks the codecs of a new array are tried; others may fail when such a chunk is written."""

Document = dict[str, JSON]

Known: TypeAlias = dict[tuple[str, bytes], Any]
"""What members of documents stand for, by their names and values."""


@dataclass(frozen=True, kw_only=True)
class _NodeMetadata:
    """What groups and arrays have in common."""

    zarr_format: ClassVar[int] = 3
    node_type: ClassVar[str]
    attributes: Mapping[str, JSON] = field(compare=False)
    document: Document = field(repr=False)

    def to_document(self) -> Document:
        """The document, as read except for what was changed; a copy."""
        return {name: copied(value) for name, value in self.document.items()}

    to_dict = to_document

    def detached(self) -> Self:
        """A copy that shares no list or object with this node."""
        return replace(self, attributes=copied(dict(self.attributes)), document=self.to_document())

    def with_attributes(self, attributes: Mapping[str, JSON]) -> Self:
        """This node with other attributes; `MetadataError` if JSON cannot hold them.

        NaN and infinities, which are not JSON but which other writers put there, may stay where they are.
        """
        checked = _attributes(attributes, self.attributes)
        return replace(self, attributes=checked, document={**self.document, "attributes": copied(checked)})


class Inline(dict[str, JSON]):
    """Consolidated metadata as they stand in a document."""

    @property
    def metadata(self) -> "dict[str, ArrayMetadata | GroupMetadata]":
        """The metadata of all nodes below, by path; `MetadataError` for a member that is not a document."""
        with Reading("consolidated_metadata"):
            documents: Any = self["metadata"]
            return {path: metadata_of(document, source=path) for path, document in documents.items()}


@dataclass(frozen=True, kw_only=True)
class GroupMetadata(_NodeMetadata):
    """The metadata of a group. Two are equal if their documents are."""

    node_type = "group"
    consolidated_metadata: Inline | None = field(default=None, compare=False)
    """As it stands in the document (zarr-python writes `null` for none); layers know what to do with it."""

    @classmethod
    def create(cls, attributes: Mapping[str, JSON] | None = None) -> Self:
        """Metadata of a new group."""
        own = _attributes(attributes or {})
        document: Document = {"zarr_format": 3, "node_type": "group", "attributes": own}
        return cls(attributes=copied(own), document=document)

    @classmethod
    def from_document(cls, document: Mapping[str, JSON], *, source: str) -> Self:
        """Check a document; `MetadataError` says what is wrong with the one at `source`."""
        with Reading(source):
            _check_head(document, "group", _GROUP)
            consolidated = document.get("consolidated_metadata")
            if consolidated is not None and not isinstance(consolidated, Mapping):
                raise MetadataError(f"consolidated_metadata must be an object, not {shown(consolidated)}")
            inline = None if consolidated is None else Inline(consolidated)
        kept = dict(document)
        return cls(attributes=kept.get("attributes", {}), consolidated_metadata=inline, document=kept)

    def with_consolidated_metadata(self, value: Mapping[str, JSON] | None) -> Self:
        """This group with other consolidated metadata, or none."""
        document = {name: item for name, item in self.document.items() if name != "consolidated_metadata"}
        if value is not None:
            document["consolidated_metadata"] = dict(value)
        inline = None if value is None else Inline(value)
        return replace(self, consolidated_metadata=inline, document=document)


@dataclass(frozen=True, kw_only=True)
class ArrayMetadata(_NodeMetadata):
    """The metadata of an array. Two are equal if their documents are."""

    node_type = "array"
    shape: Shape = field(compare=False)
    data_type: DataType = field(compare=False)
    chunk_grid: ChunkGrid = field(compare=False)
    chunk_key_encoding: ChunkKeyEncoding = field(compare=False)
    fill_value: Any = field(compare=False)
    """A scalar of `data_type`."""
    codecs: tuple[Codec, ...] = field(compare=False)
    """In the order of encoding; one that is not installed and need not be understood is left out."""
    storage_transformers: tuple[NamedConfig, ...] = field(default=(), compare=False)
    """In the order of the document, not looked up: the array layer does that."""
    dimension_names: tuple[str | None, ...] | None = field(default=None, compare=False)

    @classmethod
    def create(
        cls,
        *,
        shape: Sequence[SupportsIndex],
        data_type: Any,
        chunk_shape: Sequence[int] | None = None,
        chunk_grid: ChunkGrid | None = None,
        chunk_key_encoding: ChunkKeyEncoding | None = None,
        fill_value: Any = None,
        codecs: Iterable[Codec | JSON] | None = None,
        attributes: Mapping[str, JSON] | None = None,
        dimension_names: Sequence[str | None] | None = None,
        storage_transformers: Iterable[NamedConfig] = (),
    ) -> Self:
        """Metadata of a new array; everything is checked as if it had been read.

        `codecs` may leave out what follows from the data type (`default_codecs` if there are none at all); what is
        filled in is recorded, as the specification asks.
        """
        data_type = data_type_of(data_type)
        lengths = check_shape(tuple(shape), data_type.item_size)
        whole = [max(length, 1) for length in lengths]
        grid = chunk_grid or RegularGrid(tuple(whole if chunk_shape is None else chunk_shape))
        with Guard("data_types", data_type, "fill_value"):
            fill = data_type.cast_fill(fill_value)
            fill_json = data_type.fill_to_json(fill)
        spec = ChunkSpec(largest(grid.cuts), data_type, fill)
        if codecs is None:
            codecs = default_codecs(data_type)
        parsed = [parse_codec(codec, f"codecs[{index}]") for index, codec in enumerate(codecs)]
        for chunk in _other_shapes(grid.cuts):
            CodecChain.build(parsed, spec._replace(shape=chunk))
        document: Document = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(lengths),
            "data_type": data_type.to_json(),
            "chunk_grid": grid.to_json(),
            "chunk_key_encoding": (chunk_key_encoding or DefaultKeys()).to_json(),
            "fill_value": fill_json,
            "codecs": CodecChain.build(parsed, spec).to_json(),
            "attributes": _attributes(attributes or {}),
            "storage_transformers": [transformer.to_json() for transformer in storage_transformers],
        }
        if dimension_names is not None:
            document["dimension_names"] = list(dimension_names)
        check_json({**document, "attributes": None}, "new array")
        return cls.from_document(document, source="new array")

    @classmethod
    def from_document(cls, document: Mapping[str, JSON], *, source: str, known: Known | None = None) -> Self:
        """Check a document; `MetadataError` says what is wrong with the one at `source`; see `parse_document`."""
        with Reading(source):
            return cls._parse(dict(document), {} if known is None else known)

    @classmethod
    def _parse(cls, document: Document, known: Known) -> Self:
        _check_head(document, "array", _ARRAY)
        if missing := [name for name in _REQUIRED if name not in document]:
            raise MetadataError(f"the document lacks {', '.join(missing)}")
        data_type, grid, codecs, keys = _members(document, known)
        shape = check_shape(document["shape"], data_type.item_size)
        check_fit(grid, shape)
        if math.prod(most := largest(grid.cuts)) * (data_type.item_size or 1) >= 2**63:
            raise MetadataError(f"chunk_shape {shown(most)}: a chunk of more than 2**63 bytes")
        with Guard("data_types", data_type, "fill_value"):
            fill = data_type.fill_from_json(document["fill_value"])
            if _has_bare_nan(document["fill_value"]):  # written back as JSON has it
                document["fill_value"] = data_type.fill_to_json(fill)
        transformers = document.get("storage_transformers")
        if transformers is None:  # absent, or the null of some writers
            transformers = []
        if not isinstance(transformers, list | tuple):
            raise MetadataError(f"storage_transformers must be a list, not {shown(transformers)}")
        named = []
        for number, one in enumerate(transformers):
            named.append(NamedConfig.parse(one, f"storage_transformers[{number}]"))
        return cls(
            shape=shape,
            data_type=data_type,
            chunk_grid=grid,
            chunk_key_encoding=keys,
            fill_value=fill,
            codecs=codecs,
            attributes=document.get("attributes", {}),
            storage_transformers=tuple(named),
            dimension_names=_dimension_names(document.get("dimension_names"), len(shape)),
            document=document,
        )

    @property
    def chunk_spec(self) -> ChunkSpec:
        """What every chunk of the grid looks like; the largest, where they differ."""
        return ChunkSpec(largest(self.chunk_grid.cuts), self.data_type, self.fill_value)

    def check_portable(self) -> None:
        """Raise `NotPortableError` when the data type or a codec exists only in what a layer shows."""
        if not self.data_type.portable:
            raise NotPortableError(
                f"the data type {self.data_type.describe()} has no form in the final format; its values can be stored as "
                "another: create_array(…, data=array[...].astype(…))"
            )
        for codec in self.codecs:
            if not codec.portable:
                raise NotPortableError(
                    f"the codec {shown(codec.to_json())} has no form in the final format; its values can be encoded by others: "
                    "copy(…, filters=None, serializer='auto')"
                )

    def codec_chain(self) -> CodecChain:
        """The codecs ready for use; `MetadataError` if they do not fit the chunks."""
        return CodecChain.build(self.codecs, self.chunk_spec)

    def with_shape(self, shape: Sequence[SupportsIndex]) -> Self:
        """This array with other lengths, but as many dimensions; the chunk grid grows with it where it has to."""
        lengths = check_shape(tuple(shape), self.data_type.item_size)
        grid = resized(self.chunk_grid, lengths, self._unit())
        document = {**self.document, "shape": list(lengths)}
        if grid != self.chunk_grid:
            document["chunk_grid"] = grid.to_json()
        return replace(self, shape=lengths, chunk_grid=grid, document=document)

    def _unit(self) -> Shape:
        """What lengths of chunks have to be multiples of."""
        cuts, lowered = self.chunk_grid.cuts, None
        if len(self.codecs) == 1:
            with Guard("codecs", self.codecs[0], "codecs[0]"):
                lowered = self.codecs[0].lower(self.chunk_spec, cuts)
        return (1,) * len(cuts) if lowered is None else largest(lowered.grid.cuts)


def _other_shapes(cuts: Sequence[Cut]) -> Iterator[Shape]:
    """The largest chunk with other lengths in one dimension: enough to see whether codecs fit all chunks."""
    most = largest(cuts)
    for axis, cut in enumerate(cuts):
        if isinstance(cut, Edges):
            for length in sorted({length for length, _ in cut.runs} - {cut.longest})[:SAMPLED]:
                yield (*most[:axis], length, *most[axis + 1 :])


def parse_document(data: Buffer, *, source: str, known: Known | None = None) -> ArrayMetadata | GroupMetadata:
    """The metadata in the bytes of `zarr.json`; `source` names the document in errors, which are `MetadataError`s.

    Documents that are read together may share what is `known`: arrays of one hierarchy have data types and codecs in common.
    """
    return metadata_of(load_document(data, source=source), source=source, known=known)


def metadata_of(
    document: Mapping[str, JSON], *, source: str, known: Known | None = None
) -> ArrayMetadata | GroupMetadata:
    """The metadata in a document that has been parsed; see `parse_document`."""
    node_type = document.get("node_type")
    if node_type == ArrayMetadata.node_type:
        return ArrayMetadata.from_document(document, source=source, known=known)
    if node_type == GroupMetadata.node_type:
        return GroupMetadata.from_document(document, source=source)
    raise MetadataError(f'{source}: node_type must be "array" or "group", not {shown(node_type)}')


def _check_head(document: Mapping[str, JSON], node_type: str, known: frozenset[str]) -> None:
    """The members that arrays and groups share, and those that nobody knows."""
    version = document.get("zarr_format")
    if type(version) is not int or version != 3:
        raise MetadataError(f"zarr_format must be 3, not {shown(version)}")
    if document.get("node_type") != node_type:
        raise MetadataError(f'node_type must be "{node_type}", not {shown(document.get("node_type"))}')
    if not isinstance(document.get("attributes", {}), Mapping):
        raise MetadataError(f"attributes must be an object, not {shown(document['attributes'])}")
    for name, value in document.items():
        if name not in known and not (isinstance(value, Mapping) and value.get("must_understand") is False):
            raise UnknownExtensionError(
                f"the member {shown(name)} is unknown and must be understood: "
                "a newer version or an extension wrote this document"
            )


def _members(document: Document, known: Known) -> list[Any]:
    """What `_PARSED` stand for in a document; parsed once for documents in which a member is the same to the last bit."""
    found = []
    for member, parse in _PARSED.items():
        try:
            key = member, marshal.dumps(document[member], 2)  # tells 1 from true and from 1.0
        except ValueError:  # what JSON does not have
            found.append(parse(document[member]))
            continue
        if key not in known:
            known[key] = parse(document[member])
        found.append(known[key])
    return found


def _codecs(value: JSON) -> tuple[Codec, ...]:
    """The codecs of a document. An unknown one that says `must_understand: false` is ignored, as its writer allows."""
    if not isinstance(value, list | tuple) or not value:
        raise MetadataError(f"codecs must be a list with at least one codec, not {shown(value)}")
    codecs: list[Codec] = []
    for index, item in enumerate(value):
        member = f"codecs[{index}]"
        named = NamedConfig.parse(item, member)
        if not named.is_ignored("codecs"):
            codecs.append(named.resolve("codecs", Codec, member))  # type: ignore[type-abstract]
    check_order(codecs)
    return tuple(codecs)


_PARSED: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "data_type": parse_data_type,
        "chunk_grid": parse_grid,
        "codecs": _codecs,
        "chunk_key_encoding": parse_keys,
    }
)


def _dimension_names(value: JSON, ndim: int) -> tuple[str | None, ...] | None:
    """Names of dimensions; `null` for the whole list, which some writers use, means that there are none."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(
        name is None or isinstance(name, str) for name in value
    ):
        raise MetadataError(f"dimension_names must be a list of strings and nulls, not {shown(value)}")
    if len(value) != ndim:
        raise MetadataError(f"dimension_names has {len(value)} entries, shape has {ndim}")
    return tuple(value)


def _attributes(value: Mapping[str, JSON], kept: JSON = None) -> Document:
    if not isinstance(value, Mapping):
        raise MetadataError(f"attributes must be a mapping, not {shown(value)}")
    checked: Document = check_json(value, "attributes", kept)
    return checked


def _has_bare_nan(value: JSON) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bare_nan, value.values()))
    if isinstance(value, list):
        return any(map(_has_bare_nan, value))
    return isinstance(value, float) and not math.isfinite(value)
