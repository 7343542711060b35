"""From variables to stored values by CF conventions, as xarray has them, except that no value wraps, is cut or overflows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from xarray import Variable, conventions
from xarray.backends.zarr import encode_zarr_variable
from xarray.coders import CFDatetimeCoder, CFTimedeltaCoder
from xarray.coding.common import VariableCoder
from xarray.coding.variables import CFMaskCoder, CFScaleOffsetCoder

from zarrv3.errors import AssignmentError

PACKING = ("scale_factor", "add_offset")
MEANING = (*PACKING, "_FillValue", "missing_value", "_Unsigned", "dtype")
"""The attributes that say what stored numbers mean, besides `units` and `calendar` of times."""


def encoded(variable: Variable, name: str) -> Variable:
    """A variable as it is stored; raises `AssignmentError` for values that its encoding cannot hold.

    Values of dask arrays are looked at when they are computed.
    """
    conventions.ensure_not_multiindex(variable, name=name)
    if variable.dtype.kind == "T":
        variable = variable.copy(deep=False, data=_texts(variable))
    try:
        for coder in (
            CFDatetimeCoder(),
            CFTimedeltaCoder(),
            CFScaleOffsetCoder(),
            _InRange(),
            CFMaskCoder(),
            _Exact(),
        ):
            variable = coder.encode(variable, name=name)
        if variable.dtype.kind == "T":
            return conventions.encode_cf_variable(variable, name=name)
        found: Variable = encode_zarr_variable(variable, name=name)
    except OverflowError as error:
        raise AssignmentError(str(error)) from error
    return found


def is_time(variable: Variable) -> bool:
    """Whether a variable holds times or spans of time, as they are or as numbers with units."""
    units = variable.attrs.get("units", variable.encoding.get("units"))
    return variable.dtype.kind in "mM" or (isinstance(units, str) and " since " in units)


def cast(variable: Variable, dtype: np.dtype[Any], name: Hashable, *, rounds: bool) -> Any:
    """The values in another dtype; `AssignmentError` for those that it cannot hold, when they are computed.

    Floats are rounded to the precision of others and, with `rounds`, to integers.
    """
    if variable.dtype == dtype:
        return variable.data
    return _mapped(variable, _cast, dtype, str(name), rounds, dtype=dtype)


def _mapped(variable: Variable, function: Any, *arguments: Any, dtype: np.dtype[Any]) -> Any:
    """The values of a variable through a function, block by block where they are a dask array."""
    if variable.chunks is None:
        return function(np.asarray(variable.data), *arguments)
    meta = np.empty((0,) * variable.ndim, dtype)
    return variable.data.map_blocks(function, *arguments, dtype=dtype, meta=meta)


class _Exact(VariableCoder):
    """Casts to the dtype of the encoding; in xarray's place for this, values that do not fit wrap."""

    def encode(self, variable: Variable, name: Hashable = None) -> Variable:
        dtype = variable.encoding.get("dtype")
        if dtype is None or dtype in {"S1", str}:
            return variable
        encoding, attributes = dict(variable.encoding), dict(variable.attrs)
        dtype = np.dtype(encoding.pop("dtype"))
        data = variable.data
        if variable.dtype != dtype:
            meant = _meant(dtype, encoding.get("_Unsigned"))
            data = cast(variable, meant, name, rounds=True).astype(dtype)
        if "_Unsigned" in encoding:
            attributes["_Unsigned"] = encoding.pop("_Unsigned")
        return Variable(variable.dims, data, attributes, encoding, fastpath=True)

    def decode(self, variable: Variable, name: Hashable = None) -> Variable:
        raise NotImplementedError


class _InRange(VariableCoder):
    """Looks at what `CFMaskCoder` is going to cast by itself."""

    def encode(self, variable: Variable, name: Hashable = None) -> Variable:
        unsigned = variable.encoding.get("_Unsigned")
        if unsigned is None or variable.dtype.kind not in "fiu":
            return variable
        meant = _meant(np.dtype(variable.encoding.get("dtype", variable.dtype)), unsigned)
        if meant.kind not in "iu":
            return variable
        data = _mapped(variable, _held, meant, str(name), dtype=variable.dtype)
        return variable.copy(deep=False, data=data)

    def decode(self, variable: Variable, name: Hashable = None) -> Variable:
        raise NotImplementedError


def _meant(dtype: np.dtype[Any], unsigned: Any) -> np.dtype[Any]:
    """The dtype of the values that integers stand for, by the attribute `_Unsigned`."""
    kind = {"true": "u", "false": "i"}.get(str(unsigned).lower()) if dtype.kind in "iu" else None
    return np.dtype(f"{kind}{dtype.itemsize}") if kind else dtype


def _texts(variable: Variable) -> Any:
    """Texts without missing ones, which become empty, as xarray has it for texts that are objects."""
    return _mapped(variable, _filled, dtype=np.dtypes.StringDType())


def _filled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    dtype: Any = values.dtype
    if isinstance(getattr(dtype, "na_object", ""), str):
        return values.astype(np.dtypes.StringDType())
    texts = values.astype(object)
    texts[np.isnan(values) | (values == dtype.na_object)] = ""
    return texts.astype(np.dtypes.StringDType())


def _held(values: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    """The values, if an integer dtype holds those that are not missing."""
    present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    _cast(present, dtype, name, True)
    return values


def _cast(
    values: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str, rounds: bool
) -> np.ndarray[Any, Any]:
    kind, wanted = values.dtype.kind, dtype.kind
    with np.errstate(all="ignore"):
        if wanted in "iu" and kind in "iufb":
            values, given = (np.round(values), values) if kind == "f" else (values, values)
            limits = np.iinfo(dtype)
            lost = (values < limits.min) | (
                values >= limits.max + 1.0 if kind == "f" else values > limits.max
            )
            if kind == "f":
                lost |= np.isnan(given) if rounds else values != given
            result, values = values.astype(dtype), given
        elif kind == "c" and wanted != "c":
            result, lost = values.real.astype(dtype), values.imag != 0
        else:
            result = values.astype(dtype)
            if wanted in "fc" and kind in "fc":
                lost = np.isinf(result) & ~np.isinf(values)
            elif (wanted in "fcb" and kind in "iu") or (wanted in "US" and kind in "USTO"):
                lost = result.astype(values.dtype) != values
            elif wanted in "mM" and kind in "mM":
                lost = (result.astype(values.dtype) != values) & ~np.isnat(values)
            else:
                return result
    if lost.any():
        raise AssignmentError(
            f"{values[lost][0]!r} of the variable {name!r} cannot be stored as {dtype} without loss; "
            "write it with another encoding (dtype, scale_factor, …) or without: dataset.drop_encoding()"
        )
    return result
