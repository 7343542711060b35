"""From what users say about a new array to its metadata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Unpack

import numpy as np

from zarrv3.chunks.transformers import StorageTransformer
from zarrv3.errors import MetadataError, ShapeMissingError, ZarrError
from zarrv3.format.codecs import ZSTD, ChunkSpec, Codec, CodecChain, default_serializer, parse_codec
from zarrv3.format.cuts import are_regular, largest
from zarrv3.format.data_types import DataType, data_type_of
from zarrv3.format.extensions import Guard, NamedConfig, shown
from zarrv3.format.grids import (
    ChunkGrid,
    ChunkKeyEncoding,
    DefaultKeys,
    RegularGrid,
    check_fit,
    check_shape,
    parse_grid,
    parse_keys,
)
from zarrv3.format.metadata import ArrayMetadata
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.arguments import Chunks, CodecLike, CreateArrayArguments, Shards, check_names
from zarrv3.hierarchy.array import Array, usage_of
from zarrv3.hierarchy.nodes import folder_of
from zarrv3.hierarchy.replacing import replacing
from zarrv3.indexing import is_index, plan_basic
from zarrv3.indexing.casting import array_like, is_stored
from zarrv3.opening import hooks
from zarrv3.registry import OFFERED, installed
from zarrv3.store.base import BaseStore
from zarrv3.store.contract import JSON
from zarrv3.store.places import overlap

CHUNK_BYTES = 2**20
"""About how many bytes a chunk has whose shape is left to us."""

SHARD_BYTES = 2**26
"""About how many bytes a shard has whose shape is left to us."""


def create(store: BaseStore, path: str, **arguments: Unpack[CreateArrayArguments]) -> Array:
    """Create an array's document in a store, then write `data` if there is any.

    Everything is checked, plugins included, before anything is written or erased.
    """
    check_names(arguments, CreateArrayArguments)
    described: dict[str, Any] = {**arguments}
    overwrite = described.pop("overwrite", False)
    usage = usage_of(described)
    for name in ("config", "write_empty_chunks"):
        described.pop(name, None)
    is_written = described.pop("write_data", True)
    if "compressor" in described:
        described.setdefault("compressors", described.pop("compressor"))
    if described.get("dtype") is None and described.get("data") is not None:
        described["data"] = array_like(described["data"])
    metadata = metadata_for(store, **described)
    array = Array(store, path, metadata=metadata, **usage)
    _check_encodes(array)
    data = described.get("data") if is_written else None
    if overwrite:
        data = apart(data, store, path)
    if data is not None and not (is_stored(data) and tuple(data.shape) == array.shape):
        data = array.castable(data)
        plan_basic(..., array.shape, array.layout.cuts).start(data)  # refuses a shape that does not fit
    elif data is not None:
        array.castable(np.empty(0, data.dtype))
    if data is None:
        nodes.create(store, path, metadata, overwrite=overwrite)
        return array
    with replacing(store, path, lambda: array.nbytes, overwrite=overwrite) as site:
        nodes.create(*site, metadata, overwrite=overwrite)
        try:
            Array(*site, metadata=metadata, **usage).write(..., data, is_new=True)
        except BaseException:  # an array in a store may be unreadable half-way
            with suppress(ZarrError):
                nodes.erase(*site)
            raise
    return array


def apart(data: Any, store: BaseStore, path: str) -> Any:
    """Data that stay readable while what is at a path is replaced: what may be read from there is brought into memory."""
    if isinstance(data, Array) and not overlap(
        data.store, folder_of(data.path), store, folder_of(path), probe=True
    ):
        return data
    return np.asanyarray(data) if isinstance(getattr(data, "dtype", None), np.dtype) else data


def storable(data: Any, store: BaseStore) -> Any:
    """Data with a shape and a dtype of numpy's, of which a new array can be made in a store; raises what `metadata_for` raises."""
    data = array_like(data)
    metadata_for(store, data=data)
    return data


def metadata_for(
    store: BaseStore,
    *,
    shape: int | Sequence[int] | None = None,
    dtype: Any = None,
    data: Any = None,
    chunks: Chunks = "auto",
    shards: Shards = None,
    filters: CodecLike | Iterable[CodecLike] = "auto",
    compressors: CodecLike | Iterable[CodecLike] = "auto",
    serializer: CodecLike = "auto",
    codecs: Sequence[CodecLike] | None = None,
    fill_value: Any = None,
    order: Literal["C", "F"] | None = None,
    attributes: Mapping[str, JSON] | None = None,
    chunk_key_encoding: Any = None,
    dimension_separator: Literal[".", "/"] | None = None,
    dimension_names: Sequence[str | None] | None = None,
    storage_transformers: Iterable[Any] | None = (),
) -> ArrayMetadata:
    """The metadata of a new array that will lie in `store`, which is asked for its default separator only.

    What the other arguments mean is said in `zarrv3.hierarchy.arguments`. Raises `ConfigurationError` without a shape,
    `MetadataError` for what does not fit, and `UnknownExtensionError` for names that no installed plugin provides.
    """
    if data is not None and (shape is None or dtype is None):
        data = data if dtype is not None and hasattr(data, "shape") else array_like(data)
    if shape is None:
        if data is None:
            raise ShapeMissingError("a new array needs a shape, or data that has one")
        shape = data.shape
    lengths = as_shape(shape)
    index_location = "end"
    if isinstance(shards, Mapping) and "name" not in shards:  # zarr-python's
        shards, index_location = _shape_and_location(**shards)
    parsed = data_type_of(dtype if dtype is not None else getattr(data, "dtype", "float64"))
    grid, chunk_shape = _gridded(lengths, parsed, chunks, shards)
    with Guard("data_types", parsed, "fill_value"):
        spec = ChunkSpec(chunk_shape, parsed, parsed.cast_fill(fill_value))
    listed = {
        "codecs": codecs,
        "dimension_names": dimension_names,
        "storage_transformers": storage_transformers,
    }
    for name, given in listed.items():
        if given is not None and not isinstance(given, Iterable):
            raise MetadataError(f"{name} must be a list, not {shown(given)}")
    chain = list(codecs) if codecs is not None else _chain(spec, filters, serializer, compressors, order)
    if shards is not None:
        chain = [
            _sharding(chunk_shape, [parse_codec(_as_json(codec)) for codec in chain], spec, index_location)
        ]
    return ArrayMetadata.create(
        shape=lengths,
        data_type=parsed,
        chunk_grid=grid,
        chunk_key_encoding=_keys(chunk_key_encoding, dimension_separator or store.dimension_separator),
        fill_value=fill_value,
        codecs=[_as_json(codec) for codec in chain],
        attributes=attributes,
        dimension_names=dimension_names,
        storage_transformers=[_transformer(given) for given in storage_transformers or ()],
    )


def as_shape(shape: Any) -> tuple[int, ...]:
    """One length or several as a tuple of integers that are not negative."""
    if is_index(shape):
        shape = (shape,)
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise MetadataError(f"shape must be a length or one for each dimension, not {shape!r}")
    return check_shape(tuple(shape), None)


def _check_encodes(array: Array) -> None:
    """Encode one element: a codec whose library is missing or lacks something shows now, not at the first write."""
    spec = array.layout.chain.spec
    one = spec._replace(shape=(1,) * len(spec.shape))
    sample = np.full(one.shape, spec.fill_value, spec.data_type.numpy)
    try:
        chain = CodecChain.build(array.codecs, one)
    except MetadataError:  # a codec that needs the real shape, which it has seen
        return
    with np.errstate(all="ignore"):
        try:
            chain.encode(sample)
        except ZarrError:
            raise
        except Exception:  # noqa: BLE001, S110 - what a codec makes of real values is seen when there are some
            pass


# ---------------------------------------------------------------- chunks and shards


def chunk_arguments(array: Array) -> dict[str, Any]:
    """The `chunks` and `shards` of an array as `create_array` takes them, also where they differ in shape."""
    layout, grid = array.layout, array.metadata.chunk_grid
    if are_regular(grid.cuts):
        return {"chunks": array.chunks, "shards": array.shards}
    return (
        {"chunks": grid, "shards": None}
        if layout.blocks is None
        else {"chunks": array.chunks, "shards": grid}
    )


def _gridded(
    shape: tuple[int, ...], data_type: DataType, chunks: Chunks, shards: Shards
) -> tuple[ChunkGrid, tuple[int, ...]]:
    """The chunk grid that the arguments `chunks` and `shards` mean, and the shape of the (inner) chunks, at most."""
    whole, outer = _grid(chunks, "chunks", shape), _grid(shards, "shards", shape)
    if whole is not None and shards is not None:
        if not are_regular(whole.cuts):
            raise MetadataError("the chunks of a shard have one shape: give the lists of lengths to shards")
        chunks, whole = largest(whole.cuts), None
    if whole is not None:
        check_fit(whole, shape)
        return whole, largest(whole.cuts)
    if outer is None:
        chunk_shape, shard_shape = chunk_shapes(shape, data_type, chunks, shards)
        return RegularGrid(shard_shape or chunk_shape), chunk_shape
    check_fit(outer, shape)
    within = tuple([cut if isinstance(cut, int) else math.gcd(*dict(cut.runs)) for cut in outer.cuts])
    return outer, chunk_shapes(shape, data_type, chunks, within)[0]


def _grid(given: Any, what: str, shape: tuple[int, ...]) -> ChunkGrid | None:
    """The chunk grid that an argument is, describes, or lists lengths for; `None` if it gives one shape."""
    if isinstance(given, ChunkGrid):
        return given
    if isinstance(given, Mapping):
        return parse_grid(given, what)
    if is_index(given) or isinstance(given, str) or not isinstance(given, Iterable):
        return None
    cuts = [[*cut] if isinstance(cut, Iterable) and not isinstance(cut, str) else cut for cut in given]
    if not any(isinstance(cut, list) for cut in cuts):
        return None
    if len(cuts) != len(shape):
        raise MetadataError(f"{what} has {len(cuts)} entries, the array has {len(shape)} dimensions")
    whole = [max(1, n) if cut in (None, -1) else cut for n, cut in zip(shape, cuts, strict=True)]
    configuration: JSON = {"kind": "inline", "chunk_shapes": whole}
    return parse_grid({"name": "rectilinear", "configuration": configuration}, what)


def chunk_shapes(
    shape: Sequence[int], data_type: DataType, chunks: Chunks, shards: Any
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of chunks and shards that the arguments `chunks` and `shards` mean; `MetadataError` if shards are not multiples of chunks."""
    item_size = data_type.item_size or 16
    if shards is None or (isinstance(shards, str) and shards == "auto"):
        chunk_shape = _chunk_shape(shape, chunks, shape, item_size)
        return chunk_shape, None if shards is None else guess_shards(shape, chunk_shape, item_size)
    shard_shape = _lengths(shape, shards, "shards")
    chunk_shape = _chunk_shape(shape, chunks, shard_shape, item_size)
    for axis, (shard, chunk) in enumerate(zip(shard_shape, chunk_shape, strict=True)):
        if chunk < 1 or shard % chunk:
            raise MetadataError(f"shards[{axis}] = {shard} is not a multiple of chunks[{axis}] = {chunk}")
    return chunk_shape, shard_shape


def _chunk_shape(
    shape: Sequence[int], chunks: Chunks, within: Sequence[int], item_size: int
) -> tuple[int, ...]:
    """The chunk shape; if the choice is ours, one that divides the shard `within` which the chunks lie."""
    if chunks is True or (isinstance(chunks, str) and chunks == "auto"):
        guessed = guess_chunks(within, item_size)
        return guessed if within is shape else tuple(map(math.gcd, guessed, within))
    return _lengths(shape, -1 if chunks is False or chunks is None else chunks, "chunks")


def guess_chunks(shape: Sequence[int], item_size: int) -> tuple[int, ...]:
    """A chunk shape of about `CHUNK_BYTES`: the longest dimension is halved until it fits."""
    lengths = [max(1, length) for length in shape]
    while math.prod(lengths) * item_size > CHUNK_BYTES and max(lengths) > 1:
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        lengths[longest] = -(-lengths[longest] // 2)
    return tuple(lengths)


def guess_shards(shape: Sequence[int], chunks: Sequence[int], item_size: int) -> tuple[int, ...]:
    """A shard shape of about `SHARD_BYTES`: dimensions are doubled in turn as far as the array reaches."""
    lengths = list(chunks)
    while True:
        able = [axis for axis, length in enumerate(lengths) if length < shape[axis]]
        if not able or math.prod(lengths) * 2 * item_size > SHARD_BYTES:
            return tuple(lengths)
        axis = min(able, key=lengths.__getitem__)
        lengths[axis] *= 2


def _lengths(shape: Sequence[int], given: Any, what: str) -> tuple[int, ...]:
    """One length for all dimensions or one for each; -1 and None are the whole dimension, missing ones too."""
    if is_index(given):
        given = (given,) * len(shape)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise MetadataError(f"{what} must be a length or one for each dimension, not {given!r}")
    given = tuple(given)
    if len(given) > len(shape):
        raise MetadataError(f"{what} {given!r} has more entries than the array has dimensions ({len(shape)})")
    if wrong := [length for length in given if length is not None and not is_index(length)]:
        raise MetadataError(f"{what}: the length of a dimension is an integer, not {shown(wrong[0])}")
    given += (None,) * (len(shape) - len(given))
    return tuple(
        max(1, length) if chunk is None or chunk == -1 else chunk
        for chunk, length in zip(given, shape, strict=True)
    )


# ---------------------------------------------------------------- codecs


def _chain(spec: ChunkSpec, filters: Any, serializer: Any, compressors: Any, order: str | None) -> list[Any]:
    if order not in (None, "C", "F"):  # which may be compared with anything
        raise MetadataError(f"order must be 'C' or 'F', not {order!r}")
    reverse = list(range(len(spec.shape)))[::-1]
    first = (
        [{"name": "transpose", "configuration": {"order": reverse}}] if order == "F" and reverse[1:] else []
    )
    of_kind: dict[str, list[Any]] = {"array-array": [], "array-bytes": [], "bytes-bytes": []}
    for codec in _listed(filters, []):  # zarr-python 2 had codecs of all kinds there
        parsed = parse_codec(_as_json(codec), "filters")
        of_kind[parsed.kind].append(parsed)
    is_auto = serializer is None or (isinstance(serializer, str) and serializer == "auto")
    serializers = [*of_kind["array-bytes"], *([] if is_auto else [serializer])]
    behind = spec
    for codec in [*map(parse_codec, first), *of_kind["array-array"]]:
        with Guard("codecs", codec, "filters"):
            behind = codec.evolve(behind).resolve(behind)
    return [
        *first,
        *of_kind["array-array"],
        *(serializers or [default_serializer(behind.data_type)]),
        *of_kind["bytes-bytes"],
        *_listed(compressors, [ZSTD]),
    ]


_BLOSC = {
    "name": "blosc",
    "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0},
}


def _listed(given: Any, auto: list[Any]) -> list[Any]:
    """`"auto"`, `"default"`, `None`, one codec or several."""
    if given is None:
        return []
    if isinstance(given, str):
        return auto if given == "auto" else [_BLOSC] if given == "default" else [given]
    if isinstance(given, list | tuple):
        return [codec for one in given for codec in _listed(one, auto)]
    return [given]


def _as_json(codec: CodecLike) -> Any:
    """A codec as a document names it; objects of other libraries are what a plugin's hook says."""
    if isinstance(codec, str):
        known = f"numcodecs.{codec}"
        return known if known in OFFERED["codecs"] and not installed("codecs", codec) else codec
    if isinstance(codec, Codec | Mapping):
        return codec
    to_dict = getattr(codec, "to_dict", None)  # zarr-python's codecs
    if to_dict is not None:
        document = to_dict()
        options = dict(document.get("configuration", {}))
        for guess in getattr(codec, "_tunable_attrs", ()):  # filled in there only when it meets a data type
            options.pop(guess, None)
        for member in {"codecs", "index_codecs"} & options.keys():
            options[member] = [_as_json(inner) for inner in getattr(codec, member)]
        return {"name": document["name"], "configuration": options}
    if described := hooks.call_each("zarrv3_describe_codec", codec=codec):
        return described[0]
    hint = "objects of numcodecs are understood with: pip install zarrv3-codecs-numcodecs"
    advice = hint if hasattr(codec, "codec_id") else "give a name, its JSON or an object of numcodecs"
    raise MetadataError(f"not a codec: {codec!r}; {advice}")


def _shape_and_location(shape: Any = None, index_location: str = "end", **unknown: Any) -> tuple[Any, str]:
    if shape is None or unknown:
        raise MetadataError("shards are a shape, or a dict with the members 'shape' and 'index_location'")
    return shape, index_location


def _sharding(
    chunk_shape: Sequence[int], inner: Sequence[Codec], spec: ChunkSpec, index_location: str
) -> dict[str, Any]:
    """The codec `sharding_indexed`, with everything written out that follows from the data type."""
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunk_shape),
            "codecs": CodecChain.build(inner, spec).to_json(),
            "index_location": index_location,
        },
    }


# ---------------------------------------------------------------- keys and transformers


def _keys(given: Any, separator: str | None) -> ChunkKeyEncoding:
    if isinstance(given, ChunkKeyEncoding):
        return given
    if given is None:
        return DefaultKeys(separator or "/")
    if isinstance(given, Mapping) and "separator" in given:  # the short form of zarr-python
        rest = {name: value for name, value in given.items() if name != "separator"}
        given = {**rest, "configuration": {"separator": given["separator"]}}
    elif isinstance(given, str) and separator:
        given = {"name": given, "configuration": {"separator": separator}}
    return parse_keys(given)


def _transformer(given: Any) -> NamedConfig:
    document = given.to_json() if isinstance(given, StorageTransformer) else given
    return NamedConfig.parse(document, "storage_transformers")
