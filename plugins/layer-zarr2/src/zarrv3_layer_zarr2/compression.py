"""Filters and compressors of numcodecs, as old documents have them, as codecs of the final format."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from zarrv3.errors import MetadataError, UnknownExtensionError
from zarrv3.format.codecs.blosc import MAX_TYPESIZE, SHUFFLES
from zarrv3.format.extensions import integer, shown
from zarrv3.store.contract import JSON
from zarrv3_layer_zarr2.dtypes import DType, byte_orders

_CHECKSUMS = {"crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"}
_COMPRESSORS = {"blosc", "gzip", "zlib", "bz2", "lz4", "lzma", "zstd"}
_BYTES = {*_CHECKSUMS, "shuffle", "base64"}
_SERIALIZERS = {"pcodec", "zfpy"}
"""Codecs from an array to bytes."""
_TEXTS = {"vlen-utf8": "string", "vlen-bytes": "bytes"}
_OBJECTS = {"json2", "msgpack2", "vlen-array"}
_WHOLE = {"json2", "msgpack2"}
"""Object codecs that keep the shape: the order of the document does not apply to them."""
_OUTPUT: Mapping[str, Callable[[Mapping[str, JSON], DType], DType]] = {
    "delta": lambda options, dtype: _named(options, "astype", dtype),
    "fixedscaleoffset": lambda options, dtype: _named(options, "astype", dtype),
    "quantize": lambda options, dtype: _named(options, "astype", dtype),
    "bitround": lambda _, dtype: dtype,
    "packbits": lambda _, __: np.dtype("u1"),
    "astype": lambda options, dtype: _named(options, "encode_dtype", dtype),
    "categorize": lambda options, _: _named(options, "astype", np.dtype("u1")),
}
"""The filters from array to array, and the dtype of what they make."""


class Codecs(NamedTuple):
    """The codecs of a chunk, and what they say about the data type of an object array."""

    codecs: list[JSON]
    object_type: str | None
    """The final data type where the document says "object"."""
    foreign: list[str]
    """Codecs that only this package reads."""


@dataclass
class _Chain:
    """Codecs under construction."""

    dtype: DType
    """The dtype after the filters so far."""
    arrays: list[JSON] = field(default_factory=list)
    serializer: JSON = None
    bytes: list[JSON] = field(default_factory=list)
    object_type: str | None = None
    foreign: list[str] = field(default_factory=list)

    def add(self, config: Mapping[str, JSON], what: str) -> None:
        """Add the next filter of the list, or the compressor."""
        options = dict(config)
        name = options.pop("id")
        if self.dtype.hasobject and self.serializer is None and name != "categorize":
            self._add_object_codec(name, options)
        elif name in _OUTPUT:
            self._add_array_filter(name, options)
        elif name in _SERIALIZERS and self.serializer is None and not self.bytes:
            self.serializer = _numcodec(name, options)
        elif name in _BYTES:
            self.bytes.append(_numcodec(name, options))
        elif name in _COMPRESSORS:
            self.bytes.append(_compressor(name, options, self.item_size))
        else:
            raise UnknownExtensionError(f"{what}: the codec {shown(name)} is not known")

    @property
    def item_size(self) -> int:
        """Bytes per element as the next codec from bytes to bytes sees it."""
        whole = self.bytes or self.serializer is not None or self.dtype.hasobject
        return 1 if whole else self.dtype.itemsize

    def _add_array_filter(self, name: str, options: dict[str, JSON]) -> None:
        if self.bytes or self.serializer is not None:
            raise MetadataError(
                f"filters: the array filter {name!r} behind a filter of bytes has no equivalent in the final format"
            )
        given = "decode_dtype" if name == "astype" else "dtype"
        if options.get(given) is not None and _named(options, given, self.dtype) != self.dtype:
            raise MetadataError(
                f"filters: {name!r} is configured for {options[given]}, but gets {self.dtype.str}"
            )
        if name == "categorize":
            self.arrays.append({"name": "zarr2.categorize", "configuration": options})
            self.foreign.append("the filter 'categorize'")
            self.object_type = "string" if self.dtype.hasobject else None
        else:
            self.arrays.append(_numcodec(name, options))
        self.dtype = _OUTPUT[name](options, self.dtype)

    def _add_object_codec(self, name: str, options: dict[str, JSON]) -> None:
        if name in _TEXTS:
            self.object_type = _TEXTS[name]
            self.serializer = {"name": name}
        elif name in _OBJECTS:
            self.object_type = "zarr2.object"
            self.serializer = {
                "name": "zarr2.object",
                "configuration": {"codec": {"id": name, **options}},
            }
            self.foreign.append(f"the object codec {name!r}")
        elif name == "pickle":
            raise UnknownExtensionError(
                "filters: 'pickle' is refused: unpickling stored bytes would run code from the store"
            )
        else:
            raise UnknownExtensionError(f"filters: the object codec {shown(name)} is not known")


def codecs(
    dtype: DType,
    ndim: int,
    order: str,
    filters: Sequence[Mapping[str, JSON]],
    compressor: Mapping[str, JSON] | None,
    *,
    mixed: bool,
) -> Codecs:
    """The final codecs of a chunk.

    Args:
        dtype: of the elements, in their byte order.
        ndim: the number of dimensions.
        order: `C` or `F`, how chunks are flattened.
        filters: configurations of numcodecs, in the order of encoding.
        compressor: a configuration of numcodecs, `None` for none.
        mixed: the elements are records whose byte order the data type tells.
    """
    chain = _Chain(dtype)
    for config in filters:
        chain.add(config, "filters")
    if chain.dtype.hasobject and chain.serializer is None:
        raise MetadataError("an array of objects without an object codec in filters")
    if compressor is not None:
        chain.add(compressor, "compressor")
    whole = bool(filters) and filters[0]["id"] in _WHOLE
    if order == "F" and ndim > 1 and not whole:
        reverse = list(range(ndim))[::-1]
        chain.arrays.insert(0, {"name": "transpose", "configuration": {"order": reverse}})
    if chain.serializer is None:
        orders = set() if mixed else byte_orders(chain.dtype)
        chain.serializer = (
            {"name": "bytes", "configuration": {"endian": orders.pop()}} if orders else {"name": "bytes"}
        )
    return Codecs([*chain.arrays, chain.serializer, *chain.bytes], chain.object_type, chain.foreign)


def configurations(value: JSON, member: str) -> list[dict[str, JSON]]:
    """Configurations of numcodecs in a document; raises `MetadataError` for anything else."""
    items = [] if value is None else value
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("id"), str) for item in items
    ):
        raise MetadataError(f"{member} {shown(value)}: a codec is an object with the member id")
    return items


def _compressor(name: str, options: Mapping[str, JSON], item_size: int) -> JSON:
    """A compressor of numcodecs in the final format: its own codec if there is one, otherwise `numcodecs.<name>`."""
    if name == "blosc":
        return _blosc(options, item_size)
    level = options.get("level")
    if name == "gzip" and isinstance(level, int) and 0 <= level <= 9:
        return {"name": "gzip", "configuration": {"level": level}}
    if name == "zstd":
        checksum = bool(options.get("checksum", False))
        return {"name": "zstd", "configuration": {"level": options.get("level", 1), "checksum": checksum}}
    return _numcodec(name, options)


def _blosc(options: Mapping[str, JSON], item_size: int) -> JSON:
    shuffle = options.get("shuffle", 1)
    if shuffle == -1:  # chosen by the writer: bits of single bytes, bytes of everything else
        shuffle = 2 if item_size == 1 else 1
    shuffle = integer("compressor 'blosc': shuffle", shuffle, 0, 2)
    configuration = {
        "cname": options.get("cname", "lz4"),
        "clevel": options.get("clevel", 5),
        "shuffle": SHUFFLES[shuffle],
        "typesize": item_size if item_size <= MAX_TYPESIZE else 1,
        "blocksize": options.get("blocksize", 0),
    }
    return {"name": "blosc", "configuration": configuration}


def _numcodec(name: str, options: Mapping[str, JSON]) -> JSON:
    return {"name": f"numcodecs.{name}", "configuration": dict(options)}


def _named(options: Mapping[str, Any], member: str, default: DType) -> DType:
    """The dtype that a filter's configuration names."""
    value = options.get(member)
    if value is None:
        return default
    try:
        if isinstance(value, str) and re.fullmatch(r"[|<>=]?[A-Za-z]+[0-9]*(?:\[[A-Za-z]+\])?", value):
            return np.dtype(value)
    except (TypeError, ValueError):
        pass
    raise MetadataError(f"filters: {member} {shown(value)} is not a dtype")
