"""The arguments that describe a new array, each written once: its type, its default, and what it means.

Functions that create arrays take them as `**arguments: Unpack[…]` (PEP 692), which type checkers and editors understand;
`takes` adds them to the signature and the docstring that `inspect` and `help()` show, and `check_names` refuses others.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, TypeVar

from zarrv3.opening.stores import StoreLike
from zarrv3.store.contract import JSON

F = TypeVar("F", bound=Callable[..., Any])

Chunks: TypeAlias = int | Sequence[int | None] | bool | Literal["auto"] | None
"""The shape of chunks in the words that the argument `chunks` takes."""

CodecLike: TypeAlias = Any
"""A codec as `codecs.Codec`, as JSON (`{"name": …}`), by name, or as an object of numcodecs."""


class TypeArguments(TypedDict, total=False):
    """What the elements are."""

    dtype: Annotated[
        Any,
        None,
        "anything that `np.dtype` takes, or a name of the specification; by default that of the data, else float64.",
    ]


class ChunkArguments(TypedDict, total=False):
    """What the chunks are."""

    chunks: Annotated[
        Chunks,
        "auto",
        "the chunk shape, in elements: one length for all dimensions or one for each, `-1` or `None` for a whole "
        'dimension; `"auto"` or `True` for chunks of about 1 MiB, `False` for a single chunk.',
    ]
    order: Annotated[
        Literal["C", "F"] | None, None, 'the memory order of stored chunks; `"F"` adds a `transpose` codec.'
    ]
    compressor: Annotated[CodecLike, "auto", "one codec or `None`: `compressors` in the singular."]


class FillArguments(TypedDict, total=False):
    """What elements are that were never written."""

    fill_value: Annotated[
        Any, None, "the value of elements that were never written; `None` is the zero of the data type."
    ]


class StorageArguments(TypedDict, total=False):
    """How the chunks are stored."""

    shards: Annotated[
        Sequence[int] | int | Literal["auto"] | None,
        None,
        "the shape of what is stored as one value, in elements, a multiple of `chunks`; `None`: every chunk by itself.",
    ]
    filters: Annotated[
        CodecLike | Iterable[CodecLike], "auto", "codecs from array to array, in the order of encoding."
    ]
    serializer: Annotated[
        CodecLike,
        "auto",
        'the codec from array to bytes; `"auto"`: little-endian, or of variable length where elements are.',
    ]
    compressors: Annotated[
        CodecLike | Iterable[CodecLike],
        "auto",
        'codecs from bytes to bytes; `"auto"` is zstd, `"default"` the Blosc of zarr-python 2, `None` none.',
    ]
    codecs: Annotated[
        Sequence[CodecLike] | None,
        None,
        "the whole chain at once, instead of `filters`, `serializer`, `compressors` and `order`.",
    ]
    attributes: Annotated[Mapping[str, JSON] | None, None, "the user attributes: JSON."]
    chunk_key_encoding: Annotated[
        Any,
        None,
        "how chunk coordinates become keys: as JSON, by name, or an object of `zarrv3.format.grids`.",
    ]
    dimension_separator: Annotated[
        Literal[".", "/"] | None, None, "the separator in chunk keys; by default the store's, else `/`."
    ]
    dimension_names: Annotated[Sequence[str | None] | None, None, "a name or `None` for each dimension."]
    storage_transformers: Annotated[
        Iterable[Any], (), "`StorageTransformer`s or their JSON, from the array to the store."
    ]
    write_empty_chunks: Annotated[
        bool | None, None, "store chunks that hold only the fill value; by default the setting of that name."
    ]


class Zarr2Arguments(StorageArguments, total=False):
    """How a new array is stored, with what only zarr-python 2 spells like that."""

    object_codec: Annotated[
        Any, None, "`VLenUTF8()` or `VLenBytes()` of numcodecs: the data type is `string` or `bytes`."
    ]
    read_only: Annotated[bool, False, "return an array that refuses to be changed."]
    zarr_version: Annotated[int | None, None, "3; others are refused."]
    zarr_format: Annotated[int | None, None, "3; others are refused."]
    cache_metadata: Annotated[Any, None, "accepted for zarr-python 2, and ignored."]
    cache_attrs: Annotated[Any, None, "accepted for zarr-python 2, and ignored."]
    synchronizer: Annotated[Any, None, "accepted for zarr-python 2, but only as `None`."]
    chunk_store: Annotated[Any, None, "accepted for zarr-python 2, but only as `None`."]
    meta_array: Annotated[Any, None, "accepted for zarr-python 2, but only as `None`."]


class CreateArrayArguments(ChunkArguments, FillArguments, StorageArguments, total=False):
    """A new array in the spelling of zarr-python 3, apart from shape, dtype and data."""


class FullArguments(TypeArguments, ChunkArguments, Zarr2Arguments, total=False):
    """A new array in the spelling of zarr-python 2, apart from shape, data and fill value."""


class ArrayArguments(TypeArguments, ChunkArguments, FillArguments, Zarr2Arguments, total=False):
    """A new array in the spelling of zarr-python 2, apart from shape and data."""


class PlaceArguments(TypedDict, total=False):
    """Where a new array goes."""

    store: Annotated[StoreLike, None, "anything that `open_store` takes; by default a new store in memory."]
    path: Annotated[str | None, None, "the path within the store; by default the root."]
    overwrite: Annotated[bool, False, "erase what is at the path first."]
    storage_options: Annotated[Mapping[str, Any] | None, None, "options of the store."]


class PlacedFullArguments(PlaceArguments, FullArguments, total=False):
    """`FullArguments`, and where the array goes."""


class PlacedArguments(PlaceArguments, ArrayArguments, total=False):
    """`ArrayArguments`, and where the array goes."""


class ShapedArguments(PlacedArguments, total=False):
    """`PlacedArguments`, and a shape that is not that of the data or of the prototype."""

    shape: Annotated[
        int | Sequence[int] | None,
        None,
        "the length of each dimension, if it is to differ from the other array's.",
    ]


class ShapedFullArguments(PlacedFullArguments, total=False):
    """`PlacedFullArguments`, and a shape that is not that of the prototype."""

    shape: Annotated[
        int | Sequence[int] | None,
        None,
        "the length of each dimension, if it is to differ from the prototype's.",
    ]


def takes(arguments: type, **defaults: Any) -> Callable[[F], F]:
    """Write the arguments of a `TypedDict` into a function's signature and docstring.

    Args:
        arguments: the `TypedDict` that the function's `**arguments` unpack.
        defaults: where they differ from those in the `TypedDict`.

    In the docstring they stand in place of the line that begins with `arguments:`.
    """
    hints = arguments.__annotations__

    def described(function: F) -> F:
        signature = inspect.signature(function)
        named = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        named += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, hint.__metadata__[0]),
                annotation=hint.__origin__,
            )
            for name, hint in hints.items()
        ]
        vars(function)["__signature__"] = signature.replace(parameters=named)
        before, mark, after = (function.__doc__ or "").partition("arguments:")
        if mark:  # docstrings may have been stripped (-OO)
            indent = before[before.rindex("\n") + 1 :]
            lines = f"\n{indent}".join(f"{name}: {hint.__metadata__[1]}" for name, hint in hints.items())
            function.__doc__ = before + lines + after[after.index("\n") :]
        return function

    return described


def check_names(arguments: Mapping[str, Any], known: type) -> None:
    """Raise the `TypeError` for an argument that a `TypedDict` does not have."""
    names = known.__annotations__
    for name in arguments:
        if name not in names:
            import difflib

            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(names)}"
            raise TypeError(f"a new array has no argument {name!r}; {hint}")
