"""Documents of the draft, translated to the final format."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.data_types import DataType, parse_data_type
from zarrv3.format.documents import dump_document, load_document
from zarrv3.format.extensions import Reading, choice, shown
from zarrv3.format.grids import check_shape
from zarrv3.store.contract import JSON, Buffer
from zarrv3_layer_draft_v3.keys import Grid
from zarrv3_layer_zarr2 import compression
from zarrv3_layer_zarr2.dtypes import data_type, dtype_of, fill_value, is_mixed
from zarrv3_layer_zarr2.members import chunk_lengths, valid_attributes

_REQUIRED = ("shape", "data_type", "chunk_grid", "chunk_memory_layout", "fill_value", "attributes")
_SHARDING = re.compile(r"(?:https://purl\.org/zarr/spec/storage_transformers/sharding/[^/]+/?|sharding)")
_OLD_DATETIME = "protocol/extensions/datetime-dtypes/"
"""What the URI of date and time types has in documents of zarr-python 2.12."""

_CODEC = re.compile(r"https://purl\.org/zarr/spec/codec/([^/]+)/")
_BARE = "https://purl.org/zarr/spec/codec/"
"""What was written for a codec without a URI: which one is not recorded."""

_MAX_INDEX = 2**31
"""The most bytes of a shard's index; more is a mistake in the document."""

EMPTY_GROUP = dump_document({"zarr_format": 3, "node_type": "group", "attributes": {}})
"""The final document of a group that the draft has no document for."""


class Note(NamedTuple):
    """Something about a document that a user should know: one of the kinds of `report.KINDS`, and a sentence."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DraftArray:
    """An array of the draft: its final document, and what is needed to find its chunks."""

    kind: ClassVar[str] = "array"

    document: bytes
    grid: Grid
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """The chunks that are encoded each on its own."""
    is_sharded: bool
    raw_size: int | None
    """The bytes of every chunk where nothing compresses or filters them."""
    is_blosc: bool
    """Whether the last codec is blosc, whose header tells the number of bytes."""
    foreign: tuple[str, ...] = ()
    """The parts of the document that only this package reads."""
    notes: tuple[Note, ...] = field(default=(), compare=False)


class Options(NamedTuple):
    """A user's options for one array."""

    misordered: bool = False
    """Whether its bytes are in order C although its order is F."""
    named: bool = True
    """Whether the array was named, so a contradiction is an error; otherwise the option is for all arrays."""


def draft_group(value: Buffer, source: str) -> tuple[bytes, tuple[Note, ...]]:
    """The final document of a group; raises `MetadataError` naming `source`."""
    document = load_document(value, source=source)
    with Reading(source):
        attributes, notes = _attributes(document.get("attributes", {}))
        final = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return dump_document(final), notes


def draft_array(value: Buffer, source: str, options: Options) -> DraftArray:
    """The array that a document describes; raises `MetadataError` naming `source`."""
    document = load_document(value, source=source)
    with Reading(source):
        return _Translation(document, options).array()


class _Translation:
    """One array document being translated."""

    def __init__(self, document: dict[str, JSON], options: Options) -> None:
        if missing := [name for name in _REQUIRED if name not in document]:
            raise MetadataError(f"the document lacks {', '.join(missing)}")
        self.document = document
        self.notes: list[Note] = []
        self.dtype = dtype_of(document["data_type"])
        self.shape = check_shape(document["shape"], max(1, self.dtype.itemsize))
        self.separator, self.chunk_shape = _grid(document["chunk_grid"], self.shape)
        self.order = choice("chunk_memory_layout", document["chunk_memory_layout"], ("C", "F"))
        self.per_shard = _transformers(document.get("storage_transformers", []), len(self.shape))
        attributes, notes = _attributes(document["attributes"])
        self.filters = _filters(attributes)
        if self.filters or attributes.get("filters", 0) in (None, []):
            del attributes["filters"]
        self.attributes = attributes
        self.notes.extend(notes)
        self.compressor = _compressor(document.get("compressor"))
        self.misorder(options)

    def misorder(self, options: Options) -> None:
        """Decide about arrays whose bytes may be in another order than the document says."""
        plain = self.compressor is None and not self.filters and not self.per_shard
        suspect = self.order == "F" and len(self.shape) > 1 and plain
        if suspect and options.misordered:
            self.order = "C"
        elif suspect:
            text = (
                "order F without compressor: if zarr-python's FSStoreV3 wrote it, its bytes are in order C and the "
                "values come out transposed; then open it with misordered=[path]"
            )
            self.notes.append(Note("order-unknown", text))
        elif options.misordered and options.named:
            raise MetadataError(
                "misordered is for arrays of order F and two or more dimensions, without compressor, filters and shards"
            )

    def array(self) -> DraftArray:
        codecs = self._codecs()
        final_type = parse_data_type(codecs.object_type) if codecs.object_type else data_type(self.dtype)
        if is_mixed(self.dtype):
            codecs.foreign.append("a record that has sub-arrays or both byte orders")
        self._note()
        chain, chunk_shape = codecs.codecs, self.chunk_shape
        for factors in self.per_shard:
            chain = [_sharding(chunk_shape, chain)]
            chunk_shape = tuple(c * f for c, f in zip(chunk_shape, factors, strict=True))
        final = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": final_type.to_json(),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk_shape)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": self.separator}},
            "fill_value": self._fill(final_type),
            "codecs": chain,
            "attributes": self.attributes,
        }
        names = [codec["name"] for codec in codecs.codecs]
        raw = set(names) <= {"transpose", "bytes"}
        return DraftArray(
            document=dump_document(final),
            grid=Grid(len(self.shape), self.separator),
            shape=self.shape,
            chunk_shape=self.chunk_shape,
            is_sharded=bool(self.per_shard),
            raw_size=math.prod(self.chunk_shape) * self.dtype.itemsize if raw else None,
            is_blosc=names[-1] == "blosc",
            foreign=tuple(codecs.foreign),
            notes=tuple(self.notes),
        )

    def _codecs(self) -> compression.Codecs:
        mixed = is_mixed(self.dtype)
        return compression.codecs(
            self.dtype, len(self.shape), self.order, self.filters, self.compressor, mixed=mixed
        )

    def _fill(self, final_type: DataType) -> JSON:
        value = self.document["fill_value"]
        if not self.dtype.hasobject:
            return fill_value(value, self.dtype, final_type)
        if final_type.to_json() == "zarr2.object":
            return final_type.fill_to_json(final_type.cast_fill(value))
        if isinstance(value, str) and final_type.to_json() == "string":
            return value
        return final_type.fill_to_json(
            final_type.default_fill()
        )  # zarr-python 2 reads null, 0 and "" as no text

    def _note(self) -> None:
        if self.document["fill_value"] is None:
            text = "no fill value: what was never written is undefined; it is read as zero or empty"
            self.notes.append(Note("undefined-fill", text))
        stored_type = self.document["data_type"]
        if isinstance(stored_type, dict) and _OLD_DATETIME in str(stored_type.get("extension")):
            text = "the data type is spelled as zarr-python 2.12 did; the values are read all the same"
            self.notes.append(Note("old-datetime", text))
        if "filters" in self.attributes:
            text = "an attribute is called filters and names no filters: it is kept, zarr-python 2 cannot open the array"
            self.notes.append(Note("filters-attribute", text))


def _grid(value: JSON, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Separator and chunk shape."""
    if not isinstance(value, dict) or value.get("type") != "regular":
        raise MetadataError(f"chunk_grid must be of the type regular, not {shown(value)}")
    separator = choice("chunk_grid.separator", value.get("separator"), ("/", "."))
    return separator, chunk_lengths("chunk_grid.chunk_shape", value.get("chunk_shape"), shape)


def _transformers(value: JSON, ndim: int) -> list[tuple[int, ...]]:
    """How many chunks along each dimension make a shard, from the array to the store; empty without sharding."""
    if not isinstance(value, list):
        raise MetadataError(f"storage_transformers must be a list, not {shown(value)}")
    shards = []
    for item in value:
        extension = item.get("extension") if isinstance(item, dict) else None
        known = isinstance(extension, str) and _SHARDING.fullmatch(extension)
        if not known or item.get("type") != "indexed":
            raise UnknownExtensionError(f"the storage transformer {shown(item)} is not known")
        configuration = item.get("configuration")
        given = configuration.get("chunks_per_shard") if isinstance(configuration, dict) else None
        shards.append(per_dimension(given, ndim))
    return shards


def per_dimension(given: Any, ndim: int) -> tuple[int, ...]:
    """`chunks_per_shard` with a number for each dimension: a shorter list means that ones follow."""
    numbers = list(given) if isinstance(given, list | tuple) else [given]
    if any(type(number) is not int or number < 1 for number in numbers):
        raise MetadataError(f"chunks_per_shard must be positive numbers, not {shown(given)}")
    if len(numbers) > ndim and numbers != [1]:  # [1] is what an array without dimensions has
        raise MetadataError(f"chunks_per_shard {shown(given)} has more numbers than the array dimensions")
    if 16 * math.prod(numbers) > _MAX_INDEX:
        raise MetadataError(f"chunks_per_shard {shown(given)}: an index of {16 * math.prod(numbers)} bytes")
    return tuple([*numbers, *[1] * ndim][:ndim])


def _sharding(chunk_shape: tuple[int, ...], codecs: list[JSON]) -> JSON:
    """The codec of the final format whose bytes are the same."""
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunk_shape),
            "codecs": codecs,
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "index_location": "end",
        },
    }


def _compressor(value: JSON) -> dict[str, JSON] | None:
    """The compressor as a configuration of numcodecs."""
    if value is None:
        return None
    uri = value.get("codec") if isinstance(value, dict) else None
    options = value.get("configuration", {}) if isinstance(value, dict) else None
    if not isinstance(uri, str) or not isinstance(options, dict):
        raise MetadataError(f"compressor {shown(value)} is not an object with codec and configuration")
    if uri == _BARE:
        raise UnknownExtensionError(
            "the compressor has no name: zarr-python 2 wrote that for codecs without a URI (Zstd before 2.18.2) and then "
            "failed, so the array has no chunks"
        )
    match = _CODEC.match(uri)
    if match is None:
        raise UnknownExtensionError(f"the compressor {shown(uri)} is not known")
    return {**options, "id": match[1]}


def _filters(attributes: dict[str, JSON]) -> list[dict[str, JSON]]:
    """The filters that the draft hides among the attributes; another attribute of that name is left alone."""
    value = attributes.get("filters")
    if isinstance(value, list) and all(
        isinstance(item, dict) and isinstance(item.get("id"), str) for item in value
    ):
        return value
    return []


def _attributes(value: JSON) -> tuple[dict[str, JSON], tuple[Note, ...]]:
    """User attributes in valid JSON, and what in them was not JSON."""
    attributes, replaced = valid_attributes(value)
    if not replaced:
        return attributes, ()
    text = f"NaN or Infinity in the attributes {', '.join(replaced)} are not JSON; they are read as texts"
    return attributes, (Note("not-json", text),)
