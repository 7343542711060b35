"""What a value must be to become elements of an array, and where elements may be put. Pure; nothing is written."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

from zarrv3.errors import AssignmentError, OutOfRangeError

NumpyArray: TypeAlias = np.ndarray[Any, Any]


def castable(value: Any, dtype: np.dtype[Any], owner: object) -> NumpyArray:
    """A value as an array any part of which casts to `dtype` without failing.

    Numbers are left as they are, to be cast chunk by chunk; everything else is cast as a whole. Fractions are cut off and floats
    rounded, as numpy does. Raises `AssignmentError`, naming the `owner` of the elements, for a value that cannot become any,
    and where numpy would silently make another one: of numbers and times out of range, texts that are too long, imaginary parts, and
    elements that are masked, or missing where `dtype` has neither NaN nor NaT.
    """
    try:
        return _cast(_read(value, dtype), dtype)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        given = getattr(value, "dtype", type(value).__name__)
        is_large = isinstance(error, OverflowError)
        why = "times are out of range" if is_large and dtype.kind in "mM" else error
        raise (OutOfRangeError if is_large else AssignmentError)(
            f"a value of {given} cannot become elements of {dtype} of {owner!r}: {why}"
        ) from error


def array_like(value: Any) -> Any:
    """Something with a shape and a dtype of numpy's: the value itself, or what numpy makes of it, with texts as `StringDType`.

    Raises `AssignmentError` for a value of which numpy makes nothing, or floats though it has integers, and for one with objects that
    stand for missing elements.
    """
    is_masked = isinstance(value, np.ma.MaskedArray)
    if _has_dtype(value) and value.dtype.kind != "O" and hasattr(value, "shape") and not is_masked:
        return value
    try:
        return _array_of(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AssignmentError(f"a value of {type(value).__name__} cannot become an array: {error}") from error


def is_stored(value: Any) -> bool:
    """Whether a value is an array in a store, of any library, whose parts are read when they are asked for: it has a chunk shape."""
    try:
        chunks = getattr(value, "chunks", None)
    except NotImplementedError:  # its chunks differ in shape
        return _has_dtype(value)
    return (
        isinstance(chunks, tuple) and all(isinstance(length, int) for length in chunks) and _has_dtype(value)
    )


def check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `AssignmentError` unless elements of a selection's shape and a dtype can be put into `out`."""
    if not isinstance(out, np.ndarray):
        raise AssignmentError(f"out must be a numpy array, not {type(out).__name__}")
    if out.shape != shape:
        raise AssignmentError(f"out has the shape {out.shape}; the selection has {shape}")
    if not out.flags.writeable:
        raise AssignmentError("out is a read-only array")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise AssignmentError(f"elements of {dtype} cannot be cast to {out.dtype}, which out has")


def field_dtype(dtype: np.dtype[Any], fields: str | list[str]) -> np.dtype[Any]:
    """The dtype of one field, or of several together."""
    if isinstance(fields, str):
        return dtype[fields]
    return np.dtype([(name, dtype[name]) for name in fields])


# ---------------------------------------------------------------- from anything to numpy


_ADVICE = "fill them first, for instance with the array's fill_value"


def _has_dtype(value: Any) -> bool:
    return isinstance(getattr(value, "dtype", None), np.dtype)


def _plain(value: Any) -> NumpyArray:
    """What numpy makes of a value; `ValueError` for masked elements, which it would show what is behind the mask."""
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    array = np.asanyarray(value)
    if isinstance(array, np.ma.MaskedArray) and any(np.ma.getmaskarray(array).tobytes()):
        raise ValueError(f"elements are masked; {_ADVICE}: value.filled(…)")
    return np.asarray(array)


def _array_of(value: Any) -> NumpyArray:
    """An array of the dtype that suits a value."""
    array = _plain(value)
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    # pandas makes floats of integers with NA, and so does Arrow
    if getattr(value, "null_count", 0) or kind != array.dtype.kind == "f":
        raise ValueError(f"elements are missing; {_ADVICE}, or give the dtype")
    if array.dtype.kind == "f" and array.size and isinstance(value, list | tuple):
        objects = np.asarray(value, object)
        if all(isinstance(item, int) for item in objects.flat):
            raise ValueError("its integers do not fit one dtype of 64 bits")
    if array.dtype.kind == "O":
        _check_present(array)
        if array.size and all(isinstance(item, str) for item in array.flat):
            return array.astype(np.dtypes.StringDType())
    return array


def _read(value: Any, dtype: np.dtype[Any]) -> NumpyArray:
    """A value as an array of a dtype of its own, or of Python's objects."""
    if _has_dtype(value) or hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
        return _plain(value)
    if type(value) in {bool, int, float} and dtype.kind in "biufc":
        return np.asarray(value, dtype)
    if isinstance(value, bytes | bytearray | memoryview):
        scalar = np.empty((), object)
        scalar[()] = bytes(value)
        return scalar
    if dtype.names is not None:
        return np.asarray(value, _loose(dtype))
    return np.asarray(value, object)


def _loose(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A structured dtype with objects in place of what numpy would cut."""
    if dtype.subdtype is not None:
        return np.dtype((_loose(dtype.base), dtype.shape))
    if dtype.names is not None:
        return np.dtype([(name, _loose(dtype[name])) for name in dtype.names])
    return dtype if dtype.kind in "fcmM" else np.dtype(object)


# ---------------------------------------------------------------- from numpy to the dtype


def _cast(array: NumpyArray, dtype: np.dtype[Any]) -> NumpyArray:
    """An array as it is if every cast of a part of it is sure to succeed, otherwise cast as a whole."""
    source = array.dtype
    if dtype.kind == "O":
        return _byte_strings(array)
    if source == dtype:
        return array
    if source.kind == "O":
        return _of_objects(array, dtype)
    if source.names is not None and dtype.names is not None:
        return _of_fields(array, dtype)
    _check_kinds(source, dtype)
    if source.kind in "iuf":
        _check_range(array, dtype)
    if source.kind in "biufc" and dtype.kind in "biufc":
        return array
    if hasattr(source, "na_object"):
        _check_present(array.astype(object))
    if dtype.kind in "SU" or (dtype.type is np.void and dtype.names is None):
        array = _fitting(array, dtype)
    cast = array.astype(dtype)
    if dtype.kind in "mM":
        _check_times(array, cast)
    return cast


def _of_fields(array: NumpyArray, dtype: np.dtype[Any]) -> NumpyArray:
    """Fields become fields in their order, as in numpy."""
    theirs, own = array.dtype.names or (), dtype.names or ()
    if len(theirs) != len(own):
        raise TypeError(f"{len(theirs)} fields are not {len(own)}")
    cast = np.empty(array.shape, dtype)
    for source, target in zip(theirs, own, strict=True):
        cast[target] = _cast(array[source], dtype[target].base)
    return cast


def _of_objects(array: NumpyArray, dtype: np.dtype[Any]) -> NumpyArray:
    """Python's objects as elements."""
    if dtype.names is not None:
        return _of_fields(np.array(array.tolist(), _loose(dtype)), dtype)
    if any(isinstance(item, list | tuple) for item in array.flat):
        raise ValueError("lists within the value differ in length")
    if dtype.kind not in "fcmM":
        _check_present(array)
    elif any(map(_is_missing, array.flat)):
        array = _each(lambda item: None if _is_missing(item) else item, array)
    if dtype.kind in "iu":
        return _each(int, array).astype(dtype)
    if dtype.kind in "mM":
        with suppress(ValueError):  # integers have no unit
            array = array.astype(dtype.kind)
    elif dtype.kind in "bSUV":
        array = np.array(array.tolist())
    return array.astype(dtype) if array.dtype.kind == "O" else _cast(array, dtype)


def _byte_strings(array: NumpyArray) -> NumpyArray:
    """Byte strings of any length: numpy's own conversion would cut trailing zeros."""
    array = np.asarray(array, object)
    classes = {type(item) for item in array.flat}
    for cls in classes:
        if not issubclass(cls, bytes | bytearray | memoryview):
            raise TypeError(f"{cls.__name__} is not bytes-like")
    return array if classes <= {bytes} else _each(bytes, array)


def _each(function: Callable[[Any], object], array: NumpyArray) -> NumpyArray:
    """What a function makes of each object."""
    made = np.empty(array.shape, object)
    made.reshape(-1)[:] = [function(item) for item in array.flat]
    return made


# ---------------------------------------------------------------- what would become something else


def _check_kinds(source: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    """Raise `TypeError` where no element of the one becomes one of the other in a sensible way."""
    if not np.can_cast(source, dtype, "unsafe"):
        raise TypeError(f"numpy cannot cast {source} to {dtype}")
    if source.kind != dtype.kind and (source.kind in "mM" or dtype.kind in "mM"):
        raise TypeError("times, spans of time and numbers are not mixed")
    if source.kind == "c" and dtype.kind in "biuf":
        raise TypeError("imaginary parts would be lost")
    if source.kind in "STU" and dtype.kind == "b":
        raise TypeError("numpy takes any text for true")


def _check_times(array: NumpyArray, cast: NumpyArray) -> None:
    """Raise `OverflowError` for times in a coarse unit that a finer one cannot express in its 64 bits."""
    is_finer = np.can_cast(array.dtype, cast.dtype)
    if is_finer and np.any((cast.astype(array.dtype) != array) & ~np.isnat(array)):
        raise OverflowError("times are out of range")


def _check_range(array: NumpyArray, dtype: np.dtype[Any]) -> None:
    """Raise `OverflowError` or `ValueError` for numbers that are not those of an integer dtype, up to fractions."""
    if (
        np.can_cast(array.dtype, dtype)
        or not np.can_cast(dtype, "i8", "same_kind")
        or dtype.kind == "b"
        or not array.size
    ):
        return
    extremes = np.array([array.min(), array.max()])  # NaN spreads
    wanted = [int(extreme) for extreme in extremes]
    with np.errstate(invalid="ignore"):
        found = [int(kept) for kept in extremes.astype(dtype)]
    if found != wanted:
        raise OverflowError(f"numbers from {wanted[0]} to {wanted[1]} are out of range")


def _fitting(array: NumpyArray, dtype: np.dtype[Any]) -> NumpyArray:
    """An array as it is, or numbers as texts; `ValueError` for texts and bytes that are longer than the elements."""
    is_raw = dtype.kind == "V"
    if array.dtype.kind == "T":
        array = array.astype(object)
    if not is_raw and array.dtype.kind != dtype.kind:
        array = array.astype(dtype.kind)
    if array.itemsize > dtype.itemsize and array.size:
        unit = 4 if dtype.kind == "U" else 1
        longest = array.itemsize if array.dtype.kind not in "SU" else int(np.strings.str_len(array).max())
        if longest * unit > dtype.itemsize:
            raise ValueError(f"{longest} characters or bytes are too many")
    return array


def _check_present(array: NumpyArray) -> None:
    """Raise `ValueError` for objects that stand for a missing element."""
    for item in array.flat:
        if _is_missing(item):
            raise ValueError(f"elements are missing ({item!r}); {_ADVICE}")


def _is_missing(item: Any) -> bool:
    """Whether an object is `None`, NaN, NaT, or as pandas' NA neither equal to itself nor not."""
    if isinstance(item, str | bytes | int):
        return False
    try:
        return item is None or not bool(item == item)  # noqa: PLR0124
    except (TypeError, ValueError):
        return True
