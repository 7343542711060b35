"""The arguments of public functions, each written once: its type, its default, and what it means.

Functions take what they share as `**arguments: Unpack[…]` (PEP 692), which type checkers and editors understand; `takes` writes
all arguments into the signature and the docstring that `inspect` and `help()` show, and `check_names` refuses others.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, TypeVar

from zarrv3.chunks.chunk_cache import ChunkCache
from zarrv3.chunks.tasks import Fields
from zarrv3.errors import ConfigurationError
from zarrv3.format.grids import ChunkGrid
from zarrv3.opening.stores import StoreLike
from zarrv3.registry import nearest
from zarrv3.store.contract import JSON

F = TypeVar("F", bound=Callable[..., Any])

Mode: TypeAlias = Literal["r", "r+", "a", "w", "w-", "x"]
"""`r` read, `r+` read and write what exists, `a` also create, `w` replace, `w-` or `x` create and fail if it exists."""

Shape: TypeAlias = int | Sequence[int]
"""One length, or one for each dimension."""

Shards: TypeAlias = (
    int | Sequence[int | Sequence[int] | None] | ChunkGrid | Mapping[str, JSON] | Literal["auto"] | None
)
"""The shape of shards in the words that the argument `shards` takes."""

Chunks: TypeAlias = Shards | bool
"""The shape of chunks in the words that the argument `chunks` takes."""

CodecLike: TypeAlias = Any
"""A codec as an object of `zarrv3.codecs`, as JSON (`{"name": …}`), by name, or as an object of zarr-python or numcodecs."""

TEXTS = """
store: anything that `open_store` takes; a URL may end in `|zarr3:path`; by default a new store in memory.
path: the path within the store; by default the root.
name: the path below this group.
storage_options: options of the store.
auto: open another format that an installed plugin recognises through its layer; without it that is an error which says what is
    there.
mode: `r` reads, `r+` also writes what exists, `a` also creates, `w` replaces, `w-` or `x` creates and fails if something is there;
    by default `a`, or `r` for a store that cannot be written.
use_consolidated: `True` takes the documents of everything below from the group's consolidated metadata, so that opening reads one
    value; metadata cannot be changed through such a group, data can; `MetadataError` where there is none. `False` reads every
    document by itself. `None` means `True` where there is some and the mode is `r`: a writer must know the present shapes.
overwrite: erase the node at the path first; keys there that belong to no node stay. With `data` it stays until the new
    array is whole, where the store can replace a folder in one step, or has transactions and the data have at most 64 MiB;
    elsewhere whoever is killed in between leaves no array, or a part of the new one.
shape: the length of each dimension; by default that of the data or prototype.
data: values to write if the array is created, as `value` of `Array.write`. Of an array in a store, whichever library's, parts are read
    and written one after the other, in at most 64 MiB of memory.
prototype: an array of zarrv3, or anything with a shape.
dtype: anything that `np.dtype` takes, or a name of the specification; by default that of the data, else float64.
chunks: the chunk shape, in elements: one length for all dimensions or one for each, `-1` or `None` for a whole dimension; `"auto"`
    or `True` for chunks of about 1 MiB, `False` for a single chunk; or a list of lengths in place of one, or a chunk grid.
order: the memory order of stored chunks; `"F"` adds a `transpose` codec.
compressor: one codec or `None`: `compressors` in the singular.
fill_value: the value of elements that were never written; `None` is the zero of the data type.
shards: the shape of what is stored as one value, in elements, a multiple of `chunks`, or lists of lengths, or a chunk grid;
    `None`: every chunk by itself.
filters: codecs from array to array, in the order of encoding.
serializer: the codec from array to bytes; `"auto"`: little-endian, or of variable length where elements are.
compressors: codecs from bytes to bytes; `"auto"` is zstd, `"default"` the Blosc of zarr-python 2, `None` none.
codecs: the whole chain at once, instead of `filters`, `serializer`, `compressors` and `order`.
attributes: the user attributes, if the node is created: JSON.
chunk_key_encoding: how chunk coordinates become keys: as JSON, by name, or an object of `zarrv3.format.grids`.
dimension_separator: the separator in chunk keys; by default the store's, else `/`.
dimension_names: a name or `None` for each dimension.
storage_transformers: `StorageTransformer`s or their JSON, from the array to the store.
write_empty_chunks: store chunks that hold only the fill value; by default the setting of that name.
config: how the array is used, as zarr-python 3 spells it: `{"write_empty_chunks": True, "order": "F"}`, where `order` is that of
    what is read, in memory; by default as the settings say.
write_data: whether `data` are written; otherwise they only say what shape and dtype the array has.
chunk_shape: what zarr-python 3 also calls `chunks`.
chunk_cache: remember decoded chunks for reading: a size in bytes or as text such as `"64MiB"`, or a `ChunkCache` that several arrays
    may share; `None` remembers nothing.
write_buffer: write late, in whole chunks, until `flush` is called or the array is forgotten: how many bytes may wait, or text such as
    `"256MiB"`; see `Array.buffered`. `None` writes at once.
zarr_version: 3; others are refused.
zarr_format: 3; others are refused.
object_codec: `VLenUTF8()` or `VLenBytes()` of numcodecs: the data type is `string` or `bytes`.
read_only: return an array that refuses to be changed.
cache_metadata: accepted for zarr-python 2, and ignored.
cache_attrs: accepted for zarr-python 2, and ignored.
synchronizer: accepted for zarr-python 2, but only as `None`.
chunk_store: accepted for zarr-python 2, but only as `None`.
meta_array: accepted for zarr-python 2, but only as `None`.
out: a numpy array of the selection's shape to read into, of a dtype that the array's casts to without changing its kind; returned.
    By default a new array.
value: what numpy makes an array of that can be broadcast to the shape of the selection and cast to the array's dtype: fractions
    are cut off, floats rounded. An array in a store is read and written part by part, in at most 64 MiB of memory.
fields: the name of a field of a structured dtype, or a list of several; by default all.
progress: called as `progress(chunks done, chunks in all)`, from one thread at a time.
"""
"""What arguments mean, as it stands in docstrings."""


# ---------------------------------------------------------------- types and defaults: of new arrays


class _Shape(TypedDict, total=False):
    shape: Annotated[Shape | None, None]


class _TypeAndData(TypedDict, total=False):
    dtype: Annotated[Any, None]
    data: Annotated[Any, None]


class _Chunks(TypedDict, total=False):
    chunks: Annotated[Chunks, "auto"]
    order: Annotated[Literal["C", "F"] | None, None]
    compressor: Annotated[CodecLike, "auto"]


class _Fill(TypedDict, total=False):
    fill_value: Annotated[Any, None]


class _Storage(TypedDict, total=False):
    shards: Annotated[Shards, None]
    filters: Annotated[CodecLike | Iterable[CodecLike], "auto"]
    serializer: Annotated[CodecLike, "auto"]
    compressors: Annotated[CodecLike | Iterable[CodecLike], "auto"]
    codecs: Annotated[Sequence[CodecLike] | None, None]
    attributes: Annotated[Mapping[str, JSON] | None, None]
    chunk_key_encoding: Annotated[Any, None]
    dimension_separator: Annotated[Literal[".", "/"] | None, None]
    dimension_names: Annotated[Sequence[str | None] | None, None]
    storage_transformers: Annotated[Iterable[Any], ()]
    write_empty_chunks: Annotated[bool | None, None]
    config: Annotated[Any, None]


class VersionArguments(TypedDict, total=False):
    """The version of the format."""

    zarr_version: Annotated[int | None, None]
    zarr_format: Annotated[int | None, None]


class Zarr2Arguments(_Storage, VersionArguments, total=False):
    """How a new array is stored, with what only zarr-python 2 spells like that."""

    chunk_shape: Annotated[Chunks, None]
    object_codec: Annotated[Any, None]
    read_only: Annotated[bool, False]
    cache_metadata: Annotated[Any, None]
    cache_attrs: Annotated[Any, None]
    synchronizer: Annotated[Any, None]
    chunk_store: Annotated[Any, None]
    meta_array: Annotated[Any, None]


class FullArguments(_Chunks, Zarr2Arguments, total=False):
    """A new array in the spelling of zarr-python 2, apart from shape, data and fill value."""

    dtype: Annotated[Any, None]


class ArrayArguments(FullArguments, _Fill, total=False):
    """A new array in the spelling of zarr-python 2, apart from shape and data."""


# ---------------------------------------------------------------- where they go


class _Overwrite(TypedDict, total=False):
    overwrite: Annotated[bool, False]


class _Mode(TypedDict, total=False):
    mode: Annotated[Mode | None, None]


class _Place(_Overwrite, _Mode, total=False):
    store: Annotated[StoreLike, None]
    path: Annotated[str | None, None]
    storage_options: Annotated[Mapping[str, Any] | None, None]


class CreateArrayArguments(_Shape, _TypeAndData, _Overwrite, _Chunks, _Fill, _Storage, total=False):
    """A new array in the spelling of zarr-python 3."""

    write_data: Annotated[bool, True]


class MemberFullArguments(_Overwrite, FullArguments, total=False):
    """A new array in a group, apart from shape and fill value."""


class MemberArguments(_Overwrite, ArrayArguments, total=False):
    """A new array in a group, apart from its shape."""


class ShapedMemberArguments(_Shape, MemberArguments, total=False):
    """A new array in a group."""


class PlacedFullArguments(_Place, FullArguments, total=False):
    """A new array anywhere, apart from shape and fill value."""


class PlacedArguments(_Place, ArrayArguments, total=False):
    """A new array anywhere, apart from its shape."""


class ShapedFullArguments(_Shape, PlacedFullArguments, total=False):
    """A new array anywhere, apart from its fill value."""


class ShapedArguments(_Shape, PlacedArguments, total=False):
    """A new array anywhere."""


# ---------------------------------------------------------------- opening, reading and writing


class _Location(VersionArguments, total=False):
    path: Annotated[str | None, None]
    storage_options: Annotated[Mapping[str, Any] | None, None]
    auto: Annotated[bool, False]


class OpenConsolidatedArguments(_Mode, _Location, total=False):
    """What `open_consolidated` takes beside the store."""


class GroupArguments(_Location, total=False):
    """What `group` takes beside the store and `overwrite`."""

    attributes: Annotated[Mapping[str, JSON] | None, None]
    use_consolidated: Annotated[bool | None, None]


class OpenLikeArguments(_Mode, _Shape, ArrayArguments, total=False):
    """A new array that may be there already."""

    store: Annotated[StoreLike, None]
    storage_options: Annotated[Mapping[str, Any] | None, None]
    auto: Annotated[bool, False]
    chunk_cache: Annotated[ChunkCache | int | str | None, None]
    write_buffer: Annotated[int | str | None, None]


class WriteArguments(TypedDict, total=False):
    """What methods take that write to a selection."""

    fields: Annotated[Fields, None]


class ReadArguments(WriteArguments, total=False):
    """What methods take that read a selection."""

    out: Annotated[Any, None]


# ---------------------------------------------------------------- what is made of them


def takes(
    arguments: type = dict,
    *,
    defaults: Mapping[str, Any] | None = None,
    raises: str = "Raises what `create_array` raises.",
    **texts: str,
) -> Callable[[F], F]:
    """Write all arguments into a function's signature and docstring.

    Args:
        arguments: the `TypedDict` that the function's `**arguments` unpack, if any.
        defaults: where they differ from those in the `TypedDict`.
        raises: the end of the docstring, unless it has a paragraph that begins with "Raises" or "Returns".
        texts: what arguments mean, where that is not what `TEXTS` says.
    """
    hints = getattr(arguments, "__annotations__", {})

    def described(function: F) -> F:
        signature = inspect.signature(function)
        named = [
            each for each in signature.parameters.values() if not hints or each.kind is not each.VAR_KEYWORD
        ]
        named += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=(defaults or {}).get(name, hint.__metadata__[0]),
                annotation=hint.__origin__,
            )
            for name, hint in hints.items()
        ]
        vars(function)["__signature__"] = signature.replace(parameters=named)
        if function.__doc__:  # docstrings may have been stripped (-OO)
            means = {**_texts(), **texts}
            lines = [f"    {each.name}: {means[each.name]}" for each in named if each.name != "self"]
            paragraphs = inspect.cleandoc(function.__doc__).split("\n\n")
            ends = [n for n, text in enumerate(paragraphs) if text.startswith(("Raises", "Returns"))]
            end = ends[0] if ends else len(paragraphs)
            parts = [*paragraphs[:end], "\n".join(["Args:", *lines]), *(paragraphs[end:] or [raises])]
            function.__doc__ = "\n\n".join(parts)
        return function

    return described


@cache
def _texts() -> dict[str, str]:
    found = re.findall(r"^(\w+): (.*(?:\n    .*)*)", TEXTS, re.MULTILINE)
    return {name: text.replace("\n", "\n    ") for name, text in found}


_OTHER = {"name": "path", "path": "name"}
"""What zarr-python calls the same in some functions, and what in the others."""


def check_names(arguments: Mapping[str, Any], known: type) -> None:
    """Raise the `TypeError` for an argument that a `TypedDict` does not have."""
    names = known.__annotations__
    for name in arguments:
        if name not in names:
            other = _OTHER.get(name)
            likely = f"here it is {other!r}" if other else nearest(name, names, "it has")
            raise TypeError(f"a new array has no argument {name!r}; {likely}")


def check_format(zarr_version: int | None = None, zarr_format: int | None = None) -> None:
    """Refuse every version of the format but the third."""
    for version in (zarr_version, zarr_format):
        if version not in {None, 3}:
            raise ConfigurationError(f"zarrv3 reads and writes Zarr version 3, not {version!r}")
