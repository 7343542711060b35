"""What a value must be to become elements of an array, and where elements may be put. Pure; nothing is written."""

from typing import Any, TypeAlias

import numpy as np

from zarrv3.errors import AssignmentError

NumpyArray: TypeAlias = np.ndarray[Any, Any]


def castable(value: Any, dtype: np.dtype[Any], owner: object) -> NumpyArray:
    """A value as an array any part of which casts to `dtype` without failing.

    Numbers are left as they are, to be cast chunk by chunk; everything else is cast as a whole. Raises
    `AssignmentError`, naming the `owner` of the elements, for a value that cannot become any.
    """
    try:
        if isinstance(getattr(value, "dtype", None), np.dtype):  # of numpy, zarr, dask, …
            return _cast(np.asarray(value), dtype)
        return _converted(value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        given = getattr(value, "dtype", type(value).__name__)
        raise AssignmentError(
            f"a value of {given} cannot become elements of {dtype} of {owner!r}: {error}"
        ) from error


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


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufc"


def _cast(array: NumpyArray, dtype: np.dtype[Any]) -> NumpyArray:
    """An array as it is if every cast of a part of it is sure to succeed, otherwise cast as a whole."""
    if array.dtype.kind == "c" and _is_number(dtype) and dtype.kind != "c":
        raise TypeError("imaginary parts would be lost")
    if _is_number(array.dtype) and _is_number(dtype):
        return array
    return array if array.dtype == dtype and dtype.kind != "O" else _converted(array, dtype)


def _converted(value: Any, dtype: np.dtype[Any]) -> NumpyArray:
    if dtype.kind == "O":  # variable-length bytes: numpy's own conversion would cut trailing zeros
        if isinstance(value, bytes | bytearray | memoryview):
            scalar = np.empty((), object)
            scalar[()] = bytes(value)
            return scalar
        array = np.asarray(value, dtype=object)
        classes = {type(item) for item in array.flat}
        for cls in classes:
            if not issubclass(cls, bytes | bytearray | memoryview):
                raise TypeError(f"{cls.__name__} is not bytes-like")
        if classes <= {bytes}:
            return array
        plain = np.empty(array.shape, object)
        plain.reshape(-1)[:] = [bytes(item) for item in array.flat]
        return plain
    if isinstance(value, np.ndarray | np.generic):
        if not np.can_cast(value.dtype, dtype, "unsafe"):
            raise TypeError(f"numpy cannot cast {value.dtype} to {dtype}")
        if (value.dtype.kind in "mM") != (dtype.kind in "mM"):
            raise TypeError("times and numbers are not mixed")
    return np.asarray(value, dtype=dtype)
