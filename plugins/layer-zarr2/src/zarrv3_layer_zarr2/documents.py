"""Documents of version 2, translated to the final format."""

from collections.abc import Mapping

from zarrv3.errors import MetadataError
from zarrv3.format.data_types import DataType, parse_data_type
from zarrv3.format.documents import dump_document
from zarrv3.format.extensions import Reading, choice, integer, shown
from zarrv3.format.grids import check_shape
from zarrv3.store.contract import JSON
from zarrv3_layer_zarr2 import compression
from zarrv3_layer_zarr2.dtypes import data_type, dtype_of, fill_value, is_mixed
from zarrv3_layer_zarr2.members import chunk_lengths, valid_attributes

DIMENSIONS = "_ARRAY_DIMENSIONS"
"""The attribute in which xarray names dimensions."""

_REQUIRED = ("shape", "chunks", "dtype", "compressor", "fill_value", "order")

Document = Mapping[str, JSON]


IMPLICIT = dump_document({"zarr_format": 3, "node_type": "group", "attributes": {}})
"""The final document of a group that has none of version 2."""


def group(document: Document | None, attributes: Document, source: str) -> dict[str, JSON]:
    """The final document of a group, which may have none of version 2; raises `MetadataError` naming `source`."""
    with Reading(source):
        if document is not None:
            _check_format(document)
        return {"zarr_format": 3, "node_type": "group", "attributes": valid_attributes(attributes)[0]}


def array(document: Document, attributes: Document, source: str, separator: str = ".") -> dict[str, JSON]:
    """The final document of an array; raises `MetadataError` naming `source`.

    Args:
        document: the content of `.zarray`.
        attributes: the content of `.zattrs`.
        source: where it lies, for errors.
        separator: that of chunk keys if the document does not say.
    """
    with Reading(source):
        return _array(document, attributes, separator)


def dumped(final: Document | None) -> bytes | None:
    """A final document as bytes."""
    return None if final is None else dump_document(final)


def _array(document: Document, attributes: Document, separator: str) -> dict[str, JSON]:
    _check_format(document)
    if missing := [name for name in _REQUIRED if name not in document]:
        raise MetadataError(f"the document lacks {', '.join(missing)}")
    dtype = dtype_of(document["dtype"])
    shape = check_shape(document["shape"], max(1, dtype.itemsize))
    chunks = chunk_lengths("chunks", document["chunks"], shape)
    order = choice("order", document["order"], ("C", "F"))
    found = document.get("dimension_separator") or separator
    filters = compression.configurations(document.get("filters"), "filters")
    value = document["compressor"]
    compressors = compression.configurations(None if value is None else [value], "compressor")
    mixed = is_mixed(dtype)
    codecs = compression.codecs(dtype, len(shape), order, filters, next(iter(compressors), None), mixed=mixed)
    final_type = parse_data_type(codecs.object_type) if codecs.object_type else data_type(dtype)
    valid, _ = valid_attributes(attributes)
    names = valid.get(DIMENSIONS)
    final: dict[str, JSON] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": final_type.to_json(),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {
            "name": "v2",
            "configuration": {"separator": choice("dimension_separator", found, (".", "/"))},
        },
        "fill_value": _fill(document["fill_value"], dtype.hasobject, final_type)
        if codecs.object_type
        else fill_value(document["fill_value"], dtype, final_type),
        "codecs": codecs.codecs,
        "attributes": valid,
    }
    if is_dimensions(names, len(shape)):
        del valid[DIMENSIONS]
        final["dimension_names"] = names
    return final


def _check_format(document: Document) -> None:
    """Raise `MetadataError` unless a document is of version 2."""
    integer("zarr_format", document.get("zarr_format"), 2, 2)


def is_dimensions(names: JSON, ndim: int) -> bool:
    """Whether an attribute names the dimensions of an array."""
    return isinstance(names, list) and len(names) == ndim and all(isinstance(name, str) for name in names)


def _fill(value: JSON, is_object: bool, final_type: DataType) -> JSON:
    """The fill value of an array whose data type its codecs tell."""
    name = final_type.to_json()
    if name == "zarr2.object":
        return final_type.fill_to_json(final_type.cast_fill(value))
    if isinstance(value, str) and name in {"string", "bytes"}:  # byte strings in base64
        return final_type.fill_to_json(final_type.fill_from_json(value))
    if is_object and value not in (None, 0):
        raise MetadataError(f"fill_value {shown(value)} is not one of {final_type.describe()}")
    return final_type.fill_to_json(final_type.default_fill())  # zarr-python 2 reads null, 0 and "" as no text
