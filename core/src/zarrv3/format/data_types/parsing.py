"""From a document's `data_type`, or from what a user calls a dtype, to a `DataType`."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zarrv3.errors import MetadataError, RegistryError, UnknownDataTypeError, UnknownExtensionError
from zarrv3.format.data_types.base import DataType
from zarrv3.format.data_types.numerics import Bool, Complex, Float, Integer
from zarrv3.format.extensions import Guard, NamedConfig, resolve, shown
from zarrv3.registry import BUILT_IN, OFFERED, installed, load, plugins
from zarrv3.store.contract import JSON

RAW_NAME = r"r([1-9][0-9]{0,9})"
_NAMES = {"string": "string", "str": "string", "bytes": "bytes", str: "string", bytes: "bytes"}
"""What numpy takes otherwise."""
_OBJECTS = (
    "dtype object is not supported, since nothing is ever pickled: use data type 'string' for text or 'bytes' for "
    "byte strings"
)


def parse_data_type(value: JSON, member: str = "data_type") -> DataType:
    """The data type that a document names; `member` is where it stands, for errors."""
    name = value.get("name") if isinstance(value, Mapping) else value
    if (
        isinstance(name, str) and name[:1] == "r" and re.fullmatch(RAW_NAME, name)
    ):  # one type for endlessly many names
        raw: type[DataType] = load("data_types", "raw_bytes")
        return raw.from_json(name, NamedConfig.parse(value, member).configuration)
    return resolve("data_types", DataType, value, member)  # type: ignore[type-abstract]


def data_type_of(value: Any) -> DataType:
    """The data type for a dtype in any of the usual spellings.

    A `DataType`, a document's object, a name of the specification (`"string"`, `"bfloat16"`, `"r16"`), `str` or `"str"`, `bytes`,
    or whatever `numpy.dtype` understands; byte order does not matter. `bytes` is the variable-length type, numpy's
    `"S"` needs a length. A dtype that the core does not know is shown to the data types of plugins (`from_numpy`), to
    that of its own name first. Raises `MetadataError` for object dtypes and for dtypes that no data type stands for.
    """
    if isinstance(value, DataType):
        return value
    if hasattr(value, "to_native_dtype"):  # zarr-python's
        value = value.to_json(zarr_format=3)
    if isinstance(value, Mapping):
        return parse_data_type(value)
    if isinstance(value, str | type) and (name := _NAMES.get(value)):
        return parse_data_type(name)
    if isinstance(value, str) and re.fullmatch(RAW_NAME, value):
        return parse_data_type(value)
    if value is None:  # numpy takes it for float64
        raise UnknownDataTypeError("a data type is needed, not None")
    try:
        dtype = np.dtype(value)
    except (TypeError, ValueError, SyntaxError) as error:
        if not isinstance(value, str):
            raise UnknownDataTypeError(f"{shown(value)} is not a data type: {error}") from error
        try:
            return parse_data_type(value)  # perhaps a plugin's
        except UnknownExtensionError as unknown:
            raise UnknownDataTypeError(f"numpy does not know the dtype {value!r}, and {unknown}") from error
    return _of_numpy(dtype)


def _of_numpy(dtype: np.dtype[Any]) -> DataType:
    if dtype.hasobject and dtype.kind == "O":
        raise UnknownDataTypeError(_OBJECTS)
    if dtype.kind in "SU" and not dtype.itemsize:
        raise MetadataError(
            f"dtype {dtype.str!r} has no length: say 'S10', or use data type 'bytes' or 'string'"
        )
    for cls in itertools.chain(_classes(), _plugin_classes(dtype.name)):
        with Guard("data_types", dtype.name, cls.__qualname__):
            if (data_type := cls.from_numpy(dtype)) is not None:
                return data_type
    raise UnknownDataTypeError(f"no data type stands for numpy's {dtype}")


def _classes() -> Iterator[type[DataType]]:
    """The classes that are asked about a dtype, in order; most are imported only if those before did not know it."""
    yield from (Integer, Float, Bool, Complex)
    for name in _ASKED:
        yield load("data_types", name)


_ASKED = (
    "string",
    "numpy.datetime64",
    "struct",
    "fixed_length_utf32",
    "null_terminated_bytes",
    "raw_bytes",
)
"""One name of each other class."""


def _plugin_classes(name: str) -> Iterator[type[DataType]]:
    """The classes of plugins: that which is called as the dtype is, then the others, except for broken ones."""
    if name in OFFERED["data_types"] or installed("data_types", name):
        yield NamedConfig(name).find("data_types")  # an error where it is not installed
    for plugin in plugins("data_types"):
        if plugin.name not in {name, *BUILT_IN["data_types"]}:
            with contextlib.suppress(RegistryError):
                yield load("data_types", plugin.name)
