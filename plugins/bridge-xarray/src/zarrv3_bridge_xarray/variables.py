"""One array of ours as one variable of xarray: its elements lazily, its dimensions, attributes and encoding."""

import asyncio
import math
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from xarray import Variable
from xarray.backends import BackendArray
from xarray.backends.zarr import FillValueCoder
from xarray.coding.strings import check_vlen_dtype, create_vlen_dtype
from xarray.core import indexing

from zarrv3 import Array
from zarrv3.errors import MetadataError
from zarrv3.format.codecs import CodecChain, default_serializer
from zarrv3.format.cuts import Cut, clipped, count_of
from zarrv3.format.documents import copied
from zarrv3.store.contract import JSON

DIMENSIONS = "_ARRAY_DIMENSIONS"
"""The attribute in which writers of Zarr version 2 put the names of dimensions, and some of version 3 too."""


Known: TypeAlias = dict[tuple[Any, ...], dict[str, JSON]]
"""The codecs of arrays that are open, by what they share."""


class LazyArray(BackendArray):
    """The elements of an array, read when they are asked for. Pickles by the store's configuration. Thread-safe."""

    __slots__ = ("_array", "dtype", "shape")

    def __init__(self, array: Array) -> None:
        self._array = array
        self.shape = array.shape
        is_bytes = array.dtype.hasobject and array.metadata.data_type.to_json() in {
            "bytes",
            "variable_length_bytes",
        }
        self.dtype = create_vlen_dtype(bytes) if is_bytes else array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what one of xarray's indexers selects, in one go: every kind of them is a selection of ours."""
        if isinstance(key, indexing.VectorizedIndexer):
            found = self._array.get_coordinate_selection(tuple(np.broadcast_arrays(*key.tuple)))
        else:
            found = self._array.get_orthogonal_selection(key.tuple)
        return np.asarray(found, self._array.dtype)

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer selects, in another thread."""
        return await asyncio.to_thread(self.__getitem__, key)


def as_variable(array: Array, *, masks: bool = False, known: Known | None = None) -> Variable:
    """An array as a variable, not decoded; with `masks` its fill value is taken to stand for missing values.

    Arrays of one group share what is `known`.
    """
    names, attributes = dimensions(array), array.attrs.asdict()
    attributes.pop(DIMENSIONS, None)
    how = encoding(array, names, {} if known is None else known)
    if masks:
        attributes["_FillValue"] = how.pop("fill_value")
    elif "_FillValue" in attributes:
        attributes["_FillValue"] = _decoded_fill(array, attributes["_FillValue"])
    data = indexing.LazilyIndexedArray(LazyArray(array))
    return Variable(names, data, attributes, how)


def dimensions(array: Array) -> tuple[str, ...]:
    """The names of an array's dimensions: from its metadata, else from the attribute `_ARRAY_DIMENSIONS`.

    Raises `MetadataError` when they are missing or do not fit.
    """
    names = array.dimension_names
    if names is None or not any(names):
        names = array.attrs.get(DIMENSIONS, () if not array.ndim else None)
    is_named = (
        isinstance(names, list | tuple)
        and len(names) == array.ndim
        and all(isinstance(n, str) for n in names)
    )
    if names is None or not is_named:
        raise MetadataError(
            f"{array!r} has no names for its dimensions, without which it is not a variable of xarray; "
            f"leave it out (drop_variables={array.basename!r}) or create it with dimension_names"
        )
    return tuple(str(name) for name in names)


def encoding(array: Array, names: tuple[str, ...], known: Known) -> dict[str, Any]:
    """How an array is stored, as xarray's own engine calls it; codecs as JSON, which both engines take."""
    layout, shape = array.layout, array.shape
    preferred = [
        cut if isinstance(cut, int) else clipped(cut, n) for cut, n in zip(layout.stored, shape, strict=True)
    ]
    found: dict[str, Any] = {
        "chunks": _lengths(layout.cuts, shape),
        "preferred_chunks": dict(zip(names, preferred, strict=True)),
        "shards": None if layout.blocks is None else _lengths(layout.stored, shape),
        **copied(_codecs(array, known)),
        "fill_value": array.fill_value,
    }
    if array.metadata.storage_transformers:
        found["storage_transformers"] = [named.to_json() for named in array.metadata.storage_transformers]
        found["shards"] = None
    if array.dtype.kind == "T":
        found["dtype"] = array.dtype
    return found


def _lengths(cuts: Sequence[Cut], shape: Sequence[int]) -> tuple[Any, ...]:
    """The length of chunks along each dimension or, where they differ, of each that has elements."""
    return tuple(
        cut if isinstance(cut, int) else (*islice(cut, max(1, count_of(cut, n))),)
        for cut, n in zip(cuts, shape, strict=True)
    )


def _codecs(array: Array, known: Known) -> dict[str, JSON]:
    """The codecs as JSON, worked out once for arrays whose metadata were read together and have the same."""
    spec = array.layout.chain.spec
    same = (*map(id, (array.metadata.codecs, spec.data_type)), spec.shape)
    if same not in known:
        known[same] = {
            "compressors": [codec.to_json() for codec in array.compressors],
            "filters": [codec.to_json() for codec in array.filters],
        }
        serializer = _special_serializer(array)
        if serializer is not None:
            known[same]["serializer"] = serializer
    return known[same]


def _special_serializer(array: Array) -> JSON:
    """The codec from array to bytes, unless it is the one that the data type has anyway."""
    spec = array.layout.chain.spec
    (own,) = [codec for codec in array.codecs if codec.kind == "array-bytes"]
    usual = CodecChain.build([default_serializer(spec.data_type)], spec).codecs[0]
    return None if own.to_json() == usual.to_json() else own.to_json()


def _decoded_fill(array: Array, value: Any) -> Any:
    """The attribute `_FillValue` as xarray writes it (base64 for floats and bytes), or as others do: as a number."""
    data_type = array.metadata.data_type.to_json()
    dtype = "string" if array.dtype.kind == "T" else data_type if data_type == "bytes" else array.dtype
    try:
        with suppress(TypeError, ValueError, struct.error):
            return FillValueCoder.decode(value, dtype)
        return array.metadata.data_type.fill_from_json(value)
    except MetadataError as error:
        raise MetadataError(
            f"{array!r}: the attribute _FillValue, {value!r}, is not a value of {array.dtype}"
        ) from error


# ---------------------------------------------------------------- towards the store


def array_dtype(dtype: np.dtype[Any]) -> Any:
    """The data type of a new array for an encoded variable."""
    element = check_vlen_dtype(dtype)
    if element is not None:
        return "string" if element is str else "bytes"
    return dtype


def encoded_attributes(attributes: Mapping[Any, Any], dtype: np.dtype[Any] | None = None) -> dict[str, JSON]:
    """Attributes as JSON: scalars and arrays of numpy as numbers and lists, `_FillValue` as xarray's own engine has it.

    Args:
        attributes: those of a dataset or of an encoded variable.
        dtype: that of the variable.
    """
    found: dict[str, JSON] = {}
    for name, value in attributes.items():
        if not isinstance(name, str):
            raise MetadataError(f"the attribute {name!r} needs a name that is a text")
        if name == "_FillValue" and dtype is not None:
            if value is not None:
                found[name] = FillValueCoder.encode(_plain_scalar(value), dtype)
        elif not (name == "missing_value" and dtype is not None and dtype.kind in "fc" and pd.isna(value)):
            found[name] = plain(value)  # NaN is missing anyhow
    return found


def plain(value: Any) -> Any:
    """A value without numpy in it, NaN and infinities as texts; what JSON cannot hold is refused with the document."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"  # as Zarr spells them
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _plain_scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
