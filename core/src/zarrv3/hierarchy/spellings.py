"""What zarr-python 2 and 3 call the arguments of a new array, in the words of `creation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from zarrv3.errors import ConfigurationError
from zarrv3.format.data_types import data_type_of
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy import creation
from zarrv3.hierarchy.arguments import ArrayArguments, check_format, check_names
from zarrv3.hierarchy.array import Array, usage_of
from zarrv3.indexing.casting import array_like, is_stored
from zarrv3.store.base import BaseStore


def create(
    store: BaseStore,
    path: str,
    *,
    shape: int | Sequence[int] | None = None,
    data: Any = None,
    overwrite: bool = False,
    **arguments: Unpack[ArrayArguments],
) -> Array:
    """Create an array in a store, from arguments in any of the spellings.

    Raises `TypeError` for an unknown argument, and what `creation.create` raises.
    """
    check_names(arguments, ArrayArguments)
    rest: dict[str, Any] = {**arguments}
    check_format(rest.pop("zarr_version", None), rest.pop("zarr_format", None))
    _drop_meaningless(rest)
    chunk_shape = rest.pop("chunk_shape", None)
    if chunk_shape is not None:
        rest["chunks"] = chunk_shape
    read_only = rest.pop("read_only", False)
    rest["dtype"] = _object_dtype(rest.get("dtype"), rest.pop("object_codec", None))
    array = creation.create(store, path, shape=shape, data=data, overwrite=overwrite, **rest)
    if not read_only:
        return array
    return Array(store, path, read_only=True, metadata=array.metadata, **usage_of(arguments))


def like(prototype: Any, arguments: Mapping[str, Any], *, kept: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments for an array like another (ours, or any with a shape); those given win, but for a shape of `None`.

    Of one of ours the members `kept` of its metadata are taken too.
    """
    metadata = getattr(prototype, "metadata", None)
    if isinstance(metadata, ArrayMetadata):
        copied: dict[str, Any] = {
            "shape": prototype.shape,
            "dtype": metadata.data_type,
            **creation.chunk_arguments(prototype),
            **{name: getattr(metadata, name) for name in kept},
        }
        if metadata.storage_transformers:
            copied["storage_transformers"] = [named.to_json() for named in metadata.storage_transformers]
            del copied["shards"]
        if arguments.get("dtype") is None or data_type_of(arguments["dtype"]) == metadata.data_type:
            copied["fill_value"] = prototype.fill_value
            if not {"compressor", "compressors", "filters", "serializer", "order", "codecs"} & set(arguments):
                copied["codecs"] = prototype.codecs
    else:
        prototype = array_like(prototype)
        copied = {"shape": prototype.shape, **_chunks_of(prototype)}
        for name in ("dtype", "fill_value"):
            if getattr(prototype, name, None) is not None:
                copied[name] = getattr(prototype, name)
    given = {name: value for name, value in arguments.items() if name != "shape" or value is not None}
    return {**copied, **given}


def of(data: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for an array with the values of `data`, and with its chunks unless others are given."""
    return {"data": data, **_chunks_of(data), **arguments}


def _chunks_of(data: Any) -> dict[str, Any]:
    """The chunk shape of something that has one; a dask array has tuples instead of lengths."""
    if not is_stored(data):
        return {}
    if isinstance(data, Array):
        return {"chunks": creation.chunk_arguments(data)["chunks"]}
    try:
        return {"chunks": data.chunks}
    except NotImplementedError:  # they differ in shape
        return {"chunks": data.read_chunk_sizes}


def _drop_meaningless(arguments: dict[str, Any]) -> None:
    """Drop what zarr-python 2 could be told and what changes nothing here; refuse what would change something."""
    for name in ("cache_metadata", "cache_attrs"):
        arguments.pop(name, None)
    reasons = {
        "synchronizer": "writers of one process need none, and processes should not share chunks",
        "chunk_store": "an array's chunks lie beside its metadata",
        "meta_array": "arrays are numpy arrays",
    }
    for name, reason in reasons.items():
        if arguments.pop(name, None) is not None:
            raise ConfigurationError(f"there is no {name!r} here: {reason}")


def _object_dtype(dtype: Any, object_codec: Any) -> Any:
    """The data type that an object dtype of zarr-python 2 stands for: text or bytes."""
    if object_codec is None:
        return dtype
    known = {"vlen-utf8": "string", "vlen-bytes": "bytes"}
    codec_id = getattr(object_codec, "codec_id", None)
    if codec_id not in known:
        raise ConfigurationError(
            f"object_codec {object_codec!r} has no data type in Zarr V3; use VLenUTF8 or VLenBytes"
        )
    return known[codec_id]
